"""What of the log goes into one append message, and how much may be under way to a peer.

Owns the bounds of the sending side and the look at a log's terms. Must not know who leads or who
the peers are.
"""

from __future__ import annotations

from typing import Final

from raftbook.storage.log_store import LogStore

LogEntry = tuple[bytes, int, int]
"""(payload, index, term)."""

APPEND_BYTES_MAX: Final = 1 << 20
"""Payload of one append message; an entry is always smaller, so entries are never cut (S14)."""
APPEND_ENTRIES_MAX: Final = 512
IN_FLIGHT_ENTRIES_MAX: Final = 4_096
IN_FLIGHT_BYTES_MAX: Final = 8 << 20
"""Entries and their bytes sent to a peer and not yet acknowledged, before only heartbeats go out:
far below what a connection may buffer, so that a peer far behind does not lose it (S19)."""


def has_room(log: LogStore, *, match: int, next_index: int) -> bool:
    """Whether more may be sent to a peer that acknowledged `match`. Costs what is in flight."""
    base = log.base_index
    if next_index == base + 1:
        return True
    if next_index - 1 - match >= IN_FLIGHT_ENTRIES_MAX:
        return False
    in_flight = log.entries[max(match - base, 0) + 1 : next_index - base]
    return sum(len(entry[0]) for entry in in_flight) < IN_FLIGHT_BYTES_MAX


def entries_from(log: LogStore, index: int) -> list[LogEntry]:
    """The entries of one message, from `index` on; at least one if there is one."""
    start = index - log.base_index
    entries = log.entries[start : start + APPEND_ENTRIES_MAX]
    size = 0
    for count, entry in enumerate(entries):
        size += len(entry[0])
        if size > APPEND_BYTES_MAX and count:
            return entries[:count]
    return entries


def term_at(log: LogStore, index: int) -> int:
    """The term of an entry that the log holds, or of its base."""
    return log.entries[index - log.base_index][2]


def before_term_at(log: LogStore, index: int) -> int:
    """The last index before the term of the entry at `index`: that whole term is in doubt."""
    term = term_at(log, index)
    while index > log.base_index and term_at(log, index) == term:
        index -= 1
    return index

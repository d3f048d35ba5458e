"""The whole log of a run, although nodes trim theirs: each node writes down what it applies.

Owns those records, one file for each start of a node, and the log put together from them and from
the nodes' last journals. What a node applies is committed, whatever becomes of its journal later,
and no entry is in anybody's state that no node has applied: so none can be missing, however fast
logs are trimmed, wiped, damaged, or replaced by a snapshot. Where two holders have such an entry
they must have the same, or a committed entry has changed.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from raftbook.core.commands import Entry
from raftbook.replica.machine import Machine
from raftbook.storage.journal import read_journal
from raftbook.wire.entry import REGULAR, unpack_entry

_HEAD: Final = struct.Struct("<QQI")
"""Index, term and the length of the payload, which follows."""


def keep_applied(path: Path) -> Callable[[], None]:
    """Write down what is applied in this process; what is returned ends that.

    Each entry is with the kernel before it takes effect, so `kill -9` takes none away.
    """
    path.parent.mkdir(exist_ok=True)
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    original = Machine.apply

    def apply(self: Machine, index: int, term: int, payload: bytes) -> Any:
        record = _HEAD.pack(index, term, len(payload)) + payload
        while record:
            record = record[os.write(file, record) :]
        return original(self, index, term, payload)

    Machine.apply = apply  # type: ignore[method-assign]

    def end() -> None:
        Machine.apply = original  # type: ignore[method-assign]
        os.close(file)

    return end


Raw = tuple[int, bytes]
"""Term and payload."""


def _applied(path: Path) -> Iterator[tuple[bytes, int, int]]:
    """The rows of a record, as a journal has them; a kill may have torn the last one."""
    record = path.read_bytes()
    at = 0
    while at + _HEAD.size <= len(record):
        index, term, size = _HEAD.unpack_from(record, at)
        at += _HEAD.size + size
        if at <= len(record):
            yield record[at - size : at], index, term


class WholeLog:
    """The committed entries of a run, put together.

    Attributes:
        problems: two holders of a committed entry that do not hold the same.
    """

    def __init__(self) -> None:
        self.problems: list[str] = []
        self._entries: dict[int, tuple[Raw, str]] = {}

    def add(self, rows: Iterable[tuple[bytes, int, int]], holder: str, *, committed: int) -> None:
        """Take what somebody holds: (payload, index, term) each, believed up to an index."""
        for payload, index, term in rows:
            if index > committed:
                continue
            raw, first = self._entries.setdefault(index, ((term, payload), holder))
            if raw != (term, payload) and len(self.problems) < 20:
                self.problems.append(
                    f"entry {index} is of term {raw[0]} in {first}, "
                    f"of term {term} in {holder}, and committed in both"
                )

    def gaps(self, last_index: int) -> list[int]:
        """Indices that nobody holds; the log's own beginning, entry 1, is held by none."""
        return [index for index in range(2, last_index + 1) if index not in self._entries]

    def entries(self) -> Iterable[Entry]:
        """What the exchange is to be told, in order."""
        for index in sorted(self._entries):
            (_, payload), _ = self._entries[index]
            if payload[:1] == REGULAR:
                yield unpack_entry(index, payload[1:])


def whole_log(
    folder: Path, journals: Iterable[Path], last_index: int
) -> tuple[WholeLog, list[int]]:
    """The log of a finished run up to an index, and the indices nobody holds."""
    log = WholeLog()
    for path in sorted(folder.glob("*")):
        log.add(_applied(path), path.name, committed=last_index)
    for directory in journals:
        _, *rows = read_journal(directory).entries
        log.add(rows, directory.name, committed=last_index)
    return log, log.gaps(last_index)

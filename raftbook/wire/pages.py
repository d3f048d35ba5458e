"""How long answers are cut into pages, so that no frame a node sends is longer than 1 MiB.

Owns the sizes and the cuts. They count rows and events, not bytes: so every node cuts the same
entry in the same places, and a stream goes on in the middle of one at another node.
docs/PROTOCOL.md tells what a client does with pages.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

FRAME_BYTES_MAX: Final = 1 << 20
"""No page is longer, whatever stands in it: the sizes below follow from the longest row of each
kind, ids of 64 characters and integers of 9 bytes."""

ROWS_MAX: Final = 10_000
"""Rows one question may ask for: levels or orders of a side, trades, own orders, entries."""

ORDER_ROWS: Final = 3_000
"""Own orders on one page of `orders`."""

INSTRUMENT_ROWS: Final = 1_000
"""Instruments on one page of `instruments`."""

ACCOUNT_ROWS: Final = 1_000
"""Accounts on one page of `accounts`."""

EVENTS: Final = 1_000
"""Events on one page of a reply, a report, an entry, or of an `events` answer."""

BOOK_ORDERS: Final = 2_500
"""Resting orders on one page of a feed's refresh; few, since making one keeps the node from
everything else."""


LEVEL_ROWS: Final = 10_000
"""Price levels on one page or in one delta of `depth`."""


def entry_pages(
    index: int, term: int, time_ns: int, replies: Sequence[Any]
) -> Iterator[tuple[Any, ...]]:
    """What `entries` pushes for one entry: (index, term, time_ns, replies, page, pages).

    A reply of many events goes on over several pages; its event_offset tells where each part of it
    begins.
    """
    runs = list(_runs(replies))
    for page, run in enumerate(runs, start=1):
        yield index, term, time_ns, run, page, len(runs)


def _runs(replies: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """Replies in runs of at most EVENTS events; one that brought none counts as one."""
    if sum(len(reply[4]) or 1 for reply in replies) <= EVENTS:
        yield replies
        return
    run: list[Any] = []
    room = EVENTS
    for session_id, request_seq, index, offset, events, poss_dup in replies:
        at = 0
        while True:
            part = events[at : at + room]
            run.append((session_id, request_seq, index, offset + at, part, poss_dup))
            at += len(part)
            room -= len(part) or 1
            if not room:
                yield run
                run, room = [], EVENTS
            if at >= len(events):
                break
    if run:
        yield run

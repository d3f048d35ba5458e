"""A bad history, and how its rows are read: what all the changes share.

Owns the reading of acknowledgements for an occasion to change something. Uses neither checker nor
model nor exchange.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from raftbook.core import commands as c
from raftbook.core import events as e
from tests.checkers.history import ACKNOWLEDGED, UNKNOWN, Request
from tests.checkers.market import Sample


@dataclass(slots=True)
class Mutant:
    """A sample that no correct system could have produced; `symbol` names the broken window."""

    sample: Sample
    symbol: str
    why: str


Mutation = Callable[[Sample, random.Random], Mutant | None]


def symbol_of(row: Request) -> str:
    return str(next((command[1] for command in row.commands if command[0] == c.NEW_ORDER), ""))


def acknowledged(sample: Sample) -> list[Request]:
    """Requests with new orders that were acknowledged in one row and never repeated."""
    count: dict[Any, int] = {}
    for row in sample.history.requests:
        count[row.name] = count.get(row.name, 0) + 1
    return [
        row
        for row in sample.history.requests
        if row.outcome == ACKNOWLEDGED and count[row.name] == 1 and symbol_of(row)
    ]


def told_seqs(sample: Sample, symbol: str) -> set[int]:
    """Every feed_seq that an acknowledgement of this instrument accounts for."""
    return {
        event[1]
        for row in sample.history.requests
        if row.outcome == ACKNOWLEDGED and symbol_of_events(row) == symbol
        for event in row.events
        if event[1]
    }


def symbol_of_events(row: Request) -> str:
    for event in row.events:
        if event[0] == e.TRADE:
            return str(event[5][3])
        if event[0] < e.REJECTED:
            return str(event[2][3])
    return symbol_of(row)


def public_seqs(row: Request) -> list[int]:
    return [event[1] for event in row.events if event[1]]


def is_whole(sample: Sample, symbol: str) -> bool:
    """Whether every outcome on this instrument is known, so that every gap must be explained.

    A cancel or an amend alone does not say its instrument: any unknown one counts.
    """
    return not any(
        row.outcome == UNKNOWN and symbol_of(row) in ("", symbol) for row in sample.history.requests
    )


def choose(rng: random.Random, found: list[Any]) -> Any:
    return rng.choice(found) if found else None


def put_events(row: Request, at: int, *new: Any) -> None:
    row.events = (*row.events[:at], *new, *row.events[at + 1 :])


def changed(event: Any, at: int, value: Any) -> Any:
    return (*event[:at], value, *event[at + 1 :])


def single_orders(rows: list[Request]) -> list[Request]:
    """Requests of one new order that was accepted."""
    return [row for row in rows if len(row.commands) == 1 and row.events[0][0] == e.ACCEPTED]

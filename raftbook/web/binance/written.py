"""Answers, written in their turn, the long ones a piece at a time.

Owns the encoding of JSON at this door, and that no answer keeps the loop, on which the node also
answers its leader, for longer than a piece takes. When a piece is written is `Pace`'s to say.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol, TypeVar

Made = TypeVar("Made")
Item = TypeVar("Item")

ROWS_A_TURN: Final = 200
"""Orders that are written before others have their turn: some five milliseconds."""
_encode: Final = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Written:
    """An answer that is JSON already."""

    text: str


def encode(value: Any) -> str:
    """JSON as both fronts write it."""
    return value.text if type(value) is Written else _encode(value)


class InTurn(Protocol):
    """A `Call`: what it writes is made when it has its turn."""

    async def make(self, piece: Callable[[Any], Made]) -> Made:
        """See `Call.make`."""


async def write_rows(
    call: InTurn, items: Sequence[Item], make: Callable[[Item], Any], *, a_turn: int = ROWS_A_TURN
) -> Written:
    """A list, one row an item, with a breath after every so many.

    Args:
        call: whose answer it is.
        make: gives a row, or None to leave it out. It looks at what is now: what an item stands
            for may have changed, or gone, since the last breath.
    """
    pieces: list[str] = []
    for start in range(0, len(items), a_turn):
        if start:
            await asyncio.sleep(0)
        piece = await call.make(partial(_piece, items[start : start + a_turn], make))
        if piece:
            pieces.append(piece)
    return Written(f"[{','.join(pieces)}]")


def _piece(items: Sequence[Item], make: Callable[[Item], Any], _: Any) -> str:
    return _encode([row for row in map(make, items) if row is not None])[1:-1]

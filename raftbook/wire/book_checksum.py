"""The checksum by which a reader of price levels proves that it has the node's book.

Owns the text that is summed: the best ten levels of each side, best first, each as price:qty in
ticks and lots, separated by commas; bids, a bar, asks. Of an empty book that is "|".
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final
from zlib import crc32

DEPTH: Final = 10
"""Levels of each side that are summed."""


def book_checksum(bids: Iterable[tuple[Any, ...]], asks: Iterable[tuple[Any, ...]]) -> int:
    """CRC-32 of levels (price, qty, ...), at most DEPTH of each side, best first."""
    sides = (",".join(f"{row[0]}:{row[1]}" for row in rows) for rows in (bids, asks))
    return crc32("|".join(sides).encode("ascii"))

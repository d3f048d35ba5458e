"""The price levels of an instrument as a client keeps them, proved by their checksum.

Owns the putting together of `depth`: docs/PROTOCOL.md "Price levels". Ticks and lots; `view` gives
decimals. Must not know how values arrive, nor what to do about a book that is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from raftbook.client.units import InstrumentSpec, phase_name
from raftbook.client.views import BookLevel, BookView
from raftbook.core.keys import SortedKeys
from raftbook.core.types import Phase, Side
from raftbook.errors import ProtocolError
from raftbook.wire.book_checksum import DEPTH, book_checksum

MISMATCHES_MAX: Final = 3
"""So many books in a row that fail their checksum are no accident."""

Row = tuple[int, int, int]
"""price in ticks, qty in lots, orders"""


class DepthBook:
    """The levels of one instrument; the same object from one value of a stream to the next.

    Attributes:
        feed_seq: of the last event that is in it.
        entry_index: of the entry that brought it; time_ns: its logical time, 0 when not told.
        phase: trading phase; last_price: of the last trade in ticks, None before the first.
        is_deleted: there is no such instrument any more.
        mismatches: how often a checksum was wrong and the book was begun anew.
    """

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self.mismatches = 0
        self._in_a_row = 0
        self._begin()

    def _begin(self) -> None:
        self.feed_seq = self.entry_index = self.time_ns = 0
        self.phase = Phase.CONTINUOUS
        self.last_price: int | None = None
        self.is_deleted = False
        self._sides = {Side.BUY: _Levels(1), Side.SELL: _Levels(-1)}
        self._whole_at: int | None = None  # the last page's feed_seq; None before that page
        self._checksum = 0  # the last page's

    def bids(self, count: int = 10) -> list[Row]:
        """The best levels, highest price first."""
        return self._sides[Side.BUY].rows(count)

    def asks(self, count: int = 10) -> list[Row]:
        """The best levels, lowest price first."""
        return self._sides[Side.SELL].rows(count)

    def checksum(self) -> int:
        """Of what is held here; see `wire/book_checksum.py`."""
        return book_checksum(self.bids(DEPTH), self.asks(DEPTH))

    def view(self, spec: InstrumentSpec, depth: int = 10) -> BookView:
        """The same with decimals."""
        return BookView(
            symbol=self.symbol,
            bids=_level_views(self.bids(depth), spec),
            asks=_level_views(self.asks(depth), spec),
            bid_orders=None,
            ask_orders=None,
            feed_seq=self.feed_seq,
            applied_index=self.entry_index,
            node_id=0,
            last_price=None if self.last_price is None else spec.price(self.last_price),
            phase=phase_name(self.phase),
            age_ms=0,
        )

    def take(self, value: Any) -> bool:
        """Take the next value of the stream; whether the book is now as of one moment, and new.

        Raises:
            ProtocolError: it is none.
            BookMismatch: the book is not the node's; begin anew, with a new stream.
        """
        try:
            return self._take(value)
        except (IndexError, KeyError, TypeError, ValueError) as error:
            raise ProtocolError(f"no depth value: {error}: {value!r:.60}") from error

    def _take(self, value: Any) -> bool:
        if value[0] == "refresh":
            return self._take_page(value[1])
        if value[0] == "deleted":
            self._begin()
            _, self.feed_seq, self.entry_index, self.time_ns = value
            self.is_deleted = True
            return True
        seq, _, index, time_ns, changes, checksum, phase, last_price = value
        for side, price, qty, orders in changes:
            self._sides[Side(side)].set(price, qty, orders)
        if checksum is None:
            return False
        self.feed_seq, self.entry_index, self.time_ns = seq, index, time_ns
        self.phase, self.last_price = Phase(phase), last_price
        return self._is_whole(checksum)

    def _take_page(self, page: Any) -> bool:
        if page["page"] == 1:
            self._begin()
            self.feed_seq = page["feed_seq"]
        for side, name in ((Side.BUY, "bids"), (Side.SELL, "asks")):
            for price, qty, orders in page[name]:
                self._sides[side].set(price, qty, orders)
        if page["more"]:
            return False
        self._whole_at = page["feed_seq"]
        self.entry_index = page["entry_index"]
        self.phase, self.last_price = Phase(page["phase"]), page["last_price"]
        return self._is_whole(page["checksum"])

    def _is_whole(self, checksum: int) -> bool:
        """Pages show their own moments; with what came up to the last one's all is of one."""
        if self._whole_at is None or self.feed_seq < self._whole_at:
            return False
        if self.checksum() == checksum:
            self._in_a_row = 0
            return True
        self.mismatches += 1
        self._in_a_row += 1
        found = self.checksum()
        what = f"{self.symbol} at feed_seq {self.feed_seq}: checksum {found}, not {checksum}"
        self._begin()
        if self._in_a_row >= MISMATCHES_MAX:
            raise ProtocolError(f"{what}, {self._in_a_row} times in a row")
        raise BookMismatch(what)


class BookMismatch(Exception):
    """What a client holds is not what the node has. Not for callers: the stream begins anew."""


class _Levels:
    """One side by price, best first."""

    __slots__ = ("_at", "_keys", "_sign")

    def __init__(self, sign: int) -> None:
        self._sign = sign
        self._at: dict[int, Row] = {}
        self._keys = SortedKeys()

    def set(self, price: int, qty: int, orders: int) -> None:
        key = price * self._sign
        if not qty:
            if self._at.pop(price, None) is not None:
                self._keys.remove(key)
            return
        if price not in self._at:
            self._keys.add(key)
        self._at[price] = (price, qty, orders)

    def rows(self, count: int) -> list[Row]:
        keys = reversed(self._keys)
        return [self._at[key * self._sign] for _, key in zip(range(count), keys, strict=False)]


def _level_views(rows: Sequence[Row], spec: InstrumentSpec) -> tuple[BookLevel, ...]:
    total = 0
    views = []
    for price, qty, orders in rows:
        total += qty
        views.append(BookLevel(spec.price(price), spec.qty(qty), spec.qty(total), orders))
    return tuple(views)

"""Price levels (L2) and the best prices of one instrument, from its public events.

Owns the levels that a reader of `depth` keeps, and the bounded history of their changes: one delta
for each entry of the log that said something in public, the same on every node. A delta is

    (feed_seq, previous feed_seq, entry_index, time_ns, changes, checksum, phase, last_price)

with changes ((side, price, qty, orders), ...): what the market sees at that price from then on, 0
and 0 when the level is gone. Quantities are absolute, so a delta may be applied twice. `checksum`
is that of `wire/book_checksum.py` after it.

Levels are taken over from a book once, when somebody begins to read; then events alone move them.
They are made from events and not from L3 messages, since those say what an order shows from now on
but not what it showed before, and a copy of every order is more than a node may hold twice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from raftbook.core.book import Book
from raftbook.core.conditions import is_hidden
from raftbook.core.events import (
    ACCEPTED,
    AUCTION_TRADE,
    CANCELED,
    EXPIRED,
    INSTRUMENT_DELETED,
    PHASE_CHANGED,
    REFILLED,
    REPLACED,
    REPRICED,
    RESTATED,
    RESTED,
    TRADE,
    Event,
)
from raftbook.core.hidden import shown_count, shown_levels
from raftbook.core.keys import SortedKeys
from raftbook.core.types import Phase, Side
from raftbook.feed.messages import (
    display_qty,
    public_view,
    shown_at_auction,
    shown_in_delete,
)
from raftbook.wire.book_checksum import DEPTH, book_checksum

Delta = tuple[Any, ...]
Row = tuple[int, int, int]
"""price, qty, orders"""
Best = tuple[int | None, int, int | None, int]
"""bid price, bid qty, ask price, ask qty; None and 0 for an empty side."""

_BUY: Final = int(Side.BUY)
_SELL: Final = int(Side.SELL)
_ABOVE_ALL: Final = 2**64
"""Above every key of a side."""


class Levels:
    """One side: what the market sees at each price, best first."""

    __slots__ = ("_at", "_keys", "_sign")

    def __init__(self, side: int) -> None:
        self._sign = 1 if side == _BUY else -1
        self._at: dict[int, tuple[int, int]] = {}  # qty and orders by price
        self._keys = SortedKeys()

    def move(self, price: int, qty: int, orders: int) -> None:
        """Add to a level, or take away; it goes when its last order goes."""
        before = self._at.get(price)
        if before is None:
            self._keys.add(price * self._sign)
            before = (0, 0)
        qty, orders = qty + before[0], orders + before[1]
        if orders:
            self._at[price] = (qty, orders)
        else:
            del self._at[price]
            self._keys.remove(price * self._sign)

    def row(self, price: int) -> Row:
        """A level; 0 and 0 when there is none."""
        return (price, *self._at.get(price, (0, 0)))

    def rows(self, count: int, behind: int | None = None) -> list[Row]:
        """The best levels, at most `count`; those behind a price if one is given."""
        above = _ABOVE_ALL if behind is None else behind * self._sign
        keys = self._keys.below(above)
        return [self.row(key * self._sign) for _, key in zip(range(count), keys, strict=False)]


class DepthBook:
    """The levels of one instrument as of its last public event.

    Attributes:
        touched: the prices that have changed since somebody last emptied it, eldest first.
    """

    def __init__(self) -> None:
        self.sides = {_BUY: Levels(_BUY), _SELL: Levels(_SELL)}
        self.feed_seq = 0
        self.phase = int(Phase.CONTINUOUS)
        self.last_price: int | None = None
        self.touched: dict[tuple[int, int], None] = {}
        self._shown: dict[int, int] = {}  # by order_id, of icebergs that rest

    @classmethod
    def of(cls, book: Book) -> DepthBook:
        """What a book shows now. O(levels), and of levels with icebergs O(orders)."""
        made = cls()
        made.feed_seq, made.phase, made.last_price = book.feed_seq, book.phase, book.last_price
        for side, ladder in ((_BUY, book.bids), (_SELL, book.asks)):
            levels = made.sides[side]
            for level in shown_levels(ladder):
                levels.move(level.price, level.qty, shown_count(level))
                if level.icebergs:
                    for order in level:
                        if display_qty(order.terms):
                            made._shown[order.terms[0]] = order.shown_qty()
        return made

    def take(self, event: Event) -> None:
        """The next public event."""
        assert event[1] == self.feed_seq + 1, f"feed_seq {event[1]} after {self.feed_seq}"
        self.feed_seq = event[1]
        handler = _HANDLERS.get(event[0])
        if handler is not None:
            handler(self, event)

    def best(self) -> Best:
        """The best level of each side."""
        bid, ask = (self.sides[side].rows(1) for side in (_BUY, _SELL))
        return (*(bid[0][:2] if bid else (None, 0)), *(ask[0][:2] if ask else (None, 0)))

    def checksum(self) -> int:
        """See `wire/book_checksum.py`."""
        return book_checksum(self.sides[_BUY].rows(DEPTH), self.sides[_SELL].rows(DEPTH))

    def changes(self) -> tuple[tuple[int, ...], ...]:
        """The levels that were touched, as they are now."""
        changes = tuple((side, *self.sides[side].row(price)) for side, price in self.touched)
        self.touched.clear()
        return changes

    def _move(self, side: int, price: int, qty: int, orders: int) -> None:
        self.sides[side].move(price, qty, orders)
        self.touched[side, price] = None

    def _join(self, event: Event) -> None:
        _, order_id, side, price, qty = public_view(event)
        if display_qty(event[2]):
            self._shown[order_id] = qty
        self._move(side, price, qty, 1)

    def _trade(self, event: Event) -> None:
        maker = event[5]
        _, _, price, qty, _, taker_side, shown = public_view(event)
        self.last_price = price
        if is_hidden(maker):
            return
        self._show(maker, shown)
        self._move(_SELL if taker_side == _BUY else _BUY, price, -qty, 0 if shown else -1)

    def _cross(self, event: Event) -> None:
        self.last_price = event[3]
        for terms, shown in zip((event[5], event[9]), shown_at_auction(event), strict=True):
            if shown is None:
                continue
            before = self._shown.get(terms[0])
            change = -event[4] if before is None else shown - before
            self._show(terms, shown)
            self._move(terms[4][0], terms[6], change, 0 if shown else -1)

    def _end(self, event: Event) -> None:
        terms = event[2]
        self._shown.pop(terms[0], None)
        self._move(terms[4][0], terms[6], -shown_in_delete(event), -1)

    def _restate(self, event: Event) -> None:
        terms, change = event[2], -event[5]
        if len(event) > 7:
            change = event[7] - self._shown[terms[0]]
            self._show(terms, event[7])
        self._move(terms[4][0], terms[6], change, 0)

    def _replace(self, event: Event) -> None:
        terms, old = event[2], event[3]
        is_iceberg = len(event) > 8
        now, before = event[8:10] if is_iceberg else event[5:7]
        if event[7]:
            if is_iceberg:
                self._show(terms, now)
            self._move(terms[4][0], terms[6], now - before, 0)
        else:
            self._shown.pop(old[0], None)
            self._move(old[4][0], old[6], -before, -1)

    def _reprice(self, event: Event) -> None:
        self._move(event[2][4][0], event[3], -event[4], -1)

    def _show(self, terms: tuple[Any, ...], shown: int) -> None:
        """Remember what an iceberg shows."""
        if not display_qty(terms):
            return
        if shown:
            self._shown[terms[0]] = shown
        else:
            self._shown.pop(terms[0], None)

    def _enter_phase(self, event: Event) -> None:
        self.phase = event[3]


_HANDLERS: Final[dict[int, Callable[[DepthBook, Event], None]]] = {
    ACCEPTED: DepthBook._join,
    RESTED: DepthBook._join,
    REFILLED: DepthBook._join,
    TRADE: DepthBook._trade,
    AUCTION_TRADE: DepthBook._cross,
    CANCELED: DepthBook._end,
    EXPIRED: DepthBook._end,
    RESTATED: DepthBook._restate,
    REPLACED: DepthBook._replace,
    REPRICED: DepthBook._reprice,
    PHASE_CHANGED: DepthBook._enter_phase,
}


class Step(NamedTuple):
    """What one entry did: its delta, and the best prices after it."""

    delta: Delta
    best: Best


class DepthFeed:
    """The levels of a symbol and their last changes, for as long as somebody reads them.

    A reader stands at a position: how many steps came before. When the instrument is deleted the
    feed is over; one that gets its symbol has another.

    Attributes:
        book: as of the last step.
        entry_index: of the last step, or of the state that this began with.
        is_over: the instrument was deleted, by the last step.
    """

    def __init__(self, book: Book, entry_index: int, kept: int) -> None:
        self.book = DepthBook.of(book)
        self.entry_index = entry_index
        self.end = 0
        self.is_over = False
        self._steps: deque[Step] = deque(maxlen=kept)
        self._began = (self.book.feed_seq, entry_index)
        self._previous = self.book.feed_seq
        self._when: tuple[int, int] | None = None

    def take(self, event: Event, when: tuple[int, int]) -> None:
        """A public event of this instrument, and the entry_index and time of its entry."""
        if when[0] <= self._began[1] or self.is_over:
            return  # the state that it began with has it; or it is of the next one of this name
        self._when = when
        self.book.take(event)
        self.is_over = event[0] == INSTRUMENT_DELETED

    def end_entry(self) -> None:
        """All events of an entry were taken."""
        if self._when is None:
            return
        book = self.book
        place = (book.feed_seq, self._previous, *self._when)
        about = (book.phase, book.last_price)
        delta = (*place, book.changes(), book.checksum(), *about)
        self._steps.append(Step(delta, book.best()))
        self._previous, self.entry_index, self._when = book.feed_seq, self._when[0], None
        self.end += 1

    def after(self, position: int) -> list[Step] | None:
        """The steps after a position; None if some of them are no longer kept."""
        count = self.end - position
        if count > len(self._steps):
            return None
        return [self._steps[at] for at in range(len(self._steps) - count, len(self._steps))]

    def place(self, feed_seq: int, entry_index: int) -> int | None:
        """The position of a reader that has everything up to `feed_seq`, which it had from an
        entry not after `entry_index`; None if what follows is not kept."""
        began_seq, began_at = self._began
        if feed_seq == began_seq and entry_index >= began_at and self.end <= len(self._steps):
            return 0
        first = self.end - len(self._steps)
        for at, step in enumerate(self._steps):
            if step.delta[0] == feed_seq:
                return first + at + 1 if entry_index >= step.delta[2] else None
        return None

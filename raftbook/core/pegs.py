"""Pegged orders: limit orders whose price follows the best prices of the others.

Owns which price such an order wants, and when it moves. Best prices are those of displayed orders
that are not pegged, so that none follows another. The moving itself is the book's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from raftbook.core.ladder import Ladder, Order
from raftbook.core.types import PegReference, Side

if TYPE_CHECKING:
    from raftbook.core.book import Book
    from raftbook.core.events import Event

_BUY: Final = int(Side.BUY)
_PRIMARY: Final = int(PegReference.PRIMARY)
_MARKET: Final = int(PegReference.MARKET)


class Pegs:
    """All pegged orders of one instrument.

    Attributes:
        by_id: those that are open, in order_id order, whether they stand in the book or wait.
        entry_index, room: how many more may move in the entry of that index.
        is_parked: whether none of them may stand, since the instrument is not trading.
        is_current: whether every order has what it wants, given the next two.
        bid, ask: the references at the last look.
    """

    __slots__ = ("ask", "bid", "by_id", "entry_index", "is_current", "is_parked", "room")

    def __init__(self) -> None:
        self.by_id: dict[int, Order] = {}
        self.is_current = self.is_parked = False
        self.bid: int | None = None
        self.ask: int | None = None
        self.entry_index = 0
        self.room = 0

    def add(self, order: Order) -> None:
        """A new order, which waits until it is looked at."""
        self.by_id[order.terms[0]] = order
        self.is_current = False

    def remove(self, order: Order) -> None:
        """An order is over."""
        del self.by_id[order.terms[0]]

    def __len__(self) -> int:
        return len(self.by_id)

    def __bool__(self) -> bool:
        return bool(self.by_id)

    def check(self) -> None:
        """Assert that each of them stands at its price, or waits without one."""
        assert list(self.by_id) == sorted(self.by_id), f"pegs out of order: {list(self.by_id)}"
        for order in self.by_id.values():
            special, price = order.special, order.terms[6]
            assert special is not None and special.is_pegged, f"{order.terms[0]} is not pegged"
            assert order.leaves_qty > 0, f"order {order.terms[0]} is pegged and closed"
            assert (order.level is None) == (price is None), f"{order.terms[0]} is at {price}"
            assert price is None or special.wanted is not None, f"{order.terms[0]} wants no price"


def follow(book: Book, events: list[Event]) -> None:
    """Let pegged orders move to where their references are now, each once; with the next entry
    where this one has looked at so many already.

    First each that wants another price leaves the book, then each joins it: so they do not stand in
    each other's way. O(1) while nothing that they follow has moved, else O(pegged orders).
    """
    pegs = book.pegs
    if pegs is None:
        return
    if not book.is_trading:
        if not pegs.is_parked:
            _park(book, pegs, events)
        return
    pegs.is_parked = False
    if book.symbol in book.agenda.following:
        return
    bid, ask = reference(book.bids), reference(book.asks)
    if pegs.is_current and bid == pegs.bid and ask == pegs.ask:
        return
    pegs.bid, pegs.ask = bid, ask
    if not pegs.by_id:
        return
    room = book.agenda.room
    if room.peg_looks <= 0:
        _follow_later(book, pegs)
        return
    room.peg_looks -= len(pegs.by_id)
    moving = _moving(book, pegs)
    for order in moving:
        if order.level is not None:
            book.step_aside(order, events)
    for order in moving:
        assert order.special is not None, f"order {order.terms[0]} is not pegged"
        if order.special.wanted is not None:
            book.step_in(order, order.special.wanted, events)


def _park(book: Book, pegs: Pegs, events: list[Event]) -> None:
    """Let all of them wait, since the instrument is not trading."""
    pegs.is_parked, pegs.is_current = True, False
    for order in pegs.by_id.values():
        assert order.special is not None, f"order {order.terms[0]} is not pegged"
        order.special.wanted = None
        if order.level is not None:
            book.step_aside(order, events)


def _moving(book: Book, pegs: Pegs) -> list[Order]:
    """The orders that want another price now, as many as may move in this entry."""
    if pegs.entry_index != book.moment.index:
        pegs.entry_index, pegs.room = book.moment.index, book.limits.pegs_page
    moving: list[Order] = []
    pegs.is_current = True
    for order in pegs.by_id.values():
        special = order.special
        assert special is not None, f"order {order.terms[0]} is not pegged"
        wanted = wanted_price(order.terms, pegs.bid, pegs.ask)
        if wanted is not None and not book.admits(wanted):
            wanted = None
        if wanted == special.wanted:
            continue
        if not pegs.room:
            _follow_later(book, pegs)
            break
        pegs.room -= 1
        special.wanted = wanted
        moving.append(order)
    return moving


def _follow_later(book: Book, pegs: Pegs) -> None:
    pegs.is_current = False
    book.agenda.following[book.symbol] = None
    book.agenda.wake_at(0)


def recall(book: Book, pegs: Pegs) -> None:
    """Know after a restore what was looked at: every entry ends with a look at what trades, unless
    the next one begins with it. Whether one is due decides what else there is room for."""
    pegs.bid, pegs.ask = reference(book.bids), reference(book.asks)
    pegs.is_current = book.is_trading and book.symbol not in book.agenda.following


def reference(ladder: Ladder) -> int | None:
    """The best price of a side at which not all orders are pegged or hidden."""
    level = ladder.best_quoted()
    return None if level is None else level.price


def wanted_price(terms: tuple[Any, ...], bid: int | None, ask: int | None) -> int | None:
    """The price of a pegged order with these best prices; None without what it follows."""
    kind, offset, limit = terms[8]
    is_buy = terms[4][0] == _BUY
    own, opposite = (bid, ask) if is_buy else (ask, bid)
    if kind == _PRIMARY:
        base = own
    elif kind == _MARKET:
        base = opposite
    elif own is None or opposite is None:
        base = None
    else:  # an odd sum is rounded away from the other side
        base = (own + opposite) // 2 if is_buy else -(-(own + opposite) // 2)
    if base is None:
        return None
    price: int = base + offset
    if is_buy:
        price = price if limit is None else min(price, limit)
        return price if opposite is None else min(price, opposite - 1)
    price = price if limit is None else max(price, limit)
    return price if opposite is None else max(price, opposite + 1)

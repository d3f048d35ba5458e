"""One instrument's queue as the market saw it, moved on by the feed: who stood before whom, when.

Owns places and what traded past them, for `log_story.py`. Quantities are what was shown.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from raftbook.core.book import Book
from raftbook.core.call import CALLS
from raftbook.core.hidden import shown_levels, shown_orders
from raftbook.core.types import Side


class Place(NamedTuple):
    """What stood before an order.

    Attributes:
        orders, qty: at its own price, ahead of it.
        better_orders, better_qty: at better prices.
    """

    orders: int
    qty: int
    better_orders: int
    better_qty: int


class Queue:
    """The resting orders of an instrument.

    Attributes:
        last_price: ticks, None before the first trade.
        is_call: orders gather for an auction.
    """

    def __init__(self, book: Book | None) -> None:
        self.last_price = None if book is None else book.last_price
        self.is_call = book is not None and book.is_call
        self._orders: dict[int, tuple[int, int, int]] = {}  # side, price, qty, as they joined
        for ladder, side in () if book is None else ((book.bids, 1), (book.asks, 2)):
            for level in shown_levels(ladder):
                for order in shown_orders(level):
                    self._orders[order.terms[0]] = (side, level.price, order.shown_qty())

    def __contains__(self, order_id: int) -> bool:
        return order_id in self._orders

    def take(self, view: tuple[Any, ...]) -> None:
        """The next public event, as `feed.messages.public_view` says it."""
        kind, *fields = view
        if kind == "add":
            order_id, side, price, qty = fields
            self._orders[order_id] = (side, price, qty)
        elif kind == "trade":
            order_id, price, _, _, _, left = fields
            self.last_price = price
            if order_id:  # else nothing that was seen
                self._set(order_id, left)
        elif kind == "reduce":
            self._set(fields[0], fields[3])
        elif kind == "delete":
            self._orders.pop(fields[0], None)
        elif kind == "phase":
            self.is_call = fields[0] in CALLS
        elif kind == "cross":
            self.last_price = fields[0]
            for order_id, left in ((fields[3], fields[5]), (fields[6], fields[8])):
                if left is not None:
                    self._set(order_id, left)

    def _set(self, order_id: int, qty: int) -> None:
        order = self._orders.pop(order_id) if not qty else self._orders[order_id]
        if qty:
            self._orders[order_id] = (*order[:2], qty)

    def place(self, order_id: int) -> Place:
        """What stands before a resting order."""
        side, price, _ = self._orders[order_id]
        ahead = [0, 0, 0, 0]
        is_behind = False
        for other, (its_side, its_price, qty) in self._orders.items():
            if other == order_id:
                is_behind = True
            elif its_side == side and its_price == price and not is_behind:
                ahead[0] += 1
                ahead[1] += qty
            elif its_side == side and is_better(side, its_price, price):
                ahead[2] += 1
                ahead[3] += qty
        return Place(*ahead)

    def is_ahead(self, order_id: int, of: int) -> bool:
        """Whether an order stands at the same price as another, and before it."""
        if order_id not in self._orders or of not in self._orders:
            return False
        if self._orders[order_id][:2] != self._orders[of][:2]:
            return False
        return next(each for each in self._orders if each in (order_id, of)) == order_id

    def best(self, side: int) -> tuple[int, int] | None:
        """Best price of a side and what is shown there."""
        prices = [price for its_side, price, _ in self._orders.values() if its_side == side]
        if not prices:
            return None
        best = max(prices) if side == Side.BUY else min(prices)
        shown = [qty for its, price, qty in self._orders.values() if (its, price) == (side, best)]
        return best, sum(shown)

    def offered(self, side: int, price: int | None) -> int:
        """What the other side shows to an order of this side and limit price."""
        return sum(
            qty
            for its_side, its_price, qty in self._orders.values()
            if its_side != side
            and (price is None or its_price == price or is_better(side, price, its_price))
        )


def is_better(side: int, price: int, than: int) -> bool:
    """Whether a price is ahead of another one on its side of the book."""
    return price > than if side == Side.BUY else price < than

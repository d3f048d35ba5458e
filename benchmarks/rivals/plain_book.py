"""The least that matches: a sorted dictionary of levels a side, a dictionary of orders a level.

What a book in Python costs before it can do anything else, and the reference for the others: its
trades on the conformance flow are those on which independent engines agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sortedcontainers import SortedDict

NEW, CANCEL, MODIFY = "N", "C", "M"
BUY, SELL = 0, 1


class Message(NamedTuple):
    """A line of the flow; a modify names the new price and the new open quantity.

    Args:
        order_id: the sender's own; cancels and modifies may name one that is not in the book.
        is_ioc: what is left of the order at once is cancelled.
    """

    kind: str
    order_id: int
    side: int
    price: int
    qty: int
    is_ioc: bool


class Trade(NamedTuple):
    """So much traded when message `number` came; `maker_id` is 0 where a book does not tell."""

    number: int
    price: int
    qty: int
    maker_id: int


class PlainBook:
    """Price-time priority and nothing else; prices are positive."""

    def __init__(self) -> None:
        # Bids stand under their negated price, so that the first key is the best on both sides.
        self._ladders: tuple[SortedDict, SortedDict] = (SortedDict(), SortedDict())
        self._places: dict[int, tuple[int, int]] = {}
        self.trades: list[Trade] = []

    def __contains__(self, order_id: int) -> bool:
        return order_id in self._places

    def submit(self, number: int, message: Message) -> None:
        """Trades what crosses; the rest stays unless it is IOC."""
        _, order_id, side, price, left, is_ioc = message
        key = -price if side == BUY else price
        makers = self._ladders[1 - side]
        while left and makers:
            best, level = makers.peekitem(0)
            if key + best > 0:  # the one is negated, so their sum is what lies between them
                break
            while left and level:
                maker_id, open_qty = next(iter(level.items()))
                qty = min(left, open_qty)
                self.trades.append(Trade(number, abs(best), qty, maker_id))
                left -= qty
                if qty == open_qty:
                    del level[maker_id], self._places[maker_id]
                else:
                    level[maker_id] = open_qty - qty
            if not level:
                del makers[best]
        if left and not is_ioc:
            ladder = self._ladders[side]
            if key not in ladder:
                ladder[key] = {}
            ladder[key][order_id] = left
            self._places[order_id] = (side, key)

    def cancel(self, order_id: int) -> int | None:
        """Takes an order out of the book; its side, or None when it is not there."""
        place = self._places.pop(order_id, None)
        if place is None:
            return None
        side, key = place
        level = self._ladders[side][key]
        del level[order_id]
        if not level:
            del self._ladders[side][key]
        return side

    def modify(self, number: int, message: Message) -> None:
        """Leaves its place and enters anew, and may trade."""
        side = self.cancel(message.order_id)
        if side is not None:
            self.submit(number, message._replace(side=side, is_ioc=False))


def replay(messages: Sequence[Message]) -> list[Trade]:
    """All messages through a fresh book."""
    book = PlainBook()
    for number, message in enumerate(messages):
        kind = message[0]
        if kind == NEW:
            book.submit(number, message)
        elif kind == CANCEL:
            book.cancel(message[1])
        else:
            book.modify(number, message)
    return book.trades

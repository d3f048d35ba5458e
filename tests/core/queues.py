"""What is fair between orders, from events alone: who trades first, and what its own words forbid.

Knows price and time priority, and what post-only, a minimum and an amount of money promise; knows
neither books nor the rules by which a taker is judged before it trades.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING

from raftbook.core import events as e
from raftbook.core.events import Event
from raftbook.core.types import Reject, Side

if TYPE_CHECKING:
    from tests.core.ledger import Line

_SIGNS = {int(Side.BUY): -1, int(Side.SELL): 1}
_UNPAID = (Reject.INSUFFICIENT_FUNDS, Reject.INSUFFICIENT_POSITION)
_MISSED = (Reject.MIN_QTY_NOT_MET, Reject.FILL_LIMIT, Reject.RATE_LIMIT, *_UNPAID)
_PENDING_AT = 10
"""Where conditions name the other order of an OTO."""
_BEGINS = (e.ACCEPTED, e.REJECTED, e.CANCEL_REJECTED)
_TURNS = (e.RESTED, e.CANCELED, e.EXPIRED, e.RESTATED)


def _is_pending(event: Event | None) -> bool:
    """Whether it accepts an order that waits for the one before it."""
    if event is None or event[0] != e.ACCEPTED or len(event[2]) < 8:
        return False
    conditions = event[2][7]
    return len(conditions) > _PENDING_AT and 0 < conditions[_PENDING_AT] < event[2][0]


class Queues:
    """Who stands where at each price, and which order is entering with a minimum."""

    def __init__(self) -> None:
        # Of each side of a market (price as it counts, hidden, place, order_id), the first one on
        # top; what has left, or stands elsewhere now, is thrown away when it comes up.
        self._standing: dict[tuple[str, int], list[tuple[int, bool, int, int]]] = {}
        self._lines: dict[int, Line] = {}
        self._places: dict[int, int] = {}
        self._joined = 0
        self._entering: Line | None = None

    def join(self, line: Line) -> None:
        """An order stands at the back of its price from now on."""
        order_id, side = line.terms.order_id, line.terms.kind[0]
        assert line.terms.price is not None, line
        self._joined += 1
        self._places[order_id] = self._joined
        self._lines[order_id] = line
        standing = self._standing.setdefault((line.terms.symbol, side), [])
        price = _SIGNS[side] * line.terms.price
        heappush(standing, (price, line.is_hidden, self._joined, order_id))

    def check_trade(self, event: Event, maker: Line, taker: Line) -> None:
        """Assert that no order stood before this maker, and that the taker may take."""
        assert not taker.terms.kind[3], f"a post-only order takes: {event}"
        standing = self._standing[maker.terms.symbol, maker.terms.kind[0]]
        while not self._stands(*standing[0]):
            heappop(standing)
        first = self._lines[standing[0][3]]
        assert first is maker, f"{first} stood before the maker of {event}"

    def _stands(self, price: int, hidden: bool, place: int, order_id: int) -> bool:
        line = self._lines[order_id]
        if not line.rests or self._places[order_id] != place:
            return False
        assert line.terms.price is not None, line
        return price == _SIGNS[line.terms.kind[0]] * line.terms.price

    def check_amount(self, event: Event, line: Line) -> None:
        """Assert that an order for an amount of money trades no more than that."""
        amount = line.terms.conditions[6] if line.terms.conditions else 0
        assert not amount or line.cum_notional <= amount, f"it is worth more than asked: {event}"

    def look(self, event: Event | None) -> None:
        """Assert, before an event (None is the end of a reply) is read, that an order which has
        entered by then had its minimum at once, or nothing."""
        line = self._entering
        if line is not None and not _is_pending(event):
            minimum = line.terms.conditions[4] if line.terms.conditions else 0
            if event is None or event[0] in _BEGINS:
                self._entering = None
                assert line.cum_qty >= minimum, f"less than its minimum: {line}"
            elif event[0] in _TURNS and event[2][0] == line.terms.order_id:
                self._entering = None
                missed = event[0] == e.EXPIRED and event[6] in _MISSED and not line.cum_qty
                assert missed or line.cum_qty >= minimum, f"less than its minimum: {event}"

    def enters(self, line: Line) -> None:
        """A new order; look at it until it is known what became of it."""
        if line.terms.conditions and line.terms.conditions[4]:
            self._entering = line

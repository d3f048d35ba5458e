"""What is fair between orders, from events alone: who trades first, and what its own words forbid.

Knows price and time priority, and what post-only, a minimum and an amount of money promise; knows
neither books nor the rules by which a taker is judged before it trades.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from raftbook.core import events as e
from raftbook.core.events import Event
from raftbook.core.types import Reject, Side

if TYPE_CHECKING:
    from tests.core.ledger import Line

_MISSED = (Reject.MIN_QTY_NOT_MET, Reject.FILL_LIMIT)
_BEGINS = (e.ACCEPTED, e.REJECTED, e.CANCEL_REJECTED)
_TURNS = (e.RESTED, e.CANCELED, e.EXPIRED, e.RESTATED)


class Queues:
    """Who stands where at each price, and which order is entering with a minimum."""

    def __init__(self) -> None:
        self._standing: dict[tuple[str, int], dict[int, Line]] = {}
        self._places: dict[int, int] = {}
        self._joined = 0
        self._entering: Line | None = None

    def join(self, line: Line) -> None:
        """An order stands at the back of its price from now on."""
        order_id = line.terms.order_id
        self._joined += 1
        self._places[order_id] = self._joined
        self._standing.setdefault((line.terms.symbol, line.terms.kind[0]), {})[order_id] = line

    def check_trade(self, event: Event, maker: Line, taker: Line) -> None:
        """Assert that no order stood before this maker, and that the taker may take."""
        assert not taker.terms.kind[3], f"a post-only order takes: {event}"
        terms = maker.terms
        here = (terms.symbol, terms.kind[0])
        standing = self._standing[here] = {
            order_id: line for order_id, line in self._standing[here].items() if line.rests
        }
        sign = 1 if terms.kind[0] == Side.SELL else -1
        assert terms.price is not None, event
        own = (sign * terms.price, self._places[terms.order_id])
        for order_id, line in standing.items():
            assert line.terms.price is not None, line
            place = (sign * line.terms.price, self._places[order_id])
            assert place >= own, f"{line} stood before the maker of {event}"

    def check_amount(self, event: Event, line: Line) -> None:
        """Assert that an order for an amount of money trades no more than that."""
        amount = line.terms.conditions[6] if line.terms.conditions else 0
        assert not amount or line.cum_notional <= amount, f"it is worth more than asked: {event}"

    def look(self, event: Event | None) -> None:
        """Assert, before an event (None is the end of a reply) is read, that an order which has
        entered by then had its minimum at once, or nothing."""
        line = self._entering
        if line is not None:
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

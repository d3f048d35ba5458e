"""What a careful reader of the replies may always conclude: the books are kept, nothing is lost.

Folds the events of every fresh reply into orders and feeds of its own and asserts, on the way,
that quantities add up, sequences are dense, trades are fair and no book is crossed. It knows the
meaning of events and none of the rules that make them.
"""

from dataclasses import dataclass
from typing import Any

from raftbook.core import events as e
from raftbook.core.commands import NO_SESSION
from raftbook.core.events import Event, OrderTerms, Reply
from raftbook.core.types import Reject, Side, TimeInForce


@dataclass
class Line:
    """One order as the events told it."""

    terms: OrderTerms
    leaves_qty: int
    cum_qty: int = 0
    canceled_qty: int = 0
    cum_notional: int = 0
    rests: bool = False

    def check(self) -> None:
        assert self.leaves_qty >= 0, self
        assert self.terms.order_qty == self.cum_qty + self.leaves_qty + self.canceled_qty, self


class Ledger:
    """Every order ever accepted and every feed, from replies alone."""

    def __init__(self) -> None:
        self.lines: dict[int, Line] = {}
        self.feed_seqs: dict[str, int] = {}
        self.trade_ids: dict[str, int] = {}

    def read(self, replies: list[Reply]) -> None:
        """Take one entry's replies in; raises AssertionError on the first thing amiss."""
        offset = 0
        for session_id, _, _, event_offset, events, poss_dup in replies:
            if poss_dup and session_id != NO_SESSION:
                continue
            assert event_offset == offset, f"event_offset {event_offset} where {offset} was due"
            offset += len(events)
            for event, following in zip(events, [*events[1:], None], strict=True):
                self._read(event, following)

    def check(self) -> None:
        """Assert what must hold between entries."""
        for line in self.lines.values():
            line.check()
            assert line.rests == (line.leaves_qty > 0), f"open but not in the book: {line}"
        for symbol in self.feed_seqs:
            bids, asks = (
                [
                    line.terms.price
                    for line in self.lines.values()
                    if line.rests and (line.terms.symbol, line.terms.kind[0]) == (symbol, side)
                ]
                for side in (Side.BUY, Side.SELL)
            )
            assert not bids or not asks or max(bids) < min(asks), f"{symbol} is crossed"

    def _read(self, event: Event, following: Event | None) -> None:
        if event[1]:
            symbol = _symbol(event)
            due = self.feed_seqs.get(symbol, 0) + 1
            assert event[1] == due, f"feed_seq {event[1]} where {due} was due: {event}"
            self.feed_seqs[symbol] = due
        if event[0] == e.ACCEPTED:
            self._accepted(event, following)
        elif event[0] == e.TRADE:
            self._trade(event)
        elif event[0] in (e.CANCELED, e.EXPIRED):
            self._ended(event)
        elif event[0] == e.REPLACED:
            self._replaced(event)
        elif event[0] == e.RESTATED:
            _, feed_seq, terms, cum_qty, leaves_qty, prevented_qty, was_resting = event
            line = self._line(terms)
            assert (was_resting, bool(feed_seq)) == (int(line.rests), line.rests), event
            assert prevented_qty > 0 and leaves_qty > 0, event
            line.leaves_qty -= prevented_qty
            line.canceled_qty += prevented_qty
            assert (line.cum_qty, line.leaves_qty) == (cum_qty, leaves_qty), event
        elif event[0] == e.RESTED:
            line = self._line(event[2])
            assert event[1] and not line.rests and event[3] == line.leaves_qty > 0, event
            line.rests = True

    def _accepted(self, event: Event, following: Event | None) -> None:
        terms = OrderTerms(*event[2])
        assert terms.order_id == len(self.lines) + 1, f"order_id is not the next: {event}"
        line = self.lines[terms.order_id] = Line(terms, terms.order_qty)
        line.rests = event[1] > 0
        if terms.kind[2] != TimeInForce.GTC:
            assert not line.rests, f"an immediate order rests: {event}"
        if following is not None and following[0] == e.EXPIRED:
            assert following[2][0] == terms.order_id, f"an order expires unasked: {following}"

    def _trade(self, event: Event) -> None:
        _, feed_seq, trade_id, price, qty, *sides = event
        maker, taker = self._line(sides[0]), self._line(sides[4])
        symbol = maker.terms.symbol
        self.trade_ids[symbol] = self.trade_ids.get(symbol, 0) + 1
        assert trade_id == self.trade_ids[symbol], f"trade_id is not the next: {event}"
        assert feed_seq and maker.rests and not taker.rests and qty > 0, event
        assert taker.terms.symbol == symbol and price == maker.terms.price, event
        assert {maker.terms.kind[0], taker.terms.kind[0]} == {Side.BUY, Side.SELL}, event
        if taker.terms.price is not None:
            gain = taker.terms.price - price
            assert (gain if taker.terms.kind[0] == Side.BUY else -gain) >= 0, event
        for line, (_, cum_qty, leaves_qty, cum_notional) in (
            (maker, sides[:4]),
            (taker, sides[4:]),
        ):
            line.cum_qty += qty
            line.leaves_qty -= qty
            line.cum_notional += qty * price
            told = (cum_qty, leaves_qty, cum_notional)
            assert told == (line.cum_qty, line.leaves_qty, line.cum_notional), event
        maker.rests = maker.leaves_qty > 0

    def _ended(self, event: Event) -> None:
        kind, feed_seq, terms, cum_qty, canceled_qty, was_resting, reason = event
        line = self._line(terms)
        assert (was_resting, bool(feed_seq)) == (int(line.rests), line.rests), event
        assert (cum_qty, canceled_qty) == (line.cum_qty, line.leaves_qty), event
        assert canceled_qty > 0, event
        line.canceled_qty += canceled_qty
        line.leaves_qty = 0
        line.rests = False
        if kind == e.EXPIRED:
            assert line.terms.kind[2] != TimeInForce.GTC and not was_resting, event
        is_fok = line.terms.kind[2] == TimeInForce.FOK
        if is_fok:
            assert reason == Reject.FOK_CANNOT_FILL, event
            assert cum_qty == 0 and canceled_qty == line.terms.order_qty, f"in part: {event}"

    def _replaced(self, event: Event) -> None:
        _, feed_seq, terms, old_terms, cum_qty, leaves_qty, old_leaves_qty, kept_priority = event
        line = self._line(old_terms)
        assert feed_seq and line.rests, event
        assert (line.cum_qty, line.leaves_qty) == (cum_qty, old_leaves_qty), event
        assert terms[:5] == old_terms[:5], f"an amend changed more than price and quantity: {event}"
        same_price = terms[6] == old_terms[6]
        assert kept_priority == int(same_price and leaves_qty <= old_leaves_qty), event
        line.terms = OrderTerms(*terms)
        line.leaves_qty = leaves_qty
        # A new total counts nothing that was prevented before; without one all stays as it was.
        if leaves_qty != old_leaves_qty or terms[5] != old_terms[5]:
            line.canceled_qty = 0
        assert line.canceled_qty in (0, terms[5] - cum_qty - leaves_qty), event
        line.canceled_qty = terms[5] - cum_qty - leaves_qty
        line.rests = bool(kept_priority)

    def _line(self, terms: Any) -> Line:
        line = self.lines[terms[0]]
        assert tuple(terms) == tuple(line.terms), f"terms {terms} where {line.terms} stood"
        return line


def _symbol(event: Event) -> str:
    """The instrument a public event belongs to."""
    if event[0] == e.TRADE:
        return str(event[5][3])
    if event[0] == e.INSTRUMENT_CREATED:
        return str(event[2][0])
    return str(event[2] if event[0] == e.PHASE_CHANGED else event[2][3])

"""What a careful reader of the replies may always conclude: the books are kept, nothing is lost.

Folds the events of every fresh reply into orders, feeds and balances of its own and asserts, on
the way, that quantities add up, sequences are dense, trades are fair and no book that trades is
crossed. It knows the meaning of events and none of the rules that make them. `purse.py` has the
balances, `queues.py` who may trade before whom.
"""

from dataclasses import dataclass, field
from math import inf
from typing import Any

from raftbook.core import events as e
from raftbook.core.commands import NO_SESSION
from raftbook.core.conditions import OrderConditions
from raftbook.core.events import Event, OrderTerms, Reply
from raftbook.core.exchange import Genesis
from raftbook.core.types import OrderType, Phase, Reject, Side, TimeInForce
from tests.core.purse import Purse
from tests.core.queues import Queues

WAITING = {OrderType.STOP, OrderType.STOP_LIMIT, OrderType.IF_TOUCHED, OrderType.LIMIT_IF_TOUCHED}


_CALLS = (Phase.PRE_OPEN, Phase.AUCTION)


@dataclass
class Line:
    """One order as the events told it."""

    terms: OrderTerms
    leaves_qty: int
    cum_qty: int = 0
    canceled_qty: int = 0
    cum_notional: int = 0
    rests: bool = False
    stands_by: bool = False
    """Open and in no book: a stop before it fires, a market order before its auction."""
    shown_qty: int | None = None
    """What the market sees of an iceberg in the book."""
    is_filled: bool = False
    """A trade left it nothing, and it has traded all that it was to be."""
    owes_qty: int = 0
    """What the other one of a pair has traded that this one has not shrunk by yet."""
    is_pending: bool = False
    """It stands by until the order that it is pending on is filled."""
    ended_other: bool = False
    """Whether it did what ends the other leg of an OCO."""

    def check(self) -> None:
        assert self.leaves_qty >= 0, self
        assert self.terms.order_qty == self.cum_qty + self.leaves_qty + self.canceled_qty, self
        assert self.cum_qty >= 0 and self.canceled_qty >= 0, self
        if self.shown_qty is not None and self.rests:
            assert 0 < self.shown_qty <= min(self.display_qty, self.leaves_qty), self

    @property
    def display_qty(self) -> int:
        """Lots the market may see of an iceberg; 0 for another order."""
        return self.terms.conditions[3] if self.terms.conditions else 0

    @property
    def is_hidden(self) -> bool:
        return bool(self.terms.conditions and OrderConditions(*self.terms.conditions).hidden)

    @property
    def is_seen(self) -> bool:
        """Whether the market sees it stand in the book."""
        return self.rests and not self.is_hidden

    @property
    def other_order(self) -> int:
        """Of a working order the first that is pending on it, of a pending one the working one."""
        return OrderConditions(*(self.terms.conditions or ())).oto_order_id

    @property
    def updates_other(self) -> bool:
        return OrderConditions(*(self.terms.conditions or ())).updates_other > 0

    @property
    def other_leg(self) -> int:
        return self.terms.conditions[7] if self.terms.conditions else 0


@dataclass
class _Auction:
    """What one auction has told so far."""

    prices: set[int] = field(default_factory=set)
    volume: int = 0
    last_bid: tuple[float, bool] = (-inf, False)
    """How far behind the buyer was who traded last: by his limit (that of a market order is beyond
    all others), then hidden ones."""
    last_ask: tuple[float, bool] = (-inf, False)

    def take(self, event: Event, buyer: Line, seller: Line) -> None:
        """Count a trade; on either side the better price must have come first."""
        bid = (-inf if buyer.terms.price is None else -buyer.terms.price, buyer.is_hidden)
        ask = (-inf if seller.terms.price is None else seller.terms.price, seller.is_hidden)
        assert bid >= self.last_bid and ask >= self.last_ask, f"a better price waited: {event}"
        self.last_bid, self.last_ask = bid, ask
        self.prices.add(event[3])
        self.volume += event[4]


class Ledger:
    """Every order ever accepted, every feed and every balance, from replies alone."""

    def __init__(self, genesis: Genesis) -> None:
        self.lines: dict[int, Line] = {}
        self.feed_seqs: dict[str, int] = {}
        self.trade_ids: dict[str, int] = {}
        self.phases: dict[str, int] = {}
        self.purse = Purse(genesis)
        self._queues = Queues()
        self._auctions: dict[str, _Auction] = {}  # those under way, by symbol
        self._gathered: set[str] = set()  # what has been in a call, and in no auction since

    def read(self, replies: list[Reply]) -> None:
        """Take one entry's replies in; raises AssertionError on the first thing amiss."""
        offset = 0
        for session_id, _, _, event_offset, events, poss_dup in replies:
            if poss_dup and session_id != NO_SESSION:
                continue
            assert event_offset == offset, f"event_offset {event_offset} where {offset} was due"
            offset += len(events)
            for event, following in zip(events, [*events, None][1:], strict=True):
                self._queues.look(event)
                self._read(event, following)
            self._queues.look(None)

    def check(self, *, is_unfinished: bool = False) -> None:
        """Assert what must hold between entries; auctions may be under way only if the exchange
        has unfinished work."""
        assert is_unfinished or not self._auctions, f"never told to its end: {self._auctions}"
        for line in self.lines.values():
            line.check()
            in_place = line.rests or line.stands_by
            assert in_place == (line.leaves_qty > 0), f"open but nowhere: {line}"
            assert not (line.rests and line.stands_by), line
            assert not line.owes_qty, f"it is larger than what its pair has left: {line}"
            if line.is_pending and line.leaves_qty:
                working = self.lines[line.other_order]
                assert working.leaves_qty or working.is_filled, f"pending on nothing: {line}"
            if line.ended_other:
                other = self.lines[line.other_leg]
                assert other.leaves_qty == 0, f"the other leg is still open: {other}"
        for symbol in self.feed_seqs:
            bids, asks = (
                [
                    line.terms.price
                    for line in self.lines.values()
                    if line.rests and (line.terms.symbol, line.terms.kind[0]) == (symbol, side)
                ]
                for side in (Side.BUY, Side.SELL)
            )
            trades = self.phases.get(symbol, Phase.CONTINUOUS) == Phase.CONTINUOUS
            if trades and symbol not in self._auctions:
                assert not bids or not asks or max(bids) < min(asks), f"{symbol} is crossed"

    def _read(self, event: Event, following: Event | None) -> None:
        if event[1]:
            self._count_feed(event)
        kind = event[0]
        if kind == e.ACCEPTED:
            self._accepted(event, following)
        elif kind in (e.TRADE, e.AUCTION_TRADE):
            self._trade(event)
        elif kind in (e.CANCELED, e.EXPIRED):
            self._ended(event)
        elif kind == e.REPLACED:
            self._replaced(event)
        elif kind == e.RESTATED:
            self._restated(event)
        elif kind == e.RESTED:
            self._rested(event)
        elif kind == e.TRIGGERED:
            self._triggered(event)
        elif kind == e.REFILLED:
            self._refilled(event)
        elif kind == e.REPRICED:
            self._repriced(event)
        elif kind == e.UNCROSSED:
            self._uncrossed(event)
        elif kind == e.TRADE_BUSTED:
            self._busted(event)
        elif kind == e.PHASE_CHANGED:
            self._phase_changed(event)
        elif kind == e.INSTRUMENT_DELETED:
            for seqs in (self.feed_seqs, self.trade_ids, self.phases):
                seqs.pop(event[2], None)
            self._gathered.discard(event[2])
        self.purse.read(event)

    def _count_feed(self, event: Event) -> None:
        symbol = _symbol(event)
        due = self.feed_seqs.get(symbol, 0) + 1
        assert event[1] == due, f"feed_seq {event[1]} where {due} was due: {event}"
        self.feed_seqs[symbol] = due

    def _accepted(self, event: Event, following: Event | None) -> None:
        terms = OrderTerms(*event[2])
        assert terms.order_id == len(self.lines) + 1, f"order_id is not the next: {event}"
        line = self.lines[terms.order_id] = Line(terms, terms.order_qty)
        line.rests = event[1] > 0
        ord_type, time_in_force = terms.kind[1:3]
        in_call = self.phases.get(terms.symbol) in _CALLS
        line.is_pending = 0 < line.other_order < terms.order_id
        line.stands_by = (
            line.is_pending
            or ord_type in (*WAITING, OrderType.PEGGED)
            or (ord_type in (OrderType.MARKET, OrderType.MARKET_TO_LIMIT) and in_call)
        )
        if time_in_force in (TimeInForce.IOC, TimeInForce.FOK) or line.stands_by:
            assert not line.rests, f"an order that cannot rest rests: {event}"
        assert not (line.rests and line.is_hidden), f"a hidden order shows itself: {event}"
        if line.rests:
            self._queues.join(line)
        if not line.is_pending:
            self._queues.enters(line)
        if line.rests and line.display_qty:
            line.shown_qty = min(line.display_qty, line.leaves_qty)
        if following is not None and following[0] == e.EXPIRED:
            entered = (terms.order_id, line.other_leg, line.other_order if line.is_pending else 0)
            assert following[2][0] in entered, f"an order expires unasked: {following}"

    def _trade(self, event: Event) -> None:
        kind, feed_seq, trade_id, price, qty, *told = event
        sides, extras = told[:8], told[8:]
        maker, taker = self._line(sides[0]), self._line(sides[4])
        symbol = maker.terms.symbol
        self.trade_ids[symbol] = self.trade_ids.get(symbol, 0) + 1
        assert trade_id == self.trade_ids[symbol], f"trade_id is not the next: {event}"
        assert feed_seq and qty > 0 and taker.terms.symbol == symbol, event
        if kind == e.TRADE:
            assert maker.rests and not taker.rests and price == maker.terms.price, event
            assert {maker.terms.kind[0], taker.terms.kind[0]} == {Side.BUY, Side.SELL}, event
            self._queues.check_trade(event, maker, taker)
        else:
            assert maker.rests or maker.stands_by, event
            assert taker.rests or taker.stands_by, event
            assert (maker.terms.kind[0], taker.terms.kind[0]) == (Side.BUY, Side.SELL), event
            assert symbol in self._auctions, f"no call has ended: {event}"
            self._auctions[symbol].take(event, maker, taker)
        shown = extras[2:] if extras else (None, None)
        for line, (_, cum_qty, leaves_qty, cum_notional), shown_qty in (
            (maker, sides[:4], shown[0]),
            (taker, sides[4:], shown[1]),
        ):
            gain = price if line.terms.price is None else line.terms.price
            assert (gain - price) * (1 if line.terms.kind[0] == Side.BUY else -1) >= 0, event
            line.cum_qty += qty
            line.leaves_qty -= qty
            line.cum_notional += qty * price
            told_now = (cum_qty, leaves_qty, cum_notional)
            assert told_now == (line.cum_qty, line.leaves_qty, line.cum_notional), event
            self._queues.check_amount(event, line)
            self._show(event, line, qty, shown_qty, bool(extras))
            line.rests = line.rests and line.leaves_qty > 0
            line.stands_by = line.stands_by and line.leaves_qty > 0
            line.ended_other = line.other_leg > 0 and not line.updates_other
            self._update_other(event, line, qty)

    def _triggered(self, event: Event) -> None:
        line = self._line(event[2])
        assert line.stands_by and not line.rests and not event[1], event
        assert line.is_pending == (event[3] is None), event
        line.stands_by = False
        if line.is_pending:
            working = self.lines[line.other_order]
            assert working.is_filled, f"released by {working}: {event}"
            line.is_pending = False
            line.stands_by = line.terms.kind[1] in WAITING
            self._queues.enters(line)
        else:
            line.ended_other = line.other_leg > 0

    def _update_other(self, event: Event, line: Line, qty: int) -> None:
        """What an order traded of a pair, its stop shrinks by."""
        line.is_filled = line.leaves_qty == 0 and line.cum_qty == line.terms.order_qty
        if line.updates_other and line.other_leg:
            other = self.lines[line.other_leg]
            if other.leaves_qty:
                other.owes_qty += qty

    def _show(
        self, event: Event, line: Line, qty: int, shown_qty: int | None, is_told: bool
    ) -> None:
        """What a trade leaves to be seen of an order."""
        if line.rests and line.shown_qty is not None:
            assert is_told, f"an iceberg trades and it is not told what shows: {event}"
            if event[0] == e.TRADE:
                assert shown_qty == line.shown_qty - qty, event
            else:
                assert shown_qty == min(line.display_qty, line.leaves_qty), event
            line.shown_qty = shown_qty
        elif is_told:
            assert shown_qty == (line.leaves_qty if line.is_seen else None), event

    def _ended(self, event: Event) -> None:
        kind, feed_seq, terms, cum_qty, canceled_qty, was_resting, reason, *shown = event
        line = self._line(terms)
        assert (was_resting, bool(feed_seq)) == (int(line.is_seen), line.is_seen), event
        assert (cum_qty, canceled_qty) == (line.cum_qty, line.leaves_qty), event
        assert canceled_qty > 0 or terms[5] == 0, event
        assert shown == ([line.shown_qty] if line.rests and line.shown_qty is not None else [])
        line.canceled_qty += canceled_qty
        line.leaves_qty = line.owes_qty = 0
        line.rests = line.stands_by = False
        if kind == e.EXPIRED and reason == Reject.TIME_IS_UP:
            assert line.terms.kind[2] in (
                TimeInForce.DAY,
                TimeInForce.GTD,
                TimeInForce.AT_AUCTION,
            ), event
        elif kind == e.EXPIRED:
            assert not was_resting, event
        elif reason not in (Reject.OCO_DONE, Reject.OTO_FAILED):
            line.ended_other = line.other_leg > 0
        if line.terms.kind[2] == TimeInForce.FOK:
            was_pending = 0 < line.other_order < line.terms.order_id
            unseen = (Reject.FILL_LIMIT, Reject.RATE_LIMIT)  # where no dry run says
            assert was_pending or reason in (Reject.FOK_CANNOT_FILL, *unseen), event
            assert cum_qty == 0 and canceled_qty == line.terms.order_qty, f"in part: {event}"
        if reason == Reject.MIN_QTY_NOT_MET:
            assert cum_qty == 0 and canceled_qty == line.terms.order_qty, f"in part: {event}"

    def _restated(self, event: Event) -> None:
        _, feed_seq, terms, cum_qty, leaves_qty, prevented_qty, was_resting, *shown = event
        line = self._line(terms)
        assert (was_resting, bool(feed_seq)) == (int(line.is_seen), line.is_seen), event
        assert prevented_qty > 0 and leaves_qty > 0, event
        line.leaves_qty -= prevented_qty
        line.canceled_qty += prevented_qty
        line.owes_qty = max(0, line.owes_qty - prevented_qty)
        assert (line.cum_qty, line.leaves_qty) == (cum_qty, leaves_qty), event
        if line.rests and line.shown_qty is not None:
            line.shown_qty = min(line.shown_qty, line.leaves_qty)
            assert shown == [line.shown_qty], event
        else:
            assert not shown, event

    def _rested(self, event: Event) -> None:
        _, feed_seq, terms, leaves_qty, *shown = event
        line = self.lines[terms[0]]
        if line.terms.kind[1] == OrderType.PEGGED:  # it says where it stands now
            assert line.terms.price in (None, terms[6]) and terms[6] is not None, event
            line.terms, line.stands_by = line.terms._replace(price=terms[6]), False
            _check_limit(line)
        line = self._line(terms)
        assert bool(feed_seq) != line.is_hidden and not line.rests and not line.stands_by, event
        assert leaves_qty == line.leaves_qty > 0, event
        line.rests = True
        self._queues.join(line)
        line.shown_qty = min(line.display_qty, leaves_qty) if line.display_qty else None
        assert shown == ([line.shown_qty] if line.display_qty else []), event

    def _refilled(self, event: Event) -> None:
        _, feed_seq, terms, shown_qty, leaves_qty = event
        line = self._line(terms)
        assert feed_seq and line.rests and line.shown_qty == 0, event
        assert leaves_qty == line.leaves_qty, event
        assert shown_qty == min(line.display_qty, leaves_qty) > 0, event
        line.shown_qty = shown_qty
        self._queues.join(line)

    def _repriced(self, event: Event) -> None:
        if event[1]:
            return self._left_its_place(event)
        _, feed_seq, terms, asked = event
        line = self.lines[terms[0]]
        assert not feed_seq and not line.rests and asked == line.terms.price, event
        assert (*terms[:6], *terms[7:]) == _without_price(line.terms), event
        if asked is None:
            assert terms[4][1] == OrderType.MARKET_TO_LIMIT, event
            line.terms, line.stands_by = OrderTerms(*terms), False
            return
        gain = terms[6] - asked
        assert gain < 0 if terms[4][0] == Side.BUY else gain > 0, event
        line.terms = OrderTerms(*terms)

    def _left_its_place(self, event: Event) -> None:
        """A pegged order stands where it stood no longer, and waits."""
        _, _, terms, stood_at, leaves_qty = event
        line = self.lines[terms[0]]
        assert line.rests and not line.stands_by and stood_at == line.terms.price, event
        assert terms[6] is None and leaves_qty == line.leaves_qty, event
        line.terms = line.terms._replace(price=None)
        line.rests, line.stands_by = False, True
        self._line(terms)

    def _replaced(self, event: Event) -> None:
        _, feed_seq, terms, old_terms, cum_qty, leaves_qty, old_leaves_qty, kept, *shown = event
        line = self._line(old_terms)
        assert bool(feed_seq) == line.is_seen and line.rests != line.stands_by, event
        assert (line.cum_qty, line.leaves_qty) == (cum_qty, old_leaves_qty), event
        assert terms[:5] == old_terms[:5], f"an amend changed what an order is: {event}"
        same_price = terms[6] == old_terms[6]
        if line.terms.kind[1] not in (*WAITING, OrderType.PEGGED) or line.rests:
            assert kept == int(same_price and leaves_qty <= old_leaves_qty), event
        else:
            assert kept == 1, event
        old_shown = line.shown_qty
        line.terms = OrderTerms(*terms)
        line.leaves_qty = leaves_qty
        # A new total counts nothing that was prevented before; without one all stays as it was.
        if leaves_qty != old_leaves_qty or terms[5] != old_terms[5]:
            line.canceled_qty = 0
        assert line.canceled_qty in (0, terms[5] - cum_qty - leaves_qty), event
        line.canceled_qty = terms[5] - cum_qty - leaves_qty
        if line.rests and old_shown is not None:
            line.shown_qty = min(old_shown, line.display_qty, leaves_qty)
            assert len(shown) == 2 and shown[1] == old_shown, event
            assert not kept or shown[0] == line.shown_qty, event
        else:
            assert not shown, event
        line.rests = line.rests and bool(kept)

    def _phase_changed(self, event: Event) -> None:
        _, _, symbol, phase = event
        was_call = self.phases.get(symbol) in _CALLS
        self.phases[symbol] = phase
        if phase in _CALLS:
            self._gathered.add(symbol)
        elif (phase == Phase.CONTINUOUS and symbol in self._gathered) or (
            phase == Phase.CLOSED and was_call
        ):
            self._gathered.discard(symbol)
            self._auctions[symbol] = _Auction()

    def _uncrossed(self, event: Event) -> None:
        _, feed_seq, symbol, price, volume, _ = event
        assert symbol in self._auctions, f"no call has ended: {event}"
        auction = self._auctions.pop(symbol)
        assert feed_seq and auction.prices <= {price}, event
        assert volume == auction.volume, event
        assert (price is None) == (volume == 0), event

    def _busted(self, event: Event) -> None:
        _, feed_seq, _, _, price, qty, *both = event
        assert feed_seq, event
        for terms in both:
            line = self.lines[terms[0]]
            line.cum_qty -= qty
            line.cum_notional -= qty * price
            line.canceled_qty += qty

    def _line(self, terms: Any) -> Line:
        line = self.lines[terms[0]]
        assert _plain(terms) == _plain(line.terms), f"terms {terms} where {line.terms} stood"
        return line


def _plain(terms: Any) -> tuple[Any, ...]:
    """The terms as an event has them: without those that most orders lack."""
    return tuple(term for at, term in enumerate(terms) if at < 7 or term is not None)


def _check_limit(line: Line) -> None:
    """Assert that a pegged order stands on the right side of its limit."""
    price, limit = line.terms.price, line.terms.peg[2] if line.terms.peg else None
    assert price is not None, line
    if limit is not None:
        assert price <= limit if line.terms.kind[0] == Side.BUY else price >= limit, line


def _without_price(terms: OrderTerms) -> tuple[Any, ...]:
    plain = _plain(terms)
    return (*plain[:6], *plain[7:])


def _symbol(event: Event) -> str:
    """The instrument a public event belongs to."""
    if event[0] in (e.TRADE, e.AUCTION_TRADE):
        return str(event[5][3])
    if event[0] in (e.INSTRUMENT_CREATED, e.INSTRUMENT_AMENDED):
        return str(event[2][0])
    by_symbol = (e.PHASE_CHANGED, e.UNCROSSED, e.TRADE_BUSTED, e.INSTRUMENT_DELETED)
    return str(event[2] if event[0] in by_symbol else event[2][3])

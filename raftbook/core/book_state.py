"""What the book of one instrument consists of, and the questions that change nothing.

Owns the fields of a book, and what follows from its terms: how far an order may trade and what it
must hold. Must not know how orders are matched.
"""

from __future__ import annotations

from typing import Any, Final

from raftbook.core.accounts import Account
from raftbook.core.agenda import Agenda
from raftbook.core.auction import Uncrossing
from raftbook.core.candles import Tape
from raftbook.core.conditions import OrderConditions, limit_of
from raftbook.core.events import (
    Event,
)
from raftbook.core.instrument import InstrumentTerms
from raftbook.core.ladder import Ladder, Order
from raftbook.core.ledger import Ledger
from raftbook.core.limits import Limits
from raftbook.core.moment import Moment
from raftbook.core.pegs import Pegs
from raftbook.core.stops import Stops
from raftbook.core.trailing import trailed
from raftbook.core.types import (
    OrderType,
    Phase,
    Side,
)
from raftbook.core.walks import cost

# Enumerations as plain integers: an attribute look-up on an IntEnum costs more than a comparison.
_BUY: Final = int(Side.BUY)
_MARKET: Final = int(OrderType.MARKET)
_TO_LIMIT: Final = int(OrderType.MARKET_TO_LIMIT)
_CONTINUOUS: Final = int(Phase.CONTINUOUS)
_NO_BOUND: Final = -(2**64)
"""Below every ladder key: a market order without a collar crosses every price."""
_NEVER: Final = 2**64
"""Above every ladder key: nothing crosses."""


class BookState:
    """State of one instrument.

    Attributes:
        feed_seq: number of public events so far; the next one is feed_seq + 1.
        trade_id: the last trade's number, per instrument.
        last_price: price of the last trade in ticks, None before the first.
        tape: the last trades, and candles.
        number: books that were created later, in whatever order the others came, have a higher one.
        resting_count: orders on both ladders.
        is_call: orders gather and nothing trades (phases PRE_OPEN and AUCTION).
        is_odd: whether it is not simply trading (phase, money, stops, pegs): rules apply to its
            orders that concern no other book's.
        is_trading: whether orders that cross trade now: in CONTINUOUS, once its auction is over.
        owes_auction: a call gathered orders, and no auction has been since.
        uncrossing: the auction under way, for which nothing else may touch its orders.
        ledger: what settles its trades, None where no money moves.
        stops: orders that wait for a price, None until there is one.
        pegs: pegged orders, None until there is one.
        at_auction: market orders for the auction by order_id, in order of arrival.
        call_until_ns: when logical time ends the call, 0 for a call without end; then call_then.
        busted: trades among the remembered ones that were undone.
    """

    __slots__ = (
        "agenda",
        "asks",
        "at_auction",
        "bids",
        "busted",
        "call_then",
        "call_until_ns",
        "feed_seq",
        "is_call",
        "is_odd",
        "is_trading",
        "last_price",
        "ledger",
        "limits",
        "moment",
        "notional_checked",
        "notional_max",
        "number",
        "orders_max",
        "owes_auction",
        "pegs",
        "phase",
        "price_ceiling",
        "price_floor",
        "qty_max",
        "qty_min",
        "resting_count",
        "stops",
        "symbol",
        "tape",
        "terms",
        "trade_id",
        "uncrossing",
        "volatility_band",
    )

    def __init__(
        self,
        terms: InstrumentTerms,
        limits: Limits,
        moment: Moment,
        agenda: Agenda,
        ledger: Ledger | None,
    ) -> None:
        self.moment = moment
        self.agenda = agenda
        self.limits = limits
        self.number = 0
        self.phase = int(Phase.CONTINUOUS)
        self.is_call = False
        self.owes_auction = False
        self.uncrossing: Uncrossing | None = None
        self.bids = Ladder(1)
        self.asks = Ladder(-1)
        self.feed_seq = 0
        self.trade_id = 0
        self.last_price: int | None = None
        self.resting_count = 0
        self.orders_max = limits.book_orders_max
        self.tape = Tape(limits.trades_kept)
        self.stops: Stops | None = None
        self.pegs: Pegs | None = None
        self.at_auction: dict[int, Order] = {}
        self.call_until_ns = 0
        self.call_then = int(Phase.CONTINUOUS)
        self.busted: dict[int, None] = {}
        self.is_odd = False
        self.is_trading = True
        self.set_terms(terms, ledger)

    def set_terms(self, terms: InstrumentTerms, ledger: Ledger | None) -> None:
        """Go by these terms from now on."""
        self.terms = terms
        self.ledger = ledger
        self.symbol = terms.symbol
        self.qty_min = terms.qty_min
        self.qty_max = terms.qty_max
        self.notional_max = terms.notional_max
        self.notional_checked = terms.notional_max is not None or terms.notional_min > 0
        self.volatility_band = terms.volatility_band
        self.price_floor = terms.price_floor()
        self.price_ceiling = terms.price_ceiling()
        self.judge()

    def forget_past(self) -> None:
        """Begin anew without what was counted in ticks and lots that are no more."""
        self.tape = Tape(self.limits.trades_kept)
        self.tape.keep_candles()
        self.busted = {}
        self.last_price = None
        self.stops = None

    def judge(self) -> None:
        """Find out again whether it trades and whether it is odd, after what decides it changed."""
        self.is_trading = self.phase == _CONTINUOUS and self.uncrossing is None
        has_more = self.ledger is not None or self.stops is not None or self.pegs is not None
        self.is_odd = not self.is_trading or has_more

    # -- questions --------------------------------------------------------------------------------

    def crosses(self, *, is_buy: bool, price: int) -> bool:
        """Whether a limit order would trade at once, own orders included."""
        best = (self.asks if is_buy else self.bids).best
        return best is not None and best.key >= (-price if is_buy else price)

    def admits(self, price: int) -> bool:
        """Whether a limit order may have this price: range and static band."""
        return self.price_floor <= price <= self.price_ceiling

    def reference_price(self) -> int | None:
        """What a market order's collar is measured from: the last trade, else the terms' own."""
        return self.terms.reference_price if self.last_price is None else self.last_price

    def bound_of(self, side: int, price: int | None) -> int:
        """The worst ladder key that an order may trade at, volatility band included."""
        if price is None:
            bound = self._market_bound(side)
        else:
            bound = -price if side == _BUY else price
        return bound if self.volatility_band is None else self._banded(side, bound)

    def _market_bound(self, side: int) -> int:
        """The worst ladder key a market order may trade at."""
        collar = self.terms.collar
        if collar is None:
            return _NO_BOUND
        reference = self.reference_price()
        assert reference is not None, "a market order without a reference price was not refused"
        return -(reference + collar) if side == _BUY else reference - collar

    def _banded(self, side: int, bound: int) -> int:
        """The bound, or that of the volatility band where it is the nearer one; the best price
        may lie beyond it on the better side, too."""
        reference = self.reference_price()
        if reference is None or self.volatility_band is None:
            return bound
        band = self.volatility_band
        makers, middle = (self.asks, -reference) if side == _BUY else (self.bids, reference)
        if makers.best is not None and makers.best.key > middle + band:
            return _NEVER
        return max(bound, middle - band)

    def shown_count(self) -> int:
        """How many orders rest that the market sees."""
        return self.resting_count - self.hidden_count()

    def hidden_count(self) -> int:
        """How many orders rest that show nothing."""
        return self.bids.hidden + self.asks.hidden

    def is_empty(self) -> bool:
        """Whether no order is open here, whether it rests, waits or gathers."""
        return not (self.resting_count or self.stops or self.pegs or self.at_auction)

    def trade(self, trade_id: int) -> Event | None:
        """A remembered trade, None for any other."""
        trades = self.tape.trades()
        place = trade_id - trades[0][2][2] if trades else -1
        return trades[place][2] if 0 <= place < len(trades) else None

    def mark_busted(self, trade_id: int) -> None:
        """Remember that a trade was undone, for as long as it is remembered itself."""
        eldest = self.tape.trades()[0][2][2]
        self.busted = {each: None for each in (*self.busted, trade_id) if each >= eldest}

    def pends(self, order: Order) -> bool:
        """Whether an order waits until another one is filled."""
        return self.stops is not None and order.terms[0] in self.stops.pending

    def waits(self, order: Order) -> bool:
        """Whether an order waits for its stop price."""
        return self.stops is not None and order.terms[0] in self.stops.by_id

    def stop_price(self, order: Order) -> int | None:
        """The price that an order waits for now, None if it waits for none."""
        if self.stops is None or order.special is None or not self.waits(order):
            return None
        self.stops.catch_up(order, order.special)
        return order.special.stop_price

    def cannot_size(self, kind: tuple[int, ...]) -> bool:
        """Whether what such an order must hold takes a dry run that there is no room for."""
        if self.ledger is None or kind[0] != _BUY or kind[1] != _MARKET or self.is_call:
            return False
        return self.terms.collar is None and self.cannot_look(self.asks, self.bound_of(_BUY, None))

    def cannot_look(self, makers: Ladder, bound: int) -> bool:
        """Whether there is something to look at up to this bound, and no room for it."""
        best = makers.best
        return best is not None and best.key >= bound and self.agenda.room.dry_looks <= 0

    def gathering_price(self) -> int:
        """The highest price that an auction may come to, ticks. Before engine version 4 the highest
        that is admitted now, whatever rests from other times."""
        if self.moment.engine_version < 4:
            return self.price_ceiling
        highest = max(0, self.price_ceiling, *self.bids.ends()[:1], *self.asks.ends()[1:])
        reference = self.reference_price()
        return highest if reference is None else max(highest, reference)

    def market_need(self, account: Account, kind: tuple[int, ...], qty: int) -> int:
        """What an order without limit price must hold, minor units."""
        ledger = self.ledger
        assert ledger is not None, f"{self.symbol} does not settle"
        if kind[0] != _BUY:
            return ledger.need(kind[0], 0, qty)
        collar, reference = self.terms.collar, self.reference_price()
        if self.is_call:
            notional = self.gathering_price() * qty
        elif kind[1] == _TO_LIMIT:
            best = self.asks.best
            notional = 0 if best is None else max(best.price, 0) * qty
        elif collar is None:
            notional = cost(
                account,
                kind[4],
                self.asks,
                bound=self.bound_of(kind[0], None),
                qty=qty,
                orders_max=self.agenda.room.fills_now(),
                room=self.agenda.room,
            )
        else:
            assert reference is not None, "a market order without a reference was not refused"
            notional = (reference + collar) * qty
        return ledger.need(kind[0], notional, qty)

    def need_of(self, order: Order, terms: tuple[Any, ...], leaves: int) -> int:
        """What an order must hold, minor units, once it has these terms and this open quantity."""
        ledger = self.ledger
        assert ledger is not None, f"{self.symbol} does not settle"
        if order.special is not None and order.special.holds_later:
            return 0
        side, price = terms[4][0], limit_of(terms)
        if price is None and len(terms) > 7:
            conditions = OrderConditions(*terms[7])
            if conditions.trail_unit:
                stops = self.stops
                special, best = order.special, self.reference_price()
                if stops is not None and terms[0] in stops.by_id and special is not None:
                    stops.catch_up(order, special)
                    best = special.best_price
                assert best is not None, f"order {terms[0]} trails nothing"
                price = trailed(terms, best)
            else:
                price = conditions.stop_price
        if price is None:
            return self.market_need(order.account, terms[4], leaves)
        return ledger.need(side, max(price, 0) * leaves, leaves, order.fee_units)

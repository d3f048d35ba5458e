"""One instrument's book: matching, resting, cancelling and amending in price-time priority.

Owns everything that happens to an order after it was found valid. Every change is told as an event
appended to the list it is given. Must not know sessions or requests, and judges nothing:
`validate.py` has done that.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from raftbook.core.events import (
    ACCEPTED,
    CANCELED,
    EXPIRED,
    REPLACED,
    RESTATED,
    RESTED,
    TRADE,
    Event,
)
from raftbook.core.instrument import InstrumentTerms
from raftbook.core.ladder import Ladder, Order
from raftbook.core.limits import Limits
from raftbook.core.moment import Moment
from raftbook.core.types import (
    OrderType,
    Phase,
    Reject,
    SelfTradePrevention,
    Side,
    TimeInForce,
)

# Enumerations as plain integers: an attribute look-up on an IntEnum costs more than a comparison.
_BUY: Final = int(Side.BUY)
_LIMIT: Final = int(OrderType.LIMIT)
_GTC: Final = int(TimeInForce.GTC)
_FOK: Final = int(TimeInForce.FOK)
_NONE: Final = int(SelfTradePrevention.NONE)
_CANCEL_NEWEST: Final = int(SelfTradePrevention.CANCEL_NEWEST)
_CANCEL_OLDEST: Final = int(SelfTradePrevention.CANCEL_OLDEST)
_DECREMENT: Final = int(SelfTradePrevention.DECREMENT)
_SELF_TRADE: Final = int(Reject.SELF_TRADE)
_NO_LIQUIDITY: Final = int(Reject.NO_LIQUIDITY)
_PRICE_COLLAR: Final = int(Reject.PRICE_COLLAR)
_FOK_CANNOT_FILL: Final = int(Reject.FOK_CANNOT_FILL)

_NO_BOUND: Final = -(2**64)
"""Below every ladder key: a market order without a collar crosses every price."""


class Book:
    """State of one instrument.

    Attributes:
        feed_seq: number of public events so far; the next one is feed_seq + 1.
        trade_id: the last trade's number, per instrument.
        last_price: price of the last trade in ticks, None before the first.
        trades: the last trades as (time_ns, entry_index, TRADE event), eldest first; bounded.
        resting_count: orders on both ladders.
    """

    __slots__ = (
        "asks",
        "bids",
        "feed_seq",
        "last_price",
        "moment",
        "notional_max",
        "orders_max",
        "phase",
        "price_ceiling",
        "price_floor",
        "qty_max",
        "resting_count",
        "symbol",
        "terms",
        "trade_id",
        "trades",
    )

    def __init__(self, terms: InstrumentTerms, limits: Limits, moment: Moment) -> None:
        self.moment = moment
        self.terms = terms
        self.symbol = terms.symbol
        self.qty_max = terms.qty_max
        self.notional_max = terms.notional_max
        # What a limit price must keep: the range and the static band in one comparison.
        low = terms.price_min if terms.band_low is None else terms.band_low
        high = terms.price_max if terms.band_high is None else terms.band_high
        self.price_floor = max(low, terms.price_min)
        self.price_ceiling = min(high, terms.price_max)
        self.orders_max = limits.book_orders_max
        self.phase = int(Phase.CONTINUOUS)
        self.bids = Ladder(1)
        self.asks = Ladder(-1)
        self.feed_seq = 0
        self.trade_id = 0
        self.last_price: int | None = None
        self.resting_count = 0
        self.trades: deque[tuple[int, int, Event]] = deque(maxlen=limits.trades_kept)

    # -- questions ---------------------------------------------------------------------------

    def crosses(self, *, is_buy: bool, price: int) -> bool:
        """Whether a limit order would trade at once, own orders included."""
        best = (self.asks if is_buy else self.bids).best
        return best is not None and best.key >= (-price if is_buy else price)

    def reference_price(self) -> int | None:
        """What a market order's collar is measured from: the last trade, else the terms' own."""
        return self.terms.reference_price if self.last_price is None else self.last_price

    # -- changes -----------------------------------------------------------------------------

    def enter(self, order: Order, events: list[Event]) -> None:
        """Accept a new order: match it, then let the rest join the queue or expire."""
        terms = order.terms
        kind, price = terms[4], terms[6]
        if kind[0] == _BUY:
            own, makers = self.bids, self.asks
            bound = self._market_bound(kind[0]) if price is None else -price
        else:
            own, makers = self.asks, self.bids
            bound = self._market_bound(kind[0]) if price is None else price
        best = makers.best
        if best is not None and best.key >= bound:
            self._take(order, makers, bound, events)
        elif kind[2] == _GTC:
            own.append(order, price)
            self.resting_count += 1
            self.feed_seq = seq = self.feed_seq + 1
            events.append((ACCEPTED, seq, terms))
        else:
            events.append((ACCEPTED, 0, terms))
            self._expire(order, makers, events)

    def _take(self, order: Order, makers: Ladder, bound: int, events: list[Event]) -> None:
        """Enter an order whose price crosses."""
        terms = order.terms
        events.append((ACCEPTED, 0, terms))
        if terms[4][2] != _FOK or self._can_fill(order, makers, bound):
            self._match(order, makers, bound, events)
        if order.leaves_qty:
            if terms[4][2] == _GTC:
                self._rest(order, events)
            else:
                self._expire(order, makers, events)

    def cancel(self, order: Order, events: list[Event]) -> None:
        """Take a resting order off the book."""
        terms = order.terms
        canceled = order.leaves_qty
        (self.bids if terms[4][0] == _BUY else self.asks).remove(order)
        order.leaves_qty = 0
        order.account.close(order)
        self.resting_count -= 1
        self.feed_seq += 1
        events.append((CANCELED, self.feed_seq, terms, order.cum_qty, canceled, 1, 0))

    def amend(
        self, order: Order, order_qty: int | None, price: int | None, events: list[Event]
    ) -> None:
        """Give a resting order a new total and/or price; validated, so it stays open.

        It keeps its place exactly when the price is unchanged and its open quantity does not grow;
        else it leaves the queue, may trade as a taker, and joins at the back.
        """
        old = order.terms
        was_leaves = order.leaves_qty
        leaves = was_leaves if order_qty is None else order_qty - order.cum_qty
        assert leaves > 0, f"amend of order {old[0]} to {order_qty} leaves {leaves}"
        order_qty = old[5] if order_qty is None else order_qty
        price = old[6] if price is None else price
        own = self.bids if old[4][0] == _BUY else self.asks
        order.terms = terms = (*old[:5], order_qty, price)
        keeps = price == old[6] and leaves <= was_leaves
        self.feed_seq += 1
        events.append(
            (REPLACED, self.feed_seq, terms, old, order.cum_qty, leaves, was_leaves, int(keeps))
        )
        if keeps:
            level = order.level
            assert level is not None, f"order {order.terms[0]} does not rest"
            level.qty += leaves - was_leaves
            order.leaves_qty = leaves
            return
        own.remove(order)
        order.leaves_qty = leaves
        self.resting_count -= 1
        if self.crosses(is_buy=old[4][0] == _BUY, price=price):
            makers, bound = (self.asks, -price) if old[4][0] == _BUY else (self.bids, price)
            self._match(order, makers, bound, events)
        if order.leaves_qty:
            self._rest(order, events)

    # -- the matcher -------------------------------------------------------------------------

    def _match(self, taker: Order, makers: Ladder, bound: int, events: list[Event]) -> None:
        """Trade `taker` against `makers` best first, eldest first, at the maker's price.

        Ends by construction: each turn empties a maker or the taker.
        """
        taker_terms = taker.terms
        mode = taker_terms[4][4]
        own = taker.account if mode != _NONE else None
        leaves = taker.leaves_qty
        seq = self.feed_seq
        trade_id = self.trade_id
        moment = self.moment
        level = makers.best
        while leaves and level is not None and level.key >= bound:
            maker = level.eldest
            assert maker is not None, f"level {level.price} stands empty"
            if maker.account is own:
                taker.leaves_qty = leaves
                self.feed_seq = seq
                self._prevent(taker, maker, makers, mode, events)
                leaves, seq, level = taker.leaves_qty, self.feed_seq, makers.best
                continue
            price = level.price
            offered = maker.leaves_qty
            qty = offered if offered < leaves else leaves
            leaves -= qty
            seq += 1
            trade_id += 1
            taker.cum_qty += qty
            taker.cum_notional += qty * price
            maker.cum_qty += qty
            maker.cum_notional += qty * price
            if qty == offered:
                makers.remove(maker)
                maker.leaves_qty = 0
                self.resting_count -= 1
                maker.account.close(maker)
                level = makers.best
            else:
                maker.leaves_qty = offered - qty
                level.qty -= qty
            event = (
                TRADE,
                seq,
                trade_id,
                price,
                qty,
                maker.terms,
                maker.cum_qty,
                maker.leaves_qty,
                maker.cum_notional,
                taker_terms,
                taker.cum_qty,
                leaves,
                taker.cum_notional,
            )
            events.append(event)
            self.trades.append((moment.time_ns, moment.index, event))
            self.last_price = price
        taker.leaves_qty = leaves
        self.feed_seq = seq
        self.trade_id = trade_id

    def _prevent(
        self, taker: Order, maker: Order, makers: Ladder, mode: int, events: list[Event]
    ) -> None:
        """Keep an account from trading with itself; a prevented match is not a trade."""
        if mode == _DECREMENT:
            qty = min(taker.leaves_qty, maker.leaves_qty)
            self._shrink_maker(maker, makers, qty, events)
            self._shrink_taker(taker, qty, events)
            return
        if mode != _CANCEL_NEWEST:
            self._shrink_maker(maker, makers, maker.leaves_qty, events)
        if mode != _CANCEL_OLDEST:
            self._shrink_taker(taker, taker.leaves_qty, events)

    def _shrink_maker(self, maker: Order, makers: Ladder, qty: int, events: list[Event]) -> None:
        self.feed_seq += 1
        seq, terms, cum = self.feed_seq, maker.terms, maker.cum_qty
        if qty == maker.leaves_qty:
            makers.remove(maker)
            maker.leaves_qty = 0
            self.resting_count -= 1
            maker.account.close(maker)
            events.append((CANCELED, seq, terms, cum, qty, 1, _SELF_TRADE))
            return
        level = maker.level
        assert level is not None, f"order {maker.terms[0]} does not rest"
        level.qty -= qty
        maker.leaves_qty -= qty
        events.append((RESTATED, seq, terms, cum, maker.leaves_qty, qty, 1))

    def _shrink_taker(self, taker: Order, qty: int, events: list[Event]) -> None:
        terms, cum = taker.terms, taker.cum_qty
        taker.leaves_qty -= qty
        if taker.leaves_qty:
            events.append((RESTATED, 0, terms, cum, taker.leaves_qty, qty, 0))
        else:
            events.append((CANCELED, 0, terms, cum, qty, 0, _SELF_TRADE))

    def _can_fill(self, taker: Order, makers: Ladder, bound: int) -> bool:
        """Whether the matcher would fill `taker` whole: it walks exactly as `_match` does."""
        wanted = taker.leaves_qty
        mode = taker.terms[4][4]
        if mode == _NONE:
            return makers.fillable(wanted, bound) == wanted
        for level in makers:
            if level.key < bound:
                break
            for maker in level:
                if maker.account is not taker.account:
                    wanted -= maker.leaves_qty
                    if wanted <= 0:
                        return True
                elif mode != _CANCEL_OLDEST:
                    return False
        return False

    def _rest(self, order: Order, events: list[Event]) -> None:
        terms = order.terms
        (self.bids if terms[4][0] == _BUY else self.asks).append(order, terms[6])
        self.resting_count += 1
        self.feed_seq += 1
        events.append((RESTED, self.feed_seq, terms, order.leaves_qty))

    def _expire(self, order: Order, makers: Ladder, events: list[Event]) -> None:
        """End what is left of an order that may not rest, by its own rules."""
        terms = order.terms
        if terms[4][2] == _FOK:
            reason = _FOK_CANNOT_FILL
        elif terms[4][1] == _LIMIT:
            reason = 0
        else:
            reason = _NO_LIQUIDITY if makers.best is None else _PRICE_COLLAR
        canceled = order.leaves_qty
        order.leaves_qty = 0
        events.append((EXPIRED, 0, terms, order.cum_qty, canceled, 0, reason))

    def _market_bound(self, side: int) -> int:
        """The worst ladder key a market order may trade at."""
        collar = self.terms.collar
        if collar is None:
            return _NO_BOUND
        reference = self.reference_price()
        assert reference is not None, "a market order without a reference price was not refused"
        return -(reference + collar) if side == _BUY else reference - collar

"""One instrument's book: matching, resting, cancelling and amending in price-time priority.

Owns everything that happens to an order after it was found valid. Every change is told as an event
appended to the list it is given. Must not know sessions or requests, and judges nothing:
`validate.py` has done that. Auctions are in `call.py`, waiting stops in `stops.py`.
"""

from __future__ import annotations

from typing import Any, Final

from raftbook.core.accounts import Account
from raftbook.core.agenda import Agenda
from raftbook.core.candles import GATHERED_MAX, Tape
from raftbook.core.conditions import OrderConditions
from raftbook.core.events import (
    ACCEPTED,
    AUCTION_TRADE,
    CANCELED,
    EXPIRED,
    PHASE_CHANGED,
    REFILLED,
    REPLACED,
    REPRICED,
    RESTATED,
    RESTED,
    TRADE,
    TRIGGERED,
    Event,
)
from raftbook.core.instrument import InstrumentTerms
from raftbook.core.ladder import Ladder, Order, Special
from raftbook.core.ledger import Ledger
from raftbook.core.limits import Limits
from raftbook.core.moment import Moment
from raftbook.core.stops import Stops, trailed
from raftbook.core.types import (
    Phase,
    PostOnly,
    Reject,
    SelfTradePrevention,
    Side,
    TimeInForce,
)
from raftbook.core.walks import available, cost

# Enumerations as plain integers: an attribute look-up on an IntEnum costs more than a comparison.
_BUY: Final = int(Side.BUY)
_GTC: Final = int(TimeInForce.GTC)
_FOK: Final = int(TimeInForce.FOK)
_AT_AUCTION: Final = int(TimeInForce.AT_AUCTION)
_STAYS: Final = frozenset(
    map(
        int,
        (TimeInForce.DAY, TimeInForce.GTC, TimeInForce.GTD, TimeInForce.AT_AUCTION),
    )
)
_REPRICE: Final = int(PostOnly.REPRICE)
_NONE: Final = int(SelfTradePrevention.NONE)
_CANCEL_NEWEST: Final = int(SelfTradePrevention.CANCEL_NEWEST)
_CANCEL_OLDEST: Final = int(SelfTradePrevention.CANCEL_OLDEST)
_DECREMENT: Final = int(SelfTradePrevention.DECREMENT)
_SELF_TRADE: Final = int(Reject.SELF_TRADE)
_NO_LIQUIDITY: Final = int(Reject.NO_LIQUIDITY)
_PRICE_COLLAR: Final = int(Reject.PRICE_COLLAR)
_FOK_CANNOT_FILL: Final = int(Reject.FOK_CANNOT_FILL)
_MIN_QTY_NOT_MET: Final = int(Reject.MIN_QTY_NOT_MET)
_FILL_LIMIT: Final = int(Reject.FILL_LIMIT)
_OCO_DONE: Final = int(Reject.OCO_DONE)
_CONTINUOUS: Final = int(Phase.CONTINUOUS)
_AUCTION: Final = int(Phase.AUCTION)
_NS_PER_MS: Final = 1_000_000

_NO_BOUND: Final = -(2**64)
"""Below every ladder key: a market order without a collar crosses every price."""
_NEVER: Final = 2**64
"""Above every ladder key: nothing crosses."""


class Book:
    """State of one instrument.

    Attributes:
        feed_seq: number of public events so far; the next one is feed_seq + 1.
        trade_id: the last trade's number, per instrument.
        last_price: price of the last trade in ticks, None before the first.
        tape: the last trades, and candles.
        resting_count: orders on both ladders.
        is_call: orders gather and nothing trades (phases PRE_OPEN and AUCTION).
        owes_auction: a call gathered orders, and no auction has been since.
        ledger: what settles its trades, None where no money moves.
        stops: orders that wait for a price, None until there is one.
        at_auction: market orders for the auction by order_id, in order of arrival.
        call_until_ns: when logical time ends the call, 0 for a call without end; then call_then.
        busted: trades among the remembered ones that were undone.
        fills_max: trades of one sweep; beyond any number before engine version 2.
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
        "fills_max",
        "is_call",
        "last_price",
        "ledger",
        "limits",
        "moment",
        "notional_checked",
        "notional_max",
        "orders_max",
        "owes_auction",
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
        self.fills_max = _NEVER
        self.phase = int(Phase.CONTINUOUS)
        self.is_call = False
        self.owes_auction = False
        self.bids = Ladder(1)
        self.asks = Ladder(-1)
        self.feed_seq = 0
        self.trade_id = 0
        self.last_price: int | None = None
        self.resting_count = 0
        self.orders_max = limits.book_orders_max
        self.tape = Tape(limits.trades_kept)
        self.stops: Stops | None = None
        self.at_auction: dict[int, Order] = {}
        self.call_until_ns = 0
        self.call_then = int(Phase.CONTINUOUS)
        self.busted: dict[int, None] = {}
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
        # What a limit price must keep: the range and the static band in one comparison.
        low = terms.price_min if terms.band_low is None else terms.band_low
        high = terms.price_max if terms.band_high is None else terms.band_high
        self.price_floor = max(low, terms.price_min)
        self.price_ceiling = min(high, terms.price_max)

    # -- questions ---------------------------------------------------------------------------

    def crosses(self, *, is_buy: bool, price: int) -> bool:
        """Whether a limit order would trade at once, own orders included."""
        best = (self.asks if is_buy else self.bids).best
        return best is not None and best.key >= (-price if is_buy else price)

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

    def is_empty(self) -> bool:
        """Whether no order is open here, whether it rests, waits or gathers."""
        return not (self.resting_count or self.stops or self.at_auction)

    def trade(self, trade_id: int) -> Event | None:
        """A remembered trade, None for any other."""
        trades = self.tape.trades()
        place = trade_id - trades[0][2][2] if trades else -1
        return trades[place][2] if 0 <= place < len(trades) else None

    def mark_busted(self, trade_id: int) -> None:
        """Remember that a trade was undone, for as long as it is remembered itself."""
        eldest = self.tape.trades()[0][2][2]
        self.busted = {each: None for each in (*self.busted, trade_id) if each >= eldest}

    def waits(self, order: Order) -> bool:
        """Whether an order waits for its stop price."""
        return self.stops is not None and order.terms[0] in self.stops.by_id

    # -- entering ----------------------------------------------------------------------------

    def enter(self, order: Order, events: list[Event]) -> None:
        """Accept a new order: match it, then let the rest join the queue or expire."""
        terms = order.terms
        kind, price = terms[4], terms[6]
        if kind[0] == _BUY:
            own, makers = self.bids, self.asks
            bound = self._market_bound(_BUY) if price is None else -price
        else:
            own, makers = self.asks, self.bids
            bound = self._market_bound(kind[0]) if price is None else price
        best = makers.best
        if best is not None and best.key >= bound and not self.is_call:
            self._take(order, makers, bound, events)
        elif kind[2] == _GTC or kind[2] in _STAYS:
            own.append(order, price)
            self.resting_count += 1
            self.feed_seq = seq = self.feed_seq + 1
            events.append((ACCEPTED, seq, terms))
        else:
            events.append((ACCEPTED, 0, terms))
            self._expire(order, makers, events)

    def _take(self, order: Order, makers: Ladder, bound: int, events: list[Event]) -> None:
        """Enter an order whose price crosses."""
        events.append((ACCEPTED, 0, order.terms))
        if order.terms[4][2] != _FOK:
            self._sweep(order, makers, bound, events)
            return
        limit = bound
        if self.volatility_band is not None:
            limit = self._banded(order.terms[4][0], bound)
        found = self._available(order, makers, limit, order.leaves_qty)
        if found < order.leaves_qty:
            self._end_rest(order, _FILL_LIMIT if found < 0 else _FOK_CANNOT_FILL, events)
        else:
            self._sweep(order, makers, bound, events)

    def enter_with(self, order: Order, conditions: OrderConditions, events: list[Event]) -> None:
        """Accept a new order of PLACE_ORDER: one that waits, gathers, moves or has a minimum."""
        terms = order.terms
        kind, price = terms[4], terms[6]
        makers = self.asks if kind[0] == _BUY else self.bids
        if conditions.stop_price is not None or conditions.trail_unit:
            events.append((ACCEPTED, 0, terms))
            self.wait(order)
        elif price is None and self.is_call:
            events.append((ACCEPTED, 0, terms))
            self.at_auction[terms[0]] = order
        elif kind[3] == _REPRICE and not self.is_call and self._would_take(kind, price):
            events.append((ACCEPTED, 0, terms))
            order.terms = self.repriced(terms)
            events.append((REPRICED, 0, order.terms, price))
            if self.ledger is not None:
                self.ledger.fit(order)
            self._rest(order, events)
        else:
            reason = self._minimum_reject(order, conditions.min_qty)
            if reason:
                events.append((ACCEPTED, 0, terms))
                self._end_rest(order, reason, events)
            elif conditions.quote_qty and not order.leaves_qty:
                events.append((ACCEPTED, 0, terms))
                self._expire(order, makers, events)
            else:
                self.enter(order, events)
                if kind[2] == _AT_AUCTION:
                    self.at_auction[terms[0]] = order

    def _would_take(self, kind: tuple[int, ...], price: int) -> bool:
        return self.crosses(is_buy=kind[0] == _BUY, price=price)

    def _minimum_reject(self, order: Order, min_qty: int) -> int:
        """Why the minimum of an order cannot be had at once, 0 if it can or there is none."""
        if not min_qty:
            return 0
        found = 0
        if not self.is_call:
            makers = self.asks if order.terms[4][0] == _BUY else self.bids
            bound = self.bound_of(order.terms[4][0], order.terms[6])
            found = self._available(order, makers, bound, min_qty)
        if found < 0:
            return _FILL_LIMIT
        return _MIN_QTY_NOT_MET if found < min_qty else 0

    def _available(self, order: Order, makers: Ladder, bound: int, wanted: int) -> int:
        mode = order.terms[4][4]
        return available(
            order.account, mode, makers, bound=bound, wanted=wanted, fills_max=self.fills_max
        )

    def repriced(self, terms: tuple[Any, ...]) -> tuple[Any, ...]:
        """The terms of a post-only order one tick behind the best opposite price."""
        is_buy = terms[4][0] == _BUY
        best = (self.asks if is_buy else self.bids).best
        assert best is not None, f"order {terms[0]} crosses nothing"
        return (*terms[:6], best.price - 1 if is_buy else best.price + 1, *terms[7:])

    # -- stops -------------------------------------------------------------------------------

    def wait(self, order: Order) -> None:
        """Let an accepted stop wait."""
        special = order.special
        assert special is not None, f"order {order.terms[0]} has no trigger"
        if self.stops is None:
            self.stops = Stops()
        self.stops.arrive(order, special, self.reference_price())

    def fire_stops(self, events: list[Event]) -> None:
        """Let the stops fire that the last price has reached, round after round."""
        stops = self.stops
        assert stops is not None, f"{self.symbol} has no stops"
        left = self.limits.triggers_max
        while self.phase == _CONTINUOUS and self.last_price is not None:
            if self.symbol in self.agenda.stopped:
                return
            stops.trail(self.last_price)
            due = stops.due(self.last_price)
            if not due:
                return
            for order in due:
                if order.terms[0] not in stops.by_id:  # it ended with one that fired before it
                    continue
                if self.phase != _CONTINUOUS:
                    return
                if not left:
                    self.agenda.stopped[self.symbol] = None
                    self.agenda.wake_at(0)
                    return
                left -= 1
                self._fire(order, stops, events)

    def _fire(self, order: Order, stops: Stops, events: list[Event]) -> None:
        special = order.special
        assert special is not None, f"order {order.terms[0]} has no trigger"
        stops.remove(order, special)
        stop_price, special.stop_price = special.stop_price, None
        events.append((TRIGGERED, 0, order.terms, stop_price))
        if special.sibling is not None:
            self.end_sibling(special, events)
        side, price = order.terms[4][0], order.terms[6]
        makers = self.asks if side == _BUY else self.bids
        if self.ledger is not None and price is None:
            reason = self._fund_fired(order, self.ledger, makers)
            if reason:
                self._end_rest(order, reason, events)
                order.account.close(order)
                return
        bound = self._market_bound(side) if price is None else -price if side == _BUY else price
        if makers.best is not None and makers.best.key >= bound:
            self._sweep(order, makers, bound, events)
        elif price is None:
            self._expire(order, makers, events)
        else:
            self._rest(order, events)
        if not order.leaves_qty:
            order.account.close(order)

    def _fund_fired(self, order: Order, ledger: Ledger, makers: Ladder) -> int:
        """Hold what a stop without limit price needs now that it is a market order."""
        side = order.terms[4][0]
        amount = self.market_need(order.account, order.terms[4], order.leaves_qty)
        reason = ledger.reject(order.account, side, amount - order.held)
        if not reason:
            ledger.hold(order, amount)
        return reason

    def market_need(self, account: Account, kind: tuple[int, ...], qty: int) -> int:
        """What an order without limit price must hold, minor units."""
        ledger = self.ledger
        assert ledger is not None, f"{self.symbol} does not settle"
        if kind[0] != _BUY:
            return ledger.need(kind[0], 0, qty)
        collar, reference = self.terms.collar, self.reference_price()
        if self.is_call:
            notional = self.price_ceiling * qty
        elif collar is None:
            bound = self.bound_of(kind[0], None)
            notional = cost(account, kind[4], self.asks, bound=bound, qty=qty)
        else:
            assert reference is not None, "a market order without a reference was not refused"
            notional = (reference + collar) * qty
        return ledger.need(kind[0], notional, qty)

    def end_sibling(self, special: Special, events: list[Event]) -> None:
        """One of a pair traded, fired or was cancelled: the other one ends."""
        sibling = special.sibling
        assert sibling is not None and sibling.special is not None, "a pair of one"
        special.sibling = sibling.special.sibling = None
        self._end(sibling, CANCELED, _OCO_DONE, events)

    # -- changes -----------------------------------------------------------------------------

    def cancel(self, order: Order, reason: int, events: list[Event]) -> None:
        """Take an open order out, and with it the other one of a pair."""
        self._end(order, CANCELED, reason, events)
        if order.special is not None and order.special.sibling is not None:
            self.end_sibling(order.special, events)

    def expire(self, order: Order, reason: int, events: list[Event]) -> None:
        """End an open order whose time is up; the other one of a pair goes on alone."""
        self._end(order, EXPIRED, reason, events)
        special = order.special
        if special is not None and special.sibling is not None:
            if special.sibling.special is not None:
                special.sibling.special.sibling = None
            special.sibling = None

    def _end(self, order: Order, kind: int, reason: int, events: list[Event]) -> None:
        """Close an open order that stands in the book, waits, or gathers for an auction."""
        terms = order.terms
        canceled = order.leaves_qty
        special = order.special
        shown = special.shown_qty if special is not None and special.display_qty else -1
        seq = self._leave(order)
        order.leaves_qty = 0
        order.account.close(order)
        event: Event = (kind, seq, terms, order.cum_qty, canceled, int(seq > 0), reason)
        if shown >= 0 and seq:
            event = (*event, shown)
        events.append(event)

    def _leave(self, order: Order) -> int:
        """Take an open order from where it stands: its feed_seq, 0 where the market saw nothing."""
        gathers = self.at_auction.pop(order.terms[0], None) is not None
        if order.level is not None:
            (self.bids if order.terms[4][0] == _BUY else self.asks).remove(order)
            self.resting_count -= 1
            self.feed_seq += 1
            return self.feed_seq
        if not gathers:
            assert self.stops is not None and order.special is not None, (
                f"order {order.terms[0]} is open and stands nowhere"
            )
            self.stops.remove(order, order.special)
        return 0

    def lift(self, order: Order) -> None:
        """Take a resting order out for a look at the book without it; `put_back` follows."""
        (self.bids if order.terms[4][0] == _BUY else self.asks).remove(order)
        self.resting_count -= 1

    def put_back(self, order: Order, *, before: Order | None) -> None:
        """Let a lifted order stand where it stood."""
        ladder = self.bids if order.terms[4][0] == _BUY else self.asks
        ladder.put_back(order, order.terms[6], before=before)
        self.resting_count += 1

    def amend(self, order: Order, terms: tuple[Any, ...], leaves: int, events: list[Event]) -> None:
        """Give an open order new terms and an open quantity; validated, so it stays open.

        A resting order keeps its place exactly when the price is unchanged and its open quantity
        does not grow; else it leaves the queue, may trade as a taker, and joins at the back.
        """
        old = order.terms
        was_leaves = order.leaves_qty
        assert leaves > 0, f"amend of order {old[0]} to {terms[5]} leaves {leaves}"
        if order.level is None:
            self._amend_apart(order, terms, leaves, events)
            return
        keeps = terms[6] == old[6] and leaves <= was_leaves
        event: Event = (
            REPLACED,
            self.feed_seq + 1,
            terms,
            old,
            order.cum_qty,
            leaves,
            was_leaves,
            int(keeps),
        )
        special = order.special
        own = self.bids if old[4][0] == _BUY else self.asks
        if special is not None and special.display_qty:
            was_shown, display = special.shown_qty, terms[7][3]
            shown = min(was_shown, display, leaves) if keeps else 0
            event = (*event, shown, was_shown)
        if not keeps:
            own.remove(order)
            self.resting_count -= 1
        elif special is None or not special.display_qty:
            assert order.level is not None, f"order {old[0]} does not rest"
            order.level.qty += leaves - was_leaves
        else:
            assert order.level is not None, f"order {old[0]} does not rest"
            order.level.qty += shown - was_shown
            special.shown_qty = shown
        if special is not None and special.display_qty:
            special.display_qty = terms[7][3]
        order.terms = terms
        order.leaves_qty = leaves
        self._hold_anew(order)
        self.feed_seq += 1
        events.append(event)
        if not keeps:
            self._rejoin(order, terms, events)

    def _rejoin(self, order: Order, terms: tuple[Any, ...], events: list[Event]) -> None:
        """Let an amended order in again: as a taker where it crosses, then at the back."""
        is_buy, price = terms[4][0] == _BUY, terms[6]
        if not self.is_call and self.crosses(is_buy=is_buy, price=price):
            makers, bound = (self.asks, -price) if is_buy else (self.bids, price)
            self._sweep(order, makers, bound, events)
        else:
            self._rest(order, events)

    def _amend_apart(
        self, order: Order, terms: tuple[Any, ...], leaves: int, events: list[Event]
    ) -> None:
        """Amend an order that the market does not see: one that waits, or gathers at the market."""
        old, was_leaves = order.terms, order.leaves_qty
        order_id = old[0]
        keeps = 1
        if order_id in self.at_auction:
            if leaves > was_leaves:
                keeps = 0
                self.at_auction[order_id] = self.at_auction.pop(order_id)
            order.terms = terms
        else:
            stops, special = self.stops, order.special
            assert stops is not None and special is not None, f"order {order_id} stands nowhere"
            if terms[7][:3] != old[7][:3]:
                stops.remove(order, special)
                order.terms = terms
                stops.rearm(order, special)
            else:
                order.terms = terms
        order.leaves_qty = leaves
        self._hold_anew(order)
        events.append((REPLACED, 0, terms, old, order.cum_qty, leaves, was_leaves, keeps))

    def _hold_anew(self, order: Order) -> None:
        """Hold what an amended order needs now; validated, so it is there."""
        if self.ledger is not None:
            self.ledger.hold(order, self.need_of(order, order.terms, order.leaves_qty))

    def need_of(self, order: Order, terms: tuple[Any, ...], leaves: int) -> int:
        """What an order must hold, minor units, once it has these terms and this open quantity."""
        ledger = self.ledger
        assert ledger is not None, f"{self.symbol} does not settle"
        side, price = terms[4][0], terms[6]
        if price is None and len(terms) > 7:
            conditions = OrderConditions(*terms[7])
            if conditions.trail_unit:
                stops = self.stops
                waits = stops is not None and terms[0] in stops.by_id
                special, reference = order.special, self.reference_price()
                best = special.best_price if waits and special is not None else reference
                assert best is not None, f"order {terms[0]} trails nothing"
                price = trailed(terms, best)
            else:
                price = conditions.stop_price
        if price is None:
            return self.market_need(order.account, terms[4], leaves)
        return ledger.need(side, max(price, 0) * leaves, leaves, order.fee_units)

    # -- the matcher -------------------------------------------------------------------------

    def _sweep(self, order: Order, makers: Ladder, bound: int, events: list[Event]) -> None:
        """Let an order that crosses take, then decide what becomes of the rest."""
        side = order.terms[4][0]
        limit = bound if self.volatility_band is None else self._banded(side, bound)
        stopped = self._match(order, makers, limit, events)
        if not order.leaves_qty:
            return
        stays = order.terms[6] is not None and order.terms[4][2] in _STAYS
        if stopped:
            self._end_rest(order, _FILL_LIMIT, events)
        elif limit > bound and makers.best is not None and makers.best.key >= bound:
            if stays:
                self._rest(order, events)
            else:
                self._end_rest(order, _PRICE_COLLAR, events)
            self._begin_call(events)
        elif stays:
            self._rest(order, events)
        else:
            self._expire(order, makers, events)

    def _begin_call(self, events: list[Event]) -> None:
        """A sweep wanted to go beyond the volatility band: an auction shall find the price."""
        until_ns = self.moment.time_ns + self.terms.volatility_call_ms * _NS_PER_MS
        self.phase = _AUCTION
        self.is_call = self.owes_auction = True
        self.call_until_ns = self.agenda.calls[self.symbol] = until_ns
        self.call_then = _CONTINUOUS
        self.agenda.wake_at(until_ns)
        self.feed_seq += 1
        events.append((PHASE_CHANGED, self.feed_seq, self.symbol, _AUCTION))

    def _match(self, taker: Order, makers: Ladder, bound: int, events: list[Event]) -> bool:
        """Trade `taker` against `makers` best first, eldest first, at the maker's price.

        Ends by construction: each turn empties a maker's slice or the taker.

        Returns:
            Whether it ended because one sweep may make no more trades.
        """
        taker_terms = taker.terms
        mode = taker_terms[4][4]
        own = taker.account.group if mode != _NONE else None
        leaves = taker.leaves_qty
        seq = self.feed_seq
        trade_id = self.trade_id
        last_trade_id = trade_id + self.fills_max
        moment = self.moment
        gathered = self.tape.gathered
        is_odd = self.ledger is not None or taker.special is not None
        level = makers.best
        while leaves and level is not None and level.key >= bound and trade_id != last_trade_id:
            maker = level.eldest
            assert maker is not None, f"level {level.price} stands empty"
            if maker.account.group is own:
                taker.leaves_qty = leaves
                self.feed_seq = seq
                self._prevent(taker, maker, makers, mode, events)
                leaves, seq, level = taker.leaves_qty, self.feed_seq, makers.best
                continue
            price = level.price
            special = maker.special
            offered = maker.leaves_qty if special is None else maker.shown_qty()
            qty = offered if offered < leaves else leaves
            leaves -= qty
            seq += 1
            trade_id += 1
            notional = qty * price
            taker.cum_qty += qty
            taker.cum_notional += notional
            maker.cum_qty += qty
            maker.cum_notional += notional
            if qty == offered:
                makers.remove(maker)
                self.resting_count -= 1
                level = makers.best
            else:
                level.qty -= qty
            maker.leaves_qty = maker_leaves = maker.leaves_qty - qty
            event: Event = (
                TRADE,
                seq,
                trade_id,
                price,
                qty,
                maker.terms,
                maker.cum_qty,
                maker_leaves,
                maker.cum_notional,
                taker_terms,
                taker.cum_qty,
                leaves,
                taker.cum_notional,
            )
            self.last_price = price
            if is_odd or special is not None:
                taker.leaves_qty = leaves
                self.feed_seq = seq
                self._fill_odd(event, maker, taker, makers, qty == offered, events)
                seq, level = self.feed_seq, makers.best
                continue
            events.append(event)
            gathered.append((moment.time_ns, moment.index, event))
            if not maker_leaves:
                maker.account.close(maker)
        taker.leaves_qty = leaves
        self.feed_seq = seq
        self.trade_id = trade_id
        if len(gathered) >= GATHERED_MAX:
            self.tape.fold()
        more = bool(leaves) and level is not None and level.key >= bound
        return more and trade_id == last_trade_id

    def _fill_odd(
        self,
        event: Event,
        maker: Order,
        taker: Order,
        makers: Ladder,
        is_spent: bool,
        events: list[Event],
    ) -> None:
        """What else a trade does where money moves, something is hidden or pairs are broken."""
        special = maker.special
        shows = special is not None and special.display_qty > 0
        if shows and special is not None:
            special.shown_qty -= event[4]
        if self.ledger is not None or shows:
            shown = special.shown_qty if shows and special is not None else maker.leaves_qty
            event = (*event, *self._settle(maker, taker, event[3], event[4]), shown, None)
        events.append(event)
        self.tape.gathered.append((self.moment.time_ns, self.moment.index, event))
        if not maker.leaves_qty:
            maker.account.close(maker)
        for order in (maker, taker):
            if order.special is not None and order.special.sibling is not None:
                self.end_sibling(order.special, events)
        if maker.leaves_qty and is_spent and special is not None:
            special.shown_qty = min(special.display_qty, maker.leaves_qty)
            makers.append(maker, event[3])
            self.resting_count += 1
            self.feed_seq += 1
            shown = special.shown_qty
            events.append((REFILLED, self.feed_seq, maker.terms, shown, maker.leaves_qty))

    def _settle(self, maker: Order, taker: Order, price: int, qty: int) -> tuple[int, int]:
        """Move the money of a trade; what maker and taker paid in fees."""
        ledger = self.ledger
        if ledger is None:
            return 0, 0
        if taker.terms[4][0] == _BUY:
            fees = (ledger.taker_fee, ledger.maker_fee)
            paid = ledger.settle(
                taker, maker, price=price, qty=qty, buy_fee=fees[0], sell_fee=fees[1]
            )
            return paid[1], paid[0]
        fees = (ledger.maker_fee, ledger.taker_fee)
        return ledger.settle(maker, taker, price=price, qty=qty, buy_fee=fees[0], sell_fee=fees[1])

    def trade_at_auction(
        self, buy: Order, sell: Order, *, price: int, qty: int, events: list[Event]
    ) -> None:
        """Let two orders that both gathered in a call trade with each other."""
        self.feed_seq += 1
        self.trade_id += 1
        self.last_price = price
        for order in (buy, sell):
            self._reduce_at_auction(order, qty)
            order.cum_qty += qty
            order.cum_notional += price * qty
        event: Event = (AUCTION_TRADE, self.feed_seq, self.trade_id, price, qty)
        for order in (buy, sell):
            event = (*event, order.terms, order.cum_qty, order.leaves_qty, order.cum_notional)
        ledger, shown = self.ledger, (_shown_at_auction(buy), _shown_at_auction(sell))
        if ledger is not None:
            fee = ledger.maker_fee
            fees = ledger.settle(buy, sell, price=price, qty=qty, buy_fee=fee, sell_fee=fee)
            event = (*event, *fees, *shown)
        elif _is_iceberg(buy) or _is_iceberg(sell):
            event = (*event, 0, 0, *shown)
        events.append(event)
        self.tape.gathered.append((self.moment.time_ns, self.moment.index, event))
        for order in (buy, sell):
            if not order.leaves_qty:
                order.account.close(order)
        for order in (buy, sell):
            if order.special is not None and order.special.sibling is not None:
                self.end_sibling(order.special, events)

    def _reduce_at_auction(self, order: Order, qty: int) -> None:
        level, special = order.level, order.special
        if level is None:
            order.leaves_qty -= qty
        elif qty == order.leaves_qty:
            (self.bids if order.terms[4][0] == _BUY else self.asks).remove(order)
            self.resting_count -= 1
            order.leaves_qty = 0
        else:
            order.leaves_qty -= qty
            if special is None or not special.display_qty:
                level.qty -= qty
            else:
                shown = min(special.display_qty, order.leaves_qty)
                level.qty += shown - special.shown_qty
                special.shown_qty = shown

    def _prevent(
        self, taker: Order, maker: Order, makers: Ladder, mode: int, events: list[Event]
    ) -> None:
        """Keep a group from trading with itself; a prevented match is not a trade."""
        if mode == _DECREMENT:
            qty = min(taker.leaves_qty, maker.leaves_qty)
            self._shrink_maker(maker, qty, events)
            self._shrink_taker(taker, qty, events)
            return
        if mode != _CANCEL_NEWEST:
            self._shrink_maker(maker, maker.leaves_qty, events)
        if mode != _CANCEL_OLDEST:
            self._shrink_taker(taker, taker.leaves_qty, events)

    def _shrink_maker(self, maker: Order, qty: int, events: list[Event]) -> None:
        if qty == maker.leaves_qty:
            self.cancel(maker, _SELF_TRADE, events)
            return
        self.feed_seq += 1
        level, special = maker.level, maker.special
        assert level is not None, f"order {maker.terms[0]} does not rest"
        maker.leaves_qty = leaves = maker.leaves_qty - qty
        event: Event = (RESTATED, self.feed_seq, maker.terms, maker.cum_qty, leaves, qty, 1)
        if special is None or not special.display_qty:
            level.qty -= qty
        else:
            shown = min(special.shown_qty, leaves)  # what is hidden shrinks first
            level.qty -= special.shown_qty - shown
            special.shown_qty = shown
            event = (*event, shown)
        if self.ledger is not None:
            self.ledger.fit(maker)
        events.append(event)

    def _shrink_taker(self, taker: Order, qty: int, events: list[Event]) -> None:
        terms, cum = taker.terms, taker.cum_qty
        taker.leaves_qty -= qty
        if taker.leaves_qty:
            if self.ledger is not None:
                self.ledger.fit(taker)
            events.append((RESTATED, 0, terms, cum, taker.leaves_qty, qty, 0))
        else:
            events.append((CANCELED, 0, terms, cum, qty, 0, _SELF_TRADE))
            if taker.special is not None and taker.special.sibling is not None:
                self.end_sibling(taker.special, events)

    def _rest(self, order: Order, events: list[Event]) -> None:
        terms, special = order.terms, order.special
        event: Event = (RESTED, self.feed_seq + 1, terms, order.leaves_qty)
        if special is not None and special.display_qty:
            special.shown_qty = min(special.display_qty, order.leaves_qty)
            event = (*event, special.shown_qty)
        (self.bids if terms[4][0] == _BUY else self.asks).append(order, terms[6])
        self.resting_count += 1
        self.feed_seq += 1
        events.append(event)

    def _expire(self, order: Order, makers: Ladder, events: list[Event]) -> None:
        """End what is left of an order that may not rest, by its own rules."""
        terms = order.terms
        if terms[4][2] == _FOK:
            reason = _FOK_CANNOT_FILL
        elif terms[6] is not None:
            reason = 0
        else:
            reason = _NO_LIQUIDITY if makers.best is None else _PRICE_COLLAR
        self._end_rest(order, reason, events)

    def _end_rest(self, order: Order, reason: int, events: list[Event]) -> None:
        """The rest of a taker expires; whoever entered it closes it."""
        canceled = order.leaves_qty
        order.leaves_qty = 0
        events.append((EXPIRED, 0, order.terms, order.cum_qty, canceled, 0, reason))

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


def _is_iceberg(order: Order) -> bool:
    return order.special is not None and order.special.display_qty > 0


def _shown_at_auction(order: Order) -> int | None:
    """What an order shows after it traded in an auction; None if it never stood in the book."""
    if order.terms[6] is None:
        return None
    return order.shown_qty() if order.leaves_qty else 0

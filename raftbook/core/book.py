"""One instrument's book: orders enter, are amended, wait and fire.

Owns everything that happens to an order after it was found valid. Every change is told as an event
appended to the list it is given. Must not know sessions or requests, and judges nothing:
`validate.py` has done that. The matcher is in `matching.py`, auctions in `call.py`, waiting stops
in `stops.py`.
"""

from __future__ import annotations

from typing import Any, Final

from raftbook.core.conditions import STAYING_TIMES, OrderConditions, is_hidden
from raftbook.core.contingent import release_due
from raftbook.core.events import (
    ACCEPTED,
    REPLACED,
    REPRICED,
    TRIGGERED,
    Event,
)
from raftbook.core.ladder import Ladder, Order
from raftbook.core.matching import Matcher
from raftbook.core.pegs import Pegs, reference
from raftbook.core.room import Room
from raftbook.core.stops import Stops
from raftbook.core.types import (
    OrderType,
    Phase,
    PostOnly,
    Reject,
    Side,
    TimeInForce,
)
from raftbook.core.walks import TOO_MANY_FILLS, available

# Enumerations as plain integers: an attribute look-up on an IntEnum costs more than a comparison.
_BUY: Final = int(Side.BUY)
_TO_LIMIT: Final = int(OrderType.MARKET_TO_LIMIT)
_PEGGED: Final = int(OrderType.PEGGED)
_GTC: Final = int(TimeInForce.GTC)
_FOK: Final = int(TimeInForce.FOK)
_AT_AUCTION: Final = int(TimeInForce.AT_AUCTION)
_REPRICE: Final = int(PostOnly.REPRICE)
_FOK_CANNOT_FILL: Final = int(Reject.FOK_CANNOT_FILL)
_MIN_QTY_NOT_MET: Final = int(Reject.MIN_QTY_NOT_MET)
_NO_LOOKS: Final = -2
_UNAVAILABLE: Final[dict[int, int]] = {
    TOO_MANY_FILLS: int(Reject.FILL_LIMIT),
    _NO_LOOKS: int(Reject.RATE_LIMIT),
}
"""Why a dry run says nothing."""
_NO_LIQUIDITY: Final = int(Reject.NO_LIQUIDITY)
_NO_REFERENCE_PRICE: Final = int(Reject.NO_REFERENCE_PRICE)
_PRICE_COLLAR: Final = int(Reject.PRICE_COLLAR)
_PRICE_BAND: Final = int(Reject.PRICE_BAND)
_CONTINUOUS: Final = int(Phase.CONTINUOUS)


class Book(Matcher):
    """The book of one instrument; see `BookState` for its fields."""

    __slots__ = ()

    def enter(self, order: Order, events: list[Event]) -> None:
        """Accept a new order: match it, then let the rest join the queue or expire."""
        terms = order.terms
        kind: tuple[int, ...] = terms[4]
        price = terms[6]
        if kind[0] == _BUY:
            own, makers = self.bids, self.asks
            bound = self._market_bound(_BUY) if price is None else -price
        else:
            own, makers = self.asks, self.bids
            bound = self._market_bound(kind[0]) if price is None else price
        best = makers.best
        if best is not None and best.key >= bound and not self.is_call:
            self._take(order, makers, bound, events)
        elif kind[2] == _GTC or kind[2] in STAYING_TIMES:
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
            self.end_rest(order, _UNAVAILABLE.get(found, _FOK_CANNOT_FILL), events)
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
        elif kind[1] == _PEGGED:
            events.append((ACCEPTED, 0, terms))
            self._peg(order)
        elif price is None and self.is_call:
            events.append((ACCEPTED, 0, terms))
            self.at_auction[terms[0]] = order
        elif kind[1] == _TO_LIMIT:
            events.append((ACCEPTED, 0, terms))
            self._take_best(order, makers, events)
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
                self.end_rest(order, reason, events)
            elif conditions.quote_qty and not order.leaves_qty:
                events.append((ACCEPTED, 0, terms))
                self._expire(order, makers, events)
            elif conditions.hidden:
                events.append((ACCEPTED, 0, terms))
                self._rejoin(order, terms, events)
            else:
                self.enter(order, events)
                if kind[2] == _AT_AUCTION:
                    self.at_auction[terms[0]] = order

    def _take_best(self, order: Order, makers: Ladder, events: list[Event]) -> None:
        """Let a market-to-limit order become a limit order at the best opposite price, and take."""
        best = makers.best
        if best is None:
            self.end_rest(order, _NO_LIQUIDITY, events)
        elif best.key < self._market_bound(order.terms[4][0]):
            self.end_rest(order, _PRICE_COLLAR, events)
        elif not self.admits(best.price):
            self.end_rest(order, _PRICE_BAND, events)
        else:
            self._limit_at(order, best.price, events)
            self._sweep(order, makers, best.key, events)

    def _limit_at(self, order: Order, price: int, events: list[Event]) -> None:
        """Give an order without limit price one."""
        terms = order.terms
        order.terms = (*terms[:6], price, *terms[7:])
        events.append((REPRICED, 0, order.terms, None))
        if self.ledger is not None:
            self.ledger.fit(order)

    def end_gathering(self, order: Order, price: int | None, events: list[Event]) -> None:
        """What an auction left of a market-to-limit order rests at its price, None for none."""
        if price is None:
            self.expire(order, _NO_LIQUIDITY, events)
        elif not self.admits(price):
            self.expire(order, _PRICE_BAND, events)
        else:
            del self.at_auction[order.terms[0]]
            self._limit_at(order, price, events)
            self._rest(order, events)

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
        return _UNAVAILABLE.get(found, _MIN_QTY_NOT_MET) if found < min_qty else 0

    def _available(self, order: Order, makers: Ladder, bound: int, wanted: int) -> int:
        """How much of `wanted` lots can be had at once, or a code of _UNAVAILABLE."""
        if self.cannot_look(makers, bound):
            return _NO_LOOKS
        return available(
            order.account,
            order.terms[4][4],
            makers,
            bound=bound,
            wanted=wanted,
            fills_max=self.agenda.room.fills_now(),
            room=self.agenda.room,
        )

    def repriced(self, terms: tuple[Any, ...]) -> tuple[Any, ...]:
        """The terms of a post-only order one tick behind the best opposite price."""
        is_buy = terms[4][0] == _BUY
        best = (self.asks if is_buy else self.bids).best
        assert best is not None, f"order {terms[0]} crosses nothing"
        return (*terms[:6], best.price - 1 if is_buy else best.price + 1, *terms[7:])

    # -- stops ------------------------------------------------------------------------------------

    def wait(self, order: Order) -> None:
        """Let an accepted stop wait."""
        special = order.special
        assert special is not None, f"order {order.terms[0]} has no trigger"
        stops = self.waiting_room()
        stops.arrive(order, special, self.reference_price())
        if stops.by_quotes:
            self.agenda.is_quoted = True

    def waiting_room(self) -> Stops:
        """Where orders wait, from now on there if it was not."""
        if self.stops is None:
            self.stops = Stops()
            self.judge()
        return self.stops

    def fire_stops(self, events: list[Event]) -> None:
        """Let the stops fire whose price was reached, round after round."""
        room = self.agenda.room
        free = room.begin_firing()
        self._fire_stops(room, events)
        room.end_firing(free)

    def _fire_stops(self, room: Room, events: list[Event]) -> None:
        stops = self.stops
        assert stops is not None, f"{self.symbol} has no stops"
        left, last_trade_id = self.limits.triggers_max, self.trade_id + room.fills_max
        bid: int | None = None
        ask: int | None = None
        while self.is_trading and self.symbol not in self.agenda.stopped:
            if stops.due:
                left = release_due(self, stops, left, last_trade_id, events)
                continue
            if self.last_price is not None:
                stops.trail(self.last_price)
            if stops.by_quotes:
                bid, ask = reference(self.bids), reference(self.asks)
            if room.is_spent():  # then who they are is for the next entry to find out
                if stops.is_reached(self.last_price, bid, ask):
                    self.stop_firing()
                return
            due = stops.reached(self.last_price, bid, ask)
            if not due:
                return
            for order in due:
                if order.terms[0] not in stops.by_id:  # it ended with one that fired before it
                    continue
                if self.phase != _CONTINUOUS:
                    return
                if not left or self.trade_id >= last_trade_id or room.is_spent():
                    self.stop_firing()
                    return
                left -= 1
                room.triggers -= 1
                self._fire(order, stops, events)

    def stop_firing(self) -> None:
        """As many have fired as may: the others go on with the next entry."""
        self.agenda.stopped[self.symbol] = None
        self.agenda.wake_at(0)

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
        if price is None or special.holds_later:
            special.holds_later = False
            reason = self._fired_reject(order)
            if reason:
                self.end_rest(order, reason, events)
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

    def _fired_reject(self, order: Order) -> int:
        """Why a stop cannot be the order that it is now, 0 for nothing: asked of one without limit
        price, and of any that held nothing before; then it holds what it needs."""
        ledger = self.ledger
        side, price, leaves = order.terms[4][0], order.terms[6], order.leaves_qty
        if price is None and self.terms.collar is not None and self.reference_price() is None:
            return _NO_REFERENCE_PRICE
        if ledger is None:
            return 0
        if price is None:
            amount = self.market_need(order.account, order.terms[4], leaves)
        else:
            amount = ledger.need(side, price * leaves, leaves)
        reason = int(ledger.reject(order.account, side, amount - order.held))
        if not reason:
            ledger.hold(order, amount)
        return reason

    # -- pegged orders ----------------------------------------------------------------------------

    def _peg(self, order: Order) -> None:
        """Know a pegged order; it waits until `pegs.follow` finds out what it wants."""
        if self.pegs is None:
            self.pegs = Pegs()
            self.agenda.is_pegged = True
            self.judge()
        self.pegs.add(order)

    def step_aside(self, order: Order, events: list[Event]) -> None:
        """Take a pegged order out of the book; it waits, without a price."""
        terms = order.terms
        (self.bids if terms[4][0] == _BUY else self.asks).remove(order)
        self.resting_count -= 1
        order.terms = (*terms[:6], None, *terms[7:])
        self.feed_seq += 1
        events.append((REPRICED, self.feed_seq, order.terms, terms[6], order.leaves_qty))

    def step_in(self, order: Order, price: int, events: list[Event]) -> None:
        """Let a pegged order that waits join the book at a price, or one tick behind orders that
        stand in its way; where it may not stand, it waits on."""
        terms = order.terms
        is_buy = terms[4][0] == _BUY
        best = (self.asks if is_buy else self.bids).best
        if best is not None and self.crosses(is_buy=is_buy, price=price):
            price = best.price - 1 if is_buy else best.price + 1
            if not self.admits(price):
                return
        order.terms = (*terms[:6], price, *terms[7:])
        self._rest(order, events)

    # -- amends -----------------------------------------------------------------------------------

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
        seen = int(not is_hidden(old))
        event: Event = (
            REPLACED,
            (self.feed_seq + 1) * seen,
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
            order.level.qty += (leaves - was_leaves) * seen
        else:
            assert order.level is not None, f"order {old[0]} does not rest"
            order.level.qty += shown - was_shown
            special.shown_qty = shown
        if special is not None and special.display_qty:
            special.display_qty = terms[7][3]
        order.terms = terms
        order.leaves_qty = leaves
        if self.ledger is not None:
            self._hold_anew(order)
        self.feed_seq += seen
        events.append(event)
        if not keeps:
            self._rejoin(order, terms, events)

    def _rejoin(self, order: Order, terms: tuple[Any, ...], events: list[Event]) -> None:
        """Let an amended or a hidden order in: as a taker where it crosses, then at the back."""
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
        elif len(old) > 8:
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

    # -- looks without an order -------------------------------------------------------------------

    def lift(self, order: Order) -> None:
        """Take a resting order out for a look at the book without it; `put_back` follows."""
        (self.bids if order.terms[4][0] == _BUY else self.asks).remove(order)
        self.resting_count -= 1

    def put_back(self, order: Order, *, before: Order | None) -> None:
        """Let a lifted order stand where it stood."""
        ladder = self.bids if order.terms[4][0] == _BUY else self.asks
        ladder.put_back(order, order.terms[6], before=before)
        self.resting_count += 1

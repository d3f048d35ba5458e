"""Stops: when they are looked at, how they trail, in which order they fire."""

from fractions import Fraction

from raftbook.core import events as e
from raftbook.core.types import OrderType as Type
from raftbook.core.types import Phase, Reject, Side
from raftbook.core.types import TriggerBy as By
from tests.core.twin.matching import Matching
from tests.core.twin.state import NOWHERE, PENDING, STOPS, TwinOrder, Wish

Price = Fraction | int | None
"""None: there is none."""


class Stops(Matching):
    def stop_of_wish(self, wish: Wish) -> int:
        """Where it would fire if it were entered now."""
        kind = wish.kind()
        conditions = (wish.stop_price, wish.trail_unit, wish.trail_offset, 0, 0, 0, 0, 0)
        order = TwinOrder((0, "", "", wish.symbol, kind, wish.qty, wish.price, conditions), 0)
        order.best = self.reference(wish.symbol)
        return order.stop

    def wait(self, order: TwinOrder) -> None:
        order.where = STOPS
        order.joined = self.tick()
        order.best = self.reference(order.symbol)

    def fires_on_a_rise(self, order: TwinOrder) -> bool:
        runs = order.ord_type in (Type.STOP, Type.STOP_LIMIT)
        return runs == (order.side == Side.BUY)

    def looked_at(self, order: TwinOrder, bid: int | None, ask: int | None) -> Price:
        """The price by which it fires."""
        if order.trigger_by == By.LAST:
            return self.instruments[order.symbol].last_price
        if order.trigger_by == By.MID:
            return None if bid is None or ask is None else Fraction(bid + ask, 2)
        return bid if order.trigger_by == By.BID else ask

    def best_of_others(self, symbol: str, side: int) -> int | None:
        """The best price of a side among the orders that are displayed and not pegged."""
        mine = [o for o in self.resting(symbol, side) if not o.is_pegged and not o.is_hidden]
        best = max if side == Side.BUY else min
        return best((o.price for o in mine), default=None)

    def is_reached(self, order: TwinOrder, bid: int | None, ask: int | None) -> bool:
        price = self.looked_at(order, bid, ask)
        if price is None:
            return False
        return price >= order.stop if self.fires_on_a_rise(order) else price <= order.stop

    def trail(self, symbol: str) -> None:
        """The best price follows the last one in the order's favour."""
        last = self.instruments[symbol].last_price
        for order in self.stops_of(symbol):
            if order.trails and last is not None:
                better = min if order.side == Side.BUY else max
                order.best = better(order.best, last)

    def reached(self, symbol: str) -> list[TwinOrder]:
        stops = self.stops_of(symbol)
        if not stops:
            return []
        bid, ask = self.best_of_others(symbol, Side.BUY), self.best_of_others(symbol, Side.SELL)
        due = [order for order in stops if self.is_reached(order, bid, ask)]
        rising = [order for order in due if self.fires_on_a_rise(order)]
        falling = [order for order in due if not self.fires_on_a_rise(order)]
        rising.sort(key=lambda o: (o.stop, o.joined))
        falling.sort(key=lambda o: (-o.stop, o.joined))
        return rising + falling

    def look_at_stops(self, symbol: str) -> None:
        """After a whole command: rounds until one finds none, or as many fired as may."""
        self.fires = True
        self.go_rounds(symbol)
        self.fires = False

    def go_rounds(self, symbol: str) -> None:
        instrument = self.instruments[symbol]
        fired, first = 0, instrument.trades
        while instrument.trades_now():
            while waiting := self.due_in(symbol):
                if instrument.phase != Phase.CONTINUOUS:
                    return
                if self.is_enough(fired, instrument.trades - first):
                    instrument.stops_left = self.tick()
                    return
                fired += 1
                self.triggered += 1
                self.release(waiting[0])
            if instrument.phase != Phase.CONTINUOUS:
                return
            self.trail(symbol)
            due = self.reached(symbol)
            if not due:
                return
            for order in due:
                if order.where != STOPS:
                    continue  # one that fired before it has ended it
                if instrument.phase != Phase.CONTINUOUS:
                    return
                if self.is_enough(fired, instrument.trades - first):
                    instrument.stops_left = self.tick()
                    return
                fired += 1
                self.triggered += 1
                self.fire(order)

    def is_enough(self, fired: int, trades: int) -> bool:
        is_full = fired == self.limits.triggers_max or trades >= self.limits.fills_max
        return is_full or self.has_done_enough()

    def due_in(self, symbol: str) -> list[TwinOrder]:
        """Pending orders that wait for nothing any more, in the order of their release."""
        due = [o for o in self.orders if o.where == PENDING and o.due and o.symbol == symbol]
        return sorted(due, key=lambda o: o.due)

    def look_at_all_stops(self) -> None:
        for symbol in self.symbols_by_creation():
            if not self.instruments[symbol].stops_left:
                self.look_at_stops(symbol)

    def symbols_by_creation(self) -> list[str]:
        return sorted(self.instruments, key=lambda symbol: self.instruments[symbol].created)

    def unfinished(self) -> list[str]:
        """Instruments of which more stops were reached than might fire."""
        left = [s for s, instrument in self.instruments.items() if instrument.stops_left]
        return sorted(left, key=lambda symbol: self.instruments[symbol].stops_left)

    def go_on_with_stops(self, symbols: list[str]) -> None:
        for symbol in symbols:
            if not self.has_done_enough():
                self.instruments[symbol].stops_left = 0
                self.look_at_stops(symbol)

    def fire(self, order: TwinOrder) -> None:
        stop = order.stop
        order.where = NOWHERE
        self.private(e.TRIGGERED, order.terms, stop)
        self.end_other_leg(order)
        has_collar = self.instruments[order.symbol].terms.collar is not None
        if order.price is None and has_collar and self.reference(order.symbol) is None:
            return self.end(order, e.EXPIRED, Reject.NO_REFERENCE_PRICE)
        if reason := self.cannot_pay_now(order):
            return self.end(order, e.EXPIRED, reason)
        self.run(order)
        return None

    def cannot_pay_now(self, order: TwinOrder) -> int:
        """A stop that fires holds what a market order would hold now, or one with its limit price;
        most of these hold that already."""
        if not self.settles(order.symbol):
            return Reject.NONE
        sort = Type.MARKET if order.price is None else Type.LIMIT
        market = Wish(
            order.symbol, order.side, sort, 0, order.leaves, order.price, "", 0, order.stp
        )
        price, amount = self.hold_terms(order.account, market)
        self.look_for_cost(order.account, market, order.leaves)
        currency, need = self.amount_to_hold(order.symbol, order.side, order.leaves, price, amount)
        if self.is_funded(order.symbol):
            account = self.accounts[order.account]
            more = need - order.held[1]
            if reason := self.cannot_cover(account, order.side, currency, more):
                return reason
        order.hold_price, order.hold_amount = price, amount
        self.hold(order)
        return Reject.NONE

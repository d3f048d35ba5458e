"""Pegged orders: what price each wants, and when they move."""

from typing import Any

from raftbook.core import events as e
from raftbook.core.types import PegReference as Peg
from raftbook.core.types import Side
from tests.core.twin.base import price_reject
from tests.core.twin.cancelling import Cancelling
from tests.core.twin.entering import Wish
from tests.core.twin.state import NOWHERE, PEGS, TwinOrder, TwinSession, other

LOOKS_PER_MOVE = 16


class Pegging(Cancelling):
    def place_peg(self, session: TwinSession, command: Any) -> None:
        _, symbol, side, tif, qty, limit, client_id, kind, offset, expire_time_ns = command
        wish = Wish(
            symbol, side, 8, tif, qty, limit, client_id, 0, 0, expire_time_ns=expire_time_ns
        )
        wish.peg = (kind, offset)
        if reason := self.why_not_new(session.account, wish):
            return self.refuse(command, reason)
        self.take_tokens(session.account, 1)
        order = self.make(session, wish)
        order.where = PEGS
        self.instruments[symbol].pegs_saw = None
        self.private(e.ACCEPTED, order.terms)
        return None

    def pegs_of(self, symbol: str) -> list[TwinOrder]:
        mine = [o for o in self.orders if not o.closed and o.is_pegged and o.symbol == symbol]
        return sorted(mine, key=lambda o: o.order_id)

    def wants(self, order: TwinOrder) -> int | None:
        instrument = self.instruments[order.symbol]
        if not instrument.trades_now():
            return None
        kind, offset, limit = order.terms[8]
        own = self.best_of_others(order.symbol, order.side)
        opposite = self.best_of_others(order.symbol, other(order.side))
        is_buy = order.side == Side.BUY
        if kind == Peg.MIDPOINT:
            if own is None or opposite is None:
                return None
            price = (own + opposite + (0 if is_buy else 1)) // 2
        else:
            start = own if kind == Peg.PRIMARY else opposite
            if start is None:
                return None
            price = start
        prices = [price + offset]
        if limit is not None:
            prices.append(limit)
        if opposite is not None:
            prices.append(opposite - 1 if is_buy else opposite + 1)
        price = min(prices) if is_buy else max(prices)
        return None if price_reject(instrument.terms, price) else price

    def follow(self, symbol: str) -> None:
        """Once after a whole command: who wants another price leaves, then all of them join."""
        instrument, pegs = self.instruments[symbol], self.pegs_of(symbol)
        trades = instrument.trades_now()
        if trades and instrument.pegs_left:
            return
        if not trades:
            instrument.pegs_saw = None
        elif not self.may_look(symbol, len(pegs)):
            instrument.pegs_left, instrument.pegs_saw = self.tick(), None
            return
        movers = [order for order in pegs if self.wants(order) != order.wanted]
        if trades:
            room = self.limits.pegs_page - instrument.pegs_moved
            if len(movers) > room:
                instrument.pegs_left, instrument.pegs_saw = self.tick(), None
            movers = movers[:room]
            instrument.pegs_moved += len(movers)
        for order, wanted in [(order, self.wants(order)) for order in movers]:
            order.wanted = wanted
        for order in movers:
            if order.rests():
                stood_at = order.price
                order.terms = (*order.terms[:6], None, *order.terms[7:])
                self.public(symbol, e.REPRICED, order.terms, stood_at, order.leaves)
                order.where = PEGS
        for order in movers:
            if order.wanted is not None:
                self.step_in(order, order.wanted)

    def may_look(self, symbol: str, count: int) -> bool:
        """Whether there is room to look at pegged orders, if there is anything to look at."""
        instrument = self.instruments[symbol]
        if not count:
            return True  # the first that comes is looked at, whatever was seen
        sees = (self.best_of_others(symbol, Side.BUY), self.best_of_others(symbol, Side.SELL))
        if instrument.pegs_saw != sees:
            if self.peg_looks <= 0:
                return False
            self.peg_looks -= count
            instrument.pegs_saw = sees
        return True

    def step_in(self, order: TwinOrder, price: int) -> None:
        in_the_way = self.crossing(order.symbol, order.side, price)
        if in_the_way:
            price = self.price_behind(order.symbol, order.side)
        if price_reject(self.instruments[order.symbol].terms, price):
            return
        order.terms = (*order.terms[:6], price, *order.terms[7:])
        order.where = NOWHERE
        self.rest(order)

    def follow_all(self) -> None:
        for symbol in self.symbols_by_creation():
            self.follow(symbol)

    def follow_waiting(self) -> None:
        """Those that waited for this entry, in the order in which they began to."""
        waiting = [i for i in self.instruments.values() if i.pegs_left]
        for instrument in sorted(waiting, key=lambda each: each.pegs_left):
            if self.peg_looks > 0:
                instrument.pegs_left = 0
                self.follow(instrument.terms.symbol)

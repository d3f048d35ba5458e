"""Trading: the walk along the other side, self-trade prevention, dry runs, what is left over."""

from collections.abc import Iterator
from itertools import takewhile
from typing import Any

from raftbook.core import events as e
from raftbook.core.types import OrderType as Type
from raftbook.core.types import Phase, Reject, Settlement, Side
from raftbook.core.types import SelfTradePrevention as Stp
from tests.core.twin.money import Money
from tests.core.twin.state import SECOND, STOPS, TwinOrder, TwinTrade, Wish

LOOKS_PER_FILL = 8
"""How much the dry runs of one entry may look at, for each order that one sweep may meet."""
SWEEPS_PER_ENTRY, TRIGGERS_PER_ENTRY, FREE_PART = 2, 2, 1_250
"""An entry has room for so many sweeps, beside the part of one that each may meet for nothing; for
one sweep since engine version 3. Sweeps that begin when half of it was met, for nothing or not, may
meet one at most for nothing since engine version 4."""


class Matching(Money):
    # ------------------------------------------------------------------------------------- sweeps

    def match(self, taker: TwinOrder, limit: int | None) -> int:
        """Trade until there is nothing left to trade with.

        Returns:
            PRICE_COLLAR when the volatility band ended it, FILL_LIMIT when it may meet no more,
            else NONE.
        """
        anchor = self.reference(taker.symbol)
        fills, most = 0, self.fills_now()
        updates = taker.conditions.updates_other > 0 and self.has_other_leg(taker)
        updates = updates and self.version >= 3
        while taker.leaves:
            makers = self.crossing(taker.symbol, taker.side, limit)
            if not makers:
                break
            maker = makers[0]
            if self.too_far(taker.symbol, anchor, maker.price):
                return self.swept_by(fills, Reject.PRICE_COLLAR)
            if self.version >= 2 and fills >= most:
                return self.swept_by(fills, Reject.FILL_LIMIT)
            fills += self.count([maker])
            if self.keeps_off(taker.stp, taker.account, maker):
                self.prevent(maker, taker)
            else:
                self.trade(maker, taker)
                fills += updates
        return self.swept_by(fills, Reject.NONE)

    def swept_by(self, fills: int, ended_by: int) -> int:
        """Count what a sweep met beside what it may for nothing."""
        self.swept += max(0, fills - self.fills_free())
        self.met += fills
        return ended_by

    def fills_left(self) -> int:
        sweeps = 1 if self.version >= 3 else SWEEPS_PER_ENTRY
        return max(0, sweeps * self.limits.fills_max - self.swept)

    def fills_free(self) -> int:
        """What a sweep may meet for nothing: what fires could as well have waited."""
        if self.fires and self.version >= 3:
            return 0
        free = self.limits.fills_max // FREE_PART
        has_met_much = self.met >= self.limits.fills_max // 2
        return min(1, free) if has_met_much and self.version >= 4 else free

    def fills_now(self) -> int:
        """How many orders a sweep may meet now."""
        return min(self.limits.fills_max, self.fills_left() + self.fills_free())

    def count(self, orders: list[TwinOrder]) -> int:
        """How many orders a sweep counts that meets all of these."""
        return len(orders) + sum(each.is_linked for each in orders if self.version >= 3)

    def first(self, orders: list[TwinOrder], most: int | None) -> list[TwinOrder]:
        """Those that it meets which may meet so many: the last one may count one too many."""
        return [
            each for at, each in enumerate(orders) if most is None or self.count(orders[:at]) < most
        ]

    def has_done_enough(self) -> bool:
        """Whether what could as well be done in the next entry waits for that."""
        has_fired_enough = self.triggered >= TRIGGERS_PER_ENTRY * self.limits.triggers_max
        has_swept_enough = self.fills_left() == 0
        if self.version >= 3:
            has_swept_enough = 2 * self.fills_left() < self.limits.fills_max
        is_enough = self.has_looked_enough() or has_swept_enough or has_fired_enough
        return self.version >= 2 and is_enough

    def prevent(self, maker: TwinOrder, taker: TwinOrder) -> None:
        if taker.stp in (Stp.CANCEL_OLDEST, Stp.CANCEL_BOTH):
            self.end(maker, e.CANCELED, Reject.SELF_TRADE)
        if taker.stp in (Stp.CANCEL_NEWEST, Stp.CANCEL_BOTH):
            self.end(taker, e.CANCELED, Reject.SELF_TRADE)
        if taker.stp == Stp.DECREMENT:
            qty = min(maker.leaves, taker.leaves)
            self.shrink(maker, qty)
            self.shrink(taker, qty)

    def shrink(self, order: TwinOrder, qty: int) -> None:
        if order.leaves == qty:
            return self.end(order, e.CANCELED, Reject.SELF_TRADE)
        order.leaves -= qty
        order.canceled += qty
        order.shown = min(order.shown, order.leaves)  # what is hidden goes first
        self.hold(order)
        told = [order.terms, order.cum, order.leaves, qty, int(order.is_seen())]
        if order.rests() and order.is_iceberg:
            told.append(order.shown)
        self.tell_order(order, e.RESTATED, *told)
        return None

    def trade(self, maker: TwinOrder, taker: TwinOrder) -> None:
        instrument = self.instruments[maker.symbol]
        qty = min(maker.offered(), taker.leaves)
        maker.shown -= min(maker.shown, qty)
        rates = (instrument.terms.maker_fee, instrument.terms.taker_fee)
        self.tell_trade(e.TRADE, maker, taker, qty, maker.price, rates)
        if not maker.closed and maker.is_iceberg and not maker.shown:
            self.join(maker)
            self.public(maker.symbol, e.REFILLED, maker.terms, maker.shown, maker.leaves)

    def tell_trade(
        self,
        kind: int,
        maker: TwinOrder,
        taker: TwinOrder,
        qty: int,
        price: int,
        rates: tuple[int, int],
    ) -> None:
        """Take a trade off both orders, move its money, tell it, and close what is spent."""
        instrument = self.instruments[maker.symbol]
        instrument.trades += 1
        instrument.last_price = price
        sides: list[Any] = []
        for order in (maker, taker):
            order.leaves -= qty
            order.cum += qty
            order.notional += qty * price
            sides += [order.terms, order.cum, order.leaves, order.notional]
        fees = (0, 0)
        settles = instrument.terms.settlement != Settlement.NONE
        if settles:
            fees = self.settle(maker, taker, qty, price, rates)
        if settles or any(order.rests() and order.is_iceberg for order in (maker, taker)):
            shown = [order.offered() if order.is_seen() else None for order in (maker, taker)]
            sides += [*fees, *shown]
        self.public(maker.symbol, kind, instrument.trades, price, qty, *sides)
        told = TwinTrade(instrument.trades, price, qty, (maker.terms, taker.terms), fees)
        instrument.remembered.append(told)
        instrument.remembered = instrument.remembered[-self.limits.trades_kept :]
        for order in (maker, taker):
            if order.leaves == 0 and not order.sweeps:
                self.close(order)
        for order in (maker, taker):
            if order.conditions.updates_other:
                self.update_other_leg(order, qty)
            else:
                self.end_other_leg(order)
            if order.leaves == 0 and order.cum == order.order_qty:
                for each in self.pending_of(order):
                    each.due = self.tick()
            elif order.leaves == 0:
                self.end_pending(order)

    def update_other_leg(self, order: TwinOrder, qty: int) -> None:
        """The stop of a pair shrinks by what the limit order traded."""
        leg = self.order_of(order.conditions.oco_order_id)
        if leg is None or leg.closed:
            return
        if leg.leaves <= qty:
            return self.end(leg, e.CANCELED, Reject.OCO_DONE)
        if leg.where == STOPS and leg.price is None:
            leg.hold_price = leg.stop
        return self.shrink(leg, qty)

    # ------------------------------------------------------------------------------- what is left

    def run(self, order: TwinOrder) -> None:
        """Trade as far as it goes, then rest or expire."""
        limit = self.taker_limit(order.symbol, order.side, order.price)
        order.sweeps = True
        ended_by = self.match(order, limit)
        order.sweeps = False
        if order.leaves:
            self.remainder(order, ended_by)
        else:
            self.close(order)
        if ended_by == Reject.PRICE_COLLAR:
            self.begin_volatility_call(order.symbol)

    def remainder(self, order: TwinOrder, ended_by: int) -> None:
        if ended_by == Reject.FILL_LIMIT:
            self.end(order, e.EXPIRED, Reject.FILL_LIMIT)
        elif self.can_stay(order):
            self.rest(order)
        elif ended_by or order.price is not None:
            self.end(order, e.EXPIRED, ended_by)
        elif self.crossing(order.symbol, order.side, None):
            self.end(order, e.EXPIRED, Reject.PRICE_COLLAR)
        else:
            self.end(order, e.EXPIRED, Reject.NO_LIQUIDITY)

    def limit_at(self, order: TwinOrder, price: int) -> None:
        """An order without limit price becomes one with it."""
        order.terms = (*order.terms[:6], price, *order.terms[7:])
        order.hold_price, order.hold_amount = price, 0
        self.hold(order)
        self.private(e.REPRICED, order.terms, None)

    def rest(self, order: TwinOrder) -> None:
        self.join(order)
        told = [order.terms, order.leaves]
        if order.is_iceberg:
            told.append(order.shown)
        self.tell_order(order, e.RESTED, *told)

    def begin_volatility_call(self, symbol: str) -> None:
        instrument = self.instruments[symbol]
        instrument.phase = Phase.AUCTION
        instrument.gathered = True
        instrument.until_ns = self.now_ns + instrument.terms.volatility_call_ms * SECOND // 1_000
        instrument.then = Phase.CONTINUOUS
        self.public(symbol, e.PHASE_CHANGED, symbol, int(Phase.AUCTION))

    # ----------------------------------------------------------------------------------- dry runs

    def walk(
        self,
        account: str,
        symbol: str,
        side: int,
        stp: int,
        limit: int | None,
        most: int | None = None,
    ) -> Iterator[tuple[TwinOrder, int, bool]]:
        """(order, lots, whether it is kept off) of each meeting, in order, of a taker that is
        large enough; slice by slice, and what an iceberg shows next stands at the back of what is
        displayed. Of as many orders as count that much, where `most` says so, as if there were no
        others."""
        anchor = self.reference(symbol)
        makers = self.first(self.crossing(symbol, side, limit), most)
        for price in dict.fromkeys(maker.price for maker in makers):
            if self.too_far(symbol, anchor, price):
                return
            queue = [(each, each.offered(), each.leaves) for each in makers if each.price == price]
            while queue:
                maker, shown, leaves = queue.pop(0)
                if self.keeps_off(stp, account, maker):
                    if stp != Stp.CANCEL_OLDEST:
                        yield maker, leaves, True
                    continue
                yield maker, shown, False
                if leaves > shown:
                    left = leaves - shown
                    queue.append((maker, min(maker.conditions.display_qty, left), left))
                    queue.sort(key=lambda waiting: waiting[0].is_hidden)

    def reachable(
        self,
        account: str,
        symbol: str,
        side: int,
        stp: int,
        limit: int | None,
        most: int | None = None,
    ) -> Iterator[tuple[TwinOrder, int]]:
        """What it would trade, in order, before anything ends or shrinks it."""
        for maker, lots, is_own in self.walk(account, symbol, side, stp, limit, most):
            if is_own:
                return
            yield maker, lots

    def has_looked_enough(self) -> bool:
        """Whether this entry has no room for another dry run."""
        return self.version >= 2 and self.dry_looks >= LOOKS_PER_FILL * self.limits.fills_max

    def look(self, level: list[TwinOrder], account: str, stp: int, enough: int, most: int) -> None:
        """Count what is looked at, of orders of a level that count so much, until it is enough."""
        mixed = any(maker.is_iceberg or maker.is_hidden for maker in level)
        if stp == Stp.NONE and not mixed and self.count(level) <= most:
            return
        shown = 0
        for maker in self.first(level, most):
            self.dry_looks += 1
            if self.keeps_off(stp, account, maker):
                if stp != Stp.CANCEL_OLDEST:
                    return
            else:
                shown += maker.offered()
                if shown >= enough:
                    return

    def look_decrementing(self, level: list[TwinOrder], account: str, rest: int, most: int) -> None:
        """The same for a taker that shrinks where it meets its own."""
        later = 0
        for number, maker in enumerate(self.first(level, most)):
            self.dry_looks += 1
            if maker.is_hidden and not any(each.is_hidden for each in level[:number]):
                rest -= min(later, rest)
            if self.are_one(account, maker.account):
                rest -= min(maker.leaves, rest)
            else:
                rest -= min(maker.offered(), rest)
                later += maker.leaves - maker.offered()
            if rest == 0:
                return

    def levels(self, symbol: str, side: int, limit: int | None) -> list[list[TwinOrder]]:
        """What a taker would meet, price by price, up to the volatility band."""
        anchor = self.reference(symbol)
        levels: dict[int, list[TwinOrder]] = {}
        for maker in self.crossing(symbol, side, limit):
            if self.too_far(symbol, anchor, maker.price):
                break
            levels.setdefault(maker.price, []).append(maker)
        return list(levels.values())

    def dry_run(self, order: TwinOrder, limit: int | None, wanted: int, missed: int) -> int:
        """Why `wanted` lots cannot be had at once, `missed` where they are not there."""
        found, slices, most = 0, 0, self.fills_now()
        partners = list(self.reachable(order.account, order.symbol, order.side, order.stp, limit))
        levels = self.levels(order.symbol, order.side, limit)
        if levels and self.has_looked_enough():
            return Reject.RATE_LIMIT
        for level in levels:
            self.dry_looks += 1
            here = 0
            for maker in level:
                self.dry_looks += any(each.is_iceberg for each in level)
                here += maker.slices() * self.count([maker])
                if here > most:
                    break
            slices += here
            if self.version >= 2 and slices > most:
                return Reject.FILL_LIMIT
            self.look(level, order.account, order.stp, wanted - found, self.count(level))
            price = level[0].price
            found += sum(lots for maker, lots in partners if maker.price == price)
            stops_here = order.stp not in (Stp.NONE, Stp.CANCEL_OLDEST) and any(
                self.are_one(order.account, maker.account) for maker in level
            )
            if found >= wanted or stops_here:
                break
        return Reject.NONE if found >= wanted else missed

    def look_for_lots(self, account: str, wish: Wish) -> None:
        """Count what it takes to see how many lots an amount buys."""
        limit = self.taker_limit(wish.symbol, wish.side, None)
        most = self.fills_now()
        met = list(self.walk(account, wish.symbol, wish.side, wish.stp, limit, most))
        rest, room = wish.quote_qty, self.instruments[wish.symbol].terms.qty_max
        for level in self.levels(wish.symbol, wish.side, limit):
            price = level[0].price
            if price < 1 or most <= 0:
                return
            self.dry_looks += 1
            self.look(level, account, wish.stp, min(rest // price, room) + 1, most)
            here = [(lots, is_own) for maker, lots, is_own in met if maker.price == price]
            reached = list(takewhile(lambda each: not each[1], here))
            open_qty = sum(lots for lots, _ in reached)
            lots = min(open_qty, room, rest // price)
            rest -= lots * price
            room -= lots
            most -= self.count(level)
            if lots < open_qty or len(reached) < len(here):
                return

    def must_look_for_cost(self, wish: Wish) -> bool:
        """Whether only a dry run tells what it must hold."""
        if wish.ord_type != Type.MARKET or wish.side != Side.BUY:
            return False
        instrument = self.instruments[wish.symbol]
        return instrument.terms.collar is None and not instrument.in_call()

    def look_for_cost(self, account: str, wish: Wish, qty: int) -> None:
        """Count what it takes to see what a market order of `qty` lots would pay."""
        if not self.must_look_for_cost(wish):
            return
        most = self.fills_now()
        met = list(self.walk(account, wish.symbol, wish.side, wish.stp, None, most))
        for level in self.levels(wish.symbol, wish.side, None):
            if qty <= 0 or most <= 0:
                return
            self.dry_looks += 1
            if wish.stp == Stp.DECREMENT:
                self.look_decrementing(level, account, qty, most)
            else:
                self.look(level, account, wish.stp, qty, most)
            for maker, lots, is_own in met:
                if maker.price == level[0].price:
                    if is_own and wish.stp != Stp.DECREMENT:
                        return
                    qty -= min(qty, lots)
            most -= self.count(level)

    def lots_of_amount(self, account: str, wish: Wish) -> int:
        return sum(lots for _, lots in self.lots_for_amount(account, wish))

    def lots_for_amount(self, account: str, wish: Wish) -> list[tuple[TwinOrder, int]]:
        """How many lots of each maker a quote amount takes."""
        limit = self.taker_limit(wish.symbol, wish.side, None)
        most = self.fills_now()
        makers = list(self.reachable(account, wish.symbol, wish.side, wish.stp, limit, most))
        rest, room = wish.quote_qty, self.instruments[wish.symbol].terms.qty_max
        taken: list[tuple[TwinOrder, int]] = []
        for price in dict.fromkeys(maker.price for maker, _ in makers):
            if price < 1:
                break
            level = [(maker, lots) for maker, lots in makers if maker.price == price]
            open_qty = sum(lots for _, lots in level)
            lots = min(open_qty, room, rest // price)
            rest -= lots * price
            room -= lots
            left = lots
            for maker, offered in level:
                taken.append((maker, min(left, offered)))
                left -= taken[-1][1]
            if lots < open_qty:
                break
        return taken

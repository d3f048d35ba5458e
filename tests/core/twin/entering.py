"""New orders, alone, in pairs, or instead of another."""

import copy
from dataclasses import replace
from typing import Any

from raftbook.core import commands as c
from raftbook.core import events as e
from raftbook.core.conditions import OrderConditions
from raftbook.core.types import OrderType as Type
from raftbook.core.types import PostOnly, Reject
from raftbook.core.types import TimeInForce as Tif
from tests.core.twin.base import price_reject
from tests.core.twin.judging import Judging
from tests.core.twin.state import (
    CALL,
    NOWHERE,
    PENDING,
    STOPPED,
    TwinOrder,
    TwinSession,
    Wish,
    written,
)


def wish_of(command: Any) -> Wish:
    fields = command[1:]
    if command[0] == c.NEW_ORDER:
        return Wish(*fields, plain=True)
    return Wish(*(fields if command[0] == c.PLACE_ORDER else fields[3:]))


def legs_of(command: Any) -> tuple[Wish, Wish]:
    """The limit order and the stop of a PLACE_OCO."""
    (
        _,
        symbol,
        side,
        qty,
        tif,
        expire_time_ns,
        stp,
        price,
        client_id,
        post_only,
        display_qty,
        stop_type,
        stop_price,
        stop_limit_price,
        trail_unit,
        trail_offset,
        stop_client_id,
        *more,
    ) = command
    limit = Wish(
        symbol,
        side,
        int(Type.LIMIT),
        tif,
        qty,
        price,
        client_id,
        post_only,
        stp,
        display_qty=display_qty,
        expire_time_ns=expire_time_ns,
    )
    stop = Wish(
        symbol,
        side,
        stop_type,
        tif,
        qty,
        stop_limit_price,
        stop_client_id,
        0,
        stp,
        stop_price=stop_price,
        trail_unit=trail_unit,
        trail_offset=trail_offset,
        expire_time_ns=expire_time_ns,
        of_oco=True,
    )
    if more:
        stop.trigger_by, limit.hidden = more
    return limit, stop


def wishes_of(command: Any) -> list[Wish]:
    """The working order of a PLACE_OTO or PLACE_OTOCO, and what waits for it."""
    working = Wish(*command[1:19])
    if command[0] == c.PLACE_OTO:
        wishes = [working, Wish(command[1], *command[19:])]
    else:
        wishes = [working, *legs_of((c.PLACE_OCO, command[1], *command[19:-1]))]
    for wish in wishes:
        wish.of_oto = True
        wish.pending = wish is not working
    return wishes


class Entering(Judging):
    def new_order(self, session: TwinSession, command: Any) -> None:
        wish = wish_of(command)
        reason = self.why_not_new(session.account, wish)
        if reason:
            return self.refuse(command, reason)
        self.take_tokens(session.account, 1)
        self.enter(self.make(session, wish))
        return None

    def place_oco(self, session: TwinSession, command: Any) -> None:
        limit, stop = legs_of(command)
        reason = self.why_not_new(session.account, limit)
        reason = reason or self.why_not_new(session.account, stop, (limit,))
        if reason:
            return self.refuse(command, reason)
        self.take_tokens(session.account, 2)
        first = self.order_ids + 1
        updates = int(command[0] == c.PLACE_OUO)
        orders = [
            self.make(session, limit, oco_order_id=first + 1, updates=updates),
            self.make(session, stop, oco_order_id=first, updates=updates),
        ]
        is_in_place = [self.accept(order) for order in orders]
        if not is_in_place[0]:
            self.go_in(orders[0])
        return None

    def place_oto(self, session: TwinSession, command: Any) -> None:
        wishes = wishes_of(command)
        for place, wish in enumerate(wishes):
            if reason := self.why_not_new(session.account, wish, tuple(wishes[:place])):
                return self.refuse(command, reason)
        self.take_tokens(session.account, len(wishes))
        working_id = self.order_ids + 1
        working = self.make(session, wishes[0], oto_order_id=working_id + 1)
        if len(wishes) == 2:
            pending = [self.make(session, wishes[1], oto_order_id=working_id)]
        else:
            legs = ((wishes[1], working_id + 2), (wishes[2], working_id + 1))
            pending = [
                self.make(session, leg, sibling_id, working_id, updates=command[-1])
                for leg, sibling_id in legs
            ]
        is_in_place = self.accept(working)
        for order in pending:
            self.private(e.ACCEPTED, order.terms)
        if not is_in_place:
            self.go_in(working)
        return None

    def cancel_replace(self, session: TwinSession, command: Any) -> None:
        _, order_id, client_id, or_place, *_ = command
        wish = wish_of(command)
        old = self.find(session.account, order_id, client_id)
        if old is None or old.closed:
            gone = Reject.UNKNOWN_ORDER if old is None else Reject.TOO_LATE
            self.private(e.CANCEL_REJECTED, int(gone), command)
            if not or_place:
                return self.refuse(command, Reject.CANCEL_FAILED)
            reason = self.why_not_new(session.account, wish)
        elif self.instruments[old.symbol].auction is not None:
            self.private(e.CANCEL_REJECTED, int(Reject.PHASE_FORBIDS), command)
            return self.refuse(command, Reject.CANCEL_FAILED)
        else:
            kept = self.keep_the_market()
            self.end(old, e.CANCELED, Reject.NONE)
            reason = self.why_not_new(session.account, wish)
            if reason and not or_place:
                self.give_back_the_market(kept)
                self.private(e.CANCEL_REJECTED, int(reason), command)
        if reason:
            return self.refuse(command, reason)
        self.take_tokens(session.account, 1)
        self.enter(self.make(session, wish))
        return None

    def keep_the_market(self) -> Any:
        """A copy of all that a cancel changes."""
        return copy.deepcopy(
            (self.orders, self.instruments, self.accounts, self.counter, len(self.out))
        )

    def give_back_the_market(self, kept: Any) -> None:
        self.orders, self.instruments, self.accounts, self.counter, told = kept
        del self.out[told:]

    # --------------------------------------------------------------------------- a good new order

    def make(
        self,
        session: TwinSession,
        wish: Wish,
        oco_order_id: int = 0,
        oto_order_id: int = 0,
        updates: int = 0,
    ) -> TwinOrder:
        """The order with its id, its terms and what it holds; nowhere yet, nothing told."""
        self.order_ids += 1
        qty = wish.qty
        if wish.quote_qty:
            qty = self.lots_of_amount(session.account, wish)
        conditions = written(
            OrderConditions(
                wish.stop_price,
                wish.trail_unit,
                wish.trail_offset,
                wish.display_qty,
                wish.min_qty,
                wish.expire_time_ns,
                wish.quote_qty,
                oco_order_id,
                wish.trigger_by,
                wish.hidden,
                oto_order_id,
                updates,
            )
        )
        ids = (self.order_ids, session.account, wish.client_order_id, wish.symbol)
        terms = (*ids, wish.kind(), qty, wish.price)
        if conditions != (None, 0, 0, 0, 0, 0, 0, 0):
            terms = (*terms, conditions)
        if wish.peg is not None:
            terms = (*terms[:6], None, conditions, (*wish.peg, wish.price))
        of_session = session.session_id if self.version >= 2 else 0  # older orders are of none
        order = TwinOrder(terms, qty, of_session, self.day)
        if wish.pending:
            order.where, order.wish = PENDING, wish
        elif self.settles(wish.symbol):
            order.hold_price, order.hold_amount = self.hold_terms(session.account, wish)
            self.look_for_cost(session.account, wish, qty)
        self.orders.append(order)
        self.hold(order)
        return order

    def enter(self, order: TwinOrder) -> None:
        if not self.accept(order):
            self.go_in(order)

    def accept(self, order: TwinOrder) -> bool:
        """Tell ACCEPTED; True when the order is where it belongs already."""
        in_call = self.instruments[order.symbol].in_call()
        crosses = order.price is not None and bool(
            self.crossing(order.symbol, order.side, order.price)
        )
        if order.ord_type in STOPPED:
            self.wait(order)
        elif in_call and order.ord_type in (Type.MARKET, Type.MARKET_TO_LIMIT):
            order.where = CALL
            order.joined = self.tick()
        elif order.is_hidden:
            self.private(e.ACCEPTED, order.terms)
            return False
        elif self.can_stay(order) and not order.conditions.min_qty and (in_call or not crosses):
            self.join(order)
        else:
            self.private(e.ACCEPTED, order.terms)
            return False
        self.tell_order(order, e.ACCEPTED, order.terms)
        return True

    def go_in(self, order: TwinOrder) -> None:
        """What an order does that was accepted and is nowhere yet."""
        if order.leaves == 0:  # a quote amount that buys nothing
            nothing = not self.crossing(order.symbol, order.side, None)
            reason = Reject.NO_LIQUIDITY if nothing else Reject.PRICE_COLLAR
            return self.end(order, e.EXPIRED, reason)
        if order.ord_type == Type.MARKET_TO_LIMIT:
            return self.take_the_best(order)
        wanted = order.order_qty if order.tif == Tif.FOK else order.conditions.min_qty
        if wanted:
            limit = self.taker_limit(order.symbol, order.side, order.price)
            reason = int(Reject.MIN_QTY_NOT_MET)
            if order.tif == Tif.FOK:
                reason = Reject.FOK_CANNOT_FILL
            if not self.instruments[order.symbol].in_call():
                reason = self.dry_run(order, limit, wanted, reason)
            if reason:
                return self.end(order, e.EXPIRED, reason)
        in_call = self.instruments[order.symbol].in_call()
        if order.is_hidden and (
            in_call or not self.crossing(order.symbol, order.side, order.price)
        ):
            self.rest(order)
        elif order.post_only == PostOnly.REPRICE:
            asked = order.price
            behind = self.price_behind(order.symbol, order.side)
            order.terms = (*order.terms[:6], behind, *order.terms[7:])
            if order.hold_price is not None:
                order.hold_price = behind
                self.hold(order)
            self.private(e.REPRICED, order.terms, asked)
            self.rest(order)
        else:
            self.run(order)
        return None

    def release(self, order: TwinOrder) -> None:
        """What an order does that was pending and is nothing any more but due."""
        assert order.wish is not None
        order.where, order.due = NOWHERE, 0
        self.private(e.TRIGGERED, order.terms, None)
        if reason := self.cannot_hold_now(order, order.wish) or self.post_only_reject(order.wish):
            return self.end(order, e.EXPIRED, reason)
        crosses = order.price is not None and self.crossing(order.symbol, order.side, order.price)
        if order.ord_type in STOPPED:
            self.wait(order)
        elif self.can_stay(order) and not order.conditions.min_qty and not crosses:
            self.rest(order)
        else:
            self.go_in(order)
        return None

    def cannot_hold_now(self, order: TwinOrder, wish: Wish) -> int:
        """Hold what a new order would, or say why that cannot be."""
        is_stop_of_pair = order.ord_type in STOPPED and order.conditions.oco_order_id > 0
        if not self.settles(order.symbol) or is_stop_of_pair:
            return Reject.NONE
        order.hold_price, order.hold_amount = self.hold_terms(
            order.account, replace(wish, qty=order.leaves)
        )
        self.look_for_cost(order.account, wish, order.leaves)
        currency, need = self.amount_to_hold(
            order.symbol, order.side, order.leaves, order.hold_price, order.hold_amount
        )
        if self.is_funded(order.symbol):
            account = self.accounts[order.account]
            if reason := self.cannot_cover(account, order.side, currency, need):
                return reason
        self.hold(order)
        return Reject.NONE

    def take_the_best(self, order: TwinOrder) -> None:
        """A market-to-limit order takes at the best price that is there, and rests at it."""
        limit = self.taker_limit(order.symbol, order.side, None)
        if not self.crossing(order.symbol, order.side, None):
            return self.end(order, e.EXPIRED, Reject.NO_LIQUIDITY)
        if not self.crossing(order.symbol, order.side, limit):
            return self.end(order, e.EXPIRED, Reject.PRICE_COLLAR)
        price = self.crossing(order.symbol, order.side, None)[0].price
        if price_reject(self.instruments[order.symbol].terms, price):
            return self.end(order, e.EXPIRED, Reject.PRICE_BAND)
        self.limit_at(order, price)
        return self.run(order)

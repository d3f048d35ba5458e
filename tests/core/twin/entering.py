"""New orders, alone, in pairs, or instead of another."""

import copy
from typing import Any

from raftbook.core import commands as c
from raftbook.core import events as e
from raftbook.core.types import OrderType as Type
from raftbook.core.types import PostOnly, Reject
from raftbook.core.types import TimeInForce as Tif
from tests.core.twin.base import price_reject
from tests.core.twin.judging import Judging
from tests.core.twin.state import CALL, STOPPED, TwinOrder, TwinSession, Wish


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
        reason = reason or self.why_not_new(session.account, stop, first_leg=limit)
        if reason:
            return self.refuse(command, reason)
        self.take_tokens(session.account, 2)
        first = self.order_ids + 1
        orders = [
            self.make(session, limit, oco_order_id=first + 1),
            self.make(session, stop, oco_order_id=first),
        ]
        is_in_place = [self.accept(order) for order in orders]
        if not is_in_place[0]:
            self.go_in(orders[0])
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

    def make(self, session: TwinSession, wish: Wish, oco_order_id: int = 0) -> TwinOrder:
        """The order with its id, its terms and what it holds; nowhere yet, nothing told."""
        self.order_ids += 1
        qty = wish.qty
        if wish.quote_qty:
            qty = self.lots_of_amount(session.account, wish)
        conditions = (
            wish.stop_price,
            wish.trail_unit,
            wish.trail_offset,
            wish.display_qty,
            wish.min_qty,
            wish.expire_time_ns,
            wish.quote_qty,
            oco_order_id,
        )
        ids = (self.order_ids, session.account, wish.client_order_id, wish.symbol)
        terms = (*ids, wish.kind(), qty, wish.price)
        if wish.trigger_by != 0 or wish.hidden != 0:
            conditions = (*conditions, wish.trigger_by, wish.hidden)
        if conditions != (None, 0, 0, 0, 0, 0, 0, 0):
            terms = (*terms, conditions)
        if wish.peg is not None:
            terms = (*terms[:6], None, conditions, (*wish.peg, wish.price))
        of_session = session.session_id if self.version >= 2 else 0
        order = TwinOrder(terms, qty, of_session, self.day)
        if self.settles(wish.symbol):
            order.hold_price, order.hold_amount = self.hold_terms(session.account, wish)
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
            can, too_many = self.dry_run(order, limit, wanted)
            if self.instruments[order.symbol].in_call():
                can, too_many = False, False
            if not can:
                missed = Reject.MIN_QTY_NOT_MET
                if order.tif == Tif.FOK:
                    missed = Reject.FOK_CANNOT_FILL
                reason = Reject.FILL_LIMIT if too_many else missed
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

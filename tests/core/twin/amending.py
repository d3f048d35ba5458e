"""One order changed: what may be given, what is refused, what keeps its place."""

from dataclasses import dataclass
from typing import Any

from raftbook.core import commands as c
from raftbook.core import events as e
from raftbook.core.types import Phase, Reject
from raftbook.core.types import TimeInForce as Tif
from tests.core.twin.base import price_reject
from tests.core.twin.entering import Entering
from tests.core.twin.judging import trail_fits
from tests.core.twin.state import (
    BOOK,
    CALL,
    NOWHERE,
    PEGS,
    PENDING,
    STOPS,
    TwinOrder,
)


@dataclass
class Change:
    """What an amend gives; None leaves as it was."""

    qty: int | None
    price: int | None
    stop_price: int | None = None
    trail_offset: int | None = None
    display_qty: int | None = None
    expire_time_ns: int | None = None

    def is_nothing(self) -> bool:
        given = (self.qty, self.price, self.stop_price, self.trail_offset)
        return {*given, self.display_qty, self.expire_time_ns} == {None}


class Amending(Entering):
    def amend_order(self, account: str, command: Any) -> None:
        kind, order_id, client_id, *given = command
        assert kind in (c.AMEND_ORDER, c.REPLACE_ORDER)
        change = Change(*given)
        order = self.find(account, order_id, client_id)
        if order is None:
            return self.refuse(command, Reject.UNKNOWN_ORDER)
        if reason := self.why_not_amend(order, change):
            return self.refuse(command, reason)
        if change.qty is not None and change.qty <= order.cum:
            return self.end(order, e.CANCELED, Reject.NONE)
        self.take_tokens(account, 1)
        self.change(order, change)
        return None

    def why_not_amend(self, order: TwinOrder, change: Change) -> int:
        if order.closed:
            return Reject.TOO_LATE
        terms = self.instruments[order.symbol].terms
        total = order.order_qty if change.qty is None else change.qty
        reason = (
            self.account_reject(order.account)
            or self.phase_reject(order.symbol)
            or self.not_allowed(order, change)
        )
        if reason:
            return reason
        if total <= 0:
            return Reject.BAD_QTY
        if total > terms.qty_max:
            return Reject.QTY_TOO_LARGE
        if total < terms.qty_min:
            return Reject.QTY_TOO_SMALL
        if change.qty is not None and total <= order.cum:
            return Reject.NONE
        price = order.price if change.price is None else change.price
        limit = order.limit if change.price is None else change.price
        return (
            (price_reject(terms, price) if price is not None else Reject.NONE)
            or self.amended_conditions_reject(order, change, total)
            or self.notional_reject(self.accounts[order.account], order.symbol, total, limit)
            or self.token_reject(order.account, 1)
            or self.amended_expire_reject(change)
            or self.amended_funds_reject(order, change)
            or self.amended_post_only_reject(order, change)
        )

    def not_allowed(self, order: TwinOrder, change: Change) -> int:
        waits = order.where == STOPS
        if (
            change.is_nothing()
            or (change.price is not None and (order.price is None or order.is_pegged))
            or (change.stop_price is not None and not (waits and not order.trails))
            or (change.trail_offset is not None and not (waits and order.trails))
            or (change.display_qty is not None and not order.is_iceberg)
            or change.display_qty == 0
            or order.where == PENDING
            or (change.expire_time_ns is not None and order.tif != Tif.GTD)
            or (change.qty is not None and self.has_other_leg(order))
        ):
            return Reject.AMEND_NOT_ALLOWED
        return Reject.NONE

    def amended_conditions_reject(self, order: TwinOrder, change: Change, total: int) -> int:
        terms = self.instruments[order.symbol].terms
        if order.where == STOPS and not order.trails:
            stop = order.stop if change.stop_price is None else change.stop_price
            if not terms.price_min <= stop <= terms.price_max:
                return Reject.BAD_STOP_PRICE
        if change.trail_offset is not None:
            if not trail_fits(order.conditions.trail_unit, change.trail_offset):
                return Reject.BAD_STOP_PRICE
        if order.is_iceberg:
            display_qty = change.display_qty
            if display_qty is None:
                display_qty = order.conditions.display_qty
            if not 0 < display_qty < total:
                return Reject.BAD_DISPLAY_QTY
        return Reject.NONE

    def amended_expire_reject(self, change: Change) -> int:
        if change.expire_time_ns is not None and change.expire_time_ns <= self.now_ns:
            return Reject.BAD_EXPIRE_TIME
        return Reject.NONE

    def amended_funds_reject(self, order: TwinOrder, change: Change) -> int:
        if not self.is_funded(order.symbol) or order.holds_later():
            return Reject.NONE
        leaves = order.leaves if change.qty is None else change.qty - order.cum
        price, amount = self.amended_hold(order, change)
        currency, need = self.amount_to_hold(
            order.symbol, order.side, leaves, price, amount, order.fee_sum
        )
        account = self.accounts[order.account]
        return self.cannot_cover(account, order.side, currency, need - order.held[1])

    def amended_hold(self, order: TwinOrder, change: Change) -> tuple[int | None, int]:
        """(price, amount) that the order is held at after the change."""
        if change.price is not None:
            return change.price, 0
        if order.price is None and order.where == STOPS:
            return self.changed_terms(order, change, stop_only=True), 0
        if order.where == CALL and self.version >= 4:
            return self.price_in_a_call(order.symbol), 0
        return order.hold_price, order.hold_amount

    def amended_post_only_reject(self, order: TwinOrder, change: Change) -> int:
        price = order.price if change.price is None else change.price
        loses = not self.keeps_place(order, change)
        if not order.post_only or not loses:
            return Reject.NONE
        if self.instruments[order.symbol].phase != Phase.CONTINUOUS:
            return Reject.NONE
        if self.crossing(order.symbol, order.side, price):
            return Reject.POST_ONLY_WOULD_CROSS
        return Reject.NONE

    # ------------------------------------------------------------------------------- a good amend

    def keeps_place(self, order: TwinOrder, change: Change) -> bool:
        leaves = order.leaves if change.qty is None else change.qty - order.cum
        price = order.price if change.price is None else change.price
        return order.where in (STOPS, PEGS) or (price == order.price and leaves <= order.leaves)

    def changed_terms(self, order: TwinOrder, change: Change, stop_only: bool = False) -> Any:
        """The terms after the change; or where the stop then is."""

        def new(old: Any, given: Any) -> Any:
            return old if given is None else given

        old = order.conditions
        conditions = old._replace(
            stop_price=new(old.stop_price, change.stop_price),
            trail_offset=new(old.trail_offset, change.trail_offset),
            display_qty=new(old.display_qty, change.display_qty),
            expire_time_ns=new(old.expire_time_ns, change.expire_time_ns),
        )
        changed = (*conditions[:8], *order.terms[7][8:]) if len(order.terms) > 7 else ()
        terms = (*order.terms[:5], new(order.order_qty, change.qty), new(order.price, change.price))
        if len(order.terms) > 7:
            terms = (*terms, changed, *order.terms[8:])
        if stop_only:
            return TwinOrder(terms, 0, best=order.best).stop
        return terms

    def change(self, order: TwinOrder, change: Change) -> None:
        old_terms, old_leaves, old_shown = order.terms, order.leaves, order.shown
        keeps = self.keeps_place(order, change)
        old_trigger = order.conditions[:3]
        order.hold_price, order.hold_amount = self.amended_hold(order, change)
        order.terms = self.changed_terms(order, change)
        if change.qty is not None:
            order.leaves = change.qty - order.cum
            order.canceled = 0
        self.hold(order)
        if order.where == STOPS and order.conditions[:3] != old_trigger:
            order.joined = self.tick()
        told = [order.terms, old_terms, order.cum, order.leaves, old_leaves, int(keeps)]
        if order.where == BOOK and order.is_iceberg:
            order.shown = 0
            if keeps:
                order.shown = min(old_shown, order.conditions.display_qty, order.leaves)
            told += [order.shown, old_shown]
        self.tell_order(order, e.REPLACED, *told)
        if not keeps:
            self.lose_place(order)

    def lose_place(self, order: TwinOrder) -> None:
        if order.where == CALL:
            order.joined = self.tick()
        elif self.instruments[order.symbol].in_call():
            self.rest(order)
        else:
            order.where = NOWHERE
            self.run(order)

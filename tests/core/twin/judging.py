"""Why a new order is refused: the first of a long list of reasons."""

from raftbook.core.types import OrderType as Type
from raftbook.core.types import PegReference as Peg
from raftbook.core.types import Phase, PostOnly, Reject, Side
from raftbook.core.types import SelfTradePrevention as Stp
from raftbook.core.types import TimeInForce as Tif
from raftbook.core.types import TriggerBy as By
from tests.core.twin.auction import Auction
from tests.core.twin.base import price_reject
from tests.core.twin.state import (
    PENDING,
    RESTING,
    SECOND,
    STOPPED,
    WITHOUT_LIMIT,
    TwinAccount,
    Wish,
)

PLAIN_KINDS = {
    (Type.LIMIT, Tif.GTC, 0),
    (Type.LIMIT, Tif.IOC, 0),
    (Type.LIMIT, Tif.FOK, 0),
    (Type.LIMIT, Tif.GTC, 1),
    (Type.MARKET, Tif.IOC, 0),
    (Type.MARKET, Tif.FOK, 0),
}


def goes_together(wish: Wish) -> bool:
    """Whether the fields of an order fit each other, whatever their numbers are."""
    limit = wish.ord_type == Type.LIMIT
    stopped = wish.ord_type in STOPPED
    rests = limit and wish.tif in RESTING
    trails = wish.trail_unit != 0 or wish.trail_offset != 0
    waits = wish.stop_price is not None
    if wish.stp not in list(Stp) or wish.post_only not in list(PostOnly):
        return False
    if wish.peg is not None:
        is_timed = (wish.expire_time_ns != 0) == (wish.tif == Tif.GTD)
        return wish.peg[0] in list(Peg) and wish.tif in RESTING and is_timed
    if wish.plain and (wish.ord_type, wish.tif, wish.post_only) not in PLAIN_KINDS:
        return False
    if wish.of_oco and not stopped:
        return False
    if wish.of_oto and wish.quote_qty:
        return False
    if wish.pending and wish.tif == Tif.AT_AUCTION:
        return False
    if wish.hidden and (wish.display_qty or not rests):
        return False
    if wish.trigger_by not in list(By) or (wish.trigger_by != By.LAST and not (stopped and waits)):
        return False
    times = {
        Type.LIMIT: (*RESTING, Tif.IOC, Tif.FOK, Tif.AT_AUCTION),
        Type.MARKET: (Tif.IOC, Tif.FOK, Tif.AT_AUCTION),
        Type.MARKET_TO_LIMIT: RESTING,
        **dict.fromkeys(STOPPED, RESTING),
    }
    return (
        wish.tif in times.get(wish.ord_type, ())
        and (wish.price is None) == (wish.ord_type in WITHOUT_LIMIT)
        and (not wish.post_only or rests)
        and (not trails or wish.ord_type in (Type.STOP, Type.STOP_LIMIT))
        and (waits != trails if stopped else not waits)
        and (not wish.display_qty or rests)
        and (not wish.min_qty or (limit and not wish.post_only and (rests or wish.tif == Tif.IOC)))
        and (wish.expire_time_ns != 0) == (wish.tif == Tif.GTD)
        and (not wish.quote_qty or (wish.ord_type == Type.MARKET and wish.tif == Tif.IOC))
    )


class Judging(Auction):
    def why_not_new(self, name: str, wish: Wish, before: tuple[Wish, ...] = ()) -> int:
        """The reason, or NONE.

        Args:
            before: orders of the same command, found good and not entered yet.
        """
        reason = self.account_reject(name)
        if reason:
            return reason
        if wish.symbol not in self.instruments:
            return Reject.UNKNOWN_INSTRUMENT
        return (
            self.phase_reject(wish.symbol)
            or self.duplicate_reject(name, wish, before)
            or self.kind_reject(wish)
            or self.quantity_reject(wish)
            or self.new_price_reject(wish)
            or self.notional_reject(self.accounts[name], wish.symbol, wish.qty, wish.price)
            or self.room_reject(name, wish, before)
            or self.token_reject(name, 1 + len(before))
            or self.expire_reject(wish.tif, wish.expire_time_ns)
            or (Reject.NONE if wish.pending else self.later_reject(name, wish, before))
        )

    def later_reject(self, name: str, wish: Wish, before: tuple[Wish, ...]) -> int:
        """What a pending order is asked when it is released."""
        return (
            self.look_reject(name, wish)
            or self.funds_reject(name, wish, before)
            or self.post_only_reject(wish)
        )

    def look_reject(self, name: str, wish: Wish) -> int:
        """Whether it needs a dry run that there is no room for; else that is counted."""
        before, qty = self.dry_looks, wish.qty
        if wish.quote_qty:
            self.look_for_lots(name, wish)
            qty = self.lots_of_amount(name, wish)
        if self.settles(wish.symbol):
            self.look_for_cost(name, wish, qty)
        counted, self.dry_looks = self.dry_looks, before
        must_look = self.settles(wish.symbol) and self.must_look_for_cost(wish)
        if (wish.quote_qty or must_look) and self.has_looked_enough():
            limit = self.taker_limit(wish.symbol, wish.side, None)
            if self.levels(wish.symbol, wish.side, limit):
                return Reject.RATE_LIMIT
        self.dry_looks = counted
        return Reject.NONE

    def account_reject(self, name: str) -> int:
        account = self.accounts[name]
        if not account.enabled:
            return Reject.ACCOUNT_SUSPENDED
        if account.killed or self.venue_killed:
            return Reject.KILL_SWITCH
        return Reject.NONE

    def duplicate_reject(self, name: str, wish: Wish, before: tuple[Wish, ...]) -> int:
        taken = [o.client_order_id for o in self.orders if o.account == name]
        taken += [each.client_order_id for each in before]
        if wish.client_order_id and wish.client_order_id in taken:
            return Reject.DUPLICATE_CLIENT_ORDER_ID
        return Reject.NONE

    def kind_reject(self, wish: Wish) -> int:
        instrument = self.instruments[wish.symbol]
        if wish.side not in list(Side):
            return Reject.BAD_SIDE
        if not goes_together(wish) or (wish.quote_qty and instrument.terms.price_min < 1):
            return Reject.UNSUPPORTED_COMBINATION
        if wish.peg is not None and wish.side == Side.BUY and wish.price is None:
            if self.settles(wish.symbol):
                return Reject.UNSUPPORTED_COMBINATION
        if wish.pending:
            return Reject.NONE
        if instrument.in_call() and wish.tif in (Tif.IOC, Tif.FOK):
            return Reject.IOC_IN_AUCTION
        if not instrument.in_call() and wish.tif == Tif.AT_AUCTION:
            return Reject.AUCTION_ONLY
        return Reject.NONE

    def quantity_reject(self, wish: Wish) -> int:
        terms = self.instruments[wish.symbol].terms
        if wish.quote_qty:
            return Reject.BAD_QTY if wish.quote_qty < 0 or wish.qty != 0 else Reject.NONE
        if wish.qty <= 0 or wish.min_qty < 0 or wish.min_qty > wish.qty:
            return Reject.BAD_QTY
        if wish.qty < terms.qty_min:
            return Reject.QTY_TOO_SMALL
        if wish.qty > terms.qty_max:
            return Reject.QTY_TOO_LARGE
        if wish.display_qty and not 0 < wish.display_qty < wish.qty:
            return Reject.BAD_DISPLAY_QTY
        return Reject.NONE

    def new_price_reject(self, wish: Wish) -> int:
        terms = self.instruments[wish.symbol].terms
        reference = self.reference(wish.symbol)
        if wish.ord_type in (Type.MARKET, Type.MARKET_TO_LIMIT):
            in_call = self.instruments[wish.symbol].in_call()
            if not in_call and terms.collar is not None and reference is None:
                return Reject.NONE if wish.pending else Reject.NO_REFERENCE_PRICE
        elif wish.price is not None:
            if reason := price_reject(terms, wish.price):
                return reason
        if wish.stop_price is not None:
            if not terms.price_min <= wish.stop_price <= terms.price_max:
                return Reject.BAD_STOP_PRICE
        elif wish.ord_type in STOPPED:
            if not trail_fits(wish.trail_unit, wish.trail_offset):
                return Reject.BAD_STOP_PRICE
            if reference is None and not wish.pending:
                return Reject.NO_REFERENCE_PRICE
        return Reject.NONE

    def notional_reject(
        self, account: TwinAccount, symbol: str, qty: int, price: int | None
    ) -> int:
        terms = self.instruments[symbol].terms
        if price is not None:
            notional = abs(price) * qty
            if terms.notional_max is not None and notional > terms.notional_max:
                return Reject.NOTIONAL_LIMIT
            if notional < terms.notional_min:
                return Reject.NOTIONAL_LIMIT
        if account.order_qty_max and qty > account.order_qty_max:
            return Reject.QTY_TOO_LARGE
        if price is not None and account.order_notional_max:
            if notional > account.order_notional_max:
                return Reject.NOTIONAL_LIMIT
        return Reject.NONE

    def room_reject(self, name: str, wish: Wish, before: tuple[Wish, ...]) -> int:
        mine = sum(order.account == name for order in self.open_orders())
        mine += len(before)
        own_limit = self.accounts[name].open_orders_max
        if mine >= self.limits.open_orders_max or (own_limit and mine >= own_limit):
            return Reject.OPEN_ORDER_LIMIT
        may_rest = wish.ord_type in (Type.LIMIT, Type.MARKET_TO_LIMIT)
        if may_rest and wish.tif in (*RESTING, Tif.AT_AUCTION):
            resting = self.queue(wish.symbol, Side.BUY) + self.queue(wish.symbol, Side.SELL)
            if len(resting) >= self.limits.book_orders_max:
                return Reject.BOOK_FULL
        if waits(wish):
            ahead = sum(waits(each) for each in before)
            pending = [o for o in self.orders if o.where == PENDING and o.symbol == wish.symbol]
            waiting = len(self.stops_of(wish.symbol)) + len(pending)
            if waiting + ahead >= self.limits.stops_max:
                return Reject.TOO_MANY
        if wish.peg is not None:
            pegged = [o for o in self.open_orders() if o.is_pegged and o.symbol == wish.symbol]
            if len(pegged) >= self.limits.pegs_max:
                return Reject.TOO_MANY
        if wish.hidden:
            resting = self.queue(wish.symbol, Side.BUY) + self.queue(wish.symbol, Side.SELL)
            if sum(order.is_hidden for order in resting) >= self.limits.hidden_max:
                return Reject.TOO_MANY
        return Reject.NONE

    def tokens_of(self, account: TwinAccount) -> int:
        """What is in the bucket now, in billionths of a token."""
        grown = (self.now_ns - account.filled_ns) * account.orders_per_s
        return min(burst_of(account) * SECOND, account.tokens + grown)

    def token_reject(self, name: str, needed: int) -> int:
        account = self.accounts[name]
        if account.orders_per_s and self.tokens_of(account) < needed * SECOND:
            return Reject.RATE_LIMIT
        return Reject.NONE

    def take_tokens(self, name: str, number: int) -> None:
        account = self.accounts[name]
        if account.orders_per_s:
            account.tokens = self.tokens_of(account) - number * SECOND
            account.filled_ns = self.now_ns

    def expire_reject(self, tif: int, expire_time_ns: int) -> int:
        if tif == Tif.GTD and expire_time_ns <= self.now_ns:
            return Reject.BAD_EXPIRE_TIME
        return Reject.NONE

    def funds_reject(self, name: str, wish: Wish, before: tuple[Wish, ...]) -> int:
        if not self.is_funded(wish.symbol):
            return Reject.NONE
        need = 0
        for each in (wish, *before):
            qty = self.lots_of_amount(name, each) if each.quote_qty else each.qty
            currency, amount = self.amount_to_hold(
                each.symbol, each.side, qty, *self.hold_terms(name, each)
            )
            need += amount
        return self.cannot_cover(self.accounts[name], wish.side, currency, need)

    def post_only_reject(self, wish: Wish) -> int:
        instrument = self.instruments[wish.symbol]
        if not wish.post_only or instrument.phase != Phase.CONTINUOUS:
            return Reject.NONE
        if not self.crossing(wish.symbol, wish.side, wish.price):
            return Reject.NONE
        if wish.post_only == PostOnly.REPRICE:
            behind = self.price_behind(wish.symbol, wish.side)
            if not price_reject(instrument.terms, behind):
                return Reject.NONE
        return Reject.POST_ONLY_WOULD_CROSS

    def price_behind(self, symbol: str, side: int) -> int:
        """One tick behind the best price of the other side."""
        best = self.crossing(symbol, side, None)[0].price
        return best - 1 if side == Side.BUY else best + 1


def waits(wish: Wish) -> bool:
    """Whether it counts among the stops of its instrument."""
    return wish.pending or wish.ord_type in STOPPED


def trail_fits(unit: int, offset: int) -> bool:
    return unit in (1, 2) and 0 < offset <= 2**62 and (unit == 1 or offset <= 9_999)


def burst_of(account: TwinAccount) -> int:
    return account.orders_burst or account.orders_per_s

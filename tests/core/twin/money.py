"""What an order holds, what a trade moves, and what it costs."""

from decimal import Decimal

from raftbook.core.instrument import InstrumentTerms
from raftbook.core.types import OrderType as Type
from raftbook.core.types import Reject, Settlement, Side
from raftbook.core.types import SelfTradePrevention as Stp
from raftbook.core.types import TimeInForce as Tif
from tests.core.twin.base import Base
from tests.core.twin.state import (
    BIG,
    BOOK,
    CALL,
    FEE_UNIT,
    PENDING,
    TwinAccount,
    TwinOrder,
    Wish,
    ceiling,
)


class Money(Base):
    def units(self, terms: InstrumentTerms) -> tuple[int, int] | None:
        """Minor units of base in a lot and of quote in a tick-lot; None if not whole numbers."""
        lot = Decimal(terms.lot_size) * 10 ** self.currencies[terms.base]
        tick_lot = (
            Decimal(terms.tick_size) * Decimal(terms.lot_size) * 10 ** self.currencies[terms.quote]
        )
        if lot != int(lot) or tick_lot != int(tick_lot):
            return None
        return int(lot), int(tick_lot)

    def terms_reject(self, terms: InstrumentTerms) -> int:
        """Why an instrument with these terms cannot settle."""
        if terms.settlement == Settlement.NONE:
            return Reject.NONE
        if terms.base not in self.currencies or terms.quote not in self.currencies:
            return Reject.UNKNOWN_CURRENCY
        units = self.units(terms)
        if units is None:
            return Reject.BAD_AMOUNT
        largest = max(terms.qty_max * units[0], terms.qty_max * terms.price_max * units[1])
        if 2 * largest > BIG:
            return Reject.OVERFLOW
        return Reject.NONE

    def settles(self, symbol: str) -> bool:
        return self.instruments[symbol].terms.settlement != Settlement.NONE

    def is_funded(self, symbol: str) -> bool:
        return self.instruments[symbol].terms.settlement == Settlement.FUNDED

    def add(self, balances: dict[str, int], currency: str, amount: int) -> None:
        balances[currency] = balances.get(currency, 0) + amount

    # -------------------------------------------------------------------------------------- holds

    def amount_to_hold(
        self,
        symbol: str,
        side: int,
        leaves: int,
        price: int | None,
        amount: int,
        fee_sum: int = 0,
    ) -> tuple[str, int]:
        """(currency, minor units) that an open quantity holds.

        A buy at a price holds that; a buy without one holds `amount` tick-lots. `fee_sum` is what
        its fills have cost so far, in hundred-thousandths.
        """
        terms = self.instruments[symbol].terms
        base_unit, quote_unit = self.units(terms)
        if side == Side.SELL:
            return terms.base, leaves * base_unit
        paid = (amount if price is None else leaves * price) * quote_unit
        fee_then = ceiling(fee_sum + paid * worst_fee(terms), FEE_UNIT)
        return terms.quote, paid + fee_then - ceiling(fee_sum, FEE_UNIT)

    def hold(self, order: TwinOrder) -> None:
        """Let the order hold what it needs now, and give back what it held before."""
        if order.symbol not in self.instruments or not self.settles(order.symbol):
            return
        account = self.accounts[order.account]
        currency, held = order.held
        if held:
            self.add(account.held, currency, -held)
            self.add(account.available, currency, held)
        order.held = ("", 0)
        if order.leaves and order.where != PENDING and not order.holds_later():
            currency, held = order.held = self.amount_to_hold(
                order.symbol,
                order.side,
                order.leaves,
                order.hold_price,
                order.hold_amount,
                order.fee_sum,
            )
            self.add(account.held, currency, held)
            self.add(account.available, currency, -held)

    def hold_what_is_left(self, order: TwinOrder, rest: int) -> None:
        """A buy that gathered without limit price holds what is left of what it held, and not more
        than the rest of it needs at the highest price."""
        highest = self.price_in_a_call(order.symbol)
        currency, need = self.amount_to_hold(
            order.symbol, order.side, order.leaves, highest, 0, order.fee_sum
        )
        account = self.accounts[order.account]
        held, order.held = order.held[1], (currency, min(rest, need))
        self.add(account.held, currency, order.held[1] - held)
        self.add(account.available, currency, held - order.held[1])

    def cannot_cover(self, account: TwinAccount, side: int, currency: str, more: int) -> int:
        if more > 0 and account.available.get(currency, 0) < more:
            return Reject.INSUFFICIENT_FUNDS if side == Side.BUY else Reject.INSUFFICIENT_POSITION
        return Reject.NONE

    def hold_terms(self, account: str, wish: Wish) -> tuple[int | None, int]:
        """(price, amount) that a new order is held at: one of the two."""
        if wish.price is not None:
            return wish.price, 0
        if wish.peg is not None:
            return None, 0  # it sells
        if wish.stop_price is not None or wish.trail_unit:
            return self.stop_of_wish(wish), 0
        if wish.tif == Tif.AT_AUCTION or self.instruments[wish.symbol].in_call():
            return self.price_in_a_call(wish.symbol), 0
        if wish.ord_type == Type.MARKET_TO_LIMIT:
            met = self.crossing(wish.symbol, wish.side, None)
            return (max(met[0].price, 0), 0) if met else (None, 0)
        limit = self.taker_limit(wish.symbol, wish.side, None)
        if limit is None:
            return None, self.would_pay(account, wish, limit)
        return limit, 0

    def price_in_a_call(self, symbol: str) -> int:
        """The highest that an auction may find, at which a buy without limit price is held."""
        highest, reference = highest_price(self.instruments[symbol].terms), self.reference(symbol)
        if self.version < 4:
            return highest
        standing = [o.price for o in self.orders if o.where == BOOK and o.symbol == symbol]
        return max(0, highest, *standing, 0 if reference is None else reference)

    def would_pay(self, account: str, wish: Wish, limit: int | None) -> int:
        """Tick-lots that a market order would pay now."""
        if wish.quote_qty:
            return sum(maker.price * qty for maker, qty in self.lots_for_amount(account, wish))
        paid, rest, most = 0, wish.qty, self.fills_now()
        met = self.walk(account, wish.symbol, wish.side, wish.stp, limit, most)
        for maker, lots, is_own in met:
            if is_own and wish.stp != Stp.DECREMENT:
                break
            qty = min(rest, lots)
            if not is_own:
                paid += qty * maker.price
            rest -= qty
        return paid

    # ------------------------------------------------------------------------------------- trades

    def charge(self, order: TwinOrder, amount: int, rate: int) -> int:
        """The fee of one fill: what the sum so far, rounded up, has grown by."""
        order.fee_sum += amount * rate
        fee = ceiling(order.fee_sum, FEE_UNIT) - order.fees
        order.fees += fee
        return fee

    def settle(
        self, maker: TwinOrder, taker: TwinOrder, qty: int, price: int, rates: tuple[int, int]
    ) -> tuple[int, int]:
        """Move the money of one trade, whose quantities have been taken off already.

        Returns:
            (maker fee, taker fee), minor units of quote.
        """
        terms = self.instruments[maker.symbol].terms
        base_unit, quote_unit = self.units(terms)
        amount = qty * price * quote_unit
        fees = tuple(
            self.charge(order, amount, rate)
            for order, rate in zip((maker, taker), rates, strict=True)
        )
        for order, fee in zip((maker, taker), fees, strict=True):
            held_before = order.held[1]
            self.move(order.account, order.side, terms, qty * base_unit, amount, fee)
            if order.where == CALL and order.side == Side.BUY and order.leaves:
                self.hold_what_is_left(order, held_before - amount - fee)
                continue
            if order.hold_price is None:
                order.hold_amount = max(0, order.hold_amount - qty * price)
            self.hold(order)
        return fees

    def move(
        self, name: str, side: int, terms: InstrumentTerms, base: int, quote: int, fee: int
    ) -> None:
        """What a fill does to one account; with negative numbers it undoes it."""
        available = self.accounts[name].available
        sign = 1 if side == Side.BUY else -1
        self.add(available, terms.base, sign * base)
        self.add(available, terms.quote, -sign * quote - fee)
        self.add(self.fee_pot, terms.quote, fee)


def highest_price(terms: InstrumentTerms) -> int:
    """The highest that a limit order may have."""
    return min(terms.price_max, BIG if terms.band_high is None else terms.band_high)


def worst_fee(terms: InstrumentTerms) -> int:
    return max(0, terms.maker_fee, terms.taker_fee)

"""Money: currencies, what orders hold, and what a trade moves.

Owns the rule that per currency all balances and fees together are what was deposited less what was
withdrawn. One code for all: on CREDIT the only difference is that nothing is ever too little.
Knows nothing of priority, sessions or events.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Final

from raftbook.core.accounts import Account
from raftbook.core.conditions import limit_of
from raftbook.core.instrument import FEE_UNIT, InstrumentTerms
from raftbook.core.ladder import Order
from raftbook.core.types import INT64_MAX, Reject, Settlement, Side

DECIMALS_MAX: Final = 18
_BUY: Final = int(Side.BUY)


class Money:
    """What the venue knows of currencies.

    Attributes:
        decimals: by currency: a minor unit is 10**-decimals of it.
        fees: minor units that trades have paid to the venue.
        supply: deposits less withdrawals.
    """

    __slots__ = ("decimals", "fees", "supply")

    def __init__(self) -> None:
        self.decimals: dict[str, int] = {}
        self.fees: dict[str, int] = {}
        self.supply: dict[str, int] = {}

    def add_currency(self, name: str, decimals: int) -> None:
        """Know a currency; its name must be new."""
        self.decimals[name] = decimals
        self.fees[name] = self.supply[name] = 0

    def settlement_reject(self, terms: InstrumentTerms) -> int:
        """Why an instrument cannot settle in these currencies, 0 for none."""
        if not terms.settlement:
            return 0
        if terms.base not in self.decimals or terms.quote not in self.decimals:
            return Reject.UNKNOWN_CURRENCY
        base_unit, quote_unit = self._units(terms)
        if base_unit.denominator != 1 or quote_unit.denominator != 1:
            return Reject.BAD_AMOUNT
        largest = terms.qty_max * max(int(base_unit), terms.price_max * int(quote_unit))
        return Reject.OVERFLOW if 2 * largest > INT64_MAX else 0

    def _units(self, terms: InstrumentTerms) -> tuple[Fraction, Fraction]:
        tick, lot = Fraction(terms.tick_size), Fraction(terms.lot_size)
        base = lot * 10 ** self.decimals[terms.base]
        return base, tick * lot * 10 ** self.decimals[terms.quote]

    def ledger(self, terms: InstrumentTerms) -> Ledger | None:
        """What settles an instrument, None for one without settlement."""
        if not terms.settlement:
            return None
        base_unit, quote_unit = self._units(terms)
        return Ledger(self, terms, base_unit=int(base_unit), quote_unit=int(quote_unit))


class Ledger:
    """Holds and settles for one instrument.

    Attributes:
        base_unit: minor units of base in a lot.
        quote_unit: minor units of quote in a tick-lot.
    """

    __slots__ = (
        "base",
        "base_unit",
        "is_funded",
        "maker_fee",
        "money",
        "quote",
        "quote_unit",
        "taker_fee",
        "worst_fee",
    )

    def __init__(
        self, money: Money, terms: InstrumentTerms, *, base_unit: int, quote_unit: int
    ) -> None:
        self.money = money
        self.base = terms.base
        self.quote = terms.quote
        self.base_unit = base_unit
        self.quote_unit = quote_unit
        self.is_funded = terms.settlement == Settlement.FUNDED
        self.maker_fee = terms.maker_fee
        self.taker_fee = terms.taker_fee
        self.worst_fee = max(terms.maker_fee, terms.taker_fee, 0)

    # -- holds -------------------------------------------------------------------------------

    def need(self, side: int, notional: int, qty: int, fee_units: int = 0) -> int:
        """What an order must hold for `qty` open lots that are worth `notional` tick-lots.

        Args:
            fee_units: the fees that it has paid so far, which decide how the rest is rounded.
        """
        if side != _BUY:
            return qty * self.base_unit
        amount = notional * self.quote_unit
        worst = fee_units + amount * self.worst_fee
        return amount + _more_rounded_up(fee_units, worst)

    def reject(self, account: Account, side: int, amount: int) -> int:
        """Why an account cannot hold so much more, 0 for none. Negative amounts always fit."""
        if not self.is_funded or amount <= 0:
            return 0
        if side == _BUY:
            short = account.balance(self.quote).available < amount
            return Reject.INSUFFICIENT_FUNDS if short else 0
        short = account.balance(self.base).available < amount
        return Reject.INSUFFICIENT_POSITION if short else 0

    def hold(self, order: Order, amount: int) -> None:
        """Hold exactly `amount` for an order from now on, whatever was held before."""
        self.release(order, order.held - amount)

    def release(self, order: Order, amount: int) -> None:
        """Make so much of what an order holds available again; a negative amount holds more."""
        side = order.terms[4][0]
        balance = order.account.balance(self.quote if side == _BUY else self.base)
        balance.held -= amount
        balance.available += amount
        order.held -= amount

    def fit(self, order: Order) -> None:
        """Give back what an order with a limit price holds too much, after it has shrunk."""
        self.release(order, self._surplus(order, order.held))

    def _surplus(self, order: Order, held: int) -> int:
        """How much of what it holds an order does not need any more; nothing of a buy without a
        limit price, before it ends."""
        terms, leaves = order.terms, order.leaves_qty
        price = limit_of(terms)
        if price is None and terms[4][0] == _BUY:
            return 0
        if not leaves:
            return held  # what follows says the same
        return held - self.need(terms[4][0], (price or 0) * leaves, leaves, order.fee_units)

    # -- trades ------------------------------------------------------------------------------

    def settle(
        self, buy: Order, sell: Order, *, price: int, qty: int, buy_fee: int, sell_fee: int
    ) -> tuple[int, int]:
        """Move money and goods of one trade, after both orders' leaves_qty fell.

        Args:
            buy_fee, sell_fee: the rates that apply to each side.

        Returns:
            What the buyer and the seller paid in fees, minor units of quote.
        """
        amount, goods = price * qty * self.quote_unit, qty * self.base_unit
        paid = self._charge(buy, amount * buy_fee)
        kept = self._charge(sell, amount * sell_fee)
        cost = amount + paid
        freed = self._surplus(buy, buy.held - cost)
        quote = buy.account.balance(self.quote)
        quote.held -= cost + freed
        quote.available += freed
        buy.held -= cost + freed
        buy.account.balance(self.base).available += goods
        sell.account.balance(self.base).held -= goods
        sell.held -= goods
        sell.account.balance(self.quote).available += amount - kept
        self.money.fees[self.quote] += paid + kept
        return paid, kept

    def _charge(self, order: Order, units: int) -> int:
        before = order.fee_units
        order.fee_units = after = before + units
        return _more_rounded_up(before, after)

    def undo(
        self,
        buyer: Account,
        seller: Account,
        *,
        price: int,
        qty: int,
        buy_fee: int,
        sell_fee: int,
    ) -> None:
        """Take a trade and the fees that were paid back; balances may go below zero."""
        amount, goods = price * qty * self.quote_unit, qty * self.base_unit
        buyer.balance(self.quote).available += amount + buy_fee
        buyer.balance(self.base).available -= goods
        seller.balance(self.quote).available -= amount - sell_fee
        seller.balance(self.base).available += goods
        self.money.fees[self.quote] -= buy_fee + sell_fee


def _more_rounded_up(before: int, after: int) -> int:
    """What fees of `after` units are more than of `before`, each rounded up."""
    return (-before // FEE_UNIT) - (-after // FEE_UNIT)

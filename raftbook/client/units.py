"""Decimals at the edge: an instrument's ticks and lots, and amounts as programs write them.

Owns the exactness: nothing is rounded but an average price, and that to documented places. Must
not know orders or replies.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Context, Decimal, Inexact, InvalidOperation
from fractions import Fraction
from typing import Any, Final

from raftbook.core.instrument import to_units
from raftbook.core.types import Phase, Side
from raftbook.errors import ProtocolError

Amount = Decimal | str | int
"""How a program may write a price or a quantity; a float is refused, since it is not exact."""

_EXACT: Final = Context(prec=200, traps=[Inexact])
"""64 bits times a unit of 64 characters always fits. The same as `core.instrument.from_units`, at
a fraction of its cost: a client makes several decimals for every order."""

AVG_PRICE_EXTRA_PLACES: Final = 4
"""An average price has at most so many decimal places more than the tick size."""

_EXPONENT_MAX: Final = 60
"""Amounts beyond 1e60 or below 1e-60 fit no instrument; exact arithmetic on them takes long."""


@dataclass(frozen=True, slots=True)
class InstrumentSpec:
    """An instrument as a node tells it; turns decimals into ticks and lots and back.

    Attributes:
        tick_size: price of one tick, in quote.
        lot_size: quantity of one lot, in base.
        phase: name of the trading phase, such as "CONTINUOUS".
        raw: every field of the `instruments` query as it came; prices in ticks, quantities in lots.
    """

    symbol: str
    base: str
    quote: str
    tick_size: Decimal
    lot_size: Decimal
    phase: str
    raw: Mapping[str, Any]

    @classmethod
    def from_wire(cls, value: Mapping[str, Any]) -> InstrumentSpec:
        """Read one element of the `instruments` query.

        Raises:
            ProtocolError: it is none.
        """
        try:
            return cls(
                symbol=value["symbol"],
                base=value["base"],
                quote=value["quote"],
                tick_size=Decimal(value["tick_size"]),
                lot_size=Decimal(value["lot_size"]),
                phase=phase_name(value["phase"]),
                raw=value,
            )
        except (KeyError, TypeError, ValueError, InvalidOperation) as error:
            raise ProtocolError(f"no instrument: {value!r:.200}") from error

    def ticks(self, price: Decimal) -> int | None:
        """The price in ticks; None if it is not a whole number of them."""
        return _units(price, self.tick_size)

    def lots(self, qty: Decimal) -> int | None:
        """The quantity in lots; None if it is not a whole number of them."""
        return _units(qty, self.lot_size)

    def price(self, ticks: int) -> Decimal:
        """A price in quote out of ticks."""
        return _EXACT.multiply(Decimal(ticks), self.tick_size)

    def qty(self, lots: int) -> Decimal:
        """A quantity in base out of lots."""
        return _EXACT.multiply(Decimal(lots), self.lot_size)

    def notional(self, tick_lots: int) -> Decimal:
        """An amount in quote out of ticks times lots."""
        return _EXACT.multiply(_EXACT.multiply(Decimal(tick_lots), self.tick_size), self.lot_size)

    def tick_lots(self, amount: Decimal) -> int:
        """An amount in quote as whole ticks times lots; what is over is left out."""
        unit = Fraction(self.tick_size) * Fraction(self.lot_size)
        return int(Fraction(amount) / unit)

    def money(self, minor: int) -> Decimal:
        """Minor units of quote in quote; as they are where no currency says how many make one."""
        decimals = self.raw.get("quote_decimals")
        return Decimal(minor) if decimals is None else money(minor, decimals)


def decimal(amount: Amount) -> Decimal:
    """An amount as a program wrote it, exactly.

    Raises:
        TypeError: a float, which is not exact, or no number at all.
        ValueError: text that is no number.
    """
    if isinstance(amount, Decimal):
        return amount
    if type(amount) not in (str, int):
        kind = type(amount).__name__
        raise TypeError(f"write {amount!r} as text or Decimal: a {kind} is not exact")
    try:
        return Decimal(amount)
    except InvalidOperation:
        raise ValueError(f"{amount!r} is not a decimal number") from None


def money(minor: int, decimals: int) -> Decimal:
    """Minor units of a currency as an amount with all its decimals."""
    return Decimal(minor).scaleb(-decimals, context=_EXACT)


def minor_units(amount: Decimal, decimals: int) -> int | None:
    """An amount in minor units of its currency; None if it is not a whole number of them."""
    return _units(amount, Decimal(1).scaleb(-decimals))


def average_price(notional: int, qty: int, spec: InstrumentSpec) -> Decimal | None:
    """Average price of `qty` lots that cost `notional` tick-lots; None for no lots.

    Exact if it has at most AVG_PRICE_EXTRA_PLACES decimal places more than the tick, else rounded
    to so many, half to even. Trailing zeros beyond the tick's own places are cut.
    """
    if not qty:
        return None
    whole, rest = divmod(notional, qty)
    if not rest:
        return spec.price(whole)
    places = _places(spec.tick_size)
    scale = 10 ** (places + AVG_PRICE_EXTRA_PLACES)
    average = Fraction(notional, qty) * Fraction(spec.tick_size)
    digits = round(average * scale)  # half to even
    for _ in range(AVG_PRICE_EXTRA_PLACES):
        if digits % 10:
            break
        digits //= 10
        scale //= 10
    return _EXACT.divide(Decimal(digits), Decimal(scale)).quantize(
        Decimal(1) / scale, context=_EXACT
    )


def _places(size: Decimal) -> int:
    exponent = size.as_tuple().exponent
    assert isinstance(exponent, int), f"{size} is no size"
    return max(0, -exponent)


def _units(amount: Decimal, unit: Decimal) -> int | None:
    if not amount.is_finite():
        return None
    if amount and abs(amount.adjusted()) > _EXPONENT_MAX:
        return None
    return to_units(amount, unit)


def side_name(side: Any) -> str:
    """ "BUY" or "SELL" out of a number, a `Side` or its name in any case; ValueError otherwise."""
    if isinstance(side, str):
        if side.upper() not in Side.__members__:
            raise ValueError(f"side must be buy or sell, not {side!r}")
        return side.upper()
    return Side(side).name


def phase_name(phase: Any) -> str:
    return phase if isinstance(phase, str) else Phase(phase).name

"""What is traded: the terms of an instrument and the arithmetic of its units.

Owns the meaning of a tick and a lot. `tick_size` and `lot_size` are decimal text, for the edges
that show prices; the engine itself never reads them. Knows nothing of orders.
"""

from decimal import Decimal, InvalidOperation
from typing import Final, NamedTuple

from raftbook.core.types import ID_CHARS_MAX, INT64_MAX, Settlement


class InstrumentTerms(NamedTuple):
    """The terms an instrument is created with; prices in ticks, quantities in lots.

    Attributes:
        symbol: display name [55], unique in the cluster.
        base: what is bought and sold.
        quote: what it is paid in.
        tick_size: price of one tick in quote, decimal text.
        lot_size: quantity of one lot in base, decimal text.
        qty_max: largest order_qty.
        price_min: lowest admissible limit price; negative prices are allowed.
        price_max: highest admissible limit price.
        band_low: static band, refused at entry below it; None is no band.
        band_high: static band, refused at entry above it.
        notional_max: largest |price| x quantity of a limit order, tick-lots.
        collar: a market order stops this many ticks from the reference price; None is no collar.
        reference_price: the reference while nothing has traded yet.
        qty_min: smallest order_qty.
        notional_min: smallest |price| x quantity of a limit order, tick-lots.
        settlement: a `types.Settlement`.
        maker_fee, taker_fee: hundred-thousandths of the quote amount; negative is a rebate.
        volatility_band: a sweep stops this many ticks from the last price before it, and a call
            begins; None is never.
        volatility_call_ms: how long that call lasts.
    """

    symbol: str
    base: str
    quote: str
    tick_size: str
    lot_size: str
    qty_max: int
    price_min: int
    price_max: int
    band_low: int | None = None
    band_high: int | None = None
    notional_max: int | None = None
    collar: int | None = None
    reference_price: int | None = None
    qty_min: int = 1
    notional_min: int = 0
    settlement: int = 0
    maker_fee: int = 0
    taker_fee: int = 0
    volatility_band: int | None = None
    volatility_call_ms: int = 0

    def price_floor(self) -> int:
        """The lowest limit price that is admitted: range and static band in one."""
        low = self.price_min if self.band_low is None else self.band_low
        return max(low, self.price_min)

    def price_ceiling(self) -> int:
        """The highest."""
        high = self.price_max if self.band_high is None else self.band_high
        return min(high, self.price_max)

    def is_plain(self) -> bool:
        """Whether the first engine version could have said these terms."""
        return InstrumentTerms(*self[:PLAIN_TERMS]) == self


PLAIN_TERMS: Final = 13
"""Fields of `InstrumentTerms` that CREATE_INSTRUMENT has: those of the first engine version."""

QTY_MAX_DEFAULT = 2**31 - 1
PRICE_MAX_DEFAULT = 2**32 - 1
"""With QTY_MAX_DEFAULT the largest notional still fits a signed 64-bit integer."""

_EXPONENT_MAX: Final = 40
"""Of ticks and lots: exact numbers with more digits would take longer to make than an entry may."""

FEE_UNIT: Final = 100_000
"""A fee of this many is the whole amount."""
FEE_MAX: Final = FEE_UNIT // 2
CALL_MS_MAX: Final = 86_400_000
SETTLEMENTS: Final = frozenset(int(settlement) for settlement in Settlement)


def terms_error(terms: InstrumentTerms) -> str | None:
    """Why these terms cannot be traded on, or None.

    One rule carries the arithmetic of the whole engine: qty_max x largest |price| fits signed
    64 bits, so the notional of an order cannot overflow under the terms that it was entered under.
    """
    if not (terms.symbol and terms.base and terms.quote):
        return "symbol, base and quote must not be empty"
    for name in ("tick_size", "lot_size"):
        if not _is_positive_decimal(getattr(terms, name)):
            span = f"between 1E-{_EXPONENT_MAX} and 1E{_EXPONENT_MAX}"
            return f"{name} must be a decimal {span}, not {getattr(terms, name)!r}"
    if not 1 <= terms.qty_max <= INT64_MAX:
        return f"qty_max must be at least one lot, not {terms.qty_max}"
    if terms.price_min > terms.price_max:
        return f"price_min {terms.price_min} is above price_max {terms.price_max}"
    if terms.qty_max * max(abs(terms.price_min), abs(terms.price_max)) > INT64_MAX:
        return "qty_max x largest price must fit signed 64 bits: lower one of them"
    if terms.band_low is not None and terms.band_high is not None:
        if terms.band_low > terms.band_high:
            return f"band_low {terms.band_low} is above band_high {terms.band_high}"
    if terms.notional_max is not None and terms.notional_max <= 0:
        return f"notional_max must be positive, not {terms.notional_max}"
    if terms.collar is not None and terms.collar < 0:
        return f"collar must not be negative, not {terms.collar}"
    return _rules_error(terms)


def _rules_error(terms: InstrumentTerms) -> str | None:
    if not 1 <= terms.qty_min <= terms.qty_max:
        return f"qty_min must be 1 to qty_max, not {terms.qty_min}"
    if terms.notional_min < 0:
        return f"notional_min must not be negative, not {terms.notional_min}"
    if terms.settlement not in SETTLEMENTS:
        return f"settlement must be 0, 1 or 2, not {terms.settlement}"
    if max(abs(terms.maker_fee), abs(terms.taker_fee)) > FEE_MAX:
        return f"a fee must be between -{FEE_MAX} and {FEE_MAX} hundred-thousandths"
    if terms.settlement and terms.price_min < 0:
        return "an instrument that settles needs price_min at 0 or above"
    if (terms.volatility_band is None) != (terms.volatility_call_ms == 0):
        return "volatility_band and volatility_call_ms go together"
    if terms.volatility_band is not None and terms.volatility_band < 0:
        return f"volatility_band must not be negative, not {terms.volatility_band}"
    if not 0 <= terms.volatility_call_ms <= CALL_MS_MAX:
        return f"volatility_call_ms must be 0 to {CALL_MS_MAX}, not {terms.volatility_call_ms}"
    return None


def _is_positive_decimal(text: str) -> bool:
    if len(text) > ID_CHARS_MAX:
        return False
    try:
        value = Decimal(text)
    except InvalidOperation:
        return False
    return value.is_finite() and value > 0 and abs(value.adjusted()) <= _EXPONENT_MAX


def to_units(amount: Decimal, unit: Decimal) -> int | None:
    """How many `unit`s (tick_size or lot_size) make `amount` exactly; None if none do.

    Exact: Decimal's own rounding and traps are not involved, whatever the context.
    """
    amount_numerator, amount_denominator = amount.as_integer_ratio()
    unit_numerator, unit_denominator = unit.as_integer_ratio()
    count, rest = divmod(amount_numerator * unit_denominator, amount_denominator * unit_numerator)
    return count if rest == 0 else None


def from_units(count: int, unit: Decimal) -> Decimal:
    """`count` ticks or lots as an exact decimal with the unit's number of places."""
    sign, digits, exponent = unit.as_tuple()
    assert sign == 0 and isinstance(exponent, int), f"unit {unit} must be a positive decimal"
    scaled = count * int("".join(map(str, digits)))
    negative = int(scaled < 0)
    return Decimal((negative, tuple(map(int, str(abs(scaled)))), exponent))

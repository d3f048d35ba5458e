"""The terms of an instrument as options, as commands take them, and as they are shown.

Owns the units of each term. Must not know how they are sent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final, TypeVar

import click

from raftbook.client.values import InstrumentSpec
from raftbook.client.venue_views import CurrencyView
from raftbook.config import InstrumentConfig
from raftbook.config_shapes import decimal_text
from raftbook.core import commands as c
from raftbook.core.form import form_error
from raftbook.core.instrument import (
    CALL_MS_MAX,
    FEE_MAX,
    PLAIN_TERMS,
    InstrumentTerms,
    terms_error,
    to_units,
)
from raftbook.core.ledger import Money
from raftbook.core.types import INT64_MAX, Reject, Settlement
from raftbook.genesis import instrument_terms, settled_qty_max

from .amounts import DECIMAL, parse_decimal
from .naming_fields import term_text
from .order_words import parse_span_ns
from .outcomes import CommandFailed, ExitCode

_PRICES: Final = (
    "price_min",
    "price_max",
    "band_low",
    "band_high",
    "collar",
    "reference_price",
)
_MAY_END: Final = frozenset(
    ("band_low", "band_high", "notional_max", "collar", "reference_price", "volatility_band")
)
"""Terms that an instrument need not have: `none` takes them away."""
SETTLEMENTS: Final = {each.name.lower(): each for each in Settlement}
_FEE_PER_BP: Final = 10
_NS_PER_MS: Final = 1_000_000
NO_TERM: Final = "none"

Verb = TypeVar("Verb", bound=Callable[..., Any])


class TermType(click.ParamType[Any]):
    """A decimal, or `none`."""

    name = "decimal"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == NO_TERM:
            return NO_TERM
        return DECIMAL.convert(value, param, ctx)


class FeeType(click.ParamType[int]):
    """A fee in basis points or percent, in hundred-thousandths."""

    name = "fee"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        text = str(value)
        scale = 1 if text.endswith("bp") else 100 if text.endswith("%") else 0
        try:
            if not scale:
                raise ValueError(f"fee {text[:40]!r} lacks its unit: 10bp or 0.1%")
            amount = parse_decimal(text.removesuffix("bp").removesuffix("%"), what="fee")
        except ValueError as error:
            self.fail(str(error), param, ctx)
        fee = amount * scale * _FEE_PER_BP
        if fee != int(fee) or abs(fee) > FEE_MAX:
            self.fail(f"fee {text} is not a whole number of tenths of 1bp, 50% at most", param, ctx)
        return int(fee)


class SpanType(click.ParamType[int]):
    """A span of time such as 30s, in nanoseconds."""

    name = "span"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            return parse_span_ns(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


TERM: Final = TermType()
FEE: Final = FeeType()
SPAN: Final = SpanType()

_LIMITS: Final = {
    "qty-max": "Largest quantity of one order.",
    "qty-min": "Smallest quantity of one order.",
    "price-min": "Lowest price that can be written.",
    "price-max": "Highest price that can be written.",
    "band-low": "Orders below are refused.",
    "band-high": "Orders above are refused.",
    "notional-max": "Largest price times quantity.",
    "notional-min": "Smallest price times quantity.",
    "collar": "How far from the reference a market order trades.",
    "reference-price": "The reference until something traded.",
    "volatility-band": "A sweep that would go further from the last price begins a call.",
}


def term_options(verb: Verb) -> Verb:
    """Every term but symbol, base, quote, sizes and settlement."""
    for decorate in (
        click.option(
            "--volatility-call", type=SPAN, metavar="SPAN", help="How long it lasts: 30s."
        ),
        click.option("--taker-fee", type=FEE, help="Of who takes: 10bp or 0.1%."),
        click.option("--maker-fee", type=FEE, help="Of who was met; negative is a rebate."),
        *(
            click.option(f"--{name}", type=TERM, help=text)
            for name, text in reversed(_LIMITS.items())
        ),
    ):
        verb = decorate(verb)
    return verb


def sizes_checked(tick_size: Decimal, lot_size: Decimal) -> None:
    """Refuse a step of nothing.

    Raises:
        UsageError: one is not positive.
    """
    for name, size in (("--tick", tick_size), ("--lot", lot_size)):
        if size <= 0:
            raise click.UsageError(f"{name} must be positive, not {size:f}")


def terms_of(
    symbol: str,
    base: str,
    quote: str,
    tick_size: Decimal,
    lot_size: Decimal,
    settlement: str,
    options: Mapping[str, Any],
) -> InstrumentTerms:
    """The terms of a new instrument in ticks and lots.

    Raises:
        UsageError: a limit is between two ticks or lots, or the terms cannot be traded.
    """
    sizes_checked(tick_size, lot_size)
    plain = instrument_terms(InstrumentConfig(symbol, base, quote, tick_size, lot_size))
    changes = changes_of(options, tick_size, lot_size)
    if settlement != Settlement.NONE.name.lower():
        changes = {"price_min": 0, **changes, "settlement": int(SETTLEMENTS[settlement])}
    return checked_terms(plain._replace(**changes))


def check_steps(terms: InstrumentTerms, currencies: Mapping[str, CurrencyView]) -> None:
    """Say which of the currencies of an instrument that settles is not there, or too coarse.

    Raises:
        CommandFailed: one is.
    """
    lot, tick = Decimal(terms.lot_size), Decimal(terms.tick_size)
    for name, currency, step in (
        ("--lot", terms.base, lot),
        ("--tick times --lot", terms.quote, tick * lot),
    ):
        known = currencies.get(currency)
        if known is None:
            there = ", ".join(currencies) or "none"
            raise CommandFailed(
                ExitCode.REFUSED,
                f"refused: there is no currency {currency}; there are: {there}",
                hint=f"add it with: raftbook currency add {currency} --decimals 8",
            )
        if to_units(step, Decimal(1).scaleb(-known.decimals)) is None:
            what = f"{name}, {decimal_text(step)}, is finer than the {known.decimals} decimals"
            raise CommandFailed(
                ExitCode.REFUSED,
                f"refused: {what} of {currency}",
                hint="give a larger one, or trade in a currency of more decimals",
            )


def fit_to_settle(
    terms: InstrumentTerms, currencies: Mapping[str, CurrencyView]
) -> InstrumentTerms:
    """The same terms with a `qty_max` with which they can settle in these currencies, if one that
    can be traded exists; else as they are, and the venue will say what is wrong."""
    money = Money()
    for name, currency in currencies.items():
        money.add_currency(name, currency.decimals)
    if money.settlement_reject(terms) != Reject.OVERFLOW:
        return terms
    qty_max = settled_qty_max(terms, money)
    return terms if qty_max < terms.qty_min else terms._replace(qty_max=qty_max)


def checked_terms(terms: InstrumentTerms) -> InstrumentTerms:
    """The same terms.

    Raises:
        UsageError: they cannot be traded.
    """
    error = form_error(c.amend_instrument(terms)) or terms_error(terms)
    if error is not None:
        raise click.UsageError(f"these terms cannot be traded: {error}")
    return terms


def changes_of(options: Mapping[str, Any], tick_size: Decimal, lot_size: Decimal) -> dict[str, Any]:
    """The terms that were given, in ticks and lots.

    Raises:
        UsageError: one is between two ticks or lots, or cannot be taken away.
    """
    changes: dict[str, Any] = {}
    for name, value in options.items():
        if value is None:
            continue
        if value == NO_TERM and name not in _MAY_END:
            raise click.UsageError(f"{_option(name)} cannot be none")
        if value == NO_TERM:
            changes[name] = None
        elif name in (*_PRICES, "volatility_band"):
            changes[name] = _units(name, value, tick_size, "ticks")
        elif name in ("qty_max", "qty_min"):
            changes[name] = _units(name, value, lot_size, "lots")
        elif name in ("notional_max", "notional_min"):
            changes[name] = int(Fraction(value) / (Fraction(tick_size) * Fraction(lot_size)))
        elif name == "volatility_call":
            changes["volatility_call_ms"] = min(value // _NS_PER_MS, CALL_MS_MAX + 1)
        else:
            changes[name] = value
    if changes.get("volatility_band", 0) is None:
        changes["volatility_call_ms"] = 0
    return changes


def _units(name: str, amount: Decimal, unit: Decimal, units: str) -> int:
    count = to_units(amount, unit)
    if count is None:
        text = f"{_option(name)} {amount:f} is not a whole number of {units} of {unit:f}"
        raise click.UsageError(text)
    if abs(count) > INT64_MAX:
        raise click.UsageError(f"{_option(name)} {amount:f} is too large")
    return count


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def limits_document(spec: InstrumentSpec) -> dict[str, Any]:
    """What an instrument admits, beside its name and sizes."""
    raw = spec.raw
    shown = ("qty_max", *_PRICES, "notional_max")
    document = {name: term_text(name, raw[name], spec) for name in shown}
    last = raw.get("last_price")
    document["last_price"] = None if last is None else f"{spec.price(last):f}"
    document |= {name: raw.get(name) for name in ("resting_orders", "feed_seq")}
    if "settlement" in raw:
        rules = InstrumentTerms._fields[PLAIN_TERMS:]
        document |= {name: term_text(name, raw[name], spec) for name in rules}
    return document

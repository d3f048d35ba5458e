"""[[currencies]], [[instruments]] and [[accounts]]: the market that a cluster is born with.

Owns what their keys may hold, how the three must fit together, and the wording of what is wrong.
Must not know the engine: what needs its arithmetic is checked by `genesis.py`. Imports only the
shapes and the strict reader.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields
from decimal import Context, Decimal
from typing import Final

from raftbook.config_shapes import (
    SETTLEMENTS,
    AccountConfig,
    CurrencyConfig,
    InstrumentConfig,
    decimal_text,
)
from raftbook.errors import ConfigError
from raftbook.strict_toml import Table, nearest, table_entries

INT64_MAX: Final = 2**63 - 1
DECIMALS_MAX: Final = 18
"""As the engine's ledger has it."""
FEE_BPS_MAX: Final = 5_000
CALL_MS_MAX: Final = 86_400_000

NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,31}")
NAME_RULE: Final = "1 to 32 of a-z 0-9 . _ -, beginning with a letter or digit"
_SYMBOL = re.compile(r"[A-Z0-9][A-Z0-9._-]{0,31}")
_CURRENCY = re.compile(r"[A-Z0-9]{1,16}")
_SYMBOL_RULE = "1 to 32 of A-Z 0-9 . _ -, beginning with a letter or digit"
_CURRENCY_RULE = "1 to 16 of A-Z 0-9"
_BALANCES_EXAMPLE = '{ USD = "1000" }'

_EXACT = Context(prec=120)
"""Decimals have at most 37 digits, so no product or remainder of two is ever rounded."""

Currencies = tuple[CurrencyConfig, ...]


def missing_table(file: str, table: str, what: str) -> ConfigError:
    """A table that must be there; the caller raises it."""
    return ConfigError(file=file, table=table, problem="is missing", hint=f"write {what}")


# -- currencies ------------------------------------------------------------------------------------


def read_currencies(document: Mapping[str, object], file: str) -> Currencies:
    """None at all is fine where nothing settles."""
    tables = table_entries(document, "currencies", file=file, noun="currency", identity="name")
    currencies: dict[str, CurrencyConfig] = {}
    for table in tables:
        table.refuse_unknown(("name", "decimals"))
        name = table.name_like("name", pattern=_CURRENCY, rule=_CURRENCY_RULE, example="USD")
        if name in currencies:
            raise table.error("name", "the name is taken twice", hint="remove one of them")
        decimals = table.integer("decimals", low=0, high=DECIMALS_MAX, example=8)
        currencies[name] = CurrencyConfig(name, decimals)
    return tuple(currencies[name] for name in sorted(currencies))


# -- accounts --------------------------------------------------------------------------------------


def read_accounts(
    document: Mapping[str, object], file: str, currencies: Currencies
) -> tuple[AccountConfig, ...]:
    """At least one."""
    tables = table_entries(document, "accounts", file=file, noun="account", identity="name")
    if not tables:
        raise missing_table(file, "accounts", '[[accounts]] with name = "demo", at least one')
    accounts: dict[str, AccountConfig] = {}
    supply: dict[str, Decimal] = {}
    for table in tables:
        table.refuse_unknown([key.name for key in fields(AccountConfig)])
        name = table.name_like("name", pattern=NAME, rule=NAME_RULE, example="alice")
        if name in accounts:
            raise table.error("name", "the name is taken twice", hint="remove one of them")
        accounts[name] = AccountConfig(
            name=name,
            operator=table.flag("operator", default=False),
            secret=_secret(table),
            group=_group(table),
            balances=_balances(table, currencies, supply),
        )
    return tuple(accounts[name] for name in sorted(accounts))


def _secret(table: Table) -> str | None:
    """Refused without quoting it: errors end up in logs."""
    secret = table.values.get("secret")
    if secret is None:
        return None
    if not isinstance(secret, str) or not secret:
        hint = "write a string that is not empty, or remove the key for an open account"
        raise table.error("secret", "secret is not usable", hint=hint)
    return secret


def _group(table: Table) -> str | None:
    if "group" not in table.values:
        return None
    return table.name_like("group", pattern=NAME, rule=NAME_RULE, example="desk")


def _balances(
    account: Table, currencies: Currencies, supply: dict[str, Decimal]
) -> tuple[tuple[str, Decimal], ...]:
    """What an account is born with; `supply` is what all so far have of each currency."""
    table = account.inner("balances", example=_BALANCES_EXAMPLE)
    if table is None:
        return ()
    decimals = {currency.name: currency.decimals for currency in currencies}
    found: list[tuple[str, Decimal]] = []
    for name in sorted(table.values):
        if name not in decimals:
            hint = nearest(name, list(decimals)) if decimals else _currency_hint(name)
            raise table.error(name, f"{name} is not in [[currencies]]", hint=hint)
        amount = table.decimal(name, example="1000")
        unit = Decimal(1).scaleb(-decimals[name])
        if amount < 0:
            raise table.error(name, f"{name} {amount:f} is below 0", hint="write 0 or more")
        rest = _EXACT.remainder(amount, unit)
        if rest:
            nearby = decimal_text(_EXACT.subtract(amount, rest))
            problem = f"{name} {amount:f} has more than {decimals[name]} decimals"
            raise table.error(name, problem, hint=f'write for example {name} = "{nearby}"')
        supply[name] = total = _EXACT.add(supply.get(name, Decimal(0)), amount)
        if _EXACT.divide_int(total, unit) > INT64_MAX:
            problem = f"with it all accounts have {total:f} {name}, more than 64 bits hold"
            hint = f"write less, or fewer decimals for {name}"
            raise table.error(name, problem, hint=hint)
        if amount:
            found.append((name, amount))
    return tuple(found)


def _currency_hint(name: str) -> str:
    return f'write [[currencies]] with name = "{name}" and decimals = 8'


# -- instruments -----------------------------------------------------------------------------------


def read_instruments(
    document: Mapping[str, object], file: str, currencies: Currencies
) -> tuple[InstrumentConfig, ...]:
    """None at all is fine: instruments can be added while the cluster runs."""
    tables = table_entries(document, "instruments", file=file, noun="instrument", identity="symbol")
    known = [term.name for term in fields(InstrumentConfig)]
    instruments: dict[str, InstrumentConfig] = {}
    for table in tables:
        table.refuse_unknown(known)
        symbol = table.name_like("symbol", pattern=_SYMBOL, rule=_SYMBOL_RULE, example="BTC-USD")
        if symbol in instruments:
            raise table.error("symbol", "the symbol is taken twice", hint="remove one of them")
        instruments[symbol] = instrument = _instrument(table, symbol)
        if instrument.settlement != "none":
            _check_settlement(table, instrument, currencies)
    return tuple(instruments[symbol] for symbol in sorted(instruments))


def _instrument(table: Table, symbol: str) -> InstrumentConfig:
    instrument = InstrumentConfig(
        symbol=symbol,
        base=table.name_like("base", pattern=_CURRENCY, rule=_CURRENCY_RULE, example="BTC"),
        quote=table.name_like("quote", pattern=_CURRENCY, rule=_CURRENCY_RULE, example="USD"),
        tick_size=table.decimal("tick_size", example="0.01"),
        lot_size=table.decimal("lot_size", example="0.001"),
        qty_max=table.optional_decimal("qty_max", example="1000"),
        price_min=table.optional_decimal("price_min", example="0.01"),
        price_max=table.optional_decimal("price_max", example="1000000"),
        band_low=table.optional_decimal("band_low", example="50000"),
        band_high=table.optional_decimal("band_high", example="150000"),
        notional_max=table.optional_decimal("notional_max", example="1000000"),
        collar=table.optional_decimal("collar", example="500"),
        reference_price=table.optional_decimal("reference_price", example="100000"),
        qty_min=table.optional_decimal("qty_min", example="0.01"),
        notional_min=table.optional_decimal("notional_min", example="10"),
        settlement=table.choice("settlement", options=SETTLEMENTS, default="none"),
        maker_fee=_fee(table, "maker_fee"),
        taker_fee=_fee(table, "taker_fee"),
        volatility_band=table.optional_decimal("volatility_band", example="1000"),
        volatility_call_ms=_call_ms(table),
    )
    if instrument.base == instrument.quote:
        raise table.error("quote", "quote is the same as base", hint="write two different ones")
    _check_units(table, instrument)
    for low, high in (("price_min", "price_max"), ("band_low", "band_high")):
        _check_order(table, low, high, getattr(instrument, low), getattr(instrument, high))
    for low, high in (("qty_min", "qty_max"), ("notional_min", "notional_max")):
        _check_order(
            table,
            low,
            high,
            getattr(instrument, low),
            getattr(instrument, high),
            may_equal=True,
        )
    return instrument


def _fee(table: Table, key: str) -> Decimal:
    """Basis points, in tenths."""
    fee = table.optional_decimal(key, example="2.5")
    if fee is None:
        return Decimal(0)
    if abs(fee) > FEE_BPS_MAX:
        problem = f"{key} {fee:f} is more than half of the amount"
        raise table.error(key, problem, hint=f"write basis points, {FEE_BPS_MAX} at most")
    rest = _EXACT.remainder(fee, Decimal("0.1"))
    if rest:
        nearby = decimal_text(_EXACT.subtract(fee, rest))
        problem = f"{key} {fee:f} is finer than a tenth of a basis point"
        raise table.error(key, problem, hint=f'write for example {key} = "{nearby}"')
    return fee


def _call_ms(table: Table) -> int | None:
    """It goes together with the band."""
    band, length = "volatility_band", "volatility_call_ms"
    if (band in table.values) != (length in table.values):
        missing, given = (length, band) if band in table.values else (band, length)
        example = '"1000"' if missing == band else "5000"
        hint = f"write both, such as {missing} = {example}, or neither"
        raise table.error(missing, f"{given} needs {missing}", hint=hint)
    if length not in table.values:
        return None
    return table.integer(length, low=1, high=CALL_MS_MAX, example=5_000)


_PRICE_KEYS: Final = (
    "price_min",
    "price_max",
    "band_low",
    "band_high",
    "collar",
    "reference_price",
    "volatility_band",
)
_POSITIVE_KEYS: Final = (
    "tick_size",
    "lot_size",
    "qty_max",
    "notional_max",
    "collar",
    "qty_min",
    "notional_min",
    "volatility_band",
)


def _check_units(table: Table, instrument: InstrumentConfig) -> None:
    """Every amount must be a whole number of ticks or lots that fits signed 64 bits."""
    tick, lot = instrument.tick_size, instrument.lot_size
    for key in _POSITIVE_KEYS:
        amount: Decimal | None = getattr(instrument, key)
        if amount is not None and amount <= 0:
            raise table.error(key, f"{key} {amount:f} is not positive", hint="write more than 0")
    for key in ("qty_max", "qty_min"):
        _check_multiple(table, key, getattr(instrument, key), lot, "lot_size")
    tick_lot = _EXACT.multiply(tick, lot)
    for key in ("notional_max", "notional_min"):
        _check_multiple(table, key, getattr(instrument, key), tick_lot, "tick_size x lot_size")
    for key in _PRICE_KEYS:
        _check_multiple(table, key, getattr(instrument, key), tick, "tick_size")


def _check_multiple(
    table: Table, key: str, amount: Decimal | None, unit: Decimal, unit_name: str
) -> None:
    if amount is None:
        return
    rest = _EXACT.remainder(amount, unit)
    if rest:
        nearby = _EXACT.subtract(amount, rest) or unit
        problem = f"{key} {amount:f} is not a whole multiple of {unit_name} {decimal_text(unit)}"
        raise table.error(key, problem, hint=f'write for example {key} = "{decimal_text(nearby)}"')
    count = _EXACT.divide_int(amount, unit)
    if abs(count) > INT64_MAX:
        problem = f"{key} {amount:f} is {count} times {unit_name}, more than 64 bits hold"
        raise table.error(key, problem, hint=f"write less, or a larger {unit_name}")


def _check_order(
    table: Table,
    low_key: str,
    high_key: str,
    low: Decimal | None,
    high: Decimal | None,
    *,
    may_equal: bool = False,
) -> None:
    if low is None or high is None or low < high or (may_equal and low == high):
        return
    word = "is above" if may_equal else "is not below"
    problem = f"{low_key} {low:f} {word} {high_key} {high:f}"
    raise table.error(low_key, problem, hint="exchange them or widen the range")


def _check_settlement(table: Table, instrument: InstrumentConfig, currencies: Currencies) -> None:
    """Money that moves must be known, and come in whole minor units."""
    decimals = {currency.name: currency.decimals for currency in currencies}
    for key in ("base", "quote"):
        name: str = getattr(instrument, key)
        if name not in decimals:
            problem = f'settlement "{instrument.settlement}" needs {name} in [[currencies]]'
            raise table.error(key, problem, hint=_currency_hint(name))
    if instrument.price_min is None or instrument.price_min < 0:
        problem = f'settlement "{instrument.settlement}" needs a price_min of 0 or more'
        hint = f'write price_min = "{decimal_text(instrument.tick_size)}"'
        raise table.error("price_min", problem, hint=hint)
    tick_lot = _EXACT.multiply(instrument.tick_size, instrument.lot_size)
    for key, what, name, step in (
        ("lot_size", "lot_size", instrument.base, instrument.lot_size),
        ("tick_size", "tick_size x lot_size", instrument.quote, tick_lot),
    ):
        needed = _places(step)
        if needed > decimals[name]:
            problem = f"{what} {decimal_text(step)} is finer than {decimals[name]} decimals"
            hint = f"write decimals = {needed} for {name}, or larger steps"
            if needed > DECIMALS_MAX:
                hint = f"write larger steps: {name} has at most {DECIMALS_MAX} decimals"
            raise table.error(key, f"{problem} of {name}", hint=hint)


def _places(amount: Decimal) -> int:
    """Digits behind the point."""
    return len(decimal_text(amount).partition(".")[2])

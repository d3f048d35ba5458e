"""From configuration to the exchange's genesis: decimals become ticks and lots, once.

Owns that translation and the digest two nodes must share to be one cluster. Imports config and
core; must not know files or nodes.
"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from hashlib import blake2b

from raftbook.config import Bounds, ClusterConfig, InstrumentConfig
from raftbook.config_shapes import SETTLEMENTS, decimal_text
from raftbook.core.exchange import Genesis
from raftbook.core.instrument import (
    PRICE_MAX_DEFAULT,
    QTY_MAX_DEFAULT,
    InstrumentTerms,
    terms_error,
    to_units,
)
from raftbook.core.ledger import Money
from raftbook.core.limits import Limits
from raftbook.core.types import INT64_MAX
from raftbook.errors import ConfigError

_FEE_UNITS_PER_BPS = 10


def genesis_of(config: ClusterConfig) -> Genesis:
    """What the exchange of this cluster starts from.

    Raises:
        ConfigError: an instrument cannot be traded as it is configured.
    """
    money = Money()
    for currency in config.currencies:
        money.add_currency(currency.name, currency.decimals)
    return Genesis(
        instruments=tuple(_checked_terms(config, each, money) for each in config.instruments),
        accounts=tuple((account.name, account.operator) for account in config.accounts),
        limits=_limits(config.bounds),
        currencies=tuple(money.decimals.items()),
        deposits=tuple(
            (account.name, currency, int(amount.scaleb(money.decimals[currency])))
            for account in config.accounts
            for currency, amount in account.balances
        ),
        groups=tuple((each.name, each.group) for each in config.accounts if each.group),
    )


def genesis_digest(config: ClusterConfig) -> str:
    """32 hexadecimal digits, equal exactly for nodes that may form one cluster."""
    return blake2b(config.genesis_text().encode(), digest_size=16).hexdigest()


def _limits(bounds: Bounds) -> Limits:
    return Limits(
        sessions_max=bounds.sessions_max,
        sessions_per_account_max=bounds.sessions_per_account_max,
        session_idle_ns=bounds.session_idle_ms * 1_000_000,
        reply_window=bounds.reply_window,
        closed_orders_max=bounds.closed_orders_max,
        open_orders_max=bounds.open_orders_max,
        book_orders_max=bounds.book_orders_max,
        accounts_max=bounds.accounts_max,
        instruments_max=bounds.instruments_max,
        trades_kept=bounds.trades_kept,
        fills_max=bounds.fills_max,
        stops_max=bounds.stops_max,
        triggers_max=bounds.triggers_max,
        cancel_page=bounds.cancel_page,
        expiries_page=bounds.expiries_page,
        transfers_kept=bounds.transfers_kept,
        currencies_max=bounds.currencies_max,
        api_keys_max=bounds.api_keys_max,
        drop_copies_max=bounds.drop_copies_max,
        auction_page=bounds.auction_page,
        pegs_max=bounds.pegs_max,
        pegs_page=bounds.pegs_page,
        hidden_max=bounds.hidden_max,
    )


def instrument_terms(instrument: InstrumentConfig) -> InstrumentTerms:
    """An instrument in decimals as terms in ticks and lots; whether they can be traded is for
    `terms_error` to say. Its amounts must be whole numbers of ticks and lots."""
    tick, lot = instrument.tick_size, instrument.lot_size

    def ticks(price: Decimal | None) -> int | None:
        return None if price is None else to_units(price, tick)

    def lots(qty: Decimal | None, default: int) -> int:
        return default if qty is None else to_units(qty, lot) or 0

    price_min, price_max = ticks(instrument.price_min), ticks(instrument.price_max)
    return InstrumentTerms(
        symbol=instrument.symbol,
        base=instrument.base,
        quote=instrument.quote,
        tick_size=decimal_text(tick),
        lot_size=decimal_text(lot),
        qty_max=lots(instrument.qty_max, QTY_MAX_DEFAULT),
        price_min=-PRICE_MAX_DEFAULT if price_min is None else price_min,
        price_max=PRICE_MAX_DEFAULT if price_max is None else price_max,
        band_low=ticks(instrument.band_low),
        band_high=ticks(instrument.band_high),
        notional_max=_notional(instrument, instrument.notional_max),
        collar=ticks(instrument.collar),
        reference_price=ticks(instrument.reference_price),
        qty_min=lots(instrument.qty_min, 1),
        notional_min=_notional(instrument, instrument.notional_min) or 0,
        settlement=SETTLEMENTS.index(instrument.settlement),
        maker_fee=int(instrument.maker_fee * _FEE_UNITS_PER_BPS),
        taker_fee=int(instrument.taker_fee * _FEE_UNITS_PER_BPS),
        volatility_band=ticks(instrument.volatility_band),
        volatility_call_ms=instrument.volatility_call_ms or 0,
    )


def _checked_terms(
    config: ClusterConfig, instrument: InstrumentConfig, money: Money
) -> InstrumentTerms:
    terms = instrument_terms(instrument)
    problem, hint = terms_error(terms), "lower qty_max or the price range of this instrument"
    if problem is None and money.settlement_reject(terms):
        # Currencies and steps fit: else the file was refused. What is left is their size.
        problem = "its largest order is worth more minor units than 64 bits hold"
        hint = _size_hint(instrument, terms, money)
    if problem is not None:
        raise ConfigError(
            file=str(config.path),
            table="instruments",
            key="qty_max",
            problem=f"instrument {instrument.symbol}: {problem}",
            hint=hint,
        )
    return terms


def settled_qty_max(terms: InstrumentTerms, money: Money) -> int:
    """The largest `qty_max`, in lots, with which these terms settle in 64 bits; 0 is none.

    Args:
        terms: they settle, in currencies that `money` knows and that their steps fit.
    """
    ledger = money.ledger(terms)
    assert ledger is not None, f"{terms.symbol} does not settle"
    largest = max(ledger.base_unit, terms.price_max * ledger.quote_unit)
    return INT64_MAX // (2 * largest)


def _size_hint(instrument: InstrumentConfig, terms: InstrumentTerms, money: Money) -> str:
    qty_max = settled_qty_max(terms, money)
    if qty_max < 1:
        return "write a lower price_max, or fewer decimals for its currencies"
    amount = decimal_text(Decimal(qty_max) * instrument.lot_size)
    return f'write qty_max = "{amount}" or less; a lower price_max lets it be more'


def _notional(instrument: InstrumentConfig, amount: Decimal | None) -> int | None:
    """A limit in tick-lots: how often one tick times one lot goes into it, rounded down."""
    if amount is None:
        return None
    unit = Fraction(instrument.tick_size) * Fraction(instrument.lot_size)
    return int(Fraction(amount) / unit)  # exact, whatever decimal's context is

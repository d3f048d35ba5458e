"""From configuration to the exchange's genesis: decimals become ticks and lots, once.

Owns that translation and the digest two nodes must share to be one cluster. Imports config and
core; must not know files or nodes.
"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from hashlib import blake2b

from raftbook.config import Bounds, ClusterConfig, InstrumentConfig
from raftbook.config_shapes import decimal_text
from raftbook.core.exchange import Genesis
from raftbook.core.instrument import (
    PRICE_MAX_DEFAULT,
    QTY_MAX_DEFAULT,
    InstrumentTerms,
    terms_error,
    to_units,
)
from raftbook.core.limits import Limits
from raftbook.errors import ConfigError


def genesis_of(config: ClusterConfig) -> Genesis:
    """What the exchange of this cluster starts from.

    Raises:
        ConfigError: an instrument cannot be traded as it is configured.
    """
    return Genesis(
        instruments=tuple(_checked_terms(config, each) for each in config.instruments),
        accounts=tuple((account.name, account.operator) for account in config.accounts),
        limits=_limits(config.bounds),
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
    )


def instrument_terms(instrument: InstrumentConfig) -> InstrumentTerms:
    """An instrument in decimals as terms in ticks and lots; whether they can be traded is for
    `terms_error` to say. Its amounts must be whole numbers of ticks and lots."""
    tick, lot = instrument.tick_size, instrument.lot_size

    def ticks(price: Decimal | None) -> int | None:
        return None if price is None else to_units(price, tick)

    qty_max = QTY_MAX_DEFAULT
    if instrument.qty_max is not None:
        qty_max = to_units(instrument.qty_max, lot) or 0
    price_min, price_max = ticks(instrument.price_min), ticks(instrument.price_max)
    return InstrumentTerms(
        symbol=instrument.symbol,
        base=instrument.base,
        quote=instrument.quote,
        tick_size=decimal_text(tick),
        lot_size=decimal_text(lot),
        qty_max=qty_max,
        price_min=-PRICE_MAX_DEFAULT if price_min is None else price_min,
        price_max=PRICE_MAX_DEFAULT if price_max is None else price_max,
        band_low=ticks(instrument.band_low),
        band_high=ticks(instrument.band_high),
        notional_max=_notional(instrument),
        collar=ticks(instrument.collar),
        reference_price=ticks(instrument.reference_price),
    )


def _checked_terms(config: ClusterConfig, instrument: InstrumentConfig) -> InstrumentTerms:
    terms = instrument_terms(instrument)
    problem = terms_error(terms)
    if problem is not None:
        raise ConfigError(
            file=str(config.path),
            table="instruments",
            key=instrument.symbol,
            problem=problem,
            hint="lower qty_max or the price range of this instrument",
        )
    return terms


def _notional(instrument: InstrumentConfig) -> int | None:
    """The limit in tick-lots: how often one tick times one lot goes into it, rounded down."""
    if instrument.notional_max is None:
        return None
    unit = Fraction(instrument.tick_size) * Fraction(instrument.lot_size)
    return int(Fraction(instrument.notional_max) / unit)  # exact, whatever decimal's context is

"""`raftbook instrument`: list, show, add, halt, resume.

Owns these verbs. Must not know what a phase forbids: that is the book's.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

import click

from raftbook.client.rejects import explain_reject
from raftbook.client.values import InstrumentSpec
from raftbook.config import InstrumentConfig
from raftbook.core import commands as c
from raftbook.core.commands import Command
from raftbook.core.events import INSTRUMENT_CREATED, PHASE_CHANGED
from raftbook.core.form import form_error
from raftbook.core.instrument import InstrumentTerms, terms_error, to_units
from raftbook.core.types import INT64_MAX, Phase
from raftbook.genesis import instrument_terms

from .amounts import DECIMAL
from .groups import VerbGroup
from .invocation import Invocation, network_options, pass_invocation
from .lookup import known_spec
from .outcomes import CommandFailed, exit_code_of_refusal, refusal_hint
from .output.tables import render_table

_PRICE_LIMITS: Final = (
    "price_min",
    "price_max",
    "band_low",
    "band_high",
    "collar",
    "reference_price",
)


@click.group("instrument", cls=VerbGroup)
def instrument() -> None:
    """See what is traded; add, halt and resume it (operators)."""


@instrument.command("list")
@network_options
@pass_invocation
def list_instruments(invocation: Invocation) -> None:
    """List all instruments."""
    with invocation.connect() as client:
        specs = list(client.instruments().values())
    invocation.printer.show(
        {"instruments": [instrument_document(spec) for spec in specs]},
        table=lambda: instruments_table(specs),
        items="instruments",
    )


@instrument.command("show")
@click.argument("symbol")
@network_options
@pass_invocation
def show(invocation: Invocation, symbol: str) -> None:
    """Show the terms of one instrument: sizes, limits, phase."""
    with invocation.connect() as client:
        spec = known_spec(client, symbol)
    document = instrument_document(spec) | _limits_document(spec)
    invocation.printer.show(
        document,
        table=lambda: "\n".join(
            f"{name:<16} {'-' if value is None else value}" for name, value in document.items()
        ),
    )


@instrument.command("add")
@click.argument("symbol")
@click.option("--base", required=True, help="What is traded, such as BTC.")
@click.option("--quote", required=True, help="What it is paid in, such as USD.")
@click.option("--tick", "tick_size", type=DECIMAL, required=True, help="The price step.")
@click.option("--lot", "lot_size", type=DECIMAL, required=True, help="The quantity step.")
@click.option("--qty-max", type=DECIMAL, help="Largest quantity of one order.")
@click.option("--price-min", type=DECIMAL, help="Lowest price that can be written.")
@click.option("--price-max", type=DECIMAL, help="Highest price that can be written.")
@click.option("--band-low", type=DECIMAL, help="Orders below are refused.")
@click.option("--band-high", type=DECIMAL, help="Orders above are refused.")
@click.option("--notional-max", type=DECIMAL, help="Largest price times quantity.")
@click.option("--collar", type=DECIMAL, help="How far from the reference a market order trades.")
@click.option("--reference-price", type=DECIMAL, help="The reference until something traded.")
@network_options
@pass_invocation
def add(
    invocation: Invocation,
    /,
    symbol: str,
    base: str,
    quote: str,
    tick_size: Decimal,
    lot_size: Decimal,
    **limits: Decimal | None,
) -> None:
    """Add an instrument, on all nodes at once."""
    terms = terms_of(symbol, base, quote, tick_size, lot_size, limits)
    event, entry_index = _administer(invocation, c.create_instrument(terms), INSTRUMENT_CREATED)
    spec = InstrumentSpec.from_wire(
        {**InstrumentTerms(*event[2])._asdict(), "phase": Phase.CONTINUOUS.name}
    )
    invocation.printer.show(
        instrument_document(spec) | {"entry_index": entry_index},
        table=lambda: f"added {symbol}  (entry {entry_index})",
    )


@instrument.command("halt")
@click.argument("symbol")
@network_options
@pass_invocation
def halt(invocation: Invocation, symbol: str) -> None:
    """Stop trading in SYMBOL; cancels are still taken."""
    _set_phase(invocation, symbol, Phase.HALTED)


@instrument.command("resume")
@click.argument("symbol")
@network_options
@pass_invocation
def resume(invocation: Invocation, symbol: str) -> None:
    """Trade SYMBOL again."""
    _set_phase(invocation, symbol, Phase.CONTINUOUS)


def instrument_document(spec: InstrumentSpec) -> dict[str, Any]:
    """The JSON shape of an instrument in a list."""
    return {
        "symbol": spec.symbol,
        "base": spec.base,
        "quote": spec.quote,
        "tick_size": f"{spec.tick_size:f}",
        "lot_size": f"{spec.lot_size:f}",
        "phase": spec.phase,
    }


def instruments_table(specs: Sequence[InstrumentSpec]) -> str:
    """Instruments, one a row."""
    if not specs:
        return "no instruments"
    return render_table(
        ("SYMBOL", "BASE", "QUOTE", "TICK", "LOT", "PHASE", "LAST", "RESTING"),
        [
            (
                spec.symbol,
                spec.base,
                spec.quote,
                f"{spec.tick_size:f}",
                f"{spec.lot_size:f}",
                spec.phase,
                _price(spec, "last_price") or "-",
                spec.raw.get("resting_orders", "-"),
            )
            for spec in specs
        ],
        right=("TICK", "LOT", "LAST", "RESTING"),
    )


def terms_of(
    symbol: str,
    base: str,
    quote: str,
    tick_size: Decimal,
    lot_size: Decimal,
    limits: dict[str, Decimal | None],
) -> InstrumentTerms:
    """The terms in ticks and lots.

    Raises:
        UsageError: a limit is between two ticks or lots, or the terms cannot be traded.
    """
    for name, size in (("--tick", tick_size), ("--lot", lot_size)):
        if size <= 0:
            raise click.UsageError(f"{name} must be positive, not {size:f}")
    for name in _PRICE_LIMITS:
        _check_units(name, limits[name], tick_size, "ticks")
    _check_units("qty_max", limits["qty_max"], lot_size, "lots")
    given: dict[str, Any] = {**limits}
    terms = instrument_terms(InstrumentConfig(symbol, base, quote, tick_size, lot_size, **given))
    error = form_error(c.create_instrument(terms)) or terms_error(terms)
    if error is not None:
        raise click.UsageError(f"these terms cannot be traded: {error}")
    return terms


def _check_units(name: str, amount: Decimal | None, unit: Decimal, units: str) -> None:
    if amount is None:
        return
    count = to_units(amount, unit)
    option = "--" + name.replace("_", "-")
    if count is None:
        raise click.UsageError(f"{option} {amount:f} is not a whole number of {units} of {unit:f}")
    if abs(count) > INT64_MAX:
        raise click.UsageError(f"{option} {amount:f} is too large")


def _set_phase(invocation: Invocation, symbol: str, phase: Phase) -> None:
    _, entry_index = _administer(invocation, c.set_phase(symbol, phase), PHASE_CHANGED)
    invocation.printer.show(
        {"symbol": symbol, "phase": phase.name, "entry_index": entry_index},
        table=lambda: f"{symbol} is {phase.name}  (entry {entry_index})",
    )


def _administer(
    invocation: Invocation, command: Command, expected: int
) -> tuple[Sequence[Any], int]:
    """Sends an operator's command; its event and where it stands.

    Raises:
        CommandFailed: the book refused it.
    """
    error = form_error(command)
    if error is not None:
        raise click.UsageError(error)
    with invocation.connect() as client:
        reply = client.request([command])
    event = reply.events[0]
    if event[0] != expected:
        code = event[2]
        raise CommandFailed(
            exit_code_of_refusal(code),
            f"refused: {explain_reject(code)}",
            hint=refusal_hint(code, symbol=str(command[1])),
        )
    return event, reply.entry_index


def _limits_document(spec: InstrumentSpec) -> dict[str, Any]:
    raw = spec.raw
    notional = raw.get("notional_max")
    if notional is not None:
        notional = f"{notional * spec.tick_size * spec.lot_size:f}"
    return {
        "qty_max": f"{spec.qty(raw['qty_max']):f}",
        **{name: _price(spec, name) for name in _PRICE_LIMITS},
        "notional_max": notional,
        "last_price": _price(spec, "last_price"),
        "resting_orders": raw.get("resting_orders"),
        "feed_seq": raw.get("feed_seq"),
    }


def _price(spec: InstrumentSpec, name: str) -> str | None:
    ticks = spec.raw.get(name)
    return None if ticks is None else f"{spec.price(ticks):f}"

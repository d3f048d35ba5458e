"""`raftbook instrument`: list, show, add, amend, delete, and the phases of trading.

Owns these verbs. Must not know what a phase forbids: that is the book's.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

import click

from raftbook.client import Client
from raftbook.client.results import order_results
from raftbook.client.values import InstrumentSpec, OrderResult
from raftbook.config_shapes import decimal_text
from raftbook.core import commands as c
from raftbook.core.instrument import InstrumentTerms
from raftbook.core.types import Phase, Reject

from .administration import administer, show_done
from .amounts import DECIMAL
from .groups import VerbGroup
from .instrument_terms import (
    SETTLEMENTS,
    SPAN,
    changes_of,
    check_steps,
    checked_terms,
    fit_to_settle,
    limits_document,
    sizes_checked,
    term_options,
    terms_of,
)
from .invocation import Invocation, network_options, pass_invocation
from .lookup import known_spec
from .order_options import MOMENT
from .output.tables import render_table, rfc3339

PHASES: Final = {each.name.lower().replace("_", "-"): each for each in Phase}
PHASE: Final = click.Choice(tuple(PHASES))


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
    document = instrument_document(spec) | limits_document(spec)
    invocation.printer.show(
        document,
        table=lambda: "\n".join(
            f"{name:<18} {'-' if value is None else value}" for name, value in document.items()
        ),
    )


@instrument.command("add")
@click.argument("symbol")
@click.option("--base", required=True, help="What is traded, such as BTC.")
@click.option("--quote", required=True, help="What it is paid in, such as USD.")
@click.option("--tick", "tick_size", type=DECIMAL, required=True, help="The price step.")
@click.option("--lot", "lot_size", type=DECIMAL, required=True, help="The quantity step.")
@click.option(
    "--settlement",
    type=click.Choice(tuple(SETTLEMENTS)),
    default="none",
    help="Whether trades move money, and whether an order needs funds. [default: none]",
)
@click.option("--phase", type=PHASE, help="The phase to begin with. [default: continuous]")
@term_options
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
    settlement: str,
    phase: str | None,
    **options: Any,
) -> None:
    """Add an instrument, on all nodes at once.

    One that settles takes orders as large as its currencies' decimals allow, unless --qty-max is
    less.
    """
    terms = terms_of(symbol, base, quote, tick_size, lot_size, settlement, options)
    begins = Phase.CONTINUOUS if phase is None else PHASES[phase]
    said = f"added {symbol}"
    if terms.settlement:
        with invocation.connect() as client:
            currencies = client.currencies()
        check_steps(terms, currencies)
        if options["qty_max"] is None:
            fitted = fit_to_settle(terms, currencies)
            if fitted != terms:
                most = f"{fitted.qty_max * lot_size:f} {base}"
                said += f"; its orders are {most} at most, more with a lower --price-max"
            terms = fitted
    result = administer(invocation, lambda client: _list(client, terms, begins), symbol=symbol)
    spec = InstrumentSpec.from_wire({**terms._asdict(), "phase": begins.name})
    show_done(invocation, result, instrument_document(spec), said)


def _list(client: Client, terms: InstrumentTerms, phase: Phase) -> OrderResult:
    """By the command that every node knows, where that can say it."""
    plain = c.create_instrument(terms)
    is_plain = terms == InstrumentTerms(*plain[1:]) and phase == Phase.CONTINUOUS
    if not is_plain:
        return client.list_instrument(terms, phase)
    return order_results(client.request([plain]), [plain], {})[0]


@instrument.command("amend")
@click.argument("symbol")
@click.option("--tick", "tick_size", type=DECIMAL, help="The price step; of an empty book only.")
@click.option("--lot", "lot_size", type=DECIMAL, help="The quantity step; of an empty book only.")
@term_options
@network_options
@pass_invocation
def amend(
    invocation: Invocation,
    /,
    symbol: str,
    tick_size: Decimal | None,
    lot_size: Decimal | None,
    **options: Any,
) -> None:
    """Give an instrument other terms. What is not given stays; `none` takes a limit away.

    Orders that rest keep resting. With another --tick or --lot give every limit anew, and do it
    while the instrument is halted: programs that run go by the old steps until they look again.
    """
    if all(value is None for value in (tick_size, lot_size, *options.values())):
        raise click.UsageError("nothing to change: give a term")
    with invocation.connect() as client:
        spec = known_spec(client, symbol)
    tick, lot = tick_size or spec.tick_size, lot_size or spec.lot_size
    sizes_checked(tick, lot)
    changes: dict[str, Any] = changes_of(options, tick, lot)
    now = {name: spec.raw[name] for name in InstrumentTerms._fields if name in spec.raw}
    sizes = {"tick_size": decimal_text(tick), "lot_size": decimal_text(lot)}
    changes |= {name: text for name, text in sizes.items() if Decimal(now[name]) != Decimal(text)}
    checked_terms(InstrumentTerms(**{**now, **changes}))
    result = administer(
        invocation,
        lambda client: client.amend_instrument(symbol, **changes),
        symbol=symbol,
        hints={
            Reject.INSTRUMENT_NOT_EMPTY: "such terms change only in an empty book; end its orders "
            f"with: raftbook order cancel --all {symbol} --of '*'"
        },
    )
    new = InstrumentSpec.from_wire({**spec.raw, **result.details})
    document = instrument_document(new) | limits_document(new)
    show_done(invocation, result, document, f"amended {symbol}")


@instrument.command("delete")
@click.argument("symbol")
@network_options
@pass_invocation
def delete(invocation: Invocation, symbol: str) -> None:
    """Forget an instrument that is CLOSED and has no open orders."""
    result = administer(invocation, lambda client: client.delete_instrument(symbol), symbol=symbol)
    show_done(invocation, result, result.details, f"deleted {symbol}")


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


@instrument.command("phase")
@click.argument("symbol")
@click.argument("phase", type=PHASE)
@network_options
@pass_invocation
def phase(invocation: Invocation, symbol: str, phase: str) -> None:
    """Enter a trading phase. Leaving a call for continuous or closed runs its auction.

    From `closed` there is no way back: what is left is to end its orders and delete it.
    """
    _set_phase(invocation, symbol, PHASES[phase])


@instrument.command("auction")
@click.argument("symbol")
@click.option("--for", "span_ns", type=SPAN, metavar="SPAN", help="How long orders gather: 30s.")
@click.option("--until", "until_ns", type=MOMENT, metavar="TIME", help="Or until when.")
@click.option(
    "--then",
    type=click.Choice(("continuous", "closed")),
    default="continuous",
    show_default=True,
    help="The phase after it.",
)
@network_options
@pass_invocation
def auction(
    invocation: Invocation, symbol: str, span_ns: int | None, until_ns: int | None, then: str
) -> None:
    """Begin a call now; orders gather, and trade at one price when it ends."""
    if (span_ns is None) == (until_ns is None):
        raise click.UsageError("give --for or --until, one of them")
    ends_ns = until_ns if span_ns is None else time.time_ns() + span_ns
    assert ends_ns is not None, "one of both was given"
    result = administer(
        invocation,
        lambda client: client.call_auction(symbol, until_ns=ends_ns, then=PHASES[then]),
        symbol=symbol,
    )
    document = {"symbol": symbol, "phase": Phase.AUCTION.name, "until": rfc3339(ends_ns)}
    text = f"{symbol} is AUCTION until {rfc3339(ends_ns)}, then {PHASES[then].name}"
    show_done(invocation, result, document | {"then": PHASES[then].name}, text)


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


def _set_phase(invocation: Invocation, symbol: str, phase: Phase) -> None:
    result = administer(invocation, lambda client: client.set_phase(symbol, phase), symbol=symbol)
    document = {"symbol": symbol, "phase": phase.name}
    for_good = " for good" if phase == Phase.CLOSED else ""
    show_done(invocation, result, document, f"{symbol} is {phase.name}{for_good}")


def _price(spec: InstrumentSpec, name: str) -> str | None:
    ticks = spec.raw.get(name)
    return None if ticks is None else f"{spec.price(ticks):f}"

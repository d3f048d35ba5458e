"""`raftbook candles`, `raftbook auction` and `raftbook day`: the past in intervals, and calls.

Owns these verbs.
"""

from __future__ import annotations

from typing import Any

import click

from raftbook.client.venue_views import AuctionView, Candle
from raftbook.core.candles import CANDLES_KEPT

from .administration import administer, show_done
from .groups import VerbGroup
from .invocation import Invocation, network_options, pass_invocation
from .lookup import known_spec
from .output.tables import render_table, rfc3339


@click.command("candles")
@click.argument("symbol")
@click.option(
    "--width",
    type=click.Choice(("minute", "hour", "day")),
    default="minute",
    show_default=True,
    help="Of one interval, in logical time (UTC).",
)
@click.option("-n", "limit", type=click.IntRange(1, CANDLES_KEPT), default=20, show_default=True)
@network_options
@pass_invocation
def candles(invocation: Invocation, symbol: str, width: str, limit: int) -> None:
    """Show the last candles of SYMBOL.

    Eldest first; intervals in which nothing traded are left out.
    """
    with invocation.connect() as client:
        known_spec(client, symbol)
        view = client.candles(symbol, width, limit)
    invocation.printer.show(
        {
            "symbol": symbol,
            "width": width,
            "applied_index": view.applied_index,
            "candles": [_candle_document(candle) for candle in view.candles],
        },
        table=lambda: _candles_table(view.candles),
        items="candles",
    )


@click.command("auction")
@click.argument("symbol")
@network_options
@pass_invocation
def auction(invocation: Invocation, symbol: str) -> None:
    """Show at which price the auction of SYMBOL would trade now, and how much."""
    with invocation.connect() as client:
        known_spec(client, symbol)
        view = client.auction(symbol)
    invocation.printer.show(_auction_document(view), table=lambda: _auction_text(view))


@click.group("day", cls=VerbGroup)
def day() -> None:
    """The trading day (operators)."""


@day.command("roll")
@network_options
@pass_invocation
def roll(invocation: Invocation) -> None:
    """End the trading day: DAY orders expire."""
    result = administer(invocation, lambda client: client.roll_day())
    show_done(invocation, result, result.details, f"day {result.details['day']} begins")


def _candle_document(candle: Candle) -> dict[str, Any]:
    return {
        "time": rfc3339(candle.open_ns),
        "time_ns": candle.open_ns,
        "open": f"{candle.open:f}",
        "high": f"{candle.high:f}",
        "low": f"{candle.low:f}",
        "close": f"{candle.close:f}",
        "qty": f"{candle.qty:f}",
        "quote_qty": f"{candle.quote_qty:f}",
        "trades": candle.trades,
        "taker_buy_qty": f"{candle.taker_qty:f}",
        "taker_buy_quote_qty": f"{candle.taker_quote_qty:f}",
    }


def _candles_table(some: tuple[Candle, ...]) -> str:
    if not some:
        return "no trades"
    return render_table(
        ("TIME", "OPEN", "HIGH", "LOW", "CLOSE", "QTY", "TRADES"),
        [
            (
                f"{rfc3339(candle.open_ns)[:16]}Z",
                *(f"{each:f}" for each in (candle.open, candle.high, candle.low, candle.close)),
                f"{candle.qty:f}",
                candle.trades,
            )
            for candle in some
        ],
        right=("OPEN", "HIGH", "LOW", "CLOSE", "QTY", "TRADES"),
    )


def _auction_document(view: AuctionView) -> dict[str, Any]:
    return {
        "symbol": view.symbol,
        "phase": view.phase,
        "price": None if view.price is None else f"{view.price:f}",
        "volume": f"{view.volume:f}",
        "imbalance": f"{view.imbalance:f}",
        "until": None if view.call_until_ns is None else rfc3339(view.call_until_ns),
        "then": view.call_then,
        "feed_seq": view.feed_seq,
        "applied_index": view.applied_index,
    }


def _auction_text(view: AuctionView) -> str:
    what = "nothing would trade"
    if view.price is not None:
        what = f"would trade {view.volume:f} @ {view.price:f}"
        if view.imbalance:
            side = "buy" if view.imbalance > 0 else "sell"
            what += f", {abs(view.imbalance):f} more to {side}"
    ends = ""
    if view.call_until_ns is not None:
        ends = f"  until {rfc3339(view.call_until_ns)}, then {view.call_then}"
    return f"{view.symbol}  {view.phase}  {what}{ends}"

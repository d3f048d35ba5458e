"""`raftbook order`: buy, sell, pairs, show, list; changes are in `order_change.py`.

Owns these verbs. Must not know how a retry finds the original result: that is `order_once.py`.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any, Final

import click

from raftbook.client import Client
from raftbook.client.values import InstrumentSpec, OrderRequest
from raftbook.client.views import OrderView
from raftbook.core.commands import Command
from raftbook.core.types import ID_CHARS_MAX, Side
from raftbook.wire.pages import ROWS_MAX

from .amounts import DECIMAL
from .groups import VerbGroup
from .invocation import Invocation, network_options, pass_invocation
from .lookup import known_spec
from .order_change import amend, cancel, existing_order_options, replace_order, target_of, view_of
from .order_lines import checked, new_order_command, pair_order_command
from .order_once import Build, submit_once
from .order_options import (
    NewOrderCommand,
    order_of_options,
    order_options,
    rest_options,
    show_result,
    trigger_by_option,
    trigger_options,
)
from .order_results import view_document, views_table
from .order_stream import order_stream
from .output.printer import say

LIST_DEFAULT: Final = 1000
_STOP_SUFFIX: Final = "-stop"
_SIDES: Final = {"buy": Side.BUY, "sell": Side.SELL}


@click.group("order", cls=VerbGroup)
def order() -> None:
    """Buy, sell, cancel, amend, show and list orders."""


@order.command("buy", cls=NewOrderCommand)
@click.argument("symbol")
@click.argument("amount", metavar="[QTY[@PRICE]]", required=False)
@click.option("--quote", type=DECIMAL, metavar="AMOUNT", help="Spend so much, at the market.")
@order_options
@pass_invocation
def buy(invocation: Invocation, /, **options: Any) -> None:
    """Buy QTY of SYMBOL at PRICE or better.

    Without a price it is a market order.
    """
    _submit(invocation, Side.BUY, **options)


@order.command("sell", cls=NewOrderCommand)
@click.argument("symbol")
@click.argument("amount", metavar="[QTY[@PRICE]]", required=False)
@click.option("--quote", type=DECIMAL, metavar="AMOUNT", help="Bring in so much, at the market.")
@order_options
@pass_invocation
def sell(invocation: Invocation, /, **options: Any) -> None:
    """Sell QTY of SYMBOL at PRICE or better.

    Without a price it is a market order.
    """
    _submit(invocation, Side.SELL, **options)


def _submit(
    invocation: Invocation, side: Side, *, symbol: str, amount: str | None, **options: Any
) -> None:
    wanted = order_of_options(symbol, side, amount, **options)

    def build(name: str, instruments: dict[str, InstrumentSpec]) -> Command:
        named = replace(wanted, client_order_id=name)
        return checked(new_order_command(named, instruments))

    _send(invocation, wanted, options["client_id"], build)


@order.command("oco", cls=NewOrderCommand)
@click.argument("side", type=click.Choice(tuple(_SIDES)))
@click.argument("symbol")
@click.argument("amount", metavar="QTY@PRICE")
@click.option("--stop-limit", type=DECIMAL, help="Limit of the stop once it fires.")
@click.option("--tif", type=click.Choice(("gtc", "day", "gtd")), help="Of both. [default: gtc]")
@trigger_options
@trigger_by_option
@rest_options
@network_options
@pass_invocation
def oco(
    invocation: Invocation,
    /,
    side: str,
    symbol: str,
    amount: str,
    stop_limit: Decimal | None,
    **options: Any,
) -> None:
    """A limit order and a stop: one cancels the other.

    \b
    raftbook order oco sell BTC-USD 1@110 --stop 90
    """
    wanted = order_of_options(symbol, _SIDES[side], amount, checked=False, **options)
    if wanted.price is None:
        raise click.UsageError("a pair needs a price: QTY@PRICE")
    if (options["stop"] is None) == (options["trail"] is None):
        raise click.UsageError("a pair needs --stop or --trail, one of them")

    def build(name: str, instruments: dict[str, InstrumentSpec]) -> Command:
        stop_name = name[: ID_CHARS_MAX - len(_STOP_SUFFIX)] + _STOP_SUFFIX
        named = replace(wanted, client_order_id=name)
        return checked(pair_order_command(named, stop_limit, stop_name, instruments))

    _send(invocation, wanted, options["client_id"], build)


def _send(
    invocation: Invocation, wanted: OrderRequest, client_id: str | None, build: Build
) -> None:
    try:
        result, instrument = submit_once(invocation, client_id, wanted.symbol, build)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    assert wanted.price is None or isinstance(wanted.price, Decimal), f"{wanted.price!r} was typed"
    tick_size = instrument.tick_size if instrument else None
    show_result(invocation, result, price=result.price or wanted.price, tick_size=tick_size)


@order.command("show")
@existing_order_options
@pass_invocation
def show(invocation: Invocation, order_id: int | None, client_id: str | None) -> None:
    """Show one own order, open or closed and still remembered."""
    target = target_of(order_id, client_id)
    with invocation.connect() as client:
        view = view_of(client, target)
    invocation.printer.show(view_document(view), table=lambda: views_table([view]))


@order.command("list")
@click.argument("symbol", required=False)
@click.option("--open", "open_only", is_flag=True, help="Open orders only.")
@click.option("--limit", type=click.IntRange(1, ROWS_MAX), default=LIST_DEFAULT, show_default=True)
@network_options
@pass_invocation
def list_orders(invocation: Invocation, symbol: str | None, open_only: bool, limit: int) -> None:
    """List own orders.

    Open ones, and closed ones that are still remembered.
    """
    with invocation.connect() as client:
        views = _listed(client, symbol, open_only=open_only, limit=limit)
    invocation.printer.show(
        {"orders": [view_document(view) for view in views]},
        table=lambda: views_table(views) if views else "no orders",
        items="orders",
    )
    if len(views) >= limit:
        say(f"there may be more than these {limit}: see --limit")


def _listed(client: Client, symbol: str | None, *, open_only: bool, limit: int) -> list[OrderView]:
    if symbol is not None:
        known_spec(client, symbol)
    return client.orders(symbol, open_only=open_only, limit=limit)


for _verb in (cancel, amend, replace_order, order_stream):
    order.add_command(_verb)

"""`raftbook order`: buy, sell, cancel, amend, show, list, and orders from a pipe.

Owns the options of these verbs. Must not know how a retry finds the original result: that is
`order_once.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final, TypeVar

import click

from raftbook.client import Client
from raftbook.client.rejects import Refused
from raftbook.client.results import order_results
from raftbook.client.values import InstrumentSpec, OrderResult
from raftbook.client.views import OrderView
from raftbook.core.commands import Command
from raftbook.core.form import is_id
from raftbook.core.types import ID_CHARS_MAX, Reject, Side
from raftbook.errors import OutcomeUnknown
from raftbook.wire.pages import ROWS_MAX

from .amounts import DECIMAL, parse_qty_and_price
from .groups import VerbGroup
from .invocation import Invocation, network_options, pass_invocation
from .lookup import known_spec
from .order_lines import (
    ORDER_TYPES,
    STP_MODES,
    TIMES_IN_FORCE,
    Change,
    EdgeReject,
    OrderSpec,
    amend_command,
    cancel_command,
    order_type_of,
)
from .order_once import SESSION_KEY_PREFIX, submit_once
from .order_results import result_document, result_text, view_document, views_table
from .order_stream import order_stream
from .outcomes import CommandFailed, ExitCode, exit_code_of, hint_after, worst
from .output.printer import say
from .output.tables import plural

CANCELS_PER_REQUEST: Final = 100
LIST_DEFAULT: Final = 1000

_NEGATIVE: Final = re.compile(r"-[\d.]")

Verb = TypeVar("Verb", bound=Callable[..., Any])


@click.group("order", cls=VerbGroup)
def order() -> None:
    """Buy, sell, cancel, amend, show and list orders."""


class NewOrderCommand(click.Command):
    """Tells a negative quantity from a mistyped option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        for arg in args:
            if _NEGATIVE.match(arg):
                raise click.UsageError(f"QTY[@PRICE] {arg[:60]!r}: quantity is not positive", ctx)
        return super().parse_args(ctx, args)


class ClientOrderId(click.ParamType[str]):
    """A client order id that can also name a session."""

    name = "id"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        chars_max = ID_CHARS_MAX - len(SESSION_KEY_PREFIX)
        if not value or not is_id(value) or len(value) > chars_max:
            self.fail(f"an id is 1 to {chars_max} printable ASCII characters without spaces")
        return str(value)


CLIENT_ORDER_ID: Final = ClientOrderId()


def _new_order_options(verb: Verb) -> Verb:
    for decorate in (
        click.argument("symbol"),
        click.argument("amount", metavar="QTY[@PRICE]"),
        click.option(
            "--type",
            "type_name",
            type=click.Choice(tuple(ORDER_TYPES)),
            help="[default: limit with a price, market without]",
        ),
        click.option(
            "--tif",
            type=click.Choice(tuple(TIMES_IN_FORCE)),
            help="Time in force. [default: gtc for limit, ioc for market]",
        ),
        click.option("--post-only", is_flag=True, help="Refuse rather than trade at once."),
        click.option(
            "--stp",
            type=click.Choice(tuple(STP_MODES)),
            default="none",
            help="What happens when it meets an order of the same account. [default: none]",
        ),
        click.option(
            "--client-id",
            type=CLIENT_ORDER_ID,
            metavar="ID",
            help="Your name for it: the same command again gets the original result, never a "
            "second order. [default: a fresh one]",
        ),
    )[::-1]:
        verb = decorate(verb)
    return network_options(verb)


@order.command("buy", cls=NewOrderCommand)
@_new_order_options
@pass_invocation
def buy(invocation: Invocation, /, **options: Any) -> None:
    """Buy QTY of SYMBOL at PRICE or better.

    Without a price it is a market order.
    """
    _submit(invocation, Side.BUY, **options)


@order.command("sell", cls=NewOrderCommand)
@_new_order_options
@pass_invocation
def sell(invocation: Invocation, /, **options: Any) -> None:
    """Sell QTY of SYMBOL at PRICE or better.

    Without a price it is a market order.
    """
    _submit(invocation, Side.SELL, **options)


def _submit(
    invocation: Invocation,
    side: Side,
    *,
    symbol: str,
    amount: str,
    type_name: str | None,
    tif: str | None,
    post_only: bool,
    stp: str,
    client_id: str | None,
) -> None:
    try:
        qty, price = parse_qty_and_price(amount)
    except ValueError as error:
        raise click.UsageError(f"QTY[@PRICE] {amount[:60]!r}: {error}") from None
    spec = OrderSpec(
        symbol=symbol,
        side=side,
        qty=qty,
        price=price,
        ord_type=ORDER_TYPES[type_name] if type_name else None,
        time_in_force=TIMES_IN_FORCE[tif] if tif else None,
        post_only=post_only,
        self_trade_prevention=STP_MODES[stp],
        client_order_id=client_id or "",
    )
    try:
        order_type_of(spec)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    result, instrument = submit_once(invocation, spec)
    _show_result(
        invocation, result, price=price, tick_size=instrument.tick_size if instrument else None
    )


def _show_result(
    invocation: Invocation,
    result: OrderResult,
    *,
    price: Decimal | None = None,
    tick_size: Decimal | None = None,
) -> None:
    invocation.printer.show(
        result_document(result),
        table=lambda: result_text(result, price=price, tick_size=tick_size),
    )
    if result.poss_dup:
        say("poss_dup: this command took effect earlier; that is its original result")
    code = exit_code_of(result)
    if code:
        raise CommandFailed(code, f"refused: {result.text}", hint=hint_after(result))


# -- orders that exist ------------------------------------------------------------------------


def _target(order_id: int | None, client_id: str | None) -> int | str:
    if order_id is not None and client_id is not None:
        raise click.UsageError("give the order's ID or --client-id, not both")
    target = order_id if order_id is not None else client_id
    if target is None:
        raise click.UsageError("name an order: its ID, or --client-id")
    return target


def _existing_order_options(verb: Verb) -> Verb:
    verb = click.option(
        "--client-id", type=CLIENT_ORDER_ID, metavar="ID", help="The order with this client id."
    )(verb)
    verb = click.argument("order_id", metavar="[ID]", type=click.IntRange(min=1), required=False)(
        verb
    )
    return network_options(verb)


@order.command("cancel")
@_existing_order_options
@click.option("--all", "all_symbol", metavar="SYMBOL", help="Every open order of the account.")
@pass_invocation
def cancel(
    invocation: Invocation,
    order_id: int | None,
    client_id: str | None,
    all_symbol: str | None,
) -> None:
    """Cancel one order, or all of an instrument."""
    if all_symbol is not None:
        if order_id is not None or client_id is not None:
            raise click.UsageError("--all SYMBOL goes without ID and --client-id")
        _cancel_all(invocation, all_symbol)
        return
    command = cancel_command(_target(order_id, client_id))
    with invocation.connect() as client:
        instruments = client.instruments()
        _show_result(invocation, _change(client, command, instruments))


@order.command("amend")
@_existing_order_options
@click.option("--qty", type=DECIMAL, help="The new total, what has traded included.")
@click.option("--price", type=DECIMAL, help="The new price.")
@pass_invocation
def amend(
    invocation: Invocation,
    order_id: int | None,
    client_id: str | None,
    qty: Decimal | None,
    price: Decimal | None,
) -> None:
    """Change an open order. A smaller quantity at the same price keeps its place in the queue."""
    target = _target(order_id, client_id)
    if qty is None and price is None:
        raise click.UsageError("nothing to change: give --qty, --price or both")
    with invocation.connect() as client:
        try:
            view = _view(client, target)
        except Refused as error:
            if error.code != Reject.UNKNOWN_ORDER:
                raise
            _show_result(invocation, EdgeReject(Reject.UNKNOWN_ORDER, Change(target, "")).result())
            return
        instruments = client.instruments()
        instrument = instruments[view.symbol]
        try:
            command = amend_command(target, qty=qty, price=price, instrument=instrument)
        except EdgeReject as reject:
            result = reject.result()
        else:
            result = _change(client, command, instruments)
    if result.is_rejected:
        # The refusal names what was sent; that order is known by more.
        result = replace(
            result,
            order_id=view.order_id,
            client_order_id=view.client_order_id,
            symbol=view.symbol,
            side=view.side,
        )
    _show_result(invocation, result, price=price, tick_size=instrument.tick_size)


@order.command("show")
@_existing_order_options
@pass_invocation
def show(invocation: Invocation, order_id: int | None, client_id: str | None) -> None:
    """Show one own order, open or closed and still remembered."""
    target = _target(order_id, client_id)
    with invocation.connect() as client:
        view = _view(client, target)
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
        if symbol is not None:
            known_spec(client, symbol)
        views = client.orders(symbol, open_only=open_only, limit=limit)
    invocation.printer.show(
        {"orders": [view_document(view) for view in views]},
        table=lambda: views_table(views) if views else "no orders",
        items="orders",
    )
    if len(views) >= limit:
        say(f"there may be more than these {limit}: see --limit")


order.add_command(order_stream)


def _view(client: Client, target: int | str) -> OrderView:
    if isinstance(target, int):
        return client.order(order_id=target)
    return client.order(client_order_id=target)


def _change(
    client: Client, command: Command, instruments: dict[str, InstrumentSpec]
) -> OrderResult:
    """A cancel or an amend: to send it again is harmless, since it names what shall be."""
    try:
        reply = client.request([command])
    except OutcomeUnknown as error:
        raise CommandFailed(
            ExitCode.OUTCOME_UNKNOWN,
            f"outcome unknown: {error}",
            hint="it is safe to give the same command again, and `raftbook order show` tells",
        ) from None
    return order_results(reply, [command], instruments)[0]


def _cancel_all(invocation: Invocation, symbol: str) -> None:
    results: list[OrderResult] = []
    with invocation.connect() as client:
        known_spec(client, symbol)
        instruments = client.instruments()
        asked: set[int] = set()
        while True:
            views = client.orders(symbol, open_only=True, limit=LIST_DEFAULT)
            targets = [view.order_id for view in views if view.order_id not in asked]
            if not targets:
                break
            asked.update(targets)
            results += _cancel_each(client, targets, instruments)
    _show_canceled(invocation, symbol, results)
    code = worst(exit_code_of(result) for result in results)
    if code:
        refused = sum(result.is_rejected for result in results)
        raise CommandFailed(
            code,
            f"{plural(refused, 'cancel')} refused: traded or closed in the meantime",
            hint="see them with: raftbook order list",
        )


def _cancel_each(
    client: Client, order_ids: Sequence[int], instruments: dict[str, InstrumentSpec]
) -> list[OrderResult]:
    results: list[OrderResult] = []
    for start in range(0, len(order_ids), CANCELS_PER_REQUEST):
        chunk = order_ids[start : start + CANCELS_PER_REQUEST]
        commands = [cancel_command(order_id) for order_id in chunk]
        results += order_results(client.request(commands), commands, instruments)
    return results


def _show_canceled(invocation: Invocation, symbol: str, results: Sequence[OrderResult]) -> None:
    canceled = [result for result in results if not result.is_rejected]

    def table() -> str:
        lines = [result_text(result, price=None, tick_size=None) for result in results]
        return "\n".join([*lines, f"canceled {plural(len(canceled), 'order')} of {symbol}"])

    invocation.printer.show(
        {"symbol": symbol, "canceled": len(canceled),
         "orders": [result_document(result) for result in results]},
        table=table,
        items="orders",
    )  # fmt: skip

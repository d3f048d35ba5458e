"""`raftbook order` cancel, amend and replace: what is done to orders that exist.

Owns these verbs. All of them name what shall be, so that giving one again is harmless.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final, TypeVar

import click

from raftbook.client import Client
from raftbook.client.rejects import Refused
from raftbook.client.results import canceled_orders, order_results
from raftbook.client.values import InstrumentSpec, OrderResult
from raftbook.client.views import OrderView
from raftbook.core import commands as c
from raftbook.core.commands import Command
from raftbook.core.types import Reject, Side
from raftbook.errors import OutcomeUnknown

from .amounts import DECIMAL
from .invocation import Invocation, network_options, pass_invocation
from .lookup import known_spec
from .order_lines import (
    Change,
    EdgeReject,
    amend_command,
    cancel_command,
    checked,
    replace_command,
)
from .order_once import submit_once
from .order_options import (
    CLIENT_ORDER_ID,
    MOMENT,
    NewOrderCommand,
    OrderId,
    order_of_options,
    order_options,
    show_result,
    trigger_options,
)
from .order_results import result_document, result_text
from .order_words import trail_fields
from .outcomes import (
    CommandFailed,
    ExitCode,
    exit_code_of,
    exit_code_of_refusal,
    refusal_hint,
    worst,
)
from .output.tables import plural

CANCELS_PER_REQUEST: Final = 100
LOOK_AT_ORDERS: Final = 1000
_EVERYTHING: Final = ""
_SIDES: Final = {"buy": Side.BUY, "sell": Side.SELL}

Verb = TypeVar("Verb", bound=Callable[..., Any])


def target_of(order_id: int | None, client_id: str | None) -> int | str:
    """The one name of an order that was given."""
    if order_id is not None and client_id is not None:
        raise click.UsageError("give the order's ID or --client-id, not both")
    target = order_id if order_id is not None else client_id
    if target is None:
        raise click.UsageError("name an order: its ID, or --client-id")
    return target


def existing_order_options(verb: Verb) -> Verb:
    """How an order is named."""
    verb = click.option(
        "--client-id", type=CLIENT_ORDER_ID, metavar="ID", help="The order with this client id."
    )(verb)
    verb = click.argument("order_id", metavar="[ID]", type=OrderId(), required=False)(verb)
    return network_options(verb)


def view_of(client: Client, target: int | str) -> OrderView:
    """An own order by our id or by the client's."""
    if isinstance(target, int):
        return client.order(order_id=target)
    return client.order(client_order_id=target)


# -- cancel -----------------------------------------------------------------------------------


@click.command("cancel")
@existing_order_options
@click.option(
    "--all",
    "all_symbol",
    is_flag=False,
    flag_value=_EVERYTHING,
    metavar="[SYMBOL]",
    help="Every open order, of one instrument or of all.",
)
@click.option("--side", type=click.Choice(tuple(_SIDES)), help="With --all: of this side.")
@click.option(
    "--session", type=click.IntRange(min=1), help="With --all: entered through this session."
)
@click.option(
    "--of",
    "of_account",
    metavar="NAME",
    help="With --all: of that account, * for every (operators).",
)
@click.option("--from", "price_low", type=DECIMAL, help="With --all SYMBOL: from this price on.")
@click.option("--to", "price_high", type=DECIMAL, help="With --all SYMBOL: up to this price.")
@pass_invocation
def cancel(
    invocation: Invocation,
    /,
    order_id: int | None,
    client_id: str | None,
    all_symbol: str | None,
    **filters: Any,
) -> None:
    """Cancel one order, or all of an instrument, or all."""
    if all_symbol is not None:
        if order_id is not None or client_id is not None:
            raise click.UsageError("--all goes without ID and --client-id")
        _cancel_all(invocation, all_symbol, filters)
        return
    if any(value is not None for value in filters.values()):
        raise click.UsageError("--side, --session, --of, --from and --to go with --all")
    command = cancel_command(target_of(order_id, client_id))
    with invocation.connect() as client:
        instruments = client.instruments()
        show_result(invocation, _change(client, command, instruments))


def _cancel_all(invocation: Invocation, symbol: str, filters: dict[str, Any]) -> None:
    with invocation.connect() as client:
        if symbol:
            known_spec(client, symbol)
        instruments = client.instruments()
        command = _mass_cancel_command(symbol, filters, instruments)
        try:
            reply = client.request([command])
        except Refused as error:
            is_plain = symbol and not any(value is not None for value in filters.values())
            if error.code != Reject.UNSUPPORTED_VERSION or not is_plain:
                raise
            # Not every node knows that command yet: one by one, then.
            _cancel_one_by_one(invocation, client, symbol, instruments)
            return
        except OutcomeUnknown as error:
            raise _unknown(error) from None
        result = order_results(reply, [command], instruments)[0]
        if result.is_rejected:
            code = result.reject_code
            hint = refusal_hint(code, symbol=symbol)
            raise CommandFailed(exit_code_of_refusal(code), f"refused: {result.text}", hint=hint)
    canceled = canceled_orders(reply, instruments)
    count, more = result.details["canceled"], result.details["more"]
    _show_canceled(invocation, symbol, canceled, count=count, more=more)


def _mass_cancel_command(
    symbol: str, filters: dict[str, Any], instruments: dict[str, InstrumentSpec]
) -> Command:
    prices: dict[str, int | None] = {}
    for name, option in (("price_low", "--from"), ("price_high", "--to")):
        price = filters[name]
        if price is None:
            continue
        if not symbol:
            raise click.UsageError(f"{option} needs an instrument: --all SYMBOL")
        prices[name] = instruments[symbol].ticks(price)
        if prices[name] is None:
            size = instruments[symbol].tick_size
            raise click.UsageError(f"{option} {price:f} is not a whole number of ticks of {size}")
    side = filters["side"]
    return c.mass_cancel(
        account=filters["of_account"] or "",
        session_id=filters["session"] or 0,
        symbol=symbol,
        side=_SIDES[side] if side else None,
        **prices,
    )


def _cancel_one_by_one(
    invocation: Invocation, client: Client, symbol: str, instruments: dict[str, InstrumentSpec]
) -> None:
    results: list[OrderResult] = []
    asked: set[int] = set()
    while True:
        views = client.orders(symbol, open_only=True, limit=LOOK_AT_ORDERS)
        targets = [view.order_id for view in views if view.order_id not in asked]
        if not targets:
            break
        asked.update(targets)
        results += _cancel_each(client, targets, instruments)
    count = sum(not result.is_rejected for result in results)
    _show_canceled(invocation, symbol, results, count=count, more=False)
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


def _show_canceled(
    invocation: Invocation,
    symbol: str,
    results: Sequence[OrderResult],
    *,
    count: int,
    more: bool,
) -> None:
    def table() -> str:
        lines = [result_text(result, price=None, tick_size=None) for result in results]
        what = f"canceled {plural(count, 'order')}" + (f" of {symbol}" if symbol else "")
        return "\n".join([*lines, what + (", the rest follows by itself" if more else "")])

    invocation.printer.show(
        {"symbol": symbol or None, "canceled": count, "more": more,
         "orders": [result_document(result) for result in results]},
        table=table,
        items="orders",
    )  # fmt: skip


# -- amend ------------------------------------------------------------------------------------


@click.command("amend")
@existing_order_options
@click.option("--qty", type=DECIMAL, help="The new total, what has traded included.")
@click.option("--price", type=DECIMAL, help="The new price.")
@trigger_options
@click.option("--display", type=DECIMAL, help="What the market sees of an iceberg.")
@click.option(
    "--expires", type=MOMENT, metavar="TIME|+SPAN", help="When a gtd order ends: a time, or +10m."
)
@pass_invocation
def amend(
    invocation: Invocation,
    /,
    order_id: int | None,
    client_id: str | None,
    stop: Decimal | None,
    trail: str | None,
    display: Decimal | None,
    expires: int | None,
    **amounts: Decimal | None,
) -> None:
    """Change an open order. A smaller quantity at the same price keeps its place in the queue."""
    target = target_of(order_id, client_id)
    changes: dict[str, Any] = {
        **amounts,
        "stop_price": stop,
        "display_qty": display,
        "expire_time_ns": expires,
    }
    try:
        changes |= trail_fields(trail)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if not any(value is not None for value in changes.values()):
        what = "--qty, --price, --stop, --trail, --display or --expires"
        raise click.UsageError(f"nothing to change: give {what}")
    with invocation.connect() as client:
        try:
            view = view_of(client, target)
        except Refused as error:
            if error.code != Reject.UNKNOWN_ORDER:
                raise
            show_result(invocation, EdgeReject(Reject.UNKNOWN_ORDER, Change(target, "")).result())
            return
        instruments = client.instruments()
        instrument = instruments[view.symbol]
        try:
            command = amend_command(target, changes, instrument)
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
    price = amounts["price"]
    show_result(invocation, result, price=price, tick_size=instrument.tick_size)


# -- replace ----------------------------------------------------------------------------------


@click.command("replace", cls=NewOrderCommand)
@click.argument("order_id", metavar="ID", type=click.IntRange(min=1))
@click.argument("amount", metavar="QTY[@PRICE]")
@click.option("--or-place", is_flag=True, help="Enter it even if there is nothing to cancel.")
@order_options
@pass_invocation
def replace_order(
    invocation: Invocation, /, order_id: int, amount: str, or_place: bool, **options: Any
) -> None:
    """Cancel order ID and enter another of its instrument and side, in one step.

    Both happen, or neither; the options are those of the new order.
    """
    with invocation.connect() as client:
        old = view_of(client, order_id)
    wanted = order_of_options(old.symbol, Side[old.side], amount, **options)

    def build(name: str, instruments: dict[str, InstrumentSpec]) -> Command:
        named = replace(wanted, client_order_id=name)
        return checked(replace_command(order_id, named, instruments, or_place=or_place))

    try:
        result, instrument = submit_once(invocation, options["client_id"], old.symbol, build)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    tick_size = instrument.tick_size if instrument else None
    show_result(invocation, result, price=result.price, tick_size=tick_size)


def _change(
    client: Client, command: Command, instruments: dict[str, InstrumentSpec]
) -> OrderResult:
    """A cancel or an amend: to send it again is harmless, since it names what shall be."""
    try:
        reply = client.request([command])
    except OutcomeUnknown as error:
        raise _unknown(error) from None
    return order_results(reply, [command], instruments)[0]


def _unknown(error: OutcomeUnknown) -> CommandFailed:
    return CommandFailed(
        ExitCode.OUTCOME_UNKNOWN,
        f"outcome unknown: {error}",
        hint="it is safe to give the same command again, and `raftbook order show` tells",
    )

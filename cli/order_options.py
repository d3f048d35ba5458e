"""The options of verbs that bring an order, and what they amount to; shared by those verbs.

Owns their names and help, and how the result is shown. Must not know how an order is sent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, Final, TypeVar

import click

from raftbook.client.values import OrderRequest, OrderResult
from raftbook.core.form import is_id
from raftbook.core.types import ID_CHARS_MAX, INT64_MAX, PostOnly, Side

from .amounts import DECIMAL, parse_qty_and_price
from .invocation import Invocation, network_options
from .order_once import SESSION_KEY_PREFIX
from .order_results import result_document, result_text
from .order_words import (
    ORDER_TYPES,
    PEGS,
    POST_ONLY,
    STP_MODES,
    TIMES_IN_FORCE,
    TRIGGERS,
    check_order,
    parse_time_ns,
    trail_fields,
)
from .outcomes import CommandFailed, exit_code_of, hint_after
from .output.printer import say

_NEGATIVE: Final = re.compile(r"-[\d.]")

Verb = TypeVar("Verb", bound=Callable[..., Any])


class NewOrderCommand(click.Command):
    """Tells a negative quantity from a mistyped option, and knows --post-only with and without a
    word."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        for arg, before in zip(args, ["", *args], strict=False):
            if _NEGATIVE.match(arg) and before != "--peg-offset":
                raise click.UsageError(f"QTY[@PRICE] {arg[:60]!r}: quantity is not positive", ctx)
        # An option with a value that may be left out would swallow the next argument.
        plain = ["--post-only=reject" if arg == "--post-only" else arg for arg in args]
        return super().parse_args(ctx, plain)


class ClientOrderId(click.ParamType[str]):
    """A client order id that can also name a session."""

    name = "id"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        chars_max = ID_CHARS_MAX - len(SESSION_KEY_PREFIX)
        if not value or not is_id(value) or len(value) > chars_max:
            self.fail(f"an id is 1 to {chars_max} printable ASCII characters without spaces")
        return str(value)


class OrderId(click.ParamType[int]):
    """The number that the book gave an order."""

    name = "id"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        text = str(value)
        if not (text.isascii() and text.isdigit() and 0 < int(text[:20]) <= INT64_MAX):
            self.fail(f"{text[:40]!r} is no order's number; an id of your own goes in --client-id")
        return int(text)


class MomentType(click.ParamType[int]):
    """A time, or a span from now, in nanoseconds since 1970 UTC."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            return parse_time_ns(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


CLIENT_ORDER_ID: Final = ClientOrderId()
MOMENT: Final = MomentType()


def _decorated(verb: Verb, decorators: Sequence[Callable[[Verb], Verb]]) -> Verb:
    for decorate in reversed(decorators):
        verb = decorate(verb)
    return verb


def trigger_options(verb: Verb) -> Verb:
    """When a stop fires."""
    return _decorated(
        verb,
        (
            click.option("--stop", type=DECIMAL, help="Wait until the price reaches this."),
            click.option(
                "--trail",
                metavar="PRICE|BP",
                help="A stop that follows the market at this distance: 0.50 or 25bp.",
            ),
        ),
    )


def trigger_by_option(verb: Verb) -> Verb:
    """Which price that is."""
    return click.option(
        "--trigger-by",
        type=click.Choice(tuple(TRIGGERS)),
        help="The price that --stop waits for: of the last trade, the best bid, the best ask, or "
        "their middle. [default: last]",
    )(verb)


def rest_options(verb: Verb) -> Verb:
    """How an order stays in the book."""
    return _decorated(
        verb,
        (
            click.option(
                "--post-only",
                type=click.Choice(tuple(POST_ONLY)),
                help="Refuse rather than trade at once; =reprice moves behind the market instead.",
            ),
            click.option("--reprice", is_flag=True, help="The same as --post-only=reprice."),
            click.option(
                "--stp",
                type=click.Choice(tuple(STP_MODES)),
                default="none",
                help="What happens when it meets an order of the same account. [default: none]",
            ),
            click.option("--display", type=DECIMAL, help="What the market sees of it (iceberg)."),
            click.option("--hidden", is_flag=True, help="The market sees nothing of it."),
            click.option(
                "--expires",
                type=MOMENT,
                metavar="TIME|+SPAN",
                help="When it ends: 2026-01-31T17:30:00Z, or +10m from now.",
            ),
            click.option(
                "--client-id",
                type=CLIENT_ORDER_ID,
                metavar="ID",
                help="Your name for it: the same command again gets the original result, never a "
                "second order. [default: a fresh one]",
            ),
        ),
    )


def peg_options(verb: Verb) -> Verb:
    """What the price of an order follows."""
    return _decorated(
        verb,
        (
            click.option(
                "--peg",
                type=click.Choice(tuple(PEGS)),
                help="Follow the best price of the own side (primary), of the other side (market) "
                "or the middle; @PRICE is its limit then. Never takes.",
            ),
            click.option(
                "--peg-offset", type=DECIMAL, help="Add this to what it follows: 0.01 or -0.01."
            ),
        ),
    )


def kind_options(verb: Verb) -> Verb:
    """What sort of order it is."""
    return _decorated(
        verb,
        (
            click.option(
                "--type",
                "type_name",
                type=click.Choice(tuple(ORDER_TYPES)),
                help="[default: limit with a price, market without; with --stop or --trail "
                "stop-limit and stop]",
            ),
            click.option(
                "--tif",
                type=click.Choice(tuple(TIMES_IN_FORCE)),
                help="Time in force. [default: ioc for market, gtd with --expires, else gtc]",
            ),
            click.option("--min-qty", type=DECIMAL, help="Trade so much at once, or nothing."),
        ),
    )


def order_options(verb: Verb) -> Verb:
    """Everything about a new order but its instrument, side and amount."""
    return network_options(
        kind_options(trigger_options(trigger_by_option(rest_options(peg_options(verb)))))
    )


def order_of_options(
    symbol: str,
    side: Side,
    amount: str | None,
    *,
    quote: Decimal | None = None,
    checked: bool = True,
    **options: Any,
) -> OrderRequest:
    """The order that options ask for; its client order id is what was given, or empty.

    Args:
        checked: refuse what does not go together; a pair is checked as two.

    Raises:
        UsageError: it cannot be meant.
    """
    try:
        qty, price = (None, None) if amount is None else parse_qty_and_price(amount)
    except ValueError as error:
        raise click.UsageError(f"QTY[@PRICE] {str(amount)[:60]!r}: {error}") from None
    if (amount is None) == (quote is None):
        raise click.UsageError("give QTY[@PRICE] or --quote AMOUNT, one of them")
    type_name, tif = options.get("type_name"), options.get("tif")
    try:
        order = OrderRequest(
            symbol=symbol,
            side=side,
            qty=qty,
            price=price,
            ord_type=ORDER_TYPES[type_name] if type_name else None,
            time_in_force=TIMES_IN_FORCE[tif] if tif else None,
            post_only=_post_only(options["post_only"], reprice=options["reprice"]),
            self_trade_prevention=STP_MODES[options["stp"]],
            client_order_id=options["client_id"] or "",
            stop_price=options["stop"],
            display_qty=options["display"],
            min_qty=options.get("min_qty"),
            expire_time_ns=options["expires"] or 0,
            quote_qty=quote,
            peg=PEGS[options["peg"]] if options.get("peg") else None,
            peg_offset=options.get("peg_offset"),
            hidden=options["hidden"],
            trigger_by=TRIGGERS[options["trigger_by"]] if options["trigger_by"] else None,
            **trail_fields(options["trail"]),
        )
        if checked:
            check_order(order)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    return order


def _post_only(word: str | None, *, reprice: bool) -> PostOnly:
    if reprice:
        if word == "reject":
            raise click.UsageError("--post-only and --reprice: one of them")
        return PostOnly.REPRICE
    return PostOnly.NO if word is None else POST_ONLY[word]


def show_result(
    invocation: Invocation,
    result: OrderResult,
    *,
    price: Decimal | None = None,
    tick_size: Decimal | None = None,
) -> None:
    """Show what became of an order, and end with its exit code."""
    invocation.printer.show(
        result_document(result),
        table=lambda: result_text(result, price=price, tick_size=tick_size),
    )
    if result.poss_dup:
        say("poss_dup: this command took effect earlier; that is its original result")
    code = exit_code_of(result)
    if code:
        raise CommandFailed(code, f"refused: {result.text}", hint=hint_after(result))

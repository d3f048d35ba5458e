"""One new order, at most once: however often the command is given, in however many processes.

Owns the rule that makes a retry safe: the client order id names a session of its own, in which the
order is request 1. The book answers a repeated request 1 with the original reply.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from raftbook.client import Client
from raftbook.client.results import new_order_fields, order_results
from raftbook.client.values import (
    UNKNOWN,
    InstrumentSpec,
    OrderResult,
    RequestReply,
)
from raftbook.core import commands as c
from raftbook.core import events as e
from raftbook.core.commands import Command
from raftbook.core.conditions import NO_CONDITIONS, OrderConditions
from raftbook.core.types import OrderType
from raftbook.errors import NotAccepted, OutcomeUnknown, RaftbookError

from .amounts import fresh_client_order_id
from .invocation import Invocation
from .naming import command_document
from .naming_fields import order_document
from .order_lines import EdgeReject
from .order_results import result_document, result_without_reply
from .outcomes import CommandFailed, ExitCode
from .output.printer import say

SESSION_KEY_PREFIX: Final = "cli-"
REQUEST_SEQ: Final = 1
_PLACED: Final = 19
"""Where the fields of a working order end in a PLACE_OTO."""


Build = Callable[[str, dict[str, InstrumentSpec]], Command]
"""Makes the command of an order out of its client order id and the instruments.

Raises:
    EdgeReject: it fits no tick or lot, or there is no instrument.
"""


def submit_once(
    invocation: Invocation, client_order_id: str | None, symbol: str, build: Build
) -> tuple[OrderResult, InstrumentSpec | None]:
    """Sends the order and returns its result, the original one if it was sent before.

    Args:
        client_order_id: None makes a fresh one.

    Raises:
        CommandFailed: the outcome is unknown, or the id belongs to another order.
        NotAccepted: it had no effect. Where the id was given, an earlier command may have had one:
            then whatever brings no answer is of unknown outcome.
    """
    is_fresh = not client_order_id
    name = client_order_id or fresh_client_order_id(time.time_ns() // 1_000_000)
    client = invocation.connect(session_key=SESSION_KEY_PREFIX + name)
    # A session is kept for as long as somebody may retry in it, and no longer: there is a bound.
    forget = False
    try:
        instruments = client.instruments()
        try:
            command = build(name, instruments)
        except EdgeReject as reject:
            return reject.result(), instruments.get(symbol)
        reply = _request(invocation, client, command, name, is_first=is_fresh)
        if reply.poss_dup:
            _refuse_another(reply, command, name, instruments)
        forget = is_fresh
        return order_results(reply, [command], instruments)[0], instruments[symbol]
    finally:
        _close(client, forget=forget)


def _request(
    invocation: Invocation,
    client: Client,
    command: Command,
    client_order_id: str,
    *,
    is_first: bool,
) -> RequestReply:
    again = _line_for_any_node(invocation, client_order_id)
    try:
        return client.request([command], request_seq=REQUEST_SEQ, is_first=is_first)
    except OutcomeUnknown as error:
        if not invocation.printer.is_table:
            unknown = result_without_reply(command, UNKNOWN, str(error))
            invocation.printer.show(result_document(unknown), table=str)
        say(f"outcome unknown: {_sentence(error)} The order may still execute.")
        say(f"retry safely with:  {again}")
        raise CommandFailed(ExitCode.OUTCOME_UNKNOWN) from None
    except KeyboardInterrupt:
        say("the order may have been sent, and may still execute")
        say(f"retry safely with:  {again}")
        raise
    except NotAccepted as error:
        # Give the id away all the same: it is what makes the next attempt safe as well.
        if type(error) is not NotAccepted:
            raise
        raise CommandFailed(
            ExitCode.NOT_ACCEPTED, f"not accepted: {error}", hint=f"retry with:  {again}"
        ) from None


def _line_for_any_node(invocation: Invocation, client_order_id: str) -> str:
    """The retry through any node, not the one that was named: they all give the same answer."""
    line = retry_line(without_node(invocation.arguments), client_order_id)
    is_bound = bool(invocation.environ.get("RAFTBOOK_NODE"))
    return f"env -u RAFTBOOK_NODE {line}" if is_bound else line


def retry_line(arguments: Sequence[str], client_order_id: str) -> str:
    """The command line that asks for the same order again, and can never make a second one."""
    return with_option(arguments, "--client-id", client_order_id)


def without_node(arguments: Sequence[str]) -> list[str]:
    """The same without the node that was named."""
    words = list(arguments)
    options = words[: words.index("--")] if "--" in words else words
    for at in reversed(range(len(options))):
        if options[at] == "--node":
            del words[at : at + 2]
        elif options[at].startswith("--node="):
            del words[at]
    return words


def with_option(arguments: Sequence[str], option: str, value: str) -> str:
    """The command line that was given, with an option that names what it does, if it had none."""
    words = list(arguments)
    if not any(word == option or word.startswith(option + "=") for word in words):
        # Options end at a bare "--".
        end = words.index("--") if "--" in words else len(words)
        words[end:end] = [option, value]
    return shlex.join(["raftbook", *words])


def _refuse_another(
    reply: RequestReply,
    command: Command,
    client_order_id: str,
    instruments: dict[str, InstrumentSpec],
) -> None:
    """A repeated request gets the original reply, even if it asks for something else now."""
    terms = [event[2] for event in reply.events if event[0] == e.ACCEPTED]
    refused = [event[3] for event in reply.events if event[0] == e.REJECTED]
    if terms:
        if [_wish_of_terms(each) for each in terms] == wishes(command):
            return
        named = order_document(terms[0], instruments)
    elif refused and new_order_fields(refused[0]) is not None:
        if wishes(refused[0]) == wishes(command):
            return
        named = command_document(refused[0], instruments)
    else:
        return
    was = f"{named['side'].lower()} {named.get('order_qty')} {named['symbol']}"
    price = named.get("price")
    at = f"@{price}" if price is not None else " at the market"
    order = f"order {terms[0][0]}" if terms else "a refused order"
    sort = f"{named.get('ord_type', 'OCO')} {named['time_in_force']}"
    raise CommandFailed(
        ExitCode.REFUSED,
        f"--client-id {client_order_id} belongs to {order} ({was}{at}, {sort}), "
        "which is not what was asked for now",
        hint="choose another --client-id; nothing was sent twice",
    )


def wishes(command: Command) -> list[tuple[Any, ...]]:
    """What a command wants to be accepted, comparable with what was: name, symbol, kind, lots,
    price and conditions of each order. When it expires is left out: +10m is another time now."""
    kind, *fields = command
    if kind == c.CANCEL_REPLACE:
        fields = fields[3:]
    if kind in (c.PLACE_OCO, c.PLACE_OUO):
        updates = int(kind == c.PLACE_OUO)
        return [(*_wish(*each), updates) for each in pair_fields(command)]
    if kind == c.PLACE_OTO:
        symbol = command[1]
        return [_wish(*command[1:_PLACED]), _wish(symbol, *command[_PLACED:])]
    if kind == c.PLACE_OTOCO:
        pair = (c.PLACE_OCO, command[1], *command[_PLACED:-1])
        legs = [(*_wish(*each), command[-1]) for each in pair_fields(pair)]
        return [_wish(*command[1:_PLACED]), *legs]
    if kind == c.PLACE_PEG:
        symbol, side, tif, qty, limit, name, *peg, _ = fields
        return [(name, symbol, (side, int(OrderType.PEGGED), tif, 0, 0), qty, limit, *peg)]
    if kind == c.NEW_ORDER:
        fields += [None, 0, 0, 0, 0, 0, 0]
    return [_wish(*fields)]


def pair_fields(command: Command) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """The two orders of a pair, each as PLACE_ORDER would say it."""
    _, symbol, side, qty, tif, expire_ns, mode, price, name, post_only, display, *stop = command
    ord_type, stop_price, limit, unit, offset, stop_name, *unusual = stop
    by, hidden = unusual or (0, 0)
    first = (symbol, side, int(OrderType.LIMIT), tif, qty, price, name, post_only, mode)
    second = (symbol, side, ord_type, tif, qty, limit, stop_name, 0, mode)
    return (
        (*first, None, 0, 0, display, 0, expire_ns, 0, 0, hidden),
        (*second, stop_price, unit, offset, 0, 0, expire_ns, 0, by, 0),
    )


def _wish(*fields: Any) -> tuple[Any, ...]:
    symbol, side, ord_type, tif, qty, price, name, post_only, mode, *conditions = fields
    stop_price, unit, offset, display, min_qty, _, quote_qty, *unusual = conditions
    by, hidden = unusual or (0, 0)
    kind = (side, ord_type, tif, post_only, mode)
    # Of an amount to spend it is not known beforehand how many lots it will be.
    lots = None if quote_qty else qty
    rest = (stop_price, unit, offset, display, min_qty, quote_qty, by, hidden)
    return (name, symbol, kind, lots, price, *rest)


def _wish_of_terms(terms: tuple[Any, ...]) -> tuple[Any, ...]:
    """The same of an order that was accepted."""
    _, _, name, symbol, kind, qty, price, *rest = terms
    if len(rest) > 1:
        reference, offset, limit = rest[1]
        return (name, symbol, tuple(kind), qty, limit, reference, offset)
    conditions = OrderConditions(*(rest[0] if rest else NO_CONDITIONS))
    side, ord_type, tif, post_only, mode = kind
    plain = (symbol, side, ord_type, tif, qty, price, name, post_only, mode)
    wish = _wish(*plain, *conditions[:7], conditions.trigger_by, conditions.hidden)
    return (*wish, conditions.updates_other) if conditions.oco_order_id else wish


def _close(client: Client, *, forget: bool) -> None:
    try:
        client.close(forget_session=forget)
    except RaftbookError:
        pass  # the result is known; a session left behind is evicted when it has idled


def _sentence(error: Exception) -> str:
    text = str(error).rstrip(".")
    return f"{text}."

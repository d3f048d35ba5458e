"""One new order, at most once: however often the command is given, in however many processes.

Owns the rule that makes a retry safe: the client order id names a session of its own, in which the
order is request 1. The book answers a repeated request 1 with the original reply.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from typing import Final

from raftbook.client import Client
from raftbook.client.results import order_results
from raftbook.client.values import (
    UNKNOWN,
    InstrumentSpec,
    OrderResult,
    RequestReply,
)
from raftbook.core import events as e
from raftbook.core.commands import NEW_ORDER, Command
from raftbook.errors import NotAccepted, OutcomeUnknown, RaftbookError

from .amounts import fresh_client_order_id
from .invocation import Invocation
from .naming import command_document
from .order_lines import EdgeReject, OrderSpec, new_order_command
from .order_results import result_document, result_without_reply
from .outcomes import CommandFailed, ExitCode
from .output.printer import say

SESSION_KEY_PREFIX: Final = "cli-"
REQUEST_SEQ: Final = 1


def submit_once(
    invocation: Invocation, spec: OrderSpec
) -> tuple[OrderResult, InstrumentSpec | None]:
    """Sends the order and returns its result, the original one if it was sent before.

    Raises:
        CommandFailed: the outcome is unknown, or the id belongs to another order.
        NotAccepted: it had no effect.
    """
    is_fresh = not spec.client_order_id
    if is_fresh:
        spec = spec._replace(client_order_id=fresh_client_order_id(time.time_ns() // 1_000_000))
    client = invocation.connect(session_key=SESSION_KEY_PREFIX + spec.client_order_id)
    # A session is kept for as long as somebody may retry in it, and no longer: there is a bound.
    forget = False
    try:
        instruments = client.instruments()
        try:
            command = new_order_command(spec, instruments)
        except EdgeReject as reject:
            return reject.result(), instruments.get(spec.symbol)
        reply = _request(invocation, client, command, spec.client_order_id)
        if reply.poss_dup:
            _refuse_another(reply, command, spec.client_order_id, instruments)
        forget = is_fresh
        return order_results(reply, [command], instruments)[0], instruments[spec.symbol]
    finally:
        _close(client, forget=forget)


def _request(
    invocation: Invocation, client: Client, command: Command, client_order_id: str
) -> RequestReply:
    try:
        return client.request([command], request_seq=REQUEST_SEQ)
    except OutcomeUnknown as error:
        if not invocation.printer.is_table:
            unknown = result_without_reply(command, UNKNOWN, str(error))
            invocation.printer.show(result_document(unknown), table=str)
        say(f"outcome unknown: {_sentence(error)} The order may still execute.")
        say(f"retry safely with:  {retry_line(invocation.arguments, client_order_id)}")
        raise CommandFailed(ExitCode.OUTCOME_UNKNOWN) from None
    except KeyboardInterrupt:
        say("the order may have been sent, and may still execute")
        say(f"retry safely with:  {retry_line(invocation.arguments, client_order_id)}")
        raise
    except NotAccepted as error:
        # Give the id away all the same: it is what makes the next attempt safe as well.
        line = retry_line(invocation.arguments, client_order_id)
        if type(error) is not NotAccepted:
            raise
        raise CommandFailed(
            ExitCode.NOT_ACCEPTED, f"not accepted: {error}", hint=f"retry with:  {line}"
        ) from None


def retry_line(arguments: Sequence[str], client_order_id: str) -> str:
    """The command line that asks for the same order again, and can never make a second one."""
    words = list(arguments)
    if not any(word == "--client-id" or word.startswith("--client-id=") for word in words):
        # Options end at a bare "--".
        end = words.index("--") if "--" in words else len(words)
        words[end:end] = ["--client-id", client_order_id]
    return shlex.join(["raftbook", *words])


def _refuse_another(
    reply: RequestReply,
    command: Command,
    client_order_id: str,
    instruments: dict[str, InstrumentSpec],
) -> None:
    """A repeated request gets the original reply, even if it asks for something else now."""
    original = _original_command(reply)
    if original is None or original == command:
        return
    named = command_document(original, instruments)
    was = f"{named['side'].lower()} {named.get('order_qty')} {named['symbol']}"
    price = named.get("price")
    at = f"@{price}" if price is not None else " at the market"
    event = reply.events[0]
    order = f"order {event[2][0]}" if event[0] == e.ACCEPTED else "a refused order"
    raise CommandFailed(
        ExitCode.REFUSED,
        f"--client-id {client_order_id} belongs to {order} ({was}{at}, "
        f"{named['ord_type']} {named['time_in_force']}), which is not what was asked for now",
        hint="choose another --client-id; nothing was sent twice",
    )


def _original_command(reply: RequestReply) -> Command | None:
    """The command that the events answer, as far as they tell."""
    event = reply.events[0] if reply.events else (0,)
    if event[0] == e.REJECTED:
        return tuple(event[3])
    if event[0] != e.ACCEPTED:
        return None
    _, _, client_order_id, symbol, kind, qty, price = event[2]
    side, ord_type, tif, post_only, mode = kind
    return (
        NEW_ORDER, symbol, side, ord_type, tif, qty, price, client_order_id, post_only, mode
    )  # fmt: skip


def _close(client: Client, *, forget: bool) -> None:
    try:
        client.close(forget_session=forget)
    except RaftbookError:
        pass  # the result is known; a session left behind is evicted when it has idled


def _sentence(error: Exception) -> str:
    text = str(error).rstrip(".")
    return f"{text}."

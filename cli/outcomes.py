"""Exit codes: which trouble, and which answer of the book, ends the program with which number.

Owns the one mapping from exceptions and results to exit codes, and the one line that is said about
an exception. Must not know any verb.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from typing import TYPE_CHECKING, Final

import click

from raftbook.client.rejects import Refused
from raftbook.client.values import NOT_ACCEPTED, UNKNOWN, OrderResult
from raftbook.core.types import Reject
from raftbook.errors import (
    ConfigError,
    NoNodeReachable,
    NotAccepted,
    OutcomeUnknown,
    ProtocolError,
    RaftbookError,
    StorageError,
)

if TYPE_CHECKING:
    from .invocation import Invocation


class ExitCode(IntEnum):
    """What scripts rely on; `raftbook --help` prints this table."""

    OK = 0
    REFUSED = 1
    USAGE = 2
    UNREACHABLE = 3
    NOT_ACCEPTED = 4
    OUTCOME_UNKNOWN = 5
    DIFFERENT = 6
    INTERRUPTED = 130


MEANINGS: Final = {
    ExitCode.OK: "ok",
    ExitCode.REFUSED: "refused by the book",
    ExitCode.USAGE: "usage or configuration",
    ExitCode.UNREACHABLE: "no node reachable",
    ExitCode.NOT_ACCEPTED: "not accepted, safe to retry",
    ExitCode.OUTCOME_UNKNOWN: "outcome unknown, retry with the same --client-id",
    ExitCode.DIFFERENT: "nodes differ / verification failed",
    ExitCode.INTERRUPTED: "interrupted",
}

_BY_SEVERITY: Final = (
    ExitCode.OK,
    ExitCode.REFUSED,
    ExitCode.USAGE,
    ExitCode.NOT_ACCEPTED,
    ExitCode.UNREACHABLE,
    ExitCode.OUTCOME_UNKNOWN,
    ExitCode.DIFFERENT,
    ExitCode.INTERRUPTED,
)
"""Mildest first: of many results, whoever called must hear of the one that needs care most."""

_BY_ERROR: Final[tuple[tuple[type[RaftbookError], ExitCode, str], ...]] = (
    (ConfigError, ExitCode.USAGE, ""),
    (StorageError, ExitCode.USAGE, ""),
    (NoNodeReachable, ExitCode.UNREACHABLE, "is it up?"),
    (NotAccepted, ExitCode.NOT_ACCEPTED, "it had no effect: safe to retry"),
    (OutcomeUnknown, ExitCode.OUTCOME_UNKNOWN, "it may still take effect: look before a retry"),
    (ProtocolError, ExitCode.UNREACHABLE, "is that address a raftbook client_port?"),
    (RaftbookError, ExitCode.NOT_ACCEPTED, ""),
)


_IDENTITY: Final = frozenset({Reject.NOT_AUTHORIZED, Reject.UNKNOWN_ACCOUNT})
"""Refusals of who asks rather than of what is asked: settings to correct."""

_REFUSAL_HINTS: Final[dict[int, str]] = {
    Reject.UNKNOWN_INSTRUMENT: "see them with: raftbook instrument list",
    Reject.INSTRUMENT_HALTED: "an operator resumes it with: raftbook instrument resume {symbol}",
    Reject.UNKNOWN_ACCOUNT: "name another with --account or RAFTBOOK_KEY",
    Reject.NOT_AUTHORIZED: "name an account that may with --account; its secret, or that of one "
    "of its API keys, stands in RAFTBOOK_SECRET",
    Reject.DUPLICATE_CLIENT_ORDER_ID: "see it with: raftbook order show --client-id {client_id}",
    Reject.LOT_SIZE: "see lot_size with: raftbook instrument show {symbol}",
    Reject.TICK_SIZE: "see tick_size with: raftbook instrument show {symbol}",
    Reject.QTY_TOO_LARGE: "see qty_max with: raftbook instrument show {symbol}",
    Reject.BAD_PRICE: "see price_min and price_max with: raftbook instrument show {symbol}",
    Reject.PRICE_BAND: "see the band with: raftbook instrument show {symbol}",
    Reject.NOTIONAL_LIMIT: "see notional_max with: raftbook instrument show {symbol}",
    Reject.POST_ONLY_WOULD_CROSS: "choose a price that does not cross, or leave out --post-only",
    Reject.NO_REFERENCE_PRICE: "wait for a trade, or write a price of its own",
    Reject.UNSUPPORTED_COMBINATION: "see which do with: raftbook order buy --help; an amount "
    "(--quote) needs an instrument whose price_min is a tick or more",
    Reject.UNKNOWN_ORDER: "see yours with: raftbook order list",
    Reject.TOO_LATE: "see it with: raftbook order show {order}",
    Reject.RATE_LIMIT: "many orders go in one session through: raftbook order -",
    Reject.AMEND_NOT_ALLOWED: "see what it has with: raftbook order show {order}",
    Reject.INSUFFICIENT_FUNDS: "see the money there is with: raftbook account show",
    Reject.INSUFFICIENT_POSITION: "see what there is with: raftbook account show",
    Reject.ACCOUNT_SUSPENDED: "an operator lets it trade again with: raftbook account set NAME "
    "--enable",
    Reject.KILL_SWITCH: "an operator switches it off with: raftbook account kill NAME --off, or "
    "--all --off",
    Reject.UNKNOWN_CURRENCY: "see them with: raftbook currency list",
    Reject.ACCOUNT_EXISTS: "see them with: raftbook account list",
    Reject.CURRENCY_EXISTS: "see them with: raftbook currency list",
    Reject.QTY_TOO_SMALL: "see qty_min with: raftbook instrument show {symbol}",
    Reject.INSTRUMENT_NOT_EMPTY: "close it with: raftbook instrument phase {symbol} closed, "
    "and end its orders with: raftbook order cancel --all {symbol} --of '*'",
    Reject.UNKNOWN_TRADE: "see those that are remembered with: raftbook trades {symbol}",
    Reject.IOC_IN_AUCTION: "orders gather now: give --tif auction, or gtc with a price",
    Reject.AUCTION_ONLY: "see the phase with: raftbook instrument show {symbol}",
    Reject.OVERFLOW: "lower what it multiplies, such as --qty-max or --price-max",
    Reject.BAD_STOP_PRICE: "see price_min and price_max with: raftbook instrument show {symbol}",
    Reject.CANCEL_FAILED: "see it with: raftbook order list, or give --or-place",
    Reject.UNSUPPORTED_VERSION: "see which nodes are behind with: raftbook cluster status",
}


class CommandFailed(Exception):
    """A verb ends here: with this exit code, and this line on stderr.

    Args:
        text: what failed and why; None when it has been said already.
        hint: what to try.
    """

    def __init__(self, code: ExitCode, text: str | None = None, *, hint: str = "") -> None:
        super().__init__(_line(text or "", hint))
        self.code = code


def judge(
    error: Exception, invocation: Invocation | None = None, *, node_id: int | None = None
) -> tuple[ExitCode, str]:
    """The exit code and the line for an exception that ends the program.

    Args:
        invocation: the run that ends, so that a hint names a node there is.
        node_id: the one node that it is about.

    Raises:
        Exception: the same one, when it is none of ours: a bug must show its traceback.
    """
    if isinstance(error, CommandFailed):
        return error.code, str(error)
    if isinstance(error, click.UsageError):
        return ExitCode.USAGE, _usage_line(error)
    if isinstance(error, click.ClickException):
        return ExitCode.USAGE, _one_line(error.format_message())
    if isinstance(error, Refused) and error.code < Reject.NO_LEADER:
        return exit_code_of_refusal(error.code), _line(str(error), refusal_hint(error.code))
    if isinstance(error, NoNodeReachable) and invocation is not None:
        return ExitCode.UNREACHABLE, _line(str(error), invocation.how_to_start(node_id))
    for kind, code, hint in _BY_ERROR:
        if isinstance(error, kind):
            return code, _line(str(error), hint)
    raise error


def exit_code_of_refusal(code: int) -> ExitCode:
    """For the reject code of something that is no order: an administrator's verb, or a question."""
    return ExitCode.USAGE if code in _IDENTITY else ExitCode.REFUSED


def exit_code_of(result: OrderResult) -> ExitCode:
    """What the result of one command means for the exit code."""
    if result.is_rejected:
        return ExitCode.REFUSED
    if result.ord_status == NOT_ACCEPTED:
        return ExitCode.NOT_ACCEPTED
    if result.ord_status == UNKNOWN:
        return ExitCode.OUTCOME_UNKNOWN
    return ExitCode.OK


def refusal_hint(code: int, *, symbol: str = "", order: str = "", client_id: str = "") -> str:
    """What to try after the book refused with this code; "" when the sentence says it all.

    Args:
        symbol, order, client_id: what was refused, as far as it is known: a hint names nothing
            that nobody can type.
    """
    known = {"symbol": symbol, "order": order, "client_id": client_id}
    hint = _REFUSAL_HINTS.get(code, "")
    missing = any(f"{{{name}}}" in hint for name, value in known.items() if not value)
    return "" if missing else hint.format_map(known)


def hint_after(result: OrderResult) -> str:
    """What to try after this order was refused."""
    by_client = f"--client-id {result.client_order_id}" if result.client_order_id else ""
    return refusal_hint(
        result.reject_code,
        symbol=result.symbol,
        order=str(result.order_id) if result.order_id else by_client,
        client_id=result.client_order_id,
    )


def worst(codes: Iterable[ExitCode]) -> ExitCode:
    """The gravest of many exit codes, OK when there is none."""
    return max(codes, key=_BY_SEVERITY.index, default=ExitCode.OK)


def _line(text: str, hint: str) -> str:
    return f"{text.rstrip('.')}; {hint}" if hint else text


def _one_line(text: str) -> str:
    """click lists choices on lines of their own."""
    return " ".join(text.split())


def _usage_line(error: click.UsageError) -> str:
    message = _one_line(error.format_message()).rstrip(".?")
    path = error.ctx.command_path if error.ctx is not None else "raftbook"
    return f"{message}; try: {path} --help"

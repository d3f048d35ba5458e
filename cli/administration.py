"""What verbs of operators have in common: one command, its answer, and what to do when refused.

Owns how such an answer is shown. Must not know what any of them says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from raftbook.client import Client
from raftbook.client.values import OrderResult
from raftbook.errors import OutcomeUnknown

from .invocation import Invocation
from .outcomes import CommandFailed, ExitCode, exit_code_of_refusal, refusal_hint


def administer(
    invocation: Invocation,
    verb: Callable[[Client], OrderResult],
    *,
    symbol: str = "",
    again: str = "look before you give it again",
    hints: Mapping[int, str] | None = None,
) -> OrderResult:
    """Says one command; what it brought.

    Args:
        symbol: the instrument it is about, for a hint.
        again: what to do when nobody knows whether it took effect.
        hints: what to do about a reject code, where that depends on the verb.

    Raises:
        CommandFailed: the book refused it, or its outcome is unknown.
    """
    with invocation.connect() as client:
        try:
            result = verb(client)
        except OutcomeUnknown as error:
            line = f"outcome unknown: {error}"
            raise CommandFailed(ExitCode.OUTCOME_UNKNOWN, line, hint=again) from None
    if result.is_rejected:
        code = result.reject_code
        raise CommandFailed(
            exit_code_of_refusal(code),
            f"refused: {result.text}",
            hint=(hints or {}).get(code) or refusal_hint(code, symbol=symbol),
        )
    return result


def show_done(
    invocation: Invocation, result: OrderResult, document: Mapping[str, Any], text: str
) -> None:
    """A document, or for people a line that tells the entry."""
    index = result.entry_index
    again = ", original result" if result.poss_dup else ""
    invocation.printer.show(
        {**document, "entry_index": index},
        table=lambda: f"{text}  (entry {index}{again})",
    )

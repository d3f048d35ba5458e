"""The arguments of queries and subscriptions, and the answer to those that are none.

Owns how strict an argument is. Knows no market.
"""

from __future__ import annotations

from typing import Any, Final

from raftbook.core.types import Reject
from raftbook.wire import pages
from raftbook.wire.packing import brief

Arguments = dict[str, Any]

INDEX_MAX: Final = 2**62
"""Above any entry index or order id."""


class QueryError(Exception):
    """The question cannot be answered; a code of `types.Reject` and a sentence."""

    def __init__(self, code: Reject, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def natural(arguments: Arguments, name: str, default: int, *, high: int = pages.ROWS_MAX) -> int:
    """A whole number from 0 to `high` among the arguments; `default` when it is not given.

    Raises:
        QueryError: it is something else.
    """
    value = arguments.get(name)
    if value is None:
        return default
    if type(value) is not int or not 0 <= value <= high:
        raise QueryError(Reject.MALFORMED, f"{name} must be 0 to {high}, not {brief(value)}")
    return value


def text(arguments: Arguments, name: str) -> str | None:
    """Text among the arguments; None when it is not given.

    Raises:
        QueryError: it is something else.
    """
    value = arguments.get(name)
    if value is not None and type(value) is not str:
        raise QueryError(Reject.MALFORMED, f"{name} must be text, not {brief(value)}")
    return value

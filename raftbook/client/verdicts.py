"""How a call ends that brought no result: one error, whose type and words say the same thing.

Owns the choice between "it had no effect", "it may have had" and "nobody was there". What the
caller should do about it is for the caller to say.
"""

from __future__ import annotations

from typing import Final

from raftbook.client.operation import Operation
from raftbook.errors import NoNodeReachable, NotAccepted, OutcomeUnknown, RaftbookError
from raftbook.wire import client_messages as m

ONCE_QUERIES: Final = frozenset(("transfer", "add", "remove"))
"""Queries that do something: asking twice would do it twice."""


def without_result(operation: Operation, *, why: str, was_heard: bool) -> RaftbookError:
    """The error of an operation that ends now.

    Args:
        why: what the last attempt met, or what is being waited for.
        was_heard: a node has said something since the operation began.
    """
    if operation.kind == m.REQUEST and (operation.is_sent or operation.may_have_applied):
        seq = operation.request_seq
        lost = why if operation.is_sent else operation.doubt or why
        return OutcomeUnknown(f"request {seq} was sent and not answered: {lost}", request_seq=seq)
    if operation.kind == m.REQUEST and operation.is_repeat:
        # What the one before it came to, only its reply could tell.
        seq = operation.request_seq
        return OutcomeUnknown(f"request {seq} may have been sent before: {why}", request_seq=seq)
    if operation.is_sent and operation.name in ONCE_QUERIES:
        return OutcomeUnknown(f"{operation.name} was asked for and not answered: {why}")
    if not was_heard:
        return NoNodeReachable(f"no node answered: {why}")
    if operation.kind == m.QUERY and why == operation.trouble:  # a node's own words
        return NotAccepted(f"{operation.name}: not now: {why}")
    if operation.kind == m.QUERY:
        return NotAccepted(f"{operation.name}: no answer: {why}")
    if operation.kind == m.HELLO:
        return NotAccepted(f"not connected: {why}")
    if not operation.attempts:
        return NotAccepted(f"not sent: {why}")
    return NotAccepted(f"nothing happened: {why}")

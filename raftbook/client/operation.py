"""One thing a caller waits for: a request, a query, or to be connected.

Owns what is known of it: whether it was sent, whether it may have taken effect, until when it is
waited for. `flow.py` decides what follows from that.
"""

from __future__ import annotations

from typing import Any

from raftbook.client.conversation import NEVER
from raftbook.errors import RaftbookError


class Operation:
    """Something a caller waits for: `result` or `error` is set once `is_done`.

    Attributes:
        waiter: whatever the caller wakes by; the flow never looks at it.
        session_id, request_seq: a request's name; 0 until it was first sent.
        is_sent: on the connection that stands, and unanswered.
        may_have_applied: an attempt was lost and may have reached the log.
        trouble: why the last attempt brought no result.
    """

    __slots__ = (
        "attempt_s",
        "attempt_until",
        "attempts",
        "deadline",
        "error",
        "frame",
        "is_done",
        "is_explicit",
        "is_sent",
        "kind",
        "may_have_applied",
        "name",
        "payload",
        "ref",
        "request_seq",
        "resend_at",
        "result",
        "session_id",
        "started",
        "trouble",
        "waiter",
    )

    def __init__(
        self, kind: int, payload: bytes, *, started: float, deadline: float, attempt_s: float
    ) -> None:
        self.kind = kind  # m.REQUEST, m.QUERY or m.HELLO: to be connected
        self.payload = payload  # the packed commands, or the packed arguments
        self.frame = b""
        self.name = ""
        self.ref = 0
        self.session_id = 0
        self.request_seq = 0
        self.is_explicit = False
        self.started = started
        self.deadline = deadline
        self.attempt_s = attempt_s
        self.attempt_until = NEVER
        self.resend_at = NEVER
        self.attempts = 0
        self.is_sent = False
        self.may_have_applied = False
        self.trouble = ""
        self.is_done = False
        self.result: Any = None
        self.error: RaftbookError | None = None
        self.waiter: Any = None

"""What callers wait for: requests, queries, and to be connected.

Owns what is known of each: whether it was sent, whether it may have taken effect, until when it is
waited for, and in which queue it stands. `flow.py` decides what follows from that.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Any

from raftbook.client.settings import NEVER
from raftbook.errors import RaftbookError
from raftbook.wire import client_messages as m


class Operation:
    """Something a caller waits for: `result` or `error` is set once `is_done`.

    Attributes:
        waiter: whatever the caller wakes by; the flow never looks at it.
        session_id, request_seq: a request's name; 0 until it was first sent.
        is_sent: on the connection that stands, and unanswered.
        is_repeat: another process may have sent it before.
        may_have_applied: an attempt was lost and may have reached the log; `doubt` says how.
        trouble: why the last attempt brought no result.
        pages: events of its reply that have come already.
    """

    __slots__ = (
        "attempt_s",
        "attempt_until",
        "attempts",
        "deadline",
        "doubt",
        "error",
        "frame",
        "is_done",
        "is_explicit",
        "is_repeat",
        "is_sent",
        "kind",
        "may_have_applied",
        "name",
        "pages",
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
        self.is_explicit = self.is_repeat = False
        self.started = started
        self.deadline = deadline
        self.attempt_s = attempt_s
        self.attempt_until = NEVER
        self.resend_at = NEVER
        self.attempts = 0
        self.is_sent = False
        self.may_have_applied = False
        self.doubt = ""
        self.trouble = ""
        self.pages: list[tuple[Any, ...]] = []
        self.is_done = False
        self.result: Any = None
        self.error: RaftbookError | None = None
        self.waiter: Any = None


class Operations:
    """Everything that is waited for.

    Attributes:
        connects: who waits for a connection.
        queries: by ref.
        named: requests that have their number, in the order of the numbers.
        explicit: requests whose number the caller gave.
        asks, again, fresh: what is to be sent next: queries, named requests, unnamed ones.
    """

    def __init__(self) -> None:
        self.connects: list[Operation] = []
        self.queries: dict[int, Operation] = {}
        self.named: OrderedDict[int, Operation] = OrderedDict()
        self.explicit: dict[int, Operation] = {}
        self.asks: deque[Operation] = deque()
        self.again: deque[Operation] = deque()
        self.fresh: deque[Operation] = deque()

    @property
    def is_empty(self) -> bool:
        """Whether nobody waits for anything."""
        return not (self.connects or self.queries or self.fresh or self.named or self.explicit)

    def all(self) -> list[Operation]:
        """Every operation that has no outcome."""
        return [
            *self.connects,
            *self.queries.values(),
            *self.explicit.values(),
            *self.named.values(),
            *self.fresh,
        ]

    def oldest_seq(self, next_seq: int) -> int:
        """The lowest number without an outcome; `next_seq` if all have theirs."""
        oldest = next(iter(self.named), next_seq)
        return min(oldest, *self.explicit) if self.explicit else oldest

    def request_sent(self, session_id: int, request_seq: int) -> Operation | None:
        """The request that an answer is about; None if it was given up, or its caller left."""
        operation = self.named.get(request_seq) or self.explicit.get(request_seq)
        if operation is None or operation.session_id != session_id or not operation.is_sent:
            return None
        return operation

    def unname(self, operation: Operation) -> None:
        """Let a request that had no effect wait for another number, in its turn."""
        del self.named[operation.request_seq]
        self._unqueue(operation)
        operation.is_sent = False
        operation.session_id = operation.request_seq = 0
        self.fresh = deque(sorted([operation, *self.fresh], key=lambda other: other.ref))

    def connection_lost(self, why: str) -> None:
        """What was sent may have arrived; all of it is to be sent again, in order."""
        requests = [*self.explicit.values(), *self.named.values()]
        for operation in [*self.queries.values(), *requests]:
            if operation.is_sent:
                operation.may_have_applied = True
                operation.doubt = why
            operation.is_sent = False
            operation.pages.clear()
            operation.attempt_until = operation.resend_at = NEVER
        self.asks = deque(self.queries.values())
        self.again = deque(requests)

    def remove(self, operation: Operation) -> None:
        """Take out an operation that has its outcome."""
        if not operation.is_sent:
            self._unqueue(operation)
        if operation.kind == m.QUERY:
            self.queries.pop(operation.ref, None)
        elif operation.kind == m.HELLO:
            self.connects.remove(operation)
        elif operation.is_explicit:
            self.explicit.pop(operation.request_seq, None)
        else:
            self.named.pop(operation.request_seq, None)

    def _unqueue(self, operation: Operation) -> None:
        operation.resend_at = NEVER
        for queue in (self.again, self.fresh, self.asks):
            if operation in queue:
                queue.remove(operation)

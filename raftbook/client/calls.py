"""What is asked of a cluster, and how a call ends; without sockets and without a clock.

Owns the calls of one client: their deadlines, the outcomes that are unknown, and the one place
where a call gets its result or its error. What is sent when, and what an answer means, is
`flow.py`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from raftbook.client.conversation import Conversation
from raftbook.client.operation import Operation, Operations
from raftbook.client.session import SessionNumbers
from raftbook.client.settings import NEVER, Settings
from raftbook.client.verdicts import without_result
from raftbook.core.commands import Command
from raftbook.errors import OutcomeUnknown, RaftbookError
from raftbook.wire import client_messages as m
from raftbook.wire.framing import frame
from raftbook.wire.packing import pack

_FOUR: Final = b"\x94"  # msgpack: the head of an array of four

SLOW_QUERIES: Final = frozenset(("snapshot", "transfer", "add", "remove"))
"""They work for longer than one attempt; no other node is asked before the deadline."""

IN_DOUBT_MAX: Final = 4096
"""Unknown outcomes that are remembered; a session remembers fewer replies."""


class Calls(Conversation):
    """All calls of one client.

    Attributes:
        finished: operations that got their outcome since the reader last emptied it.
    """

    def __init__(self, settings: Settings, *, is_own_key: bool, ends_at: float) -> None:
        super().__init__(settings)
        self.finished: list[Operation] = []
        self._ends_at = ends_at
        self._session = SessionNumbers(is_own_key=is_own_key)
        self._waiting = Operations()
        self._in_doubt: set[int] = set()  # numbers of requests whose outcome is unknown

    @property
    def session_id(self) -> int:
        """The session's id; 0 before it was opened."""
        return self._session.session_id

    @property
    def may_forget_session(self) -> bool:
        """Whether closing the session would take no reply from anybody who may still ask."""
        is_idle = self._waiting.is_empty and not self._in_doubt
        return self.is_ready and is_idle and bool(self.session_id)

    @property
    def give_up_at(self) -> float:
        """When the first call ends at the latest; NEVER while nobody waits."""
        return min((operation.deadline for operation in self._waiting.all()), default=NEVER)

    # -- what callers ask ---------------------------------------------------------------------

    def connect(self, now: float) -> Operation:
        """Wait until a node has greeted and let the account in."""
        operation = self._operation(m.HELLO, b"", now)
        self._waiting.connects.append(operation)
        if self.is_ready:
            self._finish(operation, result=self.node_id)
        return operation

    def request(
        self,
        commands: Sequence[Command],
        now: float,
        *,
        request_seq: int | None = None,
        is_first: bool = False,
        timeout_s: float | None = None,
    ) -> Operation:
        """One request; its result is a RequestReply.

        Args:
            request_seq: of an earlier request with an unknown outcome, which this one repeats.
            is_first: nothing was ever asked under this request_seq.

        Raises:
            ValueError: there is no account, or this request_seq is under way.
            ProtocolError: the commands hold what no frame can hold.
        """
        if not self.settings.account:
            raise ValueError("a client without an account can only look: give account=")
        operation = self._operation(m.REQUEST, pack(commands), now, timeout_s=timeout_s)
        operation.ref = self.next_ref()  # its place among the unnamed
        if request_seq is None:
            self._waiting.fresh.append(operation)
        else:
            if request_seq < 1:
                raise ValueError(f"request_seq must be at least 1, not {request_seq}")
            if request_seq in self._waiting.named or request_seq in self._waiting.explicit:
                raise ValueError(f"request {request_seq} is under way already")
            operation.request_seq = request_seq
            operation.is_explicit = True
            operation.is_repeat = not (is_first or self._session.is_unused(request_seq))
            if request_seq in self._in_doubt:
                operation.may_have_applied = True
                operation.doubt = "an earlier attempt brought no answer"
            self._waiting.explicit[request_seq] = operation
            self._waiting.again.append(operation)
            self._session.used(request_seq)
        self._flush(now)
        return operation

    def query(self, name: str, arguments: dict[str, Any], now: float) -> Operation:
        """One query; its result is the value."""
        wait_ms = arguments.get("wait_ms")
        wait_s = wait_ms / 1000 if isinstance(wait_ms, int) else 0.0
        timeout_s = self.settings.timeout_s + wait_s
        attempt_s = self.settings.attempt_timeout_s + wait_s
        operation = self._operation(
            m.QUERY,
            pack(arguments),
            now,
            timeout_s=timeout_s,
            attempt_s=timeout_s if name in SLOW_QUERIES else attempt_s,
        )
        operation.name = name
        operation.ref = self.next_ref()
        operation.frame = framed(m.QUERY, operation.ref, name, packed=operation.payload)
        self._waiting.queries[operation.ref] = operation
        self._waiting.asks.append(operation)
        self._flush(now)
        return operation

    def abandon(self, operation: Operation) -> None:
        """The caller no longer waits. What was sent may still take effect."""
        if operation.is_done:
            return
        is_doubtful = operation.is_sent or operation.may_have_applied
        self._finish(operation)
        self.finished.remove(operation)
        if is_doubtful and operation.kind == m.REQUEST:
            self._keep_doubt(operation.request_seq, is_unknown=True)

    def end(self, now: float) -> None:
        """End everything: no more answers are waited for."""
        for operation in self._waiting.all():
            self._expire(operation, "the client was closed")
        if self.is_connected:
            self.hang_up("the client was closed", now)

    # -- how a call goes --------------------------------------------------------------------

    def _operation(
        self,
        kind: int,
        payload: bytes,
        now: float,
        *,
        timeout_s: float | None = None,
        attempt_s: float | None = None,
    ) -> Operation:
        deadline = now + (self.settings.timeout_s if timeout_s is None else timeout_s)
        operation = Operation(
            kind,
            payload,
            started=now,
            deadline=min(deadline, self._ends_at),
            attempt_s=self.settings.attempt_timeout_s if attempt_s is None else attempt_s,
        )
        self._wake_by(operation.deadline)
        return operation

    def _expire(self, operation: Operation, why: str) -> None:
        """End an operation without a result, by what is known of it."""
        was_heard = self.is_ready or self.answered_at >= operation.started
        why = why if why and was_heard else self._why_waiting()
        self._finish(operation, error=without_result(operation, why=why, was_heard=was_heard))

    def _finish(
        self, operation: Operation, *, result: Any = None, error: RaftbookError | None = None
    ) -> None:
        self._waiting.remove(operation)
        if operation.kind == m.REQUEST:
            self._keep_doubt(operation.request_seq, is_unknown=isinstance(error, OutcomeUnknown))
        operation.is_done = True
        operation.result = result
        operation.error = error
        self.finished.append(operation)

    def _keep_doubt(self, request_seq: int, *, is_unknown: bool) -> None:
        """Remember whose outcome is unknown: what is said of them later must not forget it."""
        if not is_unknown:
            self._in_doubt.discard(request_seq)
            return
        self._in_doubt.add(request_seq)
        if len(self._in_doubt) > IN_DOUBT_MAX:
            self._in_doubt.remove(min(self._in_doubt))

    # -- hooks --------------------------------------------------------------------------------

    def _has_reason_to_talk(self) -> bool:
        return not self._waiting.is_empty

    def _flush(self, now: float) -> None:
        """Send what may be sent now."""
        raise NotImplementedError

    def _why_waiting(self) -> str:
        """What is being waited for, and is taking too long."""
        return f"node {self.node_id} did not answer in time" if self.is_ready else self.troubles()


def framed(kind: int, first: int, second: int | str, *, packed: bytes) -> bytes:
    """A message of three fields, the last of which is packed already.

    The other three values make an array of their own, which is given another head.
    """
    return frame(_FOUR + pack((kind, first, second))[1:] + packed)

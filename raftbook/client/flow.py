"""Requests and queries of one client, without sockets and without a clock.

Owns exactly-once on the client's side: a request gets its (session, request_seq) when it is first
sent and keeps it for ever; whatever happens to connections, it is sent again under that name or not
at all. Both clients run this class; `conversation.py` says how.

    what is known of a request           what happens
    never sent, or refused before the    sent again freely; NotAccepted at its deadline
    log (900, 901, 904)                  (NoNodeReachable if no node ever answered)
    sent, and the connection was lost;   sent again as it was, to the next node;
    or 902 OUTCOME_UNKNOWN               OutcomeUnknown at its deadline
    UNKNOWN_SESSION at the first try     sent in a new session: the log says it had no effect
    UNKNOWN_SESSION later, STALE_REQUEST OutcomeUnknown: the reply may have been forgotten
    REPLY                                done
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from raftbook.client.conversation import (
    NEVER,
    Conversation,
    Settings,
    free_to_resend,
    is_transient,
)
from raftbook.client.operation import Operation, Operations
from raftbook.client.rejects import Refused, explain_reject
from raftbook.client.session import IN_FLIGHT_MAX, SessionNumbers
from raftbook.client.values import RequestReply
from raftbook.core.commands import Command
from raftbook.core.events import CANCEL_REJECTED, REJECTED
from raftbook.core.types import Reject
from raftbook.errors import (
    NoNodeReachable,
    NotAccepted,
    OutcomeUnknown,
    ProtocolError,
    RaftbookError,
)
from raftbook.wire import client_messages as m
from raftbook.wire.framing import frame
from raftbook.wire.packing import pack, pack_array

LEAVE_GRACE_S: Final = 0.05
"""A node that has no leader is left once it has answered everything, at the latest after this."""

SLOW_QUERIES: Final = frozenset(("snapshot", "transfer", "add", "remove"))
"""They work for longer than one attempt; no other node is asked before the deadline."""

ONCE_QUERIES: Final = frozenset(("transfer", "add", "remove"))
"""Asking twice would do it twice."""

IN_DOUBT_MAX: Final = 4096
"""Unknown outcomes that are remembered; a session remembers fewer replies."""

_REJECTIONS: Final = (REJECTED, CANCEL_REJECTED)


class Flow(Conversation):
    """All calls of one client and the one connection that serves them.

    Attributes:
        finished: operations that got their outcome since the reader last emptied it.
    """

    def __init__(self, settings: Settings, *, is_own_key: bool = False) -> None:
        """`is_own_key`: nobody else can have used the session key before."""
        super().__init__(settings)
        self.finished: list[Operation] = []
        self._session = SessionNumbers(is_own_key=is_own_key)
        self._open_ref = 0  # the OPEN under way
        self._open_until = NEVER
        self._open_at = -NEVER  # not before: the last OPEN was refused
        self._open_failures = 0
        self._is_open = False  # on this connection
        self._waiting = Operations()
        self._in_doubt: set[int] = set()  # numbers of requests whose outcome is unknown
        self._leave_at: float | None = None  # leaving this node, at the latest then
        self._leave_why = ""

    @property
    def session_id(self) -> int:
        """The session's id; 0 before it was opened."""
        return self._session.session_id

    @property
    def may_forget_session(self) -> bool:
        """Whether closing the session would take no reply from anybody who may still ask."""
        is_idle = self._waiting.is_empty and not self._in_doubt
        return self.is_ready and is_idle and bool(self.session_id)

    # -- calls --------------------------------------------------------------------------------

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
        timeout_s: float | None = None,
    ) -> Operation:
        """One request; its result is a RequestReply.

        Args:
            request_seq: of an earlier request with an unknown outcome, which this one repeats.

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
            operation.may_have_applied = request_seq in self._in_doubt
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
        operation.frame = _frame_of(m.QUERY, operation.ref, name, packed=operation.payload)
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
            self.hang_up(now)

    def _operation(
        self,
        kind: int,
        payload: bytes,
        now: float,
        *,
        timeout_s: float | None = None,
        attempt_s: float | None = None,
    ) -> Operation:
        operation = Operation(
            kind,
            payload,
            started=now,
            deadline=now + (self.settings.timeout_s if timeout_s is None else timeout_s),
            attempt_s=self.settings.attempt_timeout_s if attempt_s is None else attempt_s,
        )
        self._wake_by(operation.deadline)
        return operation

    # -- sending ------------------------------------------------------------------------------

    def _flush(self, now: float) -> None:
        """Send what may be sent now, in order."""
        if not self.is_ready or self._leave_at is not None:
            return
        waiting, session = self._waiting, self._session
        while waiting.asks:
            self._transmit(waiting.asks.popleft(), now)
        if not (waiting.again or waiting.fresh):
            return
        if not self._is_open:
            self._open(now)
            return
        while waiting.again:
            operation = waiting.again.popleft()
            if not operation.session_id:
                self._name_explicit(operation)
            if not operation.is_done:
                self._transmit(operation, now)
        while waiting.fresh:
            request_seq = session.next_seq
            if request_seq - waiting.oldest_seq(request_seq) >= IN_FLIGHT_MAX:
                return
            operation = waiting.fresh.popleft()
            session.used(request_seq)
            self._name(operation, request_seq)
            waiting.named[request_seq] = operation
            self._transmit(operation, now)

    def _name_explicit(self, operation: Operation) -> None:
        """Give a repeated request its session, unless the session it was made in is gone."""
        if operation.request_seq > self._session.lost_seq_max:
            self._name(operation, operation.request_seq)
        else:
            operation.may_have_applied = True
            self._expire(operation, "the session it was made in is gone, and with it the reply")

    def _name(self, operation: Operation, request_seq: int) -> None:
        operation.session_id = self.session_id
        operation.request_seq = request_seq
        operation.frame = _frame_of(
            m.REQUEST, self.session_id, request_seq, packed=operation.payload
        )

    def _transmit(self, operation: Operation, now: float) -> None:
        operation.is_sent = True
        operation.attempts += 1
        operation.attempt_until = now + operation.attempt_s
        self._wake_by(operation.attempt_until)
        self.send_frame(operation.frame)

    def _open(self, now: float) -> None:
        """Open the session, or find it again; harmless to repeat, since it has a key."""
        if self._open_ref:
            return
        if now < self._open_at:
            self._wake_by(self._open_at)
            return
        self._open_ref = self.next_ref()
        self._open_until = now + self.settings.attempt_timeout_s
        self._wake_by(self._open_until)
        self.send((m.OPEN, self._open_ref, self.settings.session_key))

    # -- answers ------------------------------------------------------------------------------

    def _on_ready(self, now: float) -> None:
        for operation in list(self._waiting.connects):
            self._finish(operation, result=self.node_id)
        self._flush(now)

    def _on_message(self, message: tuple[Any, ...], now: float) -> None:
        kind = message[0]
        if kind == m.REPLY:
            self._on_reply(message, now)
        elif kind == m.REFUSED:
            self._on_refused(message, now)
        elif kind == m.RESULT and message[1] == self._open_ref and self._open_ref:
            self._on_opened(message[2], now)
        elif kind == m.FAILURE and message[1] == self._open_ref and self._open_ref:
            self._on_open_failed(message[2], message[3], now)
        elif kind == m.RESULT:
            operation = self._waiting.queries.get(message[1])
            if operation is not None and operation.is_sent:
                if not (self._waiting.named or self._waiting.explicit):
                    self.dialer.succeeded()
                self._finish(operation, result=message[2])
        elif kind == m.FAILURE:
            self._on_query_failed(message, now)
        else:
            raise ProtocolError(f"message kind {kind} was not asked for")

    def _after_received(self, now: float) -> None:
        self._leave_if_answered(now)
        self._flush(now)

    def _on_reply(self, message: tuple[Any, ...], now: float) -> None:
        _, session_id, request_seq, index, term, time_ns, offset, events, poss_dup, leader = message
        operation = self._waiting.request_sent(session_id, request_seq)
        if operation is None:
            return
        self.dialer.succeeded()
        first = events[0] if events else ()
        if type(first) is tuple and len(first) > 2 and first[0] in _REJECTIONS:
            if first[2] in (Reject.UNKNOWN_SESSION, Reject.STALE_REQUEST):
                self._on_forgotten(operation, first[2])
                return
        reply = RequestReply(
            session_id,
            request_seq,
            index,
            term,
            time_ns,
            offset,
            events,
            bool(poss_dup),
            leader,
            self.node_id,
            (now - operation.started) * 1000,
        )
        self._finish(operation, result=reply)

    def _on_forgotten(self, operation: Operation, code: int) -> None:
        """The session, or its memory of this request, is gone."""
        is_certain = not (
            code != Reject.UNKNOWN_SESSION or operation.is_explicit or operation.may_have_applied
        )
        if code == Reject.UNKNOWN_SESSION and operation.session_id == self.session_id:
            self._is_open = False  # the next flush opens a new one
        if is_certain:
            # The log itself has said that this had no effect, so it may have a new name.
            self._waiting.unname(operation)
        else:
            operation.may_have_applied = True
            self._expire(operation, explain_reject(code))

    def _on_refused(self, message: tuple[Any, ...], now: float) -> None:
        _, session_id, request_seq, code, reason = message
        operation = self._waiting.request_sent(session_id, request_seq)
        if operation is None:
            return
        operation.is_sent = False
        operation.trouble = reason or explain_reject(code)
        if not free_to_resend(code) and is_transient(code):
            operation.may_have_applied = True
        if is_transient(code):
            self._put_off(operation, code, now)
        elif operation.may_have_applied:
            self._expire(operation, operation.trouble)
        else:
            self._finish(operation, error=Refused(code, reason, doing="the request was refused"))

    def _put_off(self, operation: Operation, code: int, now: float) -> None:
        """Send it again: to this node in a moment if it is busy, else to another one."""
        line = f"node {self.node_id}: {operation.trouble}; trying again"
        if line not in self.progress[-1:]:
            self.progress.append(line)
        operation.attempt_until = NEVER
        operation.resend_at = now + self.settings.backoff(operation.attempts)
        self._wake_by(operation.resend_at)
        is_patient = code == Reject.OVERLOADED or (
            code == Reject.TOO_STALE and operation.attempts == 1
        )
        if not is_patient:
            self._leave(operation.trouble, now)

    def _on_opened(self, value: Any, now: float) -> None:
        if not (type(value) is tuple and len(value) == 2 and all(type(v) is int for v in value)):
            raise ProtocolError(f"OPEN was answered by {value!r:.60}")
        self._open_ref, self._open_until, self._open_failures, self._is_open = 0, NEVER, 0, True
        if self._session.opened(*value):
            self._on_session_replaced()

    def _on_session_replaced(self) -> None:
        """The session was evicted, and its replies are gone with it."""
        for operation in [*self._waiting.named.values(), *self._waiting.explicit.values()]:
            if operation.is_sent:
                continue  # the log will answer it
            if operation.may_have_applied or operation.is_explicit:
                operation.may_have_applied = True
                self._expire(operation, explain_reject(Reject.UNKNOWN_SESSION))
            else:
                self._waiting.unname(operation)

    def _on_open_failed(self, code: int, reason: str, now: float) -> None:
        self._open_ref, self._open_until = 0, NEVER
        why = reason or explain_reject(code)
        if is_transient(code):
            self._open_failures += 1
            self._open_at = now + self.settings.backoff(self._open_failures)
            for operation in [*self._waiting.fresh, *self._waiting.again]:
                operation.trouble = why
            self._leave(why, now)
            return
        error = Refused(code, reason, doing="the session could not be opened")
        for operation in [*self._waiting.fresh, *self._waiting.again]:
            self._give_up(operation, error)

    def _on_query_failed(self, message: tuple[Any, ...], now: float) -> None:
        _, ref, code, reason = message
        operation = self._waiting.queries.get(ref)
        if operation is None or not operation.is_sent:
            return
        operation.is_sent = False
        operation.trouble = reason or explain_reject(code)
        is_once = operation.name in ONCE_QUERIES
        if is_transient(code) and (free_to_resend(code) or not is_once):
            self._put_off(operation, code, now)
        elif is_transient(code):
            self._finish(operation, error=OutcomeUnknown(f"{operation.name}: {operation.trouble}"))
        else:
            self._finish(operation, error=Refused(code, reason, doing=operation.name))

    # -- leaving and losing a node ------------------------------------------------------------

    def _leave(self, why: str, now: float) -> None:
        """Turn to another node, once this one has answered what it still has."""
        if not self.dialer.is_alone and self._leave_at is None and self.is_ready:
            self._leave_at = now + LEAVE_GRACE_S
            self._leave_why = why
            self._wake_by(self._leave_at)

    def _leave_if_answered(self, now: float) -> None:
        if self._leave_at is None or not self.is_connected:
            return
        if now >= self._leave_at or not any(operation.is_sent for operation in self._waiting.all()):
            self.drop(self._leave_why, now)

    def _on_dropped(self, now: float) -> None:
        self._is_open = False
        self._open_ref, self._open_until, self._open_at = 0, NEVER, -NEVER
        self._leave_at = None
        for operation in list(self._waiting.queries.values()):
            if operation.is_sent and operation.name in ONCE_QUERIES:
                why = f"{operation.name}: the connection was lost; it may have been done"
                self._finish(operation, error=OutcomeUnknown(why))
        self._waiting.connection_lost()

    def _on_login_refused(self, error: Refused, now: float) -> None:
        for operation in self._waiting.all():
            self._give_up(operation, error)

    def _give_up(self, operation: Operation, error: Refused) -> None:
        if operation.may_have_applied and operation.kind == m.REQUEST:
            self._expire(operation, str(error))
        else:
            self._finish(operation, error=error)

    # -- time ---------------------------------------------------------------------------------

    def _on_wake(self, now: float) -> None:
        for operation in self._waiting.all():
            if operation.deadline <= now:
                self._expire(operation, operation.trouble)
            elif operation.resend_at <= now:
                self._resume(operation)
        self._leave_if_answered(now)
        if self.is_connected:
            self._watch_attempts(now)
        self._flush(now)
        for operation in self._waiting.all():
            due = min(operation.deadline, operation.resend_at)
            self._wake_by(min(due, operation.attempt_until) if operation.is_sent else due)
        self._wake_by(self._open_until if self._leave_at is None else self._leave_at)

    def _resume(self, operation: Operation) -> None:
        operation.resend_at = NEVER
        waiting = self._waiting
        (waiting.asks if operation.kind == m.QUERY else waiting.again).append(operation)

    def _watch_attempts(self, now: float) -> None:
        is_late = now >= self._open_until or any(
            operation.is_sent and operation.attempt_until <= now
            for operation in self._waiting.all()
        )
        if is_late:
            self.drop(f"no answer within {self.settings.attempt_timeout_s:g} s", now)

    def _expire(self, operation: Operation, why: str) -> None:
        """End an operation without a result, by what is known of it."""
        why = why or self._why_waiting()
        error: RaftbookError
        if operation.kind == m.REQUEST and (operation.is_sent or operation.may_have_applied):
            seq = operation.request_seq
            error = OutcomeUnknown(f"request {seq} may have taken effect: {why}", request_seq=seq)
        elif operation.is_sent and operation.name in ONCE_QUERIES:
            error = OutcomeUnknown(f"{operation.name} may have been done: {why}")
        elif not self.is_ready and self.ever_welcomed_at < operation.started:
            error = NoNodeReachable(f"no node answered: {self.dialer.describe()}")
        else:
            error = NotAccepted(f"nothing happened: {why}")
        self._finish(operation, error=error)

    def _why_waiting(self) -> str:
        if self.is_ready:
            return f"node {self.node_id} did not answer in time"
        return self.dialer.describe()

    # -- bookkeeping --------------------------------------------------------------------------

    def _has_reason_to_talk(self) -> bool:
        return not self._waiting.is_empty

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


def _frame_of(kind: int, first: int, second: int | str, *, packed: bytes) -> bytes:
    """A message of three fields, the last of which is packed already."""
    return frame(pack_array((pack(kind), pack(first), pack(second), packed)))

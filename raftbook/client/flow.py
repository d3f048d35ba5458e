"""What a client sends when, and what the answers mean; without sockets and without a clock.

Owns exactly-once on the client's side: a request gets its (session, request_seq) when it is first
sent and keeps it for ever; whatever happens to connections, it is sent again under that name or not
at all. Both clients run this class; `conversation.py` says how.

    what is known of a request           what happens
    never sent, or refused before the    sent again freely; NotAccepted at its deadline
    log (900, 901, 904)                  (NoNodeReachable if no node answered since it began)
    sent, and the connection was lost;   sent again as it was, to the next node;
    or 902 OUTCOME_UNKNOWN               OutcomeUnknown at its deadline
    UNKNOWN_SESSION at the first try     sent in a new session: the log says it had no effect
    UNKNOWN_SESSION later, STALE_REQUEST OutcomeUnknown: the reply may have been forgotten
    REPLY, after its pages if it is long done

The words and types of those errors are `verdicts.py`'s, the session's OPEN `opening.py`'s.
"""

from __future__ import annotations

from itertools import chain
from typing import Any, Final

from raftbook.client.calls import Calls, framed
from raftbook.client.conversation import free_to_resend, is_transient
from raftbook.client.opening import SessionOpening
from raftbook.client.operation import Operation
from raftbook.client.rejects import Refused, explain_reject
from raftbook.client.session import IN_FLIGHT_MAX
from raftbook.client.settings import NEVER, Settings
from raftbook.client.values import RequestReply
from raftbook.client.verdicts import ONCE_QUERIES
from raftbook.core.events import CANCEL_REJECTED, REJECTED
from raftbook.core.types import Reject
from raftbook.errors import OutcomeUnknown, ProtocolError
from raftbook.wire import client_messages as m

LEAVE_GRACE_S: Final = 0.05
"""A node that has no leader is left once it has answered everything, at the latest after this."""

_REJECTIONS: Final = (REJECTED, CANCEL_REJECTED)


class Flow(Calls):
    """All calls of one client and the one connection that serves them."""

    def __init__(
        self, settings: Settings, *, is_own_key: bool = False, ends_at: float = NEVER
    ) -> None:
        """One client's calls.

        Args:
            is_own_key: nobody else can have used the session key before.
            ends_at: no call lasts longer than this, whatever settings.timeout_s would give it.
        """
        super().__init__(settings, is_own_key=is_own_key, ends_at=ends_at)
        self._opening = SessionOpening(settings)
        self._leave_at: float | None = None  # leaving this node, at the latest then
        self._leave_why = ""

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
        if not self._opening.is_open:
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
            self._lose(operation, "the session it was made in is gone, and with it the reply")

    def _name(self, operation: Operation, request_seq: int) -> None:
        operation.session_id = self.session_id
        operation.request_seq = request_seq
        operation.frame = framed(m.REQUEST, self.session_id, request_seq, packed=operation.payload)

    def _transmit(self, operation: Operation, now: float) -> None:
        operation.is_sent = True
        operation.attempts += 1
        operation.attempt_until = now + operation.attempt_s
        self._wake_by(operation.attempt_until)
        self._session.sent(operation.request_seq)
        self.send_frame(operation.frame)

    def _open(self, now: float) -> None:
        """Open the session, or find it again."""
        opening = self._opening
        if opening.is_under_way:
            return
        if now < opening.not_before:
            self._wake_by(opening.not_before)
            return
        self.send(opening.begin(self.next_ref(), now))
        self._wake_by(opening.answer_due)

    # -- answers ------------------------------------------------------------------------------

    def _on_ready(self, now: float) -> None:
        for operation in list(self._waiting.connects):
            self._finish(operation, result=self.node_id)
        self._flush(now)

    def _on_message(self, message: tuple[Any, ...], now: float) -> None:
        kind = message[0]
        if kind == m.REPLY:
            self._on_reply(message, now)
        elif kind == m.REPLY_PAGE:
            self._on_reply_page(message, now)
        elif kind == m.REFUSED:
            self._on_refused(message, now)
        elif kind == m.RESULT and self._opening.is_answer(message):
            if self._session.opened(*self._opening.opened(message[2])):
                self._on_session_replaced()
        elif kind == m.FAILURE and self._opening.is_answer(message):
            self._on_open_failed(message[2], message[3], now)
        elif kind == m.RESULT:
            operation = self._waiting.queries.get(message[1])
            if operation is not None and operation.is_sent:
                if not (self._waiting.named or self._waiting.explicit):
                    self.ring.succeeded()
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
        self.ring.succeeded()
        if operation.pages:
            events = tuple(chain.from_iterable((*operation.pages, events)))
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

    def _on_reply_page(self, message: tuple[Any, ...], now: float) -> None:
        """A part of a long reply; the rest follows on this connection or all of it on another."""
        _, session_id, request_seq, events = message
        operation = self._waiting.request_sent(session_id, request_seq)
        if operation is not None:
            operation.pages.append(events)
            operation.attempt_until = now + operation.attempt_s

    def _on_forgotten(self, operation: Operation, code: int) -> None:
        """The session, or its memory of this request, is gone."""
        is_certain = not (
            code != Reject.UNKNOWN_SESSION or operation.is_explicit or operation.may_have_applied
        )
        if code == Reject.UNKNOWN_SESSION and operation.session_id == self.session_id:
            self._opening.is_open = False  # the next flush opens a new one
        if is_certain:
            # The log itself has said that this had no effect, so it may have a new name.
            self._waiting.unname(operation)
        else:
            self._lose(operation, explain_reject(code))

    def _lose(self, operation: Operation, why: str) -> None:
        """Nobody can say any more what became of a request."""
        operation.may_have_applied = True
        operation.doubt = why
        self._expire(operation, why)

    def _on_refused(self, message: tuple[Any, ...], now: float) -> None:
        _, session_id, request_seq, code, reason = message
        operation = self._waiting.request_sent(session_id, request_seq)
        if operation is None:
            return
        operation.is_sent = False
        operation.trouble = reason or explain_reject(code)
        operation.pages.clear()
        if not free_to_resend(code) and is_transient(code):
            operation.may_have_applied = True
            operation.doubt = f"node {self.node_id}: {operation.trouble}"
        if is_transient(code):
            self._put_off(operation, code, now)
        else:
            self._give_up(operation, Refused(code, reason, doing="the request was refused"))

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

    def _on_session_replaced(self) -> None:
        """The session was evicted, and its replies are gone with it."""
        for operation in [*self._waiting.named.values(), *self._waiting.explicit.values()]:
            if operation.is_sent:
                continue  # the log will answer it
            if operation.may_have_applied or operation.is_explicit:
                self._lose(operation, explain_reject(Reject.UNKNOWN_SESSION))
            else:
                self._waiting.unname(operation)

    def _on_open_failed(self, code: int, reason: str, now: float) -> None:
        self._opening.refused(now)
        why = reason or explain_reject(code)
        if is_transient(code):
            for operation in [*self._waiting.fresh, *self._waiting.again]:
                operation.trouble = f"node {self.node_id} could not open a session: {why}"
            self._leave(f"could not open a session: {why}", now)
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
        self._ask_members_soon(now)
        if not self.ring.is_alone and self._leave_at is None and self.is_ready:
            self._leave_at = now + LEAVE_GRACE_S
            self._leave_why = why
            self._wake_by(self._leave_at)

    def _leave_if_answered(self, now: float) -> None:
        if self._leave_at is None or not self.is_connected:
            return
        if now >= self._leave_at or not any(operation.is_sent for operation in self._waiting.all()):
            self.drop(self._leave_why, now)

    def _on_dropped(self, why: str, now: float) -> None:
        self._opening.forget()
        self._leave_at = None
        for operation in list(self._waiting.queries.values()):
            if operation.is_sent and operation.name in ONCE_QUERIES:
                self._expire(operation, why)
        self._waiting.connection_lost(why)

    def _on_all_refused(self, now: float) -> None:
        for operation in self._waiting.all():
            self._expire(operation, operation.trouble)

    def _on_login_refused(self, error: Refused, now: float) -> None:
        for operation in self._waiting.all():
            self._give_up(operation, error)

    def _give_up(self, operation: Operation, error: Refused) -> None:
        """What is refused for good says nothing of an earlier attempt."""
        is_doubtful = operation.may_have_applied or operation.is_repeat
        if is_doubtful and operation.kind == m.REQUEST:
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
        self._wake_by(self._opening.answer_due if self._leave_at is None else self._leave_at)

    def _resume(self, operation: Operation) -> None:
        operation.resend_at = NEVER
        waiting = self._waiting
        (waiting.asks if operation.kind == m.QUERY else waiting.again).append(operation)

    def _watch_attempts(self, now: float) -> None:
        is_late = now >= self._opening.answer_due or any(
            operation.is_sent and operation.attempt_until <= now
            for operation in self._waiting.all()
        )
        if is_late:
            self.drop(f"no answer within {self.settings.attempt_timeout_s:g} s", now)

    def _why_waiting(self) -> str:
        if self.is_ready and self._opening.is_under_way:
            return f"node {self.node_id} did not open a session in time"
        return super()._why_waiting()

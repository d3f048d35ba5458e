"""Requests on their way into the log: gathered, forwarded, answered or given up by a deadline.

Owns every unanswered request of this node's clients. A request is proposed here if this node leads,
else forwarded to the leader; when the leader changes it goes out again, in order, which is harmless
because the exchange applies a (session_id, request_seq) once. Its waiter hears exactly one thing:
the reply, or a refusal that says whether it may have taken effect (F14).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Protocol

from raftbook.core.events import Reply
from raftbook.core.types import Reject
from raftbook.replica.machine import Applied

RequestKey = tuple[int, int]

WAITERS_MAX: Final = 8
"""Connections that may wait for one request: a client that failed over has two or three."""

FORWARD_BYTES_MAX: Final = 1 << 20
"""Requests gathered in one message to the leader."""


class Waiter(Protocol):
    """Who waits for an answer; called between the journal's sync and the next turn."""

    def replied(self, reply: Reply, applied: Applied) -> None:
        """The request took effect at `applied.index`, or had before (poss_dup)."""

    def refused(self, session_id: int, request_seq: int, code: Reject, message: str) -> None:
        """It is not known to have taken effect; only OUTCOME_UNKNOWN says it may have."""


@dataclass(slots=True)
class _Pending:
    raw: bytes
    deadline: float
    waiters: list[Waiter]
    left_node: bool = False


@dataclass(slots=True)
class Refusal:
    """An answer that is no reply."""

    waiters: list[Waiter]
    key: RequestKey
    code: Reject
    message: str


@dataclass(slots=True)
class Proposer:
    """Unanswered requests, eldest first; at most `pending_max`."""

    pending_max: int
    deadline_s: float
    _pending: dict[RequestKey, _Pending] = field(default_factory=dict)
    _queue: list[RequestKey] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self._pending)

    def submit(self, key: RequestKey, raw: bytes, waiter: Waiter, now: float) -> Refusal | None:
        """Take a packed request; the refusal if there is no room for it."""
        known = self._pending.get(key)
        if known is not None:
            if all(waiter is not other for other in known.waiters):  # a repeated frame waits once
                if len(known.waiters) >= WAITERS_MAX:
                    message = f"{WAITERS_MAX} connections wait for this request already"
                    return Refusal([waiter], key, Reject.OVERLOADED, message)
                known.waiters.append(waiter)
            return None
        if len(self._pending) >= self.pending_max:
            message = f"{self.pending_max} requests wait already; try again later"
            return Refusal([waiter], key, Reject.OVERLOADED, message)
        self._pending[key] = _Pending(raw, now + self.deadline_s, [waiter])
        self._queue.append(key)
        return None

    def has_queued(self) -> bool:
        """Whether `take` has anything to give."""
        return bool(self._queue)

    def take(self) -> Iterator[bytes]:
        """Everything that is to leave now, in order."""
        queue, self._queue = self._queue, []
        for key in queue:
            pending = self._pending.get(key)
            if pending is not None:
                pending.left_node = True
                yield pending.raw

    def resend_all(self) -> None:
        """The way to the log has changed: let every unanswered request leave again, in order."""
        self._queue = list(self._pending)

    def answered(self, key: RequestKey) -> list[Waiter]:
        """Who waits for this request; it is done."""
        pending = self._pending.pop(key, None)
        return [] if pending is None else pending.waiters

    def expire(self, now: float) -> list[Refusal]:
        """Give up what waited too long. All deadlines are equally long, so eldest is first."""
        refusals: list[Refusal] = []
        for key, pending in self._pending.items():
            if pending.deadline > now:
                break
            refusals.append(_give_up(key, pending))
        for refusal in refusals:
            del self._pending[refusal.key]
        return refusals

    def give_up_all(self) -> list[Refusal]:
        """Give up everything: this node will answer nothing any more."""
        refusals = [_give_up(key, pending) for key, pending in self._pending.items()]
        self._pending.clear()
        self._queue.clear()
        return refusals


def _give_up(key: RequestKey, pending: _Pending) -> Refusal:
    if pending.left_node:
        message = "no commit in time; it may still take effect"
        return Refusal(pending.waiters, key, Reject.OUTCOME_UNKNOWN, message)
    message = "no leader is known; nothing was sent"
    return Refusal(pending.waiters, key, Reject.NO_LEADER, message)

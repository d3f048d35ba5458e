"""Requests on their way into the log: gathered, forwarded, answered or given up by a deadline.

Owns every unanswered request of this node's clients, and what its peers forwarded while it leads;
both bounded in number and bytes. A request is proposed here if this node leads, else forwarded to
the leader; when the leader changes it goes out again, in order, which is harmless because the
exchange applies a (session_id, request_seq) once. Its waiter hears exactly one thing: the reply, or
a refusal that says whether it may have taken effect (F14).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from raftbook.core.events import CANCEL_REJECTED, REJECTED, Reply
from raftbook.core.types import Reject
from raftbook.replica.machine import Applied

RequestKey = tuple[int, int]

WAITERS_MAX: Final = 8
"""Connections that may wait for one request: a client that failed over has two or three."""

FORWARD_BYTES_MAX: Final = 1 << 20
"""Requests gathered in one message to the leader."""

TURN_BYTES_MAX: Final = 1 << 20
TURN_REQUESTS_MAX: Final = 16_384
"""Requests that leave in one turn, so that a turn is short however much waits."""


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
    """Unanswered requests, eldest first; at most `pending_max` of `bytes_max` bytes in all.

    Attributes:
        on_unsent: called with the bytes of each request that ended before it could leave.
    """

    pending_max: int
    deadline_s: float
    bytes_max: int
    on_unsent: Callable[[bytes], None] = lambda raw: None
    _pending: dict[RequestKey, _Pending] = field(default_factory=dict)
    _queue: deque[RequestKey] = field(default_factory=deque)
    _bytes: int = 0

    def __len__(self) -> int:
        return len(self._pending)

    def __contains__(self, key: RequestKey) -> bool:
        return key in self._pending

    @property
    def waiting_bytes(self) -> int:
        """The size of all that wait."""
        return self._bytes

    def submit(self, key: RequestKey, raw: bytes, waiter: Waiter, now: float) -> Refusal | None:
        """Take a packed request; the refusal if there is no room for it.

        OVERLOADED promises that it will have no effect, so that is never said of a request that
        waits here already.
        """
        known = self._pending.get(key)
        if known is not None:
            if all(waiter is not other for other in known.waiters):  # a repeated frame waits once
                if len(known.waiters) >= WAITERS_MAX:
                    message = f"{WAITERS_MAX} connections wait for this request already"
                    return Refusal([waiter], key, Reject.OUTCOME_UNKNOWN, message)
                known.waiters.append(waiter)
            return None
        if len(self._pending) >= self.pending_max:
            message = f"{self.pending_max} requests wait already; try again later"
            return Refusal([waiter], key, Reject.OVERLOADED, message)
        if self._bytes + len(raw) > self.bytes_max:
            message = f"requests of {self._bytes} bytes wait already; try again later"
            return Refusal([waiter], key, Reject.OVERLOADED, message)
        self._bytes += len(raw)
        self._pending[key] = _Pending(raw, now + self.deadline_s, [waiter])
        self._queue.append(key)
        return None

    def has_queued(self) -> bool:
        """Whether `take` has anything to give."""
        return bool(self._queue)

    def take(self) -> list[bytes]:
        """What is to leave in this turn, in order; see TURN_BYTES_MAX."""
        queue, pending = self._queue, self._pending
        taken: list[bytes] = []
        size = 0
        while queue and size < TURN_BYTES_MAX and len(taken) < TURN_REQUESTS_MAX:
            request = pending.get(queue.popleft())
            if request is not None:
                request.left_node = True
                size += len(request.raw)
                taken.append(request.raw)
        return taken

    def resend_all(self) -> None:
        """The way to the log has changed: let every unanswered request leave again, in order."""
        self._queue = deque(self._pending)

    def left(self) -> frozenset[RequestKey]:
        """The unanswered requests that left this node, and may be in the log."""
        return frozenset(key for key, pending in self._pending.items() if pending.left_node)

    def answered(self, key: RequestKey) -> list[Waiter]:
        """Who waits for this request; it is done."""
        if key not in self._pending:
            return []
        return self._end(key).waiters

    def expire(self, now: float) -> list[Refusal]:
        """Give up what waited too long. All deadlines are equally long, so eldest is first."""
        refusals: list[Refusal] = []
        for key, pending in self._pending.items():
            if pending.deadline > now:
                break
            refusals.append(_give_up(key, pending))
        for refusal in refusals:
            self._end(refusal.key)
        queue = self._queue
        while queue and queue[0] not in self._pending:  # nobody takes it without a leader
            queue.popleft()
        return refusals

    def give_up_all(self) -> list[Refusal]:
        """Give up everything: this node will answer nothing any more."""
        refusals = [_give_up(key, pending) for key, pending in self._pending.items()]
        self._pending.clear()
        self._queue.clear()
        self._bytes = 0
        return refusals

    def _end(self, key: RequestKey) -> _Pending:
        pending = self._pending.pop(key)
        self._bytes -= len(pending.raw)
        if not pending.left_node:
            self.on_unsent(pending.raw)
        return pending


@dataclass(slots=True)
class Forwarded:
    """Requests that peers forwarded to this node, until it proposes them.

    Bounded for each peer as the peer's own Proposer is, so that a peer that keeps to its bounds
    loses nothing; what is over them is dropped, and its senders ask again by their deadlines.
    """

    pending_max: int
    bytes_max: int
    _by_peer: dict[int, deque[bytes]] = field(default_factory=dict)
    _bytes: dict[int, int] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return any(self._by_peer.values())

    def __len__(self) -> int:
        return sum(map(len, self._by_peer.values()))

    def add(self, peer_id: int, requests: Sequence[bytes]) -> bool:
        """Keep what one message brought, or nothing of it: False if there is no room."""
        queue = self._by_peer.setdefault(peer_id, deque())
        size = self._bytes.get(peer_id, 0) + sum(map(len, requests))
        if len(queue) + len(requests) > self.pending_max or size > self.bytes_max:
            return False
        queue += requests
        self._bytes[peer_id] = size
        return True

    def take(self) -> list[bytes]:
        """What is proposed in this turn, each peer's in order; see TURN_BYTES_MAX."""
        taken: list[bytes] = []
        for peer_id in sorted(self._by_peer):
            queue = self._by_peer[peer_id]
            size = count = 0
            while queue and size < TURN_BYTES_MAX and count < TURN_REQUESTS_MAX:
                raw = queue.popleft()
                size += len(raw)
                count += 1
                taken.append(raw)
            self._bytes[peer_id] -= size
        return taken

    def clear(self) -> None:
        """This node does not lead: whoever sent them sends them again to who does."""
        self._by_peer.clear()
        self._bytes.clear()


def _give_up(key: RequestKey, pending: _Pending) -> Refusal:
    if pending.left_node:
        message = "no commit in time"
        return Refusal(pending.waiters, key, Reject.OUTCOME_UNKNOWN, message)
    message = "no leader is known"
    return Refusal(pending.waiters, key, Reject.NO_LEADER, message)


def names_no_session(reply: Reply) -> bool:
    """Whether the log knew no session of the request's when it answered."""
    events = reply[4]
    is_refused = bool(events) and events[0][0] in (REJECTED, CANCEL_REJECTED)
    return is_refused and bool(events[0][2] == Reject.UNKNOWN_SESSION)

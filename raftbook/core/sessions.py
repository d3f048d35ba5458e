"""Who asked what before: sessions and the replies that make a retry harmless.

Owns exactly-once: per session a window of the last `reply_window` request_seqs with the original
replies. Must not know what a command means.
"""

from __future__ import annotations

from collections.abc import Mapping
from heapq import heapify, heappop, heappush, heapreplace
from typing import Final

from raftbook.core.accounts import Account
from raftbook.core.events import Reply
from raftbook.core.limits import Limits

_GONE_MAX: Final = 64
"""Closed sessions that may stand in a heap beside as many as there are."""


class Session:
    """One client's connection identity, living in the log rather than in a socket.

    `replies[seq % window]` holds the reply to `seq` while seq > highest_seq - window. A seq inside
    the window that was never seen is new, whatever came after it: gaps are allowed.

    Attributes:
        order_tag: session_id, from engine version 2 on: what its orders are marked with.
        epoch: how often it was attached to a connection.
        cancels: whether its orders end when the connection of this epoch does.
        lease_ns: or after so much silence; 0 is never.
        renewed_ns: when a node last said that the client is there.
    """

    __slots__ = (
        "account",
        "cancels",
        "epoch",
        "highest_seq",
        "key",
        "last_time_ns",
        "lease_ns",
        "order_tag",
        "renewed_ns",
        "replies",
        "session_id",
    )

    def __init__(self, session_id: int, account: Account, key: str) -> None:
        self.session_id = session_id
        self.account = account
        self.key = key
        self.highest_seq = 0
        self.last_time_ns = 0
        self.replies: dict[int, Reply] = {}
        self.order_tag = 0
        self.epoch = 0
        self.cancels = False
        self.lease_ns = 0
        self.renewed_ns = 0

    def lease_end_ns(self) -> int:
        """When it lapses unless something is heard of it before."""
        return max(self.last_time_ns, self.renewed_ns) + self.lease_ns


class _ByActivity:
    """Sessions by when they were last active. O(log sessions), spread over their requests.

    A heap of what was last seen of each: since time does not go back that is the truth or too
    early, and it is put right where it comes to the top. So what is found does not depend on what
    was looked at before.
    """

    __slots__ = ("_heap",)

    def __init__(self) -> None:
        self._heap: list[tuple[int, int]] = []

    def add(self, session: Session, by_id: Mapping[int, Session], count: int) -> None:
        """Know one more session, now one of `count` that are in `by_id`."""
        heap = self._heap
        heappush(heap, (session.last_time_ns, session.session_id))
        if len(heap) > 2 * count + _GONE_MAX:
            heap[:] = [each for each in heap if each[1] in by_id]
            heapify(heap)

    def eldest(self, by_id: Mapping[int, Session]) -> Session | None:
        """The least recently active one, of several the one that was opened first."""
        heap = self._heap
        while heap:
            seen_ns, session_id = heap[0]
            session = by_id.get(session_id)
            if session is None:
                heappop(heap)
            elif session.last_time_ns != seen_ns:
                heapreplace(heap, (session.last_time_ns, session_id))
            else:
                return session
        return None


class SessionTable:
    """All sessions in the order they were opened; bounded in all and per account.

    Attributes:
        forsaken: forgotten, though their orders were to end with them, until somebody sees to that.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.window = limits.reply_window
        self.by_id: dict[int, Session] = {}
        self.by_key: dict[tuple[str, str], Session] = {}
        self.count_by_account: dict[str, int] = {}
        self.last_session_id = 0
        self.tags_orders = False
        self.forsaken: list[Session] = []
        self._by_activity = _ByActivity()
        self._of_account: dict[str, _ByActivity] = {}

    def open(self, account: Account, key: str, now_ns: int) -> Session | None:
        """A new session, or None while there is no room among sessions that are all in use.

        Room is made by what has been idle for session_idle_ns, then, at a limit, by the least
        recently active session that limit counts, unless it was active within session_recent_ns.
        """
        limits = self.limits
        self._evict_idle(now_ns)
        if self.count_by_account.get(account.name, 0) >= limits.sessions_per_account_max:
            if not self._give_up_one(self._of_account[account.name], now_ns):
                return None
        if len(self.by_id) >= limits.sessions_max:
            if not self._give_up_one(self._by_activity, now_ns):
                return None
        self.last_session_id += 1
        session = Session(self.last_session_id, account, key)
        session.last_time_ns = now_ns
        self.add(session)
        return session

    def _give_up_one(self, sessions: _ByActivity, now_ns: int) -> bool:
        eldest = sessions.eldest(self.by_id)
        assert eldest is not None, "a limit was reached without sessions"
        if now_ns - eldest.last_time_ns < self.limits.session_recent_ns:
            return False
        self._forget(eldest)
        return True

    def add(self, session: Session) -> None:
        """Know a session by its id and key."""
        name = session.account.name
        if self.tags_orders:
            session.order_tag = session.session_id
        self.by_id[session.session_id] = session
        if session.key:
            self.by_key[(name, session.key)] = session
        self.count_by_account[name] = count = self.count_by_account.get(name, 0) + 1
        self._by_activity.add(session, self.by_id, len(self.by_id))
        self._of_account.setdefault(name, _ByActivity()).add(session, self.by_id, count)

    def tag_orders(self) -> None:
        """From now on orders are marked with the session that enters them."""
        self.tags_orders = True
        for session in self.by_id.values():
            session.order_tag = session.session_id

    def _forget(self, session: Session) -> None:
        if session.cancels:
            self.forsaken.append(session)
        self.remove(session)

    def count_renewals(self) -> None:
        """Let renewals count as activity that did not when they came."""
        for session in self.by_id.values():
            session.last_time_ns = max(session.last_time_ns, session.renewed_ns)

    def remove(self, session: Session) -> None:
        """Know a session no longer; its requests cannot be retried afterwards."""
        del self.by_id[session.session_id]
        name = session.account.name
        if session.key:
            del self.by_key[(name, session.key)]
        self.count_by_account[name] -= 1
        if not self.count_by_account[name]:
            del self.count_by_account[name], self._of_account[name]

    def _evict_idle(self, now_ns: int) -> None:
        """Forget every session idle for session_idle_ns of logical time."""
        horizon_ns = now_ns - self.limits.session_idle_ns
        while True:
            eldest = self._by_activity.eldest(self.by_id)
            if eldest is None or eldest.last_time_ns > horizon_ns:
                return
            self._forget(eldest)

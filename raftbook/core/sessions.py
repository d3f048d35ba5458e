"""Who asked what before: sessions and the replies that make a retry harmless.

Owns exactly-once: per session a window of the last `reply_window` request_seqs with the original
replies. Must not know what a command means.
"""

from __future__ import annotations

from raftbook.core.accounts import Account
from raftbook.core.events import Reply
from raftbook.core.limits import Limits


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


class SessionTable:
    """All sessions in the order they were opened; bounded in all and per account."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.window = limits.reply_window
        self.by_id: dict[int, Session] = {}
        self.by_key: dict[tuple[str, str], Session] = {}
        self.count_by_account: dict[str, int] = {}
        self.last_session_id = 0
        self.tags_orders = False
        self._none_idle_before_ns = 0  # no state: only spares looks that would find nothing

    def open(self, account: Account, key: str, now_ns: int) -> Session | None:
        """A new session, or None while there is no room among sessions that are all in use.

        Room is made by what has been idle for session_idle_ns, then, at a limit, by the least
        recently active session that limit counts, unless it was active within session_recent_ns.
        """
        limits = self.limits
        self._evict_idle(now_ns)
        if self.count_by_account.get(account.name, 0) >= limits.sessions_per_account_max:
            own = [session for session in self.by_id.values() if session.account is account]
            if not self._give_up_one(own, now_ns):
                return None
        if len(self.by_id) >= limits.sessions_max:
            if not self._give_up_one(list(self.by_id.values()), now_ns):
                return None
        self.last_session_id += 1
        session = Session(self.last_session_id, account, key)
        session.last_time_ns = now_ns
        self.add(session)
        return session

    def _give_up_one(self, sessions: list[Session], now_ns: int) -> bool:
        eldest = min(sessions, key=lambda session: (session.last_time_ns, session.session_id))
        if now_ns - eldest.last_time_ns < self.limits.session_recent_ns:
            return False
        self.remove(eldest)
        return True

    def add(self, session: Session) -> None:
        """Know a session by its id and key."""
        name = session.account.name
        if self.tags_orders:
            session.order_tag = session.session_id
        self.by_id[session.session_id] = session
        if session.key:
            self.by_key[(name, session.key)] = session
        self.count_by_account[name] = self.count_by_account.get(name, 0) + 1

    def tag_orders(self) -> None:
        """From now on orders are marked with the session that enters them."""
        self.tags_orders = True
        for session in self.by_id.values():
            session.order_tag = session.session_id

    def remove(self, session: Session) -> None:
        """Forget a session; its requests cannot be retried afterwards."""
        del self.by_id[session.session_id]
        name = session.account.name
        if session.key:
            del self.by_key[(name, session.key)]
        self.count_by_account[name] -= 1
        if not self.count_by_account[name]:
            del self.count_by_account[name]

    def _evict_idle(self, now_ns: int) -> None:
        """Forget every session idle for session_idle_ns of logical time."""
        if now_ns < self._none_idle_before_ns:
            return
        horizon_ns = now_ns - self.limits.session_idle_ns
        for session in [s for s in self.by_id.values() if s.last_time_ns <= horizon_ns]:
            self.remove(session)
        eldest_ns = min((s.last_time_ns for s in self.by_id.values()), default=now_ns)
        self._none_idle_before_ns = eldest_ns + self.limits.session_idle_ns

"""Who asked what before: sessions and the replies that make a retry harmless.

Owns exactly-once: per session a window of the last `reply_window` request_seqs with the original
replies. Must not know what a command means.
"""

from __future__ import annotations

from raftbook.core.accounts import Account
from raftbook.core.events import Reply


class Session:
    """One client's connection identity, living in the log rather than in a socket.

    `replies[seq % window]` holds the reply to `seq` while seq > highest_seq - window. A seq inside
    the window that was never seen is new, whatever came after it: gaps are allowed.
    """

    __slots__ = ("account", "highest_seq", "key", "last_time_ns", "replies", "session_id")

    def __init__(self, session_id: int, account: Account, key: str, window: int) -> None:
        self.session_id = session_id
        self.account = account
        self.key = key
        self.highest_seq = 0
        self.last_time_ns = 0
        self.replies: list[Reply | None] = [None] * window


class SessionTable:
    """All sessions in the order they were opened; bounded in all and per account."""

    def __init__(
        self, *, sessions_max: int, sessions_per_account_max: int, session_idle_ns: int, window: int
    ) -> None:
        self.sessions_max = sessions_max
        self.sessions_per_account_max = sessions_per_account_max
        self.session_idle_ns = session_idle_ns
        self.window = window
        self.by_id: dict[int, Session] = {}
        self.by_key: dict[tuple[str, str], Session] = {}
        self.count_by_account: dict[str, int] = {}
        self.last_session_id = 0
        self._none_idle_before_ns = 0  # no state: only spares looks that would find nothing

    def open(self, account: Account, key: str, now_ns: int) -> Session | None:
        """A new session, or None while the table is full of sessions that are not idle."""
        self._evict_idle(now_ns)
        if len(self.by_id) >= self.sessions_max:
            return None
        if self.count_by_account.get(account.name, 0) >= self.sessions_per_account_max:
            return None
        self.last_session_id += 1
        session = Session(self.last_session_id, account, key, self.window)
        session.last_time_ns = now_ns
        self.add(session)
        return session

    def add(self, session: Session) -> None:
        """Know a session by its id and key."""
        name = session.account.name
        self.by_id[session.session_id] = session
        if session.key:
            self.by_key[(name, session.key)] = session
        self.count_by_account[name] = self.count_by_account.get(name, 0) + 1

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
        horizon_ns = now_ns - self.session_idle_ns
        for session in [s for s in self.by_id.values() if s.last_time_ns <= horizon_ns]:
            self.remove(session)
        eldest_ns = min((s.last_time_ns for s in self.by_id.values()), default=now_ns)
        self._none_idle_before_ns = eldest_ns + self.session_idle_ns

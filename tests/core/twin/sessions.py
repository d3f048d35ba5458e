"""Sessions: who speaks, what was answered already, when a silence ends the orders."""

from typing import Any

from raftbook.core import commands as c
from raftbook.core import events as e
from raftbook.core.types import Reject
from tests.core.twin.forms import NOTICES, well_formed
from tests.core.twin.state import MassCancelJob, TwinOrder, TwinSession
from tests.core.twin.venue import Venue

LEASE_MS_MAX = 86_400_000


class Sessions(Venue):
    def session_of(self, session_id: int) -> TwinSession | None:
        return next((s for s in self.sessions if s.session_id == session_id), None)

    def open_session(self, command: Any) -> int:
        """1 when the session was open already."""
        _, account, key = command
        if account not in self.accounts:
            self.refuse(command, Reject.UNKNOWN_ACCOUNT)
            return 0
        for s in self.sessions:
            if key and (s.account, s.key) == (account, key):  # no key: always another session
                s.active_ns = s.heard_ns = self.now_ns
                self.private(e.SESSION_OPENED, s.session_id, account, s.highest)
                return 1
        idle_since = self.now_ns - self.limits.session_idle_ns
        for s in by_activity(self.sessions):
            if s.active_ns <= idle_since:
                self.forget(s)
        mine = [s for s in self.sessions if s.account == account]
        if len(mine) >= self.limits.sessions_per_account_max and not self.give_way(mine):
            return self.refuse_session(command)
        if len(self.sessions) >= self.limits.sessions_max and not self.give_way(self.sessions):
            return self.refuse_session(command)
        self.session_ids += 1
        self.sessions.append(TwinSession(self.session_ids, account, key, self.now_ns))
        self.private(e.SESSION_OPENED, self.session_ids, account, 0)
        return 0

    def refuse_session(self, command: Any) -> int:
        self.refuse(command, Reject.RATE_LIMIT)
        return 0

    def give_way(self, sessions: list[TwinSession]) -> bool:
        """The least recently active of them goes, unless even that one was active just now."""
        eldest = by_activity(sessions)[0]
        if self.now_ns - eldest.active_ns < self.limits.session_recent_ns:
            return False
        self.forget(eldest)
        return True

    def close_session(self, session: TwinSession) -> None:
        was_open = self.session_of(session.session_id) is not None  # not closed by this request
        self.sessions = [s for s in self.sessions if s is not session]
        self.private(e.SESSION_CLOSED, session.session_id)
        if was_open and self.version >= 4 and session.dies and not session.lapsed:
            told = len(self.out)
            self.end_orders(session)
            del self.out[told]  # MASS_CANCELED: SESSION_CLOSED is the head of this page

    def forget(self, session: TwinSession) -> None:
        """The table loses it; the orders that die with it wait for the next entry."""
        self.sessions = [s for s in self.sessions if s is not session]
        if self.version >= 4 and session.dies and not session.lapsed and not self.joins(session):
            self.mass_cancels.append(self.cancel_of(session))

    # ---------------------------------------------------------------------- cancel on disconnect

    def attach_session(self, session: TwinSession, command: Any) -> None:
        _, dies, lease_ms = command
        if not 0 <= lease_ms <= LEASE_MS_MAX:
            return self.refuse(command, Reject.MALFORMED)
        session.epoch += 1
        session.dies = dies == 1
        session.lease_ns = lease_ms * 1_000_000
        session.heard_ns = self.now_ns
        session.lapsed = False
        self.private(e.SESSION_ATTACHED, session.session_id, session.epoch)
        return None

    def notice(self, command: Any) -> bool:
        """Whether it was a notice of a node: a lost connection, or a client still there."""
        if self.version < 2 or not well_formed(command, NOTICES):
            return False
        kind, session_id, epoch = command
        session = self.session_of(session_id)
        if session is not None and session.epoch == epoch:
            if kind == c.SESSION_LOST:
                self.lapse(session)
            else:
                session.heard_ns = self.now_ns
                if self.version >= 4:
                    session.active_ns = self.now_ns
        return True

    def lapse(self, session: TwinSession) -> None:
        if not session.dies or session.lapsed:
            return
        session.lapsed = True
        self.private(e.SESSION_LAPSED, session.session_id, session.epoch)
        return self.end_orders(session)

    def end_orders(self, session: TwinSession) -> None:
        if self.version >= 4 and self.joins(session):
            return self.private(e.MASS_CANCELED, session.account, 0, 1)
        return self.begin_mass_cancel(self.cancel_of(session))

    def orders_of(self, session: TwinSession) -> list[int]:
        mine = [o for o in self.open_orders() if o.session_id == session.session_id]
        return [order.order_id for order in mine]

    def cancel_of(self, session: TwinSession) -> MassCancelJob:
        def fits(order: TwinOrder) -> bool:
            return True  # those that are meant are all of the session

        name, meant = session.account, self.orders_of(session)
        return MassCancelJob(
            name, Reject.DISCONNECTED, fits, meant, [name], [], of_sessions=self.version >= 4
        )

    def joins(self, session: TwinSession) -> bool:
        """Whether a mass cancel that waits for the account takes the session's orders, too."""
        for job in self.mass_cancels:
            if job.of_sessions and job.account == session.account and job.waits():
                job.meant += self.orders_of(session)
                return True
        return False

    def end_leases(self) -> None:
        due = [
            (s.heard_ns + s.lease_ns, s.session_id)
            for s in self.sessions
            if s.lease_ns and s.heard_ns + s.lease_ns <= self.now_ns
        ]
        for _, session_id in sorted(due):
            self.lapse(self.session_of(session_id))


def by_activity(sessions: list[TwinSession]) -> list[TwinSession]:
    """The least recently active first."""
    return sorted(sessions, key=lambda s: (s.active_ns, s.session_id))

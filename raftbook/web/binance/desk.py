"""The trading desk: what clients of this door ask of the log, and how they hear of it.

Owns the sessions in which a node speaks for an account, opened in the log when first needed, and
the numbers of its requests. Nothing waits here but for the reply, so that whatever arrives
meanwhile goes into the same entry.
"""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass
from typing import Final

from raftbook.core.commands import NO_SESSION, Command, open_session
from raftbook.core.events import CANCEL_REJECTED, REJECTED, SESSION_OPENED, Event, Reply
from raftbook.core.types import Reject
from raftbook.gateway.forms import forms_error, version_needed
from raftbook.gateway.queries import QueryError
from raftbook.replica.machine import Applied
from raftbook.replica.proposer import names_no_session
from raftbook.web.binance.faults import Fault, crowded, refused, unavailable, unknown_outcome
from raftbook.web.context import WebContext
from raftbook.web.marks import ENTRY_INDEX
from raftbook.wire.entry import pack_request

SESSIONS_MAX: Final = 8
"""Sessions of one account on one node: each lets a reply_window of requests be under way."""
ACCOUNTS_MAX: Final = 4_096
"""Accounts for which a node keeps sessions; those that rest make room."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a request.

    Attributes:
        time_ns: logical time of the entry in which it took effect.
    """

    events: list[Event]
    entry_index: int
    time_ns: int
    session_id: int


class Desk:
    """All that this node asks of the log for clients of this door."""

    def __init__(self, context: WebContext) -> None:
        self.context = context
        self._replica = context.replica
        self._clients = context.clients
        self._by_account: dict[str, _Sessions] = {}
        self._prefix = secrets.token_hex(4)
        self._named = 0

    def new_name(self) -> str:
        """A client_order_id for an order whose client gave it none; no other order has it."""
        self._named += 1
        return f"{self._prefix}-{self._named}"

    async def submit(self, account: str, commands: tuple[Command, ...]) -> Outcome:
        """Let commands take effect in one request.

        Raises:
            Fault: they did not (-1001, -1003), or nobody knows yet (-1007).
        """
        self._check(commands)
        sessions = self._sessions(account)
        session = sessions.free()
        if session is None:
            session = await sessions.opened()
        outcome = await self._ask(session, commands)
        if outcome is None:
            # The log has forgotten the session, and so the request had no effect.
            sessions.drop(session)
            session = await sessions.opened()
            outcome = await self._ask(session, commands)
            if outcome is None:
                raise unavailable("The session of this node is gone; please try again.")
        ENTRY_INDEX.set(outcome.entry_index)
        return outcome

    async def barrier(self) -> None:
        """Wait until all that was acknowledged before is applied here.

        Raises:
            Fault: no commit in time.
        """
        try:
            await self._clients.barrier()
        except QueryError as error:
            raise unavailable(error.message) from error

    def check_age(self) -> None:
        """Refuse to show a market that this node has had no word of for long.

        Raises:
            Fault: it has not.
        """
        if self._replica.age_ms() > self._clients.bounds.read_age_max_s * 1_000:
            word = self._replica.last_word()
            raise unavailable(f"{word[0].upper()}{word[1:]}; ask another node.")

    def _check(self, commands: tuple[Command, ...]) -> None:
        """Nothing that is malformed or too new for a member gets into the log."""
        problem = forms_error(commands)
        assert problem is None, f"{commands}: {problem}"
        if version_needed(commands, self.context.queries.exchange.engine_version):
            raise refused(Reject.UNSUPPORTED_VERSION)

    def _sessions(self, account: str) -> _Sessions:
        sessions = self._by_account.get(account)
        if sessions is None:
            if len(self._by_account) >= ACCOUNTS_MAX:
                self._make_room()
            sessions = self._by_account[account] = _Sessions(self, account)
        return sessions

    def _make_room(self) -> None:
        for name, sessions in self._by_account.items():
            if sessions.is_quiet():
                del self._by_account[name]
                return
        raise crowded("Too many accounts trade on this node; please use another.")

    async def _ask(self, session: _Session, commands: tuple[Command, ...]) -> Outcome | None:
        """One request in a session; None if the log knows no such session."""
        seq = session.take()
        raw = pack_request(session.session_id, seq, commands)
        bytes_max = self._clients.bounds.request_bytes_max
        assert len(raw) <= bytes_max, f"a request of {len(raw)} bytes; at most {bytes_max}"
        try:
            reply, applied = await self.send(session.session_id, seq, raw, commands)
        finally:
            session.settle(seq)
        if names_no_session(reply):
            return None
        if _is_stale(reply):
            raise unknown_outcome()
        return Outcome(reply[4], reply[2], self._time_ns(reply, applied), session.session_id)

    def _time_ns(self, reply: Reply, applied: Applied) -> int:
        """When it took effect: of a repeated request that was in an entry of before."""
        if not reply[5]:
            return applied.time_ns
        for entry in reversed(self._replica.machine.recent):
            if entry.index == reply[2]:
                return entry.time_ns
            if entry.index < reply[2]:
                break
        return applied.time_ns

    async def send(
        self, session_id: int, seq: int, raw: bytes, commands: tuple[Command, ...]
    ) -> tuple[Reply, Applied]:
        """Put one packed request on its way, and wait for what became of it."""
        waiter = _Waiter(asyncio.get_running_loop().create_future())
        self._replica.submit(session_id, seq, raw, waiter, commands)
        self._clients.wake()
        return await waiter.answer

    async def open(self, account: str) -> _Session:
        """A fresh session of an account."""
        node_id = self._replica.node_id
        command = open_session(account, f"http-{node_id}-{secrets.token_hex(8)}")
        seq = self._clients.unique()
        raw = pack_request(NO_SESSION, seq, (command,))
        try:
            reply, _ = await self.send(NO_SESSION, seq, raw, (command,))
        except Fault as fault:
            if fault.code != -1007:
                raise
            # A session that nobody uses does no harm, and no order has left yet.
            raise unavailable("No session could be opened in time; please try again.") from fault
        event = reply[4][0]
        if event[0] != SESSION_OPENED:
            raise refused(event[2])
        window = self.context.queries.exchange.limits.reply_window
        return _Session(event[2], window)


class _Session:
    """One session in the log, and which of its requests are under way."""

    __slots__ = ("_last_seq", "_under_way", "_window", "session_id")

    def __init__(self, session_id: int, window: int) -> None:
        self.session_id = session_id
        self._window = window
        self._last_seq = 0
        self._under_way: dict[int, None] = {}

    def has_room(self) -> bool:
        """Whether the reply to one more request would still be remembered with all the others."""
        eldest = next(iter(self._under_way), None)
        return eldest is None or self._last_seq + 1 - eldest < self._window

    def is_quiet(self) -> bool:
        return not self._under_way

    def take(self) -> int:
        """The number of the next request."""
        self._last_seq = seq = self._last_seq + 1
        self._under_way[seq] = None
        return seq

    def settle(self, seq: int) -> None:
        """A request is answered, or given up."""
        del self._under_way[seq]


class _Sessions:
    """The sessions of one account."""

    def __init__(self, desk: Desk, account: str) -> None:
        self._desk = desk
        self._account = account
        self._sessions: list[_Session] = []
        self._opening: asyncio.Task[_Session] | None = None

    def free(self) -> _Session | None:
        """A session that takes one more request, None if another must be opened.

        Raises:
            Fault: there are as many as there may be.
        """
        for session in self._sessions:
            if session.has_room():
                return session
        if len(self._sessions) >= SESSIONS_MAX:
            raise crowded("Too many requests of this account wait already; please try again.")
        return None

    def is_quiet(self) -> bool:
        """Whether nothing of it is under way."""
        return self._opening is None and all(each.is_quiet() for each in self._sessions)

    async def opened(self) -> _Session:
        """A session with room; who comes while one is being opened waits for the same one."""
        while True:
            session = self.free()
            if session is not None:
                return session
            if self._opening is None:
                loop = asyncio.get_running_loop()
                self._opening = loop.create_task(self._open())
            await asyncio.shield(self._opening)

    async def _open(self) -> _Session:
        try:
            session = await self._desk.open(self._account)
            self._sessions.append(session)
            return session
        finally:
            self._opening = None

    def drop(self, session: _Session) -> None:
        """The log has forgotten it."""
        if session in self._sessions:
            self._sessions.remove(session)


class _Waiter:
    """Hears once what became of a request; see `proposer.Waiter`."""

    __slots__ = ("answer",)

    def __init__(self, answer: asyncio.Future[tuple[Reply, Applied]]) -> None:
        self.answer = answer

    def replied(self, reply: Reply, applied: Applied) -> None:
        if not self.answer.done():
            self.answer.set_result((reply, applied))

    def refused(self, session_id: int, request_seq: int, code: Reject, message: str) -> None:
        if not self.answer.done():
            self.answer.set_exception(refused(code))


def _is_stale(reply: Reply) -> bool:
    """Whether the session remembers nothing of so old a request."""
    events = reply[4]
    is_refused = bool(events) and events[0][0] in (REJECTED, CANCEL_REJECTED)
    return is_refused and bool(events[0][2] == Reject.STALE_REQUEST)

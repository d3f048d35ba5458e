"""Sessions whose orders are to end with their connection: what this node tells the log of them.

Owns who is served here, the notice that one is no longer, and the renewal of leases and sessions
while the client is heard of. Whether a notice still means anything the exchange decides, by its
epoch: a client that has moved to another node was attached there with a higher one. A node that
dies says nothing; leases are for that.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Final

from raftbook.core.commands import NO_SESSION, Command, renew_lease, session_lost
from raftbook.core.events import SESSION_ATTACHED, Reply
from raftbook.core.types import Reject
from raftbook.gateway.caller import Caller
from raftbook.replica.machine import Applied
from raftbook.replica.proposer import Waiter
from raftbook.replica.replica import Replica
from raftbook.wire.entry import pack_request

_log = logging.getLogger(__name__)

RENEWALS: Final = 4
"""So often within a lease it is looked whether the client was heard of."""
QUIET_S: Final = 15.0
"""So often it is looked for a session without a lease: one whose client is there must not be
forgotten, and its orders with it, for which a minute of silence is enough where sessions are many.
"""
LOOK_S_MIN: Final = 0.05
"""Two looks are this far apart, however short a lease is."""
NOTICES_MAX: Final = 32
"""Notices in one request, so that it fits the smallest entry."""
RETRY_S: Final = 1.0
TRIES_MAX: Final = 30
"""How often a notice is said again while nobody leads: each try waits for its deadline, too."""


@dataclass(slots=True)
class _Served:
    epoch: int
    gap_s: float
    caller: Caller
    renewed_at: float
    look_at: float


class Attachments:
    """The sessions that are attached to connections of this node, and those that were.

    Args:
        unique: a fresh random request_seq at each call.
        wake: asks for a turn of the replica.
    """

    def __init__(
        self, replica: Replica, *, unique: Callable[[], int], wake: Callable[[], None]
    ) -> None:
        self._replica, self._unique, self._wake = replica, unique, wake
        self._served: dict[int, _Served] = {}
        self._lost: dict[int, int] = {}  # epoch by session_id, the log may not know of it yet
        self._is_telling = False
        self._tries = 0
        self._is_closed = False
        self._looking: asyncio.TimerHandle | None = None
        self._retrying: asyncio.TimerHandle | None = None

    def close(self) -> None:
        """This node stops: nothing is said any more."""
        self._is_closed = True
        for timer in (self._looking, self._retrying):
            if timer is not None:
                timer.cancel()

    # -- who is served ------------------------------------------------------------------------

    def attached(self, reply: Reply, caller: Caller) -> int:
        """A reply tells that a session was attached; its epoch if this connection serves it now.

        What the reply is about may be over: attached again since, or lapsed.
        """
        session_id, epoch = reply[0], int(reply[4][0][3])
        if not self._is_live(session_id, epoch):
            return 0
        session = self._replica.machine.exchange.sessions.by_id[session_id]
        now = asyncio.get_running_loop().time()
        lease_s = session.lease_ns / 1e9
        gap_s = lease_s / RENEWALS if lease_s else QUIET_S
        self._served[session_id] = _Served(epoch, gap_s, caller, now, now + gap_s)
        self._look_again()
        return epoch

    def ended(self, epochs: Iterable[tuple[int, int]]) -> None:
        """A connection has ended that served these (session_id, epoch)."""
        if self._is_closed:
            return
        for session_id, epoch in epochs:
            served = self._served.get(session_id)
            if served is not None and served.epoch == epoch:
                del self._served[session_id]
            self._lost[session_id] = max(epoch, self._lost.get(session_id, 0))
        self._tell()

    def _is_live(self, session_id: int, epoch: int) -> bool:
        """Whether orders of that session are still to end with the connection of that epoch."""
        session = self._replica.machine.exchange.sessions.by_id.get(session_id)
        return session is not None and session.epoch == epoch and session.cancels

    # -- leases -------------------------------------------------------------------------------

    def _look_again(self) -> None:
        """Set the timer to when the next lease is to be looked at."""
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None
        at = min((served.look_at for served in self._served.values()), default=float("inf"))
        if at < float("inf"):
            loop = asyncio.get_running_loop()
            self._looking = loop.call_at(max(at, loop.time() + LOOK_S_MIN), self._look)

    def _look(self) -> None:
        """Renew the leases of those who were heard of."""
        now = asyncio.get_running_loop().time()
        renewals: list[Command] = []
        for session_id, served in list(self._served.items()):
            if served.look_at > now:
                continue
            if not self._is_live(session_id, served.epoch):
                del self._served[session_id]
                continue
            served.look_at = now + served.gap_s
            if served.caller.heard_at > served.renewed_at:
                served.renewed_at = now
                renewals.append(renew_lease(session_id, served.epoch))
        while renewals:
            self._submit(renewals[:NOTICES_MAX], _Unheard())
            del renewals[:NOTICES_MAX]
        self._look_again()

    # -- notices ------------------------------------------------------------------------------

    def _tell(self) -> None:
        """Tell the log who is served no longer, some at a time."""
        if self._is_telling:
            return
        for session_id, epoch in list(self._lost.items()):
            if not self._is_live(session_id, epoch):
                del self._lost[session_id]
        notices = list(islice(self._lost.items(), NOTICES_MAX))
        if notices:
            self._is_telling = True
            self._submit([session_lost(*notice) for notice in notices], _Told(self, notices))

    def told(self, notices: list[tuple[int, int]]) -> None:
        """The log knows of these."""
        self._tries = 0
        self._forget(notices)

    def not_told(self, notices: list[tuple[int, int]], code: Reject) -> None:
        """The log may not know of these."""
        self._tries += 1
        if self._tries < TRIES_MAX and code != Reject.NOT_READY:
            self._retrying = asyncio.get_running_loop().call_later(RETRY_S, self._try_again)
            return
        _log.warning(
            "the log cannot be told that %d clients went away (%s): orders that were to end with "
            "them stay, unless they have a lease",
            len(notices),
            code.name,
        )
        self.told(notices)

    def _try_again(self) -> None:
        self._is_telling = False
        self._tell()

    def _forget(self, notices: list[tuple[int, int]]) -> None:
        for session_id, epoch in notices:
            if self._lost.get(session_id) == epoch:
                del self._lost[session_id]
        self._is_telling = False
        self._tell()

    def _submit(self, commands: list[Command], waiter: Waiter) -> None:
        seq = self._unique()
        raw = pack_request(NO_SESSION, seq, tuple(commands))
        self._replica.submit(NO_SESSION, seq, raw, waiter)
        self._wake()


@dataclass(frozen=True, slots=True)
class _Told:
    """Waits for the log's answer to some notices."""

    attachments: Attachments
    notices: list[tuple[int, int]]

    def replied(self, reply: Reply, applied: Applied) -> None:
        self.attachments.told(self.notices)

    def refused(self, session_id: int, request_seq: int, code: Reject, message: str) -> None:
        self.attachments.not_told(self.notices, code)


class _Unheard:
    """A renewal that did not get into the log is said again at the next look."""

    def replied(self, reply: Reply, applied: Applied) -> None: ...

    def refused(self, session_id: int, request_seq: int, code: Reject, message: str) -> None: ...


def is_attachment(reply: Reply) -> bool:
    """Whether a reply tells that a session was attached: that comes first in its request."""
    events = reply[4]
    return bool(events) and events[0][0] == SESSION_ATTACHED

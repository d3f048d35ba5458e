"""The requests of one connection: the sessions it opened, what waits for the log, the replies.

Owns the form of a request, and how many of them, in count and in bytes, one client and all clients
together may have waiting. The market is never judged here: a well-formed request goes to the
replica, which answers through `replied` and `refused`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from raftbook.core.commands import NO_SESSION, open_session
from raftbook.core.events import SESSION_OPENED, Event, Reply
from raftbook.core.form import is_id
from raftbook.core.types import Reject
from raftbook.gateway.attachments import is_attachment
from raftbook.gateway.caller import Caller
from raftbook.gateway.forms import forms_error, version_needed
from raftbook.gateway.outbox import MESSAGE_CHARS_MAX, Outbox
from raftbook.gateway.privacy import private_view
from raftbook.replica.machine import Applied
from raftbook.wire import pages
from raftbook.wire.client_messages import REFUSED, REPLY, REPLY_PAGE, RESULT
from raftbook.wire.entry import pack_request
from raftbook.wire.framing import frame
from raftbook.wire.packing import brief, pack

if TYPE_CHECKING:
    from raftbook.gateway.native import ClientServer

SESSIONS_MAX: Final = 64
"""Sessions one connection may use."""

REQUESTS_MAX: Final = 1_024
"""Requests of one connection whose reply was not written yet: as many as the smallest reply_window,
so what waits for a client that does not read is hardly more than its sessions remember anyway."""


class Requests:
    """What one client asks of the log; a `proposer.Waiter`."""

    def __init__(self, server: ClientServer, caller: Caller, outbox: Outbox) -> None:
        self._server, self._caller, self._outbox = server, caller, outbox
        self._sessions: dict[int, str] = {}  # the account each was opened for
        self._opening = 0  # OPENs that the log has not answered
        self._waiting: dict[tuple[int, int], int] = {}  # bytes of what the replica has
        self._waiting_bytes = 0
        self._unwritten = 0  # replies on their way to the socket
        self._attached: dict[int, int] = {}  # epochs of sessions whose orders end with this
        self._is_over = False

    def give_up(self) -> None:
        """The connection is gone: what was to end with it ends."""
        self._is_over = True
        self._server.attachments.ended(self._attached.items())

    # -- OPEN ---------------------------------------------------------------------------------

    def on_open(self, ref: int, key: str) -> None:
        """Open a session, or find it."""
        name = self._caller.account_name
        if name is None:
            self._outbox.fail(ref, Reject.NOT_AUTHORIZED, "OPEN needs a LOGIN first")
        elif not is_id(key):
            self._outbox.fail(ref, Reject.MALFORMED, f"session key {brief(key)} is not acceptable")
        elif len(self._sessions) + self._opening >= SESSIONS_MAX:
            message = f"at most {SESSIONS_MAX} sessions a connection"
            self._outbox.fail(ref, Reject.OVERLOADED, message)
        else:
            seq = self._server.unique()
            raw = pack_request(NO_SESSION, seq, (open_session(name, key),))
            self._opening += 1
            self._server.replica.submit(NO_SESSION, seq, raw, _Opening(self, ref))
            self._server.wake()

    def opened(self, ref: int, reply: Reply) -> None:
        """The log answered an OPEN of this connection."""
        self._opening -= 1
        event = reply[4][0]
        if event[0] == SESSION_OPENED:
            self._sessions[event[2]] = event[3]
            self._outbox.send(RESULT, ref, (event[2], event[4]))
        else:
            self._outbox.fail(ref, Reject(event[2]), "")

    def not_opened(self, ref: int, code: Reject, message: str) -> None:
        """An OPEN did not get into the log, as far as this node knows."""
        self._opening -= 1
        self._outbox.fail(ref, code, message)

    # -- REQUEST ------------------------------------------------------------------------------

    def on_request(
        self, session_id: int, request_seq: int, commands: tuple[Any, ...], raw: bytes
    ) -> None:
        """Let a request into the log.

        Args:
            raw: the same three, as they came.
        """
        problem = self._problem(session_id, request_seq, commands)
        if problem is not None:
            self._refuse(session_id, request_seq, Reject.MALFORMED, problem)
            return
        newer = self._newer(commands)
        if newer is not None:
            self._refuse(session_id, request_seq, Reject.UNSUPPORTED_VERSION, newer)
            return
        bytes_max = self._server.bounds.request_bytes_max
        if len(raw) > bytes_max:
            problem = f"a request of {len(raw)} bytes; at most {bytes_max}"
            self._refuse(session_id, request_seq, Reject.MALFORMED, problem)
            return
        key = (session_id, request_seq)
        if key not in self._waiting:  # else the same frame again: it waits once
            crowd = self._crowd(len(raw))
            if crowd is not None:
                self._turn_away(key, crowd)
                return
            self._count(key, len(raw))
        self._server.replica.submit(session_id, request_seq, raw, self, commands)
        self._server.wake()

    def _problem(self, session_id: int, request_seq: int, commands: tuple[Any, ...]) -> str | None:
        if session_id not in self._sessions:
            return f"session {session_id} is not open on this connection"
        if not 0 < request_seq < 2**62:
            return f"request_seq {request_seq} is out of range"
        commands_max = self._server.bounds.request_commands_max
        if not 0 < len(commands) <= commands_max:
            return f"a request has 1 to {commands_max} commands"
        return forms_error(commands)

    def _newer(self, commands: tuple[Any, ...]) -> str | None:
        """Why these commands are not known to every member yet."""
        in_force = self._server.queries.exchange.engine_version
        needed = version_needed(commands, in_force)
        if not needed:
            return None
        return (
            f"this needs engine version {needed} and the cluster goes by {in_force}: "
            "it is in force when every node runs the newer release"
        )

    def _crowd(self, size: int) -> str | None:
        """Why there is no room for a request of so many bytes."""
        server = self._server
        if len(self._waiting) + self._unwritten >= REQUESTS_MAX:
            return f"at most {REQUESTS_MAX} requests of a connection wait for their reply"
        if self._waiting_bytes + size > server.bounds.buffer_bytes_max:
            return f"at most {server.bounds.buffer_bytes_max} bytes of a client wait for the log"
        return None

    def _turn_away(self, key: tuple[int, int], crowd: str) -> None:
        """Refuse for want of room; of what waits here since before, that is no word of its effect.

        1. a connection brings a request and is lost; 2. another one, which is full, brings the same
        request; 3. the first is answered by the log, and there is nobody to tell.
        """
        if self._server.replica.is_pending(*key):
            message = f"{crowd}; this request waits for the log already: ask for it again later"
            self._refuse(*key, Reject.OUTCOME_UNKNOWN, message)
        else:
            self._refuse(*key, Reject.OVERLOADED, crowd)

    def _count(self, key: tuple[int, int], size: int) -> None:
        self._waiting[key] = size
        self._waiting_bytes += size

    def _settle(self, key: tuple[int, int]) -> None:
        """The replica has done with a request, whether or not the client is still there."""
        size = self._waiting.pop(key, 0)
        self._waiting_bytes -= size

    # -- the replica's waiter -----------------------------------------------------------------

    def replied(self, reply: Reply, applied: Applied) -> None:
        """See `proposer.Waiter`."""
        self._settle((reply[0], reply[1]))
        if is_attachment(reply):
            self._attach(reply)
        if len(reply[4]) <= pages.EVENTS and self._outbox.has_room():
            with suppress(Exception):  # it fails again as a page, and that ends the connection
                self._outbox.put(self._last_frame(reply, reply[4], applied))
                return
        self._unwritten += 1
        self._outbox.put_pages(self._frames(reply, applied), is_paced=False)

    def _attach(self, reply: Reply) -> None:
        """A session of this connection was attached to it, which may have ended meanwhile."""
        epoch = self._server.attachments.attached(reply, self._caller)
        if epoch and self._is_over:
            self._server.attachments.ended([(reply[0], epoch)])
        elif epoch:
            self._attached[reply[0]] = epoch

    def refused(self, session_id: int, request_seq: int, code: Reject, message: str) -> None:
        """See `proposer.Waiter`."""
        self._settle((session_id, request_seq))
        self._refuse(session_id, request_seq, code, message)

    def _refuse(self, session_id: int, request_seq: int, code: Reject, message: str) -> None:
        self._outbox.send(REFUSED, session_id, request_seq, int(code), message[:MESSAGE_CHARS_MAX])

    def _frames(self, reply: Reply, applied: Applied) -> Iterator[bytes]:
        """A reply as it is written: its pages, if it is long, then the reply itself."""
        session_id, request_seq, _, _, events, _ = reply
        account_name = self._sessions.get(session_id, "")
        at = 0
        while len(events) - at > pages.EVENTS:
            page = private_view(events[at : at + pages.EVENTS], account_name)
            yield frame(pack((REPLY_PAGE, session_id, request_seq, page)))
            at += pages.EVENTS
        self._unwritten -= 1
        yield self._last_frame(reply, events[at:] if at else events, applied)

    def _last_frame(self, reply: Reply, events: list[Event], applied: Applied) -> bytes:
        """A reply with the last of its events."""
        session_id, request_seq, entry_index, offset, _, poss_dup = reply
        view = private_view(events, self._sessions.get(session_id, ""))
        # Of a request that took effect before, the node knows what the session remembers: the
        # index of its entry and its events, but not the entry's term and time.
        term, time_ns = (0, 0) if poss_dup else (applied.term, applied.time_ns)
        leader_id = self._server.replica.raft.leader_id or 0
        where = (entry_index, term, time_ns, offset)
        return frame(pack((REPLY, session_id, request_seq, *where, view, poss_dup, leader_id)))


@dataclass(frozen=True, slots=True)
class _Opening:
    """Waits for the log's answer to an OPEN."""

    requests: Requests
    ref: int

    def replied(self, reply: Reply, applied: Applied) -> None:
        self.requests.opened(self.ref, reply)

    def refused(self, session_id: int, request_seq: int, code: Reject, message: str) -> None:
        # A session key makes opening again harmless, so even an unknown outcome may be resent.
        self.requests.not_opened(self.ref, code, message)

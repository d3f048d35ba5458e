"""The native client port of one node: all its connections and what they share.

Owns the listener, the bounds, and the way an applied entry takes to whoever listens. One connection
is `connection.py`. See docs/PROTOCOL.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from raftbook.core.commands import NO_SESSION
from raftbook.core.events import Reply
from raftbook.core.types import Reject
from raftbook.feed.stream import FeedHistory
from raftbook.gateway.attachments import Attachments
from raftbook.gateway.connection import ClientConnection
from raftbook.gateway.intake import Intake
from raftbook.gateway.pace import Pace
from raftbook.gateway.queries import Arguments, Queries, QueryError
from raftbook.gateway.waits import EntryWaits
from raftbook.replica.machine import Applied
from raftbook.replica.replica import Replica
from raftbook.wire.entry import pack_request


@dataclass(frozen=True, slots=True)
class ClientBounds:
    """Bytes, counts and seconds; see `config.Bounds` and `config.Timings`."""

    frame_bytes_max: int
    request_bytes_max: int
    request_commands_max: int
    buffer_bytes_max: int
    connections_max: int
    handshake_timeout_s: float
    idle_timeout_s: float
    deadline_s: float
    read_age_max_s: float = 10.0


class ClientServer:
    """All client connections of one node.

    Args:
        secrets: account secret by name; None lets anybody log in to that account.
        wake: asks for a turn of the replica.
        admin: the operator's actions by name; each takes arguments, gives a value.
        nonce: a fresh random nonce at each call.
        unique: a fresh random request_seq at each call, for requests without a session.

    Attributes:
        intake: what clients have sent; the HTTP port's have their turn in it, too.
        pace: what is made for them; likewise.
    """

    def __init__(
        self,
        replica: Replica,
        feed: FeedHistory,
        queries: Queries,
        bounds: ClientBounds,
        *,
        cluster: tuple[str, str],
        secrets: Mapping[str, str | None],
        wake: Callable[[], None],
        admin: Mapping[str, Callable[[Arguments], Awaitable[Any]]],
        nonce: Callable[[], bytes],
        unique: Callable[[], int],
    ) -> None:
        self.replica, self.feed, self.queries, self.bounds = replica, feed, queries, bounds
        self.cluster, self.secrets, self.wake, self.admin = cluster, secrets, wake, admin
        self.nonce, self.unique = nonce, unique
        self.attachments = Attachments(replica, unique=unique, wake=wake)
        self.connections: set[ClientConnection] = set()
        self.pace, self.intake, self.waits = Pace(), Intake(), EntryWaits()
        self._server: asyncio.Server | None = None
        self._forget_entries()
        replica.on_applied.append(self._on_applied)
        replica.on_passed.append(self.waits.reached)
        replica.on_installed.append(self._on_installed)
        replica.on_fenced.append(self._end_streams)

    async def start(self, host: str, port: int) -> None:
        """Listen.

        Raises:
            OSError: the address cannot be used.
        """
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: ClientConnection(self), host, port)

    async def close(self) -> None:
        """Stop listening and end every connection."""
        if self._server is not None:
            self._server.close()
        self.attachments.close()
        for connection in list(self.connections):
            connection.end()

    async def wait_applied(self, index: int, deadline: float, *, is_anonymous: bool) -> bool:
        """Wait until this node has applied `index`; False if the loop's time passes `deadline`.

        Raises:
            QueryError: too many wait already.
        """
        raft = self.replica.raft
        if raft.applied_index < index:
            await self.waits.until(index, deadline, is_anonymous=is_anonymous)
        return raft.applied_index >= index

    async def barrier(self) -> None:
        """Put an empty request through the log: all acknowledged before is applied here after.

        Raises:
            QueryError: no commit in time.
        """
        waiter = _Barrier(asyncio.get_running_loop().create_future())
        seq = self.unique()
        self.replica.submit(NO_SESSION, seq, pack_request(NO_SESSION, seq, ()), waiter)
        self.wake()
        await waiter.done

    @property
    def kept_from(self) -> int:
        """Every entry from this index on that was applied here is in `machine.recent`."""
        recent = self.replica.machine.recent
        return self._kept_from if self._applied_count == len(recent) else recent[0].index

    def _forget_entries(self) -> None:
        applied_index = self.replica.raft.applied_index
        self._kept_from = applied_index + 1 if applied_index > 1 else 0  # 1 is Raft's beginning
        self._applied_count = 0

    def _on_applied(self, applied: Applied) -> None:
        self._applied_count += 1
        self.feed.add(applied.index, applied.time_ns, applied.replies)
        for connection in list(self.connections):
            connection.publish(applied)

    def _on_installed(self) -> None:
        self.waits.reached(self.replica.raft.applied_index)
        self._forget_entries()
        self.feed.forget()
        # What a subscriber missed is unknown here: it resumes by itself, elsewhere or anew.
        self._end_streams(gives_up=True)

    def _end_streams(self, *, gives_up: bool = False) -> None:
        """Let subscribers go on at another node: from this one nothing more would come."""
        for connection in list(self.connections):
            if connection.subscriptions:
                connection.end(gives_up=gives_up)


class _Barrier:
    def __init__(self, done: asyncio.Future[None]) -> None:
        self.done = done

    def replied(self, reply: Reply, applied: Applied) -> None:
        if not self.done.done():
            self.done.set_result(None)

    def refused(self, session_id: int, request_seq: int, code: Reject, message: str) -> None:
        if not self.done.done():
            self.done.set_exception(QueryError(Reject.TOO_STALE, f"no barrier: {message}"))

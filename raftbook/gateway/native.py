"""The native client port: sockets, logins, sessions, requests and subscriptions.

Owns the connections of clients and their bounds. Form and credentials are judged here, the market
never: a request that is well formed goes to the replica. See docs/PROTOCOL.md.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from raftbook.core.accounts import Account
from raftbook.core.commands import NO_SESSION, OPEN_SESSION, form_error, is_id, open_session
from raftbook.core.events import SESSION_OPENED, Reply
from raftbook.core.types import Reject
from raftbook.errors import ProtocolError
from raftbook.feed.stream import FeedHistory
from raftbook.gateway.privacy import private_view
from raftbook.gateway.queries import (
    ABOUT_THE_NODE,
    INDEX_MAX,
    Arguments,
    Queries,
    QueryError,
    natural,
)
from raftbook.gateway.subscriptions import Subscription, make_subscription
from raftbook.replica.machine import Applied
from raftbook.replica.replica import Replica
from raftbook.wire.client_messages import (
    FAILURE,
    HELLO,
    LOGIN,
    OPEN,
    PING,
    PONG,
    PROTOCOL_VERSION,
    PUSH,
    QUERY,
    REFUSED,
    REPLY,
    REQUEST,
    RESULT,
    SUBSCRIBE,
    WELCOME,
    login_proof,
    read_message,
)
from raftbook.wire.entry import pack_request
from raftbook.wire.framing import FrameReader, frame
from raftbook.wire.packing import brief, pack

_log = logging.getLogger(__name__)

SUBSCRIPTIONS_MAX: Final = 64
"""Subscriptions of one connection."""
SESSIONS_MAX: Final = 64
"""Sessions one connection may use."""
QUERIES_MAX: Final = 256
"""Queries of one connection that wait for their answer."""
WAIT_MS_MAX: Final = 600_000
"""Longest time a `digest` query may wait for its index."""
MESSAGE_CHARS_MAX: Final = 250
"""Longest text of a refusal: who sends megabytes need not get them back."""


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
        self.connections: set[ClientConnection] = set()
        self._server: asyncio.Server | None = None
        self._applied = asyncio.Event()
        self._forget_entries()
        replica.on_applied.append(self._on_applied)
        replica.on_installed.append(self._on_installed)

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
        for connection in list(self.connections):
            connection.end()

    async def wait_applied(self, index: int, deadline: float) -> bool:
        """Wait until this node has applied `index`; False if the loop's time passes `deadline`."""
        loop = asyncio.get_running_loop()
        while self.replica.raft.applied_index < index:
            left = deadline - loop.time()
            if left <= 0:
                return False
            self._applied.clear()
            try:
                async with asyncio.timeout(min(left, 0.05)):
                    await self._applied.wait()
            except TimeoutError:
                continue
        return True

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
        self._applied.set()
        self.feed.add(applied.index, applied.time_ns, applied.replies)
        for connection in self.connections:
            connection.publish(applied)

    def _on_installed(self) -> None:
        self._applied.set()
        self._forget_entries()
        self.feed.forget()
        for connection in list(self.connections):
            # What a subscriber missed is unknown here: it resumes by itself, elsewhere or anew.
            if connection.subscriptions:
                connection.end()


class _Barrier:
    def __init__(self, done: asyncio.Future[None]) -> None:
        self.done = done

    def replied(self, reply: Reply, applied: Applied) -> None:
        if not self.done.done():
            self.done.set_result(None)

    def refused(self, session_id: int, request_seq: int, code: Reject, message: str) -> None:
        if not self.done.done():
            self.done.set_exception(QueryError(Reject.TOO_STALE, f"no barrier: {message}"))


class ClientConnection(asyncio.Protocol):
    """One client."""

    def __init__(self, server: ClientServer) -> None:
        self._server = server
        self._bounds = server.bounds
        self._reader = FrameReader(server.bounds.frame_bytes_max)
        self._transport: asyncio.Transport | None = None
        self._nonce = server.nonce()
        self._greeted = False
        self._timer: asyncio.TimerHandle | None = None
        self._heard_at = 0.0
        self._outgoing: list[bytes] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._account_name: str | None = None
        self._sessions: dict[int, str] = {}  # the account each was opened for
        self._opening = 0  # OPENs that the log has not answered
        self.subscriptions: dict[int, Subscription] = {}
        self._last_subscription = 0
        self._handlers: dict[int, Callable[..., None]] = {
            HELLO: self._on_hello,
            LOGIN: self._on_login,
            OPEN: self._on_open,
            REQUEST: self._on_request,
            QUERY: self._on_query,
            SUBSCRIBE: self._on_subscribe,
            PING: self._on_ping,
        }

    # -- asyncio ------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        connections = self._server.connections
        connections.add(self)
        loop = asyncio.get_running_loop()
        self._heard_at = loop.time()
        if len(connections) > self._bounds.connections_max:
            self._fail(0, Reject.OVERLOADED, "too many connections; use another node")
            self.end()
            return
        self._timer = loop.call_later(self._bounds.handshake_timeout_s, self._look_at_silence)

    def data_received(self, piece: bytes) -> None:
        self._heard_at = asyncio.get_running_loop().time()
        try:
            for payload in self._reader.feed(piece):
                self._receive(payload)
        except ProtocolError as error:
            self._fail(0, Reject.MALFORMED, str(error))
            self.end()

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._server.connections.discard(self)
        if self._timer is not None:
            self._timer.cancel()
        for task in self._tasks:
            task.cancel()

    def end(self) -> None:
        """Close after what was written has left, or soon if the client does not read it."""
        self._flush()
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        transport.close()
        if self._timer is not None:
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._bounds.handshake_timeout_s, transport.abort)

    def _look_at_silence(self) -> None:
        loop = asyncio.get_running_loop()
        idle_s = loop.time() - self._heard_at
        if not self._greeted or idle_s >= self._bounds.idle_timeout_s:
            self._fail(0, Reject.OVERLOADED, "silent for too long")
            self.end()
            return
        wait_s = self._bounds.idle_timeout_s - idle_s
        self._timer = loop.call_later(wait_s, self._look_at_silence)

    def _send(self, *message: Any) -> None:
        """Queue a message; all that is queued in one round of the loop leaves in one write."""
        if not self._outgoing:
            asyncio.get_running_loop().call_soon(self._flush)
        self._outgoing.append(frame(pack(message)))

    def _flush(self) -> None:
        outgoing, self._outgoing = self._outgoing, []
        transport = self._transport
        if transport is None or not outgoing:
            return
        transport.write(b"".join(outgoing))
        if transport.get_write_buffer_size() > self._bounds.buffer_bytes_max:
            _log.warning("a client reads too slowly, connection dropped")
            transport.abort()

    def _fail(self, ref: int, code: Reject, message: str) -> None:
        self._send(FAILURE, ref, int(code), message[:MESSAGE_CHARS_MAX])

    # -- messages -----------------------------------------------------------------------------

    def _receive(self, payload: bytes) -> None:
        kind, *fields = read_message(payload)
        handler = self._handlers.get(kind)
        if handler is None:
            raise ProtocolError(f"message kind {kind} is not for a node")
        if not self._greeted and kind != HELLO:
            raise ProtocolError("the first message must be HELLO")
        handler(*fields)

    def _on_hello(self, version: int, client_name: str) -> None:
        if version != PROTOCOL_VERSION:
            raise ProtocolError(f"client protocol {version}; this node speaks {PROTOCOL_VERSION}")
        self._greeted = True
        name, cluster_id = self._server.cluster
        node_id = self._server.replica.node_id
        self._send(WELCOME, PROTOCOL_VERSION, name, cluster_id, node_id, self._nonce)

    def _on_login(self, ref: int, name: str, proof: bytes) -> None:
        account = self._server.queries.exchange.accounts.get(name)
        secret = self._server.secrets.get(name)
        expected = b"" if secret is None else login_proof(secret, name, self._nonce)
        if account is None:
            self._fail(ref, Reject.UNKNOWN_ACCOUNT, f"no account {brief(name)}; see cluster.toml")
        elif secret is not None and not hmac.compare_digest(proof, expected):
            self._fail(ref, Reject.NOT_AUTHORIZED, f"wrong secret for account {name!r}")
        else:
            self._account_name = name
            self._send(RESULT, ref, {"account": name, "operator": account.is_operator})

    def _account(self) -> Account | None:
        accounts = self._server.queries.exchange.accounts
        return None if self._account_name is None else accounts.get(self._account_name)

    def _on_open(self, ref: int, key: str) -> None:
        if self._account_name is None:
            self._fail(ref, Reject.NOT_AUTHORIZED, "OPEN needs a LOGIN first")
        elif not is_id(key):
            self._fail(ref, Reject.MALFORMED, f"session key {brief(key)} is not acceptable")
        elif len(self._sessions) + self._opening >= SESSIONS_MAX:
            self._fail(ref, Reject.OVERLOADED, f"at most {SESSIONS_MAX} sessions a connection")
        else:
            seq = self._server.unique()
            raw = pack_request(NO_SESSION, seq, (open_session(self._account_name, key),))
            self._opening += 1
            self._server.replica.submit(NO_SESSION, seq, raw, _Opening(self, ref))
            self._server.wake()

    def opened(self, ref: int, reply: Reply) -> None:
        """The log answered an OPEN of this connection."""
        self._opening -= 1
        event = reply[4][0]
        if event[0] == SESSION_OPENED:
            self._sessions[event[2]] = event[3]
            self._send(RESULT, ref, (event[2], event[4]))
        else:
            self._fail(ref, Reject(event[2]), "the session was refused")

    def not_opened(self, ref: int, code: Reject, message: str) -> None:
        """An OPEN did not get into the log, as far as this node knows."""
        self._opening -= 1
        self._fail(ref, code, message)

    def _on_request(self, session_id: int, request_seq: int, commands: tuple[Any, ...]) -> None:
        problem = self._request_problem(session_id, request_seq, commands)
        if problem is not None:
            self.refused(session_id, request_seq, Reject.MALFORMED, problem)
            return
        raw = pack_request(session_id, request_seq, commands)
        if len(raw) > self._bounds.request_bytes_max:
            problem = f"a request of {len(raw)} bytes; at most {self._bounds.request_bytes_max}"
            self.refused(session_id, request_seq, Reject.MALFORMED, problem)
            return
        self._server.replica.submit(session_id, request_seq, raw, self)
        self._server.wake()

    def _request_problem(
        self, session_id: int, request_seq: int, commands: tuple[Any, ...]
    ) -> str | None:
        if session_id not in self._sessions:
            return f"session {session_id} is not open on this connection"
        if not 0 < request_seq < 2**62:
            return f"request_seq {request_seq} is out of range"
        if not 0 < len(commands) <= self._bounds.request_commands_max:
            return f"a request has 1 to {self._bounds.request_commands_max} commands"
        for command in commands:
            try:
                problem = form_error(command)
            except RecursionError:
                problem = "a command is nested too deeply"
            if problem is not None:
                return problem
            if command[0] == OPEN_SESSION:
                return "sessions are opened with OPEN"
        return None

    # -- the replica's waiter -----------------------------------------------------------------

    def replied(self, reply: Reply, applied: Applied) -> None:
        """See `proposer.Waiter`."""
        session_id, request_seq, entry_index, offset, events, poss_dup = reply
        events = private_view(events, self._sessions.get(session_id, ""))
        leader_id = self._server.replica.raft.leader_id or 0
        self._send(
            REPLY,
            session_id,
            request_seq,
            entry_index,
            applied.term,
            applied.time_ns,
            offset,
            events,
            poss_dup,
            leader_id,
        )

    def refused(self, session_id: int, request_seq: int, code: Reject, message: str) -> None:
        """See `proposer.Waiter`."""
        self._send(REFUSED, session_id, request_seq, int(code), message[:MESSAGE_CHARS_MAX])

    # -- queries and subscriptions ------------------------------------------------------------

    def _on_query(self, ref: int, name: str, arguments: Arguments) -> None:
        if len(self._tasks) >= QUERIES_MAX:
            self._fail(ref, Reject.OVERLOADED, f"at most {QUERIES_MAX} queries at once")
            return
        task = asyncio.get_running_loop().create_task(self._answer(ref, name, arguments))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, ref: int, name: str, arguments: Arguments) -> None:
        try:
            if name in self._server.admin:
                value = await self._administer(name, arguments)
            else:
                await self._reach(name, arguments)
                value = self._server.queries.answer(name, arguments, self._account())
        except QueryError as error:
            self._fail(ref, error.code, error.message)
        except Exception:
            _log.exception("query %s failed", name)
            self._fail(ref, Reject.NOT_READY, "this node cannot answer that; see its log")
        else:
            self._send(RESULT, ref, value)

    async def _administer(self, name: str, arguments: Arguments) -> Any:
        account = self._account()
        if account is None or not account.is_operator:
            raise QueryError(Reject.NOT_AUTHORIZED, f"{name!r} needs the login of an operator")
        return await self._server.admin[name](arguments)

    async def _reach(self, name: str, arguments: Arguments) -> None:
        """Wait until the local state is as new as the question asks."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._bounds.deadline_s
        index = natural(arguments, "at_least", 0, high=INDEX_MAX)
        if name == "digest":
            index = natural(arguments, "index", index, high=INDEX_MAX)
            deadline = loop.time() + natural(arguments, "wait_ms", 1_000, high=WAIT_MS_MAX) / 1_000
        if arguments.get("linearizable"):
            if self._account_name is None:  # a barrier is an entry in the log
                raise QueryError(Reject.NOT_AUTHORIZED, "linearizable reads need a login")
            await self._server.barrier()
        if not await self._server.wait_applied(index, deadline):
            applied = self._server.replica.raft.applied_index
            message = f"this node has applied {applied}, not yet {index}; ask again"
            raise QueryError(Reject.TOO_STALE, message)
        self._check_age(name, arguments)

    def _check_age(self, name: str, arguments: Arguments) -> None:
        """Refuse to show a market that this node has had no word of for long."""
        default_ms = round(self._bounds.read_age_max_s * 1_000)
        age_max_ms = natural(arguments, "max_age_ms", default_ms, high=INDEX_MAX)
        age_ms = self._server.replica.age_ms()
        if age_ms > age_max_ms and name not in ABOUT_THE_NODE:
            message = f"this node last heard of a leader {age_ms / 1_000:.1f} s ago, more than "
            message += f"{age_max_ms / 1_000:g} s; ask another, or take it as it is: max_age_ms"
            raise QueryError(Reject.TOO_STALE, message)

    def _on_subscribe(self, ref: int, name: str, arguments: Arguments) -> None:
        if len(self.subscriptions) >= SUBSCRIPTIONS_MAX:
            self._fail(ref, Reject.OVERLOADED, f"at most {SUBSCRIPTIONS_MAX} subscriptions")
            return
        server = self._server
        try:
            subscription = make_subscription(
                name, arguments, self._account(), server.queries, server.feed, server.kept_from
            )
        except QueryError as error:
            self._fail(ref, error.code, error.message)
            return
        self._last_subscription = number = self._last_subscription + 1
        self.subscriptions[number] = subscription
        self._send(RESULT, ref, {"subscription": number, **subscription.result})
        for value in subscription.first():
            self._send(PUSH, number, value)

    def publish(self, applied: Applied) -> None:
        """Push what an applied entry means for this client's subscriptions."""
        for number, subscription in self.subscriptions.items():
            for value in subscription.next(applied):
                self._send(PUSH, number, value)

    def _on_ping(self, ref: int) -> None:
        self._send(PONG, ref)


@dataclass(frozen=True, slots=True)
class _Opening:
    """Waits for the log's answer to an OPEN."""

    connection: ClientConnection
    ref: int

    def replied(self, reply: Reply, applied: Applied) -> None:
        self.connection.opened(self.ref, reply)

    def refused(self, session_id: int, request_seq: int, code: Reject, message: str) -> None:
        # A session key makes opening again harmless, so even an unknown outcome may be resent.
        self.connection.not_opened(self.ref, code, f"the session could not be opened: {message}")

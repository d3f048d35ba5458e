"""One client's connection: its socket, its greeting, its timers.

Owns what may be said when, and how long a frame may be: before the login, and in everything but a
request, a frame is small, so a stranger can make a node hold no more. What is asked of the log is
`requests.py`'s, what is asked of this node `questions.py`'s.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from raftbook.core.accounts import Account
from raftbook.core.types import Reject
from raftbook.errors import ProtocolError
from raftbook.gateway.caller import Caller
from raftbook.gateway.intake import Inflow
from raftbook.gateway.outbox import Outbox
from raftbook.gateway.proofs import secrets_of
from raftbook.gateway.queries import QueryError
from raftbook.gateway.questions import Questions
from raftbook.gateway.requests import Requests
from raftbook.gateway.subscriptions import Subscription
from raftbook.replica.machine import Applied
from raftbook.wire.client_messages import (
    HELLO,
    LOGIN,
    OPEN,
    PING,
    PONG,
    PROTOCOL_VERSION,
    QUERY,
    REQUEST,
    RESULT,
    SUBSCRIBE,
    WELCOME,
    login_proof,
    packed_request,
    read_message,
)
from raftbook.wire.framing import FrameReader
from raftbook.wire.packing import brief

if TYPE_CHECKING:
    from raftbook.gateway.native import ClientServer

_log = logging.getLogger(__name__)

SMALL_FRAME_BYTES_MAX: Final = 4096
"""A frame before the login, and any message but a REQUEST: none of them needs a tenth of it."""


class ClientConnection(asyncio.BufferedProtocol):
    """One client."""

    def __init__(self, server: ClientServer) -> None:
        self._server = server
        self._bounds = server.bounds
        self._reader = FrameReader(min(SMALL_FRAME_BYTES_MAX, server.bounds.frame_bytes_max))
        self._nonce = server.nonce()
        self._greeted = False
        self._timer: asyncio.TimerHandle | None = None
        self._is_ending = False
        self._handlers: dict[int, Callable[..., None]] = {
            HELLO: self._on_hello,
            LOGIN: self._on_login,
            PING: self._on_ping,
        }

    # -- asyncio ------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._caller = Caller(_address(transport))
        self._inflow = Inflow(self._server.intake, transport, self._hear)
        bytes_max = self._bounds.buffer_bytes_max
        self._outbox = Outbox(transport, self._caller.address, bytes_max, self._server.pace)
        self._questions = Questions(self._server, self._caller, self._outbox)
        self._requests = Requests(self._server, self._caller, self._outbox)
        self._handlers |= {
            OPEN: self._requests.on_open,
            QUERY: self._questions.on_query,
            SUBSCRIBE: self._questions.on_subscribe,
        }
        connections = self._server.connections
        connections.add(self)
        loop = asyncio.get_running_loop()
        self._caller.heard_at = loop.time()
        if len(connections) > self._bounds.connections_max:
            self._outbox.fail(0, Reject.OVERLOADED, "too many connections; use another node")
            self.end()
            return
        self._timer = loop.call_later(self._bounds.handshake_timeout_s, self._look_at_silence)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._server.intake.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.data_received(bytes(self._server.intake.buffer[:nbytes]))

    def data_received(self, piece: bytes) -> None:
        """The next piece of the stream; its frames are handled in turn with those of others."""
        self._inflow.arrive(piece)

    def _hear(self, portion: bytes) -> None:
        self._caller.heard_at = asyncio.get_running_loop().time()
        if self._is_ending:
            return
        try:
            for payload in self._reader.feed(portion):
                self._receive(payload)
        except ProtocolError as error:
            self._outbox.fail(0, Reject.MALFORMED, str(error))
            self.end()

    def pause_writing(self) -> None:
        self._outbox.pause()

    def resume_writing(self) -> None:
        self._outbox.resume()

    def connection_lost(self, error: Exception | None) -> None:
        self._is_ending = True
        self._server.connections.discard(self)
        if self._timer is not None:
            self._timer.cancel()
        self._inflow.end()
        self._outbox.give_up()
        self._questions.give_up()
        self._requests.give_up()
        self._handlers.clear()  # they hold this object: without them it goes at once

    def end(self, *, gives_up: bool = False) -> None:
        """Close after what was written has left, or soon if the client does not read it.

        Args:
            gives_up: what was not written yet is worth nothing any more.
        """
        if gives_up:
            self._outbox.give_up()
        self._outbox.empty()
        self._is_ending = True
        transport = self._transport
        if transport.is_closing():
            return
        transport.close()
        if self._timer is not None:
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._bounds.handshake_timeout_s, transport.abort)

    def _look_at_silence(self) -> None:
        """End a connection on which the client says nothing, or takes nothing."""
        loop = asyncio.get_running_loop()
        idle_max_s = self._bounds.idle_timeout_s
        idle_s = loop.time() - self._caller.heard_at
        is_silent = not self._greeted or idle_s >= idle_max_s
        if is_silent and self._transport.is_closing():  # it hung up, and takes nothing either
            self._transport.abort()
            return
        if is_silent:
            self._outbox.fail(0, Reject.OVERLOADED, "silent for too long")
            self.end()
            return
        stalled_at = self._outbox.stalled_at
        stalled_s = 0.0 if stalled_at is None else loop.time() - stalled_at
        if stalled_s >= idle_max_s:
            address = self._caller.address
            extra = {"event": "slow_client", "fields": {"client": address}}
            _log.warning("client %s does not read, connection dropped", address, extra=extra)
            self._transport.abort()
            return
        wait_s = idle_max_s - max(idle_s, stalled_s)
        self._timer = loop.call_later(wait_s, self._look_at_silence)

    # -- messages -----------------------------------------------------------------------------

    def _receive(self, payload: bytes) -> None:
        message = read_message(payload)
        kind, fields = message[0], message[1:]
        if kind != REQUEST and kind not in self._handlers:
            raise ProtocolError(f"message kind {kind} is not for a node")
        if not self._greeted and kind != HELLO:
            raise ProtocolError("the first message must be HELLO")
        if kind == REQUEST:
            session_id, request_seq, commands = fields
            raw = packed_request(payload)
            self._requests.on_request(session_id, request_seq, commands, raw)
        elif len(payload) > SMALL_FRAME_BYTES_MAX:
            text = f"a message of {len(payload)} bytes; only a REQUEST may have over 4096"
            ref = fields[0] if kind in (OPEN, QUERY, SUBSCRIBE) else 0
            self._outbox.fail(ref, Reject.MALFORMED, text)
        else:
            self._handlers[kind](*fields)

    def _on_hello(self, version: int, client_name: str) -> None:
        if version != PROTOCOL_VERSION:
            raise ProtocolError(f"client protocol {version}; this node speaks {PROTOCOL_VERSION}")
        self._greeted = True
        name, cluster_id = self._server.cluster
        node_id = self._server.replica.node_id
        self._outbox.send(WELCOME, PROTOCOL_VERSION, name, cluster_id, node_id, self._nonce)

    def _on_login(self, ref: int, name: str, proof: bytes) -> None:
        account = self._server.queries.exchange.accounts.get(name)
        if account is None:
            message = f"no account {brief(name)}; see cluster.toml"
            self._outbox.fail(ref, Reject.UNKNOWN_ACCOUNT, message)
        elif not self._is_proven(account, proof):
            message = f"wrong secret for account {name!r}"
            self._outbox.fail(ref, Reject.NOT_AUTHORIZED, message)
        else:
            self._caller.account_name = name
            self._reader.widen(self._bounds.frame_bytes_max)
            self._outbox.send(RESULT, ref, {"account": name, "operator": account.is_operator})

    def _is_proven(self, account: Account, proof: bytes) -> bool:
        secrets = secrets_of(account, self._server.secrets)
        return secrets is None or any(
            hmac.compare_digest(proof, login_proof(secret, account.name, self._nonce))
            for secret in secrets
        )

    def _on_ping(self, ref: int) -> None:
        """Who hears nothing for long asks for a sign; a stream has one only while it may go on."""
        try:
            if self.subscriptions:
                self._questions.check_streams()
        except QueryError as error:
            self._outbox.fail(0, error.code, error.message)
            self.end()
        else:
            self._outbox.send(PONG, ref)

    # -- subscriptions ------------------------------------------------------------------------

    @property
    def subscriptions(self) -> Mapping[int, Subscription]:
        """What it listens to, by number."""
        return self._questions.subscriptions

    def publish(self, applied: Applied) -> None:
        """See `Questions.publish`."""
        self._questions.publish(applied)


def _address(transport: asyncio.Transport) -> str:
    """Where a client calls from, for people."""
    name = transport.get_extra_info("peername")
    return f"{name[0]}:{name[1]}" if isinstance(name, tuple) and len(name) > 1 else "unknown"

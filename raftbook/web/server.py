"""The HTTP server of a node: uvicorn on the node's own loop, within the node's bounds.

Owns the listener, how many connections there are, how long they may say nothing and how much they
may say at once. What is answered is `app.py`'s.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import uvicorn
from starlette.types import ASGIApp, Scope
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from raftbook.gateway.intake import Intake
from raftbook.gateway.pace import Asker, Pace
from raftbook.web import asking, websocket
from raftbook.web.portions import Portions
from raftbook.web.websocket import WebSocketProtocol

HEAD_BYTES_MAX: Final = 16 << 10
"""Request line and headers of one request: a listing of many symbols is the longest there is."""
WEBSOCKET_BYTES_MAX: Final = 64 << 10
"""One message of a client."""
PING_S: Final = 20.0
PONG_S: Final = 60.0
"""How often a WebSocket is asked for a sign, and how long it has for it."""
GOODBYE_S: Final = 1
"""How long requests under way may take when the node stops."""
_TOO_MANY = b'{"code":-1003,"msg":"Too many connections; use another node."}'
_CROWDED: Final = (
    b"HTTP/1.1 429 Too Many Requests\r\ncontent-type: application/json\r\nretry-after: 1\r\n"
    b"connection: close\r\ncontent-length: %d\r\n\r\n%s" % (len(_TOO_MANY), _TOO_MANY)
)
_TOO_LONG: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\n"
    b"content-length: 0\r\n\r\n"
)


@dataclass(frozen=True, slots=True)
class WebBounds:
    """See `config.Bounds` and `config.Timings`."""

    connections_max: int
    request_timeout_s: float
    idle_timeout_s: float
    buffer_bytes_max: int = 16 << 20


class WebServer:
    """The HTTP port of one node.

    Args:
        app: what answers.
        on_close: called, one after the other, when it closes.
        intake, pace: shared with the other ports of the node.
    """

    def __init__(
        self,
        app: ASGIApp,
        bounds: WebBounds,
        *,
        on_close: Sequence[Callable[[], None]] = (),
        intake: Intake | None = None,
        pace: Pace | None = None,
    ) -> None:
        self._on_close = on_close
        pace = Pace() if pace is None else pace
        intake = Intake() if intake is None else intake
        shared = {"bounds": bounds, "intake": intake, "pace": pace}
        bound = {"buffer_bytes_max": bounds.buffer_bytes_max, "pace": pace}
        config = uvicorn.Config(
            app,
            http=type("_Bound", (_Connection,), shared),
            ws=type("_BoundWebSocket", (WebSocketProtocol,), bound),
            ws_max_size=WEBSOCKET_BYTES_MAX,
            ws_ping_interval=PING_S,
            ws_ping_timeout=PONG_S,
            ws_per_message_deflate=False,
            lifespan="off",
            interface="asgi3",
            log_config=None,
            log_level="error",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=max(1, int(bounds.idle_timeout_s)),
            timeout_graceful_shutdown=GOODBYE_S,
        )
        self._server = uvicorn.Server(config)
        self._sockets: list[socket.socket] = []
        self._ticking: asyncio.Task[None] | None = None

    async def start(self, host: str, port: int) -> None:
        """Listen.

        Raises:
            OSError: the address cannot be used.
        """
        self._sockets = await _bound_sockets(host, port)
        server = self._server
        server.config.load()
        server.lifespan = server.config.lifespan_class(server.config)
        await server.startup(sockets=self._sockets)
        self._ticking = asyncio.get_running_loop().create_task(server.main_loop())

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._sockets[0].getsockname()[1])

    @property
    def connection_count(self) -> int:
        """Open connections, WebSockets included."""
        return len(self._server.server_state.connections)

    async def close(self) -> None:
        """Stop listening and end every connection; requests under way have GOODBYE_S."""
        if self._ticking is None:
            return
        for listener in self._on_close:
            listener()
        self._server.should_exit = True
        for connection in self._server.server_state.connections:
            cast(_Connection | WebSocketProtocol, connection).asker.end()
        await self._ticking
        await self._server.shutdown(sockets=self._sockets)
        self._ticking = None


async def _bound_sockets(host: str, port: int) -> list[socket.socket]:
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in dict.fromkeys(found):
            one = socket.socket(family, kind, protocol)
            sockets.append(one)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            one.bind(address)
    except OSError:
        for one in sockets:
            one.close()
        raise
    return sockets


class _Connection(HttpToolsProtocol):
    """One connection, held to the bounds that uvicorn does not know.

    A request has `request_timeout_s` to arrive whole; an answer, `idle_timeout_s` to be taken.
    While a request that came whole waits for its turn nothing is read behind it, so of those there
    are never more than one portion of the stream holds.
    """

    bounds: WebBounds
    intake: Intake
    pace: Pace

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.asker = Asker(self.pace)
        self._head_bytes = 0
        self._is_in_head = True
        # Two, as a client may send a request while it does not take an answer.
        self._reading: asyncio.TimerHandle | None = None
        self._writing: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        idle_s = self.bounds.idle_timeout_s
        portions = Portions(self, transport, self.intake, goodbye_s=idle_s)
        self._gathering = portions.transport
        super().connection_made(portions.transport)
        self.flow = _Flow(portions.transport, self.pipeline)
        # What a client that is gone had asked for counts until it has ended.
        if max(len(self.connections), len(self.tasks) + 1) > self.bounds.connections_max:
            self.transport.write(_CROWDED)
            self.transport.close()
            return
        self._await_request()

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if self._is_in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._head_bytes > HEAD_BYTES_MAX:
            self.transport.write(_TOO_LONG)
            self.transport.close()
            return
        self._look_at_request()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        cast(Scope, self.scope)["extensions"] = {asking.EXTENSION: self.asker}

    def on_headers_complete(self) -> None:
        self._is_in_head = False
        self._head_bytes = 0
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._is_in_head = True
        self._stop_reading_timer()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self.transport.is_closing():
            self._look_at_request()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stop_writing_timer()
        self._writing = self.loop.call_later(self.bounds.idle_timeout_s, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_writing_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_reading_timer()
        self._stop_writing_timer()
        super().connection_lost(exc)
        self.asker.end()

    def handle_websocket_upgrade(self) -> None:
        self._stop_reading_timer()
        self._stop_writing_timer()
        self._gathering.goodbye_s = websocket.GOODBYE_S
        super().handle_websocket_upgrade()

    def _look_at_request(self) -> None:
        """A request that has begun has its time to arrive, but not while nothing is read."""
        if self.pipeline:
            self._stop_reading_timer()
        elif self._reading is None and (self._head_bytes or not self._is_in_head):
            self._await_request()

    def _await_request(self) -> None:
        self._stop_reading_timer()
        self._reading = self.loop.call_later(self.bounds.request_timeout_s, self.transport.abort)

    def _stop_reading_timer(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None

    def _stop_writing_timer(self) -> None:
        if self._writing is not None:
            self._writing.cancel()
            self._writing = None


class _Flow(FlowControl):
    """Reads on only when no request waits for its turn; uvicorn's own does after every answer."""

    def __init__(self, transport: asyncio.Transport, pipeline: deque[Any]) -> None:
        super().__init__(transport)
        self._pipeline = pipeline

    def resume_reading(self) -> None:
        if not self._pipeline:
            super().resume_reading()

"""Whatever comes at the HTTP port, and however little of the answers is read: what a node does at
once, and what it keeps, is bounded."""

import asyncio
import socket
from base64 import b64encode
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from uvicorn import Config
from uvicorn.server import ServerState

from raftbook.gateway.intake import PORTION_BYTES, READ_BYTES, Intake
from raftbook.gateway.pace import Pace
from raftbook.web import websocket
from raftbook.web.portions import Portions
from raftbook.web.server import WebBounds, WebServer
from raftbook.web.throttle import MESSAGES_BURST, TOO_MANY_MESSAGES
from raftbook.web.websocket import (
    FRAGMENTS_MAX,
    SLOW,
    TOO_MANY_FRAGMENTS,
    WebSocketProtocol,
    text_frame,
)

BOUNDS = WebBounds(connections_max=8, request_timeout_s=20.0, idle_timeout_s=60.0)
GET = b"GET /api/v3/ping HTTP/1.1\r\n\r\n"
UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n\r\n" % b64encode(bytes(16))
)
TEXT, LAST_TEXT, MORE, PING, PONG, CLOSE = 0x01, 0x81, 0x00, 0x89, 0x8A, 0x88
Scene = Callable[[WebServer], Awaitable[None]]


def _frame(kind: int, payload: bytes = b"") -> bytes:
    """A frame of a client, whose mask changes nothing."""
    return bytes((kind, 0x80 | len(payload))) + bytes(4) + payload


def _closing(code: int, reason: str) -> bytes:
    payload = code.to_bytes(2, "big") + reason.encode()
    return bytes((CLOSE, len(payload))) + payload


def served(app: Any, scene: Scene) -> None:
    async def play() -> None:
        server = WebServer(app, BOUNDS)
        await server.start("127.0.0.1", 0)
        try:
            async with asyncio.timeout(60):
                await scene(server)
        finally:
            await server.close()

    asyncio.run(play())


async def _open(server: WebServer) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", server.port)


async def _upgraded(server: WebServer) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await _open(server)
    writer.write(UPGRADE)
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
    return reader, writer


async def _listener(scope: Any, receive: Any, send: Any) -> None:
    """Takes whatever comes on a WebSocket, and says nothing."""
    await receive()
    await send({"type": "websocket.accept"})
    while (await receive())["type"] != "websocket.disconnect":
        pass


def _connection(server: WebServer) -> Any:
    (connection,) = server._server.server_state.connections
    return connection


# -- HTTP -----------------------------------------------------------------------------------------


def test_requests_that_wait_for_their_turn_are_few_however_many_were_sent() -> None:
    lengths: list[int] = []

    async def scene(server: WebServer) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            lengths.append(len(_connection(server).pipeline))
            number = b"%06d" % len(lengths)
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": number})

        server._server.config.loaded_app = app
        reader, writer = await _open(server)
        writer.write(GET * 4_000)
        for number in range(1, 4_001):
            await reader.readuntil(b"6\r\n%06d\r\n0\r\n\r\n" % number)
        writer.close()
        assert max(lengths) <= PORTION_BYTES // len(GET)

    served(_listener, scene)


def test_bodies_that_come_in_parts_behind_other_requests_are_heard_whole() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        body, is_more = b"", True
        while is_more:
            message = await receive()
            body, is_more = body + message["body"], message["more_body"]
        told = b"%d %s" % (len(body), body[:2])
        headers = [(b"content-length", b"%d" % len(told))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": told})

    async def scene(server: WebServer) -> None:
        reader, writer = await _open(server)
        for number in range(50):
            body = b"%02d" % number + bytes(300 * number)
            head = b"POST / HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % len(body)
            writer.write(head + body)
        for number in range(50):
            await reader.readuntil(b"\r\n\r\n%d %02d" % (2 + 300 * number, number))
        writer.close()

    served(app, scene)


def test_an_answer_that_takes_long_costs_the_request_behind_it_no_time() -> None:
    """What is not read meanwhile is not late."""
    parts = [b"GET / HTTP/1.1\r\n\r\n" * 2 + b"POST / HTTP/1.1\r\ncontent-length: 2\r\n\r\na", b"b"]
    may_answer = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["method"] == "POST":
            while (await receive())["more_body"]:
                pass
        await may_answer.wait()
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def scene(server: WebServer) -> None:
        reader, writer = await _open(server)
        writer.write(parts[0])
        while not server.connection_count or not _connection(server).pipeline:
            await asyncio.sleep(0)
        assert _connection(server)._reading is None
        may_answer.set()
        writer.write(parts[1])
        for _ in range(3):
            await reader.readuntil(b"\r\n\r\n")
        writer.close()

    served(app, scene)


# -- WebSockets -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [PING, PONG])
def test_whoever_never_stops_pinging_is_closed(kind: int) -> None:
    async def scene(server: WebServer) -> None:
        reader, writer = await _upgraded(server)
        writer.write(_frame(kind) * 20_000)
        told = await reader.readuntil(_closing(1008, TOO_MANY_MESSAGES))
        of_a_portion = PORTION_BYTES // len(_frame(kind))
        assert told.count(b"\x8a\x00") <= MESSAGES_BURST + of_a_portion
        assert _connection(server).conn.writes == []
        writer.close()

    served(_listener, scene)


def test_a_few_pings_are_answered() -> None:
    async def scene(server: WebServer) -> None:
        reader, writer = await _upgraded(server)
        writer.write(_frame(PING, b"a") + _frame(PONG) + _frame(PING, b"b"))
        assert await reader.readexactly(6) == b"\x8a\x01a\x8a\x01b"
        writer.close()

    served(_listener, scene)


def test_of_messages_that_nobody_takes_only_a_portion_is_looked_at() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await asyncio.Event().wait()

    async def scene(server: WebServer) -> None:
        _, writer = await _upgraded(server)
        writer.write(_frame(LAST_TEXT) * 10_000)
        connection = _connection(server)
        while connection.queue.empty():
            await asyncio.sleep(0)
        for _ in range(100):
            await asyncio.sleep(0)
        assert connection.queue.qsize() <= PORTION_BYTES // 6 + 1
        assert 0 < connection.transport._portions.inflow.waiting_bytes <= READ_BYTES
        writer.close()

    served(app, scene)


def test_a_message_has_so_many_fragments_and_no_more() -> None:
    async def scene(server: WebServer) -> None:
        reader, writer = await _upgraded(server)
        writer.write(_frame(TEXT) + _frame(MORE) * (FRAGMENTS_MAX - 1))
        writer.write(_frame(PING))
        assert await reader.readexactly(2) == b"\x8a\x00"
        writer.write(_frame(MORE) * 5_000)
        assert await reader.readexactly(2 + 2 + len(TOO_MANY_FRAGMENTS)) == _closing(
            1009, TOO_MANY_FRAGMENTS
        )
        connection = _connection(server)
        writer.write(_frame(CLOSE))
        assert await reader.read() == b""
        assert connection.frames == []
        writer.close()

    served(_listener, scene)


@pytest.mark.parametrize(
    "last", [_frame(CLOSE, b"\x03\xe8"), _frame(0x83), b"\x81\xff" + bytes(99)]
)
def test_whoever_says_goodbye_and_reads_nothing_is_cut(
    monkeypatch: pytest.MonkeyPatch, last: bytes
) -> None:
    """A close, a frame that there is not, and one that is too long."""
    monkeypatch.setattr(websocket, "GOODBYE_S", 0.05)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        scope["extensions"]["raftbook.wire"].write(text_frame(bytes(32 << 20)))
        await asyncio.Event().wait()

    async def scene(server: WebServer) -> None:
        loop = asyncio.get_running_loop()
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.setblocking(False)
            await loop.sock_sendall(client, UPGRADE)
            assert await loop.sock_recv(client, 1) == b"H"  # and no more of it
            await loop.sock_sendall(client, last)
            while server.connection_count:
                await asyncio.sleep(0.01)

    served(app, scene)


# -- without a socket -----------------------------------------------------------------------------


class Full(asyncio.Transport):
    """A transport to a client that reads nothing."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 50_000), "sockname": ("127.0.0.1", 1)})
        self.written = b""
        self.is_closed = self.was_aborted = False

    def write(self, data: Any) -> None:
        self.written += data

    def get_write_buffer_size(self) -> int:
        return len(self.written)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None: ...

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        self.is_closed = True

    def abort(self) -> None:
        self.is_closed = self.was_aborted = True


def test_whoever_never_reads_its_pongs_is_closed() -> None:
    async def play() -> None:
        kind = type("Small", (WebSocketProtocol,), {"buffer_bytes_max": 1_500, "pace": Pace()})
        config = Config(_listener, log_config=None, ws_ping_interval=None)
        config.load()
        protocol: Any = kind(config, ServerState(), {})
        client = Full()
        protocol.connection_made(client)
        protocol.data_received(UPGRADE)
        while not protocol.handshake_complete:
            await asyncio.sleep(0)
        for _ in range(20):
            protocol.data_received(_frame(PING, bytes(125)))
        assert client.written.endswith(_closing(1008, SLOW))
        assert len(client.written) < 1_500 + 2 * 127
        protocol.connection_lost(None)
        await asyncio.sleep(0)

    asyncio.run(play())


@pytest.mark.parametrize("how", ["close", "eof"])
def test_a_connection_that_is_closed_unread_is_cut(how: str) -> None:
    async def play() -> None:
        client = Full()
        portions = Portions(asyncio.Protocol(), client, Intake(), goodbye_s=0.01)
        portions.transport.write(b"an answer")
        portions.transport.close() if how == "close" else portions.eof_received()
        assert client.written == b"an answer"
        assert (client.is_closed, client.was_aborted) == (True, False)
        async with asyncio.timeout(10):
            while not client.was_aborted:
                await asyncio.sleep(0.001)

    asyncio.run(play())

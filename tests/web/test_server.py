"""The server on a real socket: its bounds, and that it ends."""

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import pytest

from raftbook.web.app import PARTS
from raftbook.web.server import HEAD_BYTES_MAX, WebBounds, WebServer
from tests.web.house import House, in_the_house

BOUNDS = WebBounds(connections_max=3, request_timeout_s=5.0, idle_timeout_s=5.0)
LONG = 64 << 20
"""Bytes that no socket holds by itself."""
Scene = Callable[[House, "Port"], Awaitable[None]]


class Port:
    """Where a server listens."""

    def __init__(self, port: int) -> None:
        self.port = port

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def say(self, text: bytes) -> tuple[bytes, bytes]:
        """What is answered to bytes on a connection of their own, till the node ends it."""
        reader, writer = await self.open()
        writer.write(text)
        async with asyncio.timeout(10):
            answer = await reader.read()
        writer.close()
        head, _, body = answer.partition(b"\r\n\r\n")
        return head, body


def served(folder: Path, scene: Scene, bounds: WebBounds = BOUNDS) -> None:
    async def play(house: House) -> None:
        closed: list[int] = []
        pace = house.door.server.pace
        server = WebServer(house.app, bounds, on_close=[lambda: closed.append(1)], pace=pace)
        await server.start("127.0.0.1", 0)
        try:
            await scene(house, Port(server.port))
        finally:
            await server.close()
        assert closed == [1]
        with pytest.raises(OSError, match=r"."):
            await Port(server.port).open()

    in_the_house(folder, play)


def test_an_answer_over_a_socket(tmp_path: Path) -> None:
    async def scene(house: House, port: Port) -> None:
        request = b"GET /api/v3/ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        head, body = await port.say(request)
        assert head.startswith(b"HTTP/1.1 200 OK")
        assert json.loads(body) == {}
        assert b"x-raftbook-node: 1" in head
        assert b"x-raftbook-leader: 1" in head
        assert b"server:" not in head

    served(tmp_path, scene)


def test_requests_one_after_the_other_and_at_once_on_one_connection(tmp_path: Path) -> None:
    async def scene(house: House, port: Port) -> None:
        reader, writer = await port.open()
        request = b"GET /api/v3/ping HTTP/1.1\r\nHost: x\r\n\r\n"
        for count in (1, 3):
            writer.write(request * count)
            for _ in range(count):
                head = await reader.readuntil(b"\r\n\r\n")
                assert b" 200 " in head
                assert await reader.readexactly(2) == b"{}"
        writer.close()

    served(tmp_path, scene)


def test_every_other_path_says_which_node_it_is_too(tmp_path: Path) -> None:
    async def scene(house: House, port: Port) -> None:
        head, _ = await port.say(b"GET /no/where HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 404")
        assert b"x-raftbook-node: 1" in head

    served(tmp_path, scene)


@pytest.mark.parametrize(
    "text",
    [
        b"\x00\x01\x02\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\xa2\x01\x02\x03",
        b"GET / HTTP/9.9\r\n\r\n",
    ],
)
def test_what_is_no_http_ends_the_connection(tmp_path: Path, text: bytes) -> None:
    async def scene(house: House, port: Port) -> None:
        head, _ = await port.say(text)
        assert head.startswith(b"HTTP/1.1 400") or not head

    bounds = WebBounds(connections_max=3, request_timeout_s=0.3, idle_timeout_s=5.0)
    served(tmp_path, scene, bounds)


def test_a_head_that_does_not_end_is_refused(tmp_path: Path) -> None:
    async def scene(house: House, port: Port) -> None:
        text = b"GET /api/v3/ping HTTP/1.1\r\nX: " + b"x" * HEAD_BYTES_MAX
        head, _ = await port.say(text)
        assert head.startswith(b"HTTP/1.1 431")

    served(tmp_path, scene)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"GET /api/v3/ping HTT",
        b"POST /api/v3/order HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc",
    ],
)
def test_a_request_that_does_not_go_on_ends_the_connection(tmp_path: Path, text: bytes) -> None:
    async def scene(house: House, port: Port) -> None:
        reader, writer = await port.open()
        writer.write(text)
        async with asyncio.timeout(10):
            try:
                assert await reader.read() == b""
            except ConnectionError:
                pass
        writer.close()

    bounds = WebBounds(connections_max=3, request_timeout_s=0.2, idle_timeout_s=60.0)
    served(tmp_path, scene, bounds)


@pytest.mark.parametrize("count", [1, 2])
def test_an_answer_that_is_not_taken_ends_the_connection(count: int) -> None:
    """Another request meanwhile, whole and in time, does not change that."""
    request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    length = (b"content-length", b"%d" % LONG)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [length]})
        await send({"type": "http.response.body", "body": bytes(LONG)})

    async def play() -> None:
        bounds = WebBounds(connections_max=3, request_timeout_s=60.0, idle_timeout_s=0.3)
        server = WebServer(app, bounds)
        await server.start("127.0.0.1", 0)
        loop = asyncio.get_running_loop()
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.setblocking(False)
            await loop.sock_sendall(client, request)
            assert await loop.sock_recv(client, 1) == b"H"  # and no more of it
            for _ in range(1, count):
                await loop.sock_sendall(client, request)
            async with asyncio.timeout(10):
                while server.connection_count:
                    await asyncio.sleep(0.01)
        await server.close()

    asyncio.run(play())


def test_one_connection_too_many_is_told_so(tmp_path: Path) -> None:
    async def scene(house: House, port: Port) -> None:
        kept: list[Any] = [await port.open() for _ in range(BOUNDS.connections_max)]
        for reader, writer in kept:
            writer.write(b"GET /api/v3/ping HTTP/1.1\r\nHost: x\r\n\r\n")
            await reader.readuntil(b"\r\n\r\n{}")
        head, body = await port.say(b"")
        assert head.startswith(b"HTTP/1.1 429")
        assert b"retry-after: 1" in head
        assert json.loads(body)["code"] == -1003
        for reader, writer in kept:
            writer.write(b"GET /api/v3/ping HTTP/1.1\r\nHost: x\r\n\r\n")
            await reader.readuntil(b"\r\n\r\n{}")
            writer.close()

    served(tmp_path, scene)


def test_a_port_that_is_taken_is_an_error_of_the_address(tmp_path: Path) -> None:
    async def scene(house: House, port: Port) -> None:
        other = WebServer(house.app, BOUNDS)
        with pytest.raises(OSError, match=r"[Aa]ddress"):
            await other.start("127.0.0.1", port.port)
        await other.close()

    served(tmp_path, scene)


def test_every_part_is_there_once() -> None:
    """A part that is there twice would do twice what it does with each entry."""
    assert len(set(PARTS)) == len(PARTS)


def test_what_is_under_way_when_the_node_stops_is_said_to_be_unknown(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        await house.buy("1", "100")
        server = WebServer(house.app, BOUNDS)
        await server.start("127.0.0.1", 0)
        house.door.commits = False
        reader, writer = await Port(server.port).open()
        query = b"symbol=BTCUSD&orderId=1&signature=x&timestamp=%d" % int(house.door.now * 1_000)
        writer.write(b"DELETE /api/v3/order?" + query + b" HTTP/1.1\r\nX-MBX-APIKEY: alice\r\n\r\n")
        while not house.door.replica.pending_count:
            await asyncio.sleep(0.001)
        await server.close()
        async with asyncio.timeout(5):
            answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 504")
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == -1007
        writer.close()

    in_the_house(tmp_path, scene)


def _rest(house: House) -> None:
    """From now on nothing is made."""
    house.door.server.pace.free_at = asyncio.get_running_loop().time() + 3600.0


_LOG: Final = b"GET /v1/log HTTP/1.1\r\nHost: x\r\n\r\n"
_TRADES: Final = b"GET /api/v3/trades?symbol=BTCUSD HTTP/1.1\r\nHost: x\r\n\r\n"


def test_nothing_is_made_for_a_client_that_hung_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scene(house: House, port: Port) -> None:
        turns = house.door.server.pace._turns
        before = len(asyncio.all_tasks())
        _rest(house)
        for request in (_LOG, _TRADES):
            for _ in range(2 * BOUNDS.connections_max):
                _, writer = await port.open()
                writer.write(request)
                async with asyncio.timeout(5):
                    while not turns:
                        await asyncio.sleep(0.001)
                    writer.close()
                    while turns:
                        await asyncio.sleep(0.001)
        async with asyncio.timeout(5):
            while len(asyncio.all_tasks()) > before:
                await asyncio.sleep(0.001)
        assert not caplog.records, caplog.text

    served(tmp_path, scene)


def test_what_a_client_that_is_gone_had_asked_for_counts_until_it_has_ended(tmp_path: Path) -> None:
    async def scene(house: House, _: Port) -> None:
        ended = asyncio.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await ended.wait()  # as an order does for its entry

        server = WebServer(app, BOUNDS)
        await server.start("127.0.0.1", 0)
        inner = Port(server.port)
        for _ in range(BOUNDS.connections_max):
            _, writer = await inner.open()
            writer.write(_TRADES)
            async with asyncio.timeout(5):
                while not server.connection_count:
                    await asyncio.sleep(0.001)
                writer.close()
                while server.connection_count:
                    await asyncio.sleep(0.001)
        head, body = await inner.say(_TRADES)
        assert head.startswith(b"HTTP/1.1 429 ")
        assert json.loads(body)["code"] == -1003
        ended.set()
        await server.close()

    served(tmp_path, scene)


@pytest.mark.parametrize(("request_", "word"), [(_LOG, "stopping"), (_TRADES, "-1001")])
def test_a_question_that_waits_when_the_node_stops_may_be_asked_elsewhere(
    tmp_path: Path, request_: bytes, word: str, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[asyncio.Task[tuple[bytes, bytes]]] = []

    async def play(house: House) -> None:
        server = WebServer(house.app, BOUNDS, pace=house.door.server.pace)
        await server.start("127.0.0.1", 0)
        _rest(house)
        asked.append(asyncio.create_task(Port(server.port).say(request_)))
        while not house.door.server.pace._turns:
            await asyncio.sleep(0.001)
        await server.close()
        head, body = await asked[0]
        assert head.startswith(b"HTTP/1.1 503 ")
        assert word in body.decode()

    in_the_house(tmp_path, play)
    assert not caplog.records, caplog.text

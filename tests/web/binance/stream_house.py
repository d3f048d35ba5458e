"""A node with a real HTTP port that serves streams, and clients on real sockets.

Raft's clock stands in the test; that of the sockets is the machine's.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from socket import SO_SNDBUF, SOL_SOCKET
from typing import Any
from unittest.mock import patch

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from raftbook.core import commands as c
from raftbook.web.app import make_app
from raftbook.web.binance import streams
from raftbook.web.binance.listen_keys import ListenKeys
from raftbook.web.binance.user_hub import UserHub
from raftbook.web.context import WebContext
from raftbook.web.server import WebBounds, WebServer
from raftbook.web.websocket import WebSocketProtocol
from raftbook.wire import client_messages as m
from tests.gateway.door import BOUNDS, Caller, Door, at_the_door
from tests.web.house import config

WAIT_S = 20.0


class House:
    """The node, its port, and somebody who trades.

    Attributes:
        keys, users: of the node.
        later_ms: how far its wall clock is ahead of Raft's.
    """

    server: WebServer
    keys: ListenKeys
    users: UserHub

    def __init__(self, door: Door, context: WebContext) -> None:
        self.door, self.context = door, context
        self.later_ms = 0
        self._seq = 0

    @property
    def now_ms(self) -> int:
        return self.context.wall_ns() // 10**6

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait for the node."""
        async with asyncio.timeout(WAIT_S):
            while not is_so():
                await asyncio.sleep(0.01)

    async def trader(self) -> None:
        """Open a session of alice."""
        self._caller: Caller = self.door.caller()
        self._session = await self._caller.open("alice")

    async def do(self, *commands: c.Command) -> Any:
        """One request; its events."""
        self._seq += 1
        self._caller.say(m.REQUEST, self._session, self._seq, commands)
        heard: list[Any] = []
        async with asyncio.timeout(WAIT_S):
            while not heard:
                heard = await self._caller.hear()
        return heard[0]

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.server.port}"

    @asynccontextmanager
    async def client(self, path: str, **options: Any) -> AsyncIterator["Client"]:
        """A connection to one address."""
        async with connect(self.url + path, **options) as socket:
            yield Client(socket)


class Client:
    """One connection."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def hear(self) -> Any:
        """The next message."""
        async with asyncio.timeout(WAIT_S):
            return json.loads(await self.socket.recv())

    async def say(self, value: Any) -> None:
        """One frame."""
        await self.socket.send(value if isinstance(value, str | bytes) else json.dumps(value))

    async def ask(self, method: str, *params: Any, request_id: Any = 1) -> Any:
        """One control request and the next message."""
        await self.say({"method": method, "params": list(params), "id": request_id})
        return await self.hear()

    async def closed(self) -> tuple[int, str]:
        """Hear until the node closes; its code and reason."""
        code, reason, _ = await self.rest()
        return code, reason

    async def rest(self) -> tuple[int, str, list[Any]]:
        """Hear everything until the node closes; code, reason, and what was heard."""
        heard: list[Any] = []
        async with asyncio.timeout(WAIT_S):
            with suppress(ConnectionClosed):
                while True:
                    heard.append(json.loads(await self.socket.recv()))
        return self.socket.close_code or 0, self.socket.close_reason or "", heard


_connection_made = WebSocketProtocol.connection_made


def with_little_room(protocol: WebSocketProtocol, transport: asyncio.Transport) -> None:
    """The kernel holds back little of what a client does not read, so that the node must."""
    transport.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_SNDBUF, 4_096)
    _connection_made(protocol, transport)


def _noted(house: House) -> Callable[..., streams.StreamDoor]:
    """Lets the test see the parts of the door."""
    make = streams.StreamDoor

    def made(door: Any, hub: Any, users: Any, watch: Any) -> streams.StreamDoor:
        house.keys, house.users = door.listen_keys, users
        return make(door, hub, users, watch)

    return made


def in_the_house(
    folder: Path,
    scene: Callable[[House], Awaitable[None]],
    *,
    buffer_bytes_max: int = 1 << 20,
    read_age_max_s: float = 60.0,
    secrets: dict[str, str | None] | None = None,
) -> None:
    """Play a scene; whatever goes wrong in a task of the node fails it."""

    async def play(door: Door) -> None:
        context = WebContext(
            config=config(),
            replica=door.replica,
            queries=door.server.queries,
            feed=door.server.feed,
            clients=door.server,
            describe=dict,
            cluster_secret=b"the secret of this cluster",
            secrets=secrets or {},
            wall_ns=lambda: int(door.now * 1e9) + house.later_ms * 10**6,
        )
        house = House(door, context)
        with patch.object(streams, "StreamDoor", _noted(house)):
            app = make_app(context)
        server = WebServer(app, WebBounds(400, 5.0, 60.0), on_close=context.on_close)
        await server.start("127.0.0.1", 0)
        house.server = server
        await house.trader()
        try:
            await scene(house)
        finally:
            await server.close()

    bounds = replace(BOUNDS, buffer_bytes_max=buffer_bytes_max, read_age_max_s=read_age_max_s)
    at_the_door(folder, play, bounds=bounds)

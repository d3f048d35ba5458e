"""An HTTP port without sockets: the application over a cluster of one, its clock in the test."""

import asyncio
import hashlib
import hmac
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from raftbook.config import ClusterConfig, parse_config, render_config
from raftbook.core.commands import Command, open_session
from raftbook.core.exchange import Genesis
from raftbook.genesis import genesis_of
from raftbook.web.app import make_app
from raftbook.web.context import WebContext
from raftbook.web.websocket import EXTENSION
from raftbook.wire.entry import pack_request
from tests.gateway.door import BOUNDS, Door

CONFIG_TEXT = (
    render_config()
    .replace('name = "bob"\n', 'name = "bob"\nsecret = "bobs secret"\n')
    .replace(
        '[[accounts]]\nname = "alice"',
        '[[accounts]]\nname = "poor"\n\n[[accounts]]\nname = "alice"',
    )
)


def config() -> ClusterConfig:
    """The cluster of the repository; bob has a secret, and poor has nothing."""
    return parse_config(CONFIG_TEXT, Path("cluster.toml"))


@dataclass(frozen=True)
class Answer:
    """What an HTTP request got."""

    status: int
    headers: dict[str, str]
    body: Any

    @property
    def code(self) -> int:
        """Of an error."""
        return int(self.body["code"])


class House:
    """One node with its application.

    Attributes:
        door: the node: its clock, its log, its client port.
        app: what answers over HTTP.
    """

    def __init__(self, folder: Path, genesis: Genesis) -> None:
        self.config = config()
        self.door = Door(folder, BOUNDS, feed_kept=1_000, entries_kept=1_000, genesis=genesis)
        self.secrets = {account.name: account.secret for account in self.config.accounts}
        self.context = WebContext(
            self.config,
            self.door.replica,
            self.door.server.queries,
            self.door.server.feed,
            self.door.server,
            describe=lambda: {"cluster": "test"},
            cluster_secret=b"the secret of this cluster",
            secrets=self.secrets,
            wall_ns=lambda: int(self.door.now * 1e9),
        )
        self.app = make_app(self.context)
        self._names = 0

    @property
    def exchange(self) -> Any:
        return self.door.replica.machine.exchange

    async def ask(
        self,
        method: str,
        path: str,
        query: bytes = b"",
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request, exactly these bytes."""
        sent: list[dict[str, Any]] = []
        given = [
            (name.lower().encode(), value.encode("latin-1"))
            for name, value in (headers or {}).items()
        ]
        if body:
            given.append((b"content-length", b"%d" % len(body)))
        messages = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> dict[str, Any]:
            return messages.pop(0) if messages else {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": query,
            "headers": given,
            "client": ("127.0.0.1", 50_000),
            "server": ("127.0.0.1", 8_001),
            "state": {},
        }
        await self.app(scope, receive, send)
        start, *rest = sent
        raw = b"".join(message.get("body", b"") for message in rest)
        told = {name.decode(): value.decode() for name, value in start["headers"]}
        assert told["content-length"] == str(len(raw))
        return Answer(start["status"], told, json.loads(raw))

    async def get(self, path: str, **params: Any) -> Answer:
        """A public question."""
        return await self.ask("GET", f"/api/v3{path}", urlencode(params).encode())

    async def signed(
        self,
        method: str,
        path: str,
        account: str = "alice",
        *,
        in_body: bool = False,
        **params: Any,
    ) -> Answer:
        """A signed request, as a client makes one."""
        stamp = {"timestamp": int(self.door.now * 1_000)}
        text = urlencode({**params, **stamp})
        secret = self.secrets.get(account) or "anything"
        text += "&signature=" + hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()
        query, body = (b"", text.encode()) if in_body else (text.encode(), b"")
        headers = {"X-MBX-APIKEY": account}
        whole = path if path.startswith(("/api/", "/sapi/")) else f"/api/v3{path}"
        return await self.ask(method, whole, query, body, headers)

    async def buy(self, qty: str, price: str, account: str = "alice", **more: Any) -> Answer:
        """A limit order to buy BTC."""
        return await self.limit("BUY", qty, price, account, **more)

    async def sell(self, qty: str, price: str, account: str = "alice", **more: Any) -> Answer:
        """A limit order to sell BTC."""
        return await self.limit("SELL", qty, price, account, **more)

    async def limit(
        self, side: str, qty: str, price: str, account: str = "alice", **more: Any
    ) -> Answer:
        """A limit order."""
        terms = {"symbol": "BTCUSD", "side": side, "type": "LIMIT", "timeInForce": "GTC"}
        return await self.signed(
            "POST", "/order", account, **(terms | {"quantity": qty, "price": price} | more)
        )

    async def native(self, account: str, *commands: Command) -> list[Any]:
        """The events of commands that come by the native port."""
        self._names += 1
        raw_key = f"native-{self._names}"
        (opened,) = await self._submit(0, self._names + 10_000, (open_session(account, raw_key),))
        return await self._submit(opened[2], 1, commands)

    async def _submit(self, session_id: int, seq: int, commands: tuple[Command, ...]) -> list[Any]:
        waiter = _Waiter(asyncio.get_running_loop().create_future())
        raw = pack_request(session_id, seq, commands)
        self.door.replica.submit(session_id, seq, raw, waiter)
        self.door.server.wake()
        return await waiter.answer


class Talk:
    """A WebSocket of a client; use it as an async context."""

    def __init__(self, house: House, path: str, query: bytes = b"") -> None:
        self.sent: list[dict[str, Any]] = []
        self._said: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._said.put_nowait({"type": "websocket.connect"})
        self._scope = {
            "type": "websocket",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "scheme": "ws",
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": query,
            "headers": [],
            "subprotocols": [],
            "client": ("127.0.0.1", 50_001),
            "server": ("127.0.0.1", 8_001),
            "state": {},
            "extensions": {EXTENSION: _Wire(self._arrive)},
        }
        self._house = house
        self._arrived = asyncio.Event()

    async def __aenter__(self) -> "Talk":
        run = self._house.app(self._scope, self._said.get, self._take)
        self._task = asyncio.get_running_loop().create_task(run)
        assert (await self._next())["type"] == "websocket.accept"
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._said.put_nowait({"type": "websocket.disconnect", "code": 1000})
        await self._task

    async def _take(self, message: Any) -> None:
        self._arrive(message)

    def _arrive(self, message: dict[str, Any]) -> None:
        self.sent.append(message)
        self._arrived.set()

    async def _next(self) -> dict[str, Any]:
        async with asyncio.timeout(5):
            while not self.sent:
                self._arrived.clear()
                await self._arrived.wait()
        return self.sent.pop(0)

    def say(self, frame: str | bytes) -> None:
        """One frame, exactly so."""
        key = "text" if isinstance(frame, str) else "bytes"
        self._said.put_nowait({"type": "websocket.receive", key: frame})

    async def hear(self) -> Any:
        """The next frame of the node, read."""
        message = await self._next()
        assert message["type"] == "websocket.send", message
        return json.loads(message["text"])

    async def call(self, method: str, **params: Any) -> Any:
        """One request and its answer."""
        self.say(json.dumps({"id": 1, "method": method, "params": params}))
        return await self.hear()

    async def signed(self, method: str, account: str = "alice", **params: Any) -> Any:
        """One request, signed as clients sign them."""
        params |= {"apiKey": account, "timestamp": int(self._house.door.now * 1_000)}
        words = {True: "true", False: "false"}
        text = "&".join(
            f"{name}={words[params[name]] if isinstance(params[name], bool) else params[name]}"
            for name in sorted(params)
        )
        secret = self._house.secrets.get(account) or "anything"
        params["signature"] = hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()
        return await self.call(method, **params)


class _Wire:
    """What streams write their frames to, for a client that reads at once."""

    is_full = False

    def __init__(self, arrive: Callable[[dict[str, Any]], None]) -> None:
        self._arrive = arrive
        self.on_room: Callable[[], None] = lambda: None

    def write(self, frames: bytes) -> None:
        """Whole text frames of a server, taken apart."""
        while frames:
            start = {126: 4, 127: 10}.get(frames[1], 2)
            size = frames[1] if start == 2 else int.from_bytes(frames[2:start], "big")
            text = frames[start : start + size].decode()
            self._arrive({"type": "websocket.send", "text": text})
            frames = frames[start + size :]

    def end(self, code: int, reason: str) -> None:
        self._arrive({"type": "websocket.close", "code": code, "reason": reason})


class _Waiter:
    def __init__(self, answer: asyncio.Future[list[Any]]) -> None:
        self.answer = answer

    def replied(self, reply: Any, applied: Any) -> None:
        self.answer.set_result(reply[4])

    def refused(self, session_id: int, request_seq: int, code: Any, message: str) -> None:
        raise AssertionError(f"{code!r}: {message}")


def in_the_house(
    folder: Path,
    scene: Callable[[House], Awaitable[None]],
    *,
    genesis: Genesis | None = None,
) -> None:
    """Play a scene; whatever goes wrong in a task of the node fails it."""

    async def play() -> None:
        unhandled: list[str] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: unhandled.append(f"{context['message']}: {context.get('exception')}")
        )
        house = House(folder, genesis or genesis_of(config()))
        try:
            await scene(house)
            await asyncio.sleep(0)
            assert house.door.replica.fenced is None
        finally:
            house.door.journal.close()
        assert unhandled == []

    asyncio.run(play())

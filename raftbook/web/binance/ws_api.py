"""ws-api: the same operations over one WebSocket, many at a time.

Owns the frames, how many requests of one connection may be under way, and the signature of sorted
parameters. METHODS of `operations.py` are what can be asked; `extra_methods` are those that need
the connection itself, as streams of user events do.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from starlette.routing import BaseRoute, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from raftbook.web.asking import asker_of
from raftbook.web.binance.door import Door
from raftbook.web.binance.faults import Fault, crowded
from raftbook.web.binance.keys import signed_text
from raftbook.web.binance.operations import METHODS
from raftbook.web.binance.params import json_text, params_of_json
from raftbook.web.binance.written import encode
from raftbook.web.websocket import POLICY, SLOW, wire_of

_log = logging.getLogger("raftbook.web")

REQUESTS_MAX: Final = 256
"""Requests of one connection without an answer: more are refused with -1003."""
BYTES_MAX: Final = 4 << 20
"""Answers of one connection that wait for the client to read; above it the connection ends."""

Method = Callable[["ApiConnection", dict[str, Any]], Awaitable[Any]]
"""Takes the connection and the parameters as they came; gives the result or raises a Fault."""


def routes(door: Door, extra_methods: Mapping[str, Method] | None = None) -> list[BaseRoute]:
    """Where ws-api is."""
    extra = dict(extra_methods or {})

    async def serve(socket: WebSocket) -> None:
        await ApiConnection(door, socket, extra).run()

    return [WebSocketRoute(path, serve) for path in ("/ws-api/v3", "/ws-api/v3/")]


class ApiConnection:
    """One client.

    Attributes:
        on_close: called once when the connection has ended.
        state: what extra methods keep between calls, by a name of their own.
    """

    def __init__(self, door: Door, socket: WebSocket, extra: Mapping[str, Method]) -> None:
        self.door = door
        self.on_close: list[Callable[[], None]] = []
        self.state: dict[str, Any] = {}
        self._socket, self._extra = socket, extra
        self._tasks: set[asyncio.Task[None]] = set()
        self._outbox: asyncio.Queue[str] = asyncio.Queue()
        self._waiting_bytes = 0
        self._asker = asker_of(socket.scope, door.context.clients.pace)
        self._address = socket.client.host if socket.client else ""
        self._is_over = False

    async def run(self) -> None:
        """Serve until either side ends."""
        await self._socket.accept()
        writing = asyncio.get_running_loop().create_task(self._write())
        try:
            while True:
                message = await self._socket.receive()
                if message["type"] != "websocket.receive" or self._is_over:
                    break
                text = message.get("text")
                self._take(text if text is not None else message["bytes"])
        except WebSocketDisconnect:
            pass
        finally:
            self._is_over = True
            for task in (writing, *self._tasks):
                task.cancel()
            for listener in self.on_close:
                listener()

    def push(self, text: str) -> None:
        """Write a frame, after those before it; who reads too slowly is dropped."""
        if self._is_over:
            return
        self._waiting_bytes += len(text)
        if self._waiting_bytes > BYTES_MAX:
            extra = {"event": "slow_client", "fields": {"client": self._address}}
            _log.warning("client %s does not read, connection dropped", self._address, extra=extra)
            self.end(POLICY, SLOW)
            return
        self._outbox.put_nowait(text)

    def end(self, code: int, reason: str) -> None:
        """Close the connection, whether its client reads or not."""
        self._is_over = True
        wire_of(self._socket.scope).end(code, reason)

    async def _write(self) -> None:
        try:
            while not self._is_over:
                text = await self._outbox.get()
                await self._socket.send_text(text)
                self._waiting_bytes -= len(text)
        except (WebSocketDisconnect, RuntimeError):
            self._is_over = True  # the client is gone; `run` hears of it too

    def _take(self, frame: str | bytes) -> None:
        """One frame of the client."""
        ref: Any = None
        try:
            request = _read(frame)
            ref = request.get("id")
            if ref is not None and type(ref) not in (str, int):
                ref = None
                raise Fault(400, -1100, "Illegal characters found in parameter 'id'.")
            if len(self._tasks) >= REQUESTS_MAX:
                raise crowded(f"At most {REQUESTS_MAX} requests of a connection at once.")
        except Fault as fault:
            self._say_fault(ref, fault)
            return
        task = asyncio.get_running_loop().create_task(self._answer(ref, request))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, ref: Any, request: dict[str, Any]) -> None:
        try:
            result = await self._perform(request)
        except Fault as fault:
            self._say_fault(ref, fault)
        except Exception:
            _log.exception("ws-api %s failed", request.get("method"))
            self._say_fault(ref, Fault(500, -1000, "This node failed; see its log."))
        else:
            text = encode(result)  # it may be written already
            self.push(f'{{"id":{encode(ref)},"status":200,"result":{text},"rateLimits":[]}}')

    async def _perform(self, request: dict[str, Any]) -> Any:
        method = request.get("method")
        if type(method) is not str or not method:
            raise Fault(400, -1102, "Mandatory parameter 'method' was not sent, was empty/null, or "
                        "malformed.")  # fmt: skip
        params = request.get("params")
        if params is None:
            params = {}
        if type(params) is not dict:
            raise Fault(400, -1100, "Illegal characters found in parameter 'params'.")
        door = self.door
        operation = METHODS.get(method)
        weight = 2 if operation is None else operation.weight
        door.weights.take(self._address, weight, door.context.wall_ns())
        if operation is None:
            act = self._extra.get(method)
            if act is None:
                raise Fault(400, -1104, "Unknown method.")
            return await act(self, params)
        key = params.get("apiKey")
        return await door.perform(
            operation,
            params_of_json(params),
            asker=self._asker,
            key=None if key is None else json_text(key),
            payload=lambda: signed_text(params),
        )

    def _say_fault(self, ref: Any, fault: Fault) -> None:
        error = fault.document()
        if fault.status == 429:
            now_ms = self.door.now_ms()
            retry_ms = now_ms + fault.retry_after_s * 1_000
            error["data"] = {"serverTime": now_ms, "retryAfter": retry_ms}
        document = {"id": ref, "status": fault.status, "error": error, "rateLimits": []}
        self.push(encode(document))


def _read(frame: str | bytes) -> dict[str, Any]:
    """The request in a frame; numbers with a point stay as they were written."""
    try:
        request = json.loads(frame, parse_float=str, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise Fault(400, -1135, "Invalid JSON Request") from None
    if type(request) is not dict:
        raise Fault(400, -1135, "Invalid JSON Request")
    return request


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no JSON")

"""Market streams: the WebSockets on which a client listens, and says to what.

Owns a connection from its address to its end: the streams that the address names, what the client
asks for later, and how much it may ask. What is told is `stream_hub.py`'s.

    /ws  /ws/<stream>[/<stream>]...        bare updates
    /stream  /stream?streams=<stream>/...  updates that name their stream
    /stream/ws/<number>                    as /ws; the number means nothing
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, Final

from starlette.routing import BaseRoute, WebSocketRoute
from starlette.websockets import WebSocket

from raftbook.replica.answers import safely
from raftbook.replica.replica import Replica
from raftbook.web.binance.door import Door
from raftbook.web.binance.stream_control import (
    INVALID_STREAM,
    TOO_MANY_STREAMS,
    ControlError,
    ControlRequest,
    error_answer,
    read_control,
    result_answer,
)
from raftbook.web.binance.stream_hub import StreamHub
from raftbook.web.binance.stream_names import StreamName, read_stream_name
from raftbook.web.binance.stream_outbox import Outbox, Rounds
from raftbook.web.websocket import POLICY, RESTART, text_frame, wire_of

STREAMS_MAX: Final = 1_024
"""Of one connection, as at Binance."""
MESSAGES_PER_S: Final = 5
"""What a client may say, as at Binance; it may save up MESSAGES_BURST, which Binance does not say:
a client that begins with twenty streams asks for them one by one."""
MESSAGES_BURST: Final = 25
INSTALLED: Final = "this node took over a newer state: begin anew"
FENCED: Final = "this node takes no part: use another"
STALE: Final = "this node has had no word of a leader for long: use another"
TOO_MANY_MESSAGES: Final = "too many messages: 5 a second"


class Throttle:
    """How much a client may say: a bucket of MESSAGES_BURST that fills at MESSAGES_PER_S."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._left = float(MESSAGES_BURST)
        self._at = clock()

    def allows(self) -> bool:
        """Whether one more message is in order."""
        now = self._clock()
        self._left = min(MESSAGES_BURST, self._left + (now - self._at) * MESSAGES_PER_S)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class StreamConnection:
    """One client. A `stream_audience.Listener`."""

    def __init__(self, hub: StreamHub, outbox: Outbox, *, is_combined: bool) -> None:
        self.is_combined = is_combined
        self._hub, self._outbox = hub, outbox
        self._streams: dict[str, StreamName] = {}
        self._throttle = Throttle(asyncio.get_running_loop().time)

    # -- what streams tell it ------------------------------------------------------------------

    def hear(self, frame: bytes) -> None:
        self._outbox.put(frame)

    def end(self, code: int, reason: str) -> None:
        self._outbox.finish(code, reason)

    # -- what its client says ------------------------------------------------------------------

    def open(self, names: Iterable[str]) -> None:
        """Listen to what the address names."""
        wanted = self._read(names)
        if isinstance(wanted, str):
            self._outbox.end(POLICY, wanted)
            return
        self._listen(wanted)

    def say(self, text: str | None) -> None:
        """A frame of the client; None for one that is no text."""
        if not self._throttle.allows():
            self._outbox.end(POLICY, TOO_MANY_MESSAGES)
            return
        try:
            self._answer(read_control(text or ""))
        except ControlError as error:
            self._send(error.answer)

    def closed(self) -> None:
        """The connection is gone."""
        self._outbox.give_up()
        for name in self._streams.values():
            self._hub.remove(name, self)
        self._streams.clear()

    def _answer(self, request: ControlRequest) -> None:
        if request.method == "SUBSCRIBE":
            wanted = self._read(request.names)
            if isinstance(wanted, str):
                self._send(error_answer(2, wanted, request.id))
                return
            self._send(result_answer(None, request.id))
            self._listen(wanted)
            return
        result: Any = None
        if request.method == "UNSUBSCRIBE":
            for text in request.names:
                name = self._streams.pop(text, None)
                if name is not None:
                    self._hub.remove(name, self)
        elif request.method == "LIST_SUBSCRIPTIONS":
            result = list(self._streams)
        elif request.method == "GET_PROPERTY":
            result = self.is_combined
        else:
            self.is_combined = request.combined
        self._send(result_answer(result, request.id))

    def _read(self, names: Iterable[str]) -> list[StreamName] | str:
        """The streams of these names that are new to it, or what is wrong with them."""
        wanted: dict[str, StreamName] = {}
        for text in names:
            name = read_stream_name(text)
            if name is None or not self._hub.is_known(name):
                return INVALID_STREAM
            if text not in self._streams:
                wanted[text] = name
        if len(self._streams) + len(wanted) > STREAMS_MAX:
            return TOO_MANY_STREAMS
        return list(wanted.values())

    def _listen(self, names: list[StreamName]) -> None:
        for name in names:
            self._streams[name.text] = name
            self._hub.add(name, self)

    def _send(self, answer: str) -> None:
        self._outbox.put(text_frame(answer.encode()))


def routes(door: Door) -> list[BaseRoute]:
    """Where streams are."""
    context = door.context
    hub = StreamHub(context.replica, context.queries, context.feed, door.markets, door.tickers)
    bounds = context.clients.bounds
    listeners = StreamDoor(
        hub,
        context.replica,
        bytes_max=bounds.buffer_bytes_max,
        age_max_s=bounds.read_age_max_s,
    )
    context.on_close.append(hub.close)
    context.on_close.append(listeners.close)
    return listeners.routes()


class StreamDoor:
    """Takes connections, and ends all of them when this node is not the one to listen to.

    Args:
        bytes_max: what may wait for one of them.
        age_max_s: without word of a leader for so long, others may know more.
    """

    def __init__(
        self, hub: StreamHub, replica: Replica, *, bytes_max: int, age_max_s: float
    ) -> None:
        self._hub, self._replica = hub, replica
        self._bytes_max, self._age_max_s = bytes_max, age_max_s
        self._rounds = Rounds()
        self._connections: set[StreamConnection] = set()
        self._looking: asyncio.TimerHandle | None = None
        replica.on_installed.append(lambda: self._end_all(INSTALLED))
        replica.on_fenced.append(lambda: self._end_all(FENCED))

    def close(self) -> None:
        """The node stops; the server ends the connections."""
        if self._looking is not None:
            self._looking.cancel()

    def _end_all(self, reason: str) -> None:
        for connection in list(self._connections):
            safely(connection.end, RESTART, reason)

    def _look_later(self) -> None:
        loop = asyncio.get_running_loop()
        self._looking = loop.call_later(self._age_max_s, self._look)

    def _look(self) -> None:
        """Let nobody wait in vain. To begin anew here is allowed all the same: while nobody leads,
        no node is any newer, and who listens must not be turned away by all of them."""
        self._looking = None
        if self._replica.age_ms() > self._age_max_s * 1_000:
            self._end_all(STALE)
        elif self._connections:
            self._look_later()

    def routes(self) -> list[BaseRoute]:
        """See the head of this file."""
        return [
            WebSocketRoute("/stream", self._combined),
            WebSocketRoute("/stream/ws", self._bare),
            WebSocketRoute("/stream/ws/{names:path}", self._bare),
            WebSocketRoute("/ws", self._bare),
            WebSocketRoute("/ws/{names:path}", self._bare),
        ]

    async def _bare(self, websocket: WebSocket) -> None:
        path = str(websocket.path_params.get("names", ""))
        names = [name for name in path.split("/") if name and not name.isdecimal()]
        await self._serve(websocket, names, is_combined=False)

    async def _combined(self, websocket: WebSocket) -> None:
        names = [name for name in websocket.query_params.get("streams", "").split("/") if name]
        await self._serve(websocket, names, is_combined=True)

    async def _serve(self, websocket: WebSocket, names: list[str], *, is_combined: bool) -> None:
        await websocket.accept()
        client = websocket.client
        address = "unknown" if client is None else f"{client.host}:{client.port}"
        outbox = Outbox(wire_of(websocket.scope), self._rounds, address, self._bytes_max)
        if self._replica.fence is not None:
            outbox.end(RESTART, FENCED)
        connection = StreamConnection(self._hub, outbox, is_combined=is_combined)
        self._connections.add(connection)
        if self._looking is None:
            self._look_later()
        try:
            if not outbox.is_over:
                connection.open(names)
            while True:
                message = await websocket.receive()
                if message["type"] == "websocket.disconnect":
                    return
                if not outbox.is_over:
                    connection.say(message.get("text"))
        finally:
            self._connections.discard(connection)
            connection.closed()

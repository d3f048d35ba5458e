"""Streams: the WebSockets on which a client listens, and says to what.

Owns a connection from its address to its end: the streams that the address names, what the client
asks for later, and how much it may ask. What is told is `stream_hub.py`'s.

    /ws  /ws/<stream>[/<stream>]...        bare updates; a listen key is a stream, too
    /stream  /stream?streams=<stream>/...  updates that name their stream
    /stream/ws/<number>                    as /ws; the number means nothing
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable
from typing import Any, Final

from starlette.routing import BaseRoute, WebSocketRoute
from starlette.websockets import WebSocket

from raftbook.replica.answers import safely
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
from raftbook.web.binance.stream_watch import StreamWatch
from raftbook.web.binance.user_hub import UserHub
from raftbook.web.throttle import TOO_MANY_MESSAGES, Throttle
from raftbook.web.websocket import NORMAL, POLICY, RESTART, text_frame, wire_of

STREAMS_MAX: Final = 1_024
"""Of one connection, as at Binance."""
EXPIRED: Final = "the listen key is good no longer"


class StreamConnection:
    """One client. A `stream_audience.Listener`."""

    def __init__(
        self,
        hub: StreamHub,
        users: UserHub,
        account_of: Callable[[str], str | None],
        outbox: Outbox,
        *,
        is_combined: bool,
    ) -> None:
        self.is_combined = is_combined
        self._hub, self._users, self._account_of = hub, users, account_of
        self._outbox = outbox
        self._streams: dict[str, StreamName] = {}
        self._keys: dict[str, _KeyStream] = {}  # by listen key
        self._throttle = Throttle(asyncio.get_running_loop().time)

    # -- what streams tell it ------------------------------------------------------------------

    def hear(self, frame: bytes) -> None:
        self._outbox.put(frame)

    def end(self, code: int, reason: str) -> None:
        self._outbox.finish(code, reason)

    def look_at_keys(self, now_ms: int) -> None:
        """Say goodbye if one of its listen keys is good no longer."""
        for key, stream in self._keys.items():
            if self._account_of(key) is None:
                told = {"e": "listenKeyExpired", "E": now_ms, "listenKey": key}
                stream.hear_event(json.dumps(told, separators=(",", ":")))
                self.end(NORMAL, EXPIRED)
                return

    # -- what its client says ------------------------------------------------------------------

    def open(self, names: Iterable[str]) -> None:
        """Listen to what the address names."""
        refusal = self._listen(names, lambda: None)
        if refusal:
            self._outbox.end(POLICY, refusal)

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
        self._leave(list(self._streams) + list(self._keys))

    def _answer(self, request: ControlRequest) -> None:
        if request.method == "SUBSCRIBE":
            done = result_answer(None, request.id)
            refusal = self._listen(request.names, lambda: self._send(done))
            if refusal:
                self._send(error_answer(2, refusal, request.id))
            return
        result: Any = None
        if request.method == "UNSUBSCRIBE":
            self._leave(request.names)
        elif request.method == "LIST_SUBSCRIPTIONS":
            result = [*self._streams, *self._keys]
        elif request.method == "GET_PROPERTY":
            result = self.is_combined
        else:
            self.is_combined = request.combined
        self._send(result_answer(result, request.id))

    def _listen(self, names: Iterable[str], confirm: Callable[[], None]) -> str:
        """Listen to all of these, confirmed before the first update, or to none; why not."""
        streams: dict[str, StreamName] = {}
        keys: dict[str, _KeyStream] = {}
        for text in names:
            if text in self._streams or text in self._keys:
                continue
            name = read_stream_name(text)
            account = None if name is not None else self._account_of(text)
            if name is not None and self._hub.is_known(name):
                streams[text] = name
            elif account is not None:
                keys[text] = _KeyStream(self, text, account)
            else:
                return INVALID_STREAM
        if len(self._streams) + len(streams) + len(self._keys) + len(keys) > STREAMS_MAX:
            return TOO_MANY_STREAMS
        confirm()
        self._streams |= streams
        self._keys |= keys
        for name in streams.values():
            self._hub.add(name, self)
        for stream in keys.values():
            self._users.add(stream.account, stream)
        return ""

    def _leave(self, names: Iterable[str]) -> None:
        for text in names:
            name, stream = self._streams.pop(text, None), self._keys.pop(text, None)
            if name is not None:
                self._hub.remove(name, self)
            if stream is not None:
                self._users.remove(stream.account, stream)

    def _send(self, answer: str) -> None:
        self._outbox.put(text_frame(answer.encode()))


class _KeyStream:
    """What a listen key lets a connection hear. A `user_hub.UserListener`."""

    def __init__(self, connection: StreamConnection, key: str, account: str) -> None:
        self._connection, self._key, self.account = connection, key, account

    def hear_event(self, event: str) -> None:
        if self._connection.is_combined:
            event = f'{{"stream":"{self._key}","data":{event}}}'
        self._connection.hear(text_frame(event.encode()))

    def end(self, code: int, reason: str) -> None:
        self._connection.end(code, reason)


def routes(door: Door, users: UserHub, watch: StreamWatch) -> list[BaseRoute]:
    """Where streams are."""
    context = door.context
    hub = StreamHub(context.replica, context.queries, context.feed, door.markets, door.tickers)
    streams = StreamDoor(door, hub, users, watch)
    watch.over(streams, users)
    context.on_close.extend((hub.close, watch.close))
    return [
        WebSocketRoute("/stream", streams.combined),
        WebSocketRoute("/stream/ws", streams.bare),
        WebSocketRoute("/stream/ws/{names:path}", streams.bare),
        WebSocketRoute("/ws", streams.bare),
        WebSocketRoute("/ws/{names:path}", streams.bare),
    ]


class StreamDoor:
    """Takes connections. A `stream_watch.Ward`."""

    def __init__(self, door: Door, hub: StreamHub, users: UserHub, watch: StreamWatch) -> None:
        self._door, self._hub, self._users, self._watch = door, hub, users, watch
        self._bytes_max = door.context.clients.bounds.buffer_bytes_max
        self._rounds = Rounds()
        self._connections: set[StreamConnection] = set()
        door.listen_keys.on_ended.append(lambda key: self.look())

    def has_listeners(self) -> bool:
        return bool(self._connections)

    def look(self) -> None:
        for connection in list(self._connections):
            connection.look_at_keys(self._door.now_ms())

    def end_all(self, reason: str) -> None:
        for connection in list(self._connections):
            safely(connection.end, RESTART, reason)

    async def bare(self, websocket: WebSocket) -> None:
        """Updates as they are. A number in the address is no stream, but how ccxt tells its
        connections apart."""
        path = str(websocket.path_params.get("names", ""))
        names = [name for name in path.split("/") if name and not name.isdecimal()]
        await self._serve(websocket, names, is_combined=False)

    async def combined(self, websocket: WebSocket) -> None:
        """Updates that name their stream."""
        names = [name for name in websocket.query_params.get("streams", "").split("/") if name]
        await self._serve(websocket, names, is_combined=True)

    async def _serve(self, websocket: WebSocket, names: list[str], *, is_combined: bool) -> None:
        await websocket.accept()
        connection, outbox = self._connection(websocket, is_combined=is_combined)
        self._connections.add(connection)
        self._watch.begin()
        try:
            refusal = self._watch.refusal
            if refusal is None:
                connection.open(names)
            else:
                outbox.end(RESTART, refusal)
            while True:
                message = await websocket.receive()
                if message["type"] == "websocket.disconnect":
                    return
                if not outbox.is_over:
                    connection.say(message.get("text"))
        finally:
            self._connections.discard(connection)
            connection.closed()

    def _connection(
        self, websocket: WebSocket, *, is_combined: bool
    ) -> tuple[StreamConnection, Outbox]:
        client = websocket.client
        address = "unknown" if client is None else f"{client.host}:{client.port}"
        outbox = Outbox(wire_of(websocket.scope), self._rounds, address, self._bytes_max)
        connection = StreamConnection(
            self._hub, self._users, self._account_of, outbox, is_combined=is_combined
        )
        return connection, outbox

    def _account_of(self, key: str) -> str | None:
        """Whose listen key it is."""
        account = self._door.listen_keys.account_of(key, self._door.now_ms())
        return account if account in self._door.exchange.accounts else None

"""The writing side of a WebSocket: frames that are made once, and a reader that is too slow.

Owns how a frame goes to a client without waiting for it, how a connection is ended while its
client does not read, and how much a client may say beside its messages. A frame of a server is the
same for whoever gets it, so one that many get is made once. Knows nothing of what is told.

It stands on uvicorn's own protocol (`websockets-sansio`), whose `send` waits for the client: what
a stream must not do. An application finds it in its scope: see `wire_of`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, Final, Protocol, cast

from starlette.types import Scope
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame
from websockets.http11 import Request

from raftbook.gateway.pace import Asker, Pace
from raftbook.web import asking
from raftbook.web.throttle import TOO_MANY_MESSAGES, Throttle

EXTENSION: Final = "raftbook.wire"
_TEXT: Final = 0x81
"""A whole text message in one frame."""
GOODBYE_S: Final = 5.0
"""How long a client may take to read what was written before its connection is cut."""
REASON_BYTES_MAX: Final = 123
"""A control frame holds no more beside its code."""
FRAGMENTS_MAX: Final = 64
"""Frames of one message: each is kept till the last one, however little is in it."""

NORMAL: Final = 1000
RESTART: Final = 1012
"""Begin anew: what follows is known at another node, or by asking again."""
TRY_LATER: Final = 1013
POLICY: Final = 1008
"""Too slow, or too much."""
TOO_BIG: Final = 1009
"""One message, too much of it."""
SLOW: Final = "you read too slowly"
TOO_MANY_FRAGMENTS: Final = f"a message has at most {FRAGMENTS_MAX} fragments"


class Wire(Protocol):
    """One WebSocket as its writer sees it.

    Attributes:
        is_full: the client does not read: what is written waits in this process.
        on_room: called when it reads again.
    """

    is_full: bool
    on_room: Callable[[], None]

    def write(self, frames: bytes) -> None:
        """Send whole frames, in order, without waiting."""

    def end(self, code: int, reason: str) -> None:
        """Say why, and close: behind what was written, or by force if that is not read."""


def text_frame(payload: bytes) -> bytes:
    """A text message as it stands on the wire."""
    size = len(payload)
    if size < 126:
        return bytes((_TEXT, size)) + payload
    if size < 1 << 16:
        return struct.pack("!BBH", _TEXT, 126, size) + payload
    return struct.pack("!BBQ", _TEXT, 127, size) + payload


def wire_of(scope: Scope) -> Wire:
    """The wire of a WebSocket's scope, once it was accepted."""
    wire: Wire = scope["extensions"][EXTENSION]
    return wire


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """uvicorn's protocol, and a `Wire`.

    Attributes:
        buffer_bytes_max: a client for whom more is written than it reads is too slow.
        asker: for whom its questions are answered, in turn.
    """

    buffer_bytes_max = 16 << 20
    pace: Pace
    is_full = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.asker = Asker(self.pace)
        self.on_room: Callable[[], None] = _nobody
        self._throttle = Throttle(self.loop.time)  # of pings and pongs

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.close_sent:
            self.conn.data_to_send()  # nothing follows a goodbye, so answers to pings go nowhere

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if self.response.status_code == 101:
            extensions = cast(dict[str, Any], self.scope["extensions"])
            extensions[EXTENSION] = self
            extensions[asking.EXTENSION] = self.asker

    def pause_writing(self) -> None:
        self.is_full = True
        super().pause_writing()

    def resume_writing(self) -> None:
        self.is_full = False
        super().resume_writing()
        self.on_room()

    def handle_ping(self) -> None:
        if self._may_speak():
            super().handle_ping()
            if self.transport.get_write_buffer_size() > self.buffer_bytes_max:
                self.end(POLICY, SLOW)

    def handle_pong(self, event: Frame) -> None:
        if self._may_speak():
            super().handle_pong(event)

    def handle_cont(self, event: Frame) -> None:
        if self.close_sent:
            return
        if len(self.frames) >= FRAGMENTS_MAX:
            self.frames.clear()
            self.end(TOO_BIG, TOO_MANY_FRAGMENTS)
            return
        super().handle_cont(event)

    def handle_parser_exception(self) -> None:
        """What comes is no WebSocket, or too long: nothing more is heard of it. It is read on, as a
        socket that is closed before takes what was written last with it."""
        sent = self.conn.close_sent
        if sent is None:  # it was not even accepted
            self.transport.abort()
            return
        if not self.close_sent:
            told = {"type": "websocket.disconnect", "code": sent.code, "reason": sent.reason}
            self.queue.put_nowait(cast(Any, told))
            self._part()
        self.transport.write_eof()

    def _may_speak(self) -> bool:
        """Whether a control frame is in order; too many of them end the connection."""
        if self.close_sent or self.transport.is_closing():
            return False
        if self._throttle.allows():
            return True
        if self.handshake_complete:
            self.end(POLICY, TOO_MANY_MESSAGES)
        else:
            self.transport.abort()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.on_room = _nobody
        super().connection_lost(exc)
        self.asker.end()

    def write(self, frames: bytes) -> None:
        if not (self.close_sent or self.disconnected or self.transport.is_closing()):
            self.transport.write(frames)

    def end(self, code: int, reason: str) -> None:
        if self.close_sent or self.disconnected or self.transport.is_closing():
            return
        told = reason.encode()[:REASON_BYTES_MAX].decode(errors="ignore")
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": told})
        self.conn.send_close(code, told)
        self._part()

    def _part(self) -> None:
        """Write the goodbye; its reader has GOODBYE_S to take it and to say its own."""
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.stop_keepalive()
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        self.close_timer = self.loop.call_later(GOODBYE_S, self.transport.abort)


def _nobody() -> None: ...

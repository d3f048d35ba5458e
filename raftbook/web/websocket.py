"""The writing side of a WebSocket: frames that are made once, and a reader that is too slow.

Owns how a frame goes to a client without waiting for it, and how a connection is ended while its
client does not read. A frame of a server is the same for whoever gets it, so one that many get is
made once. Knows nothing of what is told.

It stands on uvicorn's own protocol (`websockets-sansio`), whose `send` waits for the client: what
a stream must not do. An application finds it in its scope: see `wire_of`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, Final, Protocol, cast

from starlette.types import Scope
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

EXTENSION: Final = "raftbook.wire"
_TEXT: Final = 0x81
"""A whole text message in one frame."""
GOODBYE_S: Final = 5.0
"""How long a client may take to read what was written before its connection is cut."""
REASON_BYTES_MAX: Final = 123
"""A control frame holds no more beside its code."""

NORMAL: Final = 1000
RESTART: Final = 1012
"""Begin anew: what follows is known at another node, or by asking again."""
TRY_LATER: Final = 1013
POLICY: Final = 1008
"""Too slow, or too much."""


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
    """uvicorn's protocol, and a `Wire`."""

    is_full = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.on_room: Callable[[], None] = _nobody

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if self.response.status_code == 101:
            extensions = cast(dict[str, Any], self.scope["extensions"])
            extensions[EXTENSION] = self

    def pause_writing(self) -> None:
        self.is_full = True
        super().pause_writing()

    def resume_writing(self) -> None:
        self.is_full = False
        super().resume_writing()
        self.on_room()

    def keepalive_timeout(self) -> None:
        super().keepalive_timeout()
        if self.close_sent and self.close_timer is None:  # a client that reads nothing, perhaps
            self.close_timer = self.loop.call_later(GOODBYE_S, self.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        self.on_room = _nobody
        super().connection_lost(exc)

    def write(self, frames: bytes) -> None:
        if not (self.close_sent or self.disconnected or self.transport.is_closing()):
            self.transport.write(frames)

    def end(self, code: int, reason: str) -> None:
        if self.close_sent or self.disconnected or self.transport.is_closing():
            return
        told = reason.encode()[:REASON_BYTES_MAX].decode(errors="ignore")
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": told})
        self.conn.send_close(code, told)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.stop_keepalive()
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        self.close_timer = self.loop.call_later(GOODBYE_S, self.transport.abort)


def _nobody() -> None: ...

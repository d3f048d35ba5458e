"""Who listens to one stream, and an update on its way to all of them.

Owns that an update is encoded at most twice, bare and with the name of its stream, however many
listen. Knows nothing of what is told.
"""

from __future__ import annotations

from json.encoder import encode_basestring_ascii as quoted
from typing import Protocol

from raftbook.web.websocket import text_frame


class Listener(Protocol):
    """A connection that listens to streams.

    Attributes:
        is_combined: each update says which stream it is of.
    """

    is_combined: bool

    def hear(self, frame: bytes) -> None:
        """Take one frame."""

    def end(self, code: int, reason: str) -> None:
        """This connection's streams cannot go on."""


class Audience:
    """The listeners of one stream, in the order in which they came."""

    def __init__(self, stream: str) -> None:
        self._listeners: dict[Listener, None] = {}
        self._head = f'{{"stream":{quoted(stream)},"data":'.encode()

    def __len__(self) -> int:
        return len(self._listeners)

    def add(self, listener: Listener, picture: str | None) -> None:
        """Somebody listens from here on, and begins with a picture if there is one."""
        self._listeners[listener] = None
        if picture is not None:
            listener.hear(self._frame(picture.encode(), is_combined=listener.is_combined))

    def remove(self, listener: Listener) -> None:
        """Somebody listens no longer."""
        self._listeners.pop(listener, None)

    def tell(self, update: str) -> None:
        """Give an update to all."""
        payload = update.encode()
        bare = wrapped = b""
        for listener in list(self._listeners):
            if listener.is_combined:
                wrapped = wrapped or self._frame(payload, is_combined=True)
                listener.hear(wrapped)
            else:
                bare = bare or self._frame(payload, is_combined=False)
                listener.hear(bare)

    def end(self, code: int, reason: str) -> None:
        """Close the connections of all."""
        listeners, self._listeners = self._listeners, {}
        for listener in listeners:
            listener.end(code, reason)

    def _frame(self, payload: bytes, *, is_combined: bool) -> bytes:
        return text_frame(self._head + payload + b"}" if is_combined else payload)

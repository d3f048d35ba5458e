"""A transport that writes what one turn of the loop brought at once.

Owns the gathering: head and body of an answer, and the answers and frames of one moment, leave in
one system call, which is a good part of what an order costs here. And it owns the end: whoever does
not take what was written before it is cut. What is read is `portions.py`'s, everything else the
transport's own.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from raftbook.web.portions import Portions


class Gathering(asyncio.Transport):
    """Stands before a transport.

    Attributes:
        goodbye_s: how long a client may take, once it is closed, to read what was written.
    """

    __slots__ = ("_ending", "_loop", "_pieces", "_portions", "_transport", "goodbye_s")

    def __init__(
        self, transport: asyncio.Transport, portions: Portions, *, goodbye_s: float
    ) -> None:
        super().__init__()
        self.goodbye_s = goodbye_s
        self._transport = transport
        self._portions = portions
        self._loop = asyncio.get_running_loop()
        self._pieces: list[bytes] = []
        self._ending: asyncio.TimerHandle | None = None

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write with whatever else comes before the loop goes on."""
        if not self._pieces:
            self._loop.call_soon(self._flush)
        self._pieces.append(bytes(data))

    def _flush(self) -> None:
        pieces, self._pieces = self._pieces, []
        if pieces:
            self._transport.write(pieces[0] if len(pieces) == 1 else b"".join(pieces))

    def can_write_eof(self) -> bool:
        return self._transport.can_write_eof()

    def write_eof(self) -> None:
        """Say that nothing follows, and hear on."""
        self._flush()
        self._transport.write_eof()

    def close(self) -> None:
        """Close once all is written, or by force if that is not read in time."""
        self._flush()
        self._transport.close()
        if self._ending is None and self._transport.get_write_buffer_size():
            self._ending = self._loop.call_later(self.goodbye_s, self.abort)

    def forget(self) -> None:
        """The connection is gone."""
        if self._ending is not None:
            self._ending.cancel()

    def abort(self) -> None:
        """Close at once."""
        self._pieces.clear()
        self._transport.abort()

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._transport.get_extra_info(name, default)

    def get_write_buffer_size(self) -> int:
        """What waits to leave, gathered or not."""
        return self._transport.get_write_buffer_size() + sum(map(len, self._pieces))

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._transport.set_write_buffer_limits(high, low)

    def pause_reading(self) -> None:
        """Hear nothing more, not even of what has arrived already."""
        self._portions.inflow.hold()

    def resume_reading(self) -> None:
        """Hear more, once whoever asks for it has done what it is at."""
        self._portions.inflow.release()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """See `Portions.switch`."""
        assert isinstance(protocol, asyncio.Protocol), f"{protocol!r} hears no portions"
        self._portions.switch(protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._transport.get_protocol()

"""What waits to be written to one client, in order, and how much of it there may be.

Owns the socket's writing side. A message is packed when it is put in, and counts in bytes. A long
answer is put in as an iterator of its pages: each is made when its turn comes and the client has
read what went before, so it costs no memory however slowly it is read.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from raftbook.core.types import Reject
from raftbook.gateway.queries import QueryError
from raftbook.wire.client_messages import FAILURE
from raftbook.wire.framing import frame
from raftbook.wire.packing import pack

_log = logging.getLogger(__name__)

WRITE_BYTES: Final = 256 << 10
"""About as much is written in one round of the loop, or waits before a new question is looked at,
or a quarter of what may wait at all: others want their turn."""

ROUND_S: Final = 0.004
"""Longest time one round spends on making pages, but for the one that is being made."""

MESSAGE_CHARS_MAX: Final = 250
"""Longest text of a refusal: who sends megabytes need not get them back."""


class Pace:
    """What all connections of a node share: making pages of books and of history takes at most half
    of the loop's time, however many readers there are and however fast they are.

    Attributes:
        free_at: the next page may be made then, seconds of the loop.
    """

    def __init__(self) -> None:
        self.free_at = 0.0

    def worked(self, began: float, ended: float) -> None:
        """Pages were made for so long: now others have their turn for as long."""
        self.free_at = ended + (ended - began)


@dataclass(frozen=True, slots=True)
class _Pages:
    frames: Iterator[bytes]
    is_paced: bool


class Outbox:
    """The writing side of one connection.

    Args:
        address: who it goes to, for the log.
        bytes_max: a client for whom more waits is too slow, and is dropped.
        pace: shared by all connections.

    Attributes:
        stalled_at: since when the client has taken nothing of what waits, None while it reads.
    """

    def __init__(
        self, transport: asyncio.Transport, address: str, bytes_max: int, pace: Pace
    ) -> None:
        self.stalled_at: float | None = None
        self._transport = transport
        self._address = address
        self._bytes_max = bytes_max
        self._pace = pace
        self._write_bytes = min(WRITE_BYTES, bytes_max // 4)
        transport.set_write_buffer_limits(self._write_bytes)
        self._queue: deque[bytes | _Pages] = deque()
        self._queued_bytes = 0
        self._is_scheduled = False
        self._room = asyncio.Event()

    # -- what is put in -----------------------------------------------------------------------

    def send(self, *message: Any) -> None:
        """One message; all that is sent in one round of the loop leaves in one write."""
        self.put(frame(pack(message)))

    def fail(self, ref: int, code: Reject, message: str) -> None:
        """A FAILURE."""
        self.send(FAILURE, ref, int(code), message[:MESSAGE_CHARS_MAX])

    def put(self, framed: bytes) -> None:
        """A frame that is packed already."""
        if self._transport.is_closing():
            return
        self._queue.append(framed)
        self._queued_bytes += len(framed)
        if self._queued_bytes + self._transport.get_write_buffer_size() > self._bytes_max:
            self._drop()
        else:
            self._schedule()

    def put_pages(self, frames: Iterator[bytes], *, is_paced: bool) -> None:
        """Frames that are made one by one, each when it can be written.

        Args:
            is_paced: they may be many and costly: see `Pace`.
        """
        if not self._transport.is_closing():
            self._queue.append(_Pages(frames, is_paced))
            self._schedule()

    def has_room(self) -> bool:
        """Whether the client reads, and little of what was put in is still to be written."""
        return self.stalled_at is None and self._queued_bytes < self._write_bytes

    async def room(self) -> None:
        """Wait until little of what was put in is still to be written."""
        while self.stalled_at is not None or self._queued_bytes > self._write_bytes:
            self._room.clear()
            await self._room.wait()

    # -- what goes out ------------------------------------------------------------------------

    def pause(self) -> None:
        """The client does not keep up."""
        self.stalled_at = asyncio.get_running_loop().time()

    def resume(self) -> None:
        """The client has read almost everything."""
        self.stalled_at = None
        self._room.set()
        self._schedule()

    def empty(self) -> None:
        """Write what the client takes at once; the rest is given up."""
        loop = asyncio.get_running_loop()
        while self._queue and self.stalled_at is None and not self._transport.is_closing():
            if self._must_wait(loop.time()):
                break
            self._write()
        self.give_up()

    def give_up(self) -> None:
        """Forget what was not written."""
        self._queue.clear()
        self._queued_bytes = 0

    def _schedule(self) -> None:
        if not self._is_scheduled and self.stalled_at is None:
            self._is_scheduled = True
            loop = asyncio.get_running_loop()
            if self._must_wait(loop.time()):
                loop.call_at(self._pace.free_at, self._flush)
            else:
                loop.call_soon(self._flush)

    def _must_wait(self, now: float) -> bool:
        """Whether a page is next, and it is the others' turn."""
        head = self._queue[0] if self._queue else b""
        return isinstance(head, _Pages) and head.is_paced and now < self._pace.free_at

    def _flush(self) -> None:
        self._is_scheduled = False
        if self._transport.is_closing():
            self.give_up()
            return
        if self.stalled_at is None and self._queue:
            self._write()
        if self._queue:
            self._schedule()
        if self._queued_bytes <= self._write_bytes:
            self._room.set()

    def _write(self) -> None:
        queue = self._queue
        pieces: list[bytes] = []
        size = 0
        clock = asyncio.get_running_loop().time
        began = now = clock()
        is_paced = False
        while queue and size < self._write_bytes:
            head = queue[0]
            if isinstance(head, bytes):
                queue.popleft()
                self._queued_bytes -= len(head)
                pieces.append(head)
                size += len(head)
                continue
            if self._must_wait(now) or now >= began + ROUND_S:
                break
            is_paced |= head.is_paced
            framed = self._next_page(head.frames)
            if framed is None:
                queue.popleft()
            else:
                pieces.append(framed)
                size += len(framed)
            now = clock()
        if is_paced:
            self._pace.worked(began, now)
        if pieces:
            self._transport.write(b"".join(pieces))

    def _next_page(self, frames: Iterator[bytes]) -> bytes | None:
        try:
            return next(frames, None)
        except QueryError as error:
            _log.warning("client %s: %s, connection dropped", self._address, error)
        except Exception:
            _log.exception("client %s: a page could not be made, connection dropped", self._address)
        # Whoever missed a page would wait for it for ever: let it begin again.
        self._transport.abort()
        return None

    def _drop(self) -> None:
        extra = {"event": "slow_client", "fields": {"client": self._address}}
        _log.warning("client %s reads too slowly, connection dropped", self._address, extra=extra)
        self.give_up()
        self._transport.abort()

"""What waits to be written to one client, in order, and how much of it there may be.

Owns the socket's writing side. A message is packed when it is put in, and counts in bytes. A long
answer is put in as an iterator of its pages: each is made when its turn comes (`pace.py`) and the
client has read what went before, so it costs no memory however slowly it is read.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from raftbook.core.types import Reject
from raftbook.gateway.pace import Pace
from raftbook.gateway.queries import QueryError
from raftbook.wire.client_messages import FAILURE
from raftbook.wire.framing import frame
from raftbook.wire.packing import pack

_log = logging.getLogger(__name__)

WRITE_BYTES: Final = 256 << 10
"""About as much is written in one round of the loop, or waits before a new question is looked at,
or a quarter of what may wait at all: others want their turn."""

PAGES_S: Final = 0.001
"""Longest time one connection makes pages before the next one has its turn, but for the page that
is being made."""

MESSAGE_CHARS_MAX: Final = 250
"""Longest text of a refusal: who sends megabytes need not get them back."""


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
        on_room: called when there may be room again: see `has_room`.
    """

    def __init__(
        self, transport: asyncio.Transport, address: str, bytes_max: int, pace: Pace
    ) -> None:
        self.stalled_at: float | None = None
        self.on_room: Callable[[], None] = nobody
        self._transport = transport
        self._address = address
        self._bytes_max = bytes_max
        self._pace = pace
        self._write_bytes = min(WRITE_BYTES, bytes_max // 4)
        transport.set_write_buffer_limits(self._write_bytes)
        self._queue: deque[bytes | _Pages] = deque()
        self._queued_bytes = 0
        self._is_scheduled = False

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

    # -- what goes out ------------------------------------------------------------------------

    def pause(self) -> None:
        """The client does not keep up."""
        self.stalled_at = asyncio.get_running_loop().time()

    def resume(self) -> None:
        """The client has read almost everything."""
        self.stalled_at = None
        self._go_on()

    def empty(self) -> None:
        """Write what the client takes at once; the rest is given up."""
        while self._queue and self.stalled_at is None and not self._transport.is_closing():
            if self._needs_turn():
                break
            self._write(is_turn=False)
        self.give_up()

    def give_up(self) -> None:
        """Forget what was not written."""
        self._queue.clear()
        self._queued_bytes = 0
        self._pace.forget(self)

    def hand_on(self) -> bool:
        """Write what comes next, paced pages included: this is their turn."""
        if not self._may_write():
            return False
        self._write(is_turn=True)
        if self._needs_turn() and self._may_write():
            return True
        self._go_on()
        return False

    def _flush(self) -> None:
        self._is_scheduled = False
        if self._may_write():
            self._write(is_turn=False)
            self._go_on()

    def _may_write(self) -> bool:
        if self._transport.is_closing():
            self.give_up()
        return bool(self._queue) and self.stalled_at is None

    def _go_on(self) -> None:
        if self._queue:
            self._schedule()
        if self.has_room():
            self.on_room()

    def _schedule(self) -> None:
        if self._is_scheduled or self.stalled_at is not None:
            return
        if self._needs_turn():
            self._pace.want(self)
        else:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _needs_turn(self) -> bool:
        head = self._queue[0] if self._queue else None
        return isinstance(head, _Pages) and head.is_paced

    def _write(self, *, is_turn: bool) -> None:
        queue = self._queue
        pieces: list[bytes] = []
        size = 0
        clock = asyncio.get_running_loop().time
        until = clock() + PAGES_S
        while queue and size < self._write_bytes:
            head = queue[0]
            if isinstance(head, bytes):
                queue.popleft()
                self._queued_bytes -= len(head)
                pieces.append(head)
                size += len(head)
                continue
            if (head.is_paced and not is_turn) or clock() >= until:
                break
            framed = self._next_page(head.frames)
            if framed is None:
                queue.popleft()
            else:
                pieces.append(framed)
                size += len(framed)
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


def nobody() -> None:
    """Waits for no room."""

"""What waits to be written to one subscriber, and the turns in which all of them are written to.

Owns that a subscriber gets everything in order or is dropped, never a gap; and that what came for
one of them between two rounds goes in one write: the more subscribers, the rarer and larger each
one's writes are.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import Final

from raftbook.web.binance.pacing import Pacer
from raftbook.web.websocket import POLICY, Wire

_log = logging.getLogger(__name__)

WRITE_BYTES: Final = 128 << 10
"""About as much is written to one subscriber before the next one has its turn."""
SLOW: Final = "you read too slowly; connect again and begin with a new picture of the book"


class Rounds:
    """Writes to the outboxes of a node in which something waits."""

    def __init__(self) -> None:
        self._waiting: dict[Outbox, None] = {}
        self._pacer = Pacer(self._step)

    def wants(self, outbox: Outbox) -> None:
        """Something waits there and can be written."""
        self._waiting[outbox] = None
        self._pacer.want()

    def forget(self, outbox: Outbox) -> None:
        """Nothing will be written there any more."""
        self._waiting.pop(outbox, None)

    def _step(self) -> bool:
        """Write to the one that has waited longest."""
        if not self._waiting:
            return False
        outbox = next(iter(self._waiting))
        del self._waiting[outbox]
        if outbox.write():
            self._waiting[outbox] = None  # behind all others
        return bool(self._waiting)


class Outbox:
    """The frames that wait for one subscriber.

    Args:
        address: who it is, for the log.
        bytes_max: one for whom more waits is too slow. What waits for many is the same bytes.
    """

    def __init__(self, wire: Wire, rounds: Rounds, address: str, bytes_max: int) -> None:
        self._wire, self._rounds, self._address = wire, rounds, address
        self._bytes_max = bytes_max
        self._frames: deque[bytes] = deque()
        self._bytes = 0
        self.is_over = False
        wire.on_room = self._on_room

    def put(self, frame: bytes) -> None:
        """One more frame."""
        if self.is_over:
            return
        self._frames.append(frame)
        self._bytes += len(frame)
        if self._bytes > self._bytes_max:
            # Its streams hear of it when its connection ends; until then they talk to nobody.
            extra = {"event": "slow_client", "fields": {"client": self._address}}
            text = "subscriber %s reads too slowly, connection dropped"
            _log.warning(text, self._address, extra=extra)
            self.end(POLICY, SLOW)
        elif not self._wire.is_full:
            self._rounds.wants(self)

    def write(self) -> bool:
        """Write some of what waits; whether there is more that can be written."""
        frames, pieces, size = self._frames, [], 0
        while frames and size < WRITE_BYTES:
            pieces.append(frames.popleft())
            size += len(pieces[-1])
        self._bytes -= size
        if pieces:
            self._wire.write(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        return bool(frames) and not self._wire.is_full

    def end(self, code: int, reason: str) -> None:
        """Close the connection. What was not written yet is dropped with it, from here on."""
        self.give_up()
        self._wire.end(code, reason)

    def finish(self, code: int, reason: str) -> None:
        """Close the connection behind everything that waits, if its client reads it."""
        while self._frames and not self._wire.is_full:
            self.write()
        self.end(code, reason)

    def give_up(self) -> None:
        """The connection is gone."""
        self.is_over = True
        self._frames.clear()
        self._bytes = 0
        self._rounds.forget(self)

    def _on_room(self) -> None:
        if self._frames:
            self._rounds.wants(self)

"""One connection: its two ends, and the bytes that are under way between them.

Owns what is under way. Bytes arrive late, in bursts, cut in the middle of a frame, or never; to
production code an `End` is asyncio's Transport.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

from tests.sim.clockwork import Handle, HostLoop

if TYPE_CHECKING:
    from tests.sim.net import Network


class Way:
    """One direction between two hosts: what faults do to every connection on it."""

    __slots__ = ("blocked_until", "refuses_until", "slow_s", "slow_until")

    def __init__(self) -> None:
        self.blocked_until = 0.0  # nothing arrives: a cut, or a clog that bursts
        self.refuses_until = 0.0  # no new connection is accepted
        self.slow_s = 0.0
        self.slow_until = 0.0


class Pipe:
    """The bytes of one connection in one direction.

    Attributes:
        size: bytes under way.
        arrived: how often something arrived.
    """

    __slots__ = ("_ending", "_network", "_queue", "_target", "_timer", "arrived", "size", "way")

    def __init__(self, network: Network, way: Way, target: End) -> None:
        self._network, self.way, self._target = network, way, target
        self._queue: deque[tuple[float, bytes]] = deque()
        self._timer: Handle | None = None
        self._ending: str | None = None  # why the stream ends; its mark in the queue is b""
        self.size = self.arrived = 0

    @property
    def is_blocked(self) -> bool:
        return self._network.clockwork.now < self.way.blocked_until

    def push(self, departure: float, chunk: bytes) -> None:
        """Send bytes on their way."""
        arrival = departure + self._network.latency(self.way)
        queue = self._queue
        if queue:
            queue.append((max(arrival, queue[-1][0]), chunk))
        else:
            queue.append((arrival, chunk))
            self._arm(arrival)
        self.size += len(chunk)

    def finish(self, why: str) -> None:
        """The sender is gone: what is under way arrives, then the receiver hears of it."""
        if self._ending is None:
            self._ending = why
            now = self._network.clockwork.now
            self.push(max(now, self._target.other.loop.frozen_until), b"")

    def cut(self, keep_bytes: int) -> None:
        """Lose what is under way, but for its first bytes: mostly in the middle of a frame."""
        kept: deque[tuple[float, bytes]] = deque()
        for arrival, chunk in self._queue:
            if keep_bytes <= 0 or not chunk:
                break
            kept.append((arrival, chunk[:keep_bytes]))
            keep_bytes -= len(chunk)
        self._queue = kept
        self.size = sum(len(chunk) for _, chunk in kept)

    def drop(self) -> None:
        """Lose everything; the receiver is not told."""
        self._queue.clear()
        self.size = 0
        self._ending = self._ending or "dropped"

    def release(self) -> None:
        """The way is open again: look at once."""
        if self._queue:
            if self._timer is not None:
                self._timer.cancel()
            self._arm(self._queue[0][0])

    def _arm(self, when: float) -> None:
        self._timer = self._network.clockwork.at(max(when, self.way.blocked_until), self._arrive)

    def _arrive(self) -> None:
        network, queue = self._network, self._queue
        now = network.clockwork.now
        if not queue:
            return
        if now < self.way.blocked_until or now < queue[0][0]:
            self._arm(queue[0][0])
            return
        chunks: list[bytes] = []
        is_end = False
        while queue and queue[0][0] <= now:
            chunk = queue.popleft()[1]
            is_end = is_end or not chunk
            chunks.append(chunk)
        if queue:
            self._arm(queue[0][0])
        data = b"".join(chunks)
        self.size -= len(data)
        target = self._target
        if target.other.is_open:
            target.other.drained()
        if not target.is_open:
            return
        if data:
            self.arrived += 1
            network.trace("bytes", target.name, target.peer, len(data))
            target.loop.call_soon(target.deliver, data)
        if is_end:
            target.loop.call_soon(target.lose, self._ending)


class End(asyncio.Transport):
    """One side of a connection: the parts of asyncio.Transport that production code uses."""

    __slots__ = (
        "_high_bytes",
        "_is_told_to_wait",
        "is_open",
        "loop",
        "name",
        "network",
        "other",
        "outgoing",
        "peer",
        "protocol",
    )

    def __init__(self, network: Network, loop: HostLoop, name: str, peer: str) -> None:
        super().__init__()
        self.network, self.loop, self.name, self.peer = network, loop, name, peer
        self.protocol: Any = None
        self.is_open = True
        self._high_bytes = 64 << 10
        self._is_told_to_wait = False
        self.other: End
        self.outgoing: Pipe

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def is_closing(self) -> bool:
        return not self.is_open

    def get_write_buffer_size(self) -> int:
        """All that has not arrived, as if the kernel held nothing."""
        return self.outgoing.size

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high_bytes = 64 << 10 if high is None else high

    def drained(self) -> None:
        """Something has arrived: who was told to wait may go on when little is left."""
        if self._is_told_to_wait and self.outgoing.size <= self._high_bytes // 4:
            self._is_told_to_wait = False
            self.loop.call_soon(self.protocol.resume_writing)

    def write(self, data: Any) -> None:
        if not self.is_open:
            return
        self.loop.point("net.write")
        departure = max(self.network.clockwork.now, self.loop.frozen_until)
        self.outgoing.push(departure, bytes(data))
        if self.outgoing.size > self._high_bytes and not self._is_told_to_wait:
            self._is_told_to_wait = True
            self.protocol.pause_writing()
        if not self.other.is_open or self.outgoing.is_blocked:
            self.network.watch_unacked(self)

    def close(self) -> None:
        """What was written still leaves."""
        if self.is_open:
            self.is_open = False
            self.loop.call_soon(self.protocol.connection_lost, None)
            self.outgoing.finish("closed")

    def abort(self) -> None:
        """What was written and has not left is lost."""
        if self.is_open:
            self.outgoing.cut(self.network.rng.randrange(1 + self.outgoing.size))
            self.close()

    def deliver(self, data: bytes) -> None:
        """Bytes for the process."""
        if self.is_open:
            self.protocol.data_received(data)

    def lose(self, why: str) -> None:
        """The kernel has found out that the connection is no more."""
        if self.is_open:
            self.is_open = False
            self.protocol.connection_lost(ConnectionResetError(why))
            self.outgoing.finish(why)

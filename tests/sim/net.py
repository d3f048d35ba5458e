"""The network: byte streams between hosts, FIFO per connection, each with its own end.

Owns what is under way. Bytes arrive late, in bursts, cut in the middle of a frame, or never; a
connection may be gone for one side and stand for the other, and a new one may be opened while an
older one still delivers. What the real kernel does to a TCP connection is here: refused, timed
out, reset, unacknowledged for too long.

    dial -> Connection(two Ends) -> write -> Pipe -> arrive -> data_received
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from typing import Any

from tests.sim.clockwork import Clockwork, Handle, HostLoop

UNACKED_S = 4.0
"""A connection whose bytes nobody acknowledged for this long is given up: links._UNACKED_MS."""

Address = tuple[Any, Any]


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


class Server:
    """What `create_server` gives back."""

    def __init__(self, network: Network, address: Address) -> None:
        self._network, self._address = network, address

    def close(self) -> None:
        self._network.listeners.pop(self._address, None)


class Network:
    """All hosts' connections.

    Attributes:
        ways: by (source, target); made when first used.
        up: names of hosts whose kernel answers, with or without a process.
        bytes_carried: for the digest of a run.
    """

    def __init__(
        self,
        clockwork: Clockwork,
        rng: random.Random,
        *,
        latency_s: tuple[float, float],
        trace: Callable[..., None],
    ) -> None:
        self.clockwork, self.rng, self.trace = clockwork, rng, trace
        self.ways: dict[tuple[str, str], Way] = {}
        self.up: set[str] = set()
        self.listeners: dict[Address, tuple[HostLoop, Callable[[], Any]]] = {}
        self.ends: dict[End, None] = {}
        self._latency_min_s, self._jitter_s = latency_s

    def way(self, source: str, target: str) -> Way:
        key = (source, target)
        way = self.ways.get(key)
        if way is None:
            way = self.ways[key] = Way()
        return way

    def latency(self, way: Way) -> float:
        """How long a segment takes; now and then far longer than usual."""
        chance = self.rng.random()
        delay = self._latency_min_s + self._jitter_s * chance
        if chance > 0.995:
            delay *= 8
        if self.clockwork.now < way.slow_until:
            delay += way.slow_s * self.rng.random()
        return delay

    # -- connections ------------------------------------------------------------------------------

    def listen(self, loop: HostLoop, factory: Callable[[], Any], address: Address) -> Server:
        self.listeners[address] = (loop, factory)
        return Server(self, address)

    async def dial(
        self, loop: HostLoop, factory: Callable[[], Any], source: str, address: Address
    ) -> tuple[End, Any]:
        """As loop.create_connection: an open connection, or an OSError, or no answer for ever."""
        done = loop.create_future()

        def answered(result: End | OSError) -> None:
            if isinstance(result, OSError):
                if not done.done():
                    done.set_exception(result)
            elif done.done():
                result.abort()
            else:
                done.set_result(result)

        self.connect(loop, factory, source, address, answered)
        end: End = await done
        return end, end.protocol

    def connect(
        self,
        loop: HostLoop,
        factory: Callable[[], Any],
        source: str,
        address: Address,
        answered: Callable[[End | OSError], None],
    ) -> None:
        """Open a connection; without an answer from the other host, nothing ever happens."""
        target = address[0]
        there, back = self.way(source, target), self.way(target, source)
        now = self.clockwork.now

        def arrive() -> None:
            now = self.clockwork.now
            if now < there.blocked_until or now < back.blocked_until or target not in self.up:
                return  # no answer
            listener = self.listeners.get(address)
            delay = self.latency(back)
            if listener is None or not listener[0].is_alive or now < there.refuses_until:
                self.clockwork.after(delay, loop.call_soon, answered, ConnectionRefusedError())
                return
            ours, theirs = self._pair(loop, source, listener[0], target)
            ours.protocol, theirs.protocol = factory(), listener[1]()
            theirs.loop.call_soon(theirs.protocol.connection_made, theirs)
            self.clockwork.after(delay, loop.call_soon, self._made, ours, answered)

        self.clockwork.at(max(now, loop.frozen_until) + self.latency(there), arrive)

    def _made(self, end: End, answered: Callable[[End | OSError], None]) -> None:
        if end.is_open:
            end.protocol.connection_made(end)
            answered(end)
        else:
            answered(ConnectionResetError("closed at once"))

    def _pair(self, loop: HostLoop, name: str, other: HostLoop, target: str) -> tuple[End, End]:
        ours, theirs = End(self, loop, name, target), End(self, other, target, name)
        ours.other, theirs.other = theirs, ours
        ours.outgoing = Pipe(self, self.way(name, target), theirs)
        theirs.outgoing = Pipe(self, self.way(target, name), ours)
        self.ends[ours] = self.ends[theirs] = None
        return ours, theirs

    def watch_unacked(self, end: End) -> None:
        """Bytes were sent that nobody may acknowledge: the kernel gives up after a while."""
        other = end.other
        if not other.is_open and end.peer in self.up and not end.outgoing.is_blocked:
            delay = self.latency(end.outgoing.way)
            self.clockwork.after(delay, end.loop.call_soon, end.lose, "reset by peer")
        else:
            self.clockwork.after(UNACKED_S, self._look_at_unacked, end, end.outgoing.arrived)

    def _look_at_unacked(self, end: End, arrived: int) -> None:
        if end.is_open and end.outgoing.arrived == arrived and end.outgoing.size:
            if not self.rng.randrange(2):
                end.outgoing.drop()
            end.loop.call_soon(end.lose, "timed out")

    # -- what happens to hosts --------------------------------------------------------------------

    def process_ended(self, loop: HostLoop, name: str) -> None:
        """The kernel closes what the process had open, and tells the others."""
        self._forget(loop, name)
        for end in self.ends_of(name):
            if end.loop is loop:
                end.is_open = False
                end.outgoing.finish("reset by peer")
        self._sweep()

    def host_vanished(self, loop: HostLoop, name: str) -> None:
        """Power loss: the others hear nothing."""
        self._forget(loop, name)
        self.up.discard(name)
        for end in self.ends_of(name):
            if end.loop is loop:
                end.is_open = False
                if self.rng.randrange(2):
                    end.outgoing.drop()
                if end.other.is_open and end.other.outgoing.size:
                    self.watch_unacked(end.other)
        self._sweep()

    def _forget(self, loop: HostLoop, name: str) -> None:
        for address in [a for a, (owner, _) in self.listeners.items() if owner is loop]:
            del self.listeners[address]

    def _sweep(self) -> None:
        """Forget connections that are over on both sides and carry nothing."""
        gone = [end for end in self.ends if not (end.is_open or end.other.is_open)]
        for end in gone:
            if not (end.outgoing.size or end.other.outgoing.size):
                del self.ends[end]

    # -- faults -----------------------------------------------------------------------------------

    def ends_of(self, source: str, target: str | None = None) -> list[End]:
        """Open or half open ends of a host, eldest first."""
        return [e for e in self.ends if e.name == source and (target is None or e.peer == target)]

    def block(self, source: str, target: str, seconds: float) -> None:
        """Nothing arrives for a while; afterwards all of it at once."""
        way = self.way(source, target)
        way.blocked_until = max(way.blocked_until, self.clockwork.now + seconds)
        for end in self.ends_of(source, target):
            if end.is_open and end.outgoing.size:
                self.watch_unacked(end)

    def refuse(self, source: str, target: str, seconds: float) -> None:
        """New connections are refused for a while."""
        way = self.way(source, target)
        way.refuses_until = max(way.refuses_until, self.clockwork.now + seconds)

    def slow(self, source: str, target: str, seconds: float, delay_s: float) -> None:
        """Segments take up to `delay_s` longer for a while."""
        way = self.way(source, target)
        way.slow_until = max(way.slow_until, self.clockwork.now + seconds)
        way.slow_s = delay_s

    def reset(self, source: str, target: str, *, keep_bytes: int, is_late: bool) -> bool:
        """Break the connections of one direction; whether there was any.

        Args:
            keep_bytes: of what is under way arrive, mostly the last of them within a frame.
            is_late: the receiver hears of it only after all that was under way.
        """
        ends = [end for end in self.ends_of(source, target) if end.is_open]
        for end in ends:
            if not is_late:
                end.outgoing.cut(keep_bytes)
            end.outgoing.finish("reset by peer")
            end.loop.call_soon(end.lose, "reset by peer")
        return bool(ends)

    def heal(self) -> None:
        """All ways are open and fast; connections that broke stay broken."""
        for way in self.ways.values():
            way.blocked_until = way.refuses_until = way.slow_until = 0.0
        for end in self.ends:
            end.outgoing.release()

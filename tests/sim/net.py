"""The network: byte streams between hosts, FIFO per connection, each with its own end.

Owns who reaches whom. A connection may be gone for one side and stand for the other, and a new one
may be opened while an older one still delivers. What the real kernel does to a TCP connection is
here: refused, timed out, reset, unacknowledged for too long. What becomes of the bytes of one
connection is `connection`'s.

    dial -> Connection(two Ends) -> write -> Pipe -> arrive -> data_received
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from tests.sim.clockwork import Clockwork, HostLoop
from tests.sim.connection import End, Pipe, Way

UNACKED_S = 4.0
"""A connection whose bytes nobody acknowledged for this long is given up: links._UNACKED_MS."""

Address = tuple[Any, Any]


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

    def unblock(self, source: str, target: str) -> None:
        """What was kept back by `block` arrives now."""
        self.way(source, target).blocked_until = 0.0
        for end in self.ends_of(source, target):
            end.outgoing.release()

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

"""A network of directed connections that a test cuts, holds, resets and replays at will.

Owns what is under way between nodes. Each direction is a connection of its own, opened by the
sender, as `replica.links.PeerLinks` makes them: FIFO while it stands; what it still holds when it
breaks is lost, or arrives late if the test says so. Messages travel as bytes and are checked on
arrival, as on a socket.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any, Protocol

from raftbook.replica.messages import Message, check_message
from raftbook.wire.packing import pack, unpack

Way = tuple[int, int]


class Receiver(Protocol):
    """What the network needs of a node."""

    def receive(self, peer_id: int, message: Message) -> None:
        """See `Replica.receive`."""

    def connected(self, peer_id: int) -> None:
        """See `Replica.connected`."""

    def disconnected(self, peer_id: int) -> None:
        """See `Replica.disconnected`."""


@dataclass(slots=True)
class Connection:
    """One direction between two nodes.

    Attributes:
        stands: whether the sender holds a connection.
        allowed: whether one may be opened.
        held: whether what is under way waits for `release`.
        queue: what is under way.
        late: what an earlier connection still held when it broke.
        generation: how many connections there have been.
    """

    stands: bool = False
    allowed: bool = True
    held: bool = False
    queue: deque[bytes] = field(default_factory=deque)
    late: deque[bytes] = field(default_factory=deque)
    generation: int = 0


class Network:
    """All connections; `nodes` holds those that run."""

    def __init__(self, node_ids: list[int]) -> None:
        self.nodes: dict[int, Receiver] = {}
        self.ways: dict[Way, Connection] = {
            (a, b): Connection() for a in node_ids for b in node_ids if a != b
        }
        self.sent: list[tuple[int, int, Message]] = []
        self.records = False

    def add(self, node_id: int) -> None:
        """A new machine can reach all others, and be reached."""
        others = {source for source, _ in self.ways} | set(self.nodes)
        for other in sorted(others - {node_id}):
            self.ways[node_id, other] = Connection()
            self.ways[other, node_id] = Connection()

    def send(self, source: int, target: int, messages: list[Message]) -> None:
        """Put messages on their way; without a connection they are lost."""
        if self.records:
            self.sent += [(source, target, message) for message in messages]
        way = self.ways[source, target]
        if way.stands:
            way.queue += [pack(message) for message in messages]

    def deliver(self, source: int, target: int, count: int = 1 << 30) -> int:
        """Let up to `count` messages arrive, eldest first; how many did."""
        way = self.ways[source, target]
        return self._arrive(way.queue, source, target, count)

    def deliver_late(self, source: int, target: int, count: int = 1 << 30) -> int:
        """Let what broken connections still held arrive now."""
        return self._arrive(self.ways[source, target].late, source, target, count)

    def _arrive(self, queue: deque[bytes], source: int, target: int, count: int) -> int:
        node = self.nodes.get(target)
        count = min(count, len(queue))
        for _ in range(count):
            message: Any = check_message(unpack(queue.popleft()))
            if node is not None:
                node.receive(source, message)
        return count

    def deliver_all(self) -> set[int]:
        """One round: let everything that is not held arrive; who received something."""
        reached: set[int] = set()
        for (source, target), way in self.ways.items():
            if not way.held and self.deliver(source, target):
                reached.add(target)
        return reached

    # -- connections --------------------------------------------------------------------------

    def open_allowed(self) -> None:
        """Open every connection that may be open, between nodes that run."""
        for (source, target), way in self.ways.items():
            both_run = source in self.nodes and target in self.nodes
            if both_run and way.allowed and not way.stands:
                way.stands = True
                way.generation += 1
                self.nodes[source].connected(target)

    def break_way(self, source: int, target: int, *, late: bool = False) -> None:
        """Break one direction; with `late`, what was under way may still arrive."""
        way = self.ways[source, target]
        if late:
            way.late += way.queue
        way.queue.clear()
        if way.stands:
            way.stands = False
            if source in self.nodes:
                self.nodes[source].disconnected(target)

    def reset(self, source: int, target: int, *, late: bool = False) -> None:
        """Break one direction and open it again at once."""
        self.break_way(source, target, late=late)
        self.open_allowed()

    def cut(self, left: list[int], right: list[int], *, late: bool = False) -> None:
        """No connections between two groups until `heal`."""
        for way in [(a, b) for a in left for b in right]:
            for source, target in (way, way[::-1]):
                self.ways[source, target].allowed = False
                self.break_way(source, target, late=late)

    def cut_one_way(self, source: int, target: int) -> None:
        """Nothing gets from source to target until `heal`."""
        self.ways[source, target].allowed = False
        self.break_way(source, target)

    def heal(self) -> None:
        """Allow, release and open everything."""
        for way in self.ways.values():
            way.allowed, way.held = True, False
        self.open_allowed()

    def hold(self, source: int, target: int) -> None:
        """Let nothing arrive on this connection until `release`; it keeps standing."""
        self.ways[source, target].held = True

    def release(self, source: int, target: int) -> None:
        """Let what was held arrive with the next round."""
        self.ways[source, target].held = False

    def forget_node(self, node_id: int, *, late: bool = False) -> None:
        """A node's process ended: all its connections break."""
        self.nodes.pop(node_id, None)
        for source, target in self.ways:
            if node_id in (source, target):
                self.break_way(source, target, late=late)

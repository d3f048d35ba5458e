"""A client port without sockets: the real server, a cluster of one, its clock in the test."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from raftbook.core.exchange import Genesis
from raftbook.core.instrument import InstrumentTerms
from raftbook.core.limits import Limits
from raftbook.feed.stream import FeedHistory
from raftbook.gateway.connection import ClientConnection
from raftbook.gateway.native import ClientBounds, ClientServer
from raftbook.gateway.queries import Queries
from raftbook.replica.machine import Machine
from raftbook.replica.membership import Member, configured
from raftbook.replica.raft import RaftTimings
from raftbook.replica.replica import Replica, ReplicaBounds
from raftbook.replica.shipping import InlineMaker
from raftbook.storage.journal import Journal, JournalIdentity
from raftbook.storage.snapshots import SnapshotStore
from raftbook.wire import client_messages as m
from raftbook.wire.framing import FrameReader, frame
from raftbook.wire.packing import pack

GENESIS = Genesis(
    (
        InstrumentTerms("A", "OIL", "USD", "0.01", "1", 1_000, -1_000, 1_000),
        InstrumentTerms("B", "GAS", "USD", "0.5", "10", 1_000, -1_000, 1_000),
    ),
    (("op", True), ("alice", False), ("bob", False)),
    Limits(),
)
SECRETS: dict[str, str | None] = {"op": None, "alice": None, "bob": "bobs secret"}

BOUNDS = ClientBounds(
    frame_bytes_max=1 << 20,
    request_bytes_max=1 << 16,
    request_commands_max=50,
    buffer_bytes_max=1 << 20,
    connections_max=8,
    handshake_timeout_s=3.0,
    idle_timeout_s=60.0,
    deadline_s=2.0,
)


class Door:
    """One node that leads itself.

    Attributes:
        now: its clock, seconds.
        commits: whether requests get into the log; without, they wait until their deadline.
    """

    def __init__(
        self,
        folder: Path,
        bounds: ClientBounds,
        *,
        feed_kept: int,
        entries_kept: int,
        genesis: Genesis = GENESIS,
    ) -> None:
        self.now = 1_000.0
        self.commits = True
        self.journal = Journal.open(folder, JournalIdentity("c", 1, "00"))
        snapshots = SnapshotStore(folder / "snapshots", cluster_id="c", genesis_digest="00")
        machine = Machine(genesis, entries_kept=entries_kept)
        self.replica = Replica(
            1,
            configured([Member(1)]),
            machine=machine,
            log=self.journal,
            snapshots=snapshots,
            maker=InlineMaker(machine, snapshots),
            links=_NoLinks(),
            timings=RaftTimings(0.3, 0.6, 0.06, 1.2, 0.0),
            bounds=ReplicaBounds(1 << 18, 4_096, 1_000, 10**6, 1 << 30, 2.0),
            clock=lambda: self.now,
            wall_ns=lambda: int(self.now * 1e9),
            rng=random.Random(1),
        )
        self.server = ClientServer(
            self.replica,
            FeedHistory(feed_kept),
            Queries(self.replica, lambda: {"cluster": "test", "cluster_id": "c"}),
            bounds,
            cluster=("test", "c"),
            secrets=SECRETS,
            wake=self._wake,
            admin={"snapshot": self._snapshot},
            nonce=lambda: b"n" * 32,
            unique=self._unique,
        )
        self.server.intake.pass_s = 10.0  # however slow the machine is, nothing waits for its turn
        self._last_unique = 0
        self.lead()

    def lead(self) -> None:
        """Let time go by until this node leads."""
        for _ in range(100):
            self.now += 0.05  # in small steps: a node that slept waits for its leader first
            self.turns()
        assert self.replica.raft.is_leader

    def turns(self) -> None:
        """All turns that are due now."""
        self.replica.turn()
        while self.replica.needs_turn():
            self.replica.turn()

    def caller(self) -> "Caller":
        """A new connection."""
        return Caller(self)

    def _wake(self) -> None:
        if self.commits:
            asyncio.get_running_loop().call_soon(self.turns)

    def _unique(self) -> int:
        self._last_unique += 1
        return self._last_unique

    async def _snapshot(self, arguments: dict[str, Any]) -> dict[str, int]:
        return {"snapshot_index": self.replica.start_snapshot()}


class Caller:
    """A client at the door; what the node wrote is in `inbox` once `settle` has run.

    Attributes:
        written: bytes the node has written, unread ones included.
        is_reading: a client that does not read leaves everything in the node's buffer.
    """

    def __init__(self, door: Door) -> None:
        self.door = door
        self.transport = _Transport()
        self.connection = ClientConnection(door.server)
        self.transport.protocol = self.connection
        self.connection.connection_made(self.transport)
        self._reader = FrameReader(1 << 26)
        self._ref = 0

    @property
    def is_closed(self) -> bool:
        """Whether the node has ended this connection."""
        return self.transport.is_closing()

    def say(self, *message: Any) -> None:
        """Send one message."""
        self.connection.data_received(frame(pack(message)))

    async def hear(self) -> list[tuple[Any, ...]]:
        """What has arrived since the last call."""
        await self._settle()
        pieces: list[bytes] = []
        while piece := self.transport.read():
            pieces += piece
            await self._settle()
        return [m.read_message(one) for piece in pieces for one in self._reader.feed(piece)]

    async def _settle(self) -> None:
        """Let the node write what it can, what waits for a moment of the others included."""
        loop, outbox = asyncio.get_running_loop(), self.connection._outbox
        for _ in range(8):
            await asyncio.sleep(0)
        while self._is_owed() and outbox.stalled_at is None and not self.transport.is_closing():
            if self.door.server.pace.free_at > loop.time() + 60.0:
                return
            await asyncio.sleep(0.001)

    def _is_owed(self) -> bool:
        return bool(self.connection._outbox._queue or self.connection._questions._ready)

    async def glance(self) -> list[tuple[Any, ...]]:
        """What the node has written so far; nothing more is waited for."""
        return [
            m.read_message(one)
            for piece in self.transport.read()
            for one in self._reader.feed(piece)
        ]

    async def ask(self, *message: Any) -> tuple[Any, ...]:
        """Send one message and give the one answer."""
        self.say(*message)
        (answer,) = await self.hear()
        return answer

    async def greet(self, account: str = "", proof: bytes = b"") -> None:
        """HELLO and, with an account, LOGIN."""
        assert (await self.ask(m.HELLO, m.PROTOCOL_VERSION, "test"))[0] == m.WELCOME
        if account:
            answer = await self.ask(m.LOGIN, 1, account, proof)
            assert answer[:2] == (m.RESULT, 1), answer

    async def open(self, account: str, key: str = "k") -> int:
        """Greet, log in and open a session; its id."""
        await self.greet(account)
        answer = await self.ask(m.OPEN, 2, key)
        assert answer[:2] == (m.RESULT, 2), answer
        return int(answer[2][0])

    async def query(self, name: str, **arguments: Any) -> Any:
        """The value of a query, or (code, message) of its failure."""
        self._ref += 1
        answer = await self.ask(m.QUERY, self._ref, name, arguments)
        assert answer[1] == self._ref, answer
        return answer[2] if answer[0] == m.RESULT else answer[2:]

    async def subscribe(self, name: str, **arguments: Any) -> list[Any]:
        """Subscribe: [what was answered, what was pushed at once ...]."""
        self._ref += 1
        self.say(m.SUBSCRIBE, self._ref, name, arguments)
        answer, *pushes = await self.hear()
        assert answer[1] == self._ref, answer
        return [answer[2] if answer[0] == m.RESULT else answer[2:], *(push[2] for push in pushes)]

    async def pushes(self) -> list[Any]:
        """The values that were pushed since the last call."""
        return [message[2] for message in await self.hear() if message[0] == m.PUSH]

    async def connection_round(self) -> None:
        """Let the node go on without taking what it wrote."""
        for _ in range(8):
            await asyncio.sleep(0)

    async def until(self, is_so: Callable[[], bool], within_s: float = 20.0) -> None:
        """Wait for the node's own timers."""
        async with asyncio.timeout(within_s):
            while not is_so():
                await asyncio.sleep(0.01)

    def hang_up(self) -> None:
        """End the connection from this side."""
        self.connection.connection_lost(None)


class _Transport(asyncio.Transport):
    """Keeps what is written; a full one stands for a client that does not read.

    Attributes:
        is_read: whether the node takes what its client sends.
        most: the most bytes that ever stood in it while it was full.
    """

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 50_000)})
        self.pieces: list[bytes] = []
        self.protocol: ClientConnection | None = None
        self.is_full = False
        self.was_aborted = False
        self.is_read = True
        self.most = 0
        self._is_closing = False
        self._is_paused = False
        self._high = 1 << 16

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = high or self._high

    def write(self, data: Any) -> None:
        self.pieces.append(bytes(data))
        size = self.get_write_buffer_size()
        self.most = max(self.most, size)
        if size > self._high and not self._is_paused and self.protocol is not None:
            self._is_paused = True
            self.protocol.pause_writing()

    def get_write_buffer_size(self) -> int:
        return sum(map(len, self.pieces)) if self.is_full else 0

    def read(self) -> list[bytes]:
        """Everything that was written, as a client that wakes up reads it."""
        pieces, self.pieces = self.pieces, []
        if self._is_paused and self.protocol is not None:
            self._is_paused = False
            self.protocol.resume_writing()
        return pieces

    def pause_reading(self) -> None:
        self.is_read = False

    def resume_reading(self) -> None:
        self.is_read = True

    def is_closing(self) -> bool:
        return self._is_closing

    def close(self) -> None:
        self._is_closing = True
        if not self.is_full and self.protocol is not None:
            asyncio.get_running_loop().call_soon(self._lost)

    def abort(self) -> None:
        self.was_aborted = self._is_closing = True
        asyncio.get_running_loop().call_soon(self._lost)

    def _lost(self) -> None:
        protocol, self.protocol = self.protocol, None
        if protocol is not None:
            protocol.connection_lost(None)


class _NoLinks:
    def send(self, peer_id: int, messages: list[Any]) -> None:
        raise AssertionError(f"a cluster of one speaks to node {peer_id}")


def at_the_door(
    folder: Path,
    scene: Callable[[Door], Awaitable[None]],
    *,
    bounds: ClientBounds = BOUNDS,
    feed_kept: int = 1_000,
    entries_kept: int = 1_000,
) -> None:
    """Play a scene; whatever goes wrong in a task of the node fails it."""

    async def play() -> None:
        unhandled: list[str] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: unhandled.append(f"{context['message']}: {context.get('exception')}")
        )
        door = Door(folder, bounds, feed_kept=feed_kept, entries_kept=entries_kept)
        try:
            await scene(door)
            await asyncio.sleep(0)
            assert door.replica.fenced is None
        finally:
            door.commits = False  # what connections leave behind comes too late
            for connection in list(door.server.connections):
                connection.connection_lost(None)
            door.journal.close()
        assert unhandled == [], unhandled

    asyncio.run(play())

"""Whole clusters in one thread: production replicas, a virtual clock, a disk and a network in hand.

Owns the stage for scripted scenarios. A test says what happens and in which order; nothing here
happens by itself or depends on real time.

    cluster = Cluster(tmp_path)          # three nodes, connected, nobody leads yet
    cluster.elect(1)                     # ... now node 1 does
    session = cluster.open_session(1)
    waiter = cluster.order(1, session, 1)
    cluster.settle()                     # messages and turns until nothing moves
    assert waiter.reply is not None
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar
from weakref import WeakSet

from raftbook.core.commands import NO_SESSION, Command, new_order, open_session
from raftbook.core.events import REJECTED, SESSION_OPENED, Reply
from raftbook.core.exchange import Genesis
from raftbook.core.instrument import InstrumentTerms
from raftbook.core.limits import Limits
from raftbook.core.types import Reject, Side
from raftbook.replica.machine import Applied, Machine
from raftbook.replica.membership import Member, configured
from raftbook.replica.messages import Message
from raftbook.replica.raft import RaftTimings
from raftbook.replica.replica import Replica, ReplicaBounds
from raftbook.replica.shipping import InlineMaker
from raftbook.storage.log_store import LogStore
from raftbook.storage.snapshots import SnapshotStore
from raftbook.wire.entry import pack_entry, pack_request
from tests.replica.memory_log import Disk, MemoryLog
from tests.replica.network import Network

STEP_S = 0.02
TIMINGS = RaftTimings(
    election_min_s=0.3, election_max_s=0.6, heartbeat_s=0.06, fallback_s=1.2, founding_wait_s=2.0
)
BOUNDS = ReplicaBounds(
    entry_bytes_max=256 << 10,
    entry_requests_max=4_096,
    requests_pending_max=1_000,
    snapshot_every_entries=1_000_000,
    snapshot_every_bytes=1 << 30,
    request_deadline_s=2.0,
)
OIL = InstrumentTerms("OIL", "oil", "eur", "0.01", "1", 1_000, 1, 1_000)
GENESIS = Genesis((OIL,), (("ann", True),), Limits(reply_window=8))


@dataclass(slots=True)
class Waiter:
    """Hears what became of one request, and that it hears it once."""

    replies: list[tuple[Reply, Applied]] = field(default_factory=list)
    refusals: list[Reject] = field(default_factory=list)
    on_answer: Callable[[], None] = lambda: None

    def replied(self, reply: Reply, applied: Applied) -> None:
        self.replies.append((reply, applied))
        self._check()

    def refused(self, session_id: int, request_seq: int, code: Reject, message: str) -> None:
        self.refusals.append(code)
        self._check()

    def _check(self) -> None:
        assert self.answers == 1, "a waiter hears exactly one thing"
        self.on_answer()

    @property
    def answers(self) -> int:
        return len(self.replies) + len(self.refusals)

    @property
    def reply(self) -> Reply | None:
        return self.replies[0][0] if self.replies else None

    @property
    def refusal(self) -> Reject | None:
        return self.refusals[0] if self.refusals else None

    @property
    def acknowledged(self) -> bool:
        """Whether the order is now in the book, as far as its client was told."""
        return self.reply is not None and all(event[0] != REJECTED for event in self.reply[4])


@dataclass(slots=True)
class _Links:
    network: Network
    node_id: int

    def send(self, peer_id: int, messages: list[Message]) -> None:
        self.network.send(self.node_id, peer_id, messages)


@dataclass(slots=True)
class Clock:
    """Virtual seconds. Starts above 0, because PySyncObj takes a deadline of 0 for the past."""

    now: float = 1_000.0

    def __call__(self) -> float:
        return self.now


class Cluster:
    """Some nodes, their disks and the network between them.

    Attributes:
        alive: all clusters that a test has not let go of.
        replicas: the running nodes by id.
        disks: what each node keeps when it crashes.
    """

    alive: ClassVar[WeakSet[Cluster]] = WeakSet()

    def __init__(
        self,
        directory: Path,
        size: int = 3,
        *,
        seed: int = 0,
        bounds: ReplicaBounds = BOUNDS,
        genesis: Genesis = GENESIS,
        open_log: Callable[[int], LogStore] | None = None,
        start: bool = True,
    ) -> None:
        self.node_ids = list(range(1, size + 1))
        self.founders = tuple(self.node_ids)
        self.clock = Clock()
        self.rng = random.Random(seed)
        self.network = Network(self.node_ids)
        self.replicas: dict[int, Replica] = {}
        self.disks = {node_id: Disk() for node_id in self.node_ids}
        self.genesis, self.bounds = genesis, bounds
        self._directory = directory
        self._open_log = open_log or self._open_memory_log
        self._last_key = self._last_journal = 0
        self.alive.add(self)
        for node_id in self.node_ids if start else []:
            self.start(node_id)

    def __getitem__(self, node_id: int) -> Replica:
        return self.replicas[node_id]

    def _open_memory_log(self, node_id: int) -> LogStore:
        self._last_journal += 1
        return MemoryLog(self.disks[node_id], incarnation=f"{self._last_journal:032x}")

    # -- processes ----------------------------------------------------------------------------

    def snapshot_directory(self, node_id: int) -> Path:
        return self._directory / f"node-{node_id}"

    def snapshots(self, node_id: int) -> SnapshotStore:
        directory = self.snapshot_directory(node_id)
        return SnapshotStore(directory, cluster_id="test", genesis_digest="00")

    def start(self, node_id: int) -> Replica:
        """Start a node's process on what its disk holds, and let it connect."""
        assert node_id not in self.replicas, f"node {node_id} runs"
        machine = Machine(self.genesis, entries_kept=1 << 20)
        store = self.snapshots(node_id)
        replica = Replica(
            node_id,
            configured(Member(each) for each in sorted({*self.founders, node_id})),
            machine=machine,
            log=self._open_log(node_id),
            snapshots=store,
            maker=InlineMaker(machine, store),
            links=_Links(self.network, node_id),
            timings=TIMINGS,
            bounds=self.bounds,
            clock=self.clock,
            wall_ns=lambda: int(self.clock.now * 1e9),
            rng=random.Random(self.rng.random()),
        )
        self.replicas[node_id] = self.network.nodes[node_id] = replica
        self.network.open_allowed()
        return replica

    def new_machine(self, node_id: int, *, start: bool = True) -> None:
        """Put up a machine that no membership names yet."""
        self.node_ids.append(node_id)
        self.network.add(node_id)
        self.disks[node_id] = Disk()
        if start:
            self.start(node_id)

    def crash(self, node_id: int, *, late: bool = False) -> None:
        """kill -9 or power loss: what was not synced is gone."""
        shipper = self.replicas.pop(node_id).shipper
        for transfer in shipper._outgoing.values():
            transfer.reader.close()
        if shipper._incoming is not None:
            shipper._incoming[1]._unfinished._file.close()
        self.network.forget_node(node_id, late=late)

    def restart(self, node_id: int) -> Replica:
        """Crash, if it runs, and start again."""
        if node_id in self.replicas:
            self.crash(node_id)
        return self.start(node_id)

    def wipe(self, node_id: int) -> None:
        """The disk is lost; the node must not run."""
        assert node_id not in self.replicas, f"node {node_id} runs"
        self.disks[node_id] = Disk()
        directory = self.snapshot_directory(node_id)
        for path in directory.iterdir():
            path.unlink()

    # -- time ---------------------------------------------------------------------------------

    def turn(self, node_id: int) -> None:
        self.replicas[node_id].turn()

    def settle(self, *, rounds: int = 200) -> None:
        """Turns and deliveries at this moment, until nothing moves that is not held."""
        for node_id in list(self.replicas):
            self.turn(node_id)
        for _ in range(rounds):
            reached = self.network.deliver_all()
            busy = {node_id for node_id in self.replicas if self[node_id].needs_turn()}
            if not reached | busy:
                return
            for node_id in sorted(reached | busy):
                if node_id in self.replicas:
                    self.turn(node_id)
        raise AssertionError(f"still busy after {rounds} rounds")

    def run(self, seconds: float) -> None:
        """Let virtual time pass."""
        for _ in range(round(seconds / STEP_S)):
            self.clock.now += STEP_S
            self.network.open_allowed()
            self.settle()

    def run_until(self, happened: Callable[[], object], *, within_s: float = 10.0) -> None:
        """Let virtual time pass until something is so."""
        for _ in range(round(within_s / STEP_S)):
            if happened():
                return
            self.run(STEP_S)
        assert happened(), f"it did not happen within {within_s} s"

    def compact(self, node_id: int) -> None:
        """Let a node take snapshots until its log begins with what is applied now.

        One is not enough: the log goes back to the snapshot before the newest.
        """
        for _ in range(2):
            self[node_id].start_snapshot()
            self.settle()
            self.settle()
            self[self.leader].raft.propose([pack_entry(0, [])])
            self.settle()

    # -- members ------------------------------------------------------------------------------

    def add(self, node_id: int, *, via: int | None = None) -> int:
        """Let the leader take a node in as a learner; the index of the entry."""
        member = Member(node_id, "host", node_id, 100 + node_id)
        return self[via or self.leader].raft.changes.add(member)

    def remove(self, node_id: int) -> int:
        """Let the leader remove a node; the index of the entry."""
        return self[self.leader].raft.changes.remove(node_id)

    def voters(self, node_id: int | None = None) -> tuple[int, ...]:
        """The voters in force at a node, by default the leader."""
        return self[node_id or self.leader].raft.membership.voter_ids

    def run_until_voters(self, *node_ids: int) -> None:
        """Let time pass until these vote, and that is committed."""
        self.run_until(
            lambda: (
                self.leaders() and self[self.leader].raft.committed_membership.voter_ids == node_ids
            )
        )

    # -- leading ------------------------------------------------------------------------------

    def leaders(self) -> list[int]:
        """Who leads, as far as each node itself knows; fenced nodes lead nobody."""
        replicas = self.replicas.items()
        return [node_id for node_id, each in replicas if each.raft.is_leader and not each.fenced]

    @property
    def leader(self) -> int:
        """Who leads in the highest term."""
        return max(self.leaders(), key=lambda node_id: self[node_id].raft.term)

    def elect(self, node_id: int) -> None:
        """Let this node stand now, as if its peers had said that they heard of no leader."""
        self.stand(node_id)
        self.settle()
        assert self[node_id].raft.is_leader, f"node {node_id} was not elected"

    def stand(self, node_id: int) -> None:
        """Let this node ask for votes in its next turn, as if a leader had asked it to."""
        self.introduce()
        self[node_id].raft._may_found_at = 0.0
        self[node_id].raft._SyncObj__transferInProgress = True
        self[node_id].raft._SyncObj__raftElectionDeadline = 0.0

    def said_by(self, node_id: int, message: Message) -> Message:
        """A message with what a node's own would say of its past and its journal."""
        said = self[node_id].raft._introduction()
        if message["type"] in ("append", "install"):
            return {**message, "founding": said["founding"]}
        if message["type"] in ("append_reply", "install_reply", "response_vote"):
            return {**message, "incarnation": said["incarnation"]}
        asked = {"is_asked": True} if message["type"] == "request_vote" else {}
        return {**message, **said, **asked}

    def introduce(self) -> None:
        """Let nodes without a past know each other, as their pre-votes would do."""
        for source, replica in self.replicas.items():
            for target, other in self.replicas.items():
                if source != target and not replica.raft.membership.is_founded:
                    other.raft.founding.hear(source, replica.raft._introduction())

    def await_leader(self) -> int:
        """Let time pass until somebody leads and its first entry is committed."""

        def is_settled() -> bool:
            leaders = [self[node_id] for node_id in self.leaders()]
            return any(each.raft.commit_index == each.last_index for each in leaders)

        self.run_until(is_settled)
        return self.leader

    # -- clients ------------------------------------------------------------------------------

    def submit(self, node_id: int, session_id: int, request_seq: int, *commands: Command) -> Waiter:
        """Hand a request to a node's replica, as its gateway does."""
        waiter = Waiter()
        raw = pack_request(session_id, request_seq, commands)
        self[node_id].submit(session_id, request_seq, raw, waiter)
        return waiter

    def open_session(self, node_id: int, key: str = "") -> int:
        """Open a session through a node and wait for it; its id."""
        self._last_key += 1
        command = open_session("ann", key or f"key-{self._last_key}")
        waiter = self.submit(node_id, NO_SESSION, self._last_key, command)
        self.run_until(lambda: waiter.answers)
        assert waiter.reply is not None, waiter.refusals
        event = waiter.reply[4][0]
        assert event[0] == SESSION_OPENED, event
        return int(event[2])

    def order(self, node_id: int, session_id: int, request_seq: int) -> Waiter:
        """A resting buy named after its request, so that doubles can be counted."""
        return self.submit(node_id, session_id, request_seq, buy(session_id, request_seq))

    # -- what must hold -----------------------------------------------------------------------

    def book(self, node_id: int) -> Counter[str]:
        """How often each order entered the book of a node, by its client's name for it."""
        exchange = self[node_id].machine.exchange
        accounts = exchange.accounts.values()
        return Counter(order.terms[2] for each in accounts for order in each.orders.values())

    def check_agreement(self) -> None:
        """Committed prefixes are equal, digests are equal wherever two nodes know them."""
        by_index: dict[int, tuple[bytes, int]] = {}
        digests: dict[int, str] = {}
        for node_id, replica in self.replicas.items():
            if replica.fenced is not None:
                continue
            for payload, index, term in _committed(replica):
                known = by_index.setdefault(index, (payload, term))
                assert known == (payload, term), f"node {node_id} differs in entry {index}"
            first, last = replica.machine.digests_kept()
            for index in range(first, last + 1):
                digest = replica.machine.digest_at(index)
                if digest is not None:
                    known_digest = digests.setdefault(index, digest)
                    assert known_digest == digest, f"node {node_id} differs at {index}"


def buy(session_id: int, request_seq: int) -> Command:
    """The order of one request; its client_order_id says which."""
    return new_order("OIL", Side.BUY, 1, 10, client_order_id=f"{session_id}-{request_seq}")


def _committed(replica: Replica) -> Iterator[tuple[bytes, int, int]]:
    log: Any = replica._log
    for entry in log.entries[1:]:
        if entry[1] > replica.raft.commit_index:
            return
        yield entry

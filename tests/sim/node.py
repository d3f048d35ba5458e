"""One host: a disk that outlives its processes, a kernel, and the node process on it.

Owns the building of a node out of production parts, as `raftbook.node` does, and every way in which
it ends: killed at a named point, powered off, frozen, its disk failing, damaged or replaced.
"""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING, Any

from raftbook.core.versions import ENGINE_VERSION
from raftbook.errors import StorageError
from raftbook.feed.stream import FeedHistory
from raftbook.gateway.native import ClientBounds, ClientServer
from raftbook.gateway.queries import Queries
from raftbook.node_members import MemberVerbs, follow_members, peer_addresses
from raftbook.replica.administration import Administration
from raftbook.replica.driver import Driver
from raftbook.replica.links import LinkSettings, PeerLinks
from raftbook.replica.membership import MEMBERSHIP, Member, Membership, configured, read_payload
from raftbook.replica.messages import Message
from raftbook.storage.snapshots import SnapshotStore
from raftbook.wire.join_session import JoinAnswer
from raftbook.wire.peer_session import PeerCard
from tests.sim.clockwork import HostLoop, Killed, running
from tests.sim.files import Files, SimPath
from tests.sim.log import LogDisk, SimLog
from tests.sim.watched import ChildMaker, SimMachine, WatchedLinks, WatchedReplica

if TYPE_CHECKING:
    from tests.sim.world import World

RAFT_PORT, CLIENT_PORT = 1, 2
CLUSTER_ID = "simulation"
GENESIS_DIGEST = "00"
SECRET = b"the secret of the cluster"
EPOCH_S = 1_700_000_000


class Host:
    """One machine of the cluster.

    Attributes:
        loop: of the process that runs, None without one.
        replica: of the process that runs; meaningless without one.
        applied: (index, term, payload, digest) of this turn; term -1 is a restored snapshot.
        knew_retired: the nodes that the process knew to be removed when its turn began.
        armed: kill points waiting to be reached: name -> [times left, is power loss].
        points: how often each was passed.
        disk_faults: what the disk will do: "stall" (next syncs), "fork".
        expects_fence: an error was injected that may fence the process.
        damaged_files: snapshot files that were damaged.
        was_damaged: its disk lost or spoiled something that was synced, and was not replaced since.
        engine_version: what the release that is installed can run.
        is_marked: it belonged to the cluster once, and the mark beside its directory is kept.
        power_cycles: counts what no process survives.
        verbs: what an operator may ask of the process; `asked` are the answers under way.

    Args:
        configuration: the members as its cluster.toml names them.
        engine_version: of the release that it begins with.
    """

    def __init__(
        self,
        world: World,
        node_id: int,
        configuration: Membership,
        *,
        engine_version: int = ENGINE_VERSION,
    ) -> None:
        self.world, self.node_id, self.name = world, node_id, f"n{node_id}"
        self._configuration = configuration
        self.rng = random.Random(f"{world.seed}/host/{node_id}")
        self.loop: HostLoop | None = None
        self.replica: WatchedReplica
        self.log: SimLog
        self.verbs: MemberVerbs
        self.asked: list[Any] = []
        self.applied: list[tuple[int, int, bytes, str]] = []
        self.knew_retired: tuple[int, ...] = ()
        self.armed: dict[str, list[Any]] = {}
        self.points: Counter[str] = Counter()
        self.disk_faults: Counter[str] = Counter()
        self.stall_s = 0.0
        self.expects_fence = False
        self.damaged_files: list[str] = []
        self.was_damaged = False
        self.engine_version = engine_version
        self.power_cycles = 0
        self.is_marked = False
        self._files_rng = random.Random(f"{world.seed}/file/{node_id}")
        self.is_child_dying = False
        self.refusal: str | None = None
        self.fenced_loop: HostLoop | None = None  # whose supervisor was told
        self.rate, self.wall_offset_s = 1.0, 0.0
        self.boots = 0
        self._monotonic = 100.0 + 50.0 * self.rng.random()
        self._is_dying = self._dies_by_power = False
        self.disk = LogDisk(self.rng, self.point, world.checks.observer(self))
        self.disk.stall = self._stall
        self.files = Files(self.rng, self.point)
        world.network.up.add(self.name)

    # -- what it is -------------------------------------------------------------------------------

    @property
    def is_running(self) -> bool:
        return self.loop is not None

    @property
    def is_whole(self) -> bool:
        """Whether its disk remembers all it ever promised, as a member, and can be started from."""
        disk = self.disk
        if disk.problem is not None or disk.is_blank or not self._is_voter_on_disk():
            return False
        base = disk.synced.entries[0][1]
        return base == 1 or any(
            name not in self.damaged_files and int(name.split("-")[1]) >= base
            for name in self.files.snapshots()
        )

    def _is_voter_on_disk(self) -> bool:
        """Whether the log says that this disk counts, as far as it still says anything."""
        for payload, index, _ in reversed(self.disk.synced.entries):
            if payload[:1] == MEMBERSHIP:
                own = read_payload(payload, index).get(self.node_id)
                return own is not None and own.incarnation == f"{self.disk.incarnation:032x}"
        if self.loop is not None and self.replica.raft.membership.is_founded:
            return self.replica.raft.is_voter
        return self.node_id not in self.world.lost_disks

    def wall_ns(self) -> int:
        return int((EPOCH_S + self.world.clockwork.now + self.wall_offset_s) * 1_000_000_000)

    # -- kill points ------------------------------------------------------------------------------

    def point(self, name: str) -> None:
        """The process passes a named point, where it may have to die."""
        if self._is_dying:
            raise Killed(name)
        self.points[name] += 1
        armed = self.armed.get(name) if self.armed else None
        if armed is not None:
            armed[0] -= 1
            if armed[0] <= 0:
                del self.armed[name]
                self._is_dying, self._dies_by_power = True, armed[1]
                assert self.loop is not None
                self.loop.is_dying = True
                self.world.fault_happened("kill", f"{self.name} dies at {name}")
                raise Killed(name)

    def child_point(self, name: str) -> None:
        """The same for the snapshot child."""
        name = f"child.{name}"
        if self.is_child_dying:
            raise Killed(name)
        self.points[name] += 1
        armed = self.armed.get(name)
        if armed is not None:
            del self.armed[name]
            self.is_child_dying = True
            self.world.fault_happened("kill", f"{self.name}'s child dies at {name}")
            raise Killed(name)

    def _stall(self) -> None:
        if self.disk_faults["stall"]:
            self.disk_faults["stall"] -= 1
            assert self.loop is not None
            self.loop.freeze(self.stall_s * self.rng.random())

    # -- ends -------------------------------------------------------------------------------------

    def kill(self) -> None:
        """kill -9: what was written stays."""
        if self.loop is None:
            return
        self._end_process()
        self.world.network.process_ended(self._gone, self.name)

    def power_off(self) -> None:
        """Power loss: what was not synced is gone, nobody is told."""
        loop = self.loop
        if loop is not None:
            self._end_process()
            self.world.network.host_vanished(loop, self.name)
        self.world.network.up.discard(self.name)
        self.power_cycles += 1
        self.disk.lose_power()
        self.files.lose_power()
        self._monotonic = 1.0 + 30.0 * self.rng.random()

    def _end_process(self) -> None:
        assert self.loop is not None
        self._gone = self.loop
        self._monotonic = self.loop.time()
        self.loop.end()
        self.loop = None
        self._is_dying = False
        self.applied.clear()
        self.asked.clear()
        self.world.checks.process_ended(self)

    def _died(self) -> None:
        """The process ended at a kill point."""
        if self._dies_by_power:
            self.power_off()
        else:
            self.kill()
        self.world.restart_later(self)

    def wipe(self) -> None:
        """The disk is replaced by an empty one; the process must not run.

        Now and then with a cluster.toml from the days when this node was the only one.
        """
        assert self.loop is None, f"{self.name} runs"
        if self.is_marked and self._files_rng.random() < 0.5:
            own = Member(self.node_id, **self.world.address(self.node_id))
            self._configuration = configured([own])
        self.power_cycles += 1
        self.disk.replace()
        self.files.lose_all()
        self.files.error = 0
        self.damaged_files.clear()
        self.was_damaged = False

    # -- start ------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start a process on what the disk holds; it may refuse, with a reason."""
        if self.loop is not None:
            return
        world = self.world
        world.network.up.add(self.name)
        self.boots += 1
        self._is_dying = self._dies_by_power = False
        self.refusal = None
        self.expects_fence = bool(self.files.error)
        self.loop = HostLoop(
            world.clockwork,
            rate=self.rate,
            boot=self._monotonic,
            name=self.name,
            on_killed=self._died,
            network=world.network,
            point=self.point,
        )
        try:
            with running(self.loop):
                self._build(self.loop)
            world.checks.started(self)
            world.note(self.name, f"started, applied {self.replica.raft.applied_index}")
        except StorageError as error:
            self.refusal = str(error)
            world.note(self.name, f"refuses to start: {error}")
            self._end_process()
            world.network.process_ended(self._gone, self.name)
            world.refused(self)
        except Killed:
            self._died()

    def _build(self, loop: HostLoop) -> None:
        world, profile = self.world, self.world.profile
        rng = random.Random(f"{world.seed}/process/{self.node_id}/{self.boots}")
        self.log = SimLog(self.disk, has_snapshots=bool(self.files.names))
        store = SnapshotStore(
            SimPath(self.files),  # type: ignore[arg-type]
            cluster_id=CLUSTER_ID,
            genesis_digest=GENESIS_DIGEST,
        )
        machine = SimMachine(self, world.genesis, entries_kept=profile.entries_kept)
        links = WatchedLinks(self)
        replica = WatchedReplica.__new__(WatchedReplica)
        replica.host = self
        replica.__init__(  # type: ignore[misc]
            self.node_id,
            self._configuration,
            machine=machine,
            log=self.log,
            snapshots=store,
            maker=ChildMaker(self, machine, store),
            links=links,
            timings=profile.timings,
            bounds=profile.bounds,
            clock=loop.time,
            wall_ns=self.wall_ns,
            rng=rng,
        )
        self.replica = replica
        if self.is_marked and not replica.raft.membership.is_founded:
            replica.raft.founding.forbid("let the others catch it up")
        replica.on_members.append(self._mark_founded)
        self._mark_founded()
        driver = Driver(replica, step_interval_s=profile.step_s)
        links.target = self._make_links(driver, rng)
        follow_members(replica, links.target)
        administration = Administration(
            replica, driver.wake, commit_s=profile.bounds.request_deadline_s, hand_over_s=1.0
        )
        self.verbs = MemberVerbs(administration)
        server = self._make_server(driver, rng)
        loop.create_task(links.target.start(self.name, RAFT_PORT))
        loop.create_task(server.start(self.name, CLIENT_PORT))
        driver.start()

    def _mark_founded(self) -> None:
        if self.replica.raft.committed_membership.is_founded:
            self.is_marked = True

    def _make_links(self, driver: Driver, rng: random.Random) -> PeerLinks:
        replica, world = self.replica, self.world

        def on_message(peer_id: int, message: Message) -> None:
            replica.receive(peer_id, message)
            driver.wake()

        def on_connected(peer_id: int) -> None:
            card = links.card(peer_id)
            assert card is not None, f"connected to node {peer_id}, which has no card"
            replica.connected(peer_id, engine_version=card.engine_version)
            driver.wake()

        settings = LinkSettings(
            handshake_timeout_s=3.0,
            reconnect_min_s=0.05,
            reconnect_max_s=1.0,
            frame_bytes_max=4 << 20,
            buffer_bytes_max=world.profile.peer_buffer_bytes_max,
        )
        links = PeerLinks(
            PeerCard(
                CLUSTER_ID,
                GENESIS_DIGEST,
                self.node_id,
                self.log.incarnation,
                host=self.name,
                port=RAFT_PORT,
                engine_version=self.engine_version,
            ),
            SECRET,
            peer_addresses(replica),
            settings,
            nonce=lambda: rng.randbytes(32),
            on_message=on_message,
            on_connected=on_connected,
            on_disconnected=replica.disconnected,
            on_removed=replica.retire,
            on_join=lambda _: JoinAnswer("not here", ""),
        )
        return links

    def _make_server(self, driver: Driver, rng: random.Random) -> ClientServer:
        bounds, world = self.world.profile.bounds, self.world
        return ClientServer(
            self.replica,
            FeedHistory(1_000),
            Queries(self.replica, dict),
            ClientBounds(
                frame_bytes_max=4 << 20,
                request_bytes_max=bounds.entry_bytes_max,
                request_commands_max=64,
                buffer_bytes_max=16 << 20,
                connections_max=64,
                handshake_timeout_s=3.0,
                idle_timeout_s=60.0,
                deadline_s=bounds.request_deadline_s,
            ),
            cluster=("simulation", CLUSTER_ID),
            secrets=dict.fromkeys(name for name, _ in world.genesis.accounts),
            wake=driver.wake,
            admin={},
            nonce=lambda: rng.randbytes(32),
            unique=lambda: rng.getrandbits(61) + 1,
        )

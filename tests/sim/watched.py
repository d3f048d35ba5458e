"""The production classes of one node, watched: each turn, apply, vote and snapshot is seen.

Owns where the checks and the kill points are hung in. What a node does is production's; nothing
here decides anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from raftbook.errors import StorageError
from raftbook.replica.links import PeerLinks
from raftbook.replica.machine import Applied, Machine
from raftbook.replica.messages import Message
from raftbook.replica.replica import Replica
from raftbook.replica.routing import Router
from raftbook.storage.snapshots import SnapshotStore
from tests.sim.clockwork import Killed
from tests.sim.releases import OwnEngine

if TYPE_CHECKING:
    from tests.sim.node import Host

SNAPSHOT_CHILD_S = 0.4
"""A snapshot's child process works for up to this long."""


class SimMachine(Machine):
    """The production machine, with its applies noted for the checks of the turn."""

    def __init__(self, host: Host, genesis: Any, *, entries_kept: int) -> None:
        super().__init__(genesis, entries_kept=entries_kept)
        self._host = host

    def apply(self, index: int, term: int, payload: bytes) -> Applied | None:
        host = self._host
        host.point("apply")
        applied = super().apply(index, term, payload)
        # The digest that this node itself goes by, taken by the machine after this very entry.
        host.applied.append((index, term, payload, self.digest_at(index) or ""))
        host.world.checks.brought(host, self.exchange.engine_version)
        return applied

    def restore(self, payload: bytes, *, index: int, expected_state_digest: str) -> None:
        self._host.point("restore")
        super().restore(payload, index=index, expected_state_digest=expected_state_digest)
        host = self._host
        host.applied.append((index, -1, b"", self.exchange.digest.value()))
        host.world.checks.brought(host, self.exchange.engine_version)


class ChildMaker:
    """Snapshots as the production maker makes them: by a child that outlives a killed parent."""

    def __init__(self, host: Host, machine: Machine, store: SnapshotStore) -> None:
        self._host, self._machine, self._store = host, machine, store
        self._is_running = False
        self._result: bool | None = None

    def start(self, index: int, term: int) -> None:
        assert not self._is_running, "one snapshot at a time"
        host = self._host
        host.point("snapshot.fork")
        if host.disk_faults["fork"]:
            host.disk_faults["fork"] -= 1
            self._result = False
            return
        self._is_running = True
        members = self._machine.membership
        ids = () if members is None else members.ids
        digest, chunks = self._machine.state_digest(), list(self._machine.snapshot_chunks())
        delay = SNAPSHOT_CHILD_S * host.rng.random()
        host.world.clockwork.after(
            delay, self._work, host.power_cycles, index, term, ids, digest, chunks
        )

    def _work(
        self,
        cycle: int,
        index: int,
        term: int,
        members: tuple[int, ...],
        digest: str,
        chunks: list[bytes],
    ) -> None:
        host = self._host
        if host.power_cycles != cycle:
            return
        self._is_running = False
        before, host.files.point = host.files.point, host.child_point
        host.is_child_dying = False
        try:
            self._store.write(
                index=index,
                term=term,
                members=members,
                state_digest=digest,
                chunks=chunks,
            )
            self._result = True
        except StorageError:
            self._result = False
        except Killed:
            self._result = False
            host.world.note(host.name, f"the snapshot child of {index} was killed")
        finally:
            host.files.point = before

    def poll(self) -> bool | None:
        result, self._result = self._result, None
        return result


class WatchedLinks:
    """The replica's way to its peers: production links, with every message seen by the checks."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self.target: PeerLinks | None = None

    def send(self, peer_id: int, messages: list[Message]) -> None:
        host = self._host
        host.point("send.before")
        for message in messages:
            if message["type"] == "response_vote":
                host.world.checks.voted(host, message["term"], peer_id)
            elif message["type"] == "request_vote":
                host.world.checks.voted(host, message["term"], host.node_id)
            elif message["type"] == "append":
                host.world.checks.told(host, message["commit_index"])
        assert self.target is not None
        self.target.send(peer_id, messages)
        host.point("send.after")


class WatchedReplica(Replica):
    """The production replica; each turn that ended is checked."""

    host: Host

    def _make_router(self) -> Router:
        self._engines = OwnEngine(self.host.engine_version)
        return super()._make_router()

    def turn(self) -> None:
        host = self.host
        host.point("turn")
        host.applied.clear()
        host.knew_retired = self.raft.committed_membership.retired
        super().turn()
        host.world.checks.turn_ended(host)

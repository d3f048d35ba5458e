"""Going over to newer rules: never before every member has them, and never past a node without."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest

from raftbook.core import snapshot, versions
from raftbook.core.commands import set_engine_version
from raftbook.core.events import ENGINE_VERSION_SET
from raftbook.core.exchange import Exchange
from raftbook.core.form import form_error
from raftbook.core.snapshot import export_state, restore_state, state_digest
from raftbook.core.versions import EngineTooOld, newest_format
from raftbook.errors import StorageError
from raftbook.replica import replica as replica_module
from raftbook.replica import upgrade
from raftbook.replica.fences import FenceKind
from raftbook.replica.machine import Machine
from raftbook.replica.upgrade import UNKNOWN, EngineVersions
from raftbook.storage import snapshot_header
from raftbook.storage.snapshot_header import decode_header, encode_header
from raftbook.wire import entry as entry_module
from raftbook.wire.entry import (
    REGULAR,
    UnsupportedVersion,
    pack_engine_switch,
    pack_entry,
    pack_request,
    unpack_entry,
)
from tests.replica.harness import GENESIS, Cluster

TOO_OLD = "needs engine version 2, this build has 1: upgrade this node to raftbook 9.9.9 or newer"
SWITCH = pack_engine_switch(7, 2, "9.9.9", in_force=1)


@contextlib.contextmanager
def builds(engine_version: int) -> Iterator[None]:
    """This process runs builds with this engine version."""
    with (
        mock.patch.object(versions, "ENGINE_VERSION", engine_version),
        mock.patch.object(snapshot, "ENGINE_VERSION", engine_version),
        mock.patch.object(upgrade, "ENGINE_VERSION", engine_version),
    ):
        yield


@pytest.fixture(autouse=True)
def old_build() -> Iterator[None]:
    with builds(1):
        yield


@pytest.fixture
def new_build(old_build: None) -> Iterator[None]:
    with builds(2):
        yield


def tell(cluster: Cluster, node_id: int, **told: int) -> None:
    """What each peer says of itself in its handshake with a node, such as n2=2."""
    for name, engine_version in told.items():
        cluster[node_id].connected(int(name[1:]), engine_version=engine_version)
    cluster.run(0.2)


def in_force(cluster: Cluster) -> dict[int, int]:
    return {
        node_id: replica.machine.exchange.engine_version
        for node_id, replica in cluster.replicas.items()
    }


def proposed(engines: EngineVersions, peers: list[int], *, in_force: int, term: int) -> int | None:
    """The version in the entry that a leader should propose."""
    switch = engines.next_switch(peers, in_force=in_force, term=term, wall_ns=lambda: 7)
    return None if switch is None else unpack_entry(9, switch).requests[0][2][0][1]


def switches(cluster: Cluster, node_id: int) -> int:
    """How many entries of a node's log say that an engine version is in force."""
    return sum(b"9.9.9" in each[0] or b"0.1.0" in each[0] for each in cluster[node_id]._log.entries)


# -- when it is proposed --------------------------------------------------------------------------


@pytest.mark.usefixtures("new_build")
def test_the_rules_change_when_the_last_member_is_new(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    cluster.elect(1)
    session = cluster.open_session(1)
    tell(cluster, 1, n2=2)
    assert in_force(cluster) == {1: 1, 2: 1, 3: 1}
    tell(cluster, 1, n3=2)
    assert in_force(cluster) == {1: 2, 2: 2, 3: 2}
    events = [reply[4] for applied in cluster[3].machine.recent for reply in applied.replies]
    assert [(ENGINE_VERSION_SET, 0, 2)] in events
    waiter = cluster.order(1, session, 1)
    cluster.run_until(lambda: waiter.answers)
    assert waiter.acknowledged
    cluster.check_agreement()


@pytest.mark.usefixtures("new_build")
@pytest.mark.parametrize(
    "told",
    [{}, {"n2": 2}, {"n2": 2, "n3": 1}, {"n2": 2, "n3": UNKNOWN}, {"n2": 1, "n3": 3}],
    ids=str,
)
def test_a_leader_never_proposes_while_a_member_is_unknown_or_old(
    tmp_path: Path, told: dict[str, int]
) -> None:
    cluster = Cluster(tmp_path)
    cluster.elect(1)
    tell(cluster, 1, **told)
    cluster.run(2.0)
    assert switches(cluster, 1) == 0
    assert in_force(cluster) == {1: 1, 2: 1, 3: 1}


@pytest.mark.usefixtures("new_build")
def test_a_member_that_went_away_is_unknown_again(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    cluster.elect(1)
    cluster[1].connected(2, engine_version=2)
    cluster[1].disconnected(2)  # it may come back as an older build
    tell(cluster, 1, n3=2)
    assert switches(cluster, 1) == 0


@pytest.mark.usefixtures("new_build")
def test_a_follower_that_knows_of_all_proposes_nothing(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    cluster.elect(1)
    tell(cluster, 2, n1=2, n3=2)
    assert switches(cluster, 2) == 0
    cluster.elect(2)  # until it leads
    cluster.run(0.2)
    assert in_force(cluster) == {1: 2, 2: 2, 3: 2}


@pytest.mark.usefixtures("new_build")
def test_it_is_proposed_once_and_said_again_only_by_a_new_leader(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    cluster.elect(1)
    for peer_id in (2, 3):
        cluster[1].connected(peer_id, engine_version=2)
    for way in ((1, 2), (1, 3), (2, 1), (3, 1)):
        cluster.network.hold(*way)
    cluster.run(0.1)
    assert switches(cluster, 1) == 1
    cluster.run(0.3)  # not committed, and not said again
    assert switches(cluster, 1) == 1
    assert in_force(cluster)[1] == 1


def test_members_of_this_build_have_nothing_to_propose(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    cluster.elect(1)
    tell(cluster, 1, n2=1, n3=7)
    assert switches(cluster, 1) == 0


@pytest.mark.usefixtures("new_build")
def test_what_is_known_of_whom() -> None:
    engines = EngineVersions()
    assert engines.common([]) == 2  # a cluster of one
    assert engines.common([2]) == UNKNOWN
    engines.learn(2, 5)
    engines.learn(3, 2)
    assert engines.common([2, 3]) == 2
    assert engines.common([2]) == 5
    assert proposed(engines, [2], in_force=1, term=4) == 2  # never more than this build has
    assert proposed(engines, [2], in_force=1, term=4) is None
    assert proposed(engines, [2], in_force=1, term=5) == 2
    assert proposed(engines, [2], in_force=2, term=6) is None
    engines.forget(3)
    assert proposed(engines, [2, 3], in_force=1, term=7) is None


# -- where a node that is too old stops -----------------------------------------------------------


def test_a_node_without_the_rules_stops_before_them(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    cluster.elect(1)
    cluster.open_session(1)
    before = {node_id: export_state(cluster[node_id].machine.exchange) for node_id in (1, 2, 3)}
    cluster[1].raft.propose([SWITCH])
    cluster.run(0.3)
    for node_id in (1, 2, 3):
        fenced = cluster[node_id].fenced
        assert fenced is None or fenced == f"entry {cluster[1].last_index} {TOO_OLD}"
        assert export_state(cluster[node_id].machine.exchange) == before[node_id]
    assert cluster[1].fenced is not None


def test_an_old_build_refuses_the_entry_when_it_reads_it() -> None:
    machine = Machine(GENESIS, entries_kept=10)
    machine.apply(2, 1, REGULAR + pack_entry(5, []))
    before = export_state(machine.exchange)
    with pytest.raises(UnsupportedVersion, match=f"entry 3 {TOO_OLD}"):
        machine.apply(3, 1, REGULAR + SWITCH)
    assert export_state(machine.exchange) == before


def test_the_exchange_itself_refuses_what_slipped_through() -> None:
    """Two requests in one entry: no leader does that."""
    request = pack_request(0, 0, (set_engine_version(2, "9.9.9"),))
    entry = unpack_entry(3, pack_entry(7, [request, request]))
    with pytest.raises(EngineTooOld, match=f"entry 3 {TOO_OLD}"):
        Exchange(GENESIS).apply(entry)


def test_no_client_may_say_it() -> None:
    assert form_error(set_engine_version(1, "0.1.0")) is not None


@pytest.mark.usefixtures("new_build")
def test_the_version_in_force_never_sinks() -> None:
    exchange = Exchange(GENESIS)
    for index, version in ((2, 2), (3, 2), (4, 1)):
        payload = pack_engine_switch(7, version, "9.9.9", in_force=1)
        replies = exchange.apply(unpack_entry(index, payload))
        assert replies[0][4] == ([(ENGINE_VERSION_SET, 0, 2)] if index == 2 else [])
        assert exchange.engine_version == 2


# -- snapshots ------------------------------------------------------------------------------------


def upgraded(cluster: Cluster) -> None:
    """Let a cluster of new builds go over."""
    tell(cluster, 1, n2=2, n3=2)
    assert in_force(cluster) == {1: 2, 2: 2, 3: 2}


def test_the_state_remembers_the_version_and_its_digest_tells_it() -> None:
    old = Exchange(GENESIS)
    with mock.patch.object(snapshot, "ENGINE_VERSION", 2):
        new = restore_state(GENESIS, (1, 2, *export_state(old)[2:]))
        assert new.engine_version == 2
        assert export_state(new)[:2] == (2, 2)
        assert state_digest(new) != state_digest(old)
        again = restore_state(GENESIS, export_state(new))
        assert again.engine_version == 2
    for value in ((1, 2, *export_state(old)[2:]), (9, 1, "of any shape")):
        with pytest.raises(EngineTooOld, match="upgrade this node"):
            restore_state(GENESIS, value)


def test_a_node_too_old_does_not_start_on_a_newer_snapshot(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    with builds(2):
        cluster.elect(1)
        upgraded(cluster)
        cluster.compact(2)
        newest = cluster.snapshots(2).newest()
        assert newest is not None and newest.engine_version == 2
        cluster.crash(2)
    with pytest.raises(StorageError, match="needs engine version 2, this build has 1") as refused:
        cluster.start(2)
    assert "nothing is damaged: start the newer build" in refused.value.remedy
    with builds(2):
        assert cluster.start(2).machine.exchange.engine_version == 2


def test_a_node_too_old_takes_nothing_of_a_newer_snapshot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replica_module, "LOG_KEPT_ENTRIES", 0)
    cluster = Cluster(tmp_path)
    cluster.elect(1)
    cluster.crash(3)
    cluster.open_session(1)
    cluster.compact(1)
    store = cluster.snapshots(1)
    header = store.newest()
    assert header is not None
    newer = encode_header(replace(header, engine_version=2, created_by="9.9.9"))
    assert decode_header(newer).engine_version == 2
    for path in cluster.snapshot_directory(1).glob("snapshot-*"):
        path.write_bytes(newer + path.read_bytes()[len(newer) :])
    old = cluster.start(3)
    cluster.run_until(lambda: old.fenced is not None)
    assert old.fenced == f"snapshot {header.index} {TOO_OLD}"
    assert list(cluster.snapshot_directory(3).iterdir()) == []


def test_a_node_too_old_stops_at_a_header_it_cannot_read(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    cluster.elect(1)
    cluster.open_session(1)
    cluster.compact(1)
    header = cluster.snapshots(1).newest()
    assert header is not None
    with mock.patch.object(snapshot_header, "FORMAT_VERSION", 2):
        block = encode_header(replace(header, index=header.index + 100))
    piece = {"type": "install", "term": cluster[1].raft.term, "header": block}
    piece |= {"offset": 0, "chunk": b"", "last": False}
    cluster[2].receive(1, cluster.said_by(1, piece))
    cluster.turn(2)
    assert cluster[2].fence is not None and cluster[2].fence.kind is FenceKind.TOO_OLD
    assert "it has format 2, this build reads 1: upgrade this node" in cluster[2].fence.reason


# -- formats --------------------------------------------------------------------------------------


def test_a_new_format_is_written_only_when_its_engine_version_is_in_force() -> None:
    assert newest_format({1: 1}, 9) == 1
    assert newest_format({1: 1, 2: 3, 3: 4}, 2) == 1
    assert newest_format({1: 1, 2: 3, 3: 4}, 3) == 2
    request = pack_request(1, 1, ())
    with mock.patch.object(entry_module, "FORMATS", {1: 1, 2: 2}):
        old, new = (pack_entry(7, [request], engine_version=version) for version in (1, 2))
        assert (old[1], new[1]) == (1, 2)
        assert unpack_entry(4, old) == unpack_entry(4, new)
    assert unpack_entry(4, old).time_ns == 7
    with pytest.raises(UnsupportedVersion, match="entry 4 has format 2, this build reads 1: up"):
        unpack_entry(4, new)


def test_snapshots_are_written_in_the_format_in_force() -> None:
    exchange = Exchange(GENESIS)
    with mock.patch.object(snapshot, "FORMATS", {1: 1, 2: 2}):
        assert export_state(exchange)[0] == 1
        exchange.engine_version = 2
        assert export_state(exchange)[0] == 2

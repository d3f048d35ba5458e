"""No more files can be opened: what has to do with snapshots waits, and nobody is fenced."""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from raftbook.errors import OutOfDescriptors
from raftbook.replica import shipping
from raftbook.replica.compaction import TIDY_AGAIN_S
from raftbook.wire.packing import unpack
from tests.replica.harness import Cluster


@contextlib.contextmanager
def no_descriptors() -> Iterator[None]:
    """Let this process open nothing more."""
    lowest = os.dup(0)
    os.close(lowest)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """Node 1 leads, with a log that is short; node 3 is cut off and needs a snapshot."""
    monkeypatch.setattr("raftbook.replica.replica.LOG_KEPT_ENTRIES", 1)
    monkeypatch.setattr(shipping, "PIECE_BYTES", 300)
    cluster = Cluster(tmp_path)
    cluster.elect(1)
    session = cluster.open_session(1)
    cluster.run(0.2)
    cluster.network.cut([3], [1, 2])
    for seq in range(1, 21):
        cluster.order(1, session, seq)
        cluster.settle()
    cluster.compact(1)
    return cluster


def nobody_is_fenced(cluster: Cluster) -> bool:
    return all(cluster[node_id].fence is None for node_id in cluster.node_ids)


def test_old_snapshots_are_removed_later(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    index = cluster[1].start_snapshot()
    with no_descriptors():
        cluster.run(0.1)
        assert nobody_is_fenced(cluster)
        assert cluster[1].snapshot_index == index
        assert cluster[1]._log.base_index > 1
    assert len(cluster.snapshots(1).candidates()) == 3
    assert caplog.text.count("old snapshots are not removed yet") == 1
    cluster.run(TIDY_AGAIN_S + 0.1)
    assert len(cluster.snapshots(1).candidates()) == 2


def test_a_snapshot_is_sent_later_and_the_peer_hears_its_leader_meanwhile(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    cluster.crash(2)
    term = cluster[1].raft.term
    with no_descriptors():
        cluster.network.heal()
        cluster.run(3)
        assert (cluster[1].raft.is_leader, cluster[1].raft.term) == (True, term)
        assert cluster[1].fence is None
    assert caplog.text.count("a snapshot is not sent yet") == 1
    cluster.run(2)
    assert cluster.book(3) == cluster.book(1)
    assert cluster[1].raft.term == term


@pytest.mark.parametrize("is_last", [False, True])
def test_a_snapshot_is_taken_later(
    cluster: Cluster, caplog: pytest.LogCaptureFixture, is_last: bool
) -> None:
    """The receiver opens files when a transfer begins, and when it ends."""
    cluster.network.heal()
    queue = cluster.network.ways[1, 3].queue
    for _ in range(100):
        cluster.turn(1)
        pieces = [one for one in map(unpack, queue) if one["type"] == "install"]
        if any(one["last"] for one in pieces) if is_last else pieces:
            break
        cluster.network.deliver(1, 3)
        cluster.turn(3)
        cluster.network.deliver(3, 1)
    with no_descriptors():
        cluster.network.deliver(1, 3)
        cluster.turn(3)
        assert cluster[3].fence is None
    assert "a snapshot is not taken yet" in caplog.text
    cluster.run(4)
    assert nobody_is_fenced(cluster)
    assert cluster.book(3) == cluster.book(1)
    assert not list(cluster.snapshot_directory(3).glob("*.incoming"))


def test_a_node_that_cannot_open_its_snapshot_does_not_call_it_damaged(cluster: Cluster) -> None:
    cluster.crash(1)
    store = cluster.snapshots(1)
    with no_descriptors(), pytest.raises(OutOfDescriptors, match="too many files") as caught:
        store.candidates()
    assert "LimitNOFILE" in str(caught.value)
    header = store.newest()
    assert header is not None
    with no_descriptors(), pytest.raises(OutOfDescriptors):
        store.load(header)
    with no_descriptors(), pytest.raises(OutOfDescriptors):
        store.set_aside(header)
    assert store.newest() == header


@pytest.mark.parametrize("call", ["_examine", "load"])
def test_a_start_without_descriptors_is_refused_and_says_so(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """It must not say that the directory should be moved away, nor take an older snapshot."""
    cluster.crash(1)
    store_class = type(cluster.snapshots(1))
    original = getattr(store_class, call)

    def starved(*arguments: object, **options: object) -> object:
        with no_descriptors():
            return original(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(store_class, call, starved)
        with pytest.raises(OutOfDescriptors, match="LimitNOFILE"):
            cluster.start(1)
    cluster.start(1)

"""Digests compared through the log: who is wrong fences itself, and nobody else does."""

from __future__ import annotations

from pathlib import Path

import pytest

from raftbook.core.commands import new_order
from raftbook.core.types import Side
from raftbook.replica.fences import Diverged, FenceKind
from raftbook.wire.entry import CHECK, pack_check, unpack_check
from tests.replica.harness import Cluster


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(tmp_path)


def spoil(cluster: Cluster, node_id: int) -> None:
    """Flip a bit in one replica's book: its eldest buy order has another quantity."""
    level = next(iter(cluster[node_id].machine.exchange.books["OIL"].bids))
    order = next(iter(level))
    order.leaves_qty ^= 1 << 4
    level.qty ^= 1 << 4


def trade(cluster: Cluster, via: int, session: int, seq: int) -> None:
    """A sell that meets the eldest buy: now the books say different things."""
    cluster.submit(via, session, seq, new_order("OIL", Side.SELL, 1, 10))
    cluster.run(0.2)


def resting(cluster: Cluster) -> int:
    """A cluster led by node 1, some orders in its book and one check behind it; the session."""
    cluster.elect(1)
    session = cluster.open_session(1)
    for seq in range(1, 6):
        cluster.order(1, session, seq)
    cluster.run(3)
    return session


def checks(cluster: Cluster, node_id: int) -> list[tuple[int, dict[int, str]]]:
    entries = cluster[node_id]._log.entries
    return [unpack_check(payload[1:]) for payload, _, _ in entries if payload[:1] == CHECK]


def fences(cluster: Cluster) -> dict[int, FenceKind]:
    return {
        node_id: replica.fence.kind
        for node_id, replica in cluster.replicas.items()
        if replica.fence is not None
    }


@pytest.mark.parametrize("wrong", [1, 2, 3])
def test_the_replica_whose_book_is_wrong_fences_itself_and_only_that(
    cluster: Cluster, wrong: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Node 1 leads: it is the wrong one once, and a follower twice."""
    session = resting(cluster)
    equal_index = cluster[wrong].agreement.agreed_index
    assert equal_index > 2
    spoil(cluster, wrong)
    trade(cluster, 3, session, 6)
    cluster.run(4)
    assert fences(cluster) == {wrong: FenceKind.DIVERGED}
    fence = cluster[wrong].fence
    assert fence is not None
    assert f"it came to differ after entry {equal_index};" in fence.reason
    assert "2 of 3 members" in fence.reason
    assert "is fenced (diverged) at entry" in caplog.text
    # The others go on, with another leader if it was the leader.
    right = [node_id for node_id in cluster.node_ids if node_id != wrong]
    leader = cluster.await_leader()
    assert leader in right
    assert cluster.order(right[0], session, 7).answers == 0
    cluster.run(1)
    assert cluster.book(right[0]) == cluster.book(right[1])
    assert f"{session}-7" in cluster.book(right[1])


def test_a_fenced_replica_stops_applying_and_stays_readable(cluster: Cluster) -> None:
    session = resting(cluster)
    spoil(cluster, 3)
    trade(cluster, 1, session, 6)
    cluster.run(4)
    index = cluster[3].raft.applied_index
    book = cluster.book(3)
    cluster.order(1, session, 7)
    cluster.run(1)
    assert cluster[3].raft.applied_index == index
    assert cluster.book(3) == book
    assert cluster.order(3, session, 8).answers == 0
    cluster.settle()
    assert cluster[3].pending_count == 0


def test_a_restarted_replica_whose_state_is_right_again_takes_part(cluster: Cluster) -> None:
    session = resting(cluster)
    spoil(cluster, 1)
    trade(cluster, 1, session, 6)
    cluster.run(4)
    assert set(fences(cluster)) == {1}
    cluster.restart(1)
    cluster.run(2)
    trade(cluster, cluster.leader, session, 7)
    cluster.run(4)
    assert fences(cluster) == {}
    cluster.check_agreement()
    assert cluster[1].agreement.agreed_index > 6


def test_a_wrong_snapshot_fences_its_node_again_after_a_restart(cluster: Cluster) -> None:
    session = resting(cluster)
    spoil(cluster, 2)
    trade(cluster, 1, session, 6)
    cluster[2].start_snapshot()
    cluster.run(4)
    assert set(fences(cluster)) == {2}
    cluster.restart(2)
    trade(cluster, cluster.leader, session, 7)
    cluster.run(4)
    assert fences(cluster) == {2: FenceKind.DIVERGED}


def test_without_a_majority_nobody_is_fenced_and_everybody_says_so(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    """One of three is away and the two others differ: nobody can know which of them is wrong. The
    third decides as soon as it is back."""
    session = resting(cluster)
    cluster.crash(3)
    spoil(cluster, 1)
    trade(cluster, 1, session, 6)
    trade(cluster, 1, session, 7)
    cluster.run(4)
    assert fences(cluster) == {}
    said = [line for line in caplog.messages if "none has a majority" in line]
    assert len(said) == 2  # each node once
    cluster.start(3)
    cluster.run(1)
    trade(cluster, 2, session, 8)
    cluster.run(4)
    assert fences(cluster) == {1: FenceKind.DIVERGED}


def test_a_check_survives_a_change_of_leader(cluster: Cluster) -> None:
    session = resting(cluster)
    spoil(cluster, 2)
    trade(cluster, 1, session, 6)
    cluster.elect(3)
    cluster.run(4)
    assert fences(cluster) == {2: FenceKind.DIVERGED}


def test_two_wrong_of_five_fence_themselves(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, size=5)
    session = resting(cluster)
    spoil(cluster, 1)
    spoil(cluster, 4)
    trade(cluster, 2, session, 6)
    cluster.run(5)
    assert set(fences(cluster)) == {1, 4}
    assert cluster.await_leader() in (2, 3, 5)


def test_a_quiet_cluster_checks_nothing(cluster: Cluster) -> None:
    resting(cluster)
    cluster.run(3)
    before = len(checks(cluster, 1))
    cluster.run(10)
    assert len(checks(cluster, 1)) == before
    told = [digests for _, digests in checks(cluster, 1) if digests]
    assert set(told[-1]) == {1, 2, 3}
    assert len(set(told[-1].values())) == 1


def test_traffic_is_checked_about_once_a_second(cluster: Cluster) -> None:
    session = resting(cluster)
    before = len(checks(cluster, 2))
    for seq in range(6, 106):
        cluster.order(2, session, seq)
        cluster.run(0.1)
    assert 8 <= len(checks(cluster, 2)) - before <= 11


def test_a_node_alone_checks_nothing(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, size=1)
    resting(cluster)
    assert checks(cluster, 1) == []


@pytest.mark.parametrize(
    "payload",
    [b"", b"\xc1", pack_check(1 << 40, {9: "x"}), b"\x93\x02\x01\x80", b"\x93\x01\x01\x05"],
)
def test_a_check_that_says_nothing_sensible_is_passed_over(
    cluster: Cluster, payload: bytes
) -> None:
    resting(cluster)
    cluster[1].raft.propose([payload], kind=CHECK)
    cluster.run(1)
    assert fences(cluster) == {}
    cluster.check_agreement()


def test_what_others_say_counts_once_and_strangers_do_not(cluster: Cluster) -> None:
    resting(cluster)
    index = max(index for index, _ in checks(cluster, 1))
    cluster[1].raft.propose([pack_check(index, {2: "x", 8: "x", 9: "x"})], kind=CHECK)
    cluster.run(1)
    assert fences(cluster) == {}


def test_what_a_node_was_before_an_installed_snapshot_is_not_held_against_it(
    cluster: Cluster,
) -> None:
    resting(cluster)
    agreement = cluster[2].agreement
    index = max(agreement._own)
    others = {1: "another", 3: "another"}
    with pytest.raises(Diverged):
        agreement._judge(index, others)
    agreement.installed()
    agreement._judge(index, others)  # its state is the leader's now

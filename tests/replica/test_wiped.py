"""A node whose disk was lost: it must not take back what it promised before (P1).

It acknowledged entries and gave votes that it no longer knows of. Until a leader has given it
back everything it may have acknowledged, it gives no vote, and it acknowledges nothing to a
leader that others may have deposed with its help.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.replica.harness import Cluster, Waiter


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(tmp_path)


def orders(cluster: Cluster, node_id: int, session: int, seqs: range) -> list[Waiter]:
    """Acknowledged orders of these request_seqs."""
    waiters = []
    for seq in seqs:
        waiters.append(cluster.order(node_id, session, seq))
        cluster.settle()
    assert all(waiter.acknowledged for waiter in waiters)
    return waiters


def known_to_1_and_2_only(cluster: Cluster) -> int:
    """Node 1 leads; all nodes know orders 1 to 3, only 1 and 2 know the acknowledged 4 to 9."""
    cluster.elect(1)
    session = cluster.open_session(1)
    orders(cluster, 1, session, range(1, 4))
    cluster.network.cut([3], [1, 2])
    orders(cluster, 1, session, range(4, 10))
    return session


def all_orders(cluster: Cluster, session: int, last: int) -> dict[str, int]:
    return {f"{session}-{seq}": 1 for seq in range(1, last + 1)}


def lose_disk(cluster: Cluster, node_id: int) -> None:
    cluster.crash(node_id)
    cluster.wipe(node_id)


def test_a_wiped_node_elects_nobody_who_knows_less(cluster: Cluster) -> None:
    session = known_to_1_and_2_only(cluster)
    lose_disk(cluster, 2)
    cluster.network.cut([1], [2, 3])
    cluster.start(2)
    for way in ((2, 3), (3, 2)):
        cluster.network.ways[way].allowed = True
    cluster.run(5)
    assert cluster.leaders() == []
    cluster.network.heal()
    cluster.run(3)
    assert cluster.book(cluster.leader) == all_orders(cluster, session, 9)


def test_a_wiped_node_that_is_started_twice_is_still_a_wiped_node(cluster: Cluster) -> None:
    """1. node 2 loses its disk; 2. starts; 3. is killed before it heard anything; 4. starts."""
    session = known_to_1_and_2_only(cluster)
    lose_disk(cluster, 2)
    cluster.network.cut([1], [2, 3])
    cluster.start(2)
    cluster.restart(2)
    for way in ((2, 3), (3, 2)):
        cluster.network.ways[way].allowed = True
    cluster.run(5)
    assert cluster.leaders() == []
    cluster.network.heal()
    cluster.run(3)
    assert cluster.book(cluster.leader) == all_orders(cluster, session, 9)


@pytest.mark.parametrize("is_restarted", [False, True])
def test_a_node_in_the_middle_of_catching_up_elects_nobody(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, is_restarted: bool
) -> None:
    """1. node 2 loses its disk; 2. node 1 has given it a part of the log back; 3. only 2 and 3
    reach each other, and 3 knows more than that part, but less than was acknowledged."""
    session = known_to_1_and_2_only(cluster)
    monkeypatch.setattr("raftbook.replica.appends.APPEND_ENTRIES_MAX", 1)
    lose_disk(cluster, 2)
    cluster.start(2)
    cluster.network.ways[2, 3].allowed = cluster.network.ways[3, 2].allowed = True
    cluster.network.ways[1, 3].allowed = cluster.network.ways[3, 1].allowed = True
    cluster.network.open_allowed()
    cluster.network.hold(1, 3)
    for _ in range(2_000):
        cluster.clock.now += 0.001
        for way in cluster.network.ways:
            if way != (1, 3):
                cluster.network.deliver(*way, count=1)
        for node_id in cluster.node_ids:
            cluster.turn(node_id)
        if cluster[2].last_index >= 4:
            break
    assert 4 <= cluster[2].last_index < 9
    cluster.network.cut([1], [2, 3])
    if is_restarted:
        cluster.restart(2)
    cluster.run(5)
    assert not {2, 3} & set(cluster.leaders())
    cluster.network.heal()
    cluster.run(4)
    assert cluster.book(cluster.leader) == all_orders(cluster, session, 9)


def test_a_deposed_leader_gets_no_acknowledgement_from_a_wiped_node(cluster: Cluster) -> None:
    """1. node 1 leads and is cut off; 2. node 3 leads with node 2's vote and acknowledges an
    order with it; 3. node 2 loses its disk; 4. it hears only node 1, which does not know yet."""
    cluster.elect(1)
    session = cluster.open_session(1)
    orders(cluster, 1, session, range(1, 3))
    cluster.network.cut([1], [2, 3])
    cluster.elect(3)
    (kept,) = orders(cluster, 3, session, range(3, 4))
    assert cluster[1].raft.is_leader
    lose_disk(cluster, 2)
    cluster.network.cut([3], [1, 2])
    cluster.network.ways[1, 2].allowed = cluster.network.ways[2, 1].allowed = True
    cluster.start(2)
    doubted = cluster.order(1, session, 4)
    cluster.run(5)
    assert doubted.answers == 1 and not doubted.acknowledged
    cluster.network.heal()
    cluster.run(4)
    assert kept.acknowledged
    assert cluster.book(cluster.leader)[f"{session}-3"] == 1


def test_a_wiped_node_becomes_a_member_again(cluster: Cluster) -> None:
    session = known_to_1_and_2_only(cluster)
    cluster.network.heal()
    lose_disk(cluster, 2)
    cluster.start(2)
    cluster.run(2)
    assert cluster.book(2) == all_orders(cluster, session, 9)
    # It counts: with it alone the leader commits, and it votes.
    cluster.network.cut([3], [1, 2])
    orders(cluster, 1, session, range(10, 11))
    cluster.crash(1)
    cluster.network.heal()
    cluster.run(3)
    assert cluster.leader == 2
    assert cluster.book(2) == all_orders(cluster, session, 10)


def test_a_wiped_node_may_vote_after_a_later_restart(cluster: Cluster) -> None:
    session = known_to_1_and_2_only(cluster)
    cluster.network.heal()
    lose_disk(cluster, 2)
    cluster.start(2)
    cluster.run(2)
    cluster.restart(2)
    cluster.crash(1)
    cluster.run(3)
    assert cluster.book(cluster.leader) == all_orders(cluster, session, 9)


def test_a_new_cluster_is_founded_by_all_its_nodes(tmp_path: Path) -> None:
    """Two of three may be those whose disks were lost, while the third holds the orders."""
    cluster = Cluster(tmp_path, start=False)
    for node_id in (1, 2):
        cluster.start(node_id)
    cluster.run(5)
    assert cluster.leaders() == []
    assert cluster[1].raft.founding.absent_ids() == (3,)
    cluster.start(3)
    leader = cluster.await_leader()
    session = cluster.open_session(leader)
    orders(cluster, leader, session, range(1, 3))
    cluster.crash(leader)
    cluster.run(3)
    assert cluster.book(cluster.leader) == all_orders(cluster, session, 2)


def grown(directory: Path, founders: int, size: int) -> tuple[Cluster, int]:
    """A cluster whose founders are a minority of those who vote, and a session with five orders."""
    cluster = Cluster(directory, founders)
    cluster.await_leader()
    for node_id in range(founders + 1, size + 1):
        cluster.new_machine(node_id)
        cluster.add(node_id)
        cluster.run_until_voters(*range(1, node_id + 1))
    session = cluster.open_session(cluster.leader)
    orders(cluster, cluster.leader, session, range(1, 6))
    for node_id in range(1, founders + 1):
        lose_disk(cluster, node_id)
    cluster.run(2)
    return cluster, session


FOUNDERS = pytest.mark.parametrize(("founders", "size"), [(1, 3), (2, 5)])


@pytest.mark.parametrize("late_s", [0.0, 0.2])
@FOUNDERS
def test_the_founders_of_a_grown_cluster_found_no_other_one(
    tmp_path: Path, founders: int, size: int, late_s: float
) -> None:
    """Their cluster.toml names themselves. The others dial them within a second."""
    cluster, session = grown(tmp_path, founders, size)
    old, new = list(range(1, founders + 1)), list(range(founders + 1, size + 1))
    cluster.network.cut(old, new)
    for node_id in old:
        cluster.start(node_id)
    cluster.clock.now += late_s  # to begin takes a process a while
    cluster.run(1)
    assert set(cluster.leaders()) <= set(new)
    cluster.network.heal()
    cluster.run(4)
    assert cluster.voters() == (*old, *new)
    assert all(cluster[each].fenced is None for each in (*old, *new))
    assert cluster.book(1) == all_orders(cluster, session, 5)


def test_nor_does_one_that_its_leader_had_begun_to_catch_up(tmp_path: Path) -> None:
    """1. Node 1 lost its directory; 2. it refuses an append, as it lacks what is before it; 3. that
    leader is killed, and nobody else reaches node 1. What it heard shows that there is a past."""
    cluster, session = grown(tmp_path, 1, 3)
    leader = cluster.leader
    cluster.network.cut([5 - leader], [1])
    cluster.start(1)
    while cluster[1].raft.leader_id is None:
        cluster.clock.now += 0.005
        for node_id in (1, 2, 3):
            cluster.turn(node_id)
        for way in ((leader, 1), (leader, 5 - leader), (5 - leader, leader)):
            cluster.network.deliver(*way, count=1)
    assert not cluster[1].raft.membership.is_founded
    cluster.crash(leader)
    cluster.run(10)
    assert cluster.leaders() == []
    cluster.network.heal()
    cluster.start(leader)
    cluster.run(4)
    assert cluster.voters() == (1, 2, 3)
    assert cluster.book(1) == all_orders(cluster, session, 5)


def test_nor_does_one_that_reaches_a_follower_only(tmp_path: Path) -> None:
    """Whoever has a past says so at once to whom it is connected."""
    cluster, session = grown(tmp_path, 1, 3)
    cluster.network.cut([cluster.leader], [1])
    cluster.start(1)
    cluster.run(10)
    assert 1 not in cluster.leaders()
    cluster.network.heal()
    cluster.run(4)
    assert cluster.voters() == (1, 2, 3)
    assert cluster.book(1) == all_orders(cluster, session, 5)


def test_nor_does_one_that_reaches_a_learner_only(tmp_path: Path) -> None:
    """The only voter is lost, and with it the cluster; what the learner has must not be hidden
    behind an empty book."""
    cluster = Cluster(tmp_path, 1)
    cluster.await_leader()
    session = cluster.open_session(1)
    orders(cluster, 1, session, range(1, 6))
    cluster.new_machine(2)
    cluster.add(2)
    while not cluster[2].raft.membership.is_founded:
        for way in ((1, 2), (2, 1)):
            cluster.turn(way[0])
            cluster.network.deliver(*way, count=1)
    assert cluster.voters(2) == (1,)
    lose_disk(cluster, 1)
    cluster.start(1)
    cluster.run(10)
    assert cluster.leaders() == []
    assert "waits for node 2" in cluster[1].last_word()


@FOUNDERS
def test_nor_do_they_while_the_others_are_away_if_a_mark_was_left(
    tmp_path: Path, founders: int, size: int, caplog: pytest.LogCaptureFixture
) -> None:
    cluster, session = grown(tmp_path, founders, size)
    old, new = list(range(1, founders + 1)), list(range(founders + 1, size + 1))
    for node_id in new:
        cluster.crash(node_id)
    for node_id in old:
        cluster.start(node_id).raft.founding.forbid("only to begin anew, remove the mark")
    cluster.run(30)
    assert cluster.leaders() == []
    said = cluster[1].last_word()
    assert "directory was lost" in said and "remove the mark" in said
    assert caplog.text.count("node 1: its directory was lost") == 1
    for node_id in new:
        cluster.start(node_id)
    cluster.run(6)
    assert cluster.voters() == (*old, *new)
    assert cluster.book(1) == all_orders(cluster, session, 5)


def test_a_new_node_founds_nothing_with_one_that_has_lost_its_past(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    cluster[2].raft.founding.forbid("only to begin anew, remove the mark")
    cluster.run(10)
    assert cluster.leaders() == []
    assert "node 1 waits for node 2, which knows that a cluster was founded" in caplog.text


def test_two_nodes_found_a_cluster_although_the_first_leader_dies_at_once(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, size=2)
    cluster.stand(1)
    cluster.turn(1)
    cluster.network.deliver(1, 2)
    cluster.turn(2)
    cluster.network.deliver(2, 1)
    cluster.turn(1)
    assert (cluster[1].last_index, cluster[2].last_index) == (3, 1)
    for node_id in (1, 2):
        cluster.restart(node_id)
    cluster.network.heal()
    assert cluster.await_leader() == 1


@pytest.mark.parametrize("victim", [1, 3])
def test_a_founder_that_dies_for_good_before_the_first_entry_holds_nobody_up(
    cluster: Cluster, victim: int
) -> None:
    """All three have heard of each other; then the first leader, or another, is gone with its
    disk, and what it said has reached nobody."""
    cluster.stand(1)
    cluster.turn(1)
    for peer_id in (2, 3):
        cluster.network.deliver(1, peer_id)
        cluster.turn(peer_id)
        cluster.network.deliver(peer_id, 1)
    cluster.turn(1)
    assert (cluster[1].last_index, cluster[2].last_index) == (3, 1)
    lose_disk(cluster, victim)
    leader = cluster.await_leader()
    session = cluster.open_session(leader)
    orders(cluster, leader, session, range(1, 4))
    cluster.start(victim)
    cluster.run(3)
    assert cluster.voters() == (1, 2, 3)
    assert cluster.book(victim) == all_orders(cluster, session, 3)


@pytest.mark.parametrize("way_out", ["it comes back empty", "it is taken out of the file"])
def test_a_founder_that_told_of_its_past_and_is_gone_for_good_is_named(
    cluster: Cluster, caplog: pytest.LogCaptureFixture, way_out: str
) -> None:
    """Node 1 wrote down the founding, came back, told the others and is gone: it may have held
    orders, as far as they know. They wait, say for whom, and an operator decides."""
    cluster.stand(1)
    cluster.turn(1)
    cluster.network.deliver(1, 2)
    cluster.turn(2)
    cluster.network.deliver(2, 1)
    cluster.turn(1)
    cluster.restart(1)
    assert cluster[1].raft.membership.is_founded
    for peer_id in (2, 3):
        cluster[peer_id].raft.founding.hear(1, cluster[1].raft._introduction())
    lose_disk(cluster, 1)
    cluster.run(5)
    assert cluster.leaders() == []
    for node_id in (2, 3):
        assert (
            f"node {node_id} waits for node 1, which knows that a cluster was founded"
            in caplog.text
        )
    if way_out == "it comes back empty":
        cluster.start(1)
    else:
        cluster.founders = (2, 3)
        for node_id in (2, 3):
            cluster.restart(node_id)
    leader = cluster.await_leader()
    session = cluster.open_session(leader)
    orders(cluster, leader, session, range(1, 4))


@pytest.mark.parametrize("size", [3, 4, 5])
def test_one_lost_disk_in_a_cluster_of_any_size(tmp_path: Path, size: int) -> None:
    cluster = Cluster(tmp_path, size)
    cluster.elect(1)
    session = cluster.open_session(1)
    orders(cluster, 1, session, range(1, 6))
    for node_id in range(2, size + 1):
        lose_disk(cluster, node_id)
        cluster.start(node_id)
        cluster.run(3)
        assert cluster.book(node_id) == all_orders(cluster, session, 5)
    cluster.run(1)
    lose_disk(cluster, 1)
    cluster.start(1)
    cluster.run(4)
    assert cluster.book(1) == all_orders(cluster, session, 5)
    cluster.check_agreement()


def test_two_wiped_nodes_do_not_vouch_for_each_other(tmp_path: Path) -> None:
    """1. node 1 of five is cut off with node 2; 2. node 5 leads 3 and 4 and acknowledges;
    3. nodes 3 and 4 lose their disks; 4. they hear of node 1, which does not know yet, and of
    each other, but not of node 5."""
    cluster = Cluster(tmp_path, 5)
    cluster.elect(1)
    session = cluster.open_session(1)
    orders(cluster, 1, session, range(1, 3))
    cluster.network.cut([1, 2], [3, 4, 5])
    cluster.elect(5)
    orders(cluster, 5, session, range(3, 5))
    lose_disk(cluster, 3)
    lose_disk(cluster, 4)
    cluster.network.heal()
    cluster.network.cut([5], [1, 2, 3, 4])
    cluster.start(3)
    cluster.start(4)
    doubted = cluster.order(1, session, 5)
    cluster.run(5)
    assert not doubted.acknowledged
    cluster.network.heal()
    cluster.run(5)
    assert cluster.book(cluster.leader)[f"{session}-4"] == 1
    cluster.check_agreement()


def test_an_installed_snapshot_does_not_make_a_wiped_node_a_member(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1. node 2 loses its disk; 2. it has published the leader's snapshot, and is killed before
    its log is synced; 3. it starts on that snapshot, which is older than what it acknowledged."""
    monkeypatch.setattr("raftbook.replica.replica.LOG_KEPT_ENTRIES", 1)
    cluster = Cluster(tmp_path)
    session = known_to_1_and_2_only(cluster)
    cluster.network.heal()
    cluster.run(1)
    cluster.compact(1)
    cluster.network.cut([3], [1, 2])
    orders(cluster, 1, session, range(10, 14))
    lose_disk(cluster, 2)
    cluster.network.heal()
    cluster.network.hold(1, 3)
    cluster.disks[2].refuse = lambda log: "killed here" if log.base_index > 1 else None
    cluster.start(2)
    cluster.run(3)
    assert cluster[2].fenced
    assert cluster.snapshots(2).newest() is not None
    cluster.crash(2)
    cluster.disks[2].refuse = lambda log: None
    cluster.crash(1)
    cluster.start(2)
    cluster.run(5)
    assert cluster.leaders() == []
    cluster.start(1)
    cluster.network.heal()
    cluster.run(4)
    assert cluster.book(cluster.leader) == all_orders(cluster, session, 13)


@pytest.mark.parametrize("seed", range(5))
def test_a_lost_majority_of_disks_founds_no_new_book_beside_the_last_one(
    tmp_path: Path, seed: int
) -> None:
    """More than is promised is lost; the one node that has the orders keeps them and waits (P5)."""
    cluster = Cluster(tmp_path, seed=seed)
    session = known_to_1_and_2_only(cluster)
    cluster.network.heal()
    cluster.run(0.5)
    for node_id in (2, 3):
        lose_disk(cluster, node_id)
        cluster.start(node_id)
    cluster.run(10)
    assert cluster.leaders() == []
    assert cluster[1].fenced is None
    assert cluster.book(1) == all_orders(cluster, session, 9)
    for node_id in (2, 3):
        assert cluster.book(node_id) in ({}, all_orders(cluster, session, 9))


def test_a_wiped_node_and_laggards_since_founding_elect_no_empty_leader(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, 5)
    cluster.elect(1)
    cluster.crash(4)
    cluster.crash(5)
    session = cluster.open_session(1)
    orders(cluster, 1, session, range(1, 10))
    cluster.start(4)
    cluster.start(5)
    cluster.crash(1)
    lose_disk(cluster, 2)
    cluster.start(2)
    cluster.network.heal()
    cluster.settle()
    cluster.stand(4)  # its log ends at the first leader's no-op, as 5's does
    cluster.run(5)
    cluster.start(1)
    cluster.network.heal()
    cluster.run(5)
    assert cluster.book(cluster.leader) == all_orders(cluster, session, 9)


def test_a_wiped_node_and_a_laggard_wait_for_the_node_that_holds_the_orders(
    tmp_path: Path,
) -> None:
    cluster = Cluster(tmp_path)
    cluster.elect(1)
    cluster.crash(3)
    session = cluster.open_session(1)
    orders(cluster, 1, session, range(1, 10))
    lose_disk(cluster, 2)
    cluster.crash(1)
    cluster.start(2)
    cluster.start(3)
    cluster.run(3)
    assert not cluster.leaders()
    cluster.start(1)
    cluster.network.heal()
    cluster.run(5)
    assert cluster.book(cluster.leader) == all_orders(cluster, session, 9)

"""Leadership is handed over while orders come in, and nobody who waits hears of it (P6)."""

from __future__ import annotations

from pathlib import Path

import pytest

from raftbook.core.exchange import Genesis
from raftbook.core.limits import Limits
from tests.replica.harness import OIL, TIMINGS, Cluster, Waiter
from tests.replica.test_raft import names


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    """Three nodes of which node 1 leads, and time never stands still between messages."""
    patient = Genesis((OIL,), (("ann", True),), Limits(reply_window=1_024))
    cluster = Cluster(tmp_path, genesis=patient)
    cluster.elect(1)
    cluster.run(0.2)
    return cluster


class Rush:
    """An order at every node in every turn, and messages that take a while."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster, self.session = cluster, cluster.open_session(1)
        self.waiters: list[Waiter] = []

    def turn(self) -> None:
        """5 ms: orders come in, then what was sent in the turn before arrives."""
        cluster = self.cluster
        for node_id in cluster.replicas:
            self.waiters.append(cluster.order(node_id, self.session, len(self.waiters) + 1))
        cluster.clock.now += 0.005
        due = {way: len(link.queue) for way, link in cluster.network.ways.items()}
        for node_id in list(cluster.replicas):
            cluster.turn(node_id)
        for way, count in due.items():
            cluster.network.deliver(*way, count=count)


def test_a_leader_under_orders_hands_over_and_nobody_is_refused(cluster: Cluster) -> None:
    rush = Rush(cluster)
    for _ in range(20):
        rush.turn()
    assert all(cluster[1].raft.match_index(each) < cluster[1].last_index for each in (2, 3))  # type: ignore[operator]
    cluster[1].raft.hand_over(None, within_s=1.0)
    for _ in range(60):
        rush.turn()
        if cluster.leaders() not in ([], [1]):
            break
    assert cluster.leaders() in ([2], [3])
    for _ in range(20):
        rush.turn()
    cluster.run(0.5)
    assert [waiter.refusals for waiter in rush.waiters if not waiter.acknowledged] == []
    everything = names(rush.session, range(1, len(rush.waiters) + 1))
    assert [cluster.book(node_id) for node_id in cluster.node_ids] == [everything] * 3


def test_the_node_that_was_named_takes_over(cluster: Cluster) -> None:
    for target in (3, 2, 1, 3):
        cluster[cluster.leader].raft.hand_over(target, within_s=1.0)
        cluster.run(0.1)
        assert cluster.leaders() == [target]


def test_a_leader_that_cannot_hand_over_goes_on_in_time(cluster: Cluster) -> None:
    session = cluster.open_session(1)
    cluster.network.hold(1, 3)
    held = cluster.order(1, session, 1)
    cluster.settle()
    assert held.acknowledged
    cluster[1].raft.hand_over(3, within_s=0.5)
    waiting = cluster.order(2, session, 2)
    cluster.run(0.4)
    assert (cluster[1].raft.is_handing_over, waiting.answers) == (True, 0)
    cluster.run(0.2)
    assert cluster.leaders() == [1]
    assert waiting.acknowledged


def test_a_leader_asks_another_when_the_first_does_not_take_over(cluster: Cluster) -> None:
    """Node 2 has all of the log when it is asked, and is cut off before it hears of it."""
    cluster.network.hold(1, 2)
    cluster[1].raft.hand_over(None, within_s=1.0)
    cluster.run(0.1)
    assert cluster[1].raft.is_handing_over
    cluster.run(TIMINGS.election_min_s + 0.1)
    assert cluster.leaders() == [3]


def test_a_busy_node_that_is_asked_to_stand_stands_at_once(cluster: Cluster) -> None:
    """It was busy for long, so it waits for what its leader said meanwhile: and it was this."""
    cluster[1].raft.transfer_to(2)
    cluster[1]._send()
    cluster.clock.now += TIMINGS.election_min_s
    cluster.network.deliver(1, 2)
    cluster.turn(2)
    assert cluster[2].raft.role == "candidate"
    cluster.settle()
    assert cluster.leaders() == [2]


def test_a_leader_that_went_on_is_not_deposed_by_whom_it_had_asked(cluster: Cluster) -> None:
    """1. Node 2 stands still; 2. the leader asks it to stand, waits in vain, and goes on with
    orders; 3. node 2 wakes up and reads all of it in one turn."""
    term = cluster[1].raft.term
    session = cluster.open_session(1)
    cluster.run(0.2)
    cluster.network.hold(1, 2)
    cluster.network.hold(3, 2)
    cluster[1].raft.hand_over(2, within_s=0.1)
    cluster.run(0.2)
    assert b"timeout_now" in b"".join(cluster.network.ways[1, 2].queue)
    waiter = cluster.order(1, session, 1)
    cluster.run(0.2)
    assert waiter.acknowledged
    cluster.network.release(1, 2)
    cluster.network.release(3, 2)
    cluster.run(2.0)
    assert (cluster.leaders(), cluster[1].raft.term) == ([1], term)


def test_a_node_that_could_not_stand_when_it_was_asked_stands_no_more_for_that(
    cluster: Cluster,
) -> None:
    """1. Node 2 is asked to stand, and its own connections to the others are down; 2. the leader
    goes on; 3. they are up again."""
    term = cluster[1].raft.term
    cluster.network.cut_one_way(2, 1)
    cluster.network.cut_one_way(2, 3)
    cluster[2].receive(1, {"type": "timeout_now", "term": term})
    cluster.turn(2)
    cluster.run(0.1)
    cluster.network.heal()
    cluster.run(1.0)
    assert (cluster.leaders(), cluster[1].raft.term) == ([1], term)


# -- nodes that are slow --------------------------------------------------------------------------


def asked(cluster: Cluster, node_id: int) -> list[str]:
    """The pre-votes that a node has asked for since the network keeps records."""
    sent = cluster.network.sent
    return [m["type"] for source, _, m in sent if source == node_id and m["type"] == "pre_vote"]


def test_a_node_that_reads_its_leader_only_after_each_late_turn_does_not_doubt_it(
    cluster: Cluster,
) -> None:
    """Node 2 gets its turn every 0.4 s, and what the leader said meanwhile is read after it."""
    cluster.network.records = True
    for _ in range(60):
        for _ in range(20):
            cluster.clock.now += 0.02
            for node_id in (1, 3):
                cluster.turn(node_id)
                cluster.network.deliver(node_id, 4 - node_id)
        cluster.turn(2)
        cluster.network.deliver(1, 2)
        cluster.turn(2)
        cluster.network.deliver(2, 1)
    assert asked(cluster, 2) == []


def test_a_node_that_is_always_late_finds_out_that_its_leader_is_gone(cluster: Cluster) -> None:
    cluster.network.hold(1, 2)
    cluster.network.records = True
    for _ in range(4):
        cluster.clock.now += TIMINGS.election_max_s
        cluster.turn(2)
    assert asked(cluster, 2) != []


def test_a_late_node_whose_leader_died_asks_at_once(cluster: Cluster) -> None:
    """The end of the connection was read: nothing that the leader said is still to come."""
    cluster.network.records = True
    cluster.crash(1)
    cluster.clock.now += TIMINGS.election_min_s
    cluster.turn(2)
    assert asked(cluster, 2) != []


# -- who hears a leader ---------------------------------------------------------------------------


def test_who_hears_a_leader_gives_its_vote_to_nobody(cluster: Cluster) -> None:
    """A node that raised its term by itself, whatever it asks, changes nothing (S10)."""
    term = cluster[1].raft.term
    said = {"last_log_index": 99, "last_log_term": term + 5, "term": term + 5}
    disturber = {**cluster[3].raft._introduction(), **said, "type": "request_vote"}
    for target in (1, 2):
        cluster[target].receive(3, {**disturber, "is_asked": False})
        cluster.turn(target)
    cluster.run(1)
    assert cluster.leaders() == [1]
    assert {replica.raft.term for replica in cluster.replicas.values()} == {term}


def test_yeses_that_come_after_a_leader_is_heard_make_nobody_stand(cluster: Cluster) -> None:
    """1. Node 1 falls silent; node 3 asks, and node 2's yes is under way; 2. node 1 is heard
    again; 3. the yes arrives."""
    term = cluster[1].raft.term
    for way in ((1, 2), (1, 3), (2, 3)):
        cluster.network.hold(*way)
    cluster.run(TIMINGS.election_max_s + 0.2)
    late = [m for m in cluster.network.ways[2, 3].queue if b"pre_vote_reply" in m]
    assert late
    cluster.network.deliver(1, 3)
    cluster.turn(3)
    cluster.network.deliver(2, 3)
    cluster.turn(3)
    assert cluster[3].raft.role == "follower"
    assert cluster[3].raft.term == term


def test_a_leader_without_its_majority_steps_down_within_two_election_timeouts(
    cluster: Cluster,
) -> None:
    cluster.network.cut([1], [2, 3])
    cluster.run(2 * TIMINGS.election_max_s + 0.1)
    assert not cluster[1].raft.is_leader

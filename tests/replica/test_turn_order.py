"""Within a turn nobody waits for a node to match orders: not its peers, only its own clients."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from raftbook.replica.messages import Message
from tests.replica.harness import BOUNDS, Cluster


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    """Three nodes, of which the first leads."""
    found = Cluster(tmp_path)
    found.elect(1)
    return found


def watch(cluster: Cluster, node_id: int) -> list[tuple[Any, ...]]:
    """What a node does from now on, in order: (sync,), (apply, index), (send, peer, message)."""
    done: list[tuple[Any, ...]] = []
    replica = cluster[node_id]
    apply, sync, send = replica.machine.apply, replica._log.sync, replica._links.send

    def applied(index: int, term: int, payload: bytes) -> object:
        done.append(("apply", index))
        return apply(index, term, payload)

    def synced() -> bool:
        moved = sync()
        if moved:
            done.append(("sync",))
        return moved

    class Links:
        def send(self, peer_id: int, messages: list[Message]) -> None:
            done.extend(("send", peer_id, message) for message in messages)
            send(peer_id, messages)

    replica.machine.apply = applied  # type: ignore[method-assign,assignment]
    replica._log.sync = synced  # type: ignore[method-assign]
    replica._links = Links()
    return done


def sent(done: list[tuple[Any, ...]], kind: str) -> list[int]:
    """Where in it messages of a kind were sent."""
    return [at for at, what in enumerate(done) if what[0] == "send" and what[2]["type"] == kind]


def test_leader_tells_what_is_committed_before_it_applies_it(cluster: Cluster) -> None:
    session = cluster.open_session(1)
    done = watch(cluster, 1)
    waiter = cluster.order(1, session, 1)
    cluster.settle()
    assert waiter.acknowledged
    index = cluster[1].raft.applied_index
    before = done[: done.index(("apply", index))]
    told = [before[at] for at in sent(before, "append")]
    assert {peer for _, peer, said in told if said["commit_index"] == index} == {2, 3}


def test_follower_acknowledges_what_it_has_synced_before_it_applies_what_is_committed(
    cluster: Cluster,
) -> None:
    session = cluster.open_session(1)
    first = cluster[1].last_index + 1
    for request_seq in (1, 2):
        cluster.order(1, session, request_seq)
        cluster.turn(1)  # its append is on the way to the followers
    done = watch(cluster, 2)
    cluster.settle()
    (acknowledged,) = [
        at for at in sent(done, "append_reply") if done[at][2]["index"] == first + 1
    ][:1]
    assert done.index(("sync",)) < acknowledged < done.index(("apply", first))


def test_requests_leave_for_the_leader_before_the_sync_of_entries_that_came(
    cluster: Cluster,
) -> None:
    session = cluster.open_session(1)
    cluster.order(1, session, 1)
    cluster.turn(1)
    done = watch(cluster, 2)
    cluster.network.deliver_all()  # to node 2, which has taken no turn yet
    waiter = cluster.order(2, session, 2)
    cluster.turn(2)
    (forwarded,), (acknowledged,) = sent(done, "forward"), sent(done, "append_reply")
    assert forwarded < done.index(("sync",)) < acknowledged
    cluster.settle()
    assert waiter.acknowledged


def test_client_hears_of_an_order_once_it_took_effect(cluster: Cluster) -> None:
    session = cluster.open_session(1)
    done = watch(cluster, 1)
    waiter = cluster.order(1, session, 1)
    waiter.on_answer = lambda: done.append(("answer",))
    cluster.settle()
    index = cluster[1].raft.applied_index
    assert done.index(("sync",)) < done.index(("apply", index)) < done.index(("answer",))


def test_lone_node_answers_in_the_turn_that_syncs(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, size=1)
    cluster.await_leader()
    session = cluster.open_session(1)
    done = watch(cluster, 1)
    waiter = cluster.order(1, session, 1)
    cluster.turn(1)
    assert waiter.acknowledged
    assert [what[0] for what in done] == ["sync", "apply"]


def lone_voter_with_learner(tmp_path: Path) -> tuple[Cluster, int]:
    """Node 1 votes alone, node 2 has caught up and may not vote; a session at node 1."""
    cluster = Cluster(tmp_path, size=1)
    cluster.await_leader()
    session = cluster.open_session(1)
    cluster.new_machine(2)
    cluster.add(2)
    cluster.run_until(lambda: cluster[2].raft.applied_index > 0)
    assert cluster.voters() == (1,)
    return cluster, session


def test_lone_voter_tells_its_learner_what_is_committed_at_once(tmp_path: Path) -> None:
    cluster, session = lone_voter_with_learner(tmp_path)
    done = watch(cluster, 1)
    waiter = cluster.order(1, session, 1)
    cluster.turn(1)  # it is committed by this turn's sync, and its append left before that
    assert waiter.acknowledged
    index = cluster[1].raft.applied_index
    cluster.turn(1)
    told = [done[at][2] for at in sent(done, "append") if not done[at][2]["entries"]]
    assert [message["commit_index"] for message in told][-1:] == [index]


def test_lone_voter_tells_nobody_what_is_committed_before_its_sync(tmp_path: Path) -> None:
    """Its own disk is the whole majority: what it calls committed is so by the sync."""
    cluster, session = lone_voter_with_learner(tmp_path)
    done = watch(cluster, 1)
    on_disk = [cluster[1].last_index]
    cluster.disks[1].on_sync = lambda: on_disk.append(cluster.disks[1].entries[-1][1])
    for request_seq in (1, 2):  # the second while the commit of the first is still to be told
        cluster.order(1, session, request_seq)
        cluster.turn(1)
    syncs = 0
    for what in done:
        syncs += what[0] == "sync"
        if what[0] == "send" and what[2]["type"] == "append":
            assert what[2]["commit_index"] <= on_disk[syncs], what


def test_learner_acknowledges_nothing_that_the_lone_voter_lost(tmp_path: Path) -> None:
    """1. node 2 is too slow to become a voter, and its client orders; 2. the sync of the turn in
    which node 1 takes the order fails; 3. node 1 starts again from its disk."""
    cluster = Cluster(tmp_path, size=1)
    cluster.await_leader()
    session = cluster.open_session(1)
    cluster.new_machine(2)
    cluster.add(2)
    cluster.network.hold(2, 1)  # what it says takes longer than an election timeout
    cluster.run_until(lambda: cluster[2].raft.applied_index > 0)
    waiter = cluster.order(2, session, 2)
    cluster.run(0.5)
    cluster.order(1, session, 1)
    cluster.turn(1)  # committed by this turn's sync, and told with the next
    cluster.network.deliver_all()
    cluster.turn(2)
    cluster.network.release(2, 1)
    cluster.network.deliver(2, 1)
    assert cluster.voters() == (1,)
    cluster.disks[1].refuse = lambda log: "no power"
    cluster.turn(1)
    assert cluster[1].fenced
    cluster.network.deliver(1, 2)
    cluster.turn(2)
    was_acknowledged = waiter.acknowledged
    cluster.disks[1].refuse = lambda log: None
    cluster.restart(1)
    cluster.await_leader()
    cluster.run(2.0)
    assert cluster[2].fenced is None
    assert cluster.book(1)[f"{session}-2"] >= was_acknowledged


def test_after_a_pause_what_is_committed_is_answered(cluster: Cluster) -> None:
    session = cluster.open_session(1)
    waiter = cluster.order(1, session, 1)
    cluster.turn(1)
    for _ in range(2):  # the append, and what acknowledges it, which waits in node 1's sockets
        cluster.network.deliver_all()
        for node_id in (2, 3):
            cluster.turn(node_id)
    cluster.clock.now += BOUNDS.request_deadline_s + 0.1
    cluster.turn(1)
    assert waiter.acknowledged


def test_what_is_committed_during_a_slow_sync_is_answered(cluster: Cluster) -> None:
    session = cluster.open_session(1)
    waiter = cluster.order(1, session, 1)

    def take_long() -> None:
        cluster.disks[1].on_sync = lambda: None
        cluster.network.deliver_all()  # its append left before the sync
        for node_id in (2, 3):
            cluster.turn(node_id)
        cluster.clock.now += BOUNDS.request_deadline_s + 0.1

    cluster.disks[1].on_sync = take_long
    cluster.turn(1)
    cluster.network.deliver_all()
    cluster.turn(1)
    assert waiter.acknowledged

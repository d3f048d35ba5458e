"""Within a turn nobody waits for a node to match orders: not its peers, only its own clients."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from raftbook.replica.messages import Message
from tests.replica.harness import Cluster


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


def test_lone_voter_tells_its_learner_what_is_committed_at_once(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, size=1)
    cluster.await_leader()
    session = cluster.open_session(1)
    cluster.new_machine(2)
    cluster.add(2)
    cluster.run_until(lambda: cluster[2].raft.applied_index > 0)
    assert cluster.voters() == (1,)
    done = watch(cluster, 1)
    waiter = cluster.order(1, session, 1)
    cluster.turn(1)  # it is committed by this turn's sync, and its append left before that
    assert waiter.acknowledged
    index = cluster[1].raft.applied_index
    cluster.turn(1)
    told = [done[at][2] for at in sent(done, "append") if not done[at][2]["entries"]]
    assert [message["commit_index"] for message in told][-1:] == [index]

"""What an operator hears of a change of members that is refused: never, or not now."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from raftbook.core.types import Reject
from raftbook.gateway.queries import QueryError
from raftbook.node_members import MemberVerbs
from raftbook.replica.administration import Administration
from tests.replica.harness import Cluster


def refusal(cluster: Cluster, verb: str, *, via: int = 1, **arguments: Any) -> tuple[Reject, str]:
    """What a node answers to a change that it refuses."""
    operator = Administration(cluster[via], lambda: None, commit_s=60, hand_over_s=1)
    with pytest.raises(QueryError) as caught:
        asyncio.run(getattr(MemberVerbs(operator), verb)(arguments))
    return caught.value.code, caught.value.message


def address(node_id: int, raft_port: int) -> dict[str, Any]:
    return {
        "node_id": node_id,
        "host": "host",
        "raft_port": raft_port,
        "client_port": 100 + raft_port,
    }


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    """Four nodes, and a fifth that was removed."""
    cluster = Cluster(tmp_path, size=5)
    cluster.elect(1)
    cluster.run(0.2)
    cluster.remove(5)
    cluster.run_until_voters(1, 2, 3, 4)
    return cluster


def test_what_can_never_be_done_is_refused_for_good(cluster: Cluster) -> None:
    cluster.new_machine(6, start=False)
    cluster.add(6)
    cluster.run(0.2)  # a learner that never comes: an addition must wait, one in vain must not
    taken = cluster[1].raft.membership.get(6)
    assert taken is not None
    for (verb, arguments), why in (
        (("add", address(5, 5)), "node 5 was removed, and its id never comes back"),
        (("add", address(2, 9)), "node 2 is a member already"),
        (("add", {**address(7, taken.raft_port), "host": taken.host}), "node 6 has that address"),
        (("remove", {"node_id": 77}), "node 77 is no member"),
        (("remove", {"node_id": 5}), "node 5 is no member any more"),
        (("transfer", {"to": 77}), "node 77 is no voter"),
    ):
        code, message = refusal(cluster, verb, **arguments)
        assert (code, message[: len(why)]) == (Reject.MALFORMED, why)


def test_the_only_voter_cannot_be_removed(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, size=1)
    cluster.await_leader()
    code, message = refusal(cluster, "remove", node_id=1)
    assert (code, message) == (
        Reject.MALFORMED,
        "node 1 is the only voter; add another node first",
    )


def test_what_must_wait_is_refused_for_now(cluster: Cluster) -> None:
    code, message = refusal(cluster, "remove", via=2, node_id=77)
    assert (code, message) == (Reject.NOT_READY, "ask the leader, node 1"), "who does not lead"
    cluster.new_machine(6, start=False)
    cluster.add(6)
    code, message = refusal(cluster, "remove", node_id=77)
    assert code == Reject.NOT_READY, "by then it may be a member"
    assert message.startswith("another change is under way")
    cluster.run(0.2)
    code, message = refusal(cluster, "add", **address(7, 7))
    assert code == Reject.NOT_READY
    assert message.startswith("node 6 is still catching up")

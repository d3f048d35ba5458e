"""When a node should be sent work, judged on whole clusters without sockets."""

from pathlib import Path

from raftbook.ops.readiness import obstacles
from tests.replica.harness import Cluster


def _names(cluster: Cluster, node_id: int) -> list[str]:
    return [each.name for each in obstacles(cluster[node_id], age_max_s=10.0)]


def test_all_nodes_of_a_cluster_with_a_leader_are_ready(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    assert "no_leader" in _names(cluster, 1)
    assert cluster[1].last_word().startswith("the cluster is not founded yet; it waits for node")
    cluster.elect(1)
    cluster.run(0.1)
    assert [_names(cluster, node_id) for node_id in (1, 2, 3)] == [[], [], []]


def test_a_follower_that_hears_nobody_is_stale(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    cluster.elect(1)
    cluster.run(0.5)
    cluster.crash(1)
    cluster.crash(2)
    cluster.run(12.0)
    assert _names(cluster, 3) == ["no_leader", "stale"]
    (_, stale) = obstacles(cluster[3], age_max_s=10.0)
    assert stale.sentence.startswith("this node last heard of a leader 1")


def test_a_leader_without_a_majority_is_not_ready(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    cluster.elect(1)
    cluster.run(0.1)
    cluster.crash(2)
    cluster.crash(3)
    cluster.run(12.0)
    assert not cluster[1].raft.is_leader
    assert _names(cluster, 1) == ["no_leader", "stale"]


def test_a_fenced_node_gives_one_reason(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    cluster.elect(1)
    cluster.settle()
    cluster[2].retire()
    (only,) = obstacles(cluster[2], age_max_s=10.0)
    assert only.name == "fenced"
    assert "removed" in only.sentence

"""What the nodes of a cluster say when each is asked directly.

Owns the asking of all nodes at once, and what follows for the cluster: leader, quorum, health.
Must not know how it is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

from raftbook.client import Client
from raftbook.config import NodeAddress
from raftbook.errors import NoNodeReachable, RaftbookError

from .invocation import Invocation

STATUS_TIMEOUT_S: Final = 1.0
"""A node that is up answers in milliseconds; nobody should wait long for one that is not."""

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class NodeView:
    """One node and what it said; `status` is None when it did not answer."""

    address: NodeAddress
    status: dict[str, Any] | None
    trouble: str = ""
    is_voter: bool = True

    @property
    def node_id(self) -> int:
        return self.address.node_id


@dataclass(frozen=True, slots=True)
class ClusterView:
    """All members, as the cluster itself says; the nodes of cluster.toml as long as nobody does.

    Attributes:
        nodes: by node id.
    """

    nodes: tuple[NodeView, ...]

    @property
    def reachable(self) -> list[NodeView]:
        return [node for node in self.nodes if node.status is not None]

    @property
    def quorum(self) -> int:
        return len(self.voters) // 2 + 1

    @property
    def voters(self) -> list[NodeView]:
        return [node for node in self.nodes if node.is_voter]

    @property
    def leader_id(self) -> int | None:
        """The node that leads in the newest term and says so itself; None if there is none."""
        leaders = [node for node in self.reachable if _status(node)["role"] == "leader"]
        newest = max(leaders, key=lambda node: int(_status(node)["term"]), default=None)
        return None if newest is None else newest.node_id

    @property
    def following(self) -> list[NodeView]:
        """The leader and the reachable voters that follow it: those that can acknowledge."""
        leader_id = self.leader_id
        if leader_id is None:
            return []
        return [
            node
            for node in self.reachable
            if node.is_voter
            and _status(node)["leader_id"] == leader_id
            and not _status(node).get("fenced")
        ]

    @property
    def healthy(self) -> bool:
        """A leader exists and a quorum follows it: orders are taken now."""
        return len(self.following) >= self.quorum

    @property
    def failures_tolerated(self) -> int:
        """How many more nodes may stop before no order is taken."""
        return max(0, len(self.following) - self.quorum)

    @property
    def commit_index(self) -> int:
        return max((int(_status(node)["commit_index"]) for node in self.reachable), default=0)

    @property
    def is_founded(self) -> bool:
        """Whether a node that answered knows of a cluster; older ones do not say."""
        return any(_status(node).get("founded", True) for node in self.reachable)

    def applied_index(self, node_id: int) -> int:
        """How far a reachable node has come."""
        return next(
            int(_status(node)["applied_index"])
            for node in self.reachable
            if node.node_id == node_id
        )

    def seen_ms_ago(self, node_id: int) -> float | None:
        """When the leader last heard of a node; None if it never did or nobody leads."""
        for node in self.reachable:
            if node.node_id == self.leader_id:
                for member in _status(node).get("members", ()):
                    if member.get("node_id") == node_id:
                        seen = member.get("seen_ms_ago")
                        return None if seen is None else float(seen)
        return None


def _status(node: NodeView) -> dict[str, Any]:
    assert node.status is not None, f"node {node.node_id} did not answer"
    return node.status


def ask_all(
    invocation: Invocation,
    question: Callable[[Client], Answer],
    *,
    nodes: Sequence[NodeAddress] | None = None,
    timeout_s: float | None = None,
) -> dict[int, Answer | RaftbookError]:
    """Every node's answer, or why there is none; they are asked at the same time."""
    if timeout_s is None:
        timeout_s = STATUS_TIMEOUT_S if invocation.timeout_s is None else invocation.timeout_s

    def ask(node: NodeAddress) -> Answer | RaftbookError:
        try:
            with invocation.connect_to(node, timeout_s=timeout_s) as client:
                return question(client)
        except RaftbookError as error:
            return error

    wanted = invocation.config.nodes if nodes is None else nodes
    with ThreadPoolExecutor(max_workers=len(wanted)) as pool:
        answers = list(pool.map(ask, wanted))
    return {node.node_id: answer for node, answer in zip(wanted, answers, strict=True)}


def view_cluster(invocation: Invocation, *, timeout_s: float | None = None) -> ClusterView:
    """Asks every node of cluster.toml for its status, then those that came later."""
    views = _ask_for_status(invocation, invocation.config.nodes, timeout_s)
    members = _members(views)
    if not members:
        return ClusterView(tuple(views))
    known = {view.address: view for view in views}
    unknown = [address for address in members if address not in known]
    known |= {view.address: view for view in _ask_for_status(invocation, unknown, timeout_s)}
    return ClusterView(
        tuple(
            replace(known[address], is_voter=is_voter)
            for address, is_voter in sorted(members.items(), key=lambda each: each[0].node_id)
        )
    )


def _ask_for_status(
    invocation: Invocation, nodes: Sequence[NodeAddress], timeout_s: float | None
) -> list[NodeView]:
    if not nodes:
        return []
    answers = ask_all(invocation, lambda client: client.status(), nodes=nodes, timeout_s=timeout_s)
    views = []
    for node in nodes:
        answer = answers[node.node_id]
        if isinstance(answer, RaftbookError):
            views.append(NodeView(node, None, str(answer)))
        elif answer.get("cluster_id", invocation.config.cluster_id) != invocation.config.cluster_id:
            other = f"it belongs to cluster {answer['cluster_id']!r}"
            views.append(NodeView(node, None, other))
        else:
            views.append(NodeView(node, answer))
    return views


def _members(views: Sequence[NodeView]) -> dict[NodeAddress, bool]:
    """Who belongs to the cluster and whether it votes, as the most current node says."""
    told = [view.status for view in views if view.status and view.status.get("members")]
    if not told:
        return {}
    newest = max(told, key=lambda status: (status["role"] == "leader", status["commit_index"]))
    return {
        NodeAddress(
            row["node_id"],
            row["host"],
            row["raft_port"],
            row["client_port"],
            row.get("http_port") or None,
        ): bool(row.get("voter", True))
        for row in newest["members"]
    }


def require_reachable(view: ClusterView) -> None:
    """Refuses to go on when nobody answered.

    Raises:
        NoNodeReachable: names every node.
    """
    if not view.reachable:
        tried = ", ".join(f"{node.address.host}:{node.address.client_port}" for node in view.nodes)
        raise NoNodeReachable(f"no node answered ({tried})")

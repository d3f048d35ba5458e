"""`raftbook cluster`: status, members, health, verify, transfer, snapshot, add, remove.

Owns these verbs and how they look. Must not know how nodes are asked: `cluster_view.py`, nor how
digests are compared: `cluster_verify.py`.
"""

from __future__ import annotations

from typing import Any

import click

from raftbook.client.rejects import Refused
from raftbook.config import NodeAddress
from raftbook.core.types import Reject
from raftbook.errors import RaftbookError

from .cluster_verify import verify_cluster
from .cluster_view import ClusterView, NodeView, ask_all, require_reachable, view_cluster
from .groups import VerbGroup
from .invocation import Invocation, network_options, pass_invocation
from .outcomes import CommandFailed, ExitCode, judge, worst
from .output.printer import say
from .output.tables import plural, render_table
from .watching import Picture
from .watching import watch as show_changes

DIGEST_CHARS = 12
CLIENT_PORT_OFFSET, PORT_MAX = 100, 65_535
"""Where a new node's client port is, as in the cluster.toml that `raftbook init` writes."""
SEEN_NOW_MS = 100


@click.group("cluster", cls=VerbGroup)
def cluster() -> None:
    """Look at the nodes, compare them, hand over leadership, change who belongs to it."""


@cluster.command("status")
@click.option("--watch", is_flag=True, help="Again and again, until interrupted.")
@network_options
@pass_invocation
def status(invocation: Invocation, watch: bool) -> None:
    """Ask every node how it is. Exit 3 if none answers."""
    if watch:
        invocation.goes_on = True
        show_changes(invocation, lambda: _picture(view_cluster(invocation)))
    view = view_cluster(invocation)
    _, document, text = _picture(view)
    invocation.printer.show(document, table=text)
    require_reachable(view)


@cluster.command("health")
@network_options
@pass_invocation
def health(invocation: Invocation) -> None:
    """Exit 0 exactly when there is a leader and a quorum follows it.

    Else exit 4, or 3 if no node answers.
    """
    view = view_cluster(invocation)
    document = {
        "healthy": view.healthy,
        "leader_id": view.leader_id,
        "reachable": len(view.reachable),
        "following": len(view.following),
        "quorum": view.quorum,
        "nodes": len(view.nodes),
    }
    invocation.printer.show(document, table=lambda: health_line(view))
    require_reachable(view)
    if not view.healthy:
        raise CommandFailed(
            ExitCode.NOT_ACCEPTED,
            "not healthy: orders are not taken now",
            hint="see which nodes are missing with: raftbook cluster status",
        )


@cluster.command("members")
@network_options
@pass_invocation
def members(invocation: Invocation) -> None:
    """List the members as the leader (or the node that answers) knows them."""
    view = view_cluster(invocation)
    require_reachable(view)
    source = next(
        (node for node in view.reachable if node.node_id == view.leader_id), view.reachable[0]
    )
    assert source.status is not None
    rows = [_member(member) for member in source.status.get("members", ())]
    document = {"node_id": source.node_id, "leader_id": view.leader_id, "members": rows}
    invocation.printer.show(
        document,
        table=lambda: render_table(
            ("NODE", "RAFT", "CLIENT", "ROLE", "CONNECTED", "MATCH", "SEEN"),
            [
                (
                    row["node_id"],
                    f"{row['host']}:{row['raft_port']}",
                    f"{row['host']}:{row['client_port']}",
                    _role(row, view),
                    "yes" if row["connected"] or row["node_id"] == source.node_id else "no",
                    "-" if row["match_index"] is None else row["match_index"],
                    "now" if row["node_id"] == source.node_id else _seen(row["seen_ms_ago"]),
                )
                for row in rows
            ],
            right=("MATCH",),
        ),
        items="members",
    )


@cluster.command("verify")
@click.option(
    "--at",
    "index",
    type=click.IntRange(min=1),
    metavar="INDEX",
    help="Compare after this entry. [default: the newest that every node has]",
)
@network_options
@pass_invocation
def verify(invocation: Invocation, index: int | None) -> None:
    """Compare the digests of all nodes' books at one index.

    Exit 0 if a majority of the nodes answered and all that answered agree: a node that is down is
    shown as "-" and listed in JSON as unreachable, it does not fail the comparison. Exit 6 if two
    of them differ, 4 if too few answered to tell, 3 if none did.
    """
    verdict = verify_cluster(invocation, index)
    invocation.printer.show(verdict.document(), table=verdict.text)
    verdict.require_agreement()


@cluster.command("transfer")
@click.option("--to", "target", type=int, metavar="N", help="[default: the most current node]")
@network_options
@pass_invocation
def transfer(invocation: Invocation, target: int | None) -> None:
    """Hand leadership to another node."""
    leader = _leader(invocation, "transfer", voter_id=target)
    leader_id = leader.node_id
    if target == leader_id:
        new_leader = leader_id
    else:
        answer = _change(invocation, leader, "transfer", to=target)
        new_leader = answer["leader_id"]
    invocation.printer.show(
        {"leader_id": new_leader, "previous_leader_id": leader_id},
        table=lambda: f"leader {new_leader} (was {leader_id})",
    )


@cluster.command("add")
@click.argument("node_id", metavar="ID", type=click.IntRange(1, 255))
@click.argument("peer_address", metavar="HOST:PORT")
@click.argument("client_address", metavar="[HOST:PORT]", required=False)
@click.option(
    "--http-port", type=click.IntRange(1, PORT_MAX), metavar="PORT", help="For browsers and bots."
)
@network_options
@pass_invocation
def add(
    invocation: Invocation,
    node_id: int,
    peer_address: str,
    client_address: str | None,
    http_port: int | None,
) -> None:
    """Take a new node in: where its peers reach it, and its clients.

    Without the second address clients use the port that is 100 above. The node does not vote until
    it has caught up; start it with: raftbook node --id ID --join HOST:PORT of any member.
    """
    host, raft_port = invocation.parse_address(peer_address)
    client_port = raft_port + CLIENT_PORT_OFFSET
    if client_address is not None:
        client_host, client_port = invocation.parse_address(client_address)
        if client_host != host:
            raise click.UsageError("one node has one host: both addresses must begin with it")
    if client_port > PORT_MAX:
        raise click.UsageError(
            f"there is no port {client_port}, {CLIENT_PORT_OFFSET} above {raft_port}, for clients: "
            "name theirs, or take a lower one"
        )
    leader = _leader(invocation, "add")
    answer = _change(
        invocation,
        leader,
        "add",
        node_id=node_id,
        host=host,
        raft_port=raft_port,
        client_port=client_port,
        http_port=http_port,
    )
    _show_change(
        invocation,
        answer,
        f"node {node_id} is a learner (entry {answer['entry_index']}); it votes once it has caught "
        f"up.\nstart it with: raftbook node --id {node_id} --join {leader.host}:{leader.raft_port}",
    )


@cluster.command("remove")
@click.argument("node_id", metavar="ID", type=click.IntRange(1, 255))
@network_options
@pass_invocation
def remove(invocation: Invocation, node_id: int) -> None:
    """Let a node go for good, be it dead or the leader. Its id is not used again."""
    answer = _change(invocation, _leader(invocation, "remove"), "remove", node_id=node_id)
    voters = ", ".join(str(each) for each in answer["voters"])
    text = f"node {node_id} is removed (entry {answer['entry_index']}); voters: {voters}"
    _show_change(invocation, answer, text)


@cluster.command("snapshot")
@network_options
@pass_invocation
def snapshot(invocation: Invocation) -> None:
    """Make every node (or that of --node) write a snapshot, and wait until it is on its disk."""
    config = invocation.config
    name = invocation.node_name
    nodes = tuple(node.address for node in view_cluster(invocation).nodes)
    if name is not None:
        address = invocation.address_of(name)
        nodes = tuple(node for node in nodes if (node.host, node.client_port) == address)
        if not nodes:
            raise click.UsageError(f"no node of {config.path} has the client address {name}")
    answers = ask_all(
        invocation,
        lambda client: client.query("snapshot"),
        nodes=nodes,
        timeout_s=invocation.time_limit_s,
    )
    rows: list[dict[str, Any]] = []
    codes = []
    for node_id, answer in answers.items():
        if isinstance(answer, RaftbookError):
            code, line = judge(answer, invocation, node_id=node_id)
            codes.append(code)
            say(f"raftbook: node {node_id}: {line}")
            rows.append({"node_id": node_id, "snapshot_index": None, "error": str(answer)})
        else:
            rows.append({"node_id": node_id, "snapshot_index": answer["snapshot_index"]})
    invocation.printer.show(
        {"nodes": rows},
        table=lambda: render_table(
            ("NODE", "SNAPSHOT"),
            [
                (row["node_id"], "failed" if row["snapshot_index"] is None else
                 row["snapshot_index"])
                for row in rows
            ],
            right=("SNAPSHOT",),
        ),
        items="nodes",
    )  # fmt: skip
    if codes:
        raise CommandFailed(worst(codes))


def _leader(invocation: Invocation, what: str, *, voter_id: int | None = None) -> NodeAddress:
    """Where the leader is, as the nodes say; `voter_id` must be one of the voters."""
    view = view_cluster(invocation)
    require_reachable(view)
    voter_ids = [node.node_id for node in view.voters]
    if voter_id is not None and voter_id not in voter_ids:
        known = ", ".join(map(str, voter_ids))
        raise click.UsageError(f"node {voter_id} is no voter; the voters are {known}")
    for node in view.nodes:
        if node.node_id == view.leader_id:
            return node.address
    raise CommandFailed(
        ExitCode.NOT_ACCEPTED, f"{what}: nobody leads now", hint="try again in a second"
    )


def _change(
    invocation: Invocation, leader: NodeAddress, verb: str, **arguments: Any
) -> dict[str, Any]:
    """Ask the leader for a change of who belongs to the cluster, or leads it.

    Raises:
        CommandFailed: there can be no such change, so the words of the command are wrong.
    """
    try:
        with invocation.connect_to(leader) as client:
            answer: dict[str, Any] = client.query(verb, **arguments)
    except Refused as error:
        if error.code != Reject.MALFORMED:
            raise
        hint = "see the members with: raftbook cluster members"
        raise CommandFailed(ExitCode.USAGE, f"{verb}: {error.reason}", hint=hint) from error
    return answer


# -- how it looks -----------------------------------------------------------------------------


def _picture(view: ClusterView) -> Picture:
    document = status_document(view)

    def text() -> str:
        fenced = [
            f"node {node.node_id} is fenced: {node.status['fenced']}"
            for node in view.nodes
            if node.status is not None and node.status.get("fenced")
        ]
        upgrade = engine_line(view)
        last = [] if upgrade is None else [upgrade]
        return "\n".join([status_table(view), health_line(view), *fenced, *last])

    return Picture(document, document, text)


def status_document(view: ClusterView) -> dict[str, Any]:
    """The JSON shape of `cluster status`."""
    return {
        "healthy": view.healthy,
        "leader_id": view.leader_id,
        "nodes": [_node_document(node) for node in view.nodes],
    }


def _node_document(node: NodeView) -> dict[str, Any]:
    said = node.status or {}
    return {
        "node_id": node.node_id,
        "address": f"{node.address.host}:{node.address.raft_port}",
        "http_address": _http_address(node.address),
        "role": said.get("role"),
        "term": said.get("term"),
        "commit_index": said.get("commit_index"),
        "applied_index": said.get("applied_index"),
        "snapshot_index": said.get("snapshot_index"),
        "digest": said.get("digest"),
        "digest_index": said.get("digest_index"),
        "fenced": said.get("fenced"),
        "engine_version": said.get("engine_version"),
        "engine_version_supported": said.get("engine_version_supported"),
        "core": said.get("core"),
        "reachable": node.status is not None,
    }


def status_table(view: ClusterView) -> str:
    """One row a node; LAG counts entries behind the newest commit that any node knows."""
    newest = max((node.status["digest_index"] for node in view.reachable if node.status), default=0)
    return render_table(
        ("NODE", "ADDRESS", "ROLE", "TERM", "COMMIT", "APPLIED", "LAG", "SNAPSHOT", "DIGEST",
         "HTTP", "SEEN"),
        [_status_row(view, node, newest) for node in view.nodes],
        right=("TERM", "COMMIT", "APPLIED", "LAG", "SNAPSHOT"),
    )  # fmt: skip


def _status_row(view: ClusterView, node: NodeView, newest: int) -> tuple[object, ...]:
    raft = f"{node.address.host}:{node.address.raft_port}"
    http = _http_address(node.address) or "-"
    said = node.status
    if said is None:
        seen = _seen(view.seen_ms_ago(node.node_id))
        return (node.node_id, raft, "unreachable", "-", "-", "-", "-", "-", "-", http, seen)
    # Digests of different indexes cannot be compared, so only the newest is shown.
    digest = said["digest"][:DIGEST_CHARS] if said["digest_index"] == newest else "(behind)"
    return (
        node.node_id,
        raft,
        said["role"] if node.is_voter else "learner",
        said["term"],
        said["commit_index"],
        said["applied_index"],
        max(0, view.commit_index - said["applied_index"]),
        said["snapshot_index"],
        digest,
        http,
        "now",
    )


def _http_address(address: NodeAddress) -> str | None:
    return f"{address.host}:{address.http_port}" if address.http_port else None


def health_line(view: ClusterView) -> str:
    """ "quorum 2 of 3, healthy; tolerates 1 more failure"."""
    quorum = f"quorum {view.quorum} of {len(view.voters)}"
    if view.healthy:
        more = plural(view.failures_tolerated, "more failure")
        return f"{quorum}, healthy; tolerates {more}"
    if view.leader_id is None:
        is_new = view.reachable and not view.is_founded
        why = "not founded yet, start all nodes once" if is_new else "no leader"
    else:
        why = f"only {len(view.following)} follow leader {view.leader_id}"
    return f"{quorum}, NOT healthy: {why}, {plural(len(view.reachable), 'node')} reachable"


def engine_line(view: ClusterView) -> str | None:
    """In the midst of an upgrade, how far it is; None while all nodes have what is in force.

    A node that has less than that is no part of an upgrade to come: it must be upgraded to go on.
    """
    said = {node.node_id: node.status for node in view.reachable if node.status is not None}
    in_force = max((status.get("engine_version", 1) for status in said.values()), default=1)
    supported = {
        node_id: status.get("engine_version_supported", 1) for node_id, status in said.items()
    }
    if all(version == in_force for version in supported.values()):
        return None
    have = ", ".join(f"node {node_id} has {version}" for node_id, version in supported.items())
    told = [f"engine version {in_force} is in force", have]
    behind = [f"node {node_id}" for node_id, version in supported.items() if version < in_force]
    if behind:
        told.append(f"{' and '.join(behind)} must be upgraded")
    if any(version > in_force for version in supported.values()):
        told.append("it rises when every member has more")
    return "; ".join(told)


def _member(member: dict[str, Any]) -> dict[str, Any]:
    names = ("node_id", "host", "raft_port", "client_port", "connected", "seen_ms_ago",
             "match_index")  # fmt: skip
    return {**{name: member.get(name) for name in names}, "voter": member.get("voter", True)}


def _role(row: dict[str, Any], view: ClusterView) -> str:
    if not row["voter"]:
        return "learner"
    return "leader" if row["node_id"] == view.leader_id else "member"


def _show_change(invocation: Invocation, answer: dict[str, Any], text: str) -> None:
    document = {
        "entry_index": answer["entry_index"],
        "voters": list(answer["voters"]),
        "learners": list(answer["learners"]),
    }
    invocation.printer.show(document, table=lambda: text)
    members = {*answer["voters"], *answer["learners"]}
    named = members.intersection(node.node_id for node in invocation.config.nodes)
    if len(named) <= (len(members) - 1) // 2:
        # Were these few all that is lost, they would be a new cluster by that file.
        say(
            f"{invocation.config.path} names {len(named)} of {len(members)} members. Give all "
            "nodes one that names them all: raftbook node --join writes it on a new machine; "
            "whoever lost its machine comes back by that way"
        )


def _seen(ms_ago: float | None) -> str:
    if ms_ago is None:
        return "-"
    return "now" if ms_ago < SEEN_NOW_MS else f"{ms_ago / 1000:.1f}s"

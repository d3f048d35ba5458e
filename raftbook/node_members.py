"""Members at the edge of a node: from cluster.toml, to its links, and as an operator asks for them.

Owns the shapes: the [[nodes]] of the file as members, members as rows of a status, arguments of
`add` and `remove`. What may be changed is `replica.member_changes`'s to decide.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable
from typing import Any, TypeVar

from raftbook.config import ClusterConfig, NodeAddress
from raftbook.core.types import Reject
from raftbook.gateway.queries import QueryError
from raftbook.replica.administration import Administration, OutcomeOpen
from raftbook.replica.links import PeerLinks
from raftbook.replica.membership import (
    ChangeImpossible,
    ChangeRefused,
    Member,
    Membership,
    configured,
    differences,
)
from raftbook.replica.replica import Replica

_log = logging.getLogger("raftbook.node")

PORT_MAX = 65_535
NODE_ID_MAX = 255
HOST_CHARS_MAX = 253

Arguments = dict[str, Any]
Answer = TypeVar("Answer")


def configured_members(config: ClusterConfig) -> Membership:
    """The nodes of cluster.toml: who shall found the cluster."""
    return configured(
        Member(node.node_id, node.host, node.raft_port, node.client_port, node.http_port or 0)
        for node in config.nodes
    )


def own_address(config: ClusterConfig, node_id: int, replica: Replica) -> NodeAddress:
    """Where this node listens: as the log says, once it says anything (`cluster.toml` is older)."""
    membership = replica.raft.membership
    if membership.is_founded:
        for difference in differences(configured_members(config), membership):
            _log.warning("%s: %s; the cluster's own list counts", config.path, difference)
    member = membership.get(node_id)
    return config.node(node_id) if member is None else NodeAddress(node_id, *member.address())


def peer_addresses(replica: Replica) -> dict[int, tuple[str, int]]:
    """Whom this node is to be connected to: members, and those who are on their way out."""
    raft = replica.raft
    members = {
        member.node_id: (member.host, member.raft_port)
        for membership in (raft.committed_membership, raft.membership)
        for member in membership.members
    }
    members.pop(replica.node_id, None)
    return members


def follow_members(replica: Replica, links: PeerLinks) -> None:
    """Let the links go where the members are, from now on."""

    def update() -> None:
        raft = replica.raft
        links.update(peer_addresses(replica), raft.committed_membership.retired)
        committed = raft.committed_membership
        if committed == raft.membership:
            _log.info(
                "members as of entry %d: voters %s, learners %s",
                committed.index,
                list(committed.voter_ids),
                list(committed.learner_ids),
                extra={
                    "event": "members",
                    "fields": {
                        "index": committed.index,
                        "voters": list(committed.voter_ids),
                        "learners": list(committed.learner_ids),
                    },
                },
            )

    replica.on_members.append(update)
    links.update(peer_addresses(replica), replica.raft.committed_membership.retired)


def member_rows(replica: Replica, links: PeerLinks, now: float) -> list[dict[str, Any]]:
    """The members as `status` tells them; see docs/PROTOCOL.md."""
    rows = []
    for member in replica.raft.membership.members:
        node_id = member.node_id
        own = node_id == replica.node_id
        heard = now if own else links.last_heard.get(node_id)
        rows.append(
            {
                "node_id": node_id,
                "host": member.host,
                "raft_port": member.raft_port,
                "client_port": member.client_port,
                "http_port": member.http_port,
                "voter": member.is_voter,
                "connected": own or links.is_connected(node_id),
                "seen_ms_ago": None if heard is None else int((now - heard) * 1_000),
                "match_index": None if own else replica.raft.match_index(node_id),
            }
        )
    return rows


class MemberVerbs:
    """What an operator may ask of the leader."""

    def __init__(self, administration: Administration) -> None:
        self._administration = administration

    async def add(self, arguments: Arguments) -> Arguments:
        """A new node, as a learner; see docs/PROTOCOL.md."""
        return _answer(await _explained(self._administration.add(_member(arguments))))

    async def remove(self, arguments: Arguments) -> Arguments:
        """A member goes for good."""
        node_id = _number(arguments, "node_id", NODE_ID_MAX)
        return _answer(await _explained(self._administration.remove(node_id)))

    async def transfer(self, arguments: Arguments) -> Arguments:
        """Another voter leads."""
        target = arguments.get("to")
        if target is not None:
            target = _number(arguments, "to", NODE_ID_MAX)
        return {"leader_id": await _explained(self._administration.hand_over(target))}


async def _explained(action: Awaitable[Answer]) -> Answer:
    try:
        return await action
    except ChangeImpossible as error:
        raise QueryError(Reject.MALFORMED, str(error)) from error
    except ChangeRefused as error:
        raise QueryError(Reject.NOT_READY, str(error)) from error
    except OutcomeOpen as error:
        raise QueryError(Reject.OUTCOME_UNKNOWN, str(error)) from error


def _answer(membership: Membership) -> Arguments:
    return {
        "entry_index": membership.index,
        "voters": membership.voter_ids,
        "learners": membership.learner_ids,
    }


def _member(arguments: Arguments) -> Member:
    host = arguments.get("host")
    if type(host) is not str or not 0 < len(host) <= HOST_CHARS_MAX:
        raise QueryError(Reject.MALFORMED, "host is no host name")
    return Member(
        _number(arguments, "node_id", NODE_ID_MAX),
        host,
        raft_port=_number(arguments, "raft_port", PORT_MAX),
        client_port=_number(arguments, "client_port", PORT_MAX),
        http_port=_number(arguments, "http_port", PORT_MAX) if arguments.get("http_port") else 0,
    )


def _number(arguments: Arguments, name: str, high: int) -> int:
    value = arguments.get(name)
    if type(value) is not int or not 1 <= value <= high:
        raise QueryError(Reject.MALFORMED, f"{name} is not from 1 to {high}")
    return value

"""`/v1/cluster`: all members as this node sees them, and as they describe themselves.

Owns the document; the first fields are those of `raftbook cluster status -o json`. Of a member that
does not answer it says what this node knows by itself: whether it is connected and when it was last
heard. Must not know how others are asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from raftbook.ops.readiness import known_leader
from raftbook.web.asking import answer_in_turn
from raftbook.web.context import WebContext

Row = dict[str, Any]
_NO_STORE: Final = {"cache-control": "no-store"}


def routes(context: WebContext) -> list[BaseRoute]:
    """The one route."""

    async def cluster(request: Request) -> Response:
        said = await context.peers.look_now() if context.peers else {}
        return await answer_in_turn(
            request,
            context.clients.pace,
            lambda: JSONResponse(cluster_document(context, said), headers=_NO_STORE),
        )

    return [Route("/v1/cluster", cluster)]


def cluster_document(context: WebContext, said: Mapping[int, Row]) -> Row:
    """The cluster as one node sees it.

    Args:
        said: what other members said of themselves just now, by node_id.
    """
    own = context.queries.answer("status", {}, None)
    # What a member said before this node lost it is old news, however young.
    there = {row["node_id"] for row in own["members"] if row["connected"]}
    statuses = {each: said[each] for each in said if each in there} | {own["node_id"]: own}
    rows = [_row(member, statuses.get(member["node_id"]), own) for member in own["members"]]
    commit_index = max(int(status["commit_index"]) for status in statuses.values())
    for row in rows:
        if row["lag"] is None and row["applied_index"] is not None:
            row["lag"] = max(0, own["commit_index"] - row["applied_index"])
    for row in rows:
        row["agrees"] = _agrees(context, row)
    leader_id = known_leader(context.replica)
    voters = [row for row in rows if row["voter"]]
    quorum = len(voters) // 2 + 1
    following = [row for row in voters if _follows(row, leader_id)]
    return {
        "schema": "raftbook/v1",
        "healthy": leader_id is not None and len(following) >= quorum,
        "leader_id": leader_id,
        "nodes": rows,
        "node_id": own["node_id"],
        "cluster": own["cluster"],
        "version": own["version"],
        "term": own["term"],
        "commit_index": commit_index,
        "quorum": quorum,
        "voters": len(voters),
        "tolerates": max(0, len(following) - quorum) if leader_id is not None else 0,
        "age_ms": own["age_ms"],
        "fenced": own["fenced"],
    }


def _row(member: Row, status: Row | None, own: Row) -> Row:
    told = status or {}
    is_own = member["node_id"] == own["node_id"]
    http_port = member["http_port"]
    return {
        "node_id": member["node_id"],
        "address": f"{member['host']}:{member['raft_port']}",
        "http_address": f"{member['host']}:{http_port}" if http_port else None,
        "role": told.get("role"),
        "term": told.get("term"),
        "leader_id": told.get("leader_id"),
        "commit_index": told.get("commit_index"),
        "applied_index": told.get("applied_index", member["match_index"] or None),
        "lag": told.get("lag"),
        "snapshot_index": told.get("snapshot_index"),
        "digest": told.get("digest"),
        "digest_index": told.get("digest_index"),
        "fenced": told.get("fenced"),
        "engine_version": told.get("engine_version"),
        "version": told.get("version"),
        "uptime_ms": told.get("uptime_ms"),
        "reachable": status is not None,
        "voter": member["voter"],
        "connected": is_own or member["connected"],
        "seen_ms_ago": 0 if is_own else member["seen_ms_ago"],
    }


def _agrees(context: WebContext, row: Row) -> bool | None:
    """Whether a member's digest is this node's at the same entry; None where this one cannot tell:
    it has not come there yet, or does not keep it any more."""
    if row["digest"] is None:
        return None
    digest = context.replica.machine.digest_at(row["digest_index"])
    return None if digest is None else bool(digest == row["digest"])


def _follows(row: Row, leader_id: int | None) -> bool:
    """Whether a voter counts for the quorum now: one that is silent may, if this node leads and has
    heard from it just now."""
    if row["reachable"]:
        return row["leader_id"] == leader_id and not row["fenced"]
    return bool(row["connected"]) and row["applied_index"] is not None

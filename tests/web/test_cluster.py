"""/v1/cluster: the document that scripts and the page read."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from raftbook.gateway.queries import Queries
from raftbook.web.cluster import cluster_document
from tests.gateway.door import Door, at_the_door
from tests.web.asgi import app_of, context_of, describe, get


def test_a_cluster_of_one_is_healthy(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        document = (await get(app_of(door, tmp_path), "/v1/cluster")).json()
        (row,) = document["nodes"]
        assert document["healthy"] is True
        assert document["leader_id"] == document["node_id"] == 1
        assert (document["quorum"], document["tolerates"]) == (1, 0)
        assert row["role"] == "leader"
        assert row["http_address"] == "127.0.0.1:8001"
        assert row["lag"] == 0
        assert row["digest"] == door.replica.machine.exchange.digest.value()

    at_the_door(tmp_path, scene)


def test_others_are_shown_by_their_own_words_and_else_by_what_is_known(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        context = context_of(door, tmp_path)
        own = context.queries.answer("status", {}, None)
        member = describe(door)["members"][0]
        told = {
            **describe(door),
            "members": [
                member,
                {**member, "node_id": 2, "match_index": 1, "seen_ms_ago": 40},
                {**member, "node_id": 3, "connected": False, "seen_ms_ago": 900},
            ],
        }
        queries = Queries(door.replica, lambda: told)
        context = replace(context, queries=queries)
        said: Mapping[int, dict[str, Any]] = {2: {**own, "node_id": 2, "role": "follower"}}
        document = cluster_document(context, said)
        assert [row["role"] for row in document["nodes"]] == ["leader", "follower", None]
        assert [row["reachable"] for row in document["nodes"]] == [True, True, False]
        assert document["nodes"][2]["seen_ms_ago"] == 900
        assert document["healthy"] is True
        assert document["tolerates"] == 0

    at_the_door(tmp_path, scene)

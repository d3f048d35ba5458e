"""/healthz and /readyz: alive is not ready, and the reason is told."""

from pathlib import Path

from tests.gateway.door import Door, at_the_door
from tests.web.asgi import app_of, get


def test_a_leader_is_alive_and_ready(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        app = app_of(door, tmp_path)
        alive = await get(app, "/healthz")
        assert (alive.status, alive.body) == (200, b"ok\n")
        ready = await get(app, "/readyz")
        assert ready.status == 200
        assert ready.json() == {
            "schema": "raftbook/v1",
            "ready": True,
            "node_id": 1,
            "reasons": [],
        }
        assert ready.headers["x-raftbook-leader"] == "1"

    at_the_door(tmp_path, scene)


def test_a_fenced_node_is_alive_and_not_ready(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        app = app_of(door, tmp_path)
        door.replica.retire()
        assert (await get(app, "/healthz")).status == 200
        answer = await get(app, "/readyz")
        assert answer.status == 503
        (reason,) = answer.json()["reasons"]
        assert reason["reason"] == "fenced"
        assert "removed from the cluster" in reason["message"]
        door.replica.fence = None

    at_the_door(tmp_path, scene)

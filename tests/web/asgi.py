"""Calls to an ASGI application without sockets: one request, and what was answered.

answer = await get(app, "/readyz")
"""

import asyncio
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from raftbook.config import ClusterConfig, load_config, render_config
from raftbook.gateway.queries import Queries
from raftbook.web.app import make_app
from raftbook.web.context import WebContext
from tests.gateway.door import SECRETS, Door


@dataclass
class Answer:
    """What came back."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    def json(self) -> Any:
        return json.loads(self.body)


async def call(
    app: Any,
    method: str,
    path: str,
    *,
    query: str = "",
    headers: dict[str, str] | None = None,
    body: bytes = b"",
) -> Answer:
    """One request."""
    answer = Answer()
    is_told = False

    async def receive() -> dict[str, Any]:
        nonlocal is_told
        if is_told:
            await asyncio.Event().wait()
        is_told = True
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            answer.body += message.get("body", b"")

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": [
            (name.lower().encode(), value.encode()) for name, value in (headers or {}).items()
        ],
        "client": ("127.0.0.1", 50_000),
        "server": ("127.0.0.1", 8001),
    }
    await app(scope, receive, send)
    return answer


async def get(app: Any, path: str, query: str = "", **headers: str) -> Answer:
    """One GET."""
    return await call(app, "GET", path, query=query, headers=headers)


def config_in(folder: Path) -> ClusterConfig:
    """A configuration with every default."""
    path = folder / "cluster.toml"
    if not path.exists():
        path.write_text(render_config())
    return load_config(path)


def context_of(door: Door, folder: Path, **changes: Any) -> WebContext:
    """What the HTTP port of a door's node is given; needs a running loop."""
    return WebContext(
        config_in(folder),
        door.replica,
        Queries(door.replica, lambda: describe(door)),
        door.server.feed,
        door.server,
        describe=lambda: describe(door),
        cluster_secret=b"s" * 32,
        secrets=SECRETS,
        wall_ns=lambda: int(door.now * 1e9),
        **changes,
    )


def app_of(door: Door, folder: Path) -> Any:
    """The whole application of a door's node."""
    return make_app(context_of(door, folder))


def describe(door: Door) -> dict[str, Any]:
    """As the composition root does, for a cluster of one."""
    return {
        "cluster": "test",
        "cluster_id": "c",
        "uptime_ms": 1,
        "version": "0",
        "members": [
            {
                "node_id": 1,
                "host": "127.0.0.1",
                "raft_port": 7001,
                "client_port": 7101,
                "http_port": 8001,
                "voter": True,
                "connected": True,
                "seen_ms_ago": 0,
                "match_index": None,
            }
        ],
    }

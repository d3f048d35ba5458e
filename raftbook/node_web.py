"""The HTTP port of a node: whether it has one, and what that needs.

Owns the choice. `raftbook.web` is imported only here, and only when the configuration asks for it,
since it needs packages that a node without it does not.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from raftbook.config import ClusterConfig, NodeAddress
from raftbook.gateway.native import ClientServer
from raftbook.node_peers import PeerWatch

if TYPE_CHECKING:
    from raftbook.web.server import WebServer

_log = logging.getLogger("raftbook.node")

NEEDED: Final = ("starlette", "uvicorn", "httptools", "websockets", "prometheus_client")
"""What the extra `gateway` installs."""


def make_web_server(
    config: ClusterConfig,
    address: NodeAddress,
    clients: ClientServer,
    *,
    describe: Callable[[], dict[str, Any]],
    cluster_secret: bytes,
    secrets: Mapping[str, str | None],
    wall_ns: Callable[[], int],
) -> WebServer | None:
    """The HTTP server of this node; None if it has no http_port, or not what one needs."""
    if not address.http_port:
        return None
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        _log.warning(
            "nothing listens on http_port %d: %s is not installed; "
            "install it with: pip install 'raftbook[gateway]'",
            address.http_port,
            ", ".join(missing),
        )
        return None
    from raftbook.web.app import make_app
    from raftbook.web.context import WebContext
    from raftbook.web.server import WebBounds, WebServer

    peers = PeerWatch(
        address.node_id,
        lambda: list(describe()["members"]),
        cluster_id=config.cluster_id,
        commit_index=lambda: clients.replica.raft.commit_index,
    )
    context = WebContext(
        config,
        clients.replica,
        clients.queries,
        clients.feed,
        clients,
        describe=describe,
        cluster_secret=cluster_secret,
        secrets=secrets,
        wall_ns=wall_ns,
        peers=peers,
        http_connections=lambda: server.connection_count,
        on_close=[peers.close],
    )
    timings = config.timings
    bounds = WebBounds(
        connections_max=config.bounds.connections_max,
        request_timeout_s=timings.handshake_timeout_ms / 1_000,
        idle_timeout_s=timings.idle_timeout_ms / 1_000,
        buffer_bytes_max=config.bounds.client_buffer_bytes_max,
    )
    server = WebServer(
        make_app(context),
        bounds,
        on_close=context.on_close,
        intake=clients.intake,
        pace=clients.pace,
    )
    return server

"""What every part of the HTTP port is given: the node it stands in.

Owns the shape only. A part reads the live exchange between turns, through `queries.exchange`, and
keeps nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from raftbook.config import ClusterConfig
from raftbook.feed.stream import FeedHistory
from raftbook.gateway.native import ClientServer
from raftbook.gateway.queries import Queries
from raftbook.replica.replica import Replica


class Peers(Protocol):
    """What the other members say of themselves, by node_id; see `node_peers.PeerWatch`."""

    def look(self) -> Mapping[int, dict[str, Any]]:
        """As far as known, and go on asking for a while."""

    async def look_now(self) -> Mapping[int, dict[str, Any]]:
        """After every one of them was asked."""


@dataclass(frozen=True, slots=True)
class WebContext:
    """One node, as its HTTP port sees it.

    Attributes:
        clients: the native client port: barriers, waits for an index, fresh request_seqs, turns.
        describe: the parts of a status that only the composition root knows.
        cluster_secret: what the nodes share.
        secrets: account secret by name, of cluster.toml; None where there is none.
        wall_ns: the node's wall clock: for what a client calls "now", never for what happened.
        peers: the other members; None where nobody asks them.
        http_connections: how many connections the HTTP port has now.
        on_close: called once when the server ends; a part that runs tasks ends them there.
    """

    config: ClusterConfig
    replica: Replica
    queries: Queries
    feed: FeedHistory
    clients: ClientServer
    describe: Callable[[], dict[str, Any]]
    cluster_secret: bytes
    secrets: Mapping[str, str | None]
    wall_ns: Callable[[], int]
    peers: Peers | None = None
    http_connections: Callable[[], int] = lambda: 0
    on_close: list[Callable[[], None]] = field(default_factory=list)

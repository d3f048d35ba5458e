"""The configuration as each part of a node takes it: seconds, and only what concerns it.

Owns the way from the names of cluster.toml to those of the parts. Builds nothing else.
"""

from __future__ import annotations

from typing import Final

from raftbook.config import ClusterConfig
from raftbook.gateway.native import ClientBounds
from raftbook.replica.links import LinkSettings
from raftbook.replica.raft import RaftTimings
from raftbook.replica.replica import ReplicaBounds

_FOUNDING_WAIT_S_MAX: Final = 10.0
"""How long one or two nodes wait at most before they found a cluster."""


def raft_timings(config: ClusterConfig) -> RaftTimings:
    """For the elections."""
    timings = config.timings
    return RaftTimings(
        election_min_s=timings.election_timeout_min_ms / 1_000,
        election_max_s=timings.election_timeout_max_ms / 1_000,
        heartbeat_s=timings.heartbeat_interval_ms / 1_000,
        fallback_s=timings.leader_fallback_ms / 1_000,
        founding_wait_s=min(3 * timings.reconnect_max_ms / 1_000, _FOUNDING_WAIT_S_MAX),
    )


def replica_bounds(config: ClusterConfig) -> ReplicaBounds:
    """For what one replica holds."""
    timings, bounds = config.timings, config.bounds
    return ReplicaBounds(
        entry_bytes_max=bounds.entry_bytes_max,
        entry_requests_max=bounds.entry_requests_max,
        requests_pending_max=bounds.requests_pending_max,
        snapshot_every_entries=bounds.snapshot_every_entries,
        snapshot_every_bytes=bounds.snapshot_every_bytes,
        request_deadline_s=timings.request_deadline_ms / 1_000,
        pending_bytes_max=bounds.pending_bytes_max,
        digest_check_s=timings.digest_check_interval_ms / 1_000,
    )


PEER_BUFFER_BYTES_MIN: Final = 16 << 20
"""Above what `replica` has under way to a peer: a smaller one would end every connection over which
a peer is caught up."""


def link_settings(config: ClusterConfig) -> LinkSettings:
    """For the connections to peers."""
    timings, bounds = config.timings, config.bounds
    return LinkSettings(
        handshake_timeout_s=timings.handshake_timeout_ms / 1_000,
        reconnect_min_s=timings.reconnect_min_ms / 1_000,
        reconnect_max_s=timings.reconnect_max_ms / 1_000,
        frame_bytes_max=bounds.frame_bytes_max,
        buffer_bytes_max=max(bounds.peer_buffer_bytes_max, PEER_BUFFER_BYTES_MIN),
    )


def client_bounds(config: ClusterConfig) -> ClientBounds:
    """For the connections of clients."""
    timings, bounds = config.timings, config.bounds
    return ClientBounds(
        frame_bytes_max=bounds.frame_bytes_max,
        request_bytes_max=bounds.entry_bytes_max,
        request_commands_max=bounds.entry_requests_max,
        buffer_bytes_max=bounds.client_buffer_bytes_max,
        connections_max=bounds.connections_max,
        handshake_timeout_s=timings.handshake_timeout_ms / 1_000,
        idle_timeout_s=timings.idle_timeout_ms / 1_000,
        deadline_s=timings.request_deadline_ms / 1_000,
        read_age_max_s=timings.read_age_max_ms / 1_000,
    )

"""What each part of a node gets out of cluster.toml."""

from __future__ import annotations

from pathlib import Path

from raftbook.config import parse_config, render_config
from raftbook.node_settings import link_settings
from raftbook.replica import proposer, raft, shipping


def test_whatever_a_replica_sends_fits_the_smallest_frame_and_buffer_of_its_links() -> None:
    """Else the connection would end with each message, and the peer never be caught up."""
    text = render_config() + (
        "\n[bounds]\nframe_bytes_max = 65536\npeer_buffer_bytes_max = 65536\n"
        "client_buffer_bytes_max = 65536\nentry_bytes_max = 32767\n"
    )
    config = parse_config(text, Path("cluster.toml"))
    settings = link_settings(config)
    entry_bytes_max = config.bounds.entry_bytes_max
    overhead = 40 * max(raft.APPEND_ENTRIES_MAX, proposer.TURN_REQUESTS_MAX)
    assert settings.frame_bytes_max > raft.APPEND_BYTES_MAX + overhead
    assert settings.frame_bytes_max > proposer.FORWARD_BYTES_MAX + entry_bytes_max + overhead
    assert settings.frame_bytes_max > shipping.PIECE_BYTES + 8_192
    assert settings.buffer_bytes_max > raft.IN_FLIGHT_BYTES_MAX + settings.frame_bytes_max

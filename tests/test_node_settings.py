"""What each part of a node gets out of cluster.toml."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from raftbook.config import parse_config, render_config
from raftbook.node_settings import link_settings
from raftbook.replica.appends import IN_FLIGHT_BYTES_MAX


def test_whatever_a_leader_has_under_way_fits_the_smallest_buffer_of_a_link() -> None:
    """Else the connection would end with each message, and the peer never be caught up."""
    text = render_config() + (
        "\n[bounds]\nframe_bytes_max = 2097152\npeer_buffer_bytes_max = 2097152\n"
    )
    config = parse_config(text, Path("cluster.toml"))
    settings = link_settings(config)
    assert settings.buffer_bytes_max > IN_FLIGHT_BYTES_MAX + settings.frame_bytes_max


def test_a_node_takes_the_descriptors_that_it_may_have() -> None:
    program = (
        "import resource\n"
        "from raftbook.node import _allow_descriptors\n"
        "hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))\n"
        "_allow_descriptors()\n"
        "soft, after = resource.getrlimit(resource.RLIMIT_NOFILE)\n"
        "wanted = 65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536)\n"
        "assert soft == wanted and after == hard, (soft, after, hard)\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, 128))\n"
        "_allow_descriptors()\n"
        "assert resource.getrlimit(resource.RLIMIT_NOFILE) == (128, 128)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)

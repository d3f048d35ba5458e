"""Whether a node has an HTTP port, and what it says when it cannot."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import pytest

from raftbook import node_web
from raftbook.config import parse_config, render_config
from tests.gateway.door import Door, at_the_door


def made(door: Door, text: str) -> Any:
    config = parse_config(text, Path("cluster.toml"))
    return node_web.make_web_server(
        config,
        config.nodes[0],
        door.server,
        describe=lambda: {"members": []},
        cluster_secret=b"secret",
        secrets={},
        wall_ns=lambda: 0,
    )


def test_a_node_with_an_http_port_has_a_server(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        assert made(door, render_config()) is not None

    at_the_door(tmp_path, scene)


def test_a_node_without_an_http_port_has_none(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        assert made(door, re.sub("http_port = .*\n", "", render_config())) is None

    at_the_door(tmp_path, scene)


def test_a_node_without_the_packages_says_how_to_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    gone = ("uvicorn", "websockets")
    monkeypatch.setattr(node_web, "find_spec", lambda name: None if name in gone else object())

    async def scene(door: Door) -> None:
        with caplog.at_level(logging.WARNING, "raftbook.node"):
            assert made(door, render_config()) is None

    at_the_door(tmp_path, scene)
    (line,) = caplog.messages
    assert line == (
        "nothing listens on http_port 8001: uvicorn, websockets is not installed; "
        "install it with: pip install 'raftbook[gateway]'"
    )

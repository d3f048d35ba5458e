"""What `cluster status` says in the midst of an upgrade."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.cluster import engine_line
from cli.cluster_view import ClusterView, NodeView
from raftbook.config import load_config, render_config


@pytest.mark.parametrize(
    ("told", "line"),
    [
        ([(1, 1), (1, 1), (1, 1)], None),
        ([(2, 2), (2, 2), None], None),
        ([None, None, None], None),
        (
            [(1, 2), (1, 1), None],
            "engine version 1 is in force; node 1 has 2, node 2 has 1; "
            "it rises when every member has more",
        ),
        (
            [(2, 2), (1, 1), (2, 2)],  # node 2 was put back, and stopped before the switch
            "engine version 2 is in force; node 1 has 2, node 2 has 1, node 3 has 2; "
            "node 2 must be upgraded",
        ),
        (
            [(3, 3), (2, 2), (1, 1)],
            "engine version 3 is in force; node 1 has 3, node 2 has 2, node 3 has 1; "
            "node 2 and node 3 must be upgraded",
        ),
        (
            [(2, 3), (1, 1), None],
            "engine version 2 is in force; node 1 has 3, node 2 has 1; node 2 must be upgraded; "
            "it rises when every member has more",
        ),
    ],
)
def test_nodes_that_differ_are_told_apart(
    tmp_path: Path, told: list[tuple[int, int] | None], line: str | None
) -> None:
    (tmp_path / "cluster.toml").write_text(render_config())
    nodes = load_config(tmp_path / "cluster.toml").nodes
    names = ("engine_version", "engine_version_supported")
    statuses = [None if each is None else dict(zip(names, each, strict=True)) for each in told]
    views = (NodeView(node, status) for node, status in zip(nodes, statuses, strict=True))
    assert engine_line(ClusterView(tuple(views))) == line

"""The cluster of a demo: one of this machine that forgets nothing of what is told with it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from raftbook.config import AccountConfig, render_config
from raftbook.config_template import FIRST_BALANCES

from .demo_page import VISITOR
from .init import SECRET_NAME, free_nodes
from .local_cluster import LocalCluster

# Everything a demo does stays in the journals, so that at the end every order can be found there.
_BOUNDS: Final = """
[bounds]
entries_kept = 1000000
snapshot_every_entries = 10000000
snapshot_every_bytes = 4294967296
"""


def demo_cluster(node_count: int, account_names: list[str], directory: Path | None) -> LocalCluster:
    """Nodes of one demo, with an account for each trader; nothing is started yet.

    Args:
        directory: kept afterwards; None is a temporary one.

    Raises:
        CommandFailed: the folder holds a cluster already, or cannot be written.
    """
    accounts = [
        AccountConfig("demo", operator=True, balances=FIRST_BALANCES),
        AccountConfig(VISITOR, balances=FIRST_BALANCES),
        *(AccountConfig(name, balances=FIRST_BALANCES) for name in account_names),
    ]
    nodes = free_nodes(node_count)
    text = render_config(nodes=nodes, accounts=accounts, secret_file=SECRET_NAME)
    return LocalCluster("demo", text + _BOUNDS, directory, keeps_by="--dir")

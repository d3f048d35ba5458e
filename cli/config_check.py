"""`raftbook config check`: is the file right, and what would it start?

Owns the summary. Must not know the rules of the file: those are `raftbook.config`'s.
"""

from __future__ import annotations

from typing import Any

import click

from raftbook.config import ClusterConfig
from raftbook.config_shapes import decimal_text

from .groups import VerbGroup
from .invocation import Invocation, common_options, pass_invocation
from .output.printer import say
from .output.tables import plural, render_table


@click.group("config", cls=VerbGroup)
def config_group() -> None:
    """Look at cluster.toml."""


@config_group.command("check")
@common_options
@pass_invocation
def check(invocation: Invocation) -> None:
    """Read cluster.toml as a node would; exit 2 and say what is wrong if it would refuse."""
    config = invocation.config
    invocation.printer.show(_document(config), table=lambda: _summary(config))
    loopback = all(
        node.host.startswith("127.") or node.host in ("localhost", "::1") for node in config.nodes
    )
    if not config.secret_file.exists():
        what = (
            "the first node of a new cluster makes it, one with data will not start without it"
            if loopback
            else "no node will start without it; `raftbook init` in a new folder makes one"
        )
        say(f"warning: {config.secret_file} does not exist: {what}")
    open_accounts = [account.name for account in config.accounts if account.secret is None]
    if open_accounts and not loopback:
        say(
            f"warning: anyone who reaches a client port may use {', '.join(open_accounts)}; "
            "give [[accounts]] a secret"
        )


def _document(config: ClusterConfig) -> dict[str, Any]:
    return {
        "ok": True,
        "config": str(config.path),
        "cluster": config.name,
        "cluster_id": config.cluster_id,
        "data_dir": str(config.data_dir),
        "secret_file": str(config.secret_file),
        "default_account": config.default_account,
        "nodes": [
            {name: getattr(node, name) for name in ("node_id", "host", "raft_port", "client_port")}
            for node in config.nodes
        ],
        "instruments": [
            {
                "symbol": instrument.symbol,
                "base": instrument.base,
                "quote": instrument.quote,
                "tick_size": decimal_text(instrument.tick_size),
                "lot_size": decimal_text(instrument.lot_size),
            }
            for instrument in config.instruments
        ],
        "accounts": [
            {
                "name": account.name,
                "operator": account.operator,
                "has_secret": account.secret is not None,
            }
            for account in config.accounts
        ],
    }


def _summary(config: ClusterConfig) -> str:
    nodes = render_table(
        ("NODE", "HOST", "RAFT", "CLIENT"),
        [(node.node_id, node.host, node.raft_port, node.client_port) for node in config.nodes],
        right=("RAFT", "CLIENT"),
    )
    survives = (len(config.nodes) - 1) // 2
    return "\n".join(
        (
            f"{config.path}: cluster {config.name} ({config.cluster_id})",
            nodes,
            f"{plural(len(config.instruments), 'instrument')}, "
            f"{plural(len(config.accounts), 'account')}; "
            f"survives the loss of {plural(survives, 'node')}",
            "OK",
        )
    )

"""`raftbook node`: run one node of the cluster in the foreground.

Owns the options. Must not know how a node is built: that is `raftbook.node`.
"""

from __future__ import annotations

from pathlib import Path

import click

from .invocation import Invocation, common_options, pass_invocation
from .outcomes import CommandFailed, ExitCode
from .output.printer import say

SECRET_NAME = "cluster.secret"


@click.command()
@click.option("--id", "node_id", type=int, required=True, help="Which [[nodes]] entry to be.")
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where this node keeps its journal and snapshots. [default: from the configuration]",
)
@click.option(
    "--join",
    "member",
    metavar="HOST:PORT",
    help="As a new machine: get cluster.toml from the member with this raft_port, and write it. "
    "Only the cluster.secret must be here; say `raftbook cluster add` first.",
)
@click.option(
    "--log-format", type=click.Choice(("text", "json")), default="text", show_default=True
)
@common_options
@pass_invocation
def node(
    invocation: Invocation,
    node_id: int,
    data_dir: Path | None,
    member: str | None,
    log_format: str,
) -> None:
    """Run one node until it is interrupted."""
    # Here and not above: whoever only wants to ask a node should not load Raft.
    from raftbook.node import run

    if member is not None:
        _join(invocation, node_id, member)
    config = invocation.config
    config.node(node_id)
    code = run(config, node_id, data_dir=data_dir, log_format=log_format)
    if code:
        raise CommandFailed(ExitCode(code))


def _join(invocation: Invocation, node_id: int, member: str) -> None:
    """Write cluster.toml, unless it is there from an earlier start with the same command."""
    from raftbook.node_join import join

    path = invocation.new_config_path
    if path.exists():
        say(f"{path} is there already: nothing was asked of {member}")
        return
    config = join(path, node_id, invocation.parse_address(member), path.parent / SECRET_NAME)
    say(f"wrote {path}: node {node_id} of cluster {config.name}")

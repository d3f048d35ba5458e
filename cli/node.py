"""`raftbook node`: run one node of the cluster in the foreground.

Owns the options. Must not know how a node is built: that is `raftbook.node`.
"""

from __future__ import annotations

from pathlib import Path

import click

from .invocation import Invocation, common_options, pass_invocation
from .outcomes import CommandFailed, ExitCode


@click.command()
@click.option("--id", "node_id", type=int, required=True, help="Which [[nodes]] entry to be.")
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where this node keeps its journal and snapshots. [default: from the configuration]",
)
@click.option(
    "--log-format", type=click.Choice(("text", "json")), default="text", show_default=True
)
@common_options
@pass_invocation
def node(invocation: Invocation, node_id: int, data_dir: Path | None, log_format: str) -> None:
    """Run one node until it is interrupted."""
    # Here and not above: whoever only wants to ask a node should not load Raft.
    from raftbook.node import run

    config = invocation.config
    config.node(node_id)
    code = run(config, node_id, data_dir=data_dir, log_format=log_format)
    if code:
        raise CommandFailed(ExitCode(code))

"""`raftbook node`: run one node of the cluster in the foreground.

Owns the options. Must not know how a node is built: that is `raftbook.node`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import click

from raftbook.errors import NoNodeReachable, ProtocolError
from raftbook.storage.directory import JOURNAL_NAME

from .invocation import Invocation, common_options, pass_invocation
from .outcomes import CommandFailed, ExitCode
from .output.printer import say

SECRET_NAME = "cluster.secret"

_NODE_DIRECTORY: Final = re.compile(r"node-[0-9]+")


@click.command()
@click.option("--id", "node_id", type=int, required=True, help="Which [[nodes]] entry to be.")
@click.option(
    "--data-dir",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Instead of data_dir in cluster.toml: the node's files are in DIR/node-ID.",
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
    if data_dir is not None:
        _check_data_dir(data_dir, node_id)
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
    try:
        config = join(path, node_id, invocation.parse_address(member), path.parent / SECRET_NAME)
    except (NoNodeReachable, ProtocolError) as error:
        hint = "give the ADDRESS of a member that `raftbook cluster status` shows: its raft_port"
        raise CommandFailed(ExitCode.UNREACHABLE, f"--join {member}: {error}", hint=hint) from None
    say(f"wrote {path}: node {node_id} of cluster {config.name}")


def _check_data_dir(data_dir: Path, node_id: int) -> None:
    """Refuses a node's own directory: a fresh one inside it would be another, empty, node."""
    is_journal = (data_dir / JOURNAL_NAME).exists()
    if is_journal or _NODE_DIRECTORY.fullmatch(data_dir.name):
        why = f"holds {JOURNAL_NAME} itself" if is_journal else "is named as one node's directory"
        raise click.UsageError(
            f"--data-dir {data_dir} {why}; name the folder above it, "
            f"where node {node_id} has node-{node_id}: --data-dir {data_dir.parent}"
        )

"""What the verbs of `raftbook log` have in common: a directory, its cluster, an index in reach.

Owns the refusals that say what to name instead. Must not know what is asked of a directory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from raftbook.core.exchange import Exchange, Genesis
from raftbook.storage.directory import JOURNAL_NAME

from .invocation import Invocation
from .outcomes import CommandFailed, ExitCode
from .output.printer import say

if TYPE_CHECKING:
    from .data_directory import DataDirectory

SNAPSHOTS_NAME = "snapshots"

directory_argument = click.argument(
    "directory", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path)
)


def index_option(*names: str, says: str) -> Callable[[Any], Any]:
    """An option that names an entry."""
    return click.option(*names, type=click.IntRange(min=1), metavar="INDEX", help=says)


def name_and_directory(words: Sequence[str], what: str) -> tuple[str | None, Path]:
    """`[NAME] DIR` of a command line: a directory, and a name that may be left out."""
    if not 1 <= len(words) <= 2:
        raise click.UsageError(f"give a directory, and before it {what}")
    directory = Path(words[-1])
    if not directory.is_dir():
        raise click.UsageError(f"there is no directory {words[-1]}; it comes last")
    return (words[0] if len(words) == 2 else None), directory


def open_directory(directory: Path) -> DataDirectory:
    """A node's data directory; a usage error says which one to name instead."""
    # Here and not above: it loads Raft, which no other verb of a plain client needs.
    from .data_directory import DataDirectory

    if not (directory / JOURNAL_NAME).exists():
        inner = sorted(path.parent.name for path in directory.glob(f"*/{JOURNAL_NAME}"))
        if inner:
            raise click.UsageError(f"{directory} holds {', '.join(inner)}: name one of them")
        # A node's directory that lost its journal is for DataDirectory to explain.
        if not (directory / SNAPSHOTS_NAME).is_dir():
            raise click.UsageError(
                f"{directory} is no node's directory, it holds no {JOURNAL_NAME}: "
                "name one such as data/node-1"
            )
    return DataDirectory(directory)


def genesis_for(invocation: Invocation, source: DataDirectory) -> Genesis:
    """What the directory's cluster began with, from its cluster.toml."""
    from raftbook.genesis import genesis_of

    config = invocation.config
    if config.cluster_id != source.identity.cluster_id:
        raise CommandFailed(
            ExitCode.USAGE,
            f"{source.directory} is of cluster {source.identity.cluster_id!r}, "
            f"{config.path} describes {config.cluster_id!r}",
            hint="name its cluster.toml with --config",
        )
    return genesis_of(config)


def exchange_at(
    invocation: Invocation, directory: Path, index: int | None
) -> tuple[DataDirectory, Exchange, int]:
    """The exchange as it was after an entry, by default the last one, and that entry's index."""
    source = open_directory(directory)
    genesis = genesis_for(invocation, source)
    at = source.last if index is None else index
    source.check_reach(at, option="--at")
    exchange = source.machine_at(at, genesis).exchange
    say_skipped(source)
    return source, exchange, at


def say_skipped(source: DataDirectory) -> None:
    """Which snapshots could not be used."""
    for name, problem in source.skipped.items():
        say(f"passed over {name}: {problem}")

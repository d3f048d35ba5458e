"""`raftbook log`: read data directories of stopped nodes.

Owns the group, dump, digest and diff, and the search for the first difference. Must not know files:
`data_directory.py`.
"""

from __future__ import annotations

from functools import partial
from itertools import starmap
from pathlib import Path
from typing import TYPE_CHECKING

import click

from raftbook.core.exchange import Genesis
from raftbook.storage.journal_file import FIRST_INDEX

from .groups import VerbGroup
from .invocation import Invocation, common_options, pass_invocation
from .log_changes import show_changes
from .log_entries import EntryReader, entry_text
from .log_past import balances, book, order
from .log_source import (
    directory_argument,
    genesis_for,
    index_option,
    open_directory,
    say_skipped,
)
from .log_story import explain
from .outcomes import CommandFailed, ExitCode

if TYPE_CHECKING:
    from .data_directory import DataDirectory

until_option = index_option("--until", says="Stop after this entry.")


@click.group("log", cls=VerbGroup)
def log() -> None:
    """Read the data directories of stopped nodes.

    Nothing in them is changed. The last entries of a node that crashed may be ones that the
    cluster later replaced: the journal does not say how far it was committed.
    """


for verb in (book, order, balances, explain):
    log.add_command(verb)


@log.command("dump")
@directory_argument
@click.option("--from", "first", type=click.IntRange(min=1), metavar="INDEX", help="Start here.")
@until_option
@click.option(
    "--raw", is_flag=True, help="Only what was asked: needs no replay and no cluster.toml."
)
@common_options
@pass_invocation
def dump(
    invocation: Invocation, directory: Path, first: int | None, until: int | None, raw: bool
) -> None:
    """Print each entry: what was asked, and what the book answered."""
    source = open_directory(directory)
    last = min(until or source.last, source.last)
    reader = EntryReader()
    show = partial(invocation.printer.show_each, key="entries", text=entry_text)
    if raw:
        show(map(reader.asked, source.entries(first or 1, last)))
        return
    genesis = genesis_for(invocation, source)
    low, _ = source.reach
    # What an entry did can be told only from the state before it.
    start = max(first or 1, source.first, low + 1)
    if first is not None and start > max(first, FIRST_INDEX + 1):
        raise CommandFailed(
            ExitCode.USAGE,
            f"{directory}: entries before {start} are compacted away",
            hint=f"start with --from {start}",
        )
    show(starmap(reader.done, source.replay(start, last, genesis)))
    say_skipped(source)


@log.command("digest")
@directory_argument
@until_option
@common_options
@pass_invocation
def digest(invocation: Invocation, directory: Path, until: int | None) -> None:
    """Rebuild the book as it was after entry --until (default: the last) and print its digest."""
    source = open_directory(directory)
    genesis = genesis_for(invocation, source)
    index = source.last if until is None else until
    source.check_reach(index)
    exchange = source.machine_at(index, genesis).exchange
    document = {
        "index": index,
        "digest": exchange.digest.value(),
        "node_id": source.identity.node_id,
        "instruments": len(exchange.books),
        "resting_orders": sum(book.resting_count for book in exchange.books.values()),
    }
    say_skipped(source)
    invocation.printer.show(
        document,
        table=lambda: (
            f"index {index}: {document['digest']}  ({document['instruments']} instruments, "
            f"{document['resting_orders']} resting orders)"
        ),
    )


@log.command("diff")
@click.argument(
    "directories",
    metavar="DIR...",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
)
@until_option
@index_option("--from", "since", says="With one DIR: what changed after this entry ...")
@index_option("--to", says="... up to this one. [default: the last]")
@common_options
@pass_invocation
def diff(
    invocation: Invocation,
    directories: tuple[Path, ...],
    until: int | None,
    since: int | None,
    to: int | None,
) -> None:
    """Find the first index at which directories differ; exit 6 if there is one.

    Of one directory, show what changed between two entries: books, orders and balances.
    """
    if since is not None or to is not None:
        if len(directories) != 1 or since is None or until is not None:
            raise click.UsageError("--from INDEX and --to INDEX go with one directory")
        show_changes(invocation, directories[0], since, to)
        return
    if len(directories) < 2:
        raise click.UsageError(
            "diff needs two directories, or one with --from INDEX: what changed in it"
        )
    sources = [open_directory(directory) for directory in directories]
    genesis = genesis_for(invocation, sources[0])
    last = min(source.last for source in sources)
    last = last if until is None else min(last, until)
    found = next(
        (
            difference
            for other in sources[1:]
            if (difference := _difference(sources[0], other, last, genesis)) is not None
        ),
        None,
    )
    document = {
        "equal": found is None,
        "index": found[0] if found else None,
        "reason": found[1] if found else None,
        "last_common_index": last,
        "directories": [
            {"directory": str(source.directory), "node_id": source.identity.node_id,
             "first": source.first, "last": source.last}
            for source in sources
        ],
    }  # fmt: skip
    for source in sources:
        say_skipped(source)
    invocation.printer.show(
        document,
        table=lambda: (
            f"equal up to index {last}" if found is None else f"index {found[0]}: {found[1]}"
        ),
    )
    if found is not None:
        raise CommandFailed(ExitCode.DIFFERENT)


Difference = tuple[int, str]


def _difference(
    one: DataDirectory, other: DataDirectory, last: int, genesis: Genesis
) -> Difference | None:
    """The first index where two directories differ, in their logs or in what these lead to."""
    if one.identity.cluster_id != other.identity.cluster_id:
        raise CommandFailed(
            ExitCode.USAGE,
            f"log diff: {one.directory} is of cluster {one.identity.cluster_id!r}, "
            f"{other.directory} of {other.identity.cluster_id!r}",
            hint="name directories of one cluster",
        )
    names = f"{one.directory} and {other.directory}"
    first = max(one.first, other.first)
    for mine, theirs in zip(one.entries(first, last), other.entries(first, last), strict=True):
        if mine.term != theirs.term:
            terms = f"term {mine.term} and term {theirs.term}"
            return mine.index, f"{names} hold different entries ({terms})"
        if mine.payload != theirs.payload:
            return mine.index, f"{names} hold different entries of term {mine.term}"
    low = max(one.reach[0], other.reach[0])
    if low > last:
        return None
    if _digest_at(one, last, genesis) == _digest_at(other, last, genesis):
        return None
    # Equal entries, unequal books: the states they began with differ.
    at = low if _digest_at(one, low, genesis) != _digest_at(other, low, genesis) else last
    return at, f"{names} hold the same entries but different books"


def _digest_at(source: DataDirectory, index: int, genesis: Genesis) -> str:
    return source.machine_at(index, genesis).exchange.digest.value()

"""Journals for the tests of this folder: how to open one, what it says, and its files as bytes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from raftbook.storage.journal import Journal, JournalIdentity

IDENTITY = JournalIdentity(cluster_id="test-cluster", node_id=1, genesis_digest="ab12")
FILES = ("journal.sqlite3", "journal.sqlite3-wal", "journal.witness")


class State(NamedTuple):
    """All that a journal promises to remember."""

    entries: list[tuple[bytes, int, int]]
    term: int
    voted_for: int | None


def open_journal(directory: Path, identity: JournalIdentity = IDENTITY) -> Journal:
    return Journal.open(directory, identity, incarnation="c0ffee")


def state_of(journal: Journal) -> State:
    journal.check()
    return State(list(journal.entries), journal.term, journal.voted_for)


def reopened_state(directory: Path) -> State:
    journal = open_journal(directory)
    try:
        return state_of(journal)
    finally:
        journal.close()


def append(journal: Journal, *payloads: bytes, term: int = 1) -> None:
    for payload in payloads:
        journal.append(payload, journal.last_index + 1, term)


def in_a_process_that_dies(action: Callable[[], None]) -> None:
    """Runs `action` in a child that ends without closing anything, as by kill -9."""
    child = os.fork()
    if child == 0:
        try:
            action()
        finally:
            os._exit(0)
    os.waitpid(child, 0)


def files_in(directory: Path) -> dict[str, bytes]:
    """The journal's files as a crash would leave them now, with the page cache intact."""
    return {name: (directory / name).read_bytes() for name in FILES if (directory / name).exists()}


def put_files(directory: Path, files: dict[str, bytes]) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    for name, content in files.items():
        (directory / name).write_bytes(content)


def flipped(content: bytes, offset: int, bit: int) -> bytes:
    changed = bytearray(content)
    changed[offset] ^= 1 << bit
    return bytes(changed)

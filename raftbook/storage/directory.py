"""Which files a node's data directory holds, and whether the set of them makes sense.

Owns the names. Must not know what is inside the files.
"""

from __future__ import annotations

from pathlib import Path

from raftbook.storage.failures import damaged

JOURNAL_NAME = "journal.sqlite3"
WAL_NAME = "journal.sqlite3-wal"  # SQLite's own, beside the journal
WITNESS_NAME = "journal.witness"
SNAPSHOT_GLOB = "snapshot-*.raftbook"


def check_directory(directory: Path) -> None:
    """Refuses a directory from which a file has gone; an absent or empty one is a fresh node's.

    A node that lost its journal has forgotten its vote and what it acknowledged: to go on with an
    empty one could lose orders that a client was told are safe.

    Raises:
        StorageError: names the file that is missing.
    """
    journal = directory / JOURNAL_NAME
    witness = directory / WITNESS_NAME
    if journal.exists():
        if not witness.exists():
            raise damaged(witness, f"missing, although {JOURNAL_NAME} is there")
        return
    if (directory / WAL_NAME).exists():
        raise damaged(journal, f"missing, although {WAL_NAME} is there")
    snapshot = next(directory.rglob(SNAPSHOT_GLOB), None)
    if snapshot is not None:
        raise damaged(journal, f"missing, although the snapshot {snapshot.name} is there")

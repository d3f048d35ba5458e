"""The Raft log, term and vote of one node: a list in memory, a SQLite file under it.

Owns what is durable and when: every change is seen at once, and is on disk when `sync` returns,
one transaction and one fsync however many changes there were. Must not know Raft's rules, what an
entry contains, or who reads it. A forked child must not touch a journal of its parent.

    entries    [base | kept on disk ... | appended, not synced ...]
    file       [deleted later, bit by bit | kept ... | dropped at the next sync]
"""

from __future__ import annotations

import secrets
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from raftbook.errors import StorageError
from raftbook.storage.atomic import create_directory, fsync_directory
from raftbook.storage.directory import JOURNAL_NAME, WAL_NAME, WITNESS_NAME, check_directory
from raftbook.storage.failures import REJOIN, damaged, explain
from raftbook.storage.journal_file import (
    FORMAT_VERSION,
    PAGE_BYTES,
    HardState,
    JournalContents,
    JournalIdentity,
    RawEntry,
    connect,
    create_journal_file,
    entry_crc,
    load,
    read_journal,
)
from raftbook.storage.log_store import LogStore
from raftbook.storage.wal import check_wal
from raftbook.storage.witness import Witness

__all__ = ["Journal", "JournalContents", "JournalIdentity", "LogStore", "read_journal"]

# When the write-ahead log is folded into the file, inside a sync. Measured over 6,000 syncs of one
# 8 KB entry on a virtual disk (µs; the pause is that of one checkpoint):
#       1 MiB   p50 150   p99 1,250   pause  1 ms, in every 50th sync
#       4 MiB   p50 150   p99   350   pause  3 ms, in every 200th
#      16 MiB   p50 160   p99   400   pause 11 ms
#      64 MiB   p50 190   p99   370   pause 38 ms
# 4 MiB is the largest whose pause no heartbeat notices and the smallest that leaves the p99 alone.
# The p50 grows with the log because a log that is written over in place syncs faster than one
# that grows; for the same reason journal_size_limit stays above this.
CHECKPOINT_WAL_BYTES = 4 * 1024 * 1024

# A trim of 20,000 entries must not stall a commit: every sync deletes this many old rows, and two
# more per row that it adds, so that the deleting always overtakes the adding. Measured while 20,000
# entries of 8 KB go, one added per sync: 32 rows p50 290 µs, p99 0.9 ms; 64 rows 350 µs, 1.8 ms.
TRIM_ROWS_PER_SYNC = 32


class Journal:
    """One node's log on disk. Use `Journal.open`; fulfils LogStore, which says what calls do."""

    __slots__ = (
        "_connection",
        "_crcs",
        "_failure",
        "_garbage_last",
        "_kept_last",
        "_oldest_row",
        "_path",
        "_row_last",
        "_state_changed",
        "_sync_seq",
        "_wal_bytes",
        "_witness",
        "bytes_in_tail",
        "entries",
        "identity",
        "incarnation",
        "term",
        "voted_for",
    )

    @classmethod
    def open(
        cls, directory: Path, identity: JournalIdentity, *, incarnation: str | None = None
    ) -> Journal:
        """Opens the journal in `directory`, or creates both; what is there is checked in full.

        Args:
            incarnation: for a journal that is created; random when None.

        Raises:
            StorageError: damaged, incomplete, in use, or not this identity's.
        """
        path = directory / JOURNAL_NAME
        try:
            create_directory(directory)
            check_directory(directory)
            witness = Witness(directory / WITNESS_NAME, writable=True)
        except OSError as error:
            raise explain(directory, error) from error
        try:
            if not path.exists():
                if witness.sync_seq > 0:
                    raise damaged(path, f"missing, although {WITNESS_NAME} knows it")
                incarnation = incarnation or secrets.token_hex(16)
                create_journal_file(path, identity, incarnation, witness)
            return cls._open_existing(path, identity, witness)
        except (OSError, sqlite3.Error) as error:
            witness.close()
            raise explain(path, error) from error
        except BaseException:
            witness.close()
            raise

    @classmethod
    def _open_existing(cls, path: Path, identity: JournalIdentity, witness: Witness) -> Journal:
        check_wal(path.with_name(WAL_NAME))  # before SQLite, which deletes that file when it closes
        connection = connect(path)
        try:
            contents = load(connection, path)
            witness.check(contents.incarnation, contents.sync_seq)
            _check_identity(path, contents.identity, identity)
            # What was just read may stand only in the page cache, left by a killed process: write
            # it through before anybody acts on it, and its name. It also gives the log a new
            # generation, which wal.py relies on.
            _checkpoint(connection, "TRUNCATE")
            fsync_directory(path.parent)
            # A file that cannot be written must stop the node now, not at its first vote. Only
            # after the checkpoint: it must not be written over a torn end of the old generation.
            connection.execute(f"PRAGMA user_version={FORMAT_VERSION}")
            connection.execute(f"PRAGMA journal_size_limit={2 * CHECKPOINT_WAL_BYTES}")
            witness.record(contents.sync_seq)
            return cls(path, connection, witness, contents)
        except BaseException:
            connection.close()
            raise

    def __init__(
        self,
        path: Path,
        connection: sqlite3.Connection,
        witness: Witness,
        contents: JournalContents,
    ) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = connection
        self._witness = witness
        self._failure: StorageError | None = None
        self.identity = contents.identity
        self.incarnation = contents.incarnation
        self.entries: list[RawEntry] = contents.entries
        self.term = contents.hard_state.term
        self.voted_for = contents.hard_state.voted_for
        self.bytes_in_tail = sum(len(payload) for payload, _, _ in self.entries)
        self._crcs = contents.crcs  # of the row of each entry, in step with `entries`
        self._sync_seq = contents.sync_seq  # the last transaction on disk
        self._state_changed = False  # term, vote or base
        self._row_last = self.last_index  # the highest row in the file
        self._kept_last = self.last_index  # rows up to here are as in memory, or under the base
        self._oldest_row = contents.oldest_row  # no row is below
        self._garbage_last = self.base_index  # rows up to here are only waiting to be deleted
        self._wal_bytes = 0

    @property
    def base_index(self) -> int:
        return self.entries[0][1]

    @property
    def base_term(self) -> int:
        return self.entries[0][2]

    @property
    def last_index(self) -> int:
        return self.entries[-1][1]

    @property
    def last_term(self) -> int:
        return self.entries[-1][2]

    @property
    def dirty(self) -> bool:
        return (
            self._state_changed
            or self._kept_last < self._row_last
            or self.last_index > max(self._kept_last, self.base_index)
        )

    def append(self, payload: bytes, index: int, term: int) -> None:
        self._refuse_if_failed()
        assert index == self.last_index + 1, (index, self.last_index)
        assert term >= self.last_term, (term, self.last_term)
        assert type(payload) is bytes, type(payload)
        crc = entry_crc(
            payload,
            index=index,
            term=term,
            sync_seq=self._sync_seq + 1,
            previous_crc=self._crcs[-1],
        )
        self.entries.append((payload, index, term))
        self._crcs.append(crc)
        self.bytes_in_tail += len(payload)

    def truncate_from(self, index: int) -> None:
        """Costs the dropped entries, and deletes their rows in the next sync."""
        self._refuse_if_failed()
        assert index > self.base_index, (index, self.base_index)
        position = index - self.base_index
        self.bytes_in_tail -= sum(len(payload) for payload, _, _ in self.entries[position:])
        del self.entries[position:]
        del self._crcs[position:]
        self._kept_last = min(self._kept_last, index - 1)

    def trim_to(self, index: int) -> None:
        """Costs the tail in memory; the rows are deleted a few at a time by later syncs."""
        self._refuse_if_failed()
        assert self.base_index <= index <= self.last_index, (index, self.base_index)
        position = index - self.base_index
        if position == 0:
            return
        term = self.entries[position][2]
        self.bytes_in_tail -= sum(len(payload) for payload, _, _ in self.entries[: position + 1])
        self.entries[: position + 1] = [(b"", index, term)]
        del self._crcs[:position]
        self._base_moved()

    def reset(self, index: int, term: int) -> None:
        self._refuse_if_failed()
        assert index >= self.base_index, (index, self.base_index)
        assert term >= self.base_term, (term, self.base_term)
        self.entries[:] = [(b"", index, term)]
        self._crcs[:] = [0]
        self.bytes_in_tail = 0
        self._kept_last = min(self._kept_last, index)
        self._base_moved()

    def set_vote(self, term: int, voted_for: int | None) -> None:
        self._refuse_if_failed()
        assert term >= self.term, (term, self.term)
        assert voted_for is None or voted_for >= 0, voted_for
        if (term, voted_for) == (self.term, self.voted_for):
            return
        # 0 is nobody: it may take the place of a vote, and a vote may take its place.
        may_change = voted_for is not None and (voted_for == 0 or not self.voted_for)
        assert term > self.term or may_change, (term, self.voted_for, voted_for)
        self.term = term
        self.voted_for = voted_for
        self._state_changed = True

    def sync(self) -> bool:
        """One transaction, synced by SQLite before it returns; then the witness."""
        self._refuse_if_failed()
        if not self.dirty:
            return False
        assert self.last_term <= self.term, (self.last_term, self.term)
        try:
            self._commit()
            self._witness.record(self._sync_seq)
            if self._wal_bytes >= CHECKPOINT_WAL_BYTES:
                self._witness.sync()
                _checkpoint(self._open_connection, "PASSIVE")
                self._wal_bytes = 0
        except (sqlite3.Error, OSError) as error:
            self._fail(error)
        return True

    def close(self) -> None:
        if self._connection is None:
            return
        connection, self._connection = self._connection, None
        connection.close()
        try:
            self._witness.sync()
        except OSError as error:
            if self._failure is None:
                raise explain(self._path, error) from error
        finally:
            self._witness.close()

    def check(self) -> None:
        """Asserts that the parts of this object agree. Costs the tail."""
        indexes = [index for _, index, _ in self.entries]
        assert indexes == list(range(self.base_index, self.last_index + 1)), indexes
        terms = [term for _, _, term in self.entries]
        assert terms == sorted(terms), terms
        assert self.entries[0][0] == b"", self.entries[0]
        assert len(self._crcs) == len(self.entries), (len(self._crcs), len(self.entries))
        held = sum(len(payload) for payload, _, _ in self.entries)
        assert self.bytes_in_tail == held, (self.bytes_in_tail, held)
        assert self._kept_last <= self._row_last, (self._kept_last, self._row_last)
        assert self._garbage_last <= self.base_index, (self._garbage_last, self.base_index)

    @property
    def _open_connection(self) -> sqlite3.Connection:
        assert self._connection is not None, f"{self._path} is closed"
        return self._connection

    def _commit(self) -> None:
        """Brings the file to what memory says; rows appended since have sync_seq + 1 in them."""
        execute = self._open_connection.execute
        sync_seq = self._sync_seq + 1
        first = max(self._kept_last, self.base_index) + 1 - self.base_index
        rows = [
            (index, term, sync_seq, crc, payload)
            for (payload, index, term), crc in zip(
                self.entries[first:], self._crcs[first:], strict=True
            )
        ]
        execute("BEGIN IMMEDIATE")
        if self._kept_last < self._row_last:
            execute("DELETE FROM entries WHERE entry_index > ?", (self._kept_last,))
        self._delete_garbage(TRIM_ROWS_PER_SYNC + 2 * len(rows))
        if rows:
            self._open_connection.executemany("INSERT INTO entries VALUES (?, ?, ?, ?, ?)", rows)
        if self._state_changed or not rows:  # every transaction leaves its number somewhere
            base_crc = self._crcs[0]
            state = HardState(
                self.term, self.voted_for, self.base_index, self.base_term, base_crc, sync_seq
            )
            execute(
                "UPDATE hard_state SET term = ?, voted_for = ?, base_index = ?, base_term = ?,"
                " base_crc = ?, sync_seq = ?, crc = ?",
                state.row(),
            )
        execute("COMMIT")
        self._sync_seq = sync_seq
        self._kept_last = self._row_last = self.last_index
        self._state_changed = False
        # Near enough: it only decides when to checkpoint.
        self._wal_bytes += sum(len(row[4]) for row in rows) + 3 * PAGE_BYTES

    def _delete_garbage(self, rows_max: int) -> None:
        if self._oldest_row > self._garbage_last:
            return
        last = min(self._garbage_last, self._oldest_row + rows_max - 1)
        self._open_connection.execute(
            "DELETE FROM entries WHERE entry_index BETWEEN ? AND ?", (self._oldest_row, last)
        )
        self._oldest_row = last + 1 if last < self._garbage_last else self.base_index + 1

    def _base_moved(self) -> None:
        self._garbage_last = max(self._garbage_last, min(self.base_index, self._row_last))
        self._state_changed = True

    def _refuse_if_failed(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _fail(self, error: sqlite3.Error | OSError) -> NoReturn:
        self._failure = explain(self._path, error)
        try:
            self._open_connection.execute("ROLLBACK")
        except sqlite3.Error:
            pass  # SQLite has rolled back by itself, or cannot any more; the node stops either way
        raise self._failure from error


def _checkpoint(connection: sqlite3.Connection, mode: str) -> None:
    """Moves the write-ahead log into the file; both are synced."""
    busy, _, _ = connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
    assert busy == 0, f"a checkpoint met another user of an exclusively locked file: {busy}"


def _check_identity(path: Path, found: JournalIdentity, wanted: JournalIdentity) -> None:
    if found == wanted:
        return
    if (found.cluster_id, found.node_id) == (wanted.cluster_id, wanted.node_id):
        raise StorageError(
            path=str(path.parent),
            reason="was begun with other [[currencies]], [[instruments]], [[accounts]] or starred "
            f"bounds than cluster.toml has now (genesis {found.genesis_digest}, not "
            f"{wanted.genesis_digest})",
            remedy="put back what was edited; once a cluster has begun these are changed on all "
            "nodes at once, with raftbook instrument, currency and account",
        )
    raise StorageError(
        path=str(path.parent),
        reason=f"belongs to {_describe(found)}, this is {_describe(wanted)}",
        remedy=f"name the directory of this node in the configuration, or {REJOIN}",
    )


def _describe(identity: JournalIdentity) -> str:
    return (
        f"node {identity.node_id} of cluster {identity.cluster_id!r}"
        f" (genesis {identity.genesis_digest})"
    )


if TYPE_CHECKING:
    _fulfils: type[LogStore] = Journal

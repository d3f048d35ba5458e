"""The SQLite file of a journal: its tables, its checksums, and the reading that trusts nothing.

Owns the schema and every check at opening. Must not know how a running journal changes: that is
journal.py. Nothing is ever repaired here: a file is right in every detail, or it is refused.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import struct
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raftbook.errors import StorageError
from raftbook.storage.atomic import rename_durably
from raftbook.storage.directory import JOURNAL_NAME, WAL_NAME, WITNESS_NAME, check_directory
from raftbook.storage.failures import REJOIN, damaged, explain
from raftbook.storage.wal import check_wal
from raftbook.storage.witness import Witness

FORMAT_VERSION = 1
PAGE_BYTES = 4096  # measured: 8 and 16 KiB pages commit an 8 KB entry 5 to 20 % slower
FIRST_INDEX = 1  # PySyncObj starts every log with one entry, index 1 of term 0
FIRST_TERM = 0

_APPLICATION_ID = 0x52424A31  # "RBJ1", shown by file(1)
_SCHEMA = {
    "identity": (
        "CREATE TABLE identity (format INTEGER, cluster_id TEXT, node_id INTEGER,"
        " genesis_digest TEXT, incarnation TEXT, crc INTEGER)"
    ),
    "hard_state": (
        "CREATE TABLE hard_state (term INTEGER, voted_for INTEGER, base_index INTEGER,"
        " base_term INTEGER, base_crc INTEGER, sync_seq INTEGER, crc INTEGER)"
    ),
    "entries": (
        "CREATE TABLE entries (entry_index INTEGER PRIMARY KEY, term INTEGER,"
        " sync_seq INTEGER, crc INTEGER, payload BLOB)"
    ),
}
_INT_MAX = 2**63 - 1

RawEntry = tuple[bytes, int, int]  # payload, index, term: the shape that PySyncObj slices


@dataclass(frozen=True, slots=True)
class JournalIdentity:
    """Whose journal this is; fixed when the file is created."""

    cluster_id: str
    node_id: int
    genesis_digest: str  # hex


@dataclass(frozen=True, slots=True)
class HardState:
    """What Raft must never forget, and where the log begins."""

    term: int
    voted_for: int | None
    base_index: int
    base_term: int
    base_crc: int  # the checksum of the base's row, from which the next row's goes on
    sync_seq: int  # the transaction that wrote this row

    def row(self) -> tuple[int | None, ...]:
        """The columns of the table, checksum last."""
        columns = (self.base_index, self.base_term, self.base_crc, self.sync_seq)
        voted_for = -1 if self.voted_for is None else self.voted_for
        crc = zlib.crc32(struct.pack(">QqQQQQ", self.term, voted_for, *columns))
        return (self.term, self.voted_for, *columns, crc)


@dataclass(frozen=True, slots=True)
class JournalContents:
    """All that a journal says: read once, checked in full."""

    identity: JournalIdentity
    incarnation: str
    hard_state: HardState
    entries: list[RawEntry]  # entries[0] is the base, its payload dropped
    crcs: list[int]  # one per entry, the base's first
    oldest_row: int  # the lowest index with a row: below the base lies what is not yet deleted
    sync_seq: int  # the last committed transaction


def entry_crc(payload: bytes, *, index: int, term: int, sync_seq: int, previous_crc: int) -> int:
    """The checksum of one row. It goes on from the row before, so a stale page cannot fit in."""
    return zlib.crc32(payload, zlib.crc32(struct.pack(">4Q", index, term, sync_seq, previous_crc)))


def read_journal(directory: Path) -> JournalContents:
    """Reads the journal of a stopped node without changing a byte of its directory.

    Works on a copy in the system's temporary folder, because SQLite folds its write-ahead log into
    the file whenever it closes one.

    Raises:
        StorageError: no journal there, its node is running, or it is damaged.
    """
    check_directory(directory)
    if not (directory / JOURNAL_NAME).exists():
        raise StorageError(
            path=str(directory), reason="holds no journal", remedy="name a node's data directory"
        )
    witness = Witness(directory / WITNESS_NAME, writable=False)
    try:
        check_wal(directory / WAL_NAME)
        with tempfile.TemporaryDirectory(prefix="raftbook-journal-") as copy:
            for name in (JOURNAL_NAME, WAL_NAME):
                if (directory / name).exists():
                    shutil.copyfile(directory / name, Path(copy, name))
            connection = connect(Path(copy, JOURNAL_NAME), blame=directory / JOURNAL_NAME)
            try:
                contents = load(connection, directory / JOURNAL_NAME)
            finally:
                connection.close()
        witness.check(contents.incarnation, contents.sync_seq)
        return contents
    except OSError as error:
        raise explain(directory, error) from error
    finally:
        witness.close()


def create_journal_file(
    path: Path, identity: JournalIdentity, incarnation: str, witness: Witness
) -> None:
    """Makes a fresh journal appear at `path`, whole and durable, its witness before it."""
    building = path.with_name(path.name + ".building")
    for leftover in path.parent.glob(building.name + "*"):
        leftover.unlink()
    connection = sqlite3.connect(building, isolation_level=None)
    try:
        connection.execute(f"PRAGMA page_size={PAGE_BYTES}")
        connection.execute("BEGIN")
        connection.execute(f"PRAGMA application_id={_APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version={FORMAT_VERSION}")
        for statement in _SCHEMA.values():
            connection.execute(statement)
        row = _identity_row(identity, incarnation)
        connection.execute("INSERT INTO identity VALUES (?, ?, ?, ?, ?, ?)", row)
        state = HardState(FIRST_TERM, None, FIRST_INDEX, FIRST_TERM, base_crc=0, sync_seq=1)
        connection.execute("INSERT INTO hard_state VALUES (?, ?, ?, ?, ?, ?, ?)", state.row())
        connection.execute("COMMIT")
    finally:
        connection.close()
    building.chmod(0o600)
    descriptor = os.open(building, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    witness.start(incarnation)
    rename_durably(building, path)


def connect(path: Path, *, blame: Path | None = None) -> sqlite3.Connection:
    """A connection that owns the file alone and syncs at every commit.

    Args:
        blame: the file that errors name, where `path` is only a copy of it.

    Raises:
        StorageError: another process has it, or it is no SQLite file.
    """
    blame = path if blame is None else blame
    with _damage_refused(blame):
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None, timeout=0
        )
        try:
            _take_over(connection, blame)
        except BaseException:
            connection.close()
            raise
    return connection


def load(connection: sqlite3.Connection, path: Path) -> JournalContents:
    """Reads and checks everything; costs the reading of the whole file.

    Raises:
        StorageError: names `path` and the first thing that is wrong.
    """
    with _damage_refused(path):
        _check_format(connection, path)
        identity, incarnation = _load_identity(connection, path)
        state = _load_hard_state(connection, path)
        entries, crcs, sync_seq = _load_entries(connection, path, state)
        oldest_row = connection.execute("SELECT min(entry_index) FROM entries").fetchone()[0]
        if state.term < entries[-1][2]:
            raise damaged(path, f"the term {state.term} is below the log's last {entries[-1][2]}")
        return JournalContents(
            identity,
            incarnation,
            state,
            entries,
            crcs,
            oldest_row=state.base_index + 1 if oldest_row is None else oldest_row,
            sync_seq=sync_seq,
        )


def _take_over(connection: sqlite3.Connection, path: Path) -> None:
    for pragma in (
        "locking_mode=EXCLUSIVE",
        "mmap_size=0",  # a failing disk must be an error, not a SIGBUS
        "trusted_schema=OFF",
        "cell_size_check=ON",
        "synchronous=FULL",
        "secure_delete=OFF",  # some builds default to ON, which writes zeros over all that is freed
        "wal_autocheckpoint=0",  # ours to call: SQLite ignores the errors of its own
    ):
        connection.execute(f"PRAGMA {pragma}")
    mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
    if mode != "wal":
        raise damaged(path, f"cannot use a write-ahead log here (journal mode {mode})")
    connection.execute("BEGIN EXCLUSIVE")  # takes the lock, which EXCLUSIVE mode then keeps
    connection.execute("ROLLBACK")


@contextmanager
def _damage_refused(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise explain(path, error) from error
    except (struct.error, OverflowError, MemoryError, UnicodeError) as error:
        # UnicodeError: the sqlite3 module cannot even decode a message that quotes damaged text.
        raise damaged(path, f"holds an impossible value ({error})") from error


def _check_format(connection: sqlite3.Connection, path: Path) -> None:
    application_id = connection.execute("PRAGMA application_id").fetchone()[0]
    if application_id != _APPLICATION_ID:
        raise damaged(path, f"is no journal (application id {application_id:#x})")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version != FORMAT_VERSION:
        raise StorageError(
            path=str(path),
            reason=f"has format {version}, this program reads {FORMAT_VERSION}",
            remedy=f"start the newer raftbook that wrote it; if there is none, {REJOIN}",
        )
    schema = dict(connection.execute("SELECT name, sql FROM sqlite_schema"))
    if schema != _SCHEMA:
        raise damaged(path, "its tables are not a journal's")
    problem = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if problem != "ok":
        raise damaged(path, f"the file is damaged ({problem.splitlines()[-1]})")


def _identity_row(identity: JournalIdentity, incarnation: str) -> tuple[object, ...]:
    row = (
        FORMAT_VERSION,
        identity.cluster_id,
        identity.node_id,
        identity.genesis_digest,
        incarnation,
    )
    return (*row, zlib.crc32(repr(row).encode()))


def _load_identity(connection: sqlite3.Connection, path: Path) -> tuple[JournalIdentity, str]:
    row = _only_row(connection, path, "identity")
    _, cluster_id, node_id, genesis_digest, incarnation, _ = row
    identity = JournalIdentity(cluster_id, node_id, genesis_digest)
    if row != _identity_row(identity, incarnation):
        raise damaged(path, "the identity fails its checksum")
    return identity, incarnation


def _load_hard_state(connection: sqlite3.Connection, path: Path) -> HardState:
    row = _only_row(connection, path, "hard_state")
    term, voted_for, base_index, base_term, base_crc, sync_seq, _ = row
    numbers = (term, base_index, base_term, base_crc, sync_seq)
    well_formed = all(map(_is_natural, numbers)) and (voted_for is None or _is_natural(voted_for))
    state = HardState(term, voted_for, base_index, base_term, base_crc, sync_seq)
    if not well_formed or row != state.row():
        raise damaged(path, "the term and vote fail their checksum")
    return state


def _load_entries(
    connection: sqlite3.Connection, path: Path, state: HardState
) -> tuple[list[RawEntry], list[int], int]:
    entries: list[RawEntry] = [(b"", state.base_index, state.base_term)]
    crcs = [state.base_crc]
    last_seq = 0
    rows = connection.execute(
        "SELECT payload, entry_index, term, sync_seq, crc FROM entries"
        " WHERE entry_index > ? ORDER BY entry_index",
        (state.base_index,),
    )
    for payload, index, term, sync_seq, crc in rows:
        expected = entries[-1][1] + 1
        if index != expected:
            raise damaged(path, f"entry {expected} is missing: {index} follows {expected - 1}")
        if type(payload) is not bytes or not all(map(_is_natural, (index, term, sync_seq))):
            raise damaged(path, f"entry {index} holds values of a wrong type")
        computed = entry_crc(
            payload, index=index, term=term, sync_seq=sync_seq, previous_crc=crcs[-1]
        )
        if crc != computed:
            raise damaged(path, f"entry {index} fails its checksum")
        if term < entries[-1][2] or sync_seq < last_seq:
            raise damaged(path, f"entry {index} is older than the one before it")
        entries.append((payload, index, term))
        crcs.append(computed)
        last_seq = sync_seq
    return entries, crcs, max(last_seq, state.sync_seq)


def _only_row(connection: sqlite3.Connection, path: Path, table: str) -> tuple[Any, ...]:
    rows = connection.execute(f"SELECT * FROM {table}").fetchall()
    if len(rows) != 1:
        raise damaged(path, f"the table {table} has {len(rows)} rows instead of 1")
    row: tuple[Any, ...] = rows[0]
    return row


def _is_natural(value: object) -> bool:
    return type(value) is int and 0 <= value <= _INT_MAX

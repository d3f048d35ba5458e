"""A few bytes beside the journal that say how far it had come, and the lock on the directory.

Owns `journal.witness`. Must not know what the journal contains: only its incarnation and how many
transactions it has committed.

Why it exists. SQLite ends its write-ahead log at the first frame whose checksum is wrong: after a
power loss that is the torn end, and right; after a flipped bit it silently takes back committed
transactions, acknowledged orders among them. So every commit is followed by a note here of its
number, and a journal behind its witness is refused. The note is not synced (it costs 2 µs, not
200): it survives a killed process, and after a power loss it is only older, never newer, than the
journal, so it never refuses a healthy one. A backup put back over the journal is caught as well.

    offset 0     slot of even transactions
    offset 512   slot of odd ones: a torn write spoils one slot, the other still speaks
    slot = magic 8, first 16 bytes of sha256(incarnation), transaction number u64, CRC32 u32
"""

from __future__ import annotations

import fcntl
import os
import struct
import zlib
from hashlib import sha256
from pathlib import Path

from raftbook.errors import StorageError
from raftbook.storage.atomic import SyncFailed
from raftbook.storage.failures import damaged, explain

_MAGIC = b"RBWITNS1"
_SLOT = struct.Struct(">8s16sQI")
_SLOT_OFFSETS = (0, 512)  # one disk sector each
_FILE_BYTES = 1024

# A process's record locks never conflict with its own, and closing any descriptor of the file
# drops them all: so a second opening in this process must be refused before it opens the file.
_opened_here: set[str] = set()


class Witness:
    """The locked witness file of one directory; `close` gives the lock back."""

    __slots__ = ("_descriptor", "_key", "_mark", "_path", "sync_seq")

    def __init__(self, path: Path, *, writable: bool) -> None:
        """Opens and locks; creates an empty file when writable and absent.

        Raises:
            StorageError: another process, or this one, has the directory open; or it is damaged.
        """
        self._path = path
        self._key = os.path.realpath(path)
        if self._key in _opened_here:
            raise _in_use(path)
        flags = os.O_RDWR | os.O_CREAT if writable else os.O_RDONLY
        try:
            self._descriptor = os.open(path, flags | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise explain(path, error) from error
        _opened_here.add(self._key)
        try:
            # Record locks and not flock: a forked child must not keep the lock of a dead parent.
            fcntl.lockf(self._descriptor, _lock_kind(writable) | fcntl.LOCK_NB)
            self._mark, self.sync_seq = self._read()
        except OSError as error:
            self.close()
            busy = isinstance(error, BlockingIOError | PermissionError)
            raise (_in_use(path) if busy else explain(path, error)) from error
        except StorageError:
            self.close()
            raise

    def start(self, incarnation: str) -> None:
        """Begins the file anew for a journal that is about to appear; durable on return."""
        self._mark = _mark_of(incarnation)
        os.ftruncate(self._descriptor, _FILE_BYTES)
        for sync_seq in (0, 1):  # fills both slots; 0 stands in both
            self._write(slot=sync_seq, sync_seq=0)
        os.fsync(self._descriptor)
        self.sync_seq = 0

    def check(self, incarnation: str, sync_seq: int) -> None:
        """Refuses a journal that is not the one witnessed, or is behind what was witnessed."""
        if self._mark != _mark_of(incarnation):
            raise damaged(self._path, "speaks of another journal than the one beside it")
        if sync_seq < self.sync_seq:
            raise damaged(
                self._path,
                f"the journal lost committed transactions: it ends at {sync_seq}, "
                f"but {self.sync_seq} was committed",
            )

    def record(self, sync_seq: int) -> None:
        """Notes that transaction `sync_seq` is on disk. Not synced: see the top of the file."""
        self._write(slot=sync_seq % 2, sync_seq=sync_seq)
        self.sync_seq = sync_seq

    def sync(self) -> None:
        """Makes the notes durable."""
        try:
            os.fdatasync(self._descriptor)
        except OSError as error:
            raise SyncFailed(error.errno, error.strerror) from error

    def close(self) -> None:
        """Gives the lock back."""
        os.close(self._descriptor)
        _opened_here.discard(self._key)

    def _write(self, *, slot: int, sync_seq: int) -> None:
        os.pwrite(self._descriptor, _encode(self._mark, sync_seq), _SLOT_OFFSETS[slot])

    def _read(self) -> tuple[bytes, int]:
        """The mark and the highest number of the readable slots; (b"", 0) for a new file."""
        content = os.pread(self._descriptor, _FILE_BYTES, 0)
        if not content.strip(b"\0"):  # created, but not started before a crash
            return b"", 0
        readable = []
        for offset in _SLOT_OFFSETS:
            slot = content[offset : offset + _SLOT.size]
            if len(slot) < _SLOT.size:
                continue
            _, mark, sync_seq, _ = _SLOT.unpack(slot)
            if slot == _encode(mark, sync_seq):
                readable.append((sync_seq, mark))
        if not readable:
            raise damaged(self._path, "both slots fail their checksum")
        sync_seq, mark = max(readable)
        return mark, sync_seq


def _encode(mark: bytes, sync_seq: int) -> bytes:
    return _SLOT.pack(
        _MAGIC, mark, sync_seq, zlib.crc32(_MAGIC + mark + sync_seq.to_bytes(8, "big"))
    )


def _mark_of(incarnation: str) -> bytes:
    return sha256(incarnation.encode()).digest()[:16]


def _lock_kind(writable: bool) -> int:  # a shared lock is all that a read-only descriptor may hold
    return fcntl.LOCK_EX if writable else fcntl.LOCK_SH


def _in_use(path: Path) -> StorageError:
    return StorageError(
        path=str(path.parent),
        reason="in use by another process",
        remedy="stop the node that runs on this directory first",
    )

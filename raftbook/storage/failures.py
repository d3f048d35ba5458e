"""From an error of the operating system or of SQLite to a StorageError a human can act on.

Owns the words for what went wrong and what to try. Must not know what was being done.
"""

from __future__ import annotations

import errno
import sqlite3
from pathlib import Path

from raftbook.errors import OutOfDescriptors, StorageError
from raftbook.storage.atomic import SyncFailed

REJOIN = (
    "stop the node, move the directory away, and let the other nodes catch it up: "
    "start it again with an empty directory while a majority of the others is running"
)
_CHECK_DISK = "check the disk, then start the node again; if the disk is lost, start it empty"

_NO_SPACE = ("disk full", "free some space: a node that runs goes on by itself, else start it")
_NO_QUOTA = ("disk quota used up", "raise it: a node that runs goes on by itself, else start it")
_NO_DESCRIPTORS = (
    "too many files and connections are open",
    "let the node have more (LimitNOFILE): one that runs goes on by itself, else start it",
)
_PASSING = (_NO_SPACE, _NO_QUOTA, _NO_DESCRIPTORS)

_BY_ERRNO = {
    errno.ENOSPC: _NO_SPACE,
    errno.EDQUOT: _NO_QUOTA,
    errno.EMFILE: _NO_DESCRIPTORS,
    errno.ENFILE: _NO_DESCRIPTORS,
    errno.EIO: ("I/O error", _CHECK_DISK),
    errno.EROFS: ("read-only file system", "mount it writable, then start the node again"),
    errno.EACCES: ("permission denied", "give the node's user the files, then start it again"),
    errno.EPERM: ("permission denied", "give the node's user the files, then start it again"),
}

# By primary result code: extended codes keep it in their low byte.
_BY_SQLITE_CODE = {
    sqlite3.SQLITE_FULL: _BY_ERRNO[errno.ENOSPC],
    sqlite3.SQLITE_IOERR: _BY_ERRNO[errno.EIO],
    sqlite3.SQLITE_READONLY: (
        "cannot be written",
        f"give the node's user the files on a writable file system; if they are, {REJOIN}",
    ),
    sqlite3.SQLITE_CANTOPEN: ("cannot be opened", _CHECK_DISK),
    sqlite3.SQLITE_BUSY: ("in use by another process", "stop the other process first"),
    sqlite3.SQLITE_LOCKED: ("in use by another process", "stop the other process first"),
}


def explain(path: Path, error: sqlite3.Error | OSError) -> StorageError:
    """The StorageError for this failure; whatever is not known by its code counts as damage."""
    if isinstance(error, SyncFailed):
        words = ("a sync failed", _CHECK_DISK)
    elif isinstance(error, OSError):
        words = _BY_ERRNO.get(error.errno or 0, ("cannot be used", _CHECK_DISK))
    else:
        # Errors that the Python module raises by itself carry no code.
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        words = _BY_SQLITE_CODE.get(code, ("the file is damaged", REJOIN))
    reason, remedy = words
    passes = words in _PASSING
    kind = OutOfDescriptors if words is _NO_DESCRIPTORS else StorageError
    return kind(path=str(path), reason=f"{reason} ({error})", remedy=remedy, passes=passes)


def damaged(path: Path, reason: str) -> StorageError:
    """The StorageError for a file whose content cannot be trusted."""
    return StorageError(path=str(path), reason=reason, remedy=REJOIN)


def no_room(path: Path, reason: str) -> StorageError:
    """The StorageError for a file that would take space which is not its own."""
    return StorageError(path=str(path), reason=reason, remedy=_NO_SPACE[1], passes=True)

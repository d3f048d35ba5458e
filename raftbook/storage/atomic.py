"""The steps by which a file is either wholly there or not there, after any crash.

Owns creating, renaming and the fsync of directories. Must not know what is in the files.
Everything here raises OSError as it is: the caller knows which file mattered, and why. Of these,
SyncFailed says that a sync failed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


class SyncFailed(OSError):
    """A sync failed: what it should have written may be lost, whatever the page cache shows, and
    another one that succeeds proves nothing. No free space makes that good, so it never passes.
    """


def rename_durably(source: Path, target: Path) -> None:
    """Renames a file that is already synced, replacing `target`; both in one directory."""
    assert source.parent == target.parent, (source, target)
    with _opened(target.parent) as descriptor:  # first: without one, nothing is renamed
        os.replace(source, target)
        _sync(descriptor)


def create_exclusive(path: Path, mode: int = 0o600) -> int:
    """Creates `path` for reading and writing and returns its descriptor; the caller closes it.

    Raises:
        FileExistsError: the name is taken.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    os.fchmod(descriptor, mode)  # the umask must not decide
    return descriptor


def write_durably(path: Path, content: bytes) -> None:
    """Writes a whole file of mode 0600, replacing what has its name; after a failure that is as
    it was."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.unlink(missing_ok=True)  # of a process of this number that was killed
        with open(create_exclusive(temporary), "wb") as file:
            file.write(content)
            file.flush()
            _sync(file.fileno())
        rename_durably(temporary, path)
    except OSError:
        with suppress(OSError):  # nor can that be done on a read-only disk
            temporary.unlink(missing_ok=True)
        raise


def create_directory(directory: Path) -> None:
    """Creates `directory` and the missing ones above it, durably; an existing one is left alone."""
    missing = [each for each in (directory, *directory.parents) if not each.exists()]
    for each in reversed(missing):
        each.mkdir(mode=0o700, exist_ok=True)
        fsync_directory(each.parent)


def fsync_directory(directory: Path) -> None:
    """Makes creations, renames and removals in `directory` durable."""
    with _opened(directory) as descriptor:
        _sync(descriptor)


@contextmanager
def _opened(directory: Path) -> Iterator[int]:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _sync(descriptor: int) -> None:
    try:
        os.fsync(descriptor)
    except OSError as error:
        raise SyncFailed(error.errno, error.strerror) from error

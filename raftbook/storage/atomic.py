"""Files that are either wholly there or not there, after any crash.

Owns the order write, fsync, rename, fsync of the directory. Must not know what is in the files.
Everything here raises OSError as it is: the caller knows which file mattered, and why.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def write_file_atomically(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Makes `path` hold `content`, durably: a reader sees the old bytes or the new, never a part.

    Raises:
        OSError: nothing was changed, or the new file stands but the directory was not synced.
    """
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
    descriptor = create_exclusive(temporary, mode)
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        rename_durably(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def rename_durably(source: Path, target: Path) -> None:
    """Renames a file that is already synced, replacing `target`; both in one directory."""
    assert source.parent == target.parent, (source, target)
    os.replace(source, target)
    fsync_directory(target.parent)


def create_exclusive(path: Path, mode: int = 0o600) -> int:
    """Creates `path` for reading and writing and returns its descriptor; the caller closes it.

    Raises:
        FileExistsError: the name is taken.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    os.fchmod(descriptor, mode)  # the umask must not decide
    return descriptor


def create_directory(directory: Path) -> None:
    """Creates `directory` and the missing ones above it, durably; an existing one is left alone."""
    missing = [each for each in (directory, *directory.parents) if not each.exists()]
    for each in reversed(missing):
        each.mkdir(mode=0o700, exist_ok=True)
        fsync_directory(each.parent)


def fsync_directory(directory: Path) -> None:
    """Makes creations, renames and removals in `directory` durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""A file system in memory with a volatile and a synced layer, under the production SnapshotStore.

Owns what of a node's snapshot files survives a power loss, and the errors a disk returns. The
modules `raftbook.storage.snapshots` and `atomic` meet it through the names `os` and `open`, which
`patched` replaces: calls about a `SimPath` or a descriptor of ours come here, all others go where
they always went. Every call is a kill point.

    power loss: a file has its content as of its last fsync, or a part of what came after;
                a name is as of the last fsync of its directory.
"""

from __future__ import annotations

import contextlib
import errno
import fnmatch
import os
import random
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

from raftbook.storage import atomic, snapshots

FIRST_DESCRIPTOR = 1 << 30


class File:
    """Content that has, has had, or has not yet a name."""

    __slots__ = ("content", "synced")

    def __init__(self) -> None:
        self.content = bytearray()
        self.synced = b""


class Files:
    """The snapshot directory of one node.

    Attributes:
        point: told the name of each call, before it takes effect; may raise to kill the process.
        error: the errno of the next calls that write, 0 while the disk works.
    """

    def __init__(self, rng: random.Random, point: Callable[[str], None]) -> None:
        self._rng = rng
        self.point = point
        self.error = 0
        self.names: dict[str, File] = {}
        self._durable: dict[str, File] = {}

    def may_write(self, what: str) -> None:
        self.point(what)
        if self.error:
            raise OSError(self.error, os.strerror(self.error))

    def sync_directory(self) -> None:
        self.may_write("snapshot.dirsync")
        self._durable = dict(self.names)

    def lose_power(self) -> None:
        """What was not synced is there, in part there, or gone."""
        for file in {id(f): f for f in [*self.names.values(), *self._durable.values()]}.values():
            if bytes(file.content) != file.synced:
                whole = bytes(file.content)
                kept = self._rng.randrange(len(whole) + 1)
                choices = (file.synced, whole[:kept], whole[:kept] + bytes(len(whole) - kept))
                file.content[:] = self._rng.choice(choices)
        if self._rng.randrange(2):  # else the renames were lucky
            self.names = dict(self._durable)
        self._durable = dict(self.names)
        for file in self.names.values():
            file.synced = bytes(file.content)

    def snapshots(self) -> list[str]:
        """Names of finished snapshots, oldest first."""
        return sorted(name for name in self.names if name.endswith(".raftbook"))

    def damage(self, name: str) -> None:
        """Flip one bit of a file, wherever it is."""
        file = self.names[name]
        if file.content:
            file.content[self._rng.randrange(len(file.content))] ^= 1 << self._rng.randrange(8)
            file.synced = bytes(file.content)

    def lose(self, name: str) -> None:
        """The file is gone."""
        self.names.pop(name, None)
        self._durable.pop(name, None)

    def lose_all(self) -> None:
        self.names.clear()
        self._durable.clear()


class SimPath:
    """The parts of pathlib.Path that SnapshotStore uses, for one directory and what is in it."""

    __slots__ = ("files", "name")

    def __init__(self, files: Files, name: str = "") -> None:
        self.files, self.name = files, name

    def __truediv__(self, name: str) -> SimPath:
        return SimPath(self.files, name)

    def __str__(self) -> str:
        return f"sim/{self.name}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SimPath) and (self.files, self.name) == (other.files, other.name)

    def __hash__(self) -> int:
        raise TypeError("nothing here may depend on hashes")

    @property
    def parent(self) -> SimPath:
        return SimPath(self.files)

    @property
    def parents(self) -> tuple[SimPath, ...]:
        return ()

    def with_name(self, name: str) -> SimPath:
        return SimPath(self.files, name)

    def exists(self) -> bool:
        return not self.name or self.name in self.files.names

    def glob(self, pattern: str) -> list[SimPath]:
        names = sorted(name for name in self.files.names if fnmatch.fnmatchcase(name, pattern))
        return [SimPath(self.files, name) for name in names]

    def unlink(self, missing_ok: bool = False) -> None:
        self.files.may_write("snapshot.unlink")
        if self.files.names.pop(self.name, None) is None and not missing_ok:
            raise FileNotFoundError(errno.ENOENT, "no such file", str(self))

    def read_bytes(self) -> bytes:
        self.files.point("snapshot.read")
        return bytes(self.file().content)

    def file(self) -> File:
        file = self.files.names.get(self.name)
        if file is None:
            raise FileNotFoundError(errno.ENOENT, "no such file", str(self))
        return file


class _Descriptors:
    """Open files of all simulated hosts: the descriptor is a number the kernel never gives."""

    def __init__(self) -> None:
        self._last = FIRST_DESCRIPTOR
        self.open: dict[int, tuple[Files, File | None]] = {}

    def add(self, files: Files, file: File | None) -> int:
        self._last += 1
        self.open[self._last] = (files, file)
        return self._last


_descriptors = _Descriptors()


class _Stream:
    """What `open` gives: a file object over a descriptor of ours."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._files, file = _descriptors.open[descriptor]
        assert file is not None
        self._file = file
        self._position = 0
        self._pending: list[tuple[int, bytes]] = []
        self.closed = False

    def __enter__(self) -> _Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fileno(self) -> int:
        return self._descriptor

    def seek(self, position: int) -> None:
        self._position = position

    def read(self, size: int = -1) -> bytes:
        self._files.point("snapshot.read")
        end = len(self._file.content) if size < 0 else self._position + size
        data = bytes(self._file.content[self._position : end])
        self._position += len(data)
        return data

    def write(self, data: bytes) -> None:
        self._files.may_write("snapshot.write")
        content = self._file.content
        if len(content) < self._position:
            content += bytes(self._position - len(content))
        content[self._position : self._position + len(data)] = data
        self._position += len(data)

    def flush(self) -> None:
        pass

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            _descriptors.open.pop(self._descriptor, None)


def _open(path: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
    if isinstance(path, SimPath):
        assert "r" in mode, f"{path} is written through create_exclusive only"
        path.files.point("snapshot.read")
        return _Stream(_descriptors.add(path.files, path.file()))
    if isinstance(path, int) and path > FIRST_DESCRIPTOR:
        return _Stream(path)
    return open(path, mode, *arguments, **options)


def _os_open(path: Any, flags: int, mode: int = 0o777, **options: Any) -> int:
    if not isinstance(path, SimPath):
        return os.open(path, flags, mode, **options)
    files = path.files
    if not path.name:
        return _descriptors.add(files, None)
    if flags & os.O_CREAT:
        files.may_write("snapshot.create")
        if path.name in files.names:
            raise FileExistsError(errno.EEXIST, "the file exists", str(path))
        files.names[path.name] = File()
    return _descriptors.add(files, path.file())


def _of(descriptor: int) -> tuple[Files, File | None] | None:
    return _descriptors.open[descriptor] if descriptor > FIRST_DESCRIPTOR else None


def _fsync(descriptor: int) -> None:
    ours = _of(descriptor)
    if ours is None:
        os.fsync(descriptor)
    elif ours[1] is None:
        ours[0].sync_directory()
    else:
        ours[0].may_write("snapshot.fsync")
        ours[1].synced = bytes(ours[1].content)


def _fstat(descriptor: int) -> Any:
    ours = _of(descriptor)
    if ours is None:
        return os.fstat(descriptor)
    assert ours[1] is not None
    return SimpleNamespace(st_size=len(ours[1].content))


def _pread(descriptor: int, count: int, offset: int) -> bytes:
    ours = _of(descriptor)
    if ours is None:
        return os.pread(descriptor, count, offset)
    assert ours[1] is not None
    ours[0].point("snapshot.read")
    return bytes(ours[1].content[offset : offset + count])


def _close(descriptor: int) -> None:
    if _of(descriptor) is None:
        os.close(descriptor)
    else:
        del _descriptors.open[descriptor]


def _replace(source: Any, target: Any) -> None:
    if not isinstance(source, SimPath):
        os.replace(source, target)
        return
    files = source.files
    files.may_write("snapshot.rename")
    source.file()
    files.names[target.name] = files.names.pop(source.name)


def _listdir(path: Any) -> list[str]:
    return sorted(path.files.names) if isinstance(path, SimPath) else os.listdir(path)


def _statvfs(path: Any) -> Any:
    if not isinstance(path, SimPath):
        return os.statvfs(path)
    free_bytes = 0 if path.files.error == errno.ENOSPC else 1 << 40
    return SimpleNamespace(f_bavail=free_bytes, f_frsize=1)


def _fchmod(descriptor: int, mode: int) -> None:
    if _of(descriptor) is None:
        os.fchmod(descriptor, mode)


def _posix_fadvise(descriptor: int, *arguments: int) -> None:
    if _of(descriptor) is None:
        os.posix_fadvise(descriptor, *arguments)


class _Os(SimpleNamespace):
    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)


_OS = _Os(
    open=_os_open,
    fsync=_fsync,
    fstat=_fstat,
    pread=_pread,
    close=_close,
    replace=_replace,
    listdir=_listdir,
    statvfs=_statvfs,
    fchmod=_fchmod,
    posix_fadvise=_posix_fadvise,
)


@contextlib.contextmanager
def patched(rng: random.Random) -> Iterator[None]:
    """Let the storage modules see simulated files beside real ones; names of files from `rng`."""
    before = (snapshots.os, atomic.os, snapshots.secrets)
    hexes = SimpleNamespace(token_hex=lambda size: rng.randbytes(size).hex())
    snapshots.os = atomic.os = _OS  # type: ignore[assignment]
    snapshots.secrets = hexes  # type: ignore[assignment]
    snapshots.open = atomic.open = _open  # type: ignore[attr-defined]
    try:
        yield
    finally:
        snapshots.os, atomic.os, snapshots.secrets = before
        del snapshots.open, atomic.open  # type: ignore[attr-defined]
        _descriptors.open.clear()

"""Writes down every operation that SQLite and our own code do on the files of one directory.

Owns the hooks. SQLite's are put into the table of functions with which the sqlite3 module's own
library reaches the operating system, so it is the real thing that is recorded, to the write; ours
replace a handful of functions in `os`. Whoever records checks with `Recorder.verify` that the model
and the real directory agree: then nothing was missed.
"""

from __future__ import annotations

import _sqlite3
import contextlib
import ctypes
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from tests.storage.crash_disk import Disk, Op

_PIECE_BYTES = 4096  # a file that Python wrote is recorded when it is synced, in such pieces

_OPEN_CREATE = 0x4
_OPEN_JOURNALS = 0x800 | 0x80000  # rollback journal, write-ahead log: SQLite syncs their directory
_SQLITE_IOERR = 10

_int64 = ctypes.c_int64
_pointer = ctypes.c_void_p
# Names go through as addresses: SQLite keeps them, and reads parameters behind their ends.
_XOPEN = ctypes.CFUNCTYPE(ctypes.c_int, _pointer, _pointer, _pointer, ctypes.c_int, _pointer)
_XDELETE = ctypes.CFUNCTYPE(ctypes.c_int, _pointer, _pointer, ctypes.c_int)
_XWRITE = ctypes.CFUNCTYPE(ctypes.c_int, _pointer, _pointer, ctypes.c_int, _int64)
_XTRUNCATE = ctypes.CFUNCTYPE(ctypes.c_int, _pointer, _int64)
_XSYNC = ctypes.CFUNCTYPE(ctypes.c_int, _pointer, ctypes.c_int)


class _Vfs(ctypes.Structure):
    """The start of sqlite3_vfs, see https://sqlite.org/c3ref/vfs.html."""

    _fields_ = (
        ("iVersion", ctypes.c_int),
        ("szOsFile", ctypes.c_int),
        ("mxPathname", ctypes.c_int),
        ("pNext", _pointer),
        ("zName", ctypes.c_char_p),
        ("pAppData", _pointer),
        ("xOpen", _pointer),
        ("xDelete", _pointer),
    )


class _Methods(ctypes.Structure):
    """sqlite3_io_methods, see https://sqlite.org/c3ref/io_methods.html."""

    _fields_ = (
        ("iVersion", ctypes.c_int),
        ("xClose", _pointer),
        ("xRead", _pointer),
        ("xWrite", _pointer),
        ("xTruncate", _pointer),
        ("xSync", _pointer),
        ("rest", _pointer * 13),
    )


class _File(ctypes.Structure):
    """The start of sqlite3_file."""

    _fields_ = (("pMethods", ctypes.POINTER(_Methods)),)


class Recorder:
    """The operations below `directory`, in order.

    Args:
        on_op: called before each one takes place, with its number; a life may be ended there.
    """

    def __init__(self, directory: Path, on_op: Callable[[int], None] = lambda number: None) -> None:
        self.ops: list[Op] = []
        self._directory = str(directory.resolve())
        self._on_op = on_op
        self._python_files: dict[str, bytes] = {}
        self._open_files: dict[int, tuple[str, bool]] = {}  # address -> path, directory to sync
        self._methods: dict[int, _Methods] = {}  # address of the original -> ours
        self._kept: list[Any] = []  # callbacks that C may still call

    def mark(self, label: Any) -> None:
        """A note of the life itself, between two operations."""
        self.ops.append(Op("mark", "", data=label))

    def verify(self, disk: Disk) -> None:
        """Asserts that a model to which all operations were applied equals the real directory."""
        root = Path(self._directory)
        real = {
            str(path.relative_to(root)): path.read_bytes()
            for path in root.rglob("*")
            if path.is_file()
        }
        modelled = disk.cached
        assert sorted(real) == sorted(modelled), (sorted(real), sorted(modelled))
        for path, content in real.items():
            # What Python wrote and has not synced yet is not in the model: nobody may rely on it.
            assert modelled[path] == content or path.endswith((".tmp", ".incoming")), path

    @contextlib.contextmanager
    def recording(self) -> Iterator[Recorder]:
        """Records while the block runs. Files that SQLite opens in it must be closed in it."""
        with self._python_hooks(), self._sqlite_hooks():
            yield self

    def _add(self, kind: str, path: str, offset: int = 0, data: Any = b"") -> None:
        self._on_op(len(self.ops))
        self.ops.append(Op(kind, path, offset, data))

    def _below(self, path: str) -> str | None:
        absolute = os.path.abspath(path)
        if absolute == self._directory:
            return ""
        prefix = self._directory + "/"
        return absolute.removeprefix(prefix) if absolute.startswith(prefix) else None

    def _real(self, path: str) -> str:
        return f"{self._directory}/{path}"

    # -- our own code -------------------------------------------------------------------------

    def _python_hooks(self) -> contextlib.ExitStack:
        stack = contextlib.ExitStack()
        for name in ("open", "fsync", "fdatasync", "replace", "unlink", "pwrite", "ftruncate"):
            hook = getattr(self, f"_os_{name}")
            stack.enter_context(mock.patch.object(os, name, hook(getattr(os, name))))
        return stack

    def _os_open(self, original: Callable[..., int]) -> Callable[..., int]:
        def hook(path: Any, flags: int, mode: int = 0o777, **rest: Any) -> int:
            name = self._below(os.fspath(path))
            if name is not None and flags & os.O_CREAT and not os.path.exists(path):
                self._add("create", name)
            return original(path, flags, mode, **rest)

        return hook

    def _os_fsync(self, original: Callable[[int], None]) -> Callable[[int], None]:
        def hook(descriptor: int) -> None:
            real = os.readlink(f"/proc/self/fd/{descriptor}")
            name = self._below(real)
            if name is not None and os.path.isdir(real):
                self._add("sync_dir", name)
            elif name is not None:
                self._catch_up(name, Path(real).read_bytes())
                self._add("sync", name)
            original(descriptor)

        return hook

    _os_fdatasync = _os_fsync

    def _catch_up(self, name: str, content: bytes) -> None:
        """Records what Python wrote into a file since it was last looked at."""
        if name.startswith("journal."):  # the witness and SQLite's: recorded as they are written
            return
        known = self._python_files.get(name, b"")
        if content != known:
            for start in range(0, len(content), _PIECE_BYTES):
                self._add("write", name, start, content[start : start + _PIECE_BYTES])
            self._python_files[name] = content

    def _os_replace(self, original: Callable[..., None]) -> Callable[..., None]:
        def hook(source: Any, target: Any) -> None:
            old, new = self._below(os.fspath(source)), self._below(os.fspath(target))
            if old is not None:
                self._add("rename", old, data=new)
            original(source, target)

        return hook

    def _os_unlink(self, original: Callable[..., None]) -> Callable[..., None]:
        def hook(path: Any, **rest: Any) -> None:
            name = self._below(os.fspath(path))
            if name is not None and os.path.exists(path):
                self._add("unlink", name)
            original(path, **rest)

        return hook

    def _os_pwrite(self, original: Callable[..., int]) -> Callable[..., int]:
        def hook(descriptor: int, data: bytes, offset: int) -> int:
            name = self._below(os.readlink(f"/proc/self/fd/{descriptor}"))
            if name is not None:
                self._add("write", name, offset, bytes(data))
            return original(descriptor, data, offset)

        return hook

    def _os_ftruncate(self, original: Callable[..., None]) -> Callable[..., None]:
        def hook(descriptor: int, length: int) -> None:
            name = self._below(os.readlink(f"/proc/self/fd/{descriptor}"))
            if name is not None:
                self._add("truncate", name, length)
            original(descriptor, length)

        return hook

    # -- SQLite -------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _sqlite_hooks(self) -> Iterator[None]:
        library = ctypes.CDLL(_sqlite3.__file__)
        library.sqlite3_vfs_find.restype = ctypes.POINTER(_Vfs)
        vfs = library.sqlite3_vfs_find(None).contents
        before = vfs.xOpen, vfs.xDelete
        hooks = self._vfs_open(_XOPEN(vfs.xOpen)), self._vfs_delete(_XDELETE(vfs.xDelete))
        self._kept += hooks
        vfs.xOpen, vfs.xDelete = (ctypes.cast(hook, _pointer).value for hook in hooks)
        try:
            yield
        finally:
            vfs.xOpen, vfs.xDelete = before

    def _vfs_open(self, original: Any) -> Any:
        def hook(vfs: int, name: int | None, file: int, flags: int, out_flags: int) -> int:
            path = self._below(ctypes.string_at(name).decode()) if name else None
            if path is None:
                return int(original(vfs, name, file, flags, out_flags))
            if flags & _OPEN_CREATE and not os.path.exists(self._real(path)):
                self._add("create", path)
            code = int(original(vfs, name, file, flags, out_flags))
            if code == 0:
                syncs_directory = bool(flags & _OPEN_CREATE and flags & _OPEN_JOURNALS)
                self._open_files[file] = (path, syncs_directory)
                opened = ctypes.cast(file, ctypes.POINTER(_File)).contents
                opened.pMethods = ctypes.pointer(self._methods_like(opened.pMethods))
            return code

        return _XOPEN(hook)

    def _vfs_delete(self, original: Any) -> Any:
        def hook(vfs: int, name: int, sync_directory: int) -> int:
            path = self._below(ctypes.string_at(name).decode())
            if path is not None and os.path.exists(self._real(path)):
                self._add("unlink", path)
            code = int(original(vfs, name, sync_directory))
            if path is not None and sync_directory and code == 0:
                self._add("sync_dir", path.rpartition("/")[0])
            return code

        return _XDELETE(hook)

    def _methods_like(self, original: Any) -> _Methods:
        """The table of a file's functions with ours in it."""
        address = ctypes.addressof(original.contents)
        known = self._methods.get(address)
        if known is not None:
            return known
        methods = _Methods()
        size = ctypes.sizeof(_Methods) if original.contents.iVersion >= 3 else 13 * 8
        ctypes.memmove(ctypes.addressof(methods), address, size)
        write, truncate, sync = self._file_hooks(original.contents)
        self._kept += (write, truncate, sync)
        methods.xWrite = ctypes.cast(write, _pointer).value
        methods.xTruncate = ctypes.cast(truncate, _pointer).value
        methods.xSync = ctypes.cast(sync, _pointer).value
        self._methods[address] = methods
        return methods

    def _file_hooks(self, original: _Methods) -> tuple[Any, Any, Any]:
        do_write, do_truncate = _XWRITE(original.xWrite), _XTRUNCATE(original.xTruncate)
        do_sync = _XSYNC(original.xSync)

        def write(file: int, buffer: int, amount: int, offset: int) -> int:
            self._add("write", self._open_files[file][0], offset, ctypes.string_at(buffer, amount))
            return int(do_write(file, buffer, amount, offset))

        def truncate(file: int, size: int) -> int:
            self._add("truncate", self._open_files[file][0], size)
            return int(do_truncate(file, size))

        def sync(file: int, flags: int) -> int:
            path, syncs_directory = self._open_files[file]
            self._add("sync", path)
            if syncs_directory:
                self._add("sync_dir", path.rpartition("/")[0])
                self._open_files[file] = (path, False)
            return int(do_sync(file, flags))

        return _XWRITE(write), _XTRUNCATE(truncate), _XSYNC(sync)

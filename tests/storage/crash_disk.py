"""A disk that remembers every operation, and what a crash at any of them would leave.

Owns the model: which bytes stand in the page cache, which on the platter, which names a directory
durably holds. Must not know SQLite or raftbook: `recorder.py` feeds it.

    kill -9       everything that was written is there: `Disk.cached`
    power loss    what was synced is there, and of the rest anything: `Disk.after_power_loss`

Names are durable in the order they were made, as on every journalling file system; the bytes of a
file are not ordered at all until it is synced. A sector is written whole or not.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

SECTOR_BYTES = 512

Image = dict[str, bytes]
"""Files by their path below the recorded directory."""


class Op(NamedTuple):
    """One operation on the disk.

    Kinds: create, write, truncate, sync, rename, unlink, sync_dir, and mark, which is the life's
    own note of where it is.
    """

    kind: str
    path: str
    offset: int = 0
    data: Any = b""


@dataclass(slots=True)
class _File:
    cached: bytearray = field(default_factory=bytearray)
    synced: bytes = b""
    unsynced: list[Op] = field(default_factory=list)


class Disk:
    """The files of one directory after some operations."""

    def __init__(self, image: Image | None = None) -> None:
        """Starts empty, or with the files of `image`, all of them durable."""
        self._names: dict[str, _File] = {}
        for path, content in (image or {}).items():
            self._names[path] = _File(bytearray(content), content)
        self._durable_names = dict(self._names)
        self._unsynced_names: list[Op] = []

    def apply(self, op: Op) -> None:
        """Let one operation happen."""
        if op.kind in ("create", "rename", "unlink"):
            self._unsynced_names.append(op._replace(data=self._name(self._names, op)))
        elif op.kind == "sync_dir":
            self._sync_names(op.path)
        elif op.kind == "sync":
            file = self._names[op.path]
            file.synced, file.unsynced = bytes(file.cached), []
        elif op.kind in ("write", "truncate"):
            file = self._names[op.path]
            _change(file.cached, op)
            file.unsynced.append(op)

    @property
    def cached(self) -> Image:
        """What any process sees, hence what a killed one leaves."""
        return {path: bytes(file.cached) for path, file in self._names.items()}

    def after_power_loss(self, rng: random.Random, *, count: int) -> Iterator[Image]:
        """What a loss of power may leave: the least, the most with a torn end, and `count` more.

        The least and the last-write-torn are always among them; the others choose at random which
        names and which sectors of the unsynced writes reached the platter.
        """
        yield self._image(self._durable_names, lambda file: file.synced)
        names = self._names_after(len(self._unsynced_names))
        yield self._image(names, lambda file: file.synced)
        if all(not file.unsynced for file in self._names.values()):
            return
        yield self._image(names, lambda file: _torn(file, rng, keep=1.0))
        for _ in range(count):
            names = self._names_after(rng.randint(0, len(self._unsynced_names)))
            keep = rng.choice((0.1, 0.5, 0.9))
            yield self._image(names, lambda file, keep=keep: _torn(file, rng, keep=keep))

    def _image(self, names: dict[str, _File], content: Any) -> Image:
        return {path: content(file) for path, file in names.items()}

    def _names_after(self, count: int) -> dict[str, _File]:
        names = dict(self._durable_names)
        for op in self._unsynced_names[:count]:
            self._name(names, op)
        return names

    @staticmethod
    def _name(names: dict[str, _File], op: Op) -> Any:
        """Does one change of names; the file it was about, for when it is done again."""
        if op.kind == "create":
            file = op.data if isinstance(op.data, _File) else _File()
            names[op.path] = file
            return file
        if op.kind == "unlink":
            names.pop(op.path, None)
            return None
        target = op.data
        names[target] = names.pop(op.path)
        return target

    def _sync_names(self, directory: str) -> None:
        """A directory's sync writes the file system's journal up to its last change of it."""
        last = 0
        for count, op in enumerate(self._unsynced_names, 1):
            if op.path.rpartition("/")[0] == directory:
                last = count
        self._durable_names = self._names_after(last)
        del self._unsynced_names[:last]


def _change(content: bytearray, op: Op) -> None:
    if op.kind == "truncate":
        del content[op.offset :]
        content.extend(bytes(op.offset - len(content)))
        return
    content.extend(bytes(max(0, op.offset - len(content))))
    content[op.offset : op.offset + len(op.data)] = op.data


def _torn(file: _File, rng: random.Random, *, keep: float) -> bytes:
    """The synced bytes and a choice of the sectors written since; the last write never whole."""
    content = bytearray(file.synced)
    for number, op in enumerate(file.unsynced, 1):
        if op.kind == "truncate":
            if rng.random() >= keep:
                break  # a new length is metadata: what is written after it does not overtake it
            _change(content, op)
            continue
        is_last = number == len(file.unsynced)
        sectors = range(op.offset // SECTOR_BYTES, -(-(op.offset + len(op.data)) // SECTOR_BYTES))
        lost = rng.choice(sectors) if is_last and sectors else None
        for sector in sectors:
            start = max(op.offset, sector * SECTOR_BYTES)
            end = min(op.offset + len(op.data), (sector + 1) * SECTOR_BYTES)
            if sector != lost and rng.random() < keep:
                piece = op.data[start - op.offset : end - op.offset]
                _change(content, Op("write", op.path, start, piece))
    return bytes(content)

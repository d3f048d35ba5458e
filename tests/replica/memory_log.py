"""A disk that forgets: a LogStore in memory with a volatile and a synced layer.

Owns what survives a crash and the faults a test injects. Its preconditions are the Journal's, so
what would stop a node on SQLite stops it here too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from raftbook.errors import StorageError
from raftbook.storage.log_store import LogStore

RawEntry = tuple[bytes, int, int]
FIRST_ENTRY: RawEntry = (b"", 1, 0)


@dataclass(slots=True)
class Disk:
    """What of a node's log survives a crash; a new one is a lost disk.

    Attributes:
        refuse: asked before each sync why it fails; None while the disk works.
        on_sync: called after each sync that wrote something.
    """

    entries: list[RawEntry] = field(default_factory=lambda: [FIRST_ENTRY])
    term: int = 0
    voted_for: int | None = None
    incarnation: str = ""
    refuse: Callable[[MemoryLog], str | None] = lambda log: None
    on_sync: Callable[[], None] = lambda: None


class MemoryLog:
    """One opening of a disk; fulfils LogStore, which says what calls do."""

    def __init__(self, disk: Disk, *, incarnation: str = "0" * 32) -> None:
        self._disk = disk
        disk.incarnation = disk.incarnation or incarnation
        self.incarnation = disk.incarnation
        self.entries: list[RawEntry] = list(disk.entries)
        self.term = disk.term
        self.voted_for = disk.voted_for
        self.dirty = False
        self._failure: StorageError | None = None

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
    def bytes_in_tail(self) -> int:
        return sum(len(payload) for payload, _, _ in self.entries)

    def append(self, payload: bytes, index: int, term: int) -> None:
        assert index == self.last_index + 1, (index, self.last_index)
        assert term >= self.last_term, (term, self.last_term)
        assert type(payload) is bytes, type(payload)
        self._change()
        self.entries.append((payload, index, term))

    def truncate_from(self, index: int) -> None:
        assert index > self.base_index, (index, self.base_index)
        self._change()
        del self.entries[index - self.base_index :]

    def trim_to(self, index: int) -> None:
        assert self.base_index <= index <= self.last_index, (index, self.base_index)
        self._change()
        position = index - self.base_index
        self.entries[: position + 1] = [(b"", index, self.entries[position][2])]

    def reset(self, index: int, term: int) -> None:
        assert index >= self.base_index, (index, self.base_index)
        assert term >= self.base_term, (term, self.base_term)
        self._change()
        self.entries[:] = [(b"", index, term)]

    def set_vote(self, term: int, voted_for: int | None) -> None:
        assert term >= self.term, (term, self.term)
        if (term, voted_for) == (self.term, self.voted_for):
            return
        may_change = voted_for is not None and (voted_for == 0 or not self.voted_for)
        assert term > self.term or may_change, (term, self.voted_for, voted_for)
        self._change()
        self.term, self.voted_for = term, voted_for

    def sync(self) -> bool:
        if self._failure is not None:
            raise self._failure
        if not self.dirty:
            return False
        assert self.last_term <= self.term, (self.last_term, self.term)
        disk = self._disk
        reason = disk.refuse(self)
        if reason is not None:
            self._failure = StorageError(path="memory", reason=reason, remedy="none")
            raise self._failure
        disk.entries = list(self.entries)
        disk.term, disk.voted_for = self.term, self.voted_for
        self.dirty = False
        disk.on_sync()
        return True

    def close(self) -> None:
        """Nothing to give back."""

    def _change(self) -> None:
        if self._failure is not None:
            raise self._failure
        self.dirty = True


if TYPE_CHECKING:
    _fulfils: type[LogStore] = MemoryLog

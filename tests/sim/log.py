"""The journal's stand-in: a LogStore on a disk with a volatile and a synced layer.

Owns what of a node's log, term and vote survives which end of the process: `kill -9` leaves what
was written, a power loss only what was synced, or by luck the whole of the last transaction, never
a part of one (what tears in the real journal's file is SQLite's and is tested in tests/storage).
Damage is detected at opening, as the journal's checksums and witness do.
"""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from raftbook.storage.failures import damaged, explain
from raftbook.storage.log_store import LogStore
from tests.replica.memory_log import FIRST_ENTRY, Disk, MemoryLog, RawEntry

PATH = Path("journal.sqlite3")


class State(NamedTuple):
    """What stands on a disk; the list is never changed."""

    entries: list[RawEntry]
    term: int
    voted_for: int | None


class Observer(Protocol):
    """Who checks what becomes durable."""

    def synced(self, before: State, after: State, first_changed: int) -> None:
        """A transaction is durable; rows below `first_changed` are as they were."""


BLANK = State([FIRST_ENTRY], 0, None)


class LogDisk:
    """The part of a disk that holds one node's journal.

    Attributes:
        written, synced: what a reader sees, what survives a power loss.
        write_error, sync_error: errno of the next transaction, 0 while the disk works.
        stall: asked before each sync how long the process waits for it; it waits by itself.
        problem: why the journal cannot be opened; None while it is whole.
        incarnation: counts the disks this node has had.
    """

    def __init__(
        self, rng: random.Random, point: Callable[[str], None], observer: Observer
    ) -> None:
        self._rng = rng
        self.point, self.observer = point, observer
        self.written = self.synced = BLANK
        self.write_error = self.sync_error = 0
        self.stall: Callable[[], None] = lambda: None
        self.problem: str | None = None
        self.incarnation = 1
        self.is_created = False
        self._first_changed = 2

    @property
    def is_blank(self) -> bool:
        return len(self.synced.entries) == 1 and self.synced.entries[0][1] == 1

    def write(self, state: State, first_changed: int) -> None:
        """The transaction stands in the page cache."""
        self.written, self._first_changed = state, first_changed

    def sync(self) -> None:
        """What is written is durable."""
        before, self.synced = self.synced, self.written
        self.observer.synced(before, self.synced, self._first_changed)

    def lose_power(self) -> None:
        """The last transaction is wholly there or not at all."""
        if self.written is not self.synced:
            if self._rng.randrange(2):
                self.sync()
            else:
                self.written = self.synced

    def damage(self) -> None:
        """A flipped bit, or the file is gone: the next opening finds out."""
        self.problem = self._rng.choice(
            ("an entry fails its checksum", "the witness says that transactions are missing")
        )

    def replace(self) -> None:
        """An empty disk."""
        self.written = self.synced = BLANK
        self.write_error = self.sync_error = 0
        self.problem = None
        self.is_created = False
        self.incarnation += 1


class SimLog(MemoryLog):
    """One opening of a LogDisk.

    Raises:
        StorageError: damaged, missing, or not writable.
    """

    def __init__(self, disk: LogDisk, *, has_snapshots: bool) -> None:
        if disk.problem is not None:
            raise damaged(PATH, disk.problem)
        if not disk.is_created and has_snapshots:
            raise damaged(PATH, "missing, although a snapshot is there")
        if disk.write_error or disk.sync_error:
            number = disk.write_error or disk.sync_error
            raise explain(PATH, OSError(number, os.strerror(number)))
        if disk.written is not disk.synced:
            disk.sync()  # the journal writes through what a killed process left, before it is read
        disk.is_created = True
        state = disk.synced
        opened = Disk(list(state.entries), state.term, state.voted_for, f"{disk.incarnation:032x}")
        super().__init__(opened)
        self._log_disk = disk
        self._first_changed = self.last_index + 1

    def append(self, payload: bytes, index: int, term: int) -> None:
        self._log_disk.point("log.append")
        super().append(payload, index, term)

    def truncate_from(self, index: int) -> None:
        self._log_disk.point("log.truncate")
        super().truncate_from(index)
        self._first_changed = min(self._first_changed, index)

    def trim_to(self, index: int) -> None:
        self._log_disk.point("log.trim")
        super().trim_to(index)

    def reset(self, index: int, term: int) -> None:
        self._log_disk.point("log.reset")
        super().reset(index, term)
        self._first_changed = 1

    def set_vote(self, term: int, voted_for: int | None) -> None:
        self._log_disk.point("log.vote")
        super().set_vote(term, voted_for)

    def sync(self) -> bool:
        if self._failure is not None:
            raise self._failure
        if not self.dirty:
            return False
        assert self.last_term <= self.term, (self.last_term, self.term)
        disk = self._log_disk
        disk.point("log.sync.before")
        self._fail_on(disk.write_error)
        disk.write(State(list(self.entries), self.term, self.voted_for), self._first_changed)
        disk.point("log.sync.written")
        disk.stall()
        self._fail_on(disk.sync_error)
        disk.sync()
        self._first_changed = self.last_index + 1
        self.dirty = False
        disk.point("log.sync.after")
        return True

    def _fail_on(self, number: int) -> None:
        if number:
            self._failure = explain(PATH, OSError(number, os.strerror(number)))
            raise self._failure


FULL, BROKEN = errno.ENOSPC, errno.EIO

if TYPE_CHECKING:
    _fulfils: type[LogStore] = SimLog

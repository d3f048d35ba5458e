"""Scripted lives of a node's files, recorded to the operation, and what a crash in them may leave.

Owns the lives and the oracle. A life marks what it has been promised: from then on every crash must
leave that, or what was being written, and never anything else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from unittest import mock

from raftbook.storage import journal as journal_module
from raftbook.storage.journal import Journal, read_journal
from raftbook.storage.snapshot_header import SnapshotHeader
from raftbook.storage.snapshots import SnapshotStore
from tests.storage.crash_disk import Disk, Image, Op
from tests.storage.journal_samples import State, append, open_journal, state_of
from tests.storage.recorder import Recorder

FRESH = State([(b"", 1, 0)], 0, None)

# So small that a short life has checkpoints, and old rows that linger.
_SMALL_BOUNDS = {"TRIM_ROWS_PER_SYNC": 2, "CHECKPOINT_WAL_BYTES": 70_000}


class Promise(NamedTuple):
    """What a crash at some moment may leave.

    Attributes:
        states: journals that may be found.
        snapshots: indexes that must be found and be whole, besides others that are whole.
    """

    states: tuple[State, ...]
    snapshots: frozenset[int]


NOTHING = Promise((FRESH,), frozenset())


class Moment(NamedTuple):
    """Between two operations: how many came before, the disk, the promise in force."""

    number: int
    disk: Disk
    promise: Promise


@dataclass(slots=True)
class Recording:
    """A life that was lived, on a disk that had a past."""

    ops: list[Op]
    begin: Callable[[], Disk] = Disk
    promise: Promise = NOTHING

    def moments(self) -> Iterator[Moment]:
        """Each moment of the life. The disk is one and the same, and moves on."""
        disk, promise = self.begin(), self.promise
        yield Moment(0, disk, promise)
        for number, op in enumerate(self.ops, 1):
            if op.kind == "mark":
                promise = op.data
            disk.apply(op)
            yield Moment(number, disk, promise)

    def disk_at(self, number: int) -> Disk:
        """A disk of its own, as it was at a moment."""
        disk = self.begin()
        for op in self.ops[:number]:
            disk.apply(op)
        return disk


class Life:
    """One process on one directory, with its promises marked."""

    def __init__(self, directory: Path, recorder: Recorder, promise: Promise) -> None:
        self.directory, self._recorder, self.promise = directory, recorder, promise
        self.journal = open_journal(directory / "node")
        self._promise(states=(state_of(self.journal),))
        self.store = open_store(directory)

    def sync(self) -> None:
        """The only way to a new promise about the journal."""
        now = state_of(self.journal)
        self._promise(states=(*self.promise.states[:1], now))
        self.journal.sync()
        self._promise(states=(now,))

    def snapshot(self, payload: bytes) -> None:
        """As a replica does: the file, then the log is trimmed, then the eldest file goes."""
        journal = self.journal
        header = self.store.write(
            index=journal.last_index,
            term=journal.last_term,
            members=[1],
            state_digest="d",
            chunks=[payload[:700], payload[700:]],
        )
        self._promise(snapshots=self.promise.snapshots | {header.index})
        older = sorted(self.promise.snapshots)[:-1]
        if older:
            journal.trim_to(max(older[-1], journal.base_index))
        self._prune()
        self.sync()

    def install(self, index: int, term: int, payload: bytes, *, scratch: Path) -> None:
        """As a replica does with what a leader sends: the file, the log begins anew, then sync."""
        sent = open_store(scratch).write(
            index=index, term=term, members=[1], state_digest="d", chunks=[payload]
        )
        with open_store(scratch).reader(sent) as reader:
            install = self.store.begin_install(reader.header_bytes)
            for offset in range(0, len(payload), 1000):
                install.write(offset, reader.read(offset, 1000))
        install.finish()
        self._promise(snapshots=self.promise.snapshots | {index})
        self.journal.set_vote(max(term, self.journal.term), None)
        self.journal.reset(index, term)
        self._prune()
        self.sync()

    def close(self) -> None:
        self.journal.close()

    def _prune(self) -> None:
        self._promise(snapshots=frozenset(sorted(self.promise.snapshots)[-2:]))
        self.store.prune()

    def _promise(
        self,
        *,
        states: tuple[State, ...] | None = None,
        snapshots: frozenset[int] | None = None,
    ) -> None:
        if states is not None:
            self.promise = self.promise._replace(states=states)
        if snapshots is not None:
            self.promise = self.promise._replace(snapshots=snapshots)
        self._recorder.mark(self.promise)


def busy_life(life: Life, scratch: Path) -> None:
    """Entries, votes, conflicts, snapshots; checkpoints between them; ends with a full log."""
    journal = life.journal
    journal.set_vote(1, 1)
    life.sync()
    append(journal, *[b"first %d " % number * 40 for number in range(12)])
    life.sync()
    append(journal, b"large" * 2000, b"small")
    life.sync()
    life.snapshot(b"state" * 300)
    journal.set_vote(3, None)
    journal.truncate_from(14)
    append(journal, b"instead" * 900, b"", term=3)
    life.sync()
    journal.set_vote(3, 2)
    life.sync()
    for number in range(6):
        append(journal, *[b"more %d" % number * 400] * 3, term=3)
        life.sync()
    life.snapshot(b"state later" * 300)
    append(journal, b"a" * 5000, b"b", term=3)
    life.sync()


def first_life(life: Life, scratch: Path) -> None:
    """Every kind of change a journal and a snapshot store know: a busy life, and an install."""
    busy_life(life, scratch)
    journal = life.journal
    life.snapshot(b"state last" * 300)
    journal.truncate_from(journal.last_index - 1)
    journal.set_vote(4, 1)
    life.sync()
    life.install(90, 5, b"from the leader" * 200, scratch=scratch)
    append(journal, b"goes on", term=5)
    life.sync()


def later_life(life: Life, scratch: Path) -> None:
    """A node that comes back after a crash, and does a little."""
    journal = life.journal
    journal.set_vote(journal.term + 1, 1)
    append(journal, b"after the crash" * 30, term=journal.term)
    life.sync()
    append(journal, b"and more" * 700, term=journal.term)
    life.sync()


def adopting_life(life: Life, scratch: Path) -> None:
    """A node that comes back and starts from its newest snapshot, as a replica does."""
    journal, newest = life.journal, life.store.newest()
    if newest is not None:
        life._promise(snapshots=frozenset({newest.index}))
        if newest.index > journal.last_index:
            journal.set_vote(max(newest.term, journal.term), None)
            journal.reset(newest.index, newest.term)
    later_life(life, scratch)


def live(
    directory: Path,
    script: Callable[[Life, Path], None],
    *,
    scratch: Path,
    begin: Callable[[], Disk] = Disk,
    promise: Promise = NOTHING,
    on_op: Callable[[int], None] = lambda number: None,
) -> Recording:
    """Lives a life, to a clean end, on what `begin` gives; `directory` is written over."""
    put_image(directory, begin().cached)
    recorder = Recorder(directory, on_op)
    with mock.patch.multiple(journal_module, **_SMALL_BOUNDS), recorder.recording():
        life = Life(directory, recorder, promise)
        try:
            script(life, scratch)
        finally:
            life.close()
    recording = Recording(recorder.ops, begin, promise)
    recorder.verify(recording.disk_at(len(recorder.ops)))
    return recording


def open_store(directory: Path) -> SnapshotStore:
    return SnapshotStore(directory / "snapshots", cluster_id="c", genesis_digest="ab")


def check_recovery(directory: Path, promise: Promise, *, also_read: bool = False) -> State:
    """Asserts that the files in `directory` open with what was promised, and go on; what they say.

    A crash alone, without damage, is no reason to refuse.
    """
    node = directory / "node"
    if also_read and (node / "journal.sqlite3").exists():
        contents = read_journal(node)
        read = State(contents.entries, contents.hard_state.term, contents.hard_state.voted_for)
        assert read in promise.states, _difference(read, promise)
    journal = open_journal(node)
    state = state_of(journal)
    assert state in promise.states, _difference(state, promise)
    _check_snapshots(directory, journal, promise)
    append(journal, b"goes on", term=journal.term)
    journal.sync()
    journal.close()
    expected = [*state.entries, (b"goes on", state.entries[-1][1] + 1, state.term)]
    again = open_journal(node)
    assert state_of(again).entries == expected
    again.close()
    return state


def _check_snapshots(directory: Path, journal: Journal, promise: Promise) -> None:
    store = open_store(directory)
    headers: list[SnapshotHeader] = []
    for file in store.candidates():
        assert file.header is not None, f"{file.path.name}: {file.problem}"
        store.load(file.header)
        headers.append(file.header)
    found = {header.index for header in headers}
    assert promise.snapshots <= found, (promise.snapshots, found)
    covered = journal.base_index == 1 or any(index >= journal.base_index for index in found)
    assert covered, f"the log begins at {journal.base_index}, snapshots are {sorted(found)}"


def _difference(state: State, promise: Promise) -> str:
    def brief(each: State) -> object:
        entries = each.entries
        return (len(entries), entries[0][1:], entries[-1][1:], each.term, each.voted_for)

    return f"found {brief(state)}, promised {[brief(each) for each in promise.states]}"


def put_image(directory: Path, image: Image) -> None:
    """Makes `directory` hold exactly these files."""
    for path in sorted(directory.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    for name in ("node", "snapshots"):
        (directory / name).mkdir(parents=True, exist_ok=True)
    for path, content in image.items():
        (directory / path).parent.mkdir(exist_ok=True)
        (directory / path).write_bytes(content)

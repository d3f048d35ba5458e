"""Crashes at every operation on the disk: a node's files open with what was promised, always.

A life is recorded once, to the write. Then the disk is rebuilt as a crash at each moment of it
would have left it, and opened: after kill -9, with all that was written; after a loss of power,
with what was synced and any part of the rest. HYPOTHESIS_PROFILE=long tries every moment, and the
crashes during each recovery; without it a spread of them.
"""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from raftbook.errors import StorageError
from tests.storage.crash_disk import Disk, Image, Op
from tests.storage.lives import (
    NOTHING,
    Life,
    Moment,
    Recording,
    adopting_life,
    check_recovery,
    first_life,
    later_life,
    live,
    put_image,
)

LONG = os.environ.get("HYPOTHESIS_PROFILE", "quick") == "long"
POWER_LOSSES = 12 if LONG else 1  # a moment, besides the least and the most that may be left
SEED = 7


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    folder = tmp_path_factory.mktemp("life")
    return live(folder / "life", first_life, scratch=folder / "scratch")


class Tried:
    """Crashes tried so far; the same files under the same promise need to be opened once."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._seen: set[int] = set()

    def crash(self, image: Image, moment: Moment, what: str) -> None:
        """Asserts that these files recover."""
        seen = hash((frozenset(image.items()), moment.promise.snapshots, str(moment.promise)))
        if seen in self._seen:
            return
        self._seen.add(seen)
        put_image(self._directory, image)
        try:
            check_recovery(
                self._directory, moment.promise, also_read=LONG or moment.number % 4 == 0
            )
        except BaseException as error:
            error.add_note(f"{what} after operation {moment.number}")
            raise

    def __len__(self) -> int:
        return len(self._seen)


def test_a_life_has_every_kind_of_operation(recording: Recording) -> None:
    kinds = {(op.kind, op.path.rpartition("/")[2].split("-")[0]) for op in recording.ops}
    assert {
        ("create", "journal.witness"),
        ("rename", "journal.sqlite3.building"),
        ("truncate", "journal.sqlite3"),  # the write-ahead log, "-wal", at the opening
        ("sync", "journal.witness"),
        ("write", "journal.sqlite3"),
        ("rename", "snapshot"),
        ("unlink", "snapshot"),
        ("sync_dir", "snapshots"),
    } <= {(kind, name) for kind, name in kinds}
    in_the_file = [op for op in recording.ops if op.path == "node/journal.sqlite3"]
    assert sum(op.kind == "sync" for op in in_the_file) >= 4  # checkpoints


def test_killed_at_any_operation(recording: Recording, tmp_path: Path) -> None:
    tried = Tried(tmp_path)
    for moment in recording.moments():
        tried.crash(moment.disk.cached, moment, "killed")
    assert len(tried) > 250


def test_power_lost_at_any_operation(recording: Recording, tmp_path: Path) -> None:
    tried, rng = Tried(tmp_path), random.Random(SEED)
    for moment in recording.moments():
        for image in moment.disk.after_power_loss(rng, count=POWER_LOSSES):
            if LONG or rng.random() < 0.5:
                tried.crash(image, moment, "power lost")
    assert len(tried) > 300


def test_a_process_killed_by_a_signal_before_an_operation(
    recording: Recording, tmp_path: Path
) -> None:
    """The real thing, with real files: what the model says of kill -9 is true."""
    promises = {moment.number: moment.promise for moment in recording.moments()}
    numbers = [number for number, op in enumerate(recording.ops) if op.kind != "mark"]
    for number in numbers[:: 1 if LONG else 11]:
        directory = tmp_path / str(number)

        def die(at: int, number: int = number) -> None:
            if at == number:
                os.kill(os.getpid(), signal.SIGKILL)

        child = os.fork()
        if child == 0:
            try:
                live(directory, first_life, scratch=tmp_path / "scratch", on_op=die)
            finally:
                os._exit(1)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status), number
        check_recovery(directory, promises[number])


def _begin_again(recording: Recording, moment: Moment, image: Image | None) -> Callable[[], Disk]:
    """The disk on which the next process starts: after kill -9 the page cache is still there."""
    if image is not None:
        return lambda: Disk(image)
    return lambda: recording.disk_at(moment.number)


def test_a_second_crash_while_recovering_from_the_first(
    recording: Recording, tmp_path: Path
) -> None:
    rng = random.Random(SEED)
    tried = Tried(tmp_path / "crash")
    for number, disk, promise in recording.moments():
        if number % (1 if LONG else 110) != (0 if LONG else 20):
            continue
        least, *_, random_one = disk.after_power_loss(rng, count=1)
        for image in (None, least, random_one):
            begin = _begin_again(recording, Moment(number, disk, promise), image)
            later = live(
                tmp_path / "later",
                later_life,
                scratch=tmp_path / "scratch",
                begin=begin,
                promise=promise,
            )
            for moment in later.moments():
                if rng.random() < (0.9 if LONG else 0.85):
                    continue
                tried.crash(moment.disk.cached, moment, f"killed at {number}, and again")
                for torn in moment.disk.after_power_loss(rng, count=1):
                    tried.crash(torn, moment, f"crashed at {number}, then without power")
    assert len(tried) > 50


def test_names_that_a_killed_node_had_not_synced_are_durable_once_the_next_one_builds_on_them(
    recording: Recording, tmp_path: Path
) -> None:
    """1. A file has its name; 2. kill -9 before the directory is synced; 3. the next process finds
    the file and acknowledges what needs it; 4. the power fails."""
    tried = Tried(tmp_path / "crash")
    renames = [number for number, op in enumerate(recording.ops, 1) if op.kind == "rename"]
    assert len(renames) >= 5
    for number in renames:
        later = live(
            tmp_path / "later",
            adopting_life,
            scratch=tmp_path / "scratch",
            begin=_begin_again(recording, Moment(number, Disk(), NOTHING), None),
        )
        for moment in later.moments():
            if moment.number % 4 == 0 or moment.number == len(later.ops):
                least = next(moment.disk.after_power_loss(random.Random(SEED), count=0))
                if moment.promise is not NOTHING:
                    tried.crash(least, moment, f"killed at {number}, then without power")
    assert len(tried) > 20


# -- the harness can fail: a node that leaves out a step is found out ---------------------------


def without(recording: Recording, left_out: Callable[[Op], bool]) -> Recording:
    return replace(recording, ops=[op for op in recording.ops if not left_out(op)])


JOURNAL, WITNESS = "node/journal.sqlite3", "node/journal.witness"
OMISSIONS: dict[str, Callable[[Op], bool]] = {
    "the sync of the write-ahead log": lambda op: (op.kind, op.path) == ("sync", f"{JOURNAL}-wal"),
    "the sync of the file in a checkpoint": lambda op: (op.kind, op.path) == ("sync", JOURNAL),
    "the sync of a snapshot": lambda op: op.kind == "sync" and op.path.startswith("snapshots/"),
    "the sync of the snapshots' names": lambda op: (op.kind, op.path) == ("sync_dir", "snapshots"),
    "the sync of the journal's name": lambda op: (op.kind, op.path) == ("sync_dir", "node"),
    "the sync of a fresh witness": lambda op: (op.kind, op.path) == ("sync", WITNESS),
}


@pytest.mark.parametrize("step", OMISSIONS)
def test_a_life_without_one_of_its_syncs_is_found_out(
    recording: Recording, tmp_path: Path, step: str
) -> None:
    careless = without(recording, OMISSIONS[step])
    tried, rng = Tried(tmp_path), random.Random(SEED)

    def try_all() -> None:
        for moment in careless.moments():
            for image in moment.disk.after_power_loss(rng, count=2):
                tried.crash(image, moment, "power lost")

    with pytest.raises((AssertionError, StorageError)):
        try_all()


def test_a_promise_made_before_the_sync_is_found_out(tmp_path: Path) -> None:
    def hasty(life: Life, scratch: Path) -> None:
        journal = life.journal
        journal.set_vote(1, 1)
        life._promise(states=(life.promise.states[0]._replace(term=1, voted_for=1),))
        life.sync()

    careless = live(tmp_path / "life", hasty, scratch=tmp_path / "scratch")
    tried = Tried(tmp_path / "crash")

    def kill_at_all() -> None:
        for moment in careless.moments():
            tried.crash(moment.disk.cached, moment, "killed")

    with pytest.raises(AssertionError, match="promised"):
        kill_at_all()

"""Every file of a node cut short at many lengths and with bits flipped: the truth, or a refusal.

The files are real ones, of a whole life: a stopped node's, and one's that was killed amid work.
HYPOTHESIS_PROFILE=long tries every byte and length of small files and thousands in big ones;
without it a spread of them.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from raftbook.errors import StorageError
from raftbook.storage.journal import read_journal
from tests.storage.crash_disk import Image
from tests.storage.journal_samples import State, flipped, open_journal, state_of
from tests.storage.lives import (
    Promise,
    Recording,
    busy_life,
    check_recovery,
    live,
    open_store,
    put_image,
)

LONG = os.environ.get("HYPOTHESIS_PROFILE", "quick") == "long"
SMALL_BYTES = 2048
PAGE_BYTES, FRAME_BYTES, WAL_HEADER_BYTES = 4096, 4096 + 24, 32
JOURNAL, WAL, WITNESS = (f"node/journal.{end}" for end in ("sqlite3", "sqlite3-wal", "witness"))


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    folder = tmp_path_factory.mktemp("life")
    return live(folder / "life", busy_life, scratch=folder / "scratch")


@pytest.fixture(scope="module")
def stopped(recording: Recording) -> tuple[Image, Promise]:
    """After a clean end: no write-ahead log."""
    *_, last = recording.moments()
    assert WAL not in last.disk.cached
    return last.disk.cached, last.promise


@pytest.fixture(scope="module")
def killed(recording: Recording) -> tuple[Image, Promise]:
    """Killed after the last promise, with transactions in the log and older frames behind them."""
    last = max(number for number, op in enumerate(recording.ops, 1) if op.kind == "mark")
    image = recording.disk_at(last).cached
    assert len(image[WAL]) > 10 * FRAME_BYTES
    return image, recording.ops[last - 1].data


def lengths(path: str, content: bytes, rng: random.Random) -> list[int]:
    """Every one of a small file; of a big one its boundaries, one off, and some in between."""
    if len(content) <= SMALL_BYTES:
        return list(range(0, len(content), 1 if LONG else 7))
    start, step = (WAL_HEADER_BYTES, FRAME_BYTES) if path == WAL else (0, PAGE_BYTES)
    stride = step if LONG else 7 * step
    edges = {at + off for at in range(start, len(content), stride) for off in (-1, 0, 1)}
    between = {rng.randrange(len(content)) for _ in range(1500 if LONG else 8)}
    wanted = sorted(edges | between | {0, 1, 31, 33, 99, 100, 101, len(content) - 1})
    return [length for length in wanted if 0 <= length < len(content)]


def offsets(content: bytes) -> Iterator[int]:
    """The header, then a spread of odd stride; every byte of a small file in the long profile."""
    head = min(len(content), SMALL_BYTES if LONG else 64)
    step = 11 if LONG else max(1, len(content) // 40) | 1
    yield from range(0, head, 1 if LONG else 3)
    yield from range(head, len(content), step)


def outcome(directory: Path, image: Image, promise: Promise) -> State | None:
    """The state found, None if refused with a reason and a remedy; all else is a failure.

    Damage to snapshot files is no reason to refuse here: what a replica does about it, it decides.
    """
    put_image(directory, image)
    node = directory / "node"
    try:
        read_journal(node)
    except StorageError as error:
        _check_refusal(error, directory)
    try:
        journal = open_journal(node)
    except StorageError as error:
        _check_refusal(error, directory)
        return None
    state = state_of(journal)
    journal.close()
    again = open_journal(node)  # what was opened once stays what it was
    assert state_of(again) == state
    again.close()
    return state


def _check_refusal(error: StorageError, directory: Path) -> None:
    assert error.path.startswith(str(directory)), error
    assert len(error.reason) > 10 and len(error.remedy) > 10, error


def check_snapshots(directory: Path, image: Image, allowed: dict[int, bytes]) -> int:
    """Asserts that no file is believed that is not whole; how many are not."""
    refused = 0
    for file in open_store(directory).candidates():
        if file.header is None:
            assert file.problem
            refused += 1
            continue
        try:
            payload = open_store(directory).load(file.header)
        except StorageError as error:
            _check_refusal(error, directory)
            refused += 1
        else:
            assert payload == allowed[file.header.index], file.path.name
    return refused


@pytest.mark.parametrize("kind", ["stopped", "killed"])
def test_a_file_cut_short_opens_with_the_truth_or_is_refused(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    image, promise = request.getfixturevalue(kind)
    rng, refused = random.Random(3), 0
    for path in (JOURNAL, WAL, WITNESS):
        for length in lengths(path, image.get(path, b""), rng):
            state = outcome(tmp_path, {**image, path: image[path][:length]}, promise)
            assert state in (*promise.states, None), (path, length)
            refused += state is None
    assert refused > 10


@pytest.mark.parametrize("kind", ["stopped", "killed"])
def test_a_flipped_bit_is_harmless_or_refused(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    image, promise = request.getfixturevalue(kind)
    refused = 0
    for path in (JOURNAL, WAL, WITNESS):
        content = image.get(path, b"")
        for offset in offsets(content):
            damaged = flipped(content, offset, offset * 5 % 8)
            state = outcome(tmp_path, {**image, path: damaged}, promise)
            assert state in (*promise.states, None), (path, offset)
            refused += state is None
    assert refused > 20


def test_a_file_lost_is_refused(killed: tuple[Image, Promise], tmp_path: Path) -> None:
    image, promise = killed
    for path in (JOURNAL, WAL, WITNESS):
        without = {name: content for name, content in image.items() if name != path}
        assert outcome(tmp_path, without, promise) is None, path


def test_a_sector_of_another_time_is_harmless_or_refused(
    recording: Recording, killed: tuple[Image, Promise], tmp_path: Path
) -> None:
    """A disk that once did not write a page, or wrote it elsewhere: its bytes were right once."""
    image, promise = killed
    earlier = [moment.disk.cached for moment in recording.moments() if moment.number % 40 == 0]
    rng, refused, tried = random.Random(5), 0, 0
    for path in (JOURNAL, WAL):
        content = image[path]
        for start in range(0, len(content), PAGE_BYTES // (8 if LONG else 1)):
            end = start + rng.choice((512, PAGE_BYTES))
            old = rng.choice(earlier).get(path, b"")[start:end].ljust(end - start, b"\0")
            damaged = content[:start] + old + content[end:]
            state = outcome(tmp_path, {**image, path: damaged[: len(content)]}, promise)
            assert state in (*promise.states, None), (path, start)
            refused += state is None
            tried += 1
    assert 10 < refused < tried


def test_snapshots_cut_or_flipped_are_never_believed(
    killed: tuple[Image, Promise], tmp_path: Path
) -> None:
    image, _ = killed
    paths = [path for path in image if path.startswith("snapshots/")]
    put_image(tmp_path, image)
    store = open_store(tmp_path)
    allowed = {
        file.index: store.load(file.header)
        for file in store.candidates()
        if file.header is not None
    }
    assert len(allowed) == len(paths) == 2
    for path in paths:
        content = image[path]
        damaged = [content[:length] for length in lengths(path, content, random.Random(3))]
        damaged += [flipped(content, offset, offset % 8) for offset in offsets(content)]
        for each in damaged:
            put_image(tmp_path, {**image, path: each})
            assert check_snapshots(tmp_path, image, allowed) == 1


def test_what_is_not_damaged_opens(killed: tuple[Image, Promise], tmp_path: Path) -> None:
    """The other side of the coin: the harness does not refuse everything."""
    image, promise = killed
    put_image(tmp_path, image)
    assert check_recovery(tmp_path, promise) in promise.states

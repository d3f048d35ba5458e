"""A full disk: which errors pass by themselves, and when it is asked again."""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from raftbook.errors import StorageError
from raftbook.storage import journal as journal_module
from raftbook.storage import space
from raftbook.storage.failures import explain
from raftbook.storage.snapshots import SnapshotStore
from raftbook.storage.space import ROOM_BYTES, has_room
from tests.storage.journal_samples import open_journal


@pytest.mark.parametrize(
    ("code", "passes"),
    [
        (errno.ENOSPC, True),
        (errno.EDQUOT, True),
        (errno.EMFILE, True),
        (errno.ENFILE, True),
        (errno.EIO, False),
        (errno.EROFS, False),
    ],
)
def test_only_a_lack_of_something_passes_by_itself(code: int, passes: bool) -> None:
    error = explain(Path("journal"), OSError(code, os.strerror(code)))
    assert error.passes is passes


def test_sqlites_word_for_a_full_disk_passes_too_and_its_io_error_does_not() -> None:
    for code, passes in ((sqlite3.SQLITE_FULL, True), (sqlite3.SQLITE_IOERR_FSYNC, False)):
        error = sqlite3.OperationalError("trouble")
        error.sqlite_errorcode = code
        assert explain(Path("journal"), error).passes is passes


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_sync_that_failed_does_not_pass_whatever_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """A name that a failed sync left in the page cache is still there for the next process, which
    would build on it."""
    store = SnapshotStore(tmp_path, cluster_id="c", genesis_digest="ab")
    sync = os.fsync

    def fail(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(code, os.strerror(code))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StorageError, match="a sync failed") as caught:
        store.write(index=7, term=1, members=[1], state_digest="d", chunks=[b"state"])
    assert [file.index for file in store.candidates()] == [7]
    assert not caught.value.passes


def test_a_witness_that_cannot_be_synced_stops_the_node_for_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(journal_module, "CHECKPOINT_WAL_BYTES", 1)
    journal = open_journal(tmp_path)
    journal.append(b"an order", 2, 0)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", fail)
        with pytest.raises(StorageError, match="a sync failed") as caught:
            journal.sync()
    assert not caught.value.passes
    journal.close()


def test_a_disk_with_room_is_found_and_nothing_is_left_on_it(tmp_path: Path) -> None:
    assert has_room(tmp_path)
    assert os.listdir(tmp_path) == []


def test_a_disk_with_little_free_has_no_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = SimpleNamespace(f_bavail=ROOM_BYTES // 4096 - 1, f_frsize=4096)
    monkeypatch.setattr(space.os, "statvfs", lambda directory: free)
    assert not has_room(tmp_path)


@pytest.mark.parametrize("step", ["open", "write", "fsync"])
def test_what_is_free_may_not_be_for_us(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """A quota does not show in what is free."""

    def over_quota(*_: object) -> int:
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    with monkeypatch.context() as patch:
        patch.setattr(space.os, step, over_quota)
        assert not has_room(tmp_path)
    assert os.listdir(tmp_path) == []


def test_a_short_write_is_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(space.os, "write", lambda descriptor, content: 100)
    assert not has_room(tmp_path)


def test_a_snapshot_leaves_the_journal_its_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It took all there was before it failed: a commit in that moment fenced the node, which had
    room again at once, and tried the same snapshot again."""
    written = 0

    def statvfs(path: Path) -> SimpleNamespace:
        return SimpleNamespace(f_bavail=ROOM_BYTES + 3_000 - written, f_frsize=1)

    def chunks() -> Iterator[bytes]:
        nonlocal written
        for _ in range(10):
            yield bytes(1_000)
            written += 1_000

    monkeypatch.setattr(os, "statvfs", statvfs)
    store = SnapshotStore(tmp_path, cluster_id="c", genesis_digest="ab")
    with pytest.raises(StorageError, match="are free") as caught:
        store.write(index=7, term=1, members=[1], state_digest="d", chunks=chunks())
    assert caught.value.passes
    assert written == 3_000
    assert list(tmp_path.iterdir()) == []

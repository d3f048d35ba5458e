"""Files that are wholly there or not there."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from raftbook.storage.atomic import (
    create_directory,
    create_exclusive,
    rename_durably,
    write_durably,
)


def test_the_mode_does_not_depend_on_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        os.close(create_exclusive(tmp_path / "public", mode=0o644))
    finally:
        os.umask(before)
    assert (tmp_path / "public").stat().st_mode & 0o777 == 0o644


def test_a_renamed_file_replaces_the_other_and_its_directory_is_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_ino))
    (tmp_path / "old").write_bytes(b"old")
    (tmp_path / "new").write_bytes(b"new")
    rename_durably(tmp_path / "new", tmp_path / "old")
    assert (tmp_path / "old").read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["old"]
    assert synced == [tmp_path.stat().st_ino]


def test_a_file_is_written_whole_or_left_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, left_over = tmp_path / "file", tmp_path / f".file.{os.getpid()}"
    left_over.write_bytes(b"of a process that was killed")
    write_durably(path, b"first")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("raftbook.storage.atomic._sync", full)
    with pytest.raises(OSError, match="No space"):
        write_durably(path, b"second")
    assert [each.name for each in tmp_path.iterdir()] == ["file"]
    assert path.read_bytes() == b"first"


def test_a_taken_name_is_not_created_again(tmp_path: Path) -> None:
    os.close(create_exclusive(tmp_path / "file"))
    with pytest.raises(FileExistsError):
        create_exclusive(tmp_path / "file")


def test_a_directory_is_created_with_the_missing_ones_above_it(tmp_path: Path) -> None:
    create_directory(tmp_path / "a" / "b")
    create_directory(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()

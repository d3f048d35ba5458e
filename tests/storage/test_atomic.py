"""Files that are wholly there or not there."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from raftbook.storage.atomic import create_directory, create_exclusive, write_file_atomically


def test_a_file_is_written_with_its_mode_and_nothing_beside_it(tmp_path: Path) -> None:
    write_file_atomically(tmp_path / "token", b"secret")
    assert (tmp_path / "token").read_bytes() == b"secret"
    assert (tmp_path / "token").stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["token"]


def test_the_mode_does_not_depend_on_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        write_file_atomically(tmp_path / "public", b"", mode=0o644)
    finally:
        os.umask(before)
    assert (tmp_path / "public").stat().st_mode & 0o777 == 0o644


def test_a_file_is_replaced(tmp_path: Path) -> None:
    write_file_atomically(tmp_path / "file", b"old")
    write_file_atomically(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"new"


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failure_at_any_step_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    write_file_atomically(tmp_path / "file", b"old")
    monkeypatch.setattr(os, step, full)
    with pytest.raises(OSError, match="No space left"):
        write_file_atomically(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_taken_name_is_not_created_again(tmp_path: Path) -> None:
    os.close(create_exclusive(tmp_path / "file"))
    with pytest.raises(FileExistsError):
        create_exclusive(tmp_path / "file")


def test_a_directory_is_created_with_the_missing_ones_above_it(tmp_path: Path) -> None:
    create_directory(tmp_path / "a" / "b")
    create_directory(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()

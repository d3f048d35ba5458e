"""The mark beside a node's directory: it outlives the directory, and speaks of one cluster only."""

import errno
from dataclasses import replace
from pathlib import Path

import pytest

from raftbook.errors import StorageError
from raftbook.storage.founded_mark import FoundedMark
from raftbook.storage.journal import Journal, JournalIdentity

OURS = JournalIdentity("demo", 1, "00" * 32)


def test_a_mark_outlives_the_directory(tmp_path: Path) -> None:
    directory = tmp_path / "node-1"
    Journal.open(directory, OURS).close()
    mark = FoundedMark(directory, OURS)
    assert not mark.is_set
    mark.set()
    mark.set()
    directory.rename(tmp_path / "aside")
    assert FoundedMark(directory, OURS).is_set
    assert sorted(each.name for each in tmp_path.iterdir()) == ["aside", "node-1.founded"]
    assert "Remove this file only to begin a new" in mark.path.read_text()


@pytest.mark.parametrize(
    "other", [{"cluster_id": "demo2"}, {"node_id": 2}, {"genesis_digest": "01" * 32}]
)
def test_a_mark_of_another_cluster_says_nothing_and_is_replaced(
    tmp_path: Path, other: dict[str, object]
) -> None:
    directory = tmp_path / "node-1"
    FoundedMark(directory, replace(OURS, **other)).set()  # type: ignore[arg-type]
    mark = FoundedMark(directory, OURS)
    assert not mark.is_set
    mark.set()
    assert mark.is_set


def test_a_mark_that_cannot_be_read_or_written_is_an_error(tmp_path: Path) -> None:
    mark = FoundedMark(tmp_path / "node-1", OURS)
    mark.path.mkdir()
    with pytest.raises(StorageError, match=r"node-1\.founded"):
        _ = mark.is_set
    lost = FoundedMark(tmp_path / "absent" / "node-1", OURS)
    with pytest.raises(StorageError, match="absent"):
        lost.set()
    assert list(tmp_path.iterdir()) == [mark.path]


def test_a_read_only_place_is_an_error_like_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There even the removal of a file that is not there fails."""

    def refused(*args: object, **options: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("raftbook.storage.atomic.create_exclusive", refused)
    monkeypatch.setattr(Path, "unlink", refused)
    with pytest.raises(StorageError, match="Read-only"):
        FoundedMark(tmp_path / "node-1", OURS).set()

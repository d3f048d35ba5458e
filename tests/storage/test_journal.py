"""The journal of one node: what it shows, what it keeps, whom it refuses."""

from __future__ import annotations

import errno
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from raftbook.errors import StorageError
from raftbook.storage import journal as journal_module
from raftbook.storage.directory import check_directory
from raftbook.storage.journal import Journal, read_journal
from raftbook.storage.witness import Witness
from tests.storage.journal_samples import (
    IDENTITY,
    append,
    files_in,
    in_a_process_that_dies,
    open_journal,
    put_files,
    reopened_state,
    state_of,
)


@pytest.fixture
def journal(tmp_path: Path):
    opened = open_journal(tmp_path / "node-1")
    opened.set_vote(1, None)
    opened.sync()
    yield opened
    opened.close()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "node-1"


def rows_on_disk(journal: Journal) -> list[int]:
    rows = journal._open_connection.execute("SELECT entry_index FROM entries ORDER BY 1")
    return [index for (index,) in rows]


def test_a_fresh_journal_has_one_base_entry_of_term_zero(directory: Path) -> None:
    journal = open_journal(directory)
    assert journal.incarnation == "c0ffee"
    assert journal.entries == [(b"", 1, 0)]
    assert (journal.term, journal.voted_for, journal.dirty) == (0, None, False)
    assert (journal.base_index, journal.base_term) == (1, 0)
    assert (journal.last_index, journal.last_term) == (1, 0)
    journal.close()


def test_an_incarnation_is_chosen_at_random_once(tmp_path: Path) -> None:
    incarnations = []
    for name in ("a", "b", "a"):
        journal = Journal.open(tmp_path / name, IDENTITY)
        incarnations.append(journal.incarnation)
        journal.close()
    assert incarnations[0] == incarnations[2] != incarnations[1]
    assert len(bytes.fromhex(incarnations[0])) == 16


def test_missing_parent_directories_are_created(tmp_path: Path) -> None:
    journal = open_journal(tmp_path / "data" / "node-1")
    journal.close()
    assert (tmp_path / "data" / "node-1" / "journal.sqlite3").stat().st_mode & 0o777 == 0o600


def test_changes_are_seen_at_once_and_kept_after_sync(journal: Journal, directory: Path) -> None:
    append(journal, b"one", b"two")
    journal.set_vote(3, 2)
    assert journal.entries == [(b"", 1, 0), (b"one", 2, 1), (b"two", 3, 1)]
    assert journal.sync()
    journal.close()
    again = open_journal(directory)
    assert again.entries == [(b"", 1, 0), (b"one", 2, 1), (b"two", 3, 1)]
    assert (again.term, again.voted_for, again.bytes_in_tail) == (3, 2, 6)
    again.close()


def test_changes_without_sync_are_lost(journal: Journal, directory: Path) -> None:
    append(journal, b"kept")
    journal.sync()
    append(journal, b"lost")
    journal.set_vote(2, 1)
    journal.close()
    assert reopened_state(directory) == ([(b"", 1, 0), (b"kept", 2, 1)], 1, None)


def test_sync_with_nothing_to_write_writes_nothing(journal: Journal) -> None:
    assert not journal.sync()
    journal.set_vote(1, None)  # what it was
    journal.trim_to(1)  # where it was
    assert not journal.dirty
    assert not journal.sync()


def test_a_sync_is_one_transaction_and_one_insert(journal: Journal) -> None:
    append(journal, b"old")
    journal.sync()
    statements: list[str] = []
    journal._open_connection.set_trace_callback(statements.append)
    journal.truncate_from(2)
    append(journal, *[b"new"] * 50, term=2)
    journal.set_vote(2, 1)
    journal.sync()
    assert [text.split()[0] for text in statements if text.split()[0] != "INSERT"] == [
        "BEGIN",
        "DELETE",
        "UPDATE",
        "COMMIT",
    ]


def test_truncate_drops_the_entries_from_an_index_on(journal: Journal, directory: Path) -> None:
    append(journal, b"a", b"b", b"c")
    journal.sync()
    journal.truncate_from(3)
    assert journal.dirty
    assert (journal.last_index, journal.bytes_in_tail) == (2, 1)
    journal.sync()
    journal.close()
    assert reopened_state(directory).entries == [(b"", 1, 0), (b"a", 2, 1)]


def test_truncate_then_append_replaces_in_one_step(journal: Journal, directory: Path) -> None:
    append(journal, b"a", b"b", b"c")
    journal.sync()
    journal.set_vote(2, None)
    journal.truncate_from(3)
    append(journal, b"B", term=2)
    journal.sync()
    journal.close()
    assert reopened_state(directory).entries == [(b"", 1, 0), (b"a", 2, 1), (b"B", 3, 2)]


def test_appended_and_dropped_before_the_sync_leaves_no_trace(journal: Journal) -> None:
    append(journal, b"a")
    journal.truncate_from(2)
    assert not journal.dirty
    assert rows_on_disk(journal) == []


def test_trim_makes_an_entry_the_base_and_forgets_its_payload(
    journal: Journal, directory: Path
) -> None:
    append(journal, b"aa", b"bb", b"cc")
    journal.sync()
    entries = journal.entries
    journal.trim_to(3)
    assert journal.entries == [(b"", 3, 1), (b"cc", 4, 1)]
    assert journal.entries is entries
    assert journal.bytes_in_tail == 2
    journal.sync()
    journal.close()
    assert reopened_state(directory).entries == [(b"", 3, 1), (b"cc", 4, 1)]


def test_trim_of_entries_that_were_never_synced(journal: Journal, directory: Path) -> None:
    append(journal, b"a", b"b", b"c")
    journal.trim_to(3)
    journal.sync()
    assert rows_on_disk(journal) == [4]
    journal.close()
    assert reopened_state(directory).entries == [(b"", 3, 1), (b"c", 4, 1)]


def test_trimmed_rows_are_deleted_a_few_per_sync(journal: Journal) -> None:
    append(journal, *[b"x"] * 1000)
    journal.sync()
    journal.trim_to(1001)
    left = []
    for _ in range(30):
        append(journal, b"y")
        journal.sync()
        left.append(len(rows_on_disk(journal)))
    # The rows 2 to 1001 go, 32 + 2 with every sync, while each sync adds one.
    assert left[:3] == [967, 934, 901]
    assert rows_on_disk(journal) == list(range(1002, 1032))


def test_a_reopening_amid_the_deletion_ignores_the_rows_below_the_base(
    journal: Journal, directory: Path
) -> None:
    append(journal, *[b"x"] * 300)
    journal.sync()
    journal.trim_to(300)
    journal.sync()
    assert rows_on_disk(journal)[0] == 34
    journal.close()
    again = open_journal(directory)
    assert again.entries == [(b"", 300, 1), (b"x", 301, 1)]
    for _ in range(8):
        append(again, b"y")
        again.sync()
    assert rows_on_disk(again) == list(range(301, 310))
    again.close()


@pytest.mark.parametrize("index", [1, 3, 5, 900])
def test_reset_leaves_an_empty_log_at_any_index(
    journal: Journal, directory: Path, index: int
) -> None:
    append(journal, b"a", b"b", b"c")
    journal.sync()
    journal.set_vote(7, None)
    journal.reset(index, 7)
    assert journal.entries == [(b"", index, 7)]
    append(journal, b"next", term=7)
    journal.sync()
    journal.close()
    assert reopened_state(directory).entries == [(b"", index, 7), (b"next", index + 1, 7)]


def test_trimmed_rows_go_soon_also_after_a_reset_far_ahead(journal: Journal) -> None:
    append(journal, b"a", b"b")
    journal.sync()
    journal.reset(1_000_000, 1)
    journal.sync()
    append(journal, b"c", b"d", b"e")
    journal.sync()
    journal.trim_to(1_000_002)
    journal.sync()
    assert rows_on_disk(journal) == [1_000_003]


def test_an_entry_out_of_order_is_our_bug(journal: Journal) -> None:
    append(journal, b"a", term=1)
    with pytest.raises(AssertionError, match=r"\(4, 2\)"):
        journal.append(b"gap", 4, 1)
    with pytest.raises(AssertionError, match=r"\(0, 1\)"):
        journal.append(b"older term", 3, 0)
    with pytest.raises(AssertionError):
        journal.truncate_from(1)
    with pytest.raises(AssertionError):
        journal.trim_to(3)


def test_a_second_vote_in_one_term_is_our_bug(journal: Journal) -> None:
    journal.set_vote(5, 2)
    journal.set_vote(5, 2)
    for term, voted_for in ((5, 3), (5, None), (4, 2)):
        with pytest.raises(AssertionError):
            journal.set_vote(term, voted_for)
    journal.set_vote(6, 3)
    assert (journal.term, journal.voted_for) == (6, 3)


def test_a_log_ahead_of_its_term_is_never_written(journal: Journal) -> None:
    append(journal, b"a", term=2)
    with pytest.raises(AssertionError, match=r"\(2, 1\)"):
        journal.sync()


def test_many_checkpoints_change_nothing(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "CHECKPOINT_WAL_BYTES", 50_000)
    journal = open_journal(directory)
    journal.set_vote(1, 1)
    for number in range(100):
        append(journal, b"%d" % number * 1000)
        if number % 10 == 9:
            journal.trim_to(journal.last_index - 4)
        journal.sync()
    expected = state_of(journal)
    assert (directory / "journal.sqlite3-wal").stat().st_size < 200_000
    journal.close()
    assert reopened_state(directory) == expected


def test_another_nodes_directory_is_refused_naming_both(journal: Journal, directory: Path) -> None:
    journal.close()
    for other, named in (
        (replace(IDENTITY, node_id=2), "node 2 of cluster 'test-cluster'"),
        (replace(IDENTITY, cluster_id="x"), "node 1 of cluster 'x'"),
        (replace(IDENTITY, node_id=2, genesis_digest="ff"), "genesis ff"),
    ):
        with pytest.raises(StorageError) as refused:
            open_journal(directory, other)
        assert "belongs to node 1 of cluster 'test-cluster' (genesis ab12)" in str(refused.value)
        assert named in refused.value.reason
        assert "configuration" in refused.value.remedy
    with pytest.raises(StorageError) as refused:
        open_journal(directory, replace(IDENTITY, genesis_digest="ff"))
    assert "(genesis ab12, not ff)" in refused.value.reason
    assert refused.value.remedy.startswith("put back what was edited")
    reopened_state(directory)


def test_a_directory_in_use_by_this_process_is_refused(journal: Journal, directory: Path) -> None:
    with pytest.raises(StorageError, match="in use by another process"):
        open_journal(directory)
    with pytest.raises(StorageError, match="in use by another process"):
        read_journal(directory)
    append(journal, b"still works")
    assert journal.sync()


_OPEN_ELSEWHERE = """
import sys
from pathlib import Path
from raftbook.errors import StorageError
from raftbook.storage.journal import Journal, JournalIdentity, read_journal
try:
    if sys.argv[2] == "read":
        read_journal(Path(sys.argv[1]))
    else:
        Journal.open(Path(sys.argv[1]), JournalIdentity("test-cluster", 1, "ab12"))
except StorageError as error:
    print(error)
"""


@pytest.mark.parametrize("how", ["open", "read"])
def test_a_directory_in_use_by_another_process_is_refused(
    journal: Journal, directory: Path, how: str
) -> None:
    command = [sys.executable, "-c", _OPEN_ELSEWHERE, str(directory), how]
    said = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "in use by another process" in said.stdout


def test_sqlite_itself_also_locks_other_tools_out(journal: Journal, directory: Path) -> None:
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        sqlite3.connect(directory / "journal.sqlite3", timeout=0).execute("SELECT * FROM entries")


def test_a_full_disk_stops_the_journal_and_keeps_what_was_synced(
    journal: Journal, directory: Path
) -> None:
    append(journal, b"kept")
    journal.sync()
    kept = state_of(journal)
    pages = journal._open_connection.execute("PRAGMA page_count").fetchone()[0]
    journal._open_connection.execute(f"PRAGMA max_page_count={pages + 2}")
    append(journal, bytes(100_000))
    journal.set_vote(2, 1)
    with pytest.raises(StorageError, match="disk full") as first:
        journal.sync()
    assert "free some space" in first.value.remedy
    for later in (
        journal.sync,
        lambda: append(journal, b"x"),
        lambda: journal.truncate_from(2),
        lambda: journal.trim_to(2),
        lambda: journal.reset(9, 9),
        lambda: journal.set_vote(9, 1),
    ):
        with pytest.raises(StorageError, match="disk full"):
            later()
    journal.close()
    assert reopened_state(directory) == kept


def test_an_io_error_after_the_commit_also_stops_the_journal(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(witness: Witness, sync_seq: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Witness, "record", broken)
    append(journal, b"a")
    with pytest.raises(StorageError, match="I/O error"):
        journal.sync()
    with pytest.raises(StorageError, match="I/O error"):
        journal.sync()


def test_close_may_be_called_twice(journal: Journal, directory: Path) -> None:
    journal.close()
    journal.close()
    assert not (directory / "journal.sqlite3-wal").exists()


def test_a_reader_sees_a_stopped_node_and_changes_nothing(
    journal: Journal, directory: Path
) -> None:
    append(journal, b"a", b"b")
    journal.set_vote(1, 2)
    journal.sync()
    crashed = directory.parent / "crashed"
    put_files(crashed, files_in(directory))
    before = {path: path.stat().st_mtime_ns for path in (crashed, *crashed.iterdir())}
    assert crashed / "journal.sqlite3-wal" in before

    contents = read_journal(crashed)
    assert contents.identity == IDENTITY
    assert contents.incarnation == "c0ffee"
    assert contents.entries == [(b"", 1, 0), (b"a", 2, 1), (b"b", 3, 1)]
    assert (contents.hard_state.term, contents.hard_state.voted_for) == (1, 2)
    assert {path: path.stat().st_mtime_ns for path in (crashed, *crashed.iterdir())} == before


def test_a_reader_of_a_directory_without_a_journal_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="holds no journal"):
        read_journal(tmp_path)


def test_a_reader_blames_the_file_and_not_its_copy(journal: Journal, directory: Path) -> None:
    journal.close()
    (directory / "journal.sqlite3").write_bytes(b"not a database" * 100)
    with pytest.raises(StorageError) as refused:
        read_journal(directory)
    assert refused.value.path == str(directory / "journal.sqlite3")


def test_a_fresh_directory_passes_the_check(tmp_path: Path) -> None:
    check_directory(tmp_path)
    check_directory(tmp_path / "absent")


@pytest.mark.parametrize("place", [".", "snapshots"])
def test_snapshots_without_a_journal_are_refused(tmp_path: Path, place: str) -> None:
    (tmp_path / place).mkdir(exist_ok=True)
    (tmp_path / place / "snapshot-00000000000000000007-1.raftbook").touch()
    for opening in (check_directory, open_journal):
        with pytest.raises(StorageError, match=r"missing, although the snapshot snapshot-0+7-1"):
            opening(tmp_path)


@pytest.mark.parametrize("lost", ["journal.sqlite3", "journal.witness"])
@pytest.mark.parametrize("killed", [False, True])
def test_a_lost_file_is_refused_and_never_made_anew(
    directory: Path, lost: str, killed: bool
) -> None:
    def work() -> None:
        journal = open_journal(directory)
        journal.set_vote(1, 1)
        append(journal, b"acknowledged")
        journal.sync()
        if not killed:
            journal.close()

    in_a_process_that_dies(work)
    (directory / lost).unlink()
    for _ in range(2):
        with pytest.raises(StorageError, match="missing, although"):
            open_journal(directory)


def test_a_backup_put_back_is_refused(journal: Journal, directory: Path) -> None:
    journal.close()
    backup = (directory / "journal.sqlite3").read_bytes()
    again = open_journal(directory)
    append(again, b"acknowledged")
    again.sync()
    again.close()
    (directory / "journal.sqlite3").write_bytes(backup)
    with pytest.raises(StorageError, match="lost committed transactions"):
        open_journal(directory)


def test_a_witness_of_another_journal_is_refused(journal: Journal, tmp_path: Path) -> None:
    journal.close()
    Journal.open(tmp_path / "other", IDENTITY, incarnation="other").close()
    witness = tmp_path / "node-1" / "journal.witness"
    witness.write_bytes((tmp_path / "other" / "journal.witness").read_bytes())
    with pytest.raises(StorageError, match="speaks of another journal"):
        open_journal(tmp_path / "node-1")


def test_a_creation_that_was_interrupted_is_done_again(directory: Path) -> None:
    directory.mkdir()
    (directory / "journal.witness").touch()
    (directory / "journal.sqlite3.building").write_bytes(b"half")
    journal = open_journal(directory)
    assert journal.entries == [(b"", 1, 0)]
    journal.close()
    assert sorted(path.name for path in directory.iterdir()) == [
        "journal.sqlite3",
        "journal.witness",
    ]

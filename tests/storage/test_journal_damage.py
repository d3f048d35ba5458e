"""Crashes and damage: a journal opens with the truth, or is refused with a reason.

"The truth" is what was synced. After a crash it may also be what was being synced.
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest

from raftbook.errors import StorageError
from raftbook.storage import journal as journal_module
from raftbook.storage.journal import Journal, read_journal
from tests.storage.journal_samples import (
    State,
    append,
    files_in,
    flipped,
    in_a_process_that_dies,
    open_journal,
    put_files,
    reopened_state,
    state_of,
)

JOURNAL, WAL, WITNESS = "journal.sqlite3", "journal.sqlite3-wal", "journal.witness"


def write_history(journal: Journal, after_sync: Callable[[], None] = lambda: None) -> None:
    """A life with every kind of change, in eight syncs of rows on several pages."""

    def sync() -> None:
        journal.sync()
        after_sync()

    journal.set_vote(1, 1)
    sync()
    append(journal, *[b"first %d " % number * 40 for number in range(12)])
    sync()
    append(journal, b"large" * 2000, b"small")
    sync()
    journal.trim_to(6)
    sync()
    journal.set_vote(3, None)
    journal.truncate_from(13)
    append(journal, b"instead" * 900, b"", term=3)
    sync()
    append(journal, *[b"more" * 500] * 3, term=3)
    sync()
    journal.set_vote(4, 2)
    sync()
    append(journal, b"last" * 300, term=4)
    sync()


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> tuple[State, dict[str, bytes]]:
    """The files after a clean close."""
    directory = tmp_path_factory.mktemp("stopped")
    journal = open_journal(directory)
    write_history(journal)
    truth = state_of(journal)
    journal.close()
    return truth, files_in(directory)


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[State, dict[str, bytes]]]:
    """The files as kill -9 would have left them after the opening and after each sync."""
    directory = tmp_path_factory.mktemp("killed")
    journal = open_journal(directory)
    moments = [(state_of(journal), files_in(directory))]
    write_history(journal, lambda: moments.append((state_of(journal), files_in(directory))))
    journal.close()
    return moments


def outcome(directory: Path, files: dict[str, bytes]) -> State | None:
    """The state that these files open with, None if refused; anything else raised is a failure.

    A journal that opens must also go on: one more entry, and it opens again with that.
    """
    put_files(directory, files)
    try:
        journal = open_journal(directory)
    except StorageError as error:
        described = (error.path, error.reason, error.remedy)
        assert all(described), described
        with pytest.raises(StorageError):  # and stays refused
            open_journal(directory)
        return None
    state = state_of(journal)
    append(journal, b"goes on", term=journal.term)
    journal.sync()
    journal.close()
    expected = [*state.entries, (b"goes on", state.entries[-1][1] + 1, state.term)]
    assert reopened_state(directory).entries == expected
    return state


def offsets_to_try(length: int, count: int) -> list[int]:
    """Every header byte, then a spread of odd stride."""
    return sorted({*range(min(length, 108)), *range(0, length, max(1, length // count) | 1)})


def test_a_bit_flipped_in_a_stopped_journal_is_harmless_or_refused(
    stopped: tuple[State, dict[str, bytes]], tmp_path: Path
) -> None:
    truth, files = stopped
    refused = 0
    for offset in offsets_to_try(len(files[JOURNAL]), 500):
        damaged = {**files, JOURNAL: flipped(files[JOURNAL], offset, offset % 8)}
        state = outcome(tmp_path, damaged)
        assert state in (truth, None), offset
        refused += state is None
    assert refused > 100  # the loop can fail


def test_a_bit_flipped_in_the_witness_does_no_harm_because_the_other_slot_speaks(
    stopped: tuple[State, dict[str, bytes]], tmp_path: Path
) -> None:
    truth, files = stopped
    for offset in (*range(36), *range(512, 548)):
        damaged = {**files, WITNESS: flipped(files[WITNESS], offset, offset % 8)}
        assert outcome(tmp_path, damaged) == truth, offset
    both = flipped(flipped(files[WITNESS], 20, 0), 530, 0)
    assert outcome(tmp_path, {**files, WITNESS: both}) is None


def test_a_bit_flipped_in_the_log_of_a_killed_journal_is_harmless_or_refused(
    killed: list[tuple[State, dict[str, bytes]]], tmp_path: Path
) -> None:
    truth, files = killed[-1]
    refused = 0
    for offset in offsets_to_try(len(files[WAL]), 400):
        damaged = {**files, WAL: flipped(files[WAL], offset, offset % 8)}
        state = outcome(tmp_path, damaged)
        assert state in (truth, None), offset
        refused += state is None
    assert refused > 300


def test_a_bit_flipped_after_a_power_loss_costs_at_most_the_last_transaction(
    killed: list[tuple[State, dict[str, bytes]]], tmp_path: Path
) -> None:
    """The witness may be as old as the last checkpoint then, and only wal.py stands guard.

    Damage in the frames of the very last transaction looks like a torn write: see wal.py.
    """
    truth, files = killed[-1]
    before_last, earlier = killed[-2]
    files = {**files, WITNESS: killed[0][1][WITNESS]}
    for offset in offsets_to_try(len(files[WAL]), 300):
        damaged = {**files, WAL: flipped(files[WAL], offset, offset % 8)}
        allowed = [truth, None]
        if offset >= len(earlier[WAL]):
            allowed.append(before_last)
        assert outcome(tmp_path, damaged) in allowed, offset


def test_a_file_cut_short_is_whole_or_refused(
    stopped: tuple[State, dict[str, bytes]], tmp_path: Path
) -> None:
    truth, files = stopped
    for name in (JOURNAL, WITNESS):
        content = files[name]
        for length in range(0, len(content), max(1, len(content) // 60)):
            state = outcome(tmp_path, {**files, name: content[:length]})
            assert state in (truth, None), (name, length)
            assert name == WITNESS or state is None, length


def test_a_log_cut_short_behind_its_witness_is_refused(
    killed: list[tuple[State, dict[str, bytes]]], tmp_path: Path
) -> None:
    files = killed[-1][1]
    for length in range(0, len(files[WAL]) - 1, len(files[WAL]) // 60):
        assert outcome(tmp_path, {**files, WAL: files[WAL][:length]}) is None, length


def test_a_transaction_torn_by_a_power_loss_opens_as_it_was_before(
    killed: list[tuple[State, dict[str, bytes]]], tmp_path: Path
) -> None:
    for (before, old), (after, new) in pairwise(killed):
        log, start = new[WAL], len(old[WAL])
        assert log[:start] == old[WAL]
        for length in (start, start + 10, start + 24, (start + len(log)) // 2, len(log) - 1):
            assert outcome(tmp_path, {**old, WAL: log[:length]}) == before, length
        assert outcome(tmp_path, {**old, WAL: log}) == after
        # The disk may write the end first: the first frame is missing, the others are there.
        first_frame = max(start, 32)
        holed = log[:first_frame] + bytes(4120) + log[first_frame + 4120 :]
        assert outcome(tmp_path, {**old, WAL: holed}) == before


def test_a_torn_transaction_before_frames_of_an_older_generation_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a checkpoint SQLite writes its log from the start again, over what stood there."""
    monkeypatch.setattr(journal_module, "CHECKPOINT_WAL_BYTES", 100_000)
    journal = open_journal(tmp_path / "live")
    journal.set_vote(1, 1)
    while journal._wal_bytes == 0 or journal.last_index < 10:  # until just after a checkpoint
        append(journal, bytes(9000))
        journal.sync()
    while journal._wal_bytes > 0:
        append(journal, bytes(9000))
        journal.sync()
    append(journal, b"first of the new generation")
    journal.sync()
    before, files = state_of(journal), files_in(tmp_path / "live")
    append(journal, bytes(9000))
    journal.sync()
    log = files_in(tmp_path / "live")[WAL]
    journal.close()
    assert len(log) == len(files[WAL])  # written over in place
    changed = [at for at in range(len(log)) if log[at] != files[WAL][at]]
    for torn_at in (changed[0] + 30, changed[len(changed) // 2], changed[-1]):
        torn = log[:torn_at] + files[WAL][torn_at:]
        assert outcome(tmp_path / "torn", {**files, WAL: torn}) == before, torn_at


def test_the_older_slot_of_the_witness_is_one_transaction_behind(
    killed: list[tuple[State, dict[str, bytes]]], tmp_path: Path
) -> None:
    before, files = killed[-2]
    newest = killed[-1][1][WITNESS]
    assert outcome(tmp_path, {**files, WITNESS: newest}) is None
    older_slot_speaks = [
        outcome(tmp_path, {**files, WITNESS: flipped(newest, offset, 0)}) == before
        for offset in (20, 532)
    ]
    assert sorted(older_slot_speaks) == [False, True]
    behind_both = killed[-3][1]
    for offset in (20, 532):
        assert outcome(tmp_path, {**behind_both, WITNESS: flipped(newest, offset, 0)}) is None


def test_opening_writes_what_a_killed_process_left_in_the_log_into_the_file(
    killed: list[tuple[State, dict[str, bytes]]], tmp_path: Path
) -> None:
    truth, files = killed[-1]
    put_files(tmp_path, files)
    journal = open_journal(tmp_path)
    now = files_in(tmp_path)
    journal.close()
    assert outcome(tmp_path, {**now, WAL: b""}) == truth


def test_a_process_killed_before_any_statement_leaves_the_last_synced_state(
    tmp_path: Path,
) -> None:
    reference = open_journal(tmp_path / "reference")
    expected = [state_of(reference)]
    write_history(reference, lambda: expected.append(state_of(reference)))
    reference.close()

    def live_and_die(directory: Path, die_at: int) -> None:
        journal = open_journal(directory)
        countdown = iter(range(die_at, -1, -1))
        journal._open_connection.set_trace_callback(lambda _: next(countdown) or os._exit(0))
        synced = (directory / "synced").open("ab", buffering=0)
        write_history(journal, lambda: synced.write(b"."))
        (directory / "finished").touch()

    for die_at in range(100):
        directory = tmp_path / str(die_at)
        in_a_process_that_dies(partial(live_and_die, directory, die_at))
        synced = len((directory / "synced").read_bytes()) if die_at else 0
        assert reopened_state(directory) == expected[synced], die_at
        if (directory / "finished").exists():
            break
    assert (directory / "finished").exists()
    assert die_at > 8 * 3  # BEGIN, a change, COMMIT, and what the richer syncs do


CORRUPTIONS = {
    "UPDATE entries SET payload = x'00' WHERE entry_index = 9": "entry 9 fails its checksum",
    "UPDATE entries SET crc = crc + 1 WHERE entry_index = 9": "entry 9 fails its checksum",
    "UPDATE entries SET term = 2 WHERE entry_index = 9": "entry 9 fails its checksum",
    "UPDATE entries SET term = 'x' WHERE entry_index = 9": "entry 9 holds values of a wrong type",
    "UPDATE entries SET payload = NULL WHERE entry_index = 9": "values of a wrong type",
    "UPDATE entries SET sync_seq = -1 WHERE entry_index = 9": "values of a wrong type",
    "DELETE FROM entries WHERE entry_index = 9": "entry 9 is missing: 10 follows 8",
    "DELETE FROM entries WHERE entry_index = 7": "entry 7 is missing: 8 follows 6",
    "DELETE FROM entries WHERE entry_index = 18": "lost committed transactions",
    "DELETE FROM entries": "lost committed transactions",
    "UPDATE entries SET entry_index = 99 WHERE entry_index = 17": "entry 17 is missing",
    "UPDATE hard_state SET term = 3": "the term and vote fail their checksum",
    "UPDATE hard_state SET voted_for = NULL": "the term and vote fail their checksum",
    "UPDATE hard_state SET base_index = 7": "the term and vote fail their checksum",
    "UPDATE hard_state SET sync_seq = 99": "the term and vote fail their checksum",
    "UPDATE hard_state SET crc = 'x'": "the term and vote fail their checksum",
    "DELETE FROM hard_state": "hard_state has 0 rows",
    "INSERT INTO hard_state SELECT * FROM hard_state": "hard_state has 2 rows",
    "UPDATE identity SET node_id = 2": "the identity fails its checksum",
    "UPDATE identity SET format = 2": "the identity fails its checksum",
    "DELETE FROM identity": "identity has 0 rows",
    "DROP TABLE entries": "its tables are not a journal's",
    "CREATE INDEX extra ON entries (term)": "its tables are not a journal's",
    "PRAGMA user_version = 2": "has format 2, this program reads 1",
    "PRAGMA application_id = 7": "is no journal (application id 0x7)",
}


@pytest.mark.parametrize("statement", CORRUPTIONS)
def test_a_row_changed_behind_our_back_is_named(
    stopped: tuple[State, dict[str, bytes]], tmp_path: Path, statement: str
) -> None:
    directory = tmp_path / "node-1"
    put_files(directory, stopped[1])
    connection = sqlite3.connect(directory / JOURNAL)
    connection.execute(statement)
    connection.commit()
    connection.close()
    for opening in (read_journal, open_journal):
        with pytest.raises(StorageError, match=re.escape(CORRUPTIONS[statement])) as refused:
            opening(directory)
        assert refused.value.path.startswith(str(directory))
        assert "let the other nodes catch it up" in refused.value.remedy


def test_an_old_version_of_a_row_does_not_fit_in(
    stopped: tuple[State, dict[str, bytes]], tmp_path: Path
) -> None:
    """A page that the disk never wrote holds rows that were right once, checksums included."""
    put_files(tmp_path, stopped[1])
    journal = open_journal(tmp_path)
    query = "SELECT * FROM entries WHERE entry_index = 17"
    old = journal._open_connection.execute(query).fetchone()
    journal.truncate_from(17)
    append(journal, b"new", b"newer", term=4)
    journal.sync()
    journal.close()
    connection = sqlite3.connect(tmp_path / JOURNAL)
    connection.execute("REPLACE INTO entries VALUES (?, ?, ?, ?, ?)", old)
    connection.commit()
    connection.close()
    with pytest.raises(StorageError, match="entry 18 fails its checksum"):
        open_journal(tmp_path)


def test_a_term_below_the_log_is_refused(
    stopped: tuple[State, dict[str, bytes]], tmp_path: Path
) -> None:
    put_files(tmp_path, stopped[1])
    journal = open_journal(tmp_path)
    journal.term = 2  # as no call would leave it
    journal._state_changed = True
    journal._commit()
    journal.close()
    with pytest.raises(StorageError, match="the term 2 is below the log's last 4"):
        open_journal(tmp_path)


def test_damaged_text_in_the_schema_is_refused_with_a_reason(
    stopped: tuple[State, dict[str, bytes]], tmp_path: Path
) -> None:
    """SQLite quotes it in its message, and the sqlite3 module then fails to decode the message."""
    content = stopped[1][JOURNAL]
    for place in re.finditer(b"CREATE TABLE [a-z_]+", content):
        for offset in range(*place.span()):
            assert outcome(tmp_path, {**stopped[1], JOURNAL: flipped(content, offset, 7)}) is None


def test_damage_that_would_only_hurt_later_is_refused_now(
    stopped: tuple[State, dict[str, bytes]], tmp_path: Path
) -> None:
    """The list of free pages: no row is wrong yet, but new ones would be written over old ones."""
    put_files(tmp_path, {**stopped[1], JOURNAL: flipped(stopped[1][JOURNAL], 39, 0)})
    with pytest.raises(StorageError, match="the file is damaged"):
        open_journal(tmp_path)


@pytest.mark.parametrize("content", [b"", b"not a database" * 100, bytes(8192)])
def test_a_file_that_is_no_database_is_refused(
    stopped: tuple[State, dict[str, bytes]], tmp_path: Path, content: bytes
) -> None:
    assert outcome(tmp_path, {**stopped[1], JOURNAL: content}) is None


def test_a_log_put_beside_a_stopped_journal_does_no_harm(
    stopped: tuple[State, dict[str, bytes]],
    killed: list[tuple[State, dict[str, bytes]]],
    tmp_path: Path,
) -> None:
    truth, files = stopped
    older_log = killed[3][1][WAL]
    assert outcome(tmp_path, {**files, WAL: older_log}) in (truth, None)


def test_a_refused_journal_is_left_as_it_was(
    killed: list[tuple[State, dict[str, bytes]]], tmp_path: Path
) -> None:
    files = killed[-1][1]
    damaged = {**files, WAL: flipped(files[WAL], 5000, 3)}
    put_files(tmp_path, damaged)
    with pytest.raises(StorageError, match="was synced before frame"):
        open_journal(tmp_path)
    assert files_in(tmp_path) == damaged


def test_a_journal_longer_than_its_snapshot_opens_whole(tmp_path: Path) -> None:
    """The crash between 'snapshot renamed' and 'journal trimmed' that lost orders elsewhere."""

    def live() -> None:
        journal = open_journal(tmp_path)
        journal.set_vote(1, 1)
        append(journal, *[b"%d" % index for index in range(2, 31)])
        journal.sync()
        (tmp_path / "snapshot-00000000000000000010-1.raftbook").write_bytes(b"any")
        journal.trim_to(10)  # in memory only when the process dies

    in_a_process_that_dies(live)
    entries = reopened_state(tmp_path).entries
    assert entries[0] == (b"", 1, 0)
    assert entries[1:] == [(b"%d" % index, index, 1) for index in range(2, 31)]

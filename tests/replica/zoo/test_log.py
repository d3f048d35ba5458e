"""Defects of what a node keeps: journal, dump file and the log of a follower (F1 F4 F5 F7 F11 F13).

Each defect twice: what the stock code does, and the same on ours.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from raftbook.errors import StorageError
from raftbook.storage.journal import Journal, JournalIdentity
from tests.replica.harness import Cluster, buy
from tests.replica.zoo import stock
from tests.replica.zoo.stock import SUCCESS, StockCluster

pytestmark = pytest.mark.filterwarnings("ignore")  # stock leaves files to the garbage collector

IDENTITY = JournalIdentity("test", 1, "00")


def fill(cluster: Cluster, session: int, seqs: range, node_id: int = 1) -> None:
    """Acknowledged orders, one entry each."""
    for seq in seqs:
        waiter = cluster.order(node_id, session, seq)
        cluster.settle()
        assert waiter.acknowledged


def names(session: int, seqs: range) -> dict[str, int]:
    return {f"{session}-{seq}": 1 for seq in seqs}


@pytest.fixture
def keep_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a snapshot trim nearly all of the log."""
    monkeypatch.setattr("raftbook.replica.replica.LOG_KEPT_ENTRIES", 1)


# -- F1: killed between "snapshot renamed" and "journal trimmed" ----------------------------------


def test_f1_stock_loses_the_orders_after_the_dump(tmp_path: Path) -> None:
    cluster = StockCluster(1, tmp_path)
    book = cluster.elect("a")
    cluster.enter("a", *range(5))
    book.forceLogCompaction()
    cluster.tick()
    # A forked child has renamed the dump file; its parent has not looked at it yet.
    running = stock.config.SERIALIZER_STATE.SERIALIZING
    book.private("serializer").checkSerializing = lambda: (running, 0)
    assert cluster.enter("a", *range(100, 120)) == [SUCCESS] * 20
    again = cluster.start("a")
    cluster.tick(40)
    assert again.orders == list(range(5))  # 20 of 20 acknowledged orders are gone


def test_f1_ours_keeps_them(tmp_path: Path, keep_few: None) -> None:
    cluster = Cluster(tmp_path, size=1)
    cluster.await_leader()
    session = cluster.open_session(1)
    fill(cluster, session, range(1, 6))
    cluster[1]._maker.poll = lambda: None  # type: ignore[method-assign]
    index = cluster[1].start_snapshot()
    fill(cluster, session, range(6, 26))
    assert cluster.snapshots(1).newest().index == index  # type: ignore[union-attr]
    cluster.restart(1)
    cluster.await_leader()
    assert cluster.book(1) == names(session, range(1, 26))


# -- F4: a follower truncates on every overlapping append -----------------------------------------


def test_f4_stock_forgets_what_it_acknowledged_when_a_message_comes_late() -> None:
    cluster = StockCluster(3)
    leader = cluster.elect("a")
    assert cluster.enter("a", *range(8)) == [SUCCESS] * 8
    follower = cluster["b"]
    held = len(follower.log())
    entry = follower.log()[1]
    follower.hear(
        "a",
        type="append_entries",
        term=leader.raftCurrentTerm,
        commit_index=1,
        entries=[entry],
        prevLogIdx=1,
        prevLogTerm=0,
    )
    assert (held, len(follower.log())) == (10, 2)  # and the leader still counts it for all ten


def test_f4_ours_keeps_what_is_equal(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    cluster.elect(1)
    session = cluster.open_session(1)
    cluster.network.records = True
    fill(cluster, session, range(1, 9))
    appends = [
        message
        for source, target, message in cluster.network.sent
        if (source, target, message["type"]) == (1, 2, "append")
    ]
    log = list(cluster[2]._log.entries)
    for message in appends:
        cluster[2].receive(1, {**message, "entries": tuple(message["entries"])})
        cluster.turn(2)
    assert cluster[2]._log.entries == log
    assert cluster[2].fenced is None


# -- F5: compaction clears the journal and writes it again ----------------------------------------


def test_f5_stock_keeps_4_of_190_entries_when_a_compaction_is_interrupted(tmp_path: Path) -> None:
    path = str(tmp_path / "journal")
    journal = stock.journal.FileJournal(path)
    for index in range(1, 201):
        journal.add(b"order", index, 1)
    add, added = journal.add, []

    def add_until_killed(*entry: object) -> None:
        if len(added) == 4:
            raise KeyboardInterrupt
        added.append(entry)
        add(*entry)

    journal.add = add_until_killed
    with pytest.raises(KeyboardInterrupt):
        journal.deleteEntriesTo(10)
    assert len(stock.journal.FileJournal(path)) == 4


def test_f5_ours_keeps_all_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal.open(tmp_path, IDENTITY)
    journal.set_vote(1, None)
    for index in range(2, 201):
        journal.append(b"order", index, 1)
    journal.sync()
    journal.close()
    child = os.fork()
    if child == 0:  # it is killed in the middle of the transaction
        journal = Journal.open(tmp_path, IDENTITY)
        journal.trim_to(10)
        journal.append(b"order", 201, 1)
        delete = Journal._delete_garbage
        Journal._delete_garbage = lambda self, count: (delete(self, count), os._exit(0))  # type: ignore[method-assign,assignment,func-returns-value]
        journal.sync()
        os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    journal = Journal.open(tmp_path, IDENTITY)
    assert (journal.base_index, journal.last_index) == (1, 200)
    journal.close()


def test_f5_stock_reads_a_lost_header_page_as_an_empty_journal(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal = stock.journal.FileJournal(str(path))
    for index in range(1, 201):
        journal.add(b"order", index, 1)
    journal.flush()
    with open(path, "r+b") as file:
        file.write(bytes(512))
    assert len(stock.journal.FileJournal(str(path))) == 0


def test_f5_ours_refuses_it(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path, IDENTITY)
    journal.set_vote(1, None)
    journal.append(b"order", 2, 1)
    journal.sync()
    journal.close()
    (path,) = tmp_path.glob("*.sqlite*")
    with open(path, "r+b") as file:
        file.write(bytes(512))
    with pytest.raises(StorageError):
        Journal.open(tmp_path, IDENTITY)


# -- F7: a journal without a dump file ------------------------------------------------------------


def test_f7_stock_loses_everything_in_a_clean_restart(tmp_path: Path) -> None:
    cluster = StockCluster(1, tmp_path, with_dump=False)
    book = cluster.elect("a")
    assert cluster.enter("a", *range(100)) == [SUCCESS] * 100
    book.forceLogCompaction()
    cluster.tick(3)
    book.destroy()
    again = cluster.start("a")
    cluster.tick(40)
    assert again.orders == []


def test_f7_ours_keeps_it(tmp_path: Path, keep_few: None) -> None:
    cluster = Cluster(tmp_path, size=1)
    cluster.await_leader()
    session = cluster.open_session(1)
    fill(cluster, session, range(1, 101))
    cluster.compact(1)
    assert cluster.disks[1].entries[0][1] > 100
    cluster.restart(1)
    cluster.await_leader()
    assert cluster.book(1) == names(session, range(1, 101))


def test_f7_ours_never_starts_on_a_trimmed_log_alone(tmp_path: Path, keep_few: None) -> None:
    cluster = Cluster(tmp_path, size=1)
    cluster.await_leader()
    fill(cluster, cluster.open_session(1), range(1, 10))
    cluster.compact(1)
    cluster.crash(1)
    for path in cluster.snapshot_directory(1).iterdir():
        path.unlink()
    with pytest.raises(StorageError, match="no readable snapshot covers") as caught:
        cluster.start(1)
    assert "move this node's directory away" in caught.value.remedy


# -- F11: an unreadable snapshot ------------------------------------------------------------------


def test_f11_stock_goes_on_with_an_empty_book_and_leads(tmp_path: Path) -> None:
    cluster = StockCluster(1, tmp_path)
    book = cluster.elect("a")
    cluster.enter("a", *range(20))
    book.forceLogCompaction()
    cluster.tick(3)
    dump = tmp_path / "a.dump"
    dump.write_bytes(dump.read_bytes()[:-20])
    again = cluster.start("a")
    cluster.tick(40)
    assert (again._isLeader(), again.orders) == (True, [])


def damage_snapshots(cluster: Cluster, node_id: int, count: int) -> None:
    """Flip a bit in the newest ones."""
    paths = sorted(cluster.snapshot_directory(node_id).iterdir())
    for path in paths[-count:]:
        content = bytearray(path.read_bytes())
        content[-3] ^= 4
        path.write_bytes(content)


def test_f11_ours_refuses_to_start_and_says_how_to_rejoin(tmp_path: Path, keep_few: None) -> None:
    cluster = Cluster(tmp_path, size=1)
    cluster.await_leader()
    fill(cluster, cluster.open_session(1), range(1, 21))
    cluster.compact(1)
    damage_snapshots(cluster, 1, 2)
    cluster.crash(1)
    with pytest.raises(StorageError, match="fails its checksum") as caught:
        cluster.start(1)
    assert "others catch it up" in caught.value.remedy


def test_f11_ours_falls_back_to_the_snapshot_before_while_the_log_covers_the_rest(
    tmp_path: Path, keep_few: None
) -> None:
    cluster = Cluster(tmp_path, size=1)
    cluster.await_leader()
    session = cluster.open_session(1)
    for first in (1, 11):
        fill(cluster, session, range(first, first + 10))
        cluster[1].start_snapshot()
        cluster.run(0.1)
    damage_snapshots(cluster, 1, 1)
    cluster.restart(1)
    assert 1 < cluster[1].snapshot_index < 20
    cluster.await_leader()
    assert cluster.book(1) == names(session, range(1, 21))


def test_f11_ours_rejoins_with_an_empty_directory(tmp_path: Path, keep_few: None) -> None:
    cluster = Cluster(tmp_path)
    cluster.elect(1)
    session = cluster.open_session(1)
    fill(cluster, session, range(1, 21))
    cluster.run(0.2)
    for node_id in cluster.node_ids:
        cluster.compact(node_id)
    cluster.run(0.2)
    damage_snapshots(cluster, 2, 2)
    cluster.crash(2)
    with pytest.raises(StorageError):
        cluster.start(2)
    cluster.wipe(2)
    cluster.start(2)
    cluster.run(2)
    assert cluster.book(2) == names(session, range(1, 21))


# -- F13: the stored commit index -----------------------------------------------------------------


def test_f13_stock_applies_what_nobody_committed(tmp_path: Path) -> None:
    cluster = StockCluster(3, tmp_path)
    cluster.elect("a")
    cluster.enter("a", *range(8))
    cluster["b"].private("raftLog").onOneSecondTimer()
    # A power loss takes the journal's unsynced end, the commit index was in a synced file.
    cluster["b"].private("raftLog").deleteEntriesFrom(4)
    follower = cluster.start("b")
    uncommitted = [(follower.log()[-1][0], index, 1) for index in range(5, 11)]
    follower.hear(
        "c",
        type="append_entries",
        term=9,
        commit_index=1,
        entries=uncommitted,
        prevLogIdx=4,
        prevLogTerm=1,
    )
    cluster.tick()
    assert len(follower.orders) == 8  # the leader said that nothing after entry 1 is committed


def test_f13_ours_learns_the_commit_index_again(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    cluster.elect(1)
    session = cluster.open_session(1)
    fill(cluster, session, range(1, 9))
    cluster.crash(2)
    cluster.disks[2].entries = cluster.disks[2].entries[:4]
    cluster.network.cut([2], [1, 3])
    cluster.start(2)
    assert cluster[2].raft.commit_index == 1
    uncommitted = [(b"\x00" + buy(session, 1)[1].encode(), index, 1) for index in range(5, 11)]
    message = {
        "type": "append",
        "term": 9,
        "commit_index": 1,
        "prev_index": 4,
        "prev_term": 1,
        "entries": tuple(uncommitted),
    }
    cluster[2].receive(3, cluster.said_by(3, message))
    cluster.turn(2)
    assert cluster[2].last_index == 10
    assert cluster[2].raft.applied_index == 1

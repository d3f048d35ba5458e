"""Defects of when and whether something is on disk (F3 S8)."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import pytest

from raftbook.core.types import Reject
from raftbook.storage.journal import Journal, JournalIdentity
from raftbook.storage.log_store import LogStore
from raftbook.wire.entry import pack_request
from tests.replica.harness import Cluster
from tests.replica.memory_log import MemoryLog
from tests.replica.zoo import stock
from tests.replica.zoo.stock import SUCCESS, StockCluster
from tests.replica.zoo.test_log import fill, names

pytestmark = pytest.mark.filterwarnings("ignore")


# -- F3: acknowledged before it is on disk --------------------------------------------------------


def test_f3_stock_syncs_nothing_before_it_acknowledges(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    for name in ("fsync", "fdatasync", "sync"):
        monkeypatch.setattr(os, name, lambda *_, name=name: synced.append(name))
    resizable = stock.journal.ResizableFile
    monkeypatch.setattr(resizable, "flush", lambda self: synced.append("msync"))
    cluster = StockCluster(1, tmp_path)
    cluster.elect("a")
    assert cluster.enter("a", *range(10)) == [SUCCESS] * 10
    assert synced == []


class Diary:
    """Writes down, across one cluster, each sync and all that leaves a node. Appends may leave
    before a sync that has nothing to write but entries: a term or a vote goes first."""

    def __init__(self, cluster: Cluster) -> None:
        self.unsynced: set[int] = set()
        self.syncs = self.departures = 0
        self.ahead = 0  # appends of a leader, which claim nothing of its disk but its term
        self.violations: list[str] = []
        self._cluster = cluster
        cluster.network.send = self._watch(cluster.network.send)  # type: ignore[method-assign,assignment]

    def _watch(self, send):  # type: ignore[no-untyped-def]
        def watched(source: int, target: int, messages: list[dict[str, object]]) -> None:
            claims = [message["type"] for message in messages if message["type"] != "append"]
            log, disk = self._cluster[source]._log, self._cluster.disks[source]
            if (log.term, log.voted_for) != (disk.term, disk.voted_for):
                claims.append("a term")
            if claims or not log.dirty:
                self.left(source, f"{claims} to {target}")
            else:
                self.ahead += 1
            send(source, target, messages)

        return watched

    def left(self, node_id: int, what: str) -> None:
        self.departures += 1
        log = self._cluster[node_id]._log
        if log.dirty:
            self.violations.append(f"{what} left node {node_id} before its sync")


def test_f3_ours_claims_nothing_before_the_sync_of_its_turn(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    diary = Diary(cluster)
    for disk in cluster.disks.values():
        disk.on_sync = lambda: setattr(diary, "syncs", diary.syncs + 1)
    cluster.elect(1)
    session = cluster.open_session(1)
    for seq in range(1, 40):
        node_id = seq % 3 + 1
        waiter = cluster.order(node_id, session, seq)
        waiter.on_answer = lambda node_id=node_id: diary.left(node_id, "an answer")
        cluster.run(0.02)
        assert waiter.acknowledged
        if seq % 13 == 0:
            cluster.elect(seq // 13 % 3 + 1)
    assert diary.violations == []
    assert diary.syncs > 100 and diary.departures > 200 and diary.ahead > 40


def test_f3_ours_syncs_a_turn_of_many_orders_once(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, size=1)
    cluster.await_leader()
    session = cluster.open_session(1)
    syncs: list[int] = []
    cluster.disks[1].on_sync = lambda: syncs.append(1)
    waiters = [cluster.order(1, session, seq) for seq in range(1, 500)]
    cluster.settle()
    assert all(waiter.acknowledged for waiter in waiters)
    assert len(syncs) == 1


@pytest.mark.parametrize("leader", [1, 2])
def test_f3_ours_keeps_every_acknowledged_order_when_all_lose_power_at_once(
    tmp_path: Path, leader: int
) -> None:
    """At every point of the exchange of messages."""
    for messages_before in range(0, 40, 3):
        cluster = Cluster(tmp_path / str(messages_before))
        cluster.elect(leader)
        session = cluster.open_session(leader)
        waiters = {f"{session}-{seq}": cluster.order(leader, session, seq) for seq in range(1, 4)}
        left = messages_before
        while left > 0:
            for way in cluster.network.ways:
                left -= cluster.network.deliver(*way, count=1)
                cluster.turn(way[1])
            left -= 1
        for node_id in cluster.node_ids:
            cluster.crash(node_id)
        for node_id in cluster.node_ids:
            cluster.start(node_id)
        found = cluster.book(cluster.await_leader())
        acknowledged = {name for name, waiter in waiters.items() if waiter.acknowledged}
        assert acknowledged <= set(found)
        assert set(found.values()) <= {1}


# -- S8: the disk is full -------------------------------------------------------------------------


def test_s8_stock_writes_where_no_block_was_reserved(tmp_path: Path) -> None:
    """It grows the file by ftruncate and writes through a mapping: on a full disk there is no
    error to catch, the page fault kills the process (SIGBUS)."""
    path = tmp_path / "journal"
    journal = stock.journal.FileJournal(str(path))
    journal.add(b"order" * 100_000, 1, 1)
    mapped = journal._FileJournal__journalFile._ResizableFile__mm
    assert isinstance(mapped, mmap.mmap)
    mapped.resize(64 << 20)
    status = os.stat(path)
    assert status.st_size == 64 << 20
    assert status.st_blocks * 512 < status.st_size // 8


def check_one_is_fenced_and_the_others_go_on(cluster: Cluster, node_id: int, reason: str) -> None:
    others = [each for each in cluster.node_ids if each != node_id]
    replica = cluster[node_id]
    assert replica.fenced is not None
    assert reason in replica.fenced
    assert [cluster[each].fenced for each in others] == [None, None]
    before = dict(cluster.book(node_id))
    cluster.run(3)
    leader = cluster.leader
    assert leader in others
    session = cluster.open_session(leader)
    fill(cluster, session, range(1, 4), node_id=leader)
    assert cluster.book(node_id) == before  # readable, and no further
    refused = cluster.order(node_id, session, 4)
    cluster.turn(node_id)
    assert refused.refusal == Reject.NOT_READY


@pytest.mark.parametrize("node_id", [1, 2])
def test_s8_ours_fences_the_node_acknowledges_nothing_and_says_why(
    tmp_path: Path, node_id: int
) -> None:
    """As the leader and as a follower."""
    cluster = Cluster(tmp_path)
    cluster.elect(1)
    session = cluster.open_session(1)
    fill(cluster, session, range(1, 4))
    cluster.run(0.2)
    cluster.network.records = True
    cluster.disks[node_id].refuse = lambda log: "disk full"
    doubted = cluster.order(node_id, session, 4)
    cluster.run(2.2)
    assert doubted.refusal == Reject.OUTCOME_UNKNOWN
    check_one_is_fenced_and_the_others_go_on(cluster, node_id, "disk full")


def test_s8_ours_takes_back_an_answer_whose_sync_failed(tmp_path: Path) -> None:
    """Alone, a node applies an order in the turn that appends it; its waiter still hears one
    thing, and not that the order was entered."""
    cluster = Cluster(tmp_path, size=1)
    cluster.await_leader()
    session = cluster.open_session(1)
    cluster.disks[1].refuse = lambda log: "disk full"
    doubted = cluster.order(1, session, 1)
    cluster.settle()
    assert doubted.refusal == Reject.OUTCOME_UNKNOWN
    cluster.disks[1].refuse = lambda log: None
    cluster.restart(1)
    cluster.await_leader()
    assert cluster.book(1) == {}


@pytest.mark.parametrize("full_node", [1, 2])
def test_s8_ours_on_a_real_journal_that_may_not_grow(tmp_path: Path, full_node: int) -> None:
    journals: dict[int, Journal] = {}

    def open_log(node_id: int) -> LogStore:
        if node_id != full_node:
            return MemoryLog(cluster.disks[node_id])
        identity = JournalIdentity("test", node_id, "00")
        journals[node_id] = Journal.open(tmp_path / f"journal-{node_id}", identity)
        return journals[node_id]

    cluster = Cluster(tmp_path, open_log=open_log, start=False)
    for node_id in cluster.node_ids:
        cluster.start(node_id)
    cluster.elect(1)
    session = cluster.open_session(1)
    fill(cluster, session, range(1, 4))
    connection = journals[full_node]._open_connection
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count={pages}")
    acknowledged = []
    for seq in range(4, 200):
        waiter = cluster.order(1, session, seq)
        cluster.settle()
        if cluster[full_node].fenced:
            break
        acknowledged.append(waiter)
    assert all(waiter.acknowledged for waiter in acknowledged)
    check_one_is_fenced_and_the_others_go_on(cluster, full_node, "disk full")
    connection.execute("PRAGMA max_page_count=100000")
    cluster.crash(full_node)
    journals[full_node].close()
    cluster.start(full_node)
    cluster.run(2)
    kept = names(session, range(1, 4 + len(acknowledged)))
    assert kept.items() <= cluster.book(full_node).items()
    cluster.check_agreement()
    journals[full_node].close()


def test_a_fenced_node_does_not_collect_what_it_is_sent(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    cluster.elect(1)
    session = cluster.open_session(1)
    cluster.disks[2].refuse = lambda log: "disk full"
    fill(cluster, session, range(1, 4))
    assert cluster[2].fenced
    cluster.run(2)
    cluster[2].receive(3, {"type": "forward", "requests": (pack_request(7, 1, ()),)})
    assert cluster[2]._inbox == []
    assert not cluster[2]._forwarded


def test_f3_ours_sends_no_append_of_a_term_that_is_not_on_its_disk(tmp_path: Path) -> None:
    """A voter alone elects itself within a turn, and has a learner to send to: were its entries
    there before its vote is on its disk, a power cut would let it lead the same term anew, with
    other entries of the same index and term."""
    cluster = Cluster(tmp_path, size=1)
    cluster.await_leader()
    cluster.new_machine(2)
    cluster.network.hold(2, 1)  # so that it stays a learner
    cluster.add(2)
    cluster.run(0.5)
    sent: list[tuple[int, int]] = []
    send = cluster.network.send

    def watched(source: int, target: int, messages: list[dict[str, object]]) -> None:
        for message in messages:
            if message["type"] == "append":
                sent.append((int(str(message["term"])), cluster.disks[source].term))
        send(source, target, messages)

    cluster.network.send = watched  # type: ignore[method-assign,assignment]
    term = cluster[1].raft.term
    cluster.restart(1)
    cluster.await_leader()
    cluster.run(0.5)
    assert cluster[1].raft.membership.learner_ids == (2,)
    assert max(of for of, _ in sent) > term
    assert all(of <= on_disk for of, on_disk in sent)

"""Defects of what is agreed on, and of what clients are told (F2 F12 F14 S13 S14 S15 S20)."""

from __future__ import annotations

import functools
import os
import pickle
import subprocess
import sys
from collections import deque
from pathlib import Path

import pytest

from raftbook.core.types import Reject
from tests.replica.harness import BOUNDS, Cluster, Waiter
from tests.replica.zoo import stock
from tests.replica.zoo.stock import SUCCESS, StockCluster
from tests.replica.zoo.test_log import fill, keep_few, names

__all__ = ["keep_few"]

pytestmark = pytest.mark.filterwarnings("ignore")

ROOT = Path(__file__).resolve().parents[3]


# -- F2: a message that proves nothing about the log moves the commit index -----------------------


def test_f2_stock_acknowledges_an_order_that_is_in_no_book() -> None:
    """1. a leads and is cut off with an order nobody else has; 2. b leads, commits others and is
    writing a dump; 3. a hears b's heartbeat of that time."""
    cluster = StockCluster(3)
    cluster.elect("a")
    cluster.enter("a", *range(3))
    answers = cluster.enter("a", "lost", lost=("b", "c"))
    leader = cluster.elect("b", lost=("a",))
    cluster.enter("b", *range(10, 20), lost=("a",))
    assert answers == []
    cluster["a"].hear(
        "b",
        type="append_entries",
        term=leader.raftCurrentTerm,
        commit_index=leader.raftCommitIndex,
        serialized=None,
    )
    cluster["a"].doTick()
    assert answers == [SUCCESS]
    assert "lost" not in leader.orders


def test_f2_ours_believes_only_what_was_compared(tmp_path: Path, keep_few: None) -> None:
    cluster = Cluster(tmp_path)
    cluster.elect(1)
    session = cluster.open_session(1)
    fill(cluster, session, range(1, 4))
    cluster.network.cut([1], [2, 3])
    doubted = cluster.order(1, session, 4)
    cluster.settle()
    cluster.elect(2)
    fill(cluster, session, range(5, 10), node_id=2)
    cluster[2].start_snapshot()
    cluster.settle()
    committed = cluster[1].raft.commit_index
    header = cluster.snapshots(2).reader(cluster.snapshots(2).newest())  # type: ignore[arg-type]
    cluster[1].receive(
        2,
        {
            "type": "install",
            "term": cluster[2].raft.term,
            "founding": cluster[2].raft.membership.founding,
            "header": header.header_bytes,
            "offset": 0,
            "chunk": b"first piece",
            "last": False,
        },
    )
    cluster.turn(1)
    assert (cluster[1].raft.commit_index, doubted.answers) == (committed, 0)
    cluster.network.heal()
    cluster.run(3)
    # It was asked for again at the new leader, so in the end it is in the book, once.
    assert doubted.acknowledged
    assert cluster.book(1) == names(session, range(1, 10))


# -- F12: votes and replies -----------------------------------------------------------------------


def test_f12_stock_counts_one_vote_twice() -> None:
    cluster = StockCluster(5)
    candidate = cluster["a"]
    candidate.set_private("raftElectionDeadline", 0.0)
    candidate.doTick()
    for _ in range(2):
        candidate.hear("b", type="response_vote", term=candidate.raftCurrentTerm)
    assert candidate._isLeader()  # with the votes of two nodes of five


def test_f12_ours_counts_voters(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, 5)
    raft = cluster[1].raft
    cluster.stand(1)
    cluster.turn(1)
    assert raft.role == "candidate"
    for _ in range(3):
        cluster[1].receive(2, cluster.said_by(2, {"type": "response_vote", "term": raft.term}))
    cluster.turn(1)
    assert raft.role == "candidate"
    cluster[1].receive(3, cluster.said_by(3, {"type": "response_vote", "term": raft.term}))
    cluster.turn(1)
    assert raft.is_leader


def test_f12_stock_counts_a_reply_to_an_earlier_leader() -> None:
    """The reply was sent when a led before; since then the entries it speaks of were replaced."""
    cluster = StockCluster(3)
    cluster.elect("a")
    cluster.elect("b", lost=("c",))
    leader = cluster.elect("a", lost=("b", "c")) if cluster["a"]._isLeader() else cluster["a"]
    leader.private("onBecomeLeader")()
    answers: list[int] = []
    leader.enter("doubtful", callback=lambda result, error: answers.append(error))
    leader.doTick()
    last = leader.log()[-1][1]
    leader.hear("c", type="next_node_idx", next_node_idx=last + 1, reset=False, success=True)
    leader.doTick()
    assert answers == [SUCCESS]  # c holds nothing of it


def test_f12_ours_counts_replies_of_its_own_term_only(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    cluster.elect(1)
    session = cluster.open_session(1)
    old_term = cluster[1].raft.term
    cluster.elect(2)
    cluster.elect(1)
    cluster.network.cut([1], [2, 3])
    doubted = cluster.order(1, session, 1)
    cluster.settle()
    reply = {"type": "append_reply", "success": True, "index": cluster[1].last_index}
    cluster[1].receive(3, cluster.said_by(3, {**reply, "term": old_term}))
    cluster.turn(1)
    assert doubted.answers == 0
    assert cluster[1].raft.match_index(3) < cluster[1].last_index  # type: ignore[operator]


# -- F14: forwards --------------------------------------------------------------------------------


def test_f14_stock_never_answers_a_forward_that_was_lost() -> None:
    cluster = StockCluster(3)
    cluster.elect("a")
    cluster.tick(5)
    answers: list[int] = []
    cluster["b"].enter("forwarded", callback=lambda result, error: answers.append(error))
    cluster["b"].doTick()
    cluster.outbox.clear()  # the connection broke
    cluster.tick(2_000)  # 100 seconds
    assert answers == []


def test_f14_stock_executes_an_order_minutes_later() -> None:
    cluster = StockCluster(3)
    everybody = ("a", "b", "c")
    peers = cluster["b"].otherNodes
    for peer in peers:
        cluster["b"].private("onNodeDisconnected")(peer)
    cluster["b"].enter("of yesterday")
    for _ in range(6_000):  # five minutes alone
        stock.clock.now += 0.05
        cluster["b"].doTick()
    assert cluster["b"].orders == []
    for peer in peers:
        cluster["b"].private("onNodeConnected")(peer)
    cluster.elect("a")
    cluster.tick(20)
    assert [cluster[node_id].orders for node_id in everybody] == [["of yesterday"]] * 3


def test_f14_ours_answers_by_the_deadline_that_the_outcome_is_unknown(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    cluster.elect(1)
    session = cluster.open_session(1)
    cluster.network.cut([2], [1, 3])
    forwarded = cluster.order(2, session, 1)
    cluster.run(BOUNDS.request_deadline_s + 0.1)
    assert forwarded.refusal == Reject.OUTCOME_UNKNOWN


def test_f14_ours_never_executes_what_it_said_was_not_sent(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    cluster.elect(1)
    session = cluster.open_session(1)
    cluster.crash(1)
    cluster.crash(3)
    cluster.restart(2)
    waiting = cluster.order(2, session, 1)
    cluster.run(BOUNDS.request_deadline_s + 0.1)
    assert waiting.refusal == Reject.NO_LEADER
    cluster.start(1)
    cluster.start(3)
    cluster.run(5)
    assert cluster.book(cluster.leader) == {}


# -- S13: a snapshot of the past ------------------------------------------------------------------


def test_s13_stock_goes_back_to_an_older_snapshot() -> None:
    cluster = StockCluster(3)
    leader = cluster.elect("a")
    cluster.enter("a", *range(5))
    leader.forceLogCompaction()
    cluster.tick(3)
    pieces = []
    while not pieces or not pieces[-1][2]:
        pieces.append(leader.private("serializer").getTransmissionData("somebody"))
    cluster.enter("a", *range(5, 20))
    assert len(cluster["b"].orders) == 20
    for piece in pieces:
        cluster["b"].hear(
            "a",
            type="append_entries",
            term=leader.raftCurrentTerm,
            commit_index=1,
            serialized=piece,
        )
    assert len(cluster["b"].orders) == 5


def old_snapshot_pieces(cluster: Cluster, node_id: int) -> list[dict[str, object]]:
    """The newest snapshot of a node as the messages that ship it, in two pieces."""
    store = cluster.snapshots(node_id)
    header = store.newest()
    assert header is not None
    reader = store.reader(header)
    half = header.size // 2
    message = {
        "type": "install",
        "term": cluster[node_id].raft.term,
        "founding": cluster[node_id].raft.membership.founding,
        "header": reader.header_bytes,
    }
    pieces = [
        {**message, "offset": 0, "chunk": reader.read(0, half), "last": False},
        {**message, "offset": half, "chunk": reader.read(half, header.size), "last": True},
    ]
    reader.close()
    return pieces


@pytest.mark.parametrize("overtaken_after", [0, 1])
def test_s13_ours_stays_where_it_is(tmp_path: Path, overtaken_after: int) -> None:
    """Also when entries overtake a snapshot of which a part had arrived."""
    cluster = Cluster(tmp_path)
    cluster.elect(1)
    session = cluster.open_session(1)
    cluster.network.cut([2], [1, 3])
    fill(cluster, session, range(1, 6))
    cluster[1].start_snapshot()
    cluster.settle()
    cluster.run(0.1)
    pieces = old_snapshot_pieces(cluster, 1)
    for piece in pieces[:overtaken_after]:
        cluster[2].receive(1, piece)
        cluster.turn(2)
    cluster.network.heal()
    fill(cluster, session, range(6, 21))
    cluster.run(0.2)
    assert cluster.book(2) == names(session, range(1, 21))
    for piece in pieces:
        cluster[2].receive(1, piece)
        cluster.turn(2)
    cluster.run(0.2)
    assert cluster[2].fenced is None
    assert cluster.book(2) == names(session, range(1, 21))


# -- S14: entries around k times 64 KiB -----------------------------------------------------------


def test_s14_stock_breaks_on_an_entry_just_under_two_batches() -> None:
    """Its last piece is cut by the length of the command, not of the pickled entry."""
    cluster = StockCluster(3)
    cluster.elect("a")
    overhead = len(pickle.dumps((0, ("",)), 2)) + 4
    problems: list[type] = []
    for size in range(2 * 65_536 - overhead - 20, 2 * 65_536 - overhead + 4):
        cluster["a"].enter("x" * size)
        try:
            cluster.tick(6)
        except Exception as error:
            problems.append(type(error))
            break
    assert problems == [EOFError]


def test_s14_ours_replicates_every_size(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    cluster.elect(1)
    waiters = []
    for factor in (1, 2, 3):
        for size in range(factor * 65_536 - 40, factor * 65_536 + 8, 3):
            raw = b"\x93\x07\x01\xc5" + size.to_bytes(2, "big") if size < 65_536 else b""
            raw = raw or b"\x93\x07\x01\xc6" + size.to_bytes(4, "big")
            waiter = Waiter()
            cluster[1].submit(7, size, raw + bytes(size), waiter)
            waiters.append(waiter)
            cluster.settle()
    cluster.run(0.1)
    logs = [cluster[node_id]._log.entries for node_id in cluster.node_ids]
    assert len(logs[0]) == len(waiters) + 3
    assert logs[0] == logs[1] == logs[2]
    assert {cluster[node_id].raft.applied_index for node_id in cluster.node_ids} == {len(logs[0])}


# -- S15: an error that is none -------------------------------------------------------------------


def test_s15_stock_raises_for_an_order_that_it_will_execute() -> None:
    cluster = StockCluster(1, appendEntriesUseBatch=False)
    book = cluster["a"]
    enter_many = functools.partial(deque, (book.enter("order") for _ in range(70_000)), maxlen=0)
    with pytest.raises(BlockingIOError):
        enter_many()
    accepted = len(book.private("commandsQueue")._FastQueue__queue)
    cluster.elect("a")
    cluster.tick(50)
    assert len(book.orders) == accepted == 65_537  # the one that raised is in the book


def test_s15_ours_refuses_before_it_takes(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, size=1)
    waiters = [cluster.order(1, 7, seq) for seq in range(BOUNDS.requests_pending_max + 5)]
    cluster.settle()
    refused = [waiter for waiter in waiters if waiter.refusal == Reject.OVERLOADED]
    assert refused == waiters[BOUNDS.requests_pending_max :]
    assert cluster[1].pending_count == BOUNDS.requests_pending_max


# -- S20: the order of messages -------------------------------------------------------------------

STOCK_ORDER = """
from tests.replica.zoo.stock import StockCluster
cluster = StockCluster(5)
cluster["a"].set_private("raftElectionDeadline", 0.0)
cluster["a"].doTick()
print([target for _, target, _ in cluster.outbox])
"""
OUR_ORDER = """
import tempfile
from pathlib import Path
from tests.replica.harness import Cluster
cluster = Cluster(Path(tempfile.mkdtemp()), 5)
cluster.network.records = True
cluster.elect(1)
session = cluster.open_session(1)
cluster.order(1, session, 1)
cluster.run(1)
print([(a, b, m["type"]) for a, b, m in cluster.network.sent])
"""


def outputs_by_hash_seed(script: str) -> set[str]:
    return {
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", script],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3", "4")
    }


def test_s20_stock_sends_in_an_order_that_depends_on_the_hash_seed() -> None:
    assert len(outputs_by_hash_seed(STOCK_ORDER)) > 1


def test_s20_ours_does_not() -> None:
    assert len(outputs_by_hash_seed(OUR_ORDER)) == 1

"""Defects of how entries take effect: once, everywhere, or not at all (F8 F9 F10)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from raftbook.core.commands import NEW_ORDER, new_order
from raftbook.core.events import REJECTED
from raftbook.core.types import Reject, Side
from raftbook.wire.packing import pack
from tests.replica.harness import Cluster, buy
from tests.replica.zoo.stock import StockBook, StockCluster, clock, replicated
from tests.replica.zoo.test_log import fill, names

pytestmark = pytest.mark.filterwarnings("ignore")


def fail(*_: object) -> None:
    raise RuntimeError("the client is gone")


# -- F8: who waits for the answer cannot take it --------------------------------------------------


def test_f8_stock_applies_the_order_again_on_that_node_only() -> None:
    cluster = StockCluster(3)
    cluster.elect("a")
    cluster["a"].enter("order", callback=fail)
    for _ in range(4):
        try:
            cluster.tick(5)
        except RuntimeError:
            pass
    assert cluster["a"].orders == ["order", "order"]
    assert cluster["b"].orders == ["order"]


def test_f8_ours_applies_it_once_and_answers_the_others(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    cluster.elect(1)
    session = cluster.open_session(1)
    first, second = cluster.order(1, session, 1), cluster.order(1, session, 2)
    first.on_answer = fail
    cluster.run(0.2)
    assert second.acknowledged
    for node_id in cluster.node_ids:
        assert cluster.book(node_id) == {f"{session}-1": 1, f"{session}-2": 1}
        assert cluster[node_id].fenced is None


def test_f8_ours_refuses_the_others_when_one_waiter_fails(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    waiters = [cluster.order(1, 7, seq) for seq in (1, 2)]
    waiters[0].on_answer = fail
    cluster.network.cut([1], [2, 3])
    cluster.run(2.5)
    assert [waiter.refusal for waiter in waiters] == [Reject.NO_LEADER] * 2


# -- F9: an entry of a newer version --------------------------------------------------------------


NEW_FORMAT = pack((2, 0, ()))


class NewBook(StockBook):
    """What was deployed on the first node only."""

    @replicated(ver=1)
    def enter_fast(self, order: Any) -> None:
        self.orders.append(order)


def test_f9_stock_applies_orders_twice_on_the_old_node() -> None:
    cluster = StockCluster(3, kinds={"a": NewBook, "b": NewBook})
    leader = cluster.elect("a")
    leader.setCodeVersion(1)
    cluster.tick(5)
    leader.enter("order")
    cluster.tick(10)
    assert leader.orders == ["order"]
    assert cluster["c"].orders.count("order") > 1


def test_f9_ours_stops_the_old_node_before_it_differs(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    cluster.elect(1)
    session = cluster.open_session(1)
    fill(cluster, session, range(1, 3))
    for node_id in (1, 2):
        apply = cluster[node_id].machine.apply
        cluster[node_id].machine.apply = (  # type: ignore[method-assign]
            lambda index, term, payload, apply=apply: (
                None if payload[1:] == NEW_FORMAT else apply(index, term, payload)
            )
        )
    cluster[1].raft.propose([NEW_FORMAT])
    fill(cluster, session, range(3, 5))
    cluster.run(0.5)
    assert "upgrade this node" in (cluster[3].fenced or "")
    assert cluster.book(3) == names(session, range(1, 3))
    assert [cluster[node_id].fenced for node_id in (1, 2)] == [None, None]


# -- F10: an exception while an entry is applied --------------------------------------------------


def test_f10_stock_never_applies_anything_again_on_any_node() -> None:
    cluster = StockCluster(3)
    cluster.elect("a")
    cluster["a"].enter("bug")
    cluster["a"].enter("order")
    raised = 0
    for _ in range(200):
        for book in cluster.books.values():
            try:
                book.doTick()
            except ZeroDivisionError:
                raised += 1
        cluster.tick(0)
        cluster.deliver()
        clock.now += 0.05
    assert raised > 300
    assert [book.orders for book in cluster.books.values()] == [[], [], []]


def test_f10_ours_rejects_what_makes_no_sense_and_goes_on(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    cluster.elect(1)
    session = cluster.open_session(1)
    nonsense = [
        (1,),
        (1, None, None, None, None, None, None, None, None, None),
        (999, "what"),
        (None, 2.5),
        new_order("OIL", Side.BUY, -(2**63), 2**62, client_order_id="x" * 64),
    ]
    waiters = [
        cluster.submit(1, session, seq, command) for seq, command in enumerate(nonsense, start=1)
    ]
    cluster.settle()
    for waiter in waiters:
        assert waiter.reply is not None
        assert [event[0] for event in waiter.reply[4]] == [REJECTED]
    cluster[1].raft.propose([b"no entry at all"])
    fill(cluster, session, range(6, 8))
    cluster.run(0.2)
    cluster.check_agreement()
    assert cluster.book(3) == names(session, range(6, 8))


def break_after_mutation(cluster: Cluster, node_id: int) -> None:
    """Let the exchange of one node fail when half of an entry has taken effect."""
    exchange = cluster[node_id].machine.exchange
    handlers = exchange._handlers = dict(exchange._handlers)  # all exchanges share one table
    enter = handlers[NEW_ORDER]
    handlers[NEW_ORDER] = lambda *arguments: (enter(*arguments), fail())  # type: ignore[assignment,func-returns-value]


def test_f10_ours_fences_the_node_that_met_the_bug_and_only_that(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    cluster.elect(1)
    session = cluster.open_session(1)
    fill(cluster, session, range(1, 3))
    break_after_mutation(cluster, 2)
    fill(cluster, session, range(3, 6))
    cluster.run(0.5)
    assert cluster[2].fenced == "RuntimeError: the client is gone"
    assert cluster[2].raft.applied_index < cluster[1].raft.applied_index
    fill(cluster, session, range(6, 8))
    late = cluster.submit(2, session, 8, buy(session, 8))
    cluster.run(0.5)
    assert late.refusal == Reject.NOT_READY
    assert [cluster[node_id].fenced for node_id in (1, 3)] == [None, None]
    # The node takes no snapshot of what may be half an entry, and is whole again after a restart.
    cluster[2].start_snapshot()
    assert cluster.snapshots(2).newest() is None
    cluster.restart(2)
    cluster.run(1)
    assert cluster.book(2) == names(session, range(1, 8))
    cluster.check_agreement()


def test_f10_ours_fences_the_leader_and_the_others_go_on(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    cluster.elect(1)
    session = cluster.open_session(1)
    fill(cluster, session, range(1, 3))
    break_after_mutation(cluster, 1)
    met_the_bug = cluster.order(1, session, 3)
    cluster.settle()
    assert met_the_bug.refusal == Reject.OUTCOME_UNKNOWN
    cluster.run(3)
    fill(cluster, session, range(4, 6), node_id=cluster.leader)
    assert cluster.book(cluster.leader) == names(session, range(1, 6))

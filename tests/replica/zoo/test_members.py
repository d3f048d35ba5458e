"""Defects of changing who belongs to the cluster (F6)."""

from __future__ import annotations

from pathlib import Path

import pytest

from raftbook.replica.membership import ChangeRefused
from tests.replica.harness import TIMINGS, Cluster
from tests.replica.zoo import stock
from tests.replica.zoo.stock import SUCCESS, StockCluster

pytestmark = pytest.mark.filterwarnings("ignore")


# -- F6: changes overlap --------------------------------------------------------------------------


def test_f6_stock_has_two_leaders_that_both_acknowledge() -> None:
    """1. a leads and is cut off; 2. it is told to remove b and then c, and is a majority of itself;
    3. b and c elect b."""
    cluster = StockCluster(3, dynamicMembershipChange=True)
    leader = cluster.elect("a")
    cluster.tick(10)
    for gone in ("b", "c"):
        leader.removeNodeFromCluster(stock.node.Node(gone))
    cluster.tick(2, lost=("b", "c"))
    assert cluster.enter("a", "of a", lost=("b", "c")) == [SUCCESS]
    cluster.elect("b", lost=("a",))
    assert cluster.enter("b", "of b", lost=("a",)) == [SUCCESS]
    assert leader._isLeader()
    assert (leader.orders, cluster["b"].orders) == (["of a"], ["of b"])


def test_f6_ours_makes_one_change_at_a_time(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    cluster.elect(1)
    session = cluster.open_session(1)
    cluster.run(0.2)
    cluster.network.cut([1], [2, 3])
    cluster.remove(2)
    with pytest.raises(ChangeRefused, match="another change is under way"):
        cluster.remove(3)
    doubted = cluster.order(1, session, 1)
    cluster.settle()
    cluster.elect(2)
    kept = cluster.order(2, session, 2)
    cluster.run(TIMINGS.fallback_s + 0.1)
    assert kept.acknowledged and not doubted.acknowledged
    cluster.network.heal()
    cluster.run(1)
    assert cluster.voters() == (1, 2, 3)
    cluster.check_agreement()

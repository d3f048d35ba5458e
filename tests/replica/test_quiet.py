"""Logical time in a market where nobody trades."""

from __future__ import annotations

from pathlib import Path

import pytest

from raftbook.core.exchange import TIME_STEP_MAX_NS
from raftbook.replica.unasked import QUIET_NS_MAX, QUIET_STEP_S
from raftbook.wire.entry import REGULAR, unpack_entry
from tests.replica.harness import Cluster


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    cluster = Cluster(tmp_path)
    cluster.elect(1)
    return cluster


def lag_ns(cluster: Cluster, node_id: int) -> int:
    return int(cluster.clock.now * 1e9) - cluster[node_id].machine.exchange.now_ns


def time_entries(cluster: Cluster) -> list[int]:
    """Indexes of entries without requests."""
    return [
        index
        for payload, index, _ in cluster[2]._log.entries
        if payload[:1] == REGULAR and not unpack_entry(index, payload[1:]).requests
    ]


def test_logical_time_keeps_up_with_the_leaders_clock(cluster: Cluster) -> None:
    cluster.open_session(1)
    for _ in range(20):
        cluster.run(10)
        for node_id in cluster.node_ids:
            assert lag_ns(cluster, node_id) <= QUIET_NS_MAX + 100_000_000
    assert len(time_entries(cluster)) == 6  # one in 30 s, of 200
    cluster.check_agreement()


def test_a_clock_that_jumped_is_reached_a_minute_at_a_time(cluster: Cluster) -> None:
    """One entry moves logical time 60 s at most: it takes as many entries, not as many hours."""
    cluster.open_session(1)
    cluster[1]._wall_ns = lambda: int((cluster.clock.now + 600) * 1e9)
    cluster.run(2)
    lag = lag_ns(cluster, 3)
    assert -600_000_000_000 <= lag <= -600_000_000_000 + QUIET_NS_MAX + 100_000_000
    assert 9 <= len(time_entries(cluster)) <= 11


def test_a_clock_that_jumped_by_days_neither_floods_the_log_nor_ages_the_market_at_once(
    cluster: Cluster,
) -> None:
    cluster.open_session(1)
    began_at, began_ns = cluster.clock.now, cluster[1].machine.exchange.now_ns
    days_s = 10 * 86_400
    cluster[1]._wall_ns = lambda: int((cluster.clock.now + days_s) * 1e9)
    cluster.run(3)
    allowed = (cluster.clock.now - began_at) / QUIET_STEP_S + 1
    assert 20 <= len(time_entries(cluster)) <= allowed
    assert cluster[1].machine.exchange.now_ns - began_ns <= allowed * TIME_STEP_MAX_NS


def test_before_the_first_request_there_is_no_time_to_keep(cluster: Cluster) -> None:
    cluster.run(100)
    assert time_entries(cluster) == []


def test_a_leader_that_cannot_commit_piles_up_no_time(cluster: Cluster) -> None:
    cluster.open_session(1)
    cluster.network.hold(2, 1)
    cluster.network.hold(3, 1)
    before = cluster[1].last_index
    cluster[1]._wall_ns = lambda: int((cluster.clock.now + 600) * 1e9)
    cluster.run(1)
    assert cluster[1].last_index <= before + 2  # and perhaps a digest check


def test_a_market_with_traffic_needs_no_entries_for_time(cluster: Cluster) -> None:
    session = cluster.open_session(1)
    for seq in range(1, 12):
        cluster.order(1, session, seq)
        cluster.run(20)
    assert time_entries(cluster) == []

"""A client that moves between two nodes: what the first one says of it later means nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from raftbook.core import commands as c
from raftbook.core import events as e
from raftbook.core.commands import NO_SESSION
from raftbook.core.exchange import Genesis
from raftbook.core.types import Side
from tests.replica.harness import OIL, Cluster

GENESIS = Genesis((OIL,), (("ann", True),), currencies=(("eur", 2),))
LEASE = c.attach_session(cancel_on_disconnect=True, lease_ms=3_000)


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    cluster = Cluster(tmp_path, genesis=GENESIS)
    cluster.elect(1)
    return cluster


def do(cluster: Cluster, node_id: int, session: int, seq: int, *commands: c.Command) -> None:
    waiter = cluster.submit(node_id, session, seq, *commands)
    cluster.run_until(lambda: waiter.answers)
    assert waiter.acknowledged, (waiter.reply, waiter.refusals)


def open_orders(cluster: Cluster, via: int = 1) -> int:
    return cluster[via].machine.exchange.accounts["ann"].open_count


def attached(cluster: Cluster) -> int:
    """A session that was attached to node 2, with an order; its id."""
    session = cluster.open_session(2)
    do(cluster, 2, session, 1, LEASE, c.new_order("OIL", Side.BUY, 1, 10))
    return session


def test_the_late_notice_of_the_first_node_cancels_nothing(cluster: Cluster) -> None:
    session = attached(cluster)
    do(cluster, 3, session, 2, LEASE)
    do(cluster, 2, NO_SESSION, 77, c.session_lost(session, 1))
    assert open_orders(cluster) == 1
    do(cluster, 3, NO_SESSION, 78, c.session_lost(session, 2))
    assert open_orders(cluster) == 0
    cluster.check_agreement()


def test_a_notice_that_is_said_twice_cancels_once(cluster: Cluster) -> None:
    session = attached(cluster)
    for seq in (77, 78):
        do(cluster, 2, NO_SESSION, seq, c.session_lost(session, 1))
    lapses = [
        event
        for applied in cluster[1].machine.recent
        for reply in applied.replies
        for event in reply[4]
        if event[0] == e.SESSION_LAPSED
    ]
    assert lapses == [(e.SESSION_LAPSED, 0, session, 1)]


def test_the_lease_of_a_killed_node_ends_its_orders(cluster: Cluster) -> None:
    attached(cluster)
    cluster.crash(2)
    cluster.run(2.8)
    assert open_orders(cluster) == 1
    cluster.run(0.4)
    assert open_orders(cluster) == 0
    assert open_orders(cluster, 3) == 0


def test_the_first_node_renews_nothing_for_a_client_that_has_moved(cluster: Cluster) -> None:
    session = attached(cluster)
    do(cluster, 3, session, 2, LEASE)
    for seq in range(10):
        cluster.run(0.35)
        do(cluster, 2, NO_SESSION, 100 + seq, c.renew_lease(session, 1))
    assert open_orders(cluster) == 0  # node 3 was silent for 3 s


def test_a_lease_that_is_renewed_goes_on(cluster: Cluster) -> None:
    session = attached(cluster)
    for seq in range(10):
        cluster.run(0.9)
        do(cluster, 2, NO_SESSION, 100 + seq, c.renew_lease(session, 1))
    assert open_orders(cluster) == 1

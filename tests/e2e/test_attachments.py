"""Orders that end with their connection, on real nodes: closed, moved, killed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from raftbook.core import commands as c
from raftbook.core import events as e
from raftbook.core.types import Side
from raftbook.wire import client_messages as m
from tests.e2e.cluster import Cluster, Wire, until

LEASE_MS = 3_000
ATTACH = c.attach_session(cancel_on_disconnect=True)
LEASE = c.attach_session(cancel_on_disconnect=True, lease_ms=LEASE_MS)
BUY = c.new_order("BTC-USD", Side.BUY, 1, 10_000)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("attached")) as cluster:
        cluster.start()
        cluster.wait_up()
        cluster.wait_leader()
        yield cluster


def follower(cluster: Cluster) -> int:
    leader = cluster.wait_leader()
    return next(node_id for node_id in cluster.running if node_id != leader)


def request(wire: Wire, session: int, seq: int, *commands: Any) -> Any:
    """The events of the reply."""
    answer = wire.ask(m.REQUEST, session, seq, commands)
    assert answer[0] == m.REPLY, answer
    return answer[7]


def client(cluster: Cluster, node_id: int) -> Wire:
    return Wire(cluster.address(node_id).client_port)


def entered(cluster: Cluster, node_id: int, key: str, attach: c.Command) -> tuple[Wire, int, int]:
    """A connection to a node, its session and an order that is to end with it."""
    wire = client(cluster, node_id)
    session = wire.greet("alice", key)
    attached, accepted = request(wire, session, 1, attach, BUY)
    assert (attached[0], accepted[0]) == (e.SESSION_ATTACHED, e.ACCEPTED)
    return wire, session, accepted[2][0]


def is_open(cluster: Cluster, via: int, order_id: int) -> bool:
    with client(cluster, via) as wire:
        wire.greet("alice")
        return any(order["terms"][0] == order_id for order in open_orders(wire))


def open_orders(wire: Wire) -> list[dict[str, Any]]:
    answer = wire.query("orders", linearizable=True)
    return [each for each in answer["orders"] if each["leaves_qty"]]


def test_a_connection_that_closes_takes_its_orders_along(cluster: Cluster) -> None:
    node_id, leader = follower(cluster), cluster.wait_leader()
    wire, _, order_id = entered(cluster, node_id, "closes", ATTACH)
    assert is_open(cluster, leader, order_id)
    wire.socket.close()
    until("the order is cancelled", lambda: not is_open(cluster, leader, order_id))


def test_a_client_that_moves_to_another_node_takes_them_with_it(cluster: Cluster) -> None:
    node_id, leader = follower(cluster), cluster.wait_leader()
    first, session, order_id = entered(cluster, node_id, "moves", LEASE)
    with client(cluster, leader) as second:
        assert second.greet("alice", "moves") == session
        ((kind, _, _, epoch),) = request(second, session, 2, ATTACH)
        assert (kind, epoch) == (e.SESSION_ATTACHED, 2)
        first.socket.close()
        # Another connection of that node ends later, and that is heard of: so is this one.
        other, _, other_id = entered(cluster, node_id, "other", ATTACH)
        other.socket.close()
        until("the other's order is cancelled", lambda: not is_open(cluster, leader, other_id))
        assert is_open(cluster, leader, order_id)
    until("it ends with the second", lambda: not is_open(cluster, leader, order_id))


def test_a_client_that_only_pings_keeps_its_lease(cluster: Cluster) -> None:
    node_id, leader = follower(cluster), cluster.wait_leader()
    wire, session, order_id = entered(cluster, node_id, "pings", LEASE)

    began = time.monotonic()

    def pinged_for_two_leases() -> bool:
        assert wire.ask(m.PING, 1) == (m.PONG, 1)
        return time.monotonic() - began > 2 * LEASE_MS / 1_000

    until("two leases have passed", pinged_for_two_leases)
    assert is_open(cluster, leader, order_id)
    request(wire, session, 2, c.mass_cancel())
    wire.socket.close()


def test_a_killed_node_says_nothing_and_the_lease_does(cluster: Cluster) -> None:
    node_id, leader = follower(cluster), cluster.wait_leader()
    wire, _, order_id = entered(cluster, node_id, "killed", LEASE)
    cluster.kill(node_id)
    assert is_open(cluster, leader, order_id)
    until("the lease is over", lambda: not is_open(cluster, leader, order_id))
    wire.socket.close()
    cluster.start(node_id)
    cluster.wait_up(node_id)
    cluster.settle()

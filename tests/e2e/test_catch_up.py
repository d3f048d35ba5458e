"""Nodes that come late, come back or come back with nothing are brought to where the others are."""

import asyncio
import re
from pathlib import Path

import pytest

from raftbook.client import AsyncClient
from raftbook.core import commands as c
from raftbook.core.types import Reject, Side
from raftbook.wire import client_messages as m
from tests.e2e.cluster import Cluster, Trouble, running_cluster, until
from tests.e2e.load import SYMBOL

SMALL = {"snapshot_every_entries": 200, "entries_kept": 50}
ENTRIES = 1_400
"""More than a node keeps in front of its snapshot (replica.LOG_KEPT_ENTRIES)."""


def _write(cluster: Cluster, count: int, *, via: int, key: str) -> None:
    """So many entries, each with an order or two and some with trades."""

    async def scene() -> None:
        ports = cluster.client_ports(via)
        async with AsyncClient(ports, account="bob", session_key=key, timeout_s=30.0) as client:
            for number in range(count):
                side = Side.SELL if number % 3 == 0 else Side.BUY
                order = c.new_order(SYMBOL, side, 1 + number % 4, 100 + number % 7)
                await client.request([order])

    asyncio.run(scene())


def _snapshot_index(cluster: Cluster, node_id: int) -> int:
    return int(cluster.query(node_id, "status")["snapshot_index"])


def test_a_wiped_node_and_a_lagging_node_are_caught_up_by_a_snapshot(tmp_path: Path) -> None:
    with running_cluster(tmp_path, bounds=SMALL) as cluster:
        _write(cluster, 30, via=1, key="first")
        leader = cluster.wait_leader()
        wiped, lagging = (node_id for node_id in cluster.ids if node_id != leader)
        assert cluster.stop(lagging) == 0
        _write(cluster, ENTRIES, via=leader, key="second")
        until("a snapshot is written", lambda: _snapshot_index(cluster, leader) > 1_200)
        cluster.start(lagging)
        cluster.wait_up(lagging)
        cluster.settle()
        assert "installed snapshot" in cluster.log(lagging)

        cluster.kill(wiped)
        cluster.wipe(wiped)
        cluster.start(wiped)
        cluster.wait_up(wiped)
        cluster.settle()
        assert "installed snapshot" in cluster.log(wiped)
        assert _snapshot_index(cluster, wiped) > 1_000
        books = cluster.books(SYMBOL)
        assert books[1] == books[2] == books[3]

        # They are full members again: with the third gone they go on, and remember what was done.
        cluster.kill(leader)
        cluster.wait_leader(wiped, lagging)
        _write(cluster, 20, via=wiped, key="third")
        with cluster.wire(lagging) as wire:
            session = wire.greet("bob", "first")
            repeated = wire.ask(m.REQUEST, session, 513, ())
            assert repeated[:2] == (m.REFUSED, session)  # form is judged before memory
            again = wire.ask(m.REQUEST, session, 513, (c.close_session(),))
            assert again[0] == m.REPLY
            assert again[8] == 1, "a request of before the wipe was done again"
        cluster.start(leader)
        cluster.wait_up()
        cluster.settle()


def test_a_node_restarts_from_its_snapshot(tmp_path: Path) -> None:
    with running_cluster(tmp_path, bounds=SMALL) as cluster:
        _write(cluster, 700, via=2, key="k")
        until(
            "snapshots are written",
            lambda: all(_snapshot_index(cluster, node_id) > 300 for node_id in cluster.ids),
        )
        _, digest = cluster.settle()
        for node_id in cluster.ids:
            cluster.kill(node_id)
        cluster.start()
        cluster.wait_up()
        cluster.wait_leader()
        assert cluster.settle()[1] == digest
        for node_id in cluster.ids:
            ups = [line for line in cluster.log(node_id).splitlines() if " is up: " in line]
            found = re.search(r"applied (\d+)", ups[-1])
            assert found is not None and int(found[1]) > 300, ups[-1]
        _write(cluster, 20, via=3, key="k2")
        cluster.settle()


def test_a_damaged_snapshot_is_passed_over_for_the_one_before_it(tmp_path: Path) -> None:
    with running_cluster(tmp_path, bounds=SMALL) as cluster:
        _write(cluster, 650, via=2, key="k")
        index, digest = cluster.settle()
        until("two snapshots are written", lambda: len(_snapshots(cluster, 1)) == 2)
        assert cluster.stop(1) == 0
        newest = _snapshots(cluster, 1)[-1]
        content = bytearray(newest.read_bytes())
        content[-1] ^= 1
        newest.write_bytes(content)
        cluster.start(1)
        cluster.wait_up(1)
        cluster.wait_leader()
        cluster.settle()
        told = [cluster.query(node_id, "digest", index=index)["digest"] for node_id in cluster.ids]
        assert {digest} >= set(told) - {None}
        assert told[0] == digest


def _snapshots(cluster: Cluster, node_id: int) -> list[Path]:
    return sorted((cluster.directory(node_id) / "snapshots").glob("snapshot-*.raftbook"))


def test_nodes_start_in_any_order_and_apart_in_time(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster:
        cluster.start(3)
        cluster.wait_up()
        assert cluster.query(3, "status")["leader_id"] is None
        with pytest.raises(Trouble, match="903"):  # nobody knows how old its book is
            cluster.query(3, "book", symbol=SYMBOL)
        assert cluster.query(3, "book", symbol=SYMBOL, max_age_ms=2**60)["bids"] == ()
        with cluster.wire(3) as wire:
            wire.greet("alice")
            answer = wire.ask(m.OPEN, 1, "k")
            assert answer[:3] == (m.FAILURE, 1, Reject.NO_LEADER)
        cluster.start(1)
        cluster.wait_up()
        # Two of three could be those whose disks were lost: all found a cluster, or nobody does.
        says = "waits for node 2: all nodes of cluster.toml found a cluster"
        for node_id in (1, 3):
            until(says, lambda node_id=node_id: says in cluster.log(node_id))
        assert cluster.query(3, "status")["leader_id"] is None
        cluster.start(2)
        cluster.wait_up()
        leader = cluster.wait_leader()
        cluster.kill(2 if leader != 2 else 1)
        _write(cluster, 10, via=3, key="two")
        cluster.start(*set(cluster.ids) - set(cluster.running))
        cluster.wait_up()
        cluster.settle()
        _write(cluster, 10, via=2, key="three")
        cluster.settle()
        books = cluster.books(SYMBOL)
        assert books[1] == books[2] == books[3]


@pytest.mark.parametrize("size", [1, 2])
def test_small_clusters_work_too(tmp_path: Path, size: int) -> None:
    with running_cluster(tmp_path, size=size) as cluster:
        _write(cluster, 20, via=1, key="k")
        _, digest = cluster.settle()
        for node_id in cluster.ids:
            cluster.kill(node_id)
        cluster.start()
        cluster.wait_up()
        cluster.wait_leader()
        assert cluster.settle()[1] == digest

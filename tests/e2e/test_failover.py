"""Nodes die under load: nothing acknowledged is lost, nothing is doubled, trading resumes."""

import asyncio
import subprocess
import sys
import time
from pathlib import Path

import pytest

from raftbook.client import AsyncClient
from raftbook.core import commands as c
from raftbook.core.types import Reject, Side
from raftbook.errors import OutcomeUnknown
from raftbook.wire import client_messages as m
from tests.e2e.cluster import Cluster, running_cluster, until
from tests.e2e.load import SYMBOL, Load, check_journal, check_records, check_repeats

BUY = c.new_order(SYMBOL, Side.BUY, 1, 100)


def _finish(cluster: Cluster, load: Load) -> None:
    """All nodes are up again: compare them, repeat everything, kill them, read the journals."""
    check_records(load.records)
    index, digest = cluster.settle()
    books = cluster.books(SYMBOL)
    for node_id in cluster.ids:
        assert books[node_id] == books[cluster.ids[0]], f"the book of node {node_id} differs"
    via = cluster.ids[-1]
    asyncio.run(check_repeats(cluster, load.records, via=via))
    last, _ = cluster.settle()
    assert cluster.books(SYMBOL) == books, "a repeated request changed the book"
    digests = {node_id: cluster.query(node_id, "digest", index=index) for node_id in cluster.ids}
    assert {told["digest"] for told in digests.values()} == {digest}
    for node_id in cluster.ids:
        cluster.kill(node_id)
    for node_id in cluster.ids:
        assert check_journal(cluster, node_id, load.records, index) == digest
        check_journal(cluster, node_id, load.records, last)


def test_the_leader_is_killed_under_load(tmp_path: Path) -> None:
    with running_cluster(tmp_path) as cluster:
        load = Load(cluster, clients=5)

        async def scene() -> None:
            trading = asyncio.create_task(load.run())
            await load.acknowledged(150)
            killed = await asyncio.to_thread(cluster.wait_leader)
            cluster.kill(killed)
            await load.acknowledged(150)
            assert cluster.wait_leader() != killed
            cluster.start(killed)
            await load.acknowledged(100)
            load.finish()
            await trading

        asyncio.run(scene())
        cluster.wait_up()
        _finish(cluster, load)


def test_the_leader_stands_still_under_load_and_comes_back(tmp_path: Path) -> None:
    with running_cluster(tmp_path) as cluster:
        load = Load(cluster, clients=4, seed=2)
        frozen = cluster.wait_leader()
        others = [node_id for node_id in cluster.ids if node_id != frozen]

        def has_successor() -> bool:
            leaders = {cluster.query(node_id, "status")["leader_id"] for node_id in others}
            return leaders <= set(others)

        async def scene() -> None:
            trading = asyncio.create_task(load.run())
            await load.acknowledged(100)
            cluster.freeze(frozen)
            try:
                await asyncio.to_thread(until, "the others elect one", has_successor)
                await load.acknowledged(100)
            finally:
                cluster.thaw(frozen)
            await load.acknowledged(100)
            load.finish()
            await trading

        asyncio.run(scene())
        cluster.wait_leader()
        _finish(cluster, load)


def test_all_nodes_are_killed_at_once_and_come_back_with_everything(tmp_path: Path) -> None:
    with running_cluster(tmp_path) as cluster:
        load = Load(cluster, clients=4, seed=3)

        async def scene() -> None:
            trading = asyncio.create_task(load.run())
            await load.acknowledged(200)
            for node_id in cluster.ids:
                cluster.kill(node_id)
            cluster.start()
            await load.acknowledged(100)
            load.finish()
            await trading

        asyncio.run(scene())
        _, digest = cluster.settle()
        for node_id in cluster.ids:
            cluster.kill(node_id)
        cluster.start()
        cluster.wait_up()
        cluster.wait_leader()
        _, again = cluster.settle()
        assert again == digest
        _finish(cluster, load)


def test_a_terminated_leader_hands_over_and_trading_goes_on(tmp_path: Path) -> None:
    # An election by timeout would take these nodes at least 3 s: only a handover is faster.
    slow = {
        "election_timeout_min_ms": 3_000,
        "election_timeout_max_ms": 3_600,
        "leader_fallback_ms": 4_000,
        "request_deadline_ms": 20_000,
    }
    with running_cluster(tmp_path, timings=slow) as cluster:
        before, after = Load(cluster, seed=4), Load(cluster, seed=5)
        stopped = cluster.wait_leader()

        async def trade(load: Load) -> None:
            trading = asyncio.create_task(load.run())
            await load.acknowledged(100)
            load.finish()
            await trading

        asyncio.run(trade(before))
        cluster.settle()
        began = time.monotonic()
        assert cluster.stop(stopped) == 0
        assert cluster.wait_leader() != stopped
        took_s = time.monotonic() - began
        assert took_s < 3.0, f"the handover took {took_s:.1f} s"
        assert f"node {stopped} stopped" in cluster.log(stopped)
        asyncio.run(trade(after))
        cluster.start(stopped)
        cluster.wait_up()
        before.records += after.records
        _finish(cluster, before)


def test_a_minority_acknowledges_nothing_and_heals(tmp_path: Path) -> None:
    timings = {"request_deadline_ms": 900, "read_age_max_ms": 600_000}  # it reads while alone
    with running_cluster(tmp_path, timings=timings) as cluster:
        alone = cluster.wait_leader()
        others = [node_id for node_id in cluster.ids if node_id != alone]
        only = cluster.client_ports(alone)[:1]

        async def acknowledged(client: AsyncClient, seq: int | None = None) -> int:
            reply = await client.request([BUY], request_seq=seq)
            return int(reply.events[0][2][0])

        async def scene() -> None:
            async with AsyncClient(only, account="alice", session_key="k", timeout_s=2.5) as client:
                assert await acknowledged(client) == 1
                for node_id in others:
                    cluster.kill(node_id)
                with pytest.raises(OutcomeUnknown) as unknown:
                    await client.request([BUY])
                assert await asyncio.to_thread(_order_by_command_line, cluster, alone) in (4, 5)
                await asyncio.to_thread(
                    until,
                    "the lonely leader steps down",
                    lambda: cluster.query(alone, "status")["leader_id"] is None,
                )
                await asyncio.to_thread(_refused_without_a_leader, cluster, alone)
                book = await client.book(SYMBOL)
                assert [level.orders for level in book.bids] == [1]
                cluster.start(*others)
                await asyncio.to_thread(cluster.wait_leader)
                first = await acknowledged(client, unknown.value.request_seq)
                assert await acknowledged(client, unknown.value.request_seq) == first
                assert await acknowledged(client) > first

        asyncio.run(scene())
        index, _ = cluster.settle()
        for node_id in cluster.ids:
            cluster.stop(node_id)
        assert _order_by_command_line(cluster, alone) == 3
        exchange, _ = cluster.replay(alone, until_index=index)
        # Two by the client that repeats itself and one of each new request; the command line's may
        # have come in, the one refused without a leader may not.
        assert exchange.last_order_id in (3, 4)


def _refused_without_a_leader(cluster: Cluster, node_id: int) -> None:
    """NO_LEADER: it never left this node, so it may be sent again freely."""
    with cluster.wire(node_id) as wire:
        wire.greet("bob")
        refused = wire.ask(m.OPEN, 5, "key")
        assert refused[:3] == (m.FAILURE, 5, Reject.NO_LEADER)
        assert "no leader is known" in refused[3]


def _order_by_command_line(cluster: Cluster, node_id: int) -> int:
    """The exit code of `raftbook order buy`."""
    program = [sys.executable, "-m", "raftbook_cli.main", "order", "buy", SYMBOL, "1@90"]
    options = ["--config", str(cluster.path), "--node", str(node_id), "--timeout", "1.5"]
    done = subprocess.run([*program, *options], capture_output=True, timeout=60, check=False)
    return done.returncode

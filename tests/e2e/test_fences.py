"""Nodes that must stop taking part: they say why, the others go on, a full disk ends by itself."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from raftbook.client import AsyncClient
from raftbook.core import commands as c
from raftbook.core.types import Side
from raftbook.wire import client_messages as m
from tests.e2e.cluster import PATIENCE_S, Cluster, Trouble, running_cluster, until
from tests.e2e.load import SYMBOL, Load, check_records, check_repeats

DISK_BYTES = 32 << 20


def raftbook(cluster: Cluster, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line on a cluster."""
    return subprocess.run(
        [sys.executable, "-m", "raftbook_cli.main", *arguments, "--config", str(cluster.path)],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )


def fence_of(cluster: Cluster, node_id: int) -> str | None:
    fence: str | None = cluster.query(node_id, "status")["fence"]
    return fence


async def trade(cluster: Cluster, via: int, key: str, side: Side, qty: int) -> None:
    ports = cluster.client_ports(via)
    async with AsyncClient(ports, account="bob", session_key=key, timeout_s=30.0) as client:
        await client.request([c.new_order(SYMBOL, side, qty, 100)])


# -- digests --------------------------------------------------------------------------------------


@pytest.mark.parametrize("leads", [True, False], ids=["leader", "follower"])
def test_a_node_whose_book_is_wrong_stops_and_the_others_go_on(tmp_path: Path, leads: bool) -> None:
    with Cluster(tmp_path) as cluster:
        cluster.patches[1] = ("flip-order", "1")
        cluster.start()
        cluster.wait_up()
        wanted = 1 if leads else 2
        if cluster.wait_leader() != wanted:
            cluster.query(cluster.wait_leader(), "transfer", account="demo", to=wanted)
        assert cluster.wait_leader() == wanted
        asyncio.run(trade(cluster, 3, "k", Side.BUY, 20))
        cluster.settle()
        books = cluster.books(SYMBOL)
        assert books[1] != books[2] == books[3]  # nobody can know yet
        asyncio.run(trade(cluster, 3, "k2", Side.SELL, 1))
        until("node 1 fences itself", lambda: fence_of(cluster, 1) == "diverged")

        asyncio.run(trade(cluster, 3, "k3", Side.BUY, 3))
        told = {node_id: cluster.query(node_id, "status") for node_id in cluster.ids}
        assert [told[node_id]["fence"] for node_id in (2, 3)] == [None, None]
        assert told[1]["role"] == "diverged"
        assert told[1]["applied_index"] < told[3]["applied_index"]
        assert "2 of 3 members" in told[1]["fenced"]
        assert "is fenced (diverged) at entry" in cluster.log(1)
        assert cluster.query(1, "book", symbol=SYMBOL, max_age_ms=600_000)["bids"]
        assert raftbook(cluster, "cluster", "health").returncode == 0
        shown = raftbook(cluster, "cluster", "status")
        assert "diverged" in shown.stdout and "node 1 is fenced" in shown.stdout
        assert cluster.stop(1) == 6

        del cluster.patches[1]  # its memory was at fault, not its disk
        cluster.start(1)
        cluster.wait_up()
        cluster.wait_leader()
        cluster.settle()


# -- disks ----------------------------------------------------------------------------------------


@contextlib.contextmanager
def small_disk(cluster: Cluster, node_id: int) -> Iterator[Path]:
    """Give a node a disk of its own, of DISK_BYTES; the file that fills it."""
    if os.geteuid() != 0:
        pytest.skip("a small disk is a tmpfs, and only root mounts one")
    directory = cluster.directory(node_id)
    directory.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(directory)]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("no tmpfs may be mounted here")
    try:
        yield directory / "filler"
    finally:
        if cluster.is_running(node_id):
            cluster.kill(node_id)
        subprocess.run(["umount", "--lazy", str(directory)], check=True)


def fill_disk(filler: Path) -> None:
    with contextlib.suppress(OSError), open(filler, "wb", buffering=0) as file:
        while True:
            if file.write(bytes(4096)) < 4096:
                return


@pytest.mark.parametrize("leads", [True, False], ids=["leader", "follower"])
def test_a_full_disk_is_survived_and_ends_by_itself(tmp_path: Path, leads: bool) -> None:
    with Cluster(tmp_path) as cluster, small_disk(cluster, 1) as filler:
        cluster.start()
        cluster.wait_up()
        wanted = 1 if leads else 2
        if cluster.wait_leader() != wanted:
            cluster.query(cluster.wait_leader(), "transfer", account="demo", to=wanted)
        load = Load(cluster, clients=3, pause_s=0.05)

        async def scene() -> None:
            trading = asyncio.create_task(load.run())
            await load.acknowledged(50)
            fill_disk(filler)
            await asyncio.to_thread(
                until, "node 1 is fenced", lambda: fence_of(cluster, 1) == "no_space"
            )
            await load.acknowledged(50)
            leader = await asyncio.to_thread(lambda: cluster.query(2, "status")["leader_id"])
            assert leader in (2, 3)
            # It says why, and shows what it has to who asks for it.
            status = await asyncio.to_thread(cluster.query, 1, "status")
            assert status["role"] == "fenced" and "disk full" in status["fenced"]
            await asyncio.to_thread(
                lambda: cluster.query(1, "book", symbol=SYMBOL, max_age_ms=600_000)
            )
            filler.unlink()
            await asyncio.to_thread(until, "node 1 is back", lambda: fence_of(cluster, 1) is None)
            await load.acknowledged(50)
            load.finish()
            await trading

        asyncio.run(scene())
        log = cluster.log(1)
        assert "is fenced (no_space) at entry" in log
        assert ("asked node" in log) == leads
        assert "the disk has room again, starting anew" in log
        cluster.wait_up()
        check_records(load.records)
        cluster.settle()
        books = cluster.books(SYMBOL)
        assert books[1] == books[2] == books[3]
        asyncio.run(check_repeats(cluster, load.records, via=1))
        assert cluster.stop(1) == 0


def test_an_order_that_met_an_io_error_ends_the_command_with_5_and_so_does_the_node(
    tmp_path: Path,
) -> None:
    """What a failed sync left on the disk nobody knows: the node waits for somebody to look."""
    order = ("order", "buy", "ETH-USD", "1@100", "--client-id", "unlucky")
    with Cluster(tmp_path, size=1) as cluster:
        cluster.patches[1] = ("io-error", "ETH-USD")
        cluster.start()
        cluster.wait_up()
        cluster.wait_leader()
        assert raftbook(cluster, "order", "buy", SYMBOL, "1@99").returncode == 0
        done = raftbook(cluster, *order, "--timeout", "3")
        assert done.returncode == 5, done.stderr
        assert "retry" in done.stderr
        status = cluster.query(1, "status")
        assert (status["role"], status["fence"]) == ("fenced", "storage")
        assert "I/O error" in status["fenced"] and "check the disk" in status["fenced"]
        assert cluster.query(1, "book", symbol=SYMBOL, max_age_ms=600_000)["bids"]
        assert raftbook(cluster, "cluster", "health").returncode == 4
        assert "starting anew" not in cluster.log(1)
        assert cluster.stop(1) == 5

        del cluster.patches[1]
        cluster.start()
        cluster.wait_up()
        cluster.wait_leader()
        again = raftbook(cluster, *order)
        assert again.returncode == 0, again.stderr
        ((_, _, orders),) = cluster.query(1, "book", symbol="ETH-USD")["bids"]
        assert orders == 1


# -- a process that outlives its node -------------------------------------------------------------


def test_a_node_killed_in_a_snapshot_starts_again_while_the_child_still_lives(
    tmp_path: Path,
) -> None:
    """The child was forked with the listening sockets, the journal and its lock open."""
    told = tmp_path / "child"
    with Cluster(tmp_path, size=1) as cluster:
        cluster.patches[1] = ("slow-snapshot", str(told))
        cluster.start()
        cluster.wait_up()
        cluster.wait_leader()
        asyncio.run(trade(cluster, 1, "k", Side.BUY, 20))
        with cluster.wire(1) as wire:
            wire.greet("demo")
            wire.send(m.QUERY, 7, "snapshot", {})
            child = int(until("the child writes", lambda: told.exists() and told.read_text()))
            try:
                cluster.kill(1)
                del cluster.patches[1]
                cluster.start()
                cluster.wait_up()
                cluster.wait_leader()
                asyncio.run(trade(cluster, 1, "k2", Side.BUY, 20))
                os.kill(child, 0)  # it lived all the while
                assert not list((cluster.directory(1) / "snapshots").glob("*.tmp"))
            finally:
                os.kill(child, signal.SIGKILL)


def test_a_node_that_stops_takes_its_snapshot_child_with_it(tmp_path: Path) -> None:
    told = tmp_path / "child"
    with Cluster(tmp_path, size=1) as cluster:
        cluster.patches[1] = ("slow-snapshot", str(told))
        cluster.start()
        cluster.wait_up()
        cluster.wait_leader()
        asyncio.run(trade(cluster, 1, "k", Side.BUY, 20))
        with cluster.wire(1) as wire:
            wire.greet("demo")
            wire.send(m.QUERY, 7, "snapshot", {})
            child = int(until("the child writes", lambda: told.exists() and told.read_text()))
        assert cluster.stop(1) == 0
        with pytest.raises(ProcessLookupError):
            os.kill(child, 0)


# -- reads ----------------------------------------------------------------------------------------


def test_a_follower_that_hears_of_no_leader_shows_no_market(tmp_path: Path) -> None:
    with running_cluster(tmp_path, timings={"read_age_max_ms": 1_000}) as cluster:
        asyncio.run(trade(cluster, 1, "k", Side.BUY, 5))
        cluster.settle()
        leader = cluster.wait_leader()
        left = next(node_id for node_id in cluster.ids if node_id != leader)
        for node_id in cluster.ids:
            if node_id != left:
                cluster.kill(node_id)

        def refusal() -> str | None:
            try:
                cluster.query(left, "book", symbol=SYMBOL)
            except Trouble as trouble:
                return str(trouble)
            return None

        said = until("the read is refused", refusal)
        assert "last heard of a leader" in said and "more than 1 s; ask another" in said
        book = cluster.query(left, "book", symbol=SYMBOL, max_age_ms=600_000)
        assert book["bids"] == ((100, 5, 1),)
        assert book["age_ms"] > 1_000

        node = str(left)
        shown = raftbook(cluster, "book", SYMBOL, "--node", node, "--timeout", "5")
        assert shown.returncode == 4 and "last heard of a leader" in shown.stderr
        shown = raftbook(cluster, "book", SYMBOL, "--node", node, "--max-age", "600")
        assert shown.returncode == 0 and "STALE" in shown.stdout
        shown = raftbook(
            cluster, "book", SYMBOL, "--node", node, "--max-age", "600", "--at-least", "1000000",
            "--timeout", "5",
        )  # fmt: skip
        assert shown.returncode == 4 and "not yet 1000000" in shown.stderr
        shown = raftbook(
            cluster, "book", SYMBOL, "--node", node, "--linearizable", "--timeout", "5"
        )
        assert shown.returncode == 4 and "no barrier" in shown.stderr

        others = [node_id for node_id in cluster.ids if node_id != left]
        cluster.start(others[0])
        cluster.wait_up()
        cluster.wait_leader()
        assert refusal() is None
        for flags in (("--linearizable",), ("--at-least", "3"), ()):
            shown = raftbook(cluster, "book", SYMBOL, "--node", node, *flags)
            assert shown.returncode == 0 and "STALE" not in shown.stdout

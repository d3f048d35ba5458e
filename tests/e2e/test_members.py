"""A new machine joins and the leader leaves, under load, by the commands an operator types."""

import asyncio
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from raftbook.client import AsyncClient
from raftbook.config import load_config
from tests.e2e.cluster import PATIENCE_S, Cluster, running_cluster, until
from tests.e2e.load import Load, check_records, check_repeats
from tests.e2e.ports import HOST, free_ports


def command(folder: Path, *words: str) -> tuple[int, str, str]:
    """A raftbook command in a folder; exit code, stdout and stderr."""
    done = subprocess.run(
        [sys.executable, "-m", "raftbook_cli.main", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def answer(folder: Path, *words: str) -> Any:
    """The document that a command prints, which must succeed."""
    code, said, trouble = command(folder, *words, "-o", "json")
    assert code == 0, (words, said, trouble)
    return json.loads(said)


class Machine:
    """A new machine: a folder with nothing but the secret."""

    def __init__(self, cluster: Cluster, node_id: int) -> None:
        self.cluster, self.node_id = cluster, node_id
        self.folder = cluster.folder.parent / f"machine-{node_id}"
        self.folder.mkdir()
        shutil.copy(cluster.config.secret_file, self.folder)
        self.raft_port, self.client_port = free_ports(2)
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Machine":
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def words(self, *more: str) -> list[str]:
        return ["node", "--id", str(self.node_id), *more]

    def start(self, *more: str) -> None:
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "raftbook_cli.main", *self.words(*more)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
            )

    def log(self) -> str:
        return (self.folder / "log").read_text()


def members(cluster: Cluster) -> dict[int, bool]:
    """Who belongs to the cluster and whether it votes."""
    rows = answer(cluster.folder, "cluster", "members")["members"]
    return {row["node_id"]: row["voter"] for row in rows}


def test_a_machine_joins_and_the_leader_is_removed_under_load(tmp_path: Path) -> None:
    with running_cluster(tmp_path / "venue") as cluster, Machine(cluster, 4) as machine:
        load = Load(cluster, clients=3)
        host, leader = HOST, cluster.wait_leader()
        via = f"{host}:{cluster.address(leader % 3 + 1).raft_port}"

        # Nobody has been told of it yet.
        code, _, trouble = command(machine.folder, *machine.words("--join", via))
        assert code == 4
        assert "node 4 is no member yet" in trouble
        assert not (machine.folder / "cluster.toml").exists()

        def change() -> None:
            own = (f"{host}:{machine.raft_port}", f"{host}:{machine.client_port}")
            added = answer(cluster.folder, "cluster", "add", "4", *own)
            assert added["learners"] in ([4], []), added
            machine.start("--join", via)
            until("node 4 votes", lambda: members(cluster).get(4))
            config = load_config(machine.folder / "cluster.toml")
            assert [node.node_id for node in config.nodes] == [1, 2, 3, 4]
            removed = answer(cluster.folder, "cluster", "remove", str(leader))
            assert leader not in removed["voters"]
            assert len(removed["voters"]) == 3

        later = Load(cluster, clients=3, seed=2)

        async def scene() -> None:
            trading = asyncio.create_task(load.run())
            await load.acknowledged(100)
            await asyncio.to_thread(change)
            load.finish()
            await trading
            trading = asyncio.create_task(later.run())
            await later.acknowledged(100)
            later.finish()
            await trading

        asyncio.run(scene())
        check_records(load.records + later.records)
        until("the removed node says so", lambda: cluster.query(leader, "status")["fenced"])
        assert "was removed" in cluster.query(leader, "status")["fenced"]
        assert cluster.query(leader, "book", symbol="BTC-USD")["bids"] is not None
        others = [node_id for node_id in cluster.ids if node_id != leader]
        assert members(cluster) == dict.fromkeys([*others, 4], True)
        for folder in (cluster.folder, machine.folder):
            until("all agree", lambda folder=folder: verified(folder) == {*others, 4})

        # The same machine again, without --join; and the removed one, which is not let in again.
        assert machine.process is not None
        machine.process.terminate()
        assert machine.process.wait(timeout=PATIENCE_S) == 0
        machine.start()
        cluster.kill(leader)
        cluster.start(leader)
        until("node 4 is back", lambda: verified(machine.folder) == {*others, 4})
        until("node is told", lambda: "was removed" in (fence(cluster, leader) or ""))
        asyncio.run(check_repeats(cluster, load.records, via=others[0]))

        code, _, trouble = command(cluster.folder, "cluster", "add", str(leader), f"{host}:9")
        assert code == 2 and "its id never comes back" in trouble, (code, trouble)


def test_a_client_outlives_the_only_node_it_was_given(tmp_path: Path) -> None:
    with running_cluster(tmp_path / "venue", size=1) as cluster, Machine(cluster, 2) as machine:
        own = (f"{HOST}:{machine.raft_port}", f"{HOST}:{machine.client_port}")

        def replace() -> None:
            answer(cluster.folder, "cluster", "add", "2", *own)
            machine.start("--join", f"{HOST}:{cluster.address(1).raft_port}")
            until("node 2 votes", lambda: members(cluster).get(2))
            assert f"node 2 of cluster test starts from {machine.folder}" in machine.log()
            answer(cluster.folder, "cluster", "remove", "1")

        async def scene() -> None:
            ports = cluster.client_ports()
            async with AsyncClient(ports, account="alice", timeout_s=PATIENCE_S) as client:
                first = await client.submit("BTC-USD", "buy", "1", "100")
                await asyncio.to_thread(replace)
                second = await client.submit("BTC-USD", "buy", "1", "101")
                cluster.kill(1)
                third = await client.submit("BTC-USD", "buy", "1", "102")
                book = await client.book("BTC-USD", linearizable=True)
                assert client.node == 2
                assert first.order_id < second.order_id < third.order_id
                assert [int(level.price) for level in book.bids] == [102, 101, 100]

        asyncio.run(scene())


def test_the_only_founder_of_a_grown_cluster_that_lost_its_directory_waits_for_the_others(
    tmp_path: Path,
) -> None:
    """Its cluster.toml names itself alone: it must not begin anew while they are down."""
    with (
        running_cluster(tmp_path / "venue", size=1) as cluster,
        Machine(cluster, 2) as second,
        Machine(cluster, 3) as third,
    ):
        via = f"{HOST}:{cluster.address(1).raft_port}"
        for machine in (second, third):
            node_id = machine.node_id
            own = (f"{HOST}:{machine.raft_port}", f"{HOST}:{machine.client_port}")
            added = command(cluster.folder, "cluster", "add", str(node_id), *own)
            assert added[0] == 0, added
            told = "names 1 of 3 members" in added[2]
            assert told == (node_id == 3), "a file whose nodes are a minority is told of"
            machine.start("--join", via)
            until(f"node {node_id} votes", lambda node_id=node_id: members(cluster).get(node_id))
        order = ("order", "buy", "BTC-USD", "1@100")
        answer(cluster.folder, *order)
        mark = cluster.directory(1).with_name("node-1.founded")
        assert "Remove this file only to begin a new" in mark.read_text()
        cluster.kill(1)
        cluster.wipe(1)
        for machine in (second, third):
            assert machine.process is not None
            machine.process.kill()
            machine.process.wait()
        cluster.start(1)
        cluster.wait_up(1)
        until(
            "it says why", lambda: f"remove {mark} on every node and restart them" in cluster.log(1)
        )
        code, _, trouble = command(cluster.folder, *order)
        assert code == 4, trouble
        assert "its directory was lost since it was a member" in trouble
        assert not cluster.query(1, "status")["founded"]
        for machine in (second, third):
            machine.start()
        until("node 1 votes again", lambda: members(cluster).get(1))
        book = answer(cluster.folder, "book", "BTC-USD", "--linearizable")
        assert [level["qty"] for level in book["bids"]] == ["1.000"], book
        # Another machine in its place, with nothing but the secret.
        cluster.kill(1)
        with Machine(cluster, 1) as other:
            other.start("--join", f"{HOST}:{second.raft_port}")
            until("all agree", lambda: verified(cluster.folder) == {1, 2, 3})
            assert len(load_config(other.folder / "cluster.toml").nodes) == 3


def verified(folder: Path) -> set[int]:
    """The nodes that agree, as `cluster verify` says; empty if one of them did not answer."""
    code, said, _ = command(folder, "cluster", "verify", "-o", "json")
    document = json.loads(said) if said else {}
    return set(map(int, document.get("digests", {}))) if code == 0 else set()


def fence(cluster: Cluster, node_id: int) -> str | None:
    return cluster.query(node_id, "status")["fenced"]  # type: ignore[no-any-return]

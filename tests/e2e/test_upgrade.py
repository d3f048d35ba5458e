"""Two builds in one cluster: nodes are replaced one by one under load, and nobody notices.

The newer build is a copy of this package with one more engine version, in which a cancel of an
unknown order is refused by another code, and entries and snapshots have another format. The rules
must change at one entry, when the last node is new, and never before.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import raftbook
from raftbook.client import AsyncClient, RequestReply
from raftbook.core import commands as c
from raftbook.core.commands import Command
from raftbook.core.events import CANCEL_REJECTED, ENGINE_VERSION_SET
from raftbook.core.types import Reject
from raftbook.core.versions import ENGINE_VERSION
from raftbook.node import FENCED_EXIT
from raftbook.replica.fences import FenceKind
from tests.e2e.cluster import Cluster, until
from tests.e2e.load import Load, check_records, check_repeats

ROOT = Path(raftbook.__file__).parents[1]
NEXT = ENGINE_VERSION + 1
NEXT_RELEASE = "9.9.9"

STRANGER = c.cancel_order(order_id=2**40)
TOO_OLD = (
    f"needs engine version {NEXT}, this build has {ENGINE_VERSION}: "
    f"upgrade this node to raftbook {NEXT_RELEASE} or newer"
)

_CHANGED_CANCEL = """

_cancel_before = _HANDLERS[c.CANCEL_ORDER]


def _cancel_order(
    exchange: Exchange, session: Session, command: Command, events: list[Event]
) -> None:
    _cancel_before(exchange, session, command, events)
    if events[-1][2] == Reject.UNKNOWN_ORDER and GUARD:
        events[-1] = (CANCEL_REJECTED, 0, int(Reject.NOT_OWNER), command)


_FIRST_HANDLERS[c.CANCEL_ORDER] = _HANDLERS[c.CANCEL_ORDER] = _cancel_order
"""
_GUARD = f"exchange.engine_version >= {NEXT}"


def build_next(folder: Path, *, guard: str = _GUARD) -> Path:
    """A copy of the package as the next release might be; for PYTHONPATH."""
    for source, name in (("raftbook", "raftbook"), ("cli", "raftbook_cli")):
        ignore = shutil.ignore_patterns("__pycache__", "*.so", "*.pyd")
        shutil.copytree(ROOT / source, folder / name, ignore=ignore)

    def patch(path: str, old: str, new: str) -> None:
        file = folder / "raftbook" / path
        text = file.read_text()
        assert text.count(old) == 1, f"{path}: {old}"
        file.write_text(text.replace(old, new))

    patch(
        "__init__.py", f'__version__ = "{raftbook.__version__}"', f'__version__ = "{NEXT_RELEASE}"'
    )
    patch(
        "core/versions.py",
        f'ENGINE_VERSION: Final = {ENGINE_VERSION}\n"""The newest',
        f'ENGINE_VERSION: Final = {NEXT}\n"""The newest',
    )
    newest = f"99: {NEXT}}}"
    patch(
        "core/snapshot.py",
        "FORMATS: Final = {1: 1, 2: 2, 3: 4}",
        f"FORMATS: Final = {{1: 1, 2: 2, 3: 4, {newest}",
    )
    patch(
        "wire/entry.py",
        "FORMATS: Final = {FORMAT_VERSION: FIRST_ENGINE_VERSION}",
        f"FORMATS: Final = {{FORMAT_VERSION: FIRST_ENGINE_VERSION, {newest}",
    )
    exchange = folder / "raftbook" / "core" / "exchange.py"
    exchange.write_text(exchange.read_text() + _CHANGED_CANCEL.replace("GUARD", guard))
    return folder


class Mixed(Cluster):
    """A cluster whose nodes may run different builds."""

    builds: dict[int, Path]

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.builds = {}

    def _command(self, node_id: int, config: Path | None = None) -> Sequence[str]:
        build = self.builds.get(node_id, ROOT)
        return ["env", f"PYTHONPATH={build}", *super()._command(node_id, config)]

    def replace(self, node_id: int, build: Path) -> None:
        """Stop a node and start it again as another build."""
        assert self.stop(node_id) == 0
        self.builds[node_id] = build
        self.start(node_id)
        self.wait_up(node_id)

    def engines(self) -> dict[int, tuple[int, int]]:
        """Of each running node: engine version in force, newest it has."""
        told = {node_id: self.query(node_id, "status") for node_id in self.running}
        return {
            node_id: (status["engine_version"], status["engine_version_supported"])
            for node_id, status in told.items()
        }

    def agree(self) -> int:
        """Asserts that all nodes have the same digest at the newest index that all have; it."""

        def compared() -> int | None:
            told = [self.query(node_id, "status") for node_id in self.running]
            index = min(status["applied_index"] for status in told)
            answers = {
                node_id: self.query(node_id, "digest", index=index)["digest"]
                for node_id in self.running
            }
            if None in answers.values():
                return None
            assert len(set(answers.values())) == 1, f"nodes differ at {index}: {answers}"
            return int(index)

        return int(until("all nodes know the digest at one index", compared))

    def offline_digest(self, node_id: int, build: Path) -> tuple[int, str]:
        """What `raftbook log digest` of a build says of a stopped node; exit code and output."""
        command = [sys.executable, "-m", "raftbook_cli.main", "log", "digest", "-o", "json"]
        done = subprocess.run(
            [*command, "--config", str(self.path), str(self.directory(node_id))],
            env={**os.environ, "PYTHONPATH": str(build)},
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr


class Steady(Load):
    """A load that lasts: a lane ends after 200 requests."""

    async def insist(self, client: AsyncClient, commands: list[Command]) -> RequestReply:
        await asyncio.sleep(0.25)
        return await super().insist(client, commands)


@dataclass
class Prober:
    """Cancels an order that does not exist, again and again, and notes how that is refused."""

    cluster: Mixed
    load: Load
    codes: dict[int, int] = field(default_factory=dict)  # by log index
    is_over: bool = False

    async def run(self) -> None:
        """Until `is_over`."""
        async with AsyncClient(
            self.cluster.client_ports(2), account="bob", session_key="prober", timeout_s=10.0
        ) as client:
            while not self.is_over:
                reply = await Load.insist(self.load, client, [STRANGER])
                ((kind, _, code, _),) = reply.events
                assert kind == CANCEL_REJECTED
                self.codes[reply.entry_index] = code
                await asyncio.sleep(0.02)


async def _under_load(cluster: Mixed, scene: Callable[[Load], object]) -> tuple[Load, Prober]:
    """Plays a scene, in a thread, while clients trade."""
    load = Steady(cluster, clients=6)
    prober = Prober(cluster, load)
    async with asyncio.TaskGroup() as group:
        group.create_task(load.run())
        group.create_task(prober.run())
        await load.acknowledged(40)
        await asyncio.to_thread(scene, load)
        await asyncio.sleep(0.5)
        load.finish()
        prober.is_over = True
    return load, prober


def test_nodes_are_replaced_one_by_one_under_load(tmp_path: Path) -> None:
    newer = build_next(tmp_path / "next")
    with Mixed(tmp_path / "cluster") as cluster:
        cluster.start()
        cluster.wait_up()
        cluster.wait_leader()

        def scene(load: Load) -> None:
            for node_id in cluster.ids:
                until(
                    "this build's rules are in force",
                    lambda: _in_force(cluster) == {ENGINE_VERSION},
                )
                before = len(load.records)
                cluster.replace(node_id, newer)
                until("clients go on", lambda before=before: len(load.records) > before + 20)
                cluster.agree()
                if node_id == cluster.ids[0]:  # till the last is new, each may be put back
                    cluster.replace(node_id, ROOT)
                    cluster.agree()
                    cluster.replace(node_id, newer)
            until(
                "the new rules are in force",
                lambda: set(cluster.engines().values()) == {(NEXT, NEXT)},
            )
            before = len(load.records)
            until("clients go on", lambda: len(load.records) > before + 20)

        load, prober = asyncio.run(_under_load(cluster, scene))
        check_records(load.records)
        _, digest = cluster.settle()
        asyncio.run(check_repeats(cluster, load.records, via=3))
        assert cluster.settle()[1] == digest, "a repeated request changed something"
        switched_at = _check_switch(cluster, prober)
        _check_an_old_node(cluster, switched_at)
        _check_disks(cluster, newer, digest)


def _in_force(cluster: Mixed) -> set[int]:
    return {in_force for in_force, _ in cluster.engines().values()}


def _entries(cluster: Mixed) -> Iterator[tuple[Any, ...]]:
    """All entries that node 1 still knows, page by page."""
    following: tuple[int, int] | None = (1, 1)
    while following is not None:
        index, page = following
        answer = cluster.query(1, "events", "demo", from_index=index, from_page=page, limit=10_000)
        yield from answer["entries"]
        following = answer["next"]


def _check_switch(cluster: Mixed, prober: Prober) -> int:
    """Up to one entry the old rules, from then on the new ones; its index."""
    (switched_at,) = (
        index
        for index, _, _, replies, *_ in _entries(cluster)
        for _, _, _, _, events, _ in replies
        if (ENGINE_VERSION_SET, 0, NEXT) in events
    )
    old = [code for index, code in prober.codes.items() if index < switched_at]
    new = [code for index, code in prober.codes.items() if index > switched_at]
    assert set(old) == {Reject.UNKNOWN_ORDER}
    assert set(new) == {Reject.NOT_OWNER}
    assert len(old) > 10 and len(new) > 2
    return int(switched_at)


def _check_an_old_node(cluster: Mixed, switched_at: int) -> None:
    """A node that is put back stops before the switch; as the newer build it goes on."""
    newer = cluster.builds[3]
    cluster.stop(3)
    cluster.wipe(3)  # else its snapshot or log would be the newer build's
    cluster.builds[3] = ROOT
    cluster.start(3)
    cluster.wait_up(3)
    status = until(
        "the old node stops",
        lambda: (told := cluster.query(3, "status"))["fenced"] and told,
    )
    assert status["fence"] == FenceKind.TOO_OLD
    assert status["fenced"] == f"entry {switched_at} {TOO_OLD}"
    assert status["applied_index"] == switched_at - 1
    assert (status["engine_version"], status["role"]) == (ENGINE_VERSION, "fenced")
    assert TOO_OLD in cluster.log(3)
    assert cluster.stop(3) == FENCED_EXIT
    cluster.builds[3] = newer
    cluster.start(3)
    cluster.wait_up(3)
    cluster.settle()


def _check_disks(cluster: Mixed, newer: Path, digest: str) -> None:
    """The newer build reads what both wrote; the old one says that it cannot."""
    cluster.query(2, "snapshot", "demo")
    for node_id in cluster.ids:
        cluster.stop(node_id)
    for node_id in cluster.ids:
        code, said = cluster.offline_digest(node_id, newer)
        assert code == 0 and digest in said, said
        code, said = cluster.offline_digest(node_id, ROOT)
        assert code != 0 and "Traceback" not in said, said
        assert "upgrade this node" in said or "use a newer raftbook" in said, said
    cluster.builds[2] = ROOT
    code, said = cluster.run_to_the_end(2)
    assert code == 2 and "Traceback" not in said, said
    assert TOO_OLD in said and "nothing is damaged" in said


def test_a_build_that_forgets_to_ask_for_the_version_is_found_out(tmp_path: Path) -> None:
    """The test above can fail: here the changed rule takes effect with the first new node."""
    careless = build_next(tmp_path / "careless", guard="True")
    with Mixed(tmp_path / "cluster") as cluster:
        cluster.builds[2] = careless
        cluster.start()
        cluster.wait_up()
        leader = cluster.wait_leader()

        async def cancel() -> None:
            async with AsyncClient(cluster.client_ports(leader), account="bob") as client:
                await client.request([STRANGER])

        asyncio.run(cancel())
        with pytest.raises(AssertionError, match="nodes differ at"):
            cluster.settle()

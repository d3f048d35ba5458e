"""No acknowledgement and no append reply leaves before the sync that covers it: seen by strace."""

import asyncio
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from raftbook.client import AsyncClient
from raftbook.core import commands as c
from raftbook.core.types import Side
from tests.chaos.bent_node import write_roads, write_skew
from tests.chaos.trace import SYSTEM_CALLS, Findings, index_of_markers, judge_trace
from tests.e2e.cluster import Cluster, until

ORDERS = 40
# A traced process is slow: nobody shall call an election for that.
CALM = {
    "election_timeout_min_ms": 3_000,
    "election_timeout_max_ms": 4_000,
    "leader_fallback_ms": 5_000,
    "request_deadline_ms": 15_000,
}


def _why_no_strace() -> str:
    if shutil.which("strace") is None:
        return "strace is not installed: apt-get install strace"
    probe = subprocess.run(
        ["strace", "-D", "-f", "-o", "/dev/null", "true"], capture_output=True, check=False
    )
    if probe.returncode:
        return f"strace may not trace here: {probe.stderr.decode().strip()}"
    return ""


class TracedCluster(Cluster):
    """Every node under strace, as a detached tracer: the process started is the node itself."""

    fault = ""

    def trace(self, node_id: int) -> Path:
        return self.folder / f"node-{node_id}.trace"

    def is_traced(self, node_id: int) -> bool:
        """Whether the tracer, a process of its own, has written down how the node ended."""
        lines = self.trace(node_id).read_bytes()[-200:].splitlines()
        return lines[-1].endswith(b"+++ killed by SIGKILL +++")

    def _command(self, node_id: int, config: Path | None = None) -> Sequence[str]:
        tracer = ["strace", "-D", "-f", "-yy", "-xx", "-s", "1000000", "-e"]
        tracer += [f"trace={SYSTEM_CALLS}", "-o", str(self.trace(node_id))]
        program = super()._command(node_id, config)
        if self.fault:
            clock, roads = self.folder / "clock", self.folder / "roads"
            write_skew(clock, 0)
            write_roads(roads, {})
            root = str(Path(__file__).resolve().parents[2])
            broken = ["-m", "tests.chaos.broken_node", self.fault, str(clock), str(roads), ""]
            program = ["env", f"PYTHONPATH={root}", sys.executable, *broken, *program[3:]]
        return [*tracer, *program]


async def _trade(cluster: Cluster) -> None:
    """One order after the other, half of them through each of two nodes."""
    for first in cluster.ids[:2]:
        async with AsyncClient(
            cluster.client_ports(first)[:1], account="alice", timeout_s=30.0,
            request_attempt_timeout_s=20.0,
        ) as client:  # fmt: skip
            for number in range(ORDERS // 2):
                name = f"mark-{first * 1_000 + number:06d}"
                reply = await client.request(
                    [c.new_order("BTC-USD", Side.BUY, 1, 100, client_order_id=name)]
                )
                assert reply.events[0][2][2] == name


def _run(folder: Path, fault: str = "") -> list[Findings]:
    cluster = TracedCluster(folder, timings=CALM)
    cluster.fault = fault
    with cluster:
        cluster.start()
        cluster.wait_up()
        cluster.wait_leader()
        asyncio.run(_trade(cluster))
        cluster.settle()
        for node_id in cluster.ids:
            cluster.kill(node_id)
        for node_id in cluster.ids:
            until("the trace is whole", lambda node_id=node_id: cluster.is_traced(node_id))
        traces = {node_id: cluster.trace(node_id) for node_id in cluster.ids}
        indices = index_of_markers(traces.values())
        assert len(indices) == ORDERS
        return [judge_trace(path, indices) for path in traces.values()]


pytestmark = pytest.mark.skipif(bool(_why_no_strace()), reason=_why_no_strace() or "strace works")


def test_nothing_leaves_before_the_sync_that_covers_it(tmp_path: Path) -> None:
    findings = _run(tmp_path)
    assert [one.violations for one in findings] == [[], [], []]
    assert sum(one.replies for one in findings) == ORDERS
    assert sum(one.appends for one in findings) >= ORDERS  # to a majority at least
    assert sum(one.append_replies for one in findings) >= ORDERS
    assert all(one.syncs >= ORDERS for one in findings)


def test_a_cluster_that_does_not_sync_is_seen(tmp_path: Path) -> None:
    findings = _run(tmp_path, "nothing_synced")
    assert all(one.violations for one in findings), [one.violations[:2] for one in findings]


def test_followers_that_sync_after_they_answered_are_seen(tmp_path: Path) -> None:
    """Their leader syncs late as well, which no reply shows: it waits for their answers anyway."""
    findings = _run(tmp_path, "synced_late")
    caught = [one for one in findings if one.violations]
    assert len(caught) >= 2, [one.violations[:2] for one in findings]
    assert all(any("append reply" in each for each in one.violations) for one in caught)

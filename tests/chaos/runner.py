"""One chaos run: start, trade, break and mend, settle, compare, judge.

Owns the order of these and the result. `python -m tests.chaos` is its command line, and
`test_slice.py` a short run of it in the suite.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.chaos.cluster import ChaosCluster
from tests.chaos.judgement import HISTORY, RunFile, judge
from tests.chaos.link_troubles import LINKS
from tests.chaos.load import INSIST_S, Load
from tests.chaos.nemeses import Nemeses, Report
from tests.chaos.streams import Streams
from tests.e2e.cluster import PATIENCE_S, Trouble, until

ORDERS_PER_S_MIN: Final = 100.0
"""Below this a run is void: a cluster that does nothing loses nothing."""
DESCRIPTORS_SLACK: Final = 8
MEMORY_SLACK_KIB: Final = 40 << 10
MEMORY_PER_ORDER_KIB: Final = 1.0
MEMORY_GROWTH_MAX_KIB: Final = 256 << 10
"""How much a node may grow: by what it remembers of each order, until it forgets the eldest.
Under the bounds of `cluster.py` that is at most 120,000 closed orders (0.4 KiB each), 200,000
recent events, 20,000 of the feed, and the replies of the sessions; measured over 30,000 to 140,000
orders it was 0.65 to 0.95 KiB an order, with what a restart leaves behind in the allocator.
"""
_SAMPLE_EVERY_S: Final = 5.0


@dataclass(slots=True)
class Options:
    """What kind of run.

    Attributes:
        only: names of the troubles to draw from; empty is all of them.
        orders_per_s: what the clients aim at.
        is_direct: nodes and clients reach each other without proxies; no trouble on the links.
        fault: runs broken nodes, for tests of the harness.
        slow: elections and heartbeats take so many times longer, up to 3, on a machine so busy with
            other things that nodes would else depose each other all the time.
    """

    folder: Path
    minutes: float
    seed: int
    nodes: int = 3
    orders_per_s: float = 900.0
    only: frozenset[str] = frozenset()
    fault: str = ""
    is_direct: bool = False
    slow: int = 1
    say: Callable[[str], None] = print


@dataclass(slots=True)
class Growth:
    """Descriptors and KiB of one node when it was idle at first and at last, and the most."""

    descriptors: list[int] = field(default_factory=lambda: [0, 0, 0])
    memory_kib: list[int] = field(default_factory=lambda: [0, 0, 0])


@dataclass(slots=True)
class Result:
    """What a run found; `violations` empty and `void` empty is a pass."""

    seed: int
    minutes: float
    nodes: int
    orders: int = 0
    orders_per_s: float = 0.0
    tally: dict[str, int] = field(default_factory=dict)
    troubles: dict[str, int] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    refusals: list[str] = field(default_factory=list)
    failovers_s: list[float] = field(default_factory=list)
    disturbed_failovers_s: list[float] = field(default_factory=list)
    cpu_waits_s: list[float] = field(default_factory=list)
    growth: dict[int, Growth] = field(default_factory=dict)
    judgement: dict[str, Any] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)
    void: str = ""
    timeline: list[tuple[float, str]] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.violations and not self.void

    def less_cpu_wait(self) -> list[float]:
        """Failover times without what a survivor was kept from running: a lower bound."""
        pairs = zip(self.failovers_s, self.cpu_waits_s, strict=True)
        return [max(0.0, seconds - waited) for seconds, waited in pairs]

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            **asdict(self),
            "failover_percentiles_s": percentiles(self.failovers_s),
            "failovers_less_cpu_wait_percentiles_s": percentiles(self.less_cpu_wait()),
            "disturbed_failover_percentiles_s": percentiles(self.disturbed_failovers_s),
        }


def percentiles(values: list[float]) -> dict[str, float]:
    """Of a few measurements: the nearest rank, nothing interpolated."""
    if not values:
        return {}
    ranked = sorted(values)

    def at(share: float) -> float:
        return round(ranked[min(len(ranked) - 1, int(share * len(ranked)))], 3)

    return {
        "count": len(ranked),
        "p50": at(0.5),
        "p90": at(0.9),
        "p99": at(0.99),
        "max": round(ranked[-1], 3),
        "mean": round(statistics.fmean(ranked), 3),
    }


def memory_growth_max_kib(orders: int) -> int:
    """See MEMORY_GROWTH_MAX_KIB."""
    return min(MEMORY_SLACK_KIB + int(orders * MEMORY_PER_ORDER_KIB), MEMORY_GROWTH_MAX_KIB)


def run(options: Options) -> Result:
    """One run in an empty folder, which keeps everything for a post-mortem."""
    windows = 20 + int(options.minutes * 90)
    cluster = ChaosCluster(
        options.folder,
        size=options.nodes,
        windows=windows,
        fault=options.fault,
        is_direct=options.is_direct,
        slow=options.slow,
    )
    result = Result(options.seed, options.minutes, options.nodes)
    with cluster:
        asyncio.run(_Run(options, cluster, result).play())
        for node_id in cluster.running:
            code = cluster.stop(node_id)
            if code:
                result.violations.append(f"node {node_id} ended with {code} at the end")
    judgement = judge(options.folder)
    result.violations += judgement.violations
    result.void = result.void or judgement.void
    result.judgement = asdict(judgement)
    if result.orders_per_s < ORDERS_PER_S_MIN:
        result.void = f"{result.orders_per_s:.0f} orders/s; a run needs {ORDERS_PER_S_MIN:.0f}"
    return result


class _Run:
    def __init__(self, options: Options, cluster: ChaosCluster, result: Result) -> None:
        self.options, self.cluster, self.result = options, cluster, result
        self.report = Report(time.monotonic(), say=options.say)
        self.load = Load(cluster, seed=options.seed, orders_per_s=options.orders_per_s)
        self.streams = Streams(cluster)

    async def play(self) -> None:
        """Everything that needs running nodes."""
        cluster, report = self.cluster, self.report
        if self.options.is_direct:
            report.skipped |= dict.fromkeys(LINKS, "there are no proxies")
        self._mount_disks()
        cluster.start()
        await asyncio.to_thread(cluster.wait_up)
        await asyncio.to_thread(cluster.wait_leader)
        self._sample(0)
        watching = asyncio.create_task(self._watch())
        trading = asyncio.create_task(self.load.run())
        listening = asyncio.create_task(self.streams.run())
        began = time.monotonic()
        nemeses = Nemeses(
            cluster, self.load, report, seed=self.options.seed, only=self.options.only
        )
        await asyncio.sleep(1.0)
        try:
            await nemeses.run(began + 60 * self.options.minutes)
            await self._heal()
            await asyncio.sleep(1.0)
            self.result.orders = self.load.tally.orders
            self.result.orders_per_s = round(self.load.tally.orders / (time.monotonic() - began), 1)
            self.load.finish()
            async with asyncio.timeout(INSIST_S + 30):
                await trading
            await self._settle()
        finally:
            tasks = (trading, listening, watching)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._write_down()

    def _mount_disks(self) -> None:
        """A small disk for a minority of the nodes; the others keep a real one, with real syncs."""
        for node_id in self.cluster.ids[-(len(self.cluster.ids) // 2) :]:
            problem = self.cluster.mount_small_disk(node_id)
            if problem:
                self.report.skipped["full_disk"] = f"no small disk can be mounted: {problem}"
                self.report.note(f"no full disks: {problem}")

    async def _heal(self) -> None:
        """Everything is whole again; the nodes must find together by themselves."""
        cluster, report = self.cluster, self.report
        report.note("healing")
        await asyncio.to_thread(cluster.proxies.heal)
        for node_id in cluster.ids:
            cluster.set_clock(node_id, 0)
            if node_id not in cluster.running:
                cluster.start(node_id)
        try:
            await asyncio.to_thread(cluster.wait_up)
            leader = await asyncio.to_thread(cluster.wait_leader)
            report.note(f"node {leader} leads, all are up")
        except (Trouble, AssertionError) as error:
            report.problem(f"the healed cluster has no leader that all know: {error}")

    async def _settle(self) -> None:
        """Repeat, compare, verify; what nobody asks any more must not stay open."""
        cluster, report = self.cluster, self.report
        await self.load.repeat_some(via=cluster.ids[self.options.seed % len(cluster.ids)])
        try:
            index, digest = await asyncio.to_thread(cluster.settle)
        except (Trouble, AssertionError) as error:
            report.problem(f"the nodes do not settle: {error}")
            return
        self.settled = (index, digest)
        report.note(f"all nodes have digest {digest[:12]} at {index}")
        await self._hear_out()
        code, said = await asyncio.to_thread(cluster.operate, "verify")
        report.note(said.strip().splitlines()[-1] if said.strip() else f"verify: {code}")
        if code:
            report.problem(f"cluster verify ended with {code}: {said}")
        await asyncio.to_thread(self._check_members)
        unused = [name for name, count in cluster.proxies.used().items() if not count]
        gone = {str(node_id) for node_id in cluster.removed_ids}
        unused = [name for name in unused if not gone & set(name.split("-"))]
        if unused:
            report.problem(f"nobody ever went by the proxies {', '.join(unused)}")
        await asyncio.to_thread(self._check_growth)

    settled: tuple[int, str] = (0, "")

    async def _hear_out(self) -> None:
        """Whoever listens must come to hear the last message."""
        node_id = self.cluster.ids[0]
        rows = self.cluster.query(node_id, "instruments")
        # In a short run on a busy machine some of the venue's may not be there yet.
        ends = {row["symbol"]: row["feed_seq"] for row in rows}
        deadline = time.monotonic() + PATIENCE_S
        while self.streams.behind(ends) and time.monotonic() < deadline:
            await asyncio.sleep(0.1)
        for text in self.streams.behind(ends):
            self.report.problem(f"a stream does not go on: {text}")

    def _check_members(self) -> None:
        """All nodes name the same members, and those are who came and did not go; all vote."""
        cluster = self.cluster
        wanted = dict.fromkeys(cluster.ids, True)
        for node_id, status in cluster.statuses():
            told = {row["node_id"]: row["voter"] for row in status["members"]}
            if told != wanted:
                self.report.problem(f"node {node_id} names {told} as members, not {cluster.ids}")
        if set(cluster.running) != set(cluster.ids):
            self.report.problem(f"nodes {cluster.running} run, members are {cluster.ids}")

    # -- beside it ----------------------------------------------------------------------------

    async def _watch(self) -> None:
        """Nodes end only when somebody ends them; how large they grow."""
        while True:
            await asyncio.sleep(_SAMPLE_EVERY_S)
            for node_id in self.cluster.gone():
                code = self.cluster.forget(node_id)
                self.report.problem(f"node {node_id} ended by itself with {code}")
            self._sample(2)

    def _sample(self, at: int) -> None:
        """Take down each node's size: 0 at first, 1 at last, 2 the most."""
        for node_id in self.cluster.running:
            growth = self.result.growth.setdefault(node_id, Growth())
            try:
                counts = self.cluster.open_files(node_id), self.cluster.memory_kib(node_id)
            except OSError:
                continue  # it was killed a moment ago
            for values, count in zip((growth.descriptors, growth.memory_kib), counts, strict=True):
                values[at] = max(values[2], count) if at == 2 else count

    def _check_growth(self) -> None:
        # Who came later was never idle at first.
        idle = max(growth.descriptors[0] for growth in self.result.growth.values())
        idle_kib = max(growth.memory_kib[0] for growth in self.result.growth.values())

        def is_small() -> bool:
            self._sample(1)
            return all(
                growth.descriptors[1] <= idle + DESCRIPTORS_SLACK
                for growth in self.result.growth.values()
            )

        try:
            until("the nodes have closed what nobody uses", is_small, within_s=15)
        except Trouble:
            counts = {node: growth.descriptors for node, growth in self.result.growth.items()}
            self.report.problem(f"descriptors leak (first, last, most): {counts}")
        may_grow_kib = memory_growth_max_kib(self.load.tally.orders)
        for node_id, growth in self.result.growth.items():
            if growth.memory_kib[1] > idle_kib + may_grow_kib:
                self.report.problem(
                    f"node {node_id} grew to {growth.memory_kib[1] >> 10} MiB from "
                    f"{idle_kib >> 10} by {self.load.tally.orders} orders"
                )

    def _write_down(self) -> None:
        result, report, tally = self.result, self.report, self.load.tally
        self.load.recorder.history.save(self.options.folder / HISTORY)
        self.streams.save(self.options.folder)
        index, digest = self.settled
        RunFile(
            list(self.cluster.ids),
            index,
            digest,
            self.load.windows_used,
            self.cluster.removed_ids,
        ).save(self.options.folder)
        result.tally = {
            "acknowledged": tally.acknowledged,
            "retries": tally.retries,
            "abandoned": tally.abandoned,
            "reads": tally.reads,
            "repeated": tally.repeated,
        }
        result.troubles, result.skipped = report.counts, report.skipped
        result.failovers_s = [round(one, 4) for one in report.failovers_s]
        result.cpu_waits_s = [round(one, 4) for one in report.cpu_waits_s]
        result.disturbed_failovers_s = [round(one, 4) for one in report.disturbed_failovers_s]
        result.timeline, result.refusals = report.timeline, report.refusals
        result.violations += report.problems

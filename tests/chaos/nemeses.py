"""What is done to a cluster while clients trade: one class of trouble each, drawn from a seed.

Owns the troubles and their healing. Each is a coroutine that breaks something, waits, and mends it
as an operator would by docs/OPERATIONS.md; members that come and go are in `member_troubles.py`,
what happens to links in `link_troubles.py`. Two troubles are under way at most: one of PROCESSES
and one of LINKS. Must not judge: what it notices goes into the timeline, what must not be into
`problems`.
"""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

from raftbook.storage.directory import JOURNAL_NAME, WAL_NAME, WITNESS_NAME
from tests.chaos.cluster import ChaosCluster
from tests.chaos.link_troubles import LINKS
from tests.chaos.load import Load
from tests.chaos.member_troubles import MEMBERS
from tests.e2e.cluster import PATIENCE_S, Trouble

FAILOVER_WAIT_S: Final = 20.0
CATCH_UP_S: Final = 60.0
_DISK_FULL: Final = re.compile(r"disk full|No space left|database or disk is full")


@dataclass(slots=True)
class Report:
    """What has happened so far.

    Attributes:
        failovers_s: seconds from each `kill -9` of a leader to the next acknowledgement, while no
            other trouble was under way; disturbed_failovers_s: those with trouble on the links.
        cpu_waits_s: for each of failovers_s, how long the survivor that fared worst was kept from
            running meanwhile: on a busy machine that, not raftbook, is most of it.
        problems: what no fault excuses.
    """

    began: float
    timeline: list[tuple[float, str]] = field(default_factory=list)
    failovers_s: list[float] = field(default_factory=list)
    disturbed_failovers_s: list[float] = field(default_factory=list)
    cpu_waits_s: list[float] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    say: Callable[[str], None] = print

    def note(self, text: str) -> None:
        """One line of the timeline."""
        at = time.monotonic() - self.began
        self.timeline.append((round(at, 2), text))
        self.say(f"{at:8.2f}  {text}")

    def problem(self, text: str) -> None:
        """Something that must not be."""
        self.problems.append(text)
        self.note(f"PROBLEM: {text}")


class Nemeses:
    """Breaks and mends one cluster.

    Args:
        only: names of the troubles to choose from; all of them when empty.
    """

    def __init__(
        self, cluster: ChaosCluster, load: Load, report: Report, *, seed: int, only: frozenset[str]
    ) -> None:
        self.cluster, self.load, self.report = cluster, load, report
        self._rng = {kind: random.Random(f"nemesis-{kind}-{seed}") for kind in ("process", "link")}
        unknown = only - set(PROCESSES) - set(LINKS)
        if unknown:
            raise ValueError(f"no such trouble: {', '.join(sorted(unknown))}")
        self._processes = {name: one for name, one in PROCESSES.items() if not only or name in only}
        self._links = {name: one for name, one in LINKS.items() if not only or name in only}
        self._link_troubles = 0  # begun and ended, so that it is odd during one

    async def run(self, until: float) -> None:
        """Break things until then, each broken thing mended."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._track("process", self._processes, until))
            group.create_task(self._track("link", self._links, until))

    async def _track(self, kind: str, table: dict[str, tuple[int, Any]], until: float) -> None:
        rng = self._rng[kind]
        table = {name: one for name, one in table.items() if name not in self.report.skipped}
        if not table:
            return
        deck: list[str] = []
        while True:
            pause_s = rng.uniform(0.8, 2.5) if kind == "process" else rng.uniform(1.0, 5.0)
            if time.monotonic() + pause_s > until:
                return
            await asyncio.sleep(pause_s)
            if not deck:  # every trouble comes before any comes too often
                deck = [name for name, (weight, _) in table.items() for _ in range(weight)]
                rng.shuffle(deck)
            name = deck.pop()
            self.report.counts[name] = self.report.counts.get(name, 0) + 1
            self._link_troubles += kind == "link"
            await table[name][1](self, rng)
            self._link_troubles += kind == "link"

    # -- processes ----------------------------------------------------------------------------

    async def leader(self) -> int:
        """Wait for one; any node if none comes up."""
        deadline = time.monotonic() + FAILOVER_WAIT_S
        while time.monotonic() < deadline:
            found = await asyncio.to_thread(self.cluster.leader)
            if found is not None:
                return found[0]
            await asyncio.sleep(0.1)
        return self.cluster.running[0]

    async def one(self, rng: random.Random) -> int:
        return rng.choice(self.cluster.ids)

    async def kill(self, node_id: int) -> None:
        """kill -9, when nobody else does something to that node."""
        async with self.cluster.locks[node_id]:
            self.cluster.kill(node_id)

    async def start(self, *node_ids: int) -> None:
        """Start nodes and wait until they answer; they were healthy when they ended."""
        for node_id in node_ids:
            self.cluster.start(node_id)
        for node_id in node_ids:
            try:
                await asyncio.to_thread(self.cluster.wait_up, node_id)
            except (Trouble, AssertionError) as error:
                self.report.problem(f"node {node_id} did not come up: {error}")

    async def kill_one(self, rng: random.Random) -> None:
        node_id = await self.one(rng)
        self.report.note(f"kill -9 node {node_id}")
        await self.kill(node_id)
        await asyncio.sleep(rng.uniform(0.1, 3.0))
        await self.start(node_id)
        self.report.note(f"node {node_id} is up again")

    async def kill_leader(self, rng: random.Random) -> None:
        await self.leader()
        found = await asyncio.to_thread(self.cluster.leader)
        if found is None:
            return
        leader, term = found
        self.report.note(f"kill -9 the leader, node {leader} of term {term}")
        killed, before = time.monotonic(), self._link_troubles
        await self.kill(leader)
        waits = {one: self.cluster.cpu_wait_s(one) for one in self.cluster.running}
        ack = await self._first_ack_after(term, killed)
        waited_s = max(self.cluster.cpu_wait_s(one) - waits[one] for one in waits)
        if ack is None:
            self.report.note(f"no acknowledgement within {FAILOVER_WAIT_S:g} s")
        else:
            is_calm = before % 2 == 0 and before == self._link_troubles
            report = self.report
            (report.failovers_s if is_calm else report.disturbed_failovers_s).append(ack - killed)
            if is_calm:
                report.cpu_waits_s.append(waited_s)
            report.note(
                f"acknowledged again after {ack - killed:.3f} s "
                f"(a survivor waited {waited_s:.3f} s for a processor)"
            )
        await asyncio.sleep(rng.uniform(0.0, 1.5))
        await self.start(leader)
        self.report.note(f"node {leader} is up again")

    async def _first_ack_after(self, term: int, killed: float) -> float | None:
        deadline = time.monotonic() + FAILOVER_WAIT_S
        while time.monotonic() < deadline:
            ack = self.load.tally.first_ack_after(term, killed)
            if ack is not None:
                return ack
            await asyncio.sleep(0.02)
        return None

    async def kill_majority(self, rng: random.Random) -> None:
        count = len(self.cluster.ids) // 2 + 1
        await self._kill_some(rng, rng.sample(self.cluster.ids, count))

    async def kill_all(self, rng: random.Random) -> None:
        await self._kill_some(rng, list(self.cluster.ids))

    async def _kill_some(self, rng: random.Random, node_ids: list[int]) -> None:
        self.report.note(f"kill -9 nodes {sorted(node_ids)}")
        for node_id in node_ids:
            await self.kill(node_id)
        await asyncio.sleep(rng.uniform(0.0, 1.5))
        rng.shuffle(node_ids)
        await self.start(*node_ids)
        self.report.note(f"nodes {sorted(node_ids)} are up again")

    async def freeze_one(self, rng: random.Random) -> None:
        await self._freeze(rng, await self.one(rng))

    async def freeze_leader(self, rng: random.Random) -> None:
        await self._freeze(rng, await self.leader())

    async def _freeze(self, rng: random.Random, node_id: int) -> None:
        seconds = rng.choice((0.3, 0.8, 2.0, 4.0))
        async with self.cluster.locks[node_id]:
            self.report.note(f"SIGSTOP node {node_id} for {seconds:g} s")
            self.cluster.freeze(node_id)
            try:
                await asyncio.sleep(seconds)
            finally:
                self.cluster.thaw(node_id)
        self.report.note(f"SIGCONT node {node_id}")

    async def terminate(self, rng: random.Random) -> None:
        node_id = await (self.leader() if rng.random() < 0.6 else self.one(rng))
        self.report.note(f"SIGTERM node {node_id}")
        async with self.cluster.locks[node_id]:
            code = await asyncio.to_thread(self.cluster.stop, node_id)
        if code:
            self.report.problem(f"node {node_id} ended with {code} on SIGTERM")
        await asyncio.sleep(rng.uniform(0.0, 1.0))
        await self.start(node_id)
        self.report.note(f"node {node_id} is up again")

    async def transfer(self, rng: random.Random) -> None:
        leader = await self.leader()
        answer = await asyncio.to_thread(self.cluster.ask, leader, "transfer", "demo")
        self.report.note(f"leadership transferred from node {leader}: {answer}")

    async def clock_jump(self, rng: random.Random) -> None:
        node_id = await self.one(rng)
        seconds = rng.choice((-86_400, -60, -1, 1, 45, 3_600, 10**8))
        self.report.note(f"the wall clock of node {node_id} jumps to {seconds:+} s")
        self.cluster.set_clock(node_id, seconds * 10**9)

    # -- disks --------------------------------------------------------------------------------

    async def full_disk(self, rng: random.Random) -> None:
        small = sorted(self.cluster.small_disks & set(self.cluster.ids))
        if not small:
            self.report.note("every node with a small disk has left")
            return
        node_id = rng.choice(small)
        written = await asyncio.to_thread(self.cluster.fill_disk, node_id)
        self.report.note(f"the disk of node {node_id} is full (by {written >> 20} MiB)")
        await asyncio.sleep(rng.uniform(1.0, 3.0))
        status = await asyncio.to_thread(self.cluster.ask, node_id, "status")
        reason = (status or {}).get("fenced")
        if reason is not None and not _DISK_FULL.search(reason):
            self.report.problem(f"node {node_id} is fenced, and not for its disk: {reason}")
        await asyncio.to_thread(self.cluster.free_disk, node_id)
        self.report.note(f"the disk of node {node_id} has room again (it said: {reason})")
        if not self.cluster.is_running(node_id):
            self.report.problem(f"node {node_id} ended over a full disk")
            self.cluster.forget(node_id)
            await self.start(node_id)
            return
        # Fenced or not, it goes on by itself; it may fence itself over a write that is under way.
        await asyncio.sleep(0.3)
        deadline = time.monotonic() + CATCH_UP_S * self.cluster.slow
        while time.monotonic() < deadline:
            status = await asyncio.to_thread(self.cluster.ask, node_id, "status")
            if status is not None and status["fenced"] is None:
                self.report.note(f"node {node_id} takes part")
                return
            await asyncio.sleep(0.1)
        self.report.problem(f"node {node_id} does not take part although its disk has room")

    async def bit_flip(self, rng: random.Random) -> None:
        """A down node's files lose bits: it must refuse with a reason, or have lost nothing."""
        node_id = await self.one(rng)
        await self.all_current()
        await self.kill(node_id)
        names = await asyncio.to_thread(self._flip, rng, node_id)
        self.report.note(f"kill -9 node {node_id}; bits flipped in {', '.join(names)}")
        before = len(self.cluster.log(node_id))
        self.cluster.start(node_id)
        self.cluster.expected_down.add(node_id)  # it may refuse
        try:
            await asyncio.to_thread(self.cluster.wait_up, node_id)
            self.cluster.expected_down.discard(node_id)
        except (Trouble, AssertionError):
            said = self.cluster.log(node_id)[before:].strip()
            if self.cluster.is_running(node_id):
                self.report.problem(f"node {node_id} neither serves nor refuses: {said[-300:]}")
                await self.kill(node_id)
            else:
                code = self.cluster.forget(node_id)
                self._judge_refusal(node_id, code, said)
            await self._rejoin(node_id)
            return
        self.report.note(f"node {node_id} starts all the same")
        await self._caught_up(node_id)

    def _judge_refusal(self, node_id: int, code: int | None, said: str) -> None:
        last = said.splitlines()[-1] if said else ""
        self.report.refusals.append(last)
        if code in (0, None) or (code or 0) < 0 or "Traceback" in said or not last:
            self.report.problem(f"node {node_id} ended with {code} without a reason: {said[-500:]}")
        self.report.note(f"node {node_id} refuses to start: {last[:200]}")

    def _flip(self, rng: random.Random, node_id: int) -> list[str]:
        directory = self.cluster.directory(node_id)
        paths = [directory / name for name in (JOURNAL_NAME, WAL_NAME, WITNESS_NAME)]
        paths += sorted(directory.rglob("snapshot-*.raftbook"))
        paths = [path for path in paths if path.exists() and path.stat().st_size]
        chosen = rng.choice(paths)
        with open(chosen, "r+b") as file:
            size = chosen.stat().st_size
            for _ in range(rng.choice((1, 1, 3, 20))):
                at = rng.randrange(size)
                file.seek(at)
                byte = file.read(1)[0]
                file.seek(at)
                file.write(bytes((byte ^ 1 << rng.randrange(8),)))
        return [chosen.name]

    async def wipe(self, rng: random.Random) -> None:
        node_id = await self.one(rng)
        await self.all_current()
        self.report.note(f"kill -9 and wipe node {node_id}")
        await self.kill(node_id)
        await self._rejoin(node_id)

    async def interrupted_rejoin(self, rng: random.Random) -> None:
        """While a wiped node is being caught up, it or the leader dies once more."""
        node_id = await self.one(rng)
        await self.all_current()
        self.report.note(f"kill -9 and wipe node {node_id}")
        await self.kill(node_id)
        await asyncio.to_thread(self.cluster.wipe, node_id)
        await self.start(node_id)
        await asyncio.sleep(rng.uniform(0.0, 0.6))
        victim = node_id if rng.random() < 0.5 else await self.leader()
        self.report.note(f"meanwhile kill -9 node {victim}")
        await self.kill(victim)
        await asyncio.sleep(rng.uniform(0.0, 1.0))
        await self.start(victim)
        await self._caught_up(node_id)
        self.report.note(f"node {node_id}, wiped, has caught up")

    async def _rejoin(self, node_id: int) -> None:
        """As docs/OPERATIONS.md has it: start it with an empty directory while a majority runs."""
        await asyncio.to_thread(self.cluster.wipe, node_id)
        await self.start(node_id)
        await self._caught_up(node_id)
        self.report.note(f"node {node_id}, wiped, has caught up")

    async def all_current(self) -> None:
        """One node is wiped or damaged at a time, with the others healthy: wait until they are."""
        for node_id in self.cluster.ids:
            await self._caught_up(node_id)

    async def _caught_up(self, node_id: int) -> None:
        """Wait until a node has come to where the leader was."""
        deadline = time.monotonic() + CATCH_UP_S * self.cluster.slow
        goal: int | None = None
        while time.monotonic() < deadline:
            told = dict(await asyncio.to_thread(lambda: list(self.cluster.statuses())))
            if goal is None and any(status["role"] == "leader" for status in told.values()):
                goal = max(status["commit_index"] for status in told.values())
            mine = told.get(node_id)
            if mine is not None and goal is not None and mine["applied_index"] >= goal:
                return
            await asyncio.sleep(0.1)
        self.report.problem(
            f"node {node_id} has not caught up within {CATCH_UP_S * self.cluster.slow:g} s"
        )


Act = Callable[[Nemeses, random.Random], Awaitable[None]]

PROCESSES: Final[dict[str, tuple[int, Act]]] = {
    "kill_one": (2, Nemeses.kill_one),
    "kill_leader": (5, Nemeses.kill_leader),
    "kill_majority": (1, Nemeses.kill_majority),
    "kill_all": (1, Nemeses.kill_all),
    "freeze_one": (1, Nemeses.freeze_one),
    "freeze_leader": (2, Nemeses.freeze_leader),
    "terminate": (2, Nemeses.terminate),
    "transfer": (1, Nemeses.transfer),
    "clock_jump": (2, Nemeses.clock_jump),
    "full_disk": (1, Nemeses.full_disk),
    "bit_flip": (2, Nemeses.bit_flip),
    "wipe": (1, Nemeses.wipe),
    "interrupted_rejoin": (2, Nemeses.interrupted_rejoin),
    **MEMBERS,
}
"""Name -> (how often it stands in the deck, what it does)."""

assert PATIENCE_S < CATCH_UP_S, "a node that comes up late is told apart from one that lags"

"""Random schedules: nodes die, lose disks and power, messages are held, lost and late; then peace.

Every choice comes from hypothesis, so a failure shrinks to the few steps that matter. Checked all
along: one leader per term, committed entries never change, a waiter hears one thing. In the end:
every acknowledged order is in every book, and no order is there twice.
"""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.replica.harness import Cluster, Waiter
from tests.replica.memory_log import MemoryLog

EFFORT = {"quick": 1, "long": 50}[os.environ.get("HYPOTHESIS_PROFILE", "quick")]
"""Multiplies the schedules: HYPOTHESIS_PROFILE=long for a night of them."""

Step = tuple[str, int, int]


def steps(*kinds: str) -> st.SearchStrategy[list[Step]]:
    return st.lists(
        st.tuples(st.sampled_from(kinds), st.integers(0, 11), st.integers(0, 11)),
        min_size=10,
        max_size=60,
    )


class Run:
    """One schedule on one cluster."""

    def __init__(self, directory: Path, size: int) -> None:
        self.cluster = Cluster(directory, size)
        self.size = size
        self.waiters: dict[str, list[Waiter]] = {}
        self.leader_of_term: dict[int, int] = {}
        self.committed: dict[int, tuple[bytes, int]] = {}
        self.wiped: set[int] = set()
        self.cluster.await_leader()
        self.cluster.run(1)
        self.session = self.cluster.open_session(self.cluster.leader)
        self.seq = 0
        self._lost_majority_allowed = (size - 1) // 2

    def step(self, step: Step) -> None:
        kind, a, b = step
        getattr(self, f"_{kind}")(a, b)
        self.check()

    def check(self) -> None:
        for node_id, replica in self.cluster.replicas.items():
            raft = replica.raft
            if replica.fenced is not None:
                raise AssertionError(f"node {node_id} stopped: {replica.fenced}")
            if raft.is_leader:
                known = self.leader_of_term.setdefault(raft.term, node_id)
                assert known == node_id, f"{known} and {node_id} lead in term {raft.term}"
            base = replica._log.base_index
            for payload, index, term in replica._log.entries[1 : raft.commit_index - base + 1]:
                entry = self.committed.setdefault(index, (payload, term))
                assert entry == (payload, term), f"entry {index} of node {node_id} changed"

    # -- what may happen --------------------------------------------------------------------------

    def _node(self, number: int) -> int:
        return number % self.size + 1

    def _way(self, a: int, b: int) -> tuple[int, int]:
        source = self._node(a)
        target = self._node(a + 1 + b % (self.size - 1))
        return source, target

    def _order(self, a: int, b: int) -> None:
        """A new order through some node."""
        node_id = self._node(a)
        if node_id in self.cluster.replicas:
            self.seq += 1
            name = f"{self.session}-{self.seq}"
            waiter = self.cluster.order(node_id, self.session, self.seq)
            self.waiters.setdefault(name, []).append(waiter)

    def _retry(self, a: int, b: int) -> None:
        """An order of before, again, through some node."""
        node_id = self._node(a)
        seq = self.seq - b % 8
        if node_id in self.cluster.replicas and seq > 0:
            waiter = self.cluster.order(node_id, self.session, seq)
            self.waiters.setdefault(f"{self.session}-{seq}", []).append(waiter)

    def _turn(self, a: int, b: int) -> None:
        self.cluster.clock.now += 0.001 * b
        if self._node(a) in self.cluster.replicas:
            self.cluster.turn(self._node(a))

    def _deliver(self, a: int, b: int) -> None:
        self.cluster.network.deliver(*self._way(a, b), count=1 + b % 3)

    def _deliver_late(self, a: int, b: int) -> None:
        self.cluster.network.deliver_late(*self._way(a, b), count=1 + b % 3)

    def _hold(self, a: int, b: int) -> None:
        self.cluster.network.hold(*self._way(a, b))

    def _release(self, a: int, b: int) -> None:
        self.cluster.network.release(*self._way(a, b))

    def _reset(self, a: int, b: int) -> None:
        self.cluster.network.reset(*self._way(a, b), late=b % 2 == 0)

    def _cut(self, a: int, b: int) -> None:
        node_id = self._node(a)
        others = [each for each in self.cluster.node_ids if each != node_id]
        self.cluster.network.cut([node_id], others, late=b % 2 == 0)

    def _heal(self, a: int, b: int) -> None:
        self.cluster.network.heal()

    def _settle(self, a: int, b: int) -> None:
        self.cluster.settle()

    def _run(self, a: int, b: int) -> None:
        self.cluster.run(0.02 * (1 + b))

    def _stand(self, a: int, b: int) -> None:
        if self._node(a) in self.cluster.replicas:
            replica = self.cluster[self._node(a)]
            if replica.raft._is_eligible():  # others do not stand, whatever their peers say
                self.cluster.stand(self._node(a))

    def _transfer(self, a: int, b: int) -> None:
        source, target = self._way(a, b)
        if source in self.cluster.replicas:
            self.cluster[source].raft.transfer_to(target)

    def _snapshot(self, a: int, b: int) -> None:
        node_id = self._node(a)
        if node_id in self.cluster.replicas:
            self.cluster[node_id].start_snapshot()
            self.cluster.turn(node_id)

    def _crash(self, a: int, b: int) -> None:
        if self._node(a) in self.cluster.replicas:
            self.cluster.crash(self._node(a), late=b % 2 == 0)

    def _start(self, a: int, b: int) -> None:
        if self._node(a) not in self.cluster.replicas:
            self.cluster.start(self._node(a))

    def _power_loss(self, a: int, b: int) -> None:
        for node_id in list(self.cluster.replicas):
            self.cluster.crash(node_id)

    def _wipe(self, a: int, b: int) -> None:
        """A minority may lose its disks; one that has caught up may lose it again."""
        node_id = self._node(a)
        replicas = self.cluster.replicas.items()
        self.wiped -= {
            each for each, r in replicas if r.raft.membership.is_founded and r.raft.is_voter
        }
        if len(self.wiped | {node_id}) <= self._lost_majority_allowed:
            if node_id in self.cluster.replicas:
                self.cluster.crash(node_id)
            self.cluster.wipe(node_id)
            self.wiped.add(node_id)

    # -- peace ------------------------------------------------------------------------------------

    def end(self) -> None:
        """All live and talk: they agree, go on, and every acknowledged order is there, once."""
        cluster = self.cluster
        for node_id in cluster.node_ids:
            if node_id not in cluster.replicas:
                cluster.start(node_id)
        cluster.network.heal()
        cluster.run(6)
        self.check()
        self.seq += 20
        probe = cluster.order(self._node(self.seq), self.session, self.seq)
        cluster.run(1)
        assert probe.acknowledged, f"no progress: {probe}"
        cluster.run(1)
        cluster.check_agreement()
        acknowledged = {
            name for name, waiters in self.waiters.items() if any(w.acknowledged for w in waiters)
        }
        for node_id in cluster.node_ids:
            book = cluster.book(node_id)
            assert set(book.values()) == {1}, f"node {node_id} has doubles: {book}"
            lost = acknowledged - set(book)
            assert not lost, f"node {node_id} lost {sorted(lost)}"
        digests = Counter(each.machine.state_digest() for each in cluster.replicas.values())
        assert len(digests) == 1, digests


CALM = ("order", "order", "turn", "deliver", "deliver", "settle", "run")
NETWORK = ("retry", "hold", "release", "reset", "cut", "heal", "deliver_late", "stand", "transfer")
CRASHES = ("crash", "start", "start", "power_loss", "snapshot", "snapshot")


def play(size: int, schedule: list[Step]) -> None:
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        patch.setattr("raftbook.replica.replica.LOG_KEPT_ENTRIES", 2)
        patch.setattr("raftbook.replica.shipping.PIECE_BYTES", 700)
        patch.setattr("raftbook.replica.appends.APPEND_ENTRIES_MAX", 3)
        run = Run(Path(directory), size)
        for step in schedule:
            run.step(step)
        run.end()


def schedules(examples: int):  # type: ignore[no-untyped-def]
    return settings(
        max_examples=examples * EFFORT,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )


def test_a_cluster_that_does_not_sync_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """A check that cannot fail proves nothing."""

    def pretend(log: MemoryLog) -> bool:
        log.dirty = False
        return True

    lost = [("order", 0, 0), ("run", 0, 3), ("power_loss", 0, 0), ("run", 0, 3)]
    play(3, lost)
    monkeypatch.setattr(MemoryLog, "sync", pretend)
    with pytest.raises(AssertionError, match=r"changed|lost|in term|no progress"):
        play(3, lost)


@schedules(60)
@given(steps(*CALM, *NETWORK))
def test_any_network_is_survived(schedule: list[Step]) -> None:
    play(3, schedule)


@schedules(80)
@given(steps(*CALM, *NETWORK, *CRASHES))
def test_any_crashes_are_survived(schedule: list[Step]) -> None:
    play(3, schedule)


@schedules(80)
@given(steps(*CALM, *NETWORK, *CRASHES, "wipe"))
def test_a_lost_minority_of_disks_is_survived(schedule: list[Step]) -> None:
    play(3, schedule)


@schedules(40)
@given(steps(*CALM, *NETWORK, *CRASHES, "wipe"))
def test_a_lost_minority_of_disks_is_survived_by_five_nodes(schedule: list[Step]) -> None:
    play(5, schedule)

"""One run: a cluster, its clients, its network and disks, its faults, and the watch over them.

Owns the phases. Faults rage for a while, and safety must hold all along; then everything is healed,
and the cluster must come back to work within bounds (`recovery.py`); then the history is judged.
"""

from __future__ import annotations

import gc
import hashlib
import importlib
import logging
import random
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import msgpack

from raftbook.replica import links
from raftbook.replica.fences import Fence, FenceKind
from raftbook.replica.membership import Member, Membership, configured
from tests.sim import files
from tests.sim.checks import Checks, Violation
from tests.sim.client import Client, Record
from tests.sim.clockwork import Clockwork, Spinning
from tests.sim.faults import KINDS, Fault, draw_faults
from tests.sim.injector import Injector
from tests.sim.markets import Market, MixedMarket, PlainMarket
from tests.sim.members import MemberFaults, draw_member_faults
from tests.sim.net import Network
from tests.sim.node import CLIENT_PORT, RAFT_PORT, Host
from tests.sim.profile import Profile, draw
from tests.sim.recovery import Recovery
from tests.sim.releases import draw_upgrades, first_releases

TIMELINE_LINES = 400
SLICE_S = 0.25
"""How often deadlines and loops are looked at."""


@dataclass(slots=True)
class Outcome:
    """What a run showed. `invariant` is empty when everything held."""

    seed: int
    nodes: int
    seconds: float
    invariant: str = ""
    message: str = ""
    at_s: float = 0.0
    digest: str = ""
    faults: dict[str, int] = field(default_factory=dict)
    points: dict[str, int] = field(default_factory=dict)
    orders: int = 0
    requests: int = 0
    reads: int = 0
    unknown: int = 0
    not_accepted: int = 0
    repeats: int = 0
    entries: int = 0
    steps: int = 0
    terms: int = 0
    promoted: int = 0
    removed: int = 0
    timeline: list[str] = field(default_factory=list)


class World:
    """Everything of one run.

    Attributes:
        node_ids: of the founders.
        hosts, clients: in order of their ids; nodes that were removed are still among them.
        lost_disks: nodes that lost what they had promised and have not caught up since.
        is_over: clients begin no more calls.
        mixed: whether everything is traded in every way.
    """

    def __init__(
        self,
        seed: int,
        profile: Profile,
        faults: Sequence[Fault],
        *,
        mixed: bool,
        verbose: bool = False,
    ) -> None:
        self.seed, self.profile, self.faults = seed, profile, list(faults)
        self.clockwork = Clockwork()
        self._started_at = self.clockwork.now
        self.mixed, self._verbose = mixed, verbose
        self._hash = hashlib.sha256()
        self._pending_trace: list[tuple[float, Any]] = []
        self.timeline: deque[str] = deque(maxlen=TIMELINE_LINES)
        self.fault_counts: Counter[str] = Counter()
        self.record = Record()
        self.lost_disks: set[int] = set()
        self.is_over = self.is_healing = False
        self.node_ids = tuple(range(1, profile.size + 1))
        self.market: Market = (
            MixedMarket(seed, profile.limits, self.clockwork)
            if mixed
            else PlainMarket(profile.limits)
        )
        self.genesis = self.market.genesis
        self.network = Network(
            self.clockwork,
            random.Random(f"{seed}/network"),
            latency_s=profile.latency_s,
            trace=self.trace,
        )
        self.checks = Checks(self)
        self._rng = random.Random(f"{seed}/world")
        founders = configured(Member(node_id, **self.address(node_id)) for node_id in self.node_ids)
        releases = first_releases(seed, self.node_ids, oldest=self.genesis.engine_version())
        self.hosts = [
            Host(self, node_id, founders, engine_version=engine_version)
            for node_id, engine_version in releases.items()
        ]
        accounts = self.market.accounts
        self.clients = [
            Client(self, f"c{number + 1}", accounts[number % len(accounts)], f"key-{number + 1}")
            for number in range(profile.clients)
        ]
        self.clients.append(Client(self, "c0", accounts[0], "key-1", twin=self.clients[0]))
        self.member_faults = MemberFaults(self)
        self._injector = Injector(self, self.member_faults)

    # -- what is written down ---------------------------------------------------------------------

    @property
    def elapsed_s(self) -> float:
        """Seconds since the run began."""
        return self.clockwork.now - self._started_at

    def trace(self, *what: Any) -> None:
        """Add an event to the digest of the run."""
        self._pending_trace.append((self.clockwork.now, what))
        if len(self._pending_trace) > 500:
            self._fold_trace()

    def _fold_trace(self) -> None:
        self._hash.update(msgpack.packb(self._pending_trace))
        self._pending_trace.clear()

    def digest(self) -> str:
        """A digest of every event so far."""
        self._fold_trace()
        return self._hash.hexdigest()

    def note(self, who: str, what: str) -> None:
        """Add a line to the timeline."""
        line = f"{self.elapsed_s:9.4f}  {who:<5} {what}"
        self.timeline.append(line)
        self.trace(who, what)
        if self._verbose:
            print(line)

    def fault_happened(self, kind: str, what: str) -> None:
        self.fault_counts[kind] += 1
        self.note("*", what)

    def commit_seen(self, index: int, payload: bytes) -> None:
        """An entry is committed, for the first time anywhere."""
        self.trace("commit", index, len(payload))

    # -- nodes ------------------------------------------------------------------------------------

    def leader(self) -> Host | None:
        """The leader in the highest term, as far as nodes know themselves."""
        leaders = [
            host
            for host in self.hosts
            if host.is_running and host.replica.raft.is_leader and host.replica.fence is None
        ]
        return max(leaders, key=lambda host: host.replica.raft.term, default=None)

    def restart_later(self, host: Host, seconds: float | None = None) -> None:
        """A supervisor starts the process again."""
        if seconds is None:
            seconds = 0.05 + 3.0 * self._rng.random()
        if self.is_healing:
            seconds = min(seconds, 0.3)
        self.clockwork.after(seconds, host.start)

    def host(self, node_id: int) -> Host:
        """A host by its id."""
        return next(host for host in self.hosts if host.node_id == node_id)

    def address(self, node_id: int) -> dict[str, Any]:
        """Where a node is reached."""
        return {"host": f"n{node_id}", "raft_port": RAFT_PORT, "client_port": CLIENT_PORT}

    def member_hosts(self) -> list[Host]:
        """The hosts of the nodes that belong to the cluster."""
        return [host for host in self.hosts if host.node_id in self.checks.members.ids]

    def set_up(self, node_id: int, members: Membership) -> None:
        """A new machine starts, with a cluster.toml that names these members."""
        nodes = [Member(each.node_id, *each.address()) for each in members.members]
        self.hosts.append(Host(self, node_id, configured(nodes)))
        self.hosts.sort(key=lambda host: host.node_id)
        self.host(node_id).start()

    def fenced(self, host: Host, fence: Fence) -> None:
        """A process has fenced itself; its supervisor ends it and starts it again."""
        loop = host.loop
        if host.fenced_loop is loop:
            return
        host.fenced_loop = loop
        self.note(host.name, f"is fenced: {fence.reason}")
        if fence.kind is FenceKind.REMOVED:
            return  # it stays readable
        self.clockwork.after(0.2 + self._rng.random(), self._replace_process, host, loop)

    def _replace_process(self, host: Host, loop: Any) -> None:
        if host.loop is loop and loop is not None:
            host.kill()
            self.restart_later(host)

    def refused(self, host: Host) -> None:
        """A process did not start; the operator does what the reason says."""
        is_damaged = host.disk.problem is not None or "no readable snapshot" in str(host.refusal)
        is_damaged = is_damaged or "although a snapshot" in str(host.refusal)
        if is_damaged and not host.was_damaged:
            self.checks.fail("start", f"{host.name} refuses, undamaged: {host.refusal}")
        if is_damaged:
            self.clockwork.after(0.3 + self._rng.random(), self._replace_disk, host)
        else:
            self.restart_later(host, 0.5)

    def _replace_disk(self, host: Host) -> None:
        if not host.is_running:
            self.wipe(host)
            self.note(host.name, "gets an empty disk")
            host.start()

    def wipe(self, host: Host) -> None:
        """Replace a stopped node's disk."""
        host.wipe()
        self.lost_disks.add(host.node_id)

    # -- the run ----------------------------------------------------------------------------------

    def run(self, seconds: float) -> None:
        """All phases.

        Raises:
            Violation: an invariant does not hold.
        """
        for host in self.hosts:
            self.clockwork.after(0.2 * self._rng.random(), host.start)
        for client in self.clients:
            client.begin()
        for fault in self.faults:
            self.clockwork.at(self._started_at + fault.at_s, self._injector.inject, fault)
        self.let_pass(seconds)
        recovery = Recovery(self)
        recovery.heal()
        self.is_over = True
        self.let_pass(max(6.0, self.profile.client_timeout_s + 1.0))
        recovery.check_end()

    def let_pass(self, seconds: float, until: Any = None) -> bool:
        """Let time pass; with `until`, at most as long as it says no."""
        end = self.clockwork.now + seconds
        while self.clockwork.now < end:
            self.clockwork.run_until(min(end, self.clockwork.now + SLICE_S))
            if self.checks.violation is not None:
                raise self.checks.violation
            self.checks.look_at_loops()
            for client in self.clients:
                client.check_deadlines()
            for host in self.hosts if self.lost_disks else ():
                if host.node_id in self.lost_disks and host.is_whole:
                    self.lost_disks.discard(host.node_id)
            if until is not None and until():
                return True
        return False

    def end(self) -> None:
        """Let go of all processes."""
        for loop in [*(host.loop for host in self.hosts), *(each.loop for each in self.clients)]:
            if loop is not None:
                loop.end()


@contextmanager
def _stage(seed: int, profile: Profile) -> Iterator[None]:
    """Small bounds, simulated files, no log lines, no collector; all as before afterwards."""
    with ExitStack() as stack:
        for module_name, name, value in profile.constants:
            module = importlib.import_module(module_name)
            stack.callback(setattr, module, name, getattr(module, name))
            setattr(module, name, value)
        stack.enter_context(files.patched(random.Random(f"{seed}/names")))
        stack.callback(setattr, links, "random", links.random)
        links.random = random.Random(f"{seed}/links")  # type: ignore[assignment]
        stack.callback(logging.disable, logging.root.manager.disable)
        logging.disable(logging.CRITICAL)
        if gc.isenabled():
            gc.disable()
            stack.callback(gc.enable)
        yield


def draw_all(
    seed: int, profile: Profile, seconds: float, *, members: bool | None = None
) -> list[Fault]:
    """All faults of a seed; `members` as in `run_seed`."""
    faults = draw_faults(seed, profile, seconds)
    first = len(faults) + 1
    faults += draw_member_faults(seed, profile, seconds, wanted=members, first=first)
    return faults + draw_upgrades(seed, profile, seconds, first=len(faults) + 1)


def run_seed(
    seed: int,
    *,
    nodes: int | None = None,
    seconds: float = 60.0,
    faults: Sequence[Fault] | None = None,
    kinds: dict[str, float] | None = None,
    members: bool | None = None,
    mixed: bool | None = None,
    verbose: bool = False,
) -> Outcome:
    """One run; never raises for what the cluster does.

    Args:
        nodes: size of the cluster; the seed chooses one when None.
        faults: instead of those that the seed draws.
        kinds: fault kinds to draw from, with their weights, instead of all.
        members: whether the membership is changed; the seed decides when None.
        mixed: whether everything is traded in every way; odd seeds do so when None.
    """
    profile = draw(seed, kinds or KINDS, size=nodes)
    mixed = seed % 2 == 1 if mixed is None else mixed
    if faults is None:
        faults = draw_all(seed, profile, seconds, members=members)
    outcome = Outcome(seed, profile.size, 0.0)
    with _stage(seed, profile):
        world = World(seed, profile, faults, mixed=mixed, verbose=verbose)
        try:
            world.run(seconds)
        except Violation as violation:
            outcome.invariant, outcome.message = violation.invariant, str(violation)
        except Spinning as spinning:
            outcome.invariant, outcome.message = "liveness", f"liveness: {spinning}"
        if outcome.invariant:
            world.note("!", outcome.message)
        _fill(outcome, world)
        world.end()
    return outcome


def _fill(outcome: Outcome, world: World) -> None:
    record = world.record
    outcome.seconds = outcome.at_s = world.elapsed_s
    outcome.digest = world.digest()
    outcome.faults = dict(sorted(world.fault_counts.items()))
    points: Counter[str] = Counter()
    for host in world.hosts:
        points.update(host.points)
    outcome.points = dict(sorted(points.items()))
    outcome.orders, outcome.requests = record.orders_acknowledged, record.requests_acknowledged
    outcome.reads, outcome.unknown = record.reads, record.unknown
    outcome.not_accepted, outcome.repeats = record.not_accepted, record.repeats
    outcome.entries, outcome.steps = world.checks.last_committed, world.clockwork.steps
    outcome.terms = len(world.checks.leader_of_term)
    members = world.checks.members
    outcome.promoted = len(members.voters_ever - set(world.node_ids))
    outcome.removed = len(members.retired)
    outcome.timeline = list(world.timeline)

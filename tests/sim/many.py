"""Many seeds: on several processes, summed up, written down as JSON.

Owns the campaign. A run is a pure function of its arguments, so the order in which seeds end does
not matter.
"""

from __future__ import annotations

import multiprocessing
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.sim.world import Outcome, run_seed


@dataclass(slots=True)
class Summary:
    """What a campaign showed; `cpu_s` is processor time over all jobs."""

    seeds: int = 0
    virtual_s: float = 0.0
    real_s: float = 0.0
    cpu_s: float = 0.0
    orders: int = 0
    requests: int = 0
    reads: int = 0
    unknown: int = 0
    not_accepted: int = 0
    repeats: int = 0
    entries: int = 0
    elections: int = 0
    promoted: int = 0
    removed: int = 0
    sizes: Counter[int] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    points: Counter[str] = field(default_factory=Counter)
    violations: list[dict[str, Any]] = field(default_factory=list)

    def add(self, outcome: Outcome, cpu_s: float) -> None:
        """Count one run."""
        self.seeds += 1
        self.cpu_s += cpu_s
        self.virtual_s += outcome.seconds
        for name in ("orders", "requests", "reads", "unknown", "not_accepted", "repeats"):
            setattr(self, name, getattr(self, name) + getattr(outcome, name))
        self.entries += outcome.entries
        self.elections += outcome.terms
        self.promoted += outcome.promoted
        self.removed += outcome.removed
        self.sizes[outcome.nodes] += 1
        self.faults.update(outcome.faults)
        self.points.update(outcome.points)
        if outcome.invariant:
            self.violations.append(
                {
                    "seed": outcome.seed,
                    "nodes": outcome.nodes,
                    "at_s": round(outcome.at_s, 4),
                    "invariant": outcome.invariant,
                    "message": outcome.message,
                }
            )

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        values = asdict(self)
        for name in ("sizes", "faults", "points"):
            values[name] = dict(sorted(getattr(self, name).items()))
        return values

    def lines(self) -> Iterator[str]:
        """For a reader."""
        per_cpu = self.virtual_s / self.cpu_s if self.cpu_s else 0.0
        per_real = self.virtual_s / self.real_s if self.real_s else 0.0
        sizes = ", ".join(f"{count} of {size}" for size, count in sorted(self.sizes.items()))
        yield f"seeds                {self.seeds} ({sizes} nodes)"
        yield f"virtual seconds      {self.virtual_s:,.0f}"
        yield f"  per real second    {per_real:,.0f} ({per_cpu:,.0f} per second of one processor)"
        yield f"orders acknowledged  {self.orders:,} in {self.requests:,} requests"
        yield f"  unknown, refused   {self.unknown:,}, {self.not_accepted:,}"
        yield f"  sent again         {self.repeats:,}"
        yield f"reads                {self.reads:,}"
        yield f"entries, elections   {self.entries:,}, {self.elections:,}"
        yield f"new voters, removed  {self.promoted:,}, {self.removed:,}"
        yield f"faults               {sum(self.faults.values()):,}"
        for kind, count in sorted(self.faults.items()):
            yield f"  {kind:<18} {count:,}"
        yield f"violations           {len(self.violations)}"
        for violation in self.violations:
            yield f"  seed {violation['seed']}: {violation['message'][:300]}"


def run_many(
    seeds: Iterable[int],
    *,
    nodes: int | None = None,
    seconds: float = 60.0,
    members: bool | None = None,
    jobs: int = 1,
    told: Callable[[Outcome], None] = lambda outcome: None,
) -> Summary:
    """Run all of them; `told` hears of each as it ends."""
    summary = Summary()
    began = time.perf_counter()
    work = [(seed, nodes, seconds, members) for seed in seeds]
    if jobs == 1:
        results: Iterable[tuple[Outcome, float]] = map(_run, work)
        _collect(results, summary, told)
    else:
        with multiprocessing.get_context("spawn").Pool(jobs, maxtasksperchild=50) as pool:
            _collect(pool.imap_unordered(_run, work), summary, told)
    summary.real_s = time.perf_counter() - began
    summary.violations.sort(key=lambda violation: violation["seed"])
    return summary


def _collect(
    results: Iterable[tuple[Outcome, float]], summary: Summary, told: Callable[[Outcome], None]
) -> None:
    for outcome, cpu_s in results:
        summary.add(outcome, cpu_s)
        told(outcome)


def _run(work: tuple[int, int | None, float, bool | None]) -> tuple[Outcome, float]:
    seed, nodes, seconds, members = work
    began = time.process_time()
    try:
        outcome = run_seed(seed, nodes=nodes, seconds=seconds, members=members)
    except Exception:
        # Whatever it is, one seed must not end a campaign of thousands.
        outcome = Outcome(seed, nodes or 0, 0.0, invariant="harness")
        outcome.message = traceback.format_exc(limit=-6)
    return outcome, time.process_time() - began

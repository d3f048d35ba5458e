"""Many seeds: on several processes, a line for each as it ends, summed up.

Owns the campaign. A run is a pure function of its arguments, so the order in which seeds end does
not matter, and a campaign that was killed goes on where its file ends.

    a line   one JSON object: what of a run's `Outcome` is summed up, and the arguments it had
    a sum    of the lines of any number of files; a run that stands in several counts once
"""

from __future__ import annotations

import gc
import json
import multiprocessing
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from itertools import islice
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Any

from tests.sim.world import Outcome, run_seed

Row = dict[str, Any]
"""One line: see `row_of`."""

_COUNTS = (
    "orders", "requests", "reads", "unknown", "not_accepted", "repeats", "entries", "steps",
    "terms", "promoted", "removed",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Plan:
    """How each seed is run; as `run_seed` takes it."""

    nodes: int | None = None
    seconds: float = 60.0
    members: bool | None = None
    mixed: bool | None = None

    @property
    def asked(self) -> list[object]:
        """As a line has it."""
        return [self.nodes, self.seconds, self.members, self.mixed]


Work = tuple[int, Plan]


@dataclass(slots=True)
class Summary:
    """What a campaign showed; `cpu_s` is processor time over all jobs."""

    seeds: int = 0
    virtual_s: float = 0.0
    cpu_s: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    sizes: Counter[int] = field(default_factory=Counter)
    size_virtual_s: Counter[int] = field(default_factory=Counter)
    size_cpu_s: Counter[int] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    points: Counter[str] = field(default_factory=Counter)
    violations: list[Row] = field(default_factory=list)

    def add(self, row: Row) -> None:
        """Count one run."""
        self.seeds += 1
        self.cpu_s += row["cpu_s"]
        self.virtual_s += row["virtual_s"]
        self.counts.update({name: row[name] for name in _COUNTS})
        self.sizes[row["nodes"]] += 1
        self.size_virtual_s[row["nodes"]] += row["virtual_s"]
        self.size_cpu_s[row["nodes"]] += row["cpu_s"]
        self.faults.update(row["faults"])
        self.points.update(row["points"])
        if row["invariant"]:
            self.violations.append(
                {name: row[name] for name in ("seed", "nodes", "invariant", "message")}
            )

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    def lines(self) -> Iterator[str]:
        """For a reader."""
        count = self.counts
        sizes = ", ".join(f"{number} of {size}" for size, number in sorted(self.sizes.items()))
        yield f"seeds                {self.seeds:,} ({sizes} nodes)"
        yield f"virtual seconds      {self.virtual_s:,.0f}"
        per_cpu = _ratio(self.virtual_s, self.cpu_s)
        yield f"  per processor s    {per_cpu:,.1f}"
        for size in sorted(self.sizes):
            per_cpu = _ratio(self.size_virtual_s[size], self.size_cpu_s[size])
            yield f"    {size} nodes          {per_cpu:,.1f}"
        yield f"orders acknowledged  {count['orders']:,} in {count['requests']:,} requests"
        yield f"  unknown, refused   {count['unknown']:,}, {count['not_accepted']:,}"
        yield f"  sent again         {count['repeats']:,}"
        yield f"reads                {count['reads']:,}"
        yield f"entries, elections   {count['entries']:,}, {count['terms']:,}"
        yield f"new voters, removed  {count['promoted']:,}, {count['removed']:,}"
        yield f"faults               {sum(self.faults.values()):,}"
        for kind, number in sorted(self.faults.items()):
            yield f"  {kind:<18} {number:,}"
        yield f"kill points passed   {sum(self.points.values()):,} at {len(self.points)} points"
        yield f"violations           {len(self.violations)}"
        for violation in sorted(self.violations, key=lambda each: each["seed"]):
            yield f"  seed {violation['seed']}: {violation['message'][:300]}"


def _ratio(one: float, other: float) -> float:
    return one / other if other else 0.0


def row_of(outcome: Outcome, plan: Plan, cpu_s: float) -> Row:
    """What is kept of a run: its arguments, its counts, its verdict."""
    row: Row = {
        "seed": outcome.seed,
        "asked": plan.asked,
        "nodes": outcome.nodes,
        "virtual_s": round(outcome.seconds, 3),
        "cpu_s": round(cpu_s, 3),
        "digest": outcome.digest[:16],
        "invariant": outcome.invariant,
        "message": outcome.message,
        "faults": outcome.faults,
        "points": outcome.points,
    }
    return row | {name: getattr(outcome, name) for name in _COUNTS}


def read_rows(path: Path) -> Iterator[Row]:
    """The lines of a file; a last one that was cut off does not count.

    Raises:
        ValueError: another line is none.
    """
    lines = path.read_bytes().split(b"\n") if path.exists() else [b""]
    for number, line in enumerate(lines[:-1], start=1):
        try:
            yield json.loads(line)
        except ValueError as error:
            raise ValueError(f"{path}: line {number} is no run: {error}") from error


def sum_files(paths: Iterable[Path]) -> Summary:
    """The sum over several files."""
    summary = Summary()
    seen: set[tuple[Any, ...]] = set()
    for path in paths:
        for row in read_rows(path):
            key = (row["seed"], *row["asked"])
            if key not in seen:
                seen.add(key)
                summary.add(row)
    return summary


def run_many(
    seeds: Iterable[int],
    plan: Plan,
    *,
    jobs: int = 1,
    path: Path | None = None,
    told: Callable[[Row], None] = lambda row: None,
) -> Summary:
    """Run all of them; `told` hears of each as it ends.

    Args:
        path: gets a line for each run; what it holds already is not run again, and counts.
    """
    summary = Summary()
    done: set[int] = set()
    with ExitStack() as stack:
        file = None
        if path is not None:
            for row in read_rows(path):
                if row["asked"] == plan.asked and row["seed"] not in done:
                    done.add(row["seed"])
                    summary.add(row)
            file = stack.enter_context(path.open("r+b" if path.exists() else "w+b"))
            _cut_torn_line(file)
        work = ((seed, plan) for seed in seeds if seed not in done)
        for row in _results(work, jobs):
            summary.add(row)
            if file is not None:
                file.write(json.dumps(row).encode() + b"\n")
                file.flush()
            told(row)
    return summary


def _cut_torn_line(file: Any) -> None:
    """Go on after the last whole line."""
    file.truncate(file.seek(0) + file.read().rfind(b"\n") + 1)
    file.seek(0, 2)


def _results(work: Iterator[Work], jobs: int) -> Iterator[Row]:
    """Each seed in a process of its own, so many at once: a world is a web of cycles, and for the
    system to have all of it back takes no time, where a collector took a quarter of it.
    """
    context = multiprocessing.get_context("fork")
    running: dict[Connection, tuple[Work, ForkProcess]] = {}
    while True:
        for each in islice(work, jobs - len(running)):
            receiver, sender = context.Pipe(duplex=False)
            process = context.Process(target=_run_and_tell, args=(each, sender), daemon=True)
            process.start()
            sender.close()
            running[receiver] = each, process
        if not running:
            return
        for ready in wait(list(running)):
            assert isinstance(ready, Connection), ready
            each, process = running.pop(ready)
            try:
                row: Row = ready.recv()
            except EOFError:
                process.join()
                row = _failed(each, f"its process ended with {process.exitcode}")
            ready.close()
            process.join()
            yield row


def _run_and_tell(work: Work, sender: Connection) -> None:
    gc.disable()
    sender.send(_run_here(work))


def _run_here(work: Work) -> Row:
    seed, plan = work
    began = time.process_time()
    try:
        outcome = run_seed(
            seed, nodes=plan.nodes, seconds=plan.seconds, members=plan.members, mixed=plan.mixed
        )
    except Exception:
        # Whatever it is, one seed must not end a campaign of thousands.
        return _failed(work, traceback.format_exc(limit=-6))
    return row_of(outcome, plan, time.process_time() - began)


def _failed(work: Work, message: str) -> Row:
    seed, plan = work
    outcome = Outcome(seed, plan.nodes or 0, 0.0, invariant="harness", message=message)
    return row_of(outcome, plan, 0.0)

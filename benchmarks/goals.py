"""The goals that the project set itself, measured in one run: what `make bench` prints.

Owns the goals, the order of the parts that measure them, and how long all may take. What a part
cannot measure here is named, with the reason. Must not know how a load or a book works.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from benchmarks import goal_parts as parts
from benchmarks.goal_parts import Part
from raftbook.core.build import KIND
from raftbook_cli.bench.figures import environment

BOUND_S: Final = 600.0
"""No part begins later than that."""


@dataclass(frozen=True, slots=True)
class Goal:
    """One line of the table.

    Attributes:
        figure: which figure of the part it is about.
        least: it is to be that at least; of None it is to be `most` at most.
        cores: of which core it is asked: the pure Python one, the compiled one, or both.
    """

    what: str
    part: str
    figure: str
    unit: str = ""
    least: float | None = None
    most: float | None = None
    cores: tuple[str, ...] = ("pure", "compiled")

    @property
    def wanted(self) -> str:
        """As the table has it."""
        if self.least is not None:
            return f"≥ {_number(self.least, self.unit)}"
        return f"≤ {_number(self.most, self.unit)}"

    def is_met_by(self, value: float) -> bool:
        """Whether a figure is good enough."""
        if self.least is not None:
            return value >= self.least
        assert self.most is not None, f"{self.what}: neither least nor most"
        return value <= self.most


@dataclass(frozen=True, slots=True)
class Row:
    """A goal, and what came of it.

    Attributes:
        measured: "" when it was not.
        is_met: None when it was not measured.
        why: why it was not, or what else must be said of the figure.
    """

    goal: str
    wanted: str
    measured: str = ""
    is_met: bool | None = None
    why: str = ""


@dataclass(slots=True)
class Found:
    """What one part found: figures by name, why others are missing, and what they depend on."""

    figures: dict[str, float] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0


PARTS: Final[Mapping[str, Part]] = {
    "sustained": parts.sustained,
    "single orders": parts.single_orders,
    "open loop": parts.open_loop,
    "idle": parts.idle,
    "rivals": parts.rivals,
    "core": parts.core,
    "replay": parts.replay,
    "snapshot": parts.snapshot,
    "memory": parts.memory,
    "HTTP": parts.http,
}

_ORDERS: Final = "orders/s"
_BARE: Final = "core, worst shape, × the fastest bare book"
_AT_RATE: Final = "open loop at 20,000 orders/s, "
GOALS: Final = (
    Goal("sustained, 100 orders to a request, 60 s", "sustained", "rate", _ORDERS, least=120_000),
    Goal("the same, × etcd's writes", "rivals", "etcd", "×", least=25),
    Goal("the same, × stock PySyncObj", "rivals", "stock_pysyncobj", "×", least=12),
    Goal("one order to a request, 64 clients", "single orders", "rate", _ORDERS, least=40_000),
    Goal(_AT_RATE + "p50", "open loop", "p50", "ms", most=3),
    Goal(_AT_RATE + "p99", "open loop", "p99", "ms", most=15),
    Goal(_AT_RATE + "p99.9", "open loop", "p999", "ms", most=50),
    Goal("single order, idle cluster, slowest node, p50", "idle", "p50", "ms", most=1.5),
    Goal("core, worst of five shapes", "core", "rate", _ORDERS, least=400_000, cores=("pure",)),
    Goal(_BARE, "core", "bare", "×", least=1, cores=("pure",)),
    Goal(_BARE, "core", "bare", "×", least=2, cores=("compiled",)),
    Goal("core, worst shape, × dyn4mik3", "core", "dyn4mik3", "×", least=2, cores=("pure",)),
    Goal("journal replay", "replay", "rate", _ORDERS, least=300_000),
    Goal("snapshot of 1,000,000 orders loaded", "snapshot", "load", "s", most=5),
    Goal("pause for a snapshot of 1,000,000 orders", "snapshot", "pause", "ms", most=20),
    Goal("memory of a resting order", "memory", "bytes", "bytes", most=600),
    Goal("REST orders, leader of three", "HTTP", "rate", _ORDERS, least=2_000),
    Goal("REST orders, leader of three, p50", "HTTP", "p50", "ms", most=5),
)


def run() -> dict[str, Any]:
    """Measure all: the table's lines, and each part's figures and settings."""
    say(" ".join(f"{name} {value}" for name, value in environment().items()))
    found = measure(PARTS, clock=time.monotonic)
    return {
        "core": KIND,
        "goals": [asdict(row) for row in rows_of(found, core=KIND)],
        "parts": {name: asdict(each) for name, each in found.items()},
    }


def is_whole(found: Mapping[str, Any]) -> bool:
    """Whether no part failed; that a goal is not met, or a rival not here, is no failure."""
    return not any("all" in part["missing"] for part in found["parts"].values())


def measure(wanted: Mapping[str, Part], *, clock: Callable[[], float]) -> dict[str, Found]:
    """Every part once, in order; one that fails is told, and the others go on."""
    found: dict[str, Found] = {}
    began = clock()
    for name, part in wanted.items():
        start = clock()
        if start - began > BOUND_S:
            found[name] = Found(missing={"all": f"not begun within {BOUND_S:g} s"})
            continue
        say(f"{name} ...")
        try:
            figures, missing, settings = part()
        except Exception as error:  # whatever it is: this part's figures are void, others count
            found[name] = Found(missing={"all": f"void: {error or type(error).__name__}"})
        else:
            found[name] = Found(figures, missing, settings)
            say("  " + json.dumps(settings, ensure_ascii=False))
        found[name].seconds = clock() - start
    return found


def rows_of(found: Mapping[str, Found], *, core: str) -> list[Row]:
    """The goals that are asked of this core, and what was found of each."""
    return [_row(goal, found[goal.part]) for goal in GOALS if core in goal.cores]


def _row(goal: Goal, found: Found) -> Row:
    value = found.figures.get(goal.figure)
    if value is None:
        why = found.missing.get(goal.figure) or found.missing.get("all", "not measured")
        return Row(goal.what, goal.wanted, why=why)
    errors = found.settings.get("errors")
    why = f"requests without an answer: {errors}" if errors else ""
    return Row(goal.what, goal.wanted, _number(value, goal.unit), goal.is_met_by(value), why)


def table(found: Mapping[str, Any]) -> str:
    """A line for each goal; below them, why some were not measured and what else is to be said."""
    marks = {True: "met", False: "NOT MET", None: "not measured"}
    rows = [Row(**row) for row in found["goals"]]
    cells = [("goal", "", f"core {found['core']}", "")]
    cells += [(row.goal, row.wanted, row.measured, marks[row.is_met]) for row in rows]
    widths = [max(len(line[column]) for line in cells) for column in range(3)]
    lines = [
        f"{goal:<{widths[0]}}  {wanted:>{widths[1]}}  {measured:>{widths[2]}}  {mark}".rstrip()
        for goal, wanted, measured, mark in cells
    ]
    return "\n".join([*lines, *(f"{row.goal}: {row.why}" for row in rows if row.why)])


def _number(value: float | None, unit: str) -> str:
    assert value is not None, "a goal without a number"
    text = f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
    return f"{text} {unit}".rstrip()


def say(line: str) -> None:
    """Progress and the table, beside the JSON."""
    print(line, file=sys.stderr, flush=True)

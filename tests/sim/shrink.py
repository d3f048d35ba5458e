"""From a run that fails to the few faults that are needed: ddmin over the list of faults.

Owns the search. The same seed draws everything else, so what is left still replays bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tests.sim.faults import KINDS, Fault
from tests.sim.profile import draw
from tests.sim.world import Outcome, draw_all, run_seed

Fails = Callable[[Sequence[Fault]], bool]


def shrink(
    seed: int,
    *,
    nodes: int | None,
    seconds: float,
    members: bool | None = None,
    mixed: bool | None = None,
    runs_max: int = 400,
    told: Callable[[str], None] = lambda line: None,
) -> tuple[list[Fault], Outcome]:
    """The faults that still make this seed break the same invariant, and that run.

    Raises:
        ValueError: the seed does not fail.
    """
    profile = draw(seed, KINDS, size=nodes)
    faults = draw_all(seed, profile, seconds, members=members)
    first = run_seed(seed, nodes=nodes, seconds=seconds, faults=faults, mixed=mixed)
    if not first.invariant:
        raise ValueError(f"seed {seed} does not fail")
    best = [first]
    runs = 0

    def fails(subset: Sequence[Fault]) -> bool:
        nonlocal runs
        if runs >= runs_max:
            return False
        runs += 1
        outcome = run_seed(seed, nodes=nodes, seconds=seconds, faults=subset, mixed=mixed)
        if outcome.invariant != first.invariant:
            return False
        best[0] = outcome
        told(f"{len(subset)} faults still do: {outcome.message[:100]}")
        return True

    before = [fault for fault in faults if fault.at_s <= first.at_s]
    kept = ddmin(before if fails(before) else faults, fails)
    return kept, best[0]


def ddmin(items: Sequence[Fault], fails: Fails) -> list[Fault]:
    """A subset that fails and from which no single chunk can be taken (Zeller's ddmin)."""
    current = list(items)
    if fails([]):
        return []
    chunks = 2
    while len(current) >= 2:
        size = -(-len(current) // chunks)
        starts = range(0, len(current), size)
        for start in starts:
            rest = current[:start] + current[start + size :]
            if rest and fails(rest):
                current, chunks = rest, max(chunks - 1, 2)
                break
        else:
            if size == 1:
                break
            chunks = min(chunks * 2, len(current))
    return current

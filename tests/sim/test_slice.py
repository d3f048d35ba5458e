"""A slice of the simulator for every run of the suite; `make sim` runs as many seeds as you like.

What a slice holds is little: see docs/TESTING.md for the campaigns.
"""

from __future__ import annotations

from collections import Counter

import pytest

from tests.sim.world import run_seed


@pytest.mark.parametrize("nodes", [3, 5, 7])
def test_everything_holds(nodes: int) -> None:
    seeds = {3: range(100, 108), 5: range(200, 204), 7: range(300, 302)}[nodes]
    orders = 0
    faults: Counter[str] = Counter()
    for seed in seeds:
        outcome = run_seed(seed, nodes=nodes, seconds=25)
        again = f"python -m tests.sim --seed {seed} --nodes {nodes} --seconds 25 -v"
        assert not outcome.invariant, f"{outcome.message}\nagain: {again}"
        orders += outcome.orders
        faults.update(outcome.faults)
    # A run in which nothing happens proves nothing.
    assert orders > 100 * len(seeds)
    assert faults.total() > 8 * len(seeds)
    assert faults["upgrade"]


@pytest.mark.parametrize("nodes", [3, 5])
def test_everything_holds_while_nodes_join_and_leave(nodes: int) -> None:
    seeds = {3: range(400, 403), 5: range(500, 502)}[nodes]
    faults: Counter[str] = Counter()
    ids: Counter[str] = Counter()
    for seed in seeds:
        outcome = run_seed(seed, nodes=nodes, seconds=25, members=True)
        again = f"python -m tests.sim --seed {seed} --nodes {nodes} --members --seconds 25 -v"
        assert not outcome.invariant, f"{outcome.message}\nagain: {again}"
        faults.update(outcome.faults)
        ids.update(promoted=outcome.promoted, removed=outcome.removed)
    # Asking is not enough: they must have come and gone.
    assert 2 * ids["promoted"] >= len(seeds) and ids["removed"] >= len(seeds)
    assert faults["overlap"]

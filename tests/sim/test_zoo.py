"""Each defect that is put back is caught: see `zoo.py`.

Here the seed that once caught it is tried first, so that this is fast; when the code has moved on
and that seed shows it no more, the search goes on from seed 0. SIM_ZOO=long always begins there.
"""

from __future__ import annotations

import os

import pytest

from raftbook.core.build import KIND
from tests.sim.zoo import CAGES, ELSEWHERE, SEEDS_MAX, Cage, hunt, run

IS_LONG = os.environ.get("SIM_ZOO") == "long"


@pytest.mark.parametrize("cage", CAGES, ids=lambda cage: cage.name.replace(" ", "-"))
def test_the_defect_is_caught(cage: Cage) -> None:
    if cage.mixed and KIND != "pure":
        pytest.skip("nothing can be put back in a compiled core: make test has it")
    catch = hunt(cage, first=0 if IS_LONG else cage.seed, count=SEEDS_MAX if IS_LONG else 1)
    if catch.outcome is None and not IS_LONG:
        catch = hunt(cage)
    assert catch.outcome is not None, f"{cage.name} got away for {SEEDS_MAX} seeds"
    assert catch.outcome.invariant != "harness"
    assert "TypeError" not in catch.outcome.message, "what puts it back fits the code no more"
    # It is the defect that was caught: the same seed holds without it.
    healthy = run(cage, catch.outcome.seed)
    assert not healthy.invariant, healthy.message


def test_every_defect_has_its_cage_or_its_reason() -> None:
    wanted = {*(f"F{number}" for number in range(1, 16)), "S4", "S6", "S8", "S10", "S13", "S14"}
    assert wanted <= {cage.name for cage in CAGES} | set(ELSEWHERE)

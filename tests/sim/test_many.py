"""A campaign can be killed and go on, and its files can be summed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.sim import many
from tests.sim.many import Plan, Summary, read_rows, run_many, sum_files
from tests.sim.world import Outcome

PLAN = Plan(nodes=3, seconds=1.0)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs that cost nothing: what is tested here is what is kept of them."""

    def run_seed(seed: int, *, nodes: int, seconds: float, **_: object) -> Outcome:
        return Outcome(seed, nodes, seconds, digest=f"{seed:064}", faults={"kill": seed}, orders=9)

    monkeypatch.setattr(many, "run_seed", run_seed)


def test_a_line_says_what_the_run_showed(tmp_path: Path) -> None:
    summary = run_many([20], PLAN, path=tmp_path / "file")
    (row,) = read_rows(tmp_path / "file")
    assert (row["seed"], row["nodes"], row["invariant"]) == (20, 3, "")
    assert row["orders"] == summary.counts["orders"] >= 20
    assert row["faults"] == dict(summary.faults)


def comparable(summary: Summary) -> dict[str, object]:
    """All but how long it took."""
    return {name: v for name, v in summary.as_dict().items() if "cpu" not in name}


@pytest.mark.usefixtures("quick")
def test_a_campaign_that_was_killed_goes_on_where_its_file_ends(tmp_path: Path) -> None:
    whole = run_many(range(20, 23), PLAN, path=tmp_path / "whole")
    lines = (tmp_path / "whole").read_bytes().splitlines(keepends=True)
    assert len(lines) == 3
    torn = tmp_path / "torn"
    torn.write_bytes(lines[0] + lines[1][:100])
    told: list[int] = []
    again = run_many(range(20, 23), PLAN, path=torn, told=lambda row: told.append(row["seed"]))
    assert told == [21, 22]
    assert [row["seed"] for row in read_rows(torn)] == [20, 21, 22]
    assert comparable(again) == comparable(whole)
    assert [r["digest"] for r in read_rows(torn)] == [
        r["digest"] for r in read_rows(tmp_path / "whole")
    ]


@pytest.mark.usefixtures("quick")
def test_a_run_that_stands_in_several_files_counts_once(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    first = run_many(range(20, 22), PLAN, path=one)
    run_many(range(21, 23), PLAN, path=other)
    both = sum_files([one, other, one])
    assert both.seeds == 3
    assert both.counts["orders"] > first.counts["orders"] > 0
    assert both.sizes == {3: 3}


@pytest.mark.usefixtures("quick")
def test_the_same_seed_over_another_time_is_another_run(tmp_path: Path) -> None:
    run_many([20], PLAN, path=tmp_path / "file")
    run_many([20], Plan(nodes=3, seconds=2.0), path=tmp_path / "file")
    assert sum_files([tmp_path / "file"]).seeds == 2


def test_a_line_that_is_none_is_an_error_unless_it_is_a_torn_last_one(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b'{"seed": 1}\n{"se')
    assert len(list(read_rows(file))) == 1
    file.write_bytes(b'{"seed": 1}\n{"se\n{"seed": 2}\n')
    with pytest.raises(ValueError, match="line 2 is no run"):
        list(read_rows(file))


def test_a_process_that_dies_costs_its_seed_and_not_the_campaign(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def run_seed(seed: int, **_: object) -> Outcome:
        if seed == 21:
            os._exit(9)
        return Outcome(seed, 3, 1.0)

    monkeypatch.setattr(many, "run_seed", run_seed)
    summary = run_many(range(20, 24), PLAN, jobs=2)
    assert summary.seeds == 4
    (violation,) = summary.violations
    assert (violation["seed"], violation["invariant"]) == (21, "harness")
    assert "ended with 9" in violation["message"]

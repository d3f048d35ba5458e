"""A campaign can be killed and go on, and its files can be summed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sim.many import Plan, Summary, read_rows, run_many, sum_files

PLAN = Plan(nodes=3, seconds=2.0)


def comparable(summary: Summary) -> dict[str, object]:
    """All but how long it took."""
    return {name: v for name, v in summary.as_dict().items() if "cpu" not in name}


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


def test_a_run_that_stands_in_several_files_counts_once(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    first = run_many(range(20, 22), PLAN, path=one)
    run_many(range(21, 23), PLAN, path=other)
    both = sum_files([one, other, one])
    assert both.seeds == 3
    assert both.counts["orders"] > first.counts["orders"] > 0
    assert both.sizes == {3: 3}


def test_the_same_seed_over_another_time_is_another_run(tmp_path: Path) -> None:
    run_many([20], PLAN, path=tmp_path / "file")
    run_many([20], Plan(nodes=3, seconds=3.0), path=tmp_path / "file")
    assert sum_files([tmp_path / "file"]).seeds == 2


def test_a_line_that_is_none_is_an_error_unless_it_is_a_torn_last_one(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b'{"seed": 1}\n{"se')
    assert len(list(read_rows(file))) == 1
    file.write_bytes(b'{"se\n{"seed": 1}\n')
    with pytest.raises(ValueError, match="line 1"):
        list(read_rows(file))

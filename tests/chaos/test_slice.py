"""A short chaos run in the suite, and the proof that such a run can fail."""

import json
from pathlib import Path

import pytest

from tests.chaos.archive import whole_log
from tests.chaos.cluster import APPLIED
from tests.chaos.judgement import RUN, judge
from tests.chaos.runner import Options, run


def test_a_little_chaos_loses_nothing(tmp_path: Path) -> None:
    result = run(Options(tmp_path / "run", minutes=0.3, seed=3))
    assert result.violations == []
    assert result.void == ""
    assert result.judgement["acknowledged"] > 1_000
    assert result.judgement["windows"]["legal"] > 3
    assert len(result.troubles) > 5
    # Whatever the nodes' journals still hold, all of the log is in what they applied.
    last_index = json.loads((tmp_path / "run" / RUN).read_text())["last_index"]
    log, gaps = whole_log(tmp_path / "run" / APPLIED, [], last_index)
    assert (gaps, log.problems) == ([], [])


def test_a_leader_that_is_replaced_by_a_new_machine_loses_nothing(tmp_path: Path) -> None:
    only = frozenset(("replace_leader", "reset_links"))
    result = run(Options(tmp_path / "run", minutes=0.1, seed=5, only=only))
    assert result.violations == []
    assert result.troubles["replace_leader"] == 1
    run_file = json.loads((tmp_path / "run" / RUN).read_text())
    assert len(run_file["removed_ids"]) == 1
    assert len(run_file["node_ids"]) == 3 and 4 in run_file["node_ids"]


@pytest.mark.parametrize(
    ("fault", "trouble", "rules"),
    [
        # Nothing reached the disk: after the kill the nodes give the same order ids out again.
        ("nothing_written", "kill_all", ("two replies:", "doubled:", "lost:")),
        # Clients that lost an answer ask again, and act twice.
        ("nothing_remembered", "cut_clients", ("two replies:",)),
    ],
)
def test_a_broken_node_is_noticed(
    tmp_path: Path, fault: str, trouble: str, rules: tuple[str, ...]
) -> None:
    options = Options(
        tmp_path / "run", minutes=0.1, seed=4, only=frozenset((trouble,)), fault=fault
    )
    result = run(options)
    assert any(one.startswith(rules) for one in result.violations), result.violations[:5]
    assert judge(tmp_path / "run").violations != [], "a second look at the folder must agree"

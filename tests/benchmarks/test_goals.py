"""What is measured is judged, what is not is named, and all of it ends in time."""

import json
from typing import Any

import pytest

from benchmarks import __main__ as command
from benchmarks import goal_parts, goals
from benchmarks.goals import GOALS, PARTS, Found, Goal, measure, rows_of, table
from raftbook_cli.bench.generator import Load
from raftbook_cli.bench.venue import Venue


class Clock:
    """Moves by ten seconds at each look."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 10.0
        return self.now


def found(**figures: float) -> dict[str, Found]:
    """Every part measured, and every figure the same but for these."""
    return {name: Found({**dict.fromkeys(FIGURES, 50.0), **figures}) for name in PARTS}


FIGURES = {goal.figure for goal in GOALS}


def test_every_goal_is_of_a_part_and_every_part_has_a_goal() -> None:
    assert {goal.part for goal in GOALS} == set(PARTS)


@pytest.mark.parametrize(("value", "is_met"), [(2.9, False), (3.0, True), (3.1, True)])
def test_what_is_to_be_at_least_so_much(value: float, is_met: bool) -> None:
    assert Goal("speed", "part", "rate", least=3).is_met_by(value) is is_met


@pytest.mark.parametrize(("value", "is_met"), [(2.9, True), (3.0, True), (3.1, False)])
def test_what_is_to_be_at_most_so_much(value: float, is_met: bool) -> None:
    assert Goal("latency", "part", "p50", most=3).is_met_by(value) is is_met


def test_each_core_has_its_own_goals() -> None:
    plain = [row.goal for row in rows_of(found(), core="pure")]
    compiled = [row.goal for row in rows_of(found(), core="compiled")]
    assert "core, worst of five shapes" in plain
    assert "core, worst of five shapes" not in compiled
    bare = {row.goal: row.wanted for row in rows_of(found(), core="compiled")}
    assert bare["core, worst shape, × the fastest bare book"] == "≥ 2 ×"


def test_part_that_fails_is_void_and_the_others_go_on() -> None:
    def broken() -> goal_parts.Figures:
        raise RuntimeError("the nodes differ at entry 7")

    parts = {"open loop": broken, "idle": lambda: ({"p50": 1.0}, {}, {"orders": 3})}
    told = measure(parts, clock=Clock())
    assert told["open loop"].missing == {"all": "void: the nodes differ at entry 7"}
    assert told["idle"].figures == {"p50": 1.0}
    assert told["idle"].settings == {"orders": 3}
    rows = {row.goal: row for row in rows_of({**found(), **told}, core="pure")}
    assert rows["open loop at 20,000 orders/s, p99"].is_met is None
    assert rows["open loop at 20,000 orders/s, p99"].why == "void: the nodes differ at entry 7"
    assert rows["single order, idle cluster, slowest node, p50"].is_met is True


def test_requests_without_an_answer_are_told() -> None:
    part = Found({"rate": 130_000.0}, settings={"errors": {"OUTCOME_UNKNOWN": 96}})
    row = rows_of({**found(), "sustained": part}, core="pure")[0]
    assert (row.measured, row.is_met) == ("130,000 orders/s", True)
    assert row.why == "requests without an answer: {'OUTCOME_UNKNOWN': 96}"


def test_no_part_begins_after_the_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(goals, "BOUND_S", 25.0)
    begun: list[str] = []

    def part() -> goal_parts.Figures:
        begun.append("part")
        return {}, {}, {}

    told = measure({"a": part, "b": part, "c": part}, clock=Clock())
    assert len(begun) == 1  # looks at 10 (began), 20 and 30 (a), 40: 30 s are over
    assert told["b"].missing == told["c"].missing == {"all": "not begun within 25 s"}


def test_table_says_what_is_met_and_why_something_is_missing() -> None:
    rows = [
        {"goal": "speed", "wanted": "≥ 120,000 orders/s", "measured": "52,000 orders/s"}
        | {"is_met": False, "why": ""},
        {"goal": "p50", "wanted": "≤ 3 ms", "measured": "2.5 ms", "is_met": True, "why": ""},
        {"goal": "× etcd", "wanted": "≥ 25 ×", "measured": "", "is_met": None, "why": "install x"},
    ]
    assert table({"core": "plain", "goals": rows}).split("\n") == [
        "goal                             core plain",
        "speed   ≥ 120,000 orders/s  52,000 orders/s  NOT MET",
        "p50                 ≤ 3 ms           2.5 ms  met",
        "× etcd              ≥ 25 ×                   not measured",
        "× etcd: install x",
    ]


def test_goals_are_what_is_measured_when_nothing_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    part = (dict.fromkeys(FIGURES, 1.0), {}, {"nodes": 3})
    monkeypatch.setattr(goals, "PARTS", {name: lambda: part for name in PARTS})
    assert command.main([]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["goals"]["parts"]["idle"]["settings"] == {"nodes": 3}
    assert err.rstrip().split("\n")[-1].split() == [
        *("REST", "orders,", "leader", "of", "three,", "p50", "≤", "5", "ms", "1", "ms", "met")
    ]
    assert '{"nodes": 3}' in err


def test_failed_part_is_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken() -> goal_parts.Figures:
        raise OSError("no disk")

    monkeypatch.setattr(goals, "PARTS", dict.fromkeys(PARTS, broken))
    assert command.main([]) == 1
    assert "journal replay: void: no disk" in capsys.readouterr().err


def test_load_whose_nodes_differ_is_void(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(goal_parts.cluster, "NODES", 1)
    monkeypatch.setattr(goal_parts, "SECONDS", 1.0)
    load = Load(clients=2, per_request=2, in_flight=4, seconds=1.0)
    monkeypatch.setattr(goal_parts.cluster, "SINGLE_ORDERS", load)
    figures, missing, settings = goal_parts.single_orders()
    assert figures["rate"] > 0 and missing == {}
    assert settings["digests"] == "equal"
    monkeypatch.setattr(Venue, "digests_equal", lambda self, index: False)
    told = measure({"single orders": goal_parts.single_orders}, clock=Clock())
    assert "the nodes differ" in told["single orders"].missing["all"]
    assert told["single orders"].figures == {}


def test_slowest_node_counts_when_nobody_else_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(goal_parts.cluster, "NODES", 2)
    monkeypatch.setattr(
        goal_parts.cluster, "single_orders_ms", lambda running, node_id: {"p50": float(node_id)}
    )
    checked: list[Venue] = []
    monkeypatch.setattr(Venue, "check_digests", lambda venue: checked.append(venue))
    figures, _, settings = goal_parts.idle()
    assert figures == {"p50": 2.0}
    assert settings["p50 via node, ms"] == {1: 1.0, 2: 2.0}
    assert len(checked) == 1


def test_worst_shape_counts_and_an_absent_book_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    rates = iter((500, 300, 400, 400, 400))

    def compare(messages: object, seconds: float, names: object) -> dict[str, Any]:
        rate = next(rates)
        book = {"times": {goal_parts.OURS: rate / 400}}
        absent = {"dyn4mik3": "clone it"}
        rated = {goal_parts.OURS: {"median": rate}}
        books = {"plain": book, "pyob": book}
        return {"messages_per_s": rated, "books": books, "absent": absent}

    monkeypatch.setattr(goal_parts.books, "compare", compare)
    monkeypatch.setattr(goal_parts, "SHAPE_MESSAGES", 100)
    figures, missing, _ = goal_parts.core()
    assert figures == {"rate": 300, "bare": 0.75}
    assert missing == {"dyn4mik3": "clone it"}

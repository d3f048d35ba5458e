"""Rounds in turn, ratios within a round, and what is missing is named."""

from typing import Any

import pytest

from benchmarks.rivals import __main__ as command
from benchmarks.rivals.servers import Absent


def found(rate: int) -> dict[str, Any]:
    latency = {"p50": 1.5, "p99": 9.0}
    return {"orders_per_s": rate, "latency_ms": latency, "settings": {}, "version": "v1"}


def test_each_round_measures_everybody_once() -> None:
    asked: list[str] = []

    def run(name: str) -> command.Run:
        return lambda seconds: asked.append(name) or found(10)  # type: ignore[func-returns-value]

    results, missing = command.measure({"a": run("a"), "b": run("b")}, 1.0, 2)
    assert asked == ["a", "b", "a", "b"]
    assert missing == {}
    assert [each["orders_per_s"] for each in results["b"]] == [10, 10]


def test_what_is_absent_or_fails_is_named_and_not_tried_again() -> None:
    tried: list[str] = []

    def absent(seconds: float) -> dict[str, Any]:
        tried.append("absent")
        raise Absent("x is not installed: apt-get install x")

    def broken(seconds: float) -> dict[str, Any]:
        tried.append("broken")
        raise OSError("gone")

    runs: dict[str, command.Run] = {"absent": absent, "broken": broken, "whole": lambda s: found(1)}
    results, missing = command.measure(runs, 1.0, 3)
    assert tried == ["absent", "broken"]
    assert list(results) == ["whole"]
    assert missing == {
        "absent": "x is not installed: apt-get install x",
        "broken": "failed: OSError: gone",
    }


def test_ratios_are_of_the_same_round() -> None:
    results = {
        "raftbook": [found(100), found(50), found(300)],
        "etcd": [found(10), found(10), found(10)],
    }
    told = command.summaries(results)
    assert told["etcd"]["times"] == {"raftbook": {"median": 10.0, "least": 5.0, "most": 30.0}}
    assert told["etcd"]["of_rounds"] == [10, 10, 10]
    assert told["raftbook"]["times"] == {}


def test_ratio_to_nothing_is_none() -> None:
    assert command.ratios([5, 5], [1, 0]) is None


def test_table_has_a_line_for_each_and_names_the_missing() -> None:
    told = command.summaries({"raftbook": [found(12_345)], "etcd": [found(1_000)]})
    assert command.table(told, {"nats": "nats-server is not installed"}) == (
        "          orders/s  p50 ms  p99 ms     raftbook is ×  -single is ×  version\n"
        "raftbook    12,345     1.5     9.0                                  v1\n"
        "etcd         1,000     1.5     9.0  12.3 (12.3–12.3)                v1\n"
        "nats: not measured: nats-server is not installed"
    )


def test_unknown_name_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(["redis"])
    assert ended.value.code == 2
    assert "unknown rival redis; there are stock_pysyncobj, etcd" in capsys.readouterr().err

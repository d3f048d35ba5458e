"""`raftbook bench` on one real node, for a second."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from raftbook.core.build import KIND
from raftbook_cli.bench import command
from raftbook_cli.bench.figures import Latencies
from raftbook_cli.bench.venue import venue
from raftbook_cli.main import run

BRIEF = ["bench", "--nodes", "1", "--seconds", "1", "--clients", "2", "--in-flight", "4"]


@pytest.fixture(autouse=True)
def _no_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "WARM_UP_S", 0.1)


def test_a_run_tells_all_that_a_figure_depends_on(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    picture = tmp_path / "latency.svg"
    assert run([*BRIEF, "--per-request", "3", "-o", "json", "--plot", str(picture)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == "raftbook/v1"
    assert found["orders_per_s"] > 0
    assert found["digests_equal"] is True
    assert (found["errors"], found["rejected"], found["nodes"]) == ({}, 0, 1)
    latency = found["latency_ms"]
    assert list(latency) == ["p50", "p95", "p99", "p999", "max"]
    assert 0 < latency["p50"] <= latency["p99"] <= latency["max"]
    assert found["settings"]["per_request"] == 3
    assert found["environment"]["core"] == KIND
    assert set(found["environment"]) >= {"raftbook", "core", "python", "machine", "cores"}
    assert picture.read_text().startswith("<?xml")


def test_money_moves_where_it_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*BRIEF, "--settlement", "funded"]) == 0
    out = capsys.readouterr().out
    assert "orders/s acknowledged, 0 refused by the market" in out
    assert "errors       none" in out


def test_two_builds_take_turns(capsys: pytest.CaptureFixture[str]) -> None:
    words = [*BRIEF, "--against", sys.executable, "--rounds", "1", "-o", "json"]
    assert run(words) == 0
    found = json.loads(capsys.readouterr().out)
    (mine,), (theirs,) = found["this"], found["other"]
    assert found["orders_per_s_ratio"] == round(mine["orders_per_s"] / theirs["orders_per_s"], 3)


def test_a_run_whose_nodes_differ_is_void(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from raftbook_cli.bench.venue import Venue

    monkeypatch.setattr(Venue, "digests_equal", lambda self, index: False)
    assert run(BRIEF) == 6
    assert "the nodes differ" in capsys.readouterr().err


def test_bad_wishes_are_told_before_anything_starts(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*BRIEF, "--plot", "latency.jpeg"]) == 2
    assert "ends with one of .svg" in capsys.readouterr().err
    assert run(["bench", "--rate", "0"]) == 2
    assert run([*BRIEF, "--plot", "latency.svg", "--against", sys.executable]) == 2
    assert "leave --against out" in capsys.readouterr().err


def test_nothing_is_left_of_a_run_that_is_told_to_end(tmp_path: Path) -> None:
    words = ["bench", "--nodes", "1", "--seconds", "60"]
    bench = subprocess.Popen(
        [sys.executable, "-m", "raftbook_cli.main", *words],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stderr=subprocess.PIPE,
    )
    with bench:
        give_up = time.monotonic() + 30
        while not list(tmp_path.glob("raftbook-bench-*/node-1.log")):
            assert time.monotonic() < give_up and bench.poll() is None, "no node was started"
            time.sleep(0.05)
        (folder,) = tmp_path.iterdir()
        bench.terminate()
        assert bench.wait(30) == 130
    assert not folder.exists()
    assert not list(_processes_of(folder)), "its node goes on"


def test_nor_of_one_that_is_told_while_a_node_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process is there, and nobody had the time to write down that it is."""
    begin = subprocess.Popen.__init__

    def begin_and_be_told(self: Any, *arguments: Any, **named: Any) -> None:
        begin(self, *arguments, **named)
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(subprocess.Popen, "__init__", begin_and_be_told)
    with pytest.raises(KeyboardInterrupt), venue(1, settlement="none"):
        pytest.fail("it went on")
    assert not list(_processes_of(tmp_path)), "its node goes on"
    assert not list(tmp_path.iterdir())


def _processes_of(folder: Path) -> Iterator[str]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace")
        except OSError:
            continue  # it has ended meanwhile
        if str(folder) in words:
            yield words


def test_percentiles_are_of_what_was_recorded() -> None:
    latencies = Latencies()
    for milliseconds in range(1, 1_001):
        latencies.record(milliseconds / 1_000)
    found = latencies.milliseconds()
    assert found["p50"] == pytest.approx(500, rel=0.002)
    assert found["p99"] == pytest.approx(990, rel=0.002)
    assert found["p999"] == pytest.approx(999, rel=0.002)
    assert found["max"] == pytest.approx(1_000, rel=0.002)
    curve = latencies.curve()
    assert [ms for _, ms in curve] == sorted(ms for _, ms in curve)

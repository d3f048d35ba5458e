"""The command line against real nodes: the demo as a newcomer starts it, real flow replayed."""

import json
import random
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from tests.e2e.cluster import Cluster, running_cluster

REAL_FLOW = (
    Path(__file__).parents[3] / "shared" / "data" / "AAPL_2012-06-21_first999_message_10.csv"
)
COMMAND_TIMEOUT_S = 180


def raftbook(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line; both outputs are captured."""
    command = [sys.executable, "-m", "raftbook_cli.main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S)


def test_the_demo_kills_its_leader_and_loses_nothing(tmp_path: Path) -> None:
    done = raftbook("demo", "--seconds", "12", "--no-browser", "--dir", str(tmp_path / "demo"))

    assert done.returncode == 0, done.stdout + done.stderr
    told = done.stdout + done.stderr
    assert "got SIGKILL" in told
    assert "nodes agree at index" in told
    assert "acknowledged lost      0" in told


def replayed(folder: Path, flow: Path) -> dict[str, object]:
    """Replay a flow through all three nodes of a fresh cluster; the summary."""
    with running_cluster(folder) as cluster:
        config = ("--config", str(cluster.config.path))
        added = raftbook(
            *config, "instrument", "add", "AAPL-USD", "--base", "AAPL", "--quote", "USD",
            "--tick", "0.01", "--lot", "1",
        )  # fmt: skip
        assert added.returncode == 0, added.stderr
        done = raftbook(
            *config, "-o", "json", "replay", str(flow), "--format", "lobster",
            "--symbol", "AAPL-USD",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        _same_everywhere(cluster)
        verified = raftbook(*config, "cluster", "verify")
        assert verified.returncode == 0, verified.stdout + verified.stderr
        summary: dict[str, object] = json.loads(done.stdout)
        return summary


def _same_everywhere(cluster: Cluster) -> None:
    books = list(cluster.books("AAPL-USD").values())
    assert books[0] == books[1] == books[2]


def seeded_flow(path: Path) -> Path:
    """A small flow of our own in the same format: adds, reductions, deletions, executions."""
    chance = random.Random(11)
    lines = []
    resting: list[tuple[int, int, int, int]] = []
    for number in range(400):
        time_s = Decimal(34_200) + Decimal(number) / 1_000
        draw = chance.random()
        if draw < 0.6 or not resting:
            direction = chance.choice((1, -1))
            price = 5_850_000 - direction * chance.randrange(1, 30) * 100
            order = (1_000 + number, chance.randrange(2, 50), price, direction)
            resting.append(order)
            lines.append(f"{time_s},1,{order[0]},{order[1]},{order[2]},{order[3]}")
            continue
        name, size, price, direction = chance.choice(resting)
        kind = 2 if draw < 0.7 else 3 if draw < 0.85 else 4 if draw < 0.95 else 5
        lines.append(f"{time_s},{kind},{name},{1 if kind == 2 else size},{price},{direction}")
    path.write_text("\n".join(lines) + "\n")
    return path


def check_twice(tmp_path: Path, flow: Path) -> None:
    first = replayed(tmp_path / "first", flow)
    second = replayed(tmp_path / "second", flow)

    assert first["digest"] == second["digest"]
    skipped = first["skipped"]
    assert isinstance(skipped, dict)
    assert first["read"] == first["sent"] + sum(skipped.values())  # type: ignore[operator]
    assert first["sent"] == first["accepted"] + first["rejected"]  # type: ignore[operator]
    assert first["read"] == len(flow.read_text().splitlines())


def test_a_replayed_flow_gives_the_same_digest_in_every_cluster(tmp_path: Path) -> None:
    check_twice(tmp_path, seeded_flow(tmp_path / "flow.csv"))


@pytest.mark.skipif(
    not REAL_FLOW.exists(),
    reason=f"{REAL_FLOW.name} is not beside the project (its owner licenses no redistribution)",
)
def test_real_order_flow_gives_the_same_digest_in_every_cluster(tmp_path: Path) -> None:
    check_twice(tmp_path, REAL_FLOW)

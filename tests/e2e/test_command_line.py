"""The command line against real nodes: the demo as a newcomer starts it, real flow replayed."""

import json
import random
import re
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

from tests.e2e.cluster import Cluster, running_cluster
from tests.outside_data import DIRECTORY, needs

REAL_FLOW = "AAPL_2012-06-21_first999_message_10.csv"  # its owner licenses no redistribution
COMMAND_TIMEOUT_S = 180
COMMAND = (sys.executable, "-m", "raftbook_cli.main")


def raftbook(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line; both outputs are captured."""
    command = [*COMMAND, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S)


def test_the_demo_kills_its_leader_and_loses_nothing(tmp_path: Path) -> None:
    done = raftbook("demo", "--seconds", "12", "--no-browser", "--dir", str(tmp_path / "demo"))

    assert done.returncode == 0, done.stdout + done.stderr
    told = done.stdout + done.stderr
    assert "trade in it yourself: http://127.0.0.1:" in told
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


@needs(REAL_FLOW)
def test_real_order_flow_gives_the_same_digest_in_every_cluster(tmp_path: Path) -> None:
    check_twice(tmp_path, DIRECTORY / REAL_FLOW)


def test_orders_stop_when_nobody_reads_their_results(tmp_path: Path) -> None:
    with running_cluster(tmp_path) as cluster:
        line = '{"side": "buy", "symbol": "BTC-USD", "qty": "1", "price": "10"}\n'
        (tmp_path / "orders").write_text(line * 30_000)
        config = ("--config", str(cluster.config.path))
        with (
            open(tmp_path / "orders", "rb") as orders,
            subprocess.Popen(
                [*COMMAND, *config, "order", "-"],
                stdin=orders, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            ) as process,
        ):  # fmt: skip
            assert process.stdout is not None
            assert process.stderr is not None
            assert process.stdout.readline().startswith(b"line 1: order 1  NEW")
            process.stdout.close()
            said = process.stderr.read().decode()
            assert process.wait(COMMAND_TIMEOUT_S) == 5
        assert "nobody reads the results any more: " in said
        assert "Traceback" not in said and "Exception" not in said, said
        (sent,) = re.findall(r"nothing after line (\d+) was sent", said)
        assert 0 < cluster.query(1, "status")["orders"] <= int(sent) < 30_000


def test_an_order_says_truly_what_became_of_it_while_nodes_hang(tmp_path: Path) -> None:
    with running_cluster(tmp_path, timings={"read_age_max_ms": 600_000}) as cluster:
        leader = cluster.wait_leader()
        others = [node_id for node_id in cluster.ids if node_id != leader]
        config = ("--config", str(cluster.config.path))
        for node_id in others:
            cluster.freeze(node_id)
        for where in ((), ("--node", str(leader))):
            done = raftbook(*config, "order", "buy", "BTC-USD", "1@10", *where)
            assert done.returncode == 4, done.stderr
            assert "not accepted: not sent: " in done.stderr
            assert "may" not in done.stderr.partition("retry with")[0]
        # Under an id that was given, an earlier command may have been what nobody answers for now.
        given = raftbook(*config, "order", "buy", "BTC-USD", "1@10", "--client-id", "mine")
        assert given.returncode == 5, given.stderr
        assert "outcome unknown: request 1 may have been sent before: " in given.stderr
        assert "retry safely with:  raftbook" in given.stderr and "--client-id mine" in given.stderr
        hung = raftbook(*config, "order", "buy", "BTC-USD", "1@10", "--node", str(others[0]))
        assert hung.returncode == 3, hung.stderr
        assert "did not greet in time" in hung.stderr
        for node_id in others:
            cluster.thaw(node_id)
        cluster.wait_leader()
        assert cluster.query(leader, "status")["orders"] == 0


def test_verify_with_a_node_down_compares_the_others(tmp_path: Path) -> None:
    with running_cluster(tmp_path) as cluster:
        config = ("--config", str(cluster.config.path), "-o", "json")
        cluster.kill(3)
        cluster.wait_leader(1, 2)
        done = raftbook(*config, "cluster", "verify")
        verdict = json.loads(done.stdout)
        assert done.returncode == 0, done.stderr
        assert (verdict["ok"], sorted(verdict["digests"])) == (True, ["1", "2"])
        assert verdict["unreachable"] == [3]
        cluster.kill(2)
        done = raftbook(*config, "cluster", "verify")
        assert done.returncode == 4
        assert json.loads(done.stdout)["ok"] is False
        cluster.kill(1)
        assert raftbook(*config, "cluster", "verify").returncode == 3

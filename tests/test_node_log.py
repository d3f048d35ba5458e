"""What a node logs: one line an occurrence, for people or for programs."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from raftbook.node_log import configure_log
from raftbook.node_members import follow_members
from raftbook.replica.reports import Reports
from tests.replica.harness import Cluster


@pytest.fixture(autouse=True)
def keep_root() -> Iterator[None]:
    root = logging.getLogger()
    kept = root.level, list(root.handlers)
    yield
    root.setLevel(kept[0])
    root.handlers[:] = kept[1]


def say_something() -> None:
    reports = Reports(2, lambda node_id: f"node {node_id} (10.0.0.{node_id}:7000)")
    reports.stands("follower", 3, 1, 17)
    reports.stands("follower", 3, 1, 17)


def test_as_json_a_line_carries_the_event_and_its_fields(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_log("json", 2)
    say_something()
    (line,) = capsys.readouterr().err.splitlines()
    said = json.loads(line)
    assert said.pop("time").endswith("Z")
    assert said == {
        "level": "info",
        "node": 2,
        "logger": "raftbook.replica",
        "message": "node 2 (10.0.0.2:7000) follows node 1 (10.0.0.1:7000) in term 3",
        "event": "following",
        "term": 3,
        "last_index": 17,
        "leader_id": 1,
    }


def test_members_are_one_line_with_their_event(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Links:
        def update(self, *addresses: object) -> None:
            pass

    cluster = Cluster(tmp_path)
    configure_log("json", 1)
    follow_members(cluster[1], Links())  # type: ignore[arg-type]
    cluster.elect(1)
    cluster.run(1)
    said = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    (told,) = (line for line in said if line.get("event") == "members")
    assert (told["voters"], told["learners"]) == ([1, 2, 3], [])


def test_as_text_a_line_is_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    configure_log("text", 2)
    say_something()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("INFO node 2 (10.0.0.2:7000) follows node 1 (10.0.0.1:7000) in term 3")


def test_elections_leaders_snapshots_and_fences_are_each_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "raftbook.replica")
    cluster = Cluster(tmp_path)
    cluster.elect(1)
    session = cluster.open_session(1)
    cluster.order(1, session, 1)
    cluster.run(1)
    cluster.compact(1)
    cluster.run(1)
    cluster.crash(1)
    leader = cluster.await_leader()
    cluster.run(1)
    cluster.disks[leader].refuse = lambda log: "disk full"
    cluster.order(leader, session, 2)
    cluster.run(2)
    said = [
        (record.event, record.getMessage())
        for record in caplog.records
        if record.name == "raftbook.replica" and hasattr(record, "event")
    ]
    events = Counter(event for event, _ in said)
    assert len(said) == len(set(said))  # nothing twice
    assert events["fenced"] == 1
    assert events["snapshot_started"] == events["snapshot_written"] == 2
    assert events["leading"] == 2  # node 1, and who came after it; the third has no quorum
    assert events["following"] == 3
    assert ("leading", "node 1 leads term 1 from entry 3 on") in said
    assert ("following", "node 3 follows node 1 in term 1") in said

"""Reading stopped nodes' directories: time travel, digests, and the first difference."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.demo_proof import search_journals
from cli.invocation import Invocation
from cli.main import run
from raftbook.config import ClusterConfig, load_config, render_config
from raftbook.core.commands import cancel_order, new_order, open_session, place_order
from raftbook.core.types import Side, TimeInForce
from raftbook.genesis import genesis_digest, genesis_of
from raftbook.replica.machine import Machine
from raftbook.replica.shipping import write_snapshot
from raftbook.storage.journal import Journal, JournalIdentity
from raftbook.storage.snapshots import SnapshotStore
from tests.cli.market import TERM, Market

NOOP = (2, 1, b"\x01")


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ClusterConfig:
    monkeypatch.chdir(tmp_path)
    Path("cluster.toml").write_text(render_config())
    return load_config(Path("cluster.toml"))


def market_with_orders(config: ClusterConfig, *prices: int) -> Market:
    """Entry 3 opens a session, then one order an entry: 4, 5, ..."""
    market = Market(config, is_old=True)
    market.append(0, 0, [(10, "demo", "k")])
    for number, price in enumerate(prices, start=1):
        order = new_order("BTC-USD", Side.BUY, 1, price, client_order_id=f"o{number}")
        market.append(1, number, [order])
    return market


def write_journal(
    config: ClusterConfig, node_id: int, entries: list[tuple[int, int, bytes]]
) -> Path:
    directory = Path(f"node-{node_id}")
    identity = JournalIdentity(config.cluster_id, node_id, genesis_digest(config))
    journal = Journal.open(directory, identity)
    journal.set_vote(TERM, node_id)
    for index, term, payload in entries:
        journal.append(payload, index, term)
    journal.sync()
    journal.close()
    return directory


def compact(
    config: ClusterConfig,
    directory: Path,
    entries: list[tuple[int, int, bytes]],
    *,
    node_id: int = 1,
) -> None:
    """A snapshot after the last of `entries`; the log before it goes."""
    machine = Machine(genesis_of(config), entries_kept=1)
    for index, term, payload in entries:
        machine.apply(index, term, payload)
    digest = genesis_digest(config)
    store = SnapshotStore(
        directory / "snapshots", cluster_id=config.cluster_id, genesis_digest=digest
    )
    index, term, _ = entries[-1]
    write_snapshot(machine, store, index, term)
    journal = Journal.open(directory, JournalIdentity(config.cluster_id, node_id, digest))
    journal.trim_to(index)
    journal.sync()
    journal.close()


def answer(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = run(["log", *words], invocation=Invocation(environ={}))
    out, err = capsys.readouterr()
    return int(code), out, err


def digest_of(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    code, out, err = answer(capsys, "digest", *words, "-o", "json")
    assert code == 0, err
    digest: str = json.loads(out)["digest"]
    return digest


def test_digest_is_that_of_the_exchange(
    config: ClusterConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    market = market_with_orders(config, 100, 101, 102)
    directory = write_journal(config, 1, [NOOP, *market.payloads])
    assert digest_of(capsys, str(directory)) == market.machine.exchange.digest.value()


def test_time_travel_stops_after_the_entry_asked_for(
    config: ClusterConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    market = market_with_orders(config, 100, 101, 102)
    directory = write_journal(config, 1, [NOOP, *market.payloads])
    then = market.machine.digest_at(5)
    assert digest_of(capsys, str(directory), "--until", "5") == then
    code, out, _ = answer(capsys, "digest", str(directory), "--until", "5")
    assert (code, out) == (0, f"index 5: {then}  (2 instruments, 2 resting orders)\n")


def test_snapshot_stands_in_for_what_was_compacted(
    config: ClusterConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    market = market_with_orders(config, 100, 101, 102)
    entries = [NOOP, *market.payloads]
    directory = write_journal(config, 1, entries)
    compact(config, directory, entries[:4])
    assert digest_of(capsys, str(directory)) == market.machine.digest_at(6)
    assert digest_of(capsys, str(directory), "--until", "5") == market.machine.digest_at(5)
    code, _, err = answer(capsys, "digest", str(directory), "--until", "4")
    assert code == 2
    assert "index 4 is out of reach; it covers 5 to 6" in err


def test_reading_changes_nothing(config: ClusterConfig, capsys: pytest.CaptureFixture[str]) -> None:
    market = market_with_orders(config, 100, 101, 102)
    entries = [NOOP, *market.payloads]
    directory = write_journal(config, 1, entries)
    compact(config, directory, entries[:4])
    (directory / "snapshots" / "snapshot-00000000000000000009-4.raftbook.aa.tmp").touch()
    before = {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    digest_of(capsys, str(directory))
    assert {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()} == before


def test_damaged_snapshot_is_passed_over_and_said(
    config: ClusterConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    market = market_with_orders(config, 100, 101)
    entries = [NOOP, *market.payloads]
    directory = write_journal(config, 1, entries)
    compact(config, directory, entries[:3])
    (snapshot,) = directory.rglob("snapshot-*")
    content = bytearray(snapshot.read_bytes())
    content[-1] ^= 1
    snapshot.write_bytes(bytes(content))
    code, _, err = answer(capsys, "digest", str(directory))
    assert code == 2
    assert "no usable snapshot" in err


def test_dump_names_what_was_asked_and_answered(
    config: ClusterConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    market = market_with_orders(config, 100)
    directory = write_journal(config, 1, [NOOP, *market.payloads])
    code, out, _ = answer(capsys, "dump", str(directory), "-o", "jsonl")
    noop, opened, ordered = map(json.loads, out.splitlines())
    assert code == 0
    assert noop == {"schema": "raftbook/v1", "index": 2, "term": 1, "raft": True}
    assert opened["requests"][0]["events"][0]["event"] == "session_opened"
    (request,) = ordered["requests"]
    assert ordered["time"] == "2026-01-01T00:00:00.004000000Z"
    assert ordered["time_ns"] == 1_767_225_600_004_000_000
    assert request["commands"][0]["price"] == "1.00"
    assert request["commands"][0]["order_qty"] == "0.001"
    assert request["events"][0]["event"] == "accepted"
    assert request["events"][0]["order_id"] == 1


def test_raw_dump_needs_no_configuration(
    config: ClusterConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    market = market_with_orders(config, 100, 101)
    directory = write_journal(config, 1, [NOOP, *market.payloads])
    config.path.unlink()
    only = ("--from", "4", "--until", "4", "-o", "jsonl")
    code, out, _ = answer(capsys, "dump", str(directory), "--raw", *only)
    (line,) = map(json.loads, out.splitlines())
    assert code == 0
    assert line["index"] == 4
    assert "events" not in line["requests"][0]


def test_dump_is_one_document_or_lines_as_it_is_asked_for(
    config: ClusterConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    market = market_with_orders(config, 100)
    market.append(1, 2, [(3, 1, "", 5, 99)])  # amends: more, and a tick less
    market.append(1, 3, [(3, 0, "o1", None, 10**12)])  # by its client's name, beyond every price
    directory = write_journal(config, 1, [NOOP, *market.payloads])
    _, lines, _ = answer(capsys, "dump", str(directory), "-o", "jsonl")
    _, whole, _ = answer(capsys, "dump", str(directory), "-o", "json")
    document = json.loads(whole)
    entries = [json.loads(line) for line in lines.splitlines()]
    for entry in entries:
        del entry["schema"]
    assert document == {"schema": "raftbook/v1", "entries": entries}
    _, nothing, _ = answer(capsys, "dump", str(directory), "--from", "9", "-o", "json", "--raw")
    assert json.loads(nothing) == {"schema": "raftbook/v1", "entries": []}
    code, out, err = answer(capsys, "dump", str(directory))
    assert (code, err) == (0, "")
    assert out == (Path(__file__).parent / "log_dump.txt").read_text()


def test_equal_logs_are_equal_as_far_as_both_reach(
    config: ClusterConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    entries = [NOOP, *market_with_orders(config, 100, 101, 102).payloads]
    one = write_journal(config, 1, entries)
    two = write_journal(config, 2, entries[:-1])
    assert answer(capsys, "diff", str(one), str(two)) == (0, "equal up to index 5\n", "")


def test_diff_finds_the_first_entry_that_differs(
    config: ClusterConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    one = write_journal(config, 1, [NOOP, *market_with_orders(config, 100, 101, 102).payloads])
    two = write_journal(config, 2, [NOOP, *market_with_orders(config, 100, 999, 102).payloads])
    code, out, _ = answer(capsys, "diff", str(one), str(two))
    assert code == 6
    assert out == "index 5: node-1 and node-2 hold different entries of term 4\n"
    assert answer(capsys, "diff", str(one), str(two), "--until", "4")[0] == 0


def test_diff_sees_different_books_under_equal_logs(
    config: ClusterConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both compacted; one snapshot was made from another past."""
    true = [NOOP, *market_with_orders(config, 100, 101, 102).payloads]
    false = [NOOP, *market_with_orders(config, 100, 999, 102).payloads]
    one = write_journal(config, 1, true)
    compact(config, one, true[:4])
    two = write_journal(config, 2, true)
    compact(config, two, false[:4], node_id=2)
    code, out, _ = answer(capsys, "diff", str(one), str(two))
    assert code == 6
    assert out == "index 5: node-1 and node-2 hold the same entries but different books\n"


def test_wrong_directories_are_explained(
    config: ClusterConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    write_journal(config, 1, [NOOP])
    code, _, err = answer(capsys, "digest", ".")
    assert code == 2
    assert ". holds node-1: name one of them" in err
    Path("empty").mkdir()
    code, _, err = answer(capsys, "digest", "empty")
    assert code == 2
    assert (
        "empty is no node's directory, it holds no journal.sqlite3: name one such as data/node-1"
        in err
    )
    assert answer(capsys, "diff", "node-1")[0] == 2


def test_another_clusters_configuration_is_refused(
    config: ClusterConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = write_journal(config, 1, [NOOP])
    Path("cluster.toml").write_text(render_config(cluster_id="another-1"))
    code, _, err = answer(capsys, "digest", str(directory))
    assert code == 2
    assert "is of cluster 'demo-1', cluster.toml describes 'another-1'" in err


# -- the proof at the end of a demo -----------------------------------------------------------


def test_proof_finds_every_acknowledged_order(config: ClusterConfig) -> None:
    entries = [NOOP, *market_with_orders(config, 100, 101).payloads]
    directories = [write_journal(config, node_id, entries) for node_id in (1, 2)]
    acknowledged = {1: ("demo", "o1"), 2: ("demo", "o2")}
    assert search_journals(directories, config, acknowledged) == (0, 0)


def test_proof_sees_a_lost_order(config: ClusterConfig) -> None:
    entries = [NOOP, *market_with_orders(config, 100, 101).payloads]
    one = write_journal(config, 1, entries)
    two = write_journal(config, 2, entries[:-1])
    acknowledged = {1: ("demo", "o1"), 2: ("demo", "o2")}
    assert search_journals([one, two], config, acknowledged) == (1, 0)


def test_proof_sees_another_order_in_the_place_of_the_acknowledged(config: ClusterConfig) -> None:
    directory = write_journal(config, 1, [NOOP, *market_with_orders(config, 100).payloads])
    assert search_journals([directory], config, {1: ("demo", "mine")}) == (1, 0)


def test_what_nobody_asked_for_stands_without_a_request(
    config: ClusterConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    market = Market(config)
    market.append(0, 0, [open_session("demo", "k")])
    expiring = {"time_in_force": TimeInForce.GTD, "expire_time_ns": market.wall_ns + 10**9}
    market.append(1, 1, [place_order("BTC-USD", Side.BUY, 5, 100, display_qty=2, **expiring)])
    market.wait(2.0)
    market.append(1, 2, [cancel_order(order_id=77)])
    directory = str(write_journal(config, 1, [NOOP, *market.payloads]))
    code, out, _ = answer(capsys, "dump", directory)
    assert code == 0
    lines = out.splitlines()
    at = lines.index("  unasked")
    assert "says expired" in lines[at + 1]
    assert "display_qty=0.002" in lines[at + 1]
    assert lines[at + 2] == "  session 1 request 2"
    code, out, _ = answer(capsys, "dump", directory, "-o", "jsonl")
    unasked, asked = json.loads(out.splitlines()[-1])["requests"]
    assert "request_seq" not in unasked
    assert (unasked["commands"], unasked["events"][0]["reason"]) == ([], "TIME_IS_UP")
    assert asked["events"][0]["event"] == "cancel_rejected"

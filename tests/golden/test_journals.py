"""Journals written by older versions: each leads to the digest it had then, for ever.

A difference here means that a node replaced by this version would differ from the others, or could
not read its own disk. It is never mended by a new golden journal: see `core/versions.py`.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from cli.data_directory import DataDirectory
from cli.main import run
from raftbook.config import load_config
from raftbook.core import commands as c
from raftbook.core import events as e
from raftbook.core.conditions import OrderConditions
from raftbook.core.invariants import check
from raftbook.core.types import (
    OrderType,
    Phase,
    PostOnly,
    Reject,
    SelfTradePrevention,
    TimeInForce,
)
from raftbook.core.versions import ENGINE_VERSION
from raftbook.genesis import genesis_digest, genesis_of
from raftbook.storage.snapshots import SnapshotStore
from raftbook.wire.entry import REGULAR, unpack_entry
from tests.e2e.cluster import PATIENCE_S, Wire, until
from tests.e2e.ports import free_ports
from tests.golden.write_journal import JOURNALS, file_digests, write

FOLDERS = sorted(path for path in JOURNALS.iterdir() if path.is_dir())


@pytest.fixture(params=FOLDERS, ids=lambda folder: str(folder.name))
def golden(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy that a test may do anything with."""
    folder = tmp_path / "golden"
    shutil.copytree(request.param, folder)
    return folder


def expected_of(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / "expected.json").read_text())
    return document


def test_no_golden_journal_was_changed(golden: Path) -> None:
    assert file_digests(golden) == expected_of(golden)["files"]


def test_there_is_one_of_this_engine_version() -> None:
    """After ENGINE_VERSION was raised: python -m tests.golden.write_journal"""
    versions = [expected_of(folder)["engine_version"] for folder in FOLDERS]
    assert max(versions) == ENGINE_VERSION


@pytest.mark.parametrize("from_snapshot", [True, False])
def test_the_log_leads_to_the_same_state(golden: Path, from_snapshot: bool) -> None:
    expected, last = expected_of(golden), 0
    if not from_snapshot:
        shutil.rmtree(golden / "node-1" / "snapshots")
    genesis = genesis_of(load_config(golden / "cluster.toml"))
    source = DataDirectory(golden / "node-1")
    assert source.reach == (1, expected["index"])
    for index, digest in expected["digests"].items():
        machine = source.machine_at(int(index), genesis)
        assert machine.exchange.digest.value() == digest, index
        last = int(index)
    assert (last, source.skipped) == (expected["index"], {})
    assert machine.state_digest() == expected["state_digest"]
    assert machine.exchange.engine_version == expected["engine_version"]


def test_log_digest_says_the_same(golden: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = expected_of(golden)
    config = ["--config", str(golden / "cluster.toml"), "-o", "json"]
    assert run(["log", "digest", str(golden / "node-1"), *config]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["index"], said["digest"]) == (
        expected["index"],
        expected["digests"][str(expected["index"])],
    )


def test_a_node_starts_on_it_and_goes_on(golden: Path) -> None:
    expected = expected_of(golden)
    path = golden / "cluster.toml"
    # The log of a cluster that was founded says where its node listens: those ports must be free.
    ports = dict(zip((7001, 7101, 8001), free_ports(3), strict=True))
    text = path.read_text()
    path.write_text(re.sub(r"\b(7001|7101|8001)\b", lambda m: str(ports[int(m[0])]), text))
    client_port = load_config(path).node(1).client_port
    shutil.move(golden / "node-1", golden / "data" / "node-1")
    secret = golden / "cluster.secret"
    secret.write_text("ab" * 32)
    secret.chmod(0o600)
    command = [
        sys.executable,
        "-m",
        "raftbook_cli.main",
        "node",
        "--config",
        str(path),
        "--id",
        "1",
    ]
    with open(golden / "log", "wb") as log:
        node = subprocess.Popen(command, stdout=log, stderr=log, cwd=golden)
    try:
        status = until("the node has applied its log", lambda: _settled(client_port, expected))
        assert status["fenced"] is None
        with Wire(client_port) as wire:
            wire.greet("op")
            digest = wire.query("digest", index=expected["index"])["digest"]
            index = wire.query("snapshot")["snapshot_index"]
        assert digest == expected["digests"][str(expected["index"])]
        store = _store(path, golden / "data" / "node-1" / "snapshots")
        newest = store.newest()
        assert newest is not None
        # It is alone, so it has gone over to the newest rules after what it found.
        assert (newest.index, newest.engine_version) == (index, ENGINE_VERSION)
        is_as_it_was = newest.state_digest == expected["state_digest"]
        assert is_as_it_was == (expected["engine_version"] == ENGINE_VERSION)
        with Wire(client_port) as wire:
            assert wire.greet("a", "goes-on") > 0
    finally:
        node.send_signal(signal.SIGTERM)
        assert node.wait(PATIENCE_S) == 0, (golden / "log").read_text()


def _settled(port: int, expected: dict[str, Any]) -> dict[str, Any] | None:
    with Wire(port) as wire:
        wire.greet()
        status: dict[str, Any] = wire.query("status")
    has_gone_on = status["applied_index"] > expected["index"]
    return status if has_gone_on and status["engine_version"] == ENGINE_VERSION else None


def _store(path: Path, directory: Path) -> SnapshotStore:
    config = load_config(path)
    return SnapshotStore(
        directory, cluster_id=config.cluster_id, genesis_digest=genesis_digest(config)
    )


@dataclass
class Contents:
    """What stands in a journal, and what it leads to."""

    commands: set[int] = field(default_factory=set)
    events: set[int] = field(default_factory=set)
    kinds: set[tuple[int, ...]] = field(default_factory=set)
    conditions: set[int] = field(default_factory=set)
    phases: set[int] = field(default_factory=set)
    refused: set[int] = field(default_factory=set)
    reasons: set[int] = field(default_factory=set)
    repeated: int = 0
    unasked: int = 0


def contents_of(folder: Path) -> Contents:
    found = Contents()
    genesis = genesis_of(load_config(folder / "cluster.toml"))
    source = DataDirectory(folder / "node-1")
    for entry in source.entries(1, source.last):
        if entry.payload[:1] == REGULAR:
            for _, _, said in unpack_entry(entry.index, entry.payload[1:]).requests:
                found.commands |= {each[0] for each in said}
    source._headers.clear()  # the whole log, not from the snapshot on
    for _, applied, exchange in source.replay(2, source.last, genesis):
        for reply in applied.replies if applied else ():
            found.repeated += reply[5]
            found.unasked += reply[1] == e.UNASKED
            for event in reply[4]:
                _look_at(event, found)
        found.phases |= {book.phase for book in exchange.books.values()}
    return found


def _look_at(event: Any, found: Contents) -> None:
    found.events.add(event[0])
    if event[0] == e.ACCEPTED:
        found.kinds.add(event[2][4])
        for conditions in event[2][7:]:
            found.conditions |= {at for at, value in enumerate(conditions) if value}
    elif event[0] in (e.REJECTED, e.CANCEL_REJECTED):
        found.refused.add(event[2])
    elif event[0] in (e.CANCELED, e.EXPIRED):
        found.reasons.add(event[6])


def test_the_first_one_holds_all_that_engine_version_1_does() -> None:
    """A journal in which nothing happens would prove nothing."""
    found = contents_of(FOLDERS[0])
    assert found.commands >= {c.NEW_ORDER, c.CANCEL_ORDER, c.AMEND_ORDER, c.OPEN_SESSION} | {
        c.CLOSE_SESSION,
        c.CREATE_INSTRUMENT,
        c.SET_PHASE,
    }
    assert found.events >= set(range(e.ACCEPTED, e.PHASE_CHANGED + 1))
    assert {kind[:3] for kind in found.kinds} == {
        (side, *sort) for side in (1, 2) for sort in ((1, 3), (1, 4), (2, 1), (2, 3), (2, 4))
    }
    assert {kind[4] for kind in found.kinds} == {0, 1, 2, 3, 4}
    assert {kind[3] for kind in found.kinds} == {0, 1}
    assert found.phases == {Phase.CONTINUOUS, Phase.HALTED, Phase.CANCEL_ONLY, Phase.CLOSED}
    assert len(found.refused) >= 20, sorted(Reject(code).name for code in found.refused)
    assert found.repeated > 5


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal of the writer as it is now."""
    folder = tmp_path_factory.mktemp("golden") / "next"
    write(folder)
    return folder


def test_the_writer_has_all_that_newer_engine_versions_do_happen(fresh: Path) -> None:
    found = contents_of(fresh)
    kinds = {value for name, value in vars(c).items() if name.isupper() and type(value) is int}
    kinds -= {c.NO_SESSION}
    assert len(kinds) > 25
    assert found.commands >= kinds, kinds - found.commands
    events = set(range(e.ACCEPTED, e.API_KEY_SET + 1))
    assert found.events >= events, events - found.events
    assert {kind[1] for kind in found.kinds} == {int(each) for each in OrderType}
    assert {kind[2] for kind in found.kinds} == {int(each) for each in TimeInForce}
    assert {kind[3] for kind in found.kinds} == {int(each) for each in PostOnly}
    assert {kind[4] for kind in found.kinds} == {int(each) for each in SelfTradePrevention}
    assert found.conditions == set(range(len(OrderConditions._fields)))
    assert found.phases == {int(phase) for phase in Phase}
    assert len(found.refused) >= 40, sorted(Reject(code).name for code in found.refused)
    assert found.reasons >= {
        Reject.OCO_DONE,
        Reject.MASS_CANCEL,
        Reject.DISCONNECTED,
        Reject.TIME_IS_UP,
        Reject.MIN_QTY_NOT_MET,
        Reject.FILL_LIMIT,
        Reject.SELF_TRADE,
    }
    assert found.repeated > 5 and found.unasked > 20


def test_the_writer_writes_what_a_reader_reads(fresh: Path) -> None:
    expected = expected_of(fresh)
    genesis = genesis_of(load_config(fresh / "cluster.toml"))
    machine = DataDirectory(fresh / "node-1").machine_at(expected["index"], genesis)
    assert machine.state_digest() == expected["state_digest"]
    check(machine.exchange)
    with pytest.raises(FileExistsError):
        write(fresh)

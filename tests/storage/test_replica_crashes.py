"""A whole replica crashed at every operation on its disk: no acknowledged order is ever lost.

One node is a cluster of its own here, so nobody catches it up: what its disk says is all there is.
Journal, snapshots, trimming and the fitting of one to the other at a start are the production
classes; only the clock is virtual. HYPOTHESIS_PROFILE=long tries every operation.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import pytest

from raftbook.replica import replica as replica_module
from raftbook.storage import journal as journal_module
from raftbook.storage.journal import Journal, JournalIdentity
from tests.replica.harness import BOUNDS, Cluster
from tests.storage.crash_disk import Disk, Image, Op
from tests.storage.lives import put_image
from tests.storage.recorder import Recorder

LONG = os.environ.get("HYPOTHESIS_PROFILE", "quick") == "long"
ORDERS = 24
SESSION = 1
IDENTITY = JournalIdentity(cluster_id="test", node_id=1, genesis_digest="00")
SMALL_BOUNDS = replace(BOUNDS, snapshot_every_entries=5)


class Told(NamedTuple):
    """What clients were told so far, and what they may come to see."""

    acknowledged: frozenset[str]
    sent: frozenset[str]


class Lived(NamedTuple):
    """A recorded life and the digest after each entry of it."""

    ops: list[Op]
    digests: dict[int, str]


class Journals:
    """Opens the node's journal on the disk of a test, and closes what was opened."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._opened: list[Journal] = []

    def __call__(self, node_id: int) -> Journal:
        journal = Journal.open(self._directory / "node", IDENTITY, incarnation="c0ffee")
        self._opened.append(journal)
        return journal

    def close(self) -> None:
        for journal in self._opened:
            journal.close()


@pytest.fixture(autouse=True)
def small_steps() -> Iterator[None]:
    """Checkpoints and trimming within a few orders."""
    with (
        mock.patch.multiple(journal_module, TRIM_ROWS_PER_SYNC=1, CHECKPOINT_WAL_BYTES=60_000),
        mock.patch.object(replica_module, "LOG_KEPT_ENTRIES", 2),
    ):
        yield


def name(number: int) -> str:
    """As the harness calls the order of a request."""
    return f"{SESSION}-{number}"


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Lived:
    directory = tmp_path_factory.mktemp("life")
    put_image(directory, {})
    recorder = Recorder(directory)
    with (
        mock.patch.multiple(journal_module, TRIM_ROWS_PER_SYNC=1, CHECKPOINT_WAL_BYTES=60_000),
        mock.patch.object(replica_module, "LOG_KEPT_ENTRIES", 2),
        recorder.recording(),
    ):
        journals = Journals(directory)
        cluster = Cluster(directory, 1, bounds=SMALL_BOUNDS, open_log=journals)
        cluster.await_leader()
        assert cluster.open_session(1) == SESSION
        sent, acknowledged = set(), set()
        for number in range(2, 2 + ORDERS):
            sent.add(name(number))
            recorder.mark(Told(frozenset(acknowledged), frozenset(sent)))
            waiter = cluster.order(1, SESSION, number)
            cluster.run_until(lambda waiter=waiter: waiter.answers)
            assert waiter.acknowledged
            acknowledged.add(name(number))
            recorder.mark(Told(frozenset(acknowledged), frozenset(sent)))
        machine = cluster[1].machine
        first, last = machine.digests_kept()
        digests = {index: machine.digest_at(index) for index in range(first, last + 1)}
        assert cluster[1].fenced is None
        cluster.crash(1)
        journals.close()
    assert sum(op.kind == "rename" and "snapshot" in op.path for op in recorder.ops) >= 4
    return Lived(recorder.ops, digests)


def check(directory: Path, image: Image, told: Told, digests: dict[int, str]) -> None:
    """Starts a node on these files: all that was acknowledged is in its book, once."""
    put_image(directory, image)
    journals = Journals(directory)
    cluster = Cluster(directory, 1, bounds=SMALL_BOUNDS, open_log=journals)
    recovered = cluster[1].last_index
    try:
        cluster.await_leader()
        assert cluster[1].fenced is None, cluster[1].fenced
        book = cluster.book(1)
        assert told.acknowledged <= book.keys() <= told.sent, book
        assert set(book.values()) <= {1}
        machine = cluster[1].machine
        first, _ = machine.digests_kept()
        for index in range(first, recovered + 1):
            assert machine.digest_at(index) == digests[index], index
        session = cluster.open_session(1, key="after")
        cluster.order(1, session, 1)
        cluster.run(0.1)
        assert cluster.book(1)[f"{session}-1"] == 1
    finally:
        cluster.crash(1)
        journals.close()


@pytest.mark.parametrize("kind", ["killed", "power lost"])
def test_no_acknowledged_order_is_lost(lived: Lived, tmp_path: Path, kind: str) -> None:
    disk, told = Disk(), Told(frozenset(), frozenset())
    rng = random.Random(11)
    tried = 0
    for number, op in enumerate(lived.ops):
        disk.apply(op)
        told = op.data if op.kind == "mark" else told
        if not LONG and rng.random() < 0.8:
            continue
        images = [disk.cached] if kind == "killed" else disk.after_power_loss(rng, count=1)
        for image in images:
            try:
                check(tmp_path / "crash", image, told, lived.digests)
            except BaseException as error:
                error.add_note(f"{kind} after operation {number}: {op[:3]}")
                raise
            tried += 1
    assert tried > 40


def test_a_node_that_acknowledges_too_early_is_found_out(lived: Lived, tmp_path: Path) -> None:
    disk, told = Disk(), Told(frozenset(), frozenset())
    for op in lived.ops:
        disk.apply(op)
        told = op.data if op.kind == "mark" else told
        if told.sent and told.acknowledged != told.sent:
            break
    with pytest.raises(AssertionError):
        check(tmp_path, disk.cached, told._replace(acknowledged=told.sent), lived.digests)

"""Snapshots by a forked child, and what happens when there can be none."""

from __future__ import annotations

import errno
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from raftbook.replica.machine import Machine
from raftbook.replica.shipping import CHILD_S_MAX, ForkedMaker
from raftbook.storage.snapshots import SnapshotStore
from tests.replica.harness import BOUNDS, GENESIS, Clock, Cluster
from tests.replica.test_shipping import fill, names


@pytest.fixture
def store(tmp_path: Path) -> SnapshotStore:
    return SnapshotStore(tmp_path / "snapshots", cluster_id="test", genesis_digest="00")


def wait(maker: ForkedMaker) -> bool:
    deadline = time.monotonic() + 30
    while (result := maker.poll()) is None:
        assert time.monotonic() < deadline, "the child does not end"
        time.sleep(0.005)
    return result


def test_a_child_writes_the_state_as_it_was_and_says_so_once(store: SnapshotStore) -> None:
    machine = Machine(GENESIS, entries_kept=10)
    maker = ForkedMaker(machine, store)
    maker.start(7, 2)
    assert wait(maker)
    assert maker.poll() is None
    header = store.newest()
    assert header is not None and (header.index, header.term) == (7, 2)
    store.load(header)


@pytest.mark.parametrize("code", [errno.EAGAIN, errno.ENOMEM])
def test_a_fork_that_fails_is_a_snapshot_that_fails_and_the_next_may_succeed(
    store: SnapshotStore,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    code: int,
) -> None:
    def fail() -> int:
        raise OSError(code, os.strerror(code))

    maker = ForkedMaker(Machine(GENESIS, entries_kept=10), store)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fork", fail)
        maker.start(7, 2)
        assert maker.poll() is False
        assert maker.poll() is None
    assert f"no process for snapshot 7: [Errno {code}]" in caplog.text
    maker.start(8, 2)
    assert wait(maker)


def test_a_child_that_is_killed_is_a_snapshot_that_failed(store: SnapshotStore) -> None:
    machine = Machine(GENESIS, entries_kept=10)
    machine.state_digest = lambda: time.sleep(60) or ""  # type: ignore[method-assign]
    maker = ForkedMaker(machine, store)
    maker.start(7, 2)
    assert maker._child is not None
    os.kill(maker._child, signal.SIGKILL)
    assert wait(maker) is False


def test_a_child_that_hangs_is_ended_in_the_end_and_the_next_snapshot_succeeds(
    store: SnapshotStore, caplog: pytest.LogCaptureFixture
) -> None:
    machine, clock = Machine(GENESIS, entries_kept=10), Clock()
    maker = ForkedMaker(machine, store, clock=clock)
    machine.state_digest = lambda: signal.pause() or ""  # type: ignore[method-assign]
    maker.start(7, 2)
    clock.now += CHILD_S_MAX
    assert maker.poll() is None
    assert "hangs" not in caplog.text
    clock.now += 1
    assert wait(maker) is False
    assert caplog.text.count("hangs, and is ended") == 1
    del machine.state_digest  # type: ignore[method-assign]
    maker.start(8, 2)
    assert wait(maker)


def test_a_node_without_processes_keeps_its_log_and_tries_again_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cluster = Cluster(tmp_path, size=1, bounds=replace(BOUNDS, snapshot_every_entries=10))
    cluster.elect(1)
    replica = cluster[1]
    good = replica._maker
    bad = ForkedMaker(replica.machine, cluster.snapshots(1))
    bad.start = lambda index, term: setattr(bad, "_could_not_fork", True)  # type: ignore[method-assign]
    replica._compaction._maker = bad
    session = cluster.open_session(1)
    fill(cluster, session, range(1, 25))
    cluster.run(0.1)
    assert replica.fenced is None
    assert replica.snapshot_index == 0
    assert len(replica._log.entries) > 24
    failures = caplog.text.count("could not be written; the log is kept whole")
    assert failures == 2  # at each ten entries, and not at every turn
    replica._compaction._maker = good
    fill(cluster, session, range(25, 40))
    cluster.run(0.1)
    assert replica.snapshot_index > 24
    cluster.restart(1)
    cluster.run(2)
    assert cluster.book(1) == names(session, range(1, 40))

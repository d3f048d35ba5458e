"""An operator's changes: what is reported as done is done."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from raftbook.replica.administration import Administration, OutcomeOpen
from raftbook.replica.membership import Member
from tests.replica.harness import Cluster


def test_a_change_that_another_leaders_replaced_is_not_reported_as_done(tmp_path: Path) -> None:
    """1. node 1 writes an addition that reaches nobody; 2. node 2 leads, and its own change takes
    that place in the log; 3. node 1, which still waits for its entry, hears of that."""
    cluster = Cluster(tmp_path, size=4)
    cluster.elect(1)
    cluster.run(0.2)
    cluster.new_machine(5, start=False)
    operator = Administration(cluster[1], lambda: None, commit_s=60, hand_over_s=1)

    async def add() -> None:
        asked = asyncio.create_task(operator.add(Member(5, "host", 5, 105)))
        await asyncio.sleep(0)  # the entry is written
        cluster.network.cut([1], [2, 3, 4])
        cluster.turn(1)
        cluster.run(2)
        cluster.elect(2)
        cluster.run(0.2)
        cluster.remove(4)
        cluster.run(0.2)
        cluster.network.heal()
        cluster.run(1)
        assert cluster[1].raft.committed_membership.ids == (1, 2, 3)
        await asked

    with pytest.raises(OutcomeOpen):
        asyncio.run(add())


def test_a_change_whose_sync_failed_is_not_reported_as_done(tmp_path: Path) -> None:
    """A lone voter's own disk is the majority, and it has refused."""
    cluster = Cluster(tmp_path, size=1)
    cluster.await_leader()
    operator = Administration(cluster[1], lambda: None, commit_s=60, hand_over_s=1)

    async def add() -> None:
        asked = asyncio.create_task(operator.add(Member(2, "host", 2, 102)))
        await asyncio.sleep(0)  # the entry is written
        cluster.disks[1].refuse = lambda log: "no power"
        cluster.turn(1)
        assert cluster[1].fenced
        await asked

    with pytest.raises(OutcomeOpen):
        asyncio.run(add())

"""Everything that can be traded, by several clients, while the leader is killed twice."""

import asyncio
from collections import Counter
from pathlib import Path

from raftbook.core import events as e
from raftbook.core.exchange import Exchange
from raftbook.genesis import genesis_of
from raftbook.storage.journal import read_journal
from raftbook.wire.entry import REGULAR, unpack_entry
from tests.checkers.witness import check_witness
from tests.e2e import venue
from tests.e2e.cluster import Cluster, running_cluster

KINDS = {
    e.TRADE,
    e.CANCELED,
    e.EXPIRED,
    e.REPLACED,
    e.TRIGGERED,
    e.REFILLED,
    e.UNCROSSED,
    e.BALANCE_CHANGED,
    e.ACCOUNT_CHANGED,
    e.MASS_CANCELED,
    e.SESSION_ATTACHED,
}
"""What must have been told for the run to have been about anything."""


def _entries(cluster: Cluster, node_id: int, until_index: int) -> list[e.Any]:
    contents = read_journal(cluster.directory(node_id))
    assert contents.entries[0][1] == 1, "the journal was trimmed: raise snapshot_every_entries"
    return [
        unpack_entry(index, payload[1:])
        for payload, index, _ in contents.entries
        if payload[:1] == REGULAR and index <= until_index
    ]


def test_every_kind_of_order_survives_two_failovers(tmp_path: Path) -> None:
    with running_cluster(
        tmp_path, accounts=venue.ACCOUNTS, instruments=(), bounds=venue.BOUNDS
    ) as (cluster):
        load = venue.VenueLoad(cluster, seed=1)

        async def scene() -> None:
            await load.build()
            trading = asyncio.create_task(load.run())
            for _ in range(2):
                await load.wait(150)
                killed = await asyncio.to_thread(cluster.wait_leader)
                cluster.kill(killed)
                await load.wait(100)
                assert await asyncio.to_thread(cluster.wait_leader) != killed
                cluster.start(killed)
                await asyncio.to_thread(cluster.wait_up, killed)
            await load.wait(100)
            load.finish()
            await trading
            assert await load.repeat(via=cluster.ids[-1]) > 200

        asyncio.run(scene())
        index, digest = cluster.settle()
        for node_id in cluster.ids:
            cluster.kill(node_id)
        logs = [_entries(cluster, node_id, index) for node_id in cluster.ids]
        assert logs[0] == logs[1] == logs[2]
        verdict = check_witness(load.recorder.history, logs[0], genesis_of(cluster.config))
        assert verdict.violations == []
        assert (verdict.digest, verdict.acknowledged) == (digest, load.acknowledged)
        told = _told(cluster, logs[0])
        assert set(told) >= KINDS, f"never told: {KINDS - set(told)}"


def _told(cluster: Cluster, entries: list[e.Any]) -> Counter[int]:
    """How often each kind of event stands in the log's replies."""
    exchange = Exchange(genesis_of(cluster.config))
    return Counter(
        event[0] for entry in entries for reply in exchange.apply(entry) for event in reply[4]
    )

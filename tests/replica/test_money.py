"""Money that a cluster is born with: restarted, installed or upgraded, it is there once."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from raftbook.core import commands as c
from raftbook.core import events as e
from raftbook.core.exchange import Exchange, Genesis
from raftbook.core.invariants import check
from raftbook.core.limits import Limits
from raftbook.core.snapshot import export_state, restore_state, state_digest
from raftbook.core.types import Phase, Settlement, Side
from raftbook.errors import ProtocolError
from raftbook.replica import replica as replica_module
from raftbook.replica import upgrade
from raftbook.replica.machine import Machine
from raftbook.wire.packing import pack
from tests.replica.harness import OIL, Cluster

FUNDED = OIL._replace(settlement=int(Settlement.FUNDED), taker_fee=500)
RICH = Genesis(
    (FUNDED,),
    (("ann", True), ("bob", False)),
    Limits(reply_window=8),
    currencies=(("eur", 2), ("oil", 0)),
    deposits=(("ann", "eur", 10_000), ("bob", "eur", 5), ("ann", "oil", 40)),
    groups=(("bob", "desk"),),
)
PLAIN = Genesis((OIL,), (("ann", True), ("bob", False)), Limits(reply_window=8))


def money(exchange: Exchange) -> dict[str, Any]:
    """All that there is, and whose it is."""
    check(exchange)
    balances = {
        (name, currency): (balance.available, balance.held)
        for name, account in exchange.accounts.items()
        for currency, balance in account.balances.items()
        if balance.available or balance.held
    }
    return {
        "balances": balances,
        "supply": dict(exchange.money.supply),
        "fees": dict(exchange.money.fees),
        "groups": {name: each.group_name for name, each in exchange.accounts.items()},
    }


def trade(cluster: Cluster, session: int, first_seq: int) -> None:
    """Ann trades with herself, which moves fees, and leaves a hold."""
    for at, command in enumerate(
        (
            c.new_order("OIL", Side.SELL, 2, 10),
            c.new_order("OIL", Side.BUY, 2, 10),
            c.new_order("OIL", Side.BUY, 1, 3),
        )
    ):
        waiter = cluster.submit(1, session, first_seq + at, command)
        cluster.run_until(lambda waiter=waiter: waiter.answers)
        assert waiter.reply is not None
        assert waiter.reply[4][0][0] == e.ACCEPTED


def each_money(cluster: Cluster) -> list[dict[str, Any]]:
    return [money(replica.machine.exchange) for replica in cluster.replicas.values()]


def test_it_is_there_at_once_under_engine_version_2() -> None:
    exchange = Exchange(RICH)
    assert exchange.engine_version == 2
    assert money(exchange)["balances"] == {
        ("ann", "eur"): (10_000, 0),
        ("bob", "eur"): (5, 0),
        ("ann", "oil"): (40, 0),
    }
    assert money(exchange)["supply"] == {"eur": 10_005, "oil": 40}
    assert money(exchange)["groups"] == {"ann": "", "bob": "desk"}


def test_a_restart_from_the_log_alone_gives_it_once(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, genesis=RICH)
    cluster.elect(1)
    trade(cluster, cluster.open_session(1), 1)
    (before, *others) = each_money(cluster)
    assert others == [before, before] and before["fees"]["eur"] > 0
    assert before["balances"][("ann", "eur")][1] > 0
    for node_id in cluster.node_ids:
        cluster.restart(node_id)
    cluster.await_leader()
    cluster.run(1.0)
    assert each_money(cluster) == [before] * 3
    cluster.check_agreement()


def test_a_restart_from_a_snapshot_gives_it_once(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, genesis=RICH)
    cluster.elect(1)
    session = cluster.open_session(1)
    trade(cluster, session, 1)
    cluster.compact(2)
    newest = cluster.snapshots(2).newest()
    assert newest is not None and newest.engine_version == 2
    before = each_money(cluster)[0]
    machine = cluster.restart(2).machine
    assert machine.exchange.applied_index >= newest.index - 1
    cluster.run(1.0)
    assert each_money(cluster) == [before] * 3
    trade(cluster, session, 4)
    cluster.run(0.5)
    (after, *others) = each_money(cluster)
    assert others == [after, after] != [before, before]
    cluster.check_agreement()


def test_a_node_that_lost_its_disk_gets_it_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replica_module, "LOG_KEPT_ENTRIES", 0)
    cluster = Cluster(tmp_path, genesis=RICH)
    cluster.elect(1)
    trade(cluster, cluster.open_session(1), 1)
    for node_id in cluster.node_ids:
        cluster.compact(node_id)
    before = each_money(cluster)[0]
    cluster.crash(3)
    cluster.wipe(3)
    cluster.start(3)
    applied_index = cluster[1].raft.applied_index
    cluster.run_until(lambda: cluster[3].raft.applied_index >= applied_index)
    assert each_money(cluster) == [before] * 3


def test_a_state_of_version_1_cannot_have_been_of_a_cluster_with_money() -> None:
    """Restored, its money would be gone: no build ever wrote one, and none is taken."""
    value = export_state(Exchange(PLAIN))
    assert value[:2] == (1, 1)
    with pytest.raises(AssertionError, match="state of engine version 1, born with 2"):
        restore_state(RICH, value)
    machine = Machine(RICH, entries_kept=9)
    digest = state_digest(Exchange(PLAIN))
    with pytest.raises(ProtocolError, match="born with 2"):
        machine.restore(pack((value, None)), index=2, expected_state_digest=digest)
    assert money(machine.exchange)["supply"] == {"eur": 10_005, "oil": 40}


def test_money_of_a_cluster_that_went_over_survives_snapshots_of_both_versions(
    tmp_path: Path,
) -> None:
    cluster = Cluster(tmp_path, genesis=PLAIN)
    with mock.patch.object(upgrade, "ENGINE_VERSION", 1):
        cluster.elect(1)
        session = cluster.open_session(1)
        cluster.order(1, session, 1)
        cluster.settle()
        cluster.compact(2)
        newest = cluster.snapshots(2).newest()
        assert newest is not None and newest.engine_version == 1
    cluster.restart(2)
    for peer_id in (2, 3):
        cluster[1].connected(peer_id, engine_version=2)
    cluster.run(0.3)
    commands = [
        c.create_currency("eur", 2),
        c.create_currency("oil", 0),
        c.deposit("ann", "eur", 10_000, "t1"),
        c.deposit("ann", "oil", 40, "t2"),
        c.set_phase("OIL", Phase.CLOSED),
        c.list_instrument(FUNDED._replace(symbol="OIL2")),
        c.new_order("OIL2", Side.BUY, 1, 3),
    ]
    for at, command in enumerate(commands):
        waiter = cluster.submit(1, session, 2 + at, command)
        cluster.run_until(lambda waiter=waiter: waiter.answers)
        assert waiter.acknowledged, waiter.reply
    before = each_money(cluster)[0]
    assert before["supply"] == {"eur": 10_000, "oil": 40}
    cluster.restart(2)  # from version 1, and the log since
    cluster.run(1.0)
    assert each_money(cluster) == [before] * 3
    cluster.compact(2)
    newest = cluster.snapshots(2).newest()
    assert newest is not None and newest.engine_version == 2
    cluster.restart(2)
    cluster.run(1.0)
    assert each_money(cluster) == [before] * 3
    cluster.check_agreement()


def test_the_state_digest_tells_whose_the_money_is() -> None:
    one, other = Exchange(RICH), Exchange(RICH)
    assert state_digest(one) == state_digest(other)
    for name, amount in (("ann", -1), ("bob", 1)):
        other.accounts[name].balance("eur").available += amount
    check(other)
    assert state_digest(one) != state_digest(other)

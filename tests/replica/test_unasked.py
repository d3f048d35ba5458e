"""What time brings in a market where nobody trades: on time, by the leader, the same everywhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from raftbook.core import commands as c
from raftbook.core import events as e
from raftbook.core.commands import NO_SESSION
from raftbook.core.exchange import Genesis
from raftbook.core.limits import Limits
from raftbook.core.types import OrderType, Phase, Reject, Side, TimeInForce
from raftbook.replica.unasked import QUIET_STEP_S
from raftbook.wire.entry import REGULAR, unpack_entry
from tests.replica.harness import OIL, Cluster

NS = 1_000_000_000
PAGE = 2
PATIENT_S = 0.1
"""What is due is done within a few steps and a round trip."""
LIMITS = Limits(
    reply_window=1_024, cancel_page=PAGE, expiries_page=PAGE, triggers_max=PAGE, fills_max=100
)
GENESIS = Genesis((OIL,), (("ann", True), ("bob", False)), LIMITS, currencies=(("eur", 2),))


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    cluster = Cluster(tmp_path, genesis=GENESIS)
    cluster.elect(1)
    return cluster


def wall_ns(cluster: Cluster, after_s: float = 0.0) -> int:
    return int((cluster.clock.now + after_s) * NS)


def do(cluster: Cluster, session: int, seq: int, *commands: c.Command) -> list[Any]:
    """A request through node 2, which follows; its events."""
    waiter = cluster.submit(2, session, seq, *commands)
    cluster.run_until(lambda: waiter.answers)
    assert waiter.reply is not None, waiter.refusals
    assert all(event[0] not in (e.REJECTED, e.CANCEL_REJECTED) for event in waiter.reply[4])
    return waiter.reply[4]


def unasked(cluster: Cluster, node_id: int = 3) -> Iterator[tuple[int, Any]]:
    """(index, event) of all that a node was told without a request."""
    for applied in cluster[node_id].machine.recent:
        for reply in applied.replies:
            if reply[:2] == (NO_SESSION, e.UNASKED):
                yield from ((applied.index, event) for event in reply[4])


def empty_entries(cluster: Cluster) -> list[int]:
    return [
        index
        for payload, index, _ in cluster[2]._log.entries
        if payload[:1] == REGULAR and not unpack_entry(index, payload[1:]).requests
    ]


def bids(cluster: Cluster) -> list[int]:
    """Resting orders of each node."""
    return [each.machine.exchange.books["OIL"].resting_count for each in cluster.replicas.values()]


def buy(price: int = 10, *, after_s: float | None = None, cluster: Cluster) -> c.Command:
    if after_s is None:
        return c.new_order("OIL", Side.BUY, 1, price)
    expire_ns = wall_ns(cluster, after_s)
    return c.place_order(
        "OIL", Side.BUY, 1, price, time_in_force=TimeInForce.GTD, expire_time_ns=expire_ns
    )


def test_an_order_expires_on_time_in_a_quiet_market(cluster: Cluster) -> None:
    session = cluster.open_session(2)
    do(cluster, session, 1, buy(after_s=5.0, cluster=cluster))
    due_at = cluster.clock.now + 5.0
    cluster.run_until(lambda: cluster.clock.now >= due_at - 0.1)
    assert bids(cluster) == [1, 1, 1] and not list(unasked(cluster))
    cluster.run(0.1 + PATIENT_S)
    assert bids(cluster) == [0, 0, 0]
    ((_, event),) = unasked(cluster)
    assert (event[0], event[6]) == (e.EXPIRED, Reject.TIME_IS_UP)
    cluster.run(5.0)
    assert len(empty_entries(cluster)) == 1
    cluster.check_agreement()


def test_a_lease_that_nobody_renews_ends_on_time(cluster: Cluster) -> None:
    session = cluster.open_session(2)
    do(cluster, session, 1, c.attach_session(cancel_on_disconnect=True, lease_ms=1_500))
    do(cluster, session, 2, buy(cluster=cluster))
    cluster.run(1.3)
    assert bids(cluster) == [1, 1, 1]
    cluster.run(0.2 + PATIENT_S)
    assert bids(cluster) == [0, 0, 0]
    kinds = [event[0] for _, event in unasked(cluster)]
    assert kinds == [e.SESSION_LAPSED, e.MASS_CANCELED, e.CANCELED]
    cluster.run(5.0)
    # The first one is due a lease after the attaching, and finds that something was heard since.
    assert len(empty_entries(cluster)) == 2


def test_a_call_ends_on_time(cluster: Cluster) -> None:
    session = cluster.open_session(2)
    do(cluster, session, 1, c.call_auction("OIL", until_ns=wall_ns(cluster, 2.0)))
    do(cluster, session, 2, buy(cluster=cluster), c.new_order("OIL", Side.SELL, 1, 9))
    cluster.run(2.0 + PATIENT_S)
    assert {each.machine.exchange.books["OIL"].phase for each in cluster.replicas.values()} == {
        Phase.CONTINUOUS
    }
    assert [event[0] for _, event in unasked(cluster)] == [
        e.PHASE_CHANGED,
        e.AUCTION_TRADE,
        e.UNCROSSED,
    ]


def test_a_mass_cancel_of_many_pages_goes_on_at_once(cluster: Cluster) -> None:
    session = cluster.open_session(2)
    do(cluster, session, 1, *(buy(price, cluster=cluster) for price in range(1, 8)))
    do(cluster, session, 2, c.mass_cancel())
    cluster.settle()  # no time passes
    assert bids(cluster) == [0, 0, 0]
    pages: dict[int, int] = {}
    for index, event in unasked(cluster):
        pages[index] = pages.get(index, 0) + (event[0] == e.CANCELED)
    assert list(pages.values()) == [2, 2, 1]
    assert not cluster[1].machine.exchange.is_unfinished
    assert not cluster[1].needs_turn()


def test_a_day_of_many_pages_ends_at_once(cluster: Cluster) -> None:
    session = cluster.open_session(2)
    day = [
        c.place_order("OIL", Side.BUY, 1, price, time_in_force=TimeInForce.DAY)
        for price in range(1, 6)
    ]
    do(cluster, session, 1, *day)
    do(cluster, session, 2, c.roll_day())
    cluster.settle()
    assert bids(cluster) == [0, 0, 0]
    assert len(empty_entries(cluster)) == 2


def test_stops_beyond_their_bound_fire_with_the_next_entries(cluster: Cluster) -> None:
    session = cluster.open_session(2)
    stops = [
        c.place_order("OIL", Side.BUY, 1, 50, ord_type=OrderType.STOP_LIMIT, stop_price=20)
        for _ in range(5)
    ]
    do(cluster, session, 1, *stops)
    do(cluster, session, 2, c.new_order("OIL", Side.SELL, 1, 30), buy(30, cluster=cluster))
    cluster.settle()
    assert bids(cluster) == [5, 5, 5]
    fired = [event for _, event in unasked(cluster) if event[0] == e.TRIGGERED]
    assert len(fired) == 3
    cluster.check_agreement()


def test_followers_decide_nothing(cluster: Cluster) -> None:
    session = cluster.open_session(2)
    do(cluster, session, 1, buy(after_s=1.0, cluster=cluster))
    before = cluster[3].last_index
    cluster.crash(1)
    for way in ((2, 3), (3, 2)):
        cluster.network.hold(*way)  # nobody can be elected
    cluster.run(5.0)
    assert cluster[2].last_index == cluster[3].last_index == before
    assert bids(cluster) == [1, 1]


def test_a_new_leader_does_what_fell_due_meanwhile(cluster: Cluster) -> None:
    session = cluster.open_session(2)
    do(cluster, session, 1, buy(after_s=0.5, cluster=cluster))
    cluster.crash(1)
    cluster.run(1.0)
    cluster.await_leader()
    cluster.run(PATIENT_S)
    assert bids(cluster) == [0, 0]


def test_a_leader_that_cannot_commit_makes_one_entry_of_it(cluster: Cluster) -> None:
    session = cluster.open_session(2)
    do(cluster, session, 1, buy(after_s=0.2, cluster=cluster))
    before = cluster[1].last_index
    cluster.network.hold(2, 1)
    cluster.network.hold(3, 1)
    cluster.run(0.8)
    assert cluster[1].last_index <= before + 2  # and perhaps a digest check


def test_a_clock_that_is_days_ahead_brings_no_flood_of_what_falls_due(cluster: Cluster) -> None:
    session = cluster.open_session(2)
    do(cluster, session, 1, *(buy(after_s=20.0 * each, cluster=cluster) for each in range(1, 80)))
    began_at, before = cluster.clock.now, len(empty_entries(cluster))
    cluster[1]._wall_ns = lambda: wall_ns(cluster, 10 * 86_400.0)
    cluster.run(2.0)
    paced = (cluster.clock.now - began_at) / QUIET_STEP_S + 1
    pages = 79 // PAGE + 2  # those of one minute come two an entry
    assert 20 <= len(empty_entries(cluster)) - before <= paced + pages
    assert cluster[1].machine.exchange.now_ns <= wall_ns(cluster) + paced * 60 * NS


def test_a_leader_that_has_much_to_apply_asks_for_nothing_that_is_under_way(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An order's time comes while entries that bring it about are committed and not yet applied."""
    monkeypatch.setattr("raftbook.replica.raft.APPLY_S_PER_TURN_MAX", 0.0)
    session = cluster.open_session(2)
    do(cluster, session, 1, buy(after_s=0.5, cluster=cluster))
    acks = [(2, 1), (3, 1)]
    for way in acks:
        cluster.network.hold(*way)
    cluster.run(0.4)  # less than a leader goes on for without an answer
    for seq in range(2, 12):
        cluster.submit(1, session, seq, buy(cluster=cluster))
        cluster.turn(1)
    cluster.network.deliver_all()
    cluster.turn(2)
    cluster.turn(3)
    cluster.clock.now += 0.1
    for way in acks:
        cluster.network.release(*way)
    cluster.run(0.2)
    assert bids(cluster) == [10, 10, 10]
    assert len(empty_entries(cluster)) == 1

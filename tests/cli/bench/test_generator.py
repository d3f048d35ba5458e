"""The load of `raftbook bench`, against nodes that answer, refuse, or make it wait."""

import asyncio
import itertools
import time
from typing import Any

import pytest

from raftbook.errors import NoNodeReachable, ProtocolError
from raftbook_cli.bench import generator
from raftbook_cli.bench.generator import Load, Outcome, run_load
from tests.client.cluster import Cluster, in_loop


async def _load(cluster: Cluster, load: Load, **changes: Any) -> tuple[Outcome, list[float]]:
    took: list[float] = []
    wanted = {"account": "demo", "secret": "", "symbol": "BTC-USD", "middle": 400} | changes
    outcome = await run_load(load, cluster.addresses, **wanted, record=took.append)
    return outcome, took


@in_loop
async def test_every_acknowledged_order_is_in_the_book() -> None:
    async with Cluster(2) as cluster:
        load = Load(clients=3, per_request=5, in_flight=4, seconds=0.2)
        outcome, took = await _load(cluster, load)
        assert outcome.orders > 0
        assert outcome.errors == {}
        # All that was sent is answered, also what came when the time was over.
        assert cluster.orders_taken() == 5 * len(took) >= outcome.orders
        assert outcome.last_index == cluster.exchange.applied_index
        assert all(node.requests for node in cluster.nodes)


@in_loop
async def test_a_closed_loop_has_so_many_under_way_and_no_more() -> None:
    async with Cluster(1) as cluster:
        cluster.nodes[0].script = ["stall"] * 1_000
        load = Load(clients=2, per_request=1, in_flight=7, seconds=0.1)
        outcome, took = await _load_undrained(cluster, load)
        assert len(cluster.nodes[0].requests) == 2 * 7
        assert (outcome.orders, took) == (0, [])
        assert outcome.errors == {"unanswered": 14}


async def _load_undrained(cluster: Cluster, load: Load) -> tuple[Outcome, list[float]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(generator, "DRAIN_S", 0.05)
        return await _load(cluster, load)


@in_loop
async def test_refused_requests_are_errors_by_their_name_and_no_throughput() -> None:
    async with Cluster(1) as cluster:
        cluster.nodes[0].script = ["overloaded"] * 3 + ["no_leader"] * 2
        load = Load(clients=1, per_request=2, in_flight=5, seconds=0.1)
        outcome, took = await _load(cluster, load)
        assert outcome.errors == {"OVERLOADED": 3, "NO_LEADER": 2}
        assert cluster.orders_taken() == 2 * len(took)


@in_loop
async def test_what_the_market_refuses_is_counted() -> None:
    async with Cluster(1) as cluster:
        load = Load(clients=1, per_request=2, in_flight=1, seconds=0.05)
        outcome, took = await _load(cluster, load, symbol="NO-SUCH")
        assert outcome.rejected == 2 * len(took) > 0


@in_loop
async def test_an_open_loop_counts_from_when_a_request_was_due() -> None:
    async with Cluster(1) as cluster:
        node = cluster.nodes[0]
        calls = itertools.count()

        def stop_once() -> None:  # of the whole node, as a full disk queue would
            if next(calls) == 20:
                time.sleep(0.2)

        node.push = stop_once  # type: ignore[method-assign]
        load = Load(clients=1, per_request=1, in_flight=1, seconds=0.4, rate=500)
        outcome, took = await _load(cluster, load)
        assert outcome.errors == {}
        # 100 requests became due while nothing went on. A load that waits for answers would have
        # one slow request; here half of those waited for more than half of that time.
        assert sum(1 for each in took if each > 0.1) >= 45
        assert len(took) == 200


@in_loop
async def test_requests_of_an_open_loop_are_due_at_equal_distances() -> None:
    class Recorder:
        def __init__(self) -> None:
            self.due: list[float] = []

        def send(self, at: float) -> None:
            self.due.append(at)

    recorders = [Recorder(), Recorder()]
    loop = asyncio.get_running_loop()
    await generator._at_rate(recorders, 1_000, loop.time() + 0.1)  # type: ignore[arg-type]
    due = sorted(at for recorder in recorders for at in recorder.due)
    assert len(due) == pytest.approx(100, abs=1)
    distances = [later - earlier for earlier, later in itertools.pairwise(due)]
    assert distances == pytest.approx([0.001] * len(distances), abs=1e-6)
    assert abs(len(recorders[0].due) - len(recorders[1].due)) <= 1


@in_loop
async def test_a_node_that_does_not_let_it_in() -> None:
    async with Cluster(1, secret="s3cret") as cluster:
        load = Load(clients=1, per_request=1, in_flight=1, seconds=0.1)
        with pytest.raises(ProtocolError, match="wrong secret"):
            await _load(cluster, load)
        outcome, _ = await _load(cluster, load, secret="s3cret")
        assert outcome.orders > 0
    with pytest.raises(NoNodeReachable):
        await _load(cluster, load)

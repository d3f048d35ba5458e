"""Both clients against nodes that fail: whatever happens, each order takes effect exactly once."""

import asyncio
from typing import Any

import pytest

from raftbook.client import Refused
from raftbook.core.commands import new_order
from raftbook.core.types import Reject, Side
from raftbook.errors import NoNodeReachable, NotAccepted, OutcomeUnknown, RaftbookError
from tests.client.cluster import Cluster, client_of, in_loop

both = pytest.mark.parametrize("kind", ["async", "sync"])

# What the exchange has seen before the answer was lost, and so what the second reply is.
FAULTS = {
    "drop_before": False,
    "drop_after": True,
    "no_leader": False,
    "overloaded": False,
    "not_ready": False,
    "unknown": False,
    "unknown_applied": True,
    "stall": False,
    "stall_applied": True,
    "half": True,
    "garbage": True,
    "poison": False,
}


def buy(qty: int = 1, price: int = 400) -> tuple[Any, ...]:
    return new_order("BTC-USD", Side.BUY, qty, price)


@both
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("nodes", [1, 2])
@in_loop
async def test_one_fault_costs_no_order_and_doubles_none(kind: str, fault: str, nodes: int) -> None:
    async with Cluster(nodes) as cluster, client_of(kind, cluster) as client:
        cluster.nodes[0].script = [fault]
        reply = await client.request([buy()])
        assert reply.poss_dup is FAULTS[fault]
        assert [event[0] for event in reply.events] == [1]
        assert cluster.orders_taken() == 1


@both
@pytest.mark.parametrize("fault", FAULTS)
@in_loop
async def test_the_same_number_goes_to_the_next_node(kind: str, fault: str) -> None:
    async with Cluster(2) as cluster, client_of(kind, cluster) as client:
        cluster.nodes[0].script = [fault]
        reply = await client.request([buy()])
        # A busy node is asked again; every other fault sends the client on.
        assert reply.node_id == (1 if fault == "overloaded" else 2)
        sent = cluster.nodes[0].requests + cluster.nodes[1].requests
        assert sent == [(reply.session_id, reply.request_seq)] * 2


@both
@in_loop
async def test_many_faults_in_a_row(kind: str) -> None:
    async with Cluster(2) as cluster, client_of(kind, cluster, timeout_s=5.0) as client:
        cluster.nodes[0].script = ["drop_after", "garbage", "no_leader", "unknown"]
        cluster.nodes[1].script = ["half", "stall_applied", "overloaded", "drop_before"]
        for _ in range(3):
            await client.request([buy()])
        assert cluster.orders_taken() == 3


@both
@pytest.mark.parametrize("fault", ["drop_before", "unknown", "stall"])
@in_loop
async def test_the_deadline_names_the_number_to_repeat(kind: str, fault: str) -> None:
    async with Cluster(2) as cluster:
        client = client_of(kind, cluster, timeout_s=0.3, request_attempt_timeout_s=0.05)
        async with client:
            for node in cluster.nodes:
                node.script = [fault] * 1000
            with pytest.raises(OutcomeUnknown) as caught:
                await client.request([buy()])
            for node in cluster.nodes:
                node.script = []
            assert caught.value.request_seq == 1
            reply = await client.request([buy()], request_seq=1)
            assert (reply.request_seq, reply.poss_dup) == (1, False)
            again = await client.request([buy()], request_seq=1)
            assert (again.poss_dup, again.events) == (True, reply.events)
            assert cluster.orders_taken() == 1


@both
@in_loop
async def test_another_process_with_the_same_key_repeats_it(kind: str) -> None:
    async with Cluster(1) as cluster:
        cluster.nodes[0].script = ["stall_applied"]
        first = client_of(kind, cluster, session_key="a17", timeout_s=0.1)
        with pytest.raises(OutcomeUnknown):
            await first.request([buy()], request_seq=1)
        await first.close()
        async with client_of(kind, cluster, session_key="a17") as second:
            reply = await second.request([buy()], request_seq=1)
        assert reply.poss_dup is True
        assert cluster.orders_taken() == 1


@pytest.mark.parametrize("trouble", ["no leader", "no session", "refused for good", "nobody there"])
@both
@in_loop
async def test_a_repeat_without_an_answer_cannot_know_that_nothing_happened(
    kind: str, trouble: str
) -> None:
    async with Cluster(1) as cluster:
        (node,) = cluster.nodes
        node.script = ["stall_applied"]
        first = client_of(kind, cluster, session_key="a17", timeout_s=0.1)
        with pytest.raises(OutcomeUnknown):
            await first.request([buy()], request_seq=1)
        await first.close()
        async with client_of(kind, cluster, session_key="a17", timeout_s=0.3) as second:
            if trouble == "no leader":
                node.script = ["no_leader"] * 1000
            elif trouble == "no session":
                node.open_script = ["no_leader"] * 1000
            elif trouble == "refused for good":
                node.script = ["malformed"] * 1000
            else:
                await node.stop()
            with pytest.raises(OutcomeUnknown) as caught:
                await second.request([buy()], request_seq=1)
            assert caught.value.request_seq == 1
            # Who knows that nobody used the number is told what this attempt came to: mostly that
            # nothing happened, unless the time was up while it was on its way.
            with pytest.raises(RaftbookError) as told:
                await second.request([buy()], request_seq=2, is_first=True)
            assert "may have been sent before" not in str(told.value)
        if trouble == "nobody there":
            await node.start()
        node.script = node.open_script = []
        async with client_of(kind, cluster, session_key="a17") as third:
            assert (await third.request([buy()], request_seq=1)).poss_dup is True
        assert cluster.orders_taken() == 1


@both
@in_loop
async def test_a_known_key_leaves_room_for_requests_still_on_their_way(kind: str) -> None:
    async with Cluster(1) as cluster:
        async with client_of(kind, cluster, session_key="k") as client:
            assert (await client.request([buy()])).request_seq == 513
        async with client_of(kind, cluster, session_key="k") as client:
            assert (await client.request([buy()])).request_seq == 513 + 513


@both
@in_loop
async def test_once_in_doubt_a_free_refusal_does_not_clear_it(kind: str) -> None:
    async with Cluster(2) as cluster, client_of(kind, cluster, timeout_s=0.2) as client:
        cluster.nodes[0].script = ["drop_after"] + ["no_leader"] * 10_000
        cluster.nodes[1].script = ["no_leader"] * 10_000
        with pytest.raises(OutcomeUnknown):
            await client.request([buy()])
        assert cluster.orders_taken() == 1


@both
@in_loop
async def test_a_final_refusal_is_told_at_once(kind: str) -> None:
    async with Cluster(2) as cluster, client_of(kind, cluster) as client:
        cluster.nodes[0].script = ["malformed"]
        with pytest.raises(Refused) as caught:
            await client.request([buy()])
        assert (caught.value.code, caught.value.reject_name) == (Reject.MALFORMED, "MALFORMED")
        assert cluster.nodes[1].requests == []


@both
@in_loop
async def test_no_node_at_all(kind: str) -> None:
    async with Cluster(2) as cluster:
        addresses = cluster.addresses
    client = client_of(kind, cluster, nodes=addresses, timeout_s=0.1)
    with pytest.raises(NoNodeReachable, match="connection refused"):
        await client.request([buy()])
    with pytest.raises(NoNodeReachable):
        await client.connect()
    await client.close()


@both
@in_loop
async def test_a_dead_node_is_passed_over(kind: str) -> None:
    told: list[str] = []
    async with Cluster(3) as cluster:
        await cluster.nodes[0].stop()
        cluster.nodes[1].greeting = b"HTTP/1.1 400 Bad Request\r\n\r\n"
        async with client_of(kind, cluster, on_progress=told.append) as client:
            assert client.node == 3
    assert "connection refused" in told[0]
    assert "spoke out of protocol" in told[1]


@both
@in_loop
async def test_another_cluster_is_never_asked_to_repeat(kind: str) -> None:
    async with Cluster(2) as cluster, client_of(kind, cluster, timeout_s=0.3) as client:
        cluster.nodes[1].cluster_id = "other-1"
        cluster.nodes[0].script = ["drop_before"]
        assert (await client.request([buy()])).node_id == 1
        assert cluster.nodes[1].requests == []


@both
@pytest.mark.parametrize("fault", ["drop", "stall", "no_leader", "unknown"])
@in_loop
async def test_opening_a_session_survives_faults(kind: str, fault: str) -> None:
    async with Cluster(2) as cluster, client_of(kind, cluster) as client:
        cluster.nodes[0].open_script = [fault]
        assert (await client.request([buy()])).session_id == 1
        assert len(cluster.exchange.sessions.by_id) == 1


@both
@in_loop
async def test_a_session_that_cannot_be_opened_is_a_refusal(kind: str) -> None:
    async with Cluster(1) as cluster, client_of(kind, cluster, account="nobody") as client:
        with pytest.raises(Refused) as caught:
            await client.request([buy()])
        assert caught.value.reject_name == "UNKNOWN_ACCOUNT"


@both
@in_loop
async def test_a_wrong_secret_is_a_refusal_that_says_so(kind: str) -> None:
    async with Cluster(2, secret="s3cret") as cluster:
        async with client_of(kind, cluster, secret="s3cret") as client:
            assert client.is_operator is True
        stranger = client_of(kind, cluster, secret="guess")
        with pytest.raises(Refused, match="did not let account 'demo' in: wrong secret"):
            await stranger.request([buy()])
        await stranger.close()


@both
@in_loop
async def test_a_login_that_fails_for_now_goes_to_the_next_node(kind: str) -> None:
    async with Cluster(2) as cluster:
        cluster.nodes[0].login_code = int(Reject.NOT_READY)
        async with client_of(kind, cluster) as client:
            assert client.node == 2


@both
@in_loop
async def test_an_evicted_session_is_replaced_when_nothing_was_applied(kind: str) -> None:
    async with Cluster(1) as cluster, client_of(kind, cluster) as client:
        await client.request([buy()])
        cluster.forget_sessions()
        reply = await client.request([buy()])
        # The old session's numbers are not used again, so a repeated one would be recognised.
        assert (reply.session_id, reply.request_seq) == (2, 3)
        assert cluster.orders_taken() == 2
        with pytest.raises(OutcomeUnknown):
            await client.request([buy()], request_seq=1)
        assert cluster.orders_taken() == 2


@both
@in_loop
async def test_an_evicted_session_leaves_a_lost_request_unknown(kind: str) -> None:
    async with Cluster(2) as cluster, client_of(kind, cluster) as client:
        await client.request([buy()])
        cluster.nodes[0].script = ["stall_applied"]
        cluster.nodes[1].open_script = []
        task = asyncio.ensure_future(client.request([buy()]))
        while cluster.orders_taken() < 2:
            await asyncio.sleep(0)
        cluster.forget_sessions()
        with pytest.raises(OutcomeUnknown) as caught:
            await task
        assert caught.value.request_seq == 2
        assert cluster.orders_taken() == 2


@both
@in_loop
async def test_a_node_that_restarts_is_found_again(kind: str) -> None:
    async with Cluster(1) as cluster, client_of(kind, cluster) as client:
        first = await client.request([buy()])
        await cluster.nodes[0].stop()
        await cluster.nodes[0].start()
        second = await client.request([buy()])
        assert second.session_id == first.session_id
        assert cluster.orders_taken() == 2


@both
@in_loop
async def test_an_idle_connection_that_died_is_noticed_before_it_is_trusted(kind: str) -> None:
    async with Cluster(1) as cluster, client_of(kind, cluster, timeout_s=0.1) as client:
        await client.request([buy()])
        await cluster.nodes[0].stop()
        while kind == "async" and client.node:
            await asyncio.sleep(0)  # the loop has yet to say so
        with pytest.raises(NoNodeReachable):
            await client.request([buy()])


@both
@in_loop
async def test_closing_forgets_an_own_session_and_no_other(kind: str) -> None:
    async with Cluster(1) as cluster:
        async with client_of(kind, cluster) as client:
            await client.request([buy()])
        assert len(cluster.exchange.sessions.by_id) == 0
        async with client_of(kind, cluster, session_key="kept") as client:
            await client.request([buy()])
        assert len(cluster.exchange.sessions.by_id) == 1
    with pytest.raises(NotAccepted, match="closed"):
        await client.request([buy()])


@both
@pytest.mark.parametrize("fault", ["drop", "stall", "no_leader", "unknown", "stale"])
@in_loop
async def test_a_query_is_asked_again(kind: str, fault: str) -> None:
    async with (
        Cluster(2) as cluster,
        client_of(kind, cluster, follows_members=False) as client,
    ):
        cluster.nodes[0].query_script = [fault]
        status = await client.status()
        assert status["node_id"] == (1 if fault == "stale" else 2)


@both
@in_loop
async def test_a_transfer_is_never_asked_twice(kind: str) -> None:
    async with (
        Cluster(2) as cluster,
        client_of(kind, cluster, follows_members=False) as client,
    ):
        cluster.nodes[0].query_script = ["drop"]
        with pytest.raises(OutcomeUnknown):
            await client.query("transfer", to=2)
        assert cluster.nodes[1].queries == []


@in_loop
async def test_pipelined_requests_keep_their_order_through_a_lost_connection() -> None:
    async with Cluster(2) as cluster, client_of("async", cluster) as client:
        cluster.nodes[0].script = ["ok"] * 10 + ["drop_after"]
        replies = await asyncio.gather(*(client.request([buy(price=400 + n)]) for n in range(50)))
        assert [reply.request_seq for reply in replies] == list(range(1, 51))
        assert [reply.events[0][2][6] for reply in replies] == [400 + n for n in range(50)]
        assert [reply.poss_dup for reply in replies] == [False] * 10 + [True] + [False] * 39
        assert cluster.orders_taken() == 50


@in_loop
async def test_pipelined_faults_of_every_kind() -> None:
    async with Cluster(2) as cluster, client_of("async", cluster, timeout_s=5.0) as client:
        faults = [fault for fault in FAULTS if not fault.startswith("stall")]
        cluster.nodes[0].script = [step for fault in faults for step in ("ok", fault)]
        cluster.nodes[1].script = [step for fault in faults[::-1] for step in ("ok", "ok", fault)]
        replies = await asyncio.gather(*(client.request([buy(price=400 + n)]) for n in range(200)))
        assert sorted(reply.events[0][2][6] for reply in replies) == [400 + n for n in range(200)]
        assert cluster.orders_taken() == 200


@in_loop
async def test_more_than_a_window_of_requests_at_once() -> None:
    async with Cluster(1) as cluster, client_of("async", cluster, timeout_s=5.0) as client:
        replies = await asyncio.gather(*(client.request([buy()]) for _ in range(3000)))
        assert len({reply.request_seq for reply in replies}) == 3000
        assert cluster.orders_taken() == 3000


@in_loop
async def test_an_eviction_in_the_middle_of_a_pipeline_keeps_the_order() -> None:
    async with Cluster(1) as cluster, client_of("async", cluster) as client:
        await client.request([buy()])
        cluster.forget_sessions()
        replies = await asyncio.gather(*(client.request([buy(price=500 + n)]) for n in range(20)))
        assert [reply.events[0][2][6] for reply in replies] == [500 + n for n in range(20)]
        assert [reply.events[0][2][0] for reply in replies] == list(range(2, 22))
        assert cluster.orders_taken() == 21


@in_loop
async def test_a_cancelled_call_leaves_the_client_usable() -> None:
    async with Cluster(1) as cluster, client_of("async", cluster) as client:
        cluster.nodes[0].script = ["stall"]
        task = asyncio.ensure_future(client.request([buy()]))
        while not cluster.nodes[0].requests:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await client.request([buy()])).request_seq == 2


@in_loop
async def test_closing_ends_calls_in_flight_honestly() -> None:
    async with Cluster(1) as cluster:
        client = client_of("async", cluster)
        cluster.nodes[0].script = ["stall"]
        task = asyncio.ensure_future(client.request([buy()]))
        while not cluster.nodes[0].requests:
            await asyncio.sleep(0)
        await client.close()
        with pytest.raises(OutcomeUnknown):
            await task

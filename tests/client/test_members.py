"""A client that outlives every node it was given: it learns who else there is."""

import random
from typing import Any

import pytest

from raftbook.client.conversation import MEMBERS_EVERY_S, PING_EVERY_S, Conversation
from raftbook.client.flow import Flow
from raftbook.client.members import KnownMembers
from raftbook.client.ring import NodeRing
from raftbook.client.settings import Settings
from raftbook.client.subscription import SubscriptionFlow
from raftbook.core.commands import new_order
from raftbook.core.types import Side
from raftbook.errors import NoNodeReachable, OutcomeUnknown
from raftbook.wire import client_messages as m
from raftbook.wire.framing import FrameReader, frame
from raftbook.wire.packing import pack
from tests.client.cluster import Cluster, client_of, in_loop
from tests.client.test_subscriptions import Reader

both = pytest.mark.parametrize("kind", ["async", "sync"])
BUY = new_order("BTC-USD", Side.BUY, 1, 400)


@both
@in_loop
async def test_a_client_goes_on_when_all_nodes_it_was_given_have_been_replaced(kind: str) -> None:
    async with Cluster(2) as cluster, client_of(kind, cluster) as client:
        first, second = cluster.nodes
        await client.request([BUY])
        third = await cluster.add_node()
        await cluster.remove_node(first)
        await client.request([BUY])  # at the second, which tells of the third
        fourth = await cluster.add_node()
        await cluster.remove_node(second)
        await client.request([BUY])  # at the third, which tells of the fourth
        await cluster.remove_node(third)
        await client.request([BUY])
        assert client.client.node == 4 if kind == "sync" else client.node == 4
        assert cluster.orders_taken() == 4
        # A stream that is begun now has never met any of the first two either.
        reader = Reader(client, "feed", symbol="BTC-USD", from_seq=1)
        assert [value[0] for value in await reader.take(4)] == [1, 2, 3, 4]
        await reader.close()
        assert fourth.connections == 2


@both
@in_loop
async def test_a_client_of_one_node_that_was_replaced_asks_it_by_whom(kind: str) -> None:
    """The node that left is fenced: it refuses every order, and can still be asked."""
    async with Cluster(1) as cluster, client_of(kind, cluster, timeout_s=30.0) as client:
        await client.request([BUY])
        await cluster.add_node()
        cluster.members.remove(cluster.nodes[0])
        cluster.nodes[0].script = ["not_ready"] * 1_000
        await client.request([BUY])
        assert cluster.nodes[1].requests == [(1, 2)]


@both
@in_loop
async def test_a_client_of_named_nodes_alone_asks_no_other(kind: str) -> None:
    async with Cluster(2) as cluster:
        nodes = cluster.addresses[:1]
        async with client_of(kind, cluster, nodes=nodes, follows_members=False) as client:
            await client.request([BUY])
            await cluster.nodes[0].stop()
            with pytest.raises((NoNodeReachable, OutcomeUnknown)):
                await client.request([BUY])
        assert [node.asked_for_members for node in cluster.nodes] == [0, 0]
        assert cluster.nodes[1].connections == 0


@both
@in_loop
async def test_a_stream_learns_by_itself(kind: str) -> None:
    async with Cluster(1) as cluster, client_of(kind, cluster) as client:
        reader = Reader(client, "feed", symbol="BTC-USD", from_seq=1)
        await cluster.add_node()
        await client.request([BUY])
        await reader.take(1)
        await cluster.remove_node(cluster.nodes[0])
        await client.request([BUY])
        assert [value[0] for value in await reader.take(1)] == [2]
        await reader.close()


@both
@in_loop
async def test_a_stream_that_a_replaced_node_turns_away_is_told_by_whom(kind: str) -> None:
    async with Cluster(1) as cluster, client_of("async", cluster) as trader:
        await trader.request([BUY])
        left = cluster.nodes[0]
        listener = client_of(kind, cluster)  # has said nothing to anybody yet
        come = await cluster.add_node()
        cluster.members.remove(left)
        left.turns_streams_away = True
        reader = Reader(listener, "feed", symbol="BTC-USD", from_seq=1)
        assert [value[0] for value in await reader.take(1)] == [1]
        assert len(come.subscribed) == 1
        await reader.close()


# -- when it is asked, without sockets ------------------------------------------------------------


def status(*ports: int, index: int = 1) -> dict[str, Any]:
    rows = [{"host": "h", "client_port": port} for port in ports]
    return {"applied_index": index, "members": rows}


def said(flow: Conversation) -> list[tuple[Any, ...]]:
    return [m.read_message(payload) for payload in FrameReader(1 << 24).feed(flow.take_outgoing())]


def hear(flow: Conversation, now: float, *messages: Any) -> None:
    flow.received(b"".join(frame(pack(message)) for message in messages), now)


WELCOME = (m.WELCOME, 1, "demo", "demo-1", 1, b"nonce")


def greeted(**fields: Any) -> Flow:
    settings = Settings([("h", 1)], rng=random.Random(1), follows_members=True, **fields)
    flow = Flow(settings)
    flow.connect(0.0)
    assert flow.dial(0.0) == ("h", 1)
    flow.connected(0.0)
    said(flow)
    hear(flow, 0.0, WELCOME)
    return flow


def listening(*given: int) -> SubscriptionFlow:
    """A stream that comes from the first of these nodes."""
    settings = Settings([("h", port) for port in given], rng=random.Random(1), follows_members=True)
    flow = SubscriptionFlow(settings, "feed", {"symbol": "BTC-USD", "from_seq": 1}, 0.0)
    assert flow.dial(0.0) == ("h", given[0])
    flow.connected(0.0)
    said(flow)
    hear(flow, 0.0, WELCOME)
    return flow


def test_members_are_asked_for_at_first_and_then_now_and_then() -> None:
    flow = greeted()
    (asked,) = said(flow)
    assert (asked[0], *asked[2:]) == (m.QUERY, "status", {})
    hear(flow, 0.1, (m.RESULT, asked[1], status(1, 2)))
    assert flow.settings.members.addresses == (("h", 1), ("h", 2))
    flow.wake(MEMBERS_EVERY_S - 0.1)
    assert said(flow) == []
    assert flow.wake_at == MEMBERS_EVERY_S
    flow.wake(MEMBERS_EVERY_S)
    (again,) = said(flow)
    assert (again[0], *again[2:]) == (m.QUERY, "status", {})
    hear(flow, MEMBERS_EVERY_S, (m.RESULT, again[1], status(3, 4, index=5)))
    assert flow.settings.members.addresses == (("h", 3), ("h", 4))


def test_a_node_that_does_not_answer_is_asked_once() -> None:
    """Its late answers would be as many; and its silence is noticed as any."""
    flow = greeted()
    (asked,) = said(flow)
    for times in (1, 2):
        flow.wake(times * MEMBERS_EVERY_S)
        assert said(flow) == []
    flow.wake(PING_EVERY_S)
    assert [message[0] for message in said(flow)] == [m.PING]
    hear(flow, PING_EVERY_S, (m.RESULT, asked[1], status(1, 2)), (m.PONG, 9))
    flow.wake(PING_EVERY_S + MEMBERS_EVERY_S)
    assert [message[0] for message in said(flow)] == [m.QUERY]


def test_a_long_stream_hears_of_members_that_come_while_others_go() -> None:
    """As in a chaos run: it came to node 8 when there was but one other, which was replaced, and
    half a minute later node 8 was gone too."""
    flow = listening(8, 1)

    def members(now: float) -> tuple[int, ...]:
        return (8, 9) if now < 2.5 else (8, 9, 10) if now < 22.5 else (8, 10, 11)

    now = 0.0
    while now < 27.0:
        for message in said(flow):
            if message[0] == m.SUBSCRIBE:
                hear(flow, now, (m.RESULT, message[1], {"subscription": 7}))
            elif message[0] == m.QUERY:
                told = status(*members(now), index=1 + int(now))
                hear(flow, now, (m.RESULT, message[1], told))
            else:
                hear(flow, now, (m.PONG, message[1]))
        now = min(27.0, flow.wake_at)
        flow.wake(now)
    flow.lost("the connection was lost", now)
    tried: list[int] = []
    while len(tried) < 5:
        flow.wake(now)
        address = flow.dial(now)
        if address is not None:
            tried.append(address[1])
            flow.connect_failed(ConnectionRefusedError(), now)
        now = max(now, flow.wake_at)
    # The one that it was given and never met, and all that it was told of last, round and round.
    assert tried == [1, 10, 11, 8, 1]


def test_a_node_that_cannot_say_who_the_members_are_is_no_trouble() -> None:
    flow = greeted()
    (asked,) = said(flow)
    hear(flow, 0.1, (m.FAILURE, asked[1], 903, "ask again"))
    assert flow.is_ready
    assert flow.settings.members.addresses == ()


@pytest.mark.parametrize(
    "told",
    [
        None,
        {},
        {"applied_index": 9},
        {"applied_index": 9, "members": ()},
        {"applied_index": "9", "members": ({"host": "h", "client_port": 5},)},
        {"applied_index": 9, "members": ({"host": "", "client_port": 5},)},
        {"applied_index": 9, "members": ({"host": "h", "client_port": 0},)},
        {"applied_index": 9, "members": ({"host": "h", "client_port": 5}, 7)},
        {"applied_index": 9, "members": ({"host": "h", "client_port": 5},) * 17},
        {"applied_index": 3, "members": ({"host": "h", "client_port": 5},)},
    ],
    ids=str,
)
def test_what_is_no_list_or_older_than_the_last_is_not_believed(told: Any) -> None:
    members = KnownMembers()
    members.take({"applied_index": 4, "members": ({"host": "h", "client_port": 4},)})
    members.take(told)
    assert members.addresses == (("h", 4),)


def test_members_are_tried_after_those_that_were_given_and_each_once() -> None:
    settings = Settings([("a", 1), ("b", 1)], rng=random.Random(1))
    ring = NodeRing(settings)
    assert not ring.is_alone
    settings.members.take(
        {
            "applied_index": 4,
            "members": tuple({"host": host, "client_port": 1} for host in ("b", "c", "d")),
        }
    )
    tried = []
    for _ in range(5):
        tried.append(ring.address[0])
        ring.failed("no", is_refusal=True)
    assert tried == ["a", "b", "c", "d", "a"]
    assert ring.all_refused
    # Node c, whose turn it is, has gone meanwhile.
    assert ring.failed("no") > 0.0
    assert ring.address == ("c", 1)
    settings.members.take({"applied_index": 5, "members": ({"host": "d", "client_port": 1},)})
    ring.failed("no")
    assert ring.address == ("a", 1)

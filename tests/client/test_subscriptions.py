"""Streams that go on at another node: nothing twice, nothing left out."""

import asyncio
from typing import Any

import pytest

from raftbook.client import AsyncClient, Client, Refused, aio_stream
from raftbook.client.settings import Settings
from raftbook.client.subscription import SubscriptionFlow
from raftbook.core.commands import new_order
from raftbook.core.types import Side
from raftbook.errors import NoNodeReachable, NotAccepted
from raftbook.wire import client_messages as m
from raftbook.wire.framing import frame
from raftbook.wire.packing import pack
from tests.client.cluster import Cluster, client_of, in_loop

both = pytest.mark.parametrize("kind", ["async", "sync"])


class Reader:
    """A subscription of either client, read the same way."""

    def __init__(self, client: Any, name: str, **arguments: Any) -> None:
        self.blocking = None if isinstance(client, AsyncClient) else client.client
        stream = (self.blocking or client).subscribe(name, **arguments)
        self.stream = stream

    async def take(self, count: int) -> list[Any]:
        if self.blocking is None:
            return [await anext(self.stream) for _ in range(count)]
        return await asyncio.to_thread(lambda: [next(self.stream) for _ in range(count)])

    async def close(self) -> None:
        if self.blocking is None:
            await self.stream.aclose()
        else:
            self.stream.close()


async def trade(client: Any, count: int) -> None:
    """Each order is one feed event and one entry."""
    for _ in range(count):
        await client.request([new_order("BTC-USD", Side.BUY, 1, 400)])


@both
@pytest.mark.parametrize("cut_after", [1, 2, 7])
@in_loop
async def test_a_feed_goes_on_at_the_next_node_without_gap_or_repeat(
    kind: str, cut_after: int
) -> None:
    async with Cluster(2) as cluster, client_of(kind, cluster) as client:
        await trade(client, 30)
        for node in cluster.nodes:
            node.push_limit = cut_after
        reader = Reader(client, "feed", symbol="BTC-USD", from_seq=1)
        assert [value[0] for value in await reader.take(30)] == list(range(1, 31))
        asked = sorted(
            arguments["from_seq"] for node in cluster.nodes for arguments in node.subscribed
        )
        assert asked[:3] == [1, 1 + cut_after, 1 + 2 * cut_after]
        await reader.close()


@both
@in_loop
async def test_a_feed_begins_with_the_book(kind: str) -> None:
    async with Cluster(2) as cluster, client_of(kind, cluster) as client:
        await trade(client, 3)
        reader = Reader(client, "feed", symbol="BTC-USD")
        (refresh,) = await reader.take(1)
        assert (refresh[0], refresh[1]["feed_seq"]) == ("refresh", 3)
        await trade(client, 2)
        assert [value[0] for value in await reader.take(2)] == [4, 5]
        await cluster.nodes[0].stop()
        await trade(client, 1)
        assert [value[0] for value in await reader.take(1)] == [6]
        await reader.close()


@both
@in_loop
async def test_entries_go_on_behind_the_last_index(kind: str) -> None:
    async with Cluster(2) as cluster, client_of(kind, cluster) as client:
        reader = Reader(client, "entries")
        taking = asyncio.ensure_future(reader.take(4))
        while not any(node.subscribed for node in cluster.nodes):
            await asyncio.sleep(0)
        await trade(client, 1)  # opens the session at entry 1
        await cluster.nodes[0].stop()
        await trade(client, 2)
        assert [value[0] for value in await taking] == [1, 2, 3, 4]
        await reader.close()


@both
@in_loop
async def test_a_stream_that_is_refused_says_why(kind: str) -> None:
    async with Cluster(1) as cluster, client_of(kind, cluster) as client:
        with pytest.raises(Refused, match="no such stream"):
            await Reader(client, "secrets").take(1)


@both
@in_loop
async def test_a_stream_ends_when_no_node_is_left(kind: str) -> None:
    async with Cluster(2) as cluster, client_of(kind, cluster, timeout_s=0.1) as client:
        await trade(client, 2)
        reader = Reader(client, "feed", symbol="BTC-USD", from_seq=1)
        assert len(await reader.take(2)) == 2
        for node in cluster.nodes:
            await node.stop()
        with pytest.raises(NoNodeReachable, match="connection refused"):
            await reader.take(1)


@in_loop
async def test_a_slow_reader_is_not_fed_without_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aio_stream, "VALUES_MAX", 4)
    async with Cluster(1) as cluster, client_of("async", cluster) as client:
        reader = Reader(client, "feed", symbol="BTC-USD", from_seq=1)
        await trade(client, 1)
        assert len(await reader.take(1)) == 1
        for _ in range(40):
            await trade(client, 1)
        assert len(reader.stream._flow.values) < 10
        assert [value[0] for value in await reader.take(40)] == list(range(2, 42))
        await reader.close()


@in_loop
async def test_a_stream_can_be_asked_without_waiting_long() -> None:
    async with Cluster(1) as cluster, client_of("async", cluster) as writer:
        await trade(writer, 1)
        client = Client(cluster.addresses)

        def ask() -> list[Any]:
            with client.subscribe("feed", symbol="BTC-USD", from_seq=1) as stream:
                return [stream.next(1.0)[0], stream.next(0.01)]

        assert await asyncio.to_thread(ask) == [1, None]


@in_loop
async def test_a_closed_stream_stops() -> None:
    async with Cluster(1) as cluster, client_of("async", cluster) as client:
        stream = client.subscribe("feed", symbol="BTC-USD")
        assert (await anext(stream))[0] == "refresh"
        waiting = asyncio.ensure_future(anext(stream, "ended"))
        await asyncio.sleep(0)
        await stream.aclose()
        assert await waiting == "ended"
    stopped = Client([("127.0.0.1", 1)]).subscribe("feed", symbol="BTC-USD")
    stopped.close()
    assert list(stopped) == []


# -- without sockets --------------------------------------------------------------------------


def subscribed(name: str, result: dict[str, Any], **arguments: Any) -> SubscriptionFlow:
    flow = SubscriptionFlow(Settings([("a", 1), ("b", 2)]), name, arguments, 0.0)
    subscribe(flow, result)
    return flow


def subscribe(flow: SubscriptionFlow, result: dict[str, Any]) -> tuple[Any, ...]:
    """Connect and answer the SUBSCRIBE; what it asked for."""
    assert flow.dial(0.0) is not None
    flow.connected(0.0)
    flow.take_outgoing()
    feed(flow, (m.WELCOME, 1, "c", "c-1", 1, b""))
    asked = m.read_message(flow.take_outgoing()[4:])
    feed(flow, (m.RESULT, asked[1], {"subscription": 3, **result}))
    return asked


def feed(flow: SubscriptionFlow, *messages: Any) -> None:
    flow.received(b"".join(frame(pack(message)) for message in messages), 0.0)


def push(flow: SubscriptionFlow, *values: Any) -> list[Any]:
    feed(flow, *((m.PUSH, 3, value) for value in values))
    taken = list(flow.values)
    flow.values.clear()
    return taken


def test_a_gap_inside_a_connection_is_asked_for_again() -> None:
    flow = subscribed("feed", {}, symbol="S", from_seq=5)
    assert push(flow, (5, 1, 1, 1), (6, 1, 1, 1), (8, 1, 1, 1)) == [(5, 1, 1, 1), (6, 1, 1, 1)]
    assert flow.should_close is True
    assert subscribe(flow, {})[3] == {"symbol": "S", "from_seq": 7, "from_index": 1}


LISTS = ("bids", "asks", "bid_orders", "ask_orders")


def refresh_page(
    feed_seq: int, page: int = 1, *, told: Any = (), more: bool = False, **lists: Any
) -> tuple[Any, ...]:
    own = {"feed_seq": feed_seq, "page": page, "told": told, "more": more}
    return ("refresh", {**dict.fromkeys(LISTS, ()), **lists, **own})


def test_an_older_book_does_not_throw_the_reader_back() -> None:
    flow = subscribed("feed", {}, symbol="S")
    assert len(push(flow, refresh_page(9), (10, 1, 1, 1))) == 2
    flow.lost("gone", 0.0)
    subscribe(flow, {})
    assert push(flow, refresh_page(8), (9, 1, 1, 1), (10, 1, 1, 1)) == []
    assert push(flow, (11, 1, 1, 1)) == [(11, 1, 1, 1)]
    newer, next_one = push(flow, refresh_page(20), (21, 1, 1, 1))
    assert (newer[0], newer[1]["feed_seq"], next_one[0]) == ("refresh", 20, 21)


BUY, SELL = 1, 2


def test_a_book_in_pages_is_delivered_whole_and_as_of_one_moment() -> None:
    # Bids 5 and 4, asks 6 and 7; the market moves between the pages.
    flow = subscribed("feed", {}, symbol="S")
    pages = [
        refresh_page(9, 1, told=(BUY, 5), more=True, bid_orders=((1, 5, 10), (2, 5, 20))),
        # 10: order 1 is met for 4. 11: order 9 joins at 4, which is not told yet.
        refresh_page(11, 2, told=(BUY, 4), more=True, bid_orders=((3, 4, 30), (9, 4, 1))),
        # 12: order 3 leaves. 13: order 4 shrinks at 6, which is told now.
        refresh_page(13, 3, told=(SELL, 6), more=True, ask_orders=((4, 6, 35),)),
        # 14: order 1 leaves. 15: somebody joins at 8.
        refresh_page(15, 4, told=(SELL, 8), ask_orders=((5, 7, 50), (10, 8, 2))),
    ]
    news = [
        (10, 1, 1, "trade", 1, 5, 4, 1, SELL, 6),
        (11, 1, 1, "add", 9, BUY, 4, 1),
        (12, 1, 1, "delete", 3, BUY, 4, 30),
        (13, 1, 1, "reduce", 4, SELL, 6, 35),
        (14, 1, 1, "delete", 1, BUY, 5, 6),
        (15, 1, 1, "add", 10, SELL, 8, 2),
        (16, 1, 1, "add", 1, BUY, 5, 6),
    ]
    assert push(flow, *pages, *news[:5]) == []
    (kind, book), following = push(flow, *news[5:])
    assert (kind, following) == ("refresh", news[6])
    assert book == {
        "feed_seq": 15,
        "bids": ((5, 20, 1), (4, 1, 1)),
        "asks": ((6, 35, 1), (7, 50, 1), (8, 2, 1)),
        "bid_orders": ((2, 5, 20), (9, 4, 1)),
        "ask_orders": ((4, 6, 35), (5, 7, 50), (10, 8, 2)),
    }


def test_half_a_book_is_nothing_and_begins_anew_elsewhere() -> None:
    flow = subscribed("feed", {}, symbol="S")
    assert push(flow, refresh_page(9, more=True, bid_orders=((1, 5, 1),))) == []
    flow.lost("gone", 0.0)
    assert subscribe(flow, {})[3] == {"symbol": "S", "from_seq": None, "from_index": None}
    pages = [refresh_page(12, n, more=n < 2, bid_orders=((n, 5, 1),)) for n in (1, 2)]
    ((_, book),) = push(flow, *pages)
    assert book["bid_orders"] == ((1, 5, 1), (2, 5, 1))


def test_a_node_may_begin_a_book_anew() -> None:
    flow = subscribed("feed", {}, symbol="S")
    overtaken = refresh_page(9, more=True, bid_orders=((1, 5, 1),))
    ((_, book),) = push(flow, overtaken, refresh_page(90, bid_orders=((2, 5, 1),)))
    assert (book["feed_seq"], book["bid_orders"]) == (90, ((2, 5, 1),))


@pytest.mark.parametrize(
    "values",
    [
        (refresh_page(9, 2),),
        (refresh_page(9, 1, more=True), refresh_page(9, 3)),
        (refresh_page(9, 1, more=True), refresh_page(8, 2)),
        (refresh_page(9, 1, more=True), (10, 1, 1, "phase", 1)),
        (refresh_page(9, 1, more=True), refresh_page(11, 2), (11, 1, 1, "phase", 1)),
        (refresh_page(9, 1, more=True), refresh_page(11, 2), (10, 1)),
        (refresh_page(9, 1, more=True), refresh_page(11, 2), (10, 1, 1, "add", 1, 1, "5", 1)),
        (("refresh", {"feed_seq": 9}),),
        (refresh_page(9, bid_orders=5),),
    ],
    ids=str,
)
def test_pages_that_do_not_fit_together_end_the_connection(values: Any) -> None:
    flow = subscribed("feed", {}, symbol="S")
    assert push(flow, *values) == []
    assert flow.should_close is True


def test_entries_go_on_inside_an_entry() -> None:
    flow = subscribed("entries", {"applied_index": 4})

    def entry(index: int, page: int, pages: int) -> tuple[Any, ...]:
        return (index, 1, 1, (), page, pages)

    assert push(flow, entry(4, 1, 1)) == []
    assert push(flow, entry(5, 1, 3), entry(5, 2, 3)) == [entry(5, 1, 3), entry(5, 2, 3)]
    flow.lost("gone", 0.0)
    assert subscribe(flow, {"applied_index": 9})[3] == {"from_index": 5}
    again = [entry(5, page, 3) for page in (1, 2, 3)]
    assert push(flow, *again, entry(7, 1, 1)) == [entry(5, 3, 3), entry(7, 1, 1)]
    flow.lost("gone", 0.0)
    assert subscribe(flow, {"applied_index": 9})[3] == {"from_index": 8}
    assert push(flow, entry(8, 2, 2)) == []  # its beginning is missing
    assert flow.should_close is True


def test_reports_go_on_inside_an_entry() -> None:
    flow = subscribed("reports", {"applied_index": 4})
    first, second = (5, 1, 1, 0, 1, 1, ()), (5, 1, 1, 2, 1, 1, ())
    assert push(flow, (4, 1, 1, 0, 1, 1, ()), first) == [first]
    flow.lost("gone", 0.0)
    assert subscribe(flow, {"from_index": 5})[3] == {"from_index": 5}
    assert push(flow, first, second) == [second]


def test_reports_that_cannot_go_on_say_so() -> None:
    flow = subscribed("reports", {"applied_index": 4})
    flow.lost("gone", 0.0)
    subscribe(flow, {})
    assert isinstance(flow.error, NotAccepted)
    assert "reports broke off at entry 5" in str(flow.error)


@pytest.mark.parametrize("name", ["feed", "entries", "reports"])
@pytest.mark.parametrize("value", [None, (), ("x",), ("refresh", 3), (None, 1, 1, 1), {}])
def test_what_is_no_value_of_the_stream_ends_the_connection(name: str, value: Any) -> None:
    flow = subscribed(name, {})
    assert push(flow, value) == []
    assert flow.should_close is True


def test_a_silent_node_is_given_up() -> None:
    flow = subscribed("feed", {}, symbol="S", from_seq=1)
    flow.wake(15.0)
    assert m.read_message(flow.take_outgoing()[4:])[0] == m.PING
    feed(flow, (m.PONG, 2))
    flow.wake(16.0)
    assert flow.is_subscribed is True
    flow.wake(31.0)
    flow.wake(34.0)
    assert flow.is_subscribed is False
    assert "fell silent" in flow.progress[-1]


def test_a_paused_stream_is_not_called_silent() -> None:
    flow = subscribed("feed", {}, symbol="S", from_seq=1)
    flow.pause()
    for time in (15.0, 31.0, 60.0):
        flow.wake(time)
    assert (flow.is_subscribed, flow.take_outgoing()) == (True, b"")
    flow.lost("too slow", 60.0)
    assert flow.dial(61.0) is None
    flow.resume(90.0)
    assert flow.dial(90.0) is not None

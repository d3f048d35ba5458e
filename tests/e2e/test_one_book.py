"""Whichever node is asked, there is one book; and a reader may say how new it must be."""

import asyncio

import pytest

from raftbook.client import AsyncClient, Refused
from raftbook.core.types import Reject
from raftbook.wire import client_messages as m
from tests.e2e.cluster import Cluster, until
from tests.e2e.load import SYMBOL
from tests.feed.feed_book import FeedBook


def _client(cluster: Cluster, node_id: int, account: str = "alice") -> AsyncClient:
    """A client that knows one node only."""
    return AsyncClient(cluster.client_ports(node_id)[:1], account=account, timeout_s=30.0)


def test_orders_through_every_node_make_one_book(shared: Cluster) -> None:
    async def scene() -> None:
        accounts = ("alice", "bob", "demo")
        clients = [_client(shared, node_id, accounts[node_id - 1]) for node_id in shared.ids]
        seller, buyer, third = clients
        assert (await seller.submit(SYMBOL, "sell", "0.005", "101.00")).ord_status == "NEW"
        assert (await buyer.submit(SYMBOL, "sell", "0.002", "101.00")).ord_status == "NEW"
        taken = await third.submit(SYMBOL, "buy", "0.006", "101.50")
        assert taken.ord_status == "FILLED"
        assert [(str(trade.price), str(trade.qty)) for trade in taken.trades] == [
            ("101.00", "0.005"),
            ("101.00", "0.001"),
        ]
        assert {client.node for client in clients} == set(shared.ids)
        results = await asyncio.gather(
            *(
                client.submit(SYMBOL, "buy", "0.001", f"{price}.00")
                for client in clients
                for price in range(50, 70)
            )
        )
        assert len({result.order_id for result in results}) == 60
        for client in clients:
            await client.close()

    asyncio.run(scene())
    shared.settle()
    books = shared.books(SYMBOL)
    assert books[1] == books[2] == books[3]
    assert books[1]["bids"][0] == (6_900, 3, 3)
    assert books[1]["asks"] == ((10_100, 1, 1),)
    trades = [shared.query(node_id, "trades", symbol=SYMBOL)["trades"] for node_id in shared.ids]
    assert trades[0] == trades[1] == trades[2]


def test_reading_your_own_writes_on_any_node(shared: Cluster) -> None:
    async def scene() -> None:
        async with _client(shared, 1) as writer:
            readers = [_client(shared, node_id) for node_id in shared.ids]
            for price in range(1, 30):
                result = await writer.submit("ETH-USD", "buy", "0.01", f"{price}.00")
                for reader in readers:
                    book = await reader.book("ETH-USD", 1, at_least=result.entry_index)
                    assert book.bids[0].price == price
                    assert book.applied_index >= result.entry_index
            for reader in readers:
                await reader.close()

    asyncio.run(scene())


def test_a_linearizable_read_sees_what_any_node_acknowledged(shared: Cluster) -> None:
    async def scene() -> None:
        async with _client(shared, 1, "bob") as writer, _client(shared, 2) as reader:
            for price in range(40, 60):
                await writer.submit("ETH-USD", "buy", "0.01", f"{price}.00")
                book = await reader.book("ETH-USD", 1, linearizable=True)
                assert book.bids[0].price == price

    asyncio.run(scene())


def test_a_read_that_asks_for_the_future_is_too_stale(shared: Cluster) -> None:
    with shared.wire(1) as wire:
        wire.greet()
        answer = wire.ask(m.QUERY, 1, "book", {"symbol": SYMBOL, "at_least": 10**9})
        assert answer[:3] == (m.FAILURE, 1, Reject.TOO_STALE)
        assert f"not yet {10**9}; ask again" in answer[3]


def test_the_feed_of_every_node_is_the_same_and_makes_the_book(shared: Cluster) -> None:
    async def scene() -> None:
        async with _client(shared, 2, "bob") as trader:
            streams = [
                _client(shared, node_id).subscribe("feed", symbol="ETH-USD")
                for node_id in shared.ids
            ]
            books = [FeedBook() for _ in streams]
            for book, stream in zip(books, streams, strict=True):
                book.take(await anext(stream))
            for price in range(60, 90):
                side = "sell" if price % 3 == 0 else "buy"
                result = await trader.submit("ETH-USD", side, "0.03", f"{price}.00")
                if price % 4 == 0 and result.leaves_qty:
                    await trader.cancel(order_id=result.order_id)
            view = await trader.query("book", symbol="ETH-USD", depth=0, orders=True)
            told: list[list[object]] = []
            for book, stream in zip(books, streams, strict=True):
                messages: list[object] = []
                while book.feed_seq != view["feed_seq"]:
                    async with asyncio.timeout(30):
                        message = await anext(stream)
                    book.take(message)
                    messages.append(message)
                assert book.same_as(view)
                assert book.refreshes == 1
                told.append(messages)
                await stream.aclose()
            shortest = min(map(len, told))
            assert shortest > 20
            assert all(messages[-shortest:] == told[0][-shortest:] for messages in told)

    asyncio.run(scene())


def test_who_may_do_what(shared: Cluster) -> None:
    async def scene() -> None:
        async with _client(shared, 3) as alice:
            assert not alice.is_operator
            with pytest.raises(Refused) as refused:
                await alice.query("snapshot")
            assert refused.value.code == Reject.NOT_AUTHORIZED
        async with _client(shared, 3, "demo") as demo:
            assert demo.is_operator
            assert (await demo.query("snapshot"))["snapshot_index"] > 0
        with pytest.raises(Refused) as refused:
            await _client(shared, 1, "carol").connect()
        assert refused.value.code == Reject.NOT_AUTHORIZED
        with pytest.raises(Refused) as refused:
            await _client(shared, 1, "nobody").connect()
        assert refused.value.code == Reject.UNKNOWN_ACCOUNT
        ports = shared.client_ports(2)
        async with AsyncClient(ports, account="carol", secret="carols secret") as carol:
            assert (await carol.submit(SYMBOL, "buy", "0.001", "1.00")).order_id

    asyncio.run(scene())


def test_an_operator_moves_the_leader(shared: Cluster) -> None:
    leader = shared.wait_leader()
    wanted = next(node_id for node_id in shared.ids if node_id != leader)
    told = until(
        "the leader hands over", lambda: shared.query(leader, "transfer", "demo", to=wanted)
    )
    assert told == {"leader_id": wanted}
    assert shared.wait_leader() == wanted

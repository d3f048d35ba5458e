"""Streams outlive the node they came from: no gap, no repeat, on another one."""

import asyncio
import contextlib
from pathlib import Path
from typing import Any

from raftbook.client import AsyncClient, AsyncSubscription
from raftbook.core import commands as c
from raftbook.core.types import Side
from tests.e2e.cluster import PATIENCE_S, running_cluster
from tests.e2e.load import SYMBOL
from tests.feed.feed_book import FeedBook


class Reader:
    """Takes in a stream in the background."""

    def __init__(self, stream: AsyncSubscription) -> None:
        self.values: list[Any] = []
        self._stream = stream
        self._task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for value in self._stream:
            self.values.append(value)

    async def has(self, is_so: Any) -> None:
        """Wait for a condition on the values."""
        async with asyncio.timeout(PATIENCE_S):
            while not is_so(self.values):
                assert not self._task.done(), self._task.exception()
                await asyncio.sleep(0.01)

    async def end(self) -> None:
        """No more."""
        await self._stream.aclose()
        await self._task


def test_streams_go_on_at_another_node(tmp_path: Path) -> None:
    with running_cluster(tmp_path) as cluster:
        leader = cluster.wait_leader()

        async def scene() -> None:
            ports = cluster.client_ports(leader)
            alice = AsyncClient(ports[1:] + ports[:1], account="alice", timeout_s=40.0)
            bob = AsyncClient(ports[2:] + ports[:2], account="bob", timeout_s=40.0)
            listener = AsyncClient(ports, account="alice", timeout_s=40.0)
            operator = AsyncClient(ports, account="demo", timeout_s=40.0)
            feed = Reader(listener.subscribe("feed", symbol=SYMBOL))
            reports = Reader(listener.subscribe("reports"))
            entries = Reader(operator.subscribe("entries"))
            await feed.has(len)  # the refresh: all three are at the leader
            replies: list[Any] = []

            async def trade(count: int) -> None:
                for number in range(count):
                    order = c.new_order(SYMBOL, Side.BUY, 2, 100 - number % 3)
                    replies.append(await alice.request([order]))
                    taker = c.new_order(SYMBOL, Side.SELL, 1, 98)
                    replies.append(await bob.request([taker]))

            # The first report says that its subscription stands.
            await trade(1)
            while not (reports.values and entries.values):
                await trade(1)
            await trade(20)
            before = replies[-1].entry_index
            await entries.has(lambda values: values[-1][0] >= before)
            trading = asyncio.create_task(trade(40))
            cluster.kill(leader)
            await trading
            last = replies[-1].entry_index
            for reader in (feed, entries, reports):
                at = 1 if reader is feed else 0
                await reader.has(lambda values, at=at: values[-1][at] >= last)

            book = FeedBook()
            for message in feed.values:
                book.take(message)  # asserts that the sequence is dense
            assert book.refreshes == 1
            assert book.same_as(await bob.query("book", symbol=SYMBOL, depth=0, orders=True))

            # Every acknowledged request, once, in the entries and in alice's reports.
            indexes = [entry[0] for entry in entries.values]
            assert indexes == sorted(set(indexes))
            done = [reply for entry in entries.values for reply in entry[3] if not reply[5]]
            told = [(reply[0], reply[1]) for reply in done]
            first = entries.values[0][0]
            wanted = [
                (reply.session_id, reply.request_seq)
                for reply in replies
                if reply.entry_index >= first
            ]
            assert [name for name in told if name in set(wanted)] == wanted

            places = [(report[0], report[3]) for report in reports.values]
            assert places == sorted(set(places))
            begin = places[0][0]
            expected = {
                (reply.entry_index, reply.event_offset)
                for reply in replies
                if reply.entry_index >= begin and _concerns_alice(reply)
            }
            assert set(places) == expected
            for reader in (feed, reports, entries):
                await reader.end()
            for client in (alice, bob, listener, operator):
                await client.close()

        asyncio.run(scene())


def _concerns_alice(reply: Any) -> bool:
    """Alice has every maker here, and bob every taker: he only meets her."""
    own = any(event[0] == 1 and event[2][1] == "alice" for event in reply.events)
    return own or any(event[0] == 3 for event in reply.events)


def test_a_feed_stays_whole_while_one_node_after_another_dies(tmp_path: Path) -> None:
    with running_cluster(tmp_path) as cluster:

        async def scene() -> None:
            ports = cluster.client_ports(1)
            async with AsyncClient(ports, account="bob", timeout_s=40.0) as trader:
                listener = AsyncClient(ports, timeout_s=40.0)
                feed = Reader(listener.subscribe("feed", symbol=SYMBOL))
                await feed.has(len)
                for node_id in (*cluster.ids, 1):
                    for number in range(15):
                        await trader.submit(SYMBOL, "buy", "0.001", f"{50 + number}.00")
                    cluster.kill(node_id)
                    for number in range(15):
                        await trader.submit(SYMBOL, "sell", "0.001", f"{55 + number}.00")
                    cluster.start(node_id)
                    await asyncio.to_thread(cluster.wait_up)
                    await asyncio.to_thread(cluster.settle)
                view = await trader.query("book", symbol=SYMBOL, depth=0, orders=True)
                await feed.has(lambda values: _seq(values[-1]) >= view["feed_seq"])
                book = FeedBook()
                for message in feed.values:
                    book.take(message)
                assert book.same_as(view)
                await feed.end()
                await listener.close()

        asyncio.run(scene())


def _seq(message: Any) -> int:
    return int(message[1]["feed_seq"] if message[0] == "refresh" else message[0])


def test_price_levels_are_proved_again_at_another_node(tmp_path: Path) -> None:
    with running_cluster(tmp_path) as cluster:
        leader = cluster.wait_leader()

        async def scene() -> None:
            ports = cluster.client_ports(leader)
            async with AsyncClient(ports[1:] + ports[:1], account="bob", timeout_s=40.0) as trader:
                async with asyncio.timeout(PATIENCE_S):
                    while (await trader.query("status"))["engine_version"] < 2:
                        await asyncio.sleep(0.05)
                listener = AsyncClient(ports, timeout_s=40.0)
                seen: list[tuple[int, Any, Any]] = []
                depth = listener.depth(SYMBOL)

                async def read() -> None:
                    async for book in depth:
                        seen.append((book.feed_seq, book.bids(99), book.asks(99)))
                        assert not book.mismatches

                reading = asyncio.create_task(read())

                async def trade(count: int) -> None:
                    for number in range(count):
                        price = 100 + number % 4
                        iceberg = c.place_order(SYMBOL, Side.SELL, 7, price, display_qty=2)
                        await trader.request([iceberg])
                        await trader.request([c.new_order(SYMBOL, Side.BUY, 1 + number % 5, 102)])

                async with asyncio.timeout(PATIENCE_S):
                    while not seen:
                        await asyncio.sleep(0.01)
                await trade(15)
                trading = asyncio.create_task(trade(25))
                cluster.kill(leader)
                await trading
                view = await trader.query("book", symbol=SYMBOL, depth=99)
                async with asyncio.timeout(PATIENCE_S):
                    while seen[-1][0] < view["feed_seq"]:
                        assert not reading.done(), reading.exception()
                        await asyncio.sleep(0.01)
                assert seen[-1] == (view["feed_seq"], list(view["bids"]), list(view["asks"]))
                assert [each[0] for each in seen] == sorted({each[0] for each in seen})
                await depth.aclose()
                with contextlib.suppress(StopAsyncIteration):
                    await reading
                await listener.close()

        asyncio.run(scene())

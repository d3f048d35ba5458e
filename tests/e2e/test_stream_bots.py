"""Software written for Binance listens here, unchanged but for its URL: released versions of it
against a real cluster of three, also while the leader is killed.
"""

import asyncio
import contextlib
import json
import queue
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.e2e.cluster import PATIENCE_S, Cluster, running_cluster
from tests.e2e.libraries import (
    AsyncClient,
    BinanceSocketManager,
    ConfigurationWebSocketStreams,
    DepthCacheManager,
    ReconnectingWebsocket,
    SdkSpot,
    SpotWebsocketStreamClient,
    ccxt,
)
from tests.e2e.ports import HOST
from tests.e2e.test_bots import SYMBOL, http_port
from tests.web.binance.stream_market import BookKeeper

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One cluster for all of them."""
    with running_cluster(tmp_path_factory.mktemp("listeners")) as cluster:
        yield cluster


@contextlib.asynccontextmanager
async def pro(cluster: Cluster, node_id: int, key: str = "alice") -> AsyncIterator[Any]:
    """ccxt.pro at one node, as the README shows it."""
    port = http_port(cluster, node_id)
    base, sockets = f"http://{HOST}:{port}", f"ws://{HOST}:{port}"
    ex = ccxt.pro.binance(
        {
            "apiKey": key,
            "secret": "s3cret",
            "enableRateLimit": False,
            "urls": {
                "api": {
                    "public": base + "/api/v3",
                    "private": base + "/api/v3",
                    "ws": {
                        "spot": sockets + "/stream/ws",
                        "ws-api": {"spot": sockets + "/ws-api/v3"},
                    },
                }
            },
            "options": {
                "fetchMarkets": {"types": ["spot"]},
                "fetchCurrencies": False,
                "fetchMargins": False,
            },
        }
    )
    try:
        await ex.load_markets()
        yield ex
    finally:
        await ex.close()


async def patiently(wanted: Awaitable[Any]) -> Any:
    """It must come, if not at once."""
    async with asyncio.timeout(PATIENCE_S):
        return await wanted


async def heard_by(watch: Callable[[], Awaitable[Any]], act: Callable[[], Awaitable[Any]]) -> Any:
    """What a first watch hears, once somebody acts. Acts again and again: nobody says when the
    subscription has begun."""
    watching = asyncio.ensure_future(watch())
    async with asyncio.timeout(PATIENCE_S):
        while not watching.done():
            await act()
            await asyncio.wait([watching], timeout=0.3)
    return watching.result()


async def clear(ex: Any) -> None:
    """Leave no order open."""
    with contextlib.suppress(ccxt.OrderNotFound):
        await ex.cancel_all_orders(SYMBOL)


async def until(what: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await what():
            await asyncio.sleep(0.02)


def test_ccxt_pro_hears_the_market(venue: Cluster) -> None:
    async def scene() -> None:
        async with pro(venue, 1) as ex, pro(venue, 2, "bob") as other:

            async def trade() -> None:
                await other.create_order(SYMBOL, "limit", "sell", 0.5, 100)
                await other.create_order(SYMBOL, "limit", "buy", 0.5, 100)

            (trade_heard, *_) = await heard_by(lambda: ex.watch_trades(SYMBOL), trade)
            assert (trade_heard["price"], trade_heard["amount"]) == (100.0, 0.5)
            assert trade_heard["side"] == "buy"
            ticker = await patiently(ex.watch_ticker(SYMBOL))
            assert (ticker["last"], ticker["symbol"]) == (100.0, SYMBOL)
            tickers: dict[str, Any] = {}
            while SYMBOL not in tickers:  # each call brings what is new
                tickers |= await patiently(ex.watch_tickers([SYMBOL, "ETH/USD"]))
            assert tickers[SYMBOL]["last"] == 100.0 and tickers.keys() <= {SYMBOL, "ETH/USD"}
            candles = await heard_by(lambda: ex.watch_ohlcv(SYMBOL, "1m"), trade)
            assert candles[-1][1:5] == [100.0] * 4
            await other.create_order(SYMBOL, "limit", "buy", 0.25, 99.5)
            await other.create_order(SYMBOL, "limit", "sell", 0.25, 100.5)

            async def is_best() -> bool:
                best = (await ex.watch_bids_asks([SYMBOL]))[SYMBOL]
                return (best["bid"], best["ask"]) == (99.5, 100.5)

            await until(is_best)
            await clear(other)

    asyncio.run(scene())


def test_ccxt_pro_keeps_the_book(venue: Cluster) -> None:
    async def scene() -> None:
        async with pro(venue, 3) as ex, pro(venue, 1, "bob") as other:
            await clear(other)

            async def act() -> None:
                await other.create_order(SYMBOL, "limit", "buy", 0.25, 90)

            await heard_by(lambda: ex.watch_order_book(SYMBOL), act)
            for number in range(30):
                qty, price = 0.001 * (number + 1), 80 + number % 7
                await other.create_order(SYMBOL, "limit", "buy", qty, price)
                await other.create_order(SYMBOL, "limit", "sell", 0.002, 110 + number % 5)
            for order in (await other.fetch_open_orders(SYMBOL))[:20]:
                await other.cancel_order(order["id"], SYMBOL)
            wanted = await other.fetch_order_book(SYMBOL)

            async def is_equal() -> bool:
                book = await ex.watch_order_book(SYMBOL)
                return all(
                    [list(level) for level in book[side]] == wanted[side]
                    for side in ("bids", "asks")
                )

            await until(is_equal)

    asyncio.run(scene())


def test_ccxt_pro_hears_its_own_account(venue: Cluster) -> None:
    async def scene() -> None:
        async with pro(venue, 2) as ex, pro(venue, 3, "bob") as other:
            for trader in (ex, other):
                await clear(trader)
            orders: dict[str, str] = {}

            async def place() -> None:
                await ex.create_order(SYMBOL, "limit", "buy", 0.5, 42)

            async def watch_orders() -> None:
                for order in await ex.watch_orders(SYMBOL):
                    orders[order["id"]] = order["status"]

            balance = asyncio.ensure_future(ex.watch_balance())
            await heard_by(watch_orders, place)
            assert set(orders.values()) == {"open"}
            money = await patiently(balance)
            assert money["USD"]["used"] > 0
            trades = asyncio.ensure_future(ex.watch_my_trades(SYMBOL))
            await asyncio.sleep(0)
            placed = await ex.create_order(SYMBOL, "limit", "buy", 0.25, 43)
            await other.create_order(SYMBOL, "limit", "sell", 0.25, 43)
            mine = await patiently(trades)
            assert (mine[-1]["order"], mine[-1]["amount"]) == (placed["id"], 0.25)
            assert mine[-1]["takerOrMaker"] == "maker"

            async def is_closed() -> bool:
                known = {order["id"]: order["status"] for order in ex.orders}
                return known[placed["id"]] == "closed"

            await until(is_closed)

    asyncio.run(scene())


@contextlib.asynccontextmanager
async def python_binance(
    cluster: Cluster, node_id: int, key: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Any]:
    """python-binance at one node, as the README shows it."""
    port = http_port(cluster, node_id)
    monkeypatch.setattr(AsyncClient, "API_URL", f"http://{HOST}:{port}/api")
    monkeypatch.setattr(AsyncClient, "WS_API_URL", f"ws://{HOST}:{port}/ws-api/v3")
    # It waits for so long before it sees that it was closed.
    monkeypatch.setattr(ReconnectingWebsocket, "TIMEOUT", 0.5)
    monkeypatch.setattr(BinanceSocketManager, "STREAM_URL", f"ws://{HOST}:{port}/")
    client = await AsyncClient.create(key, "s3cret")
    try:
        yield client
    finally:
        await client.close_connection()


async def buy_eth(client: Any, side: str = "BUY", price: str = "50") -> Any:
    return await client.create_order(
        symbol="ETHUSD", side=side, type="LIMIT", timeInForce="GTC", quantity="0.5", price=price
    )


def test_python_binance_hears_the_market_and_its_account(
    venue: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene() -> None:
        async with python_binance(venue, 1, "alice", monkeypatch) as client:
            manager = BinanceSocketManager(client)
            async with (
                manager.trade_socket("ETHUSD") as trades,
                manager.multiplex_socket(["ethusd@bookTicker", "ethusd@depth5"]) as several,
                manager.user_socket() as mine,
            ):
                names = {(await patiently(several.recv()))["stream"] for _ in range(2)}
                assert names == {"ethusd@bookTicker", "ethusd@depth5"}
                placed = await buy_eth(client)
                await buy_eth(client, "SELL")
                trade = await patiently(trades.recv())
                assert (trade["e"], trade["p"], trade["q"]) == (
                    "trade",
                    "50.00000000",
                    "0.50000000",
                )
                heard = []
                while [each["e"] for each in heard].count("executionReport") < 4:
                    heard.append(await patiently(mine.recv()))
                reports = [each for each in heard if each["e"] == "executionReport"]
                assert [(each["x"], each["X"]) for each in reports] == [
                    ("NEW", "NEW"), ("NEW", "NEW"), ("TRADE", "FILLED"), ("TRADE", "FILLED"),
                ]  # fmt: skip
                assert reports[0]["c"] == placed["clientOrderId"]
                assert any(each["e"] == "outboundAccountPosition" for each in heard)

    asyncio.run(scene())


def test_python_binance_keeps_the_book(venue: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene() -> None:
        async with python_binance(venue, 2, "bob", monkeypatch) as client:
            await buy_eth(client, price="33")
            cache = DepthCacheManager(client, "ETHUSD", ws_interval=100)
            async with cache:
                for number in range(15):
                    order = await buy_eth(client, price=str(30 + number))
                    if number % 3:
                        await client.cancel_order(symbol="ETHUSD", orderId=order["orderId"])
                    await patiently(cache.recv())
                wanted = await client.get_order_book(symbol="ETHUSD", limit=1_000)

                async def is_equal() -> bool:
                    book = cache.get_depth_cache()
                    if book is None or cache._last_update_id < wanted["lastUpdateId"]:
                        await cache.recv()
                        return False
                    assert book.get_bids() == [[float(p), float(q)] for p, q in wanted["bids"]]
                    assert book.get_asks() == [[float(p), float(q)] for p, q in wanted["asks"]]
                    return True

                await until(is_equal)

    asyncio.run(scene())


def test_binance_connector_hears_the_market(venue: Cluster) -> None:
    heard: queue.Queue[Any] = queue.Queue()
    client = SpotWebsocketStreamClient(
        stream_url=f"ws://{HOST}:{http_port(venue, 2)}",
        on_message=lambda _, text: heard.put(json.loads(text)),
    )
    try:
        client.book_ticker(symbol="btcusd", id=7)
        assert heard.get(timeout=PATIENCE_S) == {"result": None, "id": 7}
        assert heard.get(timeout=PATIENCE_S)["s"] == "BTCUSD"
    finally:
        client.stop()
        client.socket_manager.ws.shutdown()  # it leaves its socket open


def test_binance_sdk_spot_hears_the_market(venue: Cluster) -> None:
    async def scene() -> None:
        settings = ConfigurationWebSocketStreams(
            stream_url=f"ws://{HOST}:{http_port(venue, 3)}", reconnect_delay=100
        )
        heard: asyncio.Queue[Any] = asyncio.Queue()
        connection = await SdkSpot(config_ws_streams=settings).websocket_streams.create_connection()
        try:
            stream = await connection.book_ticker(symbol="btcusd")
            stream.on("message", heard.put_nowait)
            assert (await patiently(heard.get())).s == "BTCUSD"
        finally:
            await connection.close_connection(close_session=True)

    asyncio.run(scene())


class Ear:
    """Listens at one node to the book and to an account, and remembers all."""

    def __init__(self, cluster: Cluster, node_id: int) -> None:
        self._port = http_port(cluster, node_id)
        self.depth: list[Any] = []
        self.events: list[Any] = []
        self.is_ready = asyncio.Event()

    async def listen(self, key: str) -> None:
        url = f"ws://{HOST}:{self._port}/stream?streams=btcusd@depth@100ms/{key}"
        async with connect(url, max_queue=None) as socket:
            self.is_ready.set()
            async for text in socket:
                told = json.loads(text)
                (self.events if told["stream"] == key else self.depth).append(told["data"])


async def picture(ex: Any) -> Any:
    """The whole book, as REST says it; ccxt reads the id as text."""
    depth = await ex.public_get_depth({"symbol": "BTCUSD", "limit": 5_000})
    return depth | {"lastUpdateId": int(depth["lastUpdateId"])}


class Mover:
    """Keeps a book at one node, and when that dies goes on at the next one: without a gap where it
    can, with a new picture where something happened between its connections."""

    def __init__(self, ports: list[int]) -> None:
        self._ports = ports
        self.keeper = BookKeeper()
        self.moves = 0

    async def listen(self, ex: Any) -> None:
        while True:
            url = f"ws://{HOST}:{self._ports[0]}/ws/btcusd@depth@100ms"
            with contextlib.suppress(OSError, ConnectionClosed):
                async with connect(url, max_queue=None) as socket:
                    last = None
                    async for text in socket:
                        update = json.loads(text)
                        assert last is None or update["U"] == last + 1
                        last = update["u"]
                        self.keeper.take(update)
                        if self.keeper.last is None:
                            self.keeper.picture(await picture(ex))
            self._ports.append(self._ports.pop(0))
            self.moves += 1


def test_nothing_is_missed_and_nothing_doubled_while_the_leader_is_killed(tmp_path: Path) -> None:
    """Listeners at both followers, by a key that was made at one of them; ccxt.pro keeps a book,
    and somebody who listens to the leader goes on elsewhere."""

    async def scene(cluster: Cluster) -> None:
        leader = cluster.wait_leader()
        here, there = (node_id for node_id in cluster.ids if node_id != leader)
        async with pro(cluster, here) as ex:
            key = (await ex.public_post_userdatastream())["listenKey"]
            ears = [Ear(cluster, here), Ear(cluster, there)]
            tasks = [asyncio.create_task(ear.listen(key)) for ear in ears]
            watching = asyncio.create_task(_watch_for_ever(ex))
            mover = Mover([http_port(cluster, node_id) for node_id in (leader, there, here)])
            tasks.append(asyncio.create_task(mover.listen(ex)))
            for ear in ears:
                await patiently(ear.is_ready.wait())
            keeper = BookKeeper()
            keeper.picture(await picture(ex))
            known: list[str] = []
            for number in range(60):
                if number == 20:
                    cluster.kill(leader)
                known.append(f"kept-{number}")
                await _place(ex, known[-1], 100 + number % 9)
            placed = await ex.fetch_open_orders(SYMBOL)
            assert sorted(each["clientOrderId"] for each in placed) == sorted(known)
            await until(lambda: _has_all(ears, known))
            wanted = await picture(ex)

            async def is_equal() -> bool:
                book = ex.orderbooks[SYMBOL]
                told = [[float(price), float(qty)] for price, qty in wanted["bids"]]
                return [list(level) for level in book["bids"]] == told

            await until(is_equal)
            last = wanted["lastUpdateId"]
            await until(lambda: _has_come_to(ears, mover, last))
            for task in (*tasks, watching):
                task.cancel()
            ends = await asyncio.gather(*tasks, watching, return_exceptions=True)
            assert [type(end) for end in ends] == [asyncio.CancelledError] * len(ends), ends
        assert ears[0].events == ears[1].events
        new = [each["c"] for each in ears[0].events if each.get("x") == "NEW"]
        assert sorted(new) == sorted(known)
        for ear in ears:
            ids = [(update["U"], update["u"]) for update in ear.depth]
            assert all(ids[at][0] == ids[at - 1][1] + 1 for at in range(1, len(ids)))
        for update in ears[1].depth:
            keeper.take(update)
        for book in (keeper.book(), mover.keeper.book()):
            assert (book["bids"], book["asks"]) == (wanted["bids"], wanted["asks"])
        assert mover.moves

    with running_cluster(tmp_path) as cluster:
        asyncio.run(scene(cluster))


async def _watch_for_ever(ex: Any) -> None:
    while True:
        await ex.watch_order_book(SYMBOL)


async def _place(ex: Any, name: str, price: int) -> None:
    """Place an order under a name, again and again until it is known to be there."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                await ex.create_order(
                    SYMBOL, "limit", "buy", 0.001, price, {"newClientOrderId": name}
                )
            except ccxt.InvalidOrder as error:
                if "Duplicate order sent" not in str(error):
                    raise
                return
            except (ccxt.NetworkError, ccxt.OperationFailed):
                await asyncio.sleep(0.05)
            else:
                return


async def _has_come_to(ears: list[Ear], mover: Mover, update_id: int) -> bool:
    return all(ear.depth[-1]["u"] >= update_id for ear in ears) and mover.keeper.last == update_id


async def _has_all(ears: list[Ear], known: list[str]) -> bool:
    return all(
        {each["c"] for each in ear.events if each.get("x") == "NEW"} >= set(known) for ear in ears
    )

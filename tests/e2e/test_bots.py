"""Software written for Binance trades here, unchanged but for its URL: released versions of it
against a real cluster of three, each through another node.
"""

import asyncio
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cluster import Cluster, running_cluster, until
from tests.e2e.libraries import (
    AsyncClient,
    BinanceAPIException,
    Client,
    ClientError,
    ConfigurationRestAPI,
    SdkSpot,
    Spot,
    ccxt,
)
from tests.e2e.ports import HOST

SYMBOL = "BTC/USD"
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


def ccxt_client(port: int, key: str = "alice", secret: str = "s3cret") -> Any:
    """As the README shows it."""
    base, sockets = f"http://{HOST}:{port}", f"ws://{HOST}:{port}"
    return ccxt.binance(
        {
            "apiKey": key,
            "secret": secret,
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


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One cluster for all of them."""
    with running_cluster(tmp_path_factory.mktemp("bots")) as cluster:
        yield cluster


def http_port(cluster: Cluster, node_id: int) -> int:
    port = cluster.address(node_id).http_port
    assert port is not None
    return port


def test_ccxt(venue: Cluster) -> None:
    ex = ccxt_client(http_port(venue, 1), "carol", "carols secret")
    markets = ex.load_markets()
    assert markets[SYMBOL]["precision"]["price"] == 0.01
    assert markets[SYMBOL]["precision"]["amount"] == 0.001
    resting = ex.create_order(SYMBOL, "limit", "buy", 0.5, 100.25)
    assert (resting["status"], resting["filled"], resting["amount"]) == ("open", 0, 0.5)
    assert ex.fetch_order(resting["id"], SYMBOL)["clientOrderId"] == resting["clientOrderId"]
    edited = ex.edit_order(resting["id"], SYMBOL, "limit", "buy", 0.4, 100.5)
    assert [each["id"] for each in ex.fetch_open_orders(SYMBOL)] == [edited["id"]]
    assert ex.fetch_order_book(SYMBOL)["bids"] == [[100.5, 0.4]]
    other = ccxt_client(http_port(venue, 2), "bob")
    taken = other.create_order(SYMBOL, "market", "sell", 0.1)
    assert (taken["status"], taken["filled"], taken["average"]) == ("closed", 0.1, 100.5)
    until("node 1 has the trade", lambda: ex.fetch_order(edited["id"], SYMBOL)["filled"] == 0.1)
    assert ex.fetch_trades(SYMBOL)[-1]["price"] == 100.5
    assert ex.fetch_my_trades(SYMBOL)[-1]["takerOrMaker"] == "maker"
    assert ex.fetch_ticker(SYMBOL)["last"] == 100.5
    assert ex.fetch_ohlcv(SYMBOL, "1m")[-1][4] == 100.5
    assert ex.fetch_balance()["USD"]["used"] == pytest.approx(30.15)
    assert ex.cancel_order(edited["id"], SYMBOL)["status"] == "canceled"


def test_ccxt_with_every_kind_of_order(venue: Cluster) -> None:
    symbol = "ETH/USD"
    ex = ccxt_client(http_port(venue, 2), "carol", "carols secret")
    ex.load_markets()
    maker = ccxt_client(http_port(venue, 2), "bob")
    for price in (100, 101):
        maker.create_order(symbol, "limit", "sell", 1, price)
    taken = ex.create_order(symbol, "limit", "buy", 3, 100, {"timeInForce": "IOC"})
    assert (taken["status"], taken["filled"]) == ("expired", 1)
    assert [fill["price"] for fill in taken["trades"]] == [100]
    none = ex.create_order(symbol, "limit", "buy", 3, 101, {"timeInForce": "FOK"})
    assert (none["status"], none["filled"]) == ("expired", 0)
    spent = ex.create_market_buy_order_with_cost(symbol, 50.5)
    assert (spent["status"], spent["cost"]) == ("closed", 50.5)
    assert ex.fetch_order_trades(spent["id"], symbol)[0]["amount"] == 0.5
    stop = ex.create_order(symbol, "limit", "sell", 1, 89, {"stopLossPrice": 90})
    touch = ex.create_order(symbol, "market", "sell", 1, None, {"takeProfitPrice": 120})
    follow = {"trailingPercent": 5, "stopLossOrTakeProfit": "stopLoss"}
    trail = ex.create_order(symbol, "market", "sell", 1, None, follow)
    iceberg = ex.create_order(symbol, "limit", "sell", 2, 130, {"icebergQty": 0.5})
    assert [each["status"] for each in (stop, touch, trail, iceberg)] == ["open"] * 4
    assert ex.fetch_order(stop["id"], symbol)["stopPrice"] == 90
    assert ex.fetch_order(touch["id"], symbol)["info"]["type"] == "TAKE_PROFIT"
    assert ex.fetch_order(trail["id"], symbol)["info"]["trailingDelta"] == 500
    by_name = {"clientOrderId": iceberg["clientOrderId"]}
    assert ex.cancel_order(None, symbol, by_name)["id"] == iceberg["id"]
    assert len(ex.cancel_all_orders(symbol)) == 3
    assert len(ex.fetch_closed_orders(symbol)) >= 1
    assert {each["status"] for each in ex.fetch_orders(symbol)} >= {"expired", "closed", "canceled"}
    assert ex.fetch_bids_asks([symbol])[symbol]["ask"] == 101
    assert ex.fetch_tickers([symbol])[symbol]["last"] == 101
    assert ex.fetch_ohlcv(symbol, "5m", since=0, limit=10)[-1][4] == 101
    maker.cancel_all_orders(symbol)


def test_ccxt_hears_what_is_wrong_in_its_own_words(venue: Cluster) -> None:
    ex = ccxt_client(http_port(venue, 3), "carol", "carols secret")
    ex.load_markets()
    with pytest.raises(ccxt.OrderNotFound):
        ex.cancel_order("999999", SYMBOL)
    with pytest.raises(ccxt.OrderNotFound):
        ex.fetch_order("999999", SYMBOL)
    with pytest.raises(ccxt.InsufficientFunds):
        ex.create_order(SYMBOL, "limit", "buy", 10_000, 900_000)
    other = ccxt_client(http_port(venue, 3), "bob")
    resting = other.create_order(SYMBOL, "limit", "sell", 0.5, 150)
    with pytest.raises(ccxt.OrderImmediatelyFillable):
        ex.create_order(SYMBOL, "limit", "buy", 0.5, 151, {"postOnly": True})
    again = {"newClientOrderId": resting["clientOrderId"]}
    with pytest.raises(ccxt.InvalidOrder, match="Duplicate order sent"):
        other.create_order(SYMBOL, "limit", "sell", 0.5, 150, again)
    other.cancel_order(resting["id"], SYMBOL)
    with pytest.raises(ccxt.AuthenticationError):
        ccxt_client(http_port(venue, 3), "carol", "wrong").fetch_balance()
    with pytest.raises(ccxt.AuthenticationError):
        ccxt_client(http_port(venue, 3), "nobody").fetch_balance()
    ex.options["timeDifference"] = 60_000
    with pytest.raises(ccxt.InvalidNonce):
        ex.fetch_balance()


def test_python_binance(venue: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Client, "API_URL", f"http://{HOST}:{http_port(venue, 2)}/api")
    client = Client("carol", "carols secret")
    try:
        filters = client.get_symbol_info("ETHUSD")["filters"]
        assert filters[0]["tickSize"] == "0.01000000"
        order = client.order_limit_buy(symbol="ETHUSD", quantity="1", price="99.5")
        assert order["status"] == "NEW"
        assert client.get_order(symbol="ETHUSD", orderId=order["orderId"])["price"] == "99.50000000"
        assert (
            client.create_test_order(symbol="ETHUSD", side="BUY", type="MARKET", quantity="1") == {}
        )
        gone = client.cancel_order(symbol="ETHUSD", origClientOrderId=order["clientOrderId"])
        assert gone["status"] == "CANCELED"
        pair = client.create_oco_order(
            symbol="ETHUSD",
            side="SELL",
            quantity="1",
            aboveType="LIMIT_MAKER",
            abovePrice="150",
            belowType="STOP_LOSS",
            belowStopPrice="50",
        )
        assert pair["listOrderStatus"] == "EXECUTING"
        assert len(client.get_open_orders(symbol="ETHUSD")) == 2
        with pytest.raises(BinanceAPIException, match="Invalid symbol"):
            client.get_klines(symbol="NOPE", interval="1m")
    finally:
        client.close_connection()


def test_python_binance_async_and_its_ws_api(
    venue: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = http_port(venue, 3)
    monkeypatch.setattr(AsyncClient, "API_URL", f"http://{HOST}:{port}/api")
    monkeypatch.setattr(AsyncClient, "WS_API_URL", f"ws://{HOST}:{port}/ws-api/v3")

    async def scene() -> None:
        client = await AsyncClient.create("carol", "carols secret")
        client.ws_api.TIMEOUT = 0.2  # else it listens for ten seconds more before it closes
        try:
            order = await client.ws_create_order(
                symbol="BTCUSD",
                side="BUY",
                type="LIMIT",
                timeInForce="GTC",
                quantity="1",
                price="80",
            )
            assert order["status"] == "NEW"
            seen = await client.ws_get_order(symbol="BTCUSD", orderId=order["orderId"])
            assert seen["clientOrderId"] == order["clientOrderId"]
            depth = await client.ws_get_order_book(symbol="BTCUSD")
            assert ["80.00000000", "1.00000000"] in depth["bids"]
            gone = await client.ws_cancel_order(symbol="BTCUSD", orderId=order["orderId"])
            assert gone["status"] == "CANCELED"
            assert (await client.get_account())["accountType"] == "SPOT"
        finally:
            await client.close_connection()

    asyncio.run(scene())


def test_binance_connector(venue: Cluster) -> None:
    client = Spot("carol", "carols secret", base_url=f"http://{HOST}:{http_port(venue, 1)}")
    order = client.new_order(
        symbol="BTCUSD", side="BUY", type="LIMIT", timeInForce="GTC", quantity=1, price=70
    )
    assert order["status"] == "NEW"
    assert [each["orderId"] for each in client.cancel_open_orders("BTCUSD")] == [order["orderId"]]
    with pytest.raises(ClientError) as refused:
        client.cancel_order("BTCUSD", orderId=order["orderId"])
    assert (refused.value.status_code, refused.value.error_code) == (400, -2011)
    assert len(client.account()["balances"]) == 3


def test_binance_sdk_spot(venue: Cluster) -> None:
    base = f"http://{HOST}:{http_port(venue, 2)}"
    settings = ConfigurationRestAPI(api_key="carol", api_secret="carols secret", base_path=base)
    api = SdkSpot(config_rest_api=settings).rest_api
    order = api.new_order(
        symbol="BTCUSD", side="BUY", type="LIMIT", time_in_force="GTC", quantity=1, price=60
    ).data()
    assert order.status == "NEW"
    assert api.get_order(symbol="BTCUSD", order_id=order.order_id).data().orig_qty == "1.00000000"
    gone = api.delete_order(symbol="BTCUSD", order_id=order.order_id).data()
    assert gone.status == "CANCELED"
    assert {each.symbol for each in api.exchange_info().data().symbols} == {"BTCUSD", "ETHUSD"}


@pytest.mark.parametrize("library", ["ccxt", "python-binance"])
def test_the_snippet_of_connect_works_as_pasted(venue: Cluster, library: str) -> None:
    program = [sys.executable, "-m", "raftbook_cli.main", "connect", library, "--account", "carol"]
    command = [*program, "--config", str(venue.path)]
    snippet = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    shown = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", snippet], capture_output=True, text=True, check=False
    )
    assert shown.returncode == 0, shown.stderr + PYTHON_BINANCE_LAST
    assert "BTC" in shown.stdout


PYTHON_BINANCE_LAST = """
If `binance` has no Client: binance-connector was installed over python-binance. The Makefile does
this last: pip install --no-deps --force-reinstall python-binance
"""


def test_every_node_tells_the_same(venue: Cluster) -> None:
    symbol = {"symbol": "BTCUSD"}
    maker = ccxt_client(http_port(venue, 1), "bob")
    taker = ccxt_client(http_port(venue, 3), "carol", "carols secret")
    for price in (120, 121):
        maker.create_order(SYMBOL, "limit", "sell", 0.5, price)
    taken = taker.create_order(SYMBOL, "market", "buy", 0.75)
    assert taken["filled"] == 0.75
    venue.settle()
    clients = [
        Spot("carol", "carols secret", base_url=f"http://{HOST}:{http_port(venue, node_id)}")
        for node_id in venue.ids
    ]
    questions = (
        lambda client: client.depth(**symbol),
        lambda client: client.trades(**symbol),
        lambda client: client.agg_trades(**symbol),
        lambda client: client.klines("BTCUSD", "1m"),
        lambda client: client.ticker_24hr("BTCUSD") | {"closeTime": "logical time goes on"},
        lambda client: client.get_order("BTCUSD", orderId=taken["id"]),
        lambda client: client.get_orders("BTCUSD"),
        lambda client: client.my_trades("BTCUSD"),
        lambda client: client.account()["balances"],
    )
    for question in questions:
        told = [question(client) for client in clients]
        assert told[0] == told[1] == told[2]
    order = clients[0].get_order("BTCUSD", orderId=taken["id"])
    assert order["time"] == taken["info"]["transactTime"]
    maker.cancel_all_orders(SYMBOL)


README = Path(__file__).resolve().parent.parent.parent / "README.md"


@pytest.mark.parametrize(("library", "shows"), [("import ccxt", "open"), ("binance", "'NEW'")])
def test_the_snippets_of_the_readme_trade(venue: Cluster, library: str, shows: str) -> None:
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    (snippet,) = (
        block for block in blocks if library in block.splitlines()[0] and ":8001" in block
    )
    snippet = snippet.replace(":8001", f":{http_port(venue, 2)}")
    shown = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", snippet], capture_output=True, text=True, check=False
    )
    assert shown.returncode == 0, shown.stderr + PYTHON_BINANCE_LAST
    assert shows in shown.stdout


class Trader(threading.Thread):
    """A bot that places one order after the other, and tries each until it knows what became of it.

    Attributes:
        known: client order ids of the orders that were acknowledged, or said to be there already.
        tried: every id it used.
    """

    def __init__(self, ports: list[int]) -> None:
        super().__init__(daemon=True)
        self._clients = [ccxt_client(port, "carol", "carols secret") for port in ports]
        self.known: list[str] = []
        self.tried: list[str] = []
        self.troubles: list[str] = []
        self.is_over = False

    def run(self) -> None:
        for client in self._clients:
            client.load_markets()
        while not self.is_over:
            name = f"bot-{len(self.tried)}"
            self.tried.append(name)
            self._place(name)

    def _place(self, name: str) -> None:
        """The same order, by the same name, through the next node after each failure."""
        while not self.is_over:
            client = self._clients[0]
            try:
                client.create_order(SYMBOL, "limit", "buy", 0.001, 50, {"newClientOrderId": name})
            except ccxt.InvalidOrder as error:
                if "Duplicate order sent" not in str(error):
                    raise
            except (ccxt.NetworkError, ccxt.OperationFailed) as error:
                self.troubles.append(type(error).__name__)
                self._clients.append(self._clients.pop(0))
                time.sleep(0.05)
                continue
            self.known.append(name)
            return


def test_a_bot_trades_on_while_the_leader_is_killed(tmp_path: Path) -> None:
    with running_cluster(tmp_path) as cluster:
        leader = cluster.wait_leader()
        order = [leader, *(node_id for node_id in cluster.ids if node_id != leader)]
        bot = Trader([http_port(cluster, node_id) for node_id in order])
        bot.start()
        try:
            until("it has traded a little", lambda: len(bot.known) >= 15)
            cluster.kill(leader)
            so_far = len(bot.known)
            until("it trades on", lambda: len(bot.known) >= so_far + 15)
        finally:
            bot.is_over = True
            bot.join(30)
        assert bot.troubles, "the bot did not notice"
        cluster.start(leader)
        cluster.wait_up()
        cluster.wait_leader()
        cluster.settle()
        for node_id in cluster.ids:
            seen = ccxt_client(http_port(cluster, node_id), "carol", "carols secret")
            orders = seen.fetch_open_orders(SYMBOL)
            names = [each["clientOrderId"] for each in orders]
            assert len(set(names)) == len(names), "an order is doubled"
            assert set(bot.known) <= set(names) <= set(bot.tried)
            assert seen.fetch_order_book(SYMBOL)["bids"] == [
                [50.0, float(Decimal("0.001") * len(names))]
            ]

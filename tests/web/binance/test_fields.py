"""Every answer, stream and event has the fields that Binance writes down, no more and no less."""

import asyncio
import json
from contextlib import AsyncExitStack
from typing import Any

import pytest

from raftbook.core.commands import deposit
from raftbook.web.binance.operations import PATHS
from raftbook.web.binance.stream_names import MARKET_WIDE, PLAIN_KINDS, read_stream_name
from tests.web.binance.fields import EMPTY, FIELDS, NOT_SENT, ROWS
from tests.web.house import House, Talk, in_the_house

BTC = {"symbol": "BTCUSD"}
STREAM_NAMES = (
    *(f"btcusd@{kind}" for kind in PLAIN_KINDS),
    *MARKET_WIDE,
    *("btcusd@kline_1m", "btcusd@depth@100ms", "btcusd@depth5@100ms"),
)
Heard = dict[str, list[Any]]
"""What was told, by its name in FIELDS; the eldest first."""


class Scene:
    """One market day that has everything in it, and a note of all that was told.

    Alice listens; what she is told stands under `event ...`.
    """

    def __init__(self, house: House) -> None:
        self.house = house
        self.heard: Heard = {}

    def note(self, name: str, value: Any) -> Any:
        """One object, or a list of like ones, none of them missing."""
        self.heard.setdefault(name, []).extend(value if isinstance(value, list) else [value])
        return value

    async def ask(self, call: str, name: str = "", account: str = "alice", **params: Any) -> Any:
        """A signed request that succeeds, noted under its own name or with more words."""
        method, path = call.split()
        answer = await self.house.signed(method, path, account, **params)
        assert answer.status == 200, (call, params, answer.body)
        return self.note(f"{call} {name}".strip(), answer.body)

    async def see(self, path: str, name: str = "", **params: Any) -> Any:
        """A public question."""
        answer = await self.house.get(path, **params)
        assert answer.status == 200, (path, params, answer.body)
        return self.note(f"GET {path} {name}".strip(), answer.body)

    async def order(self, name: str, sort: str = "LIMIT", **terms: Any) -> Any:
        """An order of alice to buy or sell 1 BTC."""
        terms = {"side": "BUY", "type": sort, "quantity": "1"} | BTC | terms
        if "LIMIT" in sort and sort != "LIMIT_MAKER":
            terms = {"timeInForce": "GTC", "price": "100"} | terms
        return await self.ask("POST /order", name, **terms)

    # -- what happens ---------------------------------------------------------------------------

    async def play(self) -> None:
        async with AsyncExitStack() as stack:
            streams = Talk(self.house, "/stream")
            await stack.enter_async_context(streams)
            wanted = {"method": "SUBSCRIBE", "params": STREAM_NAMES, "id": 1}
            streams.say(json.dumps(wanted))
            self.note("stream control", await streams.hear())
            account = Talk(self.house, "/ws-api/v3")
            await stack.enter_async_context(account)
            answer = await account.signed("userDataStream.subscribe.signature")
            self.note("ws-api answer", answer)
            self.note("ws-api userDataStream.subscribe.signature", answer["result"])
            answer = await account.call("session.subscriptions")
            self.note("ws-api session.subscriptions", answer["result"])
            error = self.note("ws-api error", await account.call("depth", symbol="NOPE"))
            self.note("ws-api error error", error["error"])
            await self.house.native("demo", deposit("alice", "USD", 500, "t1"))
            await self._orders()
            await self._pairs()
            await self._questions()
            await self._listen(streams)
            await self._events(account)

    async def _orders(self) -> None:
        await self.house.sell("2", "100", "bob")
        full = await self.order("FULL", quantity="0.5")
        self.note("POST /order fills", full["fills"])
        await self.order("RESULT", quantity="0.5", newOrderRespType="RESULT")
        await self.order("ACK", price="90", newOrderRespType="ACK")
        like = {"newOrderRespType": "RESULT"}
        await self.order("stop", "STOP_LOSS", stopPrice="120", **like)
        trailing = await self.order("trailing", "STOP_LOSS", trailingDelta="100", **like)
        await self.order("iceberg", price="91", icebergQty="0.5", **like)
        await self.order("expired", price="50", timeInForce="IOC", **like)
        own = {"side": "SELL", "price": "91", "selfTradePreventionMode": "EXPIRE_TAKER"}
        await self.order("prevented", **own, **like)
        await self.order("FULL", price="89", newClientOrderId="mine")
        named = BTC | {"origClientOrderId": "mine"}
        await self.ask("GET /order", **named)
        await self.ask("GET /order", "trailing", **BTC, orderId=trailing["orderId"])
        await self.ask("GET /openOrders", **BTC, limit=1)
        amended = await self.ask("PUT /order/amend/keepPriority", **named, newQty="0.75")
        self.note("PUT /order/amend/keepPriority amendedOrder", amended["amendedOrder"])
        await self.ask("DELETE /order", **named)
        old = await self.order("FULL", price="88")
        replaced = await self.ask(
            "POST /order/cancelReplace",
            **BTC,
            **{"side": "BUY", "type": "LIMIT", "timeInForce": "GTC"},
            **{"quantity": "1", "price": "87", "cancelOrderId": old["orderId"]},
            cancelReplaceMode="STOP_ON_FAILURE",
        )
        for half in ("cancelResponse", "newOrderResponse"):
            self.note(f"POST /order/cancelReplace {half}", replaced[half])
        terms = BTC | {"side": "BUY", "type": "MARKET", "quantity": "1"}
        await self.ask("POST /order/test", **terms)
        rates = await self.ask("POST /order/test", "rates", **terms, computeCommissionRates="true")
        for name, value in rates.items():
            self.note(f"POST /order/test {name}", value)
        await self.ask("GET /myTrades", **BTC)
        for method in ("GET", "DELETE"):
            rows = (await self.house.signed(method, "/openOrders", **BTC)).body
            plain = [row for row in rows if row["type"] == "LIMIT" and "icebergQty" not in row]
            self.heard[f"{method} /openOrders"] = plain if method == "DELETE" else rows[:1]
        await self.ask("GET /allOrders", **BTC, limit=1)

    async def _pairs(self) -> None:
        terms = BTC | {"side": "SELL", "quantity": "1"}
        prices = {"abovePrice": "130", "belowStopPrice": "80"}
        sorts = {"aboveType": "LIMIT_MAKER", "belowType": "STOP_LOSS"}
        pair = await self.ask("POST /orderList/oco", **terms, **sorts, **prices)
        self.note("POST /orderList/oco orders", pair["orders"])
        self._reports("POST /orderList/oco", pair)
        number = {"orderListId": pair["orderListId"]}
        shown = await self.ask("GET /orderList", **number)
        self.note("GET /orderList orders", shown["orders"])
        await self.ask("GET /openOrderList")
        ended = await self.ask("DELETE /orderList", **BTC, **number)
        self._reports("DELETE /orderList", ended)
        await self.ask("POST /order/oco", **terms, price="130", stopPrice="80")
        working = BTC | {
            **{"workingType": "LIMIT", "workingSide": "BUY", "workingTimeInForce": "GTC"},
            **{"workingPrice": "70", "workingQuantity": "1"},
            **{"pendingSide": "SELL", "pendingQuantity": "1"},
        }
        last = {"pendingType": "LIMIT_MAKER", "pendingPrice": "130"}
        oto = await self.ask("POST /orderList/oto", **working, **last)
        await self.ask("DELETE /orderList", "triggering", **BTC, orderListId=oto["orderListId"])
        pair = {
            **{"pendingAboveType": "LIMIT_MAKER", "pendingAbovePrice": "130"},
            **{"pendingBelowType": "STOP_LOSS", "pendingBelowStopPrice": "60"},
        }
        otoco = await self.ask("POST /orderList/otoco", **working, **pair)
        for call, told, names in (
            ("POST /orderList/oto", oto, ("working", "pending")),
            ("POST /orderList/otoco", otoco, ("working", "limit", "stop")),
        ):
            self.note(f"{call} orders", told["orders"])
            for name, report in zip(names, told["orderReports"], strict=True):
                self.note(f"{call} {name}", report)

    def _reports(self, call: str, pair: Any) -> None:
        for report in pair["orderReports"]:
            sort = "limit" if report["type"] == "LIMIT_MAKER" else "stop"
            self.note(f"{call} {sort}", report)

    async def _questions(self) -> None:
        for path in ("/ping", "/time"):
            await self.see(path)
        whole = await self.see("/exchangeInfo")
        for name in ("rateLimits", "symbols"):
            self.note(f"GET /exchangeInfo {name}", whole[name])
        for each in whole["symbols"][0]["filters"]:
            self.note(f"GET /exchangeInfo {each['filterType']}", each)
        for path in ("/depth", "/trades", "/historicalTrades", "/aggTrades", "/avgPrice"):
            await self.see(path, **BTC)
        for path in ("/klines", "/uiKlines"):
            await self.see(path, **BTC, interval="1m")
        for sort in ("FULL", "MINI"):
            await self.see("/ticker/24hr", sort, type=sort)
            await self.see("/ticker/24hr", sort, type=sort, **BTC)
        for path in ("/ticker/bookTicker", "/ticker/price"):
            await self.see(path)
            await self.see(path, **BTC)
        account = await self.ask("GET /account")
        for name in ("commissionRates", "balances"):
            self.note(f"GET /account {name}", account[name])
        rates = await self.ask("GET /account/commission", **BTC)
        for name in ("standardCommission", "specialCommission", "taxCommission", "discount"):
            self.note(f"GET /account/commission {name}", rates[name])
        await self.ask("GET /rateLimit/order")
        await self.ask("GET /sapi/v1/asset/tradeFee")
        key = await self._listen_key("POST")
        for method in ("PUT", "DELETE"):
            await self._listen_key(method, key["listenKey"])

    async def _listen_key(self, method: str, key: str = "") -> Any:
        query = f"listenKey={key}".encode() if key else b""
        path, header = "/api/v3/userDataStream", {"X-MBX-APIKEY": "alice"}
        answer = await self.house.ask(method, path, query, headers=header)
        assert answer.status == 200, answer.body
        return self.note(f"{method} /userDataStream", answer.body)

    # -- what is heard --------------------------------------------------------------------------

    async def _listen(self, talk: Talk) -> None:
        """Until every stream has said something; those that wait say it within two seconds."""
        missing = set(STREAM_NAMES)
        while missing:
            told = self.note("stream combined", await talk.hear())
            name = read_stream_name(told["stream"])
            assert name is not None
            missing.discard(told["stream"])
            self.note(f"stream {name.kind}", told["data"])
            if name.kind == "kline":
                self.note("stream kline k", told["data"]["k"])

    async def _events(self, talk: Talk) -> None:
        """All that was told until now; an answer comes after what was told before it."""
        talk.say('{"id": "last", "method": "ping"}')
        while "id" not in (told := await talk.hear()):
            event = self.note("ws-api event", told)["event"]
            self.note(f"event {_kind(event)}", event)
            for items in ("B", "O"):
                if event["e"] != "executionReport" and items in event:
                    self.note(f"event {event['e']} {items}", event[items])


def _kind(event: Any) -> str:
    """What an event is called in FIELDS."""
    if event["e"] != "executionReport":
        return str(event["e"])
    if event["x"] == "NEW" and not event["w"]:
        return "executionReport trailing" if "d" in event else "executionReport stop"
    cases = {"NEW": "", "TRADE": " trade", "EXPIRED": " expired", "TRADE_PREVENTION": " prevented"}
    if event["x"] in cases:
        return f"executionReport{cases[event['x']]}"
    waited = event["o"] not in ("LIMIT", "LIMIT_MAKER") or event["r"] == "OTO_FAILED"
    trails = " trailing" if "d" in event else ""
    return f"executionReport{trails} {'of what waited' if waited else 'canceled'}"


@pytest.fixture(scope="module")
def heard(tmp_path_factory: pytest.TempPathFactory) -> Heard:
    """One scene for all."""
    told: Heard = {}

    async def scene(house: House) -> None:
        played = Scene(house)
        async with asyncio.timeout(30):
            await played.play()
        told.update(played.heard)

    in_the_house(tmp_path_factory.mktemp("fields"), scene)
    return told


@pytest.mark.parametrize("name", FIELDS)
def test_the_fields_are_those_that_binance_writes_down(heard: Heard, name: str) -> None:
    assert heard.get(name), f"nothing was told of {name}"
    for told in heard[name]:
        assert set(told) == FIELDS[name].told, (name, FIELDS[name].page)


@pytest.mark.parametrize("name", ROWS)
def test_rows_have_as_many_places(heard: Heard, name: str) -> None:
    # The names of ROWS, in order, say what stands where.
    for row in heard[name]:
        assert len(row) == len(ROWS[name].names.split()) == 12


def test_every_path_stands_in_the_list(heard: Heard) -> None:
    listed = {" ".join(name.split()[:2]) for name in (*FIELDS, *ROWS, *EMPTY)}
    for path, methods in PATHS.items():
        for method in methods:
            assert f"{method} {path.removeprefix('/api/v3')}" in listed
    for name in EMPTY:
        assert heard[name] == []
    assert set(heard) == {*FIELDS, *ROWS, *EMPTY}


def test_every_event_of_an_account_stands_in_the_list(heard: Heard) -> None:
    told = {name.split()[1] for name in heard if name.startswith("event ")}
    assert told == {"executionReport", "outboundAccountPosition", "balanceUpdate", "listStatus"}
    assert not told & NOT_SENT.keys()

"""What an account may ask about itself, and nobody about another."""

from pathlib import Path
from typing import Any

from raftbook.core.commands import (
    list_instrument,
    new_order,
    place_order,
    place_peg,
    set_api_key,
)
from raftbook.core.instrument import InstrumentTerms
from raftbook.core.types import OrderType, PegReference, Settlement, Side, TimeInForce
from tests.web.house import House, in_the_house

BTC = {"symbol": "BTCUSD"}


def test_an_order_as_it_stands(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        placed = await house.buy("2", "100", newClientOrderId="mine")
        await house.sell("0.5", "100", "bob")
        answer = await house.signed("GET", "/order", origClientOrderId="mine", **BTC)
        time_ms = placed.body["transactTime"]
        assert answer.body == {
            "symbol": "BTCUSD",
            "orderId": 1,
            "orderListId": -1,
            "clientOrderId": "mine",
            "price": "100.00000000",
            "origQty": "2.00000000",
            "executedQty": "0.50000000",
            "cummulativeQuoteQty": "50.00000000",
            "status": "PARTIALLY_FILLED",
            "timeInForce": "GTC",
            "type": "LIMIT",
            "side": "BUY",
            "stopPrice": "0.00000000",
            "icebergQty": "0.00000000",
            "time": time_ms,
            "updateTime": time_ms,
            "isWorking": True,
            "workingTime": time_ms,
            "origQuoteOrderQty": "0.00000000",
            "selfTradePreventionMode": "NONE",
        }

    in_the_house(tmp_path, scene)


def test_orders_of_others_and_of_nobody_do_not_exist(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        await house.buy("2", "100")
        for account, params in (
            ("bob", {"orderId": 1, **BTC}),
            ("alice", {"orderId": 7, **BTC}),
            ("alice", {"orderId": 1, "symbol": "ETHUSD"}),
        ):
            answer = await house.signed("GET", "/order", account, **params)
            assert answer.body == {"code": -2013, "msg": "Order does not exist."}
        assert (await house.signed("GET", "/order", **BTC)).code == -1102

    in_the_house(tmp_path, scene)


def test_an_order_that_this_node_has_not_heard_of_is_looked_for_again(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        before = house.door.replica.raft.applied_index
        await house.signed("GET", "/order", orderId=7, **BTC)
        assert house.door.replica.raft.applied_index == before + 1  # a barrier

    in_the_house(tmp_path, scene)


def test_lists_of_orders(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        for price in ("100", "99", "98", "97"):
            await house.buy("1", price)
        await house.buy("1", "96", symbol="ETHUSD")
        await house.signed("DELETE", "/order", orderId=2, **BTC)

        async def ids(path: str, **params: Any) -> list[int]:
            answer = await house.signed("GET", path, **params)
            return [row["orderId"] for row in answer.body]

        assert await ids("/openOrders") == [1, 3, 4, 5]
        assert await ids("/openOrders", **BTC) == [1, 3, 4]
        assert await ids("/allOrders", **BTC) == [1, 2, 3, 4]
        assert await ids("/allOrders", limit=2, **BTC) == [3, 4]
        assert await ids("/allOrders", limit=2, orderId=2, **BTC) == [2, 3]
        time_ms = house.exchange.now_ns // 1_000_000
        assert await ids("/allOrders", limit=2, startTime=time_ms, **BTC) == [1, 2]
        assert await ids("/allOrders", endTime=time_ms - 1, **BTC) == []
        canceled = await house.signed("GET", "/order", orderId=2, **BTC)
        assert canceled.body["status"] == "CANCELED"

    in_the_house(tmp_path, scene)


def test_own_trades(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        await house.sell("2", "100", "bob")
        await house.buy("1", "100")
        await house.buy("1", "100")
        answer = await house.signed("GET", "/myTrades", **BTC)
        assert [(row["id"], row["orderId"], row["isMaker"]) for row in answer.body] == [
            (1, 2, False),
            (2, 3, False),
        ]
        assert answer.body[0]["quoteQty"] == "100.00000000"
        his = await house.signed("GET", "/myTrades", "bob", fromId=2, **BTC)
        assert [(row["id"], row["isBuyer"], row["isMaker"]) for row in his.body] == [
            (2, False, True)
        ]
        one = await house.signed("GET", "/myTrades", orderId=3, **BTC)
        assert [row["id"] for row in one.body] == [2]
        assert (await house.signed("GET", "/myTrades", "demo", **BTC)).body == []
        last = await house.signed("GET", "/myTrades", limit=1, **BTC)
        assert [row["id"] for row in last.body] == [2]

    in_the_house(tmp_path, scene)


def test_a_trade_of_a_pair_says_which_pair(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        terms = {"side": "SELL", "quantity": "1", "price": "110", "stopPrice": "90"}
        pair = await house.signed("POST", "/order/oco", **BTC, **terms)
        assert pair.body["orderListId"] == 1
        await house.buy("1", "110", "bob")
        (row,) = (await house.signed("GET", "/myTrades", **BTC)).body
        assert (row["orderId"], row["orderListId"]) == (1, 1)
        (row,) = (await house.signed("GET", "/myTrades", "bob", **BTC)).body
        assert (row["orderId"], row["orderListId"]) == (3, -1)

    in_the_house(tmp_path, scene)


def test_a_trade_with_oneself_has_two_sides(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        await house.sell("1", "100")
        await house.buy("1", "100")
        rows = (await house.signed("GET", "/myTrades", **BTC)).body
        assert [(row["orderId"], row["isBuyer"]) for row in rows] == [(1, False), (2, True)]

    in_the_house(tmp_path, scene)


FEES = InstrumentTerms(
    "FEE-USD", "BTC", "ETH", "0.01", "0.01", 1_000, 0, 1_000_000, settlement=Settlement.FUNDED,
    maker_fee=100, taker_fee=-25,
)  # fmt: skip


def test_fees_are_told_in_what_is_paid(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        await house.native("demo", list_instrument(FEES))
        await house.sell("1", "100", "bob", symbol="BTCETH")
        taken = await house.buy("1", "100", symbol="BTCETH")
        (fill,) = taken.body["fills"]
        assert (fill["commission"], fill["commissionAsset"]) == ("-0.02500000", "ETH")
        (row,) = (await house.signed("GET", "/myTrades", "bob", symbol="BTCETH")).body
        assert (row["commission"], row["commissionAsset"]) == ("0.10000000", "ETH")
        query = b"symbol=BTCETH"
        rates = await house.ask("GET", "/sapi/v1/asset/tradeFee", query)
        assert rates.code == -2014
        rates = await house.signed("GET", "/account/commission", symbol="BTCETH")
        assert rates.body["standardCommission"]["maker"] == "0.00100000"
        assert rates.body["standardCommission"]["taker"] == "-0.00025000"
        account = (await house.signed("GET", "/account")).body
        assert (account["makerCommission"], account["takerCommission"]) == (10, 0)

    in_the_house(tmp_path, scene)


def test_balances(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        await house.buy("2", "100")
        answer = (await house.signed("GET", "/account")).body
        assert answer["accountType"] == "SPOT"
        assert answer["permissions"] == ["SPOT"]
        assert answer["balances"][2] == {
            "asset": "USD",
            "free": "99999800.00000000",
            "locked": "200.00000000",
        }
        poor = (await house.signed("GET", "/account", "poor")).body
        assert [row["free"] for row in poor["balances"]] == ["0.00000000"] * 3
        none = await house.signed("GET", "/account", "poor", omitZeroBalances="true")
        assert none.body["balances"] == []

    in_the_house(tmp_path, scene)


def test_orders_of_the_native_port_are_shown_too(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        await house.native("alice", new_order("BTC-USD", Side.BUY, 1_000, 10_000))
        (row,) = (await house.signed("GET", "/openOrders")).body
        assert (row["clientOrderId"], row["origQty"]) == ("", "1.00000000")
        gone = await house.signed("DELETE", "/order", orderId=row["orderId"], **BTC)
        assert gone.body["status"] == "CANCELED"

    in_the_house(tmp_path, scene)


def test_orders_that_binance_does_not_know_are_shown(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        await house.sell("1", "100", "bob")
        await house.native(
            "alice",
            place_order("BTC-USD", Side.BUY, 3_000, None, ord_type=OrderType.MARKET_TO_LIMIT),
            place_peg(
                "BTC-USD", Side.BUY, 1_000, PegReference.PRIMARY, offset=-5, limit_price=10_000
            ),
            place_order(
                "BTC-USD", Side.BUY, 1_000, 9_000, time_in_force=TimeInForce.DAY, min_qty=0
            ),
        )
        rows = (await house.signed("GET", "/openOrders")).body
        assert [(row["type"], row["timeInForce"], row["status"]) for row in rows] == [
            ("MARKET_TO_LIMIT", "GTC", "PARTIALLY_FILLED"),
            ("PEGGED", "GTC", "NEW"),
            ("LIMIT", "GTC", "NEW"),
        ]
        assert rows[0]["price"] == "100.00000000"
        gone = await house.signed("DELETE", "/openOrders", **BTC)
        assert {row["status"] for row in gone.body} == {"CANCELED"}
        for row in rows:
            seen = await house.signed("GET", "/order", orderId=row["orderId"], **BTC)
            assert seen.body["status"] == "CANCELED"

    in_the_house(tmp_path, scene)


def test_listen_keys(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        async def ask(method: str, key: str = "", account: str = "alice") -> Any:
            query = b"listenKey=" + key.encode() if key else b""
            headers = {"X-MBX-APIKEY": account}
            return await house.ask(method, "/api/v3/userDataStream", query, b"", headers)

        key = (await ask("POST")).body["listenKey"]
        assert (await ask("POST")).body["listenKey"] == key
        assert (await ask("PUT", key)).body == {}
        assert (await ask("PUT", key, "poor")).code == -1125
        house.door.now += 3_600
        assert (await ask("PUT", key)).code == -1125
        other = (await ask("POST")).body["listenKey"]
        assert other != key
        assert (await ask("DELETE", other)).body == {}
        assert (await ask("DELETE", other)).code == -1125
        assert (await ask("PUT")).code == -1102
        assert (await ask("POST", account="nobody")).code == -2015
        # Whoever knows the name of an account that has a secret does not hear its events for it.
        assert (await ask("POST", account="bob")).code == -1102
        assert "listenKey" in (await house.signed("POST", "/userDataStream", "bob")).body
        await house.native("bob", set_api_key("bob", "bobs-key", "shh"))
        assert "listenKey" in (await ask("POST", account="bobs-key")).body

    in_the_house(tmp_path, scene)

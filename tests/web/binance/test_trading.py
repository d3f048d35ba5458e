"""Orders over HTTP: what each becomes in the book, and what is told of it."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from raftbook.core.commands import set_account, set_kill_switch, set_phase
from raftbook.core.conditions import OrderConditions
from raftbook.core.limits import Limits
from raftbook.core.types import OrderType, Phase, PostOnly, SelfTradePrevention, TimeInForce
from raftbook.genesis import genesis_of
from tests.web.house import Answer, House, config, in_the_house

BTC = {"symbol": "BTCUSD"}
PLAIN = {"side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "1", "price": "100"}


async def order(house: House, account: str = "alice", **terms: Any) -> Answer:
    return await house.signed("POST", "/order", account, **(BTC | terms))


def test_an_order_that_rests_is_told_whole(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        answer = await house.buy("1.5", "100.25", newClientOrderId="mine-1")
        time_ms = house.exchange.now_ns // 1_000_000
        assert answer.status == 200
        assert answer.body == {
            "symbol": "BTCUSD",
            "orderId": 1,
            "orderListId": -1,
            "clientOrderId": "mine-1",
            "transactTime": time_ms,
            "price": "100.25000000",
            "origQty": "1.50000000",
            "executedQty": "0.00000000",
            "origQuoteOrderQty": "0.00000000",
            "cummulativeQuoteQty": "0.00000000",
            "status": "NEW",
            "timeInForce": "GTC",
            "type": "LIMIT",
            "side": "BUY",
            "workingTime": time_ms,
            "selfTradePreventionMode": "NONE",
            "fills": [],
        }

    in_the_house(tmp_path, scene)


def test_fills_are_told_with_their_trades(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        await house.sell("1", "100", "bob")
        await house.sell("1", "101", "bob")
        answer = await house.buy("3", "101")
        assert answer.body["status"] == "PARTIALLY_FILLED"
        assert answer.body["executedQty"] == "2.00000000"
        assert answer.body["cummulativeQuoteQty"] == "201.00000000"
        assert [
            (fill["price"], fill["qty"], fill["tradeId"], fill["commission"])
            for fill in answer.body["fills"]
        ] == [
            ("100.00000000", "1.00000000", 1, "0.00000000"),
            ("101.00000000", "1.00000000", 2, "0.00000000"),
        ]
        assert {fill["commissionAsset"] for fill in answer.body["fills"]} == {"USD"}

    in_the_house(tmp_path, scene)


@pytest.mark.parametrize(
    ("terms", "status"),
    [
        ({"type": "LIMIT", "timeInForce": "IOC", "price": "100", "quantity": "2"}, "EXPIRED"),
        ({"type": "LIMIT", "timeInForce": "FOK", "price": "100", "quantity": "2"}, "EXPIRED"),
        ({"type": "LIMIT", "timeInForce": "FOK", "price": "100", "quantity": "1"}, "FILLED"),
        ({"type": "MARKET", "quantity": "2"}, "EXPIRED"),
        ({"type": "MARKET", "quoteOrderQty": "50"}, "FILLED"),
    ],
)
def test_how_orders_that_do_not_stay_end(tmp_path: Path, terms: Any, status: str) -> None:
    async def scene(house: House) -> None:
        await house.sell("1", "100", "bob")
        answer = await order(house, side="BUY", **terms)
        assert answer.body["status"] == status
        again = await house.signed("GET", "/order", orderId=answer.body["orderId"], **BTC)
        for name in ("status", "executedQty", "cummulativeQuoteQty", "origQty"):
            assert again.body[name] == answer.body[name]

    in_the_house(tmp_path, scene)


@pytest.mark.parametrize(
    ("mode", "ours", "status"),
    [
        ("NONE", SelfTradePrevention.NONE, "FILLED"),
        ("EXPIRE_TAKER", SelfTradePrevention.CANCEL_NEWEST, "EXPIRED_IN_MATCH"),
        ("EXPIRE_MAKER", SelfTradePrevention.CANCEL_OLDEST, "NEW"),
        ("EXPIRE_BOTH", SelfTradePrevention.CANCEL_BOTH, "EXPIRED_IN_MATCH"),
        ("DECREMENT", SelfTradePrevention.DECREMENT, "EXPIRED_IN_MATCH"),
    ],
)
def test_a_trade_with_oneself(tmp_path: Path, mode: str, ours: int, status: str) -> None:
    async def scene(house: House) -> None:
        await house.sell("1", "100")
        answer = await house.buy("1", "100", selfTradePreventionMode=mode)
        assert answer.body["status"] == status
        assert answer.body["selfTradePreventionMode"] == mode
        prevented = "1.00000000" if status == "EXPIRED_IN_MATCH" else None
        assert answer.body.get("preventedQuantity") == prevented
        placed = house.exchange.accounts["alice"].orders[2]
        assert placed.terms[4][4] == ours

    in_the_house(tmp_path, scene)


@pytest.mark.parametrize(
    ("terms", "kind", "conditions"),
    [
        (
            {"type": "STOP_LOSS", "stopPrice": "90"},
            (OrderType.STOP, TimeInForce.GTC, PostOnly.NO),
            OrderConditions(stop_price=9_000),
        ),
        (
            {"type": "STOP_LOSS_LIMIT", "stopPrice": "90", "price": "89", "timeInForce": "GTC"},
            (OrderType.STOP_LIMIT, TimeInForce.GTC, PostOnly.NO),
            OrderConditions(stop_price=9_000),
        ),
        (
            {"type": "TAKE_PROFIT", "stopPrice": "110"},
            (OrderType.IF_TOUCHED, TimeInForce.GTC, PostOnly.NO),
            OrderConditions(stop_price=11_000),
        ),
        (
            {"type": "TAKE_PROFIT_LIMIT", "stopPrice": "110", "price": "109", "timeInForce": "GTC"},
            (OrderType.LIMIT_IF_TOUCHED, TimeInForce.GTC, PostOnly.NO),
            OrderConditions(stop_price=11_000),
        ),
        (
            {"type": "STOP_LOSS", "trailingDelta": "150"},
            (OrderType.STOP, TimeInForce.GTC, PostOnly.NO),
            OrderConditions(trail_unit=2, trail_offset=150),
        ),
        (
            {"type": "LIMIT_MAKER", "price": "105"},
            (OrderType.LIMIT, TimeInForce.GTC, PostOnly.REJECT),
            None,
        ),
        (
            {"type": "LIMIT", "price": "105", "timeInForce": "GTC", "icebergQty": "0.5"},
            (OrderType.LIMIT, TimeInForce.GTC, PostOnly.NO),
            OrderConditions(display_qty=500),
        ),
    ],
)
def test_types_of_orders_are_ours(
    tmp_path: Path, terms: Any, kind: Any, conditions: OrderConditions | None
) -> None:
    async def scene(house: House) -> None:
        await house.buy("1", "100", "bob")
        await house.sell("1", "100", "bob")  # a last price, from which a stop can trail
        answer = await order(house, side="SELL", quantity="2", **terms)
        assert (answer.status, answer.body["status"]) == (200, "NEW"), answer.body
        assert answer.body["type"] == terms["type"]
        placed = house.exchange.accounts["alice"].orders[answer.body["orderId"]]
        assert placed.terms[4][1:4] == kind
        assert (OrderConditions(*placed.terms[7]) if conditions else None) == conditions
        seen = await house.signed("GET", "/order", orderId=answer.body["orderId"], **BTC)
        assert seen.body["type"] == terms["type"]
        assert seen.body["isWorking"] == ("stopPrice" not in terms and "trailingDelta" not in terms)

    in_the_house(tmp_path, scene)


@pytest.mark.parametrize(
    ("terms", "code", "msg"),
    [
        ({"side": "UP"}, -1117, "Invalid side."),
        ({"type": "PEGGED"}, -1116, "Invalid orderType."),
        ({"timeInForce": "GTX"}, -1115, "Invalid timeInForce."),
        ({"symbol": "NOPE"}, -1121, "Invalid symbol."),
        ({"quantity": "0"}, -1013, "Invalid quantity."),
        ({"quantity": "0.0001"}, -1013, "Filter failure: LOT_SIZE"),
        ({"quantity": "10001"}, -1013, "Filter failure: LOT_SIZE"),
        ({"quantity": "0.123456789"}, -1111, "Parameter 'quantity' has too much precision."),
        ({"price": "100.001"}, -1013, "Filter failure: PRICE_FILTER"),
        ({"price": "0"}, -1013, "Filter failure: PRICE_FILTER"),
        ({"price": "1000000.01"}, -1013, "Filter failure: PRICE_FILTER"),
        ({"price": "1e2"}, -1100, "Illegal characters found in parameter 'price'"),
        ({"price": "-5"}, -1100, "Illegal characters found in parameter 'price'"),
        ({"newClientOrderId": "a b"}, -1100, "parameter 'newClientOrderId'"),
        ({"newClientOrderId": "x" * 37}, -1100, "parameter 'newClientOrderId'"),
        ({"stopPrice": "90"}, -1106, "Parameter 'stopPrice' sent when not required."),
        ({"quoteOrderQty": "90"}, -1106, "Parameter 'quoteOrderQty' sent when not required."),
        ({"selfTradePreventionMode": "MAYBE"}, -1130, "'selfTradePreventionMode' is not valid."),
        ({"newOrderRespType": "LONG"}, -1130, "'newOrderRespType' is not valid."),
        ({"icebergQty": "2"}, -2010, "IcebergQty exceeds QTY."),
        ({"icebergQty": "0.0001"}, -1013, "Filter failure: ICEBERG_PARTS"),
    ],
)
def test_parameters_that_are_no_order(tmp_path: Path, terms: Any, code: int, msg: str) -> None:
    async def scene(house: House) -> None:
        answer = await order(house, **(PLAIN | terms))
        assert (answer.status, answer.code) == (400, code), answer.body
        assert msg in answer.body["msg"]
        assert not house.exchange.accounts["alice"].orders

    in_the_house(tmp_path, scene)


@pytest.mark.parametrize(
    ("sort", "missing"),
    [
        ("LIMIT", "timeInForce"),
        ("LIMIT", "price"),
        ("LIMIT", "quantity"),
        ("LIMIT_MAKER", "price"),
        ("MARKET", "quantity"),
        ("STOP_LOSS", "stopPrice"),
        ("STOP_LOSS_LIMIT", "price"),
        ("LIMIT", "side"),
        ("LIMIT", "type"),
        ("LIMIT", "symbol"),
    ],
)
def test_parameters_that_are_missing_are_named(tmp_path: Path, sort: str, missing: str) -> None:
    needed = {
        "LIMIT": {"timeInForce": "GTC", "price": "100"},
        "LIMIT_MAKER": {"price": "100"},
        "STOP_LOSS": {"stopPrice": "90"},
        "STOP_LOSS_LIMIT": {"timeInForce": "GTC", "price": "100", "stopPrice": "90"},
    }
    terms = {"symbol": "BTCUSD", "side": "BUY", "type": sort, "quantity": "1"} | needed.get(
        sort, {}
    )

    async def scene(house: House) -> None:
        await house.sell("1", "200", "bob")
        assert (await house.signed("POST", "/order", **terms)).status == 200
        terms.pop(missing)
        answer = await house.signed("POST", "/order", **terms)
        assert (answer.status, answer.code) == (400, -1102)
        assert f"'{missing}'" in answer.body["msg"]

    in_the_house(tmp_path, scene)


def test_what_the_book_refuses(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        await house.sell("1", "100", "bob")
        poor = await house.buy("1", "100", "poor")
        assert poor.body == {
            "code": -2010,
            "msg": "Account has insufficient balance for requested action.",
        }
        taker = await order(house, side="BUY", type="LIMIT_MAKER", quantity="1", price="100")
        assert taker.body["msg"] == "Order would immediately match and take."
        await house.buy("1", "50", newClientOrderId="once")
        twice = await house.buy("1", "50", newClientOrderId="once")
        assert twice.body["msg"] == "Duplicate order sent."
        await house.native("demo", set_kill_switch(account="alice", on=True))
        killed = await house.buy("1", "50")
        assert killed.body["msg"] == "This action is disabled on this account."
        await house.native("demo", set_phase("BTC-USD", Phase.HALTED))
        halted = await house.buy("1", "50", "bob")
        assert halted.body["msg"] == "Market is closed."

    in_the_house(tmp_path, scene)


def test_the_accounts_own_rate_has_a_code_of_its_own(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        await house.native("demo", set_account("alice", orders_per_s=1, orders_burst=2))
        for _ in range(2):
            assert (await house.buy("1", "50")).status == 200
        answer = await house.buy("1", "50")
        assert (answer.status, answer.code) == (429, -1015)
        assert answer.headers["retry-after"] == "1"
        house.door.now += 1
        assert (await house.buy("1", "50")).status == 200

    in_the_house(tmp_path, scene)


def test_the_entry_is_told_of_what_took_effect_and_of_nothing_else(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        await house.buy("1", "100", newClientOrderId="once")
        before = house.exchange.applied_index
        answers = (
            await house.buy("1", "99"),
            await house.buy("1", "99", newClientOrderId="once"),  # refused, but by the log
            await amend(house, "0.5", orderId=1),
            await house.signed("DELETE", "/order", orderId=1, **BTC),
        )
        told = [int(answer.headers["x-raftbook-entry"]) - before for answer in answers]
        assert told == [1, 2, 3, 4]
        for answer in (
            await house.signed("GET", "/order", orderId=1, **BTC),
            await house.signed("POST", "/order/test", **BTC, **PLAIN),
            await house.buy("1", "99.001"),
            await house.get("/depth", **BTC),
        ):
            assert "x-raftbook-entry" not in answer.headers

    in_the_house(tmp_path, scene)


def test_less_is_told_of_an_order_if_less_is_asked_for(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        short = await house.buy("1", "100", newOrderRespType="ACK")
        assert set(short.body) == {
            *("symbol", "orderId", "orderListId", "clientOrderId", "transactTime")
        }
        middle = await house.buy("1", "100", newOrderRespType="RESULT")
        assert "fills" not in middle.body and middle.body["status"] == "NEW"

    in_the_house(tmp_path, scene)


def test_orders_without_a_name_get_different_ones(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        answers = await asyncio.gather(*(house.buy("1", "100") for _ in range(20)))
        names = {answer.body["clientOrderId"] for answer in answers}
        assert len(names) == 20

    in_the_house(tmp_path, scene)


# -- cancels -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "in_body"), [({"orderId": 1}, True), ({"origClientOrderId": "mine"}, False)]
)
def test_cancels_by_either_name(tmp_path: Path, target: Any, in_body: bool) -> None:
    async def scene(house: House) -> None:
        await house.buy("2", "100", newClientOrderId="mine")
        await house.sell("0.5", "100", "bob")
        answer = await house.signed(
            "DELETE", "/order", in_body=in_body, newClientOrderId="cancel-1", **BTC, **target
        )
        assert answer.body["status"] == "CANCELED"
        assert (answer.body["orderId"], answer.body["origClientOrderId"]) == (1, "mine")
        assert answer.body["clientOrderId"] == "cancel-1"
        assert answer.body["executedQty"] == "0.50000000"
        assert answer.body["cummulativeQuoteQty"] == "50.00000000"

    in_the_house(tmp_path, scene)


def test_cancels_of_what_is_not_there(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        await house.buy("1", "100")
        await house.signed("DELETE", "/order", orderId=1, **BTC)
        for target in ({"orderId": 1}, {"orderId": 9}, {"origClientOrderId": "no"}, {"orderId": 0}):
            answer = await house.signed("DELETE", "/order", **BTC, **target)
            assert answer.body == {"code": -2011, "msg": "Unknown order sent."}
        await house.buy("1", "100")
        answer = await house.signed("DELETE", "/order", symbol="ETHUSD", orderId=2)
        assert answer.code == -2011
        answer = await house.signed("DELETE", "/order", "bob", orderId=2, **BTC)
        assert answer.code == -2011
        answer = await house.signed("DELETE", "/order", **BTC)
        assert answer.code == -1102
        answer = await house.signed(
            "DELETE", "/order", orderId=2, cancelRestrictions="ONLY_NEW", **BTC
        )
        assert answer.code == -1106

    in_the_house(tmp_path, scene)


def test_an_id_and_a_name_that_are_not_of_one_order_are_of_none(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        await house.buy("2", "100", newClientOrderId="one")
        await house.buy("2", "99", newClientOrderId="two")
        for order_id, name in ((1, "two"), (1, "no"), (9, "one")):
            both = {"orderId": order_id, "origClientOrderId": name}
            assert (await house.signed("GET", "/order", **BTC, **both)).code == -2013
            assert (await house.signed("DELETE", "/order", **BTC, **both)).code == -2011
            assert (await amend(house, "1", **both)).code == -2013
            refused = await replace(
                house, "STOP_ON_FAILURE", order_id, cancelOrigClientOrderId=name
            )
            assert refused.body["data"]["cancelResponse"]["code"] == -2011
        assert len((await house.signed("GET", "/openOrders")).body) == 2
        both = {"orderId": 1, "origClientOrderId": "one"}
        assert (await house.signed("GET", "/order", **BTC, **both)).body["orderId"] == 1
        assert (await amend(house, "1", **both)).body["amendedOrder"]["orderId"] == 1
        assert (await house.signed("DELETE", "/order", **BTC, **both)).body["orderId"] == 1
        replaced = await replace(house, "STOP_ON_FAILURE", 2, cancelOrigClientOrderId="two")
        assert replaced.body["cancelResult"] == "SUCCESS"

    in_the_house(tmp_path, scene)


def test_all_orders_of_an_instrument_are_cancelled(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        await house.buy("1", "100")
        await house.buy("1", "99")
        await house.buy("1", "98", symbol="ETHUSD")
        await house.buy("1", "97", "bob")
        answer = await house.signed("DELETE", "/openOrders", **BTC)
        assert [(row["orderId"], row["status"]) for row in answer.body] == [
            (1, "CANCELED"),
            (2, "CANCELED"),
        ]
        left = await house.signed("GET", "/openOrders")
        assert [row["symbol"] for row in left.body] == ["ETHUSD"]
        assert (await house.signed("DELETE", "/openOrders", **BTC)).code == -2011

    in_the_house(tmp_path, scene)


def test_an_amount_that_is_forgotten_is_below_zero(tmp_path: Path) -> None:
    genesis = genesis_of(config())._replace(limits=Limits(closed_orders_max=1))

    async def scene(house: House) -> None:
        for price in ("100", "99"):
            await house.buy("2", price)
            await house.sell("0.5", price, "bob")
        await house.buy("2", "98")
        rows = (await house.signed("DELETE", "/openOrders", **BTC)).body
        assert [row["cummulativeQuoteQty"] for row in rows] == [
            "-1.00000000",
            "0.00000000",
            "0.00000000",
        ]
        assert [row["executedQty"] for row in rows] == ["1.00000000", "0.00000000", "0.00000000"]

    in_the_house(tmp_path, scene, genesis=genesis)


# -- cancel-replace and amend --------------------------------------------------------------------


async def replace(house: House, mode: str, target: int, **terms: Any) -> Answer:
    return await house.signed(
        "POST",
        "/order/cancelReplace",
        cancelReplaceMode=mode,
        cancelOrderId=target,
        **(BTC | PLAIN | {"price": "90"} | terms),
    )


def test_an_order_takes_the_place_of_another(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        await house.buy("1", "100")
        answer = await replace(house, "STOP_ON_FAILURE", 1)
        assert answer.status == 200
        assert (answer.body["cancelResult"], answer.body["newOrderResult"]) == ("SUCCESS",) * 2
        assert answer.body["cancelResponse"]["orderId"] == 1
        assert answer.body["newOrderResponse"]["price"] == "90.00000000"

    in_the_house(tmp_path, scene)


def test_halves_of_a_replacement_that_fail(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        await house.buy("1", "100")
        gone = await replace(house, "STOP_ON_FAILURE", 77)
        assert (gone.status, gone.code) == (400, -2022)
        assert gone.body["data"] == {
            "cancelResult": "FAILURE",
            "newOrderResult": "NOT_ATTEMPTED",
            "cancelResponse": {"code": -2011, "msg": "Unknown order sent."},
            "newOrderResponse": None,
        }
        refused = await replace(house, "STOP_ON_FAILURE", 1, price="999999", quantity="9999")
        assert (refused.status, refused.code) == (400, -2022)
        assert refused.body["data"]["newOrderResponse"]["code"] == -2010
        assert house.exchange.accounts["alice"].orders[1].leaves_qty
        half = await replace(house, "ALLOW_FAILURE", 1, price="999999", quantity="9999")
        assert (half.status, half.code) == (409, -2021)
        assert half.body["data"]["cancelResult"] == "SUCCESS"
        assert half.body["data"]["newOrderResult"] == "FAILURE"
        placed = await replace(house, "ALLOW_FAILURE", 77)
        assert (placed.status, placed.body["data"]["newOrderResult"]) == (409, "SUCCESS")
        assert (await replace(house, "SOMETIMES", 1)).code == -1130
        elsewhere = await replace(house, "STOP_ON_FAILURE", 2, symbol="ETHUSD")
        assert elsewhere.code == -2022

    in_the_house(tmp_path, scene)


async def amend(house: House, qty: str, **target: Any) -> Answer:
    return await house.signed("PUT", "/order/amend/keepPriority", newQty=qty, **(BTC | target))


def test_an_order_shrinks_and_keeps_its_place(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        await house.buy("2", "100", newClientOrderId="mine")
        await house.buy("1", "100", "bob")
        answer = await amend(house, "1.5", origClientOrderId="mine", newClientOrderId="mine")
        assert answer.status == 200
        assert answer.body["amendedOrder"]["qty"] == "1.50000000"
        assert answer.body["amendedOrder"]["status"] == "NEW"
        await house.sell("1.5", "100", "demo")
        assert house.exchange.accounts["alice"].orders[1].leaves_qty == 0

    in_the_house(tmp_path, scene)


def test_amends_that_are_none(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        await house.buy("2", "100")
        await house.sell("1", "100", "bob")
        assert (await amend(house, "2", orderId=1)).code == -2038
        assert (await amend(house, "3", orderId=1)).code == -2038
        assert (await amend(house, "1", orderId=1)).code == -2038
        assert (await amend(house, "1.5", orderId=9)).code == -2013
        assert (await amend(house, "1.5", orderId=1, newClientOrderId="other")).code == -1106
        assert (await amend(house, "1.5", orderId=1, symbol="ETHUSD")).code == -2013
        assert (await amend(house, "1.0001", orderId=1)).code == -1013

    in_the_house(tmp_path, scene)


# -- pairs ---------------------------------------------------------------------------------------

PAIR = {
    "side": "SELL",
    "quantity": "1",
    "aboveType": "LIMIT_MAKER",
    "abovePrice": "110",
    "belowType": "STOP_LOSS_LIMIT",
    "belowStopPrice": "90",
    "belowPrice": "89",
    "belowTimeInForce": "GTC",
}


def test_a_pair_of_which_one_ends_the_other(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        answer = await house.signed("POST", "/orderList/oco", **BTC, **PAIR)
        assert answer.body["orderListId"] == 1
        assert [report["type"] for report in answer.body["orderReports"]] == [
            "LIMIT_MAKER",
            "STOP_LOSS_LIMIT",
        ]
        shown = await house.signed("GET", "/orderList", orderListId=1)
        assert shown.body["listOrderStatus"] == "EXECUTING"
        assert len((await house.signed("GET", "/openOrderList")).body) == 1
        gone = await house.signed("DELETE", "/orderList", orderListId=1, **BTC)
        assert {report["status"] for report in gone.body["orderReports"]} == {"CANCELED"}
        assert len(gone.body["orderReports"]) == 2
        shown = await house.signed("GET", "/orderList", orderListId=1)
        assert shown.body["listOrderStatus"] == "ALL_DONE"
        assert (await house.signed("DELETE", "/orderList", orderListId=1, **BTC)).code == -2011
        assert (await house.signed("GET", "/orderList", orderListId=2)).code == -2018

    in_the_house(tmp_path, scene)


WORKING = {
    **{"workingType": "LIMIT", "workingSide": "BUY", "workingPrice": "100"},
    **{"workingQuantity": "1", "workingTimeInForce": "GTC", "workingClientOrderId": "w"},
    **{"pendingSide": "SELL", "pendingQuantity": "2"},
}
PENDING = WORKING | {
    **{"pendingType": "LIMIT", "pendingPrice": "110", "pendingTimeInForce": "GTC"},
    **{"pendingClientOrderId": "p"},
}


def test_an_order_that_triggers_another_one(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        answer = await house.signed("POST", "/orderList/oto", **BTC, **PENDING)
        assert (answer.body["contingencyType"], answer.body["orderListId"]) == ("OTO", 1)
        assert [
            (report["clientOrderId"], report["status"], report["workingTime"] > 0)
            for report in answer.body["orderReports"]
        ] == [("w", "NEW", True), ("p", "PENDING_NEW", False)]
        pending = await house.signed("GET", "/order", origClientOrderId="p", **BTC)
        assert (pending.body["status"], pending.body["isWorking"]) == ("PENDING_NEW", False)
        assert pending.body["workingTime"] == -1
        await house.sell("1", "100", "bob")
        pending = await house.signed("GET", "/order", origClientOrderId="p", **BTC)
        assert (pending.body["status"], pending.body["isWorking"]) == ("NEW", True)
        (shown,) = (await house.signed("GET", "/openOrderList")).body
        assert [each["orderId"] for each in shown["orders"]] == [1, 2]
        gone = await house.signed("DELETE", "/orderList", orderListId=1, **BTC)
        assert [report["clientOrderId"] for report in gone.body["orderReports"]] == ["p"]
        shown = await house.signed("GET", "/orderList", orderListId=1)
        assert (shown.body["listOrderStatus"], shown.body["contingencyType"]) == ("ALL_DONE", "OTO")

    in_the_house(tmp_path, scene)


def test_an_order_that_triggers_a_pair(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        pair = {
            **{"pendingAboveType": "LIMIT_MAKER", "pendingAbovePrice": "110"},
            **{"pendingBelowType": "STOP_LOSS_LIMIT", "pendingBelowStopPrice": "90"},
            **{"pendingBelowPrice": "89", "pendingBelowTimeInForce": "GTC"},
        }
        answer = await house.signed("POST", "/orderList/otoco", **BTC, **WORKING, **pair)
        assert answer.body["contingencyType"] == "OTO"
        assert [
            (report["type"], report["side"], report["status"], report["origQty"])
            for report in answer.body["orderReports"]
        ] == [
            ("LIMIT", "BUY", "NEW", "1.00000000"),
            ("LIMIT_MAKER", "SELL", "PENDING_NEW", "2.00000000"),
            ("STOP_LOSS_LIMIT", "SELL", "PENDING_NEW", "2.00000000"),
        ]
        gone = await house.signed("DELETE", "/orderList", orderListId=1, **BTC)
        assert [report["orderId"] for report in gone.body["orderReports"]] == [1, 2, 3]
        assert {report["status"] for report in gone.body["orderReports"]} == {"CANCELED"}
        assert (await house.signed("GET", "/openOrderList")).body == []

    in_the_house(tmp_path, scene)


def test_a_list_whose_first_order_passes_is_over_at_once(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        terms = PENDING | {"workingTimeInForce": "IOC"}
        answer = await house.signed("POST", "/orderList/oto", **BTC, **terms)
        assert answer.body["listOrderStatus"] == "ALL_DONE"
        statuses = [report["status"] for report in answer.body["orderReports"]]
        assert statuses == ["EXPIRED", "CANCELED"]

    in_the_house(tmp_path, scene)


@pytest.mark.parametrize(
    ("changes", "code", "name"),
    [
        ({"workingType": "MARKET"}, -1116, "orderType"),
        ({"workingType": None}, -1102, "workingType"),
        ({"workingPrice": None}, -1102, "workingPrice"),
        ({"workingSide": "UP"}, -1117, "side"),
        ({"pendingType": "WHAT"}, -1116, "orderType"),
        ({"pendingPrice": None}, -1102, "pendingPrice"),
        ({"pendingStopPrice": "90"}, -1106, "pendingStopPrice"),
        ({"pendingTrailingDelta": "90"}, -1106, "pendingTrailingDelta"),
        ({"pendingQuantity": None}, -1102, "pendingQuantity"),
        ({"pendingQuoteOrderQty": "9"}, -1106, "pendingQuoteOrderQty"),
        ({"pendingIcebergQty": "x"}, -1100, "pendingIcebergQty"),
        ({"pendingTimeInForce": None}, -1102, "pendingTimeInForce"),
        ({"pendingClientOrderId": "w"}, -2010, "Duplicate"),
    ],
)
def test_lists_that_are_none_of_ours(tmp_path: Path, changes: Any, code: int, name: str) -> None:
    async def scene(house: House) -> None:
        terms = {key: value for key, value in (PENDING | changes).items() if value is not None}
        answer = await house.signed("POST", "/orderList/oto", **BTC, **terms)
        assert (answer.status, answer.code) == (400, code), answer.body
        assert name in answer.body["msg"]
        assert not house.exchange.accounts["alice"].orders

    in_the_house(tmp_path, scene)


def test_the_old_way_to_say_a_pair(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        answer = await house.signed(
            "POST", "/order/oco", side="BUY", quantity="1", price="90", stopPrice="110", **BTC
        )
        assert [report["type"] for report in answer.body["orderReports"]] == [
            "LIMIT_MAKER",
            "STOP_LOSS",
        ]

    in_the_house(tmp_path, scene)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"aboveType": "TAKE_PROFIT"}, -1158),
        ({"belowType": "LIMIT_MAKER"}, -1168),
        ({"aboveType": "STOP_LOSS", "belowType": "LIMIT_MAKER"}, -1166),
        ({"side": "BUY", "belowType": "STOP_LOSS"}, -1165),
        ({"aboveType": "STOP_LOSS"}, -1158),
        ({"aboveType": "WHAT"}, -1116),
        ({"abovePrice": "80"}, -2010),
        ({"belowPrice": None}, -1102),
        ({"belowStopPrice": None}, -1102),
        ({"belowTimeInForce": "IOC"}, -1115),
        ({"belowIcebergQty": "0.1"}, -1106),
        ({"belowTrailingDelta": "100"}, -1106),
        ({"quantity": None}, -1102),
    ],
)
def test_pairs_that_are_none_of_ours(tmp_path: Path, changes: Any, code: int) -> None:
    async def scene(house: House) -> None:
        terms = {name: value for name, value in (PAIR | changes).items() if value is not None}
        answer = await house.signed("POST", "/orderList/oco", **BTC, **terms)
        assert (answer.status, answer.code) == (400, code), answer.body
        assert not house.exchange.accounts["alice"].orders

    in_the_house(tmp_path, scene)

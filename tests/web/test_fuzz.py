"""Whatever comes, the answer is JSON with a code that clients know: never a 500, never a hang."""

import asyncio
import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raftbook.web.binance.operations import METHODS, PATHS
from raftbook.web.binance.words import MODES, TIMES, TYPES
from tests.web.house import Answer, House, Talk, in_the_house

NAMES = (
    *("symbol", "symbols", "side", "type", "timeInForce", "quantity", "quoteOrderQty", "price"),
    *("newClientOrderId", "stopPrice", "trailingDelta", "icebergQty", "selfTradePreventionMode"),
    *("newOrderRespType", "orderId", "origClientOrderId", "cancelOrderId", "cancelReplaceMode"),
    *("cancelOrigClientOrderId", "newQty", "limit", "fromId", "startTime", "endTime", "interval"),
    *("orderListId", "aboveType", "belowType", "abovePrice", "belowPrice", "aboveStopPrice"),
    *("belowStopPrice", "stopLimitPrice", "listenKey", "recvWindow", "consistency", "unheardOf"),
    *("computeCommissionRates", "omitZeroBalances", "cancelRestrictions", "limitClientOrderId"),
)
NUMBERS = (
    *(
        "0",
        "1",
        "0.01",
        "100",
        "99.5",
        "-1",
        "1e5",
        "1e-05",
        "NaN",
        "Infinity",
        "",
        ".",
        "1.",
        ".5",
    ),
    *(
        "0.001",
        "0.0001",
        "9" * 20,
        "9" * 25,
        "0." + "0" * 19 + "1",
        "99999999999999999999.9",
        "007",
    ),
)
WORDS = (
    *("BTCUSD", "ETHUSD", "NOPE", "btcusd", "BUY", "SELL", *TYPES, *TIMES, *MODES),
    *("1m", "1M", "1w", "3d", "1s", "STOP_ON_FAILURE", "ALLOW_FAILURE", "ACK", "RESULT", "FULL"),
    *('["BTCUSD"]', '["BTCUSD","BTCUSD"]', "[1]", "[", "true", "linearizable", "mine-1", "\x00"),
    *("é", "\U0001f600", "a b", "a&b=c", "%", "x" * 300, "[" * 2_000),
)
values = st.sampled_from((*NUMBERS, *WORDS)) | st.text(max_size=12)
params = st.dictionaries(st.sampled_from(NAMES), values, max_size=10)
LIMIT = {"side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "1", "price": "100"}
PAIR = {
    **{"side": "SELL", "quantity": "1", "aboveType": "LIMIT_MAKER", "abovePrice": "150"},
    **{"belowType": "STOP_LOSS", "belowStopPrice": "50"},
}
WORKING = {
    **{"workingType": "LIMIT", "workingSide": "BUY", "workingPrice": "90"},
    **{"workingQuantity": "1", "workingTimeInForce": "GTC"},
    **{"pendingSide": "SELL", "pendingQuantity": "1"},
}
BTC = {"symbol": "BTCUSD"}
GOOD: dict[tuple[str, str], dict[str, str]] = {
    ("/api/v3/order", "POST"): BTC | LIMIT,
    ("/api/v3/order", "GET"): BTC | {"orderId": "ORDER"},
    ("/api/v3/order", "DELETE"): BTC | {"orderId": "ORDER"},
    ("/api/v3/order/test", "POST"): BTC | LIMIT,
    ("/api/v3/order/cancelReplace", "POST"): BTC
    | LIMIT
    | {"cancelReplaceMode": "ALLOW_FAILURE", "cancelOrderId": "ORDER"},
    ("/api/v3/order/amend/keepPriority", "PUT"): BTC | {"orderId": "ORDER", "newQty": "0.6"},
    ("/api/v3/order/oco", "POST"): BTC
    | {"side": "SELL", "quantity": "1", "price": "150", "stopPrice": "50"},
    ("/api/v3/orderList/oco", "POST"): BTC | PAIR,
    ("/api/v3/orderList/oto", "POST"): BTC
    | WORKING
    | {"pendingType": "LIMIT_MAKER", "pendingPrice": "150"},
    ("/api/v3/orderList/otoco", "POST"): BTC
    | WORKING
    | {"pendingAboveType": "LIMIT_MAKER", "pendingAbovePrice": "150"}
    | {"pendingBelowType": "STOP_LOSS", "pendingBelowStopPrice": "50"},
    ("/api/v3/orderList", "GET"): {"orderListId": "PAIR"},
    ("/api/v3/orderList", "DELETE"): BTC | {"orderListId": "PAIR"},
    ("/api/v3/klines", "GET"): BTC | {"interval": "1m"},
    ("/api/v3/uiKlines", "GET"): BTC | {"interval": "1M"},
    ("/api/v3/userDataStream", "PUT"): {"listenKey": "KEY"},
    ("/api/v3/userDataStream", "DELETE"): {"listenKey": "KEY"},
}
"""What is in order where a symbol is not enough; ORDER, PAIR and KEY stand for what is there."""
ENDPOINTS = [(path, method) for path, methods in PATHS.items() for method in methods]


def some_params(
    chance: random.Random, path: str, method: str, there: dict[str, str]
) -> dict[str, str]:
    """What is in order at an endpoint, and then bent here and there, or not at all."""
    params = {
        name: there.get(value, value) for name, value in GOOD.get((path, method), BTC).items()
    }
    for _ in range(chance.choice((0, 0, 1, 1, 2, 4))):
        name = chance.choice((*params, *NAMES))
        if chance.random() < 0.25:
            params.pop(name, None)
        else:
            params[name] = chance.choice((*NUMBERS, *WORDS))
    return params


endpoints = st.sampled_from(ENDPOINTS)
STATUSES = {200, 400, 401, 404, 405, 409, 413, 429, 503, 504}
many = settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def check(answer: Answer) -> None:
    """An answer that a client can read."""
    assert answer.status in STATUSES, (answer.status, answer.body)
    if answer.status != 200:
        assert type(answer.body["code"]) is int and answer.body["code"] < 0, answer.body
        assert answer.body["msg"], answer.body
    assert answer.headers["x-raftbook-node"] == "1"


@pytest.mark.parametrize("seed", range(3))
def test_any_parameters_at_any_endpoint(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    told: dict[tuple[str, str], set[int]] = {endpoint: set() for endpoint in ENDPOINTS}

    async def scene(house: House) -> None:
        for _ in range(30):
            for path, method in chance.sample(ENDPOINTS, len(ENDPOINTS)):
                params = some_params(chance, path, method, await _there(house, chance))
                account = chance.choice(("alice", "alice", "alice", "bob", "poor"))
                async with asyncio.timeout(5):
                    answer = await house.signed(method, path, account, **params)
                check(answer)
                told[path, method].add(answer.status)

    in_the_house(tmp_path, scene)
    for endpoint, statuses in told.items():
        assert 200 in statuses, f"{endpoint} never had a good answer"


async def _there(house: House, chance: random.Random) -> dict[str, str]:
    """An open order, an open pair and a listen key of alice, made where there is none."""
    orders = (await house.signed("GET", "/openOrders", symbol="BTCUSD")).body
    alone = [row for row in orders if row["orderListId"] == -1 and row["origQty"] == "1.00000000"]
    pairs = [row["orderListId"] for row in orders if row["orderListId"] > 0]
    if not alone:
        alone = [(await house.buy("1", "90")).body]
    if not pairs:
        pairs = [(await house.signed("POST", "/orderList/oco", **BTC, **PAIR)).body["orderListId"]]
    key = (await house.signed("POST", "/userDataStream")).body["listenKey"]
    order = str(chance.choice(alone)["orderId"])
    return {"ORDER": order, "PAIR": str(chance.choice(pairs)), "KEY": key}


raw = st.binary(max_size=60) | st.sampled_from(
    (b"symbol=BTCUSD&symbol=ETHUSD", b"&&&", b"=", b"a", b"%ff=%", b"symbol=%00", b"symbol=+")
)


@given(
    sequence=st.lists(
        st.tuples(
            endpoints
            | st.tuples(st.text("/apiv3order.", max_size=20), st.sampled_from(("GET", "PATCH"))),
            raw,
            raw,
            st.none() | st.text(st.characters(max_codepoint=255), max_size=10) | st.just("alice"),
        ),
        max_size=25,
    )
)
@many
def test_any_bytes_at_any_path(tmp_path_factory: Any, sequence: Any) -> None:
    async def scene(house: House) -> None:
        for (path, method), query, body, key in sequence:
            if not path.startswith(("/api/", "/sapi/")):
                path = f"/api/{path}"
            headers = {} if key is None else {"X-MBX-APIKEY": key}
            async with asyncio.timeout(5):
                check(await house.ask(method, path, query, body, headers))

    in_the_house(tmp_path_factory.mktemp("house"), scene)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | values,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
frames = st.one_of(
    st.fixed_dictionaries(
        {
            "id": st.integers(0, 9) | json_values,
            "method": st.sampled_from((*METHODS, "nothing")) | json_values,
            "params": st.dictionaries(st.sampled_from(NAMES), json_values, max_size=8)
            | params
            | st.sampled_from(list(GOOD.values()))
            | json_values,
        }
    ).map(json.dumps),
    json_values.map(json.dumps),
    st.text(max_size=30),
    st.binary(max_size=30),
)


@given(sequence=st.lists(frames, max_size=25), account=st.sampled_from(("alice", "bob")))
@many
def test_any_frame_of_ws_api(tmp_path_factory: Any, sequence: Any, account: str) -> None:
    async def scene(house: House) -> None:
        async with Talk(house, "/ws-api/v3") as talk:
            for frame in sequence:
                talk.say(_with_key(frame, account, house))
                answer = await talk.hear()
                assert answer["status"] in STATUSES, answer
                if answer["status"] != 200:
                    assert answer["error"]["code"] < 0 and answer["error"]["msg"], answer
            assert (await talk.call("ping"))["result"] == {}

    in_the_house(tmp_path_factory.mktemp("house"), scene)


def _with_key(frame: str | bytes, account: str, house: House) -> str | bytes:
    """The frame, its parameters signed by nobody in particular: alice takes any signature."""
    try:
        request = json.loads(frame)
        request["params"] |= {
            "apiKey": account,
            "signature": "0" * 64,
            "timestamp": int(house.door.now * 1_000),
        }
        return json.dumps(request)
    except (ValueError, TypeError, KeyError):
        return frame


@pytest.mark.parametrize("account", ["alice", "bob", "poor"])
def test_a_try_leaves_no_trace(tmp_path: Path, account: str) -> None:
    async def scene(house: House) -> None:
        before = house.door.replica.machine.state_digest()
        for side in ("BUY", "SELL"):
            for sort in ("LIMIT_MAKER", "MARKET", "STOP_LOSS"):
                more = {"LIMIT_MAKER": {"price": "100"}, "STOP_LOSS": {"stopPrice": "90"}}
                terms = {"symbol": "BTCUSD", "side": side, "type": sort, "quantity": "1"}
                check(
                    await house.signed(
                        "POST", "/order/test", account, **terms, **more.get(sort, {})
                    )
                )
        assert house.door.replica.machine.state_digest() == before

    in_the_house(tmp_path, scene)

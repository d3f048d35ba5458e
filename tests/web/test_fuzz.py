"""Whatever comes, the answer is JSON with a code that clients know: never a 500, never a hang."""

import asyncio
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

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
plausible = st.fixed_dictionaries(
    {"symbol": st.sampled_from(("BTCUSD", "ETHUSD"))},
    optional={
        "side": st.sampled_from(("BUY", "SELL")),
        "type": st.sampled_from((*TYPES,)),
        "timeInForce": st.sampled_from((*TIMES,)),
        "quantity": st.sampled_from(("0.01", "1", "2.5", "10000", "0.001")),
        "price": st.sampled_from(("0", "99.5", "100", "100.01", "1000000")),
        "stopPrice": st.sampled_from(("99", "101")),
        "quoteOrderQty": st.sampled_from(("10", "0.00001")),
        "icebergQty": st.sampled_from(("0.01", "1", "0")),
        "trailingDelta": st.sampled_from(("1", "2000", "2001")),
        "selfTradePreventionMode": st.sampled_from((*MODES,)),
        "orderId": st.integers(0, 30).map(str),
        "cancelOrderId": st.integers(0, 30).map(str),
        "orderListId": st.integers(0, 30).map(str),
        "newQty": st.sampled_from(("0.01", "1")),
        "cancelReplaceMode": st.sampled_from(("STOP_ON_FAILURE", "ALLOW_FAILURE")),
        "aboveType": st.sampled_from(("LIMIT_MAKER", "STOP_LOSS", "STOP_LOSS_LIMIT")),
        "belowType": st.sampled_from(("LIMIT_MAKER", "STOP_LOSS", "STOP_LOSS_LIMIT")),
        "abovePrice": st.sampled_from(("105", "95")),
        "belowPrice": st.sampled_from(("105", "95")),
        "aboveStopPrice": st.sampled_from(("104", "94")),
        "belowStopPrice": st.sampled_from(("104", "94")),
        "interval": st.sampled_from(("1m", "1w", "1M")),
        "limit": st.sampled_from(("1", "1000", "99999999")),
        "startTime": st.sampled_from(("0", "1005000", "99999999999999")),
        "endTime": st.sampled_from(("0", "1005000", "99999999999999")),
        "fromId": st.sampled_from(("0", "2")),
        "consistency": st.just("linearizable"),
    },
)
endpoints = st.sampled_from(
    [(path, method) for path, methods in PATHS.items() for method in methods]
)
requests = st.lists(
    st.tuples(endpoints, params | plausible, st.sampled_from(("alice", "bob", "poor"))),
    min_size=1,
    max_size=25,
)
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


@given(sequence=requests)
@many
def test_any_parameters_at_any_endpoint(tmp_path_factory: Any, sequence: Any) -> None:
    async def scene(house: House) -> None:
        for (path, method), given_params, account in sequence:
            sort = path.removeprefix("/api/v3")
            async with asyncio.timeout(5):
                if path.startswith("/sapi"):
                    query = "&".join(f"{k}={quote_plus(v)}" for k, v in given_params.items())
                    check(await house.ask(method, path, query.encode()))
                else:
                    check(await house.signed(method, sort, account, **given_params))

    in_the_house(tmp_path_factory.mktemp("house"), scene)


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
            | plausible
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

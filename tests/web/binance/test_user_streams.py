"""Streams of accounts over real sockets: by ws-api and by listen key."""

import hashlib
import hmac
from pathlib import Path
from typing import Any

import pytest

from raftbook.core import commands as c
from raftbook.core.types import Side
from raftbook.replica.fences import FenceKind
from raftbook.web.binance.listen_keys import GOOD_MS
from raftbook.web.binance.stream_watch import FENCED
from raftbook.web.binance.streams import EXPIRED
from raftbook.web.binance.ws_api import SLOW
from raftbook.web.websocket import WebSocketProtocol
from tests.web.binance.stream_house import Client, House, in_the_house, with_little_room


def signed(house: House, account: str, secret: str = "any", **params: Any) -> dict[str, Any]:
    """Parameters as a client signs them."""
    params |= {"apiKey": account, "timestamp": house.context.wall_ns() // 10**6}
    text = "&".join(f"{name}={params[name]}" for name in sorted(params))
    params["signature"] = hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()
    return params


async def call(client: Client, method: str, params: Any = None, ref: Any = 1) -> Any:
    """One ws-api request and its answer."""
    await client.say({"id": ref, "method": method, "params": params or {}})
    return await client.hear()


async def subscribe(house: House, client: Client, account: str = "alice") -> int:
    answer = await call(client, "userDataStream.subscribe.signature", signed(house, account))
    assert answer["status"] == 200, answer
    return int(answer["result"]["subscriptionId"])


def test_events_come_under_the_number_of_their_subscription(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        async with house.client("/ws-api/v3") as client:
            assert await subscribe(house, client, "bob") == 0
            assert await subscribe(house, client, "alice") == 1
            told = await call(client, "session.subscriptions")
            assert told["result"] == [{"subscriptionId": 0}, {"subscriptionId": 1}]
            await house.do(c.new_order("A", Side.BUY, 1, 5, client_order_id="mine"))
            told = await client.hear()
            assert told["subscriptionId"] == 1
            assert (told["event"]["x"], told["event"]["c"]) == ("NEW", "mine")

    in_the_house(tmp_path, scene)


def test_a_subscription_ends_when_asked(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        async with house.client("/ws-api/v3") as client:
            for _ in range(3):
                await subscribe(house, client)
            wrong = await call(client, "userDataStream.unsubscribe", {"subscriptionId": 7})
            assert wrong["error"]["code"] == -1130
            await call(client, "userDataStream.unsubscribe", {"subscriptionId": 1})
            told = await call(client, "session.subscriptions")
            assert [each["subscriptionId"] for each in told["result"]] == [0, 2]
            assert (await call(client, "userDataStream.unsubscribe"))["result"] == {}
            await house.do(c.new_order("A", Side.BUY, 1, 5))
            assert (await call(client, "ping"))["result"] == {}
            assert await subscribe(house, client) == 3

    in_the_house(tmp_path, scene)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"signature": "0" * 64}, -1022),
        ({"signature": None}, -1102),
        ({"apiKey": "nobody"}, -2015),
        ({"timestamp": 5}, -1021),
    ],
)
def test_whoever_is_not_the_account_hears_nothing(
    tmp_path: Path, change: dict[str, Any], code: int
) -> None:
    async def scene(house: House) -> None:
        async with house.client("/ws-api/v3") as client:
            secret = "bobs secret"
            params = {**signed(house, "bob", secret), **change}
            if "timestamp" in change:
                params = signed(house, "bob", secret)
                params |= change
                text = "&".join(
                    f"{name}={params[name]}" for name in sorted(params) if name != "signature"
                )
                params["signature"] = hmac.new(
                    secret.encode(), text.encode(), hashlib.sha256
                ).hexdigest()
            params = {name: value for name, value in params.items() if value is not None}
            answer = await call(client, "userDataStream.subscribe.signature", params)
            assert answer["error"]["code"] == code
            assert not house.users.has_listeners()

    in_the_house(tmp_path, scene, secrets={"bob": "bobs secret"})


def test_without_a_session_the_signed_method_is_named(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        async with house.client("/ws-api/v3") as client:
            answer = await call(client, "userDataStream.subscribe")
            assert answer["status"] == 401
            assert "subscribe.signature" in answer["error"]["msg"]

    in_the_house(tmp_path, scene)


@pytest.mark.parametrize("path", ["/ws/{}", "/stream?streams={}"])
def test_a_listen_key_is_a_stream(tmp_path: Path, path: str) -> None:
    async def scene(house: House) -> None:
        key = house.keys.key_for("alice", house.now_ms)
        async with house.client(path.format(key)) as client:
            await client.ask("LIST_SUBSCRIPTIONS")
            await house.do(c.new_order("A", Side.BUY, 1, 5))
            told = await client.hear()
            if "streams=" in path:
                assert told["stream"] == key
                told = told["data"]
            assert (told["e"], told["x"]) == ("executionReport", "NEW")

    in_the_house(tmp_path, scene)


def test_a_listen_key_may_be_subscribed_and_left(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        key = house.keys.key_for("alice", house.now_ms)
        async with house.client("/ws") as client:
            assert (await client.ask("SUBSCRIBE", key))["result"] is None
            assert (await client.ask("LIST_SUBSCRIPTIONS"))["result"] == [key]
            await client.ask("UNSUBSCRIBE", key)
            await house.do(c.new_order("A", Side.BUY, 1, 5))
            assert (await client.ask("LIST_SUBSCRIPTIONS"))["result"] == []
            assert not house.users.has_listeners()

    in_the_house(tmp_path, scene)


def test_a_key_that_is_ended_says_goodbye(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        key = house.keys.key_for("alice", house.now_ms)
        async with house.client(f"/ws/{key}") as client:
            await client.ask("LIST_SUBSCRIPTIONS")
            house.keys.end(key, "alice", house.now_ms)
            code, reason, heard = await client.rest()
            assert (code, reason) == (1000, EXPIRED)
            assert [each["e"] for each in heard] == ["listenKeyExpired"]
            assert heard[0]["listenKey"] == key
        async with house.client(f"/ws/{key}") as client:
            assert (await client.closed())[0] == 1008

    in_the_house(tmp_path, scene)


def test_a_key_that_is_not_kept_alive_says_goodbye(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        key = house.keys.key_for("alice", house.now_ms)
        async with house.client(f"/ws/{key}") as client:
            await client.ask("LIST_SUBSCRIPTIONS")
            house.later_ms = GOOD_MS
            assert await client.closed() == (1000, EXPIRED)

    in_the_house(tmp_path, scene, read_age_max_s=0.1)


def test_a_fenced_node_ends_the_streams_of_accounts(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        async with house.client("/ws-api/v3") as client:
            await subscribe(house, client)
            house.door.replica._stop(FenceKind.STORAGE, "as a test wants it")
            assert await client.closed() == (1012, FENCED)
        async with house.client("/ws-api/v3") as client:
            params = signed(house, "alice")
            answer = await call(client, "userDataStream.subscribe.signature", params)
            assert (answer["status"], answer["error"]["msg"]) == (503, FENCED)
        house.door.replica.fence = None

    in_the_house(tmp_path, scene)


def test_a_connection_that_is_gone_leaves_nothing_behind(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        async with house.client("/ws-api/v3") as client:
            await subscribe(house, client)
            assert house.users.has_listeners()
        await house.until(lambda: not house.users.has_listeners())

    in_the_house(tmp_path, scene)


def test_whoever_does_not_read_its_events_is_closed_and_served_no_gap(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(WebSocketProtocol, "connection_made", with_little_room)
    monkeypatch.setattr("raftbook.web.binance.ws_api.BYTES_MAX", 1 << 16)

    async def scene(house: House) -> None:
        async with house.client("/ws-api/v3", max_queue=1) as client:
            await subscribe(house, client)
            client.socket.transport.pause_reading()
            count = 0
            while "does not read" not in caplog.text:
                await house.do(*(c.new_order("A", Side.BUY, 1, 5) for _ in range(40)))
                count += 40
                assert count < 200_000
            client.socket.transport.resume_reading()
            code, reason, heard = await client.rest()
            assert (code, reason) == (1008, SLOW)
            ids = [told["event"]["i"] for told in heard]
            assert ids == list(range(1, len(ids) + 1))
            assert 0 < len(ids) < count
        await house.until(lambda: not house.users.has_listeners())

    in_the_house(tmp_path, scene)


def test_junk_in_a_subscription_is_answered(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        async with house.client("/ws-api/v3") as client:
            for params, subscribed, ended in (
                ({}, -2014, None),
                ({"apiKey": 3}, -2015, None),
                ({"apiKey": []}, -2015, None),
                ({"subscriptionId": "x"}, -2014, -1100),
                ({"a": {}}, -2014, None),
            ):
                answer = await call(client, "userDataStream.subscribe.signature", params)
                assert (answer["status"], answer["error"]["code"]) == (401, subscribed), params
                answer = await call(client, "userDataStream.unsubscribe", params)
                assert answer.get("error", {}).get("code") == ended, params
                assert answer["status"] == (400 if ended else 200)
            assert not house.users.has_listeners()

    in_the_house(tmp_path, scene)

"""ws-api: the same answers over one WebSocket, many at a time."""

import asyncio
import json
from pathlib import Path

import pytest

from raftbook.web.binance.ws_api import REQUESTS_MAX
from tests.web.house import House, Talk, in_the_house

ORDER = {
    "symbol": "BTCUSD",
    "side": "BUY",
    "type": "LIMIT",
    "timeInForce": "GTC",
    "quantity": "1",
    "price": "100.50",
}


def test_an_order_over_ws_api(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        async with Talk(house, "/ws-api/v3") as talk:
            placed = await talk.signed("order.place", "bob", **ORDER)
            assert (placed["id"], placed["status"], placed["rateLimits"]) == (1, 200, [])
            assert placed["result"]["status"] == "NEW"
            seen = await talk.signed("order.status", "bob", symbol="BTCUSD", orderId=1)
            assert seen["result"]["price"] == "100.50000000"
            rows = await talk.signed("openOrders.status", "bob")
            assert [row["orderId"] for row in rows["result"]] == [1]
            gone = await talk.signed("order.cancel", "bob", symbol="BTCUSD", orderId=1)
            assert gone["result"]["status"] == "CANCELED"
            account = await talk.signed("account.status", "bob", omitZeroBalances=True)
            assert account["result"]["accountType"] == "SPOT"

    in_the_house(tmp_path, scene)


def test_questions_that_need_no_key(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        async with Talk(house, "/ws-api/v3") as talk:
            assert (await talk.call("ping"))["result"] == {}
            assert (await talk.call("time"))["result"]["serverTime"]
            some = await talk.call("exchangeInfo", symbols=["ETHUSD"])
            assert [each["symbol"] for each in some["result"]["symbols"]] == ["ETHUSD"]
            depth = await talk.call("depth", symbol="BTCUSD", limit=5)
            assert depth["result"] == {"lastUpdateId": 0, "bids": [], "asks": []}

    in_the_house(tmp_path, scene)


def test_faults_stand_under_error(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        async with Talk(house, "/ws-api/v3") as talk:
            answer = await talk.call("depth", symbol="NOPE")
            assert answer == {
                "id": 1,
                "status": 400,
                "error": {"code": -1121, "msg": "Invalid symbol."},
                "rateLimits": [],
            }
            house.secrets["bob"] = "changed"
            house.context.secrets["alice"] = None  # type: ignore[index]
            answer = await talk.signed("order.place", "nobody", **ORDER)
            assert (answer["status"], answer["error"]["code"]) == (401, -2015)
            assert (await talk.call("order.place", **ORDER))["error"]["code"] == -2014
            assert (await talk.call("no.such.thing"))["error"]["code"] == -1104

    in_the_house(tmp_path, scene)


@pytest.mark.parametrize(
    ("frame", "ref", "code"),
    [
        ("{", None, -1135),
        ("[]", None, -1135),
        (b"\xff", None, -1135),
        ("[" * 100_000, None, -1135),
        ('{"id": 7}', 7, -1102),
        ('{"id": "a", "method": 5}', "a", -1102),
        ('{"id": 7, "method": "ping", "params": []}', 7, -1100),
        ('{"id": {}, "method": "ping"}', None, -1100),
        ('{"id": 7, "method": "depth", "params": {"symbol": NaN}}', None, -1135),
        ('{"id": 7, "method": "depth", "params": {"symbol": ["BTCUSD"]}}', 7, -1100),
    ],
)
def test_frames_that_are_no_request(
    tmp_path: Path, frame: str | bytes, ref: object, code: int
) -> None:
    async def scene(house: House) -> None:
        async with Talk(house, "/ws-api/v3") as talk:
            talk.say(frame)
            answer = await talk.hear()
            assert (answer["id"], answer["error"]["code"]) == (ref, code)
            assert (await talk.call("ping"))["status"] == 200

    in_the_house(tmp_path, scene)


def test_numbers_are_signed_as_they_were_written(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        async with Talk(house, "/ws-api/v3") as talk:
            placed = await talk.signed(
                "order.place", "bob", **(ORDER | {"quantity": 1, "price": 99.5})
            )
            assert placed["result"]["price"] == "99.50000000"

    in_the_house(tmp_path, scene)


def test_many_requests_at_once_are_one_entry_and_bounded(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        async with Talk(house, "/ws-api/v3") as talk:
            await talk.signed("order.place", **ORDER)
            before = house.door.replica.raft.applied_index
            stamp = int(house.door.now * 1_000)
            params = ORDER | {"apiKey": "alice", "signature": "x", "timestamp": stamp}
            count = REQUESTS_MAX + 10
            house.door.commits = False  # nothing is answered while they are sent
            for at in range(count):
                talk.say(json.dumps({"id": at, "method": "order.place", "params": params}))
            crowded = [await talk.hear() for _ in range(10)]
            assert house.door.replica.raft.applied_index == before
            house.door.commits = True
            house.door.turns()
            placed = [await talk.hear() for _ in range(REQUESTS_MAX)]
            assert {answer["status"] for answer in placed} == {200}
            assert {answer["id"] for answer in placed} == set(range(REQUESTS_MAX))
            assert {(each["status"], each["error"]["code"]) for each in crowded} == {(429, -1003)}
            assert [answer["id"] for answer in crowded] == list(range(REQUESTS_MAX, count))
            assert talk.sent == []
            assert house.door.replica.raft.applied_index == before + 1

    in_the_house(tmp_path, scene)


def test_a_connection_that_ends_leaves_nothing_waiting(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        async with Talk(house, "/ws-api/v3") as talk:
            await talk.signed("order.place", **ORDER)
            house.door.commits = False
            stamp = int(house.door.now * 1_000)
            params = ORDER | {"apiKey": "alice", "signature": "x", "timestamp": stamp}
            talk.say(json.dumps({"id": 1, "method": "order.place", "params": params}))
            async with asyncio.timeout(5):
                while not house.door.replica.pending_count:
                    await asyncio.sleep(0)
        left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in left:
            await asyncio.wait([task], timeout=1)
        assert all(task.done() for task in left)

    in_the_house(tmp_path, scene)

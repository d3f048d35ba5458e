"""Long lists are written a piece at a time, and others have their turn in between."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from raftbook.core.commands import new_order
from raftbook.core.types import Side
from raftbook.web.binance.accounts import OPEN_ROWS_MAX
from raftbook.web.binance.written import ROWS_A_TURN, encode, write_rows
from tests.web.house import House, Talk, in_the_house


class AtOnce:
    """A call that waits for no turn."""

    async def make(self, piece: Any) -> Any:
        return piece(self)


def test_pieces_are_one_list() -> None:
    for count in (0, 1, 3, 4, 9):
        written = asyncio.run(write_rows(AtOnce(), range(count), lambda at: {"at": at}, a_turn=4))
        assert json.loads(encode(written)) == [{"at": at} for at in range(count)]


def test_what_is_gone_meanwhile_is_left_out() -> None:
    written = asyncio.run(
        write_rows(AtOnce(), range(9), lambda at: None if at % 3 else {"at": at}, a_turn=2)
    )
    assert json.loads(encode(written)) == [{"at": 0}, {"at": 3}, {"at": 6}]


def test_others_have_their_turn_between_two_pieces() -> None:
    async def scene() -> None:
        turns = 0

        async def other() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        task = asyncio.create_task(other())
        await write_rows(AtOnce(), range(40), lambda at: at, a_turn=4)
        assert turns >= 9
        task.cancel()

    asyncio.run(scene())


def test_many_open_orders(tmp_path: Path) -> None:
    count = 2 * ROWS_A_TURN + 50

    async def scene(house: House) -> None:
        orders = [new_order("BTC-USD", Side.BUY, 1, 100 + at) for at in range(count)]
        await house.native("alice", *orders)
        rows = (await house.signed("GET", "/openOrders")).body
        assert [row["orderId"] for row in rows] == list(range(1, count + 1))
        async with Talk(house, "/ws-api/v3") as talk:
            answer = await talk.signed("openOrders.status")
            assert answer["status"] == 200 and answer["rateLimits"] == []
            assert answer["result"] == rows

    in_the_house(tmp_path, scene)


def test_an_order_that_is_cancelled_while_it_is_written_is_told_as_it_is_then(
    tmp_path: Path,
) -> None:
    async def scene(house: House) -> None:
        count = ROWS_A_TURN + 1
        orders = [new_order("BTC-USD", Side.BUY, 1, 100 + at) for at in range(count)]
        await house.native("alice", *orders)
        unknown = await house.signed("DELETE", "/order", symbol="BTCUSD", orderId=9_999)
        assert unknown.code == -2011  # and the node has a session for her
        house.door.commits = False
        ends = [1, count]  # one that is written already, and one that is not
        cancels: list[Any] = [
            asyncio.ensure_future(house.signed("DELETE", "/order", symbol="BTCUSD", orderId=each))
            for each in ends
        ]
        while house.door.replica.pending_count < len(ends):
            await asyncio.sleep(0)
        listing: Any = asyncio.ensure_future(house.signed("GET", "/openOrders"))
        await asyncio.sleep(0)  # it writes its first piece
        house.door.commits = True
        house.door.turns()
        assert not listing.done()
        rows = (await listing).body
        assert [(await each).body["status"] for each in cancels] == ["CANCELED"] * 2
        assert len(rows) == count
        assert (rows[0]["status"], rows[-1]["status"]) == ("NEW", "CANCELED")

    in_the_house(tmp_path, scene)


def test_more_open_orders_than_one_answer_holds(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        orders = [new_order("BTC-USD", Side.BUY, 1, 100) for _ in range(OPEN_ROWS_MAX + 1)]
        await house.native("alice", *orders)
        answer = await house.signed("GET", "/openOrders")
        assert (answer.status, answer.code) == (400, -1130)
        assert (await house.signed("GET", "/openOrders", symbol="ETHUSD")).body == []
        page = await house.signed("GET", "/allOrders", symbol="BTCUSD", orderId=1, limit=1_000)
        assert [row["orderId"] for row in page.body] == list(range(1, 1_001))

    in_the_house(tmp_path, scene)


def test_more_open_pairs_than_one_answer_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("raftbook.web.binance.order_lists.ROWS_MAX", 2)
    pair = {"side": "BUY", "quantity": "1", "price": "90", "stopPrice": "110", "symbol": "BTCUSD"}

    async def scene(house: House) -> None:
        for count in (1, 2):
            await house.signed("POST", "/order/oco", **pair)
            assert len((await house.signed("GET", "/openOrderList")).body) == count
        await house.signed("POST", "/order/oco", **pair)
        answer = await house.signed("GET", "/openOrderList")
        assert (answer.status, answer.code) == (400, -1130)

    in_the_house(tmp_path, scene)

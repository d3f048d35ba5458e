"""Connections of streams over real sockets: what clients may say, and how they end."""

import asyncio
import json
from pathlib import Path

import pytest

from raftbook.core import commands as c
from raftbook.core.types import Side
from raftbook.replica.fences import FenceKind
from raftbook.web.binance.stream_outbox import SLOW
from raftbook.web.binance.stream_watch import FENCED, INSTALLED, STALE
from raftbook.web.binance.streams import STREAMS_MAX
from raftbook.web.throttle import MESSAGES_BURST, TOO_MANY_MESSAGES
from raftbook.web.websocket import WebSocketProtocol
from tests.web.binance.stream_house import House, in_the_house, with_little_room
from tests.web.binance.stream_market import BookKeeper


def test_each_address_gives_its_streams(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        async with (
            house.client("/ws/oilusd@bookTicker/gasusd@bookTicker") as bare,
            house.client("/stream?streams=oilusd@bookTicker/gasusd@bookTicker") as combined,
            house.client("/stream/ws/3") as ccxt,
            house.client("/ws/7") as numbered,
            house.client("/ws") as empty,
            house.client("/stream") as wrapped,
        ):
            assert [(await bare.hear())["s"] for _ in range(2)] == ["OILUSD", "GASUSD"]
            told = await combined.hear()
            assert (told["stream"], told["data"]["s"]) == ("oilusd@bookTicker", "OILUSD")
            for client in (ccxt, numbered, empty):
                assert await client.ask("SUBSCRIBE", "oilusd@bookTicker") == {
                    "result": None,
                    "id": 1,
                }
                assert (await client.hear())["s"] == "OILUSD"
            assert await wrapped.ask("SUBSCRIBE", "oilusd@bookTicker", request_id="a") == {
                "result": None,
                "id": "a",
            }
            assert (await wrapped.hear())["stream"] == "oilusd@bookTicker"

    in_the_house(tmp_path, scene)


def test_subscriptions_can_be_listed_ended_and_wrapped(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        async with house.client("/ws") as client:
            await client.ask("SUBSCRIBE", "oilusd@trade", "gasusd@trade", "oilusd@trade")
            assert await client.ask("LIST_SUBSCRIPTIONS") == {
                "result": ["oilusd@trade", "gasusd@trade"],
                "id": 1,
            }
            assert await client.ask("UNSUBSCRIBE", "gasusd@trade", "nobody@trade") == {
                "result": None,
                "id": 1,
            }
            assert (await client.ask("GET_PROPERTY", "combined"))["result"] is False
            assert (await client.ask("SET_PROPERTY", "combined", True))["result"] is None
            assert (await client.ask("GET_PROPERTY", "combined"))["result"] is True
            await house.do(c.new_order("B", Side.BUY, 1, 5), c.new_order("B", Side.SELL, 1, 5))
            await house.do(c.new_order("A", Side.BUY, 1, 5), c.new_order("A", Side.SELL, 1, 5))
            told = await client.hear()
            assert (told["stream"], told["data"]["s"]) == ("oilusd@trade", "OILUSD")

    in_the_house(tmp_path, scene)


def test_depth_follows_its_confirmation_at_once(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        async with house.client("/stream/ws/0") as client:
            assert (await client.ask("SUBSCRIBE", "oilusd@depth@100ms"))["result"] is None
            await house.do(c.new_order("A", Side.BUY, 1, 5))
            await house.do(c.new_order("A", Side.BUY, 1, 5))
            told = await client.hear()
            assert (told["e"], told["U"]) == ("depthUpdate", 1)

    in_the_house(tmp_path, scene)


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/ws/nobody@trade", "Invalid request: invalid stream"),
        ("/ws/oilusd@nothing", "Invalid request: invalid stream"),
        ("/stream?streams=oilusd@trade/x", "Invalid request: invalid stream"),
    ],
)
def test_an_address_that_names_no_stream_is_closed_with_the_reason(
    tmp_path: Path, path: str, reason: str
) -> None:
    async def scene(house: House) -> None:
        async with house.client(path) as client:
            assert await client.closed() == (1008, reason)

    in_the_house(tmp_path, scene)


def test_what_cannot_be_subscribed_is_refused_and_the_rest_goes_on(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        async with house.client("/ws") as client:
            assert await client.ask("SUBSCRIBE", "oilusd@trade", "nobody@trade") == {
                "error": {"code": 2, "msg": "Invalid request: invalid stream"},
                "id": 1,
            }
            await client.say(b"\x00\xff")
            assert (await client.hear())["error"]["code"] == 3
            assert (await client.ask("LIST_SUBSCRIPTIONS"))["result"] == []

    in_the_house(tmp_path, scene)


def test_a_connection_has_so_many_streams_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("raftbook.web.binance.streams.STREAMS_MAX", 2)
    assert STREAMS_MAX == 1_024

    async def scene(house: House) -> None:
        async with house.client("/ws/oilusd@trade") as client:
            told = await client.ask("SUBSCRIBE", "oilusd@depth", "gasusd@depth")
            assert told["error"]["msg"] == "Invalid request: too many streams"
            assert (await client.ask("SUBSCRIBE", "oilusd@depth"))["result"] is None

    in_the_house(tmp_path, scene)


def test_whoever_says_too_much_is_closed(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        async with house.client("/ws") as client:
            for _ in range(MESSAGES_BURST + 10):
                await client.say({"method": "LIST_SUBSCRIPTIONS", "id": 1})
            assert await client.closed() == (1008, TOO_MANY_MESSAGES)

    in_the_house(tmp_path, scene)


def test_a_message_that_is_too_long_is_closed_with_its_code(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        async with house.client("/ws") as client:
            await client.say("x" * (1 << 17))
            assert (await client.closed())[0] == 1009

    in_the_house(tmp_path, scene)


def test_whoever_reads_too_slowly_is_closed_and_all_others_go_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The slow one reads what had been written to it, without a gap, and then why it ends."""
    monkeypatch.setattr(WebSocketProtocol, "connection_made", with_little_room)

    async def scene(house: House) -> None:
        path = "/ws/oilusd@depth@100ms/oilusd@trade/oilusd@bookTicker"
        async with (
            house.client(path, max_queue=1) as slow,
            house.client("/ws/oilusd@trade") as quick,
        ):
            slow.socket.transport.pause_reading()
            trades = 0
            while "reads too slowly" not in caplog.text:
                orders = [
                    each
                    for price in range(1, 20)
                    for each in (
                        c.new_order("A", Side.BUY, 1, price),
                        c.new_order("A", Side.SELL, 1, price),
                    )
                ]
                await house.do(*orders)
                trades += 19
                for _ in range(19):
                    await quick.hear()
                assert trades < 200_000
            slow.socket.transport.resume_reading()
            code, reason, heard = await slow.rest()
            assert (code, reason) == (1008, SLOW)
            ids = [told["t"] for told in heard if told.get("e") == "trade"]
            assert ids == list(range(1, len(ids) + 1))
            assert 0 < len(ids) < trades

    in_the_house(tmp_path, scene, buffer_bytes_max=1 << 16)


def test_a_fenced_node_sends_its_listeners_elsewhere(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        async with house.client("/ws/oilusd@trade") as client, house.client("/ws") as idle:
            await client.ask("LIST_SUBSCRIPTIONS")
            house.door.replica._stop(FenceKind.STORAGE, "as a test wants it")
            assert await client.closed() == (1012, FENCED)
            assert await idle.closed() == (1012, FENCED)
            async with house.client("/ws/oilusd@trade") as late:
                assert await late.closed() == (1012, FENCED)
        house.door.replica.fence = None

    in_the_house(tmp_path, scene)


def test_a_node_that_was_given_a_snapshot_ends_its_streams(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        async with house.client("/ws/oilusd@trade") as client:
            await client.ask("LIST_SUBSCRIPTIONS")
            for listener in house.door.replica.on_installed:
                listener()
            assert await client.closed() == (1012, INSTALLED)

    in_the_house(tmp_path, scene)


def test_a_node_without_word_of_a_leader_ends_its_streams(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        async with house.client("/ws/oilusd@trade") as client:
            await client.ask("LIST_SUBSCRIPTIONS")
            house.door.replica.age_ms = lambda: 1_000  # type: ignore[method-assign]
            assert await client.closed() == (1012, STALE)

    in_the_house(tmp_path, scene, read_age_max_s=0.2)


def test_a_node_that_stops_says_so(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        async with house.client("/ws/oilusd@trade") as client:
            await client.ask("LIST_SUBSCRIPTIONS")
            closing = asyncio.create_task(house.server.close())
            assert (await client.closed())[0] == 1012
            await closing

    in_the_house(tmp_path, scene)


def test_two_hundred_subscribers_hear_everything(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        clients = []
        for _ in range(200):
            context = house.client("/ws/oilusd@trade/oilusd@depth@100ms", max_queue=None)
            clients.append((context, await context.__aenter__()))
        for price in range(1, 11):
            await house.do(
                c.new_order("A", Side.BUY, 1, price), c.new_order("A", Side.SELL, 1, price)
            )
        wanted = house.door.replica.machine.exchange.books["A"].feed_seq
        for _, client in clients:
            trades: list[int] = []
            keeper = BookKeeper()
            keeper.picture({"lastUpdateId": 0, "bids": [], "asks": []})
            while len(trades) < 10 or keeper.last != wanted:
                told = await client.hear()
                if told["e"] == "trade":
                    trades.append(told["t"])
                else:
                    assert told["U"] == (keeper.last or 0) + 1
                    keeper.take(told)
            assert trades == list(range(1, 11))
            assert keeper.book() == {"lastUpdateId": wanted, "bids": [], "asks": []}
        for context, _ in clients:
            await context.__aexit__(None, None, None)

    in_the_house(tmp_path, scene)


def test_junk_of_every_kind_is_answered_or_closed_with_a_code(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        junk = [
            "",
            "null",
            "[]",
            "{}",
            '"x"',
            "1e999",
            "NaN",
            '{"method":null}',
            "\u0000",
            "[" * 999,
        ]
        async with house.client("/ws") as client:
            for text in junk:
                await client.say(text)
                answer = await client.hear()
                assert answer["error"]["code"] in (2, 3), text
            await client.say(json.dumps({"method": "SUBSCRIBE", "params": {"a": 1}, "id": 3}))
            assert (await client.hear())["id"] == 3

    in_the_house(tmp_path, scene)

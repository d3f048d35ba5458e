"""/v1/live: what a page is told, how often, and what becomes of one that does not read."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from raftbook.core import commands as c
from raftbook.core.types import Side
from raftbook.web import live, live_frames
from raftbook.web.app import make_app
from raftbook.web.live import Reader
from raftbook.web.server import WebBounds, WebServer
from raftbook.web.websocket import POLICY
from raftbook.wire import client_messages as m
from tests.gateway.door import Door, at_the_door
from tests.web.asgi import context_of

BOUNDS = WebBounds(connections_max=50, request_timeout_s=10.0, idle_timeout_s=10.0)


class Page:
    """One reader: `next(sort)` is the next frame of a sort."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def next(self, sort: str, **fields: Any) -> dict[str, Any]:
        """The next frame of this type with these fields; others before it are passed over."""
        async with asyncio.timeout(20):
            while True:
                frame: dict[str, Any] = json.loads(await self.socket.recv())
                if frame["type"] == sort and all(frame[key] == fields[key] for key in fields):
                    return frame


class Floor:
    """A door with its HTTP port on a real socket, and somebody who trades."""

    def __init__(self, door: Door, port: int) -> None:
        self.door, self.port = door, port
        self._seq = 0

    def page(self, query: str = "", **options: Any) -> Any:
        """A connection to the feed."""
        return connect(f"ws://127.0.0.1:{self.port}/v1/live{query}", **options)

    async def trade(self, *orders: Any) -> None:
        """Orders of one account."""
        caller = self.door.caller()
        session = await caller.open("alice", "floor")
        self._seq += 1
        await caller.ask(m.REQUEST, session, self._seq, orders)
        caller.hang_up()


def on_the_floor(folder: Path, scene: Callable[[Floor], Awaitable[None]]) -> None:
    """Play a scene against a real socket."""

    async def play(door: Door) -> None:
        context = context_of(door, folder)
        server = WebServer(make_app(context), BOUNDS, on_close=context.on_close)
        await server.start("127.0.0.1", 0)
        try:
            await scene(Floor(door, server.port))
        finally:
            await server.close()

    at_the_door(folder, play)


def _buy(qty: int, price: int) -> Any:
    return c.new_order("A", Side.BUY, qty, price)


def _sell(qty: int, price: int) -> Any:
    return c.new_order("A", Side.SELL, qty, price)


def test_a_page_is_told_everything_at_once_and_then_what_is_new(tmp_path: Path) -> None:
    async def scene(floor: Floor) -> None:
        await floor.trade(_buy(2, 10), _sell(1, 10))
        async with floor.page("?symbol=A") as socket:
            page = Page(socket)
            hello = await page.next("hello")
            assert (hello["node_id"], hello["cluster"]) == (1, "test")
            listed = await page.next("instruments")
            assert [row["symbol"] for row in listed["instruments"]] == ["A", "B"]
            assert listed["instruments"][0]["tick_size"] == "0.01"
            tape = await page.next("tape")
            assert [trade[1:3] for trade in tape["trades"]] == [[10, 1]]
            book = await page.next("book")
            assert (book["bids"], book["asks"], book["last"]) == ([[10, 1, 1]], [], 10)
            assert book["day"] == {"open": 10, "high": 10, "low": 10, "qty": 1, "count": 1}
            cluster = await page.next("cluster")
            assert cluster["leader_id"] == 1
            await floor.trade(_sell(1, 10), _sell(5, 12))
            news = await page.next("book")
            assert (news["bids"], news["asks"]) == ([], [[12, 5, 1]])
            trades = await page.next("trades")
            assert [trade[1:3] + trade[4:] for trade in trades["trades"]] == [[10, 1, 2]]

    on_the_floor(tmp_path, scene)


def test_another_instrument_is_chosen_on_the_same_connection(tmp_path: Path) -> None:
    async def scene(floor: Floor) -> None:
        async with floor.page("?symbol=A") as socket:
            page = Page(socket)
            await page.next("book", symbol="A")
            await socket.send(json.dumps({"symbol": "B"}))
            assert (await page.next("book", symbol="B"))["bids"] == []
            await page.next("cluster")

    on_the_floor(tmp_path, scene)


def test_many_pages_that_come_at_once_share_one_list_of_instruments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    make = live_frames.instruments_frame

    def counted(exchange: Any) -> str:
        made.append(make(exchange))
        return made[-1]

    monkeypatch.setattr(live_frames, "instruments_frame", counted)
    monkeypatch.setattr(live, "CLUSTER_EVERY_S", 3_600.0)

    async def scene(floor: Floor) -> None:
        async with floor.page() as first, floor.page() as second, floor.page() as third:
            for socket in (first, second, third):
                listed = await Page(socket).next("instruments")
                assert [row["symbol"] for row in listed["instruments"]] == ["A", "B"]
        assert len(made) == 2  # for the first page, and when its timer looked first

    on_the_floor(tmp_path, scene)


def test_every_reader_hears_of_a_change_though_another_one_just_joined(tmp_path: Path) -> None:
    async def scene(floor: Floor) -> None:
        async with floor.page("?symbol=A") as first:
            page = Page(first)
            await page.next("book")
            await floor.trade(_buy(2, 10))
            async with floor.page("?symbol=A") as second:
                assert (await Page(second).next("book"))["bids"] == [[10, 2, 1]]
                assert (await page.next("book"))["bids"] == [[10, 2, 1]]

    on_the_floor(tmp_path, scene)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"symbol": 1}', "nonsense", "[" * 5_000, b"\xff", b'{"symbol": "A"}']
)
def test_a_reader_that_talks_nonsense_is_closed(tmp_path: Path, text: str | bytes) -> None:
    async def scene(floor: Floor) -> None:
        async with floor.page() as socket:
            await socket.send(text)
            with pytest.raises(ConnectionClosed) as caught:
                await Page(socket).next("nothing")
            assert caught.value.rcvd is not None
            assert caught.value.rcvd.code == POLICY

    on_the_floor(tmp_path, scene)


def test_a_reader_that_never_stops_asking_is_closed(tmp_path: Path) -> None:
    async def scene(floor: Floor) -> None:
        async with floor.page() as socket:
            for _ in range(live.TOLD_MAX + 1):
                await socket.send('{"symbol": "A"}')
            with pytest.raises(ConnectionClosed):
                await Page(socket).next("nothing")

    on_the_floor(tmp_path, scene)


def test_one_reader_too_many_is_turned_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "READERS_MAX", 1)

    async def scene(floor: Floor) -> None:
        async with floor.page() as first:
            await Page(first).next("book")
            with pytest.raises(InvalidStatus):
                await floor.page()

    on_the_floor(tmp_path, scene)


def test_pages_of_other_sites_are_turned_away(tmp_path: Path) -> None:
    async def scene(floor: Floor) -> None:
        with pytest.raises(InvalidStatus):
            await floor.page(origin="http://elsewhere.example")
        own = f"http://127.0.0.1:{floor.port}"
        async with floor.page(origin=own) as socket:
            await Page(socket).next("hello")

    on_the_floor(tmp_path, scene)


def test_whoever_reads_late_sees_the_present_and_no_more(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        book = door.replica.machine.exchange.books["A"]
        reader = Reader("A")
        for number in range(1_000):
            reader.tell("book", f"book {number}")
            reader.tell("cluster", f"cluster {number}")
        for number in range(live.TRADE_FRAMES_MAX):
            reader.tell_trades(f"trades {number}", book)
        frames = reader.take()
        assert frames[:2] == ["book 999", "cluster 999"]
        assert len(frames) == 2 + live.TRADE_FRAMES_MAX
        for number in range(live.TRADE_FRAMES_MAX + 1):
            reader.tell_trades(f"trades {number}", book)
        assert reader.take() == [live_frames.tape_frame(book)]
        assert reader.take() == []

    at_the_door(tmp_path, scene)

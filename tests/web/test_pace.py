"""However many ask for what is dear: a pass of the loop makes a little of it."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from raftbook.core import commands as c
from raftbook.core.types import Phase
from raftbook.gateway.pace import ROUND_S
from raftbook.web import market_view
from raftbook.web.binance import accounts, listing, market_data, order_lists
from raftbook.web.binance.door import HALF_WRITTEN_MAX
from tests.web.house import House, Talk, in_the_house

PIECE_S = ROUND_S / 4
ASKED = 40


class Clock:
    """The loop's time, which goes on while something is made, and a little in each pass."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        loop = asyncio.get_running_loop()
        self._monkeypatch = monkeypatch
        self.now = loop.time()
        self.made = 0
        monkeypatch.setattr(loop, "time", lambda: self.now)

    def slow(self, owner: Any, name: str) -> None:
        """Let a function take its time, and count how often it was called."""
        original = getattr(owner, name)

        def made(*args: Any, **kwargs: Any) -> Any:
            self.now += PIECE_S
            self.made += 1
            return original(*args, **kwargs)

        self._monkeypatch.setattr(owner, name, made)

    async def most_in_a_pass(self, tasks: list[asyncio.Task[Any]]) -> int:
        """Let the tasks end; the most that was made in one pass of the loop."""
        most = before = 0
        while not all(task.done() for task in tasks):
            await asyncio.sleep(0)
            most, before = max(most, self.made - before), self.made
            self.now += PIECE_S
        return most


@pytest.mark.parametrize(
    ("path", "query", "owner", "name"),
    [
        ("/api/v3/depth", b"symbol=BTCUSD", market_data, "levels"),
        ("/api/v3/trades", b"symbol=BTCUSD", market_data, "islice"),
        ("/api/v3/aggTrades", b"symbol=BTCUSD", market_data, "aggregates"),
        ("/api/v3/klines", b"symbol=BTCUSD&interval=1m", market_data, "chart"),
        ("/api/v3/ticker/bookTicker", b"", market_data, "chosen"),
        ("/api/v3/ticker/price", b"", market_data, "chosen"),
        ("/api/v3/ticker/24hr", b"symbol=BTCUSD", market_data, "day_document"),
        ("/api/v3/exchangeInfo", b"symbol=BTCUSD", listing, "symbol_document"),
        ("/v1/book/BTC-USD", b"", market_view, "book_document"),
        ("/v1/log", b"", market_view, "log_document"),
    ],
)
def test_what_anybody_may_ask_for_is_made_in_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, query: bytes, owner: Any, name: str
) -> None:
    async def scene(house: House) -> None:
        told = (await house.ask("GET", path, query)).body
        clock = Clock(monkeypatch)
        clock.slow(owner, name)
        asked = [asyncio.create_task(house.ask("GET", path, query)) for _ in range(ASKED)]
        # A round, and what the first ones of a quiet moment may do at once.
        assert await clock.most_in_a_pass(asked) <= 10
        assert clock.made >= ASKED
        assert {task.result().status for task in asked} == {200}
        assert asked[-1].result().body == told

    in_the_house(tmp_path, scene)


@pytest.mark.parametrize(
    ("path", "owner", "name"),
    [
        ("/myTrades", accounts, "time_range"),
        ("/account", accounts, "balances"),
        ("/openOrderList", order_lists, "_as_it_stands"),
        ("/openOrders", accounts, "islice"),
    ],
)
def test_what_an_account_asks_for_is_made_in_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, owner: Any, name: str
) -> None:
    pair = {"side": "BUY", "quantity": "1", "price": "90", "stopPrice": "110", "symbol": "BTCUSD"}

    async def scene(house: House) -> None:
        await house.signed("POST", "/order/oco", **pair)
        params = {"symbol": "BTCUSD"} if path == "/myTrades" else {}
        clock = Clock(monkeypatch)
        clock.slow(owner, name)
        ask = lambda: house.signed("GET", path, **params)  # noqa: E731
        asked = [asyncio.create_task(ask()) for _ in range(ASKED)]
        assert await clock.most_in_a_pass(asked) <= 10
        assert clock.made >= ASKED
        assert {task.result().status for task in asked} == {200}

    in_the_house(tmp_path, scene)


def test_requests_of_one_websocket_are_answered_in_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(house: House) -> None:
        async with Talk(house, "/ws-api/v3") as talk:
            clock = Clock(monkeypatch)
            clock.slow(market_data, "aggregates")
            ask = {"id": 1, "method": "trades.aggregate", "params": {"symbol": "BTCUSD"}}
            for _ in range(ASKED):
                talk.say(json.dumps(ask))
            before = 0
            while len(talk.sent) < ASKED:
                await asyncio.sleep(0)
                assert clock.made - before <= 10
                before = clock.made
                clock.now += PIECE_S
            assert clock.made == ASKED

    in_the_house(tmp_path, scene)


def test_few_long_answers_are_half_written(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        query = b"symbol=BTCUSD"
        ask = lambda: house.ask("GET", "/api/v3/depth", query)  # noqa: E731
        with _resting(house):
            asked = [asyncio.create_task(ask()) for _ in range(20)]
            for _ in range(5):
                await asyncio.sleep(0)
            assert len(house.door.server.pace._turns) == HALF_WRITTEN_MAX
        assert {answer.status for answer in await asyncio.gather(*asked)} == {200}

    in_the_house(tmp_path, scene)


@pytest.mark.parametrize(
    "path", ["/trades", "/depth", "/ticker/24hr", "/exchangeInfo", "/openOrders", "/allOrders"]
)
def test_a_state_that_grew_old_before_the_turn_came_is_not_shown(tmp_path: Path, path: str) -> None:
    async def scene(house: House) -> None:
        await house.buy("1", "90")
        with _resting(house):
            asked = asyncio.create_task(house.signed("GET", path, symbol="BTCUSD"))
            await asyncio.sleep(0)
            house.door.replica.age_ms = lambda: 60_000  # type: ignore[method-assign]
        assert (await asked).status == 503

    in_the_house(tmp_path, scene)


@pytest.mark.parametrize("path", ["/openOrders", "/allOrders"])
def test_an_account_may_trade_while_its_question_waits(tmp_path: Path, path: str) -> None:
    async def scene(house: House) -> None:
        await house.buy("1", "90")
        with _resting(house):
            asked = asyncio.create_task(house.signed("GET", path, symbol="BTCUSD"))
            await asyncio.sleep(0)
            await house.buy("1", "91")
        answer = await asked
        assert answer.status == 200
        assert [row["price"] for row in answer.body] == ["90.00000000", "91.00000000"]

    in_the_house(tmp_path, scene)


def test_the_head_of_an_answer_claims_no_more_than_it_shows(tmp_path: Path) -> None:
    """Whoever reads X-Raftbook-Applied to find out whether an own order is in the answer."""

    async def scene(house: House) -> None:
        pace, loop = house.door.server.pace, asyncio.get_running_loop()
        await house.buy("1", "90")
        for path, query in (
            ("/api/v3/ticker/bookTicker", b"symbol=BTCUSD"),
            ("/api/v3/depth", b"symbol=BTCUSD"),
            ("/v1/book/BTC-USD", b""),
        ):
            with _resting(house):
                asked = asyncio.create_task(house.ask("GET", path, query))
                await asyncio.sleep(0)
                house.door.commits = False
                order: Any = asyncio.ensure_future(house.buy("1", "95"))
                while not house.door.replica.pending_count:
                    await asyncio.sleep(0)
                pace.free_at = 0.0  # in one pass of the loop: a round, then the node's own turn
                loop.call_soon(pace._round)
                loop.call_soon(house.door.turns)
                house.door.commits = True
                answer, entry = await asked, (await order).headers["x-raftbook-entry"]
            best = str(answer.body.get("bidPrice") or answer.body["bids"][0])
            is_shown = "95" in best
            assert is_shown or int(answer.headers["x-raftbook-applied"]) < int(entry), path
            await house.signed("DELETE", "/openOrders", symbol="BTCUSD")
            await house.buy("1", "90")

    in_the_house(tmp_path, scene)


def test_an_instrument_that_is_deleted_while_its_figures_wait_is_unknown(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        with _resting(house):
            asked = asyncio.create_task(house.get("/ticker/24hr", symbol="ETHUSD"))
            await asyncio.sleep(0)
            close = c.set_phase("ETH-USD", Phase.CLOSED)
            await house.native("demo", close, c.delete_instrument("ETH-USD"))
        answer = await asked
        assert (answer.status, answer.code) == (400, -1121)

    in_the_house(tmp_path, scene)


def test_long_answers_of_one_connection_are_written_one_after_the_other(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        pace = house.door.server.pace
        ask = {"id": 1, "method": "depth", "params": {"symbol": "BTCUSD"}}
        async with Talk(house, "/ws-api/v3") as talk:
            with _resting(house):
                for _ in range(100):
                    talk.say(json.dumps(ask))
                for _ in range(5):
                    await asyncio.sleep(0)
                other = asyncio.create_task(house.get("/depth", symbol="ETHUSD"))
                for _ in range(5):
                    await asyncio.sleep(0)
                assert len(pace._turns) == 2
            assert (await other).status == 200
            assert len(talk.sent) < 50
            for _ in range(100):
                assert (await talk.hear())["status"] == 200

    in_the_house(tmp_path, scene)


@contextmanager
def _resting(house: House) -> Iterator[None]:
    """Meanwhile others have had more than their turns, and nothing is made."""
    pace = house.door.server.pace
    pace.free_at = asyncio.get_running_loop().time() + 3600.0
    yield
    pace.free_at = 0.0
    pace._round()

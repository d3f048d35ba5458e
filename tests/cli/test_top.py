"""`raftbook top` on a terminal that a test holds: what stands there, and what keys do."""

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Static

from cli.cluster_view import ClusterView, NodeView
from cli.invocation import Invocation
from cli.outcomes import CommandFailed
from cli.top import top
from cli.top_screen import TopScreen, ladder_text, tape_text
from raftbook.client.views import BookLevel, BookView, MarketTrade
from raftbook.config import NodeAddress
from raftbook.errors import NoNodeReachable


def _level(price: str, qty: str, total: str) -> BookLevel:
    return BookLevel(Decimal(price), Decimal(qty), Decimal(total), 1)


def _book(symbol: str = "BTC-USD", **changes: Any) -> BookView:
    fields: dict[str, Any] = {
        "symbol": symbol,
        "bids": (_level("99.50", "2", "2"), _level("99.00", "1", "3")),
        "asks": (_level("100.00", "4", "4"), _level("101.00", "1", "5")),
        "bid_orders": None,
        "ask_orders": None,
        "feed_seq": 7,
        "applied_index": 12,
        "node_id": 1,
        "last_price": Decimal("100.00"),
        "phase": "CONTINUOUS",
        "age_ms": 0,
    }
    return BookView(**fields | changes)


TRADES = (
    MarketTrade(2, Decimal("100.00"), Decimal(3), 2_000_000_000, 12, "BUY", 1, 2),
    MarketTrade(1, Decimal("99.75"), Decimal(1), 1_000_000_000, 11, "SELL", 1, 2),
)


class Venue:
    """A source in the hands of a test.

    Attributes:
        trouble: what asking for the market raises, None for an answer.
    """

    def __init__(self) -> None:
        self.trouble: Exception | None = None
        self.book: dict[str, Any] = {}
        self.is_closed = False

    async def symbols(self) -> list[str]:
        return ["BTC-USD", "ETH-USD"]

    async def market(self, symbol: str) -> tuple[BookView, tuple[MarketTrade, ...]]:
        if self.trouble is not None:
            raise self.trouble
        return _book(symbol, **self.book), TRADES

    async def cluster(self) -> ClusterView:
        status = {
            "role": "leader",
            "leader_id": 1,
            "term": 4,
            "commit_index": 12,
            "applied_index": 12,
            "snapshot_index": 0,
            "digest": "9f3a61c2e07b0000",
            "digest_index": 12,
        }
        nodes = [
            NodeView(NodeAddress(1, "127.0.0.1", 7001, 7101, 8001), status),
            NodeView(NodeAddress(2, "127.0.0.1", 7002, 7102, 8002), None, "refused"),
        ]
        return ClusterView(tuple(nodes))

    async def close(self) -> None:
        self.is_closed = True


def _on_screen(venue: Venue, scene: Callable[[TopScreen, Pilot[None]], Awaitable[None]]) -> None:
    async def play() -> None:
        app = TopScreen(venue, "BTC-USD")
        async with app.run_test(size=(120, 40)) as pilot:
            await scene(app, pilot)
        assert venue.is_closed

    asyncio.run(play())


async def _says(app: TopScreen, pilot: Pilot[None], where: str, words: str) -> str:
    """Wait until a part of the screen says something; all that it says then."""
    async with asyncio.timeout(20):
        while True:
            text = str(app.query_one(where, Static).render())
            if words in text:
                return text
            await pilot.pause()


def test_ladder_tape_and_nodes_are_shown() -> None:
    async def scene(app: TopScreen, pilot: Pilot[None]) -> None:
        assert "spread 0.50" in await _says(app, pilot, "#head", "BTC-USD")
        ladder = await _says(app, pilot, "#ladder", "101.00")
        prices = [line.split()[0] for line in ladder.splitlines() if line.strip()[:1].isdigit()]
        assert prices == ["101.00", "100.00", "99.50", "99.00"]
        tape = await _says(app, pilot, "#tape", "▼ 99.75")
        assert "▲ 100.00" in tape
        cluster = await _says(app, pilot, "#cluster", "leader")
        assert "unreachable" in cluster
        await _says(app, pilot, "#trouble", "no quorum")

    _on_screen(Venue(), scene)


def test_n_and_p_choose_another_instrument() -> None:
    async def scene(app: TopScreen, pilot: Pilot[None]) -> None:
        await _says(app, pilot, "#head", "BTC-USD")
        await pilot.press("n")
        await _says(app, pilot, "#head", "ETH-USD")
        await pilot.press("p")
        await _says(app, pilot, "#head", "BTC-USD")

    _on_screen(Venue(), scene)


def test_a_venue_that_is_away_is_told_and_comes_back() -> None:
    venue = Venue()

    async def scene(app: TopScreen, pilot: Pilot[None]) -> None:
        await _says(app, pilot, "#head", "BTC-USD")
        venue.trouble = NoNodeReachable("no node answered")
        await _says(app, pilot, "#trouble", "no node answered")
        venue.trouble = None
        venue.book = {"age_ms": 5_000.0}
        await _says(app, pilot, "#trouble", "heard of its leader 5.0 s ago")

    _on_screen(venue, scene)


def test_a_halt_and_an_empty_book_are_told() -> None:
    venue = Venue()
    venue.book = {"bids": (), "asks": (), "last_price": None, "phase": "HALTED"}

    async def scene(app: TopScreen, pilot: Pilot[None]) -> None:
        head = await _says(app, pilot, "#head", "HALTED")
        assert "empty book" in head
        assert "no trade yet" in head

    _on_screen(venue, scene)


def test_rows_keep_their_place_however_many_levels_there_are() -> None:
    thin, full = _book(asks=()), _book()
    assert ladder_text(thin, 20, 60).plain.count("\n") == ladder_text(full, 20, 60).plain.count(
        "\n"
    )
    nothing = _book(bids=(), asks=())
    assert ladder_text(nothing, 20, 60).plain.count("▇") == 0
    assert len(tape_text(TRADES, 2).plain.splitlines()) == 2


def test_a_pipe_is_told_of_another_verb() -> None:
    from click.testing import CliRunner

    done = CliRunner().invoke(top, [], obj=Invocation(environ={}))
    assert done.exit_code == 2
    assert "raftbook book --watch" in done.output


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    from click.testing import CliRunner

    monkeypatch.setattr("cli.top.find_spec", lambda name: None)
    done = CliRunner().invoke(top, [], obj=Invocation(environ={}))
    assert isinstance(done.exception, CommandFailed)
    assert "textual" in str(done.exception)

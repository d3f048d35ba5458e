"""The screen of `raftbook top`: ladder, tape, cluster, and what is wrong.

Owns the layout, the keys and the rhythm. Must not know how nodes are asked: its source does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import ClassVar, Final, Protocol

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.widgets import Footer, Static

from raftbook.client.views import BookLevel, BookView, MarketTrade
from raftbook.errors import RaftbookError

from .cluster import health_line, status_table
from .cluster_view import ClusterView

EVERY_S: Final = 0.25
CLUSTER_EVERY_S: Final = 0.5
STALE_MS: Final = 2_000
_WIDTH: Final = 14
"""Of a column of numbers."""
_BUY, _SELL = "green", "red"
_ARROWS: Final = {"BUY": ("▲", _BUY), "SELL": ("▼", _SELL)}


class Source(Protocol):
    """Where pictures come from; each call may raise a RaftbookError."""

    async def symbols(self) -> list[str]: ...

    async def market(self, symbol: str) -> tuple[BookView, tuple[MarketTrade, ...]]: ...

    async def cluster(self) -> ClusterView: ...

    async def close(self) -> None: ...


class TopScreen(App[None]):
    """One instrument and the nodes.

    Attributes:
        symbol: what is shown.
    """

    CSS = """
    Screen { layout: vertical; }
    #head { height: 1; padding: 0 1; background: $panel; }
    #trouble { height: auto; padding: 0 1; background: $warning 30%; display: none; }
    #floor { height: 1fr; }
    #ladder { width: 1fr; height: 100%; padding: 0 1; border-right: solid $panel; }
    #tape { width: 44; height: 100%; padding: 0 1; }
    #cluster { height: auto; max-height: 12; padding: 0 1; border-top: solid $panel; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "quit"),
        Binding("n", "step(1)", "next instrument"),
        Binding("p", "step(-1)", "previous"),
    ]
    ENABLE_COMMAND_PALETTE = False

    def __init__(self, source: Source, symbol: str) -> None:
        super().__init__()
        self.symbol = symbol
        self._source = source
        self._hurry = asyncio.Event()
        self._troubles: dict[str, str] = {}

    def compose(self) -> ComposeResult:
        """The places of everything."""
        yield Static(id="head")
        yield Static(id="trouble")
        with Horizontal(id="floor"):
            yield Static(id="ladder")
            yield Static(id="tape")
        yield Static("asking the nodes", id="cluster")
        yield Footer()

    def on_mount(self) -> None:
        """Begin to ask."""
        self.run_worker(self._follow_market(), name="market")
        self.run_worker(self._follow_cluster(), name="cluster")

    async def on_unmount(self) -> None:
        """Give the connection back."""
        await self._source.close()

    async def action_step(self, by: int) -> None:
        """Show the instrument that is so many further in the list."""
        try:
            symbols = await self._source.symbols()
        except RaftbookError as error:
            self._say("market", str(error))
            return
        at = symbols.index(self.symbol) if self.symbol in symbols else 0
        self.symbol = symbols[(at + by) % len(symbols)]
        self._hurry.set()

    # -- asking -------------------------------------------------------------------------------

    async def _follow_market(self) -> None:
        while True:
            symbol = self.symbol
            try:
                book, trades = await self._source.market(symbol)
            except RaftbookError as error:
                self._say("market", str(error))
            else:
                if symbol == self.symbol:
                    self._show_market(book, trades)
            self._hurry.clear()
            try:
                async with asyncio.timeout(EVERY_S):
                    await self._hurry.wait()
            except TimeoutError:
                pass

    async def _follow_cluster(self) -> None:
        while True:
            try:
                view = await self._source.cluster()
            except RaftbookError as error:
                self._say("cluster", str(error))
            else:
                text = f"{status_table(view)}\n{health_line(view)}"
                self.query_one("#cluster", Static).update(Text(text, no_wrap=True))
                self._say("cluster", "" if view.healthy else "no quorum: orders wait")
            await asyncio.sleep(CLUSTER_EVERY_S)

    # -- showing ------------------------------------------------------------------------------

    def _show_market(self, book: BookView, trades: Sequence[MarketTrade]) -> None:
        is_old = book.age_ms > STALE_MS
        words = f"node {book.node_id} heard of its leader {book.age_ms / 1_000:.1f} s ago"
        self._say("market", words if is_old else "")
        self.query_one("#head", Static).update(head_text(book))
        ladder = self.query_one("#ladder", Static)
        ladder.update(ladder_text(book, ladder.content_size.height, ladder.content_size.width))
        tape = self.query_one("#tape", Static)
        tape.update(tape_text(trades, tape.content_size.height))

    def _say(self, part: str, words: str) -> None:
        """What is wrong with one part; "" when nothing is."""
        self._troubles[part] = words
        told = "; ".join(each for each in self._troubles.values() if each)
        line = self.query_one("#trouble", Static)
        line.update(told)
        line.display = bool(told)


def head_text(book: BookView) -> Text:
    """Symbol, last price, spread, phase, and which state this is."""
    last = "no trade yet" if book.last_price is None else f"{book.last_price:f}"
    if book.bids and book.asks:
        spread = f"spread {book.asks[0].price - book.bids[0].price:f}"
    else:
        spread = "no bids" if book.asks else "no asks" if book.bids else "empty book"
    place = f"node {book.node_id}  entry {book.applied_index}"
    text = Text.assemble((book.symbol, "bold"), "  ", (last, "bold"), f"  {spread}")
    if book.phase != "CONTINUOUS":
        text.append(f"  {book.phase}", "yellow")
    return text.append(f"  {place}", "dim")


def ladder_text(book: BookView, height: int, width: int) -> Text:
    """Asks above bids, as many as there are lines for; totals from the middle outwards, and a bar
    for each in what is left of the width."""
    rows = max(1, (height - 2) // 2)
    asks, bids = book.asks[:rows], book.bids[:rows]
    most = max((side[-1].total for side in (asks, bids) if side), default=Decimal(0))
    bar_width = max(0, width - 3 * _WIDTH - 2)
    text = Text(no_wrap=True)
    names = "".join(name.rjust(_WIDTH) for name in ("PRICE", "SIZE", "TOTAL"))
    text.append(f"{names}\n", "dim")
    text.append("\n" * (rows - len(asks)))
    for level in reversed(asks):
        _append_level(text, level, _SELL, int(bar_width * level.total / most))
    text.append("─" * max(3 * _WIDTH, width) + "\n", "dim")
    for level in bids:
        _append_level(text, level, _BUY, int(bar_width * level.total / most))
    return text


def _append_level(text: Text, level: BookLevel, colour: str, bar: int) -> None:
    text.append(f"{level.price:f}".rjust(_WIDTH), colour)
    text.append(f"{level.qty:f}".rjust(_WIDTH))
    text.append(f"{level.total:f}".rjust(_WIDTH), "dim")
    text.append("  " + "▇" * bar + "\n", f"dim {colour}")


def tape_text(trades: Sequence[MarketTrade], height: int) -> Text:
    """Trades, newest on top, with an arrow for whoever took."""
    text = Text(no_wrap=True)
    text.append(f"{'PRICE':>{_WIDTH}}{'SIZE':>{_WIDTH}}{'TIME':>10}\n", "dim")
    for trade in trades[: max(1, height - 1)]:
        arrow, colour = _ARROWS.get(trade.taker_side, ("◆", ""))
        time = datetime.fromtimestamp(trade.time_ns // 1_000_000_000, UTC)
        text.append(f"{arrow} {trade.price:f}".rjust(_WIDTH), colour)
        text.append(f"{trade.qty:f}".rjust(_WIDTH))
        text.append(f"  {time:%H:%M:%S}\n", "dim")
    return text

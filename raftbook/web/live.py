"""`/v1/live`: the WebSocket that the page listens to.

Owns its readers and its pace: at most ten times a second whoever listens is told what is new, each
frame made once for all. A reader has one place for each sort of news: what it has not taken yet is
replaced by what is newer, so a slow one sees the present later, never the past, and holds no more
than that. Nothing is asked of the node while nobody listens, and nothing of an order ever.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final

from starlette.routing import BaseRoute, WebSocketRoute
from starlette.websockets import WebSocket

from raftbook.core.book import Book
from raftbook.web import live_frames
from raftbook.web.cluster import cluster_document
from raftbook.web.context import WebContext
from raftbook.web.websocket import POLICY, TRY_LATER

EVERY_S: Final = 0.1
CLUSTER_EVERY_S: Final = 0.5
"""How often the indexes of the members are told; who leads and who is there is told at once."""
READERS_MAX: Final = 500
TOLD_MAX: Final = 4
"""Messages that a reader may send within a second: it chooses an instrument."""
TRADE_FRAMES_MAX: Final = 20
"""Frames of trades that may wait for one reader; more, and its tape begins anew."""


def routes(context: WebContext) -> list[BaseRoute]:
    """The one route."""
    hub = LiveHub(context)
    context.on_close.append(hub.close)
    return [WebSocketRoute("/v1/live", hub.serve)]


class Reader:
    """One page.

    Attributes:
        symbol: the instrument it looks at.
    """

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self.woken = asyncio.Event()
        self._latest: dict[str, str] = {}
        self._trades: list[str] = []

    def tell(self, sort: str, frame: str) -> None:
        """Something newer of its sort."""
        self._latest.pop(sort, None)
        self._latest[sort] = frame
        if sort == "tape":
            self._trades.clear()
        self.woken.set()

    def tell_trades(self, frame: str, book: Book) -> None:
        """Trades, which add up; too many unread ones give way to a new tape."""
        if len(self._trades) >= TRADE_FRAMES_MAX:
            self.tell("tape", live_frames.tape_frame(book))
            return
        self._trades.append(frame)
        self.woken.set()

    def take(self) -> list[str]:
        """Everything that waits, in the order in which it may be shown."""
        self.woken.clear()
        frames = [*self._latest.values(), *self._trades]
        self._latest.clear()
        self._trades.clear()
        return frames


class _Market:
    """What was last told of one instrument."""

    __slots__ = ("book", "frame", "place", "told", "trade_id")

    def __init__(self, book: Book) -> None:
        self.book = book
        self.place: tuple[int, int] = (-1, -1)
        self.frame = self.told = ""
        self.trade_id = live_frames.last_trade_id(book)


class LiveHub:
    """All readers of one node."""

    def __init__(self, context: WebContext) -> None:
        self._context = context
        self._readers: set[Reader] = set()
        self._markets: dict[str, _Market] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._instruments = self._cluster = ""
        self._cluster_at = 0.0
        self._standing: Any = None

    def close(self) -> None:
        """Tell nothing any more; the server ends the connections."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._readers.clear()

    # -- one reader ---------------------------------------------------------------------------

    async def serve(self, socket: WebSocket) -> None:
        """A page from its first word to its last."""
        if len(self._readers) >= READERS_MAX:
            await socket.close(TRY_LATER)
            return
        await socket.accept()
        books = self._context.queries.exchange.books
        wanted = socket.query_params.get("symbol", "")
        reader = Reader(wanted if wanted in books else next(iter(books), ""))
        self._join(reader)
        writing = asyncio.create_task(self._write(socket, reader))
        try:
            await self._listen(socket, reader)
        finally:
            self._readers.discard(reader)
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)

    async def _write(self, socket: WebSocket, reader: Reader) -> None:
        while True:
            await reader.woken.wait()
            for frame in reader.take():
                await socket.send_text(frame)

    async def _listen(self, socket: WebSocket, reader: Reader) -> None:
        loop = asyncio.get_running_loop()
        since, told = loop.time(), 0
        while True:
            message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            if loop.time() - since > 1.0:
                since, told = loop.time(), 0
            told += 1
            symbol = _wish(message.get("text") or "")
            if symbol is None or told > TOLD_MAX:
                await socket.close(POLICY)
                return
            if symbol in self._context.queries.exchange.books:
                reader.symbol = symbol
                self._begin(reader)

    def _join(self, reader: Reader) -> None:
        own = self._context.describe()
        hello = {
            "type": "hello",
            "node_id": self._context.replica.node_id,
            "cluster": own["cluster"],
            "version": own["version"],
            "wall_ms": self._context.wall_ns() // 1_000_000,
        }
        reader.tell("hello", live_frames.encode(hello))
        if not self._readers:  # else it is looked after
            self._instruments = live_frames.instruments_frame(self._context.queries.exchange)
        reader.tell("instruments", self._instruments)
        self._readers.add(reader)
        self._begin(reader)
        reader.tell("cluster", self._cluster_frame())
        if self._timer is None:
            self._on_timer()

    def _begin(self, reader: Reader) -> None:
        """The whole picture of the instrument that a reader chose."""
        market = self._market(reader.symbol)
        if market is None:
            return
        reader.tell("tape", live_frames.tape_frame(market.book))
        reader.tell("book", market.frame)

    # -- all of them --------------------------------------------------------------------------

    def _on_timer(self) -> None:
        self._timer = None
        if not self._readers:
            self._markets.clear()
            return
        self._timer = asyncio.get_running_loop().call_later(EVERY_S, self._on_timer)
        by_symbol: dict[str, list[Reader]] = {}
        for reader in self._readers:
            by_symbol.setdefault(reader.symbol, []).append(reader)
        for symbol in [each for each in self._markets if each not in by_symbol]:
            del self._markets[symbol]
        for symbol, readers in by_symbol.items():
            self._tell_market(symbol, readers)
        if self._look_at_cluster():
            for reader in self._readers:
                reader.tell("cluster", self._cluster)

    def _market(self, symbol: str) -> _Market | None:
        """What is told of an instrument, as of now; another book of its name is another one."""
        exchange = self._context.queries.exchange
        book = exchange.books.get(symbol)
        if book is None:
            self._markets.pop(symbol, None)
            return None
        market = self._markets.get(symbol)
        is_first = market is None  # then whoever asks is the only reader
        if market is None or market.book is not book:
            market = self._markets[symbol] = _Market(book)
        place = (book.feed_seq, book.resting_count)
        if place != market.place:
            market.place = place
            market.frame = live_frames.book_frame(
                book, self._context.queries.applied_index, exchange.now_ns
            )
        if is_first:
            market.told = market.frame
        return market

    def _tell_market(self, symbol: str, readers: list[Reader]) -> None:
        market = self._market(symbol)
        if market is None:
            return
        if not market.told:  # another instrument has this name now
            for reader in readers:
                self._begin(reader)
        elif market.frame is not market.told:
            for reader in readers:
                reader.tell("book", market.frame)
        market.told = market.frame
        trades = live_frames.new_trades(market.book, market.trade_id)
        if trades is None:
            tape = live_frames.tape_frame(market.book)
            for reader in readers:
                reader.tell("tape", tape)
        elif trades:
            text = live_frames.trades_frame(symbol, trades)
            for reader in readers:
                reader.tell_trades(text, market.book)
        market.trade_id = live_frames.last_trade_id(market.book)

    def _look_at_cluster(self) -> bool:
        """Bring the picture of the cluster up to date; whether it is another one now."""
        context = self._context
        now = asyncio.get_running_loop().time()
        said = context.peers.look() if context.peers else {}
        raft, fence = context.replica.raft, context.replica.fence
        connected = tuple(row["connected"] for row in context.describe()["members"])
        roles = tuple((node_id, status["role"]) for node_id, status in sorted(said.items()))
        standing = (raft.role, raft.term, raft.leader_id, fence, connected, roles)
        if standing == self._standing and now - self._cluster_at < CLUSTER_EVERY_S:
            return False
        self._standing, self._cluster_at = standing, now
        self._cluster = self._cluster_frame()
        instruments = live_frames.instruments_frame(context.queries.exchange)
        if instruments != self._instruments:
            self._instruments = instruments
            for reader in self._readers:
                reader.tell("instruments", instruments)
        return True

    def _cluster_frame(self) -> str:
        context = self._context
        said = context.peers.look() if context.peers else {}
        return live_frames.encode({"type": "cluster", **cluster_document(context, said)})


def _wish(text: str) -> str | None:
    """The symbol that a message of a page names; None if it is no such message."""
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        return None
    symbol = message.get("symbol") if isinstance(message, dict) else None
    return symbol if isinstance(symbol, str) else None

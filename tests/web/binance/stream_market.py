"""Nodes without sockets that tell a market, and a client that keeps its book as Binance says.

Time passes when a test says so: whatever waits on a node waits in `Node.waiting`.
"""

import json
from collections import deque
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

from raftbook.core.commands import Entry
from raftbook.core.exchange import Exchange, Genesis
from raftbook.feed.stream import FeedHistory
from raftbook.gateway.queries import Queries
from raftbook.replica.machine import Applied
from raftbook.web.binance.figures import ZERO
from raftbook.web.binance.history import Tickers
from raftbook.web.binance.markets import Markets
from raftbook.web.binance.stream_hub import StreamHub
from raftbook.web.binance.stream_names import StreamName, read_stream_name
from raftbook.web.binance.user_hub import UserHub
from tests.feed.complete_market import GENESIS, CompleteMarket
from tests.feed.seen import seen_rows


class Waiting:
    """One thing that waits for its time."""

    def __init__(self, delay_s: float, call: Callable[[], None]) -> None:
        self.delay_s, self.call = delay_s, call
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


class AtOnce:
    """Work that is done as soon as it is there."""

    def __init__(self, step: Callable[[], bool]) -> None:
        self._step = step

    def want(self) -> None:
        while self._step():
            pass


class Node:
    """One node's market, as far as streams see it."""

    def __init__(self, node_id: int = 1, kept: int = 1_000, genesis: Genesis = GENESIS) -> None:
        self.exchange = Exchange(genesis)
        self.feed = FeedHistory(kept)
        self.waiting: list[Waiting] = []
        self._listeners: list[Callable[[Applied], None]] = []
        self._watchers: list[Callable[[Applied], None]] = []
        self._raft = SimpleNamespace(applied_index=0)
        self.replica: Any = SimpleNamespace(
            machine=SimpleNamespace(
                exchange=self.exchange, recent=deque(), watchers=self._watchers
            ),
            raft=self._raft,
            node_id=node_id,
            age_ms=lambda: 0,
            on_applied=self._listeners,
        )
        self.queries = Queries(self.replica, dict)
        self.markets = Markets(self.queries)
        self.hub = StreamHub(
            self.replica, self.queries, self.feed, self.markets, Tickers(), self._later
        )

        self.users = UserHub(self.replica, self.markets, lambda: None, AtOnce)

    def _later(self, delay_s: float, call: Callable[[], None]) -> Waiting:
        self.waiting.append(Waiting(delay_s, call))
        return self.waiting[-1]

    def apply(self, *entries: Entry) -> None:
        """A turn: all entries take effect before anybody is told of the first."""
        told = []
        for entry in entries:
            replies = self.exchange.apply(entry)
            told.append(Applied(entry.index, 1, self.exchange.now_ns, replies))
            for watcher in self._watchers:
                watcher(told[-1])
            self._raft.applied_index = entry.index
        for applied in told:
            self.feed.add(applied.index, applied.time_ns, applied.replies)
            for listener in self._listeners:
                listener(applied)

    def time_passes(self) -> None:
        """Everything that waits has its time."""
        waiting, self.waiting = self.waiting, []
        for one in waiting:
            if not one.is_cancelled:
                one.call()

    def depth(self, name: str) -> dict[str, Any]:
        """What REST would say of a book."""
        market, book = self.markets.find(name)
        bids, asks = (
            [
                [market.price.text(price), market.qty.text(qty)]
                for price, qty, _ in seen_rows(ladder)
            ]
            for ladder in (book.bids, book.asks)
        )
        return {"lastUpdateId": book.feed_seq, "bids": bids, "asks": asks}


class Ear:
    """A listener that remembers.

    Attributes:
        heard: what has been told, read from its frames.
        ended: (code, reason) once the stream could not go on.
    """

    def __init__(self, *, is_combined: bool = False) -> None:
        self.is_combined = is_combined
        self.heard: list[Any] = []
        self.frames: list[bytes] = []
        self.ended: tuple[int, str] | None = None

    def hear(self, frame: bytes) -> None:
        assert self.ended is None
        self.frames.append(frame)
        self.heard.append(json.loads(payload_of(frame)))

    def end(self, code: int, reason: str) -> None:
        self.ended = (code, reason)

    def take(self) -> list[Any]:
        """What was heard since the last call."""
        heard, self.heard = self.heard, []
        return heard


class UserEar:
    """A listener to one account that remembers."""

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self.ended: tuple[int, str] | None = None

    def hear_event(self, event: str) -> None:
        self.heard.append(json.loads(event))

    def end(self, code: int, reason: str) -> None:
        self.ended = (code, reason)

    def take(self) -> list[Any]:
        """What was heard since the last call."""
        heard, self.heard = self.heard, []
        return heard


def payload_of(frame: bytes) -> bytes:
    """The text of a frame of a server."""
    assert frame[0] == 0x81 and frame[1] < 128
    start = {126: 4, 127: 10}.get(frame[1], 2)
    size = frame[1] if start == 2 else int.from_bytes(frame[2:start], "big")
    assert len(frame) == start + size
    return frame[start:]


def stream(text: str) -> StreamName:
    """The stream of a name that is right."""
    name = read_stream_name(text)
    assert name is not None, text
    return name


def listen(node: Node, text: str, *, is_combined: bool = False) -> Ear:
    """A new listener of one stream."""
    ear = Ear(is_combined=is_combined)
    node.hub.add(stream(text), ear)
    return ear


def market_entries(exchange: Exchange, seed: int) -> Iterator[Entry]:
    """A market in which everything public happens; judged by an exchange that applies it."""
    market = CompleteMarket(seed)
    market.exchange = exchange
    yield market.opening()
    while True:
        yield market.next_entry()


class BookKeeper:
    """Keeps a book by the steps that Binance publishes, by the text of its prices.

    Attributes:
        last: the last update id that it has; None before it has a picture.
        pictures: how often it had to ask for one.
    """

    def __init__(self) -> None:
        self.sides: dict[str, dict[str, str]] = {"b": {}, "a": {}}
        self.last: int | None = None
        self.pictures = 0
        self._early: list[Any] = []

    def picture(self, depth: dict[str, Any]) -> None:
        """Begin with a REST book, and what came before it was there."""
        self.pictures += 1
        self.sides = {"b": dict(depth["bids"]), "a": dict(depth["asks"])}
        self.last = depth["lastUpdateId"]
        early, self._early = self._early, []
        for update in early:
            self.take(update)

    def take(self, update: Any) -> None:
        """One `depthUpdate`."""
        if self.last is None:
            self._early.append(update)
            return
        if update["u"] <= self.last:
            return
        if update["U"] > self.last + 1:
            self.last = None  # something happened between two connections
            self._early.append(update)
            return
        for side, levels in self.sides.items():
            for price, qty in update[side]:
                if qty == ZERO:
                    levels.pop(price, None)
                else:
                    levels[price] = qty
        self.last = update["u"]

    def book(self) -> dict[str, Any]:
        """As REST says it."""
        bids, asks = (
            sorted(self.sides[side].items(), key=lambda level: float(level[0]) * sign)
            for side, sign in (("b", -1), ("a", 1))
        )
        bids, asks = ([list(level) for level in levels] for levels in (bids, asks))
        return {"lastUpdateId": self.last, "bids": bids, "asks": asks}

"""Streams of a market: read at any pace, at any node, they are the book of the exchange."""

import random
from collections import deque
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raftbook.client.depth import MISMATCHES_MAX, BookMismatch, DepthBook
from raftbook.client.subscription import DepthPosition, FeedPosition, Position, TopPosition
from raftbook.core import commands as c
from raftbook.core.commands import Entry
from raftbook.core.exchange import Exchange
from raftbook.core.types import Phase, Reject, Side
from raftbook.errors import ProtocolError
from raftbook.feed.stream import FeedHistory
from raftbook.gateway.queries import Queries, QueryError
from raftbook.gateway.subscriptions import make_subscription
from raftbook.replica.machine import Applied
from raftbook.wire import pages
from raftbook.wire.packing import unpack
from tests.core.flow import EFFORT
from tests.feed.complete_market import GENESIS, CompleteMarket
from tests.feed.feed_book import FeedBook
from tests.feed.seen import seen_rows


class Node:
    """One node's market, as far as streams see it."""

    def __init__(self, node_id: int, kept: int) -> None:
        self.exchange = Exchange(GENESIS)
        self.feed = FeedHistory(kept)
        replica: Any = SimpleNamespace(
            machine=SimpleNamespace(exchange=self.exchange, recent=deque()),
            raft=SimpleNamespace(applied_index=0),
            node_id=node_id,
            age_ms=lambda: 0,
        )
        self._raft = replica.raft
        self.queries = Queries(replica, dict)
        self.readers: list[Reader] = []

    def apply(self, entry: Entry) -> None:
        replies = self.exchange.apply(entry)
        self._raft.applied_index = entry.index
        applied = Applied(entry.index, 1, self.exchange.now_ns, replies)
        self.feed.add(entry.index, applied.time_ns, replies)
        for reader in self.readers:
            reader.publish(applied)

    def levels(self, symbol: str) -> tuple[list[Any], list[Any]]:
        """(price, qty, orders) of both sides, best first."""
        book = self.exchange.books[symbol]
        return seen_rows(book.bids), seen_rows(book.asks)


class Reader:
    """A client's position, and the connection that feeds it; reads only when it is told to."""

    def __init__(self, name: str, symbol: str, position: Position) -> None:
        self.position = position
        self.name, self.symbol = name, symbol
        self.values: list[Any] = []
        self._queue: deque[Iterator[bytes]] = deque()
        self._node: Node | None = None

    def connect(self, node: Node) -> None:
        """Leave a node for another one; what was not read is lost."""
        self.drop()
        arguments = unpack_arguments(self.position.arguments())
        self._subscription = make_subscription(
            self.name, arguments, None, node.queries, node.feed, 0
        )
        self._queue = deque([iter(self._subscription.first())])
        self._node = node
        node.readers.append(self)
        self.position.started({})

    def drop(self) -> None:
        """Lose the connection."""
        self._queue.clear()
        if self._node is not None:
            self._node.readers.remove(self)
            self._node = None

    def publish(self, applied: Applied) -> None:
        self._queue.append(iter(self._subscription.next(applied)))

    def read(self, count: int) -> None:
        """Take at most so many values, made as they are taken."""
        while self._queue and count:
            packed = next(self._queue[0], None)
            if packed is None:
                self._queue.popleft()
                continue
            count -= 1
            value = self.position.take(unpack(packed))
            if value is not None:
                self.values.append(value)


def unpack_arguments(arguments: Any) -> dict[str, Any]:
    return {name: value for name, value in arguments.items() if value is not None}


def _market(node: Node, seed: int) -> Iterator[Entry]:
    market = CompleteMarket(seed)
    market.exchange = node.exchange
    yield market.opening()
    while True:
        yield market.next_entry()


@given(
    seed=st.integers(0, 2**32),
    before=st.integers(0, 40),
    pace=st.lists(st.integers(0, 6), min_size=1, max_size=8),
    page=st.integers(1, 4),
    kept=st.sampled_from((1, 4, 1_000)),
)
@settings(max_examples=60 * EFFORT, deadline=None, suppress_health_check=list(HealthCheck))
def test_refresh_and_deltas_from_any_moment_make_the_book(
    seed: int, before: int, pace: list[int], page: int, kept: int
) -> None:
    node = Node(1, kept)
    entries = _market(node, seed)
    for _ in range(before + 1):
        node.apply(next(entries))
    reader = Reader("depth", "A", DepthPosition({"symbol": "A"}))
    book = DepthBook("A")
    with patch.object(pages, "LEVEL_ROWS", page):
        reader.connect(node)
        try:
            for step in range(40):
                reader.read(pace[step % len(pace)])
                node.apply(next(entries))
            reader.read(10**6)
        except QueryError as error:  # it is too slow for so short a history
            if error.code != Reject.TOO_STALE:
                raise
            return
    is_whole = [book.take(value) for value in reader.values]
    assert is_whole[-1]
    bids, asks = node.levels("A")
    assert (book.bids(99), book.asks(99)) == (bids, asks)
    assert book.feed_seq == node.exchange.books["A"].feed_seq


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("symbol", ["A", "B"])
def test_a_reader_that_goes_from_node_to_node_has_the_book_in_the_end(
    seed: int, symbol: str
) -> None:
    """B is deleted and listed again now and then: whoever reads it begins anew with it."""
    rng = random.Random(seed)
    nodes = [Node(number, 1_000) for number in range(3)]
    entries = _market(nodes[0], seed)
    log: list[Entry] = []
    applied = [0, 0, 0]

    def go_on(at: int, count: int) -> None:
        for _ in range(count):
            if applied[at] == len(log):
                assert applied[0] == len(log)
                log.append(next(entries))
                nodes[0].apply(log[-1])
                applied[0] += 1
                if at == 0:
                    continue
            nodes[at].apply(log[applied[at]])
            applied[at] += 1

    go_on(0, 20)
    depth = Reader("depth", symbol, DepthPosition({"symbol": symbol}))
    feed = Reader("feed", symbol, FeedPosition({"symbol": symbol}))
    top = Reader("top", symbol, TopPosition({"symbol": symbol}))
    books: tuple[DepthBook, FeedBook, list[Any]] = (DepthBook(symbol), FeedBook(), [])
    readers = (depth, feed, top)
    for _ in range(60):
        go_on(0, rng.randint(0, 3))
        for at in (1, 2):
            behind = len(log) - applied[at]
            go_on(at, rng.randint(0, behind))
        for reader in readers:
            if rng.random() < 0.4:
                _connect(reader, nodes[rng.randrange(3)])
            try:
                reader.read(rng.choice((0, 1, 5, 50)))
            except QueryError as error:  # it was deleted before it was told
                if error.code != Reject.UNKNOWN_INSTRUMENT:
                    raise
                reader.drop()
    for at in (1, 2):
        go_on(at, len(log) - applied[at])
    while symbol not in nodes[0].exchange.books:
        for at in (0, 1, 2):
            go_on(at, 1)
    for reader in readers:
        _connect(reader, nodes[2])
        reader.read(10**6)
    for value in depth.values:
        books[0].take(value)
    for value in feed.values:
        if value[0] == "refresh":  # of another instrument, perhaps
            books[1].feed_seq = None
        books[1].take(value)
    bids, asks = nodes[0].levels(symbol)
    assert (books[0].bids(99), books[0].asks(99)) == (bids, asks)
    assert not books[0].mismatches
    assert books[1].levels(Side.BUY) == bids
    assert books[1].levels(Side.SELL) == asks
    best = (*(bids[0][:2] if bids else (None, 0)), *(asks[0][:2] if asks else (None, 0)))
    assert top.values[-1][3:] == best


def _connect(reader: Reader, node: Node) -> None:
    """Try a node; one that is behind or does not have the instrument says so, like a real one."""
    try:
        reader.connect(node)
    except QueryError as error:
        if error.code not in (Reject.TOO_STALE, Reject.UNKNOWN_INSTRUMENT):
            raise


def test_every_node_pushes_the_same_deltas() -> None:
    told = []
    for node_id in (1, 2):
        node = Node(node_id, 1_000)
        entries = _market(node, 5)
        node.apply(next(entries))
        reader = Reader("depth", "A", DepthPosition({"symbol": "A"}))
        late = Reader("depth", "A", DepthPosition({"symbol": "A"}))
        reader.connect(node)
        for number in range(60):
            if number == 30:
                late.connect(node)
            node.apply(next(entries))
            reader.read(10**6)
            late.read(10**6)
        told.append(reader.values)
        assert len(late.values) > 5
        assert reader.values[-len(late.values) + 1 :] == late.values[1:]
    assert told[0] == told[1]


def test_a_deleted_instrument_is_told_and_its_successor_begins_anew() -> None:
    node = Node(1, 100)
    entries = _market(node, 1)
    node.apply(next(entries))
    readers = [
        Reader("depth", "B", DepthPosition({"symbol": "B"})),
        Reader("top", "B", TopPosition({"symbol": "B"})),
        Reader("feed", "B", FeedPosition({"symbol": "B"})),
    ]
    for reader in readers:
        reader.connect(node)
    ending = (c.set_phase("B", Phase.CLOSED), c.delete_instrument("B"))
    listing = (c.list_instrument(GENESIS.instruments[1]),)
    requests = (
        (2, 1, (c.place_order("B", Side.BUY, 3, 1),)),
        (2, 2, (c.cancel_order(order_id=1),)),
        (1, 1, ending),
        (1, 2, listing),
        (2, 3, (c.place_order("B", Side.SELL, 2, 4),)),
    )
    for index, request in enumerate(requests, start=2):
        for reader in readers:
            reader.read(100)
        node.apply(Entry(index, 10**18, (request,)))
    for reader in readers:
        reader.read(100)
    depth, top, feed = (reader.values for reader in readers)
    kinds = [value[0] if type(value[0]) is str else value[:3] for value in depth]
    assert kinds == [
        "refresh", (1, 0, 2), (2, 1, 3), (4, 2, 4), "deleted", "refresh", (2, 1, 6),
    ]  # fmt: skip
    assert [value[0] if value[0] == "deleted" else (value[1], *value[3:]) for value in top] == [
        (1, None, 0, None, 0), (2, 1, 3, None, 0), (3, None, 0, None, 0), "deleted",
        (5, None, 0, None, 0), (6, None, 0, 4, 2),
    ]  # fmt: skip
    assert [(value[0], value[3]) for value in feed[1:]] == [
        (1, "add"), (2, "delete"), (3, "phase"), (4, "deleted"), (1, "created"), (2, "add"),
    ]  # fmt: skip
    with pytest.raises(QueryError) as caught:
        Reader("depth", "Z", DepthPosition({"symbol": "Z"})).connect(node)
    assert caught.value.code == Reject.UNKNOWN_INSTRUMENT


def test_a_large_delta_comes_in_parts_and_only_the_last_has_the_checksum() -> None:
    node = Node(1, 100)
    entries = _market(node, 1)
    node.apply(next(entries))
    reader = Reader("depth", "B", DepthPosition({"symbol": "B"}))
    with patch.object(pages, "LEVEL_ROWS", 2):
        reader.connect(node)
        reader.read(1)
        orders = tuple(c.place_order("B", Side.BUY, 1, price) for price in (1, 2, 3, 4, 5))
        node.apply(Entry(2, 10**18, ((2, 1, orders),)))
        reader.read(100)
    assert [len(value[4]) for value in reader.values[1:]] == [2, 2, 1]
    assert [value[5] is None for value in reader.values[1:]] == [True, True, False]
    book = DepthBook("B")
    assert [book.take(value) for value in reader.values] == [True, False, False, True]


def test_a_book_that_is_wrong_is_begun_anew_and_given_up_after_three() -> None:
    node = Node(1, 100)
    entries = _market(node, 1)
    node.apply(next(entries))
    reader = Reader("depth", "A", DepthPosition({"symbol": "A"}))
    reader.connect(node)
    reader.read(1)
    stocking = ((1, 1, (c.deposit("a", "oil", 9, "t"),)), (2, 1, (_sell_oil(),)))
    node.apply(Entry(2, 10**18, stocking))
    reader.read(100)
    first, delta = reader.values
    book, wrong = DepthBook("A"), (*delta[:4], (), *delta[5:])
    for _ in range(MISMATCHES_MAX):
        assert book.take(first)
        with pytest.raises(BookMismatch, match="at feed_seq 1: checksum"):
            book.take(wrong)
        assert book.take(first) and book.take(delta)  # begun anew, and right
    assert book.mismatches == MISMATCHES_MAX
    for _ in range(MISMATCHES_MAX - 1):
        with pytest.raises(BookMismatch):
            book.take(("refresh", {**first[1], "checksum": 0}))
    with pytest.raises(ProtocolError, match="3 times in a row"):
        book.take(("refresh", {**first[1], "checksum": 0}))


def _sell_oil() -> c.Command:
    return c.place_order("A", Side.SELL, 1, 9)

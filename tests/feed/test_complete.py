"""Whatever happens on a complete exchange, feed and depth show exactly what the market may see."""

from typing import Any
from zlib import crc32

import pytest

from raftbook.client.depth import DepthBook
from raftbook.core import commands as c
from raftbook.core import events as e
from raftbook.core.commands import Entry
from raftbook.core.exchange import Exchange
from raftbook.core.types import Phase, Side, TimeInForce
from raftbook.feed.depth import DepthFeed
from raftbook.feed.stream import FeedHistory
from raftbook.wire.book_checksum import book_checksum
from tests.feed.complete_market import GENESIS, OPENING, CompleteMarket
from tests.feed.feed_book import FeedBook
from tests.feed.seen import seen_orders, seen_rows


class Listener:
    """One node's market, its feed, and readers of all of it."""

    def __init__(self) -> None:
        self.exchange = Exchange(GENESIS)
        self.history = FeedHistory(10**6)
        self.books: dict[str, FeedBook] = {}
        self.positions: dict[str, int] = {}
        self.depths: dict[str, DepthFeed] = {}
        self.deltas: dict[str, list[Any]] = {"A": [], "B": []}
        self.kinds: set[int] = set()

    def apply(self, entry: Entry) -> None:
        for symbol, book in self.exchange.books.items():
            depth = self.depths.get(symbol)
            if depth is None or depth.is_over:
                at = self.exchange.applied_index
                self.depths[symbol] = self.history.depth(book, at)
        before = {symbol: depth.end for symbol, depth in self.depths.items()}
        replies = self.exchange.apply(entry)
        self.kinds |= {event[0] for reply in replies for event in reply[4] if event[1]}
        self.history.add(entry.index, self.exchange.now_ns, replies)
        for symbol, depth in self.depths.items():
            steps = depth.after(before[symbol])
            assert steps is not None and len(steps) <= 1, "one delta an entry"
            self.deltas[symbol] += [step.delta for step in steps]
        for symbol in ("A", "B"):
            reader = self.books.setdefault(symbol, FeedBook(0))
            at = self.positions.get(symbol, 0)
            news = self.history.after(symbol, at)
            assert news is not None
            for message in news:
                reader.take(message)
            self.positions[symbol] = at + len(news)

    def check(self) -> None:
        for symbol, book in self.exchange.books.items():
            reader = self.books[symbol]
            assert reader.feed_seq == book.feed_seq
            depth = self.depths.get(symbol)
            is_followed = depth is not None and not depth.is_over
            for side, ladder in ((Side.BUY, book.bids), (Side.SELL, book.asks)):
                assert reader.side(side) == seen_orders(ladder), f"{symbol} {side.name}"
                if is_followed and depth is not None:
                    rows = depth.book.sides[side].rows(10**6)
                    assert rows == seen_rows(ladder), f"{symbol} {side.name}"
                    assert depth.book.feed_seq == book.feed_seq


@pytest.mark.parametrize("seed", range(6))
def test_feed_and_levels_are_what_the_market_may_see_after_every_entry(seed: int) -> None:
    market, listener = CompleteMarket(seed), Listener()
    market.exchange = listener.exchange
    listener.apply(market.opening())
    for _ in range(250):
        listener.apply(market.next_entry())
        listener.check()


def test_the_market_of_these_tests_does_everything_public() -> None:
    kinds: set[int] = set()
    for seed in range(3):
        market, listener = CompleteMarket(seed), Listener()
        market.exchange = listener.exchange
        listener.apply(market.opening())
        for _ in range(250):
            listener.apply(market.next_entry())
        kinds |= listener.kinds
    assert kinds == {
        e.ACCEPTED, e.RESTED, e.TRADE, e.CANCELED, e.EXPIRED, e.REPLACED, e.RESTATED,
        e.INSTRUMENT_CREATED, e.PHASE_CHANGED, e.REFILLED, e.AUCTION_TRADE, e.UNCROSSED,
        e.TRADE_BUSTED, e.INSTRUMENT_AMENDED, e.INSTRUMENT_DELETED, e.REPRICED,
    }  # fmt: skip


def test_two_nodes_tell_the_same_messages_and_deltas() -> None:
    one, two, market = Listener(), Listener(), CompleteMarket(9)
    market.exchange = one.exchange
    entries = [market.opening()]
    one.apply(entries[0])
    for _ in range(200):
        entries.append(market.next_entry())
        one.apply(entries[-1])
    for entry in entries:
        two.apply(entry)
    assert one.deltas == two.deltas
    assert any(one.deltas["B"])
    for symbol in ("A", "B"):
        assert one.history.after(symbol, 0) == two.history.after(symbol, 0)


def _told(*commands: c.Command, symbol: str = "A") -> list[Any]:
    """The feed's messages, without feed_seq, index and time, of one request of account a."""
    exchange, history = Exchange(GENESIS), FeedHistory(100)
    history.add(1, 10**18, exchange.apply(Entry(1, 10**18, OPENING)))
    requests = [(2, 1, commands)]
    history.add(2, 10**18, exchange.apply(Entry(2, 10**18, tuple(requests))))
    return [message[3:] for message in history.since(symbol, 0) or ()]


def test_an_iceberg_shows_a_slice_and_is_added_again_at_the_back() -> None:
    told = _told(
        c.place_order("A", Side.SELL, 7, 10, display_qty=3),
        c.place_order("A", Side.SELL, 2, 10),
        c.place_order("A", Side.BUY, 4, 10, time_in_force=TimeInForce.IOC),
        c.cancel_order(order_id=1),
    )
    assert told == [
        ("add", 1, 2, 10, 3),
        ("add", 2, 2, 10, 2),
        ("trade", 1, 10, 3, 1, 1, 0),
        ("add", 1, 2, 10, 3),
        ("trade", 2, 10, 1, 2, 1, 1),
        ("delete", 1, 2, 10, 3),
    ]


def test_of_a_hidden_order_only_its_trades_are_told() -> None:
    told = _told(
        c.place_order("A", Side.SELL, 7, 10, hidden=True),
        c.place_order("A", Side.SELL, 2, 10),
        c.place_order("A", Side.BUY, 4, 10, hidden=True),
        c.replace_order(order_id=1, order_qty=4),
        c.replace_order(order_id=1, price=11),
        c.cancel_order(order_id=1),
    )
    assert told == [
        ("add", 2, 2, 10, 2),
        ("trade", 2, 10, 2, 1, 1, 0),
        ("trade", 0, 10, 2, 2, 1, 0),
    ]


def test_a_cross_of_a_hidden_order_tells_neither_its_id_nor_its_price() -> None:
    exchange, history = Exchange(GENESIS), FeedHistory(100)
    history.add(1, 10**18, exchange.apply(Entry(1, 10**18, OPENING)))
    requests = [
        (1, 1, (c.set_phase("A", Phase.AUCTION),)),
        (2, 1, (c.place_order("A", Side.BUY, 7, 12, hidden=True),)),
        (3, 1, (c.place_order("A", Side.SELL, 3, 10),)),
        (1, 2, (c.set_phase("A", Phase.CONTINUOUS),)),
    ]
    history.add(2, 10**18, exchange.apply(Entry(2, 10**18, tuple(requests))))
    told = [message[3:] for message in history.since("A", 0) or ()]
    assert told == [
        ("phase", 2),
        ("add", 2, 2, 10, 3),
        ("phase", 3),
        ("cross", 12, 3, 1, 0, None, None, 2, 10, 0),
        ("uncross", 12, 3, 4),
    ]


def test_an_amended_iceberg_moves_what_it_shows() -> None:
    told = _told(
        c.place_order("A", Side.SELL, 7, 10, display_qty=3),
        c.replace_order(order_id=1, display_qty=2),
        c.replace_order(order_id=1, price=11),
    )
    assert told == [
        ("add", 1, 2, 10, 3),
        ("reduce", 1, 2, 10, 2),
        ("delete", 1, 2, 10, 2),
        ("add", 1, 2, 11, 2),
    ]


def test_a_cross_names_both_orders_and_where_they_stand() -> None:
    exchange, history = Exchange(GENESIS), FeedHistory(100)
    history.add(1, 10**18, exchange.apply(Entry(1, 10**18, OPENING)))
    requests = [
        (1, 1, (c.set_phase("A", Phase.AUCTION),)),
        (2, 1, (c.place_order("A", Side.BUY, 7, 12, display_qty=2),)),
        (3, 1, (c.place_order("A", Side.SELL, 3, 10),)),
        (1, 2, (c.set_phase("A", Phase.CONTINUOUS),)),
    ]
    history.add(2, 10**18, exchange.apply(Entry(2, 10**18, tuple(requests))))
    told = [message[3:] for message in history.since("A", 0) or ()]
    assert told == [
        ("phase", 2),
        ("add", 1, 1, 12, 2),
        ("add", 2, 2, 10, 3),
        ("phase", 3),
        ("cross", 12, 3, 1, 1, 12, 2, 2, 10, 0),
        ("uncross", 12, 3, 4),
    ]


# -- where a reader stands -------------------------------------------------------------------------


class Relisted:
    """A node on which B is traded, deleted and made anew, twice as long."""

    def __init__(self, *, kept: int = 100, since: int = 1) -> None:
        self.exchange, self.history = Exchange(GENESIS), FeedHistory(kept)
        self._since = since
        self._apply(1, OPENING)
        self._apply(2, [(2, 1, (c.place_order("B", Side.BUY, 1, 1),) * 3)])
        ending = (
            c.mass_cancel(account="*", symbol="B"),
            c.set_phase("B", Phase.CLOSED),
            c.delete_instrument("B"),
        )
        self._apply(3, [(1, 1, ending)])
        terms = GENESIS.instruments[1]
        self._apply(4, [(1, 2, (c.list_instrument(terms),))])
        self._apply(5, [(2, 2, (c.place_order("B", Side.BUY, 1, 1),) * 20)])

    def _apply(self, index: int, requests: Any) -> None:
        replies = self.exchange.apply(Entry(index, 10**18, tuple(requests)))
        if index >= self._since:
            self.history.add(index, 10**18, replies)

    def place(self, feed_seq: int, entry_index: int | None) -> int | None:
        return self.history.place(
            "B",
            feed_seq,
            entry_index=entry_index,
            newest_seq=self.exchange.books["B"].feed_seq,
        )


def test_a_new_instrument_is_not_taken_for_the_deleted_one_of_its_name() -> None:
    node = Relisted()
    kinds = [message[3] for message in node.history.after("B", 0) or ()]
    assert kinds[:10] == ["add"] * 3 + ["delete"] * 3 + ["phase", "deleted", "created", "add"]
    assert node.history.after("B", 8) == node.history.since("B", 0)
    assert node.place(3, 2) is None  # it read three messages of the old one
    assert node.place(7, 3) is None
    assert node.place(3, 5) == 8 + 3  # of the new one
    assert node.place(21, 5) == node.history.end("B")
    assert node.place(0, 3) == 8  # it knows that the old one is gone
    assert node.place(22, 5) is None


def test_a_place_is_only_believed_where_its_instrument_was_seen() -> None:
    node = Relisted(since=5)  # it began with a snapshot of entry 4
    assert node.place(1, 5) == 0
    assert node.place(1, 4) is None  # as of the snapshot: nobody here knows of which one
    assert node.place(1, None) == 0
    assert Relisted(since=6).place(21, 5) is None


def test_what_deleted_instruments_leave_behind_is_bounded() -> None:
    exchange, history = Exchange(GENESIS), FeedHistory(100)
    history.add(1, 10**18, exchange.apply(Entry(1, 10**18, OPENING)))
    terms = GENESIS.instruments[1]
    listener = history.end("X7")
    for number in range(200):
        symbol = f"X{number}"
        commands = (
            c.list_instrument(terms._replace(symbol=symbol)),
            c.set_phase(symbol, Phase.CLOSED),
            c.delete_instrument(symbol),
        )
        request = (1, number + 1, commands)
        history.add(number + 2, 10**18, exchange.apply(Entry(number + 2, 10**18, (request,))))
    assert len(history._by_symbol) <= 64
    assert history.after("X199", history.end("X199") - 3) is not None
    assert history.after("X7", listener) is None  # it must look again, not go on


# -- price levels ----------------------------------------------------------------------------------


def test_a_reader_of_deltas_has_the_nodes_levels_and_checksum() -> None:
    market, listener = CompleteMarket(4), Listener()
    market.exchange = listener.exchange
    listener.apply(market.opening())
    for _ in range(40):
        listener.apply(market.next_entry())
    book, engine = DepthBook("A"), listener.exchange.books["A"]
    depth = listener.depths["A"]
    assert book.take(("refresh", _whole_page(depth)))
    at = depth.end
    for _ in range(150):
        listener.apply(market.next_entry())
        for step in depth.after(at) or ():
            at += 1
            assert book.take(step.delta)
        for ours, ladder in ((book.bids, engine.bids), (book.asks, engine.asks)):
            assert ours(99) == seen_rows(ladder)
        assert (book.phase, book.last_price) == (engine.phase, engine.last_price)


def _whole_page(depth: DepthFeed) -> dict[str, Any]:
    sides = depth.book.sides
    return {
        "page": 1,
        "more": False,
        "feed_seq": depth.book.feed_seq,
        "entry_index": depth.entry_index,
        "bids": sides[1].rows(99),
        "asks": sides[2].rows(99),
        "checksum": depth.book.checksum(),
        "phase": depth.book.phase,
        "last_price": depth.book.last_price,
    }


def test_the_checksum_is_that_of_the_documented_text() -> None:
    assert book_checksum([(10, 3, 1), (9, 1, 1)], [(12, 5, 2)]) == crc32(b"10:3,9:1|12:5")
    assert book_checksum([], []) == crc32(b"|")
    assert book_checksum([(-4, 1, 1)], []) == 908_601_789


def test_levels_are_kept_up_only_while_somebody_holds_them() -> None:
    listener = Listener()
    listener.apply(Entry(1, 10**18, OPENING))
    assert set(listener.history.depths) <= {"A", "B"} and listener.history.depths
    listener.depths.clear()
    assert not listener.history.depths

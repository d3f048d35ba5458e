"""The public feed is enough to keep the book, and it can be taken up again where it was left."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raftbook.core import commands as c
from raftbook.core.commands import Entry, Request
from raftbook.core.exchange import Exchange, Genesis
from raftbook.core.types import Phase, Side
from raftbook.feed.stream import FeedHistory
from tests.core.flow import (
    AMENDING,
    EFFORT,
    GENESIS,
    MIXED,
    OPENING,
    PLAIN,
    SELF_TRADING,
    THIRD,
    Flow,
    Profile,
    advance,
    random_entries,
)
from tests.feed.feed_book import FeedBook


class Listener:
    """An exchange, its feed, and one book per instrument kept from the feed alone."""

    def __init__(self, kept: int = 10**6) -> None:
        self.exchange = Exchange(GENESIS)
        self.history = FeedHistory(kept)
        self.books: dict[str, FeedBook] = {}

    def apply(self, entry: Entry) -> list[Any]:
        replies = self.exchange.apply(entry)
        self.history.add(entry.index, self.exchange.now_ns, replies)
        for symbol, engine in self.exchange.books.items():
            book = self.books.setdefault(symbol, FeedBook(0))
            assert book.feed_seq is not None
            if engine.feed_seq == book.feed_seq:
                continue
            news = self.history.since(symbol, book.feed_seq)
            assert news, f"{symbol} has moved, but there is nothing new"
            for message in news:
                assert message[1:3] == (entry.index, self.exchange.now_ns)
                book.take(message)
        return replies

    def check(self) -> None:
        for symbol, engine in self.exchange.books.items():
            ours = self.books.get(symbol, FeedBook(0))
            assert ours.feed_seq == engine.feed_seq
            for side, ladder in ((Side.BUY, engine.bids), (Side.SELL, engine.asks)):
                orders = [
                    (order.terms[0], level.price, order.leaves_qty)
                    for level in ladder
                    for order in level
                ]
                assert ours.side(side) == orders, f"{symbol} {side.name}"


@pytest.mark.parametrize("profile", [MIXED, AMENDING, SELF_TRADING], ids=("mixed", "amend", "stp"))
@pytest.mark.parametrize("seed", range(4))
def test_the_feed_alone_rebuilds_the_book_after_every_entry(profile: Profile, seed: int) -> None:
    listener = Listener()
    for entry in random_entries(seed, 300, profile):
        listener.apply(entry)
        listener.check()
    assert all(listener.books[symbol].feed_seq for symbol in ("A", "B"))


@given(data=st.data(), profile=st.sampled_from((MIXED, AMENDING, SELF_TRADING)))
@settings(max_examples=40 * EFFORT, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_commands_at_all_keep_feed_and_book_equal(
    data: st.DataObject, profile: Profile
) -> None:
    def choose(options: Any) -> Any:
        return data.draw(st.sampled_from(options))

    listener, flow, time_ns = Listener(), Flow(profile), 10**18
    flow.learn(listener.apply(Entry(1, time_ns, OPENING)))
    for index in range(2, 2 + data.draw(st.integers(1, 12))):
        time_ns += advance(choose)
        requests = tuple(flow.request(choose) for _ in range(choose((1, 2, 3, 4))))
        flow.learn(listener.apply(Entry(index, time_ns, requests)))
        listener.check()


def test_a_repeated_request_is_not_fed_twice() -> None:
    listener = Listener()
    listener.apply(Entry(1, 10**18, OPENING))
    request: Request = (4, 1, (c.new_order("A", Side.BUY, 1, 1),))
    listener.apply(Entry(2, 10**18, (request, request)))
    listener.apply(Entry(3, 10**18, (request,)))
    assert listener.history.since("A", 0) == [(1, 2, 10**18, "add", 1, 1, 1, 1)]


def test_the_messages_are_those_of_the_table() -> None:
    listener = Listener()
    sell, buy = (
        lambda *what, **more: c.new_order("A", Side.SELL, *what, **more),
        lambda *what, **more: c.new_order("A", Side.BUY, *what, **more),
    )
    commands = (
        sell(5, 1),
        c.amend_order(order_id=1, order_qty=4),
        sell(2, 2),
        c.amend_order(order_id=2, price=3),
        c.cancel_order(order_id=2),
    )
    listener.apply(Entry(1, 10**18, OPENING))
    listener.apply(Entry(2, 10**18, ((4, 1, commands), (2, 1, (buy(6, 1),)))))
    halt = (c.set_phase("A", Phase.HALTED), c.create_instrument(THIRD))
    listener.apply(Entry(3, 10**18, ((1, 1, halt),)))
    told = [message[3:] for message in listener.history.since("A", 0) or ()]
    assert told == [
        ("add", 1, 2, 1, 5),
        ("reduce", 1, 2, 1, 4),
        ("add", 2, 2, 2, 2),
        ("delete", 2, 2, 2, 2),
        ("add", 2, 2, 3, 2),
        ("delete", 2, 2, 3, 2),
        ("trade", 1, 1, 4, 1, 1, 0),
        ("add", 3, 1, 1, 2),
        ("phase", 4),
    ]
    assert listener.history.since("C", 0) == [(1, 3, 10**18, "created")]


def test_no_name_of_an_account_is_ever_fed() -> None:
    listener = Listener()
    for entry in random_entries(5, 200):
        listener.apply(entry)
    for symbol in ("A", "B"):
        for message in listener.history.since(symbol, 0) or ():
            texts = [field for field in message if isinstance(field, str)]
            assert len(texts) == 1, f"more than its kind: {message}"


def _history(*, kept: int, count: int) -> FeedHistory:
    exchange = Exchange(Genesis((PLAIN._replace(qty_max=9),), (("a", False),)))
    history = FeedHistory(kept)
    exchange.apply(Entry(1, 5, ((c.NO_SESSION, 0, (c.open_session("a", "k"),)),)))
    for seq in range(1, count + 1):
        request = (1, seq, (c.new_order("A", Side.BUY, 1, 1),))
        history.add(seq + 1, 5, exchange.apply(Entry(seq + 1, 5, (request,))))
    return history


@pytest.mark.parametrize(
    ("feed_seq", "expected"),
    [
        (0, None),  # 1 to 6 are wanted, 4 to 6 are kept
        (2, None),
        (3, [4, 5, 6]),
        (4, [5, 6]),
        (5, [6]),
        (6, []),
        (7, []),  # another node was ahead
        (10**9, []),
    ],
)
def test_since_gives_what_is_newer_or_says_that_it_is_too_old(
    feed_seq: int, expected: list[int] | None
) -> None:
    history = _history(kept=3, count=6)
    news = history.since("A", feed_seq)
    assert (None if news is None else [message[0] for message in news]) == expected


def test_nothing_is_known_of_a_symbol_without_messages_or_after_forgetting() -> None:
    history = _history(kept=3, count=2)
    assert history.since("B", 0) is None
    history.forget()
    assert history.since("A", 1) is None

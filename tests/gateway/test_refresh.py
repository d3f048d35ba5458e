"""A book told page by page while the market goes on is, put together, the book of one moment."""

import random
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

from raftbook.client.refresh import PagedBook
from raftbook.core import commands as c
from raftbook.core.commands import Entry
from raftbook.core.exchange import Exchange, Genesis
from raftbook.core.instrument import InstrumentTerms
from raftbook.core.limits import Limits
from raftbook.core.types import SelfTradePrevention, Side, TimeInForce
from raftbook.feed.stream import FeedHistory
from raftbook.gateway.queries import Queries
from raftbook.gateway.refresh import refresh_pages
from raftbook.wire import pages
from raftbook.wire.packing import pack, unpack
from tests.core.flow import EFFORT

SYMBOL = "A"
LISTS = ("bids", "asks", "bid_orders", "ask_orders")


class Market:
    """One book that somebody trades in, and its feed."""

    def __init__(self, seed: int) -> None:
        terms = InstrumentTerms(SYMBOL, "OIL", "USD", "1", "1", 1_000, -1_000, 1_000)
        self.exchange = Exchange(Genesis((terms,), (("op", True), ("al", False)), Limits()))
        self.feed = FeedHistory(1_000_000)
        replica: Any = SimpleNamespace(
            machine=SimpleNamespace(exchange=self.exchange),
            raft=SimpleNamespace(applied_index=0),
            node_id=1,
            age_ms=lambda: 0,
        )
        self.queries = Queries(replica, dict)
        self._rng = random.Random(seed)
        for session in (1, 2):
            self._apply(0, session, c.open_session(("op", "al")[session - 1], "k"))

    def move(self, count: int) -> None:
        """So many commands: few prices and small quantities, so that they meet."""
        for _ in range(count):
            self._apply(self._rng.choice((1, 2)), 0, self._command())

    def book(self) -> dict[str, Any]:
        """The truth now."""
        whole = {"symbol": SYMBOL, "depth": 0, "orders": True}
        return dict(unpack(pack(self.queries.answer("book", whole, None))))

    def _command(self) -> c.Command:
        rng = self._rng
        order_id = rng.randint(1, self.exchange.last_order_id + 1)
        kind = rng.random()
        if kind < 0.2:
            return c.cancel_order(order_id=order_id)
        if kind < 0.4:
            qty, price = rng.choice((None, rng.randint(1, 9))), rng.choice((None, 3, 5, 7))
            return c.amend_order(order_id=order_id, order_qty=qty, price=price)
        return c.new_order(
            SYMBOL,
            rng.choice((Side.BUY, Side.SELL)),
            rng.randint(1, 9),
            rng.randint(-2, 9),
            time_in_force=rng.choice((TimeInForce.GTC,) * 4 + (TimeInForce.IOC,)),
            self_trade_prevention=rng.choice(list(SelfTradePrevention)),
        )

    def _apply(self, session_id: int, seq: int, command: c.Command) -> None:
        index = self.exchange.applied_index + 1
        request = (session_id, seq or index, (command,))
        replies = self.exchange.apply(Entry(index, index, (request,)))
        self.feed.add(index, index, replies)


@given(
    seed=st.integers(0, 2**32),
    before=st.integers(0, 60),
    between=st.lists(st.integers(0, 12), min_size=1, max_size=6),
    page_orders=st.integers(1, 6),
)
@settings(max_examples=200 * EFFORT, deadline=None)
def test_pages_and_the_feed_make_the_book_of_one_moment(
    seed: int, before: int, between: list[int], page_orders: int
) -> None:
    market = Market(seed)
    market.move(before)
    coming = PagedBook()
    with patch.object(pages, "BOOK_ORDERS", page_orders):
        told = refresh_pages(market.queries, SYMBOL)
        truth = _read(coming, told, market, between)
    for message in market.feed.since(SYMBOL, coming.seq) or ():
        if coming.is_whole:
            break
        coming.take(unpack(pack(message)))
    assert coming.is_whole
    view = coming.view()
    assert view["feed_seq"] == truth["feed_seq"]
    assert {name: view[name] for name in LISTS} == {name: truth[name] for name in LISTS}
    assert (view["last_price"], view["phase"]) == (truth["last_price"], truth["phase"])
    assert set(view) == set(truth)


def _read(
    coming: PagedBook, told: Iterator[dict[str, Any]], market: Market, between: list[int]
) -> dict[str, Any]:
    """Take in all pages; the truth at the moment of the last one.

    The market stands still inside a moment: a level that is larger than a page has several.
    """
    count = 0
    truth: dict[str, Any] = {}
    for page in told:
        assert sum(len(page[f"{side}_orders"]) for side in ("bid", "ask")) <= pages.BOOK_ORDERS
        coming.add_page(unpack(pack(page)))
        if page["more"]:
            if page["told"]:
                market.move(between[count % len(between)])
                count += 1
        else:
            truth = market.book()
    return truth


def test_a_level_larger_than_a_page_is_of_one_moment() -> None:
    market = Market(1)
    for _ in range(7):
        market._apply(1, 0, c.new_order(SYMBOL, Side.BUY, 1, 4))
    market._apply(1, 0, c.new_order(SYMBOL, Side.SELL, 1, 5))
    with patch.object(pages, "BOOK_ORDERS", 3):
        told = list(refresh_pages(market.queries, SYMBOL))
    assert [len(page["bid_orders"]) for page in told] == [3, 3, 1, 0]
    assert [page["told"] for page in told] == [(), (), (Side.BUY, 4), ()]
    assert [page["bids"] for page in told] == [[], [], [(4, 7, 7)], []]
    assert [page["more"] for page in told] == [True, True, True, False]
    assert [page["page"] for page in told] == [1, 2, 3, 4]


def test_an_empty_book_is_one_page() -> None:
    (page,) = refresh_pages(Market(1).queries, SYMBOL)
    assert (page["page"], page["told"], page["more"]) == (1, (), False)
    assert [page[name] for name in LISTS] == [[], [], [], []]

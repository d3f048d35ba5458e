"""The story of an order ends where the exchange ends, whatever happened in between."""

from types import SimpleNamespace
from typing import Any

import pytest

from cli.log_entries import EntryReader
from cli.log_queue import Queue
from cli.log_story import _Story
from raftbook.core import events as e
from raftbook.core.exchange import Exchange
from raftbook.core.hidden import shown_orders
from raftbook.feed.messages import public_view, symbol_of
from raftbook.replica.machine import Applied
from tests.feed.complete_market import GENESIS, CompleteMarket


class Log:
    """What a story is told from, without files."""

    def __init__(self, seed: int, count: int) -> None:
        market = CompleteMarket(seed)
        self.exchange = market.exchange
        self.entries = [market.opening()]
        self.reader = EntryReader()
        self.entered: list[tuple[int, Any]] = []
        self.exchange.apply(self.entries[0])
        for _ in range(count):
            self.entries.append(market.next_entry())
            for reply in self.exchange.apply(self.entries[-1]):
                for event in reply[4]:
                    if event[0] == e.ACCEPTED:
                        self.entered.append((self.entries[-1].index, event))
            self.reader.learn(self.exchange)

    def machine_at(self, index: int, genesis: Any) -> Any:
        exchange = Exchange(GENESIS)
        for entry in self.entries:
            if entry.index <= index:
                exchange.apply(entry)
        return SimpleNamespace(exchange=exchange)

    def replay(self, first: int, last: int, genesis: Any) -> Any:
        exchange = self.machine_at(first - 1, genesis).exchange
        for entry in self.entries:
            if first <= entry.index <= last:
                replies = exchange.apply(entry)
                yield entry, Applied(entry.index, 1, exchange.now_ns, replies), exchange

    def story(self, entered: tuple[int, Any]) -> dict[str, Any]:
        source: Any = self
        last = self.entries[-1].index
        return _Story(source, GENESIS, self.reader, entered, last).told()


@pytest.mark.parametrize("seed", range(5))
def test_every_order_can_be_explained_and_ends_as_the_exchange_has_it(seed: int) -> None:
    log = Log(seed, 60)
    orders = {
        order_id: order
        for account in log.exchange.accounts.values()
        for order_id, order in account.orders.items()
    }
    assert len(log.entered) > 15
    for entered in log.entered[::2]:
        order_id, symbol = entered[1][2][0], entered[1][2][3]
        if symbol == "B" and order_id not in orders:
            continue  # its instrument went, and what was remembered of it
        told = log.story(entered)
        order, spec = orders[order_id], log.reader.specs[symbol]
        assert told["leaves_qty"] == f"{spec.qty(order.leaves_qty):f}"
        assert told["cum_qty"] == f"{spec.qty(order.cum_qty):f}"
        assert told["verdict"].startswith("open") == bool(order.leaves_qty)
        assert all(sentence["text"].endswith((".", ")")) for sentence in told["sentences"])


@pytest.mark.parametrize("seed", range(3))
def test_the_queue_of_a_story_is_the_book(seed: int) -> None:
    market = CompleteMarket(seed)
    market.exchange.apply(market.opening())
    queue = Queue(market.exchange.books["A"])
    for _ in range(120):
        for reply in market.exchange.apply(market.next_entry()):
            for event in reply[4]:
                if event[1] and symbol_of(event) == "A":
                    queue.take(public_view(event))
        book = market.exchange.books["A"]
        for ladder in (book.bids, book.asks):
            better_orders = better_qty = 0
            for level in ladder:
                ahead = ahead_qty = 0
                for order in shown_orders(level):
                    place = queue.place(order.terms[0])
                    assert place == (ahead, ahead_qty, better_orders, better_qty)
                    ahead += 1
                    ahead_qty += order.shown_qty()
                better_orders += ahead
                better_qty += ahead_qty
        assert queue.last_price == book.last_price
        assert queue.is_call == book.is_call

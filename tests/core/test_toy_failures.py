"""What the toy peer-to-peer books get wrong, one test for each failure that concerns the book.

Those about replication (acknowledging too early, joiners, locks, ports) are tested with it.
"""

import ast

from raftbook.core import commands as c
from raftbook.core import events as e
from raftbook.core.commands import Command, Entry
from raftbook.core.exchange import Exchange, Genesis
from raftbook.core.instrument import InstrumentTerms
from raftbook.core.snapshot import export_state, restore_state, state_digest
from raftbook.core.types import Reject, Side, TimeInForce

TERMS = InstrumentTerms("X", "oil", "eur", "0.5", "1", 1_000, -1_000, 1_000)
GENESIS = Genesis((TERMS,), (("anna", False), ("ben", False)))
BUY, SELL = Side.BUY, Side.SELL
ANNA, BEN = 1, 2


class Toy:
    """An exchange with one instrument and a session each for anna and ben."""

    def __init__(self, exchange: Exchange | None = None) -> None:
        self.exchange = exchange or Exchange(GENESIS)
        self.index = self.exchange.applied_index
        if exchange is None:
            for name in ("anna", "ben"):
                self.send(c.NO_SESSION, c.open_session(name, "k"))

    def send(self, session_id: int, command: Command, *, seq: int | None = None) -> list[e.Event]:
        self.index += 1
        entry = Entry(self.index, 1, ((session_id, seq or self.index, (command,)),))
        return self.exchange.apply(entry)[0][4]

    def order(
        self, session_id: int, side: Side, qty: int, price: int, name: str = ""
    ) -> list[e.Event]:
        return self.send(session_id, c.new_order("X", side, qty, price, client_order_id=name))

    def asks(self) -> list[tuple[str, int, int]]:
        """(client_order_id, price, open quantity) of every resting sell, best first."""
        return [
            (order.terms[2], order.terms[6], order.leaves_qty)
            for level in self.exchange.books["X"].asks
            for order in level
        ]


def trades(events: list[e.Event]) -> list[tuple[str, int, int]]:
    """(maker's client_order_id, price, quantity) of every trade."""
    return [(event[5][2], event[3], event[4]) for event in events if event[0] == e.TRADE]


def test_the_head_of_the_queue_is_removed_and_the_rest_do_not_starve() -> None:
    toy = Toy()
    for name in ("first", "second", "third"):
        toy.order(ANNA, SELL, 1, 10, name)
    told = [trades(toy.order(BEN, BUY, 1, 10)) for _ in range(4)]
    assert told == [[("first", 10, 1)], [("second", 10, 1)], [("third", 10, 1)], []]


def test_an_order_sent_again_is_one_order_on_every_node() -> None:
    lucky, unlucky = Toy(), Toy()
    for toy in (lucky, unlucky):
        toy.order(ANNA, SELL, 9, 10, "maker")
    request = c.new_order("X", BUY, 2, 10, client_order_id="taker")
    original = lucky.send(BEN, request, seq=7)
    again = lucky.send(BEN, request, seq=7)
    unlucky.send(BEN, request, seq=7)
    assert again == original
    assert lucky.asks() == unlucky.asks() == [("maker", 10, 7)]
    assert state_digest(lucky.exchange) == state_digest(unlucky.exchange)


def test_an_order_sent_again_under_another_request_seq_cannot_trade_twice() -> None:
    toy = Toy()
    toy.order(ANNA, SELL, 9, 10, "maker")
    ioc = c.new_order("X", BUY, 2, 10, client_order_id="t", time_in_force=TimeInForce.IOC)
    assert trades(toy.send(BEN, ioc)) == [("maker", 10, 2)]
    assert [event[2] for event in toy.send(BEN, ioc)] == [Reject.DUPLICATE_CLIENT_ORDER_ID]
    assert toy.asks() == [("maker", 10, 7)]


def test_books_told_the_same_log_are_equal_whenever_it_reaches_them() -> None:
    orders = [
        (session_id, c.new_order("X", side, 3, price))
        for session_id, side, price in (
            (ANNA, SELL, 10),
            (BEN, BUY, 11),
            (BEN, BUY, 9),
            (ANNA, SELL, 9),
        )
    ]
    prompt, late = Toy(), Toy()
    for session_id, command in orders:
        prompt.send(session_id, command)
    requests = tuple(
        (session_id, number + 3, (command,)) for number, (session_id, command) in enumerate(orders)
    )
    late.exchange.apply(Entry(900, 10**15, requests))
    assert state_digest(late.exchange) == state_digest(prompt.exchange)


def test_an_order_id_is_never_given_twice() -> None:
    toy = Toy()
    ids = []
    for _ in range(3):
        accepted = toy.order(ANNA, SELL, 1, 10)[0]
        ids.append(accepted[2][0])
        toy.send(ANNA, c.cancel_order(order_id=ids[-1]))  # the book is as long as before
    assert ids == [1, 2, 3]


def test_prices_sort_as_numbers() -> None:
    toy = Toy()
    for price in (100, 9, 10, -9, -10, 1_000, 0):
        toy.order(ANNA, SELL, 1, price, f"at{price}")
    assert [price for _, price, _ in toy.asks()] == [-10, -9, 0, 9, 10, 100, 1_000]


def test_removing_several_orders_removes_exactly_those() -> None:
    toy = Toy()
    names = [f"o{number}" for number in range(10)]
    for name in names:
        toy.order(ANNA, SELL, 1, 10, name)
    for name in ("o1", "o2", "o5", "o8"):
        toy.send(ANNA, c.cancel_order(client_order_id=name))
    assert [name for name, _, _ in toy.asks()] == ["o0", "o3", "o4", "o6", "o7", "o9"]
    swept = trades(toy.order(BEN, BUY, 4, 10))
    assert [name for name, _, _ in swept] == ["o0", "o3", "o4", "o6"]
    assert [name for name, _, _ in toy.asks()] == ["o7", "o9"]


def test_a_copy_resumes_from_the_remaining_quantity_and_does_not_trade_twice() -> None:
    toy = Toy()
    toy.order(ANNA, SELL, 10, 10, "big")
    toy.order(BEN, BUY, 7, 10)
    value = ast.literal_eval(repr(export_state(toy.exchange)))
    copy = Toy(restore_state(GENESIS, value))
    assert copy.asks() == [("big", 10, 3)]
    assert trades(copy.order(BEN, BUY, 10, 10)) == [("big", 10, 3)]


def test_a_copied_bid_comes_back_as_a_bid_in_its_place() -> None:
    toy = Toy()
    for name in ("elder", "younger"):
        toy.order(ANNA, BUY, 4, 10, name)
    toy.order(BEN, SELL, 1, 10)
    toy.send(ANNA, c.amend_order(client_order_id="elder", order_qty=9))  # to the back of the queue
    copy = Toy(restore_state(GENESIS, export_state(toy.exchange)))
    assert trades(copy.order(BEN, SELL, 5, 10)) == [("younger", 10, 4), ("elder", 10, 1)]
    assert copy.asks() == []


def test_nobody_cancels_or_amends_what_belongs_to_another() -> None:
    toy = Toy()
    toy.order(ANNA, SELL, 1, 10, "mine")
    attempts = [
        c.cancel_order(order_id=1),
        c.cancel_order(client_order_id="mine"),
        c.amend_order(order_id=1, price=11),
        c.amend_order(client_order_id="mine", order_qty=5),
    ]
    for attempt in attempts:
        assert [event[2] for event in toy.send(BEN, attempt)] == [Reject.UNKNOWN_ORDER]
    assert toy.asks() == [("mine", 10, 1)]


def test_one_client_order_id_may_be_used_by_two_accounts() -> None:
    toy = Toy()
    toy.order(ANNA, SELL, 1, 10, "same")
    toy.order(BEN, SELL, 1, 11, "same")
    toy.send(BEN, c.cancel_order(client_order_id="same"))
    assert toy.asks() == [("same", 10, 1)]

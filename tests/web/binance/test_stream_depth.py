"""Depth streams: whichever node tells them and whenever, they are the book, ids without a gap."""

import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raftbook.core import commands as c
from raftbook.core.commands import Entry
from raftbook.core.types import Phase, Side
from raftbook.web.websocket import RESTART
from tests.core.flow import EFFORT
from tests.web.binance.stream_market import BookKeeper, Ear, Node, listen, market_entries, stream

T0 = 10**18


def _applied(node: Node, *requests: Any, time_ns: int = T0) -> None:
    index = node.exchange.applied_index + 1
    node.apply(Entry(index, time_ns, tuple(requests)))


def _market(seed: int = 1) -> Node:
    node = Node()
    node.apply(next(market_entries(node.exchange, seed)))
    return node


@given(seed=st.integers(0, 2**32), window=st.integers(0, 9), late=st.integers(0, 20))
@settings(max_examples=40 * EFFORT, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_book_kept_as_binance_says_is_the_exchanges(seed: int, window: int, late: int) -> None:
    node = Node()
    entries = market_entries(node.exchange, seed)
    for _ in range(10):
        node.apply(next(entries))
    ear, keeper = listen(node, "oilusd@depth@100ms"), BookKeeper()
    for step in range(60):
        node.apply(next(entries))
        if step % (window + 1) == window:
            node.time_passes()
        for update in ear.take():
            keeper.take(update)
        if step == late:
            keeper.picture(node.depth("OILUSD"))
    node.time_passes()
    for update in ear.take():
        keeper.take(update)
    assert keeper.book() == node.depth("OILUSD")
    assert keeper.pictures == 1


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("name", ["OILUSD", "GASUSD"])
def test_ids_are_without_a_gap_on_every_connection_and_equal_on_every_node(
    seed: int, name: str
) -> None:
    """Three nodes apply one log at their own pace and cut their windows where they like. A client
    goes from one to the other; GASUSD is deleted and listed again now and then."""
    rng = random.Random(seed)
    nodes = [Node(number) for number in range(3)]
    entries = market_entries(nodes[0].exchange, seed)
    log: list[Entry] = []
    applied = [0, 0, 0]
    text = f"{name.lower()}@depth@100ms"
    ear: Ear | None = None
    at, keeper, last, moves = 0, BookKeeper(), None, 0

    def go_on(which: int, count: int) -> None:
        for _ in range(count):
            if applied[which] == len(log):
                if which:
                    return
                log.append(next(entries))
            nodes[which].apply(log[applied[which]])
            applied[which] += 1

    go_on(0, 10)
    for _ in range(300):
        go_on(0, rng.randint(0, 2))
        for which in (1, 2):
            go_on(which, rng.randint(0, 3))
        rng.choice(nodes).time_passes()
        if ear is None or ear.ended or rng.random() < 0.05:
            if ear is not None and ear.ended:
                keeper = BookKeeper()  # it may be another instrument
            elif ear is not None:
                nodes[at].hub.remove(stream(text), ear)
            at, last, ear = rng.randrange(3), None, None
            if nodes[at].hub.is_known(stream(text)):
                ear, moves = listen(nodes[at], text), moves + 1
        for update in ear.take() if ear is not None else ():
            assert last is None or update["U"] == last + 1
            last = update["u"]
            keeper.take(update)
        if ear is not None and not ear.ended and keeper.last is None and rng.random() < 0.3:
            keeper.picture(nodes[at].depth(name))
    assert moves > 8
    if last is None:
        keeper = BookKeeper()  # what it missed when it moved it would hear of by the next step only
    compared = 0
    for _ in range(40):
        if ear is None or ear.ended:
            keeper, last, ear = BookKeeper(), None, None
            if nodes[at].hub.is_known(stream(text)):
                ear = listen(nodes[at], text)
        go_on(0, 5)
        for which in (1, 2):
            go_on(which, len(log))
        nodes[at].time_passes()
        for update in ear.take() if ear is not None else ():
            assert last is None or update["U"] == last + 1
            last = update["u"]
            keeper.take(update)
        if ear is not None and not ear.ended:
            if keeper.last is None:
                keeper.picture(nodes[at].depth(name))
            else:
                assert keeper.book() == nodes[0].depth(name)
                compared += 1
    assert compared > 5


def test_windows_join_into_one_update_from_the_first_id_to_the_last() -> None:
    node = _market()
    ear = listen(node, "gasusd@depth")
    _applied(node, (2, 1, (c.place_order("B", Side.BUY, 3, 1),)))
    _applied(node, (2, 2, (c.place_order("B", Side.BUY, 4, 1),)))
    _applied(node, (3, 1, (c.place_order("B", Side.SELL, 2, 2),)), time_ns=T0 + 5_000_000)
    assert ear.take() == []
    assert [each.delay_s for each in node.waiting] == [1.0]
    node.time_passes()
    assert ear.take() == [
        {
            "e": "depthUpdate", "E": T0 // 10**6 + 5, "s": "GASUSD", "U": 1, "u": 3,
            "b": [["1.00000000", "7.00000000"]], "a": [["2.00000000", "2.00000000"]],
        }
    ]  # fmt: skip
    node.time_passes()
    assert ear.take() == []


def test_ids_that_change_no_level_are_told_with_empty_lists() -> None:
    node = _market()
    ear = listen(node, "gasusd@depth@100ms")
    _applied(node, (1, 1, (c.set_phase("B", Phase.HALTED),)))
    node.time_passes()
    (update,) = ear.take()
    assert (update["U"], update["u"], update["b"], update["a"]) == (1, 1, [], [])


def test_what_an_iceberg_hides_is_not_told() -> None:
    node = _market()
    ear = listen(node, "gasusd@depth@100ms")
    _applied(node, (2, 1, (c.place_order("B", Side.BUY, 9, 1, display_qty=2),)))
    node.time_passes()
    assert ear.take()[0]["b"] == [["1.00000000", "2.00000000"]]
    _applied(node, (3, 1, (c.place_order("B", Side.SELL, 3, 1),)))
    node.time_passes()
    assert ear.take()[0]["b"] == [["1.00000000", "1.00000000"]]


def test_a_level_that_is_gone_has_the_zero_that_clients_look_for() -> None:
    node = _market()
    _applied(node, (2, 1, (c.place_order("B", Side.BUY, 3, 1),)))
    ear = listen(node, "gasusd@depth@100ms")
    _applied(node, (2, 2, (c.cancel_order(order_id=1),)))
    node.time_passes()
    assert ear.take()[0]["b"] == [["1.00000000", "0.00000000"]]


def test_a_stream_ends_with_its_instrument_and_is_no_other_instruments() -> None:
    node = _market()
    ear, other = listen(node, "gasusd@depth"), listen(node, "oilusd@depth")
    ending = (c.set_phase("B", Phase.CLOSED), c.delete_instrument("B"))
    listing = c.list_instrument(node.exchange.genesis.instruments[1])
    _applied(node, (1, 1, (*ending, listing)))
    assert ear.ended is not None and ear.ended[0] == RESTART
    assert other.ended is None
    anew = listen(node, "gasusd@depth")
    _applied(node, (2, 1, (c.place_order("B", Side.BUY, 3, 1),)))
    node.time_passes()
    assert [(update["U"], update["u"]) for update in anew.take()] == [(2, 2)]


def test_a_stream_ends_when_its_instrument_counts_in_other_units() -> None:
    node = _market()
    ear = listen(node, "gasusd@depth")
    terms = node.exchange.books["B"].terms
    _applied(node, (1, 1, (c.amend_instrument(terms._replace(qty_max=40)),)))
    assert ear.ended is None
    _applied(node, (1, 2, (c.amend_instrument(terms._replace(tick_size="0.5")),)))
    assert ear.ended is not None
    assert node.depth("GASUSD")["lastUpdateId"] == 2


def test_a_large_window_is_told_early() -> None:
    node = _market()
    ear = listen(node, "gasusd@depth")
    for seq in range(1, 1_030):
        _applied(node, (2, 2 * seq, (c.place_order("B", Side.BUY, 1, 1),)))
        _applied(node, (2, 2 * seq + 1, (c.cancel_order(order_id=seq),)))
    assert [(update["U"], update["u"]) for update in ear.take()] == [(1, 1_024), (1_025, 2_048)]


def test_best_levels_begin_with_what_they_are_and_go_on_once_a_window() -> None:
    node = _market()
    _applied(node, (2, 1, tuple(c.place_order("B", Side.BUY, 1, p) for p in range(1, 8))))
    ear = listen(node, "gasusd@depth5@100ms", is_combined=True)
    (begun,) = ear.take()
    assert begun["stream"] == "gasusd@depth5@100ms"
    assert begun["data"]["lastUpdateId"] == 7
    assert [price for price, _ in begun["data"]["bids"]] == [
        "7.00000000", "6.00000000", "5.00000000", "4.00000000", "3.00000000",
    ]  # fmt: skip
    _applied(node, (2, 2, (c.cancel_order(order_id=7),)))
    _applied(node, (2, 3, (c.cancel_order(order_id=6),)))
    node.time_passes()
    (update,) = ear.take()
    assert update["data"]["lastUpdateId"] == 9
    assert update["data"]["bids"][0] == ["5.00000000", "1.00000000"]


def test_best_prices_are_told_with_each_entry_that_changes_them() -> None:
    node = _market()
    ear = listen(node, "gasusd@bookTicker")
    _applied(node, (2, 1, (c.place_order("B", Side.BUY, 3, 2),)))
    _applied(node, (2, 2, (c.place_order("B", Side.BUY, 3, 1),)))
    _applied(node, (2, 3, (c.place_order("B", Side.SELL, 3, 4),)))
    zero = "0.00000000"
    assert ear.take() == [
        {"u": 0, "s": "GASUSD", "b": zero, "B": zero, "a": zero, "A": zero},
        {"u": 1, "s": "GASUSD", "b": "2.00000000", "B": "3.00000000", "a": zero, "A": zero},
        {
            "u": 3, "s": "GASUSD", "b": "2.00000000", "B": "3.00000000",
            "a": "4.00000000", "A": "3.00000000",
        },
    ]  # fmt: skip

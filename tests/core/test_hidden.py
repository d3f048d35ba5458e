"""Orders that show nothing, and stops that look at quotes: what no transcript can show."""

from collections import Counter
from typing import Any

from raftbook.core import commands as c
from raftbook.core import events as e
from raftbook.core.commands import Entry
from raftbook.core.conditions import is_hidden, trigger_by
from raftbook.core.exchange import Exchange
from raftbook.core.hidden import best_shown, shown_count, shown_levels, shown_orders
from raftbook.core.invariants import check
from raftbook.core.snapshot import export_state, restore_state, state_digest
from raftbook.core.types import OrderType, Side, TriggerBy
from tests.core.pair import Pair
from tests.core.small_market import ANNA, BEN, market, say
from tests.core.venue_flow import random_entries
from tests.core.venue_market import GENESIS, START_NS
from tests.core.venue_profiles import PROFILES


def sell(qty: int, price: int, **more: Any) -> c.Command:
    return c.place_order("A", Side.SELL, qty, price, **more)


def ids(pair: Pair) -> list[int]:
    return [order.terms[0] for level in pair.engine.books["A"].asks for order in level]


def test_a_level_of_hidden_orders_alone_is_none_that_the_market_sees() -> None:
    pair = market()
    say(pair, BEN, sell(1, 1, hidden=True), sell(2, 2, hidden=True), sell(3, 2), sell(4, 3))
    asks = pair.engine.books["A"].asks
    best = best_shown(asks)
    assert asks.best is not None and asks.best.price == 1
    assert best is not None
    assert (best.price, best.qty, best.count, shown_count(best)) == (2, 3, 2, 1)
    assert [level.price for level in shown_levels(asks)] == [2, 3]
    assert [order.terms[0] for order in shown_orders(best)] == [3]
    assert (asks.hidden, pair.engine.books["A"].shown_count()) == (2, 2)
    say(pair, BEN, c.cancel_order(order_id=3), c.cancel_order(order_id=4))
    assert best_shown(asks) is None and asks.best is not None
    assert best_shown(pair.engine.books["A"].bids) is None


def test_a_cancel_replace_that_is_refused_leaves_every_place_as_it_was() -> None:
    pair = market()
    say(pair, BEN, sell(1, 2), sell(1, 2, hidden=True), sell(1, 2, hidden=True))
    say(pair, BEN, sell(1, 2, display_qty=0), sell(4, 2, display_qty=1))
    assert ids(pair) == [1, 4, 5, 2, 3]
    wrong = c.place_order("A", Side.SELL, 1, 2, client_order_id="no", quote_qty=1)
    for order_id in (1, 4, 5, 2, 3):
        told = say(pair, BEN, c.cancel_replace(wrong, order_id=order_id))
        assert [event[0] for event in told] == [e.CANCEL_REJECTED, e.REJECTED]
        assert ids(pair) == [1, 4, 5, 2, 3]


def test_a_snapshot_keeps_who_is_hidden_and_who_looks_at_what() -> None:
    pair = market()
    stop = {"ord_type": OrderType.STOP, "stop_price": 4}
    say(pair, BEN, sell(1, 2, hidden=True), sell(1, 2), sell(3, 2, hidden=True))
    for by in TriggerBy:
        say(pair, ANNA, c.place_order("A", Side.BUY, 1, None, trigger_by=by, **stop))
    both = {"hidden": True, "trigger_by": TriggerBy.MID}
    say(pair, BEN, c.place_oco("A", Side.SELL, 2, price=4, stop_price=-3, **both))
    again = restore_state(GENESIS, export_state(pair.engine))
    check(again)
    assert export_state(again) == export_state(pair.engine)
    assert again.agenda.is_quoted
    levels = [[order.terms[0] for order in level] for level in again.books["A"].asks]
    assert levels == [[2, 1, 3], [8]]
    last = (c.cancel_order(order_id=1), c.new_order("A", Side.BUY, 3, 2), c.mass_cancel())
    entry = Entry(again.applied_index + 1, START_NS, ((BEN, 99, last), (ANNA, 99, last[2:])))
    assert again.apply(entry) == pair.engine.apply(entry)
    assert state_digest(again) == state_digest(pair.engine)


def test_what_is_not_asked_for_stands_in_no_terms_and_no_command() -> None:
    plain = c.place_order("A", Side.BUY, 3, 1, display_qty=1)
    assert len(plain) == 17 and len(c.place_order("A", Side.BUY, 3, 1, hidden=True)) == 19
    pair = market()
    told = say(pair, ANNA, plain, (*plain, 0, 0), c.place_order("A", Side.BUY, 3, 1, hidden=True))
    lengths = [len(event[2][7]) for event in told if event[0] == e.ACCEPTED]
    assert lengths == [8, 8, 10]


def test_stops_by_quotes_fire_in_order_of_the_instruments_creation() -> None:
    pair = market()
    first, second = "A", "F"
    assert list(pair.engine.books).index(first) < list(pair.engine.books).index(second)
    stop = {"ord_type": OrderType.STOP_LIMIT, "stop_price": 2, "trigger_by": TriggerBy.BID}
    for price in (3, 2):
        for symbol in (second, first):
            say(pair, ANNA, c.place_order(symbol, Side.BUY, 1, price))
    for symbol in (second, first):
        say(pair, BEN, c.place_order(symbol, Side.SELL, 1, 4, **stop))
    told = say(pair, ANNA, c.mass_cancel(side=Side.BUY))
    assert [event[2][6] for event in told if event[0] == e.CANCELED] == [3, 3]
    assert [event[2][3] for event in told if event[0] == e.TRIGGERED] == [first, second]


def test_the_runs_of_a_venue_do_all_that_is_new_here() -> None:
    counts: Counter[Any] = Counter()
    for name in ("slicing", "stopping", "calling", "pegging", "listing"):
        for seed in range(8):
            exchange = Exchange(GENESIS)
            for entry in random_entries(seed, 150, PROFILES[name]):
                for reply in exchange.apply(entry):
                    counts.update(_new_in(event) for event in reply[4])
    due = {
        *(("fires", by) for by in TriggerBy),
        *(("hidden", kind) for kind in (e.RESTED, e.TRADE, e.AUCTION_TRADE, e.CANCELED, e.EXPIRED)),
        *(("hidden", kind) for kind in (e.REPLACED, e.RESTATED)),
    }
    assert due <= set(counts), due - set(counts)
    assert min(counts[each] for each in due) > 3, counts


def _new_in(event: Any) -> Any:
    kind = event[0]
    if kind == e.TRIGGERED:
        return ("fires", trigger_by(event[2]))
    if kind in (e.TRADE, e.AUCTION_TRADE):
        return ("hidden" if is_hidden(event[5]) else "seen", kind)
    if kind in (e.RESTED, e.CANCELED, e.EXPIRED, e.REPLACED, e.RESTATED):
        if is_hidden(event[2]):
            assert event[1] == 0, event
            return ("hidden", kind)
    return "old"

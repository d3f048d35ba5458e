"""Corners of a whole venue that the random runs came upon late or not at all, one test each."""

import pytest

from raftbook.core import commands as c
from raftbook.core import events as e
from raftbook.core.agenda import Agenda
from raftbook.core.commands import Command, Entry
from raftbook.core.events import Reply
from raftbook.core.exchange import Exchange
from raftbook.core.form import is_node_notice
from raftbook.core.ladder import Order
from raftbook.core.orders import MASS_CANCELS_MAX
from raftbook.core.room import LOOKS_PER_CANCEL, LOOKS_PER_MOVE
from raftbook.core.snapshot import export_state, restore_state
from raftbook.core.types import (
    OrderType,
    PegReference,
    Phase,
    PostOnly,
    Reject,
    SelfTradePrevention,
    Side,
    TimeInForce,
)
from tests.core.pair import Pair
from tests.core.venue_market import FIRST_ENTRIES, GENESIS, LATER, MS, OLD_GENESIS, START_NS

OPERATOR, ANNA, BEN = 1, 2, 4
FREE = LATER._replace(settlement=0, collar=None)
STOP = c.place_order("C", Side.BUY, 1, None, ord_type=OrderType.STOP, stop_price=1)


class Venue:
    """Engine, twin and ledger; every request takes the next request_seq of its session."""

    def __init__(self) -> None:
        self.pair = Pair(GENESIS)
        for entry in FIRST_ENTRIES:
            self.pair.apply(entry)
        self.seqs = dict.fromkeys((OPERATOR, ANNA, BEN), 1)

    def entry(self, *said: tuple[int, tuple[Command, ...]], at_ns: int = 0) -> list[Reply]:
        requests = []
        for session_id, commands in said:
            self.seqs[session_id] += 1
            requests.append((session_id, self.seqs[session_id], commands))
        index = self.pair.engine.applied_index + 1
        told = self.pair.apply(Entry(index, START_NS + at_ns, tuple(requests)))
        self.pair.check()
        return told

    def more_stops_than_may_fire(self) -> None:
        """In one entry: five stops of C are reached, two fire, and the rest is cancelled."""
        begin = (c.list_instrument(FREE), c.set_phase("C", Phase.AUCTION))
        told = self.entry(
            (OPERATOR, begin),
            (ANNA, (STOP,) * 3),
            (BEN, (STOP,) * 2),
            (ANNA, (c.new_order("C", Side.BUY, 1, 2),)),
            (BEN, (c.new_order("C", Side.SELL, 1, 2),)),
            (OPERATOR, (c.set_phase("C", Phase.CONTINUOUS),)),
            (OPERATOR, (c.mass_cancel(account="*", symbol="C"),) * 2),
            (OPERATOR, (c.set_phase("C", Phase.CLOSED), c.delete_instrument("C"))),
        )
        fired = [event for reply in told for event in reply[4] if event[0] == e.TRIGGERED]
        assert len(fired) == GENESIS.limits.triggers_max
        assert told[-1][4][-1][0] == e.INSTRUMENT_DELETED


def test_an_instrument_with_stops_left_to_fire_may_be_deleted() -> None:
    venue = Venue()
    venue.more_stops_than_may_fire()
    told = venue.entry()
    assert {event[0] for reply in told for event in reply[4]} <= {e.MASS_CANCELED}
    assert not venue.pair.engine.agenda.stopped


@pytest.mark.parametrize("has_stops", [False, True])
def test_and_a_new_one_of_that_name_has_its_own_stops(has_stops: bool) -> None:
    venue = Venue()
    venue.more_stops_than_may_fire()
    venue.entry((OPERATOR, (c.list_instrument(FREE),)), (ANNA, (STOP,) * has_stops))
    trade = (c.new_order("C", Side.SELL, 1, 2),), (c.new_order("C", Side.BUY, 1, 2),)
    told = venue.entry((BEN, trade[0]), (ANNA, trade[1]))
    fired = [event for reply in told for event in reply[4] if event[0] == e.TRIGGERED]
    assert len(fired) == has_stops


def test_an_instrument_whose_stops_are_gone_is_not_empty_while_a_peg_is_open() -> None:
    venue = Venue()
    peg = c.place_peg("C", Side.BUY, 1, PegReference.PRIMARY)
    venue.entry((OPERATOR, (c.list_instrument(FREE),)), (ANNA, (STOP, peg)))
    gone = (c.mass_cancel(account="*", symbol="C", side=Side.BUY),)
    venue.entry((OPERATOR, gone), (ANNA, (peg,)))
    assert len(venue.pair.engine.books["C"].stops or ()) == 0
    told = venue.entry((OPERATOR, (c.set_phase("C", Phase.CLOSED), c.delete_instrument("C"))))
    assert told[-1][4][-1][:3] == (e.REJECTED, 0, int(Reject.INSTRUMENT_NOT_EMPTY))


def test_a_snapshot_of_stops_left_to_fire_that_are_gone_goes_on() -> None:
    venue = Venue()
    begin = (c.list_instrument(FREE), c.set_phase("C", Phase.AUCTION))
    venue.entry(
        (OPERATOR, begin),
        (ANNA, (STOP,) * 3),
        (ANNA, (c.new_order("C", Side.BUY, 1, 2),)),
        (BEN, (c.new_order("C", Side.SELL, 1, 2),)),
        (OPERATOR, (c.set_phase("C", Phase.CONTINUOUS), c.mass_cancel(account="*", symbol="C"))),
    )
    engine = venue.pair.engine
    restored = restore_state(GENESIS, export_state(engine))
    entry = Entry(engine.applied_index + 1, START_NS, ((OPERATOR, 90, (c.roll_day(),)),))
    assert restored.apply(entry) == engine.apply(entry)
    assert export_state(restored) == export_state(engine)


@pytest.mark.parametrize(("side", "edge"), [(Side.SELL, 2), (Side.BUY, -2)])
def test_behind_a_best_price_at_the_edge_of_the_band_nothing_is_posted(
    side: Side, edge: int
) -> None:
    venue = Venue()
    maker = Side.BUY if side == Side.SELL else Side.SELL
    venue.entry((ANNA, (c.new_order("B", maker, 2, edge),)))
    order = c.place_order("B", side, 2, edge // 2, post_only=PostOnly.REPRICE)
    (told,) = venue.entry((BEN, (order,)))
    assert told[4] == [(e.REJECTED, 0, Reject.POST_ONLY_WOULD_CROSS, order)]


def test_a_new_exchange_stands_before_the_first_entry() -> None:
    exchange = Exchange(GENESIS)
    assert (exchange.applied_index, exchange.now_ns, exchange.is_unfinished) == (0, 0, False)
    assert Exchange(OLD_GENESIS).moment.stamp_ns == 0  # nothing is stamped by its rules


def test_a_market_order_that_gathers_gets_no_price() -> None:
    venue = Venue()
    gathers = c.place_order(
        *("A", Side.BUY, 2, None),
        ord_type=OrderType.MARKET,
        time_in_force=TimeInForce.AT_AUCTION,
        client_order_id="g",
    )
    venue.entry((OPERATOR, (c.set_phase("A", Phase.AUCTION),)), (ANNA, (gathers,)))
    for change in (
        c.amend_order(client_order_id="g", price=1),
        c.amend_order(client_order_id="g", order_qty=1, price=1),
        c.replace_order(client_order_id="g", price=1),
    ):
        (told,) = venue.entry((ANNA, (change,)))
        assert told[4] == [(e.CANCEL_REJECTED, 0, Reject.AMEND_NOT_ALLOWED, change)]
    (told,) = venue.entry((ANNA, (c.amend_order(client_order_id="g", order_qty=1),)))
    assert told[4][0][0] == e.REPLACED


@pytest.mark.parametrize("mode", SelfTradePrevention)
def test_a_market_order_needs_money_for_every_order_that_it_may_meet(
    mode: SelfTradePrevention,
) -> None:
    """Five lots at 6 cost 180 and fees, and 150 are there: one order at that price is not all."""
    venue = Venue()
    venue.entry((BEN, (c.new_order("F", Side.SELL, 1, 6),) * 5))
    order = c.new_order(
        *("F", Side.BUY, 5, None),
        ord_type=OrderType.MARKET,
        time_in_force=TimeInForce.IOC,
        self_trade_prevention=mode,
    )
    (told,) = venue.entry((ANNA, (order,)))
    assert told[4] == [(e.REJECTED, 0, Reject.INSUFFICIENT_FUNDS, order)]


def test_a_lease_lasts_a_day_at_most() -> None:
    venue = Venue()
    day = c.attach_session(cancel_on_disconnect=True, lease_ms=86_400_000)
    longer = c.attach_session(cancel_on_disconnect=True, lease_ms=86_400_001)
    (told,) = venue.entry((ANNA, (day, longer)))
    assert [event[0] for event in told[4]] == [e.SESSION_ATTACHED, e.REJECTED]
    assert told[4][1][2] == Reject.MALFORMED


@pytest.mark.parametrize(
    ("kind", "told_as"),
    [
        (c.PLACE_ORDER, e.REJECTED),
        (c.PLACE_OCO, e.REJECTED),
        (c.PLACE_OUO, e.REJECTED),
        (c.PLACE_OTO, e.REJECTED),
        (c.PLACE_OTOCO, e.REJECTED),
        (c.PLACE_PEG, e.REJECTED),
        (c.MASS_CANCEL, e.REJECTED),
        (c.CANCEL_REPLACE, e.CANCEL_REJECTED),
        (c.REPLACE_ORDER, e.CANCEL_REJECTED),
    ],
)
def test_what_is_malformed_is_told_to_nobody_else(kind: int, told_as: int) -> None:
    (told,) = Venue().entry((ANNA, ((kind, "x"),)))
    assert told[4] == [(told_as, 0, Reject.MALFORMED, (kind, "x"))]


def test_no_rules_are_older_than_the_first() -> None:
    exchange = Exchange(GENESIS)
    switch = c.set_engine_version(0, "x")
    (reply,) = exchange.apply(Entry(1, START_NS, ((c.NO_SESSION, 0, (switch,)),)))
    assert reply[4] == [(e.REJECTED, 0, Reject.MALFORMED, switch)]


def test_hidden_orders_are_counted_and_others_are_not() -> None:
    venue, most = Venue(), GENESIS.limits.hidden_max
    hidden = c.place_order("A", Side.BUY, 1, 1, hidden=True)
    (told,) = venue.entry((ANNA, (hidden,) * most + (hidden, c.new_order("A", Side.BUY, 1, 1))))
    kinds = [event[0] for event in told[4] if event[0] != e.RESTED]
    assert kinds == [e.ACCEPTED] * most + [e.REJECTED, e.ACCEPTED]
    assert (e.REJECTED, 0, Reject.TOO_MANY, hidden) in told[4]


@pytest.mark.parametrize(("more", "is_refused"), [(0, False), (1, True)])
def test_each_slice_of_an_iceberg_is_a_fill(more: int, is_refused: bool) -> None:
    venue, most = Venue(), GENESIS.limits.fills_max
    iceberg = c.place_order("A", Side.SELL, most, 1, display_qty=1)
    venue.entry((BEN, (iceberg, *[c.new_order("A", Side.SELL, 1, 1)] * more)))
    order = c.new_order("A", Side.BUY, most + more, 1, time_in_force=TimeInForce.FOK)
    (told,) = venue.entry((ANNA, (order,)))
    fills = sum(event[0] == e.TRADE for event in told[4])
    assert fills == (0 if is_refused else most)
    assert told[4][-1][-1] == Reject.FILL_LIMIT if is_refused else told[4][-1][0] == e.TRADE


def test_an_amount_is_spent_at_the_best_price_while_there_are_orders() -> None:
    """Two makers there, one after the other, and a worse price behind them."""
    venue = Venue()
    asks = [c.new_order("F", Side.SELL, 1, price) for price in (1, 1, 2)]
    venue.entry((BEN, tuple(asks)))
    order = c.place_order(
        *("F", Side.BUY, 0, None),
        ord_type=OrderType.MARKET,
        time_in_force=TimeInForce.IOC,
        self_trade_prevention=SelfTradePrevention.CANCEL_NEWEST,
        quote_qty=2,
    )
    (told,) = venue.entry((ANNA, (order,)))
    assert [event[3] for event in told[4] if event[0] == e.TRADE] == [1, 1]


def test_a_volatility_call_lasts_to_the_nanosecond() -> None:
    venue = Venue()
    venue.entry((BEN, (c.new_order("Q", Side.SELL, 1, 6),)), at_ns=1)
    venue.entry((ANNA, (c.new_order("Q", Side.BUY, 1, 6),)), at_ns=2)
    book = venue.pair.engine.books["Q"]
    assert book.phase == Phase.AUCTION and book.call_until_ns == START_NS + 2 + 3 * MS
    venue.entry(at_ns=1 + 3 * MS)
    assert book.phase == Phase.AUCTION
    venue.entry(at_ns=2 + 3 * MS)
    assert book.phase == Phase.CONTINUOUS


def test_a_market_order_gives_back_what_it_holds_too_much_in_mid_auction() -> None:
    venue, page = Venue(), GENESIS.limits.auction_page
    gathers = c.place_order(
        *("F", Side.BUY, page + 1, None),
        ord_type=OrderType.MARKET,
        time_in_force=TimeInForce.AT_AUCTION,
    )
    sells = (c.new_order("F", Side.SELL, 1, 1),) * (page + 1)
    venue.entry((OPERATOR, (c.set_phase("F", Phase.AUCTION),)), (ANNA, (gathers,)), (BEN, sells))
    balance = venue.pair.engine.accounts["a"].balances["eur"]
    before = balance.held
    venue.entry((OPERATOR, (c.set_phase("F", Phase.CONTINUOUS),)))
    assert venue.pair.engine.is_unfinished
    assert 0 < balance.held <= before // (page + 1) + 1


def test_a_peg_stands_at_its_reference_unless_it_says_otherwise() -> None:
    peg = c.place_peg("A", Side.BUY, 1, PegReference.PRIMARY)
    assert peg == c.place_peg("A", Side.BUY, 1, PegReference.PRIMARY, offset=0)


@pytest.mark.parametrize("session_id", ["1", None, 1.0, True])
def test_a_notice_names_a_session_by_its_number(session_id: object) -> None:
    assert is_node_notice(c.session_lost(1, 1))
    assert not is_node_notice((c.SESSION_LOST, session_id, 1))
    assert not is_node_notice((c.SESSION_LOST, 1, session_id))


@pytest.mark.parametrize("empty", ["symbol", "base", "quote"])
def test_no_instrument_is_listed_without_a_name_and_what_it_trades(empty: str) -> None:
    command = c.list_instrument(FREE._replace(**{empty: ""}))
    (told,) = Venue().entry((OPERATOR, (command,)))
    assert told[4][0][:2] == (e.REJECTED, 0)


@pytest.mark.parametrize(("price", "fills"), [(4, 1), (5, 0)])
def test_fill_or_kill_looks_no_further_than_the_volatility_band(price: int, fills: int) -> None:
    venue = Venue()
    venue.entry((BEN, (c.new_order("Q", Side.SELL, 1, price),)))
    order = c.new_order("Q", Side.BUY, 1, price, time_in_force=TimeInForce.FOK)
    (told,) = venue.entry((ANNA, (order,)))
    assert sum(event[0] == e.TRADE for event in told[4]) == fills


def test_a_market_order_within_a_volatility_band_needs_money() -> None:
    """Four lots at 4 cost 160, and 150 are there; no collar says what one may cost."""
    terms = LATER._replace(
        tick_size="0.1", collar=None, reference_price=3, volatility_band=1, volatility_call_ms=1
    )
    venue = Venue()
    begin = (c.list_instrument(terms), c.set_phase("C", Phase.CONTINUOUS))
    venue.entry((OPERATOR, begin), (BEN, (c.new_order("C", Side.SELL, 4, 4),)))
    order = c.new_order(
        *("C", Side.BUY, 4, None), ord_type=OrderType.MARKET, time_in_force=TimeInForce.IOC
    )
    (told,) = venue.entry((ANNA, (order,)))
    assert told[4] == [(e.REJECTED, 0, Reject.INSUFFICIENT_FUNDS, order)]


def test_a_mass_cancel_by_price_asks_for_the_price_when_an_order_has_its_turn() -> None:
    venue, page = Venue(), GENESIS.limits.cancel_page
    orders = [c.new_order("A", Side.BUY, 1, 1)] * (page + 1) + [c.new_order("A", Side.BUY, 1, 2)]
    venue.entry((ANNA, tuple(orders)))
    cancel = c.mass_cancel(symbol="A", side=Side.BUY, price_high=1)
    moves = c.replace_order(order_id=page + 2, price=0)
    (told, _) = venue.entry((ANNA, (cancel,)), (ANNA, (moves,)))
    assert told[4][0] == (e.MASS_CANCELED, 0, "a", page, 1)
    (told,) = venue.entry()
    assert [event[2][0] for event in told[4][1:]] == [page + 1, page + 2]


def test_stops_fire_while_half_of_the_room_is_left_and_the_others_in_the_next_entry() -> None:
    venue, most = Venue(), GENESIS.limits.fills_max
    stop = c.place_order("A", Side.BUY, most // 2, None, ord_type=OrderType.STOP, stop_price=1)
    asks = [c.new_order("A", Side.SELL, 1, price) for price in [1] + [2] * 2 * most]
    venue.entry((ANNA, (stop, stop)), (BEN, tuple(asks)))
    (told,) = venue.entry((ANNA, (c.new_order("A", Side.BUY, 1, 1),)))
    assert _count(told, e.TRIGGERED, e.TRADE) == (1, 1 + most // 2)
    (told,) = venue.entry()
    assert _count(told, e.TRIGGERED, e.TRADE) == (1, most // 2)


def test_so_do_orders_that_are_released() -> None:
    venue, most = Venue(), GENESIS.limits.fills_max
    one = c.place_oto(c.place_order("A", Side.BUY, 1, 0), c.place_order("A", Side.BUY, most, 2))
    venue.entry((ANNA, (one, one)), (BEN, (c.new_order("A", Side.SELL, 1, 2),) * 2 * most))
    (told,) = venue.entry((BEN, (c.new_order("A", Side.SELL, 2, 0),)))
    assert _count(told, e.TRIGGERED, e.TRADE) == (0, 2)
    for _ in range(2):
        (told,) = venue.entry()
        assert _count(told, e.TRIGGERED, e.TRADE) == (1, most)


def test_a_sweep_meets_so_many_own_orders_and_no_more() -> None:
    venue, most = Venue(), GENESIS.limits.fills_max
    venue.entry((ANNA, (c.new_order("A", Side.SELL, 1, 1),) * (most + 1)))
    order = c.new_order(
        *("A", Side.BUY, 1, 1), self_trade_prevention=SelfTradePrevention.CANCEL_OLDEST
    )
    (told,) = venue.entry((ANNA, (order,)))
    assert _count(told, e.CANCELED, e.EXPIRED) == (most, 1)
    assert told[4][-1][-1] == Reject.FILL_LIMIT


def _count(reply: Reply, *kinds: int) -> tuple[int, ...]:
    return tuple(sum(event[0] == kind for event in reply[4]) for kind in kinds)


def test_leases_of_sessions_that_are_gone_are_not_kept() -> None:
    venue = Venue()
    exchange = venue.pair.engine
    day = c.attach_session(cancel_on_disconnect=True, lease_ms=86_400_000)
    for name in map(str, range(50)):
        (told,) = venue.pair.apply(
            Entry(
                exchange.applied_index + 1,
                START_NS,
                ((c.NO_SESSION, 0, (c.open_session("d", name),)),),
            )
        )
        session_id = told[4][0][2]
        request = (session_id, 1, (day, c.close_session()))
        venue.pair.apply(Entry(exchange.applied_index + 1, START_NS, (request,)))
    assert len(exchange.agenda.leases) <= 2 * GENESIS.limits.sessions_max + 1


@pytest.mark.parametrize(("short", "is_refused"), [(0, False), (1, True)])
def test_an_amount_of_money_holds_what_the_collar_allows(short: int, is_refused: bool) -> None:
    venue = Venue()
    terms = LATER._replace(price_min=1, reference_price=2)  # it may pay 3, and would pay 2
    venue.entry((OPERATOR, (c.list_instrument(terms),)))
    engine = venue.pair.engine
    ledger, balance = engine.books["C"].ledger, engine.accounts["a"].balances["eur"]
    assert ledger is not None
    spare = balance.available - ledger.need(int(Side.BUY), 3, 1) + short
    venue.entry((OPERATOR, (c.withdraw("a", "eur", spare, "w"),)))
    venue.entry((BEN, (c.new_order("C", Side.SELL, 1, 2),)))
    amount = c.place_order(
        "C",
        Side.BUY,
        0,
        None,
        ord_type=OrderType.MARKET,
        time_in_force=TimeInForce.IOC,
        quote_qty=2,
    )
    (told,) = venue.entry((ANNA, (amount,)))
    assert (told[4][0][:3] == (e.REJECTED, 0, int(Reject.INSUFFICIENT_FUNDS))) == is_refused


def test_a_time_that_comes_back_to_an_order_is_kept_once() -> None:
    agenda, engine = Agenda(), Venue().pair.engine
    conditions = (None, 0, 0, 0, 0, START_NS, 0, 0)
    terms = (1, "a", "", "A", (1, 2, 5, 0, 0), 1, 1, conditions)
    order = Order(engine.accounts["a"], engine.books["A"], terms, 1, 0, 0)
    for _ in range(1_000):
        agenda.expire_at(order, START_NS)
    assert len(agenda.expiries) < 100
    assert agenda.expired(START_NS) is order


def test_mass_cancels_of_one_entry_look_at_so_many_orders_and_go_on_with_the_next() -> None:
    """However many are asked for at once, and whether or not they find anything to cancel."""
    venue, looks = Venue(), LOOKS_PER_CANCEL * GENESIS.limits.cancel_page
    venue.entry((ANNA, (c.new_order("A", Side.BUY, 1, 1),) * 8))
    done = -(-looks // 9)
    (told,) = venue.entry((ANNA, (c.mass_cancel(symbol="B"),) * (done + 2)))
    assert [event[3:] for event in told[4]] == [(0, 0)] * done + [(0, 1)] * 2
    (told,) = venue.entry()
    assert told[4] == [(e.MASS_CANCELED, 0, "a", 0, 0)] * 2
    assert venue.entry() == []


def test_looks_that_come_out_even_leave_none_for_another_mass_cancel() -> None:
    venue, each = Venue(), 8
    many = LOOKS_PER_CANCEL * GENESIS.limits.cancel_page // each
    venue.entry((ANNA, (c.new_order("A", Side.BUY, 1, 1),) * (each - 1)))
    (told,) = venue.entry((ANNA, (c.mass_cancel(symbol="B"),) * (2 * many + 1)))
    assert [event[3:] for event in told[4]] == [(0, 0)] * many + [(0, 1)] * (many + 1)
    (told,) = venue.entry()
    assert told[4] == [(e.MASS_CANCELED, 0, "a", 0, 0)] * many
    (told,) = venue.entry()
    assert told[4] == [(e.MASS_CANCELED, 0, "a", 0, 0)]


def test_one_look_that_is_left_is_enough_to_begin_with() -> None:
    venue, looks = Venue(), LOOKS_PER_CANCEL * GENESIS.limits.cancel_page
    venue.entry((ANNA, (c.new_order("A", Side.BUY, 1, 1),) * 8))
    venue.entry((BEN, (c.new_order("A", Side.BUY, 1, 1),) * (looks - 1 - 3 * 9 - 1)))
    cancel = c.mass_cancel(symbol="B")
    told = venue.entry((ANNA, (cancel,) * 3), (BEN, (cancel,)), (ANNA, (cancel,) * 2))
    said = [event[3:] for reply in told for event in reply[4]]
    assert said == [(0, 0)] * 5 + [(0, 1)]


def test_accounts_without_orders_are_looked_at_too() -> None:
    limits = GENESIS.limits._replace(cancel_page=1, accounts_max=100)
    names = tuple((f"z{number}", False) for number in range(2 * LOOKS_PER_CANCEL))
    exchange = Exchange(GENESIS._replace(limits=limits, accounts=GENESIS.accounts + names))
    for entry in FIRST_ENTRIES:
        exchange.apply(entry)
    cancel = c.mass_cancel(account="*")
    (told,) = exchange.apply(Entry(4, START_NS, ((OPERATOR, 5, (cancel,)),)))
    entries = 1
    while exchange.is_unfinished:
        assert told[4] == [(e.MASS_CANCELED, 0, "*", 0, 1)]
        entries += 1
        (told,) = exchange.apply(Entry(3 + entries, START_NS, ()))
    assert entries == -(-len(exchange.accounts) // LOOKS_PER_CANCEL)


def test_each_entry_gets_on_by_an_account_however_many_orders_that_remembers() -> None:
    """Small pages and long memories: the mass cancels of chaos runs were never done with."""
    limits = GENESIS.limits._replace(cancel_page=1, closed_orders_max=1_000)
    genesis = GENESIS._replace(limits=limits)
    exchange = Exchange(genesis)
    for entry in FIRST_ENTRIES:
        exchange.apply(entry)
    order = c.new_order("A", Side.BUY, 1, 0, time_in_force=TimeInForce.IOC)
    cancels = (c.mass_cancel(symbol="B"),) * 5
    exchange.apply(Entry(4, START_NS, ((ANNA, 5, (order,) * 500), (ANNA, 6, cancels))))
    for index in range(5, 9):
        assert exchange.is_unfinished
        exchange.apply(Entry(index, START_NS, ()))
    assert not exchange.is_unfinished


def test_an_account_with_so_many_mass_cancels_under_way_is_refused_another_one() -> None:
    venue = Venue()
    venue.entry((ANNA, (c.new_order("A", Side.BUY, 1, 1),) * 8))
    cancel = c.mass_cancel(symbol="B")
    done = -(-LOOKS_PER_CANCEL * GENESIS.limits.cancel_page // 9)
    (told,) = venue.entry((ANNA, (cancel,) * (done + MASS_CANCELS_MAX + 1)))
    assert told[4][-1] == (e.REJECTED, 0, Reject.RATE_LIMIT, cancel)
    (_, told) = venue.entry((OPERATOR, (c.mass_cancel(account="a"),)))
    assert told[4][0] == (e.MASS_CANCELED, 0, "a", 0, 1), "an operator is not refused"
    while venue.entry():
        pass
    (told,) = venue.entry((ANNA, (cancel,)))
    assert told[4] == [(e.MASS_CANCELED, 0, "a", 0, 0)]


def test_what_a_market_order_pays_is_asked_of_the_orders_that_a_sweep_may_meet() -> None:
    """Funds, and the lots of an amount: of what stands behind those it would get nothing."""
    venue, most = Venue(), GENESIS.limits.fills_max
    market = {"ord_type": OrderType.MARKET, "time_in_force": TimeInForce.IOC}
    sells = (c.new_order("F", Side.SELL, 1, 4),) * (most + 1)
    venue.entry((BEN, sells))
    (told,) = venue.entry((ANNA, (c.new_order("F", Side.BUY, most + 1, None, **market),)))
    assert _count(told, e.TRADE, e.EXPIRED) == (most, 1), "it has money for no more"
    venue.entry(
        (BEN, (c.cancel_order(order_id=most + 1), *[c.new_order("F", Side.SELL, 1, 1)] * 5))
    )
    amount = c.place_order("F", Side.BUY, 0, None, quote_qty=most + 1, **market)
    venue.entry((OPERATOR, (c.deposit("a", "eur", 50, "1"),)))
    (told,) = venue.entry((ANNA, (amount,)))
    assert told[4][0][2][5] == most, "lots"
    assert _count(told, e.TRADE, e.EXPIRED) == (most, 0)


@pytest.mark.parametrize("flips_more", [0, 1])
def test_an_entry_looks_at_so_many_pegged_orders_and_the_next_one_goes_on(flips_more: int) -> None:
    """At their limit they want no other price, but each has to be asked."""
    venue, looks = Venue(), LOOKS_PER_MOVE * GENESIS.limits.pegs_page
    peg = c.place_peg("A", Side.BUY, 1, PegReference.PRIMARY, limit_price=-2)
    venue.entry((ANNA, (c.new_order("A", Side.BUY, 1, -1), *[peg] * 3)))
    up, flips = c.new_order("A", Side.BUY, 1, 0), list[Command]()
    for number in range(looks // (3 * 2)):
        flips += (up, c.cancel_order(order_id=5 + number))
    venue.entry((BEN, (*flips, *[up] * flips_more)))
    exchange = venue.pair.engine
    assert list(exchange.agenda.following) == ["A"] * flips_more
    restored = restore_state(GENESIS, export_state(exchange))
    for each in (exchange, restored):
        assert each.apply(Entry(exchange.applied_index + 1, START_NS, ())) == []
    assert not exchange.agenda.following and not restored.agenda.following
    assert exchange.books["A"].pegs is not None and exchange.books["A"].pegs.is_current


def test_pegged_orders_that_wait_move_in_the_order_in_which_they_began_to() -> None:
    """And not in that of their instruments, or those of the first would keep others for ever."""
    venue, looks = Venue(), LOOKS_PER_MOVE * GENESIS.limits.pegs_page
    peg = c.place_peg("A", Side.BUY, 1, PegReference.PRIMARY, limit_price=-2)
    venue.entry((ANNA, (c.new_order("A", Side.BUY, 1, -1), *[peg] * 3)))
    follower = c.place_peg("B", Side.BUY, 2, PegReference.PRIMARY, limit_price=2)
    venue.entry((ANNA, (c.new_order("B", Side.BUY, 2, 1), follower)))
    flips = list[Command]()
    for number in range(looks // (3 * 2)):
        flips += (c.new_order("A", Side.BUY, 1, 0), c.cancel_order(order_id=7 + number))
    better = c.new_order("B", Side.BUY, 2, 2)
    venue.entry((BEN, (*flips, better)), (ANNA, (c.cancel_order(order_id=1),)))
    assert list(venue.pair.engine.agenda.following) == ["B", "A"]
    (told,) = venue.entry()
    moved = [event[2][3] for event in told[4] if event[0] == e.REPRICED]
    assert moved == ["B", "A", "A", "A"]


def test_sessions_that_lapse_do_not_keep_an_older_mass_cancel_from_its_turn() -> None:
    """An entry whose lapse looks at more orders than an entry may still gets on with the eldest."""
    limits = GENESIS.limits._replace(cancel_page=1, open_orders_max=100, book_orders_max=200)
    exchange = Exchange(GENESIS._replace(limits=limits))
    for entry in FIRST_ENTRIES:
        exchange.apply(entry)
    order = c.new_order("A", Side.BUY, 1, 0)
    requests = ((ANNA, 5, (order,) * 40), (BEN, 5, (order,) * 4), (BEN, 6, (c.mass_cancel(),)))
    exchange.apply(Entry(4, START_NS, requests))
    attach = (c.attach_session(cancel_on_disconnect=True, lease_ms=1),)
    for number in range(4):
        time_ns = START_NS + 2 * MS * number
        exchange.apply(Entry(5 + number, time_ns, ((3, 5 + number, attach),)))
    assert exchange.accounts["b"].open_count == 0

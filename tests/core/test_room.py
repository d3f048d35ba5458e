"""How much one entry has room for: sweeps, stops, auctions and days; who waits for the next."""

from typing import Any

import pytest

from raftbook.core import commands as c
from raftbook.core import events as e
from raftbook.core.build import KIND
from raftbook.core.commands import Command
from raftbook.core.room import LOOKS_PER_FILL, TRIGGERS_PER_ENTRY, Room
from raftbook.core.types import (
    OrderType,
    PegReference,
    Phase,
    Reject,
    SelfTradePrevention,
    Side,
    TimeInForce,
)
from tests.core.pair import Pair
from tests.core.small_market import ANNA, BEN, OPERATOR, market, say
from tests.core.venue_market import GENESIS, LATER

FILLS = GENESIS.limits.fills_max
ICEBERG = c.place_order("A", Side.SELL, 6, 1, display_qty=1)
TAKE = c.new_order("A", Side.BUY, FILLS, 1, time_in_force=TimeInForce.IOC)
ONE = c.new_order("A", Side.BUY, 1, 1, time_in_force=TimeInForce.IOC)


def _counted(told: list[Any]) -> tuple[int, list[int]]:
    """How many trades, and why orders expired."""
    trades = sum(event[0] == e.TRADE for event in told)
    return trades, [event[6] for event in told if event[0] == e.EXPIRED]


def test_sweeps_meet_so_much_and_then_no_more_in_that_entry() -> None:
    pair = market()
    say(pair, BEN, *[ICEBERG] * 3)
    told = say(pair, ANNA, TAKE, ONE, TAKE)
    assert _counted(told) == (FILLS, [Reject.FILL_LIMIT] * 2)
    assert _counted(say(pair, ANNA, ONE)) == (1, [])


def test_they_met_twice_as_much_in_engine_version_2() -> None:
    pair = market(engine_version=2)
    say(pair, BEN, *[ICEBERG] * 3)
    told = say(pair, ANNA, TAKE, ONE, TAKE, ONE)
    assert _counted(told) == (2 * FILLS, [Reject.FILL_LIMIT] * 2)


def test_so_do_orders_that_are_kept_apart() -> None:
    pair = market()
    say(pair, ANNA, *[c.new_order("A", Side.SELL, 1, 1)] * (FILLS + 1))
    mode = SelfTradePrevention.CANCEL_OLDEST
    take = c.new_order("A", Side.BUY, 1, 1, self_trade_prevention=mode)
    told = say(pair, ANNA, take, take)
    assert sum(event[0] == e.CANCELED for event in told) == FILLS
    assert _counted(told) == (0, [Reject.FILL_LIMIT] * 2)


def test_fill_or_kill_sees_what_the_sweep_may_meet() -> None:
    pair = market()
    say(pair, BEN, *[ICEBERG] * 3)
    take = c.new_order("A", Side.BUY, FILLS - 1, 1, time_in_force=TimeInForce.IOC)
    fok = c.new_order("A", Side.BUY, 2, 1, time_in_force=TimeInForce.FOK)
    told = say(pair, ANNA, take, fok)
    assert _counted(told) == (FILLS - 1, [Reject.FILL_LIMIT])
    assert _counted(say(pair, ANNA, ONE))[0] == 1


def test_a_limit_order_of_a_pair_that_may_meet_nobody_ends_and_leaves_the_stop_alone() -> None:
    pair = market()
    say(pair, BEN, *[ICEBERG] * 3)
    told = say(pair, ANNA, TAKE, c.place_oco("A", Side.BUY, 1, price=1, stop_price=4))
    assert [event[0] for event in told[-3:]] == [e.ACCEPTED, e.ACCEPTED, e.EXPIRED]
    assert told[-1][6] == Reject.FILL_LIMIT
    stops = pair.engine.books["A"].stops
    assert stops is not None and len(stops) == 1


def test_what_each_sweep_may_meet_for_nothing_is_not_counted() -> None:
    limits = GENESIS.limits._replace(fills_max=2_500)
    pair = market(GENESIS._replace(limits=limits))
    assert pair.engine.agenda.room.fills_free == 2
    say(pair, BEN, *[ICEBERG] * 6)
    two = c.new_order("A", Side.BUY, 2, 1)
    say(pair, ANNA, *[two] * 10)
    assert pair.engine.agenda.room.fills == limits.fills_max
    say(pair, ANNA, c.new_order("A", Side.BUY, 5, 1), two)
    assert pair.engine.agenda.room.fills == limits.fills_max - 3


PLAIN = c.new_order("A", Side.SELL, 1, 1)
OCO = c.place_oco("A", Side.SELL, 1, price=1, stop_price=0)
OTO = c.place_oto(PLAIN, c.new_order("A", Side.BUY, 1, 0))
assert FILLS == 4, "what follows counts to four"


@pytest.mark.parametrize("linked", [OCO, c.place_ouo(OCO), OTO])
def test_an_order_that_was_entered_with_others_counts_two(linked: Command) -> None:
    pair = market()
    say(pair, BEN, *[linked] * 2, PLAIN)
    assert _counted(say(pair, ANNA, TAKE)) == (2, [Reject.FILL_LIMIT])


@pytest.mark.parametrize("linked", [OCO, c.place_ouo(OCO), OTO])
def test_it_counted_one_in_engine_version_2(linked: Command) -> None:
    pair = market(engine_version=2)
    say(pair, BEN, *[linked] * (FILLS + 2))
    assert _counted(say(pair, ANNA, c.new_order("A", Side.BUY, FILLS + 1, 1)))[0] == FILLS
    fok = c.new_order("A", Side.BUY, 2, 1, time_in_force=TimeInForce.FOK)
    mode = {"self_trade_prevention": SelfTradePrevention.CANCEL_OLDEST}
    apart = c.new_order("A", Side.BUY, 2, 1, time_in_force=TimeInForce.FOK, **mode)
    for order in (fok, apart):
        say(pair, BEN, *[linked] * 2)
        assert _counted(say(pair, ANNA, order)) == (2, [])


def test_it_does_so_when_it_is_alone() -> None:
    pair = market()
    low = c.place_oco("A", Side.SELL, 1, price=3, stop_price=1, stop_limit_price=2)
    say(pair, BEN, *[low] * 2, PLAIN)
    assert _fired(say(pair, ANNA, ONE)) == ["A", "A"]
    say(pair, BEN, c.new_order("A", Side.SELL, 1, 2))
    take = c.new_order("A", Side.BUY, FILLS, 2, time_in_force=TimeInForce.IOC)
    assert _counted(say(pair, ANNA, take)) == (2, [Reject.FILL_LIMIT])


def test_one_that_was_pending_counts_two() -> None:
    pair = market()
    released = c.new_order("A", Side.SELL, 1, 2)
    say(pair, BEN, *[c.place_oto(PLAIN, released)] * 2)
    say(pair, ANNA, TAKE)
    say(pair, BEN, c.new_order("A", Side.SELL, 1, 2))
    take = c.new_order("A", Side.BUY, FILLS, 2, time_in_force=TimeInForce.IOC)
    assert _counted(say(pair, ANNA, take)) == (2, [Reject.FILL_LIMIT])


def test_the_last_order_that_is_met_may_count_one_too_many() -> None:
    pair = market()
    say(pair, BEN, *[PLAIN] * 3, OCO, PLAIN)
    told = say(pair, ANNA, c.new_order("A", Side.BUY, FILLS + 1, 1), ONE)
    assert _counted(told) == (4, [Reject.FILL_LIMIT] * 2)
    assert pair.engine.agenda.room.fills == 0
    assert _counted(say(pair, ANNA, ONE)) == (1, [])


@pytest.mark.skipif(KIND == "compiled", reason="a compiled core has its constants built in")
@pytest.mark.parametrize(
    ("engine_version", "free"), [(4, [10] * 3 + [1] * 2), (3, [10] * 5)], ids=["4", "3"]
)
def test_after_half_of_all_each_may_meet_one_for_nothing(
    monkeypatch: pytest.MonkeyPatch, engine_version: int, free: list[int]
) -> None:
    for module in ("raftbook.core.room", "tests.core.twin.matching"):
        monkeypatch.setattr(f"{module}.FREE_PART", 4)
    limits = GENESIS.limits._replace(fills_max=40, book_orders_max=60, open_orders_max=60)
    pair = market(GENESIS._replace(limits=limits), engine_version=engine_version)
    room = pair.engine.agenda.room
    said: list[int] = []
    for count in (1, 2, 3, 4, 5):  # of sweeps that meet six each
        say(pair, BEN, *[ICEBERG] * 10)
        say(pair, ANNA, *[c.new_order("A", Side.BUY, 6, 1)] * count)
        said.append(room.fills_free)
        assert room.fills == 40 - 5 * max(0, count - 4 if engine_version == 4 else 0)
        say(pair, ANNA, c.mass_cancel())
        say(pair, BEN, c.mass_cancel())
        while pair.engine.agenda.mass_cancels:
            say(pair, BEN)
    assert said == free


def test_the_half_is_spent_to_the_last_order() -> None:
    room = Room()
    room.bound(GENESIS.limits._replace(fills_max=2_500), 4)
    room.spend(1_249)
    room.end_firing(room.begin_firing())
    assert room.fills_free == 2
    room.spend(1)
    assert room.fills_free == 1


@pytest.mark.skipif(KIND == "compiled", reason="a compiled core has its constants built in")
def test_until_there_is_nothing_left_but_that(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("raftbook.core.room", "tests.core.twin.matching"):
        monkeypatch.setattr(f"{module}.FREE_PART", 4)
    limits = GENESIS.limits._replace(fills_max=40, book_orders_max=60, open_orders_max=60)
    pair = market(GENESIS._replace(limits=limits))
    say(pair, BEN, *[ICEBERG] * 20)
    six = c.new_order("A", Side.BUY, 6, 1, time_in_force=TimeInForce.IOC)
    trades, reasons = _counted(say(pair, ANNA, *[six] * 15))
    # Four for nothing, eight that pay for five of six, three that meet one each.
    assert (trades, reasons) == (12 * 6 + 3, [Reject.FILL_LIMIT] * 3)


@pytest.mark.skipif(KIND == "compiled", reason="a compiled core has its constants built in")
def test_what_counts_too_much_takes_nothing_of_what_each_may_meet_for_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in ("raftbook.core.room", "tests.core.twin.matching"):
        monkeypatch.setattr(f"{module}.FREE_PART", FILLS)
    pair = market()
    say(pair, BEN, *[PLAIN] * 5, OCO, *[PLAIN] * 2)
    two, five = (c.new_order("A", Side.BUY, qty, 1) for qty in (2, 5))
    told = say(pair, ANNA, two, five, ONE, ONE)
    assert _counted(told) == (2 + 4 + 1 + 1, [Reject.FILL_LIMIT])


def test_a_slice_of_a_pair_counts_two_as_well() -> None:
    pair = market()
    say(pair, BEN, c.place_oco("A", Side.SELL, 3, price=1, stop_price=0, display_qty=1))
    fok = c.new_order("A", Side.BUY, 1, 1, time_in_force=TimeInForce.FOK)
    assert _counted(say(pair, ANNA, fok)) == (0, [Reject.FILL_LIMIT])
    assert _counted(say(pair, ANNA, TAKE)) == (2, [Reject.FILL_LIMIT])


def test_pairs_that_are_kept_apart_count_two() -> None:
    pair = market()
    say(pair, ANNA, *[OCO] * 3)
    mode = SelfTradePrevention.CANCEL_OLDEST
    told = say(pair, ANNA, c.new_order("A", Side.BUY, 1, 1, self_trade_prevention=mode))
    assert [event[6] for event in told if event[0] == e.CANCELED].count(Reject.SELF_TRADE) == 2
    assert _counted(told) == (0, [Reject.FILL_LIMIT])


def test_fill_or_kill_counts_pairs_as_the_sweep_does() -> None:
    pair = market()
    fok = c.new_order("A", Side.BUY, 2, 1, time_in_force=TimeInForce.FOK)
    say(pair, BEN, *[OCO] * 3)
    assert _counted(say(pair, ANNA, fok)) == (0, [Reject.FILL_LIMIT])
    say(pair, ANNA, ONE)
    assert _counted(say(pair, ANNA, fok)) == (2, [])


def test_an_amount_of_money_buys_of_as_many_pairs_as_a_sweep_meets() -> None:
    pair = market()
    say(pair, BEN, *[c.place_oco("Q", Side.SELL, 1, price=3, stop_price=2)] * 3)
    amount = c.place_order(
        "Q",
        Side.BUY,
        0,
        None,
        ord_type=OrderType.MARKET,
        time_in_force=TimeInForce.IOC,
        quote_qty=9,
    )
    told = say(pair, ANNA, amount)
    assert told[0][2][5] == 2
    assert _counted(told) == (2, [])


def test_an_amount_that_may_meet_nobody_looks_at_nothing() -> None:
    pair = market()
    say(pair, BEN, *[PLAIN] * FILLS, c.new_order("Q", Side.SELL, 1, 3))
    market_order = {"ord_type": OrderType.MARKET, "time_in_force": TimeInForce.IOC}
    say(pair, ANNA, TAKE, c.place_order("Q", Side.BUY, 0, None, **market_order, quote_qty=9))
    assert pair.engine.agenda.room.dry_looks == LOOKS_PER_FILL * FILLS


@pytest.mark.parametrize(("looks", "fired"), [(1, ["A"]), (0, [])])
def test_stops_fire_while_one_dry_run_could_begin(looks: int, fired: list[str]) -> None:
    pair = market()
    say(pair, BEN, *[PLAIN] * 3)
    say(pair, ANNA, _stop("A", 1))
    alone = {"self_trade_prevention": SelfTradePrevention.NONE}  # looks at levels, not at orders
    fok = c.new_order("A", Side.BUY, 6, 1, time_in_force=TimeInForce.FOK, **alone)
    told = say(pair, ANNA, *[fok] * (LOOKS_PER_FILL * FILLS - looks), ONE)
    assert pair.engine.agenda.room.dry_looks == looks
    assert _fired(told) == fired


def test_each_trade_of_a_taker_that_updates_its_stop_counts_two() -> None:
    pair = market()
    say(pair, BEN, *[PLAIN] * 3)
    told = say(pair, ANNA, c.place_ouo(c.place_oco("A", Side.BUY, 3, price=1, stop_price=4)))
    assert _counted(told) == (2, [Reject.FILL_LIMIT])
    assert sum(event[0] == e.RESTATED for event in told) == 2


def _stop(symbol: str, qty: int, stop_price: int = 1) -> Command:
    return c.place_order(
        symbol, Side.BUY, qty, None, ord_type=OrderType.STOP, stop_price=stop_price
    )


def test_stops_that_are_reached_wait_for_an_entry_with_room() -> None:
    pair = market()
    say(pair, BEN, *[PLAIN] * 3, c.place_order("A", Side.SELL, 6, 2, display_qty=1))
    say(pair, ANNA, _stop("A", 1, 2))
    take = c.new_order("A", Side.BUY, FILLS, 2, time_in_force=TimeInForce.IOC)
    told = say(pair, ANNA, take)
    assert _counted(told) == (FILLS, [])
    assert e.TRIGGERED not in [event[0] for event in told]
    assert [event[0] for event in _nothing(pair)][:2] == [e.TRIGGERED, e.TRADE]


def test_they_wait_where_less_than_half_of_it_is_left() -> None:
    pair = market()
    say(pair, BEN, *[PLAIN] * FILLS)
    say(pair, ANNA, *[_stop("A", 1)] * 2)
    assert _counted(say(pair, ANNA, ONE)) == (1 + 2, [])
    say(pair, BEN, *[c.new_order("A", Side.SELL, 1, 2)] * 4)
    say(pair, ANNA, *[_stop("A", 1, 2)] * 2)
    take = c.new_order("A", Side.BUY, 3, 2)
    assert _counted(say(pair, ANNA, take)) == (3, [])
    assert _fired(_nothing(pair)) == ["A", "A"]


def test_what_fires_meets_nobody_for_nothing() -> None:
    limits = GENESIS.limits._replace(fills_max=1_250)
    pair = market(GENESIS._replace(limits=limits))
    room = pair.engine.agenda.room
    assert room.fills_free == 1
    say(pair, BEN, *[PLAIN] * 3)
    say(pair, ANNA, *[_stop("A", 1)] * 2)
    say(pair, ANNA, ONE)
    assert room.fills == limits.fills_max - 2
    assert room.fills_free == 1


def test_stops_that_waited_in_vain_keep_their_place() -> None:
    """Instruments whose stops take all there is in each entry do not keep others waiting."""
    pair = market()
    stopped = pair.engine.agenda.stopped
    say(pair, OPERATOR, c.list_instrument(LATER._replace(settlement=0, collar=None)))
    other = c.place_order("C", Side.SELL, 4, 1, display_qty=1)
    last = [c.new_order("B", Side.SELL, 2, price) for price in (1, 2)]
    say(pair, BEN, *[ICEBERG] * 3, *[other] * 3, *last)
    say(pair, ANNA, *[_stop("A", FILLS)] * 2, *[_stop("C", FILLS)] * 2, _stop("B", 2))
    look = c.new_order("A", Side.BUY, 6, 1, time_in_force=TimeInForce.FOK)
    touches = [c.new_order(symbol, Side.BUY, qty, 1) for symbol, qty in (("C", 1), ("B", 2))]
    say(pair, ANNA, *[look] * (LOOKS_PER_FILL * FILLS // 2), ONE, *touches)
    assert list(stopped) == ["A", "C", "B"]
    assert _fired(_nothing(pair)) == ["A"]
    assert list(stopped) == ["C", "B", "A"]
    assert _fired(_nothing(pair)) == ["C"]
    assert list(stopped) == ["B", "A", "C"]
    assert _fired(_nothing(pair))[0] == "B"
    _rest(pair)


def _fired(told: list[Any]) -> list[str]:
    return [event[2][3] for event in told if event[0] == e.TRIGGERED]


def test_they_fire_before_those_of_a_call_that_ends() -> None:
    pair = market()
    say(pair, BEN, *[c.new_order("B", Side.SELL, 2, 1)] * 2, *[PLAIN] * 3)
    say(pair, ANNA, _stop("B", 2))
    index, now_ns = pair.engine.applied_index + 1, pair.engine.now_ns
    spends = (c.new_order("A", Side.BUY, 3, 1), c.new_order("B", Side.BUY, 2, 1))
    call = c.call_auction("A", until_ns=now_ns + 1)
    said = [(ANNA, spends), (OPERATOR, (call,)), (BEN, (PLAIN,) * 4), (ANNA, (ONE, _stop("A", 3)))]
    requests = [(each, index + at, commands) for at, (each, commands) in enumerate(said)]
    pair.apply(c.Entry(index, now_ns, tuple(requests)))
    assert list(pair.engine.agenda.stopped) == ["B"]
    (told,) = pair.apply(c.Entry(index + 1, now_ns + 1, ()))
    assert _fired(told[4]) == ["B", "A"]


def test_so_do_pegged_orders() -> None:
    """With pages so small that some orders come back each time."""
    limits = GENESIS.limits._replace(
        pegs_page=1, pegs_max=40, open_orders_max=99, book_orders_max=99
    )
    pair = market(GENESIS._replace(limits=limits))
    following = pair.engine.agenda.following
    say(pair, ANNA, *[c.place_peg("A", Side.BUY, 1, PegReference.PRIMARY)] * 20)
    say(pair, ANNA, c.place_peg("B", Side.BUY, 2, PegReference.PRIMARY))
    _rest(pair)
    say(pair, BEN, c.new_order("A", Side.BUY, 1, 1), c.new_order("B", Side.BUY, 2, 1))
    assert list(following) == ["A", "B"]
    told = _nothing(pair)
    assert [event[2][3] for event in told] == ["A"]
    assert list(following) == ["B", "A"]
    told = _nothing(pair)
    assert [event[2][3] for event in told] == ["B", "A"]
    _rest(pair)


def test_the_roll_of_a_day_lets_nobody_move_who_waits_for_the_next_entry() -> None:
    pair = market()
    page = GENESIS.limits.pegs_page
    peg = c.place_peg("A", Side.BUY, 1, PegReference.PRIMARY)
    say(pair, ANNA, c.new_order("A", Side.BUY, 1, 1), *[peg] * page)
    _rest(pair)
    say(pair, ANNA, peg)
    _rest(pair)
    say(pair, ANNA, c.new_order("A", Side.BUY, 1, 2))
    assert list(pair.engine.agenda.following) == ["A"]
    pair.apply(
        c.Entry(
            pair.engine.applied_index + 1,
            pair.engine.now_ns,
            ((BEN, 900, (c.new_order("A", Side.BUY, 1, 3),)), (OPERATOR, 900, (c.roll_day(),) * 3)),
        )
    )
    assert list(pair.engine.agenda.following) == ["A"]
    _rest(pair)


def _nothing(pair: Pair) -> list[Any]:
    """What an entry without requests tells."""
    told = pair.apply(c.Entry(pair.engine.applied_index + 1, pair.engine.now_ns, ()))
    pair.check()
    return [event for reply in told for event in reply[4]]


def _rest(pair: Pair) -> None:
    """Let what waits have its entries."""
    while pair.engine.is_unfinished:
        _nothing(pair)


def test_stops_of_many_instruments_share_what_an_entry_has_room_for() -> None:
    pair = market(GENESIS._replace(limits=GENESIS.limits._replace(fills_max=20)))
    symbols = ("A", "C", "F")
    say(pair, OPERATOR, c.list_instrument(LATER._replace(settlement=0, collar=None)))
    say(pair, BEN, *[c.new_order(each, Side.SELL, 4, 1) for each in symbols])
    page = GENESIS.limits.triggers_max
    say(pair, ANNA, *[_stop(each, 1) for each in symbols for _ in range(page)])
    touch = [c.new_order(each, Side.BUY, 1, 1) for each in symbols]
    told = say(pair, ANNA, *touch)
    assert _fired(told) == [*["A"] * page, *["C"] * page] and TRIGGERS_PER_ENTRY == 2
    assert [event[5][3] for event in told if event[0] == e.TRADE].count("F") == 1
    assert _fired(_nothing(pair)) == ["F"] * page


def test_auctions_of_one_entry_share_a_page() -> None:
    pair = market()
    page = GENESIS.limits.auction_page
    phases = {to: [c.set_phase(each, to) for each in ("A", "F")] for to in Phase}
    say(pair, OPERATOR, *phases[Phase.AUCTION])
    for symbol in ("A", "F"):
        say(pair, BEN, *[c.new_order(symbol, Side.SELL, 1, 1)] * page)
        say(pair, ANNA, c.new_order(symbol, Side.BUY, page, 1))
    told = say(pair, OPERATOR, *phases[Phase.CONTINUOUS])
    assert _traded_at_auction(told) == ["A"] * page
    assert _traded_at_auction(_nothing(pair)) == ["F"] * page
    assert not pair.engine.agenda.uncrossing


def _traded_at_auction(told: list[Any]) -> list[str]:
    return [event[5][3] for event in told if event[0] == e.AUCTION_TRADE]


def test_days_that_are_rolled_in_one_entry_share_a_page() -> None:
    pair = market()
    page = GENESIS.limits.expiries_page
    for _ in range(2):
        say(pair, ANNA, *[c.place_order("A", Side.BUY, 1, 1, time_in_force=TimeInForce.DAY)] * page)
    told = say(pair, OPERATOR, c.roll_day(), c.roll_day())
    assert [event[0] for event in told].count(e.DAY_ROLLED) == 2
    assert [event[0] for event in told].count(e.EXPIRED) == page
    assert [event[0] for event in _nothing(pair)].count(e.EXPIRED) == page
    assert not pair.engine.is_unfinished

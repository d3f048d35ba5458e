"""What the dry runs of one entry may look at, and what happens to an order that needs one more."""

from typing import Any

import pytest

from raftbook.core import commands as c
from raftbook.core import events as e
from raftbook.core.commands import Command
from raftbook.core.room import LOOKS_PER_FILL
from raftbook.core.types import OrderType, Phase, Reject, SelfTradePrevention, Side, TimeInForce
from tests.core.pair import Pair
from tests.core.small_market import ANNA, BEN, OPERATOR, POOR, market, say
from tests.core.venue_market import GENESIS

LOOKS = LOOKS_PER_FILL * GENESIS.limits.fills_max
PRICES = (1, 2, 3, 4)
ALONE = {"self_trade_prevention": SelfTradePrevention.NONE}
FOK = c.new_order("A", Side.BUY, 6, 4, time_in_force=TimeInForce.FOK, **ALONE)
IOC: dict[str, Any] = {"ord_type": OrderType.MARKET, "time_in_force": TimeInForce.IOC}


def _offered(symbol: str) -> Pair:
    """A venue in which Ben sells one lot at each of four prices."""
    pair = market()
    say(pair, BEN, *[c.new_order(symbol, Side.SELL, 1, price) for price in PRICES])
    return pair


def _reasons(told: list[Any]) -> list[int]:
    """Why each order was refused or ended, in order; 0 for a trade."""
    reasons = {e.REJECTED: 2, e.EXPIRED: 6}
    ends = [event for event in told if event[0] in (*reasons, e.TRADE)]
    return [event[reasons[event[0]]] if event[0] in reasons else 0 for event in ends]


@pytest.mark.parametrize(
    ("looks", "mode"),
    [
        (4, SelfTradePrevention.NONE),  # of levels
        (4 + 4, SelfTradePrevention.CANCEL_OLDEST),  # and of each order in them
    ],
)
def test_a_fok_without_room_for_its_dry_run_ends_and_trades_nothing(
    looks: int, mode: SelfTradePrevention
) -> None:
    pair = _offered("A")
    said = {"time_in_force": TimeInForce.FOK, "self_trade_prevention": mode}
    order, small = (c.new_order("A", Side.BUY, qty, 4, **said) for qty in (6, 1))
    most = LOOKS // looks
    told = say(pair, ANNA, *[order] * most, order, small, c.new_order("A", Side.BUY, 1, 1))
    assert _reasons(told) == [*[Reject.FOK_CANNOT_FILL] * most, *[Reject.RATE_LIMIT] * 2, 0]
    assert _reasons(say(pair, ANNA, order, small)) == [Reject.FOK_CANNOT_FILL, 0]


def test_so_does_an_order_with_a_minimum() -> None:
    pair = _offered("A")
    order = c.place_order("A", Side.BUY, 6, 4, min_qty=5, **ALONE)
    most = LOOKS // 4
    told = say(pair, ANNA, *[order] * (most + 1))
    assert _reasons(told) == [*[Reject.MIN_QTY_NOT_MET] * most, Reject.RATE_LIMIT]


def test_where_nothing_stands_there_is_nothing_to_look_at() -> None:
    pair = _offered("A")
    away = c.new_order("A", Side.BUY, 6, 0, time_in_force=TimeInForce.FOK)
    least = c.place_order("A", Side.BUY, 6, 0, min_qty=5)
    told = say(pair, ANNA, *[FOK] * (LOOKS // 4), away, least)
    assert _reasons(told)[-2:] == [Reject.FOK_CANNOT_FILL, Reject.MIN_QTY_NOT_MET]


@pytest.mark.parametrize(
    ("looks", "qty", "mode"),
    [
        (1, 6, SelfTradePrevention.NONE),  # five of them: seen without a look at one
        (1, 6, SelfTradePrevention.CANCEL_OLDEST),
        (1 + 1, 0, SelfTradePrevention.CANCEL_BOTH),  # the first is an own one
    ],
)
def test_what_is_not_looked_at_does_not_count(
    looks: int, qty: int, mode: SelfTradePrevention
) -> None:
    pair, fills = market(), GENESIS.limits.fills_max
    say(pair, BEN, *[c.new_order("A", Side.SELL, 1, 1)] * (fills + (qty > 0)))
    order = c.new_order(
        *("A", Side.BUY, qty or 6, 1), time_in_force=TimeInForce.FOK, self_trade_prevention=mode
    )
    told = say(pair, ANNA if qty else BEN, *[order] * (LOOKS // looks + 1))
    why = Reject.FILL_LIMIT if qty else Reject.FOK_CANNOT_FILL
    assert _reasons(told) == [*[why] * (LOOKS // looks), Reject.RATE_LIMIT]


@pytest.mark.parametrize(
    ("looks", "special"),
    [
        (1 + 2 + 2, {"display_qty": 1}),  # their slices, and what they show
        (1 + 2, {"hidden": True}),
    ],
)
def test_orders_that_do_not_show_all_count_one_by_one(looks: int, special: dict[str, Any]) -> None:
    pair = market()
    say(
        pair, BEN, c.new_order("A", Side.SELL, 1, 1), c.place_order("A", Side.SELL, 2, 1, **special)
    )
    most = -(-LOOKS // looks)
    told = say(pair, ANNA, *[FOK] * (most + 1))
    assert _reasons(told) == [*[Reject.FOK_CANNOT_FILL] * most, Reject.RATE_LIMIT]


def test_an_amount_is_refused_where_nothing_settles_too() -> None:
    pair = market()
    say(pair, BEN, c.new_order("Q", Side.SELL, 1, 3))
    too_little = c.place_order("Q", Side.BUY, 0, None, quote_qty=1, **ALONE, **IOC)
    told = say(pair, ANNA, *[too_little] * (LOOKS + 1))
    assert _reasons(told) == [*[Reject.PRICE_COLLAR] * LOOKS, Reject.RATE_LIMIT]


@pytest.mark.parametrize(
    ("looks", "order"),
    [
        (4, c.new_order("F", Side.BUY, 6, None, **ALONE, **IOC)),
        (4, c.place_order("F", Side.BUY, 6, None, **ALONE, **IOC)),
        (4 + 4, c.place_order("F", Side.BUY, 0, None, quote_qty=1_000, **ALONE, **IOC)),
    ],
)
def test_a_market_order_that_must_be_looked_at_to_be_paid_is_refused(
    looks: int, order: Command
) -> None:
    pair = _offered("F")
    most = LOOKS // looks
    away = c.new_order("F", Side.SELL, 1, None, **IOC)  # there is no bid: nothing to look at
    told = say(pair, POOR, *[order] * most, order, away)
    broke = [Reject.INSUFFICIENT_FUNDS] * most
    assert _reasons(told) == [*broke, Reject.RATE_LIMIT, Reject.INSUFFICIENT_POSITION]
    assert _reasons(say(pair, POOR, order)) == [Reject.INSUFFICIENT_FUNDS]


def test_a_level_behind_those_that_a_sweep_may_meet_is_not_looked_at() -> None:
    pair, fills = market(), GENESIS.limits.fills_max
    sells = [c.new_order("F", Side.SELL, 1, price) for price in (2, 2, 2, 3, 3, 3, 4)]
    say(pair, BEN, *sells)
    order = c.new_order("F", Side.BUY, 6, None, **ALONE, **IOC)
    looks = 1 + 1 + (fills - 3)  # both levels, and orders of the second one, which has too many
    most = -(-LOOKS // looks)
    told = say(pair, POOR, *[order] * (most + 1))
    assert _reasons(told) == [*[Reject.INSUFFICIENT_FUNDS] * most, Reject.RATE_LIMIT]


@pytest.mark.parametrize("phase", [None, Phase.AUCTION])
def test_what_needs_no_look_is_not_refused(phase: Phase | None) -> None:
    """With a collar or in a call the hold does not depend on the book."""
    pair = _offered("A")
    symbol = "K" if phase is None else "F"
    say(pair, BEN, c.new_order(symbol, Side.SELL, 1, 2))
    if phase is not None:
        say(pair, OPERATOR, c.set_phase(symbol, phase))
    market_buy = c.place_order(
        *(symbol, Side.BUY, 1, None),
        ord_type=OrderType.MARKET,
        time_in_force=TimeInForce.IOC if phase is None else TimeInForce.AT_AUCTION,
    )
    told = say(pair, ANNA, *[FOK] * (LOOKS // 4), market_buy)
    assert told[-1][0] == (e.TRADE if phase is None else e.ACCEPTED)


@pytest.mark.parametrize("quote_qty", [0, 5])
def test_nor_is_an_order_that_has_nothing_to_look_at(quote_qty: int) -> None:
    pair = _offered("A")
    order = c.place_order("F", Side.BUY, int(not quote_qty), None, quote_qty=quote_qty, **IOC)
    told = say(pair, ANNA, *[FOK] * (LOOKS // 4), order)
    assert _reasons(told)[-1] == Reject.NO_LIQUIDITY


def test_what_is_bought_is_looked_at_twice_when_it_must_be_paid() -> None:
    """For the answer, and for what is held."""
    pair = _offered("F")
    buy = c.new_order("F", Side.BUY, 1, None, **ALONE, **IOC)
    say(pair, BEN, *[c.new_order("A", Side.SELL, 1, price) for price in PRICES])
    told = say(pair, ANNA, *[FOK] * (LOOKS // 4 - 1), buy, buy, buy)
    assert _reasons(told)[-4:] == [Reject.FOK_CANNOT_FILL, 0, 0, Reject.RATE_LIMIT]


def test_stops_that_are_reached_wait_for_an_entry_with_room() -> None:
    _waits_for_room(c.place_order("B", Side.BUY, 2, None, ord_type=OrderType.STOP, stop_price=1))


def test_so_do_orders_that_are_released() -> None:
    working, pending = c.place_order("B", Side.SELL, 2, 1), c.place_order("B", Side.BUY, 2, 2)
    _waits_for_room(c.place_oto(working, pending))


def _waits_for_room(order: Command) -> None:
    """Assert that something of this order is left for the next entry when one without room has
    traded at its price."""
    pair = _offered("A")
    say(pair, ANNA, order)
    say(pair, BEN, c.new_order("B", Side.SELL, 2, 1), c.new_order("B", Side.SELL, 2, 2))
    touch = c.new_order("B", Side.BUY, 2, 1, **ALONE)
    told = say(pair, BEN, *[FOK] * (LOOKS // 4), touch)
    kinds = [event[0] for event in told]
    assert e.TRADE in kinds and e.TRIGGERED not in kinds
    assert pair.engine.is_unfinished and list(pair.engine.agenda.stopped) == ["B"]
    unasked, _ = _entry(pair)
    assert [event[0] for event in unasked[4]][:2] == [e.TRIGGERED, e.TRADE]


def _entry(pair: Pair) -> list[Any]:
    """What an entry with one order that does nothing tells, all of it."""
    index = pair.engine.applied_index + 1
    nothing = (ANNA, index, (c.cancel_order(order_id=1),))
    return pair.apply(c.Entry(index, pair.engine.now_ns, (nothing,)))

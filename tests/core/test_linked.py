"""Orders that belong together: what they cost at the door, and when they are released."""

import pytest

from raftbook.core import commands as c
from raftbook.core import events as e
from raftbook.core.commands import Entry
from raftbook.core.snapshot import export_state, restore_state
from raftbook.core.types import OrderType, Reject, Side, TriggerBy
from tests.core.pair import Pair
from tests.core.small_market import ANNA, BEN, OPERATOR, market, say
from tests.core.venue_market import GENESIS, START_NS


def test_a_pair_takes_a_token_for_each_of_its_orders() -> None:
    pair = market()
    say(pair, OPERATOR, c.set_account("a", orders_per_s=1, orders_burst=3))
    say(pair, ANNA, c.place_oco("A", Side.SELL, 1, price=4, stop_price=-3))
    assert _refusals(pair, 2) == [0, Reject.RATE_LIMIT]


def test_so_does_one_order_that_triggers_others() -> None:
    pair = market()
    say(pair, OPERATOR, c.set_account("a", orders_per_s=1, orders_burst=4))
    pending = c.place_oco("A", Side.SELL, 1, price=4, stop_price=-3)
    say(pair, ANNA, c.place_oto(_buy(-2), pending))
    assert _refusals(pair, 2) == [0, Reject.RATE_LIMIT]


def test_what_is_released_needs_the_money_of_its_own_side() -> None:
    """More of the quote than there is of the base, which a buy does not need."""
    pair = market()
    pending = c.place_order("F", Side.BUY, 4, 3)
    say(pair, ANNA, c.place_oto(c.place_order("F", Side.BUY, 1, 1), pending))
    told = say(pair, BEN, c.place_order("F", Side.SELL, 1, 1))
    assert [event[0] for event in told][-2:] == [e.TRIGGERED, e.RESTED]
    account = pair.engine.accounts["a"]
    held = account.balances["eur"].held
    assert held > account.balances["oil"].available + account.balances["oil"].held


def test_and_is_refused_where_that_is_gone() -> None:
    pair = market()
    pending = c.place_order("F", Side.BUY, 6, 6)
    say(pair, ANNA, c.place_oto(c.place_order("F", Side.BUY, 1, 1), pending))
    told = say(pair, BEN, c.place_order("F", Side.SELL, 1, 1))
    assert told[-1][0] == e.EXPIRED
    assert told[-1][-1] == Reject.INSUFFICIENT_FUNDS


def test_a_stop_by_the_middle_fires_at_the_middle() -> None:
    pair = market()
    say(pair, ANNA, c.place_order("A", Side.BUY, 1, 1), c.place_order("A", Side.BUY, 1, 0))
    say(pair, BEN, c.place_order("A", Side.SELL, 1, 4))
    for stop_price in (1, 2):  # the middle lies between 2 and 3
        stop = {"ord_type": OrderType.STOP_LIMIT, "trigger_by": TriggerBy.MID}
        told = say(pair, BEN, c.place_order("A", Side.SELL, 1, 4, stop_price=stop_price, **stop))
        assert e.TRIGGERED not in [event[0] for event in told]
    told = say(pair, ANNA, c.cancel_order(order_id=1))  # now it is 2
    assert [event[2][7][0] for event in told if event[0] == e.TRIGGERED] == [2]


@pytest.mark.parametrize("how", ["cancel", "fire", "amend"])
def test_a_stop_goes_on_alone_when_what_it_follows_meets_the_fill_limit(how: str) -> None:
    pair, most = market(), GENESIS.limits.fills_max
    say(pair, BEN, c.place_order("A", Side.SELL, most + 2, 1, display_qty=1))
    both = c.place_oco(
        "A", Side.BUY, most // 2 + 1, price=1, stop_price=3, stop_client_order_id="s"
    )
    told = say(pair, ANNA, c.place_ouo(both))
    assert (told[-1][0], told[-1][-1]) == (e.EXPIRED, Reject.FILL_LIMIT)
    stop = pair.engine.accounts["a"].by_client_order_id["s"]
    assert stop.leaves_qty == 1
    again = restore_state(GENESIS, export_state(pair.engine))
    ends = {
        "cancel": [(ANNA, c.cancel_order(client_order_id="s"))],
        "fire": [(BEN, c.new_order("A", Side.SELL, 1, 4)), (BEN, c.mass_cancel())],
        "amend": [(ANNA, c.replace_order(client_order_id="s", order_qty=most + 3))],
    }
    for session_id, command in (*ends[how], (ANNA, c.new_order("A", Side.BUY, 1, 1))):
        say(pair, session_id, command)
        index = pair.engine.applied_index
        again.apply(Entry(index, START_NS, ((session_id, index, (command,)),)))
    assert export_state(again) == export_state(pair.engine)


def _buy(price: int) -> c.Command:
    return c.place_order("A", Side.BUY, 1, price)


def _refusals(pair: Pair, count: int) -> list[int]:
    """Why each of so many orders more is refused, 0 where it is not."""
    told = say(pair, ANNA, *[_buy(-4)] * count)
    return [event[2] if event[0] == e.REJECTED else 0 for event in told if event[0] != e.RESTED]

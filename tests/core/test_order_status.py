"""How an order stands, as whoever looks at it later is told."""

from typing import Any

import pytest

from raftbook.core import commands as c
from raftbook.core.commands import Entry
from raftbook.core.order_status import order_status
from raftbook.core.types import OrderType, Side, TimeInForce
from tests.core.pair import Pair
from tests.core.small_market import ANNA, BEN, OPERATOR, market, say
from tests.core.venue_market import LATER, START_NS

GTD, FOK, IOC = TimeInForce.GTD, TimeInForce.FOK, TimeInForce.IOC
MARKET = {"ord_type": OrderType.MARKET, "time_in_force": IOC}
SOON_NS = START_NS + 10**9
FREE = LATER._replace(settlement=0, collar=None, qty_max=100, price_min=1, price_max=1_000)


@pytest.mark.parametrize(
    ("command", "status"),
    [
        (c.new_order("C", Side.BUY, 2, 90), "NEW"),
        (c.new_order("C", Side.BUY, 12, 100), "PARTIALLY_FILLED"),
        (c.new_order("C", Side.BUY, 10, 100), "FILLED"),
        (c.new_order("C", Side.BUY, 12, 100, time_in_force=IOC), "EXPIRED"),
        (c.new_order("C", Side.BUY, 12, 100, time_in_force=FOK), "EXPIRED"),
        (c.new_order("C", Side.SELL, 1, None, **MARKET),
         "EXPIRED"),
        (c.place_order("C", Side.SELL, 0, None, **MARKET,
                       quote_qty=500), "EXPIRED"),
        (c.place_order("C", Side.BUY, 1, 90, time_in_force=GTD, expire_time_ns=SOON_NS), "EXPIRED"),
    ],
)  # fmt: skip
def test_an_order_is_told_as_it_ended(command: Any, status: str) -> None:
    pair = market()
    say(pair, OPERATOR, c.list_instrument(FREE))
    say(pair, BEN, c.new_order("C", Side.SELL, 10, 100))
    say(pair, ANNA, command)
    assert _told_later(pair) == status


def test_what_is_cancelled_is_no_less_so_when_its_time_is_up() -> None:
    pair = market()
    say(pair, OPERATOR, c.list_instrument(FREE))
    order = c.place_order("C", Side.BUY, 1, 90, time_in_force=GTD, expire_time_ns=SOON_NS)
    (accepted, *_) = say(pair, ANNA, order)
    say(pair, ANNA, c.cancel_order(order_id=accepted[2][0]))
    assert _told_later(pair) == "CANCELED"


def _told_later(pair: Pair) -> str:
    """Of Anna's only order, a second after its time."""
    pair.apply(Entry(pair.engine.applied_index + 1, SOON_NS + 10**9, ()))
    account = pair.engine.sessions.by_id[ANNA].account
    (order,) = account.orders.values()
    return order_status(
        order.terms,
        leaves_qty=order.leaves_qty,
        cum_qty=order.cum_qty,
        closed_ns=order.closed_ns,
    ).name

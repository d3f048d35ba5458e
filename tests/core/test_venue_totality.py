"""Whatever is said to a whole venue, it answers; what it refuses leaves it as it was.

As `test_totality.py`, in engine version 2 and with every kind of command there is.
"""

from functools import cache
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from raftbook.core import commands as c
from raftbook.core import events as e
from raftbook.core.commands import Entry
from raftbook.core.exchange import Exchange
from raftbook.core.form import engine_version_of, form_error
from raftbook.core.invariants import check
from raftbook.core.snapshot import export_state, restore_state, state_digest
from raftbook.core.types import (
    OrderType,
    PegReference,
    Phase,
    PostOnly,
    Reject,
    SelfTradePrevention,
    Side,
    TimeInForce,
    TrailUnit,
    TriggerBy,
)
from tests.core.flow import EFFORT
from tests.core.pair import is_plain
from tests.core.test_totality import values
from tests.core.venue_market import FIRST_ENTRIES, FREE, GENESIS, LATER, MS, START_NS

ANNA, BEN, OPERATOR = 2, 4, 1
EXPIRY = START_NS + 50 * MS

ORDERS = (
    c.new_order("A", Side.BUY, 4, 0, client_order_id="x"),
    c.place_order("F", Side.SELL, 5, 4, display_qty=2, client_order_id="y"),
    c.place_order(
        "K",
        Side.BUY,
        2,
        1,
        time_in_force=TimeInForce.GTD,
        expire_time_ns=EXPIRY,
        post_only=PostOnly.REPRICE,
        client_order_id="z",
    ),
    c.place_order(
        "K",
        Side.SELL,
        2,
        None,
        ord_type=OrderType.STOP,
        trail_unit=TrailUnit.BASIS_POINTS,
        trail_offset=500,
        client_order_id="w",
    ),
    c.place_oco("F", Side.SELL, 2, price=5, stop_price=1, client_order_id="v"),
)
GOOD = (
    *ORDERS,
    c.place_peg("A", Side.BUY, 2, PegReference.MIDPOINT, offset=-1, limit_price=2),
    c.place_peg("F", Side.SELL, 2, PegReference.PRIMARY),
    c.place_order("A", Side.SELL, 3, None, ord_type=OrderType.MARKET_TO_LIMIT),
    c.place_order(
        "F",
        Side.BUY,
        0,
        None,
        ord_type=OrderType.MARKET,
        time_in_force=TimeInForce.IOC,
        quote_qty=9,
    ),
    c.place_order("F", Side.BUY, 3, 5, min_qty=2, time_in_force=TimeInForce.DAY),
    c.place_order("F", Side.BUY, 3, 3, hidden=True),
    c.place_order(
        "A", Side.SELL, 3, 1, ord_type=OrderType.STOP_LIMIT, stop_price=1, trigger_by=TriggerBy.MID
    ),
    c.place_oco("F", Side.SELL, 2, price=5, stop_price=1, hidden=True, trigger_by=TriggerBy.BID),
    c.place_order(
        "A",
        Side.SELL,
        3,
        -1,
        self_trade_prevention=SelfTradePrevention.DECREMENT,
        time_in_force=TimeInForce.IOC,
    ),
    c.cancel_order(order_id=1),
    c.amend_order(client_order_id="x", order_qty=2, price=1),
    c.replace_order(order_id=2, order_qty=4, display_qty=1),
    c.replace_order(client_order_id="z", price=2, expire_time_ns=EXPIRY + MS),
    c.replace_order(client_order_id="w", trail_offset=100),
    c.cancel_replace(ORDERS[0], order_id=1),
    c.cancel_replace(c.new_order("F", Side.BUY, 1, 4), client_order_id="v", or_place=True),
    c.mass_cancel(symbol="F", price_low=1, price_high=5),
    c.mass_cancel(account="*"),
    c.open_session("a", "k"),
    c.close_session(),
    c.attach_session(cancel_on_disconnect=True, lease_ms=5),
    c.session_lost(ANNA, 1),
    c.renew_lease(ANNA, 1),
    c.create_instrument(LATER._replace(settlement=0, symbol="D")),
    c.list_instrument(LATER, Phase.AUCTION),
    c.amend_instrument(FREE._replace(qty_max=5)),
    c.delete_instrument("B"),
    c.set_phase("F", Phase.AUCTION),
    c.call_auction("K", until_ns=EXPIRY),
    c.create_currency("btc", 8),
    c.create_account("new", group="g"),
    c.set_account("a", enabled=False, group="h", orders_per_s=3, orders_burst=1),
    c.deposit("b", "eur", 5, "t"),
    c.withdraw("b", "eur", 5, "t"),
    c.set_kill_switch(account="a", on=True),
    c.bust_trade("F", 1),
    c.roll_day(),
    c.set_drop_copy("b", on=True),
    c.set_api_key("a", "key", "secret"),
)
good = st.sampled_from(GOOD)
junk = st.tuples(st.integers(1, 40), values) | values


@st.composite
def nearly_good(draw: st.DrawFn) -> Any:
    """A command with one field replaced, one missing, or one too many."""
    command = draw(good)
    place = draw(st.integers(0, len(command) - 1))
    sort = draw(st.integers(0, 3))
    if sort == 0:
        return (*command[:place], *command[place + 1 :])
    behind = command[place + 1 :] if sort > 1 else command[place:]
    return (*command[:place], draw(values | st.integers(-2, 12)), *behind)


@cache
def a_venue() -> Any:
    exchange = Exchange(GENESIS)
    for entry in FIRST_ENTRIES:
        exchange.apply(entry)
    attach = c.attach_session(cancel_on_disconnect=True, lease_ms=10)
    trade = c.new_order("F", Side.BUY, 1, 4)
    requests = ((ANNA, 5, (attach, *ORDERS)), (BEN, 5, (trade,)))
    exchange.apply(Entry(4, START_NS, requests))
    return export_state(exchange)


def what_counts(exchange: Exchange) -> Any:
    """Accounts, books, trades, order ids, balances and what is due: all but sessions and digest."""
    value = export_state(exchange)
    return (*value[3:7], *value[10:])


contexts = st.sampled_from(
    [(OPERATOR, 7), (OPERATOR, 7), (ANNA, 7), (ANNA, 7), (BEN, 7), (ANNA, 1), (99, 1), (0, 0)]
)


@given(contexts, junk | nearly_good() | good)
@example((OPERATOR, 7), (c.MASS_CANCEL, "*", 0, "", 0, None, None))
@example((OPERATOR, 7), (c.SET_API_KEY, "a", "key", "secret", 1))
@example((ANNA, 7), (c.PLACE_OCO, {}))
@settings(
    max_examples=400 * EFFORT,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
def test_no_command_raises_and_a_refused_one_changes_nothing(
    context: tuple[int, int], command: Any
) -> None:
    exchange = restore_state(GENESIS, a_venue())
    before = what_counts(exchange)
    events = exchange.apply(Entry(5, START_NS, ((*context, (command,)),)))[0][4]
    refused = (e.REJECTED, e.CANCEL_REJECTED)
    is_notice = type(command) is tuple and command[:1] in ((c.SESSION_LOST,), (c.RENEW_LEASE,))
    assert events or is_notice, "no answer"
    if all(event[0] in refused for event in events):
        assert what_counts(exchange) == before
    check(exchange)
    assert is_plain(what_counts(exchange)), "a float, a boolean or a list has been stored"
    for event in events:
        assert event[0] in refused or is_plain(event), f"not plain: {event}"
    restored = restore_state(GENESIS, export_state(exchange))
    assert restored.digest.value() == exchange.digest.value()
    assert state_digest(restored) == state_digest(exchange)


@given(nearly_good() | junk)
@settings(max_examples=300 * EFFORT, deadline=None, suppress_health_check=list(HealthCheck))
def test_what_has_not_the_form_of_a_command_is_malformed_or_refused(command: Any) -> None:
    """Kinds that came with engine version 2 are judged by `form_error` alone."""
    if form_error(command) is None or type(command) is not tuple or not command:
        return
    if type(command[0]) is not int or engine_version_of(command) == 1:
        return
    exchange = restore_state(GENESIS, a_venue())
    told = exchange.apply(Entry(5, START_NS, ((OPERATOR, 7, (command,)),)))[0][4]
    assert [event[0] in (e.REJECTED, e.CANCEL_REJECTED) for event in told] == [True]
    assert told[0][2] == Reject.MALFORMED


def test_every_good_command_does_something() -> None:
    """The examples above would prove little of commands that are refused as they stand."""
    served = set()
    for session_id in (ANNA, BEN, OPERATOR, 0):
        for command in GOOD:
            exchange = restore_state(GENESIS, a_venue())
            told = exchange.apply(Entry(5, START_NS, ((session_id, 7, (command,)),)))[0][4]
            if any(event[0] not in (e.REJECTED, e.CANCEL_REJECTED) for event in told):
                served.add(command[0])
    refused_here = {c.DELETE_INSTRUMENT, c.RENEW_LEASE}  # it is open; there is nothing to tell
    assert {command[0] for command in GOOD} - served <= refused_here

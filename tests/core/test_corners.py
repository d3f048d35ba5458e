"""Corners of the core that no other quick test looks into."""

from typing import Any

import pytest

from raftbook.core import commands as c
from raftbook.core import events as e
from raftbook.core.candles import WIDTHS_NS
from raftbook.core.commands import Command, Entry
from raftbook.core.digest import RollingDigest
from raftbook.core.exchange import Exchange
from raftbook.core.form import form_error
from raftbook.core.instrument import terms_error
from raftbook.core.ladder import Special
from raftbook.core.snapshot import export_state, restore_state
from raftbook.core.types import (
    OrderType,
    Phase,
    Reject,
    Side,
    TimeInForce,
    TrailUnit,
    TriggerBy,
)
from tests.core import venue_flow
from tests.core.small_market import ANNA, BEN, OPERATOR, POOR, market, say
from tests.core.venue_market import GENESIS, LATER, START_NS
from tests.core.venue_profiles import EVERYTHING, LINKING, PEGGING, SETTLING, SLICING, Profile


@pytest.mark.parametrize("command", [(c.CANCEL_ORDER, "1", ""), (c.CANCEL_ORDER, 0, 5)])
def test_an_order_is_asked_for_by_a_number_or_a_text(command: Command) -> None:
    pair = market()
    (event,) = say(pair, ANNA, command)
    assert event[:3] == (e.CANCEL_REJECTED, 0, Reject.MALFORMED)


@pytest.mark.parametrize("name", ["a b", " ", "a\tb", "é"])
def test_a_name_holds_neither_spaces_nor_what_is_not_ascii(name: str) -> None:
    pair = market()
    (event,) = say(pair, ANNA, c.new_order("A", Side.BUY, 1, 1, client_order_id=name))
    assert event[:3] == (e.REJECTED, 0, Reject.MALFORMED)


def test_an_instrument_that_is_listed_in_a_call_has_one_without_an_end() -> None:
    pair = market()
    say(pair, OPERATOR, c.list_instrument(LATER, Phase.AUCTION))
    assert pair.engine.books["C"].call_until_ns == 0
    assert pair.engine.agenda.calls == {}


def test_a_refusal_out_of_line_is_in_the_digest() -> None:
    def digest(*requests: Any) -> str:
        pair = market()
        pair.engine.apply(Entry(pair.engine.applied_index + 1, START_NS, requests))
        return pair.engine.digest.value()

    stale = (ANNA, 0, (c.cancel_order(order_id=1),))
    stranger = (99, 1, (c.cancel_order(order_id=1),))
    assert len({digest(), digest(stale), digest(stranger), digest(stale, stale)}) == 4
    again = (ANNA, 1, (c.cancel_order(order_id=9),))
    assert digest(again, again) == digest(again), "a repeated reply says nothing new"


def test_a_block_of_the_digest_is_hashed_as_soon_as_it_is_full() -> None:
    """4,096 bytes; of such an event one number, which has eight, and text."""
    digest = RollingDigest()
    for _ in range(512):
        digest.pending.append([(e.SESSION_CLOSED, 0, 1)])
    link, tail, _, _ = digest.export()
    assert (len(tail), link != bytes(32)) == (0, True)


def test_a_bid_that_a_mass_cancel_takes_away_lets_stops_fire() -> None:
    pair = market()
    say(pair, BEN, c.new_order("A", Side.BUY, 1, 2), c.new_order("B", Side.BUY, 2, 1))
    stop = c.place_order(
        *("A", Side.SELL, 1, None),
        ord_type=OrderType.STOP,
        stop_price=1,
        trigger_by=TriggerBy.BID,
    )
    say(pair, ANNA, stop, c.new_order("A", Side.BUY, 1, 0))
    told = say(pair, BEN, c.mass_cancel())
    assert e.TRIGGERED in [event[0] for event in told]


def test_an_order_that_never_expires_does_not_because_its_minimum_was_amended() -> None:
    pair = market()
    say(pair, BEN, c.new_order("A", Side.SELL, 1, 2))
    say(pair, ANNA, c.place_order("A", Side.BUY, 3, 2, min_qty=1))
    say(pair, ANNA, c.replace_order(order_id=2, order_qty=2))
    pair.apply(Entry(pair.engine.applied_index + 1, START_NS + 1, ()))
    assert pair.engine.accounts["a"].orders[2].leaves_qty == 1


def test_before_engine_version_2_no_candles_are_kept() -> None:
    terms = tuple(terms for terms in GENESIS.instruments if terms.symbol == "A")
    exchange = Exchange(GENESIS._replace(currencies=(), deposits=(), instruments=terms))
    assert exchange.engine_version == 1
    opened = (c.NO_SESSION, 0, (c.open_session("a", "k"),))
    trade = c.new_order("A", Side.SELL, 1, 1), c.new_order("A", Side.BUY, 1, 1)
    exchange.apply(Entry(1, START_NS, (opened, (1, 1, trade))))
    assert exchange.books["A"].trade_id == 1
    assert not any(exchange.books["A"].tape.candles(width) for width in WIDTHS_NS)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ((), "a command is a non-empty array that starts with its kind"),
        ((77, 1), "unknown command kind 77"),
        ((c.CANCEL_ORDER, 1), "command kind 2 takes 2 fields, got 1"),
    ],
)
def test_what_is_malformed_is_said(command: Command, said: str) -> None:
    assert form_error(command) == said


def test_only_a_pair_can_be_one_that_updates_the_other() -> None:
    with pytest.raises(ValueError, match="command kind 2 is no pair"):
        c.place_ouo(c.cancel_order(order_id=1))


def test_a_cancel_replace_is_both_or_none_unless_it_is_said() -> None:
    order = c.place_order("A", Side.BUY, 1, 1)
    assert c.cancel_replace(order, order_id=1)[3] == 0


_PART_OF_AN_ORDER = [
    name
    for name in vars(Special)  # a compiled class has no __slots__
    if not name.startswith("__") and name not in ("pending", "sibling", "arrival")
]


@pytest.mark.parametrize("profile", [EVERYTHING, LINKING, PEGGING, SETTLING, SLICING])
def test_a_restored_exchange_knows_the_same_of_every_order_and_account(profile: Profile) -> None:
    exchange = Exchange(GENESIS)
    guarded = 0
    for number, entry in enumerate(venue_flow.random_entries(5, 150, profile)):
        exchange.apply(entry)
        if number % 10:
            continue
        restored = restore_state(GENESIS, export_state(exchange))
        for name, account in exchange.accounts.items():
            same = restored.accounts[name]
            assert (same.is_odd, same.blocked) == (account.is_odd, account.blocked), name
            guarded += account.guard is not None
            for order_id, order in account.orders.items():
                if order.special is not None and order.leaves_qty:
                    other = same.orders[order_id].special
                    for part in _PART_OF_AN_ORDER:
                        was, now = getattr(order.special, part), getattr(other, part)
                        assert was == now, f"{part} of order {order.terms} after entry {number}"
    assert guarded or profile is not EVERYTHING


def test_only_rates_are_bounded_by_what_a_bucket_may_hold() -> None:
    pair = market()
    many = 10**9
    (event,) = say(pair, OPERATOR, c.set_account("a", order_qty_max=many, order_notional_max=many))
    assert event[0] == e.ACCOUNT_CHANGED
    (event,) = say(pair, OPERATOR, c.set_account("a", orders_per_s=many))
    assert event[:3] == (e.REJECTED, 0, Reject.MALFORMED)


@pytest.mark.parametrize("exponent", ["E40", "E-40", "E41", "E-41", "E5000000"])
def test_a_tick_has_so_many_digits_at_most(exponent: str) -> None:
    """Or one command would keep every replica busy for as long as its sender likes."""
    terms = LATER._replace(tick_size=f"1{exponent}")
    error = terms_error(terms)
    assert (error is None) == exponent.endswith("40"), error
    assert error is None or "tick_size must be a decimal between 1E-40 and 1E40" in error


@pytest.mark.parametrize(("lot_size", "tick_size"), [("0.5", "2"), ("1", "0.001")])
def test_lots_and_ticks_are_whole_minor_units_of_what_settles_them(
    lot_size: str, tick_size: str
) -> None:
    """Oil has no decimals, the euro two."""
    pair = market()
    terms = LATER._replace(lot_size=lot_size, tick_size=tick_size)
    assert say(pair, OPERATOR, c.list_instrument(terms))[0][2] == Reject.BAD_AMOUNT


@pytest.mark.parametrize(("amount", "reason"), [(1, Reject.INSUFFICIENT_FUNDS), (2, 0)])
def test_the_least_fee_of_a_market_order_is_held_too(amount: int, reason: int) -> None:
    """One cent for the lot, and of the fee, a millionth of that, what it is rounded up to."""
    pair = market()
    terms = LATER._replace(collar=None, maker_fee=0, taker_fee=1)
    say(pair, OPERATOR, c.list_instrument(terms), c.deposit("f", "eur", amount, "one"))
    say(pair, BEN, c.new_order("C", Side.SELL, 1, 1))
    order = c.place_order(
        "C", Side.BUY, 1, None, ord_type=OrderType.MARKET, time_in_force=TimeInForce.IOC
    )
    told = say(pair, POOR, order)[0]
    assert (told[2] if told[0] == e.REJECTED else 0) == reason


def test_a_trailing_stop_is_the_same_after_a_restore_that_only_pending_orders_lived_through() -> (
    None
):
    pair = market()
    pending = c.place_oto(c.new_order("A", Side.BUY, 1, -2), c.new_order("A", Side.SELL, 1, 3))
    touch = c.new_order("A", Side.SELL, 1, 1)
    say(pair, ANNA, pending, c.new_order("A", Side.BUY, 1, 1))
    say(pair, BEN, touch)
    say(pair, OPERATOR, c.set_phase("A", Phase.AUCTION))
    lived = pair.engine
    restored = restore_state(GENESIS, export_state(lived))
    stop = c.place_order(
        *("A", Side.SELL, 1, None),
        ord_type=OrderType.STOP,
        trail_unit=TrailUnit.TICKS,
        trail_offset=1,
    )
    entry = Entry(lived.applied_index + 1, START_NS, ((ANNA, 99, (stop,)),))
    assert lived.apply(entry) == restored.apply(entry)
    assert lived.books["A"].stops is not None and len(lived.books["A"].stops) == 2
    assert export_state(lived) == export_state(restored)

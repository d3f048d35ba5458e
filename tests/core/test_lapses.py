"""Orders that end with their sessions: however a session ends, and however many do at once."""

from typing import Any

import pytest

from raftbook.core import commands as c
from raftbook.core import events as e
from raftbook.core.commands import Command, Entry, Request
from raftbook.core.snapshot import export_state, restore_state, state_digest
from raftbook.core.types import OrderType, Reject, Side, TriggerBy
from raftbook.wire.packing import pack, unpack
from tests.core.pair import Pair
from tests.core.small_market import ANNA, BEN, market, say
from tests.core.venue_market import GENESIS, MINUTE_NS, MS, switch_to

ANNA_TOO = 3
"""Another session of ANNA's account."""
DYING = c.attach_session(cancel_on_disconnect=True)


def order(price: int, symbol: str = "A") -> Command:
    return c.new_order(symbol, Side.BUY, 1, price)


def apply(pair: Pair, *requests: Request, after_ns: int = 0) -> list[Any]:
    """What one entry tells, what nobody asked for first."""
    index = pair.engine.applied_index + 1
    replies = pair.apply(Entry(index, pair.engine.now_ns + after_ns, requests))
    pair.check()
    return [event for reply in replies for event in reply[4]]


def lost(session_id: int, epoch: int = 1) -> Request:
    return (c.NO_SESSION, 0, (c.session_lost(session_id, epoch),))


def canceled(told: list[Any]) -> list[int]:
    return [event[2][0] for event in told if event[0] == e.CANCELED]


def pages(told: list[Any]) -> list[tuple[int, int]]:
    """(canceled, whether more are left) of each page."""
    return [event[3:5] for event in told if event[0] == e.MASS_CANCELED]


def open_one(pair: Pair, key: str, after_ns: int) -> list[Any]:
    return apply(pair, (c.NO_SESSION, 9, (c.open_session("a", key),)), after_ns=after_ns)


CROWD = 20
ROOMY = GENESIS._replace(
    limits=GENESIS.limits._replace(cancel_page=1, open_orders_max=60, book_orders_max=60)
)


def crowded(engine_version: int = 4) -> tuple[Pair, int]:
    """Three sessions of one account; the first has more orders than a lapse may look at before
    another one begins in the same entry. All are to die. And the third one's id."""
    pair = market(ROOMY, engine_version=engine_version)
    (opened,) = open_one(pair, "third", 0)
    third: int = opened[2]
    say(pair, ANNA, DYING, *[order(-1)] * CROWD)
    say(pair, ANNA_TOO, DYING, order(-2), order(-2))
    say(pair, third, DYING, order(1), order(1))
    return pair, third


def run_down(pair: Pair) -> list[int]:
    """The orders that end until no mass cancel is under way."""
    ended: list[int] = []
    while pair.engine.agenda.mass_cancels:
        assert len(pair.engine.agenda.mass_cancels) <= 2
        ended += canceled(apply(pair))
    return ended


def test_who_lapses_while_one_waits_joins_it() -> None:
    pair, third = crowded()
    told = apply(pair, lost(ANNA_TOO), lost(ANNA), lost(third))
    assert [event[2] for event in told if event[0] == e.SESSION_LAPSED] == [ANNA_TOO, ANNA, third]
    assert pages(told) == [(1, 1), (0, 1), (0, 1)]
    begun, waiting = pair.engine.agenda.mass_cancels
    assert begun.sessions.keys() == {ANNA_TOO} and waiting.sessions.keys() == {ANNA, third}
    assert canceled(told) == [CROWD + 1]
    assert run_down(pair) == [CROWD + 2, *range(1, CROWD + 1), CROWD + 3, CROWD + 4]


def test_what_a_session_enters_after_it_lapsed_is_not_meant() -> None:
    pair, third = crowded()
    apply(pair, lost(ANNA_TOO), lost(ANNA))
    seq = pair.engine.applied_index + 1
    apply(pair, (ANNA, seq, (DYING, order(2))), lost(third))
    assert run_down(pair) == [*range(1, CROWD + 1), CROWD + 3, CROWD + 4]
    (left,) = (each for each in pair.engine.accounts["a"].orders.values() if each.leaves_qty)
    assert left.terms[0] == CROWD + 5


def test_unless_it_lapses_again_before_its_turn() -> None:
    pair, _ = crowded()
    apply(pair, lost(ANNA_TOO), lost(ANNA))
    seq = pair.engine.applied_index + 1
    apply(pair, (ANNA, seq, (DYING, order(2))), lost(ANNA, 2))
    assert CROWD + 5 in run_down(pair)


def test_what_was_begun_is_not_joined() -> None:
    pair, third = crowded()
    apply(pair, lost(ANNA_TOO))
    apply(pair, lost(third))
    assert [each.sessions.keys() for each in pair.engine.agenda.mass_cancels] == [{third}]
    assert run_down(pair) == [CROWD + 4]


def test_nor_is_what_another_account_or_somebody_else_asked_for() -> None:
    pair, third = crowded()
    say(pair, BEN, DYING, order(-3))
    seq = pair.engine.applied_index + 1
    apply(pair, lost(ANNA_TOO), lost(BEN), (third, seq, (c.mass_cancel(),)), lost(third))
    jobs = pair.engine.agenda.mass_cancels
    assert [(each.account, *each.sessions) for each in jobs] == [
        ("a", ANNA_TOO), ("b", BEN), ("a",), ("a", third),
    ]  # fmt: skip
    assert pair.engine.agenda.mass_cancels


@pytest.mark.parametrize(("engine_version", "form"), [(2, 2), (3, 2), (4, 3)])
def test_nodes_that_know_no_shared_one_can_read_every_snapshot(
    engine_version: int, form: int
) -> None:
    assert export_state(market(engine_version=engine_version).engine)[0] == form


def test_a_lapse_that_waits_survives_a_snapshot() -> None:
    pair, third = crowded()
    apply(pair, lost(ANNA_TOO), lost(ANNA), lost(third))
    packed = pack(export_state(pair.engine))
    restored = restore_state(ROOMY, unpack(packed))
    assert pack(export_state(restored)) == packed
    while pair.engine.agenda.mass_cancels:
        restored.apply(Entry(pair.engine.applied_index + 1, pair.engine.now_ns, ()))
        apply(pair)
        assert state_digest(restored) == state_digest(pair.engine)
    assert not restored.agenda.mass_cancels


def test_orders_of_a_session_that_is_closed_end_at_once() -> None:
    pair = market()
    say(pair, ANNA, DYING, order(-1))
    told = say(pair, ANNA, order(-2), c.close_session(), c.close_session())
    assert [event[0] for event in told] == [
        e.ACCEPTED, e.SESSION_CLOSED, e.CANCELED, e.CANCELED, e.SESSION_CLOSED,
    ]  # fmt: skip
    assert [event[6] for event in told if event[0] == e.CANCELED] == [Reject.DISCONNECTED] * 2
    assert canceled(told) == [1, 2]
    assert not apply(pair)


def test_what_does_not_fit_goes_on_with_the_next_entry() -> None:
    pair, _ = crowded()
    told = say(pair, ANNA, c.close_session())
    assert [event[0] for event in told] == [e.SESSION_CLOSED, e.CANCELED]
    assert pages(apply(pair)) == [(1, 1)]
    assert run_down(pair) == list(range(3, CROWD + 1))


def test_stops_see_what_a_session_that_is_closed_leaves() -> None:
    pair = market()
    say(pair, ANNA, DYING, order(1))
    stop = c.place_order(
        *("A", Side.SELL, 1, None),
        ord_type=OrderType.STOP, stop_price=0, trigger_by=TriggerBy.BID,
    )  # fmt: skip
    say(pair, BEN, stop, order(0))
    told = say(pair, ANNA, c.close_session())
    kinds = [event[0] for event in told]
    assert kinds[:4] == [e.SESSION_CLOSED, e.CANCELED, e.TRIGGERED, e.TRADE]


def test_those_of_one_that_asked_for_nothing_stay() -> None:
    pair = market()
    say(pair, ANNA, order(-1), c.close_session())
    assert not apply(pair) and pair.engine.accounts["a"].orders[1].leaves_qty


def test_orders_of_one_that_lapsed_are_not_ended_twice() -> None:
    pair = market()
    say(pair, ANNA, DYING, order(-1))
    apply(pair, lost(ANNA))
    say(pair, ANNA, order(-2), c.close_session())
    assert not apply(pair)


def test_orders_of_one_that_gives_way_end() -> None:
    pair = market()
    say(pair, ANNA, DYING, order(-1))
    say(pair, ANNA_TOO, DYING, order(-2))
    open_one(pair, "third", GENESIS.limits.session_recent_ns)
    assert not canceled(open_one(pair, "fourth", 0))  # who was heard of least lately is ANNA
    assert ANNA not in pair.engine.sessions.by_id
    assert canceled(apply(pair)) == [1]


def test_orders_of_idle_ones_end_too() -> None:
    pair = market()
    say(pair, ANNA, DYING, order(-1))
    say(pair, ANNA_TOO, DYING, order(-2))
    told = open_one(pair, "third", 0)
    for _ in range(6):
        told += apply(pair, after_ns=MINUTE_NS)
    assert not canceled(told)
    open_one(pair, "fourth", 0)
    assert canceled(apply(pair)) == [1, 2]


def renewed(session_id: int) -> Request:
    return (c.NO_SESSION, 0, (c.renew_lease(session_id, 1),))


def test_who_renews_its_lease_is_not_idle() -> None:
    pair = market()
    leased = c.attach_session(cancel_on_disconnect=True, lease_ms=3 * MINUTE_NS // MS)
    say(pair, ANNA, leased, order(-1))
    for _ in range(8):
        apply(pair, renewed(ANNA), after_ns=MINUTE_NS)
    open_one(pair, "third", 0)
    assert ANNA in pair.engine.sessions.by_id and ANNA_TOO not in pair.engine.sessions.by_id
    assert not canceled(apply(pair))


@pytest.mark.parametrize("engine_version", [2, 3])
def test_before_engine_version_4_such_orders_stayed(engine_version: int) -> None:
    pair = market(engine_version=engine_version)
    leased = c.attach_session(cancel_on_disconnect=True, lease_ms=3 * MINUTE_NS // MS)
    say(pair, ANNA, leased, order(-1))
    say(pair, BEN, DYING, order(-2), c.close_session())
    for _ in range(8):
        apply(pair, renewed(ANNA), after_ns=MINUTE_NS)
    open_one(pair, "third", 0)
    assert ANNA not in pair.engine.sessions.by_id
    assert not canceled(apply(pair))
    assert not pair.engine.sessions.forsaken


def test_renewals_from_before_engine_version_4_count_once_it_is_in_force() -> None:
    pair = market(engine_version=3)
    leased = c.attach_session(cancel_on_disconnect=True, lease_ms=3 * MINUTE_NS // MS)
    say(pair, ANNA, leased, order(-1))
    for _ in range(8):
        apply(pair, renewed(ANNA), after_ns=MINUTE_NS)
    apply(pair, switch_to(4))
    open_one(pair, "third", 0)
    assert ANNA in pair.engine.sessions.by_id and ANNA_TOO not in pair.engine.sessions.by_id


def test_what_waits_since_engine_version_3_is_not_joined() -> None:
    pair, third = crowded(engine_version=3)
    say(pair, ANNA_TOO, order(-2))
    apply(pair, lost(ANNA_TOO), lost(ANNA))
    apply(pair, switch_to(4))
    assert pages(apply(pair, lost(third)))[-1] == (1, 1)
    assert [list(each.sessions) for each in pair.engine.agenda.mass_cancels] == [[], [third]]
    assert run_down(pair)[-1] == CROWD + 4

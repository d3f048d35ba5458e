"""The ledger's sense of fairness notices a trade out of turn, and nothing else."""

from typing import Any

import pytest

from raftbook.core import commands as c
from raftbook.core import events as e
from raftbook.core.commands import Entry
from raftbook.core.events import Event
from raftbook.core.exchange import Exchange
from raftbook.core.types import OrderType, Phase, Reject, Side, TimeInForce
from tests.core.ledger import Ledger
from tests.core.venue_market import FIRST_ENTRIES, GENESIS, START_NS

ANNA, BEN = 2, 4


def told(*said: tuple[int, c.Command]) -> list[list[Any]]:
    """The replies to commands, an entry each, after those that open the sessions."""
    exchange = Exchange(GENESIS)
    replies = [list(exchange.apply(entry)) for entry in FIRST_ENTRIES]
    for number, (session_id, command) in enumerate(said, start=4):
        entry = Entry(number, START_NS, ((session_id, number, (command,)),))
        replies.append(list(exchange.apply(entry)))
    return replies


def read(replies: list[list[Any]]) -> None:
    ledger = Ledger(GENESIS)
    for each in replies:
        ledger.read(each)
        ledger.check()


def last_events(replies: list[list[Any]]) -> list[Event]:
    events: list[Event] = replies[-1][-1][4]
    return events


def sell(qty: int, price: int, **fields: Any) -> tuple[int, c.Command]:
    return BEN, c.place_order("A", Side.SELL, qty, price, **fields)


def buy(qty: int, price: int | None, **fields: Any) -> tuple[int, c.Command]:
    return ANNA, c.place_order("A", Side.BUY, qty, price, **fields)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (sell(2, 1), sell(2, 1)),
        (sell(2, 1), sell(2, 2)),
        (sell(2, 1), sell(2, 1, hidden=True)),
        (sell(2, 1, hidden=True), sell(2, 1, hidden=True)),
    ],
    ids=["younger", "dearer", "hidden", "younger of two hidden"],
)
def test_a_maker_out_of_turn(first: Any, second: Any) -> None:
    replies = told(first, second, buy(1, 2))
    read(replies)
    _, trade = last_events(replies)
    other = replies[-2][-1][4][0][2]
    last_events(replies)[1] = (*trade[:3], other[6], trade[4], other, *trade[6:])
    with pytest.raises(AssertionError, match="stood before the maker"):
        read(replies)


def test_a_slice_that_did_not_go_behind() -> None:
    replies = told(sell(4, 1, display_qty=1), sell(1, 1), buy(2, 1))
    read(replies)
    kinds = [event[0] for event in last_events(replies)]
    assert kinds == [e.ACCEPTED, e.TRADE, e.REFILLED, e.TRADE]
    iceberg = last_events(replies)[1][5]
    trade = last_events(replies)[3]
    last_events(replies)[3] = (*trade[:5], iceberg, *trade[6:])
    with pytest.raises(AssertionError, match="stood before the maker"):
        read(replies)


def test_a_post_only_order_that_takes() -> None:
    replies = told(sell(1, 1), buy(1, 1))
    accepted, trade = last_events(replies)
    kind = (*accepted[2][4][:3], 1, accepted[2][4][4])
    terms = (*accepted[2][:4], kind, *accepted[2][5:])
    last_events(replies)[:] = [(*accepted[:2], terms), (*trade[:9], terms, *trade[10:])]
    with pytest.raises(AssertionError, match="a post-only order takes"):
        read(replies)


def test_a_minimum_that_was_not_met() -> None:
    replies = told(sell(1, 1), buy(3, 1, min_qty=1))
    read(replies)
    for event in replies[-1][-1][4]:
        for place, value in enumerate(event):
            if type(value) is tuple and len(value) == 8:
                conditions = (*value[7][:4], 2, *value[7][5:])
                changed = (*value[:7], conditions)
                where = replies[-1][-1][4].index(event)
                event = (*event[:place], changed, *event[place + 1 :])
                replies[-1][-1][4][where] = event
    with pytest.raises(AssertionError, match="less than its minimum"):
        read(replies)
    missed = told(sell(1, 1), buy(3, 1, min_qty=2))
    read(missed)
    assert last_events(missed)[-1][6] == Reject.MIN_QTY_NOT_MET


def test_an_amount_of_money_that_was_exceeded() -> None:
    spend = {"ord_type": OrderType.MARKET, "time_in_force": TimeInForce.IOC}
    replies = told(
        (BEN, c.place_order("Q", Side.SELL, 2, 3)),
        (ANNA, c.place_order("Q", Side.BUY, 0, None, quote_qty=6, **spend)),
    )
    read(replies)
    for where, event in enumerate(last_events(replies)):
        last_events(replies)[where] = tuple(
            (*each[:7], (*each[7][:6], 5, each[7][7]))
            if type(each) is tuple and len(each) == 8
            else each
            for each in event
        )
    with pytest.raises(AssertionError, match="worth more than asked"):
        read(replies)


def called() -> list[list[Any]]:
    """An auction of two trades; who bids 2 trades before who bids 1."""
    call, resume = ((1, c.set_phase("A", phase)) for phase in (Phase.AUCTION, Phase.CONTINUOUS))
    replies = told(call, sell(1, 0), buy(1, 1), buy(1, 2), sell(1, 0), resume)
    read(replies)
    return replies


def test_an_auction_that_passes_over_a_better_price() -> None:
    replies = called()
    events = last_events(replies)
    first, second = events[1:3]
    events[1:3] = (
        (*one[:5], other[5], *one[6:]) for one, other in ((first, second), (second, first))
    )
    with pytest.raises(AssertionError, match="a better price waited"):
        read(replies)


def test_an_auction_in_which_a_hidden_order_comes_first() -> None:
    call, resume = ((1, c.set_phase("A", phase)) for phase in (Phase.AUCTION, Phase.CONTINUOUS))
    replies = told(call, sell(2, 1), buy(1, 1, hidden=True), buy(1, 1), resume)
    read(replies)
    events = last_events(replies)
    first, second = events[1:3]
    assert (first[5][0], second[5][0]) == (3, 2)
    events[1:3] = (
        (*one[:5], other[5], *one[6:]) for one, other in ((first, second), (second, first))
    )
    with pytest.raises(AssertionError, match="a better price waited"):
        read(replies)


def test_an_auction_whose_end_is_not_told() -> None:
    replies = called()
    last_events(replies).pop()
    with pytest.raises(AssertionError, match="never told to its end"):
        read(replies)

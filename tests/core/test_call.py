"""Auctions that take several entries: page by page they do what they would have done at once."""

import random
from typing import Any

import pytest

from raftbook.core import commands as c
from raftbook.core import events as e
from raftbook.core.call import indicative
from raftbook.core.commands import Command, Entry
from raftbook.core.events import Event
from raftbook.core.exchange import Exchange
from raftbook.core.invariants import check
from raftbook.core.limits import Limits
from raftbook.core.snapshot import export_state, restore_state, state_digest
from raftbook.core.types import OrderType, PegReference, Phase, Reject, Side, TimeInForce
from tests.core import venue_market
from tests.core.flow import EFFORT
from tests.core.twin.auction import Interest, auction_price
from tests.core.venue_market import FIRST_ENTRIES, PRICES, START_NS

OPERATOR, TRADERS = 1, (2, 4, 6)
ROOMY = venue_market.LIMITS._replace(open_orders_max=99, book_orders_max=99, closed_orders_max=99)
RICH = tuple(
    (account, currency, 10**6) for account in ("a", "b", "d") for currency in ("eur", "oil", "usd")
)


class Market:
    """An exchange that is told one request an entry; every reply is kept."""

    def __init__(self, page: int) -> None:
        limits = ROOMY._replace(auction_page=page)
        self.genesis = venue_market.GENESIS._replace(limits=limits, deposits=RICH)
        self.exchange = Exchange(self.genesis)
        self.told: list[Event] = []
        self.entries = self.endings = 0
        for entry in FIRST_ENTRIES[:2]:
            self.exchange.apply(entry)

    def say(self, session_id: int, *commands: Command) -> list[Event]:
        index = self.exchange.applied_index + 1
        request = ((session_id, index, commands),) if commands else ()
        replies = self.exchange.apply(Entry(index, START_NS, request))
        events = [event for reply in replies for event in reply[4]]
        self.told += events
        check(self.exchange)
        return events

    def go_on(self) -> int:
        """Empty entries until nothing is left to do; the most trades of one of them."""
        most = 0
        while self.exchange.is_unfinished:
            events = self.say(OPERATOR)
            most = max(most, sum(event[0] == e.AUCTION_TRADE for event in events))
            self.entries += 1
            auctions = [book.uncrossing for book in self.exchange.books.values()]
            self.endings += any(each is not None and each.is_told for each in auctions)
            self.exchange = restore_state(self.genesis, export_state(self.exchange))
        return most


_SORTS = (*("gtc",) * 3, "auction", "market", "to_limit", "ice", "hidden", "stop")


def orders(chooser: random.Random, symbol: str, count: int) -> list[tuple[int, Command]]:
    """What gathers in a call, and who says it."""
    made: list[tuple[int, Command]] = []
    for _ in range(count):
        side, qty = chooser.choice(list(Side)), chooser.randint(1, 5)
        price: int | None = chooser.choice(PRICES[symbol])
        more: dict[str, Any] = {}
        sort = chooser.choice(_SORTS)
        if sort in ("auction", "market"):
            more["time_in_force"] = TimeInForce.AT_AUCTION
        if sort in ("market", "to_limit", "stop"):
            price = None
            more["ord_type"] = {
                "market": OrderType.MARKET,
                "to_limit": OrderType.MARKET_TO_LIMIT,
                "stop": OrderType.STOP,
            }[sort]
        if sort == "ice":
            qty, more["display_qty"] = qty + 1, 1
        if sort == "hidden":
            more["hidden"] = True
        if sort == "stop":
            more["stop_price"] = chooser.choice(PRICES[symbol])
        made.append((chooser.choice(TRADERS), c.place_order(symbol, side, qty, price, **more)))
    return made


@pytest.mark.parametrize("page", [1, 2, 3, 5])
@pytest.mark.parametrize("symbol", ["A", "F"])
def test_in_pages_it_does_what_it_does_at_once(symbol: str, page: int) -> None:
    several = endings = 0
    for seed in range(25 * EFFORT):
        chooser = random.Random(seed)
        gathering = orders(chooser, symbol, chooser.randint(2, 40))
        then = chooser.choice((Phase.CONTINUOUS, Phase.CONTINUOUS, Phase.CLOSED))
        paged, whole = Market(page), Market(10_000)
        for market in (paged, whole):
            market.say(4, c.place_peg(symbol, Side.BUY, 1, PegReference.MARKET, limit_price=4))
            market.say(OPERATOR, c.set_phase(symbol, Phase.AUCTION))
            for session_id, order in gathering:
                market.say(session_id, order)
            market.say(OPERATOR, c.set_phase(symbol, then))
            assert market.go_on() <= page or market is whole
        several += paged.entries > 1
        endings += paged.endings > 0
        assert paged.told == whole.told
        assert state_digest(paged.exchange) == state_digest(whole.exchange)
    assert several > 4 and endings > 0, "hardly one needed a second page"


@pytest.mark.parametrize("seed", range(8 * EFFORT))
def test_the_price_of_many_levels_is_the_one_that_a_look_at_every_tick_finds(seed: int) -> None:
    chooser = random.Random(seed)
    terms = venue_market.FREE._replace(price_min=-999, price_max=999)
    exchange = Exchange(venue_market.GENESIS._replace(instruments=(terms,), limits=Limits()))
    for entry in FIRST_ENTRIES[:2]:
        exchange.apply(entry)
    gathering = [c.set_phase("A", Phase.AUCTION)]
    interest: dict[Side, Interest] = {}
    for side in Side:
        at_market: Interest = [(None, 5)] * chooser.choice((0, 1, 300))
        worse = -1 if side == Side.BUY else 1
        limited: Interest = [
            (worse * (n - 200), chooser.randint(2, 6))
            for n in range(chooser.choice((200, 300, 600)))
            for _ in range(chooser.choice((1, 1, 2)))
        ]
        interest[side] = at_market + limited
        market = {"ord_type": OrderType.MARKET, "time_in_force": TimeInForce.AT_AUCTION}
        gathering += [c.place_order("A", side, qty, None, **market) for _, qty in at_market]
        for price, qty in limited:
            more: dict[str, Any] = chooser.choice(({}, {}, {"hidden": True}, {"display_qty": 1}))
            gathering.append(c.place_order("A", side, qty, price, **more))
    ((_, _, _, _, told, *_),) = exchange.apply(
        Entry(3, START_NS, ((OPERATOR, 3, tuple(gathering)),))
    )
    assert not [event for event in told if event[0] == e.REJECTED]
    book = exchange.books["A"]
    due = auction_price(interest[Side.BUY], interest[Side.SELL], book.reference_price())
    assert indicative(book) == due


def test_nothing_else_touches_its_orders_until_it_is_over() -> None:
    market = Market(1)
    market.say(OPERATOR, c.set_phase("A", Phase.AUCTION))
    for _ in range(10):
        market.say(2, c.new_order("A", Side.BUY, 1, 1))
        market.say(4, c.new_order("A", Side.SELL, 1, 1))
    newest = market.exchange.last_order_id
    terms = market.exchange.books["A"].terms
    market.say(OPERATOR, c.set_phase("A", Phase.CONTINUOUS))
    for session_id, command in (
        (2, c.cancel_order(order_id=newest - 1)),
        (2, c.amend_order(order_id=newest - 1, order_qty=2)),
        (2, c.new_order("A", Side.BUY, 1, 1)),
        (OPERATOR, c.set_phase("A", Phase.HALTED)),
        (OPERATOR, c.call_auction("A", until_ns=START_NS + 1)),
        (OPERATOR, c.amend_instrument(terms._replace(qty_max=5))),
    ):
        trade, *_, refusal = market.say(session_id, command)
        assert trade[0] == e.AUCTION_TRADE
        assert (refusal[0], refusal[2]) in (
            (e.REJECTED, Reject.PHASE_FORBIDS),
            (e.CANCEL_REJECTED, Reject.PHASE_FORBIDS),
        )
    place = c.new_order("F", Side.BUY, 1, 1)
    _, *told = market.say(2, c.cancel_replace(place, order_id=newest - 1, or_place=True))
    assert [event[:3:2] for event in told] == [
        (e.CANCEL_REJECTED, Reject.PHASE_FORBIDS),
        (e.REJECTED, Reject.CANCEL_FAILED),
    ]
    assert [event[3:5] for event in market.say(2, c.mass_cancel())[1:]] == [(0, 1)]
    assert market.exchange.is_unfinished
    market.go_on()
    assert market.exchange.books["A"].is_empty()

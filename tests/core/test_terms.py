"""New terms of an instrument, and what was entered, held and counted under the old ones."""

from typing import Any

import pytest

from raftbook.core import commands as c
from raftbook.core import events as e
from raftbook.core.commands import Command, Entry
from raftbook.core.exchange import Genesis
from raftbook.core.instrument import InstrumentTerms
from raftbook.core.types import OrderType, Phase, Reject, Settlement, Side, TimeInForce
from tests.core.pair import Pair
from tests.core.venue_market import START_NS, switch_to

TERMS = InstrumentTerms(
    "X", "btc", "usd", "0.01", "1", 1_000, 0, 200, settlement=int(Settlement.FUNDED)
)
FUNDS = 1_000
GENESIS = Genesis(
    (TERMS,),
    (("op", True), ("buyer", False), ("seller", False)),
    currencies=(("usd", 2), ("btc", 0)),
    deposits=(("buyer", "usd", FUNDS), ("seller", "btc", 100)),
)
OPERATOR, BUYER, SELLER = 1, 2, 3
AT_MARKET: dict[str, Any] = {
    "ord_type": OrderType.MARKET,
    "time_in_force": TimeInForce.AT_AUCTION,
}
CALL, TRADE_ON = c.set_phase("X", Phase.AUCTION), c.set_phase("X", Phase.CONTINUOUS)


class Floor:
    """Engine, twin and ledger."""

    def __init__(self, engine_version: int = 4) -> None:
        self.pair = Pair(GENESIS)
        opened = [(c.NO_SESSION, 0, (c.open_session(name, "k"),)) for name, _ in GENESIS.accounts]
        self.pair.apply(Entry(1, START_NS, tuple(opened)))
        self.pair.apply(Entry(2, START_NS, (switch_to(engine_version),)))

    def say(self, session_id: int, *commands: Command) -> list[Any]:
        index = self.pair.engine.applied_index + 1
        told = self.pair.apply(Entry(index, START_NS, ((session_id, index, commands),)))
        self.pair.check()
        return [event for reply in told for event in reply[4]]

    def amend(self, **changes: Any) -> int:
        """0, or why not."""
        (event,) = self.say(OPERATOR, c.amend_instrument(TERMS._replace(**changes)))
        return int(event[2]) if event[0] == e.REJECTED else 0

    def trade(self, price: int) -> int:
        """One lot; the trade's id."""
        self.say(SELLER, c.new_order("X", Side.SELL, 1, price))
        told = self.say(BUYER, c.new_order("X", Side.BUY, 1, price))
        return int(next(event[2] for event in told if event[0] == e.TRADE))

    def usd(self, account: str) -> tuple[int, int]:
        """Available and held."""
        balance = self.pair.engine.accounts[account].balances["usd"]
        return balance.available, balance.held

    def highest_price(self) -> int:
        return self.pair.engine.books["X"].gathering_price()


def at_market(side: Side, qty: int = 10) -> Command:
    return c.place_order("X", side, qty, None, **AT_MARKET)


def to_limit(qty: int = 10) -> Command:
    return c.place_order("X", Side.BUY, qty, None, ord_type=OrderType.MARKET_TO_LIMIT)


# -- what an order for an auction holds ------------------------------------------------------------


@pytest.mark.parametrize("order", [at_market(Side.BUY), to_limit()])
@pytest.mark.parametrize("changes", [{"price_max": 50}, {"band_high": 50}])
@pytest.mark.parametrize("hidden", [0, 1])
def test_it_holds_for_an_offer_from_other_times(
    order: Command, changes: dict[str, int], hidden: int
) -> None:
    floor = Floor()
    floor.say(SELLER, c.place_order("X", Side.SELL, 10, 150, hidden=bool(hidden)))
    assert floor.amend(**changes) == 0
    (refused,) = floor.say(OPERATOR, CALL)[1:] or floor.say(BUYER, order)
    assert (refused[0], refused[2]) == (e.REJECTED, Reject.INSUFFICIENT_FUNDS)
    few = c.place_order("X", Side.BUY, 6, *order[6:7], **AT_MARKET)
    floor.say(BUYER, few)
    assert floor.usd("buyer") == (FUNDS - 6 * 150, 6 * 150)
    floor.say(OPERATOR, TRADE_ON)
    assert floor.usd("buyer") == (FUNDS - 6 * 150, 0)


def test_for_a_bid_from_other_times() -> None:
    floor = Floor()
    floor.say(BUYER, c.new_order("X", Side.BUY, 1, 150))
    floor.amend(price_max=50)
    floor.say(OPERATOR, CALL)
    assert floor.say(BUYER, at_market(Side.BUY, 6))[0][2] == Reject.INSUFFICIENT_FUNDS
    floor.say(BUYER, at_market(Side.BUY, 5))
    assert floor.usd("buyer") == (FUNDS - 6 * 150, 6 * 150)


def test_for_the_last_price() -> None:
    floor = Floor()
    floor.trade(150)
    floor.amend(price_max=50)
    floor.say(OPERATOR, CALL)
    floor.say(SELLER, at_market(Side.SELL))
    assert floor.say(BUYER, at_market(Side.BUY))[0][2] == Reject.INSUFFICIENT_FUNDS
    floor.say(BUYER, at_market(Side.BUY, 5))
    told = floor.say(OPERATOR, TRADE_ON)
    assert [event[3:5] for event in told if event[0] == e.AUCTION_TRADE] == [(150, 5)]
    assert floor.usd("buyer") == (FUNDS - 6 * 150, 0)


def test_for_the_reference_price() -> None:
    floor = Floor()
    floor.amend(price_max=50, reference_price=120)
    assert floor.highest_price() == 120


def test_never_less_than_nothing() -> None:
    floor = Floor()
    floor.amend(band_high=-50)
    floor.say(OPERATOR, CALL)
    floor.say(BUYER, at_market(Side.BUY))
    assert floor.usd("buyer") == (FUNDS, 0)


def test_what_it_holds_falls_as_it_trades_in_pages() -> None:
    floor = Floor()
    floor.say(SELLER, c.new_order("X", Side.SELL, 2, 150), c.new_order("X", Side.SELL, 2, 50))
    floor.amend(price_max=60)
    floor.say(OPERATOR, CALL)
    floor.say(BUYER, at_market(Side.BUY, 3))
    assert floor.usd("buyer") == (FUNDS - 450, 450)
    floor.say(OPERATOR, TRADE_ON)
    assert floor.usd("buyer") == (FUNDS - 450, 0)


@pytest.mark.parametrize("engine_version", [2, 3])
def test_before_engine_version_4_it_held_what_was_admitted(engine_version: int) -> None:
    floor = Floor(engine_version)
    floor.say(SELLER, c.new_order("X", Side.SELL, 10, 150))
    floor.amend(price_max=50)
    floor.say(OPERATOR, CALL)
    floor.say(BUYER, at_market(Side.BUY))
    assert floor.usd("buyer") == (FUNDS - 500, 500)


@pytest.mark.parametrize("order", [at_market(Side.BUY), at_market(Side.SELL), to_limit()])
def test_no_higher_price_comes_in_while_it_waits(order: Command) -> None:
    floor = Floor()
    assert floor.amend(price_max=50, band_high=40, reference_price=30) == 0
    floor.say(OPERATOR, CALL)
    floor.say(SELLER if order[2] == Side.SELL else BUYER, order)
    old = {"price_max": 50, "band_high": 40, "reference_price": 30}
    for changes in ({"band_high": 41}, {"band_high": None}, {"reference_price": 31}):
        assert floor.amend(**{**old, **changes}) == Reject.INSTRUMENT_NOT_EMPTY
    now = dict(old)
    for changes in ({"price_max": 60}, {"band_high": 39}, {"reference_price": None}):
        now |= changes
        assert floor.amend(**now) == 0
    assert floor.amend(**{**now, "reference_price": 1}) == Reject.INSTRUMENT_NOT_EMPTY


def test_before_engine_version_4_one_did() -> None:
    floor = Floor(3)
    assert floor.amend(price_max=50) == 0
    floor.say(OPERATOR, CALL)
    floor.say(BUYER, at_market(Side.BUY))
    assert floor.amend(price_max=60) == 0


def test_a_limit_order_for_the_auction_holds_for_its_own_price() -> None:
    floor = Floor()
    floor.amend(price_max=50)
    floor.say(OPERATOR, CALL)
    at_limit = {"time_in_force": TimeInForce.AT_AUCTION}
    floor.say(BUYER, c.place_order("X", Side.BUY, 1, 10, **at_limit))
    assert floor.amend() == 0


# -- other ticks and lots --------------------------------------------------------------------------


@pytest.mark.parametrize("changes", [{"tick_size": "1"}, {"lot_size": "2"}])
def test_what_was_counted_in_other_units_is_forgotten(changes: dict[str, str]) -> None:
    floor = Floor()
    trade_id = floor.trade(100)
    assert floor.say(OPERATOR, c.bust_trade("X", trade_id))[0][0] == e.TRADE_BUSTED
    last_id = floor.trade(100)
    book = floor.pair.engine.books["X"]
    assert floor.amend(**changes) == 0
    assert book.last_price is None and not book.busted
    assert not book.tape.trades() and not book.tape.candles(60_000_000_000)
    for each in (trade_id, last_id):
        told = floor.say(OPERATOR, c.bust_trade("X", each))
        assert told[0][2] == Reject.UNKNOWN_TRADE
    assert floor.trade(2) == last_id + 1


def test_what_stays_in_its_units_is_kept() -> None:
    floor = Floor()
    trade_id = floor.trade(100)
    assert floor.amend(price_max=150) == 0
    assert floor.pair.engine.books["X"].last_price == 100
    assert floor.say(OPERATOR, c.bust_trade("X", trade_id))[0][0] == e.TRADE_BUSTED


def test_before_engine_version_4_it_was_kept_in_any() -> None:
    floor = Floor(3)
    trade_id = floor.trade(100)
    assert floor.amend(tick_size="1") == 0
    assert floor.pair.engine.books["X"].last_price == 100
    assert floor.say(OPERATOR, c.bust_trade("X", trade_id))[0][0] == e.TRADE_BUSTED


def test_an_amend_holds_anew_for_what_an_auction_may_come_to() -> None:
    floor = Floor()
    floor.say(SELLER, c.new_order("X", Side.SELL, 10, 150, client_order_id="far"))
    floor.amend(price_max=50)
    floor.say(OPERATOR, CALL)
    order_id = floor.say(BUYER, at_market(Side.BUY, 5))[0][2][0]
    floor.say(SELLER, c.cancel_order(client_order_id="far"))
    assert floor.usd("buyer") == (FUNDS - 5 * 150, 5 * 150)
    floor.say(BUYER, c.amend_order(order_id=order_id, order_qty=6))
    assert floor.usd("buyer") == (FUNDS - 6 * 50, 6 * 50)
    floor.say(BUYER, c.amend_order(order_id=order_id, order_qty=2))
    assert floor.usd("buyer") == (FUNDS - 2 * 50, 2 * 50)

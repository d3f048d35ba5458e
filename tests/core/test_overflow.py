"""The largest numbers there are: every sum is exact, and whatever it grows to can be told and kept.

No order is worth more than 64 bits hold, which the listing of an instrument sees to. What is summed
over many orders has no bound: fees, candles, the depth of a level, balances on credit. Those go
through the codec as they do in a node: into a snapshot and out of it, and into an answer.
"""

from typing import Any

import pytest

from raftbook.client import AccountView, AuctionView, CandlesView, InstrumentSpec, OrderView
from raftbook.core import commands as c
from raftbook.core import events as e
from raftbook.core.book import Book
from raftbook.core.candles import WIDTHS_NS
from raftbook.core.commands import Command, Entry
from raftbook.core.exchange import Exchange, Genesis
from raftbook.core.instrument import FEE_MAX, InstrumentTerms
from raftbook.core.limits import Limits
from raftbook.core.snapshot import export_state, restore_state, state_digest
from raftbook.core.types import (
    INT64_MAX,
    OrderType,
    Phase,
    Reject,
    Settlement,
    Side,
    TimeInForce,
    TrailUnit,
)
from raftbook.gateway import account_queries, market_queries
from raftbook.wire.packing import pack, unpack
from tests.core.pair import Pair
from tests.core.venue_market import START_NS

PRICE = 2**31 - 1
QTY = INT64_MAX // 2 // PRICE
"""The largest order that settles: twice its worth is all that 64 bits hold."""
PLAIN = InstrumentTerms("P", "oil", "eur", "1", "1", INT64_MAX // PRICE, -PRICE, PRICE)
MONEY = InstrumentTerms(
    "M",
    "oil",
    "eur",
    "1",
    "1",
    QTY,
    1,
    PRICE,
    settlement=int(Settlement.CREDIT),
    maker_fee=FEE_MAX,
    taker_fee=FEE_MAX,
)
PENNY = InstrumentTerms("D", "oil", "eur", "1", "1", INT64_MAX, -1, 1)
"""So few prices that one order may have every lot that 64 bits count."""
GENESIS = Genesis(
    (PLAIN, MONEY, PENNY),
    (("op", True), ("a", False), ("b", False)),
    currencies=(("eur", 0), ("oil", 0)),
    deposits=(("a", "eur", INT64_MAX - 1),),
)
OPERATOR, ANNA, BEN = 1, 2, 3


class Market:
    """Engine, twin and ledger, with one session each for the operator, a and b."""

    def __init__(self, genesis: Genesis = GENESIS) -> None:
        self.genesis = genesis
        self.pair = Pair(genesis)
        opened = [(c.NO_SESSION, 0, (c.open_session(name, "k"),)) for name, _ in GENESIS.accounts]
        self.pair.apply(Entry(1, START_NS, tuple(opened)))
        self.seq = 0

    @property
    def engine(self) -> Exchange:
        return self.pair.engine

    def say(self, session_id: int, *commands: Command) -> list[e.Event]:
        """What came of commands in one entry."""
        self.seq += 1
        index = self.engine.applied_index + 1
        told = self.pair.apply(Entry(index, START_NS, ((session_id, self.seq, commands),)))
        self.pair.check()
        return [event for reply in told for event in reply[4]]

    def cross(self, symbol: str, qty: int, price: int) -> list[e.Event]:
        """The trades in which b sells to a."""
        sold = self.say(BEN, c.new_order(symbol, Side.SELL, qty, price))
        bought = self.say(ANNA, c.new_order(symbol, Side.BUY, qty, price))
        trades = [event for event in (*sold, *bought) if event[0] == e.TRADE]
        assert sum(trade[4] for trade in trades) == qty
        return trades

    def carried(self) -> Exchange:
        """The exchange that another node makes of this one's snapshot."""
        packed = pack(export_state(self.engine))
        exchange = restore_state(self.genesis, unpack(packed))
        assert state_digest(exchange) == state_digest(self.engine)
        assert pack(export_state(exchange)) == packed
        return exchange


def spec_of(book: Book) -> InstrumentSpec:
    return InstrumentSpec.from_wire({**book.terms._asdict(), "phase": book.phase})


def reason(events: list[e.Event]) -> int:
    ((kind, _, code, _),) = events
    assert kind == e.REJECTED
    return int(code)


def test_an_order_that_rested_before_others_terms_may_be_worth_more_than_64_bits_hold() -> None:
    market, low = Market(), PLAIN._replace(symbol="L", price_min=1, price_max=1, qty_max=2**62)
    high = low._replace(qty_max=2**60, price_max=4, reference_price=4)
    market.say(OPERATOR, c.create_instrument(low))
    market.say(BEN, c.new_order("L", Side.SELL, 2**62, 1))
    market.say(OPERATOR, c.amend_instrument(high), c.set_phase("L", Phase.AUCTION))
    market.say(ANNA, *[c.new_order("L", Side.BUY, 2**60, 4)] * 4)
    market.say(OPERATOR, c.set_phase("L", Phase.CONTINUOUS))
    order = market.engine.accounts["b"].orders[1]
    assert order.cum_notional == 2**64
    market.carried()
    bust = c.bust_trade("L", market.engine.books["L"].trade_id)
    market.say(OPERATOR, bust)
    market.carried()


# -- what 64 bits bound ---------------------------------------------------------------------------


@pytest.mark.parametrize(("low", "high"), [(-1, 1), (0, 7), (-49, 3)])
def test_an_order_may_be_worth_exactly_what_64_bits_hold(low: int, high: int) -> None:
    market = Market()
    largest = INT64_MAX // max(-low, high)
    assert largest * max(-low, high) == INT64_MAX
    terms = PENNY._replace(symbol="X", qty_max=largest, price_min=low, price_max=high)
    assert market.say(OPERATOR, c.list_instrument(terms))[0][0] == e.INSTRUMENT_CREATED
    more = terms._replace(symbol="Y", qty_max=largest + 1)
    assert reason(market.say(OPERATOR, c.list_instrument(more))) == Reject.MALFORMED
    # And with all of it as one trade.
    price = high if high >= -low else low
    (trade,) = market.cross("X", largest, price)
    assert trade[8] == trade[12] == largest * price
    assert abs(trade[8]) == INT64_MAX


def test_an_order_that_settles_may_be_worth_half_of_that() -> None:
    market = Market()
    half = INT64_MAX // 2
    terms = MONEY._replace(symbol="X", qty_max=half, price_max=1)
    assert market.say(OPERATOR, c.list_instrument(terms))[0][0] == e.INSTRUMENT_CREATED
    more = terms._replace(symbol="Y", qty_max=half + 1)
    assert reason(market.say(OPERATOR, c.list_instrument(more))) == Reject.OVERFLOW
    # A hold is the amount and the largest fee, half of it: that fits too.
    market.say(ANNA, c.new_order("X", Side.BUY, half, 1))
    assert market.engine.accounts["a"].balances["eur"].held == half + half // 2 + 1
    market.carried()


def test_a_currency_holds_what_64_bits_hold() -> None:
    market = Market()
    assert reason(market.say(OPERATOR, c.deposit("b", "eur", 2, ""))) == Reject.OVERFLOW
    assert market.say(OPERATOR, c.deposit("b", "eur", 1, ""))[0][0] == e.BALANCE_CHANGED
    assert reason(market.say(OPERATOR, c.deposit("a", "eur", 1, ""))) == Reject.OVERFLOW
    everything = c.withdraw("a", "eur", INT64_MAX - 1, "")
    assert market.say(OPERATOR, everything)[0][0] == e.BALANCE_CHANGED
    assert market.say(OPERATOR, c.deposit("b", "eur", INT64_MAX - 1, ""))[0][0] == e.BALANCE_CHANGED
    market.carried()


# -- what no bound keeps --------------------------------------------------------------------------


def test_fees_of_the_largest_orders() -> None:
    """An order remembers its fees in hundred-thousandths of a minor unit: up to 2**77 of them."""
    market = Market()
    (trade,) = market.cross("M", QTY, PRICE)
    assert trade[13] == trade[14] == -(-QTY * PRICE // 2)
    assert max(order.fee_units for order in market.engine.accounts["a"].closed) > 2**64
    market.carried()


def test_fees_of_an_order_that_is_half_filled_go_on_in_another_node() -> None:
    market = Market()
    market.say(ANNA, c.new_order("M", Side.BUY, QTY, PRICE))
    market.say(BEN, c.new_order("M", Side.SELL, QTY - 1, PRICE))
    other = market.carried()
    told = market.say(BEN, c.new_order("M", Side.SELL, 1, PRICE))
    index = other.applied_index + 1
    request = (BEN, market.seq, (c.new_order("M", Side.SELL, 1, PRICE),))
    (reply,) = other.apply(Entry(index, START_NS, (request,)))
    assert reply[4] == told
    assert export_state(other) == export_state(market.engine)


def test_candles_of_more_than_64_bits() -> None:
    """A market of satoshi-like lots passes 2**64 tick-lots on a busy day."""
    market = Market()
    for _ in range(3):
        market.cross("P", PLAIN.qty_max, PRICE)
        market.cross("D", PENNY.qty_max, -1)
    other = market.carried()
    for exchange in (market.engine, other):
        for width_ns in WIDTHS_NS:
            (candle,) = exchange.books["P"].tape.candles(width_ns)
            assert candle.notional == candle.taker_notional == 3 * PLAIN.qty_max * PRICE
            (candle,) = exchange.books["D"].tape.candles(width_ns)
            assert candle.qty == 3 * INT64_MAX
            assert candle.notional == -3 * INT64_MAX
    # They go on from where they stood.
    tape = other.books["D"].tape
    tape.gathered.extend(tape.trades())
    assert tape.candles(WIDTHS_NS[0])[0].qty == 6 * INT64_MAX
    book = market.engine.books["P"]
    told = unpack(pack({"symbol": "P", "applied_index": 1} | market_queries.candles(book, {})))
    view = CandlesView.from_wire(told, spec_of(book))
    assert view.candles[0].quote_qty == 3 * PLAIN.qty_max * PRICE


def test_balances_on_credit_beyond_64_bits() -> None:
    market = Market()
    for _ in range(5):
        market.cross("M", QTY, PRICE)
    available = market.engine.accounts["a"].balances["eur"].available
    assert available < -(2**63)
    assert market.engine.accounts["b"].balances["eur"].available > 2**62
    market.carried()
    told = unpack(pack(account_queries.account_view(market.engine, market.engine.accounts["a"])))
    view = AccountView.from_wire({**told, "applied_index": 1})
    assert {row.currency: row.available for row in view.balances}["eur"] == available
    # A transfer tells what is available then, and the venue remembers it.
    events = market.say(OPERATOR, c.withdraw("b", "eur", 1, "w"), c.deposit("a", "oil", 1, "d"))
    assert [event[0] for event in events] == [e.BALANCE_CHANGED] * 2
    other = market.carried()
    assert other.accounts["a"].transfers == market.engine.accounts["a"].transfers
    assert other.accounts["b"].transfers == market.engine.accounts["b"].transfers


def test_a_transfer_may_find_more_than_64_bits_available() -> None:
    market = Market()
    terms = MONEY._replace(symbol="X", maker_fee=0, taker_fee=0)
    market.say(OPERATOR, c.list_instrument(terms))
    for _ in range(9):
        market.cross("X", QTY, PRICE)
    (event,) = market.say(OPERATOR, c.withdraw("b", "eur", 1, "w"))
    assert event[5] == 9 * QTY * PRICE - 1 > 2**64
    assert int(unpack(pack(event))[5]) == event[5]
    other = market.carried()
    assert other.accounts["b"].transfers == {"w": ("eur", -1, event[5])}
    again = (OPERATOR, market.seq + 1, (c.withdraw("b", "eur", 1, "w"),))
    (reply,) = other.apply(Entry(other.applied_index + 1, START_NS, (again,)))
    assert reply[4] == [(*event[:-1], 1)]


@pytest.mark.parametrize("side", list(Side))
@pytest.mark.parametrize("settles", [False, True])
def test_a_stop_may_trail_farther_than_64_bits(side: Side, settles: bool) -> None:
    """The offset is at most 2**62: from a price near the end of 64 bits that leads beyond."""
    market = Market()
    high = INT64_MAX // 2 if settles else INT64_MAX
    terms = InstrumentTerms(
        "X", "oil", "eur", "1", "1", 1, 1 if settles else -INT64_MAX, high, settlement=int(settles)
    )
    market.say(OPERATOR, c.list_instrument(terms))
    market.cross("X", 1, high if side == Side.BUY or settles else -INT64_MAX)
    trails = c.place_order(
        "X",
        side,
        1,
        None,
        ord_type=OrderType.STOP,
        trail_unit=TrailUnit.TICKS,
        trail_offset=2**62,
    )
    (event,) = market.say(ANNA, trails)
    assert event[0] == e.ACCEPTED
    other = market.carried()
    stops = [exchange.books["X"].stops for exchange in (market.engine, other)]
    mine, carried = (next(iter(each)) for each in stops if each is not None)
    assert mine.special is not None and carried.special is not None
    assert carried.special.stop_price == mine.special.stop_price
    assert carried.held == mine.held
    told = unpack(pack(account_queries.orders({"open_only": True}, market.engine.accounts["a"])))
    view = OrderView.from_wire(told["orders"][0], {"X": spec_of(market.engine.books["X"])})
    assert (view.stop_price, view.held) == (mine.special.stop_price, mine.held)
    other.apply(Entry(other.applied_index + 1, START_NS, ()))


def test_money_orders_of_all_there_is() -> None:
    """An amount of money that is worth more than any order: it buys at most qty_max."""
    market = Market()
    market.say(BEN, c.new_order("M", Side.SELL, QTY, PRICE))
    spend = c.place_order(
        "M",
        Side.BUY,
        0,
        None,
        ord_type=OrderType.MARKET,
        time_in_force=TimeInForce.IOC,
        quote_qty=INT64_MAX,
    )
    told = market.say(ANNA, spend)
    assert [event[0] for event in told] == [e.ACCEPTED, e.TRADE]
    assert told[1][4] == QTY
    market.carried()


def test_levels_and_auctions_of_more_than_64_bits() -> None:
    market = Market()
    market.say(OPERATOR, c.set_phase("D", Phase.AUCTION))
    for session_id, side in ((ANNA, Side.BUY), (BEN, Side.SELL)):
        market.say(session_id, *(c.new_order("D", side, INT64_MAX, 1),) * (3 + side))
    book = market.engine.books["D"]
    told = unpack(pack(market_queries.levels(book.bids, 5)))
    assert int(told[0][1]) == book.bids.best.qty > 2**64  # type: ignore[union-attr]
    told = unpack(pack({"symbol": "D", "applied_index": 1} | market_queries.auction(book)))
    assert AuctionView.from_wire(told, spec_of(book)).volume > 2**64
    market.carried()
    events = market.say(OPERATOR, c.set_phase("D", Phase.CONTINUOUS))
    (uncrossed,) = (event for event in events if event[0] == e.UNCROSSED)
    assert uncrossed[4] > 2**64
    assert int(unpack(pack(uncrossed))[4]) == uncrossed[4]
    # What was said stands in the snapshot, to be said again.
    other = market.carried()
    again = (OPERATOR, market.seq, (c.set_phase("D", Phase.CONTINUOUS),))
    entry = Entry(other.applied_index + 1, START_NS, (again,))
    assert pack(other.apply(entry)) == pack(market.pair.engine.apply(entry))


def test_an_auction_of_more_than_64_bits_goes_on_in_another_node() -> None:
    market = Market(GENESIS._replace(limits=Limits(auction_page=1)))
    market.say(OPERATOR, c.set_phase("D", Phase.AUCTION))
    for session_id, side, count in ((ANNA, Side.BUY, 7), (BEN, Side.SELL, 5)):
        market.say(session_id, *(c.new_order("D", side, INT64_MAX, 1),) * count)
    market.say(OPERATOR, c.set_phase("D", Phase.CONTINUOUS))
    pages = 0
    while market.engine.books["D"].uncrossing is not None:
        pages += 1
        other = market.carried()
        while other.books["D"].uncrossing is not None:
            other.apply(Entry(other.applied_index + 1, START_NS, ()))
        market.pair.apply(Entry(market.engine.applied_index + 1, START_NS, ()))
        market.pair.check()
        assert pages < 20
    assert pages > 3
    assert state_digest(other) == state_digest(market.engine)


def test_buckets_of_the_largest_rates() -> None:
    market = Market()
    most: dict[str, Any] = {"order_qty_max": INT64_MAX, "order_notional_max": INT64_MAX}
    market.say(OPERATOR, c.set_account("a", orders_per_s=1_000_000, orders_burst=1_000_000, **most))
    market.say(ANNA, c.new_order("D", Side.BUY, INT64_MAX, 1))
    market.carried()

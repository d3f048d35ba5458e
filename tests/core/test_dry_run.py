"""What a dry run finds is what trading does: fill or kill, minimum quantities and quote amounts."""

import copy
import random
from collections import Counter
from collections.abc import Iterator
from functools import partial
from itertools import product
from typing import Any

import pytest

from raftbook.core import commands as c
from raftbook.core import events as e
from raftbook.core.commands import Command, Entry
from raftbook.core.events import Event
from raftbook.core.exchange import Exchange
from raftbook.core.room import Room
from raftbook.core.snapshot import export_state, restore_state
from raftbook.core.types import OrderType, Phase, Reject, SelfTradePrevention, Side, TimeInForce
from raftbook.core.walks import cost
from tests.core.flow import EFFORT
from tests.core.pair import Pair
from tests.core.venue_flow import random_entries
from tests.core.venue_market import FIRST_ENTRIES, GENESIS, LIMITS, PRICES, START_NS
from tests.core.venue_profiles import EVERYTHING, SETTLING, SLICING, Profile

SYMBOLS = ("A", "B", "Q", "F", "K")


class Asker:
    """Account "d", whose group has orders in the books, free of every limit in a copy of a market.

    Its orders are tried out one by one, each in a copy of its own.
    """

    def __init__(self, exchange: Exchange) -> None:
        self._time_ns = exchange.now_ns + 10**10
        market = restore_state(GENESIS, export_state(exchange))
        operator = self._say(market, c.NO_SESSION, 0, c.open_session("op", "dry"))[0][2]
        switches = [c.set_kill_switch(account=name, on=False) for name in ("", "d", "op")]
        limits = c.set_account(
            "d",
            enabled=True,
            group="g",
            open_orders_max=0,
            order_qty_max=0,
            order_notional_max=0,
            orders_per_s=0,
        )
        rich = [c.deposit("d", name, 10**6, f"dry-{name}") for name in ("eur", "usd", "oil")]
        phases = [c.set_phase(symbol, Phase.CONTINUOUS) for symbol in SYMBOLS]
        self._say(market, operator, 1, *switches, limits, *rich, *phases)
        self._session = self._say(market, c.NO_SESSION, 0, c.open_session("d", "dry"))[0][2]
        self._say(market, self._session, 1, c.mass_cancel())  # room for one more
        for _ in range(12):
            self._say(market, c.NO_SESSION, 0)  # pages and stops that go on
        self._value = export_state(market)

    def ask(self, command: Command) -> list[Event]:
        return self._say(restore_state(GENESIS, self._value), self._session, 2, command)

    def _say(self, market: Exchange, session_id: int, seq: int, *commands: Command) -> list[Event]:
        entry = Entry(market.applied_index + 1, self._time_ns, ((session_id, seq, commands),))
        return market.apply(entry)[-1][4]


def own_events(events: list[Event]) -> list[Event]:
    """Those of the order that was asked for, not of stops that it set off."""
    set_off = [place for place, event in enumerate(events) if event[0] == e.TRIGGERED]
    return events[: set_off[0]] if set_off else events


def trades(events: list[Event]) -> list[tuple[int, int, int]]:
    """(maker's order_id, price, qty) of each trade of the order itself."""
    return [
        (event[5][0], event[3], event[4]) for event in own_events(events) if event[0] == e.TRADE
    ]


def had_at_once(events: list[Event]) -> int:
    """Lots that traded before self-trade prevention first ended or shrank the order."""
    lots = 0
    goes_on = events[0][2][4][4] == SelfTradePrevention.CANCEL_OLDEST
    for event in own_events(events):
        if event[0] == e.TRADE:
            lots += event[4]
        elif not goes_on and (event[0] == e.RESTATED or Reject.SELF_TRADE in event[6:7]):
            break
    return lots


def ended_by(events: list[Event]) -> int:
    """Why the order expired, -1 if it did not."""
    order_id = events[0][2][0]
    reasons = [ev[6] for ev in own_events(events) if ev[0] == e.EXPIRED and ev[2][0] == order_id]
    return int(reasons[0]) if reasons else -1


def an_order(chooser: random.Random) -> dict[str, Any]:
    symbol = chooser.choice(SYMBOLS)
    is_market = chooser.random() < 0.3
    return {
        "symbol": symbol,
        "side": chooser.choice(list(Side)),
        "order_qty": chooser.randint(2 if symbol == "B" else 1, 5),
        "price": None if is_market else chooser.choice(PRICES[symbol]),
        "ord_type": OrderType.MARKET if is_market else OrderType.LIMIT,
        "self_trade_prevention": chooser.choice(list(SelfTradePrevention)),
    }


def askers(seed: int, profile: Profile) -> Iterator[Asker]:
    exchange = Exchange(GENESIS)
    for entry in random_entries(seed, 120, profile):
        exchange.apply(entry)
        if entry.index % 12 == 11:
            yield Asker(exchange)


@pytest.mark.parametrize("profile", [EVERYTHING, SLICING, SETTLING], ids=["all", "slices", "money"])
def test_fill_or_kill_fills_exactly_when_trading_would_fill(profile: Profile) -> None:
    chooser = random.Random(3)
    seen = Counter[int]()
    for seed in range(4 * EFFORT):
        for asker in askers(seed, profile):
            for _ in range(8):
                order = an_order(chooser)
                ioc = asker.ask(c.place_order(**order, time_in_force=TimeInForce.IOC))
                fok = asker.ask(c.place_order(**order, time_in_force=TimeInForce.FOK))
                if ioc[0][0] != e.ACCEPTED:
                    assert ioc[0][:3] == fok[0][:3], order
                    continue
                filled = sum(qty for *_, qty in trades(ioc)) == order["order_qty"]
                why = ended_by(fok)
                seen[why] += 1
                if why == -1:
                    assert filled and trades(fok) == trades(ioc), order
                else:
                    assert own_events(fok)[2:] == [] and trades(fok) == [], order
                    assert why == Reject.FILL_LIMIT or not filled, order
    assert {-1, Reject.FOK_CANNOT_FILL} <= set(seen), seen


@pytest.mark.parametrize("profile", [EVERYTHING, SLICING], ids=["all", "slices"])
def test_a_minimum_is_met_exactly_when_trading_would_meet_it(profile: Profile) -> None:
    chooser = random.Random(4)
    seen = Counter[bool]()
    for seed in range(4 * EFFORT):
        for asker in askers(seed, profile):
            for _ in range(8):
                order = an_order(chooser)
                if order["price"] is None:
                    continue
                least = chooser.randint(1, order["order_qty"])
                ioc = c.place_order(**order, time_in_force=TimeInForce.IOC)
                without = asker.ask(ioc)
                with_least = asker.ask((*ioc[:14], least, *ioc[15:]))
                if without[0][0] != e.ACCEPTED:
                    assert without[0][:3] == with_least[0][:3], order
                    continue
                why = ended_by(with_least)
                if why == Reject.FILL_LIMIT and not trades(with_least):
                    continue
                missed = why == Reject.MIN_QTY_NOT_MET
                seen[missed] += 1
                assert missed == (had_at_once(without) < least), (order, least, without)
                assert trades(with_least) == ([] if missed else trades(without)), order
    assert len(seen) == 2, seen


def test_a_quote_amount_buys_and_sells_exactly_the_lots_it_became() -> None:
    chooser = random.Random(5)
    seen = Counter[bool]()
    for seed in range(6 * EFFORT):
        for asker in askers(seed, SLICING):
            for _ in range(8):
                order = an_order(chooser) | {"symbol": chooser.choice("QF"), "price": None}
                order |= {"order_qty": 0, "ord_type": OrderType.MARKET}
                amount = chooser.randint(1, 30)
                command = c.place_order(**order, time_in_force=TimeInForce.IOC, quote_qty=amount)
                events = asker.ask(command)
                if events[0][0] != e.ACCEPTED:
                    assert events[0][2] in (Reject.INSTRUMENT_CLOSED, Reject.IOC_IN_AUCTION), events
                    continue
                lots = events[0][2][5]
                done = trades(events)
                spent = sum(price * qty for _, price, qty in done)
                seen[lots > 0] += 1
                assert spent <= amount, events
                if ended_by(events) != Reject.FILL_LIMIT:
                    assert sum(qty for *_, qty in done) == lots, events
    assert len(seen) == 2, seen


QUEUE = {
    "other": {"order_qty": 2},
    "other iceberg": {"order_qty": 4, "display_qty": 1},
    "own": {"order_qty": 2},
    "own iceberg": {"order_qty": 3, "display_qty": 2},
}
"""What may stand in a queue before a taker of account "a"; "other" is of account "b"."""
ROOMY = GENESIS._replace(limits=LIMITS._replace(fills_max=99))


class Queue:
    """Engine and twin with such a queue of sells at 1, and 2 more lots of "b" at 2 behind it."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        self._pair = Pair(ROOMY)
        for entry in FIRST_ENTRIES:
            self._pair.apply(entry)
        for number, name in enumerate((*names, "other")):
            price = 1 if number < len(names) else 2
            order = c.place_order("A", Side.SELL, price=price, **QUEUE[name])
            session_id = 2 if name.startswith("own") else 4
            self._pair.apply(Entry(number + 4, START_NS, ((session_id, number + 2, (order,)),)))
        self._value = export_state(self._pair.engine)

    def ask(self, order: Command) -> list[Event]:
        """What an order of "a" would bring about; of short queues the twin says the same."""
        entry = Entry(len(self.names) + 5, START_NS, ((2, 90, (order,)),))
        told: list[Event] = restore_state(ROOMY, self._value).apply(entry)[0][4]
        if len(self.names) < 3:
            assert told == copy.deepcopy(self._pair.twin).apply(entry)[0][4], (self.names, order)
        return told

    def costs(self, mode: SelfTradePrevention) -> list[int]:
        """What 0, 1, ... 6 lots would cost "a"."""
        market = restore_state(ROOMY, self._value)
        account, book = market.accounts["a"], market.books["A"]
        bound = book.bound_of(Side.BUY, 2)
        return [
            cost(account, mode, book.asks, bound=bound, qty=qty, orders_max=9, room=Room())
            for qty in range(7)
        ]


@pytest.mark.parametrize("mode", list(SelfTradePrevention))
@pytest.mark.parametrize("length", [1, 2, 3])
def test_every_short_queue_is_foreseen_as_it_trades(mode: SelfTradePrevention, length: int) -> None:
    """An iceberg stands behind an own order once its slice is gone: then the walk ends before it
    gives the next one. That took a simulated cluster to come upon."""
    buy = partial(c.place_order, "A", Side.BUY, price=2, self_trade_prevention=mode)
    for names in product(QUEUE, repeat=length):
        queue = Queue(names)
        most = queue.ask(buy(order_qty=6, time_in_force=TimeInForce.IOC))
        foreseen = queue.costs(mode)
        for qty in range(1, 7):
            ioc = queue.ask(buy(order_qty=qty, time_in_force=TimeInForce.IOC))
            fok = queue.ask(buy(order_qty=qty, time_in_force=TimeInForce.FOK))
            paid = sum(price * lots for _, price, lots in trades(ioc))
            assert foreseen[qty] == paid, (names, qty)
            enough = had_at_once(ioc) == qty
            assert trades(fok) == (trades(ioc) if enough else []), (names, qty)
            least = queue.ask(buy(order_qty=6, min_qty=qty, time_in_force=TimeInForce.IOC))
            enough = had_at_once(most) >= qty
            assert trades(least) == (trades(most) if enough else []), (names, qty)

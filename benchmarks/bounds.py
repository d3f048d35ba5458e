"""The dearest single things an exchange may be asked to do.

Every node applies each entry on its one thread, so nothing may take long beside the shortest
silence before an election (300 ms by default). The bounds that keep it so are in `core/limits.py`.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.flows import SYMBOL, funded_genesis, genesis
from raftbook.core import commands as c
from raftbook.core.commands import Command, Entry
from raftbook.core.exchange import Exchange, Genesis
from raftbook.core.limits import Limits
from raftbook.core.types import (
    OrderType,
    PegReference,
    Phase,
    SelfTradePrevention,
    Side,
    TimeInForce,
    TrailUnit,
    TriggerBy,
)
from raftbook.core.versions import ENGINE_VERSION

BATCH = 1_000
MOST = 4_096
"""Commands of the largest request, and of an entry."""
ROOMY = Limits(open_orders_max=2_000_000)


class Desk:
    """An exchange with every feature in force, and one session that talks to it."""

    def __init__(self, limits: Limits = ROOMY, venue: Genesis | None = None) -> None:
        self.exchange = Exchange((venue or genesis())._replace(limits=limits))
        self.index = 0
        self.seq = 0
        self.time_ns = 10**18
        self.entry(((0, 0, (c.set_engine_version(ENGINE_VERSION, "bench"),)),))
        self.entry(((0, 1, (c.open_session("bench", "bench"),)),))

    def entry(self, requests: Any) -> list[Any]:
        """Apply one entry."""
        self.index += 1
        return self.exchange.apply(Entry(self.index, self.time_ns, requests))

    def say(self, *commands: Command) -> list[Any]:
        """One request in an entry of its own."""
        self.seq += 1
        return self.entry(((1, self.seq, commands),))

    def say_all(self, commands: Sequence[Command]) -> None:
        """Many commands, a thousand to a request."""
        for start in range(0, len(commands), BATCH):
            self.say(*commands[start : start + BATCH])

    def milliseconds(self, call: Callable[[], object]) -> float:
        """Processor time that a call takes: what else the machine does shows less in it."""
        gc.collect()
        start = time.process_time()
        call()
        return round((time.process_time() - start) * 1_000, 1)


def run() -> dict[str, Any]:
    """Milliseconds of each of the dearest commands."""
    return {
        "milliseconds": {
            "a sweep of fills_max resting orders": _sweep(),
            "the same, where money is held": _sweep(funded_genesis()),
            "the same of half as many, and a stop that it fires, which sweeps as many": _stops(),
            "a sweep with money of as many pairs with trailing stops as it may meet": _pairs(),
            "a page of a mass cancel": _mass_cancel(),
            "a request of 4,096 mass cancels, which finds nothing": _fruitless(),
            "4,096 sessions that are refused at sessions_max": _refused_sessions(),
            "a page of expiries": _expiries(),
            "triggers_max stops that fire one after another": _cascade(),
            "a request of 20 orders that would each fire so many, in 20 instruments": _cascades(),
            "an auction of 20,000 orders at 300 prices": _auction(10_000, 300),
            "the dearest page of an auction of 100,000 orders": _auction(50_000, 300),
            "the same at 20,000 prices": _auction(50_000, 20_000),
            "an auction of 200,000 orders, each at its own price, that all trade": _auction_deep(),
            "the same, which finds no trade": _auction_deep(crosses=False),
            "pegs_page pegged orders that move": _pegs(),
            "FOK: a dry run over 100,000 orders": _dry_run(),
            "a request of 4,096 FOK orders before 5,000 price levels": _dry_runs(),
            "the same, an iceberg at each of them": _dry_runs(c.place_order, display_qty=1),
            "a request of 4,096 that each ask for fills_max slices of icebergs": _slices(),
            "a request of 4,096 of eight lots each, for slices of one iceberg": _slices(8),
            "those, where money is held": _slices(8, funded_genesis()),
            "a trade past the best price of stops_max trailing stops": _trailing(),
            "a request of 4,096 orders under hidden_max hidden levels": _hidden(),
            "a request of 4,096 amends where quotes are behind hidden_max hidden orders": _quoted(),
            "a request of 4,096 that each move what pegs_max pegged orders follow": _flips(),
        },
    }


def _sweep(venue: Genesis | None = None) -> float:
    desk = Desk(venue=venue)
    count = desk.exchange.limits.fills_max
    desk.say_all([c.new_order(SYMBOL, Side.SELL, 1, 10_000 + n % 500) for n in range(count + 10)])
    ioc = c.new_order(SYMBOL, Side.BUY, count + 10, 20_000, time_in_force=TimeInForce.IOC)
    return desk.milliseconds(lambda: desk.say(ioc))


def _pairs() -> float:
    """Each trade ends a stop, which is found among all of them, and gives back money twice."""
    desk = Desk(venue=funded_genesis())
    desk.say(c.new_order(SYMBOL, Side.SELL, 1, 9_000), c.new_order(SYMBOL, Side.BUY, 1, 9_000))
    trailing = {"trail_unit": TrailUnit.TICKS, "trail_offset": 5_000, "stop_price": None}
    count = desk.exchange.limits.fills_max
    pairs = [
        c.place_oco(SYMBOL, Side.SELL, 1, price=10_000 + n % 500, **trailing) for n in range(count)
    ]
    desk.say_all(pairs)
    ioc = c.new_order(SYMBOL, Side.BUY, count, 20_000, time_in_force=TimeInForce.IOC)
    return desk.milliseconds(lambda: desk.say(ioc))


def _stops() -> float:
    """They fire while half of what may be met in the entry is left."""
    desk = Desk(venue=funded_genesis())
    half = desk.exchange.limits.fills_max // 2
    desk.say_all([c.new_order(SYMBOL, Side.SELL, 1, 10_000 + n % 500) for n in range(6 * half)])
    stop = {"ord_type": OrderType.STOP, "stop_price": 10_000}
    desk.say(*[c.place_order(SYMBOL, Side.BUY, half, None, **stop)] * 4)
    return desk.milliseconds(lambda: desk.say(c.new_order(SYMBOL, Side.BUY, half, 20_000)))


def _mass_cancel() -> float:
    desk = Desk()
    desk.say_all([c.new_order(SYMBOL, Side.SELL, 1, 10_000 + n % 500) for n in range(100_000)])
    return desk.milliseconds(lambda: desk.say(c.mass_cancel()))


def _fruitless() -> float:
    """Among 100,000 own orders."""
    desk = Desk()
    desk.say_all([c.new_order(SYMBOL, Side.SELL, 1, 10_000 + n % 500) for n in range(100_000)])
    cancels = [c.mass_cancel(symbol=SYMBOL, side=Side.BUY)] * MOST
    return desk.milliseconds(lambda: desk.say(*cancels))


def _refused_sessions() -> float:
    limits = Limits(sessions_per_account_max=Limits().sessions_max)
    desk = Desk(limits)
    desk.entry(((0, 2, (c.open_session("bench", ""),) * (limits.sessions_max - 1)),))
    more = (c.open_session("bench", ""),) * MOST
    return desk.milliseconds(lambda: desk.entry(((0, 3, more),)))


def _expiries() -> float:
    desk = Desk()
    end_ns = desk.time_ns + 10**9
    order = c.place_order(
        SYMBOL, Side.SELL, 1, 10_000, time_in_force=TimeInForce.GTD, expire_time_ns=end_ns
    )
    desk.say_all([order] * desk.exchange.limits.expiries_page)
    desk.time_ns = end_ns
    return desk.milliseconds(lambda: desk.entry(()))


def _cascade() -> float:
    desk = Desk()
    count = desk.exchange.limits.triggers_max
    desk.say_all([c.new_order(SYMBOL, Side.SELL, 1, 10_000 + n) for n in range(count + 2)])
    stops = [
        c.place_order(SYMBOL, Side.BUY, 1, None, ord_type=OrderType.STOP, stop_price=10_000 + n)
        for n in range(count)
    ]
    desk.say_all(stops)
    return desk.milliseconds(lambda: desk.say(c.new_order(SYMBOL, Side.BUY, 1, 10_000)))


def _cascades(instruments: int = 20) -> float:
    desk = Desk()
    symbols = [f"{SYMBOL}{n}" for n in range(instruments)]
    terms = genesis().instruments[0]
    desk.say(*[c.list_instrument(terms._replace(symbol=each)) for each in symbols])
    stop = {"ord_type": OrderType.STOP, "stop_price": 10_000}
    for each in symbols:
        count = desk.exchange.limits.triggers_max
        desk.say(*[c.place_order(each, Side.BUY, 1, None, **stop)] * count)
    desk.say(*[c.new_order(each, Side.SELL, 1, 10_000) for each in symbols])
    touches = [c.new_order(each, Side.BUY, 1, 10_000) for each in symbols]
    return desk.milliseconds(lambda: desk.say(*touches))


def _auction_deep(*, crosses: bool = True) -> float:
    """The dearest of the entries that an auction takes in which each order stands alone."""
    desk, each = Desk(), 100_000
    desk.say(c.set_phase(SYMBOL, Phase.AUCTION))
    buy, sell = (400_000, 200_000) if crosses else (200_000, 400_000)
    desk.say_all([c.new_order(SYMBOL, Side.BUY, 1, buy - n) for n in range(each)])
    desk.say_all([c.new_order(SYMBOL, Side.SELL, 1, sell + n) for n in range(each)])
    return _dearest(desk, c.set_phase(SYMBOL, Phase.CONTINUOUS))


def _auction(pairs: int, prices: int) -> float:
    """The dearest of the entries that an auction takes."""
    desk = Desk()
    desk.say(c.set_phase(SYMBOL, Phase.AUCTION))
    orders = [
        c.new_order(SYMBOL, side, 1 + n % 7, 10_000 + n % prices)
        for n in range(pairs)
        for side in (Side.BUY, Side.SELL)
    ]
    desk.say_all(orders)
    return _dearest(desk, c.set_phase(SYMBOL, Phase.CONTINUOUS))


def _dearest(desk: Desk, command: Command) -> float:
    """Of the entries that a command takes."""
    dearest = desk.milliseconds(lambda: desk.say(command))
    while desk.exchange.is_unfinished:
        dearest = max(dearest, desk.milliseconds(lambda: desk.entry(())))
    return dearest


def _pegs() -> float:
    desk = Desk()
    desk.say(c.new_order(SYMBOL, Side.BUY, 1, 10_000), c.new_order(SYMBOL, Side.SELL, 1, 20_000))
    count = desk.exchange.limits.pegs_page
    pegs = [c.place_peg(SYMBOL, Side.BUY, 1, PegReference.PRIMARY, offset=-n) for n in range(count)]
    desk.say_all(pegs[: count // 2])
    desk.say_all(pegs[count // 2 :])
    return desk.milliseconds(lambda: desk.say(c.new_order(SYMBOL, Side.BUY, 1, 15_000)))


def _dry_run() -> float:
    desk = Desk()
    desk.say_all([c.new_order(SYMBOL, Side.SELL, 1, 10_000 + n % 500) for n in range(100_000)])
    fok = c.new_order(SYMBOL, Side.BUY, 2**30, 20_000, time_in_force=TimeInForce.FOK)
    return desk.milliseconds(lambda: desk.say(fok))


def _slices(qty: int = ROOMY.fills_max, venue: Genesis | None = None) -> float:
    """They cost nobody an order, so a sweep can be asked for again and again."""
    desk = Desk(venue=venue)
    desk.say(c.place_order(SYMBOL, Side.SELL, 100_000, 10_000, display_qty=1))
    take = c.new_order(SYMBOL, Side.BUY, qty, 10_000, time_in_force=TimeInForce.IOC)
    spent = desk.milliseconds(lambda: desk.say(*[take] * MOST))
    assert desk.exchange.books[SYMBOL].trade_id > desk.exchange.limits.fills_max
    return spent


def _dry_runs(order: Callable[..., Command] = c.new_order, **special: int) -> float:
    """Each would look at every order, since it keeps from its own."""
    desk = Desk()
    count = desk.exchange.limits.fills_max // 2 - 10
    qty = 2 if special else 1
    desk.say_all([order(SYMBOL, Side.SELL, qty, 10_000 + n, **special) for n in range(count)])
    fok = c.new_order(
        *(SYMBOL, Side.BUY, 2**30, 10_000 + count),
        time_in_force=TimeInForce.FOK,
        self_trade_prevention=SelfTradePrevention.CANCEL_OLDEST,
    )
    return desk.milliseconds(lambda: desk.say(*[fok] * MOST))


def _trailing() -> float:
    """The dearest of the trades of a market that rises: the first brings the stops together."""
    desk = Desk()
    desk.say(c.new_order(SYMBOL, Side.SELL, 1, 10_000), c.new_order(SYMBOL, Side.BUY, 1, 10_000))
    stop = c.place_order(
        SYMBOL,
        Side.SELL,
        1,
        None,
        ord_type=OrderType.STOP,
        trail_unit=TrailUnit.TICKS,
        trail_offset=5_000,
    )
    desk.say_all([stop] * desk.exchange.limits.stops_max)
    trades = [
        (c.new_order(SYMBOL, Side.SELL, 1, price), c.new_order(SYMBOL, Side.BUY, 1, price))
        for price in range(10_001, 10_101)
    ]
    return max([desk.milliseconds(lambda each=each: desk.say(*each)) for each in trades])


def _hidden() -> float:
    desk = Desk()
    count = desk.exchange.limits.hidden_max
    desk.say_all(
        [c.place_order(SYMBOL, Side.BUY, 1, 10_000 + n, hidden=True) for n in range(count)]
    )
    desk.say(c.new_order(SYMBOL, Side.SELL, 1, 100_000))
    stop = c.place_order(
        SYMBOL,
        Side.BUY,
        1,
        None,
        ord_type=OrderType.STOP,
        stop_price=200_000,
        trigger_by=TriggerBy.MID,
    )
    desk.say(stop)
    orders = [c.new_order(SYMBOL, Side.BUY, 1, 8_000 + n) for n in range(MOST)]
    return desk.milliseconds(lambda: desk.say(*orders))


def _quoted() -> float:
    """Nothing moves, but who follows quotes asks for the best one after each."""
    desk = Desk()
    count = desk.exchange.limits.hidden_max // 2
    hidden = [c.place_order(SYMBOL, Side.BUY, 1, 10_000 + n, hidden=True) for n in range(count)]
    hidden += [c.place_order(SYMBOL, Side.SELL, 1, 30_000 - n, hidden=True) for n in range(count)]
    desk.say_all(hidden)
    desk.say(
        c.new_order(SYMBOL, Side.BUY, 2**20, 9_000, client_order_id="own"),
        c.new_order(SYMBOL, Side.SELL, 1, 40_000),
        c.place_peg(SYMBOL, Side.BUY, 1, PegReference.PRIMARY, limit_price=8_000),
        c.place_order(
            *(SYMBOL, Side.BUY, 1, None),
            ord_type=OrderType.STOP,
            stop_price=200_000,
            trigger_by=TriggerBy.MID,
        ),
    )
    smaller = [
        c.amend_order(client_order_id="own", order_qty=2**20 - n) for n in range(1, MOST + 1)
    ]
    return desk.milliseconds(lambda: desk.say(*smaller))


def _flips() -> float:
    """They keep their price, at their limit, but each has to be looked at."""
    desk = Desk()
    desk.say(c.new_order(SYMBOL, Side.BUY, 1, 10_000), c.new_order(SYMBOL, Side.SELL, 1, 20_000))
    peg = c.place_peg(SYMBOL, Side.BUY, 1, PegReference.PRIMARY, limit_price=9_000)
    desk.say_all([peg] * desk.exchange.limits.pegs_max)
    flips: list[Command] = []
    for name in map(str, range(MOST // 2)):
        flips.append(c.new_order(SYMBOL, Side.BUY, 1, 11_000, client_order_id=name))
        flips.append(c.cancel_order(client_order_id=name))
    return desk.milliseconds(lambda: desk.say(*flips))

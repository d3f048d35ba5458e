"""A market under engine version 2 in which everything public happens, and often at one price.

Icebergs, calls and auctions, amends, stops, pairs, self-trade prevention, busted trades, and
instruments that go and come again under their symbol.
"""

import random
from typing import Any

from raftbook.core import commands as c
from raftbook.core.commands import Command, Entry, Request
from raftbook.core.exchange import Exchange, Genesis
from raftbook.core.instrument import InstrumentTerms
from raftbook.core.limits import Limits
from raftbook.core.types import (
    OrderType,
    PegReference,
    Phase,
    PostOnly,
    SelfTradePrevention,
    Side,
    TimeInForce,
    TriggerBy,
)

FUNDED = InstrumentTerms(
    "A", "oil", "usd", "0.01", "1", 50, 1, 30, settlement=1, maker_fee=100, taker_fee=200
)
PLAIN = InstrumentTerms("B", "gas", "usd", "1", "1", 50, -9, 9)
GENESIS = Genesis(
    (FUNDED, PLAIN),
    (("op", True), ("a", False), ("b", False)),
    Limits(
        trades_kept=50, fills_max=12, expiries_page=3, cancel_page=4, auction_page=4, pegs_page=3
    ),
    currencies=(("oil", 0), ("usd", 2)),
)
OPENING: tuple[Request, ...] = (
    (0, 0, (c.set_engine_version(2, "x"),)),
    *((0, 0, (c.open_session(name, "k"),)) for name in ("op", "a", "b")),
)
PRICES = {"A": (9, 10, 11, 12), "B": (-1, 0, 1, 2)}


class CompleteMarket:
    """An exchange and its next entries, the same for a seed."""

    def __init__(self, seed: int) -> None:
        self.exchange = Exchange(GENESIS)
        self.rng = random.Random(seed)
        self.time_ns = 10**18
        self._seq = 0

    def opening(self) -> Entry:
        """The entry that everything begins with."""
        return Entry(1, self.time_ns, OPENING)

    def next_entry(self) -> Entry:
        """One to three requests of one or two commands."""
        rng = self.rng
        self.time_ns += rng.choice((1, 1, 1, 10**9, 10**10))
        requests = []
        for _ in range(rng.choice((1, 1, 2, 3))):
            self._seq += 1
            session = rng.choice((1, 2, 2, 2, 3, 3, 3))
            make = self._admin if session == 1 else self._trade
            commands = [each for _ in range(rng.choice((1, 1, 2))) for each in make()]
            requests.append((session, self._seq, tuple(commands)))
        index = self.exchange.applied_index + rng.choice((1, 1, 2))
        return Entry(index, self.time_ns, tuple(requests))

    def _trade(self) -> list[Command]:
        rng = self.rng
        symbol = rng.choice(("A", "A", "B"))
        order_id = max(1, self.exchange.last_order_id - rng.randrange(12))
        sort = rng.random()
        if sort < 0.12:
            return [c.cancel_order(order_id=order_id)]
        if sort < 0.32:
            return [
                c.replace_order(
                    order_id=order_id,
                    order_qty=rng.choice((None, 1, 3, 5, 9)),
                    price=rng.choice((None, None, *PRICES[symbol])),
                    display_qty=rng.choice((None, None, 1, 2, 3)),
                )
            ]
        if sort < 0.36:
            return [c.mass_cancel(symbol=symbol, side=rng.choice((Side.BUY, None)))]
        if sort < 0.42:
            low, *_, high = PRICES[symbol]
            pair = c.place_oco(symbol, Side.SELL, 3, price=high, stop_price=low)
            first = self._order(symbol)
            pending = rng.choice((pair, c.place_ouo(pair), c.new_order(symbol, Side.SELL, 2, low)))
            return [rng.choice((pair, c.place_ouo(pair), c.place_oto(first, pending)))]
        if sort < 0.46:
            return [c.cancel_replace(self._order(symbol), order_id=order_id, or_place=True)]
        if sort < 0.55:
            return [self._peg(symbol)]
        return [self._order(symbol)]

    def _peg(self, symbol: str) -> Command:
        rng = self.rng
        return c.place_peg(
            symbol,
            rng.choice((Side.BUY, Side.SELL)),
            rng.randint(1, 5),
            rng.choice(list(PegReference)),
            offset=rng.choice((0, 0, -1, 1)),
            limit_price=rng.choice(PRICES[symbol]),
        )

    def _order(self, symbol: str) -> Command:
        rng = self.rng
        sorts = (
            *("gtc", "gtc", "iceberg", "iceberg", "hidden", "hidden"),
            *("ioc", "stop", "auction", "other", "to_limit"),
        )
        sort = rng.choice(sorts)
        qty = rng.randint(1, 9)
        more: dict[str, Any] = {"self_trade_prevention": rng.choice(list(SelfTradePrevention))}
        price: int | None = rng.choice(PRICES[symbol])
        if sort == "iceberg":
            qty += 2
            more["display_qty"] = rng.randint(1, min(3, qty - 1))
        elif sort == "hidden":
            more["hidden"] = True
        elif sort == "ioc":
            more["time_in_force"] = TimeInForce.IOC
        elif sort == "stop":
            more |= {"ord_type": OrderType.STOP_LIMIT, "stop_price": rng.choice(PRICES[symbol])}
            more["trigger_by"] = rng.choice(list(TriggerBy))
        elif sort == "auction":
            more["time_in_force"] = TimeInForce.AT_AUCTION
            if rng.random() < 0.4:
                price, more["ord_type"] = None, OrderType.MARKET
        elif sort == "to_limit":
            price, more["ord_type"] = None, OrderType.MARKET_TO_LIMIT
        elif sort == "other":
            more["time_in_force"] = rng.choice((TimeInForce.DAY, TimeInForce.GTD))
            if more["time_in_force"] == TimeInForce.GTD:
                more["expire_time_ns"] = self.time_ns + 2 * 10**9
            more["post_only"] = rng.choice(list(PostOnly))
        return c.place_order(symbol, rng.choice((Side.BUY, Side.SELL)), qty, price, **more)

    def _admin(self) -> list[Command]:
        rng = self.rng
        symbol = rng.choice(("A", "B"))
        if symbol not in self.exchange.books:
            return [c.list_instrument(PLAIN, rng.choice((Phase.CONTINUOUS, Phase.PRE_OPEN)))]
        phase = self.exchange.books[symbol].phase
        if phase != Phase.CONTINUOUS and rng.random() < 0.5:
            return [c.set_phase(symbol, Phase.CONTINUOUS)]
        sort = rng.choice(("call", "call", "halt", "bust", "amend", "roll", "end", "end_all"))
        if sort == "call":
            return [c.set_phase(symbol, rng.choice((Phase.AUCTION, Phase.PRE_OPEN)))]
        if sort == "halt":
            return [c.set_phase(symbol, Phase.HALTED), c.set_phase(symbol, Phase.CONTINUOUS)]
        if sort == "bust":
            return [c.bust_trade(symbol, rng.randint(1, 40))]
        if sort == "amend":
            terms = self.exchange.books[symbol].terms
            return [c.amend_instrument(terms._replace(qty_max=rng.randint(40, 60)))]
        if sort == "roll":
            return [c.roll_day()]
        ending = [
            c.mass_cancel(account="*", symbol="B"),
            c.mass_cancel(account="*", symbol="B"),
            c.mass_cancel(account="*", symbol="B"),
            c.set_phase("B", Phase.CLOSED),
            c.delete_instrument("B"),
        ]
        return [*ending, c.list_instrument(PLAIN)] if sort == "end_all" else ending

"""What is traded in a run: two plain instruments, or a whole venue with every kind of everything.

Owns the genesis of a run and the drawing of requests. The plain market says what engine version 1
knows, so that its cluster goes over to a newer version on the way; the mixed one is that of
`tests/core/venue_market.py`, where money settles, stops sleep, calls gather and days end.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, Final, Protocol

from raftbook.client.values import RequestReply
from raftbook.core.commands import Command, amend_order, cancel_order, new_order
from raftbook.core.exchange import Genesis
from raftbook.core.instrument import InstrumentTerms
from raftbook.core.limits import Limits
from raftbook.core.types import OrderType, SelfTradePrevention, Side, TimeInForce
from tests.core import venue_market
from tests.core.venue_profiles import PROFILES
from tests.core.venue_trader import VenueTrader, names_in
from tests.sim.clockwork import Clockwork
from tests.sim.node import EPOCH_S

UNIT_MS: Final = 200
"""A short while in a mixed market: orders, calls and leases end after some of these."""
COMMANDS_MAX: Final = 12
"""Of a mixed request: more do not fit the smallest entry."""

Drawn = tuple[tuple[Command, ...], tuple[str, ...]]
"""Commands, and the client_order_ids that only they enter."""


class Trader(Protocol):
    """What one client asks for."""

    def draw(self) -> Drawn:
        """The next request."""

    def hear(self, reply: RequestReply) -> None:
        """The reply to one."""


class Market(Protocol):
    """What a run is about.

    Attributes:
        symbols: what reads ask for.
        accounts: of the clients, in turn.
    """

    genesis: Genesis
    symbols: Sequence[str]
    accounts: Sequence[str]

    def trader(self, name: str, account: str, rng: random.Random, orders_max: int) -> Trader:
        """One client's."""


# -- plain -----------------------------------------------------------------------------------------


class PlainMarket:
    """Two instruments, limit and market orders, cancels and amends."""

    def __init__(self, limits: Limits) -> None:
        self.symbols = ("OIL", "GAS")
        self.accounts = ("bob", "ann")
        self.genesis = Genesis(
            tuple(
                InstrumentTerms(each, each.lower(), "eur", "0.01", "1", 1_000, 1, 1_000)
                for each in self.symbols
            ),
            (("ann", True), ("bob", False)),
            limits,
        )

    def trader(self, name: str, account: str, rng: random.Random, orders_max: int) -> Trader:
        return _PlainTrader(self.symbols, name, rng, orders_max)


class _PlainTrader:
    def __init__(
        self, symbols: Sequence[str], name: str, rng: random.Random, orders_max: int
    ) -> None:
        self._symbols, self._name, self._rng, self._orders_max = symbols, name, rng, orders_max
        self._names = 0

    def draw(self) -> Drawn:
        rng = self._rng
        commands: list[Command] = []
        names: list[str] = []
        for _ in range(rng.randint(1, self._orders_max)):
            chance = rng.random()
            if chance < 0.8 or self._names < 5:
                commands.append(self._order())
                names.append(commands[-1][7])
            elif chance < 0.93:
                commands.append(cancel_order(client_order_id=self._own_name()))
            else:
                qty, price = rng.randint(1, 20), rng.randint(90, 110)
                name = self._own_name()
                commands.append(amend_order(client_order_id=name, order_qty=qty, price=price))
        return tuple(commands), tuple(names)

    def hear(self, reply: RequestReply) -> None:
        """It names its orders itself: nothing is to be learned."""

    def _order(self) -> Command:
        rng = self._rng
        self._names += 1
        is_market = rng.random() < 0.05
        force = rng.choice((TimeInForce.GTC,) * 5 + (TimeInForce.IOC, TimeInForce.FOK))
        return new_order(
            rng.choice(self._symbols),
            rng.choice((Side.BUY, Side.SELL)),
            rng.randint(1, 10),
            None if is_market else rng.randint(90, 110),
            client_order_id=f"{self._name}-{self._names}",
            ord_type=OrderType.MARKET if is_market else OrderType.LIMIT,
            time_in_force=TimeInForce.IOC if is_market else force,
            self_trade_prevention=rng.choice(tuple(SelfTradePrevention)),
        )

    def _own_name(self) -> str:
        return f"{self._name}-{self._rng.randint(max(1, self._names - 30), self._names)}"


# -- mixed -----------------------------------------------------------------------------------------


class MixedMarket:
    """The whole venue; a seed says what is talked of most.

    Args:
        limits: of sessions and what they remember; the others are the venue's, which are small.
    """

    def __init__(self, seed: int, limits: Limits, clockwork: Clockwork) -> None:
        rng = random.Random(f"{seed}/market")
        self._profile = PROFILES[rng.choice(("everything",) * 6 + tuple(PROFILES))]
        self._clockwork = clockwork
        self._trades: dict[str, int] = {}
        self.symbols = (*"ABQFKABQFKC",)
        self.accounts = ("op", "a", "b", "d", "f")
        venue = venue_market.GENESIS
        self.genesis = venue._replace(
            instruments=tuple(
                terms._replace(volatility_call_ms=terms.volatility_call_ms * UNIT_MS)
                for terms in venue.instruments
            ),
            limits=venue.limits._replace(
                sessions_max=limits.sessions_max,
                sessions_per_account_max=limits.sessions_per_account_max,
                session_idle_ns=limits.session_idle_ns,
                session_recent_ns=limits.session_recent_ns,
                reply_window=limits.reply_window,
                closed_orders_max=limits.closed_orders_max,
                open_orders_max=30,
                book_orders_max=30,
            ),
        )

    def trader(self, name: str, account: str, rng: random.Random, orders_max: int) -> Trader:
        def choose(options: Sequence[Any]) -> Any:
            return options[rng.randrange(len(options))]

        trader = VenueTrader(
            account,
            name,
            choose,
            clock_ns=lambda: int((EPOCH_S + self._clockwork.now) * 1e9),
            unit_ns=UNIT_MS * 1_000_000,
            trades=self._trades,
            profile=self._profile,
        )
        return _MixedTrader(trader, rng, min(orders_max, COMMANDS_MAX))


class _MixedTrader:
    def __init__(self, trader: VenueTrader, rng: random.Random, orders_max: int) -> None:
        self._trader, self._rng, self._orders_max = trader, rng, orders_max

    def draw(self) -> Drawn:
        trader = self._trader
        commands = trader.commands(self._rng.randint(1, self._orders_max))
        names = (name for command in commands for name in names_in(command))
        return commands, tuple(name for name in names if trader.is_fresh(name))

    def hear(self, reply: RequestReply) -> None:
        self._trader.hear(reply.events, reply.time_ns)

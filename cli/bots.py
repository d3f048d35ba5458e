"""A small market: seeded traders that make and take prices around a random walk.

Owns what the traders do, and the tally of what they were told. Must not know processes, or who
leads: whatever happens to the nodes, a bot only ever calls its client.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from raftbook.client import AsyncClient
from raftbook.client.values import InstrumentSpec, OrderResult
from raftbook.core.types import SelfTradePrevention, TimeInForce
from raftbook.errors import NotAccepted, OutcomeUnknown, RaftbookError

PAUSE_S: Final = 0.008
"""Mean pause between two orders of one bot: a lively market that leaves the machine some air."""

OPEN_ORDERS_MAX: Final = 15
LEVELS: Final = 8
LOTS_MAX: Final = 40
GRID_TICKS: Final = 50
"""Prices are this many ticks apart, so that levels hold more than one order."""

FAIR_FIRST: Final = {"BTC-USD": 6_000_000, "ETH-USD": 300_000}
FAIR_DEFAULT: Final = 10_000


@dataclass(slots=True)
class Tally:
    """What all bots were told.

    Attributes:
        acknowledged: order_id to (account, client_order_id) of each order that the book accepted.
        newest_term: the highest term of any reply.
        ack_times: per term, when its first acknowledgement came (monotonic seconds).
    """

    orders: int = 0
    trades: int = 0
    refused: int = 0
    not_accepted: int = 0
    unknown: int = 0
    repeated: int = 0
    acknowledged: dict[int, tuple[str, str]] = field(default_factory=dict)
    ack_times: dict[int, float] = field(default_factory=dict)

    def take(self, account: str, result: OrderResult) -> None:
        """Count the reply to a new order."""
        if result.is_rejected:
            self.refused += 1
            return
        self.orders += 1
        self.repeated += result.poss_dup
        self.trades += len(result.trades)
        self.acknowledged[result.order_id] = (account, result.client_order_id)
        self.ack_times.setdefault(result.term, time.monotonic())

    def first_ack_after(self, term: int) -> float | None:
        """When the first order was acknowledged in a later term; None if none was."""
        return min((at for later, at in self.ack_times.items() if later > term), default=None)


class FairPrices:
    """One random walk per instrument, in grid steps; the bots quote around it."""

    def __init__(self, specs: Sequence[InstrumentSpec], seed: int) -> None:
        self._rng = random.Random(f"{seed}-fair")
        self.ticks = {spec.symbol: FAIR_FIRST.get(spec.symbol, FAIR_DEFAULT) for spec in specs}

    def step(self, symbol: str) -> int:
        """The fair price in ticks, a little moved."""
        if self._rng.random() < 0.1:
            self.ticks[symbol] += self._rng.choice((-GRID_TICKS, GRID_TICKS))
        return self.ticks[symbol]


class Bot:
    """One trader: even numbers make prices, odd ones take them."""

    def __init__(
        self,
        number: int,
        client: AsyncClient,
        *,
        account: str,
        specs: Sequence[InstrumentSpec],
        fair: FairPrices,
        seed: int,
        tally: Tally,
    ) -> None:
        self._client = client
        self._account = account
        self._specs = specs
        self._fair = fair
        self._tally = tally
        self._rng = random.Random(f"{seed}-{number}")
        self._is_maker = number % 2 == 0
        self._open: deque[int] = deque()
        self._count = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Trades until told to stop; what the world does to an order is counted, not fatal."""
        while not stop.is_set():
            try:
                await self._step()
            except OutcomeUnknown:
                self._tally.unknown += 1
            except NotAccepted:
                self._tally.not_accepted += 1
            except RaftbookError:
                self._tally.not_accepted += 1
                await asyncio.sleep(0.1)
            await asyncio.sleep(self._rng.uniform(0.5, 1.5) * PAUSE_S)

    async def _step(self) -> None:
        spec = self._rng.choice(self._specs)
        fair = self._fair.step(spec.symbol)
        side = self._rng.choice(("buy", "sell"))
        toward = -1 if side == "buy" else 1
        lots = self._rng.randint(1, LOTS_MAX)
        if self._is_maker:
            away = self._rng.randint(1, LEVELS) * GRID_TICKS
            result = await self._submit(spec, side, lots, fair + toward * away)
            if result.leaves_qty:
                self._open.append(result.order_id)
            if len(self._open) > OPEN_ORDERS_MAX:
                await self._client.cancel(order_id=self._open.popleft())
        else:
            reach = self._rng.randint(1, 3) * GRID_TICKS
            await self._submit(
                spec, side, lots, fair - toward * reach, time_in_force=TimeInForce.IOC
            )

    async def _submit(
        self,
        spec: InstrumentSpec,
        side: str,
        lots: int,
        ticks: int,
        *,
        time_in_force: TimeInForce = TimeInForce.GTC,
    ) -> OrderResult:
        self._count += 1
        result = await self._client.submit(
            spec.symbol,
            side,
            spec.qty(lots),
            spec.price(ticks),
            time_in_force=time_in_force,
            self_trade_prevention=SelfTradePrevention.CANCEL_OLDEST,
            client_order_id=f"{self._account}-{self._count}",
        )
        self._tally.take(self._account, result)
        return result

"""A whole venue on real processes: built up by an operator, then traded on in every way there is.

Owns the configuration, the requests that build the venue, and clients that insist on what they ask
and write down what they are told, as `tests/checkers/` reads it.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final

from raftbook.client import AsyncClient
from raftbook.config import AccountConfig
from raftbook.core import commands as c
from raftbook.core.commands import Command
from raftbook.errors import NoNodeReachable, NotAccepted, OutcomeUnknown
from tests.checkers.history import ACKNOWLEDGED, Recorder, Request
from tests.core import venue_market as market
from tests.core.venue_trader import VenueTrader
from tests.e2e.cluster import PATIENCE_S, Cluster

OPERATOR: Final = "op"
NAMES: Final = tuple(name for name, _ in market.ACCOUNTS)
ACCOUNTS: Final = (
    AccountConfig("demo"),  # who asks where nobody is named
    *(AccountConfig(name, operator=is_operator) for name, is_operator in market.ACCOUNTS),
)
BOUNDS: Final = {
    "fills_max": 4,
    "stops_max": 6,
    "triggers_max": 2,
    "cancel_page": 2,
    "expiries_page": 2,
    "transfers_kept": 2,
    "trades_kept": 20,
    "api_keys_max": 2,
    "drop_copies_max": 1,
}
"""Small, so that pages and limits are reached all the time."""
UNIT_MS: Final = 150
"""A short while: calls, leases and times of orders end after some of these."""
SYMBOLS: Final = tuple(terms.symbol for terms in market.GENESIS.instruments)


def opening() -> Iterator[tuple[Command, ...]]:
    """The requests of the operator that make the venue of `venue_market.py`."""
    yield tuple(c.create_currency(*currency) for currency in market.CURRENCIES)
    for terms in market.GENESIS.instruments:
        yield (
            c.list_instrument(
                terms._replace(volatility_call_ms=terms.volatility_call_ms * UNIT_MS)
            ),
        )
    yield tuple(
        c.deposit(account, currency, amount, f"first-{account}-{currency}")
        for account, currency, amount in market.DEPOSITS
    )
    yield (c.set_account("a", group="g"), c.set_account("d", group="g"))


def choice(rng: random.Random) -> Any:
    """As the generators choose."""

    def choose(options: Sequence[Any]) -> Any:
        return options[rng.randrange(len(options))]

    return choose


class VenueLoad:
    """Clients of all accounts, each with some requests under way at once.

    Attributes:
        recorder: everything that was asked and told.
        acknowledged: requests so far.
    """

    def __init__(
        self, cluster: Cluster, *, seed: int, lanes: int = 3, pause_s: float = 0.0
    ) -> None:
        self.cluster, self.seed, self._lanes, self._pause_s = cluster, seed, lanes, pause_s
        self.recorder = Recorder(time.monotonic_ns)
        self.acknowledged = 0
        self._trades: dict[str, int] = {}
        self._is_over = False

    async def build(self) -> None:
        """Build the venue up."""
        client = self._client(OPERATOR, "opening", 0)
        caller = _Caller(self, client, OPERATOR, "opening")
        async with client:
            for commands in opening():
                await caller.insist(commands)

    async def run(self) -> None:
        """Trade until `finish`."""
        async with asyncio.TaskGroup() as group:
            for number, account in enumerate([*NAMES, *NAMES[:3]]):
                group.create_task(self._trade(number, account))

    def finish(self) -> None:
        """No new requests; what is under way is still insisted on."""
        self._is_over = True

    async def wait(self, count: int) -> None:
        """Wait until so many more requests are acknowledged."""
        wanted = self.acknowledged + count
        async with asyncio.timeout(PATIENCE_S):
            while self.acknowledged < wanted:
                await asyncio.sleep(0.01)

    async def repeat(self, *, via: int, per_client: int = 40) -> int:
        """Send some of each client's last requests again through one node; how many."""
        latest: dict[tuple[str, str], dict[int, Request]] = {}
        for row in self.recorder.history.requests:
            if row.outcome == ACKNOWLEDGED:
                latest.setdefault((row.account, row.key), {})[row.request_seq] = row
        for (account, key), mine in latest.items():
            client = self._client(account, key, self.cluster.ids.index(via))
            caller = _Caller(self, client, account, key)
            async with client:
                for seq in sorted(mine)[-per_client:]:
                    row = await caller.call(seq, mine[seq].commands)
                    assert row.poss_dup, f"{row.name} acted again"
        return sum(min(per_client, len(mine)) for mine in latest.values())

    def _client(self, account: str, key: str, number: int) -> AsyncClient:
        ids = self.cluster.ids
        return AsyncClient(
            self.cluster.client_ports(ids[number % len(ids)]),
            account=account,
            session_key=key,
            timeout_s=10.0,
            request_attempt_timeout_s=2.5,
            rng=random.Random(f"{self.seed}/{key}"),
        )

    async def _trade(self, number: int, account: str) -> None:
        key = f"venue{number}"
        rng = random.Random(f"{self.seed}/{key}/orders")
        trader = VenueTrader(
            account,
            f"v{number}",
            choice(rng),
            clock_ns=time.time_ns,
            unit_ns=UNIT_MS * 1_000_000,
            trades=self._trades,
        )
        client = self._client(account, key, number)
        caller = _Caller(self, client, account, key)

        async def lane() -> None:
            while not self._is_over:
                row, time_ns = await caller.insist(trader.commands(rng.randint(1, 4)))
                trader.hear(row.events, time_ns)
                await asyncio.sleep(self._pause_s)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._lanes):
                    group.create_task(lane())
        finally:
            await client.close(forget_session=False)


class _Caller:
    """One session: it numbers its requests itself, so that a row can say which one it was."""

    def __init__(self, load: VenueLoad, client: AsyncClient, account: str, key: str) -> None:
        self._load, self._client, self._account, self._key = load, client, account, key
        self._last_seq = 0
        self._unasked: set[int] = set()  # numbers that cannot have acted yet
        self._time_ns = 0

    async def insist(self, commands: tuple[Command, ...]) -> tuple[Request, int]:
        """A new request, repeated under its number until it is acknowledged; and its time."""
        self._last_seq += 1
        seq = self._last_seq
        self._unasked.add(seq)
        deadline = time.monotonic() + PATIENCE_S
        while True:
            row = await self.call(seq, commands)
            if row.outcome == ACKNOWLEDGED:
                self._load.acknowledged += 1
                return row, self._time_ns
            assert time.monotonic() < deadline, f"no outcome: {commands}"
            await asyncio.sleep(0.02)

    async def call(self, seq: int, commands: tuple[Command, ...]) -> Request:
        """One call of the client library, and its row."""
        recorder = self._load.recorder
        row = recorder.begin(self._account, self._key, seq, commands)
        try:
            is_first = seq in self._unasked
            reply = await self._client.request(row.commands, request_seq=seq, is_first=is_first)
        except OutcomeUnknown:
            self._unasked.discard(seq)
        except (NotAccepted, NoNodeReachable):
            recorder.not_accepted(row)
        else:
            self._unasked.discard(seq)
            recorder.acknowledged(row, reply)
            self._time_ns = reply.time_ns
        return row

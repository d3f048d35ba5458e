"""Clients of a chaos run: they trade, insist across nodes with one request_seq, and write it down.

Owns what clients do and the history of it. Four sorts: the load, many requests on two instruments
that never rest; the venue's, who ask for everything that a venue knows, on its own instruments; the
probes, few requests on one small instrument after another, each of which is a window for the
linearizability checker; and one reader per node, which asks that node alone. Must not know what is
done to the nodes.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from raftbook.client import AsyncClient
from raftbook.client.session import IN_FLIGHT_MAX
from raftbook.errors import NoNodeReachable, NotAccepted, OutcomeUnknown, RaftbookError
from tests.chaos.cluster import LOAD_ACCOUNTS, LOAD_SYMBOLS, PROBE_ACCOUNTS, ChaosCluster
from tests.chaos.cluster import window_symbol as window
from tests.checkers.history import ACKNOWLEDGED, Recorder, Request
from tests.checkers.orders import Trader
from tests.core.venue_trader import VenueTrader
from tests.e2e import venue

LOAD_CLIENTS: Final = 8
LOAD_LANES: Final = 5
PROBE_CLIENTS: Final = 6
PROBE_LANES: Final = 2
VENUE_CLIENTS: Final = 6
VENUE_LANES: Final = 2
VENUE_PAUSE_S: Final = 0.25
REQUESTS_PER_WINDOW: Final = 24
INSIST_S: Final = 40.0
"""A client gives up after this long; the outcome is then unknown."""
READ_EVERY_S: Final = 0.12
BEAT_S: Final = 0.5
"""All probes speak at once, at every beat: a window is as concurrent as it can be, and lasts long
enough to meet a fault."""


@dataclass(slots=True)
class Tally:
    """Counts of a run, and when each term's first acknowledgement came.

    Attributes:
        ack_times: term -> monotonic seconds of the first acknowledgement of an entry of it.
        repeats: (invoked, acknowledged) of the last requests that were answered by what a session
            remembered. Such an answer names no term; but whoever was asked after the death of a
            leader was answered by a later one.
    """

    orders: int = 0
    acknowledged: int = 0
    retries: int = 0
    abandoned: int = 0
    reads: int = 0
    repeated: int = 0
    ack_times: dict[int, float] = field(default_factory=dict)
    repeats: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=1_000))

    def acknowledge(self, *, term: int, invoked: float, at: float) -> None:
        """Take down an acknowledgement; the term is 0 where the answer names none."""
        if term:
            self.ack_times.setdefault(term, at)
        else:
            self.repeats.append((invoked, at))

    def first_ack_after(self, term: int, killed: float) -> float | None:
        """When anything was first acknowledged by a later leader than that of `term`, who was
        killed at `killed`."""
        first = [at for later, at in self.ack_times.items() if later > term]
        repeated = [at for invoked, at in self.repeats if invoked >= killed]
        return min(first + repeated, default=None)


class Load:
    """All clients; `run` until `finish`.

    Args:
        orders_per_s: what the load aims at while nothing is broken.
    """

    def __init__(self, cluster: ChaosCluster, *, seed: int, orders_per_s: float) -> None:
        self.cluster, self.seed = cluster, seed
        self.recorder = Recorder(time.monotonic_ns)
        self.tally = Tally()
        self.windows_used = 0
        self._window_left = REQUESTS_PER_WINDOW
        self._over = asyncio.Event()
        self._venue_trades: dict[str, int] = {}
        self._group: asyncio.TaskGroup | None = None
        # A request has one and a half commands on the average.
        self._pause_s = LOAD_CLIENTS * LOAD_LANES * 1.5 / orders_per_s

    async def run(self) -> None:
        """Trade until told to finish, then end what is under way."""
        async with asyncio.TaskGroup() as group:
            for number in range(LOAD_CLIENTS):
                group.create_task(self._load_client(number))
            for number in range(PROBE_CLIENTS):
                group.create_task(self._probe_client(number))
            group.create_task(self._venue(group))
            self._group = group
            for node_id in self.cluster.ids:
                self.read_at(node_id)

    def finish(self) -> None:
        """No new requests; what is under way is still insisted on."""
        self._over.set()

    def read_at(self, node_id: int) -> None:
        """Begin to read at a node, until it is removed."""
        assert self._group is not None, "nobody trades"
        self._group.create_task(self._reader(node_id))

    # -- one client ---------------------------------------------------------------------------

    def _client(self, account: str, key: str, number: int) -> AsyncClient:
        ids = self.cluster.ids
        return AsyncClient(
            self.cluster.client_ports(ids[number % len(ids)]),
            account=account,
            session_key=key,
            timeout_s=5.0,
            request_attempt_timeout_s=2.3,
            rng=random.Random(f"{self.seed}-{key}"),
        )

    async def _load_client(self, number: int) -> None:
        account = LOAD_ACCOUNTS[number % len(LOAD_ACCOUNTS)]
        key = f"load{number}"
        rng = random.Random(f"{self.seed}-{key}")
        trader = Trader(f"l{number}", rng)
        client = self._client(account, key, number)
        caller = Caller(client, account, key, self, rng)

        async def lane() -> None:
            due = time.monotonic() + rng.random() * self._pause_s
            while not self._over.is_set():
                symbol = rng.choice(LOAD_SYMBOLS)
                row = await caller.insist(trader.commands(symbol))
                if row is not None:
                    trader.learn(symbol, row.events)
                due = max(due + self._pause_s, time.monotonic() - self._pause_s)
                await asyncio.sleep(max(0.0, due - time.monotonic()))

        await self._run_lanes(client, lane, LOAD_LANES)

    async def _probe_client(self, number: int) -> None:
        account = PROBE_ACCOUNTS[number % len(PROBE_ACCOUNTS)]
        key = f"probe{number}"
        rng = random.Random(f"{self.seed}-{key}")
        trader = Trader(f"p{number}", rng)
        client = self._client(account, key, number)
        caller = Caller(client, account, key, self, rng)

        async def lane() -> None:
            while not self._over.is_set():
                await asyncio.sleep(BEAT_S - time.monotonic() % BEAT_S)
                symbol = self._next_window()
                if symbol is None:
                    return
                if rng.random() < 0.15:
                    await self._read(client, account, symbol)
                    continue
                row = await caller.insist(trader.commands(symbol))
                if row is not None:
                    trader.learn(symbol, row.events)

        await self._run_lanes(client, lane, PROBE_LANES)

    async def _venue(self, group: asyncio.TaskGroup) -> None:
        """Build the venue up, whatever happens meanwhile, and then let its clients trade."""
        client = self._client(venue.OPERATOR, "opening", 0)
        rng = random.Random(f"{self.seed}-opening")
        caller = Caller(client, venue.OPERATOR, "opening", self, rng)
        try:
            for commands in venue.opening():
                while await caller.insist(commands) is None and not self._over.is_set():
                    pass  # given up: what was done already is refused the next time
        finally:
            await client.close(forget_session=False)
        for number in range(VENUE_CLIENTS):
            group.create_task(self._venue_client(number))

    async def _venue_client(self, number: int) -> None:
        account = venue.NAMES[number % len(venue.NAMES)]
        key = f"venue{number}"
        rng = random.Random(f"{self.seed}-{key}")
        trader = VenueTrader(
            account,
            f"v{number}",
            venue.choice(rng),
            clock_ns=time.time_ns,
            unit_ns=venue.UNIT_MS * 1_000_000,
            trades=self._venue_trades,
            is_guest=True,
        )
        client = self._client(account, key, number)
        caller = Caller(client, account, key, self, rng)

        async def lane() -> None:
            while not self._over.is_set():
                row = await caller.insist(trader.commands(rng.randint(1, 4)))
                if row is not None:
                    trader.hear(row.events, caller.time_ns)
                await asyncio.sleep(VENUE_PAUSE_S * 2 * rng.random())

        await self._run_lanes(client, lane, VENUE_LANES)

    async def _reader(self, node_id: int) -> None:
        """Looks at the window of the moment through one node only, wherever that node stands: cut
        off or behind, it must not answer with what it happens to have.
        """
        account = PROBE_ACCOUNTS[node_id % len(PROBE_ACCOUNTS)]
        client = AsyncClient(
            self.cluster.client_ports(node_id)[:1],
            account=account,
            session_key=f"reader{node_id}",
            timeout_s=1.5,
            follows_members=False,
        )
        try:
            while not self._over.is_set() and node_id in self.cluster.ids:
                await asyncio.sleep(READ_EVERY_S)
                if self.windows_used < self.cluster.window_count:
                    await self._read(client, account, window(self.windows_used))
        finally:
            await client.close(forget_session=False)

    async def _run_lanes(self, client: AsyncClient, lane: Callable[[], object], count: int) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(count):
                    group.create_task(lane())  # type: ignore[arg-type]
        finally:
            await client.close(forget_session=False)

    def _next_window(self) -> str | None:
        """The instrument that the next probe is about."""
        if self._window_left == 0:
            self._window_left = REQUESTS_PER_WINDOW
            self.windows_used += 1
        if self.windows_used >= self.cluster.window_count:
            return None
        self._window_left -= 1
        return window(self.windows_used)

    async def _read(self, client: AsyncClient, account: str, symbol: str) -> None:
        invoked_ns = time.monotonic_ns()
        try:
            value = await client.query(
                "book", symbol=symbol, depth=0, orders=True, linearizable=True
            )
        except RaftbookError:
            await asyncio.sleep(0.05)
            return
        self.recorder.read(account, symbol, invoked_ns, value)
        self.tally.reads += 1

    # -- afterwards ---------------------------------------------------------------------------

    async def repeat_some(self, *, via: int, per_client: int = 60) -> None:
        """Send some of each client's last requests again, to one node: same answers, no effect.

        They go into the history like everything else; the checkers compare the answers.
        """
        rows = self.recorder.history.requests
        latest: dict[tuple[str, str], dict[int, Request]] = {}
        for row in rows:
            if row.outcome == ACKNOWLEDGED:
                latest.setdefault((row.account, row.key), {})[row.request_seq] = row
        for (account, key), mine in latest.items():
            rng = random.Random(f"{self.seed}-{key}-again")
            recent = sorted(mine)[-IN_FLIGHT_MAX:]
            chosen = rng.sample(recent, min(per_client, len(recent)))
            client = self._client(account, key, self.cluster.ids.index(via))
            caller = Caller(client, account, key, self, rng)
            try:
                await asyncio.gather(*(caller.call(seq, mine[seq].commands) for seq in chosen))
            finally:
                await client.close(forget_session=False)
            self.tally.repeated += len(chosen)


class Caller:
    """One session: numbers its requests itself, so that a row can say which one it was.

    Attributes:
        time_ns: logical time as the last reply told it.
    """

    def __init__(
        self, client: AsyncClient, account: str, key: str, load: Load, rng: random.Random
    ) -> None:
        self._client, self._account, self._key = client, account, key
        self._load, self._rng = load, rng
        self._last_seq = 0
        self._unasked: set[int] = set()  # numbers that cannot have acted yet
        self.time_ns = 0

    async def insist(self, commands: tuple[object, ...]) -> Request | None:
        """A new request, repeated until its outcome is known; mostly. The acknowledged row."""
        self._last_seq += 1
        seq = self._last_seq
        self._unasked.add(seq)
        tally = self._load.tally
        deadline = time.monotonic() + INSIST_S
        while True:
            row = await self.call(seq, commands)
            if row.outcome == ACKNOWLEDGED:
                tally.acknowledged += 1
                tally.orders += len(commands)
                if self._rng.random() < 0.01:  # a program that forgot that it had the answer
                    await self.call(seq, commands)
                return row
            # Some programs give up: what was not accepted must then never act, and what is
            # unknown may act or not. The others ask again, under the same number.
            patience = 0.5 if row.completed_ns is not None else 0.85
            if self._rng.random() > patience or time.monotonic() > deadline:
                tally.abandoned += 1
                return None
            tally.retries += 1
            await asyncio.sleep(0.02)

    async def call(self, seq: int, commands: tuple[object, ...]) -> Request:
        """One call of the client library, and its row."""
        recorder = self._load.recorder
        row = recorder.begin(self._account, self._key, seq, commands)  # type: ignore[arg-type]
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
            self.time_ns = max(self.time_ns, reply.time_ns)
            invoked, at = row.invoked_ns / 1e9, time.monotonic()
            self._load.tally.acknowledge(term=reply.term, invoked=invoked, at=at)
        return row

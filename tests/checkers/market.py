"""Good histories out of thin air: simulated clients, a virtual clock, one exchange, no network.

Owns the making of histories that are legal by construction, with everything a real run has in it:
concurrent calls, unknown outcomes that took effect late or never, refusals, repeated requests and
linearizable reads. Two faults may be asked for, that no change of a finished history can imitate: a
request that is acknowledged and then lost, and one that takes effect twice.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from raftbook.core import commands as c
from raftbook.core.commands import Entry
from raftbook.core.events import Reply, answers
from raftbook.core.exchange import Exchange, Genesis
from raftbook.core.instrument import InstrumentTerms
from raftbook.gateway.privacy import private_view
from tests.checkers.book_model import Instrument
from tests.checkers.history import ACKNOWLEDGED, NOT_ACCEPTED, History, Read, Request
from tests.checkers.orders import Trader
from tests.checkers.witness import book_of

ACCOUNTS: Final = ("anna", "ben", "cleo")
TERMS: Final = InstrumentTerms("", "oil", "eur", "0.01", "1", 1_000, -1_000, 1_000)
_CLIENTS: Final = 6
_LANES: Final = 2
_STEP_NS: Final = 10


@dataclass(slots=True)
class Sample:
    """A history and the log it belongs to."""

    history: History
    entries: list[Entry]
    genesis: Genesis
    fault: str = ""  # what the faulty system did; empty if it found no occasion
    victim: Request | None = None


@dataclass(slots=True)
class Plan:
    """What a sample has in it.

    Attributes:
        troubles: whether there are unknown outcomes and refusals.
        fault: "", "lost" or "doubled".
    """

    symbols: int = 3
    requests_per_symbol: int = 36
    troubles: bool = True
    fault: str = ""
    lanes: int = _LANES
    reads: bool = True


def instrument_of(terms: InstrumentTerms) -> Instrument:
    """What the book model needs of it."""
    limits = (terms.band_low, terms.band_high, terms.notional_max, terms.collar)
    assert limits == (None,) * 4, f"the book model knows no bands, limits and collars: {terms}"
    return Instrument(terms.symbol, terms.qty_max, terms.price_min, terms.price_max)


def make_sample(seed: int, plan: Plan | None = None) -> Sample:
    """One sample; the same for the same arguments."""
    return _Market(seed, plan or Plan()).run()


class _Client:
    def __init__(self, number: int, rng: random.Random) -> None:
        self.account = ACCOUNTS[number % len(ACCOUNTS)]
        self.key = f"k{number}"
        self.session_id = 0
        self.next_seq = 0
        self.trader = Trader(f"{self.account}{number}", rng)


@dataclass(order=True, slots=True)
class _Due:
    time_ns: int
    number: int
    action: Callable[[int], None] = field(compare=False)


class _Market:
    def __init__(self, seed: int, plan: Plan) -> None:
        self.rng = random.Random(f"market-{seed}")
        self.plan = plan
        self.symbols = [f"W{number}" for number in range(plan.symbols)]
        terms = tuple(TERMS._replace(symbol=symbol) for symbol in self.symbols)
        self.genesis = Genesis(terms, tuple((name, False) for name in ACCOUNTS))
        self.exchange = Exchange(self.genesis)
        self.entries: list[Entry] = []
        self.history = History()
        self.clients = [_Client(number, self.rng) for number in range(_CLIENTS)]
        self.left = dict.fromkeys(self.symbols, plan.requests_per_symbol)
        self.due: list[_Due] = []
        self.count = 0
        self.gathered: list[tuple[Any, Callable[[Reply, int], None]]] = []
        self.fault, self.victim = "", None  # type: str, Request | None
        total = plan.symbols * plan.requests_per_symbol
        self.fault_at = self.rng.randrange(total // 4, total // 2) if plan.fault else -1

    def run(self) -> Sample:
        for client in self.clients:
            opening = (c.NO_SESSION, 0, (c.open_session(client.account, client.key),))
            client.session_id = self._apply([opening])[0][4][0][2]
        for client in self.clients:
            for _ in range(self.plan.lanes):
                self._at(self.rng.randrange(1_000), self._next_call(client))
        while self.due:
            due = heapq.heappop(self.due)
            due.action(due.time_ns)
        return Sample(self.history, self.entries, self.genesis, self.fault, self.victim)

    def _at(self, time_ns: int, action: Callable[[int], None]) -> None:
        self.count += 1
        heapq.heappush(self.due, _Due(time_ns, self.count, action))

    def _apply(self, requests: list[Any]) -> list[Reply]:
        self.entries.append(Entry(len(self.entries) + 1, 0, tuple(requests)))
        return self.exchange.apply(self.entries[-1])

    def _submit(self, now_ns: int, request: Any, then: Callable[[Reply, int], None]) -> None:
        """Let a request into the log with whatever else comes within a moment."""
        if not self.gathered:
            self._at(now_ns + self.rng.randrange(1, 4 * _STEP_NS), self._flush)
        self.gathered.append((request, then))

    def _flush(self, now_ns: int) -> None:
        gathered, self.gathered = self.gathered, []
        replies = self._apply([request for request, _ in gathered])
        for reply, (_, then) in zip(answers(replies, gathered), gathered, strict=True):
            then(reply, now_ns)

    # -- calls --------------------------------------------------------------------------------

    def _next_call(self, client: _Client) -> Callable[[int], None]:
        def call(now_ns: int) -> None:
            symbol = next((symbol for symbol in self.symbols if self.left[symbol] > 0), None)
            if symbol is None:
                return
            if self.plan.reads and self.rng.random() < 0.1:
                self._read(client, symbol, now_ns)
            else:
                self.left[symbol] -= 1
                self._request(client, symbol, now_ns)

        return call

    def _delay(self) -> int:
        return self.rng.choice((1, 2, 3, 5, 8, 30)) * _STEP_NS + self.rng.randrange(_STEP_NS)

    def _read(self, client: _Client, symbol: str, begin_ns: int) -> None:
        def look(now_ns: int) -> None:
            book, index = book_of(self.exchange, symbol), self.exchange.applied_index
            end_ns = now_ns + self._delay()
            self.history.reads.append(
                Read(client.account, symbol, begin_ns, end_ns, 1, index, book)
            )
            self._at(end_ns + 1, self._next_call(client))

        self._at(begin_ns + self._delay(), look)

    def _request(self, client: _Client, symbol: str, begin_ns: int) -> None:
        client.next_seq += 1
        row = Request(
            client.account, client.key, client.next_seq, client.trader.commands(symbol), begin_ns
        )
        self.history.requests.append(row)
        draw = self.rng.random() if self.plan.troubles else 1.0
        if draw < 0.03:  # refused
            row.outcome, row.completed_ns = NOT_ACCEPTED, begin_ns + self._delay()
            self._at(row.completed_ns + 1, self._next_call(client))
        elif draw < 0.06:  # lost on its way
            self._at(begin_ns + 20 * self._delay(), self._next_call(client))
        elif draw < 0.10:  # its answer is lost; it acts some time
            late = self.rng.choice((1, 10, 60))
            self._at(begin_ns + late * self._delay(), self._effect(client, row, _nobody_hears))
            self._at(begin_ns + 20 * self._delay(), self._next_call(client))
        else:
            heard = self._heard(client, symbol, row)
            self._at(begin_ns + self._delay(), self._effect(client, row, heard))

    def _effect(
        self, client: _Client, row: Request, then: Callable[[Reply, int], None]
    ) -> Callable[[int], None]:
        request = (client.session_id, row.request_seq, row.commands)
        return lambda now_ns: self._submit(now_ns, request, then)

    def _heard(self, client: _Client, symbol: str, row: Request) -> Callable[[Reply, int], None]:
        def heard(reply: Reply, now_ns: int) -> None:
            end_ns = now_ns + self._delay()
            _acknowledge(row, reply, end_ns)
            client.trader.learn(symbol, row.events)
            if len(self.history.requests) >= self.fault_at >= 0 and not self.fault:
                self._break(client, row)
            if self.rng.random() < 0.06:
                self._at(end_ns + self._delay(), lambda now_ns: self._repeat(client, row, now_ns))
            self._at(end_ns + 1, self._next_call(client))

        return heard

    def _repeat(self, client: _Client, row: Request, now_ns: int) -> None:
        """The program asks again, as if it had never heard the answer."""
        again = Request(row.account, row.key, row.request_seq, row.commands, now_ns)
        self.history.requests.append(again)

        def heard(reply: Reply, now_ns: int) -> None:
            _acknowledge(again, reply, now_ns + self._delay())
            again.poss_dup = True

        self._effect(client, row, heard)(now_ns)

    # -- faults -------------------------------------------------------------------------------

    def _break(self, client: _Client, row: Request) -> None:
        """Lose or double what has just taken effect, if the market was changed by it."""
        if not any(event[0] == 1 and event[1] for event in row.events):
            return
        self.fault, self.victim = self.plan.fault, row
        if self.plan.fault == "doubled":
            hidden = (c.NO_SESSION, 0, (c.open_session(client.account, "hidden"),))
            session_id = self._apply([hidden])[0][4][0][2]
            self._apply([(session_id, 1, _renamed(row.commands))])
            return
        name = (client.session_id, row.request_seq)
        for entry in self.entries:
            entry.requests = tuple(one for one in entry.requests if tuple(one[:2]) != name)
        self.exchange = Exchange(self.genesis)
        for entry in self.entries:
            self.exchange.apply(entry)


def _nobody_hears(reply: Reply, now_ns: int) -> None:
    """The answer is lost."""


def _acknowledge(row: Request, reply: Reply, end_ns: int) -> None:
    row.outcome, row.completed_ns, row.node_id = ACKNOWLEDGED, end_ns, 1
    row.session_id, row.entry_index, row.event_offset = reply[0], reply[2], reply[3]
    row.events = tuple(private_view(reply[4], row.account))


def _renamed(commands: Any) -> Any:
    """The same orders without their names, so that the name's uniqueness does not stop them."""
    return tuple(
        (*command[:7], "", *command[8:]) if command[0] == c.NEW_ORDER else command
        for command in commands
    )

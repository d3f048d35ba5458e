"""Clients: the production retry machine over the simulated network, and what it is asked to do.

Owns the market's participants. Each runs `client.flow.Flow` under the production `Runner`, on a
host of its own, and keeps a record of every call for the checks: when it was made, what it asked,
when and how it ended. What it asks for is drawn by the run's market (`markets.py`).
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from raftbook.client.aio_socket import Runner
from raftbook.client.conversation import Settings
from raftbook.client.flow import Flow
from raftbook.client.operation import Operation
from raftbook.core.commands import Command
from raftbook.errors import OutcomeUnknown
from tests.sim.clockwork import HostLoop, running
from tests.sim.node import CLIENT_PORT

if TYPE_CHECKING:
    from tests.sim.world import World

DEADLINE_GRACE_S = 0.2
"""A call ends with the first callback at or after its deadline."""
REPEATED_MAX = 40
"""Requests whose number and commands a client remembers, to send them again."""


@dataclass(slots=True)
class Call:
    """One call of a client. Times are virtual seconds.

    Attributes:
        commands: of a request; empty for a query.
        names: the client_order_ids that only it enters.
        repeats: the call whose number and commands it sends again.
        is_abandoned: nobody waits for its outcome.
    """

    client: str
    account: str
    operation: Operation
    invoked_at: float
    commands: tuple[Command, ...] = ()
    names: tuple[str, ...] = ()
    is_linearizable: bool = False
    repeats: Call | None = None
    is_abandoned: bool = False
    ended_at: float | None = None


@dataclass(slots=True)
class Record:
    """All calls of a run.

    Attributes:
        orders_acknowledged: new orders in requests that were answered.
    """

    calls: list[Call] = field(default_factory=list)
    orders_acknowledged: int = 0
    requests_acknowledged: int = 0
    unknown: int = 0
    not_accepted: int = 0
    reads: int = 0
    repeats: int = 0


class Client:
    """One participant.

    Args:
        session_key: two clients with the same one share a session.
        twin: whose requests this client sends too, under their numbers, as a second process of the
            same user might: whatever arrives first takes effect, once.
    """

    def __init__(
        self,
        world: World,
        name: str,
        account: str,
        session_key: str,
        twin: Client | None = None,
    ) -> None:
        self.world, self.name, self.account = world, name, account
        self._twin = twin
        self.rng = random.Random(f"{world.seed}/client/{name}")
        nodes = [(host.name, CLIENT_PORT) for host in world.hosts]
        self.rng.shuffle(nodes)
        profile = world.profile
        self.flow = Flow(
            Settings(
                nodes,
                account=account,
                session_key=session_key,
                client_name=name,
                timeout_s=profile.client_timeout_s,
                attempt_timeout_s=profile.client_timeout_s / 2,
                rng=self.rng,
            ),
            is_own_key=twin is None,
        )
        self.loop = HostLoop(
            world.clockwork,
            rate=1.0,
            boot=50.0,
            name=name,
            on_killed=lambda: None,
            network=world.network,
        )
        with running(self.loop):
            self._runner = Runner(self.flow, self._changed, None)
        self._calls: dict[int, Call] = {}  # by id of the operation, which the call keeps alive
        self._asked: list[Call] = []  # requests that have a number
        self._trader = world.market.trader(name, account, self.rng, profile.orders_max)
        self.is_calm = False
        world.network.up.add(name)

    # -- calls ------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Start to trade."""
        self.loop.call_later(self.rng.random(), self._next)

    def _next(self) -> None:
        profile = self.world.profile
        gap = self.rng.expovariate(1.0 / profile.request_gap_s)
        if not self.world.is_over:
            self.loop.call_later(min(gap, 5.0), self._next)
        chance = self.rng.random()
        if len(self._calls) > 24:
            pass  # nothing gets through at the moment: gather no more
        elif chance < 0.70:
            if self._twin is None:
                self.request()
            else:
                self._repeat()
        elif chance < 0.80:
            self._repeat()
        elif chance < 0.95:
            self._read()
        elif self._calls and not self.is_calm:
            self._abandon()
        self._runner.kick()

    def request(self) -> Call:
        """Something new, as the market has it."""
        return self._start(*self._trader.draw())

    def _start(
        self, commands: tuple[Command, ...], names: tuple[str, ...], repeats: Call | None = None
    ) -> Call:
        now = self.loop.time()
        seq = None if repeats is None else repeats.operation.request_seq
        operation = self.flow.request(commands, now, request_seq=seq)
        call = Call(self.name, self.account, operation, self.world.clockwork.now, commands, names)
        call.repeats = repeats
        self._keep(call)
        return call

    def _keep(self, call: Call) -> None:
        self._calls[id(call.operation)] = call
        self.world.record.calls.append(call)
        if call.operation.is_done:
            self._changed()
        self._runner.kick()

    def _repeat(self) -> None:
        """Send an earlier request again: one whose outcome is unknown, or any."""
        known = [call for call in self._asked if call.operation.is_done]
        if self._twin is not None:
            known = [call for call in self._twin.numbered() if call.operation.session_id]
            known = known if self.flow.session_id or not known else known[-1:]
        if not known:
            return
        doubted = [call for call in known if isinstance(call.operation.error, OutcomeUnknown)]
        call = self.rng.choice(doubted or known)
        seq = call.operation.request_seq
        if any(each.operation.request_seq == seq for each in self._calls.values()):
            return
        self.world.record.repeats += 1
        self._start(call.commands, call.names, repeats=call.repeats or call)

    def _read(self) -> None:
        is_linearizable = self.rng.random() < 0.5
        arguments = {"symbol": self.rng.choice(self.world.market.symbols), "depth": 5}
        if is_linearizable:
            arguments["linearizable"] = True
        operation = self.flow.query("book", arguments, self.loop.time())
        call = Call(self.name, self.account, operation, self.world.clockwork.now)
        call.is_linearizable = is_linearizable
        self._keep(call)

    def _abandon(self) -> None:
        key = self.rng.choice(list(self._calls))
        call = self._calls.pop(key)
        call.is_abandoned = True
        if call.operation.request_seq and call.commands:
            self._remember(call)
        self.flow.abandon(call.operation)

    # -- outcomes ---------------------------------------------------------------------------------

    def _changed(self) -> None:
        if not self.flow.finished:
            return
        finished, self.flow.finished = self.flow.finished, []
        now, record = self.world.clockwork.now, self.world.record
        for operation in finished:
            call = self._calls.pop(id(operation), None)
            if call is None:
                continue
            call.ended_at = now
            if operation.kind == 8:
                record.reads += operation.error is None
            elif operation.error is None:
                record.requests_acknowledged += 1
                if call.repeats is None:
                    record.orders_acknowledged += len(call.names)
                    self._trader.hear(operation.result)
            elif isinstance(operation.error, OutcomeUnknown):
                record.unknown += 1
            else:
                record.not_accepted += 1
            if call.commands and operation.request_seq:
                self._remember(call)
            outcome = type(operation.error).__name__ if operation.error else "done"
            self.world.trace("end", self.name, operation.request_seq, outcome)

    def numbered(self) -> list[Call]:
        """Requests that have their number, under way or not."""
        under_way = [call for call in self._calls.values() if call.commands and not call.repeats]
        return [*self._asked, *(call for call in under_way if call.operation.request_seq)]

    def _remember(self, call: Call) -> None:
        if call.repeats is None:
            self._asked.append(call)
            del self._asked[:-REPEATED_MAX]

    def check_deadlines(self) -> None:
        """Every call has its outcome by its deadline."""
        now = self.loop.time()
        for call in self._calls.values():
            late_s = now - call.operation.deadline
            if late_s > DEADLINE_GRACE_S:
                self.world.checks.fail(
                    "deadline",
                    f"a call of {self.name} of {call.invoked_at:.3f} has no outcome "
                    f"{late_s:.3f} s after its deadline",
                )

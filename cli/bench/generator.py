"""A load on a cluster: connections that send orders and time the answers.

Owns when a request is sent and what counts as its latency. It speaks the native protocol with as
little of its own work as Python allows, since it shares a machine with what it measures; what a
client library costs is another question. Must not know processes or how figures are shown.

    closed loop   so many requests of a connection are always under way; an answer sends the next
    open loop     requests are due at fixed times whatever the answers do; a request that was sent
                  late, or waited in a queue, counts from the time at which it was due
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from raftbook.core.commands import Command, new_order
from raftbook.core.events import REJECTED
from raftbook.core.types import Reject, Side
from raftbook.errors import NoNodeReachable, ProtocolError
from raftbook.wire import client_messages as m
from raftbook.wire.framing import FrameReader, frame
from raftbook.wire.packing import pack, unpack

BODIES: Final = 64
"""Requests that differ; they are packed before the clock starts."""
SPREAD_TICKS: Final = 20
QTY_MAX: Final = 4
ANSWER_BYTES_MAX: Final = 64 << 20
DRAIN_S: Final = 10.0
"""How long answers are waited for when nothing more is sent."""
LOOK_EVERY_S: Final = 0.0005
"""How often an open loop looks what is due."""

Record = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked of the cluster.

    Attributes:
        clients: connections, spread over the nodes.
        per_request: orders of one request.
        in_flight: requests of one connection under way at once, in a closed loop.
        seconds: how long requests are sent.
        rate: orders per second of all connections together; None is a closed loop.
    """

    clients: int
    per_request: int
    in_flight: int
    seconds: float
    rate: float | None = None


@dataclass(slots=True)
class Outcome:
    """What came of it.

    Attributes:
        orders: those that were answered from the log before the time was over.
        answered: all requests that were, also later.
        rejected: orders among all answered ones that the market refused.
        errors: requests without such an answer, by reason.
        seconds: from the first request to the end of the sending.
        last_index: the newest log entry that an answer named.
    """

    orders: int = 0
    answered: int = 0
    rejected: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    last_index: int = 0


async def run_load(
    load: Load,
    addresses: Sequence[tuple[str, int]],
    *,
    account: str,
    secret: str,
    symbol: str,
    middle: int,
    record: Record,
) -> Outcome:
    """Send it.

    Args:
        middle: ticks around which orders are priced.
        record: gets the seconds that each answered request took.

    Raises:
        NoNodeReachable, ProtocolError: a connection could not be opened.
    """
    outcome = Outcome()
    bodies = [
        pack(tuple(random_orders(random.Random(seed), symbol, middle, load.per_request)))
        for seed in range(BODIES)
    ]
    connections = [
        Connection(bodies[number % BODIES :] + bodies[: number % BODIES], load, outcome, record)
        for number in range(load.clients)
    ]
    try:
        for number, connection in enumerate(connections):
            await connection.open(addresses[number % len(addresses)], account, secret)
        loop = asyncio.get_running_loop()
        start = loop.time()
        if load.rate is None:
            for connection in connections:
                connection.fill()
            await asyncio.sleep(load.seconds)
        else:
            await _at_rate(connections, load.rate / load.per_request, start + load.seconds)
        outcome.seconds = loop.time() - start
        for connection in connections:
            connection.is_over = True
        await _drained(connections, loop.time() + DRAIN_S)
        outcome.errors["unanswered"] += sum(len(connection.sent) for connection in connections)
    finally:
        for connection in connections:
            connection.close()
    outcome.errors = +outcome.errors
    return outcome


def random_orders(chance: random.Random, symbol: str, middle: int, count: int) -> list[Command]:
    """Limit orders at prices around one middle, so that they rest and trade."""
    return [
        new_order(
            symbol,
            chance.choice((Side.BUY, Side.SELL)),
            chance.randint(1, QTY_MAX),
            middle + chance.randint(-SPREAD_TICKS, SPREAD_TICKS),
        )
        for _ in range(count)
    ]


async def _at_rate(connections: Sequence[Connection], requests_per_s: float, end: float) -> None:
    """Send what is due, in turn over the connections, until `end`."""
    loop = asyncio.get_running_loop()
    interval = 1 / requests_per_s
    start = loop.time()
    count = 0
    due = start
    while due < end:
        now = loop.time()
        while due <= now and due < end:
            connections[count % len(connections)].send(due)
            count += 1
            due = start + count * interval
        await asyncio.sleep(max(LOOK_EVERY_S, due - loop.time()))


async def _drained(connections: Sequence[Connection], deadline: float) -> None:
    loop = asyncio.get_running_loop()
    while any(connection.sent for connection in connections) and loop.time() < deadline:
        await asyncio.sleep(0.01)


class Connection(asyncio.Protocol):
    """One connection and its session.

    Attributes:
        sent: when each request without an answer was sent, or due.
        is_over: nothing more is sent, and what is answered no longer counts as throughput.
    """

    def __init__(self, bodies: list[bytes], load: Load, outcome: Outcome, record: Record) -> None:
        self.sent: dict[int, float] = {}
        self.is_over = False
        self._bodies, self._load, self._outcome, self._record = bodies, load, outcome, record
        self._reader = FrameReader(ANSWER_BYTES_MAX)
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[tuple[Any, ...]] | None = None
        self._head = b""
        self._seq = 0
        self._outgoing: list[bytes] = []
        self._loop = asyncio.get_running_loop()

    # -- opening ------------------------------------------------------------------------------

    async def open(self, address: tuple[str, int], account: str, secret: str) -> None:
        """Connect, log in, open a session.

        Raises:
            NoNodeReachable, ProtocolError: it was not possible; the text says why.
        """
        try:
            await self._loop.create_connection(lambda: self, *address)
        except OSError as error:
            raise NoNodeReachable(f"{address[0]}:{address[1]}: {error.strerror}") from error
        *_, nonce = await self._ask(m.WELCOME, (m.HELLO, m.PROTOCOL_VERSION, "raftbook-bench"))
        proof = m.login_proof(secret, account, nonce) if secret else b""
        await self._ask(m.RESULT, (m.LOGIN, 1, account, proof))
        _, _, (session_id, self._seq) = await self._ask(m.RESULT, (m.OPEN, 2, ""))
        self._head = b"\x94" + pack((m.REQUEST, session_id))[1:]

    async def _ask(self, wanted: int, message: tuple[Any, ...]) -> tuple[Any, ...]:
        assert self._transport is not None, "asked before it was connected"
        self._answer = self._loop.create_future()
        self._transport.write(frame(pack(message)))
        answer = await self._answer
        self._answer = None
        if answer[0] != wanted:
            raise ProtocolError(f"the node did not let the load in: {answer[-1]}")
        return answer

    # -- requests -----------------------------------------------------------------------------

    def fill(self) -> None:
        """Send as many as a closed loop has under way."""
        for _ in range(self._load.in_flight):
            self.send(self._loop.time())

    def send(self, at: float) -> None:
        """Send the next request; requests of one turn of the loop share a write.

        Args:
            at: from when on its latency counts.
        """
        self._seq = seq = self._seq + 1
        self.sent[seq] = at
        if not self._outgoing:
            self._loop.call_soon(self._flush)
        # An array of four: its head and the session's id, the number, and what is packed already.
        body = self._bodies[seq % BODIES]
        self._outgoing.append(frame(b"%b\xce%b%b" % (self._head, seq.to_bytes(4, "big"), body)))

    def _flush(self) -> None:
        if self._transport is not None:
            self._transport.write(b"".join(self._outgoing))
        self._outgoing.clear()

    def close(self) -> None:
        """End it."""
        if self._transport is not None:
            self._transport.abort()

    # -- answers ------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ProtocolError("the node ended the connection"))

    def data_received(self, data: bytes) -> None:
        now = self._loop.time()
        for payload in self._reader.feed(data):
            message = unpack(payload)
            if message[0] == m.REPLY:
                self._replied(message, now)
            elif self._answer is not None:
                self._answer.set_result(message)
            elif message[0] == m.REFUSED:
                self._outcome.errors[Reject(message[3]).name] += 1
                self._ended(message[2], now)

    def _replied(self, message: tuple[Any, ...], now: float) -> None:
        _, _, seq, index, _, _, _, events, _, _ = message
        outcome = self._outcome
        if index > outcome.last_index:
            outcome.last_index = index
        outcome.answered += 1
        for event in events:
            if event[0] == REJECTED:
                outcome.rejected += 1
        self._record(self._ended(seq, now))
        if not self.is_over:
            outcome.orders += self._load.per_request

    def _ended(self, seq: int, now: float) -> float:
        """A request has its answer: how long it took. A closed loop sends the next."""
        took = now - self.sent.pop(seq)
        if self._load.rate is None and not self.is_over:
            self.send(now)
        return took

"""`Client`: a client for programs that block, such as scripts and the command line.

Owns the order of waiting. What is said is decided in `flow.py` and `verbs.py`, and is the same as
in `aio.py`; the socket is in `sync_socket.py`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Sequence
from itertools import islice
from typing import Any, Final, TypeVar, cast

from raftbook.client.base import FORGET_TIMEOUT_S
from raftbook.client.operation import Operation
from raftbook.client.steps import Call, Query, Request
from raftbook.client.sync_socket import Runner, now
from raftbook.client.sync_stream import DepthSubscription, Subscription
from raftbook.client.sync_venue import SyncVenue
from raftbook.client.values import RequestReply
from raftbook.core.commands import Command, close_session
from raftbook.errors import NotAccepted, RaftbookError

_Result = TypeVar("_Result")

PIPELINED_MAX: Final = 64
"""Requests of one `submit_many` in flight: enough to fill an entry while another one commits."""


class Client(SyncVenue):
    """A client of one cluster: one connection, one call at a time, fail-over in between.

    Not for several threads at once: give each its own.

    Every call ends after timeout_s at the latest, with a result or with a RaftbookError whose type
    says what may be done: NotAccepted (no effect; `Refused`, a kind of it, carries a code),
    OutcomeUnknown (send again only with its request_seq, by this client or one of the same
    session_key), NoNodeReachable (nothing was sent). What the market refuses is an OrderResult.

    `BaseClient` documents the arguments.
    """

    def _prepare(self) -> None:
        self._runner = Runner(self._flow, self._on_progress)

    def __enter__(self) -> Client:
        self.connect()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def connect(self) -> None:
        """Reach a node and log in. Other calls do it too; this one tells early.

        Raises:
            NoNodeReachable: no node answered within timeout_s.
            Refused: the account was not let in.
        """
        self._start()
        self._outcome(self._flow.connect(now()))

    def close(self, *, forget_session: bool | None = None) -> None:
        """End the connection.

        Args:
            forget_session: let the cluster forget the session and its replies, so that sessions do
                not pile up; nothing of it can be repeated afterwards. None does so if this client
                made the key and every outcome is known.
        """
        if self._is_closed:
            return
        if self._should_forget(forget_session):
            command = close_session()
            try:
                self._outcome(self._flow.request([command], now(), timeout_s=FORGET_TIMEOUT_S))
            except RaftbookError:
                pass
        self._is_closed = True
        self._flow.end(now())
        self._runner.close()

    # -- requests -----------------------------------------------------------------------------

    def request(
        self,
        commands: Sequence[Command],
        *,
        request_seq: int | None = None,
        is_first: bool = False,
    ) -> RequestReply:
        """Send one request of one or many commands; they take effect together, in order.

        Args:
            commands: as the constructors in `raftbook.core.commands` make them: ticks and lots.
            request_seq: to repeat a request that ended as OutcomeUnknown, its number, with the same
                commands. A client of a fixed session_key may number its requests itself.
            is_first: nothing was ever asked under this request_seq. Else what brings no answer is
                unknown: an earlier attempt, in another process perhaps, may have had an effect.

        Raises:
            NotAccepted: it had no effect and will have none.
            OutcomeUnknown: it may have had, or may still have; `request_seq` repeats it.
            NoNodeReachable: no node answered, nothing was sent.
            ValueError: there is no account, or this request_seq is under way.
        """
        self._start()
        operation = self._flow.request(commands, now(), request_seq=request_seq, is_first=is_first)
        return cast(RequestReply, self._outcome(operation))

    # -- queries ------------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """The node's status, as in docs/PROTOCOL.md."""
        return cast(dict[str, Any], self.query("status"))

    def query(self, name: str, **arguments: Any) -> Any:
        """Any query of docs/PROTOCOL.md, and its raw value: ticks, lots, arrays as tuples.

        Raises:
            Refused: the node said no; `code` says why.
            NotAccepted, NoNodeReachable: no answer within timeout_s.
            OutcomeUnknown: of "transfer", "add" and "remove", which are never asked twice.
        """
        self._start()
        return self._outcome(self._flow.query(name, arguments, now()))

    def subscribe(self, name: str, **arguments: Any) -> Subscription:
        """A stream of docs/PROTOCOL.md as an iterator of raw values: ticks and lots.

        It has a connection of its own. When that is lost it goes on at another node where it stood:
        feed at feed_seq n+1, entries at index n+1, without gap or repeat. A feed may begin again
        with a "refresh" if the place is no longer kept. End it with `close` or `with`;
        `next(timeout_s)` waits no longer than that.

        Raises, while iterating:
            NoNodeReachable, NotAccepted: no node to go on with for timeout_s.
            Refused: the node said no.
        """
        return Subscription(self._settings, name, arguments, self._on_progress)

    def depth(self, symbol: str) -> DepthSubscription:
        """The price levels of an instrument: one book, kept up to date and proved by its checksum.

        Iterating gives the same `DepthBook` after each change of it, in ticks and lots. It outlives
        its node like `subscribe`, and begins anew by itself where it is not the node's book.

        Raises, while iterating: as `subscribe`, and
            ProtocolError: the book was wrong several times in a row.
        """
        return DepthSubscription(symbol, lambda: self.subscribe("depth", symbol=symbol))

    # -- waiting ------------------------------------------------------------------------------

    def _start(self) -> None:
        if self._is_closed:
            raise NotAccepted("the client was closed")
        self._runner.poll()

    def _outcome(self, operation: Operation) -> Any:
        self._wait(operation)
        if operation.error is not None:
            raise operation.error
        return operation.result

    def _wait(self, operation: Operation) -> None:
        try:
            self._runner.run(lambda: operation.is_done)
        except BaseException:
            self._flow.abandon(operation)
            raise
        self._flow.finished.clear()

    def _drive(self, steps: Generator[Any, Any, _Result]) -> _Result:
        """Run a verb: send what it yields, hand it the answers."""
        try:
            wanted = next(steps)
            while True:
                try:
                    answer = self._answer(wanted)
                except RaftbookError as error:
                    wanted = steps.throw(error)
                else:
                    wanted = steps.send(answer)
        except StopIteration as end:
            return cast(_Result, end.value)

    def _answer(self, wanted: Call | list[Request]) -> Any:
        if isinstance(wanted, Request):
            return self.request(wanted.commands, request_seq=wanted.request_seq)
        if isinstance(wanted, Query):
            return self.query(wanted.name, **wanted.arguments)
        return self._pipeline(wanted)

    def _pipeline(self, requests: Sequence[Request]) -> list[RequestReply | RaftbookError]:
        """Send many requests, so many in flight; their replies or errors, in order."""
        answers: list[RequestReply | RaftbookError] = []
        in_flight: deque[Operation] = deque()
        waiting = iter(requests)
        self._start()
        try:
            while True:
                for request in islice(waiting, PIPELINED_MAX - len(in_flight)):
                    in_flight.append(self._flow.request(request.commands, now()))
                if not in_flight:
                    return answers
                self._wait(in_flight[0])
                operation = in_flight.popleft()
                answers.append(operation.error or operation.result)
        except BaseException:
            for operation in in_flight:
                self._flow.abandon(operation)
            raise

"""`AsyncClient`: a client for programs that run on asyncio.

Owns the futures that calls wait for. What is said is decided in `flow.py` and `verbs.py`, and is
the same as in `sync.py`; the socket is in `aio_socket.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Sequence
from typing import Any, TypeVar, cast

from raftbook.client.aio_socket import Runner
from raftbook.client.aio_stream import AsyncDepthSubscription, AsyncSubscription
from raftbook.client.aio_venue import AsyncVenue
from raftbook.client.base import FORGET_TIMEOUT_S
from raftbook.client.operation import Operation
from raftbook.client.session import IN_FLIGHT_MAX
from raftbook.client.steps import Call, Query, Request
from raftbook.client.values import RequestReply
from raftbook.core.commands import Command, close_session
from raftbook.errors import NotAccepted, RaftbookError

_Result = TypeVar("_Result")


class AsyncClient(AsyncVenue):
    """A client of one cluster: one connection, many calls in flight, fail-over in between.

    Every call ends after timeout_s at the latest, with a result or with a RaftbookError whose type
    says what may be done: NotAccepted (no effect; `Refused`, a kind of it, carries a code),
    OutcomeUnknown (send again only with its request_seq, by this client or one of the same
    session_key), NoNodeReachable (nothing was sent). What the market refuses is an OrderResult.

    `BaseClient` documents the arguments.
    """

    def _prepare(self) -> None:
        self._runner: Runner | None = None  # needs a running loop
        self._slots = asyncio.Semaphore(IN_FLIGHT_MAX)

    async def __aenter__(self) -> AsyncClient:
        await self.connect()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    async def connect(self) -> None:
        """Reach a node and log in. Other calls do it too; this one tells early.

        Raises:
            NoNodeReachable: no node answered within timeout_s.
            Refused: the account was not let in.
        """
        self._start()
        await self._outcome(self._flow.connect(_now()))

    async def close(self, *, forget_session: bool | None = None) -> None:
        """End the connection. Calls in flight end as NotAccepted or OutcomeUnknown.

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
                await self._outcome(
                    self._flow.request([command], _now(), timeout_s=FORGET_TIMEOUT_S)
                )
            except RaftbookError:
                pass
        self._is_closed = True
        if self._runner is not None:
            self._flow.end(_now())
            self._runner.close()
            await asyncio.sleep(0)  # the socket closes in the next turn of the loop

    # -- requests -----------------------------------------------------------------------------

    async def request(
        self,
        commands: Sequence[Command],
        *,
        request_seq: int | None = None,
        is_first: bool = False,
    ) -> RequestReply:
        """Send one request of one or many commands; they take effect together, in order.

        Many requests may be in flight; they arrive in the order they were made, unless a node is
        lost between them.

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
            ValueError: there is no account, or this request_seq is in flight.
        """
        async with self._slots:
            self._start()
            operation = self._flow.request(
                commands, _now(), request_seq=request_seq, is_first=is_first
            )
            return cast(RequestReply, await self._outcome(operation))

    # -- queries ------------------------------------------------------------------------------

    async def status(self) -> dict[str, Any]:
        """The node's status, as in docs/PROTOCOL.md."""
        return cast(dict[str, Any], await self.query("status"))

    async def query(self, name: str, **arguments: Any) -> Any:
        """Any query of docs/PROTOCOL.md, and its raw value: ticks, lots, arrays as tuples.

        Raises:
            Refused: the node said no; `code` says why.
            NotAccepted, NoNodeReachable: no answer within timeout_s.
            OutcomeUnknown: of "transfer", "add" and "remove", which are never asked twice.
        """
        self._start()
        return await self._outcome(self._flow.query(name, arguments, _now()))

    def subscribe(self, name: str, **arguments: Any) -> AsyncSubscription:
        """A stream of docs/PROTOCOL.md as an async iterator of raw values: ticks and lots.

        It has a connection of its own. When that is lost it goes on at another node where it stood:
        feed at feed_seq n+1, entries at index n+1, without gap or repeat. A feed may begin again
        with a "refresh" if the place is no longer kept. End it with `aclose` or `async with`.

        Raises, while iterating:
            NoNodeReachable, NotAccepted: no node to go on with for timeout_s.
            Refused: the node said no.
        """
        return AsyncSubscription(self._settings, name, arguments, self._on_progress)

    def depth(self, symbol: str) -> AsyncDepthSubscription:
        """The price levels of an instrument: one book, kept up to date and proved by its checksum.

        Iterating gives the same `DepthBook` after each change of it, in ticks and lots. It outlives
        its node like `subscribe`, and begins anew by itself where it is not the node's book.

        Raises, while iterating: as `subscribe`, and
            ProtocolError: the book was wrong several times in a row.
        """
        return AsyncDepthSubscription(symbol, lambda: self.subscribe("depth", symbol=symbol))

    # -- the event loop's side ----------------------------------------------------------------

    def _start(self) -> None:
        if self._is_closed:
            raise NotAccepted("the client was closed")
        if self._runner is None:
            self._runner = Runner(self._flow, self._wake_waiters, self._on_progress)

    def _wake_waiters(self) -> None:
        finished = self._flow.finished
        if not finished:
            return
        self._flow.finished = []
        for operation in finished:
            future = operation.waiter
            if future is not None and not future.done():
                future.set_result(None)

    async def _outcome(self, operation: Operation) -> Any:
        assert self._runner is not None, "a call before _start()"
        if not operation.is_done:
            operation.waiter = asyncio.get_running_loop().create_future()
            self._runner.kick()
            try:
                await operation.waiter
            except asyncio.CancelledError:
                self._flow.abandon(operation)
                raise
        if operation.error is not None:
            raise operation.error
        return operation.result

    async def _drive(self, steps: Generator[Any, Any, _Result]) -> _Result:
        """Run a verb: send what it yields, hand it the answers."""
        try:
            wanted = next(steps)
            while True:
                try:
                    answer = await self._answer(wanted)
                except RaftbookError as error:
                    wanted = steps.throw(error)
                else:
                    wanted = steps.send(answer)
        except StopIteration as end:
            return cast(_Result, end.value)

    async def _answer(self, wanted: Call | list[Request]) -> Any:
        if isinstance(wanted, Request):
            return await self.request(wanted.commands, request_seq=wanted.request_seq)
        if isinstance(wanted, Query):
            return await self.query(wanted.name, **wanted.arguments)
        answers = await asyncio.gather(*map(self._answer, wanted), return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException) and not isinstance(answer, RaftbookError):
                raise answer
        return answers


def _now() -> float:
    return asyncio.get_running_loop().time()

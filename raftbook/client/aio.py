"""`AsyncClient`: a client for programs that run on asyncio.

Owns the futures that calls wait for. What is said is decided in `flow.py` and `verbs.py`, and is
the same as in `sync.py`; the socket is in `aio_socket.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Iterable, Sequence
from typing import Any, TypeVar, cast

from raftbook.client.aio_socket import Runner
from raftbook.client.aio_stream import AsyncSubscription
from raftbook.client.base import FORGET_TIMEOUT_S, BaseClient
from raftbook.client.operation import Operation
from raftbook.client.session import IN_FLIGHT_MAX
from raftbook.client.values import Amount, InstrumentSpec, OrderRequest, OrderResult, RequestReply
from raftbook.client.verbs import COMMANDS_PER_REQUEST, Call, Query, Request
from raftbook.client.views import BookView, OrderView, TradesView
from raftbook.core.commands import Command, close_session
from raftbook.core.types import OrderType, SelfTradePrevention, Side, TimeInForce
from raftbook.errors import NotAccepted, RaftbookError

_Result = TypeVar("_Result")


class AsyncClient(BaseClient):
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
        self, commands: Sequence[Command], *, request_seq: int | None = None
    ) -> RequestReply:
        """Send one request of one or many commands; they take effect together, in order.

        Many requests may be in flight; they arrive in the order they were made, unless a node is
        lost between them.

        Args:
            commands: as the constructors in `raftbook.core.commands` make them: ticks and lots.
            request_seq: to repeat a request that ended as OutcomeUnknown, its number, with the same
                commands. A client of a fixed session_key may number its requests itself.

        Raises:
            NotAccepted: it had no effect and will have none.
            OutcomeUnknown: it may have had, or may still have; `request_seq` repeats it.
            NoNodeReachable: no node answered, nothing was sent.
            ValueError: there is no account, or this request_seq is in flight.
        """
        async with self._slots:
            self._start()
            operation = self._flow.request(commands, _now(), request_seq=request_seq)
            return cast(RequestReply, await self._outcome(operation))

    async def submit(
        self,
        symbol: str,
        side: Side | str,
        qty: Amount,
        price: Amount | None = None,
        *,
        ord_type: OrderType | None = None,
        time_in_force: TimeInForce | None = None,
        post_only: bool = False,
        self_trade_prevention: SelfTradePrevention = SelfTradePrevention.NONE,
        client_order_id: str = "",
        request_seq: int | None = None,
    ) -> OrderResult:
        """Send one order; fields as in `OrderRequest`, errors as of `request`.

        A price off the ticks, a quantity off the lots and an unknown symbol are refused without
        asking a node: as an OrderResult with entry_index 0.
        """
        order = OrderRequest(
            symbol,
            side,
            qty,
            price,
            ord_type,
            time_in_force,
            post_only,
            self_trade_prevention,
            client_order_id,
        )
        return await self._drive(self._verbs.submit(order, request_seq))

    async def submit_many(
        self,
        orders: Iterable[OrderRequest],
        *,
        commands_per_request: int = COMMANDS_PER_REQUEST,
    ) -> list[OrderResult]:
        """Send many orders in requests of so many; the results in the same order.

        Raises as `request` only if none of the orders can have taken effect. Else the orders whose
        request brought no reply have ord_status UNKNOWN (with the request_seq to repeat) or
        NOT_ACCEPTED, and the others their results.
        """
        return await self._drive(self._verbs.submit_many(orders, commands_per_request))

    async def cancel(
        self, *, order_id: int = 0, client_order_id: str = "", request_seq: int | None = None
    ) -> OrderResult:
        """Cancel one own order, by our id or, when that is 0, by yours."""
        return await self._drive(self._verbs.cancel(order_id, client_order_id, request_seq))

    async def amend(
        self,
        *,
        order_id: int = 0,
        client_order_id: str = "",
        symbol: str = "",
        qty: Amount | None = None,
        price: Amount | None = None,
        request_seq: int | None = None,
    ) -> OrderResult:
        """Change the total quantity and/or the price of one own resting order.

        Args:
            symbol: the order's instrument; saves asking for it.
            qty: the new total, what has traded included; None leaves it.
            price: the new price; None leaves it.
        """
        return await self._drive(
            self._verbs.amend(
                order_id=order_id,
                client_order_id=client_order_id,
                symbol=symbol,
                qty=qty,
                price=price,
                request_seq=request_seq,
            )
        )

    # -- queries ------------------------------------------------------------------------------

    async def instruments(self) -> dict[str, InstrumentSpec]:
        """Every instrument, by symbol."""
        return await self._drive(self._verbs.instruments())

    async def book(
        self,
        symbol: str,
        depth: int = 10,
        *,
        orders: bool = False,
        at_least: int | None = None,
        linearizable: bool = False,
        max_age_ms: int | None = None,
    ) -> BookView:
        """A book as the node has it.

        Args:
            depth: levels per side, 0 for all.
            orders: also each resting order.
            at_least: wait until the node has applied this entry index: reads your own writes.
            linearizable: wait for everything that was answered before this call, anywhere.
            max_age_ms: refuse when the node last heard of a leader longer ago; by default the
                cluster's read_age_max_ms.

        Raises:
            Refused: UNKNOWN_INSTRUMENT, or TOO_STALE: waiting took too long, or it is too old.
        """
        return await self._drive(
            self._verbs.book(
                symbol,
                depth,
                orders=orders,
                at_least=at_least,
                linearizable=linearizable,
                max_age_ms=max_age_ms,
            )
        )

    async def trades(self, symbol: str, limit: int = 20) -> TradesView:
        """The last trades, at most `limit`."""
        return await self._drive(self._verbs.trades(symbol, limit))

    async def status(self) -> dict[str, Any]:
        """The node's status, as in docs/PROTOCOL.md."""
        return cast(dict[str, Any], await self.query("status"))

    async def order(self, *, order_id: int = 0, client_order_id: str = "") -> OrderView:
        """One own order, open or closed and still remembered.

        Raises:
            Refused: UNKNOWN_ORDER.
        """
        return await self._drive(self._verbs.order(order_id, client_order_id))

    async def orders(
        self, symbol: str | None = None, *, open_only: bool = True, limit: int = 1000
    ) -> list[OrderView]:
        """Own orders, the newest `limit` of one instrument or of all, eldest first."""
        return await self._drive(self._verbs.orders(symbol, open_only=open_only, limit=limit))

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

"""The verbs of both clients, written once: what to ask, and what the answer means.

Owns the instrument table and the decimals. A verb is a generator: it yields what is to be sent (a
`Request`, a `Query`, or a list of them to be sent at once) and gets the answers back; so neither
client repeats the other's logic, and no socket comes near it. Orders that no instrument admits are
answered here, as values, before anything is sent.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from raftbook.client.rejects import Refused, explain_reject, reject_name
from raftbook.client.units import Amount, InstrumentSpec, decimal, side_name
from raftbook.client.values import (
    NOT_ACCEPTED,
    UNKNOWN,
    OrderRequest,
    OrderResult,
    RequestReply,
    order_results,
)
from raftbook.client.views import BookView, OrderView, TradesView
from raftbook.core import commands as c
from raftbook.core.commands import Command
from raftbook.core.form import form_error
from raftbook.core.types import OrderType, Reject, Side, TimeInForce
from raftbook.errors import OutcomeUnknown, ProtocolError, RaftbookError
from raftbook.wire import pages

COMMANDS_PER_REQUEST: Final = 100


@dataclass(frozen=True, slots=True)
class Request:
    """Send these commands; the answer is a RequestReply."""

    commands: Sequence[Command]
    request_seq: int | None = None


@dataclass(frozen=True, slots=True)
class Query:
    """Ask this; the answer is the query's value."""

    name: str
    arguments: dict[str, Any]


Call = Request | Query

Steps = Generator[Call | list[Request], Any, Any]
"""Yields a call and gets its answer (or its error is thrown in), or yields a list of requests and
gets the list of their answers, in which an error stands where it happened."""


ANY_AGE_MS: Final = 2**62
"""The most that `max_age_ms` of a query may be."""


class Verbs:
    """What one client knows of the market: the terms of the instruments, which never change."""

    def __init__(self) -> None:
        self.specs: dict[str, InstrumentSpec] = {}

    # -- orders -------------------------------------------------------------------------------

    def submit(
        self, order: OrderRequest, request_seq: int | None
    ) -> Generator[Any, Any, OrderResult]:
        """One order."""
        yield from self._know([order.symbol])
        command = prepare_order(order, self.specs)
        if isinstance(command, OrderResult):
            return command
        return (yield from self._command(command, request_seq))

    def submit_many(
        self, orders: Iterable[OrderRequest], commands_per_request: int
    ) -> Generator[Any, Any, list[OrderResult]]:
        """Many orders, in requests of so many commands, in order."""
        if commands_per_request < 1:
            raise ValueError(f"commands_per_request must be positive, not {commands_per_request}")
        wanted = list(orders)
        yield from self._know(order.symbol for order in wanted)
        results: dict[int, OrderResult] = {}
        commands: list[tuple[int, Command]] = []
        for at, order in enumerate(wanted):
            prepared = prepare_order(order, self.specs)
            if isinstance(prepared, OrderResult):
                results[at] = prepared
            else:
                commands.append((at, prepared))
        step = commands_per_request
        chunks = [commands[at : at + step] for at in range(0, len(commands), step)]
        calls = [Request([command for _, command in chunk]) for chunk in chunks]
        answers = (yield calls) if calls else []
        errors = [answer for answer in answers if isinstance(answer, RaftbookError)]
        if errors and len(errors) == len(answers):
            if not any(isinstance(error, OutcomeUnknown) for error in errors):
                raise errors[0]
        for chunk, call, answer in zip(chunks, calls, answers, strict=True):
            if isinstance(answer, RaftbookError):
                for at, _ in chunk:
                    results[at] = _without_reply(wanted[at], answer)
            else:
                for (at, _), result in zip(
                    chunk, order_results(answer, call.commands, self.specs), strict=True
                ):
                    results[at] = result
        return [results[at] for at in range(len(wanted))]

    def cancel(
        self, order_id: int, client_order_id: str, request_seq: int | None
    ) -> Generator[Any, Any, OrderResult]:
        """Cancel one order."""
        command = c.cancel_order(order_id=order_id, client_order_id=client_order_id)
        return (yield from self._command(command, request_seq))

    def amend(
        self,
        *,
        order_id: int,
        client_order_id: str,
        symbol: str,
        qty: Amount | None,
        price: Amount | None,
        request_seq: int | None,
    ) -> Generator[Any, Any, OrderResult]:
        """Change one order; its instrument is asked for when it is not named."""
        if not symbol and (qty is not None or price is not None):
            try:
                symbol = (yield from self.order(order_id, client_order_id)).symbol
            except Refused as error:
                # So says the book as this node has it; an order on its way will not be amended.
                named = OrderResult(order_id=order_id, client_order_id=client_order_id)
                return rejected(named, error.code, str(error))
        yield from self._know([symbol] if symbol else [])
        units = _units_of(symbol, qty=qty, price=price, specs=self.specs)
        if isinstance(units, Unfit):
            draft = OrderResult(order_id=order_id, client_order_id=client_order_id, symbol=symbol)
            return rejected(draft, units.code, units.text)
        command = c.amend_order(
            order_id=order_id, client_order_id=client_order_id, order_qty=units[0], price=units[1]
        )
        return (yield from self._command(command, request_seq))

    def _command(
        self, command: Command, request_seq: int | None
    ) -> Generator[Any, Any, OrderResult]:
        error = form_error(command)
        if error is not None:
            named = OrderResult()
            if command[0] != c.NEW_ORDER:
                named = OrderResult(order_id=command[1], client_order_id=command[2])
            return rejected(named, Reject.MALFORMED, error)
        reply: RequestReply = yield Request([command], request_seq)
        try:
            return order_results(reply, [command], self.specs)[0]
        except KeyError:
            yield from self._learn_instruments()
            return self._read(reply, command)

    def _read(self, reply: RequestReply, command: Command) -> OrderResult:
        try:
            return order_results(reply, [command], self.specs)[0]
        except KeyError as error:
            raise ProtocolError(f"the node does not know instrument {error}") from error

    # -- the market ---------------------------------------------------------------------------

    def instruments(self) -> Generator[Any, Any, dict[str, InstrumentSpec]]:
        """Ask for the instrument table."""
        return (yield from self._read_instruments({}))

    def _learn_instruments(self) -> Generator[Any, Any, None]:
        """Ask for it only for the terms: they never change, so any node's are as good."""
        yield from self._read_instruments({"max_age_ms": ANY_AGE_MS})

    def _read_instruments(
        self, arguments: dict[str, Any]
    ) -> Generator[Any, Any, dict[str, InstrumentSpec]]:
        specs: list[InstrumentSpec] = []
        while True:
            value = yield Query("instruments", {**arguments, "from": len(specs)})
            if not isinstance(value, tuple):
                raise ProtocolError(f"no instruments: {value!r:.200}")
            specs += [InstrumentSpec.from_wire(element) for element in value]
            if len(value) < pages.INSTRUMENT_ROWS:
                break
        self.specs = {spec.symbol: spec for spec in specs}
        return dict(self.specs)

    def book(
        self,
        symbol: str,
        depth: int,
        *,
        orders: bool,
        at_least: int | None,
        linearizable: bool,
        max_age_ms: int | None,
    ) -> Generator[Any, Any, BookView]:
        """A book."""
        spec = yield from self._spec(symbol)
        arguments: dict[str, Any] = {"symbol": symbol, "depth": depth, "orders": orders}
        if at_least is not None:
            arguments["at_least"] = at_least
        if linearizable:
            arguments["linearizable"] = True
        if max_age_ms is not None:
            arguments["max_age_ms"] = max_age_ms
        return BookView.from_wire((yield Query("book", arguments)), spec)

    def trades(self, symbol: str, limit: int) -> Generator[Any, Any, TradesView]:
        """The last trades."""
        spec = yield from self._spec(symbol)
        value = yield Query("trades", {"symbol": symbol, "limit": limit})
        return TradesView.from_wire(value, spec)

    def order(self, order_id: int, client_order_id: str) -> Generator[Any, Any, OrderView]:
        """One own order."""
        by_id = {"order_id": order_id}
        value = yield Query("order", by_id if order_id else {"client_order_id": client_order_id})
        if value is None:
            raise Refused(Reject.UNKNOWN_ORDER, "", doing="order")
        return (yield from self._order_views([value]))[0]

    def orders(
        self, symbol: str | None, *, open_only: bool, limit: int
    ) -> Generator[Any, Any, list[OrderView]]:
        """Own orders, the newest ones, page by page: each page is of its own moment."""
        listed: list[Any] = []
        before: int | None = None
        while True:
            wanted = min(limit - len(listed), pages.ROWS_MAX)
            arguments = {"symbol": symbol, "open_only": open_only, "limit": wanted}
            value = yield Query("orders", {**arguments, "before": before})
            try:
                listed[:0] = value["orders"]
                before = value["before"]
            except (KeyError, TypeError) as error:
                raise ProtocolError(f"no orders: {value!r:.200}") from error
            if before is None or not value["orders"] or len(listed) >= limit:
                return (yield from self._order_views(listed))

    def _order_views(self, values: list[Any]) -> Generator[Any, Any, list[OrderView]]:
        try:
            return [OrderView.from_wire(value, self.specs) for value in values]
        except KeyError:
            yield from self._learn_instruments()
        try:
            return [OrderView.from_wire(value, self.specs) for value in values]
        except KeyError as error:
            raise ProtocolError(f"the node does not know instrument {error}") from error

    def _know(self, symbols: Iterable[str]) -> Generator[Any, Any, None]:
        if any(symbol not in self.specs for symbol in symbols):
            yield from self._learn_instruments()

    def _spec(self, symbol: str) -> Generator[Any, Any, InstrumentSpec]:
        yield from self._know([symbol])
        if symbol not in self.specs:
            raise Refused(Reject.UNKNOWN_INSTRUMENT, "", doing=symbol)
        return self.specs[symbol]


# -- commands out of decimals -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Unfit:
    """Why an amount is none of an instrument's."""

    code: Reject
    text: str


def prepare_order(order: OrderRequest, specs: dict[str, InstrumentSpec]) -> Command | OrderResult:
    """The command of an order, or why no instrument admits it.

    Raises:
        TypeError, ValueError: the program wrote what is no amount or no side.
    """
    side = Side[side_name(order.side)]
    units = _units_of(order.symbol, qty=decimal(order.qty), price=order.price, specs=specs)
    if isinstance(units, Unfit):
        return rejected(_draft(order), units.code, units.text)
    qty, price = units
    assert qty is not None, f"{order} came out without lots"
    is_market = price is None if order.ord_type is None else order.ord_type == OrderType.MARKET
    time_in_force = order.time_in_force
    if time_in_force is None:
        time_in_force = TimeInForce.IOC if is_market else TimeInForce.GTC
    command = c.new_order(
        order.symbol,
        side,
        qty,
        price,
        client_order_id=order.client_order_id,
        ord_type=order.ord_type or (OrderType.MARKET if is_market else OrderType.LIMIT),
        time_in_force=time_in_force,
        post_only=order.post_only,
        self_trade_prevention=order.self_trade_prevention,
    )
    error = form_error(command)
    return command if error is None else rejected(_draft(order), Reject.MALFORMED, error)


def _units_of(
    symbol: str, *, qty: Amount | None, price: Amount | None, specs: dict[str, InstrumentSpec]
) -> tuple[int | None, int | None] | Unfit:
    """(lots, ticks), or why there are none."""
    if qty is None and price is None:
        return None, None
    spec = specs.get(symbol)
    if spec is None:
        known = ", ".join(sorted(specs)[:20]) or "none"
        text = f"There is no instrument {symbol!r}; there are: {known}."
        return Unfit(Reject.UNKNOWN_INSTRUMENT, text)
    lots = ticks = None
    if qty is not None:
        lots = spec.lots(decimal(qty))
        if lots is None:
            text = f"Quantity {qty} is not a whole number of lots of {spec.lot_size}."
            return Unfit(Reject.LOT_SIZE, text)
    if price is not None:
        ticks = spec.ticks(decimal(price))
        if ticks is None:
            text = f"Price {price} is not a whole number of ticks of {spec.tick_size}."
            return Unfit(Reject.TICK_SIZE, text)
    return lots, ticks


def _draft(order: OrderRequest) -> OrderResult:
    """An order that nothing has happened to."""
    qty = decimal(order.qty)
    return OrderResult(
        client_order_id=order.client_order_id,
        symbol=order.symbol,
        side=side_name(order.side),
        order_qty=qty,
        cum_qty=qty * 0,
        leaves_qty=qty * 0,
    )


def rejected(draft: OrderResult, code: int, text: str) -> OrderResult:
    """A refusal that no node was asked for."""
    return replace(
        draft,
        reject_code=int(code),
        reject_name=reject_name(code),
        text=text or explain_reject(code),
    )


def _without_reply(order: OrderRequest, error: RaftbookError) -> OrderResult:
    """An order of a request that brought no reply, among others that did."""
    is_unknown = isinstance(error, OutcomeUnknown)
    code = Reject.OUTCOME_UNKNOWN if is_unknown else Reject.NOT_READY
    seq = error.request_seq if isinstance(error, OutcomeUnknown) else None
    draft = replace(
        _draft(order),
        ord_status=UNKNOWN if is_unknown else NOT_ACCEPTED,
        cum_qty=None,
        leaves_qty=None,
        request_seq=seq or 0,
    )
    return rejected(draft, getattr(error, "code", code), str(error))

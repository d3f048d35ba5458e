"""Verbs about orders, written once for both clients: what to ask, and what the answer means.

Owns what a verb sends and how its answer reads. Orders that no instrument admits are answered here,
as values, before anything is sent.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final

from raftbook.client.prepare import (
    Unfit,
    change_command,
    change_fields,
    order_command,
    oto_command,
    pair_command,
    ticks_of,
)
from raftbook.client.rejects import Refused
from raftbook.client.results import order_results
from raftbook.client.steps import Request, rejected
from raftbook.client.units import Amount, InstrumentSpec, decimal, side_name
from raftbook.client.values import NOT_ACCEPTED, UNKNOWN, OrderPair, OrderRequest, OrderResult
from raftbook.client.verbs_market import MarketVerbs
from raftbook.client.verbs_venue import VenueVerbs
from raftbook.core import commands as c
from raftbook.core.commands import Command
from raftbook.core.form import form_error
from raftbook.core.types import Reject, Side
from raftbook.errors import OutcomeUnknown, RaftbookError

COMMANDS_PER_REQUEST: Final = 100


class OrderVerbs(MarketVerbs):
    """Orders: entering, changing and ending them."""

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
        request_seq: int | None,
        **changes: Any,
    ) -> Generator[Any, Any, OrderResult]:
        """Change one order; its instrument is asked for when it is not named.

        Args:
            changes: qty, price, stop_price, trail, trail_bps, display_qty, expire_time_ns.
        """
        given = {name: value for name, value in changes.items() if value is not None}
        draft = OrderResult(order_id=order_id, client_order_id=client_order_id, symbol=symbol)
        if not symbol and given.keys() - {"trail_bps", "expire_time_ns"}:
            try:
                symbol = (yield from self.order(order_id, client_order_id)).symbol
            except Refused as error:
                # So says the book as this node has it; an order on its way will not be amended.
                return rejected(draft, error.code, str(error))
        yield from self._know([symbol] if symbol else [])
        try:
            fields = change_fields(given, symbol, self.specs)
        except Unfit as error:
            return rejected(replace(draft, symbol=symbol), error.code, error.text)
        target = {"order_id": order_id, "client_order_id": client_order_id}
        return (yield from self._command(change_command(target, fields), request_seq))

    def submit_pair(
        self, pair: OrderPair, request_seq: int | None
    ) -> Generator[Any, Any, OrderResult]:
        """A limit order and a stop of which one ends the other."""
        yield from self._know([pair.order.symbol])
        try:
            command = pair_command(pair, self.specs)
        except Unfit as error:
            return rejected(_draft(pair.order), error.code, error.text)
        return (yield from self._command(command, request_seq))

    def submit_oto(
        self, order: OrderRequest, pending: OrderRequest | OrderPair, request_seq: int | None
    ) -> Generator[Any, Any, OrderResult]:
        """An order, and what is entered once it is filled."""
        yield from self._know([order.symbol])
        try:
            command = oto_command(order, pending, self.specs)
        except Unfit as error:
            return rejected(_draft(order), error.code, error.text)
        return (yield from self._command(command, request_seq))

    def cancel_replace(
        self,
        order: OrderRequest,
        *,
        order_id: int,
        client_order_id: str,
        or_place: bool,
        request_seq: int | None,
    ) -> Generator[Any, Any, OrderResult]:
        """Cancel one order and enter another in its place, in one step."""
        yield from self._know([order.symbol])
        prepared = prepare_order(order, self.specs)
        if isinstance(prepared, OrderResult):
            return prepared
        command = c.cancel_replace(
            prepared, order_id=order_id, client_order_id=client_order_id, or_place=or_place
        )
        return (yield from self._command(command, request_seq))

    def mass_cancel(
        self,
        *,
        account: str,
        session_id: int,
        symbol: str,
        side: Side | str | None,
        price_low: Amount | None,
        price_high: Amount | None,
        request_seq: int | None,
    ) -> Generator[Any, Any, OrderResult]:
        """Cancel every order that fits."""
        low = high = None
        if price_low is not None or price_high is not None:
            spec = yield from self._spec(symbol)
            try:
                low = None if price_low is None else ticks_of(price_low, spec)
                high = None if price_high is None else ticks_of(price_high, spec)
            except Unfit as error:
                return rejected(OrderResult(symbol=symbol), error.code, error.text)
        command = c.mass_cancel(
            account=account,
            session_id=session_id,
            symbol=symbol,
            side=None if side is None else Side[side_name(side)],
            price_low=low,
            price_high=high,
        )
        return (yield from self._command(command, request_seq))


class Verbs(OrderVerbs, VenueVerbs):
    """Everything that a client can say."""


# -- commands out of decimals -----------------------------------------------------------------


def prepare_order(order: OrderRequest, specs: dict[str, InstrumentSpec]) -> Command | OrderResult:
    """The command of an order, or why no instrument admits it.

    Raises:
        TypeError, ValueError: the program wrote what is no amount or no side.
    """
    draft = _draft(order)
    try:
        command = order_command(order, specs)
    except Unfit as error:
        return rejected(draft, error.code, error.text)
    error_text = form_error(command)
    return command if error_text is None else rejected(draft, Reject.MALFORMED, error_text)


def _draft(order: OrderRequest) -> OrderResult:
    """An order that nothing has happened to."""
    qty = None if order.qty is None else decimal(order.qty)
    return OrderResult(
        client_order_id=order.client_order_id,
        symbol=order.symbol,
        side=side_name(order.side),
        order_qty=qty,
        cum_qty=Decimal(0) if qty is None else qty * 0,
        leaves_qty=Decimal(0) if qty is None else qty * 0,
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

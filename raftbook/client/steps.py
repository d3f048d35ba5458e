"""What verbs are made of: calls to send, and the instrument table they share.

Owns the generator protocol of verbs: a verb yields what is to be sent and gets the answers back, so
neither client repeats the other's logic, and no socket comes near it.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from raftbook.client.rejects import Refused, explain_reject, reject_name
from raftbook.client.results import order_results
from raftbook.client.units import InstrumentSpec
from raftbook.client.values import OrderResult, RequestReply
from raftbook.core import commands as c
from raftbook.core.commands import Command
from raftbook.core.form import form_error
from raftbook.core.types import Reject
from raftbook.errors import ProtocolError
from raftbook.wire import pages


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

_NAMES_AN_ORDER: Final = frozenset(
    (c.CANCEL_ORDER, c.AMEND_ORDER, c.REPLACE_ORDER, c.CANCEL_REPLACE)
)


class KnownInstruments:
    """What one client knows of the market: the terms of the instruments. They are asked for again
    when one is missing; an operator that gives one other sizes does so while nobody trades it."""

    def __init__(self) -> None:
        self.specs: dict[str, InstrumentSpec] = {}

    def instruments(self) -> Generator[Any, Any, dict[str, InstrumentSpec]]:
        """Ask for the instrument table."""
        return (yield from self._read_instruments({}))

    def _learn_instruments(self) -> Generator[Any, Any, None]:
        """Ask for it only for the terms: any node's are as good."""
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

    def _know(self, symbols: Iterable[str]) -> Generator[Any, Any, None]:
        if any(symbol not in self.specs for symbol in symbols):
            yield from self._learn_instruments()

    def _spec(self, symbol: str) -> Generator[Any, Any, InstrumentSpec]:
        yield from self._know([symbol])
        if symbol not in self.specs:
            raise Refused(Reject.UNKNOWN_INSTRUMENT, "", doing=symbol)
        return self.specs[symbol]

    def _command(
        self, command: Command, request_seq: int | None
    ) -> Generator[Any, Any, OrderResult]:
        """Send one command; what is malformed is refused here."""
        error = form_error(command)
        if error is not None:
            named = OrderResult()
            if command[0] in _NAMES_AN_ORDER:
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


def rejected(draft: OrderResult, code: int, text: str) -> OrderResult:
    """A refusal that no node was asked for."""
    return replace(
        draft,
        reject_code=int(code),
        reject_name=reject_name(code),
        text=text or explain_reject(code),
    )

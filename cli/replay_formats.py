"""Files of order flow as commands: LOBSTER messages, our own CSV, JSON lines.

Owns what each message means and why one is skipped: whatever a file holds, every message is
either a command or counted under a reason. Must not know files or nodes.

LOBSTER (https://lobsterdata.com/info/DataStructure.php), no header line; the direction is that of
the order that rests:

    time_s,type,order_id,size,price x 10000,direction

    1 new limit order      -> limit order, its id as client_order_id
    2 partial cancel       -> amend the quantity down
    3 delete               -> cancel
    4 visible execution    -> an immediate-or-cancel order at that price from the other side
    5 hidden execution, 6 cross, 7 halt  -> skipped
    2, 3, 4 about an order that the file never added  -> skipped

Our CSV, with this header line; qty and price are decimals, unused fields are empty:

    type,client_order_id,side,price,qty

    limit, post_only, ioc, fok   a limit order          market        needs no price
    cancel                       needs only the id      amend         qty is the new total

JSON lines: see `order_lines.py`; a line may leave out the symbol.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Final, NamedTuple

from raftbook.client.values import InstrumentSpec, OrderRequest
from raftbook.core.commands import Command
from raftbook.core.form import form_error
from raftbook.core.types import OrderType, Side, TimeInForce

from .amounts import parse_decimal
from .order_lines import (
    EdgeReject,
    amend_command,
    cancel_command,
    command_of_line,
    new_order_command,
)

CSV_HEADER: Final = ("type", "client_order_id", "side", "price", "qty")
LOBSTER_PRICE_SCALE: Final = Decimal(10_000)
MALFORMED: Final = "malformed"

WRITTEN_AS: Final = {
    "lobster": "lobster (time_s,type,order_id,size,price,direction)",
    "csv": f"csv ({','.join(CSV_HEADER)})",
    "jsonl": 'jsonl ({"side": "buy", "qty": "7", "price": "101.50"})',
}
"""How a message of each format is written, for whoever named the wrong one."""

BEGINNING_MAX: Final = 20
"""So many malformed lines at the beginning, and nothing else, are another format."""

EXAMPLES_MAX: Final = 3
"""Malformed lines that are quoted; the others are only counted."""


class Message(NamedTuple):
    """One message of a file: a command, or the reason why there is none."""

    command: Command | None = None
    skipped: str = ""
    time_s: Decimal | None = None
    problem: str = ""
    line: int = 0


Parser = Callable[[str], Message]


class LobsterParser:
    """LOBSTER messages; remembers the orders that the file added, and their quantities."""

    def __init__(self, instrument: InstrumentSpec) -> None:
        self._instrument = instrument
        self._total_qty: dict[str, Decimal] = {}

    def __call__(self, text: str) -> Message:
        fields = text.strip().split(",")
        # LOBSTER adds a seventh field, "null", to some files.
        if len(fields) not in (6, 7):
            return _malformed(f"{len(fields)} fields instead of 6")
        try:
            time_s, size, price, direction = (
                parse_decimal(fields[position], what=what)
                for position, what in ((0, "time"), (3, "size"), (4, "price"), (5, "direction"))
            )
        except ValueError as error:
            return _malformed(str(error))
        if direction not in (1, -1):
            return _malformed(f"direction {fields[5]!r} is neither 1 nor -1")
        side = Side.BUY if direction == 1 else Side.SELL
        try:
            message = self._message(fields[1], fields[2], size, price / LOBSTER_PRICE_SCALE, side)
        except EdgeReject as reject:
            message = Message(skipped=reject.code.name.lower())
        return message._replace(time_s=time_s)

    def _message(
        self, kind: str, order_id: str, size: Decimal, price: Decimal, side: Side
    ) -> Message:
        if kind in _LOBSTER_SKIPPED:
            return Message(skipped=_LOBSTER_SKIPPED[kind])
        if kind not in ("1", "2", "3", "4"):
            return Message(skipped="unknown_type")
        if kind == "1":
            self._total_qty[order_id] = size
            return self._new(side, size, price, client_order_id=order_id)
        if order_id not in self._total_qty:
            return Message(skipped="unknown_order")
        if kind == "4":
            taker_side = Side.SELL if side is Side.BUY else Side.BUY
            return self._new(taker_side, size, price, tif=TimeInForce.IOC)
        if kind == "3":
            return Message(cancel_command(order_id))
        self._total_qty[order_id] -= size
        qty = self._total_qty[order_id]
        if qty <= 0:
            # An amend to nothing is a cancel: say it plainly.
            return Message(cancel_command(order_id))
        return Message(amend_command(order_id, {"qty": qty}, self._instrument))

    def _new(
        self,
        side: Side,
        qty: Decimal,
        price: Decimal,
        *,
        client_order_id: str = "",
        tif: TimeInForce = TimeInForce.GTC,
    ) -> Message:
        spec = OrderRequest(
            self._instrument.symbol,
            side,
            qty,
            price,
            time_in_force=tif,
            client_order_id=client_order_id,
        )
        return _checked(new_order_command(spec, {spec.symbol: self._instrument}))


_LOBSTER_SKIPPED: Final = {"5": "hidden_execution", "6": "cross", "7": "halt"}

_CSV_KINDS: Final[dict[str, tuple[OrderType, TimeInForce, bool]]] = {
    "limit": (OrderType.LIMIT, TimeInForce.GTC, False),
    "post_only": (OrderType.LIMIT, TimeInForce.GTC, True),
    "ioc": (OrderType.LIMIT, TimeInForce.IOC, False),
    "fok": (OrderType.LIMIT, TimeInForce.FOK, False),
    "market": (OrderType.MARKET, TimeInForce.IOC, False),
}
_SIDES: Final = {"buy": Side.BUY, "sell": Side.SELL}


class CsvParser:
    """Our own CSV; the header line has been taken off."""

    def __init__(self, instrument: InstrumentSpec) -> None:
        self._instrument = instrument

    def __call__(self, text: str) -> Message:
        row = next(csv.reader([text]), [])
        if len(row) != len(CSV_HEADER):
            return _malformed(f"{len(row)} fields instead of {len(CSV_HEADER)}")
        try:
            return self._message(*(field.strip() for field in row))
        except EdgeReject as reject:
            return Message(skipped=reject.code.name.lower())
        except ValueError as error:
            return _malformed(str(error))

    def _message(self, kind: str, name: str, side: str, price: str, qty: str) -> Message:
        amounts = {
            "qty": parse_decimal(qty, what="qty") if qty else None,
            "price": parse_decimal(price, what="price") if price else None,
        }
        if kind in ("cancel", "amend") and not name:
            return _malformed(f"{kind} without client_order_id")
        if kind == "cancel":
            return _checked(cancel_command(name))
        if kind == "amend":
            return _checked(amend_command(name, amounts, self._instrument))
        if kind not in _CSV_KINDS:
            return Message(skipped="unknown_type")
        if side not in _SIDES:
            return _malformed(f"side {side!r} is neither buy nor sell")
        if amounts["qty"] is None:
            return _malformed("qty is missing")
        ord_type, tif, post_only = _CSV_KINDS[kind]
        spec = OrderRequest(
            self._instrument.symbol,
            _SIDES[side],
            amounts["qty"],
            amounts["price"],
            ord_type=ord_type,
            time_in_force=tif,
            post_only=post_only,
            client_order_id=name,
        )
        return _checked(new_order_command(spec, {spec.symbol: self._instrument}))


class JsonLinesParser:
    """JSON lines, as `raftbook order -` takes them."""

    def __init__(self, instrument: InstrumentSpec, instruments: dict[str, InstrumentSpec]) -> None:
        self._instruments = instruments
        self._symbol = instrument.symbol

    def __call__(self, text: str) -> Message:
        try:
            return Message(command_of_line(text, self._instruments, default_symbol=self._symbol))
        except EdgeReject as reject:
            return Message(skipped=reject.code.name.lower())
        except ValueError as error:
            return _malformed(str(error))


def messages_of(
    lines: Iterator[str], form: str, symbol: str, instruments: dict[str, InstrumentSpec]
) -> Iterator[Message]:
    """Each message of a file, in order; blank lines are none.

    Args:
        form: lobster, csv or jsonl.

    Raises:
        ValueError: the file is of another format: nothing in its beginning is a message of this
            one; or it is empty.
    """
    instrument = instruments[symbol]
    parse: Parser
    first = 1
    if form == "lobster":
        parse = LobsterParser(instrument)
    elif form == "csv":
        _take_header(lines)
        first = 2
        parse = CsvParser(instrument)
    else:
        parse = JsonLinesParser(instrument, instruments)
    messages = (
        parse(text)._replace(line=number)
        for number, text in enumerate(lines, start=first)
        if text.strip()
    )
    yield from _beginning(messages, form)
    yield from messages


def _beginning(messages: Iterator[Message], form: str) -> list[Message]:
    """The first messages, up to one that is well formed."""
    beginning: list[Message] = []
    for message in messages:
        beginning.append(message)
        if message.skipped != MALFORMED:
            return beginning
        if len(beginning) == BEGINNING_MAX:
            break
    if not beginning:
        raise ValueError(f"it holds no message; one is {WRITTEN_AS[form]}")
    line, problem = beginning[0].line, beginning[0].problem
    raise ValueError(f"line {line} is not {WRITTEN_AS[form]}, nor is what follows: {problem}")


def _take_header(lines: Iterator[str]) -> None:
    header = tuple(field.strip() for field in next(lines, "").split(","))
    if header != CSV_HEADER:
        raise ValueError(f"line 1 is not the header of csv: {','.join(CSV_HEADER)}")


def _checked(command: Command) -> Message:
    error = form_error(command)
    return Message(command) if error is None else _malformed(error)


def _malformed(problem: str) -> Message:
    return Message(skipped=MALFORMED, problem=problem)

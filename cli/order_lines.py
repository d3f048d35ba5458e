"""One order as a JSON object: the lines of `raftbook order -` and of `raftbook replay`.

Owns the fields and what is wrong with a line. The same words build the command of
`raftbook order buy`. Must not know files or nodes.

    {"side": "buy", "symbol": "BTC-USD", "qty": "7", "price": "101.50"}
    {"cancel": 12}   {"cancel": "my-id"}   {"amend": 12, "symbol": "BTC-USD", "qty": "3"}
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final, NamedTuple

from raftbook.client.rejects import explain_reject
from raftbook.client.values import InstrumentSpec, OrderResult
from raftbook.core import commands as c
from raftbook.core.commands import Command
from raftbook.core.form import form_error
from raftbook.core.types import (
    INT64_MAX,
    OrderType,
    Reject,
    SelfTradePrevention,
    Side,
    TimeInForce,
)

from .amounts import parse_decimal

ORDER_TYPES: Final = {"limit": OrderType.LIMIT, "market": OrderType.MARKET}
TIMES_IN_FORCE: Final = {"gtc": TimeInForce.GTC, "ioc": TimeInForce.IOC, "fok": TimeInForce.FOK}
STP_MODES: Final = {mode.name.lower().replace("_", "-"): mode for mode in SelfTradePrevention}

_NEW_FIELDS: Final = frozenset(
    {"side", "symbol", "qty", "price", "type", "tif", "post_only", "stp", "client_order_id"}
)
_CANCEL_FIELDS: Final = frozenset({"cancel", "symbol"})
_AMEND_FIELDS: Final = frozenset({"amend", "symbol", "qty", "price"})


class OrderSpec(NamedTuple):
    """A new order in the words of people: decimals and names."""

    symbol: str
    side: Side
    qty: Decimal
    price: Decimal | None = None
    ord_type: OrderType | None = None
    time_in_force: TimeInForce | None = None
    post_only: bool = False
    self_trade_prevention: SelfTradePrevention = SelfTradePrevention.NONE
    client_order_id: str = ""


class Change(NamedTuple):
    """An order that is to be changed, named by our id or by the client's."""

    target: int | str
    symbol: str


class EdgeReject(Exception):
    """Refused before it was sent: the amounts fit no tick or lot, or there is no instrument."""

    def __init__(self, code: Reject, spec: OrderSpec | Change) -> None:
        super().__init__(explain_reject(code))
        self.code = code
        self.spec = spec

    def result(self) -> OrderResult:
        """The same shape as when the book had refused it."""
        spec = self.spec
        if isinstance(spec, Change):
            named = OrderResult(
                order_id=spec.target if isinstance(spec.target, int) else 0,
                client_order_id=spec.target if isinstance(spec.target, str) else "",
                symbol=spec.symbol,
            )
        else:
            named = OrderResult(
                client_order_id=spec.client_order_id,
                symbol=spec.symbol,
                side=spec.side.name,
                order_qty=spec.qty,
            )
        return replace(
            named,
            reject_code=int(self.code),
            reject_name=self.code.name,
            text=explain_reject(self.code),
        )


def order_type_of(spec: OrderSpec) -> OrderType:
    """The type that was named, else limit with a price and market without.

    Raises:
        ValueError: type and price do not go together.
    """
    ord_type = spec.ord_type or (OrderType.MARKET if spec.price is None else OrderType.LIMIT)
    if ord_type is OrderType.LIMIT and spec.price is None:
        raise ValueError("a limit order needs a price")
    if ord_type is OrderType.MARKET and spec.price is not None:
        raise ValueError("a market order takes no price")
    return ord_type


def new_order_command(spec: OrderSpec, instruments: Mapping[str, InstrumentSpec]) -> Command:
    """The command for an order.

    Raises:
        EdgeReject: unknown instrument, or amounts between ticks or lots.
        ValueError: see `order_type_of`.
    """
    ord_type = order_type_of(spec)
    default_tif = TimeInForce.IOC if ord_type is OrderType.MARKET else TimeInForce.GTC
    instrument = instruments.get(spec.symbol)
    if instrument is None:
        raise EdgeReject(Reject.UNKNOWN_INSTRUMENT, spec)
    return c.new_order(
        spec.symbol,
        spec.side,
        _lots(spec.qty, instrument, spec),
        None if spec.price is None else _ticks(spec.price, instrument, spec),
        client_order_id=spec.client_order_id,
        ord_type=ord_type,
        time_in_force=spec.time_in_force or default_tif,
        post_only=spec.post_only,
        self_trade_prevention=spec.self_trade_prevention,
    )


def amend_command(
    target: int | str,
    *,
    qty: Decimal | None,
    price: Decimal | None,
    instrument: InstrumentSpec,
) -> Command:
    """The command that changes an order, named by our id or by the client's.

    Raises:
        EdgeReject: amounts between ticks or lots.
    """
    change = Change(target, instrument.symbol)
    return c.amend_order(
        order_id=target if isinstance(target, int) else 0,
        client_order_id=target if isinstance(target, str) else "",
        order_qty=None if qty is None else _lots(qty, instrument, change),
        price=None if price is None else _ticks(price, instrument, change),
    )


def cancel_command(target: int | str) -> Command:
    """The command that cancels an order, named by our id or by the client's."""
    if isinstance(target, int):
        return c.cancel_order(order_id=target)
    return c.cancel_order(client_order_id=target)


def command_of_line(
    text: str, instruments: Mapping[str, InstrumentSpec], *, default_symbol: str = ""
) -> Command:
    """The command in one line of JSON.

    Raises:
        EdgeReject: see `new_order_command`.
        ValueError: the line is not one; says why.
    """
    try:
        line = json.loads(text, parse_float=Decimal, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg}") from None
    except RecursionError:
        raise ValueError("not JSON: it is nested too deeply") from None
    if not isinstance(line, dict):
        raise ValueError("not a JSON object")
    if "cancel" in line:
        _refuse_unknown(line, _CANCEL_FIELDS)
        return _checked(cancel_command(_target(line["cancel"], "cancel")))
    if "amend" in line:
        _refuse_unknown(line, _AMEND_FIELDS)
        instrument = instruments.get(_text(line, "symbol", default_symbol))
        if instrument is None:
            raise ValueError("an amend needs the symbol of its order")
        amounts = {name: _amount(line, name) for name in ("qty", "price")}
        target = _target(line["amend"], "amend")
        return _checked(amend_command(target, **amounts, instrument=instrument))
    _refuse_unknown(line, _NEW_FIELDS)
    return _checked(new_order_command(_order_of_line(line, default_symbol), instruments))


def _object(fields: list[tuple[str, Any]]) -> dict[str, Any]:
    """JSON lets a name stand twice and the last one win: whoever wrote two sides meant neither."""
    line = dict(fields)
    if len(line) < len(fields):
        names = [name for name, _ in fields]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice} stands twice")
    return line


def _order_of_line(line: Mapping[str, Any], default_symbol: str) -> OrderSpec:
    qty = _amount(line, "qty")
    if qty is None:
        raise ValueError("qty is missing")
    post_only = line.get("post_only", False)
    if not isinstance(post_only, bool):
        raise ValueError("post_only must be true or false")
    sides = {"buy": Side.BUY, "sell": Side.SELL}
    side = _choice(line, "side", sides)
    if side is None:
        raise ValueError("side is missing; write buy or sell")
    return OrderSpec(
        symbol=_text(line, "symbol", default_symbol),
        side=side,
        qty=qty,
        price=_amount(line, "price"),
        ord_type=_choice(line, "type", ORDER_TYPES),
        time_in_force=_choice(line, "tif", TIMES_IN_FORCE),
        post_only=post_only,
        self_trade_prevention=_choice(line, "stp", STP_MODES) or SelfTradePrevention.NONE,
        client_order_id=_text(line, "client_order_id", ""),
    )


def _refuse_unknown(line: Mapping[str, Any], known: frozenset[str]) -> None:
    unknown = sorted(set(line) - known)
    if unknown:
        raise ValueError(f"unknown field {unknown[0]!r}; known are {', '.join(sorted(known))}")


def _checked(command: Command) -> Command:
    error = form_error(command)
    if error is not None:
        raise ValueError(error)
    return command


def _target(value: Any, name: str) -> int | str:
    if isinstance(value, bool) or not isinstance(value, int | str) or not value:
        raise ValueError(f"{name} takes an order_id (number) or a client_order_id (text)")
    return value


def _text(line: Mapping[str, Any], name: str, default: str) -> str:
    value = line.get(name, default)
    if not isinstance(value, str):
        raise ValueError(f"{name} must be text")
    return value


def _amount(line: Mapping[str, Any], name: str) -> Decimal | None:
    value = line.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise ValueError(f"{name} must be a decimal number")
    # parse_float kept the digits of a JSON number, so 0.1 is exactly 0.1 here.
    return parse_decimal(str(value), what=name)


def _choice(line: Mapping[str, Any], name: str, known: Mapping[str, Any]) -> Any:
    value = line.get(name)
    if value is None:
        return None
    found = known.get(value.lower()) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f"{name} {value!r} is none of {', '.join(known)}")
    return found


def _lots(qty: Decimal, instrument: InstrumentSpec, spec: OrderSpec | Change) -> int:
    lots = instrument.lots(qty)
    if lots is None:
        raise EdgeReject(Reject.LOT_SIZE, spec)
    if abs(lots) > INT64_MAX:
        raise EdgeReject(Reject.QTY_TOO_LARGE, spec)
    return lots


def _ticks(price: Decimal, instrument: InstrumentSpec, spec: OrderSpec | Change) -> int:
    ticks = instrument.ticks(price)
    if ticks is None:
        raise EdgeReject(Reject.TICK_SIZE, spec)
    if abs(ticks) > INT64_MAX:
        raise EdgeReject(Reject.BAD_PRICE, spec)
    return ticks

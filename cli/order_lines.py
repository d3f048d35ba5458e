"""One order as a JSON object: the lines of `raftbook order -` and of `raftbook replay`.

Owns the fields and what is wrong with a line. The same words build the command of
`raftbook order buy`. Must not know files or nodes.

    {"side": "buy", "symbol": "BTC-USD", "qty": "7", "price": "101.50"}
    {"cancel": 12}   {"cancel": "my-id"}   {"amend": 12, "symbol": "BTC-USD", "qty": "3"}
    {"replace": 12, "side": "buy", ...}    {"oco": true, "side": "sell", "stop": "95", ...}
    {"side": "buy", ..., "then": {"side": "sell", ...}}
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final, NamedTuple

from raftbook.client.prepare import (
    Unfit,
    change_command,
    change_fields,
    order_command,
    pair_command,
)
from raftbook.client.rejects import explain_reject
from raftbook.client.units import decimal, side_name
from raftbook.client.values import InstrumentSpec, OrderPair, OrderRequest, OrderResult
from raftbook.core import commands as c
from raftbook.core.commands import Command
from raftbook.core.form import form_error
from raftbook.core.types import (
    INT64_MAX,
    PostOnly,
    Reject,
    SelfTradePrevention,
    Side,
)

from .amounts import parse_decimal
from .order_words import (
    ORDER_TYPES,
    PEGS,
    STP_MODES,
    TIMES_IN_FORCE,
    TRIGGERS,
    check_order,
    parse_time_ns,
    trail_fields,
)

_ORDER_FIELDS: Final = frozenset(
    {
        "side",
        "symbol",
        "qty",
        "price",
        "type",
        "tif",
        "post_only",
        "stp",
        "client_order_id",
        "stop",
        "trail",
        "display",
        "min_qty",
        "expires",
        "quote",
        "peg",
        "peg_offset",
        "trigger_by",
        "hidden",
    }
)
_PAIR_FIELDS: Final = _ORDER_FIELDS | {"oco", "stop_limit", "stop_client_order_id", "updates"}
_REPLACE_FIELDS: Final = (_ORDER_FIELDS - {"quote"}) | {"replace", "or_place"}
_CANCEL_FIELDS: Final = frozenset({"cancel", "symbol"})
_AMEND_FIELDS: Final = frozenset(
    {"amend", "symbol", "qty", "price", "stop", "trail", "display", "expires"}
)


class Change(NamedTuple):
    """An order that is to be changed, named by our id or by the client's."""

    target: int | str
    symbol: str


class EdgeReject(Exception):
    """Refused before it was sent: the amounts fit no tick or lot, or there is no instrument."""

    def __init__(self, code: Reject, spec: OrderRequest | Change, text: str = "") -> None:
        super().__init__(text or explain_reject(code))
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
                side=side_name(spec.side),
                order_qty=None if spec.qty is None else decimal(spec.qty),
            )
        return replace(
            named,
            reject_code=int(self.code),
            reject_name=self.code.name,
            text=str(self),
        )


def new_order_command(order: OrderRequest, instruments: Mapping[str, InstrumentSpec]) -> Command:
    """The command for an order.

    Raises:
        EdgeReject: unknown instrument, or amounts between ticks or lots.
        ValueError: see `check_order`.
    """
    check_order(order)
    try:
        command = order_command(order, instruments)
    except Unfit as error:
        raise EdgeReject(error.code, order, error.text) from None
    lots, ticks = command[4:6] if command[0] == c.PLACE_PEG else command[5:7]
    _check_sizes(order, lots, ticks)
    return command


def oto_order_command(
    order: OrderRequest,
    pending: OrderRequest | OrderPair,
    instruments: Mapping[str, InstrumentSpec],
) -> Command:
    """The command for an order and what is entered once it is filled.

    Raises:
        EdgeReject, ValueError: see `new_order_command`.
    """
    working = new_order_command(order, instruments)
    if isinstance(pending, OrderPair):
        return c.place_oto(working, pair_order_command(pending, instruments))
    return c.place_oto(working, new_order_command(pending, instruments))


def pair_order_command(pair: OrderPair, instruments: Mapping[str, InstrumentSpec]) -> Command:
    """The command for a limit order and a stop of which one ends the other.

    Raises:
        EdgeReject, ValueError: see `new_order_command`.
    """
    order = pair.order
    if (order.stop_price is None) == (order.trail is None and order.trail_bps is None):
        raise ValueError("a pair needs a stop price or a trail, one of them")
    try:
        command = pair_command(pair, instruments)
    except Unfit as error:
        raise EdgeReject(error.code, order, error.text) from None
    _check_sizes(order, command[3], command[7])
    return command


def replace_command(
    target: int | str,
    order: OrderRequest,
    instruments: Mapping[str, InstrumentSpec],
    *,
    or_place: bool,
) -> Command:
    """The command that cancels an order and enters another one.

    Raises:
        EdgeReject, ValueError: see `new_order_command`.
    """
    command = new_order_command(order, instruments)
    return c.cancel_replace(command, **_named(target), or_place=or_place)


def amend_command(
    target: int | str, changes: Mapping[str, Any], instrument: InstrumentSpec
) -> Command:
    """The command that changes an order, named by our id or by the client's.

    Args:
        changes: fields of `client.values.Changes`; None is not given.

    Raises:
        EdgeReject: amounts between ticks or lots.
    """
    change = Change(target, instrument.symbol)
    given = {name: value for name, value in changes.items() if value is not None}
    try:
        fields = change_fields(given, instrument.symbol, {instrument.symbol: instrument})
    except Unfit as error:
        raise EdgeReject(error.code, change, error.text) from None
    _check_sizes(change, fields.get("order_qty", 0), fields.get("price"))
    return change_command(_named(target), fields)


def _named(target: int | str) -> dict[str, Any]:
    return {"order_id": target} if isinstance(target, int) else {"client_order_id": target}


def _check_sizes(spec: OrderRequest | Change, lots: int, ticks: int | None) -> None:
    """Numbers that no command can hold are refused as the book would."""
    if abs(lots) > INT64_MAX:
        raise EdgeReject(Reject.QTY_TOO_LARGE, spec)
    if ticks is not None and abs(ticks) > INT64_MAX:
        raise EdgeReject(Reject.BAD_PRICE, spec)


def cancel_command(target: int | str) -> Command:
    """The command that cancels an order, named by our id or by the client's."""
    if isinstance(target, int):
        return c.cancel_order(order_id=target)
    return c.cancel_order(client_order_id=target)


def checked(command: Command) -> Command:
    """The same command.

    Raises:
        ValueError: it is not well formed, such as a number that is too large.
    """
    error = form_error(command)
    if error is not None:
        raise ValueError(error)
    return command


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
        return checked(cancel_command(_target(line["cancel"], "cancel")))
    if "amend" in line:
        _refuse_unknown(line, _AMEND_FIELDS)
        instrument = instruments.get(_text(line, "symbol", default_symbol))
        if instrument is None:
            raise ValueError("an amend needs the symbol of its order")
        changes: dict[str, Any] = {name: _amount(line, name) for name in ("qty", "price")}
        changes |= {"stop_price": _amount(line, "stop"), "display_qty": _amount(line, "display")}
        changes |= {"expire_time_ns": _time(line) or None, **_trail(line)}
        return checked(amend_command(_target(line["amend"], "amend"), changes, instrument))
    if "replace" in line:
        _refuse_unknown(line, _REPLACE_FIELDS)
        order = _order_of_line(line, default_symbol)
        target = _target(line["replace"], "replace")
        or_place = _flag(line, "or_place")
        return checked(replace_command(target, order, instruments, or_place=or_place))
    if "then" in line:
        return checked(_oto_command_of(line, instruments, default_symbol))
    wanted = _wanted_of_line(line, default_symbol)
    if isinstance(wanted, OrderPair):
        return checked(pair_order_command(wanted, instruments))
    return checked(new_order_command(wanted, instruments))


def _oto_command_of(
    line: Mapping[str, Any], instruments: Mapping[str, InstrumentSpec], default_symbol: str
) -> Command:
    first, then = {name: line[name] for name in line if name != "then"}, line["then"]
    _refuse_unknown(first, _ORDER_FIELDS)
    if not isinstance(then, dict):
        raise ValueError("then must be an object: the order that follows")
    order = _order_of_line(first, default_symbol)
    return oto_order_command(order, _wanted_of_line(then, order.symbol), instruments)


def _wanted_of_line(line: Mapping[str, Any], default_symbol: str) -> OrderRequest | OrderPair:
    """An order or a pair."""
    if not _flag(line, "oco"):
        _refuse_unknown(line, _ORDER_FIELDS)
        return _order_of_line(line, default_symbol)
    _refuse_unknown(line, _PAIR_FIELDS)
    return OrderPair(
        _order_of_line(line, default_symbol),
        _amount(line, "stop_limit"),
        _text(line, "stop_client_order_id", ""),
        _flag(line, "updates"),
    )


def _object(fields: list[tuple[str, Any]]) -> dict[str, Any]:
    """JSON lets a name stand twice and the last one win: whoever wrote two sides meant neither."""
    line = dict(fields)
    if len(line) < len(fields):
        names = [name for name, _ in fields]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice} stands twice")
    return line


def _order_of_line(line: Mapping[str, Any], default_symbol: str) -> OrderRequest:
    qty, quote = _amount(line, "qty"), _amount(line, "quote")
    if qty is None and quote is None:
        raise ValueError("qty is missing")
    side = _choice(line, "side", {"buy": Side.BUY, "sell": Side.SELL})
    if side is None:
        raise ValueError("side is missing; write buy or sell")
    return OrderRequest(
        symbol=_text(line, "symbol", default_symbol),
        side=side,
        qty=qty,
        price=_amount(line, "price"),
        ord_type=_choice(line, "type", ORDER_TYPES),
        time_in_force=_choice(line, "tif", TIMES_IN_FORCE),
        post_only=_post_only(line),
        self_trade_prevention=_choice(line, "stp", STP_MODES) or SelfTradePrevention.NONE,
        client_order_id=_text(line, "client_order_id", ""),
        stop_price=_amount(line, "stop"),
        display_qty=_amount(line, "display"),
        min_qty=_amount(line, "min_qty"),
        expire_time_ns=_time(line),
        quote_qty=quote,
        peg=_choice(line, "peg", PEGS),
        peg_offset=_amount(line, "peg_offset"),
        hidden=_flag(line, "hidden"),
        trigger_by=_choice(line, "trigger_by", TRIGGERS),
        **_trail(line),
    )


def _post_only(line: Mapping[str, Any]) -> PostOnly:
    value = line.get("post_only", False)
    if value == PostOnly.REPRICE.name.lower():
        return PostOnly.REPRICE
    if not isinstance(value, bool):
        raise ValueError('post_only must be true or false, or "reprice"')
    return PostOnly.REJECT if value else PostOnly.NO


def _flag(line: Mapping[str, Any], name: str) -> bool:
    value = line.get(name, False)
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be true or false")
    return value


def _trail(line: Mapping[str, Any]) -> dict[str, Any]:
    value = line.get("trail")
    if value is None:
        return {}
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise ValueError('trail must be a decimal number, or basis points such as "25bp"')
    return trail_fields(str(value))


def _time(line: Mapping[str, Any]) -> int:
    value = line.get("expires")
    if value is None:
        return 0
    if not isinstance(value, str):
        raise ValueError('expires must be a time such as "2026-01-31T17:30:00Z" or "+10m"')
    return parse_time_ns(value)


def _refuse_unknown(line: Mapping[str, Any], known: frozenset[str]) -> None:
    unknown = sorted(set(line) - known)
    if unknown:
        raise ValueError(f"unknown field {unknown[0]!r}; known are {', '.join(sorted(known))}")


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

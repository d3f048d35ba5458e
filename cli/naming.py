"""Commands and events of the log as documents with named fields.

Owns the names that JSON gives to the places of a tuple. Prices and quantities are decimal text when
the instrument is known, else integers under `price_ticks` and `qty_lots`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from enum import IntEnum
from typing import Any, Final

from raftbook.client.values import InstrumentSpec
from raftbook.core import commands as c
from raftbook.core import events as e
from raftbook.core.form import form_error, is_engine_switch
from raftbook.core.instrument import InstrumentTerms, terms_error
from raftbook.core.types import (
    OrderType,
    Phase,
    Reject,
    SelfTradePrevention,
    Side,
    TimeInForce,
)

Named = dict[str, Any]
Instruments = Mapping[str, InstrumentSpec]
SymbolOf = Callable[[int, str], str | None]
"""The instrument of an order by its order_id or, when that is 0, its client_order_id; None if it is
not known."""

_COMMAND_NAMES: Final = {
    c.NEW_ORDER: "new_order",
    c.CANCEL_ORDER: "cancel_order",
    c.AMEND_ORDER: "amend_order",
    c.OPEN_SESSION: "open_session",
    c.CLOSE_SESSION: "close_session",
    c.CREATE_INSTRUMENT: "create_instrument",
    c.SET_PHASE: "set_phase",
    c.SET_ENGINE_VERSION: "set_engine_version",
}
_EVENT_NAMES: Final = {
    e.ACCEPTED: "accepted",
    e.RESTED: "rested",
    e.TRADE: "trade",
    e.CANCELED: "canceled",
    e.EXPIRED: "expired",
    e.REPLACED: "replaced",
    e.RESTATED: "restated",
    e.REJECTED: "rejected",
    e.CANCEL_REJECTED: "cancel_rejected",
    e.SESSION_OPENED: "session_opened",
    e.SESSION_CLOSED: "session_closed",
    e.INSTRUMENT_CREATED: "instrument_created",
    e.PHASE_CHANGED: "phase_changed",
    e.ENGINE_VERSION_SET: "engine_version_set",
}
_AFTER_TERMS: Final[dict[int, tuple[str, ...]]] = {
    e.ACCEPTED: (),
    e.RESTED: ("leaves_qty",),
    e.CANCELED: ("cum_qty", "canceled_qty", "was_resting", "reason"),
    e.EXPIRED: ("cum_qty", "canceled_qty", "was_resting", "reason"),
    e.RESTATED: ("cum_qty", "leaves_qty", "prevented_qty", "was_resting"),
}


def name_of(kind: type[IntEnum], number: Any) -> Any:
    """The name of an enumeration's number; the number itself when it has none."""
    try:
        return kind(number).name
    except ValueError:
        return number


def command_document(
    command: Sequence[Any], instruments: Instruments, symbol_of: SymbolOf | None = None
) -> Named:
    """A command with its fields named; one that is malformed is shown as it stands.

    Args:
        symbol_of: the instrument of an order, for the decimals of an amend.
    """
    if is_engine_switch(tuple(command)):
        kind, engine_version, written_by = command
        said = {"engine_version": engine_version, "written_by": written_by}
        return {"command": _COMMAND_NAMES[kind], **said}
    if form_error(tuple(command)) is not None:
        return {"command": "malformed", "fields": [repr(field)[:200] for field in command]}
    kind, fields = command[0], command[1:]
    named: Named = {"command": _COMMAND_NAMES[kind]}
    if kind == c.NEW_ORDER:
        symbol, side, ord_type, tif, qty, price, client_order_id, post_only, mode = fields
        named |= {"symbol": symbol, **_kind((side, ord_type, tif, post_only, mode))}
        named |= _amounts(instruments.get(symbol), order_qty=qty, price=price)
        named["client_order_id"] = client_order_id
    elif kind in (c.CANCEL_ORDER, c.AMEND_ORDER):
        named |= {"order_id": fields[0], "client_order_id": fields[1]}
        if kind == c.AMEND_ORDER:
            symbol = symbol_of(fields[0], fields[1]) if symbol_of is not None else None
            spec = None if symbol is None else instruments.get(symbol)
            named |= _amounts(spec, order_qty=fields[2], price=fields[3])
    elif kind == c.OPEN_SESSION:
        named |= {"account": fields[0], "key": fields[1]}
    elif kind == c.CREATE_INSTRUMENT:
        named |= terms_document(fields)
    elif kind == c.SET_PHASE:
        named |= {"symbol": fields[0], "phase": name_of(Phase, fields[1])}
    return named


def event_document(
    event: Sequence[Any], instruments: Instruments, symbol_of: SymbolOf | None = None
) -> Named:
    """An event with its fields named; `symbol_of` as for `command_document`."""
    kind, feed_seq, *fields = event
    named: Named = {"event": _EVENT_NAMES.get(kind, str(kind)), "feed_seq": feed_seq}
    describe = _DESCRIBE.get(kind)
    if kind in (e.REJECTED, e.CANCEL_REJECTED):
        named["reason"] = name_of(Reject, fields[0])
        named["refused"] = command_document(fields[1], instruments, symbol_of)
    elif describe is not None:
        named |= describe(fields, instruments)
    elif kind in _AFTER_TERMS:
        spec = instruments.get(fields[0][3])
        named |= order_document(fields[0], instruments)
        for name, value in zip(_AFTER_TERMS[kind], fields[1:], strict=True):
            named |= _field(name, value, spec)
    return named


def event_symbol(event: Sequence[Any]) -> str | None:
    """Which instrument an event is about; None for a session's, and for malformed commands."""
    kind, fields = event[0], event[2:]
    symbol: Any = None
    if kind == e.TRADE:
        symbol = fields[3][3]
    elif kind in _AFTER_TERMS or kind == e.REPLACED:
        symbol = fields[0][3]
    elif kind == e.INSTRUMENT_CREATED:
        symbol = fields[0][0]
    elif kind == e.PHASE_CHANGED:
        symbol = fields[0]
    elif kind == e.REJECTED and form_error(tuple(fields[1])) is None:
        command = fields[1]
        is_about_one = command[0] in (c.NEW_ORDER, c.CREATE_INSTRUMENT, c.SET_PHASE)
        symbol = command[1] if is_about_one else None
    return symbol if isinstance(symbol, str) else None


def terms_document(fields: Sequence[Any]) -> Named:
    """The terms of an instrument; its limits as decimals, which its own sizes give."""
    terms = InstrumentTerms(*fields)
    if terms_error(terms) is not None:
        return {name: repr(value)[:200] for name, value in terms._asdict().items()}
    spec = InstrumentSpec.from_wire({**terms._asdict(), "phase": Phase.CONTINUOUS.name})
    named: Named = {}
    for name, value in terms._asdict().items():
        if name == "notional_max" and value is not None:
            named[name] = f"{value * spec.tick_size * spec.lot_size:f}"
        elif type(value) is int:
            named[name] = f"{spec.qty(value) if name == 'qty_max' else spec.price(value):f}"
        else:
            named[name] = value
    return named


def fields_text(document: Mapping[str, Any], leave_out: Collection[str]) -> str:
    """Every field that says something, as name=value."""
    told = []
    for name, value in document.items():
        if name in leave_out or value in (None, "", False):
            continue
        if isinstance(value, Mapping):
            value = f"({fields_text(value, ())})"
        told.append(f"{name}={value}")
    return " ".join(told)


def order_document(terms: Sequence[Any], instruments: Instruments) -> Named:
    """The terms of an order, named."""
    order_id, account, client_order_id, symbol, kind, qty, price = terms
    return {
        "order_id": order_id,
        "account": account,
        "client_order_id": client_order_id,
        "symbol": symbol,
        **_kind(kind),
        **_amounts(instruments.get(symbol), order_qty=qty, price=price),
    }


def _kind(kind: Sequence[int]) -> Named:
    side, ord_type, tif, post_only, mode = kind
    return {
        "side": name_of(Side, side),
        "ord_type": name_of(OrderType, ord_type),
        "time_in_force": name_of(TimeInForce, tif),
        "post_only": bool(post_only),
        "self_trade_prevention": name_of(SelfTradePrevention, mode),
    }


def _amounts(spec: InstrumentSpec | None, **amounts: int | None) -> Named:
    named: Named = {}
    for name, amount in amounts.items():
        is_price = name.endswith("price")
        if amount is None:
            named[name] = None
        elif spec is None:
            named[name + ("_ticks" if is_price else "_lots")] = amount
        else:
            decimal = spec.price(amount) if is_price else spec.qty(amount)
            named[name] = f"{decimal:f}"
    return named


def _field(name: str, value: Any, spec: InstrumentSpec | None) -> Named:
    if name.endswith("_qty"):
        return _amounts(spec, **{name: value})
    if name == "reason":
        return {"reason": name_of(Reject, value) if value else None}
    return {name: bool(value)}


def _trade(fields: Sequence[Any], instruments: Instruments) -> Named:
    trade_id, price, qty, maker, _, maker_leaves, _, taker, _, taker_leaves, *_ = fields
    spec = instruments.get(taker[3])
    return {
        "trade_id": trade_id,
        "symbol": taker[3],
        **_amounts(spec, price=price, qty=qty),
        "taker_side": name_of(Side, taker[4][0]),
        "maker_order_id": maker[0],
        "maker_account": maker[1],
        "taker_order_id": taker[0],
        "taker_account": taker[1],
        **_amounts(spec, maker_leaves_qty=maker_leaves, taker_leaves_qty=taker_leaves),
    }


def _replaced(fields: Sequence[Any], instruments: Instruments) -> Named:
    terms, old_terms, cum_qty, leaves_qty, old_leaves_qty, kept_priority, *_ = fields
    spec = instruments.get(terms[3])
    old = _amounts(
        spec, old_order_qty=old_terms[5], old_price=old_terms[6], old_leaves_qty=old_leaves_qty
    )
    return {
        **order_document(terms, instruments),
        **_amounts(spec, cum_qty=cum_qty, leaves_qty=leaves_qty),
        **old,
        "kept_priority": bool(kept_priority),
    }


def _session_opened(fields: Sequence[Any], instruments: Instruments) -> Named:
    return {"session_id": fields[0], "account": fields[1], "highest_seq": fields[2]}


def _session_closed(fields: Sequence[Any], instruments: Instruments) -> Named:
    return {"session_id": fields[0]}


def _instrument_created(fields: Sequence[Any], instruments: Instruments) -> Named:
    return terms_document(fields[0])


def _phase_changed(fields: Sequence[Any], instruments: Instruments) -> Named:
    return {"symbol": fields[0], "phase": name_of(Phase, fields[1])}


def _engine_version_set(fields: Sequence[Any], instruments: Instruments) -> Named:
    return {"engine_version": fields[0]}


_DESCRIBE: Final[dict[int, Callable[[Sequence[Any], Instruments], Named]]] = {
    e.TRADE: _trade,
    e.REPLACED: _replaced,
    e.SESSION_OPENED: _session_opened,
    e.SESSION_CLOSED: _session_closed,
    e.INSTRUMENT_CREATED: _instrument_created,
    e.PHASE_CHANGED: _phase_changed,
    e.ENGINE_VERSION_SET: _engine_version_set,
}

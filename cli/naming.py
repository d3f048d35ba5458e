"""Commands and events of the log as documents with named fields.

Owns the names that JSON gives to the places of a tuple. Prices and quantities are decimal text when
the instrument is known, else integers under `price_ticks` and `qty_lots`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from decimal import Decimal
from enum import IntEnum
from typing import Any, Final

from raftbook.client.details import event_details
from raftbook.client.values import InstrumentSpec
from raftbook.core import commands as c
from raftbook.core import events as e
from raftbook.core.commands import PLAIN_TERMS
from raftbook.core.conditions import OrderConditions
from raftbook.core.form import field_names, form_error, is_engine_switch, is_node_notice
from raftbook.core.instrument import InstrumentTerms, terms_error
from raftbook.core.types import (
    OrderType,
    Phase,
    PostOnly,
    Reject,
    SelfTradePrevention,
    Settlement,
    Side,
    TimeInForce,
    TrailUnit,
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
    c.PLACE_ORDER: "place_order",
    c.REPLACE_ORDER: "replace_order",
    c.MASS_CANCEL: "mass_cancel",
    c.CANCEL_REPLACE: "cancel_replace",
    c.PLACE_OCO: "place_oco",
    c.OPEN_SESSION: "open_session",
    c.CLOSE_SESSION: "close_session",
    c.ATTACH_SESSION: "attach_session",
    c.SESSION_LOST: "session_lost",
    c.RENEW_LEASE: "renew_lease",
    c.CREATE_INSTRUMENT: "create_instrument",
    c.SET_PHASE: "set_phase",
    c.LIST_INSTRUMENT: "list_instrument",
    c.AMEND_INSTRUMENT: "amend_instrument",
    c.DELETE_INSTRUMENT: "delete_instrument",
    c.CALL_AUCTION: "call_auction",
    c.CREATE_CURRENCY: "create_currency",
    c.CREATE_ACCOUNT: "create_account",
    c.SET_ACCOUNT: "set_account",
    c.DEPOSIT: "deposit",
    c.SET_ENGINE_VERSION: "set_engine_version",
    c.WITHDRAW: "withdraw",
    c.SET_KILL_SWITCH: "set_kill_switch",
    c.BUST_TRADE: "bust_trade",
    c.ROLL_DAY: "roll_day",
    c.SET_DROP_COPY: "set_drop_copy",
    c.SET_API_KEY: "set_api_key",
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
    e.TRIGGERED: "triggered",
    e.REFILLED: "refilled",
    e.REPRICED: "repriced",
    e.AUCTION_TRADE: "auction_trade",
    e.UNCROSSED: "uncrossed",
    e.TRADE_BUSTED: "trade_busted",
    e.INSTRUMENT_AMENDED: "instrument_amended",
    e.INSTRUMENT_DELETED: "instrument_deleted",
    e.CURRENCY_CREATED: "currency_created",
    e.ACCOUNT_CHANGED: "account_changed",
    e.BALANCE_CHANGED: "balance_changed",
    e.KILL_SWITCH_SET: "kill_switch_set",
    e.MASS_CANCELED: "mass_canceled",
    e.DAY_ROLLED: "day_rolled",
    e.SESSION_ATTACHED: "session_attached",
    e.SESSION_LAPSED: "session_lapsed",
    e.DROP_COPY_SET: "drop_copy_set",
    e.API_KEY_SET: "api_key_set",
}
_AFTER_TERMS: Final[dict[int, tuple[str, ...]]] = {
    e.ACCEPTED: (),
    e.RESTED: ("leaves_qty", "shown_qty"),
    e.CANCELED: ("cum_qty", "canceled_qty", "was_resting", "reason", "shown_qty"),
    e.EXPIRED: ("cum_qty", "canceled_qty", "was_resting", "reason", "shown_qty"),
    e.RESTATED: ("cum_qty", "leaves_qty", "prevented_qty", "was_resting", "shown_qty"),
    e.TRIGGERED: ("reached_price",),
    e.REFILLED: ("shown_qty", "leaves_qty"),
    e.REPRICED: ("asked_price",),
}
"""What stands behind the terms; shown_qty only where an iceberg has one."""
_ORDER_COMMANDS: Final = frozenset((c.NEW_ORDER, c.PLACE_ORDER, c.PLACE_OCO, c.CANCEL_REPLACE))
_TERMS_COMMANDS: Final = frozenset((c.CREATE_INSTRUMENT, c.LIST_INSTRUMENT, c.AMEND_INSTRUMENT))
_CHANGES: Final = frozenset((c.AMEND_ORDER, c.REPLACE_ORDER))
_ABOUT_ONE_INSTRUMENT: Final = frozenset(
    (
        c.NEW_ORDER,
        c.PLACE_ORDER,
        c.PLACE_OCO,
        c.SET_PHASE,
        c.CREATE_INSTRUMENT,
        c.LIST_INSTRUMENT,
        c.AMEND_INSTRUMENT,
        c.DELETE_INSTRUMENT,
        c.CALL_AUCTION,
        c.BUST_TRADE,
    )
)
_ENUMERATIONS: Final[dict[str, type[IntEnum]]] = {
    "side": Side,
    "ord_type": OrderType,
    "stop_ord_type": OrderType,
    "time_in_force": TimeInForce,
    "self_trade_prevention": SelfTradePrevention,
    "phase": Phase,
    "then": Phase,
}
_LOTS: Final = frozenset(("order_qty", "display_qty", "min_qty"))
_TICKS: Final = frozenset(("price", "stop_price", "stop_limit_price", "price_low", "price_high"))
_YES_OR_NO: Final = frozenset(("or_place", "cancel_on_disconnect", "is_operator", "on", "enabled"))


_NO_RULES: Final = tuple(InstrumentTerms("", "", "", "", "", 0, 0, 0))[PLAIN_TERMS:]
"""What an instrument has behind its plain terms that has none of the later rules."""


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
    command = tuple(command)
    if is_engine_switch(command):
        kind, engine_version, written_by = command
        said = {"engine_version": engine_version, "written_by": written_by}
        return {"command": _COMMAND_NAMES[kind], **said}
    if is_node_notice(command):
        kind, session_id, epoch = command
        return {"command": _COMMAND_NAMES[kind], "session_id": session_id, "epoch": epoch}
    if form_error(command) is not None:
        shown = c.without_secret(command)
        return {"command": "malformed", "fields": [repr(field)[:200] for field in shown]}
    kind, fields = command[0], command[1:]
    named: Named = {"command": _COMMAND_NAMES[kind]}
    if kind in _TERMS_COMMANDS:
        return named | _listed(kind, fields)
    said = dict(zip(field_names(kind), fields, strict=True))
    spec = instruments.get(said.get("symbol", ""))
    if kind in _CHANGES and symbol_of is not None:
        spec = instruments.get(symbol_of(fields[0], fields[1]) or "")
    if kind == c.SET_API_KEY:
        said["secret"] = "(not shown)" if said["secret"] else ""
    for name, value in said.items():
        named |= _said(name, value, spec, said)
    return named


def _said(name: str, value: Any, spec: InstrumentSpec | None, said: Named) -> Named:
    """One field of a command, in words and decimals."""
    if name == "post_only":
        return _post_only(value)
    if name in _ENUMERATIONS:
        return {name: name_of(_ENUMERATIONS[name], value) if value or name != "side" else None}
    if name in _YES_OR_NO:
        return {name: None if value is None else bool(value)}
    if name == "trail_unit":
        return {name: name_of(TrailUnit, value) if value else None}
    if name == "trail_offset":
        return _trail(said.get("trail_unit"), value, spec)
    if name == "quote_qty":
        return _quote(value, spec)
    if name in _LOTS or name in _TICKS:
        return _amounts(spec, **{name: value})
    return {name: value}


def _listed(kind: int, fields: Sequence[Any]) -> Named:
    """The terms that an instrument is to have and, if that is said, its phase."""
    if kind != c.LIST_INSTRUMENT:
        return terms_document(fields)
    return terms_document(fields[:-1]) | {"phase": name_of(Phase, fields[-1])}


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
        for name, value in zip(_AFTER_TERMS[kind], fields[1:], strict=False):
            named |= _field(name, value, spec)
    else:
        told = event_details(tuple(event))
        named |= {"account" if name == "name" else name: value for name, value in told.items()}
    return named


def event_symbol(event: Sequence[Any]) -> str | None:
    """Which instrument an event is about; None for a session's, and for malformed commands."""
    kind, fields = event[0], event[2:]
    symbol: Any = None
    if kind in (e.TRADE, e.AUCTION_TRADE):
        symbol = fields[3][3]
    elif kind in _AFTER_TERMS or kind == e.REPLACED:
        symbol = fields[0][3]
    elif kind in (e.INSTRUMENT_CREATED, e.INSTRUMENT_AMENDED):
        symbol = fields[0][0]
    elif kind in (e.PHASE_CHANGED, e.UNCROSSED, e.TRADE_BUSTED, e.INSTRUMENT_DELETED):
        symbol = fields[0]
    elif kind in (e.REJECTED, e.CANCEL_REJECTED) and form_error(tuple(fields[1])) is None:
        command = fields[1]
        if command[0] == c.CANCEL_REPLACE:
            symbol = command[4]
        elif command[0] in _ABOUT_ONE_INSTRUMENT:
            symbol = command[1]
    return symbol if isinstance(symbol, str) else None


def terms_document(fields: Sequence[Any]) -> Named:
    """The terms of an instrument; its limits as decimals, which its own sizes give."""
    terms = InstrumentTerms(*fields)
    if terms_error(terms) is not None:
        return {name: repr(value)[:200] for name, value in terms._asdict().items()}
    spec = InstrumentSpec.from_wire({**terms._asdict(), "phase": Phase.CONTINUOUS.name})
    named: Named = {}
    for name, value in terms._asdict().items():
        named[name] = term_text(name, value, spec)
    if tuple(fields[PLAIN_TERMS:]) == _NO_RULES[: len(fields) - PLAIN_TERMS]:
        return {name: named[name] for name in InstrumentTerms._fields[:PLAIN_TERMS]}
    return named


def term_text(name: str, value: Any, spec: InstrumentSpec) -> Any:
    """One term of an instrument as people write it."""
    if value is None or isinstance(value, str):
        return value
    if name in ("notional_max", "notional_min"):
        return f"{spec.notional(value):f}"
    if name in ("qty_max", "qty_min"):
        return f"{spec.qty(value):f}"
    if name == "settlement":
        return name_of(Settlement, value)
    if name in ("maker_fee", "taker_fee"):
        return f"{Decimal(value) / 10}bp"
    if name == "volatility_call_ms":
        return value
    return f"{spec.price(value):f}"


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
    order_id, account, client_order_id, symbol, kind, qty, price, *conditions = terms
    spec = instruments.get(symbol)
    document = {
        "order_id": order_id,
        "account": account,
        "client_order_id": client_order_id,
        "symbol": symbol,
        **_kind(kind),
        **_amounts(spec, order_qty=qty, price=price),
    }
    if conditions:
        document |= _conditions(OrderConditions(*conditions[0]), spec)
    return document


def _kind(kind: Sequence[int]) -> Named:
    side, ord_type, tif, post_only, mode = kind
    return {
        "side": name_of(Side, side),
        "ord_type": name_of(OrderType, ord_type),
        "time_in_force": name_of(TimeInForce, tif),
        **_post_only(post_only),
        "self_trade_prevention": name_of(SelfTradePrevention, mode),
    }


def _post_only(mode: int) -> Named:
    is_moved = mode == PostOnly.REPRICE
    return {"post_only": bool(mode), **({"reprice": True} if is_moved else {})}


def _conditions(conditions: OrderConditions, spec: InstrumentSpec | None) -> Named:
    """Only those that an order has."""
    given = {name: value for name, value in conditions._asdict().items() if value}
    if conditions.stop_price is not None:
        given["stop_price"] = conditions.stop_price
    named: Named = {}
    for name, value in given.items():
        named |= _said(name, value, spec, given)
    return named


def _trail(unit: int | None, offset: int | None, spec: InstrumentSpec | None) -> Named:
    """The offset of a trailing stop; whether it is a price, an amend does not say."""
    if unit == TrailUnit.TICKS and spec is not None and offset is not None:
        return {"trail_offset": f"{spec.price(offset):f}"}
    return {"trail_offset": offset}


def _quote(tick_lots: int, spec: InstrumentSpec | None) -> Named:
    if spec is None or not tick_lots:
        return {"quote_qty": tick_lots or None}
    return {"quote_qty": f"{spec.notional(tick_lots):f}"}


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
    if name.endswith(("_qty", "_price")):
        return _amounts(spec, **{name: value})
    if name == "reason":
        return {"reason": name_of(Reject, value) if value else None}
    return {name: bool(value)}


def _trade(fields: Sequence[Any], instruments: Instruments) -> Named:
    trade_id, price, qty, maker, _, maker_leaves, _, taker, _, taker_leaves, _, *extras = fields
    spec = instruments.get(taker[3])
    named = {
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
    if extras:
        maker_fee, taker_fee, maker_shown, taker_shown = extras
        named |= {"maker_fee": _money(maker_fee, spec), "taker_fee": _money(taker_fee, spec)}
        named |= _amounts(spec, maker_shown_qty=maker_shown, taker_shown_qty=taker_shown)
    return named


def _auction_trade(fields: Sequence[Any], instruments: Instruments) -> Named:
    """The buy order stands where the maker does in other trades."""
    names = {"maker": "buy", "taker": "sell"}
    named = _trade(fields, instruments)
    del named["taker_side"]
    return {
        names.get(name[:5], name[:5]) + name[5:] if name[:5] in names else name: value
        for name, value in named.items()
    }


def _money(minor: int | None, spec: InstrumentSpec | None) -> str | None:
    """A fee in quote; in its minor units where these are not known."""
    if minor is None:
        return None
    return str(minor) if spec is None else f"{spec.money(minor):f}"


def _replaced(fields: Sequence[Any], instruments: Instruments) -> Named:
    terms, old_terms, cum_qty, leaves_qty, old_leaves_qty, kept_priority, *shown = fields
    spec = instruments.get(terms[3])
    old = _amounts(
        spec, old_order_qty=old_terms[5], old_price=old_terms[6], old_leaves_qty=old_leaves_qty
    )
    if shown:
        old |= _amounts(spec, shown_qty=shown[0], old_shown_qty=shown[1])
    return {
        **order_document(terms, instruments),
        **_amounts(spec, cum_qty=cum_qty, leaves_qty=leaves_qty),
        **old,
        "kept_priority": bool(kept_priority),
    }


def _terms_of(fields: Sequence[Any], instruments: Instruments) -> Named:
    return terms_document(fields[0])


def _phase_changed(fields: Sequence[Any], instruments: Instruments) -> Named:
    return {"symbol": fields[0], "phase": name_of(Phase, fields[1])}


def _uncrossed(fields: Sequence[Any], instruments: Instruments) -> Named:
    symbol, price, volume, imbalance = fields
    spec = instruments.get(symbol)
    amounts = _amounts(spec, price=price, volume_qty=volume, imbalance_qty=imbalance)
    return {"symbol": symbol, **amounts}


def _busted(fields: Sequence[Any], instruments: Instruments) -> Named:
    symbol, trade_id, price, qty, maker, taker = fields
    return {
        "trade_id": trade_id,
        "symbol": symbol,
        **_amounts(instruments.get(symbol), price=price, qty=qty),
        "maker_order_id": maker[0],
        "maker_account": maker[1],
        "taker_order_id": taker[0],
        "taker_account": taker[1],
    }


_DESCRIBE: Final[dict[int, Callable[[Sequence[Any], Instruments], Named]]] = {
    e.TRADE: _trade,
    e.AUCTION_TRADE: _auction_trade,
    e.REPLACED: _replaced,
    e.INSTRUMENT_CREATED: _terms_of,
    e.INSTRUMENT_AMENDED: _terms_of,
    e.PHASE_CHANGED: _phase_changed,
    e.UNCROSSED: _uncrossed,
    e.TRADE_BUSTED: _busted,
}

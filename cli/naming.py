"""Commands and events of the log as documents with named fields.

Owns the names that JSON gives to the places of a tuple. Prices and quantities are decimal text when
the instrument is known, else integers under `price_ticks` and `qty_lots`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

from raftbook.client.details import event_details
from raftbook.client.values import InstrumentSpec
from raftbook.core import commands as c
from raftbook.core import events as e
from raftbook.core.form import field_names, form_error, is_engine_switch, is_node_notice
from raftbook.core.types import Phase, Reject, Side
from raftbook.ops.event_names import EVENT_NAMES

from .naming_fields import (
    Instruments,
    Named,
    amounts,
    name_of,
    order_document,
    said_as,
    terms_document,
)

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
    c.PLACE_PEG: "place_peg",
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
_AFTER_TERMS: Final[dict[int, tuple[str, ...]]] = {
    e.ACCEPTED: (),
    e.RESTED: ("leaves_qty", "shown_qty"),
    e.CANCELED: ("cum_qty", "canceled_qty", "was_resting", "reason", "shown_qty"),
    e.EXPIRED: ("cum_qty", "canceled_qty", "was_resting", "reason", "shown_qty"),
    e.RESTATED: ("cum_qty", "leaves_qty", "prevented_qty", "was_resting", "shown_qty"),
    e.TRIGGERED: ("reached_price",),
    e.REFILLED: ("shown_qty", "leaves_qty"),
    e.REPRICED: ("asked_price", "leaves_qty"),
}
"""What stands behind the terms; shown_qty only where an iceberg has one."""
_ORDER_COMMANDS: Final = frozenset((c.NEW_ORDER, c.PLACE_ORDER, c.PLACE_OCO, c.PLACE_PEG))
_TOLD_FIRST: Final = (
    "symbol",
    "side",
    "ord_type",
    "time_in_force",
    "post_only",
    "self_trade_prevention",
    "order_qty",
    "price",
    "client_order_id",
)
"""Fields of an order in the order in which its events tell them."""
_TERMS_COMMANDS: Final = frozenset((c.CREATE_INSTRUMENT, c.LIST_INSTRUMENT, c.AMEND_INSTRUMENT))
_CHANGES: Final = frozenset((c.AMEND_ORDER, c.REPLACE_ORDER))
_ABOUT_ONE_INSTRUMENT: Final = frozenset(
    (
        c.NEW_ORDER,
        c.PLACE_ORDER,
        c.PLACE_OCO,
        c.PLACE_PEG,
        c.SET_PHASE,
        c.CREATE_INSTRUMENT,
        c.LIST_INSTRUMENT,
        c.AMEND_INSTRUMENT,
        c.DELETE_INSTRUMENT,
        c.CALL_AUCTION,
        c.BUST_TRADE,
    )
)


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
    said = dict(zip(field_names(command), fields, strict=True))
    spec = instruments.get(said.get("symbol", ""))
    if kind in _CHANGES and symbol_of is not None:
        spec = instruments.get(symbol_of(fields[0], fields[1]) or "")
    if kind == c.SET_API_KEY:
        said["secret"] = "(not shown)" if said["secret"] else ""
    if kind in _ORDER_COMMANDS:
        said = {name: said[name] for name in _TOLD_FIRST if name in said} | said
    for name, value in said.items():
        named |= said_as(name, value, spec, said)
    return named


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
    named: Named = {"event": EVENT_NAMES.get(kind, str(kind)), "feed_seq": feed_seq}
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


def _field(name: str, value: Any, spec: InstrumentSpec | None) -> Named:
    if name.endswith(("_qty", "_price")):
        return amounts(spec, **{name: value})
    if name == "reason":
        return {"reason": name_of(Reject, value) if value else None}
    return {name: bool(value)}


def _trade(fields: Sequence[Any], instruments: Instruments) -> Named:
    trade_id, price, qty, maker, _, maker_leaves, _, taker, _, taker_leaves, _, *extras = fields
    spec = instruments.get(taker[3])
    named = {
        "trade_id": trade_id,
        "symbol": taker[3],
        **amounts(spec, price=price, qty=qty),
        "taker_side": name_of(Side, taker[4][0]),
        "maker_order_id": maker[0],
        "maker_account": maker[1],
        "taker_order_id": taker[0],
        "taker_account": taker[1],
        **amounts(spec, maker_leaves_qty=maker_leaves, taker_leaves_qty=taker_leaves),
    }
    if extras:
        maker_fee, taker_fee, maker_shown, taker_shown = extras
        named |= {"maker_fee": _money(maker_fee, spec), "taker_fee": _money(taker_fee, spec)}
        named |= amounts(spec, maker_shown_qty=maker_shown, taker_shown_qty=taker_shown)
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
    old = amounts(
        spec, old_order_qty=old_terms[5], old_price=old_terms[6], old_leaves_qty=old_leaves_qty
    )
    if shown:
        old |= amounts(spec, shown_qty=shown[0], old_shown_qty=shown[1])
    return {
        **order_document(terms, instruments),
        **amounts(spec, cum_qty=cum_qty, leaves_qty=leaves_qty),
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
    said = amounts(spec, price=price, volume_qty=volume, imbalance_qty=imbalance)
    return {"symbol": symbol, **said}


def _busted(fields: Sequence[Any], instruments: Instruments) -> Named:
    symbol, trade_id, price, qty, maker, taker = fields
    return {
        "trade_id": trade_id,
        "symbol": symbol,
        **amounts(instruments.get(symbol), price=price, qty=qty),
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

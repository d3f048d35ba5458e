"""The fields of orders and instruments as people read them: names instead of numbers, and decimals.

Owns which field is a price, a quantity, a word. Which fields a command or an event has is for
`naming.py` to say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from enum import IntEnum
from typing import Any, Final

from raftbook.client.values import InstrumentSpec
from raftbook.core.conditions import OrderConditions, PegTerms
from raftbook.core.instrument import InstrumentTerms, terms_error
from raftbook.core.types import (
    OrderType,
    PegReference,
    Phase,
    PostOnly,
    SelfTradePrevention,
    Settlement,
    Side,
    TimeInForce,
    TrailUnit,
    TriggerBy,
)

Named = dict[str, Any]
Instruments = Mapping[str, InstrumentSpec]

_ENUMERATIONS: Final[dict[str, type[IntEnum]]] = {
    "side": Side,
    "ord_type": OrderType,
    "stop_ord_type": OrderType,
    "time_in_force": TimeInForce,
    "self_trade_prevention": SelfTradePrevention,
    "phase": Phase,
    "trigger_by": TriggerBy,
    "then": Phase,
}
_LOTS: Final = frozenset(("order_qty", "display_qty", "min_qty"))
_TICKS: Final = frozenset(
    ("price", "stop_price", "stop_limit_price", "price_low", "price_high", "limit_price")
)
_YES_OR_NO: Final = frozenset(
    ("or_place", "cancel_on_disconnect", "is_operator", "on", "enabled", "hidden")
)


def name_of(kind: type[IntEnum], number: Any) -> Any:
    """The name of an enumeration's number; the number itself when it has none."""
    try:
        return kind(number).name
    except ValueError:
        return number


def terms_document(fields: Sequence[Any]) -> Named:
    """The terms of an instrument; its limits as decimals, which its own sizes give."""
    terms = InstrumentTerms(*fields)
    if terms_error(terms) is not None:
        return {name: repr(value)[:200] for name, value in terms._asdict().items()}
    spec = InstrumentSpec.from_wire({**terms._asdict(), "phase": Phase.CONTINUOUS.name})
    named: Named = {}
    for name, value in zip(InstrumentTerms._fields, fields, strict=False):
        named[name] = term_text(name, value, spec)
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


def order_document(terms: Sequence[Any], instruments: Instruments) -> Named:
    """The terms of an order, named."""
    order_id, account, client_order_id, symbol, kind, qty, price, *more = terms
    spec = instruments.get(symbol)
    document = {
        "order_id": order_id,
        "account": account,
        "client_order_id": client_order_id,
        "symbol": symbol,
        **_kind(kind),
        **amounts(spec, order_qty=qty, price=price),
    }
    if more:
        document |= _conditions(OrderConditions(*more[0]), spec)
    if len(more) > 1:
        peg = PegTerms(*more[1])
        said = {"peg_reference": peg.reference, "peg_offset": peg.offset}
        for name, value in {**said, "limit_price": peg.limit_price}.items():
            document |= said_as(name, value, spec, said)
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
        named |= said_as(name, value, spec, given)
    return named


def said_as(name: str, value: Any, spec: InstrumentSpec | None, said: Named) -> Named:
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
    if name == "peg_reference":
        return {name: name_of(PegReference, value)}
    if name == "peg_offset":
        return {name: value if spec is None else f"{spec.price(value):f}"}
    if name == "quote_qty":
        return _quote(value, spec)
    if name in _LOTS or name in _TICKS:
        return amounts(spec, **{name: value})
    return {name: value}


def _trail(unit: int | None, offset: int | None, spec: InstrumentSpec | None) -> Named:
    """The offset of a trailing stop; whether it is a price, an amend does not say."""
    if unit == TrailUnit.TICKS and spec is not None and offset is not None:
        return {"trail_offset": f"{spec.price(offset):f}"}
    return {"trail_offset": offset}


def _quote(tick_lots: int, spec: InstrumentSpec | None) -> Named:
    if spec is None or not tick_lots:
        return {"quote_qty": tick_lots or None}
    return {"quote_qty": f"{spec.notional(tick_lots):f}"}


def amounts(spec: InstrumentSpec | None, **amounts: int | None) -> Named:
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

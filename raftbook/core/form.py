"""Whether something has the form of a command; the market is never looked at.

Owns the one rule for every door: a gateway refuses what `form_error` refuses before it reaches the
log. Bytes out of the log are judged again where they take effect.
"""

from typing import Any, Final

from raftbook.core.commands import (
    AMEND_INSTRUMENT,
    AMEND_ORDER,
    ATTACH_SESSION,
    BUST_TRADE,
    CALL_AUCTION,
    CANCEL_ORDER,
    CANCEL_REPLACE,
    CLOSE_SESSION,
    CREATE_ACCOUNT,
    CREATE_CURRENCY,
    CREATE_INSTRUMENT,
    DELETE_INSTRUMENT,
    DEPOSIT,
    LIST_INSTRUMENT,
    MASS_CANCEL,
    NEW_ORDER,
    OPEN_SESSION,
    PLACE_OCO,
    PLACE_ORDER,
    PLACE_PEG,
    RENEW_LEASE,
    REPLACE_ORDER,
    ROLL_DAY,
    SESSION_LOST,
    SET_ACCOUNT,
    SET_API_KEY,
    SET_DROP_COPY,
    SET_ENGINE_VERSION,
    SET_KILL_SWITCH,
    SET_PHASE,
    WITHDRAW,
    Command,
)
from raftbook.core.types import ID_CHARS_MAX, INT64_MAX


def is_engine_switch(command: Any) -> bool:
    """Whether it is a well-formed `set_engine_version`."""
    return (
        type(command) is tuple
        and len(command) == 3
        and command[0] == SET_ENGINE_VERSION
        and _is_int(command[1])
        and command[1] > 0
        and is_id(command[2])
    )


def is_node_notice(command: Any) -> bool:
    """Whether it is a well-formed `session_lost` or `renew_lease`."""
    return (
        type(command) is tuple
        and len(command) == 3
        and command[0] in (SESSION_LOST, RENEW_LEASE)
        and _is_int(command[1])
        and _is_int(command[2])
    )


def engine_version_of(command: Command) -> int:
    """The engine version that brought this kind of command; a door refuses it before that."""
    return 1 if command[0] in _FIRST_KINDS else 2


def _is_int(value: Any) -> bool:
    return type(value) is int and -INT64_MAX <= value <= INT64_MAX


def is_id(value: Any) -> bool:
    """Whether `value` may be an id, a symbol or a name: printable ASCII without spaces."""
    return (
        type(value) is str
        and len(value) <= ID_CHARS_MAX
        and value.isascii()
        and value.isprintable()
        and " " not in value
    )


def _is_optional_int(value: Any) -> bool:
    return value is None or _is_int(value)


def _is_optional_id(value: Any) -> bool:
    return value is None or is_id(value)


def _is_flag(value: Any) -> bool:
    return type(value) is int and 0 <= value <= 1


def _is_optional_flag(value: Any) -> bool:
    return value is None or _is_flag(value)


_Fields = tuple[tuple[str, Any], ...]

_NEW_ORDER_FIELDS: Final[_Fields] = (
    ("symbol", is_id),
    ("side", _is_int),
    ("ord_type", _is_int),
    ("time_in_force", _is_int),
    ("order_qty", _is_int),
    ("price", _is_optional_int),
    ("client_order_id", is_id),
    ("post_only", _is_int),
    ("self_trade_prevention", _is_int),
)
_PLACE_ORDER_FIELDS: Final[_Fields] = (
    *_NEW_ORDER_FIELDS,
    ("stop_price", _is_optional_int),
    ("trail_unit", _is_int),
    ("trail_offset", _is_int),
    ("display_qty", _is_int),
    ("min_qty", _is_int),
    ("expire_time_ns", _is_int),
    ("quote_qty", _is_int),
)
_UNUSUAL_FIELDS: Final[_Fields] = (("trigger_by", _is_int), ("hidden", _is_flag))
"""What an order may say beyond that: a command has all of them or none."""
_PLAIN_TERMS_FIELDS: Final[_Fields] = (
    ("symbol", is_id),
    ("base", is_id),
    ("quote", is_id),
    ("tick_size", is_id),
    ("lot_size", is_id),
    ("qty_max", _is_int),
    ("price_min", _is_int),
    ("price_max", _is_int),
    ("band_low", _is_optional_int),
    ("band_high", _is_optional_int),
    ("notional_max", _is_optional_int),
    ("collar", _is_optional_int),
    ("reference_price", _is_optional_int),
)
_TERMS_FIELDS: Final[_Fields] = (
    *_PLAIN_TERMS_FIELDS,
    ("qty_min", _is_int),
    ("notional_min", _is_int),
    ("settlement", _is_int),
    ("maker_fee", _is_int),
    ("taker_fee", _is_int),
    ("volatility_band", _is_optional_int),
    ("volatility_call_ms", _is_int),
)
_TRANSFER_FIELDS: Final[_Fields] = (
    ("account", is_id),
    ("currency", is_id),
    ("amount", _is_int),
    ("transfer_id", is_id),
)

_FIELDS: Final[dict[int, _Fields]] = {
    NEW_ORDER: _NEW_ORDER_FIELDS,
    CANCEL_ORDER: (("order_id", _is_int), ("client_order_id", is_id)),
    AMEND_ORDER: (
        ("order_id", _is_int),
        ("client_order_id", is_id),
        ("order_qty", _is_optional_int),
        ("price", _is_optional_int),
    ),
    PLACE_ORDER: _PLACE_ORDER_FIELDS,
    REPLACE_ORDER: (
        ("order_id", _is_int),
        ("client_order_id", is_id),
        ("order_qty", _is_optional_int),
        ("price", _is_optional_int),
        ("stop_price", _is_optional_int),
        ("trail_offset", _is_optional_int),
        ("display_qty", _is_optional_int),
        ("expire_time_ns", _is_optional_int),
    ),
    MASS_CANCEL: (
        ("account", is_id),
        ("session_id", _is_int),
        ("symbol", is_id),
        ("side", _is_int),
        ("price_low", _is_optional_int),
        ("price_high", _is_optional_int),
    ),
    CANCEL_REPLACE: (
        ("order_id", _is_int),
        ("client_order_id", is_id),
        ("or_place", _is_flag),
        *(
            ("new_client_order_id" if name == "client_order_id" else name, is_valid)
            for name, is_valid in _PLACE_ORDER_FIELDS
        ),
    ),
    PLACE_OCO: (
        ("symbol", is_id),
        ("side", _is_int),
        ("order_qty", _is_int),
        ("time_in_force", _is_int),
        ("expire_time_ns", _is_int),
        ("self_trade_prevention", _is_int),
        ("price", _is_int),
        ("client_order_id", is_id),
        ("post_only", _is_int),
        ("display_qty", _is_int),
        ("stop_ord_type", _is_int),
        ("stop_price", _is_optional_int),
        ("stop_limit_price", _is_optional_int),
        ("trail_unit", _is_int),
        ("trail_offset", _is_int),
        ("stop_client_order_id", is_id),
    ),
    PLACE_PEG: (
        ("symbol", is_id),
        ("side", _is_int),
        ("time_in_force", _is_int),
        ("order_qty", _is_int),
        ("limit_price", _is_optional_int),
        ("client_order_id", is_id),
        ("peg_reference", _is_int),
        ("peg_offset", _is_int),
        ("expire_time_ns", _is_int),
    ),
    OPEN_SESSION: (("account", is_id), ("key", is_id)),
    CLOSE_SESSION: (),
    ATTACH_SESSION: (("cancel_on_disconnect", _is_flag), ("lease_ms", _is_int)),
    CREATE_INSTRUMENT: _PLAIN_TERMS_FIELDS,
    SET_PHASE: (("symbol", is_id), ("phase", _is_int)),
    LIST_INSTRUMENT: (*_TERMS_FIELDS, ("phase", _is_int)),
    AMEND_INSTRUMENT: _TERMS_FIELDS,
    DELETE_INSTRUMENT: (("symbol", is_id),),
    CALL_AUCTION: (("symbol", is_id), ("until_ns", _is_int), ("then", _is_int)),
    CREATE_CURRENCY: (("name", is_id), ("decimals", _is_int)),
    CREATE_ACCOUNT: (("name", is_id), ("is_operator", _is_flag), ("group", is_id)),
    SET_ACCOUNT: (
        ("name", is_id),
        ("enabled", _is_optional_flag),
        ("group", _is_optional_id),
        ("open_orders_max", _is_optional_int),
        ("order_qty_max", _is_optional_int),
        ("order_notional_max", _is_optional_int),
        ("orders_per_s", _is_optional_int),
        ("orders_burst", _is_optional_int),
    ),
    DEPOSIT: _TRANSFER_FIELDS,
    WITHDRAW: _TRANSFER_FIELDS,
    SET_KILL_SWITCH: (("account", is_id), ("on", _is_flag)),
    BUST_TRADE: (("symbol", is_id), ("trade_id", _is_int)),
    ROLL_DAY: (),
    SET_DROP_COPY: (("reader", is_id), ("on", _is_flag)),
    SET_API_KEY: (("account", is_id), ("key", is_id), ("secret", is_id)),
}


_WHOLE_FIELDS: Final[dict[int, _Fields]] = {
    kind: (*_FIELDS[kind], *_UNUSUAL_FIELDS) for kind in (PLACE_ORDER, CANCEL_REPLACE, PLACE_OCO)
}


def field_names(command: Command) -> tuple[str, ...]:
    """What the fields of a well-formed command are called, in order."""
    return tuple(name for name, _ in _fields_of(command) or ())


def _fields_of(command: Command) -> _Fields | None:
    fields = _FIELDS.get(command[0]) if type(command[0]) is int else None
    if fields is not None and len(command) > len(fields) + 1:
        fields = _WHOLE_FIELDS.get(command[0], fields)
    return fields


_FIRST_KINDS: Final = frozenset(
    (
        NEW_ORDER,
        CANCEL_ORDER,
        AMEND_ORDER,
        OPEN_SESSION,
        CLOSE_SESSION,
        CREATE_INSTRUMENT,
        SET_PHASE,
        SET_ENGINE_VERSION,
    )
)


_NEW_ORDER_TYPES: Final = frozenset(
    (int, str, int, int, int, int, price, str, int, int) for price in (int, type(None))
)


def _is_plain_new_order(command: Command) -> bool:
    """Whether a NEW_ORDER of the right types is well formed beyond doubt: what most commands are.

    What this leaves undecided, `form_error` decides field by field.
    """
    _, symbol, side, ord_type, tif, qty, price, client_order_id, post_only, mode = command
    ids = symbol + client_order_id
    return (
        # no number is negative or above INT64_MAX exactly when all of them together are not
        not (side | ord_type | tif | qty | post_only | mode) >> 63
        and (price is None or -INT64_MAX <= price <= INT64_MAX)
        and len(ids) <= ID_CHARS_MAX
        and ids.isascii()
        and ids.isprintable()
        and " " not in ids
    )


def form_error(command: Any) -> str | None:
    """Why `command` is no well-formed command, or None.

    The exchange answers MALFORMED to what reached the log all the same, but for numbers that equal
    admissible integers (1.0, True): those it takes, and stores as integers.
    """
    if type(command) is tuple and tuple(map(type, command)) in _NEW_ORDER_TYPES:
        if command[0] == NEW_ORDER and _is_plain_new_order(command):
            return None
    return _field_error(command)


def _field_error(command: Any) -> str | None:
    """`form_error`, field by field."""
    if type(command) is not tuple or not command:
        return "a command is a non-empty array that starts with its kind"
    fields = _fields_of(command)
    if fields is None:
        return f"unknown command kind {command[0]!r}"
    if len(command) != len(fields) + 1:
        return f"command kind {command[0]} takes {len(fields)} fields, got {len(command) - 1}"
    for (name, is_valid), value in zip(fields, command[1:], strict=True):
        if not is_valid(value):
            return f"{name}: {value!r} is not acceptable"
    return None

"""What a client may ask of the exchange, as the plain tuples that stand in the log.

Owns the shapes, the constructors that build them and `form_error`, which judges form alone: it
never looks at the market. A command is a tuple that starts with its kind; a request is
`(session_id, request_seq, commands)`; an entry is what one index of the Raft log holds. Prices are
integer ticks, quantities integer lots.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from raftbook.core.instrument import InstrumentTerms
from raftbook.core.types import (
    ID_CHARS_MAX,
    INT64_MAX,
    OrderType,
    Phase,
    SelfTradePrevention,
    Side,
    TimeInForce,
)

Command = tuple[Any, ...]
Request = tuple[int, int, Sequence[Any]]
"""The commands are what the log holds, so any of them may be no Command at all."""

# Kinds: append-only, they stand in every log ever written.
NEW_ORDER: Final = 1
CANCEL_ORDER: Final = 2
AMEND_ORDER: Final = 3
OPEN_SESSION: Final = 10
CLOSE_SESSION: Final = 11
CREATE_INSTRUMENT: Final = 20
SET_PHASE: Final = 21
SET_ENGINE_VERSION: Final = 30
"""Said by a leader alone, in an entry of its own; `form_error` lets no client say it."""

NO_SESSION: Final = 0
"""session_id of a request that opens a session; such a request is not deduplicated by seq."""


@dataclass(slots=True)
class Entry:
    """One committed log entry: everything the exchange is told, and when.

    Attributes:
        index: position in the Raft log, 1-based, strictly increasing; gaps are Raft's own entries.
        time_ns: the leader's clock when it appended the entry, nanoseconds since 1970 UTC.
        requests: `(session_id, request_seq, commands)` in the order they take effect.

    Not frozen, and no tuple: one is read for every order, and plain slots are read fastest.
    """

    index: int
    time_ns: int
    requests: Sequence[Request]


def new_order(
    symbol: str,
    side: Side,
    order_qty: int,
    price: int | None,
    *,
    client_order_id: str = "",
    ord_type: OrderType = OrderType.LIMIT,
    time_in_force: TimeInForce = TimeInForce.GTC,
    post_only: bool = False,
    self_trade_prevention: SelfTradePrevention = SelfTradePrevention.NONE,
) -> Command:
    """Buy or sell `order_qty` lots; `price` in ticks, None for a market order."""
    return (
        NEW_ORDER,
        symbol,
        int(side),
        int(ord_type),
        int(time_in_force),
        order_qty,
        price,
        client_order_id,
        int(post_only),
        int(self_trade_prevention),
    )


def cancel_order(*, order_id: int = 0, client_order_id: str = "") -> Command:
    """Cancel one own order, named by our id or, when that is 0, by the client's."""
    return (CANCEL_ORDER, order_id, client_order_id)


def amend_order(
    *,
    order_id: int = 0,
    client_order_id: str = "",
    order_qty: int | None = None,
    price: int | None = None,
) -> Command:
    """Change the total quantity (lots) and/or the price (ticks) of one own resting order."""
    return (AMEND_ORDER, order_id, client_order_id, order_qty, price)


def open_session(account: str, key: str) -> Command:
    """Open a session for `account`: the one known by (account, key), or a new one.

    An empty key always opens a new one; so does a key whose session was closed or evicted.
    """
    return (OPEN_SESSION, account, key)


def close_session() -> Command:
    """Forget this session and its stored replies."""
    return (CLOSE_SESSION,)


def create_instrument(terms: InstrumentTerms) -> Command:
    """Add an instrument (operators only)."""
    return (CREATE_INSTRUMENT, *terms)


def set_phase(symbol: str, phase: Phase) -> Command:
    """Halt, resume or close an instrument (operators only)."""
    return (SET_PHASE, symbol, int(phase))


def set_engine_version(engine_version: int, written_by: str) -> Command:
    """Put newer rules in force; `written_by` is the leader's package version, for the reader."""
    return (SET_ENGINE_VERSION, engine_version, written_by)


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


_FIELDS: Final[dict[int, tuple[tuple[str, Any], ...]]] = {
    NEW_ORDER: (
        ("symbol", is_id),
        ("side", _is_int),
        ("ord_type", _is_int),
        ("time_in_force", _is_int),
        ("order_qty", _is_int),
        ("price", _is_optional_int),
        ("client_order_id", is_id),
        ("post_only", _is_int),
        ("self_trade_prevention", _is_int),
    ),
    CANCEL_ORDER: (("order_id", _is_int), ("client_order_id", is_id)),
    AMEND_ORDER: (
        ("order_id", _is_int),
        ("client_order_id", is_id),
        ("order_qty", _is_optional_int),
        ("price", _is_optional_int),
    ),
    OPEN_SESSION: (("account", is_id), ("key", is_id)),
    CLOSE_SESSION: (),
    CREATE_INSTRUMENT: (
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
    ),
    SET_PHASE: (("symbol", is_id), ("phase", _is_int)),
}


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

    The rule for every door: a gateway refuses what this refuses before it reaches the log. The
    exchange answers MALFORMED to what reached the log all the same, but for numbers that equal
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
    fields = _FIELDS.get(command[0]) if type(command[0]) is int else None
    if fields is None:
        return f"unknown command kind {command[0]!r}"
    if len(command) != len(fields) + 1:
        return f"command kind {command[0]} takes {len(fields)} fields, got {len(command) - 1}"
    for (name, is_valid), value in zip(fields, command[1:], strict=True):
        if not is_valid(value):
            return f"{name}: {value!r} is not acceptable"
    return None

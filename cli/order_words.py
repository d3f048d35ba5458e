"""The words in which people write an order: types, times, trails, expiries; and what fits together.

Owns the names that options and JSON lines share. Must not know ticks and lots.
"""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from raftbook.client.prepare import check_peg, order_type_of, time_in_force_of, trigger_of
from raftbook.client.values import OrderRequest
from raftbook.core.conditions import (
    MARKET_TYPES,
    RESTING_TIMES,
    TRAILING_TYPES,
    TRIGGERED_TYPES,
)
from raftbook.core.types import (
    OrderType,
    PegReference,
    PostOnly,
    SelfTradePrevention,
    TimeInForce,
    TriggerBy,
)

from .amounts import parse_decimal

ORDER_TYPES: Final = {
    "limit": OrderType.LIMIT,
    "market": OrderType.MARKET,
    "stop": OrderType.STOP,
    "stop-limit": OrderType.STOP_LIMIT,
    "touched": OrderType.IF_TOUCHED,
    "limit-touched": OrderType.LIMIT_IF_TOUCHED,
    "market-to-limit": OrderType.MARKET_TO_LIMIT,
}
TRIGGERS: Final = {trigger.name.lower(): trigger for trigger in TriggerBy}
PEGS: Final = {reference.name.lower(): reference for reference in PegReference}
TIMES_IN_FORCE: Final = {
    "gtc": TimeInForce.GTC,
    "ioc": TimeInForce.IOC,
    "fok": TimeInForce.FOK,
    "day": TimeInForce.DAY,
    "gtd": TimeInForce.GTD,
    "auction": TimeInForce.AT_AUCTION,
}
STP_MODES: Final = {mode.name.lower().replace("_", "-"): mode for mode in SelfTradePrevention}
POST_ONLY: Final = {"reject": PostOnly.REJECT, "reprice": PostOnly.REPRICE}

_UNITS_MS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_SPAN: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", re.ASCII)
_NS_PER_S: Final = 1_000_000_000
_NS_PER_MS: Final = 1_000_000
_SPAN_MS_MAX: Final = 100 * 366 * 86_400_000


def parse_trail(text: str) -> tuple[Decimal | None, int | None]:
    """`0.50` as a distance in price, `25bp` as one in basis points.

    Raises:
        ValueError: it is neither.
    """
    if text.endswith("bp"):
        digits = text[:-2]
        if not (digits.isascii() and digits.isdecimal() and len(digits) <= 5):
            raise ValueError(f"trail {text[:40]!r} is not a whole number of basis points (25bp)")
        return None, int(digits)
    return parse_decimal(text, what="trail"), None


def parse_span_ns(text: str) -> int:
    """`10m` or `1.5s` in nanoseconds.

    Raises:
        ValueError: it is no such span.
    """
    match = _SPAN.fullmatch(text)
    if match is None:
        units = ", ".join(_UNITS_MS)
        raise ValueError(f"{text[:40]!r} is no span of time such as 10m (units: {units})")
    span_ms = parse_decimal(match[1], what="time") * _UNITS_MS[match[2]]
    if not 0 < span_ms <= _SPAN_MS_MAX:
        raise ValueError(f"{text} is no span of time that anybody waits for")
    return int(span_ms * _NS_PER_MS)


def parse_time_ns(text: str, *, now_ns: int | None = None) -> int:
    """`2026-01-31T17:30:00Z` or `+10m`, as nanoseconds since 1970 UTC.

    Raises:
        ValueError: it is neither.
    """
    if text.startswith("+"):
        return (time.time_ns() if now_ns is None else now_ns) + parse_span_ns(text[1:])
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        example = "2026-01-31T17:30:00Z, or +10m"
        raise ValueError(f"{text[:40]!r} is no time such as {example}") from None
    if moment.tzinfo is None:
        raise ValueError(f"{text} lacks its time zone: write {text}Z for UTC")
    since = moment.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    time_ns = (since.days * 86_400 + since.seconds) * _NS_PER_S + since.microseconds * 1_000
    if time_ns <= 0:
        raise ValueError(f"{text} is before 1970")
    return time_ns


def check_order(order: OrderRequest) -> None:
    """Refuse what cannot be meant, before anything is asked.

    Raises:
        ValueError: fields that do not go together; says which.
    """
    if order.peg is not None or order.peg_offset is not None:
        _check_peg(order)
        return
    ord_type = order_type_of(order)
    name = next(word for word, known in ORDER_TYPES.items() if known == ord_type)
    if ord_type in MARKET_TYPES and order.price is not None:
        raise ValueError(f"a {name} order takes no price")
    if ord_type not in MARKET_TYPES and order.price is None:
        raise ValueError(f"a {name} order needs a price")
    _check_trigger(order, ord_type, name)
    _check_expiry(order)
    if order.hidden and (ord_type != OrderType.LIMIT or order.display_qty is not None):
        raise ValueError("a hidden order is a limit order that displays nothing")
    if order.quote_qty is not None and ord_type != OrderType.MARKET:
        raise ValueError("an amount to spend is for market orders")


def _check_peg(order: OrderRequest) -> None:
    if order.peg is None:
        raise ValueError("a distance from a peg needs one: give --peg")
    check_peg(order)
    _check_expiry(order)
    if time_in_force_of(order) not in RESTING_TIMES:
        raise ValueError("a pegged order rests: its time in force is gtc, day or gtd")


def _check_expiry(order: OrderRequest) -> None:
    time_in_force = time_in_force_of(order)
    if time_in_force == TimeInForce.GTD and not order.expire_time_ns:
        raise ValueError("gtd needs an expiry: give --expires")
    if order.expire_time_ns and time_in_force != TimeInForce.GTD:
        raise ValueError("an expiry is for gtd orders")


def _check_trigger(order: OrderRequest, ord_type: OrderType, name: str) -> None:
    trails = order.trail is not None or order.trail_bps is not None
    waits = order.stop_price is not None
    if trigger_of(order.trigger_by) and not waits:
        raise ValueError("what a stop looks at is for one with a stop price")
    if ord_type not in TRIGGERED_TYPES:
        if waits or trails:
            raise ValueError(f"a {name} order takes no stop price and no trail")
    elif ord_type in TRAILING_TYPES:
        if waits == trails:
            raise ValueError(f"a {name} order needs a stop price or a trail, one of them")
    elif trails or not waits:
        raise ValueError(f"a {name} order needs a stop price, and does not trail")


def trail_fields(text: str | None) -> dict[str, Any]:
    """The fields of an order or an amend that a trail makes; none without."""
    if text is None:
        return {}
    price, bps = parse_trail(text)
    return {"trail": price} if bps is None else {"trail_bps": bps}

"""Events that are about no order, as named values.

Owns the names. Numbers are as they stand in the event: ticks, lots, minor units.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from raftbook.core import events as e
from raftbook.core.events import Event
from raftbook.core.instrument import InstrumentTerms

FIELDS: Final[Mapping[int, tuple[str, ...]]] = {
    e.SESSION_OPENED: ("session_id", "account", "highest_seq"),
    e.SESSION_CLOSED: ("session_id",),
    e.SESSION_ATTACHED: ("session_id", "epoch"),
    e.SESSION_LAPSED: ("session_id", "epoch"),
    e.PHASE_CHANGED: ("symbol", "phase"),
    e.UNCROSSED: ("symbol", "price", "volume", "imbalance"),
    e.INSTRUMENT_DELETED: ("symbol",),
    e.ENGINE_VERSION_SET: ("engine_version",),
    e.CURRENCY_CREATED: ("name", "decimals"),
    e.ACCOUNT_CHANGED: (
        "account",
        "operator",
        "enabled",
        "group",
        "open_orders_max",
        "order_qty_max",
        "order_notional_max",
        "orders_per_s",
        "orders_burst",
    ),
    e.BALANCE_CHANGED: (
        "account",
        "currency",
        "amount",
        "available",
        "transfer_id",
        "repeated",
    ),
    e.KILL_SWITCH_SET: ("account", "on"),
    e.MASS_CANCELED: ("account", "canceled", "more"),
    e.DAY_ROLLED: ("day",),
    e.DROP_COPY_SET: ("account", "reader", "on"),
    e.API_KEY_SET: ("account", "key", "on"),
}
"""Of the events whose fields are plain values: their names, in order."""

FLAGS: Final = frozenset(("operator", "enabled", "repeated", "on", "more"))
"""Names of what is yes or no."""


def event_details(event: Event) -> dict[str, Any]:
    """An event's fields by name; none for an event that is about an order."""
    kind = event[0]
    if kind in (e.INSTRUMENT_CREATED, e.INSTRUMENT_AMENDED):
        return InstrumentTerms(*event[2])._asdict()
    if kind == e.TRADE_BUSTED:
        names = ("symbol", "trade_id", "price", "qty")
        sides = {"maker_order_id": event[6][0], "taker_order_id": event[7][0]}
        return dict(zip(names, event[2:6], strict=True)) | sides
    return {
        name: bool(value) if name in FLAGS else value
        for name, value in zip(FIELDS.get(kind, ()), event[2:], strict=False)
    }

"""How an order stands, told from what is kept of it.

Owns the rule for closed orders: how one ended is told when it ends, and not kept. Must not know the
book.
"""

from __future__ import annotations

from typing import Any, Final

from raftbook.core.conditions import OrderConditions
from raftbook.core.types import OrdStatus, TimeInForce

_PASSING: Final = frozenset((int(TimeInForce.IOC), int(TimeInForce.FOK)))


def order_status(
    terms: tuple[Any, ...], *, leaves_qty: int, cum_qty: int, closed_ns: int
) -> OrdStatus:
    """The status of an order.

    A closed one that was not filled: what stays is ended by a cancel or by its time, what passes by
    itself.

    Args:
        terms: as events tell them.
        leaves_qty, cum_qty: lots.
        closed_ns: when it ended, 0 while it is open.
    """
    if leaves_qty:
        return OrdStatus.PARTIALLY_FILLED if cum_qty else OrdStatus.NEW
    if cum_qty and cum_qty >= terms[5]:
        return OrdStatus.FILLED
    has_no_limit = terms[6] is None and len(terms) < 9  # nor has a pegged order while it waits
    if terms[4][2] in _PASSING or (has_no_limit and cum_qty):
        return OrdStatus.EXPIRED
    conditions = terms[7] if len(terms) > 7 else None
    expire_ns = 0 if conditions is None else OrderConditions(*conditions).expire_time_ns
    return OrdStatus.EXPIRED if 0 < expire_ns <= closed_ns else OrdStatus.CANCELED

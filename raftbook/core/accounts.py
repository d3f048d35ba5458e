"""Who trades: an account, its open orders and a bounded memory of its closed ones.

Owns the rule that a client_order_id is unique per account over open and recently closed orders.
Knows nothing of prices or matching.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from raftbook.core.ladder import Order
from raftbook.core.limits import Limits


class Account:
    """One account.

    Attributes:
        orders: the exchange's orders by order_id, shared by all accounts.
        by_client_order_id: own orders, open and remembered closed alike.
        closed: remembered closed orders in closing order; at most `closed_orders_max`.
    """

    __slots__ = (
        "by_client_order_id",
        "closed",
        "closed_orders_max",
        "is_operator",
        "name",
        "open_count",
        "open_orders_max",
        "orders",
    )

    def __init__(
        self, name: str, *, is_operator: bool, orders: dict[int, Order], limits: Limits
    ) -> None:
        self.name = name
        self.is_operator = is_operator
        self.orders = orders
        self.closed_orders_max = limits.closed_orders_max
        self.open_orders_max = limits.open_orders_max
        self.open_count = 0
        self.by_client_order_id: dict[str, Order] = {}
        self.closed: deque[Order] = deque()

    def close(self, order: Order) -> None:
        """Remember a closed order for late cancels and duplicate ids; forget the eldest."""
        self.open_count -= 1
        closed = self.closed
        closed.append(order)
        if len(closed) > self.closed_orders_max:
            forgotten = closed.popleft()
            del self.orders[forgotten.terms[0]]
            client_order_id = forgotten.terms[2]
            if client_order_id:
                del self.by_client_order_id[client_order_id]

    def find(self, order_id: Any, client_order_id: Any) -> Order | None:
        """An own order, open or remembered, by our id or, when that is 0, by the client's.

        Raises:
            TypeError: these are no ids.
        """
        if type(order_id) is not int or type(client_order_id) is not str:
            raise TypeError(f"order {order_id!r}, client order {client_order_id!r} are no ids")
        if not order_id:
            return self.by_client_order_id.get(client_order_id)
        order = self.orders.get(order_id)
        return order if order is not None and order.account is self else None

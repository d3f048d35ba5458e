"""Who trades: an account, its orders, its limits, and a bounded memory of its closed orders.

Owns the rule that a client_order_id is unique per account over open and recently closed orders, and
what may keep an account from trading. Knows nothing of prices or matching; balances are kept in
`ledger.py`.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final

from raftbook.core.ladder import Order
from raftbook.core.limits import Limits
from raftbook.core.moment import Moment
from raftbook.core.types import Reject

NS_PER_S: Final = 1_000_000_000


class Balance:
    """Money of one account in one currency, minor units. `held` is promised to open orders."""

    __slots__ = ("available", "held")

    def __init__(self) -> None:
        self.available = 0
        self.held = 0


class Guard:
    """Limits that an operator has set for one account; 0 is no limit.

    Tokens are counted in billionths, so that a rate per second refills whole numbers of them per
    nanosecond.
    """

    __slots__ = (
        "notional_max",
        "open_orders_max",
        "orders_burst",
        "orders_per_s",
        "qty_max",
        "refilled_ns",
        "tokens",
    )

    def __init__(self) -> None:
        self.open_orders_max = self.qty_max = self.notional_max = 0
        self.orders_per_s = self.orders_burst = 0
        self.tokens = self.refilled_ns = 0

    def size_reject(self, qty: int, price: int | None) -> int:
        """Whether one order is too large."""
        if self.qty_max and qty > self.qty_max:
            return Reject.QTY_TOO_LARGE
        if self.notional_max and price is not None and abs(price) * qty > self.notional_max:
            return Reject.NOTIONAL_LIMIT
        return 0

    def has_tokens(self, now_ns: int, count: int) -> bool:
        """Whether the bucket holds that many; always without a rate. Changes nothing."""
        return not self.orders_per_s or self._tokens_at(now_ns) >= count * NS_PER_S

    def take_tokens(self, now_ns: int, count: int) -> None:
        """Take tokens that `has_tokens` has seen."""
        if self.orders_per_s:
            self.tokens = self._tokens_at(now_ns) - count * NS_PER_S
            self.refilled_ns = now_ns

    def fill(self, now_ns: int) -> None:
        """Begin with a full bucket."""
        self.tokens = self.burst() * NS_PER_S
        self.refilled_ns = now_ns

    def _tokens_at(self, now_ns: int) -> int:
        refill = (now_ns - self.refilled_ns) * self.orders_per_s
        return min(self.tokens + refill, self.burst() * NS_PER_S)

    def burst(self) -> int:
        """Tokens of a full bucket."""
        return self.orders_burst or self.orders_per_s


class Account:
    """One account.

    Attributes:
        orders: own orders by order_id, open and remembered closed alike, in order_id order.
        by_client_order_id: those of them that have a name.
        closed: remembered closed orders in closing order; at most `closed_orders_max`.
        open_orders_max: the venue's bound, or the account's own where that is lower.
        blocked: the reason why it may enter no order, 0 for none.
        is_odd: whether it is blocked or guarded: rules that concern no other account apply.
        group: what self-trade prevention compares: shared by the accounts of a group.
        guard: limits of its own, None for most.
        balances: by currency, in the order in which they were first needed.
        transfers: remembered deposits and withdrawals: (currency, amount, available then) by id.
        readers: accounts that may read its reports.
        api_keys: secret by key.
    """

    __slots__ = (
        "api_keys",
        "balances",
        "blocked",
        "by_client_order_id",
        "closed",
        "closed_orders_max",
        "enabled",
        "group",
        "group_name",
        "guard",
        "is_killed",
        "is_odd",
        "is_operator",
        "moment",
        "name",
        "open_count",
        "open_orders_max",
        "orders",
        "readers",
        "transfers",
    )

    def __init__(self, name: str, *, is_operator: bool, limits: Limits, moment: Moment) -> None:
        self.name = name
        self.is_operator = is_operator
        self.moment = moment
        self.closed_orders_max = limits.closed_orders_max
        self.open_orders_max = limits.open_orders_max
        self.open_count = 0
        self.orders: dict[int, Order] = {}
        self.by_client_order_id: dict[str, Order] = {}
        self.closed: deque[Order] = deque()
        self.enabled = True
        self.is_killed = False
        self.blocked = 0
        self.is_odd = False
        self.group: object = self
        self.group_name = ""
        self.guard: Guard | None = None
        self.balances: dict[str, Balance] = {}
        self.transfers: dict[str, tuple[str, int, int]] = {}
        self.readers: dict[str, None] = {}
        self.api_keys: dict[str, str] = {}

    def block(self, *, venue_killed: bool) -> None:
        """Find out again whether it may trade."""
        self.blocked = 0
        if not self.enabled:
            self.blocked = int(Reject.ACCOUNT_SUSPENDED)
        elif self.is_killed or venue_killed:
            self.blocked = int(Reject.KILL_SWITCH)
        self.is_odd = self.blocked > 0 or self.guard is not None

    def balance(self, currency: str) -> Balance:
        """Its balance in a currency, from now on there if it was not."""
        balance = self.balances.get(currency)
        if balance is None:
            balance = self.balances[currency] = Balance()
        return balance

    def close(self, order: Order) -> None:
        """Remember a closed order for late cancels and duplicate ids; forget the eldest. What was
        held for it is available again."""
        if order.held:
            self._release(order)
        self.open_count -= 1
        order.closed_ns = self.moment.stamp_ns
        closed = self.closed
        closed.append(order)
        if len(closed) > self.closed_orders_max:
            forgotten = closed.popleft()
            del self.orders[forgotten.terms[0]]
            client_order_id = forgotten.terms[2]
            if client_order_id:
                del self.by_client_order_id[client_order_id]

    def _release(self, order: Order) -> None:
        ledger = order.book.ledger
        assert ledger is not None, f"order {order.terms[0]} holds {order.held} of nothing"
        ledger.release(order, order.held)

    def find(self, order_id: Any, client_order_id: Any) -> Order | None:
        """An own order, open or remembered, by our id or, when that is 0, by the client's.

        Raises:
            TypeError: these are no ids.
        """
        if type(order_id) is not int or type(client_order_id) is not str:
            raise TypeError(f"order {order_id!r}, client order {client_order_id!r} are no ids")
        if not order_id:
            return self.by_client_order_id.get(client_order_id)
        return self.orders.get(order_id)

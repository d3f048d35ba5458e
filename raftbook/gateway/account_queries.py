"""Answers about accounts: their orders, limits and money, and the currencies these are in.

Owns the shapes of docs/PROTOCOL.md "Queries" of these, and who may ask about whom.
"""

from __future__ import annotations

from heapq import nlargest
from itertools import islice
from typing import Any, Final

from raftbook.core.accounts import Account
from raftbook.core.exchange import Exchange
from raftbook.core.ladder import Order
from raftbook.core.types import Reject
from raftbook.gateway.arguments import INDEX_MAX, Arguments, QueryError, natural, text
from raftbook.wire import pages
from raftbook.wire.packing import brief

_LIMITS: Final = {
    "open_orders_max": "open_orders_max",
    "order_qty_max": "qty_max",
    "order_notional_max": "notional_max",
    "orders_per_s": "orders_per_s",
    "orders_burst": "orders_burst",
}


def account_asked_for(exchange: Exchange, arguments: Arguments, asker: Account) -> Account:
    """The account a question is about: the asker's own, or for operators any by name.

    Raises:
        QueryError: there is none of this name, or it is another's.
    """
    name = text(arguments, "account") or asker.name
    if name != asker.name and not asker.is_operator:
        raise QueryError(Reject.NOT_AUTHORIZED, "other accounts are for operators to look at")
    account = exchange.accounts.get(name)
    if account is None:
        raise QueryError(Reject.UNKNOWN_ACCOUNT, f"no account {brief(name)}")
    return account


def order(arguments: Arguments, account: Account) -> dict[str, Any]:
    """One own order."""
    order_id = natural(arguments, "order_id", 0, high=INDEX_MAX)
    client_order_id = text(arguments, "client_order_id") or ""
    found = account.find(order_id, client_order_id)
    if found is None:
        name = order_id or brief(client_order_id)
        raise QueryError(Reject.UNKNOWN_ORDER, f"no order {name} of account {account.name}")
    return _order_view(found)


def orders(arguments: Arguments, account: Account) -> dict[str, Any]:
    """The newest orders below `before`, eldest first, as many as fit one answer."""
    symbol = text(arguments, "symbol")
    limit = min(natural(arguments, "limit", 1_000), pages.ORDER_ROWS)
    before = natural(arguments, "before", INDEX_MAX, high=INDEX_MAX)
    open_only = bool(arguments.get("open_only"))
    own = (
        order
        for order in account.orders.values()
        if (order.leaves_qty or not open_only)
        and order.terms[0] < before
        and (symbol is None or order.terms[3] == symbol)
    )
    # One more than is told says whether there are more.
    found = nlargest(limit + 1, own, key=_order_id)
    told = found[:limit][::-1]
    return {
        "orders": [_order_view(order) for order in told],
        "before": _order_id(told[0]) if told and len(found) > limit else None,
    }


def _order_id(order: Order) -> int:
    return int(order.terms[0])


def _order_view(order: Order) -> dict[str, Any]:
    special = order.special
    is_stop = order.book.waits(order)
    is_resting = order.level is not None
    is_peg = special is not None and special.is_pegged
    is_waiting = is_stop or (is_peg and not is_resting and order.leaves_qty > 0)
    return {
        "terms": order.terms,
        "leaves_qty": order.leaves_qty,
        "cum_qty": order.cum_qty,
        "cum_notional": order.cum_notional,
        "resting": is_resting,
        "shown_qty": order.shown_qty() if is_resting else 0,
        "waiting": is_waiting,
        "pending": order.book.pends(order),
        "stop_price": order.book.stop_price(order),
        "entered_ns": order.entered_ns,
        "closed_ns": order.closed_ns,
        "held": order.held,
        "session_id": order.session_id,
    }


def account_view(exchange: Exchange, account: Account) -> dict[str, Any]:
    """Everything about one account but its orders."""
    guard = account.guard
    decimals = exchange.money.decimals
    return {
        **_head(account),
        "venue_killed": exchange.is_killed,
        "limits": {
            told: 0 if guard is None else getattr(guard, name) for told, name in _LIMITS.items()
        },
        "balances": [
            (currency, decimals[currency], balance.available, balance.held)
            for currency, balance in account.balances.items()
        ],
        "readers": list(account.readers),
        "api_keys": list(account.api_keys),
    }


def accounts(exchange: Exchange, arguments: Arguments) -> list[dict[str, Any]]:
    """Accounts in the order they were created, which they keep."""
    first = natural(arguments, "from", 0, high=INDEX_MAX)
    some = islice(exchange.accounts.values(), first, first + pages.ACCOUNT_ROWS)
    return [_head(account) for account in some]


def _head(account: Account) -> dict[str, Any]:
    return {
        "account": account.name,
        "operator": account.is_operator,
        "enabled": account.enabled,
        "killed": account.is_killed,
        "group": account.group_name,
        "open_orders": account.open_count,
    }


def currencies(exchange: Exchange, asker: Account | None) -> list[tuple[Any, ...]]:
    """(name, decimals, fees, supply) of each; what the venue took is for its operators."""
    money = exchange.money
    if asker is None or not asker.is_operator:
        return [(name, decimals, None, None) for name, decimals in money.decimals.items()]
    return [
        (name, decimals, money.fees[name], money.supply[name])
        for name, decimals in money.decimals.items()
    ]

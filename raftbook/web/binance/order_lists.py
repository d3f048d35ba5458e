"""Lists of orders that were entered together: pairs, and orders with those that they trigger.

Owns their documents, and how a list is placed, shown and cancelled. Its number is that of its first
order; the others have the numbers behind it.
"""

from __future__ import annotations

from typing import Any, Final

from raftbook.core.accounts import Account
from raftbook.core.commands import PLACE_OTOCO, Command, cancel_order
from raftbook.core.events import ACCEPTED, CANCELED, REJECTED, Event
from raftbook.core.ladder import Order
from raftbook.web.binance.door import Call
from raftbook.web.binance.faults import Fault, invalid, missing, refused, unknown_order
from raftbook.web.binance.markets import Json, Market, milliseconds
from raftbook.web.binance.reports import Story, fills_of, placed
from raftbook.web.binance.tickets import name_of
from raftbook.web.binance.trading import cancel_answer, own_order, response_type
from raftbook.web.binance.words import contingency, list_id

ROWS_MAX: Final = 1_000
"""Lists in one answer to openOrderList; of more there is none."""
_LONGEST: Final = 3
_OPEN: Final = frozenset(("NEW", "PARTIALLY_FILLED", "PENDING_NEW"))


async def place_list(call: Call, market: Market, command: Command) -> Json:
    """Enter the orders of a command that enters several."""
    sort = response_type(call)
    list_name = name_of(call.params, "listClientOrderId", call.door.desk)
    outcome = await call.door.desk.submit(call.account.name, (command,))
    events = outcome.events
    if events[0][0] == REJECTED:
        raise refused(events[0][2])
    count = _LONGEST if command[0] == PLACE_OTOCO else 2
    assert all(event[0] == ACCEPTED for event in events[:count]), f"a list got {events[:count]}"
    orders = [event[2] for event in events[:count]]
    answer = list_document(market, orders, list_name, outcome.time_ns, is_open=True)
    reports = []
    for terms in orders:
        story = Story(terms[0], events)
        report = placed(market, story, outcome.time_ns)
        if sort == "FULL" and story.fills:
            report["fills"] = fills_of(market, story)
        reports.append(report)
    if all(report["status"] not in _OPEN for report in reports):
        answer["listStatusType"], answer["listOrderStatus"] = "ALL_DONE", "ALL_DONE"
    answer["orderReports"] = [] if sort == "ACK" else reports
    return answer


def list_document(
    market: Market,
    orders: list[tuple[Any, ...]],
    name: str,
    time_ns: int,
    *,
    is_open: bool,
) -> Json:
    """A list of orders, of which the terms are given."""
    return {
        "orderListId": list_id(orders[0]),
        "contingencyType": contingency(orders[0]),
        "listStatusType": "EXEC_STARTED" if is_open else "ALL_DONE",
        "listOrderStatus": "EXECUTING" if is_open else "ALL_DONE",
        "listClientOrderId": name,
        "transactionTime": milliseconds(time_ns),
        "symbol": market.name,
        "orders": [
            {"symbol": market.name, "orderId": terms[0], "clientOrderId": terms[2]}
            for terms in orders
        ],
    }


def orders_of_list(account: Account, number: int) -> list[Order]:
    """The orders of a list that are open or remembered; none where there is no such list."""
    found = (account.orders.get(number + place) for place in range(_LONGEST))
    return [order for order in found if order is not None and list_id(order.terms) == number]


async def cancel_list(call: Call) -> Json:
    """DELETE /orderList: by orderListId; its own name is not kept."""
    params, door = call.params, call.door
    market, _ = door.markets.find(params.symbol())
    orders = await _list_asked_for(call)
    if not orders or orders[0].terms[3] != market.symbol:
        raise unknown_order()
    open_order = next((order for order in orders if order.leaves_qty), orders[0])
    terms = [order.terms for order in orders]
    command = cancel_order(order_id=open_order.terms[0])
    outcome = await door.desk.submit(call.account.name, (command,))
    time_ns, events = outcome.time_ns, outcome.events
    reports = [cancel_answer(call, market, events, time_ns, None)]
    reports += [
        cancel_answer(call, market, [event], time_ns, None)
        for event in events[1:]
        if _is_own_cancel(event, call.account.name)
    ]
    answer = list_document(market, terms, terms[0][2], time_ns, is_open=False)
    answer["orderReports"] = reports
    return answer


def _is_own_cancel(event: Event, account: str) -> bool:
    return bool(event[0] == CANCELED and event[2][1] == account)


async def show_list(call: Call) -> Json:
    """GET /orderList."""
    orders = await _list_asked_for(call)
    market = call.door.markets.of_symbol(orders[0].terms[3]) if orders else None
    if market is None:
        raise Fault(400, -2018, "Order list does not exist.")
    return _as_it_stands(market, orders)


def _as_it_stands(market: Market, orders: list[Order]) -> Json:
    terms = [order.terms for order in orders]
    is_open = any(order.leaves_qty for order in orders)
    return list_document(market, terms, terms[0][2], orders[0].entered_ns, is_open=is_open)


async def _list_asked_for(call: Call) -> list[Order]:
    number = call.params.integer("orderListId")
    if number is None:
        raise missing("orderListId")
    if not number:
        raise invalid("orderListId")
    first = await own_order(call, number, "")
    if first is None or list_id(first.terms) != number:
        return []
    return orders_of_list(first.account, number)


def open_lists(call: Call) -> list[Json]:
    """GET /openOrderList."""
    account, rows, told = call.account, [], set[int]()
    for order in account.orders.values():
        number = list_id(order.terms)
        if not order.leaves_qty or number in told or number not in account.orders:
            continue
        told.add(number)
        market = call.door.markets.of_symbol(order.terms[3])
        if market is not None:
            rows.append(_as_it_stands(market, orders_of_list(account, number)))
        if len(rows) > ROWS_MAX:
            raise Fault(400, -1130, f"More than {ROWS_MAX} open order lists; ask by orderListId.")
    return rows

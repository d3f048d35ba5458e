"""Pairs of orders of which one ends the other (OCO).

Owns which of Binance's pairs are ours: a LIMIT_MAKER on the one side of the price and a STOP_LOSS
or STOP_LOSS_LIMIT on the other. Pairs with take-profit orders are refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from raftbook.core.commands import Command, cancel_order, place_oco
from raftbook.core.events import ACCEPTED, CANCELED, REJECTED, Event
from raftbook.core.ladder import Order
from raftbook.core.types import PostOnly, SelfTradePrevention, Side, TrailUnit
from raftbook.web.binance.door import Call
from raftbook.web.binance.faults import (
    Fault,
    either_missing,
    filtered,
    invalid,
    missing,
    not_required,
    refused,
    unknown_order,
)
from raftbook.web.binance.markets import Json, Market, milliseconds
from raftbook.web.binance.params import Params
from raftbook.web.binance.reports import Story, fills_of, placed
from raftbook.web.binance.tickets import (
    TRAIL_BPS_MAX,
    mode_of,
    name_of,
    price_of,
    qty_of,
    side_of,
)
from raftbook.web.binance.trading import cancel_answer, own_order, response_type
from raftbook.web.binance.words import list_id

_STOPS: Final = frozenset(("STOP_LOSS", "STOP_LOSS_LIMIT"))
ROWS_MAX: Final = 1_000
"""Pairs in one answer to openOrderList; of more there is none."""
_KNOWN: Final = _STOPS | {"LIMIT_MAKER", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT"}


@dataclass(frozen=True, slots=True)
class _Names:
    """What the parameters of one half are called: they differ between the two endpoints."""

    price: str
    stop_price: str
    limit_price: str
    trail: str
    limit_name: str
    stop_name: str
    limit_iceberg: str
    stop_iceberg: str
    stop_time: str


_OLD: Final = _Names(
    price="price",
    stop_price="stopPrice",
    limit_price="stopLimitPrice",
    trail="trailingDelta",
    limit_name="limitClientOrderId",
    stop_name="stopClientOrderId",
    limit_iceberg="limitIcebergQty",
    stop_iceberg="stopIcebergQty",
    stop_time="stopLimitTimeInForce",
)


def _new_names(limit: str, stop: str) -> _Names:
    return _Names(
        price=f"{limit}Price",
        stop_price=f"{stop}StopPrice",
        limit_price=f"{stop}Price",
        trail=f"{stop}TrailingDelta",
        limit_name=f"{limit}ClientOrderId",
        stop_name=f"{stop}ClientOrderId",
        limit_iceberg=f"{limit}IcebergQty",
        stop_iceberg=f"{stop}IcebergQty",
        stop_time=f"{stop}TimeInForce",
    )


async def place_pair(call: Call) -> Json:
    """POST /orderList/oco."""
    params = call.params
    words = {place: params.needed(f"{place}Type") for place in ("above", "below")}
    if not _KNOWN.issuperset(words.values()):
        raise Fault(400, -1116, "Invalid orderType.")
    side = side_of(params)
    limit, stop = ("above", "below") if side == Side.SELL else ("below", "above")
    _check_types(side, words[limit], words[stop])
    has_price = words[stop] == "STOP_LOSS_LIMIT"
    return await _place(call, side, _new_names(limit, stop), has_limit_price=has_price)


def _check_types(side: Side, limit: str, stop: str) -> None:
    """Of the six types that Binance knows in a pair, ours has a LIMIT_MAKER and a stop loss.

    Args:
        limit, stop: what stands where the limit order belongs, and where the stop does.
    """
    if limit == stop == "LIMIT_MAKER":
        raise Fault(400, -1168, "At least one OCO order must be contingent.")
    if stop == "LIMIT_MAKER":
        if side == Side.BUY:
            raise Fault(400, -1165, "A limit order in a buy OCO must be below.")
        raise Fault(400, -1166, "A limit order in a sell OCO must be above.")
    if limit != "LIMIT_MAKER" or stop not in _STOPS:
        raise Fault(400, -1158, "Order type not supported in OCO.")


async def place_old_pair(call: Call) -> Json:
    """POST /order/oco, which Binance has retired and libraries still call."""
    has_price = call.params.text("stopLimitPrice") is not None
    return await _place(call, side_of(call.params), _OLD, has_limit_price=has_price)


async def _place(call: Call, side: Side, names: _Names, *, has_limit_price: bool) -> Json:
    params, door = call.params, call.door
    market, _ = door.markets.find(params.symbol())
    sort = response_type(call)
    list_name = name_of(params, "listClientOrderId", door.desk)
    command = _command(call, market, side, names, has_limit_price=has_limit_price)
    outcome = await door.desk.submit(call.account.name, (command,))
    events = outcome.events
    if events[0][0] == REJECTED:
        raise refused(events[0][2])
    pair = [event[2] for event in events[:2]]
    assert all(event[0] == ACCEPTED for event in events[:2]), f"a pair got {events[:2]}"
    stories = [Story(terms[0], events) for terms in pair]
    answer = list_document(market, pair, list_name, outcome.time_ns, is_open=True)
    reports = []
    for story in stories:
        report = placed(market, story, outcome.time_ns)
        if sort == "FULL" and story.fills:
            report["fills"] = fills_of(market, story)
        reports.append(report)
    if all(report["status"] not in ("NEW", "PARTIALLY_FILLED") for report in reports):
        answer["listStatusType"], answer["listOrderStatus"] = "ALL_DONE", "ALL_DONE"
    answer["orderReports"] = [] if sort == "ACK" else reports
    return answer


def _command(
    call: Call, market: Market, side: Side, names: _Names, *, has_limit_price: bool
) -> Command:
    params = call.params
    qty, price = qty_of(params, "quantity", market), price_of(params, names.price, market)
    if qty is None:
        raise missing("quantity")
    if price is None:
        raise missing(names.price)
    stop_price = price_of(params, names.stop_price, market)
    trail_bps = _trail(params, names, stop_price)
    limit_price = price_of(params, names.limit_price, market)
    if has_limit_price and limit_price is None:
        raise missing(names.limit_price)
    if not has_limit_price and limit_price is not None:
        raise not_required(names.limit_price)
    if params.text(names.stop_time) not in (None, "GTC"):
        raise Fault(400, -1115, "Invalid timeInForce: what waits for a price is GTC.")
    if params.number(names.stop_iceberg) is not None:
        raise not_required(names.stop_iceberg)
    _check_prices(side, price, stop_price)
    mode: SelfTradePrevention = mode_of(params)
    return place_oco(
        market.symbol,
        side,
        qty,
        price=price,
        stop_price=stop_price,
        stop_limit_price=limit_price,
        self_trade_prevention=mode,
        client_order_id=name_of(params, names.limit_name, call.door.desk),
        stop_client_order_id=name_of(params, names.stop_name, call.door.desk),
        post_only=PostOnly.REJECT,
        display_qty=params.count(names.limit_iceberg, market.qty, "ICEBERG_PARTS") or 0,
        trail_unit=TrailUnit.BASIS_POINTS if trail_bps else TrailUnit.NONE,
        trail_offset=trail_bps,
    )


def _trail(params: Params, names: _Names, stop_price: int | None) -> int:
    trail_bps = params.integer(names.trail)
    if trail_bps is None:
        if stop_price is None:
            raise either_missing(names.stop_price, names.trail)
        return 0
    if stop_price is not None:
        raise not_required(names.trail)
    if not 0 < trail_bps <= TRAIL_BPS_MAX:
        raise filtered("TRAILING_DELTA")
    return trail_bps


def _check_prices(side: Side, price: int, stop_price: int | None) -> None:
    """A pair has the market between its prices; both sides of it are told apart by that."""
    if stop_price is None:
        return
    is_right = price > stop_price if side == Side.SELL else price < stop_price
    if not is_right:
        msg = "The relationship of the prices for the orders is not correct."
        raise Fault(400, -2010, msg)


def list_document(
    market: Market,
    pair: list[tuple[Any, ...]],
    name: str,
    time_ns: int,
    *,
    is_open: bool,
) -> Json:
    """A pair; its number is that of its limit order."""
    return {
        "orderListId": list_id(pair[0]),
        "contingencyType": "OCO",
        "listStatusType": "EXEC_STARTED" if is_open else "ALL_DONE",
        "listOrderStatus": "EXECUTING" if is_open else "ALL_DONE",
        "listClientOrderId": name,
        "transactionTime": milliseconds(time_ns),
        "symbol": market.name,
        "orders": [
            {"symbol": market.name, "orderId": terms[0], "clientOrderId": terms[2]}
            for terms in pair
        ],
    }


async def cancel_pair(call: Call) -> Json:
    """DELETE /orderList: by orderListId; its own name is not kept."""
    params, door = call.params, call.door
    market, _ = door.markets.find(params.symbol())
    orders = await _pair_asked_for(call)
    if not orders or orders[0].terms[3] != market.symbol:
        raise unknown_order()
    open_order = next((order for order in orders if order.leaves_qty), orders[0])
    pair = [order.terms for order in orders]
    command = cancel_order(order_id=open_order.terms[0])
    outcome = await door.desk.submit(call.account.name, (command,))
    time_ns, events = outcome.time_ns, outcome.events
    reports = [cancel_answer(call, market, events, time_ns, None)]
    reports += [
        cancel_answer(call, market, [event], time_ns, None)
        for event in events[1:]
        if _is_own_cancel(event, call.account.name)
    ]
    answer = list_document(market, pair, pair[0][2], time_ns, is_open=False)
    answer["orderReports"] = reports
    return answer


def _is_own_cancel(event: Event, account: str) -> bool:
    return bool(event[0] == CANCELED and event[2][1] == account)


async def show_pair(call: Call) -> Json:
    """GET /orderList."""
    orders = await _pair_asked_for(call)
    market = call.door.markets.of_symbol(orders[0].terms[3]) if orders else None
    if market is None:
        raise Fault(400, -2018, "Order list does not exist.")
    pair = [order.terms for order in orders]
    is_open = any(order.leaves_qty for order in orders)
    name = pair[0][2]
    return list_document(market, pair, name, orders[0].entered_ns, is_open=is_open)


async def _pair_asked_for(call: Call) -> list[Order]:
    """Both orders of a pair, or what is remembered of them; none where there is no such pair."""
    number = call.params.integer("orderListId")
    if number is None:
        raise missing("orderListId")
    if not number:
        raise invalid("orderListId")
    first = await own_order(call, number, "")
    if first is None or list_id(first.terms) != number:
        return []
    second = call.account.orders.get(first.terms[7][7])
    return [first] if second is None else [first, second]


async def open_pairs(call: Call) -> list[Json]:
    """GET /openOrderList."""
    account, rows = call.account, []
    for order in account.orders.values():
        terms = order.terms
        if not order.leaves_qty or list_id(terms) != terms[0]:
            continue
        sibling = account.orders.get(terms[7][7])
        market = call.door.markets.of_symbol(terms[3])
        if sibling is not None and market is not None:
            pair = [terms, sibling.terms]
            rows.append(list_document(market, pair, terms[2], order.entered_ns, is_open=True))
        if len(rows) > ROWS_MAX:
            raise Fault(400, -1130, f"More than {ROWS_MAX} open order lists; ask by orderListId.")
    return rows

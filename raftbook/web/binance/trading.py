"""Orders: placed, tried, cancelled, replaced, amended.

Owns the operations that change something, but for lists of orders (`order_lists.py`). Each becomes
one request in the log; its answer is made of that request's own events.
"""

from __future__ import annotations

from typing import Final

from raftbook.core.accounts import Account
from raftbook.core.commands import (
    NEW_ORDER,
    Command,
    amend_order,
    cancel_order,
    cancel_replace,
    mass_cancel,
)
from raftbook.core.events import (
    ACCEPTED,
    CANCEL_REJECTED,
    CANCELED,
    MASS_CANCELED,
    REJECTED,
    REPLACED,
    Event,
)
from raftbook.core.exchange import Exchange
from raftbook.core.ladder import Order
from raftbook.core.types import Reject
from raftbook.core.validate import COMBINATIONS, new_order_reject
from raftbook.core.wish import Wish
from raftbook.web.binance.desk import Outcome
from raftbook.web.binance.door import Call
from raftbook.web.binance.faults import (
    Fault,
    either_missing,
    invalid,
    no_order,
    not_required,
    refused,
    unknown_order,
)
from raftbook.web.binance.figures import UNKNOWN_AMOUNT, ZERO
from raftbook.web.binance.markets import Json, Market, milliseconds
from raftbook.web.binance.reports import (
    Story,
    canceled,
    fills_of,
    placed,
)
from raftbook.web.binance.tickets import read_ticket
from raftbook.web.binance.words import MODE_WORDS, SIDE_WORDS, list_id, time_word, type_word

_RESPONSES: Final = frozenset(("ACK", "RESULT", "FULL"))
_ACK: Final = ("symbol", "orderId", "orderListId", "clientOrderId", "transactTime")
_REFUSALS: Final = frozenset((REJECTED, CANCEL_REJECTED))


# -- new orders ----------------------------------------------------------------------------------


async def place(call: Call) -> Json:
    """POST /order."""
    market, _ = call.door.markets.find(call.params.symbol())
    ticket = read_ticket(call.params, market, call.door.desk)
    sort = response_type(call)
    outcome = await call.door.desk.submit(call.account.name, (ticket.command,))
    return order_answer(market, outcome, outcome.events, sort)


def response_type(call: Call) -> str:
    """How much is told of a new order; all of it unless less is asked for."""
    sort = call.params.text("newOrderRespType") or "FULL"
    if sort not in _RESPONSES:
        raise invalid("newOrderRespType")
    return sort


def order_answer(market: Market, outcome: Outcome, events: list[Event], sort: str) -> Json:
    """What a new order got.

    Args:
        events: from its ACCEPTED or REJECTED on.

    Raises:
        Fault: it was refused.
    """
    first = events[0]
    if first[0] in _REFUSALS:
        raise refused(first[2])
    assert first[0] == ACCEPTED, f"a new order was answered with {first}"
    story = Story(first[2][0], events)
    document = placed(market, story, outcome.time_ns)
    if sort == "ACK":
        return {name: document[name] for name in _ACK}
    if sort == "FULL":
        document["fills"] = fills_of(market, story)
    return document


async def try_order(call: Call) -> Json:
    """POST /order/test: whether the order would be taken by the book as this node has it now."""
    market, _ = call.door.markets.find(call.params.symbol())
    ticket = read_ticket(call.params, market, call.door.desk)
    code = dry_run(call.door.exchange, call.account, ticket.command)
    if code:
        raise refused(code)
    if not call.params.flag("computeCommissionRates", default=False):
        return {}
    rates, none = commission_rates(market), {"maker": ZERO, "taker": ZERO}
    return {
        "standardCommissionForOrder": {name: rates[name] for name in none},
        "specialCommissionForOrder": none,
        "taxCommissionForOrder": none,
        "discount": no_discount(market),
    }


def no_discount(market: Market) -> Json:
    """Fees are paid in quote, at their whole rate."""
    return {
        "enabledForAccount": False,
        "enabledForSymbol": False,
        "discountAsset": market.terms.quote,
        "discount": ZERO,
    }


def commission_rates(market: Market) -> Json:
    """Fees as fractions of the amount; the engine counts hundred-thousandths."""
    return {
        "maker": fee_rate(market.terms.maker_fee),
        "taker": fee_rate(market.terms.taker_fee),
        "buyer": ZERO,
        "seller": ZERO,
    }


def fee_rate(fee: int) -> str:
    """A fee of the engine as a fraction, eight places."""
    sign = "-" if fee < 0 else ""
    return f"{sign}0.{abs(fee):05d}000"


def dry_run(exchange: Exchange, account: Account, command: Command) -> int:
    """Why an order would be refused now, 0 for none. Changes nothing.

    To ask for a balance makes one where there was none, and that would be state of this node
    alone: what was made is taken away again.
    """
    known = set(account.balances)
    try:
        if command[0] != NEW_ORDER:
            return int(Wish(exchange, command[1:]).reject(account))
        _, symbol, side, ord_type, tif, qty, price, name, post_only, mode = command
        book = exchange.books.get(symbol)
        kind = COMBINATIONS.get((side, ord_type, tif, post_only, mode))
        return int(new_order_reject(account, book, kind, side, qty, price, name, is_odd=True))
    finally:
        for currency in set(account.balances) - known:
            del account.balances[currency]


# -- cancels -------------------------------------------------------------------------------------


async def target_of(
    call: Call, *, id_name: str = "orderId", name_name: str = "origClientOrderId"
) -> tuple[int, str]:
    """(order_id, client_order_id) of the order that is meant; one of them is 0 or empty, and both
    where no order has the two that were given."""
    order_id = call.params.integer(id_name)
    name = call.params.client_id(name_name)
    if order_id is None and name is None:
        raise either_missing(name_name, id_name)
    if order_id and name:
        order = await own_order(call, order_id, "")
        if order is None or order.terms[2] != name:
            return 0, ""
    return (order_id, "") if order_id else (0, name or "")


def is_elsewhere(market: Market, order: Order | None) -> bool:
    """Whether an order is known here, and is another instrument's."""
    return order is not None and order.terms[3] != market.symbol


async def cancel(call: Call) -> Json:
    """DELETE /order."""
    params, door = call.params, call.door
    market, _ = door.markets.find(params.symbol())
    if params.text("cancelRestrictions") is not None:
        # The engine cannot promise it: the order may change between the look and the cancel.
        raise not_required("cancelRestrictions")
    order_id, name = await target_of(call)
    new_name = params.client_id("newClientOrderId")
    if not order_id and not name:
        raise unknown_order()
    if is_elsewhere(market, call.account.find(order_id, name)):
        raise unknown_order()
    command = cancel_order(order_id=order_id, client_order_id=name)
    outcome = await door.desk.submit(call.account.name, (command,))
    return cancel_answer(call, market, outcome.events, outcome.time_ns, new_name)


def cancel_answer(
    call: Call, market: Market, events: list[Event], time_ns: int, name: str | None
) -> Json:
    """What a cancel got.

    Raises:
        Fault: it was refused.
    """
    first = events[0]
    if first[0] in _REFUSALS:
        raise refused(first[2])
    assert first[0] == CANCELED, f"a cancel was answered with {first}"
    story = Story(first[2][0], events)
    return canceled(market, story, time_ns, amount=amount_of(call, market, story), name=name)


def amount_of(call: Call, market: Market, story: Story) -> str:
    """What an order has traded for, which the end of it does not tell. Binance's word for "not
    known any more" is an amount below 0: so many orders ended meanwhile that it is forgotten."""
    account = call.door.exchange.accounts.get(call.account.name)
    order = None if account is None else account.orders.get(story.terms[0])
    if order is not None:
        return market.amount.text(order.cum_notional)
    return UNKNOWN_AMOUNT if story.cum_qty else ZERO


async def cancel_all(call: Call) -> list[Json]:
    """DELETE /openOrders: all orders of one instrument.

    Of more than `cancel_page` orders the first page is told; the others end with the entries that
    follow at once.
    """
    door = call.door
    market, _ = door.markets.find(call.params.symbol())
    outcome = await door.desk.submit(call.account.name, (mass_cancel(symbol=market.symbol),))
    first = outcome.events[0]
    if first[0] in _REFUSALS:
        raise refused(first[2])
    assert first[0] == MASS_CANCELED, f"a mass cancel was answered with {first}"
    rows = []
    for event in outcome.events[1:]:
        if event[0] == CANCELED and event[2][1] == call.account.name:
            answer = cancel_answer(call, market, [event], outcome.time_ns, None)
            rows.append(answer)
    if not rows:
        raise unknown_order()
    return rows


# -- cancel-replace ------------------------------------------------------------------------------

_REPLACE_MODES: Final = {"STOP_ON_FAILURE": False, "ALLOW_FAILURE": True}


async def replace(call: Call) -> Json:
    """POST /order/cancelReplace, in one step of the book.

    STOP_ON_FAILURE is stricter than Binance's: if the new order would be refused, the old one
    stays. With ALLOW_FAILURE each stands alone.
    """
    params, door = call.params, call.door
    market, _ = door.markets.find(params.symbol())
    mode = params.needed("cancelReplaceMode")
    if mode not in _REPLACE_MODES:
        raise invalid("cancelReplaceMode")
    if params.text("cancelRestrictions") is not None:
        raise not_required("cancelRestrictions")
    order_id, name = await target_of(
        call, id_name="cancelOrderId", name_name="cancelOrigClientOrderId"
    )
    if is_elsewhere(market, call.account.find(order_id, name)):
        order_id, name = 0, ""  # of this instrument there is no such order
    ticket = read_ticket(params, market, door.desk)
    sort = response_type(call)
    new_name = params.client_id("cancelNewClientOrderId")
    command = cancel_replace(
        ticket.command, order_id=order_id, client_order_id=name, or_place=_REPLACE_MODES[mode]
    )
    outcome = await door.desk.submit(call.account.name, (command,))
    return _replace_answer(call, market, outcome, sort, new_name)


def _replace_answer(
    call: Call, market: Market, outcome: Outcome, sort: str, name: str | None
) -> Json:
    """Both halves; a Fault that tells both unless both took effect."""
    events = outcome.events
    place = next(at for at, event in enumerate(events) if event[0] in (ACCEPTED, REJECTED))
    is_canceled = events[0][0] == CANCELED
    is_placed = events[place][0] == ACCEPTED
    answer: Json = {
        "cancelResult": "SUCCESS" if is_canceled else "FAILURE",
        "newOrderResult": "SUCCESS" if is_placed else "FAILURE",
    }
    if is_canceled:
        time_ns = outcome.time_ns
        answer["cancelResponse"] = cancel_answer(call, market, events[:place], time_ns, name)
    else:
        reason = events[0][2]
        is_old_open = not is_placed and reason == events[place][2] != Reject.TOO_LATE
        answer["cancelResponse"] = (
            {"code": -2011, "msg": "Order was not canceled: the new one would be refused."}
            if is_old_open
            else refused(reason).document()
        )
    if is_placed:
        answer["newOrderResponse"] = order_answer(market, outcome, events[place:], sort)
    elif events[place][2] == Reject.CANCEL_FAILED:
        answer["newOrderResult"], answer["newOrderResponse"] = "NOT_ATTEMPTED", None
    else:
        answer["newOrderResponse"] = refused(events[place][2]).document()
    if is_canceled and is_placed:
        return answer
    if is_canceled or is_placed:
        raise Fault(409, -2021, "Order cancel-replace partially failed.", data=answer)
    raise Fault(400, -2022, "Order cancel-replace failed.", data=answer)


# -- amends --------------------------------------------------------------------------------------


async def amend(call: Call) -> Json:
    """PUT /order/amend/keepPriority: a smaller total, in the same place of the queue."""
    params, door = call.params, call.door
    market, _ = door.markets.find(params.symbol())
    order_id, name = await target_of(call)
    new_qty = params.count("newQty", market.qty, "LOT_SIZE")
    if new_qty is None:
        raise invalid("newQty")
    new_name = params.client_id("newClientOrderId")
    order = await own_order(call, order_id, name)
    if order is None or is_elsewhere(market, order):
        raise no_order()
    if new_name not in (None, order.terms[2]):
        raise not_required("newClientOrderId")  # an order keeps the name it was entered with
    if new_qty >= order.terms[5]:
        raise Fault(400, -2038, "Order amend (quantity increase) is not supported.")
    if new_qty <= order.cum_qty:
        raise Fault(400, -2038, "Order amend to what has traded already is a cancel.")
    entered_ms = milliseconds(order.entered_ns)
    command = amend_order(order_id=order.terms[0], order_qty=new_qty)
    outcome = await door.desk.submit(call.account.name, (command,))
    first = outcome.events[0]
    if first[0] in _REFUSALS:
        raise refused(first[2])
    return _amend_answer(call, market, outcome, first, entered_ms)


def _amend_answer(
    call: Call, market: Market, outcome: Outcome, event: Event, entered_ms: int
) -> Json:
    terms = event[2]
    story = Story(terms[0], outcome.events)
    kind: tuple[int, ...] = terms[4]
    prevented = terms[5] - story.cum_qty - story.leaves_qty if event[0] == REPLACED else 0
    return {
        "transactTime": milliseconds(outcome.time_ns),
        "executionId": outcome.entry_index,
        "amendedOrder": {
            "symbol": market.name,
            "orderId": terms[0],
            "orderListId": list_id(terms),
            "origClientOrderId": terms[2],
            "clientOrderId": terms[2],
            "price": market.price.text(terms[6] or 0),
            "qty": market.qty.text(terms[5]),
            "executedQty": market.qty.text(story.cum_qty),
            "preventedQty": market.qty.text(prevented),
            "quoteOrderQty": market.amount.text(0),
            "cumulativeQuoteQty": amount_of(call, market, story),
            "status": story.status,
            "timeInForce": time_word(kind),
            "type": type_word(kind),
            "side": SIDE_WORDS[kind[0]],
            "workingTime": entered_ms,
            "selfTradePreventionMode": MODE_WORDS[kind[4]],
        },
    }


async def own_order(call: Call, order_id: int, name: str) -> Order | None:
    """An own order; what this node does not know it looks for again as of now, since the client
    may have placed it through another node."""
    account = call.account
    order = account.find(order_id, name)
    if order is None and (order_id or name):
        await call.door.desk.barrier()
        found = call.door.exchange.accounts.get(account.name)
        order = None if found is None else found.find(order_id, name)
    return order

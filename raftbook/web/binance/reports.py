"""One order in Binance's words: as the events of a request tell it, or as it stands now.

Owns the shape of order objects. What happened comes from events, and so is the same whichever node
is asked and whenever the answer is given; what an order is now comes from the live book.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from raftbook.core.events import (
    ACCEPTED,
    AUCTION_TRADE,
    CANCELED,
    EXPIRED,
    REPLACED,
    REPRICED,
    RESTATED,
    TRADE,
    TRIGGERED,
    Event,
)
from raftbook.core.ladder import Order
from raftbook.core.order_status import order_status
from raftbook.core.types import Reject
from raftbook.web.binance.figures import ZERO
from raftbook.web.binance.markets import Json, Market, milliseconds
from raftbook.web.binance.words import (
    MODE_WORDS,
    SIDE_WORDS,
    conditions_of,
    list_id,
    time_word,
    type_word,
    was_pending,
)

PENDING: Final = "PENDING_NEW"
_SELF_TRADE: Final = int(Reject.SELF_TRADE)
_TRADES: Final = frozenset((TRADE, AUCTION_TRADE))
_ENDS: Final = frozenset((CANCELED, EXPIRED))


class Story:
    """What the events of one request say of one order, up to their end.

    Attributes:
        terms: as they are at the end.
        fills: its trades as (event, whether it was the taker).
        prevented_qty: what would have traded with an own order.
        triggered: whether it waited for a price that came.
        released: whether it waited for another order that was filled.
    """

    __slots__ = (
        *("_ending", "cum_notional", "cum_qty", "fills", "leaves_qty", "prevented_qty", "terms"),
        *("released", "triggered"),
    )

    def __init__(self, order_id: int, events: Iterable[Event]) -> None:
        self.terms: tuple[Any, ...] = ()
        self.fills: list[tuple[Event, bool]] = []
        self.cum_qty = self.cum_notional = self.leaves_qty = self.prevented_qty = 0
        self.triggered = self.released = False
        self._ending: str | None = None
        for event in events:
            kind = event[0]
            if kind in _TRADES:
                if event[9][0] == order_id:
                    self._filled(event, 9, is_taker=True)
                if event[5][0] == order_id:
                    self._filled(event, 5, is_taker=False)
            elif kind == ACCEPTED and event[2][0] == order_id:
                self.terms = event[2]
                self.leaves_qty = event[2][5]
            elif kind in _ENDS and event[2][0] == order_id:
                self.terms = event[2]
                self.cum_qty = event[3]
                self.leaves_qty = 0
                if event[6] == _SELF_TRADE:
                    self.prevented_qty += event[4]
                self._ending = ending(kind, event[6])
            elif kind == REPLACED and event[2][0] == order_id:
                self.terms = event[2]
                self.cum_qty, self.leaves_qty = event[4], event[5]
            elif kind == RESTATED and event[2][0] == order_id:
                self.leaves_qty = event[4]
                self.prevented_qty += event[5]
            elif kind == REPRICED and event[2][0] == order_id:
                self.terms = event[2]
            elif kind == TRIGGERED and event[2][0] == order_id:
                self.released = self.released or event[3] is None
                self.triggered = self.triggered or event[3] is not None

    def _filled(self, event: Event, place: int, *, is_taker: bool) -> None:
        self.fills.append((event, is_taker))
        self.terms = event[place]
        self.cum_qty, self.leaves_qty, self.cum_notional = event[place + 1 : place + 4]

    @property
    def is_pending(self) -> bool:
        """Whether it still waited for another one to be filled."""
        return was_pending(self.terms) and not self.released

    @property
    def status(self) -> str:
        """Binance's word for where it stands."""
        if self._ending is not None:
            return self._ending
        if self.is_pending:
            return PENDING
        return open_status(self.cum_qty, self.leaves_qty)


def ending(kind: int, reason: int) -> str:
    """The status of an order that ended with this event."""
    if reason == _SELF_TRADE:
        return "EXPIRED_IN_MATCH"
    return "CANCELED" if kind == CANCELED else "EXPIRED"


def open_status(cum_qty: int, leaves_qty: int) -> str:
    """The status of an order that did not end otherwise than by trading."""
    if not leaves_qty:
        return "FILLED"
    return "PARTIALLY_FILLED" if cum_qty else "NEW"


def status_of(order: Order) -> str:
    """The status of an order as it stands now."""
    if order.book.pends(order):
        return PENDING
    return order_status(
        order.terms,
        leaves_qty=order.leaves_qty,
        cum_qty=order.cum_qty,
        closed_ns=order.closed_ns,
    ).name


def placed(market: Market, story: Story, time_ns: int) -> Json:
    """The answer to a new order, all but its fills."""
    terms = story.terms
    kind = terms[4]
    time_ms = milliseconds(time_ns)
    conditions = conditions_of(terms)
    document = {
        "symbol": market.name,
        "orderId": terms[0],
        "orderListId": -1,
        "clientOrderId": terms[2],
        "transactTime": time_ms,
        "price": ZERO if terms[6] is None else market.price.text(terms[6]),
        "origQty": market.qty.text(terms[5]),
        "executedQty": market.qty.text(story.cum_qty),
        "origQuoteOrderQty": ZERO,
        "cummulativeQuoteQty": market.amount.text(story.cum_notional),
        "status": story.status,
        "timeInForce": time_word(kind),
        "type": type_word(kind),
        "side": SIDE_WORDS[kind[0]],
        "workingTime": time_ms,
        "selfTradePreventionMode": MODE_WORDS[kind[4]],
    }
    if story.prevented_qty:
        document["preventedQuantity"] = market.qty.text(story.prevented_qty)
    if conditions is not None:
        document["orderListId"] = list_id(terms)
        document["origQuoteOrderQty"] = market.amount.text(conditions.quote_qty)
        if conditions.stop_price is not None:
            document["stopPrice"] = market.price.text(conditions.stop_price)
        if conditions.trail_offset:
            document["trailingDelta"] = conditions.trail_offset
        if conditions.display_qty:
            document["icebergQty"] = market.qty.text(conditions.display_qty)
        waits = conditions.stop_price is not None or conditions.trail_offset
        if (waits and not story.triggered) or story.is_pending:
            document["workingTime"] = -1
    return document


def fills_of(market: Market, story: Story) -> list[Json]:
    """The fills of a new order."""
    quote = market.terms.quote
    return [
        {
            "price": market.price.text(event[3]),
            "qty": market.qty.text(event[4]),
            "commission": commission(market, event, is_taker=is_taker),
            "commissionAsset": quote,
            "tradeId": event[2],
        }
        for event, is_taker in story.fills
    ]


def commission(market: Market, event: Event, *, is_taker: bool) -> str:
    """The fee of one side of a trade, in quote."""
    extras = event[13:]
    fee = extras[1 if is_taker else 0] if extras else None
    return market.fee.text(fee) if fee else ZERO


def canceled(
    market: Market, story: Story, time_ns: int, *, amount: str, name: str | None = None
) -> Json:
    """The answer to a cancel of an order.

    Args:
        amount: of all its trades, which the event does not tell.
        name: what the client calls the cancel.
    """
    document = placed(market, story, time_ns)
    document["origClientOrderId"] = document["clientOrderId"]
    if name is not None:
        document["clientOrderId"] = name
    document["cummulativeQuoteQty"] = amount
    del document["workingTime"]
    return document


def order_document(market: Market, order: Order) -> Json:
    """An order as it stands now."""
    terms = order.terms
    kind = terms[4]
    conditions = conditions_of(terms)
    entered_ms = milliseconds(order.entered_ns)
    is_waiting = bool(order.leaves_qty) and (order.book.waits(order) or order.book.pends(order))
    document = {
        "symbol": market.name,
        "orderId": terms[0],
        "orderListId": -1 if conditions is None else list_id(terms),
        "clientOrderId": terms[2],
        "price": ZERO if terms[6] is None else market.price.text(terms[6]),
        "origQty": market.qty.text(terms[5]),
        "executedQty": market.qty.text(order.cum_qty),
        "cummulativeQuoteQty": market.amount.text(order.cum_notional),
        "status": status_of(order),
        "timeInForce": time_word(kind),
        "type": type_word(kind),
        "side": SIDE_WORDS[kind[0]],
        "stopPrice": ZERO,
        "icebergQty": ZERO,
        "time": entered_ms,
        "updateTime": milliseconds(order.closed_ns) if order.closed_ns else entered_ms,
        "isWorking": not is_waiting,
        "workingTime": -1 if is_waiting else entered_ms,
        "origQuoteOrderQty": ZERO,
        "selfTradePreventionMode": MODE_WORDS[kind[4]],
    }
    if conditions is not None:
        document["origQuoteOrderQty"] = market.amount.text(conditions.quote_qty)
        if conditions.stop_price is not None:
            document["stopPrice"] = market.price.text(conditions.stop_price)
        if conditions.trail_offset:
            document["trailingDelta"] = conditions.trail_offset
        if conditions.display_qty:
            document["icebergQty"] = market.qty.text(conditions.display_qty)
    return document

"""Whether a command may take effect: pure questions, asked before anything is changed.

Owns the precedence of refusals, which is part of the contract: the first rule that fails gives the
reason. Reads state, changes nothing. A command of the wrong form may raise TypeError or ValueError
here, and only here; the caller answers MALFORMED.
"""

from typing import Any, Final

from raftbook.core.accounts import Account
from raftbook.core.book import Book
from raftbook.core.ladder import Order
from raftbook.core.types import (
    ID_CHARS_MAX,
    OrderType,
    Phase,
    Reject,
    SelfTradePrevention,
    Side,
    TimeInForce,
)

_BUY: Final = int(Side.BUY)
_SIDES: Final = tuple(int(side) for side in Side)
_MARKET: Final = int(OrderType.MARKET)
_GTC: Final = int(TimeInForce.GTC)
_CONTINUOUS: Final = int(Phase.CONTINUOUS)
_PHASE_REJECTS: Final = {
    int(Phase.HALTED): Reject.INSTRUMENT_HALTED,
    int(Phase.CANCEL_ONLY): Reject.PHASE_FORBIDS,
    int(Phase.CLOSED): Reject.INSTRUMENT_CLOSED,
}


def _combinations() -> dict[tuple[int, ...], tuple[int, ...]]:
    """Every allowed (side, ord_type, time_in_force, post_only, self-trade mode).

    The value equals its key and is what the engine goes on with, so that an equal float or boolean
    from the log is never stored.
    """
    kinds = [
        (OrderType.LIMIT, TimeInForce.GTC, 0),
        (OrderType.LIMIT, TimeInForce.GTC, 1),
        (OrderType.LIMIT, TimeInForce.IOC, 0),
        (OrderType.LIMIT, TimeInForce.FOK, 0),
        (OrderType.MARKET, TimeInForce.IOC, 0),
        (OrderType.MARKET, TimeInForce.FOK, 0),
    ]
    allowed: dict[tuple[int, ...], tuple[int, ...]] = {}
    for side in Side:
        for ord_type, time_in_force, post_only in kinds:
            for mode in SelfTradePrevention:
                key = (int(side), int(ord_type), int(time_in_force), post_only, int(mode))
                allowed[key] = key
    return allowed


COMBINATIONS: Final = _combinations()


def new_order_reject(
    account: Account,
    book: Book | None,
    kind: tuple[int, ...] | None,
    side: Any,
    qty: Any,
    price: Any,
    client_order_id: Any,
) -> int:
    """The reason to refuse a new order, 0 for none; `kind` is a value of COMBINATIONS or None."""
    if type(qty) is not int or type(client_order_id) is not str:
        return Reject.MALFORMED
    if not (type(price) is int or price is None) or len(client_order_id) > ID_CHARS_MAX:
        return Reject.MALFORMED
    if not (client_order_id.isascii() and client_order_id.isprintable()) or " " in client_order_id:
        return Reject.MALFORMED
    if book is None:
        return Reject.UNKNOWN_INSTRUMENT
    if book.phase != _CONTINUOUS:
        return _PHASE_REJECTS[book.phase]
    if client_order_id in account.by_client_order_id:
        return Reject.DUPLICATE_CLIENT_ORDER_ID
    if kind is None:
        return Reject.UNSUPPORTED_COMBINATION if side in _SIDES else Reject.BAD_SIDE
    if price is None or kind[1] == _MARKET:
        code = _market_reject(book, kind, qty, price)
        if code:
            return code
    elif not 0 < qty <= book.qty_max:
        return Reject.BAD_QTY if qty <= 0 else Reject.QTY_TOO_LARGE
    elif not book.price_floor <= price <= book.price_ceiling or book.notional_max is not None:
        code = _price_reject(book, price, qty)
        if code:
            return code
    if account.open_count >= account.open_orders_max:
        return Reject.OPEN_ORDER_LIMIT
    if book.resting_count >= book.orders_max and kind[2] == _GTC:
        return Reject.BOOK_FULL
    if kind[3] and book.crosses(is_buy=kind[0] == _BUY, price=price):
        return Reject.POST_ONLY_WOULD_CROSS
    return 0


def _market_reject(book: Book, kind: tuple[int, ...], qty: int, price: int | None) -> int:
    if kind[1] != _MARKET or price is not None:
        return Reject.UNSUPPORTED_COMBINATION
    if not 0 < qty <= book.qty_max:
        return Reject.BAD_QTY if qty <= 0 else Reject.QTY_TOO_LARGE
    if book.terms.collar is not None and book.reference_price() is None:
        return Reject.NO_REFERENCE_PRICE
    return 0


def _price_reject(book: Book, price: int, qty: int) -> int:
    if not book.terms.price_min <= price <= book.terms.price_max:
        return Reject.BAD_PRICE
    if not book.price_floor <= price <= book.price_ceiling:
        return Reject.PRICE_BAND
    if book.notional_max is not None and abs(price) * qty > book.notional_max:
        return Reject.NOTIONAL_LIMIT
    return 0


def amend_reject(order: Order | None, order_qty: Any, price: Any) -> int:
    """The reason to refuse an amend of an own order, 0 for none; None is "as it was".

    A new total at or below what has traded is no refusal: it closes the order.
    """
    if not (order_qty is None or type(order_qty) is int) or not (
        price is None or type(price) is int
    ):
        return Reject.MALFORMED
    if order is None:
        return Reject.UNKNOWN_ORDER
    if not order.leaves_qty:
        return Reject.TOO_LATE
    book, terms = order.book, order.terms
    if book.phase != _CONTINUOUS:
        return _PHASE_REJECTS[book.phase]
    if order_qty is None and price is None:
        return Reject.AMEND_NOT_ALLOWED
    qty = terms[5] if order_qty is None else order_qty
    if not 0 < qty <= book.qty_max:
        return Reject.BAD_QTY if qty <= 0 else Reject.QTY_TOO_LARGE
    if order_qty is not None and qty <= order.cum_qty:
        return 0
    new_price = terms[6] if price is None else price
    code = _price_reject(book, new_price, qty)
    if code:
        return code
    # At an unchanged price a resting order does not cross, so only a new one can.
    if terms[4][3] and book.crosses(is_buy=terms[4][0] == _BUY, price=new_price):
        return Reject.POST_ONLY_WOULD_CROSS
    return 0

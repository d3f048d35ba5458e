"""Whether a command may take effect: pure questions, asked before anything is changed.

Owns the precedence of refusals, which is part of the contract: the first rule that fails gives the
reason. Reads state, changes nothing. A command of the wrong form may raise TypeError or ValueError
here, and only here; the caller answers MALFORMED.
"""

from typing import Any, Final

from raftbook.core.accounts import Account
from raftbook.core.book import Book
from raftbook.core.conditions import (
    MARKET_TYPES,
    PEGGABLE,
    PLACEABLE,
    REFERENCES,
    TRIGGERED_TYPES,
    OrderConditions,
    go_together,
    limit_of,
)
from raftbook.core.ladder import Order
from raftbook.core.trailing import BPS_UNIT
from raftbook.core.types import (
    ID_CHARS_MAX,
    OrderType,
    Phase,
    PostOnly,
    Reject,
    SelfTradePrevention,
    Side,
    TimeInForce,
    TrailUnit,
)

_BUY: Final = int(Side.BUY)
_SIDES: Final = tuple(int(side) for side in Side)
_MARKET: Final = int(OrderType.MARKET)
_LIMIT: Final = int(OrderType.LIMIT)
_TO_LIMIT: Final = int(OrderType.MARKET_TO_LIMIT)
_PEGGED: Final = int(OrderType.PEGGED)
_GTC: Final = int(TimeInForce.GTC)
_AT_AUCTION: Final = int(TimeInForce.AT_AUCTION)
_REPRICE: Final = int(PostOnly.REPRICE)
_TRAIL_UNITS: Final = frozenset((int(TrailUnit.TICKS), int(TrailUnit.BASIS_POINTS)))
_BPS: Final = int(TrailUnit.BASIS_POINTS)
_IMMEDIATE: Final = frozenset((int(TimeInForce.IOC), int(TimeInForce.FOK)))
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
    is_odd: bool,
) -> int:
    """The reason to refuse a NEW_ORDER, 0 for none.

    Args:
        kind: a value of COMBINATIONS, or None.
        is_odd: whether account or book is, or there is no book; most are not, and the rules that
            only concern those which are need not be looked at.
    """
    if type(qty) is not int or type(client_order_id) is not str:
        return Reject.MALFORMED
    if not (type(price) is int or price is None) or len(client_order_id) > ID_CHARS_MAX:
        return Reject.MALFORMED
    if not (client_order_id.isascii() and client_order_id.isprintable()) or " " in client_order_id:
        return Reject.MALFORMED
    if is_odd and (account.blocked or book is None or not book.is_trading):
        code = _closed_reject(account, book)
        if code:
            return code
    assert book is not None, "an order without book was let through"
    if client_order_id in account.by_client_order_id:
        return Reject.DUPLICATE_CLIENT_ORDER_ID
    if kind is None:
        return Reject.UNSUPPORTED_COMBINATION if side in _SIDES else Reject.BAD_SIDE
    if is_odd and book.is_call and kind[2] in _IMMEDIATE:
        return _combination_or_call(kind, price)
    if price is None or kind[1] == _MARKET:
        code = _market_reject(book, kind, qty, price)
        if code:
            return code
    elif not book.qty_min <= qty <= book.qty_max:
        return _qty_reject(book, qty)
    elif not book.price_floor <= price <= book.price_ceiling or book.notional_checked:
        code = _price_reject(book, price) or _notional_reject(book, price, qty)
        if code:
            return code
    if is_odd and account.guard is not None:
        code = account.guard.size_reject(qty, price)
        if code:
            return code
    if account.open_count >= account.open_orders_max:
        return Reject.OPEN_ORDER_LIMIT
    if book.resting_count >= book.orders_max and kind[2] == _GTC:
        return Reject.BOOK_FULL
    if is_odd:
        code = _means_reject(account, book, kind, qty, price)
        if code:
            return code
    if kind[3] and not book.is_call and book.crosses(is_buy=kind[0] == _BUY, price=price):
        return Reject.POST_ONLY_WOULD_CROSS
    return 0


def _closed_reject(account: Account, book: Book | None) -> int:
    """Why this account enters no order into this book, whatever the order is."""
    if account.blocked:
        return account.blocked
    if book is None:
        return Reject.UNKNOWN_INSTRUMENT
    return phase_reject(book)


def phase_reject(book: Book) -> int:
    """Why no order of this instrument may be entered or amended now, 0 for none."""
    if book.phase != _CONTINUOUS and not book.is_call:
        return _PHASE_REJECTS[book.phase]
    return 0 if book.uncrossing is None else Reject.PHASE_FORBIDS


def _means_reject(
    account: Account, book: Book, kind: tuple[int, ...], qty: int, price: int | None
) -> int:
    """Whether the account has the tokens and the money."""
    if account.guard is not None and not account.guard.has_tokens(book.moment.time_ns, 1):
        return Reject.RATE_LIMIT
    return 0 if book.ledger is None else _funds_reject(account, book, kind, qty, price)


def _combination_or_call(kind: tuple[int, ...], price: int | None) -> int:
    """Why an order that ends at once is not taken in a call."""
    if (price is None) != (kind[1] in MARKET_TYPES):
        return Reject.UNSUPPORTED_COMBINATION
    return Reject.IOC_IN_AUCTION


def _funds_reject(
    account: Account, book: Book, kind: tuple[int, ...], qty: int, price: int | None
) -> int:
    ledger = book.ledger
    assert ledger is not None, f"{book.symbol} does not settle"
    if price is None:
        if book.cannot_size(kind):
            return Reject.RATE_LIMIT
        need = book.market_need(account, kind, qty)
    else:
        need = ledger.need(kind[0], price * qty, qty)
    return ledger.reject(account, kind[0], need)


def _market_reject(book: Book, kind: tuple[int, ...], qty: int, price: int | None) -> int:
    if kind[1] != _MARKET or price is not None:
        return Reject.UNSUPPORTED_COMBINATION
    if not book.qty_min <= qty <= book.qty_max:
        return _qty_reject(book, qty)
    if book.terms.collar is not None and book.reference_price() is None:
        return Reject.NO_REFERENCE_PRICE
    return 0


def _qty_reject(book: Book, qty: int) -> int:
    if qty <= 0:
        return Reject.BAD_QTY
    return Reject.QTY_TOO_SMALL if qty < book.qty_min else Reject.QTY_TOO_LARGE


def _price_reject(book: Book, price: int) -> int:
    if not book.terms.price_min <= price <= book.terms.price_max:
        return Reject.BAD_PRICE
    if not book.price_floor <= price <= book.price_ceiling:
        return Reject.PRICE_BAND
    return 0


def _notional_reject(book: Book, price: int, qty: int) -> int:
    notional = abs(price) * qty
    if book.notional_max is not None and notional > book.notional_max:
        return Reject.NOTIONAL_LIMIT
    return Reject.NOTIONAL_LIMIT if notional < book.terms.notional_min else 0


# -- orders with conditions ----------------------------------------------------------------------


def placed_kind(side: Any, ord_type: Any, time_in_force: Any, post_only: Any, mode: Any) -> Any:
    """The shared tuple of an allowed combination, None for any other."""
    return PLACEABLE.get((side, ord_type, time_in_force, post_only, mode))


def pegged_kind(side: int, time_in_force: int, reference: int) -> tuple[int, ...] | None:
    """The same of a pegged order."""
    return PEGGABLE.get((side, _PEGGED, time_in_force, 0, 0)) if reference in REFERENCES else None


def placed_reject(
    account: Account,
    book: Book | None,
    kind: tuple[int, ...] | None,
    *,
    side: int,
    qty: int,
    price: int | None,
    client_order_id: str,
    conditions: OrderConditions,
    tokens: int = 1,
    room: int = 1,
    places: int = 0,
    is_pending: bool = False,
) -> int:
    """The reason to refuse an order of PLACE_ORDER, whose form is right; 0 for none.

    Args:
        tokens: what it takes out of the account's bucket.
        room: how many open orders it is, with those that are entered before it.
        places: the same of those that wait; 0 for one that does not.
        is_pending: whether it is entered later, when the instrument trades and has traded.
    """
    code = _closed_reject(account, book)
    if code or book is None:
        return code
    if client_order_id in account.by_client_order_id:
        return Reject.DUPLICATE_CLIENT_ORDER_ID
    if kind is None:
        return Reject.UNSUPPORTED_COMBINATION if side in _SIDES else Reject.BAD_SIDE
    if not go_together(kind, price, conditions):
        return Reject.UNSUPPORTED_COMBINATION
    if conditions.quote_qty and book.terms.price_min < 1:
        return Reject.UNSUPPORTED_COMBINATION
    if kind[1] == _PEGGED and price is None and book.ledger is not None and kind[0] == _BUY:
        return Reject.UNSUPPORTED_COMBINATION  # what it may cost is not known
    if book.is_call and kind[2] in _IMMEDIATE and not is_pending:
        return Reject.IOC_IN_AUCTION
    if not book.is_call and kind[2] == _AT_AUCTION:
        return Reject.AUCTION_ONLY
    code = _placed_size_reject(book, kind, qty, conditions)
    code = code or _placed_price_reject(book, kind, price, conditions, is_pending=is_pending)
    if not code and price is not None:
        code = _notional_reject(book, price, qty)
    guard = account.guard
    if not code and guard is not None:
        code = guard.size_reject(qty, price)
    if code:
        return code
    if account.open_count + room > account.open_orders_max:
        return Reject.OPEN_ORDER_LIMIT
    may_rest = kind[1] in (_LIMIT, _TO_LIMIT) and kind[2] not in _IMMEDIATE
    if may_rest and book.resting_count >= book.orders_max:
        return Reject.BOOK_FULL
    if places and places + (0 if book.stops is None else len(book.stops)) > book.limits.stops_max:
        return Reject.TOO_MANY
    if kind[1] == _PEGGED and book.pegs is not None and len(book.pegs) >= book.limits.pegs_max:
        return Reject.TOO_MANY
    if conditions.hidden and book.hidden_count() >= book.limits.hidden_max:
        return Reject.TOO_MANY
    now_ns = book.moment.time_ns
    if guard is not None and not guard.has_tokens(now_ns, tokens):
        return Reject.RATE_LIMIT
    if conditions.expire_time_ns and conditions.expire_time_ns <= now_ns:
        return Reject.BAD_EXPIRE_TIME
    return 0


def _placed_size_reject(
    book: Book, kind: tuple[int, ...], qty: int, conditions: OrderConditions
) -> int:
    if conditions.quote_qty:
        return Reject.BAD_QTY if conditions.quote_qty < 0 or qty else 0
    if not 0 <= conditions.min_qty <= max(qty, 0):
        return Reject.BAD_QTY
    if not book.qty_min <= qty <= book.qty_max:
        return _qty_reject(book, qty)
    if conditions.display_qty and not 0 < conditions.display_qty < qty:
        return Reject.BAD_DISPLAY_QTY
    return 0


def _placed_price_reject(
    book: Book,
    kind: tuple[int, ...],
    price: int | None,
    conditions: OrderConditions,
    *,
    is_pending: bool,
) -> int:
    if price is not None:
        code = _price_reject(book, price)
        if code:
            return code
    elif kind[1] in (_MARKET, _TO_LIMIT) and book.terms.collar is not None and not book.is_call:
        if book.reference_price() is None and not is_pending:
            return Reject.NO_REFERENCE_PRICE
    if kind[1] not in TRIGGERED_TYPES:
        return 0
    if conditions.stop_price is not None:
        return _stop_reject(book, conditions.stop_price)
    code = trail_reject(conditions.trail_unit, conditions.trail_offset)
    if not code and book.reference_price() is None and not is_pending:
        return Reject.NO_REFERENCE_PRICE
    return code


def _stop_reject(book: Book, stop_price: int) -> int:
    in_range = book.terms.price_min <= stop_price <= book.terms.price_max
    return 0 if in_range else Reject.BAD_STOP_PRICE


def trail_reject(unit: int, offset: int) -> int:
    """Why nothing can trail so, 0 for none."""
    if unit not in _TRAIL_UNITS or offset <= 0 or offset > 2**62:
        return Reject.BAD_STOP_PRICE
    return Reject.BAD_STOP_PRICE if unit == _BPS and offset >= BPS_UNIT else 0


def post_only_reject(book: Book, kind: tuple[int, ...], price: int | None) -> int:
    """Why a post-only order cannot be posted, 0 for none; the last rule of all."""
    if not kind[3] or price is None or book.is_call:
        return 0
    is_buy = kind[0] == _BUY
    if not book.crosses(is_buy=is_buy, price=price):
        return 0
    if kind[3] != _REPRICE:
        return Reject.POST_ONLY_WOULD_CROSS
    best = (book.asks if is_buy else book.bids).best
    assert best is not None, "an order crosses an empty side"
    behind = best.price - 1 if is_buy else best.price + 1
    admitted = book.price_floor <= behind <= book.price_ceiling
    return 0 if admitted else Reject.POST_ONLY_WOULD_CROSS


# -- amends --------------------------------------------------------------------------------------


def amend_reject(order: Order | None, order_qty: Any, price: Any) -> int:
    """The first reasons to refuse an amend of an own order, 0 for none; None is "as it was"."""
    if not (order_qty is None or type(order_qty) is int) or not (
        price is None or type(price) is int
    ):
        return Reject.MALFORMED
    if order is None:
        return Reject.UNKNOWN_ORDER
    if not order.leaves_qty:
        return Reject.TOO_LATE
    if order.account.blocked:
        return order.account.blocked
    return phase_reject(order.book)


def amended_reject(order: Order, terms: tuple[Any, ...], *, has_qty: bool, leaves: int) -> int:
    """The other reasons, once it is known what the order would become.

    A new total at or below what has traded is no refusal: it closes the order.

    Args:
        terms: what they would be. leaves: the open quantity it would have.
    """
    book, qty, price = order.book, terms[5], terms[6]
    if not 0 < qty <= book.qty_max or (has_qty and qty < book.qty_min):
        return _qty_reject(book, qty)
    if leaves <= 0:
        return 0
    if price is not None and not book.price_floor <= price <= book.price_ceiling:
        return _price_reject(book, price)
    if len(terms) > 7:
        code = _amended_conditions_reject(order, terms)
        if code:
            return code
    limit = price if len(terms) < 9 else limit_of(terms)
    if book.notional_checked and limit is not None:
        code = _notional_reject(book, limit, qty)
        if code:
            return code
    guard = order.account.guard
    if guard is not None:
        code = guard.size_reject(qty, limit)
        if code:
            return code
        if not guard.has_tokens(book.moment.time_ns, 1):
            return Reject.RATE_LIMIT
    if len(terms) > 7 and terms[7][5] != order.terms[7][5]:
        if terms[7][5] <= book.moment.time_ns:
            return Reject.BAD_EXPIRE_TIME
    if book.ledger is not None:
        more = book.need_of(order, terms, leaves) - order.held
        code = book.ledger.reject(order.account, terms[4][0], more)
        if code:
            return code
    # At an unchanged price a resting order does not cross, so only a new one can.
    if terms[4][3] and not book.is_call and book.crosses(is_buy=terms[4][0] == _BUY, price=price):
        return Reject.POST_ONLY_WOULD_CROSS
    return 0


def _amended_conditions_reject(order: Order, terms: tuple[Any, ...]) -> int:
    conditions = OrderConditions(*terms[7])
    if conditions.stop_price is not None and order.book.waits(order):
        code = _stop_reject(order.book, conditions.stop_price)
        if code:
            return code
    if conditions.trail_unit and trail_reject(conditions.trail_unit, conditions.trail_offset):
        return Reject.BAD_STOP_PRICE
    if conditions.display_qty and not 0 < conditions.display_qty < terms[5]:
        return Reject.BAD_DISPLAY_QTY
    return 0

"""Commands about orders: each is validated whole, then it changes state.

Owns what NEW_ORDER, PLACE_ORDER, PLACE_PEG, CANCEL_ORDER, AMEND_ORDER, REPLACE_ORDER,
CANCEL_REPLACE and MASS_CANCEL do; `linked.py` has those that enter several orders. The matching
itself is the book's. Every function takes (exchange, session, command, events) and tells what
happened in `events`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from raftbook.core.accounts import Account
from raftbook.core.aftermath import look, look_at
from raftbook.core.agenda import MassCancel
from raftbook.core.book import Book
from raftbook.core.chores import go_on
from raftbook.core.commands import Command
from raftbook.core.conditions import OrderConditions, as_terms
from raftbook.core.events import CANCEL_REJECTED, REJECTED, Event
from raftbook.core.form import form_error
from raftbook.core.ladder import Order
from raftbook.core.pegs import follow
from raftbook.core.sessions import Session
from raftbook.core.types import OrderType, Reject, Side
from raftbook.core.validate import (
    COMBINATIONS,
    amend_reject,
    amended_reject,
    new_order_reject,
)
from raftbook.core.wish import Wish, reject_without

if TYPE_CHECKING:
    from raftbook.core.exchange import Exchange

_MALFORMED: Final = int(Reject.MALFORMED)
_UNKNOWN_ORDER: Final = int(Reject.UNKNOWN_ORDER)
_TOO_LATE: Final = int(Reject.TOO_LATE)
_PHASE_FORBIDS: Final = int(Reject.PHASE_FORBIDS)
_CANCEL_FAILED: Final = int(Reject.CANCEL_FAILED)
_MASS_CANCEL: Final = int(Reject.MASS_CANCEL)
_PEGGED: Final = int(OrderType.PEGGED)
_ANY_SIDE: Final = frozenset((0, *map(int, Side)))
EVERYBODY: Final = "*"
"""In the place of an account's name, in a mass cancel."""
MASS_CANCELS_MAX: Final = 16
"""Mass cancels of one account's orders that are under way when it is refused another one."""


# -- new orders ----------------------------------------------------------------------------------


def new_order(exchange: Exchange, session: Session, command: Command, events: list[Event]) -> None:
    """NEW_ORDER: the orders without conditions, which are most."""
    account = session.account
    try:
        _, symbol, side, ord_type, tif, qty, price, client_order_id, post_only, mode = command
        book = exchange.books.get(symbol)
        kind = COMBINATIONS.get((side, ord_type, tif, post_only, mode))
        is_odd = account.is_odd or book is None or book.is_odd
        code = new_order_reject(account, book, kind, side, qty, price, client_order_id, is_odd)
    except (TypeError, ValueError):
        book, code, is_odd = None, _MALFORMED, True
    if code:
        events.append((REJECTED, 0, int(code), command))
        return
    assert book is not None and kind is not None, f"{command} was let through"
    exchange.last_order_id = order_id = exchange.last_order_id + 1
    terms: tuple[Any, ...] = (
        order_id,
        account.name,
        client_order_id,
        book.symbol,
        kind,
        qty,
        price,
    )
    order = Order(account, book, terms, qty, session.order_tag, exchange.moment.stamp_ns)
    account.orders[terms[0]] = order
    account.open_count += 1
    if client_order_id:
        account.by_client_order_id[client_order_id] = order
    if is_odd:
        take_funds(book, order)
    book.enter(order, events)
    if not order.leaves_qty:
        account.close(order)
    if is_odd:
        if book.stops is not None:
            book.fire_stops(events)
        follow(book, events)


def take_funds(book: Book, order: Order, tokens: int = 1) -> None:
    """Hold the money and take the tokens that validation has seen."""
    guard = order.account.guard
    if guard is not None:
        guard.take_tokens(book.moment.time_ns, tokens)
    if book.ledger is not None:
        book.ledger.hold(order, book.need_of(order, order.terms, order.leaves_qty))


def place_order(
    exchange: Exchange, session: Session, command: Command, events: list[Event]
) -> None:
    """PLACE_ORDER."""
    if form_error(command) is not None:
        events.append((REJECTED, 0, _MALFORMED, command))
        return
    wish = Wish(exchange, command[1:])
    code = wish.reject(session.account)
    if code:
        events.append((REJECTED, 0, int(code), command))
        return
    order = _enter_wish(exchange, session, wish, events)
    follow(order.book, events)


def place_peg(exchange: Exchange, session: Session, command: Command, events: list[Event]) -> None:
    """PLACE_PEG."""
    if form_error(command) is not None:
        events.append((REJECTED, 0, _MALFORMED, command))
        return
    _, symbol, side, tif, qty, limit, name, reference, offset, expire_ns = command
    plain = (symbol, side, _PEGGED, tif, qty, limit, name, 0, 0)
    wish = Wish(exchange, (*plain, None, 0, 0, 0, 0, expire_ns, 0), (reference, offset, limit))
    code = wish.reject(session.account)
    if code:
        events.append((REJECTED, 0, int(code), command))
        return
    follow(_enter_wish(exchange, session, wish, events).book, events)


def _enter_wish(exchange: Exchange, session: Session, wish: Wish, events: list[Event]) -> Order:
    order = _let_in(exchange, session, wish, events)
    if order.book.stops is not None:
        order.book.fire_stops(events)
    return order


def _let_in(exchange: Exchange, session: Session, wish: Wish, events: list[Event]) -> Order:
    order = wish.make(exchange, session)
    book = order.book
    take_funds(book, order)
    book.enter_with(order, wish.conditions, events)
    if not order.leaves_qty:
        order.account.close(order)
    return order


def after(order: Order, events: list[Event]) -> None:
    """What follows when an order was entered or amended: it may be done, and stops may fire. Then
    pegged orders move, which is left to the command."""
    if not order.leaves_qty:
        order.account.close(order)
    if order.book.stops is not None:
        order.book.fire_stops(events)


# -- cancels -------------------------------------------------------------------------------------


def cancel_order(
    exchange: Exchange, session: Session, command: Command, events: list[Event]
) -> None:
    """CANCEL_ORDER."""
    try:
        _, order_id, client_order_id = command
        order = session.account.find(order_id, client_order_id)
    except (TypeError, ValueError):
        events.append((CANCEL_REJECTED, 0, _MALFORMED, command))
        return
    if order is None:
        events.append((CANCEL_REJECTED, 0, _UNKNOWN_ORDER, command))
    elif not order.leaves_qty:
        events.append((CANCEL_REJECTED, 0, _TOO_LATE, command))
    else:
        book = order.book
        if not book.is_trading and book.uncrossing is not None:
            events.append((CANCEL_REJECTED, 0, _PHASE_FORBIDS, command))
            return
        book.cancel(order, 0, events)
        look(book, events)


def cancel_replace(
    exchange: Exchange, session: Session, command: Command, events: list[Event]
) -> None:
    """CANCEL_REPLACE: a cancel and a new order, both or (without or_place) none."""
    if form_error(command) is not None:
        events.append((CANCEL_REJECTED, 0, _MALFORMED, command))
        return
    _, order_id, client_order_id, or_place, *fields = command
    account = session.account
    order = account.find(order_id, client_order_id)
    touched: set[Book] = set() if order is None else {order.book}
    wish = Wish(exchange, tuple(fields))
    if order is None or not order.leaves_qty:
        reason = _UNKNOWN_ORDER if order is None else _TOO_LATE
        events.append((CANCEL_REJECTED, 0, reason, command))
        code = wish.reject(account) if or_place else _CANCEL_FAILED
    elif order.book.uncrossing is not None:
        events.append((CANCEL_REJECTED, 0, _PHASE_FORBIDS, command))
        code = _CANCEL_FAILED
    elif or_place:
        order.book.cancel(order, 0, events)
        code = wish.reject(account)
    else:
        code = reject_without(order, wish)
        if code:
            events.append((CANCEL_REJECTED, 0, int(code), command))
        else:
            order.book.cancel(order, 0, events)
    if code:
        events.append((REJECTED, 0, int(code), command))
    else:
        book = _let_in(exchange, session, wish, events).book
        touched.add(book)
        if book.stops is not None and not exchange.agenda.is_quoted:  # else in its turn
            book.fire_stops(events)
    look_at(exchange, touched, events)


def mass_cancel(
    exchange: Exchange, session: Session, command: Command, events: list[Event]
) -> None:
    """MASS_CANCEL: the first page of it at once."""
    code = _mass_cancel_reject(exchange, session.account, command)
    if code:
        events.append((REJECTED, 0, int(code), command))
        return
    _, name, session_id, symbol, side, price_low, price_high = command
    name = name or session.account.name
    names = list(exchange.accounts)[::-1] if name == EVERYBODY else [name]
    job = MassCancel(name, _MASS_CANCEL, names, exchange.last_order_id)
    job.session_id, job.symbol, job.side = session_id, symbol, side
    job.price_low, job.price_high = price_low, price_high
    page = go_on(exchange, job, exchange.limits.cancel_page, events)
    look_at(exchange, {order.book for order in page}, events)


def _mass_cancel_reject(exchange: Exchange, account: Account, command: Command) -> int:
    if form_error(command) is not None:
        return Reject.MALFORMED
    _, name, _, symbol, side, price_low, price_high = command
    if name not in ("", account.name) and not account.is_operator:
        return Reject.NOT_AUTHORIZED
    if name not in ("", EVERYBODY) and name not in exchange.accounts:
        return Reject.UNKNOWN_ACCOUNT
    if symbol and symbol not in exchange.books:
        return Reject.UNKNOWN_INSTRUMENT
    if side not in _ANY_SIDE:
        return Reject.BAD_SIDE
    if not symbol and not (price_low is None and price_high is None):
        return Reject.UNSUPPORTED_COMBINATION
    under_way = exchange.agenda.cancels_under_way.get(account.name, 0)
    if under_way >= MASS_CANCELS_MAX and not account.is_operator:
        return Reject.RATE_LIMIT
    return 0


# -- amends --------------------------------------------------------------------------------------


def amend_order(
    exchange: Exchange, session: Session, command: Command, events: list[Event]
) -> None:
    """AMEND_ORDER: a new total and/or price."""
    order = None
    try:
        _, order_id, client_order_id, order_qty, price = command
        order = session.account.find(order_id, client_order_id)
        code = amend_reject(order, order_qty, price)
    except (TypeError, ValueError):
        code = _MALFORMED
    if order is None or code:
        events.append((CANCEL_REJECTED, 0, int(code), command))
        return
    old = order.terms
    is_plain = order.special is None and old[6] is not None
    if (order_qty is None and price is None) or not (
        is_plain or _may_amend(order, order_qty, price)
    ):
        events.append((CANCEL_REJECTED, 0, int(Reject.AMEND_NOT_ALLOWED), command))
        return
    qty = old[5] if order_qty is None else order_qty
    terms = (*old[:5], qty, old[6] if price is None else price, *old[7:])
    _amend(order, terms, order_qty, command, events)


def _may_amend(order: Order, order_qty: int | None, price: int | None) -> bool:
    """Whether these may be changed on such an order."""
    if order.book.pends(order):
        return False
    is_pegged = order.special is not None and order.special.is_pegged
    if price is not None and (order.terms[6] is None or is_pegged):
        return False
    if order_qty is None:
        return True
    return order.special is None or order.special.sibling is None


def _amend(
    order: Order,
    terms: tuple[Any, ...],
    order_qty: int | None,
    command: Command,
    events: list[Event],
) -> None:
    """Make an open order one of these terms, or say why not."""
    leaves = order.leaves_qty if order_qty is None else order_qty - order.cum_qty
    code = amended_reject(order, terms, has_qty=order_qty is not None, leaves=leaves)
    if code:
        events.append((CANCEL_REJECTED, 0, int(code), command))
        return
    if leaves <= 0:
        order.book.cancel(order, 0, events)
    else:
        guard = order.account.guard
        if guard is not None:
            guard.take_tokens(order.book.moment.time_ns, 1)
        order.book.amend(order, terms, leaves, events)
        after(order, events)
    look(order.book, events)


def replace_order(
    exchange: Exchange, session: Session, command: Command, events: list[Event]
) -> None:
    """REPLACE_ORDER: an amend that can also change conditions."""
    if form_error(command) is not None:
        events.append((CANCEL_REJECTED, 0, _MALFORMED, command))
        return
    _, order_id, client_order_id, order_qty, price, *changes = command
    order = session.account.find(order_id, client_order_id)
    code = amend_reject(order, order_qty, price)
    if order is None or code:
        events.append((CANCEL_REJECTED, 0, int(code), command))
        return
    terms = _replaced_terms(order, order_qty, price, changes)
    if terms is None:
        events.append((CANCEL_REJECTED, 0, int(Reject.AMEND_NOT_ALLOWED), command))
        return
    had_expiry = order.terms[7][5] if len(order.terms) > 7 else 0
    _amend(order, terms, order_qty, command, events)
    if order.leaves_qty and len(order.terms) > 7 and order.terms[7][5] != had_expiry:
        exchange.agenda.expire_at(order, order.terms[7][5])


def _replaced_terms(
    order: Order, order_qty: int | None, price: int | None, changes: list[int | None]
) -> tuple[Any, ...] | None:
    """The terms after a REPLACE_ORDER; None if such an order cannot change so."""
    stop_price, trail_offset, display_qty, expire_time_ns = changes
    if order_qty is None and price is None and changes == [None] * 4:
        return None
    if not _may_amend(order, order_qty, price):
        return None
    old = order.terms
    qty, limit = old[5] if order_qty is None else order_qty, old[6] if price is None else price
    if changes == [None] * 4:
        return (*old[:5], qty, limit, *old[7:])
    if len(old) < 8:
        return None
    conditions = OrderConditions(*old[7])
    waits = order.book.waits(order)
    if stop_price is not None and not (waits and conditions.stop_price is not None):
        return None
    if trail_offset is not None and not (waits and conditions.trail_unit):
        return None
    if display_qty is not None and not (conditions.display_qty and display_qty):
        return None
    if expire_time_ns is not None and not conditions.expire_time_ns:
        return None
    new = conditions._replace(
        stop_price=conditions.stop_price if stop_price is None else stop_price,
        trail_offset=conditions.trail_offset if trail_offset is None else trail_offset,
        display_qty=conditions.display_qty if display_qty is None else display_qty,
        expire_time_ns=conditions.expire_time_ns if expire_time_ns is None else expire_time_ns,
    )
    return (*old[:5], qty, limit, as_terms(new), *old[8:])

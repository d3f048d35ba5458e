"""What one order does to others: the other one of a pair, and orders that are pending on it.

Owns what follows for them from a trade or an end (docs/MATCHING.md "One updates the other", "One
triggers other"), and the release of pending orders. Judges no command, and tells nothing of the
order that caused it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from raftbook.core.conditions import OrderConditions, updates_other
from raftbook.core.events import RESTATED, RESTED, TRIGGERED, Event
from raftbook.core.ladder import Order, Special
from raftbook.core.types import PostOnly, Reject, Side

if TYPE_CHECKING:
    from raftbook.core.book import Book
    from raftbook.core.matching import Matcher
    from raftbook.core.stops import Stops

_BUY: Final = int(Side.BUY)
_REPRICE: Final = int(PostOnly.REPRICE)
_OTO_FAILED: Final = int(Reject.OTO_FAILED)
_WOULD_CROSS: Final = int(Reject.POST_ONLY_WOULD_CROSS)


def follow_trade(
    book: Matcher, order: Order, special: Special, qty: int, events: list[Event]
) -> None:
    """An order has just traded `qty` lots."""
    if special.sibling is not None:
        _trade_sibling(book, order, special, special.sibling, qty, events)
    elif special.pending and not order.leaves_qty:
        if order.cum_qty != order.terms[5]:
            fail_pending(book, special, events)
            return
        assert book.stops is not None, f"{book.symbol} has no pending orders"
        for each in special.pending:
            if each.leaves_qty:
                book.stops.due[each.terms[0]] = each
        special.pending = ()


def fail_pending(book: Matcher, special: Special, events: list[Event]) -> None:
    """A working order ended that was not filled: what was pending on it ends."""
    pending, special.pending = special.pending, ()
    for each in pending:
        if each.leaves_qty:
            assert each.special is not None, f"order {each.terms[0]} is not pending"
            each.special.sibling = None
            book.cancel(each, _OTO_FAILED, events)


def part(special: Special) -> None:
    """One of a pair is over and leaves the other one alone."""
    if special.sibling is not None:
        if special.sibling.special is not None:
            special.sibling.special.sibling = None
        special.sibling = None


def _trade_sibling(
    book: Matcher, order: Order, special: Special, sibling: Order, qty: int, events: list[Event]
) -> None:
    if not updates_other(order.terms) or sibling.leaves_qty <= qty:
        book.end_sibling(special, events)
        return
    sibling.leaves_qty -= qty
    if book.ledger is not None:
        need = book.need_of(sibling, sibling.terms, sibling.leaves_qty)
        book.ledger.hold(sibling, need)
    leaves = sibling.leaves_qty
    events.append((RESTATED, 0, sibling.terms, sibling.cum_qty, leaves, qty, 0))
    if not order.leaves_qty:
        part(special)


def release_due(
    book: Book, stops: Stops, left: int, last_trade_id: int, events: list[Event]
) -> int:
    """Release what is due while the book trades, at most `left` orders and none after that trade;
    how many more may be."""
    while stops.due and book.is_trading:
        if not left or book.trade_id >= last_trade_id or book.agenda.room.is_spent():
            book.stop_firing()
            return 0
        left -= 1
        book.agenda.room.triggers -= 1
        _release(book, stops, next(iter(stops.due.values())), events)
    return left


def _release(book: Book, stops: Stops, order: Order, events: list[Event]) -> None:
    """Enter a pending order, which is told as if a trigger had done it."""
    terms, special = order.terms, order.special
    assert special is not None, f"order {terms[0]} is not pending"
    del stops.pending[terms[0]], stops.due[terms[0]]
    place = len(events)
    reason = _take_funds(book, order) or _post_reject(book, order)
    if reason:
        events.append((TRIGGERED, 0, terms, None))
        book.end_rest(order, reason, events)
        part(special)
    else:
        book.enter_with(order, OrderConditions(*terms[7]), events)
        feed_seq = events[place][1]
        events[place] = (TRIGGERED, 0, terms, None)  # where ACCEPTED stood
        if feed_seq:
            shown = (special.shown_qty,) if special.display_qty else ()
            events.append((RESTED, feed_seq, terms, order.leaves_qty, *shown))
    if not order.leaves_qty:
        order.account.close(order)


def _take_funds(book: Book, order: Order) -> int:
    """Hold what an order needs that held nothing so far, or say why that cannot be."""
    ledger = book.ledger
    if ledger is None:
        return 0
    need = book.need_of(order, order.terms, order.leaves_qty)
    reason = int(ledger.reject(order.account, order.terms[4][0], need))
    if not reason:
        ledger.hold(order, need)
    return reason


def _post_reject(book: Book, order: Order) -> int:
    """Why a post-only order cannot be posted now, 0 for none."""
    kind, price = order.terms[4], order.terms[6]
    if not kind[3] or not book.crosses(is_buy=kind[0] == _BUY, price=price):
        return 0
    may = kind[3] == _REPRICE and book.admits(book.repriced(order.terms)[6])
    return 0 if may else _WOULD_CROSS

"""Commands that enter several orders at once, of which one does something to the others.

Owns what PLACE_OCO, PLACE_OUO, PLACE_OTO and PLACE_OTOCO do: all of their orders are judged before
any is entered. What they do to each other later is `contingent.py`'s. Every function takes
(exchange, session, command, events) and tells what happened in `events`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from raftbook.core.accounts import Account
from raftbook.core.commands import PLACE_OTO, PLACE_OUO, Command
from raftbook.core.conditions import TRIGGERED_TYPES
from raftbook.core.events import ACCEPTED, REJECTED, Event
from raftbook.core.form import form_error
from raftbook.core.ladder import Order
from raftbook.core.orders import after, take_funds
from raftbook.core.pegs import follow
from raftbook.core.sessions import Session
from raftbook.core.types import OrderType, Reject, TimeInForce
from raftbook.core.wish import Wish

if TYPE_CHECKING:
    from raftbook.core.exchange import Exchange

_MALFORMED: Final = int(Reject.MALFORMED)
_LIMIT: Final = int(OrderType.LIMIT)
_AT_AUCTION: Final = int(TimeInForce.AT_AUCTION)
_PLACED: Final = 19
"""Where the fields of the working order end."""


def place_pair(exchange: Exchange, session: Session, command: Command, events: list[Event]) -> None:
    """PLACE_OCO and PLACE_OUO: a limit order and a stop of which one ends the other."""
    if form_error(command) is not None:
        events.append((REJECTED, 0, _MALFORMED, command))
        return
    wishes = _pair(exchange, command[1], command[2:])
    code = _reject(session.account, wishes)
    if code:
        events.append((REJECTED, 0, int(code), command))
        return
    limit, stop = _make_pair(exchange, session, wishes, 0, int(command[0] == PLACE_OUO))
    take_funds(limit.book, limit, tokens=2)
    take_funds(stop.book, stop, tokens=0)
    stop.book.wait(stop)
    _enter(limit, wishes[0], [stop], events)


def place_oto(exchange: Exchange, session: Session, command: Command, events: list[Event]) -> None:
    """PLACE_OTO and PLACE_OTOCO: a working order, and what is released when it is filled."""
    if form_error(command) is not None:
        events.append((REJECTED, 0, _MALFORMED, command))
        return
    symbol, rest = command[1], command[_PLACED:]
    if command[0] == PLACE_OTO:
        pending = [Wish(exchange, (symbol, *rest))]
    else:
        pending = _pair(exchange, symbol, rest[:-1])
    wishes = [Wish(exchange, command[1:_PLACED]), *pending]
    for wish in pending:
        wish.is_pending = True
    code = _reject(session.account, [_admitted(wish) for wish in wishes])
    if code:
        events.append((REJECTED, 0, int(code), command))
        return
    working_id = exchange.last_order_id + 1
    working = wishes[0].make(exchange, session, (0, working_id + 1, 0))
    if command[0] == PLACE_OTO:
        others = [pending[0].make(exchange, session, (0, working_id, 0))]
    else:
        others = _make_pair(exchange, session, pending, working_id, rest[-1])
        assert others[1].special is not None, f"order {working_id + 2} has no trigger"
        others[1].special.holds_later = True
    stops = working.book.waiting_room()
    for order in others:
        stops.pending[order.terms[0]] = order
    assert working.special is not None, f"order {working_id} triggers nothing"
    working.special.pending = tuple(others)
    take_funds(working.book, working, tokens=len(wishes))
    _enter(working, wishes[0], others, events)


def _pair(exchange: Exchange, symbol: str, fields: tuple[Any, ...]) -> list[Wish]:
    """The limit order and the stop of a pair."""
    side, qty, tif, expire_ns, mode, price, name, post_only, display_qty, *stopping = fields
    stop_type, stop_price, stop_limit_price, trail_unit, trail_offset, stop_name, *unusual = (
        stopping
    )
    by, hidden = unusual or (0, 0)
    plain = (symbol, side, _LIMIT, tif, qty, price, name, post_only, mode)
    limit = Wish(exchange, (*plain, None, 0, 0, display_qty, 0, expire_ns, 0, 0, hidden))
    plain = (symbol, side, stop_type, tif, qty, stop_limit_price, stop_name, 0, mode)
    trigger = (stop_price, trail_unit, trail_offset)
    stop = Wish(exchange, (*plain, *trigger, 0, 0, expire_ns, 0, by, 0))
    if stop_type not in TRIGGERED_TYPES:
        stop.kind = None
    return [limit, stop]


def _admitted(wish: Wish) -> Wish:
    """An order of an OTO, without a kind where it is of none that may be one."""
    kind = wish.kind
    waits_for_call = wish.is_pending and kind is not None and kind[2] == _AT_AUCTION
    if wish.conditions.quote_qty or waits_for_call:
        wish.kind = None
    return wish


def _reject(account: Account, wishes: list[Wish]) -> int:
    """Why they cannot be entered one after the other, 0 for none."""
    held = ahead = 0
    names: list[str] = []
    for count, wish in enumerate(wishes, 1):
        if wish.client_order_id and wish.client_order_id in names:
            return Reject.DUPLICATE_CLIENT_ORDER_ID
        code = wish.reject(account, tokens=count, room=count, held=held, ahead=ahead)
        if code:
            return code
        names.append(wish.client_order_id)
        ahead += wish.waits()
        book, kind = wish.book, wish.kind
        assert book is not None and kind is not None, "one of several orders was let through"
        if book.ledger is not None and wish.price is not None:
            held = book.ledger.need(kind[0], wish.price * wish.qty, wish.qty)
    return 0


def _make_pair(
    exchange: Exchange, session: Session, wishes: list[Wish], working_id: int, updates: int
) -> list[Order]:
    limit_id = exchange.last_order_id + 1
    limit = wishes[0].make(exchange, session, (limit_id + 1, working_id, updates))
    stop = wishes[1].make(exchange, session, (limit_id, working_id, updates))
    assert limit.special is not None and stop.special is not None, "a pair without its link"
    limit.special.sibling, stop.special.sibling = stop, limit
    return [limit, stop]


def _enter(first: Order, wish: Wish, others: list[Order], events: list[Event]) -> None:
    """Enter the first order; the others are where they belong already."""
    place = len(events) + 1
    first.book.enter_with(first, wish.conditions, events)
    events[place:place] = [(ACCEPTED, 0, order.terms) for order in others]
    after(first, events)
    follow(first.book, events)

"""A wish: an order of PLACE_ORDER, or of a pair or OTO, that is read and judged, and not yet made.

Owns how the fields of a command become an order with conditions, whether it may be entered, and
whether it might if another order were gone first. Tells nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from raftbook.core.accounts import Account
from raftbook.core.book import Book
from raftbook.core.conditions import (
    NO_CONDITIONS,
    TRIGGERED_TYPES,
    OrderConditions,
    as_terms,
)
from raftbook.core.ladder import Order, Special
from raftbook.core.sessions import Session
from raftbook.core.types import Reject, Side, TimeInForce
from raftbook.core.validate import (
    pegged_kind,
    placed_kind,
    placed_reject,
    post_only_reject,
)
from raftbook.core.walks import affordable

if TYPE_CHECKING:
    from raftbook.core.exchange import Exchange

_BUY: Final = int(Side.BUY)
_DAY: Final = int(TimeInForce.DAY)
Links = tuple[int, int, int]
"""What an order is to others of its command: oco_order_id, oto_order_id, updates_other."""
NO_LINKS: Final[Links] = (0, 0, 0)


class Wish:
    """A PLACE_ORDER, read: its fields as they stand in the command, and what they amount to.

    Attributes:
        price: the limit price; of a pegged order the one that it never leaves.
        peg: the `PegTerms` of a pegged order.
        is_pending: whether it waits until another one is filled.
    """

    __slots__ = (
        "book",
        "client_order_id",
        "conditions",
        "is_pending",
        "kind",
        "peg",
        "price",
        "qty",
        "side",
    )

    def __init__(
        self, exchange: Exchange, fields: tuple[Any, ...], peg: tuple[Any, ...] | None = None
    ) -> None:
        symbol, side, ord_type, tif, qty, price, client_order_id, post_only, mode, *rest = fields
        self.book: Book | None = exchange.books.get(symbol)
        self.kind: tuple[int, ...] | None
        if peg is None:
            self.kind = placed_kind(side, ord_type, tif, post_only, mode)
        else:
            self.kind = pegged_kind(side, tif, peg[0])
        self.peg = peg
        self.side: int = side
        self.qty: int = qty
        self.price: int | None = price
        self.client_order_id: str = client_order_id
        said = [*rest[:7], 0, *rest[7:]]  # nobody asks for an order of a pair by its id
        self.conditions = OrderConditions(*said)
        self.is_pending = False

    def waits(self) -> bool:
        """Whether it counts among the stops of its instrument."""
        return self.is_pending or (self.kind is not None and self.kind[1] in TRIGGERED_TYPES)

    def reject(
        self, account: Account, *, tokens: int = 1, room: int = 1, held: int = 0, ahead: int = 0
    ) -> int:
        """Why it cannot be entered, 0 for none; settles how many lots an amount of money is.

        Args:
            held: of the same money, what another order of the same command will have taken.
            ahead: orders of the same command that will wait before it.
        """
        code = placed_reject(
            account,
            self.book,
            self.kind,
            side=self.side,
            qty=self.qty,
            price=self.price,
            client_order_id=self.client_order_id,
            conditions=self.conditions,
            tokens=tokens,
            room=room,
            places=ahead + 1 if self.waits() else 0,
            is_pending=self.is_pending,
        )
        if code or self.is_pending:
            return code
        book, kind = self.book, self.kind
        assert book is not None and kind is not None, (
            "an order without book or kind was let through"
        )
        if book.cannot_size(kind):
            return Reject.RATE_LIMIT
        if self.conditions.quote_qty:
            makers = book.asks if kind[0] == _BUY else book.bids
            bound = book.bound_of(kind[0], None)
            if book.cannot_look(makers, bound):
                return Reject.RATE_LIMIT
            self.qty = affordable(
                account,
                kind[4],
                makers,
                bound=bound,
                budget=self.conditions.quote_qty,
                qty_max=book.qty_max,
                orders_max=book.agenda.room.fills_now(),
                room=book.agenda.room,
            )
        if book.ledger is not None:
            probe = Order(account, book, self.terms(account, 0), self.qty, 0, 0)
            need = book.need_of(probe, probe.terms, self.qty)
            code = book.ledger.reject(account, kind[0], need + held if need else 0)
            if code:
                return code
        return post_only_reject(book, kind, self.price)

    def terms(self, account: Account, order_id: int, links: Links = NO_LINKS) -> tuple[Any, ...]:
        """The order's terms, with conditions only where it has any."""
        book, kind = self.book, self.kind
        assert book is not None, "an order without book was let through"
        name, symbol = self.client_order_id, book.symbol
        terms = (order_id, account.name, name, symbol, kind, self.qty, self.price)
        sibling_id, oto_order_id, updates = links
        conditions = as_terms(
            self.conditions._replace(
                oco_order_id=sibling_id, oto_order_id=oto_order_id, updates_other=updates
            )
        )
        if self.peg is not None:
            return (*terms[:6], None, conditions, self.peg)
        return terms if conditions == NO_CONDITIONS else (*terms, conditions)

    def make(self, exchange: Exchange, session: Session, links: Links = NO_LINKS) -> Order:
        """The order, known by its ids; nothing is told and nothing matched yet."""
        account, book = session.account, self.book
        assert book is not None, "an order without book was let through"
        exchange.last_order_id = order_id = exchange.last_order_id + 1
        terms = self.terms(account, order_id, links)
        order = Order(account, book, terms, self.qty, session.order_tag, exchange.moment.stamp_ns)
        account.orders[order_id] = order
        account.open_count += 1
        if self.client_order_id:
            account.by_client_order_id[self.client_order_id] = order
        conditions = self.conditions
        is_stop = terms[4][1] in TRIGGERED_TYPES
        is_pegged = self.peg is not None
        is_linked = links != NO_LINKS
        if conditions.display_qty or is_stop or is_linked or is_pegged or conditions.hidden:
            order.special = special = Special(conditions.display_qty)
            special.shown_qty = min(conditions.display_qty, self.qty)
            special.is_pegged = is_pegged
            special.is_hidden = conditions.hidden > 0
        if conditions.expire_time_ns:
            exchange.agenda.expire_at(order, conditions.expire_time_ns)
        if terms[4][2] == _DAY:
            exchange.agenda.add_day_order(order)
        return order


def reject_without(order: Order, wish: Wish) -> int:
    """Why an order could not be entered if another one were gone first; changes nothing.

    The other one, and those that would end with it, are taken out and put back: every rule
    sees what it would see.
    """
    gone = [order]
    if order.special is not None:
        if order.special.sibling is not None:
            gone.append(order.special.sibling)
        gone += [each for each in order.special.pending if each.leaves_qty]
    account = order.account
    absences = [_Absence(each) for each in gone]
    remembered = [*account.closed, *gone]
    forgotten = remembered[: max(0, len(remembered) - account.closed_orders_max)]
    names = {each.terms[2]: each for each in forgotten if each.terms[2]}
    for name in names:
        del account.by_client_order_id[name]
    code = wish.reject(account)
    account.by_client_order_id.update(names)
    for absence in reversed(absences):
        absence.end()
    return code


class _Absence:
    """An open order that is taken out of everything that rules look at, until `end`."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._held = order.held
        self._level = order.level
        self._newer = order.newer
        book = order.book
        self._pends = book.pends(order)
        if book.ledger is not None:
            book.ledger.release(order, order.held)
        order.account.open_count -= 1
        if order.level is not None:
            book.lift(order)
        elif self._pends and book.stops is not None:
            del book.stops.pending[order.terms[0]]
        elif book.waits(order):
            assert book.stops is not None and order.special is not None, "a stop without trigger"
            book.stops.remove(order, order.special)

    def end(self) -> None:
        """Put it back exactly where it was."""
        order, book = self._order, self._order.book
        if book.ledger is not None:
            book.ledger.hold(order, self._held)
        order.account.open_count += 1
        if self._level is not None:
            book.put_back(order, before=self._newer)
        elif self._pends and book.stops is not None:
            book.stops.pending[order.terms[0]] = order
        elif order.special is not None and order.special.stop_price is not None:
            assert book.stops is not None, f"{book.symbol} has no stops"
            book.stops.put(order, order.special)

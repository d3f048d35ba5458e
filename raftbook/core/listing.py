"""Commands about instruments: listing, terms, phases, calls, and trades that are undone.

Owns what they do; all of them are for operators. Every function takes (exchange, session, command,
events) and tells what happened in `events`; each is validated whole before anything changes.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Final

from raftbook.core.admin import operator_reject, refuse
from raftbook.core.book import Book
from raftbook.core.call import begin_call
from raftbook.core.call import set_phase as enter_phase
from raftbook.core.commands import Command
from raftbook.core.events import (
    INSTRUMENT_AMENDED,
    INSTRUMENT_CREATED,
    INSTRUMENT_DELETED,
    TRADE,
    TRADE_BUSTED,
    Event,
)
from raftbook.core.instrument import InstrumentTerms, terms_error
from raftbook.core.pegs import follow
from raftbook.core.sessions import Session
from raftbook.core.types import Phase, Reject, Side

if TYPE_CHECKING:
    from raftbook.core.exchange import Exchange

_FIRST_PHASES: Final = frozenset(
    int(phase) for phase in (Phase.CONTINUOUS, Phase.HALTED, Phase.CANCEL_ONLY, Phase.CLOSED)
)
_PHASES: Final = frozenset(int(phase) for phase in Phase)
_ENDS_OF_CALL: Final = frozenset((int(Phase.CONTINUOUS), int(Phase.CLOSED)))


def create_instrument(
    exchange: Exchange, session: Session, command: Command, events: list[Event]
) -> None:
    """CREATE_INSTRUMENT: with the terms of the first engine version."""
    code = operator_reject(session.account, command)
    code = code or _listing_reject(exchange, command[1:])
    if code:
        refuse(command, code, events)
        return
    exchange.add_book(InstrumentTerms(*command[1:])).feed_seq = 1
    events.append((INSTRUMENT_CREATED, 1, command[1:]))


def _listing_reject(exchange: Exchange, fields: Command) -> int:
    terms = InstrumentTerms(*fields)
    if terms_error(terms) is not None:
        return Reject.MALFORMED
    if terms.symbol in exchange.books:
        return Reject.INSTRUMENT_EXISTS
    if len(exchange.books) >= exchange.limits.instruments_max:
        return Reject.BOOK_FULL
    return exchange.money.settlement_reject(terms)


def list_instrument(
    exchange: Exchange, session: Session, command: Command, events: list[Event]
) -> None:
    """LIST_INSTRUMENT: with all terms, in any phase but CLOSED."""
    code = operator_reject(session.account, command)
    code = code or _listing_reject(exchange, command[1:-1])
    if not code and (command[-1] not in _PHASES or command[-1] == Phase.CLOSED):
        code = Reject.PHASE_FORBIDS
    if code:
        refuse(command, code, events)
        return
    book = exchange.add_book(InstrumentTerms(*command[1:-1]))
    book.feed_seq = 1
    events.append((INSTRUMENT_CREATED, 1, tuple(book.terms)))
    if command[-1] != Phase.CONTINUOUS:
        enter_phase(book, command[-1], events)


def amend_instrument(
    exchange: Exchange, session: Session, command: Command, events: list[Event]
) -> None:
    """AMEND_INSTRUMENT."""
    code = operator_reject(session.account, command)
    code = code or _amend_instrument_reject(exchange, command)
    if code:
        refuse(command, code, events)
        return
    terms = InstrumentTerms(*command[1:])
    book = exchange.books[terms.symbol]
    old = book.terms
    if exchange.engine_version > 3 and _are_other_units(old, terms):
        book.forget_past()
    book.set_terms(terms, exchange.money.ledger(terms))
    book.feed_seq += 1
    events.append((INSTRUMENT_AMENDED, book.feed_seq, tuple(terms)))
    if book.pegs is not None:
        book.pegs.is_current = False
        follow(book, events)


def _amend_instrument_reject(exchange: Exchange, command: Command) -> int:
    terms = InstrumentTerms(*command[1:])
    if terms_error(terms) is not None:
        return Reject.MALFORMED
    book = exchange.books.get(terms.symbol)
    if book is None:
        return Reject.UNKNOWN_INSTRUMENT
    if book.uncrossing is not None:
        return Reject.PHASE_FORBIDS
    old = book.terms
    if (old.base, old.quote, old.settlement) != (terms.base, terms.quote, terms.settlement):
        return Reject.AMEND_NOT_ALLOWED
    if _units(old) != _units(terms) and not book.is_empty():
        return Reject.INSTRUMENT_NOT_EMPTY
    if terms.settlement and max(terms.maker_fee, terms.taker_fee, 0) > max(
        old.maker_fee, old.taker_fee, 0
    ):
        if not book.is_empty():  # what rests holds the old worst fee only
            return Reject.INSTRUMENT_NOT_EMPTY
    if exchange.engine_version > 3 and terms.settlement and _may_cost_more(book, terms):
        return Reject.INSTRUMENT_NOT_EMPTY
    return exchange.money.settlement_reject(terms)


def _units(terms: InstrumentTerms) -> tuple[str, str]:
    return terms.tick_size, terms.lot_size


def _are_other_units(old: InstrumentTerms, new: InstrumentTerms) -> bool:
    """Whether ticks or lots are of another size, however that is written."""
    return tuple(map(Decimal, _units(old))) != tuple(map(Decimal, _units(new)))


def _may_cost_more(book: Book, terms: InstrumentTerms) -> bool:
    """Whether under these terms an auction could come to a higher price than market orders that
    gather hold for."""
    old, reference = book.terms.reference_price, terms.reference_price
    is_higher = reference is not None and (old is None or reference > old)
    is_higher = is_higher or terms.price_ceiling() > book.price_ceiling
    return is_higher and any(order.terms[6] is None for order in book.at_auction.values())


def delete_instrument(
    exchange: Exchange, session: Session, command: Command, events: list[Event]
) -> None:
    """DELETE_INSTRUMENT: closed and empty."""
    code = operator_reject(session.account, command)
    book = None if code else exchange.books.get(command[1])
    if not code and book is None:
        code = Reject.UNKNOWN_INSTRUMENT
    elif book is not None and (book.phase != Phase.CLOSED or not book.is_empty()):
        code = Reject.INSTRUMENT_NOT_EMPTY
    if code or book is None:
        refuse(command, code, events)
        return
    exchange.remove_book(book)
    events.append((INSTRUMENT_DELETED, book.feed_seq + 1, book.symbol))


def set_phase(exchange: Exchange, session: Session, command: Command, events: list[Event]) -> None:
    """SET_PHASE."""
    code = operator_reject(session.account, command)
    code = code or _phase_reject(exchange, command[1], command[2])
    if code:
        refuse(command, code, events)
        return
    book = exchange.books[command[1]]
    enter_phase(book, command[2], events)
    if book.stops is not None:
        book.fire_stops(events)
    follow(book, events)


def _phase_reject(exchange: Exchange, symbol: str, phase: int) -> int:
    book = exchange.books.get(symbol)
    if book is None:
        return Reject.UNKNOWN_INSTRUMENT
    if phase not in (_PHASES if exchange.engine_version > 1 else _FIRST_PHASES):
        return Reject.PHASE_FORBIDS
    if book.uncrossing is not None:
        return Reject.PHASE_FORBIDS
    return Reject.INSTRUMENT_CLOSED if book.phase == Phase.CLOSED else 0


def call_auction(
    exchange: Exchange, session: Session, command: Command, events: list[Event]
) -> None:
    """CALL_AUCTION: AUCTION now, and its end at a time."""
    code = operator_reject(session.account, command)
    if not code and command[1] in exchange.books and command[3] not in _ENDS_OF_CALL:
        code = Reject.PHASE_FORBIDS
    code = code or _phase_reject(exchange, command[1], command[3])
    if not code and command[2] <= exchange.moment.time_ns:
        code = Reject.BAD_EXPIRE_TIME
    if code:
        refuse(command, code, events)
        return
    book = exchange.books[command[1]]
    begin_call(book, command[2], command[3], events)
    follow(book, events)


def bust_trade(exchange: Exchange, session: Session, command: Command, events: list[Event]) -> None:
    """BUST_TRADE: undo money and cum_qty of a remembered trade."""
    code = operator_reject(session.account, command)
    book = None if code else exchange.books.get(command[1])
    trade: Event | None = None
    if not code and book is None:
        code = Reject.UNKNOWN_INSTRUMENT
    elif book is not None:
        trade = book.trade(command[2])
        if trade is None:
            code = Reject.UNKNOWN_TRADE
        elif command[2] in book.busted:
            code = Reject.ALREADY_BUSTED
    if code or book is None or trade is None:
        refuse(command, code, events)
        return
    _bust(exchange, book, trade, events)


def _bust(exchange: Exchange, book: Book, trade: Event, events: list[Event]) -> None:
    _, _, trade_id, price, qty, maker, _, _, _, taker, *_ = trade
    book.mark_busted(trade_id)
    for terms in (maker, taker):
        order = exchange.accounts[terms[1]].orders.get(terms[0])
        if order is not None:
            order.cum_qty -= qty
            order.cum_notional -= price * qty
    if book.ledger is not None and len(trade) > 13:
        maker_buys = trade[0] != TRADE or maker[4][0] == Side.BUY
        buyer, seller = (maker, taker) if maker_buys else (taker, maker)
        fees = trade[13:15] if maker_buys else (trade[14], trade[13])
        book.ledger.undo(
            exchange.accounts[buyer[1]],
            exchange.accounts[seller[1]],
            price=price,
            qty=qty,
            buy_fee=fees[0],
            sell_fee=fees[1],
        )
    book.feed_seq += 1
    events.append((TRADE_BUSTED, book.feed_seq, book.symbol, trade_id, price, qty, maker, taker))

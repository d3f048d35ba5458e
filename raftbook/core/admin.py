"""Commands of operators, and of accounts about themselves: instruments, accounts, money, switches.

Owns what they do and who may say them. Every function takes (exchange, session, command, events)
and tells what happened in `events`; each is validated whole before anything changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from raftbook.core.accounts import Account, Guard
from raftbook.core.book import Book
from raftbook.core.call import begin_call
from raftbook.core.call import set_phase as enter_phase
from raftbook.core.chores import end_days
from raftbook.core.commands import Command, without_secret
from raftbook.core.events import (
    ACCOUNT_CHANGED,
    API_KEY_SET,
    BALANCE_CHANGED,
    CURRENCY_CREATED,
    DAY_ROLLED,
    DROP_COPY_SET,
    INSTRUMENT_AMENDED,
    INSTRUMENT_CREATED,
    INSTRUMENT_DELETED,
    KILL_SWITCH_SET,
    REJECTED,
    TRADE,
    TRADE_BUSTED,
    Event,
)
from raftbook.core.form import form_error
from raftbook.core.instrument import InstrumentTerms, terms_error
from raftbook.core.ledger import DECIMALS_MAX
from raftbook.core.sessions import Session
from raftbook.core.types import INT64_MAX, Phase, Reject, Side

if TYPE_CHECKING:
    from raftbook.core.exchange import Exchange

_FIRST_PHASES: Final = frozenset(
    int(phase) for phase in (Phase.CONTINUOUS, Phase.HALTED, Phase.CANCEL_ONLY, Phase.CLOSED)
)
_PHASES: Final = frozenset(int(phase) for phase in Phase)
_ENDS_OF_CALL: Final = frozenset((int(Phase.CONTINUOUS), int(Phase.CLOSED)))
_RATE_MAX: Final = 1_000_000


def _operator_reject(account: Account, command: Command) -> int:
    if form_error(command) is not None:
        return Reject.MALFORMED
    return 0 if account.is_operator else Reject.NOT_AUTHORIZED


def _refuse(command: Command, code: int, events: list[Event]) -> None:
    events.append((REJECTED, 0, int(code), command))


# -- instruments ---------------------------------------------------------------------------------


def create_instrument(
    exchange: Exchange, session: Session, command: Command, events: list[Event]
) -> None:
    """CREATE_INSTRUMENT: with the terms of the first engine version."""
    code = _operator_reject(session.account, command)
    code = code or _listing_reject(exchange, command[1:])
    if code:
        _refuse(command, code, events)
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
    code = _operator_reject(session.account, command)
    code = code or _listing_reject(exchange, command[1:-1])
    if not code and (command[-1] not in _PHASES or command[-1] == Phase.CLOSED):
        code = Reject.PHASE_FORBIDS
    if code:
        _refuse(command, code, events)
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
    code = _operator_reject(session.account, command)
    code = code or _amend_instrument_reject(exchange, command)
    if code:
        _refuse(command, code, events)
        return
    terms = InstrumentTerms(*command[1:])
    book = exchange.books[terms.symbol]
    book.set_terms(terms, exchange.money.ledger(terms))
    book.feed_seq += 1
    events.append((INSTRUMENT_AMENDED, book.feed_seq, tuple(terms)))


def _amend_instrument_reject(exchange: Exchange, command: Command) -> int:
    terms = InstrumentTerms(*command[1:])
    if terms_error(terms) is not None:
        return Reject.MALFORMED
    book = exchange.books.get(terms.symbol)
    if book is None:
        return Reject.UNKNOWN_INSTRUMENT
    old = book.terms
    if (old.base, old.quote, old.settlement) != (terms.base, terms.quote, terms.settlement):
        return Reject.AMEND_NOT_ALLOWED
    if (old.tick_size, old.lot_size) != (terms.tick_size, terms.lot_size) and not book.is_empty():
        return Reject.INSTRUMENT_NOT_EMPTY
    if terms.settlement and max(terms.maker_fee, terms.taker_fee, 0) > max(
        old.maker_fee, old.taker_fee, 0
    ):
        if not book.is_empty():  # what rests holds the old worst fee only
            return Reject.INSTRUMENT_NOT_EMPTY
    return exchange.money.settlement_reject(terms)


def delete_instrument(
    exchange: Exchange, session: Session, command: Command, events: list[Event]
) -> None:
    """DELETE_INSTRUMENT: closed and empty."""
    code = _operator_reject(session.account, command)
    book = None if code else exchange.books.get(command[1])
    if not code and book is None:
        code = Reject.UNKNOWN_INSTRUMENT
    elif book is not None and (book.phase != Phase.CLOSED or not book.is_empty()):
        code = Reject.INSTRUMENT_NOT_EMPTY
    if code or book is None:
        _refuse(command, code, events)
        return
    exchange.remove_book(book)
    events.append((INSTRUMENT_DELETED, book.feed_seq + 1, book.symbol))


def set_phase(exchange: Exchange, session: Session, command: Command, events: list[Event]) -> None:
    """SET_PHASE."""
    code = _operator_reject(session.account, command)
    code = code or _phase_reject(exchange, command[1], command[2])
    if code:
        _refuse(command, code, events)
        return
    book = exchange.books[command[1]]
    enter_phase(book, command[2], events)
    if book.stops is not None:
        book.fire_stops(events)


def _phase_reject(exchange: Exchange, symbol: str, phase: int) -> int:
    book = exchange.books.get(symbol)
    if book is None:
        return Reject.UNKNOWN_INSTRUMENT
    if phase not in (_PHASES if exchange.engine_version > 1 else _FIRST_PHASES):
        return Reject.PHASE_FORBIDS
    return Reject.INSTRUMENT_CLOSED if book.phase == Phase.CLOSED else 0


def call_auction(
    exchange: Exchange, session: Session, command: Command, events: list[Event]
) -> None:
    """CALL_AUCTION: AUCTION now, and its end at a time."""
    code = _operator_reject(session.account, command)
    if not code and command[1] in exchange.books and command[3] not in _ENDS_OF_CALL:
        code = Reject.PHASE_FORBIDS
    code = code or _phase_reject(exchange, command[1], command[3])
    if not code and command[2] <= exchange.moment.time_ns:
        code = Reject.BAD_EXPIRE_TIME
    if code:
        _refuse(command, code, events)
        return
    begin_call(exchange.books[command[1]], command[2], command[3], events)


def bust_trade(exchange: Exchange, session: Session, command: Command, events: list[Event]) -> None:
    """BUST_TRADE: undo money and cum_qty of a remembered trade."""
    code = _operator_reject(session.account, command)
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
        _refuse(command, code, events)
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


# -- accounts ------------------------------------------------------------------------------------


def create_account(
    exchange: Exchange, session: Session, command: Command, events: list[Event]
) -> None:
    """CREATE_ACCOUNT."""
    code = _operator_reject(session.account, command)
    if not code:
        name = command[1]
        if not name or name == "*":
            code = Reject.MALFORMED
        elif name in exchange.accounts:
            code = Reject.ACCOUNT_EXISTS
        elif len(exchange.accounts) >= exchange.limits.accounts_max:
            code = Reject.TOO_MANY
    if code:
        _refuse(command, code, events)
        return
    account = exchange.add_account(command[1], is_operator=bool(command[2]))
    exchange.set_group(account, command[3])
    events.append(account_event(account))


def set_account(
    exchange: Exchange, session: Session, command: Command, events: list[Event]
) -> None:
    """SET_ACCOUNT."""
    code = _operator_reject(session.account, command)
    code = code or _set_account_reject(exchange, command)
    if code:
        _refuse(command, code, events)
        return
    _, name, enabled, group, *limits = command
    account = exchange.accounts[name]
    if enabled is not None:
        account.enabled = bool(enabled)
        account.block(venue_killed=exchange.is_killed)
    if group is not None:
        exchange.set_group(account, group)
    if limits != [None] * 5:
        _set_limits(exchange, account, limits)
    events.append(account_event(account))


def _set_account_reject(exchange: Exchange, command: Command) -> int:
    _, name, _, _, *limits = command
    if any(limit is not None and limit < 0 for limit in limits):
        return Reject.MALFORMED
    if any(limit is not None and limit > _RATE_MAX for limit in limits[3:]):
        return Reject.MALFORMED
    return 0 if name in exchange.accounts else Reject.UNKNOWN_ACCOUNT


def _set_limits(exchange: Exchange, account: Account, limits: list[int | None]) -> None:
    open_orders_max, qty_max, notional_max, orders_per_s, orders_burst = limits
    guard = account.guard = account.guard or Guard()
    account.is_odd = True
    venue_max = exchange.limits.open_orders_max
    if open_orders_max is not None:
        guard.open_orders_max = open_orders_max
        account.open_orders_max = min(open_orders_max or venue_max, venue_max)
    if qty_max is not None:
        guard.qty_max = qty_max
    if notional_max is not None:
        guard.notional_max = notional_max
    if orders_per_s is not None or orders_burst is not None:
        rate = guard.orders_per_s if orders_per_s is None else orders_per_s
        burst = guard.orders_burst if orders_burst is None else orders_burst
        guard.orders_per_s, guard.orders_burst = rate, burst
        guard.fill(exchange.moment.time_ns)


def account_event(account: Account) -> Event:
    """ACCOUNT_CHANGED: how an account stands now."""
    guard = account.guard
    limits = (0,) * 5
    if guard is not None:
        limits = (
            guard.open_orders_max,
            guard.qty_max,
            guard.notional_max,
            guard.orders_per_s,
            guard.orders_burst,
        )
    flags = (int(account.is_operator), int(account.enabled))
    return (ACCOUNT_CHANGED, 0, account.name, *flags, account.group_name, *limits)


def set_kill_switch(
    exchange: Exchange, session: Session, command: Command, events: list[Event]
) -> None:
    """SET_KILL_SWITCH."""
    code = 0
    if form_error(command) is not None:
        code = Reject.MALFORMED
    elif not session.account.is_operator:
        # An account may stop itself; only an operator lets it go on.
        if command[1] != session.account.name or not command[2]:
            code = Reject.NOT_AUTHORIZED
    elif command[1] and command[1] not in exchange.accounts:
        code = Reject.UNKNOWN_ACCOUNT
    if code:
        _refuse(command, code, events)
        return
    _, name, on = command
    if name:
        exchange.accounts[name].is_killed = bool(on)
    else:
        exchange.is_killed = bool(on)
    for account in exchange.accounts.values():
        account.block(venue_killed=exchange.is_killed)
    events.append((KILL_SWITCH_SET, 0, name, on))


def set_drop_copy(
    exchange: Exchange, session: Session, command: Command, events: list[Event]
) -> None:
    """SET_DROP_COPY: who else may read the own reports."""
    account, code = session.account, 0
    if form_error(command) is not None:
        code = Reject.MALFORMED
    elif command[1] not in exchange.accounts:
        code = Reject.UNKNOWN_ACCOUNT
    elif command[2] and command[1] not in account.readers:
        if len(account.readers) >= exchange.limits.drop_copies_max:
            code = Reject.TOO_MANY
    if code:
        _refuse(command, code, events)
        return
    _, reader, on = command
    if on:
        account.readers[reader] = None
    else:
        account.readers.pop(reader, None)
    events.append((DROP_COPY_SET, 0, account.name, reader, on))


def set_api_key(
    exchange: Exchange, session: Session, command: Command, events: list[Event]
) -> None:
    """SET_API_KEY. Keys are unique in the venue: a request names nothing else."""
    code = _api_key_reject(exchange, session.account, command)
    if code:
        _refuse(without_secret(command), code, events)
        return
    _, name, key, secret = command
    account = exchange.accounts[name]
    if secret:
        account.api_keys[key] = secret
        exchange.accounts_by_key[key] = account
    elif account.api_keys.pop(key, None) is not None:
        del exchange.accounts_by_key[key]
    events.append((API_KEY_SET, 0, name, key, int(bool(secret))))


def _api_key_reject(exchange: Exchange, asker: Account, command: Command) -> int:
    if form_error(command) is not None or not command[2]:
        return Reject.MALFORMED
    _, name, key, secret = command
    if name != asker.name and not asker.is_operator:
        return Reject.NOT_AUTHORIZED
    account = exchange.accounts.get(name)
    if account is None:
        return Reject.UNKNOWN_ACCOUNT
    if not secret or key in account.api_keys:
        return 0
    if key in exchange.accounts_by_key:
        return Reject.NOT_AUTHORIZED
    is_full = len(account.api_keys) >= exchange.limits.api_keys_max
    return Reject.TOO_MANY if is_full else 0


# -- money and days ------------------------------------------------------------------------------


def create_currency(
    exchange: Exchange, session: Session, command: Command, events: list[Event]
) -> None:
    """CREATE_CURRENCY."""
    code = _operator_reject(session.account, command)
    if not code:
        _, name, decimals = command
        if not name or not 0 <= decimals <= DECIMALS_MAX:
            code = Reject.MALFORMED
        elif name in exchange.money.decimals:
            code = Reject.CURRENCY_EXISTS
        elif len(exchange.money.decimals) >= exchange.limits.currencies_max:
            code = Reject.TOO_MANY
    if code:
        _refuse(command, code, events)
        return
    exchange.money.add_currency(command[1], command[2])
    events.append((CURRENCY_CREATED, 0, command[1], command[2]))


def deposit(exchange: Exchange, session: Session, command: Command, events: list[Event]) -> None:
    """DEPOSIT."""
    _transfer(exchange, session, command, 1, events)


def withdraw(exchange: Exchange, session: Session, command: Command, events: list[Event]) -> None:
    """WITHDRAW."""
    _transfer(exchange, session, command, -1, events)


def _transfer(
    exchange: Exchange, session: Session, command: Command, sign: int, events: list[Event]
) -> None:
    code = _operator_reject(session.account, command)
    code = code or _transfer_reject(exchange, command, sign)
    if code:
        _refuse(command, code, events)
        return
    _, name, currency, amount, transfer_id = command
    account = exchange.accounts[name]
    past = account.transfers.get(transfer_id)
    if past is not None:
        events.append((BALANCE_CHANGED, 0, name, *past, transfer_id, 1))
        return
    available = exchange.move_money(account, currency, sign * amount)
    if transfer_id:
        account.transfers[transfer_id] = (currency, sign * amount, available)
        if len(account.transfers) > exchange.limits.transfers_kept:
            del account.transfers[next(iter(account.transfers))]
    moved = (currency, sign * amount, available)
    events.append((BALANCE_CHANGED, 0, name, *moved, transfer_id, 0))


def _transfer_reject(exchange: Exchange, command: Command, sign: int) -> int:
    _, name, currency, amount, transfer_id = command
    account = exchange.accounts.get(name)
    if account is None:
        return Reject.UNKNOWN_ACCOUNT
    if currency not in exchange.money.decimals:
        return Reject.UNKNOWN_CURRENCY
    if amount <= 0:
        return Reject.BAD_AMOUNT
    if transfer_id in account.transfers:
        return 0
    if sign < 0:
        short = account.balance(currency).available < amount
        return Reject.INSUFFICIENT_FUNDS if short else 0
    return Reject.OVERFLOW if exchange.money.supply[currency] + amount > INT64_MAX else 0


def roll_day(exchange: Exchange, session: Session, command: Command, events: list[Event]) -> None:
    """ROLL_DAY: the first page of DAY orders expires at once."""
    code = _operator_reject(session.account, command)
    if code:
        _refuse(command, code, events)
        return
    events.append((DAY_ROLLED, 0, exchange.agenda.roll_day()))
    end_days(exchange, events)

"""The canonical value of the whole exchange, and the exchange made from such a value.

Owns what is state and in which order it is written: equal exchanges give equal values, whatever
way they came to be. A value is nested tuples of int, str, bytes and None, so that any codec can
carry it. Must not know codecs or files. What engine version 1 does not have is written and read by
`snapshot_parts.py`.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any, Final

from raftbook.core.accounts import Account
from raftbook.core.book import Book
from raftbook.core.events import Reply
from raftbook.core.exchange import Exchange, Genesis
from raftbook.core.instrument import PLAIN_TERMS, InstrumentTerms
from raftbook.core.ladder import Ladder, Order
from raftbook.core.sessions import Session
from raftbook.core.snapshot_parts import (
    export_account,
    export_agenda,
    export_balances,
    export_book,
    export_money,
    export_order,
    export_session,
    restore_account,
    restore_agenda,
    restore_book,
    restore_money,
    restore_order,
    restore_session,
)
from raftbook.core.validate import COMBINATIONS
from raftbook.core.versions import ENGINE_VERSION, EngineTooOld, newest_format

FORMATS: Final = {1: 1, 2: 2, 3: 4}
"""See `versions.newest_format`. A value of any format begins with it and the engine version.
Format 2 has a part more at the end of the whole, of each account, book, order and session; in
format 3 a mass cancel may name several sessions, each with the last order that is meant."""

StateValue = tuple[Any, ...]


def export_state(exchange: Exchange) -> StateValue:
    """The state as a value; O(state), and independent of the exchange afterwards."""
    form = newest_format(FORMATS, exchange.engine_version)
    value: StateValue = (
        form,
        exchange.engine_version,
        (exchange.moment.index, exchange.moment.time_ns),
        exchange.last_order_id,
        tuple(_export_account(account, form) for account in exchange.accounts.values()),
        tuple(_export_book(book, form) for book in exchange.books.values()),
        tuple(tuple(book.tape.trades()) for book in exchange.books.values()),
        exchange.sessions.last_session_id,
        tuple(_export_session(session, form) for session in exchange.sessions.by_id.values()),
        exchange.digest.export(),
    )
    if form > 1:
        value = (*value, (export_money(exchange), export_agenda(exchange)))
    return value


def state_digest(exchange: Exchange) -> str:
    """Digest of the market: 32 hexadecimal digits, O(state).

    Covers the engine version, accounts, instruments, orders, sessions, balances and the rolling
    digest; no time and no log position, so the same requests in the same order give the same digest
    in every run.
    """
    market: StateValue = (
        exchange.engine_version,
        exchange.last_order_id,
        tuple(_export_account(account, 1) for account in exchange.accounts.values()),
        tuple(_export_book(book, 1) for book in exchange.books.values()),
        tuple(
            (session.session_id, session.account.name, session.highest_seq)
            for session in exchange.sessions.by_id.values()
        ),
        exchange.digest.value(),
    )
    if exchange.engine_version > 1:
        balances = tuple(export_balances(account) for account in exchange.accounts.values())
        market = (*market, export_money(exchange), balances)
    return blake2b(ascii(market).encode(), digest_size=16).hexdigest()


def restore_state(genesis: Genesis, value: StateValue) -> Exchange:
    """An exchange that goes on exactly where the exported one stood.

    Raises:
        EngineTooOld: the value is of a newer build.
    """
    version, engine_version = value[:2]
    if version not in FORMATS or engine_version > ENGINE_VERSION:
        raise EngineTooOld(
            f"state of format {version}, engine version {engine_version}; this build reads format "
            f"{max(FORMATS)}, engine version {ENGINE_VERSION}: upgrade this node"
        )
    _, _, clock, last_order_id, accounts, books, trades, last_session_id, sessions, digest = value[
        :10
    ]
    exchange = Exchange(genesis)
    first = genesis.engine_version()
    assert engine_version >= first, f"state of engine version {engine_version}, born with {first}"
    exchange.moment.index, exchange.moment.time_ns = clock
    exchange.put_in_force(engine_version)
    exchange.last_order_id = last_order_id
    exchange.books.clear()
    exchange.accounts.clear()
    if version > 1:
        restore_money(exchange, value[10][0])
    for name, is_operator, *_ in accounts:
        exchange.add_account(name, is_operator=bool(is_operator))
    for book_value, book_trades in zip(books, trades, strict=True):
        _restore_book(exchange, book_value, book_trades)
    for name, _, closed, *rest in accounts:
        account = exchange.accounts[name]
        for order_value in closed:
            account.closed.append(_restore_order(exchange, order_value))
        for part in rest:
            restore_account(exchange, account, part)
        _sort_orders(account)
    exchange.sessions.last_session_id = last_session_id
    for session_value in sessions:
        _restore_session(exchange, session_value)
    if version > 1:
        restore_agenda(exchange, value[10][1])
    exchange.digest.restore(digest)
    return exchange


def _export_account(account: Account, form: int) -> StateValue:
    closed = tuple(_export_order(order, form) for order in account.closed)
    value: StateValue = (account.name, int(account.is_operator), closed)
    return value if form == 1 else (*value, export_account(account))


def _sort_orders(account: Account) -> None:
    """Have an account's orders in the order in which they were entered."""
    orders = account.orders
    account.orders = {order_id: orders[order_id] for order_id in sorted(orders)}


def _export_order(order: Order, form: int) -> StateValue:
    value: StateValue = (order.terms, order.leaves_qty, order.cum_qty, order.cum_notional)
    return value if form == 1 else (*value, *export_order(order))


def _export_book(book: Book, form: int) -> StateValue:
    terms = tuple(book.terms)
    value: StateValue = (
        terms[:PLAIN_TERMS] if form == 1 and book.terms.is_plain() else terms,
        book.phase,
        book.feed_seq,
        book.trade_id,
        book.last_price,
        _export_ladder(book.bids, form),
        _export_ladder(book.asks, form),
    )
    return value if form == 1 else (*value, export_book(book, _export_order))


def _export_ladder(ladder: Ladder, form: int) -> StateValue:
    return tuple(_export_order(order, form) for level in ladder for order in level)


def _export_session(session: Session, form: int) -> StateValue:
    replies = sorted((reply[1:] for reply in session.replies.values()), key=_seq)
    value: StateValue = (
        session.session_id,
        session.account.name,
        session.key,
        session.highest_seq,
        session.last_time_ns,
        tuple((seq, index, offset, tuple(events)) for seq, index, offset, events, _ in replies),
    )
    return value if form == 1 else (*value, export_session(session))


def _seq(reply: StateValue) -> int:
    return int(reply[0])


def _restore_order(exchange: Exchange, value: StateValue) -> Order:
    """Rebuild an order and make it known by its ids."""
    terms, leaves_qty, cum_qty, cum_notional = value[:4]
    account, book = exchange.accounts[terms[1]], exchange.books[terms[3]]
    # Names and the kind are those that all orders share, as of orders that were entered here.
    kind = COMBINATIONS.get(terms[4], terms[4])
    order_id, client_order_id = terms[0], terms[2]
    shared = (order_id, account.name, client_order_id, book.symbol, kind, terms[5], terms[6])
    order = Order(
        account, book, shared if len(terms) == 7 else (*shared, *terms[7:]), leaves_qty, 0, 0
    )
    order.cum_qty, order.cum_notional = cum_qty, int(cum_notional)
    if len(value) > 4:
        restore_order(order, value)
    account.orders[order_id] = order
    if client_order_id:
        account.by_client_order_id[client_order_id] = order
    return order


def _restore_book(exchange: Exchange, value: StateValue, trades: StateValue) -> None:
    terms, phase, feed_seq, trade_id, last_price, bids, asks, *rest = value
    book = exchange.add_book(InstrumentTerms(*terms))
    book.phase = phase
    book.feed_seq = feed_seq
    book.trade_id = trade_id
    book.last_price = last_price
    for ladder, orders in ((book.bids, bids), (book.asks, asks)):
        for order_value in orders:
            order = _restore_order(exchange, order_value)
            order.account.open_count += 1
            ladder.append(order, order.terms[6])
        book.resting_count += len(orders)
    book.tape.restore([tuple(trade) for trade in trades], ((), (), ()))
    for part in rest:
        restore_book(exchange, book, part, _restore_order)
    book.judge()


def _restore_session(exchange: Exchange, value: StateValue) -> None:
    session_id, name, key, highest_seq, last_time_ns, replies, *rest = value
    session = Session(session_id, exchange.accounts[name], key)
    session.highest_seq = highest_seq
    session.last_time_ns = last_time_ns
    for seq, index, offset, events in replies:
        reply: Reply = (session_id, seq, index, offset, list(events), 0)
        session.replies[seq % exchange.sessions.window] = reply
    for part in rest:
        restore_session(session, part)
    exchange.sessions.add(session)

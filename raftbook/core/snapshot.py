"""The canonical value of the whole exchange, and the exchange made from such a value.

Owns what is state and in which order it is written: equal exchanges give equal values, whatever
way they came to be. A value is nested tuples of int, str, bytes and None, so that any codec can
carry it. Must not know codecs or files.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any, Final

from raftbook.core.accounts import Account
from raftbook.core.book import Book
from raftbook.core.events import Reply
from raftbook.core.exchange import Exchange, Genesis
from raftbook.core.instrument import InstrumentTerms
from raftbook.core.ladder import Ladder, Order
from raftbook.core.sessions import Session
from raftbook.core.validate import COMBINATIONS
from raftbook.core.versions import ENGINE_VERSION, EngineTooOld, newest_format

FORMATS: Final = {1: 1}
"""See `versions.newest_format`. A value of any format begins with it and the engine version."""

StateValue = tuple[Any, ...]


def export_state(exchange: Exchange) -> StateValue:
    """The state as a value; O(state), and independent of the exchange afterwards."""
    return (
        newest_format(FORMATS, exchange.engine_version),
        exchange.engine_version,
        (exchange.moment.index, exchange.moment.time_ns),
        exchange.last_order_id,
        tuple(_export_account(account) for account in exchange.accounts.values()),
        tuple(_export_book(book) for book in exchange.books.values()),
        tuple(tuple(book.trades) for book in exchange.books.values()),
        exchange.sessions.last_session_id,
        tuple(_export_session(session) for session in exchange.sessions.by_id.values()),
        exchange.digest.export(),
    )


def state_digest(exchange: Exchange) -> str:
    """Digest of the market: 32 hexadecimal digits, O(state).

    Covers the engine version, accounts, instruments, orders, sessions and the rolling digest; no
    time and no log position, so the same requests in the same order give the same digest in every
    run.
    """
    market = (
        exchange.engine_version,
        exchange.last_order_id,
        tuple(_export_account(account) for account in exchange.accounts.values()),
        tuple(_export_book(book) for book in exchange.books.values()),
        tuple(
            (session.session_id, session.account.name, session.highest_seq)
            for session in exchange.sessions.by_id.values()
        ),
        exchange.digest.value(),
    )
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
    _, _, clock, last_order_id, accounts, books, trades, last_session_id, sessions, digest = value
    exchange = Exchange(genesis)
    exchange.engine_version = engine_version
    exchange.moment.index, exchange.moment.time_ns = clock
    exchange.last_order_id = last_order_id
    exchange.books.clear()
    exchange.accounts.clear()
    for name, is_operator, _ in accounts:
        exchange.add_account(name, is_operator=bool(is_operator))
    for book_value, book_trades in zip(books, trades, strict=True):
        book = _restore_book(exchange, book_value)
        book.trades.extend(tuple(trade) for trade in book_trades)
    for name, _, closed in accounts:
        account = exchange.accounts[name]
        for order_value in closed:
            account.closed.append(_restore_order(exchange, order_value))
    exchange.sessions.last_session_id = last_session_id
    for session_value in sessions:
        _restore_session(exchange, session_value)
    exchange.digest.restore(digest)
    return exchange


def _export_account(account: Account) -> StateValue:
    closed = tuple(_export_order(order) for order in account.closed)
    return (account.name, int(account.is_operator), closed)


def _export_order(order: Order) -> StateValue:
    return (order.terms, order.leaves_qty, order.cum_qty, order.cum_notional)


def _export_book(book: Book) -> StateValue:
    return (
        tuple(book.terms),
        book.phase,
        book.feed_seq,
        book.trade_id,
        book.last_price,
        _export_ladder(book.bids),
        _export_ladder(book.asks),
    )


def _export_ladder(ladder: Ladder) -> StateValue:
    return tuple(_export_order(order) for level in ladder for order in level)


def _export_session(session: Session) -> StateValue:
    replies = sorted((reply[1:] for reply in session.replies.values()), key=_seq)
    return (
        session.session_id,
        session.account.name,
        session.key,
        session.highest_seq,
        session.last_time_ns,
        tuple((seq, index, offset, tuple(events)) for seq, index, offset, events, _ in replies),
    )


def _seq(reply: StateValue) -> int:
    return int(reply[0])


def _restore_order(exchange: Exchange, value: StateValue) -> Order:
    """Rebuild an order and make it known by its ids."""
    terms, leaves_qty, cum_qty, cum_notional = value
    # One shared kind tuple per sort of order, as for orders that were entered here.
    terms = (*terms[:4], COMBINATIONS[terms[4]], *terms[5:])
    account = exchange.accounts[terms[1]]
    order = Order(account, exchange.books[terms[3]], terms, leaves_qty)
    order.cum_qty = cum_qty
    order.cum_notional = cum_notional
    exchange.orders[terms[0]] = order
    if terms[2]:
        account.by_client_order_id[terms[2]] = order
    return order


def _restore_book(exchange: Exchange, value: StateValue) -> Book:
    terms, phase, feed_seq, trade_id, last_price, bids, asks = value
    book = Book(InstrumentTerms(*terms), exchange.limits, exchange.moment)
    exchange.books[book.symbol] = book
    book.phase = phase
    book.feed_seq = feed_seq
    book.trade_id = trade_id
    book.last_price = last_price
    for ladder, orders in ((book.bids, bids), (book.asks, asks)):
        for order_value in orders:
            order = _restore_order(exchange, order_value)
            order.account.open_count += 1
            ladder.append(order, order.terms[6])
            book.resting_count += 1
    return book


def _restore_session(exchange: Exchange, value: StateValue) -> None:
    session_id, name, key, highest_seq, last_time_ns, replies = value
    session = Session(session_id, exchange.accounts[name], key)
    session.highest_seq = highest_seq
    session.last_time_ns = last_time_ns
    for seq, index, offset, events in replies:
        reply: Reply = (session_id, seq, index, offset, list(events), 0)
        session.replies[seq % exchange.sessions.window] = reply
    exchange.sessions.add(session)

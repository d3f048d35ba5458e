"""What engine version 2 added to the state, as values: the last part of each value of format 2.

Owns what of it is state and its order. Balances are written as text, since no rule keeps them
within 64 bits. A codec may do the same with any number that is too large for it, so whatever can
grow or reach beyond 64 bits is read as `int(it)`: sums over orders, and prices that trail. The
links between orders (pairs, stops, expiries) are made again from what the orders say of themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from raftbook.core.accounts import Account, Balance, Guard
from raftbook.core.agenda import MassCancel
from raftbook.core.auction import Clearing, Uncrossing
from raftbook.core.book import Book
from raftbook.core.call import CALLS, left_at_auction
from raftbook.core.candles import WIDTHS_NS
from raftbook.core.conditions import TRIGGERED_TYPES, is_hidden, working_order_id
from raftbook.core.exchange import Exchange
from raftbook.core.ladder import Order, Special
from raftbook.core.pegs import Pegs, recall
from raftbook.core.sessions import Session
from raftbook.core.stops import Stops
from raftbook.core.types import TimeInForce

Value = tuple[Any, ...]
_DAY: Final = int(TimeInForce.DAY)
_AT_AUCTION: Final = int(TimeInForce.AT_AUCTION)


# -- orders --------------------------------------------------------------------------------------


def export_order(order: Order) -> Value:
    """(session_id, entered_ns, closed_ns, held, fee_units, special or None)"""
    special = order.special
    part: Value | None = None
    if special is not None:
        part = (
            special.display_qty,
            special.shown_qty if order.leaves_qty else 0,
            special.stop_price if order.leaves_qty else None,
            special.best_price,
            special.arrival,
        )
        if special.is_pegged:
            part = (*part, special.wanted if order.leaves_qty else None)
    stamps = (order.session_id, order.entered_ns, order.closed_ns)
    return (*stamps, order.held, order.fee_units, part)


def restore_order(order: Order, value: Value) -> None:
    """Set on an order what `export_order` told, which stands behind the four parts of format 1."""
    _, _, _, _, order.session_id, order.entered_ns, closed_ns, held, fee_units, part = value
    order.closed_ns, order.held, order.fee_units = closed_ns, int(held), int(fee_units)
    if part is not None:
        order.special = special = Special(part[0])
        special.is_hidden = is_hidden(order.terms)
        _, special.shown_qty, stop_price, special.best_price, special.arrival, *peg = part
        special.stop_price = None if stop_price is None else int(stop_price)
        for wanted in peg:
            special.is_pegged, special.wanted = True, wanted


# -- accounts ------------------------------------------------------------------------------------


def export_account(account: Account) -> Value:
    """(enabled, killed, group, guard or None, balances, transfers, readers, API keys)"""
    guard = account.guard
    limits: Value | None = None
    if guard is not None:
        limits = (
            guard.open_orders_max,
            guard.qty_max,
            guard.notional_max,
            guard.orders_per_s,
            guard.orders_burst,
            guard.tokens,
            guard.refilled_ns,
        )
    return (
        int(account.enabled),
        int(account.is_killed),
        account.group_name,
        limits,
        export_balances(account),
        tuple((key, *moved) for key, moved in account.transfers.items()),
        tuple(account.readers),
        tuple(account.api_keys.items()),
    )


def export_balances(account: Account) -> Value:
    """(currency, available, held) of each, by name; what is nothing is left out."""
    return tuple(
        (currency, str(balance.available), str(balance.held))
        for currency, balance in sorted(account.balances.items())
        if balance.available or balance.held
    )


def restore_account(exchange: Exchange, account: Account, value: Value) -> None:
    """Set on an account what `export_account` told, after its orders are known."""
    enabled, is_killed, group, limits, balances, transfers, readers, api_keys = value
    account.enabled, account.is_killed = bool(enabled), bool(is_killed)
    exchange.set_group(account, group)
    account.block(venue_killed=exchange.is_killed)
    if limits is not None:
        account.guard = guard = Guard()
        account.is_odd = True
        guard.open_orders_max, guard.qty_max, guard.notional_max = limits[:3]
        guard.orders_per_s, guard.orders_burst, guard.tokens, guard.refilled_ns = limits[3:]
        if guard.open_orders_max:
            account.open_orders_max = min(guard.open_orders_max, account.open_orders_max)
    for currency, available, held in balances:
        balance = account.balances[currency] = Balance()
        balance.available, balance.held = int(available), int(held)
    for key, currency, amount, available in transfers:
        account.transfers[key] = (currency, amount, int(available))
    account.readers = dict.fromkeys(readers)
    for key, secret in api_keys:
        account.api_keys[key] = secret
        exchange.accounts_by_key[key] = account


# -- books ---------------------------------------------------------------------------------------


def export_book(book: Book, order_value: Callable[[Order, int], Value]) -> Value:
    """(waiting orders, arrivals, price seen by trailing stops, market orders for the auction,
    limit orders for it, whether one is owed, end of call, phase then, busted trades, candles,
    pegged orders that wait, the auction under way or None, and where there are pending orders, them
    and the ids of those that are due)"""
    waiting: list[Order] = []
    arrivals, seen = 0, None
    if book.stops is not None:
        waiting = sorted(book.stops, key=_arrival)
        for order in waiting:
            if order.special is not None:
                book.stops.catch_up(order, order.special)
        arrivals = book.stops.arrivals
        seen = book.stops.seen_price if arrivals else None  # nothing has trailed yet
    market = [order for order in book.at_auction.values() if order.terms[6] is None]
    limit = [order for order in book.at_auction.values() if order.terms[6] is not None]
    value: Value = (
        tuple(order_value(order, 2) for order in waiting),
        arrivals,
        seen,
        tuple(order_value(order, 2) for order in market),
        tuple((order.account.name, order.terms[0]) for order in limit if order.leaves_qty),
        int(book.owes_auction),
        book.call_until_ns,
        book.call_then,
        tuple(book.busted),
        tuple(tuple(candle.row() for candle in book.tape.candles(each)) for each in WIDTHS_NS),
        tuple(
            order_value(order, 2)
            for order in (() if book.pegs is None else book.pegs.by_id.values())
            if order.level is None
        ),
        None if book.uncrossing is None else _export_auction(book.uncrossing),
    )
    if book.stops is None or not book.stops.pending:
        return value
    pending = sorted(book.stops.pending.values(), key=_order_id)
    return (*value, (tuple(order_value(each, 2) for each in pending), tuple(book.stops.due)))


def _export_auction(auction: Uncrossing) -> Value:
    found = None if auction.found is None else tuple(auction.found)
    return (found, auction.left, int(auction.is_told))


def _arrival(order: Order) -> int:
    assert order.special is not None, f"order {order.terms[0]} waits without a trigger"
    return order.special.arrival


def restore_book(
    exchange: Exchange, book: Book, value: Value, order_of: Callable[[Exchange, Value], Order]
) -> None:
    """Set on a book what `export_book` told, after its resting orders are known."""
    waiting, arrivals, seen, market, limit, owes, until_ns, then, busted, candles, *more = value
    book.owes_auction = bool(owes)
    book.is_call = book.phase in CALLS
    if waiting or arrivals:
        book.stops = stops = Stops()
        stops.arrivals, stops.seen_price = arrivals, seen
        for order_value in waiting:
            order = order_of(exchange, order_value)
            order.account.open_count += 1
            assert order.special is not None, f"order {order.terms[0]} waits without a trigger"
            stops.put(order, order.special)
        exchange.agenda.is_quoted = exchange.agenda.is_quoted or bool(stops.by_quotes)
    for order_value in market:
        order = order_of(exchange, order_value)
        order.account.open_count += 1
        book.at_auction[order.terms[0]] = order
    for name, order_id in limit:
        book.at_auction[order_id] = exchange.accounts[name].orders[order_id]
    book.call_until_ns, book.call_then = until_ns, then
    if until_ns:
        exchange.agenda.calls[book.symbol] = until_ns
    book.busted = dict.fromkeys(busted)
    book.tape.restore([], candles)
    if more:
        pegs, auction, *pending = more
        _restore_pegs(exchange, book, [order_of(exchange, each) for each in pegs])
        if auction is not None:
            _restore_auction(book, auction)
        for orders, due in pending:
            stops = book.waiting_room()
            for order in [order_of(exchange, each) for each in orders]:
                order.account.open_count += 1
                stops.pending[order.terms[0]] = order
            stops.due.update((order_id, stops.pending[order_id]) for order_id in due)


def _restore_auction(book: Book, value: Value) -> None:
    """Go on with an auction, once all orders are known."""
    found, left, is_told = value
    clearing = None if found is None else Clearing(found[0], int(found[1]), int(found[2]))
    book.uncrossing = auction = Uncrossing(clearing)
    auction.left, auction.is_told = int(left), bool(is_told)
    if is_told:
        auction.ending = left_at_auction(book)


def _restore_pegs(exchange: Exchange, book: Book, waiting: list[Order]) -> None:
    """Know the pegged orders, those that wait and those that stand in the book."""
    for order in waiting:
        order.account.open_count += 1
    levels = [level for ladder in (book.bids, book.asks) for level in ladder if level.unquoted]
    orders = [order for level in levels for order in level]
    pegged = [each for each in orders if each.special is not None and each.special.is_pegged]
    if not waiting and not pegged:
        return
    exchange.agenda.is_pegged = True
    book.pegs = Pegs()
    for order in sorted((*waiting, *pegged), key=_order_id):
        book.pegs.add(order)


# -- sessions, money, agenda ---------------------------------------------------------------------


def export_session(session: Session) -> Value:
    """(epoch, cancels, lease_ns, renewed_ns)"""
    return (session.epoch, int(session.cancels), session.lease_ns, session.renewed_ns)


def restore_session(session: Session, value: Value) -> None:
    """Set on a session what `export_session` told."""
    session.epoch, cancels, session.lease_ns, session.renewed_ns = value
    session.cancels = bool(cancels)


def export_money(exchange: Exchange) -> Value:
    """(venue killed, currencies with what they have in fees and in all)"""
    money = exchange.money
    return (
        int(exchange.is_killed),
        tuple(
            (name, decimals, str(money.fees[name]), str(money.supply[name]))
            for name, decimals in money.decimals.items()
        ),
    )


def restore_money(exchange: Exchange, value: Value) -> None:
    """Know the currencies, before any instrument is."""
    is_killed, currencies = value
    exchange.is_killed = bool(is_killed)
    money = exchange.money
    money.decimals.clear()
    money.fees.clear()
    money.supply.clear()
    for name, decimals, fees, supply in currencies:
        money.add_currency(name, decimals)
        money.fees[name], money.supply[name] = int(fees), int(supply)


def export_agenda(exchange: Exchange) -> Value:
    """(day, orders of ended days, mass cancels; instruments in which stops, pegged orders, an
    auction go on with the next entry)"""
    agenda = exchange.agenda
    ended = [order for order in agenda.ended_day if order.leaves_qty]
    return (
        agenda.day,
        tuple((order.account.name, order.terms[0]) for order in ended),
        tuple(_export_job(job) for job in agenda.mass_cancels),
        tuple(agenda.stopped),
        tuple(agenda.following),
        tuple(agenda.uncrossing),
    )


def _export_job(job: MassCancel) -> Value:
    names = (job.account, job.reason, tuple(job.names), job.last_order_id)
    sessions = tuple(job.sessions.items()) or job.session_id
    criteria = (sessions, job.symbol, job.side, job.price_low, job.price_high)
    return (*names, job.current, tuple(job.ids), *criteria)


def restore_agenda(exchange: Exchange, value: Value) -> None:
    """What is due, made from the orders and sessions that are known by now."""
    agenda = exchange.agenda
    agenda.day, ended, jobs, stopped, *more = value
    agenda.ended_day = [exchange.accounts[name].orders[order_id] for name, order_id in ended]
    past = {order_id for _, order_id in ended}
    for account in exchange.accounts.values():
        for order in account.orders.values():
            if order.leaves_qty and (len(order.terms) > 7 or order.terms[4][2] == _DAY):
                _restore_links(exchange, order, is_past=order.terms[0] in past)
    agenda.day_orders.sort(key=_order_id)
    for account_name, reason, names, last_order_id, current, ids, *criteria in jobs:
        job = MassCancel(account_name, reason, list(names), last_order_id)
        job.current, job.ids = current, list(ids)
        sessions, job.symbol, job.side, job.price_low, job.price_high = criteria
        if type(sessions) is int:
            job.session_id = sessions
        else:
            job.sessions = dict(sessions)
        agenda.add_mass_cancel(job)
    agenda.stopped = dict.fromkeys(stopped)
    if more:
        following, uncrossing = more
        agenda.following, agenda.uncrossing = dict.fromkeys(following), dict.fromkeys(uncrossing)
    for book in exchange.books.values():
        if book.pegs is not None:
            recall(book, book.pegs)
    for session in exchange.sessions.by_id.values():
        if session.lease_ns:
            agenda.leases[session.session_id] = session.lease_end_ns()
    agenda.plan(exchange.moment.time_ns)


def _order_id(order: Order) -> int:
    return int(order.terms[0])


def _restore_links(exchange: Exchange, order: Order, *, is_past: bool) -> None:
    """What an open order is part of: a pair, an OTO, a day, a list of expiries."""
    terms = order.terms
    if terms[4][2] == _DAY and not is_past:
        exchange.agenda.add_day_order(order)
    if len(terms) < 8:
        return
    conditions = terms[7]
    if conditions[5]:
        exchange.agenda.expire_at(order, conditions[5])
    sibling = order.account.orders.get(conditions[7]) if conditions[7] else None
    if sibling is not None and sibling.leaves_qty and order.special is not None:
        order.special.sibling = sibling
    book = order.book
    working_id = working_order_id(terms)
    if working_id and conditions[7] and order.special is not None:
        order.special.holds_later = terms[4][1] in TRIGGERED_TYPES and (
            book.pends(order) or book.waits(order)
        )
    if book.pends(order) and book.stops is not None and terms[0] not in book.stops.due:
        working = order.account.orders[working_id].special
        assert working is not None, f"order {working_id} triggers nothing"
        working.pending = (*working.pending, order)

"""`check(exchange)`: everything that must hold between any two entries, asserted.

Owns the definition of a sound exchange. O(state): for tests, tools and a suspicious operator, not
for the hot path. Reads private structure on purpose; changes nothing.
"""

from raftbook.core.accounts import Account
from raftbook.core.book import Book
from raftbook.core.exchange import Exchange
from raftbook.core.ladder import Ladder, Level, Order
from raftbook.core.types import Side, TimeInForce


def check(exchange: Exchange) -> None:
    """Assert that books, accounts, orders and sessions are sound and agree with each other.

    Raises:
        AssertionError: with both values, when they do not.
    """
    resting: dict[int, Order] = {}
    for symbol, book in exchange.books.items():
        assert symbol == book.symbol, f"book {book.symbol} stands under {symbol}"
        for order in _check_book(book):
            resting[order.terms[0]] = order
    remembered: dict[int, Order] = {}
    for account in exchange.accounts.values():
        own = [order for order in resting.values() if order.account is account]
        _check_account(account, own, exchange.limits.closed_orders_max)
        remembered.update((order.terms[0], order) for order in account.closed)
    known = {**resting, **remembered}
    assert known.keys() == exchange.orders.keys(), (
        f"orders known {sorted(exchange.orders)}, found {sorted(known)}"
    )
    assert max(known, default=0) <= exchange.last_order_id, "an order id beyond the counter"
    _check_sessions(exchange)


def _check_book(book: Book) -> list[Order]:
    orders = [
        *_check_ladder(book, book.bids, Side.BUY),
        *_check_ladder(book, book.asks, Side.SELL),
    ]
    bid, ask = book.bids.best, book.asks.best
    if bid is not None and ask is not None:
        assert bid.price < ask.price, f"{book.symbol} crossed: {bid.price} >= {ask.price}"
    assert book.resting_count == len(orders), f"{book.resting_count} counted, {len(orders)} rest"
    assert 0 <= len(book.trades) <= book.trade_id, f"{len(book.trades)} of {book.trade_id} trades"
    return orders


def _check_ladder(book: Book, ladder: Ladder, side: Side) -> list[Order]:
    ladder.check()
    orders: list[Order] = []
    for level in ladder:
        orders += _check_level(level)
    for order in orders:
        terms = order.terms
        assert terms[4][0] == side, f"order {terms[0]} rests on the wrong side"
        assert terms[4][2] == TimeInForce.GTC, f"order {terms[0]} may not rest"
        assert order.book is book, f"order {terms[0]} rests in another book"
        assert order.level is not None and order.level.price == terms[6], (
            f"order {terms[0]} at {terms[6]} stands in another level"
        )
    return orders


def _check_level(level: Level) -> list[Order]:
    orders = list(level)
    assert orders, f"level {level.price} stands empty"
    assert level.count == len(orders), f"level {level.price}: {level.count} != {len(orders)}"
    total = sum(order.leaves_qty for order in orders)
    assert level.qty == total, f"level {level.price}: qty {level.qty} != {total}"
    assert level.newest is orders[-1], f"level {level.price}: newest is not the last"
    older = None
    for order in orders:
        assert order.leaves_qty > 0, f"order {order.terms[0]} rests with {order.leaves_qty}"
        assert order.cum_qty + order.leaves_qty <= order.terms[5], f"order {order.terms[0]} grew"
        assert order.level is level and order.older is older, f"order {order.terms[0]} mislinked"
        older = order
    return orders


def _check_account(account: Account, resting: list[Order], closed_orders_max: int) -> None:
    assert account.open_count == len(resting), (
        f"{account.name}: {account.open_count} open counted, {len(resting)} rest"
    )
    assert len(account.closed) <= closed_orders_max, f"{account.name} remembers too much"
    assert all(order.leaves_qty == 0 and order.level is None for order in account.closed), (
        f"{account.name}: a remembered closed order is open"
    )
    named = {order.terms[2]: order for order in (*resting, *account.closed) if order.terms[2]}
    assert named == account.by_client_order_id, f"{account.name}: client ids differ"


def _check_sessions(exchange: Exchange) -> None:
    table = exchange.sessions
    assert len(table.by_id) <= table.limits.sessions_max, f"{len(table.by_id)} sessions"
    counts: dict[str, int] = {}
    for session in table.by_id.values():
        name = session.account.name
        counts[name] = counts.get(name, 0) + 1
        assert 0 < session.session_id <= table.last_session_id, f"session {session.session_id}"
        assert len(session.replies) <= table.window, f"{len(session.replies)} replies kept"
        for reply in session.replies.values():
            assert reply[1] <= session.highest_seq, f"reply {reply} from beyond"
    assert counts == table.count_by_account, f"{counts} != {table.count_by_account}"
    keyed = {(s.account.name, s.key): s for s in table.by_id.values() if s.key}
    assert keyed == table.by_key, "sessions by key differ"

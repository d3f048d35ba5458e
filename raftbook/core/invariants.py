"""`check(exchange)`: everything that must hold between any two entries, asserted.

Owns the definition of a sound exchange. O(state): for tests, tools and a suspicious operator, not
for the hot path. Reads private structure on purpose; changes nothing.
"""

from raftbook.core.accounts import Account
from raftbook.core.book import Book
from raftbook.core.conditions import (
    RESTING_TIMES,
    TRIGGERED_TYPES,
    is_hidden,
    is_linked,
    working_order_id,
)
from raftbook.core.exchange import Exchange
from raftbook.core.ladder import Ladder, Level, Order, is_unquoted
from raftbook.core.pegs import reference
from raftbook.core.types import Settlement, Side, TimeInForce


def check(exchange: Exchange) -> None:
    """Assert that books, accounts, orders, money and sessions are sound and agree with each other.

    Raises:
        AssertionError: with both values, when they do not.
    """
    open_orders: dict[int, Order] = {}
    for symbol, book in exchange.books.items():
        assert symbol == book.symbol, f"book {book.symbol} stands under {symbol}"
        for order in (*_check_book(book), *_check_apart(book)):
            assert order.terms[0] not in open_orders, f"order {order.terms[0]} stands twice"
            open_orders[order.terms[0]] = order
    for account in exchange.accounts.values():
        own = [order for order in open_orders.values() if order.account is account]
        _check_account(account, own, exchange.limits.closed_orders_max)
        newest = max(account.orders, default=0)
        assert newest <= exchange.last_order_id, "an order id beyond the counter"
    for order in open_orders.values():
        _check_order(exchange, order)
    under_way = {each.symbol for each in exchange.books.values() if each.uncrossing is not None}
    assert set(exchange.agenda.uncrossing) == under_way, f"{under_way} are not all that go on"
    _check_money(exchange, open_orders)
    _check_sessions(exchange)


def _check_order(exchange: Exchange, order: Order) -> None:
    terms, special = order.terms, order.special
    if len(terms) > 8:
        pegs = order.book.pegs
        assert pegs is not None and pegs.by_id.get(terms[0]) is order, f"{terms[0]} has no peg"
    assert terms[4][2] != TimeInForce.AT_AUCTION or terms[0] in order.book.at_auction, (
        f"order {terms[0]} is for the auction and does not gather"
    )
    if special is not None and special.sibling is not None:
        sibling = special.sibling
        assert sibling.special is not None and sibling.special.sibling is order, (
            f"order {terms[0]} is half a pair"
        )
        assert sibling.leaves_qty, f"order {terms[0]} is paired with a closed one"
    if order.book.stops is not None and order.book.pends(order):
        working = order.account.orders.get(working_order_id(terms))
        is_due = terms[0] in order.book.stops.due
        pending = () if working is None or working.special is None else working.special.pending
        assert (order in pending) != is_due, f"order {terms[0]} is pending on {working}"
        assert is_due or (working is not None and working.leaves_qty), f"{terms[0]} waits in vain"
    if terms[4][2] == TimeInForce.DAY:
        agenda = exchange.agenda
        assert order in agenda.day_orders or order in agenda.ended_day, f"{terms[0]} has no day"
    if len(terms) > 7 and terms[7][5]:
        entry = (terms[7][5], terms[0], order)
        assert entry in exchange.agenda.expiries, f"order {terms[0]} never expires"


def _check_money(exchange: Exchange, open_orders: dict[int, Order]) -> None:
    money = exchange.money
    held: dict[tuple[str, str], int] = {}
    for order in open_orders.values():
        assert order.held >= 0, f"order {order.terms[0]} holds {order.held}"
        terms = order.book.terms
        currency = terms.quote if order.terms[4][0] == Side.BUY else terms.base
        key = (order.account.name, currency)
        held[key] = held.get(key, 0) + order.held
        assert order.book.ledger is not None or not order.held, f"{order.terms[0]} holds money"
    total = dict.fromkeys(money.decimals, 0)
    for account in exchange.accounts.values():
        assert all(not order.held for order in account.closed), f"{account.name}: closed and held"
        for currency, balance in account.balances.items():
            total[currency] += balance.available + balance.held
            wanted = held.get((account.name, currency), 0)
            assert balance.held == wanted, f"{account.name} {currency}: {balance.held} != {wanted}"
    for currency, amount in total.items():
        kept, supply = amount + money.fees[currency], money.supply[currency]
        assert kept == supply, f"{currency}: balances and fees are {kept}, deposits {supply}"


def _check_apart(book: Book) -> list[Order]:
    """The open orders that the market does not see."""
    apart = [order for order in book.at_auction.values() if order.terms[6] is None]
    assert all(order.leaves_qty for order in apart), f"{book.symbol}: a closed order gathers"
    if book.stops is not None:
        book.stops.check()
        prices = (book.last_price, reference(book.bids), reference(book.asks))
        fires = bool(book.stops.reached(*prices))
        assert book.stops.is_reached(*prices) == fires, f"{prices} reach stops of {book.symbol}?"
        apart += book.stops
        apart += book.stops.pending.values()
        wrong = [each for each in book.stops if each.terms[4][1] not in TRIGGERED_TYPES]
        assert not wrong, f"{wrong} wait for nothing"
    if book.pegs is not None:
        book.pegs.check()
        if book.is_trading and book.pegs.by_id and book.symbol not in book.agenda.following:
            best = (reference(book.bids), reference(book.asks))
            is_seen = book.pegs.is_current and best == (book.pegs.bid, book.pegs.ask)
            assert is_seen, f"{book.symbol}: a look was left out"
        apart += [order for order in book.pegs.by_id.values() if order.level is None]
        standing = [order for order in book.pegs.by_id.values() if order.level is not None]
        assert not standing or book.is_trading, f"{book.symbol}: a peg is not parked"
    assert book.ledger is None or book.terms.settlement != Settlement.NONE, "a ledger too many"
    return apart


def _check_book(book: Book) -> list[Order]:
    orders = [
        *_check_ladder(book, book.bids, Side.BUY),
        *_check_ladder(book, book.asks, Side.SELL),
    ]
    bid, ask = book.bids.best, book.asks.best
    if bid is not None and ask is not None and book.is_trading:
        assert bid.price < ask.price, f"{book.symbol} crossed: {bid.price} >= {ask.price}"
    assert book.resting_count == len(orders), f"{book.resting_count} counted, {len(orders)} rest"
    trades = book.tape.trades()
    assert 0 <= len(trades) <= book.trade_id, f"{len(trades)} of {book.trade_id} trades"
    return orders


def _check_ladder(book: Book, ladder: Ladder, side: Side) -> list[Order]:
    ladder.check()
    orders: list[Order] = []
    for level in ladder:
        orders += _check_level(level)
    hidden = sum(level.hidden for level in ladder)
    assert ladder.hidden == hidden, f"{book.symbol}: {ladder.hidden} hidden counted, {hidden} stand"
    for order in orders:
        terms = order.terms
        assert terms[4][0] == side, f"order {terms[0]} rests on the wrong side"
        assert terms[4][2] in (*RESTING_TIMES, TimeInForce.AT_AUCTION), f"{terms[0]} may not rest"
        assert order.book is book, f"order {terms[0]} rests in another book"
        assert order.level is not None and order.level.price == terms[6], (
            f"order {terms[0]} at {terms[6]} stands in another level"
        )
    return orders


def _check_level(level: Level) -> list[Order]:
    orders = list(level)
    assert orders, f"level {level.price} stands empty"
    assert level.count == len(orders), f"level {level.price}: {level.count} != {len(orders)}"
    total = sum(order.shown_qty() for order in orders)
    icebergs = sum(order.special is not None and order.special.display_qty > 0 for order in orders)
    assert level.icebergs == icebergs, f"level {level.price}: {level.icebergs} != {icebergs}"
    linked = sum(is_linked(order.terms) for order in orders)
    assert level.linked == linked, f"level {level.price}: {level.linked} linked, not {linked}"
    hidden = [is_hidden(order.terms) for order in orders]
    assert hidden == sorted(hidden), f"level {level.price}: something hidden stands before others"
    assert level.hidden == sum(hidden), f"level {level.price}: {level.hidden} != {sum(hidden)}"
    first = next((order for order in orders if is_hidden(order.terms)), None)
    assert level.first_hidden is first, f"level {level.price}: {first} is its first hidden order"
    unquoted = sum(map(is_unquoted, orders))
    assert level.unquoted == unquoted, f"level {level.price}: {level.unquoted} != {unquoted}"
    assert level.qty == total, f"level {level.price}: qty {level.qty} != {total}"
    assert level.newest is orders[-1], f"level {level.price}: newest is not the last"
    older = None
    for order in orders:
        assert order.leaves_qty > 0, f"order {order.terms[0]} rests with {order.leaves_qty}"
        assert order.cum_qty + order.leaves_qty <= order.terms[5], f"order {order.terms[0]} grew"
        assert 0 < order.offered_qty() <= order.leaves_qty, f"order {order.terms[0]} offers nothing"
        is_seen = order.shown_qty() > 0
        assert is_seen != is_hidden(order.terms), f"order {order.terms[0]} shows itself, or not"
        assert order.level is level and order.older is older, f"order {order.terms[0]} mislinked"
        older = order
    return orders


def _check_account(account: Account, resting: list[Order], closed_orders_max: int) -> None:
    assert account.open_count == len(resting), (
        f"{account.name}: {account.open_count} open counted, {len(resting)} found"
    )
    known = {order.terms[0]: order for order in (*resting, *account.closed)}
    assert known == account.orders, f"{account.name}: {known} found, {account.orders} known"
    assert list(account.orders) == sorted(account.orders), f"{account.name}: orders out of order"
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

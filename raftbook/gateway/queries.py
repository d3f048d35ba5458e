"""Answers to questions about a node and its market, as plain values.

Owns the shapes of docs/PROTOCOL.md "Queries". Reads the live exchange between turns and gives away
values only. Knows no sockets.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from heapq import nlargest
from itertools import islice
from typing import Any, Final

from raftbook.core.accounts import Account
from raftbook.core.book import Book
from raftbook.core.build import KIND
from raftbook.core.exchange import Exchange
from raftbook.core.ladder import Ladder, Order
from raftbook.core.types import Reject
from raftbook.core.versions import ENGINE_VERSION
from raftbook.replica.fences import FenceKind
from raftbook.replica.machine import Applied
from raftbook.replica.replica import Replica
from raftbook.wire import pages
from raftbook.wire.packing import brief

Arguments = dict[str, Any]

INDEX_MAX: Final = 2**62
"""Above any entry index or order id."""
ABOUT_THE_NODE: Final = frozenset(("status", "digest", "events"))
"""Queries about the node itself: they are answered however old its state is."""


class QueryError(Exception):
    """The question cannot be answered; a code of `types.Reject` and a sentence."""

    def __init__(self, code: Reject, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Queries:
    """All questions one node answers from its own state.

    Args:
        describe: the parts of `status` that the composition root knows (addresses, versions).
    """

    def __init__(self, replica: Replica, describe: Callable[[], dict[str, Any]]) -> None:
        self._replica = replica
        self._describe = describe
        self._public: dict[str, Callable[[Arguments], Any]] = {
            "status": self._status,
            "instruments": self._instruments,
            "book": self._book,
            "trades": self._trades,
            "digest": self._digest,
        }

    @property
    def exchange(self) -> Exchange:
        """The live exchange; read it now, keep nothing of it."""
        return self._replica.machine.exchange

    @property
    def applied_index(self) -> int:
        """The last entry applied here."""
        return self._replica.raft.applied_index

    @property
    def recent(self) -> deque[Applied]:
        """The last entries, as `Machine.recent` has them."""
        return self._replica.machine.recent

    def answer(self, name: str, arguments: Arguments, account: Account | None) -> Any:
        """The value of query `name`.

        Raises:
            QueryError: unknown name, bad argument, unknown thing, or not allowed.
        """
        if name in self._public:
            return self._public[name](arguments)
        if name not in ("order", "orders", "events"):
            raise QueryError(Reject.MALFORMED, f"unknown query {brief(name)}")
        if account is None:
            raise QueryError(Reject.NOT_AUTHORIZED, f"query {name!r} needs a login")
        if name == "order":
            return self._order(arguments, account)
        if name == "orders":
            return self._orders(arguments, account)
        if not account.is_operator:
            raise QueryError(Reject.NOT_AUTHORIZED, "query 'events' is for operators")
        return self._events(arguments)

    # -- about the node -----------------------------------------------------------------------

    def _status(self, arguments: Arguments) -> dict[str, Any]:
        replica, exchange = self._replica, self.exchange
        raft, fence = replica.raft, replica.fence
        index = raft.applied_index
        return {
            **self._describe(),
            "node_id": replica.node_id,
            "role": raft.role if fence is None else _fenced_role(fence.kind),
            "term": raft.term,
            "leader_id": raft.leader_id if fence is None else None,
            "commit_index": raft.commit_index,
            "applied_index": index,
            "last_index": replica.last_index,
            "snapshot_index": replica.snapshot_index,
            "digest": exchange.digest.value(),
            "digest_index": index,
            "orders": sum(book.resting_count for book in exchange.books.values()),
            "sessions": len(exchange.sessions.by_id),
            "pending": replica.pending_count,
            "fenced": None if fence is None else fence.reason,
            "fence": None if fence is None else str(fence.kind),
            "age_ms": replica.age_ms(),
            "engine_version": exchange.engine_version,
            "engine_version_supported": ENGINE_VERSION,
            "core": KIND,
        }

    def _digest(self, arguments: Arguments) -> dict[str, Any]:
        machine = self._replica.machine
        index = natural(arguments, "index", self.applied_index, high=INDEX_MAX)
        books = self.exchange.books
        return {
            "index": index,
            "digest": machine.digest_at(index),
            "kept": machine.digests_kept(),
            "instruments": len(books),
            "resting_orders": sum(book.resting_count for book in books.values()),
        }

    def _events(self, arguments: Arguments) -> dict[str, Any]:
        """Entries, as many pages as fit one answer; `next` tells where the next answer goes on."""
        recent = self._replica.machine.recent
        first = natural(arguments, "from_index", 0, high=INDEX_MAX)
        first_page = natural(arguments, "from_page", 1, high=INDEX_MAX) if first else 1
        limit = natural(arguments, "limit", 100)
        wanted = [applied for applied in recent if applied.index >= first]
        wanted = wanted[:limit] if first else _last(wanted, limit)
        told: list[tuple[Any, ...]] = []
        following: tuple[int, int] | None = None
        room = pages.EVENTS
        for index, page in _pages_of(wanted):
            if index == first and page[4] < first_page:
                continue
            size = sum(len(reply[4]) or 1 for reply in page[3])
            if told and size > room:
                following = (index, page[4])
                break
            told.append(page)
            room -= size
        return {
            "first_kept": recent[0].index if recent else 0,
            "applied_index": self.applied_index,
            "entries": told,
            "next": following,
        }

    # -- about the market ---------------------------------------------------------------------

    def _instruments(self, arguments: Arguments) -> list[dict[str, Any]]:
        """Instruments in the order they were created; they never go, so a place keeps its own."""
        first = natural(arguments, "from", 0, high=INDEX_MAX)
        return [
            {
                **book.terms._asdict(),
                "phase": book.phase,
                "feed_seq": book.feed_seq,
                "last_price": book.last_price,
                "resting_orders": book.resting_count,
            }
            for book in islice(self.exchange.books.values(), first, first + pages.INSTRUMENT_ROWS)
        ]

    def _book(self, arguments: Arguments) -> dict[str, Any]:
        book = self._known_book(arguments)
        depth = natural(arguments, "depth", 10) or pages.ROWS_MAX
        view = self.book_head(book)
        view["bids"], view["asks"] = _levels(book.bids, depth), _levels(book.asks, depth)
        if arguments.get("orders"):
            view["bid_orders"] = _level_orders(book.bids, depth, pages.ROWS_MAX)
            view["ask_orders"] = _level_orders(book.asks, depth, pages.ROWS_MAX)
        return view

    def book_head(self, book: Book) -> dict[str, Any]:
        """A `book` without its levels and orders."""
        return {
            "symbol": book.symbol,
            "feed_seq": book.feed_seq,
            "applied_index": self.applied_index,
            "node_id": self._replica.node_id,
            "last_price": book.last_price,
            "phase": book.phase,
            "age_ms": self._replica.age_ms(),
        }

    def _trades(self, arguments: Arguments) -> dict[str, Any]:
        book = self._known_book(arguments)
        limit = natural(arguments, "limit", 20)
        trades = _last(list(book.tape.trades()), limit)
        return {
            "applied_index": self.applied_index,
            "trades": [
                (event[2], event[3], event[4], time_ns, index, event[9][4][0], *_ids(event))
                for time_ns, index, event in trades
            ],
        }

    def _known_book(self, arguments: Arguments) -> Book:
        symbol = arguments.get("symbol")
        book = self.exchange.books.get(symbol) if isinstance(symbol, str) else None
        if book is None:
            known = ", ".join(list(self.exchange.books)[:10]) or "none"
            message = f"no instrument {brief(symbol)}; known: {known}"
            raise QueryError(Reject.UNKNOWN_INSTRUMENT, message)
        return book

    # -- about own orders ---------------------------------------------------------------------

    def _order(self, arguments: Arguments, account: Account) -> dict[str, Any]:
        order_id = natural(arguments, "order_id", 0, high=INDEX_MAX)
        client_order_id = _text(arguments, "client_order_id") or ""
        order = account.find(order_id, client_order_id)
        if order is None:
            name = order_id or brief(client_order_id)
            raise QueryError(Reject.UNKNOWN_ORDER, f"no order {name} of account {account.name}")
        return _order_view(order)

    def _orders(self, arguments: Arguments, account: Account) -> dict[str, Any]:
        """The newest orders below `before`, eldest first, as many as fit one answer."""
        symbol = _text(arguments, "symbol")
        limit = min(natural(arguments, "limit", 1_000), pages.ORDER_ROWS)
        before = natural(arguments, "before", INDEX_MAX, high=INDEX_MAX)
        open_only = bool(arguments.get("open_only"))
        own = (
            order
            for order in account.orders.values()
            if (order.leaves_qty or not open_only)
            and order.terms[0] < before
            and (symbol is None or order.terms[3] == symbol)
        )
        # One more than is told says whether there are more.
        found = nlargest(limit + 1, own, key=_order_id)
        orders = found[:limit][::-1]
        return {
            "applied_index": self.applied_index,
            "orders": [_order_view(order) for order in orders],
            "before": _order_id(orders[0]) if orders and len(found) > limit else None,
        }


def _pages_of(entries: Iterable[Applied]) -> Iterator[tuple[int, tuple[Any, ...]]]:
    for applied in entries:
        entry = (applied.index, applied.term, applied.time_ns, applied.replies)
        for page in pages.entry_pages(*entry):
            yield applied.index, page


def _order_id(order: Order) -> int:
    return int(order.terms[0])


def _fenced_role(kind: FenceKind) -> str:
    return "diverged" if kind is FenceKind.DIVERGED else "fenced"


def _levels(ladder: Ladder, depth: int) -> list[tuple[int, int, int]]:
    return [
        (level.price, level.qty, level.count)
        for _, level in zip(range(depth), ladder, strict=False)
    ]


def _level_orders(ladder: Ladder, depth: int, count_max: int) -> list[tuple[int, int, int]]:
    orders: list[tuple[int, int, int]] = []
    for _, level in zip(range(depth), ladder, strict=False):
        for order in level:
            orders.append((order.terms[0], level.price, order.leaves_qty))
            if len(orders) >= count_max:
                return orders
    return orders


def _order_view(order: Order) -> dict[str, Any]:
    return {
        "terms": order.terms,
        "leaves_qty": order.leaves_qty,
        "cum_qty": order.cum_qty,
        "cum_notional": order.cum_notional,
        "resting": order.level is not None,
    }


def _ids(trade: tuple[Any, ...]) -> tuple[int, int]:
    return trade[5][0], trade[9][0]


def _last(rows: list[Any], count: int) -> list[Any]:
    return rows[max(0, len(rows) - count) :]


def _text(arguments: Arguments, name: str) -> str | None:
    value = arguments.get(name)
    if value is not None and type(value) is not str:
        raise QueryError(Reject.MALFORMED, f"{name} must be text, not {brief(value)}")
    return value


def natural(arguments: Arguments, name: str, default: int, *, high: int = pages.ROWS_MAX) -> int:
    """A whole number from 0 to `high` among the arguments; `default` when it is not given.

    Raises:
        QueryError: it is something else.
    """
    value = arguments.get(name)
    if value is None:
        return default
    if type(value) is not int or not 0 <= value <= high:
        raise QueryError(Reject.MALFORMED, f"{name} must be 0 to {high}, not {brief(value)}")
    return value

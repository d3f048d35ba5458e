"""Answers to questions about a node and its market, as plain values.

Owns which questions there are, who may ask them, and what a node tells of itself. What is told of
the market is in `market_queries.py`, of accounts in `account_queries.py`. Reads the live exchange
between turns and gives away values only. Knows no sockets.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from raftbook.core.accounts import Account
from raftbook.core.book import Book
from raftbook.core.build import KIND
from raftbook.core.exchange import Exchange
from raftbook.core.types import Reject
from raftbook.core.versions import ENGINE_VERSION
from raftbook.gateway import account_queries, market_queries
from raftbook.gateway.arguments import INDEX_MAX as INDEX_MAX
from raftbook.gateway.arguments import Arguments as Arguments
from raftbook.gateway.arguments import QueryError as QueryError
from raftbook.gateway.arguments import natural as natural
from raftbook.gateway.market_queries import last
from raftbook.replica.fences import FenceKind
from raftbook.replica.machine import Applied
from raftbook.replica.replica import Replica
from raftbook.wire import pages
from raftbook.wire.packing import brief

ABOUT_THE_NODE: Final = frozenset(("status", "digest", "events"))
"""Queries about the node itself: they are answered however old its state is."""


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
            "candles": self._candles,
            "auction": self._auction,
            "digest": self._digest,
        }
        self._private: dict[str, Callable[[Arguments, Account], Any]] = {
            "order": self._order,
            "orders": self._orders,
            "fills": self._fills,
            "account": self._account,
        }
        self._for_operators: dict[str, Callable[[Arguments], Any]] = {
            "events": self._events,
            "accounts": self._accounts,
        }
        self._auctions: dict[str, dict[str, Any]] = {}
        self._auctions_at = 0

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
        if name == "currencies":
            return self._currencies(account)
        if name not in self._private and name not in self._for_operators:
            raise QueryError(Reject.MALFORMED, f"unknown query {brief(name)}")
        if account is None:
            raise QueryError(Reject.NOT_AUTHORIZED, f"query {name!r} needs a login")
        if name in self._private:
            return self._private[name](arguments, account)
        if not account.is_operator:
            raise QueryError(Reject.NOT_AUTHORIZED, f"query {name!r} is for operators")
        return self._for_operators[name](arguments)

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
            "orders": sum(book.shown_count() for book in exchange.books.values()),
            "sessions": len(exchange.sessions.by_id),
            "pending": replica.pending_count,
            "founded": raft.membership.is_founded,
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
            "resting_orders": sum(book.shown_count() for book in books.values()),
        }

    def _events(self, arguments: Arguments) -> dict[str, Any]:
        """Entries, as many pages as fit one answer; `next` tells where the next answer goes on."""
        recent = self._replica.machine.recent
        first = natural(arguments, "from_index", 0, high=INDEX_MAX)
        first_page = natural(arguments, "from_page", 1, high=INDEX_MAX) if first else 1
        limit = natural(arguments, "limit", 100)
        wanted = [applied for applied in recent if applied.index >= first]
        wanted = wanted[:limit] if first else last(wanted, limit)
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
        return market_queries.instruments(self.exchange, arguments)

    def _book(self, arguments: Arguments) -> dict[str, Any]:
        book = self._known_book(arguments)
        return self.book_head(book) | market_queries.book_rows(book, arguments)

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
        rows = market_queries.trades(self._known_book(arguments), arguments)
        return {"applied_index": self.applied_index, "trades": rows}

    def _candles(self, arguments: Arguments) -> dict[str, Any]:
        book = self._known_book(arguments)
        return self._as_of_now(book) | market_queries.candles(book, arguments)

    def _auction(self, arguments: Arguments) -> dict[str, Any]:
        """What is found once holds for as long as nothing is applied: it may take a long search."""
        book = self._known_book(arguments)
        index = self.exchange.applied_index
        if index != self._auctions_at:
            self._auctions_at = index
            self._auctions.clear()
        found = self._auctions.get(book.symbol)
        if found is None:
            found = self._auctions[book.symbol] = market_queries.auction(book)
        return self._as_of_now(book) | found

    def _as_of_now(self, book: Book) -> dict[str, Any]:
        return {"symbol": book.symbol, "applied_index": self.applied_index}

    def _known_book(self, arguments: Arguments) -> Book:
        symbol = arguments.get("symbol")
        book = self.exchange.books.get(symbol) if isinstance(symbol, str) else None
        if book is None:
            known = ", ".join(list(self.exchange.books)[:10]) or "none"
            message = f"no instrument {brief(symbol)}; known: {known}"
            raise QueryError(Reject.UNKNOWN_INSTRUMENT, message)
        return book

    # -- about accounts -----------------------------------------------------------------------

    def _order(self, arguments: Arguments, asker: Account) -> dict[str, Any]:
        return account_queries.order(arguments, asker)

    def _orders(self, arguments: Arguments, asker: Account) -> dict[str, Any]:
        return self._now() | account_queries.orders(arguments, asker)

    def _fills(self, arguments: Arguments, asker: Account) -> dict[str, Any]:
        account = account_queries.account_asked_for(self.exchange, arguments, asker)
        book = self._known_book(arguments)
        rows = market_queries.fills(book, account, arguments)
        return self._as_of_now(book) | {"account": account.name, "fills": rows}

    def _account(self, arguments: Arguments, asker: Account) -> dict[str, Any]:
        account = account_queries.account_asked_for(self.exchange, arguments, asker)
        return self._now() | account_queries.account_view(self.exchange, account)

    def _accounts(self, arguments: Arguments) -> dict[str, Any]:
        return self._now() | {"accounts": account_queries.accounts(self.exchange, arguments)}

    def _currencies(self, asker: Account | None) -> dict[str, Any]:
        return self._now() | {"currencies": account_queries.currencies(self.exchange, asker)}

    def _now(self) -> dict[str, Any]:
        return {"applied_index": self.applied_index}


def _pages_of(entries: Iterable[Applied]) -> Iterator[tuple[int, tuple[Any, ...]]]:
    for applied in entries:
        entry = (applied.index, applied.term, applied.time_ns, applied.replies)
        for page in pages.entry_pages(*entry):
            yield applied.index, page


def _fenced_role(kind: FenceKind) -> str:
    return "diverged" if kind is FenceKind.DIVERGED else "fenced"

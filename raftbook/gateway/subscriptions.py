"""What a client can listen to: the market's feed, its own reports, or every entry.

Owns where a subscription stands, so that each value is pushed once and in order. Values are packed
as they are asked for: what a subscription begins with may be long. Knows no sockets.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, Final, Protocol

from raftbook.core.accounts import Account
from raftbook.core.events import TRADE, Event
from raftbook.core.types import Reject
from raftbook.feed.stream import FeedHistory, FeedMessage
from raftbook.gateway.privacy import private_view
from raftbook.gateway.queries import INDEX_MAX, Arguments, Queries, QueryError, natural
from raftbook.gateway.refresh import refresh_pages
from raftbook.replica.machine import Applied
from raftbook.wire import pages
from raftbook.wire.packing import brief, pack

REFRESHES_MAX: Final = 3
"""How often a feed begins with the book again because its reader was overtaken."""


class Subscription(Protocol):
    """One subscription of one connection.

    Attributes:
        result: what the client is told of it, beside its number.
    """

    result: dict[str, Any]

    def first(self) -> Iterable[bytes]:
        """What is pushed before anything else, packed; made as it is read."""

    def next(self, applied: Applied) -> Iterable[bytes]:
        """What an applied entry adds, packed: a list of it, or what is made as it is read."""


def make_subscription(
    name: str,
    arguments: Arguments,
    account: Account | None,
    queries: Queries,
    feed: FeedHistory,
    kept_from: int,
) -> Subscription:
    """The subscription `name`.

    Args:
        kept_from: the first entry index from which every entry is still known here.

    Raises:
        QueryError: unknown name, bad argument or not allowed.
    """
    if name == "feed":
        return _FeedSubscription(arguments, queries, feed)
    if name not in ("reports", "entries"):
        raise QueryError(Reject.MALFORMED, f"unknown subscription {brief(name)}")
    if account is None:
        raise QueryError(Reject.NOT_AUTHORIZED, f"subscription {name!r} needs a login")
    if name == "reports":
        return _ReportSubscription(arguments, account.name, queries, kept_from)
    if not account.is_operator:
        raise QueryError(Reject.NOT_AUTHORIZED, "subscription 'entries' is for operators")
    return _EntrySubscription(arguments, queries, kept_from)


class _FeedSubscription:
    """A feed begins with the book or with what the reader missed, made as it is read; only then
    does it live, and takes what each entry adds."""

    def __init__(self, arguments: Arguments, queries: Queries, feed: FeedHistory) -> None:
        self.result: dict[str, Any] = {}
        self._feed, self._queries = feed, queries
        from_seq = _optional(arguments, "from_seq")
        book = queries.answer("book", {"symbol": arguments.get("symbol"), "depth": 1}, None)
        self._symbol: str = book["symbol"]
        # from_seq is the first wanted; one that lies ahead was given by another node, wait for it
        self._seq: int | None = None if from_seq is None else max(0, from_seq - 1)
        self._is_live = self._seq is not None and self._seq >= book["feed_seq"]

    def first(self) -> Iterable[bytes]:
        return [] if self._is_live else self._catch_up()

    def next(self, applied: Applied) -> Iterable[bytes]:
        if not self._is_live:
            return []
        news = self._missed()
        if news is None:
            # This one entry brought more than is kept.
            self._is_live = False
            return self._catch_up()
        if news:
            self._seq = news[-1][0]
        return list(map(pack, news))

    def _missed(self) -> list[FeedMessage] | None:
        """What came after the last message; None if some of it is no longer kept."""
        assert self._seq is not None, "a feed that has not begun misses nothing"
        news = self._feed.since(self._symbol, self._seq)
        if news is None and self._queries.exchange.books[self._symbol].feed_seq <= self._seq:
            return []  # nothing was ever fed here
        return news

    def _catch_up(self) -> Iterator[bytes]:
        """The book if need be, and everything after it; whoever is slower than the market begins
        anew with the book, but not for ever."""
        for _ in range(REFRESHES_MAX):
            news = None if self._seq is None else self._missed()
            if news is None:
                for page in refresh_pages(self._queries, self._symbol):
                    if page["page"] == 1:
                        self._seq = page["feed_seq"]
                    yield pack(("refresh", page))
                news = self._missed()
            while news:
                for message in news:
                    self._seq = message[0]
                    yield pack(message)
                news = self._missed()
            if news is not None:
                self._is_live = True
                return
        raise QueryError(Reject.TOO_STALE, f"the feed of {self._symbol} is faster than its reader")


class _ReportSubscription:
    def __init__(
        self, arguments: Arguments, account_name: str, queries: Queries, kept_from: int
    ) -> None:
        self._account_name = account_name
        self._past = _Past(arguments, queries, kept_from)
        self.result = {
            "applied_index": self._past.applied_index,
            "from_index": self._past.from_index,
        }

    def first(self) -> Iterable[bytes]:
        return chain.from_iterable(map(self.next, self._past.kept()))

    def next(self, applied: Applied) -> list[bytes]:
        return list(self._values(applied)) if self._past.is_wanted(applied) else []

    def _values(self, applied: Applied) -> Iterator[bytes]:
        for session_id, request_seq, index, offset, events, poss_dup in applied.replies:
            if poss_dup:
                continue
            own = [(at, event) for at, event in enumerate(events) if self._concerns(event)]
            # A counterparty's session would tell whom one trades with, time and again.
            is_own = self._is_own_request([event for _, event in own])
            name = (session_id, request_seq) if is_own else (0, 0)
            for start in range(0, len(own), pages.EVENTS):
                page = own[start : start + pages.EVENTS]
                place = offset + (page[0][0] if start else 0)
                view = private_view([event for _, event in page], self._account_name)
                yield pack((index, applied.term, applied.time_ns, place, *name, view))

    def _concerns(self, event: Event) -> bool:
        if event[0] == TRADE:
            return self._account_name in (event[5][1], event[9][1])
        terms = event[2]
        return type(terms) is tuple and len(terms) == 7 and terms[1] == self._account_name

    def _is_own_request(self, own: list[Event]) -> bool:
        """Whoever asks takes: of another's request one only hears that a maker was met."""
        return any(event[0] != TRADE or event[9][1] == self._account_name for event in own)


class _EntrySubscription:
    def __init__(self, arguments: Arguments, queries: Queries, kept_from: int) -> None:
        self._past = _Past(arguments, queries, kept_from)
        self.result = {"applied_index": self._past.applied_index}

    def first(self) -> Iterable[bytes]:
        return chain.from_iterable(map(self.next, self._past.kept()))

    def next(self, applied: Applied) -> list[bytes]:
        if not self._past.is_wanted(applied):
            return []
        entry = (applied.index, applied.term, applied.time_ns, applied.replies)
        return list(map(pack, pages.entry_pages(*entry)))


class _Past:
    """Where a stream of entries begins: at an index that is still kept, or with what comes next.

    Raises:
        QueryError: bad argument, or some of the wanted entries are no longer kept.
    """

    def __init__(self, arguments: Arguments, queries: Queries, kept_from: int) -> None:
        self.applied_index = queries.applied_index
        self.from_index = _optional(arguments, "from_index")
        if self.from_index is not None and self.from_index < kept_from:
            message = f"entries before {kept_from} are no longer kept; see `log dump`"
            raise QueryError(Reject.TOO_STALE, message)
        self._recent: deque[Applied] = queries.recent
        self._first = self.applied_index + 1 if self.from_index is None else self.from_index

    def kept(self) -> list[Applied]:
        """What is known already."""
        return list(self._recent)

    def is_wanted(self, applied: Applied) -> bool:
        """Whether an entry belongs to the stream; each is asked about once."""
        return applied.index >= self._first


def _optional(arguments: Arguments, name: str) -> int | None:
    value = natural(arguments, name, -1, high=INDEX_MAX)
    return None if value < 0 else value

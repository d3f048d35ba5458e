"""What a client can listen to: the market's feed, its own reports, or every entry.

Owns where a subscription stands, so that each value is pushed once and in order. Knows no sockets.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any, Protocol

from raftbook.core.accounts import Account
from raftbook.core.events import TRADE, Event
from raftbook.core.types import Reject
from raftbook.feed.stream import FeedHistory
from raftbook.gateway.privacy import private_view
from raftbook.gateway.queries import INDEX_MAX, Arguments, Queries, QueryError, natural
from raftbook.replica.machine import Applied
from raftbook.wire.packing import brief


class Subscription(Protocol):
    """One subscription of one connection.

    Attributes:
        result: what the client is told of it, beside its number.
    """

    result: dict[str, Any]

    def first(self) -> Iterator[Any]:
        """What is pushed at once."""

    def next(self, applied: Applied) -> Iterator[Any]:
        """What an applied entry adds."""


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
    def __init__(self, arguments: Arguments, queries: Queries, feed: FeedHistory) -> None:
        self.result: dict[str, Any] = {}
        self._feed = feed
        self._queries = queries
        from_seq = _optional(arguments, "from_seq")
        book = queries.answer("book", {"symbol": arguments.get("symbol"), "depth": 1}, None)
        self._symbol: str = book["symbol"]
        # from_seq is the first wanted; one that lies ahead was given by another node, wait for it
        self._seq: int | None = None if from_seq is None else max(0, from_seq - 1)
        self._is_past = self._seq is not None and self._seq < book["feed_seq"]

    def first(self) -> Iterator[Any]:
        if self._seq is not None and not self._is_past:
            return
        missed = None if self._seq is None else self._feed.since(self._symbol, self._seq)
        if missed is None:
            yield from self._refresh()
            return
        for message in missed:
            self._seq = message[0]
            yield message

    def _refresh(self) -> Iterator[Any]:
        view = self._queries.whole_book(self._symbol)
        self._seq = view["feed_seq"]
        yield ("refresh", view)

    def next(self, applied: Applied) -> Iterator[Any]:
        assert self._seq is not None, "first() comes first"
        news = self._feed.since(self._symbol, self._seq)
        if news is None:
            # Nothing was ever fed, or this one entry brought more than is kept.
            if self._queries.exchange.books[self._symbol].feed_seq > self._seq:
                yield from self._refresh()
            return
        for message in news:
            self._seq = message[0]
            yield message


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

    def first(self) -> Iterator[Any]:
        for applied in self._past.kept():
            yield from self.next(applied)

    def next(self, applied: Applied) -> Iterator[Any]:
        if not self._past.is_wanted(applied):
            return
        for session_id, request_seq, index, offset, events, poss_dup in applied.replies:
            if poss_dup:
                continue
            own = [event for event in events if self._concerns(event)]
            if not own:
                continue
            # A counterparty's session would tell whom one trades with, time and again.
            name = (session_id, request_seq) if self._is_own_request(own) else (0, 0)
            own_view = private_view(own, self._account_name)
            yield (index, applied.term, applied.time_ns, offset, *name, own_view)

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

    def first(self) -> Iterator[Any]:
        for applied in self._past.kept():
            yield from self.next(applied)

    def next(self, applied: Applied) -> Iterator[Any]:
        if self._past.is_wanted(applied):
            yield (applied.index, applied.term, applied.time_ns, applied.replies)


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

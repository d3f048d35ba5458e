"""What a client can listen to: the market's feed, its own reports, or every entry.

Owns where a subscription stands, so that each value is pushed once and in order. Knows no sockets.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from raftbook.core.accounts import Account
from raftbook.core.events import TRADE, Event
from raftbook.core.types import Reject
from raftbook.feed.stream import FeedHistory
from raftbook.gateway.privacy import private_view
from raftbook.gateway.queries import Arguments, Queries, QueryError
from raftbook.replica.machine import Applied
from raftbook.replica.replica import Replica


class Subscription(Protocol):
    """One subscription of one connection."""

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
    replica: Replica,
) -> Subscription:
    """The subscription `name`.

    Raises:
        QueryError: unknown name, bad argument or not allowed.
    """
    if name == "feed":
        return _FeedSubscription(arguments, queries, feed)
    if name not in ("reports", "entries"):
        raise QueryError(Reject.MALFORMED, f"unknown subscription {name!r}")
    if account is None:
        raise QueryError(Reject.NOT_AUTHORIZED, f"subscription {name!r} needs a login")
    if name == "reports":
        return _ReportSubscription(account.name)
    if not account.is_operator:
        raise QueryError(Reject.NOT_AUTHORIZED, "subscription 'entries' is for operators")
    return _EntrySubscription(arguments, replica)


class _FeedSubscription:
    def __init__(self, arguments: Arguments, queries: Queries, feed: FeedHistory) -> None:
        self._feed = feed
        self._queries = queries
        from_seq = arguments.get("from_seq")
        if from_seq is not None and (type(from_seq) is not int or from_seq < 0):
            raise QueryError(Reject.MALFORMED, f"from_seq must be 0 or more, not {from_seq!r}")
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
        view = self._queries.answer(
            "book", {"symbol": self._symbol, "depth": 0, "orders": True}, None
        )
        self._seq = view["feed_seq"]
        yield ("refresh", view)

    def next(self, applied: Applied) -> Iterator[Any]:
        assert self._seq is not None, "first() comes first"
        news = self._feed.since(self._symbol, self._seq)
        if news is None:
            return
        for message in news:
            self._seq = message[0]
            yield message


class _ReportSubscription:
    def __init__(self, account_name: str) -> None:
        self._account_name = account_name

    def first(self) -> Iterator[Any]:
        return iter(())

    def next(self, applied: Applied) -> Iterator[Any]:
        for session_id, request_seq, index, offset, events, poss_dup in applied.replies:
            if poss_dup:
                continue
            own = [event for event in events if self._concerns(event)]
            if own:
                own_view = private_view(own, self._account_name)
                yield (
                    index,
                    applied.term,
                    applied.time_ns,
                    offset,
                    session_id,
                    request_seq,
                    own_view,
                )

    def _concerns(self, event: Event) -> bool:
        if event[0] == TRADE:
            return self._account_name in (event[5][1], event[9][1])
        terms = event[2]
        return type(terms) is tuple and len(terms) == 7 and terms[1] == self._account_name


class _EntrySubscription:
    def __init__(self, arguments: Arguments, replica: Replica) -> None:
        from_index = arguments.get("from_index")
        recent = replica.machine.recent
        if from_index is not None and type(from_index) is not int:
            raise QueryError(Reject.MALFORMED, f"from_index {from_index!r} is no index")
        if from_index is not None and recent and from_index < recent[0].index:
            message = f"entries before {recent[0].index} are no longer kept; see `log dump`"
            raise QueryError(Reject.TOO_STALE, message)
        self._recent = recent
        self._index = replica.raft.applied_index if from_index is None else from_index - 1

    def first(self) -> Iterator[Any]:
        for applied in list(self._recent):
            yield from self.next(applied)

    def next(self, applied: Applied) -> Iterator[Any]:
        if applied.index > self._index:
            self._index = applied.index
            yield (applied.index, applied.term, applied.time_ns, applied.replies)

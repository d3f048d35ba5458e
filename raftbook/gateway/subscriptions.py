"""What a client can listen to: the market, its own reports, or every entry.

Owns where a subscription stands, so that each value is pushed once and in order; those of the
market are in `market_streams.py`. Values are packed as they are asked for: what a subscription
begins with may be long. Knows no sockets.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, Protocol

from raftbook.core.accounts import Account
from raftbook.core.commands import NO_SESSION
from raftbook.core.events import UNASKED, Event
from raftbook.core.types import Reject
from raftbook.feed.stream import FeedHistory
from raftbook.gateway.arguments import text
from raftbook.gateway.market_streams import MARKET_STREAMS
from raftbook.gateway.privacy import is_head_of, report_view
from raftbook.gateway.queries import INDEX_MAX, Arguments, Queries, QueryError, natural
from raftbook.replica.machine import Applied
from raftbook.wire import pages
from raftbook.wire.packing import brief, pack


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
    if name in MARKET_STREAMS:
        return MARKET_STREAMS[name](arguments, queries, feed)
    if name not in ("reports", "entries"):
        raise QueryError(Reject.MALFORMED, f"unknown subscription {brief(name)}")
    if account is None:
        raise QueryError(Reject.NOT_AUTHORIZED, f"subscription {name!r} needs a login")
    if name == "reports":
        told = _reported_account(arguments, account, queries)
        return _ReportSubscription(arguments, account, told, queries, kept_from)
    if not account.is_operator:
        raise QueryError(Reject.NOT_AUTHORIZED, "subscription 'entries' is for operators")
    return _EntrySubscription(arguments, queries, kept_from)


def _reported_account(arguments: Arguments, reader: Account, queries: Queries) -> str:
    """Whose reports a reader gets: its own, or those of one that lets it read them."""
    name = text(arguments, "account") or reader.name
    if not _may_read(reader, name, queries):
        # Whoever may not read them is not told either whether there is such an account.
        message = f"account {brief(name)} does not let {reader.name} read its reports"
        raise QueryError(Reject.NOT_AUTHORIZED, message)
    if name not in queries.exchange.accounts:
        raise QueryError(Reject.UNKNOWN_ACCOUNT, f"no account {brief(name)}")
    return name


def _may_read(reader: Account, account_name: str, queries: Queries) -> bool:
    if reader.is_operator or reader.name == account_name:
        return True
    account = queries.exchange.accounts.get(account_name)
    return account is not None and reader.name in account.readers


class _ReportSubscription:
    """What happens to one account, at its own requests, at those of others, and unasked."""

    def __init__(
        self,
        arguments: Arguments,
        reader: Account,
        account_name: str,
        queries: Queries,
        kept_from: int,
    ) -> None:
        self._reader = reader
        self._account_name = account_name
        self._queries = queries
        self._past = _Past(arguments, queries, kept_from)
        self.result = {
            "account": account_name,
            "applied_index": self._past.applied_index,
            "from_index": self._past.from_index,
        }

    def first(self) -> Iterable[bytes]:
        return chain.from_iterable(map(self.next, self._past.kept()))

    def next(self, applied: Applied) -> list[bytes]:
        """Nothing any more once the account has taken its leave to read back."""
        if not self._past.is_wanted(applied):
            return []
        if not _may_read(self._reader, self._account_name, self._queries):
            return []
        return list(self._values(applied))

    def _values(self, applied: Applied) -> Iterator[bytes]:
        for session_id, request_seq, index, offset, events, poss_dup in applied.replies:
            if poss_dup:
                continue
            views = [report_view(event, self._account_name) for event in events]
            own = [(at, view) for at, view in enumerate(views) if view is not None]
            name = self._request(session_id, request_seq, own) if own else (0, 0)
            for start in range(0, len(own), pages.EVENTS):
                page = own[start : start + pages.EVENTS]
                place = offset + (page[0][0] if start else 0)
                told = [view for _, view in page]
                yield pack((index, applied.term, applied.time_ns, place, *name, told))

    def _request(
        self, session_id: int, request_seq: int, own: list[tuple[int, Event]]
    ) -> tuple[int, int]:
        """Which request it was: of another account's one only hears what it did. A counterparty's
        session would tell whom one trades with, time and again."""
        if session_id == NO_SESSION:
            return (NO_SESSION, UNASKED if request_seq == UNASKED else 0)
        session = self._queries.exchange.sessions.by_id.get(session_id)
        if session is not None:
            is_own = session.account.name == self._account_name
        else:  # it is over: its events still tell who asked for an order, a cancel or an amend
            is_own = any(is_head_of(event, self._account_name) for _, event in own)
        return (session_id, request_seq) if is_own else (0, 0)


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

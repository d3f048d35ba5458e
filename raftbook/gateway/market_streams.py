"""What anybody can listen to: an instrument order by order, its price levels, its best prices.

Owns how such a stream begins, goes on, and is taken up where a reader left another node. A stream
begins with a whole picture or with what the reader missed, made as it is read; only then does it
live, and takes what each entry adds. Knows no sockets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, Final, Protocol

from raftbook.core.book import Book
from raftbook.core.types import Reject, Side
from raftbook.feed.depth import DepthFeed, Levels
from raftbook.feed.stream import FeedHistory
from raftbook.gateway.queries import INDEX_MAX, Arguments, Queries, QueryError, natural
from raftbook.gateway.refresh import refresh_pages
from raftbook.replica.machine import Applied
from raftbook.wire import pages
from raftbook.wire.packing import pack

REFRESHES_MAX: Final = 3
"""How often a stream begins with the whole picture again because its reader was overtaken."""

_BUY: Final = int(Side.BUY)
_SELL: Final = int(Side.SELL)


class _Stream:
    """One subscription to one instrument.

    A reader that comes from another node names the feed_seq it wants next and, so that nobody takes
    a new instrument for a deleted one of its name, the entry_index that it stands at. One that
    stands ahead of this node waits until this node is there.
    """

    def __init__(self, arguments: Arguments, queries: Queries, feed: FeedHistory) -> None:
        self.result: dict[str, Any] = {}
        self._queries, self._feed = queries, feed
        from_seq = _optional(arguments, "from_seq")
        self._index = _optional(arguments, "from_index")
        symbol = arguments.get("symbol")
        self._symbol: str = self._known(symbol)
        self._seq: int | None = None if from_seq is None else max(0, from_seq - 1)
        self._at: int | None = None  # the position of what was told last; None before a picture
        self._waits = self._index is not None and self._seq is not None and self._is_ahead()
        self._is_live = False
        self._prepare()
        if not self._waits and self._seq is not None:
            self._at = self._place(self._seq)
            self._is_live = self._at is not None and not self._after(self._at)

    def first(self) -> Iterable[bytes]:
        """What is pushed before anything else."""
        return [] if self._is_live or self._waits else self._catch_up()

    def next(self, applied: Applied) -> Iterable[bytes]:
        """What an applied entry adds."""
        if self._waits:
            if applied.index < (self._index or 0):
                return []
            self._waits = False
            assert self._seq is not None, "whoever waits says for what"
            self._at = self._place(self._seq)
            self._is_live = True
        if not self._is_live:
            return []
        news = None if self._at is None else self._after(self._at)
        if self._at is None or news is None:
            # What follows is not kept: perhaps this one entry brought more than is.
            self._is_live, self._at = False, None
            return self._catch_up()
        self._at += len(news)
        return [pack(value) for each in news for value in self._told(each)]

    def _catch_up(self) -> Iterator[bytes]:
        """The picture if need be, and everything after it; whoever is slower than the market begins
        anew, but not for ever."""
        for _ in range(REFRESHES_MAX):
            if self._at is None:
                for value in self._picture():
                    yield pack(value)
            assert self._at is not None, f"no picture of {self._symbol}"
            while news := self._after(self._at):
                for each in news:
                    self._at += 1
                    for value in self._told(each):
                        yield pack(value)
            if news is not None and not self._has_successor():
                self._is_live = True
                return
            self._at = None
        message = f"the market in {self._symbol} is faster than its reader"
        raise QueryError(Reject.TOO_STALE, message)

    def _known(self, symbol: Any) -> str:
        """The symbol, if there is such an instrument here."""
        try:
            view = self._queries.answer("book", {"symbol": symbol, "depth": 1}, None)
        except QueryError as error:
            if error.code == Reject.UNKNOWN_INSTRUMENT and self._is_ahead():
                message = f"this node has applied {self._queries.applied_index}, not yet "
                raise QueryError(Reject.TOO_STALE, f"{message}{self._index}") from error
            raise
        return str(view["symbol"])

    def _is_ahead(self) -> bool:
        """Whether the reader has seen entries that this node has not."""
        return self._index is not None and self._index > max(
            self._feed.index, self._queries.exchange.applied_index
        )

    def _book(self) -> Book:
        book = self._queries.exchange.books.get(self._symbol)
        if book is None:
            raise QueryError(Reject.UNKNOWN_INSTRUMENT, f"{self._symbol} was deleted")
        return book

    # -- what each sort of stream says of itself ------------------------------------------------

    def _prepare(self) -> None:
        """Take hold of what this stream reads."""

    def _place(self, seq: int) -> int | None:
        """The position of a reader that has everything up to `seq`; None if it must begin anew."""
        raise NotImplementedError

    def _picture(self) -> Iterator[Any]:
        """The values of a beginning; sets `_at` to where the stream goes on after it."""
        raise NotImplementedError

    def _after(self, at: int) -> Sequence[Any] | None:
        """What came after a position; None if some of it is no longer kept."""
        raise NotImplementedError

    def _told(self, each: Any) -> Iterable[Any]:
        """The values by which one of these is told."""
        raise NotImplementedError

    def _has_successor(self) -> bool:
        """Whether all was told of a deleted instrument, and another one has its symbol."""
        return False


class _FeedStream(_Stream):
    """`feed`: order by order."""

    _skip = 0  # of a reader ahead that did not say where it stands

    def _place(self, seq: int) -> int | None:
        newest = self._book().feed_seq
        if self._index is None and seq > newest:
            self._skip = seq
            return self._feed.end(self._symbol)
        return self._feed.place(self._symbol, seq, entry_index=self._index, newest_seq=newest)

    def _picture(self) -> Iterator[Any]:
        for page in refresh_pages(self._queries, self._symbol):
            if page["page"] == 1:
                self._at = self._feed.end(self._symbol)
            yield ("refresh", page)

    def _after(self, at: int) -> Sequence[Any] | None:
        return self._feed.after(self._symbol, at)

    def _told(self, each: Any) -> Iterable[Any]:
        if self._skip:
            if each[0] <= self._skip and each[3] != "created":
                return ()
            self._skip = 0
        return (each,)


class _LevelStream(_Stream):
    """What `depth` and `top` share: they read the levels that a node keeps up while somebody does.

    When the instrument is deleted that is told; when its symbol is listed anew, the stream begins
    anew.
    """

    _depth: DepthFeed

    def _prepare(self) -> None:
        self._depth = self._feed.depth(self._book(), self._queries.exchange.applied_index)
        if self._index is None:
            self._seq = None  # without its entry_index no place can be found again

    def _place(self, seq: int) -> int | None:
        assert self._index is not None, "a place is a feed_seq and an entry_index"
        return self._depth.place(seq, self._index)

    def next(self, applied: Applied) -> Iterable[bytes]:
        told = super().next(applied)
        if not self._is_live or not self._has_successor():
            return told
        self._is_live, self._at = False, None
        return chain(told, self._catch_up())

    def _has_successor(self) -> bool:
        is_told = self._depth.is_over and self._at == self._depth.end
        return is_told and self._symbol in self._queries.exchange.books

    def _after(self, at: int) -> Sequence[Any] | None:
        return self._depth.after(at)

    def _hold(self) -> DepthFeed:
        """Read the instrument that has the symbol now."""
        self._prepare()
        self._at = self._depth.end
        return self._depth

    def _over(self, delta: tuple[Any, ...]) -> Iterable[Any]:
        """Says that the instrument was deleted, if this was its last step."""
        if self._depth.is_over and delta[0] == self._depth.book.feed_seq:
            yield ("deleted", delta[0], delta[2], delta[3])


class _DepthStream(_LevelStream):
    """`depth`: price levels, absolute."""

    def _picture(self) -> Iterator[Any]:
        told: tuple[int, int] | None = None
        number = 0
        depth = self._hold()
        while True:
            if depth.is_over:  # another instrument has this name now: that one is told
                depth, told, number = self._hold(), None, 0
            number += 1
            page, told = self._page(depth, told)
            yield ("refresh", {**page, "page": number})
            if not page["more"]:
                return

    def _page(
        self, depth: DepthFeed, told: tuple[int, int] | None
    ) -> tuple[dict[str, Any], tuple[int, int] | None]:
        """The next levels as they are now, and the last one of them."""
        book, room = depth.book, pages.LEVEL_ROWS
        rows: dict[int, list[Any]] = {_BUY: [], _SELL: []}
        for side in (_BUY, _SELL):
            levels: Levels = book.sides[side]
            if told is None or told[0] <= side:
                behind = told[1] if told is not None and told[0] == side else None
                rows[side] = levels.rows(room, behind)
                room -= len(rows[side])
                if rows[side]:
                    told = (side, rows[side][-1][0])
        page = {
            "symbol": self._symbol,
            "feed_seq": book.feed_seq,
            "entry_index": depth.entry_index,
            "bids": rows[_BUY],
            "asks": rows[_SELL],
            "more": not room,
            "checksum": book.checksum(),
            "phase": book.phase,
            "last_price": book.last_price,
        }
        return page, told

    def _told(self, each: Any) -> Iterable[Any]:
        feed_seq, previous, index, time_ns, changes, checksum, *about = each.delta
        size = pages.LEVEL_ROWS
        for start in range(0, len(changes) or 1, size):
            is_last = start + size >= len(changes)
            part = changes[start : start + size]
            told = checksum if is_last else None
            yield (feed_seq, previous, index, time_ns, part, told, *about)
        yield from self._over(each.delta)


class _TopStream(_LevelStream):
    """`top`: the best price of each side and what is to be had there, whenever that changes."""

    _best: Any = None

    def _place(self, seq: int) -> int | None:
        return None  # one value is the whole picture

    def _picture(self) -> Iterator[Any]:
        depth = self._hold()
        self._best = depth.book.best()
        yield (depth.book.feed_seq, depth.entry_index, None, *self._best)

    def _told(self, each: Any) -> Iterable[Any]:
        if each.best != self._best:
            self._best = each.best
            yield (each.delta[0], each.delta[2], each.delta[3], *each.best)
        yield from self._over(each.delta)


class MarketStream(Protocol):
    """What `subscriptions.Subscription` says of these."""

    result: dict[str, Any]

    def first(self) -> Iterable[bytes]: ...

    def next(self, applied: Applied) -> Iterable[bytes]: ...


MARKET_STREAMS: Final[dict[str, Callable[[Arguments, Queries, FeedHistory], MarketStream]]] = {
    "feed": _FeedStream,
    "depth": _DepthStream,
    "top": _TopStream,
}


def _optional(arguments: Arguments, name: str) -> int | None:
    value = natural(arguments, name, -1, high=INDEX_MAX)
    return None if value < 0 else value

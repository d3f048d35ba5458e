"""The last messages of each instrument, so that a subscriber may go on where it was.

Owns the bounded history of the order-by-order feed on one node, and where a reader stands in it.
`messages.py` says what the messages are.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable
from typing import Final
from weakref import WeakValueDictionary

from raftbook.core.book import Book
from raftbook.core.events import INSTRUMENT_CREATED, INSTRUMENT_DELETED, Event, Reply
from raftbook.feed.depth import DepthFeed
from raftbook.feed.messages import FeedMessage, public_view, symbol_of

ENDED_MAX: Final = 64
"""Deleted instruments whose last messages are kept."""

_LISTINGS: Final = frozenset((INSTRUMENT_CREATED, INSTRUMENT_DELETED))


class FeedHistory:
    """The last messages of each instrument, at most `kept` of each.

    Messages are made when somebody reads: on most nodes, most of the time, nobody does. A reader
    stands at a *position*: how many messages of the symbol came before, over all instruments that
    had this symbol. Positions are this node's own; another node is told a feed_seq.

    Attributes:
        index: the last entry that was added, 0 before the first.
        depths: by symbol, the price levels of the instruments whose depth somebody reads now.
    """

    def __init__(self, kept: int) -> None:
        self.index = 0
        self._kept = kept
        self._is_watched = False  # perhaps: asking the dictionary takes as long as the rest
        self.depths: WeakValueDictionary[str, DepthFeed] = WeakValueDictionary()
        self._by_symbol: dict[str, _SymbolHistory] = {}
        self._ended: OrderedDict[str, None] = OrderedDict()  # deleted symbols, eldest first
        self._base = 0  # a symbol without a history stands here, above any that was dropped
        self._since: int | None = None  # everything after this entry is known

    def add(self, index: int, time_ns: int, replies: Iterable[Reply]) -> None:
        """Take the replies of one applied entry."""
        if self._since is None:
            self._since = index - 1
        self.index = index
        by_symbol = self._by_symbol
        when = (index, time_ns)
        is_watched = self._is_watched
        for _, _, _, _, events, poss_dup in replies:
            if poss_dup:
                continue
            for event in events:
                if not event[1]:
                    continue
                symbol = symbol_of(event)
                history = by_symbol.get(symbol)
                if history is None:
                    history = by_symbol[symbol] = _SymbolHistory(self._kept, self._base)
                history.unread.append((event, when))
                history.end += 1
                if event[0] in _LISTINGS:
                    self._listed(symbol, is_over=event[0] == INSTRUMENT_DELETED)
                if is_watched and (depth := self.depths.get(symbol)) is not None:
                    depth.take(event, when)
        if is_watched:
            for depth in list(self.depths.values()):
                depth.end_entry()
            self._is_watched = bool(self.depths)

    def _listed(self, symbol: str, *, is_over: bool) -> None:
        """An instrument came or went. What deleted ones leave behind is bounded."""
        self._ended.pop(symbol, None)
        if is_over:
            self._ended[symbol] = None
        if len(self._ended) > ENDED_MAX:
            dropped = self._by_symbol.pop(self._ended.popitem(last=False)[0])
            self._base = max(self._base, dropped.end)

    def since(self, symbol: str, feed_seq: int) -> list[FeedMessage] | None:
        """Messages of the symbol's newest instrument with a feed_seq above the given one; None if
        some are no longer kept."""
        history = self._by_symbol.get(symbol)
        if history is None:
            return None
        if feed_seq >= history.read()[-1][0]:
            return []
        at = history.place(feed_seq, entry_index=None, since=None)
        return None if at is None else self.after(symbol, at)

    def end(self, symbol: str) -> int:
        """The position behind the newest message."""
        history = self._by_symbol.get(symbol)
        return self._base if history is None else history.end

    def after(self, symbol: str, position: int) -> list[FeedMessage] | None:
        """The messages after a position; None if some of them are no longer kept."""
        history = self._by_symbol.get(symbol)
        if history is None:
            return [] if position == self._base else None
        count = history.end - position
        messages = history.read()
        if count > len(messages):
            return None
        return [messages[at] for at in range(len(messages) - count, len(messages))]

    def place(
        self, symbol: str, feed_seq: int, *, entry_index: int | None, newest_seq: int
    ) -> int | None:
        """The position of a reader that has every message up to `feed_seq`; None if what follows
        is no longer kept, or if it read of another instrument that had this symbol.

        Args:
            entry_index: the reader has all of the market's entries before it and something of it,
                or all of it; not above what was added here. None takes its word for it that it
                is the same instrument.
            newest_seq: the instrument's feed_seq now.
        """
        history = self._by_symbol.get(symbol)
        if history is not None:
            return history.place(feed_seq, entry_index=entry_index, since=self._since)
        if feed_seq != newest_seq:
            return None
        # Nothing of it happened since this node began: it is the same if it was there before.
        if entry_index is not None and (self._since is None or entry_index <= self._since):
            return None
        return self._base

    def depth(self, book: Book, entry_index: int) -> DepthFeed:
        """The price levels of an instrument; they are kept up for as long as somebody holds this.

        Args:
            entry_index: what the book is as of.
        """
        depth = self.depths.get(book.symbol)
        if depth is None or depth.is_over:
            depth = self.depths[book.symbol] = DepthFeed(book, entry_index, self._kept)
            self._is_watched = True
        return depth

    def forget(self) -> None:
        """The state was replaced by a snapshot: what came before it is not known here."""
        self._by_symbol.clear()
        self._ended.clear()
        self.depths.clear()
        self._base = self.index = 0
        self._since = None


class _SymbolHistory:
    """One symbol's messages, and the events after them that nobody has read yet.

    Attributes:
        end: the position behind the newest.
    """

    __slots__ = ("_begin", "_kept", "_messages", "end", "unread")

    def __init__(self, kept: int, begin: int) -> None:
        self._kept = kept
        self._begin = self.end = begin
        self._messages: deque[FeedMessage] = deque(maxlen=kept)
        self.unread: deque[tuple[Event, tuple[int, int]]] = deque(maxlen=kept)

    @property
    def has_dropped(self) -> bool:
        """Whether something came before what is kept."""
        return self.end - self._begin > self._kept

    def read(self) -> deque[FeedMessage]:
        """All messages. Unread events that overflowed leave no gap: they push all others out."""
        messages, unread = self._messages, self.unread
        while unread:
            event, when = unread.popleft()
            messages.append((event[1], *when, *public_view(event)))
        return messages

    def place(self, feed_seq: int, *, entry_index: int | None, since: int | None) -> int | None:
        """See `FeedHistory.place`. Of the newest instrument feed_seq is dense, so a message is
        found by counting.

        Args:
            since: every entry after this one was seen here.
        """
        messages = self.read()
        newest: int = messages[-1][0]
        birth = len(messages) - newest  # where its message 1 would stand
        at = birth + feed_seq - 1
        if not -1 <= at < len(messages):
            return None
        place = self.end - len(messages) + at + 1
        if entry_index is None or not feed_seq:
            return place
        if at + 1 < len(messages) and messages[at + 1][1] < entry_index:
            return None
        if at < 0:
            is_same = since is not None and entry_index > since and not self.has_dropped
            return place if is_same else None
        # Of two in one entry one might be mistaken for the other.
        is_young = birth >= 0 and messages[birth][1] == entry_index
        return None if is_young or messages[at][1] > entry_index else place

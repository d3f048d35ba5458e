"""The streams of one instrument: what each of them tells, and when.

Owns how the entries of the log become updates. An update is encoded once, however many listen; a
stream that nobody listens to does not exist. Streams of things that happen (trades, changes of the
best price) tell them with the entry; others gather for as long as their name says and then tell
what is new. Where a gathering ends may differ between nodes, the ids in it do not.

Streams of a state begin with that state, for each subscriber by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from raftbook.core.book import Book
from raftbook.feed.depth import DepthFeed, Step
from raftbook.feed.stream import FeedHistory
from raftbook.web.binance.depth_updates import book_ticker, depth_update, partial_depth
from raftbook.web.binance.history import INTERVALS, Tickers
from raftbook.web.binance.markets import Market
from raftbook.web.binance.price_updates import kline_update, mini_ticker_update, ticker_update
from raftbook.web.binance.stream_audience import Audience
from raftbook.web.binance.stream_names import StreamName
from raftbook.web.binance.trade_updates import News, aggregate_updates, trade_updates

CHANGES_MAX: Final = 4_096
"""Changed levels of one depth update: many clients take no message above 1 MiB. One that has
gathered so many is told early. A single entry may change more."""
STEPS_MAX: Final = 1_024
"""Entries of one depth update."""
TICK_MS: Final = 1_000
"""How often tickers and candles are told."""


class Timer(Protocol):
    """What waits for its time."""

    def cancel(self) -> None:
        """It need not come."""


Later = Callable[[float, Callable[[], None]], Timer]
"""Calls something after so many seconds."""


def later(delay_s: float, call: Callable[[], None]) -> Timer:
    """On the running loop."""
    return asyncio.get_running_loop().call_later(delay_s, call)


class Place:
    """One instrument on this node, as its streams read it; gone when the instrument is.

    Attributes:
        market: its name and units.
        book: the live book, read between turns only.
        depth: its price levels as of the last entry that was told to readers.
        tickers: its figures of 24 hours.
        later: what waits.
    """

    def __init__(
        self,
        market: Market,
        book: Book,
        feed: FeedHistory,
        *,
        applied_index: int,
        tickers: Tickers,
        later: Later,
    ) -> None:
        self.market, self.book, self._feed = market, book, feed
        self.tickers, self.later = tickers, later
        self.depth: DepthFeed = feed.depth(book, applied_index)
        self._end = feed.end(book.symbol)

    def look(self) -> bool:
        """Whether something happened since the last look."""
        end = self._feed.end(self.market.symbol)
        if end == self._end:
            return False
        self._end = end
        return True

    def steps_after(self, position: int) -> list[Step]:
        """The steps of its levels after a position, which was there at the last look."""
        steps = self.depth.after(position)
        assert steps is not None, f"one entry of {self.market.symbol} is more than one step"
        return steps


class Source:
    """One stream."""

    def __init__(self, name: StreamName, place: Place) -> None:
        self.name, self._place = name, place
        self.audience = Audience(name.text)
        self._timer: Timer | None = None

    def close(self) -> None:
        """Nobody listens any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def take(self, news: News) -> None:
        """An entry said something of this instrument."""
        raise NotImplementedError

    def time_passes(self, now_ns: int) -> None:
        """Logical time has come so far."""

    def picture(self) -> str | None:
        """What a subscriber begins with; None of a stream of happenings."""
        return None

    def _tell(self, update: str) -> None:
        self.audience.tell(update)

    def _gather(self, wait_ms: int) -> None:
        """Tell what is new after a while, unless that is arranged already."""
        if self._timer is None:
            self._timer = self._place.later(wait_ms / 1_000, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._tell_gathered()

    def _tell_gathered(self) -> None:
        """What has gathered is told now."""


class DepthSource(Source):
    """`<symbol>@depth`: every change of every level, ids without a gap."""

    def __init__(self, name: StreamName, place: Place) -> None:
        super().__init__(name, place)
        self._seen = place.depth.end
        self._steps: list[Step] = []
        self._changes = 0

    def take(self, news: News) -> None:
        steps = self._place.steps_after(self._seen)
        self._seen += len(steps)
        self._steps += steps
        self._changes += sum(len(step.delta[4]) for step in steps)
        if self._changes >= CHANGES_MAX or len(self._steps) >= STEPS_MAX:
            self._tell_gathered()
        elif steps:
            self._gather(self.name.interval_ms)

    def _tell_gathered(self) -> None:
        steps, self._steps, self._changes = self._steps, [], 0
        if steps:
            self._tell(depth_update(self._place.market, steps))


class PartialSource(Source):
    """`<symbol>@depth<levels>`: the best levels."""

    def take(self, news: News) -> None:
        self._gather(self.name.interval_ms)

    def _tell_gathered(self) -> None:
        self._tell(self.picture())

    def picture(self) -> str:
        place = self._place
        return partial_depth(place.market, place.depth.book, self.name.levels)


class BookTickerSource(Source):
    """`<symbol>@bookTicker`: the best prices, whenever an entry has changed them."""

    def __init__(self, name: StreamName, place: Place) -> None:
        super().__init__(name, place)
        self._seen = place.depth.end
        self._best = place.depth.book.best()

    def take(self, news: News) -> None:
        for step in self._place.steps_after(self._seen):
            self._seen += 1
            if step.best != self._best:
                self._best = step.best
                self._tell(book_ticker(self._place.market, step.delta[0], step.best))

    def picture(self) -> str:
        book = self._place.depth.book
        return book_ticker(self._place.market, book.feed_seq, book.best())


class TradeSource(Source):
    """`<symbol>@trade` and `<symbol>@aggTrade`: every trade."""

    def __init__(self, name: StreamName, place: Place) -> None:
        super().__init__(name, place)
        self._updates = trade_updates if name.kind == "trade" else aggregate_updates

    def take(self, news: News) -> None:
        for update in self._updates(self._place.market, news):
            self._tell(update)


class TickerSource(Source):
    """`<symbol>@ticker` and `<symbol>@miniTicker`: the last 24 hours."""

    def take(self, news: News) -> None:
        self._gather(TICK_MS)

    def _tell_gathered(self) -> None:
        self._tell(self.picture())

    def picture(self) -> str:
        make = ticker_update if self.name.kind == "ticker" else mini_ticker_update
        return make(self._place.market, self._place.book, self._place.tickers)


class KlineSource(Source):
    """`<symbol>@kline_<width>`: the candle of now, and that it is closed as soon as time says so.

    Intervals without trades are not told, as they are not kept.
    """

    def __init__(self, name: StreamName, place: Place) -> None:
        super().__init__(name, place)
        self._bounds = INTERVALS[name.width][1]
        self._begin_ns, self._end_ns = self._bounds(place.book.moment.time_ns)
        self._told_id = place.book.trade_id

    def take(self, news: News) -> None:
        if self._place.book.trade_id != self._told_id:
            self._gather(TICK_MS)

    def time_passes(self, now_ns: int) -> None:
        if now_ns < self._end_ns:
            return
        if told := self._made(is_closed=True):
            self._tell(told)
        self._begin_ns, self._end_ns = self._bounds(now_ns)

    def _tell_gathered(self) -> None:
        self._told_id = self._place.book.trade_id
        if told := self._made(is_closed=False):
            self._tell(told)

    def picture(self) -> str | None:
        return self._made(is_closed=False) or None

    def _made(self, *, is_closed: bool) -> str:
        place, width = self._place, self.name.width
        return kline_update(place.market, place.book, width, self._begin_ns, is_closed=is_closed)


SOURCES: Final[dict[str, type[Source]]] = {
    "depth": DepthSource,
    "partial": PartialSource,
    "bookTicker": BookTickerSource,
    "trade": TradeSource,
    "aggTrade": TradeSource,
    "ticker": TickerSource,
    "miniTicker": TickerSource,
    "kline": KlineSource,
}
"""By kind of stream name."""

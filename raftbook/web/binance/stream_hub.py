"""All market streams of a node: who listens to what, and what an applied entry means for them.

Owns which streams exist: those that somebody listens to. An entry costs a look at each instrument
that has any, and work for those in which something happened. A stream that cannot go on ends with
its connections, so that clients begin anew or elsewhere: an instrument that is gone or counts in
other units. No gap is ever served.
"""

from __future__ import annotations

import logging
from typing import Final

from raftbook.feed.stream import FeedHistory
from raftbook.gateway.queries import Queries
from raftbook.replica.machine import Applied
from raftbook.replica.replica import Replica
from raftbook.web.binance.faults import Fault
from raftbook.web.binance.history import Tickers
from raftbook.web.binance.markets import Markets
from raftbook.web.binance.price_updates import mini_ticker_update, ticker_update
from raftbook.web.binance.stream_audience import Audience, Listener
from raftbook.web.binance.stream_names import StreamName
from raftbook.web.binance.stream_sources import (
    SOURCES,
    TICK_MS,
    Later,
    Place,
    Source,
    Timer,
    later,
)
from raftbook.web.binance.trade_updates import News
from raftbook.web.websocket import RESTART

_log = logging.getLogger("raftbook.web")

WIDE_MAX: Final = 64
"""Instruments in one update of all tickers; others that changed are in the next ones."""


class StreamHub:
    """The market streams of one node.

    Listens to the replica from the moment it is made, and must be made after the feed's own
    listener.
    """

    def __init__(
        self,
        replica: Replica,
        queries: Queries,
        feed: FeedHistory,
        markets: Markets,
        tickers: Tickers,
        later: Later = later,
    ) -> None:
        self._queries, self._feed, self._markets = queries, feed, markets
        self._tickers, self._later = tickers, later
        self._stalls: dict[str, _Stall] = {}  # by our symbol
        self._wide: dict[str, _Wide] = {}  # by name of the stream
        replica.on_applied.append(self._on_applied)

    def is_known(self, name: StreamName) -> bool:
        """Whether there is such a stream now."""
        if not name.symbol:
            return True
        try:
            self._markets.find(name.symbol)
        except Fault:
            return False
        return True

    def add(self, name: StreamName, listener: Listener) -> None:
        """Let somebody listen to a stream that is known."""
        if not name.symbol:
            wide = self._wide.get(name.text)
            if wide is None:
                wide = _Wide(name, self._feed, self._markets, self._tickers, self._later)
                self._wide[name.text] = wide
            wide.audience.add(listener, None)
            return
        symbol = self._markets.find(name.symbol)[0].symbol
        stall = self._stalls.get(symbol)
        if stall is not None and not self._goes_on(stall):
            self._close(symbol, f"{stall.place.market.name} is another instrument now")
            stall = None
        if stall is None:
            stall = self._stalls[symbol] = self._open(name.symbol)
        source = stall.source(name)
        source.audience.add(listener, source.picture())

    def remove(self, name: StreamName, listener: Listener) -> None:
        """Somebody listens no longer; a stream without listeners is no more."""
        if not name.symbol:
            wide = self._wide.get(name.text)
            if wide is not None:
                wide.audience.remove(listener)
                if not wide.audience:
                    wide.close()
                    del self._wide[name.text]
            return
        for symbol, stall in self._stalls.items():
            if name.text in stall.sources and stall.place.market.name == name.symbol:
                stall.remove(name, listener)
                if not stall.sources:
                    del self._stalls[symbol]
                return

    def close(self) -> None:
        """The node stops."""
        for stall in self._stalls.values():
            stall.close()
        for wide in self._wide.values():
            wide.close()

    def _open(self, name: str) -> _Stall:
        market, book = self._markets.find(name)
        applied_index = self._queries.exchange.applied_index
        place = Place(
            market,
            book,
            self._feed,
            applied_index=applied_index,
            tickers=self._tickers,
            later=self._later,
        )
        return _Stall(place)

    def _close(self, symbol: str, reason: str) -> None:
        stall = self._stalls.pop(symbol, None)
        if stall is not None:
            stall.end(reason)

    def _goes_on(self, stall: _Stall) -> bool:
        """Whether the instrument is still the one that the streams began with."""
        book, terms = stall.place.book, stall.place.market.terms
        now = self._queries.exchange.books.get(book.symbol)
        return now is book and (now.terms.tick_size, now.terms.lot_size) == (
            terms.tick_size,
            terms.lot_size,
        )

    def _on_applied(self, applied: Applied) -> None:
        for wide in self._wide.values():
            wide.gather()
        news = News(applied)
        for symbol, stall in list(self._stalls.items()):
            if not self._goes_on(stall):
                self._close(symbol, f"{stall.place.market.name} is another instrument now")
                continue
            try:
                stall.take(news)
            except Exception:  # one that missed an entry would serve a gap from then on
                _log.exception("entry %d cannot be told of %s", applied.index, symbol)
                self._close(symbol, "this node could not tell an entry; begin anew")


class _Stall:
    """The streams of one instrument that somebody listens to.

    Attributes:
        sources: by name of the stream.
    """

    def __init__(self, place: Place) -> None:
        self.place = place
        self.sources: dict[str, Source] = {}

    def source(self, name: StreamName) -> Source:
        """A stream, from now on there if it was not."""
        source = self.sources.get(name.text)
        if source is None:
            source = SOURCES[name.kind](name, self.place)
            self.sources[name.text] = source
        return source

    def remove(self, name: StreamName, listener: Listener) -> None:
        source = self.sources[name.text]
        source.audience.remove(listener)
        if not source.audience:
            source.close()
            del self.sources[name.text]

    def take(self, news: News) -> None:
        """An entry was applied."""
        has_news = self.place.look()
        for source in list(self.sources.values()):
            source.time_passes(news.applied.time_ns)
            if has_news:
                source.take(news)

    def close(self) -> None:
        for source in self.sources.values():
            source.close()

    def end(self, reason: str) -> None:
        self.close()
        for source in self.sources.values():
            source.audience.end(RESTART, reason)


class _Wide:
    """A stream of the whole market: the tickers that changed."""

    def __init__(
        self,
        name: StreamName,
        feed: FeedHistory,
        markets: Markets,
        tickers: Tickers,
        later: Later,
    ) -> None:
        self.audience = Audience(name.text)
        self._feed, self._markets, self._tickers, self._later = feed, markets, tickers, later
        self._make = ticker_update if name.text == "!ticker@arr" else mini_ticker_update
        self._ends = {market.symbol: feed.end(market.symbol) for market, _ in markets.all()}
        self._first = 0  # whose turn it is to be first
        self._timer: Timer | None = None

    def gather(self) -> None:
        """Something happened somewhere."""
        if self._timer is None:
            self._timer = self._later(TICK_MS / 1_000, self._tell)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tell(self) -> None:
        self._timer = None
        told: list[str] = []
        found = self._markets.all()
        self._first %= max(1, len(found))
        for market, book in found[self._first :] + found[: self._first]:
            end = self._feed.end(market.symbol)
            if self._ends.get(market.symbol) == end:
                continue
            if len(told) == WIDE_MAX:
                self._first += WIDE_MAX
                self.gather()
                break
            self._ends[market.symbol] = end
            told.append(self._make(market, book, self._tickers))
        if told:
            self.audience.tell(f"[{','.join(told)}]")

"""Candles and 24-hour figures, made of what every node keeps of the past.

Owns how Binance's intervals are made of minutes, hours and days, and that an interval without
trades is shown flat at the close before it. Times are logical, so all nodes show the same.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from raftbook.core.book import Book
from raftbook.core.candles import WIDTHS_NS, Candle
from raftbook.core.hidden import best_shown
from raftbook.web.binance.figures import ZERO, percent
from raftbook.web.binance.markets import Json, Market, milliseconds

_MINUTE_NS, _HOUR_NS, _DAY_NS = WIDTHS_NS
_WEEK_SHIFT: Final = 3
"""1970 began on a Thursday, weeks begin on Mondays."""
_WINDOW_NS: Final = 24 * _HOUR_NS
SYMBOLS_KEPT_MAX: Final = 2_000


def _every(count: int, width_ns: int) -> Callable[[int], tuple[int, int]]:
    span = count * width_ns
    return lambda time_ns: (time_ns - time_ns % span, time_ns - time_ns % span + span)


def _week(time_ns: int) -> tuple[int, int]:
    days = (time_ns // _DAY_NS + _WEEK_SHIFT) // 7 * 7 - _WEEK_SHIFT
    return days * _DAY_NS, (days + 7) * _DAY_NS


def _month(time_ns: int) -> tuple[int, int]:
    day = datetime.fromtimestamp(time_ns // 1_000_000_000, tz=UTC)
    begin = datetime(day.year, day.month, 1, tzinfo=UTC)
    end = datetime(day.year + day.month // 12, day.month % 12 + 1, 1, tzinfo=UTC)
    return int(begin.timestamp()) * 1_000_000_000, int(end.timestamp()) * 1_000_000_000


Bounds = Callable[[int], tuple[int, int]]
INTERVALS: Final[dict[str, tuple[int, Bounds]]] = {
    "1m": (_MINUTE_NS, _every(1, _MINUTE_NS)),
    "3m": (_MINUTE_NS, _every(3, _MINUTE_NS)),
    "5m": (_MINUTE_NS, _every(5, _MINUTE_NS)),
    "15m": (_MINUTE_NS, _every(15, _MINUTE_NS)),
    "30m": (_MINUTE_NS, _every(30, _MINUTE_NS)),
    "1h": (_HOUR_NS, _every(1, _HOUR_NS)),
    "2h": (_HOUR_NS, _every(2, _HOUR_NS)),
    "4h": (_HOUR_NS, _every(4, _HOUR_NS)),
    "6h": (_HOUR_NS, _every(6, _HOUR_NS)),
    "8h": (_HOUR_NS, _every(8, _HOUR_NS)),
    "12h": (_HOUR_NS, _every(12, _HOUR_NS)),
    "1d": (_DAY_NS, _every(1, _DAY_NS)),
    "3d": (_DAY_NS, _every(3, _DAY_NS)),
    "1w": (_DAY_NS, _week),
    "1M": (_DAY_NS, _month),
}
"""By interval: the width of what it is made of, and where the one that holds a time begins and
ends."""


class Bar:
    """One interval of a chart; prices in ticks, quantities in lots, amounts in tick-lots."""

    __slots__ = ("close", "count", "end_ns", "high", "low", "notional", "open", "open_ns", "qty",
                 "taker_notional", "taker_qty")  # fmt: skip

    def __init__(self, open_ns: int, end_ns: int, price: int) -> None:
        self.open_ns, self.end_ns = open_ns, end_ns
        self.open = self.high = self.low = self.close = price
        self.qty = self.notional = self.count = self.taker_qty = self.taker_notional = 0

    def add(self, candle: Candle) -> None:
        """Take in a candle that comes after all before it."""
        if not self.count:
            self.open, self.high, self.low = candle.open, candle.high, candle.low
        self.high = max(self.high, candle.high)
        self.low = min(self.low, candle.low)
        self.close = candle.close
        self.qty += candle.qty
        self.notional += candle.notional
        self.count += candle.count
        self.taker_qty += candle.taker_qty
        self.taker_notional += candle.taker_notional


def chart(
    book: Book,
    interval: str,
    *,
    now_ns: int,
    start_ns: int | None,
    end_ns: int | None,
    limit: int,
) -> list[Bar]:
    """Intervals eldest first, none before the first kept trade: the first `limit` that begin at
    `start_ns` or later, without it the last ones that begin at `end_ns` or before.
    """
    width_ns, bounds = INTERVALS[interval]
    made = _traded(book, width_ns, bounds)
    if not made or (start_ns is not None and start_ns > now_ns):
        return []
    last_ns = bounds(now_ns if end_ns is None else min(end_ns, now_ns))[0]
    open_ns = made[0].open_ns
    if start_ns is None:
        begin_ns = last_ns
        for _ in range(limit - 1):
            if begin_ns <= open_ns:
                break
            begin_ns = bounds(begin_ns - 1)[0]
        open_ns = max(open_ns, begin_ns)
    elif start_ns > open_ns:
        open_ns, next_ns = bounds(start_ns)
        open_ns = next_ns if open_ns < start_ns else open_ns
    return _filled(made, bounds, open_ns=open_ns, last_ns=last_ns, limit=limit)


def _traded(book: Book, width_ns: int, bounds: Bounds) -> list[Bar]:
    """The intervals in which something was traded; at most as many as there are candles."""
    made: list[Bar] = []
    for candle in book.tape.candles(width_ns):
        if not made or candle.open_ns >= made[-1].end_ns:
            made.append(Bar(*bounds(candle.open_ns), candle.open))
        made[-1].add(candle)
    return made


def _filled(
    made: list[Bar], bounds: Bounds, *, open_ns: int, last_ns: int, limit: int
) -> list[Bar]:
    """Every interval from one to another; those without trades stand at the close before."""
    by_open = {bar.open_ns: bar for bar in made}
    close = made[0].open
    for bar in made:
        if bar.open_ns < open_ns:
            close = bar.close
    rows: list[Bar] = []
    while open_ns <= last_ns and len(rows) < limit:
        begin_ns, end_ns = bounds(open_ns)
        row = by_open.get(begin_ns) or Bar(begin_ns, end_ns, close)
        close = row.close
        rows.append(row)
        open_ns = end_ns
    return rows


def bar_row(market: Market, bar: Bar) -> list[Any]:
    """An interval as Binance writes it."""
    price, qty, amount = market.price.text, market.qty.text, market.amount.text
    return [
        milliseconds(bar.open_ns),
        price(bar.open),
        price(bar.high),
        price(bar.low),
        price(bar.close),
        qty(bar.qty),
        milliseconds(bar.end_ns) - 1,
        amount(bar.notional),
        bar.count,
        qty(bar.taker_qty),
        amount(bar.taker_notional),
        "0",
    ]


class DayFigures:
    """What happened in one instrument in the 24 hours before the last full minute, and since.

    Attributes:
        close_before: the last price before it, None if that is not kept.
    """

    __slots__ = ("bar", "close_before", "first_id", "last_id", "last_qty")

    def __init__(self, book: Book, now_ns: int) -> None:
        begin_ns = now_ns - now_ns % _MINUTE_NS - _WINDOW_NS
        self.bar = Bar(begin_ns, now_ns, 0)
        self.close_before: int | None = None
        for candle in book.tape.candles(_MINUTE_NS):
            if candle.open_ns < begin_ns:
                self.close_before = candle.close
            else:
                self.bar.add(candle)
        if not self.bar.count and book.last_price is not None:
            bar, last = self.bar, book.last_price
            bar.open = bar.high = bar.low = bar.close = last
            self.close_before = last
        trades = book.tape.trades()
        self.last_qty = trades[-1][2][4] if trades else 0
        self.last_id = book.trade_id if self.bar.count else -1
        self.first_id = book.trade_id - self.bar.count + 1 if self.bar.count else -1


class Tickers:
    """24-hour figures of instruments, made anew only when a trade or a minute has passed."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[tuple[Any, ...], DayFigures]] = {}

    def figures(self, book: Book, now_ns: int) -> DayFigures:
        """Those of one instrument: O(minutes with trades) when they are new."""
        trades = book.tape.trades()
        last_index = trades[-1][1] if trades else 0  # else one listed anew may look the same
        state = (book.terms, book.trade_id, last_index, now_ns // _MINUTE_NS)
        known = self._kept.get(book.symbol)
        if known is not None and known[0] == state:
            return known[1]
        figures = DayFigures(book, now_ns)
        if len(self._kept) > SYMBOLS_KEPT_MAX:
            self._kept.clear()  # most of them are deleted
        self._kept[book.symbol] = (state, figures)
        return figures


def day_document(market: Market, book: Book, figures: DayFigures, now_ns: int) -> Json:
    """`ticker/24hr`, all of it."""
    price, qty = market.price, market.qty
    bar = figures.bar
    before = bar.open if figures.close_before is None else figures.close_before
    change = bar.close - bar.open
    best_bid, best_ask = best_shown(book.bids), best_shown(book.asks)
    return {
        "symbol": market.name,
        "priceChange": price.text(change),
        "priceChangePercent": percent(change, bar.open),
        "weightedAvgPrice": price.quotient(bar.notional, bar.qty) if bar.qty else ZERO,
        "prevClosePrice": price.text(before),
        "lastPrice": price.text(bar.close),
        "lastQty": qty.text(figures.last_qty),
        "bidPrice": price.text(best_bid.price) if best_bid else ZERO,
        "bidQty": qty.text(best_bid.qty) if best_bid else ZERO,
        "askPrice": price.text(best_ask.price) if best_ask else ZERO,
        "askQty": qty.text(best_ask.qty) if best_ask else ZERO,
        "openPrice": price.text(bar.open),
        "highPrice": price.text(bar.high),
        "lowPrice": price.text(bar.low),
        "volume": qty.text(bar.qty),
        "quoteVolume": market.amount.text(bar.notional),
        "openTime": milliseconds(bar.open_ns),
        "closeTime": milliseconds(now_ns),
        "firstId": figures.first_id,
        "lastId": figures.last_id,
        "count": bar.count,
    }

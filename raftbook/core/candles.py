"""The tape of an instrument: its last trades, and candles of logical time made of all trades.

Owns what is kept of the past of a market; bounded, and the same on every node. Trades gather and
are read into candles many at once, since that is cheaper than one by one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any, Final

from raftbook.core.events import Event
from raftbook.core.types import Side

MINUTE_NS: Final = 60_000_000_000
WIDTHS_NS: Final = (MINUTE_NS, 60 * MINUTE_NS, 1_440 * MINUTE_NS)
"""A minute, an hour, a day: whatever is wider is made of these at the edges."""
CANDLES_KEPT: Final = 1_500
"""Of each width: 25 hours of minutes, 62 days of hours, four years of days."""
GATHERED_MAX: Final = 256
_BUY: Final = int(Side.BUY)

Trade = tuple[int, int, Event]
"""(time_ns, entry_index, TRADE or AUCTION_TRADE event)"""


class Candle:
    """One interval. Prices in ticks, volumes in lots, notionals in tick-lots.

    Attributes:
        open_ns: when it begins, a multiple of its width.
        taker_qty, taker_notional: of trades whose taker bought.
    """

    __slots__ = (
        "close",
        "count",
        "high",
        "low",
        "notional",
        "open",
        "open_ns",
        "qty",
        "taker_notional",
        "taker_qty",
    )

    def __init__(self, open_ns: int, price: int) -> None:
        self.open_ns = open_ns
        self.open = self.high = self.low = self.close = price
        self.qty = self.notional = self.count = self.taker_qty = self.taker_notional = 0

    def row(self) -> tuple[int, ...]:
        """As a value, in the order in which `restore` takes it."""
        return (
            self.open_ns,
            self.open,
            self.high,
            self.low,
            self.close,
            self.qty,
            self.notional,
            self.count,
            self.taker_qty,
            self.taker_notional,
        )

    def add(self, later: Candle) -> None:
        """Take in trades that came after its own, read into a candle; `open` stays."""
        self.high = max(self.high, later.high)
        self.low = min(self.low, later.low)
        self.close = later.close
        self.qty += later.qty
        self.notional += later.notional
        self.count += later.count
        self.taker_qty += later.taker_qty
        self.taker_notional += later.taker_notional

    @classmethod
    def of(cls, row: tuple[Any, ...]) -> Candle:
        """The candle of a row; its sums may be text, see `snapshot_parts`."""
        candle = cls(row[0], row[1])
        _, _, candle.high, candle.low, candle.close, *sums = row
        candle.qty, candle.notional, candle.count = int(sums[0]), int(sums[1]), sums[2]
        candle.taker_qty, candle.taker_notional = int(sums[3]), int(sums[4])
        return candle


class Tape:
    """The past of one instrument.

    Attributes:
        gathered: trades that are not in `trades` and the candles yet; the book appends here.
    """

    __slots__ = ("_keeps_candles", "_series", "_trades", "gathered")

    def __init__(self, trades_kept: int) -> None:
        self.gathered: list[Trade] = []
        self._trades: deque[Trade] = deque(maxlen=trades_kept)
        self._series: tuple[deque[Candle], ...] = tuple(
            deque(maxlen=CANDLES_KEPT) for _ in WIDTHS_NS
        )
        self._keeps_candles = False  # until engine version 2

    def keep_candles(self) -> None:
        """Begin to keep candles, with the trades that are remembered."""
        self.fold()
        if not self._keeps_candles:
            self._keeps_candles = True
            self._draw(self._trades)

    def trades(self) -> deque[Trade]:
        """The last trades, eldest first."""
        self.fold()
        return self._trades

    def candles(self, width_ns: int) -> deque[Candle]:
        """The last candles of one of WIDTHS_NS, eldest first; intervals without trades are out."""
        self.fold()
        return self._series[WIDTHS_NS.index(width_ns)]

    def restore(self, trades: list[Trade], rows: tuple[tuple[tuple[Any, ...], ...], ...]) -> None:
        """Go on from what a snapshot holds: trades, and the rows of each width."""
        self._trades.extend(trades)
        for series, some in zip(self._series, rows, strict=True):
            series.extend(Candle.of(row) for row in some)

    def fold(self) -> None:
        """Read what has gathered; when this happens changes nothing."""
        gathered = self.gathered
        if not gathered:
            return
        self._trades.extend(gathered)
        if self._keeps_candles:
            self._draw(gathered)
        gathered.clear()

    def _draw(self, trades: Iterable[Trade]) -> None:
        """Read trades into candles: first those of one minute into one, then that into each
        width."""
        minute: Candle | None = None
        end_ns = 0
        for time_ns, _, event in trades:
            price, qty = event[3], event[4]
            if minute is None or time_ns >= end_ns:
                if minute is not None:
                    self._add(minute)
                minute = Candle(time_ns - time_ns % MINUTE_NS, price)
                end_ns = minute.open_ns + MINUTE_NS
            elif price > minute.high:
                minute.high = price
            elif price < minute.low:
                minute.low = price
            notional = price * qty
            minute.close = price
            minute.qty += qty
            minute.notional += notional
            minute.count += 1
            if event[9][4][0] == _BUY:
                minute.taker_qty += qty
                minute.taker_notional += notional
        if minute is not None:
            self._add(minute)

    def _add(self, minute: Candle) -> None:
        """Let trades of one minute be part of the candle of each width that they fall into."""
        for width_ns, series in zip(WIDTHS_NS, self._series, strict=True):
            if not series or minute.open_ns >= series[-1].open_ns + width_ns:
                series.append(Candle(minute.open_ns - minute.open_ns % width_ns, minute.open))
            series[-1].add(minute)

"""The frames of `/v1/live`, the page's own feed: what they hold, as JSON text.

Owns the shapes. Prices are ticks and quantities lots, since the page adds them up; `hello` and
`instruments` say what one of each is. A frame is made once, however many readers get it.
docs/PAGE.md lists them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import islice
from typing import Any, Final

from raftbook.core.book import Book
from raftbook.core.candles import MINUTE_NS, Trade
from raftbook.core.events import AUCTION_TRADE
from raftbook.core.exchange import Exchange
from raftbook.core.types import Phase
from raftbook.gateway.market_queries import levels

LEVELS_MAX: Final = 80
"""Levels of each side in a `book`: what fits a large screen's ladder and a depth chart."""
TAPE_TRADES: Final = 60
"""Trades that a tape begins with."""
TRADES_MAX: Final = 200
"""Trades in one frame: more in a tenth of a second begin the tape anew."""
INSTRUMENTS_MAX: Final = 1_000
_DAY_NS: Final = 1_440 * MINUTE_NS


def encode(value: Any) -> str:
    """The text of a frame."""
    return json.dumps(value, separators=(",", ":"))


def instruments_frame(exchange: Exchange) -> str:
    """Every instrument: its units, where it stands and how the day went."""
    rows = [
        {
            "symbol": book.symbol,
            "base": book.terms.base,
            "quote": book.terms.quote,
            "tick_size": book.terms.tick_size,
            "lot_size": book.terms.lot_size,
            "phase": Phase(book.phase).name.lower(),
            "last": book.last_price,
        }
        for book in islice(exchange.books.values(), INSTRUMENTS_MAX)
    ]
    return encode({"type": "instruments", "instruments": rows})


def book_frame(book: Book, applied_index: int, now_ns: int) -> str:
    """The best levels of a book; [price, qty, orders] each."""
    return encode(
        {
            "type": "book",
            "symbol": book.symbol,
            "feed_seq": book.feed_seq,
            "applied_index": applied_index,
            "phase": Phase(book.phase).name.lower(),
            "last": book.last_price,
            "day": _day(book, now_ns),
            "resting": book.shown_count(),
            "bids": levels(book.bids, LEVELS_MAX),
            "asks": levels(book.asks, LEVELS_MAX),
        }
    )


def tape_frame(book: Book) -> str:
    """The last trades, newest first."""
    rows = [_trade(trade) for trade in islice(reversed(book.tape.trades()), TAPE_TRADES)]
    return encode({"type": "tape", "symbol": book.symbol, "trades": rows})


def trades_frame(symbol: str, trades: Iterable[Trade]) -> str:
    """Trades that came since the last frame, newest first."""
    return encode({"type": "trades", "symbol": symbol, "trades": [_trade(each) for each in trades]})


def last_trade_id(book: Book) -> int:
    """The newest trade of an instrument, 0 before the first."""
    trades = book.tape.trades()
    return int(trades[-1][2][2]) if trades else 0


def new_trades(book: Book, after_id: int) -> list[Trade] | None:
    """Trades with a higher id, newest first; None if they are more than one frame holds."""
    found: list[Trade] = []
    for trade in reversed(book.tape.trades()):
        if trade[2][2] <= after_id:
            return found
        if len(found) >= TRADES_MAX:
            return None
        found.append(trade)
    return found


def _trade(trade: Trade) -> list[int]:
    """[trade_id, price, qty, time in ms, taker's side: 1 buy, 2 sell, 0 an auction]"""
    time_ns, _, event = trade
    side = 0 if event[0] == AUCTION_TRADE else event[9][4][0]
    return [event[2], event[3], event[4], time_ns // 1_000_000, side]


def _day(book: Book, now_ns: int) -> dict[str, int] | None:
    """Open, high, low and volume of the last 24 hours of logical time; None without a trade."""
    since = now_ns - _DAY_NS
    hours = [
        candle for candle in islice(reversed(book.tape.candles(60 * MINUTE_NS)), 25)
        if candle.open_ns >= since
    ]  # fmt: skip
    if not hours:
        return None
    return {
        "open": hours[-1].open,
        "high": max(hour.high for hour in hours),
        "low": min(hour.low for hour in hours),
        "qty": sum(hour.qty for hour in hours),
        "count": sum(hour.count for hour in hours),
    }

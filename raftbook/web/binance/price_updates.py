"""What a market did lately, as streams tell it: candles, and the last 24 hours.

Owns the JSON of `kline`, `24hrTicker` and `24hrMiniTicker`, read off a book between two turns: a
function of the log, as of the last applied entry. The figures are those of `history.py`. Pure.
"""

from __future__ import annotations

import json
from typing import Final

from raftbook.core.book import Book
from raftbook.web.binance.history import INTERVALS, Bar, Tickers, day_document
from raftbook.web.binance.markets import Json, Market, milliseconds

_TICKER_KEYS: Final = {
    "p": "priceChange",
    "P": "priceChangePercent",
    "w": "weightedAvgPrice",
    "x": "prevClosePrice",
    "c": "lastPrice",
    "Q": "lastQty",
    "b": "bidPrice",
    "B": "bidQty",
    "a": "askPrice",
    "A": "askQty",
    "o": "openPrice",
    "h": "highPrice",
    "l": "lowPrice",
    "v": "volume",
    "q": "quoteVolume",
    "O": "openTime",
    "C": "closeTime",
    "F": "firstId",
    "L": "lastId",
    "n": "count",
}
"""What REST calls the fields of a ticker, by what a stream calls them."""
_MINI_TICKER_KEYS: Final = {key: _TICKER_KEYS[key] for key in "cohlvq"}


def kline_update(market: Market, book: Book, width: str, at_ns: int, *, is_closed: bool) -> str:
    """`kline` of the interval that a moment lies in, "" if nothing traded in it.

    O(candles from there to now). Trade ids are dense, so how many trades came after tells which
    were the interval's own.
    """
    kept_ns, bounds = INTERVALS[width]
    begin_ns, end_ns = bounds(at_ns)
    within, after = [], 0
    for candle in reversed(book.tape.candles(kept_ns)):
        if candle.open_ns < begin_ns:
            break
        if candle.open_ns >= end_ns:
            after += candle.count
        else:
            within.append(candle)
    bar = Bar(begin_ns, end_ns, 0)
    for candle in reversed(within):
        bar.add(candle)
    if not bar.count:
        return ""
    kline = _kline(market, width, bar, book.trade_id - after, is_closed=is_closed)
    time_ms = milliseconds(book.moment.time_ns)
    return _packed({"e": "kline", "E": time_ms, "s": market.name, "k": kline})


def _kline(market: Market, width: str, bar: Bar, last_id: int, *, is_closed: bool) -> Json:
    price, qty, amount = market.price.text, market.qty.text, market.amount.text
    return {
        "t": milliseconds(bar.open_ns),
        "T": milliseconds(bar.end_ns) - 1,
        "s": market.name,
        "i": width,
        "f": last_id - bar.count + 1,
        "L": last_id,
        "o": price(bar.open),
        "c": price(bar.close),
        "h": price(bar.high),
        "l": price(bar.low),
        "v": qty(bar.qty),
        "n": bar.count,
        "x": is_closed,
        "q": amount(bar.notional),
        "V": qty(bar.taker_qty),
        "Q": amount(bar.taker_notional),
        "B": "0",
    }


def mini_ticker_update(market: Market, book: Book, tickers: Tickers) -> str:
    """`24hrMiniTicker`."""
    return _ticker("24hrMiniTicker", _MINI_TICKER_KEYS, market, book, tickers)


def ticker_update(market: Market, book: Book, tickers: Tickers) -> str:
    """`24hrTicker`."""
    return _ticker("24hrTicker", _TICKER_KEYS, market, book, tickers)


def _ticker(event: str, keys: dict[str, str], market: Market, book: Book, tickers: Tickers) -> str:
    now_ns = book.moment.time_ns
    day = day_document(market, book, tickers.figures(book, now_ns), now_ns)
    told = {key: day[name] for key, name in keys.items()}
    return _packed({"e": event, "E": milliseconds(now_ns), "s": market.name, **told})


def _packed(value: Json) -> str:
    return json.dumps(value, separators=(",", ":"))

"""What streams there are and what they are called: `btcusdt@depth@100ms`, `!ticker@arr`.

Owns the grammar of the names, nothing else: whether there is such an instrument is asked later.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from raftbook.web.binance.history import INTERVALS

MARKET_WIDE: Final = ("!ticker@arr", "!miniTicker@arr")
PLAIN_KINDS: Final = ("trade", "aggTrade", "bookTicker", "ticker", "miniTicker")
NAME_CHARS_MAX: Final = 200
"""A name is a symbol of at most two currencies' names, and what is wanted of it."""

_DEPTH: Final = re.compile(r"depth(5|10|20)?(?:@(100|1000)ms)?")
_KLINE: Final = re.compile(rf"kline_({'|'.join(INTERVALS)})")


@dataclass(frozen=True, slots=True)
class StreamName:
    """One stream.

    Attributes:
        text: as its subscriber wrote it, and as it is told back.
        symbol: in upper case; "" of a stream of the whole market.
        kind: `depth`, `partial`, `kline`, one of PLAIN_KINDS, or one of MARKET_WIDE.
        levels: of a partial depth.
        interval_ms: how often a depth is told.
        width: of a candle.
    """

    text: str
    symbol: str
    kind: str
    levels: int = 0
    interval_ms: int = 0
    width: str = ""


def read_stream_name(text: str) -> StreamName | None:
    """The stream of that name; None if no stream can be called so."""
    if len(text) > NAME_CHARS_MAX:
        return None
    if text in MARKET_WIDE:
        return StreamName(text, "", text)
    lower, _, what = text.partition("@")
    if not lower or not what or lower != lower.lower():
        return None
    symbol = lower.upper()
    if what in PLAIN_KINDS:
        return StreamName(text, symbol, what)
    if found := _KLINE.fullmatch(what):
        return StreamName(text, symbol, "kline", width=found[1])
    if found := _DEPTH.fullmatch(what):
        kind = "partial" if found[1] else "depth"
        interval_ms = int(found[2] or 1_000)
        return StreamName(text, symbol, kind, int(found[1] or 0), interval_ms)
    return None

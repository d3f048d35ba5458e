"""The book as streams tell it: changes of levels, the best levels, the best prices.

Owns the JSON of these, made of the steps of `feed/depth.py`. Update ids are feed_seqs: every node
counts them alike, so that a reader goes on at any node. An update tells a run of entries: `U` is
the first feed_seq of it, `u` the last, and the next one begins at `u` + 1. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from json.encoder import encode_basestring_ascii as quoted
from typing import Final

from raftbook.core.types import Side
from raftbook.feed.depth import Best, DepthBook, Row, Step
from raftbook.web.binance.figures import ZERO, Scale
from raftbook.web.binance.markets import Market

_BUY: Final = int(Side.BUY)
_SELL: Final = int(Side.SELL)
_NS_PER_MS: Final = 1_000_000


def depth_update(market: Market, steps: Sequence[Step]) -> str:
    """`depthUpdate` of a run of steps, at least one; empty lists where no level changed."""
    changed: dict[int, dict[int, int]] = {_BUY: {}, _SELL: {}}
    for step in steps:
        for side, price, qty, _ in step.delta[4]:
            changed[side][price] = qty
    first, last = steps[0].delta, steps[-1].delta
    price, qty = market.price, market.qty
    bids = _pairs(price, qty, changed[_BUY].items())
    asks = _pairs(price, qty, changed[_SELL].items())
    return (
        f'{{"e":"depthUpdate","E":{last[3] // _NS_PER_MS},"s":{quoted(market.name)},'
        f'"U":{first[1] + 1},"u":{last[0]},"b":{bids},"a":{asks}}}'
    )


def partial_depth(market: Market, book: DepthBook, levels: int) -> str:
    """The best levels of each side."""
    bids, asks = (_rows(market, book.sides[side].rows(levels)) for side in (_BUY, _SELL))
    return f'{{"lastUpdateId":{book.feed_seq},"bids":{bids},"asks":{asks}}}'


def book_ticker(market: Market, feed_seq: int, best: Best) -> str:
    """The best prices; zeros for an empty side."""
    bid, bid_qty, ask, ask_qty = best
    price, qty = market.price.text, market.qty.text
    return (
        f'{{"u":{feed_seq},"s":{quoted(market.name)},"b":"{price(bid or 0)}","B":"{qty(bid_qty)}",'
        f'"a":"{price(ask or 0)}","A":"{qty(ask_qty)}"}}'
    )


def _rows(market: Market, rows: Iterable[Row]) -> str:
    return _pairs(market.price, market.qty, ((row[0], row[1]) for row in rows))


def _pairs(price: Scale, qty: Scale, levels: Iterable[tuple[int, int]]) -> str:
    """A level that is gone has ZERO, whatever the lot: clients compare the text."""
    told = (f'["{price.text(at)}","{qty.text(count) if count else ZERO}"]' for at, count in levels)
    return f"[{','.join(told)}]"

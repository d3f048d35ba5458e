"""The price of a call auction: a pure question about two lists of wishes.

Owns the rule of docs/MATCHING.md "Price"; the slow twin of the tests walks every tick instead; and
what is kept of an auction while it goes on. Knows nothing of books.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from raftbook.core.ladder import Order

Wish = tuple[int, int]
"""(limit price in ticks, lots)"""


class Clearing(NamedTuple):
    """What an auction would do: the price in ticks, the lots that trade, and buys less sells."""

    price: int
    volume: int
    imbalance: int


class Uncrossing:
    """An auction under way: its price is found, and it trades page by page.

    Attributes:
        found: what it does in all, None when nothing trades.
        left: lots that are still to trade.
        is_told: whether its end was told, so that only orders are left that end with it.
        ending: those orders, the next one last.
    """

    __slots__ = ("ending", "found", "is_told", "left")

    def __init__(self, found: Clearing | None) -> None:
        self.found = found
        self.left = 0 if found is None else found.volume
        self.is_told = False
        self.ending: list[Order] = []


class _Span(NamedTuple):
    """Neighbouring ticks at which as much would trade."""

    low: int
    high: int
    volume: int
    imbalance: int


def clearing(
    bids: Iterable[Wish],
    asks: Iterable[Wish],
    *,
    market_buys: int,
    market_sells: int,
    reference: int | None,
) -> Clearing | None:
    """The one price, None when nothing would trade. O(n log n) in the number of wishes.

    Args:
        bids, asks: limit orders or whole levels, in any order.
        market_buys, market_sells: lots that would trade at any price.
        reference: the price to stay close to where the rule leaves a choice.
    """
    spans = _spans(bids, asks, market_buys, market_sells)
    if not spans and reference is not None:
        volume = min(market_buys, market_sells)
        spans = [_Span(reference, reference, volume, market_buys - market_sells)]
    most = max((span.volume for span in spans), default=0)
    if most <= 0:
        return None
    spans = [span for span in spans if span.volume == most]
    least = min(abs(span.imbalance) for span in spans)
    spans = [span for span in spans if abs(span.imbalance) == least]
    price = _choose(spans, reference)
    imbalance = next(span.imbalance for span in spans if span.low <= price <= span.high)
    return Clearing(price, most, imbalance)


def _spans(
    bids: Iterable[Wish], asks: Iterable[Wish], market_buys: int, market_sells: int
) -> list[_Span]:
    """Each limit price and each gap between neighbours, from the lowest up."""
    buys_at: dict[int, int] = {}
    sells_at: dict[int, int] = {}
    for wishes, at in ((bids, buys_at), (asks, sells_at)):
        for price, qty in wishes:
            at[price] = at.get(price, 0) + qty
    prices = sorted({*buys_at, *sells_at})
    buys = market_buys + sum(buys_at.values())
    sells = market_sells
    spans: list[_Span] = []
    for price in prices:
        if spans and price - spans[-1].high > 1:
            gap = (spans[-1].high + 1, price - 1)
            spans.append(_Span(*gap, min(buys, sells), buys - sells))
        sells += sells_at.get(price, 0)
        spans.append(_Span(price, price, min(buys, sells), buys - sells))
        buys -= buys_at.get(price, 0)
    return spans


def _choose(spans: Sequence[_Span], reference: int | None) -> int:
    """The tick among those that are equally good."""
    low, high = spans[0].low, spans[-1].high
    if spans[-1].imbalance > 0:  # it falls as the price rises, so all are positive
        return high
    if spans[0].imbalance < 0:
        return low
    low = max((span.high for span in spans if span.imbalance > 0), default=low)
    high = min((span.low for span in spans if span.imbalance < 0), default=high)
    if reference is None:
        return (low + high) // 2
    return min(max(reference, low), high)

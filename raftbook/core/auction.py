"""The price of a call auction: a pure question about two lists of wishes.

Owns the rule of docs/MATCHING.md "Price"; the slow twin of the tests walks every tick instead; and
what is kept of an auction while it goes on. Knows nothing of books.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from operator import neg
from typing import NamedTuple

from raftbook.core.ladder import Order

Wish = tuple[int, int]
"""(limit price in ticks, lots)"""
Block = tuple[list[int], list[int]]
"""Neighbouring levels of one side, best first: the key of each (see `ladder.py`), and its lots."""


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
        at_market: of each side the market orders that trade, the next one last and some of them
            filled; None until that was looked up.
    """

    __slots__ = ("at_market", "ending", "found", "is_told", "left")

    def __init__(self, found: Clearing | None) -> None:
        self.found = found
        self.left = 0 if found is None else found.volume
        self.is_told = False
        self.ending: list[Order] = []
        self.at_market: tuple[list[Order], list[Order]] | None = None


class _Reach(NamedTuple):
    """How far into one side the volume reaches.

    Attributes:
        price: of the last level that trades, None where only lots at market do.
        lots: all up to there, whether they trade or not.
        beyond: the next level, None behind the last.
    """

    price: int | None
    lots: int
    beyond: Wish | None


def clearing(
    bids: Iterable[Wish],
    asks: Iterable[Wish],
    *,
    market_buys: int,
    market_sells: int,
    span: tuple[int, int] | None,
    reference: int | None,
) -> Clearing | None:
    """The one price, None when nothing would trade. O(levels that trade).

    Args:
        bids, asks: levels, best price first; looked at as far as they trade, and one further.
        market_buys, market_sells: lots that would trade at any price.
        span: the lowest and the highest limit price of all, None where there is none.
        reference: the price to stay close to where the rule leaves a choice.
    """
    bid, ask = _reach(bids, asks, market_buys, market_sells)
    volume = min(bid.lots, ask.lots)
    if span is None and reference is not None:
        span = (reference, reference)
    if not volume or span is None:
        return None
    price = _choose(*_best_ticks(bid, ask, volume, span), reference)
    bought, sold = bid.lots, ask.lots
    if bid.beyond is not None and bid.beyond[0] >= price:
        bought += bid.beyond[1]
    if ask.beyond is not None and ask.beyond[0] <= price:
        sold += ask.beyond[1]
    return Clearing(price, volume, bought - sold)


def _reach(
    bids: Iterable[Wish], asks: Iterable[Wish], bought: int, sold: int
) -> tuple[_Reach, _Reach]:
    """Let the best of both sides meet for as long as they cross; what stands at market is first."""
    more_bids, more_asks = iter(bids), iter(asks)
    bid, ask = next(more_bids, None), next(more_asks, None)
    bid_price: int | None = None
    ask_price: int | None = None
    while True:
        takes_bid, takes_ask = bought <= sold, sold <= bought
        if (takes_bid and bid is None) or (takes_ask and ask is None):
            break
        next_bid = bid[0] if takes_bid and bid is not None else bid_price
        next_ask = ask[0] if takes_ask and ask is not None else ask_price
        if next_bid is not None and next_ask is not None and next_bid < next_ask:
            break
        if takes_bid and bid is not None:
            bid_price = next_bid
            bought += bid[1]
            bid = next(more_bids, None)
        if takes_ask and ask is not None:
            ask_price = next_ask
            sold += ask[1]
            ask = next(more_asks, None)
    return _Reach(bid_price, bought, bid), _Reach(ask_price, sold, ask)


def _best_ticks(bid: _Reach, ask: _Reach, volume: int, span: tuple[int, int]) -> tuple[int, int]:
    """The ticks at which as much as possible trades and buys and sells differ least: the lowest
    and the highest of them."""
    low = span[0] if ask.price is None else ask.price
    high = span[1] if bid.price is None else bid.price
    if ask.lots > volume:
        return low, low
    if bid.lots > volume:
        return high, high
    # Both sides are used up to a lot, between what of either is not wanted.
    bid_key, bid_lots = (low - 1, 0) if bid.beyond is None else bid.beyond
    ask_key, ask_lots = (high + 1, 0) if ask.beyond is None else ask.beyond
    even = max(low, bid_key + 1), min(high, ask_key - 1)
    if even[0] <= even[1]:
        return even
    # No tick is: at one there is a bid too many, at the next one an ask.
    if ask_key > high or (bid_key >= low and bid_lots < ask_lots):
        return bid_key, bid_key
    if bid_key < low or ask_lots < bid_lots:
        return ask_key, ask_key
    return bid_key, ask_key


def _choose(low: int, high: int, reference: int | None) -> int:
    """The tick among those that are equally good."""
    return (low + high) // 2 if reference is None else min(max(reference, low), high)


def abridged(
    bids: Iterable[Block], asks: Iterable[Block], *, market_buys: int, market_sells: int
) -> tuple[Iterator[Wish], Iterator[Wish]]:
    """What `clearing` may be asked in place of all wishes, for the same answer at less cost.

    Levels that surely trade to the last lot are told as one, at the worst price of theirs. The rest
    comes level by level, and the answer lies in the first block of it. Cost: O(levels that trade),
    little for each; looked at is up to a block more.
    """
    bid, ask = _Side(bids, market_buys), _Side(asks, market_sells)
    while bid.passes(ask) or ask.passes(bid):
        pass
    return bid.wishes(sign=1), ask.wishes(sign=-1)


class _Side:
    """One side of an auction, block by block.

    Attributes:
        keys, lots: the block that comes next, empty behind the last one.
        before, after: all lots up to its begin, those at market first, and up to its end.
    """

    __slots__ = ("_at_market", "_more", "_passed_key", "after", "before", "keys", "lots")

    def __init__(self, blocks: Iterable[Block], at_market: int) -> None:
        self._more = iter(blocks)
        self._at_market = self.after = at_market
        self._passed_key = 0
        self._read()

    def _read(self) -> None:
        self.before = self.after
        self.keys, self.lots = next(self._more, ([], []))
        self.after += sum(self.lots)

    def passes(self, other: _Side) -> bool:
        """Go past the next block, if the other side has lots for all up to the end of it."""
        if not self.keys or self.after > other.lots_for(self.keys[-1]):
            return False
        self._passed_key = self.keys[-1]
        self._read()
        return True

    def lots_for(self, key: int) -> int:
        """The lots, up to the end of the next block, that trade with a level of the other side:
        their keys sum up to 0 or more where the prices cross.

        Of what was passed that may be too many, but then they are no fewer than are asked for.
        """
        if self.keys and self.keys[-1] + key >= 0:
            return self.after  # as a rule, and without a second look at the block
        return self.before + sum(self.lots[: bisect_right(self.keys, key, key=neg)])

    def wishes(self, *, sign: int) -> Iterator[Wish]:
        """What was passed as one, then the rest; `sign` as in `Ladder`."""
        if self.before > self._at_market:
            yield sign * self._passed_key, self.before - self._at_market
        while self.keys:
            for key, lots in zip(self.keys, self.lots, strict=True):
                yield sign * key, lots
            self._read()

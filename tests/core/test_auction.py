"""The price of a call auction against brute force over every tick."""

import random
from collections import Counter
from collections.abc import Iterator

import pytest

from raftbook.core.auction import Block, Wish, abridged, clearing
from tests.core.flow import EFFORT
from tests.core.twin.auction import Interest, auction_price

BOOKS = 10_000 * EFFORT


def a_side(chooser: random.Random, centre: int, spread: int) -> Interest:
    """Limit orders, few of them and close together, and now and then market orders."""
    orders: Interest = [
        (centre + chooser.randint(-spread, spread), chooser.randint(1, 6))
        for _ in range(chooser.choice((0, 1, 1, 2, 2, 3, 4, 6)))
    ]
    if chooser.random() < 0.3:
        orders.append((None, chooser.randint(1, 9)))
    return orders


def lots_at_market(orders: Interest) -> int:
    return sum(qty for limit, qty in orders if limit is None)


def levels(orders: Interest, *, sign: int) -> list[tuple[int, int]]:
    """Limit prices with the lots at each, the best one first."""
    lots = Counter[int]()
    for limit, qty in orders:
        if limit is not None:
            lots[limit] += qty
    return sorted(lots.items(), key=lambda level: -sign * level[0])


def blocks(wishes: list[Wish], sizes: list[int], *, sign: int) -> Iterator[Block]:
    """The levels in blocks of these sizes, over and over."""
    start = turn = 0
    while block := wishes[start : start + sizes[turn % len(sizes)]]:
        yield [sign * price for price, _ in block], [lots for _, lots in block]
        start += len(block)
        turn += 1


class Abridged:
    """The answer that is found by blocks, and what was looked at for it."""

    def __init__(
        self, buys: Interest, sells: Interest, reference: int | None, sizes: tuple[list[int], ...]
    ) -> None:
        market = {"market_buys": lots_at_market(buys), "market_sells": lots_at_market(sells)}
        self.read = [0, 0]
        self.walked = 0
        sides = [
            self._counted(side, blocks(levels(orders, sign=sign), sizes[side], sign=sign))
            for side, (orders, sign) in enumerate(((buys, 1), (sells, -1)))
        ]
        bids, asks = map(self._walked, abridged(*sides, **market))
        self.found = clearing(bids, asks, **market, span=span(buys + sells), reference=reference)

    def _counted(self, side: int, blocks: Iterator[Block]) -> Iterator[Block]:
        for block in blocks:
            self.read[side] += len(block[0])
            yield block

    def _walked(self, wishes: Iterator[Wish]) -> Iterator[Wish]:
        for wish in wishes:
            self.walked += 1
            yield wish


def span(orders: Interest) -> tuple[int, int] | None:
    limits = [limit for limit, _ in orders if limit is not None]
    return (min(limits), max(limits)) if limits else None


@pytest.mark.parametrize("seed", range(5))
def test_the_price_is_the_one_that_a_look_at_every_tick_finds(seed: int) -> None:
    chooser = random.Random(seed)
    traded = gaps = 0
    for _ in range(BOOKS):
        spread = chooser.choice((1, 2, 3, 3, 12))
        buys, sells = a_side(chooser, 1, spread), a_side(chooser, -1, spread)
        reference = chooser.choice((None, *range(-spread - 2, spread + 3)))
        found = clearing(
            levels(buys, sign=1),
            levels(sells, sign=-1),
            market_buys=lots_at_market(buys),
            market_sells=lots_at_market(sells),
            span=span(buys + sells),
            reference=reference,
        )
        price, volume, imbalance = auction_price(buys, sells, reference)
        if price is None:
            assert found is None, (buys, sells, reference)
        else:
            assert found == (price, volume, imbalance), (buys, sells, reference)
            traded += 1
            gaps += price not in {limit for limit, _ in buys + sells}
        sizes = [chooser.randint(1, 3)], [1, chooser.randint(1, 3)]
        in_blocks = Abridged(buys, sells, reference, sizes).found
        assert in_blocks == found, (buys, sells, reference, sizes)
    assert traded > BOOKS // 4 and gaps > BOOKS // 100, "the books never cross, or only at limits"


def a_deep_side(chooser: random.Random, *, sign: int) -> Interest:
    """Many levels, most of which would trade, of as many lots or of quite different ones."""
    most = chooser.choice((1, 1, 3, 50))
    first = sign * chooser.choice((-1, 3, 20, 50))
    orders: Interest = [
        (first - sign * chooser.choice((n, n, 2 * n)), chooser.randint(1, most))
        for n in range(chooser.choice((0, 1, 9, 30, 60, 60)))
    ]
    if chooser.random() < 0.3:
        orders.append((None, chooser.choice((1, 9, 90))))
    return orders


@pytest.mark.parametrize("seed", range(5))
def test_a_deep_book_may_be_looked_at_in_blocks(seed: int) -> None:
    chooser = random.Random(seed)
    deep = 0
    for _ in range(250 * EFFORT):
        buys, sells = a_deep_side(chooser, sign=1), a_deep_side(chooser, sign=-1)
        reference = chooser.choice((None, -3, 0, 2))
        sizes = [chooser.randint(1, 9) for _ in range(3)], [chooser.randint(1, 9)]
        by_blocks = Abridged(buys, sells, reference, sizes)
        price, volume, imbalance = auction_price(buys, sells, reference)
        due = None if price is None else (price, volume, imbalance)
        assert by_blocks.found == due, (buys, sells, reference, sizes)
        # However lopsided, but a few blocks of either side are gone through level by level.
        assert by_blocks.walked <= 2 + 2 * 2 * 9, (buys, sells, sizes)
        for orders, sign, read in ((buys, 1, by_blocks.read[0]), (sells, -1, by_blocks.read[1])):
            trading = levels_that_trade(orders, volume, sign=sign)
            assert read <= trading + 9, (buys, sells, sizes)
            deep += trading > 3 * 9
    assert deep > 10 * EFFORT, "hardly one trades deep"


def levels_that_trade(orders: Interest, volume: int, *, sign: int) -> int:
    lots = lots_at_market(orders)
    for count, (_, more) in enumerate(levels(orders, sign=sign)):
        if lots >= volume:
            return count
        lots += more
    return len(levels(orders, sign=sign))


@pytest.mark.parametrize(
    ("buys", "sells", "due"),
    [
        # what trades ends with a block of both sides
        ([(9, 1), (8, 1), (3, 1)], [(1, 1), (2, 1), (4, 1)], [[(8, 2), (3, 1)], [(2, 2), (4, 1)]]),
        # the lots of one block of bids end within a block of asks, and the prices cross there
        ([(9, 1), (5, 1), (3, 1)], [(1, 1), (6, 1)], [[(9, 1), (5, 1), (3, 1)], [(1, 1), (6, 1)]]),
        ([(9, 1), (6, 1), (3, 1)], [(1, 2), (7, 1)], [[(6, 2), (3, 1)], [(1, 2), (7, 1)]]),
        ([(9, 1), (6, 1), (3, 1)], [(1, 1), (6, 1)], [[(6, 2), (3, 1)], [(6, 2)]]),
        ([(9, 1), (6, 1), (3, 1)], [(6, 2), (7, 1)], [[(6, 2), (3, 1)], [(6, 2), (7, 1)]]),
        # at market alone
        ([(None, 2)], [(1, 1), (2, 1), (3, 1)], [[], [(2, 2), (3, 1)]]),
        ([(None, 2)], [(1, 1), (2, 2), (3, 1)], [[], [(1, 1), (2, 2), (3, 1)]]),
    ],
)
def test_levels_that_surely_trade_are_told_as_one(
    buys: Interest, sells: Interest, due: list[list[Wish]]
) -> None:
    """In blocks of two."""
    sides = [
        blocks(levels(orders, sign=sign), [2], sign=sign)
        for orders, sign in ((buys, 1), (sells, -1))
    ]
    market = {"market_buys": lots_at_market(buys), "market_sells": lots_at_market(sells)}
    assert [list(side) for side in abridged(*sides, **market)] == due


@pytest.mark.parametrize(
    ("buys", "sells", "reference", "due"),
    [
        ([(10, 5)], [(7, 5)], 9, (9, 5, 0)),
        ([(10, 5)], [(7, 5)], 12, (10, 5, 0)),
        ([(10, 5)], [(7, 5)], None, (8, 5, 0)),
        ([(10, 6)], [(7, 5)], 8, (10, 5, 1)),
        ([(10, 5)], [(7, 6)], 9, (7, 5, -1)),
        ([(None, 3)], [(None, 2)], 4, (4, 2, 1)),
        ([(None, 3)], [(None, 2)], None, (None, 0, 0)),
        ([(None, 3)], [(4, 2), (6, 2)], 1, (6, 3, -1)),
        ([(3, 1)], [(4, 1)], 3, (None, 0, 0)),
    ],
    ids=str,
)
def test_the_look_at_every_tick_finds_what_the_rule_says(
    buys: Interest, sells: Interest, reference: int | None, due: tuple[int | None, int, int]
) -> None:
    assert auction_price(buys, sells, reference) == due

"""The price of a call auction against brute force over every tick."""

import random
from collections import Counter

import pytest

from raftbook.core.auction import clearing
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
    assert traded > BOOKS // 4 and gaps > BOOKS // 100, "the books never cross, or only at limits"


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

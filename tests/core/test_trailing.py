"""Trailing stops that share their best prices are where each would be alone."""

import random

import pytest

from raftbook.core.ladder import Order, Special
from raftbook.core.stops import Stops
from raftbook.core.trailing import Trail, trailed
from raftbook.core.types import OrderType, Side, TimeInForce, TrailUnit
from tests.core.flow import EFFORT
from tests.core.small_market import market


@pytest.mark.parametrize("seed", range(20 * EFFORT))
def test_each_is_where_it_would_be_alone(seed: int) -> None:
    chance = random.Random(seed)
    is_buy = bool(seed % 2)
    trail, alone = Trail(is_buy=is_buy), dict[int, tuple[tuple[object, ...], int]]()
    price = chance.choice((0, 1_000))
    for arrival in range(600):
        draw = chance.random()
        if draw < 0.4:
            unit = chance.choice((TrailUnit.TICKS, TrailUnit.BASIS_POINTS))
            terms = _terms(arrival, unit, chance.choice((1, 7, 40, 900)), is_buy=is_buy)
            best = price + chance.choice((0, 0, 0, -5, 5))
            trail.add(terms, arrival, best)
            alone[arrival] = (terms, best)
        elif draw < 0.55 and alone:
            order_id = chance.choice(list(alone))
            terms, best = alone.pop(order_id)
            assert trail.remove(terms, order_id) == best
        else:
            price += chance.randint(-30, 30)
            trail.follow(price)
            better = min if is_buy else max
            alone = {each: (terms, better(best, price)) for each, (terms, best) in alone.items()}
        trail.check()
        assert len(trail) == len(alone)
        assert {each: trail.best_price(each) for each in alone} == {
            each: best for each, (_, best) in alone.items()
        }
        stops = {each: trailed(terms, best) for each, (terms, best) in alone.items()}
        found: list[tuple[int, int, int]] = []
        trail.reach(price, found)
        sign = 1 if is_buy else -1
        assert sorted(found) == sorted(
            (sign * stop, each, each)
            for each, stop in stops.items()
            if (price >= stop if is_buy else price <= stop)
        )


def _terms(order_id: int, unit: TrailUnit, offset: int, *, is_buy: bool) -> tuple[object, ...]:
    kind = (int(Side.BUY if is_buy else Side.SELL), int(OrderType.STOP), int(TimeInForce.GTC), 0, 0)
    return (order_id, "a", "", "X", kind, 1, None, (None, int(unit), offset, 0, 0, 0, 0, 0))


def test_who_comes_after_a_price_sees_it_when_it_comes_again() -> None:
    """Its best price is one nobody was told of: trades moved it while none could fire. The node
    that has looked, and one that is restored from a snapshot and has not, must find the same."""
    engine = market().engine
    terms = _terms(1, TrailUnit.TICKS, 1, is_buy=True)
    order = Order(engine.accounts["a"], engine.books["A"], terms, 1, 0, 0)
    stops, special = Stops(), Special(0)
    stops.trail(3)
    stops.arrive(order, special, 4)
    stops.trail(3)
    stops.catch_up(order, special)
    assert special.best_price == 3

"""Where a look at a ladder begins and goes on, however many levels are passed over."""

import random
from bisect import insort

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raftbook.core.exchange import Exchange
from raftbook.core.keys import SortedKeys
from raftbook.core.ladder import Ladder, Level, Order, Special, is_unquoted
from tests.core.flow import EFFORT
from tests.core.venue_market import GENESIS

EXCHANGE = Exchange(GENESIS)
"""Whose account and book orders here name; nobody asks them anything."""
KEYS = st.sets(st.integers(-900, 900), max_size=1_500)


@given(KEYS, st.sets(st.integers(-900, 900), max_size=300), st.integers(-1_000, 1_000))
@settings(max_examples=50 * EFFORT, deadline=None)
def test_keys_below_are_those_of_a_sorted_list(there: set[int], gone: set[int], key: int) -> None:
    keys = SortedKeys()
    for each in there:
        keys.add(each)
    for each in there & gone:
        keys.remove(each)
    expected = sorted((each for each in there - gone if each < key), reverse=True)
    assert list(keys.below(key)) == expected


@pytest.mark.parametrize("seed", range(3 * EFFORT))
def test_many_keys_come_and_go_as_in_a_sorted_list(seed: int) -> None:
    """More than stand near the best one, at both ends and in between, and best ones taken."""
    chooser = random.Random(seed)
    keys, expected = SortedKeys(), list[int]()
    for step in range(6_000):
        grows = len(expected) < 1_200 if step < 3_000 else len(expected) < 5
        if not expected or chooser.random() < (0.8 if grows else 0.3):
            key = chooser.randrange(-10_000, 10_000)
            if key not in expected:
                keys.add(key)
                insort(expected, key)
        elif chooser.random() < 0.3:
            expected.pop()
            assert keys.pop() == (expected[-1] if expected else None)
        else:
            key = expected.pop(chooser.randrange(len(expected)))
            keys.remove(key)
        if step % 50 == 0:
            keys.check()
            assert list(reversed(keys)) == expected[::-1]
            assert len(keys) == len(expected)
            assert [keys.from_best(each) for each in range(len(keys))] == expected[::-1]
            key = chooser.randrange(-10_000, 10_000)
            assert list(keys.below(key)) == [each for each in expected[::-1] if each < key]


def test_when_all_near_keys_are_removed_far_ones_take_their_place() -> None:
    keys, count = SortedKeys(), 2_000
    for key in range(count):
        keys.add(key)
    for best in reversed(range(1, count)):
        keys.remove(best)
        keys.check()
        assert keys.from_best(0) == best - 1


@pytest.mark.parametrize("seed", range(2 * EFFORT))
def test_the_best_level_that_quotes_is_found_past_all_that_do_not(seed: int) -> None:
    chooser = random.Random(seed)
    ladder, orders = Ladder(chooser.choice((1, -1))), list[Order]()
    for step in range(4_000):
        if not orders or chooser.random() < (0.8 if step < 2_000 else 0.3):
            order = _order(step, chooser.choice(("", "hidden", "pegged")), chooser)
            # few that quote, and those far from the best
            price = chooser.randrange(700) * ladder.sign + (0 if is_unquoted(order) else -600)
            ladder.append(order, price)
            orders.append(order)
        else:
            ladder.remove(orders.pop(chooser.randrange(len(orders))))
        found = ladder.best_quoted()
        assert found is next(filter(_quotes, ladder), None)
        assert ladder.best_quoted() is found
        if step % 100 == 0:
            ladder.check()


def _order(order_id: int, how: str, chooser: random.Random) -> Order:
    venue = EXCHANGE
    order = Order(venue.accounts["a"], venue.books["A"], (order_id,), chooser.randint(1, 9), 0, 0)
    if how:
        order.special = special = Special(0)
        special.is_hidden, special.is_pegged = how == "hidden", how == "pegged"
    return order


def _quotes(level: Level) -> bool:
    return not all(map(is_unquoted, level))

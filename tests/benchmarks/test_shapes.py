"""The five shapes are what they say: the same each time, plausible, and unlike each other."""

from collections import Counter

import pytest

from benchmarks.rivals import books, plain_book
from benchmarks.rivals.plain_book import CANCEL, MODIFY, NEW
from benchmarks.shapes import SWINGS, messages_of
from tests.benchmarks.test_books import our_trades


@pytest.mark.parametrize("shape", SWINGS)
def test_shape_is_the_same_each_time_and_our_core_bears_it(shape: str) -> None:
    messages = messages_of(shape, 3_000)
    assert messages == messages_of(shape, 3_000)
    assert len(messages) == 3_000
    kinds = Counter(message.kind for message in messages)
    assert kinds[NEW] > kinds[CANCEL] > kinds[MODIFY] > 150
    trades = plain_book.replay(messages)
    assert our_trades(books.commands_of(messages, trades)) == trades


def test_shapes_differ_in_how_much_trades_and_how_far_prices_go() -> None:
    flows = {shape: messages_of(shape, 10_000) for shape in SWINGS}
    prices = {
        shape: len({message.price for message in flow if message.kind == NEW})
        for shape, flow in flows.items()
    }
    assert prices["static"] < prices["normal"] < prices["swing 25"] < prices["crash"]
    trades = {shape: len(plain_book.replay(flow)) for shape, flow in flows.items()}
    assert trades["static"] < trades["normal"] < trades["crash"]


def test_orders_are_named_before_they_are_changed_and_ioc_ones_never_are() -> None:
    known: dict[int, bool] = {}
    for message in messages_of("normal", 5_000):
        if message.kind == NEW:
            known[message.order_id] = message.is_ioc
        else:
            assert known[message.order_id] is False

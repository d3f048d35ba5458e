"""A client's price levels: kept from one value to the next, and begun anew when they are wrong."""

import asyncio
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from raftbook.client import DepthBook, InstrumentSpec
from raftbook.client.aio_stream import AsyncDepthSubscription
from raftbook.client.subscription import DepthPosition, TopPosition
from raftbook.client.sync_stream import DepthSubscription
from raftbook.errors import ProtocolError
from raftbook.wire.book_checksum import book_checksum

PAGE = {
    "page": 1,
    "more": False,
    "symbol": "S",
    "feed_seq": 7,
    "entry_index": 4,
    "bids": [(10, 3, 2)],
    "asks": [(12, 5, 1)],
    "checksum": book_checksum([(10, 3)], [(12, 5)]),
    "phase": 3,
    "last_price": 11,
}
DELTA = (8, 7, 5, 99, ((1, 10, 0, 0), (1, 9, 4, 1)), book_checksum([(9, 4)], [(12, 5)]), 3, 12)
WRONG = (*DELTA[:5], 1, *DELTA[6:])
SPEC = InstrumentSpec("S", "OIL", "EUR", Decimal("0.5"), Decimal(10), "CONTINUOUS", {})


class Streams:
    """Streams of given values, one after the other."""

    def __init__(self, *streams: list[Any]) -> None:
        self._streams = iter(streams)
        self.closed = 0

    def __call__(self) -> Any:
        return _Stream(self, iter(next(self._streams)))


class _Stream:
    def __init__(self, streams: Streams, values: Iterator[Any]) -> None:
        self._streams, self._values = streams, values

    def __next__(self) -> Any:
        return next(self._values)

    async def __anext__(self) -> Any:
        try:
            return next(self._values)
        except StopIteration:
            raise StopAsyncIteration from None

    def next(self, timeout_s: float) -> Any:
        return next(self._values, None)

    def close(self) -> None:
        self._streams.closed += 1

    async def aclose(self) -> None:
        self._streams.closed += 1


def _seen(book: DepthBook) -> tuple[Any, ...]:
    return book.feed_seq, book.bids(), book.asks(), book.last_price


FIRST = (7, [(10, 3, 2)], [(12, 5, 1)], 11)
SECOND = (8, [(9, 4, 1)], [(12, 5, 1)], 12)


def test_one_book_is_handed_out_after_each_change() -> None:
    depth = DepthSubscription("S", Streams([("refresh", PAGE), DELTA]))
    book = next(depth)
    assert _seen(book) == FIRST
    assert next(depth) is book
    assert _seen(book) == SECOND
    assert (book.entry_index, book.time_ns) == (5, 99)
    assert depth.next(0.1) is None


def test_a_wrong_book_is_begun_anew_by_itself() -> None:
    streams = Streams([("refresh", PAGE), WRONG], [("refresh", PAGE), DELTA])
    seen = [_seen(book) for book in DepthSubscription("S", streams)]
    assert seen == [FIRST, FIRST, SECOND]
    assert streams.closed == 1


def test_a_wrong_book_is_begun_anew_without_blocking_too() -> None:
    streams = Streams([("refresh", PAGE), WRONG], [("refresh", PAGE), DELTA])

    async def scene() -> list[Any]:
        return [_seen(book) async for book in AsyncDepthSubscription("S", streams)]

    assert asyncio.run(scene()) == [FIRST, FIRST, SECOND]
    assert streams.closed == 1


def test_a_book_that_is_never_right_is_an_error() -> None:
    wrong = [("refresh", {**PAGE, "checksum": 0})]
    with pytest.raises(ProtocolError, match="3 times in a row"):
        next(DepthSubscription("S", Streams(wrong, wrong, wrong)))


def test_pages_are_handed_out_when_they_are_of_one_moment() -> None:
    book = DepthBook("S")
    first = {**PAGE, "more": True, "asks": []}
    # The market moved while it was told: the second page is newer than the first.
    second = {**PAGE, "page": 2, "bids": [], "feed_seq": 8, "checksum": DELTA[5]}
    assert [book.take(each) for each in (("refresh", first), ("refresh", second), DELTA)] == [
        False,
        False,
        True,
    ]
    assert _seen(book) == SECOND


def test_a_view_has_decimals_and_totals() -> None:
    book = DepthBook("S")
    book.take(("refresh", {**PAGE, "bids": [(10, 3, 2), (9, 1, 1)], "checksum": 2_508_308_692}))
    view = book.view(SPEC)
    assert [(level.price, level.qty, level.total, level.orders) for level in view.bids] == [
        (Decimal("5.0"), 30, 30, 2),
        (Decimal("4.5"), 10, 40, 1),
    ]
    assert (view.last_price, view.phase, view.feed_seq) == (Decimal("5.5"), "CONTINUOUS", 7)


@pytest.mark.parametrize(
    "value",
    [(), ("refresh", {}), ("refresh",), 5, (8, 7, 5), (9, 8, *DELTA[2:]), ("deleted",)],
    ids=repr,
)
def test_what_is_no_value_of_depth_is_refused(value: Any) -> None:
    position, book = DepthPosition({"symbol": "S"}), DepthBook("S")
    position.take(("refresh", PAGE))
    with pytest.raises(ProtocolError):
        book.take(position.take(value))


def test_a_place_in_depth_is_a_feed_seq_and_an_entry() -> None:
    position = DepthPosition({"symbol": "S"})
    assert position.arguments() == {"symbol": "S"}
    position.take(("refresh", {**PAGE, "more": True}))
    assert position.arguments() == {"symbol": "S"}  # half a refresh is no place
    position.take(("refresh", {**PAGE, "page": 2}))
    assert position.arguments() == {"symbol": "S", "from_seq": 8, "from_index": 4}
    position.take((*DELTA[:5], None, *DELTA[6:]))
    assert position.arguments()["from_seq"] == 8  # nor is half a delta
    position.take(DELTA)
    assert position.arguments() == {"symbol": "S", "from_seq": 9, "from_index": 5}


def test_an_older_best_price_of_a_slower_node_is_kept_out() -> None:
    position = TopPosition({"symbol": "S"})
    new, old = (8, 5, 99, 9, 4, 12, 5), (7, 4, 98, 10, 3, 12, 5)
    assert position.take(new) == new
    assert position.take(old) is None
    assert position.take(new) is None
    assert position.arguments() == {"symbol": "S", "from_seq": 9, "from_index": 5}
    assert position.take(("deleted", 9, 6, 100)) == ("deleted", 9, 6, 100)
    assert position.take((1, 7, None, None, 0, None, 0)) is not None  # it was listed anew

"""The reference book is right, ours agrees with it, and so does every book that is compared."""

import gzip
from collections.abc import Sequence

import pytest

from benchmarks.core import entries_of, opened
from benchmarks.flows import genesis
from benchmarks.rivals import book_adapters, books, plain_book
from benchmarks.rivals.book_adapters import BOOKS
from benchmarks.rivals.plain_book import BUY, CANCEL, MODIFY, NEW, SELL, Message, Trade
from benchmarks.rivals.servers import Absent
from raftbook.core import events as e
from raftbook.core.commands import Command
from tests.outside_data import DIRECTORY, needs

MESSAGES, REPORTS = "s23_normal_50k_messages.csv.gz", "s23_normal_50k_reports.csv.gz"


def test_elder_order_trades_first_and_the_rest_stays() -> None:
    messages = [
        Message(NEW, 1, SELL, 101, 5, False),
        Message(NEW, 2, SELL, 101, 5, False),
        Message(NEW, 3, SELL, 100, 1, False),
        Message(NEW, 4, BUY, 101, 8, False),
        Message(NEW, 5, BUY, 101, 9, True),
        Message(NEW, 6, SELL, 101, 9, False),
    ]
    assert plain_book.replay(messages) == [
        Trade(3, 100, 1, 3),
        Trade(3, 101, 5, 1),
        Trade(3, 101, 2, 2),
        Trade(4, 101, 3, 2),
    ]


def test_modify_goes_to_the_end_and_late_ones_do_nothing() -> None:
    messages = [
        Message(NEW, 1, BUY, 100, 5, False),
        Message(NEW, 2, BUY, 100, 5, False),
        Message(MODIFY, 1, 0, 100, 3, False),
        Message(CANCEL, 9, 0, 0, 0, False),
        Message(NEW, 3, SELL, 100, 8, False),
        Message(MODIFY, 1, 0, 100, 3, False),
        Message(CANCEL, 2, 0, 0, 0, False),
        Message(NEW, 4, SELL, 1, 1, True),
    ]
    assert plain_book.replay(messages) == [Trade(4, 100, 5, 2), Trade(4, 100, 3, 1)]


@needs(MESSAGES, REPORTS)
def test_plain_book_makes_the_trades_of_the_conformance_flow() -> None:
    _, messages = books.messages_of_flow(50_000)
    lines = gzip.decompress((DIRECTORY / REPORTS).read_bytes()).decode().split("\n")
    rows = [[int(cell) for cell in line.split(",")] for line in lines if line.startswith("1,")]
    expected = [Trade(seq, price, qty, maker) for _, seq, price, qty, maker, _ in rows]
    assert plain_book.replay(messages) == expected


def test_our_core_agrees_with_the_plain_book() -> None:
    messages = books.generated_messages(5_000)
    trades = plain_book.replay(messages)
    assert len(trades) > 500
    assert our_trades(books.commands_of(messages, trades)) == trades


@pytest.mark.parametrize("name", BOOKS)
def test_rival_book_agrees_with_the_plain_book(name: str) -> None:
    book = BOOKS[name]
    try:
        _, replay = book.load()
    except Absent as error:
        pytest.skip(str(error))
    messages = books.generated_messages(2_000)
    if name == "fastlob":  # a late cancel makes it raise
        messages = _without_late_ones(messages)
    expected = plain_book.replay(messages)
    assert len(expected) > 200
    assert books.same_trades(replay(messages), expected, names_makers=book.names_makers)


def _without_late_ones(messages: list[Message]) -> list[Message]:
    book = plain_book.PlainBook()
    kept = []
    for message in messages:
        if message.kind != NEW and message.order_id not in book:
            continue
        kept.append(message)
        if message.kind == NEW:
            book.submit(0, message)
        elif message.kind == CANCEL:
            book.cancel(message.order_id)
        else:
            book.modify(0, message)
    return kept


def test_book_that_fails_is_told_and_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(messages: object) -> list[Trade]:
        raise KeyError("9990.00")

    broken = book_adapters.Book(lambda: ("v1", fail), "nothing")
    monkeypatch.setattr(books, "BOOKS", {"plain": BOOKS["plain"], "broken": broken})
    found = books.run(0.0, count=10)
    assert found["absent"] == {"broken": "fails on this flow: KeyError: '9990.00'"}
    assert list(found["books"]) == ["plain"]


def test_trades_that_differ_are_seen() -> None:
    expected = [Trade(1, 100, 2, 7), Trade(1, 100, 3, 8)]
    other_maker = [Trade(1, 100, 2, 8), Trade(1, 100, 3, 7)]
    summed = [Trade(1, 100, 5, 0)]
    assert not books.same_trades(other_maker, expected, names_makers=True)
    assert books.same_trades(summed, expected, names_makers=False)
    assert not books.same_trades(summed[:0], expected, names_makers=False)


def test_run_compares_in_the_same_rounds() -> None:
    found = books.run(0.0, count=200)
    assert found["rounds"] == books.ROUNDS_MIN
    assert set(found["messages_per_s"]) == {*books.OURS, *found["books"]}
    assert {*found["books"], *found["absent"]} == set(BOOKS)
    assert found["books"]["plain"]["same_trades"] is True


def our_trades(commands: Sequence[Command]) -> list[Trade]:
    """What our core trades on them."""
    exchange = opened(genesis())
    return [
        Trade(number, event[3], event[4], int(event[5][2]))
        for number, entry in enumerate(entries_of(commands, 1))
        for event in exchange.apply(entry)[0][4]
        if event[0] == e.TRADE
    ]

"""Candles against the sums of the trades that fall into each interval."""

import random
from typing import Any

import pytest

from raftbook.core.candles import CANDLES_KEPT, MINUTE_NS, WIDTHS_NS, Candle, Tape
from raftbook.core.events import TRADE
from raftbook.core.types import Side
from tests.core.flow import EFFORT

START_NS = 10**18


def a_trade(time_ns: int, number: int, price: int, qty: int, taker: Side) -> Any:
    """What the tape is given; of the terms only the taker's side is looked at."""
    maker_terms = (1, "a", "", "A", (3 - taker, 2, 1, 0, 0), qty, price)
    taker_terms = (2, "b", "", "A", (int(taker), 2, 1, 0, 0), qty, price)
    sides = (maker_terms, qty, 0, qty * price, taker_terms, qty, 0, qty * price)
    return (time_ns, number, (TRADE, number, number, price, qty, *sides))


def expected_rows(trades: list[Any], width_ns: int) -> list[tuple[int, ...]]:
    """Interval by interval, each looking through all trades."""
    rows = []
    for open_ns in sorted({time_ns // width_ns * width_ns for time_ns, _, _ in trades}):
        mine = [e for time_ns, _, e in trades if open_ns <= time_ns < open_ns + width_ns]
        prices = [event[3] for event in mine]
        bought = [event for event in mine if event[9][4][0] == Side.BUY]
        rows.append(
            (
                *(open_ns, prices[0], max(prices), min(prices), prices[-1]),
                sum(event[4] for event in mine),
                sum(event[3] * event[4] for event in mine),
                len(mine),
                sum(event[4] for event in bought),
                sum(event[3] * event[4] for event in bought),
            )
        )
    return rows[-CANDLES_KEPT:]


def test_there_are_candles_of_a_minute_an_hour_and_a_day() -> None:
    assert [width_ns / 10**9 for width_ns in WIDTHS_NS] == [60, 3_600, 86_400]


@pytest.mark.parametrize("seed", range(5 * EFFORT))
def test_every_candle_is_the_sum_of_its_trades(seed: int) -> None:
    chooser = random.Random(seed)
    tape, trades, time_ns = Tape(10), list[Any](), START_NS
    tape.keep_candles()
    for number in range(1, 400):
        steps = (0, 1, MINUTE_NS // 3, MINUTE_NS, 17 * MINUTE_NS, 60 * MINUTE_NS, 1_500 * MINUTE_NS)
        time_ns += chooser.choice(steps)
        price, qty = chooser.randint(-9, 9), chooser.randint(1, 9)
        trades.append(a_trade(time_ns, number, price, qty, chooser.choice(list(Side))))
        tape.gathered.append(trades[-1])
        if chooser.random() < 0.2:
            tape.fold()
    for width_ns in WIDTHS_NS:
        rows = [candle.row() for candle in tape.candles(width_ns)]
        assert rows == expected_rows(trades, width_ns)
    assert [*tape.trades()] == trades[-10:]


def test_no_more_are_kept_than_there_is_room_for() -> None:
    tape = Tape(3)
    tape.keep_candles()
    for minute in range(CANDLES_KEPT + 5):
        tape.gathered.append(a_trade(START_NS + minute * MINUTE_NS, minute + 1, 1, 1, Side.BUY))
    candles = tape.candles(MINUTE_NS)
    assert len(candles) == CANDLES_KEPT
    assert candles[0].open_ns == (START_NS // MINUTE_NS + 5) * MINUTE_NS


def test_a_candle_goes_through_its_row() -> None:
    row = (60, 4, 9, 2, 5, 30, 150, 7, 11, 52)
    assert Candle.of(row).row() == row

"""Streams of trades, candles and tickers, and what a subscriber costs."""

from typing import Any

import pytest

from raftbook.core import commands as c
from raftbook.core.commands import Entry
from raftbook.core.types import Phase, Side
from raftbook.web.binance.stream_sources import TradeSource
from raftbook.web.websocket import RESTART
from tests.web.binance.stream_market import Node, listen, market_entries, stream

MINUTE = 60 * 10**9
T0 = 10**18 - 10**18 % (24 * 60 * MINUTE) + 600 * MINUTE
"""At ten in the morning."""


class Market(Node):
    """GASUSD, where A and B trade."""

    def __init__(self, kept: int = 1_000) -> None:
        super().__init__(kept=kept)
        self.apply(Entry(1, T0, next(market_entries(self.exchange, 1)).requests))
        self._seq = 0

    def do(self, *commands: c.Command, session: int = 2, time_ns: int = T0) -> None:
        """One entry."""
        self._seq += 1
        index = self.exchange.applied_index + 1
        self.apply(Entry(index, time_ns, ((session, self._seq, commands),)))

    def trade(self, qty: int, price: int, *, taker: Side = Side.BUY, time_ns: int = T0) -> None:
        """One entry in which one trade happens."""
        maker = Side.SELL if taker is Side.BUY else Side.BUY
        self.do(
            c.place_order("B", maker, qty, price),
            c.place_order("B", taker, qty, price),
            time_ns=time_ns,
        )


def test_every_trade_is_told_once_with_who_was_the_maker() -> None:
    market = Market()
    trades, aggregates = listen(market, "gasusd@trade"), listen(market, "gasusd@aggTrade")
    market.do(c.place_order("B", Side.BUY, 5, 3))
    market.do(c.place_order("B", Side.SELL, 2, 3), time_ns=T0 + 7_000_000)
    market.trade(4, 6, time_ns=T0 + 9_000_000)
    first, second = trades.take()
    at = T0 // 10**6 + 7
    assert first == {
        "e": "trade", "E": at, "s": "GASUSD", "t": 1, "p": "3.00000000", "q": "2.00000000",
        "T": at, "m": True, "M": True,
    }  # fmt: skip
    assert (second["t"], second["p"], second["q"], second["m"]) == (
        2, "6.00000000", "4.00000000", False,
    )  # fmt: skip
    told = aggregates.take()
    assert [(each["a"], each["f"], each["l"], each["q"]) for each in told] == [
        (1, 1, 1, "2.00000000"), (2, 2, 2, "4.00000000"),
    ]  # fmt: skip


def test_trades_of_an_auction_are_told() -> None:
    market = Market()
    ear = listen(market, "gasusd@trade")
    market.do(c.set_phase("B", Phase.AUCTION), session=1)
    market.do(c.place_order("B", Side.BUY, 5, 3), c.place_order("B", Side.SELL, 2, 3))
    assert ear.take() == []
    market.do(c.set_phase("B", Phase.CONTINUOUS), session=1)
    assert [(each["t"], each["p"], each["q"]) for each in ear.take()] == [
        (1, "3.00000000", "2.00000000")
    ]


def test_trades_are_told_from_the_subscription_on() -> None:
    market = Market()
    market.trade(1, 5)
    ear = listen(market, "gasusd@trade")
    market.trade(2, 5)
    assert [each["t"] for each in ear.take()] == [2]


def test_trades_of_one_taker_at_one_price_are_one_aggregate() -> None:
    market = Market()
    ear = listen(market, "gasusd@aggTrade")
    makers = [c.place_order("B", Side.SELL, qty, price) for qty, price in ((1, 5), (2, 5), (3, 6))]
    market.do(*makers)
    market.do(c.place_order("B", Side.BUY, 2, 6), c.place_order("B", Side.BUY, 4, 6))
    assert [(each["a"], each["f"], each["l"], each["p"], each["q"]) for each in ear.take()] == [
        (1, 1, 2, "5.00000000", "2.00000000"),
        (3, 3, 3, "5.00000000", "1.00000000"),
        (4, 4, 4, "6.00000000", "3.00000000"),
    ]


def test_a_candle_is_told_while_it_grows_and_once_more_when_time_closes_it() -> None:
    market = Market()
    ear = listen(market, "gasusd@kline_1m")
    assert ear.take() == []
    market.trade(2, 5)
    market.trade(3, 4, taker=Side.SELL, time_ns=T0 + 10**9)
    market.trade(1, 7, time_ns=T0 + 2 * 10**9)
    market.time_passes()
    (told,) = ear.take()
    kline = told["k"]
    assert (told["e"], told["s"]) == ("kline", "GASUSD")
    assert kline == {
        "t": T0 // 10**6, "T": T0 // 10**6 + 59_999, "s": "GASUSD", "i": "1m", "f": 1, "L": 3,
        "o": "5.00000000", "c": "7.00000000", "h": "7.00000000", "l": "4.00000000",
        "v": "6.00000000", "n": 3, "x": False, "q": "29.00000000", "V": "3.00000000",
        "Q": "17.00000000", "B": "0",
    }  # fmt: skip
    market.do(time_ns=T0 + MINUTE - 1)
    assert ear.take() == []
    market.trade(1, 3, time_ns=T0 + MINUTE)
    (closed,) = ear.take()
    assert closed["k"] == {**kline, "x": True}
    market.time_passes()
    (following,) = ear.take()
    assert (following["k"]["t"], following["k"]["f"]) == (T0 // 10**6 + 60_000, 4)


def test_a_candle_without_trades_is_not_told() -> None:
    market = Market()
    ear = listen(market, "gasusd@kline_3m")
    market.do(c.place_order("B", Side.BUY, 1, 1))
    for minute in range(1, 8):
        market.do(time_ns=T0 + minute * MINUTE)
        market.time_passes()
    assert ear.take() == []


def test_a_ticker_tells_the_last_day_and_forgets_what_came_before() -> None:
    market = Market()
    market.trade(2, 8)
    hour = 60 * MINUTE
    for late in range(1, 3_000):  # logical time moves a minute at most
        market.do(time_ns=T0 + late * MINUTE)
        if late == 2_000:
            market.trade(4, 5, time_ns=T0 + late * MINUTE)
        if late == 2_500:
            market.trade(1, 7, time_ns=T0 + late * MINUTE)
            break
    market.do(c.place_order("B", Side.BUY, 3, 2), time_ns=T0 + 2_500 * MINUTE)
    (ticker,) = listen(market, "gasusd@ticker").take()
    now = (T0 + 2_500 * MINUTE) // 10**6
    assert ticker == {
        "e": "24hrTicker", "E": now, "s": "GASUSD", "p": "2.00000000", "P": "40.000",
        "w": "5.40000000", "x": "8.00000000", "c": "7.00000000", "Q": "1.00000000",
        "b": "2.00000000", "B": "3.00000000", "a": "0.00000000", "A": "0.00000000",
        "o": "5.00000000", "h": "7.00000000", "l": "5.00000000", "v": "5.00000000",
        "q": "27.00000000", "O": now - 24 * hour // 10**6, "C": now,
        "F": 2, "L": 3, "n": 2,
    }  # fmt: skip
    (small,) = listen(market, "gasusd@miniTicker").take()
    assert (small["e"], small["o"], small["c"], small["v"], small["q"]) == (
        "24hrMiniTicker", "5.00000000", "7.00000000", "5.00000000", "27.00000000",
    )  # fmt: skip


def test_a_ticker_before_the_first_trade_is_all_zeros() -> None:
    (ticker,) = listen(Market(), "gasusd@ticker").take()
    assert (ticker["c"], ticker["P"], ticker["n"], ticker["F"], ticker["L"]) == (
        "0.00000000", "0.000", 0, -1, -1,
    )  # fmt: skip


def test_all_tickers_tell_those_that_changed() -> None:
    market = Market()
    ear = listen(market, "!miniTicker@arr")
    market.trade(2, 8)
    market.time_passes()
    (told,) = ear.take()
    assert [(each["e"], each["s"]) for each in told] == [("24hrMiniTicker", "GASUSD")]
    market.do(time_ns=T0 + 1)
    market.time_passes()
    assert ear.take() == []


def test_of_all_tickers_so_many_are_told_at_once_and_the_others_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("raftbook.web.binance.stream_hub.WIDE_MAX", 1)
    market = Market()
    ear = listen(market, "!miniTicker@arr")
    for round_ in range(1, 3):
        market.do(*(c.place_order(each, Side.BUY, 2, round_) for each in ("A", "B")))
        market.time_passes()
        market.time_passes()
        told = ear.take()
        assert [len(each) for each in told] == [1, 1]
        assert {each[0]["s"] for each in told} == {"OILUSD", "GASUSD"}
        market.time_passes()
        assert ear.take() == []


def test_an_update_is_made_once_however_many_listen() -> None:
    market = Market()
    ears = [listen(market, "gasusd@trade") for _ in range(200)]
    wrapped = [listen(market, "gasusd@trade", is_combined=True) for _ in range(50)]
    market.trade(2, 8)
    assert len({id(frame) for ear in ears for frame in ear.frames}) == 1
    assert len({id(frame) for ear in wrapped for frame in ear.frames}) == 1
    assert wrapped[0].heard == [{"stream": "gasusd@trade", "data": ears[0].heard[0]}]


def test_an_entry_costs_nothing_where_nobody_listens_or_nothing_happens() -> None:
    """Counted in looks at the feed, which is all that a stream without news does."""
    market = Market()
    asked: list[str] = []
    end = market.feed.end
    market.feed.end = lambda symbol: (asked.append(symbol), end(symbol))[1]  # type: ignore[method-assign]
    market.trade(1, 5)
    assert asked == []
    ears = [listen(market, name) for name in ("oilusd@depth", "oilusd@trade", "oilusd@ticker")]
    asked.clear()
    market.trade(1, 5)
    assert asked == ["A"]
    assert market.waiting == []
    for ear, name in zip(ears, ("oilusd@depth", "oilusd@trade", "oilusd@ticker"), strict=True):
        market.hub.remove(stream(name), ear)
    asked.clear()
    market.trade(1, 5)
    assert asked == []


def test_an_entry_that_cannot_be_told_ends_the_streams_of_its_instrument_alone(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    market = Market()
    gas, oil = listen(market, "gasusd@trade"), listen(market, "oilusd@depth")

    def fail(*_: Any) -> None:
        raise KeyError("something")

    monkeypatch.setattr(TradeSource, "take", fail)
    market.trade(1, 5)
    assert gas.ended is not None and gas.ended[0] == RESTART
    assert oil.ended is None
    assert "cannot be told of B" in caplog.text


def test_a_stream_without_listeners_is_no_more() -> None:
    market = Market()
    ear: Any = listen(market, "gasusd@depth")
    market.do(c.place_order("B", Side.BUY, 1, 1))
    market.hub.remove(stream("gasusd@depth"), ear)
    assert [waiting.is_cancelled for waiting in market.waiting] == [True]
    market.waiting.clear()
    assert not market.feed.depths

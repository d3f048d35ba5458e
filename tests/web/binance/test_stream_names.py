"""Names of streams."""

import pytest

from raftbook.web.binance.stream_names import StreamName, read_stream_name


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("btcusd@depth", ("BTCUSD", "depth", 0, 1_000, "")),
        ("btcusd@depth@100ms", ("BTCUSD", "depth", 0, 100, "")),
        ("btcusd@depth@1000ms", ("BTCUSD", "depth", 0, 1_000, "")),
        ("btcusd@depth5", ("BTCUSD", "partial", 5, 1_000, "")),
        ("btcusd@depth20@100ms", ("BTCUSD", "partial", 20, 100, "")),
        ("btcusd@trade", ("BTCUSD", "trade", 0, 0, "")),
        ("btcusd@kline_1M", ("BTCUSD", "kline", 0, 0, "1M")),
        ("!ticker@arr", ("", "!ticker@arr", 0, 0, "")),
    ],
)
def test_a_name_says_what_is_wanted(text: str, expected: tuple[str, str, int, int, str]) -> None:
    assert read_stream_name(text) == StreamName(text, *expected)


@pytest.mark.parametrize(
    "text",
    [
        "", "btcusd", "@depth", "btcusd@", "BTCUSD@depth", "btcusd@depth7", "btcusd@depth@10ms",
        "btcusd@depth@100ms@100ms", "btcusd@kline_1s", "btcusd@kline_", "btcusd@kline_1m@+08:00",
        "!bookTicker", "!depth@arr", "btcusd@Trade", "a" * 300 + "@trade",
    ],
)  # fmt: skip
def test_what_no_stream_is_called_is_refused(text: str) -> None:
    assert read_stream_name(text) is None

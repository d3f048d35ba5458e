"""What anybody may ask: books, trades, candles, tickers, in numbers that follow from the log."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from raftbook.core.candles import MINUTE_NS
from raftbook.core.commands import (
    amend_instrument,
    create_currency,
    delete_instrument,
    list_instrument,
    set_phase,
)
from raftbook.core.instrument import InstrumentTerms
from raftbook.core.types import Phase
from raftbook.web.binance.history import INTERVALS, chart
from raftbook.web.binance.markets import Markets
from tests.web.house import Answer, House, in_the_house

BTC = {"symbol": "BTCUSD"}


def test_figures_of_an_instrument_that_is_listed_anew_are_its_own(tmp_path: Path) -> None:
    """Same terms, as many trades, the same minute."""

    async def scene(house: House) -> None:
        terms = house.exchange.books["ETH-USD"].terms
        for price in ("100", "200"):
            close = set_phase("ETH-USD", Phase.CLOSED)
            anew = list_instrument(terms, Phase.CONTINUOUS)
            await house.native("demo", close, delete_instrument("ETH-USD"), anew)
            await house.sell("1", price, "bob", symbol="ETHUSD")
            await house.buy("1", price, symbol="ETHUSD")
            day = (await house.get("/ticker/24hr", symbol="ETHUSD")).body
            assert float(day["highPrice"]) == float(day["lastPrice"]) == float(price)

    in_the_house(tmp_path, scene)


async def traded(house: House, *prices: str, qty: str = "1") -> None:
    """A trade at each price, in an entry of its own; buyers take."""
    for price in prices:
        await house.sell(qty, price, "bob")
        await house.buy(qty, price)


def test_exchange_info_tells_the_steps_and_bounds_of_each_instrument(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        answer = await house.get("/exchangeInfo")
        assert answer.body["timezone"] == "UTC"
        assert answer.body["serverTime"] == int(house.door.now * 1_000)
        assert answer.body["rateLimits"] == [
            {
                "rateLimitType": "REQUEST_WEIGHT",
                "interval": "MINUTE",
                "intervalNum": 1,
                "limit": house.config.bounds.http_weight_per_minute_max,
            }
        ]
        first, second = answer.body["symbols"]
        assert (first["symbol"], second["symbol"]) == ("BTCUSD", "ETHUSD")
        assert (first["status"], first["baseAsset"], first["quoteAsset"]) == (
            "TRADING",
            "BTC",
            "USD",
        )
        assert first["filters"] == [
            {
                "filterType": "PRICE_FILTER",
                "minPrice": "0.01000000",
                "maxPrice": "1000000.00000000",
                "tickSize": "0.01000000",
            },
            {
                "filterType": "LOT_SIZE",
                "minQty": "0.00100000",
                "maxQty": "10000.00000000",
                "stepSize": "0.00100000",
            },
            {
                "filterType": "NOTIONAL",
                "minNotional": "0.00000000",
                "applyMinToMarket": False,
                "maxNotional": "10000000000.00000000",
                "applyMaxToMarket": False,
                "avgPriceMins": 0,
            },
        ]
        assert first["orderTypes"][:3] == ["LIMIT", "LIMIT_MAKER", "MARKET"]
        for name in (
            *("baseAssetPrecision", "quotePrecision", "quoteAssetPrecision"),
            *("baseCommissionPrecision", "quoteCommissionPrecision"),
        ):
            assert first[name] == 8

    in_the_house(tmp_path, scene)


def test_a_band_is_what_the_filter_tells(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        await house.native("demo", list_instrument(SOL._replace(band_low=4, band_high=6)))
        told = await house.get("/exchangeInfo", symbol="SOLUSD")
        prices = told.body["symbols"][0]["filters"][0]
        assert (prices["minPrice"], prices["maxPrice"]) == ("2.00000000", "3.00000000")
        for price, code in (("1.5", -1013), ("2", None), ("3", None), ("3.5", -1013)):
            answer = await house.buy("10", price, symbol="SOLUSD")
            assert answer.body.get("code") == code
            assert code is None or answer.body["msg"] == "Filter failure: PRICE_FILTER"

    in_the_house(tmp_path, scene)


def test_exchange_info_of_some(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        one = await house.get("/exchangeInfo", symbol="ETHUSD")
        assert [each["symbol"] for each in one.body["symbols"]] == ["ETHUSD"]
        two = await house.get("/exchangeInfo", symbols='["ETHUSD","BTCUSD"]')
        assert [each["symbol"] for each in two.body["symbols"]] == ["ETHUSD", "BTCUSD"]
        for params, code in (
            ({"symbol": "NOPE"}, -1121),
            ({"symbol": "b t"}, -1100),
            ({"symbols": '["NOPE"]'}, -1121),
            ({"symbols": "NOPE"}, -1100),
            ({"symbols": '["ETHUSD","ETHUSD"]'}, -1151),
            ({"symbols": "[]"}, -1130),
            ({"symbols": '["ETHUSD"]', "symbol": "ETHUSD"}, -1128),
        ):
            assert (await house.get("/exchangeInfo", **params)).code == code

    in_the_house(tmp_path, scene)


def test_phases_in_binances_words(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        for phase, status in (
            (Phase.HALTED, "HALT"),
            (Phase.AUCTION, "AUCTION_MATCH"),
            (Phase.CONTINUOUS, "TRADING"),
        ):
            await house.native("demo", set_phase("BTC-USD", phase))
            answer = await house.get("/exchangeInfo", **BTC)
            assert answer.body["symbols"][0]["status"] == status

    in_the_house(tmp_path, scene)


SOL = InstrumentTerms("SOL-USD", "SOL", "USD", "0.5", "10", 1_000, 0, 1_000)


def test_what_is_listed_amended_and_deleted_has_its_name_at_once(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        assert (await house.get("/depth", symbol="SOLUSD")).code == -1121
        await house.native("demo", list_instrument(SOL))
        await house.buy("20", "1.5", symbol="SOLUSD")
        answer = await house.get("/depth", symbol="SOLUSD")
        assert answer.body["bids"] == [["1.50000000", "20.00000000"]]
        await house.signed("DELETE", "/openOrders", symbol="SOLUSD")
        await house.native("demo", amend_instrument(SOL._replace(tick_size="0.25")))
        await house.buy("20", "0.25", symbol="SOLUSD")
        answer = await house.get("/depth", symbol="SOLUSD")
        assert answer.body["bids"] == [["0.25000000", "20.00000000"]]
        await house.signed("DELETE", "/openOrders", symbol="SOLUSD")
        await house.native("demo", set_phase("SOL-USD", Phase.CLOSED), delete_instrument("SOL-USD"))
        assert (await house.get("/depth", symbol="SOLUSD")).code == -1121

    in_the_house(tmp_path, scene)


def test_of_two_with_one_name_the_first_keeps_it(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        await house.native("demo", list_instrument(SOL))
        await house.native("demo", list_instrument(SOL._replace(symbol="SOL-USD-2", tick_size="1")))
        answer = await house.get("/exchangeInfo")
        names = [each["symbol"] for each in answer.body["symbols"]]
        assert names == ["BTCUSD", "ETHUSD", "SOLUSD"]
        assert (await house.buy("10", "1.5", symbol="SOLUSD")).status == 200
        await house.signed("DELETE", "/openOrders", symbol="SOLUSD")
        await house.native("demo", set_phase("SOL-USD", Phase.CLOSED), delete_instrument("SOL-USD"))
        assert (await house.buy("10", "1.5", symbol="SOLUSD")).code == -1013  # ticks of 1 now
        assert (await house.buy("10", "1", symbol="SOLUSD")).status == 200

    in_the_house(tmp_path, scene)


def test_a_name_is_as_long_as_two_currencies(tmp_path: Path) -> None:
    long = SOL._replace(symbol="LONG", base="A123456789012345", quote="B123456789012345")

    async def scene(house: House) -> None:
        await house.native("demo", create_currency(long.base, 2), create_currency(long.quote, 2))
        await house.native("demo", list_instrument(long))
        name = long.base + long.quote
        assert (await house.buy("10", "1.5", symbol=name)).status == 200
        told = await house.get("/exchangeInfo", symbols=f'["{name}"]')
        assert told.body["symbols"][0]["symbol"] == name
        answer = await house.get("/depth", symbol=name + "X")
        assert (answer.code, "{1,32}" in answer.body["msg"]) == (-1100, True)
        answer = await house.get("/exchangeInfo", symbols=name)
        assert answer.body["msg"].endswith(
            """'^\\["[A-Z0-9-_.]{1,32}"(,"[A-Z0-9-_.]{1,32}"){0,}\\]$'."""
        )

    in_the_house(tmp_path, scene)


def test_names_are_read_anew_once_for_all_rows_of_one_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readings: list[int] = []
    read = Markets._read

    def counted(markets: Markets) -> None:
        readings.append(1)
        read(markets)

    monkeypatch.setattr(Markets, "_read", counted)

    async def scene(house: House) -> None:
        await house.native("demo", list_instrument(SOL))
        await house.native("demo", list_instrument(SOL._replace(symbol="SOL-USD-2")))
        markets = Markets(house.context.queries)
        for _ in range(100):
            assert markets.of_symbol("SOL-USD-2") is None
            assert markets.of_symbol("no such") is None
        assert len(readings) == 1
        await house.native("demo", amend_instrument(SOL._replace(tick_size="0.25")))
        assert markets.of_symbol("SOL-USD-2") is None
        await house.native("demo", set_phase("SOL-USD", Phase.CLOSED), delete_instrument("SOL-USD"))
        found = markets.of_symbol("SOL-USD-2")
        assert found is not None and found.name == "SOLUSD"

    in_the_house(tmp_path, scene)


def test_depth_is_best_first_and_as_deep_as_asked_for(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        for price in ("98", "99", "97"):
            await house.buy("1", price)
        await house.sell("2", "101")
        await house.sell("2", "102")
        answer = await house.get("/depth", limit=2, **BTC)
        book = house.exchange.books["BTC-USD"]
        assert answer.body == {
            "lastUpdateId": book.feed_seq,
            "bids": [["99.00000000", "1.00000000"], ["98.00000000", "1.00000000"]],
            "asks": [["101.00000000", "2.00000000"], ["102.00000000", "2.00000000"]],
        }
        assert len((await house.get("/depth", limit=99_999, **BTC)).body["bids"]) == 3
        assert (await house.get("/depth", limit=0, **BTC)).code == -1130
        assert (await house.get("/depth", limit="x", **BTC)).code == -1100
        assert (await house.get("/depth", limit="9" * 20, **BTC)).code == -1108
        assert (await house.get("/depth")).code == -1102

    in_the_house(tmp_path, scene)


def test_trades_and_their_sums(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        await traded(house, "100", "101")
        await house.buy("1", "99")
        await house.buy("1", "99")
        await house.sell("2", "99", "bob")
        trades = (await house.get("/trades", **BTC)).body
        assert [(each["id"], each["price"], each["isBuyerMaker"]) for each in trades] == [
            (1, "100.00000000", False),
            (2, "101.00000000", False),
            (3, "99.00000000", True),
            (4, "99.00000000", True),
        ]
        sums = (await house.get("/aggTrades", **BTC)).body
        assert [(each["a"], each["f"], each["l"], each["q"], each["m"]) for each in sums] == [
            (1, 1, 1, "1.00000000", False),
            (2, 2, 2, "1.00000000", False),
            (3, 3, 4, "2.00000000", True),
        ]
        some = (await house.get("/aggTrades", fromId=2, limit=1, **BTC)).body
        assert [each["a"] for each in some] == [2]
        last = (await house.get("/aggTrades", limit=1, **BTC)).body
        assert [each["a"] for each in last] == [3]
        from_two = (await house.get("/historicalTrades", fromId=2, limit=2, **BTC)).body
        assert [each["id"] for each in from_two] == [2, 3]
        late = await house.get("/aggTrades", startTime=10**15, **BTC)
        assert late.body == []
        assert (await house.get("/aggTrades", startTime=5, endTime=4, **BTC)).code == -1127

    in_the_house(tmp_path, scene)


def test_candles_of_minutes_and_of_what_is_made_of_them(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        await traded(house, "100", "103", "99")
        house.door.now += 50  # logical time follows within a minute
        house.door.turns()
        await traded(house, "105")
        house.door.now += 50
        house.door.turns()
        house.door.now += 50
        house.door.turns()
        await traded(house, "104")
        rows = (await house.get("/klines", interval="1m", **BTC)).body
        opens = [row[0] for row in rows]
        assert opens == list(range(opens[0], opens[-1] + 1, 60_000))  # without a gap
        assert [row[1:5] for row in (rows[0], rows[-1])] == [
            ["100.00000000", "103.00000000", "99.00000000", "99.00000000"],
            ["104.00000000", "104.00000000", "104.00000000", "104.00000000"],
        ]
        assert sum(row[8] for row in rows) == 5
        flat = next(row for row in rows if not row[8])
        assert flat[1:6] == ["105.00000000"] * 4 + ["0.00000000"]
        for interval in INTERVALS:
            rows = (await house.get("/klines", interval=interval, **BTC)).body
            assert sum(row[8] for row in rows) == 5
            assert sum(Decimal(row[5]) for row in rows) == 5
            for row in rows:
                assert row[0] <= house.exchange.now_ns // 1_000_000
                assert row[6] > row[0]
        assert (await house.get("/klines", interval="1s", **BTC)).code == -1120
        assert (await house.get("/klines", **BTC)).code == -1102

    in_the_house(tmp_path, scene)


def test_a_window_of_a_chart(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        await traded(house, "100")
        for _ in range(6):
            house.door.now += 40
            house.door.turns()
        await traded(house, "101")
        book, now_ns = house.exchange.books["BTC-USD"], house.exchange.now_ns
        whole = chart(book, "1m", now_ns=now_ns, start_ns=None, end_ns=None, limit=500)
        assert len(whole) == 5
        opens = [bar.open_ns for bar in whole]

        def window(start: int | None, end: int | None, limit: int) -> list[int]:
            return [
                bar.open_ns
                for bar in chart(book, "1m", now_ns=now_ns, start_ns=start, end_ns=end, limit=limit)
            ]

        assert window(None, None, 2) == opens[-2:]
        assert window(None, opens[3], 2) == opens[2:4]
        assert window(opens[1], None, 2) == opens[1:3]
        assert window(opens[1] - 1, None, 2) == opens[1:3]
        assert window(opens[1] + 1, None, 2) == opens[2:4]
        assert window(0, opens[1], 9) == opens[:2]
        assert window(None, opens[0] - MINUTE_NS, 9) == []
        assert window(now_ns + MINUTE_NS, None, 9) == []

    in_the_house(tmp_path, scene)


@pytest.mark.parametrize(
    ("interval", "time", "begin", "end"),
    [
        ("1w", "2026-11-27", "2026-11-23", "2026-11-30"),  # a Friday; weeks begin on Mondays
        ("1w", "2026-11-23", "2026-11-23", "2026-11-30"),
        ("1M", "2026-12-31", "2026-12-01", "2027-01-01"),
        ("1M", "2024-02-29", "2024-02-01", "2024-03-01"),
        ("3d", "1970-01-06", "1970-01-04", "1970-01-07"),
    ],
)
def test_where_long_intervals_begin(interval: str, time: str, begin: str, end: str) -> None:
    from datetime import UTC, datetime

    def ns(day: str) -> int:
        return int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()) * 10**9

    assert INTERVALS[interval][1](ns(time)) == (ns(begin), ns(end))


def test_a_day_in_figures(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        empty = (await house.get("/ticker/24hr", **BTC)).body
        assert (empty["lastPrice"], empty["count"], empty["firstId"]) == ("0.00000000", 0, -1)
        await traded(house, "100", "104", "98", "102")
        await house.buy("3", "97")
        answer = (await house.get("/ticker/24hr", **BTC)).body
        assert answer["openPrice"] == "100.00000000"
        assert answer["highPrice"] == "104.00000000"
        assert answer["lowPrice"] == "98.00000000"
        assert answer["lastPrice"] == "102.00000000"
        assert answer["priceChange"] == "2.00000000"
        assert answer["priceChangePercent"] == "2.000"
        assert answer["weightedAvgPrice"] == "101.00000000"
        assert answer["volume"] == "4.00000000"
        assert answer["quoteVolume"] == "404.00000000"
        assert (answer["bidPrice"], answer["bidQty"]) == ("97.00000000", "3.00000000")
        assert (answer["firstId"], answer["lastId"], answer["count"]) == (1, 4, 4)
        assert answer["closeTime"] - answer["openTime"] >= 86_400_000
        assert len((await house.get("/ticker/24hr")).body) == 2
        mini = (await house.get("/ticker/24hr", type="MINI", **BTC)).body
        assert "bidPrice" not in mini and mini["lastPrice"] == "102.00000000"
        assert (await house.get("/ticker/24hr", type="BIG", **BTC)).code == -1139

    in_the_house(tmp_path, scene)


def test_small_tickers(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        await traded(house, "100", "102")
        await house.sell("2", "110")
        top = (await house.get("/ticker/bookTicker", **BTC)).body
        assert top == {
            "symbol": "BTCUSD",
            "bidPrice": "0.00000000",
            "bidQty": "0.00000000",
            "askPrice": "110.00000000",
            "askQty": "2.00000000",
        }
        assert len((await house.get("/ticker/bookTicker")).body) == 2
        price = (await house.get("/ticker/price", symbols='["BTCUSD"]')).body
        assert price == [{"symbol": "BTCUSD", "price": "102.00000000"}]
        average = (await house.get("/avgPrice", **BTC)).body
        assert (average["mins"], average["price"]) == (5, "101.00000000")

    in_the_house(tmp_path, scene)


# -- how new, how much ---------------------------------------------------------------------------


def test_a_read_may_ask_to_be_as_new_as_all_that_was_acknowledged(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        before = house.door.replica.raft.applied_index
        query = b"symbol=BTCUSD&consistency=linearizable"
        answer = await house.ask("GET", "/api/v3/depth", query, b"", {"X-MBX-APIKEY": "alice"})
        assert answer.status == 200
        assert int(answer.headers["x-raftbook-applied"]) == before + 1
        assert (
            await house.ask("GET", "/api/v3/depth", query)
        ).code == -2014  # strangers write none
        local = await house.get("/depth", consistency="local", **BTC)
        assert local.status == 200
        assert (await house.get("/depth", consistency="strong", **BTC)).code == -1130

    in_the_house(tmp_path, scene)


def test_a_node_without_word_of_a_leader_shows_no_market(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        house.door.replica.age_ms = lambda: 10_001  # type: ignore[method-assign]
        for path in ("/depth", "/trades", "/exchangeInfo"):
            answer = await house.get(path, **BTC)
            assert (answer.status, answer.code) == (503, -1001)
        assert (await house.signed("GET", "/account")).code == -1001
        assert (await house.get("/ping")).status == 200

    in_the_house(tmp_path, scene)


async def weighed(house: House) -> Answer:
    return await house.get("/exchangeInfo")


def test_weight_is_counted_for_each_address_and_minute(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        assert (await weighed(house)).headers["x-mbx-used-weight-1m"] == "20"
        assert (await weighed(house)).headers["x-mbx-used-weight-1m"] == "40"
        house.door.now += 60
        assert (await weighed(house)).headers["x-mbx-used-weight-1m"] == "20"

    in_the_house(tmp_path, scene)


def test_who_asks_for_too_much_is_told_when_to_come_back(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        weights: Any = house.app._app._direct["api"]._door.weights  # type: ignore[attr-defined]
        weights.weight_max = 50
        await weighed(house)
        await weighed(house)
        answer = await weighed(house)
        assert (answer.status, answer.code) == (429, -1003)
        wait_s = int(answer.headers["retry-after"])
        assert wait_s == 60 - int(house.door.now) % 60
        house.door.now += wait_s
        assert (await weighed(house)).status == 200

    in_the_house(tmp_path, scene)


def test_paths_and_verbs_that_there_are_not(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        for method, path, status in (
            ("GET", "/api/v3/nothing", 404),
            ("GET", "/api/v1/order", 404),
            ("PATCH", "/api/v3/order", 405),
            ("GET", "/sapi/v1/nothing", 404),
        ):
            answer = await house.ask(method, path)
            assert (answer.status, answer.code) == (status, -1000)

    in_the_house(tmp_path, scene)


def test_one_parameter_has_one_value(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        twice = await house.ask("GET", "/api/v3/depth", b"symbol=BTCUSD&symbol=ETHUSD")
        assert twice.body == {
            "code": -1101,
            "msg": "Duplicate values for a parameter detected.",
        }
        many = b"&".join(b"a%d=1" % each for each in range(100))
        assert (await house.ask("GET", "/api/v3/depth", many)).code == -1101
        assert (await house.ask("GET", "/api/v3/depth", b"symbol=%ff")).code == -1100
        assert (await house.ask("GET", "/api/v3/depth", b"symbol=")).code == -1102
        assert (await house.ask("GET", "/api/v3/depth", b"symbol=BTCUSD&limit=")).code == -1105
        assert (await house.ask("GET", "/api/v3/depth", b"&symbol=BTCUSD&&x&")).status == 200
        long = await house.ask("POST", "/api/v3/order", b"", b"a=" + b"b" * 20_000)
        assert long.status == 413

    in_the_house(tmp_path, scene)

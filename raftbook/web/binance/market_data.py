"""What anybody may ask about the market.

Owns the operations on books, trades, candles and tickers. All is read from the state of this node
between two turns; ids and times are functions of the log, so every node tells the same.
"""

from __future__ import annotations

from itertools import islice
from typing import Any, Final

from raftbook.core.book import Book
from raftbook.core.events import AUCTION_TRADE, Event
from raftbook.core.hidden import best_shown
from raftbook.core.types import Side
from raftbook.gateway.market_queries import levels
from raftbook.web.binance.door import Call
from raftbook.web.binance.faults import Fault
from raftbook.web.binance.figures import ZERO
from raftbook.web.binance.history import INTERVALS, bar_row, chart, day_document
from raftbook.web.binance.markets import Json, Market, milliseconds
from raftbook.web.binance.params import Params
from raftbook.web.binance.written import Written, write_rows

DEPTH_MAX: Final = 5_000
ROWS_MAX: Final = 1_000
ROWS: Final = 500
LEVELS_A_TURN: Final = 500
"""Price levels that are written before others have their turn: some two milliseconds."""
DAYS_A_TURN: Final = 10
"""Days in figures that are made before others have their turn: each may take half a millisecond."""
_Level = tuple[int, int, int]
_SELL: Final = int(Side.SELL)
_NS_PER_MS: Final = 1_000_000
_AVERAGE_NS: Final = 300_000_000_000
_MINUTE_NS: Final = 60_000_000_000


async def ping(call: Call) -> Json:
    """GET /ping."""
    return {}


async def time(call: Call) -> Json:
    """GET /time: the node's wall clock, by which the age of a request is judged."""
    return {"serverTime": call.door.now_ms()}


async def depth(call: Call) -> Written:
    """GET /depth: the best levels of both sides; `lastUpdateId` is the book's feed_seq. They are as
    of one moment, and are written piece by piece."""
    limit = call.params.limit(100, DEPTH_MAX)

    def look(_: Call) -> tuple[Market, int, list[_Level], list[_Level]]:
        market, book = call.door.markets.find(call.params.symbol())
        return market, book.feed_seq, levels(book.bids, limit), levels(book.asks, limit)

    market, feed_seq, bids, asks = await call.make(look)
    price, qty = market.price.text, market.qty.text

    def row(level: _Level) -> list[str]:
        return [price(level[0]), qty(level[1])]

    bid_rows = await write_rows(call, bids, row, a_turn=LEVELS_A_TURN)
    ask_rows = await write_rows(call, asks, row, a_turn=LEVELS_A_TURN)
    head = f'"lastUpdateId":{feed_seq}'
    return Written(f'{{{head},"bids":{bid_rows.text},"asks":{ask_rows.text}}}')


# -- trades --------------------------------------------------------------------------------------


def trades(call: Call) -> list[Json]:
    """GET /trades."""
    market, book = call.door.markets.find(call.params.symbol())
    limit = call.params.limit(ROWS, ROWS_MAX)
    kept = book.tape.trades()
    rows = islice(kept, max(0, len(kept) - limit), None)
    return [trade_document(market, time_ns, event) for time_ns, _, event in rows]


def historical_trades(call: Call) -> list[Json]:
    """GET /historicalTrades: the same from a trade on, as far back as trades are kept."""
    market, book = call.door.markets.find(call.params.symbol())
    limit = call.params.limit(ROWS, ROWS_MAX)
    from_id = call.params.integer("fromId")
    if from_id is None:
        return trades(call)
    rows = [row for row in book.tape.trades() if row[2][2] >= from_id][:limit]
    return [trade_document(market, time_ns, event) for time_ns, _, event in rows]


def trade_document(market: Market, time_ns: int, event: Event) -> Json:
    """One trade."""
    return {
        "id": event[2],
        "price": market.price.text(event[3]),
        "qty": market.qty.text(event[4]),
        "quoteQty": market.amount.text(event[3] * event[4]),
        "time": milliseconds(time_ns),
        "isBuyerMaker": is_buyer_maker(event),
        "isBestMatch": True,
    }


def is_buyer_maker(event: Event) -> bool:
    """Whether the seller took; in an auction, where nobody did, the buyer stands as maker."""
    return bool(event[0] == AUCTION_TRADE or event[9][4][0] == _SELL)


class Aggregate:
    """Trades of one taker at one price in one entry.

    Attributes:
        first_id, last_id: trade ids; the first one is also the aggregate's own, so that it needs
            no count of its own and does not depend on where a node began to count.
    """

    __slots__ = ("entry_index", "event", "first_id", "last_id", "qty", "time_ns")

    def __init__(self, time_ns: int, entry_index: int, event: Event) -> None:
        self.time_ns, self.entry_index, self.event = time_ns, entry_index, event
        self.first_id = self.last_id = event[2]
        self.qty = event[4]

    def takes(self, entry_index: int, event: Event) -> bool:
        """Whether a trade that follows belongs to it; if so it is in."""
        own = self.event
        is_same = entry_index == self.entry_index and event[3] == own[3]
        if not is_same or event[9][0] != own[9][0] or event[0] != own[0]:
            return False
        self.last_id = event[2]
        self.qty += event[4]
        return True

    def document(self, market: Market) -> Json:
        """As Binance writes it."""
        return {
            "a": self.first_id,
            "p": market.price.text(self.event[3]),
            "q": market.qty.text(self.qty),
            "f": self.first_id,
            "l": self.last_id,
            "T": milliseconds(self.time_ns),
            "m": is_buyer_maker(self.event),
            "M": True,
        }


def aggregates(book: Book) -> list[Aggregate]:
    """All kept trades, aggregated, eldest first. The eldest is left out where it may have begun
    with trades that are not kept any more."""
    made: list[Aggregate] = []
    for time_ns, index, event in book.tape.trades():
        if not made or not made[-1].takes(index, event):
            made.append(Aggregate(time_ns, index, event))
    return made[1:] if made and made[0].first_id > 1 else made


def agg_trades(call: Call) -> list[Json]:
    """GET /aggTrades."""
    market, book = call.door.markets.find(call.params.symbol())
    limit = call.params.limit(ROWS, ROWS_MAX)
    from_id = call.params.integer("fromId")
    start, end = time_range(call.params)
    rows = [row for row in aggregates(book) if start <= row.time_ns <= end]
    if from_id is not None:
        rows = [row for row in rows if row.first_id >= from_id]
    is_from = from_id is not None or "startTime" in call.params.values
    rows = rows[:limit] if is_from else rows[max(0, len(rows) - limit) :]
    return [row.document(market) for row in rows]


def time_range(params: Params) -> tuple[int, int]:
    """(first, last) nanosecond of startTime to endTime, both included."""
    start, end = params.integer("startTime"), params.integer("endTime")
    if start is not None and end is not None and start > end:
        raise Fault(400, -1127, "Start time is greater than end time.")
    first = 0 if start is None else start * _NS_PER_MS
    last = 1 << 80 if end is None else end * _NS_PER_MS + _NS_PER_MS - 1
    return first, last


# -- candles -------------------------------------------------------------------------------------


def klines(call: Call) -> list[list[Any]]:
    """GET /klines."""
    door, params = call.door, call.params
    market, book = door.markets.find(params.symbol())
    interval = params.needed("interval")
    if interval not in INTERVALS:
        raise Fault(400, -1120, "Invalid interval.")
    limit = params.limit(ROWS, ROWS_MAX)
    time_range(params)
    start, end = params.integer("startTime"), params.integer("endTime")
    rows = chart(
        book,
        interval,
        now_ns=door.exchange.now_ns,
        start_ns=None if start is None else start * _NS_PER_MS,
        end_ns=None if end is None else end * _NS_PER_MS,
        limit=limit,
    )
    return [bar_row(market, row) for row in rows]


async def average_price(call: Call) -> Json:
    """GET /avgPrice: of the last five minutes, or the last price where nothing was traded."""
    door = call.door
    market, book = door.markets.find(call.params.symbol())
    begin_ns = door.exchange.now_ns - _AVERAGE_NS
    notional = qty = 0
    for candle in reversed(book.tape.candles(_MINUTE_NS)):
        if candle.open_ns + _MINUTE_NS <= begin_ns:
            break
        notional += candle.notional
        qty += candle.qty
    last = market.price.text(book.last_price or 0)
    trades = book.tape.trades()
    return {
        "mins": 5,
        "price": market.price.quotient(notional, qty) if qty else last,
        "closeTime": milliseconds(trades[-1][0]) if trades else 0,
    }


# -- tickers -------------------------------------------------------------------------------------


def chosen(call: Call) -> tuple[list[tuple[Market, Book]], bool]:
    """The instruments that a ticker is asked of, and whether a list is meant."""
    markets, params = call.door.markets, call.params
    name, names = params.optional_symbol(), params.symbols()
    if name is not None and names is not None:
        raise Fault(400, -1128, "Combination of optional parameters invalid.")
    if name is not None:
        return [markets.find(name)], False
    if names is not None:
        return [markets.find(each) for each in names], True
    return markets.all(), True


def _one_or_all(rows: list[Json], *, is_list: bool) -> Any:
    return rows if is_list else rows[0]


async def day_ticker(call: Call) -> Any:
    """GET /ticker/24hr."""
    door = call.door
    sort = call.params.text("type") or "FULL"
    if sort not in ("FULL", "MINI"):
        raise Fault(400, -1139, "Invalid ticker type.")
    some, is_list = chosen(call)

    def document(name: str) -> Json:
        market, book = door.markets.find(name)
        now_ns = door.exchange.now_ns
        row = day_document(market, book, door.tickers.figures(book, now_ns), now_ns)
        return row if sort == "FULL" else {field: row[field] for field in _MINI}

    def document_or_none(name: str) -> Json | None:
        try:
            return document(name)
        except Fault:
            return None  # deleted since the list was made

    names = [market.name for market, _ in some]
    if not is_list:
        return await call.make(lambda _: document(names[0]))
    return await write_rows(call, names, document_or_none, a_turn=DAYS_A_TURN)


_MINI: Final = (
    "symbol",
    "openPrice",
    "highPrice",
    "lowPrice",
    "lastPrice",
    "volume",
    "quoteVolume",
    "openTime",
    "closeTime",
    "firstId",
    "lastId",
    "count",
)


def book_ticker(call: Call) -> Any:
    """GET /ticker/bookTicker."""
    some, is_list = chosen(call)
    rows = [top_document(market, book) for market, book in some]
    return _one_or_all(rows, is_list=is_list)


def top_document(market: Market, book: Book) -> Json:
    """The best level of each side; zeros for an empty one."""
    bid, ask = best_shown(book.bids), best_shown(book.asks)
    return {
        "symbol": market.name,
        "bidPrice": market.price.text(bid.price) if bid else ZERO,
        "bidQty": market.qty.text(bid.qty) if bid else ZERO,
        "askPrice": market.price.text(ask.price) if ask else ZERO,
        "askQty": market.qty.text(ask.qty) if ask else ZERO,
    }


def price_ticker(call: Call) -> Any:
    """GET /ticker/price."""
    some, is_list = chosen(call)
    rows = [
        {"symbol": market.name, "price": market.price.text(book.last_price or 0)}
        for market, book in some
    ]
    return _one_or_all(rows, is_list=is_list)

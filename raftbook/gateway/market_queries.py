"""Answers about the market, for everybody: instruments, books, trades, candles, auctions, fills.

Owns the shapes of docs/PROTOCOL.md "Queries" of these, and the rule that nobody is shown more of an
iceberg than its slice, and nothing of a hidden order. Reads live books between turns and gives away
values only.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any, Final

from raftbook.core.accounts import Account
from raftbook.core.book import Book
from raftbook.core.call import indicative
from raftbook.core.candles import CANDLES_KEPT, WIDTHS_NS
from raftbook.core.events import AUCTION_TRADE, Event
from raftbook.core.exchange import Exchange
from raftbook.core.hidden import shown_count, shown_levels, shown_orders
from raftbook.core.ladder import Ladder
from raftbook.core.types import Reject
from raftbook.feed.messages import public_id
from raftbook.gateway.arguments import INDEX_MAX, Arguments, QueryError, natural
from raftbook.wire import pages
from raftbook.wire.packing import brief

WIDTHS: Final = dict(zip(("minute", "hour", "day"), WIDTHS_NS, strict=True))
_NO_TAKER: Final = 0
"""taker_side of a trade in an auction: both sides had gathered."""


def instruments(exchange: Exchange, arguments: Arguments) -> list[dict[str, Any]]:
    """Instruments in the order they were created; a place keeps its own while none is deleted."""
    first = natural(arguments, "from", 0, high=INDEX_MAX)
    decimals = exchange.money.decimals
    return [
        {
            **book.terms._asdict(),
            "phase": book.phase,
            "feed_seq": book.feed_seq,
            "last_price": book.last_price,
            "resting_orders": book.shown_count(),
            "base_decimals": decimals.get(book.terms.base),
            "quote_decimals": decimals.get(book.terms.quote),
        }
        for book in islice(exchange.books.values(), first, first + pages.INSTRUMENT_ROWS)
    ]


def book_rows(book: Book, arguments: Arguments) -> dict[str, Any]:
    """The levels of a book and, when asked for, its orders."""
    depth = natural(arguments, "depth", 10) or pages.ROWS_MAX
    rows: dict[str, Any] = {"bids": levels(book.bids, depth), "asks": levels(book.asks, depth)}
    if arguments.get("orders"):
        rows["bid_orders"] = _level_orders(book.bids, depth, pages.ROWS_MAX)
        rows["ask_orders"] = _level_orders(book.asks, depth, pages.ROWS_MAX)
    return rows


def trades(book: Book, arguments: Arguments) -> list[tuple[Any, ...]]:
    """The last trades, eldest first."""
    limit = natural(arguments, "limit", 20)
    return [
        (
            event[2],
            event[3],
            event[4],
            time_ns,
            index,
            _NO_TAKER if event[0] == AUCTION_TRADE else event[9][4][0],
            public_id(event[5]),
            public_id(event[9]),
        )
        for time_ns, index, event in last(list(book.tape.trades()), limit)
    ]


def candles(book: Book, arguments: Arguments) -> dict[str, Any]:
    """The last candles of one width, eldest first."""
    width = arguments.get("width", "minute")
    width_ns = WIDTHS.get(width) if isinstance(width, str) else None
    if width_ns is None:
        message = f"width must be one of {', '.join(WIDTHS)}, not {brief(width)}"
        raise QueryError(Reject.MALFORMED, message)
    limit = natural(arguments, "limit", 100, high=CANDLES_KEPT)
    kept = book.tape.candles(width_ns)
    rows = islice(kept, max(0, len(kept) - limit), None)
    return {"width": width, "candles": [candle.row() for candle in rows]}


def auction(book: Book) -> dict[str, Any]:
    """What the auction of a call would do now, or what one that goes on in pages does in all; price
    None where nothing would trade."""
    if book.uncrossing is not None:
        found = book.uncrossing.found
    else:
        found = indicative(book) if book.is_call or book.owes_auction else None
    return {
        "phase": book.phase,
        "feed_seq": book.feed_seq,
        "price": None if found is None else found.price,
        "volume": 0 if found is None else found.volume,
        "imbalance": 0 if found is None else found.imbalance,
        "call_until_ns": book.call_until_ns or None,
        "call_then": book.call_then if book.call_until_ns else None,
    }


def fills(book: Book, account: Account, arguments: Arguments) -> list[tuple[Any, ...]]:
    """The sides of an account in the trades that are remembered, eldest first."""
    limit = natural(arguments, "limit", 100)
    rows: list[tuple[Any, ...]] = []
    for time_ns, index, event in book.tape.trades():
        for place, sort in ((5, "maker"), (9, "taker")):
            if event[place][1] == account.name:
                rows.append(_fill(book, time_ns, index, event, place, sort))
    return last(rows, limit)


def _fill(
    book: Book, time_ns: int, index: int, event: Event, place: int, sort: str
) -> tuple[Any, ...]:
    terms = event[place]
    extras = event[13:]
    fee = extras[0 if sort == "maker" else 1] if extras else None
    liquidity = "auction" if event[0] == AUCTION_TRADE else sort
    is_busted = event[2] in book.busted
    head = (event[2], event[3], event[4], time_ns, index)
    return (*head, terms[4][0], liquidity, terms[0], terms[2], fee, is_busted)


def levels(ladder: Ladder, depth: int) -> list[tuple[int, int, int]]:
    """(price, qty, orders) of each level that the market sees, best first."""
    seen = islice(shown_levels(ladder), depth)
    return [(level.price, level.qty, shown_count(level)) for level in seen]


def _level_orders(ladder: Ladder, depth: int, count_max: int) -> list[tuple[int, int, int]]:
    orders: list[tuple[int, int, int]] = []
    for level in islice(shown_levels(ladder), depth):
        for order in shown_orders(level):
            orders.append((order.terms[0], level.price, order.shown_qty()))
            if len(orders) >= count_max:
                return orders
    return orders


def last(rows: Sequence[Any], count: int) -> list[Any]:
    """The last `count` of them."""
    return list(rows[max(0, len(rows) - count) :])

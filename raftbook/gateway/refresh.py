"""A whole book for a subscriber that begins, page by page, while the market goes on.

Owns where the pages are cut and what each says of itself. A book of a million orders takes a second
to read, and no node may stand still for so long: so each page is made when it can be written, and
shows its own price levels as they are then. It carries that moment's feed_seq. Every price stands
on exactly one page, levels are never cut, and the feed goes on after the first page's feed_seq:
what a reader has of a price is its page, and every later message about that price. PROTOCOL.md
says it for readers, `client/refresh.py` does it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from raftbook.core.book import Book
from raftbook.core.hidden import shown_count, shown_orders
from raftbook.core.ladder import Level
from raftbook.core.types import Reject, Side
from raftbook.gateway.queries import Queries, QueryError
from raftbook.wire import pages

_ABOVE_ALL: Final = 2**64
"""Above every ladder key."""

_NAMES: Final = {Side.BUY: "bid", Side.SELL: "ask"}

Place = tuple[Side, int]
"""Side and price of the last level that was told."""


def refresh_pages(queries: Queries, symbol: str) -> Iterator[dict[str, Any]]:
    """The pages of a book; each is made when it is asked for, from the state of that moment.

    Raises:
        QueryError: there is no such instrument any more.
    """
    told: Place | None = None
    number = 0
    begun: Book | None = None
    while True:
        book = queries.exchange.books.get(symbol)
        if book is None:
            raise QueryError(Reject.UNKNOWN_INSTRUMENT, f"{symbol} was deleted")
        if book is not begun:  # another instrument has this name now: that one is told
            begun, told, number = book, None, 0
        part = _part(book, told)
        is_last = part.told is None
        if part.told is not None:
            told = part.told
        head = queries.book_head(book)
        for count, lists in enumerate(part.pages, start=1):
            number += 1
            is_whole = count == len(part.pages)
            yield {
                **head,
                **lists,
                "page": number,
                "told": told if is_whole and not is_last else (),
                "more": not (is_whole and is_last),
            }
        if is_last:
            return


class _Part:
    """Levels of one moment: on one page, or on several if it is one large level.

    Attributes:
        pages: their lists.
        told: the last level of them; None when they are the last.
    """

    def __init__(self) -> None:
        self.pages: list[dict[str, list[Any]]] = [_blank()]
        self.told: Place | None = None

    def add(self, side: Side, level: Level) -> None:
        """One whole level."""
        name = _NAMES[side]
        orders = [(each.terms[0], level.price, each.shown_qty()) for each in shown_orders(level)]
        for start in range(0, len(orders), pages.BOOK_ORDERS):
            if start:
                self.pages.append(_blank())
            self.pages[-1][f"{name}_orders"] += orders[start : start + pages.BOOK_ORDERS]
        self.pages[-1][f"{name}s"].append((level.price, level.qty, shown_count(level)))
        self.told = (side, level.price)


def _part(book: Book, told: Place | None) -> _Part:
    """What comes after a place."""
    part = _Part()
    room = pages.BOOK_ORDERS
    for side, level in _levels_after(book, told):
        count = shown_count(level)
        if not count:
            continue
        if count > room and room < pages.BOOK_ORDERS:
            return part
        part.add(side, level)
        room -= count
    part.told = None
    return part


def _levels_after(book: Book, told: Place | None) -> Iterator[tuple[Side, Level]]:
    """Bids from the best to the worst, then asks, from behind a place on."""
    if told is None or told[0] == Side.BUY:
        for level in book.bids.below(_ABOVE_ALL if told is None else told[1]):
            yield Side.BUY, level
    beginning = told[1] if told is not None and told[0] == Side.SELL else None
    for level in book.asks.below(_ABOVE_ALL if beginning is None else -beginning):
        yield Side.SELL, level


def _blank() -> dict[str, list[Any]]:
    return {"bids": [], "asks": [], "bid_orders": [], "ask_orders": []}

"""What follows when a command, or what time brings, is over: stops fire, then pegged orders move.

Owns that order, and that nothing is looked at which nobody waits for. A stop that looks at the last
price was looked at where orders were entered, since nothing else moves that; what looks at bid and
ask may be reached by whatever takes an order away.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from raftbook.core.pegs import follow

if TYPE_CHECKING:
    from raftbook.core.book import Book
    from raftbook.core.events import Event
    from raftbook.core.exchange import Exchange


def look(book: Book, events: list[Event]) -> None:
    """After what concerned one instrument."""
    if book.stops is not None and book.stops.by_quotes:
        book.fire_stops(events)
    follow(book, events)


def look_at(exchange: Exchange, touched: set[Book], events: list[Event]) -> None:
    """After what concerned some instruments: nothing has changed for the others since they were
    looked at last."""
    if len(touched) > 1:
        _look(exchange, sorted(touched, key=_number), events)
    else:
        _look(exchange, touched, events)


def _number(book: Book) -> int:
    return book.number


def look_all(exchange: Exchange, events: list[Event]) -> None:
    """After what may have concerned all of them."""
    _look(exchange, exchange.books.values(), events)


def look_anew(exchange: Exchange, events: list[Event]) -> None:
    """At the beginning of an entry: then pegged orders that wait for it move before others, in the
    order in which they began to; those for whom there is no room keep their place."""
    agenda = exchange.agenda
    _fire(exchange, exchange.books.values(), events)
    for symbol in list(agenda.following):
        if agenda.room.peg_looks <= 0:
            break
        del agenda.following[symbol]
        follow(exchange.books[symbol], events)
    _follow(exchange, exchange.books.values(), events)


def _look(exchange: Exchange, books: Collection[Book], events: list[Event]) -> None:
    """Look at instruments that are given in order of their creation."""
    _fire(exchange, books, events)
    _follow(exchange, books, events)


def _fire(exchange: Exchange, books: Collection[Book], events: list[Event]) -> None:
    if exchange.agenda.is_quoted:
        for book in books:
            if book.stops is not None:
                book.fire_stops(events)


def _follow(exchange: Exchange, books: Collection[Book], events: list[Event]) -> None:
    if exchange.agenda.is_pegged:
        for book in books:
            follow(book, events)

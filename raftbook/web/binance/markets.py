"""Instruments under the names that Binance's clients give them: base and quote without a dash.

Owns which instrument has which name, and its numbers as text. Where two would have one name, the
first that was listed keeps it and the other has none at this door; a configuration with such a
pair and an http_port is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from raftbook.core.book import Book
from raftbook.core.exchange import Exchange
from raftbook.core.instrument import InstrumentTerms
from raftbook.core.types import Phase
from raftbook.gateway.queries import Queries
from raftbook.web.binance.faults import bad_symbol
from raftbook.web.binance.figures import Scale

NAME_FORM: Final = "[A-Z0-9-_.]{1,32}"
"""Two currencies of up to 16 characters."""
_STATUS: Final = {
    int(Phase.CONTINUOUS): "TRADING",
    int(Phase.PRE_OPEN): "PRE_TRADING",
    int(Phase.AUCTION): "AUCTION_MATCH",
    int(Phase.HALTED): "HALT",
    int(Phase.CANCEL_ONLY): "HALT",
    int(Phase.CLOSED): "END_OF_DAY",
}


class Market:
    """One instrument as this door shows it, as long as its terms stay.

    Attributes:
        name: such as BTCUSD; streams say it in lower case.
        price: of ticks. qty: of lots. amount: of tick-lots, in quote. fee: of minor units of quote,
            for an instrument that settles.
    """

    __slots__ = ("amount", "fee", "name", "price", "qty", "symbol", "terms")

    def __init__(self, terms: InstrumentTerms, decimals: dict[str, int]) -> None:
        tick, lot = Decimal(terms.tick_size), Decimal(terms.lot_size)
        self.terms = terms
        self.symbol = terms.symbol
        self.name = name_of(terms)
        self.price = Scale(tick)
        self.qty = Scale(lot)
        self.amount = Scale(Fraction(tick) * Fraction(lot))
        self.fee = Scale(Fraction(1, 10 ** decimals.get(terms.quote, 0)))

    def status(self, book: Book) -> str:
        """The trading phase."""
        return _STATUS[book.phase]


def name_of(terms: InstrumentTerms) -> str:
    """What an instrument would be called here."""
    return (terms.base + terms.quote).upper()


class Markets:
    """All instruments of a node by name; follows what is listed, amended and deleted."""

    def __init__(self, queries: Queries) -> None:
        self._queries = queries
        self._by_name: dict[str, Market] = {}
        self._by_symbol: dict[str, Market] = {}
        self._nameless: dict[str, tuple[InstrumentTerms, Market]] = {}
        """By symbol: its terms, and who has the name that it would have."""

    @property
    def exchange(self) -> Exchange:
        """The live exchange."""
        return self._queries.exchange

    def find(self, name: str) -> tuple[Market, Book]:
        """The instrument of a name.

        Raises:
            Fault: there is none.
        """
        market = self._by_name.get(name)
        book = None if market is None else self.exchange.books.get(market.symbol)
        if market is None or book is None or book.terms is not market.terms:
            self._read()
            market = self._by_name.get(name)
            if market is None:
                raise bad_symbol()
            book = self.exchange.books[market.symbol]
        return market, book

    def of_symbol(self, symbol: str) -> Market | None:
        """The market of one of our symbols, if it has a name here: O(instruments) after a change of
        its own, or of the one that has its name."""
        market = self._by_symbol.get(symbol)
        book = self.exchange.books.get(symbol)
        if book is None:
            return None
        if market is not None and market.terms is book.terms:
            return market
        if market is None and self._is_nameless(book):
            return None
        self._read()
        return self._by_symbol.get(symbol)

    def _is_nameless(self, book: Book) -> bool:
        """Whether another instrument is known to have the name still."""
        terms, holder = self._nameless.get(book.symbol, (None, None))
        if holder is None or terms is not book.terms:
            return False
        other = self.exchange.books.get(holder.symbol)
        return other is not None and other.terms is holder.terms

    def all(self) -> list[tuple[Market, Book]]:
        """Every instrument that has a name, in the order they were created."""
        self._read()
        books = self.exchange.books
        return [(market, books[symbol]) for symbol, market in self._by_symbol.items()]

    def _read(self) -> None:
        """Find out anew who has which name: O(instruments)."""
        known, decimals = self._by_symbol, self.exchange.money.decimals
        by_name: dict[str, Market] = {}
        by_symbol: dict[str, Market] = {}
        nameless: dict[str, tuple[InstrumentTerms, Market]] = {}
        for symbol, book in self.exchange.books.items():
            name = name_of(book.terms)
            if name in by_name:
                nameless[symbol] = (book.terms, by_name[name])
                continue
            market = known.get(symbol)
            if market is None or market.terms is not book.terms:
                market = Market(book.terms, decimals)
            by_name[name] = by_symbol[symbol] = market
        self._by_name, self._by_symbol, self._nameless = by_name, by_symbol, nameless


def balance_scale(decimals: Mapping[str, int], currency: str) -> Scale:
    """The unit in which balances of a currency are kept."""
    return Scale(Fraction(1, 10 ** decimals[currency]))


def milliseconds(time_ns: int) -> int:
    """Binance's time."""
    return time_ns // 1_000_000


Json = dict[str, Any]

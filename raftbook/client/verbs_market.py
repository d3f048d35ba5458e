"""Verbs that ask about the market and about own orders, written once for both clients.

Owns which question is asked, and how its answer reads.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from raftbook.client.rejects import Refused
from raftbook.client.steps import KnownInstruments, Query
from raftbook.client.venue_views import AuctionView, CandlesView, FillsView
from raftbook.client.views import BookView, OrderView, TradesView
from raftbook.core.types import Reject
from raftbook.errors import ProtocolError
from raftbook.wire import pages


class MarketVerbs(KnownInstruments):
    """Questions about books, trades and orders."""

    def book(
        self,
        symbol: str,
        depth: int,
        *,
        orders: bool,
        at_least: int | None,
        linearizable: bool,
        max_age_ms: int | None,
    ) -> Generator[Any, Any, BookView]:
        """A book."""
        spec = yield from self._spec(symbol)
        arguments: dict[str, Any] = {"symbol": symbol, "depth": depth, "orders": orders}
        if at_least is not None:
            arguments["at_least"] = at_least
        if linearizable:
            arguments["linearizable"] = True
        if max_age_ms is not None:
            arguments["max_age_ms"] = max_age_ms
        return BookView.from_wire((yield Query("book", arguments)), spec)

    def trades(self, symbol: str, limit: int) -> Generator[Any, Any, TradesView]:
        """The last trades."""
        spec = yield from self._spec(symbol)
        value = yield Query("trades", {"symbol": symbol, "limit": limit})
        return TradesView.from_wire(value, spec)

    def candles(self, symbol: str, width: str, limit: int) -> Generator[Any, Any, CandlesView]:
        """The last candles of one width."""
        spec = yield from self._spec(symbol)
        value = yield Query("candles", {"symbol": symbol, "width": width, "limit": limit})
        return CandlesView.from_wire(value, spec)

    def auction(self, symbol: str) -> Generator[Any, Any, AuctionView]:
        """What the auction of a call would do now."""
        spec = yield from self._spec(symbol)
        return AuctionView.from_wire((yield Query("auction", {"symbol": symbol})), spec)

    def fills(self, symbol: str, limit: int, account: str) -> Generator[Any, Any, FillsView]:
        """An account's sides of the remembered trades."""
        spec = yield from self._spec(symbol)
        arguments = {"symbol": symbol, "limit": limit, "account": account or None}
        return FillsView.from_wire((yield Query("fills", arguments)), spec)

    def order(self, order_id: int, client_order_id: str) -> Generator[Any, Any, OrderView]:
        """One own order."""
        by_id = {"order_id": order_id}
        value = yield Query("order", by_id if order_id else {"client_order_id": client_order_id})
        if value is None:
            raise Refused(Reject.UNKNOWN_ORDER, "", doing="order")
        return (yield from self._order_views([value]))[0]

    def orders(
        self, symbol: str | None, *, open_only: bool, limit: int
    ) -> Generator[Any, Any, list[OrderView]]:
        """Own orders, the newest ones, page by page: each page is of its own moment."""
        listed: list[Any] = []
        before: int | None = None
        while True:
            wanted = min(limit - len(listed), pages.ROWS_MAX)
            arguments = {"symbol": symbol, "open_only": open_only, "limit": wanted}
            value = yield Query("orders", {**arguments, "before": before})
            try:
                listed[:0] = value["orders"]
                before = value["before"]
            except (KeyError, TypeError) as error:
                raise ProtocolError(f"no orders: {value!r:.200}") from error
            if before is None or not value["orders"] or len(listed) >= limit:
                return (yield from self._order_views(listed))

    def _order_views(self, values: list[Any]) -> Generator[Any, Any, list[OrderView]]:
        try:
            return [OrderView.from_wire(value, self.specs) for value in values]
        except KeyError:
            yield from self._learn_instruments()
        try:
            return [OrderView.from_wire(value, self.specs) for value in values]
        except KeyError as error:
            raise ProtocolError(f"the node does not know instrument {error}") from error

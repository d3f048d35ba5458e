"""Order books of others, each behind one function that sends it the messages of the flow.

An adapter calls what the book offers and matches nothing itself. A modify is a cancel and a new
order under the same id everywhere, and an IOC order one whose rest is cancelled at once, since none
of them has either as the flow means it. What a book keeps is made by the adapter's call, within the
time that is measured, as `Exchange.apply` makes what it keeps.
"""

from __future__ import annotations

import importlib
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.rivals import plain_book
from benchmarks.rivals.plain_book import CANCEL, NEW, Message, Trade
from benchmarks.rivals.servers import Absent, client_module, version_of

Replay = Callable[[Sequence[Message]], list[Trade]]

CLONES = "RAFTBOOK_RIVAL_BOOKS"
"""Names the directory in which the books stand that PyPI does not have."""


@dataclass(frozen=True, slots=True)
class Book:
    """One rival.

    Attributes:
        load: how to get at it; raises Absent.
        names_makers: whether its trades say which order rested.
    """

    load: Callable[[], tuple[str, Replay]]
    what: str
    names_makers: bool = True


def plain() -> tuple[str, Replay]:
    """Ours, and nothing but matching."""
    return version_of("sortedcontainers"), plain_book.replay


def pyob() -> tuple[str, Replay]:
    """wegar-2/pyob, with a side that drops what is empty, without which it raises IndexError."""
    version, book = _cloned("pyob", "wegar-2/pyob", "src")

    class Side(book.BookSide):  # type: ignore[misc, name-defined]
        def clear_empty_orders_at_best_price(self) -> None:
            prices, is_buy = self.prices, self.side is book.Side.BUY
            while prices:
                level = self.levels[prices[-1] if is_buy else prices[0]]
                while level and level[0].quantity == 0:
                    gone = level.popleft()
                    # A modified order is there anew under the same id: that one stays.
                    if self.orders.get(gone.order_id, (0, None))[1] is gone:
                        del self.orders[gone.order_id]
                if level:
                    return
                del self.levels[prices.pop() if is_buy else prices.pop(0)]

        def cancel(self, order_id: int) -> bool:
            is_done = bool(super().cancel(order_id))
            if is_done:
                self.clear_empty_orders_at_best_price()
            return is_done

    def replay(messages: Sequence[Message]) -> list[Trade]:
        market = book.OrderBook()
        sides = market.bids, market.asks = Side(book.Side.BUY), Side(book.Side.SELL)
        names, order_type, submit = (book.Side.BUY, book.Side.SELL), book.Order, market.submit
        trades: list[Trade] = []
        for number, (kind, order_id, side, price, qty, is_ioc) in enumerate(messages):
            if kind != NEW:
                side = 0 if sides[0].cancel(order_id) else 1 if sides[1].cancel(order_id) else -1
                if kind == CANCEL or side < 0:
                    continue
            for trade in submit(order_type(order_id, names[side], qty, price)):
                trades.append(Trade(number, trade.price, trade.quantity, trade.resting_order_id))
            if is_ioc:
                sides[side].cancel(order_id)
        return trades

    return version, replay


def dyn4mik3() -> tuple[str, Replay]:
    """dyn4mik3/OrderBook as it stands there; what PyPI has of it is for Python 2."""
    client_module("six")
    version, book = _cloned("OrderBook", "dyn4mik3/OrderBook", "orderbook")

    def replay(messages: Sequence[Message]) -> list[Trade]:
        market = book.OrderBook()
        names = ("bid", "ask")
        trades: list[Trade] = []
        for number, (kind, order_id, side, price, qty, is_ioc) in enumerate(messages):
            if kind != NEW:
                is_bid = market.bids.order_exists(order_id)
                side = 0 if is_bid else 1 if market.asks.order_exists(order_id) else -1
                if side >= 0:
                    market.cancel_order(names[side], order_id)
                if kind == CANCEL or side < 0:
                    continue
            quote = {
                "type": "limit",
                "side": names[side],
                "price": price,
                "quantity": qty,
                "order_id": order_id,
                "trade_id": order_id,
                "timestamp": number,
            }
            done, rest = market.process_order(quote, True, False)
            for trade in done:
                maker_id = trade["party1"][2]
                trades.append(Trade(number, int(trade["price"]), int(trade["quantity"]), maker_id))
            if is_ioc and rest is not None:
                market.cancel_order(names[side], order_id)
        return trades

    return version, replay


def lightmatchingengine() -> tuple[str, Replay]:
    """lightmatchingengine of PyPI; it looks for the best price among all levels each time."""
    book = client_module("lightmatchingengine.lightmatchingengine")

    def replay(messages: Sequence[Message]) -> list[Trade]:
        market = book.LightMatchingEngine()
        orders: dict[int, Any] = {}
        ours: dict[int, int] = {}
        trades: list[Trade] = []
        for number, (kind, order_id, side, price, qty, is_ioc) in enumerate(messages):
            if kind != NEW:
                order = orders.pop(order_id, None)
                if order is None or order.leaves_qty == 0:  # it raises at orders that are done
                    continue
                market.cancel_order(order.order_id, "X")
                if kind == CANCEL:
                    continue
                side = order.side - 1
            order, done = market.add_order("X", price, qty, side + 1)
            orders[order_id] = order
            ours[order.order_id] = order_id
            for trade in done:
                if trade.order_id != order.order_id:
                    maker_id = ours[trade.order_id]
                    trades.append(Trade(number, trade.trade_price, trade.trade_qty, maker_id))
            if is_ioc and order.leaves_qty:
                market.cancel_order(order.order_id, "X")
        return trades

    return version_of("lightmatchingengine"), replay


def pyorderbook() -> tuple[str, Replay]:
    """pyorderbook of PyPI."""
    book = client_module("pyorderbook")

    def replay(messages: Sequence[Message]) -> list[Trade]:
        market = book.Book()
        names, order_type = (book.Side.BID, book.Side.ASK), book.Order
        orders: dict[int, Any] = {}
        ours: dict[Any, int] = {}
        trades: list[Trade] = []
        for number, (kind, order_id, side, price, qty, is_ioc) in enumerate(messages):
            if kind != NEW:
                order = orders.pop(order_id, None)
                if order is None or not order.quantity:
                    continue
                market.cancel(order)
                if kind == CANCEL:
                    continue
                side = 0 if order.side is book.Side.BID else 1
            order = order_type(names[side], "X", price, qty)
            orders[order_id] = order
            ours[order.id] = order_id
            for trade in market.match(order).trades:
                maker_id = ours[trade.standing_order_id]
                trades.append(Trade(number, int(trade.fill_price), trade.fill_quantity, maker_id))
            if is_ioc and order.quantity:
                market.cancel(orders.pop(order_id))
        return trades

    return version_of("pyorderbook"), replay


def fastlob() -> tuple[str, Replay]:
    """fastlob of PyPI, which says that the name is not meant; its log is turned off.

    It takes a cancel of an order that was matched for one of an order that rests, and may raise.
    """
    book = client_module("fastlob")
    logging.getLogger("[bench]").setLevel(logging.CRITICAL)

    def replay(messages: Sequence[Message]) -> list[Trade]:
        with book.Orderbook("bench") as market:
            return _fastlob_replay(book, market, messages)

    return version_of("fastlob"), replay


def _fastlob_replay(book: Any, market: Any, messages: Sequence[Message]) -> list[Trade]:
    names, params = (book.OrderSide.BID, book.OrderSide.ASK), book.OrderParams
    limit_order = book.ResultType.LIMIT
    places: dict[int, tuple[str, int]] = {}
    trades: list[Trade] = []
    for number, (kind, order_id, side, price, qty, is_ioc) in enumerate(messages):
        if kind != NEW:
            place = places.pop(order_id, None)
            if place is None or not market.cancel(place[0]).success() or kind == CANCEL:
                continue
            side = place[1]
        result = market.process(params(names[side], price, qty))
        places[order_id] = (result.orderid(), side)
        if result.kind() is not limit_order:
            # It says how much traded at which price, not with whom.
            for at_price, traded_qty in result.execprices().items():
                trades.append(Trade(number, int(at_price), int(traded_qty), 0))
        if is_ioc:
            market.cancel(result.orderid())
    return trades


BOOKS = {
    "plain": Book(plain, "a sorted dictionary and no feature at all, written for this comparison"),
    "pyob": Book(pyob, "limit orders, cancels; mended"),
    "dyn4mik3": Book(dyn4mik3, "limit and market orders, cancels, amends that do not cross"),
    "lightmatchingengine": Book(lightmatchingengine, "limit and market orders, cancels"),
    "pyorderbook": Book(pyorderbook, "limit orders, cancels, symbols; prices are Decimal"),
    "fastlob": Book(fastlob, "GTC, FOK and GTD orders, cancels, a lock for threads", False),
}


def _cloned(folder: str, repository: str, package: str) -> tuple[str, Any]:
    """A package out of a clone in the directory that CLONES names, and the clone's commit."""
    directory = os.environ.get(CLONES)
    place = Path(directory, folder).resolve() if directory else None
    if place is None or not (place / package / "__init__.py").is_file():
        raise Absent(
            f"{repository} is not here: git clone https://github.com/{repository} into a directory "
            f"and name that in {CLONES}"
        )
    sys.path.insert(0, str(place))
    try:
        found = importlib.import_module(package)
    finally:
        sys.path.remove(str(place))
    if place not in Path(str(found.__file__)).parents:
        raise Absent(f"another package {package} stands in the way: {found.__file__}")
    command = ["git", "-C", str(place), "rev-parse", "--short", "HEAD"]
    said = subprocess.run(command, capture_output=True, text=True)
    return f"{repository} {said.stdout.strip() or '(no commit)'}", found

"""A book that comes in pages while the market goes on, made one state again.

Owns the putting together: docs/PROTOCOL.md, "A book in pages". Each page shows the levels of its
own prices as they were at its own feed_seq; the feed goes on after the first page's. A message
concerns the one page that its price stands on, and counts if it is newer than that page. So once
the messages up to the last page's feed_seq are in, every price is as it was at that feed_seq.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Any, Final

from raftbook.core.types import Side
from raftbook.errors import ProtocolError

_LISTS: Final = (("bids", "bid_orders", Side.BUY), ("asks", "ask_orders", Side.SELL))

Place = tuple[int, int]
"""Where a price stands in the order of telling: bids from the best, then asks from the best."""


class PagedBook:
    """One refresh on its way.

    Attributes:
        seq: the messages up to this one are in; what comes next is seq + 1.
        is_whole: all pages are here, and all messages up to the last one's feed_seq.
    """

    def __init__(self) -> None:
        self.seq = 0
        self._pages = 0
        self._head: dict[str, Any] = {}  # of the newest page
        self._has_more = True
        self._ends: list[Place] = []  # the last place of each page
        self._seqs: list[int] = []  # and its feed_seq
        self._levels: dict[Place, dict[int, int]] = {}  # leaves_qty by order_id, eldest first

    @property
    def is_whole(self) -> bool:
        return not self._has_more and self.seq >= self._head["feed_seq"]

    def add_page(self, view: dict[str, Any]) -> None:
        """Take the next page.

        Raises:
            ProtocolError: it is none, or not the next.
        """
        try:
            self._add_page(view)
        except (KeyError, TypeError, ValueError) as error:
            raise ProtocolError(f"no page of a refresh: {error}: {view!r:.60}") from error

    def _add_page(self, view: dict[str, Any]) -> None:
        seq, told = view["feed_seq"], view["told"]
        is_next = self._has_more and view["page"] == self._pages + 1
        if not is_next or type(seq) is not int or seq < self._head.get("feed_seq", 0):
            raise ValueError(f"page {view['page']} of feed_seq {seq} after {self._pages}")
        if not self._pages:
            self.seq = seq
        for _, name, side in _LISTS:
            for order_id, price, leaves_qty in view[name]:
                self._levels.setdefault(_place(side, price), {})[order_id] = leaves_qty
        if told:
            self._ends.append(_place(*told))
            self._seqs.append(seq)
        self._head, self._has_more = view, bool(view["more"])
        self._pages += 1

    def take(self, message: tuple[Any, ...]) -> None:
        """Take the next message of the feed; all pages must be here.

        Raises:
            ProtocolError: it is none, or not the next.
        """
        try:
            self._take(message)
        except (TypeError, ValueError) as error:
            raise ProtocolError(f"no feed value: {error}: {message!r:.60}") from error

    def _take(self, message: tuple[Any, ...]) -> None:
        seq, _, _, kind, *fields = message
        if self._has_more or seq != self.seq + 1:
            raise ValueError(f"feed_seq {seq} came after {self.seq}, in the middle of a refresh")
        self.seq = seq
        if kind == "trade":
            order_id, price, _, _, taker_side, leaves_qty = fields
            maker_side = Side.SELL if taker_side == Side.BUY else Side.BUY
            self._set(maker_side, price, order_id, leaves_qty)
        elif kind in ("add", "reduce"):
            order_id, side, price, leaves_qty = fields
            self._set(side, price, order_id, leaves_qty)
        elif kind == "delete":
            order_id, side, price, _ = fields
            self._set(side, price, order_id, 0)
        elif kind == "cross":
            _, _, _, buy_id, buy_price, buy_qty, sell_id, sell_price, sell_qty = fields
            if buy_price is not None:
                self._set(Side.BUY, buy_price, buy_id, buy_qty)
            if sell_price is not None:
                self._set(Side.SELL, sell_price, sell_id, sell_qty)

    def _set(self, side: int, price: int, order_id: int, leaves_qty: int) -> None:
        place = _place(side, price)
        page = bisect_left(self._ends, place)
        told_at = self._seqs[page] if page < len(self._seqs) else self._head["feed_seq"]
        if self.seq <= told_at:
            return
        level = self._levels.setdefault(place, {})
        if leaves_qty:
            level[order_id] = leaves_qty
        else:
            level.pop(order_id, None)
        if not level:
            del self._levels[place]

    def view(self) -> dict[str, Any]:
        """The whole book, as a `book` with orders gives it; its feed_seq is the last page's."""
        assert self.is_whole, f"a view at {self.seq}, before {self._head['feed_seq']}"
        view = {
            name: field
            for name, field in self._head.items()
            if name not in ("page", "told", "more")
        }
        for levels, orders, side in _LISTS:
            rows = [
                (_price(place), level)
                for place, level in sorted(self._levels.items())
                if place[0] == side
            ]
            view[levels] = tuple((price, sum(level.values()), len(level)) for price, level in rows)
            view[orders] = tuple(
                (order_id, price, qty) for price, level in rows for order_id, qty in level.items()
            )
        return view


def _place(side: int, price: int) -> Place:
    return int(side), -price if side == Side.BUY else price


def _price(place: Place) -> int:
    return -place[1] if place[0] == Side.BUY else place[1]

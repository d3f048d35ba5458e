"""A book kept by a reader who has nothing but the public feed, and checks every message of it."""

from typing import Any

from raftbook.core.types import Side


class FeedBook:
    """One instrument's resting orders from its L3 messages.

    Attributes:
        feed_seq: the last message taken in; None before the first.
        refreshes: how often the feed began anew with the whole book.
    """

    def __init__(self, feed_seq: int | None = None) -> None:
        self.feed_seq = feed_seq
        self.refreshes = 0
        self.orders: dict[int, list[int]] = {}  # side, price, qty; in the order they joined
        self.trade_id: int | None = None

    def take(self, message: tuple[Any, ...]) -> None:
        """One message; raises AssertionError where it does not fit what came before."""
        if message[0] == "refresh":
            self._refresh(message[1])
            return
        feed_seq, _, _, kind, *fields = message
        due = None if self.feed_seq is None else self.feed_seq + 1
        assert feed_seq == due, f"feed_seq {feed_seq} where {due} was due"
        self.feed_seq = feed_seq
        getattr(self, f"_{kind}")(*fields)

    def side(self, side: Side) -> list[tuple[int, int, int]]:
        """(order_id, price, qty) of one side, best and eldest first."""
        sign = -1 if side == Side.BUY else 1
        found = [
            (order_id, price, qty)
            for order_id, (its_side, price, qty) in self.orders.items()
            if its_side == side
        ]
        return sorted(found, key=lambda order: sign * order[1])

    def levels(self, side: Side) -> list[tuple[int, int, int]]:
        """(price, qty, orders) of one side, best first."""
        levels: dict[int, tuple[int, int]] = {}
        for _, price, qty in self.side(side):
            before = levels.get(price, (0, 0))
            levels[price] = (before[0] + qty, before[1] + 1)
        return [(price, qty, count) for price, (qty, count) in levels.items()]

    def same_as(self, view: dict[str, Any]) -> bool:
        """Whether it holds exactly what a `book` query with orders says."""
        return (
            self.feed_seq == view["feed_seq"]
            and tuple(self.levels(Side.BUY)) == tuple(view["bids"])
            and tuple(self.levels(Side.SELL)) == tuple(view["asks"])
            and tuple(self.side(Side.BUY)) == tuple(view["bid_orders"])
            and tuple(self.side(Side.SELL)) == tuple(view["ask_orders"])
        )

    def _refresh(self, view: dict[str, Any]) -> None:
        assert self.feed_seq is None or view["feed_seq"] >= self.feed_seq, "the feed went back"
        self.refreshes += 1
        self.feed_seq = view["feed_seq"]
        self.trade_id = None
        self.orders = {
            order_id: [side, price, qty]
            for side, name in ((Side.BUY, "bid_orders"), (Side.SELL, "ask_orders"))
            for order_id, price, qty in view[name]
        }

    def _add(self, order_id: int, side: int, price: int, qty: int) -> None:
        assert order_id not in self.orders, f"order {order_id} joins twice"
        assert qty > 0, f"order {order_id} joins with {qty}"
        self.orders[order_id] = [side, price, qty]

    def _trade(
        self, maker_id: int, price: int, qty: int, trade_id: int, taker_side: int, leaves: int
    ) -> None:
        assert self.trade_id in (None, trade_id - 1), f"trade {trade_id} after {self.trade_id}"
        self.trade_id = trade_id
        if not maker_id:  # a hidden one, which waits for all that is shown
            assert leaves == 0 and qty > 0
            assert [3 - taker_side, price] not in [order[:2] for order in self.orders.values()]
            return
        maker = self.orders[maker_id]
        assert [3 - taker_side, price, leaves + qty] == maker, f"trade {trade_id} with {maker}"
        maker[2] = leaves
        if not leaves:
            del self.orders[maker_id]

    def _reduce(self, order_id: int, side: int, price: int, leaves: int) -> None:
        order = self.orders[order_id]
        assert order[:2] == [side, price] and 0 < leaves <= order[2], f"{order} to {leaves}"
        order[2] = leaves

    def _delete(self, order_id: int, side: int, price: int, qty: int) -> None:
        assert self.orders.pop(order_id) == [side, price, qty]

    def _cross(
        self,
        price: int,
        qty: int,
        trade_id: int,
        buy_id: int,
        buy_price: int | None,
        buy_shown: int | None,
        sell_id: int,
        sell_price: int | None,
        sell_shown: int | None,
    ) -> None:
        assert self.trade_id in (None, trade_id - 1), f"trade {trade_id} after {self.trade_id}"
        assert qty > 0
        self.trade_id = trade_id
        assert buy_price is None or buy_price >= price, f"{buy_id} pays {price}"
        assert sell_price is None or sell_price <= price, f"{sell_id} gets {price}"
        for order_id, side, its_price, shown in (
            (buy_id, Side.BUY, buy_price, buy_shown),
            (sell_id, Side.SELL, sell_price, sell_shown),
        ):
            if its_price is None:
                assert shown is None and order_id not in self.orders
                continue
            order = self.orders[order_id]
            assert order[:2] == [side, its_price]
            assert shown is not None
            order[2] = shown
            if not shown:
                del self.orders[order_id]

    def _uncross(self, price: int | None, volume: int, imbalance: int) -> None:
        assert (price is None) == (volume == 0)
        best_bid = max((order[1] for order in self.orders.values() if order[0] == 1), default=None)
        best_ask = min((order[1] for order in self.orders.values() if order[0] == 2), default=None)
        crosses = best_bid is not None and best_ask is not None and best_bid >= best_ask
        assert not crosses, f"an auction left {best_bid} above {best_ask}"

    def _bust(self, trade_id: int, price: int, qty: int) -> None:
        assert qty > 0 and (self.trade_id is None or trade_id <= self.trade_id)

    def _amended(self, terms: tuple[Any, ...]) -> None:
        assert type(terms[0]) is str

    def _deleted(self) -> None:
        assert not self.orders, "an instrument is deleted when nothing rests"
        self.feed_seq = 0
        self.trade_id = None

    def _phase(self, phase: int) -> None:
        assert phase > 0, "no phase"

    def _created(self) -> None:
        assert not self.orders and self.feed_seq == 1, "an instrument is made once"

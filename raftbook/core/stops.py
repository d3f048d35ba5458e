"""Orders that wait for a price, or for another order: which of them fire, and in which order.

Owns the waiting orders of one instrument, sorted by the price they wait for, and the pending ones.
A stop "rises" when it fires at a price at or above its stop price (buy stops, sell touches), and
"falls" otherwise. Knows nothing of books: prices are told, and what fires is handed back.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, Final

from sortedcontainers import SortedList

from raftbook.core.conditions import trigger_by
from raftbook.core.ladder import Order, Special
from raftbook.core.trailing import StopKey, Trail, trailed
from raftbook.core.types import OrderType, Side, TriggerBy

_BUY: Final = int(Side.BUY)
_STOP_TYPES: Final = frozenset((int(OrderType.STOP), int(OrderType.STOP_LIMIT)))
_LAST: Final = int(TriggerBy.LAST)
_BID: Final = int(TriggerBy.BID)
_ASK: Final = int(TriggerBy.ASK)
_MID: Final = int(TriggerBy.MID)


def rises(terms: tuple[Any, ...]) -> bool:
    """Whether an order fires when a price is at or above its stop price."""
    kind = terms[4]
    return bool(kind[0] == _BUY) == (kind[1] in _STOP_TYPES)


class _Waiting:
    """Those that look at one price: by the price they wait for, then by arrival."""

    __slots__ = ("falling", "rising")

    def __init__(self) -> None:
        self.rising: SortedList[StopKey] = SortedList()
        self.falling: SortedList[StopKey] = SortedList()

    def is_reached(self, low: int, high: int) -> bool:
        """Whether anything fires at a price that lies between two neighbouring ticks, or on one."""
        rising, falling = self.rising, self.falling
        return bool(rising and rising[0][0] <= low) or bool(falling and -falling[0][0] >= high)

    def reach(self, low: int, high: int, rising: list[StopKey], falling: list[StopKey]) -> None:
        """Add what fires at a price that lies between two neighbouring ticks, or on one."""
        for key in self.rising:
            if key[0] > low:
                break
            rising.append(key)
        for key in self.falling:
            if -key[0] < high:
                break
            falling.append(key)


class Stops:
    """All orders of one instrument that wait.

    Attributes:
        by_id: by order_id, in the order in which they came to wait.
        arrivals: how many came to wait, or got another stop price, so far.
        seen_price: the last price that all trailing stops have seen.
        by_quotes: those that look at bid, ask or their middle, by what they look at; empty until
            there is one.
        pending: by order_id, orders that wait until another one is filled, whatever they are then.
        due: those of them whose wait is over, in the order of their release.
    """

    __slots__ = (
        "_by_last",
        "_falling_trail",
        "_rising_trail",
        "arrivals",
        "by_id",
        "by_quotes",
        "due",
        "pending",
        "seen_price",
    )

    def __init__(self) -> None:
        self.by_id: dict[int, Order] = {}
        self._by_last = _Waiting()
        self.by_quotes: dict[int, _Waiting] = {}
        self._falling_trail, self._rising_trail = Trail(is_buy=False), Trail(is_buy=True)
        self.arrivals = 0
        self.seen_price: int | None = None
        self.pending: dict[int, Order] = {}
        self.due: OrderedDict[int, Order] = OrderedDict()  # whose front goes in O(1)

    def arrive(self, order: Order, special: Special, last_price: int | None) -> None:
        """Let a new order wait, or one whose stop price or offset was changed.

        Args:
            last_price: or its reference; a trailing stop begins there.
        """
        self.arrivals += 1
        special.arrival = self.arrivals
        conditions = order.terms[7]
        if self.arrivals == 1:
            self.seen_price = None  # nothing has trailed yet, whatever has passed
        if conditions[1]:
            assert last_price is not None, f"order {order.terms[0]} trails nothing"
            special.best_price = last_price
            special.stop_price = trailed(order.terms, last_price)
            if last_price != self.seen_price:
                self.seen_price = None  # which this one has not seen
        else:
            special.stop_price = conditions[0]
        self.put(order, special)

    def rearm(self, order: Order, special: Special) -> None:
        """Let an order wait at its new stop price, or with its new offset, as a new arrival."""
        self.arrivals += 1
        special.arrival = self.arrivals
        trails = order.terms[7][1]
        special.stop_price = (
            trailed(order.terms, special.best_price) if trails else order.terms[7][0]
        )
        self.put(order, special)

    def put(self, order: Order, special: Special) -> None:
        """Let an order wait at the stop price that it has."""
        order_id = order.terms[0]
        self.by_id[order_id] = order
        if order.terms[7][1]:
            self._trail_of(order).add(order.terms, special.arrival, special.best_price)
        else:
            self._side(order).add(self._key(order, special))

    def remove(self, order: Order, special: Special) -> None:
        """An order waits no longer: it fires or ends, or it is put in anew."""
        order_id = order.terms[0]
        if self.pending.pop(order_id, None) is not None:
            self.due.pop(order_id, None)
            return
        del self.by_id[order_id]
        if order.terms[7][1]:
            special.best_price = self._trail_of(order).remove(order.terms, special.arrival)
            special.stop_price = trailed(order.terms, special.best_price)
            return
        self._side(order).remove(self._key(order, special))
        by = trigger_by(order.terms)
        if by != _LAST and not (self.by_quotes[by].rising or self.by_quotes[by].falling):
            del self.by_quotes[by]

    def is_reached(self, last_price: int | None, bid: int | None, ask: int | None) -> bool:
        """Whether an order fires at these prices; see `reached`. O(log stops)."""
        if last_price is not None:
            if self._by_last.is_reached(last_price, last_price):
                return True
            if self._rising_trail.is_reached(last_price):
                return True
            if self._falling_trail.is_reached(last_price):
                return True
        return any(waiting.is_reached(low, high) for waiting, low, high in self._quoted(bid, ask))

    def _quoted(self, bid: int | None, ask: int | None) -> Iterator[tuple[_Waiting, int, int]]:
        """Those that look at quotes which are there, and the ticks around what they see."""
        for by, waiting in self.by_quotes.items():
            if by == _MID and bid is not None and ask is not None:
                yield waiting, (bid + ask) // 2, -(-(bid + ask) // 2)
            elif by == _BID and bid is not None:
                yield waiting, bid, bid
            elif by == _ASK and ask is not None:
                yield waiting, ask, ask

    def trail(self, last_price: int) -> None:
        """Let trailing stops follow the last price, in their favour only."""
        if last_price == self.seen_price:
            return
        self.seen_price = last_price
        self._falling_trail.follow(last_price)
        self._rising_trail.follow(last_price)

    def catch_up(self, order: Order, special: Special) -> None:
        """Set on an order that waits where it is now: what trails is told of no move."""
        if order.terms[7][1]:
            special.best_price = self._trail_of(order).best_price(order.terms[0])
            special.stop_price = trailed(order.terms, special.best_price)

    def reached(self, last_price: int | None, bid: int | None, ask: int | None) -> list[Order]:
        """The orders that fire at these prices, first those that rise.

        Args:
            bid, ask: looked at only if an order looks at them.
        """
        rising: list[StopKey] = []
        falling: list[StopKey] = []
        if last_price is not None:
            self._by_last.reach(last_price, last_price, rising, falling)
            self._rising_trail.reach(last_price, rising)
            self._falling_trail.reach(last_price, falling)
        for waiting, low, high in self._quoted(bid, ask):
            waiting.reach(low, high, rising, falling)
        rising.sort()
        falling.sort()
        return [self.by_id[key[2]] for keys in (rising, falling) for key in keys]

    def __iter__(self) -> Iterator[Order]:
        return iter(self.by_id.values())

    def __len__(self) -> int:
        return len(self.by_id) + len(self.pending)

    def __bool__(self) -> bool:
        return bool(self.by_id or self.pending)

    def _trail_of(self, order: Order) -> Trail:
        return self._rising_trail if rises(order.terms) else self._falling_trail

    def _side(self, order: Order) -> SortedList[StopKey]:
        by = trigger_by(order.terms)
        waiting = self._by_last if by == _LAST else self.by_quotes.setdefault(by, _Waiting())
        return waiting.rising if rises(order.terms) else waiting.falling

    def _key(self, order: Order, special: Special) -> StopKey:
        stop_price = special.stop_price
        assert stop_price is not None, f"order {order.terms[0]} waits for no price"
        sign = 1 if rises(order.terms) else -1
        return (sign * stop_price, special.arrival, order.terms[0])

    def check(self) -> None:
        """Assert that all views of the waiting orders agree."""
        for order in self.pending.values():
            assert order.leaves_qty > 0 and order.level is None and not order.held, (
                f"order {order.terms[0]} is pending and is not"
            )
        assert all(self.pending.get(each) is order for each, order in self.due.items()), (
            f"{list(self.due)} are due, {list(self.pending)} pending"
        )
        groups = (self._by_last, *self.by_quotes.values())
        keys = sorted(key[2] for each in groups for key in (*each.rising, *each.falling))
        plain = sorted(each for each, order in self.by_id.items() if not order.terms[7][1])
        assert keys == plain, f"{keys} are not the stops {plain}"
        trails = (self._falling_trail, self._rising_trail)
        for trail in trails:
            trail.check()
        assert sum(map(len, trails)) == len(self.by_id) - len(plain), "trailing stops differ"
        for order in self.by_id.values():
            special = order.special
            assert special is not None and order.leaves_qty > 0 and order.level is None, (
                f"order {order.terms[0]} waits and does not"
            )
            is_there = (
                order.terms[0] in self._trail_of(order)
                if order.terms[7][1]
                else self._key(order, special) in self._side(order)
            )
            assert is_there, f"order {order.terms[0]} lost"

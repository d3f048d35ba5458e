"""Orders that wait for a price: which of them fire, and in which order.

Owns the waiting orders of one instrument, sorted by the price they wait for. A stop "rises" when it
fires at a price at or above its stop price (buy stops, sell touches), and "falls" otherwise.
Knows nothing of books: prices are told, and what fires is handed back.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from sortedcontainers import SortedList

from raftbook.core.conditions import trigger_by
from raftbook.core.ladder import Order, Special
from raftbook.core.types import OrderType, Side, TrailUnit, TriggerBy

_BUY: Final = int(Side.BUY)
_TICKS: Final = int(TrailUnit.TICKS)
_STOP_TYPES: Final = frozenset((int(OrderType.STOP), int(OrderType.STOP_LIMIT)))
_LAST: Final = int(TriggerBy.LAST)
_BID: Final = int(TriggerBy.BID)
_ASK: Final = int(TriggerBy.ASK)
_MID: Final = int(TriggerBy.MID)
BPS_UNIT: Final = 10_000

_Key = tuple[int, int, int]


def rises(terms: tuple[Any, ...]) -> bool:
    """Whether an order fires when a price is at or above its stop price."""
    kind = terms[4]
    return bool(kind[0] == _BUY) == (kind[1] in _STOP_TYPES)


class _Waiting:
    """Those that look at one price: by the price they wait for, then by arrival."""

    __slots__ = ("falling", "rising")

    def __init__(self) -> None:
        self.rising: SortedList[_Key] = SortedList()
        self.falling: SortedList[_Key] = SortedList()

    def reach(self, low: int, high: int, rising: list[_Key], falling: list[_Key]) -> None:
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
        seen_price: the last price that trailing stops have seen.
        by_quotes: those that look at bid, ask or their middle, by what they look at; empty until
            there is one.
    """

    __slots__ = ("_by_last", "_trailing", "arrivals", "by_id", "by_quotes", "seen_price")

    def __init__(self) -> None:
        self.by_id: dict[int, Order] = {}
        self._by_last = _Waiting()
        self.by_quotes: dict[int, _Waiting] = {}
        self._trailing: dict[int, Order] = {}
        self.arrivals = 0
        self.seen_price: int | None = None

    def arrive(self, order: Order, special: Special, last_price: int | None) -> None:
        """Let a new order wait, or one whose stop price or offset was changed.

        Args:
            last_price: or its reference; a trailing stop begins there.
        """
        self.arrivals += 1
        special.arrival = self.arrivals
        conditions = order.terms[7]
        if conditions[1]:
            assert last_price is not None, f"order {order.terms[0]} trails nothing"
            special.best_price = last_price
            special.stop_price = trailed(order.terms, last_price)
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
            self._trailing[order_id] = order
        self._side(order).add(self._key(order, special))

    def remove(self, order: Order, special: Special) -> None:
        """An order waits no longer: it fires or ends, or it is put in anew."""
        order_id = order.terms[0]
        del self.by_id[order_id]
        self._trailing.pop(order_id, None)
        self._side(order).remove(self._key(order, special))
        by = trigger_by(order.terms)
        if by != _LAST and not (self.by_quotes[by].rising or self.by_quotes[by].falling):
            del self.by_quotes[by]

    def trail(self, last_price: int) -> None:
        """Let trailing stops follow the last price, in their favour only. O(trailing stops)."""
        if last_price == self.seen_price:
            return
        self.seen_price = last_price
        for order in self._trailing.values():
            special = order.special
            assert special is not None, f"order {order.terms[0]} trails without a trigger"
            is_buy = order.terms[4][0] == _BUY
            best = special.best_price
            if last_price < best if is_buy else last_price > best:
                side = self._side(order)
                side.remove(self._key(order, special))
                special.best_price = last_price
                special.stop_price = trailed(order.terms, last_price)
                side.add(self._key(order, special))

    def due(self, last_price: int | None, bid: int | None, ask: int | None) -> list[Order]:
        """The orders that fire at these prices, first those that rise.

        Args:
            bid, ask: looked at only if an order looks at them.
        """
        rising: list[_Key] = []
        falling: list[_Key] = []
        if last_price is not None:
            self._by_last.reach(last_price, last_price, rising, falling)
        for by, waiting in self.by_quotes.items():
            if by == _MID and bid is not None and ask is not None:
                waiting.reach((bid + ask) // 2, -(-(bid + ask) // 2), rising, falling)
            elif by == _BID and bid is not None:
                waiting.reach(bid, bid, rising, falling)
            elif by == _ASK and ask is not None:
                waiting.reach(ask, ask, rising, falling)
        if self.by_quotes:
            rising.sort()
            falling.sort()
        return [self.by_id[key[2]] for keys in (rising, falling) for key in keys]

    def __iter__(self) -> Iterator[Order]:
        return iter(self.by_id.values())

    def __len__(self) -> int:
        return len(self.by_id)

    def _side(self, order: Order) -> SortedList[_Key]:
        by = trigger_by(order.terms)
        waiting = self._by_last if by == _LAST else self.by_quotes.setdefault(by, _Waiting())
        return waiting.rising if rises(order.terms) else waiting.falling

    def _key(self, order: Order, special: Special) -> _Key:
        stop_price = special.stop_price
        assert stop_price is not None, f"order {order.terms[0]} waits for no price"
        sign = 1 if rises(order.terms) else -1
        return (sign * stop_price, special.arrival, order.terms[0])

    def check(self) -> None:
        """Assert that all views of the waiting orders agree."""
        groups = (self._by_last, *self.by_quotes.values())
        keys = sorted(key[2] for each in groups for key in (*each.rising, *each.falling))
        assert keys == sorted(self.by_id), f"{keys} are not the stops {sorted(self.by_id)}"
        trailing = [order_id for order_id, order in self.by_id.items() if order.terms[7][1]]
        assert sorted(trailing) == sorted(self._trailing), "trailing stops differ"
        for order in self.by_id.values():
            special = order.special
            assert special is not None and order.leaves_qty > 0 and order.level is None, (
                f"order {order.terms[0]} waits and does not"
            )
            assert self._key(order, special) in self._side(order), f"order {order.terms[0]} lost"


def trailed(terms: tuple[Any, ...], best_price: int) -> int:
    """The stop price of a trailing order whose best price is this: never nearer than the offset."""
    _, unit, offset, *_ = terms[7]
    distance = offset
    if unit != _TICKS:
        distance = -(-abs(best_price) * offset // BPS_UNIT)
    return int(best_price + distance if terms[4][0] == _BUY else best_price - distance)

"""Trailing stops of one side: they follow the price in company, and fire one by one.

Orders whose best price is the same stand in one `_Mark`. When the price moves on in their favour,
marks merge, the smaller into the larger, and no order is touched; so a price that rises past ten
thousand stops costs what a single one does. Prices in here are mirrored, times 1 for sells and -1
for buys: a better price is a higher one, and a stop fires when the price is not above it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from sortedcontainers import SortedDict, SortedList

from raftbook.core.types import Side, TrailUnit

_BUY: Final = int(Side.BUY)
_TICKS: Final = int(TrailUnit.TICKS)
BPS_UNIT: Final = 10_000

StopKey = tuple[int, int, int]
"""(what sorts stops by who fires first, arrival, order_id)"""
_Member = tuple[int, int, int]
"""(trail_offset, arrival, order_id)"""


def trailed(terms: tuple[Any, ...], best_price: int) -> int:
    """The stop price of a trailing order whose best price is this: never nearer than the offset."""
    _, unit, offset, *_ = terms[7]
    distance = _distance(unit, offset, best_price)
    return int(best_price + distance if terms[4][0] == _BUY else best_price - distance)


def _distance(unit: int, offset: int, best_price: int) -> int:
    """Ticks between a best price, mirrored or not, and the stop price; basis points round up."""
    return offset if unit == _TICKS else -(-abs(best_price) * offset // BPS_UNIT)


class _Mark:
    """Orders with one best price: by unit, the nearest first.

    Attributes:
        first: the stop price under which the mark stands, None while it stands nowhere.
    """

    __slots__ = ("best", "first", "members")

    def __init__(self, best: int) -> None:
        self.best = best
        self.first: int | None = None
        self.members: dict[int, SortedList[_Member]] = {}

    def __len__(self) -> int:
        return sum(map(len, self.members.values()))

    def __bool__(self) -> bool:
        return any(self.members.values())

    def __iter__(self) -> Iterator[_Member]:
        for members in self.members.values():
            yield from members

    def add(self, unit: int, member: _Member) -> None:
        self.members.setdefault(unit, SortedList()).add(member)

    def remove(self, unit: int, member: _Member) -> None:
        self.members[unit].remove(member)
        if not self.members[unit]:
            del self.members[unit]

    def take_in(self, other: _Mark) -> None:
        for unit, members in other.members.items():
            self.members.setdefault(unit, SortedList()).update(members)

    def stop(self, unit: int, offset: int) -> int:
        return self.best - _distance(unit, offset, self.best)

    def first_stop(self) -> int:
        """The stop price that is reached first."""
        return max(self.stop(unit, members[0][0]) for unit, members in self.members.items())

    def reach(self, price: int, keys: list[StopKey]) -> None:
        """Add what fires at a price."""
        for unit, members in self.members.items():
            for offset, arrival, order_id in members:
                stop = self.stop(unit, offset)
                if stop < price:
                    break
                keys.append((-stop, arrival, order_id))


class Trail:
    """The trailing stops of one side of an instrument. O(log stops) each, amortised."""

    __slots__ = ("_by_best", "_by_stop", "_mark_of", "_sign")

    def __init__(self, *, is_buy: bool) -> None:
        self._sign = -1 if is_buy else 1
        self._by_best: SortedDict[int, _Mark] = SortedDict()
        self._by_stop: SortedList[tuple[int, int]] = SortedList()  # (first_stop, best) of each mark
        self._mark_of: dict[int, _Mark] = {}  # by order_id

    def __contains__(self, order_id: int) -> bool:
        return order_id in self._mark_of

    def __len__(self) -> int:
        return len(self._mark_of)

    def __bool__(self) -> bool:
        return bool(self._mark_of)

    def add(self, terms: tuple[Any, ...], arrival: int, best_price: int) -> None:
        """An order trails from this best price on."""
        best = best_price * self._sign
        mark = self._by_best.get(best)
        if mark is None:
            mark = self._by_best[best] = _Mark(best)
        mark.add(terms[7][1], (terms[7][2], arrival, terms[0]))
        self._mark_of[terms[0]] = mark
        self._arrange(mark)

    def remove(self, terms: tuple[Any, ...], arrival: int) -> int:
        """An order trails no longer; its best price."""
        mark = self._mark_of.pop(terms[0])
        mark.remove(terms[7][1], (terms[7][2], arrival, terms[0]))
        if mark.members:
            self._arrange(mark)
        else:
            self._lift(mark)
        return mark.best * self._sign

    def best_price(self, order_id: int) -> int:
        """The price most in an order's favour so far."""
        return self._mark_of[order_id].best * self._sign

    def follow(self, last_price: int) -> None:
        """Let all whose best price is worse have this one."""
        price = last_price * self._sign
        by_best = self._by_best
        if not by_best or by_best.peekitem(0)[0] >= price:
            return
        passed = [by_best[best] for best in by_best.irange(maximum=price)]
        home = max(passed, key=len)
        for mark in passed:
            self._lift(mark)
            if mark is not home:
                home.take_in(mark)
                self._mark_of.update((member[2], home) for member in mark)
        home.best = price
        by_best[price] = home
        self._arrange(home)

    def is_reached(self, last_price: int) -> bool:
        """Whether anything fires at a price."""
        by_stop = self._by_stop
        return bool(by_stop) and by_stop[-1][0] >= last_price * self._sign

    def reach(self, last_price: int, keys: list[StopKey]) -> None:
        """Add what fires at a price."""
        price = last_price * self._sign
        for _, best in self._by_stop.irange(minimum=(price,)):
            self._by_best[best].reach(price, keys)

    def _lift(self, mark: _Mark) -> None:
        """Take a mark out."""
        del self._by_best[mark.best]
        self._by_stop.remove((mark.first, mark.best))
        mark.first = None

    def _arrange(self, mark: _Mark) -> None:
        """Let a mark stand by what is its first stop now."""
        first = mark.first_stop()
        if first == mark.first:
            return
        if mark.first is not None:
            self._by_stop.remove((mark.first, mark.best))
        mark.first = first
        self._by_stop.add((first, mark.best))

    def check(self) -> None:
        """Assert that all views agree."""
        marks = list(self._by_best.values())
        assert [mark.best for mark in marks] == list(self._by_best), "a mark under another best"
        members = {member[2]: mark for mark in marks for member in mark}
        assert members == self._mark_of, f"{members} trail, {self._mark_of} known"
        stops = sorted((mark.first_stop(), mark.best) for mark in marks)
        assert stops == list(self._by_stop), f"{stops} are not the first stops"

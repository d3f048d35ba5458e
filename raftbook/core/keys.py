"""The sorted keys of one ladder: cheap at the best end, logarithmic everywhere else.

Owns the order of price levels. Trading happens near the best price, so the best few hundred keys
stand in a plain list, whose insertion and removal near its end cost a fraction of a SortedList's;
the rest stands in a SortedList, so a deep static book costs nothing until it is reached.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from itertools import chain
from typing import Final

from sortedcontainers import SortedList

_NEAR_MAX: Final = 512
"""Longest plain list: a removal from its middle moves 2 KB, less than a SortedList's overhead."""


class SortedKeys:
    """A sorted set of integers. Every key in `_near` is above every key in `_far`."""

    __slots__ = ("_far", "_far_best", "_near")

    def __init__(self) -> None:
        self._near: list[int] = []
        self._far: SortedList[int] = SortedList()
        self._far_best: int | None = None

    def __reversed__(self) -> Iterator[int]:
        return chain(reversed(self._near), reversed(self._far))

    def __len__(self) -> int:
        return len(self._near) + len(self._far)

    def __bool__(self) -> bool:
        return bool(self._near or self._far)

    def from_best(self, rank: int) -> int:
        """The greatest key for rank 0, the next for 1 and so on. O(log keys)."""
        near = self._near
        rank_far = rank - len(near)
        return near[-1 - rank] if rank_far < 0 else self._far[-1 - rank_far]

    def below(self, key: int) -> Iterator[int]:
        """Keys below `key`, which need not be there, greatest first. O(log keys) to begin."""
        near = self._near
        far = self._far.irange(maximum=key, inclusive=(True, False), reverse=True)
        return chain(reversed(near[: bisect_left(near, key)]), far)

    def add(self, key: int) -> None:
        """Put in a key that is not there yet."""
        if self._far_best is not None and key < self._far_best:
            self._far.add(key)
            return
        near = self._near
        insort(near, key)
        if len(near) > _NEAR_MAX:
            half = _NEAR_MAX // 2
            self._far.update(near[:half])
            self._far_best = near[half - 1]
            del near[:half]

    def remove(self, key: int) -> None:
        """Take out a key that is there."""
        if self._far_best is not None and key <= self._far_best:
            self._far.remove(key)
            self._far_best = self._far[-1] if self._far else None
            return
        near = self._near
        index = bisect_left(near, key)
        assert near[index] == key, f"key {key} is not among the levels"
        del near[index]
        if not near and self._far_best is not None:
            self._refill()

    def pop(self) -> int | None:
        """Take out the greatest key; the next greatest, None if that was the last."""
        near = self._near
        near.pop()
        if near:
            return near[-1]
        if self._far_best is None:
            return None
        self._refill()
        return self._near[-1]

    def _refill(self) -> None:
        """Fetch the best far keys once no near one is left."""
        far = self._far
        near = [far.pop() for _ in range(min(len(far), _NEAR_MAX // 2))]
        near.reverse()
        self._near = near
        self._far_best = far[-1] if far else None

    def check(self) -> None:
        """Assert the invariants."""
        keys = [*self._far, *self._near]
        assert keys == sorted(set(keys)), "keys are not sorted and unique"
        assert self._far_best == (self._far[-1] if self._far else None), "stale _far_best"
        assert self._near or not self._far, "far keys without near ones"

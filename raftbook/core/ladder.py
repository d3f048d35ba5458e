"""One side of a book: price levels, best first, each a queue of orders in time priority.

Owns where a resting order stands. A ladder's `key` grows towards the best price: +price for bids,
-price for asks; so one code serves both sides and "at least as good as" is always `>=`. Knows
nothing of matching, accounts or events.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from raftbook.core.keys import SortedKeys

if TYPE_CHECKING:
    from raftbook.core.accounts import Account
    from raftbook.core.book import Book


class Order:
    """One live or recently closed order.

    `terms` is the immutable part (`events.OrderTerms` as a plain tuple). Quantities are lots; what
    was cancelled or prevented is order_qty - cum_qty - leaves_qty. leaves_qty 0 means closed.

    Attributes:
        level: where it rests, None while it does not.
        older, newer: its neighbours in that level's queue.
    """

    level: Level | None
    older: Order | None
    newer: Order | None

    __slots__ = (
        "account",
        "book",
        "cum_notional",
        "cum_qty",
        "leaves_qty",
        "level",
        "newer",
        "older",
        "terms",
    )

    def __init__(
        self, account: Account, book: Book, terms: tuple[Any, ...], leaves_qty: int
    ) -> None:
        self.account = account
        self.book = book
        self.terms = terms
        self.leaves_qty = leaves_qty
        self.cum_qty = self.cum_notional = 0
        self.level = self.older = self.newer = None


class Level:
    """All orders at one price: an intrusive queue, O(1) at both ends and in the middle.

    `qty` is the sum of leaves_qty, `count` the number of orders.
    """

    __slots__ = ("count", "eldest", "key", "newest", "price", "qty")

    def __init__(self, key: int, price: int, order: Order) -> None:
        self.key = key
        self.price = price
        self.qty = order.leaves_qty
        self.count = 1
        self.eldest: Order | None = order
        self.newest: Order | None = order

    def __iter__(self) -> Iterator[Order]:
        order = self.eldest
        while order is not None:
            yield order
            order = order.newer


class Ladder:
    """The levels of one side. `best` is the level that trades next, None on an empty side."""

    __slots__ = ("_keys", "best", "levels", "sign")

    def __init__(self, sign: int) -> None:
        self.sign = sign  # +1: bids, -1: asks
        self.levels: dict[int, Level] = {}  # by key
        self._keys = SortedKeys()
        self.best: Level | None = None

    def __iter__(self) -> Iterator[Level]:
        """Levels from best to worst; lazy, so a short look costs little on a deep book."""
        levels = self.levels
        for key in reversed(self._keys):
            yield levels[key]

    def below(self, key: int) -> Iterator[Level]:
        """Levels worse than `key`, best first; lazy, and void once the ladder changes."""
        levels = self.levels
        for worse in self._keys.below(key):
            yield levels[worse]

    def append(self, order: Order, price: int) -> None:
        """Let `order` join the back of the queue at `price` (O(log levels) for a new price)."""
        key = price * self.sign
        levels = self.levels
        if key not in levels:
            order.level = level = levels[key] = Level(key, price, order)
            self._keys.add(key)
            if self.best is None or key > self.best.key:
                self.best = level
            return
        level = levels[key]
        newest = level.newest
        assert newest is not None, f"level {price} stands empty"
        order.older, newest.newer, level.newest = newest, order, order
        order.level = level
        level.count += 1
        level.qty += order.leaves_qty

    def remove(self, order: Order) -> None:
        """Take `order` out of its queue, wherever it stands, with what is left of it."""
        level = order.level
        assert level is not None, f"order {order.terms[0]} does not rest"
        order.level = None
        if level.count == 1:
            del self.levels[level.key]
            if level is not self.best:
                self._keys.remove(level.key)
            else:
                key = self._keys.pop()
                self.best = None if key is None else self.levels[key]
            return
        older, newer = order.older, order.newer
        order.older = order.newer = None
        if older is None:
            level.eldest = newer
        else:
            older.newer = newer
        if newer is None:
            level.newest = older
        else:
            newer.older = older
        level.count -= 1
        level.qty -= order.leaves_qty

    def fillable(self, qty: int, bound: int) -> int:
        """How much of `qty` the levels with key >= bound hold, at most `qty`."""
        found = 0
        for level in self:
            if level.key < bound or found >= qty:
                break
            found += level.qty
        return min(found, qty)

    def check(self) -> None:
        """Assert that levels, keys and best agree."""
        self._keys.check()
        keys = list(reversed(self._keys))
        assert sorted(self.levels, reverse=True) == keys, f"{keys} are not the levels' keys"
        best = self.levels[keys[0]] if keys else None
        assert self.best is best, "best is not the best level"
        for key, level in self.levels.items():
            assert key == level.key == level.price * self.sign, f"level {level.price} under {key}"

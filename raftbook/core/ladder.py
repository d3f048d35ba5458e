"""One side of a book: price levels, best first, each a queue of orders in time priority.

Owns orders and where they stand while they rest. A ladder's `key` grows towards the best price:
+price for bids, -price for asks; so one code serves both sides and "at least as good as" is always
`>=`. Knows nothing of matching, accounts or events.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from raftbook.core.conditions import is_linked
from raftbook.core.hidden import insert
from raftbook.core.keys import SortedKeys

if TYPE_CHECKING:
    from raftbook.core.accounts import Account
    from raftbook.core.book import Book


class Special:
    """What only some orders have: an iceberg's slice, a stop's trigger, an order that it ends with.

    Attributes:
        display_qty: largest slice of an iceberg in lots; 0 for any other order.
        shown_qty: what the market sees of a resting iceberg now.
        stop_price: ticks at which it fires; None once it has fired, and for orders that never wait.
        best_price: of a trailing stop: the last price most in its favour so far; while it waits,
            `Stops.catch_up` says it anew, and the stop price.
        arrival: counts the instrument's stops; who came first fires first.
        sibling: the other order of an OCO pair while both are open.
        holds_later: whether it is a stop that holds no money before it fires.
        pending: the orders that are released when this one is filled; some of them may be closed.
        is_hidden: whether it shows nothing while it rests.
        is_pegged: whether its price follows others.
        wanted: of a pegged order: the price it last moved for, None if it then had to wait.
    """

    __slots__ = (
        "arrival",
        "best_price",
        "display_qty",
        "holds_later",
        "is_hidden",
        "is_pegged",
        "pending",
        "shown_qty",
        "sibling",
        "stop_price",
        "wanted",
    )

    def __init__(self, display_qty: int) -> None:
        self.display_qty = display_qty
        self.shown_qty = 0
        self.stop_price: int | None = None
        self.best_price = 0
        self.arrival = 0
        self.sibling: Order | None = None
        self.pending: tuple[Order, ...] = ()
        self.holds_later = self.is_hidden = self.is_pegged = False
        self.wanted: int | None = None


class Order:
    """One live or recently closed order.

    `terms` is the immutable part (`events.OrderTerms` as a plain tuple). Quantities are lots; what
    was cancelled or prevented is order_qty - cum_qty - leaves_qty. leaves_qty 0 means closed.

    Attributes:
        level: where it rests, None while it does not.
        older, newer: its neighbours in that level's queue.
        special: None for all but a few orders.
        session_id: the session that entered it, 0 before engine version 2.
        entered_ns, closed_ns: logical time; closed_ns is 0 while it is open.
        held: money held for it, minor units: quote of a buy, base of a sell.
        fee_units: fees so far, in `instrument.FEE_UNIT`s of a minor unit of quote, not rounded.
    """

    level: Level | None
    older: Order | None
    newer: Order | None
    special: Special | None

    __slots__ = (
        "account",
        "book",
        "closed_ns",
        "cum_notional",
        "cum_qty",
        "entered_ns",
        "fee_units",
        "held",
        "leaves_qty",
        "level",
        "newer",
        "older",
        "session_id",
        "special",
        "terms",
    )

    def __init__(
        self,
        account: Account,
        book: Book,
        terms: tuple[Any, ...],
        leaves_qty: int,
        session_id: int,
        entered_ns: int,
    ) -> None:
        self.account = account
        self.book = book
        self.terms = terms
        self.leaves_qty = leaves_qty
        self.session_id = session_id
        self.entered_ns = entered_ns
        self.cum_qty = self.cum_notional = self.closed_ns = self.held = self.fee_units = 0
        self.level = self.older = self.newer = self.special = None

    def shown_qty(self) -> int:
        """What the market sees, or would see, of its open quantity."""
        return 0 if self.special is not None and self.special.is_hidden else self.offered_qty()

    def offered_qty(self) -> int:
        """What of it trades before it goes to the back of its queue, or is gone."""
        special = self.special
        if special is None or not special.display_qty:
            return self.leaves_qty
        return special.shown_qty


def is_unquoted(order: Order) -> bool:
    """Whether no pegged order follows it and no stop looks at its price."""
    special = order.special
    return special is not None and (special.is_hidden or special.is_pegged)


class Level:
    """All orders at one price: an intrusive queue, O(1) at both ends and in the middle. Those that
    show themselves stand before those that do not.

    `qty` is the sum of what the market sees, `count` the number of orders, `icebergs` of those that
    show a slice at a time, `hidden` of those that show nothing, of which `first_hidden` is the
    eldest, `linked` of those that were entered together with others, `unquoted` of those that are
    hidden or pegged: what no pegged order follows.
    """

    __slots__ = (
        "count",
        "eldest",
        "first_hidden",
        "hidden",
        "icebergs",
        "key",
        "linked",
        "newest",
        "price",
        "qty",
        "unquoted",
    )

    def __init__(self, key: int, price: int, order: Order) -> None:
        self.key = key
        self.price = price
        self.qty = order.leaves_qty
        self.count = 1
        self.icebergs = self.hidden = self.linked = self.unquoted = 0
        self.first_hidden: Order | None = None
        self.eldest: Order | None = order
        self.newest: Order | None = order

    def __iter__(self) -> Iterator[Order]:
        order = self.eldest
        while order is not None:
            yield order
            order = order.newer


class Ladder:
    """The levels of one side. `best` is the level that trades next, None on an empty side; `hidden`
    counts the orders that show nothing."""

    __slots__ = (
        "_is_quoted_known", "_keys", "_quoted", "_quoted_rank", "_unquoted",
        "best", "hidden", "levels", "sign",
    )  # fmt: skip

    def __init__(self, sign: int) -> None:
        self.sign = sign  # +1: bids, -1: asks
        self.levels: dict[int, Level] = {}  # by key
        self._keys = SortedKeys()
        self._unquoted = SortedKeys()  # those of levels whose orders all are: see `Level`
        # By `best_quoted`: what it found and where, as long as no level has come or gone.
        self._is_quoted_known = False
        self._quoted: Level | None = None
        self._quoted_rank = 0
        self.best: Level | None = None
        self.hidden = 0

    def __iter__(self) -> Iterator[Level]:
        """Levels from best to worst; lazy, so a short look costs little on a deep book."""
        levels = self.levels
        for key in reversed(self._keys):
            yield levels[key]

    def keys(self) -> Iterator[int]:
        """Keys from best to worst; lazy."""
        return reversed(self._keys)

    def ends(self) -> tuple[int, ...]:
        """The best and the worst price, nothing on an empty side."""
        keys = self._keys
        if self.best is None:
            return ()
        return self.best.price, self.sign * keys.from_best(len(keys) - 1)

    def below(self, key: int) -> Iterator[Level]:
        """Levels worse than `key`, best first; lazy, and void once the ladder changes."""
        levels = self.levels
        for worse in self._keys.below(key):
            yield levels[worse]

    def best_quoted(self) -> Level | None:
        """The best level at which not all orders are pegged or hidden. O(log² levels), O(log
        levels) while as many others are before it as when it was looked for last, and O(1) while
        no level has come or gone since.

        The others are some of all: counted from the best, they agree with all up to the first that
        is quoted, and nowhere after it.
        """
        best = self.best
        if best is None or best.unquoted < best.count:
            return best
        if self._is_quoted_known:
            return self._quoted
        rank, count = self._quoted_rank, len(self._unquoted)
        if not (rank <= count and self._differs(rank) and not (rank and self._differs(rank - 1))):
            self._quoted_rank = rank = bisect_left(range(count), True, key=self._differs)
        is_there = rank < len(self._keys)
        self._quoted = self.levels[self._keys.from_best(rank)] if is_there else None
        self._is_quoted_known = True
        return self._quoted

    def _differs(self, rank: int) -> bool:
        """Whether the levels before which there are so many are no more the unquoted ones."""
        unquoted = self._unquoted
        if rank >= len(unquoted):
            return True
        return self._keys.from_best(rank) != unquoted.from_best(rank)

    def append(self, order: Order, price: int) -> None:
        """Let `order` join the back of the queue at `price` (O(log levels) for a new price)."""
        key = price * self.sign
        levels = self.levels
        level = levels.get(key)
        if level is None:
            order.level = level = levels[key] = Level(key, price, order)
            self._keys.add(key)
            self._is_quoted_known = False
            if self.best is None or key > self.best.key:
                self.best = level
            if order.special is not None:
                self._count_special(level, order, order.special)
            return
        first_hidden = level.first_hidden
        if first_hidden is not None and not (order.special and order.special.is_hidden):
            insert(level, order, first_hidden)
        else:
            newest = level.newest
            assert newest is not None, f"level {price} stands empty"
            order.older, newest.newer, level.newest = newest, order, order
        self._join(level, order)

    def _join(self, level: Level, order: Order) -> None:
        """Count an order that was linked into a level in which others stand."""
        order.level = level
        if level.unquoted == level.count and not is_unquoted(order):
            self._unquoted.remove(level.key)
            self._is_quoted_known = False
        level.count += 1
        level.qty += order.leaves_qty
        if order.special is not None:
            self._count_special(level, order, order.special)

    def _count_special(self, level: Level, order: Order, special: Special) -> None:
        """Count an order that joined a level, and take back what the market does not see."""
        if is_unquoted(order):
            level.unquoted += 1
            if level.count == 1:
                self._unquoted.add(level.key)
                self._is_quoted_known = False
        level.linked += is_linked(order.terms)
        if special.display_qty:
            level.icebergs += 1
            level.qty -= order.leaves_qty - special.shown_qty
        elif special.is_hidden:
            level.hidden += 1
            self.hidden += 1
            level.qty -= order.leaves_qty
            if level.first_hidden is order.newer:
                level.first_hidden = order

    def put_back(self, order: Order, price: int, *, before: Order | None) -> None:
        """Let `order` stand before another one of its price again, or at the back."""
        if before is None:
            self.append(order, price)
            return
        level = before.level
        assert level is not None, f"order {before.terms[0]} does not rest at {price}"
        insert(level, order, before)
        self._join(level, order)

    def remove(self, order: Order) -> None:
        """Take `order` out of its queue, wherever it stands, with what is left of it."""
        level = order.level
        assert level is not None, f"order {order.terms[0]} does not rest"
        order.level = None
        if level.count == 1:
            del self.levels[level.key]
            self._is_quoted_known = False
            if level.unquoted:
                self.hidden -= level.hidden
                self._unquoted.remove(level.key)
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
        special = order.special
        if special is None:
            level.qty -= order.leaves_qty
        else:
            level.qty -= order.shown_qty()
            level.icebergs -= bool(special.display_qty)
            level.linked -= is_linked(order.terms)
            level.unquoted -= is_unquoted(order)
            if special.is_hidden:
                level.hidden -= 1
                self.hidden -= 1
                if level.first_hidden is order:
                    level.first_hidden = newer
        if level.unquoted == level.count and not is_unquoted(order):
            self._unquoted.add(level.key)
            self._is_quoted_known = False

    def check(self) -> None:
        """Assert that levels, keys and best agree."""
        self._keys.check()
        keys = list(reversed(self._keys))
        assert sorted(self.levels, reverse=True) == keys, f"{keys} are not the levels' keys"
        best = self.levels[keys[0]] if keys else None
        assert self.best is best, "best is not the best level"
        self._unquoted.check()
        unquoted = [key for key in keys if self.levels[key].unquoted == self.levels[key].count]
        assert unquoted == list(reversed(self._unquoted)), f"{unquoted} quote nothing"
        for key, level in self.levels.items():
            assert key == level.key == level.price * self.sign, f"level {level.price} under {key}"

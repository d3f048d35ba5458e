"""Orders that show nothing: where they stand in a level, and what is left for others to see.

Owns the rule that at one price they come after all that show themselves. They stand in the same
queue as the others, at its end: so who trades next is asked as if there were none.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from raftbook.core.ladder import Ladder, Level, Order


def insert(level: Level, order: Order, before: Order) -> None:
    """Link an order into a level's queue before another one."""
    older = before.older
    order.older, order.newer, before.older = older, before, order
    if older is None:
        level.eldest = order
    else:
        older.newer = order


def shown_levels(ladder: Ladder) -> Iterator[Level]:
    """The levels that the market sees, from best to worst; lazy."""
    for level in ladder:
        if level.hidden < level.count:
            yield level


def shown_orders(level: Level) -> Iterator[Order]:
    """The orders of a level that the market sees, the eldest first."""
    order = level.eldest
    while order is not level.first_hidden and order is not None:
        yield order
        order = order.newer


def shown_count(level: Level) -> int:
    """How many orders the market sees at a level."""
    return level.count - level.hidden


def best_shown(ladder: Ladder) -> Level | None:
    """The best level that the market sees. O(1) but for better levels that are hidden whole."""
    best = ladder.best
    if best is None or best.hidden < best.count:
        return best
    return next(shown_levels(ladder), None)

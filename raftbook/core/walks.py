"""Looks ahead along a side of a book: what a sweep would get, without taking anything.

Owns the dry runs; each walks exactly as `Book._match` does: best level first, hidden quantity
included, the taker's self-trade mode asked at each order. Changes nothing but the room that is left
for others.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Final

from raftbook.core.accounts import Account
from raftbook.core.conditions import is_hidden, is_linked
from raftbook.core.ladder import Ladder, Level, Order
from raftbook.core.room import Room
from raftbook.core.types import SelfTradePrevention

_NONE: Final = int(SelfTradePrevention.NONE)
_CANCEL_OLDEST: Final = int(SelfTradePrevention.CANCEL_OLDEST)
_DECREMENT: Final = int(SelfTradePrevention.DECREMENT)

TOO_MANY_FILLS: Final = -1


def available(
    account: Account,
    mode: int,
    makers: Ladder,
    *,
    bound: int,
    wanted: int,
    fills_max: int,
    room: Room,
) -> int:
    """How much of `wanted` a sweep would trade, at most that; own orders as FOK sees them.

    Returns:
        Lots, or TOO_MANY_FILLS when the levels it would touch hold more slices than one sweep may
        take. O(levels), where no level hides anything and the mode is NONE.
    """
    found = slices = 0
    for level in makers:
        if level.key < bound:
            break
        room.dry_looks -= 1
        slices += _slices(level, fills_max, room)
        if slices > fills_max:
            return TOO_MANY_FILLS
        enough = wanted - found
        lots, is_end = _open_at(level, account, mode, enough, _counted(level, room), room)
        found += lots
        if found >= wanted:
            return wanted
        if is_end:
            break
    return found


def affordable(
    account: Account,
    mode: int,
    makers: Ladder,
    *,
    bound: int,
    budget: int,
    qty_max: int,
    orders_max: int,
    room: Room,
) -> int:
    """How many lots `budget` tick-lots buy (or are had for), level by level, of the orders that a
    sweep meets which may meet `orders_max`; 0 if not one."""
    lots, rest, left = 0, budget, orders_max
    for level in makers:
        if level.key < bound or level.price < 1 or left <= 0:
            break
        room.dry_looks -= 1
        wanted = min(rest // level.price, qty_max - lots)
        found, is_end = _open_at(level, account, mode, wanted + 1, left, room)
        taken = min(found, wanted)
        lots += taken
        rest -= taken * level.price
        left -= _counted(level, room)
        if taken < found or is_end:
            break
    return lots


def cost(
    account: Account,
    mode: int,
    makers: Ladder,
    *,
    bound: int,
    qty: int,
    orders_max: int,
    room: Room,
) -> int:
    """What a sweep of `qty` lots, which meets at most so many orders, would pay, tick-lots."""
    notional, left = 0, orders_max
    for level in makers:
        if level.key < bound or qty <= 0 or left <= 0:
            break
        room.dry_looks -= 1
        if mode == _DECREMENT:
            paid, qty = _paid_at(level, account, qty, left, room)
            is_end = False
        else:
            found, is_end = _open_at(level, account, mode, qty, left, room)
            paid = min(found, qty)
            qty -= paid
        notional += paid * level.price
        left -= _counted(level, room)
        if is_end:
            break
    return notional


def _paid_at(
    level: Level, account: Account, qty: int, orders_max: int, room: Room
) -> tuple[int, int]:
    """(lots that a taker of `qty` under DECREMENT pays for at one level, lots it has left then).

    What icebergs will show later comes behind all that is displayed there.
    """
    paid = later = 0
    for maker in _met(level, orders_max, room):
        room.dry_looks -= 1
        if maker is level.first_hidden:
            taken = min(later, qty)
            paid += taken
            qty -= taken
            later = 0
        if maker.account.group is account.group:
            qty -= min(maker.leaves_qty, qty)
        else:
            offered = maker.offered_qty()
            later += maker.leaves_qty - offered
            taken = min(offered, qty)
            paid += taken
            qty -= taken
        if qty <= 0:
            break
    taken = min(later, qty)
    return paid + taken, qty - taken


def _open_at(
    level: Level, account: Account, mode: int, enough: int, orders_max: int, room: Room
) -> tuple[int, bool]:
    """What a taker that may meet so many could get of a level, exact up to `enough`, and whether it
    ends there.

    Where it ends at an own order it gets of each iceberg before that only the slice that shows: the
    next one stands behind, unless the own order is hidden.
    """
    is_plain = not level.icebergs and not level.hidden
    if mode == _NONE and is_plain and _counted(level, room) <= orders_max:
        return level.qty, False
    found = offered = 0
    for maker in _met(level, orders_max, room):
        room.dry_looks -= 1
        if mode != _NONE and maker.account.group is account.group:
            if mode != _CANCEL_OLDEST:
                return found if is_hidden(maker.terms) else offered, True
            continue
        found += maker.leaves_qty
        offered += maker.offered_qty()
        if offered >= enough:
            break
    return found, False


def _counted(level: Level, room: Room) -> int:
    """How many orders those of a level count where each of them is met."""
    return level.count + level.linked * room.linked


def _met(level: Level, orders_max: int, room: Room) -> Iterator[Order]:
    """The orders of a level that a sweep meets which may meet so many."""
    if not level.linked or not room.linked:
        return islice(level, max(0, orders_max))
    return _met_among_linked(level, orders_max)


def _met_among_linked(level: Level, orders_max: int) -> Iterator[Order]:
    for order in level:
        if orders_max <= 0:
            return
        yield order
        orders_max -= 1 + is_linked(order.terms)


def _slices(level: Level, enough: int, room: Room) -> int:
    """How many orders a sweep meets that empties a level, exact up to `enough`."""
    if not level.icebergs:
        return _counted(level, room)
    count = 0
    for order in level:
        room.dry_looks -= 1
        count += slices_of(order) * (1 + room.linked * is_linked(order.terms))
        if count > enough:
            break
    return count


def slices_of(order: Order) -> int:
    """In how many pieces a resting order trades at most: one, and each refill."""
    special = order.special
    if special is None or not special.display_qty:
        return 1
    hidden = order.leaves_qty - special.shown_qty
    return 1 - (-hidden // special.display_qty)

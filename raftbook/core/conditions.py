"""The conditions of an order that is more than a side, a quantity and a price.

Owns their shape and which of them go together. Most orders have none: their terms then end at the
price, and nothing here is looked at.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from raftbook.core.types import (
    OrderType,
    PegReference,
    PostOnly,
    SelfTradePrevention,
    Side,
    TimeInForce,
    TriggerBy,
)


class OrderConditions(NamedTuple):
    """What stands behind the price in the terms of an order that has conditions.

    Attributes:
        stop_price: ticks; None for an order that does not wait for a price, or that trails.
        trail_unit: a `types.TrailUnit`.
        trail_offset: distance of a trailing stop from the best price since, ticks or bps.
        display_qty: lots that the market sees of an iceberg; 0 is all of it.
        min_qty: lots that must trade at entry, else nothing does; 0 is none.
        expire_time_ns: GTD ends when logical time reaches it; 0 for every other time in force.
        quote_qty: what a market order may spend (buy) or wants (sell), in tick-lots; 0 for
            an order that names its quantity.
        oco_order_id: the order that ends when this one trades, fires or is cancelled; 0 is none.
        trigger_by: a `types.TriggerBy`. Terms have this and the next only where one of what follows
            says something, and the last two only where one of them does.
        hidden: 1 for an order that rests and shows nothing.
        oto_order_id: of a working order: the first one that is released when it is filled, which
            has a higher id; of such a pending order: the working one; 0 for every other.
        updates_other: 1 in a pair whose limit order shrinks the stop by what it trades.
    """

    stop_price: int | None = None
    trail_unit: int = 0
    trail_offset: int = 0
    display_qty: int = 0
    min_qty: int = 0
    expire_time_ns: int = 0
    quote_qty: int = 0
    oco_order_id: int = 0
    trigger_by: int = 0
    hidden: int = 0
    oto_order_id: int = 0
    updates_other: int = 0


class PegTerms(NamedTuple):
    """What stands behind the conditions in the terms of a pegged order, whose price is where it
    stands now.

    Attributes:
        reference: a `types.PegReference`.
        offset: ticks that are added to it, for buys and sells alike.
        limit_price: the highest price of a buy, the lowest of a sell; None for no limit.
    """

    reference: int
    offset: int
    limit_price: int | None


USUAL: Final = 8
"""Fields of `OrderConditions` that all terms with conditions have."""
LINKS: Final = 10
"""Where those begin that say what an order is to others which are entered with it."""
_OCO: Final = 7
NO_CONDITIONS: Final = tuple(OrderConditions())[:USUAL]

_MARKET: Final = int(OrderType.MARKET)
_LIMIT: Final = int(OrderType.LIMIT)
_TO_LIMIT: Final = int(OrderType.MARKET_TO_LIMIT)
_PEGGED: Final = int(OrderType.PEGGED)
_GTD: Final = int(TimeInForce.GTD)
_IOC: Final = int(TimeInForce.IOC)
_LAST: Final = int(TriggerBy.LAST)
_TRIGGERS: Final = frozenset(map(int, TriggerBy))
TRIGGERED_TYPES: Final = frozenset(
    map(
        int,
        (
            OrderType.STOP,
            OrderType.STOP_LIMIT,
            OrderType.IF_TOUCHED,
            OrderType.LIMIT_IF_TOUCHED,
        ),
    )
)
MARKET_TYPES: Final = frozenset(
    map(int, (OrderType.MARKET, OrderType.STOP, OrderType.IF_TOUCHED, OrderType.MARKET_TO_LIMIT))
)
"""Types that are entered without a limit price."""
TRAILING_TYPES: Final = frozenset(map(int, (OrderType.STOP, OrderType.STOP_LIMIT)))
RESTING_TIMES: Final = frozenset(map(int, (TimeInForce.DAY, TimeInForce.GTC, TimeInForce.GTD)))
"""What may stay in the book in continuous trading."""
STAYING_TIMES: Final = RESTING_TIMES | {int(TimeInForce.AT_AUCTION)}
"""What stays when it is entered: AT_AUCTION is let in during a call only."""


def _combinations() -> dict[tuple[int, ...], tuple[int, ...]]:
    """Every allowed (side, ord_type, time_in_force, post_only, self-trade mode) of PLACE_ORDER."""
    times_of: dict[int, tuple[int, ...]] = {
        _MARKET: (_IOC, int(TimeInForce.FOK), int(TimeInForce.AT_AUCTION)),
        _LIMIT: (
            *sorted(RESTING_TIMES),
            _IOC,
            int(TimeInForce.FOK),
            int(TimeInForce.AT_AUCTION),
        ),
    }
    for ord_type in (*TRIGGERED_TYPES, _TO_LIMIT):
        times_of[ord_type] = tuple(sorted(RESTING_TIMES))
    allowed: dict[tuple[int, ...], tuple[int, ...]] = {}
    for side in Side:
        for ord_type, times in times_of.items():
            for time_in_force in times:
                may_post = ord_type == _LIMIT and time_in_force in RESTING_TIMES
                for post_only in PostOnly if may_post else (PostOnly.NO,):
                    for mode in SelfTradePrevention:
                        key = (int(side), ord_type, time_in_force, int(post_only), int(mode))
                        allowed[key] = key
    return allowed


PLACEABLE: Final = _combinations()
"""As `validate.COMBINATIONS`: the value equals its key and is what the engine goes on with."""


def _peggable() -> dict[tuple[int, ...], tuple[int, ...]]:
    """The same of PLACE_PEG. What never takes needs neither post-only nor a self-trade mode."""
    keys = [
        (int(side), _PEGGED, time_in_force, int(PostOnly.NO), int(SelfTradePrevention.NONE))
        for side in Side
        for time_in_force in sorted(RESTING_TIMES)
    ]
    return {key: key for key in keys}


PEGGABLE: Final = _peggable()
REFERENCES: Final = frozenset(map(int, PegReference))


def as_terms(conditions: OrderConditions) -> tuple[Any, ...]:
    """Conditions as they stand in terms: what is unusual stands there only if it says something."""
    if conditions.oto_order_id or conditions.updates_other:
        return tuple(conditions)
    return tuple(conditions[:LINKS] if any(conditions[USUAL:]) else conditions[:USUAL])


def trigger_by(terms: tuple[Any, ...]) -> int:
    """The price that a stop looks at."""
    by: int = terms[7][USUAL] if len(terms[7]) > USUAL else _LAST
    return by


def is_hidden(terms: tuple[Any, ...]) -> bool:
    """Whether an order shows nothing while it rests."""
    return len(terms) > 7 and len(terms[7]) > USUAL and terms[7][USUAL + 1] > 0


def working_order_id(terms: tuple[Any, ...]) -> int:
    """The order that an order is or was pending on; 0 for every order that never was."""
    other: int = terms[7][LINKS] if len(terms) > 7 and len(terms[7]) > LINKS else 0
    return other if other < terms[0] else 0


def updates_other(terms: tuple[Any, ...]) -> bool:
    """Whether an order is of a pair whose limit order shrinks the stop."""
    return len(terms) > 7 and len(terms[7]) > LINKS and terms[7][LINKS + 1] > 0


def is_linked(terms: tuple[Any, ...]) -> bool:
    """Whether an order was entered together with others, which may be over by now: it is of a pair,
    a working order, or one that was pending."""
    if len(terms) < 8:
        return False
    conditions = terms[7]
    return conditions[_OCO] > 0 or (len(conditions) > LINKS and conditions[LINKS] > 0)


def limit_of(terms: tuple[Any, ...]) -> int | None:
    """The worst price at which an order may trade, None without one: its price, or that limit of a
    pegged order which it never leaves."""
    limit: int | None = terms[6] if len(terms) < 9 else terms[8][2]
    return limit


def go_together(kind: tuple[int, ...], price: Any, conditions: OrderConditions) -> bool:
    """Whether price and conditions fit the kind of order, whatever their numbers are."""
    ord_type, time_in_force = kind[1], kind[2]
    if ord_type == _PEGGED:
        return bool(conditions.expire_time_ns) == (time_in_force == _GTD)
    if (price is None) != (ord_type in MARKET_TYPES):
        return False
    trails = bool(conditions.trail_unit or conditions.trail_offset)
    if trails and ord_type not in TRAILING_TYPES:
        return False
    waits = conditions.stop_price is not None
    if ord_type in TRIGGERED_TYPES:
        if waits == trails:
            return False
    elif waits:
        return False
    if conditions.trigger_by != _LAST and not (waits and conditions.trigger_by in _TRIGGERS):
        return False
    rests = ord_type == _LIMIT and time_in_force in RESTING_TIMES
    if conditions.display_qty and not rests:
        return False
    if conditions.hidden and (conditions.display_qty or not rests):
        return False
    if conditions.min_qty and not (
        ord_type == _LIMIT and not kind[3] and (rests or time_in_force == _IOC)
    ):
        return False
    if bool(conditions.expire_time_ns) != (time_in_force == _GTD):
        return False
    return not conditions.quote_qty or (ord_type == _MARKET and time_in_force == _IOC)

"""Whom an event of the log is told to at this door, and what it is about.

Owns which events concern an account's stream. How they are told is `user_events.py`'s.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from raftbook.core import events as e
from raftbook.core.commands import CANCEL_REPLACE
from raftbook.core.events import Event
from raftbook.web.binance.markets import Market

_TRADES: Final = frozenset((e.TRADE, e.AUCTION_TRADE))
_OF_AN_ORDER: Final = frozenset(
    (e.ACCEPTED, e.TRIGGERED, e.REPLACED, e.RESTATED, e.CANCELED, e.EXPIRED)
)


def accounts_of(events: list[Event], at: int) -> tuple[str, ...]:
    """Whom an event is told to; most events are asked."""
    event = events[at]
    kind = event[0]
    if kind in _OF_AN_ORDER:
        return (event[2][1],)
    if kind in _TRADES:
        maker, taker = event[5][1], event[9][1]
        return (maker,) if maker == taker else (maker, taker)
    if kind == e.BALANCE_CHANGED:
        return (event[2],)
    if kind == e.TRADE_BUSTED:
        return tuple({event[6][1]: None, event[7][1]: None})
    if kind == e.REJECTED and at and _is_half_done(event, events[at - 1]):
        return (events[at - 1][2][1],)
    return ()


def _is_half_done(event: Event, before: Event) -> bool:
    """Whether the cancel of a cancel-replace took effect and its new order was refused."""
    return before[0] == e.CANCELED and type(event[3]) is tuple and event[3][:1] == (CANCEL_REPLACE,)


def own_terms(event: Event, account: str) -> Iterator[tuple[Any, ...]]:
    """The account's orders in an event."""
    if event[0] in _OF_AN_ORDER:
        yield event[2]
    elif event[0] in _TRADES:
        for side in (5, 9):
            if event[side][1] == account:
                yield event[side]


def currencies_of(event: Event, market: Market | None) -> tuple[str, ...]:
    """Whose balances an event may have changed."""
    if event[0] == e.BALANCE_CHANGED:
        return () if event[7] else (event[3],)
    if market is None or not market.terms.settlement or event[0] == e.REJECTED:
        return ()
    return (market.terms.base, market.terms.quote)


def symbol_of(event: Event) -> str:
    """The instrument of an event that is told to an account; "" of money."""
    if event[0] == e.BALANCE_CHANGED:
        return ""
    if event[0] in _TRADES:
        return str(event[5][3])
    if event[0] == e.TRADE_BUSTED:
        return str(event[2])
    if event[0] == e.REJECTED:
        return str(event[3][4])
    return str(event[2][3])

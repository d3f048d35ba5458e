"""What one account may see of events: its own side.

Owns the rule that the market is anonymous: of a counterparty a client learns the order_id (of one
that is hidden not even that), never the account or the client_order_id, nor what the other side
paid. What happened to orders of others, such as stops that fired on one's trade, is left out: the
feed tells what the market may know of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from raftbook.core import events as e
from raftbook.core.conditions import OrderConditions, is_hidden
from raftbook.core.events import Event

_TRADES: Final = frozenset((e.TRADE, e.AUCTION_TRADE))
_OF_AN_ORDER: Final = frozenset(
    (
        e.ACCEPTED,
        e.RESTED,
        e.CANCELED,
        e.EXPIRED,
        e.REPLACED,
        e.RESTATED,
        e.TRIGGERED,
        e.REFILLED,
        e.REPRICED,
    )
)
"""Events whose first field is the terms of the one order that they are about."""
_OF_AN_ACCOUNT: Final = frozenset(
    (e.ACCOUNT_CHANGED, e.BALANCE_CHANGED, e.MASS_CANCELED, e.KILL_SWITCH_SET)
)
"""Events whose first field is the name of an account."""
_MAKER: Final = 5
_TAKER: Final = 9
_EXTRAS: Final = 13
"""Places in a trade: maker terms, taker terms, and what stands behind the fields of all trades:
maker fee, taker fee, maker shown_qty, taker shown_qty."""
_BUST_MAKER: Final = 6
_DISPLAY_QTY: Final = OrderConditions._fields.index("display_qty")


def private_view(events: list[Event], account_name: str) -> list[Event]:
    """A reply as its client sees it: its own orders, what the market sees, what it was answered.

    Returns:
        The same list if nothing has to be taken out: most replies, so this looks at kinds alone.
    """
    for event in events:
        kind = event[0]
        if kind in _OF_AN_ORDER:
            if event[2][1] != account_name:
                break
        elif kind in _TRADES:
            if not event[_MAKER][1] == event[_TAKER][1] == account_name:
                break
        elif kind == e.TRADE_BUSTED:
            break
    else:
        return events
    return [_anonymous(event, account_name) for event in events if _is_shown(event, account_name)]


def report_view(event: Event, account_name: str) -> Event | None:
    """An event as it stands in the reports of an account; None when it is none of its own."""
    return _anonymous(event, account_name) if concerns(event, account_name) else None


def concerns(event: Event, account_name: str) -> bool:
    """Whether an event is about an account: its orders, its trades, its money, its limits."""
    kind = event[0]
    if kind in _OF_AN_ORDER:
        return bool(event[2][1] == account_name)
    if kind in _TRADES:
        return account_name in (event[_MAKER][1], event[_TAKER][1])
    if kind == e.TRADE_BUSTED:
        return account_name in (event[_BUST_MAKER][1], event[_BUST_MAKER + 1][1])
    if kind == e.KILL_SWITCH_SET and not event[2]:
        return True  # the venue's own
    return kind in _OF_AN_ACCOUNT and event[2] == account_name


def is_head_of(event: Event, account_name: str) -> bool:
    """Whether only a request of this account can have brought this event."""
    kind = event[0]
    if kind in (e.ACCEPTED, e.REPLACED) or (kind == e.CANCELED and not event[6]):
        return bool(event[2][1] == account_name)
    return False


def _is_shown(event: Event, account_name: str) -> bool:
    """Whether a client sees an event in a reply: all but what is about orders of others."""
    if event[0] in _OF_AN_ORDER or event[0] in _TRADES:
        return concerns(event, account_name)
    return True


def _anonymous(event: Event, account_name: str) -> Event:
    veil = _VEILS.get(event[0])
    return event if veil is None else veil(event, account_name)


def _trade(event: Event, account_name: str) -> Event:
    """A trade without what only the other side may know.

    Of an iceberg that is another's, what is left is what the market sees of it; how far a hidden
    order is, nobody else is told.
    """
    kind, seq, trade_id, price, qty, *sides = event[:_EXTRAS]
    maker, *maker_progress = sides[:4]
    taker, *taker_progress = sides[4:]
    extras = event[_EXTRAS:]
    maker_fee, taker_fee, maker_shown, taker_shown = extras or (None,) * 4
    if maker[1] != account_name:
        maker_progress = _progress(maker, maker_progress, maker_shown)
        maker, maker_fee, maker_shown = _terms(maker, account_name), None, None
    if taker[1] != account_name:
        taker_progress = _progress(taker, taker_progress, taker_shown)
        taker, taker_fee, taker_shown = _terms(taker, account_name), None, None
    told = (kind, seq, trade_id, price, qty, maker, *maker_progress, taker, *taker_progress)
    return (*told, maker_fee, taker_fee, maker_shown, taker_shown) if extras else told


def _progress(terms: tuple[Any, ...], progress: list[int], shown_qty: int | None) -> list[int]:
    """What has traded and is left of another's order, as far as the market sees it."""
    if is_hidden(terms):
        return [0, 0, 0]
    cum_qty, leaves_qty, cum_notional = progress
    if len(terms) > 7 and terms[7][_DISPLAY_QTY]:
        leaves_qty = shown_qty or 0
    return [cum_qty, leaves_qty, cum_notional]


def _bust(event: Event, account_name: str) -> Event:
    return (*event[:_BUST_MAKER], *(_terms(each, account_name) for each in event[_BUST_MAKER:]))


def _terms(terms: tuple[Any, ...], account_name: str) -> tuple[Any, ...]:
    """The terms of an order as another account sees them: who, and under which conditions, is out;
    of one with conditions also its size, some of which may not show, and of a hidden one its id and
    its price."""
    if terms[1] == account_name:
        return terms
    if is_hidden(terms):
        return (0, "", "", terms[3], terms[4], 0, None)
    if len(terms) == 7:
        return (terms[0], "", "", *terms[3:])
    return (terms[0], "", "", terms[3], terms[4], 0, terms[6])


_VEILS: Final[dict[int, Callable[[Event, str], Event]]] = {
    e.TRADE: _trade,
    e.AUCTION_TRADE: _trade,
    e.TRADE_BUSTED: _bust,
}

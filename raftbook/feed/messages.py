"""The public order-by-order feed (L3), derived from events, equal on every node.

Owns what the market sees of an event, without names of accounts and without what icebergs hide. A
message is

    (feed_seq, entry_index, time_ns, kind, ...)

    add      order_id, side, price, qty          joined the back of its level
    trade    maker_order_id, price, qty, trade_id, taker_side, maker_leaves_qty
             (0, ..., 0 of a hidden maker: nothing that was seen left the book)
    reduce   order_id, side, price, leaves_qty   keeps its place with less
    delete   order_id, side, price, qty          left the book
    phase    phase
    created
    cross    price, qty, trade_id, buy_order_id, buy_price, buy_leaves_qty, sell_order_id,
             sell_price, sell_leaves_qty         two orders of a call traded in its auction
    uncross  price or None, volume, imbalance    the auction is over
    bust     trade_id, price, qty                a trade was undone, the book stays
    amended  the instrument's new terms          `InstrumentTerms` as one tuple
    deleted                                      the last message of this instrument

Quantities are what the market sees. An iceberg's leaves_qty is that of its slice: with 0 it left
the book, and if it has more it is added again, at the back. Of a hidden order only its trades are
told, and its id never. `cross` names the prices that the two
orders stand at and what they show from then on, which may be more than before; both are None for an
order without a price, which never stood in the book, and of a hidden one, whose id is 0.

feed_seq is dense per instrument. A symbol that was deleted may be created anew: then feed_seq
begins again at 1, and only the entry_index tells the two apart. Prices are ticks, quantities lots,
time is logical.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from raftbook.core.conditions import is_hidden
from raftbook.core.events import (
    ACCEPTED,
    AUCTION_TRADE,
    CANCELED,
    EXPIRED,
    INSTRUMENT_AMENDED,
    INSTRUMENT_CREATED,
    INSTRUMENT_DELETED,
    PHASE_CHANGED,
    REFILLED,
    REPLACED,
    REPRICED,
    RESTATED,
    RESTED,
    TRADE,
    TRADE_BUSTED,
    UNCROSSED,
    Event,
)

FeedMessage = tuple[Any, ...]

_DISPLAY_QTY: Final = 3
"""Its place in an order's conditions."""


def public_view(event: Event) -> tuple[Any, ...]:
    """(kind, ...) of an event with feed_seq > 0."""
    view = _VIEWS.get(event[0])
    assert view is not None, f"event kind {event[0]} is not public"
    return view(event)


def display_qty(terms: tuple[Any, ...]) -> int:
    """The largest slice of an iceberg, lots; 0 for any other order."""
    if len(terms) < 8 or terms[7] is None:
        return 0
    qty: int = terms[7][_DISPLAY_QTY]
    return qty


def public_id(terms: tuple[Any, ...]) -> int:
    """The id of an order where others read it; 0 for one that shows nothing."""
    return 0 if is_hidden(terms) else int(terms[0])


def shown_of_maker(trade: Event) -> int:
    """What the maker of a TRADE shows after it."""
    if is_hidden(trade[5]):
        return 0
    qty: int = trade[15] if len(trade) > 13 else trade[7]
    return qty


def shown_at_auction(trade: Event) -> tuple[int | None, int | None]:
    """What buy and sell order of an AUCTION_TRADE show after it; None if one was never seen."""
    if len(trade) > 13:
        return trade[15], trade[16]
    return (
        None if trade[5][6] is None or is_hidden(trade[5]) else trade[7],
        None if trade[9][6] is None or is_hidden(trade[9]) else trade[11],
    )


def shown_in_delete(event: Event) -> int:
    """What left the book with a CANCELED or EXPIRED order."""
    qty: int = event[7] if len(event) > 7 else event[4]
    return qty


def _trade(event: Event) -> tuple[Any, ...]:
    maker, taker = event[5], event[9]
    shown = shown_of_maker(event)
    return ("trade", public_id(maker), event[3], event[4], event[2], taker[4][0], shown)


def _cross(event: Event) -> tuple[Any, ...]:
    buy, sell = event[5], event[9]
    buy_shown, sell_shown = shown_at_auction(event)
    return (
        *("cross", event[3], event[4], event[2]),
        *(public_id(buy), None if buy_shown is None else buy[6], buy_shown),
        *(public_id(sell), None if sell_shown is None else sell[6], sell_shown),
    )


def _accepted(event: Event) -> tuple[Any, ...]:
    return _of_order("add", event[2], display_qty(event[2]) or event[2][5])


def _rested(event: Event) -> tuple[Any, ...]:
    return _of_order("add", event[2], event[4] if len(event) > 4 else event[3])


def _refilled(event: Event) -> tuple[Any, ...]:
    return _of_order("add", event[2], event[3])


def _ended(event: Event) -> tuple[Any, ...]:
    return _of_order("delete", event[2], shown_in_delete(event))


def _restated(event: Event) -> tuple[Any, ...]:
    return _of_order("reduce", event[2], event[7] if len(event) > 7 else event[4])


def _replaced(event: Event) -> tuple[Any, ...]:
    is_iceberg = len(event) > 8
    if event[7]:
        return _of_order("reduce", event[2], event[8] if is_iceberg else event[5])
    return _of_order("delete", event[3], event[9] if is_iceberg else event[6])


def _repriced(event: Event) -> tuple[Any, ...]:
    """A pegged order left the place at which it stood; its terms have no price now."""
    return ("delete", event[2][0], event[2][4][0], event[3], event[4])


def _of_order(kind: str, terms: tuple[Any, ...], qty: int) -> tuple[Any, ...]:
    return (kind, terms[0], terms[4][0], terms[6], qty)


_VIEWS: Final[dict[int, Callable[[Event], tuple[Any, ...]]]] = {
    TRADE: _trade,
    AUCTION_TRADE: _cross,
    ACCEPTED: _accepted,
    RESTED: _rested,
    REFILLED: _refilled,
    CANCELED: _ended,
    EXPIRED: _ended,
    RESTATED: _restated,
    REPLACED: _replaced,
    REPRICED: _repriced,
    PHASE_CHANGED: lambda event: ("phase", event[3]),
    UNCROSSED: lambda event: ("uncross", *event[3:6]),
    TRADE_BUSTED: lambda event: ("bust", *event[3:6]),
    INSTRUMENT_CREATED: lambda event: ("created",),
    INSTRUMENT_AMENDED: lambda event: ("amended", event[2]),
    INSTRUMENT_DELETED: lambda event: ("deleted",),
}

_IN_TRADE, _IN_PLACE, _IN_TERMS = 1, 2, 3
_SYMBOL_IS: Final = {
    TRADE: _IN_TRADE,
    AUCTION_TRADE: _IN_TRADE,
    PHASE_CHANGED: _IN_PLACE,
    UNCROSSED: _IN_PLACE,
    TRADE_BUSTED: _IN_PLACE,
    INSTRUMENT_DELETED: _IN_PLACE,
    INSTRUMENT_CREATED: _IN_TERMS,
    INSTRUMENT_AMENDED: _IN_TERMS,
}
"""Where the symbol stands in an event that does not begin with the terms of an order."""


def symbol_of(event: Event) -> str:
    """The instrument of an event with feed_seq > 0; asked of every event on every node."""
    where = _SYMBOL_IS.get(event[0])
    if where is None:
        symbol: str = event[2][3]
    elif where == _IN_TRADE:
        symbol = event[5][3]
    elif where == _IN_PLACE:
        symbol = event[2]
    else:
        symbol = event[2][0]
    return symbol

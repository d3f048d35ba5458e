"""What the exchange says happened, as plain tuples; every reader of the market starts here.

Owns the shapes of events and replies. An event is a value: it holds no live object, so it may be
kept, sent and replayed. It starts with `(kind, feed_seq, ...)`; feed_seq is 0 for what the market
does not see, else the instrument's dense count of public events.

`terms` of an order is a tuple shared by all its events (see `OrderTerms`).

    kind             after (kind, feed_seq)                                       public
    ACCEPTED         terms                                  if it joined the book at once
    RESTED           terms, leaves_qty                                            yes
    TRADE            trade_id, price, qty, maker terms, maker cum_qty,
                     maker leaves_qty, maker cum_notional, taker terms,
                     taker cum_qty, taker leaves_qty, taker cum_notional          yes
    CANCELED         terms, cum_qty, canceled_qty, was_resting, reason            if was_resting
    EXPIRED          terms, cum_qty, canceled_qty, was_resting, reason            if was_resting
    REPLACED         terms, old terms, cum_qty, leaves_qty, old leaves_qty,
                     kept_priority                                                yes
    RESTATED         terms, cum_qty, leaves_qty, prevented_qty, was_resting       if was_resting
    REJECTED         reason, command                                              no
    CANCEL_REJECTED  reason, command                                              no
    SESSION_OPENED   session_id, account, highest request_seq seen                no
    SESSION_CLOSED   session_id                                                   no
    INSTRUMENT_CREATED  InstrumentTerms fields as one tuple                       yes
    PHASE_CHANGED    symbol, phase                                                yes
    ENGINE_VERSION_SET  engine version now in force                               no

canceled_qty and prevented_qty are what this event took away; over all events of an order
order_qty == cum_qty + leaves_qty + their sum (an amend starts the sum anew at its total).

An order joins the book by an ACCEPTED with feed_seq > 0 (whole, at once) or by a RESTED (what
trading or an amend left of it). REPLACED with kept_priority reduces in place; without it the order
has left its old place, and trades and a RESTED may follow.
"""

from typing import Any, Final, NamedTuple

Event = tuple[Any, ...]

# Kinds: append-only, they stand in snapshots and on the wire.
ACCEPTED: Final = 1
RESTED: Final = 2
TRADE: Final = 3
CANCELED: Final = 4
EXPIRED: Final = 5
REPLACED: Final = 6
RESTATED: Final = 7
REJECTED: Final = 8
CANCEL_REJECTED: Final = 9
SESSION_OPENED: Final = 10
SESSION_CLOSED: Final = 11
INSTRUMENT_CREATED: Final = 12
PHASE_CHANGED: Final = 13
ENGINE_VERSION_SET: Final = 14


class OrderKind(NamedTuple):
    """What sort of order it is, in the numbers of `types.py`; one shared tuple per sort."""

    side: int
    ord_type: int
    time_in_force: int
    post_only: int
    self_trade_prevention: int


class OrderTerms(NamedTuple):
    """The unchanging part of an order, carried by each of its events; an amend makes a new one.

    In events these are plain tuples of the same shape; `OrderTerms(*terms)` names the fields.
    order_qty is in lots, price in ticks, None for a market order.
    """

    order_id: int
    account: str
    client_order_id: str
    symbol: str
    kind: OrderKind
    order_qty: int
    price: int | None


Reply = tuple[int, int, int, int, list[Event], int]
"""What one request got: (session_id, request_seq, entry_index, event_offset, events, poss_dup).

event_offset is the number of events of the same entry that came before it. poss_dup is 1 when the
request had been applied before: then entry_index, event_offset and events are the original ones
(a session found again by its key tells where it stands now). `events` is stored: do not change it.
"""

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
    TRIGGERED        terms, stop price that was reached                           no
    REFILLED         terms, shown_qty, leaves_qty                                 yes
    REPRICED         terms, price that was asked for (None: it had no limit);
                     of a pegged order that left its place: terms without price,
                     price at which it stood, leaves_qty                          if it stood
    AUCTION_TRADE    as TRADE, with the buy order as maker and the sell order
                     as taker                                                     yes
    UNCROSSED        symbol, price or None, volume, imbalance                     yes
    TRADE_BUSTED     symbol, trade_id, price, qty, maker terms, taker terms       yes
    INSTRUMENT_AMENDED  InstrumentTerms fields as one tuple                       yes
    INSTRUMENT_DELETED  symbol                                                    yes
    CURRENCY_CREATED name, decimals                                               no
    ACCOUNT_CHANGED  name, is_operator, enabled, group, open_orders_max,
                     order_qty_max, order_notional_max, orders_per_s,
                     orders_burst                                                 no
    BALANCE_CHANGED  account, currency, amount, available then, transfer_id,
                     repeated                                                     no
    KILL_SWITCH_SET  account or "", on                                            no
    MASS_CANCELED    account, orders cancelled here, whether there are more       no
    DAY_ROLLED       day                                                          no
    SESSION_ATTACHED session_id, epoch                                            no
    SESSION_LAPSED   session_id, epoch                                            no
    DROP_COPY_SET    account, reader, on                                          no
    API_KEY_SET      account, key, on                                             no

Orders with conditions (`conditions.OrderConditions`) have them as an eighth term. Where it has
something to say, an event goes on behind what stands above:

    TRADE, AUCTION_TRADE  maker fee, taker fee (minor units of quote), maker shown_qty, taker
                          shown_qty (None for what does not rest): on instruments that settle,
                          and where an iceberg trades
    CANCELED, EXPIRED     shown_qty that left the book, of an iceberg
    RESTATED              shown_qty that is left, of an iceberg
    RESTED           shown_qty of an iceberg
    REPLACED         shown_qty, shown_qty before, of an iceberg

Of a hidden order only trades are public: whatever else is told of it has feed_seq 0 and was_resting
0, its shown_qty in a trade is None, and it is always a RESTED that says it joined the book.

canceled_qty and prevented_qty are what this event took away; over all events of an order
order_qty == cum_qty + leaves_qty + their sum (an amend starts the sum anew at its total).

A pegged order has a ninth term (`conditions.PegTerms`), and its price changes with every RESTED and
REPRICED: None while it waits.

An order joins the book by an ACCEPTED with feed_seq > 0 (whole, at once; an iceberg shows its
display_qty) or by a RESTED (what trading, an amend or a trigger left of it); REFILLED moves an
iceberg to the back with its next slice. REPLACED with kept_priority reduces in place; without it
the order has left its old place, and trades and a RESTED may follow.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from raftbook.core.conditions import OrderConditions, PegTerms

Event = tuple[Any, ...]

UNASKED: Final = -1
"""request_seq of what time brought about, at no request; its session_id is 0."""

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
TRIGGERED: Final = 15
REFILLED: Final = 16
REPRICED: Final = 17
AUCTION_TRADE: Final = 18
UNCROSSED: Final = 19
TRADE_BUSTED: Final = 20
INSTRUMENT_AMENDED: Final = 21
INSTRUMENT_DELETED: Final = 22
CURRENCY_CREATED: Final = 23
ACCOUNT_CHANGED: Final = 24
BALANCE_CHANGED: Final = 25
KILL_SWITCH_SET: Final = 26
MASS_CANCELED: Final = 27
DAY_ROLLED: Final = 28
SESSION_ATTACHED: Final = 29
SESSION_LAPSED: Final = 30
DROP_COPY_SET: Final = 31
API_KEY_SET: Final = 32


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
    conditions: OrderConditions | None = None
    peg: PegTerms | None = None


Reply = tuple[int, int, int, int, list[Event], int]
"""What one request got: (session_id, request_seq, entry_index, event_offset, events, poss_dup).

event_offset is the number of events of the same entry that came before it. poss_dup is 1 when the
request had been applied before: then entry_index, event_offset and events are the original ones
(a session found again by its key tells where it stands now). `events` is stored: do not change it.

Where time or earlier work told something, the replies of an entry begin with one that nobody asked
for: session_id 0, request_seq UNASKED (see `answers`).
"""


def answers(replies: Sequence[Reply], requests: Sequence[Any]) -> Sequence[Reply]:
    """The replies of an entry that answer its requests, one each and in order."""
    return replies[len(replies) - len(requests) :]

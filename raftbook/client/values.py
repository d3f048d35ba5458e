"""What a client takes from the program that uses it and hands to it: orders, and their results.

Owns the shapes. Prices and quantities are exact `Decimal`s here, in the instrument's own number of
places; ticks and lots stay on the wire. Events are read into results in `results.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, TypedDict

from raftbook.client.rejects import explain_reject as explain_reject
from raftbook.client.units import Amount as Amount
from raftbook.client.units import InstrumentSpec as InstrumentSpec
from raftbook.core.events import Event
from raftbook.core.types import (
    OrderType,
    OrdStatus,
    PegReference,
    PostOnly,
    SelfTradePrevention,
    Side,
    TimeInForce,
    TriggerBy,
)

UNKNOWN: Final = "UNKNOWN"
"""ord_status of an order whose request may or may not have taken effect (`submit_many` only)."""

NOT_ACCEPTED: Final = "NOT_ACCEPTED"
"""ord_status of an order whose request certainly had no effect (`submit_many` only)."""

DONE: Final = "DONE"
"""ord_status of a command that took effect and is about no order."""


@dataclass(frozen=True, slots=True)
class RequestReply:
    """What one request got.

    Attributes:
        session_id: the session it was made in.
        request_seq: its number there; the same number again gets this same reply.
        entry_index: index of the log entry that holds it.
        term: Raft term of that entry; 0 with poss_dup, as it is not remembered. So is the next.
        time_ns: the entry's time, nanoseconds since 1970 UTC.
        event_offset: events of the same entry that came before these.
        events: raw events as in `raftbook/core/events.py`, all commands' after one another.
        poss_dup: the request had taken effect before this attempt; these are its original events.
        leader_id: the leader as the answering node knew it, 0 if it knew none.
        node_id: the node that answered.
        elapsed_ms: from the call to the reply, retries included.
    """

    session_id: int
    request_seq: int
    entry_index: int
    term: int
    time_ns: int
    event_offset: int
    events: tuple[Event, ...]
    poss_dup: bool
    leader_id: int
    node_id: int
    elapsed_ms: float


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """One order as a program writes it.

    Attributes:
        side: a `Side` or "buy" / "sell".
        qty: in base; must be a whole number of lots. None with a quote_qty.
        price: in quote; must be a whole number of ticks; None is an order without a limit.
        ord_type: None is LIMIT with a price and MARKET without; with a stop price or a trail
            STOP_LIMIT and STOP. MARKET_TO_LIMIT must be named.
        time_in_force: None is GTD with an expire time, IOC for a market order, else GTC.
        post_only: True or `PostOnly.REJECT` refuses rather than trades at once,
            `PostOnly.REPRICE` moves the price behind the market.
        client_order_id: your own name for it, unique per account; up to 64 printable ASCII
            characters without spaces; may be empty.
        stop_price: the price at which an order that waits becomes active.
        trigger_by: "last", "bid", "ask" or "mid" (or a `TriggerBy`): which price that is; None is
            the last trade's.
        trail: how far a trailing stop stays from the best price since, in quote.
        trail_bps: the same in hundredths of a percent of that price.
        display_qty: what the market sees of an iceberg, in base.
        hidden: whether it shows nothing while it rests, and trades after all that does.
        min_qty: what must trade at once, else nothing does, in base.
        expire_time_ns: when a GTD order ends, nanoseconds since 1970 UTC.
        quote_qty: what a market order spends (buy) or brings in (sell), in quote; counts in whole
            units of tick_size x lot_size, what is over is left out.
        peg: "primary", "market" or "midpoint" (or a `PegReference`): the price follows the best
            price of the own side, of the other side, or the middle, and `price` is its limit.
        peg_offset: what is added to that, in quote; may be negative.
    """

    symbol: str
    side: Side | str
    qty: Amount | None
    price: Amount | None = None
    ord_type: OrderType | None = None
    time_in_force: TimeInForce | None = None
    post_only: bool | PostOnly = False
    self_trade_prevention: SelfTradePrevention = SelfTradePrevention.NONE
    client_order_id: str = ""
    stop_price: Amount | None = None
    trail: Amount | None = None
    trail_bps: int | None = None
    display_qty: Amount | None = None
    min_qty: Amount | None = None
    expire_time_ns: int = 0
    quote_qty: Amount | None = None
    peg: PegReference | str | None = None
    peg_offset: Amount | None = None
    trigger_by: TriggerBy | str | None = None
    hidden: bool = False


class Conditions(TypedDict, total=False):
    """What an order may have beside its price, as in `OrderRequest`."""

    stop_price: Amount | None
    trail: Amount | None
    trail_bps: int | None
    display_qty: Amount | None
    min_qty: Amount | None
    expire_time_ns: int
    quote_qty: Amount | None
    peg: PegReference | str | None
    peg_offset: Amount | None
    trigger_by: TriggerBy | str | None
    hidden: bool


class Changes(TypedDict, total=False):
    """What an amend may change, as in `OrderRequest`; `qty` is the new total, what has traded
    included. What is left out or None stays."""

    qty: Amount | None
    price: Amount | None
    stop_price: Amount | None
    trail: Amount | None
    trail_bps: int | None
    display_qty: Amount | None
    expire_time_ns: int | None


class AccountChanges(TypedDict, total=False):
    """What `set_account` may change, as in `commands.set_account`; None stays, 0 is no limit."""

    enabled: bool | None
    group: str | None
    open_orders_max: int | None
    order_qty_max: int | None
    order_notional_max: int | None
    orders_per_s: int | None
    orders_burst: int | None


@dataclass(frozen=True, slots=True)
class TradeResult:
    """One trade of an order, as it met another one.

    Attributes:
        maker_order_id: the order it met; its own id if a stop that it set off met it.
        taker_order_id: the other one of the two.
        fee: what this order paid, in minor units of quote, or in quote if the node told how many
            decimals that has; below 0 is a rebate; None where no money moves.
    """

    trade_id: int
    price: Decimal
    qty: Decimal
    maker_order_id: int
    taker_order_id: int = 0
    fee: Decimal | None = None


@dataclass(frozen=True, slots=True)
class OrderResult:
    """What became of one command, as it stood when that command ended.

    Attributes:
        order_id: ours; 0 if there is none.
        side: "BUY" or "SELL"; "" if unknown.
        ord_status: name of a `types.OrdStatus`, or DONE, UNKNOWN, NOT_ACCEPTED.
        order_qty: total, in base; None if unknown, as after a refused cancel. So are the next two.
        cum_qty: traded so far.
        leaves_qty: still open.
        avg_price: of all that traded so far, rounded half to even to the tick's decimal places
            plus AVG_PRICE_EXTRA_PLACES; None if nothing did, or if the reply does not tell (a
            cancel or an amend of an order that traded earlier).
        reject_code: a `types.Reject`: why it was refused, or why its rest was ended; 0 for none.
        reject_name: the code's name, "" for none.
        text: the code in one sentence, "" for none.
        entry_index: index of its log entry; 0 if it was refused before it was sent.
        term: of that entry; 0 with poss_dup, as it is not remembered.
        node_id: the node that answered; 0 if none was asked.
        leader_id: the leader as that node knew it.
        request_seq: number of the request that held it; 0 if it was not sent.
        poss_dup: it had taken effect before this attempt; this is the original result.
        trades: its trades while the command was carried out, in order.
        price: its limit price then; None without one.
        repriced: a post-only order got another price than the one that was asked for, or a
            market-to-limit order its price.
        triggered: it waited for a stop price, which was reached at once.
        stop_leg: of a pair of which one ends the other, the order that waits; this is the other.
        replaced: of a cancel-replace, what became of the order it replaces.
        details: what a command says that is about no order: named values of its event.
    """

    order_id: int = 0
    client_order_id: str = ""
    symbol: str = ""
    side: str = ""
    ord_status: str = OrdStatus.REJECTED.name
    order_qty: Decimal | None = None
    cum_qty: Decimal | None = None
    leaves_qty: Decimal | None = None
    avg_price: Decimal | None = None
    reject_code: int = 0
    reject_name: str = ""
    text: str = ""
    entry_index: int = 0
    term: int = 0
    node_id: int = 0
    leader_id: int = 0
    request_seq: int = 0
    poss_dup: bool = False
    elapsed_ms: float = 0.0
    trades: tuple[TradeResult, ...] = ()
    price: Decimal | None = None
    repriced: bool = False
    triggered: bool = False
    stop_leg: OrderResult | None = None
    replaced: OrderResult | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_rejected(self) -> bool:
        """Whether the command was refused and changed nothing."""
        return self.ord_status == OrdStatus.REJECTED.name

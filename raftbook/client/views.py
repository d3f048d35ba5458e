"""What a query of the market answers, with decimals: books, trades, orders.

Owns the reading of query values. A view is what one node had at its applied_index; another node may
be ahead or behind. Must not know how an answer arrived.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from raftbook.client.units import InstrumentSpec, average_price, phase_name, side_name
from raftbook.core import events as e
from raftbook.core.conditions import OrderConditions, PegTerms
from raftbook.core.order_status import order_status
from raftbook.core.types import (
    OrderType,
    PegReference,
    PostOnly,
    SelfTradePrevention,
    Side,
    TimeInForce,
    TrailUnit,
    TriggerBy,
)
from raftbook.errors import ProtocolError

AUCTION: Final = "AUCTION"
"""taker_side of a trade in an auction."""


@dataclass(frozen=True, slots=True)
class BookLevel:
    """One price of a book. `total` is the quantity from the best price to this one."""

    price: Decimal
    qty: Decimal
    total: Decimal
    orders: int


@dataclass(frozen=True, slots=True)
class BookOrder:
    """One resting order of a book; of an iceberg `leaves_qty` is what the market sees."""

    order_id: int
    price: Decimal
    leaves_qty: Decimal


@dataclass(frozen=True, slots=True)
class BookView:
    """A book as one node had it.

    Attributes:
        bids: levels, best (highest) first; asks likewise, best (lowest) first.
        bid_orders: each resting order in priority order when asked for, else None.
        feed_seq: the instrument's public events so far.
        applied_index: the last log entry that this view contains.
        last_price: of the last trade, None before the first.
        age_ms: how long ago the node last heard from a leader; how old this view may be.
    """

    symbol: str
    bids: tuple[BookLevel, ...]
    asks: tuple[BookLevel, ...]
    bid_orders: tuple[BookOrder, ...] | None
    ask_orders: tuple[BookOrder, ...] | None
    feed_seq: int
    applied_index: int
    node_id: int
    last_price: Decimal | None
    phase: str
    age_ms: float

    @classmethod
    def from_wire(cls, value: Mapping[str, Any], spec: InstrumentSpec) -> BookView:
        """Read the value of a `book` query, or of the "refresh" of a feed.

        Raises:
            ProtocolError: it is none.
        """
        try:
            last = value["last_price"]
            return cls(
                symbol=value["symbol"],
                bids=_levels(value["bids"], spec),
                asks=_levels(value["asks"], spec),
                bid_orders=_resting(value.get("bid_orders"), spec),
                ask_orders=_resting(value.get("ask_orders"), spec),
                feed_seq=value["feed_seq"],
                applied_index=value["applied_index"],
                node_id=value.get("node_id", 0),
                last_price=None if last is None else spec.price(last),
                phase=phase_name(value["phase"]),
                age_ms=value.get("age_ms", 0),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ProtocolError(f"no book: {value!r:.200}") from error


@dataclass(frozen=True, slots=True)
class MarketTrade:
    """One trade as the market saw it.

    `taker_side` is "BUY" or "SELL", or "AUCTION": both sides had gathered, and the buy order is
    told as the maker.
    """

    trade_id: int
    price: Decimal
    qty: Decimal
    time_ns: int
    entry_index: int
    taker_side: str
    maker_order_id: int
    taker_order_id: int


@dataclass(frozen=True, slots=True)
class TradesView:
    """The last trades of an instrument, eldest first, as a node had them at `applied_index`."""

    symbol: str
    applied_index: int
    trades: tuple[MarketTrade, ...]

    @classmethod
    def from_wire(cls, value: Mapping[str, Any], spec: InstrumentSpec) -> TradesView:
        """Read the value of a `trades` query.

        Raises:
            ProtocolError: it is none.
        """
        try:
            return cls(
                spec.symbol,
                value["applied_index"],
                tuple(_market_trade(trade, spec) for trade in value["trades"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ProtocolError(f"no trades: {value!r:.200}") from error


@dataclass(frozen=True, slots=True)
class OrderView:
    """One own order as a node had it, open or closed and still remembered.

    Attributes:
        price: None for an order without a limit; of a pegged order where it stands now.
        ord_status: NEW or PARTIALLY_FILLED while it is open; closed, FILLED or, whatever ended the
            rest of it, CANCELED.
        avg_price: None if nothing traded.
        post_only: whether it must not take; `reprice`: whether it would rather move.
        waiting: whether it waits for its stop price, or pegged for a price to stand at.
        pending: whether it waits until another order is filled.
        stop_price: at which it fires: where it stands now, if it waits; else what was asked for,
            None for a trailing one that no longer waits and for all that never wait.
        trigger_by: name of the `TriggerBy` that it looks at; None for what never waits.
        trail: distance of a trailing stop in quote; trail_bps: the same in basis points.
        shown_qty: what the market sees of it now.
        display_qty, min_qty, quote_qty: as it was entered; None for what was not asked for.
        hidden: whether it shows nothing while it rests.
        expire_time_ns: of a GTD order, else 0.
        oco_order_id: the order that ends with this one, 0 for none.
        oto_order_id: the first order that is pending on this one and has a higher id, or the one
            that this one is or was pending on; 0 for none.
        peg: name of the `PegReference` that it follows; peg_offset: what is added to that, in
            quote; limit_price: the limit of such an order.
        entered_ns, closed_ns: logical time; closed_ns is 0 while it is open, both are where they
            are not remembered.
        held: money held for it, in minor units: of quote for a buy, of base for a sell.
        session_id: the session that entered it, 0 where that is not remembered.
    """

    order_id: int
    account: str
    client_order_id: str
    symbol: str
    side: str
    ord_type: str
    time_in_force: str
    post_only: bool
    self_trade_prevention: str
    ord_status: str
    order_qty: Decimal
    price: Decimal | None
    leaves_qty: Decimal
    cum_qty: Decimal
    avg_price: Decimal | None
    resting: bool
    reprice: bool = False
    waiting: bool = False
    stop_price: Decimal | None = None
    trail: Decimal | None = None
    trail_bps: int | None = None
    shown_qty: Decimal | None = None
    display_qty: Decimal | None = None
    min_qty: Decimal | None = None
    quote_qty: Decimal | None = None
    expire_time_ns: int = 0
    oco_order_id: int = 0
    oto_order_id: int = 0
    pending: bool = False
    entered_ns: int = 0
    closed_ns: int = 0
    held: int = 0
    session_id: int = 0
    peg: str | None = None
    peg_offset: Decimal | None = None
    limit_price: Decimal | None = None
    trigger_by: str | None = None
    hidden: bool = False

    @classmethod
    def from_wire(
        cls, value: Mapping[str, Any], instruments: Mapping[str, InstrumentSpec]
    ) -> OrderView:
        """Read the value of an `order` query.

        Raises:
            KeyError: its instrument is not among `instruments`; the key is the symbol.
            ProtocolError: it is no order.
        """
        try:
            terms = e.OrderTerms(*value["terms"])
            kind = e.OrderKind(*terms.kind)
            leaves, cum = value["leaves_qty"], value["cum_qty"]
            notional, resting = value["cum_notional"], bool(value["resting"])
        except (KeyError, TypeError) as error:
            raise ProtocolError(f"no order: {value!r:.200}") from error
        spec = instruments[terms.symbol]
        try:
            return cls(
                order_id=terms.order_id,
                account=terms.account,
                client_order_id=terms.client_order_id,
                symbol=terms.symbol,
                side=Side(kind.side).name,
                ord_type=OrderType(kind.ord_type).name,
                time_in_force=TimeInForce(kind.time_in_force).name,
                post_only=bool(kind.post_only),
                self_trade_prevention=SelfTradePrevention(kind.self_trade_prevention).name,
                ord_status=order_status(
                    tuple(value["terms"]),
                    leaves_qty=leaves,
                    cum_qty=cum,
                    closed_ns=value.get("closed_ns", 0),
                ).name,
                order_qty=spec.qty(terms.order_qty),
                price=None if terms.price is None else spec.price(terms.price),
                leaves_qty=spec.qty(leaves),
                cum_qty=spec.qty(cum),
                avg_price=average_price(notional, cum, spec),
                resting=resting,
                reprice=kind.post_only == PostOnly.REPRICE,
                waiting=bool(value.get("waiting", False)),
                pending=bool(value.get("pending", False)),
                **_conditions(terms.conditions, value.get("stop_price"), spec),
                **_peg(terms.peg, spec),
                shown_qty=spec.qty(value.get("shown_qty", leaves if resting else 0)),
                held=int(value.get("held", 0)),
                **{name: value.get(name, 0) for name in _KEPT},
            )
        except (TypeError, ValueError) as error:
            raise ProtocolError(f"no order: {value!r:.200}") from error


_KEPT: Final = ("entered_ns", "closed_ns", "session_id")
"""What older nodes do not tell."""


def _conditions(
    fields: Sequence[Any] | None, waits_at: int | None, spec: InstrumentSpec
) -> dict[str, Any]:
    """The conditions of an order in decimals; nothing for an order without."""
    if fields is None:
        return {}
    conditions = OrderConditions(*fields)
    stop_price = conditions.stop_price if waits_at is None else waits_at
    offset = conditions.trail_offset
    in_ticks = conditions.trail_unit == TrailUnit.TICKS
    in_bps = conditions.trail_unit == TrailUnit.BASIS_POINTS
    waited = conditions.stop_price is not None or conditions.trail_unit
    return {
        "stop_price": None if stop_price is None else spec.price(stop_price),
        "trigger_by": TriggerBy(conditions.trigger_by).name if waited else None,
        "trail": spec.price(offset) if in_ticks else None,
        "trail_bps": offset if in_bps else None,
        "display_qty": spec.qty(conditions.display_qty) if conditions.display_qty else None,
        "hidden": conditions.hidden > 0,
        "min_qty": spec.qty(conditions.min_qty) if conditions.min_qty else None,
        "quote_qty": spec.notional(conditions.quote_qty) if conditions.quote_qty else None,
        "expire_time_ns": conditions.expire_time_ns,
        "oco_order_id": conditions.oco_order_id,
        "oto_order_id": conditions.oto_order_id,
    }


def _peg(fields: Sequence[Any] | None, spec: InstrumentSpec) -> dict[str, Any]:
    """What a pegged order follows; nothing for another order."""
    if fields is None:
        return {}
    peg = PegTerms(*fields)
    return {
        "peg": PegReference(peg.reference).name,
        "peg_offset": spec.price(peg.offset),
        "limit_price": None if peg.limit_price is None else spec.price(peg.limit_price),
    }


def _levels(levels: Sequence[tuple[int, int, int]], spec: InstrumentSpec) -> tuple[BookLevel, ...]:
    total = 0
    result = []
    for price, qty, orders in levels:
        total += qty
        result.append(BookLevel(spec.price(price), spec.qty(qty), spec.qty(total), orders))
    return tuple(result)


def _resting(
    orders: Sequence[tuple[int, int, int]] | None, spec: InstrumentSpec
) -> tuple[BookOrder, ...] | None:
    if orders is None:
        return None
    return tuple(
        BookOrder(order_id, spec.price(price), spec.qty(leaves))
        for order_id, price, leaves in orders
    )


def _market_trade(trade: Sequence[Any], spec: InstrumentSpec) -> MarketTrade:
    trade_id, price, qty, time_ns, entry_index, taker_side, maker_order_id, taker_order_id = trade
    return MarketTrade(
        trade_id,
        spec.price(price),
        spec.qty(qty),
        time_ns,
        entry_index,
        side_name(taker_side) if taker_side else AUCTION,
        maker_order_id,
        taker_order_id,
    )

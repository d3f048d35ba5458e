"""Pairs of orders of which one ends the other (OCO).

Owns which of Binance's pairs are ours: a LIMIT_MAKER on the one side of the price and a STOP_LOSS
or STOP_LOSS_LIMIT on the other. Pairs with take-profit orders are refused. What is common to all
lists of orders is in `order_lists.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from raftbook.core.commands import Command, place_oco
from raftbook.core.types import PostOnly, SelfTradePrevention, Side, TrailUnit
from raftbook.web.binance.door import Call
from raftbook.web.binance.faults import (
    Fault,
    either_missing,
    filtered,
    missing,
    not_required,
)
from raftbook.web.binance.markets import Json, Market
from raftbook.web.binance.order_lists import place_list
from raftbook.web.binance.params import Params
from raftbook.web.binance.tickets import (
    TRAIL_BPS_MAX,
    mode_of,
    name_of,
    named,
    price_of,
    qty_of,
    side_of,
)

_STOPS: Final = frozenset(("STOP_LOSS", "STOP_LOSS_LIMIT"))
_KNOWN: Final = _STOPS | {"LIMIT_MAKER", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT"}


@dataclass(frozen=True, slots=True)
class _Names:
    """What the parameters of one half are called: they differ between the two endpoints."""

    quantity: str
    price: str
    stop_price: str
    limit_price: str
    trail: str
    limit_name: str
    stop_name: str
    limit_iceberg: str
    stop_iceberg: str
    stop_time: str


_OLD: Final = _Names(
    quantity="quantity",
    price="price",
    stop_price="stopPrice",
    limit_price="stopLimitPrice",
    trail="trailingDelta",
    limit_name="limitClientOrderId",
    stop_name="stopClientOrderId",
    limit_iceberg="limitIcebergQty",
    stop_iceberg="stopIcebergQty",
    stop_time="stopLimitTimeInForce",
)


def _new_names(limit: str, stop: str, quantity: str) -> _Names:
    return _Names(
        quantity=quantity,
        price=f"{limit}Price",
        stop_price=f"{stop}StopPrice",
        limit_price=f"{stop}Price",
        trail=f"{stop}TrailingDelta",
        limit_name=f"{limit}ClientOrderId",
        stop_name=f"{stop}ClientOrderId",
        limit_iceberg=f"{limit}IcebergQty",
        stop_iceberg=f"{stop}IcebergQty",
        stop_time=f"{stop}TimeInForce",
    )


async def place_pair(call: Call) -> Json:
    """POST /orderList/oco."""
    market, _ = call.door.markets.find(call.params.symbol())
    return await place_list(call, market, read_pair(call, market))


def read_pair(call: Call, market: Market, prefix: str = "") -> Command:
    """The pair that is asked for.

    Args:
        prefix: what the names of its parameters begin with.

    Raises:
        Fault: its parameters are no pair of this instrument.
    """
    params = call.params
    above, below = named(prefix, "above"), named(prefix, "below")
    words = {place: params.needed(f"{place}Type") for place in (above, below)}
    if not _KNOWN.issuperset(words.values()):
        raise Fault(400, -1116, "Invalid orderType.")
    side = side_of(params, prefix)
    limit, stop = (above, below) if side == Side.SELL else (below, above)
    _check_types(side, words[limit], words[stop])
    has_price = words[stop] == "STOP_LOSS_LIMIT"
    names = _new_names(limit, stop, named(prefix, "quantity"))
    return _command(call, market, side, names, has_limit_price=has_price)


def _check_types(side: Side, limit: str, stop: str) -> None:
    """Of the six types that Binance knows in a pair, ours has a LIMIT_MAKER and a stop loss.

    Args:
        limit, stop: what stands where the limit order belongs, and where the stop does.
    """
    if limit == stop == "LIMIT_MAKER":
        raise Fault(400, -1168, "At least one OCO order must be contingent.")
    if stop == "LIMIT_MAKER":
        if side == Side.BUY:
            raise Fault(400, -1165, "A limit order in a buy OCO must be below.")
        raise Fault(400, -1166, "A limit order in a sell OCO must be above.")
    if limit != "LIMIT_MAKER" or stop not in _STOPS:
        raise Fault(400, -1158, "Order type not supported in OCO.")


async def place_old_pair(call: Call) -> Json:
    """POST /order/oco, which Binance has retired and libraries still call."""
    market, _ = call.door.markets.find(call.params.symbol())
    has_price = call.params.text("stopLimitPrice") is not None
    side = side_of(call.params)
    command = _command(call, market, side, _OLD, has_limit_price=has_price)
    return await place_list(call, market, command)


def _command(
    call: Call, market: Market, side: Side, names: _Names, *, has_limit_price: bool
) -> Command:
    params = call.params
    qty, price = qty_of(params, names.quantity, market), price_of(params, names.price, market)
    if qty is None:
        raise missing(names.quantity)
    if price is None:
        raise missing(names.price)
    stop_price = price_of(params, names.stop_price, market)
    trail_bps = _trail(params, names, stop_price)
    limit_price = price_of(params, names.limit_price, market)
    if has_limit_price and limit_price is None:
        raise missing(names.limit_price)
    if not has_limit_price and limit_price is not None:
        raise not_required(names.limit_price)
    if params.text(names.stop_time) not in (None, "GTC"):
        raise Fault(400, -1115, "Invalid timeInForce: what waits for a price is GTC.")
    if params.number(names.stop_iceberg) is not None:
        raise not_required(names.stop_iceberg)
    _check_prices(side, price, stop_price)
    mode: SelfTradePrevention = mode_of(params)
    return place_oco(
        market.symbol,
        side,
        qty,
        price=price,
        stop_price=stop_price,
        stop_limit_price=limit_price,
        self_trade_prevention=mode,
        client_order_id=name_of(params, names.limit_name, call.door.desk),
        stop_client_order_id=name_of(params, names.stop_name, call.door.desk),
        post_only=PostOnly.REJECT,
        display_qty=params.count(names.limit_iceberg, market.qty, "ICEBERG_PARTS") or 0,
        trail_unit=TrailUnit.BASIS_POINTS if trail_bps else TrailUnit.NONE,
        trail_offset=trail_bps,
    )


def _trail(params: Params, names: _Names, stop_price: int | None) -> int:
    trail_bps = params.integer(names.trail)
    if trail_bps is None:
        if stop_price is None:
            raise either_missing(names.stop_price, names.trail)
        return 0
    if stop_price is not None:
        raise not_required(names.trail)
    if not 0 < trail_bps <= TRAIL_BPS_MAX:
        raise filtered("TRAILING_DELTA")
    return trail_bps


def _check_prices(side: Side, price: int, stop_price: int | None) -> None:
    """A pair has the market between its prices; both sides of it are told apart by that."""
    if stop_price is None:
        return
    is_right = price > stop_price if side == Side.SELL else price < stop_price
    if not is_right:
        msg = "The relationship of the prices for the orders is not correct."
        raise Fault(400, -2010, msg)

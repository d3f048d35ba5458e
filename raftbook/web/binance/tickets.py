"""From the parameters of an order to a command of ours.

Owns which parameters go with which type of order, what is refused before the log, and the rounding
of nothing: what is no whole number of ticks or lots is refused. The market itself is never judged
here, since this node may be behind.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from raftbook.core.commands import Command, new_order, place_order
from raftbook.core.types import (
    INT64_MAX,
    PostOnly,
    SelfTradePrevention,
    Side,
    TimeInForce,
    TrailUnit,
)
from raftbook.web.binance.desk import Desk
from raftbook.web.binance.faults import (
    Fault,
    either_missing,
    filtered,
    invalid,
    missing,
    not_required,
)
from raftbook.web.binance.markets import Market
from raftbook.web.binance.params import Params
from raftbook.web.binance.words import MODES, SIDES, TIMES, TYPES

_STOPS: Final = frozenset(("STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT"))
_TRAILING: Final = frozenset(("STOP_LOSS", "STOP_LOSS_LIMIT"))
_WITH_PRICE: Final = frozenset(("LIMIT", "LIMIT_MAKER", "STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT"))
_WITH_TIME: Final = _WITH_PRICE - {"LIMIT_MAKER"}
_ICEBERGS: Final = frozenset(("LIMIT", "LIMIT_MAKER"))
TRAIL_BPS_MAX: Final = 2_000
"""Binance's own bound of trailingDelta."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """One order that is asked for.

    Attributes:
        name: its client_order_id.
    """

    command: Command
    name: str
    type: str


def named(prefix: str, name: str) -> str:
    """What a parameter is called for one order of several."""
    return prefix + name[0].upper() + name[1:] if prefix else name


def side_of(params: Params, prefix: str = "") -> Side:
    """BUY or SELL."""
    side = SIDES.get(params.needed(named(prefix, "side")))
    if side is None:
        raise Fault(400, -1117, "Invalid side.")
    return side


def mode_of(params: Params) -> SelfTradePrevention:
    """What becomes of a trade with oneself."""
    word = params.text("selfTradePreventionMode")
    mode = MODES.get(word or "NONE")
    if mode is None:
        raise invalid("selfTradePreventionMode")
    return mode


def name_of(params: Params, parameter: str, desk: Desk) -> str:
    """The client's own name of an order, or one that is made for it."""
    return params.client_id(parameter) or desk.new_name()


def price_of(params: Params, parameter: str, market: Market) -> int | None:
    """A price in ticks, None when it was not sent."""
    price = params.count(parameter, market.price, "PRICE_FILTER")
    if price == 0 and market.terms.price_min > 0:
        raise filtered("PRICE_FILTER")
    return price


def qty_of(params: Params, parameter: str, market: Market) -> int | None:
    """A quantity in lots, None when it was not sent."""
    qty = params.count(parameter, market.qty, "LOT_SIZE")
    if qty == 0:
        raise Fault(400, -1013, "Invalid quantity.")
    return qty


def read_ticket(params: Params, market: Market, desk: Desk, *, prefix: str = "") -> Ticket:
    """The order that is asked for.

    Args:
        prefix: what its parameters begin with, where a request has those of several orders.

    Raises:
        Fault: its parameters are no order of this instrument.
    """
    side, word = side_of(params, prefix), params.needed(named(prefix, "type"))
    ord_type = TYPES.get(word)
    if ord_type is None:
        raise Fault(400, -1116, "Invalid orderType.")
    time_in_force = _time_of(params, word, named(prefix, "timeInForce"))
    qty, quote_qty = _amounts(params, market, word, prefix)
    price = _limit_price(params, market, word, named(prefix, "price"))
    stop_price, trail_bps = _trigger(params, market, word, prefix)
    iceberg = named(prefix, "icebergQty")
    display_qty = _display_qty(params, market, word, time_in_force, iceberg)
    mode = mode_of(params)
    name = name_of(params, f"{prefix or 'new'}ClientOrderId", desk)
    is_maker = word == "LIMIT_MAKER"
    if quote_qty or display_qty or word in _STOPS:
        command = place_order(
            market.symbol,
            side,
            qty,
            price,
            client_order_id=name,
            ord_type=ord_type,
            time_in_force=time_in_force,
            post_only=PostOnly.REJECT if is_maker else PostOnly.NO,
            self_trade_prevention=mode,
            stop_price=stop_price,
            trail_unit=TrailUnit.BASIS_POINTS if trail_bps else TrailUnit.NONE,
            trail_offset=trail_bps,
            display_qty=display_qty,
            quote_qty=quote_qty,
        )
    else:
        command = new_order(
            market.symbol,
            side,
            qty,
            price,
            client_order_id=name,
            ord_type=ord_type,
            time_in_force=time_in_force,
            post_only=is_maker,
            self_trade_prevention=mode,
        )
    return Ticket(command, name, word)


def _time_of(params: Params, word: str, parameter: str) -> TimeInForce:
    text = params.text(parameter)
    if word not in _WITH_TIME:
        # ccxt and others say GTC of a maker order, which is what it is.
        if text is not None and not (word == "LIMIT_MAKER" and text == "GTC"):
            raise not_required(parameter)
        return TimeInForce.IOC if word == "MARKET" else TimeInForce.GTC
    if text is None:
        raise missing(parameter)
    time = TIMES.get(text)
    if time is None:
        raise Fault(400, -1115, "Invalid timeInForce.")
    if word in _STOPS and time != TimeInForce.GTC:
        raise Fault(400, -1115, "Invalid timeInForce: what waits for a price is GTC.")
    return time


def _amounts(params: Params, market: Market, word: str, prefix: str) -> tuple[int, int]:
    """(lots, tick-lots to spend), of which one is 0."""
    quantity, amount_name = named(prefix, "quantity"), named(prefix, "quoteOrderQty")
    qty = qty_of(params, quantity, market)
    quote = params.number(amount_name)
    if word != "MARKET" or prefix:
        if quote is not None:
            raise not_required(amount_name)
        if qty is None:
            raise missing(quantity)
        return qty, 0
    if qty is not None and quote is not None:
        raise Fault(
            400, -1128, "Combination of optional parameters invalid: quantity and quoteOrderQty."
        )
    if qty is not None:
        return qty, 0
    if quote is None:
        raise either_missing("quantity", "quoteOrderQty")
    amount = market.amount.floor(quote)
    if not 0 < amount <= INT64_MAX:
        raise filtered("NOTIONAL")
    return 0, amount


def _limit_price(params: Params, market: Market, word: str, parameter: str) -> int | None:
    price = price_of(params, parameter, market)
    if word in _WITH_PRICE:
        if price is None:
            raise missing(parameter)
    elif price is not None:
        raise not_required(parameter)
    return price


def _trigger(params: Params, market: Market, word: str, prefix: str) -> tuple[int | None, int]:
    """(stop price, basis points of a trailing stop)."""
    stop, trail = named(prefix, "stopPrice"), named(prefix, "trailingDelta")
    stop_price = price_of(params, stop, market)
    trail_bps = params.integer(trail)
    if word not in _STOPS:
        for name, value in ((stop, stop_price), (trail, trail_bps)):
            if value is not None:
                raise not_required(name)
        return None, 0
    if trail_bps is None:
        if stop_price is None:
            raise either_missing(stop, trail)
        return stop_price, 0
    if word not in _TRAILING or stop_price is not None:
        # Ours trails from the moment it is entered, and downwards only from a price it has seen.
        raise not_required(trail)
    if not 0 < trail_bps <= TRAIL_BPS_MAX:
        raise filtered("TRAILING_DELTA")
    return None, trail_bps


def _display_qty(
    params: Params, market: Market, word: str, time: TimeInForce, parameter: str
) -> int:
    text = params.values.get(parameter)
    if text is None:
        return 0
    display_qty = params.count(parameter, market.qty, "ICEBERG_PARTS")
    if not display_qty:
        return 0
    if word not in _ICEBERGS or time != TimeInForce.GTC:
        raise not_required(parameter)
    return display_qty

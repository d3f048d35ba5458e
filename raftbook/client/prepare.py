"""Orders in decimals as commands in ticks and lots, or why no instrument admits them.

Owns the units of every field and what is left out in an order. What the market admits is the
market's to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from difflib import get_close_matches
from typing import Any

from raftbook.client.units import Amount, InstrumentSpec, decimal, side_name
from raftbook.client.values import OrderPair, OrderRequest
from raftbook.core import commands as c
from raftbook.core.commands import Command
from raftbook.core.types import (
    OrderType,
    PegReference,
    PostOnly,
    Reject,
    Side,
    TimeInForce,
    TrailUnit,
    TriggerBy,
)


class Unfit(Exception):
    """An amount is none of an instrument's, or there is no such instrument."""

    def __init__(self, code: Reject, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


def known_instrument(symbol: str, specs: Mapping[str, InstrumentSpec]) -> InstrumentSpec:
    """The instrument of this symbol.

    Raises:
        Unfit: there is none.
    """
    spec = specs.get(symbol)
    if spec is None:
        known = ", ".join(sorted(specs)[:20]) or "none"
        meant = get_close_matches(symbol.upper(), specs, n=1)
        guess = f" (did you mean {meant[0]}?)" if meant else ""
        text = f"There is no instrument {symbol!r}{guess}; there are: {known}."
        raise Unfit(Reject.UNKNOWN_INSTRUMENT, text)
    return spec


def lots_of(qty: Amount, spec: InstrumentSpec) -> int:
    """A quantity in lots.

    Raises:
        Unfit: it is not a whole number of them.
        TypeError, ValueError: it is no amount.
    """
    lots = spec.lots(decimal(qty))
    if lots is None:
        text = f"Quantity {qty} is not a whole number of lots of {spec.lot_size}."
        raise Unfit(Reject.LOT_SIZE, text)
    return lots


def ticks_of(price: Amount, spec: InstrumentSpec) -> int:
    """A price in ticks; errors as of `lots_of`."""
    ticks = spec.ticks(decimal(price))
    if ticks is None:
        text = f"Price {price} is not a whole number of ticks of {spec.tick_size}."
        raise Unfit(Reject.TICK_SIZE, text)
    return ticks


def order_type_of(order: OrderRequest) -> OrderType:
    """The type that was named, else what follows from the prices that are given."""
    if order.ord_type is not None:
        return order.ord_type
    if order.peg is not None:
        return OrderType.PEGGED
    is_limit = order.price is not None
    if order.stop_price is not None or order.trail is not None or order.trail_bps is not None:
        return OrderType.STOP_LIMIT if is_limit else OrderType.STOP
    return OrderType.LIMIT if is_limit else OrderType.MARKET


def time_in_force_of(order: OrderRequest) -> TimeInForce:
    """The time in force that was named, else what its type and its expire time suggest."""
    if order.time_in_force is not None:
        return order.time_in_force
    if order.expire_time_ns:
        return TimeInForce.GTD
    return TimeInForce.IOC if order_type_of(order) == OrderType.MARKET else TimeInForce.GTC


def order_command(order: OrderRequest, specs: Mapping[str, InstrumentSpec]) -> Command:
    """The command of an order: NEW_ORDER where that can say it, as every node knows that one.

    Raises:
        Unfit: no instrument, or amounts between its ticks or lots.
        TypeError, ValueError: the program wrote what is no amount or no side.
    """
    spec = known_instrument(order.symbol, specs)
    if order.peg is not None or order.peg_offset is not None:
        return _peg_command(order, spec)
    ord_type, time_in_force = order_type_of(order), time_in_force_of(order)
    mode = PostOnly(int(order.post_only))
    plain: dict[str, Any] = {
        "client_order_id": order.client_order_id,
        "ord_type": ord_type,
        "time_in_force": time_in_force,
        "self_trade_prevention": order.self_trade_prevention,
    }
    qty, price = (
        _quantity(order, spec),
        None if order.price is None else ticks_of(order.price, spec),
    )
    side = Side[side_name(order.side)]
    conditions = _conditions(order, spec)
    is_plain = (
        not conditions
        and ord_type in (OrderType.LIMIT, OrderType.MARKET)
        and time_in_force in (TimeInForce.GTC, TimeInForce.IOC, TimeInForce.FOK)
        and mode != PostOnly.REPRICE
    )
    if is_plain:
        return c.new_order(order.symbol, side, qty, price, post_only=bool(mode), **plain)
    return c.place_order(order.symbol, side, qty, price, post_only=mode, **plain, **conditions)


def _peg_command(order: OrderRequest, spec: InstrumentSpec) -> Command:
    reference = peg_reference(order.peg)
    check_peg(order)
    return c.place_peg(
        order.symbol,
        Side[side_name(order.side)],
        _quantity(order, spec),
        reference,
        offset=0 if order.peg_offset is None else ticks_of(order.peg_offset, spec),
        limit_price=None if order.price is None else ticks_of(order.price, spec),
        time_in_force=time_in_force_of(order),
        expire_time_ns=order.expire_time_ns,
        client_order_id=order.client_order_id,
    )


def peg_reference(peg: PegReference | str | None) -> PegReference:
    """What a pegged order follows.

    Raises:
        ValueError: it is no reference, or there is none.
    """
    if isinstance(peg, PegReference):
        return peg
    names = {each.name.lower(): each for each in PegReference}
    if peg not in names:
        raise ValueError(f"a peg is one of {', '.join(names)}, not {peg!r}")
    return names[peg]


def trigger_of(trigger_by: TriggerBy | str | None) -> TriggerBy:
    """What a stop looks at.

    Raises:
        ValueError: it is none of them.
    """
    if trigger_by is None or isinstance(trigger_by, TriggerBy):
        return trigger_by or TriggerBy.LAST
    names = {each.name.lower(): each for each in TriggerBy}
    if trigger_by not in names:
        raise ValueError(f"a stop looks at one of {', '.join(names)}, not {trigger_by!r}")
    return names[trigger_by]


def check_peg(order: OrderRequest) -> None:
    """Refuse what a pegged order cannot have.

    Raises:
        ValueError: says what.
    """
    given = {
        "stop price": order.stop_price,
        "trail": order.trail if order.trail_bps is None else order.trail_bps,
        "trigger": order.trigger_by,
        "displayed quantity": order.display_qty,
        "minimum quantity": order.min_qty,
        "amount to spend": order.quote_qty,
        "hiding": order.hidden or None,
        "post-only": order.post_only or None,
        "self-trade mode": order.self_trade_prevention or None,
    }
    for what, value in given.items():
        if value is not None:
            raise ValueError(f"a pegged order never takes and shows itself whole: it has no {what}")
    if order_type_of(order) != OrderType.PEGGED:
        raise ValueError("a pegged order has no other type")


def _quantity(order: OrderRequest, spec: InstrumentSpec) -> int:
    if order.quote_qty is None:
        if order.qty is None:
            raise ValueError("give a qty, or for a market order a quote_qty")
        return lots_of(order.qty, spec)
    if order.qty is not None:
        raise ValueError("give a qty or a quote_qty, not both")
    return 0


def _conditions(order: OrderRequest, spec: InstrumentSpec) -> dict[str, Any]:
    """The conditions that are there, as `commands.place_order` takes them."""
    unit, offset = trail_of(order.trail, order.trail_bps, spec)
    conditions: dict[str, Any] = {}
    if order.stop_price is not None:
        conditions["stop_price"] = ticks_of(order.stop_price, spec)
    if unit != TrailUnit.NONE:
        conditions |= {"trail_unit": unit, "trail_offset": offset}
    if order.display_qty is not None:
        conditions["display_qty"] = lots_of(order.display_qty, spec)
    if order.min_qty is not None:
        conditions["min_qty"] = lots_of(order.min_qty, spec)
    if order.expire_time_ns:
        conditions["expire_time_ns"] = order.expire_time_ns
    if order.quote_qty is not None:
        conditions["quote_qty"] = tick_lots_of(decimal(order.quote_qty), spec)
    if trigger_of(order.trigger_by):
        conditions["trigger_by"] = trigger_of(order.trigger_by)
    if order.hidden:
        conditions["hidden"] = True
    return conditions


def trail_of(
    trail: Amount | None, trail_bps: int | None, spec: InstrumentSpec
) -> tuple[TrailUnit, int]:
    """The unit and the offset of a trailing stop.

    Raises:
        Unfit: see `lots_of`.
        ValueError: both are given.
    """
    if trail is not None and trail_bps is not None:
        raise ValueError("a trail is a price or basis points, not both")
    if trail is not None:
        return TrailUnit.TICKS, ticks_of(trail, spec)
    if trail_bps is not None:
        return TrailUnit.BASIS_POINTS, trail_bps
    return TrailUnit.NONE, 0


def tick_lots_of(amount: Decimal, spec: InstrumentSpec) -> int:
    """An amount of money in ticks times lots.

    Raises:
        Unfit: it is less than one, or too much to say.
    """
    if not amount.is_finite() or amount.adjusted() > 60:
        raise Unfit(Reject.BAD_AMOUNT, f"{amount} is no amount of money.")
    units = spec.tick_lots(amount)
    if units <= 0:
        smallest = spec.notional(1)
        raise Unfit(Reject.BAD_AMOUNT, f"Amount {amount} is less than {smallest:f}.")
    return units


def change_fields(
    changes: Mapping[str, Any], symbol: str, specs: Mapping[str, InstrumentSpec]
) -> dict[str, int]:
    """What an amend changes, in ticks and lots.

    Raises:
        Unfit: no such instrument, or amounts between its ticks or lots.
    """
    fields: dict[str, int] = {}
    if "expire_time_ns" in changes:
        fields["expire_time_ns"] = changes["expire_time_ns"]
    if "trail_bps" in changes:
        if "trail" in changes:
            raise ValueError("a trail is a price or basis points, not both")
        fields["trail_offset"] = changes["trail_bps"]
    amounts = {
        "qty": ("order_qty", lots_of),
        "price": ("price", ticks_of),
        "stop_price": ("stop_price", ticks_of),
        "trail": ("trail_offset", ticks_of),
        "display_qty": ("display_qty", lots_of),
    }
    for name, (field, units_of) in amounts.items():
        if name in changes:
            fields[field] = units_of(changes[name], known_instrument(symbol, specs))
    return fields


def change_command(target: Mapping[str, Any], fields: Mapping[str, Any]) -> Command:
    """The amend that every node knows, where it can say what is to be changed."""
    if fields.keys() <= {"order_qty", "price"}:
        return c.amend_order(**target, **fields)
    return c.replace_order(**target, **fields)


def oto_command(
    order: OrderRequest, pending: OrderRequest | OrderPair, specs: Mapping[str, InstrumentSpec]
) -> Command:
    """The command of an order and of what is pending on it.

    Raises:
        Unfit: no instrument, or amounts between its ticks or lots.
        ValueError: they are of two instruments, or one of them is pegged, or what a pair cannot be.
    """
    symbol = pending.order.symbol if isinstance(pending, OrderPair) else pending.symbol
    if symbol != order.symbol:
        raise ValueError(f"one order is of {order.symbol}, what it triggers of {symbol}")
    working = order_command(order, specs)
    if isinstance(pending, OrderPair):
        return c.place_oto(working, pair_command(pending, specs))
    return c.place_oto(working, order_command(pending, specs))


def pair_command(pair: OrderPair, specs: Mapping[str, InstrumentSpec]) -> Command:
    """The command of a pair.

    Raises:
        Unfit: no instrument, or amounts between its ticks or lots.
        ValueError: it lacks a quantity or a price, or has what a pair cannot have.
    """
    order, stop_limit_price = pair.order, pair.stop_limit_price
    spec = known_instrument(order.symbol, specs)
    if order.qty is None or order.price is None:
        raise ValueError("a pair needs a qty and a price")
    if order.min_qty is not None or order.quote_qty is not None:
        raise ValueError("a pair has no min_qty and no quote_qty")
    if order.peg is not None or order.peg_offset is not None:
        raise ValueError("no order of a pair is pegged")
    unit, offset = trail_of(order.trail, order.trail_bps, spec)
    command = c.place_oco(
        order.symbol,
        Side[side_name(order.side)],
        lots_of(order.qty, spec),
        price=ticks_of(order.price, spec),
        stop_price=None if order.stop_price is None else ticks_of(order.stop_price, spec),
        stop_limit_price=None if stop_limit_price is None else ticks_of(stop_limit_price, spec),
        time_in_force=time_in_force_of(replace(order, ord_type=OrderType.LIMIT)),
        expire_time_ns=order.expire_time_ns,
        self_trade_prevention=order.self_trade_prevention,
        client_order_id=order.client_order_id,
        stop_client_order_id=pair.stop_client_order_id,
        post_only=PostOnly(int(order.post_only)),
        display_qty=0 if order.display_qty is None else lots_of(order.display_qty, spec),
        trail_unit=unit,
        trail_offset=offset,
        trigger_by=trigger_of(order.trigger_by),
        hidden=order.hidden,
    )
    return c.place_ouo(command) if pair.updates else command

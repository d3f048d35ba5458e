"""Results and views of orders, as documents and as lines for people.

Owns the wording. Must not know how an order was sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from raftbook.client.results import new_order_fields
from raftbook.client.units import side_name
from raftbook.client.values import OrderResult
from raftbook.client.views import OrderView
from raftbook.core.commands import Command

from .output.tables import render_table, rfc3339


def decimal_or_none(value: Decimal | None) -> str | None:
    """Decimal text without exponent; None stays None."""
    return None if value is None else f"{value:f}"


def result_document(result: OrderResult) -> dict[str, Any]:
    """The JSON shape of one order's result."""
    return {
        "order_id": result.order_id or None,
        "client_order_id": result.client_order_id,
        "symbol": result.symbol,
        "side": result.side,
        "ord_status": result.ord_status,
        "order_qty": decimal_or_none(result.order_qty),
        "cum_qty": decimal_or_none(result.cum_qty),
        "leaves_qty": decimal_or_none(result.leaves_qty),
        "avg_price": decimal_or_none(result.avg_price),
        "reject_code": result.reject_name or None,
        "text": result.text or None,
        "entry_index": result.entry_index or None,
        "term": result.term or None,
        "node_id": result.node_id or None,
        "leader_id": result.leader_id or None,
        "poss_dup": result.poss_dup,
        "trades": [
            {
                "trade_id": trade.trade_id,
                "price": f"{trade.price:f}",
                "qty": f"{trade.qty:f}",
                "maker_order_id": trade.maker_order_id,
                **({} if trade.fee is None else {"fee": f"{trade.fee:f}"}),
            }
            for trade in result.trades
        ],
        **_only_some_have(result),
    }


def _only_some_have(result: OrderResult) -> dict[str, Any]:
    """What most results have nothing to say about."""
    more: dict[str, Any] = {}
    if result.repriced:
        more["price"] = decimal_or_none(result.price)
    if result.released:
        more["released"] = True
    if result.triggered:
        more["triggered"] = True
    if result.stop_leg is not None:
        more["stop_leg"] = result_document(result.stop_leg)
    if result.pending:
        more["pending"] = [result_document(each) for each in result.pending]
    if result.replaced is not None:
        more["replaced"] = result_document(result.replaced)
    return more


def result_without_reply(command: Command, status: str, text: str) -> OrderResult:
    """The result of a command that no node answered, as far as the command tells."""
    order = new_order_fields(command)
    if order is None:
        return OrderResult(
            order_id=command[1], client_order_id=command[2], ord_status=status, text=text
        )
    symbol, side, _, client_order_id = order
    return OrderResult(
        client_order_id=client_order_id,
        symbol=symbol,
        side=side_name(side),
        ord_status=status,
        text=text,
    )


def result_text(result: OrderResult, *, price: Decimal | None, tick_size: Decimal | None) -> str:
    """The line about an order, and one for each of its trades."""
    head = f"order {result.order_id}" if result.order_id else "no order"
    if not result.order_id and result.client_order_id and not result.entry_index:
        head += f" ({result.client_order_id})"
    parts = [f"{head}  {result.ord_status}"]
    what = [result.side.lower(), _plain(result.order_qty), result.symbol]
    if price is not None:
        what.append(f"@ {_padded(price, tick_size)}")
    described = " ".join(part for part in what if part)
    if described:
        parts.append(described)
    if result.cum_qty and result.ord_status != "FILLED":
        parts.append(f"filled {_plain(result.cum_qty)}")
    if result.leaves_qty and result.cum_qty:
        parts.append(f"open {_plain(result.leaves_qty)}")
    if result.released:
        parts.append("released")
    if result.triggered:
        parts.append("triggered at once")
    if result.avg_price is not None:
        parts.append(f"avg {_rounded(result.avg_price, tick_size)}")
    if result.reject_name:
        parts.append(result.reject_name)
    lines = ["  ".join(parts) + _way(result)]
    rows = [
        (
            f"trade {trade.trade_id}",
            f"{_plain(trade.qty)} @ {trade.price:f}",
            f"maker order {trade.maker_order_id}" if trade.maker_order_id else "a hidden order",
        )
        for trade in result.trades
    ]
    widths = [max((len(row[column]) for row in rows), default=0) for column in (0, 1)]
    lines += [
        f"  {trade:<{widths[0]}}   {terms:<{widths[1]}}   {maker}" for trade, terms, maker in rows
    ]
    pending = [("then", each) for each in result.pending]
    for name, other in (("stop", result.stop_leg), *pending, ("instead of", result.replaced)):
        if other is not None:
            lines.append(f"  {name} {result_text(_beside(other), price=None, tick_size=None)}")
    return "\n".join(lines)


def _beside(result: OrderResult) -> OrderResult:
    """The same without the way, which another line has told."""
    return replace(result, entry_index=0)


def view_document(view: OrderView) -> dict[str, Any]:
    """The JSON shape of an order that a node was asked for."""
    return {
        "order_id": view.order_id,
        "client_order_id": view.client_order_id,
        "account": view.account,
        "symbol": view.symbol,
        "side": view.side,
        "ord_type": view.ord_type,
        "time_in_force": view.time_in_force,
        "post_only": view.post_only,
        "self_trade_prevention": view.self_trade_prevention,
        "ord_status": view.ord_status,
        "order_qty": f"{view.order_qty:f}",
        "price": decimal_or_none(view.price),
        "cum_qty": f"{view.cum_qty:f}",
        "leaves_qty": f"{view.leaves_qty:f}",
        "avg_price": decimal_or_none(view.avg_price),
        "resting": view.resting,
        "waiting": view.waiting,
        "reprice": view.reprice,
        "stop_price": decimal_or_none(view.stop_price),
        "trigger_by": view.trigger_by,
        "trail": _trail(view),
        "display_qty": decimal_or_none(view.display_qty),
        "shown_qty": decimal_or_none(view.shown_qty),
        "hidden": view.hidden,
        "min_qty": decimal_or_none(view.min_qty),
        "quote_qty": decimal_or_none(view.quote_qty),
        "expire_time": _time(view.expire_time_ns),
        "oco_order_id": view.oco_order_id or None,
        **_pending(view),
        **_peg(view),
        "entered": _time(view.entered_ns),
        "closed": _time(view.closed_ns),
        "session_id": view.session_id or None,
    }


def _pending(view: OrderView) -> dict[str, Any]:
    """What it triggers, or what triggers it; nothing of another order."""
    if not view.oto_order_id:
        return {}
    return {"oto_order_id": view.oto_order_id, "pending": view.pending}


def _trail(view: OrderView) -> str | None:
    return f"{view.trail_bps}bp" if view.trail_bps is not None else decimal_or_none(view.trail)


def _peg(view: OrderView) -> dict[str, str | None]:
    """What a pegged order follows; nothing of another order."""
    if view.peg is None:
        return {}
    offset, limit = decimal_or_none(view.peg_offset), decimal_or_none(view.limit_price)
    return {"peg": view.peg, "peg_offset": offset, "limit_price": limit}


def _time(time_ns: int) -> str | None:
    return rfc3339(time_ns) if time_ns else None


def _price_text(view: OrderView) -> str:
    """Its price, what it waits for, and whether another one must be filled before that."""
    price = "market" if view.price is None else f"{view.price:f}"
    if view.stop_price is not None and (view.waiting or view.pending):
        price += f" at {view.stop_price:f}"
    elif view.waiting:
        price += " at ?"
    return f"{price} pending" if view.pending else price


def views_table(views: Sequence[OrderView]) -> str:
    """Orders, one a row."""
    return render_table(
        ("ORDER", "STATUS", "SIDE", "SYMBOL", "QTY", "PRICE", "FILLED", "OPEN", "AVG", "CLIENT ID"),
        [
            (
                view.order_id,
                view.ord_status,
                view.side.lower(),
                view.symbol,
                _plain(view.order_qty),
                _price_text(view),
                _plain(view.cum_qty),
                _plain(view.leaves_qty),
                "-" if view.avg_price is None else _rounded(view.avg_price, view.price),
                view.client_order_id or "-",
            )
            for view in views
        ],
        right=("ORDER", "QTY", "PRICE", "FILLED", "OPEN", "AVG"),
    )


def _way(result: OrderResult) -> str:
    """Which way the order went: "(entry 12874, term 4, via node 1 -> leader 2, 1.6 ms)".

    Of an original result the term is not known any more.
    """
    if not result.entry_index:
        return ""
    via = f"via node {result.node_id}"
    if result.leader_id and result.leader_id != result.node_id:
        via += f" -> leader {result.leader_id}"
    again = ", original result" if result.poss_dup else ""
    place = f"entry {result.entry_index}"
    if result.term:
        place += f", term {result.term}"
    return f"  ({place}, {via}, {result.elapsed_ms:.1f} ms{again})"


def _plain(value: Decimal | None) -> str:
    """For people: without trailing zeros, "" for nothing."""
    if value is None:
        return ""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _padded(price: Decimal, like: Decimal | None) -> str:
    """A price in at least as many places as `like` has, never rounded."""
    rounded = _rounded(price, like) if like is not None else f"{price:f}"
    return rounded if Decimal(rounded) == price else f"{price:f}"


def _rounded(price: Decimal, like: Decimal | None) -> str:
    """A price in as many places as `like` has."""
    if like is None:
        return f"{price:.8g}"
    exponent = like.as_tuple().exponent
    assert isinstance(exponent, int), like
    return f"{price:.{max(0, -exponent)}f}"

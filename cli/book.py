"""`raftbook book`: the resting orders of one instrument, as a picture.

Owns the picture: bids left, asks right, cumulative totals on both sides. Must not know how the
levels were made.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from itertools import zip_longest
from typing import Any, Final

import click

from raftbook.client.views import BookLevel, BookOrder, BookView
from raftbook.wire.pages import ROWS_MAX

from .invocation import Invocation, network_options, pass_invocation
from .output.printer import Printer
from .watching import Picture
from .watching import watch as show_changes

WATCH_EVERY_S: Final = 0.25
STALE_MS: Final = 2_000

Row = tuple[str, str, str]
"""TOTAL, QTY, PRICE; or ORDER, QTY, PRICE."""

_BLANK: Final[Row] = ("", "", "")
_WIDTHS_MIN: Final = (8, 8, 10)


@click.command("book")
@click.argument("symbol")
@click.option(
    "--depth", type=click.IntRange(0, ROWS_MAX), default=10, show_default=True, help="0 is all."
)
@click.option("--orders", is_flag=True, help="Each order by itself, eldest first.")
@click.option("--linearizable", is_flag=True, help="Wait until the answer is certainly current.")
@click.option(
    "--at-least",
    type=click.IntRange(min=1),
    metavar="INDEX",
    help="Wait until the node has applied this entry: sees your own orders.",
)
@click.option(
    "--max-age",
    type=click.IntRange(min=0),
    metavar="SECONDS",
    help="How long ago the node may have heard of a leader. [default: read_age_max_ms]",
)
@click.option("--watch", is_flag=True, help="Again whenever it changes, until interrupted.")
@network_options
@pass_invocation
def book(
    invocation: Invocation,
    symbol: str,
    depth: int,
    orders: bool,
    linearizable: bool,
    at_least: int | None,
    max_age: int | None,
    watch: bool,
) -> None:
    """Show the book of SYMBOL.

    Bids stand left, asks right; totals add up from the best price.
    """
    invocation.goes_on = watch
    printer = invocation.printer
    max_age_ms = None if max_age is None else max_age * 1_000
    with invocation.connect() as client:

        def look() -> Picture:
            view = client.book(
                symbol,
                depth,
                orders=orders,
                at_least=at_least,
                linearizable=linearizable,
                max_age_ms=max_age_ms,
            )
            # applied_index moves with every entry, and says nothing about this book.
            state = (view.feed_seq, view.phase, view.age_ms > STALE_MS)
            return Picture(state, book_document(view), lambda: book_picture(view, printer))

        if watch:
            show_changes(invocation, look, every_s=WATCH_EVERY_S)
        _, document, text = look()
        printer.show(document, table=text)


def book_document(view: BookView) -> dict[str, Any]:
    """The JSON shape of a book."""
    document: dict[str, Any] = {
        "symbol": view.symbol,
        "bids": _level_documents(view.bids),
        "asks": _level_documents(view.asks),
        "feed_seq": view.feed_seq,
        "applied_index": view.applied_index,
        "node_id": view.node_id,
        "last_price": None if view.last_price is None else f"{view.last_price:f}",
        "phase": view.phase,
        "age_ms": view.age_ms,
    }
    for name in ("bid_orders", "ask_orders"):
        resting: Sequence[BookOrder] | None = getattr(view, name)
        if resting is not None:
            document[name] = [
                {
                    "order_id": order.order_id,
                    "price": f"{order.price:f}",
                    "leaves_qty": f"{order.leaves_qty:f}",
                }
                for order in resting
            ]
    return document


def book_picture(view: BookView, printer: Printer) -> str:
    """Bids and asks beside each other, best prices in the first row."""
    by_order = view.bid_orders is not None
    if view.bid_orders is not None and view.ask_orders is not None:
        places = _places([order.leaves_qty for order in (*view.bid_orders, *view.ask_orders)])
        bids, asks = _order_rows(view.bid_orders, places), _order_rows(view.ask_orders, places)
    else:
        levels = (*view.bids, *view.asks)
        places = _places([amount for each in levels for amount in (each.qty, each.total)])
        bids, asks = _level_rows(view.bids, places), _level_rows(view.asks, places)
    heading: Row = ("ORDER" if by_order else "TOTAL", "QTY", "PRICE")
    widths = [
        max(least, *(len(row[column]) for row in (heading, *bids, *asks)))
        for column, least in enumerate(_WIDTHS_MIN)
    ]
    price_width = max(len(row[2]) for row in (heading, *asks))
    lines = [_side_by_side(heading, heading, widths, price_width, None)]
    for bid, ask in zip_longest(bids, asks, fillvalue=_BLANK):
        lines.append(_side_by_side(bid, ask, widths, price_width, printer))
    if not bids and not asks:
        lines.append("(no orders)")
    return "\n".join([_title(view, len(lines[0])), *lines])


def _title(view: BookView, width: int) -> str:
    left = f"{view.symbol}  feed_seq {view.feed_seq}  applied {view.applied_index}"
    left += f"  node {view.node_id}"
    if view.phase != "CONTINUOUS":
        left += f"  {view.phase}"
    if view.age_ms > STALE_MS:
        left += f"  STALE {view.age_ms / 1000:.1f} s"
    last = "last -" if view.last_price is None else f"last {view.last_price:f}"
    return left + "  " + last.rjust(max(0, width - len(left) - 2))


def _side_by_side(
    bid: Row, ask: Row, widths: Sequence[int], price_width: int, printer: Printer | None
) -> str:
    left = "".join(cell.rjust(width) for cell, width in zip(bid, widths, strict=True))
    ask_price = ask[2].ljust(price_width)
    right = f"{ask_price}{ask[1].rjust(widths[1] + 1)}{ask[0].rjust(widths[0] + 2)}"
    if printer is None or not printer.colour:
        return f"{left}  |  {right}".rstrip()
    return f"{printer.paint(left, 'green')}  |  {printer.paint(right.rstrip(), 'red')}"


def _level_rows(levels: Sequence[BookLevel], places: int) -> list[Row]:
    return [
        (f"{level.total:.{places}f}", f"{level.qty:.{places}f}", f"{level.price:f}")
        for level in levels
    ]


def _order_rows(orders: Sequence[BookOrder], places: int) -> list[Row]:
    return [
        (str(order.order_id), f"{order.leaves_qty:.{places}f}", f"{order.price:f}")
        for order in orders
    ]


def _places(amounts: Sequence[Decimal]) -> int:
    """How many decimal places are needed so that none of them is rounded."""
    places = 0
    for amount in amounts:
        text = f"{amount:f}".rstrip("0")
        places = max(places, len(text.partition(".")[2]))
    return places


def _level_documents(levels: Sequence[BookLevel]) -> list[dict[str, Any]]:
    return [
        {
            "price": f"{level.price:f}",
            "qty": f"{level.qty:f}",
            "total": f"{level.total:f}",
            "orders": level.orders,
        }
        for level in levels
    ]

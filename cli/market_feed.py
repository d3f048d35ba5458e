"""`raftbook feed`: what the market sees of an instrument, as it happens.

Owns the verb and the names of a message's fields. Must not know how a stream survives its node.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import click

from raftbook.client import Client
from raftbook.client.values import InstrumentSpec
from raftbook.client.views import BookView
from raftbook.core.types import Phase, Side

from .book import book_document
from .invocation import Invocation, network_options, pass_invocation
from .lookup import known_spec
from .naming import fields_text
from .naming_fields import name_of
from .output.tables import rfc3339

_FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "add": ("order_id", "side", "price", "qty"),
    "trade": ("maker_order_id", "price", "qty", "trade_id", "taker_side", "maker_leaves_qty"),
    "reduce": ("order_id", "side", "price", "leaves_qty"),
    "delete": ("order_id", "side", "price", "qty"),
    "phase": ("phase",),
    "cross": (
        "price", "qty", "trade_id", "buy_order_id", "buy_price", "buy_leaves_qty",
        "sell_order_id", "sell_price", "sell_leaves_qty",
    ),
    "uncross": ("price", "volume_qty", "imbalance_qty"),
    "bust": ("trade_id", "price", "qty"),
}  # fmt: skip
"""Names of what stands behind the kind of a message; see `raftbook/feed/messages.py`."""
_QUIET: Final = frozenset(("feed_seq", "entry_index", "time", "time_ns", "kind"))


@click.command("feed")
@click.argument("symbol")
@click.option(
    "--as",
    "form",
    type=click.Choice(("orders", "levels", "best")),
    default="orders",
    show_default=True,
    help="Order by order, the price levels after each change, or the best prices.",
)
@click.option(
    "--depth", type=click.IntRange(1, 1_000), default=10, show_default=True, help="Of levels."
)
@click.option(
    "--from",
    "since",
    type=click.IntRange(min=1),
    metavar="FEED_SEQ",
    help="Of orders: begin with this message, if it is kept.",
)
@network_options
@pass_invocation
def feed(invocation: Invocation, symbol: str, form: str, depth: int, since: int | None) -> None:
    """Follow the market in SYMBOL, until interrupted.

    Begins with what there is. Of an iceberg, what it shows. Levels are proved by the node's
    checksum.
    """
    if since is not None and form != "orders":
        raise click.UsageError("--from goes with --as orders")
    invocation.goes_on = True
    printer = invocation.printer
    with invocation.connect() as client:
        spec = known_spec(client, symbol)
        if form == "orders":
            documents = _orders(client, symbol, since, spec)
        elif form == "levels":
            documents = _levels(client, symbol, depth, spec)
        else:
            documents = _best(client, symbol, spec)
        for document in documents:
            if printer.is_table:
                print(_line(document), flush=True)
            else:
                printer.line(document)


def _orders(
    client: Client, symbol: str, since: int | None, spec: InstrumentSpec
) -> Iterator[dict[str, Any]]:
    for message in client.subscribe("feed", symbol=symbol, from_seq=since):
        if message[0] == "refresh":
            yield {"kind": "refresh", **book_document(BookView.from_wire(message[1], spec))}
        else:
            if message[3] == "amended":
                spec = known_spec(client, symbol)
            yield message_document(message, spec)


def message_document(message: Sequence[Any], spec: InstrumentSpec) -> dict[str, Any]:
    """A message of the order-by-order feed, named; prices and quantities as decimals."""
    feed_seq, index, time_ns, kind, *fields = message
    named: dict[str, Any] = {"feed_seq": feed_seq, "entry_index": index}
    named |= {"time": rfc3339(time_ns), "time_ns": time_ns, "kind": kind}
    for name, value in zip(_FIELDS.get(kind, ()), fields, strict=False):
        named[name] = _said(name, value, spec)
    return named


def _said(name: str, value: Any, spec: InstrumentSpec) -> Any:
    if value is None:
        return None
    if name.endswith("price"):
        return f"{spec.price(value):f}"
    if name.endswith("qty"):
        return f"{spec.qty(value):f}"
    if name.endswith("side"):
        return name_of(Side, value)
    return name_of(Phase, value) if name == "phase" else value


def _levels(
    client: Client, symbol: str, depth: int, spec: InstrumentSpec
) -> Iterator[dict[str, Any]]:
    for book in client.depth(symbol):
        if book.is_deleted:
            yield {"kind": "deleted", "symbol": symbol, "feed_seq": book.feed_seq}
            continue
        document = book_document(book.view(spec, depth))
        del document["node_id"], document["age_ms"]
        yield {**document, "checksum": book.checksum()}


def _best(client: Client, symbol: str, spec: InstrumentSpec) -> Iterator[dict[str, Any]]:
    names = ("bid_price", "bid_qty", "ask_price", "ask_qty")
    for value in client.subscribe("top", symbol=symbol):
        if value[0] == "deleted":
            yield {"kind": "deleted", "symbol": symbol, "feed_seq": value[1]}
            continue
        feed_seq, index, time_ns, *best = value
        time = None if time_ns is None else rfc3339(time_ns)
        named = {name: _said(name, each, spec) for name, each in zip(names, best, strict=True)}
        yield {"feed_seq": feed_seq, "entry_index": index, "time": time, **named}


def _line(document: Mapping[str, Any]) -> str:
    """One document on one line, for people."""
    seq = f"{document['feed_seq']:>8}"
    if "bids" in document:
        bids, asks = (_side(document[side]) for side in ("bids", "asks"))
        return f"{seq}  {bids or 'no bids'}  |  {asks or 'no asks'}"
    if "bid_qty" in document:
        bid = _at(document["bid_qty"], document["bid_price"], "no bids")
        return f"{seq}  {bid}  |  {_at(document['ask_qty'], document['ask_price'], 'no asks')}"
    time = document.get("time", "")
    return f"{seq}  {time}  {document['kind']:<8} {fields_text(document, _QUIET)}".rstrip()


def _side(levels: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(_at(level["qty"], level["price"], "") for level in levels)


def _at(qty: str, price: str | None, nothing: str) -> str:
    return nothing if price is None else f"{qty} @ {price}"

"""`/v1/book/SYMBOL` and `/v1/log`: a book and the log, for people, scripts and auditors.

Owns both documents. Whoever reads them is nobody: an entry shows what the market may know of it
(`feed/messages.py`), and of everything else its kind and, for a refusal, the reason; never an
account, a client's own id or what an iceberg hides. An operator who signs gets events whole.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from raftbook.core import events as e
from raftbook.core.book import Book
from raftbook.core.events import Event
from raftbook.core.types import Phase, Reject, Side
from raftbook.feed.messages import public_view, symbol_of
from raftbook.gateway.arguments import INDEX_MAX
from raftbook.gateway.market_queries import levels
from raftbook.ops.event_names import EVENT_NAMES
from raftbook.replica.machine import Applied
from raftbook.web.asking import answer_in_turn
from raftbook.web.binance.faults import Fault
from raftbook.web.binance.keys import signed_bytes, signer
from raftbook.web.binance.params import read_params
from raftbook.web.context import WebContext
from raftbook.web.decimals import unit

DEPTH_MAX: Final = 1_000
ENTRIES_MAX: Final = 200
"""Entries on one page of the log."""
EVENTS_MAX: Final = 1_000
"""Events on one page of the log; an entry with more of them shows its first ones."""

_FIELDS: Final[dict[str, tuple[str, ...]]] = {
    "add": ("order_id", "side", "price", "qty"),
    "reduce": ("order_id", "side", "price", "qty"),
    "delete": ("order_id", "side", "price", "qty"),
    "trade": ("maker_order_id", "price", "qty", "trade_id", "taker_side", "maker_leaves_qty"),
    "cross": (
        "price", "qty", "trade_id", "buy_order_id", "buy_price", "buy_leaves_qty",
        "sell_order_id", "sell_price", "sell_leaves_qty",
    ),
    "uncross": ("price", "volume", "imbalance"),
    "bust": ("trade_id", "price", "qty"),
    "phase": ("phase",),
}  # fmt: skip
"""What stands in a message of the feed behind its kind."""
_PRICES: Final = frozenset(("price", "buy_price", "sell_price"))
_QTYS: Final = frozenset(
    ("qty", "maker_leaves_qty", "buy_leaves_qty", "sell_leaves_qty", "volume", "imbalance")
)
_NO_STORE: Final = {"cache-control": "no-store"}
NOT_FOR_YOU: Final = -2015
"""Binance's code for a key without the permission."""


class BadRequest(Exception):
    """A parameter that cannot be; the message says which and what may be written instead."""


def routes(context: WebContext) -> list[BaseRoute]:
    """Both routes."""

    async def book(request: Request) -> Response:
        symbol = request.path_params["symbol"]
        if symbol not in context.queries.exchange.books:
            return _unknown(symbol)
        try:
            depth = _natural(request, "depth", 10, low=1, high=DEPTH_MAX)
        except BadRequest as error:
            return _refusal(400, "malformed", str(error))

        def piece() -> Response:
            if symbol not in context.queries.exchange.books:
                return _unknown(symbol)
            return JSONResponse(book_document(context, symbol, depth), headers=_NO_STORE)

        return await answer_in_turn(request, context.clients.pace, piece)

    async def log(request: Request) -> Response:
        try:
            first = _natural(request, "from", 0, low=0, high=INDEX_MAX)
            limit = _natural(request, "limit", 50, low=1, high=ENTRIES_MAX)
        except BadRequest as error:
            return _refusal(400, "malformed", str(error))
        try:
            is_whole = _is_for_operator(context, request)
        except Fault as fault:
            return JSONResponse(fault.document(), fault.status, headers=_NO_STORE)

        def piece() -> Response:
            document = log_document(context, first=first, limit=limit, is_whole=is_whole)
            return JSONResponse(document, headers=_NO_STORE)

        return await answer_in_turn(request, context.clients.pace, piece)

    return [Route("/v1/book/{symbol}", book), Route("/v1/log", log)]


def book_document(context: WebContext, symbol: str, depth: int) -> dict[str, Any]:
    """The best levels of a book, prices and quantities as text, with running totals."""
    book: Book = context.queries.exchange.books[symbol]
    head = context.queries.book_head(book)
    tick = unit(book.terms.tick_size)
    last = head["last_price"]
    return {
        "schema": "raftbook/v1",
        **head,
        "last_price": None if last is None else tick.text(last),
        "phase": Phase(book.phase).name.lower(),
        "bids": _rows(book, levels(book.bids, depth)),
        "asks": _rows(book, levels(book.asks, depth)),
    }


def _rows(book: Book, rows: Iterable[tuple[int, int, int]]) -> list[dict[str, Any]]:
    tick, lot = unit(book.terms.tick_size), unit(book.terms.lot_size)
    total = 0
    told = []
    for price, qty, orders in rows:
        total += qty
        told.append(
            {
                "price": tick.text(price),
                "qty": lot.text(qty),
                "total": lot.text(total),
                "orders": orders,
            }
        )
    return told


def _is_for_operator(context: WebContext, request: Request) -> bool:
    """Whether an operator signed this; what nobody signed is for everybody.

    Raises:
        Fault: the signature is wrong, or not an operator's.
    """
    key = request.headers.get("x-mbx-apikey")
    if key is None:
        return False
    query = request.scope["query_string"]
    account = signer(
        context.queries.exchange,
        context.secrets,
        key,
        read_params(query, b""),
        signed_bytes(query, b""),
        context.wall_ns() // 1_000_000,
    )
    if not account.is_operator:
        raise Fault(403, NOT_FOR_YOU, "This is for operators.")
    return True


def log_document(
    context: WebContext, *, first: int, limit: int, is_whole: bool = False
) -> dict[str, Any]:
    """A page of the last entries, eldest first; from the newest ones when `first` is 0.

    Args:
        is_whole: also each event as it is, with all that it names.
    """
    recent = context.queries.recent
    if first:
        wanted = [applied for applied in recent if applied.index >= first][:limit]
    else:
        wanted = [recent[at] for at in range(max(0, len(recent) - limit), len(recent))]
    entries: list[dict[str, Any]] = []
    room = EVENTS_MAX
    for applied in wanted if first else reversed(wanted):
        entry = _entry(context, applied, room if not entries else EVENTS_MAX, is_whole=is_whole)
        room -= max(1, len(entry["events"]))
        if room < 0 and entries:
            break
        entries.append(entry)
    if not first:
        entries.reverse()
    return {
        "schema": "raftbook/v1",
        "node_id": context.replica.node_id,
        "first_kept": recent[0].index if recent else 0,
        "applied_index": context.queries.applied_index,
        "next": entries[-1]["index"] + 1 if entries else max(first, 1),
        "entries": entries,
    }


def _entry(
    context: WebContext, applied: Applied, events_max: int, *, is_whole: bool
) -> dict[str, Any]:
    events = [
        event
        for reply in applied.replies
        if not reply[5]
        for event in reply[4]
        if is_whole or event[1] or event[0] != e.RESTED  # only what is hidden rests unseen
    ]
    return {
        "index": applied.index,
        "term": applied.term,
        "time": _rfc3339(applied.time_ns),
        "time_ns": applied.time_ns,
        "requests": len(applied.replies),
        "event_count": len(events),
        "events": [
            _event(context, event) | ({"whole": event} if is_whole else {})
            for event in events[:events_max]
        ],
    }


def _event(context: WebContext, event: Event) -> dict[str, Any]:
    """What anybody may know of an event."""
    told: dict[str, Any] = {"event": EVENT_NAMES[event[0]]}
    if event[0] in (e.REJECTED, e.CANCEL_REJECTED):
        return told | {"reason": Reject(event[2]).name.lower()}
    if not event[1]:
        return told
    symbol = symbol_of(event)
    kind, *values = public_view(event)
    told |= {"symbol": symbol, "feed_seq": event[1], "kind": kind}
    book = context.queries.exchange.books.get(symbol)
    for name, value in zip(_FIELDS.get(kind, ()), values, strict=False):
        told[name] = _said(name, value, book)
    return told


def _said(name: str, value: Any, book: Book | None) -> Any:
    """A field for people; ticks and lots stay numbers where the instrument is gone."""
    if value is None:
        return None
    if name in ("side", "taker_side"):
        return Side(value).name.lower() if value else None
    if name == "phase":
        return Phase(value).name.lower()
    if book is not None and name in _PRICES:
        return unit(book.terms.tick_size).text(value)
    if book is not None and name in _QTYS:
        return unit(book.terms.lot_size).text(value)
    return value


def _natural(request: Request, name: str, default: int, *, low: int, high: int) -> int:
    text = request.query_params.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 20 and low <= int(text) <= high):
        raise BadRequest(f"{name} must be a whole number from {low} to {high}")
    return int(text)


def _unknown(symbol: str) -> Response:
    return _refusal(404, "unknown_instrument", f"no instrument {symbol[:64]!r}")


def _refusal(status: int, error: str, message: str) -> Response:
    document = {"schema": "raftbook/v1", "error": error, "message": message}
    return JSONResponse(document, status, headers=_NO_STORE)


def _rfc3339(time_ns: int) -> str:
    seconds, rest = divmod(time_ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest // 1_000:06d}Z"

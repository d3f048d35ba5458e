"""`raftbook trades` and `raftbook events`: what happened, and what happens now.

Owns the two verbs. Must not know how a subscription survives the loss of its node.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

import click

from raftbook.client import Client
from raftbook.client.values import InstrumentSpec
from raftbook.client.views import AUCTION, MarketTrade
from raftbook.core.events import ACCEPTED, SESSION_OPENED, UNASKED
from raftbook.wire.pages import ROWS_MAX

from .administration import administer, show_done
from .groups import DefaultVerbGroup
from .invocation import Invocation, network_options, pass_invocation
from .lookup import known_spec
from .naming import event_document, event_symbol, fields_text
from .output.printer import Printer, say
from .output.tables import render_table, rfc3339

ENTRIES_DEFAULT: Final = 20
ORDERS_KNOWN_MAX: Final = 100_000
"""Names of orders that `events -f` remembers."""

_COLOURS: Final = {"BUY": "green", "SELL": "red"}
_TRADE_HEADERS: Final = ("TIME", "TRADE", "SIDE", "QTY", "PRICE", "MAKER", "TAKER", "ENTRY")


@click.group("trades", cls=DefaultVerbGroup)
def trades() -> None:
    """Show the last trades of SYMBOL; undo one (operators).

    \b
    raftbook trades BTC-USD -n 5
    raftbook trades bust BTC-USD 17
    """


@trades.command("show")
@click.argument("symbol")
@click.option("-n", "limit", type=click.IntRange(1, ROWS_MAX), default=20, show_default=True)
@click.option("-f", "--follow", is_flag=True, help="Go on with new ones, until interrupted.")
@network_options
@pass_invocation
def show_trades(invocation: Invocation, symbol: str, limit: int, follow: bool) -> None:
    """Show the last trades of SYMBOL.

    Eldest first; SIDE is that of the order which came in, AUCTION where orders had gathered.
    """
    invocation.goes_on = follow
    printer = invocation.printer
    with invocation.connect() as client:
        spec = known_spec(client, symbol)
        # Taken before the trades: what happens in between comes twice, never not at all.
        seen = client.book(symbol, 1)
        view = client.trades(symbol, limit)
        documents = [trade_document(symbol, trade) for trade in view.trades]
        if not follow:
            printer.show(
                {"symbol": symbol, "applied_index": view.applied_index, "trades": documents},
                table=lambda: trades_table(documents),
                items="trades",
            )
            return
        _print_trades(printer, documents)
        last = view.trades[-1].trade_id if view.trades else 0
        where = {"from_seq": seen.feed_seq + 1, "from_index": seen.applied_index}
        for message in client.subscribe("feed", symbol=symbol, **where):
            if message[3:] == ("deleted",):
                last = 0  # an instrument that gets its symbol counts its trades anew
            document = _trade_of_feed(symbol, message, spec)
            if document is not None and document["trade_id"] > last:
                last = document["trade_id"]
                _print_trades(printer, [document])


@trades.command("bust")
@click.argument("symbol")
@click.argument("trade_id", type=click.IntRange(min=1))
@network_options
@pass_invocation
def bust(invocation: Invocation, symbol: str, trade_id: int) -> None:
    """Undo a trade that is still remembered: money, fees and filled quantities (operators)."""
    with invocation.connect() as client:
        spec = known_spec(client, symbol)
    result = administer(
        invocation, lambda client: client.bust_trade(symbol, trade_id), symbol=symbol
    )
    details = dict(result.details)
    price, qty = f"{spec.price(details['price']):f}", f"{spec.qty(details['qty']):f}"
    document = {**details, "price": price, "qty": qty}
    show_done(invocation, result, document, f"trade {trade_id} is undone: {qty} @ {price}")


def trade_document(symbol: str, trade: MarketTrade) -> dict[str, Any]:
    """The JSON shape of a trade."""
    return {
        "trade_id": trade.trade_id,
        "symbol": symbol,
        "price": f"{trade.price:f}",
        "qty": f"{trade.qty:f}",
        "taker_side": trade.taker_side,
        "time": rfc3339(trade.time_ns),
        "time_ns": trade.time_ns,
        "entry_index": trade.entry_index,
        "maker_order_id": trade.maker_order_id,
        "taker_order_id": trade.taker_order_id,
    }


def trades_table(documents: Sequence[Mapping[str, Any]]) -> str:
    """Trades, one a row."""
    if not documents:
        return "no trades"
    return render_table(
        _TRADE_HEADERS,
        [_trade_row(document) for document in documents],
        right=("TRADE", "QTY", "PRICE", "MAKER", "TAKER", "ENTRY"),
    )


def _trade_row(document: Mapping[str, Any]) -> tuple[Any, ...]:
    taker = document["taker_order_id"]
    return (
        document["time"],
        document["trade_id"],
        document["taker_side"].lower(),
        document["qty"],
        document["price"],
        document["maker_order_id"],
        "-" if taker is None else taker,
        document["entry_index"],
    )


def _print_trades(printer: Printer, documents: Sequence[Mapping[str, Any]]) -> None:
    """Trades that come one by one, so no column can be as wide as its widest cell."""
    for document in documents:
        if printer.is_table:
            colour = _COLOURS.get(document["taker_side"], "yellow")
            what = f"{document['qty']} @ {document['price']}"
            side = document["taker_side"].lower()
            line = f"{document['time']}  trade {document['trade_id']}  {side:<4}  {what}"
            print(printer.paint(line, colour), flush=True)
        else:
            printer.line(document)


def _trade_of_feed(
    symbol: str, message: Sequence[Any], spec: InstrumentSpec
) -> dict[str, Any] | None:
    """A feed message as a trade; None for the others, the book as a whole included."""
    if len(message) < 4 or message[3] not in ("trade", "cross"):
        return None
    _, index, time_ns, kind, *fields = message
    taker_order_id: int | None = None  # the public feed does not tell who took
    if kind == "trade":
        maker_order_id, price, qty, trade_id, taker_side, _ = fields
    else:  # in an auction both stood there: buy and sell
        price, qty, trade_id, maker_order_id, _, _, taker_order_id, _, _ = fields
        taker_side = 0
    return {
        "trade_id": trade_id,
        "symbol": symbol,
        "price": f"{spec.price(price):f}",
        "qty": f"{spec.qty(qty):f}",
        "taker_side": "BUY" if taker_side == 1 else "SELL" if taker_side else AUCTION,
        "time": rfc3339(time_ns),
        "time_ns": time_ns,
        "entry_index": index,
        "maker_order_id": maker_order_id,
        "taker_order_id": taker_order_id,
    }


# -- events -----------------------------------------------------------------------------------


@click.command("events")
@click.argument("symbol", required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on with new ones, until interrupted.")
@click.option(
    "--from", "first", type=click.IntRange(min=1), metavar="INDEX", help="Begin at this entry."
)
@click.option(
    "-n",
    "limit",
    type=click.IntRange(1, ROWS_MAX),
    default=ENTRIES_DEFAULT,
    show_default=True,
    help="How many entries.",
)
@network_options
@pass_invocation
def events(
    invocation: Invocation, symbol: str | None, follow: bool, first: int | None, limit: int
) -> None:
    """Show what entries of the log did.

    All accounts' orders are among them, so this is for operators.
    """
    invocation.goes_on = follow
    printer = invocation.printer
    with invocation.connect() as client:
        instruments = client.instruments()
        if symbol is not None:
            known_spec(client, symbol)
        if follow:
            answer = client.query("events", limit=1)
            first = answer["applied_index"] + 1 if first is None else _kept(first, answer)
            known = _KnownOrders()
            for entry in client.subscribe("entries", from_index=first):
                if _has_unknown_instrument(entry, instruments):
                    instruments = client.instruments()
                for document in known.documents(entry, instruments, symbol):
                    _print_event(printer, document)
            return
        # Of an instrument, the entries that concern it are wanted: look through all that is kept.
        asked = limit if symbol is None else ROWS_MAX
        answer, entries = _entries(client, first or 0, asked)
    if first is not None:
        _kept(first, answer)
    known = _KnownOrders()
    told = [known.documents(entry, instruments, symbol) for entry in entries]
    # An entry's pages stand beside each other.
    indexes = sorted({each[0]["entry_index"] for each in told if each})
    chosen = set(indexes[:limit] if first is not None else indexes[-limit:])
    documents = [each for page in told for each in page if each["entry_index"] in chosen]
    printer.show(
        {
            "first_kept": answer["first_kept"],
            "applied_index": answer["applied_index"],
            "events": documents,
        },
        table=lambda: "\n".join(map(event_line, documents)) or "no events",
        items="events",
    )


def _kept(first: int, answer: Mapping[str, Any]) -> int:
    """The first wanted entry that can be had; says so when some before it cannot."""
    first_kept = int(answer["first_kept"])
    if first < first_kept:
        say(
            f"the node keeps no entries before {first_kept} (or they were Raft's own); "
            "older ones are shown by: raftbook log dump DIR"
        )
    return max(first, first_kept)


def _entries(client: Client, first: int, limit: int) -> tuple[Mapping[str, Any], list[Any]]:
    """The first answer about so many entries, and their pages, however many answers they take."""
    answer = following = client.query("events", from_index=first, limit=limit)
    entries = list(answer["entries"])
    while following["next"] is not None:
        index, page = following["next"]
        left = limit - len({entry[0] for entry in entries} - {index})
        following = client.query("events", from_index=index, from_page=page, limit=left)
        if not following["entries"]:
            break  # no longer kept
        entries += following["entries"]
    return answer, entries


class _KnownOrders:
    """The instruments of the orders that events have told about: an amend names an order only."""

    def __init__(self) -> None:
        # By order_id, and by account and client_order_id; at most ORDERS_KNOWN_MAX.
        self._symbols: dict[int | tuple[str, str], str] = {}
        self._accounts: dict[int, str] = {}  # by session_id

    def documents(
        self, entry: Sequence[Any], instruments: Mapping[str, InstrumentSpec], symbol: str | None
    ) -> list[dict[str, Any]]:
        """The events of one page of an entry, of one instrument if asked; repeated replies are
        left out."""
        index, term, time_ns, replies, _, _ = entry
        documents = []
        for session_id, request_seq, _, offset, replied, poss_dup in replies:
            if poss_dup:
                continue
            for number, event in enumerate(replied):
                self._learn(session_id, event)
                if symbol is None or event_symbol(event) == symbol:
                    symbol_of = partial(self._symbol_of, session_id)
                    documents.append(
                        {
                            "entry_index": index,
                            "term": term,
                            "time": rfc3339(time_ns),
                            "time_ns": time_ns,
                            "event_offset": offset + number,
                            "session_id": session_id,
                            "request_seq": None if request_seq == UNASKED else request_seq,
                            **event_document(event, instruments, symbol_of),
                        }
                    )
        return documents

    def _learn(self, session_id: int, event: Sequence[Any]) -> None:
        if event[0] == SESSION_OPENED:
            self._accounts[event[2]] = event[3]
        elif event[0] == ACCEPTED:
            order_id, account, client_order_id, symbol = event[2][:4]
            self._accounts[session_id] = account
            self._symbols[order_id] = self._symbols[account, client_order_id] = symbol
        while len(self._symbols) > ORDERS_KNOWN_MAX:
            del self._symbols[next(iter(self._symbols))]
        while len(self._accounts) > ORDERS_KNOWN_MAX:
            del self._accounts[next(iter(self._accounts))]

    def _symbol_of(self, session_id: int, order_id: int, client_order_id: str) -> str | None:
        if order_id:
            return self._symbols.get(order_id)
        return self._symbols.get((self._accounts.get(session_id, ""), client_order_id))


_QUIET: Final = frozenset(
    {"entry_index", "term", "time", "time_ns", "event_offset", "session_id", "request_seq",
     "event", "feed_seq"}
)  # fmt: skip


def event_line(document: Mapping[str, Any]) -> str:
    """An event on one line: where, what, and every field that says something."""
    place = f"{document['entry_index']}.{document['event_offset']}"
    return f"{place:<10} {document['event']:<18} {fields_text(document, _QUIET)}".rstrip()


def _print_event(printer: Printer, document: Mapping[str, Any]) -> None:
    if printer.is_table:
        print(event_line(document), flush=True)
    else:
        printer.line(document)


def _has_unknown_instrument(
    entry: Sequence[Any], instruments: Mapping[str, InstrumentSpec]
) -> bool:
    """Whether an event is about an instrument that was added since they were asked for."""
    symbols = {event_symbol(event) for reply in entry[3] for event in reply[4]}
    return not symbols <= {None, *instruments}

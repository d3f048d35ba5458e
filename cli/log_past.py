"""`raftbook log book`, `order` and `balances`: what was, from a stopped node's directory.

Owns these verbs. Must not know files: `data_directory.py`, nor how a book is drawn: `book.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from raftbook.client.views import BookView
from raftbook.core import commands as c
from raftbook.core import events as e
from raftbook.core.events import Event
from raftbook.core.exchange import Exchange
from raftbook.wire.pages import ROWS_MAX

from .book import book_document, book_picture
from .invocation import Invocation, common_options, pass_invocation
from .log_entries import EntryReader, specs_of, symbols_of
from .log_source import (
    directory_argument,
    exchange_at,
    genesis_for,
    index_option,
    name_and_directory,
    open_directory,
    say_skipped,
)
from .naming import event_document, fields_text
from .outcomes import CommandFailed, ExitCode
from .output.printer import say
from .output.tables import render_table, rfc3339

if TYPE_CHECKING:
    from raftbook.replica.machine import Applied

_SPEAKS_OF_BOTH: Final = {e.TRADE: (5, 9), e.AUCTION_TRADE: (5, 9), e.TRADE_BUSTED: (6, 7)}
"""Where the terms of both orders stand in an event."""
_ABOUT_AN_ORDER: Final = frozenset(
    (e.ACCEPTED, e.RESTED, e.CANCELED, e.EXPIRED, e.REPLACED, e.RESTATED, e.TRIGGERED,
     e.REFILLED, e.REPRICED)
)  # fmt: skip
_NAMES_AN_ORDER: Final = frozenset(
    (c.CANCEL_ORDER, c.AMEND_ORDER, c.REPLACE_ORDER, c.CANCEL_REPLACE)
)


@click.command("book")
@click.argument("symbol")
@directory_argument
@index_option("--at", says="After this entry. [default: the last]")
@click.option(
    "--depth", type=click.IntRange(0, ROWS_MAX), default=10, show_default=True, help="0 is all."
)
@click.option("--orders", is_flag=True, help="Each order by itself, eldest first.")
@common_options
@pass_invocation
def book(
    invocation: Invocation,
    symbol: str,
    directory: Path,
    at: int | None,
    depth: int,
    orders: bool,
) -> None:
    """Show the book of SYMBOL as it was.

    What the market saw then: of an iceberg, its slice.
    """
    # Here and not above: it loads Raft, which no other verb of a plain client needs.
    from raftbook.gateway.market_queries import book_rows

    source, exchange, index = exchange_at(invocation, directory, at)
    found = exchange.books.get(symbol)
    if found is None:
        known = ", ".join(exchange.books) or "none"
        raise CommandFailed(
            ExitCode.REFUSED, f"no instrument {symbol} at index {index}", hint=f"known: {known}"
        )
    head = {
        "symbol": symbol,
        "feed_seq": found.feed_seq,
        "applied_index": index,
        "node_id": source.identity.node_id,
        "last_price": found.last_price,
        "phase": found.phase,
        "age_ms": 0,
    }
    rows = book_rows(found, {"depth": depth, "orders": orders})
    view = BookView.from_wire({**head, **rows}, specs_of(exchange)[symbol])
    document = book_document(view) | {"time": rfc3339(exchange.now_ns)}
    printer = invocation.printer
    printer.show(document, table=lambda: book_picture(view, printer))


# -- an order's life ------------------------------------------------------------------------------


def concerns(event: Event, order_id: int) -> bool:
    """Whether an event says something of an order."""
    kind = event[0]
    if kind in _ABOUT_AN_ORDER:
        return bool(event[2][0] == order_id)
    if kind in _SPEAKS_OF_BOTH:
        return order_id in (event[at][0] for at in _SPEAKS_OF_BOTH[kind])
    return False


def refuses_change(event: Event, order_id: int, client_order_id: str, *, is_own: bool) -> bool:
    """Whether an event refuses a cancel or an amend of an order.

    Args:
        is_own: whether the account asked whose order it is; only it can use client_order_id.
    """
    if event[0] not in (e.CANCEL_REJECTED, e.REJECTED):
        return False
    command = event[3]
    if type(command) is not tuple or len(command) < 3 or command[0] not in _NAMES_AN_ORDER:
        return False
    if command[1]:
        return bool(command[1] == order_id)
    return is_own and bool(client_order_id) and command[2] == client_order_id


@click.command("order")
@click.argument("order_id", type=click.IntRange(min=1))
@directory_argument
@index_option("--until", says="Stop after this entry.")
@common_options
@pass_invocation
def order(invocation: Invocation, order_id: int, directory: Path, until: int | None) -> None:
    """Show the life of an order: each event of it, with its entry and time."""
    source = open_directory(directory)
    genesis = genesis_for(invocation, source)
    low, _ = source.reach
    last = min(until or source.last, source.last)
    reader = EntryReader()
    life = _Life(order_id)
    for _, applied, exchange in source.replay(low + 1, last, genesis):
        reader.learn(exchange)
        if applied is not None:
            life.take(applied, exchange, reader)
    say_skipped(source)
    if not life.documents:
        raise CommandFailed(
            ExitCode.REFUSED,
            f"{directory} says nothing of order {order_id} in entries {low + 1} to {last}",
            hint="see what it holds with: raftbook log dump DIR",
        )
    if life.documents[0]["event"] != "accepted":
        say(f"order {order_id} was entered before entry {low + 1}, which is compacted away")
    invocation.printer.show(
        {"order_id": order_id, "from_index": low + 1, "to_index": last, "events": life.documents},
        table=lambda: _life_table(life.documents),
        items="events",
    )


class _Life:
    """The events of one order, as documents."""

    def __init__(self, order_id: int) -> None:
        self.documents: list[dict[str, Any]] = []
        self._order_id = order_id
        self._account = self._client_order_id = ""

    def take(self, applied: Applied, exchange: Exchange, reader: EntryReader) -> None:
        """What an entry did to it."""
        for session_id, event, offset in told_events(applied):
            session = exchange.sessions.by_id.get(session_id)
            is_own = session is not None and session.account.name == self._account
            is_told = concerns(event, self._order_id)
            if is_told and event[0] == e.ACCEPTED:
                _, self._account, self._client_order_id, *_ = event[2]
            if is_told or refuses_change(
                event, self._order_id, self._client_order_id, is_own=is_own
            ):
                symbol_of = symbols_of(exchange, session_id)
                self.documents.append(
                    {
                        "entry_index": applied.index,
                        "term": applied.term,
                        "time": rfc3339(applied.time_ns),
                        "time_ns": applied.time_ns,
                        "event_offset": offset,
                        **event_document(event, reader.specs, symbol_of),
                    }
                )


def told_events(applied: Applied) -> Iterator[tuple[int, Event, int]]:
    """(session_id, event, event_offset) of an entry, repeated replies left out."""
    for session_id, _, _, offset, events, poss_dup in applied.replies:
        if not poss_dup:
            for number, event in enumerate(events):
                yield session_id, event, offset + number


_QUIET: Final = frozenset(
    ("entry_index", "term", "time", "time_ns", "event_offset", "event", "feed_seq", "order_id",
     "account", "client_order_id", "symbol")
)  # fmt: skip


def _life_table(documents: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        (
            document["time"],
            document["entry_index"],
            document["event"],
            # Who and what it is, is said once.
            fields_text(document, _QUIET if number else _QUIET - {"account", "symbol"}),
        )
        for number, document in enumerate(documents)
    ]
    return render_table(("TIME", "ENTRY", "EVENT", "WHAT"), rows, right=("ENTRY",))


# -- balances -------------------------------------------------------------------------------------


@click.command("balances")
@click.argument("words", metavar="[ACCOUNT] DIR", nargs=-1)
@index_option("--at", says="After this entry. [default: the last]")
@common_options
@pass_invocation
def balances(invocation: Invocation, words: tuple[str, ...], at: int | None) -> None:
    """Show what accounts had, and what was held for their orders.

    Without ACCOUNT all of them, and the fees that trades have paid.
    """
    account, directory = name_and_directory(words, "an account if only one is wanted")
    _, exchange, index = exchange_at(invocation, directory, at)
    if account is not None and account not in exchange.accounts:
        raise CommandFailed(
            ExitCode.REFUSED,
            f"no account {account} at index {index}",
            hint="see them with: raftbook log balances DIR",
        )
    documents = balance_documents(exchange, account)
    fees = {
        currency: money_text(exchange, currency, amount)
        for currency, amount in exchange.money.fees.items()
    }
    document: dict[str, Any] = {
        "index": index,
        "time": rfc3339(exchange.now_ns),
        "balances": documents,
    }
    if account is None:
        document["fees"] = fees
    invocation.printer.show(
        document, table=lambda: _balance_table(documents, fees, account), items="balances"
    )


def balance_documents(exchange: Exchange, account: str | None = None) -> list[dict[str, Any]]:
    """Each balance, by account in the order they were created."""
    return [
        {
            "account": name,
            "currency": currency,
            "available": money_text(exchange, currency, balance.available),
            "held": money_text(exchange, currency, balance.held),
            "total": money_text(exchange, currency, balance.available + balance.held),
        }
        for name, owner in exchange.accounts.items()
        if account in (None, name)
        for currency, balance in owner.balances.items()
    ]


def money_text(exchange: Exchange, currency: str, minor: int) -> str:
    """Minor units of a currency as decimal text."""
    return f"{Decimal(minor).scaleb(-exchange.money.decimals[currency]):f}"


def _balance_table(
    documents: Sequence[Mapping[str, Any]], fees: Mapping[str, str], account: str | None
) -> str:
    names = ("account", "currency", "available", "held", "total")
    rows = [tuple(document[name] for name in names) for document in documents]
    if account is None:
        rows += [("(fees)", currency, "", "", amount) for currency, amount in fees.items()]
    if not rows:
        return "no balances"
    return render_table(
        [name.upper() for name in names], rows, right=("AVAILABLE", "HELD", "TOTAL")
    )

"""`raftbook log explain`: why an order did or did not trade, from the log, in sentences.

Owns the verb, the search for the order and what is told of its end. One event's sentence is in
`log_sentences.py`, who stood before whom in `log_queue.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from raftbook.client.rejects import explain_reject, reject_name
from raftbook.client.units import average_price
from raftbook.core import commands as c
from raftbook.core import events as e
from raftbook.core.events import Event
from raftbook.core.exchange import Exchange, Genesis
from raftbook.core.types import Side

from .invocation import Invocation, common_options, pass_invocation
from .log_entries import EntryReader
from .log_past import concerns, refuses_change, told_events
from .log_queue import Queue
from .log_sentences import Told, Words
from .log_source import (
    genesis_for,
    index_option,
    name_and_directory,
    open_directory,
    say_skipped,
)
from .naming import event_symbol
from .outcomes import CommandFailed, ExitCode
from .output.tables import rfc3339

if TYPE_CHECKING:
    from raftbook.replica.machine import Applied

    from .data_directory import DataDirectory


@click.command("explain")
@click.argument("words", metavar="[ORDER_ID] DIR", nargs=-1)
@click.option("--client-id", metavar="ID", help="Of an order that was refused, or of any other.")
@click.option("--account", help="Whose --client-id it is.")
@index_option("--until", says="As it was after this entry. [default: the last]")
@common_options
@pass_invocation
def explain(
    invocation: Invocation,
    words: tuple[str, ...],
    client_id: str | None,
    account: str | None,
    until: int | None,
) -> None:
    """Say why an order did or did not trade.

    From the log alone: what stood before it, what traded past it, what stopped it.
    """
    name, directory = name_and_directory(words, "an order id")
    if (name is None) == (client_id is None):
        raise click.UsageError("give an order id, or --client-id ID")
    if name is not None and not name.isdecimal():
        raise click.UsageError(f"{name!r} is no order id; of your own name for it: --client-id")
    source = open_directory(directory)
    genesis = genesis_for(invocation, source)
    last = min(until or source.last, source.last)
    search = _Search(None if name is None else int(name), client_id, account)
    low, _ = source.reach
    reader = EntryReader()
    for _, applied, exchange in source.replay(low + 1, last, genesis):
        reader.learn(exchange)
        if applied is not None:
            search.take(applied)
    say_skipped(source)
    what = f"order {name}" if name is not None else f"client order id {client_id}"
    if search.entered is not None:
        document = _Story(source, genesis, reader, search.entered, last).told()
    elif search.refused is not None:
        document = _refusal(*search.refused)
    else:
        raise CommandFailed(
            ExitCode.REFUSED,
            f"{directory} does not tell how {what} was entered (entries {low + 1} to {last})",
            hint="see what it holds with: raftbook log dump DIR",
        )
    invocation.printer.show(document, table=lambda: _text(document), items="sentences")


class _Search:
    """Finds how an order was entered, or the last time an order of this name was refused."""

    def __init__(self, order_id: int | None, client_id: str | None, account: str | None) -> None:
        self.entered: tuple[int, Event] | None = None
        self.refused: tuple[Applied, Event] | None = None
        self._order_id, self._client_id, self._account = order_id, client_id, account

    def take(self, applied: Applied) -> None:
        """What an entry did."""
        for _, event, _ in told_events(applied):
            if event[0] == e.ACCEPTED and self._is_wanted(event[2]):
                self.entered = (applied.index, event)
            elif event[0] == e.REJECTED and self._order_id is None:
                if self._client_id in _client_ids_of(event[3]):
                    self.refused = (applied, event)

    def _is_wanted(self, terms: tuple[Any, ...]) -> bool:
        if self._order_id is not None:
            return bool(terms[0] == self._order_id)
        return terms[2] == self._client_id and self._account in (None, terms[1])


_CLIENT_IDS_AT = {
    c.NEW_ORDER: (7,),
    c.PLACE_ORDER: (7,),
    c.PLACE_OCO: (8, 16),
    c.PLACE_OUO: (8, 16),
    c.PLACE_OTO: (7, 24),
    c.PLACE_OTOCO: (7, 25, 33),
    c.PLACE_PEG: (6,),
    c.CANCEL_REPLACE: (10,),
}


def _client_ids_of(command: Any) -> list[Any]:
    """What a command that enters orders calls them."""
    if type(command) is not tuple or not command:
        return []
    return [command[at] for at in _CLIENT_IDS_AT.get(command[0], ()) if at < len(command)]


def _refusal(applied: Applied, event: Event) -> dict[str, Any]:
    text = f"It was refused and never stood in the book: {explain_reject(event[2])} "
    text += f"({reject_name(event[2])})"
    sentence = _sentence(applied.index, applied.time_ns, text)
    return {"order_id": None, "verdict": "refused", "sentences": [sentence]}


def _sentence(index: int, time_ns: int, text: str) -> dict[str, Any]:
    return {"entry_index": index, "time": rfc3339(time_ns), "time_ns": time_ns, "text": text}


class _Story:
    """One order from its entry to its end, or to the last entry that is looked at."""

    def __init__(
        self,
        source: DataDirectory,
        genesis: Genesis,
        reader: EntryReader,
        entered: tuple[int, Event],
        last: int,
    ) -> None:
        self._source, self._genesis, self._last = source, genesis, last
        self._entered, accepted = entered
        terms = accepted[2]
        self._order_id, self._symbol = terms[0], terms[3]
        before = source.machine_at(self._entered - 1, genesis).exchange
        self._queue = Queue(before.books.get(self._symbol))
        self._told = Told(terms)
        self._words = Words(self._told, self._queue, reader.specs[self._symbol])
        self._sentences: list[dict[str, Any]] = []

    def told(self) -> dict[str, Any]:
        """The document."""
        index, exchange = self._entered, None
        for entry, applied, after in self._source.replay(self._entered, self._last, self._genesis):
            index, exchange = entry.index, after
            if applied is not None:
                self._take(applied, after)
        assert exchange is not None, f"order {self._order_id} was entered in no entry"
        told, spec = self._told, self._words.spec
        if told.leaves:
            text = self._words.still_open(exchange.books[self._symbol])
            self._sentences.append(_sentence(index, exchange.now_ns, text))
        average = average_price(told.notional, told.cum, spec)
        return {
            "order_id": self._order_id,
            "client_order_id": told.terms[2],
            "account": told.terms[1],
            "symbol": self._symbol,
            "side": Side(told.terms[4][0]).name,
            "order_qty": f"{spec.qty(told.terms[5]):f}",
            "cum_qty": f"{spec.qty(told.cum):f}",
            "leaves_qty": f"{spec.qty(told.leaves):f}",
            "avg_price": None if average is None else f"{average:f}",
            "verdict": told.verdict(),
            "sentences": self._sentences,
        }

    def _take(self, applied: Applied, exchange: Exchange) -> None:
        """What an entry did: the market moves first, then it is said what that means."""
        for session_id, event, _ in told_events(applied):
            is_told = concerns(event, self._order_id)
            if not is_told and not self._told.is_open():
                if not self._told.is_entered:  # earlier in its own entry
                    self._move(event)
                continue
            session = exchange.sessions.by_id.get(session_id)
            is_own = session is not None and session.account.name == self._told.terms[1]
            before = self._words.before(event, is_told=is_told)
            self._move(event)
            text: str | None = None
            if is_told:
                self._told.take(event)
                text = self._words.said(event, before)
            elif refuses_change(event, self._order_id, self._told.terms[2], is_own=is_own):
                text = self._words.refused_change(event)
            elif event[0] == e.PHASE_CHANGED and event[2] == self._symbol:
                text = self._words.phase(event[3])
            if text:
                self._sentences.append(_sentence(applied.index, applied.time_ns, text))

    def _move(self, event: Event) -> None:
        # Here and not above: no other verb needs the feed.
        from raftbook.feed.messages import public_view

        if event[1] and event_symbol(event) == self._symbol:
            self._queue.take(public_view(event))


def _text(document: Mapping[str, Any]) -> str:
    lines = []
    if document["order_id"] is not None:
        lines.append(
            f"order {document['order_id']} of {document['account']}: {document['side'].lower()} "
            f"{document['order_qty']} {document['symbol']}, {document['verdict']}"
        )
    for sentence in document["sentences"]:
        lines.append(f"{sentence['time']}  entry {sentence['entry_index']}")
        lines.append(f"  {sentence['text']}")
    return "\n".join(lines)

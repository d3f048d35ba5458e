"""One entry of a log, as a document and as lines for people.

Owns the names of its fields, and whose decimals an amend is in. Must not know directories.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from raftbook.client.values import InstrumentSpec
from raftbook.core.commands import NO_SESSION
from raftbook.core.exchange import Exchange
from raftbook.core.instrument import InstrumentTerms
from raftbook.core.types import Phase
from raftbook.errors import ProtocolError
from raftbook.wire.entry import REGULAR, unpack_entry

from .naming import SymbolOf, command_document, event_document, fields_text
from .output.tables import rfc3339

if TYPE_CHECKING:
    from raftbook.replica.machine import Applied

    from .data_directory import LogEntry


class EntryReader:
    """Makes documents of entries; with an exchange also of what they did.

    Attributes:
        specs: the instruments so far, for decimals.
    """

    def __init__(self) -> None:
        self.specs: dict[str, InstrumentSpec] = {}
        self._terms: dict[str, InstrumentTerms] = {}

    def asked(self, entry: LogEntry, exchange: Exchange | None = None) -> dict[str, Any]:
        """What an entry asks for; its time is the leader's clock when it was appended."""
        document: dict[str, Any] = {"index": entry.index, "term": entry.term}
        if entry.payload[:1] != REGULAR:
            return document | {"raft": True}
        try:
            content = unpack_entry(entry.index, entry.payload[1:])
        except ProtocolError as error:
            return document | {"malformed": str(error), "requests": []}
        requests = []
        for session_id, request_seq, commands in content.requests:
            symbol_of = None if exchange is None else symbols_of(exchange, session_id)
            named = [command_document(each, self.specs, symbol_of) for each in commands]
            requests.append(
                {"session_id": session_id, "request_seq": request_seq, "commands": named}
            )
        return document | _time(content.time_ns) | {"requests": requests}

    def learn(self, exchange: Exchange) -> None:
        """Know the instruments of a state; an entry may have deleted what its own events are
        about, so none is forgotten."""
        terms = {symbol: book.terms for symbol, book in exchange.books.items()}
        if terms != self._terms:
            self.specs |= specs_of(exchange)
            self._terms = terms

    def done(self, entry: LogEntry, applied: Applied | None, exchange: Exchange) -> dict[str, Any]:
        """The same with what the book answered; its time is the book's own, as in events."""
        self.learn(exchange)
        document = self.asked(entry, exchange)
        if applied is not None:
            document |= _time(applied.time_ns)
            replies = applied.replies
            unasked = len(replies) - len(document["requests"])
            if unasked:
                document["requests"].insert(0, {"session_id": NO_SESSION, "commands": []})
            for request, reply in zip(document["requests"], replies, strict=True):
                symbol_of = symbols_of(exchange, request["session_id"])
                request["events"] = [
                    event_document(event, self.specs, symbol_of) for event in reply[4]
                ]
                request["poss_dup"] = bool(reply[5])
        return document


def entry_text(document: Mapping[str, Any]) -> str:
    """An entry for people: a line of its own, one for each command, one for each event."""
    return "\n".join(_lines(document))


def _lines(document: Mapping[str, Any]) -> Iterator[str]:
    head = f"entry {document['index']}  term {document['term']}"
    if "raft" in document:
        yield f"{head}  of Raft itself"
        return
    if "malformed" in document:
        yield f"{head}  no effect: {document['malformed']}"
        return
    yield f"{head}  {document['time']}"
    for request in document["requests"]:
        again = ", again" if request.get("poss_dup") else ""
        if "request_seq" in request:
            yield f"  session {request['session_id']} request {request['request_seq']}{again}"
        else:
            yield "  unasked"
        for command in request["commands"]:
            yield f"    asks {command['command']:<18} {fields_text(command, ('command',))}".rstrip()
        for event in request.get("events", ()):
            told = fields_text(event, ("event", "feed_seq"))
            yield f"    says {event['event']:<18} {told}".rstrip()


def _time(time_ns: int) -> dict[str, Any]:
    return {"time": rfc3339(time_ns), "time_ns": time_ns}


def symbols_of(exchange: Exchange, session_id: int) -> SymbolOf:
    """Which instrument the orders that a session names are of."""
    session = exchange.sessions.by_id.get(session_id)

    def symbol_of(order_id: int, client_order_id: str) -> str | None:
        order = None if session is None else session.account.find(order_id, client_order_id)
        return None if order is None else str(order.terms[3])

    return symbol_of


def specs_of(exchange: Exchange) -> dict[str, InstrumentSpec]:
    """Instruments of a state, for decimals."""
    return {
        symbol: InstrumentSpec.from_wire(
            {
                **book.terms._asdict(),
                "phase": Phase(book.phase).name,
                "quote_decimals": exchange.money.decimals.get(book.terms.quote),
            }
        )
        for symbol, book in exchange.books.items()
    }

"""What clients saw, as plain rows: the only thing the checkers believe besides the log.

Owns the format of a history, its recorder and its file. A row says when a call was made, when it
ended and what it was told; nothing in it was derived from the state of a node. Must not know what
is legal: that is `witness.py` and `linearizable.py`.

A file holds one JSON array per line, first the kind ("request" or "read"), then the fields in the
order of the classes below; tuples become arrays and come back as tuples.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from raftbook.core.commands import Command
from raftbook.core.events import Event

ACKNOWLEDGED: Final = "acknowledged"
NOT_ACCEPTED: Final = "not accepted"
UNKNOWN: Final = "unknown"


@dataclass(slots=True)
class Request:
    """One call of one client: a request with every retry that the client library made of it.

    The same (account, key, request_seq) may stand in several rows, when a program repeated it.

    Attributes:
        key: of the session; with the account it names the client.
        invoked_ns, completed_ns: of one steady clock; completed_ns is None for an outcome that is
            unknown: it may take effect at any time after invoked_ns, or never.
        outcome: ACKNOWLEDGED, NOT_ACCEPTED (it will never take effect) or UNKNOWN.
        session_id, node_id, entry_index, event_offset, events, poss_dup: the acknowledgement's.
    """

    account: str
    key: str
    request_seq: int
    commands: tuple[Command, ...]
    invoked_ns: int
    completed_ns: int | None = None
    outcome: str = UNKNOWN
    session_id: int = 0
    node_id: int = 0
    entry_index: int = 0
    event_offset: int = 0
    events: tuple[Event, ...] = ()
    poss_dup: bool = False

    @property
    def name(self) -> tuple[str, str, int]:
        """What a retry has in common with the first attempt."""
        return self.account, self.key, self.request_seq


@dataclass(slots=True)
class Read:
    """One linearizable read of a whole book.

    Attributes:
        applied_index: the log entry it says it is current to.
        book: (bids, asks, bid_orders, ask_orders, feed_seq, last_price) as the query gives them.
    """

    account: str
    symbol: str
    invoked_ns: int
    completed_ns: int
    node_id: int
    applied_index: int
    book: tuple[Any, ...]


BOOK_FIELDS: Final = ("bids", "asks", "bid_orders", "ask_orders", "feed_seq", "last_price")
"""What of a `book` query's value is state rather than news of the node."""


@dataclass(slots=True)
class History:
    """All rows of a run, in the order they ended."""

    requests: list[Request] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)

    def save(self, path: Path) -> None:
        """Write all rows."""
        with open(path, "w", encoding="utf-8") as file:
            for kind, rows in (("request", self.requests), ("read", self.reads)):
                for row in rows:
                    json.dump([kind, *_values(row)], file, separators=(",", ":"))
                    file.write("\n")

    @classmethod
    def load(cls, path: Path) -> History:
        """Read what `save` wrote."""
        history = cls()
        with open(path, encoding="utf-8") as file:
            for line in file:
                kind, *values = json.loads(line)
                if kind == "request":
                    history.requests.append(Request(*map(_tuples, values)))
                elif kind == "read":
                    history.reads.append(Read(*map(_tuples, values)))
                else:
                    raise ValueError(f"{path}: a row of kind {kind!r}")
        return history


class Recorder:
    """Takes down what clients are told; `clock_ns` is one steady clock for all of them."""

    def __init__(self, clock_ns: Any) -> None:
        self.history = History()
        self.clock_ns = clock_ns

    def begin(
        self, account: str, key: str, request_seq: int, commands: Iterable[Command]
    ) -> Request:
        """A request is about to be sent. It is in the history from now on, as UNKNOWN."""
        now_ns = self.clock_ns()
        row = Request(account, key, request_seq, tuple(commands), now_ns)
        self.history.requests.append(row)
        return row

    def acknowledged(self, row: Request, reply: Any) -> None:
        """`reply` is a RequestReply."""
        row.completed_ns = self.clock_ns()
        row.outcome = ACKNOWLEDGED
        row.session_id, row.node_id = reply.session_id, reply.node_id
        row.entry_index, row.event_offset = reply.entry_index, reply.event_offset
        row.events, row.poss_dup = tuple(reply.events), reply.poss_dup

    def not_accepted(self, row: Request) -> None:
        """The client was told that it will never take effect."""
        row.completed_ns = self.clock_ns()
        row.outcome = NOT_ACCEPTED

    def read(self, account: str, symbol: str, invoked_ns: int, value: dict[str, Any]) -> None:
        """A linearizable read ended with the value of a `book` query."""
        book = tuple(value[name] for name in BOOK_FIELDS)
        self.history.reads.append(
            Read(
                account,
                symbol,
                invoked_ns,
                self.clock_ns(),
                value["node_id"],
                value["applied_index"],
                book,
            )
        )


def merged(rows: Iterable[Request]) -> tuple[list[Request], list[str]]:
    """One row per request, out of all rows that repeat it; and what is wrong among those.

    The merged request was invoked with its first attempt and ended with its first acknowledgement.
    Acknowledgements of one request must be equal; so must the commands.
    """
    by_name: dict[tuple[str, str, int], Request] = {}
    copied: set[tuple[str, str, int]] = set()
    problems: list[str] = []
    for row in rows:
        name = row.account, row.key, row.request_seq
        first = by_name.setdefault(name, row)
        if first is row:
            continue
        if name not in copied:  # most requests are never repeated: only these cost a copy
            copied.add(name)
            first = by_name[name] = dataclasses.replace(first)
        if row.commands != first.commands:
            problems.append(f"{row.name} was sent with two contents")
        if row.outcome == ACKNOWLEDGED == first.outcome and _told(row) != _told(first):
            problems.append(f"{row.name} was told {_told(row)} and {_told(first)}")
        _merge(first, row)
    return list(by_name.values()), problems


def _merge(first: Request, row: Request) -> None:
    """Let `first` stand for `row` too. An attempt that was not accepted tells nothing of others."""
    if row.outcome == NOT_ACCEPTED:
        return
    if first.outcome == NOT_ACCEPTED:
        for name in dataclasses.fields(row):
            setattr(first, name.name, getattr(row, name.name))
        return
    first.invoked_ns = min(first.invoked_ns, row.invoked_ns)
    if row.outcome == ACKNOWLEDGED:
        ends = [one.completed_ns for one in (first, row) if one.completed_ns is not None]
        first.session_id, first.node_id, first.events = row.session_id, row.node_id, row.events
        first.entry_index, first.event_offset = row.entry_index, row.event_offset
        first.outcome, first.completed_ns = ACKNOWLEDGED, min(ends)


def _told(row: Request) -> tuple[Any, ...]:
    return row.session_id, row.entry_index, row.event_offset, row.events


def _values(row: Any) -> list[Any]:
    return [getattr(row, name.name) for name in dataclasses.fields(row)]


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if type(value) is list else value

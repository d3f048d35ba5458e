"""The witness checker: acknowledgements name their place in the log, and the log is replayed.

Owns rules P1 to P3 as far as a log can witness them: what was acknowledged stands in the log where
the client was told, with the answer it was given; what was refused stands nowhere; nobody's request
stands there; nothing acts twice; and the log's order does not contradict real time. It believes the
indices and the exchange: `linearizable.py` does not. Costs O(n log n), hardly more than the replay.
A ledger reads along: orders, feeds and money must add up from the replies alone.
"""

from __future__ import annotations

import gc
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import inf
from typing import Any, Final

from raftbook.core import invariants
from raftbook.core.commands import NO_SESSION, OPEN_SESSION, Command, Entry
from raftbook.core.events import CANCEL_REJECTED, REJECTED, SESSION_OPENED, Event, Reply, answers
from raftbook.core.exchange import Exchange, Genesis
from raftbook.core.types import Reject
from raftbook.gateway.privacy import private_view
from tests.checkers.history import ACKNOWLEDGED, NOT_ACCEPTED, History, Read, Request, merged
from tests.core.ledger import Ledger
from tests.feed.seen import seen_orders, seen_rows

VIOLATIONS_MAX: Final = 200
"""A broken run breaks in thousands of places; the first ones tell."""

_REFUSALS: Final = (REJECTED, CANCEL_REJECTED)
_OUT_OF_LINE: Final = (int(Reject.STALE_REQUEST), int(Reject.UNKNOWN_SESSION))

Position = tuple[int, float]


@dataclass(slots=True)
class Verdict:
    """What was found.

    Attributes:
        violations: (rule, what happened).
        digest, last_index: of the exchange after the whole log.
    """

    violations: list[tuple[str, str]] = field(default_factory=list)
    requests: int = 0
    acknowledged: int = 0
    reads: int = 0
    digest: str = ""
    last_index: int = 0

    @property
    def ok(self) -> bool:
        return not self.violations

    def add(self, rule: str, text: str) -> None:
        """Note a violation."""
        if len(self.violations) < VIOLATIONS_MAX:
            self.violations.append((rule, text))


@dataclass(slots=True)
class _Effect:
    """Where in the log a request took effect, and how it was answered."""

    index: int
    offset: int
    events: list[Event]
    commands: tuple[Command, ...]


class _Replay:
    """The reference exchange, run over the log."""

    def __init__(self, genesis: Genesis, reads: list[Read], verdict: Verdict) -> None:
        self.exchange = Exchange(genesis)
        self.effects: dict[tuple[int, int], _Effect] = {}
        self.mentioned: dict[tuple[int, int], tuple[Command, ...]] = {}
        self.clients: dict[int, tuple[str, str]] = {}  # session_id -> (account, key)
        self._reads = sorted(reads, key=lambda read: read.applied_index)
        self._next_read = 0
        self._verdict = verdict
        self._ledger: Ledger | None = Ledger(genesis)

    def run(self, entries: Iterable[Entry]) -> None:
        """The whole log."""
        last_index = 0
        for entry in entries:
            assert entry.index > last_index, f"entry {entry.index} after {last_index}"
            last_index = entry.index
            self._look(before=entry.index)
            replies = self.exchange.apply(entry)
            self._account_for(replies)
            answered = answers(replies, entry.requests)
            for request, reply in zip(entry.requests, answered, strict=True):
                self._take(request[2], reply)
        self._look(before=inf)
        self._add_up()
        self._verdict.digest = self.exchange.digest.value()
        self._verdict.last_index = last_index

    def _account_for(self, replies: list[Reply]) -> None:
        if self._ledger is not None:
            try:
                self._ledger.read(replies)
            except AssertionError as error:
                self._verdict.add("ledger", str(error))
                self._ledger = None  # it is out of step now

    def _add_up(self) -> None:
        try:
            invariants.check(self.exchange)
            if self._ledger is not None:
                self._ledger.check(is_unfinished=self.exchange.is_unfinished)
                self._ledger.purse.check()
        except AssertionError as error:
            self._verdict.add("ledger", f"in the end: {error}")

    def _take(self, commands: Any, reply: Reply) -> None:
        session_id, request_seq, index, offset, events, poss_dup = reply
        if session_id == NO_SESSION:
            self._learn_session(commands, events)
            return
        name = (session_id, request_seq)
        known = self.mentioned.setdefault(name, commands)
        if known is not commands and known != commands:
            self._verdict.add("content", f"the log holds {name} with two contents")
        if poss_dup or _is_out_of_line(events):
            return
        if name in self.effects:
            self._verdict.add("doubled", f"{name} took effect at {self.effects[name].index}"
                              f" and at {index}")  # fmt: skip
        self.effects[name] = _Effect(index, offset, events, commands)

    def _learn_session(self, commands: Any, events: list[Event]) -> None:
        if any(command[0] != OPEN_SESSION for command in commands):
            return  # what a node says of its clients
        for command, event in zip(commands, events, strict=True):
            if event[0] == SESSION_OPENED:
                self.clients[event[2]] = (command[1], command[2])

    def _look(self, *, before: float) -> None:
        """Compare the reads that saw the state as it is now."""
        while self._next_read < len(self._reads):
            read = self._reads[self._next_read]
            if read.applied_index >= before:
                return
            self._next_read += 1
            expected = book_of(self.exchange, read.symbol)
            if read.book != expected:
                self._verdict.add(
                    "read value",
                    f"node {read.node_id} at {read.applied_index} showed {read.symbol} as "
                    f"{read.book}, the log says {expected}",
                )


def check_witness(history: History, entries: Iterable[Entry], genesis: Genesis) -> Verdict:
    """Judge a history by the log it ended in.

    Args:
        entries: the whole log from its beginning, Raft's own entries left out.
    """
    was_collecting = gc.isenabled()
    gc.disable()  # nothing here is a cycle, and looking for some doubles the time
    try:
        return _check(history, entries, genesis)
    finally:
        if was_collecting:
            gc.enable()


def _check(history: History, entries: Iterable[Entry], genesis: Genesis) -> Verdict:
    requests, problems = merged(history.requests)
    verdict = Verdict(requests=len(requests), reads=len(history.reads))
    for problem in problems:
        verdict.add("two replies", problem)
    replay = _Replay(genesis, history.reads, verdict)
    replay.run(entries)
    sessions: dict[tuple[str, str], list[int]] = {}
    for session_id, client in replay.clients.items():
        sessions.setdefault(client, []).append(session_id)
    placed: list[tuple[Position, float, float, Request | Read]] = []
    asked: set[tuple[int, int]] = set()
    for row in requests:
        numbers = sessions.get((row.account, row.key), ())
        names = [(number, row.request_seq) for number in numbers]
        asked.update(names)
        position = _place(row, names, replay, verdict)
        if position is not None:
            end = inf if row.completed_ns is None else row.completed_ns
            placed.append((position, row.invoked_ns, end, row))
    for name in replay.mentioned.keys() - asked:
        verdict.add("uninvited", f"the log holds {name} of {replay.clients.get(name[0])}: not sent")
    for read in history.reads:
        placed.append(((read.applied_index, inf), read.invoked_ns, read.completed_ns, read))
    _check_real_time(placed, verdict)
    return verdict


def _place(
    row: Request, names: list[tuple[int, int]], replay: _Replay, verdict: Verdict
) -> Position | None:
    """Where a request stands in the log, if it took effect; what of that is wrong."""
    if row.outcome == NOT_ACCEPTED:
        for name in names:
            if name in replay.mentioned:
                verdict.add("refused acted", f"{row.name} was not accepted, yet is in the log")
        return None
    if row.outcome != ACKNOWLEDGED:
        effects = [replay.effects[name] for name in names if name in replay.effects]
        if effects and effects[0].commands != row.commands:
            verdict.add("content", f"{row.name}: the log holds {effects[0].commands}")
        return (effects[0].index, effects[0].offset) if effects else None
    verdict.acknowledged += 1
    effect = replay.effects.get((row.session_id, row.request_seq))
    if effect is None or replay.clients.get(row.session_id) != row.name[:2]:
        verdict.add("lost", f"{row.name} acknowledged at {row.entry_index} is not in the log")
        return None
    told = (row.entry_index, row.event_offset)
    if told != (effect.index, effect.offset):
        verdict.add("place", f"{row.name} was told {told}, it is {effect.index, effect.offset}")
    if effect.commands != row.commands:
        verdict.add("content", f"{row.name}: the log holds {effect.commands}")
    expected = private_view(effect.events, row.account)
    if len(expected) != len(row.events):
        verdict.add("reply", f"{row.name} was told {row.events}, the log says {expected}")
    else:
        for ours, theirs in zip(row.events, expected, strict=True):
            if ours != theirs:
                verdict.add("reply", f"{row.name} was told {ours}, the log says {theirs}")
                break
    return effect.index, effect.offset


def _check_real_time(
    placed: list[tuple[Position, float, float, Request | Read]], verdict: Verdict
) -> None:
    """If A ended before B began, A stands before B: one scan from the log's end.

    On the way it keeps the earliest end among all that stand strictly later; whatever began after
    that end stands too early.
    """
    placed.sort(key=lambda item: item[0], reverse=True)
    earliest_end: float = inf
    earliest: Request | Read | None = None
    at = 0
    while at < len(placed):
        position = placed[at][0]
        group_end, group_one = earliest_end, earliest
        while at < len(placed) and placed[at][0] == position:
            _, invoked_ns, end_ns, row = placed[at]
            if earliest_end < invoked_ns:
                rule = "stale read" if isinstance(row, Read) else "real time"
                verdict.add(
                    rule,
                    f"{_brief(row)} at {position} began at {invoked_ns}, after {_brief(earliest)} "
                    f"had ended at {earliest_end}, but stands before it",
                )
            if end_ns < group_end:
                group_end, group_one = end_ns, row
            at += 1
        earliest_end, earliest = group_end, group_one


def _brief(row: Request | Read | None) -> str:
    if isinstance(row, Read):
        return f"read of {row.symbol} at {row.applied_index} by node {row.node_id}"
    return f"request {row.name}" if row is not None else "nothing"


def _is_out_of_line(events: list[Event]) -> bool:
    """Whether a request was turned away for its number or its session: it had no effect."""
    return all(event[0] in _REFUSALS and event[2] in _OUT_OF_LINE for event in events)


def book_of(exchange: Exchange, symbol: str) -> tuple[Any, ...]:
    """A book in the form of `Read.book`."""
    book = exchange.books[symbol]
    ladders = (book.bids, book.asks)
    levels = [tuple(seen_rows(side)) for side in ladders]
    orders = [tuple(seen_orders(side)) for side in ladders]
    return (*levels, *orders, book.feed_seq, book.last_price)

"""What can be judged when a run is over: every answer a client got, against one reference book.

Owns the replay of the committed log on an exchange of its own, in index order, and the comparison
with all that was said. That the log is one and agreed on was watched all along (`checks.py`).

    exactly once   each (session, request_seq) took effect at most once
    acknowledged   each acknowledged request stands in the log just as its reply says
    refused        what was said to have had no effect is not in the log
    reads          each answer is the book as of its index
    ledger         every order, feed and balance adds up from the replies alone
    twin           in a mixed market each reply is what the slow twin of the core says
    real time      what ended before another call began stands before it in the log
"""

from __future__ import annotations

import itertools
from collections import Counter
from typing import TYPE_CHECKING, Any, NoReturn

from raftbook.core import invariants
from raftbook.core.commands import Entry
from raftbook.core.events import CANCEL_REJECTED, REJECTED, Reply
from raftbook.core.types import Reject
from raftbook.errors import OutcomeUnknown
from raftbook.gateway.market_queries import levels
from raftbook.gateway.privacy import private_view
from raftbook.replica.machine import Machine
from raftbook.replica.raft import REGULAR
from raftbook.wire import client_messages as m
from raftbook.wire.entry import unpack_entry
from raftbook.wire.packing import pack
from tests.core.ledger import Ledger
from tests.core.twin import Twin
from tests.core.venue_trader import names_in
from tests.sim.client import Call

if TYPE_CHECKING:
    from tests.sim.world import World

LEDGER_CHECK_EVERY = 40
_REQUEST, _READ = 0, 1  # a read stands after the entry that it saw
_KINDS = ("request", "read")
_FORGOTTEN = (Reject.UNKNOWN_SESSION, Reject.STALE_REQUEST)


class History:
    """The reference replay and what it found.

    Attributes:
        results: (index, offset, events) of each request that took effect.
        entered: how often each client_order_id was asked for in requests that took effect.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._machine = Machine(world.genesis, entries_kept=1)
        self._ledger = Ledger(world.genesis)
        self._twin = Twin(world.genesis) if world.mixed else None
        self.results: dict[tuple[int, int], tuple[int, int, Any]] = {}
        self.in_log: Counter[str] = Counter()
        self._reads: dict[int, list[Call]] = {}
        self._indexes: list[int] = []

    def check(self) -> None:
        """Judge the whole run."""
        for call in self._world.record.calls:
            operation = call.operation
            if operation.kind == m.QUERY and operation.result is not None:
                self._reads.setdefault(operation.result["applied_index"], []).append(call)
        self._replay()
        for call in self._world.record.calls:
            if call.commands:
                self._check_request(call)
        self._check_real_time()
        unread = [index for index in self._reads if index > self._world.checks.last_committed]
        self._hold(not unread, "reads", f"answers as of {unread}, which was never committed")

    # -- the replay -------------------------------------------------------------------------------

    def _replay(self) -> None:
        checks = self._world.checks
        self._check_reads(1)
        for index in range(2, checks.last_committed + 1):
            payload, term = checks.committed[index]
            applied = self._machine.apply(index, term, payload)
            if payload[:1] == REGULAR:
                entry = unpack_entry(index, payload[1:])
                self._note_names(entry)
                if self._twin is not None and applied is not None:
                    self._compare(applied.replies, self._twin.apply(entry))
            if applied is not None:
                self._account_for(index, applied.replies)
                for reply in applied.replies:
                    self._note_reply(index, reply)
            digest = self._machine.digest_at(index)
            if checks.digests.get(index, digest) != digest:
                self._fail("digest", f"the replicas differ from the reference after entry {index}")
            self._check_reads(index)
        invariants.check(self._machine.exchange)

    def _account_for(self, index: int, replies: list[Reply]) -> None:
        """Let the ledger read an entry's replies, and now and then add up."""
        try:
            self._ledger.read(replies)
            if index % LEDGER_CHECK_EVERY == 0 or index == self._world.checks.last_committed:
                self._ledger.check(is_unfinished=self._machine.exchange.is_unfinished)
                self._ledger.purse.check()
        except AssertionError as error:
            self._fail("ledger", f"as of entry {index}: {error}")

    def _compare(self, replies: list[Reply], expected: list[Reply]) -> None:
        """Whether the twin says the same; the first difference tells enough."""
        if replies != expected:
            pairs = itertools.zip_longest(replies, expected)
            ours, theirs = next(pair for pair in pairs if pair[0] != pair[1])
            self._fail("twin", f"the core says {ours}, its twin {theirs}")

    def _note_names(self, entry: Entry) -> None:
        for _, _, commands in entry.requests:
            for command in commands:
                self.in_log.update(names_in(command))

    def _note_reply(self, index: int, reply: Reply) -> None:
        session_id, request_seq, at, offset, events, poss_dup = reply
        if not session_id or poss_dup or _is_forgotten(events):
            return
        key = (session_id, request_seq)
        known = self.results.get(key)
        if known is not None:
            self._fail(
                "exactly once", f"request {key} took effect at {known[0]} and again at {index}"
            )
        self.results[key] = (at, offset, events)

    def _check_reads(self, index: int) -> None:
        for call in self._reads.get(index, ()):
            view = call.operation.result
            book = self._machine.exchange.books[view["symbol"]]
            expected = (
                levels(book.bids, 5),
                levels(book.asks, 5),
                book.feed_seq,
                book.last_price,
                int(book.phase),
            )
            found = (
                list(view["bids"]),
                list(view["asks"]),
                view["feed_seq"],
                view["last_price"],
                view["phase"],
            )
            if found != expected:
                self._fail(
                    "reads",
                    f"{call.client} was shown {found} as of entry {index}, it was {expected}",
                )

    # -- answers ----------------------------------------------------------------------------------

    def _check_request(self, call: Call) -> None:
        operation = call.operation
        if operation.is_done and operation.error is None and operation.result is not None:
            self._check_reply(call)
        elif (
            operation.is_done
            and operation.error is not None
            and not isinstance(operation.error, OutcomeUnknown)
        ):
            self._hold(
                call.repeats is None,
                "refused",
                f"{call.client} repeated a request and was told {operation.error!r}",
            )
            entered = [name for name in call.names if self.in_log[name]]
            repeated = operation.request_seq and self._was_repeated(call)
            self._hold(
                not entered or bool(repeated),
                "refused",
                f"{call.client} was told {operation.error}, but {entered} stand in the log",
            )

    def _was_repeated(self, call: Call) -> bool:
        return any(each.repeats is call for each in self._world.record.calls)

    def _check_reply(self, call: Call) -> None:
        reply = call.operation.result
        if _is_forgotten(reply.events):
            return
        key = (reply.session_id, reply.request_seq)
        known = self.results.get(key)
        if known is None:
            self._world.checks.fail(
                "acknowledged",
                f"request {key} of {call.client} at {reply.entry_index} is not in the log",
            )
        index, offset, events = known
        expected = private_view(events, call.account)
        is_equal = (reply.entry_index, reply.event_offset) == (index, offset) and (
            pack(reply.events) == pack(expected)  # as bytes: enumerations are numbers there
        )
        if not is_equal:
            self._fail(
                "acknowledged",
                f"request {key} of {call.client} was answered at {reply.entry_index}, "
                f"{reply.event_offset} by {reply.events}; the log says {(index, offset, expected)}",
            )

    # -- real time --------------------------------------------------------------------------------

    def _check_real_time(self) -> None:
        """In index order, nothing ends before something that stands earlier has begun."""
        begun = _first_begun(self._world.record.calls)
        done: list[tuple[int, int, float, float]] = []
        for call in self._world.record.calls:
            operation = call.operation
            if call.ended_at is None or not operation.is_done or operation.error is not None:
                continue
            if operation.kind == m.QUERY:
                if call.is_linearizable:
                    index = operation.result["applied_index"]
                    done.append((index, _READ, call.invoked_at, call.ended_at))
            elif not _is_forgotten(operation.result.events):
                first = begun[id(call.repeats or call)]
                done.append((operation.result.entry_index, _REQUEST, first, call.ended_at))
        done.sort()
        latest_begin, stands_at = 0.0, 0
        for (index, kind), group in itertools.groupby(done, key=lambda each: each[:2]):
            same = list(group)
            ended_at = min(each[3] for each in same)
            if ended_at < latest_begin:
                self._fail(
                    "real time",
                    f"a {_KINDS[kind]} of entry {index} ended at {ended_at:.6f}, before a call "
                    f"began at {latest_begin:.6f} that stands earlier, at {stands_at}",
                )
            begin = max(each[2] for each in same)
            if begin > latest_begin:
                latest_begin, stands_at = begin, index

    def _hold(self, condition: bool, invariant: str, message: str) -> None:
        if not condition:
            self._fail(invariant, message)

    def _fail(self, invariant: str, message: str) -> NoReturn:
        self._world.checks.fail(invariant, message)


def _first_begun(calls: list[Call]) -> dict[int, float]:
    return {id(call): call.invoked_at for call in calls if call.repeats is None}


def _is_forgotten(events: Any) -> bool:
    """Whether the session, or its memory of this request, was gone: it had no effect now."""
    if not events:
        return False
    first = events[0]
    return first[0] in (REJECTED, CANCEL_REJECTED) and first[2] in _FORGOTTEN

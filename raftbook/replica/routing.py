"""The way of requests into the log: what a leader proposes, and what others forward to it.

Owns when requests go a step further, how they are cut into entries, and which entries a leader
makes besides: newer rules, work that nobody asked for, the check of digests. Who waits for an
answer is `proposer.py`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from raftbook.errors import ProtocolError
from raftbook.replica.agreement import Agreement
from raftbook.replica.machine import Machine
from raftbook.replica.messages import Message
from raftbook.replica.meter import Meter
from raftbook.replica.proposer import FORWARD_BYTES_MAX, Forwarded, Proposer
from raftbook.replica.raft import Raft
from raftbook.replica.reports import Reports
from raftbook.replica.unasked import Unasked
from raftbook.replica.upgrade import EngineVersions
from raftbook.storage.log_store import LogStore
from raftbook.wire.entry import CHECK, commands_in, pack_entry, read_requests

UNAPPLIED_ENTRIES_MAX: Final = 64
"""A leader with this many entries under way gathers on instead of proposing more."""
ENTRY_COMMANDS_MAX: Final = 4_096
"""An entry is applied at once: it holds no more commands than one request may, however short."""
COMPLAIN_S: Final = 1.0
"""The log hears once in this time that a peer's requests are refused."""


class Router:
    """Moves what `proposer` and `forwarded` hold, once in each turn.

    Args:
        post: lets a message to a peer leave with this turn.
        entry_bytes_max, entry_requests_max: bounds of one entry; see `config.Bounds`.
    """

    def __init__(
        self,
        raft: Raft,
        machine: Machine,
        log: LogStore,
        *,
        proposer: Proposer,
        forwarded: Forwarded,
        agreement: Agreement,
        engines: EngineVersions,
        meter: Meter,
        reports: Reports,
        post: Callable[[int, Message], None],
        clock: Callable[[], float],
        wall_ns: Callable[[], int],
        entry_bytes_max: int,
        entry_requests_max: int,
    ) -> None:
        self._raft, self._machine, self._log = raft, machine, log
        self._proposer, self._forwarded = proposer, forwarded
        self._agreement, self._engines = agreement, engines
        self._meter, self._reports, self._post = meter, reports, post
        self._clock, self._wall_ns = clock, wall_ns
        self._entry_bytes_max, self._entry_requests_max = entry_bytes_max, entry_requests_max
        self._unasked = Unasked()
        self._way: tuple[int | None, int] = (None, 0)
        self._complained_at: dict[int, float] = {}

    def needs_turn(self) -> bool:
        """Whether something would go a step further if a turn came at once."""
        if self._may_route():
            return True
        # A mass cancel of many pages, say, goes on as soon as its last page is committed.
        goes_on = self._machine.exchange.is_unfinished and self._raft.may_propose
        return goes_on and self._unapplied() == 0

    def forwarded_by(self, peer_id: int, requests: tuple[bytes, ...]) -> None:
        """Take what a peer forwarded. One bad request would void the entry it is joined into: the
        message is refused whole."""
        try:
            size = max(map(len, requests), default=0)
            if size > self._entry_bytes_max:
                raise ProtocolError(f"a request of {size} bytes is larger than an entry")
            read = read_requests(requests)
        except ProtocolError as error:
            self._complain(peer_id, str(error))
            return
        if not self._forwarded.add(peer_id, requests):
            self._complain(peer_id, "too many wait already")
        elif self._raft.is_leader:
            for raw, request in zip(requests, read, strict=True):
                self._machine.read_ahead.request(raw, request)

    def _complain(self, peer_id: int, reason: str) -> None:
        """Say that requests of a peer were refused; once a second, however many there are."""
        if self._clock() - self._complained_at.get(peer_id, -COMPLAIN_S) >= COMPLAIN_S:
            self._complained_at[peer_id] = self._clock()
            self._reports.forward_refused(peer_id, reason)

    def turn(self) -> None:
        """Bring gathered requests one step nearer to the log."""
        raft = self._raft
        way = (raft.leader_id, raft.term)
        if way != self._way:
            self._way = way
            self._proposer.resend_all()
            if raft.is_leader:
                self._agreement.leads()
        if raft.may_propose:
            self._switch_engine()
            if self._may_route():
                self._propose([*self._forwarded.take(), *self._proposer.take()])
            elif self._unapplied() == 0:
                exchange = self._machine.exchange
                time_ns = self._unasked.due(exchange, self._clock(), self._wall_ns())
                if time_ns is not None:
                    raft.propose([self._pack(time_ns, [])])
            if self._unapplied() < UNAPPLIED_ENTRIES_MAX:
                check = self._agreement.next_check(self._clock())
                if check is not None:
                    raft.propose([check], kind=CHECK)
            return
        if raft.is_leader:
            return  # what came is held until this node may propose again, or another leads
        self._forwarded.clear()  # whoever sent them sends them again to the new leader
        self._machine.read_ahead.clear()
        leader_id = way[0]
        if leader_id is not None and self._may_route():
            for batch in _batches(self._proposer.take(), FORWARD_BYTES_MAX, 1 << 20, 1 << 30):
                self._post(leader_id, {"type": "forward", "requests": tuple(batch)})

    def _may_route(self) -> bool:
        """Whether requests wait that could go a step further now."""
        raft = self._raft
        if raft.is_leader:
            waiting = self._proposer.has_queued() or bool(self._forwarded)
            has_room = waiting and self._unapplied() < UNAPPLIED_ENTRIES_MAX
            return has_room and raft.may_propose
        return self._proposer.has_queued() and raft.leader_id not in (None, self._raft.node_id)

    def _unapplied(self) -> int:
        return self._log.last_index - self._raft.applied_index

    def _propose(self, requests: list[bytes]) -> None:
        batches = _batches(
            requests, self._entry_bytes_max, self._entry_requests_max, ENTRY_COMMANDS_MAX
        )
        time_ns = self._wall_ns()
        self._raft.propose([self._pack(time_ns, batch) for batch in batches])
        appended = self._log.entries[len(self._log.entries) - len(batches) :]
        for batch, (payload, index, _) in zip(batches, appended, strict=True):
            self._machine.read_ahead.entry(index, time_ns, batch, payload)
        self._meter.proposed(self._log.last_index, self._clock())

    def _pack(self, time_ns: int, requests: list[bytes]) -> bytes:
        in_force = self._machine.exchange.engine_version
        return pack_entry(time_ns, requests, engine_version=in_force)

    def _switch_engine(self) -> None:
        """Put newer rules in force once every member is known to have them."""
        switch = self._engines.next_switch(
            self._raft.peer_ids,
            in_force=self._machine.exchange.engine_version,
            term=self._raft.term,
            wall_ns=self._wall_ns,
        )
        if switch is not None:
            self._raft.propose([switch])


def _batches(
    requests: Iterable[bytes], bytes_max: int, count_max: int, commands_max: int
) -> list[list[bytes]]:
    """Cut a sequence into runs of so many at most, in order; what is larger alone stands alone."""
    batches: list[list[bytes]] = []
    size = commands = 0
    for raw in requests:
        more = commands_in(raw)
        is_full = size + len(raw) > bytes_max or commands + more > commands_max
        if not batches or is_full or len(batches[-1]) >= count_max:
            batches.append([])
            size = commands = 0
        batches[-1].append(raw)
        size += len(raw)
        commands += more
    return batches

"""One replica: everything a node does in one turn, in the only order that is safe.

Owns the turn: take messages, gather requests, step Raft, sync the journal once, and only then let
anything leave: messages to peers, answers to clients. So nothing is said that is not on disk,
at one sync for however many orders a turn carries (F3). Clock, log, snapshots and network come from
outside; a simulation runs this class as it is.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Protocol

from raftbook.core.events import Reply
from raftbook.core.types import Reject
from raftbook.errors import ProtocolError, StorageError
from raftbook.replica.machine import Applied, Machine
from raftbook.replica.messages import Message
from raftbook.replica.proposer import FORWARD_BYTES_MAX, Proposer, Refusal, RequestKey, Waiter
from raftbook.replica.raft import NOBODY, Raft, RaftTimings
from raftbook.replica.seams import Random
from raftbook.replica.shipping import Shipper, SnapshotMaker
from raftbook.storage.log_store import LogStore
from raftbook.storage.snapshot_header import SnapshotHeader
from raftbook.storage.snapshots import SnapshotStore
from raftbook.wire.entry import pack_entry

_log = logging.getLogger(__name__)

UNCOMMITTED_ENTRIES_MAX: Final = 64
"""A leader with this many entries under way gathers on instead of proposing more."""
QUIET_NS_MAX: Final = 30_000_000_000
"""Logical time falls at most this far behind the leader's clock, whether or not anybody trades."""
LOG_KEPT_ENTRIES: Final = 1_000
"""Entries kept before a snapshot, so that a peer a little behind needs no snapshot."""


class Links(Protocol):
    """The network to the peers."""

    def send(self, peer_id: int, messages: list[Message]) -> None:
        """Send messages in order; they may be lost, together with all that follow."""


@dataclass(frozen=True, slots=True)
class ReplicaBounds:
    """Bounds of one replica; see `config.Bounds` for what each is."""

    entry_bytes_max: int
    entry_requests_max: int
    requests_pending_max: int
    snapshot_every_entries: int
    snapshot_every_bytes: int
    request_deadline_s: float


class Replica:
    """One member of the cluster, without sockets.

    Attributes:
        fenced: why this node has stopped taking part, None while it does (P5). A fenced node
            answers local reads and nothing else.
        on_applied: called with each applied entry, in order, once the turn's sync is done.
    """

    def __init__(
        self,
        node_id: int,
        peer_ids: Iterable[int],
        *,
        machine: Machine,
        log: LogStore,
        snapshots: SnapshotStore,
        maker: SnapshotMaker,
        links: Links,
        timings: RaftTimings,
        bounds: ReplicaBounds,
        clock: Callable[[], float],
        wall_ns: Callable[[], int],
        rng: Random,
    ) -> None:
        self.node_id = node_id
        self.peer_ids = tuple(sorted(peer_ids))
        self.machine = machine
        self.fenced: str | None = None
        self.on_applied: list[Callable[[Applied], None]] = []
        self.on_installed: list[Callable[[], None]] = []
        self.snapshot_index = 0
        self._log, self._snapshots, self._maker = log, snapshots, maker
        self._links, self._bounds = links, bounds
        self._clock, self._wall_ns = clock, wall_ns
        self._inbox: list[tuple[int, Message]] = []
        self._forwarded: list[bytes] = []
        self._outbox: dict[int, list[Message]] = {peer_id: [] for peer_id in self.peer_ids}
        self._answers: list[tuple[Waiter, Reply, Applied]] = []
        self._refusals: list[Refusal] = []
        self._news: list[Applied] = []
        self._proposer = Proposer(bounds.requests_pending_max, bounds.request_deadline_s)
        self._way: tuple[int | None, int] = (None, 0)
        self._making_index = self._failed_index = self._bytes_since_snapshot = 0
        applied_index = self._align()
        self.shipper = Shipper(
            snapshots,
            clock=clock,
            send=self._post,
            installed=self._install,
            position=lambda: (self.raft.applied_index, self.raft.term),
        )
        self.raft = Raft(
            node_id,
            self.peer_ids,
            log=log,
            applied_index=applied_index,
            timings=timings,
            clock=clock,
            rng=rng,
            send=self._post,
            apply=self._apply,
        )
        self.raft.shipping = self.shipper
        log.sync()

    # -- from outside -------------------------------------------------------------------------

    def receive(self, peer_id: int, message: Message) -> None:
        """Take a peer's message; it is looked at in the next turn."""
        if self.fenced is not None:
            return
        if message["type"] == "forward":
            self._forwarded += message["requests"]
        else:
            self._inbox.append((peer_id, message))

    def connected(self, peer_id: int) -> None:
        """A connection to a peer stands."""
        self._guard(lambda: self._connected(peer_id))

    def disconnected(self, peer_id: int) -> None:
        """The connection to a peer is gone."""
        self._guard(lambda: self.raft.disconnected(peer_id))

    def submit(self, session_id: int, request_seq: int, raw: bytes, waiter: Waiter) -> None:
        """Let a packed request into the log; `waiter` hears once what became of it."""
        key = (session_id, request_seq)
        if self.fenced is not None:
            message = f"node {self.node_id} is fenced: {self.fenced}; use another node"
            self._refusals.append(Refusal([waiter], key, Reject.NOT_READY, message))
            return
        refusal = self._proposer.submit(key, raw, waiter, self._clock())
        if refusal is not None:
            self._refusals.append(refusal)

    def needs_turn(self) -> bool:
        """Whether the next turn should come at once rather than with the clock."""
        if self._refusals:
            return True
        if self.fenced is not None:
            return False
        return bool(self._inbox) or self.raft.needs_turn()

    @property
    def last_index(self) -> int:
        """The last entry in this node's log, committed or not."""
        return self._log.last_index

    def age_ms(self) -> int:
        """How long ago this node last knew itself current: 0 for a leader."""
        if self.raft.is_leader and self.fenced is None:
            return 0
        return int((self._clock() - self.raft.heard_at) * 1_000)

    @property
    def pending_count(self) -> int:
        """Requests that wait for an answer."""
        return len(self._proposer)

    def start_snapshot(self) -> int:
        """Begin a snapshot of the applied state, unless one is under way; its index."""
        if self.fenced is not None:
            return self.raft.applied_index  # never to be reached: the state may be a broken one
        if not self._making_index and self.raft.applied_index > self.snapshot_index:
            index = self.raft.applied_index
            self._maker.start(index, self._log.entries[index - self._log.base_index][2])
            self._making_index = index
            self._bytes_since_snapshot = 0
        return self._making_index or self.snapshot_index

    # -- the turn -----------------------------------------------------------------------------

    def turn(self) -> None:
        """One turn. Never raises: what must not happen fences the node, with the reason."""
        self._guard(self._turn)
        self._tell()

    def _turn(self) -> None:
        inbox, self._inbox = self._inbox, []
        for peer_id, message in inbox:
            self.raft.receive(peer_id, message)
        self._route()
        self.raft.turn()
        self._refusals += self._proposer.expire(self._clock())
        self._compact()
        self._log.sync()
        for peer_id, messages in self._outbox.items():
            if messages:
                self._outbox[peer_id] = []
                self._links.send(peer_id, messages)

    def _route(self) -> None:
        """Bring gathered requests one step nearer to the log."""
        way = (self.raft.leader_id, self.raft.term)
        if way != self._way:
            self._way = way
            self._proposer.resend_all()
        if self.raft.is_leader:
            uncommitted = self._log.last_index - self.raft.commit_index
            waiting = self._forwarded or self._proposer.has_queued()
            if waiting and uncommitted < UNCOMMITTED_ENTRIES_MAX:
                forwarded, self._forwarded = self._forwarded, []
                self._propose([*forwarded, *self._proposer.take()])
            elif not uncommitted and self._is_time_behind():
                self.raft.propose([pack_entry(self._wall_ns(), ())])
            return
        self._forwarded.clear()  # whoever sent them sends them again to the new leader
        if way[0] is not None and way[0] != self.node_id and self._proposer.has_queued():
            for batch in _batches(self._proposer.take(), FORWARD_BYTES_MAX, 1 << 20):
                self._post(way[0], {"type": "forward", "requests": tuple(batch)})

    def _is_time_behind(self) -> bool:
        """Whether a quiet market's logical time needs an entry of its own to keep up: one entry
        moves it at most 60 s, and what trades next is stamped with it.
        """
        now_ns = self.machine.exchange.now_ns
        return now_ns > 0 and self._wall_ns() - now_ns > QUIET_NS_MAX

    def _propose(self, requests: list[bytes]) -> None:
        bounds = self._bounds
        time_ns = self._wall_ns()
        batches = _batches(requests, bounds.entry_bytes_max, bounds.entry_requests_max)
        self.raft.propose([pack_entry(time_ns, batch) for batch in batches])

    def _apply(self, index: int, term: int, payload: bytes) -> None:
        self._bytes_since_snapshot += len(payload)
        applied = self.machine.apply(index, term, payload)
        if applied is None:
            return
        for reply in applied.replies:
            key: RequestKey = (reply[0], reply[1])
            for waiter in self._proposer.answered(key):
                self._answers.append((waiter, reply, applied))
        self._news.append(applied)

    def _tell(self) -> None:
        """Let answers and news leave: the journal is synced, or this node is fenced."""
        answers, self._answers = self._answers, []
        for waiter, reply, applied in answers:
            _safely(waiter.replied, reply, applied)
        news, self._news = self._news, []
        for applied in news:
            for listener in self.on_applied:
                _safely(listener, applied)
        refusals, self._refusals = self._refusals, []
        for refusal in refusals:
            for waiter in refusal.waiters:
                _safely(waiter.refused, *refusal.key, refusal.code, refusal.message)

    def _post(self, peer_id: int, message: Message) -> None:
        self._outbox[peer_id].append(message)

    def _connected(self, peer_id: int) -> None:
        self.raft.connected(peer_id)
        if peer_id == self.raft.leader_id:
            self._proposer.resend_all()

    # -- snapshots ----------------------------------------------------------------------------

    def _align(self) -> int:
        """Make log and newest usable snapshot fit each other; the index the state then has.

        F1 F7 F11 F13: the log loses at most a prefix the snapshot covers, never its tail; a node
        whose state cannot be made whole refuses to start.
        """
        log = self._log
        problems: list[str] = []
        for file in self._snapshots.candidates():
            if file.header is None:
                problems.append(f"{file.path.name}: {file.problem}")
                continue
            if file.index < log.base_index:
                break
            try:
                self._restore(file.header)
            except (StorageError, ProtocolError) as error:
                problems.append(str(error))
                continue
            is_blank = log.last_index == 1
            self._fit_log(file.header)
            if is_blank:
                log.set_vote(log.term, NOBODY)  # a state without a log does not make a member
            self.snapshot_index = file.index
            return file.index
        if log.base_index == 1:
            return 1
        raise StorageError(
            path=str(self._snapshots.directory),
            reason=f"the log starts at {log.base_index} and no readable snapshot covers what was "
            f"before ({'; '.join(problems) or 'there is none'})",
            remedy="move this node's directory away and start it again: the others catch it up",
        )

    def _fit_log(self, header: SnapshotHeader) -> None:
        log = self._log
        if log.base_index <= header.index <= log.last_index:
            if log.entries[header.index - log.base_index][2] == header.term:
                return
        if header.term > log.term:  # at a start: killed between an install's file and its sync
            log.set_vote(header.term, None)
        log.reset(header.index, header.term)

    def _restore(self, header: SnapshotHeader) -> None:
        payload = self._snapshots.load(header)
        self.machine.restore(payload, index=header.index, expected_state_digest=header.state_digest)

    def _install(self, header: SnapshotHeader) -> None:
        """Become what the leader sent (F2: who waits asks again and gets the original reply)."""
        self._restore(header)
        self._fit_log(header)
        self.raft.installed(header.index)
        self.snapshot_index = header.index
        self._proposer.resend_all()
        self._snapshots.prune()
        for listener in self.on_installed:
            listener()
        _log.info("installed snapshot %d in term %d", header.index, header.term)

    def _compact(self) -> None:
        """Snapshot when the log has grown, trim the log once the file is verified (F1 F5)."""
        succeeded = self._maker.poll()
        if succeeded is not None:
            index, self._making_index = self._making_index, 0
            if succeeded and index > self.snapshot_index:
                older_index, self.snapshot_index = self.snapshot_index, index
                # The log goes back to the older snapshot, so that one damaged file is no loss.
                keep_from = min(index - LOG_KEPT_ENTRIES, older_index)
                if keep_from > self._log.base_index:
                    self._log.trim_to(keep_from)
                self._snapshots.prune()
            elif not succeeded:
                _log.error("snapshot %d could not be written; the log is kept whole", index)
                self._failed_index = index
        bounds = self._bounds
        grown = self.raft.applied_index - max(self.snapshot_index, self._failed_index)
        big = self._bytes_since_snapshot > bounds.snapshot_every_bytes
        if grown >= bounds.snapshot_every_entries or big:
            self.start_snapshot()

    # -- what must not happen -----------------------------------------------------------------

    def _guard(self, action: Callable[[], None]) -> None:
        if self.fenced is not None:
            return
        try:
            action()
        except StorageError as error:
            self._fence(str(error))
        except Exception as error:  # whatever it is: going on could make this replica differ
            _log.exception("node %d stops", self.node_id)
            self._fence(f"{type(error).__name__}: {error}")

    def _fence(self, reason: str) -> None:
        """Stop taking part: nothing of this turn leaves, nothing more is acknowledged (P5, S8)."""
        self.fenced = reason
        _log.critical(
            "node %d is fenced at entry %d: %s", self.node_id, self.raft.applied_index, reason
        )
        unsaid, self._answers = self._answers, []
        self._news.clear()
        for waiter, reply, _ in unsaid:
            key: RequestKey = (reply[0], reply[1])
            message = "the node stopped before its answer was safe"
            self._refusals.append(Refusal([waiter], key, Reject.OUTCOME_UNKNOWN, message))
        for messages in self._outbox.values():
            messages.clear()
        self._refusals += self._proposer.give_up_all()


def _safely(call: Callable[..., None], *arguments: object) -> None:
    """Call somebody who must neither stop this node nor keep others from their answers (F8)."""
    try:
        call(*arguments)
    except Exception:
        _log.exception("%r failed", call)


def _batches(requests: Iterable[bytes], bytes_max: int, count_max: int) -> list[list[bytes]]:
    """Cut a sequence into runs of at most `bytes_max` and `count_max`, in order."""
    batches: list[list[bytes]] = []
    size = 0
    for raw in requests:
        if not batches or size + len(raw) > bytes_max or len(batches[-1]) >= count_max:
            batches.append([])
            size = 0
        batches[-1].append(raw)
        size += len(raw)
    return batches

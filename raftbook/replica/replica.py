"""One replica: everything a node does in one turn, in the only order that is safe.

Owns the turn: take messages, gather requests, step Raft, let a leader's appends go, sync the
journal once, and only then let anything else leave: messages to peers, then, once what is committed
took effect, answers to clients. So nothing is claimed that is not on disk, at one sync for however
many orders a turn carries (F3), and no peer waits for this node to match orders.
Clock, log, snapshots and network come from outside; a simulation runs this class as it is.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from raftbook.core.commands import Command
from raftbook.core.types import Reject
from raftbook.replica.agreement import Agreement
from raftbook.replica.answers import Answers, safely
from raftbook.replica.compaction import Compaction
from raftbook.replica.fences import Fence, FenceKind, kind_of
from raftbook.replica.figures import Figures
from raftbook.replica.machine import Machine
from raftbook.replica.membership import Membership
from raftbook.replica.messages import Links, Message
from raftbook.replica.meter import Meter
from raftbook.replica.proposer import (
    Forwarded,
    Proposer,
    Refusal,
    RequestKey,
    Waiter,
    names_no_session,
)
from raftbook.replica.raft import Raft, RaftTimings
from raftbook.replica.reports import Reports
from raftbook.replica.routing import Router
from raftbook.replica.seams import Random
from raftbook.replica.shipping import Shipper, SnapshotMaker
from raftbook.replica.upgrade import UNKNOWN, EngineVersions
from raftbook.storage.log_store import LogStore
from raftbook.storage.snapshot_header import SnapshotHeader
from raftbook.storage.snapshots import SnapshotStore
from raftbook.wire.entry import CHECK

_log = logging.getLogger(__name__)

LOG_KEPT_ENTRIES: Final = 1_000
"""Entries kept before a snapshot, so that a peer a little behind needs no snapshot."""


@dataclass(frozen=True, slots=True)
class ReplicaBounds:
    """Bounds of one replica; see `config.Bounds` for what each is."""

    entry_bytes_max: int
    entry_requests_max: int
    requests_pending_max: int
    snapshot_every_entries: int
    snapshot_every_bytes: int
    request_deadline_s: float
    pending_bytes_max: int = 64 << 20
    digest_check_s: float = 1.0


class Replica:
    """One member of the cluster, without sockets.

    Attributes:
        fence: why this node has stopped taking part, None while it does (P5). A fenced node
            answers local reads and nothing else.
        on_fenced: called once when that happens.
        on_applied: called with each applied entry, in order, once the turn's sync is done.
        on_passed: called with the last index that a turn applied, Raft's own entries included.
        on_members: called when another membership is in force or committed, after that sync.
        figures: numbers for whoever watches this node.
    """

    def __init__(
        self,
        node_id: int,
        configuration: Membership,
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
        name_of: Callable[[int], str] | None = None,
    ) -> None:
        self.node_id = node_id
        self.machine = machine
        self.fence: Fence | None = None
        self._answers = Answers()
        self.on_applied, self.on_passed = self._answers.on_applied, self._answers.on_passed
        self.on_installed: list[Callable[[], None]] = []
        self.on_fenced: list[Callable[[], None]] = []
        self.on_members: list[Callable[[], None]] = []
        self._log, self._maker, self._links, self._bounds = log, maker, links, bounds
        self._clock, self._wall_ns = clock, wall_ns
        self._meter = Meter()
        self._reports = Reports(node_id, name_of)
        self._engines = EngineVersions()
        self._make_queues()
        self._compaction = self._make_compaction(snapshots)
        self.figures = self._make_figures()
        applied_index = self._compaction.align()
        self.agreement = self._make_agreement()
        self.shipper = self._make_shipper(snapshots)
        self.raft = Raft(
            node_id,
            machine.membership or configuration,
            log=log,
            applied_index=applied_index,
            timings=timings,
            clock=clock,
            rng=rng,
            send=self._post,
            apply=self._apply,
        )
        self.raft.shipping = self.shipper
        self._router = self._make_router()
        self._unheard_at = self.raft.heard_at
        self._members = (self.raft.membership, self.raft.committed_membership)
        log.sync()

    def _make_queues(self) -> None:
        bounds = self._bounds
        count_max, bytes_max = bounds.requests_pending_max, bounds.pending_bytes_max
        self._inbox: list[tuple[int, Message]] = []
        self._outbox: dict[int, list[Message]] = defaultdict(list)
        forget = self.machine.read_ahead.forget
        self._proposer = Proposer(count_max, bounds.request_deadline_s, bytes_max, forget)
        self._forwarded = Forwarded(count_max, bytes_max)
        self._unseen: frozenset[RequestKey] = frozenset()  # may be in what was installed

    def _make_compaction(self, snapshots: SnapshotStore) -> Compaction:
        return Compaction(
            self.machine,
            self._log,
            snapshots,
            self._maker,
            every_entries=self._bounds.snapshot_every_entries,
            every_bytes=self._bounds.snapshot_every_bytes,
            needed_from=self._needed_from,
            reports=self._reports,
            clock=self._clock,
        )

    def _make_figures(self) -> Figures:
        return Figures(
            self._meter,
            proposer=self._proposer,
            forwarded=self._forwarded,
            answers=self._answers,
            reports=self._reports,
            compaction=self._compaction,
        )

    def _needed_from(self) -> int:
        """What this leader's peers go on from: the snapshot that one is being sent, or what it has.

        A transfer slower than two snapshots are apart would else end before a log that has gone on
        without it, and begin anew for ever.
        """
        raft = self.raft
        found = [raft.applied_index]
        for peer_id in raft.peer_ids if raft.is_leader else ():
            index = self.shipper.sending_index(peer_id)
            if not index and raft.reaches(peer_id) and raft.is_answering(peer_id):
                index = raft.match_index(peer_id) or 0
            if index:
                found.append(index)
        return min(found)

    def _make_agreement(self) -> Agreement:
        return Agreement(
            self.node_id,
            members=self._judges,
            digest_at=self.machine.digest_at,
            judged_from=self._log.last_index + 1,
            interval_s=self._bounds.digest_check_s,
            reports=self._reports,
        )

    def _judges(self) -> tuple[int, ...]:
        """Whose digests count: the voters as of the last applied entry, so the same everywhere."""
        membership = self.machine.membership
        return () if membership is None else membership.voter_ids

    def _make_router(self) -> Router:
        bounds = self._bounds
        return Router(
            self.raft,
            self.machine,
            self._log,
            proposer=self._proposer,
            forwarded=self._forwarded,
            agreement=self.agreement,
            engines=self._engines,
            meter=self._meter,
            reports=self._reports,
            post=self._post,
            clock=self._clock,
            wall_ns=lambda: self._wall_ns(),
            entry_bytes_max=bounds.entry_bytes_max,
            entry_requests_max=bounds.entry_requests_max,
        )

    def _make_shipper(self, snapshots: SnapshotStore) -> Shipper:
        return Shipper(
            snapshots,
            clock=self._clock,
            send=self._post,
            installed=self._install,
            position=lambda: (self.raft.applied_index, self.raft.term),
            founding=lambda: self.raft.membership.founding,
            wanted=self._compaction.replace_damaged,
            reports=self._reports,
        )

    # -- from outside -------------------------------------------------------------------------

    def receive(self, peer_id: int, message: Message) -> None:
        """Take a peer's message; it is looked at in the next turn."""
        if self.fence is not None:
            return
        if message["type"] == "forward":
            self._router.forwarded_by(peer_id, message["requests"])
        elif message["type"] == "attest":
            self.agreement.told(peer_id, message["index"], message["digest"])
        else:
            self._inbox.append((peer_id, message))

    def connected(self, peer_id: int, *, engine_version: int = UNKNOWN) -> None:
        """A connection to a peer stands, which said in its handshake what it can run."""
        self._engines.learn(peer_id, engine_version)
        self._guard(lambda: self._connected(peer_id))

    def disconnected(self, peer_id: int) -> None:
        """The connection to a peer is gone."""
        self._engines.forget(peer_id)
        self._guard(lambda: self.raft.disconnected(peer_id))

    def submit(
        self,
        session_id: int,
        request_seq: int,
        raw: bytes,
        waiter: Waiter,
        commands: tuple[Command, ...] | None = None,
    ) -> None:
        """Let a packed request into the log; `waiter` hears once what became of it.

        Args:
            commands: what `raw` says, where that is known.
        """
        key = (session_id, request_seq)
        if self.fence is not None:
            message = f"node {self.node_id} is fenced: {self.fenced}; use another node"
            self._answers.refuse([Refusal([waiter], key, Reject.NOT_READY, message)])
            return
        is_known = key in self._proposer
        refusal = self._proposer.submit(key, raw, waiter, self._clock())
        if refusal is not None:
            self._answers.refuse([refusal])
        elif commands is not None and not is_known and self.raft.is_leader:
            self.machine.read_ahead.request(raw, (session_id, request_seq, commands))

    def needs_turn(self) -> bool:
        """Whether the next turn should come at once rather than with the clock."""
        if self._answers.has_refusals():
            return True
        if self.fence is not None:
            return False
        return bool(self._inbox) or self.raft.needs_turn() or self._router.needs_turn()

    @property
    def fenced(self) -> str | None:
        """The reason of the fence, None without one."""
        return None if self.fence is None else self.fence.reason

    @property
    def snapshot_index(self) -> int:
        """The newest snapshot of this node, 0 without one."""
        return self._compaction.snapshot_index

    @property
    def snapshot_failed_index(self) -> int:
        """The last snapshot that could not be written, 0 without one."""
        return self._compaction.failed_index

    def retire(self) -> None:
        """This node was removed from the cluster: it takes no part any more, and can be read."""
        if self.fence is None:
            reason = f"node {self.node_id} was removed from the cluster; its id is not used again"
            self._stop(FenceKind.REMOVED, reason)

    @property
    def peer_ids(self) -> tuple[int, ...]:
        """All nodes that this one has to do with, without itself."""
        return self.raft.peer_ids

    @property
    def last_index(self) -> int:
        """The last entry in this node's log, committed or not."""
        return self._log.last_index

    def last_word(self) -> str:
        """Since when this node's state may be old, for whoever is refused for that."""
        if not self.raft.membership.is_founded:
            return self.raft.founding.why_not()
        if not self.raft.is_leader and self.raft.heard_at == self._unheard_at:
            return "this node last heard of a leader before it was started"
        if self.age_ms() > self.silence_ms():
            return f"this node lacks entries: its state is {self.age_ms() / 1_000:.1f} s old"
        return f"this node last heard of a leader {self.age_ms() / 1_000:.1f} s ago"

    def silence_ms(self) -> int:
        """How long ago a leader was last answered by a majority, and a follower heard its leader,
        or was started."""
        is_leader = self.fence is None and self.raft.is_leader
        heard_at = self.raft.majority_heard_at() if is_leader else self.raft.heard_at
        return int((self._clock() - heard_at) * 1_000)

    def age_ms(self) -> int:
        """How long ago this node last knew itself current: a leader when a majority answered it, a
        follower when its leader spoke. A leader goes on for `fallback_s` without a majority, and
        its followers cannot know: theirs may be that much too young.
        """
        state_ms = (self._wall_ns() - self.machine.exchange.now_ns) // 1_000_000
        is_leader = self.fence is None and self.raft.is_leader
        if not is_leader and self.raft.heard_at == self._unheard_at:
            return state_ms  # its state is from before its start
        heard_ms = self.silence_ms()
        # Where more is committed than a turn may apply, it is as old as the last entry it applied.
        is_behind = self.raft.needs_turn() or self.raft.lacks_entries or self.shipper.is_receiving
        return max(heard_ms, state_ms) if is_behind else heard_ms

    @property
    def log_bytes(self) -> int:
        """The size of the entries in this node's log, all of which are in memory."""
        return self._log.bytes_in_tail

    @property
    def pending_count(self) -> int:
        """Requests that wait for an answer."""
        return len(self._proposer)

    def is_pending(self, session_id: int, request_seq: int) -> bool:
        """Whether this request waits for an answer here, whoever brought it."""
        return (session_id, request_seq) in self._proposer

    def start_snapshot(self) -> int:
        """Begin a snapshot of the applied state, unless one is under way; its index."""
        if self.fence is not None:
            return self.raft.applied_index  # never to be reached: the state may be a broken one
        return self._compaction.begin(self.raft.applied_index)

    # -- the turn -----------------------------------------------------------------------------

    def turn(self) -> None:
        """One turn. Never raises: what must not happen fences the node, with the reason."""
        if self.raft.removed_by is not None:
            self.retire()
        self._guard(self._turn)
        self._answers.tell()

    def _turn(self) -> None:
        inbox, self._inbox = self._inbox, []
        for peer_id, message in inbox:
            self.raft.receive(peer_id, message)
        self._router.turn()
        raft = self.raft
        raft.turn()
        self._reports.stands(raft.role, raft.term, raft.leader_id, self._log.last_index)
        self.shipper.turn()
        self._compaction.turn(raft.applied_index, log_kept=LOG_KEPT_ENTRIES)
        self._send_before_sync()
        self._measured_sync()
        raft.synced()
        self._send()
        raft.apply_committed()
        self._answers.refuse(self._proposer.expire(raft.now))
        self._attest()
        self._send()
        self._look_at_members()

    def _measured_sync(self) -> None:
        began = self._clock()
        if self._meter.awaits_commit:
            if self.raft.is_leader:
                self._meter.committed(self.raft.commit_index, began)
            else:
                self._meter.leads_no_more()
        if self._log.sync():
            self._meter.sync.observe(self._clock() - began)

    def _send_before_sync(self) -> None:
        """Let go what claims nothing of this disk, so that others work while it does: a leader's
        entries, and requests on their way to the leader.

        An append that a power cut outruns is like one that the leader sent and lost: the followers
        may have an entry that it has not. What counts this disk in is the commit, which needs an
        answer to the append; that is read in a later turn, after this one's sync. A voter alone,
        with a learner to send to, needs no answer: it elects itself within the turn, and would
        after a power cut lead the same term anew; and what it calls committed within the turn is so
        by the sync. Hence `may_leave_unsynced`.
        """
        if not self._log.dirty:
            return
        may_leave = self.raft.may_leave_unsynced
        for peer_id, messages in self._outbox.items():
            early: list[Message] = []
            late: list[Message] = []
            for each in messages:
                kind = each["type"]
                # An append stays behind whatever was to be said before it.
                is_early = kind == "forward" or (kind == "append" and not late and may_leave(each))
                (early if is_early else late).append(each)
            if early:
                self._links.send(peer_id, early)
                messages[:] = late

    def _send(self) -> None:
        if not self._outbox:
            return
        outbox, self._outbox = self._outbox, defaultdict(list)
        for peer_id, messages in outbox.items():
            if messages:
                self._links.send(peer_id, messages)

    def _look_at_members(self) -> None:
        """Tell who must know that the members changed; what was sent to them has left."""
        members = (self.raft.membership, self.raft.committed_membership)
        if members != self._members:
            self._members = members
            for listener in self.on_members:
                safely(listener)

    def _attest(self) -> None:
        """Tell the leader the digest at the last check."""
        leader_id = self.raft.leader_id
        if leader_id is None:
            return
        word = self.agreement.own_word()
        if word is not None and leader_id != self.node_id:
            self._post(leader_id, {"type": "attest", "index": word[0], "digest": word[1]})

    def _apply(self, index: int, term: int, payload: bytes) -> None:
        self._compaction.applied(len(payload))
        began = self._clock()
        applied = self.machine.apply(index, term, payload)
        self._meter.apply.observe(self._clock() - began)
        self._answers.passed(index)
        if applied is None:
            if payload[:1] == CHECK:
                self.agreement.applied_check(index, payload[1:])
            return
        self._meter.requests.observe(len(applied.replies))
        if applied.replies:
            self.agreement.applied_entry()
        for reply in applied.replies:
            key = (reply[0], reply[1])
            waiters = self._proposer.answered(key)
            if not waiters:
                continue
            if key in self._unseen and names_no_session(reply):
                # It may have taken effect before what was installed, and then its session went.
                message = "its session is gone, and this node did not see what became of it"
                self._answers.refuse([Refusal(waiters, key, Reject.OUTCOME_UNKNOWN, message)])
            else:
                self._answers.reply(waiters, reply, applied)
        self._answers.applied(applied)

    def _post(self, peer_id: int, message: Message) -> None:
        self._outbox[peer_id].append(message)

    def _connected(self, peer_id: int) -> None:
        self.raft.connected(peer_id)
        if peer_id == self.raft.leader_id:
            self._proposer.resend_all()

    def _install(self, header: SnapshotHeader) -> None:
        """Become what the leader sent (F2: who waits asks again and gets the original reply)."""
        self._compaction.install(header)
        assert self.machine.membership is not None, f"snapshot {header.index} has no members"
        self.raft.installed(header.index, self.machine.membership)
        self.agreement.installed()
        self._unseen = self._proposer.left()
        self._proposer.resend_all()
        for listener in self.on_installed:
            listener()
        self._reports.snapshot_installed(header.index, header.term)

    # -- what must not happen -----------------------------------------------------------------

    def _guard(self, action: Callable[[], None]) -> None:
        if self.fence is not None:
            return
        try:
            action()
        except Exception as error:  # whatever it is: going on could make this replica differ
            kind = kind_of(error)
            if kind is FenceKind.BROKEN:
                _log.exception("node %d stops", self.node_id)
                self._stop(kind, f"{type(error).__name__}: {error}")
            else:
                self._stop(kind, str(error))

    def _stop(self, kind: FenceKind, reason: str) -> None:
        """Stop taking part: nothing of this turn leaves, nothing more is acknowledged (P5, S8)."""
        self.fence = Fence(kind, reason, self.raft.applied_index)
        self._answers.withhold()
        self._outbox.clear()
        self._answers.refuse(self._proposer.give_up_all())
        self._forwarded.clear()
        self.machine.read_ahead.clear()
        # To ask a peer to stand speaks of nothing that would have to be on disk or right.
        heir_id = None if kind is FenceKind.BROKEN else self.raft.abdicate()
        if heir_id is not None:
            self._send()
        self._reports.fenced(self.fence, heir_id)
        for listener in self.on_fenced:
            safely(listener)

"""One Raft node: PySyncObj's election and commit core with our log handling around it.

Owns what a node does on each peer message and clock turn. PySyncObj keeps the state, elections, the
commit rule and the timers (`doTick`); the methods overridden here, named with their mangled names,
are those that lose or double entries in the stock class. Each says which defect it closes; their
ids are listed in docs/GUARANTEES.md. Who the peers are is `raft_base`'s, who leads `elections`'s,
how the members change `member_changes`'s.

Knows no sockets, no files and no orders: messages leave through `send`, committed payloads through
`apply`, snapshots through `Shipping`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from raftbook.replica.appends import LogEntry, before_term_at, entries_from, has_room, term_at
from raftbook.replica.elections import Elections
from raftbook.replica.member_changes import MemberChanges
from raftbook.replica.membership import Membership, membership_payload
from raftbook.replica.messages import Message
from raftbook.replica.raft_base import FOLLOWER, RaftTimings, Shipping
from raftbook.replica.seams import Node, Random, activate
from raftbook.storage.log_store import LogStore
from raftbook.wire.entry import REGULAR

__all__ = ["REGULAR", "Raft", "RaftTimings", "Shipping"]

APPLY_BYTES_PER_TURN_MAX: Final = 128 << 10
"""Payload applied in one turn, some 20 ms, so that a node that catches up still hears its peers."""
APPLY_S_PER_TURN_MAX: Final = 0.05
"""Nor does a turn begin with another entry after that: a few bytes may ask for much."""
_REPLIES: Final = ("append_reply", "install_reply", "response_vote")


class Raft(Elections):
    """One node of the cluster; see `RaftBase` for what it is made of.

    Attributes:
        changes: changes of members, for the leader to make.
    """

    def __init__(
        self,
        node_id: int,
        membership: Membership,
        *,
        log: LogStore,
        applied_index: int,
        timings: RaftTimings,
        clock: Callable[[], float],
        rng: Random,
        send: Callable[[int, Message], None],
        apply: Callable[[int, int, bytes], None],
    ) -> None:
        super().__init__(
            node_id,
            membership,
            log=log,
            applied_index=applied_index,
            timings=timings,
            clock=clock,
            rng=rng,
            send=send,
            apply=apply,
        )
        self._is_founding = False
        # By peer_id: whether it holds this entry is in doubt, and until when an answer is awaited.
        self._doubted: dict[int, tuple[int, float]] = {}
        self.lacks_entries = False  # of what the leader holds: it hears it, and is behind
        self._synced_index = log.last_index
        self._told_index = applied_index
        self._synced_term = log.term
        self._begin_elections()
        self.changes = MemberChanges(self, round_s=timings.election_min_s)

    def needs_turn(self) -> bool:
        """Whether committed entries wait to be applied: then the next turn should come at once."""
        return self.commit_index > self.applied_index

    @property
    def may_propose(self) -> bool:
        """Whether requests may go into the log here now."""
        return self.is_leader and self.committed_membership.is_founded and not self.is_handing_over

    # -- what the driver does -----------------------------------------------------------------

    def turn(self) -> None:
        """One step of the clock: elections, commits, heartbeats."""
        activate(self._node)
        self._elections_turn()
        self.doTick(0.0)
        self._forget_request_to_stand()
        if self.is_leader:
            self.changes.turn()
        if self._configurations.forget_before(self.commit_index):
            self._configure()
        if self.is_leader and self.removed_by is not None:
            self._leave()

    def _leave(self) -> None:
        """Removed, and that is committed: let another lead before this node is missed."""
        self._SyncObj__sendAppendEntries()
        any(self.transfer_to(peer_id) for peer_id in sorted(self._others()))
        self._SyncObj__setState(FOLLOWER)
        self._SyncObj__raftLeader = None

    def synced(self) -> None:
        """The whole log is on disk, with the term and the vote in it."""
        self._synced_index = self._log.last_index
        self._synced_term = self.term

    def may_leave_unsynced(self, append: Message) -> bool:
        """Whether an append may leave before this turn's sync: this node leads, its term and the
        vote in it are on disk (who leads a term has raised it to stand, so they were synced
        together), and so is all that it calls committed, which is by this disk alone where nobody
        else votes."""
        is_known = self._synced_term == self.term and append["commit_index"] <= self._synced_index
        return self.is_leader and is_known

    def receive(self, peer_id: int, message: Message) -> None:
        """Take one message from a peer; its form was checked (`messages.check_message`)."""
        activate(self._node)
        if peer_id in self.committed_membership.retired:
            # The last word of a leader that leaves may follow the news that it has left.
            if message["type"] != "timeout_now" or peer_id != self.leader_id:
                return
        # A node that was away may hear of a leader or candidate whom its log does not know yet.
        peer = self._peers.get(peer_id)
        if peer is not None or message["type"] not in _REPLIES:
            self._SyncObj__onMessageReceived(peer or Node(peer_id), message)

    def propose(self, payloads: Iterable[bytes], *, kind: bytes = REGULAR) -> None:
        """Append entries as the leader; they leave for the peers with this turn (F14, S15).

        There is no queue to forget them in: whoever is not the leader must not call this.
        """
        activate(self._node)
        assert self.is_leader, f"propose as {self.role}"
        for payload in payloads:
            self._log.append(kind + payload, self._log.last_index + 1, self.term)
        self._SyncObj__sendAppendEntries()

    def propose_membership(self, membership: Membership) -> int:
        """Append a membership as the leader, in force at once; its index. See `configurations`."""
        assert self.is_leader, f"a membership proposed as {self.role}"
        index = self._log.last_index + 1
        payload = membership_payload(membership)
        self._log.append(payload, index, self.term)
        self._configurations.appended(payload, index)
        self._configure()
        self._SyncObj__sendAppendEntries()
        return index

    def connected(self, peer_id: int) -> None:
        """A connection to a peer stands: what an older one swallowed is sent again."""
        activate(self._node)
        peer = self._node_of(peer_id)
        self._SyncObj__onNodeConnected(peer)
        self._doubted.pop(peer_id, None)
        if self.membership.is_founded:
            self._tell_of_past(peer_id)
        if self.is_leader and peer_id in self._peers:
            match = self._SyncObj__raftMatchIndex[peer]
            # A peer that has told nothing yet is asked at our log's end: it says where to go back
            # to. To begin at our log's beginning would send most of them a whole snapshot.
            if match:
                next_index = self._SyncObj__raftNextIndex[peer]
                self._SyncObj__raftNextIndex[peer] = min(next_index, match + 1)
            else:
                self._SyncObj__raftNextIndex[peer] = self._log.last_index + 1
            self._replicate(peer)

    def disconnected(self, peer_id: int) -> None:
        """The connection to a peer is gone."""
        activate(self._node)
        self._SyncObj__onNodeDisconnected(self._node_of(peer_id))
        if peer_id == self.leader_id:
            self._lose_leader()
        if self.shipping is not None:
            self.shipping.lost(peer_id)

    def installed(self, index: int, membership: Membership) -> None:
        """The state machine now holds a leader's snapshot of `index` (S13: never backwards)."""
        assert index >= self.applied_index, f"snapshot {index} behind {self.applied_index}"
        self._SyncObj__raftLastApplied = index
        self._SyncObj__raftCommitIndex = max(index, self.commit_index)
        self._configurations.installed(membership, index)
        self._configure()

    # -- messages -----------------------------------------------------------------------------

    def _SyncObj__onMessageReceived(self, node: Node, message: Message) -> None:  # noqa: N802
        """F2 F4 F12: every message is judged by its own term and by what it proves."""
        kind = message["type"]
        if kind == "append":
            self._on_append(node, message)
        elif kind == "append_reply":
            self._on_append_reply(node, message)
        elif kind == "install":
            self._on_install(node, message)
        elif kind == "install_reply":
            self._on_install_reply(node, message)
        elif kind == "request_vote":
            self._on_request_vote(node, message)
        elif kind == "response_vote":
            self._on_vote(node, message)
        elif kind == "pre_vote":
            self._on_pre_vote(node, message)
        elif kind == "pre_vote_reply":
            self._on_pre_vote_reply(node, message)
        elif kind == "timeout_now" and self._is_eligible():
            super()._SyncObj__onMessageReceived(node, message)

    def _follow(self, node: Node, message: Message) -> bool:
        """Recognise the sender as leader of its term; False if that term is over."""
        term = message["term"]
        if term < self.term:
            self._reply(node, success=False, index=self._log.last_index)
            return False
        assert not (self.is_leader and term == self.term), f"two leaders in term {term}"
        founding = self.membership.founding
        if not founding and message["founding"]:
            self.founding.note_past(node.id)
        assert founding in ("", message["founding"]) or not self._holds_orders(), (
            f"leader {node.id} is of another founding, {message['founding']}: a cluster was "
            f"founded beside this one, {founding}; stop it and start the nodes that hold the data"
        )
        if term > self.term:
            self._forget_request_to_stand()
            self._step_down(term)
        self._close_question()
        if not self._SyncObj__transferInProgress:
            self._postpone_election()
        self._SyncObj__raftLeader = node
        self._SyncObj__setState(FOLLOWER)
        self._hear_leader()
        return True

    def _on_append(self, node: Node, message: Message) -> None:
        """F4: keep what is equal, cut at the first conflict, acknowledge only what was compared."""
        if not self._follow(node, message):
            return
        log = self._log
        prev_index, prev_term = message["prev_index"], message["prev_term"]
        entries: tuple[tuple[bytes, int, int], ...] = message["entries"]
        end = prev_index + len(entries)
        if prev_index < log.base_index:
            # All up to our base is committed, hence equal: compare from there.
            entries = entries[log.base_index - prev_index :]
        elif prev_index > log.last_index:
            self._refuse(node, index=log.last_index)
            return
        elif term_at(self._log, prev_index) != prev_term:
            self._refuse(node, index=before_term_at(self._log, prev_index))
            return
        for payload, index, term in entries:
            if index <= log.last_index:
                if term_at(self._log, index) == term:
                    continue
                assert index > self.commit_index, (
                    f"leader {node.id} contradicts committed entry {index}: "
                    f"term {term} against {term_at(self._log, index)}"
                )
                log.truncate_from(index)
                if self._configurations.cut(index):
                    self._configure()
            log.append(payload, index, term)
            if self._SyncObj__transferInProgress:  # who hands over appends nothing: it went on
                self._forget_request_to_stand()
                self._postpone_election()
            if self._configurations.appended(payload, index):
                self._configure()
        verified = max(end, log.base_index)
        self.lacks_entries = message["commit_index"] > max(verified, self.commit_index)
        commit_index = min(message["commit_index"], verified)
        if commit_index > self.commit_index:
            self._SyncObj__raftCommitIndex = commit_index
        self._reply(node, success=True, index=min(verified, log.last_index))

    def _refuse(self, node: Node, *, index: int) -> None:
        """Say that entries before the leader's are missing here."""
        self.lacks_entries = True
        self._reply(node, success=False, index=index)

    def _on_append_reply(self, node: Node, message: Message) -> None:
        if message["term"] > self.term:
            self._step_down(message["term"])
        if not self.is_leader or message["term"] != self.term:
            return
        if not self._recognises(node, message["incarnation"]):
            return
        index = message["index"]
        self._SyncObj__lastResponseTime[node] = self._node.now
        match = self._SyncObj__raftMatchIndex[node]
        if message["success"]:
            assert index <= self._log.last_index, f"peer {node.id} holds {index}, beyond our log"
            if index > match:
                self._SyncObj__raftMatchIndex[node] = match = index
            self._doubted.pop(node.id, None)
            if self.shipping is not None:
                # It needs no more of the snapshot that it is sent; of a newer one it may.
                self.shipping.forget(node.id)
            next_index = self._SyncObj__raftNextIndex[node]
            self._SyncObj__raftNextIndex[node] = max(next_index, match + 1)
            if match < self._log.last_index:
                self._replicate(node, only_entries=True)
        else:
            # `match` may be what a lost disk once held: never count more than is told now.
            index = max(1, min(index, self._log.last_index))
            doubted, until = self._doubted.get(node.id, (index + 1, 0.0))
            if index >= doubted and self._node.now < until:
                return  # of what was under way before the first of them: asked about already
            self._doubted[node.id] = index, self._node.now + self.conf.raftMinTimeout
            self._SyncObj__raftMatchIndex[node] = min(match, index)
            if index < self._log.base_index:
                self._SyncObj__raftNextIndex[node] = index + 1
                self._ship(node)
                return
            entries = self._entries_for(node, index + 1)
            self._SyncObj__raftNextIndex[node] = index + 1 + len(entries)
            self._send_append(node, index + 1, entries)

    def _reply(self, node: Node, *, success: bool, index: int) -> None:
        reply = {"type": "append_reply", "term": self.term, "success": success, "index": index}
        self._send_message(node.id, {**reply, "incarnation": self._log.incarnation})

    def _SyncObj__onBecomeLeader(self) -> None:  # noqa: N802
        """The first leader of all writes down who founded the cluster, before anything leaves."""
        self._is_founding = not self.membership.is_founded
        if self._is_founding and not self.founding.is_possible:
            return  # somebody with a past came up meanwhile
        self._doubted.clear()
        self.lacks_entries = False
        super()._SyncObj__onBecomeLeader()
        self._configure()
        self.changes.begin_term()
        if self._is_founding:
            self._is_founding = False
            self.propose_membership(self.founding.membership())

    # -- snapshots ----------------------------------------------------------------------------

    def _on_install(self, node: Node, message: Message) -> None:
        """F2: a piece of a snapshot says nothing about our log and moves no commit index."""
        if not self._follow(node, message):
            return
        assert self.shipping is not None
        received = self.shipping.receive(message)
        if received is None:
            return  # no answer, so that it is not sent again at once
        if received < 0:
            self._reply(node, success=True, index=self.commit_index)
            return
        reply = {"type": "install_reply", "term": self.term, "received": received}
        self._send_message(node.id, {**reply, "incarnation": self._log.incarnation})

    def _on_install_reply(self, node: Node, message: Message) -> None:
        if message["term"] > self.term:
            self._step_down(message["term"])
        if not self.is_leader or message["term"] != self.term or self.shipping is None:
            return
        if self._recognises(node, message["incarnation"]):
            self._SyncObj__lastResponseTime[node] = self._node.now
            self.shipping.acknowledged(node.id, message["received"])
            if self._SyncObj__raftNextIndex[node] <= self._log.base_index:
                self._ship(node)

    def _ship(self, peer: Node) -> bool:
        """Let a peer have what is next of a snapshot; whether anything left now."""
        assert self.shipping is not None
        return self.shipping.send_next(peer.id)

    # -- replication --------------------------------------------------------------------------

    def _SyncObj__sendAppendEntries(self) -> None:  # noqa: N802
        """Bounded and fair: what each connected peer lacks, at least a heartbeat (S19)."""
        if self._is_founding:
            return
        now = self._node.now
        self._SyncObj__newAppendEntriesTime = now + self.conf.appendEntriesPeriod
        for peer in self._peers.values():
            if self.isNodeConnected(peer):
                self._replicate(peer)

    def _replicate(self, peer: Node, *, only_entries: bool = False) -> None:
        """Send what a peer lacks, as far as there is room; a heartbeat where that is in doubt, so
        that a peer which refuses a thousand messages is not sent a thousand times what they held.
        """
        log = self._log
        next_index = self._SyncObj__raftNextIndex[peer]
        if next_index <= log.base_index:
            # While a snapshot is made or verified, or a piece under way, the peer must hear of its
            # leader, and that of the peer. To ask about our log's base cannot be misread: who says
            # yes needs no snapshot, and a no is of what is before it, as is known already.
            if not self._ship(peer) and not only_entries:
                self._send_append(peer, log.base_index + 1, [])
            return
        sent = only_entries
        while True:
            entries: list[LogEntry] = []
            match = self._SyncObj__raftMatchIndex[peer]
            is_known = peer.id not in self._doubted
            if is_known and has_room(log, match=match, next_index=next_index):
                entries = self._entries_for(peer, next_index)
            if not entries and sent:
                return
            self._send_append(peer, next_index, entries)
            sent = True
            next_index += len(entries)
            self._SyncObj__raftNextIndex[peer] = next_index

    def _entries_for(self, peer: Node, next_index: int) -> list[LogEntry]:
        """What a peer gets in one message. A node on its way out hears of its removal once that is
        committed: it would else refuse its vote to who lacks that entry, and not be elected either,
        by members of whom a leader that died meanwhile may be the one that is missing.
        """
        entries = entries_from(self._log, next_index)
        if self.membership.get(peer.id) is None:
            del entries[max(0, self.commit_index + 1 - next_index) :]
        return entries

    def _send_append(self, peer: Node, next_index: int, entries: list[LogEntry]) -> None:
        self._send_message(
            peer.id,
            {
                "type": "append",
                "term": self.term,
                "founding": self.membership.founding,
                "commit_index": self.commit_index,
                "prev_index": next_index - 1,
                "prev_term": term_at(self._log, next_index - 1),
                "entries": entries,
            },
        )

    # -- applying -----------------------------------------------------------------------------

    def _SyncObj__applyLogEntries(self) -> bool:  # noqa: N802
        """Nothing is applied in the middle of a step: see `apply_committed`.

        Returns:
            Whether more is committed than at the last look: then a leader tells its peers at once.
        """
        before, self._told_index = self._told_index, self._applicable_index()
        return self._told_index > before

    def _applicable_index(self) -> int:
        """Up to where this node may apply."""
        if self._others():
            return self.commit_index
        # Its own disk is the whole majority, and speaks by the sync.
        return min(self.commit_index, self._synced_index)

    def apply_committed(self) -> None:
        """F8 F9 F10: each committed entry exactly once, in order; what raises stops this node."""
        end = self._applicable_index()
        clock, size = self._node.clock, 0
        began = clock()
        while end > self.applied_index:
            position = self.applied_index + 1 - self._log.base_index
            payload, index, term = self._log.entries[position]
            size += len(payload)
            assert index == self.applied_index + 1, f"entry {index} after {self.applied_index}"
            self._apply(index, term, payload)
            self._SyncObj__raftLastApplied = index
            if size >= APPLY_BYTES_PER_TURN_MAX or clock() - began >= APPLY_S_PER_TURN_MAX:
                break  # heartbeats are due, too

    def _SyncObj__tryLogCompaction(self) -> None:  # noqa: N802
        """F1 F11: compaction is the driver's, after a verified snapshot file."""

    def _checkCommandsToApply(self) -> None:  # noqa: N802
        """F14 S15: there is no command queue; see `propose`."""

"""One Raft node: PySyncObj's election and commit core with our log handling around it.

Owns what a node does on each peer message and clock turn. PySyncObj keeps the state, elections, the
commit rule and the timers (`doTick`); the methods overridden here, named with their mangled names,
are those that lose or double entries in the stock class. Each says which defect it closes; their
ids are listed in docs/GUARANTEES.md.

Knows no sockets, no files and no orders: messages leave through `send`, committed payloads through
`apply`, snapshots through `Shipping`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from pysyncobj import SyncObjConf

from raftbook.replica.appends import LogEntry, before_term_at, entries_from, has_room, term_at
from raftbook.replica.messages import Message
from raftbook.replica.newcomer import FOUNDING_INDEX, NOBODY, Newcomer
from raftbook.replica.pre_votes import PreVotes
from raftbook.replica.seams import ActiveNode, Node, Random, SyncObj, Transport, activate
from raftbook.storage.log_store import LogStore
from raftbook.wire.entry import REGULAR

_FOLLOWER, _CANDIDATE, _LEADER = 0, 1, 2
ROLES: Final = ("follower", "candidate", "leader")

APPLY_BYTES_PER_TURN_MAX: Final = 128 << 10
"""Payload applied in one turn (about 20 ms), so a node that catches up still hears its peers."""


@dataclass(frozen=True, slots=True)
class RaftTimings:
    """Seconds. `fallback_s`: how long a leader goes on without hearing a majority (S11)."""

    election_min_s: float
    election_max_s: float
    heartbeat_s: float
    fallback_s: float


class Shipping(Protocol):
    """How a snapshot gets to a peer that is behind the log, and in from a leader."""

    def send_next(self, peer_id: int) -> None:
        """Send the next piece to a peer whose next entry is no longer in the log."""

    def acknowledged(self, peer_id: int, received: int) -> None:
        """A peer holds this many bytes of what it is being sent."""

    def forget(self, peer_id: int) -> None:
        """A peer needs no snapshot any more."""

    def receive(self, message: Message) -> int:
        """Take a piece from the leader and install the snapshot once it is whole.

        Returns:
            The bytes received so far, or -1 when this node needs no more of it.
        """


class _PeerTransport(Transport):
    """PySyncObj's idea of a network: everything goes into the node's outbox."""

    def __init__(self, send: Callable[[int, Message], None]) -> None:
        super().__init__(None, None, [])
        self._send_message = send

    def send(self, node: Node, message: Message) -> bool:
        self._send_message(node.id, message)
        return True


class Raft(SyncObj):
    """One member of the cluster.

    Args:
        node_id: own id; peers are `peer_ids`.
        log: entries, term and vote. Changes become durable when the driver syncs it, which it
            does before anything that was sent in the same turn leaves (F3).
        applied_index: what the state machine holds already, from a snapshot (F1, F13).
        send: queues a message to a peer.
        apply: gets (index, term, payload) of each committed entry, in order, once (F8, F10).
    """

    def __init__(
        self,
        node_id: int,
        peer_ids: Iterable[int],
        *,
        log: LogStore,
        applied_index: int,
        timings: RaftTimings,
        clock: Callable[[], float],
        rng: Random,
        send: Callable[[int, Message], None],
        apply: Callable[[int, int, bytes], None],
    ) -> None:
        self._node = ActiveNode(clock, rng, log)
        activate(self._node)
        self._log = log
        self._apply = apply
        self._send_message = send
        self._votes: set[int] = set()
        self._vote_term = 0
        self._transport = _PeerTransport(send)
        self.shipping: Shipping | None = None
        self.heard_at = clock()
        self._turned_at = clock()
        self._late_s = timings.election_min_s / 2
        self._election_min_s = timings.election_min_s
        self._may_stand = False
        self._pre_votes = PreVotes()
        peers = {Node(peer_id) for peer_id in peer_ids}
        self._peers = {peer.id: peer for peer in peers}
        self._newcomer = Newcomer(log, peer_count=len(peers))
        super().__init__(Node(node_id), peers, _conf(timings), transport=self._transport)
        self._SyncObj__raftLastApplied = applied_index
        self._SyncObj__raftCommitIndex = applied_index

    # -- what the driver asks -----------------------------------------------------------------

    @property
    def role(self) -> str:
        return ROLES[self._SyncObj__raftState]

    @property
    def is_leader(self) -> bool:
        return bool(self._SyncObj__raftState == _LEADER)

    @property
    def is_member(self) -> bool:
        """Whether this node votes; see `newcomer`."""
        return self._newcomer.is_member

    @property
    def leader_id(self) -> int | None:
        leader = self._SyncObj__raftLeader
        return None if leader is None else int(leader.id)

    @property
    def term(self) -> int:
        return int(self._SyncObj__raftCurrentTerm)

    @property
    def commit_index(self) -> int:
        return int(self._SyncObj__raftCommitIndex)

    @property
    def applied_index(self) -> int:
        return int(self._SyncObj__raftLastApplied)

    def majority_heard_at(self) -> float:
        """When a leader last knew that a majority follows it; the clock's time for one alone."""
        if not self._peers:
            return self._node.clock()
        heard = sorted(self._SyncObj__lastResponseTime[peer] for peer in self._peers.values())
        return float(heard[-((len(self._peers) + 1) // 2)])

    def match_index(self, peer_id: int) -> int | None:
        """The last index a peer is known to hold; None unless this node leads."""
        if not self.is_leader:
            return None
        return int(self._SyncObj__raftMatchIndex[self._peers[peer_id]])

    def needs_turn(self) -> bool:
        """Whether committed entries wait to be applied: then the next turn should come at once."""
        return self.commit_index > self.applied_index

    # -- what the driver does -----------------------------------------------------------------

    def turn(self) -> None:
        """One step of the clock: elections, commits, applies, heartbeats."""
        activate(self._node)
        now = self._node.now
        if now - self._turned_at > self._late_s:
            # This node slept or was busy: what the leader said meanwhile is still unread.
            self._postpone_election()
        self._turned_at = now
        if self.is_leader:
            self.heard_at = now
        if self._peers and not self.is_leader and self._SyncObj__raftElectionDeadline < now:
            if not (self._may_stand or self._SyncObj__transferInProgress):
                self._ask_pre_votes()
        self._may_stand = False
        self.doTick(0.0)

    def receive(self, peer_id: int, message: Message) -> None:
        """Take one message from a peer; its form was checked (`messages.check_message`)."""
        activate(self._node)
        peer = self._peers.get(peer_id)
        if peer is not None:
            self._SyncObj__onMessageReceived(peer, message)

    def propose(self, payloads: Iterable[bytes], *, kind: bytes = REGULAR) -> None:
        """Append entries as the leader; they leave for the peers with this turn (F14, S15).

        There is no queue to forget them in: whoever is not the leader must not call this.
        """
        activate(self._node)
        assert self.is_leader, f"propose as {self.role}"
        for payload in payloads:
            self._log.append(kind + payload, self._log.last_index + 1, self.term)
        self._SyncObj__sendAppendEntries()

    def connected(self, peer_id: int) -> None:
        """A connection to a peer stands: what an older one swallowed is sent again."""
        activate(self._node)
        peer = self._peers[peer_id]
        self._SyncObj__onNodeConnected(peer)
        if self.is_leader:
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
        self._SyncObj__onNodeDisconnected(self._peers[peer_id])
        if self.shipping is not None:
            self.shipping.forget(peer_id)

    def transfer_to(self, peer_id: int) -> bool:
        """Ask a peer that holds the whole log to stand for election now; False if none does."""
        activate(self._node)
        peer = self._peers.get(peer_id)
        if not self.is_leader or peer is None:
            return False
        if self._SyncObj__raftMatchIndex[peer] != self._log.last_index:
            return False
        self._send_message(peer_id, {"type": "timeout_now", "term": self.term})
        return True

    def abdicate(self) -> int | None:
        """As a leader that can go on no longer, ask the peer heard of last with most of the log to
        stand now; who was asked. It needs the others' votes as ever, so it may be any peer.
        """
        activate(self._node)
        if not self.is_leader or not self._peers:
            return None
        heard, match = self._SyncObj__lastResponseTime, self._SyncObj__raftMatchIndex
        since = self._node.now - self._election_min_s
        heir_id: int = max(
            sorted(self._peers),
            key=lambda peer_id: (
                heard[self._peers[peer_id]] >= since,
                match[self._peers[peer_id]],
            ),
        )
        self._send_message(heir_id, {"type": "timeout_now", "term": self.term})
        return heir_id

    def installed(self, index: int) -> None:
        """The state machine now holds a leader's snapshot of `index` (S13: never backwards)."""
        assert index >= self.applied_index, f"snapshot {index} behind {self.applied_index}"
        self._SyncObj__raftLastApplied = index
        self._SyncObj__raftCommitIndex = max(index, self.commit_index)

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
            if self._newcomer.may_vote_for(message):
                super()._SyncObj__onMessageReceived(node, message)
        elif kind == "response_vote":
            self._on_vote(node, message)
        elif kind == "pre_vote":
            self._on_pre_vote(node, message)
        elif kind == "pre_vote_reply":
            self._on_pre_vote_reply(node, message)
        elif kind == "timeout_now" and self._newcomer.is_member:
            super()._SyncObj__onMessageReceived(node, message)

    def _admits(self, leader: Node) -> bool:
        """Whether a node that is no member may take entries from the leader of its term."""
        if self._newcomer.founded_with(leader.id):
            self._newcomer.is_member = True
            return True
        knows_terms = self._newcomer.knows_terms(leader.id)
        if knows_terms and self._log.voted_for != NOBODY:
            self._SyncObj__setCurrentTerm(self.term, NOBODY)
        return knows_terms

    def _join_if_caught_up(self, leader: Node, *, verified: int, commit_index: int) -> None:
        if verified >= commit_index >= self._log.base_index:
            if term_at(self._log, commit_index) == self.term:
                self._newcomer.is_member = True
                # What this node may have voted in this term before its disk was lost stays given.
                self._SyncObj__setCurrentTerm(self.term, leader.id)

    def _SyncObj__setCurrentTerm(self, term: int, voted_for: int | None) -> None:  # noqa: N802
        if voted_for is None and not self._newcomer.is_member and self._log.last_index > 1:
            voted_for = NOBODY
        super()._SyncObj__setCurrentTerm(term, voted_for)

    def _ask_pre_votes(self) -> None:
        self._postpone_election()
        question = self._pre_votes.ask(self.term, self._log)
        for peer_id in sorted(self._peers):
            self._send_message(peer_id, question)

    def _on_pre_vote(self, node: Node, message: Message) -> None:
        log = self._log
        theirs = (message["last_log_term"], message["last_log_index"])
        quiet_s = self._node.now - self.heard_at
        has_leader = self.is_leader or (
            self.leader_id is not None and quiet_s < self._election_min_s
        )
        granted = (
            message["term"] > self.term
            and theirs >= (log.last_term, log.last_index)
            and not has_leader
            and self._newcomer.may_vote_for(message)
        )
        reply = {
            "type": "pre_vote_reply",
            "term": self.term,
            "asked": message["term"],
            "granted": granted,
            "is_member": self._newcomer.is_member,
        }
        self._send_message(node.id, reply)

    def _on_pre_vote_reply(self, node: Node, message: Message) -> None:
        if message["term"] > self.term:
            self._step_down(message["term"])
        if message["is_member"]:
            self._newcomer.terms_heard.add(node.id)
        if self.is_leader or not message["granted"] or message["asked"] != self.term + 1:
            return
        if not self._newcomer.may_stand(asked_count=self._pre_votes.asked_count):
            return
        granted_count = self._pre_votes.grant(node.id)
        if granted_count + 1 > (len(self._peers) + 1) / 2:
            self._may_stand = True
            self._SyncObj__raftElectionDeadline = 0.0

    def _on_vote(self, node: Node, message: Message) -> None:
        """F12: votes are a set of voters, of this term."""
        if self._SyncObj__raftState != _CANDIDATE or message["term"] != self.term:
            return
        if not self._votes or self._vote_term != self.term:
            self._votes, self._vote_term = set(), self.term
        self._votes.add(node.id)
        if len(self._votes) + 1 > (len(self._peers) + 1) / 2:
            self._SyncObj__onBecomeLeader()

    def _follow(self, node: Node, term: int) -> bool:
        """Recognise the sender as leader of `term`; False if its term is over."""
        if term < self.term:
            self._reply(node, success=False, index=self._log.last_index)
            return False
        assert not (self.is_leader and term == self.term), f"two leaders in term {term}"
        if term > self.term:
            self._SyncObj__transferInProgress = False
            self._step_down(term)
        if not self._newcomer.is_member and not self._admits(node):
            self._SyncObj__raftElectionDeadline = 0.0  # the pre-vote's answers tell the terms
            return False
        if not self._SyncObj__transferInProgress:
            self._postpone_election()
        self._SyncObj__raftLeader = node
        self._SyncObj__setState(_FOLLOWER)
        self.heard_at = self._node.now
        return True

    def _postpone_election(self) -> None:
        now = self._node.now
        self._SyncObj__raftElectionDeadline = now + self._SyncObj__generateRaftTimeout()

    def _on_append(self, node: Node, message: Message) -> None:
        """F4: keep what is equal, cut at the first conflict, acknowledge only what was compared."""
        if not self._follow(node, message["term"]):
            return
        log = self._log
        prev_index, prev_term = message["prev_index"], message["prev_term"]
        entries: tuple[tuple[bytes, int, int], ...] = message["entries"]
        end = prev_index + len(entries)
        if prev_index < log.base_index:
            # All up to our base is committed, hence equal: compare from there.
            entries = entries[log.base_index - prev_index :]
        elif prev_index > log.last_index:
            self._reply(node, success=False, index=log.last_index)
            return
        elif term_at(self._log, prev_index) != prev_term:
            self._reply(node, success=False, index=before_term_at(self._log, prev_index))
            return
        for payload, index, term in entries:
            if index <= log.last_index:
                if term_at(self._log, index) == term:
                    continue
                assert index > self.commit_index, (
                    f"leader {node.id} contradicts committed entry {index}: "
                    f"term {term} against {term_at(self._log, index)}"
                )
                assert index > FOUNDING_INDEX or log.last_index <= FOUNDING_INDEX, (
                    f"leader {node.id} has another history from entry {index} on: a cluster was "
                    "founded beside this one; stop it and start the nodes that hold the data"
                )
                log.truncate_from(index)
            log.append(payload, index, term)
        verified = max(end, log.base_index)
        commit_index = min(message["commit_index"], verified)
        if commit_index > self.commit_index:
            self._SyncObj__raftCommitIndex = commit_index
        if not self._newcomer.is_member:
            self._join_if_caught_up(node, verified=verified, commit_index=message["commit_index"])
        self._reply(node, success=True, index=min(verified, log.last_index))

    def _on_append_reply(self, node: Node, message: Message) -> None:
        if message["term"] > self.term:
            self._step_down(message["term"])
        if not self.is_leader or message["term"] != self.term:
            return
        index = message["index"]
        self._SyncObj__lastResponseTime[node] = self._node.now
        match = self._SyncObj__raftMatchIndex[node]
        if message["success"]:
            assert index <= self._log.last_index, f"peer {node.id} holds {index}, beyond our log"
            if index > match:
                self._SyncObj__raftMatchIndex[node] = match = index
            if self.shipping is not None and index >= self._log.base_index:
                self.shipping.forget(node.id)
            next_index = self._SyncObj__raftNextIndex[node]
            self._SyncObj__raftNextIndex[node] = max(next_index, match + 1)
            if match < self._log.last_index:
                self._replicate(node, only_entries=True)
        else:
            # `match` may be what a lost disk once held: never count more than is told now.
            index = max(1, min(index, self._log.last_index))
            self._SyncObj__raftMatchIndex[node] = min(match, index)
            self._SyncObj__raftNextIndex[node] = index + 1
            self._replicate(node)

    def _step_down(self, term: int) -> None:
        self._SyncObj__setCurrentTerm(term, None)
        self._SyncObj__setState(_FOLLOWER)
        self._SyncObj__raftLeader = None

    def _reply(self, node: Node, *, success: bool, index: int) -> None:
        reply = {"type": "append_reply", "term": self.term, "success": success, "index": index}
        self._send_message(node.id, reply)

    def _SyncObj__setState(self, new_state: int) -> None:  # noqa: N802
        """Who stops leading waits a full timeout before it stands again."""
        if new_state == _LEADER:
            self._newcomer.is_member = True  # it founded the cluster
        if self.is_leader and new_state == _FOLLOWER:
            self._postpone_election()
        super()._SyncObj__setState(new_state)

    # -- snapshots ----------------------------------------------------------------------------

    def _on_install(self, node: Node, message: Message) -> None:
        """F2: a piece of a snapshot says nothing about our log and moves no commit index."""
        if not self._follow(node, message["term"]):
            return
        assert self.shipping is not None
        received = self.shipping.receive(message)
        if received < 0:
            self._reply(node, success=True, index=self.commit_index)
            return
        reply = {"type": "install_reply", "term": self.term, "received": received}
        self._send_message(node.id, reply)

    def _on_install_reply(self, node: Node, message: Message) -> None:
        if message["term"] > self.term:
            self._step_down(message["term"])
        if self.is_leader and message["term"] == self.term and self.shipping is not None:
            self._SyncObj__lastResponseTime[node] = self._node.now
            self.shipping.acknowledged(node.id, message["received"])
            if self._SyncObj__raftNextIndex[node] <= self._log.base_index:
                self.shipping.send_next(node.id)

    # -- replication --------------------------------------------------------------------------

    def _SyncObj__sendAppendEntries(self) -> None:  # noqa: N802
        """Bounded and fair: what each connected peer lacks, at least a heartbeat (S19)."""
        now = self._node.now
        self._SyncObj__newAppendEntriesTime = now + self.conf.appendEntriesPeriod
        for peer_id in sorted(self._peers):
            peer = self._peers[peer_id]
            if self.isNodeConnected(peer):
                self._replicate(peer)

    def _replicate(self, peer: Node, *, only_entries: bool = False) -> None:
        log = self._log
        next_index = self._SyncObj__raftNextIndex[peer]
        if next_index <= log.base_index:
            assert self.shipping is not None
            self.shipping.send_next(peer.id)
            return
        sent = only_entries
        while True:
            entries: list[LogEntry] = []
            match = self._SyncObj__raftMatchIndex[peer]
            if has_room(log, match=match, next_index=next_index):
                entries = entries_from(log, next_index)
            if not entries and sent:
                return
            self._send_message(
                peer.id,
                {
                    "type": "append",
                    "term": self.term,
                    "commit_index": self.commit_index,
                    "prev_index": next_index - 1,
                    "prev_term": term_at(self._log, next_index - 1),
                    "entries": entries,
                },
            )
            sent = True
            next_index += len(entries)
            self._SyncObj__raftNextIndex[peer] = next_index

    # -- applying -----------------------------------------------------------------------------

    def _SyncObj__applyLogEntries(self) -> bool:  # noqa: N802
        """F8 F9 F10: each committed entry exactly once, in order; what raises stops this node."""
        moved = self.commit_index > self.applied_index
        size = 0
        while self.commit_index > self.applied_index and size < APPLY_BYTES_PER_TURN_MAX:
            position = self.applied_index + 1 - self._log.base_index
            payload, index, term = self._log.entries[position]
            size += len(payload)
            assert index == self.applied_index + 1, f"entry {index} after {self.applied_index}"
            self._apply(index, term, payload)
            self._SyncObj__raftLastApplied = index
        return moved

    def _SyncObj__tryLogCompaction(self) -> None:  # noqa: N802
        """F1 F11: compaction is the driver's, after a verified snapshot file."""

    def _checkCommandsToApply(self) -> None:  # noqa: N802
        """F14 S15: there is no command queue; see `propose`."""


def _conf(timings: RaftTimings) -> Any:
    return SyncObjConf(
        autoTick=False,
        appendEntriesUseBatch=False,
        commandsWaitLeader=False,
        dynamicMembershipChange=False,
        raftMinTimeout=timings.election_min_s,
        raftMaxTimeout=timings.election_max_s,
        appendEntriesPeriod=timings.heartbeat_s,
        leaderFallbackTimeout=timings.fallback_s,
        connectionTimeout=timings.election_max_s,
        journalFile=None,
        fullDumpFile=None,
    )

"""PySyncObj with our log under it and its node set following the memberships in that log.

Owns the construction of the stock class, what is read of its state under plain names, and which
peers there are and count. PySyncObj decides by its set of other nodes, so that set is always the
newest membership's other voters; learners, and a node on its way out, are what it calls read-only
nodes: they get entries and never count (F6).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from pysyncobj import SyncObjConf

from raftbook.replica.appends import term_at
from raftbook.replica.configurations import Configurations
from raftbook.replica.founding import Founding
from raftbook.replica.membership import Membership
from raftbook.replica.messages import Message
from raftbook.replica.seams import ActiveNode, Node, Random, SyncObj, Transport, activate
from raftbook.storage.log_store import LogStore

FOLLOWER, CANDIDATE, LEADER = 0, 1, 2
ROLES: Final = ("follower", "candidate", "leader")

NEVER: Final = float("-inf")
ABSENTEE: Final = Node(0)
"""Stands among the others of a node that is no voter itself, and never answers. PySyncObj counts a
node's own vote in every majority; with one more node that is against everything, 1 + c votes of
n + 2 are a majority exactly when c of the n voters are. No node has the id 0."""


@dataclass(frozen=True, slots=True)
class RaftTimings:
    """Seconds. `fallback_s`: how long a leader goes on without hearing a majority (S11).
    `founding_wait_s`: how long one or two nodes without a past wait before they found a cluster:
    others who know of them, and are up and reach them, have dialled them by then.
    """

    election_min_s: float
    election_max_s: float
    heartbeat_s: float
    fallback_s: float
    founding_wait_s: float


class Shipping(Protocol):
    """How a snapshot gets to a peer that is behind the log, and in from a leader."""

    def send_next(self, peer_id: int) -> bool:
        """Send the next piece to a peer whose next entry is no longer in the log.

        Returns:
            Whether one left now; if not, the peer must hear of its leader in another way.
        """

    def acknowledged(self, peer_id: int, received: int) -> None:
        """A peer holds this many bytes of what it is being sent."""

    def lost(self, peer_id: int) -> None:
        """The connection to a peer broke."""

    def forget(self, peer_id: int) -> None:
        """A peer needs no snapshot any more."""

    def receive(self, message: Message) -> int | None:
        """Take a piece from the leader and install the snapshot once it is whole.

        Returns:
            The bytes received so far, or -1 when this node needs no more of it; None when the
            piece could not be taken just now.
        """


class _PeerTransport(Transport):
    """PySyncObj's idea of a network: everything goes into the node's outbox."""

    def __init__(self, send: Callable[[Node, Message], None]) -> None:
        super().__init__(None, None, [])
        self._send_message = send

    def send(self, node: Node, message: Message) -> bool:
        self._send_message(node, message)
        return True


class RaftBase(SyncObj):
    """State, peers and memberships of one node.

    Args:
        node_id: own id.
        membership: as of `applied_index`; the configured list for a node without history.
        log: entries, term and vote. Changes become durable when the driver syncs it, which it
            does before anything that was sent in the same turn leaves (F3).
        applied_index: what the state machine holds already, from a snapshot (F1, F13).
        send: queues a message to a peer.
        apply: gets (index, term, payload) of each committed entry, in order, once (F8, F10).
    """

    _SyncObj__raftState: int
    _SyncObj__raftLeader: Node | None
    _SyncObj__raftCurrentTerm: int
    _SyncObj__raftCommitIndex: int
    _SyncObj__raftLastApplied: int

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
        self._node = ActiveNode(clock, rng, log)
        activate(self._node)
        self.node_id, self.timings = node_id, timings
        self._log, self._apply, self._send_message = log, apply, send
        self.shipping: Shipping | None = None
        self._peers: dict[int, Node] = {}  # by id, in order of the ids
        self._other_ids: frozenset[int] = frozenset()
        self._incarnations: dict[int, str] = {}
        self.foreign: dict[int, str] = {}
        self._configurations = Configurations(membership, log, applied_index=applied_index)
        self.founding = Founding(node_id, log.incarnation, membership)
        transport = _PeerTransport(self._send_for_stock)
        super().__init__(Node(node_id), (), _conf(timings), transport=transport)
        self._SyncObj__raftLastApplied = applied_index
        self._SyncObj__raftCommitIndex = applied_index
        self._configure()

    # -- state --------------------------------------------------------------------------------

    @property
    def role(self) -> str:
        return ROLES[self._SyncObj__raftState]

    @property
    def is_leader(self) -> bool:
        return self._SyncObj__raftState == LEADER

    @property
    def leader_id(self) -> int | None:
        leader = self._SyncObj__raftLeader
        return None if leader is None else leader.id

    @property
    def term(self) -> int:
        return self._SyncObj__raftCurrentTerm

    @property
    def commit_index(self) -> int:
        return self._SyncObj__raftCommitIndex

    @property
    def applied_index(self) -> int:
        return self._SyncObj__raftLastApplied

    def majority_heard_at(self) -> float:
        """When a leader last knew that a majority follows it; the clock's time for one alone."""
        others = self._SyncObj__otherNodes
        if not others:
            return self._node.clock()
        heard = sorted(self._SyncObj__lastResponseTime[node] for node in others)
        return float(heard[-((len(others) + 1) // 2)])

    @property
    def last_index(self) -> int:
        return self._log.last_index

    @property
    def now(self) -> float:
        """The clock of this turn."""
        return self._node.now

    def has_committed_in_term(self) -> bool:
        """Whether an entry of this node's term is committed: no other leader's are in doubt."""
        log, commit_index = self._log, self.commit_index
        return commit_index >= log.base_index and term_at(log, commit_index) == self.term

    def match_index(self, peer_id: int) -> int | None:
        """The last index a peer is known to hold; None unless this node leads it."""
        peer = self._peers.get(peer_id)
        if peer is None or not self.is_leader:
            return None
        return int(self._SyncObj__raftMatchIndex[peer])

    def is_answering(self, peer_id: int) -> bool:
        """Whether this leader heard from a peer that it recognises, not long ago."""
        if not self.is_leader or peer_id not in self._peers:
            return False
        heard_at = self._SyncObj__lastResponseTime.get(self._peers[peer_id], NEVER)
        return bool(self._node.now - heard_at <= self.timings.fallback_s)

    def reaches(self, peer_id: int) -> bool:
        """Whether a connection to a peer stands."""
        return bool(self.isNodeConnected(self._node_of(peer_id)))

    # -- memberships --------------------------------------------------------------------------

    @property
    def membership(self) -> Membership:
        """The newest membership in the log, which is the one in force."""
        return self._configurations.newest

    @property
    def committed_membership(self) -> Membership:
        """The newest one known to be committed: what the cluster is, for others to be told."""
        return self._configurations.committed(self.commit_index)

    @property
    def peer_ids(self) -> tuple[int, ...]:
        """All nodes that this one has to do with, without itself."""
        return tuple(self._peers)

    @property
    def is_voter(self) -> bool:
        """Whether this node, on this journal, counts."""
        own = self.membership.get(self.node_id)
        if own is None or not own.is_voter:
            return False
        return own.incarnation == self._log.incarnation or not self.membership.is_founded

    @property
    def removed_by(self) -> int | None:
        """The committed entry that removed this node from the cluster."""
        committed = self.committed_membership
        return committed.index if self.node_id in committed.retired else None

    def incarnation_of(self, peer_id: int) -> str | None:
        """The journal on which a learner answers this leader."""
        return self._incarnations.get(peer_id)

    def _configure(self) -> None:
        """Let PySyncObj's arithmetic follow the membership in force."""
        membership = self.membership
        others = set(membership.voter_ids) - {self.node_id}
        listeners = {*membership.ids, *self.committed_membership.ids} - others - {self.node_id}
        peers = {peer_id: self._node_of(peer_id) for peer_id in sorted(others | listeners)}
        for peer_id in peers.keys() - self._peers.keys():
            self._reset_progress(peers[peer_id])
        for peer_id in self._peers.keys() - peers.keys():
            self._forget_peer(self._peers[peer_id])
        # What the old journal of a learner held, the new one may not.
        for peer_id in self._others().intersection(membership.learner_ids):
            self._reset_progress(peers[peer_id])
        self._peers = peers
        self.foreign.clear()
        voters = {peers[peer_id] for peer_id in others}
        if self.node_id not in membership.voter_ids:
            voters.add(ABSENTEE)
            self._SyncObj__raftMatchIndex[ABSENTEE] = 0
            self._SyncObj__lastResponseTime[ABSENTEE] = NEVER
        self._SyncObj__otherNodes = voters
        self._other_ids = frozenset(others)
        self._SyncObj__readonlyNodes = {peers[peer_id] for peer_id in listeners}

    def _others(self) -> frozenset[int]:
        """The ids of the other voters."""
        return self._other_ids

    def _node_of(self, peer_id: int) -> Node:
        """A peer as PySyncObj knows it: mostly the very key of its tables, so quickly found."""
        return self._peers.get(peer_id) or Node(peer_id)

    def _reset_progress(self, peer: Node) -> None:
        self._SyncObj__raftNextIndex[peer] = self._log.last_index + 1
        self._SyncObj__raftMatchIndex[peer] = 0
        self._SyncObj__lastResponseTime[peer] = self._node.now
        self._incarnations.pop(peer.id, None)

    def _forget_peer(self, peer: Node) -> None:
        self._SyncObj__raftNextIndex.pop(peer, None)
        self._SyncObj__raftMatchIndex.pop(peer, None)
        self._SyncObj__lastResponseTime.pop(peer, None)
        self._incarnations.pop(peer.id, None)
        if self.shipping is not None:
            self.shipping.forget(peer.id)

    def _recognises(self, peer: Node, incarnation: str) -> bool:
        """Whether a reply speaks of the journal that this leader knows the peer by.

        A voter on another journal has lost its disk: what it acknowledged is gone, and what it
        says now must not be counted before it has been taken in again (`member_changes`).
        """
        member = self.membership.get(peer.id)
        if member is None or not member.is_voter:
            if self._incarnations.setdefault(peer.id, incarnation) != incarnation:
                self._reset_progress(peer)
                self._incarnations[peer.id] = incarnation
            return True
        if member.incarnation == incarnation:
            self.foreign.pop(peer.id, None)
            return True
        self.foreign[peer.id] = incarnation
        self._SyncObj__raftMatchIndex[peer] = 0
        return False

    def _introduction(self) -> Message:
        """What tells others whether this node has a past, and on which journal it is."""
        membership = self.membership
        return {
            "is_founded": membership.is_founded or self.founding.is_lost,
            "founding": membership.founding or self.founding.digest,
            "incarnation": self._log.incarnation,
        }

    def _send_for_stock(self, node: Node, message: Message) -> None:
        """A message of PySyncObj's own making; two kinds are left."""
        if node != ABSENTEE:
            self._send_message(node.id, message)


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

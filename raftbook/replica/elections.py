"""Who leads: pre-votes, votes, and handing leadership over.

Owns when a node asks, stands, votes and steps down. PySyncObj keeps the terms and timers and does
the standing itself (`doTick`); which nodes may, and whose votes count, is decided here.

  - Only a voter stands, or one whose removal is not committed yet: it may still be needed.
  - Votes are counted per node and journal, of the voters of the membership in force (F12).
  - A node that hears a live leader answers neither pre-votes nor votes with yes, and does not
    raise its term for them, unless that leader itself asked the candidate to stand (S10).
  - The end of the connection to the leader is heard at once when a process dies: who sees it asks
    soon. Where only that connection died, the others still hear the leader and say no.
"""

from __future__ import annotations

from dataclasses import dataclass

from raftbook.replica.membership import Membership
from raftbook.replica.messages import Message
from raftbook.replica.pre_votes import PreVotes
from raftbook.replica.raft_base import CANDIDATE, FOLLOWER, NEVER, RaftBase
from raftbook.replica.seams import Node, activate
from raftbook.wire.entry import REGULAR


@dataclass(slots=True)
class _HandOver:
    """A leader lets its log stand still until a peer has all of it and leads."""

    targets: tuple[int, ...]
    deadline: float
    asked_at: float


class Elections(RaftBase):
    """Elections of one node.

    Attributes:
        heard_at: when this node last heard the leader it follows.
    """

    _hand_over: _HandOver | None = None
    _SyncObj__raftElectionDeadline: float
    _SyncObj__transferInProgress: bool

    def _begin_elections(self) -> None:
        self.heard_at = self._turned_at = self._node.now
        self._late_s = self.timings.election_min_s / 2
        self._excused_for = NEVER
        self._votes: set[int] = set()
        self._vote_term = 0
        self._may_stand = self._is_asked_to_stand = self._is_leader_lost = False
        self._pre_votes = PreVotes()
        wait_s = self.timings.founding_wait_s if self.founding.are_few else 0.0
        self._may_found_at = self._node.now + wait_s

    def _elections_turn(self) -> None:
        """What comes before PySyncObj looks at its timers."""
        now = self._node.now
        self._is_asked_to_stand = self._SyncObj__transferInProgress
        is_late = now - self._turned_at > self._late_s
        if is_late and not (self._is_asked_to_stand or self._is_leader_lost):
            # This node slept or was busy: what the leader said meanwhile is still unread. Once for
            # each time it was heard: it is read before the next turn, however late that comes.
            if self._excused_for != self.heard_at:
                self._excused_for = self.heard_at
                self._postpone_election()
        self._turned_at = now
        if self.is_leader:
            self.heard_at = now
            self._hand_over_turn()
        elif self._SyncObj__raftElectionDeadline < now:
            may_stand = self._may_stand or self._is_asked_to_stand or not self._others()
            if not (may_stand and self._is_eligible()):
                self._ask_pre_votes()
        self._may_stand = False

    def _is_eligible(self) -> bool:
        """Whether this node may stand."""
        if not self.membership.is_founded:
            return self.founding.is_possible and self._node.now >= self._may_found_at
        if self.membership.get(self.node_id) is not None:
            return self.is_voter
        replaced = self._configurations.replaced
        own = None if replaced is None else replaced.get(self.node_id)
        return own is not None and own.is_voter and own.incarnation == self._log.incarnation

    def _hears_leader(self) -> bool:
        if self.is_leader:
            return True
        if self.leader_id is None or self._is_leader_lost:
            return False
        timings = self.timings
        is_reached = self.reaches(self.leader_id)
        patience_s = timings.election_min_s if is_reached else 2 * timings.heartbeat_s
        return self._node.now - self.heard_at < patience_s

    def _lose_leader(self) -> None:
        """The connection to the leader ended: ask once the others have seen it too."""
        self._is_leader_lost = True
        self._ask_soon(after_s=0.0)

    def _hear_leader(self) -> None:
        """A leader spoke. It may be its last words, read after the connection to it ended."""
        self.heard_at = self._node.now
        self._is_leader_lost = False
        leader_id = self.leader_id
        if leader_id is not None and not self.reaches(leader_id):
            self._ask_soon(after_s=2 * self.timings.heartbeat_s)

    def _ask_soon(self, *, after_s: float) -> None:
        """One voter after the other, so that votes are not split."""
        turn = sum(
            peer_id < self.node_id for peer_id in self._others() if peer_id != self.leader_id
        )
        soon = self._node.now + after_s + self.timings.election_min_s * (0.1 + 0.2 * turn)
        if self._SyncObj__raftElectionDeadline > soon:
            self._SyncObj__raftElectionDeadline = soon

    def _may_vote_for(self, candidate: Message) -> bool:
        """Whether the past of a candidate and that of this node go together."""
        membership = self.membership
        if not membership.is_founded:
            is_founder = candidate["founding"] == self.founding.digest and self.founding.is_possible
            return bool(candidate["is_founded"]) or is_founder
        if not candidate["is_founded"]:
            return False
        return candidate["founding"] == membership.founding or not self._holds_orders()

    def _holds_orders(self) -> bool:
        """Whether anything but a founding that came to nothing could be lost with this log."""
        log = self._log
        return log.base_index > 1 or any(entry[0][:1] == REGULAR for entry in log.entries)

    def _is_majority(self, node_ids: set[int]) -> bool:
        own = {self.node_id} if self.is_voter else set()
        return self.membership.is_majority(node_ids | own)

    def _counts(self, node_id: int, incarnation: str) -> bool:
        """Whether a vote is one of a voter, on the journal it is known by."""
        membership: Membership = self.membership
        if not membership.is_founded:
            return self.founding.incarnation_of(node_id) == incarnation
        member = membership.get(node_id)
        return member is not None and member.is_voter and member.incarnation == incarnation

    # -- pre-votes ----------------------------------------------------------------------------

    def _ask_pre_votes(self) -> None:
        self._postpone_election()
        if self.membership.is_founded and not self._is_eligible():
            return  # a learner waits
        if not self.membership.is_founded:
            self.founding.explain()
        question = self._pre_votes.ask(self.term, self._log) | self._introduction()
        for peer_id in self.peer_ids:
            self._send_message(peer_id, question)

    def _tell_of_past(self, peer_id: int) -> None:
        """Let a node that may have lost its past know at once that there is one: in the form of a
        pre-vote that asks for nothing, in no term.
        """
        question = {"type": "pre_vote", "term": 0, "last_log_index": 0, "last_log_term": 0}
        self._send_message(peer_id, question | self._introduction())

    def _hear_of_past(self, node_id: int, message: Message) -> None:
        if not self.membership.is_founded:
            self.founding.hear(node_id, message)

    def _on_pre_vote(self, node: Node, message: Message) -> None:
        self._hear_of_past(node.id, message)
        if not message["term"]:
            return
        log = self._log
        theirs = (message["last_log_term"], message["last_log_index"])
        granted = (
            message["term"] > self.term
            and theirs >= (log.last_term, log.last_index)
            and not self._hears_leader()
            and self._may_vote_for(message)
        )
        reply = {
            "type": "pre_vote_reply",
            "term": self.term,
            "asked": message["term"],
            "granted": granted,
            **self._introduction(),
        }
        self._send_message(node.id, reply)

    def _on_pre_vote_reply(self, node: Node, message: Message) -> None:
        self._hear_of_past(node.id, message)
        if message["term"] > self.term:
            self._step_down(message["term"])
        if self.is_leader or not message["granted"] or message["asked"] != self.term + 1:
            return
        if not (self._is_eligible() and self._counts(node.id, message["incarnation"])):
            return
        if self._is_majority(self._pre_votes.grant(node.id)):
            self._may_stand = True
            self._SyncObj__raftElectionDeadline = 0.0

    # -- votes --------------------------------------------------------------------------------

    def _send_for_stock(self, node: Node, message: Message) -> None:
        """PySyncObj's vote messages say nothing of journals; ours do."""
        if message["type"] == "request_vote":
            message = message | self._introduction() | {"is_asked": self._is_asked_to_stand}
        elif message["type"] == "response_vote":
            message = message | {"incarnation": self._log.incarnation}
        super()._send_for_stock(node, message)

    def _on_request_vote(self, node: Node, message: Message) -> None:
        if self._hears_leader() and not message["is_asked"]:
            return
        if self._may_vote_for(message):
            super()._SyncObj__onMessageReceived(node, message)

    def _on_vote(self, node: Node, message: Message) -> None:
        """F12: votes are a set of voters, of this term."""
        if self._SyncObj__raftState != CANDIDATE or message["term"] != self.term:
            return
        if not self._counts(node.id, message["incarnation"]):
            return
        if self._vote_term != self.term:
            self._votes, self._vote_term = set(), self.term
        self._votes.add(node.id)
        if self._is_majority(self._votes):
            self._SyncObj__onBecomeLeader()

    def _postpone_election(self) -> None:
        now = self._node.now
        self._SyncObj__raftElectionDeadline = now + self._SyncObj__generateRaftTimeout()

    def _step_down(self, term: int) -> None:
        self._SyncObj__setCurrentTerm(term, None)
        self._SyncObj__setState(FOLLOWER)
        self._SyncObj__raftLeader = None
        self._close_question()

    def _close_question(self) -> None:
        """Yeses that come late make nobody stand any more."""
        self._pre_votes.close()
        self._may_stand = False

    def _SyncObj__setState(self, new_state: int) -> None:  # noqa: N802
        """Who stops leading waits a full timeout before it stands again."""
        if self.is_leader and new_state == FOLLOWER:
            self._postpone_election()
            self._hand_over = None
        super()._SyncObj__setState(new_state)

    # -- handing over -------------------------------------------------------------------------

    @property
    def is_handing_over(self) -> bool:
        """Whether this leader's log stands still, so that a peer can have all of it."""
        return self._hand_over is not None

    def hand_over(self, target: int | None, *, within_s: float) -> None:
        """As the leader, let a voter take over; after `within_s` this node goes on leading.

        Args:
            target: who; None for whoever is caught up first.
        """
        if not self.is_leader:
            return
        targets = tuple(sorted(self._others())) if target is None else (target,)
        now = self._node.clock()
        self._hand_over = _HandOver(targets, now + within_s, asked_at=NEVER)

    def _hand_over_turn(self) -> None:
        hand_over, now = self._hand_over, self._node.now
        if hand_over is None:
            return
        if now > hand_over.deadline:
            self._hand_over = None
        elif now - hand_over.asked_at >= self.timings.election_min_s:
            # One at a time, or two that were asked would split the votes.
            asked_id = next(filter(self.transfer_to, hand_over.targets), None)
            if asked_id is not None:
                hand_over.asked_at = now
                # The others first, next time: this one may be cut off and not know it.
                others = (each for each in hand_over.targets if each != asked_id)
                hand_over.targets = (*others, asked_id)

    def _forget_request_to_stand(self) -> None:
        """Whoever was asked stands in the same turn or not for that: later on, to stand without
        pre-votes would depose a leader that has long gone on.
        """
        self._SyncObj__transferInProgress = False

    def transfer_to(self, peer_id: int) -> bool:
        """Ask a voter that holds the whole log to stand for election now; False if it does not."""
        activate(self._node)
        if not self.is_leader or peer_id not in self._others() or not self.is_answering(peer_id):
            return False
        if self.match_index(peer_id) != self._log.last_index:
            return False
        self._send_message(peer_id, {"type": "timeout_now", "term": self.term})
        return True

    def abdicate(self) -> int | None:
        """As a leader that can go on no longer, ask the voter heard of last with most of the log to
        stand now; who was asked. It needs the others' votes as ever, so it may be any of them.
        """
        activate(self._node)
        others = self._others()
        if not self.is_leader or not others:
            return None
        heard, match = self._SyncObj__lastResponseTime, self._SyncObj__raftMatchIndex
        since = self._node.now - self.timings.election_min_s
        heir_id = max(
            sorted(others),
            key=lambda peer_id: (
                heard[self._peers[peer_id]] >= since,
                match[self._peers[peer_id]],
            ),
        )
        self._send_message(heir_id, {"type": "timeout_now", "term": self.term})
        return heir_id

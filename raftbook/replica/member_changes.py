"""Changes of members, one at a time, as the leader makes them.

Owns when a change may begin and which come by themselves: a learner that has caught up begins to
count, and a voter that answers on another journal, because its disk was lost, begins again as a
learner. Every step is an entry of the log; `configurations` says why each of them is safe.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Protocol

from raftbook.replica.membership import ChangeRefused, Member, Membership

_log = logging.getLogger(__name__)


class Leadership(Protocol):
    """What a change needs to know of the leader, and do through it."""

    node_id: int
    foreign: dict[int, str]

    @property
    def is_leader(self) -> bool: ...
    @property
    def leader_id(self) -> int | None: ...
    @property
    def is_handing_over(self) -> bool: ...
    @property
    def membership(self) -> Membership: ...
    @property
    def commit_index(self) -> int: ...
    @property
    def last_index(self) -> int: ...
    @property
    def now(self) -> float: ...
    def has_committed_in_term(self) -> bool: ...
    def match_index(self, peer_id: int) -> int | None: ...
    def is_answering(self, peer_id: int) -> bool: ...
    def incarnation_of(self, peer_id: int) -> str | None: ...
    def propose_membership(self, membership: Membership) -> int: ...


@dataclass(slots=True)
class _Round:
    """A learner on its way to what was the end of the log when the round began."""

    incarnation: str
    target: int
    began_at: float


class MemberChanges:
    """The leader's changes.

    Args:
        round_s: a learner has caught up when it received all that was there when a round began
            in less than this; what came meanwhile takes it less again (Ongaro, section 4.2.1).
    """

    def __init__(self, raft: Leadership, *, round_s: float) -> None:
        self._raft, self._round_s = raft, round_s
        self._rounds: dict[int, _Round] = {}

    def begin_term(self) -> None:
        """This node begins to lead."""
        self._rounds.clear()

    def add(self, member: Member) -> int:
        """Take in a node, as a learner; the index of the entry that says so.

        Raises:
            ChangeRefused: not now, or not ever (ChangeImpossible); nothing has changed.
        """
        self._check_may_begin()
        membership = self._raft.membership
        changed = membership.with_learner(member)
        if membership.learner_ids:
            learner_id = membership.learner_ids[0]
            raise ChangeRefused(
                f"node {learner_id} is still catching up; wait until it votes, or remove it with: "
                f"raftbook cluster remove {learner_id}"
            )
        return self._raft.propose_membership(changed)

    def remove(self, node_id: int) -> int:
        """Let a member go; the index of the entry that says so.

        Raises:
            ChangeRefused: not now, or not ever (ChangeImpossible); nothing has changed.
        """
        self._check_may_begin()
        changed = self._raft.membership.without(node_id)
        self._check_can_commit(changed, node_id)
        return self._raft.propose_membership(changed)

    def turn(self) -> None:
        """What comes by itself; at most one step."""
        raft = self._raft
        learner_ids = raft.membership.learner_ids
        if not (learner_ids or self._rounds or raft.foreign):
            return
        self._rounds = {each: r for each, r in self._rounds.items() if each in learner_ids}
        caught_up = [each for each in learner_ids if self._has_caught_up(each)]
        if not (caught_up or raft.foreign) or self._obstacle() is not None:
            return
        if caught_up:
            incarnation = raft.incarnation_of(caught_up[0])
            assert incarnation, f"node {caught_up[0]} caught up without a journal"
            _log.info("node %d has caught up and votes from now on", caught_up[0])
            raft.propose_membership(raft.membership.promoted(caught_up[0], incarnation))
            return
        node_id = min(raft.foreign)
        _log.warning(
            "node %d answers without what it had: its disk was lost; it is a learner now", node_id
        )
        raft.propose_membership(raft.membership.demoted(node_id))

    def _has_caught_up(self, learner_id: int) -> bool:
        raft = self._raft
        match, incarnation = raft.match_index(learner_id), raft.incarnation_of(learner_id)
        if match is None or incarnation is None or not raft.is_answering(learner_id):
            self._rounds.pop(learner_id, None)
            return False
        current = self._rounds.get(learner_id)
        if current is None or current.incarnation != incarnation:
            self._rounds[learner_id] = _Round(incarnation, raft.last_index, raft.now)
            return False
        if match < current.target:
            return False
        if raft.now - current.began_at <= self._round_s:
            return True
        self._rounds[learner_id] = _Round(incarnation, raft.last_index, raft.now)
        return False

    def _check_may_begin(self) -> None:
        obstacle = self._obstacle()
        if obstacle is not None:
            raise ChangeRefused(obstacle)

    def _obstacle(self) -> str | None:
        """Why no change may begin now, in words."""
        raft = self._raft
        if not raft.is_leader:
            return f"members are changed by the leader, node {raft.leader_id}"
        if raft.is_handing_over:
            return "leadership is being handed over; try again in a second"
        membership = raft.membership
        if not raft.has_committed_in_term() or not membership.is_founded:
            return "the leader has committed nothing of its own yet; try again in a second"
        if membership.index > raft.commit_index:
            return (
                f"another change is under way, in entry {membership.index}; try again when "
                "a majority has it"
            )
        return None

    def _check_can_commit(self, changed: Membership, node_id: int) -> None:
        """Refuse a removal after which nothing could be committed, not even itself."""
        voters = changed.voter_ids
        raft = self._raft
        # Who leads begins by counting everybody as heard: what counts is an answer in this term.
        answering = {each for each in voters if raft.is_answering(each) and raft.match_index(each)}
        if raft.node_id in voters:
            answering.add(raft.node_id)
        if changed.is_majority(answering):
            return
        silent = [str(each) for each in voters if each not in answering]
        raise ChangeRefused(
            f"without node {node_id} only {len(answering)} of {len(voters)} voters would answer, "
            f"which is no majority: start node {' and '.join(silent)} or remove that first"
        )

"""Whether a node without history may vote, stand, and take entries from a leader (P1).

Such a node may be one whose disk was lost. It acknowledged entries and gave votes that it no longer
knows of, so until it has caught up it is no member:
  1. It votes for nobody with history, and stands only while it has none itself and has heard of no
     member: it helps to found a cluster, no more.
  2. It follows only a leader whose term is not over. Whatever was committed with its help, a
     majority acknowledged, so once members that are half of all nodes, the leader among them, have
     told it their terms, it has heard of that term.
  3. It has caught up when it holds all that a leader has committed, up to an entry of that leader's
     own term. All that was ever committed with its help is in there.
Meanwhile its vote in each term is NOBODY's, so that a restart does not make it a member.
"""

from __future__ import annotations

from typing import Final

from raftbook.replica.messages import Message
from raftbook.storage.log_store import LogStore

NOBODY: Final = 0
"""The vote of a node that must not vote yet; no node has this id."""
FOUNDING_INDEX: Final = 2
"""Where the first leader's no-op stands: who cuts it away had another history than the others."""


class Newcomer:
    """The rules above for one node.

    Attributes:
        is_member: whether this node votes. One without history does not yet.
        terms_heard: the members that have told their terms.
    """

    def __init__(self, log: LogStore, *, peer_count: int) -> None:
        self._log, self._peer_count = log, peer_count
        self.is_member = log.last_index > 1 and log.voted_for != NOBODY
        self.terms_heard: set[int] = set()

    def may_vote_for(self, candidate: Message) -> bool:
        """Whether a candidate with the log that its message tells of may get this node's vote."""
        log = self._log
        if self.is_member or log.last_index > 1:
            return self.is_member
        if candidate["last_log_index"] == FOUNDING_INDEX:
            # The founding was interrupted, and this disk remembers its own part in it.
            return log.voted_for not in (None, NOBODY)
        return bool(candidate["last_log_index"] == 1) and not self.terms_heard

    def may_stand(self, *, asked_count: int) -> bool:
        """Whether this node may stand; without history, not before members had time to object."""
        is_founder = not self.terms_heard and asked_count > 1 and self._log.last_index == 1
        return self.is_member or is_founder

    def founded_with(self, leader_id: int) -> bool:
        """Whether this leader's cluster is one that this node helps to found."""
        return self._log.last_index == 1 and self._log.voted_for == leader_id

    def knows_terms(self, leader_id: int) -> bool:
        """Whether the members that told their terms are enough to trust this leader's."""
        is_half = 2 * len(self.terms_heard) >= self._peer_count + 1
        return leader_id in self.terms_heard and is_half

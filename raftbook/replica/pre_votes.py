"""Pre-votes: before a node raises its term it asks whether a majority would vote for it.

A node that was cut off or is catching up must not depose a healthy leader (S10), so the question
changes nothing at those who are asked. Owns who said yes to the question that is open; must not
know who may stand or vote.
"""

from __future__ import annotations

from raftbook.replica.messages import Message
from raftbook.storage.log_store import LogStore


class PreVotes:
    """The question of one node and the answers to it."""

    def __init__(self) -> None:
        self._is_open = False
        self._granted_by: set[int] = set()

    def ask(self, term: int, log: LogStore) -> Message:
        """Open a new question: would I get your vote in the term after `term`?"""
        self._is_open = True
        self._granted_by.clear()
        return {
            "type": "pre_vote",
            "term": term + 1,
            "last_log_index": log.last_index,
            "last_log_term": log.last_term,
        }

    def grant(self, peer_id: int) -> set[int]:
        """Count a yes, unless it comes late; the peers that have said it."""
        if self._is_open:
            self._granted_by.add(peer_id)
        return set(self._granted_by)

    def close(self) -> None:
        """Somebody leads: the question is settled."""
        self._is_open = False
        self._granted_by.clear()

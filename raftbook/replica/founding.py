"""When a cluster may be founded: once, by all nodes of its configuration, none of which has a past.

A node without history may be new, or one whose disk was lost. A majority of such nodes must not
begin anew while those that hold the orders are away. So a node without history stands, and votes
for a candidate without history, only when every node that its configuration names has told it,
since it started, that it has none either, from the same list. Who has a past is not a founder:
whoever holds the first membership says so, and is caught up by its leader or catches others up.
A list may be older than the cluster, and its nodes a minority of today's members. So a node that
knows otherwise that it had a past founds nothing, and one or two wait until others have had time to
call.

Owns what this node heard of the others before there is a membership in its log. Must not know
terms or logs.
"""

from __future__ import annotations

import logging

from raftbook.replica.membership import Membership, founded, list_digest
from raftbook.replica.messages import Message

_log = logging.getLogger(__name__)

_LOST = "its directory was lost since it was a member: it waits for those who hold the log"


class Founding:
    """What one node knows of the others' pasts.

    Args:
        configuration: who shall found the cluster, this node among them.
        incarnation: of this node's journal.
    """

    def __init__(self, node_id: int, incarnation: str, configuration: Membership) -> None:
        self._node_id, self._configuration = node_id, configuration
        self.digest = list_digest(configuration)
        self._incarnations = {node_id: incarnation}
        self._with_past: set[int] = set()
        self._complaints: set[int] = set()
        self._said: tuple[int, ...] = ()
        self._remedy = ""

    @property
    def are_few(self) -> bool:
        """Whether so few found it that they may do so before others of a grown cluster have called.
        Three are a minority of seven or more, and would have to come back within that moment.
        """
        return len(self._configuration.ids) < 3

    @property
    def is_lost(self) -> bool:
        """Whether this node had a past that it does not hold any more."""
        return bool(self._remedy)

    def forbid(self, remedy: str) -> None:
        """This node had a past, and its log does not: it waits for those who hold it.

        Args:
            remedy: what to do if nobody does.
        """
        self._remedy = remedy
        _log.warning("node %d: %s; %s", self._node_id, _LOST, remedy)

    @property
    def is_possible(self) -> bool:
        """Whether all nodes of the configuration are here and none has a past."""
        if self.is_lost or self._with_past:
            return False
        return set(self._configuration.ids) <= set(self._incarnations)

    def hear(self, node_id: int, message: Message) -> None:
        """Note what a message that introduces its sender says of it."""
        if message["is_founded"]:
            self.note_past(node_id)
        elif message["founding"] == self.digest:
            self._with_past.discard(node_id)
            self._incarnations[node_id] = message["incarnation"]
        else:
            self._incarnations.pop(node_id, None)
            if node_id not in self._complaints:
                self._complaints.add(node_id)
                _log.error(
                    "node %d's cluster.toml names other nodes or addresses than this node's: a "
                    "cluster is founded when all nodes have the same [[nodes]]",
                    node_id,
                )

    def note_past(self, node_id: int) -> None:
        """A node has a past: it says so, or it leads a cluster that was founded."""
        self._with_past.add(node_id)
        self._incarnations.pop(node_id, None)

    def why_not(self) -> str:
        """Why there is no cluster yet, for whoever asks its node for something."""
        if self.is_lost:
            return f"{_LOST} ({self._remedy})"
        awaited = ", ".join(map(str, sorted(self._with_past) or self.absent_ids()))
        word = f"it waits for node {awaited}: " if awaited else ""
        return f"the cluster is not founded yet; {word}start all nodes of cluster.toml"

    def explain(self) -> None:
        """Say for whom this node waits, once as long as that does not change."""
        if self.is_lost:
            return  # that was said
        awaited = tuple(sorted(self._with_past)) or self.absent_ids()
        if not awaited or awaited == self._said:
            return
        self._said = awaited
        why = ": all nodes of cluster.toml found a cluster together"
        if self._with_past:
            why = ", which knows that a cluster was founded: start all who were members of it"
        _log.warning(
            "node %d waits for node %s%s", self._node_id, ", ".join(map(str, awaited)), why
        )

    def incarnation_of(self, node_id: int) -> str | None:
        """The journal of a node that has no past, None if that is not known."""
        return self._incarnations.get(node_id)

    def absent_ids(self) -> tuple[int, ...]:
        """The nodes that have not been heard of yet."""
        known = self._with_past | set(self._incarnations)
        return tuple(node_id for node_id in self._configuration.ids if node_id not in known)

    def membership(self) -> Membership:
        """What the first leader writes into the log."""
        assert self.is_possible, f"{self.absent_ids()} are not here"
        return founded(self._configuration, self._incarnations)

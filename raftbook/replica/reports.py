"""What a node says of its own life: elections, leaders, snapshots, fences; one line each.

Owns the occurrences' names, words and fields, so that a log can be searched for one of them. Must
not know why they happen. As JSON a line also carries `event` and the fields; see `node_log`.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from typing import Any

from raftbook.replica.fences import Fence

_log = logging.getLogger("raftbook.replica")

Standing = tuple[str, int, int | None]
"""(role, term, leader_id)."""


class Reports:
    """The voice of one node.

    Args:
        name_of: how a node is called in a line: its id, and its address where that is known.

    Attributes:
        counts: how often each event was said.
    """

    def __init__(self, node_id: int, name_of: Callable[[int], str] | None = None) -> None:
        self._node_id = node_id
        self.counts: Counter[str] = Counter()
        self._name_of = name_of or (lambda node_id: f"node {node_id}")
        self._standing: Standing = ("follower", 0, None)

    def stands(self, role: str, term: int, leader_id: int | None, last_index: int) -> None:
        """Where the node stands after a turn; says what is new."""
        before, self._standing = self._standing, (role, term, leader_id)
        if before == self._standing:
            return
        fields = {"term": term, "last_index": last_index}
        if role == "candidate":
            self._say("election", "stands for election in term %d", term, **fields)
        elif role == "leader":
            if before[:2] != (role, term):
                self._say("leading", "leads term %d from entry %d on", term, last_index, **fields)
        else:
            if before[0] == "leader":
                self._say("stepped_down", "leads no more: term %d is over", before[1], **fields)
            if leader_id is None:
                if before[2] is not None:
                    self._say("no_leader", "knows no leader in term %d", term, **fields)
            elif leader_id != before[2]:
                name = self._name_of(leader_id)
                fields["leader_id"] = leader_id
                self._say("following", "follows %s in term %d", name, term, **fields)

    def snapshot_started(self, index: int) -> None:
        self._say("snapshot_started", "snapshot %d begins", index, index=index)

    def snapshot_written(self, index: int, base_index: int) -> None:
        text = "snapshot %d is written; the log begins at %d"
        self._say("snapshot_written", text, index, base_index, index=index, base_index=base_index)

    def snapshot_failed(self, index: int) -> None:
        text = "snapshot %d could not be written; the log is kept whole"
        self._say("snapshot_failed", text, index, level=logging.ERROR, index=index)

    def snapshot_put_off(self, what: str, reason: str) -> None:
        level = logging.WARNING
        self._say("snapshot_put_off", "%s: %s", what, reason, level=level, reason=reason)

    def snapshot_damaged(self, name: str, peer_id: int) -> None:
        text = "%s is damaged and not sent to %s; it is set aside and a new one is made"
        peer = self._name_of(peer_id)
        level = logging.ERROR
        self._say("snapshot_damaged", text, name, peer, level=level, file=name, peer_id=peer_id)

    def snapshot_sending(self, index: int, peer_id: int) -> None:
        text = "sending snapshot %d to %s"
        peer = self._name_of(peer_id)
        self._say("snapshot_sending", text, index, peer, index=index, peer_id=peer_id)

    def snapshot_refused(self, reason: str) -> None:
        text = "snapshot from the leader is refused, starting over: %s"
        self._say("snapshot_refused", text, reason, level=logging.ERROR, reason=reason)

    def snapshot_dropped(self, index: int, reason: str) -> None:
        text = "the part received of snapshot %d is dropped: %s"
        self._say("snapshot_dropped", text, index, reason, index=index, reason=reason)

    def snapshot_installed(self, index: int, term: int) -> None:
        text = "installed snapshot %d in term %d"
        self._say("snapshot_installed", text, index, term, index=index, term=term)

    def forward_refused(self, peer_id: int, reason: str) -> None:
        text = "requests forwarded by %s are refused: %s"
        peer = self._name_of(peer_id)
        level = logging.WARNING
        self._say("forward_refused", text, peer, reason, level=level, peer_id=peer_id)

    def no_majority(self, index: int, digests: dict[int, str]) -> None:
        told = ", ".join(f"{self._name_of(each)} {text}" for each, text in digests.items())
        text = "the digests at entry %d differ and none has a majority: %s"
        self._say("no_majority", text, index, told, level=logging.CRITICAL, index=index)

    def fenced(self, fence: Fence, heir_id: int | None) -> None:
        heir = "" if heir_id is None else f"; asked {self._name_of(heir_id)} to lead"
        fields: dict[str, Any] = {"kind": str(fence.kind), "index": fence.index, "heir_id": heir_id}
        text = "is fenced (%s) at entry %d: %s%s"
        arguments = (fence.kind, fence.index, fence.reason, heir)
        self._say("fenced", text, *arguments, level=logging.CRITICAL, **fields)

    def _say(
        self, event: str, text: str, *arguments: object, level: int = logging.INFO, **fields: Any
    ) -> None:
        self.counts[event] += 1
        extra = {"event": event, "fields": fields}
        name = self._name_of(self._node_id)
        _log.log(level, f"%s {text}", name, *arguments, extra=extra)

"""Whether a node should be sent work: the judgement behind /readyz.

Owns the reasons against, each with a name that a script can go by and a sentence for people. A node
that is not ready still runs, and most of what it knows can be read. Must not know HTTP.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from raftbook.replica.replica import Replica

BEHIND_MAX: Final = 1_000
"""Entries known to be committed and not applied here: about a second of a busy market."""
SILENT_TIMEOUTS: Final = 3
"""A leader is silent after so many election timeouts: another one would be there by then."""


@dataclass(frozen=True, slots=True)
class Obstacle:
    """One reason not to send work to a node now."""

    name: str
    sentence: str


def known_leader(replica: Replica) -> int | None:
    """Who leads as far as this node may say: a follower goes on naming a leader that is gone until
    another one tells it so, but one that is silent for long leads nobody."""
    raft = replica.raft
    if raft.is_leader or raft.leader_id is None:
        return raft.leader_id
    patience_ms = SILENT_TIMEOUTS * raft.timings.election_max_s * 1_000
    return None if replica.silence_ms() > patience_ms else raft.leader_id


def obstacles(replica: Replica, *, age_max_s: float) -> tuple[Obstacle, ...]:
    """Everything that speaks against this node; empty when it is ready.

    Args:
        age_max_s: how long ago a ready node may last have known itself current.
    """
    raft, fence = replica.raft, replica.fence
    if fence is not None:
        sentence = f"fenced ({fence.kind}) at entry {fence.index}: {fence.reason}"
        return (Obstacle("fenced", sentence),)
    found: list[Obstacle] = []
    if known_leader(replica) is None:
        sentence = f"no leader is known in term {raft.term}: orders are not taken"
        found.append(Obstacle("no_leader", sentence))
    if replica.age_ms() > age_max_s * 1_000:
        found.append(Obstacle("stale", replica.last_word()))
    behind = raft.commit_index - raft.applied_index
    if behind > BEHIND_MAX:
        sentence = f"{behind} committed entries are not applied yet"
        found.append(Obstacle("catching_up", sentence))
    if replica.shipper.waits_for is not None:
        sentence = f"a snapshot from the leader cannot be taken: {replica.shipper.waits_for}"
        found.append(Obstacle("catching_up", sentence))
    if raft.is_leader and not raft.has_committed_in_term():
        sentence = f"leads term {raft.term}, and no entry of it is committed yet"
        found.append(Obstacle("no_quorum", sentence))
    return tuple(found)

"""Which release each node runs, and the rolling upgrades of a run.

Owns the drawing of both. The production code of a run is one and the same; an older release is a
node that says an older engine version in its handshakes, puts nothing newer in force when it leads,
and must never meet what a newer one brought: that is the invariant `release` of `checks.py`.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import TYPE_CHECKING

from raftbook.core.versions import ENGINE_VERSION
from raftbook.replica.upgrade import EngineVersions
from tests.sim.faults import Fault

if TYPE_CHECKING:
    from tests.sim.profile import Profile

_SHARE = 0.6
"""Of the seeds, in which some nodes begin with an older release."""


class OwnEngine(EngineVersions):
    """What a node of this release and its peers can run."""

    def __init__(self, engine_version: int) -> None:
        super().__init__()
        self._own = engine_version

    def common(self, peer_ids: Iterable[int]) -> int:
        return min(super().common(peer_ids), self._own)


def first_releases(seed: int, node_ids: Iterable[int], *, oldest: int) -> dict[int, int]:
    """The engine version of each founder when a run begins.

    Args:
        oldest: the one that the genesis needs.
    """
    rng = random.Random(f"{seed}/releases")
    has_older = rng.random() < _SHARE
    return {
        node_id: rng.randint(oldest, ENGINE_VERSION) if has_older else ENGINE_VERSION
        for node_id in node_ids
    }


def draw_upgrades(seed: int, profile: Profile, seconds: float, *, first: int) -> list[Fault]:
    """Upgrades of single nodes, those of one rolling upgrade soon after each other.

    Args:
        first: their numbers begin here.
    """
    rng = random.Random(f"{seed}/upgrades")
    at_s = rng.uniform(1.0, max(1.0, seconds / 2))
    faults: list[Fault] = []
    for node in rng.sample(range(profile.size), profile.size):
        at_s += rng.expovariate(0.5)
        if at_s >= seconds:
            break
        fault = Fault(
            number=first + len(faults),
            at_s=at_s,
            kind="upgrade",
            node=node,
            other=0,
            seconds=rng.choice((0.05, 0.3, 1.0)) * (0.5 + rng.random()),
            share=rng.random(),
        )
        faults.append(fault)
    return faults

"""Faults: drawn up front as a list that can be shortened.

Owns what can go wrong, and when. A fault is plain data; what it meets when its time comes decides
what it does (`injector.py`), so that any part of the list is a schedule of its own.

A new kind is a method of `Injector` named after it and a weight in KINDS. What is done to the
membership has kinds of its own, in `members.py`.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.sim.profile import STORM_S

if TYPE_CHECKING:
    from tests.sim.profile import Profile

KINDS: dict[str, float] = {
    "kill": 3.0,
    "kill_point": 8.0,
    "power_loss": 3.0,
    "power_loss_all": 1.0,
    "kill_all": 0.7,
    "kill_leader": 3.0,
    "pause": 3.0,
    "cut": 3.0,
    "cut_one_way": 3.0,
    "isolate_leader": 2.0,
    "clog": 4.0,
    "slow": 2.0,
    "reset": 6.0,
    "refuse": 1.0,
    "client_reset": 3.0,
    "client_cut": 2.0,
    "disk_full": 1.5,
    "disk_error": 1.5,
    "sync_error": 1.5,
    "slow_sync": 3.0,
    "fork_fails": 1.0,
    "damage_journal": 1.0,
    "damage_snapshot": 1.5,
    "lose_snapshot": 1.0,
    "wipe": 1.5,
    "clock_rate": 1.0,
    "clock_jump": 2.0,
    "transfer": 1.5,
    "snapshot": 1.0,
}

POINTS = (
    "log.append",
    "log.truncate",
    "log.trim",
    "log.reset",
    "log.vote",
    "log.sync.before",
    "log.sync.written",
    "log.sync.after",
    "apply",
    "restore",
    "turn",
    "send.before",
    "send.after",
    "net.write",
    "snapshot.fork",
    "snapshot.create",
    "snapshot.write",
    "snapshot.fsync",
    "snapshot.rename",
    "snapshot.dirsync",
    "snapshot.unlink",
    "snapshot.read",
    "child.snapshot.create",
    "child.snapshot.write",
    "child.snapshot.fsync",
    "child.snapshot.read",
    "child.snapshot.rename",
    "child.snapshot.dirsync",
)
"""Where a process may be killed: see `Host.point`."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong.

    Attributes:
        at_s: seconds after the start of the run.
        node, other: positions of hosts, taken modulo the size.
        seconds: how long it lasts.
        share: a number in [0, 1) for whatever else the kind has to choose.
    """

    number: int
    at_s: float
    kind: str
    node: int
    other: int
    seconds: float
    share: float

    def __str__(self) -> str:
        return (
            f"#{self.number} at {self.at_s:.3f} s: {self.kind} node={self.node} "
            f"other={self.other} seconds={self.seconds:.3f} share={self.share:.4f}"
        )


def draw_faults(seed: int, profile: Profile, seconds: float) -> list[Fault]:
    """The faults of a seed: times, kinds and arguments."""
    rng = random.Random(f"{seed}/faults")
    kinds = [kind for kind, _ in profile.kinds]
    weights = [weight for _, weight in profile.kinds]
    faults: list[Fault] = []
    at_s = 0.0
    while True:
        burst = rng.random() < 0.15
        at_s += rng.expovariate(1.0 / profile.fault_gap_s) * (0.05 if burst else 1.0)
        if at_s >= seconds:
            return faults
        if is_calm(at_s, profile):
            continue
        faults.append(
            Fault(
                number=len(faults) + 1,
                at_s=at_s,
                kind=rng.choices(kinds, weights)[0],
                node=rng.randrange(profile.size),
                other=rng.randrange(profile.size - 1),
                seconds=rng.choice((0.05, 0.3, 1.0, 3.0, 6.0, 10.0)) * (0.5 + rng.random()),
                share=rng.random(),
            )
        )


def is_calm(at_s: float, profile: Profile) -> bool:
    """Whether nothing new goes wrong at this time of a run."""
    return at_s % (STORM_S + profile.calm_s) > STORM_S

"""What a seed draws for its run: timings, bounds, and which faults happen how often.

Owns every number that differs between runs. Each seed takes its own subset of fault kinds, so that
some runs are all of one kind, and bounds far smaller than production's, so that a minute of virtual
time meets every one of them.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from raftbook.core.limits import Limits
from raftbook.replica.raft import RaftTimings
from raftbook.replica.replica import ReplicaBounds

STORM_S = 12.0
SIZES = (3, 3, 3, 5, 5, 7)


@dataclass(frozen=True, slots=True)
class Profile:
    """One seed's cluster; seconds, bytes and counts.

    Attributes:
        constants: module constants of production code that are made small: (module, name, value).
        kinds: fault kinds that may happen, with their weight.
        fault_gap_s: mean time between two faults.
        calm_s: after every STORM_S of them, a rest this long.
        request_gap_s: mean time between two requests of one client.
    """

    size: int
    timings: RaftTimings
    bounds: ReplicaBounds
    step_s: float
    latency_s: tuple[float, float]
    constants: tuple[tuple[str, str, int], ...]
    entries_kept: int
    limits: Limits
    clients: int
    request_gap_s: float
    orders_max: int
    client_timeout_s: float
    kinds: tuple[tuple[str, float], ...]
    fault_gap_s: float
    calm_s: float
    peer_buffer_bytes_max: int

    @property
    def pace(self) -> float:
        """How much slower than usual this run's elections are."""
        return self.timings.election_min_s / 0.3


def draw(seed: int, kinds: dict[str, float], *, size: int | None = None) -> Profile:
    """The profile of a seed; `kinds` are the fault kinds there are, with their usual weights."""
    rng, slices = random.Random(f"{seed}/profile"), random.Random(f"{seed}/profile/slices")
    chosen_size = rng.choice(SIZES)
    pace = rng.choice((1.0, 1.0, 1.5))
    timings = RaftTimings(
        election_min_s=0.3 * pace,
        election_max_s=0.6 * pace,
        heartbeat_s=0.06 * pace,
        fallback_s=1.2 * pace,
        founding_wait_s=2.0,
    )
    bounds = ReplicaBounds(
        entry_bytes_max=rng.choice((2_000, 8_000, 256_000)),
        entry_requests_max=rng.choice((2, 16, 4_096)),
        requests_pending_max=rng.choice((4, 32, 1_000)),
        snapshot_every_entries=rng.choice((25, 60, 200, 1_000_000)),
        snapshot_every_bytes=rng.choice((50_000, 1 << 30)),
        request_deadline_s=rng.choice((0.5, 1.0, 2.0)),
    )
    constants = (
        ("raftbook.replica.replica", "LOG_KEPT_ENTRIES", rng.choice((1, 5, 40, 1_000))),
        ("raftbook.replica.routing", "UNAPPLIED_ENTRIES_MAX", rng.choice((2, 8, 64))),
        ("raftbook.replica.appends", "APPEND_ENTRIES_MAX", rng.choice((1, 3, 20, 512))),
        ("raftbook.replica.appends", "IN_FLIGHT_ENTRIES_MAX", rng.choice((4, 64, 4_096))),
        ("raftbook.replica.raft", "APPLY_BYTES_PER_TURN_MAX", rng.choice((500, 131_072))),
        ("raftbook.replica.shipping", "PIECE_BYTES", rng.choice((8_000, 30_000, 262_144))),
        # Drawn apart, so that the other draws of a seed stay what they were.
        ("raftbook.replica.shipping", "VERIFY_BYTES", slices.choice((4_000, 16_000, 2 << 20))),
        ("raftbook.replica.raft", "APPLY_S_PER_TURN_MAX", slices.choice((0.0, 0.05, 0.05))),
    )
    limits = Limits(
        reply_window=rng.choice((48, 48, 1_024)),
        closed_orders_max=rng.choice((3, 50)),
        trades_kept=20,
        session_recent_ns=1_000_000_000,
    )
    weights: list[tuple[str, float]] = []
    share = rng.choice((0.15, 0.4, 0.7, 1.0))
    for kind, weight in kinds.items():
        is_chosen = rng.random() < share
        scale = rng.choice((0.3, 1.0, 3.0))
        if is_chosen:
            weights.append((kind, weight * scale))
    if not weights:
        weights = [rng.choice(sorted(kinds.items()))]
    return Profile(
        size=size or chosen_size,
        timings=timings,
        bounds=bounds,
        step_s=rng.choice((0.02, 0.03, 0.05)) * pace,
        latency_s=rng.choice(((0.0002, 0.0005), (0.001, 0.002), (0.001, 0.02))),
        constants=constants,
        entries_kept=rng.choice((64, 4_096)),
        limits=limits,
        clients=rng.choice((2, 3, 5)),
        request_gap_s=rng.choice((0.3, 0.5)),
        orders_max=rng.choice((6, 12, 20)),
        client_timeout_s=rng.choice((2.0, 5.0)),
        kinds=tuple(weights),
        fault_gap_s=rng.choice((0.4, 0.8, 1.6, 4.0)),
        calm_s=rng.choice((0.0, 3.0, 6.0)),
        peer_buffer_bytes_max=rng.choice((600_000, 16 << 20)),
    )

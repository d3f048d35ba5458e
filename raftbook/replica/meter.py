"""What a replica measures of its own turns: plain numbers, for whoever shows them.

Owns the clocks' arithmetic: how long a sync took, an entry to its commit, to its effect.
Costs a handful of additions a turn or an entry, never one an order. Must not know who reads it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from typing import Final

SECONDS: Final = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
)  # fmt: skip
"""A sync of a fast disk takes 0.1 ms; what takes 5 s is an outage."""
REQUESTS: Final = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1_024.0, 4_096.0)
"""How many requests share an entry; 0 are entries that time or unfinished work called for."""

AWAITED_MAX: Final = 256
"""Proposals whose commit is waited for. More than a leader lets be under way (see `replica`)."""


class Histogram:
    """How often a value fell below each bound. `observe` is O(log bounds).

    Attributes:
        bounds: ascending; a value that equals one belongs to it.
        counts: by bound, and one more for what is above all.
        sum: of all values.
    """

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    @property
    def count(self) -> int:
        """How many there were."""
        return sum(self.counts)


class Meter:
    """The measurements of one replica.

    Attributes:
        sync: seconds that each sync of the journal took.
        commit: seconds from the proposal of an entry to its commit, of entries that this node
            proposed as leader.
        apply: seconds that it took to apply one entry.
        requests: how many requests each applied entry holds.
    """

    __slots__ = ("_awaited", "apply", "commit", "requests", "sync")

    def __init__(self) -> None:
        self.sync = Histogram(SECONDS)
        self.commit = Histogram(SECONDS)
        self.apply = Histogram(SECONDS)
        self.requests = Histogram(REQUESTS)
        self._awaited: deque[tuple[int, float]] = deque(maxlen=AWAITED_MAX)

    def proposed(self, last_index: int, now: float) -> None:
        """Entries up to `last_index` were appended by this leader."""
        self._awaited.append((last_index, now))

    def committed(self, commit_index: int, now: float) -> None:
        """The log is committed up to here; one measurement for what was proposed together."""
        awaited = self._awaited
        while awaited and awaited[0][0] <= commit_index:
            self.commit.observe(now - awaited.popleft()[1])

    def leads_no_more(self) -> None:
        """Whether what was proposed will be committed is for others to say."""
        self._awaited.clear()

    @property
    def awaits_commit(self) -> bool:
        """Whether `committed` has something to measure."""
        return bool(self._awaited)

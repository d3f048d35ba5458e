"""What the market did, counted as entries are applied: events by kind, refusals by reason.

Owns plain numbers and the way they are counted: one list index for each event that this node
applied since it started. Must not know who shows them, nor how.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from raftbook.core.events import CANCEL_REJECTED, REJECTED
from raftbook.replica.machine import Applied

_KINDS_MAX: Final = 256
"""Event kinds are small numbers, see `core/events.py`."""


class Tally:
    """The counters of one node, from its start on.

    Attributes:
        entries: applied entries of the exchange.
        kinds: how many events of each kind, by its number.
        rejects: refused commands by reason.
        repeated: requests that had been applied before and got the same reply again.
    """

    __slots__ = ("entries", "kinds", "rejects", "repeated")

    def __init__(self) -> None:
        self.entries = self.repeated = 0
        self.kinds = [0] * _KINDS_MAX
        self.rejects: Counter[int] = Counter()

    def add(self, applied: Applied) -> None:
        """Count one applied entry. O(events), some 30 ns each."""
        self.entries += 1
        kinds = self.kinds
        for _, _, _, _, events, poss_dup in applied.replies:
            if poss_dup:
                self.repeated += 1
                continue
            for event in events:
                kind = event[0]
                kinds[kind] += 1
                if kind in (REJECTED, CANCEL_REJECTED):
                    self.rejects[event[2]] += 1

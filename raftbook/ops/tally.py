"""What the market did, counted as entries are applied: events by kind, refusals by reason.

Owns plain numbers and the way they are counted: every event that this node applied since it
started, an entry at a time, so that the counting itself is done in C. Must not know who shows them,
nor how.
"""

from __future__ import annotations

from collections import Counter
from itertools import chain
from operator import itemgetter
from typing import Final

from raftbook.core.events import CANCEL_REJECTED, REJECTED
from raftbook.replica.machine import Applied

_KIND: Final = itemgetter(0)
_REJECTS: Final = frozenset((REJECTED, CANCEL_REJECTED))


class Tally:
    """The counters of one node, from its start on.

    Attributes:
        entries: applied entries of the exchange.
        kinds: how many events of each kind, by its number.
        rejects: refused commands by reason.
        repeated: requests that had been applied before and got the same reply again.
    """

    __slots__ = ("_rejected", "entries", "kinds", "rejects", "repeated")

    def __init__(self) -> None:
        self.entries = self.repeated = self._rejected = 0
        self.kinds: Counter[int] = Counter()
        self.rejects: Counter[int] = Counter()

    def add(self, applied: Applied) -> None:
        """Count one applied entry. O(events)."""
        self.entries += 1
        fresh = [reply[4] for reply in applied.replies if not reply[5]]
        self.repeated += len(applied.replies) - len(fresh)
        kinds = self.kinds
        kinds.update(map(_KIND, chain.from_iterable(fresh)))
        rejected = kinds[REJECTED] + kinds[CANCEL_REJECTED]
        if rejected != self._rejected:  # few entries refuse anything: only they are looked at
            self._rejected = rejected
            for event in chain.from_iterable(fresh):
                if event[0] in _REJECTS:
                    self.rejects[event[2]] += 1

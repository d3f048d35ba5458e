"""Whose turn it is: everybody does a little, then waits behind all others.

Owns the order, and for how long turns are given. Must not know what is done in them.
"""

from __future__ import annotations

import asyncio
from typing import Protocol


class Party(Protocol):
    """Whoever has turns."""

    def hand_on(self) -> bool:
        """Do a little of what waits; whether there is more that may be done. Raises nothing."""


class Turns:
    """All who wait for theirs."""

    def __init__(self) -> None:
        self._waiting: dict[Party, None] = {}  # who has waited longest comes first

    def __len__(self) -> int:
        return len(self._waiting)

    def join(self, party: Party) -> None:
        """Wait behind the others; whoever waits already keeps its place."""
        self._waiting[party] = None

    def leave(self, party: Party) -> None:
        """Wait no more."""
        self._waiting.pop(party, None)

    def give(self, until: float) -> float:
        """Let them do their work until the loop's time `until`, but for the turn that is being
        taken, and one in any case; the time at which that ended."""
        clock = asyncio.get_running_loop().time
        waiting = self._waiting
        while waiting:
            party = next(iter(waiting))
            del waiting[party]
            if party.hand_on():
                waiting[party] = None
            now = clock()
            if now >= until:
                return now
        return clock()

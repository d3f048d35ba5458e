"""How much one entry has room for, of what can be refused or left to the next one.

Owns the bounds that all commands of an entry share (docs/MATCHING.md "Bounds of one command"), so
that no entry takes long, whatever it asks for. Knows nothing of what is done with the room.
"""

from __future__ import annotations

from typing import Final

from raftbook.core.limits import Limits

LOOKS_PER_CANCEL: Final = 16
"""For each order that one mass cancel may cancel in an entry: how many all of them may have looked
at when one begins with another account."""
LOOKS_PER_MOVE: Final = 16
"""For each pegged order of one instrument that may move in an entry: how many of all may have been
looked at when another instrument is."""
LOOKS_PER_FILL: Final = 8
"""For each order that one sweep may meet: how much the dry runs of an entry may have looked at when
another one begins."""
TRIGGERS_PER_ENTRY: Final = 2
"""How many times `triggers_max` stops may fire in an entry."""
SWEEPS_PER_ENTRY: Final = 2
"""How many sweeps of `fills_max` an entry has room for, beside what each may meet for nothing,
under the rules of engine version 2; since then for one."""
FIRING_PART: Final = 2
"""One in so many of `fills_max` is left at least, since engine version 3, when a stop fires."""
MUCH_PART: Final = 2
"""One in so many of `fills_max` is what all sweeps of an entry meet, since engine version 4, before
each may meet one at most for nothing."""
FREE_PART: Final = 1_250
"""One in so many of `fills_max` is what each sweep may meet for nothing."""
_PLENTY: Final = 2**62
"""More than is ever done under the rules of engine version 1, which had no such bounds."""


class Room:
    """What is left of it. Looks may end below 0: what was begun is gone through with.

    Attributes:
        linked: how many orders one that was entered together with others counts where it is met,
            beside itself; none before engine version 3.
        cancel_looks: orders and accounts that mass cancels may look at.
        peg_looks: pegged orders that may be looked at.
        dry_looks: what dry runs may look at: each level counts one, and so does each order that is
            looked at by itself.
        fills: orders that sweeps may meet, beside what each may for nothing.
        fills_left: orders that they meet, for nothing or not, until each may meet one at most for
            nothing; beyond any number before engine version 4.
        fills_max: orders that one sweep meets; beyond any number before engine version 2.
        fills_free: those of them that every sweep may meet, however many others of its entry did.
        triggers: stops that may fire, and pending orders that may be released.
        auctions: trades of auctions, and orders that end with them.
        days: orders of days that were rolled, which expire.
    """

    __slots__ = (
        "_fills_to_fire",
        "_free",
        "_is_free_to_fire",
        "_whole",
        "auctions",
        "cancel_looks",
        "days",
        "dry_looks",
        "fills",
        "fills_free",
        "fills_left",
        "fills_max",
        "linked",
        "peg_looks",
        "triggers",
    )

    def __init__(self) -> None:
        self._whole = (_PLENTY,) * 8
        self._free = _PLENTY
        self._fills_to_fire = 1
        self._is_free_to_fire = True
        self.linked = 0
        self.fills_max = _PLENTY
        self.begin()

    def bound(self, limits: Limits, engine_version: int) -> None:
        """Go by these bounds from now on."""
        sweeps = SWEEPS_PER_ENTRY
        if engine_version > 2:
            sweeps, self.linked, self._is_free_to_fire = 1, 1, False
            self._fills_to_fire = -(-limits.fills_max // FIRING_PART)
        self.fills_max, self._free = limits.fills_max, limits.fills_max // FREE_PART
        self._whole = (
            LOOKS_PER_CANCEL * limits.cancel_page,
            LOOKS_PER_MOVE * limits.pegs_page,
            LOOKS_PER_FILL * limits.fills_max,
            sweeps * limits.fills_max,
            TRIGGERS_PER_ENTRY * limits.triggers_max,
            limits.auction_page,
            limits.expiries_page,
            limits.fills_max // MUCH_PART if engine_version > 3 else _PLENTY,
        )
        self.begin()

    def begin(self) -> None:
        """Another entry begins."""
        (
            self.cancel_looks,
            self.peg_looks,
            self.dry_looks,
            self.fills,
            self.triggers,
            self.auctions,
            self.days,
            self.fills_left,
        ) = self._whole
        self.fills_free = self._free

    def fills_now(self) -> int:
        """How many orders a sweep may meet now."""
        return min(self.fills_max, self.fills + self.fills_free)

    def spend(self, fills: int) -> None:
        """A sweep has met so many."""
        more = fills - self.fills_free
        if more > 0:
            self.fills = max(0, self.fills - more)
        self.fills_left -= fills
        if self.fills_left <= 0:
            self.fills_free = min(1, self.fills_free)

    def begin_firing(self) -> int:
        """Stops fire. Before engine version 3 they may meet some orders for nothing, too.

        Returns:
            What `end_firing` must have back.
        """
        free = self.fills_free
        if not self._is_free_to_fire:
            self.fills_free = 0
        return free

    def end_firing(self, free: int) -> None:
        """They have fired."""
        self.fills_free = free if self.fills_left > 0 else min(1, free)

    def is_spent(self) -> bool:
        """Whether nothing may be done in this entry that could as well be done in the next one."""
        return self.dry_looks <= 0 or self.fills < self._fills_to_fire or self.triggers <= 0

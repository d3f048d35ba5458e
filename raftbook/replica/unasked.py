"""Entries that a leader makes although nobody asked for anything: work that goes on, and time.

Owns when one is due. A market that is quiet must go on all the same: orders whose time has come,
leases that are over, calls that end, a mass cancel of many pages. What is done then is the
exchange's, the same on every node; that it happens is the leader's alone.
"""

from __future__ import annotations

from typing import Final

from raftbook.core.exchange import Exchange

QUIET_NS_MAX: Final = 30_000_000_000
"""Logical time falls at most this far behind the leader's clock, whether or not anybody trades."""
QUIET_STEP_S: Final = 0.1
"""Entries that catch up with a clock that is further ahead come this far apart, so that a leader
whose clock is days ahead neither floods the log nor ages every session by days before somebody can
see to it: one entry moves logical time at most 60 s."""


class Unasked:
    """Says when the next entry of this kind is due, asked in every turn of a leader."""

    def __init__(self) -> None:
        self._quiet_until = 0.0

    def due(self, exchange: Exchange, now_s: float, wall_ns: int) -> int | None:
        """The time to put on an entry that should be made now, None for none.

        While the clock is far ahead of logical time, work goes on without moving it: only the paced
        entries do.

        Args:
            now_s: of a clock that only goes forward.
            wall_ns: the leader's clock.
        """
        now_ns, next_ns = exchange.now_ns, exchange.agenda.next_ns
        is_behind = now_ns > 0 and wall_ns - now_ns > QUIET_NS_MAX
        if is_behind and now_s >= self._quiet_until:
            self._quiet_until = now_s + QUIET_STEP_S
            return wall_ns
        if next_ns <= now_ns:
            return now_ns if is_behind else wall_ns
        return wall_ns if next_ns <= wall_ns and not is_behind else None

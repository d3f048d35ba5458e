"""Whether this node is the one to listen to.

Owns when all streams of a node end at once, so that their clients begin anew or elsewhere: when it
was given another state, when it takes no part any more, and when it has had no word of a leader for
long, since then others may know more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final, Protocol

from raftbook.replica.answers import safely
from raftbook.replica.replica import Replica

INSTALLED: Final = "this node took over a newer state: begin anew"
FENCED: Final = "this node takes no part: use another"
STALE: Final = "this node has had no word of a leader for long: use another"


class Ward(Protocol):
    """Streams that are watched."""

    def has_listeners(self) -> bool:
        """Whether anybody is there."""

    def look(self) -> None:
        """Some time has passed."""

    def end_all(self, reason: str) -> None:
        """Close all connections that listen."""


class StreamWatch:
    """Looks after the streams of one node.

    Args:
        age_max_s: without word of a leader for so long a node is not listened to. It is also how
            often that is looked at.
    """

    def __init__(self, replica: Replica, age_max_s: float) -> None:
        self._replica, self._age_max_s = replica, age_max_s
        self._wards: Sequence[Ward] = ()
        self._timer: asyncio.TimerHandle | None = None
        replica.on_installed.append(lambda: self._end_all(INSTALLED))
        replica.on_fenced.append(lambda: self._end_all(FENCED))

    def over(self, *wards: Ward) -> None:
        """Watch over these."""
        self._wards = wards

    def begin(self) -> None:
        """Somebody listens."""
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._age_max_s, self._look)

    def close(self) -> None:
        """The node stops; the server ends the connections."""
        if self._timer is not None:
            self._timer.cancel()

    @property
    def refusal(self) -> str | None:
        """Why nobody may begin to listen here. A node without a leader may be listened to: while
        nobody leads, no node is any newer, and who listens must not be turned away by all."""
        return None if self._replica.fence is None else FENCED

    def _look(self) -> None:
        self._timer = None
        if self._replica.age_ms() > self._age_max_s * 1_000:
            self._end_all(STALE)
        for ward in self._wards:
            safely(ward.look)
        if any(ward.has_listeners() for ward in self._wards):
            self.begin()

    def _end_all(self, reason: str) -> None:
        for ward in self._wards:
            safely(ward.end_all, reason)

"""How late a node's loop is: what it has to do keeps everything else waiting that long.

Owns one timer on the running loop and the histogram of its delays. A node whose loop is late by
more than an election timeout loses its leadership, so this is the number to look at first when a
machine is too small. Must not know what the loop does.
"""

from __future__ import annotations

import asyncio
from typing import Final

from raftbook.replica.meter import SECONDS, Histogram

EVERY_S: Final = 0.1
"""Ten samples a second: a pause of 100 ms is seen, and nobody notices the asking."""


class LoopLag:
    """Samples the running loop from `start` to `stop`.

    Attributes:
        late: seconds that each sample came after its time.
    """

    def __init__(self) -> None:
        self.late = Histogram(SECONDS)
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0

    def start(self) -> None:
        """Begin; needs a running loop."""
        loop = asyncio.get_running_loop()
        self._due = loop.time() + EVERY_S
        self._timer = loop.call_at(self._due, self._on_timer)

    def stop(self) -> None:
        """Take no more samples."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_timer(self) -> None:
        self.late.observe(max(0.0, asyncio.get_running_loop().time() - self._due))
        self.start()

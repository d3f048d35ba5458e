"""When a node looks for reference cycles: seldom, and hardly ever among what lives long.

Owns the garbage collector of the process. Orders, events and replies live and die without cycles,
and there are millions of them: to look at each one when it was new took a fifteenth of a node's
time, and to look at all of them is a pause. So what is made in plenty is set aside unseen, while a
quiet node looks at what is young as ever; everything is looked at once in FULL_EVERY_S, when that
disturbs nobody, at the latest PUT_OFF_MAX_S after that.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from typing import Final

YOUNG_MAX: Final = 10_000
"""More objects than this since the last look call for another one."""
PLENTY_S: Final = 1.0
"""They are many if they came in less than this."""
LOOK_EVERY_S: Final = 0.1
AUTOMATIC_AT: Final = 200_000
"""Python's own threshold: more than a node makes between two looks."""
FULL_EVERY_S: Final = 3_600.0
PUT_OFF_MAX_S: Final = 86_400.0


class Memory:
    """Keeps the collector away from what lives long, on the running loop.

    Args:
        may_pause: whether a pause of some hundred milliseconds would disturb nobody now.
    """

    def __init__(self, may_pause: Callable[[], bool]) -> None:
        self._may_pause = may_pause
        self._full_at = self._looked_at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin; needs a running loop."""
        gc.set_threshold(AUTOMATIC_AT, 20, 50)
        self._full_at = asyncio.get_running_loop().time() + FULL_EVERY_S
        self._on_timer()

    def stop(self) -> None:
        """Let everything be looked at again."""
        if self._timer is not None:
            self._timer.cancel()
        gc.unfreeze()

    def look(self, now: float) -> None:
        """Look at what is young or set it aside, or look at everything if that is due."""
        overdue_s = now - self._full_at
        if overdue_s >= PUT_OFF_MAX_S or (overdue_s >= 0 and self._may_pause()):
            self._full_at = now + FULL_EVERY_S
            gc.unfreeze()
            gc.collect()
        elif gc.get_count()[0] > YOUNG_MAX:
            if now - self._looked_at < PLENTY_S:
                gc.freeze()
            else:
                gc.collect(0)
            self._looked_at = now

    def _on_timer(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(LOOK_EVERY_S, self._on_timer)
        self.look(loop.time())

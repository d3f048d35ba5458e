"""When a replica takes its turns: as soon as something arrived, and with the clock.

Owns one asyncio timer and one scheduled call; everything that was ready in the same round of the
loop shares a turn, hence a sync. Must not know what a turn does.
"""

from __future__ import annotations

import asyncio

from raftbook.replica.replica import Replica


class Driver:
    """Steps one replica on the running loop."""

    def __init__(self, replica: Replica, *, step_interval_s: float) -> None:
        self._replica = replica
        self._step_interval_s = step_interval_s
        self._scheduled = self._is_stopped = False
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to step; needs a running loop."""
        self._on_timer()

    def stop(self) -> None:
        """Take no more turns."""
        self._is_stopped = True
        if self._timer is not None:
            self._timer.cancel()

    def wake(self) -> None:
        """Something arrived: take a turn after what else is ready now."""
        if not self._scheduled and not self._is_stopped:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self._scheduled = False
        if self._is_stopped:
            return
        self._replica.turn()
        if self._replica.needs_turn():
            self.wake()

    def _on_timer(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._step_interval_s, self._on_timer)
        self.wake()

"""Work of streams beside that of a node.

Owns that however much there is to tell, and to however many, a node keeps most of its time: work
is done step by step, in rounds, and after each round the loop is others' for a multiple of it. So
little work is done at once, and much work is done in rarer rounds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

ROUND_S: Final = 0.004
"""About the longest time of one round."""
REST: Final = 4
"""After a round the loop is others' for so many times as long: a fifth of it is for streams."""


class Work(Protocol):
    """Something that is done step by step."""

    def want(self) -> None:
        """There is something to do."""


class Pacer:
    """Does one sort of work.

    Args:
        step: does a little of it; whether there is more.
    """

    def __init__(self, step: Callable[[], bool]) -> None:
        self._step = step
        self._free_at = 0.0
        self._is_scheduled = False

    def want(self) -> None:
        """There is something to do."""
        if self._is_scheduled:
            return
        self._is_scheduled = True
        loop = asyncio.get_running_loop()
        if self._free_at > loop.time():
            loop.call_at(self._free_at, self._round)
        else:
            loop.call_soon(self._round)

    def _round(self) -> None:
        self._is_scheduled = False
        clock = asyncio.get_running_loop().time
        began = ended = clock()
        is_more = True
        while is_more and ended < began + ROUND_S:
            is_more = self._step()
            ended = clock()
        self._free_at = ended + REST * (ended - began)
        if is_more:
            self.want()

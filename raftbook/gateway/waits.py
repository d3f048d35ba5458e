"""Who waits until this node has applied an entry.

Owns the order of those who wait, so that an entry looks at the first of them only, and a wait that
no entry will ever end costs nothing until its time is up; and how many of them there may be. Must
not know what is asked afterwards.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

from sortedcontainers import SortedDict

from raftbook.core.types import Reject
from raftbook.gateway.arguments import QueryError

WAITS_MAX: Final = 4_096
"""Questions of all clients that wait for an entry; each is a task and a timer, a few KB."""
ANONYMOUS_WAITS_MAX: Final = 1_024
"""As many of these may be of clients without a login: strangers cannot take everybody's place."""


class EntryWaits:
    """All who wait, those for the eldest entry first."""

    def __init__(self) -> None:
        # By (index, a number that no other has); a wait that ends early is taken out, not left.
        self._waiting: SortedDict[tuple[int, int], asyncio.Future[None]] = SortedDict()
        self._last_number = 0
        self._anonymous = 0

    def __len__(self) -> int:
        return len(self._waiting)

    async def until(self, index: int, deadline: float, *, is_anonymous: bool) -> None:
        """Come back when `reached` has told of `index`, or at the loop's time `deadline`.

        Costs O(log n), and nothing while it waits.

        Raises:
            QueryError: too many wait.
        """
        self._check_room(is_anonymous=is_anonymous)
        self._last_number += 1
        key = (index, self._last_number)
        future = asyncio.get_running_loop().create_future()
        self._waiting[key] = future
        self._anonymous += is_anonymous
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(deadline):
                    await future
        finally:
            self._waiting.pop(key, None)
            self._anonymous -= is_anonymous

    def reached(self, index: int) -> None:
        """Everything up to `index` was applied; O(log n) for each whose wait that ends."""
        waiting = self._waiting
        while waiting and waiting.peekitem(0)[0][0] <= index:
            _, future = waiting.popitem(0)
            if not future.done():  # else its client is gone, or its time is up
                future.set_result(None)

    def _check_room(self, *, is_anonymous: bool) -> None:
        if is_anonymous and self._anonymous >= ANONYMOUS_WAITS_MAX:
            why = f"{ANONYMOUS_WAITS_MAX} queries without a login wait for an entry already"
            raise QueryError(Reject.OVERLOADED, f"{why}; log in, or ask again later")
        if len(self._waiting) >= WAITS_MAX:
            why = f"{WAITS_MAX} queries wait for an entry already"
            raise QueryError(Reject.OVERLOADED, f"{why}; ask again later")

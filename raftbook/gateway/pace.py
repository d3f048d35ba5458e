"""What a node makes for whoever asks: answers, and pages of books and history, all in turn.

Owns when it is made. A question costs its client a few bytes and this node perhaps milliseconds,
and thousands may come at once. So there is a turn for each connection, a round of turns in a pass
of the loop, and at most half of the loop's time for all of them together, however many ask. Must
not know what is made.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from raftbook.gateway.turns import Party, Turns

Made = TypeVar("Made")

ROUND_S: Final = 0.004
"""How long turns are given in one pass of the loop, but for the one that is being taken."""
SAVED_S: Final = 0.004
"""So much may be made without a rest after it, if as little was made before: whoever asks now and
then, or often for what costs little, waits for no timer."""


class Pace:
    """What all connections of a node share.

    Attributes:
        free_at: the next turns are given then, seconds of the loop.
        round_s: see ROUND_S.
    """

    def __init__(self) -> None:
        self.free_at = 0.0
        self.round_s = ROUND_S
        self._turns = Turns()
        self._is_scheduled = False

    def want(self, party: Party) -> None:
        """There is something to make there: in the next pass, if nobody waits."""
        self._turns.join(party)
        self._schedule()

    def forget(self, party: Party) -> None:
        """Nothing is wanted there any more."""
        self._turns.leave(party)

    async def make(self, piece: Callable[[], Made]) -> Made:
        """Call `piece` when it has its turn: at once, if nobody waits and no rest is due.

        Raises:
            Exception: what `piece` raises. It is not called for a task that was cancelled.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        if not self._turns and began >= self.free_at:
            try:
                return piece()
            finally:
                self._worked(began, loop.time())
        waiting: _Waiting[Made] = _Waiting(piece, loop.create_future())
        self.want(waiting)
        try:
            return await waiting.made
        finally:
            self.forget(waiting)

    def _worked(self, began: float, ended: float) -> None:
        """Turns were given for so long; now others have theirs for as long, but for what was saved
        before."""
        self.free_at = max(self.free_at, began - SAVED_S) + 2 * (ended - began)

    def _schedule(self) -> None:
        if self._is_scheduled:
            return
        self._is_scheduled = True
        loop = asyncio.get_running_loop()
        if loop.time() < self.free_at:
            loop.call_at(self.free_at, self._round)
        else:
            loop.call_soon(self._round)

    def _round(self) -> None:
        self._is_scheduled = False
        began = asyncio.get_running_loop().time()
        try:
            if self._turns and began >= self.free_at:
                self._worked(began, self._turns.give(began + self.round_s))
        finally:
            if self._turns:
                self._schedule()


class _Waiting(Generic[Made]):
    """A piece of work for which a task waits."""

    def __init__(self, piece: Callable[[], Made], made: asyncio.Future[Made]) -> None:
        self._piece = piece
        self.made = made

    def hand_on(self) -> bool:
        if not self.made.done():  # else its task was cancelled
            try:
                self.made.set_result(self._piece())
            except Exception as error:
                self.made.set_exception(error)
        return False

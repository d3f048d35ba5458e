"""What a node makes for whoever asks: answers, and pages of books and history, all in turn.

Owns when it is made. A question costs its client a few bytes and this node perhaps milliseconds,
and thousands may come at once. So there is a turn for each connection, a round of turns in a pass
of the loop, and at most half of the loop's time for all of them together, however many ask. Must
not know what is made.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

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

    def is_free(self) -> bool:
        """Whether something may be made at once: nobody waits and no rest is due."""
        return not self._turns and asyncio.get_running_loop().time() >= self.free_at

    def make_now(self, piece: Callable[[], Made]) -> Made:
        """Call `piece`, and remember how long that took."""
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            return piece()
        finally:
            self._worked(began, clock())

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


class Ended(Exception):
    """It will not be made: whoever asked is gone, or the node stops."""


class Asker:
    """A connection whose tasks wait for what is made: one turn a round, however many they are.

    Attributes:
        long_answer: held by the one task whose long answer is under way.
    """

    def __init__(self, pace: Pace) -> None:
        self.long_answer = asyncio.Lock()
        self._pace = pace
        self._waiting: deque[_Waiting[Any]] = deque()
        self._is_over = False

    async def make(self, piece: Callable[[], Made]) -> Made:
        """Call `piece` when it has its turn: at once, if nobody waits and no rest is due.

        Raises:
            Ended: nobody waits for it any more.
            Exception: what `piece` raises. It is not called for a task that was cancelled.
        """
        if self._pace.is_free():
            return self._pace.make_now(piece)
        if self._is_over:
            raise Ended
        waiting: _Waiting[Made] = _Waiting(piece, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._pace.want(self)
        return await waiting.made

    def end(self) -> None:
        """Nothing is made any more for whoever waits, or would have to."""
        self._is_over = True
        self._pace.forget(self)
        while self._waiting:
            self._waiting.popleft().refuse()

    def hand_on(self) -> bool:
        while self._waiting:
            if self._waiting.popleft().make():
                break
        return bool(self._waiting)


class _Waiting(Generic[Made]):
    """A piece of work for which a task waits."""

    def __init__(self, piece: Callable[[], Made], made: asyncio.Future[Made]) -> None:
        self._piece = piece
        self.made = made

    def make(self) -> bool:
        """Make it, unless its task was cancelled; whether that was done."""
        if self.made.done():
            return False
        try:
            self.made.set_result(self._piece())
        except StopIteration as error:  # which no future takes
            self.made.set_exception(RuntimeError(f"a piece ended in {error!r}"))
        except Exception as error:
            self.made.set_exception(error)
        return True

    def refuse(self) -> None:
        """Tell its task that it will not be made."""
        if not self.made.done():
            self.made.set_exception(Ended())

"""What a turn has to tell this node's clients, kept back until it is safe to say.

Owns the moment: replies, refusals and news gather while a turn runs and leave together after its
sync. Whoever listens can neither stop the node nor keep others from their answers (F8).
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable

from raftbook.core.events import Reply
from raftbook.core.types import Reject
from raftbook.replica.machine import Applied
from raftbook.replica.proposer import Refusal, Waiter

_log = logging.getLogger(__name__)


class Answers:
    """What waits to be told.

    Attributes:
        on_applied: called with each applied entry, in order.
        on_passed: called with the index up to which everything was applied, after that: Raft's own
            entries count here, of which nobody else is told.
        refused: how many requests got no reply, by reason.
    """

    def __init__(self) -> None:
        self.on_applied: list[Callable[[Applied], None]] = []
        self.on_passed: list[Callable[[int], None]] = []
        self.refused: Counter[Reject] = Counter()
        self._replies: list[tuple[Waiter, Reply, Applied]] = []
        self._refusals: list[Refusal] = []
        self._news: list[Applied] = []
        self._passed_index = 0  # not told yet, if it is not 0

    def applied(self, applied: Applied) -> None:
        """An entry was applied."""
        self._news.append(applied)

    def passed(self, index: int) -> None:
        """An entry was applied, or was Raft's own."""
        self._passed_index = index

    def reply(self, waiters: Iterable[Waiter], reply: Reply, applied: Applied) -> None:
        """A request took effect."""
        for waiter in waiters:
            self._replies.append((waiter, reply, applied))

    def refuse(self, refusals: Iterable[Refusal]) -> None:
        """Requests that get no reply."""
        self._refusals += refusals

    def has_refusals(self) -> bool:
        """Whether somebody waits for bad news, which needs no sync."""
        return bool(self._refusals)

    def withhold(self) -> None:
        """What this turn did is not safe to say: nobody knows whether it took effect (P5)."""
        unsaid, self._replies = self._replies, []
        self._news.clear()
        message = "the node stopped before its answer was safe"
        for waiter, reply, _ in unsaid:
            key = (reply[0], reply[1])
            self._refusals.append(Refusal([waiter], key, Reject.OUTCOME_UNKNOWN, message))

    def tell(self) -> None:
        """Let everything leave: the journal is synced, or this node is fenced."""
        if not (self._replies or self._news or self._refusals or self._passed_index):
            return
        replies, self._replies = self._replies, []
        for waiter, reply, applied in replies:
            try:  # not by `safely`: they are many
                waiter.replied(reply, applied)
            except Exception:
                _log.exception("%r failed", waiter)
        news, self._news = self._news, []
        for applied in news:
            for listener in self.on_applied:
                safely(listener, applied)
        passed_index, self._passed_index = self._passed_index, 0
        if passed_index:
            for told in self.on_passed:
                safely(told, passed_index)
        refusals, self._refusals = self._refusals, []
        for refusal in refusals:
            self.refused[refusal.code] += 1
            for waiter in refusal.waiters:
                safely(waiter.refused, *refusal.key, refusal.code, refusal.message)


def safely(call: Callable[..., None], *arguments: object) -> None:
    """Call somebody whose troubles are not this node's."""
    try:
        call(*arguments)
    except Exception:
        _log.exception("%r failed", call)

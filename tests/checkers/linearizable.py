"""The linearizability checker: is there any order of effects that explains what clients saw?

Owns the search of Wing and Gong, with Lowe's memory of what was tried: it walks through all orders
that real time allows and asks the model (`book_model.py`) whether each answer is the one given. It
believes no index of ours, no log and no line of the engine. Since linearizability is local, each
instrument is judged by itself; a window is the whole life of one, so its first state is known: the
empty book.

A request with an unknown outcome may take effect at any time after it was sent, or never. One that
was not accepted may not. The search is bounded; what it did not finish is UNDECIDED, not fine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Final

from raftbook.core.commands import AMEND_ORDER, CANCEL_ORDER, NEW_ORDER
from raftbook.core.events import ACCEPTED
from tests.checkers.book_model import Instrument, State, act, matches, shows
from tests.checkers.history import ACKNOWLEDGED, NOT_ACCEPTED, History, Read, Request, merged

LEGAL: Final = "legal"
ILLEGAL: Final = "illegal"
UNDECIDED: Final = "undecided"

STEPS_MAX: Final = 200_000
"""States visited before the search gives up; a window of fifty requests needs a few hundred."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What the search says of one window.

    Attributes:
        steps: states it visited.
        text: for ILLEGAL: the longest legal beginning, and what could not follow.
    """

    verdict: str
    steps: int
    text: str = ""


@dataclass(frozen=True, slots=True)
class _Call:
    """A request or a read, and from when to when it may take effect."""

    row: Request | Read
    begin: float
    end: float
    must: bool


def check_window(
    instrument: Instrument, history: History, *, steps_max: int = STEPS_MAX
) -> Finding:
    """Search for an order of effects that explains a window.

    Args:
        history: everything ever asked of this instrument, and nothing else.
    """
    requests, problems = merged(history.requests)
    if problems:
        return Finding(ILLEGAL, 0, problems[0])
    calls = [
        _Call(
            row,
            row.invoked_ns,
            inf if row.outcome != ACKNOWLEDGED or row.completed_ns is None else row.completed_ns,
            row.outcome == ACKNOWLEDGED,
        )
        for row in requests
        if row.outcome != NOT_ACCEPTED
    ]
    calls += [_Call(read, read.invoked_ns, read.completed_ns, True) for read in history.reads]
    # What must end first is tried first: it is likely to have happened first.
    calls.sort(key=lambda call: (call.end, call.begin))
    return _Search(instrument, calls, steps_max).run()


class _Search:
    """Depth first, without recursion."""

    def __init__(self, instrument: Instrument, calls: list[_Call], steps_max: int) -> None:
        self._instrument, self._calls, self._steps_max = instrument, calls, steps_max
        self._seen: set[tuple[int, State]] = set()
        self._wanted = sum(1 << at for at, call in enumerate(calls) if call.must)

    def run(self) -> Finding:
        stack: list[tuple[int, State]] = [(0, State())]
        best, best_done = 0, -1
        while stack:
            point = stack.pop()
            if point in self._seen:
                continue
            self._seen.add(point)
            done, state = point
            if done & self._wanted == self._wanted:
                return Finding(LEGAL, len(self._seen))
            if len(self._seen) >= self._steps_max:
                return Finding(UNDECIDED, len(self._seen), "the search was cut short")
            count = done.bit_count()
            if count > best_done:
                best, best_done = done, count
            stack += reversed(self._next(done, state))
        return Finding(ILLEGAL, len(self._seen), self._why(best))

    def _next(self, done: int, state: State) -> list[tuple[int, State]]:
        """Where the search may go from here, the likeliest first."""
        left = [(at, call) for at, call in enumerate(self._calls) if not done >> at & 1]
        horizon = min(call.end for _, call in left)
        points: list[tuple[int, State]] = []
        for at, call in left:
            if call.begin > horizon:
                continue
            after = self._take(call, state)
            if after is None:
                continue
            if not call.must and after == state:
                continue  # to leave it out is the same
            point = (done | 1 << at, after)
            if after == state:
                # It fits here and changes nothing: whatever else fits from here fits after it, so
                # there is no need to look at other orders.
                return [point]
            points.append(point)
        return points

    def _take(self, call: _Call, state: State) -> State | None:
        """The state after a call took effect, None if it was told something else."""
        row = call.row
        if isinstance(row, Read):
            return shows(state, row.book)
        after, expected = act(self._instrument, state, row.account, row.commands)
        return matches(after, expected, row.events) if call.must else after

    def _why(self, done: int) -> str:
        left = [call for at, call in enumerate(self._calls) if not done >> at & 1]
        horizon = min((call.end for call in left), default=inf)
        stuck = [call.row for call in left if call.begin <= horizon and call.must]
        return f"{done.bit_count()} of {len(self._calls)} fit; then none of these: " + "; ".join(
            repr(row) for row in stuck[:3]
        )


def windows(history: History, is_window: Callable[[str], bool]) -> dict[str, History]:
    """Cut a history into one window per instrument for which `is_window(symbol)`.

    A request belongs to the instrument of its new orders, else to the one whose orders it names;
    one with new orders of a window and of another instrument cannot be cut and is refused with an
    assertion. What else may be asked of a venue belongs to no window.
    """
    cut: dict[str, History] = {}
    symbol_of: dict[tuple[str, str | int], str] = {}
    for row in history.requests:
        for command in row.commands:
            if command[0] == NEW_ORDER and command[7]:
                symbol_of.setdefault((row.account, command[7]), command[1])
        for event in row.events:
            if event[0] == ACCEPTED:
                symbol_of.setdefault((row.account, event[2][0]), event[2][3])
    for row in history.requests:
        symbols = {command[1] for command in row.commands if command[0] == NEW_ORDER}
        assert len(symbols) <= 1 or not any(map(is_window, symbols)), f"{row} is about {symbols}"
        named = (
            symbol_of.get((row.account, command[1] or command[2]))
            for command in row.commands
            if command[0] in (CANCEL_ORDER, AMEND_ORDER)
        )
        symbol = symbols.pop() if symbols else next(filter(None, named), None)
        if symbol is not None and is_window(symbol):
            cut.setdefault(symbol, History()).requests.append(row)
    for read in history.reads:
        if is_window(read.symbol):
            cut.setdefault(read.symbol, History()).reads.append(read)
    return cut

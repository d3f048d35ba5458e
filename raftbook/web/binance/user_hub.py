"""The streams of accounts: who listens to which, and how an entry reaches them.

Owns that what is told is noted as of its entry, while others of the same turn have not taken
effect, and leaves when it is safe to say it: after the turn's sync, at the pace of streams.
Accounts that nobody listens to cost a look at each event, and nothing where nobody listens to any.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from raftbook.core.events import (
    INSTRUMENT_AMENDED,
    INSTRUMENT_CREATED,
    INSTRUMENT_DELETED,
    Event,
)
from raftbook.core.instrument import InstrumentTerms
from raftbook.replica.answers import safely
from raftbook.replica.machine import Applied
from raftbook.replica.replica import Replica
from raftbook.web.binance.markets import Market, Markets
from raftbook.web.binance.pacing import Pacer, Work
from raftbook.web.binance.user_audience import accounts_of, symbol_of
from raftbook.web.binance.user_events import Place, Telling
from raftbook.web.websocket import RESTART

_LISTINGS: Final = frozenset((INSTRUMENT_CREATED, INSTRUMENT_AMENDED, INSTRUMENT_DELETED))
EVENTS_MAX: Final = 200_000
"""Events that wait to be told: as many as a node keeps of recent entries."""
FAILED: Final = "this node could not tell an event; begin anew"
_log = logging.getLogger("raftbook.web")


class UserListener(Protocol):
    """Whoever listens to an account."""

    def hear_event(self, event: str) -> None:
        """Take one event, as JSON."""

    def end(self, code: int, reason: str) -> None:
        """The stream cannot go on."""


class UserHub:
    """The streams of all accounts of one node. A `stream_watch.Ward`.

    Args:
        begin: called when somebody listens.
        pacer: does work step by step.
    """

    def __init__(
        self,
        replica: Replica,
        markets: Markets,
        begin: Callable[[], None],
        pacer: Callable[[Callable[[], bool]], Work] = Pacer,
    ) -> None:
        self._machine, self._markets, self._begin = replica.machine, markets, begin
        self._listeners: dict[str, dict[UserListener, None]] = {}
        self._named: dict[str, Market] = {}  # by our symbol, as of the event that is looked at
        self._noted: deque[_Told] = deque()
        """Not safe to say yet."""
        self._telling: deque[_Told] = deque()
        self._events = 0  # in both
        self._work = pacer(self._step)
        replica.machine.watchers.append(self._look)
        replica.on_applied.append(self._tell)

    def add(self, account: str, listener: UserListener) -> None:
        """Somebody listens to an account from here on."""
        if not self._listeners:
            self._learn_names()
        self._listeners.setdefault(account, {})[listener] = None
        self._begin()

    def remove(self, account: str, listener: UserListener) -> None:
        """Somebody listens no longer."""
        listeners = self._listeners.get(account)
        if listeners is not None:
            listeners.pop(listener, None)
            if not listeners:
                del self._listeners[account]

    def has_listeners(self) -> bool:
        return bool(self._listeners)

    def look(self) -> None: ...

    def end_all(self, reason: str) -> None:
        """Nothing can go on here; what was not safe to say is not said."""
        self._noted.clear()
        self._telling.clear()
        self._events = 0
        for account in list(self._listeners):
            self._end(account, reason)

    def _end(self, account: str, reason: str) -> None:
        for listener in self._listeners.pop(account, {}):
            safely(listener.end, RESTART, reason)

    def _look(self, applied: Applied) -> None:
        """An entry has just taken effect."""
        if not self._listeners:
            return
        try:
            for account, places in self._places(applied).items():
                self._noted.append(self._note(account, places, applied))
                self._events += len(places)
        except Exception:  # the exchange is not to blame, nor may it stop for it
            _log.exception("entry %d cannot be told to its accounts", applied.index)
            self.end_all(FAILED)
        if self._events > EVENTS_MAX:
            self.end_all("more happens than can be told; begin anew")

    def _note(self, name: str, places: list[Place], applied: Applied) -> _Told:
        exchange = self._machine.exchange
        telling = Telling(exchange.accounts[name], places, applied, exchange)
        listeners = tuple(self._listeners[name])
        return _Told(applied.index, name, listeners, telling.texts(), len(places))

    def _learn_names(self) -> None:
        self._named = {market.symbol: market for market, _ in self._markets.all()}

    def _listed(self, event: Event) -> None:
        """An instrument came, changed or went in the midst of an entry."""
        if event[0] == INSTRUMENT_DELETED:
            self._named.pop(event[2], None)
            return
        terms = InstrumentTerms(*event[2])
        market = Market(terms, self._machine.exchange.money.decimals)
        names = {each.name for each in self._named.values() if each.symbol != terms.symbol}
        if market.name not in names:
            self._named[terms.symbol] = market

    def _places(self, applied: Applied) -> dict[str, list[Place]]:
        """The events of an entry by the account that listens."""
        found: dict[str, list[Place]] = {}
        is_listing = False
        for _, _, _, offset, events, poss_dup in applied.replies:
            if poss_dup:
                continue
            for at, event in enumerate(events):
                if event[0] in _LISTINGS:
                    is_listing = True
                    self._listed(event)
                for account in accounts_of(events, at):
                    if account in self._listeners:
                        market = self._named.get(symbol_of(event))
                        found.setdefault(account, []).append((offset + at, event, market))
        if is_listing:
            self._learn_names()
        return found

    def _tell(self, applied: Applied) -> None:
        """It is safe to say what that entry did."""
        noted = self._noted
        while noted and noted[0].index <= applied.index:
            self._telling.append(noted.popleft())
        if self._telling:
            self._work.want()

    def _step(self) -> bool:
        """Tell one event; whether there are more."""
        if not self._telling:
            return False
        told = self._telling[0]
        try:
            text = next(told.texts, None)
        except Exception:
            _log.exception("entry %d cannot be told to %s", told.index, told.account)
            self._end(told.account, FAILED)
            text = None
        listening = self._listeners.get(told.account)
        if text is None or listening is None:
            self._telling.popleft()
            self._events -= told.count
            return bool(self._telling)
        for listener in told.listeners:
            if listener in listening:
                listener.hear_event(text)
        return True


@dataclass(frozen=True, slots=True)
class _Told:
    """What is told of one entry to one account.

    Attributes:
        listeners: who listened when it took effect.
        count: how many events it is made of.
    """

    index: int
    account: str
    listeners: tuple[UserListener, ...]
    texts: Iterator[str]
    count: int

"""One client of a whole venue on a real cluster: draws its requests, learns from its own replies.

Owns what a client knows, which is less than what the generator of `venue_flow.py` knows: its own
orders as its own replies tell them, and its clock. The simulator, the chaos runs and the tests on
real processes feed their clusters with it.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final

from raftbook.core import commands as c
from raftbook.core import events as e
from raftbook.core.commands import Command
from raftbook.core.events import Event
from raftbook.core.form import form_error
from raftbook.core.types import Phase
from tests.core.flow import Choose
from tests.core.venue_flow import Flow
from tests.core.venue_market import MS
from tests.core.venue_profiles import EVERYTHING, Profile

OPERATOR: Final = "op"
NAME_FIELDS: Final = {
    c.NEW_ORDER: (7,),
    c.PLACE_ORDER: (7,),
    c.CANCEL_REPLACE: (10,),
    c.PLACE_OCO: (8, 16),
    c.PLACE_OUO: (8, 16),
    c.PLACE_OTO: (7, 24),
    c.PLACE_OTOCO: (7, 25, 33),
}
"""Where a command has the client_order_ids of the orders it enters."""

_ABOUT_SESSIONS: Final = (c.OPEN_SESSION, c.CLOSE_SESSION)
"""These belong to the client library: nobody says them in a request."""
_OPEN_KEPT: Final = 16
"""Own orders that are remembered as open: what others traded away meanwhile is not told here."""


def names_in(command: Any) -> tuple[str, ...]:
    """The client_order_ids that a command enters; none where it has no such form."""
    if not command or len(command) <= max(NAME_FIELDS.get(command[0], (0,))):
        return ()
    return tuple(command[place] for place in NAME_FIELDS.get(command[0], ()) if command[place])


class VenueTrader(Flow):
    """Draws one client's commands of every kind.

    Attributes:
        fresh: how many names it has given.

    Args:
        prefix: begins its client_order_ids; unique among all clients of an account.
        clock_ns: wall clock, for what is to end at some time.
        unit_ns: what a short while is here; in the tests of the core it is a millisecond.
        trades: highest trade id by symbol, as far as all clients that share it were told.
        is_guest: others trade in the same cluster, so nothing is said that concerns all accounts.
    """

    def __init__(
        self,
        account: str,
        prefix: str,
        choose: Choose,
        *,
        clock_ns: Callable[[], int],
        unit_ns: int,
        trades: dict[str, int],
        profile: Profile = EVERYTHING,
        is_guest: bool = False,
    ) -> None:
        super().__init__(profile)
        self._is_guest = is_guest
        self.speaker, self._prefix, self._choose = account, prefix, choose
        self._clock_ns, self._unit_ns = clock_ns, unit_ns
        self.now_ns = 0
        self.trades = trades
        self.fresh = 0

    def commands(self, count: int) -> tuple[Command, ...]:
        """The commands of one request; whatever attaches the session comes first, once."""
        self.now_ns = max(self.now_ns, self._clock_ns())
        drawn = [self._command() for _ in range(count)]
        if self.speaker == OPERATOR and self._choose((True, True, False)):
            drawn.append(self._mended())
        attaching = [command for command in drawn if command[0] == c.ATTACH_SESSION]
        others = [command for command in drawn if command[0] != c.ATTACH_SESSION]
        return tuple(attaching[:1] + others)

    def hear(self, events: Iterable[Event], time_ns: int) -> None:
        """Take in the reply to a request, and the logical time it tells (0 if none)."""
        self.now_ns = max(self.now_ns, time_ns)
        for event in events:
            if event[0] in (e.TRADE, e.AUCTION_TRADE):
                symbol = event[5][3]
                self.trades[symbol] = max(self.trades.get(symbol, 0), event[2])
                for terms, leaves_qty in ((event[5], event[7]), (event[9], event[11])):
                    if leaves_qty == 0 and terms[1] == self.speaker:
                        self._end(terms)
            elif event[0] in (e.ACCEPTED, e.REPLACED, e.CANCELED, e.EXPIRED):
                self.learn_order(event)
        mine = self.open.get(self.speaker, {})
        for order_id in list(mine)[:-_OPEN_KEPT]:
            del mine[order_id]

    def expire(self, choose: Choose) -> int:
        unit = self._unit_ns
        steps = (2 * unit, unit, 10 * unit, 10 * unit, 100 * unit, 1, -1)
        return self.now_ns + int(choose(steps))

    def trader_command(self, choose: Choose, kind: str) -> Any:
        if kind != "attach":
            return super().trader_command(choose, kind)
        lease_ms = choose((0, 1, 2, 5)) * self._unit_ns // MS
        cancels = choose((True, True, False))
        return c.attach_session(cancel_on_disconnect=cancels, lease_ms=lease_ms)

    def _end(self, terms: tuple[Any, ...]) -> None:
        self.open.setdefault(terms[1], {}).pop(terms[0], None)
        self.ended[terms[1]] = [*self.ended.get(terms[1], ()), terms[0]][-4:]

    def _command(self) -> Command:
        is_operating = self.speaker == OPERATOR and self._choose((True, False, False))
        command = self.command(self._choose, is_operating)
        if form_error(command) is not None or command[0] in _ABOUT_SESSIONS:
            command = self.new_order(self._choose)  # what a gateway would not let into the log
        return self._named(self._modest(command) if self._is_guest else command)

    def _modest(self, command: Command) -> Command:
        """The same about one account or one of the venue's instruments, where it is about all."""
        if command[0] == c.SET_KILL_SWITCH and not command[1]:
            return (command[0], "a", command[2])
        if command[0] == c.MASS_CANCEL and command[1] == "*" and not command[3]:
            return (*command[:3], "A", *command[4:])
        return command

    def _mended(self) -> Command:
        """Something that lets trading go on: else a venue so troubled soon stands still."""
        choose = self._choose
        name = choose(("a", "b", "d", "f"))
        if choose((True, False)):
            return c.set_phase(choose(("A", "B", "Q", "F", "K")), Phase.CONTINUOUS)
        if choose((True, False)):
            return c.set_kill_switch(account=choose(("", name)), on=False)
        limits = dict.fromkeys(("open_orders_max", "order_qty_max", "order_notional_max"), 0)
        return c.set_account(name, enabled=True, orders_per_s=0, orders_burst=0, **limits)

    def _named(self, command: Command) -> Command:
        """The same with a name of our own wherever a new order has none."""
        fields = list(command)
        for place in NAME_FIELDS.get(command[0], ()):
            if not fields[place]:
                self.fresh += 1
                fields[place] = f"{self._prefix}-{self.fresh}"
        return tuple(fields)

    def is_fresh(self, name: str) -> bool:
        """Whether a name is one that only this client gives, and only once."""
        return name.startswith(f"{self._prefix}-")

"""Everything that can be said to a complete venue: what tests feed engine version 2.

As `flow.py`, whose generator speaks engine version 1: it only ever asks `choose(options)` and puts
the simplest option first. Time goes in milliseconds here, since leases and calls count them.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from raftbook.core import commands as c
from raftbook.core import events as e
from raftbook.core.commands import Command, Entry, Request
from raftbook.core.events import Reply
from raftbook.core.exchange import Exchange
from raftbook.core.form import form_error
from raftbook.core.instrument import InstrumentTerms
from raftbook.core.types import Phase, Reject
from raftbook.core.versions import ENGINE_VERSION
from tests.core.flow import Choose, seeded
from tests.core.venue_market import (
    BANDED,
    CREDIT,
    FENCED,
    FREE,
    FUNDED,
    GENESIS,
    GROUPS,
    LATER,
    MINUTE_NS,
    MS,
    OPENING,
    START_NS,
    switch_to,
)
from tests.core.venue_orders import OrderTalk
from tests.core.venue_profiles import EVERYTHING, Profile

BIG = 2**63 - 1
ODD = ("attach", "session", "key", "copy", "kill")
"""Sorts of commands that are now and then sent with an odd field."""


class Flow(OrderTalk):
    """Makes requests that mostly fit what has happened: live sessions, young orders, real trades.

    Attributes:
        sessions: account by session id, as far as the replies told.
        epochs: epoch by session id.
        time_ns: the leader's clock.
    """

    def __init__(self, profile: Profile) -> None:
        super().__init__(profile)
        self.sessions: dict[int, str] = {}
        self.epochs: dict[int, int] = {}
        self.time_ns = START_NS
        self._highest: dict[int, int] = {1: 1}

    # ------------------------------------------------------------------------------------ entries

    def advance(self, choose: Choose) -> int:
        """The leader's clock at the next entry, ns; sometimes it goes back."""
        steps = (*(1,) * 20, *(MS,) * 8, 2 * MS, 2 * MS, 0, 0, -3, 5 * MS, 30 * MS, 10**9, 10**12)
        self.time_ns += choose(steps)
        self.now_ns = max(self.now_ns, min(self.time_ns, self.now_ns + MINUTE_NS))
        return self.time_ns

    def request(self, choose: Choose) -> Request:
        if choose((False,) * 30 + (True,)):
            return (c.NO_SESSION, 0, (self._notice(choose),))
        account = self.speaker = choose(self.profile.accounts)
        mine = [session_id for session_id, owner in self.sessions.items() if owner == account]
        if not mine or choose((False,) * 40 + (True,)):
            name = choose((account,) * 5 + ("nobody",))
            opening = c.open_session(name, choose(("k", "l", "m", "n", "")))
            return (c.NO_SESSION, choose((0, 1)), (opening,))
        session_id = choose((*mine * 40, 99, 0))
        count = choose((1, 1, 2, 3))
        commands = tuple(self.command(choose, account == "op") for _ in range(count))
        highest = self._highest.get(session_id, 0)
        request_seq = highest + choose((1,) * 60 + (2, 0, 0, -1, -2, -3, -4, -5, 6))
        self._highest[session_id] = max(highest, request_seq)
        return (session_id, request_seq, commands)

    def learn(self, replies: Sequence[Reply]) -> None:
        for session_id, _, _, _, events, _ in replies:
            for event in events:
                self.learn_order(event)
                if event[0] == e.SESSION_OPENED:
                    self.sessions[event[2]] = event[3]
                elif event[0] == e.SESSION_ATTACHED:
                    self.epochs[event[2]] = event[3]
                elif event[0] == e.SESSION_CLOSED or Reject.UNKNOWN_SESSION in event[2:3]:
                    self.sessions.pop(session_id, None)

    def _notice(self, choose: Choose) -> Command:
        session_id = choose((*self.epochs, 2, 99))
        epoch = self.epochs.get(session_id, 0) - choose((0, 0, 0, 1))
        say = choose((c.session_lost, c.session_lost, c.renew_lease))
        notice = say(session_id, epoch)
        return choose((notice,) * 8 + (notice[:2], (*notice[:2], None)))

    # ----------------------------------------------------------------------------------- commands

    def command(self, choose: Choose, is_operator: bool) -> Any:
        if is_operator and choose((True, True, True, False)):
            command = self.venue_command(choose, choose(self.profile.venue))
            return self.odd(choose, command) if choose((False,) * 9 + (True,)) else command
        kind = choose(self.profile.kinds)
        if kind == "odd":
            sort = choose(
                (
                    *("new", "amend", "oco", "oto", "cancel_replace", "mass", "venue", "peg") * 2,
                    *ODD,
                )
            )
            if sort == "venue":
                return self.odd(choose, self.venue_command(choose, choose(EVERYTHING.venue)))
            return self.odd(choose, self.trader_command(choose, sort))
        return self.trader_command(choose, kind)

    def trader_command(self, choose: Choose, kind: str) -> Any:
        if kind == "new":
            return self.new_order(choose)
        if kind == "cancel":
            return c.cancel_order(**self.name(choose))
        if kind == "amend":
            return self.amend(choose)
        if kind == "peg":
            return self.peg(choose)
        if kind == "oco":
            return self.oco(choose)
        if kind == "oto":
            return self.oto(choose)
        if kind == "cancel_replace":
            or_place = choose((False, True))
            return c.cancel_replace(self.new_order(choose), **self.name(choose), or_place=or_place)
        if kind == "mass":
            return self.mass_cancel(choose)
        if kind == "attach":
            lease_ms = choose((0, 1, 2, 5, -1))
            return c.attach_session(
                cancel_on_disconnect=choose((True, True, False)), lease_ms=lease_ms
            )
        if kind == "session":
            return choose((c.open_session("a", "k"), c.close_session()))
        if kind == "key":
            key = choose(("k1", "k2", "k3", ""))
            return c.set_api_key(choose(("a", "b", "d", "zz")), key, choose(("s", "")))
        if kind == "copy":
            return c.set_drop_copy(choose(("a", "b", "op", "zz")), on=choose((True, True, False)))
        if kind == "kill":
            own = choose(("a", "b", "d", "f", "", "zz"))
            return c.set_kill_switch(account=own, on=choose((True, False)))
        return choose(((), (1, "A"), (2,), (4, "A", 1), (3, 1, "", 1.5, 1), (99, 1), ("x",)))

    # -------------------------------------------------------------------------------------- venue

    def venue_command(self, choose: Choose, kind: str) -> Any:
        symbol = choose((*self.profile.symbols, "C"))
        if kind == "phase":
            phases = (3,) * 9 + (Phase.AUCTION, Phase.AUCTION, Phase.PRE_OPEN, 4, 5, 0)
            ends = (Phase.CLOSED,) * 3 if symbol == "C" else ()
            return (c.SET_PHASE, symbol, int(choose((*phases, *ends))))
        if kind == "call":
            then = choose((Phase.CONTINUOUS,) * 6 + (4, 6 if symbol == "C" else 3))
            return (c.CALL_AUCTION, symbol, self.expire(choose), int(then))
        if kind == "money":
            say = choose((c.deposit, c.deposit, c.withdraw))
            amounts = (20, 5, 100, 1, 7, 0, -1, 10**6, BIG)
            account, currency = choose(("a", "b", "d", "zz")), choose(("eur", "oil", "usd", "zz"))
            return say(account, currency, choose(amounts), choose(("t", "u", "v", "w")))
        if kind == "account":
            return self._account(choose)
        if kind == "bust":
            symbol = choose((*self.trades, "Z"))
            return c.bust_trade(symbol, self.trades.get(symbol, 0) - choose((0, 1, 2, 3, 5)))
        if kind == "instrument":
            return self._instrument(choose)
        if kind == "kill":
            return c.set_kill_switch(
                account=choose(("a", "b", "d", "f", "")), on=choose((False, False, True))
            )
        return c.roll_day()

    def _account(self, choose: Choose) -> Command:
        if choose((False, False, False, True)):
            if choose((True, False)):
                return c.create_currency(choose(("x", "y", "eur", "")), choose((0, 2, 19, -1)))
            return c.create_account(choose(("g", "h", "i", "a", "*")), group=choose(("", "g")))
        name = choose(("a", "b", "d", "f", "zz"))
        if choose((True, False, False)):
            return c.set_account(
                name, enabled=choose((True, True, False)), group=choose((None, "g", "", "h"))
            )
        return c.set_account(
            name,
            open_orders_max=choose((None, 0, 0, 3)),
            order_qty_max=choose((None, 0, 0, 4)),
            order_notional_max=choose((None, 0, 0, 9)),
            orders_per_s=choose((None, 0, 0, 1, 2, 500)),
            orders_burst=choose((None, 0, 1, 2, 3)),
        )

    def _instrument(self, choose: Choose) -> Command:
        terms = choose(
            (
                LATER,
                LATER._replace(settlement=choose((0, 1)), price_min=choose((0, 1))),
                LATER._replace(symbol=choose(("D", "E"))),
                LATER._replace(qty_max=choose((0, 3, 5))),
                LATER._replace(lot_size=choose(("2", "0.5", "1.0"))),
                LATER._replace(base=choose(("oil", "zz"))),
                LATER._replace(settlement=0, price_min=-3, volatility_band=2, volatility_call_ms=1),
            )
        )
        sorts = ("list", "list", "amend", "amend", "other", "close", "clear", "delete", "delete")
        sort = choose((*sorts, "create"))
        if sort == "list":
            return (c.LIST_INSTRUMENT, *terms, choose((3, 3, 3, 1, 2, 4, 0)))
        if sort == "amend":
            return c.amend_instrument(terms)
        if sort == "other":
            return c.amend_instrument(self._other_terms(choose))
        if sort == "clear":
            return c.mass_cancel(account="*", symbol=choose(("C", "D", "E")))
        if sort == "close":
            return c.set_phase(choose(("C", "D", "E")), Phase.CLOSED)
        if sort == "delete":
            return c.delete_instrument(choose(("C", "C", "D", "E", "A", "Z")))
        return c.create_instrument(terms)

    def _other_terms(self, choose: Choose) -> InstrumentTerms:
        """New terms of an instrument that was there from the beginning."""
        terms = choose((FREE, FENCED, BANDED, CREDIT, FREE, FUNDED))
        return terms._replace(
            tick_size=choose((terms.tick_size,) * 3 + ("2",)),
            price_max=choose((terms.price_max,) * 3 + (terms.price_max - 2,)),
            qty_max=choose((terms.qty_max, 4)),
            band_high=choose((terms.band_high, None, 3)),
            collar=choose((terms.collar, None, 1)),
            reference_price=choose((terms.reference_price, 1, None)),
            notional_min=choose((terms.notional_min, 0)),
            maker_fee=choose((terms.maker_fee, 500)),
        )

    def odd(self, choose: Choose, command: Any) -> Any:
        """A command with one field drawn from around the edge of what is admitted."""
        if len(command) < 2:
            return (*command, 0)
        place = choose(range(1, len(command)))
        if isinstance(command[place], str):
            value = choose(("", "A", "B", "Z", "a", "op", "*", "x", "eur", "0", "a b", None))
        else:
            value = choose((0, 1, 2, 3, 4, 5, 6, 7, -1, 9, 99, None, 10_000, BIG, -BIG, BIG + 1))
        odd = (*command[:place], value, *command[place + 1 :])
        is_plain = command[0] in (c.NEW_ORDER, c.CANCEL_ORDER, c.AMEND_ORDER)
        if is_plain and form_error(odd) is not None:
            return command  # test_totality.py has these: they are judged by more than their form
        return odd


AT_ONCE: Final[Mapping[int, int]] = {0: ENGINE_VERSION}


def entries_of(
    choose: Choose,
    flow: Flow,
    count: int,
    exchange: Any,
    *,
    upgrades: Mapping[int, int] = AT_ONCE,
) -> list[Entry]:
    """`count` entries besides the first ones; `exchange` is told each, and answers.

    Args:
        upgrades: how many of them come before an engine version is put in force.
    """
    entries: list[Entry] = []

    def tell(time_ns: int, *requests: Request) -> None:
        gap = len(entries) % 7 == 6  # Raft's own entries
        index = entries[-1].index + 1 + gap if entries else 1
        entries.append(Entry(index, time_ns, requests))
        flow.learn(exchange.apply(entries[-1]))

    tell(START_NS, *OPENING)
    for step in range(count):
        if step in upgrades:
            tell(flow.time_ns, switch_to(upgrades[step]))
            tell(flow.time_ns, GROUPS)
        time_ns = flow.advance(choose)
        tell(time_ns, *(flow.request(choose) for _ in range(choose((1, 2, 3, 4)))))
    return entries


def random_entries(seed: int, count: int, profile: Profile = EVERYTHING) -> list[Entry]:
    """A seeded run of `count` entries after the first ones, the same on every platform."""
    return entries_of(seeded(seed), Flow(profile), count, Exchange(GENESIS))

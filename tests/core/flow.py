"""Small markets and the orders that collide in them: what the tests of the core feed the exchange.

Few prices and small quantities, because collisions are where the bugs are. One generator serves
both hypothesis and a seeded `random.Random`: it only ever asks `choose(options)`, and puts the
simplest option first so that hypothesis shrinks towards it.
"""

import os
import random
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from raftbook.core import commands as c
from raftbook.core import events as e
from raftbook.core.commands import Command, Entry, Request
from raftbook.core.events import Reply
from raftbook.core.exchange import Exchange, Genesis
from raftbook.core.instrument import InstrumentTerms
from raftbook.core.limits import Limits
from raftbook.core.types import (
    OrderType,
    Phase,
    Reject,
    SelfTradePrevention,
    Side,
    TimeInForce,
)

Choose = Callable[[Sequence[Any]], Any]

EFFORT = {"quick": 1, "long": 30}[os.environ.get("HYPOTHESIS_PROFILE", "quick")]
"""Multiplies the examples of every property here: HYPOTHESIS_PROFILE=long for a night of it."""

PLAIN = InstrumentTerms("A", "oil", "eur", "0.01", "1", 6, -4, 4)
FENCED = InstrumentTerms("B", "gas", "eur", "0.5", "10", 5, -4, 4, -2, 2, 6, 1, 0)
THIRD = InstrumentTerms("C", "sun", "eur", "1", "1", 4, -3, 3, None, 2, None, 0, None)

LIMITS = Limits(
    sessions_max=7,
    sessions_per_account_max=3,
    session_idle_ns=1_000,
    reply_window=4,
    closed_orders_max=3,
    open_orders_max=6,
    book_orders_max=8,
    instruments_max=3,
    trades_kept=3,
    session_recent_ns=300,
)
GENESIS = Genesis((PLAIN, FENCED), (("op", True), ("a", False), ("b", False)), LIMITS)

OPENING: tuple[Request, ...] = tuple(
    (c.NO_SESSION, 0, (c.open_session(account, key),))
    for account, key in (("op", "k"), ("a", "k"), ("a", "l"), ("b", "k"), ("b", "l"))
)
"""Sessions 1 (op), 2 and 3 (a), 4 and 5 (b)."""


class Profile(NamedTuple):
    """How often each sort of command comes: lists to choose from, the commonest more than once."""

    kinds: tuple[str, ...]
    modes: tuple[int, ...] = (0, 0, 0, 1, 2, 3, 4)
    accounts: tuple[str, ...] = ("a", "b", "a", "b", "a", "b", "op")


MIXED = Profile(("new",) * 24 + ("cancel",) * 6 + ("amend",) * 9 + ("admin", "session", "junk"))
AMENDING = Profile(("new",) * 6 + ("amend",) * 7 + ("cancel",))
SELF_TRADING = Profile(
    ("new",) * 9 + ("amend",) * 2, modes=(1, 2, 3, 4, 4), accounts=("a", "a", "a", "b")
)
PROFILES = {"mixed": MIXED, "amending": AMENDING, "self_trading": SELF_TRADING}


def new_order(choose: Choose, profile: Profile) -> Command:
    sort = choose(("gtc",) * 8 + ("ioc", "fok", "post", "market", "market_fok", "odd"))
    symbol = choose(("A", "A", "A", "B", "B", "B", "C"))
    order: dict[str, Any] = {
        "client_order_id": choose(("", "", "", "", "x", "y", "z", "w")),
        "self_trade_prevention": SelfTradePrevention(choose(profile.modes)),
    }
    price = choose((0, 1, -1, 2, -2, 0, 1, -1, 3))
    if sort in ("ioc", "fok"):
        order["time_in_force"] = {"ioc": TimeInForce.IOC, "fok": TimeInForce.FOK}[sort]
    elif sort == "post":
        order["post_only"] = True
    elif sort in ("market", "market_fok"):
        price = None
        order["ord_type"] = OrderType.MARKET
        order["time_in_force"] = TimeInForce.IOC if sort == "market" else TimeInForce.FOK
    elif sort == "odd":
        return _odd_order(choose)
    return c.new_order(symbol, choose((Side.BUY, Side.SELL)), choose((1, 2, 3, 4)), price, **order)


def _odd_order(choose: Choose) -> Command:
    """Every field drawn from around the edge of what is admitted."""
    return (
        c.NEW_ORDER,
        choose(("A", "B", "Z")),
        choose((1, 2, 0)),
        choose((2, 1, 3)),
        choose((1, 3, 4, 2)),
        choose((1, 6, 7, 0, -1)),
        choose((0, None, 4, 5, -5)),
        choose(("", "x")),
        choose((0, 1, 2)),
        choose((0, 4, 5, -1)),
    )


def _name(choose: Choose, newest: int) -> dict[str, Any]:
    """One order: a young one by our id, or one by the client's."""
    if choose((True, True, False)):
        return {"order_id": max(0, newest - choose(range(9)))}
    return {"client_order_id": choose(("x", "y", "z", ""))}


def _admin(choose: Choose) -> Command:
    if choose((True, True, False)):
        phase = choose((*(3,) * 8, Phase.HALTED, Phase.CANCEL_ONLY, 0))
        symbol = choose(("A", "B", "C", "Z"))
        phase = choose((phase, Phase.CLOSED)) if symbol == "C" else phase
        return (c.SET_PHASE, symbol, int(phase))
    terms = choose((THIRD, THIRD, PLAIN, THIRD._replace(symbol="D"), THIRD._replace(qty_max=0)))
    return c.create_instrument(terms)


def command(choose: Choose, profile: Profile, newest: int, is_operator: bool) -> Any:
    """One command; `newest` is the highest order id given so far."""
    kind = choose(profile.kinds)
    if kind == "admin" or (is_operator and choose((False, False, True))):
        return _admin(choose)
    if kind == "new":
        return new_order(choose, profile)
    if kind == "cancel":
        return c.cancel_order(**_name(choose, newest))
    if kind == "amend":
        return c.amend_order(
            **_name(choose, newest),
            order_qty=choose((None, 1, 2, 3, 4, 5, 6, 7, 0)),
            price=choose((None, None, 0, 1, -1, 2, -2, 3, 5)),
        )
    if kind == "session":
        return choose((c.open_session("a", "k"), c.close_session()))
    return choose(((), (1, "A"), (2,), (2, 0, "x", 1), (3, 1, "", 1.5, 1), (7, 1), ("x",)))


class Flow:
    """Makes requests that mostly fit what has happened: live sessions, young orders.

    Attributes:
        newest: highest order id given so far.
        sessions: account by session id, as far as the replies told.
    """

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.newest = 0
        self.sessions: dict[int, str] = {}
        self._highest: dict[int, int] = {}

    def request(self, choose: Choose) -> Request:
        account = choose(self.profile.accounts)
        mine = [session_id for session_id, owner in self.sessions.items() if owner == account]
        if not mine or choose((False,) * 40 + (True,)):
            name = choose((account,) * 5 + ("nobody",))
            opening = c.open_session(name, choose(("k", "l", "m", "n", "")))
            return (c.NO_SESSION, choose((0, 1)), (opening,))
        session_id = choose((*mine * 10, 99, 0))
        commands = tuple(
            command(choose, self.profile, self.newest, account == "op")
            for _ in range(choose((1, 2, 3)))
        )
        highest = self._highest.get(session_id, 0)
        request_seq = highest + choose((1,) * 16 + (2, 0, 0, -1, -2, -3, -4, -5, 6))
        self._highest[session_id] = max(highest, request_seq)
        return (session_id, request_seq, commands)

    def learn(self, replies: Sequence[Reply]) -> None:
        for session_id, _, _, _, events, _ in replies:
            for event in events:
                if event[0] == e.ACCEPTED:
                    self.newest = max(self.newest, event[2][0])
                elif event[0] == e.SESSION_OPENED:
                    self.sessions[event[2]] = event[3]
                elif event[0] == e.SESSION_CLOSED or Reject.UNKNOWN_SESSION in event[2:3]:
                    self.sessions.pop(session_id, None)


def advance(choose: Choose) -> int:
    """How far the leader's clock went since the last entry, ns; sometimes back."""
    return int(choose((1,) * 50 + (0, -3, 300, 300, 2_000, 10**12)))


def seeded(seed: int) -> Choose:
    """A choice that is the same on every platform."""
    chooser = random.Random(seed)

    def choose(options: Sequence[Any]) -> Any:
        return options[chooser.randrange(len(options))]

    return choose


def random_entries(seed: int, count: int, profile: Profile = MIXED) -> list[Entry]:
    """A seeded run of `count` entries after the opening, the same on every platform."""
    choose = seeded(seed)
    exchange = Exchange(GENESIS)  # only to learn from
    flow = Flow(profile)
    entries = [Entry(1, 10**18, OPENING)]
    flow.learn(exchange.apply(entries[0]))
    time_ns = 10**18
    for step in range(count):
        time_ns += advance(choose)
        requests = tuple(flow.request(choose) for _ in range(choose((1, 2, 3, 4))))
        entries.append(Entry(2 + step + step // 7, time_ns, requests))  # Raft's own entries: gaps
        flow.learn(exchange.apply(entries[-1]))
    return entries

"""Everything that can be said to a complete venue: what tests feed engine version 2.

As `flow.py`, whose generator speaks engine version 1: it only ever asks `choose(options)` and puts
the simplest option first. Time goes in milliseconds here, since leases and calls count them.
"""

from collections.abc import Sequence
from typing import Any

from raftbook.core import commands as c
from raftbook.core import events as e
from raftbook.core.commands import Command, Entry, Request
from raftbook.core.events import Event, Reply
from raftbook.core.exchange import Exchange
from raftbook.core.form import form_error
from raftbook.core.instrument import InstrumentTerms
from raftbook.core.types import OrderType, Phase, PostOnly, Reject, Side, TimeInForce, TrailUnit
from tests.core.flow import Choose, seeded
from tests.core.venue_market import (
    BANDED,
    CREDIT,
    FENCED,
    FREE,
    GENESIS,
    GROUPS,
    LATER,
    MINUTE_NS,
    MS,
    OPENING,
    PRICES,
    START_NS,
    SWITCH,
)
from tests.core.venue_profiles import EVERYTHING, STOPS, Profile

BIG = 2**63 - 1
PLAIN = ("gtc", "ioc", "fok", "post", "market", "market_fok")
"""Sorts of orders that NEW_ORDER can say too."""
ODD = ("attach", "session", "key", "copy", "kill")
"""Sorts of commands that are now and then sent with an odd field."""
_RESTING = (TimeInForce.GTC, TimeInForce.GTC, TimeInForce.DAY, TimeInForce.GTD)


class Flow:
    """Makes requests that mostly fit what has happened: live sessions, young orders, real trades.

    Attributes:
        newest: highest order id given so far.
        open: the terms of every account's open orders, by id.
        ended: ids of its orders that ended last.
        trades: highest trade id by symbol.
        sessions: account by session id, as far as the replies told.
        epochs: epoch by session id.
        now_ns: logical time of the entry that is being made.
    """

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.newest = 0
        self.open: dict[str, dict[int, tuple[Any, ...]]] = {}
        self.ended: dict[str, list[int]] = {}
        self.trades: dict[str, int] = {}
        self.sessions: dict[int, str] = {}
        self.epochs: dict[int, int] = {}
        self.time_ns = self.now_ns = START_NS
        self._highest: dict[int, int] = {1: 1}
        self._speaker = ""  # who speaks

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
        account = self._speaker = choose(self.profile.accounts)
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
                self._learn_order(event)
                if event[0] == e.SESSION_OPENED:
                    self.sessions[event[2]] = event[3]
                elif event[0] == e.SESSION_ATTACHED:
                    self.epochs[event[2]] = event[3]
                elif event[0] == e.SESSION_CLOSED or Reject.UNKNOWN_SESSION in event[2:3]:
                    self.sessions.pop(session_id, None)

    def _learn_order(self, event: Event) -> None:
        if event[0] == e.ACCEPTED:
            self.newest = max(self.newest, event[2][0])
            self.ended.setdefault(event[2][1], [0])
        if event[0] in (e.ACCEPTED, e.REPLACED):
            self.open.setdefault(event[2][1], {})[event[2][0]] = event[2]
        elif event[0] in (e.TRADE, e.AUCTION_TRADE):
            self.trades[event[5][3]] = event[2]
            for terms, leaves_qty in ((event[5], event[7]), (event[9], event[11])):
                if leaves_qty == 0:
                    self._end(terms)
        elif event[0] in (e.CANCELED, e.EXPIRED):
            self._end(event[2])

    def _end(self, terms: tuple[Any, ...]) -> None:
        self.open[terms[1]].pop(terms[0], None)
        self.ended[terms[1]] = [*self.ended[terms[1]], terms[0]][-4:]

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
            sort = choose((*("new", "amend", "oco", "cancel_replace", "mass", "venue") * 2, *ODD))
            if sort == "venue":
                return self.odd(choose, self.venue_command(choose, choose(EVERYTHING.venue)))
            return self.odd(choose, self.trader_command(choose, sort))
        return self.trader_command(choose, kind)

    def trader_command(self, choose: Choose, kind: str) -> Any:
        if kind == "new":
            return self.new_order(choose)
        if kind == "cancel":
            return c.cancel_order(**self._name(choose))
        if kind == "amend":
            return self.amend(choose)
        if kind == "oco":
            return self.oco(choose)
        if kind == "cancel_replace":
            or_place = choose((False, True))
            return c.cancel_replace(self.new_order(choose), **self._name(choose), or_place=or_place)
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

    def _expire(self, choose: Choose) -> int:
        return self.now_ns + int(choose((MS, 1, 2 * MS, 10 * MS, 10**9, 0, -1)))

    def _name(self, choose: Choose) -> dict[str, Any]:
        """One order: a young one by our id, or one by the client's."""
        mine = self.open.get(self._speaker)
        if mine and choose((True,) * 9 + (False,)):
            return {"order_id": choose(list(mine)[::-1])}
        if choose((True, False)):
            return {"client_order_id": choose(("x", "y", "z", "v", ""))}
        if choose((True, False)):
            return {"order_id": choose(self.ended.get(self._speaker, [0])[::-1])}
        return {"order_id": max(0, self.newest - choose(range(12)))}

    def _times(self, choose: Choose, order: dict[str, Any]) -> None:
        order["time_in_force"] = choose(_RESTING)
        if order["time_in_force"] == TimeInForce.GTD:
            order["expire_time_ns"] = self._expire(choose)

    def new_order(self, choose: Choose) -> Command:
        sort = choose(self.profile.sorts)
        symbol = choose(self.profile.symbols)
        qty = choose((1, 2, 3, 4, 5))
        price: int | None = choose(PRICES[symbol])
        order: dict[str, Any] = {
            "client_order_id": choose(("",) * 16 + ("x", "y", "z", "w", "v")),
            "self_trade_prevention": choose(self.profile.modes),
        }
        if sort in ("ioc", "fok", "gtd", "day", "at_auction"):
            order["time_in_force"] = {
                "ioc": TimeInForce.IOC,
                "fok": TimeInForce.FOK,
                "gtd": TimeInForce.GTD,
                "day": TimeInForce.DAY,
                "at_auction": TimeInForce.AT_AUCTION,
            }[sort]
            if sort == "gtd":
                order["expire_time_ns"] = self._expire(choose)
        elif sort in ("post", "reprice"):
            order["post_only"] = PostOnly.REJECT if sort == "post" else PostOnly.REPRICE
        elif sort in ("market", "market_fok", "market_auction", "quote"):
            price = None
            order["ord_type"] = OrderType.MARKET
            order["time_in_force"] = {
                "market_fok": TimeInForce.FOK,
                "market_auction": TimeInForce.AT_AUCTION,
            }.get(sort, TimeInForce.IOC)
            if sort == "quote":
                qty = 0
                order["quote_qty"] = choose((6, 3, 10, 1, 20, 2, 100))
        elif sort == "iceberg":
            qty = choose((3, 4, 5, 6, 2))
            order["display_qty"] = choose((1, 1, 2, 2, 3))
            self._times(choose, order)
        elif sort in ("min", "min_ioc"):
            order["min_qty"] = choose((1, 2, 3))
            self._times(choose, order)
            if sort == "min_ioc":
                order["time_in_force"] = TimeInForce.IOC
                order.pop("expire_time_ns", None)
            elif choose((False, False, True)):
                order["display_qty"] = 1
        elif sort in STOPS:
            price = self._stop(choose, sort, symbol, price, order)
        if sort in PLAIN and choose((False, True)):
            return c.new_order(symbol, choose((Side.BUY, Side.SELL)), qty, price, **order)
        return c.place_order(symbol, choose((Side.BUY, Side.SELL)), qty, price, **order)

    def _stop(
        self, choose: Choose, sort: str, symbol: str, price: int | None, order: dict[str, Any]
    ) -> int | None:
        """Give `order` what a stop has, and return its limit price."""
        order["ord_type"] = {
            "stop": OrderType.STOP,
            "trail": OrderType.STOP,
            "stop_limit": OrderType.STOP_LIMIT,
            "trail_limit": OrderType.STOP_LIMIT,
            "touch": OrderType.IF_TOUCHED,
            "touch_limit": OrderType.LIMIT_IF_TOUCHED,
        }[sort]
        self._times(choose, order)
        if sort in ("trail", "trail_limit"):
            self._trail(choose, order)
        else:
            order["stop_price"] = choose(PRICES[symbol])
        return price if sort.endswith("limit") else None

    def _trail(self, choose: Choose, order: dict[str, Any]) -> None:
        order["trail_unit"] = choose((TrailUnit.TICKS, TrailUnit.BASIS_POINTS))
        offsets = (1, 2, 1, 3) if order["trail_unit"] == 1 else (3_000, 1, 9_999, 5_000, 10_000)
        order["trail_offset"] = choose(offsets)

    def amend(self, choose: Choose) -> Command:
        name = self._name(choose)
        terms = self.open.get(self._speaker, {}).get(name.get("order_id", 0))
        values = {
            "order_qty": choose((1, 2, 3, 4, 5, 6, 7, 0)),
            "price": choose(PRICES[terms[3]] if terms else (0, 1, -1, 2, -2, 3, 4, 5)),
            "stop_price": choose((1, 2, 3, 4, 0, -1, 9)),
            "trail_offset": choose((1, 2, 3, 5_000, 0, 10_000)),
            "display_qty": choose((1, 2, 3, 0, -1)),
            "expire_time_ns": self._expire(choose),
        }
        if terms and choose((True, True, True, True, True, False)):
            fitting = self._amendable(terms)
        else:
            fitting = [*values]
        count = choose((1, 1, 1, 2, 2, 0))
        given = {field: values[field] for field in (choose(fitting) for _ in range(count))}
        if choose((False, True)) and set(given) <= {"order_qty", "price"}:
            return c.amend_order(**name, **given)
        return c.replace_order(**name, **given)

    def _amendable(self, terms: tuple[Any, ...]) -> list[str]:
        """What can be changed of such an order, mostly."""
        fields = ["order_qty"]
        if terms[6] is not None:
            fields += ["price", "price", "order_qty"]
        if len(terms) > 7:
            stop_price, trail_unit, _, display_qty, _, expire_time_ns, *_ = terms[7]
            fields += ["stop_price"] * 2 * (stop_price is not None)
            fields += ["trail_offset"] * 2 * (trail_unit > 0)
            fields += ["display_qty"] * 2 * (display_qty > 0)
            fields += ["expire_time_ns"] * (expire_time_ns > 0)
        return fields

    def oco(self, choose: Choose) -> Command:
        symbol = choose(self.profile.symbols)
        order: dict[str, Any] = {}
        self._times(choose, order)
        if choose((False, False, False, True)):
            self._trail(choose, order)
        stop_price = None if "trail_unit" in order else choose(PRICES[symbol])
        return c.place_oco(
            symbol,
            choose((Side.BUY, Side.SELL)),
            choose((1, 2, 3, 4)),
            price=choose(PRICES[symbol]),
            stop_price=stop_price,
            stop_limit_price=choose((None, choose(PRICES[symbol]))),
            client_order_id=choose(("",) * 6 + ("x", "y")),
            stop_client_order_id=choose(("",) * 6 + ("z", "v", "x")),
            post_only=choose((PostOnly.NO,) * 4 + (PostOnly.REJECT, PostOnly.REPRICE)),
            display_qty=choose((0, 0, 0, 1, 2)),
            self_trade_prevention=choose(self.profile.modes),
            **order,
        )

    def mass_cancel(self, choose: Choose) -> Command:
        symbol = choose(("", "A", "F", "K", "Q", "Z"))
        return c.mass_cancel(
            account=choose(("", "", "", "*", "a", "b", "zz")),
            session_id=choose((0, 0, 0, 2, 3, 4)),
            symbol=symbol,
            side=choose((None, None, Side.BUY, Side.SELL)),
            price_low=choose((None, None, None, 1, 0, 3)) if symbol else choose((None,) * 5 + (1,)),
            price_high=choose((None, None, None, 2, 4)) if symbol else None,
        )

    # -------------------------------------------------------------------------------------- venue

    def venue_command(self, choose: Choose, kind: str) -> Any:
        symbol = choose((*self.profile.symbols, "C"))
        if kind == "phase":
            phases = (3,) * 9 + (Phase.AUCTION, Phase.AUCTION, Phase.PRE_OPEN, 4, 5, 0)
            ends = (Phase.CLOSED,) * 3 if symbol == "C" else ()
            return c.set_phase(symbol, choose((*phases, *ends)))
        if kind == "call":
            then = choose((Phase.CONTINUOUS,) * 6 + (4, 6 if symbol == "C" else 3))
            return c.call_auction(symbol, until_ns=self._expire(choose), then=then)
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
            return c.list_instrument(terms, choose((3, 3, 3, 1, 2, 4, 0)))
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
        terms = choose((FREE, FENCED, BANDED, CREDIT, FREE))
        return terms._replace(
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


def entries_of(
    choose: Choose, flow: Flow, count: int, exchange: Any, upgraded_after: int = 0
) -> list[Entry]:
    """`count` entries besides the first ones; `exchange` is told each, and answers.

    Args:
        upgraded_after: how many of them come before engine version 2 is in force.
    """
    entries: list[Entry] = []

    def tell(time_ns: int, *requests: Request) -> None:
        gap = len(entries) % 7 == 6  # Raft's own entries
        index = entries[-1].index + 1 + gap if entries else 1
        entries.append(Entry(index, time_ns, requests))
        flow.learn(exchange.apply(entries[-1]))

    tell(START_NS, *OPENING)
    for step in range(count):
        if step == upgraded_after:
            tell(flow.time_ns, SWITCH)
            tell(flow.time_ns, GROUPS)
        time_ns = flow.advance(choose)
        tell(time_ns, *(flow.request(choose) for _ in range(choose((1, 2, 3, 4)))))
    return entries


def random_entries(seed: int, count: int, profile: Profile = EVERYTHING) -> list[Entry]:
    """A seeded run of `count` entries after the first ones, the same on every platform."""
    return entries_of(seeded(seed), Flow(profile), count, Exchange(GENESIS))

"""What traders say of their orders in a whole venue: new ones, pairs, amends, cancels of many.

The half of the generator that knows orders; `venue_flow.py` is the rest of it.
"""

from typing import Any

from raftbook.core import commands as c
from raftbook.core import events as e
from raftbook.core.commands import Command
from raftbook.core.events import Event
from raftbook.core.types import (
    OrderType,
    PegReference,
    PostOnly,
    SelfTradePrevention,
    Side,
    TimeInForce,
    TrailUnit,
    TriggerBy,
)
from tests.core.flow import Choose
from tests.core.venue_market import MS, PRICES, START_NS
from tests.core.venue_profiles import STOPS, Profile

PLAIN = ("gtc", "ioc", "fok", "post", "market", "market_fok")
"""Sorts of orders that NEW_ORDER can say too."""
_ANY_PRICE = (0, 1, -1, 2, -2, 3, 4, 5)
_TRIGGERS = (TriggerBy.LAST, TriggerBy.LAST, TriggerBy.BID, TriggerBy.ASK, TriggerBy.MID)
_RESTING = (TimeInForce.GTC, TimeInForce.GTC, TimeInForce.DAY, TimeInForce.GTD)


class OrderTalk:
    """Makes commands about orders that mostly fit those that are open.

    Attributes:
        newest: highest order id given so far.
        open: the terms of every account's open orders, by id.
        ended: ids of its orders that ended last.
        trades: highest trade id by symbol.
        now_ns: logical time of the entry that is being made.
        speaker: the account that speaks.
    """

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.newest = 0
        self.open: dict[str, dict[int, tuple[Any, ...]]] = {}
        self.ended: dict[str, list[int]] = {}
        self.trades: dict[str, int] = {}
        self.now_ns = START_NS
        self.speaker = ""

    def learn_order(self, event: Event) -> None:
        """Take in what is told of orders and trades."""
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

    def expire(self, choose: Choose) -> int:
        return self.now_ns + int(choose((MS, 1, 2 * MS, 10 * MS, 10**9, 0, -1)))

    def name(self, choose: Choose) -> dict[str, Any]:
        """One order: a young one by our id, or one by the client's."""
        mine = self.open.get(self.speaker)
        if mine and choose((True,) * 9 + (False,)):
            return {"order_id": choose(list(mine)[::-1])}
        if choose((True, False)):
            return {"client_order_id": choose(("x", "y", "z", "v", ""))}
        if choose((True, False)):
            return {"order_id": choose(self.ended.get(self.speaker, [0])[::-1])}
        return {"order_id": max(0, self.newest - choose(range(12)))}

    def _times(self, choose: Choose, order: dict[str, Any]) -> None:
        order["time_in_force"] = choose(_RESTING)
        if order["time_in_force"] == TimeInForce.GTD:
            order["expire_time_ns"] = self.expire(choose)

    def new_order(self, choose: Choose) -> Command:
        sort = choose(self.profile.sorts)
        symbol = choose(self.profile.symbols)
        qty = choose((1, 2, 3, 4, 5))
        price: int | None = choose(PRICES[symbol])
        order: dict[str, Any] = {
            "client_order_id": choose(("",) * 16 + ("x", "y", "z", "w", "v")),
            "self_trade_prevention": SelfTradePrevention(choose(self.profile.modes)),
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
                order["expire_time_ns"] = self.expire(choose)
        elif sort in ("post", "reprice"):
            order["post_only"] = PostOnly.REJECT if sort == "post" else PostOnly.REPRICE
        elif sort == "to_limit":
            price = None
            order["ord_type"] = OrderType.MARKET_TO_LIMIT
            self._times(choose, order)
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
        elif sort == "hidden":
            order["hidden"] = True
            self._times(choose, order)
            extra = choose(("", "", "", "post", "reprice", "min"))
            if extra == "min":
                order["min_qty"] = choose((1, 2))
            elif extra:
                order["post_only"] = PostOnly.REJECT if extra == "post" else PostOnly.REPRICE
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
            order = {name: True if name == "post_only" else it for name, it in order.items()}
            return c.new_order(symbol, choose((Side.BUY, Side.SELL)), qty, price, **order)
        return c.place_order(symbol, choose((Side.BUY, Side.SELL)), qty, price, **order)

    def peg(self, choose: Choose) -> Command:
        order: dict[str, Any] = {}
        self._times(choose, order)
        symbol = choose(self.profile.symbols)
        peg = c.place_peg(
            symbol,
            choose((Side.BUY, Side.SELL)),
            choose((1, 2, 3, 4)),
            choose((*PegReference, *PegReference, *PegReference)),
            offset=choose((0, 0, 1, -1, 2, -2, 0)),
            limit_price=choose((None, *PRICES[symbol])),
            client_order_id=choose(("",) * 6 + ("x", "y")),
            **order,
        )
        return choose((peg,) * 9 + ((*peg[:7], 0, *peg[8:]),))

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
        if "stop_price" in order or choose((False,) * 8 + (True,)):
            order["trigger_by"] = choose(_TRIGGERS)
        return price if sort.endswith("limit") else None

    def _trail(self, choose: Choose, order: dict[str, Any]) -> None:
        order["trail_unit"] = choose((TrailUnit.TICKS, TrailUnit.BASIS_POINTS))
        offsets = (1, 2, 1, 3) if order["trail_unit"] == 1 else (3_000, 1, 9_999, 5_000, 10_000)
        order["trail_offset"] = choose(offsets)

    def amend(self, choose: Choose) -> Command:
        name = self.name(choose)
        terms = self.open.get(self.speaker, {}).get(name.get("order_id", 0))
        values = {
            "order_qty": choose((1, 2, 3, 4, 5, 6, 7, 0)),
            "price": choose(PRICES.get(terms[3], _ANY_PRICE) if terms else _ANY_PRICE),
            "stop_price": choose((1, 2, 3, 4, 0, -1, 9)),
            "trail_offset": choose((1, 2, 3, 5_000, 0, 10_000)),
            "display_qty": choose((1, 2, 3, 0, -1)),
            "expire_time_ns": self.expire(choose),
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
        pair = c.place_oco(
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
            hidden=choose((False, False, False, False, True)),
            self_trade_prevention=SelfTradePrevention(choose(self.profile.modes)),
            trigger_by=TriggerBy.LAST if stop_price is None else choose(_TRIGGERS),
            **order,
        )
        return c.place_ouo(pair) if choose((False, False, True)) else pair

    def oto(self, choose: Choose) -> Command:
        working = self.new_order(choose)
        pending = self.oco(choose) if choose((False, False, True)) else self.new_order(choose)
        return c.place_oto(working, (pending[0], working[1], *pending[2:]))

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

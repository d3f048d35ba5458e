"""Requests that collide: few prices, small quantities, every kind of order, cancels and amends.

Owns the drawing of commands for one client and what that client knows of its own orders. Used by
the simulated markets here and by the clients of a chaos run. All commands of a request are about
one instrument, so that a history can be cut by instrument.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any, Final

from raftbook.core import commands as c
from raftbook.core import events as e
from raftbook.core.commands import Command
from raftbook.core.types import OrderType, SelfTradePrevention, Side, TimeInForce

PRICES: Final = (97, 98, 99, 99, 100, 100, 101, 101, 102, 103)
_SORTS: Final = ("gtc",) * 22 + ("ioc",) * 5 + ("fok",) * 2 + ("post",) * 3 + ("market",) * 2
_NAMES_KEPT: Final = 12


class Trader:
    """Draws the requests of one client.

    Args:
        prefix: begins every client_order_id; unique among all clients of an account.
    """

    def __init__(self, prefix: str, rng: random.Random) -> None:
        self._prefix, self._rng = prefix, rng
        self._count = 0
        self._names: dict[str, list[str | int]] = {}  # by symbol, our orders by either name

    def commands(self, symbol: str) -> tuple[Command, ...]:
        """The next request's."""
        count = self._rng.choice((1, 1, 1, 1, 2, 3))
        return tuple(self._command(symbol) for _ in range(count))

    def learn(self, symbol: str, events: Iterable[Any]) -> None:
        """Read a reply: orders may later be named by their id, too."""
        names = self._names.setdefault(symbol, [])
        for event in events:
            if event[0] == e.ACCEPTED and self._rng.random() < 0.5:
                names.append(event[2][0])
        del names[:-_NAMES_KEPT]

    def forget(self, symbol: str) -> None:
        """Nothing more will be asked of this instrument."""
        self._names.pop(symbol, None)

    def _command(self, symbol: str) -> Command:
        rng = self._rng
        names = self._names.setdefault(symbol, [])
        draw = rng.random()
        if names and draw < 0.13:
            return c.cancel_order(**self._name(names))
        if names and draw < 0.22:
            price = rng.choice((None, None, *PRICES))
            qty = rng.choice((None, 1, 2, 3, 4, 6))
            return c.amend_order(**self._name(names), order_qty=qty, price=price)
        self._count += 1
        name = f"{self._prefix}-{self._count}"
        if names and draw > 0.99:  # a name in use: refused
            name = next((known for known in names if type(known) is str), name)
        names.append(name)
        del names[:-_NAMES_KEPT]
        return self._new_order(symbol, name)

    def _name(self, names: list[str | int]) -> dict[str, Any]:
        name = self._rng.choice(names)
        return {"order_id" if type(name) is int else "client_order_id": name}

    def _new_order(self, symbol: str, name: str) -> Command:
        rng = self._rng
        sort = rng.choice(_SORTS)
        side = rng.choice((Side.BUY, Side.SELL))
        terms: dict[str, Any] = {"client_order_id": name}
        price: int | None = rng.choice(PRICES)
        if rng.random() < 0.2:
            terms["self_trade_prevention"] = rng.choice(list(SelfTradePrevention))
        if sort in ("ioc", "fok"):
            terms["time_in_force"] = TimeInForce[sort.upper()]
        elif sort == "post":
            terms["post_only"] = True
        elif sort == "market":
            price = None
            terms["ord_type"] = OrderType.MARKET
            terms["time_in_force"] = rng.choice((TimeInForce.IOC, TimeInForce.FOK))
        qty = 0 if rng.random() < 0.01 else rng.randrange(1, 7)  # 0 is refused
        return c.new_order(symbol, side, qty, price, **terms)

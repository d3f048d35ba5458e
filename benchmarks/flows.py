"""Streams of commands to measure with: a public benchmark's flow and a seeded mix of our own."""

from __future__ import annotations

import csv
import gzip
import os
import random
from pathlib import Path

from raftbook.core.commands import Command, amend_order, cancel_order, new_order
from raftbook.core.exchange import Genesis
from raftbook.core.instrument import InstrumentTerms
from raftbook.core.limits import Limits
from raftbook.core.types import OrderType, SelfTradePrevention, Side, TimeInForce

SYMBOL = "BTC-USD"
_DATA = os.environ.get("RAFTBOOK_TEST_DATA") or Path(__file__).parents[2] / "shared" / "data"
CONFORMANCE_FLOW = Path(_DATA) / "s23_normal_50k_messages.csv.gz"


def genesis() -> Genesis:
    """One instrument, one account, default limits."""
    terms = InstrumentTerms(SYMBOL, "BTC", "USD", "0.01", "0.001", 2**31 - 1, -(2**31), 2**31)
    return Genesis((terms,), (("bench", True),))


def funded_genesis() -> Genesis:
    """The same with money: every order holds funds, every trade settles and pays fees."""
    terms = (
        genesis()
        .instruments[0]
        ._replace(
            qty_max=2**20, price_min=0, price_max=2**20, settlement=2, maker_fee=10, taker_fee=20
        )
    )
    rich = tuple(("bench", currency, 2**61) for currency in ("BTC", "USD"))
    return Genesis((terms,), (("bench", True),), Limits(), (("BTC", 3), ("USD", 5)), rich)


def conformance_flow() -> list[Command] | None:
    """The first 50,000 messages of that benchmark; None where its file is absent."""
    if not CONFORMANCE_FLOW.exists():
        return None
    with gzip.open(CONFORMANCE_FLOW, "rt") as lines:
        return [_conformance_command(row) for row in csv.DictReader(lines)]


def _conformance_command(row: dict[str, str]) -> Command:
    if row["type"] == "C":
        return cancel_order(client_order_id=row["order_id"])
    if row["type"] == "M":
        return amend_order(
            client_order_id=row["order_id"], order_qty=int(row["qty"]), price=int(row["price"])
        )
    return new_order(
        SYMBOL,
        Side.BUY if row["side"] == "0" else Side.SELL,
        int(row["qty"]),
        int(row["price"]),
        client_order_id=row["order_id"],
        time_in_force=TimeInForce.IOC if row["ioc"] == "1" else TimeInForce.GTC,
    )


def mixed_flow(count: int, seed: int = 7) -> list[Command]:
    """New orders of every kind around a walking price, cancels and amends of earlier ones."""
    chance = random.Random(seed)
    middle = 10_000
    names: list[str] = []
    commands: list[Command] = []
    for number in range(count):
        draw = chance.random()
        if draw < 0.35 and names:
            commands.append(cancel_order(client_order_id=names.pop(chance.randrange(len(names)))))
        elif draw < 0.45 and names:
            name = chance.choice(names)
            commands.append(amend_order(client_order_id=name, order_qty=chance.randint(1, 20)))
        else:
            middle += chance.randint(-1, 1)
            name = f"o{number}"
            commands.append(_mixed_order(chance, middle, name))
            names.append(name)
            if len(names) > 5_000:
                names = names[-2_500:]
    return commands


def _mixed_order(chance: random.Random, middle: int, name: str) -> Command:
    side = chance.choice((Side.BUY, Side.SELL))
    away = chance.randint(-2, 40)
    price = middle - away if side == Side.BUY else middle + away
    qty = chance.randint(1, 20)
    draw = chance.random()
    if draw < 0.05:
        return new_order(
            SYMBOL,
            side,
            qty,
            None,
            client_order_id=name,
            ord_type=OrderType.MARKET,
            time_in_force=TimeInForce.IOC,
        )
    time_in_force = TimeInForce.GTC
    if draw < 0.15:
        time_in_force = TimeInForce.IOC if draw < 0.1 else TimeInForce.FOK
    return new_order(
        SYMBOL,
        side,
        qty,
        price,
        client_order_id=name,
        time_in_force=time_in_force,
        post_only=0.15 <= draw < 0.3,
        self_trade_prevention=SelfTradePrevention.NONE,
    )

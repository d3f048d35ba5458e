"""Five shapes of one book, from a standing one that hardly trades to a price that runs away.

Made after what a public benchmark of matching engines says of its workload (CONFORMANCE_FLOW in
`flows.py` is a piece of its second shape): buyers are priced along the first half of a random walk,
sellers along the second, and all arrive shuffled, so what trades depends on how far the walk goes.
15 % are IOC; of the others a fifth are modified, by one more and mostly a tick away, and 95 % are
cancelled soon; some cancels come twice. Owns the messages; must not know any book.
"""

from __future__ import annotations

import random
from math import exp
from typing import Final

from benchmarks.rivals.plain_book import BUY, CANCEL, MODIFY, NEW, SELL, Message

SWINGS: Final = {"static": 0.0, "normal": 0.02, "swing 25": 0.25, "swing 40": 0.4, "crash": 0.6}
"""How far the price typically goes on its way, of itself."""
MIDDLE: Final = 33_504
QTY_MAX: Final = 100
DEPTH_EXPONENT: Final = 2.23
HUMP_TICKS: Final = 8.0
"""Few orders are far from the price; more than elsewhere are about so far."""
LIFETIME: Final = 40.0
"""Orders that arrive meanwhile."""
IS_IOC, IS_MODIFIED, IS_REPRICED, IS_CANCELED, IS_REPEATED = 0.15, 0.2, 0.8, 0.95, 0.02


def messages_of(shape: str, count: int, seed: int = 5) -> list[Message]:
    """The first `count` messages of a shape; with this seed no two shapes trade alike."""
    chance = random.Random(f"{shape} {seed}")
    new = _orders(chance, _walk(chance, SWINGS[shape], count))
    timed: list[tuple[float, int, Message]] = []
    for at, order in enumerate(new):
        for time, message in _life(chance, float(at), order):
            timed.append((time, len(timed), message))
    timed.sort()
    return [message for _, _, message in timed[:count]]


def _walk(chance: random.Random, swing: float, steps: int) -> list[int]:
    """Where the price goes, in ticks; after all steps it is typically `swing` of itself away."""
    away, path = 0.0, []
    deviation = swing / steps**0.5
    for _ in range(steps):
        away += chance.gauss(-deviation * deviation / 2, deviation)
        path.append(round(MIDDLE * exp(away)))
    return path


def _orders(chance: random.Random, path: list[int]) -> list[Message]:
    """One new order for each step, in the order of arrival, each on its own side of its price."""
    sides = [BUY] * (len(path) // 2) + [SELL] * (len(path) - len(path) // 2)
    placed = [
        (side, _price(chance, side, middle)) for side, middle in zip(sides, path, strict=True)
    ]
    chance.shuffle(placed)
    return [
        Message(NEW, order_id, side, price, chance.randint(1, QTY_MAX), chance.random() < IS_IOC)
        for order_id, (side, price) in enumerate(placed, start=1)
    ]


def _price(chance: random.Random, side: int, middle: int) -> int:
    if chance.random() < 0.5:
        away = chance.paretovariate(DEPTH_EXPONENT - 1) - 1
    else:
        away = chance.gauss(HUMP_TICKS, HUMP_TICKS / 2)
    ticks = max(0, min(round(away), middle - 2))
    return middle - ticks if side == BUY else middle + ticks


def _life(chance: random.Random, time: float, order: Message) -> list[tuple[float, Message]]:
    """An order and what its sender says of it later, each with its time."""
    said = [(time, order)]
    if order.is_ioc:
        return said
    end = time + chance.expovariate(1 / LIFETIME)
    if chance.random() < IS_MODIFIED:
        repriced = chance.random() < IS_REPRICED
        price = order.price + (chance.choice((-1, 1)) if repriced else 0)
        change = order._replace(kind=MODIFY, price=price, qty=order.qty + 1)
        said.append((time + (end - time) * chance.random(), change))
    if chance.random() < IS_CANCELED:
        cancel = Message(CANCEL, order.order_id, 0, 0, 0, False)
        said.append((end, cancel))
        if chance.random() < IS_REPEATED:
            said.append((end + 1, cancel))
    return said

"""The work that everybody is given, and the closed loop that measures it.

A closed loop: so many callers, each sends, waits for the answer, sends again. Its latency is
therefore that of a system which is kept busy, and grows with the callers; compare it only where the
callers are as many.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any

from benchmarks.flows import SYMBOL

BATCH = 100
"""Orders that travel together where the product has a batch: as many as in our long requests."""

WARM_UP = 0.25
"""Seconds of warm-up for each second measured; at most one."""

_DIFFERENT = 5_000

Send = Callable[[int, int], Awaitable[object]]
"""Sends what the (caller, number) says and returns when it is answered for good."""


def orders(count: int, seed: int = 7) -> list[dict[str, Any]]:
    """Random limit orders at prices around one middle, as `benchmarks.cluster.commands` makes."""
    chance = random.Random(seed)
    return [
        {
            "symbol": SYMBOL,
            "side": chance.choice((1, 2)),
            "qty": chance.randint(1, 4),
            "price": 10_000 + chance.randint(-20, 20),
        }
        for _ in range(count)
    ]


def payloads(count: int = _DIFFERENT) -> list[bytes]:
    """The same orders as JSON; stores take them in turn, again and again."""
    return [json.dumps(order, separators=(",", ":")).encode() for order in orders(count)]


async def closed_loop(
    send: Send,
    *,
    callers: int,
    orders_per_call: int,
    seconds: float,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Any]:
    """Orders answered a second, and what a call took, after a warm-up that is not counted.

    Returns:
        `orders_per_s`, `latency_ms` of a call, and `client_cores`: how much of a core the load
        generator itself took, which shows whether it was what held things up.
    """
    began, cpu_began = clock(), time.process_time()
    start = began + min(1.0, seconds * WARM_UP)
    end = start + seconds
    taken: list[float] = []
    numbers = itertools.count()

    async def caller(position: int) -> None:
        while (sent := clock()) < end:
            await send(position, next(numbers))
            answered = clock()
            if start <= answered < end:
                taken.append(answered - sent)

    async with asyncio.TaskGroup() as group:
        for position in range(callers):
            group.create_task(caller(position))
    cpu = time.process_time() - cpu_began
    return {
        "orders_per_s": round(len(taken) * orders_per_call / seconds),
        "latency_ms": percentiles_ms(taken),
        "client_cores": round(cpu / (clock() - began), 2),
    }


def percentiles_ms(seconds: list[float]) -> dict[str, float | None]:
    """Median and 99th percentile in milliseconds; None when nothing was answered."""
    if not seconds:
        return {"p50": None, "p99": None}
    ordered = sorted(seconds)
    return {
        name: round(ordered[len(ordered) * rank // 100] * 1_000, 2)
        for name, rank in (("p50", 50), ("p99", 99))
    }

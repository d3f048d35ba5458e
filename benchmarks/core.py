"""The core alone: orders per second through `Exchange.apply`, and memory per resting order."""

from __future__ import annotations

import gc
import statistics
import time
import tracemalloc
from collections.abc import Sequence
from typing import Any

from benchmarks.flows import SYMBOL, conformance_flow, funded_genesis, genesis, mixed_flow
from raftbook.core.commands import Command, Entry, new_order, open_session
from raftbook.core.exchange import Exchange, Genesis
from raftbook.core.types import Side
from raftbook.core.versions import ENGINE_VERSION

ROUNDS = 7
RESTING = 100_000


def run() -> dict[str, Any]:
    """Orders/s of each flow, one order to an entry and a hundred, rounds interleaved."""
    flows = {"mixed flow, 50,000 commands": mixed_flow(50_000)}
    conformance = conformance_flow()
    if conformance is not None:
        flows = {"conformance flow, 50,000 messages": conformance, **flows}
    # The thresholds of a running node: orders die without cycles, collections find nothing.
    gc.set_threshold(50_000, 20, 50)
    cases = {
        f"{name}, {per} to an entry": entries_of(commands, per)
        for name, commands in flows.items()
        for per in (1, 100)
    }
    rates: dict[str, list[float]] = {name: [] for name in cases}
    funded = "mixed flow, balances and fees, 100 to an entry"
    rates[funded] = []
    for _ in range(ROUNDS):
        for name, entries in cases.items():
            rates[name].append(_rate(entries, genesis()))
        rates[funded].append(
            _rate(cases["mixed flow, 50,000 commands, 100 to an entry"], funded_genesis())
        )
    return {
        "orders_per_s": {
            name: {"median": round(statistics.median(found)), "best": round(max(found))}
            for name, found in rates.items()
        },
        "bytes_per_resting_order": memory_per_order(),
    }


def entries_of(commands: Sequence[Command], per_entry: int) -> list[Entry]:
    """The commands of one session, each a request, so many to an entry."""
    requests = [(1, seq + 1, (command,)) for seq, command in enumerate(commands)]
    return [
        Entry(2 + start, 10**18 + start, tuple(requests[start : start + per_entry]))
        for start in range(0, len(requests), per_entry)
    ]


def opened(born: Genesis) -> Exchange:
    """An exchange with every feature in force, and that session open."""
    exchange = Exchange(born)
    exchange.put_in_force(ENGINE_VERSION)
    exchange.apply(Entry(1, 10**18, ((0, 1, (open_session("bench", "bench"),)),)))
    return exchange


def _rate(entries: list[Entry], born: Genesis) -> float:
    exchange = opened(born)
    count = sum(len(entry.requests) for entry in entries)
    gc.collect()
    start = time.perf_counter()
    for entry in entries:
        exchange.apply(entry)
    return count / (time.perf_counter() - start)


def memory_per_order() -> int:
    """Bytes of Python memory a resting order with its own client_order_id costs, all indices
    included; the replies of the last `reply_window` requests are in it too.
    """
    exchange = opened(genesis())
    gc.collect()
    tracemalloc.start()
    for number in range(RESTING):
        command = new_order(
            SYMBOL, Side.BUY, 10, 10_000 - number % 5_000, client_order_id=f"client-{number}"
        )
        exchange.apply(Entry(2 + number, 10**18, ((1, number + 1, (command,)),)))
    del command
    gc.collect()
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return round(used / RESTING)

"""How the cost of an order grows: with what rests, with levels, instruments, clients, nodes, and
the length of an entry.

Each row is one plot of docs/BENCHMARKS.md: `python -m benchmarks.growth docs/plots` draws them.
The core's part is processor time; the cluster's is throughput of a closed loop.
"""

from __future__ import annotations

import gc
import json
import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.bounds import Desk
from benchmarks.core import entries_of, opened
from benchmarks.flows import SYMBOL, genesis
from raftbook.core import commands as c
from raftbook.core.commands import Command
from raftbook.core.exchange import Genesis
from raftbook.core.types import Side
from raftbook_cli.bench.command import measure
from raftbook_cli.bench.figures import Latencies
from raftbook_cli.bench.generator import Load, random_orders
from raftbook_cli.bench.venue import MIDDLE

PROBES = 20_000
ROUNDS = 3
SECONDS = 4.0
LOAD = Load(clients=3, per_request=100, in_flight=48, seconds=SECONDS)

Series = dict[int, float]


def run() -> dict[str, Any]:
    """Every series: its figure by what grows."""
    return {name: make() for name, (make, *_) in PLOTS.items()}


# -- the core ------------------------------------------------------------------------------------


def _by_resting() -> Series:
    """A new order, an amend and a cancel, beside so many resting ones on 1,000 levels."""
    return {count: _probe_us(_desk(count, 1_000)) for count in (10, 1_000, 30_000, 1_000_000)}


def _by_levels() -> Series:
    """The same beside 100,000 resting orders on so many levels."""
    return {levels: _probe_us(_desk(100_000, levels)) for levels in (1, 100, 10_000, 100_000)}


def _desk(resting: int, levels: int) -> Desk:
    desk = Desk()
    desk.say_all([c.new_order(SYMBOL, Side.BUY, 1, 1_000_000 - n % levels) for n in range(resting)])
    return desk


def _probe_us(desk: Desk) -> float:
    """Microseconds a command, the best of ROUNDS."""
    best = float("inf")
    chance = random.Random(7)
    for number in range(ROUNDS):
        probes: list[Command] = []
        for each in range(PROBES // 3):
            name = f"p{number}-{each}"
            price = 1_000_000 - chance.randrange(1_000)
            probes.append(c.new_order(SYMBOL, Side.BUY, 2, price, client_order_id=name))
            probes.append(c.amend_order(client_order_id=name, order_qty=1))
            probes.append(c.cancel_order(client_order_id=name))
        gc.collect()
        start = time.process_time()
        desk.say_all(probes)
        best = min(best, (time.process_time() - start) / len(probes))
    return round(best * 1e6, 2)


def _by_instruments() -> Series:
    """Orders that rest and trade, spread over so many instruments."""
    return {count: _spread_us(count) for count in (1, 10, 100, 1_000)}


def _spread_us(count: int) -> float:
    chance = random.Random(7)
    symbols = [f"S{number}" for number in range(count)]
    terms = genesis().instruments[0]
    born = genesis()._replace(instruments=tuple(terms._replace(symbol=each) for each in symbols))
    orders = [
        order
        for _ in range(PROBES)
        for order in random_orders(chance, chance.choice(symbols), MIDDLE, 1)
    ]
    return _best_us(partial(_work, born, orders, 100), PROBES)


def _by_entry() -> Series:
    """The same in one instrument, so many requests of one order to an entry."""
    orders = random_orders(random.Random(7), SYMBOL, MIDDLE, PROBES)
    sizes = (1, 10, 100, 1_000, 4_000)
    return {size: _best_us(partial(_work, genesis(), orders, size), PROBES) for size in sizes}


def _best_us(prepare: Callable[[], Callable[[], None]], count: int) -> float:
    best = float("inf")
    for _ in range(ROUNDS):
        work = prepare()
        gc.collect()
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return round(best / count * 1e6, 2)


def _work(born: Genesis, orders: Sequence[Command], per_entry: int) -> Callable[[], None]:
    exchange, entries = opened(born), entries_of(orders, per_entry)

    def work() -> None:
        for entry in entries:
            exchange.apply(entry)

    return work


# -- the cluster ---------------------------------------------------------------------------------


def _by_clients() -> Series:
    """Orders/s of so many connections, one order to a request, some 480 under way in all."""
    return {
        clients: _throughput(
            replace(LOAD, clients=clients, per_request=1, in_flight=max(1, 480 // clients)), 3
        )
        for clients in (1, 10, 100, 480)
    }


def _by_nodes() -> Series:
    """Orders/s of so many nodes, all on this machine, a hundred orders to a request."""
    return {nodes: _throughput(LOAD, nodes) for nodes in (1, 3, 5, 7)}


def _by_request() -> Series:
    """Orders/s with so many orders to a request: 4,800 under way on each connection, as far as that
    takes no more than 1,000 requests."""
    return {
        size: _throughput(replace(LOAD, per_request=size, in_flight=min(1_000, 4_800 // size)), 3)
        for size in (1, 10, 100, 500)
    }


def _throughput(load: Load, nodes: int) -> float:
    found = measure(load, nodes, settlement="none", latencies=Latencies())
    return float(found["orders_per_s"])


PLOTS: dict[str, tuple[Callable[[], Series], str, str]] = {
    "resting": (_by_resting, "orders resting", "µs a command"),
    "levels": (_by_levels, "price levels", "µs a command"),
    "instruments": (_by_instruments, "instruments", "µs an order"),
    "entry": (_by_entry, "requests of an entry", "µs an order"),
    "clients": (_by_clients, "connections", "orders/s"),
    "nodes": (_by_nodes, "nodes on two cores", "orders/s"),
    "request": (_by_request, "orders of a request", "orders/s"),
}


def draw(found: dict[str, Series], directory: Path) -> None:
    """One picture for each series."""
    from matplotlib.figure import Figure

    directory.mkdir(parents=True, exist_ok=True)
    for name, (_, across, up) in PLOTS.items():
        figure = Figure(figsize=(4.5, 2.8), layout="constrained")
        axes = figure.add_subplot()
        axes.plot(list(found[name]), list(found[name].values()), marker="o")
        if name != "nodes":
            axes.set_xscale("log")
        axes.set_ylim(bottom=0)
        axes.set_xlabel(across)
        axes.set_ylabel(up)
        axes.grid(alpha=0.3)
        figure.savefig(directory / f"{name}.svg", metadata={"Date": None})


if __name__ == "__main__":
    series = run()
    print(json.dumps(series, indent=2))
    draw(series, Path(sys.argv[1] if len(sys.argv) > 1 else "docs/plots"))

"""What measures the goals: each part one thing, on servers or books of its own.

Owns how long each part takes and which of its figures counts; how a load, a rival or a book is
measured is that of the benchmarks beside this file. A part gives its figures, why some are
missing, and its settings.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any, Final

from benchmarks import cluster, recovery, rest
from benchmarks.core import memory_per_order
from benchmarks.rivals import books, etcd, raftbook_cluster, stock_pysyncobj
from benchmarks.rivals.__main__ import measure as measure_rivals
from benchmarks.rivals.__main__ import ratios
from benchmarks.shapes import SWINGS, messages_of
from raftbook_cli.bench.command import measure
from raftbook_cli.bench.figures import Latencies
from raftbook_cli.bench.generator import Load
from raftbook_cli.bench.venue import venue

Figures = tuple[dict[str, float], dict[str, str], dict[str, Any]]
"""Figures by name, why others are missing, and the settings."""
Part = Callable[[], Figures]

SUSTAINED_S: Final = 60.0
SECONDS: Final = 10.0
RIVAL_S: Final = 6.0
RIVAL_ROUNDS: Final = 2
SHAPE_MESSAGES: Final = 30_000
SHAPE_S: Final = 5.0
BARE: Final = ("plain", "pyob")
OURS: Final = "raftbook, 100 to an entry"


def sustained() -> Figures:
    """Many orders to a request, through all three nodes, for a minute."""
    return _loaded(replace(cluster.LONG_REQUESTS, seconds=SUSTAINED_S))


def single_orders() -> Figures:
    """One order to a request, 64 clients."""
    return _loaded(replace(cluster.SINGLE_ORDERS, seconds=SECONDS))


def open_loop() -> Figures:
    """20,000 orders a second, sent when they are due."""
    return _loaded(replace(cluster.AT_A_RATE, seconds=SECONDS))


def _loaded(load: Load) -> Figures:
    """Raises when the nodes differ afterwards. A request without an answer counts for nothing, and
    is told."""
    found = measure(load, cluster.NODES, settlement="none", latencies=Latencies())
    settings = {**asdict(load), "nodes": cluster.NODES, "digests": "equal"}
    settings["errors"] = found["errors"]
    return {"rate": found["orders_per_s"], **found["latency_ms"]}, {}, settings


def idle() -> Figures:
    """One order at a time through each node; the slowest node counts."""
    with venue(cluster.NODES, settlement="none") as running:
        p50 = {
            node_id: cluster.single_orders_ms(running, node_id)["p50"]
            for node_id in running.cluster.node_ids
        }
        running.check_digests()
        leader_id = running.leader_id
    settings = {
        "nodes": cluster.NODES,
        "orders": cluster.SINGLES,
        "leader": leader_id,
        "p50 via node, ms": p50,
        "digests": "equal",
    }
    return {"p50": max(p50.values())}, {}, settings


def rivals() -> Figures:
    """The same load, and what etcd and stock PySyncObj do, in turn; the median of the ratios."""
    runs = {
        "raftbook": raftbook_cluster.run_batched,
        "stock_pysyncobj": stock_pysyncobj.run,
        "etcd": etcd.run,
    }
    results, missing = measure_rivals(runs, RIVAL_S, RIVAL_ROUNDS)
    if "raftbook" in missing:
        raise RuntimeError(missing["raftbook"])
    rates = {name: [each["orders_per_s"] for each in found] for name, found in results.items()}
    figures: dict[str, float] = {}
    for name in runs.keys() & rates.keys() - {"raftbook"}:
        found = ratios(rates["raftbook"], rates[name])
        if found is None:
            missing[name] = "it did nothing in a round"
        else:
            figures[name] = found["median"]
    settings = {
        "seconds": RIVAL_S,
        "orders/s of each round": rates,
        "versions": {name: found[-1]["version"] for name, found in results.items()},
    }
    return figures, missing, settings


def core() -> Figures:
    """Each shape through our core and through bare books, round by round; the worst counts."""
    rates: dict[str, int] = {}
    times: dict[str, dict[str, float]] = {}
    missing: dict[str, str] = {}
    for shape in SWINGS:
        messages = messages_of(shape, SHAPE_MESSAGES)
        found = books.compare(messages, SHAPE_S, (*BARE, "dyn4mik3"))
        rates[shape] = found["messages_per_s"][OURS]["median"]
        times[shape] = {name: each["times"][OURS] for name, each in found["books"].items()}
        missing |= found["absent"]
    bare = [name for name in BARE if name not in missing]
    figures = {
        "rate": min(rates.values()),
        "bare": min(each[name] for each in times.values() for name in bare),
    }
    if "dyn4mik3" not in missing:
        figures["dyn4mik3"] = min(each["dyn4mik3"] for each in times.values())
    settings = {
        "messages of a shape": SHAPE_MESSAGES,
        "an entry": 100,
        "orders/s": rates,
        "× each book": times,
        "absent": missing,
    }
    return figures, missing, settings


def replay() -> Figures:
    """A node killed with all its orders in the journal, none in a snapshot."""
    found = recovery.journal_replay()
    return {"rate": found["orders_per_s"]}, {}, {**found, "digests": "equal"}


def snapshot() -> Figures:
    """1,000,000 resting orders: the fork, and the way back, by processor time."""
    found = recovery.large_snapshot()
    pause = found["pause_ms"]["median"]
    return {"load": found["loaded, s"], "pause": pause}, {}, found


def memory() -> Figures:
    """Python's memory of a resting order with its own client_order_id."""
    return {"bytes": memory_per_order()}, {}, {"orders": 100_000}


def http() -> Figures:
    """One order a request to the leader of three."""
    connections = 8
    with venue(cluster.NODES, settlement="funded", has_http=True) as running:
        found = rest.measured(running, connections)
        running.check_digests()
    settings = {"nodes": cluster.NODES, "connections": connections, "settlement": "funded"}
    settings |= {"seconds": rest.SECONDS, "digests": "equal"}
    return {"rate": found["orders_per_s"], "p50": found["latency_ms"]["p50"]}, {}, settings

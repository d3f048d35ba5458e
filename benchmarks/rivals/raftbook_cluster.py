"""raftbook itself, three nodes: the measure that every rival is set beside.

The closed loop of `raftbook bench` through all three nodes, each of which syncs every entry to disk
and matches every order; its load is written for the native protocol and packed beforehand.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from benchmarks.cluster import LONG_REQUESTS, NODES, SINGLE_ORDERS
from benchmarks.rivals.servers import Failed
from raftbook import __version__
from raftbook_cli.bench.command import measure
from raftbook_cli.bench.figures import Latencies
from raftbook_cli.bench.generator import Load


def run(seconds: float) -> dict[str, Any]:
    """One order to a request."""
    return _run(replace(SINGLE_ORDERS, seconds=seconds))


def run_batched(seconds: float) -> dict[str, Any]:
    """A hundred orders to a request."""
    return _run(replace(LONG_REQUESTS, seconds=seconds))


def _run(load: Load) -> dict[str, Any]:
    found = measure(load, NODES, settlement="none", latencies=Latencies())
    if found["errors"]:
        raise Failed(f"requests without an answer: {found['errors']}")
    return {
        "orders_per_s": found["orders_per_s"],
        "latency_ms": {name: found["latency_ms"][name] for name in ("p50", "p99")},
        "settings": {
            "nodes": NODES,
            "durability": "each node syncs its journal before an entry counts",
            "orders_per_call": load.per_request,
            "calls_in_flight": load.clients * load.in_flight,
            "client": f"raftbook bench, one process, {load.clients} connections to all nodes",
            "core": found["environment"]["core"],
        },
        "version": f"raftbook {__version__}",
    }

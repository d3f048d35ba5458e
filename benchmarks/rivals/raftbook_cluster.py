"""raftbook itself, three nodes: the measure that every rival is set beside.

The same closed loop as theirs, through all three nodes, each of which syncs every entry to disk and
matches every order; the client is `AsyncClient`.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any

from benchmarks.cluster import LONG_REQUESTS, SINGLE_ORDERS, Load, commands
from benchmarks.processes import NODE_IDS, Nodes, cluster
from benchmarks.rivals.load import closed_loop
from raftbook import __version__
from raftbook.client import AsyncClient
from raftbook.core.build import KIND


def run(seconds: float) -> dict[str, Any]:
    """One order to a request."""
    return _run(seconds, SINGLE_ORDERS)


def run_batched(seconds: float) -> dict[str, Any]:
    """A hundred orders to a request."""
    return _run(seconds, LONG_REQUESTS)


def _run(seconds: float, load: Load) -> dict[str, Any]:
    with cluster() as nodes:
        found = asyncio.run(_measure(nodes, seconds, load))
    found["settings"] = {
        "nodes": len(NODE_IDS),
        "durability": "each node syncs its journal before an entry counts",
        "orders_per_call": load.per_request,
        "calls_in_flight": load.clients * load.in_flight,
        "client": f"AsyncClient, one process, {load.clients} connections spread over the nodes",
        "core": KIND,
    }
    found["version"] = f"raftbook {__version__}"
    return found


async def _measure(nodes: Nodes, seconds: float, load: Load) -> dict[str, Any]:
    clients = [
        AsyncClient([nodes.address(NODE_IDS[number % 3])], account="bench", timeout_s=30)
        for number in range(load.clients)
    ]
    chance = random.Random(7)
    requests = [commands(chance, load.per_request) for _ in range(50)]

    async def send(caller: int, number: int) -> None:
        await clients[caller % load.clients].request(requests[number % len(requests)])

    try:
        for client in clients:
            await client.connect()
        return await closed_loop(
            send,
            callers=load.clients * load.in_flight,
            orders_per_call=load.per_request,
            seconds=seconds,
        )
    finally:
        for client in clients:
            await client.close()

"""A cluster of three on this machine, synced to disk: orders per second, latency, failover.

The loads are those of `raftbook bench`; `client` is the one that goes through the client library.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any

from benchmarks.flows import SYMBOL
from raftbook.client import AsyncClient, Client
from raftbook.core.commands import Command, new_order
from raftbook.core.types import Side
from raftbook_cli.bench.command import measure
from raftbook_cli.bench.figures import Latencies
from raftbook_cli.bench.generator import Load, random_orders
from raftbook_cli.bench.venue import ACCOUNT, MIDDLE, Venue, leader_of, venue

NODES = 3
SINGLES = 300
FAILOVERS = 10
SECONDS = 8.0

LONG_REQUESTS = Load(clients=3, per_request=100, in_flight=48, seconds=SECONDS)
SINGLE_ORDERS = Load(clients=64, per_request=1, in_flight=32, seconds=SECONDS)
AT_A_RATE = Load(clients=30, per_request=20, in_flight=0, seconds=SECONDS, rate=20_000)


def run() -> dict[str, Any]:
    """Throughput through all three nodes, single orders through each, kills of the leader."""
    found: dict[str, Any] = {
        name: _figures(load, settlement)
        for name, load, settlement in (
            ("a hundred orders to a request", LONG_REQUESTS, "none"),
            ("the same, balances and fees", LONG_REQUESTS, "funded"),
            ("one order to a request", SINGLE_ORDERS, "none"),
            ("20,000 orders/s, when due", AT_A_RATE, "none"),
        )
    }
    with venue(NODES, settlement="none") as running:
        found["single order, ms"] = {
            f"via node {node_id}"
            + (" (leader)" if node_id == running.leader_id else ""): single_orders_ms(
                running, node_id
            )
            for node_id in running.cluster.node_ids
        }
        found["client library, orders/s"] = {
            str(per_request): asyncio.run(_client_throughput(running, per_request, in_flight))
            for per_request, in_flight in ((100, 48), (1, 512))
        }
        found["failover_ms"] = sorted(_failover(running) for _ in range(FAILOVERS))
    found["orders_per_s"] = found["a hundred orders to a request"]["orders_per_s"]
    return found


def _figures(load: Load, settlement: str) -> dict[str, Any]:
    latencies = Latencies()
    found = measure(load, NODES, settlement=settlement, latencies=latencies)
    return {
        "orders_per_s": found["orders_per_s"],
        "latency_ms": found["latency_ms"],
        "errors": found["errors"],
    }


def commands(chance: random.Random, count: int) -> list[Command]:
    """Random limit orders at prices around one middle, so that they rest and trade."""
    return random_orders(chance, SYMBOL, MIDDLE, count)


async def _client_throughput(running: Venue, per_request: int, in_flight: int) -> int:
    """Orders per second through the client library, one client to each node."""
    clients = [
        AsyncClient([address], account=ACCOUNT, timeout_s=30) for address in running.addresses()
    ]
    for client in clients:
        await client.connect()
    chance = random.Random(7)
    requests = [commands(chance, per_request) for _ in range(50)]
    acknowledged = 0
    end = time.perf_counter() + SECONDS / 2

    async def caller(client: AsyncClient) -> None:
        nonlocal acknowledged
        number = 0
        while time.perf_counter() < end:
            await client.request(requests[number % len(requests)])
            number += 1
            acknowledged += per_request

    start = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for client in clients:
            for _ in range(in_flight):
                group.create_task(caller(client))
    seconds = time.perf_counter() - start
    for client in clients:
        await client.close()
    return round(acknowledged / seconds)


def single_orders_ms(running: Venue, node_id: int) -> dict[str, float]:
    """One order at a time through one node, acknowledged before the next is sent."""
    chance = random.Random(node_id)
    latencies = Latencies()
    with Client([running.address(node_id)], account=ACCOUNT) as client:
        for _ in range(SINGLES):
            request = commands(chance, 1)
            start = time.perf_counter()
            client.request(request)
            latencies.record(time.perf_counter() - start)
    return latencies.milliseconds()


def _failover(running: Venue) -> int:
    """Milliseconds from `kill -9` of the leader to the next acknowledged order."""
    leader_id = leader_of(running.cluster)
    others = [running.address(each) for each in running.cluster.node_ids if each != leader_id]
    with Client(others, account=ACCOUNT, timeout_s=20) as client:
        client.request([new_order(SYMBOL, Side.BUY, 1, 1)])
        start = time.perf_counter()
        running.cluster.kill(leader_id)
        client.request([new_order(SYMBOL, Side.BUY, 1, 1)])
        elapsed_ms = (time.perf_counter() - start) * 1_000
    running.cluster.start(leader_id)
    time.sleep(2.0)  # let it catch up, so that each trial starts from a whole cluster
    return round(elapsed_ms)

"""A cluster of three on this machine, synced to disk: orders per second, latency, failover."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from typing import Any

from benchmarks.flows import SYMBOL
from benchmarks.processes import NODE_IDS, Nodes, cluster
from raftbook.client import AsyncClient, Client
from raftbook.core.commands import Command, new_order
from raftbook.core.types import Side

SINGLES = 300
FAILOVERS = 5


@dataclass(frozen=True, slots=True)
class Load:
    """So many clients, spread over the nodes, each with so many requests of so many orders.

    Attributes:
        in_flight: requests of a client under way at once.
    """

    clients: int
    requests: int
    per_request: int
    in_flight: int


LONG_REQUESTS = Load(clients=3, requests=700, per_request=100, in_flight=48)
SINGLE_ORDERS = Load(clients=64, requests=800, per_request=1, in_flight=32)


def run() -> dict[str, Any]:
    """Throughput through all three nodes, single orders through each, kills of the leader."""
    with cluster() as nodes:
        singles = {
            f"via node {node_id}" + (" (leader)" if node_id == nodes.leader() else ""): _single(
                nodes, node_id
            )
            for node_id in NODE_IDS
        }
        throughput = asyncio.run(_throughput(nodes, LONG_REQUESTS))
        one_by_one = asyncio.run(_throughput(nodes, SINGLE_ORDERS))
        digests = _digests(nodes)
        failovers = [_failover(nodes) for _ in range(FAILOVERS)]
    return {
        "orders_per_s": throughput,
        "orders_per_s_one_to_a_request": one_by_one,
        "single_order_ms": singles,
        "digests_equal": len(set(digests)) == 1,
        "failover_ms": sorted(failovers),
    }


def commands(chance: random.Random, count: int) -> list[Command]:
    """Random limit orders at prices around one middle, so that they rest and trade."""
    return [
        new_order(
            SYMBOL,
            chance.choice((Side.BUY, Side.SELL)),
            chance.randint(1, 4),
            10_000 + chance.randint(-20, 20),
        )
        for _ in range(count)
    ]


async def _throughput(nodes: Nodes, load: Load) -> int:
    """Orders per second, acknowledged, pipelined to each node."""
    clients = [
        AsyncClient([nodes.address(NODE_IDS[number % 3])], account="bench", timeout_s=30)
        for number in range(load.clients)
    ]
    for client in clients:
        await client.connect()
    chance = random.Random(7)
    requests = [commands(chance, load.per_request) for _ in range(50)]
    start = time.perf_counter()
    await asyncio.gather(*(_pipeline(client, requests, load) for client in clients))
    seconds = time.perf_counter() - start
    for client in clients:
        await client.close()
    return round(load.clients * load.requests * load.per_request / seconds)


async def _pipeline(client: AsyncClient, requests: list[list[Command]], load: Load) -> None:
    numbers = iter(range(load.requests))

    async def caller() -> None:
        for number in numbers:
            await client.request(requests[number % len(requests)])

    async with asyncio.TaskGroup() as group:
        for _ in range(load.in_flight):
            group.create_task(caller())


def _single(nodes: Nodes, node_id: int) -> dict[str, float]:
    """One order at a time through one node, acknowledged before the next is sent."""
    chance = random.Random(node_id)
    times: list[float] = []
    with Client([nodes.address(node_id)], account="bench") as client:
        for _ in range(SINGLES):
            request = commands(chance, 1)
            start = time.perf_counter()
            client.request(request)
            times.append((time.perf_counter() - start) * 1_000)
    times.sort()
    return {"p50": round(times[SINGLES // 2], 2), "p99": round(times[SINGLES * 99 // 100], 2)}


def _digests(nodes: Nodes) -> list[str]:
    with Client(nodes.addresses(), account="bench") as client:
        index = client.request([new_order(SYMBOL, Side.BUY, 1, 1)]).entry_index
    digests = []
    for node_id in NODE_IDS:
        with Client([nodes.address(node_id)], account="bench") as client:
            digests.append(str(client.query("digest", index=index, wait_ms=5_000)["digest"]))
    return digests


def _failover(nodes: Nodes) -> int:
    """Milliseconds from `kill -9` of the leader to the next acknowledged order."""
    leader_id = nodes.leader()
    others = [nodes.address(node_id) for node_id in NODE_IDS if node_id != leader_id]
    with Client(others, account="bench", timeout_s=20) as client:
        client.request([new_order(SYMBOL, Side.BUY, 1, 1)])
        start = time.perf_counter()
        nodes.kill(leader_id)
        client.request([new_order(SYMBOL, Side.BUY, 1, 1)])
        elapsed_ms = (time.perf_counter() - start) * 1_000
    nodes.start(leader_id)
    time.sleep(2.0)  # let it catch up, so that each trial starts from a whole cluster
    return round(elapsed_ms)

"""A cluster of three on this machine, synced to disk: orders per second, latency, failover."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any

from benchmarks.flows import SYMBOL
from benchmarks.processes import NODE_IDS, Nodes, cluster
from raftbook.client import AsyncClient, Client
from raftbook.core.commands import Command, new_order
from raftbook.core.types import Side

PER_REQUEST = 100
IN_FLIGHT = 48
REQUESTS = 700
SINGLES = 300
FAILOVERS = 5


def run() -> dict[str, Any]:
    """Throughput through all three nodes, single orders through each, kills of the leader."""
    with cluster() as nodes:
        singles = {
            f"via node {node_id}" + (" (leader)" if node_id == nodes.leader() else ""): _single(
                nodes, node_id
            )
            for node_id in NODE_IDS
        }
        throughput = asyncio.run(_throughput(nodes))
        digests = _digests(nodes)
        failovers = [_failover(nodes) for _ in range(FAILOVERS)]
    return {
        "orders_per_s": throughput,
        "single_order_ms": singles,
        "digests_equal": len(set(digests)) == 1,
        "failover_ms": sorted(failovers),
    }


def commands(chance: random.Random) -> list[Command]:
    """One request's limit orders at prices around one middle: half of them rest, half trade."""
    return [
        new_order(
            SYMBOL,
            chance.choice((Side.BUY, Side.SELL)),
            chance.randint(1, 4),
            10_000 + chance.randint(-20, 20),
        )
        for _ in range(PER_REQUEST)
    ]


async def _throughput(nodes: Nodes) -> int:
    """Random limit orders that rest and trade, requests of a hundred, pipelined to each node."""
    clients = [
        AsyncClient([nodes.address(node_id)], account="bench", timeout_s=30) for node_id in NODE_IDS
    ]
    for client in clients:
        await client.connect()
    chance = random.Random(7)
    batches = [commands(chance) for _ in range(50)]
    start = time.perf_counter()
    await asyncio.gather(*(_pipeline(client, batches) for client in clients))
    seconds = time.perf_counter() - start
    for client in clients:
        await client.close()
    return round(len(clients) * REQUESTS * PER_REQUEST / seconds)


async def _pipeline(client: AsyncClient, batches: list[list[Command]]) -> None:
    numbers = iter(range(REQUESTS))

    async def caller() -> None:
        for number in numbers:
            await client.request(batches[number % len(batches)])

    async with asyncio.TaskGroup() as group:
        for _ in range(IN_FLIGHT):
            group.create_task(caller())


def _single(nodes: Nodes, node_id: int) -> dict[str, float]:
    """One order at a time through one node, acknowledged before the next is sent."""
    chance = random.Random(node_id)
    times: list[float] = []
    with Client([nodes.address(node_id)], account="bench") as client:
        for _ in range(SINGLES):
            command = commands(chance)[0]
            start = time.perf_counter()
            client.request([command])
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

"""Orders over HTTP, as bots send them: one request an order, many connections at once.

The account has no secret, so its node checks no signature: that is a few microseconds of HMAC.

The client is as little as can be, since it shares the machine with the nodes.
"""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any, Final

from raftbook_cli.bench.figures import Latencies
from raftbook_cli.bench.venue import ACCOUNT, Venue, venue

SECONDS: Final = 6.0
CONNECTIONS: Final = (1, 8, 32, 64)
_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")


def run() -> dict[str, Any]:
    """A node alone, and a cluster of three whose leader is asked."""
    found: dict[str, Any] = {}
    for size in (1, 3):
        with venue(size, settlement="funded", has_http=True) as running:
            for connections in CONNECTIONS:
                name = f"{size} nodes, {connections} connections"
                found[name] = measured(running, connections)
    return found


def measured(running: Venue, connections: int) -> dict[str, Any]:
    node = running.cluster.config.node(running.leader_id)
    assert node.http_port, "the venue has no HTTP port"
    pid = running.cluster.pid(running.leader_id)
    latencies = Latencies()
    before, start = _processor_s(pid), time.perf_counter()
    count = asyncio.run(_load(node.host, node.http_port, connections, latencies))
    seconds, spent_s = time.perf_counter() - start, _processor_s(pid) - before
    return {
        "orders_per_s": round(count / seconds),
        "latency_ms": latencies.milliseconds(),
        "processor_us_an_order": round(1e6 * spent_s / max(1, count)),
    }


async def _load(host: str, port: int, connections: int, latencies: Latencies) -> int:
    """Place orders for a while; how many were acknowledged."""
    end = time.perf_counter() + SECONDS
    counts = await asyncio.gather(
        *(_trade(host, port, at, end, latencies) for at in range(connections))
    )
    return sum(counts)


async def _trade(host: str, port: int, number: int, end: float, latencies: Latencies) -> int:
    """One bot: the next order when the last one is answered."""
    reader, writer = await asyncio.open_connection(host, port)
    count = 0
    while time.perf_counter() < end:
        side = "BUY" if (number + count) % 2 else "SELL"
        price = 100 + (number * 7 + count) % 5
        form = (
            f"symbol=BTCUSD&side={side}&type=LIMIT&timeInForce=GTC&quantity=0.01&price={price}"
            f"&newOrderRespType=FULL&recvWindow=10000&timestamp={time.time_ns() // 1_000_000}"
            f"&signature={'0' * 64}"
        )
        start = time.perf_counter()
        writer.write(
            f"POST /api/v3/order HTTP/1.1\r\nHost: {host}:{port}\r\nX-MBX-APIKEY: {ACCOUNT}\r\n"
            "Content-Type: application/x-www-form-urlencoded\r\n"
            f"Content-Length: {len(form)}\r\n\r\n{form}".encode()
        )
        head = await reader.readuntil(b"\r\n\r\n")
        size = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        body = await reader.readexactly(size)
        assert head.startswith(b"HTTP/1.1 200"), body
        latencies.record(time.perf_counter() - start)
        count += 1
    writer.close()
    return count


def _processor_s(pid: int) -> float:
    """Processor time of a process so far (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S

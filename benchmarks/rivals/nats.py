"""NATS JetStream, a stream with three replicas in files: a message for an order, or for a hundred.

The orders are stored and replicated; nobody matches them. By default JetStream acknowledges what it
has written but not synced, and syncs every two minutes: a power cut on all machines loses what was
acknowledged. `run_synced` asks for a sync before each acknowledgement, which servers can since
2.10. Batches, which newer servers have, are not used; a message of a hundred orders does the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from typing import Any

from benchmarks.rivals import load
from benchmarks.rivals.servers import (
    Absent,
    Failed,
    Servers,
    client_module,
    first_line,
    free_ports,
    program,
    servers,
    version_of,
)

NODES = 3
IN_FLIGHT = 256
"""Acknowledgements waited for at once. Of 128 to 4,000 it did most with about this many."""

BATCHES = 24
START_S = 30.0
STREAM = "orders"

SYNC_DEFAULT = "default: acknowledged once written, synced every 2 minutes"
SYNC_ALWAYS = "sync_interval: always"


def run(seconds: float) -> dict[str, Any]:
    """One message for each order, synced as the server does by default."""
    return _run(seconds, sync=SYNC_DEFAULT, orders_per_call=1)


def run_batched(seconds: float) -> dict[str, Any]:
    """A hundred orders to a message, synced as the server does by default."""
    return _run(seconds, sync=SYNC_DEFAULT, orders_per_call=load.BATCH)


def run_synced(seconds: float) -> dict[str, Any]:
    """One message for each order, synced before it is acknowledged."""
    return _run(seconds, sync=SYNC_ALWAYS, orders_per_call=1)


def _run(seconds: float, *, sync: str, orders_per_call: int) -> dict[str, Any]:
    binary = program("nats-server", package="nats-server")
    client_module("nats")
    in_flight = IN_FLIGHT if orders_per_call == 1 else BATCHES
    with servers("nats") as running:
        urls = _start(running, binary, sync)
        found = asyncio.run(_measure(running, urls, seconds, in_flight, orders_per_call))
        running.check()
    found["settings"] = {
        "nodes": NODES,
        "replicas": NODES,
        "storage": "file",
        "durability": sync,
        "orders_per_call": orders_per_call,
        "calls_in_flight": in_flight,
        "client": f"{version_of('nats-py')}, one process, publish_async",
    }
    found["version"] = first_line(binary, "--version")
    return found


def _start(running: Servers, binary: str, sync: str) -> list[str]:
    ports = free_ports(2 * NODES)
    routes = ", ".join(f'"nats-route://127.0.0.1:{port}"' for port in ports[:NODES])
    for number in range(NODES):
        name = f"n{number}"
        lines = [
            f"server_name: {name}",
            f'listen: "127.0.0.1:{ports[NODES + number]}"',
            f'jetstream {{ store_dir: "{running.directory / name}"',
            *(["sync_interval: always"] if sync == SYNC_ALWAYS else []),
            "}",
            f'cluster {{ name: "bench", listen: "127.0.0.1:{ports[number]}", routes: [{routes}] }}',
        ]
        config = running.directory / f"{name}.conf"
        config.write_text("\n".join(lines) + "\n")
        if number == 0:
            _check_config(binary, str(config))
        running.start(name, [binary, "-c", str(config)])
    return [f"nats://127.0.0.1:{port}" for port in ports[NODES:]]


def _check_config(binary: str, config: str) -> None:
    said = subprocess.run([binary, "-t", "-c", config], capture_output=True, text=True, timeout=30)
    text = (said.stdout + said.stderr).strip()
    if said.returncode != 0 and 'unknown field "sync_interval"' in text:
        version = first_line(binary, "--version")
        raise Absent(f"{version} cannot sync before it acknowledges: install 2.10 or newer")
    if said.returncode != 0:
        raise Failed(f"nats-server refuses its configuration: {text[-500:]}")


async def _measure(
    running: Servers, urls: list[str], seconds: float, in_flight: int, orders_per_call: int
) -> dict[str, Any]:
    nats = client_module("nats")
    connection = await nats.connect(await _ready(running, urls), allow_reconnect=False)
    try:
        stream = connection.jetstream(publish_async_max_pending=in_flight)
        texts = messages(orders_per_call)

        async def send(caller: int, number: int) -> None:
            acknowledged = await stream.publish_async(STREAM, texts[number % len(texts)])
            await acknowledged

        return await load.closed_loop(
            send, callers=in_flight, orders_per_call=orders_per_call, seconds=seconds
        )
    finally:
        await connection.close()


def messages(orders_per_call: int) -> list[bytes]:
    """The orders, so many to a message."""
    orders = load.payloads()
    return [
        b",".join(orders[start : start + orders_per_call])
        for start in range(0, len(orders), orders_per_call)
    ]


async def _expected(error: Exception) -> None:
    """Refusals while the servers start are no news; the client would print each."""


async def _ready(running: Servers, urls: list[str]) -> str:
    """Makes the stream once the servers have found each other; the url of its leader."""
    nats = client_module("nats")
    api = client_module("nats.js.api")
    errors = client_module("nats.errors")
    wanted = api.StreamConfig(
        name=STREAM, subjects=[STREAM], storage=api.StorageType.FILE, num_replicas=NODES
    )
    end = asyncio.get_running_loop().time() + START_S
    while asyncio.get_running_loop().time() < end:
        running.check()
        with contextlib.suppress(OSError, errors.Error, asyncio.TimeoutError):
            # A server alone answers that it cannot place three replicas: an error of its API.
            connection = await nats.connect(
                urls[0], allow_reconnect=False, connect_timeout=1, error_cb=_expected
            )
            try:
                made = await connection.jetstream(timeout=2).add_stream(wanted)
            finally:
                await connection.close()
            if made.cluster is not None and made.cluster.leader is not None:
                return urls[int(made.cluster.leader.removeprefix("n"))]
        await asyncio.sleep(0.2)
    raise Failed(f"JetStream has no stream with {NODES} replicas after {START_S:.0f} s")

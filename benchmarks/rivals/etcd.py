"""etcd, three nodes: one put for an order, or a transaction of a hundred puts.

The orders are stored and replicated; nobody matches them. The client is grpcio, one channel to each
node from one process; requests are written by hand, since the two messages that are needed are a
dozen bytes of protobuf, and answers are not read. That is less work than any etcd library does.
"""

from __future__ import annotations

import asyncio
from typing import Any

from benchmarks.rivals import load
from benchmarks.rivals.servers import (
    Servers,
    client_module,
    first_line,
    free_ports,
    program,
    servers,
    version_of,
)

NODES = 3
CALLERS = 512
"""Puts under way. Of 128 to 2,048 it did most with about this many; and it did as much, within what
differs from run to run, with all of them sent to the leader."""

BATCHES = 24
START_S = 30.0

PUT = "/etcdserverpb.KV/Put"
TXN = "/etcdserverpb.KV/Txn"


def run(seconds: float) -> dict[str, Any]:
    """One put for each order."""
    return _run(seconds, is_batched=False)


def run_batched(seconds: float) -> dict[str, Any]:
    """A hundred orders to a transaction, each a put of its own (etcd allows 128)."""
    return _run(seconds, is_batched=True)


def _run(seconds: float, *, is_batched: bool) -> dict[str, Any]:
    binary = program("etcd", package="etcd-server")
    client_module("grpc.aio")
    with servers("etcd") as running:
        endpoints = _start(running, binary)
        found = asyncio.run(_measure(endpoints, seconds, is_batched=is_batched))
        running.check()
    found["settings"] = {
        "nodes": NODES,
        "durability": "default: each node syncs its log before it counts",
        "orders_per_call": load.BATCH if is_batched else 1,
        "calls_in_flight": BATCHES if is_batched else CALLERS,
        "client": f"{version_of('grpcio')}, one process, a channel to each node",
    }
    found["version"] = first_line(binary, "--version")
    return found


def _start(running: Servers, binary: str) -> list[str]:
    ports = free_ports(2 * NODES)
    peers = [f"http://127.0.0.1:{port}" for port in ports[:NODES]]
    clients = [f"http://127.0.0.1:{port}" for port in ports[NODES:]]
    initial = ",".join(f"n{number}={url}" for number, url in enumerate(peers))
    for number, (peer, client) in enumerate(zip(peers, clients, strict=True)):
        name = f"n{number}"
        arguments = [binary, "--name", name, "--data-dir", str(running.directory / name)]
        arguments += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]
        arguments += ["--listen-client-urls", client, "--advertise-client-urls", client]
        arguments += ["--initial-cluster", initial, "--initial-cluster-state", "new"]
        running.start(name, [*arguments, "--logger", "zap", "--log-level", "error"])
    return [url.removeprefix("http://") for url in clients]


async def _measure(endpoints: list[str], seconds: float, *, is_batched: bool) -> dict[str, Any]:
    grpc_aio = client_module("grpc.aio")
    orders = load.payloads()
    channels = [grpc_aio.insecure_channel(endpoint) for endpoint in endpoints]
    puts = [channel.unary_unary(PUT) for channel in channels]
    txns = [channel.unary_unary(TXN) for channel in channels]

    async def send_put(caller: int, number: int) -> None:
        request = put_request(b"order/%012d" % number, orders[number % len(orders)])
        await puts[caller % NODES](request)

    async def send_txn(caller: int, number: int) -> None:
        first = number * load.BATCH
        batch = [
            put_request(b"order/%012d" % each, orders[each % len(orders)])
            for each in range(first, first + load.BATCH)
        ]
        await txns[caller % NODES](txn_request(batch))

    try:
        for put in puts:  # a leader is known everywhere once each node has answered
            await put(put_request(b"ready", b""), wait_for_ready=True, timeout=START_S)
        return await load.closed_loop(
            send_txn if is_batched else send_put,
            callers=BATCHES if is_batched else CALLERS,
            orders_per_call=load.BATCH if is_batched else 1,
            seconds=seconds,
        )
    finally:
        for channel in channels:
            await channel.close()


def put_request(key: bytes, value: bytes) -> bytes:
    """etcdserverpb.PutRequest: key is field 1, value field 2."""
    return _field(1, key) + _field(2, value)


def txn_request(puts: list[bytes]) -> bytes:
    """etcdserverpb.TxnRequest without a condition: `success` is field 2, a put in it field 2."""
    return b"".join(_field(2, _field(2, put)) for put in puts)


def _field(number: int, value: bytes) -> bytes:
    """A field of protobuf whose value has a length."""
    return bytes([number << 3 | 2]) + _varint(len(value)) + value


def _varint(number: int) -> bytes:
    seven_bits = []
    while number > 0x7F:
        seven_bits.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*seven_bits, number])

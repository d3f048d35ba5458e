"""PostgreSQL, one node, nothing replicated: a transaction for an order, or for a hundred.

The orders are rows; nobody matches them. The server runs as its own user with the settings of a
fresh database; those that decide about durability are read back from it. Many connections at once,
so that it can sync the commits of several in one go.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from benchmarks.rivals import load
from benchmarks.rivals.servers import (
    Failed,
    Servers,
    client_module,
    first_line,
    free_ports,
    plain_user,
    program,
    servers,
    version_of,
)

CONNECTIONS = 64
"""Of 16 to 128 it did most from this many on."""

START_S = 30.0
PACKAGE = "postgresql"
PLACES = ("/usr/lib/postgresql/*/bin/{}", "/usr/local/pgsql/bin/{}")
SHOWN = ("synchronous_commit", "fsync", "full_page_writes", "wal_sync_method")

TABLE = "create table orders (id bigint primary key, symbol text, side int, qty int, price int)"
INSERT = "insert into orders values ($1, $2, $3, $4, $5)"
COLUMNS = "$1::bigint[], $2::text[], $3::int[], $4::int[], $5::int[]"
INSERT_MANY = f"insert into orders select * from unnest({COLUMNS})"

Row = tuple[int, str, int, int, int]


def run(seconds: float) -> dict[str, Any]:
    """One transaction for each order."""
    return _run(seconds, orders_per_call=1)


def run_batched(seconds: float) -> dict[str, Any]:
    """A hundred orders to a transaction, by one statement."""
    return _run(seconds, orders_per_call=load.BATCH)


def _run(seconds: float, *, orders_per_call: int) -> dict[str, Any]:
    initdb, binary = _programs()
    client_module("asyncpg")
    with servers("postgres", plain_user("postgres", "nobody")) as running:
        port = _start(running, initdb, binary)
        found = asyncio.run(_measure(running, port, seconds, orders_per_call))
        running.check()
    found["settings"] |= {
        "nodes": 1,
        "orders_per_call": orders_per_call,
        "calls_in_flight": CONNECTIONS,
        "client": f"{version_of('asyncpg')}, one process, a connection to each caller",
    }
    found["version"] = first_line(binary, "--version")
    return found


def _programs() -> tuple[str, str]:
    """initdb and the server, which stand beside each other."""
    initdb = program("initdb", package=PACKAGE, places=[place.format("initdb") for place in PLACES])
    binary = program(
        "postgres", package=PACKAGE, places=[place.format("postgres") for place in PLACES]
    )
    return initdb, binary


def _start(running: Servers, initdb: str, binary: str) -> int:
    (port,) = free_ports(1)
    where = str(running.directory / "database")
    running.run(initdb, "-D", where, "-U", "bench", "-A", "trust", "-E", "UTF8", "--locale", "C")
    settings = {
        "listen_addresses": "127.0.0.1",
        "port": str(port),
        "unix_socket_directories": "",
        "max_connections": str(CONNECTIONS + 10),
        "synchronous_commit": "on",
    }
    given = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    running.start("postgres", [binary, "-D", where, *given])
    return port


async def _measure(
    running: Servers, port: int, seconds: float, orders_per_call: int
) -> dict[str, Any]:
    first = await _ready(running, port)
    await first.execute(TABLE)
    shown = {name: await first.fetchval(f"show {name}") for name in SHOWN}
    connections = [first, *[await _connect(port) for _ in range(CONNECTIONS - 1)]]
    orders = load.orders(5_000)
    statements = [
        await connection.prepare(INSERT if orders_per_call == 1 else INSERT_MANY)
        for connection in connections
    ]

    async def send(caller: int, number: int) -> None:
        start = number * orders_per_call
        rows = [row(each, orders) for each in range(start, start + orders_per_call)]
        arguments = rows[0] if orders_per_call == 1 else zip(*rows, strict=True)
        await statements[caller].fetch(*arguments)

    try:
        found = await load.closed_loop(
            send, callers=CONNECTIONS, orders_per_call=orders_per_call, seconds=seconds
        )
    finally:
        for connection in connections:
            await connection.close()
    found["settings"] = shown
    return found


def row(number: int, orders: list[dict[str, Any]]) -> Row:
    """The row of the order with this number."""
    order = orders[number % len(orders)]
    return number, order["symbol"], order["side"], order["qty"], order["price"]


async def _connect(port: int) -> Any:
    asyncpg = client_module("asyncpg")
    return await asyncpg.connect(
        host="127.0.0.1", port=port, user="bench", database="postgres", ssl=False, timeout=5
    )


async def _ready(running: Servers, port: int) -> Any:
    """The first connection, once the server takes any."""
    asyncpg = client_module("asyncpg")
    end = asyncio.get_running_loop().time() + START_S
    while asyncio.get_running_loop().time() < end:
        running.check()
        with contextlib.suppress(OSError, asyncpg.CannotConnectNowError):
            return await _connect(port)
        await asyncio.sleep(0.1)
    raise Failed(f"PostgreSQL takes no connection after {START_S:.0f} s")

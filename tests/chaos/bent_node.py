"""`raftbook` in a bent world: `python -m tests.chaos.bent_node CLOCK ROADS node --id 1 ...`

CLOCK holds one signed 64-bit number, little endian: nanoseconds that are added to this process's
wall clock, and may be changed while it runs. ROADS is a JSON object: who dials the port of a key is
led to the port of its value, which is a proxy's; all nodes can so have one configuration. Only
these two are ours, all else is the command line as it is. The steady clock stays: what leads,
elects and expires must not look at another.
"""

from __future__ import annotations

import asyncio
import json
import mmap
import struct
import sys
import time
from pathlib import Path
from typing import Any


def write_skew(path: Path, skew_ns: int) -> None:
    """Let the clock of the process that reads this file jump; in place, as it is mapped there."""
    with open(path, "r+b" if path.exists() else "wb") as file:
        file.write(struct.pack("<q", skew_ns))


def write_roads(path: Path, roads: dict[int, int]) -> None:
    """Lead the process that reads this file from ports to other ports."""
    path.write_text(json.dumps(roads))


def _bend_clock(path: str) -> None:
    with open(path, "rb") as file:
        skew = mmap.mmap(file.fileno(), 8, access=mmap.ACCESS_READ)
    true_ns = time.time_ns
    time.time_ns = lambda: true_ns() + struct.unpack("<q", skew)[0]


def _bend_roads(path: str) -> None:
    straight = asyncio.BaseEventLoop.create_connection

    async def create_connection(
        self: Any, factory: Any, host: Any = None, port: Any = None, **options: Any
    ) -> Any:
        roads = json.loads(Path(path).read_text())  # at each dialling: they may be changed
        return await straight(self, factory, host, roads.get(str(port), port), **options)

    setattr(asyncio.BaseEventLoop, "create_connection", create_connection)  # noqa: B010


def main() -> None:
    """Bend the world, then be the command line."""
    _bend_clock(sys.argv.pop(1))
    _bend_roads(sys.argv.pop(1))
    from raftbook_cli.main import main as command_line

    command_line()


if __name__ == "__main__":
    main()

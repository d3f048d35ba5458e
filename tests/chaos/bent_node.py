"""`raftbook` in a bent world: `python -m tests.chaos.bent_node CLOCK ROADS APPLIED node --id 1 ...`

CLOCK holds one signed 64-bit number, little endian: nanoseconds that are added to this process's
wall clock, and may be changed while it runs. ROADS is a JSON object: who dials the port of a key is
led to the port of its value, which is a proxy's; all nodes can so have one configuration. APPLIED
is a new file, or "" for none, into which every entry goes that this process applies: see
`archive.py`. Only these three are ours, all else is the command line as it is. The steady clock
stays: what leads, elects and expires must not look at another.
"""

from __future__ import annotations

import asyncio
import json
import mmap
import struct
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


def write_skew(path: Path, skew_ns: int) -> None:
    """Let the clock of the process that reads this file jump; in place, as it is mapped there."""
    with open(path, "r+b" if path.exists() else "wb") as file:
        file.write(struct.pack("<q", skew_ns))


def write_roads(path: Path, roads: dict[int, int]) -> None:
    """Lead the process that reads this file from ports to other ports; it may read it just now."""
    whole = path.with_suffix(".new")
    whole.write_text(json.dumps(roads))
    whole.replace(path)


def _bend_clock(path: str) -> None:
    with open(path, "rb") as file:
        skew = mmap.mmap(file.fileno(), 8, access=mmap.ACCESS_READ)
    true_ns = time.time_ns
    time.time_ns = lambda: true_ns() + struct.unpack("<q", skew)[0]


def bend_roads(roads: Callable[[], Mapping[int, int]]) -> Callable[[], None]:
    """Lead whoever dials in this process from ports to other ports; what is returned ends that.

    Args:
        roads: asked at each dialling, as they may change.
    """
    straight = asyncio.BaseEventLoop.create_connection

    async def create_connection(
        self: Any, factory: Any, host: Any = None, port: Any = None, **options: Any
    ) -> Any:
        return await straight(self, factory, host, roads().get(port, port), **options)

    def bend(method: Any) -> None:
        setattr(asyncio.BaseEventLoop, "create_connection", method)  # noqa: B010

    bend(create_connection)
    return lambda: bend(straight)


def _read_roads(path: str) -> dict[int, int]:
    return {int(port): target for port, target in json.loads(Path(path).read_text()).items()}


def main() -> None:
    """Bend the world, then be the command line."""
    _bend_clock(sys.argv.pop(1))
    roads_path = sys.argv.pop(1)
    applied_path = sys.argv.pop(1)
    bend_roads(lambda: _read_roads(roads_path))
    from raftbook_cli.main import main as command_line
    from tests.chaos.archive import keep_applied

    if applied_path:
        keep_applied(Path(applied_path))
    command_line()


if __name__ == "__main__":
    main()

"""`raftbook` with a wall clock that jumps: `python -m tests.chaos.skewed_node FILE node --id 1 ...`

FILE holds one signed 64-bit number, little endian: nanoseconds that are added to this process's
wall clock, and may be changed while it runs. Only the clock is ours; all else is the command line
as it is. The steady clock stays: what leads, elects and expires must not look at another.
"""

from __future__ import annotations

import mmap
import struct
import sys
import time
from pathlib import Path


def write_skew(path: Path, skew_ns: int) -> None:
    """Let the clock of the process that reads this file jump; in place, as it is mapped there."""
    with open(path, "r+b" if path.exists() else "wb") as file:
        file.write(struct.pack("<q", skew_ns))


def main() -> None:
    """Patch the clock, then be the command line."""
    with open(sys.argv.pop(1), "rb") as file:
        skew = mmap.mmap(file.fileno(), 8, access=mmap.ACCESS_READ)
    true_ns = time.time_ns
    time.time_ns = lambda: true_ns() + struct.unpack("<q", skew)[0]
    from raftbook_cli.main import main as command_line

    command_line()


if __name__ == "__main__":
    main()

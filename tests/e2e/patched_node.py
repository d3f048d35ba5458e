"""A node with one thing wrong with it, for tests: what breaks stands here, not in the product.

    python patched_node.py PATCH [ARGUMENT] -- node --config F --id N

Patches:
    slow-snapshot       a snapshot's child never ends; it writes its id to the file ARGUMENT first
    io-error TEXT       the journal fails to sync entries that hold this text
    flip-order ORDER    once that order rests, its quantity on this node alone has a bit flipped
"""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from raftbook.replica.machine import Applied, Machine
from raftbook.storage.journal import Journal
from raftbook_cli.main import main


def slow_snapshot(argument: str) -> None:
    def snapshot_chunks(self: Machine) -> Iterator[bytes]:
        yield b"the beginning"
        Path(argument).write_text(str(os.getpid()))
        while True:
            time.sleep(60)

    Machine.snapshot_chunks = snapshot_chunks  # type: ignore[method-assign]


def flip_order(argument: str) -> None:
    apply: Callable[..., Applied | None] = Machine.apply
    wanted = int(argument)
    is_done = False

    def apply_and_flip(self: Machine, *arguments: Any) -> Applied | None:
        nonlocal is_done
        applied = apply(self, *arguments)
        accounts = self.exchange.accounts.values()
        order = next((each.orders[wanted] for each in accounts if wanted in each.orders), None)
        if order is not None and order.level is not None and not is_done:
            is_done = True
            order.leaves_qty ^= 1 << 4
            order.level.qty ^= 1 << 4
        return applied

    Machine.apply = apply_and_flip  # type: ignore[method-assign]


def io_error(argument: str) -> None:
    sync = Journal.sync

    def sync_or_fail(self: Journal) -> bool:
        unsynced = self.entries[max(1, self._kept_last + 1 - self.base_index) :]
        if any(argument.encode() in payload for payload, _, _ in unsynced):
            self._fail(OSError(errno.EIO, os.strerror(errno.EIO)))
        return sync(self)

    Journal.sync = sync_or_fail  # type: ignore[method-assign]


PATCHES = {"slow-snapshot": slow_snapshot, "io-error": io_error, "flip-order": flip_order}

if __name__ == "__main__":
    at = sys.argv.index("--")
    name, argument = sys.argv[1:at]
    PATCHES[name](argument)
    sys.argv[1:] = sys.argv[at + 1 :]
    main()

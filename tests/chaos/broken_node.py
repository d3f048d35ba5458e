"""A node that breaks a promise, so that the harness can be seen to notice.

`python -m tests.chaos.broken_node FAULT CLOCK ROADS APPLIED node --id 1 ...`: patches one thing in
this process, then is `bent_node.py`. Nothing of this can be reached from the product.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any

from raftbook.gateway import native
from raftbook.replica.machine import Applied, Machine
from raftbook.replica.raft import Raft
from raftbook.storage import journal, journal_file
from raftbook.storage.founded_mark import FoundedMark
from raftbook.wire.entry import REGULAR, unpack_entry
from tests.broken_exchange import forget
from tests.chaos import bent_node


def _nothing_written() -> None:
    """P1: everything is acknowledged from memory; a `kill -9` of all takes it away."""
    journal.Journal.sync = lambda self: True  # type: ignore[method-assign]
    # With a mark beside what was never written, no node would begin anew.
    FoundedMark.set = lambda self: None  # type: ignore[method-assign]


def _nothing_synced() -> None:
    """P1: the journal is written, but SQLite never waits for the disk."""
    original = journal_file.connect

    def connect(*arguments: Any, **options: Any) -> Any:
        connection = original(*arguments, **options)
        connection.execute("PRAGMA synchronous=OFF")
        return connection

    setattr(journal, "connect", connect)  # noqa: B010 - it is not this module's to export


def _synced_late() -> None:
    """P1: messages and answers leave first, the sync comes right after."""
    original = journal.Journal.sync

    def sync(self: journal.Journal) -> bool:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # the node is only being built
            return original(self)
        loop.call_soon(original, self)
        return True

    journal.Journal.sync = sync  # type: ignore[method-assign]


def _early_commits() -> None:
    """P1: a leader takes for committed what it alone holds."""
    original = Raft.turn

    def turn(self: Any) -> None:
        if self.is_leader:
            self._SyncObj__raftCommitIndex = self._log.last_index
        original(self)

    setattr(Raft, "turn", turn)  # noqa: B010 - of whatever signature


def _stale_reads() -> None:
    """P3: a linearizable read is answered from what this node happens to have."""

    async def barrier(self: Any) -> None:
        return None

    native.ClientServer.barrier = barrier  # type: ignore[method-assign]


def _nothing_remembered() -> None:
    """P2: a repeated request acts again."""
    original = Machine.apply

    def apply(self: Machine, index: int, term: int, payload: bytes) -> Applied | None:
        if payload[:1] == REGULAR:
            forget(self.exchange, unpack_entry(index, payload[1:]))
        return original(self, index, term, payload)

    Machine.apply = apply  # type: ignore[method-assign]


FAULTS: dict[str, Callable[[], None]] = {
    "nothing_written": _nothing_written,
    "nothing_synced": _nothing_synced,
    "synced_late": _synced_late,
    "early_commits": _early_commits,
    "stale_reads": _stale_reads,
    "nothing_remembered": _nothing_remembered,
}

if __name__ == "__main__":
    FAULTS[sys.argv.pop(1)]()
    bent_node.main()

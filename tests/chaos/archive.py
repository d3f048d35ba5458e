"""The whole log of a run, although nodes trim theirs: copies of journals taken while they run.

Owns the copies, and the log put together from them and from the nodes' last journals. A node is
stopped for the few milliseconds of a copy, so what is copied is what a `kill -9` would have left.
Only entries up to a commit index that some node had told *before* the copy are believed; where two
copies hold such an entry they must hold the same, or a committed entry has changed.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from raftbook.core.commands import Entry
from raftbook.storage.directory import JOURNAL_NAME, WAL_NAME, WITNESS_NAME
from raftbook.storage.journal import read_journal
from raftbook.wire.entry import REGULAR, unpack_entry
from tests.chaos.cluster import ChaosCluster

EVERY_S: Final = 6.0
_COMMITTED: Final = "committed.json"


class Archive:
    """Copies of journals under `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self._count = 0

    def copy(self, cluster: ChaosCluster, node_id: int, commit_index: int) -> None:
        """Copy the journal of a running node; entries up to `commit_index` are known committed."""
        directory = cluster.directory(node_id)
        self._count += 1
        target = self.folder / f"{self._count:04d}-node-{node_id}"
        target.mkdir()
        cluster.freeze(node_id)
        try:
            for name in (JOURNAL_NAME, WAL_NAME, WITNESS_NAME):
                if (directory / name).exists():
                    shutil.copyfile(directory / name, target / name)
        finally:
            cluster.thaw(node_id)
        (target / _COMMITTED).write_text(json.dumps(commit_index))


def copies(folder: Path) -> list[tuple[Path, int]]:
    """Every copy and the index up to which it is believed."""
    return [
        (path.parent, int(json.loads(path.read_text())))
        for path in sorted(folder.glob(f"*/{_COMMITTED}"))
    ]


Raw = tuple[int, bytes]
"""Term and payload."""


class WholeLog:
    """The committed entries of a run, put together.

    Attributes:
        problems: two holders of a committed entry that do not hold the same.
    """

    def __init__(self) -> None:
        self.problems: list[str] = []
        self._entries: dict[int, tuple[Raw, str]] = {}

    def add(self, directory: Path, committed: int) -> None:
        """Take the entries of a journal up to an index."""
        _, *rows = read_journal(directory).entries
        for payload, index, term in rows:
            if index > committed:
                return
            raw, holder = self._entries.setdefault(index, ((term, payload), directory.name))
            if raw != (term, payload) and len(self.problems) < 20:
                self.problems.append(
                    f"entry {index} is of term {raw[0]} in {holder}, "
                    f"of term {term} in {directory.name}, and committed in both"
                )

    def gaps(self, last_index: int) -> list[int]:
        """Indices that no copy holds; the log's own beginning, entry 1, is held by none."""
        return [index for index in range(2, last_index + 1) if index not in self._entries]

    def entries(self) -> Iterable[Entry]:
        """What the exchange is to be told, in order."""
        for index in sorted(self._entries):
            (_, payload), _ = self._entries[index]
            if payload[:1] == REGULAR:
                yield unpack_entry(index, payload[1:])


def whole_log(folder: Path, journals: Iterable[Path], last_index: int) -> tuple[WholeLog, Any]:
    """The log of a finished run, and the indices nobody holds."""
    log = WholeLog()
    for directory, committed in copies(folder):
        log.add(directory, committed)
    for directory in journals:
        log.add(directory, last_index)
    return log, log.gaps(last_index)

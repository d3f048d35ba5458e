"""A stopped node's data directory, read without changing a byte of it: time travel.

Owns the way from files to the exchange at any index that the directory still covers: the newest
usable snapshot at or below it, then the log. Must not know how anything is shown.

The journal does not say how far the log was committed: the last entries of a node that crashed may
be ones that the cluster later replaced.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from raftbook.core.exchange import Exchange, Genesis
from raftbook.errors import ProtocolError, StorageError
from raftbook.replica.machine import Applied, Machine
from raftbook.storage.directory import SNAPSHOT_GLOB
from raftbook.storage.journal import read_journal
from raftbook.storage.journal_file import FIRST_INDEX
from raftbook.storage.snapshot_header import HEADER_BYTES, SnapshotHeader, decode_header

from .outcomes import CommandFailed, ExitCode


class Snapshot(NamedTuple):
    """A snapshot file whose payload has passed its checksum."""

    path: Path
    header: SnapshotHeader
    payload: bytes


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One index of the log as it stands on the disk."""

    index: int
    term: int
    payload: bytes


class DataDirectory:
    """What one node keeps on its disk.

    Attributes:
        identity: whose it is.
        first: the first index the log still holds; last: the last one.
        skipped: snapshot files that cannot be used, with the reason.
    """

    def __init__(self, directory: Path) -> None:
        """Reads and checks the whole journal.

        Raises:
            StorageError: there is none, it is damaged, or its node is running.
        """
        contents = read_journal(directory)
        self.directory = directory
        self.identity = contents.identity
        self.skipped: dict[str, str] = {}
        base, *entries = contents.entries
        self._base_index = base[1]
        self._entries = [LogEntry(index, term, payload) for payload, index, term in entries]
        self.first = self._base_index + 1
        self.last = entries[-1][1] if entries else self._base_index
        self._headers = self._read_headers()

    def entries(self, first: int, last: int) -> list[LogEntry]:
        """The entries from `first` to `last`, both included, as far as the log holds them."""
        return self._entries[max(0, first - self.first) : max(0, last - self.first + 1)]

    @property
    def reach(self) -> tuple[int, int]:
        """The first and last index whose state can be rebuilt."""
        lowest = self._base_index
        covered = [header.index for header, _ in self._headers if header.index >= lowest]
        first = FIRST_INDEX if self._is_whole else min(covered, default=self.last + 1)
        return first, self.last

    @property
    def _is_whole(self) -> bool:
        """Nothing was compacted: the log begins with the cluster."""
        return self._base_index <= FIRST_INDEX

    def machine_at(self, index: int, genesis: Genesis) -> Machine:
        """The state after the entry at `index`.

        Raises:
            CommandFailed: the directory does not reach that index.
            StorageError: an entry needs a newer program, or a snapshot holds no state.
        """
        machine, start = self._start(index, genesis)
        for _ in self._applied(machine, start, index):
            pass
        return machine

    def replay(
        self, first: int, last: int, genesis: Genesis
    ) -> Iterator[tuple[LogEntry, Applied | None, Exchange]]:
        """Each entry from `first` to `last`, what it did, and the exchange after it.

        What it did is None for Raft's own entries; the exchange is live.
        """
        machine, start = self._start(first - 1, genesis)
        for entry, applied in self._applied(machine, start, last):
            if entry.index >= first:
                yield entry, applied, machine.exchange

    def check_reach(self, index: int, *, option: str = "--until") -> None:
        """Refuses an index whose state cannot be rebuilt from here; `option` is where it came
        from."""
        low, high = self.reach
        if not low <= index <= high:
            covers = f"covers {low} to {high}" if low <= high else "holds no usable state"
            raise CommandFailed(
                ExitCode.USAGE,
                f"{self.directory}: index {index} is out of reach; it {covers}",
                hint=f"choose another {option}",
            )

    def _start(self, index: int, genesis: Genesis) -> tuple[Machine, int]:
        """A machine at or below `index`, and the index it stands at."""
        for header, path in self._headers:
            if header.index > max(index, 0) or header.index < self._base_index:
                continue
            snapshot = self._load(header, path)
            if snapshot is None:
                continue
            machine = Machine(genesis, entries_kept=1)
            try:
                machine.restore(
                    snapshot.payload,
                    index=header.index,
                    expected_state_digest=header.state_digest,
                )
            except ProtocolError as error:
                self.skipped[path.name] = str(error)
                continue
            return machine, header.index
        if not self._is_whole:
            low, high = self.reach
            raise CommandFailed(
                ExitCode.USAGE,
                f"{self.directory}: no usable snapshot at or below index {index}; "
                f"it covers {low} to {high}",
                hint="choose a later index",
            )
        return Machine(genesis, entries_kept=1), 0

    def _applied(
        self, machine: Machine, start: int, last: int
    ) -> Iterator[tuple[LogEntry, Applied | None]]:
        for entry in self.entries(start + 1, last):
            try:
                yield entry, machine.apply(entry.index, entry.term, entry.payload)
            except ProtocolError as error:
                raise StorageError(
                    path=str(self.directory), reason=str(error), remedy="use a newer raftbook"
                ) from error

    def _read_headers(self) -> list[tuple[SnapshotHeader, Path]]:
        """Of this cluster's snapshots, newest first; what is wrong with the others is kept."""
        found = []
        for path in self.directory.rglob(SNAPSHOT_GLOB):
            try:
                with open(path, "rb") as file:
                    header = decode_header(file.read(HEADER_BYTES))
            except (OSError, ValueError) as error:
                self.skipped[path.name] = str(error)
                continue
            if (header.cluster_id, header.genesis_digest) != (
                self.identity.cluster_id,
                self.identity.genesis_digest,
            ):
                self.skipped[path.name] = f"belongs to cluster {header.cluster_id}"
                continue
            found.append((header, path))
        return sorted(found, key=lambda pair: (pair[0].index, pair[0].term), reverse=True)

    def _load(self, header: SnapshotHeader, path: Path) -> Snapshot | None:
        try:
            payload = path.read_bytes()[HEADER_BYTES:]
        except OSError as error:
            self.skipped[path.name] = str(error)
            return None
        if len(payload) != header.size or hashlib.sha256(payload).hexdigest() != header.sha256:
            self.skipped[path.name] = "the payload fails its checksum"
            return None
        return Snapshot(path, header, payload)

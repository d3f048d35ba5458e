"""How log and snapshots of one node fit each other: at its start, as the log grows, at an install.

Owns when a snapshot is made, when the log is trimmed behind it, and what a node starts from (F1 F5
F7 F11 F13). Must not know Raft's rules, peers, or how a snapshot is written or sent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from raftbook.errors import OutOfDescriptors, ProtocolError, StorageError
from raftbook.replica.machine import Machine
from raftbook.replica.reports import Reports
from raftbook.replica.shipping import SnapshotMaker
from raftbook.replica.upgrade import check_engine
from raftbook.storage.log_store import LogStore
from raftbook.storage.snapshot_header import SnapshotHeader
from raftbook.storage.snapshots import SnapshotKey, SnapshotStore
from raftbook.wire.entry import UnsupportedVersion

HELD_MAX: Final = 8
"""The log is kept for a peer that is being caught up as long as it is at most this many times as
long as what leads to a snapshot, in entries and in bytes: it is in memory."""

TIDY_AGAIN_S: Final = 1.0
"""When old snapshots that could not be removed just now are looked at again."""


class Compaction:
    """The log and the snapshots of one node.

    Args:
        needed_from: the index that the log should still go back to, for peers on their way.

    Attributes:
        snapshot_index: the newest snapshot known to be whole.
        failed_index: the last one that could not be written, 0 for none.
        making_index: the one being written, 0 for none.
        seconds: how long the last one took to be written and verified.
        snapshot_bytes: the size of the newest one.
    """

    def __init__(
        self,
        machine: Machine,
        log: LogStore,
        snapshots: SnapshotStore,
        maker: SnapshotMaker,
        *,
        every_entries: int,
        every_bytes: int,
        needed_from: Callable[[], int],
        reports: Reports,
        clock: Callable[[], float],
    ) -> None:
        self._machine, self._log, self._snapshots, self._maker = machine, log, snapshots, maker
        self._every_entries, self._every_bytes, self._reports = every_entries, every_bytes, reports
        self._needed_from, self._clock = needed_from, clock
        self.seconds = self._began = 0.0
        self.snapshot_bytes = 0
        self.snapshot_index = self.failed_index = self.making_index = 0
        self._bytes = 0  # applied since the last snapshot began
        self._tidy_at: float | None = None
        self._unusable: set[SnapshotKey] = set()  # what `align` could not start from
        self._is_wanted = False  # a snapshot on disk turned out to be damaged

    def align(self) -> int:
        """Make log and newest usable snapshot fit each other; the index the state then has.

        F1 F7 F11 F13: the log loses at most a prefix the snapshot covers, never its tail; a node
        whose state cannot be made whole refuses to start.

        Raises:
            StorageError: see above.
        """
        log = self._log
        problems: list[str] = []
        for file in self._snapshots.candidates():
            if file.header is None:
                problems.append(f"{file.path.name}: {file.problem}")
                continue
            if file.index < log.base_index:
                break
            try:
                self._restore(file.header)
            except UnsupportedVersion as error:
                raise StorageError(
                    path=str(file.path),
                    reason=str(error),
                    remedy="nothing is damaged: start the newer build on this directory",
                ) from error
            except OutOfDescriptors:
                raise  # the file may be whole
            except (StorageError, ProtocolError) as error:
                problems.append(str(error))
                self._unusable.add((file.index, file.term))
                continue
            self._fit_log(file.header)
            self.snapshot_index, self.snapshot_bytes = file.index, file.header.size
            return file.index
        if log.base_index == 1:
            return 1
        raise StorageError(
            path=str(self._snapshots.directory),
            reason=f"the log starts at {log.base_index} and no readable snapshot covers what was "
            f"before ({'; '.join(problems) or 'there is none'})",
            remedy="move this node's directory away and start it again: the others catch it up",
        )

    def install(self, header: SnapshotHeader) -> None:
        """Let the state and the log be those of a snapshot file that is whole."""
        self._restore(header)
        self._fit_log(header)
        self.snapshot_index, self.snapshot_bytes = header.index, header.size
        self._rewritten(header.index)
        self._tidy()

    def applied(self, payload_bytes: int) -> None:
        """An entry of this size was applied."""
        self._bytes += payload_bytes

    def begin(self, applied_index: int) -> int:
        """Begin a snapshot of the applied state, unless one is under way; its index."""
        is_newer = applied_index > self.snapshot_index or self._is_wanted
        if not self.making_index and is_newer:
            self._is_wanted = False
            self._bytes = 0
            self.making_index, self._began = applied_index, self._clock()
            self._reports.snapshot_started(applied_index)
            term = self._log.entries[applied_index - self._log.base_index][2]
            self._maker.start(applied_index, term)
        return self.making_index or self.snapshot_index

    def replace_damaged(self) -> None:
        """There is no snapshot to send, or one file less than was thought: make another soon."""
        self._is_wanted = True
        newest = self._snapshots.newest()
        self.snapshot_index = 0 if newest is None else newest.index

    def turn(self, applied_index: int, *, log_kept: int) -> None:
        """Snapshot when the log has grown, trim the log once the file is verified (F1 F5).

        Args:
            log_kept: entries kept before a snapshot.
        """
        if self._tidy_at is not None and self._clock() >= self._tidy_at:
            self._tidy()
        succeeded = self._maker.poll()
        if succeeded is not None:
            self._finish(succeeded=succeeded, log_kept=log_kept)
        grown = applied_index - max(self.snapshot_index, self.failed_index)
        is_long = grown >= self._every_entries or self._bytes > self._every_bytes
        if is_long or self._is_wanted:
            self.begin(applied_index)

    def _finish(self, *, succeeded: bool, log_kept: int) -> None:
        index, self.making_index = self.making_index, 0
        if not succeeded:
            self._reports.snapshot_failed(index)
            self.failed_index = index
        elif index > self.snapshot_index:
            older_index, self.snapshot_index = self.snapshot_index, index
            self.seconds = self._clock() - self._began
            # The log goes back to the older snapshot, so that one damaged file is no loss.
            self._rewritten(index)
            keep_from = self._held(min(index - log_kept, older_index))
            if keep_from > self._log.base_index:
                self._log.trim_to(keep_from)
            self._tidy()
            self._reports.snapshot_written(index, self._log.base_index)

    def _tidy(self) -> None:
        """Remove snapshots that are not needed any more, now or when that can be done."""
        self._tidy_at = None
        try:
            self._snapshots.prune(unusable=self._unusable)
            newest = self._snapshots.newest()
        except StorageError as error:
            if not error.passes:
                raise
            self._tidy_at = self._clock() + TIDY_AGAIN_S
            self._reports.snapshot_put_off("old snapshots are not removed yet", str(error))
            return
        self.snapshot_bytes = 0 if newest is None else newest.size

    def _rewritten(self, index: int) -> None:
        """A whole file stands at `index` now, whatever was there."""
        self._unusable = {key for key in self._unusable if key[0] != index}

    def _held(self, keep_from: int) -> int:
        """Keep more of the log than the snapshots ask for, within bounds, while a peer needs it."""
        log = self._log
        if log.bytes_in_tail > HELD_MAX * self._every_bytes:
            return keep_from
        longest = log.last_index - HELD_MAX * self._every_entries
        return min(keep_from, max(self._needed_from(), longest))

    def _fit_log(self, header: SnapshotHeader) -> None:
        log = self._log
        if log.base_index <= header.index <= log.last_index:
            if log.entries[header.index - log.base_index][2] == header.term:
                return
        if header.term > log.term:  # at a start: killed between an install's file and its sync
            log.set_vote(header.term, None)
        log.reset(header.index, header.term)

    def _restore(self, header: SnapshotHeader) -> None:
        check_engine(header)
        payload = self._snapshots.load(header)
        self._machine.restore(
            payload, index=header.index, expected_state_digest=header.state_digest
        )

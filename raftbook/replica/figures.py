"""The numbers of one replica, for whoever shows them.

Owns where they stand: queues, refusals, events of note, snapshots, and how long things take. Reads
only. Must not know names of metrics.
"""

from __future__ import annotations

from collections.abc import Mapping

from raftbook.core.types import Reject
from raftbook.replica.answers import Answers
from raftbook.replica.compaction import Compaction
from raftbook.replica.meter import Meter
from raftbook.replica.proposer import Forwarded, Proposer
from raftbook.replica.reports import Reports


class Figures:
    """Numbers as of now.

    Attributes:
        meter: how long things took.
    """

    def __init__(
        self,
        meter: Meter,
        *,
        proposer: Proposer,
        forwarded: Forwarded,
        answers: Answers,
        reports: Reports,
        compaction: Compaction,
    ) -> None:
        self.meter = meter
        self._proposer, self._forwarded, self._answers = proposer, forwarded, answers
        self._reports, self._compaction = reports, compaction

    @property
    def pending_bytes(self) -> int:
        """The size of the requests that wait for an answer."""
        return self._proposer.waiting_bytes

    @property
    def forwarded_count(self) -> int:
        """Requests that peers forwarded and that wait to be proposed here."""
        return len(self._forwarded)

    @property
    def occurrences(self) -> Mapping[str, int]:
        """How often each event of note happened since the start; see `reports`."""
        return self._reports.counts

    @property
    def refusals(self) -> Mapping[Reject, int]:
        """Requests that this node could not get into the log, or not for sure."""
        return self._answers.refused

    @property
    def snapshot_s(self) -> float:
        """How long the last snapshot took, 0 before the first."""
        return self._compaction.seconds

    @property
    def snapshot_bytes(self) -> int:
        """The size of the newest snapshot, 0 without one."""
        return self._compaction.snapshot_bytes

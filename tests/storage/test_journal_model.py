"""The journal and its stupid twin, a plain list, living the same random life."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from unittest import mock

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from raftbook.storage import journal as journal_module
from tests.storage.journal_samples import files_in, open_journal, put_files, state_of

# Bounds so small that old rows linger over many syncs, and checkpoints fall between them.
_SMALL_BOUNDS = {"TRIM_ROWS_PER_SYNC": 1, "CHECKPOINT_WAL_BYTES": 60_000}
_PAYLOADS = st.sampled_from([b"", b"a", b"bb" * 30, b"large" * 1500])
_FRACTION = st.integers(min_value=0, max_value=4)


class JournalModel(RuleBasedStateMachine):
    """The twin: `now` is what must be seen, `synced` what must survive."""

    @initialize()
    def start(self) -> None:
        self.bounds = mock.patch.multiple(journal_module, **_SMALL_BOUNDS)
        self.bounds.start()
        self.directory = Path(tempfile.mkdtemp(prefix="raftbook-test-"))
        self.journal = open_journal(self.directory / "node-1")
        self.now = ([(b"", 1, 0)], 0, None)
        self.synced = self.now

    def teardown(self) -> None:
        self.journal.close()
        self.bounds.stop()
        shutil.rmtree(self.directory)

    @rule(payloads=st.lists(_PAYLOADS, min_size=1, max_size=6))
    def append(self, payloads: list[bytes]) -> None:
        entries, term, voted_for = self.now
        entries = list(entries)
        for payload in payloads:
            index = entries[-1][1] + 1
            self.journal.append(payload, index, term)
            entries.append((payload, index, term))
        self.now = (entries, term, voted_for)

    @precondition(lambda self: len(self.now[0]) > 1)
    @rule(fraction=_FRACTION)
    def truncate_and_append(self, fraction: int) -> None:
        entries, term, voted_for = self.now
        keep = 1 + (len(entries) - 1) * fraction // 5
        self.journal.truncate_from(entries[keep][1])
        self.now = (entries[:keep], term, voted_for)
        self.append([b"instead"])

    @precondition(lambda self: len(self.now[0]) > 1)
    @rule()
    def truncate_last(self) -> None:
        entries, term, voted_for = self.now
        self.journal.truncate_from(entries[-1][1])
        self.now = (entries[:-1], term, voted_for)

    @rule(fraction=_FRACTION)
    def trim(self, fraction: int) -> None:
        entries, term, voted_for = self.now
        position = (len(entries) - 1) * fraction // 4
        _, index, base_term = entries[position]
        self.journal.trim_to(index)
        self.now = ([(b"", index, base_term), *entries[position + 1 :]], term, voted_for)

    @rule(step=st.integers(min_value=0, max_value=12))
    def reset(self, step: int) -> None:
        entries, term, voted_for = self.now
        index = entries[0][1] + step
        self.journal.reset(index, term)
        self.now = ([(b"", index, term)], term, voted_for)

    @rule(voted_for=st.sampled_from([None, 1, 2]))
    def new_term(self, voted_for: int | None) -> None:
        entries, term, _ = self.now
        self.journal.set_vote(term + 1, voted_for)
        self.now = (entries, term + 1, voted_for)

    @rule()
    def sync(self) -> None:
        wrote = self.journal.sync()
        assert wrote or self.synced == self.now
        assert not self.journal.dirty
        self.synced = self.now

    @rule()
    def stop_and_start(self) -> None:
        self.journal.close()
        self.now = self.synced
        self.journal = open_journal(self.directory / "node-1")

    @rule()
    def crash_and_start(self) -> None:
        files = files_in(self.directory / "node-1")
        self.journal.close()
        put_files(self.directory / "node-1", files)
        self.now = self.synced
        self.journal = open_journal(self.directory / "node-1")

    @invariant()
    def equals_the_list(self) -> None:
        if hasattr(self, "journal"):
            assert state_of(self.journal) == self.now


TestJournalModel = JournalModel.TestCase
TestJournalModel.settings = settings(max_examples=120, stateful_step_count=30, deadline=None)

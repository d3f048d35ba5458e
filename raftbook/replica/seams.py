"""Every place where PySyncObj is opened up, each with the defect it closes.

Owns the replacement of names inside the module `pysyncobj.syncobj` and the check that the
installed text is the one these replacements were written against. `raft.py` holds the methods
that are overridden. Defect ids are those of docs/GUARANTEES.md.

    name replaced          with                                  closes
    createJournal          the store handed to the constructor   F3 F5 F7 F13 S8
    Serializer             nothing: snapshots are our own files  F1 F11 S13
    pickle                 a refusal                             S1 S2 S3
    createPoller           nothing: asyncio owns the sockets     S4 S5
    PIPE_NOTIFIER_ENABLED  False: no command queue of theirs     S15
    monotonicTime          the clock handed to the constructor   (time is an input)
    random                 the generator handed to it            (chance is an input)
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, Protocol

import pysyncobj.syncobj as stock
from pysyncobj.node import Node as StockNode
from pysyncobj.syncobj import SyncObj
from pysyncobj.transport import Transport

from raftbook.storage.log_store import LogStore

SYNCOBJ_SHA256: Final = "e8bdf06797085d734df86e24ab4802fe87893dff77268565ec036f7ad4a1cfe4"

__all__ = ["ActiveNode", "Node", "Random", "SyncObj", "Transport", "activate", "install"]


class Node(StockNode):
    """A node by its number: equal and hashed by it, as PySyncObj's, which stands in every table by
    peer and whose own look-up goes through three calls.
    """

    __slots__ = ("id",)

    def __init__(self, node_id: int) -> None:
        object.__setattr__(self, "id", node_id)

    id: int

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Node) and self.id == other.id

    def __hash__(self) -> int:
        return self.id


class Random(Protocol):
    """Where chance comes from: `random.Random` or a simulator's."""

    def random(self) -> float:
        """A number in [0, 1)."""


class ActiveNode:
    """What the replaced module names answer with while one node is being stepped."""

    __slots__ = ("clock", "log", "now", "rng")

    def __init__(self, clock: Callable[[], float], rng: Random, log: LogStore) -> None:
        self.clock = clock
        self.now = clock()
        self.rng = rng
        self.log = log


_active: list[ActiveNode] = []


def activate(node: ActiveNode) -> None:
    """Let PySyncObj's module-level names speak for `node` until the next call.

    Several replicas may live in one process (a simulation): each activates itself on entry. Time
    stands still from here on, so that no deadline passes between two looks at it.
    """
    node.now = node.clock()
    _active[:] = [node]


class _JournalOfStore:
    """Our log under the names PySyncObj knows. Reads go to the list, changes to the store."""

    def __init__(self, log: LogStore) -> None:
        self._log = log

    def add(self, command: bytes, idx: int, term: int) -> None:
        self._log.append(command, idx, term)

    def __getitem__(self, item: Any) -> Any:
        return self._log.entries[item]

    def __len__(self) -> int:
        return len(self._log.entries)

    def setCurrentTerm(self, term: int, votedForNodeId: int | None) -> None:  # noqa: N802, N803
        self._log.set_vote(term, votedForNodeId)

    def getCurrentTerm(self) -> int:  # noqa: N802
        return self._log.term

    def getVotedForNodeId(self) -> int | None:  # noqa: N802
        return self._log.voted_for

    def setRaftCommitIndex(self, raftCommitIndex: int) -> None:  # noqa: N802, N803
        """F13: a commit index is never trusted over a log; it is learned again after a start."""

    def getRaftCommitIndex(self) -> int:  # noqa: N802
        return self._log.base_index

    def onOneSecondTimer(self) -> None:  # noqa: N802
        """Nothing is put off for a second: the driver syncs once per turn."""

    def _destroy(self) -> None:
        """Whoever opened the store closes it."""


class _NoPoller:
    """Sockets belong to asyncio."""

    def poll(self, timeout: float) -> None:
        """Nothing to poll."""


class _NoSerializer:
    """Snapshots are made, shipped and installed by our own code."""

    def __init__(self, *arguments: Any) -> None:
        pass


def _refuse(*arguments: Any, **options: Any) -> Any:
    raise AssertionError("pickle was reached: a path of PySyncObj that must be closed is open")


def install() -> None:
    """Replace the names; refuse any other text than the one they were chosen for.

    Raises:
        ImportError: another version of PySyncObj is installed.
    """
    found = sha256(Path(stock.__file__).read_bytes()).hexdigest()
    if found != SYNCOBJ_SHA256:
        raise ImportError(
            f"pysyncobj/syncobj.py has sha256 {found}; raftbook is written against "
            f"{SYNCOBJ_SHA256}: install pysyncobj==0.3.17"
        )
    stock.createJournal = lambda journal_file: _JournalOfStore(_active[0].log)
    stock.Serializer = _NoSerializer
    stock.pickle = SimpleNamespace(loads=_refuse, dumps=_refuse)
    stock.createPoller = lambda poller_type: _NoPoller()
    stock.PIPE_NOTIFIER_ENABLED = False
    stock.monotonicTime = lambda: _active[0].now
    stock.random = SimpleNamespace(random=lambda: _active[0].rng.random())


install()

"""Why a node has stopped taking part.

Owns the kinds of fences and what each is called. Must not know who fences, nor what happens then.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from raftbook.errors import StorageError
from raftbook.wire.entry import UnsupportedVersion


class Diverged(Exception):
    """A majority of the members has another state than this node."""


class FenceKind(StrEnum):
    """What kind of trouble; the values are told to clients and appear in logs."""

    DIVERGED = "diverged"
    """The majority's digest is another: this node's state is wrong."""
    NO_SPACE = "no_space"
    """The disk is full. Ends by itself: the node starts anew from what is on its disk."""
    STORAGE = "storage"
    """The disk failed. After a failed sync nobody knows what is on it: somebody must look."""
    TOO_OLD = "too_old"
    """The log needs rules that this build does not have: start a newer one in its place."""
    REMOVED = "removed"
    """The node does not belong to the cluster any more; what it holds can be read."""
    BROKEN = "broken"
    """A contradiction, or a bug: going on could make this replica differ."""


@dataclass(frozen=True, slots=True)
class Fence:
    """One fence. `index`: the last entry that this node has applied."""

    kind: FenceKind
    reason: str
    index: int


def kind_of(error: Exception) -> FenceKind:
    """The kind of fence that an error calls for."""
    if isinstance(error, Diverged):
        return FenceKind.DIVERGED
    if isinstance(error, StorageError):
        return FenceKind.NO_SPACE if error.passes else FenceKind.STORAGE
    if isinstance(error, UnsupportedVersion):
        return FenceKind.TOO_OLD
    return FenceKind.BROKEN

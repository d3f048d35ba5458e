"""What a replica needs from its log: the seam between Raft and the disk.

Owns the protocol that Journal fulfils on SQLite and a simulator fulfils in memory. Must not know
either of them.
"""

from __future__ import annotations

from typing import Protocol


class LogStore(Protocol):
    """The log, term and vote of one node: changes are seen at once, durable after `sync`."""

    @property
    def incarnation(self) -> str:
        """Random hex chosen at creation: a wiped node that comes back has another one."""

    @property
    def entries(self) -> list[tuple[bytes, int, int]]:
        """(payload, index, term), contiguous; entries[0] is the base, whose payload is gone.

        One list object for the life of the store: to be read and sliced, never changed.
        """

    @property
    def term(self) -> int:
        """The current term."""

    @property
    def voted_for(self) -> int | None:
        """Who got this node's vote in the current term."""

    @property
    def base_index(self) -> int:
        """The index of entries[0]."""

    @property
    def base_term(self) -> int:
        """The term of entries[0]."""

    @property
    def last_index(self) -> int:
        """The index of entries[-1]."""

    @property
    def last_term(self) -> int:
        """The term of entries[-1]."""

    @property
    def bytes_in_tail(self) -> int:
        """The payload bytes held in memory."""

    @property
    def dirty(self) -> bool:
        """Whether `sync` has anything to write."""

    def append(self, payload: bytes, index: int, term: int) -> None:
        """Adds the next entry: index is last_index + 1, term at least last_term."""

    def truncate_from(self, index: int) -> None:
        """Drops `index` and all that follows; the base cannot be dropped."""

    def trim_to(self, index: int) -> None:
        """Drops all before `index`, which becomes the base."""

    def reset(self, index: int, term: int) -> None:
        """Drops everything: an empty log whose base is (index, term)."""

    def set_vote(self, term: int, voted_for: int | None) -> None:
        """Changes the term, the vote or both; a term has one vote at most, and never sinks.

        A vote for 0, which is nobody's id, is none: it may replace one and be replaced by one.
        """

    def sync(self) -> bool:
        """Makes all changes durable in one step; True if there were any.

        Raises:
            StorageError: nothing may be acknowledged any more; the node must stop. From then on
                every change and every sync raises the same.
        """

    def close(self) -> None:
        """Gives everything back; changes not synced are lost. May be called twice."""

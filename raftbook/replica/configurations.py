"""Which membership is in force: the newest in the log, committed or not.

Owns the memberships from the committed one on, as the log is extended, cut and replaced. Must not
know what follows from a membership.

A membership takes force when it is appended, on the leader as on followers, and loses it when its
entry is cut away. That is the rule of Raft's single-server change (Ongaro, section 4.1): any
majority of one membership and any majority of the next have a node in common, so it does not
matter which of the two a node uses, as long as no third one is begun. A leader begins the next one
only when the last is committed, and its first one only when an entry of its own term is: without
that, two leaders that each left a change behind could use memberships that are two steps apart
(https://groups.google.com/g/raft-dev/c/t4xj6dJTP6E). To wait until a membership is committed would
be no safer, and would let a node count votes by a membership that a majority has left behind.
"""

from __future__ import annotations

from raftbook.replica.membership import MEMBERSHIP, Membership, read_payload
from raftbook.storage.log_store import LogStore


class Configurations:
    """The memberships of one node's log, the committed one first.

    Args:
        base: as of `applied_index`: a snapshot's, or the configured list. Memberships in the log
            beyond it are taken up at once, before anything is decided (F15).
    """

    def __init__(self, base: Membership, log: LogStore, *, applied_index: int) -> None:
        self._log = log
        self._stack = [base]
        self._take_up(applied_index)

    @property
    def newest(self) -> Membership:
        """The membership in force."""
        return self._stack[-1]

    @property
    def replaced(self) -> Membership | None:
        """What the newest one replaces, as long as that is not known to be committed."""
        return self._stack[-2] if len(self._stack) > 1 else None

    def committed(self, commit_index: int) -> Membership:
        """The newest one that is committed, or what came before all in the log."""
        newest = self._stack[-1]
        if newest.index <= commit_index:
            return newest  # as almost always, and it is asked for several times a turn
        for membership in reversed(self._stack):
            if membership.index <= commit_index:
                return membership
        return self._stack[0]

    def appended(self, payload: bytes, index: int) -> bool:
        """An entry was appended; whether it is a membership, now in force.

        Raises:
            ProtocolError: it says it is one and is not.
        """
        if payload[:1] != MEMBERSHIP:
            return False
        self._stack.append(read_payload(payload, index))
        return True

    def cut(self, index: int) -> bool:
        """The log lost `index` and all that followed; whether an older membership is in force."""
        count = len(self._stack)
        while len(self._stack) > 1 and self._stack[-1].index >= index:
            self._stack.pop()
        return len(self._stack) < count

    def forget_before(self, commit_index: int) -> bool:
        """Let go of what was replaced by a committed one; whether there was any."""
        count = len(self._stack)
        while len(self._stack) > 1 and self._stack[1].index <= commit_index:
            del self._stack[0]
        return len(self._stack) < count

    def installed(self, membership: Membership, index: int) -> None:
        """The state is now that of a snapshot of `index`; the log holds what follows it."""
        self._stack = [membership]
        self._take_up(index)

    def _take_up(self, applied_index: int) -> None:
        for payload, index, _ in self._log.entries[1:]:
            if index > applied_index:
                self.appended(payload, index)

"""The invariants of a membership that changes.

Owns what the committed log says of members, and that every node agrees with it.

    membership   of consecutive memberships at most one voter differs, as (id, journal); a voter was
                 a learner before; ids of removed nodes never return; a leader begins no change
                 before the last one is committed
                 nodes that applied as much have the same members, and so do nodes that committed as
                 much; who begins to lead goes by the newest membership in its log
    removed      a node stops as removed only if it was; who knows of a removal gives the removed
                 node no vote; who knows that it was removed does not lead

A removed node may lead once more as long as no voter of its knows that the removal is committed:
the leader that commits it may be the only one to know, and die (Ongaro, section 4.2.2).
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import replace
from typing import TYPE_CHECKING

from raftbook.replica.membership import MEMBERSHIP, Membership, read_payload

if TYPE_CHECKING:
    from tests.sim.checks import Checks
    from tests.sim.node import Host


class MemberChecks:
    """The watch over the members of one run.

    Attributes:
        committed: all memberships of the committed log, in order.
        voters_ever: the ids that counted in any of them; before the founding, the founders.
    """

    def __init__(self, checks: Checks, founders: tuple[int, ...]) -> None:
        self._checks = checks
        self._founders = founders
        self.committed: list[Membership] = []
        self._indexes: list[int] = []
        self.voters_ever: set[int] = set(founders)
        self._agreed: dict[tuple[int, str], tuple[int, Membership | None, Membership | None]] = {}

    @property
    def newest(self) -> Membership | None:
        """The newest committed membership, None before the founding."""
        return self.committed[-1] if self.committed else None

    @property
    def ids(self) -> tuple[int, ...]:
        """All members as of the last committed entry."""
        return self.committed[-1].ids if self.committed else self._founders

    @property
    def retired(self) -> tuple[int, ...]:
        """The ids of all nodes whose removal is committed."""
        return self.committed[-1].retired if self.committed else ()

    def as_of(self, index: int) -> Membership | None:
        """The members after a committed entry."""
        position = bisect_right(self._indexes, index)
        return self.committed[position - 1] if position else None

    # -- the committed log ------------------------------------------------------------------------

    def entry_committed(self, index: int, payload: bytes) -> None:
        """The next entry is committed; it may be a membership."""
        if payload[:1] != MEMBERSHIP:
            return
        after = read_payload(payload, index)
        if self.committed:
            self._check_step(self.committed[-1], after)
        self.committed.append(after)
        self._indexes.append(index)
        self.voters_ever.update(after.voter_ids)

    def _check_step(self, before: Membership, after: Membership) -> None:
        said = f"entry {after.index} goes from {_short(before)} to {_short(after)}"
        old, new = _voters(before), _voters(after)
        hold = self._checks.hold
        hold(len(old ^ new) <= 1, "membership", f"{said}: more than one voter differs")
        promoted = {node_id for node_id, _ in new - old}
        hold(
            promoted <= set(before.learner_ids),
            "membership",
            f"{said}: {sorted(promoted)} voted without having been learners",
        )
        gone = set(before.ids) - set(after.ids)
        hold(
            set(after.retired) == {*before.retired, *gone}
            and not set(after.ids) & {*before.retired, *gone}
            and after.founding == before.founding,
            "membership",
            f"{said}: retired {before.retired} became {after.retired}",
        )

    # -- what nodes take for it -------------------------------------------------------------------

    def turn_ended(self, host: Host) -> None:
        """After a turn that did not fence the node, and after its commits were noted."""
        raft, machine = host.replica.raft, host.replica.machine
        self._agrees(host, "applied", raft.applied_index, machine.membership)
        known = raft.committed_membership
        self._agrees(host, "committed", raft.commit_index, known if known.is_founded else None)
        if raft.is_leader:
            self._check_leader(host)

    def _agrees(self, host: Host, done: str, index: int, found: Membership | None) -> None:
        # Neither a membership nor who were members after a committed entry ever changes: what
        # agreed after the last turn agrees now.
        agreed = self._agreed.get((host.node_id, done), (0, None, None))
        if agreed[0] == index and agreed[1] is found:
            return
        expected = self.as_of(index)
        if found is None or expected is None:
            is_same = found is expected
        else:
            is_same = (agreed[1] is found and agreed[2] is expected) or _same(found, expected)
        if not is_same:
            self._checks.fail(
                "membership",
                f"{host.name} has {done} entry {index} and takes {_short(found)} for the members, "
                f"not {_short(expected)}",
            )
        self._agreed[host.node_id, done] = (index, found, expected)

    def _check_leader(self, host: Host) -> None:
        raft = host.replica.raft
        if raft.removed_by is not None:
            self._checks.fail(
                "removed",
                f"{host.name} goes on leading after its removal in entry {raft.removed_by}",
            )
        replaced, newest = raft._configurations.replaced, raft.membership
        if replaced is None or newest.index <= raft.commit_index:
            return
        entries = host.log.entries
        self._checks.hold(
            replaced.index <= raft.commit_index
            or entries[newest.index - entries[0][1]][2] != raft.term,
            "membership",
            f"{host.name} begins {_short(newest)} in entry {newest.index} while the change in "
            f"entry {replaced.index} is not committed",
        )

    def leads(self, host: Host) -> None:
        """A node begins to lead: it must go by the newest membership of its log."""
        raft, entries = host.replica.raft, host.log.entries
        for payload, index, _ in reversed(entries):
            if payload[:1] == MEMBERSHIP:
                in_log: Membership | None = read_payload(payload, index)
                break
        else:
            in_log = self.as_of(entries[0][1])
        if in_log is not None:
            self._checks.hold(
                _same(raft.membership, in_log),
                "membership",
                f"{host.name} leads {_short(raft.membership)}, its log says {_short(in_log)}",
            )

    def voted(self, host: Host, candidate: int) -> None:
        """A vote leaves. It was given before whatever its node learned later in the same turn."""
        self._checks.hold(
            candidate not in host.knew_retired,
            "removed",
            f"{host.name} votes for n{candidate}, and knew before that it was removed",
        )

    def in_force(self, host: Host) -> list[Membership]:
        """The two by one of which a leader may have counted in its last turn: the newest, and what
        that replaces. Read from its disk, since it may be gone.
        """
        found: list[Membership] = []
        entries = host.disk.synced.entries
        for payload, index, _ in reversed(entries):
            if payload[:1] == MEMBERSHIP:
                found.append(read_payload(payload, index))
                if len(found) == 2:
                    return found
        before = self.as_of(entries[0][1])
        return found if before is None else [*found, before]


def _voters(membership: Membership) -> set[tuple[int, str]]:
    return {(each.node_id, each.incarnation) for each in membership.members if each.is_voter}


def _same(one: Membership, other: Membership) -> bool:
    """Equal but for where they were read: a snapshot says only as of which entry."""
    return one is other or replace(one, index=0) == replace(other, index=0)


def _short(membership: Membership | None) -> str:
    if membership is None or not membership.is_founded:
        return "nobody"
    voters = [f"{node_id} on disk {int(disk, 16)}" for node_id, disk in sorted(_voters(membership))]
    learners = f" and learners {list(membership.learner_ids)}" if membership.learner_ids else ""
    return f"[{', '.join(voters)}]{learners}"

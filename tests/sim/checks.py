"""The invariants that are watched while a cluster runs.

Owns what must hold at every turn, every sync and every vote. What can only be judged with the whole
history at hand is in `history.py`. A `Violation` names the invariant; it ends the run.

    leader       one leader per term, and it holds everything committed in earlier terms
    vote         one vote per node and term, on the disk and on the wire, over restarts
    matching     (index, term) names one payload and one past, on all disks
    match        what a leader counts as acknowledged is on the acknowledger's disk
    commit       a commit index covers only what a majority has synced
    committed    a committed entry never changes, and no disk gives one up once it knows the term in
                 which it was committed
    apply        gap-free, never twice, only what is committed
    digest       equal at every index
    fence        a node stops only for an error that was injected
    release      a node never applies what only a newer release can
    start        a node starts whole or refuses with a reason
    book         the book is sound

What must hold of the members is in `member_checks.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from raftbook.core import invariants
from raftbook.replica.fences import Fence, FenceKind
from raftbook.replica.membership import Membership
from tests.sim.log import State
from tests.sim.member_checks import MemberChecks

if TYPE_CHECKING:
    from tests.sim.node import Host
    from tests.sim.world import World

BOOK_CHECK_EVERY = 150
"""Entries between two full checks of a node's book."""


class Violation(BaseException):
    """An invariant does not hold. No handler of production code catches it."""

    def __init__(self, invariant: str, message: str) -> None:
        super().__init__(f"{invariant}: {message}")
        self.invariant = invariant


class _DiskObserver:
    def __init__(self, checks: Checks, host: Host) -> None:
        self._checks, self._host = checks, host

    def synced(self, before: State, after: State, first_changed: int) -> None:
        self._checks.synced(self._host, before, after, first_changed)


class Checks:
    """The watch over one run.

    Attributes:
        committed: (payload, term) of each committed entry by index.
        committed_in: the term in which each was first taken for committed. Votes that come late can
            still make a leader of an earlier term: that one need not hold it.
        last_committed: the highest index of them.
        digests: the rolling digest after each applied entry, by index.
        members: the watch over who belongs to the cluster.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self.violation: Violation | None = None
        self.committed: dict[int, tuple[bytes, int]] = {1: (b"", 0)}
        self.committed_in: dict[int, int] = {1: 0}
        self.last_committed = 1
        self.digests: dict[int, str] = {}
        self.leader_of_term: dict[int, int] = {}
        self._votes_on_disk: dict[tuple[int, int, int], int] = {}
        self._votes_sent: dict[tuple[int, int, int], int] = {}
        self._named: dict[tuple[int, int], tuple[bytes, int]] = {(1, 0): (b"", -1)}
        self._commit_seen: dict[int, int] = {}
        self._applied_seen: dict[int, int] = {}
        self._checked_at: dict[int, int] = {}
        self._matched: dict[tuple[int, int], tuple[State, int, int]] = {}
        self.members = MemberChecks(self, world.node_ids)

    def observer(self, host: Host) -> _DiskObserver:
        """Who watches this host's disk."""
        return _DiskObserver(self, host)

    # -- disks and votes --------------------------------------------------------------------------

    def synced(self, host: Host, before: State, after: State, first_changed: int) -> None:
        """A transaction became durable."""
        if after.voted_for is not None and after[1:] != before[1:]:
            key = (host.node_id, host.disk.incarnation, after.term)
            known = self._votes_on_disk.setdefault(key, after.voted_for)
            self.hold(
                known == after.voted_for,
                "vote",
                f"{host.name} votes for {after.voted_for} in term {after.term}, after {known}",
            )
        if after.term < before.term:
            self.fail("vote", f"{host.name} goes back to term {after.term}")
        self._check_rows(host, after, first_changed)
        self._check_given_up(host, before, after)
        self._world.trace("sync", host.node_id, after.term, after.entries[-1][1:])

    def _check_rows(self, host: Host, after: State, first_changed: int) -> None:
        entries = after.entries
        base = entries[0][1]
        for position in range(max(first_changed - base, 1), len(entries)):
            payload, index, term = entries[position]
            past_term = entries[position - 1][2]
            known = self._named.setdefault((index, term), (payload, past_term))
            if known[0] != payload or known[1] != past_term:
                self.fail(
                    "matching",
                    f"{host.name} holds another entry {index} of term {term} (or past) "
                    "than was seen",
                )

    def _check_given_up(self, host: Host, before: State, after: State) -> None:
        """Whatever a disk held of the committed entries it still holds, or has in a snapshot."""
        last = min(before.entries[-1][1], self.last_committed)
        base = after.entries[0][1]
        if before.entries is after.entries or last < base:
            return
        if after.entries[-1][1] >= last and holds(after, last, self.committed[last][1]):
            return
        for index in range(max(base, before.entries[0][1]) + 1, last + 1):
            term = self.committed[index][1]
            if self.committed_in[index] > after.term:
                continue
            if holds(before, index, term) and not holds(after, index, term):
                self.fail(
                    "committed", f"{host.name} gives up committed entry {index} of term {term}"
                )

    def voted(self, host: Host, term: int, candidate: int) -> None:
        """A vote leaves for its candidate."""
        node_id, state = host.node_id, host.disk.synced
        self.hold(
            state.term > term or (state.term, state.voted_for) == (term, candidate),
            "vote",
            f"{host.name} votes for n{candidate} in term {term}, but its disk says {state[1:]}",
        )
        known = self._votes_sent.setdefault((node_id, host.disk.incarnation, term), candidate)
        self.hold(
            known == candidate,
            "vote",
            f"n{node_id} gave its vote of term {term} to n{known} and to n{candidate}",
        )
        self.members.voted(host, candidate)

    # -- turns ------------------------------------------------------------------------------------

    def told(self, host: Host, commit_index: int) -> None:
        """A leader tells a peer what is committed, maybe before the sync of its turn."""
        if host.replica.raft.is_leader and commit_index > self._commit_seen.get(host.node_id, 0):
            self._committed_up_to(host, commit_index)

    def turn_ended(self, host: Host) -> None:
        """A turn is over and its sync is done, unless it fenced the node."""
        replica = host.replica
        if replica.fence is not None:
            self._fenced(host, replica.fence)
            return
        raft = replica.raft
        if raft.is_leader and self.leader_of_term.get(raft.term) != host.node_id:
            self._leads(host)
        if raft.is_leader:
            self._check_matches(host)
        commit_index = raft.commit_index
        if commit_index > self._commit_seen.get(host.node_id, 0):
            self._committed_up_to(host, commit_index)
        if host.applied:
            self._applied(host)
        self.members.turn_ended(host)

    def _fenced(self, host: Host, fence: Fence) -> None:
        if fence.kind is FenceKind.REMOVED:
            is_removed = host.node_id in self.members.retired
            self.hold(is_removed, "removed", f"{host.name} is fenced: {fence.reason}")
        elif not host.expects_fence:
            self.fail("fence", f"{host.name} is fenced: {fence.reason}")
        self._world.fenced(host, fence)

    def _leads(self, host: Host) -> None:
        term = host.replica.raft.term
        known = self.leader_of_term.setdefault(term, host.node_id)
        self.hold(known == host.node_id, "leader", f"n{known} and {host.name} lead in term {term}")
        self._world.note(host.name, f"leads in term {term}")
        given = {v for (v, _, t), to in self._votes_sent.items() if (t, to) == (term, known)}
        self.hold(
            host.replica.raft.membership.is_majority(given),
            "leader",
            f"{host.name} leads in term {term} with the votes of {sorted(given)} only",
        )
        self.members.leads(host)
        state = host.disk.synced
        for index in range(state.entries[0][1], self.last_committed + 1):
            if self.committed_in.get(index, term) >= term:
                continue
            if not holds(state, index, self.committed[index][1]):
                self.fail(
                    "leader", f"{host.name} leads in term {term} without committed entry {index}"
                )

    def _check_matches(self, host: Host) -> None:
        """What a leader counts as acknowledged is on the acknowledger's disk."""
        raft, entries = host.replica.raft, host.log.entries
        base, own_term, lost_disks = entries[0][1], raft.term, self._world.lost_disks
        for peer in self._world.hosts:
            state = peer.disk.synced
            if peer is host or state.term > own_term or peer.node_id in lost_disks:
                continue  # a leader of the past counts in vain; a lost disk is P1's matter
            match = raft.match_index(peer.node_id) or 0
            if match <= base:
                continue
            term = entries[match - base][2]
            key = (host.node_id, peer.node_id)
            seen = self._matched.get(key)
            if seen is not None and seen[0] is state and seen[1] == match and seen[2] == term:
                continue  # a state never changes: what it held at the last turn it holds now
            if not holds(state, match, term):
                self.fail(
                    "match",
                    f"{host.name} counts entry {match} as held by {peer.name}, whose disk ends at "
                    f"{state.entries[-1][1:]}",
                )
            self._matched[key] = (state, match, term)

    def _committed_up_to(self, host: Host, commit_index: int) -> None:
        seen = self._commit_seen.get(host.node_id, 0)
        self._commit_seen[host.node_id] = commit_index
        entries = host.log.entries
        base = entries[0][1]
        if commit_index > entries[-1][1]:
            self.fail(
                "commit",
                f"{host.name} has commit index {commit_index} beyond its log {entries[-1][1]}",
            )
        for index in range(max(seen, base) + 1, commit_index + 1):
            payload, _, term = entries[index - base]
            known = self.committed.get(index)
            if known is None:
                self._first_commit(host, index, payload, term)
            elif known != (payload, term):
                self.fail(
                    "committed",
                    f"entry {index} has term {term} on {host.name}, term {known[1]} elsewhere",
                )

    def _first_commit(self, host: Host, index: int, payload: bytes, term: int) -> None:
        holders = [
            each.node_id
            for each in self._world.hosts
            if holds(each.disk.synced, index, term) or each.node_id in self._world.lost_disks
        ]
        self.hold(
            any(each.is_majority(holders) for each in self._may_have_counted(host)),
            "commit",
            f"{host.name} takes entry {index} of term {term} for committed, "
            f"but only nodes {holders} have it on disk",
        )
        if index != self.last_committed + 1:
            self.fail("commit", f"entry {index} is committed after {self.last_committed}")
        self.committed[index] = (payload, term)
        self.committed_in[index] = host.replica.raft.term
        self.last_committed = index
        self._world.commit_seen(index, payload)
        self.members.entry_committed(index, payload)

    def _may_have_counted(self, host: Host) -> list[Membership]:
        """The memberships by one of which the leader of this node's term counted."""
        raft = host.replica.raft
        found = [raft.membership, raft.committed_membership]
        leader_id = self.leader_of_term.get(raft.term)
        if not raft.is_leader and leader_id is not None:  # it told this node, and died before us
            found += self.members.in_force(self._world.host(leader_id))
        return found

    def _applied(self, host: Host) -> None:
        last = self._applied_seen.get(host.node_id, 1)
        for index, term, payload, digest in host.applied:
            if term == -1:
                self.hold(index >= last, "apply", f"{host.name} goes back from {last} to {index}")
            elif index != last + 1:
                self.fail("apply", f"{host.name} applies entry {index} after {last}")
            elif self.committed.get(index) != (payload, term):
                self.fail(
                    "apply", f"{host.name} applies entry {index}, which is not the committed one"
                )
            last = index
            self._check_digest(host, index, digest)
        self._applied_seen[host.node_id] = last
        host.applied.clear()
        if last >= self._checked_at.get(host.node_id, 0) + BOOK_CHECK_EVERY:
            self.check_book(host)

    def brought(self, host: Host, engine_version: int) -> None:
        """A node's state is by the rules of this engine version. Whoever was removed may hear of
        more behind that, in the same message: no upgrade waited for it."""
        own = host.engine_version
        if engine_version > own and host.node_id not in self.members.retired:
            what = f"{host.name} of engine version {own} is brought version {engine_version}"
            self.fail("release", what)

    def _check_digest(self, host: Host, index: int, digest: str) -> None:
        if self.digests.setdefault(index, digest) != digest:
            self.fail("digest", f"{host.name} differs after entry {index}")

    def check_book(self, host: Host) -> None:
        """The full check of one node's exchange."""
        self._checked_at[host.node_id] = host.replica.raft.applied_index
        try:
            invariants.check(host.replica.machine.exchange)
        except AssertionError as error:
            self.fail("book", f"{host.name}: {error}")

    # -- processes --------------------------------------------------------------------------------

    def started(self, host: Host) -> None:
        """A process has opened its disk and is about to run."""
        replica, base = host.replica, host.disk.synced.entries[0][1]
        applied = replica.raft.applied_index
        self.hold(
            applied >= base, "start", f"{host.name} starts at {applied}, its log begins at {base}"
        )
        self.hold(
            replica.last_index >= host.disk.synced.entries[-1][1],
            "start",
            f"{host.name} starts with {replica.last_index} of its entries",
        )
        if applied > 1:
            self.hold(applied <= self.last_committed, "start", f"{host.name} starts at {applied}")
            digest = replica.machine.exchange.digest.value()
            self._check_digest(host, applied, digest)
        self._applied_seen[host.node_id] = applied
        self._commit_seen[host.node_id] = applied
        self._checked_at[host.node_id] = applied
        host.applied.clear()

    def process_ended(self, host: Host) -> None:
        """The process is gone; what it did in its last turn nobody was told."""
        loop = host._gone
        if loop.failures:
            self.fail("process", f"{host.name}: {loop.failures[0]}")

    def look_at_loops(self) -> None:
        """No callback of a node has ended in an exception."""
        for host in self._world.hosts:
            if host.loop is not None and host.loop.failures:
                self.fail("process", f"{host.name}: {host.loop.failures[0]}")

    def hold(self, condition: bool, invariant: str, message: str) -> None:
        """End the run unless the condition holds."""
        if not condition:
            self.fail(invariant, message)

    def fail(self, invariant: str, message: str) -> NoReturn:
        """End the run; also where a task would keep to itself what is raised in it."""
        self.violation = Violation(invariant, message)
        raise self.violation


def holds(state: State, index: int, term: int) -> bool:
    """Whether a disk holds this entry, or had it before its log was trimmed."""
    entries = state.entries
    position = index - entries[0][1]
    if position < 0:
        return True
    return position < len(entries) and entries[position][2] == term

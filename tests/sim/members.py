"""Faults of membership: nodes that join, leave, and come back although they left.

Owns what an operator asks of a cluster in trouble, and what it must not ask: never may so many
voters be gone, with or without their disks, that nothing could be committed for ever. Whether the
cluster does right is `member_checks`'s to judge.

They are drawn beside the other faults, from numbers of their own, in about half of all seeds: what
the other half shows does not depend on what is here.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from raftbook.gateway.queries import QueryError
from tests.sim.faults import Fault, is_calm

if TYPE_CHECKING:
    from tests.sim.node import Host
    from tests.sim.profile import Profile
    from tests.sim.world import World

MEMBER_KINDS: dict[str, float] = {
    "add": 4.0,
    "remove": 2.0,
    "remove_leader": 1.5,
    "remove_dead": 1.0,
    "return_removed": 2.0,
    "overlap": 2.5,
}
HOSTS_MORE_MAX = 3
"""So many nodes join a cluster in one run."""
VOTERS_MIN = 2
_SHARE = 0.5
_REMOVED_AFTER_S = 1.0
"""An operator who sees that a node is dead needs a moment to remove it."""


def draw_member_faults(
    seed: int, profile: Profile, seconds: float, *, wanted: bool | None, first: int
) -> list[Fault]:
    """The membership faults of a seed.

    Args:
        wanted: whether there are any; the seed decides when None.
        first: their numbers begin here.
    """
    rng = random.Random(f"{seed}/members")
    has_any = rng.random() < _SHARE
    if not (has_any if wanted is None else wanted):
        return []
    gap_s = rng.choice((1.0, 2.0, 4.0))
    kinds, weights = list(MEMBER_KINDS), list(MEMBER_KINDS.values())
    faults: list[Fault] = []
    at_s = 1.0
    while True:
        at_s += rng.expovariate(1.0 / gap_s)
        if at_s >= seconds:
            return faults
        if is_calm(at_s, profile):
            continue
        faults.append(
            Fault(
                number=first + len(faults),
                at_s=at_s,
                kind=rng.choices(kinds, weights)[0],
                node=rng.randrange(1_000),
                other=rng.randrange(1_000),
                seconds=rng.choice((0.05, 0.3, 1.0, 3.0, 6.0)) * (0.5 + rng.random()),
                share=rng.random(),
            )
        )


class MemberFaults:
    """Carries out what an operator does to the membership.

    Attributes:
        leaving: nodes that an operator asked to remove, until a majority has written it down. Once
            asked for, a removal may take effect at any later time, whatever the answer was.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._leaving: set[int] = set()
        self._last_id = world.node_ids[-1]

    # -- what may go ------------------------------------------------------------------------------

    @property
    def leaving(self) -> set[int]:
        self._leaving -= set(self._world.checks.members.retired)
        return self._leaving

    def _counted(self) -> list[Host]:
        """The members that count, or did before they lost their disks."""
        voters_ever = self._world.checks.members.voters_ever
        return [host for host in self._world.member_hosts() if host.node_id in voters_ever]

    def may_damage(self, host: Host) -> bool:
        """P1 is about a minority of disks: the others must remember all they promised."""
        members, counted = self._world.member_hosts(), self._counted()
        if host not in members:
            return False
        lost = self._world.lost_disks
        spoiled = [
            each
            for each in members
            if each is not host
            and not each.is_whole
            and (each in counted or each.node_id in lost or each.was_damaged)
        ]
        size = len(counted) - len([each for each in counted if each.node_id in self.leaving])
        return len(spoiled) + 1 <= (size - 1) // 2

    def _may_leave(self, victim: Host, *, at_once: int = 1) -> bool:
        """Whether the others can go on without it, and with no more damage than P1 speaks of."""
        gone = {*self.leaving, victim.node_id}
        counted = self._counted()
        stay = [host for host in counted if host.node_id not in gone]
        # Of two removals only one may come about, and whom it concerns stays in this count.
        spoiled = [host for host in (stay if len(gone) == 1 else counted) if not host.is_whole]
        return (
            len(gone) <= at_once
            and len(stay) >= VOTERS_MIN
            and len(spoiled) <= (len(stay) - 1) // 2
            and any(host.node_id in self._world.node_ids for host in stay)  # whom all clients know
        )

    # -- asking -----------------------------------------------------------------------------------

    def _ask(self, host: Host, verb: str, arguments: dict[str, Any]) -> None:
        """Ask a node as the command line does: what it answers is for the timeline only."""
        loop, world = host.loop, self._world
        if loop is None:
            return

        async def asked() -> None:
            try:
                answer = await getattr(host.verbs, verb)(arguments)
            except QueryError as error:
                world.note(host.name, f"{verb} {arguments['node_id']}: {error.message}")
            except Exception as error:  # a task keeps it to itself
                loop.failures.append(f"{type(error).__name__}: {error}")
            else:
                world.note(host.name, f"{verb} {arguments['node_id']}: {answer}")

        host.asked.append(loop.create_task(asked()))

    def _ask_to_add(self, host: Host) -> str:
        world = self._world
        if self._last_id - len(world.node_ids) >= HOSTS_MORE_MAX:
            return ""
        self._last_id += 1
        node_id = self._last_id
        self._expect(node_id)
        self._ask(host, "add", {"node_id": node_id, **world.address(node_id)})
        return f"{host.name} is asked to add n{node_id}"

    def _expect(self, node_id: int) -> None:
        """A new machine asks until it is a member; then it gets its list of nodes and starts."""
        world = self._world
        for host in world.hosts:
            if host.is_running and host.replica.fence is None:
                known = host.replica.raft.committed_membership
                if known.get(node_id) is not None:
                    world.note("*", f"n{node_id} is set up, as told by {host.name}")
                    world.set_up(node_id, known)
                    return
        world.clockwork.after(0.3, self._expect, node_id)

    def is_sound(self) -> bool:
        """Every member has its machine and votes, and who was removed knows it, if told."""
        world = self._world
        newest, members = world.checks.members.newest, world.member_hosts()
        if newest is None or newest.learner_ids or len(members) != len(newest.members):
            return False
        strays = [
            host
            for host in world.hosts
            if host not in members
            and host.is_running
            and host.replica.fence is None
            and set(host.replica.peer_ids) & set(newest.ids)
        ]
        return not strays

    def _ask_to_remove(self, host: Host, victim: Host) -> str:
        self._leaving.add(victim.node_id)
        self._ask(host, "remove", {"node_id": victim.node_id})
        return f"{host.name} is asked to remove {victim.name}"

    def _victim(self, number: int) -> Host:
        members = self._world.member_hosts()
        return members[number % len(members)]

    # -- kinds ------------------------------------------------------------------------------------

    def add(self, fault: Fault) -> str:
        """A new node, or now and then the id of one that was removed."""
        leader, retired = self._world.leader(), sorted(self._world.checks.members.retired)
        if leader is None:
            return ""
        if retired and fault.share > 0.85:
            node_id = retired[fault.other % len(retired)]
            self._ask(leader, "add", {"node_id": node_id, **self._world.address(node_id)})
            return f"{leader.name} is asked to add n{node_id} again"
        return self._ask_to_add(leader)

    def remove(self, fault: Fault) -> str:
        """Any member, through the leader."""
        leader, victim = self._world.leader(), self._victim(fault.node)
        if leader is None or not self._may_leave(victim):
            return ""
        return self._ask_to_remove(leader, victim)

    def remove_leader(self, fault: Fault) -> str:
        """The leader removes itself."""
        leader = self._world.leader()
        if leader is None or not self._may_leave(leader):
            return ""
        return self._ask_to_remove(leader, leader)

    def remove_dead(self, fault: Fault) -> str:
        """A node dies, and is removed instead of mended; it comes back later all the same."""
        victim = self._victim(fault.node)
        if not victim.is_running or not self._may_leave(victim):
            return ""
        victim.kill()
        self._world.restart_later(victim, _REMOVED_AFTER_S + 1.0 + fault.seconds)
        self._world.clockwork.after(_REMOVED_AFTER_S, self._remove_later, victim)
        return f"{victim.name} is killed, and is to be removed"

    def _remove_later(self, victim: Host) -> None:
        leader = self._world.leader()
        if self._world.is_healing or leader is None or not self._may_leave(victim):
            return
        self._world.note("*", self._ask_to_remove(leader, victim))

    def return_removed(self, fault: Fault) -> str:
        """A removed node is started again on its old disk."""
        retired = self._world.checks.members.retired
        removed = [host for host in self._world.hosts if host.node_id in retired]
        if not removed:
            return ""
        host = removed[fault.node % len(removed)]
        host.kill()
        self._world.restart_later(host, fault.seconds / 4)
        return f"{host.name}, which was removed, is started again"

    def overlap(self, fault: Fault) -> str:
        """Two changes at once: of one leader, of all who believe that they lead, or of an old
        leader that is cut off and of its successor.
        """
        world, leader = self._world, self._world.leader()
        if leader is None:
            return ""
        if fault.share < 0.5:
            self._cut_off(leader, 1.0 + fault.seconds)
            said = self._ask_one(leader, fault.node)
            world.clockwork.after(1.5 * world.profile.pace, self._ask_successor, leader, fault)
            return f"{leader.name} is cut off; {said}"
        others = [h for h in world.hosts if h.is_running and h is not leader]
        believers = [host for host in others if host.replica.raft.is_leader]
        second = (believers or [leader] if fault.share < 0.85 else others or [leader])[0]
        return f"{self._ask_one(leader, fault.node)}; {self._ask_one(second, fault.other)}"

    def _ask_successor(self, old: Host, fault: Fault) -> None:
        leader = self._world.leader()
        if leader is not None and leader is not old and not self._world.is_healing:
            self._world.note("*", self._ask_one(leader, fault.other))

    def _ask_one(self, host: Host, number: int) -> str:
        victim = self._victim(number)
        if number % 3 and self._may_leave(victim, at_once=2):
            return self._ask_to_remove(host, victim)
        return self._ask_to_add(host) or "nothing is asked"

    def _cut_off(self, host: Host, seconds: float) -> None:
        network = self._world.network
        for other in self._world.hosts:
            if other is not host:
                network.block(host.name, other.name, seconds)
                network.block(other.name, host.name, seconds)

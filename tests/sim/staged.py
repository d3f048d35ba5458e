"""Faults in several acts: words of one term that arrive in a later one, on the same connection.

Owns two that chance meets too seldom: a node leads, or stands, another leads, and then the first
does so again, all while what a peer said to it at first is under way. Drawn only where a cage of
the zoo asks for them. What cannot go on ends there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from tests.sim.faults import Fault

if TYPE_CHECKING:
    from tests.sim.node import Host
    from tests.sim.world import World

HELD_S = 3.6
"""How long words are under way: less than a connection is given up after."""
ALONE_S = 1.2
LOOK_S = 0.02


class StagedFaults:
    """Carries them out, in clusters of five or more."""

    def __init__(self, world: World) -> None:
        self._world = world

    def stale_reply(self, fault: Fault) -> str:
        """What a follower said it holds, when there is something else in its place elsewhere."""
        first = self._world.leader()
        if first is None or len(self._world.hosts) < 5:
            return ""
        others = [each for each in self._world.hosts if each is not first]
        follower = others.pop(fault.other % len(others))
        self._block([follower], [first], HELD_S)
        self._block([first], others, ALONE_S)
        self._block(others, [follower], HELD_S)

        def lead_again() -> bool:
            leader = self._world.leader()
            if leader is None or leader is first:
                return leader is first
            self._block([first], [follower], HELD_S)  # which is told nothing of it
            leader.replica.raft.transfer_to(first.node_id)
            return False

        self._world.clockwork.after(ALONE_S, self._play, [lead_again], HELD_S - ALONE_S)
        return f"{first.name} is heard by {follower.name} alone, whose replies are under way"

    def stale_vote(self, fault: Fault) -> str:
        """What was said to a candidate of a term that somebody else has led since."""
        friend = self._world.leader()
        if friend is None or len(self._world.hosts) < 5:
            return ""
        others = [each for each in self._world.hosts if each is not friend]
        candidate = others.pop(fault.other % len(others))
        self._block(others, [candidate], HELD_S)
        terms = [candidate.replica.raft.term]

        def stand() -> bool:
            if candidate.replica.raft.role == "candidate":
                terms.append(candidate.replica.raft.term)
                return terms[-1] > terms[-2]
            return self._hand_over(friend, candidate)

        def lead() -> bool:
            return self._world.leader() is friend or self._hand_over(self._world.leader(), friend)

        def stand_again() -> bool:
            self._block([candidate], others, HELD_S)
            if not stand():
                return False
            for other in others:
                self._world.network.unblock(other.name, candidate.name)
            return True

        self._play([stand, lead, stand_again], HELD_S)
        return f"{candidate.name} shall stand, and hears {friend.name} alone"

    def _hand_over(self, leader: Host | None, heir: Host) -> bool:
        if leader is not None and leader.is_running:
            leader.replica.raft.transfer_to(heir.node_id)
        return False

    def _play(self, acts: list[Callable[[], bool]], seconds: float) -> None:
        """Look again and again whether an act is over, as long as there is time."""
        if not acts or seconds <= 0 or not all(host.is_running for host in self._world.hosts):
            return
        rest = acts[1:] if acts[0]() else acts
        self._world.clockwork.after(LOOK_S, self._play, rest, seconds - LOOK_S)

    def _block(self, sources: Iterable[Host], targets: Iterable[Host], seconds: float) -> None:
        for source in sources:
            for target in targets:
                self._world.network.block(source.name, target.name, seconds)

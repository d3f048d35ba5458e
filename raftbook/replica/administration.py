"""What an operator does to the cluster through one node: who is a member, who leads.

Owns waiting for the outcome, with a bound. Must not know how it was asked for; what may be changed
is `member_changes`'s to decide.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from raftbook.replica.fences import FenceKind
from raftbook.replica.membership import ChangeImpossible, ChangeRefused, Member, Membership
from raftbook.replica.replica import Replica

_LOOK_S = 0.01
_DRAIN_S = 0.5
"""How long a node that ends waits for the answers to what its clients sent; new requests come in
all the time, and who gets no answer asks another node."""


class OutcomeOpen(Exception):
    """The change was written into the log, and it is not known whether it will stay there."""


class Administration:
    """An operator's actions on one node; each needs a running loop.

    Args:
        wake: lets the replica take a turn.
        commit_s, hand_over_s: how long to wait for each.
    """

    def __init__(
        self, replica: Replica, wake: Callable[[], None], *, commit_s: float, hand_over_s: float
    ) -> None:
        self._replica, self._wake = replica, wake
        self._commit_s, self._hand_over_s = commit_s, hand_over_s

    async def add(self, member: Member) -> Membership:
        """Take a node in as a learner; the membership once it is committed.

        Raises:
            ChangeRefused: nothing has changed, and why; ChangeImpossible if asking again is vain.
            OutcomeOpen: the leader was lost before a majority had it.
        """
        self._check_leads()
        index = self._replica.raft.changes.add(member)
        return await self._committed(index, lambda found: found.get(member.node_id) is not None)

    async def remove(self, node_id: int) -> Membership:
        """Let a member go; see `add`."""
        self._check_leads()
        index = self._replica.raft.changes.remove(node_id)
        return await self._committed(index, lambda found: node_id in found.retired)

    async def hand_over(self, target: int | None) -> int:
        """Let another voter lead; who does now.

        Raises:
            ChangeImpossible: that node is no voter.
            ChangeRefused: nobody took over in time, and this node goes on.
        """
        self._check_leads()
        raft = self._replica.raft
        if target is not None and target not in raft.membership.voter_ids:
            raise ChangeImpossible(f"node {target} is no voter")
        if not set(raft.membership.voter_ids) - {raft.node_id}:
            raise ChangeRefused("there is no other voter")
        raft.hand_over(target, within_s=self._hand_over_s)
        self._wake()
        deadline = self._now() + 2 * self._hand_over_s
        while self._now() < deadline:
            if raft.leader_id not in (None, raft.node_id):
                return raft.leader_id
            if raft.is_leader and not raft.is_handing_over:
                break
            await asyncio.sleep(_LOOK_S)
        raise ChangeRefused("no voter caught up and took over in time; try again")

    async def leave(self) -> None:
        """Before this process ends: let another lead, and clients here have their answers."""
        replica = self._replica
        if replica.fenced is not None:
            return
        if replica.raft.is_leader:
            try:
                await self.hand_over(None)
            except ChangeRefused:
                return
        deadline = self._now() + _DRAIN_S
        while replica.pending_count and self._now() < deadline:
            await asyncio.sleep(_LOOK_S)

    def _check_leads(self) -> None:
        replica = self._replica
        if replica.fenced is not None:
            raise ChangeRefused(f"node {replica.node_id} is fenced: {replica.fenced}")
        if not replica.raft.is_leader:
            raise ChangeRefused(f"ask the leader, node {replica.raft.leader_id}")

    async def _committed(self, index: int, has_changed: Callable[[Membership], bool]) -> Membership:
        self._wake()
        raft, deadline = self._replica.raft, self._now() + self._commit_s
        while self._now() < deadline:
            fence = self._replica.fence
            if fence is not None and fence.kind is not FenceKind.REMOVED:
                break  # what it calls committed may be in no disk's log
            committed = raft.committed_membership
            if committed.index >= index and has_changed(committed):
                return committed
            if committed.index >= index or raft.membership.index < index:
                break  # another leader has put something else in its place
            await asyncio.sleep(_LOOK_S)
        raise OutcomeOpen(
            f"entry {index} with the change was not committed in time and may still be; "
            "see: raftbook cluster members"
        )

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

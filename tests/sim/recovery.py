"""After the faults: everything is healed, and within bounds the cluster must work again.

Owns what must come back, and how soon: a leader, new orders, all nodes up to date; and what must be
so in the end, when nobody asks for anything any more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.sim.history import History

if TYPE_CHECKING:
    from tests.sim.node import Host
    from tests.sim.world import World

LEADER_WITHIN_S, ORDERS_WITHIN_S, CAUGHT_UP_WITHIN_S = 2.0, 10.0, 30.0
ORDERS_AFTER_HEALING = 20
SETTLED_AFTER_S = 4.0
"""By then supervisors and operators did their part, and a handshake that was begun before, over
what was cut, has timed out and was begun anew."""


class Recovery:
    """The second part of a run."""

    def __init__(self, world: World) -> None:
        self._world = world

    def heal(self) -> None:
        """No more faults; within bounds, the cluster works again."""
        world = self._world
        world.note("*", "everything is healed")
        world.is_healing = True
        world.network.heal()
        for client in world.clients:
            client.is_calm = True
        for host in world.hosts:
            host.armed.clear()
            host.disk_faults.clear()
            host.disk.write_error = host.disk.sync_error = host.files.error = 0
            host.rate, host.wall_offset_s = 1.0, 0.0
            if host.loop is not None:
                host.loop.unfreeze()
                host.loop.set_rate(1.0)
                if host.replica.fence is not None:
                    host.kill()
        for host in world.hosts:
            if not host.is_running:
                world.clockwork.after(0.05, host.start)
        healed_at = world.clockwork.now
        world.let_pass(SETTLED_AFTER_S)
        self._demand("a leader", LEADER_WITHIN_S * world.profile.pace, self._has_leader)
        orders = world.record.orders_acknowledged
        self._demand(
            f"{ORDERS_AFTER_HEALING} new orders",
            ORDERS_WITHIN_S,
            lambda: world.record.orders_acknowledged >= orders + ORDERS_AFTER_HEALING,
        )
        self._probe_return()
        left = CAUGHT_UP_WITHIN_S - (world.clockwork.now - healed_at)
        self._demand("all nodes up to date", max(left, 5.0), self._is_caught_up)

    def _probe_return(self) -> None:
        """A follower that was cut off comes back: the leader stays (S10)."""
        world = self._world
        leader = world.leader()
        follower = next(
            (host for host in world.member_hosts() if host is not leader and host.is_running), None
        )
        if leader is None or follower is None or len(world.checks.members.ids) < 3:
            return  # of two, the leader rightly gives up without the other
        term = leader.replica.raft.term
        others = [host for host in world.hosts if host is not follower]
        for other in others:
            world.network.block(follower.name, other.name, 3.0)
            world.network.block(other.name, follower.name, 3.0)
        world.let_pass(3.0)
        # One that knows no majority meanwhile, as when a third has lost its disk, rightly gives up.
        raft = leader.replica.raft
        is_quiet = leader.is_running and raft.is_leader and raft.term == term
        world.let_pass(3.0)
        if is_quiet and max(host.disk.synced.term for host in world.member_hosts()) > term:
            world.checks.fail("liveness", f"{follower.name} came back and ended term {term}")

    def _demand(self, what: str, within_s: float, happened: Any) -> None:
        world = self._world
        if not happened() and not world.let_pass(within_s, until=happened):
            state = [self._describe(host) for host in world.hosts]
            world.checks.fail("liveness", f"no {what} within {within_s:g} s: {'; '.join(state)}")

    def _describe(self, host: Host) -> str:
        if not host.is_running:
            return f"{host.name} down ({host.refusal})"
        raft = host.replica.raft
        kind = "fenced" if host.replica.fence else raft.role
        if not raft.is_voter:
            kind += " no member"
        return (
            f"{host.name} {kind} term {raft.term} applied {raft.applied_index} "
            f"commit {raft.commit_index} last {host.replica.last_index}"
        )

    def _has_leader(self) -> bool:
        leader = self._world.leader()
        return leader is not None and leader.replica.raft.commit_index > 1

    def _is_caught_up(self) -> bool:
        """Every node runs and is at most a little behind all that is committed."""
        world = self._world
        slack = 10
        return (
            all(
                host.is_running
                and host.replica.fence is None
                and host.replica.raft.is_voter
                and host.replica.raft.applied_index >= world.checks.last_committed - slack
                and host.replica.raft.committed_membership.ids == world.checks.members.ids
                for host in world.member_hosts()
            )
            and world.member_faults.is_sound()
        )

    def check_end(self) -> None:
        """Nothing is asked for any more: nothing may be left over, and all nodes are equal."""
        world = self._world
        members = world.member_hosts()
        running = [host for host in members if host.is_running]

        def are_drained() -> bool:
            return not any(host.replica.pending_count for host in running)

        if not are_drained():  # nodes renew their clients' leases: that may be under way just now
            world.let_pass(1.0, until=are_drained)
        for host in members:
            if not host.is_running:
                world.checks.fail("liveness", f"in the end: {self._describe(host)}")
            pending = host.replica.pending_count
            if pending:
                world.checks.fail("liveness", f"{host.name} still has {pending} requests waiting")
            world.checks.check_book(host)
        self._demand(  # what time brings may have been committed just now
            "equal nodes in the end",
            1.0,
            lambda: (
                min(host.replica.raft.applied_index for host in members)
                == world.checks.last_committed
            ),
        )
        digests = {host.replica.machine.state_digest() for host in members}
        if len(digests) != 1:
            world.checks.fail("digest", f"states differ in the end: {sorted(digests)}")
        History(world).check()

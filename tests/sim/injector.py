"""Faults carried out: what each kind does to the hosts, links, disks and clocks it meets.

Owns one method for each kind of `faults.KINDS`. Whatever cannot happen when its moment comes does
not happen, and does not count. What is done to the members is `members`'s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from raftbook.core.versions import ENGINE_VERSION
from tests.sim.faults import POINTS, Fault
from tests.sim.log import BROKEN, FULL
from tests.sim.staged import StagedFaults

if TYPE_CHECKING:
    from tests.sim.members import MemberFaults
    from tests.sim.node import Host
    from tests.sim.world import World


class Injector:
    """Carries out faults."""

    def __init__(self, world: World, members: MemberFaults) -> None:
        self._world, self._members, self._staged = world, members, StagedFaults(world)

    def inject(self, fault: Fault) -> None:
        """Let it happen; what cannot happen now does not."""
        own = getattr(self, f"_{fault.kind}", None) or getattr(self._staged, fault.kind, None)
        what = (own or getattr(self._members, fault.kind))(fault)
        if what:
            self._world.fault_happened(fault.kind, f"{what} (#{fault.number})")

    def _host(self, fault: Fault) -> Host:
        return self._world.hosts[fault.node % len(self._world.hosts)]

    def _pair(self, fault: Fault) -> tuple[Host, Host]:
        hosts = self._world.hosts
        first = fault.node % len(hosts)
        return hosts[first], hosts[(first + 1 + fault.other % (len(hosts) - 1)) % len(hosts)]

    def _leader(self) -> Host | None:
        return self._world.leader()

    # -- processes --------------------------------------------------------------------------------

    def _kill(self, fault: Fault) -> str:
        return self._end(self._host(fault), fault)

    def _kill_leader(self, fault: Fault) -> str:
        leader = self._leader()
        return self._end(leader, fault) if leader is not None else ""

    def _end(self, host: Host, fault: Fault, *, by_power: bool = False) -> str:
        if not host.is_running:
            return ""
        if by_power:
            host.power_off()
        else:
            host.kill()
        self._world.restart_later(host, fault.seconds)
        return f"{host.name} {'loses power' if by_power else 'is killed'}"

    def _kill_all(self, fault: Fault) -> str:
        return " ".join(self._end(host, fault) for host in self._world.hosts).strip()

    def _power_loss(self, fault: Fault) -> str:
        return self._end(self._host(fault), fault, by_power=True)

    def _power_loss_all(self, fault: Fault) -> str:
        hosts = self._world.hosts
        return " ".join(self._end(host, fault, by_power=True) for host in hosts).strip()

    def _kill_point(self, fault: Fault) -> str:
        host = self._host(fault)
        point = POINTS[int(fault.share * len(POINTS))]
        host.armed[point] = [1 + int(fault.seconds * 7) % 9, fault.other % 2 == 1]
        return ""  # it counts when the process gets there

    def _upgrade(self, fault: Fault) -> str:
        """The node is stopped, and started as the next release or as the newest."""
        host = self._host(fault)
        if host.engine_version == ENGINE_VERSION:
            return ""
        host.engine_version = host.engine_version + 1 if fault.share < 0.5 else ENGINE_VERSION
        self._end(host, fault)
        return f"{host.name} gets engine version {host.engine_version}"

    def _pause(self, fault: Fault) -> str:
        host = self._host(fault)
        if host.loop is None:
            return ""
        host.loop.freeze(fault.seconds)
        return f"{host.name} is stopped for {fault.seconds:.2f} s"

    def _transfer(self, fault: Fault) -> str:
        leader = self._leader()
        peer = self._host(fault)
        if leader is None or leader is peer:
            return ""
        is_asked = leader.replica.raft.transfer_to(peer.node_id)
        return f"{leader.name} hands over to {peer.name}" if is_asked else ""

    def _snapshot(self, fault: Fault) -> str:
        host = self._host(fault)
        if host.loop is None or host.replica.fence or host.loop.frozen_until > 0:
            return ""
        host.loop.call_soon(host.replica.start_snapshot)
        return f"{host.name} is asked for a snapshot"

    # -- network ----------------------------------------------------------------------------------

    def _cut(self, fault: Fault) -> str:
        """Two groups that hear nothing of each other."""
        hosts = self._world.hosts
        left = [h for position, h in enumerate(hosts) if int(fault.share * 997) >> position & 1]
        right = [host for host in hosts if host not in left]
        if not left or not right:
            left, right = [hosts[0]], hosts[1:]
        network = self._world.network
        for a in left:
            for b in right:
                network.block(a.name, b.name, fault.seconds)
                network.block(b.name, a.name, fault.seconds)
        names = "".join(host.name for host in left)
        return f"{names} are cut off for {fault.seconds:.2f} s"

    def _cut_one_way(self, fault: Fault) -> str:
        source, target = self._pair(fault)
        self._world.network.block(source.name, target.name, fault.seconds)
        return f"nothing gets from {source.name} to {target.name} for {fault.seconds:.2f} s"

    def _isolate_leader(self, fault: Fault) -> str:
        """The leader hears, or is heard by, nobody; its clients still reach it."""
        leader = self._leader()
        if leader is None:
            return ""
        network = self._world.network
        for host in self._world.hosts:
            if host is not leader:
                if fault.share < 0.7:
                    network.block(leader.name, host.name, fault.seconds)
                if fault.share > 0.3:
                    network.block(host.name, leader.name, fault.seconds)
        return f"leader {leader.name} is isolated for {fault.seconds:.2f} s"

    def _clog(self, fault: Fault) -> str:
        source, target = self._pair(fault)
        seconds = min(fault.seconds, 2.0)
        self._world.network.block(source.name, target.name, seconds)
        return f"{source.name} to {target.name} is clogged for {seconds:.2f} s"

    def _slow(self, fault: Fault) -> str:
        source, target = self._pair(fault)
        self._world.network.slow(source.name, target.name, fault.seconds, 0.4 * fault.share)
        return f"{source.name} to {target.name} is slow for {fault.seconds:.2f} s"

    def _reset(self, fault: Fault) -> str:
        source, target = self._pair(fault)
        is_broken = self._world.network.reset(
            source.name,
            target.name,
            keep_bytes=int(fault.share * 400),
            is_late=fault.other % 3 == 0,
        )
        return f"{source.name} to {target.name} is reset" if is_broken else ""

    def _refuse(self, fault: Fault) -> str:
        source, target = self._pair(fault)
        self._world.network.refuse(source.name, target.name, fault.seconds)
        self._world.network.reset(source.name, target.name, keep_bytes=0, is_late=False)
        return f"{target.name} refuses {source.name} for {fault.seconds:.2f} s"

    def _client_reset(self, fault: Fault) -> str:
        clients = self._world.clients
        client, host = clients[fault.other % len(clients)], self._host(fault)
        ways = [(client.name, host.name), (host.name, client.name)]
        source, target = ways[int(fault.share * 2)]
        is_broken = self._world.network.reset(
            source, target, keep_bytes=int(fault.share * 300), is_late=fault.share > 0.7
        )
        return f"{source} to {target} is reset" if is_broken else ""

    def _client_cut(self, fault: Fault) -> str:
        clients = self._world.clients
        client, host = clients[fault.other % len(clients)], self._host(fault)
        network = self._world.network
        network.block(client.name, host.name, fault.seconds)
        if fault.share < 0.5:
            network.block(host.name, client.name, fault.seconds)
        return f"{client.name} and {host.name} are cut for {fault.seconds:.2f} s"

    # -- disks ------------------------------------------------------------------------------------

    def _disk_fails(self, fault: Fault, host: Host, **errors: int) -> None:
        host.expects_fence = True
        for name, number in errors.items():
            target: Any = host.files if name == "error" else host.disk
            setattr(target, name, number)
        self._world.clockwork.after(fault.seconds, self._disk_works, host)

    def _disk_works(self, host: Host) -> None:
        host.disk.write_error = host.disk.sync_error = host.files.error = 0

    def _disk_full(self, fault: Fault) -> str:
        host = self._host(fault)
        self._disk_fails(fault, host, write_error=FULL, error=FULL)
        return f"{host.name}'s disk is full for {fault.seconds:.2f} s"

    def _disk_error(self, fault: Fault) -> str:
        host = self._host(fault)
        if fault.share < 0.5:
            self._disk_fails(fault, host, write_error=BROKEN, error=BROKEN)
        else:
            self._disk_fails(fault, host, error=BROKEN)
        return f"{host.name}'s disk fails to write for {fault.seconds:.2f} s"

    def _sync_error(self, fault: Fault) -> str:
        host = self._host(fault)
        self._disk_fails(fault, host, sync_error=BROKEN)
        return f"{host.name}'s disk fails to sync for {fault.seconds:.2f} s"

    def _slow_sync(self, fault: Fault) -> str:
        host = self._host(fault)
        host.stall_s = fault.seconds / 4
        host.disk_faults["stall"] = 1 + int(fault.share * 20)
        return f"{host.name} syncs slowly"

    def _fork_fails(self, fault: Fault) -> str:
        host = self._host(fault)
        host.disk_faults["fork"] = 1
        return f"{host.name} cannot fork"

    # -- clocks -----------------------------------------------------------------------------------

    def _clock_rate(self, fault: Fault) -> str:
        """The monotonic clock runs at another speed."""
        host = self._host(fault)
        host.rate = (0.7, 0.9, 0.99, 1.01, 1.1, 1.4)[int(fault.share * 6)]
        if host.loop is not None:
            host.loop.set_rate(host.rate)
        return f"{host.name}'s clock runs at {host.rate}"

    def _clock_jump(self, fault: Fault) -> str:
        """The wall clock is set forwards or backwards."""
        host = self._host(fault)
        reach_s = (0.5, 10.0, 120.0, 5_000.0, 1_000_000.0)[fault.other % 5]
        host.wall_offset_s += reach_s * (2 * fault.share - 1)
        return f"{host.name}'s wall clock is off by {host.wall_offset_s:.1f} s"

    # -- damage: only ever of a minority ----------------------------------------------------------

    def _may_damage(self, host: Host) -> bool:
        return self._members.may_damage(host)

    def _damage_journal(self, fault: Fault) -> str:
        """Found at the next start."""
        host = self._host(fault)
        if not self._may_damage(host) or host.disk.is_blank:
            return ""
        self._end(host, fault, by_power=fault.share < 0.5)
        host.disk.damage()
        host.was_damaged = True
        return f"{host.name}'s journal is damaged"

    def _damage_snapshot(self, fault: Fault) -> str:
        host = self._host(fault)
        names = host.files.snapshots()
        if not names or not self._may_damage(host):
            return ""
        for name in _some(names, fault):
            host.files.damage(name)
            host.damaged_files.append(name)
        host.was_damaged = True
        return f"{host.name}'s {' '.join(host.damaged_files)} damaged"

    def _lose_snapshot(self, fault: Fault) -> str:
        host = self._host(fault)
        names = host.files.snapshots()
        if not names or not self._may_damage(host):
            return ""
        self._end(host, fault)
        lost = _some(names, fault)
        for name in lost:
            host.files.lose(name)
        host.was_damaged = True
        return f"{host.name}'s {' '.join(lost)} lost"

    def _wipe(self, fault: Fault) -> str:
        """The disk is lost, and the node comes back under its id with an empty one."""
        host = self._host(fault)
        if not self._may_damage(host):
            return ""
        self._end(host, fault)
        self._world.wipe(host)
        self._world.restart_later(host, fault.seconds)
        return f"{host.name} is wiped"


def _some(names: list[str], fault: Fault) -> list[str]:
    """One of the names, or all of them."""
    return names if fault.other % 2 else [names[int(fault.share * len(names))]]

"""The simulator's own parts: what a power loss leaves, what a network does to bytes, shrinking."""

from __future__ import annotations

import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from raftbook.errors import StorageError
from raftbook.storage.snapshots import SnapshotStore
from tests.sim.checks import Checks, Violation
from tests.sim.clockwork import Clockwork, HostLoop, Killed, Spinning
from tests.sim.faults import KINDS, Fault, draw_faults
from tests.sim.files import Files, SimPath, patched
from tests.sim.log import FULL, LogDisk, SimLog, State
from tests.sim.net import Network
from tests.sim.profile import draw
from tests.sim.shrink import ddmin, shrink
from tests.sim.world import run_seed
from tests.sim.zoo import CAGES, SECONDS
from tests.sim.zoo import opened as opened_cage


class Nobody:
    def synced(self, before: State, after: State, first_changed: int) -> None:
        pass


def opened(disk: LogDisk) -> SimLog:
    return SimLog(disk, has_snapshots=False)


def make_disk(seed: int = 0) -> LogDisk:
    return LogDisk(random.Random(seed), lambda name: None, Nobody())


def test_a_leader_that_knew_no_majority_is_not_held_against_who_comes_back() -> None:
    """Node 3 comes up on a new disk, and is taken in again while node 2 is cut off: node 1 is left
    with one disk of three and gives up, so the return of node 2 ends no term that still stood.
    """
    cut_off = Fault(1, 2.0, "cut", node=0, other=0, seconds=10.0, share=4.5 / 997)
    wiped = Fault(2, 2.96, "wipe", node=2, other=0, seconds=0.02, share=0.5)
    outcome = run_seed(6, nodes=3, seconds=3.0, faults=[cut_off, wiped], members=False, mixed=False)
    assert outcome.faults == {"cut": 1, "wipe": 1}
    assert outcome.terms > 1
    assert not outcome.invariant, outcome.message


def leads(term: int, terms: list[int]) -> None:
    """Node 1 of three begins to lead with entries of these terms on its disk; entry 3, of term 1,
    was committed in term 4."""
    world: Any = SimpleNamespace(node_ids=(1, 2, 3), note=lambda *said: None)
    checks = Checks(world)
    checks.members.leads = lambda host: None  # type: ignore[method-assign]
    checks.committed |= {2: (b"", 1), 3: (b"", 1)}
    checks.committed_in |= {2: 1, 3: 4}
    checks.last_committed = 3
    entries = [(b"", index, each) for index, each in enumerate(terms, start=1)]
    host: Any = SimpleNamespace(
        node_id=1,
        name="n1",
        disk=SimpleNamespace(synced=State(entries, term, 1)),
        replica=SimpleNamespace(
            raft=SimpleNamespace(
                term=term, membership=SimpleNamespace(is_majority=lambda ids: True)
            )
        ),
    )
    checks._leads(host)


def test_who_leads_must_hold_what_was_committed_in_earlier_terms() -> None:
    """Votes that were held up can make a leader of term 3 after that of term 4 has committed."""
    leads(3, [0, 1])
    leads(5, [0, 1, 1])
    for term, terms in ((5, [0, 1]), (5, [0, 1, 2]), (3, [0]), (2, [0, 2])):
        with pytest.raises(Violation, match=r"without committed entry"):
            leads(term, terms)


# -- the journal's stand-in -------------------------------------------------------------------


def test_a_power_loss_takes_what_was_not_synced_and_nothing_else() -> None:
    disk = make_disk()
    log = opened(disk)
    log.set_vote(1, 2)
    log.append(b"kept", 2, 1)
    log.sync()
    log.append(b"lost", 3, 1)
    disk.lose_power()
    again = opened(disk)
    assert (again.last_index, again.term, again.voted_for) == (2, 1, 2)


def test_a_transaction_under_way_is_there_wholly_or_not_at_all() -> None:
    found = set()
    for seed in range(20):
        disk = make_disk(seed)
        log = opened(disk)
        log.set_vote(1, None)
        for index in range(2, 6):
            log.append(b"x", index, 1)

        def die(name: str) -> None:
            if name == "log.sync.written":
                raise Killed(name)

        disk.point = die
        with pytest.raises(Killed):
            log.sync()
        disk.point = lambda name: None
        disk.lose_power()
        again = opened(disk)
        found.add((again.last_index, again.term))
    assert found == {(1, 0), (5, 1)}


def test_kill_leaves_what_was_written() -> None:
    disk = make_disk()
    log = opened(disk)
    log.set_vote(1, None)
    log.append(b"written", 2, 1)
    disk.write(State(list(log.entries), 1, None), 2)
    assert opened(disk).last_index == 2


def test_a_full_disk_fails_the_sync_and_all_that_follows() -> None:
    disk = make_disk()
    log = opened(disk)
    log.set_vote(1, None)
    disk.write_error = FULL
    with pytest.raises(StorageError, match="disk full"):
        log.sync()
    disk.write_error = 0
    with pytest.raises(StorageError, match="disk full"):
        log.sync()


def test_damage_is_refused_with_a_reason() -> None:
    disk = make_disk()
    opened(disk)
    disk.damage()
    with pytest.raises(StorageError):
        opened(disk)


# -- files --------------------------------------------------------------------------------------


def write_snapshot(files: Files, index: int) -> SnapshotStore:
    store = SnapshotStore(SimPath(files), cluster_id="c", genesis_digest="00")  # type: ignore[arg-type]
    store.write(index=index, term=1, members=(1,), state_digest="", chunks=[b"state" * 500])
    return store


def test_a_snapshot_that_was_written_survives_a_power_loss() -> None:
    with patched(random.Random(0)):
        for seed in range(20):
            files = Files(random.Random(seed), lambda name: None)
            store = write_snapshot(files, 7)
            files.lose_power()
            header = store.newest()
            assert header is not None
            assert store.load(header) == b"state" * 500


def test_a_snapshot_whose_writer_dies_at_any_call_never_shows_a_part(tmp_path: Path) -> None:
    """Also after a power loss; the one before it stays."""
    deaths = 0
    with patched(random.Random(0)):
        for dies_at in range(1, 40):
            files = Files(random.Random(dies_at), lambda name: None)
            write_snapshot(files, 7)
            calls = iter(range(1, 100))

            def point(name: str, calls: Any = calls, dies_at: int = dies_at) -> None:
                if next(calls) >= dies_at:
                    raise Killed(name)

            files.point = point
            try:
                write_snapshot(files, 9)
            except Killed:
                deaths += 1
            files.point = lambda name: None
            files.lose_power()
            store = SnapshotStore(SimPath(files), cluster_id="c", genesis_digest="00")  # type: ignore[arg-type]
            header = store.newest()
            assert header is not None and header.index in (7, 9)
            assert store.load(header) == b"state" * 500
    assert deaths > 5


def test_real_files_are_where_they_always_were(tmp_path: Path) -> None:
    with patched(random.Random(0)):
        store = SnapshotStore(tmp_path, cluster_id="c", genesis_digest="00")
        store.write(index=3, term=1, members=(1,), state_digest="", chunks=[b"state"])
    assert [path.name for path in tmp_path.iterdir()] == [
        "snapshot-00000000000000000003-1.raftbook"
    ]


# -- the network -------------------------------------------------------------------------------


class Listener:
    def __init__(self) -> None:
        self.heard = b""
        self.is_lost = False

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.heard += data

    def connection_lost(self, error: Exception | None) -> None:
        self.is_lost = True


class Line:
    """Two hosts and one connection from a to b."""

    def __init__(self, seed: int = 0) -> None:
        self.clockwork = Clockwork()
        self.network = Network(
            self.clockwork,
            random.Random(seed),
            latency_s=(0.001, 0.02),
            trace=lambda *_: None,
        )
        loops = [self._loop(name) for name in "ab"]
        self.near, self.far = Listener(), Listener()
        self.network.listen(loops[1], lambda: self.far, ("b", 1))
        self.network.connect(loops[0], lambda: self.near, "a", ("b", 1), lambda result: None)
        self.clockwork.run_until(self.clockwork.now + 1)

    def _loop(self, name: str) -> HostLoop:
        self.network.up.add(name)
        return HostLoop(
            self.clockwork,
            rate=1.0,
            boot=1.0,
            name=name,
            on_killed=lambda: None,
            network=self.network,
        )

    def pass_time(self, seconds: float) -> None:
        self.clockwork.run_until(self.clockwork.now + seconds)


def test_bytes_arrive_in_order() -> None:
    line = Line()
    sent = b""
    for number in range(200):
        piece = number.to_bytes(2, "big")
        line.near.transport.write(piece)
        sent += piece
        line.pass_time(0.0005)
    line.pass_time(2)
    assert line.far.heard == sent


def test_a_clog_holds_everything_and_lets_it_go_at_once() -> None:
    line = Line()
    line.network.block("a", "b", 1.0)
    line.near.transport.write(b"one")
    line.near.transport.write(b"two")
    line.pass_time(0.9)
    assert line.far.heard == b""
    line.pass_time(0.2)
    assert (line.far.heard, line.near.is_lost) == (b"onetwo", False)


def test_bytes_that_nobody_acknowledges_cost_the_connection() -> None:
    line = Line()
    line.network.block("a", "b", 60.0)
    line.near.transport.write(b"one")
    line.pass_time(5)
    assert line.near.is_lost
    assert not line.far.is_lost  # it hears nothing of it


def test_a_reset_cuts_in_the_middle() -> None:
    line = Line()
    line.near.transport.write(b"0123456789")
    line.network.reset("a", "b", keep_bytes=4, is_late=False)
    line.pass_time(2)
    assert line.far.heard == b"0123"
    assert line.near.is_lost and line.far.is_lost


def test_a_dead_process_runs_nothing_and_a_frozen_one_later() -> None:
    clockwork = Clockwork()
    ran: list[str] = []
    network: Any = None
    loops = {
        name: HostLoop(
            clockwork, rate=1.0, boot=1.0, name=name, on_killed=lambda: None, network=network
        )
        for name in ("dead", "frozen", "fast")
    }
    loops["fast"].set_rate(2.0)
    for name, loop in loops.items():
        loop.call_later(1.0, ran.append, name)
    loops["dead"].end()
    loops["frozen"].freeze(3.0)
    clockwork.run_until(clockwork.now + 0.6)
    assert ran == ["fast"]
    clockwork.run_until(clockwork.now + 2.0)
    assert ran == ["fast"]
    clockwork.run_until(clockwork.now + 1.0)
    assert ran == ["fast", "frozen"]


def test_who_never_lets_time_pass_is_stopped() -> None:
    clockwork = Clockwork()

    def again() -> None:
        clockwork.after(0.0, again)

    again()
    with pytest.raises(Spinning):
        clockwork.run_until(clockwork.now + 1.0)


# -- shrinking ---------------------------------------------------------------------------------


def test_ddmin_finds_the_two_that_matter() -> None:
    faults = [Fault(number, float(number), "kill", 0, 0, 1.0, 0.5) for number in range(40)]
    left = ddmin(faults, lambda some: {7, 31} <= {fault.number for fault in some})
    assert [fault.number for fault in left] == [7, 31]


def test_a_failing_seed_is_shrunk_to_fewer_faults_with_the_same_failure() -> None:
    cage = next(cage for cage in CAGES if cage.name == "F1")
    with opened_cage(cage):
        faults, outcome = shrink(cage.seed, nodes=None, seconds=SECONDS, members=False, runs_max=25)
        assert outcome.invariant == "committed"
        again = run_seed(cage.seed, seconds=SECONDS, faults=faults)
    before = draw_faults(cage.seed, draw(cage.seed, KINDS), SECONDS)
    assert len(faults) < len(before)
    assert (again.invariant, again.digest) == (outcome.invariant, outcome.digest)


def test_a_seed_that_holds_is_not_shrunk() -> None:
    with pytest.raises(ValueError, match="does not fail"):
        shrink(3, nodes=3, seconds=2.0)

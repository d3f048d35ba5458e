"""Snapshots between nodes: piece by piece, whole or not at all, never backwards."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from raftbook.core.exchange import Genesis
from raftbook.core.limits import Limits
from raftbook.core.snapshot import export_state
from raftbook.core.types import Reject
from raftbook.errors import ProtocolError
from raftbook.ops.readiness import obstacles
from raftbook.replica import shipping
from raftbook.replica.compaction import HELD_MAX
from raftbook.replica.machine import Machine
from raftbook.storage import snapshots
from raftbook.storage.failures import explain
from raftbook.storage.space import ROOM_BYTES
from raftbook.wire.entry import pack_entry
from raftbook.wire.packing import pack
from tests.replica.harness import BOUNDS, GENESIS, OIL, Cluster


@pytest.fixture(autouse=True)
def keep_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raftbook.replica.replica.LOG_KEPT_ENTRIES", 1)
    monkeypatch.setattr(shipping, "PIECE_BYTES", 300)


@pytest.fixture
def behind(tmp_path: Path) -> tuple[Cluster, int]:
    """Node 1 leads; node 3 is cut off, and behind what the others' logs still hold."""
    cluster = Cluster(tmp_path)
    cluster.elect(1)
    session = cluster.open_session(1)
    fill(cluster, session, range(1, 4))
    cluster.run(0.2)
    cluster.network.cut([3], [1, 2])
    fill(cluster, session, range(4, 31))
    cluster.compact(1)
    return cluster, session


def fill(cluster: Cluster, session: int, seqs: range, node_id: int = 1) -> None:
    for seq in seqs:
        waiter = cluster.order(node_id, session, seq)
        cluster.settle()
        assert waiter.acknowledged


def names(session: int, seqs: range) -> dict[str, int]:
    return {f"{session}-{seq}": 1 for seq in seqs}


def snapshot(cluster: Cluster, node_id: int) -> None:
    cluster[node_id].start_snapshot()
    cluster.settle()
    cluster.settle()


def deliver_pieces(cluster: Cluster, count: int, *, source: int = 1, target: int = 3) -> None:
    """Let this many pieces be sent and acknowledged."""
    for _ in range(count):
        cluster.turn(source)
        cluster.network.deliver(source, target)
        cluster.turn(target)
        cluster.network.deliver(target, source)


def test_a_snapshot_arrives_in_pieces(behind: tuple[Cluster, int]) -> None:
    cluster, session = behind
    cluster.network.records = True
    cluster.network.heal()
    cluster.run(1)
    pieces = [message for _, _, message in cluster.network.sent if message["type"] == "install"]
    assert len(pieces) > 3
    assert max(len(piece["chunk"]) for piece in pieces) == 300
    assert cluster.book(3) == names(session, range(1, 31))


@pytest.mark.parametrize("pieces", [1, 2, 3])
def test_a_broken_connection_does_not_start_it_over(
    behind: tuple[Cluster, int], pieces: int
) -> None:
    cluster, session = behind
    cluster.network.heal()
    deliver_pieces(cluster, pieces)
    assert cluster[3].raft.applied_index < 10
    cluster.network.reset(1, 3)
    cluster.network.reset(3, 1)
    cluster.run(2)
    assert cluster.book(3) == names(session, range(1, 31))
    assert cluster[3].snapshot_index > 1


def test_a_killed_receiver_starts_it_over(behind: tuple[Cluster, int]) -> None:
    cluster, session = behind
    cluster.network.heal()
    deliver_pieces(cluster, 2)
    cluster.restart(3)
    cluster.run(3)
    assert cluster.book(3) == names(session, range(1, 31))
    assert not list(cluster.snapshot_directory(3).glob("*.incoming"))


def test_another_leader_sends_its_own_snapshot(behind: tuple[Cluster, int]) -> None:
    cluster, session = behind
    fill(cluster, session, range(31, 35))
    snapshot(cluster, 2)
    cluster.network.heal()
    deliver_pieces(cluster, 2)
    cluster.crash(1)
    cluster.elect(2)
    cluster.run(3)
    assert cluster.book(3) == names(session, range(1, 35))


def test_a_late_piece_of_an_older_transfer_changes_nothing(behind: tuple[Cluster, int]) -> None:
    cluster, session = behind
    cluster.network.heal()
    deliver_pieces(cluster, 2)
    cluster.turn(1)
    cluster.network.reset(1, 3, late=True)
    cluster.run(2)
    fill(cluster, session, range(31, 35))
    while cluster.network.deliver_late(1, 3, count=1):
        cluster.turn(3)
    cluster.run(1)
    assert cluster[3].fenced is None
    assert cluster.book(3) == names(session, range(1, 35))


def test_entries_that_overtake_a_transfer_end_it(behind: tuple[Cluster, int]) -> None:
    """1. node 3 has a part of node 1's snapshot; 2. node 2, whose log is whole, leads and catches
    it up with entries; 3. node 1 leads again and ships the same snapshot to whom it knows nothing
    of yet."""
    cluster, session = behind
    cluster.network.heal()
    deliver_pieces(cluster, 2)
    cluster.crash(1)
    cluster.elect(2)
    cluster.run(0.5)
    fill(cluster, session, range(31, 35), node_id=2)
    cluster.run(0.2)
    assert cluster.book(3) == names(session, range(1, 35))
    cluster.network.cut([3], [1, 2])
    cluster.start(1)
    cluster.network.cut([3], [1, 2])
    cluster.run(0.3)
    cluster.elect(1)
    cluster.run(0.2)
    cluster.network.heal()
    cluster.run(2)
    assert cluster[3].fenced is None
    assert cluster.book(3) == names(session, range(1, 35))


def test_a_spoiled_piece_is_noticed_and_the_old_files_stay(behind: tuple[Cluster, int]) -> None:
    cluster, session = behind
    cluster.network.heal()
    send = cluster.network.send

    def spoil(source: int, target: int, messages: list[dict[str, object]]) -> None:
        for message in messages:
            if message["type"] == "install" and message["last"]:
                message["chunk"] = bytes(len(message["chunk"]))  # type: ignore[arg-type]
                cluster.network.send = send  # type: ignore[method-assign]
        send(source, target, messages)

    cluster.network.send = spoil  # type: ignore[method-assign,assignment]
    deliver_pieces(cluster, 40)
    cluster.run(1)
    assert cluster[3].fenced is None
    assert cluster.book(3) == names(session, range(1, 31))


def test_a_spoiled_header_is_noticed_and_the_transfer_repeated(
    behind: tuple[Cluster, int],
) -> None:
    cluster, session = behind
    spoiled = {
        "type": "install",
        "term": cluster[1].raft.term,
        "header": bytes(4096),
        "offset": 0,
        "chunk": b"x",
        "last": False,
    }
    cluster[3].receive(1, cluster.said_by(1, spoiled))
    cluster.turn(3)
    cluster.network.heal()
    cluster.run(2)
    assert cluster[3].fenced is None
    assert cluster.book(3) == names(session, range(1, 31))


def test_a_snapshot_whose_state_is_not_the_recorded_one_is_refused(
    behind: tuple[Cluster, int],
) -> None:
    """Right bytes, wrong state: node 1 wrote it with a bug. Node 3 stops rather than differs."""
    cluster, session = behind
    fill(cluster, session, range(31, 33))
    cluster[1].machine.state_digest = lambda: "0" * 32  # type: ignore[method-assign]
    snapshot(cluster, 1)
    cluster.network.heal()
    cluster.run(2)
    assert "not the recorded one" in (cluster[3].fenced or "")
    assert [cluster[node_id].fenced for node_id in (1, 2)] == [None, None]


def test_a_node_that_missed_an_election_but_little_else_gets_entries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new leader knows nothing of a peer that is away: it asks, rather than assume the worst."""

    def not_wanted(peer_id: int) -> None:
        raise AssertionError(f"node {peer_id} is sent a snapshot")

    cluster = Cluster(tmp_path)
    cluster.elect(1)
    session = cluster.open_session(1)
    fill(cluster, session, range(1, 21))
    for node_id in cluster.node_ids:
        cluster.compact(node_id)
    cluster.crash(1)
    cluster.elect(2)
    fill(cluster, session, range(21, 25), node_id=2)
    assert cluster[2]._log.base_index > 2
    monkeypatch.setattr(cluster[2].shipper, "send_next", not_wanted)
    cluster.start(1)
    cluster.settle()
    assert cluster[2].fenced is None
    assert cluster[1].raft.applied_index == cluster[2].last_index
    assert cluster.book(1) == names(session, range(1, 25))


def test_a_snapshot_while_one_is_installed(behind: tuple[Cluster, int]) -> None:
    """A receiver that was writing its own snapshot keeps the newer of the two."""
    cluster, session = behind
    cluster[3]._maker.poll = lambda: None  # type: ignore[method-assign]
    own = cluster[3].start_snapshot()
    cluster.network.heal()
    cluster.run(1)
    installed = cluster[3].snapshot_index
    assert installed > own
    cluster[3]._maker.poll = lambda: True  # type: ignore[method-assign]
    cluster.run(0.1)
    assert cluster[3].snapshot_index == installed
    cluster.restart(3)
    assert cluster[3].raft.applied_index >= installed
    cluster.run(1)
    assert cluster.book(3) == names(session, range(1, 31))


def test_a_snapshot_that_could_not_be_written_leaves_the_log_whole(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    cluster.elect(1)
    session = cluster.open_session(1)
    fill(cluster, session, range(1, 10))
    log = list(cluster[1]._log.entries)
    cluster[1]._maker._store.write = _disk_full  # type: ignore[attr-defined]
    snapshot(cluster, 1)
    assert cluster[1]._log.entries == log
    assert cluster[1].fenced is None
    cluster.restart(1)
    cluster.run(2)
    assert cluster.book(1) == names(session, range(1, 10))


def _disk_full(**_: object) -> None:
    from raftbook.errors import StorageError

    raise StorageError(path="snapshots", reason="disk full", remedy="free some space")


def test_snapshots_are_taken_and_pruned_as_the_log_grows(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, bounds=replace(BOUNDS, snapshot_every_entries=10))
    cluster.elect(1)
    session = cluster.open_session(1)
    fill(cluster, session, range(1, 60))
    cluster.run(0.2)
    for node_id in cluster.node_ids:
        assert len(cluster.snapshots(node_id).candidates()) == 2
        assert len(cluster[node_id]._log.entries) < 30
        cluster.restart(node_id)
    cluster.run(2)
    assert cluster.book(3) == names(session, range(1, 60))


def test_a_transfer_slower_than_snapshots_are_made_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While node 3 takes one snapshot, orders that go on lead to several newer ones: what follows
    the one it takes must still be in the log then, or it takes another for ever."""
    cluster = Cluster(tmp_path, bounds=replace(BOUNDS, snapshot_every_entries=10))
    cluster.elect(1)
    session = cluster.open_session(1)
    cluster.run(0.2)
    cluster.network.cut([3], [1, 2])
    fill(cluster, session, range(1, 60))
    cluster.network.heal()
    for way in ((1, 3), (3, 1)):
        cluster.network.hold(*way)
    seq, sent = 60, set()
    while cluster[3].snapshot_index == 0:
        fill(cluster, session, range(seq, seq + 4))
        seq += 4
        deliver_pieces(cluster, 1)
        sent.add(cluster[1].shipper.sending_index(3))
        assert seq < 1_000, f"snapshots {sorted(sent)} were sent, and none arrived in time"
    taken = cluster[3].snapshot_index
    made = [file.index for file in cluster.snapshots(1).candidates()]
    assert min(made) > taken, "newer ones were made meanwhile"
    assert cluster[1]._log.base_index <= taken
    for _ in range(20):
        fill(cluster, session, range(seq, seq + 1))
        seq += 1
        deliver_pieces(cluster, 1)
    assert cluster[3].raft.applied_index > cluster[1].raft.applied_index - 4
    assert sent - {0} == {taken}
    fill(cluster, session, range(seq, seq + 40))
    deliver_pieces(cluster, 3)
    assert len(cluster[1]._log.entries) < 100, "nobody needs more any longer"


def test_a_broken_connection_does_not_start_it_over_when_there_is_a_newer_one(
    behind: tuple[Cluster, int],
) -> None:
    """Or a peer whose connection breaks more often than a transfer takes never gets one."""
    cluster, session = behind
    cluster.network.heal()
    deliver_pieces(cluster, 3)
    sending = cluster[1].shipper.sending_index(3)
    cluster.network.cut([3], [1, 2])
    fill(cluster, session, range(31, 35))
    snapshot(cluster, 1)
    assert cluster[1].snapshot_index > sending > 0
    cluster.network.heal()
    deliver_pieces(cluster, 3)
    assert cluster[1].shipper.sending_index(3) == sending
    cluster.run(2)
    assert cluster[3].snapshot_index == sending
    assert cluster.book(3) == names(session, range(1, 35))


def test_a_transfer_to_a_peer_that_stays_away_is_let_go_of(behind: tuple[Cluster, int]) -> None:
    cluster, _ = behind
    cluster.network.heal()
    deliver_pieces(cluster, 3)
    cluster.network.cut([3], [1, 2])
    cluster.run(shipping.INCOMING_IDLE_S + 1)
    assert cluster[1].shipper.sending_index(3) == 0


def test_a_log_is_kept_for_a_peer_within_bounds(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, bounds=replace(BOUNDS, snapshot_every_entries=10))
    cluster.elect(1)
    session = cluster.open_session(1)
    cluster.run(0.2)
    cluster.network.cut([3], [1, 2])
    fill(cluster, session, range(1, 60))
    cluster.network.heal()
    for way in ((1, 3), (3, 1)):
        cluster.network.hold(*way)
    deliver_pieces(cluster, 4)
    sending = cluster[1].shipper.sending_index(3)
    assert sending
    fill(cluster, session, range(60, 60 + 40 * HELD_MAX))
    assert cluster[1]._log.base_index > sending
    assert len(cluster[1]._log.entries) <= 10 * (HELD_MAX + 2)


def test_a_peer_slower_than_all_that_is_held_for_it_gains_ground_and_is_there_when_the_load_falls(
    tmp_path: Path,
) -> None:
    """Each transfer takes longer than the log that is held for it lasts: it ends at an older state
    than the log goes back to, and the next one begins. Nothing is fenced and nothing grows."""
    bounds = replace(BOUNDS, snapshot_every_entries=5)
    cluster = Cluster(tmp_path, bounds=bounds)
    cluster.elect(1)
    session = cluster.open_session(1)
    fill(cluster, session, range(1, 41))
    cluster.crash(3)
    cluster.wipe(3)
    cluster.start(3)
    for way in ((1, 3), (3, 1)):
        cluster.network.hold(*way)
    reached, seq, between = [1], 41, 6 * HELD_MAX
    while len(reached) < 4:
        deliver_pieces(cluster, 15)
        fill(cluster, session, range(seq, seq + between))
        seq += between
        assert len(cluster[1]._log.entries) <= 5 * (HELD_MAX + 3)
        if cluster[3].raft.applied_index > reached[-1]:
            reached.append(cluster[3].raft.applied_index)
            assert cluster[1]._log.base_index > reached[-1]
    for way in ((1, 3), (3, 1)):
        cluster.network.release(*way)
    cluster.run(3)
    assert cluster.book(3) == names(session, range(1, seq))
    assert [cluster[node_id].fenced for node_id in cluster.node_ids] == [None] * 3


# -- damage and delay -----------------------------------------------------------------------------


def spoil_newest(cluster: Cluster, node_id: int) -> Path:
    """Flip a bit in the payload of a node's newest snapshot file."""
    path = cluster.snapshots(node_id).candidates()[0].path
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    return path


def test_a_damaged_snapshot_is_not_sent_and_another_is_made(
    behind: tuple[Cluster, int], caplog: pytest.LogCaptureFixture
) -> None:
    """A follower would refuse it, be sent it again, and never catch up."""
    cluster, session = behind
    damaged = spoil_newest(cluster, 1)
    cluster.network.records = True
    cluster.network.heal()
    cluster.run(2)
    assert cluster.book(3) == names(session, range(1, 31))
    assert [cluster[node_id].fenced for node_id in cluster.node_ids] == [None] * 3
    assert f"{damaged.name}.damaged is damaged and not sent to node 3" in caplog.text
    assert "is refused" not in caplog.text  # nothing of it left the leader
    assert damaged.with_name(f"{damaged.name}.damaged").exists()
    whole = [file for file in cluster.snapshots(1).candidates() if file.header is not None]
    for file in whole:
        assert file.header is not None
        cluster.snapshots(1).load(file.header)
    cluster.restart(1)
    cluster.run(1)
    assert cluster.book(1) == names(session, range(1, 31))


def test_when_every_snapshot_is_damaged_a_new_one_is_made_and_sent(
    behind: tuple[Cluster, int],
) -> None:
    cluster, session = behind
    for file in cluster.snapshots(1).candidates():
        content = bytearray(file.path.read_bytes())
        content[-1] ^= 1
        file.path.write_bytes(content)
    cluster.network.heal()
    cluster.run(4)
    assert cluster.book(3) == names(session, range(1, 31))
    assert cluster[1].fenced is None
    assert len(list(cluster.snapshot_directory(1).glob("*.damaged"))) == 1


def test_a_snapshot_damaged_after_it_was_verified_is_found_out_when_it_is_refused(
    behind: tuple[Cluster, int], caplog: pytest.LogCaptureFixture
) -> None:
    cluster, session = behind
    cluster.network.heal()
    deliver_pieces(cluster, 2)
    spoil_newest(cluster, 1)
    cluster.run(5)
    assert cluster.book(3) == names(session, range(1, 31))
    assert "is refused, starting over" in caplog.text  # once it got through
    assert "is damaged and not sent" in caplog.text


def test_a_file_found_damaged_at_a_start_is_none_of_the_two_that_are_kept(tmp_path: Path) -> None:
    """1. The newest snapshot is damaged: the node starts from the one before; 2. it makes another;
    3. that is damaged too. The log still goes back to the first: it must still be there."""
    cluster = Cluster(tmp_path)
    cluster.elect(1)
    session = cluster.open_session(1)
    indexes = []
    for seq in (1, 11, 21):
        fill(cluster, session, range(seq, seq + 10))
        indexes.append(cluster[2].start_snapshot())
        cluster.run(0.2)
        if seq > 1:
            spoil_newest(cluster, 2)
            cluster.restart(2)
            cluster.run(1)
    assert cluster[2]._log.base_index == indexes[0]
    assert [file.index for file in cluster.snapshots(2).candidates()] == indexes[::-1]
    assert cluster.book(2) == names(session, range(1, 31))
    cluster[2].start_snapshot()
    cluster.run(0.2)
    fill(cluster, session, range(31, 41))
    newest = cluster[2].start_snapshot()
    cluster.run(0.2)
    assert len(cluster.snapshots(2).candidates()) == 2, "whole ones, and nothing else"
    assert cluster[2].snapshot_index == newest


def test_a_large_file_is_verified_piece_by_piece(
    behind: tuple[Cluster, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster, session = behind
    monkeypatch.setattr(shipping, "VERIFY_BYTES", 100)
    cluster.network.records = True
    cluster.network.heal()
    cluster.turn(1)
    assert not [one for _, _, one in cluster.network.sent if one["type"] == "install"]
    cluster.run(8)
    assert cluster.book(3) == names(session, range(1, 31))


def test_a_part_that_entries_overtook_is_removed_at_once(behind: tuple[Cluster, int]) -> None:
    cluster, session = behind
    cluster.network.heal()
    deliver_pieces(cluster, 2)
    assert incoming(cluster)
    cluster.crash(1)
    cluster.elect(2)
    fill(cluster, session, range(31, 35), node_id=2)
    cluster.run(0.5)
    assert cluster.book(3) == names(session, range(1, 35))
    assert not incoming(cluster)


def test_a_part_that_nobody_completes_is_removed_in_time(behind: tuple[Cluster, int]) -> None:
    cluster, _ = behind
    cluster.network.heal()
    deliver_pieces(cluster, 2)
    cluster.network.cut([3], [1, 2])
    cluster.run(shipping.INCOMING_IDLE_S - 1)
    assert incoming(cluster)
    cluster.run(2)
    assert not incoming(cluster)


def incoming(cluster: Cluster) -> list[Path]:
    return list(cluster.snapshot_directory(3).glob("*.incoming"))


def test_a_state_that_asserts_is_a_named_reason(tmp_path: Path) -> None:
    """A snapshot with two accounts of one name met an assertion in the core."""
    machine = Machine(GENESIS, entries_kept=10)
    state = list(export_state(machine.exchange))
    state[4] = (*state[4], *state[4])
    with pytest.raises(ProtocolError, match="the snapshot holds no state: AssertionError"):
        machine.restore(pack((tuple(state), None)), index=5, expected_state_digest="")
    for wrong in (None, 7, (), (1,), (1, 1, 3, 4, 5, 6, 7, 8, 9), tuple(state[:4]) + (1,) * 6):
        with pytest.raises(ProtocolError, match="the snapshot holds no state"):
            machine.restore(pack(wrong), index=5, expected_state_digest="")
        with pytest.raises(ProtocolError, match=r"the snapshot holds no state|no membership"):
            machine.restore(
                pack((export_state(machine.exchange), wrong or ())),
                index=5,
                expected_state_digest="",
            )
    assert machine.exchange.accounts  # it is what it was


def test_a_request_whose_session_went_unseen_is_not_said_to_have_had_no_effect(
    tmp_path: Path,
) -> None:
    """1. Node 3's client orders, and node 3 is cut off before it hears what became of it; 2. the
    session gives way to another one; 3. node 3 installs a snapshot and asks again. The log says
    now that there is no such session; to order again in a new one would be to order twice."""
    limits = Limits(reply_window=8, sessions_per_account_max=1, session_recent_ns=0)
    cluster = Cluster(tmp_path, genesis=Genesis((OIL,), (("ann", True),), limits))
    cluster.elect(1)
    session = cluster.open_session(3)
    cluster.run(0.2)
    waiter = cluster.order(3, session, 1)
    cluster.turn(3)
    cluster.network.deliver(3, 1)
    cluster.network.cut([3], [1, 2])
    cluster.settle()
    assert cluster.book(1) == names(session, range(1, 2))
    fill(cluster, cluster.open_session(1), range(1, 5))
    cluster.compact(1)
    assert not waiter.answers
    cluster.network.heal()
    cluster.run_until(lambda: waiter.answers)
    assert cluster[3].snapshot_index
    assert waiter.refusal == Reject.OUTCOME_UNKNOWN


# -- who waits for a snapshot hears its leader ----------------------------------------------------


def reigns(cluster: Cluster) -> set[tuple[int, int]]:
    """(node, term) of all who lead."""
    return {(node_id, cluster[node_id].raft.term) for node_id in cluster.leaders()}


def test_a_leader_that_verifies_a_large_file_for_its_only_voter_goes_on_leading(
    behind: tuple[Cluster, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It said nothing meanwhile: the voter stood for election, or the leader gave up for want of
    answers, and whoever led next began to verify anew."""
    cluster, session = behind
    size = cluster.snapshots(1).candidates()[0].path.stat().st_size
    monkeypatch.setattr(shipping, "VERIFY_BYTES", size // 60)
    cluster.crash(2)
    before = reigns(cluster)
    cluster.network.records = True
    cluster.network.heal()
    for _ in range(100):
        cluster.run(0.02)
        assert reigns(cluster) == before
    sent = [message["type"] for way_in, _, message in cluster.network.sent if way_in == 1]
    assert sent.count("append") > 10
    cluster.run_until(lambda: cluster.book(3) == names(session, range(1, 31)))
    assert reigns(cluster) == before


def test_a_leader_that_first_has_to_make_a_snapshot_goes_on_leading(
    behind: tuple[Cluster, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster, session = behind
    for file in cluster.snapshots(1).candidates():
        file.path.unlink()
    with monkeypatch.context() as patch:
        patch.setattr(cluster[1]._maker, "start", lambda index, term: None)  # it writes on and on
        cluster.crash(2)
        before = reigns(cluster)
        cluster.network.heal()
        for _ in range(150):
            cluster.run(0.02)
            assert reigns(cluster) == before
    cluster[1]._maker._result = False  # type: ignore[attr-defined]
    cluster.run(0.02)
    cluster[1].start_snapshot()
    cluster.run_until(lambda: cluster.book(3) == names(session, range(1, 31)))
    assert reigns(cluster) == before


def test_a_peer_with_entries_that_nobody_else_has_is_not_sent_entries_for_its_snapshot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its log ends beyond where the leader's begins, but not with the leader's entries: its no
    must not be taken for a log that goes on from there."""
    cluster = Cluster(tmp_path)
    cluster.elect(3)
    session = cluster.open_session(3)
    cluster.run(0.2)
    cluster.network.cut([3], [1, 2])
    cluster[3].raft.propose([pack_entry(0, [])] * 60)
    cluster.elect(1)
    fill(cluster, session, range(1, 31))
    cluster.compact(1)
    fill(cluster, session, range(31, 41))
    assert 10 < cluster[1]._log.base_index < cluster[1].last_index < cluster[3].last_index
    monkeypatch.setattr(shipping, "VERIFY_BYTES", 30)
    cluster.network.records = True
    cluster.network.heal()
    cluster.run_until(lambda: cluster.book(3) == names(session, range(1, 41)))
    sent = [one for source, target, one in cluster.network.sent if (source, target) == (1, 3)]
    first = next(at for at, one in enumerate(sent) if one["type"] == "install")
    appends = [one for one in sent[:first] if one["type"] == "append"]
    assert len(appends) > 10
    assert not any(one["entries"] for one in appends)


def test_a_peer_that_holds_what_the_leaders_log_begins_with_needs_no_snapshot(
    behind: tuple[Cluster, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """1. node 3's no of long ago arrives; 2. it has more than that by now: it says so when it is
    asked, while the leader verifies, and is sent entries."""
    cluster, session = behind
    cluster.network.heal()
    cluster.run(2)
    fill(cluster, session, range(31, 35))
    cluster.compact(1)
    monkeypatch.setattr(shipping, "VERIFY_BYTES", 30)
    cluster.network.records = True
    raft = cluster[1].raft
    raft._SyncObj__raftNextIndex[raft._peers[3]] = 2
    fill(cluster, session, range(35, 37))
    cluster.run(0.5)
    assert cluster.book(3) == names(session, range(1, 37))
    assert not [one for _, _, one in cluster.network.sent if one["type"] == "install"]


# -- room on the disk -----------------------------------------------------------------------------


class SmallDisk:
    """What `os` is to the snapshots of all nodes: with as much space free as a test says."""

    def __init__(self, free_bytes: int) -> None:
        self.free_bytes = free_bytes

    def statvfs(self, path: Path) -> SimpleNamespace:
        return SimpleNamespace(f_bavail=self.free_bytes, f_frsize=1)

    def __getattr__(self, name: str) -> object:
        return getattr(os, name)


def test_a_snapshot_that_does_not_fit_is_waited_with_and_fences_nobody(
    behind: tuple[Cluster, int], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It was written until the disk was full; then the node was fenced, removed its part, had room
    again, and began anew."""
    cluster, session = behind
    header = cluster.snapshots(1).newest()
    assert header is not None
    disk = SmallDisk(ROOM_BYTES + header.size - 1)
    monkeypatch.setattr(snapshots, "os", disk)
    cluster.crash(2)
    term = cluster[1].raft.term
    cluster.network.heal()
    cluster.run(5)
    assert [cluster[node_id].fence for node_id in (1, 3)] == [None, None]
    assert (cluster[1].raft.is_leader, cluster[1].raft.term) == (True, term)
    assert caplog.text.count("a snapshot is not taken yet") == 1
    assert not incoming(cluster)
    assert [each.name for each in obstacles(cluster[3], age_max_s=10.0)][-1] == "catching_up"
    assert cluster[3].age_ms() >= 5_000, "it hears its leader, but its book is an old one"
    disk.free_bytes = 1 << 40
    cluster.run(shipping.RESEND_S + 2)
    assert cluster.book(3) == names(session, range(1, 31))
    assert not obstacles(cluster[3], age_max_s=10.0)
    assert cluster[3].age_ms() < 1_000


def test_a_disk_that_fills_up_under_a_transfer_fences_nobody(
    behind: tuple[Cluster, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster, session = behind
    cluster.network.heal()
    deliver_pieces(cluster, 2)

    def write(self: object, chunk: bytes) -> None:
        raise explain(Path("snapshot"), OSError(errno.EDQUOT, "quota used up"))

    with monkeypatch.context() as patch:
        patch.setattr(snapshots._Unfinished, "write", write)
        cluster.run(3)
        assert cluster[3].fence is None
        assert not incoming(cluster)
    cluster.run(4)
    assert cluster.book(3) == names(session, range(1, 31))


def test_nobody_waits_for_room_who_is_sent_no_snapshot_any_more(
    behind: tuple[Cluster, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """1. node 3 has no room for what node 1 sends; 2. node 2, whose log is whole, catches it up."""
    cluster, session = behind
    monkeypatch.setattr(snapshots, "os", SmallDisk(0))
    cluster.network.heal()
    cluster.run(0.5)
    assert cluster[3].shipper.waits_for is not None
    cluster.crash(1)
    cluster.elect(2)
    cluster.run(shipping.INCOMING_IDLE_S + 1)
    assert cluster.book(3) == names(session, range(1, 31))
    assert cluster[3].shipper.waits_for is None


def test_who_waits_for_a_snapshot_that_is_verified_does_not_call_itself_current(
    behind: tuple[Cluster, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It hears its leader all the while, and holds what it held when it was cut off."""
    cluster, session = behind
    cluster.run(60)
    (newest, *_) = cluster.snapshots(1).candidates()
    monkeypatch.setattr(shipping, "VERIFY_BYTES", newest.path.stat().st_size // 400)
    cluster.network.heal()
    cluster.run(5)
    assert cluster[3].raft.applied_index < cluster[1].raft.applied_index
    assert cluster[3].raft.leader_id == 1
    assert cluster[3].age_ms() > 60_000
    cluster.run(60)
    assert cluster.book(3) == names(session, range(1, 31))
    assert cluster[3].age_ms() < 5_000


def test_a_snapshot_is_installed_though_an_old_one_cannot_be_removed(
    behind: tuple[Cluster, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk of some kinds refuses even that. The state is the new one by then."""
    cluster, session = behind
    folder, prune = cluster.snapshots(3).directory, snapshots.SnapshotStore.prune

    def refuse(self: snapshots.SnapshotStore, *args: Any, **named: Any) -> Any:
        if self.directory == folder:
            raise explain(folder, OSError(errno.ENOSPC, "no space"))
        return prune(self, *args, **named)

    monkeypatch.setattr(snapshots.SnapshotStore, "prune", refuse)
    cluster.network.heal()
    cluster.run(5)
    assert cluster[3].fence is None
    assert cluster.book(3) == names(session, range(1, 31))

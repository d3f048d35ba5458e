"""Elections, replication and recovery of production replicas, scenario by scenario."""

from __future__ import annotations

from pathlib import Path

import pytest

from raftbook.core.types import Reject
from raftbook.errors import StorageError
from raftbook.ops.readiness import known_leader
from raftbook.replica import appends as sending
from raftbook.storage.journal import Journal, JournalIdentity
from tests.replica.harness import TIMINGS, Cluster, Waiter


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(tmp_path)


@pytest.fixture
def keep_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a snapshot trim nearly all of the log."""
    monkeypatch.setattr("raftbook.replica.replica.LOG_KEPT_ENTRIES", 1)


def fill(cluster: Cluster, session: int, seqs: range, node_id: int = 1) -> None:
    for seq in seqs:
        waiter = cluster.order(node_id, session, seq)
        cluster.settle()
        assert waiter.acknowledged, waiter


def names(session: int, seqs: range) -> dict[str, int]:
    return {f"{session}-{seq}": 1 for seq in seqs}


def terms(cluster: Cluster) -> set[int]:
    return {replica.raft.term for replica in cluster.replicas.values()}


# -- elections ------------------------------------------------------------------------------------


def test_a_new_cluster_elects_one_leader(cluster: Cluster) -> None:
    leader = cluster.await_leader()
    cluster.run(1)
    assert cluster.leaders() == [leader]
    assert {cluster[node_id].raft.leader_id for node_id in cluster.node_ids} == {leader}


def test_one_node_alone_leads_itself(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, size=1)
    assert cluster.await_leader() == 1
    fill(cluster, cluster.open_session(1), range(1, 4))


def test_one_node_alone_shows_nothing_that_its_disk_refused(tmp_path: Path) -> None:
    """With others an entry is on their disks before it is committed; here nobody else has it, and
    who read of the order would read later that there never was one."""
    cluster = Cluster(tmp_path, size=1)
    cluster.await_leader()
    session = cluster.open_session(1)
    fill(cluster, session, range(1, 3))
    cluster.disks[1].refuse = lambda log: "disk full"
    refused = cluster.order(1, session, 3)
    cluster.run(0.1)
    assert cluster[1].fenced
    assert refused.refusal == Reject.OUTCOME_UNKNOWN
    assert cluster.book(1) == names(session, range(1, 3))
    cluster.disks[1].refuse = lambda log: None
    cluster.restart(1)
    cluster.await_leader()
    assert cluster.book(1) == names(session, range(1, 3))


@pytest.mark.parametrize("seed", range(8))
def test_another_node_leads_within_a_second_of_the_leaders_death(tmp_path: Path, seed: int) -> None:
    cluster = Cluster(tmp_path, seed=seed)
    cluster.elect(1)
    session = cluster.open_session(1)
    fill(cluster, session, range(1, 4))
    cluster.run(0.5)
    cluster.crash(1)
    cluster.run_until(cluster.leaders, within_s=1.5)
    fill(cluster, session, range(4, 6), node_id=cluster.leader)
    assert cluster.book(cluster.leader) == names(session, range(1, 6))


def test_a_node_that_was_cut_off_deposes_nobody_when_it_is_back(cluster: Cluster) -> None:
    cluster.elect(1)
    term = cluster[1].raft.term
    cluster.network.cut([3], [1, 2])
    cluster.run(10)
    cluster.network.heal()
    cluster.run(3)
    assert cluster.leaders() == [1]
    assert terms(cluster) == {term}


def test_a_node_that_only_cannot_hear_the_leader_deposes_nobody(cluster: Cluster) -> None:
    cluster.elect(1)
    term = cluster[1].raft.term
    cluster.network.cut_one_way(1, 3)
    cluster.run(10)
    assert cluster.leaders() == [1]
    assert terms(cluster) == {term}


def test_a_node_behind_is_not_elected(cluster: Cluster) -> None:
    cluster.elect(1)
    session = cluster.open_session(1)
    cluster.network.cut([3], [1, 2])
    fill(cluster, session, range(1, 4))
    cluster.crash(1)
    cluster.network.ways[2, 3].allowed = cluster.network.ways[3, 2].allowed = True
    cluster.run(3)
    assert cluster.leaders() == [2]
    cluster.run(1)
    assert cluster.book(3) == names(session, range(1, 4))


def test_a_leader_without_a_majority_gives_up_in_time(cluster: Cluster) -> None:
    cluster.elect(1)
    cluster.network.cut([1], [2, 3])
    cluster.run(TIMINGS.fallback_s + 0.1)
    assert not cluster[1].raft.is_leader
    assert cluster[1].raft.leader_id is None


@pytest.mark.parametrize("size", [3, 5])
def test_age_grows_from_when_a_majority_was_last_known(tmp_path: Path, size: int) -> None:
    """A cut-off leader does not know yet that it is one, but it knows that nobody answers."""
    cluster = Cluster(tmp_path, size=size)
    cluster.elect(1)
    cluster.run(1)
    assert all(cluster[node_id].age_ms() <= 80 for node_id in cluster.node_ids)
    others = cluster.node_ids[1:]
    cluster.network.cut([1, others[0]] if size == 5 else [1], others[size // 4 :])
    cluster.run(0.6)
    assert cluster[1].raft.is_leader
    assert 500 <= cluster[1].age_ms() <= 700
    cluster.run(2)
    assert not cluster[1].raft.is_leader
    assert cluster[1].age_ms() >= 1_200
    cluster.network.heal()
    cluster.run(1.5)
    assert all(cluster[node_id].age_ms() <= 100 for node_id in cluster.node_ids)


def test_a_node_that_starts_is_as_old_as_its_last_entry_until_it_hears_of_a_leader(
    cluster: Cluster,
) -> None:
    cluster.elect(1)
    session = cluster.open_session(1)
    fill(cluster, session, range(1, 3))
    cluster.run(0.2)
    cluster[3].start_snapshot()
    cluster.run(5)
    cluster.network.cut([3], [1, 2])
    cluster.restart(3)
    cluster.network.cut([3], [1, 2])
    cluster.run(7)
    assert 12_000 <= cluster[3].age_ms() <= 12_500
    cluster.network.heal()
    cluster.run(1)
    assert cluster[3].age_ms() <= 80


def test_a_node_alone_is_always_current(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, size=1)
    cluster.await_leader()
    cluster.run(5)
    assert cluster[1].age_ms() == 0


def test_a_vote_outlives_a_restart(cluster: Cluster) -> None:
    cluster.await_leader()
    cluster.run(0.2)
    term = cluster[3].raft.term + 1
    log = cluster[3]._log
    vote = {"type": "request_vote", "term": term, "last_log_index": 99, "last_log_term": term}
    cluster[3].receive(1, cluster.said_by(1, vote))
    cluster.turn(3)
    cluster.restart(3)
    cluster.network.records = True
    cluster[3].receive(2, cluster.said_by(2, vote))
    cluster.turn(3)
    assert (log.term, log.voted_for) == (term, 1)
    assert (cluster[3]._log.term, cluster[3]._log.voted_for) == (term, 1)
    assert not [m for source, _, m in cluster.network.sent if m["type"] == "response_vote"]


def test_a_vote_that_was_not_synced_was_not_given(cluster: Cluster) -> None:
    cluster.await_leader()
    follower = next(node_id for node_id in cluster.node_ids if node_id != cluster.leader)
    cluster.disks[follower].refuse = lambda log: "killed"
    term = cluster[follower].raft.term + 1
    vote = {"type": "request_vote", "term": term, "last_log_index": 99, "last_log_term": term}
    cluster.network.records = True
    cluster[follower].receive(cluster.leader, cluster.said_by(cluster.leader, vote))
    cluster.turn(follower)
    assert cluster.network.sent == []


def test_a_late_node_reads_what_arrived_before_it_stands(cluster: Cluster) -> None:
    """Its process was stopped; the leader's heartbeats wait in its sockets."""
    cluster.elect(1)
    cluster.run(1)
    term = cluster[1].raft.term
    for _ in range(100):
        cluster.clock.now += 0.02
        cluster.turn(1)
        cluster.network.deliver(1, 2)
        cluster.turn(2)
        cluster.network.deliver(2, 1)
    cluster.turn(3)
    cluster.run(1)
    assert cluster.leaders() == [1]
    assert terms(cluster) == {term}


# -- transfer -------------------------------------------------------------------------------------


def test_leadership_is_handed_over_without_a_pause(cluster: Cluster) -> None:
    cluster.elect(1)
    session = cluster.open_session(1)
    fill(cluster, session, range(1, 4))
    cluster.run(0.2)
    assert cluster[1].raft.transfer_to(3)
    cluster.settle()
    cluster.run(0.06)
    assert cluster.leaders() == [3]
    fill(cluster, session, range(4, 6), node_id=1)


def test_leadership_is_not_handed_to_who_is_behind(cluster: Cluster) -> None:
    cluster.elect(1)
    session = cluster.open_session(1)
    cluster.network.cut([3], [1, 2])
    fill(cluster, session, range(1, 3))
    assert not cluster[1].raft.transfer_to(3)
    assert not cluster[1].raft.transfer_to(1)
    assert not cluster[2].raft.transfer_to(3)


@pytest.mark.parametrize("cut", [([3], [1, 2]), ([1], [2, 3]), ([2], [1, 3])])
def test_a_transfer_during_a_partition_loses_nothing(
    cluster: Cluster, cut: tuple[list[int], list[int]]
) -> None:
    cluster.elect(1)
    session = cluster.open_session(1)
    fill(cluster, session, range(1, 4))
    cluster.run(0.2)
    cluster[1].raft.transfer_to(3)
    doubted = cluster.order(1, session, 4)
    cluster.turn(1)
    cluster.network.deliver(1, 3, count=1)
    cluster.network.cut(*cut)
    cluster.run(1.9)
    cluster.network.heal()
    cluster.run(3)
    assert doubted.answers == 1
    book = cluster.book(cluster.leader)
    assert names(session, range(1, 4)).items() <= book.items()
    assert book[f"{session}-4"] == 1 or not doubted.acknowledged
    cluster.check_agreement()


# -- the log --------------------------------------------------------------------------------------


def test_a_conflicting_end_is_cut(cluster: Cluster) -> None:
    cluster.elect(1)
    session = cluster.open_session(1)
    fill(cluster, session, range(1, 3))
    cluster.network.cut([1], [2, 3])
    for seq in range(10, 15):
        cluster.order(1, session, seq)
        cluster.settle()
    cluster.elect(2)
    fill(cluster, session, range(3, 5), node_id=2)
    assert cluster[1].last_index > cluster[2].last_index
    cluster.crash(1)
    cluster.network.heal()
    cluster.start(1)
    cluster.run(1)
    assert cluster[1]._log.entries == cluster[2]._log.entries
    assert cluster.book(1) == names(session, range(1, 5))


def test_a_leader_that_contradicts_a_committed_entry_stops_the_node(cluster: Cluster) -> None:
    cluster.elect(1)
    fill(cluster, cluster.open_session(1), range(1, 4))
    cluster.run(0.2)
    message = {
        "type": "append",
        "term": 9,
        "commit_index": 1,
        "prev_index": 2,
        "prev_term": cluster[2]._log.entries[1][2],
        "entries": ((b"\x01", 3, 9),),
    }
    before = list(cluster[2]._log.entries)
    cluster[2].receive(3, cluster.said_by(3, message))
    cluster.turn(2)
    assert "contradicts committed entry 3" in (cluster[2].fenced or "")
    assert cluster[2]._log.entries == before


@pytest.mark.parametrize("count", [1, 2, 5])
def test_old_appends_after_a_reconnect_change_nothing(cluster: Cluster, count: int) -> None:
    """What an older connection still held arrives, all of it or a part, again and again."""
    cluster.elect(1)
    session = cluster.open_session(1)
    cluster.network.hold(1, 2)
    fill(cluster, session, range(1, 6))
    cluster.network.release(1, 2)
    cluster.network.reset(1, 2, late=True)
    fill(cluster, session, range(6, 12))
    cluster.run(0.2)
    log = list(cluster[2]._log.entries)
    while cluster.network.deliver_late(1, 2, count):
        cluster.turn(2)
    assert cluster[2]._log.entries == log
    cluster.run(0.5)
    assert cluster.book(2) == names(session, range(1, 12))


def test_a_follower_far_behind_is_caught_up_in_bounded_messages(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "APPEND_ENTRIES_MAX", 7)
    monkeypatch.setattr(sending, "IN_FLIGHT_ENTRIES_MAX", 20)
    cluster.elect(1)
    session = cluster.open_session(1)
    cluster.network.cut([3], [1, 2])
    fill(cluster, session, range(1, 100))
    cluster.network.records = True
    cluster.network.heal()
    cluster.run(1)
    appends = [m for _, target, m in cluster.network.sent if target == 3 and m["type"] == "append"]
    assert max(len(message["entries"]) for message in appends) == 7
    assert cluster.book(3) == names(session, range(1, 100))


def test_a_follower_that_refuses_many_messages_is_asked_once(cluster: Cluster) -> None:
    """A new leader begins at its own log's end: what it sends a follower that is behind, before the
    first answer arrives, is refused."""
    cluster.elect(1)
    session = cluster.open_session(1)
    cluster.network.cut([3], [1, 2])
    fill(cluster, session, range(1, 10))
    cluster.elect(2)
    cluster.network.heal()
    cluster.network.hold(3, 2)
    had = cluster[3].last_index
    for seq in range(10, 60):
        cluster.order(2, session, seq)
        cluster.turn(2)
        cluster.network.deliver(2, 3)
        cluster.turn(3)
    cluster.network.records = True
    cluster.network.release(3, 2)
    cluster.run(1)
    sent = [m["entries"] for _, to, m in cluster.network.sent if to == 3 and m["type"] == "append"]
    assert sum(map(len, sent)) == cluster[2].last_index - had  # each that it lacked, once
    assert cluster.book(3) == names(session, range(1, 60))


def test_it_is_asked_again_when_the_question_was_lost(cluster: Cluster) -> None:
    cluster.elect(1)
    session = cluster.open_session(1)
    cluster.network.cut([3], [1, 2])
    fill(cluster, session, range(1, 10))
    cluster.elect(2)
    cluster.network.heal()
    cluster.turn(2)
    cluster.network.deliver(2, 3)
    cluster.turn(3)
    cluster.network.deliver(3, 2)
    cluster.turn(2)
    assert cluster[2].raft._doubted
    cluster.network.ways[2, 3].queue.clear()
    cluster.run(2 * TIMINGS.election_min_s + 0.1)
    assert cluster.book(3) == names(session, range(1, 10))
    assert not cluster[2].raft._doubted


def test_a_follower_far_behind_is_not_sent_more_than_a_connection_may_buffer(
    cluster: Cluster,
) -> None:
    cluster.elect(1)
    cluster.network.cut([3], [1, 2])
    for _ in range(150):
        cluster[1].raft.propose([bytes(200_000)])
        cluster.settle()
    cluster.network.heal()
    cluster.network.hold(1, 3)
    cluster.run(0.5)
    waiting = sum(len(message) for message in cluster.network.ways[1, 3].queue)
    assert waiting < sending.IN_FLIGHT_BYTES_MAX + 2 * sending.APPEND_BYTES_MAX
    cluster.network.release(1, 3)
    cluster.run(0.5)
    assert cluster[3].last_index == cluster[1].last_index


def test_a_leader_commits_entries_of_earlier_terms_with_one_of_its_own_only(
    cluster: Cluster,
) -> None:
    """Figure 8 of the Raft paper: an entry on a majority is not yet safe if its term is old."""
    cluster.elect(1)
    cluster.network.cut([1], [2, 3])
    cluster.order(1, 7, 1)
    cluster.settle()
    old_index = cluster[1].last_index
    cluster.restart(1)
    cluster.network.heal()
    cluster.stand(1)
    cluster.turn(1)
    for peer_id in (2, 3):
        cluster.network.deliver(1, peer_id)
        cluster.turn(peer_id)
        cluster.network.deliver(peer_id, 1)
    cluster.turn(1)
    assert cluster[1].raft.is_leader
    reply = {"type": "append_reply", "term": cluster[1].raft.term, "success": True}
    for index, committed in ((old_index, 1), (old_index + 1, old_index + 1)):
        for peer_id in (2, 3):
            cluster[1].receive(peer_id, cluster.said_by(peer_id, {**reply, "index": index}))
        cluster.turn(1)
        assert cluster[1].raft.commit_index == committed


# -- crashes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("unsynced", ["leader", "follower", "both"])
def test_an_unsynced_end_is_lost_and_was_not_acknowledged(cluster: Cluster, unsynced: str) -> None:
    cluster.elect(1)
    session = cluster.open_session(1)
    fill(cluster, session, range(1, 4))
    cluster.network.cut([3], [1, 2])
    for node_id in {"leader": [1], "follower": [2], "both": [1, 2]}[unsynced]:
        cluster.disks[node_id].refuse = lambda log: "power lost"
    doubted = cluster.order(1, session, 4)
    cluster.settle()
    assert not doubted.acknowledged
    for node_id in (1, 2):
        cluster.crash(node_id)
        cluster.disks[node_id].refuse = lambda log: None
    cluster.network.heal()
    for node_id in (1, 2):
        cluster.start(node_id)
    cluster.run(4)
    book = cluster.book(cluster.leader)
    assert names(session, range(1, 4)).items() <= book.items()
    assert set(book.values()) == {1}
    cluster.check_agreement()


@pytest.mark.parametrize("victims", [[1], [2], [1, 2], [1, 2, 3]])
def test_restarted_nodes_have_the_same_book(cluster: Cluster, victims: list[int]) -> None:
    cluster.elect(1)
    session = cluster.open_session(1)
    fill(cluster, session, range(1, 20))
    for node_id in victims:
        cluster.crash(node_id)
    for node_id in victims:
        cluster.start(node_id)
    cluster.run(3)
    for node_id in cluster.node_ids:
        assert cluster.book(node_id) == names(session, range(1, 20))
    cluster.check_agreement()


# -- snapshot and log at a start ------------------------------------------------------------------


def behind_a_snapshot(cluster: Cluster, keep_few: None) -> int:
    """Node 1 leads with a snapshot that covers what node 3 lacks."""
    cluster.elect(1)
    session = cluster.open_session(1)
    fill(cluster, session, range(1, 4))
    cluster.run(0.2)
    cluster.network.cut([3], [1, 2])
    fill(cluster, session, range(4, 21))
    cluster.compact(1)
    assert cluster[1]._log.base_index > cluster[3].last_index
    return session


def test_a_snapshot_brings_back_a_node_behind_the_log(cluster: Cluster, keep_few: None) -> None:
    session = behind_a_snapshot(cluster, keep_few)
    cluster.network.heal()
    cluster.run(1)
    assert cluster[3].snapshot_index > 1
    assert cluster.book(3) == names(session, range(1, 21))
    fill(cluster, session, range(21, 25))
    cluster.run(0.2)
    cluster.check_agreement()
    assert cluster.book(3) == names(session, range(1, 25))


@pytest.mark.parametrize("end", ["shorter", "longer, conflicting", "longer, equal"])
def test_killed_when_an_installed_snapshot_has_its_name_and_the_log_does_not_know(
    cluster: Cluster, keep_few: None, end: str
) -> None:
    session = behind_a_snapshot(cluster, keep_few)
    equal = {index: term for _, index, term in cluster[2]._log.entries}
    if end == "longer, conflicting":
        for index in range(cluster[3].last_index + 1, 30):
            cluster[3]._log.append(b"\x01", index, cluster[3].raft.term)
    elif end == "longer, equal":
        entries = cluster[2]._log.entries
        for payload, index, term in entries[cluster[3].last_index :]:
            cluster[3]._log.append(payload, index, term)
    cluster[3]._log.sync()
    if end == "longer, conflicting":
        cluster.elect(2)
        cluster.network.cut([3], [1, 2])
        fill(cluster, session, range(21, 45), node_id=2)
        cluster.compact(2)
    cluster.crash(3)
    source = cluster.leader
    for path in cluster.snapshot_directory(source).iterdir():
        cluster.snapshot_directory(3).joinpath(path.name).write_bytes(path.read_bytes())
    cluster.start(3)
    assert cluster[3].raft.applied_index == cluster[source].snapshot_index
    if end == "longer, equal":
        assert cluster[3].last_index == max(equal)
    cluster.network.heal()
    cluster.run(2)
    assert cluster.book(3) == cluster.book(source)
    cluster.check_agreement()


def test_killed_in_the_install_of_a_snapshot_from_a_term_it_had_not_heard_of(
    tmp_path: Path, keep_few: None
) -> None:
    """1. node 3 is cut off in term 1; 2. a leader of a later term ships it a snapshot at once;
    3. node 3 is killed when the file has its name, before term and log are synced."""
    journals: dict[int, Journal] = {}

    def open_log(node_id: int) -> Journal:
        identity = JournalIdentity("test", node_id, "00")
        journals[node_id] = Journal.open(tmp_path / f"journal-{node_id}", identity)
        return journals[node_id]

    cluster = Cluster(tmp_path, open_log=open_log)
    cluster.elect(1)
    session = cluster.open_session(1)
    fill(cluster, session, range(1, 4))
    cluster.network.cut([3], [1, 2])
    cluster.elect(2)
    cluster.elect(1)
    fill(cluster, session, range(4, 21))
    cluster[1].start_snapshot()
    cluster.run(0.1)
    cluster.crash(3)
    journals[3].close()
    for path in cluster.snapshot_directory(1).iterdir():
        cluster.snapshot_directory(3).joinpath(path.name).write_bytes(path.read_bytes())
    cluster.start(3)
    cluster.network.heal()
    cluster.run(1)
    assert cluster.book(3) == names(session, range(1, 21))
    for journal in journals.values():
        journal.check()
        journal.close()


def test_a_log_that_was_trimmed_further_than_any_snapshot_refuses_to_start(
    cluster: Cluster, keep_few: None
) -> None:
    session = behind_a_snapshot(cluster, keep_few)
    fill(cluster, session, range(21, 30))
    cluster.compact(1)
    cluster.crash(1)
    paths = list(cluster.snapshot_directory(1).iterdir())
    for path in paths:
        path.write_bytes(path.read_bytes()[:4_100])
    with pytest.raises(StorageError, match="no readable snapshot covers") as caught:
        cluster.start(1)
    assert all(path.name in str(caught.value) for path in paths)


# -- many clients at once -------------------------------------------------------------------------


def test_every_replica_has_the_same_digest_at_every_index(cluster: Cluster) -> None:
    cluster.elect(1)
    sessions = {node_id: cluster.open_session(node_id) for node_id in cluster.node_ids}
    waiters: list[Waiter] = []
    for seq in range(1, 60):
        for node_id, session in sessions.items():
            waiters.append(cluster.order(node_id, session, seq))
        cluster.run(0.02)
        if seq % 20 == 0:
            cluster.elect(seq // 20 % 3 + 1)
    cluster.run(1)
    assert all(waiter.acknowledged for waiter in waiters)
    cluster.check_agreement()
    digests = {cluster[node_id].machine.state_digest() for node_id in cluster.node_ids}
    assert len(digests) == 1


def test_a_node_that_catches_up_by_the_log_is_as_old_as_what_it_has(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has applied all that it was sent, after each message; more is committed."""
    cluster.elect(1)
    session = cluster.open_session(1)
    cluster.run(0.2)
    cluster.network.cut([3], [1, 2])
    fill(cluster, session, range(1, 31))
    cluster.run(5)
    monkeypatch.setattr("raftbook.replica.appends.APPEND_ENTRIES_MAX", 4)
    cluster.network.heal()
    cluster.network.hold(1, 3)
    ages: list[int] = []
    began_at = cluster[3].raft.applied_index
    while cluster[3].raft.applied_index < cluster[1].raft.commit_index:
        ages.append(cluster[3].age_ms())
        if cluster[3].raft.applied_index > began_at:  # then it hears its leader, and is told so
            assert known_leader(cluster[3]) == 1
            assert "lacks entries" in cluster[3].last_word()
        cluster.clock.now += 0.001
        for way in cluster.network.ways:
            cluster.network.deliver(*way, count=1)
        for node_id in cluster.node_ids:
            cluster.turn(node_id)
        while cluster[3].needs_turn():
            cluster.turn(3)
    assert len(ages) >= 8 and min(ages) >= 5_000
    assert cluster[3].age_ms() <= 80


@pytest.mark.parametrize(
    ("bound", "most"), [("APPLY_BYTES_PER_TURN_MAX", 1), ("APPLY_S_PER_TURN_MAX", 0.0)]
)
def test_a_node_with_much_to_apply_is_as_old_as_what_it_has_applied(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, bound: str, most: float
) -> None:
    cluster.elect(1)
    session = cluster.open_session(1)
    cluster.run(0.2)
    cluster.network.cut([3], [1, 2])
    for number in range(1, 31):
        fill(cluster, session, range(number, number + 1))
    cluster.run(5)
    monkeypatch.setattr(f"raftbook.replica.raft.{bound}", most)
    ages: list[int] = []
    turn = cluster.turn

    def watched(node_id: int) -> None:
        turn(node_id)
        if cluster[3].raft.needs_turn():
            ages.append(cluster[3].age_ms())

    monkeypatch.setattr(cluster, "turn", watched)
    cluster.network.heal()
    cluster.run(3)
    assert len(ages) >= 29 and min(ages) >= 5_000
    assert cluster[3].age_ms() <= 80

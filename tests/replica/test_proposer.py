"""Requests on their way: order, exactly one effect, exactly one answer."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from raftbook.core.commands import NO_SESSION, open_session
from raftbook.core.events import REJECTED
from raftbook.core.types import Reject
from raftbook.replica import proposer as proposer_module
from raftbook.replica import replica as replica_module
from raftbook.replica import routing
from raftbook.replica.proposer import Forwarded, Proposer
from raftbook.wire.entry import pack_request
from raftbook.wire.packing import pack
from tests.replica.harness import BOUNDS, Cluster, Waiter, buy


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(tmp_path)


def entered(cluster: Cluster, node_id: int) -> list[str]:
    """The orders of a node's book in the order they entered it."""
    (account,) = cluster[node_id].machine.exchange.accounts.values()
    return [order.terms[2] for _, order in sorted(account.orders.items())]


# -- the class alone ------------------------------------------------------------------------------


def test_requests_leave_in_order_and_once_until_the_way_changes() -> None:
    proposer = Proposer(pending_max=10, deadline_s=2.0, bytes_max=100)
    for seq in (1, 2, 3):
        proposer.submit((7, seq), b"%d" % seq, Waiter(), now=0.0)
    assert list(proposer.take()) == [b"1", b"2", b"3"]
    assert list(proposer.take()) == []
    proposer.answered((7, 2))
    proposer.resend_all()
    proposer.submit((7, 4), b"4", Waiter(), now=0.0)
    assert list(proposer.take()) == [b"1", b"3", b"4"]


def test_a_request_that_expired_in_the_queue_does_not_leave() -> None:
    proposer = Proposer(pending_max=10, deadline_s=2.0, bytes_max=100)
    proposer.submit((7, 1), b"1", Waiter(), now=0.0)
    (refusal,) = proposer.expire(2.0)
    assert refusal.code == Reject.NO_LEADER
    assert list(proposer.take()) == []


def test_what_expired_is_not_queued_for_a_leader_that_does_not_come() -> None:
    proposer = Proposer(pending_max=10, deadline_s=2.0, bytes_max=100)
    for seq in range(1_000):
        proposer.submit((7, seq), b"x", Waiter(), now=float(seq))
        proposer.expire(float(seq))
    assert len(proposer) == len(proposer._queue) <= 3


def test_only_what_left_the_node_has_an_unknown_outcome() -> None:
    proposer = Proposer(pending_max=10, deadline_s=2.0, bytes_max=100)
    proposer.submit((7, 1), b"1", Waiter(), now=0.0)
    list(proposer.take())
    proposer.submit((7, 2), b"2", Waiter(), now=0.0)
    codes = {refusal.key[1]: refusal.code for refusal in proposer.expire(9.0)}
    assert codes == {1: Reject.OUTCOME_UNKNOWN, 2: Reject.NO_LEADER}


def test_nothing_expires_before_its_deadline() -> None:
    proposer = Proposer(pending_max=10, deadline_s=2.0, bytes_max=100)
    proposer.submit((7, 1), b"1", Waiter(), now=0.0)
    proposer.submit((7, 2), b"2", Waiter(), now=1.0)
    assert [refusal.key for refusal in proposer.expire(2.5)] == [(7, 1)]
    assert len(proposer) == 1


def test_a_repeated_request_waits_with_the_first() -> None:
    proposer = Proposer(pending_max=1, deadline_s=2.0, bytes_max=100)
    waiters = [Waiter(), Waiter()]
    for waiter in waiters:
        assert proposer.submit((7, 1), b"1", waiter, now=0.0) is None
    assert proposer.answered((7, 1)) == waiters
    assert proposer.answered((7, 1)) == []


def test_who_is_one_too_many_to_wait_for_a_request_does_not_hear_that_it_has_no_effect() -> None:
    proposer = Proposer(pending_max=1, deadline_s=2.0, bytes_max=100)
    waiters = [Waiter() for _ in range(proposer_module.WAITERS_MAX)]
    for waiter in waiters:
        assert proposer.submit((7, 1), b"1", waiter, now=0.0) is None
    refusal = proposer.submit((7, 1), b"1", Waiter(), now=0.0)
    assert refusal is not None
    assert refusal.code == Reject.OUTCOME_UNKNOWN
    assert proposer.answered((7, 1)) == waiters


def test_what_finds_no_room_is_refused() -> None:
    proposer = Proposer(pending_max=1, deadline_s=2.0, bytes_max=100)
    proposer.submit((7, 1), b"1", Waiter(), now=0.0)
    refusal = proposer.submit((7, 2), b"2", Waiter(), now=0.0)
    assert refusal is not None
    assert refusal.code == Reject.OVERLOADED
    assert list(proposer.take()) == [b"1"]


def test_requests_wait_in_a_bounded_number_of_bytes() -> None:
    proposer = Proposer(pending_max=10, deadline_s=2.0, bytes_max=100)
    assert proposer.submit((7, 1), bytes(60), Waiter(), now=0.0) is None
    refusal = proposer.submit((7, 2), bytes(41), Waiter(), now=0.0)
    assert refusal is not None and refusal.code == Reject.OVERLOADED
    assert proposer.submit((7, 3), bytes(40), Waiter(), now=1.0) is None
    proposer.answered((7, 1))
    assert proposer.submit((7, 4), bytes(60), Waiter(), now=1.0) is None
    assert proposer.submit((7, 5), b"1", Waiter(), now=1.0) is not None
    proposer.expire(9.0)
    assert proposer.submit((7, 6), bytes(100), Waiter(), now=9.0) is None
    proposer.give_up_all()
    assert proposer.submit((7, 7), bytes(100), Waiter(), now=9.0) is None


def test_one_turn_takes_a_bounded_part_and_the_next_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(proposer_module, "TURN_BYTES_MAX", 4)
    monkeypatch.setattr(proposer_module, "TURN_REQUESTS_MAX", 3)
    proposer = Proposer(pending_max=10, deadline_s=2.0, bytes_max=100)
    forwarded = Forwarded(pending_max=10, bytes_max=100)
    sizes = (1, 1, 1, 1, 5, 2, 2)
    for seq, size in enumerate(sizes):
        proposer.submit((7, seq), bytes(size), Waiter(), now=0.0)
    for taking in (proposer, forwarded):
        if taking is forwarded:
            forwarded.add(2, [bytes(size) for size in sizes])
        turns = [[len(raw) for raw in taking.take()] for _ in range(4)]
        assert turns == [[1, 1, 1], [1, 5], [2, 2], []]
    assert not proposer.has_queued() and not forwarded


def test_resending_keeps_the_order_of_arrival_whatever_had_left() -> None:
    proposer = Proposer(pending_max=10, deadline_s=2.0, bytes_max=100)
    for seq in (5, 1, 3):
        proposer.submit((7, seq), b"%d" % seq, Waiter(), now=0.0)
    proposer.take()
    proposer.submit((7, 2), b"2", Waiter(), now=0.0)
    proposer.resend_all()
    proposer.resend_all()  # twice is once
    assert proposer.take() == [b"5", b"1", b"3", b"2"]
    assert not proposer.has_queued()
    proposer.answered((7, 5))
    proposer.resend_all()
    proposer.answered((7, 1))  # answered while it waits to leave again
    assert proposer.take() == [b"3", b"2"]


def test_resending_changes_no_deadline() -> None:
    proposer = Proposer(pending_max=10, deadline_s=2.0, bytes_max=100)
    proposer.submit((7, 1), b"1", Waiter(), now=0.0)
    proposer.take()
    proposer.resend_all()
    assert [refusal.code for refusal in proposer.expire(2.0)] == [Reject.OUTCOME_UNKNOWN]
    assert proposer.take() == []


def test_each_peers_forwarded_requests_are_bounded_alone() -> None:
    forwarded = Forwarded(pending_max=3, bytes_max=10)
    assert forwarded.add(2, [b"1", b"2"])
    assert not forwarded.add(2, [b"3", b"4"])  # nothing of it, so that order is kept
    assert forwarded.add(2, [b"5"])
    assert forwarded.add(3, [bytes(10)])
    assert not forwarded.add(3, [b"1"])
    assert forwarded.take() == [b"1", b"2", b"5", bytes(10)]
    assert forwarded.add(3, [bytes(10)])


# -- what a peer forwards -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"\xc1",
        pack((7, 1)),
        pack((7, 1, ((1, (2,)),))),
        pack_request(7, 1, ()) * 2,
        pack_request(7, 9, ((1, "x" * 300_000),)),
    ],
    ids=lambda raw: raw[:8].hex(),
)
def test_a_bad_request_from_a_peer_voids_no_entry(
    cluster: Cluster, bad: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    cluster.elect(1)
    session = cluster.open_session(1)
    waiter = cluster.order(1, session, 1)
    good = pack_request(session, 2, (buy(session, 2),))
    cluster[1].receive(2, {"type": "forward", "requests": (good, bad)})
    cluster.run(0.2)
    assert waiter.acknowledged
    assert cluster.book(2) == Counter({f"{session}-1": 1})
    assert "requests forwarded by node 2 are refused" in caplog.text


def test_a_peer_that_sends_nothing_but_nonsense_fills_no_log(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    cluster.elect(1)
    for _ in range(100):
        cluster[1].receive(2, {"type": "forward", "requests": (b"nonsense",)})
        cluster.run(0.02)
    assert 2 <= caplog.text.count("requests forwarded by node 2 are refused") <= 3


def test_a_flood_of_repeated_frames_changes_nothing_and_takes_bounded_room(
    cluster: Cluster,
) -> None:
    """A peer says everything it ever said again and again; what it forwarded as well."""
    cluster.network.records = True
    cluster.elect(1)
    session = cluster.open_session(2)
    fill_waiters = [cluster.order(2, session, seq) for seq in range(1, 6)]
    cluster.run(0.5)
    assert all(waiter.acknowledged for waiter in fill_waiters)
    cluster.network.records = False
    frames = [pack(message) for source, _, message in cluster.network.sent if source == 2]
    own = pack({"type": "forward", "requests": (pack_request(session, 1, (buy(session, 1),)),) * 9})
    way = cluster.network.ways[2, 1]
    for _ in range(40):
        way.queue.extend(frames)
        way.queue.extend([own] * 50)
        cluster.turn(1)
        cluster.network.deliver(2, 1)
        assert len(cluster[1]._forwarded._by_peer.get(2, ())) <= BOUNDS.requests_pending_max
        cluster.turn(1)
        assert cluster[1]._inbox == []
    cluster.run(1)
    assert cluster[1].fenced is None
    assert cluster.leaders() == [1]
    cluster.check_agreement()
    for node_id in cluster.node_ids:
        assert cluster.book(node_id) == Counter({f"{session}-{seq}": 1 for seq in range(1, 6)})


# -- over a change of leader ----------------------------------------------------------------------


@pytest.mark.parametrize("new_leader", [1, 3])
def test_requests_of_a_session_keep_their_order_over_a_change_of_leader(
    cluster: Cluster, new_leader: int
) -> None:
    """1. node 1 leads and gets some of them; 2. its answers do not come back; 3. the connections
    are new, or the leader."""
    cluster.elect(1)
    session = cluster.open_session(2)
    cluster.network.hold(1, 2)
    waiters = []
    for seq in range(1, 12):
        waiters.append(cluster.order(2, session, seq))
        cluster.turn(2)
        if seq == 6:
            cluster.network.deliver(2, 1)
            cluster.turn(1)
    cluster.network.release(1, 2)
    cluster.network.break_way(1, 2)
    cluster.network.break_way(2, 1)
    cluster.elect(new_leader)
    cluster.run(1)
    assert all(waiter.acknowledged for waiter in waiters)
    for node_id in cluster.node_ids:
        assert entered(cluster, node_id) == [f"{session}-{seq}" for seq in range(1, 12)]


def test_a_forward_that_arrives_again_when_its_leader_is_elected_again_has_no_effect(
    cluster: Cluster,
) -> None:
    cluster.elect(1)
    session = cluster.open_session(2)
    waiter = cluster.order(2, session, 1)
    cluster.turn(2)
    cluster.network.reset(2, 1, late=True)
    cluster.elect(3)
    cluster.run(0.2)
    assert waiter.acknowledged
    cluster.elect(1)
    assert cluster.network.deliver_late(2, 1) > 0
    cluster.run(0.5)
    for node_id in cluster.node_ids:
        assert cluster.book(node_id) == Counter({f"{session}-1": 1})


def test_the_same_request_through_every_node_is_applied_once(cluster: Cluster) -> None:
    cluster.elect(1)
    session = cluster.open_session(1)
    waiters = [cluster.order(node_id, session, 1) for node_id in cluster.node_ids * 3]
    cluster.run(0.5)
    assert all(waiter.acknowledged for waiter in waiters)
    replies = {waiter.reply[:5].__repr__() for waiter in waiters if waiter.reply}
    assert len(replies) == 1  # the same entry, the same events
    assert cluster.book(3) == Counter({f"{session}-1": 1})


def test_a_session_opened_twice_with_one_key_is_one_session(cluster: Cluster) -> None:
    cluster.elect(1)
    command = open_session("ann", "laptop")
    waiters = [
        cluster.submit(node_id, NO_SESSION, 100 + node_id, command) for node_id in cluster.node_ids
    ]
    cluster.run(0.5)
    ids = {waiter.reply[4][0][2] for waiter in waiters if waiter.reply}
    assert len(ids) == 1
    assert all(waiter.reply for waiter in waiters)


def test_a_request_older_than_the_window_is_never_applied_again(cluster: Cluster) -> None:
    """The window of the test is 8 replies."""
    cluster.elect(1)
    session = cluster.open_session(2)
    cluster.order(2, session, 1)
    cluster.turn(2)
    cluster.network.reset(2, 1, late=True)
    cluster.run(0.2)
    for seq in range(2, 12):
        cluster.order(1, session, seq)
    cluster.run(0.2)
    cluster.network.deliver_late(2, 1)
    cluster.run(0.2)
    again = cluster.order(3, session, 1)
    cluster.run(0.2)
    assert again.reply is not None
    assert [event[0:3] for event in again.reply[4]] == [(REJECTED, 0, Reject.STALE_REQUEST)]
    assert cluster.book(1) == Counter({f"{session}-{seq}": 1 for seq in range(1, 12)})


@pytest.mark.parametrize("gap", [7, 8])
def test_a_request_at_the_edge_of_the_window_is_applied_or_refused_but_never_both(
    cluster: Cluster, gap: int
) -> None:
    """Request 1 is overtaken by request 1 + gap: 7 is inside the window of 8, 8 is not."""
    cluster.elect(1)
    session = cluster.open_session(1)
    cluster.order(1, session, 1 + gap)
    cluster.run(0.1)
    late = [cluster.order(node_id, session, 1) for node_id in cluster.node_ids]
    cluster.run(0.2)
    assert {waiter.acknowledged for waiter in late} == {gap == 7}
    assert cluster.book(2)[f"{session}-1"] == (1 if gap == 7 else 0)


# -- answers --------------------------------------------------------------------------------------


def test_every_request_gets_one_answer_by_its_deadline_whatever_happens(cluster: Cluster) -> None:
    cluster.elect(1)
    session = cluster.open_session(1)
    waiters = []
    for step in range(40):
        for node_id in cluster.replicas:
            waiters.append(cluster.order(node_id, session, len(waiters) + 1))
        if step == 5:
            cluster.network.cut([1], [2, 3])
        elif step == 20:
            cluster.network.cut([2], [1, 3])
        elif step == 30:
            cluster.disks[3].refuse = lambda log: "disk full"
        cluster.run(0.1)
    cluster.run(BOUNDS.request_deadline_s + 0.1)
    assert {waiter.answers for waiter in waiters} == {1}
    assert [cluster[node_id].pending_count for node_id in cluster.node_ids] == [0, 0, 0]


def test_a_node_without_a_leader_says_that_nothing_was_sent(cluster: Cluster) -> None:
    cluster.network.cut([1], [2, 3])
    waiter = cluster.order(1, 7, 1)
    cluster.run(BOUNDS.request_deadline_s + 0.1)
    assert waiter.refusal == Reject.NO_LEADER


def test_a_cut_off_leader_says_that_the_outcome_is_unknown_and_it_is(cluster: Cluster) -> None:
    cluster.elect(1)
    session = cluster.open_session(1)
    cluster.network.cut([1], [2, 3])
    waiters = [cluster.order(1, session, seq) for seq in (1, 2)]
    cluster.run(BOUNDS.request_deadline_s + 0.1)
    assert [waiter.refusal for waiter in waiters] == [Reject.OUTCOME_UNKNOWN] * 2
    retried = cluster.order(cluster.leader, session, 1)
    cluster.network.heal()
    cluster.run(1)
    assert retried.acknowledged
    assert set(cluster.book(2).values()) == {1}


def test_an_answer_that_a_snapshot_swallowed_is_asked_for_again(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1. node 3 forwards an order and is cut off; 2. the order is applied, the log trimmed behind
    it; 3. node 3 gets the snapshot, in which the order is, but not the entry that answers it."""
    monkeypatch.setattr(replica_module, "LOG_KEPT_ENTRIES", 1)
    cluster.elect(1)
    session = cluster.open_session(3)
    waiter = cluster.order(3, session, 1)
    cluster.turn(3)
    cluster.network.deliver(3, 1)
    cluster.network.cut([3], [1, 2])
    for seq in range(2, 6):
        cluster.order(1, session, seq)
        cluster.settle()
    cluster.compact(1)
    assert waiter.answers == 0
    cluster.network.heal()
    cluster.run(1)
    assert waiter.acknowledged
    assert waiter.reply is not None and waiter.reply[5] == 1  # poss_dup: the original reply
    assert cluster.book(3)[f"{session}-1"] == 1


def test_many_requests_are_cut_into_entries_of_bounded_size(tmp_path: Path) -> None:
    bounds = replace(BOUNDS, entry_requests_max=10, entry_bytes_max=400)
    cluster = Cluster(tmp_path, bounds=bounds)
    cluster.elect(1)
    session = cluster.open_session(1)
    waiters = [cluster.order(2, session, seq) for seq in range(1, 100)]
    cluster.run(0.5)
    assert all(waiter.acknowledged for waiter in waiters)
    assert entered(cluster, 3) == [f"{session}-{seq}" for seq in range(1, 100)]
    applied = [each.replies for each in cluster[3].machine.recent]
    assert max(len(replies) for replies in applied) <= 10
    assert max(len(entry[0]) for entry in cluster[3]._log.entries) <= 400 + 30


def test_an_entry_holds_no_more_commands_than_a_request_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routing, "ENTRY_COMMANDS_MAX", 5)
    cluster = Cluster(tmp_path)
    cluster.elect(1)
    session = cluster.open_session(1)
    counts = (2, 3, 1, 7, 1, 4)
    waiters = [
        cluster.submit(2, session, seq, *[buy(session, seq * 10 + each) for each in range(count)])
        for seq, count in enumerate(counts, start=1)
    ]
    cluster.run(0.5)
    assert all(waiter.acknowledged for waiter in waiters)
    applied = [each.replies for each in cluster[3].machine.recent]
    assert [len(replies) for replies in applied if replies[0][0] == session] == [2, 1, 1, 2]


def test_a_leader_that_cannot_commit_proposes_a_bounded_number_of_entries(
    cluster: Cluster,
) -> None:
    cluster.elect(1)
    cluster.network.hold(2, 1)
    cluster.network.hold(3, 1)
    for seq in range(1, 200):
        cluster.order(1, 7, seq)
        cluster.turn(1)
    uncommitted = cluster[1].last_index - cluster[1].raft.commit_index
    assert uncommitted == routing.UNAPPLIED_ENTRIES_MAX

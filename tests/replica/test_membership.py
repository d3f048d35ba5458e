"""Members come, go and lose their disks; two majorities always have a node in common (F6 F15)."""

from __future__ import annotations

from pathlib import Path

import pytest

from raftbook.errors import ProtocolError
from raftbook.replica.membership import (
    MEMBERS_MAX,
    ChangeRefused,
    Member,
    Membership,
    configured,
    differences,
    founded,
    membership_payload,
    read_payload,
)
from tests.replica.harness import TIMINGS, Cluster
from tests.replica.test_raft import fill, names


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    """Three nodes of which node 1 leads."""
    cluster = Cluster(tmp_path)
    cluster.elect(1)
    cluster.run(0.2)
    return cluster


@pytest.fixture
def keep_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a snapshot trim nearly all of the log."""
    monkeypatch.setattr("raftbook.replica.replica.LOG_KEPT_ENTRIES", 1)


def grow(cluster: Cluster, node_id: int) -> None:
    """A new machine, until it votes."""
    voters = cluster.voters()
    cluster.new_machine(node_id)
    cluster.add(node_id)
    cluster.run_until_voters(*sorted((*voters, node_id)))


def shrink(cluster: Cluster, node_id: int) -> None:
    """A member goes, until that is committed."""
    voters = cluster.voters()
    cluster.remove(node_id)
    cluster.run_until_voters(*(each for each in voters if each != node_id))


def replicated(cluster: Cluster, node_id: int) -> Membership:
    return cluster[node_id].raft.committed_membership


# -- the ordinary way -----------------------------------------------------------------------------


def test_a_cluster_writes_down_who_founded_it(cluster: Cluster) -> None:
    journals = {each: cluster[each]._log.incarnation for each in cluster.node_ids}
    for node_id in cluster.node_ids:
        membership = replicated(cluster, node_id)
        assert membership.index == 3
        assert {m.node_id: m.incarnation for m in membership.members} == journals


@pytest.mark.parametrize("is_trimmed", [False, True])
def test_a_learner_votes_once_it_has_caught_up(
    cluster: Cluster, keep_few: None, is_trimmed: bool
) -> None:
    session = cluster.open_session(1)
    fill(cluster, session, range(1, 40))
    if is_trimmed:
        cluster.compact(1)
    cluster.new_machine(4)
    seen: list[Membership] = []
    cluster[1].on_members.append(lambda: seen.append(cluster[1].raft.membership))
    cluster.add(4)
    cluster.run_until_voters(1, 2, 3, 4)
    assert [each.learner_ids for each in seen if each.voter_ids == (1, 2, 3)] == [(4,), (4,)]
    assert cluster.book(4) == names(session, range(1, 40))
    assert cluster[4].raft.is_voter
    # Of four, three are needed.
    cluster.crash(2)
    fill(cluster, session, range(40, 42))
    cluster.crash(3)
    doubted = cluster.order(1, session, 42)
    cluster.run(0.5)
    assert doubted.answers == 0


def test_from_one_to_five_and_back_to_three_under_orders(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, size=1)
    cluster.await_leader()
    session, seq = cluster.open_session(1), 0
    for node_id in (2, 3, 4, 5):
        grow(cluster, node_id)
        fill(cluster, session, range(seq + 1, seq + 5), node_id=cluster.leader)
        seq += 4
    for node_id in (2, 4):
        shrink(cluster, node_id)
        fill(cluster, session, range(seq + 1, seq + 5), node_id=cluster.leader)
        seq += 4
    cluster.run(0.5)
    assert cluster.voters() == (1, 3, 5)
    for node_id in (1, 3, 5):
        assert cluster.book(node_id) == names(session, range(1, seq + 1))
    # Two of three are enough again.
    cluster.crash(1)
    cluster.run_until(cluster.leaders)
    fill(cluster, session, range(seq + 1, seq + 3), node_id=cluster.leader)
    cluster.check_agreement()


def test_a_learner_is_not_counted(cluster: Cluster) -> None:
    """Two of three voters are cut off: that a learner has the order does not commit it."""
    session = cluster.open_session(1)
    cluster.new_machine(4, start=False)
    cluster.add(4)
    cluster.settle()
    cluster.network.cut([2, 3], [1, 4])
    cluster.start(4)
    doubted = cluster.order(1, session, 1)
    cluster.run(0.5)
    assert cluster[4].last_index == cluster[1].last_index
    assert doubted.answers == 0
    cluster.run(TIMINGS.fallback_s)
    assert not cluster[1].raft.is_leader


def test_a_learner_that_never_comes_blocks_nothing_and_can_be_removed(cluster: Cluster) -> None:
    session = cluster.open_session(1)
    cluster.new_machine(4, start=False)
    cluster.add(4)
    cluster.settle()
    cluster.crash(3)
    fill(cluster, session, range(1, 5))
    cluster.run(5)
    assert cluster.voters() == (1, 2, 3)
    cluster.remove(4)
    cluster.settle()
    assert (replicated(cluster, 1).ids, replicated(cluster, 1).retired) == ((1, 2, 3), (4,))


def test_a_learner_that_crashes_goes_on_where_it_was(cluster: Cluster) -> None:
    session = cluster.open_session(1)
    fill(cluster, session, range(1, 20))
    cluster.new_machine(4)
    cluster.network.hold(1, 4)
    cluster.add(4)
    cluster.settle()
    cluster.network.deliver(1, 4, count=1)
    cluster.turn(4)
    cluster.restart(4)
    cluster.network.release(1, 4)
    cluster.run_until_voters(1, 2, 3, 4)
    assert cluster.book(4) == names(session, range(1, 20))


def test_a_learner_whose_disk_is_lost_begins_again(cluster: Cluster) -> None:
    """What the lost disk had acknowledged must not let the new one vote."""
    session = cluster.open_session(1)
    fill(cluster, session, range(1, 10))
    cluster.new_machine(4)
    cluster.network.cut([2, 3], [1])  # so that it cannot be promoted
    cluster.add(4, via=1)
    cluster.settle()
    assert cluster[1].raft.match_index(4) == cluster[1].last_index
    cluster.crash(4)
    cluster.wipe(4)
    cluster.start(4)
    cluster.network.hold(1, 4)
    cluster.settle()
    cluster.network.release(1, 4)
    cluster.network.hold(4, 1)
    cluster.run(0.1)
    cluster.network.deliver(4, 1, count=1)
    cluster.turn(1)
    assert cluster[1].raft.match_index(4) == 0


# -- one at a time --------------------------------------------------------------------------------


def test_a_second_change_while_one_is_under_way_is_refused(cluster: Cluster) -> None:
    cluster.network.cut([2, 3], [1])
    index = cluster.add(4)
    with pytest.raises(ChangeRefused, match=f"another change is under way, in entry {index}"):
        cluster.add(5)
    with pytest.raises(ChangeRefused, match="another change is under way"):
        cluster.remove(2)


def test_a_second_learner_waits_for_the_first(cluster: Cluster) -> None:
    cluster.add(4)
    cluster.settle()
    with pytest.raises(ChangeRefused, match=r"node 4 is still catching up.*cluster remove 4"):
        cluster.add(5)


def test_a_leader_that_has_committed_nothing_of_its_own_changes_nothing(cluster: Cluster) -> None:
    """The bug of single-server changes, as first described: see `configurations`."""
    cluster.crash(1)
    cluster.stand(2)
    cluster.turn(2)
    cluster.network.deliver(2, 3)
    cluster.turn(3)
    cluster.network.deliver(3, 2)
    cluster.turn(2)
    assert cluster[2].raft.is_leader
    with pytest.raises(ChangeRefused, match="committed nothing of its own yet"):
        cluster.add(4)
    cluster.settle()
    cluster.add(4)


def test_two_leaders_with_a_change_each_left_behind_do_not_both_commit(tmp_path: Path) -> None:
    """F6. 1. Node 1 of four begins to add 5 and reaches nobody; 2. node 2 leads, with 3 and 4,
    and removes 1; 3. node 1 comes back with node 5, which it takes for a fellow voter."""
    cluster = Cluster(tmp_path, 4)
    cluster.elect(1)
    session = cluster.open_session(1)
    cluster.run(0.2)
    cluster.network.cut([1], [2, 3, 4])
    cluster.new_machine(5)
    cluster.network.cut([5], [2, 3, 4])
    cluster.add(5, via=1)
    cluster.settle()
    cluster.elect(2)
    shrink(cluster, 1)
    fill(cluster, session, range(1, 4), node_id=2)
    assert cluster[1].raft.is_leader
    doubted = cluster.order(1, session, 9)
    cluster.run(TIMINGS.fallback_s + 2)
    assert not doubted.acknowledged
    assert cluster.leaders() == [2]
    cluster.network.heal()
    cluster.run(2)
    assert cluster.voters() == (2, 3, 4)
    assert cluster.book(2) == names(session, range(1, 4))
    cluster.check_agreement()


# -- leaders change in the middle -----------------------------------------------------------------


def test_a_change_that_is_cut_away_is_forgotten(cluster: Cluster) -> None:
    """1. Node 1 adds 4 and nobody hears it; 2. node 2 leads; 3. node 1 follows it again."""
    cluster.network.cut([1], [2, 3])
    cluster.add(4)
    assert cluster[1].raft.peer_ids == (2, 3, 4)
    cluster.elect(2)
    cluster.network.heal()
    cluster.run(1)
    assert cluster[1].raft.membership == cluster[2].raft.membership
    assert cluster[1].raft.peer_ids == (2, 3)
    assert cluster.voters() == (1, 2, 3)


def test_a_removal_that_is_cut_away_gives_the_vote_back(cluster: Cluster) -> None:
    cluster.network.cut([1], [2, 3])
    cluster.remove(3)
    assert cluster.voters(1) == (1, 2)
    cluster.elect(3)
    cluster.network.heal()
    cluster.run(1)
    assert cluster.voters(1) == (1, 2, 3)
    session = cluster.open_session(3)
    cluster.crash(2)
    fill(cluster, session, range(1, 3), node_id=3)


@pytest.mark.parametrize(("size", "dead"), [(3, (1,)), (5, (1, 2))])
@pytest.mark.parametrize("is_wiped", [False, True])
def test_a_removal_that_only_the_removed_one_could_have_heard_of_stops_nobody(
    tmp_path: Path, size: int, dead: tuple[int, ...], is_wiped: bool
) -> None:
    """1. Whoever leads removes a node; 2. that one is reached, nobody else; 3. the leader dies.
    The others must not meet a log that is longer by an entry which makes its holder count less."""
    cluster = Cluster(tmp_path, size=size)
    cluster.elect(1)
    session = cluster.open_session(1)
    fill(cluster, session, range(1, 3))
    for peer_id in range(2, size):
        cluster.network.hold(1, peer_id)
    cluster.remove(size)
    for _ in range(4):
        cluster.turn(1)
        cluster.network.deliver(1, size)
        cluster.turn(size)
        cluster.network.deliver(size, 1)
    for node_id in dead:
        cluster.crash(node_id)
    cluster.network.heal()
    for node_id in dead if is_wiped else ():
        cluster.wipe(node_id)
        cluster.start(node_id)
    cluster.run_until(cluster.leaders)
    fill(cluster, session, range(3, 5), node_id=cluster.leader)


def test_a_new_leader_goes_on_with_a_change_that_a_majority_may_have(cluster: Cluster) -> None:
    """1. Node 2 has the entry that adds 4, uncommitted; 2. node 1 dies; 3. node 2 commits it."""
    cluster.new_machine(4)
    cluster.network.hold(1, 3)
    cluster.network.hold(2, 1)
    cluster.add(4)
    cluster.settle()
    assert cluster[2].raft.membership.learner_ids == (4,)
    cluster.crash(1)
    cluster.network.heal()
    cluster.run_until_voters(1, 2, 3, 4)
    assert cluster.leader == 2


@pytest.mark.parametrize("step", ["added", "promoted"])
def test_all_restart_in_the_middle_of_a_change(cluster: Cluster, step: str) -> None:
    """F15: the members are read from the log before anything is decided."""
    session = cluster.open_session(1)
    fill(cluster, session, range(1, 5))
    cluster.new_machine(4, start=step == "promoted")
    cluster.add(4)
    if step == "promoted":
        cluster.run_until(lambda: cluster.voters() == (1, 2, 3, 4))
    else:
        cluster.settle()
    for node_id in list(cluster.replicas):
        cluster.crash(node_id)
    for node_id in (1, 2, 3, 4):
        cluster.start(node_id)
        if node_id < 4 or step == "promoted":
            assert 4 in cluster[node_id].raft.membership.ids
    cluster.run_until_voters(1, 2, 3, 4)
    fill(cluster, session, range(5, 8), node_id=cluster.leader)
    cluster.run(0.3)
    assert cluster.book(4) == names(session, range(1, 8))


def test_members_outlive_the_log_in_a_snapshot(cluster: Cluster, keep_few: None) -> None:
    """The snapshot is taken between the two steps; after it, no entry says who belongs."""
    session = cluster.open_session(1)
    cluster.new_machine(4, start=False)
    cluster.add(4)
    fill(cluster, session, range(1, 6))
    cluster.compact(1)
    assert cluster[1]._log.base_index > cluster[1].raft.membership.index
    cluster.crash(1)
    cluster.start(1)
    assert cluster[1].raft.membership.learner_ids == (4,)
    cluster.start(4)
    cluster.run_until_voters(1, 2, 3, 4)
    assert cluster.book(4) == names(session, range(1, 6))


# -- leaving --------------------------------------------------------------------------------------


def test_a_leader_commits_its_own_removal_and_another_leads_at_once(cluster: Cluster) -> None:
    session = cluster.open_session(1)
    fill(cluster, session, range(1, 4))
    cluster.remove(1)
    cluster.run_until(lambda: cluster.leaders() not in ([], [1]), within_s=TIMINGS.election_min_s)
    assert cluster.voters() == (2, 3)
    assert "node 1 was removed from the cluster" in (cluster[1].fenced or "")
    assert cluster.book(1) == names(session, range(1, 4))  # it can still be read
    fill(cluster, session, range(4, 6), node_id=cluster.leader)


def test_a_leader_that_leaves_does_not_count_itself(cluster: Cluster) -> None:
    """Its removal needs both of the two others; one and itself are no majority of them."""
    cluster.network.cut([3], [1, 2])
    cluster.clock.now += 0.01
    index = cluster.remove(1)
    cluster.run(0.5)
    assert cluster[1].raft.match_index(2) == index
    assert cluster[1].raft.commit_index < index
    cluster.network.heal()
    cluster.run_until(lambda: cluster[1].fenced)
    cluster.run_until_voters(2, 3)


def test_a_dead_node_is_removed(cluster: Cluster) -> None:
    session = cluster.open_session(1)
    cluster.crash(3)
    cluster.run(TIMINGS.fallback_s + 0.1)
    shrink(cluster, 3)
    fill(cluster, session, range(1, 3))


def test_a_removal_that_would_stop_the_cluster_is_refused(cluster: Cluster) -> None:
    cluster.crash(3)
    cluster.run(TIMINGS.fallback_s + 0.1)
    with pytest.raises(
        ChangeRefused, match=r"only 1 of 2 voters would answer.*start node 3 or remove"
    ):
        cluster.remove(2)
    with pytest.raises(ChangeRefused, match="only 1 of 2 voters"):
        cluster.remove(1)


def test_so_it_is_by_a_leader_that_has_just_begun(cluster: Cluster) -> None:
    cluster.crash(1)
    cluster.elect(2)
    with pytest.raises(ChangeRefused, match="only 1 of 2 voters"):
        cluster.remove(3)


def test_a_removed_node_with_a_higher_term_disturbs_nobody(cluster: Cluster) -> None:
    cluster.network.cut_one_way(1, 3)
    cluster.network.cut_one_way(2, 3)
    shrink(cluster, 3)
    cluster.network.hold(3, 1)
    cluster.network.hold(3, 2)
    for _ in range(4):
        cluster.stand(3)
        cluster.turn(3)
    term = cluster[1].raft.term
    assert cluster[3].raft.term > term
    cluster.network.heal()
    cluster.stand(3)
    cluster.run(3)
    assert cluster.leaders() == [1]
    assert {cluster[node_id].raft.term for node_id in (1, 2)} == {term}


def test_a_removed_node_hears_of_it_and_stops(cluster: Cluster) -> None:
    shrink(cluster, 3)
    cluster.run(0.2)
    assert "was removed" in (cluster[3].fenced or "")
    cluster.restart(3)
    cluster.run(0.2)
    assert not cluster[3].raft.is_leader


def test_an_id_never_comes_back(cluster: Cluster) -> None:
    shrink(cluster, 3)
    with pytest.raises(ChangeRefused, match="node 3 was removed, and its id never comes back"):
        cluster.add(3)
    with pytest.raises(ChangeRefused, match="node 3 is no member any more"):
        cluster.remove(3)


# -- disks are lost -------------------------------------------------------------------------------


def test_a_voter_whose_disk_is_lost_is_a_learner_until_it_has_caught_up(cluster: Cluster) -> None:
    session = cluster.open_session(1)
    fill(cluster, session, range(1, 9))
    cluster.crash(3)
    cluster.wipe(3)
    cluster.network.hold(1, 3)
    cluster.start(3)
    cluster.run(0.2)
    cluster.network.deliver(1, 3, count=2)  # that there is a past, and an append
    cluster.turn(3)
    cluster.settle()
    assert cluster[1].raft.membership.learner_ids == (3,)
    cluster.network.release(1, 3)
    cluster.run_until_voters(1, 2, 3)
    own = cluster[1].raft.membership.get(3)
    assert own is not None and own.incarnation == cluster[3]._log.incarnation
    assert cluster.book(3) == names(session, range(1, 9))


def test_a_node_that_was_away_follows_members_it_never_heard_of(tmp_path: Path) -> None:
    """1. Node 3 is down while 1 and 2 are replaced by 4, 5 and 6; 2. it starts."""
    cluster = Cluster(tmp_path)
    cluster.elect(1)
    session = cluster.open_session(1)
    cluster.crash(3)
    for node_id in (4, 5, 6):
        grow(cluster, node_id)
    shrink(cluster, 2)
    shrink(cluster, 1)
    cluster.run(0.2)
    assert cluster.leader in (4, 5, 6)
    for node_id in (1, 2):
        cluster.crash(node_id)
    fill(cluster, session, range(1, 3), node_id=cluster.leader)
    cluster.start(3)
    cluster.run(2)
    assert cluster.voters(3) == (3, 4, 5, 6)
    assert cluster.book(3) == names(session, range(1, 3))


# -- the value ------------------------------------------------------------------------------------

THREE = configured(Member(each, f"host-{each}", 7_000, 7_100, 8_000) for each in (2, 1, 3))
FOUNDED = founded(THREE, {1: "a", 2: "b", 3: "c"})


def test_a_membership_is_what_its_bytes_say() -> None:
    changed = FOUNDED.with_learner(Member(9, "host-9", 1, 2, 3)).without(2)
    read = read_payload(membership_payload(changed), 77)
    assert (read.members, read.founding, read.retired) == (changed.members, FOUNDED.founding, (2,))
    assert read.index == 77
    assert (read.ids, read.voter_ids, read.learner_ids) == ((1, 3, 9), (1, 3), (9,))


def test_foundings_differ_by_their_journals() -> None:
    assert founded(THREE, {1: "a", 2: "b", 3: "d"}).founding != FOUNDED.founding


@pytest.mark.parametrize(
    ("member", "why"),
    [
        (Member(1), "node 1 is a member already"),
        (Member(4, "host-2", 7_000, 1, 1), "node 2 has that address: host-2:7000"),
        (Member(4, "host-2", 1, 7_100, 1), "node 2 has that address"),
    ],
)
def test_a_node_that_cannot_be_added(member: Member, why: str) -> None:
    with pytest.raises(ChangeRefused, match=why):
        FOUNDED.with_learner(member)


def test_members_are_bounded() -> None:
    membership = FOUNDED
    for node_id in range(4, MEMBERS_MAX + 1):
        membership = membership.with_learner(Member(node_id, f"host-{node_id}"))
    with pytest.raises(ChangeRefused, match="there are 9 members"):
        membership.with_learner(Member(99, "host-99"))


def test_the_last_voter_stays() -> None:
    only = FOUNDED.without(1).without(2).with_learner(Member(4, "host-4"))
    with pytest.raises(ChangeRefused, match="node 3 is the only voter"):
        only.without(3)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda m: Membership(m.members[::-1], m.founding),
        lambda m: Membership(m.members, ""),
        lambda m: Membership((), m.founding),
        lambda m: Membership(m.members, m.founding, retired=(1,)),
        lambda m: Membership((Member(1, incarnation=""),), m.founding),
        lambda m: Membership((Member(1, is_voter=False, incarnation="a"),), m.founding),
    ],
)
def test_an_impossible_membership_is_refused(spoil) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ProtocolError):
        read_payload(membership_payload(spoil(FOUNDED)), 5)


def test_a_file_that_says_otherwise_is_told_apart_in_words() -> None:
    changed = FOUNDED.with_learner(Member(4, "host-4", 1, 2, 3)).without(2)
    assert differences(THREE, changed) == [
        "the file has node 2, the cluster has not",
        "the cluster has node 4, the file has not",
    ]
    moved = configured([*THREE.members[:2], Member(3, "elsewhere", 7_000, 7_100, 8_000)])
    assert differences(moved, FOUNDED) == [
        "node 3 is at host-3:7000 (clients 7100), the file says elsewhere:7000 (clients 7100)"
    ]

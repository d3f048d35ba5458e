"""What a leader keeps of the entries it packed: exactly what their bytes say, or nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftbook.core.commands import NO_SESSION, open_session, set_engine_version
from raftbook.replica import machine as machine_module
from raftbook.replica import read_ahead as read_ahead_module
from raftbook.replica.read_ahead import ReadAhead
from raftbook.wire.entry import pack_entry, pack_request, read_request, unpack_entry
from tests.replica.harness import Cluster, Waiter
from tests.wire.test_entry import REQUESTS, TIMES


def kept(raws: list[bytes], *, index: int = 7, time_ns: int = 5) -> tuple[ReadAhead, bytes]:
    """A read-ahead that saw these requests and the entry made of them, and that entry."""
    read_ahead = ReadAhead()
    for raw in raws:
        read_ahead.request(raw, read_request(raw))
    payload = pack_entry(time_ns, raws)
    read_ahead.entry(index, time_ns, raws, payload)
    return read_ahead, payload


@given(TIMES, st.lists(REQUESTS, max_size=4))
def test_an_entry_that_is_kept_is_the_one_its_bytes_say(time_ns: int, requests: list[Any]) -> None:
    read_ahead, payload = kept([pack_request(*each) for each in requests], time_ns=time_ns)
    found = read_ahead.take(7, payload)
    assert found is None or found == unpack_entry(7, payload)


def test_an_entry_is_given_once() -> None:
    read_ahead, payload = kept([pack_request(3, 1, ((1,),))])
    assert read_ahead.take(7, payload) == unpack_entry(7, payload)
    assert read_ahead.take(7, payload) is None


def test_another_entry_at_its_index_is_not_taken_for_it() -> None:
    read_ahead, _ = kept([pack_request(3, 1, ((1,),))])
    assert read_ahead.take(7, pack_entry(5, [pack_request(3, 2, ((1,),))])) is None
    assert read_ahead.take(8, b"") is None


def test_an_entry_of_which_a_part_was_not_kept_is_read_from_its_bytes() -> None:
    read_ahead, raws = ReadAhead(), [pack_request(3, seq, ((1,),)) for seq in (1, 2)]
    read_ahead.request(raws[0], read_request(raws[0]))
    payload = pack_entry(5, raws)
    read_ahead.entry(7, 5, raws, payload)
    assert read_ahead.take(7, payload) is None


def test_an_entry_that_could_switch_the_engine_is_read_from_its_bytes() -> None:
    switch = pack_request(NO_SESSION, 0, (set_engine_version(9, "9.9"),))
    read_ahead, payload = kept([switch])
    assert read_ahead.take(7, payload) is None


def test_what_is_kept_is_bounded_in_bytes_and_the_eldest_give_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    raws = [pack_request(3, seq, ((1,),)) for seq in range(1, 9)]
    payload = pack_entry(5, raws[6:])
    monkeypatch.setattr(read_ahead_module, "BYTES_MAX", 3 * len(raws[0]) + len(payload))
    read_ahead = ReadAhead()
    for raw in raws:
        read_ahead.request(raw, read_request(raw))
        assert read_ahead._bytes <= read_ahead_module.BYTES_MAX
    read_ahead.entry(7, 5, raws[6:], payload)
    assert read_ahead.take(7, payload) == unpack_entry(7, payload)
    payload = pack_entry(5, raws[:2])
    read_ahead.entry(8, 5, raws[:2], payload)
    assert read_ahead.take(8, payload) is None
    monkeypatch.setattr(read_ahead_module, "BYTES_MAX", len(raws[0]))
    read_ahead.request(raws[0], read_request(raws[0]))
    payload = pack_entry(5, raws[:1])
    read_ahead.entry(9, 5, raws[:1], payload)
    assert read_ahead.take(9, payload) is None  # longer than its request: no room
    assert read_ahead._bytes == 0


def test_a_leader_reads_no_entry_that_it_made_of_requests_it_had_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Cluster(tmp_path)
    cluster.elect(1)
    session = cluster.open_session(1)
    read: list[int] = []
    original = machine_module._read_entry

    def noted(index: int, payload: bytes) -> Any:
        read.append(index)
        return original(index, payload)

    monkeypatch.setattr(machine_module, "_read_entry", noted)
    raw = pack_request(session, 1, (open_session("ann", "x"),))
    forwarded = pack_request(session, 2, (open_session("ann", "y"),))
    cluster[1].receive(2, {"type": "forward", "requests": (forwarded,)})
    cluster[1].submit(session, 1, raw, Waiter(), (open_session("ann", "x"),))
    cluster.settle()
    assert len(read) == 2  # by each follower, once
    digests = {cluster[node_id].machine.exchange.digest.value() for node_id in (1, 2, 3)}
    assert len(digests) == 1


COMMANDS = (open_session("ann", "x"),)


@pytest.fixture
def leader(tmp_path: Path) -> tuple[Cluster, int]:
    """A cluster led by node 1, which has a session."""
    cluster = Cluster(tmp_path)
    cluster.elect(1)
    session = cluster.open_session(1)
    cluster.run(0.2)
    return cluster, session


def test_a_repeated_frame_is_not_kept_beside_what_it_repeats(leader: tuple[Cluster, int]) -> None:
    cluster, session = leader
    raw = pack_request(session, 1, COMMANDS)
    cluster[1].submit(session, 1, raw, Waiter(), COMMANDS)
    cluster.turn(1)  # it left
    for _ in range(3):
        cluster[1].submit(session, 1, raw, Waiter(), COMMANDS)
    assert not cluster[1].machine.read_ahead._requests
    cluster.settle()
    assert cluster[1].machine.read_ahead._bytes == 0


def test_what_was_refused_is_not_kept(leader: tuple[Cluster, int]) -> None:
    cluster, session = leader
    cluster[1]._proposer.pending_max = 0
    cluster[1].submit(session, 1, pack_request(session, 1, COMMANDS), Waiter(), COMMANDS)
    assert not cluster[1].machine.read_ahead._requests


def test_what_expires_before_it_leaves_is_forgotten(leader: tuple[Cluster, int]) -> None:
    """A leader that hands over proposes nothing of what comes meanwhile."""
    cluster, session = leader
    cluster[1].raft.hand_over(2, within_s=10.0)
    cluster.network.hold(1, 2)
    cluster.network.hold(2, 1)
    waiter = Waiter()
    cluster[1].submit(session, 1, pack_request(session, 1, COMMANDS), waiter, COMMANDS)
    assert cluster[1].machine.read_ahead._requests
    cluster.run(cluster.bounds.request_deadline_s + 0.1)
    assert waiter.refusals
    assert cluster[1].raft.is_leader
    assert cluster[1].machine.read_ahead._bytes == 0


def test_what_another_node_brought_to_an_answer_is_forgotten(leader: tuple[Cluster, int]) -> None:
    """The same number with other bytes, through another node, stands in the log: the request that
    waits here is answered with that, and never leaves."""
    cluster, session = leader
    waiter = Waiter()
    other = pack_request(session, 1, (open_session("ann", "y"),))
    cluster[1].receive(2, {"type": "forward", "requests": (other,)})
    cluster.turn(1)  # it is proposed
    cluster[1].raft.hand_over(2, within_s=10.0)
    cluster.network.hold(1, 2)
    cluster[1].submit(session, 1, pack_request(session, 1, COMMANDS), waiter, COMMANDS)
    cluster.settle()
    assert waiter.reply is not None
    assert cluster[1].raft.is_leader
    assert cluster[1].machine.read_ahead._bytes == 0

"""Orders that end with the connection of their session, and leases that this node renews."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from raftbook.core import commands as c
from raftbook.core import events as e
from raftbook.core.commands import NO_SESSION
from raftbook.core.types import Reject, Side
from raftbook.gateway import attachments
from raftbook.gateway.attachments import QUIET_S, RENEWALS
from raftbook.wire import client_messages as m
from raftbook.wire.entry import REGULAR, unpack_entry
from tests.gateway.door import Caller, Door, at_the_door

BUY = c.new_order("A", Side.BUY, 1, 1)
ATTACH = c.attach_session(cancel_on_disconnect=True)
LEASE = c.attach_session(cancel_on_disconnect=True, lease_ms=60_000)


def resting(door: Door) -> int:
    return door.replica.machine.exchange.books["A"].resting_count


def notices(door: Door) -> list[c.Command]:
    """What the node has told the log of its clients."""
    found: list[c.Command] = []
    for payload, index, _ in door.journal.entries:
        if payload[:1] == REGULAR:
            for session_id, _, commands in unpack_entry(index, payload[1:]).requests:
                kinds = (c.SESSION_LOST, c.RENEW_LEASE)
                if session_id == NO_SESSION and commands and commands[0][0] in kinds:
                    found += commands
    return found


async def request(caller: Caller, session: int, seq: int, *commands: Any) -> tuple[Any, ...]:
    """The events of a request's reply."""
    answer = await caller.ask(m.REQUEST, session, seq, commands)
    assert answer[0] == m.REPLY, answer
    return answer[7]  # type: ignore[no-any-return]


def test_orders_end_with_the_connection_of_their_session(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        caller = door.caller()
        session = await caller.open("alice")
        told = await request(caller, session, 1, ATTACH, BUY)
        assert told[0] == (e.SESSION_ATTACHED, 0, session, 1)
        await request(caller, session, 2, BUY)
        assert resting(door) == 2
        caller.hang_up()
        await caller.connection_round()
        assert resting(door) == 0
        assert notices(door) == [c.session_lost(session, 1)]

    at_the_door(tmp_path, scene)


@pytest.mark.parametrize("attach", [(), (c.attach_session(cancel_on_disconnect=False),)])
def test_they_stay_where_that_was_not_asked_for(tmp_path: Path, attach: Any) -> None:
    async def scene(door: Door) -> None:
        caller = door.caller()
        session = await caller.open("alice")
        await request(caller, session, 1, *attach, BUY)
        caller.hang_up()
        await caller.connection_round()
        assert (resting(door), notices(door)) == (1, [])

    at_the_door(tmp_path, scene)


def test_they_stay_when_the_client_has_attached_them_to_another_connection(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        first, second = door.caller(), door.caller()
        session = await first.open("alice", "same")
        await request(first, session, 1, ATTACH, BUY)
        assert await second.open("alice", "same") == session
        told = await request(second, session, 2, ATTACH)
        assert told == ((e.SESSION_ATTACHED, 0, session, 2),)
        first.hang_up()
        await second.connection_round()
        assert (resting(door), notices(door)) == (1, [])
        second.hang_up()
        await second.connection_round()
        assert resting(door) == 0

    at_the_door(tmp_path, scene)


def test_a_client_that_takes_it_back_keeps_its_orders(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        caller = door.caller()
        session = await caller.open("alice")
        await request(caller, session, 1, ATTACH, BUY)
        await request(caller, session, 2, c.attach_session(cancel_on_disconnect=False))
        caller.hang_up()
        await caller.connection_round()
        assert (resting(door), notices(door)) == (1, [])

    at_the_door(tmp_path, scene)


def test_a_connection_that_ended_before_the_answer_ends_them_too(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        caller = door.caller()
        session = await caller.open("alice")
        await request(caller, session, 1, BUY)
        door.commits = False
        caller.say(m.REQUEST, session, 2, (ATTACH,))
        await caller.connection_round()
        caller.hang_up()
        door.commits = True
        door.turns()
        await caller.connection_round()
        assert notices(door) == [c.session_lost(session, 1)]
        assert resting(door) == 0

    at_the_door(tmp_path, scene)


def test_many_sessions_of_a_connection_are_told_some_at_a_time(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        caller = door.caller()
        await caller.greet("alice")
        for number in range(attachments.NOTICES_MAX + 5):
            session = (await caller.ask(m.OPEN, 2, f"k{number}"))[2][0]
            await request(caller, session, 1, ATTACH, BUY)
        caller.hang_up()
        for _ in range(4):
            await caller.connection_round()
        assert resting(door) == 0
        assert len(notices(door)) == attachments.NOTICES_MAX + 5

    at_the_door(tmp_path, scene)


def test_a_notice_is_said_again_until_somebody_leads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attachments, "RETRY_S", 0.001)

    async def scene(door: Door) -> None:
        caller = door.caller()
        session = await caller.open("alice")
        await request(caller, session, 1, ATTACH, BUY)
        submitted, submit = [], door.replica.submit

        def no_leader(session_id: int, request_seq: int, raw: bytes, waiter: Any) -> None:
            submitted.append(request_seq)
            if len(submitted) < 5:
                waiter.refused(session_id, request_seq, Reject.NO_LEADER, "")
            else:
                submit(session_id, request_seq, raw, waiter)

        monkeypatch.setattr(door.replica, "submit", no_leader)
        caller.hang_up()
        await caller.until(lambda: resting(door) == 0)
        assert len(submitted) == 5

    at_the_door(tmp_path, scene)


def test_it_is_not_said_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attachments, "RETRY_S", 0.001)

    async def scene(door: Door) -> None:
        caller = door.caller()
        session = await caller.open("alice")
        await request(caller, session, 1, ATTACH, BUY)
        submitted: list[int] = []

        def no_leader(session_id: int, request_seq: int, raw: bytes, waiter: Any) -> None:
            submitted.append(request_seq)
            waiter.refused(session_id, request_seq, Reject.NO_LEADER, "")

        monkeypatch.setattr(door.replica, "submit", no_leader)
        caller.hang_up()
        await caller.until(lambda: not door.server.attachments._lost)
        assert len(submitted) == attachments.TRIES_MAX
        assert resting(door) == 1

    at_the_door(tmp_path, scene)


@pytest.mark.parametrize(
    ("lease_ms", "gap_s"), [(60_000, 60.0 / RENEWALS), (0, QUIET_S)], ids=["lease", "none"]
)
def test_a_session_is_renewed_while_its_client_is_heard_of(
    tmp_path: Path, lease_ms: int, gap_s: float
) -> None:
    async def scene(door: Door) -> None:
        caller = door.caller()
        session = await caller.open("alice")
        attach = c.attach_session(cancel_on_disconnect=True, lease_ms=lease_ms)
        await request(caller, session, 1, attach)
        (served,) = door.server.attachments._served.values()
        assert served.gap_s == gap_s
        assert served.look_at - served.renewed_at == pytest.approx(gap_s)

        async def look() -> list[c.Command]:
            served.look_at = 0.0
            door.server.attachments._look()
            await caller.connection_round()
            return notices(door)

        renewal = c.renew_lease(session, 1)
        assert await look() == []  # nothing was heard since it was attached
        await caller.ask(m.PING, 1)
        assert await look() == [renewal]
        assert await look() == [renewal]  # silent since
        await caller.ask(m.PING, 2)
        assert await look() == [renewal, renewal]
        state = door.replica.machine.exchange.sessions.by_id[session]
        assert state.renewed_ns == door.replica.machine.exchange.now_ns
        caller.hang_up()
        await caller.connection_round()
        assert notices(door)[2:] == [c.session_lost(session, 1)]
        assert not door.server.attachments._served

    at_the_door(tmp_path, scene)


def test_the_clock_of_the_node_looks_by_itself(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        caller = door.caller()
        session = await caller.open("alice")
        short = c.attach_session(cancel_on_disconnect=True, lease_ms=400)
        await request(caller, session, 1, short)
        await caller.ask(m.PING, 1)
        await caller.until(lambda: c.renew_lease(session, 1) in notices(door))

    at_the_door(tmp_path, scene)


def test_a_session_that_lapsed_is_served_no_longer(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        caller = door.caller()
        session = await caller.open("alice")
        await request(caller, session, 1, LEASE, BUY)
        door.now += 61.0  # of a node that did not come to look
        door.turns()
        door.turns()
        assert resting(door) == 0
        await caller.ask(m.PING, 1)
        for served in door.server.attachments._served.values():
            served.look_at = 0.0
        door.server.attachments._look()
        caller.hang_up()
        await caller.connection_round()
        assert (notices(door), door.server.attachments._served) == ([], {})

    at_the_door(tmp_path, scene)


@pytest.mark.parametrize("notice", [c.session_lost(1, 1), c.renew_lease(1, 1)])
def test_no_client_may_speak_for_a_node(tmp_path: Path, notice: c.Command) -> None:
    async def scene(door: Door) -> None:
        victim, caller = door.caller(), door.caller()
        session = await victim.open("alice")
        await request(victim, session, 1, ATTACH, BUY)
        own = await caller.open("op", "other")
        answer = await caller.ask(m.REQUEST, own, 1, (notice,))
        says = f"unknown command kind {notice[0]}"
        assert answer == (m.REFUSED, own, 1, Reject.MALFORMED, says)
        assert (await caller.ask(m.REQUEST, NO_SESSION, 2, (notice,)))[0] == m.REFUSED
        assert resting(door) == 1

    at_the_door(tmp_path, scene)


def test_a_session_is_attached_by_the_first_command_of_a_request(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        caller = door.caller()
        session = await caller.open("alice")
        answer = await caller.ask(m.REQUEST, session, 1, (BUY, ATTACH))
        says = "a session is attached by the first command of a request"
        assert answer == (m.REFUSED, session, 1, Reject.MALFORMED, says)

    at_the_door(tmp_path, scene)


def test_a_node_that_stops_says_nothing_of_its_clients(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        caller = door.caller()
        session = await caller.open("alice")
        await request(caller, session, 1, LEASE, BUY)
        await door.server.close()
        await caller.connection_round()
        assert (caller.is_closed, notices(door)) == (True, [])

    at_the_door(tmp_path, scene)

"""The client port: who may say what, in which form, and what happens to those who do not."""

import gc
import math
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raftbook.core import commands as c
from raftbook.core.types import Reject, Side
from raftbook.wire import client_messages as m
from raftbook.wire.framing import frame
from raftbook.wire.packing import pack
from tests.gateway.door import BOUNDS, Door, at_the_door
from tests.wire.values import ANY_BYTES, DEEP, VALUES

BUY = c.new_order("A", Side.BUY, 1, 1)
QUERIES = ("status", "instruments", "book", "trades", "digest", "order", "orders", "events")


# -- greeting -------------------------------------------------------------------------------------


def test_a_greeting_names_the_cluster_and_the_node(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        caller = door.caller()
        answer = await caller.ask(m.HELLO, 1, "test")
        assert answer == (m.WELCOME, 1, "test", "c", 1, b"n" * 32)
        assert await caller.ask(m.PING, 9) == (m.PONG, 9)

    at_the_door(tmp_path, scene)


def test_a_connection_that_ended_is_gone_without_the_collector(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        caller = door.caller()
        session = await caller.open("alice")
        caller.say(m.REQUEST, session, 1, [BUY])
        assert (await caller.hear())[-1][0] == m.REPLY
        gone = weakref.ref(caller.connection)
        gc.collect()
        gc.disable()
        try:
            caller.connection.connection_lost(None)
            caller.transport.protocol = None  # as asyncio's own does
            del caller.connection
            assert gone() is None
        finally:
            gc.enable()

    at_the_door(tmp_path, scene)


@pytest.mark.parametrize(
    ("first", "says"),
    [
        ((m.PING, 1), "the first message must be HELLO"),
        ((m.QUERY, 1, "status", {}), "the first message must be HELLO"),
        ((m.HELLO, 2, "test"), "client protocol 2; this node speaks 1"),
        ((m.WELCOME, 1, "c", "c", 1, b""), "message kind 2 is not for a node"),
        ((99, 1), "unknown message kind 99"),
    ],
    ids=str,
)
def test_a_wrong_beginning_is_explained_and_ends(tmp_path: Path, first: Any, says: str) -> None:
    async def scene(door: Door) -> None:
        caller = door.caller()
        assert await caller.ask(*first) == (m.FAILURE, 0, Reject.MALFORMED, says)
        assert caller.is_closed
        assert not door.server.connections

    at_the_door(tmp_path, scene)


def test_a_frame_too_long_is_refused_by_its_header(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        for account, bytes_max in (("", 4096), ("alice", BOUNDS.frame_bytes_max)):
            caller = door.caller()
            await caller.greet(account)
            caller.connection.data_received((bytes_max + 1).to_bytes(4, "big"))
            (failure,) = await caller.hear()
            assert failure[:3] == (m.FAILURE, 0, Reject.MALFORMED)
            assert f"frame of {bytes_max + 1} bytes; frames have 1 to {bytes_max} " in failure[3]
            assert caller.is_closed

    at_the_door(tmp_path, scene)


def test_a_stranger_makes_a_node_hold_no_more_than_a_small_frame(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        caller = door.caller()
        caller.connection.data_received((4096).to_bytes(4, "big") + b"x" * 4000)
        assert await caller.hear() == []
        other = door.caller()
        other.connection.data_received((4097).to_bytes(4, "big") + b"x" * 4000)
        (failure,) = await other.hear()
        assert failure[3] == "frame of 4097 bytes; frames have 1 to 4096 bytes"

    at_the_door(tmp_path, scene)


@pytest.mark.parametrize("kind", [m.OPEN, m.QUERY, m.SUBSCRIBE, m.HELLO])
def test_only_a_request_may_be_long(tmp_path: Path, kind: int) -> None:
    # What waits for an answer is counted in messages: so each of them must be small.
    async def scene(door: Door) -> None:
        caller = door.caller()
        session = await caller.open("alice")
        rest = {m.OPEN: ("x" * 5000,), m.HELLO: ("x" * 5000,)}
        fields = rest.get(kind, ("book", {"symbol": "A" * 5000}))
        (code, message) = (await caller.ask(kind, 1, *fields))[2:]
        assert code == Reject.MALFORMED
        assert message.endswith("only a REQUEST may have over 4096")
        long = c.new_order("A", Side.BUY, 1, 1, client_order_id="x" * 5000)
        answer = await caller.ask(m.REQUEST, session, 1, (long,))
        assert answer[4].startswith("client_order_id: 'xxx")

    at_the_door(tmp_path, scene)


def test_one_connection_too_many_is_sent_away(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        callers = [door.caller() for _ in range(BOUNDS.connections_max)]
        (failure,) = await door.caller().hear()
        assert failure == (
            m.FAILURE,
            0,
            Reject.OVERLOADED,
            "too many connections; use another node",
        )
        callers[0].hang_up()
        await door.caller().greet()

    at_the_door(tmp_path, scene)


def test_who_says_nothing_is_sent_away_and_who_says_half_a_word_too(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        silent, slow = door.caller(), door.caller()
        slow.connection.data_received(b"\0\0\0\x09a")
        for caller in (silent, slow):
            caller.connection._look_at_silence()
            (failure,) = await caller.hear()
            assert failure == (m.FAILURE, 0, Reject.OVERLOADED, "silent for too long")
            assert caller.is_closed

    at_the_door(tmp_path, scene)


# -- login and sessions ---------------------------------------------------------------------------


def test_a_login_needs_the_account_and_its_secret(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        caller = door.caller()
        await caller.greet()
        proof = m.login_proof("bobs secret", "bob", b"n" * 32)
        wrong = m.login_proof("another", "bob", b"n" * 32)
        stale = m.login_proof("bobs secret", "bob", b"x" * 32)
        for bad in (b"", wrong, stale, proof[:-1], proof + b"x", b"\xff" * 4000):
            answer = await caller.ask(m.LOGIN, 7, "bob", bad)
            says = "wrong secret for account 'bob'"
            assert answer == (m.FAILURE, 7, Reject.NOT_AUTHORIZED, says)
        answer = await caller.ask(m.LOGIN, 8, "bob", proof)
        assert answer == (m.RESULT, 8, {"account": "bob", "operator": False})
        answer = await caller.ask(m.LOGIN, 9, "op", b"")
        assert answer == (m.RESULT, 9, {"account": "op", "operator": True})

    at_the_door(tmp_path, scene)


@pytest.mark.parametrize("name", ["", "nobody", "ALICE", "alice ", "a" * 4_000, "\u2603", "\n"])
def test_an_unknown_account_is_named_briefly(tmp_path: Path, name: str) -> None:
    async def scene(door: Door) -> None:
        caller = door.caller()
        await caller.greet()
        answer = await caller.ask(m.LOGIN, 7, name, b"")
        assert answer[:3] == (m.FAILURE, 7, Reject.UNKNOWN_ACCOUNT)
        assert answer[3].startswith("no account '")
        assert len(answer[3]) < 300
        assert (await caller.ask(m.OPEN, 8, "k"))[2] == Reject.NOT_AUTHORIZED

    at_the_door(tmp_path, scene)


def test_the_same_key_finds_the_same_session_again(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        first, second = door.caller(), door.caller()
        session = await first.open("alice", "key")
        first.say(m.REQUEST, session, 5, (BUY,))
        await first.hear()
        await second.greet("alice")
        assert await second.ask(m.OPEN, 3, "key") == (m.RESULT, 3, (session, 5))
        other = await second.ask(m.OPEN, 4, "key2")
        assert other[2][0] != session

    at_the_door(tmp_path, scene)


@pytest.mark.parametrize("key", ["a b", "\u00e4", "x" * 65, "x" * 4_000, "\n", "\0"])
def test_an_unacceptable_session_key_is_refused(tmp_path: Path, key: str) -> None:
    async def scene(door: Door) -> None:
        caller = door.caller()
        await caller.greet("alice")
        answer = await caller.ask(m.OPEN, 3, key)
        assert answer[:3] == (m.FAILURE, 3, Reject.MALFORMED)
        assert "is not acceptable" in answer[3]
        assert len(answer[3]) < 300

    at_the_door(tmp_path, scene)


def test_a_session_of_somebody_else_is_not_open_here(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        alice, op = door.caller(), door.caller()
        session = await alice.open("alice", "key")
        await op.open("op", "key")
        for strange in (session, session + 999, 0, -1, 2**64 - 1):
            answer = await op.ask(m.REQUEST, strange, 1, (BUY,))
            says = f"session {strange} is not open on this connection"
            assert answer == (m.REFUSED, strange, 1, Reject.MALFORMED, says)
        assert (await alice.ask(m.REQUEST, session, 1, (BUY,)))[0] == m.REPLY

    at_the_door(tmp_path, scene)


def test_sessions_of_a_connection_are_bounded_however_fast_they_are_asked_for(
    tmp_path: Path,
) -> None:
    async def scene(door: Door) -> None:
        caller = door.caller()
        await caller.greet("alice")
        for ref in range(100):
            caller.say(m.OPEN, ref, f"k{ref}")
        answers = await caller.hear()
        opened = [answer for answer in answers if answer[0] == m.RESULT]
        refused = [answer for answer in answers if answer[0] == m.FAILURE]
        assert (len(opened), len(refused)) == (64, 36)
        assert {answer[2] for answer in refused} == {Reject.OVERLOADED}

    at_the_door(tmp_path, scene)


# -- requests -------------------------------------------------------------------------------------


def test_a_reply_holds_what_happened_and_a_repeated_request_the_same_again(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        caller = door.caller()
        session = await caller.open("alice")
        first = await caller.ask(m.REQUEST, session, 1, (BUY, c.cancel_order(order_id=1)))
        assert first[:3] == (m.REPLY, session, 1)
        assert [event[0] for event in first[7]] == [1, 4]
        assert first[8] == 0
        again = await caller.ask(m.REQUEST, session, 1, (BUY, BUY, BUY))
        assert again[7] == first[7]
        assert again[3] == first[3]
        assert again[6] == first[6]
        assert again[8] == 1
        assert first[4] == 1 and first[5] > 0
        assert again[4:6] == (0, 0), "term and time of the entry that repeated it, not of its own"

    at_the_door(tmp_path, scene)


def test_requests_in_flight_are_answered_in_order_and_once_each(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        caller = door.caller()
        session = await caller.open("alice")
        for seq in range(1, 201):
            caller.say(m.REQUEST, session, seq, (BUY,))
        replies = await caller.hear()
        assert [reply[:3] for reply in replies] == [(m.REPLY, session, n) for n in range(1, 201)]
        assert [reply[7][0][2][0] for reply in replies] == list(range(1, 201))

    at_the_door(tmp_path, scene)


BAD_REQUESTS: list[tuple[int, Any, str]] = [
    (0, (BUY,), "request_seq 0 is out of range"),
    (-1, (BUY,), "request_seq -1 is out of range"),
    (2**62, (BUY,), "request_seq 4611686018427387904 is out of range"),
    (1, (), "a request has 1 to 50 commands"),
    (1, (BUY,) * 51, "a request has 1 to 50 commands"),
    (1, (5,), "a command is a non-empty array"),
    (1, ((),), "a command is a non-empty array"),
    (1, ((99,),), "unknown command kind 99"),
    (1, ((True, 0, ""),), "unknown command kind True"),
    (1, (BUY[:-1],), "command kind 1 takes 9 fields, got 8"),
    (1, ((*BUY[:5], math.nan, *BUY[6:]),), "order_qty: nan is not acceptable"),
    (1, ((*BUY[:5], math.inf, *BUY[6:]),), "order_qty: inf is not acceptable"),
    (1, ((*BUY[:5], 1.0, *BUY[6:]),), "order_qty: 1.0 is not acceptable"),
    (1, ((*BUY[:5], True, *BUY[6:]),), "order_qty: True is not acceptable"),
    (1, ((*BUY[:5], 2**63, *BUY[6:]),), "order_qty: 9223372036854775808 is not"),
    (1, ((*BUY[:5], -(2**63), *BUY[6:]),), "order_qty: -9223372036854775808 is not"),
    (1, ((*BUY[:6], "1", *BUY[7:]),), "price: '1' is not acceptable"),
    (1, ((*BUY[:7], "x" * 65, *BUY[8:]),), "client_order_id: 'xxx"),
    (1, ((*BUY[:7], "x" * 60_000, *BUY[8:]),), "client_order_id: 'xxx"),
    (1, ((*BUY[:7], b"bytes", *BUY[8:]),), "client_order_id: b'bytes' is not acceptable"),
    (1, ((*BUY[:7], "a b", *BUY[8:]),), "client_order_id: 'a b' is not acceptable"),
    (1, ((1, "A\x00", *BUY[2:]),), "symbol: 'A\\x00' is not acceptable"),
    (1, ((1, {"A": 1}, *BUY[2:]),), "a command is a flat array: its fields hold no arrays"),
    (1, (BUY, (1, ("A",), *BUY[2:])), "a command is a flat array: its fields hold no arrays"),
    (1, ({1: 2},), "a command is a non-empty array"),
    (1, (BUY, c.open_session("alice", "x")), "sessions are opened with OPEN"),
]


@pytest.mark.parametrize(
    ("seq", "commands", "says"), BAD_REQUESTS, ids=[says[:40] for _, _, says in BAD_REQUESTS]
)
def test_a_malformed_request_is_refused_and_the_connection_goes_on(
    tmp_path: Path, seq: int, commands: Any, says: str
) -> None:
    async def scene(door: Door) -> None:
        caller = door.caller()
        session = await caller.open("alice")
        index = door.replica.last_index
        answer = await caller.ask(m.REQUEST, session, seq, commands)
        assert answer[:4] == (m.REFUSED, session, seq, Reject.MALFORMED)
        assert answer[4].startswith(says)
        assert len(answer[4]) < 300
        assert door.replica.last_index == index, "it reached the log"
        assert (await caller.ask(m.REQUEST, session, 1, (BUY,)))[0] == m.REPLY

    at_the_door(tmp_path, scene)


def test_a_request_too_large_for_an_entry_is_refused(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        caller = door.caller()
        session = await caller.open("alice")
        answer = await caller.ask(m.REQUEST, session, 1, (BUY,) * 50)
        says = f"a request of {len(pack((session, 1, (BUY,) * 50)))} bytes; at most 500"
        assert answer == (m.REFUSED, session, 1, Reject.MALFORMED, says)

    at_the_door(tmp_path, scene, bounds=replace(BOUNDS, request_bytes_max=500))


@pytest.mark.parametrize("deep", DEEP, ids=len)
@pytest.mark.parametrize("place", ["command", "field", "symbol", "index", "name", "login"])
def test_deep_nesting_is_malformed_and_troubles_nobody_else(
    tmp_path: Path, deep: bytes, place: str
) -> None:
    async def scene(door: Door) -> None:
        caller, other = door.caller(), door.caller()
        session = await caller.open("alice", "k")
        theirs = await other.open("op", "k")
        order = b"\x9a\x01" + deep + pack(BUY)[2:]
        payload = {
            "command": b"\x94\x05" + pack(session) + b"\x01\x91" + deep,
            "field": b"\x94\x05" + pack(session) + b"\x01\x91" + order[: -len(pack("A"))],
            "symbol": b"\x94\x08\x05\xa4book\x81\xa6symbol" + deep,
            "index": b"\x94\x08\x05\xa6digest\x81\xa5index" + deep,
            "name": b"\x94\x08\x05\xa5order\x81\xafclient_order_id" + deep,
            "login": b"\x94\x03\x05" + deep + b"\xc4\x00",
        }[place]
        caller.connection.data_received(frame(payload))
        (answer,) = await caller.hear()
        assert answer[0] in (m.FAILURE, m.REFUSED)
        assert Reject.MALFORMED in answer or Reject.UNKNOWN_INSTRUMENT in answer
        assert len(answer[-1]) < 300
        assert (await other.ask(m.REQUEST, theirs, 1, (BUY,)))[0] == m.REPLY

    at_the_door(tmp_path, scene)


@given(data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_frames_at_all_leave_the_node_and_the_others_alone(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    kinds = st.integers(1, 14)
    keys = (
        "symbol depth limit index at_least order_id from_seq from_index client_order_id open_only "
        "orders wait_ms linearizable"
    )
    arguments = st.dictionaries(
        st.sampled_from(keys.split()),
        VALUES | st.sampled_from(("A", 0, 1, 2**62, -1)),
        max_size=4,
    )
    names = st.sampled_from((*QUERIES, "feed", "reports", "entries", "snapshot", "x"))
    asks = st.tuples(st.sampled_from((m.QUERY, m.SUBSCRIBE)), st.integers(1, 9), names, arguments)
    requests = st.tuples(st.just(m.REQUEST), st.integers(0, 3), st.integers(-1, 9), VALUES)
    shapes = st.tuples(kinds, st.lists(VALUES, max_size=5)).map(lambda pair: (pair[0], *pair[1]))
    payload = (asks | requests | shapes).map(pack) | ANY_BYTES.filter(bool)

    async def scene(door: Door) -> None:
        other = door.caller()
        session = await other.open("op", "k")
        caller = door.caller()
        await caller.open("op", "x")
        for payloads in data.draw(st.lists(payload, max_size=12)):
            if caller.is_closed:
                caller = door.caller()
                await caller.open("op", "x")
            caller.connection.data_received(frame(payloads))
            await caller.hear()
        assert (await other.ask(m.REQUEST, session, 1, (BUY,)))[0] == m.REPLY

    at_the_door(tmp_path_factory.mktemp("door"), scene)


# -- when there is no commit ----------------------------------------------------------------------


def test_without_a_commit_the_outcome_is_unknown_and_later_it_is_told(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        caller = door.caller()
        session = await caller.open("alice")
        door.commits = False
        caller.say(m.REQUEST, session, 1, (BUY,))
        assert await caller.hear() == []
        door.now += 3.0
        door.replica._proposer.take()  # pretends that it has left this node
        door.replica._answers.refuse(door.replica._proposer.expire(door.now))
        door.replica._answers.tell()
        (answer,) = await caller.hear()
        assert answer[:4] in (
            (m.REFUSED, session, 1, Reject.NO_LEADER),
            (m.REFUSED, session, 1, Reject.OUTCOME_UNKNOWN),
        )
        door.commits = True
        assert (await caller.ask(m.REQUEST, session, 1, (BUY,)))[0] == m.REPLY

    at_the_door(tmp_path, scene)


# -- slow readers ---------------------------------------------------------------------------------


def test_a_client_that_does_not_read_is_dropped_when_its_buffer_is_full(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        caller = door.caller()
        await caller.greet()
        caller.transport.is_full = True
        for ref in range(5_000):
            caller.say(m.QUERY, ref, "instruments", {})
            if caller.transport.was_aborted:
                break
            await caller.connection_round()
        assert caller.transport.was_aborted
        await caller.connection_round()
        assert not door.server.connections

    at_the_door(tmp_path, scene, bounds=replace(BOUNDS, buffer_bytes_max=50_000))


def test_a_client_that_does_not_even_take_the_farewell_is_dropped(tmp_path: Path) -> None:
    # close() waits for the last bytes to be read, for ever: the place would never be free again.
    async def scene(door: Door) -> None:
        caller = door.caller()
        await caller.greet()
        caller.transport.is_full = True
        caller.say(99)
        await caller.connection_round()
        assert caller.is_closed
        assert not caller.transport.was_aborted
        assert len(door.server.connections) == 1
        await caller.until(lambda: not door.server.connections)

    at_the_door(tmp_path, scene, bounds=replace(BOUNDS, handshake_timeout_s=0.05))


def test_questions_that_wait_are_bounded(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        caller = door.caller()
        await caller.greet()
        for ref in range(2_000):
            caller.say(m.QUERY, ref, "book", {"symbol": "A", "at_least": 10**6})
        answers = await caller.hear()
        assert 0 < len(answers) < 2_000
        assert {answer[2] for answer in answers} == {Reject.OVERLOADED}
        assert len(caller.connection._questions._tasks) == 2_000 - len(answers)

    at_the_door(tmp_path, scene)

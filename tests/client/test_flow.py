"""The client's core without sockets: what is sent, when, and under which name.

The property at the end is the contract itself: a simulated cluster that loses, delays and refuses
as it likes, also delivering frames long after their connection was given up.
"""

import random
from collections import deque
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raftbook.client.flow import Flow
from raftbook.client.ring import NodeRing
from raftbook.client.session import IN_FLIGHT_MAX, SessionNumbers
from raftbook.client.settings import BACKOFF_MAX_S, Settings
from raftbook.core import commands as c
from raftbook.core.commands import Entry
from raftbook.core.events import ACCEPTED, SESSION_OPENED
from raftbook.core.exchange import Exchange
from raftbook.core.types import Reject, Side
from raftbook.errors import NoNodeReachable, NotAccepted, OutcomeUnknown
from raftbook.wire import client_messages as m
from raftbook.wire.framing import FrameReader, frame
from raftbook.wire.packing import pack
from tests.client.cluster import GENESIS
from tests.core.flow import EFFORT


def new_flow(nodes: int = 2, **fields: Any) -> Flow:
    addresses = [(f"n{node}", 1) for node in range(1, nodes + 1)]
    fields = {"account": "demo", "session_key": "k", "timeout_s": 5.0, **fields}
    return Flow(Settings(addresses, rng=random.Random(1), **fields), is_own_key=True)


def said(flow: Flow) -> list[tuple[Any, ...]]:
    """What the flow wrote since the last look."""
    return [m.read_message(payload) for payload in FrameReader(1 << 24).feed(flow.take_outgoing())]


def hear(flow: Flow, now: float, *messages: Any) -> None:
    flow.received(b"".join(frame(pack(message)) for message in messages), now)


def ready(flow: Flow, now: float = 0.0, *, session_id: int = 1, highest_seq: int = 0) -> None:
    """Connect, log in and open the session, if a request asks for one."""
    assert flow.dial(now) is not None
    flow.connected(now)
    assert said(flow) == [(m.HELLO, 1, "python")]
    hear(flow, now, (m.WELCOME, 1, "demo", "demo-1", 1, b"nonce"))
    (login,) = said(flow)
    assert login[0] == m.LOGIN
    hear(flow, now, (m.RESULT, login[1], {"account": "demo", "operator": True}))
    opening = said(flow)
    if opening:
        assert opening[0][0] == m.OPEN
        hear(flow, now, (m.RESULT, opening[0][1], (session_id, highest_seq)))


def reply(request_seq: int, session_id: int = 1, events: tuple[Any, ...] = ()) -> tuple[Any, ...]:
    return (m.REPLY, session_id, request_seq, 9, 1, 1, 0, events, 0, 1)


def buy(tag: int = 1) -> tuple[Any, ...]:
    return c.new_order("BTC-USD", Side.BUY, 1, tag)


def test_the_login_proves_the_secret_without_saying_it() -> None:
    flow = new_flow(secret="s3cret")
    flow.connect(0.0)
    flow.dial(0.0)
    flow.connected(0.0)
    said(flow)
    hear(flow, 0.0, (m.WELCOME, 1, "demo", "demo-1", 1, b"nonce"))
    assert said(flow)[0][2:] == ("demo", m.login_proof("s3cret", "demo", b"nonce"))


def test_nothing_is_dialled_before_somebody_calls() -> None:
    flow = new_flow()
    assert flow.dial(0.0) is None
    flow.connect(0.0)
    assert flow.dial(0.0) == ("n1", 1)
    assert flow.dial(0.0) is None  # under way already


def test_a_looker_opens_no_session() -> None:
    flow = new_flow()
    operation = flow.query("status", {}, 0.0)
    assert flow.dial(0.0) is not None
    flow.connected(0.0)
    hear(flow, 0.0, (m.WELCOME, 1, "demo", "demo-1", 1, b"nonce"))
    hear(flow, 0.0, (m.RESULT, said(flow)[1][1], {}))
    (query,) = said(flow)
    assert query == (m.QUERY, operation.ref, "status", {})


def test_the_first_round_costs_no_wait_and_the_next_ones_do() -> None:
    ring = NodeRing(Settings([("a", 1), ("b", 2)], rng=random.Random(1)))
    waits = [ring.failed("refused") for _ in range(12)]
    assert waits[0] == 0.0
    assert all(0 < wait <= BACKOFF_MAX_S for wait in waits[1:])
    assert waits[-1] > waits[1]
    assert ring.describe() == "a:1: refused; b:2: refused"


def test_backoff_is_jittered_and_bounded() -> None:
    patient = Settings([("a", 1)], rng=random.Random(1))
    waits = {patient.backoff(times) for times in range(100)}
    assert len(waits) == 100
    assert 0.25 < max(waits) <= BACKOFF_MAX_S
    hasty = Settings([("a", 1)], timeout_s=0.4)
    assert max(hasty.backoff(times) for times in range(100)) <= 0.05


def test_requests_are_numbered_when_they_are_sent_and_in_order() -> None:
    flow = new_flow()
    for tag in (1, 2, 3):
        flow.request([buy(tag)], 0.0)
    ready(flow, highest_seq=7)
    assert [(message[2], message[3][0][6]) for message in said(flow)] == [(8, 1), (9, 2), (10, 3)]


def test_what_was_lost_is_sent_again_as_it_was_before_anything_new() -> None:
    flow = new_flow()
    flow.request([buy(1)], 0.0)
    ready(flow)
    (first,) = said(flow)
    flow.lost("gone", 0.1)
    flow.request([buy(2)], 0.1)
    ready(flow, 0.1, highest_seq=1)
    again, second = said(flow)
    assert (again, second[2]) == (first, 2)


def test_numbers_never_run_further_than_the_window_from_the_oldest() -> None:
    flow = new_flow()
    for tag in range(1, IN_FLIGHT_MAX + 100):
        flow.request([buy(tag)], 0.0)
    ready(flow)
    sent = [message[2] for message in said(flow)]
    assert sent == list(range(1, IN_FLIGHT_MAX + 1))
    hear(flow, 0.0, *(reply(seq) for seq in sent[1:]))
    assert said(flow) == []  # number 1 is still open
    hear(flow, 0.0, reply(1))
    assert [message[2] for message in said(flow)] == list(range(513, 612))


def test_a_node_is_left_only_when_it_has_answered() -> None:
    flow = new_flow()
    flow.request([buy(1)], 0.0)
    second = flow.request([buy(2)], 0.0)
    ready(flow)
    hear(flow, 0.0, (m.REFUSED, 1, 1, int(Reject.NO_LEADER), "election"))
    assert flow.is_connected is True
    hear(flow, 0.01, reply(2))
    assert second.is_done is True
    assert flow.is_connected is False
    assert flow.dial(0.01) == ("n2", 1)


def test_a_node_without_a_leader_that_does_not_answer_is_left_soon() -> None:
    flow = new_flow()
    flow.request([buy(1)], 0.0)
    flow.request([buy(2)], 0.0)
    ready(flow)
    hear(flow, 0.0, (m.REFUSED, 1, 1, int(Reject.NO_LEADER), "election"))
    flow.wake(0.06)
    assert flow.is_connected is False


def test_a_late_answer_to_a_call_that_ended_is_ignored() -> None:
    flow = new_flow(nodes=1)
    operation = flow.request([buy()], 0.0, timeout_s=0.1)
    ready(flow)
    flow.wake(0.1)
    assert isinstance(operation.error, OutcomeUnknown)
    hear(flow, 0.2, reply(1))
    assert (operation.result, flow.is_connected) == (None, True)


def test_the_error_at_the_deadline_says_what_is_known() -> None:
    never_left = new_flow()
    operation = never_left.request([buy()], 0.0)
    assert never_left.dial(0.0) is not None
    never_left.connect_failed(ConnectionRefusedError(), 0.0)
    never_left.wake(5.0)
    assert isinstance(operation.error, NoNodeReachable)
    assert str(operation.error) == "no node answered: n1:1: connection refused"

    not_opened = new_flow()
    operation = not_opened.request([buy()], 0.0)
    ready_without_session(not_opened)
    not_opened.wake(5.0)
    assert isinstance(operation.error, NotAccepted)
    assert str(operation.error) == "not sent: node 1 did not open a session in time"


def test_who_answered_before_the_others_hung_was_reachable() -> None:
    # One node without a leader, then one that takes the connection and says nothing more.
    flow = new_flow()
    operation = flow.request([buy()], 0.0)
    ready_without_session(flow)
    (opening,) = said(flow)
    hear(flow, 0.1, (m.FAILURE, opening[1], int(Reject.NO_LEADER), "no leader is known"))
    assert flow.dial(0.2) == ("n2", 1)
    flow.connected(0.2)
    flow.wake(5.0)
    assert type(operation.error) is NotAccepted
    why = "node 1 could not open a session: no leader is known"
    assert str(operation.error) == f"not sent: {why}"


def test_a_node_that_hangs_is_what_nobody_answered_says() -> None:
    flow = new_flow()
    operation = flow.query("status", {}, 0.0)
    assert flow.dial(0.0) == ("n1", 1)
    flow.connected(0.0)
    flow.wake(1.7)  # a third of the time is the most that one greeting may take
    assert flow.dial(1.7) == ("n2", 1)
    flow.wake(5.0)
    assert isinstance(operation.error, NoNodeReachable)
    troubles = (
        "n1:1: took the connection but did not greet in time (does it hang?); "
        "n2:1: no connection yet"
    )
    assert str(operation.error) == f"no node answered: {troubles}"


def test_what_was_sent_and_lost_is_never_said_to_have_had_no_effect() -> None:
    flow = new_flow()
    operation = flow.request([buy()], 0.0)
    ready(flow)
    flow.lost("the connection was lost", 0.1)
    ready(flow, 0.1)
    hear(flow, 0.2, (m.REFUSED, 1, 1, int(Reject.NO_LEADER), "no leader is known"))
    flow.wake(5.0)
    assert isinstance(operation.error, OutcomeUnknown)
    lost = "n1:1: the connection was lost"
    assert str(operation.error) == f"request 1 was sent and not answered: {lost}"


def test_one_deadline_ends_every_call() -> None:
    flow = Flow(Settings([("n1", 1)], timeout_s=5.0, rng=random.Random(1)), ends_at=6.0)
    first, second = flow.query("status", {}, 0.0), flow.query("book", {}, 4.0)
    flow.wake(5.0)
    assert first.is_done and not second.is_done
    flow.wake(6.0)
    assert isinstance(second.error, NoNodeReachable)


def test_refused_by_every_node_is_an_answer_for_who_does_not_wait() -> None:
    flow = new_flow(gives_up_when_refused=True)
    operation = flow.query("status", {}, 0.0)
    flow.dial(0.0)
    flow.connect_failed(ConnectionRefusedError(), 0.0)
    assert not operation.is_done  # the other one may be there
    flow.dial(0.0)
    flow.connect_failed(TimeoutError(), 0.5)
    assert not operation.is_done  # and one that is slow is not one that refuses
    for now in (2.0, 3.0):  # after the waits between two rounds
        assert flow.dial(now) is not None
        flow.connect_failed(ConnectionRefusedError(), now)
    assert isinstance(operation.error, NoNodeReachable)
    refused = "connection refused"
    assert str(operation.error) == f"no node answered: n1:1: {refused}; n2:1: {refused}"


def test_a_long_reply_comes_in_pages_and_begins_anew_with_the_connection() -> None:
    flow = new_flow()
    operation = flow.request([buy()], 0.0)
    ready(flow)
    hear(flow, 0.1, (m.REPLY_PAGE, 1, 1, ((1, 1),)))
    flow.lost("gone", 0.1)
    ready(flow, 0.1)
    hear(flow, 0.2, (m.REPLY_PAGE, 1, 1, ((1, 1), (3, 2))), (m.REPLY_PAGE, 1, 1, ((3, 3),)))
    assert not operation.is_done
    hear(flow, 0.3, reply(1, events=((3, 4), (2, 5))))
    assert operation.result.events == ((1, 1), (3, 2), (3, 3), (3, 4), (2, 5))


@pytest.mark.parametrize("code", [Reject.NO_LEADER, Reject.OVERLOADED, Reject.NOT_READY])
def test_what_never_left_a_node_is_not_accepted(code: Reject) -> None:
    flow = new_flow()
    operation = flow.request([buy()], 0.0)
    ready(flow)
    hear(flow, 4.9, (m.REFUSED, 1, 1, int(code), "not now"))
    flow.wake(5.0)
    assert type(operation.error) is NotAccepted
    assert str(operation.error) == "nothing happened: not now"


def test_a_deadline_between_an_attempt_and_its_answer_is_an_unknown_outcome() -> None:
    flow = new_flow(attempt_timeout_s=9.0)
    operation = flow.request([buy()], 0.0)
    ready(flow)
    flow.wake(5.0)
    assert isinstance(operation.error, OutcomeUnknown)


def ready_without_session(flow: Flow) -> None:
    assert flow.dial(0.0) is not None
    flow.connected(0.0)
    hear(flow, 0.0, (m.WELCOME, 1, "demo", "demo-1", 1, b"nonce"))
    hear(flow, 0.0, (m.RESULT, said(flow)[1][1], {}))


def test_a_number_under_way_is_not_given_twice() -> None:
    flow = new_flow()
    flow.request([buy()], 0.0, request_seq=4)
    with pytest.raises(ValueError, match="request 4 is under way"):
        flow.request([buy()], 0.0, request_seq=4)
    with pytest.raises(ValueError, match="at least 1"):
        flow.request([buy()], 0.0, request_seq=0)
    flow.request([buy()], 0.0)
    ready(flow)
    assert [message[2] for message in said(flow)] == [4, 5]


def test_a_forgotten_reply_is_an_unknown_outcome() -> None:
    flow = new_flow()
    operation = flow.request([buy()], 0.0)
    ready(flow)
    hear(flow, 0.0, reply(1, events=((8, 0, int(Reject.STALE_REQUEST), buy()),)))
    assert isinstance(operation.error, OutcomeUnknown)


@pytest.mark.parametrize(
    "message",
    [
        (m.RESULT, 99, None, None),
        (m.WELCOME, 1, "demo", "demo-1", 1, b""),
        (m.PUSH, 1, 1),
        (99,),
        "text",
    ],
)
def test_what_was_not_asked_for_ends_the_connection(message: Any) -> None:
    flow = new_flow()
    flow.request([buy()], 0.0)
    ready(flow)
    hear(flow, 0.0, message)
    assert flow.should_close is True


def test_an_unused_connection_may_end_without_blame() -> None:
    flow = new_flow()
    flow.connect(0.0)
    ready(flow)
    flow.lost("closed", 1.0)
    assert flow.progress == []
    flow.connect(2.0)
    assert flow.dial(2.0) == ("n1", 1)


def test_a_repeated_request_stays_in_doubt_until_it_is_answered() -> None:
    flow = new_flow(nodes=1)
    flow.request([buy()], 0.0)
    ready(flow)
    flow.lost("gone", 0.1)
    flow.wake(5.0)
    again = flow.request([buy()], 6.0, request_seq=1)
    flow.wake(11.0)
    assert isinstance(again.error, OutcomeUnknown)  # never NoNodeReachable: the first may be in
    assert flow.may_forget_session is False
    found = flow.request([buy()], 12.0, request_seq=1)
    ready(flow, 12.0, highest_seq=1)
    hear(flow, 12.0, reply(1))
    assert (found.error, flow.may_forget_session) == (None, True)


def test_a_number_of_ones_own_that_never_left_is_in_no_doubt() -> None:
    flow = new_flow(nodes=1)
    for started in (0.0, 10.0):
        operation = flow.request([buy()], started, request_seq=1)
        flow.wake(started + 5.0)
        assert isinstance(operation.error, NoNodeReachable)
    assert flow._in_doubt == set()


def test_settings_that_cannot_work_are_refused_at_once() -> None:
    with pytest.raises(ValueError, match="at least one node"):
        Settings([])
    with pytest.raises(ValueError, match="session_key 'a b'"):
        Settings([("a", 1)], session_key="a b")
    with pytest.raises(ValueError, match="timeouts must be positive"):
        Settings([("a", 1)], timeout_s=0)


def test_the_secret_is_not_shown() -> None:
    assert "s3cret" not in repr(Settings([("a", 1)], secret="s3cret"))


def test_a_session_that_was_replaced_takes_its_numbers_with_it() -> None:
    numbers = SessionNumbers(is_own_key=True)
    assert numbers.opened(1, 0) is False
    numbers.used(1)
    numbers.used(2)
    assert numbers.opened(1, 2) is False
    assert numbers.opened(8, 0) is True
    assert (numbers.lost_seq_max, numbers.next_seq) == (2, 3)


# -- the contract, against a cluster that does as it likes ------------------------------------


class Storm:
    """Three nodes of one exchange and a network that fails at random; time is a number."""

    def __init__(self, rng: random.Random, *, may_evict: bool) -> None:
        self.rng = rng
        self.may_evict = may_evict
        self.exchange = Exchange(GENESIS)
        self.flow = new_flow(nodes=3, timeout_s=3.0, attempt_timeout_s=0.7)
        self.now = 0.0
        self.connection = 0
        self.reader = FrameReader(1 << 24)
        self.mail: deque[tuple[int, tuple[Any, ...]]] = deque()  # (connection, message) to nodes
        self.calm = False

    def odds(self, one_in: int) -> bool:
        return not self.calm and self.rng.randrange(one_in) == 0

    def step(self) -> None:
        flow = self.flow
        flow.wake(self.now)
        if flow.should_close:
            flow.should_close = False
        if flow.dial(self.now) is not None:
            if self.odds(4):
                flow.connect_failed(ConnectionRefusedError(), self.now)
            else:
                self.connection += 1
                self.reader = FrameReader(1 << 24)
                flow.connected(self.now)
        for payload in self.reader.feed(flow.take_outgoing()):
            self.mail.append((self.connection, m.read_message(payload)))
        if self.mail and (self.calm or self.rng.randrange(3)):
            # Within a connection in order; a dead one's frames arrive whenever they like.
            at = 0 if self.calm else self.rng.randrange(len(self.mail))
            connection = self.mail[at][0]
            at = next(n for n, (owner, _) in enumerate(self.mail) if owner == connection)
            message = self.mail[at][1]
            del self.mail[at]
            self.serve(connection, message)
        if flow.is_connected and self.odds(25):
            flow.lost("cut", self.now)
        if self.may_evict and self.odds(40):
            for session in list(self.exchange.sessions.by_id.values()):
                self.exchange.sessions.remove(session)
        self.now += self.rng.choice((0.0, 0.001, 0.01, 0.1))

    def serve(self, connection: int, message: tuple[Any, ...]) -> None:
        kind, *fields = message
        if kind == m.HELLO:
            self.answer(connection, m.WELCOME, 1, "demo", "demo-1", 1 + connection % 3, b"")
        elif kind == m.LOGIN:
            self.answer(connection, m.RESULT, fields[0], {"operator": True})
        elif kind == m.OPEN:
            if self.odds(6):
                self.answer(connection, m.FAILURE, fields[0], int(self.refusal()), "")
                return
            events = self.apply(c.NO_SESSION, 0, (c.open_session("demo", fields[1]),))[4]
            assert events[0][0] == SESSION_OPENED, events
            self.answer(connection, m.RESULT, fields[0], (events[0][2], events[0][4]))
        elif kind == m.REQUEST:
            self.serve_request(connection, *fields)

    def serve_request(self, connection: int, session_id: int, seq: int, commands: Any) -> None:
        refusal = self.refusal() if self.odds(5) else None
        if refusal is None or (refusal == Reject.OUTCOME_UNKNOWN and self.odds(2)):
            done = self.apply(session_id, seq, commands)
        if refusal is not None:
            self.answer(connection, m.REFUSED, session_id, seq, int(refusal), "")
        elif not self.odds(8):
            fields = (*done[:3], 1, 1, done[3], done[4], done[5], 1)
            self.answer(connection, m.REPLY, *fields)

    def refusal(self) -> Reject:
        return self.rng.choice(
            (Reject.NO_LEADER, Reject.OVERLOADED, Reject.NOT_READY, Reject.OUTCOME_UNKNOWN)
        )

    def apply(self, session_id: int, seq: int, commands: Any) -> Any:
        index = self.exchange.applied_index + 1
        return self.exchange.apply(Entry(index, 10**18 + index, ((session_id, seq, commands),)))[0]

    def answer(self, connection: int, *message: Any) -> None:
        if connection == self.connection and self.flow.is_connected:
            self.flow.received(frame(pack(message)), self.now)

    def applied(self, tag: int) -> int:
        """How many orders of this tag the exchange took."""
        accounts = self.exchange.accounts.values()
        return sum(o.terms[6] == tag for each in accounts for o in each.orders.values())


@pytest.mark.parametrize("may_evict", [False, True])
@settings(max_examples=150 * EFFORT, deadline=None)
@given(st.integers(0, 2**32))
def test_whatever_happens_every_order_is_taken_once_or_its_error_is_true(
    may_evict: bool, seed: int
) -> None:
    storm = Storm(random.Random(seed), may_evict=may_evict)
    operations = []
    for tag in range(1, 13):
        operations.append(storm.flow.request([buy(tag)], storm.now))
        for _ in range(storm.rng.randrange(12)):
            storm.step()
    while not all(operation.is_done for operation in operations):
        storm.step()
    storm.calm = True
    while storm.mail:
        storm.step()
    for tag, operation in enumerate(operations, start=1):
        if operation.error is None:
            assert operation.result.events[0][0] == ACCEPTED
            assert operation.result.events[0][2][6] == tag
            assert storm.applied(tag) == 1, tag
        elif isinstance(operation.error, OutcomeUnknown):
            assert storm.applied(tag) <= 1, tag
        else:
            assert isinstance(operation.error, NotAccepted | NoNodeReachable)
            assert storm.applied(tag) == 0, (tag, operation.error)
    for tag, operation in enumerate(operations, start=1):
        if isinstance(operation.error, OutcomeUnknown):
            repeat(storm, tag, operation.error, may_evict=may_evict)


def repeat(storm: Storm, tag: int, error: OutcomeUnknown, *, may_evict: bool) -> None:
    """Asked again by its number, a lost order is found, or made; never doubled."""
    again = storm.flow.request([buy(tag)], storm.now, request_seq=error.request_seq)
    while not again.is_done:
        storm.step()
    if again.error is None:
        assert again.result.events[0][2][6] == tag
        assert storm.applied(tag) == 1
    else:
        assert may_evict and isinstance(again.error, OutcomeUnknown)
        assert storm.applied(tag) <= 1

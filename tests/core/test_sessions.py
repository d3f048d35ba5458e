"""Exactly-once at its edges: what a window remembers, when a session is forgotten."""

from raftbook.core import commands as c
from raftbook.core import events as e
from raftbook.core.commands import Command, Entry
from raftbook.core.events import Reply
from raftbook.core.exchange import Exchange, Genesis
from raftbook.core.instrument import InstrumentTerms
from raftbook.core.limits import Limits
from raftbook.core.snapshot import export_state, restore_state
from raftbook.core.types import Reject, Side

TERMS = InstrumentTerms("X", "oil", "eur", "1", "1", 100, -100, 100)
LIMITS = Limits(sessions_max=3, sessions_per_account_max=2, session_idle_ns=100, reply_window=3)
ACCOUNTS = (("anna", False), ("ben", False))
START = 1_000_000
BUY_ONE = c.new_order("X", Side.BUY, 1, 10)


class Desk:
    """Sends one request per entry; `at` is nanoseconds since the start."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        self.exchange = Exchange(Genesis((TERMS,), ACCOUNTS, limits))

    def send(self, session_id: int, seq: int, *commands: Command, at: int = 0) -> Reply:
        entry = Entry(self.exchange.applied_index + 1, START + at, ((session_id, seq, commands),))
        return self.exchange.apply(entry)[0]

    def open(self, account: str, key: str, *, at: int = 0) -> tuple[int, int]:
        """(session_id or 0, poss_dup)."""
        reply = self.send(c.NO_SESSION, 0, c.open_session(account, key), at=at)
        event = reply[4][0]
        return (event[2] if event[0] == e.SESSION_OPENED else 0, reply[5])


def reason(reply: Reply) -> int:
    """The reject code of the only event, 0 when it is none."""
    (event,) = reply[4]
    return int(event[2]) if event[0] in (e.REJECTED, e.CANCEL_REJECTED) else 0


def test_the_same_account_and_key_find_the_same_session() -> None:
    desk = Desk()
    assert desk.open("anna", "k") == (1, 0)
    assert desk.open("anna", "k") == (1, 1)
    assert desk.open("ben", "k") == (2, 0)


def test_a_repeated_request_gets_its_original_reply_wherever_it_stood() -> None:
    desk = Desk()
    desk.open("anna", "k")
    requests = ((1, 1, (BUY_ONE, BUY_ONE)), (1, 2, (BUY_ONE,)))
    _, original = desk.exchange.apply(Entry(7, START, requests))
    assert original[2:4] == (7, 2)
    again = desk.send(1, 2, c.close_session())  # whatever it carries now
    assert again == (*original[:5], 1)
    assert desk.exchange.last_order_id == 3


def test_the_window_ends_exactly_reply_window_below_the_highest() -> None:
    desk = Desk()
    desk.open("anna", "k")
    for seq in (1, 2, 3, 4):
        desk.send(1, seq, BUY_ONE)
    assert [desk.send(1, seq, BUY_ONE)[5] for seq in (4, 3, 2)] == [1, 1, 1]
    assert reason(desk.send(1, 1, BUY_ONE)) == Reject.STALE_REQUEST
    assert desk.exchange.last_order_id == 4


def test_a_gap_inside_the_window_may_be_filled_once() -> None:
    desk = Desk()
    desk.open("anna", "k")
    desk.send(1, 10, BUY_ONE)
    assert reason(desk.send(1, 7, BUY_ONE)) == Reject.STALE_REQUEST
    assert [(desk.send(1, 8, BUY_ONE)[5]) for _ in range(2)] == [0, 1]
    assert desk.exchange.last_order_id == 2


def test_a_request_seq_is_at_least_one() -> None:
    desk = Desk()
    desk.open("anna", "k")
    assert [reason(desk.send(1, seq, BUY_ONE)) for seq in (0, -1)] == [Reject.STALE_REQUEST] * 2


def test_repeats_inside_one_entry_are_repeats() -> None:
    desk = Desk()
    desk.open("anna", "k")
    first, second = desk.exchange.apply(Entry(2, START, ((1, 1, (BUY_ONE,)),) * 2))
    assert second == (*first[:5], 1)


def test_a_session_is_forgotten_only_for_another_and_only_when_idle_long_enough() -> None:
    desk = Desk()
    assert desk.open("anna", "a", at=0) == (1, 0)
    assert desk.open("anna", "b", at=50) == (2, 0)
    assert desk.open("anna", "c", at=99) == (0, 0), "two is anna's limit and both are young"
    assert desk.open("anna", "c", at=100) == (3, 0)
    assert reason(desk.send(1, 1, BUY_ONE, at=100)) == Reject.UNKNOWN_SESSION
    assert reason(desk.send(2, 1, BUY_ONE, at=10_000)) == 0, "idle, but nobody needed its place"


def test_a_session_in_use_is_not_forgotten() -> None:
    desk = Desk()
    desk.open("anna", "a", at=0)
    desk.open("anna", "b", at=0)
    desk.send(1, 1, BUY_ONE, at=60)
    assert desk.open("anna", "c", at=100) == (3, 0)
    assert reason(desk.send(1, 2, BUY_ONE, at=100)) == 0
    assert reason(desk.send(2, 1, BUY_ONE, at=100)) == Reject.UNKNOWN_SESSION


def test_a_closed_session_is_unknown_and_its_key_opens_another() -> None:
    desk = Desk()
    desk.open("anna", "k")
    desk.send(1, 1, c.close_session())
    assert reason(desk.send(1, 2, BUY_ONE)) == Reject.UNKNOWN_SESSION
    assert desk.open("anna", "k") == (2, 0)


def test_the_clock_goes_on_by_a_minute_per_entry_at_most_and_never_back() -> None:
    desk = Desk()
    desk.send(1, 1, at=0)
    desk.send(1, 1, at=10**15)
    assert desk.exchange.now_ns == START + 60_000_000_000
    desk.send(1, 1, at=-5)
    assert desk.exchange.now_ns == START + 60_000_000_000


def test_who_gives_way_is_the_same_on_a_node_that_comes_from_a_snapshot() -> None:
    """It has looked at no session before, which must make no difference."""
    limits, minute_ns = LIMITS._replace(session_idle_ns=10**15), 60_000_000_000
    desk = Desk(limits)
    desk.open("anna", "a", at=0)
    desk.open("anna", "b", at=1)
    desk.open("ben", "c", at=2)
    assert desk.open("ben", "d", at=3) == (0, 0), "the eldest was looked at, and is too young"
    desk.send(1, 1, BUY_ONE, at=4)
    desk.send(2, 1, BUY_ONE, at=4)
    restored = Desk(limits)
    restored.exchange = restore_state(desk.exchange.genesis, export_state(desk.exchange))
    for each in (desk, restored):
        each.open("ben", "e", at=4 + minute_ns)
    assert list(desk.exchange.sessions.by_id) == list(restored.exchange.sessions.by_id) == [1, 2, 4]

"""However much is asked for at once: a pass of the loop makes a little of it, of everybody's in
turn, and half of the loop's time is left."""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from raftbook.core import commands as c
from raftbook.core.types import Phase, Reject, Side
from raftbook.gateway import market_queries
from raftbook.gateway.pace import ROUND_S, SAVED_S, Asker, Ended, Pace
from raftbook.gateway.questions import QUERIES_MAX
from raftbook.wire import client_messages as m
from raftbook.wire.framing import frame
from raftbook.wire.packing import pack
from tests.gateway.door import Caller, Door, at_the_door

PIECE_S = ROUND_S / 4


class Clock:
    """The loop's time, which stands still while nothing is made."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        loop = asyncio.get_running_loop()
        self.now = loop.time()
        monkeypatch.setattr(loop, "time", lambda: self.now)

    def piece(self) -> None:
        """Something that takes its time."""
        self.now += PIECE_S

    async def passes(self, count: int = 1) -> None:
        """Let the loop go on, in no time."""
        for _ in range(count):
            await asyncio.sleep(0)


class Glutton:
    """Wants so many pieces."""

    def __init__(self, clock: Clock, wanted: int) -> None:
        self.clock, self.wanted, self.made = clock, wanted, 0

    def hand_on(self) -> bool:
        self.clock.piece()
        self.made += 1
        return self.made < self.wanted


def _play(monkeypatch: pytest.MonkeyPatch, scene: Callable[[Pace, Clock], Awaitable[None]]) -> None:
    async def play() -> None:
        await scene(Pace(), Clock(monkeypatch))

    asyncio.run(play())


def test_a_pass_of_the_loop_has_one_round_however_many_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(pace: Pace, clock: Clock) -> None:
        askers = [Glutton(clock, 2) for _ in range(10)]
        for asker in askers:
            pace.want(asker)
        made = [0]
        while made[-1] < 20:
            await clock.passes()
            made.append(sum(asker.made for asker in askers))
            clock.now += PIECE_S  # what others do in each pass
        assert max(later - sooner for sooner, later in pairwise(made)) == 4

    _play(monkeypatch, scene)


def test_a_backlog_leaves_the_loop_half_of_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(pace: Pace, clock: Clock) -> None:
        began = clock.now
        asker = Glutton(clock, 400)
        pace.want(asker)
        while asker.made < 400:
            await clock.passes()
            assert asker.made * PIECE_S <= (clock.now - began) / 2 + SAVED_S + ROUND_S
            clock.now += PIECE_S / 2
        assert 2 * asker.made * PIECE_S >= (clock.now - began) * 0.9, "it rests longer than it must"

    _play(monkeypatch, scene)


def test_whoever_asks_once_does_not_wait_for_whoever_asks_much(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scene(pace: Pace, clock: Clock) -> None:
        loud, quiet = Glutton(clock, 60), Glutton(clock, 1)
        pace.want(loud)
        pace.want(quiet)
        await clock.passes()
        assert (loud.made, quiet.made) == (3, 1)
        pace.forget(loud)
        await clock.passes(3)
        clock.now += 1.0
        await clock.passes(3)
        assert loud.made == 3

    _play(monkeypatch, scene)


def test_a_lone_piece_is_made_at_once_and_those_that_come_together_in_rounds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scene(pace: Pace, clock: Clock) -> None:
        told: list[int] = []

        def piece(number: int) -> int:
            clock.piece()
            told.append(number)
            return number

        with pytest.raises(StopIteration) as done:  # it waits for nothing
            Asker(pace).make(lambda: piece(-1)).send(None)
        assert done.value.value == -1
        clock.now += 1.0
        tasks = [asyncio.create_task(Asker(pace).make(lambda at=at: piece(at))) for at in range(12)]
        counts = [1]
        while not tasks[-1].done():
            await clock.passes()
            counts.append(len(told))
            clock.now += PIECE_S
        assert max(later - sooner for sooner, later in pairwise(counts)) <= 5
        assert told == list(range(-1, 12))
        assert [task.result() for task in tasks] == list(range(12))

    _play(monkeypatch, scene)


def test_a_piece_that_fails_is_for_whoever_asked_and_a_cancelled_one_is_not_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scene(pace: Pace, clock: Clock) -> None:
        told: list[str] = []

        def fail() -> None:
            raise ValueError("x")

        pace.free_at = clock.now + 1.0
        asker = Asker(pace)
        failing = asyncio.create_task(asker.make(fail))
        dropped = asyncio.create_task(asker.make(lambda: told.append("dropped")))
        good = asyncio.create_task(asker.make(lambda: told.append("good")))
        odd = asyncio.create_task(asker.make(lambda: next(iter(()))))
        await clock.passes()
        dropped.cancel()
        clock.now += 1.0
        await asyncio.wait([failing, dropped, good, odd])
        assert str(failing.exception()) == "x"
        assert dropped.cancelled()
        assert told == ["good"]
        assert "StopIteration" in str(odd.exception())
        with pytest.raises(ValueError, match="x"):
            await asker.make(fail)

    _play(monkeypatch, scene)


def test_a_connection_that_wants_much_has_one_turn_a_round(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(pace: Pace, clock: Clock) -> None:
        told: list[str] = []

        def piece(name: str) -> None:
            clock.piece()
            told.append(name)

        pace.free_at = clock.now + 1.0
        loud, quiet = Asker(pace), Asker(pace)
        tasks = [asyncio.create_task(loud.make(lambda: piece("loud"))) for _ in range(60)]
        tasks.append(asyncio.create_task(quiet.make(lambda: piece("quiet"))))
        await clock.passes()
        while not tasks[-1].done():
            clock.now += 1.0
            await clock.passes()
        assert told[:2] == ["loud", "quiet"]
        while not all(task.done() for task in tasks):
            clock.now += 1.0
            await clock.passes()
        assert told[2:] == ["loud"] * 59

    _play(monkeypatch, scene)


def test_nothing_is_made_for_whoever_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(pace: Pace, clock: Clock) -> None:
        told: list[str] = []
        pace.free_at = clock.now + 1.0
        gone, other = Asker(pace), Asker(pace)
        tasks = [asyncio.create_task(gone.make(lambda: told.append("gone"))) for _ in range(3)]
        last = asyncio.create_task(other.make(lambda: told.append("other")))
        await clock.passes()
        tasks[0].cancel()
        await clock.passes()
        gone.end()
        assert len(pace._turns) == 1
        with pytest.raises(Ended):
            await gone.make(lambda: told.append("gone"))
        clock.now += 2.0
        await last
        assert tasks[0].cancelled()
        assert {type(task.exception()) for task in tasks[1:]} == {Ended}
        assert told == ["other"]
        clock.now += 1.0
        await gone.make(lambda: told.append("at once"))  # what need not wait is none too much
        assert told == ["other", "at once"]

    _play(monkeypatch, scene)


# -- a native client ------------------------------------------------------------------------------


def _ask(caller: Caller, name: str, arguments: dict[str, Any], count: int) -> None:
    """So many at once."""
    asked = frame(pack((m.QUERY, 1, name, arguments)))
    caller.connection.data_received(asked * count)


def _slow(door: Door, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let each answer take its time; the questions that were looked at."""
    queries, asked = door.server.queries, list[str]()

    def answer(name: str, arguments: dict[str, Any], account: Any) -> str:
        clock.piece()
        asked.append(name)
        return name

    monkeypatch.setattr(queries, "answer", answer)
    return asked


def test_a_flood_of_dear_questions_leaves_room_for_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(door: Door) -> None:
        loud, quiet = door.caller(), door.caller()
        await loud.greet()
        await quiet.greet()
        clock = Clock(monkeypatch)
        asked = _slow(door, clock, monkeypatch)
        _ask(loud, "auction", {"symbol": "A"}, QUERIES_MAX)
        _ask(quiet, "trades", {"symbol": "A"}, 1)
        passes, before = 0, 0
        while len(asked) <= QUERIES_MAX:
            await clock.passes()
            assert len(asked) - before <= 4
            passes, before = passes + 1, len(asked)
            clock.now += PIECE_S
        assert asked.index("trades") == 1
        assert passes > 2 * QUERIES_MAX / 4
        await clock.passes(2)
        assert [message[2] for message in await quiet.glance()] == ["trades"]
        answers = await loud.glance()
        assert [message[2] for message in answers] == ["auction"] * QUERIES_MAX

    at_the_door(tmp_path, scene)


def test_a_lone_question_is_answered_in_the_next_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(door: Door) -> None:
        caller = door.caller()
        await caller.greet()
        clock = Clock(monkeypatch)
        clock.now += 1.0
        asked = _slow(door, clock, monkeypatch)
        for count in (1, 2, 3):
            _ask(caller, "status", {}, 1)
            await clock.passes(2)
            assert len(asked) == count
            assert len(await caller.glance()) == 1

    at_the_door(tmp_path, scene)


def test_questions_that_wait_for_their_turn_are_bounded_and_end_with_their_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(door: Door) -> None:
        caller = door.caller()
        await caller.greet()
        clock = Clock(monkeypatch)
        asked = _slow(door, clock, monkeypatch)
        _ask(caller, "auction", {"symbol": "A"}, QUERIES_MAX + 5)
        await clock.passes(2)
        answers = await caller.glance()
        refused = [message for message in answers if message[0] == m.FAILURE]
        assert [message[2] for message in refused] == [Reject.OVERLOADED] * 5
        before = len(asked)
        assert before < QUERIES_MAX
        caller.hang_up()
        clock.now += 60.0
        await clock.passes(5)
        assert len(asked) == before

    at_the_door(tmp_path, scene)


def test_whether_a_node_can_vouch_is_asked_when_the_turn_has_come(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        caller = door.caller()
        await caller.greet()
        pace, loop = door.server.pace, asyncio.get_running_loop()
        pace.free_at = loop.time() + 0.05
        caller.say(m.QUERY, 1, "book", {"symbol": "A", "max_age_ms": 1_000})
        await caller.connection_round()
        assert await caller.glance() == []
        door.now += 5.0  # nothing is heard of a leader meanwhile
        door.replica.age_ms = lambda: 5_000  # type: ignore[method-assign]
        (failure,) = await caller.hear()
        assert failure[:3] == (m.FAILURE, 1, Reject.TOO_STALE)

    at_the_door(tmp_path, scene)


def test_pages_have_their_turn_with_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(door: Door) -> None:
        reader, asker = door.caller(), door.caller()
        await reader.greet()
        await asker.greet()
        pace = door.server.pace
        pace.free_at = asyncio.get_running_loop().time() + 3600.0  # somebody made a very long page
        reader.say(m.SUBSCRIBE, 1, "feed", {"symbol": "A"})
        asker.say(m.QUERY, 1, "status", {})
        asker.say(m.PING, 2)
        await reader.connection_round()
        assert [message[0] for message in await reader.glance()] == [m.RESULT]
        assert await asker.glance() == [(m.PONG, 2)]  # no turn is needed for these
        pace.free_at = 0.0
        pace._round()
        assert pace.free_at > 0.0
        assert [value[0] for value in await reader.pushes()] == ["refresh"]
        assert [message[:2] for message in await asker.hear()] == [(m.RESULT, 1)]

    at_the_door(tmp_path, scene)


def test_equal_questions_about_an_auction_cost_one_search_until_something_is_applied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    searches: list[str] = []
    search = market_queries.indicative

    def counted(book: Any) -> Any:
        searches.append(book.symbol)
        return search(book)

    monkeypatch.setattr(market_queries, "indicative", counted)

    async def scene(door: Door) -> None:
        op = door.caller()
        session = await op.open("op")
        calls = [c.set_phase(symbol, Phase.AUCTION) for symbol in ("A", "B")]
        crossing = [c.new_order("A", side, 2, 10) for side in (Side.BUY, Side.SELL)]
        await op.ask(m.REQUEST, session, 1, (*calls, *crossing))
        told = [await op.query("auction", symbol=symbol) for symbol in "ABABAA"]
        assert searches == ["A", "B"]
        assert [answer["volume"] for answer in told] == [2, 0, 2, 0, 2, 2]
        more = [c.new_order("A", side, 3, 10) for side in (Side.BUY, Side.SELL)]
        await op.ask(m.REQUEST, session, 2, tuple(more))
        assert (await op.query("auction", symbol="A"))["volume"] == 5
        assert searches == ["A", "B", "A"]

    at_the_door(tmp_path, scene)


def test_a_question_is_whose_the_connection_was_when_it_came(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        caller = door.caller()
        await caller.greet("alice")
        asked = frame(pack((m.QUERY, 5, "account", {})))
        caller.connection.data_received(asked + frame(pack((m.LOGIN, 6, "op", b""))))
        answers = {message[1]: message[2] for message in await caller.hear()}
        assert answers[6]["account"] == "op"
        assert answers[5]["account"] == "alice"

    at_the_door(tmp_path, scene)

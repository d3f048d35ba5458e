"""However much arrives at once: a pass of the loop handles a little of it, of everybody in turn."""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from raftbook.core import commands as c
from raftbook.core.types import Side
from raftbook.gateway.intake import PORTION_BYTES, Inflow, Intake
from raftbook.wire import client_messages as m
from raftbook.wire.framing import frame
from raftbook.wire.packing import pack
from tests.gateway.door import Door, at_the_door

PING_BYTES = len(frame(pack((m.PING, 1))))


class Socket(asyncio.Transport):
    """Nothing but whether it is read."""

    def __init__(self) -> None:
        super().__init__()
        self.is_read = True
        self.was_aborted = False

    def pause_reading(self) -> None:
        self.is_read = False

    def resume_reading(self) -> None:
        self.is_read = True

    def is_closing(self) -> bool:
        return self.was_aborted

    def abort(self) -> None:
        self.was_aborted = True


class Line:
    """One connection, and what was handled of it."""

    def __init__(self, intake: Intake) -> None:
        self.socket = Socket()
        self.heard: list[bytes] = []
        self.inflow = Inflow(intake, self.socket, self.heard.append)


def _portions(many: int) -> bytes:
    return b"".join(bytes([number]) * PORTION_BYTES for number in range(many))


def _play(scene: Callable[[Intake], Awaitable[None]]) -> None:
    async def play() -> None:
        intake = Intake()
        intake.pass_s = 0.0  # a portion takes longer: one in each pass
        await scene(intake)

    asyncio.run(play())


def test_what_arrives_at_once_is_handled_pass_by_pass_and_in_order() -> None:
    async def scene(intake: Intake) -> None:
        line = Line(intake)
        line.inflow.arrive(_portions(3) + b"end")
        for handled in (1, 2, 3):
            assert len(line.heard) == handled
            assert not line.socket.is_read
            await asyncio.sleep(0)
        assert line.socket.is_read
        assert b"".join(line.heard) == _portions(3) + b"end"
        await asyncio.sleep(0)
        line.inflow.arrive(b"more")
        assert line.heard[-1] == b"more"
        assert line.socket.is_read

    _play(scene)


def test_whoever_sends_a_little_does_not_wait_for_whoever_sends_much() -> None:
    async def scene(intake: Intake) -> None:
        loud, quiet = Line(intake), Line(intake)
        loud.inflow.arrive(_portions(60))
        quiet.inflow.arrive(b"a word")
        assert quiet.heard == []
        for _ in range(2):
            await asyncio.sleep(0)
        assert quiet.heard == [b"a word"]
        assert len(loud.heard) == 2

    _play(scene)


def test_all_connections_together_have_one_share_of_a_pass(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scene(intake: Intake) -> None:
        ticks = count()  # about a millisecond for each look at the clock, so for each portion
        loop = asyncio.get_running_loop()
        monkeypatch.setattr(loop, "time", lambda: next(ticks) / 1_024)
        intake.pass_s = 4 / 1_024
        lines = [Line(intake) for _ in range(10)]
        for line in lines:
            line.inflow.arrive(_portions(8))
        passes, handled = 0, 0
        while handled < 80:
            before, handled = handled, sum(len(line.heard) for line in lines)
            assert handled - before <= 4
            passes += 1
            await asyncio.sleep(0)
        assert passes <= 30
        assert all(b"".join(line.heard) == _portions(8) for line in lines)

    _play(scene)


def test_what_is_held_waits_unread_and_goes_on_later() -> None:
    async def scene(intake: Intake) -> None:
        line = Line(intake)
        line.inflow.arrive(_portions(2))
        line.inflow.hold()
        for _ in range(5):
            await asyncio.sleep(0)
        assert (len(line.heard), line.inflow.waiting_bytes) == (1, PORTION_BYTES)
        line.inflow.release()
        assert (len(line.heard), line.socket.is_read) == (1, False)
        await asyncio.sleep(0)
        assert (len(line.heard), line.socket.is_read) == (2, True)
        line.inflow.hold()
        assert not line.socket.is_read
        line.inflow.release()
        assert line.socket.is_read

    _play(scene)


def test_nothing_is_handled_once_a_connection_has_ended() -> None:
    async def scene(intake: Intake) -> None:
        gone, closed = Line(intake), Line(intake)
        for line in (gone, closed):
            line.inflow.arrive(_portions(3))
        gone.inflow.end()
        closed.socket.abort()
        for _ in range(5):
            await asyncio.sleep(0)
        assert (len(gone.heard), len(closed.heard)) == (1, 0)
        assert closed.inflow.waiting_bytes == 0

    _play(scene)


def test_what_cannot_be_handled_ends_its_connection_and_no_other() -> None:
    async def scene(intake: Intake) -> None:
        told: list[Any] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: told.append(context["exception"]))
        socket, line = Socket(), Line(intake)

        def fail(portion: bytes) -> None:
            raise ValueError(portion)

        Inflow(intake, socket, fail).arrive(b"x")
        line.inflow.arrive(b"y")
        await asyncio.sleep(0)
        assert [str(error) for error in told] == ["b'x'"]
        assert socket.was_aborted
        assert line.heard == [b"y"]

    _play(scene)


# -- a native client ------------------------------------------------------------------------------


def test_a_flood_of_pings_leaves_room_for_others(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        loud, quiet = door.caller(), door.caller()
        await loud.greet()
        await quiet.greet()
        door.server.intake.pass_s = 0.0
        loud.connection.data_received(frame(pack((m.PING, 1))) * 9_000)
        assert not loud.transport.is_read
        pongs = len(await loud.glance())
        quiet.say(m.PING, 7)
        for passes in range(1, 4):
            await asyncio.sleep(0)
            pongs += len(await loud.glance())
            assert pongs <= (passes + 1) * PORTION_BYTES / PING_BYTES
        assert await quiet.hear() == [(m.PONG, 7)]
        while not loud.transport.is_read:
            pongs += len(await loud.hear())
        assert pongs + len(await loud.hear()) == 9_000

    at_the_door(tmp_path, scene)


def test_long_requests_that_come_at_once_are_answered_whole_and_in_order(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        alice = door.caller()
        session = await alice.open("alice")
        door.server.intake.pass_s = 0.0
        names = [f"{number:036}" for number in range(50)]
        orders = [c.new_order("A", Side.BUY, 1, 1, client_order_id=name) for name in names]
        requests = [frame(pack((m.REQUEST, session, seq, orders))) for seq in range(1, 9)]
        assert len(requests[0]) > 2 * PORTION_BYTES
        alice.connection.data_received(b"".join(requests))
        replies: list[Any] = []
        while len(replies) < 8:
            replies += await alice.hear()
        assert [reply[:3] for reply in replies] == [(m.REPLY, session, seq) for seq in range(1, 9)]
        assert alice.transport.is_read

    at_the_door(tmp_path, scene)

"""Questions that wait for an entry: they cost nothing meanwhile, end in time, and are bounded."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from pathlib import Path
from typing import Any

import pytest

from raftbook.core import commands as c
from raftbook.core.types import Reject, Side
from raftbook.gateway import waits as waits_module
from raftbook.gateway.arguments import INDEX_MAX
from raftbook.gateway.waits import EntryWaits
from raftbook.replica.membership import Member
from raftbook.wire import client_messages as m
from tests.gateway.door import Caller, Door, at_the_door

BUY = c.new_order("A", Side.BUY, 1, 1)
FOR_EVER_MS = 600_000


class Steps:
    """Counts how often the loop lets a coroutine go on."""

    def __init__(self, coroutine: Coroutine[Any, None, bool]) -> None:
        self.count = 0
        self._coroutine = coroutine

    def __await__(self) -> Generator[Any, None, bool]:
        while True:
            self.count += 1
            try:
                awaited = self._coroutine.send(None)
            except StopIteration as stop:
                return bool(stop.value)
            yield awaited


async def awaited(steps: Steps) -> bool:
    return await steps


def ask(caller: Caller, ref: int, index: int = INDEX_MAX, wait_ms: int = FOR_EVER_MS) -> None:
    caller.say(m.QUERY, ref, "digest", {"index": index, "wait_ms": wait_ms})


def test_entries_and_time_do_not_touch_who_waits_for_a_later_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(door: Door) -> None:
        loop, server = asyncio.get_running_loop(), door.server
        waiting = server.wait_applied(INDEX_MAX, loop.time() + 3_600, is_anonymous=True)
        steps = Steps(waiting)
        task = loop.create_task(awaited(steps))
        alice = door.caller()
        session = await alice.open("alice")
        for seq in range(1, 21):
            assert (await alice.ask(m.REQUEST, session, seq, (BUY,)))[0] == m.REPLY
        real = loop.time
        monkeypatch.setattr(loop, "time", lambda: real() + 1.0)  # whatever looks again does now
        await alice.connection_round()
        assert steps.count == 1
        server.waits.reached(INDEX_MAX)
        assert await task is False  # it was only said
        assert steps.count == 2

    at_the_door(tmp_path, scene)


def test_an_entry_ends_the_waits_for_it_and_for_earlier_ones() -> None:
    async def scene() -> None:
        loop, waits = asyncio.get_running_loop(), EntryWaits()
        tasks = {
            name: loop.create_task(waits.until(index, loop.time() + 3_600, is_anonymous=False))
            for name, index in {"five": 5, "three": 3, "nine": 9, "three too": 3}.items()
        }
        await asyncio.sleep(0)
        ended: list[set[str]] = []
        for index in (2, 3, 8, 9):
            waits.reached(index)
            for _ in range(8):
                await asyncio.sleep(0)
            ended.append({name for name, task in tasks.items() if task.done()})
        assert ended == [set(), {"three", "three too"}, {"three", "three too", "five"}, set(tasks)]
        assert len(waits) == 0

    asyncio.run(scene())


def test_rafts_own_entries_are_waited_for_as_well(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        caller = door.caller()
        await caller.greet()
        index = door.replica.raft.applied_index + 1
        ask(caller, 7, index)
        assert await caller.hear() == []
        assert door.replica.raft.changes.add(Member(2, "host", 1, 2)) == index
        door.turns()
        (answer,) = await caller.hear()
        assert (answer[:2], answer[2]["index"]) == ((m.RESULT, 7), index)

    at_the_door(tmp_path, scene)


def test_a_wait_ends_with_its_time_and_leaves_nothing(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        caller = door.caller()
        await caller.greet()
        for ref, wait_ms in ((1, 0), (2, 1)):
            ask(caller, ref, wait_ms=wait_ms)
        ask(caller, 3)
        answers: list[tuple[Any, ...]] = []
        while len(answers) < 2:
            answers += await caller.hear()
        assert {answer[:3] for answer in answers} == {
            (m.FAILURE, 1, Reject.TOO_STALE),
            (m.FAILURE, 2, Reject.TOO_STALE),
        }
        assert len(door.server.waits) == 1
        caller.hang_up()
        await caller.connection_round()
        assert len(door.server.waits) == 0

    at_the_door(tmp_path, scene)


def test_waits_of_all_clients_together_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waits_module, "WAITS_MAX", 5)
    monkeypatch.setattr(waits_module, "ANONYMOUS_WAITS_MAX", 3)

    async def scene(door: Door) -> None:
        first, second, alice = door.caller(), door.caller(), door.caller()
        await first.greet()
        await second.greet()
        await alice.greet("alice")
        ask(first, 1)
        ask(first, 2)
        ask(second, 3)
        ask(second, 4)
        says = "3 queries without a login wait for an entry already; log in, or ask again later"
        assert await second.hear() == [(m.FAILURE, 4, Reject.OVERLOADED, says)]
        assert await first.hear() == []
        for ref in (5, 6, 7):
            ask(alice, ref)
        says = "5 queries wait for an entry already; ask again later"
        assert await alice.hear() == [(m.FAILURE, 7, Reject.OVERLOADED, says)]
        assert (await second.query("digest"))["digest"], "what need not wait is answered"
        first.hang_up()
        await first.connection_round()
        ask(second, 8)
        assert await second.hear() == [], "there is room again"

    at_the_door(tmp_path, scene)

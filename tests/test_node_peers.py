"""Whom a node asks how the others are, when, and what it believes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from raftbook import node_peers
from raftbook.errors import NoNodeReachable
from raftbook.node_peers import PeerWatch

MEMBERS = [
    {"node_id": node_id, "host": "10.0.0.1", "client_port": 7100 + node_id} for node_id in (1, 2, 3)
]


class Venue:
    """What the other nodes say.

    Attributes:
        said: the answer of each, by port; a missing one does not answer.
        asked: how often each was asked.
        open: ports to which a connection stands.
    """

    def __init__(self) -> None:
        self.said: dict[int, dict[str, Any]] = {}
        self.asked: dict[int, int] = {}
        self.open: set[int] = set()

    def client(self, addresses: list[tuple[str, int]], **settings: Any) -> Client:
        assert settings["follows_members"] is False, "a question to one node goes to that one"
        return Client(self, addresses[0][1])


class Client:
    def __init__(self, venue: Venue, port: int) -> None:
        self._venue, self._port = venue, port
        venue.open.add(port)

    async def status(self) -> dict[str, Any]:
        self._venue.asked[self._port] = self._venue.asked.get(self._port, 0) + 1
        if self._port not in self._venue.said:
            raise NoNodeReachable("nobody")
        return self._venue.said[self._port]

    async def close(self, *, forget_session: bool) -> None:
        self._venue.open.discard(self._port)


def _watched(
    monkeypatch: pytest.MonkeyPatch,
    scene: Callable[[PeerWatch, Venue, list[dict[str, Any]]], Awaitable[None]],
) -> None:
    async def play() -> None:
        venue, members = Venue(), list(MEMBERS)
        monkeypatch.setattr(node_peers, "AsyncClient", venue.client)
        monkeypatch.setattr(node_peers, "ASK_EVERY_S", 0.001)
        watch = PeerWatch(1, lambda: members, cluster_id="c", commit_index=lambda: 20)
        await scene(watch, venue, members)
        watch.close()
        await _until(lambda: not venue.open)

    asyncio.run(play())


async def _until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not is_so():
            await asyncio.sleep(0.001)


def _says(index: int, cluster_id: str = "c") -> dict[str, Any]:
    return {"cluster_id": cluster_id, "applied_index": index}


def test_the_others_are_asked_and_how_far_they_are_behind_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scene(watch: PeerWatch, venue: Venue, members: list[dict[str, Any]]) -> None:
        venue.said = {7102: _says(17), 7103: _says(25)}
        said = await watch.look_now()
        assert {node_id: status["lag"] for node_id, status in said.items()} == {2: 3, 3: 0}
        assert 7101 not in venue.asked

    _watched(monkeypatch, scene)


def test_nobody_is_asked_before_somebody_looks_or_long_after(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(node_peers, "IDLE_S", 0.05)

    async def scene(watch: PeerWatch, venue: Venue, members: list[dict[str, Any]]) -> None:
        await asyncio.sleep(0)
        assert venue.asked == {}
        await watch.look_now()
        await _until(lambda: not venue.open)  # nobody looked for a while
        asked = dict(venue.asked)
        assert asked[7102] > 1
        await watch.look_now()
        assert venue.asked[7102] > asked[7102]

    _watched(monkeypatch, scene)


def test_what_was_said_long_ago_or_by_strangers_is_not_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scene(watch: PeerWatch, venue: Venue, members: list[dict[str, Any]]) -> None:
        venue.said = {7102: _says(17), 7103: _says(17, cluster_id="another")}
        assert set(await watch.look_now()) == {2}
        venue.said = {}
        monkeypatch.setattr(node_peers, "FRESH_S", 0.0)
        assert watch.look() == {}

    _watched(monkeypatch, scene)


def test_members_that_come_are_asked_and_those_that_go_are_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scene(watch: PeerWatch, venue: Venue, members: list[dict[str, Any]]) -> None:
        await watch.look_now()
        members[2] = {"node_id": 4, "host": "10.0.0.4", "client_port": 7104}
        await _until(lambda: venue.open == {7102, 7104})

    _watched(monkeypatch, scene)

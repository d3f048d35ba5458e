"""Connections follow the members: newcomers are dialled, the removed are told, strangers wait."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from raftbook.config import load_config, parse_config, render_config
from raftbook.errors import ConfigError, NoNodeReachable, NotAccepted
from raftbook.node_join import answer_joiner, join
from raftbook.replica import links as links_module
from raftbook.replica.links import LinkSettings, PeerLinks
from raftbook.replica.membership import Member, configured, founded
from raftbook.wire.join_session import JoinAnswer
from raftbook.wire.peer_session import NONCE_BYTES, PeerCard

HOST = "127.0.0.1"
SECRET = b"the secret of the cluster"
SETTINGS = LinkSettings(5.0, 0.01, 0.05, 1 << 20, 1 << 22)


class Node:
    """The links of one node, and what it was told."""

    def __init__(self, node_id: int) -> None:
        with socket.create_server((HOST, 0)) as probe:
            self.port = probe.getsockname()[1]
        self.node_id = node_id
        self.connected: set[int] = set()
        self.heard: list[tuple[int, int]] = []
        self.removed = asyncio.Event()
        self.joiners: list[int] = []
        self.links = PeerLinks(
            PeerCard("c", "00", node_id, f"{node_id:032x}", host=HOST, port=self.port),
            SECRET,
            {},
            SETTINGS,
            nonce=lambda: os.urandom(NONCE_BYTES),
            on_message=lambda peer_id, message: self.heard.append((peer_id, message["term"])),
            on_connected=lambda peer_id, *_: self.connected.add(peer_id),
            on_disconnected=self.connected.discard,
            on_removed=self.removed.set,
            on_join=self._on_join,
        )

    def _on_join(self, node_id: int) -> JoinAnswer:
        self.joiners.append(node_id)
        return JoinAnswer("not here", "")

    async def start(self) -> None:
        await self.links.start(HOST, self.port)

    def know(self, *others: Node, retired: tuple[int, ...] = ()) -> None:
        """These are the members now."""
        addresses = {other.node_id: (HOST, other.port) for other in others}
        self.links.update(addresses, retired)

    def say(self, peer_id: int, term: int) -> None:
        self.links.send(peer_id, [{"type": "timeout_now", "term": term}])


def with_nodes(count: int, scene: Callable[..., Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        nodes = [Node(number) for number in range(1, count + 1)]
        for node in nodes:
            await node.start()
        try:
            await asyncio.wait_for(scene(*nodes), 20)
        finally:
            for node in nodes:
                node.know()
            await asyncio.sleep(0.1)  # asyncio 3.11 leaks what it accepts while a server closes
            for node in nodes:
                await node.links.close()

    asyncio.run(run())


async def eventually(happened: Callable[[], object]) -> None:
    for _ in range(1_000):
        if happened():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not happen")


def test_a_new_member_is_dialled_and_what_was_sent_to_one_that_leaves_arrives() -> None:
    async def scene(one: Node, two: Node) -> None:
        one.know(two)
        two.know(one)
        await eventually(lambda: one.connected == {2} and two.connected == {1})
        one.say(2, term=7)
        one.know(retired=(2,))
        assert one.connected == set()
        await eventually(lambda: two.heard == [(1, 7)])

    with_nodes(2, scene)


def test_an_address_that_cannot_even_be_looked_up_is_tried_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A label of a name has at most 63 characters; Python says so by a UnicodeError."""

    async def scene(one: Node) -> None:
        one.links.update({2: ("x" * 64 + ".example", 1)}, ())
        await eventually(lambda: "node 2 at x" in caplog.text)
        assert not one.links._dialers[2].done()

    with_nodes(1, scene)


def test_a_removed_node_is_told_so_whenever_it_dials() -> None:
    async def scene(one: Node, two: Node) -> None:
        one.know(retired=(2,))
        two.know(one)
        await asyncio.wait_for(two.removed.wait(), 10)
        assert two.connected == one.connected == set()
        assert not one.removed.is_set()

    with_nodes(2, scene)


def test_a_node_that_was_away_answers_a_member_that_it_does_not_know() -> None:
    async def scene(one: Node, two: Node) -> None:
        one.know(two)  # two has never heard of one
        await eventually(lambda: one.connected == {2} and two.connected == {1})
        one.say(2, term=3)
        two.say(1, term=4)
        await eventually(lambda: (one.heard, two.heard) == ([(2, 4)], [(1, 3)]))
        # It becomes a member without losing its connections.
        two.know(one)
        assert two.connected == {1}

    with_nodes(2, scene)


def test_a_node_that_catches_up_keeps_the_peers_that_its_log_does_not_know_yet() -> None:
    """Its file names the members of today; its log begins with those of long ago."""

    async def scene(one: Node, two: Node) -> None:
        one.know(two)
        two.know(one)
        await eventually(lambda: one.connected == {2} and two.connected == {1})
        two.know()
        assert two.connected == {1}
        one.say(2, term=3)
        two.say(1, term=4)
        await eventually(lambda: (one.heard, two.heard) == ([(2, 4)], [(1, 3)]))
        # When it does not speak any more it is forgotten.
        await one.links.close()
        await eventually(lambda: two.connected == set())
        assert two.links._guests == {}

    with_nodes(2, scene)


def test_a_handshake_that_was_given_up_is_no_error_of_anybody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """1. The connection is made; 2. it is given up before it is known to stand; 3. it ends."""

    async def scene(one: Node) -> None:
        link = links_module._Outgoing(one.links, 2)
        link.drop()
        link.connection_lost(None)
        assert link.opened.done()
        del link
        gc.collect()
        await asyncio.sleep(0)

    with_nodes(1, scene)
    assert "never retrieved" not in caplog.text


def test_guests_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links_module, "GUESTS_MAX", 1)

    async def scene(one: Node, two: Node, three: Node) -> None:
        two.know(one)
        await eventually(lambda: two.connected == {1})
        three.know(one)
        await asyncio.sleep(0.2)
        assert three.connected == set()
        assert not three.removed.is_set()

    with_nodes(3, scene)


# -- joining --------------------------------------------------------------------------------------

CONFIG = parse_config(
    render_config() + "\n[timings]\nheartbeat_interval_ms = 50\n", Path("cluster.toml")
)
MEMBERS = founded(
    configured(Member(each.node_id, each.host, each.raft_port, each.client_port, each.http_port)
               for each in CONFIG.nodes),
    {1: "a", 2: "b", 3: "c"},
)  # fmt: skip


def test_who_is_no_member_is_told_what_to_do() -> None:
    assert "raftbook cluster add 4 HOST:PORT" in answer_joiner(CONFIG, MEMBERS, 4).refusal
    assert "never comes back" in answer_joiner(CONFIG, MEMBERS.without(2), 2).refusal


def test_the_configuration_comes_with_the_members_of_now_and_all_that_is_not_default() -> None:
    changed = MEMBERS.without(1).with_learner(Member(4, "host4", 7_004, 7_104, 8_004))
    answer = answer_joiner(CONFIG, changed, 4)
    config = parse_config(answer.config_text, Path("cluster.toml"))
    assert [node.node_id for node in config.nodes] == [2, 3, 4]
    assert config.node(4).host == "host4"
    assert config.timings == CONFIG.timings
    assert config.genesis_text() == CONFIG.genesis_text()
    assert config.accounts == CONFIG.accounts


@pytest.mark.parametrize("is_member", [True, False])
def test_a_new_machine_writes_what_it_is_told_and_nothing_when_it_is_refused(
    tmp_path: Path, is_member: bool
) -> None:
    secret_file, path = tmp_path / "cluster.secret", tmp_path / "cluster.toml"
    secret_file.write_bytes(SECRET)
    secret_file.chmod(0o600)
    changed = MEMBERS.with_learner(Member(4, "host4", 7_004, 7_104, 8_004))
    answer = answer_joiner(CONFIG, changed if is_member else MEMBERS, 4)

    async def scene(one: Node) -> None:
        one.links.on_join = lambda node_id: answer
        address = (HOST, one.port)
        if is_member:
            config = await asyncio.to_thread(join, path, 4, address, secret_file)
            assert config == load_config(path)
            assert config.secret_file == secret_file
            assert path.stat().st_mode & 0o777 == 0o600
            return
        with pytest.raises(NotAccepted, match="node 4 is no member yet"):
            await asyncio.to_thread(join, path, 4, address, secret_file)
        secret_file.write_bytes(b"another secret of 16")
        with pytest.raises(NoNodeReachable, match=r"same cluster\.secret"):
            await asyncio.to_thread(join, path, 4, address, secret_file)
        secret_file.unlink()
        with pytest.raises(ConfigError, match=r"cluster\.secret cannot be read"):
            await asyncio.to_thread(join, path, 4, address, secret_file)
        assert not path.exists()

    with_nodes(1, scene)

"""Strangers at both ports: garbage, giants, halves and slow ones trouble nobody else."""

import asyncio
import contextlib
import random
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from raftbook.core import commands as c
from raftbook.core.types import Reject, Side
from raftbook.wire import client_messages as m
from raftbook.wire.framing import frame
from raftbook.wire.packing import pack, unpack
from raftbook.wire.peer_session import MAGIC, VERSION
from tests.e2e.cluster import PATIENCE_S, Cluster, Trouble, running_cluster, until
from tests.e2e.load import SYMBOL, Load, check_journal, check_records, check_repeats
from tests.e2e.ports import HOST

BUY = c.new_order(SYMBOL, Side.BUY, 1, 100)
FUZZ_FRAMES = 10_000


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Nodes that wait for a greeting a second at most."""
    folder = tmp_path_factory.mktemp("impatient")
    with running_cluster(folder, timings={"handshake_timeout_ms": 1_000}) as cluster:
        yield cluster


@pytest.fixture
def bystander(impatient: Cluster) -> Iterator[Cluster]:
    """A client that was there before trades on afterwards, on its old connection."""
    with impatient.wire(1) as wire:
        session = wire.greet("bob", "bystander")
        highest = wire.ask(m.OPEN, 3, "bystander")[2][1]
        assert wire.ask(m.REQUEST, session, highest + 1, (BUY,))[0] == m.REPLY
        yield impatient
        assert wire.ask(m.REQUEST, session, highest + 2, (BUY,))[0] == m.REPLY
        for node_id in impatient.ids:
            assert impatient.is_running(node_id)
            assert impatient.query(node_id, "status")["fenced"] is None
        impatient.settle()


GARBAGE = {
    "text": b"GET / HTTP/1.1\r\nHost: here\r\n\r\n",
    "nothing": frame(b""),
    "oversized": b"\x7f\xff\xff\xff" + b"x" * 1_000,
    "just too large": (4 * 1024 * 1024 + 1).to_bytes(4, "big"),
    "all ones": b"\xff" * 64,
    "zeros": b"\0" * 64,
    "no value": frame(b"\xc1" * 50),
    "map": frame(pack({"type": "append"})),
    "deep": frame(b"\x91" * 5_000),
    "extension": frame(b"\xd6\xff\0\0\0\1"),
    "pickle": frame(b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x07builtins."),
}


def _connect(cluster: Cluster, kind: str, node_id: int = 1) -> socket.socket:
    port = getattr(cluster.address(node_id), kind)
    return socket.create_connection((HOST, port), timeout=PATIENCE_S)


def _read_to_the_end(stranger: socket.socket) -> bytes:
    """Everything until the node closes; a reset is a close as well."""
    told = b""
    with contextlib.suppress(ConnectionError):
        while piece := stranger.recv(1 << 16):
            told += piece
    return told


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_at_the_client_port_is_answered_and_ends(bystander: Cluster, name: str) -> None:
    with _connect(bystander, "client_port") as stranger:
        stranger.sendall(GARBAGE[name])
        told = _read_to_the_end(stranger)
    message = unpack(told[4:])
    assert message[:3] == (m.FAILURE, 0, Reject.MALFORMED)
    assert 0 < len(message[3]) < 300


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_at_the_peer_port_is_not_even_answered(bystander: Cluster, name: str) -> None:
    with _connect(bystander, "raft_port") as stranger:
        stranger.sendall(GARBAGE[name])
        assert _read_to_the_end(stranger) == b""


@pytest.mark.parametrize("kind", ["client_port", "raft_port"])
@pytest.mark.parametrize("said", [b"", b"\0", b"\0\0\0\x20", b"\0\0\0\x20half"])
def test_a_silent_stranger_and_one_that_stops_halfway_are_sent_away(
    bystander: Cluster, kind: str, said: bytes
) -> None:
    with _connect(bystander, kind) as stranger:
        stranger.sendall(said)
        told = _read_to_the_end(stranger)
    if kind == "raft_port":
        assert told == b""
    else:
        assert unpack(told[4:]) == (m.FAILURE, 0, Reject.OVERLOADED, "silent for too long")


@pytest.mark.parametrize("kind", ["client_port", "raft_port"])
def test_one_byte_at_a_time_does_not_buy_more_time(bystander: Cluster, kind: str) -> None:
    with _connect(bystander, kind) as stranger:
        deadline = time.monotonic() + PATIENCE_S
        stranger.sendall(b"\0\0\x0f\xff")
        with contextlib.suppress(ConnectionError):
            while time.monotonic() < deadline:
                stranger.sendall(b"x")
                stranger.settimeout(0.05)
                with contextlib.suppress(TimeoutError):
                    if not stranger.recv(1 << 16):
                        break
            else:
                pytest.fail("it is still listened to")


def test_many_strangers_at_the_peer_port_do_not_keep_the_peers_apart(bystander: Cluster) -> None:
    with contextlib.ExitStack() as strangers:
        for _ in range(200):
            strangers.enter_context(_connect(bystander, "raft_port"))
        with bystander.wire(2) as wire:
            session = wire.greet("alice", "among-strangers")
            highest = wire.ask(m.OPEN, 3, "among-strangers")[2][1]
            assert wire.ask(m.REQUEST, session, highest + 1, (BUY,))[0] == m.REPLY


def test_a_stranger_learns_nothing_at_the_peer_port_but_a_nonce(bystander: Cluster) -> None:
    seen = []
    for _ in range(2):
        with _connect(bystander, "raft_port") as stranger:
            stranger.sendall(frame(pack((MAGIC, VERSION, b"n" * 32))))
            challenge = stranger.recv(1 << 16)
            (nonce,) = unpack(challenge[4:])
            seen.append(nonce)
            card = pack(("test-1", "0" * 32, 2, 1, "f" * 32, "127.0.0.1", 7_002))
            stranger.sendall(frame(pack((b"p" * 32, card))))
            assert _read_to_the_end(stranger) == b""
    assert len(set(seen)) == 2
    assert {len(nonce) for nonce in seen} == {32}
    assert "does not prove the cluster secret" in bystander.log(1)


def test_the_largest_frame_is_taken_and_the_request_in_it_refused(bystander: Cluster) -> None:
    with bystander.wire(3) as wire:
        session = wire.greet("alice", "large")
        long_id = c.new_order(SYMBOL, Side.BUY, 1, 1, client_order_id="x" * 3_000_000)
        refused = wire.ask(m.REQUEST, session, 10**6, (long_id,))
        assert refused[:4] == (m.REFUSED, session, 10**6, Reject.MALFORMED)
        assert len(refused[4]) < 300
        many = (c.new_order(SYMBOL, Side.BUY, 1, 1, client_order_id="x" * 64),) * 4_000
        refused = wire.ask(m.REQUEST, session, 10**6, many)
        assert refused[3] == Reject.MALFORMED
        assert "bytes; at most 262144" in refused[4]
        assert wire.ask(m.PING, 1) == (m.PONG, 1)


def test_a_session_of_another_connection_is_nobodys(bystander: Cluster) -> None:
    with bystander.wire(1) as wire, bystander.wire(2) as thief:
        session = wire.greet("alice", "mine")
        thief.greet("demo", "thief")
        refused = thief.ask(m.REQUEST, session, 1, (BUY,))
        assert refused[:4] == (m.REFUSED, session, 1, Reject.MALFORMED)
        assert refused[4] == f"session {session} is not open on this connection"


def test_a_closed_session_is_unknown_to_the_book_itself(bystander: Cluster) -> None:
    with bystander.wire(1) as wire:
        session = wire.greet("alice", "to-close")
        assert wire.ask(m.REQUEST, session, 10**6, (c.close_session(),))[0] == m.REPLY
        reply = wire.ask(m.REQUEST, session, 10**6 + 1, (BUY, c.cancel_order(order_id=1)))
        assert [event[:3] for event in reply[7]] == [
            (8, 0, Reject.UNKNOWN_SESSION),
            (9, 0, Reject.UNKNOWN_SESSION),
        ]


# -- fuzz -----------------------------------------------------------------------------------------


def _any_value(rng: random.Random, depth: int = 0) -> Any:
    sort = rng.randrange(11 if depth < 3 else 9)
    if sort < 3:
        return rng.choice((0, 1, -1, 2, 7, 2**31, 2**62, 2**63 - 1, 2**64 - 1, -(2**63)))
    if sort == 3:
        return rng.choice((None, True, False, 0.5, float("nan"), float("inf"), -0.0))
    if sort < 6:
        return rng.choice(("", "alice", "demo", SYMBOL, "book", "feed", "\u2603", "x" * 200, "\0"))
    if sort < 9:
        return rng.randbytes(rng.randrange(40))
    if sort == 9:
        return tuple(_any_value(rng, depth + 1) for _ in range(rng.randrange(5)))
    return {rng.choice(("symbol", "limit", "at_least", 1)): _any_value(rng, depth + 1)}


def _any_frame(rng: random.Random, session: int) -> bytes:
    sort = rng.randrange(10)
    if sort == 0:
        return rng.randbytes(rng.randrange(1, 80))  # not even a frame
    if sort == 1:
        return frame(rng.randbytes(rng.randrange(1, 200)))
    if sort < 5:
        fields = [_any_value(rng) for _ in range(rng.randrange(6))]
        return frame(pack((rng.randrange(17), *fields)))
    if sort < 7:
        names = ("status", "book", "trades", "orders", "order", "digest", "events", "feed", "x")
        keys = ("symbol", "depth", "limit", "index", "order_id", "from_seq", "from_index", "orders")
        arguments = {rng.choice(keys): _any_value(rng) for _ in range(rng.randrange(4))}
        return frame(pack((rng.choice((m.QUERY, m.SUBSCRIBE)), 1, rng.choice(names), arguments)))
    command = [*rng.choice((BUY, c.cancel_order(order_id=3), c.amend_order(order_id=2, price=9)))]
    for _ in range(rng.randrange(3)):
        command[rng.randrange(len(command))] = _any_value(rng)
    payload = bytearray(pack((m.REQUEST, session, rng.randrange(1, 500), (tuple(command),))))
    if sort == 9:
        payload[rng.randrange(len(payload))] = rng.randrange(256)
    return frame(bytes(payload))


def _fuzz(cluster: Cluster, node_id: int, frames: int, seed: int) -> int:
    """Send that many frames, on as many connections as it takes; how many that was."""
    rng = random.Random(seed)
    connections = 0
    sent = 0
    while sent < frames:
        connections += 1
        with cluster.wire(node_id) as wire, contextlib.suppress(Trouble, ConnectionError):
            session = wire.greet("alice", f"fuzz-{seed}")
            while sent < frames:
                batch = [_any_frame(rng, session) for _ in range(rng.choice((1, 1, 5, 20)))]
                sent += len(batch)
                wire.socket.sendall(b"".join(batch) + frame(pack((m.PING, 10**9))))
                while wire.receive() != (m.PONG, 10**9):
                    pass
    return connections


def test_ten_thousand_random_frames_trouble_nobody(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with running_cluster(tmp_path_factory.mktemp("fuzz")) as cluster:
        load = Load(cluster, clients=3, seed=9)

        async def scene() -> None:
            trading = asyncio.create_task(load.run())
            await load.acknowledged(20)
            connections = await asyncio.gather(
                *(
                    asyncio.to_thread(_fuzz, cluster, node_id, FUZZ_FRAMES // 3 + 1, node_id)
                    for node_id in cluster.ids
                )
            )
            assert min(connections) > 50
            load.finish()
            await trading
            assert load.troubles == 0, "another client was disturbed"

        asyncio.run(scene())
        for node_id in cluster.ids:
            assert cluster.is_running(node_id)
            status = cluster.query(node_id, "status")
            assert status["fenced"] is None
            assert "Traceback" not in cluster.log(node_id), cluster.log(node_id)[-3_000:]
            assert "exception" not in cluster.log(node_id).lower()
        check_records(load.records)
        index, digest = cluster.settle()
        asyncio.run(check_repeats(cluster, load.records, via=2))
        until("all is quiet", cluster.settle)
        for node_id in cluster.ids:
            assert cluster.stop(node_id) == 0
        for node_id in cluster.ids:
            assert check_journal(cluster, node_id, load.records, index) == digest

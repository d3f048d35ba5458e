"""Defects of the peer port: who may speak, and how much of it is held (S1–S6 S18 S19).

Ours is tested over real sockets on the loopback, with the clock of the machine.
"""

from __future__ import annotations

import asyncio
import errno
import importlib
import os
import pickle
import socket
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from raftbook.replica.links import STRANGERS_MAX, LinkSettings, PeerLinks
from raftbook.wire.framing import FrameReader, frame
from raftbook.wire.join_session import JoinAnswer
from raftbook.wire.packing import pack, unpack
from raftbook.wire.peer_session import (
    HANDSHAKE_FRAME_BYTES_MAX,
    MAGIC,
    NONCE_BYTES,
    VERSION,
    Dialer,
    PeerCard,
)
from tests.replica.zoo import stock
from tests.replica.zoo.stock import StockCluster

pytestmark = pytest.mark.filterwarnings("ignore")

ROOT = Path(__file__).resolve().parents[3]
SECRET = b"the secret of the cluster"
SETTINGS = LinkSettings(
    handshake_timeout_s=0.3,
    reconnect_min_s=0.02,
    reconnect_max_s=0.1,
    frame_bytes_max=1 << 20,
    buffer_bytes_max=1 << 20,
)


class NoPoller:
    """Takes subscriptions and lets nothing happen."""

    def subscribe(self, descriptor: int, callback: object, event: int) -> None:
        self.callback = callback

    def unsubscribe(self, descriptor: int) -> None:
        pass


class Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.path),))


def stock_connection(**options: Any) -> tuple[Any, socket.socket, NoPoller]:
    """A connection somebody opened to a stock node, and that somebody's end of it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    theirs.setblocking(False)
    ours.setblocking(True)
    poller = NoPoller()
    stock.tcp_connection.pickle = importlib.import_module("pysyncobj.pickle")
    return stock.tcp_connection.TcpConnection(poller, socket=theirs, **options), ours, poller


def read(connection: Any, poller: NoPoller) -> None:
    read_event = importlib.import_module("pysyncobj.poller").POLL_EVENT_TYPE.READ
    connection._TcpConnection__processConnection(connection.fileno(), read_event)


def stock_frame(message: object) -> bytes:
    packed = zlib.compress(pickle.dumps(message))
    return struct.pack("i", len(packed)) + packed


class Port:
    """The peer port of node 1 of two, with what it was told."""

    def __init__(self, settings: LinkSettings = SETTINGS, *, peer_port: int = 1) -> None:
        self.messages: list[tuple[int, dict[str, Any]]] = []
        self.connected: list[int] = []
        self.disconnected: list[int] = []
        self.removed = asyncio.Event()
        self.links = PeerLinks(
            card(1),
            SECRET,
            {2: ("127.0.0.1", peer_port)},
            settings,
            nonce=lambda: os.urandom(NONCE_BYTES),
            on_message=lambda peer_id, message: self.messages.append((peer_id, message)),
            on_connected=self.connected.append,
            on_disconnected=self.disconnected.append,
            on_removed=self.removed.set,
            on_join=lambda node_id: JoinAnswer(f"no node {node_id}", ""),
        )

    async def start(self) -> int:
        await self.links.start("127.0.0.1", 0)
        assert self.links._server is not None
        return int(self.links._server.sockets[0].getsockname()[1])


def card(node_id: int) -> PeerCard:
    return PeerCard("test", "00", node_id, "ff")


def against(
    talk: Callable[[Port, int], Coroutine[Any, Any, None]], settings: LinkSettings = SETTINGS
) -> Port:
    """Run `talk(port, number)` against a peer port."""

    async def run() -> Port:
        port = Port(settings)
        number = await port.start()
        try:
            await asyncio.wait_for(talk(port, number), 10)
        finally:
            await port.links.close()
        return port

    return asyncio.run(run())


async def eventually(happened: Callable[[], object]) -> None:
    for _ in range(400):
        if happened():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not happen")


async def hello_and_answer(number: int) -> Any:
    reader, writer = await asyncio.open_connection("127.0.0.1", number)
    writer.write(frame(pack((MAGIC, VERSION, bytes(NONCE_BYTES)))))
    (answer,) = FrameReader(100).feed(await reader.read(1_000))
    writer.close()
    return unpack(answer)


# -- S1: code of a stranger -----------------------------------------------------------------------


def test_s1_stock_runs_code_of_anybody_who_connects(tmp_path: Path) -> None:
    connection, attacker, poller = stock_connection()
    attacker.sendall(stock_frame(Evil(tmp_path / "owned")))
    read(connection, poller)
    assert (tmp_path / "owned").is_dir()
    attacker.close()


def test_s1_ours_has_no_pickle_on_any_path() -> None:
    """Whatever PySyncObj still imports, its pickle is refused to the one module that is used, and
    none of its transports, journals or serializers is ever made."""
    import pysyncobj.syncobj as opened

    import raftbook.replica.seams  # noqa: F401

    for function in (opened.pickle.loads, opened.pickle.dumps):
        with pytest.raises(AssertionError, match="pickle was reached"):
            function(b"")
    assert not hasattr(opened.pickle, "load")
    script = (
        "import pickle, _pickle, marshal, sys\n"
        "import pysyncobj.pickle as theirs\n"
        "def refuse(*_, **__): raise SystemExit('pickle was reached')\n"
        "for name in ('load', 'loads', 'dump', 'dumps'):\n"
        "    setattr(theirs, name, refuse); setattr(pickle, name, refuse)\n"
        "import raftbook.node\n"
        "import tempfile; from pathlib import Path\n"
        "from tests.replica.harness import Cluster\n"
        "cluster = Cluster(Path(tempfile.mkdtemp()))\n"
        "cluster.elect(1); session = cluster.open_session(2)\n"
        "waiters = [cluster.order(2, session, seq) for seq in range(1, 9)]\n"
        "cluster[1].start_snapshot(); cluster.run(1); cluster.crash(1); cluster.run(3)\n"
        "cluster.start(1); cluster.run(1)\n"
        "assert all(waiter.acknowledged for waiter in waiters)\n"
        "print('served')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "served\n", done.stderr


def test_s1_ours_looks_at_no_frame_of_a_stranger() -> None:
    async def talk(port: Port, number: int) -> None:
        for payload in (
            pickle.dumps({"type": "forward"}),
            pack({"type": "timeout_now", "term": 9}),
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", number)
            writer.write(frame(payload))
            assert await reader.read(1_000) == b""
            writer.close()

    assert against(talk).messages == []


def test_a_stranger_is_named_by_its_address(caplog: pytest.LogCaptureFixture) -> None:
    places: list[str] = []

    async def talk(port: Port, number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", number)
        host, own_port = writer.get_extra_info("sockname")
        places.append(f"{host}:{own_port}")
        writer.write(frame(pack("GET / HTTP/1.1")))
        assert await reader.read(1_000) == b""
        writer.close()

    against(talk)
    assert f"peer port: {places[0]}: a handshake frame of a wrong form" in caplog.text


# -- S2: the state, read by a stranger ------------------------------------------------------------


class FakeConnection:
    """What the stock transport needs of a connection."""

    sendRandKey = None  # noqa: N815

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.callback: Any = None
        self.state = stock.tcp_connection.CONNECTION_STATE.CONNECTED

    def send(self, message: Any) -> None:
        self.sent.append(message)

    def setOnMessageReceivedCallback(self, callback: Any) -> None:  # noqa: N802
        self.callback = callback


def stock_port(book: Any) -> Any:
    """The stock transport of a node, without its sockets."""
    port = stock.transport.TCPTransport.__new__(stock.transport.TCPTransport)
    stock.transport.Transport.__init__(port, None, None, [])
    port._syncObj, port._connections, port._unknownConnections = book, {}, set()
    port._readonlyNodes, port._readonlyNodesCounter = set(), 0
    port._nodeAddrToNode = {peer.id: peer for peer in book.otherNodes}
    port.setOnMessageReceivedCallback(book.private("onMessageReceived"))
    port.setOnNodeConnectedCallback(lambda peer: None)
    port.setOnReadonlyNodeConnectedCallback(book.private("onReadonlyNodeConnected"))
    for name in ("status", "transfer"):
        method = {"status": book._getStatus, "transfer": book._transferLeadership}[name]
        port.setOnUtilityMessageCallback(name, method)
    return port


def test_s2_stock_tells_its_status_and_streams_its_log_to_anybody() -> None:
    cluster = StockCluster(3)
    leader = cluster.elect("a")
    port, connection = stock_port(leader), FakeConnection()
    port._onIncomingMessageReceived(connection, ["status"])
    assert connection.sent[0]["raft_term"] == leader.raftCurrentTerm
    stranger = FakeConnection()
    port._onIncomingMessageReceived(stranger, "readonly")
    assert len(leader.readonlyNodes) == 1  # it now gets every entry


def test_s2_ours_gives_a_stranger_the_challenge_and_nothing_else() -> None:
    async def talk(port: Port, number: int) -> None:
        assert [type(field) for field in await hello_and_answer(number)] == [bytes]
        reader, writer = await asyncio.open_connection("127.0.0.1", number)
        assert await reader.read(1_000) == b""  # silence is answered by silence, then the end
        writer.close()

    against(talk)


def test_s2_ours_gives_nothing_for_a_wrong_proof() -> None:
    async def talk(port: Port, number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", number)
        dialer = Dialer(b"another secret", card(2), 1, os.urandom(NONCE_BYTES))
        writer.write(frame(dialer.hello()))
        (challenge,) = FrameReader(100).feed(await reader.read(1_000))
        step = dialer.receive(challenge)
        assert step.send is not None
        writer.write(frame(step.send))
        assert await reader.read(1_000) == b""
        writer.close()

    assert against(talk).messages == []


# -- S3: orders and administration by a stranger --------------------------------------------------


def test_s3_stock_enters_the_orders_of_anybody_who_names_a_node() -> None:
    cluster = StockCluster(3)
    leader = cluster.elect("a")
    port, stranger = stock_port(leader), FakeConnection()
    port._onIncomingMessageReceived(stranger, "b")  # "I am b"
    order = pickle.dumps((leader._methodToID["enter_v0"], ("injected",)))
    stranger.callback({"type": "apply_command", "command": b"\x00" + order})
    cluster.tick(20)
    assert [book.orders for book in cluster.books.values()] == [["injected"]] * 3


def test_s3_ours_takes_messages_of_a_proven_peer_only() -> None:
    message = {"type": "forward", "requests": (b"order",)}

    async def talk(port: Port, number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", number)
        dialer = Dialer(SECRET, card(2), 1, os.urandom(NONCE_BYTES))
        writer.write(frame(dialer.hello()))
        (challenge,) = FrameReader(100).feed(await reader.read(1_000))
        step = dialer.receive(challenge)
        assert step.send is not None
        writer.write(frame(step.send) + frame(pack(message)))
        await eventually(lambda: port.messages)
        writer.close()

        async def replayed() -> bytes:
            """The same bytes on a second connection: the nonce of the acceptor is another."""
            reader, writer = await asyncio.open_connection("127.0.0.1", number)
            writer.write(frame(dialer.hello()))
            await reader.read(1_000)
            assert step.send is not None
            writer.write(frame(step.send) + frame(pack(message)))
            rest = await reader.read(1_000)
            writer.close()
            return rest

        assert await replayed() == b""

    assert against(talk).messages == [(2, message)]


# -- S4: no descriptors left ----------------------------------------------------------------------


def test_s4_stock_closes_its_listener_for_ever() -> None:
    class Full:
        def accept(self) -> None:
            raise OSError(errno.EMFILE, "too many open files")

        def close(self) -> None:
            pass

    server = stock.tcp_server.TcpServer(NoPoller(), "127.0.0.1", 0, onNewConnection=None)
    server._TcpServer__socket, server._TcpServer__fileno = Full(), 0
    read_event = importlib.import_module("pysyncobj.poller").POLL_EVENT_TYPE.READ
    server._TcpServer__onNewConnection(0, read_event)
    assert server._TcpServer__state == stock.tcp_server.SERVER_STATE.UNBINDED


S4_SCRIPT = """
import asyncio, os, resource, socket
from tests.replica.zoo.test_port import Port, hello_and_answer

async def main():
    port = Port()
    number = await port.start()
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    early = socket.create_connection(("127.0.0.1", number))
    await asyncio.sleep(0.05)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    waiting = socket.socket()
    waiting.setblocking(False)
    taken = []
    try:
        while True:
            taken.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        pass
    try:
        waiting.connect(("127.0.0.1", number))
    except BlockingIOError:
        pass
    await asyncio.sleep(0.3)
    for descriptor in taken:
        os.close(descriptor)
    await asyncio.sleep(1.2)
    print(len((await hello_and_answer(number))[0]))
    await port.links.close()

asyncio.run(main())
"""


def test_s4_ours_listens_on_when_descriptors_are_free_again() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", S4_SCRIPT],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.stdout == f"{NONCE_BYTES}\n", done.stderr


# -- S5: idle sockets -----------------------------------------------------------------------------


def test_s5_stock_keeps_a_silent_connection_for_ever() -> None:
    connection, attacker, _ = stock_connection(timeout=10.0)
    stock.clock.now += 3_600
    assert connection.state == stock.tcp_connection.CONNECTION_STATE.CONNECTED
    attacker.close()


def test_s5_ours_drops_strangers_that_prove_nothing_in_time() -> None:
    async def talk(port: Port, number: int) -> None:
        streams = [
            await asyncio.open_connection("127.0.0.1", number) for _ in range(STRANGERS_MAX + 5)
        ]
        await asyncio.sleep(0.05)
        assert len(port.links._strangers) == STRANGERS_MAX  # the eldest had to go at once
        for reader, writer in streams:
            assert await reader.read(1_000) == b""
            writer.close()
        assert port.links._strangers == []

    against(talk)


# -- S6: frames without a limit -------------------------------------------------------------------


def test_s6_stock_collects_a_frame_of_2_gib() -> None:
    connection, attacker, poller = stock_connection()
    attacker.sendall(struct.pack("i", 2**31 - 1))
    for _ in range(64):
        attacker.sendall(bytes(1 << 14))
        read(connection, poller)
    assert len(connection._TcpConnection__readBuffer) == 4 + (64 << 14)
    attacker.close()


def test_s6_stock_unpacks_a_bomb() -> None:
    received: list[bytes] = []
    connection, attacker, poller = stock_connection(onMessageReceived=received.append)
    bomb = stock_frame(bytes(100 << 20))
    assert len(bomb) < 1 << 18
    for start in range(0, len(bomb), 1 << 14):
        attacker.sendall(bomb[start : start + (1 << 14)])
        read(connection, poller)
    assert len(received[0]) == 100 << 20
    attacker.close()


@pytest.mark.parametrize("length", [HANDSHAKE_FRAME_BYTES_MAX + 1, 2**31 - 1, 2**32 - 1, 0])
def test_s6_ours_drops_a_stranger_at_the_length_of_its_frame(length: int) -> None:
    async def talk(port: Port, number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", number)
        writer.write(length.to_bytes(4, "big"))
        assert await reader.read(1_000) == b""
        writer.close()

    against(talk)


# -- S18: who connects again, and when ------------------------------------------------------------


def test_s18_stock_lets_only_the_larger_address_connect() -> None:
    def should_connect(own: str, other: str) -> bool:
        port = stock.transport.TCPTransport.__new__(stock.transport.TCPTransport)
        port._selfNode, port._preventConnectNodes = stock.node.TCPNode(own), set()
        port._selfIsReadonlyNode = False
        return bool(port._shouldConnect(stock.node.TCPNode(other)))

    assert should_connect("10.0.0.2:1", "10.0.0.1:1")
    assert not should_connect("10.0.0.1:1", "10.0.0.2:1")
    assert stock.config.SyncObjConf().connectionRetryTime == 5.0


def test_s18_ours_connects_both_ways_soon_after_the_peer_is_back() -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        with socket.create_server(("127.0.0.1", 0)) as probe:
            free_port = probe.getsockname()[1]
        port = Port(peer_port=free_port)
        number = await port.start()
        await asyncio.sleep(0.5)
        peer = PeerLinks(
            card(2),
            SECRET,
            {1: ("127.0.0.1", number)},
            SETTINGS,
            nonce=lambda: os.urandom(NONCE_BYTES),
            on_message=lambda *_: None,
            on_connected=lambda _: None,
            on_disconnected=lambda _: None,
            on_removed=lambda: None,
            on_join=lambda _: JoinAnswer("no", ""),
        )
        started = loop.time()
        await peer.start("127.0.0.1", free_port)
        await eventually(lambda: port.links.is_connected(2) and peer.is_connected(1))
        assert loop.time() - started < 1.0
        await peer.close()
        await eventually(lambda: port.disconnected == [2])
        await port.links.close()

    asyncio.run(run())


# -- S19: what waits to be written ----------------------------------------------------------------


def test_s19_stock_buffers_without_a_limit() -> None:
    connection, attacker, _ = stock_connection(timeout=1e9)
    for _ in range(100):
        connection.send(os.urandom(1 << 16))
    assert connection.getSendBufferSize() > 6 << 20
    assert connection.state == stock.tcp_connection.CONNECTION_STATE.CONNECTED
    attacker.close()


def test_s19_ours_drops_the_connection_of_a_peer_that_does_not_read() -> None:
    async def run() -> None:
        stuck = asyncio.Event()
        first_connection: list[asyncio.StreamWriter] = []

        async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            """Greets and then reads nothing."""
            from raftbook.wire.peer_session import Acceptor

            acceptor = Acceptor(SECRET, card(2), os.urandom(NONCE_BYTES))
            frames = FrameReader(HANDSHAKE_FRAME_BYTES_MAX)
            step = None
            while step is None or step.peer is None:
                for payload in frames.feed(await reader.read(1_000)):
                    step = acceptor.receive(payload)
                    assert step.send is not None
                    writer.write(frame(step.send))
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            first_connection.append(writer)
            await stuck.wait()
            writer.transport.abort()

        server = await asyncio.start_server(peer, "127.0.0.1", 0)
        port = Port(peer_port=server.sockets[0].getsockname()[1])
        await port.start()
        await eventually(lambda: port.connected)
        message = {"type": "forward", "requests": (bytes(100_000),)}
        largest = 0
        for _ in range(1_000):
            link = port.links._outgoing.get(2)
            if link is None or link._transport is None:
                break
            largest = max(largest, link._transport.get_write_buffer_size())
            port.links.send(2, [message])
            await asyncio.sleep(0)
        assert largest <= SETTINGS.buffer_bytes_max
        await eventually(lambda: port.disconnected)
        stuck.set()
        server.close()
        await port.links.close()

    asyncio.run(run())

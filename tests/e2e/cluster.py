"""Real nodes in processes of their own: started, killed, stopped, frozen, wiped, compared.

Owns the folder with the configuration, the processes and their logs. Every process is ended by its
id when the `with` block ends; what the nodes wrote is printed when it ends badly. Nothing sleeps
but the polling of a condition, and each has a deadline far above what it needs.
"""

import contextlib
import copy
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from raftbook.config import (
    AccountConfig,
    ClusterConfig,
    InstrumentConfig,
    NodeAddress,
    load_config,
    render_config,
)
from raftbook.config_template import FIRST_ACCOUNTS, FIRST_BALANCES, FIRST_INSTRUMENTS
from raftbook.core.commands import Entry
from raftbook.core.events import Reply
from raftbook.core.exchange import Exchange
from raftbook.genesis import genesis_of
from raftbook.storage.journal import read_journal
from raftbook.wire import client_messages as m
from raftbook.wire.entry import REGULAR, unpack_entry
from raftbook.wire.framing import FrameReader, frame
from raftbook.wire.packing import pack
from tests.e2e.ports import HOST, free_ports

PATCHED_NODE = Path(__file__).with_name("patched_node.py")
PATIENCE_S = 45.0
"""How long a test waits for what should take a second or two: two busy cores are slow."""

ACCOUNTS = (
    *FIRST_ACCOUNTS,
    AccountConfig("carol", secret="carols secret", balances=FIRST_BALANCES),
)


class Trouble(Exception):
    """A node did not come to where the test waited for it."""


def until(what: str, is_so: Callable[[], Any], *, within_s: float = PATIENCE_S) -> Any:
    """Poll until `is_so` gives something true; that.

    Raises:
        Trouble: it did not in time; says what the last try gave.
    """
    deadline = time.monotonic() + within_s
    last: Any = None
    while time.monotonic() < deadline:
        try:
            last = is_so()
        except (OSError, Trouble) as error:
            last = error
        else:
            if last:
                return last
        time.sleep(0.03)
    raise Trouble(f"not within {within_s:g} s: {what}; at last: {last!r}")


class Wire:
    """A connection to a client port that says exactly what it is told, and waits for the answer."""

    def __init__(self, port: int, *, timeout_s: float = PATIENCE_S) -> None:
        self.socket = socket.create_connection((HOST, port), timeout=timeout_s)
        self._reader = FrameReader(1 << 26)
        self._heard: list[tuple[Any, ...]] = []
        self._ref = 1_000

    def __enter__(self) -> "Wire":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.socket.close()

    def send(self, *message: Any) -> None:
        """One message."""
        self.socket.sendall(frame(pack(message)))

    def receive(self) -> tuple[Any, ...]:
        """The next message.

        Raises:
            Trouble: the node closed the connection, or says nothing.
        """
        while not self._heard:
            try:
                piece = self.socket.recv(1 << 16)
            except TimeoutError as error:
                raise Trouble("the node says nothing") from error
            if not piece:
                raise Trouble("the node closed the connection")
            self._heard += map(m.read_message, self._reader.feed(piece))
        return self._heard.pop(0)

    def is_closed(self) -> bool:
        """Whether the node has closed it; reads whatever comes before."""
        try:
            while piece := self.socket.recv(1 << 16):
                self._heard += map(m.read_message, self._reader.feed(piece))
        except (ConnectionError, TimeoutError) as error:
            return isinstance(error, ConnectionError)
        return True

    def ask(self, *message: Any) -> tuple[Any, ...]:
        """One message and the next that comes."""
        self.send(*message)
        return self.receive()

    def greet(self, account: str = "", key: str = "") -> int:
        """HELLO, LOGIN and OPEN as far as they are wanted; the session's id, 0 without."""
        self.ask(m.HELLO, m.PROTOCOL_VERSION, "test")
        if account:
            self.ask(m.LOGIN, 1, account, b"")
        if not key:
            return 0
        answer = self.ask(m.OPEN, 2, key)
        if answer[0] != m.RESULT:
            raise Trouble(f"OPEN was answered by {answer}")
        return int(answer[2][0])

    def query(self, name: str, **arguments: Any) -> Any:
        """The value of a query.

        Raises:
            Trouble: the node could not answer it.
        """
        self._ref += 1
        kind, ref, *rest = self.ask(m.QUERY, self._ref, name, arguments)
        if (kind, ref) != (m.RESULT, self._ref):
            raise Trouble(f"{name} {arguments}: {kind} {rest}")
        return rest[0]


class Cluster:
    """Some nodes in one folder; use it as a context manager.

    Attributes:
        patches: what is wrong with a node from its next start on; see `patched_node`.

    Args:
        size: how many nodes the configuration names; none is running at first.
        bounds, timings: what differs from the defaults.
    """

    def __init__(
        self,
        folder: Path,
        *,
        size: int = 3,
        bounds: dict[str, int] | None = None,
        timings: dict[str, int] | None = None,
        cluster_id: str = "test-1",
        accounts: Sequence[AccountConfig] = ACCOUNTS,
        instruments: Sequence[InstrumentConfig] = FIRST_INSTRUMENTS,
    ) -> None:
        self.folder = folder
        self.path = folder / "cluster.toml"
        ports = free_ports(3 * size)
        nodes = [NodeAddress(at + 1, HOST, *ports[3 * at : 3 * at + 3]) for at in range(size)]
        folder.mkdir(parents=True, exist_ok=True)
        text = render_config(
            name="test",
            cluster_id=cluster_id,
            nodes=nodes,
            accounts=accounts,
            instruments=instruments,
        )
        for table, limits in (("timings", timings), ("bounds", bounds)):
            text += f"\n[{table}]\n" if limits else ""
            text += "".join(f"{name} = {value}\n" for name, value in (limits or {}).items())
        self.path.write_text(text)
        self.ids = tuple(node.node_id for node in nodes)
        self.patches: dict[int, tuple[str, str]] = {}
        self._processes: dict[int, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> "Cluster":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for node_id in list(self._processes):
            self.kill(node_id)
        if error is not None:
            for node_id in self.ids:
                print(f"----- node {node_id}\n{self.log(node_id)[-4_000:]}")

    def copied(self, folder: Path) -> "Cluster":
        """The same cluster, none of it running, with its files copied into another folder."""
        assert not self._processes, f"nodes {self.running} run"
        shutil.copytree(self.folder, folder)
        twin = copy.copy(self)
        twin.folder, twin.path, twin._processes = folder, folder / self.path.name, {}
        return twin

    # -- configuration ------------------------------------------------------------------------

    @property
    def config(self) -> ClusterConfig:
        """As it stands in the file now."""
        return load_config(self.path)

    def directory(self, node_id: int) -> Path:
        """Where a node keeps its files."""
        return self.config.data_dir / f"node-{node_id}"

    def address(self, node_id: int) -> NodeAddress:
        """A node's ports."""
        return self.config.node(node_id)

    def client_ports(self, first: int = 1) -> list[tuple[str, int]]:
        """Addresses for a client, beginning with node `first`."""
        at = self.ids.index(first)
        order = [*self.ids[at:], *self.ids[:at]]
        return [(HOST, self.address(node_id).client_port) for node_id in order]

    # -- processes ----------------------------------------------------------------------------

    def start(self, *node_ids: int) -> None:
        """Start nodes, all if none is named; returns at once."""
        for node_id in node_ids or self.ids:
            assert node_id not in self._processes, f"node {node_id} runs already"
            with open(self._log_path(node_id), "ab") as log:
                self._processes[node_id] = subprocess.Popen(
                    self._command(node_id),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=self.folder,
                )

    def run_to_the_end(self, node_id: int, config: Path | None = None) -> tuple[int, str]:
        """Start a node that is expected to stop by itself; its exit code and what it said."""
        command = self._command(node_id, config)
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            cwd=self.folder,
        ) as process:  # fmt: skip
            try:
                said, _ = process.communicate(timeout=PATIENCE_S)
            finally:
                if process.poll() is None:
                    process.kill()
        return process.returncode, said.decode()

    def kill(self, node_id: int) -> None:
        """kill -9."""
        process = self._processes.pop(node_id)
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGKILL)
        process.wait()

    def stop(self, node_id: int) -> int:
        """SIGTERM; the exit code."""
        process = self._processes.pop(node_id)
        process.send_signal(signal.SIGTERM)
        try:
            return process.wait(timeout=PATIENCE_S)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()

    def freeze(self, node_id: int) -> None:
        """Let a node stand still, its connections open."""
        self._processes[node_id].send_signal(signal.SIGSTOP)

    def thaw(self, node_id: int) -> None:
        """Let it go on as if nothing had been."""
        self._processes[node_id].send_signal(signal.SIGCONT)

    def wipe(self, node_id: int) -> None:
        """Lose a stopped node's disk."""
        assert node_id not in self._processes, f"node {node_id} runs"
        shutil.rmtree(self.directory(node_id))

    def is_running(self, node_id: int) -> bool:
        """Whether the process lives."""
        return node_id in self._processes and self._processes[node_id].poll() is None

    @property
    def running(self) -> list[int]:
        """The nodes that were started and neither killed nor stopped."""
        return sorted(self._processes)

    def log(self, node_id: int) -> str:
        """What a node has said so far."""
        path = self._log_path(node_id)
        return path.read_text() if path.exists() else ""

    def _log_path(self, node_id: int) -> Path:
        return self.folder / f"node-{node_id}.log"

    def _command(self, node_id: int, config: Path | None = None) -> Sequence[str]:
        program = [sys.executable, "-m", "raftbook_cli.main", "node"]
        if node_id in self.patches:
            program = [sys.executable, str(PATCHED_NODE), *self.patches[node_id], "--", "node"]
        return [*program, "--config", str(config or self.path), "--id", str(node_id)]

    # -- what the nodes say -------------------------------------------------------------------

    def wire(self, node_id: int) -> Wire:
        """A raw connection to a node's client port."""
        return Wire(self.address(node_id).client_port)

    def query(self, node_id: int, name: str, account: str = "", **arguments: Any) -> Any:
        """One query over a connection of its own."""
        with self.wire(node_id) as wire:
            wire.greet(account)
            return wire.query(name, **arguments)

    def wait_up(self, *node_ids: int) -> None:
        """Wait until nodes answer, all running ones if none is named."""
        for node_id in node_ids or self.running:
            until(f"node {node_id} is up", lambda node_id=node_id: self._answers(node_id))

    def _answers(self, node_id: int) -> bool:
        assert self.is_running(node_id), f"node {node_id} has ended: {self.log(node_id)[-500:]}"
        return bool(self.query(node_id, "status"))

    def wait_leader(self, *among: int) -> int:
        """Wait until all running nodes know the same leader (one of `among`, if given); its id."""

        def agreed() -> int | None:
            told = [self.query(node_id, "status") for node_id in self.running]
            leaders = {status["leader_id"] for status in told}
            terms = {status["term"] for status in told}
            leader = leaders.pop()
            if leaders or len(terms) > 1 or leader not in (among or self.running):
                return None
            return int(leader)

        return int(until("the nodes agree on a leader", agreed))

    def settle(self, *node_ids: int) -> tuple[int, str]:
        """Wait until nodes (all running ones) have applied the same index; it and the digest.

        Raises:
            AssertionError: they differ there.
        """
        wanted = list(node_ids or self.running)

        def same() -> tuple[int, str] | None:
            told = [self.query(node_id, "status") for node_id in wanted]
            index = max(status["last_index"] for status in told)
            if {status["applied_index"] for status in told} != {index}:
                return None
            digests = {status["node_id"]: status["digest"] for status in told}
            assert len(set(digests.values())) == 1, f"nodes differ at {index}: {digests}"
            return index, next(iter(digests.values()))

        index, digest = until("the nodes have applied the same", same)
        return int(index), str(digest)

    def books(self, symbol: str) -> dict[int, Any]:
        """The whole book of each running node, without what may differ."""
        books = {}
        for node_id in self.running:
            book = self.query(node_id, "book", symbol=symbol, depth=0, orders=True)
            for own in ("node_id", "age_ms", "applied_index"):
                del book[own]
            books[node_id] = book
        return books

    # -- what stands on the disks -------------------------------------------------------------

    def replay(self, node_id: int, *, until_index: int) -> tuple[Exchange, list[Reply]]:
        """Run a stopped node's journal from the beginning; the exchange and every reply."""
        exchange = Exchange(genesis_of(self.config))
        replies: list[Reply] = []
        contents = read_journal(self.directory(node_id))
        assert contents.entries[0][1] == 1, "the journal was trimmed: raise snapshot_every_entries"
        for payload, index, _ in contents.entries:
            if payload[:1] == REGULAR and index <= until_index:
                entry: Entry = unpack_entry(index, payload[1:])
                replies += exchange.apply(entry)
        return exchange, replies


@contextlib.contextmanager
def running_cluster(folder: Path, **settings: Any) -> Iterator[Cluster]:
    """A cluster whose nodes are up and have a leader."""
    with Cluster(folder, **settings) as cluster:
        cluster.start()
        cluster.wait_up()
        cluster.wait_leader()
        yield cluster

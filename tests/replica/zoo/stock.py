"""Stock PySyncObj in the same hands as ours: a private copy of the package that nobody patched.

Owns loading it beside the one that `raftbook.replica.seams` opened up, and a small cluster of it
with a virtual clock and a network in hand. What a test does to it, a network or a kill -9 can do.
"""

from __future__ import annotations

import importlib
import importlib.util
import pickle
import random
import sys
from collections import deque
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pysyncobj

_NAME = "stock_pysyncobj"


def stock_module(name: str) -> Any:
    """A module of the private copy, such as "syncobj"."""
    if _NAME not in sys.modules:
        directory = Path(pysyncobj.__file__).parent
        spec = importlib.util.spec_from_file_location(
            _NAME, directory / "__init__.py", submodule_search_locations=[str(directory)]
        )
        assert spec is not None and spec.loader is not None
        package = importlib.util.module_from_spec(spec)
        sys.modules[_NAME] = package
        spec.loader.exec_module(package)
    module: ModuleType = importlib.import_module(f"{_NAME}.{name}")
    return module


syncobj = stock_module("syncobj")
journal = stock_module("journal")
serializer = stock_module("serializer")
transport = stock_module("transport")
tcp_server = stock_module("tcp_server")
tcp_connection = stock_module("tcp_connection")
config = stock_module("config")
node = stock_module("node")
replicated = syncobj.replicated


class Clock:
    """Virtual seconds."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


clock = Clock()
syncobj.monotonicTime = clock
tcp_connection.monotonicTime = clock
syncobj.random = SimpleNamespace(random=random.Random(0).random)


class FakeTransport(transport.Transport):  # type: ignore[name-defined,misc]
    """Puts messages into the outbox of the cluster."""

    def __init__(self, outbox: deque[tuple[str, str, bytes]], own_id: str) -> None:
        super().__init__(None, None, [])
        self._outbox, self._own_id = outbox, own_id

    def send(self, target: Any, message: Any) -> bool:
        self._outbox.append((self._own_id, target.id, pickle.dumps(message)))
        return True


class StockBook(syncobj.SyncObj):  # type: ignore[name-defined,misc]
    """A list of orders, as a user of PySyncObj would replicate it."""

    def __init__(self, own: Any, others: list[Any], conf: Any, transport: Any) -> None:
        super().__init__(own, others, conf, transport=transport)
        self.orders: list[Any] = []

    @replicated
    def enter(self, order: Any) -> None:
        if order == "bug":
            raise ZeroDivisionError("a bug in the book")
        self.orders.append(order)

    def private(self, name: str) -> Any:
        """A private attribute or method of PySyncObj."""
        return getattr(self, f"_SyncObj__{name}")

    def set_private(self, name: str, value: Any) -> None:
        setattr(self, f"_SyncObj__{name}", value)

    def log(self) -> list[tuple[bytes, int, int]]:
        return list(self.private("raftLog")[0:])

    def hear(self, peer_id: str, **message: Any) -> None:
        """A message from a peer."""
        self.private("onMessageReceived")(node.Node(peer_id), message)


class StockCluster:
    """Stock nodes "a", "b", ...; with a directory, each has a journal and a dump file there."""

    def __init__(
        self,
        size: int,
        directory: Path | None = None,
        *,
        with_dump: bool = True,
        kinds: dict[str, type[StockBook]] | None = None,
        **conf: Any,
    ) -> None:
        self.ids = [chr(ord("a") + position) for position in range(size)]
        self.outbox: deque[tuple[str, str, bytes]] = deque()
        self.books: dict[str, Any] = {}
        self._directory, self._with_dump, self._conf = directory, with_dump, conf
        self._kinds = kinds or {}
        for node_id in self.ids:
            self.start(node_id)

    def start(self, node_id: str) -> Any:
        """Start a node on its files; whoever had that id before is forgotten, as by kill -9."""
        files = {}
        if self._directory is not None:
            files["journalFile"] = str(self._directory / f"{node_id}.journal")
            if self._with_dump:
                files["fullDumpFile"] = str(self._directory / f"{node_id}.dump")
        conf = config.SyncObjConf(autoTick=False, useFork=False, **files, **self._conf)
        kind = self._kinds.get(node_id, StockBook)
        peers = [node.Node(peer_id) for peer_id in self.ids if peer_id != node_id]
        book = kind(node.Node(node_id), peers, conf, FakeTransport(self.outbox, node_id))
        self.books[node_id] = book
        for peer in peers:
            book.private("onNodeConnected")(peer)
        return book

    def __getitem__(self, node_id: str) -> Any:
        return self.books[node_id]

    def deliver(self, *, lost: tuple[str, ...] = ()) -> None:
        """Let everything under way arrive, except from and to the `lost` nodes."""
        while self.outbox:
            source, target, message = self.outbox.popleft()
            if source not in lost and target not in lost and target in self.books:
                self.books[target].private("onMessageReceived")(
                    node.Node(source), pickle.loads(message)
                )

    def tick(self, times: int = 1, *, step_s: float = 0.05, lost: tuple[str, ...] = ()) -> None:
        for _ in range(times):
            clock.now += step_s
            for node_id, book in self.books.items():
                if node_id not in lost:
                    book.doTick()
            self.deliver(lost=lost)

    def elect(self, node_id: str, *, lost: tuple[str, ...] = ()) -> Any:
        """Let a node stand and win."""
        for each in self.books.values():
            each.set_private("raftElectionDeadline", clock.now + 1.0)
        self[node_id].set_private("raftElectionDeadline", 0.0)
        self.tick(5, step_s=0.001, lost=lost)
        assert self[node_id]._isLeader(), f"{node_id} was not elected"
        return self[node_id]

    def enter(self, node_id: str, *orders: Any, lost: tuple[str, ...] = ()) -> list[Any]:
        """Enter orders through a node; what its client was told, eldest first."""
        answers: list[Any] = []
        for order in orders:
            self[node_id].enter(order, callback=lambda result, error: answers.append(error))
        self.tick(10, lost=lost)
        return answers


SUCCESS = config.FAIL_REASON.SUCCESS

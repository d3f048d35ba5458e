"""A cluster in the test's own process: real wire, real exchange, and nodes that fail as told.

All nodes share one exchange, so a request that reached it through one node is known to the others,
as in a real cluster. Each node works through its script: one fault per REQUEST, then it is well.
"""

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any

from raftbook.client import AsyncClient, Client
from raftbook.core import commands as c
from raftbook.core.accounts import Account
from raftbook.core.commands import Entry
from raftbook.core.events import answers
from raftbook.core.exchange import Exchange, Genesis
from raftbook.core.instrument import InstrumentTerms
from raftbook.core.limits import Limits
from raftbook.core.types import Reject
from raftbook.core.versions import ENGINE_VERSION
from raftbook.gateway import account_queries, market_queries
from raftbook.gateway.arguments import QueryError
from raftbook.gateway.privacy import private_view
from raftbook.wire import client_messages as m
from raftbook.wire.framing import FrameReader, frame
from raftbook.wire.packing import pack

BTC = InstrumentTerms("BTC-USD", "BTC", "USD", "0.25", "0.001", 10**6, 1, 10**9)
ETH = InstrumentTerms("ETH-USD", "ETH", "USD", "0.01", "1", 10**6, 1, 10**9)
GENESIS = Genesis((BTC, ETH), (("demo", True), ("alice", False)), Limits(session_idle_ns=10**9))
NONCE = b"nonce"
START_NS = 10**18

REFUSALS = {
    "no_leader": Reject.NO_LEADER,
    "overloaded": Reject.OVERLOADED,
    "not_ready": Reject.NOT_READY,
    "unknown": Reject.OUTCOME_UNKNOWN,
    "unknown_applied": Reject.OUTCOME_UNKNOWN,
    "malformed": Reject.MALFORMED,
}
APPLIED_BEFORE = {"drop_after", "unknown_applied", "stall_applied", "half", "garbage"}


class Cluster:
    """Nodes of one exchange; `applied` is what its log holds, as requests."""

    def __init__(self, nodes: int = 2, genesis: Genesis = GENESIS, secret: str = "") -> None:
        self.exchange = Exchange(genesis)
        self.exchange.put_in_force(ENGINE_VERSION)
        self.secret = secret
        self.now_ns = START_NS
        self.applied: list[tuple[int, int, tuple[Any, ...]]] = []
        self.feed: list[tuple[Any, ...]] = []
        self.entries: list[tuple[Any, ...]] = []
        self.nodes = [Node(self, node_id) for node_id in range(1, nodes + 1)]
        self.members = list(self.nodes)

    async def __aenter__(self) -> "Cluster":
        for node in self.nodes:
            await node.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        for node in self.nodes:
            await node.stop()

    @property
    def addresses(self) -> list[tuple[str, int]]:
        return [("127.0.0.1", node.port) for node in self.nodes]

    def apply(self, session_id: int, request_seq: int, commands: tuple[Any, ...]) -> Any:
        self.now_ns += 1
        entry = Entry(
            self.exchange.applied_index + 1, self.now_ns, ((session_id, request_seq, commands),)
        )
        (reply,) = answers(self.exchange.apply(entry), entry.requests)
        self.applied.append((session_id, request_seq, commands))
        told = ((*reply[:4], tuple(reply[4]), 0),)
        self.entries.append((entry.index, 1, entry.time_ns, told, 1, 1))
        if not reply[5]:
            for event in reply[4]:
                if event[1]:
                    self.feed.append((event[1], entry.index, entry.time_ns, event[0], *event[2:]))
        for node in self.nodes:
            node.push()
        return reply

    async def add_node(self) -> "Node":
        """A new node, up, and a member."""
        node = Node(self, len(self.nodes) + 1)
        self.nodes.append(node)
        self.members.append(node)
        await node.start()
        return node

    async def remove_node(self, node: "Node") -> None:
        """A node goes for good."""
        self.members.remove(node)
        await node.stop()

    def orders_taken(self) -> int:
        """How many orders the exchange has accepted: each exactly once, or the test fails."""
        return self.exchange.last_order_id

    def forget_sessions(self) -> None:
        """Evict every session, as a day of silence would."""
        for session in list(self.exchange.sessions.by_id.values()):
            self.exchange.sessions.remove(session)


class Node:
    """One node: its script, and what it has seen."""

    def __init__(self, cluster: Cluster, node_id: int) -> None:
        self.cluster = cluster
        self.node_id = node_id
        self.port = 0
        self.script: list[str] = []
        self.open_script: list[str] = []
        self.query_script: list[str] = []
        self.login_code = 0
        self.cluster_id = "demo-1"
        self.greeting = b""  # bytes instead of a WELCOME
        self.connections = 0
        self.requests: list[tuple[int, int]] = []
        self.queries: list[tuple[str, dict[str, Any]]] = []
        self.asked_for_members = 0
        self.applied_index = 0  # what a status says instead of the exchange's, if it is behind
        self.subscribed: list[dict[str, Any]] = []
        self.turns_streams_away = False  # as a node does that is fenced
        self.push_limit: int | None = None  # then the connection is cut
        self.page_rows = 10_000
        self.talks: list[Talk] = []
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.get_running_loop().create_server(
            lambda: Talk(self), "127.0.0.1", self.port
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        # What was accepted a moment ago is made in the loop's next turns: see connection_made.
        for _ in range(3):
            await asyncio.sleep(0)
        while self.talks:
            for talk in list(self.talks):
                talk.transport.abort()
            await asyncio.sleep(0)

    @property
    def stopped(self) -> bool:
        return self._server is None

    def push(self) -> None:
        for talk in list(self.talks):
            talk.push()


class Talk(asyncio.Protocol):
    """One connection to a node."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.reader = FrameReader(1 << 24)
        self.transport: asyncio.Transport
        self.account = ""
        self.stream = ""
        self.place = 0  # feed_seq or index pushed last
        self.pushed = 0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.node.connections += 1
        self.node.talks.append(self)
        if self.node.stopped:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.node.talks.remove(self)

    def data_received(self, data: bytes) -> None:
        for payload in self.reader.feed(data):
            if not self.transport.is_closing():
                self.take(m.read_message(payload))

    def send(self, *message: Any) -> None:
        self.transport.write(frame(pack(message)))

    def take(self, message: tuple[Any, ...]) -> None:
        kind, *fields = message
        if kind == m.HELLO:
            if self.node.greeting:
                self.transport.write(self.node.greeting)
                return
            self.send(m.WELCOME, 1, "demo", self.node.cluster_id, self.node.node_id, NONCE)
        elif kind == m.LOGIN:
            self.login(*fields)
        elif kind == m.OPEN:
            self.open(*fields)
        elif kind == m.REQUEST:
            self.request(*fields)
        elif kind == m.QUERY:
            self.query(*fields)
        elif kind == m.SUBSCRIBE:
            self.subscribe(*fields)
        elif kind == m.PING:
            self.send(m.PONG, *fields)

    def login(self, ref: int, account: str, proof: bytes) -> None:
        secret = self.node.cluster.secret
        if self.node.login_code:
            self.send(m.FAILURE, ref, self.node.login_code, "not now")
        elif proof != (m.login_proof(secret, account, NONCE) if secret else b""):
            self.send(m.FAILURE, ref, int(Reject.NOT_AUTHORIZED), "wrong secret")
        else:
            self.account = account
            self.send(m.RESULT, ref, {"account": account, "operator": account == "demo"})

    def open(self, ref: int, key: str) -> None:
        fault = self.node.open_script.pop(0) if self.node.open_script else "ok"
        if fault == "drop":
            self.transport.abort()
        elif fault in REFUSALS:
            self.send(m.FAILURE, ref, int(REFUSALS[fault]), "")
        elif fault != "stall":
            reply = self.node.cluster.apply(c.NO_SESSION, 0, (c.open_session(self.account, key),))
            event = reply[4][0]
            if event[0] != 10:
                self.send(m.FAILURE, ref, event[2], "")
            else:
                self.send(m.RESULT, ref, (event[2], event[4]))

    def request(self, session_id: int, request_seq: int, commands: tuple[Any, ...]) -> None:
        node = self.node
        node.requests.append((session_id, request_seq))
        fault = node.script.pop(0) if node.script else "ok"
        if fault == "drop_before":
            self.transport.abort()
            return
        if fault == "poison":
            self.send(m.FAILURE, 0, int(Reject.MALFORMED), "this frame is not for me")
            self.transport.close()
            return
        if fault == "ok" or fault in APPLIED_BEFORE:
            reply = node.cluster.apply(session_id, request_seq, commands)
            told = private_view(reply[4], self.account)
            message = (m.REPLY, *reply[:3], 1, START_NS, reply[3], told, reply[5], 1)
        if fault == "ok":
            self.send(*message)
        elif fault in REFUSALS:
            self.send(m.REFUSED, session_id, request_seq, int(REFUSALS[fault]), "")
        elif fault == "drop_after":
            self.transport.abort()
        elif fault == "half":
            framed = frame(pack(message))
            self.transport.write(framed[: len(framed) // 2])
            self.transport.close()
        elif fault == "garbage":
            self.transport.write(frame(b"\xc1garbage"))

    def query(self, ref: int, name: str, arguments: dict[str, Any]) -> None:
        node = self.node
        if name == "status" and not node.query_script:  # asked in passing
            node.asked_for_members += 1
            self.answer(ref, name, arguments)
            return
        node.queries.append((name, arguments))
        fault = node.query_script.pop(0) if node.query_script else "ok"
        if fault == "drop":
            self.transport.abort()
        elif fault == "stale":
            self.send(m.FAILURE, ref, int(Reject.TOO_STALE), "")
        elif fault in REFUSALS:
            self.send(m.FAILURE, ref, int(REFUSALS[fault]), "")
        elif fault == "ok":
            self.answer(ref, name, arguments)

    def answer(self, ref: int, name: str, arguments: dict[str, Any]) -> None:
        exchange = self.node.cluster.exchange
        account = exchange.accounts.get(self.account)
        book = exchange.books.get(arguments.get("symbol", ""))
        now = {"applied_index": exchange.applied_index}
        try:
            if name == "instruments":
                value: Any = market_queries.instruments(exchange, arguments)
            elif name == "currencies":
                value = now | {"currencies": account_queries.currencies(exchange, account)}
            elif name == "status":
                rows = [
                    {"host": "127.0.0.1", "client_port": node.port}
                    for node in self.node.cluster.members
                ]
                index = self.node.applied_index or exchange.applied_index
                value = {"node_id": self.node.node_id, "applied_index": index, "members": rows}
            elif name in ("order", "orders", "account", "accounts") and account is not None:
                value = now | self.answer_account(name, arguments, account)
            elif book is None:
                raise QueryError(Reject.UNKNOWN_INSTRUMENT, "")
            else:
                value = self.answer_market(name, arguments, book, account)
        except QueryError as error:
            self.send(m.FAILURE, ref, int(error.code), error.message)
            return
        self.send(m.RESULT, ref, value)

    def answer_account(
        self, name: str, arguments: dict[str, Any], account: Account
    ) -> dict[str, Any]:
        exchange = self.node.cluster.exchange
        if name == "order":
            return account_queries.order(arguments, account)
        if name == "orders":
            limit = min(arguments["limit"], self.node.page_rows)
            return account_queries.orders({**arguments, "limit": limit}, account)
        if name == "accounts":
            return {"accounts": account_queries.accounts(exchange, arguments)}
        asked_for = account_queries.account_asked_for(exchange, arguments, account)
        return account_queries.account_view(exchange, asked_for)

    def answer_market(
        self, name: str, arguments: dict[str, Any], book: Any, account: Account | None
    ) -> dict[str, Any]:
        head = {"symbol": book.symbol, "applied_index": self.node.cluster.exchange.applied_index}
        if name == "book":
            return book_value(self.node, book, arguments["depth"], orders=arguments["orders"])
        if name == "trades":
            return head | {"trades": market_queries.trades(book, arguments)}
        if name == "candles":
            return head | market_queries.candles(book, arguments)
        if name == "auction":
            return head | market_queries.auction(book)
        assert name == "fills" and account is not None, f"{name} is not answered here"
        rows = market_queries.fills(book, account, arguments)
        return head | {"account": account.name, "fills": rows}

    def subscribe(self, ref: int, name: str, arguments: dict[str, Any]) -> None:
        node, cluster = self.node, self.node.cluster
        node.subscribed.append(arguments)
        if node.turns_streams_away:
            self.send(m.FAILURE, ref, int(Reject.TOO_STALE), "this node is fenced; ask another")
            return
        if name not in ("feed", "entries"):
            self.send(m.FAILURE, ref, int(Reject.NOT_AUTHORIZED), "no such stream")
            return
        result = {"subscription": 7, "applied_index": cluster.exchange.applied_index}
        self.send(m.RESULT, ref, result)
        self.stream = name
        self.pushed = 0
        place = arguments.get("from_seq" if name == "feed" else "from_index")
        if name == "feed" and place is None:
            book = cluster.exchange.books[arguments["symbol"]]
            self.place = book.feed_seq
            view = book_value(node, book, 0, orders=True)
            self.send(m.PUSH, 7, ("refresh", {**view, "page": 1, "told": (), "more": False}))
        elif place is None:
            self.place = cluster.exchange.applied_index
        else:
            self.place = place - 1
        self.push()

    def push(self) -> None:
        """Push what is new, up to the limit at which this node cuts the connection."""
        cluster = self.node.cluster
        if not self.stream or self.transport.is_closing():
            return
        for value in cluster.feed if self.stream == "feed" else cluster.entries:
            if value[0] > self.place:
                if self.pushed == self.node.push_limit:
                    self.transport.close()
                    return
                self.place = value[0]
                self.pushed += 1
                self.send(m.PUSH, 7, value)


def book_value(node: Node, book: Any, depth: int, *, orders: bool) -> dict[str, Any]:
    return {
        "symbol": book.symbol,
        "feed_seq": book.feed_seq,
        "applied_index": node.cluster.exchange.applied_index,
        "node_id": node.node_id,
        "last_price": book.last_price,
        "phase": book.phase,
        "age_ms": 0,
        **market_queries.book_rows(book, {"depth": depth, "orders": orders}),
    }


class Blocking:
    """A `Client` whose calls can be awaited: each runs in a thread, beside the cluster's loop."""

    def __init__(self, client: Client) -> None:
        self.client = client

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.client, name)
        return functools.partial(asyncio.to_thread, value) if callable(value) else value

    async def __aenter__(self) -> "Blocking":
        await asyncio.to_thread(self.client.connect)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await asyncio.to_thread(self.client.close)


def client_of(kind: str, cluster: Cluster, **settings: Any) -> Any:
    """A client of either kind, impatient enough for tests; all its verbs are awaited."""
    settings = {
        "nodes": cluster.addresses,
        "account": "demo",
        "timeout_s": 1.0,
        "request_attempt_timeout_s": 0.1,
        **settings,
    }
    nodes = settings.pop("nodes")
    if kind == "sync":
        return Blocking(Client(nodes, **settings))
    return AsyncClient(nodes, **settings)


def in_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run an async test."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        asyncio.run(test(*args, **kwargs))

    return run

"""A market without a network: the real exchange behind clients that need no socket.

The engine, the queries and the reading of replies are the real ones; only sockets, Raft and clocks
are not there. A test says what goes wrong: which nodes are down, what the next request meets.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

from raftbook.client import Client, RequestReply
from raftbook.client.rejects import Refused
from raftbook.client.subscription import POSITIONS
from raftbook.config import ClusterConfig
from raftbook.core.commands import NO_SESSION, Command, open_session
from raftbook.core.events import answers
from raftbook.core.exchange import Genesis
from raftbook.core.form import engine_version_of
from raftbook.core.instrument import PLAIN_TERMS, InstrumentTerms
from raftbook.core.types import Reject
from raftbook.core.versions import ENGINE_VERSION
from raftbook.errors import NoNodeReachable, NotAccepted, OutcomeUnknown, RaftbookError
from raftbook.feed.stream import FeedHistory
from raftbook.gateway.market_streams import MARKET_STREAMS
from raftbook.gateway.queries import Queries, QueryError
from raftbook.gateway.subscriptions import make_subscription
from raftbook.genesis import genesis_of
from raftbook.node_members import MemberVerbs, configured_members
from raftbook.replica.administration import Administration
from raftbook.replica.machine import Machine
from raftbook.replica.membership import Member, Membership
from raftbook.wire.entry import REGULAR, pack_entry, pack_request
from raftbook.wire.packing import pack, unpack
from raftbook.wire.pages import entry_pages

FIRST_TIME_NS = 1_767_225_600_000_000_000  # 2026-01-01T00:00:00Z
ENTRY_EVERY_NS = 1_000_000
TERM = 4


@dataclass
class Market:
    """One exchange that every fake node shows.

    Attributes:
        down: nodes that do not answer.
        status: what a node's status says instead of the truth, by node id.
        digests: what a node's digest query says instead of the truth, by node id.
        troubles: errors that the next requests raise, eldest first; None lets one pass.
        replies_lost: so many of the next requests take effect, but nobody is told.
        payloads: (index, term, bytes) of every entry, as a journal holds them.
        is_founded: whether all nodes were there once.
        is_old: the cluster goes by the rules of engine version 1 still.
        wall_ns: what the leader's clock is ahead of one entry a millisecond.
    """

    config: ClusterConfig
    down: set[int] = field(default_factory=set)
    leader_id: int | None = 2
    is_founded: bool = True
    status: dict[int, dict[str, Any]] = field(default_factory=dict)
    digests: dict[int, str | None] = field(default_factory=dict)
    troubles: deque[RaftbookError | None] = field(default_factory=deque)
    replies_lost: int = 0
    payloads: list[tuple[int, int, bytes]] = field(default_factory=list)
    sent_through: list[int] = field(default_factory=list)
    is_old: bool = False
    wall_ns: int = FIRST_TIME_NS

    def __post_init__(self) -> None:
        genesis = genesis_of(self.config)
        if self.is_old:
            plain = (InstrumentTerms(*terms[:PLAIN_TERMS]) for terms in genesis.instruments)
            genesis = Genesis(tuple(plain), genesis.accounts, genesis.limits)
        self.machine = Machine(genesis, entries_kept=1_000)
        if not self.is_old:
            self.machine.exchange.put_in_force(ENGINE_VERSION)
        self.members = Members(configured_members(self.config))
        self.index = 2
        self.machine.apply(self.index, TERM, b"\x01")

    def append(self, session_id: int, request_seq: int, commands: Sequence[Command]) -> Any:
        """One entry with one request; its reply and its time."""
        self.index += 1
        time_ns = self.wall_ns + self.index * ENTRY_EVERY_NS
        request = pack_request(session_id, request_seq, commands)
        payload = REGULAR + pack_entry(time_ns, [request])
        self.payloads.append((self.index, TERM, payload))
        applied = self.machine.apply(self.index, TERM, payload)
        assert applied is not None
        return answers(applied.replies, [request])[0], time_ns

    def wait(self, seconds: float) -> None:
        """Let time go by."""
        self.wall_ns += int(seconds * 1e9)

    def connect(self, nodes: Sequence[tuple[str, int]], **settings: Any) -> FakeClient:
        """What the program calls instead of `Client`."""
        return FakeClient(self, nodes, **settings)

    def connect_async(self, nodes: Sequence[tuple[str, int]], **settings: Any) -> FakeAsyncClient:
        """What the program calls instead of `AsyncClient`."""
        return FakeAsyncClient(self.connect(nodes, **settings))

    def queries(self, node_id: int) -> Queries:
        """The real answers, of a node that is a name only."""
        raft = SimpleNamespace(
            applied_index=self.index,
            commit_index=self.index,
            role="leader" if node_id == self.leader_id else "follower",
            term=TERM,
            leader_id=self.leader_id,
            membership=SimpleNamespace(is_founded=self.is_founded),
        )
        replica: Any = SimpleNamespace(
            machine=self.machine,
            raft=raft,
            node_id=node_id,
            last_index=self.index,
            snapshot_index=0,
            pending_count=0,
            fence=None,
            age_ms=lambda: 20,
        )
        members = [
            {
                "node_id": node.node_id,
                "host": node.host,
                "raft_port": node.raft_port,
                "client_port": node.client_port,
                "connected": node.node_id not in self.down,
                "seen_ms_ago": 700 if node.node_id in self.down else 20,
                "match_index": None if node.node_id == node_id else self.index,
            }
            for node in self.config.nodes
        ]
        return Queries(replica, lambda: {"cluster_id": self.config.cluster_id, "members": members})


class Members:
    """What `Administration` does, of a cluster without a log: real steps, at once."""

    def __init__(self, membership: Membership) -> None:
        self.membership = membership

    async def add(self, member: Member) -> Membership:
        self.membership = self.membership.with_learner(member)
        return self.membership

    async def remove(self, node_id: int) -> Membership:
        self.membership = self.membership.without(node_id)
        return self.membership


class FakeClient(Client):
    """A client whose requests and questions go straight to the market."""

    def __init__(self, market: Market, nodes: Sequence[tuple[str, int]], **settings: Any) -> None:
        super().__init__(nodes, **settings)
        self._market = market
        self._account = settings["account"]
        self._key = settings["session_key"] or f"own-{market.index}"
        self._by_port = {node.client_port: node.node_id for node in market.config.nodes}
        self._ports = [port for _, port in nodes]
        self._session_id = 0
        self._next_seq = 1

    @property
    def node(self) -> int:
        for port in self._ports:
            node_id = self._by_port.get(port, 0)
            if node_id and node_id not in self._market.down:
                return node_id
        tried = "; ".join(f"127.0.0.1:{port}: connection refused" for port in self._ports)
        raise NoNodeReachable(f"no node answered: {tried}")

    def connect(self) -> None:
        if self._account not in self._market.machine.exchange.accounts:
            raise Refused(5, f"no account {self._account!r}", doing="login")
        assert self.node

    def close(self, *, forget_session: bool | None = None) -> None:
        pass

    def request(
        self,
        commands: Sequence[Command],
        *,
        request_seq: int | None = None,
        is_first: bool = False,
    ) -> RequestReply:
        self.connect()
        node_id, market = self.node, self._market
        trouble = market.troubles.popleft() if market.troubles else None
        if type(trouble) is NotAccepted and request_seq is not None and not is_first:
            text = f"request {request_seq} may have been sent before: {trouble}"
            trouble = OutcomeUnknown(text, request_seq=request_seq)
        if trouble is not None:
            raise trouble
        needed = max(map(engine_version_of, commands))
        if needed > market.machine.exchange.engine_version:
            code = Reject.UNSUPPORTED_VERSION
            raise Refused(code, f"this needs engine version {needed}", doing="the request")
        if not self._session_id:
            reply, _ = market.append(NO_SESSION, 0, [open_session(self._account, self._key)])
            self._session_id = reply[4][0][2]
            self._next_seq = reply[4][0][4] + 1
        request_seq = self._next_seq if request_seq is None else request_seq
        self._next_seq = max(self._next_seq, request_seq + 1)
        market.sent_through.append(node_id)
        reply, time_ns = market.append(self._session_id, request_seq, commands)
        session_id, request_seq, index, offset, events, poss_dup = reply
        if market.replies_lost:
            market.replies_lost -= 1
            raise OutcomeUnknown("connection lost", request_seq=request_seq)
        return RequestReply(
            session_id,
            request_seq,
            index,
            0 if poss_dup else TERM,
            0 if poss_dup else time_ns,
            offset,
            unpack(pack(events)),
            bool(poss_dup),
            market.leader_id or 0,
            node_id,
            1.6,
        )

    def query(self, name: str, **arguments: Any) -> Any:
        self.connect()
        node_id, market = self.node, self._market
        if name == "transfer":
            market.leader_id = arguments["to"] or 1
            return {"leader_id": market.leader_id}
        if name == "snapshot":
            return {"snapshot_index": market.index}
        if name in ("add", "remove"):
            return self._change_members(name, arguments)
        account = market.machine.exchange.accounts.get(self._account)
        try:
            value = market.queries(node_id).answer(name, arguments, account)
        except QueryError as error:
            raise Refused(error.code, error.message, doing=name) from None
        if name == "status":
            value |= market.status.get(node_id, {})
        if name == "digest" and node_id in market.digests:
            value["digest"] = market.digests[node_id]
        return unpack(pack(value))

    def _change_members(self, name: str, arguments: dict[str, Any]) -> Any:
        verbs: Any = MemberVerbs(cast(Administration, self._market.members))
        try:
            return asyncio.run(getattr(verbs, name)(arguments))
        except QueryError as error:
            raise Refused(error.code, error.message, doing=name) from None

    def subscribe(self, name: str, **arguments: Any) -> Any:
        """What there is now; then somebody presses Ctrl-C."""
        if name in MARKET_STREAMS:
            yield from self._market_stream(name, arguments)
        for applied in self._market.machine.recent:
            if name == "entries" and applied.index >= arguments["from_index"]:
                yield from entry_pages(
                    applied.index, applied.term, applied.time_ns, applied.replies
                )
        raise KeyboardInterrupt

    def _market_stream(self, name: str, arguments: dict[str, Any]) -> Any:
        """The real stream of a node that has been there from the beginning."""
        market, history = self._market, FeedHistory(1_000)
        for applied in market.machine.recent:
            history.add(applied.index, applied.time_ns, applied.replies)
        position = POSITIONS[name](arguments)
        given = {key: value for key, value in position.arguments().items() if value is not None}
        queries = market.queries(self.node)
        stream = make_subscription(name, given, None, queries, history, 0)
        for packed in stream.first():
            value = position.take(unpack(packed))
            if value is not None:
                yield value


class FakeAsyncClient:
    """The same for asyncio, as far as the command line uses it."""

    def __init__(self, client: FakeClient) -> None:
        self._client = client

    async def __aenter__(self) -> FakeAsyncClient:
        self._client.connect()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        pass

    async def instruments(self) -> Any:
        return self._client.instruments()

    async def request(self, commands: Sequence[Command]) -> RequestReply:
        return self._client.request(commands)

"""The composition root: configuration in, a running node out. The only file that knows everybody.

Owns what is built in which order, the node's files and its end. Nothing else in the package starts
anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import random
import resource
import secrets
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from raftbook import __version__
from raftbook.config import ClusterConfig
from raftbook.core.types import Reject
from raftbook.errors import ConfigError, StorageError
from raftbook.feed.stream import FeedHistory
from raftbook.gateway.native import ClientServer
from raftbook.gateway.queries import Queries, QueryError
from raftbook.genesis import genesis_digest, genesis_of
from raftbook.node_join import answer_joiner
from raftbook.node_log import configure_log
from raftbook.node_members import (
    MemberVerbs,
    configured_members,
    follow_members,
    member_rows,
    own_address,
    peer_addresses,
)
from raftbook.node_memory import Memory
from raftbook.node_settings import (
    client_bounds,
    link_settings,
    raft_timings,
    replica_bounds,
)
from raftbook.node_web import make_web_server
from raftbook.replica.administration import Administration
from raftbook.replica.driver import Driver
from raftbook.replica.fences import FenceKind
from raftbook.replica.links import PeerLinks
from raftbook.replica.machine import Machine
from raftbook.replica.replica import Replica
from raftbook.replica.shipping import ForkedMaker
from raftbook.secret import load_secret
from raftbook.storage.founded_mark import FoundedMark
from raftbook.storage.journal import Journal, JournalIdentity
from raftbook.storage.snapshots import SnapshotStore
from raftbook.storage.space import has_room
from raftbook.wire.peer_session import NONCE_BYTES, PeerCard

__all__ = ["Node", "genesis_of", "load_secret", "node_directory", "run"]

if TYPE_CHECKING:
    from raftbook.web.server import WebServer

_log = logging.getLogger("raftbook.node")

_DESCRIPTORS: Final = 65_536
_HAND_OVER_S: Final = 1.0
"""How long a leader's log stands still for a peer to take over."""
_RETRY_MIN_S: Final = 1.0
_RETRY_MAX_S: Final = 30.0
"""How often a node whose disk is full looks whether there is space again."""
FENCED_EXIT: Final = 5
DIVERGED_EXIT: Final = 6
"""Exit codes of a node that was fenced when it ended: what it had under way is unknown; it differed
from the others."""


def run(
    config: ClusterConfig,
    node_id: int,
    *,
    data_dir: Path | None = None,
    log_format: str = "text",
) -> int:
    """Run one node until SIGINT or SIGTERM; the process's exit code.

    Raises:
        ConfigError: this node cannot be what the configuration says.
        StorageError: what is on disk does not allow it to start.
    """
    configure_log(log_format, node_id)
    retry_s = _RETRY_MIN_S
    # To read a long log takes a while, and so does all of it on a busy machine.
    directory = node_directory(config, node_id, data_dir)
    _log.info("node %d of cluster %s starts from %s", node_id, config.name, directory)
    node = Node(config, node_id, data_dir=data_dir)
    while True:
        started = time.monotonic()
        try:
            code = asyncio.run(node.run(retry_s=retry_s))
        finally:
            node.close()
        if code is not None:
            return code
        is_soon = time.monotonic() - started < 2 * _RETRY_MAX_S
        retry_s = min(2 * retry_s, _RETRY_MAX_S) if is_soon else _RETRY_MIN_S
        del node
        gc.collect()  # the sockets of the loop that has ended
        node = _start_again(config, node_id, data_dir)


def _start_again(config: ClusterConfig, node_id: int, data_dir: Path | None) -> Node:
    """A node from what is on its disk, as after a kill; waits while there is still no space."""
    while True:
        try:
            return Node(config, node_id, data_dir=data_dir)
        except StorageError as error:
            if not error.passes:
                raise
            _log.error("cannot start again yet: %s", error)
            time.sleep(_RETRY_MAX_S)


def node_directory(config: ClusterConfig, node_id: int, data_dir: Path | None = None) -> Path:
    """Where a node keeps its journal and snapshots."""
    return (config.data_dir if data_dir is None else data_dir) / f"node-{node_id}"


class Node:
    """One node with its files open and nothing running yet; `run` does the rest.

    Raises:
        ConfigError, StorageError: see `run`.
    """

    def __init__(
        self, config: ClusterConfig, node_id: int, *, data_dir: Path | None = None
    ) -> None:
        self.config = config
        self.node_id = node_id
        config.node(node_id)
        self._secret = load_secret(config, data_dir)
        self._started = time.monotonic()
        digest = genesis_digest(config)
        self._directory = directory = node_directory(config, node_id, data_dir)
        identity = JournalIdentity(config.cluster_id, node_id, digest)
        self._journal = Journal.open(directory, identity)
        try:
            self._snapshots = SnapshotStore(
                directory / "snapshots", cluster_id=config.cluster_id, genesis_digest=digest
            )
            self.replica = self._make_replica()
            self._mark = FoundedMark(directory, identity)
            if not self.replica.raft.membership.is_founded and self._mark.is_set:
                self.replica.raft.founding.forbid(
                    f"only to begin a new, empty cluster, remove {self._mark.path} on every node "
                    "and restart them"
                )
            self.address = own_address(config, node_id, self.replica)
            self._card = PeerCard(
                config.cluster_id,
                digest,
                node_id,
                self._journal.incarnation,
                host=self.address.host,
                port=self.address.raft_port,
            )
        except BaseException:
            self._journal.close()
            raise

    def close(self) -> None:
        """Give the files back."""
        self._maker.close()
        self._journal.close()

    async def run(self, *, retry_s: float = _RETRY_MIN_S) -> int | None:
        """Serve until a signal comes; the exit code, or None to start again from the disk.

        Args:
            retry_s: first wait before a node whose disk was full looks for space.
        """
        _allow_descriptors()
        stop = asyncio.Event()
        self._is_again = False
        self.replica.on_fenced.append(lambda: self._on_fenced(stop, retry_s))
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        timings = self.config.timings
        self._driver = Driver(self.replica, step_interval_s=timings.step_interval_ms / 1_000)
        self._links = self._make_links()
        follow_members(self.replica, self._links)
        self.replica.on_members.append(self._mark_founded)
        self._mark_founded()
        self._administration = Administration(
            self.replica,
            self._driver.wake,
            commit_s=timings.request_deadline_ms / 1_000,
            hand_over_s=_HAND_OVER_S,
        )
        server = self._make_server()
        web = self._make_web(server)
        self.replica_links.target = self._links
        memory = Memory(may_pause=lambda: not self.replica.raft.is_leader)
        try:
            await self._listen(server, web)
            self._driver.start()
            memory.start()
            self._say_up(web)
            await stop.wait()
            await self._administration.leave()
        finally:
            if web is not None:
                await web.close()
            await server.close()
            await self._links.close()
            self._driver.stop()
            memory.stop()
        return None if self._is_again else self._exit_code()

    def _mark_founded(self) -> None:
        if not self.replica.raft.committed_membership.is_founded:
            return
        try:
            self._mark.set()
        except StorageError as error:
            _log.error("not marked as a member, for the day its directory is lost: %s", error)

    async def _listen(self, server: ClientServer, web: WebServer | None) -> None:
        host, address = self.address.host, self.address
        with self._explained_port("raft_port", address.raft_port):
            await self._links.start(host, address.raft_port)
        with self._explained_port("client_port", address.client_port):
            await server.start(host, address.client_port)
        if web is not None and address.http_port:
            with self._explained_port("http_port", address.http_port):
                await web.start(host, address.http_port)

    def _say_up(self, web: WebServer | None) -> None:
        host, address = self.address.host, self.address
        _log.info(
            "node %d of cluster %s is up: peers %s:%d, clients %s:%d, applied %d of %d entries%s",
            address.node_id,
            self.config.name,
            host,
            address.raft_port,
            host,
            address.client_port,
            self.replica.raft.applied_index,
            self.replica.last_index,
            "" if web is None else f", http://{host}:{address.http_port}/",
        )

    def _exit_code(self) -> int:
        _log.info("node %d stopped", self.address.node_id)
        fence = self.replica.fence
        if fence is None:
            return 0
        return DIVERGED_EXIT if fence.kind is FenceKind.DIVERGED else FENCED_EXIT

    def _on_fenced(self, stop: asyncio.Event, retry_s: float) -> None:
        """Of all fences a full disk passes by itself: begin anew from the disk, as after a kill.

        Nothing that memory believes is kept: the journal is read and checked in full, and written
        through, before anybody acts on it. After any other failure of a sync that is no proof: the
        kernel may show pages that it could not write, and will not try to again.
        """
        fence = self.replica.fence
        if fence is not None and fence.kind is FenceKind.NO_SPACE:
            self._waiting = asyncio.get_running_loop().create_task(self._await_room(stop, retry_s))

    async def _await_room(self, stop: asyncio.Event, retry_s: float) -> None:
        while True:
            await asyncio.sleep(retry_s)
            if has_room(self._directory):
                break
            retry_s = min(2 * retry_s, _RETRY_MAX_S)
        _log.warning("node %d: the disk has room again, starting anew", self.address.node_id)
        self._is_again = True
        stop.set()

    # -- parts --------------------------------------------------------------------------------

    def _make_replica(self) -> Replica:
        config = self.config
        machine = Machine(genesis_of(config), entries_kept=config.bounds.entries_kept)
        self.replica_links = _LateLinks()
        self._maker = ForkedMaker(machine, self._snapshots)
        return Replica(
            self.node_id,
            configured_members(config),
            machine=machine,
            log=self._journal,
            snapshots=self._snapshots,
            maker=self._maker,
            links=self.replica_links,
            timings=raft_timings(config),
            bounds=replica_bounds(config),
            clock=time.monotonic,
            wall_ns=time.time_ns,
            rng=random.SystemRandom(),
            name_of=self._name_of,
        )

    def _name_of(self, node_id: int) -> str:
        """How a log line calls a node."""
        member = self.replica.raft.membership.get(node_id)
        place = "" if member is None else f" ({member.host}:{member.raft_port})"
        return f"node {node_id}{place}"

    def _make_links(self) -> PeerLinks:
        replica, driver = self.replica, self._driver

        def on_message(peer_id: int, message: dict[str, Any]) -> None:
            replica.receive(peer_id, message)
            driver.wake()

        def on_connected(peer_id: int) -> None:
            extra = {"event": "peer_connected", "fields": {"peer_id": peer_id}}
            _log.info("connected to %s", self._name_of(peer_id), extra=extra)
            card = self._links.card(peer_id)
            assert card is not None, f"connected to node {peer_id}, which has no card"
            replica.connected(peer_id, engine_version=card.engine_version)
            driver.wake()

        def on_disconnected(peer_id: int) -> None:
            extra = {"event": "peer_lost", "fields": {"peer_id": peer_id}}
            _log.info("lost %s", self._name_of(peer_id), extra=extra)
            replica.disconnected(peer_id)

        return PeerLinks(
            self._card,
            self._secret,
            peer_addresses(replica),
            link_settings(self.config),
            nonce=_nonce,
            on_message=on_message,
            on_connected=on_connected,
            on_disconnected=on_disconnected,
            on_removed=replica.retire,
            on_join=lambda node_id: answer_joiner(
                self.config, replica.raft.committed_membership, node_id
            ),
        )

    def _make_server(self) -> ClientServer:
        config = self.config
        verbs = MemberVerbs(self._administration)
        return ClientServer(
            self.replica,
            FeedHistory(config.bounds.feed_events_kept),
            Queries(self.replica, self._describe),
            client_bounds(config),
            cluster=(config.name, config.cluster_id),
            secrets=self._account_secrets(),
            wake=self._driver.wake,
            admin={
                "snapshot": self._take_snapshot,
                "transfer": verbs.transfer,
                "add": verbs.add,
                "remove": verbs.remove,
            },
            nonce=_nonce,
            unique=lambda: secrets.randbits(61) + 1,
        )

    def _make_web(self, server: ClientServer) -> WebServer | None:
        return make_web_server(
            self.config,
            self.address,
            server,
            describe=self._describe,
            cluster_secret=self._secret,
            secrets=self._account_secrets(),
            wall_ns=time.time_ns,
        )

    def _account_secrets(self) -> dict[str, str | None]:
        return {account.name: account.secret for account in self.config.accounts}

    def _describe(self) -> dict[str, Any]:
        """The parts of a status that only the composition root knows."""
        now = time.monotonic()
        return {
            "cluster": self.config.name,
            "cluster_id": self.config.cluster_id,
            "uptime_ms": int((now - self._started) * 1_000),
            "version": __version__,
            "members": member_rows(self.replica, self._links, now),
        }

    # -- what an operator may ask -------------------------------------------------------------

    async def _take_snapshot(self, arguments: dict[str, Any]) -> dict[str, int]:
        index = self.replica.start_snapshot()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + 60
        while self.replica.snapshot_index < index:
            failed = self.replica.snapshot_failed_index >= index
            if loop.time() > deadline or failed or self.replica.fence is not None:
                raise QueryError(Reject.NOT_READY, "the snapshot was not written; see the log")
            await asyncio.sleep(0.02)
        return {"snapshot_index": self.replica.snapshot_index}

    @contextlib.contextmanager
    def _explained_port(self, key: str, port: int) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ConfigError(
                file=str(self.config.path),
                table="nodes",
                key=key,
                problem=f"node {self.address.node_id} cannot listen on {self.address.host}:{port} "
                f"({error.strerror or error})",
                hint="stop what uses the port (is this node running already?) or write another",
            ) from error


class _LateLinks:
    """Stands in for the sockets until the loop runs."""

    target: PeerLinks | None = None

    def send(self, peer_id: int, messages: list[dict[str, Any]]) -> None:
        if self.target is not None:
            self.target.send(peer_id, messages)


def _nonce() -> bytes:
    return secrets.token_bytes(NONCE_BYTES)


def _allow_descriptors() -> None:
    """As many files and connections as this process may have, up to what is enough: a shell's
    limit, 1,024 as a rule, is less than two ports may hold, and without one nothing is stored.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))

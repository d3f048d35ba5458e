"""The composition root: configuration in, a running node out. The only file that knows everybody.

Owns what is built in which order, the node's files and its end. Nothing else in the package starts
anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import os
import random
import secrets
import signal
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from raftbook import __version__
from raftbook.config import ClusterConfig, NodeAddress
from raftbook.core.types import Reject
from raftbook.errors import ConfigError
from raftbook.feed.stream import FeedHistory
from raftbook.gateway.native import ClientBounds, ClientServer
from raftbook.gateway.queries import Queries, QueryError
from raftbook.genesis import genesis_digest, genesis_of
from raftbook.replica.driver import Driver
from raftbook.replica.links import LinkSettings, PeerLinks
from raftbook.replica.machine import Machine
from raftbook.replica.raft import RaftTimings
from raftbook.replica.replica import Replica, ReplicaBounds
from raftbook.replica.shipping import ForkedMaker
from raftbook.storage.atomic import create_exclusive, fsync_directory
from raftbook.storage.journal import Journal, JournalIdentity
from raftbook.storage.snapshots import SnapshotStore
from raftbook.wire.peer_session import NONCE_BYTES, PeerCard

__all__ = ["Node", "genesis_of", "load_secret", "node_directory", "run"]

_log = logging.getLogger("raftbook.node")

_GC_ALLOCATIONS: Final = 50_000
"""Orders live and die without reference cycles, so collections find nothing: make them rare."""
_SECRET_BYTES_MIN: Final = 16
_LEAVE_TIMEOUT_S: Final = 1.0


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
    _configure_log(log_format, node_id)
    gc.set_threshold(_GC_ALLOCATIONS, 20, 50)
    node = Node(config, node_id, data_dir=data_dir)
    try:
        return asyncio.run(node.run())
    finally:
        node.close()


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
        self.address = config.node(node_id)
        self._secret = load_secret(config)
        self._started = time.monotonic()
        digest = genesis_digest(config)
        directory = node_directory(config, node_id, data_dir)
        identity = JournalIdentity(config.cluster_id, node_id, digest)
        self._journal = Journal.open(directory, identity)
        try:
            self._snapshots = SnapshotStore(
                directory / "snapshots", cluster_id=config.cluster_id, genesis_digest=digest
            )
            self._card = PeerCard(config.cluster_id, digest, node_id, self._journal.incarnation)
            self.replica = self._make_replica()
        except BaseException:
            self._journal.close()
            raise

    def close(self) -> None:
        """Give the files back."""
        self._journal.close()

    async def run(self) -> int:
        """Serve until a signal comes."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        timings = self.config.timings
        self._driver = Driver(self.replica, step_interval_s=timings.step_interval_ms / 1_000)
        self._links = self._make_links()
        server = self._make_server()
        self.replica_links.target = self._links
        try:
            with self._explained_port("raft_port", self.address.raft_port):
                await self._links.start(self.address.host, self.address.raft_port)
            with self._explained_port("client_port", self.address.client_port):
                await server.start(self.address.host, self.address.client_port)
            self._driver.start()
            _log.info(
                "node %d of cluster %s is up: peers %s:%d, clients %s:%d, applied %d",
                self.address.node_id,
                self.config.name,
                self.address.host,
                self.address.raft_port,
                self.address.host,
                self.address.client_port,
                self.replica.raft.applied_index,
            )
            await stop.wait()
            await self._leave()
        finally:
            await server.close()
            await self._links.close()
            self._driver.stop()
        _log.info("node %d stopped", self.address.node_id)
        return 0

    # -- parts --------------------------------------------------------------------------------

    def _peers(self) -> list[NodeAddress]:
        return [node for node in self.config.nodes if node.node_id != self.address.node_id]

    def _make_replica(self) -> Replica:
        config = self.config
        timings, bounds = config.timings, config.bounds
        machine = Machine(genesis_of(config), entries_kept=bounds.entries_kept)
        members = tuple(node.node_id for node in config.nodes)
        self.replica_links = _LateLinks()
        return Replica(
            self.address.node_id,
            [peer.node_id for peer in self._peers()],
            machine=machine,
            log=self._journal,
            snapshots=self._snapshots,
            maker=ForkedMaker(machine, self._snapshots, members),
            links=self.replica_links,
            timings=RaftTimings(
                election_min_s=timings.election_timeout_min_ms / 1_000,
                election_max_s=timings.election_timeout_max_ms / 1_000,
                heartbeat_s=timings.heartbeat_interval_ms / 1_000,
                fallback_s=timings.leader_fallback_ms / 1_000,
            ),
            bounds=ReplicaBounds(
                entry_bytes_max=bounds.entry_bytes_max,
                entry_requests_max=bounds.entry_requests_max,
                requests_pending_max=bounds.requests_pending_max,
                snapshot_every_entries=bounds.snapshot_every_entries,
                snapshot_every_bytes=bounds.snapshot_every_bytes,
                request_deadline_s=timings.request_deadline_ms / 1_000,
            ),
            clock=time.monotonic,
            wall_ns=time.time_ns,
            rng=random.SystemRandom(),
        )

    def _make_links(self) -> PeerLinks:
        timings, bounds = self.config.timings, self.config.bounds
        settings = LinkSettings(
            handshake_timeout_s=timings.handshake_timeout_ms / 1_000,
            reconnect_min_s=timings.reconnect_min_ms / 1_000,
            reconnect_max_s=timings.reconnect_max_ms / 1_000,
            frame_bytes_max=bounds.frame_bytes_max,
            buffer_bytes_max=bounds.peer_buffer_bytes_max,
        )
        replica, driver = self.replica, self._driver

        def on_message(peer_id: int, message: dict[str, Any]) -> None:
            replica.receive(peer_id, message)
            driver.wake()

        def on_connected(peer_id: int) -> None:
            _log.info("connected to node %d", peer_id)
            replica.connected(peer_id)
            driver.wake()

        def on_disconnected(peer_id: int) -> None:
            _log.info("lost node %d", peer_id)
            replica.disconnected(peer_id)

        return PeerLinks(
            self._card,
            self._secret,
            {peer.node_id: (peer.host, peer.raft_port) for peer in self._peers()},
            settings,
            nonce=_nonce,
            on_message=on_message,
            on_connected=on_connected,
            on_disconnected=on_disconnected,
        )

    def _make_server(self) -> ClientServer:
        config = self.config
        timings, bounds = config.timings, config.bounds
        return ClientServer(
            self.replica,
            FeedHistory(bounds.feed_events_kept),
            Queries(self.replica, self._describe),
            ClientBounds(
                frame_bytes_max=bounds.frame_bytes_max,
                request_bytes_max=bounds.entry_bytes_max,
                request_commands_max=bounds.entry_requests_max,
                buffer_bytes_max=bounds.client_buffer_bytes_max,
                connections_max=bounds.connections_max,
                handshake_timeout_s=timings.handshake_timeout_ms / 1_000,
                idle_timeout_s=timings.idle_timeout_ms / 1_000,
                deadline_s=timings.request_deadline_ms / 1_000,
            ),
            cluster=(config.name, config.cluster_id),
            secrets={account.name: account.secret for account in config.accounts},
            wake=self._driver.wake,
            admin={"snapshot": self._take_snapshot, "transfer": self._transfer},
            nonce=_nonce,
            unique=lambda: secrets.randbits(61) + 1,
        )

    def _describe(self) -> dict[str, Any]:
        """The parts of a status that only the composition root knows."""
        now = time.monotonic()
        raft, links = self.replica.raft, self._links
        members = []
        for node in self.config.nodes:
            own = node.node_id == self.address.node_id
            heard = links.last_heard.get(node.node_id)
            members.append(
                {
                    "node_id": node.node_id,
                    "host": node.host,
                    "raft_port": node.raft_port,
                    "client_port": node.client_port,
                    "http_port": node.http_port,
                    "connected": own or links.is_connected(node.node_id),
                    "seen_ms_ago": _ms_since(now if own else heard, now),
                    "match_index": None if own else raft.match_index(node.node_id),
                }
            )
        return {
            "cluster": self.config.name,
            "cluster_id": self.config.cluster_id,
            "uptime_ms": int((now - self._started) * 1_000),
            "version": __version__,
            "members": members,
        }

    # -- what an operator may ask -------------------------------------------------------------

    async def _take_snapshot(self, arguments: dict[str, Any]) -> dict[str, int]:
        index = self.replica.start_snapshot()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + 60
        while self.replica.snapshot_index < index:
            if loop.time() > deadline or self.replica.fenced:
                raise QueryError(Reject.NOT_READY, "the snapshot was not written; see the log")
            await asyncio.sleep(0.02)
        return {"snapshot_index": self.replica.snapshot_index}

    async def _transfer(self, arguments: dict[str, Any]) -> dict[str, int | None]:
        raft = self.replica.raft
        if not raft.is_leader:
            raise QueryError(Reject.NOT_READY, f"ask the leader, node {raft.leader_id}")
        wanted = arguments.get("to")
        if wanted is not None and wanted not in self.replica.peer_ids:
            raise QueryError(Reject.MALFORMED, f"node {wanted!r} is no follower here")
        candidates = self.replica.peer_ids if wanted is None else (wanted,)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _LEAVE_TIMEOUT_S
        while loop.time() < deadline:
            if any(raft.transfer_to(peer_id) for peer_id in candidates):
                self._driver.wake()
            await asyncio.sleep(0.05)
            if raft.leader_id not in (None, self.address.node_id):
                return {"leader_id": raft.leader_id}
        raise QueryError(Reject.NOT_READY, "no follower is caught up and took over; try again")

    async def _leave(self) -> None:
        """Hand leadership over before stopping, so that nobody waits for an election timeout."""
        if self.replica.raft.is_leader and self.replica.peer_ids:
            with contextlib.suppress(QueryError):
                await self._transfer({})

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


def _ms_since(moment: float | None, now: float) -> int | None:
    return None if moment is None else int((now - moment) * 1_000)


def _nonce() -> bytes:
    return secrets.token_bytes(NONCE_BYTES)


def load_secret(config: ClusterConfig) -> bytes:
    """The cluster secret; made on first use when all nodes are on this machine.

    Raises:
        ConfigError: missing where it cannot be made, too short, or readable by others.
    """
    path = config.secret_file
    if not path.exists() and all(_is_loopback(node.host) for node in config.nodes):
        with contextlib.suppress(FileExistsError):
            _create_secret(path)
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        secret = path.read_bytes().strip()
    except OSError as error:
        raise _secret_error(
            config,
            f"{path} cannot be read ({error.strerror})",
            "copy the file that `raftbook init` wrote to every node, mode 0600",
        ) from error
    if mode & 0o077:
        raise _secret_error(config, f"{path} is readable by others", f"chmod 600 {path}")
    if len(secret) < _SECRET_BYTES_MIN:
        raise _secret_error(
            config,
            f"{path} holds {len(secret)} bytes",
            f"a secret has at least {_SECRET_BYTES_MIN}: remove the file on all nodes, "
            "make one with `raftbook init` and copy it",
        )
    return secret


def _create_secret(path: Path) -> None:
    """Write a new secret whole: another node that starts now sees all of it or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = create_exclusive(temporary)
    try:
        os.write(descriptor, secrets.token_hex(32).encode() + b"\n")
        os.fsync(descriptor)
        os.link(temporary, path)
    finally:
        os.close(descriptor)
        temporary.unlink()
    fsync_directory(path.parent)


def _secret_error(config: ClusterConfig, problem: str, hint: str) -> ConfigError:
    return ConfigError(
        file=str(config.path), table="cluster", key="secret_file", problem=problem, hint=hint
    )


def _is_loopback(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")


class _JsonFormatter(logging.Formatter):
    def __init__(self, node_id: int) -> None:
        super().__init__()
        self._node_id = node_id

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "node": self._node_id,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


def _configure_log(log_format: str, node_id: int) -> None:
    handler = logging.StreamHandler(sys.stderr)
    if log_format == "json":
        handler.setFormatter(_JsonFormatter(node_id))
    else:
        formatter = logging.Formatter(
            f"%(asctime)s.%(msecs)03dZ node {node_id} %(levelname)s %(message)s",
            "%Y-%m-%dT%H:%M:%S",
        )
        formatter.converter = time.gmtime
        handler.setFormatter(formatter)
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("pysyncobj").setLevel(logging.WARNING)

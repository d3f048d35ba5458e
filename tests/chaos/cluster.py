"""The nodes of a chaos run: real processes of one configuration, led to each other by proxies.

Owns the folder, the processes, the proxies, the small disks, and the rule of who touches a node:
one lock each, so that nobody thaws what another has frozen. Must not know when anything happens:
`nemeses.py` does.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from raftbook.config import AccountConfig, InstrumentConfig, NodeAddress, Timings
from tests.chaos.bent_node import bend_roads, write_roads, write_skew
from tests.chaos.proxy import Proxies
from tests.e2e import venue
from tests.e2e.cluster import Cluster, Trouble, Wire
from tests.e2e.ports import HOST, free_ports

LOAD_SYMBOLS = ("BTC-USD", "ETH-USD")
LOAD_ACCOUNTS = ("alice", "bob", "carol")
PROBE_ACCOUNTS = ("anna", "ben", "cleo")
ACCOUNTS = (
    AccountConfig("demo", operator=True),
    *(AccountConfig(name) for name in (*LOAD_ACCOUNTS, *PROBE_ACCOUNTS)),
    *(account for account in venue.ACCOUNTS if account.name != "demo"),
)
BOUNDS = {
    **venue.BOUNDS,
    # The book model of the windows knows no such limit.
    "fills_max": 1_000,
    # Often enough that nodes are caught up by snapshots, and that logs are trimmed.
    "snapshot_every_entries": 3_000,
    # A closed order must be remembered while its window is open, whatever else its account does.
    "closed_orders_max": 20_000,
}
PATIENT = (
    "election_timeout_min_ms",
    "election_timeout_max_ms",
    "heartbeat_interval_ms",
    "leader_fallback_ms",
)
"""What is longer on a machine where nodes have to wait for a processor for longer than that."""
DISK_MIB = 96
_CLONE_NEWNS = 0x0002_0000  # linux/sched.h
APPLIED = "applied"
_NODE = "tests.chaos.bent_node"
_ROOT = Path(__file__).resolve().parents[2]


def window_symbol(number: int) -> str:
    """The instrument of a probe window; each lives for one window."""
    return f"W{number:04d}-USD"


def instruments(windows: int) -> list[InstrumentConfig]:
    """The instruments of a run."""
    symbols = [*LOAD_SYMBOLS, *map(window_symbol, range(windows))]
    tick, lot = Decimal("0.01"), Decimal("0.001")
    return [InstrumentConfig(symbol, symbol[:-4], "USD", tick, lot) for symbol in symbols]


class ChaosCluster(Cluster):
    """Nodes behind proxies; use it as a context manager, nothing runs at first.

    Attributes:
        proxies: links "1-2" from node 1 to node 2, "c-1" from the clients to node 1.
        locks: hold a node's while you do something to its process or its files.
        is_direct: without any proxy, to measure what they would disturb.
        slow: how many times longer elections are than by default.
        fault: makes the nodes broken ones, for tests of the harness; see `broken_node.py`.
        ids: the members; `all_ids` are those and the ones that were removed.
        small_disks: the nodes whose data lies on a small disk of its own.
        expected_down: the nodes whose process may be gone.
    """

    def __init__(
        self,
        folder: Path,
        *,
        size: int = 3,
        windows: int = 60,
        fault: str = "",
        is_direct: bool = False,
        slow: int = 1,
    ) -> None:
        super().__init__(
            folder,
            size=size,
            bounds=BOUNDS | {"instruments_max": max(1_000, 2 * windows)},
            timings={name: slow * getattr(Timings(), name) for name in PATIENT},
            accounts=ACCOUNTS,
            instruments=instruments(windows),
            cluster_id="chaos-1",
        )
        self.window_count, self._fault, self._is_direct = windows, fault, is_direct
        self.slow = slow
        self.all_ids = self.ids
        self._starts = 0
        self.small_disks: set[int] = set()
        self.expected_down: set[int] = set(self.ids)
        self.locks = {node_id: asyncio.Lock() for node_id in self.ids}
        self._machines: dict[int, NodeAddress] = {}
        self._peer_ports: dict[tuple[int, int], int] = {}
        self._client_roads: dict[int, int] = {}
        self.proxies = Proxies(self._lay_roads(self.ids))

    def _lay_roads(self, newcomers: Sequence[int]) -> dict[str, tuple[int, int]]:
        """The links to and from new nodes, which all that dial are led to from now on."""
        links: dict[str, tuple[int, int]] = {}
        for node_id in [] if self._is_direct else newcomers:
            others = [other for other in self.all_ids if other != node_id]
            pairs = [*((node_id, other) for other in others), *((a, node_id) for a in others)]
            pairs = [pair for pair in pairs if pair not in self._peer_ports]
            client_port = self.address(node_id).client_port
            self._client_roads[client_port], *ports = free_ports(1 + len(pairs))
            links[f"c-{node_id}"] = (self._client_roads[client_port], client_port)
            for (a, b), port in zip(pairs, ports, strict=True):
                self._peer_ports[a, b] = port
                links[f"{a}-{b}"] = (port, self.address(b).raft_port)
        for node_id in self.all_ids:
            roads = {
                self.address(b).raft_port: port
                for (a, b), port in self._peer_ports.items()
                if a == node_id
            }
            write_roads(self._roads_path(node_id), roads)
        for node_id in newcomers:
            write_skew(self._skew_path(node_id), 0)
        return links

    def _roads_path(self, node_id: int) -> Path:
        return self.folder / f"roads-{node_id}.json"

    def _skew_path(self, node_id: int) -> Path:
        return self.folder / f"clock-{node_id}"

    def __enter__(self) -> ChaosCluster:
        self.proxies.__enter__()
        self._unbend = bend_roads(lambda: self._client_roads)  # clients run in this process
        return self

    def __exit__(self, *exc_info: Any) -> None:
        try:
            for node_id in self.running:
                with contextlib.suppress(ProcessLookupError):
                    self.thaw(node_id)
            super().__exit__(None, None, None)
        finally:
            self._unbend()
            self.proxies.__exit__()
            for node_id in sorted(self.small_disks):
                self._unmount(node_id)

    # -- members ------------------------------------------------------------------------------

    @property
    def removed_ids(self) -> list[int]:
        """The nodes that were members once."""
        return [node_id for node_id in self.all_ids if node_id not in self.ids]

    def address(self, node_id: int) -> NodeAddress:
        return self._machines.get(node_id) or super().address(node_id)

    def new_machine(self) -> NodeAddress:
        """A machine that no member knows of, with nothing but the secret."""
        node_id = max(self.all_ids) + 1
        address = NodeAddress(node_id, HOST, *free_ports(2))
        self._machines[node_id] = address
        folder = self.config_path(node_id).parent
        folder.mkdir()
        shutil.copy(self.config.secret_file, folder)
        self.all_ids += (node_id,)
        self.locks[node_id] = asyncio.Lock()
        self.expected_down.add(node_id)
        links = self._lay_roads((node_id,))
        if links:
            self.proxies.add(links)
        return address

    def config_path(self, node_id: int) -> Path:
        """The cluster.toml of a node: a machine that joins writes its own."""
        joined = self.folder / f"machine-{node_id}" / self.path.name
        return joined if node_id in self._machines else self.path

    def members(self) -> dict[int, bool] | None:
        """Id -> whether it votes, as the newest leader and as many as are a majority say."""
        told = {
            node_id: {row["node_id"]: row["voter"] for row in status["members"]}
            for node_id, status in self.statuses()
            if status["fence"] is None
        }
        leader = self.leader()
        if leader is None or leader[0] not in told:
            return None
        members = told[leader[0]]
        agreeing = [node_id for node_id in members if told.get(node_id) == members]
        voters = sum(members.values())
        return members if 2 * sum(members[one] for one in agreeing) > voters else None

    def operate(self, *words: str) -> tuple[int, str]:
        """`raftbook cluster ...` on a machine of a member; exit code, and what was said."""
        config = self.config_path(max(self.running, default=1))
        command = [sys.executable, "-m", "raftbook_cli.main", "cluster", *words]
        done = subprocess.run(
            [*command, "--config", str(config)], capture_output=True, text=True, timeout=90,
            check=False, env={**os.environ, "PYTHONPATH": str(_ROOT)},
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    # -- processes ----------------------------------------------------------------------------

    def _command(self, node_id: int, config: Path | None = None) -> Sequence[str]:
        module = ["tests.chaos.broken_node", self._fault] if self._fault else [_NODE]
        self._starts += 1
        applied = self.folder / APPLIED / f"{self._starts:04d}-node-{node_id}"
        world = [str(self._skew_path(node_id)), str(self._roads_path(node_id)), str(applied)]
        path = config or self.config_path(node_id)
        program = [sys.executable, "-m", *module, *world]
        words = ["node", "--config", str(path), "--id", str(node_id)]
        if node_id in self._machines:
            words += ["--data-dir", str(self.config.data_dir)]
            if not path.exists():
                words += ["--join", f"{HOST}:{self.address(self._via).raft_port}"]
        return [*program, *words]

    _via = 1

    def join(self, node_id: int, *, via: int) -> None:
        """Start a new machine, which asks a member for its configuration."""
        self._via = via
        self.start(node_id)

    def start(self, *node_ids: int) -> None:
        for node_id in node_ids or self.ids:
            self.expected_down.discard(node_id)
            with open(self._log_path(node_id), "ab") as log:
                self._processes[node_id] = subprocess.Popen(
                    self._command(node_id),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=self.folder,
                    env={**os.environ, "PYTHONPATH": str(_ROOT)},
                )

    def kill(self, node_id: int) -> None:
        self.expected_down.add(node_id)
        super().kill(node_id)

    def stop(self, node_id: int) -> int:
        self.expected_down.add(node_id)
        return super().stop(node_id)

    def forget(self, node_id: int) -> int | None:
        """Take note of a process that has ended by itself; its exit code."""
        self.expected_down.add(node_id)
        return self._processes.pop(node_id).poll()

    def gone(self) -> list[int]:
        """Nodes whose process has ended although nobody ended it."""
        return [
            node_id
            for node_id, process in list(self._processes.items())
            if process.poll() is not None and node_id not in self.expected_down
        ]

    def pid(self, node_id: int) -> int:
        """Of a running node."""
        return self._processes[node_id].pid

    def set_clock(self, node_id: int, skew_ns: int) -> None:
        """Let a node's wall clock jump."""
        write_skew(self._skew_path(node_id), skew_ns)

    # -- disks --------------------------------------------------------------------------------

    def mount_small_disk(self, node_id: int) -> str:
        """Give a node that has no files yet a small disk of its own; why not, if it cannot be."""
        directory = self.directory(node_id)
        directory.mkdir(parents=True, exist_ok=True)
        problem = _keep_mounts_to_ourselves()
        if problem:
            return problem
        command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m,mode=0700", "tmpfs"]
        try:
            done = subprocess.run([*command, str(directory)], capture_output=True, check=False)
        except OSError as error:
            return f"mount: {error}"
        if done.returncode:
            return done.stderr.decode().strip() or f"mount ended with {done.returncode}"
        self.small_disks.add(node_id)
        return ""

    def _unmount(self, node_id: int) -> None:
        """Bring the files of a small disk back where a post-mortem finds them."""
        directory = self.directory(node_id)
        kept = directory.with_name(f"{directory.name}.kept")
        shutil.copytree(directory, kept, ignore=shutil.ignore_patterns("ballast"))
        done = subprocess.run(["umount", "-l", str(directory)], capture_output=True, check=False)
        if not done.returncode:
            directory.rmdir()
            kept.rename(directory)

    def fill_disk(self, node_id: int) -> int:
        """Write until nothing more fits; the bytes."""
        written = 0
        with open(self.directory(node_id) / "ballast", "ab", buffering=0) as file:
            for size in (1 << 20, 1 << 12, 1):
                with contextlib.suppress(OSError):
                    while True:
                        written += file.write(b"x" * size)
        return written

    def free_disk(self, node_id: int) -> None:
        """Give the space back."""
        (self.directory(node_id) / "ballast").unlink(missing_ok=True)

    def wipe(self, node_id: int) -> None:
        """Lose a stopped node's files; a mounted disk itself stays."""
        assert node_id not in self._processes, f"node {node_id} runs"
        for path in self.directory(node_id).iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()

    # -- questions that may go unanswered -----------------------------------------------------

    def ask(self, node_id: int, name: str, account: str = "", **arguments: Any) -> Any:
        """A query that waits a second at most; None if the node does not answer it."""
        try:
            with Wire(self.address(node_id).client_port, timeout_s=1.0) as wire:
                wire.greet(account)
                return wire.query(name, **arguments)
        except (OSError, Trouble):
            return None

    def statuses(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """What each running node says of itself, as far as it answers."""
        for node_id in self.running:
            status = self.ask(node_id, "status")
            if status is not None:
                yield node_id, status

    def leader(self) -> tuple[int, int] | None:
        """(leader, term) as the newest term that anybody knows has it."""
        best: tuple[int, int] | None = None
        for node_id, status in self.statuses():
            if status["role"] == "leader" and (best is None or status["term"] > best[1]):
                best = (node_id, status["term"])
        return best

    def open_files(self, node_id: int) -> int:
        """Open descriptors of a node."""
        return len(os.listdir(f"/proc/{self.pid(node_id)}/fd"))

    def cpu_wait_s(self, node_id: int) -> float:
        """How long a node has been ready to run without being let to, since it started."""
        path = Path(f"/proc/{self.pid(node_id)}/schedstat")
        return int(path.read_text().split()[1]) / 1e9 if path.exists() else 0.0

    def memory_kib(self, node_id: int) -> int:
        """Resident memory of a node."""
        for line in Path(f"/proc/{self.pid(node_id)}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
        return 0


def _keep_mounts_to_ourselves() -> str:
    """Mounts of this process and its children are nobody else's, and end with them, however they
    end; why not, if it cannot be.
    """
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNS):
        return f"unshare: {os.strerror(ctypes.get_errno())}"
    command = ["mount", "--make-rprivate", "/"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stderr.strip()

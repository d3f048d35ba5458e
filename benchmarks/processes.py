"""A cluster of real node processes in a temporary directory, for measurements."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from raftbook.client import Client
from raftbook.errors import RaftbookError

NODE_IDS = (1, 2, 3)


class Nodes:
    """Three nodes of one cluster on this machine, each synced to disk."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.ports = free_ports(6)
        self.config = directory / "cluster.toml"
        self.config.write_text(_config_text(self.ports))
        self.running: dict[int, subprocess.Popen[bytes]] = {}

    def address(self, node_id: int) -> tuple[str, int]:
        """Where clients reach a node."""
        return "127.0.0.1", self.ports[3 + node_id - 1]

    def addresses(self) -> list[tuple[str, int]]:
        """Where clients reach the nodes."""
        return [self.address(node_id) for node_id in NODE_IDS]

    def start(self, node_id: int) -> None:
        """Start one node process; its output goes to a file beside its data."""
        with open(self.directory / f"node-{node_id}.log", "ab") as log:
            self.running[node_id] = subprocess.Popen(
                [sys.executable, "-c", _NODE, str(self.config), str(node_id)], stderr=log
            )

    def kill(self, node_id: int) -> None:
        """kill -9."""
        process = self.running.pop(node_id)
        process.send_signal(signal.SIGKILL)
        process.wait()

    def stop(self) -> None:
        """End all of them."""
        for process in self.running.values():
            process.terminate()
        for process in self.running.values():
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def leader(self, deadline_s: float = 15.0) -> int:
        """The id of the leader once there is one."""
        end = time.monotonic() + deadline_s
        while time.monotonic() < end:
            for node_id in self.running:
                with contextlib.suppress(RaftbookError, OSError):
                    with Client([self.address(node_id)], timeout_s=1.0) as client:
                        leader_id = client.status()["leader_id"]
                    if leader_id in self.running:
                        return int(leader_id)
            time.sleep(0.05)
        raise TimeoutError(f"no leader after {deadline_s} s; see {self.directory}")


@contextlib.contextmanager
def cluster() -> Iterator[Nodes]:
    """Three running nodes with a leader; everything is gone afterwards."""
    with TemporaryDirectory(prefix="raftbook-bench-") as name:
        nodes = Nodes(Path(name))
        try:
            for node_id in NODE_IDS:
                nodes.start(node_id)
            nodes.leader()
            yield nodes
        finally:
            nodes.stop()


_NODE = """
import sys
from pathlib import Path
from raftbook.config import load_config
from raftbook.node import run
sys.exit(run(load_config(Path(sys.argv[1])), int(sys.argv[2])))
"""


def _config_text(ports: list[int]) -> str:
    lines = ['[cluster]\nname = "bench"\nid = "bench"\ndata_dir = "data"']
    lines.append('secret_file = "cluster.secret"\ndefault_account = "bench"\n')
    for position, node_id in enumerate(NODE_IDS):
        raft, client = ports[position], ports[3 + position]
        lines.append(f'[[nodes]]\nid = {node_id}\nhost = "127.0.0.1"\nraft_port = {raft}')
        lines.append(f"client_port = {client}\n")
    lines.append('[[instruments]]\nsymbol = "BTC-USD"\nbase = "BTC"\nquote = "USD"')
    lines.append('tick_size = "0.01"\nlot_size = "0.001"\n')
    lines.append('[[accounts]]\nname = "bench"\noperator = true\n')
    return "\n".join(lines)


def free_ports(count: int) -> list[int]:
    """Loopback ports that are free now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for opened in sockets:
            opened.bind(("127.0.0.1", 0))
        return [opened.getsockname()[1] for opened in sockets]

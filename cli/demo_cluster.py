"""The cluster of a demo: a folder, a configuration, and node processes that really run.

Owns the processes it started, and only those: whatever happens, they end with it. Must not know
the story that is told with them.
"""

from __future__ import annotations

import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from raftbook.config import AccountConfig, ClusterConfig, load_config, render_config
from raftbook.config_template import FIRST_BALANCES
from raftbook.node import node_directory
from raftbook.storage.atomic import create_exclusive

from .demo_page import VISITOR
from .init import CONFIG_NAME, SECRET_NAME, free_nodes
from .outcomes import CommandFailed, ExitCode

STOP_TIMEOUT_S: Final = 5.0
LOG_LINES_SHOWN: Final = 5

# Everything a demo does stays in the journals, so that at the end every order can be found there.
_BOUNDS: Final = """
[bounds]
entries_kept = 1000000
snapshot_every_entries = 10000000
snapshot_every_bytes = 4294967296
"""


class DemoCluster:
    """Nodes of one demo; use it as a context."""

    def __init__(self, node_count: int, account_names: list[str], directory: Path | None) -> None:
        """Writes the configuration; starts nothing.

        Args:
            directory: kept afterwards; None is a temporary one.

        Raises:
            CommandFailed: the folder holds a cluster already, or cannot be written.
        """
        self._is_temporary = directory is None
        self.directory = Path(tempfile.mkdtemp(prefix="raftbook-demo-")) if directory is None else (
            directory
        )  # fmt: skip
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        try:
            self.config = self._write(node_count, account_names)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> DemoCluster:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @property
    def node_ids(self) -> list[int]:
        return [node.node_id for node in self.config.nodes]

    def start(self, node_id: int) -> None:
        """Starts one node as a process of its own; its log goes to a file."""
        with open(self.log_path(node_id), "ab") as log:
            self._processes[node_id] = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    f"{__package__}.main",
                    "node",
                    "--id",
                    str(node_id),
                    "--config",
                    str(self.config.path),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the demo, which then stops its nodes
            )

    def kill(self, node_id: int) -> float:
        """SIGKILL: no goodbye, no flush. Returns when (monotonic seconds)."""
        process = self._processes.pop(node_id)
        process.kill()
        at = time.monotonic()
        process.wait()
        return at

    def check_running(self) -> None:
        """Refuses to go on when a node ended by itself.

        Raises:
            CommandFailed: quotes the end of its log.
        """
        for node_id, process in self._processes.items():
            code = process.poll()
            if code is not None:
                lines = self.log_path(node_id).read_text(errors="replace").splitlines()
                raise CommandFailed(
                    ExitCode.NOT_ACCEPTED,
                    f"demo: node {node_id} ended with {code}: "
                    f"{' | '.join(lines[-LOG_LINES_SHOWN:])}",
                    hint=f"run it alone to see more: raftbook node --id {node_id} "
                    f"--config {self.config.path}{' (keep it with --dir)' * self._is_temporary}",
                )

    def stop(self) -> bool:
        """Stops every node; whether all of them ended well."""
        processes, self._processes = self._processes, {}
        for process in processes.values():
            process.send_signal(signal.SIGTERM)
        give_up = time.monotonic() + STOP_TIMEOUT_S
        is_well = True
        for process in processes.values():
            try:
                is_well &= process.wait(max(0.0, give_up - time.monotonic())) == 0
            except subprocess.TimeoutExpired:
                is_well = False
            finally:
                if process.poll() is None:
                    process.kill()
                    process.wait()
        return is_well

    def close(self) -> None:
        """Stops what still runs and removes a temporary folder."""
        self.stop()
        if self._is_temporary:
            shutil.rmtree(self.directory, ignore_errors=True)

    def log_path(self, node_id: int) -> Path:
        return self.directory / f"node-{node_id}.log"

    def data_path(self, node_id: int) -> Path:
        return node_directory(self.config, node_id)

    def _write(self, node_count: int, account_names: list[str]) -> ClusterConfig:
        path = self.directory / CONFIG_NAME
        if path.exists():
            raise CommandFailed(
                ExitCode.USAGE,
                f"demo: {path} exists and is not overwritten",
                hint="choose another folder with --dir",
            )
        accounts = [
            AccountConfig("demo", operator=True, balances=FIRST_BALANCES),
            AccountConfig(VISITOR, balances=FIRST_BALANCES),
            *(AccountConfig(name, balances=FIRST_BALANCES) for name in account_names),
        ]
        text = render_config(
            nodes=free_nodes(node_count), accounts=accounts, secret_file=SECRET_NAME
        )
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            with open(create_exclusive(self.directory / SECRET_NAME), "w") as file:
                file.write(secrets.token_hex(32) + "\n")
            path.write_text(text + _BOUNDS, encoding="utf-8")
        except OSError as error:
            raise CommandFailed(
                ExitCode.USAGE,
                f"demo: cannot write to {self.directory}: {error.strerror}",
                hint="choose a folder you may write with --dir",
            ) from None
        return load_config(path)

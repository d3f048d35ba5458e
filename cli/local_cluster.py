"""A cluster on this machine: a folder, a configuration, and node processes that really run.

Owns the processes it started, and only those: whatever happens, they end with it. Must not know
what they are used for.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from raftbook.config import ClusterConfig, load_config
from raftbook.node import node_directory
from raftbook.storage.atomic import create_exclusive

from .init import CONFIG_NAME, SECRET_NAME
from .outcomes import CommandFailed, ExitCode

STOP_TIMEOUT_S: Final = 5.0
LOG_LINES_SHOWN: Final = 5


@contextmanager
def _signals_wait() -> Iterator[None]:
    """Ctrl-C and SIGTERM come afterwards: a process that has just begun must be known, or nobody
    ends it."""
    came: list[int] = []
    signals = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(each, lambda number, _: came.append(number)) for each in signals]
    try:
        yield
    finally:
        for each, handler in zip(signals, before, strict=True):
            signal.signal(each, handler)
        for number in came:
            signal.raise_signal(number)


class LocalCluster:
    """Nodes of one cluster; use it as a context."""

    def __init__(
        self,
        purpose: str,
        config_text: str,
        directory: Path | None,
        *,
        python: str = sys.executable,
        keeps_by: str = "",
    ) -> None:
        """Writes the configuration; starts nothing.

        Args:
            purpose: the verb, in what is said when something fails.
            directory: kept afterwards; None is a temporary one.
            python: the interpreter that runs the nodes.
            keeps_by: the verb's option by which the folder is kept, if it has one.

        Raises:
            CommandFailed: the folder holds a cluster already, or cannot be written.
        """
        self._purpose, self._python = purpose, os.path.abspath(python)
        self._keeps_by = keeps_by
        self._is_temporary = directory is None
        self.directory = (
            Path(tempfile.mkdtemp(prefix=f"raftbook-{purpose}-"))
            if directory is None
            else directory
        )
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        try:
            self.config = self._write(config_text)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> LocalCluster:
        # Whoever ends the verb politely gets the same clean end as with Ctrl-C.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @property
    def node_ids(self) -> list[int]:
        return [node.node_id for node in self.config.nodes]

    @property
    def running_ids(self) -> list[int]:
        """Those that were started and not killed."""
        return list(self._processes)

    def start(self, node_id: int) -> None:
        """Starts one node as a process of its own; its log goes to a file."""
        with open(self.log_path(node_id), "ab") as log, _signals_wait():
            self._processes[node_id] = subprocess.Popen(
                [
                    self._python,
                    "-m",
                    f"{__package__}.main",
                    "node",
                    "--id",
                    str(node_id),
                    "--config",
                    str(self.config.path),
                ],
                cwd=self.directory,  # not where the sources of another build may stand
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the verb, which then stops its nodes
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
                    f"{self._purpose}: node {node_id} ended with {code}: "
                    f"{' | '.join(lines[-LOG_LINES_SHOWN:])}",
                    hint=self._hint(node_id),
                )

    def _hint(self, node_id: int) -> str:
        """How to see more of a node that ended; its folder may be gone by then."""
        if self._is_temporary:
            return f"keep the folder with {self._keeps_by}" if self._keeps_by else ""
        return f"run it alone to see more: raftbook node --id {node_id} --config {self.config.path}"

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

    def pid(self, node_id: int) -> int:
        """The process of a running node."""
        return self._processes[node_id].pid

    def log_path(self, node_id: int) -> Path:
        return self.directory / f"node-{node_id}.log"

    def data_path(self, node_id: int) -> Path:
        return node_directory(self.config, node_id)

    def _write(self, config_text: str) -> ClusterConfig:
        path = self.directory / CONFIG_NAME
        if path.exists():
            raise CommandFailed(
                ExitCode.USAGE,
                f"{self._purpose}: {path} exists and is not overwritten",
                hint="choose another folder with --dir",
            )
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            with open(create_exclusive(self.directory / SECRET_NAME), "w") as file:
                file.write(secrets.token_hex(32) + "\n")
            path.write_text(config_text, encoding="utf-8")
        except OSError as error:
            raise CommandFailed(
                ExitCode.USAGE,
                f"{self._purpose}: cannot write to {self.directory}: {error.strerror}",
                hint="choose a folder you may write, by TMPDIR for a temporary one",
            ) from None
        return load_config(path)

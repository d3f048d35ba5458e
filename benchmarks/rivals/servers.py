"""Servers of others: found or said to be absent, started, stopped by their own handles."""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType

STOP_S = 15.0


class Absent(Exception):
    """What this rival needs is not here; the message says what to install."""


class Failed(Exception):
    """The rival's server did not start or did not last; the message ends with what it said."""


def program(name: str, *, package: str, places: Sequence[str] = ()) -> str:
    """The path of a server's program.

    Args:
        package: what to install on Debian or Ubuntu when it is missing.
        places: patterns of further paths, for what Debian keeps outside of PATH.
    """
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if found is None:
        root = Path("/")
        paths = [path for pattern in places for path in root.glob(pattern.lstrip("/"))]
        found = str(max(paths, key=_major_version)) if paths else None
    if found is None:
        raise Absent(f"{name} is not installed: apt-get install {package}")
    return found


def _major_version(path: Path) -> int:
    return max((int(part) for part in path.parts if part.isdigit()), default=0)


def client_module(name: str) -> ModuleType:
    """A client library out of the extra `rivals`."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise Absent(f"{error.name} is not installed: pip install -e '.[rivals]'") from error


def version_of(distribution: str) -> str:
    """The installed version of a Python distribution."""
    return f"{distribution} {importlib.metadata.version(distribution)}"


def first_line(*command: str) -> str:
    """What a program says first; how they tell their version."""
    said = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    return said.stdout.strip().splitlines()[0]


class Servers:
    """Processes of one rival in one directory, which is gone afterwards."""

    def __init__(self, directory: Path, user: str | None = None) -> None:
        self.directory = directory
        self.user = user
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def run(self, *command: str) -> None:
        """One command to its end, as the servers' user."""
        done = subprocess.run(
            command, cwd=self.directory, capture_output=True, text=True, user=self.user, timeout=120
        )
        if done.returncode != 0:
            raise Failed(f"{command[0]} ended with {done.returncode}: {done.stderr.strip()[-500:]}")

    def start(self, name: str, command: Sequence[str]) -> None:
        """Start a server; its output goes to a file beside its data."""
        with open(self.directory / f"{name}.log", "ab") as log:
            self._running[name] = subprocess.Popen(
                command,
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                user=self.user,
            )

    def wait(self, name: str) -> int:
        """The exit code of a server that ends by itself."""
        return self._running[name].wait(timeout=STOP_S)

    def check(self) -> None:
        """Raises when a server is no longer there, with what it said last."""
        for name, process in self._running.items():
            if process.poll() is not None:
                said = (self.directory / f"{name}.log").read_text(errors="replace").strip()
                raise Failed(f"{name} ended with {process.returncode}: {said[-500:]}")

    def stop(self) -> None:
        """End all of them."""
        for process in self._running.values():
            process.terminate()
        for process in self._running.values():
            try:
                process.wait(timeout=STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextlib.contextmanager
def servers(name: str, user: str | None = None) -> Iterator[Servers]:
    """A temporary directory for the servers of one rival; they are stopped, and it is removed.

    Args:
        user: who runs them and owns the directory, for servers that refuse to be root.
    """
    with TemporaryDirectory(prefix=f"raftbook-{name}-") as directory:
        if user is not None:
            shutil.chown(directory, user)
        started = Servers(Path(directory), user)
        try:
            yield started
        finally:
            started.stop()


def plain_user(*names: str) -> str | None:
    """Who runs a server that refuses to be root: the first of these users; None when not root."""
    if os.geteuid() != 0:
        return None
    for name in names:
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    raise Absent(f"root may not run this server, and none of the users {', '.join(names)} exists")


def free_ports(count: int) -> list[int]:
    """Loopback ports that are free now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for opened in sockets:
            opened.bind(("127.0.0.1", 0))
        return [opened.getsockname()[1] for opened in sockets]

"""Ports for nodes that tests start, stop and start again.

A node that is down holds no port, and would lose it to whoever draws the same number meanwhile. So
a process draws each number once, and keeps it from every other run of tests by the same user until
it ends: each port has its byte in one file, which its holder keeps locked.
"""

import contextlib
import fcntl
import functools
import itertools
import os
import random
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

HOST = "127.0.0.1"
PORTS = range(15_000, 32_000)
"""Below those that the system gives to outgoing connections."""


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on, which no other process nor a later call here is given."""
    ports = list(itertools.islice(_drawn(), count))
    assert len(ports) == count, f"this process has drawn all of {PORTS}"
    return ports


@functools.cache
def _drawn() -> Iterator[int]:
    path = Path(tempfile.gettempdir(), f"raftbook-test-ports-{os.getuid()}")
    locks = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    drawn = random.Random(os.urandom(8)).sample(PORTS, len(PORTS))
    return (port for port in drawn if _hold(locks, port) and _is_free(port))


def _hold(locks: int, port: int) -> bool:
    with contextlib.suppress(OSError):
        fcntl.lockf(locks, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
        return True
    return False


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):
            probe.bind((HOST, port))
            return True
    return False

"""The secret that the nodes of one cluster share: found, checked, or made on first use.

Owns the file's rules. Must not know what is proven with the secret.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from pathlib import Path
from typing import Final

from raftbook.config import ClusterConfig
from raftbook.errors import ConfigError
from raftbook.storage.atomic import create_exclusive, fsync_directory
from raftbook.storage.directory import JOURNAL_NAME

_SECRET_BYTES_MIN: Final = 16


def load_secret(config: ClusterConfig, data_dir: Path | None = None) -> bytes:
    """The cluster secret; made on first use when all nodes are on this machine.

    Raises:
        ConfigError: missing where it cannot be made, too short, or readable by others.
    """
    path = config.secret_file
    if not path.exists() and all(_is_loopback(node.host) for node in config.nodes):
        _refuse_second_secret(config, data_dir)
        with contextlib.suppress(FileExistsError):
            _create_secret(path)
    return read_secret(path, file=str(config.path))


def read_secret(path: Path, *, file: str) -> bytes:
    """The secret in a file that must be there; `file` names the configuration in errors.

    Raises:
        ConfigError: see `load_secret`.
    """
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        secret = path.read_bytes().strip()
    except OSError as error:
        raise _secret_error(
            file,
            f"{path} cannot be read ({error.strerror})",
            "copy the file that `raftbook init` wrote to every node, mode 0600",
        ) from error
    if mode & 0o077:
        raise _secret_error(file, f"{path} is readable by others", f"chmod 600 {path}")
    if len(secret) < _SECRET_BYTES_MIN:
        raise _secret_error(
            file,
            f"{path} holds {len(secret)} bytes",
            f"a secret has at least {_SECRET_BYTES_MIN}: remove the file on all nodes, "
            "make one with `raftbook init` and copy it",
        )
    return secret


def _refuse_second_secret(config: ClusterConfig, data_dir: Path | None) -> None:
    """A secret that is missing beside data was lost, or is looked for in the wrong place: a new one
    would part this node from those that hold the old one."""
    path = config.secret_file
    found = [
        journal.parent
        for folder in (config.data_dir, data_dir)
        if folder is not None
        for journal in sorted(folder.glob(f"node-*/{JOURNAL_NAME}"))
    ]
    if found and not path.exists():  # another node that starts now makes the secret first
        raise _secret_error(
            str(config.path),
            f"{path} is missing, though {found[0]} holds a node that had one",
            "put it back, every node has the same; if all have lost it, stop them and make one "
            f"for all: (umask 077; openssl rand -hex 32 > {path})",
        )


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


def _secret_error(file: str, problem: str, hint: str) -> ConfigError:
    return ConfigError(file=file, table="cluster", key="secret_file", problem=problem, hint=hint)


def _is_loopback(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")

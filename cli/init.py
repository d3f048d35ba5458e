"""`raftbook init`: a cluster.toml with ports that are free, and the cluster's secret.

Owns the choosing of ports and the refusal to overwrite. Must not know the layout of the file:
that is `raftbook.config`.
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click

from raftbook.config import NodeAddress, load_config, render_config
from raftbook.config_template import LOOPBACK_NODES
from raftbook.storage.atomic import create_exclusive

from .invocation import Invocation, common_options, pass_invocation
from .outcomes import CommandFailed, ExitCode
from .output.printer import say

HOST: Final = "127.0.0.1"
NODES_MAX: Final = 9
CONFIG_NAME: Final = "cluster.toml"
SECRET_NAME: Final = "cluster.secret"

_PORT_STEPS: Final = 500
"""How many blocks of ports are tried above the usual one before the system picks them."""


@click.command()
@click.option(
    "--nodes",
    "node_count",
    type=click.IntRange(1, NODES_MAX),
    default=3,
    show_default=True,
    help="How many nodes; 3 survive the loss of 1, 5 of 2.",
)
@click.option(
    "--dir",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    help="Where to write; made if absent. [default: here]",
)
@common_options
@pass_invocation
def init(invocation: Invocation, node_count: int, directory: Path) -> None:
    """Write a cluster.toml for this machine.

    It has comments and free ports; beside it stands the secret that the nodes share.
    """
    config_path = write_cluster(directory, node_count)
    nodes = load_config(config_path).nodes
    document = {
        "config": str(config_path),
        "secret_file": str(config_path.with_name(SECRET_NAME)),
        "nodes": [
            {
                "node_id": node.node_id,
                "host": node.host,
                "raft_port": node.raft_port,
                "client_port": node.client_port,
                "http_port": node.http_port,
            }
            for node in nodes
        ],
    }
    invocation.printer.show(
        document, table=lambda: f"wrote {config_path} and {config_path.parent / SECRET_NAME}"
    )
    _say_what_is_next(config_path, nodes)


def write_cluster(directory: Path, node_count: int) -> Path:
    """Writes both files, each only if it is not there yet; returns the path of cluster.toml.

    Raises:
        CommandFailed: one of them exists, or the folder cannot be written.
    """
    config_path = directory / CONFIG_NAME
    secret_path = directory / SECRET_NAME
    for path in (config_path, secret_path):
        if path.exists():
            raise CommandFailed(
                ExitCode.USAGE,
                f"init: {path} exists and is not overwritten",
                hint="choose another folder with --dir, or move the file away",
            )
    text = render_config(nodes=free_nodes(node_count), secret_file=SECRET_NAME)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        _create(secret_path, secrets.token_hex(32) + "\n", mode=0o600)
        _create(config_path, text, mode=0o644)
    except OSError as error:
        raise CommandFailed(
            ExitCode.USAGE,
            f"init: cannot write to {directory}: {error.strerror}",
            hint="choose a folder you may write with --dir",
        ) from None
    return config_path


def _create(path: Path, text: str, *, mode: int) -> None:
    with open(create_exclusive(path, mode), "w", encoding="utf-8") as file:
        file.write(text)


def free_nodes(count: int) -> tuple[NodeAddress, ...]:
    """Addresses on this machine whose ports nobody listens on: 7001, 7101... if possible."""
    first = LOOPBACK_NODES[0]
    for step in range(_PORT_STEPS):
        # 10 apart: room for nine nodes beside each other, in all ranges.
        shift = step * 10 if step < 9 else 2_000 + step * 10
        bases = (first.raft_port, first.client_port, first.http_port or 8_001)
        ports = [base + shift + number for base in bases for number in range(count)]
        if len(set(ports)) == len(ports) and all(map(port_is_free, ports)):
            return _addresses(ports, count)
    return _addresses(_ports_of_the_system(3 * count), count)


def port_is_free(port: int) -> bool:
    """Whether a listener could have this port now."""
    if port > 65535:
        return False
    with socket.socket() as probe:
        # As a node will: ports of connections that have just ended count as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def _ports_of_the_system(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind((HOST, 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def _addresses(ports: Sequence[int], count: int) -> tuple[NodeAddress, ...]:
    return tuple(
        NodeAddress(
            node_id=number + 1,
            host=HOST,
            raft_port=ports[number],
            client_port=ports[count + number],
            http_port=ports[2 * count + number],
        )
        for number in range(count)
    )


def _say_what_is_next(config_path: Path, nodes: Sequence[NodeAddress]) -> None:
    option = "" if config_path == Path(CONFIG_NAME) else f" --config {config_path}"
    say("start the nodes, each in its own terminal:")
    for node in nodes:
        say(f"  raftbook node --id {node.node_id}{option}")
    say("then look and trade:")
    say(f"  raftbook cluster status{option}")
    say(f"  raftbook order buy BTC-USD 1@100{option}")
    say(f"  raftbook book BTC-USD{option}")

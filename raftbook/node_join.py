"""`raftbook node --join`: a new machine gets its cluster.toml from a member, and writes it.

Owns asking, what is asked for, and the file. After it the machine starts as any other; the cluster
must have been told of it before, with `raftbook cluster add`.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from dataclasses import fields, replace
from pathlib import Path

from raftbook.config import (
    Bounds,
    ClusterConfig,
    NodeAddress,
    Timings,
    parse_config,
    render_config,
)
from raftbook.errors import ConfigError, NoNodeReachable, NotAccepted
from raftbook.replica.membership import Membership
from raftbook.secret import read_secret
from raftbook.storage.atomic import create_directory, write_durably
from raftbook.wire.framing import FrameReader, frame
from raftbook.wire.join_session import ANSWER_BYTES_MAX, JOIN_NONCE_BYTES, JoinAnswer, Joiner

TIMEOUT_S = 10.0
_READ_BYTES = 1 << 16


def join(path: Path, node_id: int, address: tuple[str, int], secret_file: Path) -> ClusterConfig:
    """Get the configuration for a new node from a member, and write it to `path`.

    Args:
        address: host and raft_port of any member.

    Raises:
        ConfigError: there is no usable secret, or the file cannot be written.
        NoNodeReachable: nobody answers there.
        NotAccepted: the cluster does not know of the new node yet, or not any more.
        ProtocolError: who answers is no member of a cluster with this secret.
    """
    secret = read_secret(secret_file, file=str(path))
    where = f"{address[0]}:{address[1]}"
    try:
        answer = asyncio.run(_ask(secret, node_id, address))
    except (OSError, EOFError, TimeoutError) as error:
        why = str(error) or "it closed the connection: does it have the same cluster.secret?"
        raise NoNodeReachable(f"no member answers at {where}: {why}") from error
    if answer.refusal:
        raise NotAccepted(f"{where}: {answer.refusal}")
    config = parse_config(answer.config_text, path)
    own = replace(config, secret_file=secret_file)
    text = render_whole(own, secret_name=os.path.relpath(secret_file, path.absolute().parent))
    _write(path, text)
    return parse_config(text, path)


def answer_joiner(config: ClusterConfig, membership: Membership, node_id: int) -> JoinAnswer:
    """What a member tells a machine that wants to be `node_id`."""
    if node_id in membership.retired:
        return JoinAnswer(f"node {node_id} was removed, and its id never comes back", "")
    if membership.get(node_id) is None or not membership.is_founded:
        return JoinAnswer(
            f"node {node_id} is no member yet; where the cluster is known, first say: "
            f"raftbook cluster add {node_id} HOST:PORT, with the address of the new machine",
            "",
        )
    nodes = tuple(
        NodeAddress(
            each.node_id, each.host, each.raft_port, each.client_port, each.http_port or None
        )
        for each in membership.members
    )
    return JoinAnswer("", render_whole(replace(config, nodes=nodes)))


def render_whole(config: ClusterConfig, *, secret_name: str = "cluster.secret") -> str:
    """A configuration as a file: all that is not the default, and what belongs to one machine
    (where its data is) as on a new one.
    """
    text = render_config(
        name=config.name,
        cluster_id=config.cluster_id,
        secret_file=secret_name,
        default_account=config.default_account,
        nodes=config.nodes,
        instruments=config.instruments,
        accounts=config.accounts,
        currencies=config.currencies,
    )
    for table, limits in (("timings", config.timings), ("bounds", config.bounds)):
        lines = _changed(limits)
        if lines:
            text += "\n".join(["", f"[{table}]", *lines, ""])
    return text


def _changed(limits: Timings | Bounds) -> list[str]:
    return [
        f"{limit.name} = {getattr(limits, limit.name)}"
        for limit in fields(limits)
        if getattr(limits, limit.name) != limit.default
    ]


async def _ask(secret: bytes, node_id: int, address: tuple[str, int]) -> JoinAnswer:
    joiner = Joiner(secret, node_id, secrets.token_bytes(JOIN_NONCE_BYTES))
    async with asyncio.timeout(TIMEOUT_S):
        reader, writer = await asyncio.open_connection(*address)
        try:
            frames = FrameReader(ANSWER_BYTES_MAX)
            writer.write(frame(joiner.hello()))
            while piece := await reader.read(_READ_BYTES):
                for payload in frames.feed(piece):
                    step = joiner.receive(payload)
                    if isinstance(step, JoinAnswer):
                        return step
                    writer.write(frame(step))
            raise EOFError
        finally:
            writer.close()


def _write(path: Path, text: str) -> None:
    try:
        create_directory(path.absolute().parent)
        write_durably(path, text.encode())  # for its owner alone: it may hold secrets of accounts
    except OSError as error:
        raise ConfigError(
            file=str(path),
            problem=f"cannot be written ({error.strerror or error})",
            hint="name another place with --config",
        ) from error

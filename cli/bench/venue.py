"""The cluster that a load is put on: nodes of this machine, each synced to disk.

Owns its configuration, when it is ready, and whether its nodes agree in the end.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from types import MappingProxyType
from typing import Final

from raftbook.client import Client
from raftbook.config import AccountConfig, InstrumentConfig, render_config
from raftbook.config_template import FIRST_CURRENCIES
from raftbook.errors import RaftbookError

from ..init import SECRET_NAME, free_nodes
from ..local_cluster import LocalCluster
from ..outcomes import CommandFailed, ExitCode

ACCOUNT: Final = "bench"
SYMBOL: Final = "BTC-USD"
MIDDLE: Final = 10_000
"""Ticks around which the load trades: 100.00."""
START_TIMEOUT_S: Final = 20.0
DIGEST_WAIT_MS: Final = 10_000
DIGEST_TIMEOUT_S: Final = 15.0
"""Longer: a node that waited in vain shall say so."""
_PLENTY: Final = (("BTC", Decimal(10) ** 9), ("USD", Decimal(10) ** 10))


@dataclass(frozen=True, slots=True)
class Venue:
    """A running cluster.

    Attributes:
        leader_id: the leader when it was ready.
    """

    cluster: LocalCluster
    leader_id: int

    def address(self, node_id: int) -> tuple[str, int]:
        """Where clients reach a node."""
        node = self.cluster.config.node(node_id)
        return node.host, node.client_port

    def addresses(self) -> list[tuple[str, int]]:
        """Where clients reach the nodes."""
        return [self.address(node_id) for node_id in self.cluster.node_ids]

    def build(self) -> dict[str, str]:
        """What the nodes run: their release, and whether its core is compiled."""
        with Client(self.addresses(), account=ACCOUNT) as client:
            status = client.status()
        return {"raftbook": status["version"], "core": status["core"]}

    def check_digests(self) -> None:
        """Compare the nodes where they stand now.

        Raises:
            CommandFailed: they differ, so what was measured on them is void.
        """
        with Client(self.addresses(), account=ACCOUNT) as client:
            index = client.status()["applied_index"]
        if not self.digests_equal(index):
            raise CommandFailed(ExitCode.DIFFERENT, f"bench: the nodes differ at entry {index}")

    def digests_equal(self, index: int) -> bool:
        """Whether all nodes have the same state at a log index that all of them reach."""
        digests = {self.digest(node_id, index) for node_id in self.cluster.node_ids}
        return len(digests) == 1 and None not in digests

    def digest(self, node_id: int, index: int) -> str | None:
        """A node's digest after a log index, which it is waited to reach; None if it forgot it."""
        address = self.address(node_id)
        with Client([address], account=ACCOUNT, timeout_s=DIGEST_TIMEOUT_S) as client:
            answer = client.query("digest", index=index, wait_ms=DIGEST_WAIT_MS)
        found: str | None = answer["digest"]
        return found


@contextmanager
def venue(
    node_count: int,
    *,
    settlement: str,
    python: str = sys.executable,
    bounds: Mapping[str, int] = MappingProxyType({}),
    has_http: bool = False,
) -> Iterator[Venue]:
    """A cluster in a temporary folder, with a leader; everything is gone afterwards.

    Args:
        settlement: of its one instrument, as in cluster.toml.
        bounds: those of cluster.toml that are not as usual.
        python: the interpreter that runs the nodes.
        has_http: whether the nodes have HTTP ports.

    Raises:
        CommandFailed: a node ended, or there was no leader in time.
    """
    nodes = list(free_nodes(node_count))
    if not has_http:
        nodes = [replace(node, http_port=None) for node in nodes]
    instrument = InstrumentConfig(
        SYMBOL,
        "BTC",
        "USD",
        Decimal("0.01"),
        Decimal("0.001"),
        qty_max=Decimal(10_000),
        price_min=Decimal("0.01"),
        price_max=Decimal(1_000_000),
        settlement=settlement,
    )
    if settlement != "none":
        instrument = replace(instrument, maker_fee=Decimal(1), taker_fee=Decimal(2))
    text = render_config(
        name="bench",
        cluster_id="bench",
        default_account=ACCOUNT,
        nodes=nodes,
        instruments=[instrument],
        accounts=[AccountConfig(ACCOUNT, operator=True, balances=_PLENTY)],
        currencies=FIRST_CURRENCIES,
        secret_file=SECRET_NAME,
    )
    text += "\n[bounds]\n" + "".join(f"{name} = {value}\n" for name, value in bounds.items())
    with LocalCluster("bench", text, None, python=python) as cluster:
        for node_id in cluster.node_ids:
            cluster.start(node_id)
        yield Venue(cluster, leader_of(cluster))


def leader_of(cluster: LocalCluster) -> int:
    """The leader's id once there is one that runs.

    Raises:
        CommandFailed: there was none in time.
    """
    give_up = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < give_up:
        cluster.check_running()
        for node in cluster.config.nodes:
            try:
                with Client([(node.host, node.client_port)], timeout_s=1.0) as client:
                    leader_id = client.status()["leader_id"]
            except (RaftbookError, OSError):
                continue
            if leader_id in cluster.running_ids:
                return int(leader_id)
        time.sleep(0.05)
    raise CommandFailed(
        ExitCode.NOT_ACCEPTED,
        f"bench: no leader within {START_TIMEOUT_S:g} s",
        hint="the machine may be too busy to measure anything; try again",
    )

"""The configuration as values: what a cluster is made of, each wait and each bound by name.

Owns the shapes, their defaults and ranges, and what must be equal on all nodes (`genesis_text`).
Must not know TOML or files: a simulation builds these values directly. Imports only errors;
everybody else imports them from `raftbook.config`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from raftbook.errors import ConfigError

KIB: Final = 1024
MIB: Final = 1024 * 1024


def _bounded(
    default: int, low: int, high: int, what: str, *, genesis: bool = False, why_low: str = ""
) -> Any:
    """A field of Timings or Bounds: default, admissible range, and what it is, all in one place.

    Args:
        genesis: it changes what the engine decides, so all nodes must have the same value.
        why_low: why less than `low` cannot work, where that is not plain.
    """
    metadata = {"low": low, "high": high, "what": what, "genesis": genesis, "why_low": why_low}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True)
class NodeAddress:
    """Where one node is reached: by its peers and by clients.

    Attributes:
        http_port: reserved: the key may be given, and nothing listens there yet.
    """

    node_id: int
    host: str
    raft_port: int
    client_port: int
    http_port: int | None = None


@dataclass(frozen=True, slots=True)
class Timings:
    """Every wait of the program, in milliseconds. `load_config` checks them together."""

    election_timeout_min_ms: int = _bounded(300, 20, 60_000, "silence before an election, least")
    election_timeout_max_ms: int = _bounded(600, 20, 120_000, "silence before an election, most")
    heartbeat_interval_ms: int = _bounded(60, 2, 10_000, "the leader says that it is alive")
    step_interval_ms: int = _bounded(20, 1, 1_000, "Raft is stepped at least this often")
    request_deadline_ms: int = _bounded(2_000, 20, 600_000, "then a request ends, known or not")
    leader_fallback_ms: int = _bounded(1_200, 20, 240_000, "a leader without a quorum steps down")
    handshake_timeout_ms: int = _bounded(3_000, 10, 60_000, "then a silent newcomer is dropped")
    idle_timeout_ms: int = _bounded(60_000, 100, 86_400_000, "then a silent connection is closed")
    reconnect_min_ms: int = _bounded(50, 1, 60_000, "first wait before a peer is dialled again")
    reconnect_max_ms: int = _bounded(1_000, 1, 600_000, "longest wait before it is")
    read_age_max_ms: int = _bounded(
        10_000, 100, 86_400_000, "a node older than this answers no plain read about the market"
    )
    digest_check_interval_ms: int = _bounded(
        1_000, 100, 600_000, "nodes compare their digests, while there is traffic"
    )


@dataclass(frozen=True, slots=True)
class Bounds:
    """Everything that could grow, and how far it may. Those marked genesis decide outcomes."""

    # The wire.
    frame_bytes_max: int = _bounded(
        4 * MIB,
        2 * MIB,
        64 * MIB,
        "one frame on any port",
        why_low="nodes send each other pieces of 1 MiB, and their framing",
    )
    connections_max: int = _bounded(1_024, 1, 65_536, "open connections of one port")
    peer_buffer_bytes_max: int = _bounded(
        64 * MIB,
        64 * KIB,
        1024 * MIB,
        "bytes waiting for one peer (at least 16 MiB); above it the link is dropped",
    )
    client_buffer_bytes_max: int = _bounded(
        16 * MIB, 64 * KIB, 1024 * MIB, "bytes waiting for one client; above it it is dropped"
    )
    # The log.
    entry_bytes_max: int = _bounded(256 * KIB, 1 * KIB, 16 * MIB, "one log entry")
    entry_requests_max: int = _bounded(4_096, 1, 65_536, "requests gathered into one entry")
    requests_pending_max: int = _bounded(
        65_536, 1, 1_048_576, "requests of one node without an outcome; above it: overloaded"
    )
    pending_bytes_max: int = _bounded(
        64 * MIB, 64 * KIB, 4096 * MIB, "bytes of those requests; above it: overloaded"
    )
    entries_kept: int = _bounded(4_096, 1, 1_000_000, "recent entries and digests kept in memory")
    snapshot_every_entries: int = _bounded(20_000, 1, 10_000_000, "entries between two snapshots")
    snapshot_every_bytes: int = _bounded(
        64 * MIB, 64 * KIB, 4096 * MIB, "log bytes between two snapshots"
    )
    # The state.
    sessions_max: int = _bounded(10_000, 1, 1_000_000, "sessions of the cluster", genesis=True)
    sessions_per_account_max: int = _bounded(
        1_000, 1, 1_000_000, "sessions of one account", genesis=True
    )
    session_idle_ms: int = _bounded(
        86_400_000, 1_000, 31_622_400_000, "logical idle time before it is evicted", genesis=True
    )
    reply_window: int = _bounded(
        1_024, 1_024, 65_536, "replies remembered by one session", genesis=True
    )
    closed_orders_max: int = _bounded(
        1_000, 1, 1_000_000, "closed orders remembered by one account", genesis=True
    )
    open_orders_max: int = _bounded(
        200_000, 1, 10_000_000, "open orders of one account", genesis=True
    )
    book_orders_max: int = _bounded(
        2_000_000, 1, 100_000_000, "resting orders of one book", genesis=True
    )
    accounts_max: int = _bounded(10_000, 1, 1_000_000, "accounts", genesis=True)
    instruments_max: int = _bounded(1_000, 1, 100_000, "instruments", genesis=True)
    trades_kept: int = _bounded(1_000, 1, 1_000_000, "trades of one instrument", genesis=True)
    # The feed.
    feed_events_kept: int = _bounded(
        20_000, 1, 10_000_000, "feed events of one instrument, for subscribers that resume"
    )


@dataclass(frozen=True, slots=True)
class InstrumentConfig:
    """An instrument that the cluster is born with. Prices in quote, quantities in base, exact.

    Attributes:
        qty_max: largest quantity of one order.
        price_min, price_max: the range of prices that can be written at all.
        band_low, band_high: the static band; an order outside is refused.
        notional_max: largest price x quantity of one order.
        collar: how far from the reference price a market order may trade.
        reference_price: the reference until something has traded.
    """

    symbol: str
    base: str
    quote: str
    tick_size: Decimal
    lot_size: Decimal
    qty_max: Decimal | None = None
    price_min: Decimal | None = None
    price_max: Decimal | None = None
    band_low: Decimal | None = None
    band_high: Decimal | None = None
    notional_max: Decimal | None = None
    collar: Decimal | None = None
    reference_price: Decimal | None = None


@dataclass(frozen=True, slots=True)
class AccountConfig:
    """An account that the cluster is born with; without a secret anyone may use it."""

    name: str
    operator: bool = False
    secret: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class ClusterConfig:
    """One cluster. `load_config` sorts nodes, instruments and accounts, so their order in the
    file means nothing, and makes both paths absolute.
    """

    path: Path
    name: str
    cluster_id: str
    data_dir: Path
    secret_file: Path
    default_account: str
    nodes: tuple[NodeAddress, ...]
    timings: Timings
    bounds: Bounds
    instruments: tuple[InstrumentConfig, ...]
    accounts: tuple[AccountConfig, ...]

    def node(self, node_id: int) -> NodeAddress:
        """The node of that id.

        Raises:
            ConfigError: there is none; lists those there are.
        """
        for node in self.nodes:
            if node.node_id == node_id:
                return node
        raise ConfigError(
            file=str(self.path),
            table="nodes",
            key="id",
            problem=f"there is no node {node_id}",
            hint=f"the nodes are {', '.join(str(node.node_id) for node in self.nodes)}",
        )

    def genesis_text(self) -> str:
        """What must be equal on all nodes, one fact a line; equal meaning gives equal text.

        Secrets, addresses and timings are not part of it: they may change between two starts.
        """
        lines = ["raftbook genesis 1", f"cluster_id {self.cluster_id}"]
        for bound in sorted(fields(Bounds), key=lambda bound: bound.name):
            if bound.metadata["genesis"]:
                lines.append(f"bound {bound.name} {getattr(self.bounds, bound.name)}")
        for account in self.accounts:
            role = "operator" if account.operator else "trader"
            lines.append(f"account {account.name} {role}")
        for instrument in self.instruments:
            terms = (
                f"{term.name}={_genesis_value(getattr(instrument, term.name))}"
                for term in fields(InstrumentConfig)
            )
            lines.append("instrument " + " ".join(terms))
        return "\n".join(lines) + "\n"


def _genesis_value(value: str | Decimal | None) -> str:
    if value is None:
        return "-"
    return value if isinstance(value, str) else decimal_text(value)


def decimal_text(value: Decimal) -> str:
    """Without exponent and trailing zeros, so that "0.10" and "0.1" are the same text."""
    if value.is_zero():
        return "0"
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text

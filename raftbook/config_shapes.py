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
    default: int,
    low: int,
    high: int,
    what: str,
    *,
    genesis: bool = False,
    is_silent: bool = False,
    why_low: str = "",
) -> Any:
    """A field of Timings or Bounds: default, admissible range, and what it is, all in one place.

    Args:
        genesis: it changes what the engine decides, so all nodes must have the same value.
        is_silent: its default stands in no genesis text, since clusters were born before it was
            known; so that default can never change.
        why_low: why less than `low` cannot work, where that is not plain.
    """
    metadata = {
        "low": low,
        "high": high,
        "what": what,
        "genesis": genesis,
        "is_silent": is_silent,
        "why_low": why_low,
    }
    return field(default=default, metadata=metadata)


def _new_bound(default: int, high: int, what: str) -> Any:
    """A genesis bound of engine version 2."""
    return _bounded(default, 1, high, what, genesis=True, is_silent=True)


@dataclass(frozen=True, slots=True)
class NodeAddress:
    """Where one node is reached: by its peers and by clients.

    Attributes:
        http_port: for browsers and HTTP clients; None for a node without.
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
    http_weight_per_minute_max: int = _bounded(
        1_200_000,
        60,
        1_000_000_000,
        "what one HTTP address may ask for in a minute; above it: 429",
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
    fills_max: int = _new_bound(10_000, 1_000_000, "orders that one sweep meets; its rest expires")
    stops_max: int = _new_bound(10_000, 1_000_000, "stops that wait in one instrument")
    triggers_max: int = _new_bound(
        1_000, 100_000, "stops that fire after one command; others fire with the next entries"
    )
    cancel_page: int = _new_bound(1_000, 100_000, "orders that a mass cancel ends in one entry")
    expiries_page: int = _new_bound(5_000, 100_000, "orders that time ends in one entry")
    transfers_kept: int = _new_bound(
        10_000, 1_000_000, "deposits and withdrawals remembered by one account"
    )
    currencies_max: int = _new_bound(1_000, 100_000, "currencies")
    api_keys_max: int = _new_bound(16, 1_000, "API keys of one account")
    drop_copies_max: int = _new_bound(16, 1_000, "accounts that may read the reports of one")
    auction_page: int = _new_bound(
        10_000, 1_000_000, "trades of an auction in one entry; it goes on with the next"
    )
    pegs_max: int = _new_bound(1_000, 10_000, "pegged orders of one instrument")
    pegs_page: int = _new_bound(
        1_000, 10_000, "pegged orders of one instrument that move in one entry"
    )
    hidden_max: int = _new_bound(10_000, 100_000, "hidden orders that rest in one instrument")
    # The feed.
    feed_events_kept: int = _bounded(
        20_000, 1, 10_000_000, "feed events of one instrument, for subscribers that resume"
    )


@dataclass(frozen=True, slots=True)
class CurrencyConfig:
    """A currency that balances are kept in, in units of 10**-decimals."""

    name: str
    decimals: int


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
        qty_min: smallest quantity of one order.
        notional_min: smallest price x quantity of one order.
        settlement: one of SETTLEMENTS; all but "none" need both currencies, and a price_min.
        maker_fee, taker_fee: basis points of the quote amount, in tenths; below 0 is a rebate.
        volatility_band: so far from the last price a sweep stops and a call begins.
        volatility_call_ms: how long that call lasts.
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
    qty_min: Decimal | None = None
    notional_min: Decimal | None = None
    settlement: str = "none"
    maker_fee: Decimal = Decimal(0)
    taker_fee: Decimal = Decimal(0)
    volatility_band: Decimal | None = None
    volatility_call_ms: int | None = None


SETTLEMENTS: Final = ("none", "credit", "funded")
"""What `settlement` may say, in the order of `core.types.Settlement`."""
_FIRST_TERMS: Final = 13
"""Fields of InstrumentConfig that every genesis text tells; the others where they say something."""


@dataclass(frozen=True, slots=True)
class AccountConfig:
    """An account that the cluster is born with; without a secret anyone may use it.

    Attributes:
        group: accounts of one group are one where self-trade prevention is asked for.
        balances: (currency, amount) it is born with, by currency; amounts are above 0.
    """

    name: str
    operator: bool = False
    secret: str | None = field(default=None, repr=False)
    group: str | None = None
    balances: tuple[tuple[str, Decimal], ...] = ()


@dataclass(frozen=True, slots=True)
class ClusterConfig:
    """One cluster. `load_config` sorts nodes, currencies, instruments and accounts, so their order
    in the file means nothing, and makes both paths absolute.
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
    currencies: tuple[CurrencyConfig, ...] = ()

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

        Secrets, addresses and timings are not part of it: they may change between two starts. What
        came after the first release stands in it only where it differs from its default, so that
        the text of an older file is what it always was.
        """
        lines = ["raftbook genesis 1", f"cluster_id {self.cluster_id}"]
        for bound in sorted(fields(Bounds), key=lambda bound: bound.name):
            value = getattr(self.bounds, bound.name)
            is_told = not bound.metadata["is_silent"] or value != bound.default
            if bound.metadata["genesis"] and is_told:
                lines.append(f"bound {bound.name} {value}")
        lines += [f"currency {each.name} {each.decimals}" for each in self.currencies]
        for account in self.accounts:
            lines += _account_lines(account)
        lines += [_instrument_line(instrument) for instrument in self.instruments]
        return "\n".join(lines) + "\n"


def _account_lines(account: AccountConfig) -> list[str]:
    role = "operator" if account.operator else "trader"
    group = f" group={account.group}" if account.group else ""
    return [
        f"account {account.name} {role}{group}",
        *(f"balance {account.name} {name} {decimal_text(it)}" for name, it in account.balances),
    ]


def _instrument_line(instrument: InstrumentConfig) -> str:
    told = [
        f"{term.name}={_genesis_value(getattr(instrument, term.name))}"
        for place, term in enumerate(fields(InstrumentConfig))
        if place < _FIRST_TERMS or getattr(instrument, term.name) != term.default
    ]
    return "instrument " + " ".join(told)


def _genesis_value(value: str | Decimal | int | None) -> str:
    if value is None:
        return "-"
    return decimal_text(value) if isinstance(value, Decimal) else str(value)


def decimal_text(value: Decimal) -> str:
    """Without exponent and trailing zeros, so that "0.10" and "0.1" are the same text."""
    if value.is_zero():
        return "0"
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text

"""The text of a new cluster.toml, with its comments.

Owns how the file looks when raftbook writes it, and the cluster that stands in the repository.
Must not read or check one: that is `config.py`, which hands `render_config` on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from decimal import Decimal
from typing import Final

from raftbook.config_shapes import (
    AccountConfig,
    Bounds,
    CurrencyConfig,
    InstrumentConfig,
    NodeAddress,
    Timings,
    decimal_text,
)
from raftbook.strict_toml import toml_text

LOOPBACK_NODES: Final = tuple(
    NodeAddress(
        node_id=node_id,
        host="127.0.0.1",
        raft_port=7000 + node_id,
        client_port=7100 + node_id,
        http_port=8000 + node_id,
    )
    for node_id in (1, 2, 3)
)
FIRST_CURRENCIES: Final = (
    CurrencyConfig("BTC", 8),
    CurrencyConfig("ETH", 8),
    CurrencyConfig("USD", 8),
)


def _spot_market(base: str, lot_size: str) -> InstrumentConfig:
    return InstrumentConfig(
        f"{base}-USD",
        base,
        "USD",
        Decimal("0.01"),
        Decimal(lot_size),
        qty_max=Decimal(10_000),
        price_min=Decimal("0.01"),
        price_max=Decimal(1_000_000),
        settlement="funded",
    )


FIRST_INSTRUMENTS: Final = (_spot_market("BTC", "0.001"), _spot_market("ETH", "0.01"))
FIRST_BALANCES: Final = (
    ("BTC", Decimal(1_000_000)),
    ("ETH", Decimal(1_000_000)),
    ("USD", Decimal(100_000_000)),
)
"""Enough for hours of a market that a few bots make; a hundred such accounts can be."""
FIRST_ACCOUNTS: Final = (
    AccountConfig("demo", operator=True, balances=FIRST_BALANCES),
    AccountConfig("alice", balances=FIRST_BALANCES),
    AccountConfig("bob", balances=FIRST_BALANCES),
)

_CLUSTER_TEMPLATE = """\
# One raftbook cluster: the same file on every node.
#
#   raftbook node --id 1        starts one node of it; do the same for the others
#   raftbook config check       says what is wrong with this file, and what to write instead
#
# Relative paths are relative to the folder of this file. What is commented out is the default.

[cluster]
# What people call it.
name = {name}
# What nodes and clients check, so that two clusters never mix. It cannot change later.
id = {cluster_id}
# Where the nodes of this machine keep their journals and snapshots.
data_dir = {data_dir}
# Holds the secret that the nodes prove to each other. Keep it out of version control.
secret_file = {secret_file}
# The account that the command line uses when none is named.
default_account = {default_account}

# The nodes: 1 to 9 of them, best an odd number; 3 survive the loss of 1, 5 of 2.
# host is what the others dial. id is 1 to 255 and stays with the node's data for good.
# raft_port is for the other nodes, client_port for the command line and the clients, http_port for
# browsers and bots (optional; needs pip install 'raftbook[gateway]').
# Peer traffic is authenticated but not encrypted: see SECURITY.md.
"""

_CURRENCIES_TEMPLATE = """\
# The currencies in which balances are kept, to so many decimals; more can be added while it runs.
"""

_INSTRUMENTS_TEMPLATE = """\
# The instruments that the cluster is born with; more can be added while it runs.
# Numbers stand in quotes, so that they are exact. tick_size is the price step, lot_size the
# quantity step. Optional: qty_min and qty_max, price_min and price_max (without price_min zero and
# negative prices are admitted, as spreads and power have them), band_low and band_high (an order
# outside is refused), notional_min and notional_max (price x quantity), collar (how far from the
# reference price a market order may trade), reference_price (the reference until something has
# traded), volatility_band and volatility_call_ms (a sweep further than that from the last price
# stops, and an auction of that length begins), maker_fee and taker_fee (basis points).
# settlement: "none" (the default: whoever may trade may trade any amount), "credit" (balances are
# kept and may go below zero) or "funded" (an order needs the money or the goods it is about).
"""

_ACCOUNTS_TEMPLATE = """\
# The accounts that the cluster is born with, equal on all nodes; more can be added while it runs.
# An operator may add instruments and halt trading. Without a secret anyone who
# reaches a client port may use the account: fine on one machine, nowhere else.
# Optional: balances (what it has to begin with), group (accounts of one group do not trade with
# each other where self-trade prevention is asked for).
"""


def render_config(
    *,
    name: str = "demo",
    cluster_id: str = "demo-1",
    data_dir: str = "data",
    secret_file: str = "cluster.secret",
    default_account: str = "demo",
    nodes: Sequence[NodeAddress] = LOOPBACK_NODES,
    instruments: Sequence[InstrumentConfig] = FIRST_INSTRUMENTS,
    accounts: Sequence[AccountConfig] = FIRST_ACCOUNTS,
    currencies: Sequence[CurrencyConfig] = FIRST_CURRENCIES,
) -> str:
    """The commented text of a new cluster.toml; `parse_config` reads back what was given."""
    cluster = _CLUSTER_TEMPLATE.format(
        name=toml_text(name),
        cluster_id=toml_text(cluster_id),
        data_dir=toml_text(data_dir),
        secret_file=toml_text(secret_file),
        default_account=toml_text(default_account),
    )
    parts = [
        cluster,
        *(_entry_text("nodes", node) for node in nodes),
        _CURRENCIES_TEMPLATE,
        *(_entry_text("currencies", currency) for currency in currencies),
        _INSTRUMENTS_TEMPLATE,
        *(_entry_text("instruments", instrument) for instrument in instruments),
        _ACCOUNTS_TEMPLATE,
        *(_entry_text("accounts", account) for account in accounts),
        _limits_text(Timings, "timings", "Every wait, in milliseconds. They are checked together."),
        _limits_text(
            Bounds,
            "bounds",
            "Everything that could grow, and how far it may. Those with * decide what the book"
            "\n# does, so they must be the same on every node and stay so.",
        ),
    ]
    return "".join(parts).rstrip("\n") + "\n"


def _entry_text(
    table: str, entry: NodeAddress | CurrencyConfig | InstrumentConfig | AccountConfig
) -> str:
    """One entry of an array of tables; what is as it would be without it is left out."""
    lines = [f"[[{table}]]"]
    for entry_field in fields(entry):
        value = getattr(entry, entry_field.name)
        if value == entry_field.default:
            continue
        key = "id" if entry_field.name == "node_id" else entry_field.name
        lines.append(f"{key} = {_value_text(value)}")
    return "\n".join(lines) + "\n\n"


def _value_text(value: object) -> str:
    match value:
        case Decimal():
            return toml_text(f"{value:f}")
        case tuple():
            pairs = (f"{toml_text(name)} = {toml_text(decimal_text(it))}" for name, it in value)
            return f"{{ {', '.join(pairs)} }}"
        case _:
            return toml_text(value)


def _limits_text(shape: type[Timings] | type[Bounds], table: str, comment: str) -> str:
    """A table of defaults, commented out, with what each of them is."""
    lines = [f"# {comment}", f"# [{table}]"]
    for limit in fields(shape):
        mark = "* " if limit.metadata["genesis"] else ""
        lines.append(f"# {f'{limit.name} = {limit.default}':<40}# {mark}{limit.metadata['what']}")
    return "\n".join(lines) + "\n\n"

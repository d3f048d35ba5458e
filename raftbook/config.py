"""cluster.toml: how the configuration is found, read, checked and first written.

Owns the layout of the file, what each key may hold, and the wording of what is wrong.
Must not know sockets, clocks or the engine: no name is resolved and no port is tried here.
Imports only errors, the strict reader and its sister files, whose names it hands on.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from decimal import Context, Decimal
from pathlib import Path
from typing import Final

from raftbook.config_limits import BOUND_RULES, TIMING_RULES, read_limits
from raftbook.config_shapes import (
    AccountConfig,
    Bounds,
    ClusterConfig,
    InstrumentConfig,
    NodeAddress,
    Timings,
    decimal_text,
)
from raftbook.config_template import render_config
from raftbook.errors import ConfigError
from raftbook.strict_toml import (
    Table,
    nearest,
    parse_document,
    single_table,
    table_entries,
)

__all__ = [
    "AccountConfig",
    "Bounds",
    "ClusterConfig",
    "InstrumentConfig",
    "NodeAddress",
    "Timings",
    "find_config",
    "load_config",
    "parse_config",
    "render_config",
]

INT64_MAX: Final = 2**63 - 1
NODES_MAX: Final = 9
NODE_ID_MAX: Final = 255
PORT_MAX: Final = 65535

CONFIG_VARIABLE: Final = "RAFTBOOK_CONFIG"
CONFIG_DEFAULT: Final = "cluster.toml"

_SYMBOL = re.compile(r"[A-Z0-9][A-Z0-9._-]{0,31}")
_CURRENCY = re.compile(r"[A-Z0-9]{1,16}")
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,31}")
_HOST_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9])?")

_SYMBOL_RULE = "1 to 32 of A-Z 0-9 . _ -, beginning with a letter or digit"
_CURRENCY_RULE = "1 to 16 of A-Z 0-9"
_NAME_RULE = "1 to 32 of a-z 0-9 . _ -, beginning with a letter or digit"

_EXACT = Context(prec=120)
"""Decimals have at most 37 digits, so no product or remainder of two is ever rounded."""


def find_config(explicit: str | None, environ: Mapping[str, str]) -> Path:
    """Which file to load: the one named, else RAFTBOOK_CONFIG's, else ./cluster.toml.

    Raises:
        ConfigError: that file does not exist. The next in line is not tried: a wrong name
            must not silently start another cluster.
    """
    named_by = {"--config": explicit, CONFIG_VARIABLE: environ.get(CONFIG_VARIABLE)}
    for source, name in named_by.items():
        if name:
            if Path(name).is_file():
                return Path(name)
            raise ConfigError(
                file=name, problem="there is no such file", hint=f"{source} names it; correct that"
            )
    if Path(CONFIG_DEFAULT).is_file():
        return Path(CONFIG_DEFAULT)
    raise ConfigError(
        file=CONFIG_DEFAULT,
        problem="there is no such file here",
        hint=f"write one with: raftbook init, or name yours with --config or {CONFIG_VARIABLE}",
    )


def load_config(path: Path) -> ClusterConfig:
    """Read and check a file.

    Raises:
        ConfigError: it cannot be read, or something in it is wrong.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        problem = f"cannot be read: {error.strerror}"
        hint = "check the name and the permissions"
        raise ConfigError(file=str(path), problem=problem, hint=hint) from None
    except UnicodeDecodeError as error:
        problem = f"byte {error.start} is not UTF-8"
        raise ConfigError(file=str(path), problem=problem, hint="save it as UTF-8") from None
    return parse_config(text, path)


def parse_config(text: str, path: Path) -> ClusterConfig:
    """The same for a text in hand; `path` names it in errors and anchors relative paths."""
    file = str(path)
    document = parse_document(text, file=file)
    _refuse_unknown_tables(document, file)
    cluster = single_table(document, "cluster", file=file)
    if cluster is None:
        raise _missing_table(file, "cluster", "[cluster] with name, id and default_account")
    cluster.refuse_unknown(_CLUSTER_KEYS)
    folder = path.absolute().parent
    accounts = _accounts(document, file)
    instruments = _instruments(document, file)
    bounds = read_limits(Bounds, "bounds", BOUND_RULES, document=document, file=file)
    _check_count(file, "accounts", len(accounts), bounds.accounts_max)
    _check_count(file, "instruments", len(instruments), bounds.instruments_max)
    return ClusterConfig(
        path=path,
        name=cluster.name_like("name", pattern=_NAME, rule=_NAME_RULE, example="demo"),
        cluster_id=cluster.name_like("id", pattern=_NAME, rule=_NAME_RULE, example="demo-1"),
        data_dir=folder / cluster.text("data_dir", example="data", default="data"),
        secret_file=folder
        / cluster.text("secret_file", example="cluster.secret", default="cluster.secret"),
        default_account=_default_account(cluster, accounts),
        nodes=_nodes(document, file),
        timings=read_limits(Timings, "timings", TIMING_RULES, document=document, file=file),
        bounds=bounds,
        instruments=instruments,
        accounts=accounts,
    )


_TABLES: Final = {
    "cluster": "[cluster]",
    "nodes": "[[nodes]]",
    "timings": "[timings]",
    "bounds": "[bounds]",
    "instruments": "[[instruments]]",
    "accounts": "[[accounts]]",
}
_CLUSTER_KEYS: Final = ("name", "id", "data_dir", "secret_file", "default_account")
_NODE_KEYS: Final = ("id", "host", "raft_port", "client_port", "http_port")
_ACCOUNT_KEYS: Final = ("name", "operator", "secret")


def _refuse_unknown_tables(document: Mapping[str, object], file: str) -> None:
    for name, value in document.items():
        if name in _TABLES:
            continue
        is_table = isinstance(value, Mapping | list)
        problem = f"unknown table [{name}]" if is_table else f"key {name} stands outside any table"
        hint = nearest(name, _TABLES) if is_table else "move it under its table, such as [cluster]"
        raise ConfigError(file=file, key=None if is_table else name, problem=problem, hint=hint)


def _missing_table(file: str, table: str, what: str) -> ConfigError:
    return ConfigError(file=file, table=table, problem="is missing", hint=f"write {what}")


def _check_count(file: str, table: str, count: int, count_max: int) -> None:
    if count > count_max:
        raise ConfigError(
            file=file,
            table=table,
            problem=f"there are {count} {table}, more than [bounds] {table}_max = {count_max}",
            hint=f"write {table}_max = {count} or more",
        )


def _nodes(document: Mapping[str, object], file: str) -> tuple[NodeAddress, ...]:
    tables = table_entries(document, "nodes", file=file, noun="node", identity="id")
    if not tables:
        raise _missing_table(file, "nodes", "[[nodes]] once for every node, at least one")
    if len(tables) > NODES_MAX:
        problem = f"there are {len(tables)} nodes"
        hint = f"{NODES_MAX} is the most; 5 already survive the loss of 2"
        raise ConfigError(file=file, table="nodes", problem=problem, hint=hint)
    nodes: list[NodeAddress] = []
    taken: dict[tuple[str, int], tuple[int, str]] = {}
    for table in tables:
        table.refuse_unknown(_NODE_KEYS)
        node = NodeAddress(
            node_id=table.integer("id", low=1, high=NODE_ID_MAX, example=1),
            host=_host(table),
            raft_port=table.integer("raft_port", low=1, high=PORT_MAX, example=7001),
            client_port=table.integer("client_port", low=1, high=PORT_MAX, example=7101),
            http_port=_http_port(table),
        )
        if any(other.node_id == node.node_id for other in nodes):
            raise table.error("id", "the id is taken twice", hint="give each node its own id")
        _take_ports(table, node, taken)
        nodes.append(node)
    return tuple(sorted(nodes, key=lambda node: node.node_id))


def _http_port(table: Table) -> int | None:
    """Reserved: it may be absent."""
    if "http_port" not in table.values:
        return None
    return table.integer("http_port", low=1, high=PORT_MAX, example=8001)


def _host(table: Table) -> str:
    """An address or a name that others can dial. Not resolved: that needs a network."""
    host = table.text("host", example="127.0.0.1")
    try:
        wildcard = ipaddress.ip_address(host).is_unspecified
    except ValueError:
        # A last part made of digits is a mistyped address, never a name (RFC 1123, section 2.1).
        if not _HOST_NAME.fullmatch(host) or host.rpartition(".")[2].isdigit():
            problem = f'host "{host}" is neither an address nor a host name'
            hint = 'write it alone, without a port: host = "127.0.0.1"'
            raise table.error("host", problem, hint=hint) from None
        return host.lower()
    if wildcard:
        problem = f'host "{host}" can be listened on but not dialled'
        raise table.error("host", problem, hint="write the address at which its peers reach it")
    return host


def _take_ports(
    table: Table, node: NodeAddress, taken: dict[tuple[str, int], tuple[int, str]]
) -> None:
    """Refuses a port that somebody on the same host has; the loser is the later one."""
    for kind in ("raft", "client", "http"):
        port: int | None = getattr(node, f"{kind}_port")
        if port is None:
            continue
        owner = taken.setdefault((node.host, port), (node.node_id, kind))
        if owner == (node.node_id, kind):
            continue
        owner_id, owner_kind = owner
        whose = f"node {owner_id}'s" if owner_id != node.node_id else "its own"
        which = "" if owner_kind == kind else f" {owner_kind} port"
        raise table.error(
            f"{kind}_port",
            f"{kind} port {port} is already {whose}{which}",
            hint="give each node its own port" if not which else "give each its own port",
        )


def _accounts(document: Mapping[str, object], file: str) -> tuple[AccountConfig, ...]:
    tables = table_entries(document, "accounts", file=file, noun="account", identity="name")
    if not tables:
        raise _missing_table(file, "accounts", '[[accounts]] with name = "demo", at least one')
    accounts: dict[str, AccountConfig] = {}
    for table in tables:
        table.refuse_unknown(_ACCOUNT_KEYS)
        name = table.name_like("name", pattern=_NAME, rule=_NAME_RULE, example="alice")
        if name in accounts:
            raise table.error("name", "the name is taken twice", hint="remove one of them")
        accounts[name] = AccountConfig(
            name=name,
            operator=table.flag("operator", default=False),
            secret=_secret(table),
        )
    return tuple(accounts[name] for name in sorted(accounts))


def _secret(table: Table) -> str | None:
    """Refused without quoting it: errors end up in logs."""
    secret = table.values.get("secret")
    if secret is None:
        return None
    if not isinstance(secret, str) or not secret:
        hint = "write a string that is not empty, or remove the key for an open account"
        raise table.error("secret", "secret is not usable", hint=hint)
    return secret


def _default_account(cluster: Table, accounts: Sequence[AccountConfig]) -> str:
    name = cluster.text("default_account", example=accounts[0].name)
    known = [account.name for account in accounts]
    if name not in known:
        problem = f'default_account "{name}" is not in [[accounts]]'
        raise cluster.error("default_account", problem, hint=nearest(name, known))
    return name


def _instruments(document: Mapping[str, object], file: str) -> tuple[InstrumentConfig, ...]:
    """None at all is fine: instruments can be added while the cluster runs."""
    tables = table_entries(document, "instruments", file=file, noun="instrument", identity="symbol")
    known = [term.name for term in fields(InstrumentConfig)]
    instruments: dict[str, InstrumentConfig] = {}
    for table in tables:
        table.refuse_unknown(known)
        symbol = table.name_like("symbol", pattern=_SYMBOL, rule=_SYMBOL_RULE, example="BTC-USD")
        if symbol in instruments:
            raise table.error("symbol", "the symbol is taken twice", hint="remove one of them")
        instruments[symbol] = _instrument(table, symbol)
    return tuple(instruments[symbol] for symbol in sorted(instruments))


def _instrument(table: Table, symbol: str) -> InstrumentConfig:
    instrument = InstrumentConfig(
        symbol=symbol,
        base=table.name_like("base", pattern=_CURRENCY, rule=_CURRENCY_RULE, example="BTC"),
        quote=table.name_like("quote", pattern=_CURRENCY, rule=_CURRENCY_RULE, example="USD"),
        tick_size=table.decimal("tick_size", example="0.01"),
        lot_size=table.decimal("lot_size", example="0.001"),
        qty_max=table.optional_decimal("qty_max", example="1000"),
        price_min=table.optional_decimal("price_min", example="0.01"),
        price_max=table.optional_decimal("price_max", example="1000000"),
        band_low=table.optional_decimal("band_low", example="50000"),
        band_high=table.optional_decimal("band_high", example="150000"),
        notional_max=table.optional_decimal("notional_max", example="1000000"),
        collar=table.optional_decimal("collar", example="500"),
        reference_price=table.optional_decimal("reference_price", example="100000"),
    )
    if instrument.base == instrument.quote:
        raise table.error("quote", "quote is the same as base", hint="write two different ones")
    _check_units(table, instrument)
    for low, high in (("price_min", "price_max"), ("band_low", "band_high")):
        _check_order(table, low, high, getattr(instrument, low), getattr(instrument, high))
    return instrument


_PRICE_KEYS: Final = (
    "price_min",
    "price_max",
    "band_low",
    "band_high",
    "collar",
    "reference_price",
)


def _check_units(table: Table, instrument: InstrumentConfig) -> None:
    """Every amount must be a whole number of ticks or lots that fits signed 64 bits."""
    tick, lot = instrument.tick_size, instrument.lot_size
    for key in ("tick_size", "lot_size", "qty_max", "notional_max", "collar"):
        amount: Decimal | None = getattr(instrument, key)
        if amount is not None and amount <= 0:
            raise table.error(key, f"{key} {amount:f} is not positive", hint="write more than 0")
    _check_multiple(table, "qty_max", instrument.qty_max, lot, "lot_size")
    _check_multiple(
        table,
        "notional_max",
        instrument.notional_max,
        _EXACT.multiply(tick, lot),
        "tick_size x lot_size",
    )
    for key in _PRICE_KEYS:
        _check_multiple(table, key, getattr(instrument, key), tick, "tick_size")


def _check_multiple(
    table: Table, key: str, amount: Decimal | None, unit: Decimal, unit_name: str
) -> None:
    if amount is None:
        return
    rest = _EXACT.remainder(amount, unit)
    if rest:
        nearby = _EXACT.subtract(amount, rest) or unit
        problem = f"{key} {amount:f} is not a whole multiple of {unit_name} {decimal_text(unit)}"
        raise table.error(key, problem, hint=f'write for example {key} = "{decimal_text(nearby)}"')
    count = _EXACT.divide_int(amount, unit)
    if abs(count) > INT64_MAX:
        problem = f"{key} {amount:f} is {count} times {unit_name}, more than 64 bits hold"
        raise table.error(key, problem, hint=f"write less, or a larger {unit_name}")


def _check_order(
    table: Table, low_key: str, high_key: str, low: Decimal | None, high: Decimal | None
) -> None:
    if low is not None and high is not None and low >= high:
        problem = f"{low_key} {low:f} is not below {high_key} {high:f}"
        raise table.error(low_key, problem, hint="exchange them or widen the range")

"""cluster.toml: how the configuration is found, read, checked and first written.

Owns the layout of the file, what each key may hold, and the wording of what is wrong.
Must not know sockets, clocks or the engine: no name is resolved and no port is tried here.
Imports only errors, the strict reader and its sister files, whose names it hands on.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from raftbook.config_limits import BOUND_RULES, TIMING_RULES, read_limits
from raftbook.config_market import (
    NAME,
    NAME_RULE,
    missing_table,
    read_accounts,
    read_currencies,
    read_instruments,
)
from raftbook.config_shapes import (
    AccountConfig,
    Bounds,
    ClusterConfig,
    CurrencyConfig,
    InstrumentConfig,
    NodeAddress,
    Timings,
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
    "CurrencyConfig",
    "InstrumentConfig",
    "NodeAddress",
    "Timings",
    "find_config",
    "load_config",
    "parse_config",
    "render_config",
]

NODES_MAX: Final = 9
NODE_ID_MAX: Final = 255
PORT_MAX: Final = 65535

CONFIG_VARIABLE: Final = "RAFTBOOK_CONFIG"
CONFIG_DEFAULT: Final = "cluster.toml"

_HOST_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9])?")


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
        raise missing_table(file, "cluster", "[cluster] with name, id and default_account")
    cluster.refuse_unknown(_CLUSTER_KEYS)
    folder = path.absolute().parent
    currencies = read_currencies(document, file)
    accounts = read_accounts(document, file, currencies)
    instruments = read_instruments(document, file, currencies)
    bounds = read_limits(Bounds, "bounds", BOUND_RULES, document=document, file=file)
    _check_count(file, "currencies", len(currencies), bounds.currencies_max)
    _check_count(file, "accounts", len(accounts), bounds.accounts_max)
    _check_count(file, "instruments", len(instruments), bounds.instruments_max)
    nodes = _nodes(document, file)
    _check_names(file, nodes, instruments)
    return ClusterConfig(
        path=path,
        name=cluster.name_like("name", pattern=NAME, rule=NAME_RULE, example="demo"),
        cluster_id=cluster.name_like("id", pattern=NAME, rule=NAME_RULE, example="demo-1"),
        data_dir=folder / cluster.text("data_dir", example="data", default="data"),
        secret_file=folder
        / cluster.text("secret_file", example="cluster.secret", default="cluster.secret"),
        default_account=_default_account(cluster, accounts),
        nodes=nodes,
        timings=read_limits(Timings, "timings", TIMING_RULES, document=document, file=file),
        bounds=bounds,
        instruments=instruments,
        accounts=accounts,
        currencies=currencies,
    )


_TABLES: Final = {
    "cluster": "[cluster]",
    "nodes": "[[nodes]]",
    "timings": "[timings]",
    "bounds": "[bounds]",
    "currencies": "[[currencies]]",
    "instruments": "[[instruments]]",
    "accounts": "[[accounts]]",
}
_CLUSTER_KEYS: Final = ("name", "id", "data_dir", "secret_file", "default_account")
_NODE_KEYS: Final = ("id", "host", "raft_port", "client_port", "http_port")


def _refuse_unknown_tables(document: Mapping[str, object], file: str) -> None:
    for name, value in document.items():
        if name in _TABLES:
            continue
        is_table = isinstance(value, Mapping | list)
        problem = f"unknown table [{name}]" if is_table else f"key {name} stands outside any table"
        hint = nearest(name, _TABLES) if is_table else "move it under its table, such as [cluster]"
        raise ConfigError(file=file, key=None if is_table else name, problem=problem, hint=hint)


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
        raise missing_table(file, "nodes", "[[nodes]] once for every node, at least one")
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


def _check_names(
    file: str, nodes: Sequence[NodeAddress], instruments: Sequence[InstrumentConfig]
) -> None:
    """On an HTTP port instruments are called by base and quote, with nothing in between."""
    if all(node.http_port is None for node in nodes):
        return
    symbols: dict[str, str] = {}
    for instrument in instruments:
        name = (instrument.base + instrument.quote).upper()
        other = symbols.setdefault(name, instrument.symbol)
        if other != instrument.symbol:
            raise ConfigError(
                file=file,
                table="instruments",
                problem=f"{other} and {instrument.symbol} would both be {name} on an http_port",
                hint="give one of them another base or quote, or take the http_port keys away",
            )


def _http_port(table: Table) -> int | None:
    """It may be absent: then the node has no HTTP port."""
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


def _default_account(cluster: Table, accounts: Sequence[AccountConfig]) -> str:
    name = cluster.text("default_account", example=accounts[0].name)
    known = [account.name for account in accounts]
    if name not in known:
        problem = f'default_account "{name}" is not in [[accounts]]'
        raise cluster.error("default_account", problem, hint=nearest(name, known))
    return name

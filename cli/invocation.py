"""One run of the program: what its options and the environment say, and how it reaches a node.

Owns the options that every verb shares, and the choice of nodes, account and secret. Must not know
what a verb does with them.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from raftbook.client import AsyncClient, Client
from raftbook.config import (
    CONFIG_DEFAULT,
    CONFIG_VARIABLE,
    ClusterConfig,
    NodeAddress,
    find_config,
    load_config,
)
from raftbook.errors import ConfigError

from .output.printer import FORMATS, Printer

TIMEOUT_DEFAULT_S: Final = 5.0
TIMEOUT_MAX_S: Final = 3600
ACCOUNT_DEFAULT: Final = "demo"

Address = tuple[str, int]
Command = TypeVar("Command", bound=Callable[..., Any])


class Invocation:
    """Settings of this run; verbs get it as their first argument.

    Args:
        connect, connect_async: make a client; a test gives its own.
        environ: where RAFTBOOK_… is looked up.

    Attributes:
        goes_on: the verb has no end of its own, so --timeout is for each call, not for all of them.
        waits: a node that refuses the connection is tried again until --timeout.
    """

    def __init__(
        self,
        *,
        connect: Callable[..., Client] = Client,
        connect_async: Callable[..., AsyncClient] = AsyncClient,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._connect = connect
        self._connect_async = connect_async
        self.arguments: Sequence[str] = ()
        self.environ = os.environ if environ is None else environ
        self.config_name: str | None = None
        self.output: str | None = None
        self.node: str | None = None
        self.account_name: str | None = None
        self.timeout_s: float | None = None
        self.waits = False
        self.goes_on = False
        self._began = time.monotonic()
        self._config: ClusterConfig | None = None

    # -- settings -----------------------------------------------------------------------------

    @property
    def printer(self) -> Printer:
        self.check_output()
        return Printer(self._output)

    @property
    def _output(self) -> str:
        return self.output or self.environ.get("RAFTBOOK_OUTPUT") or "table"

    def check_output(self) -> None:
        """Refuses a form of answer that there is not; only the environment can ask for one."""
        output = self._output
        if output not in FORMATS:
            raise click.UsageError(f"RAFTBOOK_OUTPUT={output!r} is none of {', '.join(FORMATS)}")

    @property
    def config(self) -> ClusterConfig:
        """The cluster's configuration.

        Raises:
            ConfigError: there is none, or it is wrong.
        """
        if self._config is None:
            self._config = load_config(self.config_path)
        return self._config

    @property
    def config_path(self) -> Path:
        return find_config(self.config_name, self.environ)

    @property
    def new_config_path(self) -> Path:
        """Where cluster.toml is or is to be written: --config, RAFTBOOK_CONFIG, ./cluster.toml."""
        named = self.config_name or self.environ.get(CONFIG_VARIABLE) or CONFIG_DEFAULT
        return Path(named)

    @property
    def account(self) -> str:
        """--account, else RAFTBOOK_KEY, else the configuration's default account."""
        named = self.account_name or self.environ.get("RAFTBOOK_KEY")
        if named:
            return named
        config = self._config_if_any()
        return config.default_account if config is not None else ACCOUNT_DEFAULT

    @property
    def secret(self) -> str | None:
        """RAFTBOOK_SECRET, else the one that the configuration has for the account."""
        given = self.environ.get("RAFTBOOK_SECRET")
        if given:
            return given
        config = self._config_if_any()
        for account in config.accounts if config is not None else ():
            if account.name == self.account:
                return account.secret
        return None

    @property
    def node_name(self) -> str | None:
        return self.node or self.environ.get("RAFTBOOK_NODE") or None

    @property
    def time_limit_s(self) -> float:
        return TIMEOUT_DEFAULT_S if self.timeout_s is None else self.timeout_s

    @property
    def ends_at(self) -> float:
        """When this run must end (`time.monotonic`): one deadline, whatever it has to ask."""
        return math.inf if self.goes_on else self._began + self.time_limit_s

    # -- reaching nodes -----------------------------------------------------------------------

    def addresses(self) -> list[Address]:
        """Where to send: the node that was named, else all of cluster.toml."""
        if self.node_name is not None:
            return [self.address_of(self.node_name)]
        return [(node.host, node.client_port) for node in self.config.nodes]

    def address_of(self, name: str) -> Address:
        """The client address behind `2` or `127.0.0.1:7102`."""
        if name.isdecimal() and name.isascii():
            try:
                node = self.config.node(int(name))
            except ConfigError as error:
                text = f"{error}; a node that joined later has --node HOST:PORT"
                raise click.UsageError(text) from None
            return node.host, node.client_port
        return self.parse_address(name)

    @staticmethod
    def parse_address(name: str) -> Address:
        """Host and port of `127.0.0.1:7102`."""
        host, colon, port = name.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if colon and host and port.isdecimal() and 0 < int(port) < 65536:
            return host, int(port)
        raise click.UsageError(f"node {name!r} is neither a node id nor HOST:PORT")

    def connect(self, *, session_key: str = "") -> Client:
        """A client of the cluster."""
        return self._connect(self.addresses(), session_key=session_key, **self._settings())

    def connect_async(self, *, session_key: str = "") -> AsyncClient:
        """The same for asyncio."""
        return self._connect_async(self.addresses(), session_key=session_key, **self._settings())

    def connect_to(
        self, node: NodeAddress, *, session_key: str = "", timeout_s: float | None = None
    ) -> Client:
        """A client of this one node, for what only it can answer."""
        settings = self._settings(is_one_node=True)
        if timeout_s is not None:
            settings["timeout_s"] = timeout_s
        return self._connect([(node.host, node.client_port)], session_key=session_key, **settings)

    def _settings(self, *, is_one_node: bool = False) -> dict[str, Any]:
        """What every client of this run is told. Of one node a refusal is an answer; of a whole
        cluster it may be that the nodes are just starting."""
        is_one_node = is_one_node or self.node_name is not None
        return {
            "account": self.account,
            "secret": self.secret or "",
            "client_name": "raftbook-cli",
            "timeout_s": self.time_limit_s,
            "ends_at": self.ends_at,
            "gives_up_when_refused": is_one_node and not self.waits,
            "follows_members": not is_one_node,
        }

    def how_to_start(self, node_id: int | None = None) -> str:
        """The command that starts a node this run could not reach: this one, that of --node, any.

        "" if the configuration tells of none.
        """
        try:
            config = self._config_if_any()
            named = None if self.node_name is None else self.address_of(self.node_name)
        except (ConfigError, click.UsageError):
            return ""
        if config is None:
            return "is the address a client_port, and the node up?"
        option = f" --config {config.path}" if self.config_name else ""
        ids = [
            node.node_id
            for node in config.nodes
            if named in (None, (node.host, node.client_port)) and node_id in (None, node.node_id)
        ]
        if not ids:
            return "is the address a client_port, and the node up?"
        which = "one" if len(ids) > 1 else "it"
        return f"start {which} with: raftbook node --id {ids[0]}{option}"

    def _config_if_any(self) -> ClusterConfig | None:
        """None only when a node is named by address and no configuration exists."""
        try:
            return self.config
        except ConfigError:
            asked_for = self.config_name or self.environ.get("RAFTBOOK_CONFIG")
            by_address = self.node_name is not None and ":" in self.node_name
            if by_address and not asked_for and not Path("cluster.toml").exists():
                return None
            raise


pass_invocation = click.make_pass_decorator(Invocation, ensure=True)


def _setter(attribute: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    """A callback that keeps a shared option in the Invocation; the innermost one given wins."""

    def keep(ctx: click.Context, param: click.Parameter, value: Any) -> None:
        if value is not None:
            setattr(ctx.ensure_object(Invocation), attribute, value)

    return keep


def common_options(command: Command) -> Command:
    """--config and -o: accepted before and after the verb."""
    for decorate in (
        click.option(
            "--config",
            metavar="FILE",
            expose_value=False,
            callback=_setter("config_name"),
            help="cluster.toml to use. [env: RAFTBOOK_CONFIG; default: ./cluster.toml]",
        ),
        click.option(
            "-o",
            "--output",
            type=click.Choice(FORMATS),
            expose_value=False,
            callback=_setter("output"),
            help="Form of the answer. [env: RAFTBOOK_OUTPUT; default: table]",
        ),
    ):
        command = decorate(command)
    return command


class _Seconds(click.ParamType[float]):
    """How long somebody is willing to wait."""

    name = "seconds"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        try:
            seconds = float(value)
        except ValueError:
            seconds = math.nan
        # Every comparison with NaN is false.
        if not 0 < seconds <= TIMEOUT_MAX_S:
            self.fail(f"{value} is not a number of seconds above 0, {TIMEOUT_MAX_S} at most")
        return seconds


def network_options(command: Command) -> Command:
    """What every verb that talks to a node takes, and the common options."""
    for decorate in (
        click.option(
            "--timeout",
            type=_Seconds(),
            metavar="SECONDS",
            expose_value=False,
            callback=_setter("timeout_s"),
            help=f"Give up after this long, whatever is asked. [default: {TIMEOUT_DEFAULT_S:g}]",
        ),
        click.option(
            "--wait",
            is_flag=True,
            default=None,
            expose_value=False,
            callback=_setter("waits"),
            help="Try until --timeout though the node of --node refuses the connection.",
        ),
        click.option(
            "--account",
            metavar="NAME",
            expose_value=False,
            callback=_setter("account_name"),
            help="Act as this account. [env: RAFTBOOK_KEY; default: default_account]",
        ),
        click.option(
            "--node",
            metavar="N|HOST:PORT",
            expose_value=False,
            callback=_setter("node"),
            help="Ask this node. [env: RAFTBOOK_NODE; default: any]",
        ),
    ):
        command = decorate(command)
    return common_options(command)

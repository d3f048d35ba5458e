"""`raftbook top`: the market and the cluster on a terminal, live.

Owns the verb and where its pictures come from. The screen is `top_screen.py`, which alone needs
textual.
"""

from __future__ import annotations

import asyncio
import sys
from importlib.util import find_spec
from typing import Final

import click

from raftbook.client.views import BookView, MarketTrade

from .cluster_view import ClusterView, view_cluster
from .invocation import Invocation, network_options, pass_invocation
from .lookup import known_spec
from .outcomes import CommandFailed, ExitCode
from .output.printer import is_terminal

TRADES: Final = 100
LEVELS: Final = 60
"""More than any terminal has lines for one side."""
ANSWER_S: Final = 2.0
"""A picture older than this is worth less than being told that no node answers."""


@click.command("top")
@click.argument("symbol", required=False)
@network_options
@pass_invocation
def top(invocation: Invocation, symbol: str | None) -> None:
    """Watch SYMBOL and the nodes on a live screen; the first instrument if none is named.

    q ends it, n and p choose another instrument. Works through any node.
    """
    if find_spec("textual") is None:
        raise CommandFailed(
            ExitCode.USAGE,
            "top needs the package textual",
            hint="install it with: pip install 'raftbook[top]'",
        )
    if not is_terminal(sys.stdout):
        raise click.UsageError("top needs a terminal; for pipes: raftbook book --watch")
    with invocation.connect() as client:
        if symbol is not None:
            known_spec(client, symbol)
        symbols = list(client.instruments())
    if not symbols:
        raise CommandFailed(
            ExitCode.REFUSED, "no instrument is listed", hint="add one: raftbook instrument add"
        )
    from .top_screen import TopScreen

    invocation.goes_on = True
    if invocation.timeout_s is None:
        invocation.timeout_s = ANSWER_S
    TopScreen(ClusterSource(invocation), symbol or symbols[0]).run()


class ClusterSource:
    """What the screen shows, asked of the nodes."""

    def __init__(self, invocation: Invocation) -> None:
        self._invocation = invocation
        self._client = invocation.connect_async()

    async def symbols(self) -> list[str]:
        """All instruments."""
        return list(await self._client.instruments())

    async def market(self, symbol: str) -> tuple[BookView, tuple[MarketTrade, ...]]:
        """Book and last trades, newest first."""
        book = await self._client.book(symbol, LEVELS)
        trades = await self._client.trades(symbol, TRADES)
        return book, tuple(reversed(trades.trades))

    async def cluster(self) -> ClusterView:
        """All nodes."""
        return await asyncio.to_thread(view_cluster, self._invocation)

    async def close(self) -> None:
        """End the connection."""
        await self._client.close(forget_session=False)

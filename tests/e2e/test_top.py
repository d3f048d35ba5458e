"""`raftbook top` against real nodes: what trades is shown, through whichever node is left."""

import asyncio

from textual.pilot import Pilot
from textual.widgets import Static

from cli.invocation import Invocation
from cli.top import ClusterSource
from cli.top_screen import TopScreen
from raftbook.client import Client
from tests.e2e.cluster import PATIENCE_S, Cluster


async def _says(app: TopScreen, pilot: Pilot[None], where: str, words: str) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while words not in str(app.query_one(where, Static).render()):
            await pilot.pause(0.05)


def test_the_screen_follows_the_market_through_the_loss_of_its_node(shared: Cluster) -> None:
    invocation = Invocation(environ={})
    invocation.config_name = str(shared.path)
    invocation.goes_on, invocation.timeout_s = True, 2.0

    async def play() -> None:
        app = TopScreen(ClusterSource(invocation), "BTC-USD")
        async with app.run_test(size=(120, 40)) as pilot:
            await _says(app, pilot, "#head", "empty book")
            with Client(shared.client_ports(2), account="alice") as alice:
                await asyncio.to_thread(alice.submit, "BTC-USD", "buy", 1, "101.25")
            await _says(app, pilot, "#ladder", "101.25")
            await asyncio.to_thread(shared.kill, 1)
            await _says(app, pilot, "#cluster", "unreachable")
            with Client(shared.client_ports(2), account="bob") as bob:
                await asyncio.to_thread(bob.submit, "BTC-USD", "sell", 1, "101.25")
            await _says(app, pilot, "#tape", "101.25")

    asyncio.run(play())

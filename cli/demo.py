"""`raftbook demo`: a cluster, a market, a dead leader, and proof that nothing was lost.

Owns the story and its verdict. Must not know processes (`local_cluster.py`), traders (`bots.py`) or
the layout (`demo_screen.py`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from raftbook.client import AsyncClient
from raftbook.client.views import BookView
from raftbook.errors import RaftbookError

from .bots import Bot, FairPrices, Tally
from .cluster_verify import Verdict, verify_cluster
from .cluster_view import ClusterView, view_cluster
from .demo_page import NO_PAGE, has_screen, open_page, page_url
from .demo_screen import Screen
from .invocation import Invocation, common_options, pass_invocation
from .outcomes import CommandFailed, ExitCode

SECONDS_DEFAULT: Final = 30
SECONDS_MIN: Final = 10
START_TIMEOUT_S: Final = 20.0
DOWN_S: Final = 1.5
"""How long the killed leader stays away: long enough to see the others go on."""

ENDING_S: Final = 0.2
ENDING_MIN_S: Final = 4.0
"""The last part of the time is kept for verifying and stopping: a fifth, at least so much."""

NODE_TIMEOUT_S: Final = 0.4
"""A node of this machine answers at once or is dead, and the picture should go on."""

KILL_AFTER_S: Final = 10.0
"""When the leader is killed in a demo without an end."""

_DRAW_EVERY_S: Final = 0.25


@dataclass(slots=True)
class Story:
    """What happened, for the summary."""

    page: str | None = None
    killed: int | None = None
    failover_ms: float | None = None
    caught_up_ms: float | None = None
    trading_s: float = 0.0
    verdict: Verdict | None = None
    lost: int | None = None
    doubled: int | None = None
    stopped_well: bool = False

    def problems(self, tally: Tally) -> list[str]:
        """Everything that is not well."""
        found = []
        if not tally.orders:
            found.append("no order was acknowledged")
        if self.killed is not None and self.failover_ms is None:
            found.append("no order was acknowledged after the leader was killed")
        if self.killed is not None and self.caught_up_ms is None:
            found.append(f"node {self.killed} did not catch up")
        if self.verdict is None or not self.verdict.ok or self.verdict.silent:
            found.append("the nodes do not all agree")
        if self.lost != 0:
            found.append(f"acknowledged orders lost: {self.lost}")
        if self.doubled != 0:
            found.append(f"orders taken twice: {self.doubled}")
        if not self.stopped_well:
            found.append("a node did not stop well")
        return found


@click.command("demo")
@click.option("--nodes", "node_count", type=click.IntRange(1, 9), default=3, show_default=True)
@click.option("--bots", "bot_count", type=click.IntRange(1, 100), default=4, show_default=True)
@click.option("--seed", type=int, default=7, show_default=True, help="Of what the bots want.")
@click.option(
    "--seconds",
    type=click.FloatRange(min=0),
    default=SECONDS_DEFAULT,
    show_default=True,
    help=f"How long it all takes, at least {SECONDS_MIN}; 0 goes on until Ctrl-C.",
)
@click.option("--no-browser", is_flag=True, help="Print where the page is, and do not open it.")
@click.option(
    "--dir",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep configuration, data and logs here. [default: a temporary folder]",
)
@common_options
@pass_invocation
def demo(
    invocation: Invocation,
    node_count: int,
    bot_count: int,
    seed: int,
    seconds: float,
    no_browser: bool,
    directory: Path | None,
) -> None:
    """Watch a cluster survive its leader.

    Starts nodes and a market on this machine, kills the leader, and checks that nothing is lost.

    Exit 0 only if every node agrees and every acknowledged order is in every node's journal.
    """
    if 0 < seconds < SECONDS_MIN:
        raise click.UsageError(f"--seconds must be at least {SECONDS_MIN}, or 0 for no end")
    # Loads Raft, which no other verb of a plain client needs.
    from .demo_cluster import demo_cluster
    from .demo_proof import search_journals

    names = [f"bot-{number}" for number in range(1, bot_count + 1)]
    screen, tally = Screen(), Tally()
    began = time.monotonic()
    try:
        with demo_cluster(node_count, names, directory) as cluster:
            show = _Show(cluster, names, screen, tally, seed=seed, opens_page=not no_browser)
            asyncio.run(show.run(began, seconds))
            story = show.story
            screen.tell("stopping the nodes; looking for every acknowledged order in the journals")
            story.stopped_well = cluster.stop()
            directories = [cluster.data_path(node_id) for node_id in cluster.node_ids]
            story.lost, story.doubled = search_journals(
                directories, cluster.config, tally.acknowledged
            )
    finally:
        screen.close()
    _report(invocation, story, tally, directory)


class _Show:
    """One run of the demo while its nodes are up."""

    def __init__(
        self,
        cluster: Any,
        names: list[str],
        screen: Screen,
        tally: Tally,
        *,
        seed: int,
        opens_page: bool,
    ) -> None:
        self.story = Story()
        self._opens_page = opens_page
        self._cluster = cluster
        self._names = names
        self._screen = screen
        self._tally = tally
        self._seed = seed
        # Its own settings: nothing of the user's environment points at this cluster.
        self._invocation = Invocation(environ={})
        self._invocation.config_name = str(cluster.config.path)
        self._invocation.timeout_s = NODE_TIMEOUT_S
        self._invocation.goes_on = True
        self._view: ClusterView | None = None
        self._book: BookView | None = None
        self._orders_before = 0
        self._drawn_at = time.monotonic()

    async def run(self, began: float, seconds: float) -> None:
        """Start, trade, kill, recover, verify."""
        cluster, screen, story = self._cluster, self._screen, self.story
        nodes = ", ".join(map(str, cluster.node_ids))
        screen.tell(f"starting nodes {nodes} in {cluster.directory}")
        for node_id in cluster.node_ids:
            cluster.start(node_id)
        await self._until(self._is_healthy, START_TIMEOUT_S, "the nodes did not find a leader")
        screen.tell(f"node {self._leader()} leads; {len(self._names)} bots begin to trade")
        self._show_page()
        trading_began = time.monotonic()
        ending_s = max(ENDING_MIN_S, seconds * ENDING_S)
        trading_ends = began + seconds - ending_s if seconds else None
        kill_at = trading_began + KILL_AFTER_S
        if trading_ends is not None:
            kill_at = trading_began + (trading_ends - trading_began) / 2
        async with self._market():
            await self._draw_until(kill_at)
            await self._kill_leader()
            await self._draw_until(trading_ends)
        story.trading_s = time.monotonic() - trading_began
        screen.close()
        screen.tell("the bots stop; cluster verify:")
        story.verdict = await asyncio.to_thread(verify_cluster, self._invocation)
        for line in story.verdict.text().splitlines():
            screen.tell(line)

    def _show_page(self) -> None:
        """Say where the page is, on a node that will outlive the leader; open it if there is a
        screen to open it on."""
        followers = [each for each in self._cluster.node_ids if each != self._leader()]
        url = page_url(self._cluster.config, (followers or self._cluster.node_ids)[0])
        if url is None:
            self._screen.tell(f"no page: {NO_PAGE}")
            return
        self.story.page = self._screen.page = url
        self._screen.tell(f"trade in it yourself: {url}")
        if self._opens_page and has_screen():
            open_page(url)

    # -- the market ---------------------------------------------------------------------------

    @asynccontextmanager
    async def _market(self) -> AsyncIterator[None]:
        """Bots that trade, each through another node first, and a watcher of the book."""
        config, stop = self._cluster.config, asyncio.Event()
        addresses = [(node.host, node.client_port) for node in config.nodes]
        clients = [
            AsyncClient(
                addresses[number % len(addresses) :] + addresses[: number % len(addresses)],
                account=name,
                client_name=name,
                timeout_s=10.0,
            )
            for number, name in enumerate(self._names)
        ]
        watcher = AsyncClient(addresses, client_name="demo", timeout_s=1.0)
        specs = list((await watcher.instruments()).values())
        fair = FairPrices(specs, self._seed)
        bots = [
            Bot(number, client, account=name, specs=specs, fair=fair, seed=self._seed,
                tally=self._tally)
            for number, (name, client) in enumerate(zip(self._names, clients, strict=True))
        ]  # fmt: skip
        tasks = [asyncio.create_task(bot.run(stop)) for bot in bots]
        watching = asyncio.create_task(self._watch(watcher, specs[0].symbol))
        try:
            yield
            stop.set()
            for task in tasks:
                await task
        finally:
            for task in (*tasks, watching):
                task.cancel()
            await asyncio.gather(*tasks, watching, return_exceptions=True)
            for client in (*clients, watcher):
                await client.close(forget_session=False)

    async def _watch(self, watcher: AsyncClient, symbol: str) -> None:
        """Keeps the view of cluster and book fresh, and draws it."""
        while True:
            self._view = await asyncio.to_thread(view_cluster, self._invocation)
            try:
                self._book = await watcher.book(symbol, 8)
            except RaftbookError:
                pass  # between two leaders the last picture stays
            now = time.monotonic()
            rate = (self._tally.orders - self._orders_before) / max(now - self._drawn_at, 0.001)
            self._orders_before, self._drawn_at = self._tally.orders, now
            self._screen.draw(self._view, self._book, self._tally, rate)
            await asyncio.sleep(_DRAW_EVERY_S)

    async def _draw_until(self, end: float | None) -> None:
        while end is None or time.monotonic() < end:
            self._cluster.check_running()
            await asyncio.sleep(0.05)

    # -- the accident -------------------------------------------------------------------------

    async def _kill_leader(self) -> None:
        cluster, screen, story, tally = self._cluster, self._screen, self.story, self._tally
        view = await asyncio.to_thread(view_cluster, self._invocation)
        leader = view.leader_id
        if leader is None:
            screen.tell("nobody leads just now: no leader to kill")
            return
        term = max(tally.ack_times, default=0)
        killed_at = cluster.kill(leader)
        story.killed = leader
        screen.tell(f"node {leader}, the leader, got SIGKILL")
        survives = len(cluster.node_ids) - 1 >= len(cluster.node_ids) // 2 + 1
        if survives:
            await self._wait_for_ack(term, killed_at)
            await asyncio.sleep(max(0.0, killed_at + DOWN_S - time.monotonic()))
        back_at = time.monotonic()
        cluster.start(leader)
        screen.tell(f"node {leader} starts again, with what is on its disk")
        if not survives:
            await self._wait_for_ack(term, killed_at)
        await self._until(
            lambda view: _is_caught_up(view, leader), START_TIMEOUT_S, f"node {leader} is not back"
        )
        story.caught_up_ms = (time.monotonic() - back_at) * 1000
        screen.tell(f"node {leader} has caught up, {story.caught_up_ms:.0f} ms after its start")

    async def _wait_for_ack(self, term: int, killed_at: float) -> None:
        give_up = killed_at + START_TIMEOUT_S
        while time.monotonic() < give_up:
            acknowledged_at = self._tally.first_ack_after(term)
            if acknowledged_at is not None:
                self.story.failover_ms = failover_ms = (acknowledged_at - killed_at) * 1000
                self._screen.tell(f"next order acknowledged {failover_ms:.0f} ms after the kill")
                return
            await asyncio.sleep(0.005)
        self._screen.tell("no order was acknowledged any more")

    # -- looking ------------------------------------------------------------------------------

    async def _until(self, is_so: Any, timeout_s: float, otherwise: str) -> None:
        """Asks the nodes until something is so.

        Raises:
            CommandFailed: it never was; or a node ended.
        """
        give_up = time.monotonic() + timeout_s
        while time.monotonic() < give_up:
            self._cluster.check_running()
            view = await asyncio.to_thread(view_cluster, self._invocation)
            self._view = view
            if is_so(view):
                return
            await asyncio.sleep(0.05)
        raise CommandFailed(
            ExitCode.NOT_ACCEPTED,
            f"demo: {otherwise} within {timeout_s:.0f} s",
            hint=f"look into the logs; keep them with --dir (now {self._cluster.directory})",
        )

    def _is_healthy(self, view: ClusterView) -> bool:
        return view.healthy and len(view.reachable) == len(view.nodes)

    def _leader(self) -> int | None:
        return None if self._view is None else self._view.leader_id


def _is_caught_up(view: ClusterView, node_id: int) -> bool:
    if not view.healthy:
        return False
    status = next((node.status for node in view.nodes if node.node_id == node_id), None)
    # A market goes on meanwhile: a handful of entries is what is on its way.
    return status is not None and view.commit_index - int(status["applied_index"]) <= 5


def _report(invocation: Invocation, story: Story, tally: Tally, directory: Path | None) -> None:
    problems = story.problems(tally)
    rate = tally.orders / story.trading_s if story.trading_s else 0.0
    verdict = story.verdict
    document = {
        "ok": not problems,
        "page": story.page,
        "orders": tally.orders,
        "trades": tally.trades,
        "orders_per_s": round(rate),
        "killed_leader": story.killed,
        "failover_ms": None if story.failover_ms is None else round(story.failover_ms),
        "caught_up_ms": None if story.caught_up_ms is None else round(story.caught_up_ms),
        "refused": tally.refused,
        "not_accepted": tally.not_accepted,
        "outcome_unknown": tally.unknown,
        "retries_deduplicated": tally.repeated,
        "acknowledged_lost": story.lost,
        "taken_twice": story.doubled,
        "digests_equal": verdict is not None and verdict.ok and not verdict.silent,
        "problems": problems,
    }

    def table() -> str:
        names = [name for name in document if name not in ("ok", "page", "problems")]
        lines = [f"{name.replace('_', ' '):<22} {document[name]}" for name in names]
        return "\n".join(["", *lines, "OK" if not problems else "NOT OK"])

    invocation.printer.show(document, table=table)
    if problems:
        kept = f"see {directory}" if directory else "keep the data with --dir and run it again"
        raise CommandFailed(ExitCode.DIFFERENT, f"demo: {'; '.join(problems)}", hint=kept)

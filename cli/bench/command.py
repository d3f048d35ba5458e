"""`raftbook bench`: a cluster on this machine, a load, and what an order waits.

Owns the options, the rounds, and how figures are shown.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import click

from ..invocation import Invocation, common_options, pass_invocation
from ..outcomes import CommandFailed, ExitCode
from ..output.printer import say
from .figures import PERCENTILES, Latencies, document
from .generator import Load, run_load

WARM_UP_S: Final = 1.0

Document = dict[str, Any]


@click.command("bench")
@click.option("--nodes", "node_count", type=click.IntRange(1, 9), default=3, show_default=True)
@click.option(
    "--clients",
    type=click.IntRange(1, 1_000),
    default=3,
    show_default=True,
    help="Connections, spread over the nodes.",
)
@click.option(
    "--per-request",
    type=click.IntRange(1, 1_000),
    default=100,
    show_default=True,
    help="Orders of one request.",
)
@click.option(
    "--in-flight",
    type=click.IntRange(1, 1_000),
    default=48,
    show_default=True,
    help="Requests of a connection under way at once.",
)
@click.option(
    "--rate",
    type=click.FloatRange(min=1),
    help="Orders per second, sent when they are due whatever the answers do: then latency counts "
    "from that time, and --in-flight is not looked at.",
)
@click.option("--seconds", type=click.FloatRange(1, 3600), default=10, show_default=True)
@click.option(
    "--settlement",
    type=click.Choice(["none", "credit", "funded"]),
    default="none",
    show_default=True,
    help="Of the instrument: all but none keep balances and take fees.",
)
@click.option(
    "--against",
    "other",
    type=click.Path(exists=True, dir_okay=False),
    help="Another build's Python interpreter: rounds of both in turn, and the ratio.",
)
@click.option("--rounds", type=click.IntRange(1, 100), default=3, help="With --against.")
@click.option(
    "--plot",
    "plot_path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Draw the latencies into this file (.svg, .png, .pdf).",
)
@common_options
@pass_invocation
def bench(
    invocation: Invocation,
    node_count: int,
    clients: int,
    per_request: int,
    in_flight: int,
    rate: float | None,
    seconds: float,
    settlement: str,
    other: str | None,
    rounds: int,
    plot_path: Path | None,
) -> None:
    """Measure a cluster of this machine, synced to disk.

    Starts nodes in a temporary folder, loads them, compares their digests: a run whose nodes
    differ is void (exit 6). Load and nodes share the machine.
    """
    if plot_path is not None and other is not None:
        raise click.UsageError("--plot draws one run: leave --against out")
    if plot_path is not None:
        from .plot import require_plots

        require_plots(plot_path)
    load = Load(clients, per_request, in_flight, seconds, rate)
    if other is not None:
        found = _paired(load, node_count, settlement=settlement, other=other, rounds=rounds)
        invocation.printer.show(found, table=lambda: _pairs_text(found))
        return
    latencies = Latencies()
    found = measure(load, node_count, settlement=settlement, latencies=latencies)
    if plot_path is not None:
        from .plot import draw

        draw(plot_path, latencies.curve(), found)
    invocation.printer.show(found, table=lambda: _text(found))


def measure(
    load: Load,
    node_count: int,
    *,
    settlement: str,
    latencies: Latencies,
    python: str = sys.executable,
) -> Document:
    """One run on a cluster of its own.

    Args:
        settlement: of its one instrument, as in cluster.toml.
        latencies: gets how long each request took.
        python: the interpreter that runs the nodes.

    Raises:
        CommandFailed: the nodes differ afterwards, or did not start.
    """
    from .venue import ACCOUNT, MIDDLE, SYMBOL, venue  # loads Raft

    with venue(node_count, settlement=settlement, python=python) as running:

        def send(some: Load, timings: Latencies) -> Any:
            return asyncio.run(
                run_load(
                    some,
                    running.addresses(),
                    account=ACCOUNT,
                    secret="",
                    symbol=SYMBOL,
                    middle=MIDDLE,
                    record=timings.record,
                )
            )

        send(replace(load, seconds=WARM_UP_S), Latencies())
        outcome = send(load, latencies)
        running.cluster.check_running()
        is_equal = running.digests_equal(outcome.last_index)
        build = running.build()
    found = document(
        load, outcome, latencies, nodes=node_count, digests_equal=is_equal, build=build
    )
    if not is_equal:
        raise CommandFailed(
            ExitCode.DIFFERENT, f"bench: the nodes differ at entry {outcome.last_index}"
        )
    return found


# -- pairs ---------------------------------------------------------------------------------------


def _paired(load: Load, node_count: int, *, settlement: str, other: str, rounds: int) -> Document:
    """Rounds of this build's nodes and the other's, in turn."""
    sides: dict[str, list[Document]] = {"this": [], "other": []}
    pythons = {"this": sys.executable, "other": other}
    for number in range(rounds):
        for side, found in sides.items():
            say(f"round {number + 1} of {rounds}: {pythons[side]}")
            found.append(
                measure(
                    load,
                    node_count,
                    settlement=settlement,
                    latencies=Latencies(),
                    python=pythons[side],
                )
            )
    ratios = [
        mine["orders_per_s"] / max(1, theirs["orders_per_s"])
        for mine, theirs in zip(*sides.values(), strict=True)
    ]
    p99 = [
        mine["latency_ms"]["p99"] / max(0.001, theirs["latency_ms"]["p99"])
        for mine, theirs in zip(*sides.values(), strict=True)
    ]
    return {
        "this": sides["this"],
        "other": sides["other"],
        "orders_per_s_ratio": round(statistics.median(ratios), 3),
        "p99_ratio": round(statistics.median(p99), 3),
    }


def _pairs_text(found: Document) -> str:
    lines = ["ROUND  THIS orders/s  p99 ms  |  OTHER orders/s  p99 ms"]
    for number, (mine, theirs) in enumerate(zip(found["this"], found["other"], strict=True), 1):
        lines.append(
            f"{number:>5}  {mine['orders_per_s']:>13,}  {mine['latency_ms']['p99']:>6.1f}  |"
            f"  {theirs['orders_per_s']:>14,}  {theirs['latency_ms']['p99']:>6.1f}"
        )
    lines.append(
        f"this / other, median of rounds: orders/s {found['orders_per_s_ratio']:.2f}, "
        f"p99 {found['p99_ratio']:.2f}"
    )
    return "\n".join(lines)


# -- one run -------------------------------------------------------------------------------------


def _text(found: Document) -> str:
    settings, latency = found["settings"], found["latency_ms"]
    rate = settings["rate"]
    kind = (
        f"{settings['in_flight']} requests under way on each"
        if rate is None
        else f"due at {rate:,.0f} orders/s"
    )
    names = {name: name.replace("p999", "p99.9") for name in PERCENTILES}
    errors = ", ".join(f"{count} {name}" for name, count in found["errors"].items()) or "none"
    environment = found["environment"]
    return "\n".join(
        (
            f"{found['orders_per_s']:,} orders/s acknowledged, {found['rejected']:,} refused by "
            "the market",
            "latency ms   "
            + "  ".join(f"{names[name]} {latency[name]:.2f}" for name in PERCENTILES),
            f"errors       {errors}",
            f"load         {settings['clients']} connections, {settings['per_request']} orders to "
            f"a request, {kind}, {settings['seconds']:g} s",
            f"cluster      {found['nodes']} nodes and the load on this machine, synced to disk, "
            "digests equal",
            f"machine      {environment['cores']} cores, {environment['machine']}, Python "
            f"{environment['python']}, core {environment['core']}",
        )
    )

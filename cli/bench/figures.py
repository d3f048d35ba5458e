"""What a load's measurements say: percentiles, and what they were taken on.

Owns the histogram. Latencies are kept in microseconds with three significant digits up to a
minute, so that a percentile of millions costs no memory and no tail is cut off.
"""

from __future__ import annotations

import os
import platform
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import click

from raftbook import __version__
from raftbook.core.build import KIND

from .generator import Load, Outcome

if TYPE_CHECKING:
    from hdrh.histogram import HdrHistogram

_HIGHEST_US: Final = 60_000_000
_DIGITS: Final = 3
_GATHERED_MAX: Final = 20_000
"""Different latencies that are counted before they go into the histogram together: to record one in
it costs as much as all else that a load does for an answer."""
PERCENTILES: Final = {"p50": 50.0, "p95": 95.0, "p99": 99.0, "p999": 99.9, "max": 100.0}


class Latencies:
    """Latencies of requests.

    Raises:
        UsageError: the library that keeps them is not installed.
    """

    def __init__(self) -> None:
        try:
            from hdrh.histogram import HdrHistogram
        except ImportError as error:
            raise click.UsageError(
                "raftbook bench needs an extra: pip install 'raftbook[bench]'"
            ) from error
        self._recorded = HdrHistogram(1, _HIGHEST_US, _DIGITS)
        self._gathered: dict[int, int] = {}

    def record(self, seconds: float) -> None:
        """One request took so long."""
        gathered, us = self._gathered, int(seconds * 1e6)
        gathered[us] = gathered.get(us, 0) + 1
        if len(gathered) > _GATHERED_MAX:
            self._histogram()

    def _histogram(self) -> HdrHistogram:
        for us, count in self._gathered.items():
            self._recorded.record_value(min(max(1, us), _HIGHEST_US), count)
        self._gathered.clear()
        return self._recorded

    def milliseconds(self) -> dict[str, float]:
        """The percentiles."""
        histogram = self._histogram()
        return {
            name: round(histogram.get_value_at_percentile(percent) / 1_000, 3)
            for name, percent in PERCENTILES.items()
        }

    def curve(self) -> list[tuple[float, float]]:
        """(percentile, milliseconds) pairs for a plot, closer together towards the tail."""
        return [
            (item.percentile_level_iterated_to, item.value_iterated_to / 1_000)
            for item in self._histogram().get_percentile_iterator(5)
            if item.percentile_level_iterated_to < 100
        ]


def document(
    load: Load,
    outcome: Outcome,
    latencies: Latencies,
    *,
    nodes: int,
    digests_equal: bool,
    build: dict[str, str],
) -> dict[str, Any]:
    """The answer of `raftbook bench -o json`.

    Args:
        build: what the nodes run, which may be another build than the load's.
    """
    return {
        "orders_per_s": round(outcome.orders / outcome.seconds) if outcome.seconds else 0,
        "latency_ms": latencies.milliseconds(),
        "rejected": outcome.rejected,
        "errors": dict(outcome.errors),
        "nodes": nodes,
        "settings": asdict(load),
        "environment": environment() | build,
        "digests_equal": digests_equal,
    }


def environment() -> dict[str, Any]:
    """What a figure depends on: this build, and the machine; `python` is the load's."""
    return {
        "raftbook": __version__,
        "core": KIND,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "cores": os.cpu_count(),
    }

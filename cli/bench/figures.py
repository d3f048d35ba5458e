"""What a load's measurements say: percentiles, and what they were taken on.

Owns the histogram. Latencies are kept in microseconds with three significant digits up to a
minute, so that a percentile of millions costs no memory and no tail is cut off.
"""

from __future__ import annotations

import os
import platform
from dataclasses import asdict
from typing import Any, Final

import click

from raftbook import __version__
from raftbook.core.build import KIND

from .generator import Load, Outcome

_HIGHEST_US: Final = 60_000_000
_DIGITS: Final = 3
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
        self._histogram = HdrHistogram(1, _HIGHEST_US, _DIGITS)

    def record(self, seconds: float) -> None:
        """One request took so long."""
        self._histogram.record_value(min(max(1, round(seconds * 1e6)), _HIGHEST_US))

    def milliseconds(self) -> dict[str, float]:
        """The percentiles."""
        return {
            name: round(self._histogram.get_value_at_percentile(percent) / 1_000, 3)
            for name, percent in PERCENTILES.items()
        }

    def curve(self) -> list[tuple[float, float]]:
        """(percentile, milliseconds) pairs for a plot, closer together towards the tail."""
        return [
            (item.percentile_level_iterated_to, item.value_iterated_to / 1_000)
            for item in self._histogram.get_percentile_iterator(5)
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

"""A picture of latencies: milliseconds by percentile, the tail drawn as wide as the rest.

Owns the picture. Drawn with matplotlib, which only whoever asks for a picture needs.
"""

from __future__ import annotations

from math import log10
from pathlib import Path
from typing import Any, Final

import click

_SUFFIXES: Final = (".svg", ".png", ".pdf")
_TICKS: Final = (0.0, 50.0, 90.0, 99.0, 99.9, 99.99)


def require_plots(path: Path) -> None:
    """Find out before the load runs whether it can be drawn.

    Raises:
        UsageError: the library is not installed, or there is no such kind of file.
    """
    if path.suffix not in _SUFFIXES:
        raise click.UsageError(f"--plot {path}: the name ends with one of {', '.join(_SUFFIXES)}")
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise click.UsageError("--plot needs an extra: pip install 'raftbook[bench]'") from error


def draw(path: Path, curve: list[tuple[float, float]], found: dict[str, Any]) -> None:
    """Write the picture.

    Args:
        curve: (percentile, milliseconds) pairs, ascending.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    axes.plot([_place(percent) for percent, _ in curve], [ms for _, ms in curve], linewidth=1.5)
    axes.set_xticks([_place(tick) for tick in _TICKS], [f"{tick:g} %" for tick in _TICKS])
    axes.set_ylim(bottom=0)
    axes.set_ylabel("latency, ms")
    axes.grid(alpha=0.3)
    settings = found["settings"]
    axes.set_title(
        f"{found['orders_per_s']:,} orders/s, {settings['per_request']} to a request, "
        f"{found['nodes']} nodes",
        fontsize=10,
    )
    figure.savefig(path)


def _place(percent: float) -> float:
    """Where a percentile stands: each further nine is one step."""
    return -log10(1 - percent / 100)

"""Columns of text: the one way every verb lays out a table.

Owns alignment. Must not know what the cells mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

GAP = "  "


def render_table(
    headers: Sequence[str], rows: Sequence[Sequence[object]], *, right: Sequence[str] = ()
) -> str:
    """Headers and rows in columns as wide as their widest cell; `right` names the numbers."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [
        max(len(header), *(len(row[column]) for row in cells)) if cells else len(header)
        for column, header in enumerate(headers)
    ]
    aligned_right = [header in right for header in headers]
    lines = []
    for row in [list(headers), *cells]:
        parts = [
            cell.rjust(width) if is_right else cell.ljust(width)
            for cell, width, is_right in zip(row, widths, aligned_right, strict=True)
        ]
        lines.append(GAP.join(parts).rstrip())
    return "\n".join(lines)


def rfc3339(time_ns: int) -> str:
    """Nanoseconds since 1970 as UTC text, all nine digits kept."""
    seconds, ns = divmod(time_ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{ns:09d}Z"


def plural(count: int, noun: str) -> str:
    """ "1 order", "2 orders"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"

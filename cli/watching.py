"""Showing something again and again, until somebody interrupts it.

Owns the rhythm and the clearing of a terminal. Must not know what is shown.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Final

from raftbook.errors import RaftbookError

from .outcomes import judge
from .output.printer import Printer, is_terminal, say

EVERY_S: Final = 0.5

_HOME: Final = "\x1b[H\x1b[J"


def repeat(printer: Printer, show: Callable[[], None], *, every_s: float = EVERY_S) -> None:
    """Calls `show` until interrupted; a cluster that is away for a moment ends nothing."""
    while True:
        if printer.is_table and is_terminal(sys.stdout):
            print(_HOME, end="")
        try:
            show()
        except RaftbookError as error:
            say(f"raftbook: {judge(error)[1]}")
        time.sleep(every_s)

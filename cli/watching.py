"""Showing something again whenever it has changed, until somebody interrupts it.

Owns the rhythm and the clearing of a terminal. Must not know what is shown.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from raftbook.errors import RaftbookError

from .invocation import Invocation
from .outcomes import judge
from .output.printer import is_terminal, say

EVERY_S: Final = 0.5

_HOME: Final = "\x1b[H\x1b[J"


class Picture(NamedTuple):
    """What there is to see now.

    Attributes:
        state: two pictures of equal state show the same; only another one is shown again.
        document: as JSON, one line each.
        text: makes it for people.
    """

    state: Any
    document: Mapping[str, Any]
    text: Callable[[], str]


def watch(invocation: Invocation, look: Callable[[], Picture], *, every_s: float = EVERY_S) -> None:
    """Shows what `look` sees whenever it has changed, until interrupted.

    The first look must succeed; later a cluster that is away for a moment ends nothing, and is told
    once.
    """
    invocation.goes_on = True
    printer = invocation.printer
    picture, trouble = look(), ""
    shown: Any = None
    while True:
        if shown is None or picture.state != shown:
            shown = picture.state
            if not printer.is_table:
                printer.line(picture.document)
            else:
                home = _HOME if is_terminal(sys.stdout) else ""
                print(home + picture.text(), flush=True)
        time.sleep(every_s)
        try:
            picture, trouble = look(), ""
        except RaftbookError as error:
            line = judge(error, invocation)[1]
            if line != trouble:
                say(f"raftbook: {line}")
            trouble = line

"""What a demo shows while it runs: a picture on a terminal, plain lines everywhere else.

Owns the layout. Talk, all of it: the summary at the end is the demo's only data.
"""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from typing import Final

from raftbook.client.views import BookView

from .book import book_picture
from .bots import Tally
from .cluster import health_line, status_table
from .cluster_view import ClusterView
from .output.printer import Printer, is_terminal, say

STORY_LINES: Final = 8
PLAIN_EVERY_S: Final = 2.0

_HOME_AND_CLEAR: Final = "\x1b[H\x1b[J"
_HIDE_CURSOR: Final = "\x1b[?25l"
_SHOW_CURSOR: Final = "\x1b[?25h"


class Screen:
    """Shows the state again and again, and tells the story beside it.

    Attributes:
        page: where the page is, None without one.
    """

    def __init__(self) -> None:
        self.page: str | None = None
        self._began = time.monotonic()
        self._is_live = is_terminal(sys.stderr) and os.environ.get("TERM") != "dumb"
        self._printer = Printer(colour=self._is_live and not os.environ.get("NO_COLOR"))
        self._story: deque[str] = deque(maxlen=STORY_LINES)
        self._plain_due = 0.0

    def tell(self, text: str) -> None:
        """One thing that happened."""
        line = f"{time.monotonic() - self._began:6.1f} s  {text}"
        self._story.append(line)
        if not self._is_live:
            say(line)

    def draw(
        self, view: ClusterView | None, book: BookView | None, tally: Tally, rate: float
    ) -> None:
        """The present state."""
        now = time.monotonic()
        counts = f"{tally.orders} orders acknowledged ({rate:.0f}/s), {tally.trades} trades"
        if not self._is_live:
            if now >= self._plain_due:
                self._plain_due = now + PLAIN_EVERY_S
                leader = "-" if view is None or view.leader_id is None else view.leader_id
                say(f"{now - self._began:6.1f} s  leader {leader}  {counts}{_best(book)}")
            return
        parts = [self._printer.paint(f"raftbook demo  {now - self._began:.1f} s  {counts}", "bold")]
        if self.page is not None:
            parts.append(f"trade in it yourself: {self.page}")
        if view is not None:
            parts += ["", status_table(view), health_line(view)]
        if book is not None:
            parts += ["", book_picture(book, self._printer)]
        parts += ["", *self._story]
        print(_HIDE_CURSOR + _HOME_AND_CLEAR + "\n".join(parts), file=sys.stderr, flush=True)

    def close(self) -> None:
        """Gives the terminal back: what is told from now on stands below the last picture."""
        if self._is_live:
            print(_SHOW_CURSOR, end="", file=sys.stderr, flush=True)
            self._is_live = False


def _best(book: BookView | None) -> str:
    if book is None or not book.bids or not book.asks:
        return ""
    return f"  {book.symbol} {book.bids[0].price:f} / {book.asks[0].price:f}"

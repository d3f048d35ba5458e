"""What the headers tell of the request at hand: X-Raftbook-Entry and X-Raftbook-Applied.

Owns the two values, which go with the task that answers the request: what is between the log and
the answer need not hand them on.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final

ENTRY_INDEX: Final[ContextVar[int]] = ContextVar("ENTRY_INDEX", default=0)
"""The entry of the log in which it took effect; 0 while it has taken none."""
SHOWN_INDEX: Final[ContextVar[int]] = ContextVar("SHOWN_INDEX", default=0)
"""What it shows is of this entry or a later one; 0 of what shows nothing."""

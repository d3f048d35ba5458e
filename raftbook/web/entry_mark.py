"""In which entry of the log the request at hand took effect, for the header X-Raftbook-Entry.

Owns the one value, which goes with the task that answers the request: what is between the log and
the answer need not hand it on.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final

ENTRY_INDEX: Final[ContextVar[int]] = ContextVar("ENTRY_INDEX", default=0)
"""0 while it has taken no effect."""

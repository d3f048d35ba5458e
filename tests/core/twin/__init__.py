"""The stupid twin: the whole exchange again, slow and obvious, to be compared with the real one.

Written from docs/MATCHING.md and the shapes of commands.py and events.py alone. It keeps one list
of orders and scans it for everything; it shares no code with the engine beyond its numbers. It must
never become clever: when the two differ, a person reads it to see who is right.

`state` has what it keeps, `forms` what is well formed, `base` the scans and the telling; on these
stand `money`, `matching`, `stops`, `auction`, `judging` (why a new order is refused), `entering`,
`amending`, `cancelling`, `pegs`, `venue` (what operators do), `sessions`; `exchange` is all of it.
"""

from tests.core.twin.exchange import Twin

__all__ = ["Twin"]

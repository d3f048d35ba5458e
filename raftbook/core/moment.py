"""Where the exchange stands in the log and in logical time."""

from raftbook.core.versions import FIRST_ENGINE_VERSION


class Moment:
    """The entry being applied: its index (0 before the first) and logical time, ns since 1970 UTC.

    One object, owned and moved by the exchange, read by whatever stamps what it keeps. stamp_ns is
    what orders are stamped with: the time, but 0 under engine version 1, which keeps no such times.
    engine_version: the rules that are in force.
    """

    __slots__ = ("engine_version", "index", "stamp_ns", "time_ns")

    def __init__(self) -> None:
        self.index = 0
        self.time_ns = 0
        self.stamp_ns = 0
        self.engine_version = FIRST_ENGINE_VERSION

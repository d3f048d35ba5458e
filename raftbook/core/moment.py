"""Where the exchange stands in the log and in logical time."""


class Moment:
    """The entry being applied: its index (0 before the first) and logical time, ns since 1970 UTC.

    One object, owned and moved by the exchange, read by whatever stamps what it keeps. stamp_ns is
    what orders are stamped with: the time, but 0 under engine version 1, which keeps no such times.
    """

    __slots__ = ("index", "stamp_ns", "time_ns")

    def __init__(self) -> None:
        self.index = 0
        self.time_ns = 0
        self.stamp_ns = 0

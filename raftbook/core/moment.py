"""Where the exchange stands in the log and in logical time."""


class Moment:
    """The entry being applied: its index (0 before the first) and logical time, ns since 1970 UTC.

    One object, owned and moved by the exchange, read by whatever stamps what it keeps.
    """

    __slots__ = ("index", "time_ns")

    def __init__(self) -> None:
        self.index = 0
        self.time_ns = 0

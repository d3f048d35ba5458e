"""The engine, its twin and the ledger side by side: each entry goes to all, and all must agree."""

from typing import Any

from raftbook.core import commands as c
from raftbook.core import events as e
from raftbook.core.commands import Entry
from raftbook.core.exchange import Exchange, Genesis
from raftbook.core.invariants import check
from raftbook.core.types import Side, TimeInForce
from tests.core.flow import GENESIS
from tests.core.ledger import Ledger
from tests.core.twin import Twin


def is_plain(value: Any) -> bool:
    """Whether a value holds nothing but integers, text and None: no boolean, enum or list."""
    if isinstance(value, tuple):
        return all(is_plain(item) for item in value)
    return value is None or type(value) in (int, str)


class Pair:
    """The engine, the twin and the ledger, driven together."""

    def __init__(self, genesis: Genesis = GENESIS) -> None:
        self.engine = Exchange(genesis)
        self.twin = Twin(genesis)
        self.ledger = Ledger(genesis)

    def apply(self, entry: Entry) -> list[Any]:
        told = self.engine.apply(entry)
        expected = self.twin.apply(entry)
        assert e.unasked(told) == e.unasked(expected), f"{entry}\n  {told}\n  {expected}"
        asked = (("what nobody asked for",) * e.unasked(told)) + tuple(entry.requests)
        for request, ours, theirs in zip(asked, told, expected, strict=True):
            assert ours == theirs, f"request {request}\n  engine {ours}\n  twin   {theirs}"
            for event in ours[4]:
                is_echo = event[0] in (e.REJECTED, e.CANCEL_REJECTED)  # it holds what was sent
                assert is_echo or is_plain(event), f"not plain: {event}"
        assert self.engine.now_ns == self.twin.now_ns, "the clocks differ"
        self.ledger.read(told)
        return told

    def check(self) -> None:
        check(self.engine)
        self.ledger.check()

    def sweep(self) -> None:
        """Empty both books by trading, so that every queue still standing is compared."""
        index = self.engine.applied_index + 1
        session_id = self.twin.session_ids + 1
        self.apply(Entry(index, 10**20, ((c.NO_SESSION, 0, (c.open_session("op", "z"),)),)))
        requests = []
        for symbol in self.twin.instruments:
            for side, price in ((Side.BUY, 2), (Side.SELL, -2)):
                ioc = c.new_order(symbol, side, 3, price, time_in_force=TimeInForce.IOC)
                requests += [(session_id, len(requests) + n + 1, (ioc,)) for n in range(12)]
        self.apply(Entry(index + 1, 10**20, tuple(requests)))

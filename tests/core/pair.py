"""The engine, its twin and the ledger side by side: each entry goes to all, and all must agree."""

from typing import Any

from raftbook.core import commands as c
from raftbook.core import events as e
from raftbook.core.commands import Entry
from raftbook.core.exchange import Exchange, Genesis
from raftbook.core.invariants import check
from raftbook.core.types import OrderType, Phase, Side, TimeInForce
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
        assert len(told) == len(expected), f"{entry}\n  engine {told}\n  twin   {expected}"
        unasked = len(expected) - len(entry.requests)
        asked = [*["what nobody asked for"] * unasked, *entry.requests]
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
        self.ledger.check(is_unfinished=self.engine.is_unfinished)
        self.ledger.purse.check()
        for name, account in self.engine.accounts.items():
            same = self.twin.accounts[name]
            closed = [order.terms[0] for order in account.closed]
            assert closed == self.twin.closed_of(name), f"other closed orders of {name}: {closed}"
            for currency in self.twin.currencies:
                told = self.ledger.purse.owned(name, currency)
                balance = account.balances.get(currency)
                has = (balance.available, balance.held) if balance is not None else (0, 0)
                due = (same.available.get(currency, 0), same.held.get(currency, 0))
                assert has == due, f"{name} has {has} {currency}, the twin says {due}"
                assert sum(has) == told, f"{name} has {has} {currency}, the events say {told}"

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

    def call_and_sweep(self) -> None:
        """The same by auctions, which no collar, band or bound of fills cuts short: first with
        market orders that sell, then with some that buy."""
        session_id = self.twin.session_ids + 1
        self._say((c.NO_SESSION, 0, (c.open_session("op", "zz"),)))
        freed = [c.set_kill_switch(account=name, on=False) for name in ("", "op")]
        freed.append(
            c.set_account(
                "op",
                enabled=True,
                group="",
                open_orders_max=0,
                order_qty_max=0,
                order_notional_max=0,
                orders_per_s=0,
            )
        )
        freed += [
            c.deposit("op", currency, 100_000, f"sweep-{currency}")
            for currency in self.twin.currencies
        ]
        seq = 1
        self._say((session_id, seq, tuple(freed)))
        self.check()
        for symbol, instrument in list(self.twin.instruments.items()):
            for side in (Side.SELL, Side.BUY):
                order = c.place_order(
                    symbol,
                    side,
                    instrument.terms.qty_max,
                    None,
                    ord_type=OrderType.MARKET,
                    time_in_force=TimeInForce.AT_AUCTION,
                )
                begin = c.set_phase(symbol, Phase.AUCTION)
                end = c.set_phase(symbol, Phase.CONTINUOUS)
                seq += 1
                self._say((session_id, seq, (begin, *(order,) * 6, end)))

    def _say(self, *requests: c.Request) -> None:
        """One entry with these requests, and as many as it leaves work for."""
        self.apply(Entry(self.engine.applied_index + 1, 10**20, requests))
        if self.engine.is_unfinished:
            self._say()

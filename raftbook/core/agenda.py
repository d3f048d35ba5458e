"""What is to be done without being asked: at a time, or because it did not fit into one command.

Owns the lists of it and when the next of it is due. What is done then is `chores.py`'s; knows
nothing of how.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import Final

from raftbook.core.ladder import Order
from raftbook.core.room import Room

NEVER: Final = 2**64
"""No logical time is later."""
_SWEEP_MIN: Final = 64
"""The heap of expiries is swept of what has ended whenever it has doubled, from here on."""
_STALE_PART: Final = 32
"""Or when one in so many of it was passed over at once: to make it anew then costs less."""


class MassCancel:
    """Orders that end, a page at a time.

    Attributes:
        account: whose, as it is told; "*" for all accounts.
        reason: the reject code that each CANCELED tells.
        names: accounts that are still to be looked through, the next one last.
        current: the account whose orders are in `ids`.
        ids: of that account, open or not, still to be looked at, the next one last.
        last_order_id: younger orders are not meant.
        session_id, symbol, side, price_low, price_high: as in `commands.mass_cancel`.
        sessions: those whose orders are meant, each with the last one of them, where they lapsed;
            since engine version 4.
    """

    __slots__ = (
        "account",
        "current",
        "ids",
        "last_order_id",
        "names",
        "price_high",
        "price_low",
        "reason",
        "session_id",
        "sessions",
        "side",
        "symbol",
    )

    def __init__(self, account: str, reason: int, names: list[str], last_order_id: int) -> None:
        self.account = account
        self.reason = reason
        self.names = names
        self.current = ""
        self.ids: list[int] = []
        self.last_order_id = last_order_id
        self.session_id = 0
        self.sessions: dict[int, int] = {}
        self.symbol = ""
        self.side = 0
        self.price_low: int | None = None
        self.price_high: int | None = None

    def is_waiting(self) -> bool:
        """Whether sessions left it, and it has not begun: then others may join it."""
        return bool(self.sessions and self.names)

    def is_over(self) -> bool:
        """Whether every order was looked at."""
        return not self.ids and not self.names

    def fits(self, order: Order) -> bool:
        """Whether an order is meant and still open."""
        terms = order.terms
        if not order.leaves_qty or terms[0] > self.last_order_id:
            return False
        if self.session_id and order.session_id != self.session_id:
            return False
        if self.sessions and terms[0] > self.sessions.get(order.session_id, 0):
            return False
        if self.symbol and terms[3] != self.symbol:
            return False
        if self.side and terms[4][0] != self.side:
            return False
        price = terms[6]
        if self.price_low is not None and (price is None or price < self.price_low):
            return False
        return self.price_high is None or (price is not None and price <= self.price_high)


class Agenda:
    """Everything that is due at some time.

    Attributes:
        next_ns: the earliest time at which something may be due; 0 while there is unfinished work.
        mass_cancels: under way, eldest first.
        waiting: of those that sessions left, by account the one that has not begun.
        cancels_under_way: how many of them are told as an account's, by account.
        ended_day: DAY orders of days that were rolled, still to expire, the next one last.
        day_orders: DAY orders of this day in order_id order, some of them closed.
        expiries: a heap of (expire_time_ns, order_id, order); entries that are no longer
            true are passed over.
        leases: by session_id, the earliest time at which the lease of a session may be over.
        day: how many days were rolled.
        calls: instruments whose call ends at a time, by symbol.
        stopped: instruments in which stops wait for the next entry, in order.
        uncrossing: instruments whose auction goes on in the next entry, in the order they began.
        following: instruments in which pegged orders wait for the next entry to move, in the order
            they began to.
        is_pegged: whether there ever was a pegged order, as far as this object lives.
        is_quoted: whether there ever was a stop that looks at bid or ask, likewise.
        room: what this entry has room for.
    """

    __slots__ = (
        "_day_sweep_at",
        "_sweep_at",
        "calls",
        "cancels_under_way",
        "day",
        "day_orders",
        "ended_day",
        "expiries",
        "following",
        "is_pegged",
        "is_quoted",
        "leases",
        "mass_cancels",
        "next_ns",
        "room",
        "stopped",
        "uncrossing",
        "waiting",
    )

    def __init__(self) -> None:
        self.next_ns = NEVER
        self.mass_cancels: list[MassCancel] = []
        self.waiting: dict[str, MassCancel] = {}
        self.cancels_under_way: dict[str, int] = {}
        self.ended_day: list[Order] = []
        self.day_orders: list[Order] = []
        self.expiries: list[tuple[int, int, Order]] = []
        self.leases: dict[int, int] = {}
        self.calls: dict[str, int] = {}
        self.stopped: dict[str, None] = {}
        self.uncrossing: dict[str, None] = {}
        self.following: dict[str, None] = {}
        self.is_pegged = self.is_quoted = False
        self.room = Room()
        self.day = 0
        self._sweep_at = _SWEEP_MIN
        self._day_sweep_at = _SWEEP_MIN

    def expire_at(self, order: Order, time_ns: int) -> None:
        """A GTD order ends then; again when its time was changed."""
        heappush(self.expiries, (time_ns, order.terms[0], order))
        self.wake_at(time_ns)
        if len(self.expiries) >= self._sweep_at:
            self._sweep_expiries()

    def _sweep_expiries(self) -> None:
        current = {entry[:2]: entry for entry in self.expiries if is_current(entry)}
        self.expiries = list(current.values())  # once each, however often it came back
        heapify(self.expiries)
        self._sweep_at = max(_SWEEP_MIN, 2 * len(self.expiries))

    def add_day_order(self, order: Order) -> None:
        """A new order ends when this day is rolled."""
        self.day_orders.append(order)
        if len(self.day_orders) >= self._day_sweep_at:
            self.day_orders = [each for each in self.day_orders if each.leaves_qty]
            self._day_sweep_at = max(_SWEEP_MIN, 2 * len(self.day_orders))

    def roll_day(self) -> int:
        """End the day; the number of the day that begins. Its orders are for `ended_day` now."""
        ended = [order for order in self.day_orders if order.leaves_qty]
        self.ended_day = ended[::-1] + self.ended_day
        self.day_orders = []
        self.day += 1
        return self.day

    def expired(self, now_ns: int) -> Order | None:
        """Take out the next order whose time has come, None if there is none."""
        stale = 0
        while self.expiries and self.expiries[0][0] <= now_ns:
            entry = heappop(self.expiries)
            if is_current(entry):
                return entry[2]
            stale += 1
            if stale >= _SWEEP_MIN and stale * _STALE_PART > len(self.expiries):
                self._sweep_expiries()
                stale = 0
        return None

    def take_mass_cancels(self) -> list[MassCancel]:
        """All that are under way, to go on and be added again if they are not over then."""
        taken = self.mass_cancels
        self.mass_cancels = []
        self.waiting.clear()
        self.cancels_under_way.clear()
        return taken

    def add_mass_cancel(self, job: MassCancel) -> None:
        """Let it go on behind all others."""
        self.mass_cancels.append(job)
        under_way = self.cancels_under_way
        under_way[job.account] = under_way.get(job.account, 0) + 1
        if job.is_waiting():
            self.waiting[job.account] = job

    def wake_at(self, time_ns: int) -> None:
        """Something is due then."""
        if time_ns < self.next_ns:
            self.next_ns = time_ns

    def plan(self, now_ns: int) -> None:
        """Find out when something is due next; now_ns and earlier is unfinished work."""
        if self.mass_cancels or self.ended_day or self.stopped or self.following or self.uncrossing:
            self.next_ns = 0
            return
        times = [NEVER, *self.leases.values(), *self.calls.values()]
        if self.expiries:
            times.append(self.expiries[0][0])
        earliest = min(times)
        self.next_ns = 0 if earliest <= now_ns else earliest


def is_current(entry: tuple[int, int, Order]) -> bool:
    """Whether an order is open and still ends at the time of this entry."""
    time_ns, _, order = entry
    if not order.leaves_qty:
        return False
    conditions = order.terms[7]
    return bool(conditions[5] == time_ns)

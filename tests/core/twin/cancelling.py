"""Cancels: of one order, of many in pages, and what time ends."""

from collections.abc import Callable
from typing import Any

from raftbook.core import events as e
from raftbook.core.types import Reject
from raftbook.core.types import TimeInForce as Tif
from tests.core.twin.amending import Amending
from tests.core.twin.state import MassCancelJob, TwinOrder, TwinSession

EVERYBODY = "*"
MASS_CANCELS_MAX = 16
LOOKS_PER_CANCEL = 16


class Cancelling(Amending):
    def cancel_order(self, account: str, command: Any) -> None:
        _, order_id, client_id = command
        order = self.find(account, order_id, client_id)
        if order is None:
            self.refuse(command, Reject.UNKNOWN_ORDER)
        elif order.closed:
            self.refuse(command, Reject.TOO_LATE)
        elif self.instruments[order.symbol].auction is not None:
            self.refuse(command, Reject.PHASE_FORBIDS)
        else:
            self.end(order, e.CANCELED, Reject.NONE)

    # ------------------------------------------------------------------------------- mass cancels

    def mass_cancel(self, session: TwinSession, command: Any) -> None:
        _, account, session_id, symbol, side, low, high = command
        account = account or session.account
        is_operator = self.accounts[session.account].is_operator
        if account != session.account and not is_operator:
            return self.refuse(command, Reject.NOT_AUTHORIZED)
        if account != EVERYBODY and account not in self.accounts:
            return self.refuse(command, Reject.UNKNOWN_ACCOUNT)
        if symbol and symbol not in self.instruments:
            return self.refuse(command, Reject.UNKNOWN_INSTRUMENT)
        if side not in (0, 1, 2):
            return self.refuse(command, Reject.BAD_SIDE)
        if (low is not None or high is not None) and not symbol:
            return self.refuse(command, Reject.UNSUPPORTED_COMBINATION)
        under_way = [job for job in self.mass_cancels if job.account == session.account]
        if len(under_way) >= MASS_CANCELS_MAX and not is_operator:
            return self.refuse(command, Reject.RATE_LIMIT)

        def fits(order: TwinOrder) -> bool:
            if low is not None or high is not None:
                if order.price is None:
                    return False
            return (
                account in (EVERYBODY, order.account)
                and session_id in (0, order.session_id)
                and symbol in ("", order.symbol)
                and side in (0, order.side)
                and (low is None or order.price >= low)
                and (high is None or order.price <= high)
            )

        self.cancel_many(account, fits, Reject.MASS_CANCEL)
        return None

    def cancel_many(self, account: str, fits: Callable[[TwinOrder], bool], reason: int) -> None:
        """Cancel what fits when its turn comes, account by account in order of creation, each by
        order_id."""
        names = list(self.accounts) if account == EVERYBODY else [account]
        meant = [order.order_id for order in self.open_orders()]
        self.begin_mass_cancel(MassCancelJob(account, reason, fits, meant, names, []))

    def begin_mass_cancel(self, job: MassCancelJob) -> None:
        self.cancel_page(job, 0 if self.auctions() else self.limits.cancel_page)
        if job.names or job.order_ids:
            self.mass_cancels.append(job)

    def next_to_cancel(self, job: MassCancelJob) -> TwinOrder | None:
        """Each account costs a look, and each of its orders, those too that are only remembered.
        None is begun when there are no looks left."""
        while job.names or job.order_ids:
            if not job.order_ids and self.looks <= 0:
                return None
            self.looks -= 1
            if not job.order_ids:
                name = job.names.pop(0)
                job.order_ids = sorted(o.order_id for o in self.orders if o.account == name)
                continue
            order = self.order_of(job.order_ids.pop(0))
            if order is None or order.closed or order.order_id not in job.meant:
                continue
            if job.fits(order):
                return order
        return None

    def cancel_page(self, job: MassCancelJob, room: int) -> int:
        """Cancel as many of a mass cancel as there is room for; how many that were."""
        page: list[TwinOrder] = []
        while len(page) < room and (order := self.next_to_cancel(job)) is not None:
            page.append(order)
        told_first = len(self.out)
        for order in page:
            if not order.closed:  # its other leg may have ended it
                self.end(order, e.CANCELED, job.reason)
        following = self.next_to_cancel(job)
        if following is not None:
            job.order_ids.insert(0, following.order_id)
        more = int(bool(job.names or job.order_ids))
        self.out.insert(told_first, (e.MASS_CANCELED, 0, job.account, len(page), more))
        return len(page)

    def go_on_with_mass_cancels(self, jobs: list[MassCancelJob]) -> None:
        room = self.limits.cancel_page
        for job in jobs:
            if room > 0 and self.looks > 0:
                room -= self.cancel_page(job, room)
        self.mass_cancels = [job for job in self.mass_cancels if job.names or job.order_ids]

    # --------------------------------------------------------------------------------------- time

    def expire_orders(self) -> None:
        due = [
            order
            for order in self.open_orders()
            if order.tif == Tif.GTD and order.conditions.expire_time_ns <= self.now_ns
        ]
        due.sort(key=lambda o: (o.conditions.expire_time_ns, o.order_id))
        self.expire_page(due, self.limits.expiries_page)

    def expire_page(self, due: list[TwinOrder], room: int) -> int:
        """As many as there is room for, but for those that ended with one before them.

        Returns:
            How much of the room is left.
        """
        for order in due:
            if room and not order.closed:
                room -= 1
                self.end(order, e.EXPIRED, Reject.TIME_IS_UP)
        return room

    def roll_day(self) -> None:
        self.day += 1
        self.private(e.DAY_ROLLED, self.day)
        self.expire_days()

    def expire_days(self) -> None:
        """DAY orders of days that are over, by order_id, as many of them as an entry may end."""
        due = [o for o in self.open_orders() if o.tif == Tif.DAY and o.day < self.day]
        due.sort(key=lambda o: o.order_id)
        if self.auctions():
            return
        self.days_room = self.expire_page(due, self.days_room)

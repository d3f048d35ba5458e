"""What the exchange does unasked at the beginning of an entry: what time ends, and unfinished work.

Owns the order of it (docs/MATCHING.md "Time") and its pages: nothing here may take longer than one
entry may. When it is due stands in `agenda.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from raftbook.core.aftermath import look_anew
from raftbook.core.agenda import NEVER, MassCancel
from raftbook.core.call import go_on_uncrossing, set_phase
from raftbook.core.events import MASS_CANCELED, SESSION_LAPSED, Event
from raftbook.core.ladder import Order
from raftbook.core.sessions import Session
from raftbook.core.types import Reject

if TYPE_CHECKING:
    from raftbook.core.exchange import Exchange

_TIME_IS_UP: Final = int(Reject.TIME_IS_UP)
_DISCONNECTED: Final = int(Reject.DISCONNECTED)


def do_chores(exchange: Exchange, events: list[Event]) -> None:
    """Everything that is due now; `agenda.next_ns` says when there will be something again."""
    agenda = exchange.agenda
    agenda.next_ns = NEVER
    stopped = list(agenda.stopped)
    _go_on_with_auctions(exchange, events)
    if not agenda.uncrossing:  # nothing may end the orders of an auction but itself
        _do_what_is_due(exchange, stopped, events)
    look_anew(exchange, events)
    agenda.plan(exchange.moment.time_ns)


def _go_on_with_auctions(exchange: Exchange, events: list[Event]) -> None:
    """Auctions under way, the eldest first."""
    for symbol in list(exchange.agenda.uncrossing):
        if not exchange.agenda.room.auctions:
            break
        book = exchange.books[symbol]
        go_on_uncrossing(book, events)
        if book.stops is not None:
            book.fire_stops(events)


def _do_what_is_due(exchange: Exchange, stopped: list[str], events: list[Event]) -> None:
    agenda, now_ns = exchange.agenda, exchange.moment.time_ns
    page = exchange.limits.cancel_page
    for job in agenda.take_mass_cancels():
        if page and agenda.room.cancel_looks > 0:
            page -= len(go_on(exchange, job, page, events))
        else:
            agenda.add_mass_cancel(job)
    _end_leases(exchange, now_ns, events)
    _expire_due(exchange, now_ns, events)
    end_days(exchange, events)
    is_before_calls = exchange.engine_version > 2
    if is_before_calls:
        _fire_stopped(exchange, stopped, events)
    _end_calls(exchange, now_ns, events)
    if not is_before_calls:
        _fire_stopped(exchange, stopped, events)


def _fire_stopped(exchange: Exchange, stopped: list[str], events: list[Event]) -> None:
    """The stops that wait for this entry, of these instruments."""
    agenda = exchange.agenda
    for symbol in stopped:
        if agenda.room.is_spent():
            return  # who has not had his turn keeps his place
        book = exchange.books[symbol]
        del agenda.stopped[symbol]
        if book.stops is not None:
            book.fire_stops(events)


# -- sessions ------------------------------------------------------------------------------------


def _end_leases(exchange: Exchange, now_ns: int, events: list[Event]) -> None:
    leases = exchange.agenda.leases
    over: list[tuple[int, int, Session]] = []
    for session_id in [each for each, due_ns in leases.items() if due_ns <= now_ns]:
        session = exchange.sessions.by_id.get(session_id)
        if session is None or not session.lease_ns:
            del leases[session_id]
            continue
        leases[session_id] = end_ns = session.lease_end_ns()
        if end_ns <= now_ns:
            over.append((end_ns, session_id, session))
    for _, _, session in sorted(over):
        lapse(exchange, session, events)


def lapse(exchange: Exchange, session: Session, events: list[Event]) -> list[Order]:
    """A session is served no longer: its orders end. Once in an epoch."""
    session.cancels = False
    session.lease_ns = 0
    exchange.agenda.leases.pop(session.session_id, None)
    events.append((SESSION_LAPSED, 0, session.session_id, session.epoch))
    return end_orders(exchange, session, events)


def end_orders(exchange: Exchange, session: Session, events: list[Event]) -> list[Order]:
    """End the orders of a session, as many as there is room for now; see `go_on`."""
    job, is_new = _job_for(exchange, session)
    if is_new:
        return go_on(exchange, job, exchange.limits.cancel_page, events)
    events.append((MASS_CANCELED, 0, job.account, 0, 1))
    return []


def leave_orders(exchange: Exchange) -> None:
    """Let orders that were to end with forgotten sessions end with the next entry."""
    forsaken = exchange.sessions.forsaken
    if forsaken and exchange.engine_version > 3:
        for session in forsaken:
            job, is_new = _job_for(exchange, session)
            if is_new:
                exchange.agenda.add_mass_cancel(job)
        exchange.agenda.wake_at(0)
    forsaken.clear()


def _job_for(exchange: Exchange, session: Session) -> tuple[MassCancel, bool]:
    """What ends a session's orders, and whether it was made for that: since engine version 4 an
    account has one at most that waits and has not begun, however many of its sessions lapse."""
    name, last_order_id = session.account.name, exchange.last_order_id
    job = exchange.agenda.waiting.get(name)
    is_new = job is None
    if job is None:
        job = MassCancel(name, _DISCONNECTED, [name], last_order_id)
    if exchange.engine_version < 4:
        job.session_id = session.session_id
    else:
        job.sessions[session.session_id] = job.last_order_id = last_order_id
    return job, is_new


# -- mass cancels --------------------------------------------------------------------------------


def go_on(exchange: Exchange, job: MassCancel, room: int, events: list[Event]) -> list[Order]:
    """Cancel at most `room` orders, and none while an auction goes on; what is left, or what this
    entry may not look at any more, goes on with the next entry. Which orders it were."""
    agenda = exchange.agenda
    if agenda.uncrossing:
        room = 0
    place = len(events)
    page: list[Order] = []
    while len(page) < room:
        order = _next(exchange, job)
        if order is None:
            break
        page.append(order)
    for order in page:
        if order.leaves_qty:  # else its pair was on this page before it
            order.book.cancel(order, job.reason, events)
    following = _next(exchange, job)
    if following is not None:
        job.ids.append(following.terms[0])
    is_over = job.is_over()
    if not is_over:
        agenda.add_mass_cancel(job)
        agenda.wake_at(0)
    events.insert(place, (MASS_CANCELED, 0, job.account, len(page), int(not is_over)))
    return page


def _next(exchange: Exchange, job: MassCancel) -> Order | None:
    """The next open order that is meant, taken off the job; None when there is none, or when this
    entry may begin with no other account. An account counts as one look, and so does each of its
    orders; one that was begun is gone through, so that every entry gets on by one."""
    entry = exchange.agenda.room
    while not job.is_over():
        if not job.ids:
            if entry.cancel_looks <= 0:
                return None
            entry.cancel_looks -= 1
            if job.is_waiting():
                exchange.agenda.waiting.pop(job.account, None)
            job.current = job.names.pop()
            job.ids = list(exchange.accounts[job.current].orders)
            job.ids.reverse()
            continue
        entry.cancel_looks -= 1
        order = exchange.accounts[job.current].orders.get(job.ids.pop())
        if order is not None and job.fits(order):
            return order
    return None


# -- times ---------------------------------------------------------------------------------------


def _expire_due(exchange: Exchange, now_ns: int, events: list[Event]) -> None:
    for _ in range(exchange.limits.expiries_page):
        order = exchange.agenda.expired(now_ns)
        if order is None:
            return
        order.book.expire(order, _TIME_IS_UP, events)


def end_days(exchange: Exchange, events: list[Event]) -> None:
    """Expire orders of days that were rolled, as long as there is room."""
    agenda = exchange.agenda
    ended = agenda.ended_day
    if agenda.uncrossing:
        agenda.wake_at(0)
        return
    while agenda.room.days:
        while ended and not ended[-1].leaves_qty:
            ended.pop()
        if not ended:
            return
        agenda.room.days -= 1
        order = ended.pop()
        order.book.expire(order, _TIME_IS_UP, events)
    if ended:
        agenda.wake_at(0)


def _end_calls(exchange: Exchange, now_ns: int, events: list[Event]) -> None:
    """Calls that end, as long as their auctions find room; the others end with the next entry."""
    agenda, calls = exchange.agenda, exchange.agenda.calls
    due = sorted((until_ns, symbol) for symbol, until_ns in calls.items() if until_ns <= now_ns)
    for _, symbol in due:
        if not agenda.room.auctions or agenda.uncrossing:
            return
        book = exchange.books[symbol]
        set_phase(book, book.call_then, events)
        if book.stops is not None:
            book.fire_stops(events)

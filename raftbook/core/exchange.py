"""The exchange: `replies = exchange.apply(entry)`, the one function that changes anything.

Owns the order of effects: requests in entry order, commands in request order, each validated whole
before it changes state. Total by design: whatever a committed entry holds, the answer is a reply;
an exception out of `apply` is a bug, and the node that meets it must stop.
Knows no clock, network, disk or Raft; time and order come in the entry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple

from raftbook.core.accounts import Account
from raftbook.core.book import Book
from raftbook.core.commands import (
    AMEND_ORDER,
    CANCEL_ORDER,
    CLOSE_SESSION,
    CREATE_INSTRUMENT,
    NEW_ORDER,
    NO_SESSION,
    OPEN_SESSION,
    SET_PHASE,
    Command,
    Entry,
    form_error,
    is_engine_switch,
)
from raftbook.core.digest import DIGEST_PENDING_MAX, RollingDigest
from raftbook.core.events import (
    CANCEL_REJECTED,
    ENGINE_VERSION_SET,
    INSTRUMENT_CREATED,
    PHASE_CHANGED,
    REJECTED,
    SESSION_CLOSED,
    SESSION_OPENED,
    Event,
    Reply,
)
from raftbook.core.instrument import InstrumentTerms, terms_error
from raftbook.core.ladder import Order
from raftbook.core.limits import Limits
from raftbook.core.moment import Moment
from raftbook.core.sessions import Session, SessionTable
from raftbook.core.types import Phase, Reject
from raftbook.core.validate import (
    COMBINATIONS,
    amend_reject,
    new_order_reject,
)
from raftbook.core.versions import FIRST_ENGINE_VERSION, refuse_engine_version

_Handler = Callable[[Session, Command, list[Event]], None]

TIME_STEP_MAX_NS: Final = 60_000_000_000
"""Logical time moves at most this far in one entry, so one wild clock cannot expire everything."""

_MALFORMED: Final = int(Reject.MALFORMED)
_UNKNOWN_ORDER: Final = int(Reject.UNKNOWN_ORDER)
_TOO_LATE: Final = int(Reject.TOO_LATE)
_PHASES: Final = frozenset(int(phase) for phase in Phase)


class Genesis(NamedTuple):
    """What the exchange starts from: the same on every node, or they are not one cluster.

    Attributes:
        instruments: terms of the first instruments.
        accounts: (name, is_operator) of the first accounts.
        limits: bounds.
    """

    instruments: tuple[InstrumentTerms, ...]
    accounts: tuple[tuple[str, bool], ...]
    limits: Limits = Limits()


class Exchange:
    """All instruments, accounts and sessions.

    Attributes:
        moment: index of the last entry applied and logical time; only entries move them.
        books: by symbol, in the order they were created.
        orders: by order_id, open ones and remembered closed ones.
        digest: rolling digest of every event so far.
        engine_version: the rules in force; see `versions.py`.
    """

    def __init__(self, genesis: Genesis) -> None:
        limits = genesis.limits
        self.genesis = genesis
        self.limits = limits
        self.moment = Moment()
        self.last_order_id = 0
        self.books: dict[str, Book] = {}
        self.accounts: dict[str, Account] = {}
        self.orders: dict[int, Order] = {}
        self.digest = RollingDigest()
        self.engine_version = FIRST_ENGINE_VERSION
        self.sessions = SessionTable(limits)
        self._sessions = self.sessions.by_id
        self._window = limits.reply_window
        self._handlers: dict[int | None, _Handler] = {
            NEW_ORDER: self._new_order,
            CANCEL_ORDER: self._cancel_order,
            AMEND_ORDER: self._amend_order,
            OPEN_SESSION: self._misplaced,
            CLOSE_SESSION: self._close_session,
            CREATE_INSTRUMENT: self._create_instrument,
            SET_PHASE: self._set_phase,
        }
        for terms in genesis.instruments:
            error = terms_error(terms)
            assert error is None, f"genesis instrument {terms.symbol}: {error}"
            self.books[terms.symbol] = Book(terms, limits, self.moment)
        for name, is_operator in genesis.accounts:
            self.add_account(name, is_operator=is_operator)

    @property
    def applied_index(self) -> int:
        """Index of the last entry applied, 0 before the first."""
        return self.moment.index

    @property
    def now_ns(self) -> int:
        """Logical time, nanoseconds since 1970 UTC."""
        return self.moment.time_ns

    def add_account(self, name: str, *, is_operator: bool) -> Account:
        """Know an account; its name must be new."""
        assert name not in self.accounts, f"account {name} exists"
        account = self.accounts[name] = Account(
            name,
            is_operator=is_operator,
            orders=self.orders,
            limits=self.limits,
        )
        return account

    # -- the function -------------------------------------------------------------------------

    def apply(self, entry: Entry) -> list[Reply]:
        """Let one committed entry take effect.

        Args:
            entry: the next entry; its index must be above `moment.index`.

        Returns:
            One reply per request, in order. A request seen before changes nothing and gets its
            original reply, flagged poss_dup.
        """
        moment = self.moment
        index = entry.index
        assert index > moment.index, f"entry {index} after {moment.index}"
        moment.index = index
        now_ns = moment.time_ns
        step_ns = entry.time_ns - now_ns
        if step_ns > 0:
            if step_ns > TIME_STEP_MAX_NS and now_ns:
                step_ns = TIME_STEP_MAX_NS
            moment.time_ns = now_ns = now_ns + step_ns
        sessions = self._sessions
        handlers = self._handlers
        told = self.digest.pending
        replies: list[Reply] = []
        offset = 0
        for session_id, request_seq, commands in entry.requests:
            session = sessions.get(session_id)
            if session is None or request_seq <= session.highest_seq:
                reply = self._out_of_line(session, session_id, request_seq, commands, offset)
                if reply is not None:
                    replies.append(reply)
                    if not reply[5]:
                        told.append(reply[4])
                    if session is None or not reply[5]:
                        offset += len(reply[4])
                    continue
                assert session is not None, "only a gap of a session's window is let through"
            else:
                session.highest_seq = request_seq
            session.last_time_ns = now_ns
            events: list[Event] = []
            for command in commands:
                try:
                    handler = handlers[command[0] if type(command) is tuple else None]
                except (KeyError, IndexError, TypeError):
                    events.append((REJECTED, 0, _MALFORMED, command))
                else:
                    handler(session, command, events)
            reply = (session_id, request_seq, index, offset, events, 0)
            session.replies[request_seq % self._window] = reply
            replies.append(reply)
            told.append(events)
            offset += len(events)
        if len(told) >= DIGEST_PENDING_MAX:
            self.digest.fold()
        return replies

    # -- orders -------------------------------------------------------------------------------

    def _new_order(self, session: Session, command: Command, events: list[Event]) -> None:
        account = session.account
        try:
            _, symbol, side, ord_type, tif, qty, price, client_order_id, post_only, mode = command
            book = self.books.get(symbol)
            kind = COMBINATIONS.get((side, ord_type, tif, post_only, mode))
            code = new_order_reject(account, book, kind, side, qty, price, client_order_id)
        except (TypeError, ValueError):
            book, code = None, _MALFORMED
        if code:
            events.append((REJECTED, 0, int(code), command))
            return
        assert book is not None and kind is not None, f"{command} was let through"
        self.last_order_id = order_id = self.last_order_id + 1
        terms = (order_id, account.name, client_order_id, book.symbol, kind, qty, price)
        order = Order(account, book, terms, qty)
        self.orders[order_id] = order
        account.open_count += 1
        if client_order_id:
            account.by_client_order_id[client_order_id] = order
        book.enter(order, events)
        if not order.leaves_qty:
            account.close(order)

    def _cancel_order(self, session: Session, command: Command, events: list[Event]) -> None:
        try:
            _, order_id, client_order_id = command
            order = session.account.find(order_id, client_order_id)
        except (TypeError, ValueError):
            events.append((CANCEL_REJECTED, 0, _MALFORMED, command))
            return
        if order is None:
            events.append((CANCEL_REJECTED, 0, _UNKNOWN_ORDER, command))
        elif not order.leaves_qty:
            events.append((CANCEL_REJECTED, 0, _TOO_LATE, command))
        else:
            order.book.cancel(order, events)

    def _amend_order(self, session: Session, command: Command, events: list[Event]) -> None:
        order = None
        try:
            _, order_id, client_order_id, order_qty, price = command
            order = session.account.find(order_id, client_order_id)
            code = amend_reject(order, order_qty, price)
        except (TypeError, ValueError):
            code = _MALFORMED
        if order is None or code:
            events.append((CANCEL_REJECTED, 0, int(code), command))
            return
        if order_qty is not None and order_qty <= order.cum_qty:
            order.book.cancel(order, events)
            return
        order.book.amend(order, order_qty, price, events)
        if not order.leaves_qty:
            order.account.close(order)

    # -- sessions -----------------------------------------------------------------------------

    def _out_of_line(
        self,
        session: Session | None,
        session_id: int,
        request_seq: int,
        commands: Sequence[Any],
        offset: int,
    ) -> Reply | None:
        """Answer a request that does not simply follow its session's last one.

        Returns:
            The original reply of a repeated request, a refusal, or the answer to OPEN_SESSION;
            None if the request fills a gap inside the window and must be applied.
        """
        events: list[Event] = []
        if session is None:
            poss_dup = self._without_session(session_id, commands, events)
            return (session_id, request_seq, self.moment.index, offset, events, poss_dup)
        if request_seq > session.highest_seq - self.sessions.window and request_seq > 0:
            past = session.replies.get(request_seq % self.sessions.window)
            if past is None or past[1] != request_seq:
                return None
            session.last_time_ns = self.moment.time_ns
            return (*past[:5], 1)
        for command in commands:
            _refuse(command, Reject.STALE_REQUEST, events)
        return (session_id, request_seq, self.moment.index, offset, events, 0)

    def _without_session(
        self, session_id: int, commands: Iterable[Any], events: list[Event]
    ) -> int:
        """Answer a request that names no known session: it may only open one; 1 if it was open."""
        poss_dup = 0
        for command in commands:
            if session_id != NO_SESSION:
                _refuse(command, Reject.UNKNOWN_SESSION, events)
            elif is_engine_switch(command):
                self._set_engine_version(command, events)
            elif form_error(command) is not None:
                _refuse(command, Reject.MALFORMED, events)
            elif command[0] != OPEN_SESSION:
                _refuse(command, Reject.UNKNOWN_SESSION, events)
            else:
                poss_dup |= self._open_session(command, events)
        return poss_dup

    def _open_session(self, command: Command, events: list[Event]) -> int:
        """Open a session or find the one with this key; 1 if it was found."""
        _, name, key = command
        account = self.accounts.get(name)
        if account is None:
            events.append((REJECTED, 0, int(Reject.UNKNOWN_ACCOUNT), command))
            return 0
        session = self.sessions.by_key.get((name, key)) if key else None
        found = session is not None
        if session is None:
            session = self.sessions.open(account, key, self.moment.time_ns)
        else:
            session.last_time_ns = self.moment.time_ns
        if session is None:
            events.append((REJECTED, 0, int(Reject.RATE_LIMIT), command))
            return 0
        events.append((SESSION_OPENED, 0, session.session_id, name, session.highest_seq))
        return int(found)

    def _close_session(self, session: Session, command: Command, events: list[Event]) -> None:
        if form_error(command) is not None:
            _refuse(command, Reject.MALFORMED, events)
            return
        if session.session_id in self.sessions.by_id:
            self.sessions.remove(session)
        events.append((SESSION_CLOSED, 0, session.session_id))

    def _misplaced(self, session: Session, command: Command, events: list[Event]) -> None:
        is_formed = form_error(command) is None
        reason = Reject.UNSUPPORTED_COMBINATION if is_formed else Reject.MALFORMED
        _refuse(command, reason, events)

    # -- administration -----------------------------------------------------------------------

    def _set_engine_version(self, command: Command, events: list[Event]) -> None:
        """Newer rules from here on. Said again by a new leader, it says nothing new."""
        _, version, written_by = command
        refuse_engine_version(version, written_by, what=f"entry {self.moment.index}")
        if version > self.engine_version:
            self.engine_version = version
            events.append((ENGINE_VERSION_SET, 0, version))

    def _create_instrument(self, session: Session, command: Command, events: list[Event]) -> None:
        code = self._create_instrument_reject(session.account, command)
        if code:
            events.append((REJECTED, 0, int(code), command))
            return
        terms = InstrumentTerms(*command[1:])
        book = self.books[terms.symbol] = Book(terms, self.limits, self.moment)
        book.feed_seq = 1
        events.append((INSTRUMENT_CREATED, 1, tuple(terms)))

    def _create_instrument_reject(self, account: Account, command: Command) -> int:
        if form_error(command) is not None:
            return Reject.MALFORMED
        if not account.is_operator:
            return Reject.NOT_AUTHORIZED
        if terms_error(InstrumentTerms(*command[1:])) is not None:
            return Reject.MALFORMED
        if command[1] in self.books:
            return Reject.INSTRUMENT_EXISTS
        if len(self.books) >= self.limits.instruments_max:
            return Reject.BOOK_FULL
        return 0

    def _set_phase(self, session: Session, command: Command, events: list[Event]) -> None:
        code, book = self._set_phase_reject(session.account, command)
        if book is None or code:
            events.append((REJECTED, 0, int(code), command))
            return
        book.phase = command[2]
        book.feed_seq += 1
        events.append((PHASE_CHANGED, book.feed_seq, book.terms.symbol, book.phase))

    def _set_phase_reject(self, account: Account, command: Command) -> tuple[int, Book | None]:
        if form_error(command) is not None:
            return Reject.MALFORMED, None
        if not account.is_operator:
            return Reject.NOT_AUTHORIZED, None
        book = self.books.get(command[1])
        if book is None:
            return Reject.UNKNOWN_INSTRUMENT, None
        if command[2] not in _PHASES:
            return Reject.PHASE_FORBIDS, None
        if book.phase == Phase.CLOSED:
            return Reject.INSTRUMENT_CLOSED, None
        return 0, book


def _refuse(command: Any, reason: Reject, events: list[Event]) -> None:
    is_change = type(command) is tuple and command[:1] in ((CANCEL_ORDER,), (AMEND_ORDER,))
    events.append((CANCEL_REJECTED if is_change else REJECTED, 0, int(reason), command))

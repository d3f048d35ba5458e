"""The exchange: `replies = exchange.apply(entry)`, the one function that changes anything.

Owns the order of effects: requests in entry order, commands in request order, each validated whole
before it changes state. Total by design: whatever a committed entry holds, the answer is a reply;
an exception out of `apply` is a bug, and the node that meets it must stop.
Knows no clock, network, disk or Raft; time and order come in the entry.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple

from raftbook.core import admin, linked, listing, orders
from raftbook.core import commands as c
from raftbook.core.accounts import Account
from raftbook.core.aftermath import look_at
from raftbook.core.agenda import Agenda
from raftbook.core.book import Book
from raftbook.core.chores import do_chores, end_orders, lapse, leave_orders
from raftbook.core.commands import NO_SESSION, Command, Entry, without_secret
from raftbook.core.digest import DIGEST_PENDING_MAX, RollingDigest
from raftbook.core.events import (
    CANCEL_REJECTED,
    ENGINE_VERSION_SET,
    REJECTED,
    SESSION_ATTACHED,
    SESSION_CLOSED,
    SESSION_OPENED,
    UNASKED,
    Event,
    Reply,
)
from raftbook.core.form import (
    engine_version_of,
    form_error,
    is_engine_switch,
    is_node_notice,
)
from raftbook.core.instrument import InstrumentTerms, terms_error
from raftbook.core.ledger import Money
from raftbook.core.limits import Limits
from raftbook.core.moment import Moment
from raftbook.core.sessions import Session, SessionTable
from raftbook.core.types import Reject
from raftbook.core.versions import FIRST_ENGINE_VERSION, refuse_engine_version

TIME_STEP_MAX_NS: Final = 60_000_000_000
"""Logical time moves at most this far in one entry, so one wild clock cannot expire everything."""

_MALFORMED: Final = int(Reject.MALFORMED)
_NS_PER_MS: Final = 1_000_000
LEASE_MS_MAX: Final = 86_400_000


class Genesis(NamedTuple):
    """What the exchange starts from: the same on every node, or they are not one cluster.

    Attributes:
        instruments: terms of the first instruments.
        accounts: (name, is_operator) of the first accounts.
        limits: bounds.
        currencies: (name, decimals) of the first currencies.
        deposits: (account, currency, minor units) that accounts are born with.
        groups: (account, group) of those that belong to one.
    """

    instruments: tuple[InstrumentTerms, ...]
    accounts: tuple[tuple[str, bool], ...]
    limits: Limits = Limits()
    currencies: tuple[tuple[str, int], ...] = ()
    deposits: tuple[tuple[str, str, int], ...] = ()
    groups: tuple[tuple[str, str], ...] = ()

    def engine_version(self) -> int:
        """The rules that are in force from the beginning: 2 where it says what 1 does not know.

        State of version 1 could not hold money and groups, so there never is such state; and no
        build of version 1 reads a configuration with them. Bounds alone change nothing: what they
        bound begins with version 2.
        """
        says_more = self.currencies or self.deposits or self.groups
        is_plain = all(terms.is_plain() for terms in self.instruments)
        return FIRST_ENGINE_VERSION if is_plain and not says_more else 2


Handler = Callable[["Exchange", Session, Command, list[Event]], None]


class Exchange:
    """All instruments, accounts and sessions.

    Attributes:
        moment: index of the last entry applied and logical time; only entries move them.
        books: by symbol, in the order they were created.
        accounts: by name, in the order they were created.
        accounts_by_key: by API key.
        money: currencies and what the venue took.
        agenda: what is due without being asked.
        is_killed: the venue's kill switch: nobody may enter orders.
        digest: rolling digest of every event so far.
        engine_version: the rules in force; see `versions.py`.
    """

    def __init__(self, genesis: Genesis) -> None:
        limits = genesis.limits
        self.genesis = genesis
        self.limits = limits
        self.moment = Moment()
        self.agenda = Agenda()
        self.money = Money()
        self.last_order_id = 0
        self.books: dict[str, Book] = {}
        self.accounts: dict[str, Account] = {}
        self.accounts_by_key: dict[str, Account] = {}
        self.is_killed = False
        self.digest = RollingDigest()
        self.engine_version = FIRST_ENGINE_VERSION
        self.sessions = SessionTable(limits)
        self._books_made = 0
        self._groups: dict[str, object] = {}
        self._sessions = self.sessions.by_id
        self._room = self.agenda.room
        self._window = limits.reply_window
        self._handlers: dict[int | None, Handler] = _FIRST_HANDLERS
        for name, decimals in genesis.currencies:
            self.money.add_currency(name, decimals)
        for terms in genesis.instruments:
            error = terms_error(terms) or self.money.settlement_reject(terms)
            assert not error, f"genesis instrument {terms.symbol}: {error}"
            self.add_book(terms)
        for name, is_operator in genesis.accounts:
            self.add_account(name, is_operator=is_operator)
        for name, currency, amount in genesis.deposits:
            self.move_money(self.accounts[name], currency, amount)
        for name, group in genesis.groups:
            self.set_group(self.accounts[name], group)
        self.put_in_force(genesis.engine_version())

    @property
    def applied_index(self) -> int:
        """Index of the last entry applied, 0 before the first."""
        return self.moment.index

    @property
    def now_ns(self) -> int:
        """Logical time, nanoseconds since 1970 UTC."""
        return self.moment.time_ns

    @property
    def is_unfinished(self) -> bool:
        """Whether the next entry has work of this one to go on with: make it soon."""
        return self.agenda.next_ns <= self.moment.time_ns

    # -- what administration and snapshots build with ------------------------------------------

    def add_account(self, name: str, *, is_operator: bool) -> Account:
        """Know an account; its name must be new."""
        assert name not in self.accounts, f"account {name} exists"
        account = Account(name, is_operator=is_operator, limits=self.limits, moment=self.moment)
        account.block(venue_killed=self.is_killed)
        self.accounts[name] = account
        return account

    def set_group(self, account: Account, group: str) -> None:
        """Let an account belong to a group; an empty one is the account alone."""
        account.group_name = group
        account.group = self._groups.setdefault(group, object()) if group else account

    def add_book(self, terms: InstrumentTerms) -> Book:
        """Trade an instrument; its symbol must be new."""
        assert terms.symbol not in self.books, f"instrument {terms.symbol} exists"
        ledger = self.money.ledger(terms)
        book = Book(terms, self.limits, self.moment, self.agenda, ledger)
        if self.engine_version > 1:
            book.tape.keep_candles()
        self._books_made += 1
        book.number = self._books_made
        self.books[terms.symbol] = book
        return book

    def remove_book(self, book: Book) -> None:
        """Forget an empty instrument, and with it the closed orders that are remembered of it."""
        assert book.is_empty(), f"{book.symbol} is not empty"
        del self.books[book.symbol]
        self.agenda.calls.pop(book.symbol, None)
        self.agenda.stopped.pop(book.symbol, None)
        self.agenda.following.pop(book.symbol, None)
        for account in self.accounts.values():
            gone = [order for order in account.closed if order.book is book]
            if gone:
                account.closed = deque(each for each in account.closed if each.book is not book)
            for order in gone:
                del account.orders[order.terms[0]]
                account.by_client_order_id.pop(order.terms[2], None)

    def move_money(self, account: Account, currency: str, amount: int) -> int:
        """Deposit, or withdraw a negative amount; what is available then, minor units."""
        balance = account.balance(currency)
        balance.available += amount
        self.money.supply[currency] += amount
        return balance.available

    def put_in_force(self, engine_version: int) -> None:
        """Go by the rules of this engine version from now on."""
        self.engine_version = self.moment.engine_version = engine_version
        if engine_version > 1:
            self._room.bound(self.limits, engine_version)
            self.moment.stamp_ns = self.moment.time_ns
            self._handlers = _HANDLERS
            self.sessions.tag_orders()
            for book in self.books.values():
                book.tape.keep_candles()

    # -- the function -------------------------------------------------------------------------

    def apply(self, entry: Entry) -> list[Reply]:
        """Let one committed entry take effect.

        Args:
            entry: the next entry; its index must be above `moment.index`.

        Returns:
            One reply per request, in order, after one that nobody asked for where time or
            unfinished work told something (`events.answers`). A request seen before changes nothing
            and gets its original reply, flagged poss_dup.
        """
        moment = self.moment
        index = entry.index
        assert index > moment.index, f"entry {index} after {moment.index}"
        moment.index = index
        self._room.begin()
        entry_index: Any = index  # compiled: made an object once, not for every reply
        now_ns = moment.time_ns
        step_ns = entry.time_ns - now_ns
        if step_ns > 0:
            if step_ns > TIME_STEP_MAX_NS and now_ns:
                step_ns = TIME_STEP_MAX_NS
            moment.time_ns = now_ns = now_ns + step_ns
            if self.engine_version > 1:
                moment.stamp_ns = now_ns
        sessions = self._sessions
        handlers = self._handlers
        told = self.digest.pending
        replies: list[Reply] = []
        offset = 0
        if self.agenda.next_ns <= now_ns:
            offset = self._do_chores(replies)
        reply: Any
        requests: tuple[tuple[Any, ...], ...] = entry.requests
        commands: tuple[Any, ...]
        for session_id, request_seq, commands in requests:
            session = sessions.get(session_id)
            seq: int = request_seq
            if session is None or seq <= session.highest_seq:
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
                session.highest_seq = seq
            session.last_time_ns = now_ns
            events: list[Event] = []
            for command in commands:
                try:
                    handler = handlers[command[0] if type(command) is tuple else None]
                except (KeyError, IndexError, TypeError):
                    events.append((REJECTED, 0, _MALFORMED, command))
                else:
                    handler(self, session, command, events)
            reply = (session_id, request_seq, entry_index, offset, events, 0)
            session.replies[seq % self._window] = reply
            replies.append(reply)
            told.append(events)
            offset += len(events)
        if len(told) >= DIGEST_PENDING_MAX:
            self.digest.fold()
        return replies

    def _do_chores(self, replies: list[Reply]) -> int:
        """Do what is due; how many events that told."""
        events: list[Event] = []
        do_chores(self, events)
        if events:
            replies.append((NO_SESSION, UNASKED, self.moment.index, 0, events, 0))
            self.digest.pending.append(events)
        return len(events)

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
            elif self.engine_version > 1 and is_node_notice(command):
                self._notice(command, events)
            elif (
                form_error(command) is not None or engine_version_of(command) > self.engine_version
            ):
                _refuse(command, Reject.MALFORMED, events)
            elif command[0] != c.OPEN_SESSION:
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
        leave_orders(self)
        if session is None:
            events.append((REJECTED, 0, int(Reject.RATE_LIMIT), command))
            return 0
        events.append((SESSION_OPENED, 0, session.session_id, name, session.highest_seq))
        return int(found)

    # -- engine version ----------------------------------------------------------------------

    def _set_engine_version(self, command: Command, events: list[Event]) -> None:
        """Newer rules from here on. Said again by a new leader, it says nothing new."""
        _, version, written_by = command
        refuse_engine_version(version, written_by, what=f"entry {self.moment.index}")
        if version > self.engine_version:
            if self.engine_version < 4 <= version:
                self.sessions.count_renewals()
            self.put_in_force(version)
            events.append((ENGINE_VERSION_SET, 0, version))

    def _notice(self, command: Command, events: list[Event]) -> None:
        """What a node says of a client: it went away, or it is still there."""
        kind, session_id, epoch = command
        session = self._sessions.get(session_id)
        if session is None or session.epoch != epoch:
            return
        if kind == c.RENEW_LEASE:
            session.renewed_ns = self.moment.time_ns
            if self.engine_version > 3:
                session.last_time_ns = self.moment.time_ns
        elif session.cancels:
            page = lapse(self, session, events)
            look_at(self, {order.book for order in page}, events)


def _close_session(
    exchange: Exchange, session: Session, command: Command, events: list[Event]
) -> None:
    if form_error(command) is not None:
        _refuse(command, Reject.MALFORMED, events)
        return
    is_open = session.session_id in exchange.sessions.by_id
    if is_open:
        exchange.sessions.remove(session)
    events.append((SESSION_CLOSED, 0, session.session_id))
    if is_open and session.cancels and exchange.engine_version > 3:
        place = len(events)
        page = end_orders(exchange, session, events)
        del events[place]  # what it is a page of stands before it
        look_at(exchange, {order.book for order in page}, events)


def _attach_session(
    exchange: Exchange, session: Session, command: Command, events: list[Event]
) -> None:
    """A connection serves this session from here on; earlier ones end nothing any more."""
    if form_error(command) is not None or not 0 <= command[2] <= LEASE_MS_MAX:
        _refuse(command, Reject.MALFORMED, events)
        return
    _, cancels, lease_ms = command
    session.epoch += 1
    session.cancels = bool(cancels)
    session.lease_ns = lease_ms * _NS_PER_MS if cancels else 0
    leases, by_id = exchange.agenda.leases, exchange.sessions.by_id
    leases.pop(session.session_id, None)
    if len(leases) > 2 * len(by_id):  # of sessions that are gone
        for each in [each for each in leases if each not in by_id]:
            del leases[each]
    if session.lease_ns:
        leases[session.session_id] = session.lease_end_ns()
        exchange.agenda.wake_at(session.lease_end_ns())
    events.append((SESSION_ATTACHED, 0, session.session_id, session.epoch))


def _misplaced(exchange: Exchange, session: Session, command: Command, events: list[Event]) -> None:
    is_formed = form_error(command) is None
    reason = Reject.UNSUPPORTED_COMBINATION if is_formed else Reject.MALFORMED
    _refuse(command, reason, events)


_FIRST_HANDLERS: Final[dict[int | None, Handler]] = {
    c.NEW_ORDER: orders.new_order,
    c.CANCEL_ORDER: orders.cancel_order,
    c.AMEND_ORDER: orders.amend_order,
    c.OPEN_SESSION: _misplaced,
    c.CLOSE_SESSION: _close_session,
    c.CREATE_INSTRUMENT: listing.create_instrument,
    c.SET_PHASE: listing.set_phase,
}
_HANDLERS: Final[dict[int | None, Handler]] = {
    **_FIRST_HANDLERS,
    c.PLACE_ORDER: orders.place_order,
    c.PLACE_OCO: linked.place_pair,
    c.PLACE_OUO: linked.place_pair,
    c.PLACE_OTO: linked.place_oto,
    c.PLACE_OTOCO: linked.place_oto,
    c.PLACE_PEG: orders.place_peg,
    c.REPLACE_ORDER: orders.replace_order,
    c.CANCEL_REPLACE: orders.cancel_replace,
    c.MASS_CANCEL: orders.mass_cancel,
    c.ATTACH_SESSION: _attach_session,
    c.LIST_INSTRUMENT: listing.list_instrument,
    c.AMEND_INSTRUMENT: listing.amend_instrument,
    c.DELETE_INSTRUMENT: listing.delete_instrument,
    c.CALL_AUCTION: listing.call_auction,
    c.CREATE_CURRENCY: admin.create_currency,
    c.CREATE_ACCOUNT: admin.create_account,
    c.SET_ACCOUNT: admin.set_account,
    c.DEPOSIT: admin.deposit,
    c.WITHDRAW: admin.withdraw,
    c.SET_KILL_SWITCH: admin.set_kill_switch,
    c.BUST_TRADE: listing.bust_trade,
    c.ROLL_DAY: admin.roll_day,
    c.SET_DROP_COPY: admin.set_drop_copy,
    c.SET_API_KEY: admin.set_api_key,
}


def _refuse(command: Any, reason: Reject, events: list[Event]) -> None:
    is_change = type(command) is tuple and command[:1] in ((c.CANCEL_ORDER,), (c.AMEND_ORDER,))
    told = without_secret(command)
    events.append((CANCEL_REJECTED if is_change else REJECTED, 0, int(reason), told))

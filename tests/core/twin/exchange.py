"""The whole twin: entries, requests, and which command is whose."""

from typing import Any

from raftbook.core import commands as c
from raftbook.core import events as e
from raftbook.core.events import UNASKED, Reply
from raftbook.core.types import Reject
from tests.core.twin.cancelling import LOOKS_PER_CANCEL
from tests.core.twin.forms import FIRST_FORMS, FORMS, well_formed
from tests.core.twin.pegs import LOOKS_PER_MOVE
from tests.core.twin.sessions import Sessions
from tests.core.twin.state import SECOND, TwinSession

STEP_NS_MAX = 60 * SECOND
"""Logical time moves at most this far in one entry (engine.md §8), the first entry excepted."""


class Twin(Sessions):
    """Same inputs, same replies as `raftbook.core.exchange.Exchange`; every step O(everything)."""

    def apply(self, entry: c.Entry) -> list[Reply]:
        if self.now_ns == 0:
            self.now_ns = max(0, entry.time_ns)
        else:
            self.now_ns = max(self.now_ns, min(entry.time_ns, self.now_ns + STEP_NS_MAX))
        replies: list[Reply] = []
        offset = 0
        self.out = []
        for instrument in self.instruments.values():
            instrument.pegs_moved = 0
        self.looks = LOOKS_PER_CANCEL * self.limits.cancel_page
        self.peg_looks = LOOKS_PER_MOVE * self.limits.pegs_page
        self.dry_looks = self.swept = self.met = self.triggered = 0
        self.auction_room = self.limits.auction_page
        self.days_room = self.limits.expiries_page
        if self.version >= 2:
            self.work_that_time_brings()
        if self.out:
            replies.append((0, UNASKED, entry.index, 0, self.out, 0))
            offset = len(self.out)
        if self.is_switch(entry):
            return [*replies, self.switch(entry, offset)]
        for session_id, request_seq, commands in entry.requests:
            replies.append(self.request(entry.index, offset, session_id, request_seq, commands))
            if session_id == c.NO_SESSION or not replies[-1][5]:
                offset += len(replies[-1][4])
        return replies

    def is_switch(self, entry: c.Entry) -> bool:
        if len(entry.requests) != 1 or len(entry.requests[0][2]) != 1:
            return False
        command = entry.requests[0][2][0]
        return (
            entry.requests[0][:2] == (c.NO_SESSION, 0)
            and well_formed(command, {c.SET_ENGINE_VERSION: "is"})
            and command[1] > 0
        )

    def switch(self, entry: c.Entry, offset: int) -> Reply:
        wanted, told = entry.requests[0][2][0][1], list[Any]()
        if wanted > self.version:
            if self.version < 4 <= wanted:
                for session in self.sessions:
                    session.active_ns = max(session.active_ns, session.heard_ns)
            self.version = wanted
            told.append((e.ENGINE_VERSION_SET, 0, wanted))
        return (c.NO_SESSION, 0, entry.index, offset, told, 0)

    def work_that_time_brings(self) -> None:
        # What this work itself leaves undone goes on with the next entry.
        unfinished = self.unfinished()
        self.go_on_with_auctions()
        if not self.auctions():
            self.what_is_due(unfinished)
        self.look_at_all_stops()
        self.follow_waiting()
        self.follow_all()

    def what_is_due(self, unfinished: list[str]) -> None:
        self.go_on_with_mass_cancels(list(self.mass_cancels))
        self.end_leases()
        self.expire_orders()
        self.expire_days()
        if self.version >= 3:
            self.go_on_with_stops(unfinished)
            return self.end_calls()
        self.end_calls()
        return self.go_on_with_stops(unfinished)

    def request(self, index: int, offset: int, session_id: int, seq: int, commands: Any) -> Reply:
        self.out = []
        poss_dup = 0
        session = self.session_of(session_id)
        if session is not None and seq in session.replies:
            session.active_ns = session.heard_ns = self.now_ns
            return (*session.replies[seq][:5], 1)
        if session_id == c.NO_SESSION:
            for command in commands:
                poss_dup = max(poss_dup, self.without_session(command))
                self.look_at_all_stops()
                self.follow_all()
        elif session is None:
            for command in commands:
                self.refuse(command, Reject.UNKNOWN_SESSION, has_session=False)
        elif seq <= max(0, session.highest - self.limits.reply_window):
            for command in commands:
                self.refuse(command, Reject.STALE_REQUEST, has_session=False)
        else:
            session.active_ns = session.heard_ns = self.now_ns
            for command in commands:
                self.command(session, command)
                if self.version >= 2:
                    self.look_at_all_stops()
                    self.follow_all()
            session.highest = max(session.highest, seq)
            session.replies[seq] = (session_id, seq, index, offset, self.out, 0)
            window = range(session.highest - self.limits.reply_window + 1, session.highest + 1)
            session.replies = {s: r for s, r in session.replies.items() if s in window}
        return (session_id, seq, index, offset, self.out, poss_dup)

    def without_session(self, command: Any) -> int:
        if self.notice(command):
            return 0
        if not well_formed(command, self.forms()):
            self.refuse(command, Reject.MALFORMED, has_session=False)
        elif command[0] == c.OPEN_SESSION:
            return self.open_session(command)
        else:
            self.refuse(command, Reject.UNKNOWN_SESSION, has_session=False)
        return 0

    def forms(self) -> dict[int, str]:
        return FORMS if self.version >= 2 else FIRST_FORMS

    def command(self, session: TwinSession, command: Any) -> None:
        if not well_formed(command, self.forms()):
            return self.refuse(command, Reject.MALFORMED)
        kind, own = command[0], session.account
        if kind in (c.NEW_ORDER, c.PLACE_ORDER):
            self.new_order(session, command)
        elif kind == c.CANCEL_ORDER:
            self.cancel_order(own, command)
        elif kind in (c.AMEND_ORDER, c.REPLACE_ORDER):
            self.amend_order(own, command)
        elif kind in (c.PLACE_OTO, c.PLACE_OTOCO):
            self.place_oto(session, command)
        elif kind in (c.PLACE_OCO, c.PLACE_OUO):
            self.place_oco(session, command)
        elif kind == c.PLACE_PEG:
            self.place_peg(session, command)
        elif kind == c.CANCEL_REPLACE:
            self.cancel_replace(session, command)
        elif kind == c.MASS_CANCEL:
            self.mass_cancel(session, command)
        elif kind == c.OPEN_SESSION:
            self.refuse(command, Reject.UNSUPPORTED_COMBINATION)
        elif kind == c.CLOSE_SESSION:
            self.close_session(session)
        elif kind == c.ATTACH_SESSION:
            self.attach_session(session, command)
        elif kind == c.SET_KILL_SWITCH:
            self.set_kill_switch(own, command)
        elif kind == c.SET_API_KEY:
            self.set_api_key(own, command)
        elif kind == c.SET_DROP_COPY:
            self.set_drop_copy(own, command)
        elif not self.accounts[own].is_operator:
            self.refuse(command, Reject.NOT_AUTHORIZED)
        else:
            self.venue_command(command)
        return None

    def venue_command(self, command: Any) -> None:
        """What only operators may say."""
        kind = command[0]
        if kind == c.DEPOSIT:
            self.transfer(command, 1)
        elif kind == c.WITHDRAW:
            self.transfer(command, -1)
        elif kind == c.ROLL_DAY:
            self.roll_day()
        else:
            {
                c.CREATE_INSTRUMENT: self.create_instrument,
                c.LIST_INSTRUMENT: self.list_instrument,
                c.AMEND_INSTRUMENT: self.amend_instrument,
                c.DELETE_INSTRUMENT: self.delete_instrument,
                c.SET_PHASE: self.set_phase,
                c.CALL_AUCTION: self.call_auction,
                c.CREATE_CURRENCY: self.create_currency,
                c.CREATE_ACCOUNT: self.create_account,
                c.SET_ACCOUNT: self.set_account,
                c.BUST_TRADE: self.bust_trade,
            }[kind](command)

"""The stupid twin: the whole exchange again, slow and obvious, to be compared with the real one.

Written from docs/MATCHING.md and the shapes of events.py alone. It keeps one list of orders and
scans it for everything; it shares no code with the engine beyond its numbers. It must never become
clever: when the two differ, a person reads this file to see who is right.
"""

from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

from raftbook.core import commands as c
from raftbook.core import events as e
from raftbook.core.events import Event, Reply
from raftbook.core.exchange import Genesis
from raftbook.core.instrument import InstrumentTerms
from raftbook.core.types import OrderType as Type
from raftbook.core.types import Phase, Reject, Side
from raftbook.core.types import SelfTradePrevention as Stp
from raftbook.core.types import TimeInForce as Tif

STEP_NS_MAX = 60_000_000_000
"""Logical time moves at most this far in one entry (engine.md §8), the first entry excepted."""

BIG = 2**63 - 1


@dataclass(eq=False)
class TwinOrder:
    terms: tuple[Any, ...]
    leaves: int
    cum: int = 0
    notional: int = 0
    joined: int = 0  # when it last joined the queue; 0 while it is not in a book
    closed: int = 0  # when it closed; 0 while open

    order_id = property(lambda self: self.terms[0])
    account = property(lambda self: self.terms[1])
    client_order_id = property(lambda self: self.terms[2])
    symbol = property(lambda self: self.terms[3])
    side = property(lambda self: self.terms[4][0])
    post_only = property(lambda self: self.terms[4][3])
    stp = property(lambda self: self.terms[4][4])
    order_qty = property(lambda self: self.terms[5])
    price = property(lambda self: self.terms[6])


@dataclass
class TwinInstrument:
    terms: InstrumentTerms
    phase: int = Phase.CONTINUOUS
    feed_seq: int = 0
    trades: int = 0
    last_price: int | None = None


@dataclass
class TwinSession:
    session_id: int
    account: str
    key: str
    active_ns: int
    highest: int = 0
    replies: dict[int, Reply] = field(default_factory=dict)


class Twin:
    """Same inputs, same replies as `raftbook.core.exchange.Exchange`; every step O(everything)."""

    def __init__(self, genesis: Genesis) -> None:
        self.limits = genesis.limits
        self.operators = dict(genesis.accounts)
        self.instruments = {terms.symbol: TwinInstrument(terms) for terms in genesis.instruments}
        self.orders: list[TwinOrder] = []
        self.sessions: list[TwinSession] = []
        self.order_ids = self.session_ids = self.counter = 0
        self.now_ns = 0
        self.out: list[Event] = []

    # ---------------------------------------------------------------- entries, requests, sessions

    def apply(self, entry: c.Entry) -> list[Reply]:
        if self.now_ns == 0:
            self.now_ns = max(0, entry.time_ns)
        else:
            self.now_ns = max(self.now_ns, min(entry.time_ns, self.now_ns + STEP_NS_MAX))
        replies: list[Reply] = []
        offset = 0
        for session_id, request_seq, commands in entry.requests:
            replies.append(self.request(entry.index, offset, session_id, request_seq, commands))
            if session_id == c.NO_SESSION or not replies[-1][5]:
                offset += len(replies[-1][4])
        return replies

    def request(self, index: int, offset: int, session_id: int, seq: int, commands: Any) -> Reply:
        self.out = []
        poss_dup = 0
        session = next((s for s in self.sessions if s.session_id == session_id), None)
        if session is not None and seq in session.replies:
            session.active_ns = self.now_ns
            return (*session.replies[seq][:5], 1)
        if session_id == c.NO_SESSION:
            for command in commands:
                poss_dup = max(poss_dup, self.without_session(command))
        elif session is None:
            for command in commands:
                self.refuse(command, Reject.UNKNOWN_SESSION)
        elif seq <= max(0, session.highest - self.limits.reply_window):
            for command in commands:
                self.refuse(command, Reject.STALE_REQUEST)
        else:
            session.active_ns = self.now_ns
            for command in commands:
                self.command(session, command)
            session.highest = max(session.highest, seq)
            session.replies[seq] = (session_id, seq, index, offset, self.out, 0)
            window = range(session.highest - self.limits.reply_window + 1, session.highest + 1)
            session.replies = {s: r for s, r in session.replies.items() if s in window}
        return (session_id, seq, index, offset, self.out, poss_dup)

    def without_session(self, command: Any) -> int:
        if not well_formed(command):
            self.refuse(command, Reject.MALFORMED)
        elif command[0] == c.OPEN_SESSION:
            return self.open_session(command)
        else:
            self.refuse(command, Reject.UNKNOWN_SESSION)
        return 0

    def open_session(self, command: Any) -> int:
        _, account, key = command
        if account not in self.operators:
            self.refuse(command, Reject.UNKNOWN_ACCOUNT)
            return 0
        for s in self.sessions:
            if key and (s.account, s.key) == (account, key):  # no key: always another session
                s.active_ns = self.now_ns
                self.out.append((e.SESSION_OPENED, 0, s.session_id, account, s.highest))
                return 1
        idle_since = self.now_ns - self.limits.session_idle_ns
        self.sessions = [s for s in self.sessions if s.active_ns > idle_since]
        mine = [s for s in self.sessions if s.account == account]
        if len(mine) >= self.limits.sessions_per_account_max and not self.give_way(mine):
            return self.refuse_session(command)
        if len(self.sessions) >= self.limits.sessions_max and not self.give_way(self.sessions):
            return self.refuse_session(command)
        self.session_ids += 1
        self.sessions.append(TwinSession(self.session_ids, account, key, self.now_ns))
        self.out.append((e.SESSION_OPENED, 0, self.session_ids, account, 0))
        return 0

    def refuse_session(self, command: Any) -> int:
        self.refuse(command, Reject.RATE_LIMIT)
        return 0

    def give_way(self, sessions: list[TwinSession]) -> bool:
        """The least recently active of them goes, unless even that one was active just now."""
        eldest = sorted(sessions, key=lambda s: (s.active_ns, s.session_id))[0]
        if self.now_ns - eldest.active_ns < self.limits.session_recent_ns:
            return False
        self.sessions = [s for s in self.sessions if s is not eldest]
        return True

    def command(self, session: TwinSession, command: Any) -> None:
        if not well_formed(command):
            return self.refuse(command, Reject.MALFORMED)
        kind = command[0]
        if kind == c.NEW_ORDER:
            self.new_order(session.account, command)
        elif kind == c.CANCEL_ORDER:
            self.cancel_order(session.account, command)
        elif kind == c.AMEND_ORDER:
            self.amend_order(session.account, command)
        elif kind == c.OPEN_SESSION:
            self.refuse(command, Reject.UNSUPPORTED_COMBINATION)
        elif kind == c.CLOSE_SESSION:
            self.sessions = [s for s in self.sessions if s is not session]
            self.out.append((e.SESSION_CLOSED, 0, session.session_id))
        elif not self.operators[session.account]:
            self.refuse(command, Reject.NOT_AUTHORIZED)
        elif kind == c.CREATE_INSTRUMENT:
            self.create_instrument(command)
        elif kind == c.SET_PHASE:
            self.set_phase(command)
        return None

    # ------------------------------------------------------------------------------- instruments

    def create_instrument(self, command: Any) -> None:
        terms = InstrumentTerms(*command[1:])
        if not sound(terms):
            self.refuse(command, Reject.MALFORMED)
        elif terms.symbol in self.instruments:
            self.refuse(command, Reject.INSTRUMENT_EXISTS)
        elif len(self.instruments) >= self.limits.instruments_max:
            self.refuse(command, Reject.BOOK_FULL)
        else:
            self.instruments[terms.symbol] = TwinInstrument(terms)
            self.public(terms.symbol, e.INSTRUMENT_CREATED, tuple(terms))

    def set_phase(self, command: Any) -> None:
        _, symbol, phase = command
        if symbol not in self.instruments:
            self.refuse(command, Reject.UNKNOWN_INSTRUMENT)
        elif phase not in list(Phase):
            self.refuse(command, Reject.PHASE_FORBIDS)
        elif self.instruments[symbol].phase == Phase.CLOSED:
            self.refuse(command, Reject.INSTRUMENT_CLOSED)
        else:
            self.instruments[symbol].phase = phase
            self.public(symbol, e.PHASE_CHANGED, symbol, phase)

    # ------------------------------------------------------------------------------------ orders

    def new_order(self, account: str, command: Any) -> None:
        reason = self.why_not_new(account, command)
        if reason:
            return self.refuse(command, reason)
        _, symbol, side, ord_type, tif, qty, price, client_id, post_only, stp = command
        self.order_ids += 1
        kind = (side, ord_type, tif, post_only, stp)
        order = TwinOrder((self.order_ids, account, client_id, symbol, kind, qty, price), qty)
        limit = self.taker_limit(symbol, side, price)
        self.orders.append(order)
        if tif == Tif.FOK and not self.can_fill(order, limit):
            self.private(e.ACCEPTED, order.terms)
            self.end(order, e.EXPIRED, Reject.FOK_CANNOT_FILL)
        elif tif == Tif.GTC and not self.crossing(order, limit):
            self.join(order)
            self.public(symbol, e.ACCEPTED, order.terms)
        else:
            self.private(e.ACCEPTED, order.terms)
            self.match(order, limit)
            if not order.closed:
                self.remainder(order, tif, ord_type)
        return None

    def remainder(self, order: TwinOrder, tif: int, ord_type: int) -> None:
        if tif == Tif.GTC:
            self.join(order)
            self.public(order.symbol, e.RESTED, order.terms, order.leaves)
        elif ord_type == Type.LIMIT:
            self.end(order, e.EXPIRED, Reject.NONE)
        elif self.queue(order.symbol, other(order.side)):
            self.end(order, e.EXPIRED, Reject.PRICE_COLLAR)
        else:
            self.end(order, e.EXPIRED, Reject.NO_LIQUIDITY)

    def why_not_new(self, account: str, command: Any) -> int:
        _, symbol, side, ord_type, tif, qty, price, client_id, post_only, stp = command
        if symbol not in self.instruments:
            return Reject.UNKNOWN_INSTRUMENT
        terms = self.instruments[symbol].terms
        if reason := self.phase_reject(symbol):
            return reason
        if client_id and any(
            o.account == account and o.client_order_id == client_id for o in self.orders
        ):
            return Reject.DUPLICATE_CLIENT_ORDER_ID
        if side not in list(Side):
            return Reject.BAD_SIDE
        admitted = {
            (Type.LIMIT, Tif.GTC, 0),
            (Type.LIMIT, Tif.IOC, 0),
            (Type.LIMIT, Tif.FOK, 0),
            (Type.LIMIT, Tif.GTC, 1),
            (Type.MARKET, Tif.IOC, 0),
            (Type.MARKET, Tif.FOK, 0),
        }
        if (ord_type, tif, post_only) not in admitted or stp not in list(Stp):
            return Reject.UNSUPPORTED_COMBINATION
        if (price is None) != (ord_type == Type.MARKET):
            return Reject.UNSUPPORTED_COMBINATION
        if qty <= 0:
            return Reject.BAD_QTY
        if qty > terms.qty_max:
            return Reject.QTY_TOO_LARGE
        if price is None:
            if terms.collar is not None and self.reference(symbol) is None:
                return Reject.NO_REFERENCE_PRICE
        elif reason := price_reject(terms, price, qty):
            return reason
        if sum(o.account == account and not o.closed for o in self.orders) >= (
            self.limits.open_orders_max
        ):
            return Reject.OPEN_ORDER_LIMIT
        resting = self.queue(symbol, Side.BUY) + self.queue(symbol, Side.SELL)
        if tif == Tif.GTC and len(resting) >= self.limits.book_orders_max:
            return Reject.BOOK_FULL
        if post_only and self.would_cross(symbol, side, price):
            return Reject.POST_ONLY_WOULD_CROSS
        return Reject.NONE

    def cancel_order(self, account: str, command: Any) -> None:
        order = self.find(account, command)
        if order is None:
            self.refuse(command, Reject.UNKNOWN_ORDER)
        elif order.closed:
            self.refuse(command, Reject.TOO_LATE)
        else:
            self.end(order, e.CANCELED, Reject.NONE)

    def amend_order(self, account: str, command: Any) -> None:
        _, _, _, new_qty, new_price = command
        order = self.find(account, command)
        if order is None:
            return self.refuse(command, Reject.UNKNOWN_ORDER)
        if reason := self.why_not_amend(order, new_qty, new_price):
            return self.refuse(command, reason)
        total = order.order_qty if new_qty is None else new_qty
        price = order.price if new_price is None else new_price
        if new_qty is not None and total <= order.cum:
            return self.end(order, e.CANCELED, Reject.NONE)
        old_terms, old_leaves = order.terms, order.leaves
        if new_qty is not None:
            order.leaves = total - order.cum
        order.terms = (*old_terms[:5], total, price)
        keeps = price == old_terms[6] and order.leaves <= old_leaves
        change = (order.terms, old_terms, order.cum, order.leaves, old_leaves, int(keeps))
        self.public(order.symbol, e.REPLACED, *change)
        if not keeps:
            order.joined = 0
            self.match(order, price)
            if not order.closed:
                self.remainder(order, Tif.GTC, Type.LIMIT)
        return None

    def why_not_amend(self, order: TwinOrder, new_qty: int | None, new_price: int | None) -> int:
        terms = self.instruments[order.symbol].terms
        total = order.order_qty if new_qty is None else new_qty
        price = order.price if new_price is None else new_price
        loses = price != order.price or total - order.cum > order.leaves
        if order.closed:
            return Reject.TOO_LATE
        if reason := self.phase_reject(order.symbol):
            return reason
        if new_qty is None and new_price is None:
            return Reject.AMEND_NOT_ALLOWED
        if total <= 0:
            return Reject.BAD_QTY
        if total > terms.qty_max:
            return Reject.QTY_TOO_LARGE
        if total <= order.cum:
            return Reject.NONE
        if reason := price_reject(terms, price, total):
            return reason
        if order.post_only and loses and self.would_cross(order.symbol, order.side, price):
            return Reject.POST_ONLY_WOULD_CROSS
        return Reject.NONE

    # ---------------------------------------------------------------------------------- matching

    def match(self, taker: TwinOrder, limit: int | None) -> None:
        while not taker.closed and self.crossing(taker, limit):
            maker = self.crossing(taker, limit)[0]
            qty = min(maker.leaves, taker.leaves)
            if maker.account != taker.account or taker.stp == Stp.NONE:
                self.trade(maker, taker, qty)
            elif taker.stp == Stp.CANCEL_NEWEST:
                self.end(taker, e.CANCELED, Reject.SELF_TRADE)
            elif taker.stp == Stp.CANCEL_OLDEST:
                self.end(maker, e.CANCELED, Reject.SELF_TRADE)
            elif taker.stp == Stp.CANCEL_BOTH:
                self.end(maker, e.CANCELED, Reject.SELF_TRADE)
                self.end(taker, e.CANCELED, Reject.SELF_TRADE)
            elif taker.stp == Stp.DECREMENT:
                self.shrink(maker, qty)
                self.shrink(taker, qty)

    def trade(self, maker: TwinOrder, taker: TwinOrder, qty: int) -> None:
        instrument = self.instruments[maker.symbol]
        instrument.trades += 1
        instrument.last_price = maker.price
        sides: list[Any] = []
        for order in (maker, taker):
            order.leaves -= qty
            order.cum += qty
            order.notional += qty * maker.price
            sides += [order.terms, order.cum, order.leaves, order.notional]
        self.public(maker.symbol, e.TRADE, instrument.trades, maker.price, qty, *sides)
        for order in (maker, taker):
            if order.leaves == 0:
                self.close(order)

    def shrink(self, order: TwinOrder, qty: int) -> None:
        if order.leaves == qty:
            return self.end(order, e.CANCELED, Reject.SELF_TRADE)
        order.leaves -= qty
        told = (order.terms, order.cum, order.leaves, qty, int(order.joined > 0))
        if order.joined:
            self.public(order.symbol, e.RESTATED, *told)
        else:
            self.private(e.RESTATED, *told)
        return None

    def can_fill(self, taker: TwinOrder, limit: int | None) -> bool:
        found = 0
        for maker in self.crossing(taker, limit):
            if maker.account == taker.account and taker.stp == Stp.CANCEL_OLDEST:
                continue
            if maker.account == taker.account and taker.stp != Stp.NONE:
                break
            found += maker.leaves
        return found >= taker.leaves

    def queue(self, symbol: str, side: int) -> list[TwinOrder]:
        """Every order resting on one side, best price first, then who joined first."""
        resting = [o for o in self.orders if o.joined and (o.symbol, o.side) == (symbol, side)]
        sign = -1 if side == Side.BUY else 1
        return sorted(resting, key=lambda o: (sign * o.price, o.joined))

    def crossing(self, taker: TwinOrder, limit: int | None) -> list[TwinOrder]:
        makers = self.queue(taker.symbol, other(taker.side))
        return [o for o in makers if limit is None or reaches(taker.side, limit, o.price)]

    def would_cross(self, symbol: str, side: int, price: int) -> bool:
        return any(reaches(side, price, o.price) for o in self.queue(symbol, other(side)))

    # --------------------------------------------------------------------------------- small print

    def reference(self, symbol: str) -> int | None:
        instrument = self.instruments[symbol]
        if instrument.last_price is not None:
            return instrument.last_price
        return instrument.terms.reference_price

    def taker_limit(self, symbol: str, side: int, price: int | None) -> int | None:
        collar, reference = self.instruments[symbol].terms.collar, self.reference(symbol)
        if price is not None or collar is None:
            return price
        assert reference is not None
        return reference + collar if side == Side.BUY else reference - collar

    def phase_reject(self, symbol: str) -> int:
        return {
            Phase.CONTINUOUS: Reject.NONE,
            Phase.HALTED: Reject.INSTRUMENT_HALTED,
            Phase.CANCEL_ONLY: Reject.PHASE_FORBIDS,
            Phase.CLOSED: Reject.INSTRUMENT_CLOSED,
        }[Phase(self.instruments[symbol].phase)]

    def find(self, account: str, command: Any) -> TwinOrder | None:
        _, order_id, client_id = command[:3]
        for order in self.orders:
            if order.account == account:
                if order_id and order.order_id == order_id:
                    return order
                if not order_id and client_id and order.client_order_id == client_id:
                    return order
        return None

    def join(self, order: TwinOrder) -> None:
        self.counter += 1
        order.joined = self.counter

    def close(self, order: TwinOrder) -> None:
        self.counter += 1
        order.leaves, order.joined, order.closed = 0, 0, self.counter
        closed = [o for o in self.orders if o.account == order.account and o.closed]
        closed.sort(key=lambda o: o.closed)
        for forgotten in closed[: max(0, len(closed) - self.limits.closed_orders_max)]:
            self.orders.remove(forgotten)

    def end(self, order: TwinOrder, kind: int, reason: int) -> None:
        was_resting = int(order.joined > 0)
        told = (order.terms, order.cum, order.leaves, was_resting, int(reason))
        if was_resting:
            self.public(order.symbol, kind, *told)
        else:
            self.private(kind, *told)
        self.close(order)

    def public(self, symbol: str, kind: int, *values: Any) -> None:
        self.instruments[symbol].feed_seq += 1
        self.out.append((kind, self.instruments[symbol].feed_seq, *values))

    def private(self, kind: int, *values: Any) -> None:
        self.out.append((kind, 0, *values))

    def refuse(self, command: Any, reason: int) -> None:
        is_change = (
            type(command) is tuple
            and len(command) > 0
            and type(command[0]) is int
            and command[0] in (c.CANCEL_ORDER, c.AMEND_ORDER)
        )
        self.private(e.CANCEL_REJECTED if is_change else e.REJECTED, int(reason), command)


def other(side: int) -> int:
    return Side.SELL if side == Side.BUY else Side.BUY


def reaches(side: int, limit: int, price: int) -> bool:
    """Whether an order of `side` with this limit may trade at `price`."""
    return limit >= price if side == Side.BUY else limit <= price


def price_reject(terms: InstrumentTerms, price: int, qty: int) -> int:
    if price < terms.price_min or price > terms.price_max:
        return Reject.BAD_PRICE
    if terms.band_low is not None and price < terms.band_low:
        return Reject.PRICE_BAND
    if terms.band_high is not None and price > terms.band_high:
        return Reject.PRICE_BAND
    if terms.notional_max is not None and abs(price) * qty > terms.notional_max:
        return Reject.NOTIONAL_LIMIT
    return Reject.NONE


def sound(terms: InstrumentTerms) -> bool:
    try:
        units = [Decimal(terms.tick_size), Decimal(terms.lot_size)]
    except InvalidOperation:
        return False
    low, high = terms.band_low, terms.band_high
    return (
        all(terms[:3])
        and all(unit.is_finite() and unit > 0 for unit in units)
        and terms.qty_max >= 1
        and terms.price_min <= terms.price_max
        and terms.qty_max * max(abs(terms.price_min), abs(terms.price_max)) <= BIG
        and (low is None or high is None or low <= high)
        and (terms.notional_max is None or terms.notional_max > 0)
        and (terms.collar is None or terms.collar >= 0)
    )


_FORMS = {  # s: an id, i: an integer, o: an integer or None
    c.NEW_ORDER: "siiiiosii",
    c.CANCEL_ORDER: "is",
    c.AMEND_ORDER: "isoo",
    c.OPEN_SESSION: "ss",
    c.CLOSE_SESSION: "",
    c.CREATE_INSTRUMENT: "sssssiiiooooo",
    c.SET_PHASE: "si",
}


def well_formed(command: Any) -> bool:
    if type(command) is not tuple or not command or type(command[0]) is not int:
        return False
    form = _FORMS.get(command[0])
    if form is None or len(form) != len(command) - 1:
        return False
    for letter, value in zip(form, command[1:], strict=True):
        if letter == "s":
            if type(value) is not str or len(value) > 64:
                return False
            if not all(33 <= ord(char) <= 126 for char in value):
                return False
        elif not (letter == "o" and value is None):
            if type(value) is not int or abs(value) > BIG:
                return False
    return True

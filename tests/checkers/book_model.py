"""One instrument as a value: a small model of the book, written from docs/MATCHING.md alone.

Owns no state: `act(state, ...)` gives the next state and what would be told, so that a search may
try an order of events and take it back. Shares no code with the engine or with its twin. It covers
what the windows of a chaos run use: an instrument without bands, collar and notional limit that
stays open; whoever gives it another one is refused with an assertion.

Order ids count the whole cluster's orders, which one instrument cannot know. So the model names an
order by its own number, and `matches` learns the id when somebody is told it: an id belongs to one
order, and ids grow in the order of acceptance.
"""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

from raftbook.core import commands as c
from raftbook.core import events as e
from raftbook.core.types import OrderType, Reject, Side, TimeInForce
from raftbook.core.types import SelfTradePrevention as Stp


class Terms(NamedTuple):
    """What of an order never changes; `number` is the model's name for it."""

    number: int
    account: str
    client_order_id: str
    kind: tuple[int, int, int, int, int]  # side, type, time in force, post-only, self-trade mode


class Line(NamedTuple):
    """One order as it stands; `order_qty` and `price` are the amended ones."""

    terms: Terms
    order_qty: int
    price: int | None
    leaves: int
    cum: int = 0
    notional: int = 0


class State(NamedTuple):
    """One instrument.

    Attributes:
        bids, asks: resting orders, the next to trade first.
        closed: orders that are not open any more.
        ids: order id of each accepted order in the order of acceptance, None while nobody was told.
    """

    bids: tuple[Line, ...] = ()
    asks: tuple[Line, ...] = ()
    closed: tuple[Terms, ...] = ()
    ids: tuple[int | None, ...] = ()
    feed_seq: int = 0
    trade_id: int = 0
    last_price: int | None = None


class Instrument(NamedTuple):
    """What the model needs of the instrument's terms."""

    symbol: str
    qty_max: int
    price_min: int
    price_max: int


class _Desk:
    """One request at work: the state while it changes, and the events so far."""

    def __init__(self, instrument: Instrument, state: State, account: str) -> None:
        self.instrument = instrument
        self.account = account
        self.sides = {int(Side.BUY): list(state.bids), int(Side.SELL): list(state.asks)}
        self.closed = list(state.closed)
        self.ids = list(state.ids)
        self.feed_seq, self.trade_id = state.feed_seq, state.trade_id
        self.last_price = state.last_price
        self.told: list[tuple[Any, ...]] = []

    def state(self) -> State:
        return State(
            tuple(self.sides[Side.BUY]),
            tuple(self.sides[Side.SELL]),
            tuple(self.closed),
            tuple(self.ids),
            self.feed_seq,
            self.trade_id,
            self.last_price,
        )

    # -- telling ------------------------------------------------------------------------------

    def tell(self, kind: int, *values: Any, public: bool) -> None:
        self.feed_seq += public
        self.told.append((kind, self.feed_seq if public else 0, *values))

    def shown(self, line: Line) -> tuple[Any, ...]:
        """An order's terms in the form of events; its id is the model's number, made negative."""
        terms = line.terms
        return (
            ~terms.number,
            terms.account,
            terms.client_order_id,
            self.instrument.symbol,
            terms.kind,
            line.order_qty,
            line.price,
        )

    def anonymous(self, line: Line) -> tuple[Any, ...]:
        """The same for the other side of a trade: names only for their owner."""
        shown = self.shown(line)
        return shown if line.terms.account == self.account else (shown[0], "", "", *shown[3:])

    def refuse(self, command: Any, reason: int) -> None:
        kind = e.REJECTED if command[0] == c.NEW_ORDER else e.CANCEL_REJECTED
        self.tell(kind, int(reason), command, public=False)

    def end(self, line: Line, kind: int, reason: int, *, rests: bool) -> None:
        self.tell(kind, self.shown(line), line.cum, line.leaves, int(rests), int(reason),
                  public=rests)  # fmt: skip
        self.closed.append(line.terms)

    # -- commands -----------------------------------------------------------------------------

    def command(self, command: Any) -> None:
        if command[0] == c.NEW_ORDER:
            self.new_order(command)
        elif command[0] == c.CANCEL_ORDER:
            self.cancel_order(command)
        elif command[0] == c.AMEND_ORDER:
            self.amend_order(command)
        else:
            raise AssertionError(f"the model does not know {command}")

    def new_order(self, command: Any) -> None:
        _, symbol, side, ord_type, tif, qty, price, name, post_only, mode = command
        assert symbol == self.instrument.symbol, f"{command} is not of {self.instrument.symbol}"
        reason = self.why_not(command)
        if reason:
            self.refuse(command, reason)
            return
        kind = (side, ord_type, tif, post_only, mode)
        line = Line(Terms(len(self.ids), self.account, name, kind), qty, price, qty)
        self.ids.append(None)
        if tif == TimeInForce.GTC and not self.reach(side, price):
            self.tell(e.ACCEPTED, self.shown(line), public=True)
            self.join(line)
            return
        self.tell(e.ACCEPTED, self.shown(line), public=False)
        if tif == TimeInForce.FOK and not self.fills_whole(line):
            self.end(line, e.EXPIRED, Reject.FOK_CANNOT_FILL, rests=False)
            return
        left = self.sweep(line)
        if left is None:
            return
        if tif == TimeInForce.GTC:
            self.tell(e.RESTED, self.shown(left), left.leaves, public=True)
            self.join(left)
        else:
            no_price = ord_type == OrderType.MARKET
            reason = Reject.NO_LIQUIDITY if no_price else Reject.NONE
            self.end(left, e.EXPIRED, reason, rests=False)

    def why_not(self, command: Any) -> int:
        _, _, side, ord_type, tif, qty, price, name, post_only, mode = command
        if name and self.known(self.account, 0, name) is not None:
            return Reject.DUPLICATE_CLIENT_ORDER_ID
        if side not in (Side.BUY, Side.SELL):
            return Reject.BAD_SIDE
        possible = [TimeInForce.IOC, TimeInForce.FOK]
        if ord_type == OrderType.LIMIT:
            possible = [TimeInForce.GTC] if post_only else [TimeInForce.GTC, *possible]
        elif post_only:
            possible = []
        is_known = ord_type in (OrderType.MARKET, OrderType.LIMIT) and mode in list(Stp)
        if not is_known or tif not in possible or post_only not in (0, 1):
            return Reject.UNSUPPORTED_COMBINATION
        if (price is None) != (ord_type == OrderType.MARKET):
            return Reject.UNSUPPORTED_COMBINATION
        if qty <= 0:
            return Reject.BAD_QTY
        if qty > self.instrument.qty_max:
            return Reject.QTY_TOO_LARGE
        if price is not None and not self.in_range(price):
            return Reject.BAD_PRICE
        if post_only and self.reach(side, price):
            return Reject.POST_ONLY_WOULD_CROSS
        return 0

    def cancel_order(self, command: Any) -> None:
        found = self.known(self.account, command[1], command[2])
        if found is None:
            self.refuse(command, Reject.UNKNOWN_ORDER)
        elif found in self.closed:
            self.refuse(command, Reject.TOO_LATE)
        else:
            self.end(self.leave(found), e.CANCELED, 0, rests=True)

    def amend_order(self, command: Any) -> None:
        _, order_id, name, new_qty, new_price = command
        found = self.known(self.account, order_id, name)
        if found is None:
            self.refuse(command, Reject.UNKNOWN_ORDER)
            return
        if found in self.closed:
            self.refuse(command, Reject.TOO_LATE)
            return
        side = self.sides[found.kind[0]]
        at = next(at for at, line in enumerate(side) if line.terms == found)
        old = side[at]
        total = old.order_qty if new_qty is None else new_qty
        price = old.price if new_price is None else new_price
        reason = self.why_not_amend(old, total, price, new_qty, new_price)
        if reason:
            self.refuse(command, reason)
            return
        if new_qty is not None and total <= old.cum:
            self.end(self.leave(found), e.CANCELED, 0, rests=True)
            return
        leaves = old.leaves if new_qty is None else total - old.cum
        new = old._replace(order_qty=total, price=price, leaves=leaves)
        keeps = price == old.price and leaves <= old.leaves
        change = (self.shown(new), self.shown(old), old.cum, leaves, old.leaves, int(keeps))
        self.tell(e.REPLACED, *change, public=True)
        if keeps:
            side[at] = new
            return
        del side[at]
        left = self.sweep(new)
        if left is not None:
            self.tell(e.RESTED, self.shown(left), left.leaves, public=True)
            self.join(left)

    def why_not_amend(
        self, old: Line, total: int, price: int | None, new_qty: int | None, new_price: int | None
    ) -> int:
        assert price is not None, "a market order never rests"
        if new_qty is None and new_price is None:
            return Reject.AMEND_NOT_ALLOWED
        if total <= 0:
            return Reject.BAD_QTY
        if total > self.instrument.qty_max:
            return Reject.QTY_TOO_LARGE
        if new_qty is not None and total <= old.cum:
            return 0
        if not self.in_range(price):
            return Reject.BAD_PRICE
        if old.terms.kind[3] and self.reach(old.terms.kind[0], price):
            return Reject.POST_ONLY_WOULD_CROSS
        return 0

    # -- the book -----------------------------------------------------------------------------

    def in_range(self, price: int) -> bool:
        return self.instrument.price_min <= price <= self.instrument.price_max

    def known(self, account: str, order_id: int, name: str) -> Terms | None:
        """An own order, open or closed."""
        for terms in [*self.closed, *(line.terms for side in self.sides.values() for line in side)]:
            if terms.account != account:
                continue
            if self.ids[terms.number] == order_id if order_id else terms.client_order_id == name:
                return terms if order_id or name else None
        return None

    def makers(self, side: int) -> list[Line]:
        return self.sides[Side.SELL if side == Side.BUY else Side.BUY]

    def reach(self, side: int, price: int | None) -> bool:
        """Whether an order of this side and price would meet the best one opposite."""
        makers = self.makers(side)
        if not makers or price is None:
            return bool(makers)
        best = makers[0].price
        assert best is not None, "a market order never rests"
        return price >= best if side == Side.BUY else price <= best

    def join(self, line: Line) -> None:
        """To the back of the queue at its price."""
        assert line.price is not None, "a market order never rests"
        side = self.sides[line.terms.kind[0]]
        sign = -1 if line.terms.kind[0] == Side.BUY else 1
        at = sum(1 for other in side if sign * (other.price or 0) <= sign * line.price)
        side.insert(at, line)

    def leave(self, terms: Terms) -> Line:
        side = self.sides[terms.kind[0]]
        at = next(at for at, line in enumerate(side) if line.terms == terms)
        return side.pop(at)

    def fills_whole(self, taker: Line) -> bool:
        side, *_, mode = taker.terms.kind
        wanted = taker.leaves
        for maker in self.makers(side):
            if not _meets(side, taker.price, maker.price) or wanted <= 0:
                break
            if maker.terms.account != taker.terms.account or mode == Stp.NONE:
                wanted -= maker.leaves
            elif mode != Stp.CANCEL_OLDEST:
                break
        return wanted <= 0

    def sweep(self, taker: Line) -> Line | None:
        """Trade while it can; what is left of the taker, None if nothing is."""
        side, *_, mode = taker.terms.kind
        makers = self.makers(side)
        while makers and _meets(side, taker.price, makers[0].price):
            maker = makers[0]
            qty = min(maker.leaves, taker.leaves)
            if maker.terms.account != taker.terms.account or mode == Stp.NONE:
                maker, taker = self.trade(maker, taker, qty)
            else:
                maker, taker = self.prevent(maker, taker, mode, qty)
            makers[0:1] = [maker] if maker.leaves else []
            if not taker.leaves:
                return None
        return taker

    def trade(self, maker: Line, taker: Line, qty: int) -> tuple[Line, Line]:
        price = maker.price
        assert price is not None, "a market order never rests"
        self.trade_id += 1
        self.last_price = price
        both = [
            line._replace(
                leaves=line.leaves - qty, cum=line.cum + qty, notional=line.notional + qty * price
            )
            for line in (maker, taker)
        ]
        told: list[Any] = []
        for line in both:
            told += [self.anonymous(line), line.cum, line.leaves, line.notional]
            if not line.leaves:
                self.closed.append(line.terms)
        self.tell(e.TRADE, self.trade_id, price, qty, *told, public=True)
        return both[0], both[1]

    def prevent(self, maker: Line, taker: Line, mode: int, qty: int) -> tuple[Line, Line]:
        """Own meets own."""
        if mode == Stp.DECREMENT:
            return self.shrink(maker, qty, rests=True), self.shrink(taker, qty, rests=False)
        if mode in (Stp.CANCEL_OLDEST, Stp.CANCEL_BOTH):
            self.end(maker, e.CANCELED, Reject.SELF_TRADE, rests=True)
            maker = maker._replace(leaves=0)
        if mode in (Stp.CANCEL_NEWEST, Stp.CANCEL_BOTH):
            self.end(taker, e.CANCELED, Reject.SELF_TRADE, rests=False)
            taker = taker._replace(leaves=0)
        return maker, taker

    def shrink(self, line: Line, qty: int, *, rests: bool) -> Line:
        if line.leaves == qty:
            self.end(line, e.CANCELED, Reject.SELF_TRADE, rests=rests)
            return line._replace(leaves=0)
        line = line._replace(leaves=line.leaves - qty)
        self.tell(e.RESTATED, self.shown(line), line.cum, line.leaves, qty, int(rests),
                  public=rests)  # fmt: skip
        return line


def _meets(side: int, limit: int | None, price: int | None) -> bool:
    if limit is None:
        return True
    assert price is not None, "a market order never rests"
    return limit >= price if side == Side.BUY else limit <= price


def act(
    instrument: Instrument, state: State, account: str, commands: tuple[Any, ...]
) -> tuple[State, list[tuple[Any, ...]]]:
    """One request takes effect: the state after it, and its events with numbers for ids."""
    desk = _Desk(instrument, state, account)
    for command in commands:
        desk.command(command)
    return desk.state(), desk.told


def matches(state: State, expected: list[tuple[Any, ...]], told: tuple[Any, ...]) -> State | None:
    """Whether the events a client was told are the expected ones; the state that knows their ids.

    None if they differ, or if an id would belong to two orders or not grow.
    """
    if len(expected) != len(told):
        return None
    ids = list(state.ids)
    if not all(_same(ours, theirs, ids) for ours, theirs in zip(expected, told, strict=True)):
        return None
    return _learned(state, ids)


def shows(state: State, book: tuple[Any, ...]) -> State | None:
    """Whether a read of the whole book shows this state; the state that knows its ids."""
    bids, asks, bid_orders, ask_orders, feed_seq, last_price = book
    if (feed_seq, last_price) != (state.feed_seq, state.last_price):
        return None
    ids = list(state.ids)
    for lines, levels, orders in ((state.bids, bids, bid_orders), (state.asks, asks, ask_orders)):
        rows = tuple((~line.terms.number, line.price, line.leaves) for line in lines)
        if len(rows) != len(orders) or not all(
            _same(ours, theirs, ids) for ours, theirs in zip(rows, orders, strict=True)
        ):
            return None
        by_price: dict[int | None, list[int]] = {}
        for line in lines:
            by_price.setdefault(line.price, []).append(line.leaves)
        if levels != tuple((price, sum(qty), len(qty)) for price, qty in by_price.items()):
            return None
    return _learned(state, ids)


def _learned(state: State, ids: list[int | None]) -> State | None:
    if tuple(ids) == state.ids:
        return state
    known = [order_id for order_id in ids if order_id is not None]
    grows = all(before < after for before, after in itertools.pairwise(known))
    return state._replace(ids=tuple(ids)) if grows else None


def _same(ours: tuple[Any, ...], theirs: Any, ids: list[int | None]) -> bool:
    """Compare one event: where we have an order's number they must have its id."""
    if type(theirs) is not tuple or len(ours) != len(theirs):
        return False
    for at, (one, other) in enumerate(zip(ours, theirs, strict=True)):
        if at == 0 and type(one) is int and one < 0:
            number = ~one
            if ids[number] is None:
                ids[number] = other
            if ids[number] != other:
                return False
        elif type(one) is tuple and at != 4 and one and type(one[0]) is int and one[0] < 0:
            if not _same(one, other, ids):
                return False
        elif one != other:
            return False
    return True

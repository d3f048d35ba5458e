"""What the twin keeps: orders, instruments, accounts, sessions and work that goes on."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from raftbook.core.conditions import OrderConditions
from raftbook.core.events import Reply
from raftbook.core.instrument import InstrumentTerms
from raftbook.core.types import OrderType as Type
from raftbook.core.types import Phase, Side
from raftbook.core.types import TimeInForce as Tif

BIG = 2**63 - 1
SECOND = 1_000_000_000
FEE_UNIT = 100_000

NOWHERE, BOOK, STOPS, CALL, PEGS = "nowhere", "book", "stops", "call", "pegs"
PENDING = "pending"
"""Where an order is: not (yet, or any more) anywhere, resting in the book, waiting for its stop
price, without limit price in a call, beside the book, pegged and waiting for a price, or pending
until another order is filled."""

RESTING = (Tif.DAY, Tif.GTC, Tif.GTD)
STOPPED = (Type.STOP, Type.STOP_LIMIT, Type.IF_TOUCHED, Type.LIMIT_IF_TOUCHED)
WITHOUT_LIMIT = (Type.MARKET, Type.STOP, Type.IF_TOUCHED, Type.MARKET_TO_LIMIT)


@dataclass
class Wish:
    """A new order as a command names it, whichever command."""

    symbol: str
    side: int
    ord_type: int
    tif: int
    qty: int
    price: int | None
    client_order_id: str
    post_only: int
    stp: int
    stop_price: int | None = None
    trail_unit: int = 0
    trail_offset: int = 0
    display_qty: int = 0
    min_qty: int = 0
    expire_time_ns: int = 0
    quote_qty: int = 0
    trigger_by: int = 0
    hidden: int = 0
    plain: bool = False  # said by NEW_ORDER, which only knows the kinds of engine version 1
    of_oco: bool = False  # the second leg of an OCO, which must be a stop
    of_oto: bool = False
    pending: bool = False  # of an OTO, and not the first
    peg: tuple[int, int] | None = None  # reference and offset; the price is its limit then

    def kind(self) -> tuple[int, ...]:
        return (self.side, self.ord_type, self.tif, self.post_only, self.stp)


@dataclass(eq=False)
class TwinOrder:
    terms: tuple[Any, ...]
    leaves: int
    session_id: int = 0
    day: int = 0  # the trading day it was entered on
    where: str = NOWHERE
    sweeps: bool = False  # it is trading as a taker just now
    cum: int = 0
    notional: int = 0
    canceled: int = 0
    joined: int = 0  # when it last joined the queue it is in; among stops: when it arrived
    shown: int = 0  # of an iceberg that rests
    best: int | None = None  # of a trailing stop: the best last price so far
    closed: int = 0  # when it closed; 0 while open
    hold_price: int | None = None  # what a lot of a buy is held at; None: the rest of `hold_amount`
    hold_amount: int = 0
    held: tuple[str, int] = ("", 0)
    fee_sum: int = 0  # hundred-thousandths of minor units of quote, over all its fills
    fees: int = 0  # what was charged of it, minor units
    wanted: int | None = None  # pegged: the price it last moved for
    wish: Wish | None = None  # of one that was pending: what it was entered as
    due: int = 0  # pending: when the order it waits for was filled

    order_id = property(lambda self: self.terms[0])
    account = property(lambda self: self.terms[1])
    client_order_id = property(lambda self: self.terms[2])
    symbol = property(lambda self: self.terms[3])
    side = property(lambda self: self.terms[4][0])
    ord_type = property(lambda self: self.terms[4][1])
    tif = property(lambda self: self.terms[4][2])
    post_only = property(lambda self: self.terms[4][3])
    stp = property(lambda self: self.terms[4][4])
    order_qty = property(lambda self: self.terms[5])
    price = property(lambda self: self.terms[6])

    @property
    def conditions(self) -> OrderConditions:
        return OrderConditions(*self.terms[7]) if len(self.terms) > 7 else OrderConditions()

    @property
    def is_pegged(self) -> bool:
        return len(self.terms) > 8

    @property
    def limit(self) -> int | None:
        """The worst price it may ever have."""
        return self.terms[8][2] if self.is_pegged else self.price

    @property
    def is_iceberg(self) -> bool:
        return self.conditions.display_qty > 0

    @property
    def is_hidden(self) -> bool:
        return len(self.terms) > 7 and self.conditions.hidden > 0

    @property
    def trigger_by(self) -> int:
        return self.conditions.trigger_by

    @property
    def trails(self) -> bool:
        return self.conditions.trail_unit > 0

    @property
    def stop(self) -> int:
        """The price at which it fires."""
        _, unit, offset = self.conditions[:3]
        if not unit:
            return self.conditions.stop_price
        if unit == 2:
            offset = ceiling(abs(self.best) * offset, 10_000)
        return self.best + offset if self.side == Side.BUY else self.best - offset

    def holds_later(self) -> bool:
        """Whether it is the stop of a pair that was pending, and has not fired."""
        was_pending = self.conditions.oto_order_id > 0 and self.conditions.oco_order_id > 0
        return was_pending and self.where in (PENDING, STOPS)

    def rests(self) -> bool:
        return self.where == BOOK

    def is_seen(self) -> bool:
        """Whether the market sees that it rests."""
        return self.rests() and not self.is_hidden

    def offered(self) -> int:
        """What of a resting order trades before it goes to the back, or is gone."""
        return self.shown if self.is_iceberg else self.leaves

    @property
    def is_linked(self) -> bool:
        """Whether it was entered together with others."""
        return self.conditions.oco_order_id > 0 or self.conditions.oto_order_id > 0

    def slices(self) -> int:
        if not self.is_iceberg:
            return 1
        return 1 + ceiling(self.leaves - self.shown, self.conditions.display_qty)


@dataclass
class TwinTrade:
    trade_id: int
    price: int
    qty: int
    terms: tuple[Any, Any]  # maker's, taker's
    fees: tuple[int, int]
    busted: bool = False


@dataclass
class TwinAuction:
    """An auction that was begun: what it found, and how far it is."""

    began: int
    price: int | None
    volume: int
    imbalance: int
    left: int
    told: bool = False


@dataclass
class TwinInstrument:
    terms: InstrumentTerms
    created: int = 0
    phase: int = Phase.CONTINUOUS
    feed_seq: int = 0
    trades: int = 0
    last_price: int | None = None
    gathered: bool = False  # a call began and no auction has ended it yet
    until_ns: int | None = None  # when the call ends by itself, and in which phase
    then: int = Phase.CONTINUOUS
    auction: TwinAuction | None = None  # not over yet
    stops_left: int = 0  # since when more stops were reached than may fire after one command
    pegs_left: int = 0  # since when more pegged orders want to move than may in one entry
    pegs_moved: int = 0  # in this entry
    pegs_saw: Any = None  # the best prices at the last look; None where another one is due
    remembered: list[TwinTrade] = field(default_factory=list)

    def trades_now(self) -> bool:
        return self.phase == Phase.CONTINUOUS and self.auction is None

    def in_call(self) -> bool:
        return self.phase in (Phase.PRE_OPEN, Phase.AUCTION)


@dataclass
class TwinAccount:
    name: str
    is_operator: int
    group: str = ""
    enabled: int = 1
    open_orders_max: int = 0
    order_qty_max: int = 0
    order_notional_max: int = 0
    orders_per_s: int = 0
    orders_burst: int = 0
    killed: int = 0
    tokens: int = 0  # billionths of a token that were in its bucket at `filled_ns`
    filled_ns: int = 0
    available: dict[str, int] = field(default_factory=dict)
    held: dict[str, int] = field(default_factory=dict)
    transfers: list[tuple[str, tuple[Any, ...]]] = field(default_factory=list)
    api_keys: dict[str, str] = field(default_factory=dict)
    readers: list[str] = field(default_factory=list)


@dataclass
class TwinSession:
    session_id: int
    account: str
    key: str
    active_ns: int
    highest: int = 0
    replies: dict[int, Reply] = field(default_factory=dict)
    epoch: int = 0
    dies: bool = False  # its orders go when its connection does
    lease_ns: int = 0
    heard_ns: int = 0
    lapsed: bool = False


@dataclass
class MassCancelJob:
    """A mass cancel of which pages are left."""

    account: str
    reason: int
    fits: Callable[[TwinOrder], bool]
    meant: list[int]  # the orders that were open when it took effect
    names: list[str]  # accounts that are still to be gone through
    order_ids: list[int]  # of the one that is gone through, whatever became of them
    of_sessions: bool = False  # nobody asked for it: sessions lapsed, or were forgotten

    def waits(self) -> bool:
        """Whether it has not begun to look at the orders of its (only) account."""
        return self.names == [self.account]


def written(conditions: OrderConditions) -> tuple[Any, ...]:
    """Conditions as they stand in terms: two and two more only where they say something."""
    whole = tuple(conditions)
    if any(whole[10:]):
        return whole
    return whole[:10] if any(whole[8:]) else whole[:8]


def other(side: int) -> int:
    return Side.SELL if side == Side.BUY else Side.BUY


def reaches(side: int, limit: int | None, price: int) -> bool:
    """Whether an order of `side` with this limit may trade at `price`."""
    if limit is None:
        return True
    return limit >= price if side == Side.BUY else limit <= price


def ceiling(number: int, divisor: int) -> int:
    return -(-number // divisor)

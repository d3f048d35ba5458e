"""The scans and the telling that everything of the twin stands on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from raftbook.core import commands as c
from raftbook.core import events as e
from raftbook.core.events import Event
from raftbook.core.instrument import InstrumentTerms
from raftbook.core.types import Phase, Reject, Side
from raftbook.core.types import SelfTradePrevention as Stp
from raftbook.core.types import TimeInForce as Tif
from tests.core.twin.state import (
    BOOK,
    CALL,
    NOWHERE,
    PENDING,
    STOPS,
    MassCancelJob,
    TwinAccount,
    TwinInstrument,
    TwinOrder,
    TwinSession,
    other,
    reaches,
)

if TYPE_CHECKING:
    from raftbook.core.exchange import Genesis


PLAIN_REST = (1, 0, 0, 0, 0, None, 0)
"""Terms that engine version 1 does not have, when they say nothing."""


class Base:
    """The state, how to look things up in it, and how an order ends."""

    def __init__(self, genesis: Genesis) -> None:
        self.limits = genesis.limits
        says_more = genesis.currencies or genesis.deposits or genesis.groups
        is_new = says_more or any(terms[13:] != PLAIN_REST for terms in genesis.instruments)
        self.version = 2 if is_new else 1
        self.accounts = {name: TwinAccount(name, int(op)) for name, op in genesis.accounts}
        self.instruments = {
            terms.symbol: TwinInstrument(terms, number)
            for number, terms in enumerate(genesis.instruments)
        }
        self.currencies: dict[str, int] = dict(getattr(genesis, "currencies", ()))
        self.deposited = dict.fromkeys(self.currencies, 0)
        for account, currency, amount in getattr(genesis, "deposits", ()):
            available = self.accounts[account].available
            available[currency] = available.get(currency, 0) + amount
            self.deposited[currency] += amount
        for account, group in genesis.groups:
            self.accounts[account].group = group
        self.fee_pot: dict[str, int] = {}
        self.orders: list[TwinOrder] = []
        self.sessions: list[TwinSession] = []
        self.mass_cancels: list[MassCancelJob] = []
        self.looks = self.peg_looks = 0  # that mass cancels and pegged orders have in this entry
        self.dry_looks = 0  # what dry runs have looked at in it
        self.swept = 0  # what sweeps met in it, beside what each may for nothing
        self.met = 0  # what they met in it, for nothing or not
        self.fires = False  # stops fire just now
        self.triggered = 0  # stops that fired in it, and pending orders that were released
        self.auction_room = self.days_room = 0  # for auctions, and for the ends of days, in it
        self.order_ids = self.session_ids = self.counter = self.day = 0
        self.venue_killed = 0
        self.now_ns = 0
        self.out: list[Event] = []

    # ------------------------------------------------------------------------------------ telling

    def public(self, symbol: str, kind: int, *values: Any) -> None:
        self.instruments[symbol].feed_seq += 1
        self.out.append((kind, self.instruments[symbol].feed_seq, *values))

    def private(self, kind: int, *values: Any) -> None:
        self.out.append((kind, 0, *values))

    def tell_order(self, order: TwinOrder, kind: int, *values: Any) -> None:
        """Tell what the market sees exactly when it sees the order in the book."""
        if order.is_seen():
            self.public(order.symbol, kind, *values)
        else:
            self.private(kind, *values)

    def refuse(self, command: Any, reason: int, has_session: bool = True) -> None:
        kind = None
        if type(command) is tuple and len(command) > 0 and type(command[0]) is int:
            kind = command[0]
        changes = [c.CANCEL_ORDER, c.AMEND_ORDER]
        if self.version >= 2 and has_session:
            changes.append(c.REPLACE_ORDER)
            if reason == Reject.MALFORMED:
                changes.append(c.CANCEL_REPLACE)
        is_known = self.version >= 2 or reason != Reject.MALFORMED or not has_session
        if is_known and kind == c.SET_API_KEY and len(command) == 4:
            command = (*command[:3], "")  # the secret is told nobody
        self.private(e.CANCEL_REJECTED if kind in changes else e.REJECTED, int(reason), command)

    # ------------------------------------------------------------------------------------ looking

    def tick(self) -> int:
        self.counter += 1
        return self.counter

    def order_of(self, order_id: int) -> TwinOrder | None:
        return next((o for o in self.orders if o.order_id == order_id), None)

    def find(self, account: str, order_id: int, client_id: str) -> TwinOrder | None:
        for order in self.orders:
            if order.account == account:
                if order_id and order.order_id == order_id:
                    return order
                if not order_id and client_id and order.client_order_id == client_id:
                    return order
        return None

    def open_orders(self) -> list[TwinOrder]:
        return [o for o in self.orders if not o.closed]

    def queue(self, symbol: str, side: int) -> list[TwinOrder]:
        """Every order resting on one side, best price first, then what is displayed, then who
        joined first."""
        sign = -1 if side == Side.BUY else 1
        return sorted(
            self.resting(symbol, side), key=lambda o: (sign * o.price, o.is_hidden, o.joined)
        )

    def resting(self, symbol: str, side: int) -> list[TwinOrder]:
        """The same in no order."""
        booked = [o for o in self.orders if o.where == BOOK]
        return [o for o in booked if o.symbol == symbol and o.side == side]

    def beside(self, symbol: str, side: int) -> list[TwinOrder]:
        """The market orders that wait for the auction, in order of arrival."""
        waiting = [o for o in self.orders if o.where == CALL]
        mine = [o for o in waiting if (o.symbol, o.side) == (symbol, side)]
        return sorted(mine, key=lambda o: o.joined)

    def stops_of(self, symbol: str) -> list[TwinOrder]:
        return [o for o in self.orders if o.where == STOPS and o.symbol == symbol]

    def crossing(self, symbol: str, side: int, limit: int | None) -> list[TwinOrder]:
        """What an order of `side` with this limit would meet, in the order it would meet them."""
        makers = self.queue(symbol, other(side))
        return [maker for maker in makers if reaches(side, limit, maker.price)]

    def reference(self, symbol: str) -> int | None:
        instrument = self.instruments[symbol]
        if instrument.last_price is not None:
            return instrument.last_price
        return instrument.terms.reference_price

    def taker_limit(self, symbol: str, side: int, price: int | None) -> int | None:
        """The limit price, or what the collar makes of a market order."""
        collar, reference = self.instruments[symbol].terms.collar, self.reference(symbol)
        if price is not None or collar is None:
            return price
        assert reference is not None
        return reference + collar if side == Side.BUY else reference - collar

    def too_far(self, symbol: str, anchor: int | None, price: int) -> bool:
        """Whether a trade at this price would leave the volatility band around `anchor`."""
        band = self.instruments[symbol].terms.volatility_band
        return band is not None and anchor is not None and abs(price - anchor) > band

    def are_one(self, account: str, another: str) -> bool:
        """Whether self-trade prevention takes two accounts for one."""
        group = self.accounts[account].group
        return account == another or (group != "" and group == self.accounts[another].group)

    def keeps_off(self, stp: int, account: str, maker: TwinOrder) -> bool:
        return stp != Stp.NONE and self.are_one(account, maker.account)

    def phase_reject(self, symbol: str) -> int:
        reason = {
            Phase.PRE_OPEN: Reject.NONE,
            Phase.AUCTION: Reject.NONE,
            Phase.CONTINUOUS: Reject.NONE,
            Phase.HALTED: Reject.INSTRUMENT_HALTED,
            Phase.CANCEL_ONLY: Reject.PHASE_FORBIDS,
            Phase.CLOSED: Reject.INSTRUMENT_CLOSED,
        }[Phase(self.instruments[symbol].phase)]
        if reason == Reject.NONE and self.instruments[symbol].auction is not None:
            return Reject.PHASE_FORBIDS
        return reason

    def auctions(self) -> list[str]:
        """Instruments whose auction was begun and is not over, the eldest first."""
        begun = [(i.auction.began, s) for s, i in self.instruments.items() if i.auction is not None]
        return [symbol for _, symbol in sorted(begun)]

    # ------------------------------------------------------------------------- joining and ending

    def join(self, order: TwinOrder) -> None:
        """To the back of its queue in the book; an iceberg shows a fresh slice."""
        order.where = BOOK
        order.joined = self.tick()
        order.shown = min(order.conditions.display_qty, order.leaves)

    def end(self, order: TwinOrder, kind: int, reason: int) -> None:
        told = [order.terms, order.cum, order.leaves, int(order.is_seen()), int(reason)]
        if order.rests() and order.is_iceberg:
            told.append(order.shown)
        self.tell_order(order, kind, *told)
        order.canceled += order.leaves
        order.leaves = 0
        self.hold(order)
        is_taker = order.where == NOWHERE
        if not is_taker:
            self.close(order)
        self.end_pending(order)
        if is_taker and not order.sweeps:  # a taker closes when its sweep is over
            self.close(order)
        if kind == e.CANCELED and reason not in (Reject.OCO_DONE, Reject.OTO_FAILED):
            self.end_other_leg(order)

    def pending_of(self, order: TwinOrder) -> list[TwinOrder]:
        """The orders that wait until this one is filled, by order_id."""
        pending = [o for o in self.orders if o.where == PENDING and not o.due]
        mine = [o for o in pending if o.conditions.oto_order_id == order.order_id]
        return sorted(mine, key=lambda o: o.order_id)

    def end_pending(self, order: TwinOrder) -> None:
        """An order ended that was not filled: what waits for it ends, too."""
        for each in self.pending_of(order):
            self.end(each, e.CANCELED, Reject.OTO_FAILED)

    def has_other_leg(self, order: TwinOrder) -> bool:
        leg = self.order_of(order.conditions.oco_order_id)
        return leg is not None and not leg.closed

    def end_other_leg(self, order: TwinOrder) -> None:
        leg = self.order_of(order.conditions.oco_order_id)
        if leg is not None and not leg.closed:
            self.end(leg, e.CANCELED, Reject.OCO_DONE)

    def close(self, order: TwinOrder) -> None:
        order.leaves, order.shown, order.where = 0, 0, NOWHERE
        order.closed = self.tick()
        self.hold(order)
        closed = self.closed_of(order.account)
        forgotten = closed[: max(0, len(closed) - self.limits.closed_orders_max)]
        self.orders = [o for o in self.orders if o.order_id not in forgotten]

    def closed_of(self, account: str) -> list[int]:
        """Ids of the closed orders of an account that are remembered, in closing order."""
        closed = [o for o in self.orders if o.account == account and o.closed]
        return [o.order_id for o in sorted(closed, key=lambda o: o.closed)]

    def can_stay(self, order: TwinOrder) -> bool:
        """Whether what is left of it may rest in the book."""
        times = [Tif.DAY, Tif.GTC, Tif.GTD]
        if self.instruments[order.symbol].in_call():
            times.append(Tif.AT_AUCTION)
        return order.price is not None and order.tif in times


def price_reject(terms: InstrumentTerms, price: int) -> int:
    if price < terms.price_min or price > terms.price_max:
        return Reject.BAD_PRICE
    if terms.band_low is not None and price < terms.band_low:
        return Reject.PRICE_BAND
    if terms.band_high is not None and price > terms.band_high:
        return Reject.PRICE_BAND
    return Reject.NONE

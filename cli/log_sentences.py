"""What an event means for one order, as a sentence a trader understands.

Owns the words and the account of what traded while the order stood. Must not know files or JSON.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from raftbook.client.rejects import explain_reject, reject_name
from raftbook.client.values import InstrumentSpec
from raftbook.core import events as e
from raftbook.core.book import Book
from raftbook.core.conditions import NO_CONDITIONS, OrderConditions, PegTerms, is_hidden
from raftbook.core.events import Event
from raftbook.core.types import (
    OrderType,
    PegReference,
    Phase,
    PostOnly,
    Reject,
    SelfTradePrevention,
    Side,
    TimeInForce,
    TrailUnit,
    TriggerBy,
)

from .log_queue import Queue, is_better
from .output.tables import plural, rfc3339

_TIMES: Final = {
    TimeInForce.DAY: "for the day",
    TimeInForce.GTC: "until cancelled",
    TimeInForce.GTD: "until its time",
    TimeInForce.IOC: "immediate or cancel",
    TimeInForce.FOK: "all at once or nothing",
    TimeInForce.AT_AUCTION: "for the auction",
}
_TYPES: Final = {
    OrderType.MARKET: "market order",
    OrderType.LIMIT: "limit order",
    OrderType.STOP: "stop order",
    OrderType.STOP_LIMIT: "stop limit order",
    OrderType.IF_TOUCHED: "market-if-touched order",
    OrderType.LIMIT_IF_TOUCHED: "limit-if-touched order",
    OrderType.MARKET_TO_LIMIT: "market-to-limit order",
    OrderType.PEGGED: "pegged order",
}
_PEGS: Final = {
    PegReference.PRIMARY: "the best price of its own side",
    PegReference.MARKET: "the best price of the other side",
    PegReference.MIDPOINT: "the middle of the best prices",
}
_TRIGGERS: Final = {
    TriggerBy.LAST: "the last price",
    TriggerBy.BID: "the best bid",
    TriggerBy.ASK: "the best ask",
    TriggerBy.MID: "the middle of the best prices",
}
_PHASES: Final = {
    Phase.PRE_OPEN: "Orders gather before the opening; nothing trades.",
    Phase.AUCTION: "A call began: orders gather, and nothing trades until its auction.",
    Phase.CONTINUOUS: "Continuous trading began.",
    Phase.HALTED: "Trading was halted.",
    Phase.CANCEL_ONLY: "Only cancels were taken from here on.",
    Phase.CLOSED: "The instrument was closed.",
}


class Told:
    """What is known of an order so far; quantities in lots, notional in tick-lots. `rests` is
    whether it was told that it joined the book, which of a hidden order it always is."""

    def __init__(self, terms: tuple[Any, ...]) -> None:
        self.terms = terms
        self.leaves: int = terms[5]
        self.cum = self.notional = 0
        self.is_entered = self.rests = False
        self._ended = ""

    def is_open(self) -> bool:
        """Whether it was entered, and more can happen to it."""
        return self.is_entered and bool(self.leaves)

    def conditions(self) -> OrderConditions:
        """Its conditions; all default for most orders."""
        given = self.terms[7] if len(self.terms) > 7 else None
        return OrderConditions(*(NO_CONDITIONS if given is None else given))

    def take(self, event: Event) -> None:
        """An event that concerns it."""
        kind, order_id = event[0], self.terms[0]
        if kind in (e.TRADE, e.AUCTION_TRADE):
            at = 5 if event[5][0] == order_id else 9
            _, self.cum, self.leaves, self.notional = event[at : at + 4]
        elif kind == e.TRADE_BUSTED:
            self.cum -= event[5]
            self.notional -= event[4] * event[5]
        else:
            self.is_entered = True
            self.terms = event[2]
            if kind in (e.CANCELED, e.EXPIRED):
                self.leaves = 0
                self._ended = "cancelled" if kind == e.CANCELED else "expired"
            elif kind == e.REPLACED:
                self.leaves = event[5]
                self.rests = self.rests and bool(event[7])
            elif kind == e.RESTED:
                self.rests = True
            elif kind == e.RESTATED:
                self.leaves = event[4]

    def verdict(self) -> str:
        """How it stands, in a word or two."""
        if self.leaves:
            return "open, partly filled" if self.cum else "open, nothing traded"
        if not self._ended:
            return "filled"
        return f"partly filled, the rest {self._ended}" if self.cum else f"{self._ended}, no trade"


class Words:
    """Says things of one order; keeps count of what traded while it stood.

    Attributes:
        spec: its instrument, for decimals.
    """

    def __init__(self, told: Told, queue: Queue, spec: InstrumentSpec) -> None:
        self.spec = spec
        self._told, self._queue = told, queue
        self._side = told.terms[4][0]
        self._passed_qty = 0  # traded at its price, with orders before it
        self._low: int | None = None  # of trades that were not its own, while it stood or waited
        self._high: int | None = None
        self._was_triggered = False

    # -- before the market moves ------------------------------------------------------------------

    def before(self, event: Event, *, is_told: bool) -> str:
        """What must be seen before an event takes effect, in words for `said`."""
        kind = event[0]
        if kind in (e.TRADE, e.AUCTION_TRADE) and not is_told:
            if event[5][3] == self._told.terms[3] and self._told.is_open():
                self._pass(event)
        if is_told and kind == e.ACCEPTED:
            return self._market()
        if is_told and kind == e.EXPIRED:
            return self._offered()
        return ""

    def _pass(self, trade: Event) -> None:
        """Somebody else's trade."""
        price = trade[3]
        self._low = price if self._low is None else min(self._low, price)
        self._high = price if self._high is None else max(self._high, price)
        if self._queue.is_ahead(trade[5][0], self._told.terms[0]):
            self._passed_qty += trade[4]

    def _market(self) -> str:
        sides = []
        for side, word in ((Side.BUY, "bid"), (Side.SELL, "asked")):
            best = self._queue.best(side)
            sides.append(f"nothing {word}" if best is None else f"{self._at(*best)} {word}")
        last = self._queue.last_price
        sides.append("nothing traded yet" if last is None else f"last {self._price(last)}")
        return ", ".join(sides)

    def _offered(self) -> str:
        qty = self._queue.offered(self._side, self._told.terms[6])
        price = self._told.terms[6]
        where = "on the other side" if price is None else f"at {self._price(price)} or better"
        return f"{self._qty(qty) if qty else 'nothing'} was shown {where}"

    # -- after it ---------------------------------------------------------------------------------

    def said(self, event: Event, before: str) -> str:
        """The sentence of an event that concerns the order."""
        return _SAYINGS[event[0]](self, event, before)

    def refused_change(self, event: Event) -> str:
        """A cancel or an amend of it that was refused."""
        what = f"{explain_reject(event[2])} ({reject_name(event[2])})"
        return f"A change of it was refused, and it stayed as it was: {what}"

    def phase(self, number: int) -> str:
        """The instrument entered a phase."""
        return _PHASES[Phase(number)]

    def still_open(self, book: Book) -> str:
        """Why an order that is open has not traded, or not whole."""
        terms, told = self._told.terms, self._told
        rest = f"{self._qty(told.leaves)} of it is still open"
        if terms[0] in self._queue:
            reasons = [self._stands(), self._facing(), self._passed()]
        elif told.conditions().hidden:
            reasons = [self._stands(), self._facing()]
        elif book.stops is not None and terms[0] in book.stops.by_id:
            reasons = [self._waits()]
        elif len(terms) > 8:
            reasons = ["there is no price at which it may stand, so it waits"]
        else:
            reasons = ["it stands beside the book until the auction"]
        if book.phase != Phase.CONTINUOUS:
            reasons.append(f"the instrument is in {Phase(book.phase).name}, where nothing trades")
        return f"{rest}: {'; '.join(reason for reason in reasons if reason)}."

    # -- sayings ----------------------------------------------------------------------------------

    def _accepted(self, event: Event, market: str) -> str:
        terms, conditions = event[2], self._told.conditions()
        kind = _TYPES[OrderType(terms[4][1])]
        side = "buy" if self._side == Side.BUY else "sell"
        price = "" if terms[6] is None else f" at {self._price(terms[6])}"
        time = _TIMES[TimeInForce(terms[4][2])]
        text = f"A {kind} to {side} {self._qty(terms[5])}{price}, {time}, was entered."
        text += f" The market then: {market}."
        if conditions.stop_price is not None:
            which = _TRIGGERS[TriggerBy(conditions.trigger_by)]
            text += f" It waits until {which} reaches {self._price(conditions.stop_price)}."
        elif conditions.trail_unit:
            unit = "basis points" if conditions.trail_unit == TrailUnit.BASIS_POINTS else "ticks"
            text += f" It waits, trailing the last price by {conditions.trail_offset} {unit}."
        if len(terms) > 8:
            text += self._follows(PegTerms(*terms[8]))
        if conditions.hidden:
            text += " It shows nothing."
        if conditions.display_qty:
            text += f" It shows {self._qty(conditions.display_qty)} at a time."
        if event[1]:
            why = "Nothing could trade with it"
            if self._queue.is_call:
                why = "Orders were gathering for an auction"
            text += f" {why}, so it joined the book: {self._stands()}."
        return text

    def _follows(self, peg: PegTerms) -> str:
        limit = (
            "" if peg.limit_price is None else f", no further than {self._price(peg.limit_price)}"
        )
        offset = f" and {self._price(peg.offset)}" if peg.offset else ""
        return f" It follows {_PEGS[PegReference(peg.reference)]}{offset}{limit}."

    def _rested(self, event: Event, before: str) -> str:
        what = f"{self._qty(event[3])} joined the book at {self._price(event[2][6])}"
        if len(event[2]) > 8:
            return f"Following its reference, {what}: {self._stands()}."
        if is_hidden(event[2]):
            return f"{what[:1].upper()}{what[1:]}: {self._stands()}."
        return f"What was left, {what}: {self._stands()}."

    def _traded(self, event: Event, before: str) -> str:
        is_maker = event[5][0] == self._told.terms[0]
        other = event[9] if is_maker else event[5]
        verb = "Bought" if self._side == Side.BUY else "Sold"
        how = (
            "in the auction, against"
            if event[0] == e.AUCTION_TRADE
            else ("when it was met by" if is_maker else "from" if self._side == Side.BUY else "to")
        )
        left = f"{self._qty(self._told.leaves)} left" if self._told.leaves else "it is filled"
        place = self._at(event[3], event[4])
        return f"{verb} {place} {how} order {other[0]} of {other[1]} (trade {event[2]}); {left}."

    def _canceled(self, event: Event, before: str) -> str:
        qty, was_resting, reason = self._qty(event[4]), event[5], event[6]
        if reason == Reject.SELF_TRADE:
            if was_resting or (self._told.conditions().hidden and self._told.rests):
                why = "an order of its own account or group came to it and asked not to trade with"
                why += " itself"
            else:
                mode = SelfTradePrevention(event[2][4][4]).name
                why = "it met an order of its own account or group, and its self-trade mode is "
                why += mode
        elif reason:
            why = f"{explain_reject(reason)} ({reject_name(reason)})"
        else:
            why = "its account asked for it"
        return f"Cancelled with {qty} open: {why.rstrip('.')}.{self._past_tense()}"

    def _expired(self, event: Event, offered: str) -> str:
        terms, qty, reason = event[2], self._qty(event[4]), event[6]
        time = TimeInForce(terms[4][2])
        if reason == 0:
            why = f"it was to trade at once or not at all, and {offered}"
        elif reason in (Reject.FOK_CANNOT_FILL, Reject.MIN_QTY_NOT_MET):
            why = f"{explain_reject(reason).rstrip('.')}; {offered}"
        elif reason == Reject.PRICE_COLLAR:
            why = "it had gone as far from the reference price as collar or volatility band allow"
            why += f"; {offered}"
        elif reason == Reject.TIME_IS_UP and time is TimeInForce.GTD:
            why = f"its time, {rfc3339(self._told.conditions().expire_time_ns)}, had come"
        elif reason == Reject.TIME_IS_UP and time is TimeInForce.DAY:
            why = "the trading day ended"
        elif reason == Reject.TIME_IS_UP:
            why = "it was for the auction, and the auction is over"
        else:
            why = explain_reject(reason).rstrip(".")
        code = f" ({reject_name(reason)})" if reason else ""
        return f"Expired with {qty} open: {why}{code}.{self._past_tense()}"

    def _replaced(self, event: Event, before: str) -> str:
        terms, old, kept = event[2], event[3], event[7]
        changes = []
        if terms[6] != old[6]:
            changes.append(f"price {self._price(old[6])} to {self._price(terms[6])}")
        if event[5] != event[6]:
            changes.append(f"open quantity {self._qty(event[6])} to {self._qty(event[5])}")
        what = " and ".join(changes) or "conditions"
        place = "it kept its place" if kept else "it lost its place"
        return f"Amended, {what}: {place}."

    def _restated(self, event: Event, before: str) -> str:
        return (
            f"{self._qty(event[5])} of it was taken off instead of trading with an order of its "
            f"own account or group; {self._qty(event[4])} left."
        )

    def _triggered(self, event: Event, before: str) -> str:
        self._was_triggered = True
        self._low = self._high = None
        last = self._queue.last_price
        became = "market" if event[2][6] is None else "limit"
        reached = ""
        if last is not None and self._told.conditions().trigger_by == TriggerBy.LAST:
            reached = f" with the last price at {self._price(last)}"
        return f"Its stop price {self._price(event[3])} was reached{reached}: a {became} order now."

    def _refilled(self, event: Event, before: str) -> str:
        what = f"its next {self._qty(event[3])} of {self._qty(event[4])} joined the back"
        return f"What it showed was spent; {what}: {self._stands()}."

    def _repriced(self, event: Event, before: str) -> str:
        if event[1]:
            return f"It left its place at {self._price(event[3])}, for what it follows moved."
        price = self._price(event[2][6])
        if event[3] is None:
            return f"It became a limit order at {price}."
        asked = self._price(event[3])
        assert event[2][4][3] == PostOnly.REPRICE, "only such an order is repriced"
        return f"At {asked} it would have taken; as post-only it was put to {price} instead."

    def _busted(self, event: Event, before: str) -> str:
        place = self._at(event[4], event[5])
        return f"Trade {event[3]}, {place}, was undone by an operator; that quantity is gone."

    # -- parts ------------------------------------------------------------------------------------

    def _stands(self) -> str:
        """Where it stands in the queue now."""
        if self._told.conditions().hidden:
            return "hidden, behind all that shows itself at this price"
        place = self._queue.place(self._told.terms[0])
        parts = []
        if place.orders:
            parts.append(f"{plural(place.orders, 'order')} with {self._qty(place.qty)} before it")
        else:
            parts.append("first at its price")
        if place.better_orders:
            better = plural(place.better_orders, "order")
            parts.append(f"{better} with {self._qty(place.better_qty)} at better prices")
        elif not place.orders:
            parts.append("the best of its side")
        return ", ".join(parts)

    def _facing(self) -> str:
        """What it would have to meet."""
        best = self._queue.best(Side.SELL if self._side == Side.BUY else Side.BUY)
        if best is None:
            return "nothing on the other side"
        word = "lowest offer" if self._side == Side.BUY else "highest bid"
        return f"the {word} is {self._at(*best)}"

    def _passed(self) -> str:
        """What traded while it stood, and why not with it."""
        price = self._told.terms[6]
        if self._low is None or self._high is None:
            return "nobody else traded meanwhile"
        if self._passed_qty:
            at = self._price(price)
            return f"{self._qty(self._passed_qty)} traded at {at} with orders that stood before it"
        nearest = self._low if self._side == Side.BUY else self._high
        word = "lowest" if self._side == Side.BUY else "highest"
        if nearest != price and is_better(self._side, nearest, price):
            return (
                f"the {word} trade in that time, {self._price(nearest)}, did not come to its price"
            )
        return f"the {word} trade meanwhile was at {self._price(nearest)}"

    def _waits(self) -> str:
        """Why a stop has not fired."""
        conditions = self._told.conditions()
        if conditions.stop_price is None:
            return "the last price has not turned by its trailing distance"
        if conditions.trigger_by != TriggerBy.LAST:
            which = _TRIGGERS[TriggerBy(conditions.trigger_by)]
            return f"{which} has not come to its stop price {self._price(conditions.stop_price)}"
        kind = OrderType(self._told.terms[4][1])
        is_rise = (kind in (OrderType.STOP, OrderType.STOP_LIMIT)) == (self._side == Side.BUY)
        extreme = self._high if is_rise else self._low
        stop = f"the last price has not reached its stop price {self._price(conditions.stop_price)}"
        if extreme is None:
            return f"{stop}; nobody traded meanwhile"
        return f"{stop}; it went no {'higher' if is_rise else 'lower'} than {self._price(extreme)}"

    def _past_tense(self) -> str:
        """Why something that stood or waited and is over has not traded whole."""
        if self._told.terms[6] is None or self._low is None:
            return ""
        if self._told.conditions().stop_price is not None and not self._was_triggered:
            return f" Until then {self._waits()}."
        return f" Until then {self._passed()}."

    def _price(self, ticks: int) -> str:
        return f"{self.spec.price(ticks):f}"

    def _qty(self, lots: int) -> str:
        return f"{self.spec.qty(lots):f}"

    def _at(self, price: int, qty: int) -> str:
        return f"{self._qty(qty)} at {self._price(price)}"


_SAYINGS: Final[dict[int, Callable[[Words, Event, str], str]]] = {
    e.ACCEPTED: Words._accepted,
    e.RESTED: Words._rested,
    e.TRADE: Words._traded,
    e.AUCTION_TRADE: Words._traded,
    e.CANCELED: Words._canceled,
    e.EXPIRED: Words._expired,
    e.REPLACED: Words._replaced,
    e.RESTATED: Words._restated,
    e.TRIGGERED: Words._triggered,
    e.REFILLED: Words._refilled,
    e.REPRICED: Words._repriced,
    e.TRADE_BUSTED: Words._busted,
}

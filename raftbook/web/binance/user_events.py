"""What happens to one account in one entry, in Binance's words.

Owns `executionReport`, `listStatus`, `balanceUpdate` and `outboundAccountPosition`, made of the
events of an entry and of what is noted of the state right after it: a function of the log, the same
on every node. Nothing is remembered between entries.

What Binance calls the execution id is made of the entry's index and the event's place in it. What
is not kept any more of an order that this very entry closed is -1, as Binance says of such amounts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from raftbook.core import events as e
from raftbook.core.accounts import Account
from raftbook.core.conditions import OrderConditions
from raftbook.core.events import Event
from raftbook.core.exchange import Exchange
from raftbook.core.types import Reject
from raftbook.replica.machine import Applied
from raftbook.web.binance.figures import UNKNOWN_AMOUNT, ZERO
from raftbook.web.binance.markets import Json, Market, balance_scale, milliseconds
from raftbook.web.binance.order_lists import orders_of_list
from raftbook.web.binance.reports import PENDING, commission, ending, open_status
from raftbook.web.binance.user_audience import currencies_of, own_terms
from raftbook.web.binance.words import (
    MODE_WORDS,
    SIDE_WORDS,
    conditions_of,
    contingency,
    list_id,
    time_word,
    type_word,
    was_pending,
)

_TRADES: Final = frozenset((e.TRADE, e.AUCTION_TRADE))
_SELF_TRADE: Final = int(Reject.SELF_TRADE)
_UNKNOWN: Final = -1
_PLACES: Final = 1_000_000
"""Events of one entry that can have an execution id of their own; far more than one has."""
_NO_ORDER: Final = -1

Place = tuple[int, Event, Market | None]
"""An event of an entry, how many came before it, and what its instrument was called then."""


class _Then(NamedTuple):
    """An order as it stood after the entry."""

    entered_ns: int
    cum_notional: int
    is_open: bool
    is_waiting: bool
    name: str


class Telling:
    """One entry as one account is told of it. What it needs of the state is noted when it is made,
    right after the entry; the texts are made when they are asked for.

    Args:
        places: the events that are told to it, in order.
        exchange: as of the entry.
    """

    def __init__(
        self, account: Account, places: list[Place], applied: Applied, exchange: Exchange
    ) -> None:
        self._account_name, self._places = account.name, places
        self._index, self._time_ms = applied.index, milliseconds(applied.time_ns)
        self._decimals = exchange.money.decimals
        self._notional: dict[int, int] = {}  # of orders, as of the event that is told
        self._accepted: dict[int, tuple[Any, ...]] = {}  # terms of orders that this entry entered
        self._triggered: set[int] = set()  # here, and so they were in the book before their end
        self._released: set[int] = set()  # here, so they were pending no longer
        self._lists: dict[int, list[int]] = {}  # the orders of lists that are told of
        self._ended: dict[int, tuple[Market, tuple[Any, ...]]] = {}  # in which one ended here
        self._then: dict[int, _Then] = {}
        self._balances: dict[str, tuple[int, int]] = {}
        for _, event, market in places:
            for terms in own_terms(event, account.name):
                self._note(account, terms[0])
                self._note_list(account, list_id(terms))
            for currency in currencies_of(event, market):
                held = account.balances.get(currency)
                free = (0, 0) if held is None else (held.available, held.held)
                self._balances[currency] = free

    def _note_list(self, account: Account, number: int) -> None:
        """The orders that were entered together, as far as they are open or remembered."""
        if number > 0 and number not in self._lists:
            orders = orders_of_list(account, number)
            self._lists[number] = [order.terms[0] for order in orders]
            for order in orders:
                self._note(account, order.terms[0])

    def _note(self, account: Account, order_id: int) -> None:
        order = account.orders.get(order_id)
        if order is not None and order_id not in self._then:
            self._then[order_id] = _Then(
                order.entered_ns,
                order.cum_notional,
                order.leaves_qty > 0,
                order.leaves_qty > 0 and order.book.waits(order),
                order.terms[2],
            )

    def texts(self) -> Iterator[str]:
        """The events of the account's stream, in order."""
        for at, (place, event, market) in enumerate(self._places):
            for told in self._told(at, place, event, market):
                yield json.dumps(told, separators=(",", ":"))
        for market, terms in self._ended.values():
            if not any(self._is_open(each) for each in self._members(terms)):
                told = self._list_status(market, terms, is_open=False)
                yield json.dumps(told, separators=(",", ":"))
        if self._balances:
            yield json.dumps(self._position(), separators=(",", ":"))

    def _told(self, at: int, place: int, event: Event, market: Market | None) -> Iterator[Json]:
        kind = event[0]
        if kind == e.BALANCE_CHANGED:
            yield from self._balance(event)
            return
        if market is None:
            return  # it has no name at this door
        if kind in _TRADES:
            for side, is_taker in ((5, False), (9, True)):
                if event[side][1] == self._account_name:
                    yield self._fill(market, place, event, side, is_taker=is_taker)
        elif kind == e.REJECTED:
            yield self._rejected(market, place, event)
        elif kind != e.TRADE_BUSTED:
            yield from self._of_an_order(market, at, place, event)

    # -- orders -------------------------------------------------------------------------------

    def _of_an_order(self, market: Market, at: int, place: int, event: Event) -> Iterator[Json]:
        kind, seq, terms = event[:3]
        conditions = conditions_of(terms)
        waits = conditions is not None and (
            conditions.stop_price is not None or conditions.trail_unit > 0
        )
        report = self._report(market, terms, place)
        if kind == e.ACCEPTED:
            self._accepted[terms[0]] = terms
            is_pending = was_pending(terms)
            report = _working(report, is_working=not waits and not is_pending)
            yield report | {"x": "NEW", "X": PENDING if is_pending else "NEW"}
            if conditions is not None and _is_last(conditions, terms[0]):
                yield self._list_status(market, terms, is_open=True)
            return
        if kind == e.TRIGGERED:
            is_waiting = waits and event[3] is None  # released, it waits for its price
            self._released.add(terms[0])
            if not is_waiting:
                self._triggered.add(terms[0])
            report = _working(report, is_working=not is_waiting)
            yield report | {"x": "NEW", "X": open_status(0, 1)}
            return
        cum = event[4] if kind == e.REPLACED else event[3]
        report["z"] = market.qty.text(cum)
        report["Z"] = self._cum_notional(market, at, terms[0], cum)
        if kind == e.REPLACED:
            is_waiting = waits and not seq and self._waited(at, terms[0])
            report = _working(report, is_working=not is_waiting)
            yield report | {"x": "REPLACED", "X": open_status(cum, event[5])}
            return
        if kind == e.RESTATED and waits and not event[6] and terms[0] not in self._triggered:
            report = _working(report, is_working=False)  # a stop that its pair shrinks
            yield report | {"x": "REPLACED", "X": open_status(cum, event[4])}
            return
        if kind == e.RESTATED:
            report |= {"x": "TRADE_PREVENTION", "X": open_status(cum, event[4]), "w": True}
            yield report | self._prevented(market, terms[5] - cum - event[4], event[5])
            return
        never_stood = (waits and terms[0] not in self._triggered) or self._was_pending(event)
        if never_stood and not event[5]:
            del report["W"]
        yield self._end(market, report, event)
        self._note_end(market, terms)

    def _was_pending(self, event: Event) -> bool:
        """Whether an order ended before another one released it."""
        terms, reason = event[2], event[6]
        if not was_pending(terms) or terms[0] in self._released:
            return False
        return reason == Reject.OTO_FAILED or self._is_open(list_id(terms))

    def _note_end(self, market: Market, terms: tuple[Any, ...]) -> None:
        if list_id(terms) > 0:
            self._ended[list_id(terms)] = (market, terms)

    def _end(self, market: Market, report: Json, event: Event) -> Json:
        kind, _, terms, cum, qty, _, reason = event[:7]
        report["X"] = ending(kind, reason)
        report["r"] = Reject(reason).name
        if reason == _SELF_TRADE:
            return report | {"x": "TRADE_PREVENTION"} | self._prevented(market, terms[5] - cum, qty)
        if kind == e.CANCELED:
            return report | {"x": "CANCELED", "C": terms[2]}
        return report | {"x": "EXPIRED"}

    def _prevented(self, market: Market, total: int, last: int) -> Json:
        return {"A": market.qty.text(total), "B": market.qty.text(last)}

    def _fill(self, market: Market, place: int, event: Event, side: int, *, is_taker: bool) -> Json:
        terms, cum, leaves, notional = event[side : side + 4]
        self._notional[terms[0]] = notional
        report = self._report(market, terms, place, is_taker=is_taker)
        if not leaves:
            self._note_end(market, terms)
        return report | {
            "x": "TRADE",
            "X": open_status(cum, leaves),
            "l": market.qty.text(event[4]),
            "z": market.qty.text(cum),
            "L": market.price.text(event[3]),
            "n": commission(market, event, is_taker=is_taker),
            "N": market.terms.quote,
            "t": event[2],
            "w": leaves > 0,
            "m": not is_taker,
            "Z": market.amount.text(notional),
            "Y": market.amount.text(event[3] * event[4]),
        }

    def _rejected(self, market: Market, place: int, event: Event) -> Json:
        """The new order of a cancel-replace: it has no number."""
        symbol, side, ord_type, time_in_force, qty, price, name, post_only, mode = event[3][4:13]
        kind = (side, ord_type, time_in_force, post_only, mode)
        terms = (_NO_ORDER, self._account_name, name, symbol, kind, qty, price)
        report = self._report(market, terms, place) | {"O": self._time_ms}
        return report | {"x": "REJECTED", "X": "REJECTED", "r": Reject(event[2]).name}

    def _report(
        self, market: Market, terms: tuple[Any, ...], place: int, *, is_taker: bool = False
    ) -> Json:
        """An `executionReport` that says what the order is."""
        kind, conditions = terms[4], conditions_of(terms)
        entered_ms = self._entered_ms(terms[0])
        stop = trail = display = quote = 0
        if conditions is not None:
            stop, trail = conditions.stop_price or 0, conditions.trail_offset
            display, quote = conditions.display_qty, conditions.quote_qty
        report = {
            "e": "executionReport",
            "E": self._time_ms,
            "s": market.name,
            "c": terms[2],
            "S": SIDE_WORDS[kind[0]],
            "o": type_word(kind),
            "f": time_word(kind),
            "q": market.qty.text(terms[5]),
            "p": ZERO if terms[6] is None else market.price.text(terms[6]),
            "P": market.price.text(stop) if stop else ZERO,
            "F": market.qty.text(display) if display else ZERO,
            "g": list_id(terms),
            "C": "",
            "x": "",
            "X": "",
            "r": "NONE",
            "i": terms[0],
            "l": ZERO,
            "z": ZERO,
            "L": ZERO,
            "n": "0",
            "N": None,
            "T": self._time_ms,
            "t": -1,
            "I": 2 * (self._index * _PLACES + place) + is_taker,
            "w": False,
            "m": False,
            "M": False,
            "O": entered_ms,
            "Z": ZERO,
            "Y": ZERO,
            "Q": market.amount.text(quote) if quote else ZERO,
            "W": entered_ms,
            "V": MODE_WORDS[kind[4]],
        }
        return report | {"d": trail} if trail else report

    # -- what events do not say ---------------------------------------------------------------

    def _entered_ms(self, order_id: int) -> int:
        then = self._then.get(order_id)
        if then is not None and then.entered_ns:
            return milliseconds(then.entered_ns)
        return self._time_ms if order_id in self._accepted else _UNKNOWN

    def _is_open(self, order_id: int) -> bool:
        then = self._then.get(order_id)
        return then is not None and then.is_open

    def _waited(self, at: int, order_id: int) -> bool:
        """Whether an order that is in no book waits for its price at an event, and not for its
        auction: it fires after it, or waits still, or was ended before it could."""
        if order_id in self._triggered:
            return False
        for _, event, _ in self._places[at:]:
            if event[0] == e.TRIGGERED and event[2][0] == order_id:
                return True
        then = self._then.get(order_id)
        return then is None or not then.is_open or then.is_waiting

    def _cum_notional(self, market: Market, at: int, order_id: int, cum_qty: int) -> str:
        """What an order had traded for by an event that does not say it.

        A trade of this entry before it says so; so does one after it; with neither, the order
        stands now as it stood then.
        """
        if not cum_qty:
            return ZERO
        known = self._notional.get(order_id)
        if known is None:
            known = self._before_next_fill(at, order_id)
        if known is None:
            then = self._then.get(order_id)
            known = None if then is None else then.cum_notional
        return UNKNOWN_AMOUNT if known is None else market.amount.text(known)

    def _before_next_fill(self, at: int, order_id: int) -> int | None:
        for _, event, _ in self._places[at:]:
            if event[0] in _TRADES:
                for side in (5, 9):
                    if event[side][0] == order_id:
                        return int(event[side + 3] - event[3] * event[4])
        return None

    # -- pairs and money ----------------------------------------------------------------------

    def _list_status(self, market: Market, terms: tuple[Any, ...], *, is_open: bool) -> Json:
        """`listStatus` of the list of an order."""
        number = list_id(terms)
        return {
            "e": "listStatus",
            "E": self._time_ms,
            "s": market.name,
            "g": number,
            "c": contingency(terms),
            "l": "EXEC_STARTED" if is_open else "ALL_DONE",
            "L": "EXECUTING" if is_open else "ALL_DONE",
            "r": "NONE",
            "C": str(number),
            "T": self._time_ms,
            "O": [
                {"s": market.name, "i": each, "c": self._name(each, terms)}
                for each in self._members(terms)
            ],
        }

    def _members(self, terms: tuple[Any, ...]) -> list[int]:
        """The orders of a list, as far as anything tells of them still."""
        number = list_id(terms)
        known = {terms[0], *self._lists.get(number, ())}
        known |= {each for each, of in self._accepted.items() if list_id(of) == number}
        return sorted(known | ({_sibling(terms)} - {0}))

    def _name(self, order_id: int, terms: tuple[Any, ...]) -> str:
        """An order's client_order_id."""
        if order_id == terms[0]:
            return str(terms[2])
        then, accepted = self._then.get(order_id), self._accepted.get(order_id)
        if then is not None:
            return then.name
        return "" if accepted is None else str(accepted[2])

    def _balance(self, event: Event) -> Iterator[Json]:
        """A deposit or a withdrawal, unless it was told already."""
        _, _, _, currency, amount, _, _, repeated = event
        if repeated:
            return
        yield {
            "e": "balanceUpdate",
            "E": self._time_ms,
            "a": currency,
            "d": balance_scale(self._decimals, currency).text(amount),
            "T": self._time_ms,
        }

    def _position(self) -> Json:
        """`outboundAccountPosition` as of the end of the entry."""
        balances = []
        for currency, (free, locked) in self._balances.items():
            scale = balance_scale(self._decimals, currency)
            balances.append({"a": currency, "f": scale.text(free), "l": scale.text(locked)})
        time_ms = self._time_ms
        return {"e": "outboundAccountPosition", "E": time_ms, "u": time_ms, "B": balances}


def _working(report: Json, *, is_working: bool) -> Json:
    """Whether it is in the book, or would be: only then it has a time since when."""
    report["w"] = is_working
    if not is_working:
        del report["W"]
    return report


def _is_last(conditions: OrderConditions, order_id: int) -> bool:
    """Whether an order is the last one of those that were entered together."""
    other = conditions.oco_order_id or conditions.oto_order_id
    return 0 < other < order_id


def _sibling(terms: tuple[Any, ...]) -> int:
    conditions = conditions_of(terms)
    return 0 if conditions is None else int(conditions.oco_order_id)

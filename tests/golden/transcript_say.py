"""Events in a trader's words.

Owns the wording, which is the same for a plain market and for a whole venue.
"""

from decimal import Decimal
from typing import Any

from raftbook.core import events as e
from raftbook.core.conditions import TRIGGERED_TYPES, OrderConditions
from raftbook.core.types import OrderType, Phase, Reject, TimeInForce, TriggerBy
from tests.golden.transcript_talk import DECIMALS, START_NS


def amount_of(units: int, currency: str) -> str:
    """Minor units as people write an amount."""
    return str(Decimal(units).scaleb(-DECIMALS[currency]))


def say(event: Any) -> str:
    """One event; nothing for an ACCEPTED whose order goes on to something, and for sessions."""
    kind = event[0]
    if kind in (e.REJECTED, e.CANCEL_REJECTED):
        return f"{'rejected' if kind == e.REJECTED else 'refused'} {Reject(event[2]).name}"
    if kind in (e.TRADE, e.AUCTION_TRADE):
        return _trade(event)
    return _of_order(event) if kind in _OF_ORDERS else _of_venue(event)


_OF_ORDERS = frozenset(
    (
        e.ACCEPTED,
        e.RESTED,
        e.CANCELED,
        e.EXPIRED,
        e.REPLACED,
        e.RESTATED,
        e.TRIGGERED,
        e.REFILLED,
        e.REPRICED,
    )
)


def _trade(event: Any) -> str:
    text = f"{event[5][2]} x {event[9][2]}  {event[4]} @ {event[3]}"
    if event[0] == e.AUCTION_TRADE:
        text += " in the auction"
    fees = event[13:15]
    if any(fees):
        text += f", fees {amount_of(fees[0], 'eur')} and {amount_of(fees[1], 'eur')}"
    return text


def _of_order(event: Any) -> str:
    kind, terms = event[0], event[2]
    name, price = terms[2], terms[6]
    if kind == e.ACCEPTED:
        return _accepted(event)
    if kind == e.RESTED:
        unseen = "" if event[1] else ", hidden"
        return f"{name} rests {event[3]} @ {price}{_shows(event[4:])}{unseen}"
    if kind == e.REPLACED:
        return _replaced(event)
    if kind == e.RESTATED:
        return f"{name} restated: {event[5]} prevented, open {event[4]}{_shows(event[7:])}"
    if kind == e.TRIGGERED:
        return f"{name} fires at {event[3]}"
    if kind == e.REFILLED:
        return f"{name} shows {event[3]} of {event[4]}"
    if kind == e.REPRICED and event[1]:
        return f"{name} leaves {event[3]}"
    if kind == e.REPRICED and event[3] is None:
        return f"{name} is limited @ {price}"
    if kind == e.REPRICED:
        return f"{name} moves from {event[3]} to {price}"
    word = {e.CANCELED: "cancelled", e.EXPIRED: "expires"}[kind]
    reason = f" {Reject(event[6]).name}" if event[6] else ""
    return f"{name} {word} {event[4]}{reason}"


def _shows(shown: Any) -> str:
    return f", shows {shown[0]}" if shown else ""


def _accepted(event: Any) -> str:
    _, feed_seq, terms = event
    name, kind = terms[2], terms[4]
    conditions = OrderConditions(*terms[7]) if len(terms) > 7 else OrderConditions()
    if kind[1] in TRIGGERED_TYPES:
        return f"{name} waits{_for(conditions)}"
    if (kind[1], kind[2]) == (OrderType.MARKET, TimeInForce.AT_AUCTION):
        return f"{name} gathers {terms[5]}"
    if not feed_seq:
        return ""
    shown = (conditions.display_qty,) if conditions.display_qty else ()
    return f"{name} rests {terms[5]} @ {terms[6]}{_shows(shown)}"


def _for(conditions: OrderConditions) -> str:
    if conditions.trail_unit:
        return f", trailing by {conditions.trail_offset}{('', '', ' bps')[conditions.trail_unit]}"
    which = f" by the {TriggerBy(conditions.trigger_by).name.lower()}" if conditions[8] else ""
    return f" for {conditions.stop_price}{which}"


def _replaced(event: Any) -> str:
    _, feed_seq, terms, old, _, leaves_qty, old_leaves_qty, kept, *shown = event
    text = f"{terms[2]} replaced: open {old_leaves_qty} -> {leaves_qty}"
    if terms[6] is not None:
        text += f" @ {terms[6]}"
    now, before = (OrderConditions(*each[7]) if len(each) > 7 else None for each in (terms, old))
    if now is not None and before is not None:
        if terms[4][1] in TRIGGERED_TYPES and not feed_seq:
            text += f", waits{_for(now)}"
        if now.expire_time_ns != before.expire_time_ns:
            text += f", until {(now.expire_time_ns - START_NS) // 10**9}s"
    if kept:
        return f"{text}{_shows(shown)}, keeps its place"
    return f"{text}, leaves its place"


def _of_venue(event: Any) -> str:
    kind = event[0]
    if kind == e.PHASE_CHANGED:
        return f"phase {Phase(event[3]).name}"
    if kind == e.UNCROSSED:
        _, _, _, price, volume, imbalance = event
        if price is None:
            return "nothing trades in the auction"
        return f"auction price {price}, volume {volume}, imbalance {imbalance}"
    if kind == e.TRADE_BUSTED:
        _, _, _, trade_id, price, qty, maker, taker = event
        return f"trade {trade_id} busted: {maker[2]} x {taker[2]}  {qty} @ {price}"
    if kind == e.BALANCE_CHANGED:
        return _transfer(event)
    if kind == e.MASS_CANCELED:
        return f"cancels {event[3]} of {event[2]}{', more follow' if event[4] else ''}"
    words = {
        e.SESSION_OPENED: lambda: "",
        e.INSTRUMENT_CREATED: lambda: f"{event[2][0]} is listed",
        e.INSTRUMENT_AMENDED: lambda: f"{event[2][0]} has new terms",
        e.INSTRUMENT_DELETED: lambda: f"{event[2]} is deleted",
        e.ACCOUNT_CHANGED: lambda: f"{event[2]} is changed",
        e.KILL_SWITCH_SET: lambda: (
            f"kill switch of {event[2] or 'the venue'} {'on' if event[3] else 'off'}"
        ),
        e.DAY_ROLLED: lambda: f"day {event[2]} begins",
        e.SESSION_ATTACHED: lambda: f"session {event[2]} attached, epoch {event[3]}",
        e.SESSION_LAPSED: lambda: f"session {event[2]} lapsed, epoch {event[3]}",
    }
    return words[kind]()


def _transfer(event: Any) -> str:
    _, _, account, currency, amount, available, _, repeated = event
    if repeated:
        return f"{account} has had that: {amount_of(available, currency)} {currency} available"
    sign = "+" if amount > 0 else ""
    moved = f"{account} {sign}{amount_of(amount, currency)} {currency}"
    return f"{moved}, {amount_of(available, currency)} available"

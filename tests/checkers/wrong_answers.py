"""Bad histories: orders that were told what cannot be true of them.

Owns one change each, and the reason why no correct system could have produced the result: an
assertion about the changed rows alone. A change that finds no occasion in a sample gives None.
"""

from __future__ import annotations

import random
from typing import Any

from raftbook.core import events as e
from raftbook.core.types import Reject
from tests.checkers.history import ACKNOWLEDGED, Request
from tests.checkers.market import Sample
from tests.checkers.mutant import (
    Mutant,
    acknowledged,
    changed,
    choose,
    is_whole,
    put_events,
    single_orders,
    symbol_of,
    symbol_of_events,
    told_seqs,
)


def _first_trade(rng: random.Random, sample: Sample) -> tuple[Request, int] | None:
    """A request of one new order and the place of its first trade."""
    found = [
        (row, at)
        for row in single_orders(acknowledged(sample))
        for at, event in enumerate(row.events)
        if event[0] == e.TRADE and all(other[0] != e.TRADE for other in row.events[:at])
    ]
    return rng.choice(found) if found else None


def fill_quantity(sample: Sample, rng: random.Random) -> Mutant | None:
    """A fill of another quantity."""
    found = _first_trade(rng, sample)
    if found is None:
        return None
    row, at = found
    put_events(row, at, changed(row.events[at], 4, row.events[at][4] + rng.choice((1, 2, 5))))
    trade = row.events[at]
    assert trade[4] != trade[10], "its first fill is all it has"
    return Mutant(sample, symbol_of(row), f"{trade}: the first fill is not cum_qty")


def fill_price(sample: Sample, rng: random.Random) -> Mutant | None:
    """A fill at another price."""
    found = _first_trade(rng, sample)
    if found is None:
        return None
    row, at = found
    put_events(row, at, changed(row.events[at], 3, row.events[at][3] + rng.choice((-1, 1))))
    trade = row.events[at]
    assert trade[3] * trade[4] != trade[12], "price times quantity is all its notional"
    return Mutant(sample, symbol_of(row), f"{trade}: price x quantity is not the notional")


def fill_missing(sample: Sample, rng: random.Random) -> Mutant | None:
    """A fill that the taker is not told."""
    found = _first_trade(rng, sample)
    if found is None:
        return None
    row, at = found
    trade = row.events[at]
    put_events(row, at)
    known = sum(event[4] for event in row.events if event[0] == e.TRADE)
    rest = [event for event in row.events if event[0] in (e.RESTED, e.EXPIRED, e.CANCELED)]
    own = [event for event in rest if event[2][0] == trade[9][0]]
    left = sum(event[3] if event[0] == e.RESTED else event[4] for event in own)
    prevented = sum(
        event[5] for event in row.events if event[0] == e.RESTATED and event[2][0] == trade[9][0]
    )
    assert known + left + prevented < trade[9][5], "filled, left and prevented are the order"
    return Mutant(sample, symbol_of(row), f"the parts of {trade[9]} do not add up")


def leaves_quantity(sample: Sample, rng: random.Random) -> Mutant | None:
    """An order that rests with more than it had."""
    found = choose(
        rng,
        [
            (row, at)
            for row in single_orders(acknowledged(sample))
            for at, event in enumerate(row.events)
            if event[0] == e.RESTED
        ],
    )
    if found is None:
        return None
    row, at = found
    terms = row.events[at][2]
    put_events(row, at, changed(row.events[at], 3, row.events[at][3] + terms[5]))
    assert row.events[at][3] > terms[5], "no more than its order_qty can rest"
    return Mutant(sample, symbol_of(row), f"{row.events[at]}: more rests than was ordered")


def swapped_replies(sample: Sample, rng: random.Random) -> Mutant | None:
    """Two clients are told each other's result."""
    rows = single_orders(acknowledged(sample))
    rng.shuffle(rows)
    for one in rows:
        for other in rows:
            if one.name < other.name and symbol_of(one) == symbol_of(other):
                one.events, other.events = other.events, one.events
                for row in (one, other):
                    assert row.events[0][2][2] != row.commands[0][7], "names are unique"
                return Mutant(sample, symbol_of(one), f"{one.name} was told of another's order")
    return None


def order_id_twice(sample: Sample, rng: random.Random) -> Mutant | None:
    """An order gets the id of another one."""
    rows = [row for row in single_orders(acknowledged(sample)) if len(row.events) == 1]
    pairs = [
        (one, other)
        for one in rows
        for other in rows
        if one is not other and symbol_of(one) == symbol_of(other)
    ]
    pair = choose(rng, pairs)
    if pair is None:
        return None
    one, other = pair
    terms = one.events[0][2]
    put_events(one, 0, changed(one.events[0], 2, (other.events[0][2][0], *terms[1:])))
    assert one.events[0][2][0] == other.events[0][2][0] and one.name != other.name
    return Mutant(sample, symbol_of(one), f"two orders have id {one.events[0][2][0]}")


def cancel_refused(sample: Sample, rng: random.Random) -> Mutant | None:
    """A cancel that took effect is told TOO_LATE: nobody accounts for its public event."""
    found = [
        row
        for row in sample.history.requests
        if row.outcome == ACKNOWLEDGED
        and len(row.commands) == 1
        and [event[0] for event in row.events] == [e.CANCELED]
        and is_whole(sample, symbol_of_events(row))
        and sum(other.name == row.name for other in sample.history.requests) == 1
    ]
    row = choose(rng, found)
    if row is None:
        return None
    symbol, seq = symbol_of_events(row), row.events[0][1]
    row.events = ((e.CANCEL_REJECTED, 0, int(Reject.TOO_LATE), row.commands[0]),)
    told = told_seqs(sample, symbol)
    if max(told, default=0) < seq:
        return None
    assert seq not in told, f"event {seq} of {symbol} is told to somebody"
    return Mutant(sample, symbol, f"public event {seq} of {symbol} happened to nobody")


def resurrected(sample: Sample, rng: random.Random) -> Mutant | None:
    """An order that was cancelled or filled trades again."""
    closed: list[tuple[int, Any, int]] = []
    for row in sample.history.requests:
        for event in row.events:
            if event[0] == e.CANCELED and event[1]:
                closed.append((event[1], event[2], event[3]))
            elif event[0] == e.TRADE and not event[7] and event[5][1]:
                closed.append((event[1], event[5], event[6]))
    found = [
        (row, at, terms)
        for row in acknowledged(sample)
        for at, event in enumerate(row.events)
        for seq, terms, _ in closed
        if event[0] == e.TRADE and event[1] > seq and event[5][3:5] == terms[3:5]
        if event[5][0] != terms[0]
    ]
    choice = choose(rng, found)
    if choice is None:
        return None
    row, at, terms = choice
    trade = row.events[at]
    shown = terms if terms[1] == row.account else (terms[0], "", "", *terms[3:])
    put_events(row, at, changed(trade, 5, shown))
    closed_at = next(seq for seq, other, _ in closed if other == terms)
    assert row.events[at][5][0] == terms[0] and row.events[at][1] > closed_at
    return Mutant(sample, symbol_of(row), f"order {terms[0]} was closed at {closed_at}: {trade}")

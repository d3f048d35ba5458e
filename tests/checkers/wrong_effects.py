"""Bad histories: effects at a wrong time, twice, never, or not as the log has them.

Owns one change each, and the reason why no correct system could have produced the result: an
assertion about the changed rows alone. A change that finds no occasion in a sample gives None.
"""

from __future__ import annotations

import copy
import random
from dataclasses import replace
from typing import Any

from raftbook.core import commands as c
from raftbook.core import events as e
from raftbook.core.commands import Entry
from tests.checkers.history import ACKNOWLEDGED, NOT_ACCEPTED, Read
from tests.checkers.market import Plan, Sample, make_sample
from tests.checkers.mutant import (
    Mutant,
    acknowledged,
    changed,
    choose,
    is_whole,
    public_seqs,
    put_events,
    single_orders,
    symbol_of,
    symbol_of_events,
    told_seqs,
)

# -- when it was told -----------------------------------------------------------------------------


def reordered(sample: Sample, rng: random.Random) -> Mutant | None:
    """A later effect is acknowledged before the earlier one was even asked for."""
    rows = [row for row in acknowledged(sample) if public_seqs(row)]
    found = [
        (early, late)
        for early in rows
        for late in rows
        if symbol_of(early) == symbol_of(late) and max(public_seqs(early)) < min(public_seqs(late))
    ]
    pair = choose(rng, found)
    if pair is None:
        return None
    early, late = pair
    late.completed_ns = early.invoked_ns - 1
    late.invoked_ns = min(late.invoked_ns, late.completed_ns - 1)
    assert max(public_seqs(early)) < min(public_seqs(late)) and late.completed_ns < early.invoked_ns
    return Mutant(sample, symbol_of(early), f"{late.name} ended before {early.name} began")


def traded_before_sent(sample: Sample, rng: random.Random) -> Mutant | None:
    """A taker meets an order that nobody had sent yet."""
    made = {
        event[2][0]: row
        for row in acknowledged(sample)
        for event in row.events
        if event[0] == e.ACCEPTED
    }
    found = [
        (made[event[5][0]], taker)
        for taker in acknowledged(sample)
        for event in taker.events
        if event[0] == e.TRADE and event[5][0] in made and made[event[5][0]] is not taker
    ]
    pair = choose(rng, found)
    if pair is None:
        return None
    maker, taker = pair
    maker.invoked_ns = taker.completed_ns + 1
    maker.completed_ns = max(maker.completed_ns, maker.invoked_ns + 1)
    assert maker.invoked_ns > taker.completed_ns
    return Mutant(sample, symbol_of(maker), f"{taker.name} traded with {maker.name} too early")


def stale_read(sample: Sample, rng: random.Random) -> Mutant | None:
    """A read shows a book as it was before something that was acknowledged before the read."""
    found = [
        (old, new)
        for old in sample.history.reads
        for new in sample.history.reads
        if old.symbol == new.symbol
        and any(
            row.completed_ns is not None
            and row.completed_ns < new.invoked_ns
            and symbol_of(row) == new.symbol
            and max(public_seqs(row), default=0) > old.book[4]
            for row in acknowledged(sample)
        )
    ]
    pair = choose(rng, found)
    if pair is None:
        return None
    old, new = pair
    new.book, new.applied_index = old.book, old.applied_index
    return Mutant(sample, new.symbol, f"a read after {old.book[4]} shows {old.book[4]}")


def read_quantity(sample: Sample, rng: random.Random) -> Mutant | None:
    """A read whose levels are not its orders."""
    found = [read for read in sample.history.reads if read.book[0]]
    read: Read | None = choose(rng, found)
    if read is None:
        return None
    price, qty, count = read.book[0][0]
    read.book = (((price, qty + 1, count), *read.book[0][1:]), *read.book[1:])
    resting = sum(leaves for _, at, leaves in read.book[2] if at == price)
    assert resting != qty + 1
    return Mutant(sample, read.symbol, f"the level {price} has {qty + 1}, its orders {resting}")


def read_order_missing(sample: Sample, rng: random.Random) -> Mutant | None:
    """A read without an order that a later trade finds resting since before."""
    found: list[tuple[Read, int]] = []
    for read in sample.history.reads:
        for row in acknowledged(sample):
            for event in row.events:
                if event[0] != e.ACCEPTED or event[2][3] != read.symbol:
                    continue
                if 0 < event[1] == read.book[4]:
                    found.append((read, event[2][0]))  # the very last event put it there
    choice = choose(rng, found)
    if choice is None:
        return None
    read, order_id = choice
    sides = [tuple(order for order in side if order[0] != order_id) for side in read.book[2:4]]
    levels = [_levels_of(side) for side in sides]
    assert sum(map(len, sides)) == len(read.book[2]) + len(read.book[3]) - 1
    read.book = (*levels, *sides, *read.book[4:])
    return Mutant(sample, read.symbol, f"order {order_id} had just joined at {read.book[4]}")


def _levels_of(side: Any) -> Any:
    by_price: dict[int, list[int]] = {}
    for _, price, leaves in side:
        by_price.setdefault(price, []).append(leaves)
    return tuple((price, sum(leaves), len(leaves)) for price, leaves in by_price.items())


# -- whether it happened --------------------------------------------------------------------------


def refused_acted(sample: Sample, rng: random.Random) -> Mutant | None:
    """What took effect is said to have been refused."""
    found = [
        row
        for row in acknowledged(sample)
        if public_seqs(row)
        and is_whole(sample, symbol_of(row))
        and max(told_seqs(sample, symbol_of(row))) > max(public_seqs(row))
    ]
    row = choose(rng, found)
    if row is None:
        return None
    seqs = public_seqs(row)
    row.outcome, row.events, row.entry_index, row.event_offset = NOT_ACCEPTED, (), 0, 0
    told = told_seqs(sample, symbol_of(row))
    assert not told & set(seqs) and max(told) > max(seqs)
    return Mutant(sample, symbol_of(row), f"public events {seqs} happened to nobody")


def never_happened(sample: Sample, rng: random.Random) -> Mutant | None:
    """A request that nobody processed is acknowledged with another one's reply."""
    row = choose(rng, single_orders(acknowledged(sample)))
    if row is None:
        return None
    fresh = 1 + max(other.request_seq for other in sample.history.requests)
    ghost = replace(copy.deepcopy(row), request_seq=fresh)
    sample.history.requests.append(ghost)
    assert ghost.events[0][2][0] == row.events[0][2][0] and ghost.name != row.name
    return Mutant(sample, symbol_of(row), f"two requests made order {row.events[0][2][0]}")


def two_replies(sample: Sample, rng: random.Random) -> Mutant | None:
    """A repeated request gets another answer than the first time."""
    row = choose(rng, [row for row in acknowledged(sample) if public_seqs(row)])
    if row is None:
        return None
    again = copy.deepcopy(row)
    at = next(at for at, event in enumerate(again.events) if event[1])
    put_events(again, at, changed(again.events[at], 1, again.events[at][1] + 1))
    again.invoked_ns, again.completed_ns = row.completed_ns + 1, row.completed_ns + 9
    sample.history.requests.append(again)
    assert again.name == row.name and again.events != row.events
    return Mutant(sample, symbol_of(row), f"{row.name} got two answers")


def _after(sample: Sample) -> list[int]:
    """Public events told after the victim of a faulty system, on its instrument."""
    victim = sample.victim
    assert victim is not None and victim.completed_ns is not None
    return sorted(
        seq
        for row in sample.history.requests
        if row is not victim and row.outcome == ACKNOWLEDGED
        and symbol_of_events(row) == symbol_of(victim)
        for seq in public_seqs(row)
    )  # fmt: skip


def effect_lost(sample: Sample, rng: random.Random) -> Mutant | None:
    """A system that acknowledges an order and forgets it: the next one gets its feed_seq."""
    broken = make_sample(rng.randrange(10**9), Plan(fault="lost", troubles=False))
    if broken.victim is None or not set(public_seqs(broken.victim)) & set(_after(broken)):
        return None
    both = set(public_seqs(broken.victim)) & set(_after(broken))
    return Mutant(broken, symbol_of(broken.victim), f"public events {both} happened twice")


def effect_doubled(sample: Sample, rng: random.Random) -> Mutant | None:
    """A system that lets an order act twice: a feed_seq is told to nobody."""
    broken = make_sample(rng.randrange(10**9), Plan(fault="doubled", troubles=False))
    victim = broken.victim
    if victim is None:
        return None
    told = {*public_seqs(victim), *_after(broken)}
    missing = set(range(1, max(told))) - told
    if not missing or not is_whole(broken, symbol_of(victim)):
        return None
    return Mutant(broken, symbol_of(victim), f"public events {missing} happened to nobody")


# -- what only a log can witness ------------------------------------------------------------------


def not_in_log(sample: Sample, rng: random.Random) -> Mutant | None:
    """The final log has lost an acknowledged request."""
    row = choose(rng, acknowledged(sample))
    if row is None:
        return None
    name = (row.session_id, row.request_seq)
    sample.entries = [
        Entry(one.index, one.time_ns, tuple(r for r in one.requests if tuple(r[:2]) != name))
        for one in sample.entries
    ]
    assert all(tuple(r[:2]) != name for one in sample.entries for r in one.requests)
    return Mutant(sample, symbol_of(row), f"{row.name} is not in the log")


def wrong_index(sample: Sample, rng: random.Random) -> Mutant | None:
    """An acknowledgement names another place in the log."""
    row = choose(rng, acknowledged(sample))
    if row is None:
        return None
    if rng.random() < 0.5:
        row.entry_index += rng.choice((-1, 1))
    else:
        row.event_offset += 1
    return Mutant(sample, symbol_of(row), f"{row.name} was told a place that is not its own")


def uninvited(sample: Sample, rng: random.Random) -> Mutant | None:
    """The log holds a request in a client's name that the client never sent."""
    row = choose(rng, acknowledged(sample))
    if row is None:
        return None
    fresh = 1 + max(other.request_seq for other in sample.history.requests)
    last = sample.entries[-1].index
    forged = (row.session_id, fresh, (c.cancel_order(order_id=1),))
    sample.entries.append(Entry(last + 1, 0, (forged,)))
    return Mutant(sample, symbol_of(row), f"{forged} was never sent")


def refused_in_log(sample: Sample, rng: random.Random) -> Mutant | None:
    """A request that had no visible effect is said to be refused, and stands in the log."""
    row = choose(rng, acknowledged(sample))
    if row is None:
        return None
    row.outcome, row.events = NOT_ACCEPTED, ()
    return Mutant(sample, symbol_of(row), f"{row.name} was refused and is in the log")


def other_content(sample: Sample, rng: random.Random) -> Mutant | None:
    """The log holds a request with other commands than were sent; their answer is the same."""
    rows = [row for row in single_orders(acknowledged(sample)) if row.events[0][1]]
    row = choose(rng, rows)
    if row is None:
        return None
    command = row.commands[0]
    row.commands = (changed(command, 9, 1 if command[9] == 0 else 0),)
    assert row.events[0][2][4][4] != row.commands[0][9], "the order's self-trade mode is told"
    return Mutant(sample, symbol_of(row), f"{row.name} was accepted as something else")

"""Bad histories, made from good ones by one change each: what the checkers must catch.

Owns the changes and, in each, the reason why no correct system could have produced the result: an
assertion about the changed rows alone, which uses neither checker nor model nor exchange. A change
that finds no occasion in a sample gives None.

`BOTH` are visible in what clients were told and when; the linearizability checker must reject the
window they are in. `WITNESS_ONLY` change the log, an index in a reply, or what is known of a
session: the linearizability checker believes none of these, so nothing illegal is left for it.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from raftbook.core import commands as c
from raftbook.core import events as e
from raftbook.core.commands import Entry
from raftbook.core.types import Reject
from tests.checkers.history import ACKNOWLEDGED, NOT_ACCEPTED, UNKNOWN, Read, Request
from tests.checkers.market import Plan, Sample, make_sample


@dataclass(slots=True)
class Mutant:
    """A sample that no correct system could have produced; `symbol` names the broken window."""

    sample: Sample
    symbol: str
    why: str


Mutation = Callable[[Sample, random.Random], Mutant | None]


# -- reading rows ---------------------------------------------------------------------------------


def _symbol(row: Request) -> str:
    return str(next((command[1] for command in row.commands if command[0] == c.NEW_ORDER), ""))


def _acknowledged(sample: Sample) -> list[Request]:
    """Requests with new orders that were acknowledged in one row and never repeated."""
    count: dict[Any, int] = {}
    for row in sample.history.requests:
        count[row.name] = count.get(row.name, 0) + 1
    return [
        row
        for row in sample.history.requests
        if row.outcome == ACKNOWLEDGED and count[row.name] == 1 and _symbol(row)
    ]


def _told(sample: Sample, symbol: str) -> set[int]:
    """Every feed_seq that an acknowledgement of this instrument accounts for."""
    return {
        event[1]
        for row in sample.history.requests
        if row.outcome == ACKNOWLEDGED and _symbol_of_events(row) == symbol
        for event in row.events
        if event[1]
    }


def _symbol_of_events(row: Request) -> str:
    for event in row.events:
        if event[0] == e.TRADE:
            return str(event[5][3])
        if event[0] < e.REJECTED:
            return str(event[2][3])
    return _symbol(row)


def _public(row: Request) -> list[int]:
    return [event[1] for event in row.events if event[1]]


def _whole(sample: Sample, symbol: str) -> bool:
    """Whether every outcome on this instrument is known, so that every gap must be explained.

    A cancel or an amend alone does not say its instrument: any unknown one counts.
    """
    return not any(
        row.outcome == UNKNOWN and _symbol(row) in ("", symbol) for row in sample.history.requests
    )


def _choose(rng: random.Random, found: list[Any]) -> Any:
    return rng.choice(found) if found else None


def _events(row: Request, at: int, *new: Any) -> None:
    row.events = (*row.events[:at], *new, *row.events[at + 1 :])


def _set(event: Any, at: int, value: Any) -> Any:
    return (*event[:at], value, *event[at + 1 :])


def _single(rows: list[Request]) -> list[Request]:
    """Requests of one new order that was accepted."""
    return [row for row in rows if len(row.commands) == 1 and row.events[0][0] == e.ACCEPTED]


# -- what an order was told -----------------------------------------------------------------------


def _first_trade(rng: random.Random, sample: Sample) -> tuple[Request, int] | None:
    """A request of one new order and the place of its first trade."""
    found = [
        (row, at)
        for row in _single(_acknowledged(sample))
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
    _events(row, at, _set(row.events[at], 4, row.events[at][4] + rng.choice((1, 2, 5))))
    trade = row.events[at]
    assert trade[4] != trade[10], "its first fill is all it has"
    return Mutant(sample, _symbol(row), f"{trade}: the first fill is not cum_qty")


def fill_price(sample: Sample, rng: random.Random) -> Mutant | None:
    """A fill at another price."""
    found = _first_trade(rng, sample)
    if found is None:
        return None
    row, at = found
    _events(row, at, _set(row.events[at], 3, row.events[at][3] + rng.choice((-1, 1))))
    trade = row.events[at]
    assert trade[3] * trade[4] != trade[12], "price times quantity is all its notional"
    return Mutant(sample, _symbol(row), f"{trade}: price x quantity is not the notional")


def fill_missing(sample: Sample, rng: random.Random) -> Mutant | None:
    """A fill that the taker is not told."""
    found = _first_trade(rng, sample)
    if found is None:
        return None
    row, at = found
    trade = row.events[at]
    _events(row, at)
    known = sum(event[4] for event in row.events if event[0] == e.TRADE)
    rest = [event for event in row.events if event[0] in (e.RESTED, e.EXPIRED, e.CANCELED)]
    own = [event for event in rest if event[2][0] == trade[9][0]]
    left = sum(event[3] if event[0] == e.RESTED else event[4] for event in own)
    prevented = sum(
        event[5] for event in row.events if event[0] == e.RESTATED and event[2][0] == trade[9][0]
    )
    assert known + left + prevented < trade[9][5], "filled, left and prevented are the order"
    return Mutant(sample, _symbol(row), f"the parts of {trade[9]} do not add up")


def leaves_quantity(sample: Sample, rng: random.Random) -> Mutant | None:
    """An order that rests with more than it had."""
    found = _choose(
        rng,
        [
            (row, at)
            for row in _single(_acknowledged(sample))
            for at, event in enumerate(row.events)
            if event[0] == e.RESTED
        ],
    )
    if found is None:
        return None
    row, at = found
    terms = row.events[at][2]
    _events(row, at, _set(row.events[at], 3, row.events[at][3] + terms[5]))
    assert row.events[at][3] > terms[5], "no more than its order_qty can rest"
    return Mutant(sample, _symbol(row), f"{row.events[at]}: more rests than was ordered")


def swapped_replies(sample: Sample, rng: random.Random) -> Mutant | None:
    """Two clients are told each other's result."""
    rows = _single(_acknowledged(sample))
    rng.shuffle(rows)
    for one in rows:
        for other in rows:
            if one.name < other.name and _symbol(one) == _symbol(other):
                one.events, other.events = other.events, one.events
                for row in (one, other):
                    assert row.events[0][2][2] != row.commands[0][7], "names are unique"
                return Mutant(sample, _symbol(one), f"{one.name} was told of another's order")
    return None


def order_id_twice(sample: Sample, rng: random.Random) -> Mutant | None:
    """An order gets the id of another one."""
    rows = [row for row in _single(_acknowledged(sample)) if len(row.events) == 1]
    pairs = [
        (one, other)
        for one in rows
        for other in rows
        if one is not other and _symbol(one) == _symbol(other)
    ]
    pair = _choose(rng, pairs)
    if pair is None:
        return None
    one, other = pair
    terms = one.events[0][2]
    _events(one, 0, _set(one.events[0], 2, (other.events[0][2][0], *terms[1:])))
    assert one.events[0][2][0] == other.events[0][2][0] and one.name != other.name
    return Mutant(sample, _symbol(one), f"two orders have id {one.events[0][2][0]}")


def cancel_refused(sample: Sample, rng: random.Random) -> Mutant | None:
    """A cancel that took effect is told TOO_LATE: nobody accounts for its public event."""
    found = [
        row
        for row in sample.history.requests
        if row.outcome == ACKNOWLEDGED
        and len(row.commands) == 1
        and [event[0] for event in row.events] == [e.CANCELED]
        and _whole(sample, _symbol_of_events(row))
        and sum(other.name == row.name for other in sample.history.requests) == 1
    ]
    row = _choose(rng, found)
    if row is None:
        return None
    symbol, seq = _symbol_of_events(row), row.events[0][1]
    row.events = ((e.CANCEL_REJECTED, 0, int(Reject.TOO_LATE), row.commands[0]),)
    told = _told(sample, symbol)
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
        for row in _acknowledged(sample)
        for at, event in enumerate(row.events)
        for seq, terms, _ in closed
        if event[0] == e.TRADE and event[1] > seq and event[5][3:5] == terms[3:5]
        if event[5][0] != terms[0]
    ]
    choice = _choose(rng, found)
    if choice is None:
        return None
    row, at, terms = choice
    trade = row.events[at]
    shown = terms if terms[1] == row.account else (terms[0], "", "", *terms[3:])
    _events(row, at, _set(trade, 5, shown))
    closed_at = next(seq for seq, other, _ in closed if other == terms)
    assert row.events[at][5][0] == terms[0] and row.events[at][1] > closed_at
    return Mutant(sample, _symbol(row), f"order {terms[0]} was closed at {closed_at}: {trade}")


# -- when it was told -----------------------------------------------------------------------------


def reordered(sample: Sample, rng: random.Random) -> Mutant | None:
    """A later effect is acknowledged before the earlier one was even asked for."""
    rows = [row for row in _acknowledged(sample) if _public(row)]
    found = [
        (early, late)
        for early in rows
        for late in rows
        if _symbol(early) == _symbol(late) and max(_public(early)) < min(_public(late))
    ]
    pair = _choose(rng, found)
    if pair is None:
        return None
    early, late = pair
    late.completed_ns = early.invoked_ns - 1
    late.invoked_ns = min(late.invoked_ns, late.completed_ns - 1)
    assert max(_public(early)) < min(_public(late)) and late.completed_ns < early.invoked_ns
    return Mutant(sample, _symbol(early), f"{late.name} ended before {early.name} began")


def traded_before_sent(sample: Sample, rng: random.Random) -> Mutant | None:
    """A taker meets an order that nobody had sent yet."""
    made = {
        event[2][0]: row
        for row in _acknowledged(sample)
        for event in row.events
        if event[0] == e.ACCEPTED
    }
    found = [
        (made[event[5][0]], taker)
        for taker in _acknowledged(sample)
        for event in taker.events
        if event[0] == e.TRADE and event[5][0] in made and made[event[5][0]] is not taker
    ]
    pair = _choose(rng, found)
    if pair is None:
        return None
    maker, taker = pair
    maker.invoked_ns = taker.completed_ns + 1
    maker.completed_ns = max(maker.completed_ns, maker.invoked_ns + 1)
    assert maker.invoked_ns > taker.completed_ns
    return Mutant(sample, _symbol(maker), f"{taker.name} traded with {maker.name} before it began")


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
            and _symbol(row) == new.symbol
            and max(_public(row), default=0) > old.book[4]
            for row in _acknowledged(sample)
        )
    ]
    pair = _choose(rng, found)
    if pair is None:
        return None
    old, new = pair
    new.book, new.applied_index = old.book, old.applied_index
    return Mutant(sample, new.symbol, f"a read after {old.book[4]} shows {old.book[4]}")


def read_quantity(sample: Sample, rng: random.Random) -> Mutant | None:
    """A read whose levels are not its orders."""
    found = [read for read in sample.history.reads if read.book[0]]
    read: Read | None = _choose(rng, found)
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
        for row in _acknowledged(sample):
            for event in row.events:
                if event[0] != e.ACCEPTED or event[2][3] != read.symbol:
                    continue
                if 0 < event[1] == read.book[4]:
                    found.append((read, event[2][0]))  # the very last event put it there
    choice = _choose(rng, found)
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
        for row in _acknowledged(sample)
        if _public(row)
        and _whole(sample, _symbol(row))
        and max(_told(sample, _symbol(row))) > max(_public(row))
    ]
    row = _choose(rng, found)
    if row is None:
        return None
    seqs = _public(row)
    row.outcome, row.events, row.entry_index, row.event_offset = NOT_ACCEPTED, (), 0, 0
    told = _told(sample, _symbol(row))
    assert not told & set(seqs) and max(told) > max(seqs)
    return Mutant(sample, _symbol(row), f"public events {seqs} happened to nobody")


def never_happened(sample: Sample, rng: random.Random) -> Mutant | None:
    """A request that nobody processed is acknowledged with another one's reply."""
    row = _choose(rng, _single(_acknowledged(sample)))
    if row is None:
        return None
    fresh = 1 + max(other.request_seq for other in sample.history.requests)
    ghost = replace(copy.deepcopy(row), request_seq=fresh)
    sample.history.requests.append(ghost)
    assert ghost.events[0][2][0] == row.events[0][2][0] and ghost.name != row.name
    return Mutant(sample, _symbol(row), f"two requests made order {row.events[0][2][0]}")


def two_replies(sample: Sample, rng: random.Random) -> Mutant | None:
    """A repeated request gets another answer than the first time."""
    row = _choose(rng, [row for row in _acknowledged(sample) if _public(row)])
    if row is None:
        return None
    again = copy.deepcopy(row)
    at = next(at for at, event in enumerate(again.events) if event[1])
    _events(again, at, _set(again.events[at], 1, again.events[at][1] + 1))
    again.invoked_ns, again.completed_ns = row.completed_ns + 1, row.completed_ns + 9
    sample.history.requests.append(again)
    assert again.name == row.name and again.events != row.events
    return Mutant(sample, _symbol(row), f"{row.name} got two answers")


def _after(sample: Sample) -> list[int]:
    """Public events told after the victim of a faulty system, on its instrument."""
    victim = sample.victim
    assert victim is not None and victim.completed_ns is not None
    return sorted(
        seq
        for row in sample.history.requests
        if row is not victim and row.outcome == ACKNOWLEDGED
        and _symbol_of_events(row) == _symbol(victim)
        for seq in _public(row)
    )  # fmt: skip


def effect_lost(sample: Sample, rng: random.Random) -> Mutant | None:
    """A system that acknowledges an order and forgets it: the next one gets its feed_seq."""
    broken = make_sample(rng.randrange(10**9), Plan(fault="lost", troubles=False))
    if broken.victim is None or not set(_public(broken.victim)) & set(_after(broken)):
        return None
    both = set(_public(broken.victim)) & set(_after(broken))
    return Mutant(broken, _symbol(broken.victim), f"public events {both} happened twice")


def effect_doubled(sample: Sample, rng: random.Random) -> Mutant | None:
    """A system that lets an order act twice: a feed_seq is told to nobody."""
    broken = make_sample(rng.randrange(10**9), Plan(fault="doubled", troubles=False))
    victim = broken.victim
    if victim is None:
        return None
    told = {*_public(victim), *_after(broken)}
    missing = set(range(1, max(told))) - told
    if not missing or not _whole(broken, _symbol(victim)):
        return None
    return Mutant(broken, _symbol(victim), f"public events {missing} happened to nobody")


# -- what only a log can witness ------------------------------------------------------------------


def not_in_log(sample: Sample, rng: random.Random) -> Mutant | None:
    """The final log has lost an acknowledged request."""
    row = _choose(rng, _acknowledged(sample))
    if row is None:
        return None
    name = (row.session_id, row.request_seq)
    sample.entries = [
        Entry(one.index, one.time_ns, tuple(r for r in one.requests if tuple(r[:2]) != name))
        for one in sample.entries
    ]
    assert all(tuple(r[:2]) != name for one in sample.entries for r in one.requests)
    return Mutant(sample, _symbol(row), f"{row.name} is not in the log")


def wrong_index(sample: Sample, rng: random.Random) -> Mutant | None:
    """An acknowledgement names another place in the log."""
    row = _choose(rng, _acknowledged(sample))
    if row is None:
        return None
    if rng.random() < 0.5:
        row.entry_index += rng.choice((-1, 1))
    else:
        row.event_offset += 1
    return Mutant(sample, _symbol(row), f"{row.name} was told a place that is not its own")


def uninvited(sample: Sample, rng: random.Random) -> Mutant | None:
    """The log holds a request in a client's name that the client never sent."""
    row = _choose(rng, _acknowledged(sample))
    if row is None:
        return None
    fresh = 1 + max(other.request_seq for other in sample.history.requests)
    last = sample.entries[-1].index
    forged = (row.session_id, fresh, (c.cancel_order(order_id=1),))
    sample.entries.append(Entry(last + 1, 0, (forged,)))
    return Mutant(sample, _symbol(row), f"{forged} was never sent")


def refused_in_log(sample: Sample, rng: random.Random) -> Mutant | None:
    """A request that had no visible effect is said to be refused, and stands in the log."""
    row = _choose(rng, _acknowledged(sample))
    if row is None:
        return None
    row.outcome, row.events = NOT_ACCEPTED, ()
    return Mutant(sample, _symbol(row), f"{row.name} was refused and is in the log")


def other_content(sample: Sample, rng: random.Random) -> Mutant | None:
    """The log holds a request with other commands than were sent; their answer is the same."""
    rows = [row for row in _single(_acknowledged(sample)) if row.events[0][1]]
    row = _choose(rng, rows)
    if row is None:
        return None
    command = row.commands[0]
    row.commands = (_set(command, 9, 1 if command[9] == 0 else 0),)
    assert row.events[0][2][4][4] != row.commands[0][9], "the order's self-trade mode is told"
    return Mutant(sample, _symbol(row), f"{row.name} was accepted as something else")


BOTH: Final[tuple[Mutation, ...]] = (
    fill_quantity,
    fill_price,
    fill_missing,
    leaves_quantity,
    swapped_replies,
    order_id_twice,
    cancel_refused,
    resurrected,
    reordered,
    traded_before_sent,
    stale_read,
    read_quantity,
    read_order_missing,
    refused_acted,
    never_happened,
    two_replies,
    effect_lost,
    effect_doubled,
    other_content,
)
WITNESS_ONLY: Final[tuple[Mutation, ...]] = (not_in_log, wrong_index, uninvited, refused_in_log)


def mutants(
    kinds: tuple[Mutation, ...], per_kind: int, *, first_seed: int = 0
) -> list[tuple[str, Mutant]]:
    """So many of each kind, each from a sample of its own."""
    made: list[tuple[str, Mutant]] = []
    for kind in kinds:
        count, seed = 0, first_seed
        while count < per_kind:
            seed += 1
            assert seed < first_seed + 40 * per_kind, f"{kind.__name__} finds no occasion"
            rng = random.Random(f"{kind.__name__}-{seed}")
            # A gap explains itself where every outcome is known.
            sample = make_sample(seed, Plan(symbols=2, requests_per_symbol=24,
                                            troubles=bool(seed % 2)))  # fmt: skip
            mutant = kind(sample, rng)
            if mutant is not None:
                made.append((kind.__name__, mutant))
                count += 1
    return made

"""A call and the auction that ends it, on a book.

Owns the changes of trading phase and the uncrossing: who trades with whom at the one price that
`auction.py` finds. Judges nothing: whether a phase may be entered is the caller's to know.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Final

from raftbook.core.auction import Block, Clearing, Uncrossing, abridged, clearing
from raftbook.core.book import Book
from raftbook.core.events import PHASE_CHANGED, UNCROSSED, Event
from raftbook.core.ladder import Ladder, Order
from raftbook.core.room import Room
from raftbook.core.types import OrderType, Phase, Reject, Side

_BUY: Final = int(Side.BUY)
_SELL: Final = int(Side.SELL)
_TO_LIMIT: Final = int(OrderType.MARKET_TO_LIMIT)
_TIME_IS_UP: Final = int(Reject.TIME_IS_UP)
CALLS: Final = frozenset((int(Phase.PRE_OPEN), int(Phase.AUCTION)))
_CONTINUOUS: Final = int(Phase.CONTINUOUS)
_CLOSED: Final = int(Phase.CLOSED)
_BLOCK_MIN: Final = 16
_BLOCK_MAX: Final = 512
"""Levels of a block: the first ones are small for the sake of a deep book of which little trades,
the last ones not too large to be gone through level by level."""


def set_phase(book: Book, phase: int, events: list[Event]) -> None:
    """Enter a phase. What a call has gathered trades when it ends in trading or for good."""
    was_call = book.is_call
    book.phase = phase
    book.is_call = phase in CALLS
    book.judge()
    if book.call_until_ns:
        book.call_until_ns = 0
        book.agenda.calls.pop(book.symbol, None)
    book.feed_seq += 1
    events.append((PHASE_CHANGED, book.feed_seq, book.symbol, phase))
    if book.is_call:
        book.owes_auction = True
    elif (phase == _CONTINUOUS and book.owes_auction) or (phase == _CLOSED and was_call):
        book.owes_auction = False
        book.uncrossing = Uncrossing(indicative(book))
        book.judge()
        book.agenda.uncrossing[book.symbol] = None
        go_on_uncrossing(book, events)


def begin_call(book: Book, until_ns: int, then: int, events: list[Event]) -> None:
    """Enter AUCTION; logical time ends it."""
    set_phase(book, int(Phase.AUCTION), events)
    book.call_until_ns = until_ns
    book.call_then = then
    book.agenda.calls[book.symbol] = until_ns
    book.agenda.wake_at(until_ns)


def indicative(book: Book) -> Clearing | None:
    """What the auction would do now. O(levels that trade, their icebergs, orders at market)."""
    bids, asks = book.bids, book.asks
    ends = [*bids.ends(), *asks.ends()]
    market = [0, 0]
    for order in book.at_auction.values():
        if order.terms[6] is None:
            market[order.terms[4][0] == _SELL] += order.leaves_qty
    buys, sells = market
    return clearing(
        *abridged(_blocks(bids), _blocks(asks), market_buys=buys, market_sells=sells),
        market_buys=buys,
        market_sells=sells,
        span=(min(ends), max(ends)) if ends else None,
        reference=book.reference_price(),
    )


def go_on_uncrossing(book: Book, events: list[Event]) -> None:
    """Trade what trades at the one price, then end what was for the auction alone; so much of it as
    there is room for, the rest with the next entry."""
    auction, room = book.uncrossing, book.agenda.room
    assert auction is not None, f"{book.symbol} has no auction to go on with"
    if auction.left:
        _allocate(book, auction, room, events)
    if not auction.left and not auction.is_told:
        price, volume, imbalance = (None, 0, 0) if auction.found is None else auction.found
        book.feed_seq += 1
        events.append((UNCROSSED, book.feed_seq, book.symbol, price, volume, imbalance))
        auction.is_told = True
        auction.ending = left_at_auction(book)
    while auction.ending and room.auctions:
        room.auctions -= 1
        _end_gathering(book, auction, auction.ending.pop(), events)
    if auction.left or auction.ending:
        book.agenda.wake_at(0)
    else:
        book.at_auction.clear()
        book.uncrossing = None
        del book.agenda.uncrossing[book.symbol]
    book.judge()


def _end_gathering(book: Book, auction: Uncrossing, order: Order, events: list[Event]) -> None:
    if order.terms[4][1] != _TO_LIMIT:
        book.expire(order, _TIME_IS_UP, events)
    else:
        found = auction.found
        book.end_gathering(order, None if found is None else found.price, events)


def _blocks(ladder: Ladder) -> Iterator[Block]:
    """What a side wishes in an auction, each block twice as long as the one before."""
    keys, levels, size = ladder.keys(), ladder.levels, _BLOCK_MIN
    while block := list(islice(keys, size)):
        lots = [
            sum(order.leaves_qty for order in level)
            if level.icebergs or level.hidden
            else level.qty
            for level in map(levels.__getitem__, block)
        ]
        yield block, lots
        size = min(2 * size, _BLOCK_MAX)


def _at_market(book: Book) -> tuple[list[Order], list[Order]]:
    """Market orders that gather, of each side: the next one last."""
    buys: list[Order] = []
    sells: list[Order] = []
    for order in reversed(book.at_auction.values()):
        if order.terms[6] is None:
            (buys if order.terms[4][0] == _BUY else sells).append(order)
    return buys, sells


def _queue(book: Book, market: list[Order], side: int, price: int) -> Iterator[Order]:
    """The orders of one side that trade at a price: market, then by price, then by time."""
    while market:
        if market[-1].leaves_qty:
            yield market[-1]
        else:
            market.pop()
    ladder, bound = (book.bids, price) if side == _BUY else (book.asks, -price)
    while ladder.best is not None and ladder.best.key >= bound:
        eldest = ladder.best.eldest
        assert eldest is not None, f"level {ladder.best.price} stands empty"
        yield eldest


def _allocate(book: Book, auction: Uncrossing, room: Room, events: list[Event]) -> None:
    """Trade as often as there is room for."""
    found = auction.found
    assert found is not None, f"{auction.left} lots are left of no auction"
    if auction.at_market is None:
        auction.at_market = _at_market(book)
    buys = _queue(book, auction.at_market[0], _BUY, found.price)
    sells = _queue(book, auction.at_market[1], _SELL, found.price)
    buy, sell = next(buys), next(sells)
    while room.auctions:
        qty = min(auction.left, buy.leaves_qty, sell.leaves_qty)
        assert qty > 0, f"{auction.left} of {found} are left and nobody trades"
        book.trade_at_auction(buy, sell, price=found.price, qty=qty, events=events)
        room.auctions -= 1
        auction.left -= qty
        if not auction.left:
            break
        if not buy.leaves_qty:
            buy = next(buys)
        if not sell.leaves_qty:
            sell = next(sells)


def left_at_auction(book: Book) -> list[Order]:
    """What was for the auction alone, the last one first: buys, then sells; without limit price
    first, then by id."""
    left = [order for order in book.at_auction.values() if order.leaves_qty]
    return sorted(left, key=_ending_order, reverse=True)


def _ending_order(order: Order) -> tuple[int, bool, int]:
    terms = order.terms
    return terms[4][0], terms[6] is not None, terms[0]

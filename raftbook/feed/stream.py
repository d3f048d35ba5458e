"""The public order-by-order feed (L3), derived from events, equal on every node.

Owns what the market sees of an event, without names of accounts, and a bounded history per
instrument so that a subscriber may go on from where it was, on any node. A message is

    (feed_seq, entry_index, time_ns, kind, ...)

    add      order_id, side, price, qty          joined the back of its level
    trade    maker_order_id, price, qty, trade_id, taker_side, maker_leaves_qty
    reduce   order_id, side, price, leaves_qty   keeps its place with less
    delete   order_id, side, price, qty          left the book
    phase    phase
    created

feed_seq is dense per instrument. Prices are ticks, quantities lots, time is logical.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

from raftbook.core.events import (
    ACCEPTED,
    CANCELED,
    EXPIRED,
    INSTRUMENT_CREATED,
    PHASE_CHANGED,
    REPLACED,
    RESTATED,
    RESTED,
    TRADE,
    Event,
    Reply,
)

FeedMessage = tuple[Any, ...]


def public_view(event: Event) -> tuple[str, tuple[Any, ...]]:
    """(symbol, (kind, ...)) of an event with feed_seq > 0."""
    kind = event[0]
    if kind == PHASE_CHANGED:
        return event[2], ("phase", event[3])
    if kind == INSTRUMENT_CREATED:
        return event[2][0], ("created",)
    if kind == TRADE:
        _, _, trade_id, price, qty, maker, _, maker_leaves, _, taker, _, _, _ = event
        return maker[3], ("trade", maker[0], price, qty, trade_id, taker[4][0], maker_leaves)
    terms = event[2]
    order_id, _, _, symbol, (side, *_), _, price = terms
    if kind == ACCEPTED:
        return symbol, ("add", order_id, side, price, terms[5])
    if kind == RESTED:
        return symbol, ("add", order_id, side, price, event[3])
    if kind in (CANCELED, EXPIRED):
        return symbol, ("delete", order_id, side, price, event[4])
    if kind == RESTATED:
        return symbol, ("reduce", order_id, side, price, event[4])
    assert kind == REPLACED, f"event kind {kind} is not public"
    _, _, _, old, _, leaves, old_leaves, kept = event
    if kept:
        return symbol, ("reduce", order_id, side, price, leaves)
    return symbol, ("delete", order_id, side, old[6], old_leaves)


class FeedHistory:
    """The last messages of each instrument, at most `kept` of each."""

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._by_symbol: dict[str, deque[FeedMessage]] = {}

    def add(self, index: int, time_ns: int, replies: Iterable[Reply]) -> list[str]:
        """Take one applied entry; the symbols that have new messages, in order of appearance."""
        touched: dict[str, None] = {}
        for reply in replies:
            if reply[5]:
                continue
            for event in reply[4]:
                if not event[1]:
                    continue
                symbol, view = public_view(event)
                history = self._by_symbol.get(symbol)
                if history is None:
                    history = self._by_symbol[symbol] = deque(maxlen=self._kept)
                history.append((event[1], index, time_ns, *view))
                touched[symbol] = None
        return list(touched)

    def since(self, symbol: str, feed_seq: int) -> list[FeedMessage] | None:
        """Messages with a feed_seq above the given one; None if some are no longer kept."""
        history = self._by_symbol.get(symbol)
        if not history:
            return None
        first = history[0][0]
        if feed_seq + 1 < first:
            return None
        newest = history[-1][0]
        count = max(0, newest - feed_seq)
        return [history[position] for position in range(len(history) - count, len(history))]

    def forget(self) -> None:
        """The state was replaced by a snapshot: what came before it is not known here."""
        self._by_symbol.clear()

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
from typing import Any, Final

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

_WITHOUT_ORDER: Final = frozenset((PHASE_CHANGED, INSTRUMENT_CREATED))


def public_view(event: Event) -> tuple[Any, ...]:
    """(kind, ...) of an event with feed_seq > 0."""
    kind = event[0]
    if kind == PHASE_CHANGED:
        return ("phase", event[3])
    if kind == INSTRUMENT_CREATED:
        return ("created",)
    if kind == TRADE:
        _, _, trade_id, price, qty, maker, _, maker_leaves, _, taker, *_ = event
        return ("trade", maker[0], price, qty, trade_id, taker[4][0], maker_leaves)
    terms = event[2]
    order_id, _, _, _, (side, *_), _, price = terms
    if kind == ACCEPTED:
        return ("add", order_id, side, price, terms[5])
    if kind == RESTED:
        return ("add", order_id, side, price, event[3])
    if kind in (CANCELED, EXPIRED):
        return ("delete", order_id, side, price, event[4])
    if kind == RESTATED:
        return ("reduce", order_id, side, price, event[4])
    assert kind == REPLACED, f"event kind {kind} is not public"
    _, _, _, old, _, leaves, old_leaves, kept, *_ = event
    if kept:
        return ("reduce", order_id, side, price, leaves)
    return ("delete", order_id, side, old[6], old_leaves)


class FeedHistory:
    """The last messages of each instrument, at most `kept` of each.

    Messages are made when somebody reads: on most nodes, most of the time, nobody does.
    """

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._by_symbol: dict[str, _SymbolHistory] = {}

    def add(self, index: int, time_ns: int, replies: Iterable[Reply]) -> None:
        """Take the replies of one applied entry."""
        by_symbol = self._by_symbol
        when = (index, time_ns)
        for _, _, _, _, events, poss_dup in replies:
            if poss_dup:
                continue
            for event in events:
                if not event[1]:
                    continue
                kind = event[0]
                if kind == TRADE:
                    symbol = event[5][3]
                else:
                    symbol = _symbol(event) if kind in _WITHOUT_ORDER else event[2][3]
                history = by_symbol.get(symbol)
                if history is None:
                    history = by_symbol[symbol] = _SymbolHistory(self._kept)
                history.unread.append((event, when))

    def since(self, symbol: str, feed_seq: int) -> list[FeedMessage] | None:
        """Messages with a feed_seq above the given one; None if some are no longer kept."""
        history = self._by_symbol.get(symbol)
        if history is None:
            return None
        messages = history.read()
        if feed_seq + 1 < messages[0][0]:
            return None
        count = max(0, messages[-1][0] - feed_seq)
        return [messages[position] for position in range(len(messages) - count, len(messages))]

    def forget(self) -> None:
        """The state was replaced by a snapshot: what came before it is not known here."""
        self._by_symbol.clear()


class _SymbolHistory:
    """One instrument's messages, and the events after them that nobody has read yet."""

    __slots__ = ("_messages", "unread")

    def __init__(self, kept: int) -> None:
        self._messages: deque[FeedMessage] = deque(maxlen=kept)
        self.unread: deque[tuple[Event, tuple[int, int]]] = deque(maxlen=kept)

    def read(self) -> deque[FeedMessage]:
        """All messages. Unread events that overflowed leave no gap: they push all others out."""
        messages, unread = self._messages, self.unread
        while unread:
            event, when = unread.popleft()
            messages.append((event[1], *when, *public_view(event)))
        return messages


def _symbol(event: Event) -> str:
    """The instrument of an event that is about no order."""
    symbol: str = event[2] if event[0] == PHASE_CHANGED else event[2][0]
    return symbol

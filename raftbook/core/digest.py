"""The rolling digest: one number that two replicas share exactly when they said the same things.

Owns which parts of an event count: everything the market said, no time and no log position, so the
same requests in the same order give the same digest however they were gathered into entries.

Two byte streams are chained in blocks of fixed size: numbers (64-bit little endian) and texts.
Blocks end at fixed stream offsets, so it does not matter when events are folded in.
"""

from __future__ import annotations

from hashlib import sha256
from struct import pack
from typing import Any, Final

from raftbook.core.events import (
    ACCEPTED,
    API_KEY_SET,
    AUCTION_TRADE,
    CANCEL_REJECTED,
    CANCELED,
    ENGINE_VERSION_SET,
    EXPIRED,
    INSTRUMENT_CREATED,
    PHASE_CHANGED,
    REJECTED,
    REPLACED,
    RESTATED,
    RESTED,
    SESSION_CLOSED,
    SESSION_OPENED,
    TRADE,
    TRIGGERED,
    Event,
)

_BLOCK_BYTES: Final = 4096
PLAIN_TERMS_LEN: Final = 7
"""Terms of an order without conditions."""
_DIGEST_CHARS: Final = 32
DIGEST_PENDING_MAX: Final = 512
"""Replies that may wait at the end of an entry: one loop over many costs less than many loops."""


class _Chain:
    """A hash over a byte stream whose state is small enough to stand in a snapshot."""

    __slots__ = ("link", "tail")

    def __init__(self) -> None:
        self.link = bytes(32)
        self.tail = bytearray()

    def feed(self, text: bytes) -> None:
        tail = self.tail
        tail += text
        if len(tail) >= _BLOCK_BYTES:
            start = 0
            while len(tail) - start >= _BLOCK_BYTES:
                block = tail[start : start + _BLOCK_BYTES]
                self.link = sha256(self.link + block).digest()
                start += _BLOCK_BYTES
            del tail[:start]


class RollingDigest:
    """Digest of every event so far; repeated replies (poss_dup) say nothing new.

    Attributes:
        pending: the events of each new reply, in order, until they are folded in. The exchange
            appends here; they are folded in before anybody looks.
    """

    __slots__ = ("_numbers", "_texts", "_value", "pending")

    def __init__(self) -> None:
        self._numbers = _Chain()
        self._texts = _Chain()
        self.pending: list[list[Event]] = []
        self._value = ""  # as of now, "" when it is not known

    def value(self) -> str:
        """The digest as 32 hexadecimal digits."""
        self.fold()
        if not self._value:
            state = b"".join((self._numbers.link, self._numbers.tail, self._texts.link))
            self._value = sha256(state + self._texts.tail).hexdigest()[:_DIGEST_CHARS]
        return self._value

    def export(self) -> tuple[bytes, bytes, bytes, bytes]:
        """State for a snapshot: link and tail of the number chain, then of the text chain."""
        self.fold()
        numbers, texts = self._numbers, self._texts
        return numbers.link, bytes(numbers.tail), texts.link, bytes(texts.tail)

    def restore(self, state: tuple[bytes, bytes, bytes, bytes]) -> None:
        """Go on from an exported state."""
        self.pending.clear()
        self._value = ""
        self._numbers.link, self._texts.link = state[0], state[2]
        self._numbers.tail = bytearray(state[1])
        self._texts.tail = bytearray(state[3])

    def fold(self) -> None:
        """Hash what is pending; when this happens does not change the digest."""
        if not self.pending:
            return
        self._value = ""
        numbers: list[Any] = []
        texts: list[Any] = []
        terms: tuple[Any, ...]
        for events in self.pending:
            for event in events:
                kind: int = event[0]
                if kind == ACCEPTED:  # the most frequent kinds are spelled out
                    _, seq, terms = event
                    try:
                        order_id, account, client_id, symbol, order_kind, qty, price = terms
                    except ValueError:  # it has conditions
                        _fold_conditional(event, numbers, texts)
                        continue
                    numbers += (ACCEPTED, seq, order_id, qty, price or 0)
                    numbers += order_kind
                    texts += (account, client_id, symbol)
                elif kind in (CANCELED, EXPIRED):
                    try:
                        _, seq, terms, cum_qty, canceled_qty, was_resting, reason = event
                    except ValueError:  # an iceberg tells more
                        _fold_shown_end(event, numbers, texts)
                        continue
                    numbers += (kind, seq, terms[0], cum_qty, canceled_qty, was_resting, reason)
                elif kind == TRADE:
                    _fold_trade(event, numbers, texts)
                elif kind == REPLACED:
                    _fold_replaced(event, numbers, texts)
                elif kind == RESTED:
                    _fold_rested(event, numbers, texts)
                else:
                    _FOLDS[kind](event, numbers, texts)
        self.pending.clear()
        self._numbers.feed(pack(f"<{len(numbers)}q", *numbers))
        if texts:
            texts.append("")
            self._texts.feed("\n".join(texts).encode())


def _fold_conditional(event: Event, numbers: list[Any], texts: list[Any]) -> None:
    """An ACCEPTED of an order with conditions."""
    numbers += (ACCEPTED, event[1], event[2][0])
    texts.append(ascii(event[2][1:]))


def _fold_shown_end(event: Event, numbers: list[Any], texts: list[Any]) -> None:
    """A CANCELED or EXPIRED of an iceberg."""
    kind, seq, terms, cum_qty, canceled_qty, was_resting, reason, shown = event
    numbers += (kind, seq, terms[0], cum_qty, canceled_qty, was_resting, reason, shown)


def _fold_rested(event: Event, numbers: list[Any], texts: list[Any]) -> None:
    numbers += (RESTED, event[2][0], event[3], event[1])
    _fold_rest(event, 4, texts)


def _fold_trade(event: Event, numbers: list[Any], texts: list[Any]) -> None:
    maker: tuple[Any, ...]
    taker: tuple[Any, ...]
    kind, seq, trade_id, price, qty, maker, _, maker_leaves, _, taker, _, taker_leaves, *_ = event
    numbers += (kind, seq, trade_id, price, qty, maker[0], maker_leaves, taker[0], taker_leaves)
    _fold_rest(event, 13, texts)


def _fold_replaced(event: Event, numbers: list[Any], texts: list[Any]) -> None:
    terms: tuple[Any, ...] = event[2]
    numbers += (REPLACED, event[1], terms[0], terms[5], terms[6] or 0)
    numbers += event[4:8]
    if len(terms) > PLAIN_TERMS_LEN:
        texts.append(ascii(terms[PLAIN_TERMS_LEN:]))
    _fold_rest(event, 8, texts)


def _fold_restated(event: Event, numbers: list[Any], texts: list[Any]) -> None:
    _, seq, terms, cum_qty, leaves_qty, prevented_qty, was_resting, *_ = event
    numbers += (RESTATED, seq, terms[0], cum_qty, leaves_qty, prevented_qty, was_resting)
    _fold_rest(event, 7, texts)


def _fold_rest(event: Event, start: int, texts: list[Any]) -> None:
    """What an event says beyond its usual fields."""
    if len(event) > start:
        texts.append(ascii(event[start:]))


def _fold_refused(event: Event, numbers: list[Any], texts: list[Any]) -> None:
    numbers += (event[0], event[2])
    texts.append(ascii(event[3]))


def _fold_other(event: Event, numbers: list[Any], texts: list[Any]) -> None:
    numbers.append(event[0])
    texts.append(ascii(event[1:]))


# Lists of anything: numbers that stand in an event are passed on as they are.
_FOLDS: Final[dict[int, Any]] = {
    **dict.fromkeys(range(TRIGGERED, API_KEY_SET + 1), _fold_other),
    AUCTION_TRADE: _fold_trade,
    RESTATED: _fold_restated,
    REJECTED: _fold_refused,
    CANCEL_REJECTED: _fold_refused,
    SESSION_OPENED: _fold_other,
    SESSION_CLOSED: _fold_other,
    INSTRUMENT_CREATED: _fold_other,
    PHASE_CHANGED: _fold_other,
    ENGINE_VERSION_SET: _fold_other,
}

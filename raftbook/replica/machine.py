"""The state machine a replica runs: log payloads in, the exchange and its recent past out.

Owns the exchange of this node, the digest after each recent entry and the recent entries
themselves. Must not know how entries were agreed on.
"""

from __future__ import annotations

import gc
import logging
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from raftbook.core.commands import Entry
from raftbook.core.events import Reply
from raftbook.core.exchange import Exchange, Genesis
from raftbook.core.snapshot import export_state, restore_state, state_digest
from raftbook.core.versions import EngineTooOld
from raftbook.errors import ProtocolError
from raftbook.replica.membership import (
    MEMBERSHIP,
    Membership,
    membership_value,
    read_membership,
    read_payload,
)
from raftbook.replica.read_ahead import ReadAhead
from raftbook.wire.entry import REGULAR, UnsupportedVersion, unpack_entry
from raftbook.wire.packing import pack, unpack

_log = logging.getLogger(__name__)

EVENTS_KEPT_MAX: Final = 200_000
"""Events of recent entries kept for subscribers, however few entries they came in."""

_CHUNK_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Applied:
    """One applied entry: what readers of the market see. `replies` are values."""

    index: int
    term: int
    time_ns: int
    replies: list[Reply]


class Machine:
    """The exchange of one node.

    Attributes:
        exchange: live state: read it between turns, never keep parts of it.
        membership: the members as of the last applied entry; None before the founding.
        recent: the last applied entries, eldest first; bounded by entries and by events.
        read_ahead: what of the coming entries need not be read from their bytes.
        watchers: called with each entry right after it took effect, in the same turn, to read the
            state as of it. Nothing may be said of it before the turn's sync, and none may raise.
    """

    def __init__(self, genesis: Genesis, *, entries_kept: int) -> None:
        self._genesis = genesis
        self._entries_kept = entries_kept
        self.exchange = Exchange(genesis)
        self.membership: Membership | None = None
        self.recent: deque[Applied] = deque()
        self.read_ahead = ReadAhead()
        self.watchers: list[Callable[[Applied], None]] = []
        self._events_kept = 0
        self._digests: OrderedDict[int, str] = OrderedDict()

    def apply(self, index: int, term: int, payload: bytes) -> Applied | None:
        """Let one committed payload take effect; None for Raft's own entries.

        Raises:
            UnsupportedVersion: the entry needs a newer build.
        """
        applied = None
        if payload[:1] == REGULAR:
            entry = self.read_ahead.take(index, payload) or _read_entry(index, payload)
            replies = self.exchange.apply(entry)
            applied = Applied(index, term, self.exchange.moment.time_ns, replies)
            self._remember(applied)
            for watcher in self.watchers:
                watcher(applied)
        elif payload[:1] == MEMBERSHIP:
            self.membership = read_payload(payload, index)
        self._digests[index] = self.exchange.digest.value()
        if len(self._digests) > self._entries_kept:
            self._digests.popitem(last=False)
        return applied

    def digest_at(self, index: int) -> str | None:
        """The rolling digest after the entry at `index`, None if it is not kept."""
        return self._digests.get(index)

    def digests_kept(self) -> tuple[int, int]:
        """First and last index `digest_at` knows, (0, 0) for none."""
        if not self._digests:
            return 0, 0
        return next(iter(self._digests)), next(reversed(self._digests))

    def snapshot_chunks(self) -> Iterator[bytes]:
        """The whole state as bytes, in pieces; O(state) in time and memory."""
        members = None if self.membership is None else membership_value(self.membership)
        payload = pack((export_state(self.exchange), members))
        for start in range(0, len(payload), _CHUNK_BYTES):
            yield payload[start : start + _CHUNK_BYTES]

    def state_digest(self) -> str:
        """See `core.snapshot.state_digest`."""
        return state_digest(self.exchange)

    def restore(self, payload: bytes, *, index: int, expected_state_digest: str) -> None:
        """Become what a snapshot payload says.

        Raises:
            UnsupportedVersion: it needs a newer build.
            ProtocolError: the payload is no state, or not the one that was digested.
        """
        try:
            with _collector_paused():
                state, members = _parts(unpack(payload))
                exchange = restore_state(self._genesis, state)
                membership = None if members is None else read_membership(members, index)
                found = state_digest(exchange)
        except EngineTooOld as error:
            raise UnsupportedVersion(str(error)) from error
        except (ArithmeticError, AssertionError, AttributeError, LookupError, RecursionError,
                TypeError, ValueError) as error:  # fmt: skip
            raise ProtocolError(f"the snapshot holds no state: {error!r}") from error
        if found != expected_state_digest:
            raise ProtocolError(f"the snapshot's state digest is {found}, not the recorded one")
        self.exchange = exchange
        self.membership = membership
        self.recent.clear()
        self._events_kept = 0
        self._digests.clear()
        self._digests[index] = exchange.digest.value()

    def _remember(self, applied: Applied) -> None:
        self.recent.append(applied)
        self._events_kept += _event_count(applied.replies)
        while len(self.recent) > self._entries_kept or (
            self._events_kept > EVENTS_KEPT_MAX and len(self.recent) > 1
        ):
            self._events_kept -= _event_count(self.recent.popleft().replies)


def _parts(value: Any) -> tuple[Any, Any]:
    """State and members of a snapshot; those of before there were members hold the state alone."""
    if type(value) is tuple and len(value) == 2 and type(value[0]) is tuple:
        return value
    return value, None


def _read_entry(index: int, payload: bytes) -> Entry:
    try:
        return unpack_entry(index, payload[1:])
    except UnsupportedVersion:
        raise
    except ProtocolError as error:
        # Every replica reads the same bytes, so every replica skips it.
        _log.error("entry %d is malformed and has no effect: %s", index, error)
        return Entry(index, 0, ())


def _event_count(replies: Iterable[Reply]) -> int:
    return sum(len(reply[4]) for reply in replies)


@contextmanager
def _collector_paused() -> Iterator[None]:
    """No look for reference cycles while millions of objects are made that live long."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()

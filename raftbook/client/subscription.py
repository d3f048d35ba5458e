"""A subscription that outlives its connection, without sockets and without a clock.

Owns where a stream stands and how it goes on at another node: nothing twice, nothing left out. Each
subscription has a connection of its own, so a slow reader holds up nothing else, and ending it is
closing that connection. `conversation.py` says how it is run.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any, Final

from raftbook.client.conversation import Conversation, is_transient
from raftbook.client.refresh import PagedBook
from raftbook.client.rejects import Refused
from raftbook.client.settings import NEVER, Settings
from raftbook.errors import NoNodeReachable, NotAccepted, ProtocolError, RaftbookError
from raftbook.wire import client_messages as m

REFRESH = "refresh"

LEAVE_GRACE_S: Final = 0.25
"""A node that turns a stream away may still say who the members are: it may have been replaced."""


class Position:
    """Where a stream stands. This one is for streams that cannot be resumed at a place."""

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        self.asked = dict(arguments)

    def arguments(self) -> dict[str, Any]:
        """What to subscribe with now."""
        return self.asked

    def started(self, result: Mapping[str, Any]) -> None:
        """The node answered a SUBSCRIBE.

        Raises:
            NotAccepted: it cannot go on where the stream stands.
        """

    def take(self, value: Any) -> Any:
        """What is to be delivered now; None if the value was, or is a page of what is to come.

        Raises:
            ProtocolError: something is missing before it, or it is no value of this stream.
        """
        return value


class FeedPosition(Position):
    """`feed`: feed_seq is dense, so even a gap inside a connection is seen.

    A deleted instrument's feed ends with "deleted"; one that gets its symbol begins at 1. Which of
    the two a place is in, the entry_index tells a node that was not asked before.
    """

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        super().__init__(arguments)
        from_seq = arguments.get("from_seq")
        self._last: int | None = None if from_seq is None else from_seq - 1
        self._index: int | None = arguments.get("from_index")
        self._has_book = False  # something was delivered: an old refresh would throw it back
        self._coming: PagedBook | None = None

    def arguments(self) -> dict[str, Any]:
        from_seq = None if self._last is None else self._last + 1
        return {**self.asked, "from_seq": from_seq, "from_index": self._index}

    def started(self, result: Mapping[str, Any]) -> None:
        self._coming = None

    def take(self, value: Any) -> Any:
        if type(value) is not tuple or not value:
            raise ProtocolError(f"no feed value: {value!r:.60}")
        if value[0] == REFRESH:
            return self._take_page(value[-1])
        if len(value) < 4 or type(value[0]) is not int or type(value[1]) is not int:
            raise ProtocolError(f"no feed value: {value!r:.60}")
        if self._coming is not None:
            self._coming.take(value)
            return self._whole_book(self._coming)
        if self._last is None:
            raise ProtocolError(f"no beginning of a feed: {value!r:.60}")
        seq, index = value[:2]
        if seq <= self._last:
            return None
        if seq > self._last + 1:
            raise ProtocolError(f"feed_seq {seq} came after {self._last}")
        self._last, self._index = seq, index
        self._has_book = True
        if value[3] == "deleted":
            self._last = 0
        return value

    def _take_page(self, view: Any) -> Any:
        """A page of the book as a whole; the node may also begin it anew."""
        if self._coming is None or (isinstance(view, dict) and view.get("page") == 1):
            self._coming = PagedBook()
        self._coming.add_page(view)
        return self._whole_book(self._coming)

    def _whole_book(self, coming: PagedBook) -> Any:
        """The book, once it is one state; it replaces whatever came before and is not kept."""
        if not coming.is_whole:
            return None
        self._coming = None
        view = coming.view()
        index = view.get("applied_index")
        if self._has_book and self._last is not None and coming.seq <= self._last:
            if self._index is None or type(index) is not int or index <= self._index:
                return None
        self._has_book = True
        self._last, self._index = coming.seq, index if type(index) is int else None
        return (REFRESH, view)


class DepthPosition(Position):
    """`depth`: a delta says which feed_seq it follows. A refresh replaces everything."""

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        super().__init__(arguments)
        self._place: tuple[int, int] | None = None  # feed_seq and entry_index: all of it is in
        self._seq: int | None = None
        self._whole_at: int | None = None  # the feed_seq of the refresh's last page

    def arguments(self) -> dict[str, Any]:
        if self._place is None:
            return self.asked
        return {**self.asked, "from_seq": self._place[0] + 1, "from_index": self._place[1]}

    def started(self, result: Mapping[str, Any]) -> None:
        self._seq = None if self._place is None else self._place[0]

    def take(self, value: Any) -> Any:
        try:
            self._take(value)
        except (IndexError, KeyError, TypeError, ValueError) as error:
            raise ProtocolError(f"no depth value: {error}: {value!r:.60}") from error
        return value

    def _take(self, value: Any) -> None:
        if value[0] == REFRESH:
            page = value[1]
            if page["page"] == 1:
                self._seq, self._place, self._whole_at = page["feed_seq"], None, None
            if not page["more"]:
                self._whole_at = page["feed_seq"]
                self._stand(page["feed_seq"], page["entry_index"])
        elif value[0] != "deleted":
            seq, previous, index, _, _, checksum, *_ = value
            if previous != self._seq:
                raise ValueError(f"it follows {previous}, not {self._seq}")
            if checksum is not None:
                self._seq = seq
                self._stand(seq, index)

    def _stand(self, seq: int, index: int) -> None:
        """Everything up to here is in, if all of the refresh is."""
        if seq == self._seq and self._whole_at is not None and seq >= self._whole_at:
            self._place = (seq, index)


class TopPosition(Position):
    """`top`: each value is the whole picture, so only what is older must be kept out."""

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        super().__init__(arguments)
        self._last: tuple[int, int] | None = None  # entry_index and feed_seq

    def arguments(self) -> dict[str, Any]:
        if self._last is None:
            return self.asked
        return {**self.asked, "from_seq": self._last[1] + 1, "from_index": self._last[0]}

    def take(self, value: Any) -> Any:
        at = 1 if type(value) is tuple and value and value[0] == "deleted" else 0
        is_place = type(value) is tuple and len(value) > at + 1
        if not is_place or type(value[at]) is not int or type(value[at + 1]) is not int:
            raise ProtocolError(f"no top value: {value!r:.60}")
        place = (value[at + 1], value[at])
        if self._last is not None and place <= self._last:
            return None
        self._last = place
        return value


class EntriesPosition(Position):
    """`entries`: the pages of one entry index after another; gaps are Raft's own entries."""

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        super().__init__(arguments)
        from_index = arguments.get("from_index")
        # Index and page of the last value; every node cuts an entry in the same places.
        self._last: tuple[int, int] | None = None if from_index is None else (from_index, 0)
        self._is_whole = False  # that was the entry's last page

    def arguments(self) -> dict[str, Any]:
        if self._last is None:
            return {**self.asked, "from_index": None}
        return {**self.asked, "from_index": self._last[0] + self._is_whole}

    def started(self, result: Mapping[str, Any]) -> None:
        applied = result.get("applied_index")
        if self._last is None and type(applied) is int:
            self._last, self._is_whole = (applied, 0), True

    def take(self, value: Any) -> Any:
        is_entry = type(value) is tuple and len(value) == 6
        if not is_entry or type(value[0]) is not int or type(value[4]) is not int:
            raise ProtocolError(f"no entry: {value!r:.60}")
        index, _, _, _, page, pages = value
        if self._last is not None:
            last_index, last_page = self._last
            if index < last_index or (index == last_index and page <= last_page):
                return None
            if index == last_index and self._is_whole:
                return None
        before = self._last[1] if self._last is not None and index == self._last[0] else 0
        if page != before + 1:
            raise ProtocolError(f"page {page} of entry {index} came after {before}")
        self._last, self._is_whole = (index, page), page == pages
        return value


class ReportsPosition(Position):
    """`reports`: an entry may bring several, so a stream goes on inside the last one's entry."""

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        super().__init__(arguments)
        from_index = arguments.get("from_index")
        self._last: tuple[int, int] | None = None if from_index is None else (from_index, -1)

    def arguments(self) -> dict[str, Any]:
        return self.asked if self._last is None else {**self.asked, "from_index": self._last[0]}

    def started(self, result: Mapping[str, Any]) -> None:
        applied = result.get("applied_index")
        if self._last is None:
            if type(applied) is int:
                self._last = (applied + 1, -1)
        elif result.get("from_index") != self._last[0]:
            raise NotAccepted(
                f"reports broke off at entry {self._last[0]} and cannot be resumed there; "
                "subscribe again and compare with orders()"
            )

    def take(self, value: Any) -> Any:
        is_report = type(value) is tuple and len(value) > 3
        if not is_report or type(value[0]) is not int or type(value[3]) is not int:
            raise ProtocolError(f"no report: {value!r:.60}")
        place = (value[0], value[3])
        if self._last is not None and place <= self._last:
            return None
        self._last = place
        return value


POSITIONS: dict[str, type[Position]] = {
    "feed": FeedPosition,
    "depth": DepthPosition,
    "top": TopPosition,
    "entries": EntriesPosition,
    "reports": ReportsPosition,
}


class SubscriptionFlow(Conversation):
    """One stream of values.

    Attributes:
        values: what has arrived and was not delivered yet; the reader empties it.
        error: why the stream has ended; None while it goes on.
    """

    def __init__(
        self, settings: Settings, name: str, arguments: Mapping[str, Any], now: float
    ) -> None:
        super().__init__(settings)
        self.values: deque[Any] = deque()
        self.error: RaftbookError | None = None
        self._name = name
        self._position = POSITIONS.get(name, Position)(arguments)
        self._ref = 0
        self._subscription: int | None = None
        self._subscribe_until = NEVER
        self._was_subscribed = False  # ever
        self._leave_why = ""  # turned away; it has until _subscribe_until to name the members
        self._began = now
        self._until = now + settings.timeout_s  # to be subscribed, or to give up
        self._wake_by(self._until)

    @property
    def is_subscribed(self) -> bool:
        """Whether values are coming from a node now."""
        return self._subscription is not None

    @property
    def give_up_at(self) -> float:
        return self._until

    def pause(self) -> None:
        """Nobody reads values for now: the socket is not read either."""
        self._is_paused = True

    def resume(self, now: float) -> None:
        """Values are wanted again."""
        self._is_paused = False
        self._heard_at = now
        self._pinged_at = None
        self._wake_by(now)
        if not self.is_subscribed and self.error is None:
            self._until = now + self.settings.timeout_s

    def _has_reason_to_talk(self) -> bool:
        return self.error is None

    def _on_ready(self, now: float) -> None:
        self._ref = self.next_ref()
        self._subscribe_until = now + self.settings.attempt_timeout_s
        self._wake_by(self._subscribe_until)
        self.send((m.SUBSCRIBE, self._ref, self._name, self._position.arguments()))

    def _on_message(self, message: tuple[Any, ...], now: float) -> None:
        kind, ref = message[0], message[1]
        if kind == m.PUSH:
            value = self._position.take(message[2]) if ref == self._subscription else None
            if value is not None:
                self.values.append(value)
        elif kind == m.RESULT and ref == self._ref:
            self._on_subscribed(message[2], now)
        elif kind == m.FAILURE and ref == self._ref:
            if is_transient(message[2]):
                self._leave(f"could not subscribe: {message[3]}", now)
            else:
                doing = f"subscribe {self._name}"
                self._end(Refused(message[2], message[3], doing=doing), now)
        else:
            raise ProtocolError(f"message kind {kind} was not asked for")

    def _on_subscribed(self, result: Any, now: float) -> None:
        if not isinstance(result, dict) or type(result.get("subscription")) is not int:
            raise ProtocolError(f"SUBSCRIBE was answered by {result!r:.60}")
        try:
            self._position.started(result)
        except NotAccepted as error:
            self._end(error, now)
            return
        self._subscription = result["subscription"]
        self._was_subscribed = True
        self._subscribe_until = self._until = NEVER
        self.ring.succeeded()

    def _leave(self, why: str, now: float) -> None:
        """Turn to another node, once this one has said who there is."""
        self._leave_why = why
        self._subscribe_until = min(self._subscribe_until, now + LEAVE_GRACE_S)
        self._wake_by(self._subscribe_until)

    def _after_received(self, now: float) -> None:
        if self._leave_why and not self._awaits_members:
            self.drop(self._leave_why, now)

    def _on_dropped(self, why: str, now: float) -> None:
        self._subscription = None
        self._leave_why = ""
        self._subscribe_until = NEVER
        if self._until == NEVER:
            self._began = now
            self._until = now + self.settings.timeout_s
            self._wake_by(self._until)

    def _on_all_refused(self, now: float) -> None:
        # A stream that has begun waits for its node: it may be starting again.
        if self.error is None and not self._was_subscribed:
            self._give_up(now)

    def _give_up(self, now: float) -> None:
        was_heard = self.is_ready or self.answered_at >= self._began
        kind = NotAccepted if was_heard else NoNodeReachable
        self._end(kind(f"subscribe {self._name}: {self.troubles()}"), now)

    def _on_login_refused(self, error: Refused, now: float) -> None:
        self._end(error, now)

    def _on_wake(self, now: float) -> None:
        if self.error is None and now >= self._until and not self._is_paused:
            self._give_up(now)
        elif self.is_connected and now >= self._subscribe_until:
            self.drop(self._leave_why or "did not answer a subscription in time", now)
        if not self._is_paused:
            self._wake_by(min(self._until, self._subscribe_until))

    def _end(self, error: RaftbookError, now: float) -> None:
        self.error = error
        self._until = self._subscribe_until = NEVER
        if self.is_connected:
            self.hang_up(str(error), now)
            self._until = NEVER

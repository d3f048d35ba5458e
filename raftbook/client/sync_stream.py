"""A subscription as a blocking iterator.

Owns nothing but the waiting. While nobody waits the socket is not read, so what a slow reader has
not taken stays with the node, within the node's bounds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from raftbook.client.depth import BookMismatch, DepthBook
from raftbook.client.settings import NEVER, Settings
from raftbook.client.subscription import SubscriptionFlow
from raftbook.client.sync_socket import Runner, now


class Subscription:
    """An iterator of a stream's values; see `Client.subscribe`."""

    def __init__(
        self,
        settings: Settings,
        name: str,
        arguments: dict[str, Any],
        on_progress: Callable[[str], None] | None,
    ) -> None:
        self._flow = SubscriptionFlow(settings, name, arguments, now())
        self._runner = Runner(self._flow, on_progress)
        self._is_closed = False

    def __enter__(self) -> Subscription:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __iter__(self) -> Subscription:
        return self

    def __next__(self) -> Any:
        if not self._await(NEVER):
            raise StopIteration
        return self._flow.values.popleft()

    def next(self, timeout_s: float) -> Any:
        """The next value, or None if none comes within `timeout_s` or the stream was closed."""
        return self._flow.values.popleft() if self._await(now() + timeout_s) else None

    def close(self) -> None:
        """End the stream and its connection."""
        self._is_closed = True
        self._runner.close()

    def _await(self, until: float) -> bool:
        """Whether a value is there by then."""
        flow = self._flow
        if not flow.values and not self._is_closed:
            self._runner.poll()
            self._runner.run(lambda: bool(flow.values) or flow.error is not None, until=until)
        if flow.values:
            return True
        if flow.error is not None and not self._is_closed:
            self.close()
            raise flow.error
        return False


class DepthSubscription:
    """An iterator of one book, after each change of it; see `Client.depth`."""

    def __init__(self, symbol: str, subscribe: Callable[[], Subscription]) -> None:
        self._subscribe = subscribe
        self._stream = subscribe()
        self._book = DepthBook(symbol)

    def __enter__(self) -> DepthSubscription:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __iter__(self) -> DepthSubscription:
        return self

    def __next__(self) -> DepthBook:
        while not self._take(next(self._stream)):
            continue
        return self._book

    def next(self, timeout_s: float) -> DepthBook | None:
        """The book after its next change, or None if none comes within `timeout_s`."""
        until = now() + timeout_s
        while (value := self._stream.next(until - now())) is not None:
            if self._take(value):
                return self._book
        return None

    def close(self) -> None:
        """End the stream and its connection."""
        self._stream.close()

    def _take(self, value: Any) -> bool:
        try:
            return self._book.take(value)
        except BookMismatch:
            self._stream.close()
            self._stream = self._subscribe()
            return False

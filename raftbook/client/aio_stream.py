"""A subscription as an async iterator.

Owns the patience with a slow reader: what waits for it is bounded, then the socket is not read any
more, and the node decides. Must not know what the values mean.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from raftbook.client.aio_socket import Runner
from raftbook.client.depth import BookMismatch, DepthBook
from raftbook.client.settings import Settings
from raftbook.client.subscription import SubscriptionFlow

VALUES_MAX: Final = 4096
"""Values a subscription holds for a slow reader before it stops reading from the node."""


class AsyncSubscription:
    """An async iterator of a stream's values; see `AsyncClient.subscribe`."""

    def __init__(
        self,
        settings: Settings,
        name: str,
        arguments: dict[str, Any],
        on_progress: Callable[[str], None] | None,
    ) -> None:
        self._settings = settings
        self._name = name
        self._arguments = arguments
        self._on_progress = on_progress
        self._flow: SubscriptionFlow | None = None
        self._runner: Runner | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._is_closed = False

    async def __aenter__(self) -> AsyncSubscription:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    def __aiter__(self) -> AsyncSubscription:
        return self

    async def __anext__(self) -> Any:
        if self._flow is None or self._runner is None:
            self._flow = SubscriptionFlow(
                self._settings, self._name, self._arguments, asyncio.get_running_loop().time()
            )
            self._runner = Runner(self._flow, self._arrived, self._on_progress)
        while not self._is_closed:
            if self._flow.values:
                value = self._flow.values.popleft()
                if self._runner.is_paused and len(self._flow.values) <= VALUES_MAX // 2:
                    self._flow.resume(asyncio.get_running_loop().time())
                    self._runner.resume()
                return value
            if self._flow.error is not None:
                await self.aclose()
                raise self._flow.error
            self._waiter = asyncio.get_running_loop().create_future()
            self._runner.kick()
            await self._waiter
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """End the stream and its connection."""
        self._is_closed = True
        if self._runner is not None:
            self._runner.close()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _arrived(self) -> None:
        assert self._flow is not None and self._runner is not None, "values before a connection"
        if self._waiter is not None and not self._waiter.done():
            if self._flow.values or self._flow.error is not None:
                self._waiter.set_result(None)
        if len(self._flow.values) >= VALUES_MAX and not self._runner.is_paused:
            self._flow.pause()
            self._runner.pause()


class AsyncDepthSubscription:
    """An async iterator of one book, after each change of it; see `AsyncClient.depth`."""

    def __init__(self, symbol: str, subscribe: Callable[[], AsyncSubscription]) -> None:
        self._subscribe = subscribe
        self._stream = subscribe()
        self._book = DepthBook(symbol)

    async def __aenter__(self) -> AsyncDepthSubscription:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    def __aiter__(self) -> AsyncDepthSubscription:
        return self

    async def __anext__(self) -> DepthBook:
        while True:
            value = await anext(self._stream)
            try:
                if self._book.take(value):
                    return self._book
            except BookMismatch:
                await self._stream.aclose()
                self._stream = self._subscribe()

    async def aclose(self) -> None:
        """End the stream and its connection."""
        await self._stream.aclose()

"""Virtual time: one heap of what is due, and for each host an event loop that runs on it.

Owns when anything runs. Production code that asks asyncio for its loop gets a `HostLoop`: time is
the host's own clock, which may run fast or slow; a paused host's callbacks wait, a dead host's
never run. Order is by time, then by who asked first; nothing depends on hashes or addresses.
"""

from __future__ import annotations

import asyncio
import heapq
import inspect
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

STEPS_AT_ONCE_MAX = 50_000
RESOLUTION_S = 1e-9
"""A timer comes this much late, so that its host's clock shows its time, however it was rounded."""


class Killed(BaseException):
    """The process that runs now ends here; no handler of production code catches it."""


class Spinning(BaseException):
    """Somebody asks to run at once, again and again, while time stands still."""


class Handle:
    """Something due; what asyncio calls a TimerHandle."""

    __slots__ = ("arguments", "callback", "host", "is_cancelled")

    def __init__(self, host: HostLoop | None, callback: Callable[..., Any], arguments: Any) -> None:
        self.host, self.callback, self.arguments = host, callback, arguments
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True
        self.callback = _nothing

    def cancelled(self) -> bool:
        return self.is_cancelled


def _is_unstarted(coro: Coroutine[Any, Any, Any]) -> bool:
    return inspect.getcoroutinestate(coro) == inspect.CORO_CREATED


def _nothing(*_: object) -> None:
    pass


class Clockwork:
    """The one thread of a simulation.

    Attributes:
        now: virtual seconds.
        steps: callbacks run so far.
    """

    def __init__(self) -> None:
        self.now = 1_000.0  # PySyncObj takes a deadline of 0 for the past
        self.steps = 0
        self._heap: list[tuple[float, int, Handle]] = []
        self._ready: deque[Handle] = deque()
        self._order = 0
        self.running: HostLoop | None = None  # whom asyncio takes for the running loop

    def at(self, when: float, callback: Callable[..., Any], *arguments: Any) -> Handle:
        """Run something of the world itself, not of a host."""
        return self.push(when, Handle(None, callback, arguments))

    def after(self, delay: float, callback: Callable[..., Any], *arguments: Any) -> Handle:
        return self.at(self.now + delay, callback, *arguments)

    def push(self, when: float, handle: Handle) -> Handle:
        if when <= self.now:
            self._ready.append(handle)
        else:
            self._order += 1
            heapq.heappush(self._heap, (when, self._order, handle))
        return handle

    def run_until(self, end: float) -> None:
        """Let time pass."""
        try:
            self._run_until(end)
        finally:
            self.running = None
            asyncio._set_running_loop(None)

    def _run_until(self, end: float) -> None:
        ready, heap = self._ready, self._heap
        steps_max = self.steps + STEPS_AT_ONCE_MAX
        while True:
            if ready:
                handle = ready.popleft()
            elif heap and heap[0][0] <= end:
                when, _, handle = heapq.heappop(heap)
                if when > self.now:
                    self.now = when
                    steps_max = self.steps + STEPS_AT_ONCE_MAX
            else:
                self.now = max(self.now, end)
                return
            if handle.is_cancelled:
                continue
            self.steps += 1
            if self.steps > steps_max:
                raise Spinning(
                    f"{STEPS_AT_ONCE_MAX} callbacks at {self.now:.6f}: {handle.callback}"
                )
            host = handle.host
            if host is None:
                handle.callback(*handle.arguments)
            else:
                host.run(handle)


@contextmanager
def running(loop: HostLoop) -> Iterator[None]:
    """Let asyncio take this loop for the running one, outside of its callbacks."""
    before = loop.clockwork.running
    loop.clockwork.running = loop
    asyncio._set_running_loop(loop)
    try:
        yield
    finally:
        loop.clockwork.running = before
        asyncio._set_running_loop(before)


class HostLoop(asyncio.AbstractEventLoop):
    """The loop of one process on one host.

    Attributes:
        rate: seconds of the host's monotonic clock per virtual second.
        is_dying: a kill point was reached; the process ends with this callback.
        is_alive: whether the process lives; False for ever once it was killed.
        frozen_until: callbacks wait until then: the process is stopped, or waits for its disk.

    Args:
        on_killed: the process met its end at one of its kill points.
        create_connection, create_server: the network's, as asyncio's but without waiting.
    """

    def __init__(
        self,
        clockwork: Clockwork,
        *,
        rate: float,
        boot: float,
        name: str,
        on_killed: Callable[[], None],
        network: Any,
        point: Callable[[str], None] = _nothing,
    ) -> None:
        self.clockwork = clockwork
        self.rate, self.name = rate, name
        self.is_alive = True
        self.is_dying = False
        self.frozen_until = 0.0
        self._anchor = (clockwork.now, boot)
        self._on_killed = on_killed
        self.point = point
        self._network = network
        self._parked: list[Handle] = []
        self._begun: list[Coroutine[Any, Any, Any]] = []
        self.failures: list[str] = []

    # -- time -------------------------------------------------------------------------------------

    def time(self) -> float:
        real, own = self._anchor
        return own + (self.clockwork.now - real) * self.rate

    def set_rate(self, rate: float) -> None:
        """Let the clock run faster or slower from now on; timers set before keep their moment."""
        self._anchor = (self.clockwork.now, self.time())
        self.rate = rate

    def run(self, handle: Handle) -> None:
        """Run a callback that is due, unless the process is dead or stopped."""
        if not self.is_alive:
            return
        clockwork = self.clockwork
        if clockwork.now < self.frozen_until:
            self._parked.append(handle)
            if len(self._parked) == 1:
                clockwork.at(self.frozen_until, self._thaw)
            return
        if clockwork.running is not self:
            clockwork.running = self
            asyncio._set_running_loop(self)
        try:
            handle.callback(*handle.arguments)
        except Killed:
            pass
        except Exception as error:
            self.failures.append(f"{type(error).__name__}: {error}")
        if self.is_dying:  # asked for here, since a task keeps what was raised in it
            self.is_dying = False
            self._on_killed()

    def _thaw(self) -> None:
        if not self.is_alive:
            return
        if self.clockwork.now < self.frozen_until:
            self.clockwork.at(self.frozen_until, self._thaw)
            return
        parked, self._parked = self._parked, []
        for handle in parked:
            self.clockwork.push(self.clockwork.now, handle)

    def freeze(self, seconds: float) -> None:
        """Stop the process, as SIGSTOP does; its clocks go on."""
        self.frozen_until = max(self.frozen_until, self.clockwork.now + seconds)

    def unfreeze(self) -> None:
        """Let the process go on now."""
        self.frozen_until = min(self.frozen_until, self.clockwork.now)
        self._thaw()

    # -- what production code calls ---------------------------------------------------------------

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> Any:
        clockwork = self.clockwork
        handle = Handle(self, callback, args)
        clockwork._ready.append(handle)
        return handle

    def call_later(self, delay: float, callback: Any, *args: Any, context: Any = None) -> Any:
        when = self.clockwork.now + max(delay, 0.0) / self.rate + RESOLUTION_S
        return self.clockwork.push(when, Handle(self, callback, args))

    def call_at(self, when: float, callback: Any, *args: Any, context: Any = None) -> Any:
        return self.call_later(when - self.time(), callback, *args)

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Coroutine[Any, Any, Any], **_: Any) -> asyncio.Task[Any]:  # type: ignore[override]
        if len(self._begun) > 64:
            self._begun = [each for each in self._begun if _is_unstarted(each)]
        self._begun.append(coro)
        return asyncio.Task(coro, loop=self)

    def end(self) -> None:
        """The process is gone; nothing of it runs any more."""
        self.is_alive = False
        for coro in self._begun:
            if _is_unstarted(coro):
                coro.close()  # else Python complains that nobody awaited it

    async def create_server(
        self, factory: Any, host: Any = None, port: Any = None, **_: Any
    ) -> Any:  # type: ignore[override]
        return self._network.listen(self, factory, (host, port))

    async def create_connection(  # type: ignore[override]
        self, factory: Any, host: Any = None, port: Any = None, **_: Any
    ) -> Any:
        return await self._network.dial(self, factory, self.name, (host, port))

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return self.is_alive

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if self.is_alive and error is not None:
            self.failures.append(f"{type(error).__name__}: {error}")

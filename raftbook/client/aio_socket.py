"""A conversation on the event loop: its socket and its timer.

Owns the one TCP connection a conversation has at a time. Must not know what is said on it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from raftbook.client.conversation import CONNECT_TIMEOUT_S, Conversation, why_unreachable
from raftbook.client.settings import NEVER, Address


class Runner:
    """Runs one conversation on the event loop."""

    def __init__(
        self,
        flow: Conversation,
        changed: Callable[[], None],
        on_progress: Callable[[str], None] | None,
    ) -> None:
        self.flow = flow
        self.is_paused = False
        self._changed = changed
        self._on_progress = on_progress
        self._loop = asyncio.get_running_loop()
        self._socket: Socket | None = None
        self._dialing: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = NEVER
        self._is_scheduled = False
        self._is_closed = False

    def kick(self) -> None:
        """Let the conversation go on soon; calls made in one turn of the loop share one write."""
        if not self._is_scheduled and not self._is_closed:
            self._is_scheduled = True
            self._loop.call_soon(self._run)

    def pause(self) -> None:
        """Stop reading."""
        self.is_paused = True
        if self._socket is not None:
            self._socket.transport.pause_reading()

    def resume(self) -> None:
        """Read again."""
        self.is_paused = False
        if self._socket is not None:
            self._socket.transport.resume_reading()
        self.kick()

    def close(self) -> None:
        """Let go of everything; the waiters have their last answers."""
        self._changed()
        self._is_closed = True
        if self._socket is not None:
            self._socket.transport.close()
            self._socket = None
        if self._dialing is not None:
            self._dialing.cancel()
        if self._timer is not None:
            self._timer.cancel()

    def received(self, socket: Socket, piece: bytes) -> None:
        """Bytes from a socket, maybe from one that was let go."""
        if socket is self._socket:
            self.flow.received(piece, self._loop.time())
            self._run()

    def lost(self, socket: Socket, error: Exception | None) -> None:
        """A socket has ended."""
        if socket is self._socket:
            self._socket = None
            why = why_unreachable(error) if isinstance(error, OSError) else ""
            self.flow.lost(why or "the connection was lost", self._loop.time())
            self.kick()

    def _run(self) -> None:
        self._is_scheduled = False
        if self._is_closed:
            return
        flow = self.flow
        now = self._loop.time()
        flow.wake(now)
        if flow.should_close:
            flow.should_close = False
            if self._socket is not None:
                self._socket.transport.abort()
                self._socket = None
        if self._socket is not None:
            outgoing = flow.take_outgoing()
            if outgoing:
                self._socket.transport.write(outgoing)
        elif self._dialing is None:
            address = flow.dial(now)
            if address is not None:
                self._dialing = self._loop.create_task(self._dial(address))
        self._report()
        self._changed()
        self._set_timer()

    async def _dial(self, address: Address) -> None:
        socket = Socket(self)
        try:
            async with asyncio.timeout(min(CONNECT_TIMEOUT_S, self.flow.settings.timeout_s)):
                await self._loop.create_connection(lambda: socket, *address)
            self._socket = socket
        except OSError as error:
            self.flow.connect_failed(error, self._loop.time())
        else:
            self.flow.connected(self._loop.time())
            if socket.is_lost:
                self.lost(socket, None)
        finally:
            self._dialing = None
            if self._socket is not socket and socket.is_made:
                socket.transport.abort()
        self.kick()

    def _report(self) -> None:
        lines = self.flow.progress
        if lines:
            self.flow.progress = []
            if self._on_progress is not None:
                for line in lines:
                    self._on_progress(line)

    def _set_timer(self) -> None:
        at = self.flow.wake_at
        if at == NEVER or (self._timer is not None and self._timer_at <= at):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at
        self._timer = self._loop.call_at(at, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._run()


class Socket(asyncio.Protocol):
    """One TCP connection."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self.is_made = False
        self.is_lost = False
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.is_made = True

    def data_received(self, data: bytes) -> None:
        self._runner.received(self, data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True
        self._runner.lost(self, exc)

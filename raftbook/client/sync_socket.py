"""A conversation on a blocking socket: no threads and no event loop.

Owns the one TCP connection a conversation has at a time, and the clock. Must not know what is said.
Nothing runs between calls: what arrives then is read, and what is due then is done, at the next.
"""

from __future__ import annotations

import selectors
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from raftbook.client.conversation import CONNECT_TIMEOUT_S, Conversation, why_unreachable
from raftbook.client.settings import NEVER, Address

_PIECE_BYTES: Final = 262_144

_WAIT_MAX_S: Final = 0.5
"""Longest single wait, so that Ctrl-C is heard also where it does not interrupt a wait."""


def now() -> float:
    """The conversation's clock, seconds."""
    return time.monotonic()


class Runner:
    """Runs one conversation whenever somebody waits for it."""

    def __init__(self, flow: Conversation, on_progress: Callable[[str], None] | None) -> None:
        self.flow = flow
        self._on_progress = on_progress
        self._socket: socket.socket | None = None
        self._selector: selectors.BaseSelector | None = None
        self._unwritten = memoryview(b"")

    def run(self, is_done: Callable[[], bool], *, until: float = NEVER) -> None:
        """Go on until `is_done()`, or until the time `until`."""
        while not is_done():
            self.flow.wake(now())
            self._settle()
            left = until - now()
            if is_done() or left <= 0:
                return
            self._step(min(left, _WAIT_MAX_S))

    def poll(self) -> None:
        """Take what has arrived since the last call; a connection that ended meanwhile is noticed
        here, before anything is entrusted to it."""
        self._exchange(0.0)
        self._settle()

    def close(self) -> None:
        """Let go of the socket."""
        if self._selector is not None:
            self._selector.close()
            self._selector = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._unwritten = memoryview(b"")

    def _step(self, wait_max_s: float) -> None:
        if self._socket is None:
            address = self.flow.dial(now())
            if address is not None:
                self._dial(address, wait_max_s)
                self._settle()
                return
        wait_s = min(wait_max_s, max(0.0, self.flow.wake_at - now()))
        if self._socket is None:
            time.sleep(wait_s)
        else:
            self._exchange(wait_s)
        self._settle()

    def _settle(self) -> None:
        """Do what the conversation has decided."""
        flow = self.flow
        if flow.should_close:
            flow.should_close = False
            self.close()
        if flow.progress:
            lines, flow.progress = flow.progress, []
            if self._on_progress is not None:
                for line in lines:
                    self._on_progress(line)

    def _dial(self, address: Address, wait_max_s: float) -> None:
        left_s = self.flow.give_up_at - now()
        try:
            connection = _connected(address, now() + min(CONNECT_TIMEOUT_S, wait_max_s, left_s))
        except OSError as error:
            self.flow.connect_failed(error, now())
            return
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setblocking(False)
        self._socket = connection
        self._selector = selectors.DefaultSelector()
        self._selector.register(connection, selectors.EVENT_READ)
        self.flow.connected(now())

    def _exchange(self, wait_s: float) -> None:
        """Write what is to be written and read what arrives, for so long at most."""
        if self._socket is None or self._selector is None:
            return
        if not self._unwritten:
            self._unwritten = memoryview(self.flow.take_outgoing())
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._unwritten else 0)
        if self._selector.get_key(self._socket).events != wanted:
            self._selector.modify(self._socket, wanted)
        ready = 0
        for _, events in self._selector.select(wait_s):
            ready |= events
        try:
            if ready & selectors.EVENT_READ:
                self._read(self._socket)
            if ready & selectors.EVENT_WRITE and self._socket is not None:
                self._unwritten = self._unwritten[self._socket.send(self._unwritten) :]
        except BlockingIOError:
            pass
        except OSError as error:
            self._lost(why_unreachable(error))

    def _read(self, connection: socket.socket) -> None:
        piece = connection.recv(_PIECE_BYTES)
        if piece:
            self.flow.received(piece, now())
        else:
            self._lost("the connection was lost")

    def _lost(self, why: str) -> None:
        self.close()
        self.flow.lost(why, now())


def _connected(address: Address, deadline: float) -> socket.socket:
    """A connection to the first of the address's hosts that takes one, by then.

    Raises:
        OSError: none did; TimeoutError: none in time.
    """
    trouble: OSError = TimeoutError("no answer")
    for family, kind, protocol, _, place in _resolved(address, deadline):
        connection = socket.socket(family, kind, protocol)
        try:
            connection.settimeout(max(0.001, deadline - now()))
            connection.connect(place)
        except OSError as error:
            connection.close()
            trouble = error
        else:
            return connection
    raise trouble


def _resolved(address: Address, deadline: float) -> list[Any]:
    """What `socket.getaddrinfo` says, by then: a name server that is silent has its own patience,
    so a name is looked up in a thread that may be left behind.
    """
    host, port = address
    try:
        numeric = socket.AI_NUMERICHOST
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=numeric)
    except socket.gaierror:
        pass  # a name
    answer: list[Any] = []

    def look_up() -> None:
        try:
            answer.append(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except OSError as error:
            answer.append(error)

    thread = threading.Thread(target=look_up, daemon=True)
    thread.start()
    thread.join(max(0.0, deadline - now()))
    if not answer:
        raise TimeoutError(f"nobody says where {host} is")
    if isinstance(answer[0], OSError):
        raise answer[0]
    return list(answer[0])

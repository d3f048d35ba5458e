"""What clients have sent and nobody has handled yet: a little of it in each pass of the loop.

Owns when it is handled. A socket hands over many thousand of the smallest messages at once, and
whoever handled them all before the loop goes on would hear of nothing else meanwhile: no clock, no
leader. So it is handled in small portions, one of each connection in turn, and when a pass of the
loop has spent PASS_S on all of them together the rest waits for the next pass. Sockets of which
something waits are not read. Must not know what is in a portion.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from raftbook.gateway.turns import Turns

READ_BYTES: Final = 64 << 10
"""Read of a socket at once, so the most that waits of one connection."""
PORTION_BYTES: Final = 1 << 10
"""Handled of one connection before the next one has its turn: 170 of the smallest messages there
are, or a fifth of a hundred orders."""
PASS_S: Final = 0.004
"""How long a pass of the loop handles what has arrived, all connections together, but for the
portion that is being handled."""


class Intake:
    """What all connections of a node share.

    Attributes:
        buffer: what a socket is read into; whoever reads takes its own copy at once.
        pass_s: see PASS_S.
    """

    def __init__(self) -> None:
        self.buffer = memoryview(bytearray(READ_BYTES))
        self.pass_s = PASS_S
        self._turns = Turns()
        self._spent_s = 0.0
        self._is_spent = self._is_scheduled = self._is_at_work = False

    def want(self, inflow: Inflow) -> None:
        """Something waits there: it has its turn in the next pass, if not before."""
        self._turns.join(inflow)
        self._await_pass()

    def forget(self, inflow: Inflow) -> None:
        """Nothing waits there any more."""
        self._turns.leave(inflow)

    def work(self) -> None:
        """Handle what waits, in turn, for as long as this pass may still do so."""
        if self._is_spent or self._is_at_work:
            return
        self._is_at_work = True
        began = asyncio.get_running_loop().time() - self._spent_s
        try:
            self._spent_s = self._turns.give(began + self.pass_s) - began
            self._is_spent = self._spent_s >= self.pass_s
        finally:
            self._is_at_work = False

    def _await_pass(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._on_pass)

    def _on_pass(self) -> None:
        self._is_scheduled = self._is_spent = False
        self._spent_s = 0.0
        if self._turns:
            self._await_pass()
            self.work()


class Inflow:
    """What has arrived on one connection, in order.

    Args:
        hear: handles a portion: so many bytes of the stream, wherever they end.
    """

    def __init__(
        self, intake: Intake, transport: asyncio.Transport, hear: Callable[[bytes], None]
    ) -> None:
        self._intake, self._transport, self._hear = intake, transport, hear
        self._rest, self._at = b"", 0  # what waits stands in `_rest` from `_at` on
        self._is_held = self._is_paused = False

    @property
    def waiting_bytes(self) -> int:
        """How much has arrived and is not handled."""
        return len(self._rest) - self._at

    def arrive(self, piece: bytes) -> None:
        """The next piece of the stream: handled now, as far as there is time, and else in turn."""
        self._rest = self._rest[self._at :] + piece if self._rest else piece
        self._at = 0
        if not self._is_held:
            self._intake.want(self)
            self._intake.work()
        self._look_at_reading()

    def hold(self) -> None:
        """Hand on nothing and read nothing until `release`."""
        self._is_held = True
        self._look_at_reading()

    def release(self) -> None:
        """Go on, in the next pass: whoever calls this has not done yet with what came before."""
        self._is_held = False
        if self._rest:
            self._intake.want(self)
        self._look_at_reading()

    def restart(self) -> None:
        """Drop what waits, and go on with what arrives."""
        self._rest, self._at = b"", 0
        self.release()

    def end(self) -> None:
        """The connection is gone. Its inflow keeps no hold of it."""
        self._rest, self._at = b"", 0
        self._intake.forget(self)
        self._hear = _nobody

    def hand_on(self) -> bool:
        """Let the next portion be handled; whether there is another one that may be."""
        rest, start = self._rest, self._at
        if not rest or self._is_held:
            return False
        if self._transport.is_closing():
            self._rest, self._at = b"", 0
            return False
        self._at = start + PORTION_BYTES
        if self._at >= len(rest):
            self._rest, self._at = b"", 0
        try:
            self._hear(rest[start : start + PORTION_BYTES])
        except Exception as error:
            self._fail(error)
        if not self._rest:
            self._look_at_reading()
        return bool(self._rest) and not self._is_held

    def _look_at_reading(self) -> None:
        is_paused = self._is_held or bool(self._rest)
        if is_paused == self._is_paused:
            return
        self._is_paused = is_paused
        if is_paused:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def _fail(self, error: Exception) -> None:
        """This node is wrong: the connection ends, as one does whose protocol raises."""
        context = {
            "message": "what a client sent could not be handled",
            "exception": error,
            "transport": self._transport,
        }
        asyncio.get_running_loop().call_exception_handler(context)
        self._transport.abort()


def _nobody(portion: bytes) -> None: ...

"""Between a socket and what speaks HTTP or WebSocket on it: portions instead of all at once.

Owns the reading side of a connection of the HTTP port: what arrives has its turn in the node's
intake. Who speaks sees a transport and knows nothing of that.
"""

from __future__ import annotations

import asyncio

from raftbook.gateway.intake import Inflow, Intake
from raftbook.web.gathering import Gathering


class Portions(asyncio.BufferedProtocol):
    """Stands before a protocol.

    Attributes:
        transport: stands before the protocol's own.
        inflow: what has arrived and is not handled.
    """

    def __init__(
        self,
        protocol: asyncio.Protocol,
        transport: asyncio.Transport,
        intake: Intake,
        *,
        goodbye_s: float,
    ) -> None:
        self._protocol, self._intake = protocol, intake
        self.inflow = Inflow(intake, transport, self._hear)
        self.transport = Gathering(transport, self, goodbye_s=goodbye_s)
        transport.set_protocol(self)

    def switch(self, protocol: asyncio.Protocol) -> None:
        """Another one speaks from now on. What came before it was asked to is dropped."""
        self._protocol = protocol
        self.inflow.restart()

    # -- asyncio ------------------------------------------------------------------------------

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._intake.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.inflow.arrive(bytes(self._intake.buffer[:nbytes]))

    def eof_received(self) -> None:
        """A client that says nothing more has gone: it gets what is written already, and nothing is
        made for it any more."""
        self._protocol.eof_received()
        self.transport.close()

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self.inflow.end()
        self.transport.forget()
        self._protocol.connection_lost(exc)

    def _hear(self, portion: bytes) -> None:
        self._protocol.data_received(portion)

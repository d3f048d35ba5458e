"""A reply that cannot be made: nobody waits for it for ever."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast
from unittest import mock

from raftbook.core.events import Reply
from raftbook.gateway import requests as module
from raftbook.gateway.caller import Caller
from raftbook.gateway.outbox import Outbox
from raftbook.gateway.pace import Pace
from raftbook.gateway.requests import Requests
from raftbook.replica.answers import Answers
from raftbook.replica.machine import Applied


class Transport:
    """A client that reads everything."""

    def __init__(self) -> None:
        self.aborted = False
        self.written = b""

    def set_write_buffer_limits(self, high: int) -> None: ...
    def is_closing(self) -> bool:
        return self.aborted

    def get_write_buffer_size(self) -> int:
        return 0

    def abort(self) -> None:
        self.aborted = True

    def write(self, data: bytes) -> None:
        self.written += data


def test_a_reply_that_cannot_be_made_ends_the_connection() -> None:
    async def main() -> None:
        transport = Transport()
        outbox = Outbox(cast(Any, transport), "x", 1 << 20, Pace())
        server = SimpleNamespace(replica=SimpleNamespace(raft=SimpleNamespace(leader_id=1)))
        requests = Requests(cast(Any, server), Caller("x"), outbox)
        answers = Answers()
        reply: Reply = (1, 1, 5, 0, [(1, 2, 3)], 0)
        answers.reply([requests], reply, Applied(5, 1, 1, [reply]))
        with mock.patch.object(module, "private_view", side_effect=RuntimeError):
            answers.tell()
            await asyncio.sleep(0.05)
        assert transport.aborted
        assert not transport.written

    asyncio.run(main())

"""What the other members say of themselves, asked over their client ports while somebody looks.

Owns the asking: one connection to each other member, a question every ASK_EVERY_S, and none at all
while nobody has looked for IDLE_S. A node's own view of its peers (connected, heard of, how far)
needs none of this; role, term and digest of another are only its own to tell. Must not know who
looks.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from raftbook.client import AsyncClient
from raftbook.errors import RaftbookError

ASK_EVERY_S: Final = 0.4
ANSWER_S: Final = 0.4
"""A node that is up answers in milliseconds."""
IDLE_S: Final = 5.0
FRESH_S: Final = 1.2
"""What a member said is shown this long: two questions may get lost on a busy machine."""

Status = dict[str, Any]


class PeerWatch:
    """The other members of a node's cluster, as they describe themselves.

    Args:
        members: rows with `node_id`, `host` and `client_port` of all members.
        commit_index: as far as this node knows now.
    """

    def __init__(
        self,
        own_id: int,
        members: Callable[[], list[Status]],
        *,
        cluster_id: str,
        commit_index: Callable[[], int],
    ) -> None:
        self._own_id, self._members, self._cluster_id = own_id, members, cluster_id
        self._commit_index = commit_index
        self._said: dict[int, tuple[float, Status]] = {}
        self._clients: dict[int, tuple[tuple[str, int], AsyncClient]] = {}
        self._looked_at = 0.0
        self._asking: asyncio.Task[None] | None = None
        self._is_closed = False
        self._round = asyncio.Event()

    def look(self) -> Mapping[int, Status]:
        """What each other member said within FRESH_S; goes on asking for a while."""
        self._begin()
        since = time.monotonic() - FRESH_S
        return {node_id: status for node_id, (at, status) in self._said.items() if at >= since}

    async def look_now(self) -> Mapping[int, Status]:
        """The same, but not before every member has been asked once in this stretch of looking."""
        self._begin()
        try:
            async with asyncio.timeout(ANSWER_S + 0.1):
                await self._round.wait()
        except TimeoutError:
            pass  # who is silent is shown as silent
        return self.look()

    def close(self) -> None:
        """Ask nobody any more."""
        self._is_closed = True
        if self._asking is not None:
            self._asking.cancel()

    def _begin(self) -> None:
        self._looked_at = time.monotonic()
        if (self._asking is None or self._asking.done()) and not self._is_closed:
            self._round.clear()
            self._asking = asyncio.get_running_loop().create_task(self._ask_on())

    async def _ask_on(self) -> None:
        try:
            while time.monotonic() - self._looked_at < IDLE_S:
                addresses = self._addresses()
                await self._drop(each for each in list(self._clients) if each not in addresses)
                asked = [self._ask(node_id, address) for node_id, address in addresses.items()]
                await asyncio.gather(*asked)
                self._round.set()
                await asyncio.sleep(ASK_EVERY_S)
        finally:
            await self._drop(list(self._clients))

    def _addresses(self) -> dict[int, tuple[str, int]]:
        return {
            row["node_id"]: (row["host"], row["client_port"])
            for row in self._members()
            if row["node_id"] != self._own_id
        }

    async def _ask(self, node_id: int, address: tuple[str, int]) -> None:
        known = self._clients.get(node_id)
        if known is None or known[0] != address:
            client = AsyncClient(
                [address], client_name="page", timeout_s=ANSWER_S, follows_members=False
            )
            self._clients[node_id] = (address, client)
        client = self._clients[node_id][1]
        commit_index = self._commit_index()
        try:
            status = await client.status()
        except RaftbookError:
            return  # it is silent, which the age of its last word says
        if status.get("cluster_id") == self._cluster_id:
            # What was committed when it was asked, it should have: all later is no lag of its own.
            lag = max(0, commit_index - int(status["applied_index"]))
            self._said[node_id] = (time.monotonic(), {**status, "lag": lag})

    async def _drop(self, node_ids: Any) -> None:
        for node_id in node_ids:
            _, client = self._clients.pop(node_id)
            await client.close(forget_session=False)

"""Who listens to the market in a chaos run: each message once, in order, and as the log has it.

Owns the listeners of the feeds of the load's instruments and of two of the venue's, what they were
told, and its judgement against the log. They go where their client library takes them. Must not
know what is done to the nodes.
"""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from raftbook.client import AsyncClient
from raftbook.core.commands import Entry
from raftbook.core.exchange import Exchange, Genesis
from raftbook.errors import RaftbookError
from raftbook.feed.stream import FeedHistory
from raftbook.wire.packing import pack
from tests.chaos.cluster import LOAD_SYMBOLS, ChaosCluster

STREAMS: Final = "streams.json"
_REFRESH: Final = -1
"""In the place of a message's checksum: the book as a whole, since no node kept what was missed."""
_KEPT_MAX: Final = 1 << 20
_SYMBOLS: Final = (*LOAD_SYMBOLS, "A", "F")

Rows = list[tuple[int, int, int]]
"""(feed_seq, entry_index, checksum) of what was told, in the order it was told."""


class Streams:
    """One listener for each of these instruments.

    Attributes:
        told: what each has heard so far.
    """

    def __init__(self, cluster: ChaosCluster) -> None:
        self._cluster = cluster
        self.told: dict[str, Rows] = {symbol: [] for symbol in _SYMBOLS}

    async def run(self) -> None:
        """Listen until cancelled."""
        async with asyncio.TaskGroup() as group:
            for place, symbol in enumerate(self.told):
                first = self._cluster.ids[place % len(self._cluster.ids)]
                group.create_task(self._listen(symbol, first))

    async def _listen(self, symbol: str, first: int) -> None:
        client = AsyncClient(self._cluster.client_ports(first), timeout_s=5.0)
        rows = self.told[symbol]
        try:
            while True:
                from_seq = rows[-1][0] + 1 if rows else 1
                try:
                    async with client.subscribe("feed", symbol=symbol, from_seq=from_seq) as stream:
                        async for value in stream:
                            rows.append(_row(value))
                except RaftbookError:
                    await asyncio.sleep(0.1)  # nobody could be reached for long
        finally:
            await client.close()

    def behind(self, ends: dict[str, int]) -> list[str]:
        """Which of them have not heard of the last message, by the feed_seq of each instrument."""
        heard = {symbol: rows[-1][0] if rows else 0 for symbol, rows in self.told.items()}
        return [
            f"{symbol}: {seq} of {ends[symbol]}"
            for symbol, seq in heard.items()
            if seq < ends.get(symbol, 0)
        ]

    def save(self, folder: Path) -> None:
        """Write it into a run's folder."""
        (folder / STREAMS).write_text(json.dumps(self.told))


def _row(value: Any) -> tuple[int, int, int]:
    if value[0] == "refresh":
        return value[1]["feed_seq"], value[1]["applied_index"], _REFRESH
    return value[0], value[1], zlib.crc32(pack(value))


def judge_streams(
    told: dict[str, Rows], entries: Iterable[Entry], genesis: Genesis
) -> tuple[int, list[str]]:
    """How many messages were heard, and what was heard otherwise than the log has it."""
    exchange, feed = Exchange(genesis), FeedHistory(_KEPT_MAX)
    last_index = 0
    for entry in entries:
        last_index = entry.index
        replies = exchange.apply(entry)
        feed.add(entry.index, exchange.moment.time_ns, replies)
    count, problems = 0, []
    for symbol, rows in told.items():
        right = {message[0]: zlib.crc32(pack(message)) for message in feed.since(symbol, 0) or ()}
        # What happened after the log was taken down is not judged.
        judged = [row for row in rows if row[1] <= last_index]
        count += len(judged)
        problems += [f"{symbol}: {text}" for text in _faults(judged, right)]
    return count, problems[:20]


def _faults(rows: Rows, right: dict[int, int]) -> Iterable[str]:
    last = 0
    for seq, _, checksum in rows:
        if checksum == _REFRESH:
            if seq < last:
                yield f"the book as of {seq} came after {last}"
        elif seq != last + 1:
            yield f"message {seq} came after {last}"
        elif right.get(seq) != checksum:
            yield f"message {seq} is not the log's"
        last = seq
    if last != max(right, default=0):
        yield f"the last message told is {last}, of {max(right, default=0)}"

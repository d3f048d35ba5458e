"""What a leader has read already: requests that were checked, and the entries it made of them.

Owns them from the moment a request is known to be well formed until its entry is applied, or until
it ends without one, so that the node that packs an entry does not unpack it again. Nothing depends
on it: what is not kept here is read from its bytes. An entry is recognised by the very bytes object
that stands in the log, so another entry at its index is never taken for it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from typing import Final

from raftbook.core.commands import NO_SESSION, Entry, Request

BYTES_MAX: Final = 4 << 20
"""Packed bytes of all that is kept: as values they take some ten times as much memory."""


class ReadAhead:
    """Requests by their bytes, and entries by their index; bounded in bytes."""

    def __init__(self) -> None:
        self._requests: OrderedDict[bytes, Request] = OrderedDict()
        self._entries: dict[int, tuple[bytes, Entry]] = {}
        self._bytes = 0

    def request(self, raw: bytes, request: Request) -> None:
        """A request that is to stand in an entry soon, and what its bytes say. The eldest give way
        to it: whatever else happens, what nobody takes does not stay."""
        if raw in self._requests:
            return
        self._requests[raw] = request
        self._bytes += len(raw)
        while self._bytes > BYTES_MAX and self._requests:
            self._bytes -= len(self._requests.popitem(last=False)[0])

    def forget(self, raw: bytes) -> None:
        """A request that will stand in no entry."""
        self._taken(raw)

    def entry(self, index: int, time_ns: int, raws: Collection[bytes], payload: bytes) -> None:
        """An entry was made of these requests, and stands in the log as `payload`.

        One that could put other rules in force is left to be read as everybody reads it.
        """
        requests = [request for raw in raws if (request := self._taken(raw)) is not None]
        is_whole = len(requests) == len(raws)
        is_plain = any(request[0] != NO_SESSION for request in requests)
        if is_whole and is_plain and self._bytes + len(payload) <= BYTES_MAX:
            self._entries[index] = (payload, Entry(index, time_ns, tuple(requests)))
            self._bytes += len(payload)

    def take(self, index: int, payload: bytes) -> Entry | None:
        """The entry at `index`, if it is the one that was kept."""
        found = self._entries.pop(index, None)
        if found is None:
            return None
        self._bytes -= len(found[0])
        return found[1] if found[0] is payload else None

    def clear(self) -> None:
        """This node does not lead: what it kept may never be applied."""
        self._requests.clear()
        self._entries.clear()
        self._bytes = 0

    def _taken(self, raw: bytes) -> Request | None:
        request = self._requests.pop(raw, None)
        if request is not None:
            self._bytes -= len(raw)
        return request

"""Log entries as bytes: `(format version, time_ns, requests)`.

Owns the format of the log's payloads. Requests are packed once, where they arrive, and joined into
an entry without being packed again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, Final

from raftbook.core.commands import (
    NO_SESSION,
    Command,
    Entry,
    Request,
    set_engine_version,
)
from raftbook.core.form import is_engine_switch
from raftbook.core.versions import (
    FIRST_ENGINE_VERSION,
    EngineTooOld,
    newest_format,
    refuse_engine_version,
)
from raftbook.errors import ProtocolError
from raftbook.wire.packing import brief, pack, pack_array, unpack

REGULAR: Final = b"\x00"
"""First byte of a log payload that is an entry of ours; PySyncObj's own kinds are 1, 2 and 3."""
CHECK: Final = b"\x10"
"""First byte of a digest check: changes no state; a build that does not know it passes it over."""
CHECK_VERSION: Final = 1

FORMAT_VERSION: Final = 1
"""Format 1 has flat commands only. No door ever let another one into a log, so this needed no 2."""
FORMATS: Final = {FORMAT_VERSION: FIRST_ENGINE_VERSION}
"""Every format this build reads, and the engine version from which on it writes it."""

_NESTED: Final = frozenset((tuple, dict))
_TUPLE: Final = frozenset((tuple,))
_INT: Final = frozenset((int,))
_INT_BYTES: Final = {0xCC: 2, 0xCD: 3, 0xCE: 5, 0xCF: 9, 0xD0: 2, 0xD1: 3, 0xD2: 5, 0xD3: 9}
"""What a msgpack integer takes, by its first byte; a small one is that byte alone. A client may
write a number wider than it need be, or as a signed one, and its bytes go into the log as they are.
"""
_ARRAY_BYTES: Final = {0xDC: 2, 0xDD: 4}
"""How long the length of an array is, by its first byte; of a small one it stands in that."""


class UnsupportedVersion(ProtocolError):
    """What this build is too old for: going on would make the replica differ."""


def pack_request(session_id: int, request_seq: int, commands: Sequence[Command]) -> bytes:
    """One request, ready to be joined into an entry."""
    return pack((session_id, request_seq, commands))


def commands_in(request: bytes) -> int:
    """How many commands a packed request holds."""
    at = 1
    for _ in range(2):  # past session_id and request_seq
        at += _INT_BYTES.get(request[at], 1)
    head = request[at]
    if head in _ARRAY_BYTES:
        return int.from_bytes(request[at + 1 : at + 1 + _ARRAY_BYTES[head]])
    return head & 0x0F


def pack_entry(
    time_ns: int, requests: Iterable[bytes], *, engine_version: int = FIRST_ENGINE_VERSION
) -> bytes:
    """An entry out of packed requests, in the newest format that all members read.

    Args:
        time_ns: the leader's clock.
        engine_version: the one in force.
    """
    version = newest_format(FORMATS, engine_version)
    return pack_array((pack(version), pack(time_ns), pack_array(requests)))


def pack_engine_switch(
    time_ns: int, engine_version: int, written_by: str, *, in_force: int
) -> bytes:
    """An entry that puts a newer engine version in force. It holds nothing else, so that a build
    that does not have that version stops before it, and not in the middle of an entry.
    """
    command = set_engine_version(engine_version, written_by)
    request = pack_request(NO_SESSION, 0, (command,))
    return pack_entry(time_ns, (request,), engine_version=in_force)


def unpack_entry(index: int, payload: bytes) -> Entry:
    """The entry at `index` of the log.

    Raises:
        UnsupportedVersion: written by a newer build; stop rather than guess.
        ProtocolError: no entry at all. Every replica sees the same, so it is skipped by all.
    """
    value = unpack(payload)
    if type(value) is not tuple or len(value) != 3 or type(value[0]) is not int:
        raise ProtocolError(f"entry {index} is not (version, time, requests)")
    version, time_ns, requests = value
    if version not in FORMATS:
        raise UnsupportedVersion(
            f"entry {index} has format {version}, this build reads {max(FORMATS)}: "
            "upgrade this node to the version the others run"
        )
    if type(time_ns) is not int or type(requests) is not tuple:
        raise ProtocolError(f"entry {index} is not (version, time, requests)")
    if not _are_requests(requests):
        wrong = next(request for request in requests if not _is_request(request))
        raise ProtocolError(f"entry {index} holds {brief(wrong)}, which is no request")
    if len(requests) == 1 and requests[0][0] == NO_SESSION:
        _refuse_newer_engine(index, requests[0][2])
    return Entry(index, time_ns, requests)


def _refuse_newer_engine(index: int, commands: Iterable[Command]) -> None:
    for command in commands:
        if is_engine_switch(command):
            try:
                refuse_engine_version(command[1], command[2], what=f"entry {index}")
            except EngineTooOld as error:
                raise UnsupportedVersion(str(error)) from error


def pack_check(index: int, digests: Mapping[int, str]) -> bytes:
    """A digest check: by node id, the rolling digests its leader was told of after `index`.

    Every node that applies a check tells its leader its own digest at the check's own index.
    """
    return pack((CHECK_VERSION, index, dict(sorted(digests.items()))))


def unpack_check(payload: bytes) -> tuple[int, dict[int, str]]:
    """(index, digests) of a digest check.

    Raises:
        ProtocolError: malformed, or of a version this build does not know: compare nothing.
    """
    value = unpack(payload)
    if type(value) is not tuple or value[:1] != (CHECK_VERSION,) or len(value) != 3:
        raise ProtocolError(f"{brief(value)} is no digest check")
    _, index, digests = value
    if type(index) is not int or type(digests) is not dict:
        raise ProtocolError(f"{brief(value)} is no digest check")
    if not all(type(node) is int and type(text) is str for node, text in digests.items()):
        raise ProtocolError(f"{brief(value)} is no digest check")
    return index, digests


def read_request(raw: bytes) -> Request:
    """See `read_requests`."""
    return read_requests((raw,))[0]


def read_requests(raws: Iterable[bytes]) -> tuple[Request, ...]:
    """The requests in these bytes. What is refused here must not be joined into an entry, where it
    would void all the others with it.

    Raises:
        ProtocolError: one of them is not exactly one packed request.
    """
    requests: tuple[Request, ...] = tuple(map(unpack, raws))
    if not _are_requests(requests):
        wrong = next(request for request in requests if not _is_request(request))
        raise ProtocolError(f"{brief(wrong)} is no request")
    return requests


def _are_requests(values: tuple[Any, ...]) -> bool:
    """Whether each of these is a request: `_is_request` of all at once, column by column."""
    if not values:
        return True
    if not _TUPLE.issuperset(map(type, values)) or {*map(len, values)} != {3}:
        return False
    session_ids, request_seqs, commands = zip(*values, strict=True)
    return (
        _INT.issuperset(map(type, session_ids))
        and _INT.issuperset(map(type, request_seqs))
        and _TUPLE.issuperset(map(type, commands))
        and are_flat([*chain.from_iterable(commands)])
    )


def _is_request(value: Any) -> bool:
    """Whether a value is `(session_id, request_seq, commands)`, each command flat."""
    if type(value) is not tuple or len(value) != 3:
        return False
    session_id, request_seq, commands = value
    if type(session_id) is not int or type(request_seq) is not int or type(commands) is not tuple:
        return False
    return are_flat(commands)


def are_flat(commands: Sequence[Any]) -> bool:
    """Whether each command is a tuple that is not empty and in which nothing is nested.

    A command that is refused stands in its reject as it is: whoever prints or hashes a nested one
    goes as deep as it does, and where that ends differs from one process to the next.
    """
    return (
        _TUPLE.issuperset(map(type, commands))
        and all(commands)
        and _NESTED.isdisjoint(map(type, chain.from_iterable(commands)))
    )

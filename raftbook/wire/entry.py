"""Log entries as bytes: `(format version, time_ns, requests)`.

Owns the format of the log's payloads. Requests are packed once, where they arrive, and joined into
an entry without being packed again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from raftbook.core.commands import Command, Entry
from raftbook.errors import ProtocolError
from raftbook.wire.packing import brief, pack, pack_array, unpack

REGULAR: Final = b"\x00"
"""First byte of a log payload that is an entry of ours; PySyncObj's own kinds are 1, 2 and 3."""
CHECK: Final = b"\x10"
"""First byte of a digest check: changes no state; a build that does not know it passes it over."""
CHECK_VERSION: Final = 1

FORMAT_VERSION: Final = 1
"""Format 1 has flat commands only. No door ever let another one into a log, so this needed no 2."""

_NESTED: Final = frozenset((tuple, dict))


class UnsupportedVersion(ProtocolError):
    """An entry of a format this build does not know; going on would make the replica differ."""


def pack_request(session_id: int, request_seq: int, commands: Sequence[Command]) -> bytes:
    """One request, ready to be joined into an entry."""
    return pack((session_id, request_seq, commands))


def pack_entry(time_ns: int, requests: Iterable[bytes]) -> bytes:
    """An entry out of packed requests; `time_ns` is the leader's clock."""
    return pack_array((pack(FORMAT_VERSION), pack(time_ns), pack_array(requests)))


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
    if version != FORMAT_VERSION:
        raise UnsupportedVersion(
            f"entry {index} has format {version}, this build reads {FORMAT_VERSION}: "
            "upgrade this node to the version the others run"
        )
    if type(time_ns) is not int or type(requests) is not tuple:
        raise ProtocolError(f"entry {index} is not (version, time, requests)")
    for request in requests:
        if not _is_request(request):
            raise ProtocolError(f"entry {index} holds {brief(request)}, which is no request")
    return Entry(index, time_ns, requests)


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


def check_request(raw: bytes) -> None:
    """Refuse what must not be joined into an entry, where it would void all the others with it.

    Raises:
        ProtocolError: not exactly one packed request.
    """
    value = unpack(raw)
    if not _is_request(value):
        raise ProtocolError(f"{brief(value)} is no request")


def _is_request(value: Any) -> bool:
    """Whether a value is `(session_id, request_seq, commands)`, each command flat and not empty.

    Flat, because a command that is refused stands in its reject as it is: whoever prints or hashes
    a nested one goes as deep as it does, and where that ends differs from one process to the next.
    """
    if type(value) is not tuple or len(value) != 3:
        return False
    session_id, request_seq, commands = value
    if type(session_id) is not int or type(request_seq) is not int or type(commands) is not tuple:
        return False
    for command in commands:
        if type(command) is not tuple or not command:
            return False
        if not _NESTED.isdisjoint(map(type, command)):
            return False
    return True

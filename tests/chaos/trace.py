"""What a node asked the system to do, in order: did anything leave before the sync that covers it?

Owns the reading of strace's output and the two rules that say so:

1. Nothing is sent to anybody while the journal's write-ahead log holds writes that no sync has
   followed.
2. What claims an entry (a reply to a client, a follower's reply that it has it) is sent only after
   that entry's bytes were written to this node's log, and synced. A leader's append claims nothing:
   it may leave before, so that all disks work at once.

Entries are recognised by a marker that stands in their order's client_order_id. Must not know how a
node comes to do these things.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from raftbook.storage.directory import WAL_NAME
from raftbook.wire.client_messages import REPLY
from raftbook.wire.framing import FrameReader
from raftbook.wire.packing import unpack

SYSTEM_CALLS: Final = "fdatasync,fsync,sendto,sendmsg,write,writev,pwrite64,pwritev"
MARKER: Final = re.compile(rb"mark-\d{6}")

_CALL: Final = re.compile(r"^(?P<pid>\d+) +(?P<name>\w+)\((?P<rest>.*)$")
_RESUMED: Final = re.compile(r"^(?P<pid>\d+) +<\.\.\. \w+ resumed>(?P<rest>.*)$")
_FD: Final = re.compile(r"^\d+<(?P<target>[^>]*(?:->)?[^>]*)>")
_RESULT: Final = re.compile(r"\) += +(?P<value>-?\d+)")
_STRING: Final = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')


@dataclass(frozen=True, slots=True)
class Call:
    """One call that succeeded: "write", "sync" or "send"; to a path or "here->there"; the bytes."""

    kind: str
    target: str
    content: bytes


def read_trace(path: Path) -> Iterator[Call]:
    """The calls of `strace -f -yy -xx -s 1000000 -e trace=SYSTEM_CALLS`, in order."""
    unfinished: dict[str, str] = {}
    with open(path, encoding="ascii", errors="replace") as file:
        for line in file:
            resumed = _RESUMED.match(line)
            if resumed is not None:
                line = unfinished.pop(resumed["pid"], "") + resumed["rest"]
            elif line.rstrip().endswith("<unfinished ...>"):
                unfinished[line.split()[0]] = line.rstrip().removesuffix("<unfinished ...>")
                continue
            call = _read_call(line)
            if call is not None:
                yield call


def _read_call(line: str) -> Call | None:
    found = _CALL.match(line)
    result = _RESULT.search(line)
    if found is None or result is None or int(result["value"]) < 0:
        return None
    name, rest = found["name"], found["rest"]
    fd = _FD.match(rest)
    target = _unhex(fd["target"]) if fd is not None else ""
    if name in ("fdatasync", "fsync"):
        return Call("sync", target, b"")
    content = b"".join(bytes.fromhex(text.replace("\\x", "")) for text in _STRING.findall(rest))
    is_socket = target.startswith("TCP")
    # Of a send, what was taken; a write to a file is whole or an error.
    content = content[: int(result["value"])] if is_socket else content
    return Call("send" if is_socket else "write", target, content)


def _unhex(text: str) -> str:
    if not text.startswith("\\x"):
        return text
    return bytes.fromhex(text.replace("\\x", "")).decode(errors="replace")


@dataclass(slots=True)
class Findings:
    """What the trace of one node shows.

    Attributes:
        violations: what left too early.
        replies, appends, append_replies: how many messages about marked entries were judged.
    """

    violations: list[str] = field(default_factory=list)
    syncs: int = 0
    replies: int = 0
    appends: int = 0
    append_replies: int = 0


def index_of_markers(traces: Iterable[Path]) -> dict[bytes, int]:
    """Where in the log each marked order stands, as the replies to clients told."""
    indices: dict[bytes, int] = {}
    for path in traces:
        for _, message in _messages(read_trace(path)):
            if type(message) is tuple and message[:1] == (REPLY,):
                for marker in MARKER.findall(repr(message).encode()):
                    indices.setdefault(marker, message[3])
    return indices


def judge_trace(path: Path, indices: dict[bytes, int]) -> Findings:
    """Hold a node's trace against both rules.

    Args:
        indices: of every marker, from all nodes.
    """
    findings = Findings()
    written: set[bytes] = set()
    synced: set[bytes] = set()
    is_dirty = False
    streams = _Streams()
    for number, call in enumerate(read_trace(path)):
        if call.target.endswith(WAL_NAME):
            if call.kind == "sync":
                is_dirty = False
                synced |= written
                findings.syncs += 1
            else:
                is_dirty = True
                written.update(MARKER.findall(call.content))
        elif call.kind == "send":
            if is_dirty:
                findings.violations.append(
                    f"call {number}: {len(call.content)} bytes to {call.target} leave before a sync"
                )
            for message in streams.take(call):
                _judge_message(message, number, indices, synced, findings)
    return findings


def _judge_message(
    message: Any, number: int, indices: dict[bytes, int], synced: set[bytes], findings: Findings
) -> None:
    about: set[bytes] = set()
    what = ""
    if type(message) is tuple and message[:1] == (REPLY,):
        about = set(MARKER.findall(repr(message).encode()))
        what = "reply"
        findings.replies += bool(about)
    elif type(message) is dict and message.get("type") == "append":
        findings.appends += any(MARKER.search(entry[0]) for entry in message["entries"])
    elif type(message) is dict and message.get("type") == "append_reply" and message["success"]:
        about = {marker for marker, index in indices.items() if index <= message["index"]}
        what = f"append reply for {message['index']}"
        findings.append_replies += bool(about)
    for marker in sorted(about - synced)[:1]:
        findings.violations.append(
            f"call {number}: a {what} speaks of {marker.decode()}, "
            f"which this node has not synced ({len(about - synced)} such)"
        )


class _Streams:
    """The bytes of each connection, cut into messages."""

    def __init__(self) -> None:
        self._readers: dict[str, FrameReader] = {}

    def take(self, call: Call) -> list[Any]:
        reader = self._readers.setdefault(call.target, FrameReader(1 << 26))
        return [unpack(payload) for payload in reader.feed(call.content)]


def _messages(calls: Iterable[Call]) -> Iterator[tuple[Call, Any]]:
    streams = _Streams()
    for call in calls:
        if call.kind == "send":
            for message in streams.take(call):
                yield call, message

"""What peers say to each other, and the check that a message has that form.

Owns field names and types of the peer protocol, so that a handler never meets a wrong one, and what
is asked of whoever carries them.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

from raftbook.errors import ProtocolError

Message = dict[str, Any]

DIGEST_CHARS_MAX: Final = 128


class Links(Protocol):
    """The network to the peers."""

    def send(self, peer_id: int, messages: list[Message]) -> None:
        """Send messages in order; they may be lost, together with all that follow."""


_INTRODUCTION: Final[dict[str, type[Any]]] = {
    "is_founded": bool,
    "founding": str,
    "incarnation": str,
}
_STANDING: Final[dict[str, type[Any]]] = {"term": int, "last_log_index": int, "last_log_term": int}
_FIELDS: Final[dict[str, dict[str, type[Any]]]] = {
    "append": {
        "term": int,
        "founding": str,
        "commit_index": int,
        "prev_index": int,
        "prev_term": int,
        "entries": tuple,
    },
    "append_reply": {"term": int, "success": bool, "index": int, "incarnation": str},
    "request_vote": {**_STANDING, **_INTRODUCTION, "is_asked": bool},
    "response_vote": {"term": int, "incarnation": str},
    "pre_vote": {**_STANDING, **_INTRODUCTION},
    "pre_vote_reply": {"term": int, "asked": int, "granted": bool, **_INTRODUCTION},
    "timeout_now": {"term": int},
    "install": {
        "term": int,
        "founding": str,
        "header": bytes,
        "offset": int,
        "chunk": bytes,
        "last": bool,
    },
    "install_reply": {"term": int, "received": int, "incarnation": str},
    "forward": {"requests": tuple},
    "attest": {"index": int, "digest": str},
}
"""founding: of the sender's log, or of its configured list as long as it is not is_founded.
incarnation: of the sender's journal. A pre_vote of term 0 asks for nothing: it tells of a past,
to whom a connection now stands. request_vote.is_asked: the leader asked it to stand.
append_reply.index: with success, the last index known to be equal; without, where to go back to.
install_reply.received: bytes of the snapshot the follower holds.
attest: the rolling digest of the sender's state after the entry at `index`; see `agreement`."""


def check_message(value: Any) -> Message:
    """`value` if it is a peer message.

    Raises:
        ProtocolError: it is none; the connection it came over is worth nothing any more.
    """
    if type(value) is not dict or type(value.get("type")) is not str:
        raise ProtocolError("a peer message is a map with a type")
    fields = _FIELDS.get(value["type"])
    if fields is None or len(value) != len(fields) + 1:
        raise ProtocolError(f"unknown or misshapen peer message {value['type']!r:.40}")
    for name, expected in fields.items():
        field: Any = value.get(name)
        if type(field) is not expected or (expected is int and field < 0):
            raise ProtocolError(f"{value['type']}.{name} is not as it should be")
    if value["type"] == "append":
        _check_entries(value["prev_index"], value["prev_term"], value["entries"])
    if value["type"] == "forward" and any(type(item) is not bytes for item in value["requests"]):
        raise ProtocolError("forward.requests are not bytes")
    if value["type"] == "attest" and len(value["digest"]) > DIGEST_CHARS_MAX:
        raise ProtocolError("attest.digest is no digest")
    return value


def _check_entries(prev_index: int, prev_term: int, entries: tuple[Any, ...]) -> None:
    for entry in entries:
        if type(entry) is not tuple or [type(field) for field in entry] != [bytes, int, int]:
            raise ProtocolError("append.entries holds something that is no entry")
        _, index, term = entry
        if index != prev_index + 1 or term < prev_term:
            raise ProtocolError(f"append.entries: {index} in term {term} after {prev_index}")
        prev_index, prev_term = index, term

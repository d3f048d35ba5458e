"""The native client protocol: the frames between a client and any node, as msgpack arrays.

Owns the numbers and the order of fields; append-only. `docs/PROTOCOL.md` tells the conversation.
Events travel as `raftbook.core.events` has them: ticks and lots, never decimals.

    client -> node                                     node -> client
    HELLO      protocol_version, client name           WELCOME  protocol_version, cluster name,
                                                                cluster_id, node_id, nonce
    LOGIN      ref, account, proof                     RESULT | FAILURE
    OPEN       ref, key                                RESULT (session_id, highest_seq) | FAILURE
    REQUEST    session_id, request_seq, commands       REPLY, after any REPLY_PAGE | REFUSED
    QUERY      ref, name, arguments                    RESULT | FAILURE
    SUBSCRIBE  ref, name, arguments                    RESULT (subscription) | FAILURE, then PUSH
    PING       ref                                     PONG ref

    REPLY      session_id, request_seq, entry_index, term, time_ns, event_offset, events, poss_dup,
               leader_id                               (term and time_ns are 0 with poss_dup)
    REPLY_PAGE session_id, request_seq, events         (they come before those of the REPLY)
    REFUSED    session_id, request_seq, code, message      (codes 45, 48, or from 900)
    RESULT     ref, value
    FAILURE    ref, code, message
    PUSH       subscription, value
"""

from __future__ import annotations

import hmac
from hashlib import sha256
from typing import Any, Final

from raftbook.errors import ProtocolError
from raftbook.wire.packing import brief, pack, unpack

PROTOCOL_VERSION: Final = 1

HELLO: Final = 1
WELCOME: Final = 2
LOGIN: Final = 3
OPEN: Final = 4
REQUEST: Final = 5
REPLY: Final = 6
REFUSED: Final = 7
QUERY: Final = 8
SUBSCRIBE: Final = 9
RESULT: Final = 10
FAILURE: Final = 11
PUSH: Final = 12
PING: Final = 13
PONG: Final = 14
REPLY_PAGE: Final = 15

_SHAPES: Final[dict[int, tuple[type | tuple[type, ...], ...]]] = {
    HELLO: (int, str),
    WELCOME: (int, str, str, int, bytes),
    LOGIN: (int, str, bytes),
    OPEN: (int, str),
    REQUEST: (int, int, tuple),
    REPLY: (int, int, int, int, int, int, tuple, int, int),
    REFUSED: (int, int, int, str),
    QUERY: (int, str, dict),
    SUBSCRIBE: (int, str, dict),
    RESULT: (int, object),
    FAILURE: (int, int, str),
    PUSH: (int, object),
    PING: (int,),
    PONG: (int,),
    REPLY_PAGE: (int, int, tuple),
}
_TYPES: Final = frozenset(
    (kind, int, *shape) for kind, shape in _SHAPES.items() if object not in shape
)
"""The kinds whose fields all have one type, each with the types of its message."""
_REQUEST_HEAD: Final = bytes((0x94, REQUEST))  # msgpack: an array of four, its kind first
_THREE: Final = b"\x93"


def read_message(payload: bytes) -> tuple[Any, ...]:
    """The message in a frame: `(kind, *fields)`, its form checked.

    Raises:
        ProtocolError: no message of this protocol; the text says what is wrong.
    """
    value = unpack(payload)
    if type(value) is tuple and (types := tuple(map(type, value)))[:1] == (int,):
        if (value[0], *types) in _TYPES:
            return value
    else:
        raise ProtocolError("a message is an array that starts with its kind")
    shape = _SHAPES.get(value[0])
    if shape is None:
        raise ProtocolError(f"unknown message kind {value[0]}")
    if len(value) != len(shape) + 1:
        raise ProtocolError(
            f"message kind {value[0]} has {len(shape)} fields, not {len(value) - 1}"
        )
    for field, expected in zip(value[1:], shape, strict=True):
        if not isinstance(field, expected) or type(field) is bool:
            if expected is not object:
                raise ProtocolError(f"message kind {value[0]}: {brief(field)} is of a wrong type")
    return value


def packed_request(payload: bytes) -> bytes:
    """The three fields of a REQUEST as an array of their own, as `pack_request` makes it.

    Nothing is packed anew: the fields stand in the log in whichever form the client gave them.
    """
    if payload.startswith(_REQUEST_HEAD):
        return _THREE + payload[len(_REQUEST_HEAD) :]
    return pack(read_message(payload)[1:])


def login_proof(account_secret: str, account: str, nonce: bytes) -> bytes:
    """Proof that a client holds an account's secret; bound to one connection by its nonce."""
    message = b"raftbook-login" + nonce + account.encode()
    return hmac.new(account_secret.encode(), message, sha256).digest()

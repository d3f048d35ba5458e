"""How a new machine asks a member for the cluster's configuration: bytes in, bytes out, no socket.

Owns the conversation. Nothing is told to who does not hold the cluster secret, and nothing of it to
who only listens: the answer holds account secrets, so it travels enciphered.

    joiner -> HELLO     (magic, version, joiner nonce)
    member -> CHALLENGE (member nonce)
    joiner -> PROOF     (hmac over both nonces and node_id, node_id)
    member -> ANSWER    (hmac over both nonces and what follows, the enciphered answer)

The cipher is the textbook one that needs a pseudorandom function and nothing else: HMAC-SHA256 of a
counter, under a key made of the secret and both nonces, gives the stream that the text is XORed
with; the HMAC over the result is checked first. A key is used for one answer.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from raftbook.errors import ProtocolError
from raftbook.wire.packing import pack, unpack

JOIN_MAGIC: Final = "raftbook-join"
JOIN_VERSION: Final = 1
JOIN_NONCE_BYTES: Final = 32
ANSWER_BYTES_MAX: Final = 8 << 20


@dataclass(frozen=True, slots=True)
class JoinAnswer:
    """What a member tells: the configuration, or why the node cannot join."""

    refusal: str
    config_text: str


class Joiner:
    """The side of the new machine."""

    def __init__(self, secret: bytes, node_id: int, nonce: bytes) -> None:
        self._secret, self._node_id, self._nonce = secret, node_id, nonce
        self._nonces: bytes | None = None

    def hello(self) -> bytes:
        """The first frame."""
        return pack((JOIN_MAGIC, JOIN_VERSION, self._nonce))

    def receive(self, payload: bytes) -> bytes | JoinAnswer:
        """Take the next frame; what to send, or the answer.

        Raises:
            ProtocolError: the other side is no member that holds the secret.
        """
        if self._nonces is None:
            (nonce,) = _fields(payload, (bytes,))
            self._nonces = self._nonce + nonce
            said = pack((self._node_id,))
            return pack((_mac(self._secret, b"join", self._nonces + said), self._node_id))
        proof, sealed = _fields(payload, (bytes, bytes))
        if not hmac.compare_digest(proof, _mac(self._secret, b"joined", self._nonces + sealed)):
            raise ProtocolError("the member does not prove the cluster secret")
        text = _cipher(self._secret, self._nonces, sealed)
        return JoinAnswer(*_fields(text, (str, str)))


class JoinAcceptor:
    """The side of the member; begins with the joiner's nonce, out of its HELLO."""

    def __init__(self, secret: bytes, joiner_nonce: bytes, nonce: bytes) -> None:
        self._secret, self._nonces, self._nonce = secret, joiner_nonce + nonce, nonce

    def challenge(self) -> bytes:
        """The second frame."""
        return pack((self._nonce,))

    def receive(self, payload: bytes) -> int:
        """Take the proof; the id that the new machine wants to be.

        Raises:
            ProtocolError: it does not hold the secret.
        """
        proof, node_id = _fields(payload, (bytes, int))
        said = pack((node_id,))
        if not hmac.compare_digest(proof, _mac(self._secret, b"join", self._nonces + said)):
            raise ProtocolError("a joining node does not prove the cluster secret")
        return int(node_id)

    def answer(self, answer: JoinAnswer) -> bytes:
        """The last frame."""
        text = pack((answer.refusal, answer.config_text))
        sealed = _cipher(self._secret, self._nonces, text)
        return pack((_mac(self._secret, b"joined", self._nonces + sealed), sealed))


def _mac(secret: bytes, role: bytes, text: bytes) -> bytes:
    return hmac.new(secret, role + text, sha256).digest()


def _cipher(secret: bytes, nonces: bytes, text: bytes) -> bytes:
    """Encipher or decipher: both are the same XOR."""
    key = _mac(secret, b"join key", nonces)
    count = -(-len(text) // sha256().digest_size)
    stream = b"".join(_mac(key, b"", at.to_bytes(8, "big")) for at in range(count))
    mixed = int.from_bytes(text, "big") ^ int.from_bytes(stream[: len(text)], "big")
    return mixed.to_bytes(len(text), "big")


def _fields(payload: bytes, types: tuple[type, ...]) -> tuple[Any, ...]:
    value = unpack(payload)
    if type(value) is not tuple or [type(field) for field in value] != list(types):
        raise ProtocolError("a frame of a wrong form")
    return value

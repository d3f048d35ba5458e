"""The handshake of the peer port: who dials proves the cluster secret first, then the acceptor.

Owns the conversation before any Raft message, without a socket: bytes in, bytes out. Nothing is
told to who does not hold the secret. After it the connection carries messages one way, from the
dialer to the acceptor.

    dialer   -> HELLO     (magic, version, dialer nonce)
    acceptor -> CHALLENGE (acceptor nonce)
    dialer   -> PROOF     (hmac over both nonces and the card, card)
    acceptor -> WELCOME   (hmac over both nonces and its card, card)
             or REFUSAL   (hmac over both nonces and what follows, whether removed, reason)

A card is (cluster_id, genesis_digest, node_id, node_id meant, incarnation, engine version, host,
port). What a newer build may have put behind that is passed over. Where a node listens is said too,
so that one that was away long can answer a member it does not know yet.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from raftbook.core.versions import ENGINE_VERSION
from raftbook.errors import ProtocolError
from raftbook.wire.join_session import (
    JOIN_MAGIC,
    JOIN_NONCE_BYTES,
    JOIN_VERSION,
    JoinAcceptor,
    JoinAnswer,
)
from raftbook.wire.packing import pack, unpack

MAGIC: Final = "raftbook-peer"
VERSION: Final = 2
NONCE_BYTES: Final = 32
HANDSHAKE_FRAME_BYTES_MAX: Final = 4096
"""Frames before the handshake is done are this small, so a stranger can make us hold no more."""


@dataclass(frozen=True, slots=True)
class PeerCard:
    """What one side says of itself once the secret is proven."""

    cluster_id: str
    genesis_digest: str
    node_id: int
    incarnation: str
    engine_version: int = ENGINE_VERSION
    host: str = ""
    port: int = 0


class Removed(ProtocolError):
    """The other side says that this node was removed from the cluster."""


@dataclass(frozen=True, slots=True)
class Step:
    """What the handshake wants: bytes to send, and the peer's card when it is done.

    Attributes:
        joiner: the id that a new machine wants to be: it waits for `Acceptor.join_answer`.
    """

    send: bytes | None = None
    peer: PeerCard | None = None
    joiner: int | None = None


class Dialer:
    """Our side of a connection we opened to `peer_id`."""

    def __init__(self, secret: bytes, own: PeerCard, peer_id: int, nonce: bytes) -> None:
        self._secret, self._own, self._peer_id, self._nonce = secret, own, peer_id, nonce
        self._receive: Callable[[bytes], Step] = self._on_challenge
        self._nonces = b""

    def hello(self) -> bytes:
        """The first frame."""
        return pack((MAGIC, VERSION, self._nonce))

    def receive(self, payload: bytes) -> Step:
        """Take the next frame.

        Raises:
            ProtocolError: the other side is no peer of ours; the message says why.
        """
        return self._receive(payload)

    def _on_challenge(self, payload: bytes) -> Step:
        (nonce,) = _fields(payload, (bytes,))
        if len(nonce) != NONCE_BYTES:
            raise ProtocolError("challenge of a wrong length")
        self._nonces = self._nonce + nonce
        card = _pack_card(self._own, self._peer_id)
        self._receive = self._on_welcome
        return Step(send=pack((_proof(self._secret, b"dialer", self._nonces, card), card)))

    def _on_welcome(self, payload: bytes) -> Step:
        value = unpack(payload)
        if type(value) is tuple and len(value) == 3:
            self._on_refusal(payload)
        proof, card = _fields(payload, (bytes, bytes))
        if not hmac.compare_digest(proof, _proof(self._secret, b"acceptor", self._nonces, card)):
            raise ProtocolError(_WRONG_SECRET.format(peer=self._peer_id))
        return Step(peer=_read_card(card, self._own, expected_id=self._peer_id))

    def _on_refusal(self, payload: bytes) -> None:
        proof, is_removed, reason = _fields(payload, (bytes, bool, str))
        said = pack((is_removed, reason))
        if not hmac.compare_digest(proof, _proof(self._secret, b"refusal", self._nonces, said)):
            raise ProtocolError(_WRONG_SECRET.format(peer=self._peer_id))
        raise Removed(reason) if is_removed else ProtocolError(reason)


class Acceptor:
    """Our side of a connection somebody opened to us."""

    def __init__(self, secret: bytes, own: PeerCard, nonce: bytes) -> None:
        self._secret, self._own, self._nonce = secret, own, nonce
        self._receive: Callable[[bytes], Step] = self._on_hello
        self._join: JoinAcceptor | None = None
        self._nonces = b""

    def receive(self, payload: bytes) -> Step:
        """Take the next frame; see `Dialer.receive`."""
        return self._receive(payload)

    def refusal(self, reason: str, *, is_removed: bool) -> bytes:
        """Instead of the WELCOME, for a dialer that has proven the secret: why it is not let in."""
        proof = _proof(self._secret, b"refusal", self._nonces, pack((is_removed, reason)))
        return pack((proof, is_removed, reason))

    def join_answer(self, answer: JoinAnswer) -> bytes:
        """For a new machine that has proven the secret."""
        assert self._join is not None, "nobody wants to join"
        return self._join.answer(answer)

    def _on_hello(self, payload: bytes) -> Step:
        magic, version, nonce = _fields(payload, (str, int, bytes))
        if (magic, version, len(nonce)) == (JOIN_MAGIC, JOIN_VERSION, JOIN_NONCE_BYTES):
            self._join = join = JoinAcceptor(self._secret, nonce, self._nonce)
            self._receive = lambda proof: Step(joiner=join.receive(proof))
            return Step(send=join.challenge())
        if magic != MAGIC or len(nonce) != NONCE_BYTES:
            raise ProtocolError("not a raftbook peer")
        if version != VERSION:
            raise ProtocolError(f"peer protocol {version}; this build speaks {VERSION}")
        self._nonces = nonce + self._nonce
        self._receive = self._on_proof
        return Step(send=pack((self._nonce,)))

    def _on_proof(self, payload: bytes) -> Step:
        proof, card = _fields(payload, (bytes, bytes))
        if not hmac.compare_digest(proof, _proof(self._secret, b"dialer", self._nonces, card)):
            raise ProtocolError(_WRONG_SECRET.format(peer="the dialer"))
        peer = _read_card(card, self._own, expected_id=None)
        own = _pack_card(self._own, peer.node_id)
        welcome = pack((_proof(self._secret, b"acceptor", self._nonces, own), own))
        return Step(send=welcome, peer=peer)


_CARD: Final = (str, str, int, int, str, int, str, int)
_WRONG_SECRET: Final = (
    "peer {peer} does not prove the cluster secret: copy the secret file of one node to all"
)


def _proof(secret: bytes, role: bytes, nonces: bytes, card: bytes) -> bytes:
    return hmac.new(secret, role + nonces + card, sha256).digest()


def _pack_card(card: PeerCard, peer_id: int) -> bytes:
    return pack(
        (
            card.cluster_id,
            card.genesis_digest,
            card.node_id,
            peer_id,
            card.incarnation,
            card.engine_version,
            card.host,
            card.port,
        )
    )


def _read_card(payload: bytes, own: PeerCard, *, expected_id: int | None) -> PeerCard:
    fields = _fields(payload, _CARD, may_go_on=True)
    cluster_id, genesis_digest, node_id, meant_id, incarnation, *rest = fields
    if cluster_id != own.cluster_id:
        raise ProtocolError(f"peer belongs to cluster {cluster_id}, this node to {own.cluster_id}")
    if genesis_digest != own.genesis_digest:
        raise ProtocolError(
            f"peer {node_id} started from another genesis: instruments, accounts and bounds of "
            "cluster.toml must be the same on every node"
        )
    if meant_id != own.node_id:
        raise ProtocolError(f"peer {node_id} looked for node {meant_id}, this is {own.node_id}")
    if expected_id is not None and node_id != expected_id:
        raise ProtocolError(f"node {node_id} answers at the address of node {expected_id}")
    if node_id == own.node_id:
        raise ProtocolError(f"another process claims to be node {node_id}")
    return PeerCard(cluster_id, genesis_digest, node_id, incarnation, *rest)


def _fields(payload: bytes, types: tuple[type, ...], *, may_go_on: bool = False) -> tuple[Any, ...]:
    value = unpack(payload)
    if may_go_on and type(value) is tuple:
        value = value[: len(types)]
    if type(value) is not tuple or [type(field) for field in value] != list(types):
        raise ProtocolError("a handshake frame of a wrong form")
    return value
